import { fork } from "node:child_process";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { Allocator } from "../../lambdas/shared/allocator";
import { eventStatus, openEvent } from "../../lambdas/shared/control";
import { ControlCache } from "../../lambdas/shared/controls";
import { earlyPlaceOf, lineAt } from "../../lambdas/shared/draw";
import { KeyRing, signingKey } from "../../lambdas/shared/secrets";
import { silentTelemetry } from "../../lambdas/shared/telemetry";
import { createHandler } from "../../lambdas/vwr-api/handler";
import { WaitingRoom } from "../../lambdas/vwr-api/service";
import { runTick } from "../../lambdas/vwr-counter-advancer/handler";
import { type BaselineOptions, baselineAssign, baselineCheck, baselineTake } from "./baseline";
import { type LoadTime, measureLoadTimes } from "./load-time";
import { metered, quantile, type Usage } from "./meter";
import { OPENING_15K, type SimulationResult, simulateOpening } from "./simulate";

/*
 * `npm run bench:vwr`: the waiting room against the plain one-item design, side by side in one run. Both go over the wire
 * to the same dynalite, in turns, so that what else the machine does strikes both alike.
 */

/** Figures that other programs read; ratios are this design's over the baseline's of the same run. */
export interface BenchResult {
  readonly assignRatio: number;
  readonly assignP99Ms: number;
  readonly writeUnitRatio: number;
  readonly allocationRatio: number;
  readonly allocationP99Ms: number;
  readonly allocationWriteUnitRatio: number;
  readonly checkRatio: number;
  readonly hottestItemWritesPerSecond: number;
}

interface Measured {
  readonly perSecond: number;
  readonly p99Ms: number;
  readonly writeUnits: number;
  readonly reads: number;
}

const COUNTERS = "bench-counters";
const POSITIONS = "bench-positions";
const CONCURRENCY = 200;
/** Turns in which the designs are measured. */
const SLICES = 10;
/** Calls of each design before anything is measured: V8 compiles what it meets often. */
const WARM_UP = 2_000;
const TICKETED_CHECKS = 200_000;
const BASELINE_CHECKS = 6_000;
const BATCH = 500;
/** Ten times the documented rate, in one tick. */
const DRAWN_POSITIONS = 5_000;
const ADVANCER_MEMORY_MIB = 128;
/** Source: Lambda Developer Guide, "Configure Lambda function memory". */
const MEMORY_OF_ONE_CPU_MIB = 1_769;
/** Most visitors of a simulated pace. */
const PACE_VISITORS = 15_000;

export async function bench(visitors: number, log: (line: string) => void): Promise<BenchResult> {
  const database = fork(fileURLToPath(new URL("./database.ts", import.meta.url)));
  const port = await new Promise<number>((resolve, reject) => {
    database.once("message", (message) => resolve(message as number));
    database.once("exit", (code) => reject(new Error(`dynalite ended with code ${code}`)));
  });
  const client = new DynamoDBClient({
    endpoint: `http://127.0.0.1:${port}`,
    region: "ap-northeast-2",
    credentials: { accessKeyId: "bench", secretAccessKey: "bench" },
    // As the functions' own clients have it.
    cacheMiddleware: true,
    requestHandler: { httpAgent: { keepAlive: true, maxSockets: CONCURRENCY } },
  });
  try {
    await createTables(client);
    // As often one design as the other.
    await sideBySide(WARM_UP, { baseline: baselineAssigning(client), ours: await assigning(client, 1) });
    const allocation = await sideBySide(visitors, {
      baseline: baselineAllocation(client),
      ours: await allocating(client, 1),
      spread: await allocating(client, CONCURRENCY),
    });
    const assign = await sideBySide(visitors, {
      baseline: baselineAssigning(client),
      ours: await assigning(client, 1),
      spread: await assigning(client, CONCURRENCY),
    });
    const check = await sideBySide(visitors, {
      baseline: await baselineChecking(client),
      ours: await checking(client),
    });
    const drained = await drainQueue(client, Math.min(visitors, 3_000));
    const simulated = await simulateOpening({ ...OPENING_15K, visitors });
    const paces = await simulatePaces();
    const loadTimes = measureLoadTimes();
    return report({ visitors, allocation, assign, check, drained, simulated, paces, loadTimes }, log);
  } finally {
    client.destroy();
    database.disconnect();
  }
}

