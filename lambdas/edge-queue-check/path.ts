import { parseEventId } from "../shared/schema";

/** What a request path asks for, after everything that could disguise it was taken off. */
export interface PathVerdict {
  /** The path in canonical form, case kept: what the origin is sent, so that it sees what was judged. */
  readonly uri: string;
  /** Neither token is needed. */
  readonly exempt: boolean;
  readonly needsTier2: boolean;
  /** Event that the path names. */
  readonly eventId?: string;
  /** Event that the query names, where the path names none: said by the client, and nothing that the origin goes by. */
  readonly queryEventId?: string;
}

/** Infra analysis §2-7, Architecture guide §3.4. */
const EXEMPT = new Set(["events", "auth", "queue", "stats"]);
const TIER2 = new Set(["seats", "reservations", "payments"]);
/** What follows `seats` is an event id unless it says what to do with a seat (Architecture guide §3.4 has both). */
const SEAT_ACTIONS = new Set(["reserve", "release", "lock", "unlock", "hold", "confirm", "cancel", "me"]);
const MAX_URI_LENGTH = 8_192;
const MAX_DECODING_ROUNDS = 3;

/**
 * The canonical path, or undefined if there is none: a broken escape, a control character, an escape within an escape
 * within an escape. `..` never climbs above the root.
 */
export function normalisePath(raw: string): string | undefined {
  if (raw.length > MAX_URI_LENGTH) {
    return undefined;
  }
  let path = raw;
  for (let round = 0; path.includes("%"); round += 1) {
    if (round >= MAX_DECODING_ROUNDS) {
      return undefined;
    }
    try {
      path = decodeURIComponent(path);
    } catch {
      return undefined;
    }
  }
  if (hasControlCharacter(path)) {
    return undefined;
  }
  const segments: string[] = [];
  for (const segment of path.replaceAll("\\", "/").split("/")) {
    // `;` starts a matrix parameter, which Spring takes off before it looks for a handler.
    const name = segment.split(";", 1)[0] as string;
    if (name === "..") {
      segments.pop();
    } else if (name !== "" && name !== ".") {
      segments.push(name);
    }
  }
  return `/${segments.join("/")}`;
}

/** Judges a path; undefined if it is not one. */
export function judgePath(raw: string, querystring: string): PathVerdict | undefined {
  const path = normalisePath(raw);
  if (path === undefined) {
    return undefined;
  }
  const uri = path.split("/").map(encodeURIComponent).join("/");
  const [root, ...rest] = path.toLowerCase().slice(1).split("/");
  if (root !== "api") {
    return { uri, exempt: root === "vwr" || root === "vwr-api", needsTier2: root !== "vwr" && root !== "vwr-api" };
  }
  const [resource, ...parts] = rest[0] === "v1" ? rest.slice(1) : rest;
  const eventId = eventOf(resource, parts);
  const queryEventId = eventId === undefined ? eventInQuery(querystring) : undefined;
  return {
    uri,
    exempt: EXEMPT.has(resource ?? ""),
    needsTier2: TIER2.has(resource ?? ""),
    ...(eventId === undefined ? {} : { eventId }),
    ...(queryEventId === undefined ? {} : { queryEventId }),
  };
}

function eventOf(resource: string | undefined, parts: readonly string[]): string | undefined {
  const after = parts.indexOf("events") + 1;
  if (after > 0) {
    return parseEventId(parts[after]);
  }
  const first = parts[0];
  return resource === "seats" && first !== undefined && !SEAT_ACTIONS.has(first) ? parseEventId(first) : undefined;
}

function eventInQuery(querystring: string): string | undefined {
  return querystring === "" ? undefined : parseEventId(new URLSearchParams(querystring).get("eventId"));
}

function hasControlCharacter(text: string): boolean {
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) {
      return true;
    }
  }
  return false;
}
