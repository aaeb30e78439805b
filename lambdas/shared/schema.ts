import { createHash } from "node:crypto";
import type { AttributeValue } from "@aws-sdk/client-dynamodb";

/*
 * What the two tables hold. Attribute names and types are the documented ones (Infra analysis §2-10, AWS architecture §5.8);
 * hash key values carry a suffix where one key would be written more often than DynamoDB allows (1,000 units/s):
 *
 * counters   evt-1         EventControl: what the operator and the advancer decide about the event
 * counters   evt-1#05      StripeItem: how many places stripe 5 has handed out; stripes beyond the event's number belong to
 *                          those who come before the opening
 * positions  evt-1#41      VisitorRow, range key the visitor's requestId
 * positions  evt-1#05#g3   ReclaimedRow: places of stripe 5 in generation 3 that nobody holds, in order of the range key
 *
 * No row carries `position`, the sort key of the documented eventId-position-index: everything that is read is found by the
 * table's own keys, and an indexed row would cost each write twice.
 *
 * Places are dealt to stripes like cards: with S stripes, the k-th place (from 0) of stripe s is position k * S + s + 1.
 * All stripes fill at the same pace, so positions follow the order of arrival although no two stripes share an item.
 */

/** Seconds between two advances. Architecture guide §4.1. */
export const TICK_SECONDS = 10;
/** Life of a tier-1 token, seconds. Architecture guide §4.4. */
export const TOKEN_TTL_SECONDS = 600;
/** Life of a visitor's row, seconds. Architecture guide §4.4. */
export const ROW_TTL_SECONDS = 86_400;
/** Visitor rows are spread over this many hash key values: 10,000 arrivals/s leave about 160 writes/s on each. */
export const ROW_SHARDS = 64;
/** Stripes of a new event unless the operator says otherwise: 15,000 arrivals in 1.5 s cost each under 400 writes/s. */
export const DEFAULT_STRIPES = 8;
/** Places an environment takes at once while visitors stream in. */
export const DEFAULT_LEASE = 4;
export const MAX_STRIPES = 256;
/** Most places in one lease. */
export const MAX_LEASE = 64;

/** The event's own item in the counters table. Written by the operator's commands and the advancer only. */
export interface EventControl {
  readonly eventId: string;
  /** Grows by one at every opening. Tickets and tokens of an earlier one are void. */
  readonly generation: number;
  /** False: nobody waits, everybody who asks is let in. */
  readonly isActive: boolean;
  /** Highest position handed out, as of the last advance. The stripes know the exact number. */
  readonly nextPosition: number;
  /** Positions up to and including this one may come in. */
  readonly servingCounter: number;
  /** ISO 8601, of the last change. */
  readonly updatedAt: string;
  readonly stripes: number;
  readonly lease: number;
  /** Number of the last applied tick: seconds since 1970 divided by {@link TICK_SECONDS}. */
  readonly tick: number;
  readonly paused: boolean;
  /** Newcomers still queue, and the event turns inactive by itself once everybody who waited is in. */
  readonly draining: boolean;
  /** Emergency switch: everybody is let in at once, as if the event were not active. */
  readonly bypass: boolean;
  /** Visitors per tick, instead of the function's BATCH_SIZE. */
  readonly batchSize?: number;
  /** Operator's upper limit per tick for whatever else sets the rate. */
  readonly ceiling?: number;
  /** Present limit per tick after the booking API was saturated; recovers by itself, see {@link nextPressure}. */
  readonly pressure?: number;
  /** Tick of the last cut of {@link pressure}. */
  readonly pressureTick?: number;
  /** Seconds since 1970 of the opening, for an event whose visitors may come before it: they draw lots for their positions. */
  readonly opensAt?: number;
  /** Outcome of drawing lots; undefined before it, and for an event without. */
  readonly draw?: Draw;
  /** Visitors let in per second, measured over the ticks in which the queue did not run dry. */
  readonly ratePerSecond?: number;
}

/** What fixes the positions of all who came before the opening. */
export interface Draw {
  /** 32 hexadecimal digits, made when the lots were drawn: until then nobody can know what they will be. */
  readonly seed: string;
  /** How many places each of the early stripes had handed out; none came afterwards. */
  readonly counts: readonly number[];
}

/** One of an event's stripes in the counters table. */
export interface StripeItem {
  readonly eventId: string;
  readonly generation: number;
  /** Places handed out so far by this stripe, which is also the index of its next one. */
  readonly nextPosition: number;
}

/**
 * A visitor's place: what the allocator hands out and never changes. Without early visitors the place is the position; with
 * them the position follows from the draw, see {@link positionOfPlace}.
 */
export interface Place {
  readonly place: number;
  /** Whether it was taken before the opening. */
  readonly early: boolean;
}

