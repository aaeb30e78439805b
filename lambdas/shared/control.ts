import {
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  ScanCommand,
  type ScanCommandOutput,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { serializeActiveEvents } from "./active-events";
import { isConditionFailed } from "./clients";
import { awaitsDraw, earlyPositions } from "./draw";
import {
  bool,
  cutPressure,
  DEFAULT_LEASE,
  DEFAULT_STRIPES,
  type EventControl,
  type Item,
  limitPerTick,
  MAX_LEASE,
  MAX_STRIPES,
  n,
  parseCountersKey,
  parseEventId,
  positionOf,
  ROW_TTL_SECONDS,
  s,
  stripeItem,
  stripeKey,
  TICK_SECONDS,
  toControl,
  toStripe,
} from "./schema";

/*
 * What an operator does to an event, as functions over a DynamoDB client. None of them asks back, prints or reads a
 * configuration: that is for the command around them. All may be repeated.
 */

/** Where the tables are, and the clock. */
export interface ControlPlane {
  readonly client: Pick<DynamoDBClient, "send">;
  readonly countersTable: string;
  readonly nowMs?: () => number;
}

/** The operator asked for something that the event's state does not allow. */
export class ControlError extends Error {
  constructor(
    readonly code:
      | "EVENT_ID_INVALID"
      | "EVENT_UNKNOWN"
      | "ALREADY_OPEN"
      | "NOT_ACTIVE"
      | "OUT_OF_RANGE"
      | "CHANGED_MEANWHILE",
    message: string,
  ) {
    super(message);
    this.name = "ControlError";
  }
}

export interface OpenOptions {
  /** Visitors per tick of 10 s. @default the advancer's BATCH_SIZE */
  readonly batchSize?: number;
  /** Items among which the event's counter is divided; one takes about 1,250 arrivals/s. @default 8 */
  readonly stripes?: number;
  /** Places that an environment takes at once in a stream of arrivals. @default 4 */
  readonly lease?: number;
  /** Opens an event anew that is open already, which voids the tickets and tokens of all who wait. @default false */
  readonly again?: boolean;
  /**
   * Seconds since 1970 at which the sale opens. Who comes before it draws lots for a position when it has come, whoever comes
   * later stands behind them. @default now, and everybody in order of arrival
   */
  readonly opensAt?: number;
}

const MAX_BATCH = 100_000;
/** Longest time for which visitors may come before the opening, seconds: half the life of their rows. */
const MAX_EARLY_SECONDS = ROW_TTL_SECONDS / 2;

/**
 * Opens the event with a new generation: everything handed out before is void. The event is closed to newcomers for the
 * moment in which its stripes are being made, so that nobody is given a place of a counter that is reset a moment later.
 */
export async function openEvent(
  plane: ControlPlane,
  rawEventId: string,
  options: OpenOptions = {},
): Promise<EventControl> {
  const eventId = validEventId(rawEventId);
  const stripes = inRange("stripes", options.stripes ?? DEFAULT_STRIPES, 1, MAX_STRIPES);
  const lease = inRange("lease", options.lease ?? DEFAULT_LEASE, 1, MAX_LEASE);
  const batchSize = options.batchSize === undefined ? undefined : inRange("batchSize", options.batchSize, 1, MAX_BATCH);
  const nowSeconds = Math.floor((plane.nowMs?.() ?? Date.now()) / 1000);
  const { opensAt } = options;
  if (opensAt !== undefined && (opensAt <= nowSeconds || opensAt > nowSeconds + MAX_EARLY_SECONDS)) {
    const iso = (seconds: number) => new Date(seconds * 1000).toISOString();
    throw new ControlError(
      "OUT_OF_RANGE",
      `opens-at: given ${iso(opensAt)}; allowed is a time after now, ${iso(nowSeconds)}, and by ${iso(nowSeconds + MAX_EARLY_SECONDS)}: rows of those who come early live no longer.`,
    );
  }
  const raw = await readItem(plane, eventId);
  const before = toControl(raw);
  if (before?.isActive && options.again !== true) {
    throw new ControlError(
      "ALREADY_OPEN",
      `Event ${eventId} is open. Opening it again voids the places of all who wait.`,
    );
  }
  const seen = raw?.generation?.N;
  const generation = Math.max(Number(seen ?? 0), await highestStripeGeneration(plane, eventId)) + 1;
  // Stripes first: until the control item names their generation, no environment takes a place from them. Stripe 0 before
  // the others decides between two who open at once, and a stripe in use is never set back.
  try {
    await prepareStripe(plane, eventId, 0, generation);
    const items = opensAt === undefined ? stripes : 2 * stripes;
    await Promise.all(
      Array.from({ length: items - 1 }, (_, index) => prepareStripe(plane, eventId, index + 1, generation)),
    );
  } catch (error) {
    throw changedMeanwhile(error, eventId);
  }
  const item: Item = {
    eventId: s(eventId),
    generation: n(generation),
    isActive: bool(true),
    nextPosition: n(0),
    servingCounter: n(0),
    updatedAt: s(nowIso(plane)),
    stripes: n(stripes),
    lease: n(lease),
    tick: n(currentTick(plane)),
    paused: bool(false),
    draining: bool(false),
    bypass: bool(false),
    ...(batchSize === undefined ? {} : { batchSize: n(batchSize) }),
    ...(opensAt === undefined ? {} : { opensAt: n(opensAt) }),
    ...(raw?.ceiling === undefined ? {} : { ceiling: raw.ceiling }),
  };
  try {
    await plane.client.send(
      new PutItemCommand({
        TableName: plane.countersTable,
        Item: item,
        ConditionExpression: seen === undefined ? "attribute_not_exists(generation)" : "generation = :seen",
        ...(seen === undefined ? {} : { ExpressionAttributeValues: { ":seen": n(Number(seen)) } }),
      }),
    );
  } catch (error) {
    throw changedMeanwhile(error, eventId);
  }
  return toControl(item) as EventControl;
}

/** Nobody is let in until the event is resumed; places are still given. */
export async function pauseEvent(plane: ControlPlane, eventId: string): Promise<EventControl> {
  return change(plane, eventId, "SET paused = :true", { ":true": bool(true) }, "active");
}

/** Goes on where it was paused, without making up for the time in between. */
export async function resumeEvent(plane: ControlPlane, eventId: string): Promise<EventControl> {
  const values = { ":false": bool(false), ":tick": n(currentTick(plane)) };
  return change(plane, eventId, "SET paused = :false, tick = :tick", values, "active");
}

/** Lets in those who wait, at the usual rate, then closes the event by itself. Newcomers queue behind them meanwhile. */
export async function drainEvent(plane: ControlPlane, eventId: string): Promise<EventControl> {
  return change(plane, eventId, "SET draining = :true", { ":true": bool(true) }, "active");
}

/** Ends the waiting at once: everybody who waits or comes is let in. */
export async function closeEvent(plane: ControlPlane, eventId: string): Promise<EventControl> {
  const values = { ":false": bool(false) };
  return change(plane, eventId, "SET isActive = :false, paused = :false, draining = :false, bypass = :false", values);
}

/** Visitors let in per tick of 10 s from the next tick on. */
export async function setRate(plane: ControlPlane, eventId: string, batchSize: number): Promise<EventControl> {
  const values = { ":batch": n(inRange("rate", batchSize, 0, MAX_BATCH)) };
  return change(plane, eventId, "SET batchSize = :batch REMOVE ratePerSecond", values);
}

/** Upper limit per tick whatever the rate says; undefined takes it off. */
export async function setCeiling(
  plane: ControlPlane,
  eventId: string,
  ceiling: number | undefined,
): Promise<EventControl> {
  return ceiling === undefined
    ? change(plane, eventId, "REMOVE ceiling", {})
    : change(plane, eventId, "SET ceiling = :ceiling", { ":ceiling": n(inRange("ceiling", ceiling, 0, MAX_BATCH)) });
}

/** Emergency switch: on, everybody is let in at once; off, the queue goes on behind the last position handed out. */
export async function setBypass(plane: ControlPlane, eventId: string, on: boolean): Promise<EventControl> {
  return change(plane, eventId, "SET bypass = :on", { ":on": bool(on) }, "active");
}

/**
 * The booking API is saturated: halves what may come in per tick, at once. What follows is as if the advancer had seen it
 * itself, see {@link nextPressure}.
 */
export async function reportSaturation(
  plane: ControlPlane,
  eventId: string,
  defaultBatch: number,
): Promise<EventControl> {
  const control = await readControl(plane, eventId);
  const { pressure, pressureTick } = cutPressure(control, defaultBatch, currentTick(plane));
  const values = { ":pressure": n(pressure), ":pressureTick": n(pressureTick) };
  return change(plane, eventId, "SET pressure = :pressure, pressureTick = :pressureTick", values, "active");
}

/** Live numbers of one event. */
export interface EventStatus extends EventControl {
  /** Highest position handed out, read from the stripes; before the opening, the number of those who came. */
  readonly handedOut: number;
  /** Seconds until the opening; null once the lots are drawn, and for an event without. */
  readonly opensIn: number | null;
  readonly waiting: number;
  /** Visitors per tick that apply now. */
  readonly limit: number;
  /** Seconds until the last in the queue is in; null while the queue stands still. */
  readonly secondsToDrain: number | null;
}

/** What the tables hold about the event now. */
export async function eventStatus(plane: ControlPlane, eventId: string, defaultBatch: number): Promise<EventStatus> {
  const control = await readControl(plane, eventId);
  const handedOut = await readFrontier(plane, control);
  const waiting = control.isActive ? Math.max(0, handedOut - control.servingCounter) : 0;
  const limit = control.paused ? 0 : limitPerTick(control, defaultBatch);
  const now = Math.floor((plane.nowMs?.() ?? Date.now()) / 1000);
  const opensIn = awaitsDraw(control) ? Math.max(0, (control.opensAt as number) - now) : null;
  const rate = Math.min(limit / TICK_SECONDS, control.ratePerSecond ?? Number.POSITIVE_INFINITY);
  const secondsToDrain = waiting === 0 ? 0 : rate > 0 ? Math.ceil(waiting / rate) + (opensIn ?? 0) : null;
  return { ...control, handedOut, opensIn, waiting, limit, secondsToDrain };
}

/** Every event that was ever opened, in order of its id. */
export async function listEvents(plane: ControlPlane): Promise<EventControl[]> {
  const events: EventControl[] = [];
  let start: Item | undefined;
  do {
    const page: ScanCommandOutput = await plane.client.send(
      new ScanCommand({
        TableName: plane.countersTable,
        ConsistentRead: true,
        ...(start === undefined ? {} : { ExclusiveStartKey: start }),
      }),
    );
    for (const item of page.Items ?? []) {
      const control = parseCountersKey(item.eventId?.S ?? "").stripe === undefined ? toControl(item) : undefined;
      if (control !== undefined) {
        events.push(control);
      }
    }
    start = page.LastEvaluatedKey;
  } while (start !== undefined);
  return events.sort((a, b) => (a.eventId < b.eventId ? -1 : 1));
}

/** The list that the edge reads, from what the tables hold: publish it after every change of an event. */
export async function activeEventsDocument(plane: ControlPlane): Promise<string> {
  const active = (await listEvents(plane)).filter(({ isActive }) => isActive);
  const now = new Date(plane.nowMs?.() ?? Date.now());
  return serializeActiveEvents(
    active.map(({ eventId, generation }) => [eventId, generation]),
    now,
  );
}

/** Puts the list where the edge looks for it. One PUT replaces it whole; the edge follows within ten seconds. */
export async function publishActiveEvents(
  s3: Pick<S3Client, "send">,
  target: { readonly bucket: string; readonly key: string },
  document: string,
): Promise<void> {
  await s3.send(
    new PutObjectCommand({
      Bucket: target.bucket,
      Key: target.key,
      Body: document,
      ContentType: "application/json",
      CacheControl: "no-store",
    }),
  );
}

async function change(
  plane: ControlPlane,
  rawEventId: string,
  expression: string,
  values: Item,
  onlyIf?: "active",
): Promise<EventControl> {
  const eventId = validEventId(rawEventId);
  const [sets, remove] = expression.split(/ ?(?=REMOVE )/);
  const set = sets?.startsWith("SET ") ? `${sets}, updatedAt = :now` : "SET updatedAt = :now";
  try {
    const { Attributes } = await plane.client.send(
      new UpdateItemCommand({
        TableName: plane.countersTable,
        Key: { eventId: s(eventId) },
        UpdateExpression: [set, remove ?? (sets?.startsWith("REMOVE") ? sets : "")].join(" ").trim(),
        ConditionExpression: onlyIf === "active" ? "isActive = :active" : "attribute_exists(generation)",
        ExpressionAttributeValues: {
          ...values,
          ":now": s(nowIso(plane)),
          ...(onlyIf === "active" ? { ":active": bool(true) } : {}),
        },
        ReturnValues: "ALL_NEW",
      }),
    );
    return toControl(Attributes) as EventControl;
  } catch (error) {
    if (!isConditionFailed(error)) {
      throw error;
    }
    await readControl(plane, eventId);
    throw new ControlError("NOT_ACTIVE", `Event ${eventId} is not open. Open it first.`);
  }
}

async function prepareStripe(plane: ControlPlane, eventId: string, stripe: number, generation: number): Promise<void> {
  await plane.client.send(
    new PutItemCommand({
      TableName: plane.countersTable,
      Item: { eventId: s(stripeKey(eventId, stripe)), generation: n(generation), nextPosition: n(0) },
      ConditionExpression: "attribute_not_exists(generation) OR generation < :generation",
      ExpressionAttributeValues: { ":generation": n(generation) },
    }),
  );
}

async function readControl(plane: ControlPlane, rawEventId: string): Promise<EventControl> {
  const eventId = validEventId(rawEventId);
  const control = toControl(await readItem(plane, eventId));
  if (control === undefined) {
    throw new ControlError("EVENT_UNKNOWN", `Event ${eventId} was never opened in ${plane.countersTable}.`);
  }
  return control;
}

async function readItem(plane: ControlPlane, key: string): Promise<Item | undefined> {
  const { Item } = await plane.client.send(
    new GetItemCommand({ TableName: plane.countersTable, Key: { eventId: s(key) }, ConsistentRead: true }),
  );
  return Item;
}

/** Survives the loss of the control item, so that a deleted and reopened event does not repeat a generation. */
async function highestStripeGeneration(plane: ControlPlane, eventId: string): Promise<number> {
  const item = await readItem(plane, stripeKey(eventId, 0));
  return item === undefined ? 0 : Math.max(0, toStripe(item).generation);
}

async function readFrontier(plane: ControlPlane, control: EventControl): Promise<number> {
  const { eventId, stripes, generation } = control;
  const counts = (early: boolean) =>
    Promise.all(
      Array.from({ length: stripes }, async (_, stripe) => {
        const item = await readItem(plane, stripeKey(eventId, stripeItem(stripe, stripes, early)));
        return item !== undefined && toStripe(item).generation === generation ? toStripe(item).nextPosition : 0;
      }),
    );
  const tops = (await counts(false)).map((count, stripe) => (count === 0 ? 0 : positionOf(stripe, count - 1, stripes)));
  const early = awaitsDraw(control)
    ? (await counts(true)).reduce((sum, count) => sum + count, 0)
    : earlyPositions(control);
  return early + Math.max(0, ...tops);
}

function validEventId(raw: string): string {
  const eventId = parseEventId(raw);
  if (eventId === undefined) {
    throw new ControlError(
      "EVENT_ID_INVALID",
      `${JSON.stringify(raw)} is no event id: 1 to 64 letters, digits, '-' or '_'.`,
    );
  }
  return eventId;
}

function inRange(name: string, value: number, low: number, high: number): number {
  if (!Number.isSafeInteger(value) || value < low || value > high) {
    throw new ControlError(
      "OUT_OF_RANGE",
      `${name}: given ${value}; allowed is a whole number from ${low} to ${high}.`,
    );
  }
  return value;
}

function changedMeanwhile(error: unknown, eventId: string): unknown {
  return isConditionFailed(error)
    ? new ControlError(
        "CHANGED_MEANWHILE",
        `Event ${eventId} was changed by somebody else at the same time. Look again.`,
      )
    : error;
}

function currentTick(plane: ControlPlane): number {
  return Math.floor((plane.nowMs?.() ?? Date.now()) / 1000 / TICK_SECONDS);
}

function nowIso(plane: ControlPlane): string {
  return new Date(plane.nowMs?.() ?? Date.now()).toISOString();
}
