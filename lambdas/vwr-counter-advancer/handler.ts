import {
  type DynamoDBClient,
  QueryCommand,
  ScanCommand,
  type ScanCommandOutput,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { isConditionFailed, isThrottled } from "../shared/clients";
import {
  bool,
  type EventControl,
  limitPerTick,
  MAX_LEASE,
  n,
  parseCountersKey,
  type ReclaimedRow,
  reclaimedKey,
  reclaimedRange,
  recoveredPressure,
  s,
  stripeKey,
  TICK_SECONDS,
  toControl,
  toReclaimed,
  toStripe,
} from "../shared/schema";
import type { Telemetry } from "../shared/telemetry";
import { advanceTarget, floors, frontier, measuredRate, ticksDue } from "./advance";

export interface AdvancerOptions {
  readonly client: Pick<DynamoDBClient, "send">;
  readonly countersTable: string;
  readonly positionsTable: string;
  /** Visitors per tick where the event's own item says nothing. */
  readonly batchSize: number;
  /** Cycles per invocation. @default 6 */
  readonly cycles?: number;
  readonly telemetry: Telemetry;
  readonly nowMs?: () => number;
  /** Monotonic milliseconds, for pacing. */
  readonly monotonic?: () => number;
  readonly sleep?: (ms: number) => Promise<void>;
}

/** What became of an event in one tick. */
export type Outcome =
  | { readonly eventId: string; readonly result: "advanced"; readonly from: number; readonly to: number }
  | { readonly eventId: string; readonly result: "idle" | "paused" | "applied" | "lost-race" }
  | { readonly eventId: string; readonly result: "failed"; readonly error: unknown };

interface LiveEvent {
  readonly control: EventControl;
  readonly handedOut: readonly number[];
}

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
  const outcomes = await Promise.all(
    events.map(async (event): Promise<Outcome> => {
      try {
        return await advanceEvent(options, event, tick);
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

async function advanceEvent(options: AdvancerOptions, event: LiveEvent, tick: number): Promise<Outcome> {
  const { control, handedOut } = event;
  const { eventId, servingCounter } = control;
  const ticks = ticksDue(control.tick, tick);
  if (control.paused || ticks === 0) {
    return { eventId, result: control.paused ? "paused" : "applied" };
  }
  const quota = limitPerTick(control, options.batchSize) * ticks;
  const last = Math.max(servingCounter, frontier(handedOut));
  const target = control.bypass ? last : await findTarget(options, event, quota, last);
  if (target > servingCounter) {
    await raiseStripes(options, control, handedOut, target);
  }
  const done = await moveCounter(options, control, tick, target, last);
  if (!done) {
    return { eventId, result: "lost-race" };
  }
  return target > servingCounter
    ? { eventId, result: "advanced", from: servingCounter, to: target }
    : { eventId, result: "idle" };
}

/** Where the counter goes. Reclaimed places are read as far as it may get, further only if so many were given up. */
async function findTarget(options: AdvancerOptions, event: LiveEvent, quota: number, last: number): Promise<number> {
  const { control, handedOut } = event;
  const { servingCounter } = control;
  if (quota === 0 || quota >= last - servingCounter) {
    return advanceTarget({ servingCounter, handedOut, reclaimed: [] }, quota);
  }
  for (let reach = servingCounter + 2 * quota; ; reach += 4 * quota) {
    const reclaimed = await reclaimedPlaces(options, control, reach);
    const target = advanceTarget({ servingCounter, handedOut, reclaimed }, quota);
    if (target <= reach) {
      return target;
    }
  }
}

/** Before the counter moves: whoever comes from now on gets a position beyond it, also from a stripe that lagged. */
async function raiseStripes(
  options: AdvancerOptions,
  control: EventControl,
  handedOut: readonly number[],
  target: number,
): Promise<void> {
  const lagging = floors(target, control.stripes)
    .map((floor, stripe) => ({ floor, stripe }))
    .filter(({ floor, stripe }) => (handedOut[stripe] ?? 0) < floor);
  await Promise.all(
    lagging.map(async ({ floor, stripe }) => {
      const update = new UpdateItemCommand({
        TableName: options.countersTable,
        Key: { eventId: s(stripeKey(control.eventId, stripe)) },
        UpdateExpression: "SET nextPosition = :floor",
        ConditionExpression: "generation = :generation AND nextPosition < :floor",
        ExpressionAttributeValues: { ":floor": n(floor), ":generation": n(control.generation) },
      });
      try {
        await options.client.send(update);
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
  control: EventControl,
  tick: number,
  target: number,
  last: number,
): Promise<boolean> {
  const nowMs = options.nowMs ?? Date.now;
  const ranDry = target >= last;
  const seconds = (tick - control.tick) * TICK_SECONDS;
  const rate = measuredRate(control.ratePerSecond, target - control.servingCounter, seconds, ranDry);
  const pressure = recoveredPressure(control, options.batchSize);
  const drained = control.draining && ranDry;
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
    ...(pressure === undefined ? {} : { ":pressure": n(pressure) }),
  };
  if (rate !== undefined) {
    sets.push("ratePerSecond = :rate");
  }
  if (pressure !== undefined) {
    sets.push("pressure = :pressure");
  }
  if (drained) {
    sets.push("isActive = :false", "draining = :false");
  }
  const remove = control.pressure !== undefined && pressure === undefined ? " REMOVE pressure" : "";
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

/** Places that nobody holds, in the range the counter may cross. */
async function reclaimedPlaces(
  options: AdvancerOptions,
  control: EventControl,
  reach: number,
): Promise<ReclaimedRow[]> {
  const { servingCounter, stripes, generation, eventId } = control;
  // Rows name the first place of a lease, which may lie before the counter.
  const from = Math.max(1, servingCounter + 1 - MAX_LEASE * stripes);
  const perStripe = await Promise.all(
    Array.from({ length: stripes }, async (_, stripe) => {
      const rows: ReclaimedRow[] = [];
      let start: Record<string, never> | undefined;
      do {
        const page = await options.client.send(
          new QueryCommand({
            TableName: options.positionsTable,
            ConsistentRead: true,
            KeyConditionExpression: "eventId = :key AND requestId BETWEEN :from AND :to",
            ExpressionAttributeValues: {
              ":key": s(reclaimedKey(eventId, stripe, generation)),
              ":from": s(reclaimedRange(from)),
              ":to": s(reclaimedRange(reach)),
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
  return controls.map((control) => ({
    control,
    handedOut: Array.from({ length: control.stripes }, (_, stripe) => {
      const item = stripes.get(control.eventId)?.get(stripe);
      return item?.generation === control.generation ? item.nextPosition : 0;
    }),
  }));
}
