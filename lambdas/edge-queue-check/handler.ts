import type {
  CloudFrontHeaders,
  CloudFrontRequest,
  CloudFrontRequestEvent,
  CloudFrontResultResponse,
} from "aws-lambda";
import type { ActiveEvents } from "../shared/active-events";
import type { KeyRing } from "../shared/secrets";
import { type Refusal, verifyTier1, verifyTier2 } from "../shared/tokens";
import { judgePath, type PathVerdict } from "./path";

/** Cookie of tier 1 (Architecture guide §4.4). */
export const TIER1_COOKIE = "urr-vwr-token";
/** Cookie of tier 2. */
export const TIER2_COOKIE = "urr-entry-token";
/** Header of tier 2, for clients that keep no cookies. */
export const TIER2_HEADER = "x-queue-entry-token";

export interface EdgeOptions {
  readonly tier1Keys: KeyRing;
  readonly tier2Keys: KeyRing;
  /** The published list, or undefined if it was never read: then every event counts as active. */
  readonly activeEvents: () => Promise<ActiveEvents | undefined>;
  readonly now?: () => Date;
  readonly random?: () => number;
  readonly onError?: (error: unknown) => void;
  /** Milliseconds after which a decision still pending is answered with 503. @default 4000 */
  readonly deadlineMs?: number;
}

type Decision =
  | { readonly pass: true }
  | { readonly pass: false; readonly tier: 1 | 2; readonly eventId?: string; readonly refusal: Refusal };

/** Tokens of one name that are looked at; more only cost time. */
const MAX_DUPLICATES = 4;
const MAX_RETURN_LENGTH = 1_024;
/** CloudFront ends viewer-request functions after 5 s with an error that names no time to try again. */
const DEADLINE_MS = 4_000;

/**
 * Viewer-request gate on `/api/*` (Architecture guide §3.4). Answers itself or hands the request on; whatever is sent to
 * it, it never throws, because CloudFront would answer 503 for it.
 */
export function createHandler(options: EdgeOptions) {
  return async (event: CloudFrontRequestEvent): Promise<CloudFrontRequest | CloudFrontResultResponse> => {
    const request = event.Records[0]?.cf.request;
    const deadline = deadlineAfter(options.deadlineMs ?? DEADLINE_MS);
    try {
      return request === undefined ? badRequest() : await Promise.race([gate(options, request), deadline.passed]);
    } catch (error) {
      options.onError?.(error);
      return unavailable(options.random ?? Math.random);
    } finally {
      deadline.clear();
    }
  };
}

/** List and secrets are read one after the other: while the home Region hangs, their timeouts add up. */
function deadlineAfter(ms: number): { readonly passed: Promise<never>; readonly clear: () => void } {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`No decision within ${ms} ms`)), ms);
  });
  return { passed, clear: () => clearTimeout(timer) };
}

async function gate(
  options: EdgeOptions,
  request: CloudFrontRequest,
): Promise<CloudFrontRequest | CloudFrontResultResponse> {
  const path = judgePath(request.uri, request.querystring);
  if (path === undefined) {
    return badRequest();
  }
  const onwards = { ...request, uri: path.uri };
  // A preflight carries no cookies, changes nothing and is answered without looking at data.
  const preflight = request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined;
  if (path.exempt || preflight) {
    return onwards;
  }
  const decision = await decide(options, request, path);
  if (decision.pass) {
    return onwards;
  }
  return decision.refusal === "unavailable" ? unavailable(options.random ?? Math.random) : refuse(request, decision);
}

async function decide(options: EdgeOptions, request: CloudFrontRequest, path: PathVerdict): Promise<Decision> {
  const now = options.now?.() ?? new Date();
  const active = await options.activeEvents();
  const tier2Tokens = [...headerValues(request.headers, TIER2_HEADER), ...cookies(request.headers, TIER2_COOKIE)];
  const checkTier2 = (eventId: string | undefined) =>
    firstGood(tier2Tokens, (token) =>
      verifyTier2(token, options.tier2Keys, eventId === undefined ? { now } : { eventId, now }),
    );

  const known = path.eventId ?? believable(path, active);
  let required = known === undefined ? active === undefined || active.events.size > 0 : isActive(active, known);
  let eventId = known;
  if (required && known === undefined && path.needsTier2) {
    // No event in the path: that of a good tier-2 token decides whether there is a waiting room to have come through.
    const entry = await checkTier2(undefined);
    if (entry.ok && !isActive(active, entry.claims.eventId)) {
      return { pass: true };
    }
    if (entry.ok) {
      eventId = entry.claims.eventId;
      required = true;
    }
  }
  if (required) {
    const admission = await firstGood(cookies(request.headers, TIER1_COOKIE), (token) =>
      verifyTier1(token, options.tier1Keys, {
        now,
        minimumGeneration: (id) => active?.events.get(id),
        ...(eventId === undefined ? {} : { eventId }),
      }),
    );
    if (!admission.ok) {
      return { pass: false, tier: 1, refusal: admission.refusal, ...(eventId === undefined ? {} : { eventId }) };
    }
    eventId = admission.claims.eventId;
  }
  if (!path.needsTier2) {
    return { pass: true };
  }
  const entry = await checkTier2(eventId);
  return entry.ok
    ? { pass: true }
    : { pass: false, tier: 2, refusal: entry.refusal, ...(eventId === undefined ? {} : { eventId }) };
}