/** A sale in full swing, at this many arrivals per second. */
interface Pace {
  readonly perSecond: number;
  readonly simulated: SimulationResult;
}

/** Leases, and with them the order of arrival and the writes, depend on the pace once the first advance has counted somebody. */
async function simulatePaces(): Promise<Pace[]> {
  const paces: Pace[] = [];
  for (const perSecond of [200, 1_000, 3_000, 10_000]) {
    const visitors = Math.min(PACE_VISITORS, 5 * perSecond);
    const arrivalMs = (visitors / perSecond) * 1000;
    // At most one environment per two arrivals a second: Lambda adds none where the others are idle.
    const environments = Math.min(OPENING_15K.environments, perSecond / 2);
    const simulated = await simulateOpening({ ...OPENING_15K, visitors, arrivalMs, environments, counted: true });
    paces.push({ perSecond, simulated });
  }
  return paces;
}

interface Pair {
  readonly baseline: Measured;
  /** All calls in one process, which share leases. */
  readonly ours: Measured;
}

interface Triple extends Pair {
  /** Each call in a process of its own, as Lambda has it: nothing is shared. */
  readonly spread: Measured;
}

let events = 0;

function nextEvent(): string {
  events += 1;
  return `evt-${events}`;
}

/** One of the designs that are measured in turns. */
interface Contestant {
  readonly usage: Usage;
  readonly call: (visitor: number, worker: number) => Promise<unknown>;
  /** @default one per visitor */
  readonly calls?: number;
  /** What belongs to the run, but not to its time. */
  readonly finish?: (visitors: number) => Promise<void>;
}

/** In turns, a slice of the visitors each: what else the machine does then strikes all of them alike. */
async function sideBySide<T extends string>(
  visitors: number,
  contestants: Record<T, Contestant>,
): Promise<Record<T, Measured>> {
  const all = Object.entries(contestants) as [T, Contestant][];
  const seconds = new Map<T, number>();
  const latencies = new Map<T, number[]>(all.map(([name]) => [name, []]));
  for (let slice = 0; slice < SLICES; slice += 1) {
    for (const [name, { call, calls = visitors }] of all) {
      const from = Math.floor((calls * slice) / SLICES);
      const to = Math.floor((calls * (slice + 1)) / SLICES);
      const timed = await time(to - from, (visitor, worker) => call(from + visitor, worker));
      seconds.set(name, (seconds.get(name) ?? 0) + timed.seconds);
      latencies.get(name)?.push(...timed.latencies);
    }
  }
  const measured = all.map(async ([name, { usage, finish, calls = visitors }]) => {
    await finish?.(visitors);
    const perSecond = calls / (seconds.get(name) ?? Number.NaN);
    return [name, { perSecond, p99Ms: quantile(latencies.get(name) ?? [], 0.99), ...usage }] as const;
  });
  return Object.fromEntries(await Promise.all(measured)) as Record<T, Measured>;
}

function baselineAllocation(client: DynamoDBClient): Contestant {
  const { options, usage } = baselineOptions(client);
  const event = nextEvent();
  return { usage, call: () => baselineTake(options, event) };
}

function baselineAssigning(client: DynamoDBClient): Contestant {
  const { options, usage } = baselineOptions(client);
  const event = nextEvent();
  return { usage, call: (visitor) => baselineAssign(options, event, requestIdOf(visitor)) };
}

async function allocating(client: DynamoDBClient, environments: number): Promise<Contestant> {
  const { room, usage } = await openRoom(client, environments);
  const line = lineAt(await eventStatus({ client, countersTable: COUNTERS }, room.event, BATCH), Date.now() / 1000);
  const taken = new Set<number>();
  const call = async (_: number, worker: number) =>
    taken.add(await (room.allocators[worker % environments] as Allocator).take(line));
  return { usage, call, finish: (visitors) => finish(room.allocators, taken, visitors) };
}

