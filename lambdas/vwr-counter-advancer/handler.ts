import {
  type DynamoDBClient,
  QueryCommand,
  ScanCommand,
  type ScanCommandOutput,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { isConditionFailed, isThrottled } from "../shared/clients";
import { awaitsDraw, earlyPositions } from "../shared/draw";
import {
  type BookingHealth,
  bool,
  type EventControl,
  limitPerTick,
  MAX_LEASE,
  n,
  nextPressure,
  parseCountersKey,
  type ReclaimedRow,
  reclaimedKey,
  reclaimedRange,
  s,
  stripeItem,
  stripeKey,
  TICK_SECONDS,
  toControl,
  toReclaimed,
  toStripe,
} from "../shared/schema";
import type { Telemetry } from "../shared/telemetry";
import { advanceTarget, floors, frontier, measuredRate, ticksDue } from "./advance";
import { drawLots } from "./draw-lots";

export interface AdvancerOptions {
  readonly client: Pick<DynamoDBClient, "send">;
  readonly countersTable: string;
  readonly positionsTable: string;
  /** Visitors per tick where the event's own item says nothing. */
  readonly batchSize: number;
  /** Cycles per invocation. @default 6 */
  readonly cycles?: number;
  /** Seconds from one cycle to the next. Only as long as a tick is allowed. @default 10 */
  readonly cycleSeconds?: number;
  readonly telemetry: Telemetry;
  /** Asked once per tick in which an event is open. @default always healthy */
  readonly bookingHealth?: () => Promise<BookingHealth>;
  readonly nowMs?: () => number;
  /** Monotonic milliseconds, for pacing. */
  readonly monotonic?: () => number;
  readonly sleep?: (ms: number) => Promise<void>;
}

/** What became of an event in one tick. */
export type Outcome =
  | { readonly eventId: string; readonly result: "advanced"; readonly from: number; readonly to: number }
  | { readonly eventId: string; readonly result: "idle" | "paused" | "applied" | "early" | "lost-race" }
  | { readonly eventId: string; readonly result: "failed"; readonly error: unknown };

interface LiveEvent {
  readonly control: EventControl;
  /** Per stripe, of those who came after the opening or have none. */
  readonly handedOut: readonly number[];
  /** How many came before the opening. */
  readonly early: number;
}

type Tables = Pick<AdvancerOptions, "client" | "countersTable" | "positionsTable">;

/** The schedule's event; `time` is the minute it was due, the same however often it is delivered. */
export interface ScheduleEvent {
  readonly time?: string;
}

/** Time that the last cycle leaves for its own work before the function's timeout. */
const SAFETY_MS = 2_500;

/**
 * Once a minute, six cycles ten seconds apart (Architecture guide §4.1). Ticks are numbered from the time for which the
 * minute was scheduled, not from this machine's clock: an invocation that is repeated or late finds its ticks applied.
 */
export function createHandler(options: AdvancerOptions) {
  const cycles = options.cycles ?? 6;
  checkSettings({ ...options, cycles });
  const nowMs = options.nowMs ?? Date.now;
  const monotonic = options.monotonic ?? (() => performance.now());
  const sleep = options.sleep ?? ((ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)));
  return async (event: ScheduleEvent, context?: { getRemainingTimeInMillis(): number }): Promise<Outcome[]> => {
    const scheduled = Date.parse(event.time ?? "");
    const firstTick = Math.floor((Number.isNaN(scheduled) ? nowMs() : scheduled) / 1000 / TICK_SECONDS);
    const startedAt = monotonic();
    const outcomes: Outcome[] = [];
    for (let cycle = 0; cycle < cycles; cycle += 1) {
      const wait = startedAt + cycle * TICK_SECONDS * 1000 - monotonic();
      if (context !== undefined && context.getRemainingTimeInMillis() - wait < SAFETY_MS) {
        options.telemetry.warn("Out of time; the next minute catches up", { cycle });
        break;
      }
      if (wait > 0) {
        await sleep(wait);
      }
      outcomes.push(...(await runTick(options, firstTick + cycle)));
      options.telemetry.flush();
    }
    return outcomes;
  };
}