/**
 * The event in the query, unless naming one without a waiting room would be all it takes to do without a token: where tier 2 is
 * needed its token has to name the same event.
 */
function believable({ needsTier2, queryEventId }: PathVerdict, active: ActiveEvents | undefined): string | undefined {
  return queryEventId !== undefined && (needsTier2 || isActive(active, queryEventId)) ? queryEventId : undefined;
}

function isActive(active: ActiveEvents | undefined, eventId: string): boolean {
  return active === undefined || active.events.has(eventId);
}

type Checked<T> = { readonly ok: true; readonly claims: T } | { readonly ok: false; readonly refusal: Refusal };

/** A browser may hold several cookies of one name; one good token is enough. */
async function firstGood<T>(
  tokens: readonly string[],
  verify: (token: string) => Promise<Checked<T>>,
): Promise<Checked<T>> {
  let last: Checked<T> = { ok: false, refusal: "missing" };
  for (const token of tokens.slice(0, MAX_DUPLICATES)) {
    last = await verify(token);
    if (last.ok) {
      return last;
    }
  }
  return last;
}

function headerValues(headers: CloudFrontHeaders, name: string): string[] {
  return (headers[name] ?? []).map(({ value }) => value.trim()).filter((value) => value !== "");
}

function cookies(headers: CloudFrontHeaders, name: string): string[] {
  const found: string[] = [];
  for (const { value } of headers.cookie ?? []) {
    for (const pair of value.split(";")) {
      const at = pair.indexOf("=");
      if (at > 0 && pair.slice(0, at).trim() === name) {
        found.push(unquoted(pair.slice(at + 1).trim()));
      }
    }
  }
  return found.filter((token) => token !== "");
}

/** Tokens need no escapes; where a client wrote some all the same they are undone, and left alone if they are broken. */
function unquoted(value: string): string {
  const bare = value.startsWith('"') && value.endsWith('"') && value.length > 1 ? value.slice(1, -1) : value;
  if (!bare.includes("%")) {
    return bare;
  }
  try {
    return decodeURIComponent(bare);
  } catch {
    return bare;
  }
}

function refuse(request: CloudFrontRequest, decision: Decision & { pass: false }): CloudFrontResultResponse {
  const base = decision.tier === 1 ? "vwr" : "queue";
  const place = decision.eventId === undefined ? "/" : `/${base}/${decision.eventId}`;
  if (isNavigation(request)) {
    const target = decision.eventId === undefined ? place : `${place}${returnTo(request)}`;
    return answer("302", "Found", undefined, { location: target });
  }
  const [status, description] = decision.tier === 1 ? ["401", "Unauthorized"] : ["403", "Forbidden"];
  const message =
    decision.tier === 1 ? "Come in through the waiting room first." : "Wait for your turn in the booking queue first.";
  const code = decision.tier === 1 ? "WAITING_ROOM_TOKEN_REQUIRED" : "ENTRY_TOKEN_REQUIRED";
  return answer(status as string, description as string, { code, reason: decision.refusal, message, location: place });
}

/** Where the visitor was heading, for the page to go back to; a path only, so that it cannot lead off the site. */
function returnTo(request: CloudFrontRequest): string {
  if (request.method !== "GET") {
    return "";
  }
  const path = `/${request.uri.replace(/^[/\\]+/, "")}`;
  const heading = request.querystring === "" ? path : `${path}?${request.querystring}`;
  return heading.length > MAX_RETURN_LENGTH ? "" : `?returnTo=${encodeURIComponent(heading)}`;
}

/** A browser says so itself; older ones show it by what they accept. */
function isNavigation(request: CloudFrontRequest): boolean {
  const mode = request.headers["sec-fetch-mode"]?.[0]?.value;
  if (mode !== undefined) {
    return mode === "navigate";
  }
  const scripted = request.headers["x-requested-with"] !== undefined;
  const accept = request.headers.accept?.map(({ value }) => value).join(",") ?? "";
  return !scripted && /\btext\/html\b/i.test(accept);
}

function badRequest(): CloudFrontResultResponse {
  return answer("400", "Bad Request", { code: "PATH_INVALID", message: "The path cannot be read." });
}

function unavailable(random: () => number): CloudFrontResultResponse {
  const body = { code: "UNAVAILABLE", message: "Admission cannot be checked right now. Please try again shortly." };
  return answer("503", "Service Unavailable", body, { "retry-after": String(2 + Math.floor(random() * 7)) });
}

function answer(
  status: string,
  statusDescription: string,
  body: unknown,
  headers: Record<string, string> = {},
): CloudFrontResultResponse {
  const all: Record<string, string> = { "cache-control": "no-store", ...headers };
  if (body !== undefined) {
    all["content-type"] = "application/json; charset=utf-8";
  }
  return {
    status,
    statusDescription,
    headers: Object.fromEntries(Object.entries(all).map(([key, value]) => [key, [{ key, value }]])),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  };
}