async function assigning(client: DynamoDBClient, environments: number): Promise<Contestant> {
  const { room, usage } = await openRoom(client, environments);
  const taken = new Set<number>();
  const call = async (visitor: number, worker: number) => {
    const waitingRoom = room.rooms[worker % environments] as WaitingRoom;
    taken.add(Number((await waitingRoom.assign(room.event, { requestId: requestIdOf(visitor) })).position));
  };
  return { usage, call, finish: (visitors) => finish(room.allocators, taken, visitors) };
}

async function finish(allocators: readonly Allocator[], taken: ReadonlySet<number>, visitors: number): Promise<void> {
  await giveBackLeases(allocators);
  if (taken.size !== visitors) {
    throw new Error(`${visitors} visitors got ${taken.size} different positions`);
  }
}

async function baselineChecking(client: DynamoDBClient): Promise<Contestant> {
  const { options, usage } = baselineOptions(client);
  const event = nextEvent();
  for (let visitor = 0; visitor < CONCURRENCY; visitor += 1) {
    await baselineAssign(options, event, requestIdOf(visitor));
  }
  usage.reads = 0;
  const call = (poll: number) => baselineCheck(options, event, requestIdOf(poll % CONCURRENCY));
  return { usage, calls: BASELINE_CHECKS, call };
}

/** The whole handler, from API Gateway's event to the JSON answer; the baseline does not have that to do. */
async function checking(client: DynamoDBClient): Promise<Contestant> {
  const { room, usage } = await openRoom(client, 1);
  const tickets = new Map<number, string>();
  for (let visitor = 0; visitor < CONCURRENCY; visitor += 1) {
    const answer = await (room.rooms[0] as WaitingRoom).assign(room.event, { requestId: requestIdOf(visitor) });
    tickets.set(visitor, answer.ticket ?? "");
  }
  const handler = createHandler({
    room: room.rooms[0] as WaitingRoom,
    corsAllowedOrigins: ["https://urr.guru"],
    telemetry: silentTelemetry,
  });
  usage.reads = 0;
  const call = async (poll: number) => {
    const visitor = poll % CONCURRENCY;
    const { statusCode } = await handler({
      httpMethod: "GET",
      resource: "/vwr/check/{eventId}/{requestId}",
      pathParameters: { eventId: room.event, requestId: requestIdOf(visitor) },
      headers: { "x-vwr-ticket": tickets.get(visitor) },
      body: null,
      isBase64Encoded: false,
    });
    if (statusCode !== 200) {
      throw new Error(`check answered ${statusCode}`);
    }
  };
  return { usage, calls: TICKETED_CHECKS, call };
}

/** Lets a queue in tick by tick and counts who comes in with each. */
async function drainQueue(client: DynamoDBClient, visitors: number): Promise<{ ticks: number; perTick: number[] }> {
  const { room } = await openRoom(client, CONCURRENCY);
  const places: number[] = [];
  await time(visitors, async (visitor, worker) => {
    const { position } = await (room.rooms[worker] as WaitingRoom).assign(room.event, {
      requestId: requestIdOf(visitor),
    });
    places.push(Number(position));
  });
  await giveBackLeases(room.allocators);
  const perTick: number[] = [];
  const { tick: openedAt } = await eventStatus({ client, countersTable: COUNTERS }, room.event, BATCH);
  for (let tick = openedAt + 1; places.length > perTick.reduce((sum, count) => sum + count, 0); tick += 1) {
    const options = { client, countersTable: COUNTERS, positionsTable: POSITIONS, batchSize: BATCH };
    const outcomes = await runTick({ ...options, telemetry: silentTelemetry }, tick);
    const own = outcomes.find(({ eventId }) => eventId === room.event);
    if (own?.result !== "advanced") {
      throw new Error(`Tick ${tick} did not advance: ${JSON.stringify(own)}`);
    }
    perTick.push(places.filter((place) => place > own.from && place <= own.to).length);
  }
  return { ticks: perTick.length, perTick };
}