/** The stripes that hand out one kind of places of an event, and what is known of them. */
export interface Line extends Pick<EventControl, "eventId" | "generation" | "stripes" | "lease"> {
  readonly early: boolean;
  /** Places up to and including this one are served already: newcomers get later ones. */
  readonly served: number;
  /** Whether arrivals are to be expected at the pace of an opening, because nobody was counted yet. */
  readonly rush: boolean;
}

/** What a visitor holds in the positions table. `place`, because `position` would put the row in the index. */
export interface VisitorRow extends Place {
  readonly requestId: string;
  readonly generation: number;
  /** Identity given at assign; never changed afterwards. */
  readonly identity?: string;
  /** Seconds since 1970 of the first admission; fixes `iat` and `exp` of every token for this row. */
  readonly admittedAt?: number;
  /** Set once the visitor has left the queue. */
  readonly left: boolean;
}

/** Places that nobody holds: the rest of a lease that grew too old, or the place of a visitor who left. */
export interface ReclaimedRow {
  /** Position of the first. */
  readonly place: number;
  /** How many, each {@link EventControl.stripes} after the one before. */
  readonly count: number;
}

/** The attributes of a DynamoDB item, as the client takes and returns them. */
export type Item = Record<string, AttributeValue>;

const EVENT_ID = /^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$/;
const REQUEST_ID = /^[A-Za-z0-9_-]{16,64}$/;

/**
 * The event id in the one spelling under which it is stored, or undefined if it cannot be one. Upper case is folded: two
 * spellings of one event must not get two queues. `#` is not allowed, so no caller can name a stripe or a shard.
 */
export function parseEventId(raw: unknown): string | undefined {
  if (typeof raw !== "string" || raw.length > 64) {
    return undefined;
  }
  const folded = raw.toLowerCase();
  return EVENT_ID.test(folded) ? folded : undefined;
}

/** The request id if it is one: 16 to 64 URL-safe characters, since knowing it is what proves whose place it is. */
export function parseRequestId(raw: unknown): string | undefined {
  return typeof raw === "string" && REQUEST_ID.test(raw) ? raw : undefined;
}

/** Whether the number can be a position. */
export function isPosition(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 1;
}

const twoDigits = (value: number): string => String(value).padStart(2, "0");

export function stripeKey(eventId: string, stripe: number): string {
  return `${eventId}#${twoDigits(stripe)}`;
}

/** Number of the item that counts for this stripe of a line. */
export function stripeItem(stripe: number, stripes: number, early: boolean): number {
  return early ? stripes + stripe : stripe;
}

export function rowKey(eventId: string, requestId: string): string {
  const shard = createHash("sha256").update(requestId).digest().readUInt32BE(0) % ROW_SHARDS;
  return `${eventId}#${twoDigits(shard)}`;
}

export function reclaimedKey(eventId: string, stripe: number, generation: number): string {
  return `${eventId}#${twoDigits(stripe)}#g${generation}`;
}

/** Range key of places that begin with this position; sorts as the number does, up to 2^53. */
export function reclaimedRange(position: number): string {
  return `reclaimed-${String(position).padStart(16, "0")}`;
}

/** The event id and stripe that a counters key stands for; no stripe for the event's own item. */
export function parseCountersKey(key: string): { eventId: string; stripe?: number } {
  const at = key.indexOf("#");
  return at < 0 ? { eventId: key } : { eventId: key.slice(0, at), stripe: Number(key.slice(at + 1)) };
}

/** Position of the place with this index in its stripe. */
export function positionOf(stripe: number, index: number, stripes: number): number {
  return index * stripes + stripe + 1;
}

export function stripeOf(position: number, stripes: number): number {
  return (position - 1) % stripes;
}

/** How many places of the stripe have positions up to and including this one. */
export function placesUpTo(position: number, stripe: number, stripes: number): number {
  return Math.max(0, Math.floor((position - 1 - stripe) / stripes) + 1);
}

export const s = (value: string): AttributeValue => ({ S: value });
export const n = (value: number): AttributeValue => ({ N: String(value) });
export const bool = (value: boolean): AttributeValue => ({ BOOL: value });

function numberIn(item: Item, name: string): number | undefined {
  const text = item[name]?.N;
  return text === undefined ? undefined : Number(text);
}

