import { GetItemCommand, PutItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { Allocator } from "../../lambdas/shared/allocator";
import { ControlCache } from "../../lambdas/shared/controls";
import { type EventControl, type Item, n, s, stripeKey } from "../../lambdas/shared/schema";
import { KeyRing, signingKey } from "../../lambdas/shared/secrets";
import { WaitingRoom } from "../../lambdas/vwr-api/service";
import { quantile, writeUnitsOf } from "./meter";

/** An opening as it would meet AWS, in simulated time. */
export interface Scenario {
  readonly visitors: number;
  /** Visitors arrive evenly at random within this time. */
  readonly arrivalMs: number;
  /** Lambda environments, each serving one request at a time. */
  readonly environments: number;
  readonly stripes: number;
  readonly lease: number;
  readonly seed: number;
  /** Whether the advancer has counted the line before: then no rush is assumed. @default false */
  readonly counted?: boolean;
}

export interface SimulationResult {
  /** Writes to the busiest partition key in its busiest second; counters and rows alike. */
  readonly hottestItemWritesPerSecond: number;
  readonly hottestItem: string;
  /** Write units of allocation alone: the counters table and the rows that give places back. */
  readonly allocationWriteUnits: number;
  readonly assignWriteUnits: number;
  /** Share of the places handed out that no visitor got. */
  readonly abandonedShare: number;
  /** Share of those that the advancer knows of. */
  readonly reclaimedShare: number;
  /** How far, in arrival time, a visitor's place is from the one that the order of arrival gives. */
  readonly orderErrorP95Ms: number;
  readonly assignP99Ms: number;
  readonly distinctPositions: number;
}

export const OPENING_15K: Scenario = {
  visitors: 15_000,
  arrivalMs: 1_500,
  environments: 500,
  stripes: 8,
  lease: 4,
  seed: 20_260_501,
};

const EVENT = "evt-sim";
/** What a request takes in an environment besides DynamoDB. */
const COMPUTE_MS = 4;
const START_MS = 1_000;

/**
 * The handlers' own allocation and assign code over a DynamoDB of maps, on a clock that jumps from event to event. Calls
 * take 3 to 8 ms, now and then 30; requests go to a random idle environment, which spreads leases as thin as can be.
 */
export async function simulateOpening(scenario: Scenario): Promise<SimulationResult> {
  const random = generator(scenario.seed);
  const time = new VirtualTime();
  const database = new MemoryDatabase(time, random, scenario);
  const key = signingKey("sim", "simulated-secret-simulated-secret-simulated");
  const environments = Array.from({ length: scenario.environments }, () =>
    makeEnvironment(database, time, random, key),
  );
  const idle = [...environments];
  const queue: (() => void)[] = [];
  const acquire = async () => {
    if (idle.length === 0) {
      await new Promise<void>((resolve) => queue.push(resolve));
    }
    const at = Math.floor(random() * idle.length);
    const last = idle.pop() as (typeof environments)[number];
    const chosen = at < idle.length ? (idle[at] as typeof last) : last;
    if (at < idle.length) {
      idle[at] = last;
    }
    return chosen;
  };
  const release = (environment: (typeof environments)[number]) => {
    idle.push(environment);
    queue.shift()?.();
  };
  const arrivals = Array.from({ length: scenario.visitors }, () => START_MS + random() * scenario.arrivalMs).sort(
    (a, b) => a - b,
  );
  const visits = arrivals.map(async (arrival, visitor) => {
    await time.until(arrival);
    const requestId = `visitor-${String(visitor).padStart(12, "0")}`;
    const environment = await acquire();
    const answer = await environment.room.assign(EVENT, { requestId });
    await time.until(time.now + COMPUTE_MS);
    await environment.housekeep();
    release(environment);
    const latency = time.now - arrival;
    await time.until(time.now + answer.nextPoll * 1000 * (0.8 + 0.4 * random()));
    const poller = await acquire();
    await poller.room.check(EVENT, requestId, answer.ticket ?? undefined);
    await poller.housekeep();
    await time.until(time.now + COMPUTE_MS);
    release(poller);
    return { arrival, position: Number(answer.position), latency };
  });
  await time.run();
  const done = await Promise.all(visits);
  const distinct = new Set(done.map(({ position }) => position));
  const abandoned = database.handedOut() - distinct.size;
  const byPosition = [...done].sort((a, b) => a.position - b.position);
  const errors = byPosition.map(({ arrival }, rank) => Math.abs(arrival - (arrivals[rank] as number)));
  const [hottestItem, hottest] = database.hottest();
  return {
    hottestItemWritesPerSecond: hottest,
    hottestItem,
    allocationWriteUnits: database.allocationUnits,
    assignWriteUnits: database.units,
    abandonedShare: abandoned / database.handedOut(),
    reclaimedShare: abandoned === 0 ? 1 : new Set(database.reclaimed).size / abandoned,
    orderErrorP95Ms: quantile(errors, 0.95),
    assignP99Ms: quantile(
      done.map(({ latency }) => latency),
      0.99,
    ),
    distinctPositions: distinct.size,
  };
}

function makeEnvironment(
  database: MemoryDatabase,
  time: VirtualTime,
  random: () => number,
  key: ReturnType<typeof signingKey>,
) {
  const client = database as never;
  const tables = { countersTable: "counters", positionsTable: "positions" };
  const monotonic = () => time.now;
  const sleep = (ms: number) => time.until(time.now + ms);
  const nowMs = () => time.now;
  const allocator = new Allocator({ client, ...tables, monotonic, random, sleep, nowSeconds: () => 0 });
  const controls = new ControlCache({ client, countersTable: tables.countersTable, monotonic });
  const keys = new KeyRing(async () => [key], { monotonic });
  return {
    room: new WaitingRoom({ client, ...tables, allocator, controls, keys, defaultBatch: 500, nowMs }),
    async housekeep() {
      if (allocator.hasStale()) {
        await allocator.reclaim();
      }
    },
  };
}

/** Timers in order of time, and the present moment. */
class VirtualTime {
  now = 0;
  private readonly heap: { at: number; order: number; resolve: () => void }[] = [];
  private order = 0;

  until(at: number): Promise<void> {
    return new Promise((resolve) => {
      this.order += 1;
      this.push({ at: Math.max(at, this.now), order: this.order, resolve });
    });
  }

  /** Runs until nothing is left to wait for. */
  async run(): Promise<void> {
    await settled();
    for (let next = this.pop(); next !== undefined; next = this.pop()) {
      this.now = next.at;
      next.resolve();
      await settled();
    }
  }

  private push(timer: (typeof this.heap)[number]): void {
    const { heap } = this;
    heap.push(timer);
    for (let i = heap.length - 1; i > 0; ) {
      const parent = (i - 1) >> 1;
      if (!before(heap[i], heap[parent])) {
        break;
      }
      [heap[i], heap[parent]] = [heap[parent] as typeof timer, heap[i] as typeof timer];
      i = parent;
    }
  }

  private pop(): (typeof this.heap)[number] | undefined {
    const { heap } = this;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) {
      return top;
    }
    heap[0] = last;
    for (let i = 0; ; ) {
      const left = 2 * i + 1;
      const smaller = before(heap[left + 1], heap[left]) ? left + 1 : left;
      if (!before(heap[smaller], heap[i])) {
        return top;
      }
      [heap[i], heap[smaller]] = [heap[smaller] as typeof last, heap[i] as typeof last];
      i = smaller;
    }
  }
}