async function openRoom(client: DynamoDBClient, environments: number) {
  const event = nextEvent();
  await openEvent({ client, countersTable: COUNTERS }, event);
  const meter = metered(client);
  const tables = { client: meter.client, countersTable: COUNTERS, positionsTable: POSITIONS };
  const key = signingKey("bench", "bench-secret-bench-secret-bench-secret");
  const allocators = Array.from({ length: environments }, () => new Allocator(tables));
  const rooms = allocators.map(
    (allocator) =>
      new WaitingRoom({
        ...tables,
        allocator,
        controls: new ControlCache(tables),
        keys: new KeyRing(async () => [key]),
        defaultBatch: BATCH,
      }),
  );
  return { room: { event, allocators, rooms }, usage: meter.usage };
}

/** What the environments' next requests would do: counted, but not timed. */
async function giveBackLeases(allocators: readonly Allocator[]): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  for (const allocator of allocators) {
    if (allocator.hasStale()) {
      await allocator.reclaim();
    }
  }
}

function baselineOptions(client: DynamoDBClient): { options: BaselineOptions; usage: Usage } {
  const meter = metered(client);
  return { options: { client: meter.client, countersTable: COUNTERS, positionsTable: POSITIONS }, usage: meter.usage };
}

async function time(count: number, call: Contestant["call"]): Promise<{ seconds: number; latencies: number[] }> {
  const latencies = new Array<number>(count).fill(0);
  let next = 0;
  const work = async (_: unknown, worker: number) => {
    while (next < count) {
      const own = next;
      next += 1;
      const startedAt = performance.now();
      await call(own, worker);
      latencies[own] = performance.now() - startedAt;
    }
  };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  return { seconds: (performance.now() - startedAt) / 1000, latencies };
}

