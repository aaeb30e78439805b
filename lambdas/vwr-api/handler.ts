import type { APIGatewayProxyEvent, APIGatewayProxyResult } from "aws-lambda";
import { isThrottled, isTransient } from "../shared/clients";
import { parseEventId, parseRequestId } from "../shared/schema";
import { SecretUnavailableError } from "../shared/secrets";
import type { Telemetry } from "../shared/telemetry";
import { type AssignRequest, Refused, type WaitingRoom } from "./service";

/** The parts of a REST proxy event that the handler reads. */
export type ApiEvent = Pick<APIGatewayProxyEvent, "httpMethod" | "headers" | "body" | "isBase64Encoded"> & {
  readonly resource?: string;
  readonly path?: string;
  readonly pathParameters: APIGatewayProxyEvent["pathParameters"];
};

export interface ApiHandlerOptions {
  readonly room: WaitingRoom;
  /** Exact origins that may read the answers from another site. */
  readonly corsAllowedOrigins: readonly string[];
  readonly telemetry: Telemetry;
  /** Writes down stale leases; runs before the answer because the environment may freeze after it. */
  readonly housekeeping?: () => Promise<void>;
  /** 0 ≤ x < 1, spreads retries. */
  readonly random?: () => number;
}

const MAX_BODY_BYTES = 4_096;
const MAX_IDENTITY_LENGTH = 128;
const MIN_RETRY_SECONDS = 2;
const RETRY_SPREAD_SECONDS = 6;

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Record<string, string>;
}

/** The Lambda proxy handler of the three routes (Infra analysis §2-10). Every outcome is an answer; nothing is thrown. */
export function createHandler(options: ApiHandlerOptions): (event: ApiEvent) => Promise<APIGatewayProxyResult> {
  const { telemetry } = options;
  const random = options.random ?? Math.random;
  return async (event) => {
    const answer = await respond(options, event).catch((error: unknown) => failure(error, telemetry, random));
    try {
      await options.housekeeping?.();
    } catch (error) {
      telemetry.error("Reclaiming places failed", error);
    }
    telemetry.flush();
    return {
      statusCode: answer.status,
      headers: {
        "content-type": "application/json; charset=utf-8",
        "cache-control": "no-store",
        ...corsHeaders(options.corsAllowedOrigins, headerOf(event, "origin")),
        ...answer.headers,
      },
      body: answer.body === undefined ? "" : JSON.stringify(answer.body),
    };
  };
}

async function respond(options: ApiHandlerOptions, event: ApiEvent): Promise<Answer> {
  const { room, telemetry } = options;
  const route = routeOf(event);
  const eventId = parseEventId(event.pathParameters?.eventId);
  if (route === undefined) {
    throw new Refused(404, "ROUTE_UNKNOWN", "Known are POST assign, GET check and GET status.");
  }
  if (eventId === undefined) {
    throw new Refused(400, "EVENT_ID_INVALID", "An event id is 1 to 64 letters, digits, '-' or '_'.");
  }
  if (route === "status") {
    return { status: 200, body: await room.status(eventId) };
  }
  const ticket = headerOf(event, "x-vwr-ticket");
  if (route === "check") {
    const requestId = parseRequestId(event.pathParameters?.requestId);
    if (requestId === undefined) {
      throw new Refused(400, "REQUEST_ID_INVALID", "A request id is 16 to 64 letters, digits, '-' or '_'.");
    }
    const body = await room.check(eventId, requestId, ticket);
    if (body.admitted) {
      telemetry.count("Admitted");
    }
    return { status: 200, body };
  }
  const { leave, ...request } = parseAssign(event);
  if (leave) {
    if (request.requestId === undefined) {
      throw new Refused(400, "REQUEST_ID_INVALID", "Leaving needs the request id whose place is given up.");
    }
    await room.leave(eventId, request.requestId, ticket);
    telemetry.count("Left");
    return { status: 200, body: { eventId, requestId: request.requestId, left: true } };
  }
  const body = await room.assign(eventId, request);
  telemetry.count(body.admitted ? "Admitted" : "Assigned");
  return { status: 200, body };
}