/** What the function's environment sets. A number that is none would let nobody in, and nothing would say so. */
function checkSettings({ batchSize, cycles, cycleSeconds = TICK_SECONDS }: AdvancerOptions & { cycles: number }): void {
  const counts = { BATCH_SIZE: batchSize, CYCLES: cycles };
  const problems = Object.entries(counts)
    .filter(([, given]) => !Number.isSafeInteger(given) || given < 1)
    .map(([name, given]) => `${name}: given ${given}; allowed is a whole number from 1`);
  if (cycleSeconds !== TICK_SECONDS) {
    const reason = "the tables number ticks by it, and the API tells rates by it";
    problems.push(
      `CYCLE_SECONDS: given ${cycleSeconds}; allowed is ${TICK_SECONDS} (${reason}). Set it to ${TICK_SECONDS}, or leave it out`,
    );
  }
  if (problems.length > 0) {
    throw new Error(problems.join("\n"));
  }
}

/** Advances every event that is due at this tick. One event's failure does not hold up the others. */
export async function runTick(options: AdvancerOptions, tick: number): Promise<Outcome[]> {
  const { telemetry } = options;
  let events: LiveEvent[];
  try {
    events = await liveEvents(options);
  } catch (error) {
    telemetry.error("The counters table cannot be read; this tick is made up for at the next", error, { tick });
    return [];
  }
  const health = events.length === 0 ? "healthy" : await bookingHealth(options);
  const outcomes = await Promise.all(
    events.map(async (event): Promise<Outcome> => {
      try {
        return await advanceEvent(options, event, tick, health);
      } catch (error) {
        telemetry.count(isThrottled(error) ? "Throttled" : "AdvanceFailed");
        telemetry.error("Advancing failed", error, { eventId: event.control.eventId, tick });
        return { eventId: event.control.eventId, result: "failed", error };
      }
    }),
  );
  for (const outcome of outcomes) {
    if (outcome.result === "advanced") {
      telemetry.count("Advanced", outcome.to - outcome.from);
      telemetry.info("Advanced", { ...outcome, tick });
    }
  }
  return outcomes;
}

/** The line goes on at its present pace while nothing is known: a blind spot is no reason to stop it, nor to speed it up. */
async function bookingHealth({ bookingHealth: ask, telemetry }: AdvancerOptions): Promise<BookingHealth> {
  if (ask === undefined) {
    return "healthy";
  }
  try {
    const health = await ask();
    if (health === "saturated") {
      telemetry.count("BookingSaturated");
    }
    return health;
  } catch (error) {
    telemetry.count("BookingHealthUnknown");
    telemetry.error("The booking API's alarms cannot be read; the rate is held", error);
    return "unknown";
  }
}

async function advanceEvent(
  options: AdvancerOptions,
  event: LiveEvent,
  tick: number,
  health: BookingHealth,
): Promise<Outcome> {
  const { eventId } = event.control;
  const ticks = ticksDue(event.control.tick, tick);
  if (event.control.paused || ticks === 0) {
    return { eventId, result: event.control.paused ? "paused" : "applied" };
  }
  if (event.control.opensAt !== undefined && awaitsDraw(event.control)) {
    if (tick * TICK_SECONDS < event.control.opensAt) {
      const counted = await moveCounter(options, event, { tick, target: 0, last: event.early, health });
      return { eventId, result: counted ? "early" : "lost-race" };
    }
    const control = await drawLots(options, event.control);
    if (control === undefined) {
      return { eventId, result: "lost-race" };
    }
    options.telemetry.info("Lots drawn", { eventId, visitors: earlyPositions(control) });
    return advanceTo(options, { ...event, control }, tick, 1, health);
  }
  return advanceTo(options, event, tick, ticks, health);
}