function report(
  results: {
    visitors: number;
    allocation: Triple;
    assign: Triple;
    check: Pair;
    drained: { ticks: number; perTick: number[] };
    simulated: SimulationResult;
    paces: readonly Pace[];
    loadTimes: readonly LoadTime[];
  },
  log: (line: string) => void,
): BenchResult {
  const { visitors, allocation, assign, check, drained, simulated, paces, loadTimes } = results;
  const ratio = ({ baseline, ours }: Pair) => ours.perSecond / baseline.perSecond;
  const units = ({ baseline, ours }: Pair) => ours.writeUnits / baseline.writeUnits;
  const table: string[][] = [
    ["", "plain", "this", "ratio", "target", "one call per environment"],
    ...wireRows("allocation alone", allocation, [">= 5x", "<= 200", "<= 4,500"]),
    ...wireRows("assign as shipped", assign, [">= 2x", "<= 350", "<= 20,000"]),
    readsRow("assign", assign, visitors),
    ["check, per second", whole(check.baseline.perSecond), whole(check.ours.perSecond), times(ratio(check)), ">= 50x"],
    ["  reads per check", perCall(check.baseline.reads, BASELINE_CHECKS), perCall(check.ours.reads, TICKETED_CHECKS)],
  ];
  const simulatedTable: string[][] = [
    ["", "plain", "this", "", "target"],
    ["hottest key, writes in its busiest second", "", whole(simulated.hottestItemWritesPerSecond), "", "<= 500"],
    ["allocation, write units", whole(visitors), whole(simulated.allocationWriteUnits), "", "<= 4,500"],
    ["assign, write units", whole(visitors * 3), whole(simulated.assignWriteUnits), "", "<= 20,000"],
    ["first-come order error p95, ms", "", whole(simulated.orderErrorP95Ms), "", "<= 250"],
    ["abandoned places", "", percent(simulated.abandonedShare), "", "<= 6 %"],
    ["  of these reclaimed", "", percent(simulated.reclaimedShare), "", "100.0 %"],
    ["different positions", "", whole(simulated.distinctPositions), "", whole(visitors)],
  ];
  const { arrivalMs, environments, stripes, lease } = OPENING_15K;
  log(`Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}`);
  log(`On the wire: ${visitors} visitors, ${CONCURRENCY} calls at a time, dynalite in a process of its own`);
  print(table, log);
  log(
    `Simulated time: ${visitors} arrivals in ${arrivalMs} ms, ${environments} environments, ${stripes} stripes, lease ${lease}`,
  );
  print(simulatedTable, log);
  log("Simulated time: a sale in full swing, after the first advance");
  print(
    [
      ["arrivals per second", ...paces.map(({ perSecond }) => whole(perSecond))],
      ["first-come order error p95, ms", ...paces.map(({ simulated: one }) => whole(one.orderErrorP95Ms))],
      ["abandoned places", ...paces.map(({ simulated: one }) => percent(one.abandonedShare))],
      [
        "hottest key, writes in its busiest second",
        ...paces.map(({ simulated: one }) => whole(one.hottestItemWritesPerSecond)),
      ],
    ],
    log,
  );
  log("Packages, as deployed");
  print(
    [
      ["", "zipped, KB", "CPU, ms", "took, ms", "", "target"],
      ...loadTimes.map(({ name, zippedKb, cpuMs, wallMs }) => [
        `load ${name}`,
        whole(zippedKb),
        whole(cpuMs),
        whole(wallMs),
        "",
        `<= 60 ms${{ "vwr-api": ", 250 KB", "edge-queue-check": ", 200 KB" }[name] ?? ""}`,
      ]),
    ],
    log,
  );
  log(`Let in per tick at a rate of ${BATCH}: ${drained.perTick.join(", ")}`);
  const cpuMs = drawnPlacesCpuMs();
  const atItsMemory = (cpuMs * MEMORY_OF_ONE_CPU_MIB) / ADVANCER_MEMORY_MIB;
  log(
    `Places behind ${DRAWN_POSITIONS} drawn positions: ${whole(cpuMs)} ms of CPU, ${whole(atItsMemory)} ms of the advancer's ten seconds at ${ADVANCER_MEMORY_MIB} MB`,
  );
  const round = (value: number) => Number(value.toFixed(3));
  return {
    assignRatio: round(ratio(assign)),
    assignP99Ms: round(assign.ours.p99Ms),
    writeUnitRatio: round(units(assign)),
    allocationRatio: round(ratio(allocation)),
    allocationP99Ms: round(allocation.ours.p99Ms),
    allocationWriteUnitRatio: round(units(allocation)),
    checkRatio: round(ratio(check)),
    hottestItemWritesPerSecond: simulated.hottestItemWritesPerSecond,
  };
}

/** What the advancer computes at most in a tick that lets in so many of those who came early: as many places were given up. */
function drawnPlacesCpuMs(): number {
  const draw = { seed: "5eed".repeat(8), counts: new Array<number>(OPENING_15K.stripes).fill(DRAWN_POSITIONS) };
  const runs = Array.from({ length: 5 }, () => {
    const before = process.cpuUsage();
    for (let position = 1; position <= DRAWN_POSITIONS; position += 1) {
      earlyPlaceOf(draw, position);
    }
    const { system, user } = process.cpuUsage(before);
    return (system + user) / 1000;
  });
  return Math.min(...runs);
}

function wireRows(name: string, { baseline, ours, spread }: Triple, targets: readonly string[]): string[][] {
  const [speed, p99, units] = targets as [string, string, string];
  const faster = times(ours.perSecond / baseline.perSecond);
  const spreadFaster = `${whole(spread.perSecond)} (${times(spread.perSecond / baseline.perSecond)})`;
  const share = (ours.writeUnits / baseline.writeUnits).toFixed(2);
  return [
    [`${name}, per second`, whole(baseline.perSecond), whole(ours.perSecond), faster, speed, spreadFaster],
    ["  p99, ms", whole(baseline.p99Ms), whole(ours.p99Ms), "", p99, whole(spread.p99Ms)],
    ["  write units", whole(baseline.writeUnits), whole(ours.writeUnits), share, units, whole(spread.writeUnits)],
  ];
}