function before(a: { at: number; order: number } | undefined, b: { at: number; order: number } | undefined): boolean {
  return a !== undefined && (b === undefined || a.at < b.at || (a.at === b.at && a.order < b.order));
}

/** All that is ready to run has run once the event loop comes round. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The operations that assign and check use, on maps, with the writes to each key by the millisecond. */
class MemoryDatabase {
  units = 0;
  allocationUnits = 0;
  readonly reclaimed: number[] = [];
  private readonly stripes = new Map<string, number>();
  private readonly rows = new Map<string, Item>();
  private readonly writes = new Map<string, number[]>();
  private readonly control: Item;

  constructor(
    private readonly time: VirtualTime,
    private readonly random: () => number,
    scenario: Scenario,
  ) {
    const { counted = false, lease, stripes } = scenario;
    const control: Omit<EventControl, "eventId" | "updatedAt"> = {
      generation: 1,
      isActive: true,
      nextPosition: counted ? 1 : 0,
      servingCounter: 0,
      stripes,
      lease,
      tick: 0,
      paused: false,
      draining: false,
      bypass: false,
    };
    const fields = Object.entries(control).map(([name, value]) => [
      name,
      typeof value === "boolean" ? { BOOL: value } : n(value as number),
    ]);
    this.control = { ...Object.fromEntries(fields), eventId: s(EVENT) };
    for (let stripe = 0; stripe < stripes; stripe += 1) {
      this.stripes.set(stripeKey(EVENT, stripe), 0);
    }
  }

  async send(command: { input: object }): Promise<object> {
    const latency = this.random() < 0.01 ? 30 : 3 + this.random() * 5;
    await this.time.until(this.time.now + latency / 2);
    const answer = this.apply(command);
    await this.time.until(this.time.now + latency / 2);
    return answer;
  }

  handedOut(): number {
    return [...this.stripes.values()].reduce((sum, next) => sum + next, 0);
  }

  /** The key with the most writes in any window of one second, and their number. */
  hottest(): [string, number] {
    let best: [string, number] = ["", 0];
    for (const [key, times] of this.writes) {
      for (let from = 0, to = 0; to < times.length; to += 1) {
        while ((times[to] as number) - (times[from] as number) >= 1_000) {
          from += 1;
        }
        if (to - from + 1 > best[1]) {
          best = [key, to - from + 1];
        }
      }
    }
    return best;
  }

  private apply(command: { input: object }): object {
    const units = writeUnitsOf(command);
    this.units += units;
    if (command instanceof UpdateItemCommand) {
      const key = command.input.Key?.eventId?.S as string;
      this.wrote(`counters ${key}`);
      this.allocationUnits += units;
      const next = (this.stripes.get(key) as number) + Number(command.input.ExpressionAttributeValues?.[":size"]?.N);
      this.stripes.set(key, next);
      return { Attributes: { nextPosition: n(next) } };
    }
    if (command instanceof PutItemCommand) {
      const item = command.input.Item as Item;
      this.wrote(`positions ${item.eventId?.S}`);
      this.rows.set(`${item.eventId?.S}/${item.requestId?.S}`, item);
      if (item.count !== undefined) {
        this.allocationUnits += units;
        for (let i = 0; i < Number(item.count?.N); i += 1) {
          this.reclaimed.push(Number(item.place?.N) + i * this.stripes.size);
        }
      }
      return {};
    }
    if (command instanceof GetItemCommand) {
      const key = command.input.Key?.eventId?.S as string;
      const row = this.rows.get(`${key}/${command.input.Key?.requestId?.S}`);
      const item = key === EVENT ? this.control : row;
      return item === undefined ? {} : { Item: item };
    }
    throw new Error(`Not simulated: ${command.constructor.name}`);
  }

  private wrote(key: string): void {
    const times = this.writes.get(key);
    if (times === undefined) {
      this.writes.set(key, [this.time.now]);
    } else {
      times.push(this.time.now);
    }
  }
}

/** Mulberry32: small, seeded, good enough for arrivals. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