async function advanceTo(
  options: AdvancerOptions,
  event: LiveEvent,
  tick: number,
  ticks: number,
  health: BookingHealth,
): Promise<Outcome> {
  const { control, handedOut } = event;
  const { eventId, servingCounter } = control;
  // A cut holds for this tick already; what is given back, from the next one on.
  const pressed = health === "saturated" ? nextPressure(control, options.batchSize, health, tick) : undefined;
  const quota = limitPerTick({ ...control, ...pressed }, options.batchSize) * ticks;
  const last = Math.max(servingCounter, earlyPositions(control) + frontier(handedOut));
  const target = control.bypass ? last : await findTarget(options, event, quota, last);
  if (target > servingCounter) {
    await raiseStripes(options, event, target);
  }
  const done = await moveCounter(options, event, { tick, target, last, health });
  if (!done) {
    return { eventId, result: "lost-race" };
  }
  return target > servingCounter
    ? { eventId, result: "advanced", from: servingCounter, to: target }
    : { eventId, result: "idle" };
}

/** Where the counter goes. Reclaimed places are read as far as it may get, further only if so many were given up. */
async function findTarget(tables: Tables, event: LiveEvent, quota: number, last: number): Promise<number> {
  const { control, handedOut } = event;
  const { draw, servingCounter, stripes } = control;
  if (quota === 0 || quota >= last - servingCounter) {
    return advanceTarget({ servingCounter, handedOut, reclaimed: [], ...(draw && withoutReclaimed(draw)) }, quota);
  }
  const before = earlyPositions(control);
  // The draw has spread them over all early positions.
  const everyEarlyPlace = stripes * Math.max(0, ...(draw?.counts ?? []));
  const early =
    draw === undefined
      ? undefined
      : {
          draw,
          reclaimed: servingCounter < before ? await reclaimedPlaces(tables, control, true, 1, everyEarlyPlace) : [],
        };
  for (let reach = servingCounter + 2 * quota; ; reach += 4 * quota) {
    // Rows name the first place of a lease, which may lie before the counter.
    const from = Math.max(1, servingCounter - before + 1 - MAX_LEASE * stripes);
    const reclaimed = reach > before ? await reclaimedPlaces(tables, control, false, from, reach - before) : [];
    const target = advanceTarget({ servingCounter, handedOut, reclaimed, ...(early && { early }) }, quota);
    if (target <= reach) {
      return target;
    }
  }
}

function withoutReclaimed(draw: NonNullable<EventControl["draw"]>) {
  return { early: { draw, reclaimed: [] } };
}

/** Before the counter moves: whoever comes from now on gets a position beyond it, also from a stripe that lagged. */
async function raiseStripes(
  { client, countersTable }: Tables,
  { control, handedOut }: LiveEvent,
  target: number,
): Promise<void> {
  const { eventId, generation, stripes } = control;
  const lagging = floors(Math.max(0, target - earlyPositions(control)), stripes)
    .map((floor, stripe) => ({ floor, stripe }))
    .filter(({ floor, stripe }) => (handedOut[stripe] ?? 0) < floor);
  await Promise.all(
    lagging.map(async ({ floor, stripe }) => {
      const update = new UpdateItemCommand({
        TableName: countersTable,
        Key: { eventId: s(stripeKey(eventId, stripe)) },
        UpdateExpression: "SET nextPosition = :floor",
        ConditionExpression: "generation = :generation AND nextPosition < :floor",
        ExpressionAttributeValues: { ":floor": n(floor), ":generation": n(generation) },
      });
      try {
        await client.send(update);
      } catch (error) {
        if (!isConditionFailed(error)) {
          throw error;
        }
      }
    }),
  );
}