/** An environment reads the event's own item once a second: the slower the run, the more of its calls do. */
function readsRow(name: string, { baseline, ours, spread }: Triple, calls: number): string[] {
  const reads = [baseline, ours, spread].map((one) => (one.reads / calls).toFixed(2));
  return [`  reads per ${name}`, reads[0] ?? "", reads[1] ?? "", "", "", reads[2] ?? ""];
}

function print(table: readonly string[][], log: (line: string) => void): void {
  for (const [name = "", ...cells] of table) {
    const columns = cells.map((cell, column) => cell.padStart(column < 4 ? 12 : 26)).join("");
    log(`  ${name.padEnd(44)}${columns}`.trimEnd());
  }
  log("");
}

const whole = (value: number) => Math.round(value).toLocaleString("en");
const times = (value: number) => `${value.toFixed(1)}x`;
const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
const perCall = (reads: number, calls: number) => (reads / calls).toFixed(5);

async function createTables(client: DynamoDBClient): Promise<void> {
  const eventId = { AttributeName: "eventId", AttributeType: "S" } as const;
  await client.send(
    new CreateTableCommand({
      TableName: COUNTERS,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: [eventId],
      KeySchema: [{ AttributeName: "eventId", KeyType: "HASH" }],
    }),
  );
  await client.send(
    new CreateTableCommand({
      TableName: POSITIONS,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: [
        eventId,
        { AttributeName: "requestId", AttributeType: "S" },
        { AttributeName: "position", AttributeType: "N" },
      ],
      KeySchema: [
        { AttributeName: "eventId", KeyType: "HASH" },
        { AttributeName: "requestId", KeyType: "RANGE" },
      ],
      GlobalSecondaryIndexes: [
        {
          IndexName: "eventId-position-index",
          KeySchema: [
            { AttributeName: "eventId", KeyType: "HASH" },
            { AttributeName: "position", KeyType: "RANGE" },
          ],
          Projection: { ProjectionType: "ALL" },
        },
      ],
    }),
  );
}

function requestIdOf(visitor: number): string {
  return `visitor-${String(visitor).padStart(12, "0")}`;
}

/** The targets that this run did not meet, each with its figure. */
function unmet(result: BenchResult): string[] {
  const rules: [keyof BenchResult, (value: number) => boolean, string][] = [
    ["allocationRatio", (value) => value >= 5, "at least 5"],
    ["allocationP99Ms", (value) => value <= 200, "at most 200"],
    ["allocationWriteUnitRatio", (value) => value <= 0.3, "at most 0.3"],
    ["assignRatio", (value) => value >= 2, "at least 2"],
    ["assignP99Ms", (value) => value <= 350, "at most 350"],
    ["writeUnitRatio", (value) => value <= 20 / 45, "at most 0.444"],
    ["checkRatio", (value) => value >= 50, "at least 50"],
    ["hottestItemWritesPerSecond", (value) => value <= 500, "at most 500"],
  ];
  return rules
    .filter(([key, holds]) => !holds(result[key]))
    .map(([key, , limit]) => `${key} is ${result[key]}, wanted ${limit}`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { json: { type: "boolean", default: false }, visitors: { type: "string", default: "15000" } },
  });
  const visitors = Number(values.visitors);
  if (!Number.isSafeInteger(visitors) || visitors < CONCURRENCY) {
    throw new Error(`--visitors: given ${values.visitors}; allowed is a whole number from ${CONCURRENCY}.`);
  }
  const result = await bench(visitors, (line) => console.log(line));
  for (const problem of unmet(result)) {
    console.log(`Target missed: ${problem}`);
  }
  if (values.json) {
    console.log(JSON.stringify(result));
  }
}

await main().catch((error: unknown) => {
  console.error(`bench:vwr: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