/** The control item, or undefined if it lacks what admitting visitors depends on: such an item admits nobody. */
export function toControl(item: Item | undefined): EventControl | undefined {
  const eventId = item?.eventId?.S;
  if (item === undefined || eventId === undefined) {
    return undefined;
  }
  const generation = numberIn(item, "generation");
  const servingCounter = numberIn(item, "servingCounter");
  const stripes = numberIn(item, "stripes");
  const isActive = item.isActive?.BOOL;
  const tick = numberIn(item, "tick");
  const sound =
    isActive !== undefined &&
    [generation, servingCounter, tick].every((value) => Number.isSafeInteger(value) && (value as number) >= 0) &&
    Number.isSafeInteger(stripes) &&
    (stripes as number) >= 1 &&
    (stripes as number) <= MAX_STRIPES;
  if (!sound) {
    return undefined;
  }
  const optional = (name: "batchSize" | "ceiling" | "pressure" | "pressureTick" | "opensAt" | "ratePerSecond") => {
    const value = numberIn(item, name);
    return value !== undefined && Number.isFinite(value) && value >= 0 ? { [name]: value } : {};
  };
  return {
    eventId,
    generation: generation as number,
    isActive,
    nextPosition: numberIn(item, "nextPosition") ?? 0,
    servingCounter: servingCounter as number,
    updatedAt: item.updatedAt?.S ?? "",
    stripes: stripes as number,
    lease: Math.max(1, numberIn(item, "lease") ?? 1),
    tick: tick as number,
    paused: item.paused?.BOOL ?? false,
    draining: item.draining?.BOOL ?? false,
    bypass: item.bypass?.BOOL ?? false,
    ...optional("batchSize"),
    ...optional("ceiling"),
    ...optional("pressure"),
    ...optional("pressureTick"),
    ...optional("opensAt"),
    ...optional("ratePerSecond"),
    ...toDraw(item),
  };
}

function toDraw(item: Item): { draw?: Draw } {
  const seed = item.drawSeed?.S;
  const counts = item.drawCounts?.L?.map((count) => Number(count.N));
  return seed === undefined || counts === undefined ? {} : { draw: { seed, counts } };
}

export function toStripe(item: Item): StripeItem {
  return {
    eventId: item.eventId?.S ?? "",
    generation: numberIn(item, "generation") ?? -1,
    nextPosition: numberIn(item, "nextPosition") ?? 0,
  };
}

/** The visitor's row, or undefined if it holds no usable place. */
export function toVisitorRow(item: Item | undefined): VisitorRow | undefined {
  if (item === undefined) {
    return undefined;
  }
  const place = numberIn(item, "place");
  const generation = numberIn(item, "generation");
  const requestId = item.requestId?.S;
  if (!isPosition(place) || generation === undefined || requestId === undefined) {
    return undefined;
  }
  const admittedAt = numberIn(item, "admittedAt");
  return {
    requestId,
    generation,
    place,
    early: item.early?.BOOL ?? false,
    left: item.left?.BOOL ?? false,
    ...(item.identity?.S === undefined ? {} : { identity: item.identity.S }),
    ...(admittedAt === undefined ? {} : { admittedAt }),
  };
}

export function toReclaimed(item: Item): ReclaimedRow {
  return { place: numberIn(item, "place") ?? 0, count: numberIn(item, "count") ?? 1 };
}

/** Limit per tick that applies now: the operator's rate under the ceiling and under the pressure of the booking API. */
export function limitPerTick(control: EventControl, defaultBatch: number): number {
  const limits = [control.batchSize ?? defaultBatch, control.ceiling, control.pressure];
  return Math.max(0, Math.floor(Math.min(...limits.filter((limit) => limit !== undefined))));
}

/** Share of the undisturbed rate that one tick without saturation gives back. */
const RECOVERY_PER_TICK = 0.1;
/**
 * Ticks between two cuts: alarms on the load balancer's metrics look at a minute, so a cut shows no sooner, and cutting on would
 * answer the same minute several times.
 */
export const SETTLE_TICKS = 6;

/** What is known of the booking API: `unknown` while its alarms cannot be read. */
export type BookingHealth = "healthy" | "saturated" | "unknown";

/** The limit while the booking API is saturated, and the tick of the last cut; nothing where it limits no longer. */
export interface Pressure {
  readonly pressure: number;
  readonly pressureTick: number;
}

/** Half of what may come in now, at least one visitor per tick. */
export function cutPressure(control: EventControl, defaultBatch: number, tick: number): Pressure {
  return { pressure: Math.max(1, Math.floor(limitPerTick(control, defaultBatch) / 2)), pressureTick: tick };
}

/**
 * The pressure one tick later (additive increase, multiplicative decrease): halved while the booking API is saturated and the
 * last cut had its time to show, held until then and while nothing is known, else a tenth of the undisturbed rate given back.
 */
export function nextPressure(
  control: EventControl,
  defaultBatch: number,
  health: BookingHealth,
  tick: number,
): Pressure | undefined {
  const { pressure, pressureTick = tick - SETTLE_TICKS } = control;
  if (health === "saturated" && (pressure === undefined || tick - pressureTick >= SETTLE_TICKS)) {
    return cutPressure(control, defaultBatch, tick);
  }
  if (pressure === undefined) {
    return undefined;
  }
  if (health !== "healthy" || tick === pressureTick) {
    return { pressure, pressureTick };
  }
  const full = Math.min(control.batchSize ?? defaultBatch, control.ceiling ?? Number.POSITIVE_INFINITY);
  const next = pressure + Math.max(1, full * RECOVERY_PER_TICK);
  return next >= full ? undefined : { pressure: next, pressureTick };
}