/** One advance per tick: only if nobody else moved the counter, applied a tick, paused or reopened the event meanwhile. */
async function moveCounter(
  options: AdvancerOptions,
  { control }: LiveEvent,
  { health, last, target, tick }: { tick: number; target: number; last: number; health: BookingHealth },
): Promise<boolean> {
  const nowMs = options.nowMs ?? Date.now;
  const ranDry = target >= last || awaitsDraw(control);
  const seconds = (tick - control.tick) * TICK_SECONDS;
  const rate = measuredRate(control.ratePerSecond, target - control.servingCounter, seconds, ranDry);
  const pressed = nextPressure(control, options.batchSize, health, tick);
  const drained = control.draining && target >= last && !awaitsDraw(control);
  const sets = ["servingCounter = :target", "nextPosition = :last", "tick = :tick", "updatedAt = :now"];
  const values = {
    ":target": n(target),
    ":last": n(last),
    ":tick": n(tick),
    ":now": s(new Date(nowMs()).toISOString()),
    ":seenTick": n(control.tick),
    ":seen": n(control.servingCounter),
    ":generation": n(control.generation),
    ":true": bool(true),
    ":false": bool(false),
    ...(rate === undefined ? {} : { ":rate": n(rate) }),
    ...(pressed && { ":pressure": n(pressed.pressure), ":pressureTick": n(pressed.pressureTick) }),
  };
  if (rate !== undefined) {
    sets.push("ratePerSecond = :rate");
  }
  if (pressed !== undefined) {
    sets.push("pressure = :pressure", "pressureTick = :pressureTick");
  }
  if (drained) {
    sets.push("isActive = :false", "draining = :false");
  }
  const remove = control.pressure !== undefined && pressed === undefined ? " REMOVE pressure, pressureTick" : "";
  try {
    await options.client.send(
      new UpdateItemCommand({
        TableName: options.countersTable,
        Key: { eventId: s(control.eventId) },
        UpdateExpression: `SET ${sets.join(", ")}${remove}`,
        ConditionExpression:
          "tick = :seenTick AND servingCounter = :seen AND generation = :generation AND isActive = :true AND paused = :false",
        ExpressionAttributeValues: values,
      }),
    );
    return true;
  } catch (error) {
    if (isConditionFailed(error)) {
      return false;
    }
    throw error;
  }
}

/** Places of one line that nobody holds, in this range. */
async function reclaimedPlaces(
  { client, positionsTable }: Tables,
  { eventId, generation, stripes }: EventControl,
  early: boolean,
  from: number,
  to: number,
): Promise<ReclaimedRow[]> {
  const perStripe = await Promise.all(
    Array.from({ length: stripes }, async (_, stripe) => {
      const rows: ReclaimedRow[] = [];
      let start: Record<string, never> | undefined;
      do {
        const page = await client.send(
          new QueryCommand({
            TableName: positionsTable,
            ConsistentRead: true,
            KeyConditionExpression: "eventId = :key AND requestId BETWEEN :from AND :to",
            ExpressionAttributeValues: {
              ":key": s(reclaimedKey(eventId, stripeItem(stripe, stripes, early), generation)),
              ":from": s(reclaimedRange(from)),
              ":to": s(reclaimedRange(to)),
            },
            ...(start === undefined ? {} : { ExclusiveStartKey: start }),
          }),
        );
        rows.push(...(page.Items ?? []).map(toReclaimed));
        start = page.LastEvaluatedKey as Record<string, never> | undefined;
      } while (start !== undefined);
      return rows;
    }),
  );
  return perStripe.flat();
}

/** Every active event with its stripes. The table is read whole, page by page: it holds a few items per event. */
async function liveEvents(options: AdvancerOptions): Promise<LiveEvent[]> {
  const controls: EventControl[] = [];
  const stripes = new Map<string, Map<number, { generation: number; nextPosition: number }>>();
  let start: ScanCommandOutput["LastEvaluatedKey"];
  do {
    const page: ScanCommandOutput = await options.client.send(
      new ScanCommand({
        TableName: options.countersTable,
        ConsistentRead: true,
        ...(start === undefined ? {} : { ExclusiveStartKey: start }),
      }),
    );
    for (const item of page.Items ?? []) {
      const { eventId, stripe } = parseCountersKey(item.eventId?.S ?? "");
      if (stripe === undefined) {
        const control = toControl(item);
        if (control?.isActive) {
          controls.push(control);
        }
      } else {
        const ofEvent = stripes.get(eventId) ?? new Map();
        ofEvent.set(stripe, toStripe(item));
        stripes.set(eventId, ofEvent);
      }
    }
    start = page.LastEvaluatedKey;
  } while (start !== undefined);
  return controls.map((control) => {
    const counts = (early: boolean) =>
      Array.from({ length: control.stripes }, (_, stripe) => {
        const item = stripes.get(control.eventId)?.get(stripeItem(stripe, control.stripes, early));
        return item?.generation === control.generation ? item.nextPosition : 0;
      });
    const early = awaitsDraw(control) ? counts(true).reduce((sum, count) => sum + count, 0) : earlyPositions(control);
    return { control, handedOut: counts(false), early };
  });
}