function routeOf(event: ApiEvent): "assign" | "check" | "status" | undefined {
  const name = /^\/vwr\/(assign|check|status)(?:\/|$)/.exec(event.resource ?? event.path ?? "")?.[1];
  const method = name === "assign" ? "POST" : "GET";
  return event.httpMethod === method ? (name as "assign" | "check" | "status" | undefined) : undefined;
}

function parseAssign(event: ApiEvent): AssignRequest & { leave: boolean } {
  const text = bodyText(event);
  if (text.trim() === "") {
    return { leave: false };
  }
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Refused(400, "BODY_INVALID", "The body must be a JSON object, or empty.");
  }
  if (body === null) {
    return { leave: false };
  }
  if (typeof body !== "object" || Array.isArray(body)) {
    throw new Refused(400, "BODY_INVALID", "The body must be a JSON object, or empty.");
  }
  const { requestId, userId, leave } = body as { requestId?: unknown; userId?: unknown; leave?: unknown };
  const parsedId = parseRequestId(requestId);
  if (requestId !== undefined && requestId !== null && parsedId === undefined) {
    throw new Refused(400, "REQUEST_ID_INVALID", "A request id is 16 to 64 letters, digits, '-' or '_'.");
  }
  const identity = parseIdentity(userId);
  return {
    leave: leave === true,
    ...(parsedId === undefined ? {} : { requestId: parsedId }),
    ...(identity === undefined ? {} : { identity }),
  };
}

function parseIdentity(userId: unknown): string | undefined {
  if (userId === undefined || userId === null || userId === "") {
    return undefined;
  }
  if (typeof userId !== "string" || userId.length > MAX_IDENTITY_LENGTH || /[^\x21-\x7e]/.test(userId)) {
    const allowed = `at most ${MAX_IDENTITY_LENGTH} visible ASCII characters`;
    throw new Refused(400, "USER_ID_INVALID", `A user id is a string of ${allowed}.`);
  }
  return userId;
}

function bodyText(event: ApiEvent): string {
  const raw = event.body ?? "";
  const limit = event.isBase64Encoded ? Math.ceil(MAX_BODY_BYTES / 3) * 4 : MAX_BODY_BYTES;
  if (raw.length > limit) {
    throw new Refused(413, "BODY_TOO_LARGE", `The body may have at most ${MAX_BODY_BYTES} bytes.`);
  }
  return event.isBase64Encoded ? Buffer.from(raw, "base64").toString("utf8") : raw;
}

/** Header names reach the handler as the client wrote them. */
function headerOf(event: ApiEvent, name: string): string | undefined {
  const headers = event.headers ?? {};
  const direct = headers[name];
  if (direct !== undefined) {
    return direct;
  }
  for (const key in headers) {
    if (key.length === name.length && key.toLowerCase() === name) {
      return headers[key];
    }
  }
  return undefined;
}

function corsHeaders(allowed: readonly string[], origin: string | undefined): Record<string, string> {
  if (origin === undefined || !allowed.includes(origin)) {
    return { vary: "Origin" };
  }
  return {
    vary: "Origin",
    "access-control-allow-origin": origin,
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": "Retry-After",
  };
}

function failure(error: unknown, telemetry: Telemetry, random: () => number): Answer {
  if (error instanceof Refused) {
    telemetry.count("Rejected", 1, error.code);
    const headers = error.status === 503 ? retryAfter(random) : undefined;
    const body = { code: error.code, message: error.message };
    return { status: error.status, body, ...(headers === undefined ? {} : { headers }) };
  }
  const transient = isTransient(error) || error instanceof SecretUnavailableError;
  if (isThrottled(error)) {
    telemetry.count("Throttled");
  }
  telemetry.error(transient ? "A dependency did not answer" : "Unexpected failure", error);
  telemetry.count("Rejected", 1, transient ? "UNAVAILABLE" : "INTERNAL");
  // Also for what is unexpected: the visitor keeps the place and tries again instead of seeing a dead end.
  const code = transient ? "UNAVAILABLE" : "INTERNAL";
  const message = "The waiting room is busy. Your place is kept; please try again shortly.";
  return { status: 503, body: { code, message }, headers: retryAfter(random) };
}

function retryAfter(random: () => number): Record<string, string> {
  return { "retry-after": String(MIN_RETRY_SECONDS + Math.floor(random() * (RETRY_SPREAD_SECONDS + 1))) };
}
