import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { DEFAULT_LEASE, ROW_SHARDS, TICK_SECONDS } from "../../lambdas/shared/schema";
import { type SimulationResult, simulateOpening } from "../bench-vwr/simulate";

/*
 * `npm run load:plan`: what a crowd beyond one Region's default limits needs. The handlers' own code runs on simulated time at the
 * crowd's arrival rate for as many visitors as the rates of its busiest second need; units and costs are scaled to the whole.
 */

/** A crowd, and the settings that are to carry it. */
export interface Crowd {
  readonly name: string;
  readonly visitors: number;
  readonly arrivalSeconds: number;
  /** Let in per ten seconds. */
  readonly ratePerTick: number;
  readonly stripes: number;
  readonly environments: number;
  /** Seconds between polls of who is far back; the documented 15, or more. */
  readonly farPollSeconds: number;
}

export interface PlanResult extends Crowd {
  readonly simulatedVisitors: number;
  readonly simulated: SimulationResult;
  readonly arrivalsPerSecond: number;
  readonly minutesToDrain: number;
  readonly pollsPerVisitor: number;
  readonly peakRequestsPerSecond: number;
  readonly writeUnits: number;
  readonly requests: number;
  /** Writes per second on a row shard, by the number of shards. */
  readonly rowShardWritesPerSecond: number;
  readonly rowShardsNeeded: number;
  readonly costUsd: Readonly<Record<string, number>>;
}

export const CROWDS: readonly Crowd[] = [
  {
    name: "as documented",
    visitors: 15_000,
    arrivalSeconds: 1.5,
    ratePerTick: 500,
    stripes: 8,
    environments: 500,
    farPollSeconds: 15,
  },
  {
    name: "a million in a minute",
    visitors: 1_000_000,
    arrivalSeconds: 60,
    ratePerTick: 5_000,
    stripes: 16,
    environments: 1_000,
    farPollSeconds: 15,
  },
  {
    name: "a million in ten seconds",
    visitors: 1_000_000,
    arrivalSeconds: 10,
    ratePerTick: 5_000,
    stripes: 96,
    environments: 4_000,
    farPollSeconds: 60,
  },
];

/** Writes per second that one partition key is planned for: half of what DynamoDB allows. */
const PLANNED_WRITES_PER_KEY = 500;
/** Mean time of a call in an environment, seconds, and its memory in GiB: for the bill of Lambda. */
const CALL_SECONDS = 0.012;
const MEMORY_GIB = 0.25;
/** Answer to a poll with its headers, and the waiting page compressed, in GB as CloudFront counts them. */
const ANSWER_GB = 1.2e-6;
const PAGE_GB = 10e-6;
/**
 * US dollars, on demand, without free tiers and discounts for volume. Sources: API Gateway, "Best Practices for Designing Amazon
 * API Gateway Private APIs", cost optimization (first 333 million a month); CloudFront pricing, data transfer out, South Korea,
 * first 10 TB; Lambda pricing, x86. DynamoDB, CloudFront's requests and WAF are estimates that err on the high side: their price
 * pages show no figure for the Region to read offline. The proportions are what the plan is about.
 */
const PRICES = {
  "DynamoDB, per million write units": 0.72,
  "DynamoDB, per million read units": 0.15,
  "API Gateway (REST), per million requests": 3.5,
  "Lambda, per million requests": 0.2,
  "Lambda, per GB-second": 0.0000166667,
  "CloudFront, per million HTTPS requests": 1.2,
  "CloudFront, per GB to viewers": 0.12,
  "WAF, per million requests": 0.6,
};

export async function plan(crowd: Crowd, sample: number): Promise<PlanResult> {
  const arrivalsPerSecond = crowd.visitors / crowd.arrivalSeconds;
  // More than a second's worth: the busiest second of an item has to fit in.
  const simulatedVisitors = Math.min(crowd.visitors, Math.max(sample, Math.ceil(arrivalsPerSecond * 1.2)));
  const simulated = await simulateOpening({
    visitors: simulatedVisitors,
    arrivalMs: (simulatedVisitors / arrivalsPerSecond) * 1000,
    environments: crowd.environments,
    stripes: crowd.stripes,
    lease: DEFAULT_LEASE,
    seed: 20_260_501,
  });
  const perSecond = crowd.ratePerTick / TICK_SECONDS;
  const pollsPerVisitor = meanPolls(crowd);
  const requests = crowd.visitors * (1 + pollsPerVisitor);
  const waiting = Math.max(0, crowd.visitors - crowd.ratePerTick * 18);
  const peakPolls = waiting / crowd.farPollSeconds + Math.min(crowd.visitors, crowd.ratePerTick * 18) / 8;
  // One row, its admission, and the simulated share of counter writes.
  const writesPerVisitor = simulated.assignWriteUnits / simulatedVisitors + 1;
  const writeUnits = Math.round(crowd.visitors * writesPerVisitor);
  const readUnits = (crowd.visitors / perSecond) * Math.min(crowd.environments, peakPolls * CALL_SECONDS + 1);
  const rowShardWritesPerSecond = (Math.min(arrivalsPerSecond, crowd.visitors) + perSecond) / ROW_SHARDS;
  const million = 1_000_000;
  const costUsd = {
    DynamoDB:
      (writeUnits / million) * PRICES["DynamoDB, per million write units"] +
      (readUnits / million) * PRICES["DynamoDB, per million read units"],
    "API Gateway": (requests / million) * PRICES["API Gateway (REST), per million requests"],
    Lambda:
      (requests / million) * PRICES["Lambda, per million requests"] +
      requests * CALL_SECONDS * MEMORY_GIB * PRICES["Lambda, per GB-second"],
    "CloudFront and WAF":
      (requests / million) * (PRICES["CloudFront, per million HTTPS requests"] + PRICES["WAF, per million requests"]) +
      (requests * ANSWER_GB + crowd.visitors * PAGE_GB) * PRICES["CloudFront, per GB to viewers"],
  };
  return {
    ...crowd,
    simulatedVisitors,
    simulated,
    arrivalsPerSecond,
    minutesToDrain: crowd.visitors / perSecond / 60,
    pollsPerVisitor,
    peakRequestsPerSecond: arrivalsPerSecond + peakPolls,
    writeUnits,
    requests,
    rowShardWritesPerSecond,
    rowShardsNeeded: Math.ceil((arrivalsPerSecond + perSecond) / PLANNED_WRITES_PER_KEY),
    costUsd,
  };
}

/** Polls of the average visitor: 2 s within a tick of the turn, 5 within six, 10 within eighteen, then the far interval. */
export function meanPolls({ farPollSeconds, ratePerTick, visitors }: Crowd): number {
  const bands: readonly [number, number][] = [
    [1, 2],
    [6, 5],
    [18, 10],
    [Number.POSITIVE_INFINITY, farPollSeconds],
  ];
  const ticks = visitors / ratePerTick;
  let sum = 0;
  let from = 0;
  for (const [upTo, everySeconds] of bands) {
    const end = Math.min(upTo, ticks);
    if (end <= from) {
      break;
    }
    // Whoever starts within the band spends half of it there on average, whoever starts beyond it all of it.
    const inside = end - from;
    const beyond = ticks - end;
    sum += ((inside * inside) / 2 + beyond * inside) * (TICK_SECONDS / everySeconds);
    from = end;
  }
  return sum / ticks;
}

export function planTable(results: readonly PlanResult[]): string {
  const rows: [string, (result: PlanResult) => string][] = [
    ["Visitors, within", ({ arrivalSeconds, visitors }) => `${whole(visitors)}, ${arrivalSeconds} s`],
    ["Arrivals per second", ({ arrivalsPerSecond }) => whole(arrivalsPerSecond)],
    [
      "Let in per 10 s; last one in after",
      ({ minutesToDrain, ratePerTick }) => `${whole(ratePerTick)}; ${whole(minutesToDrain)} min`,
    ],
    ["Stripes x lease", ({ stripes }) => `${stripes} x ${DEFAULT_LEASE}`],
    ["Lambda environments", ({ environments }) => whole(environments)],
    [
      "Hottest item (simulated)",
      ({ simulated }) =>
        `${whole(simulated.hottestItemWritesPerSecond)} writes/s, ${simulated.hottestItem.replace(/evt-sim/, "event")}`,
    ],
    [`Row shards needed (there are ${ROW_SHARDS})`, ({ rowShardsNeeded }) => whole(rowShardsNeeded)],
    ["Order error p95 (simulated)", ({ simulated }) => `${whole(simulated.orderErrorP95Ms)} ms`],
    ["Assign p99 (simulated)", ({ simulated }) => `${whole(simulated.assignP99Ms)} ms`],
    [
      "Abandoned places (simulated)",
      ({ simulated }) =>
        `${(simulated.abandonedShare * 100).toFixed(1)} %, ${(simulated.reclaimedShare * 100).toFixed(0)} % reclaimed`,
    ],
    [
      "Polls per visitor; far interval",
      ({ farPollSeconds, pollsPerVisitor }) => `${whole(pollsPerVisitor)}; ${farPollSeconds} s`,
    ],
    ["Peak requests per second", ({ peakRequestsPerSecond }) => whole(peakRequestsPerSecond)],
    ["Write units", ({ writeUnits }) => whole(writeUnits)],
    ["Requests", ({ requests }) => whole(requests)],
    ...["DynamoDB", "API Gateway", "Lambda", "CloudFront and WAF"].map(
      (service): [string, (result: PlanResult) => string] => [
        `Cost, ${service}`,
        ({ costUsd }) => dollars(costUsd[service] ?? 0),
      ],
    ),
    [
      "**Cost per event**",
      ({ costUsd }) => `**${dollars(Object.values(costUsd).reduce((sum, cost) => sum + cost, 0))}**`,
    ],
  ];
  const header = `| | ${results.map(({ name }) => name).join(" | ")} |`;
  const rule = `|---|${results.map(() => "---:|").join("")}`;
  const body = rows.map(([label, cell]) => `| ${label} | ${results.map(cell).join(" | ")} |`);
  return `${[header, rule, ...body].join("\n")}\n`;
}

function whole(value: number): string {
  return new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 }).format(value);
}

function dollars(value: number): string {
  return `$${value < 10 ? value.toFixed(2) : whole(value)}`;
}

async function main(): Promise<void> {
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true";
  const { values } = parseArgs({
    options: { sample: { type: "string", default: "50000" }, out: { type: "string" }, json: { type: "boolean" } },
  });
  const sample = Number(values.sample);
  if (!Number.isSafeInteger(sample) || sample < 1) {
    throw new Error(`--sample: given ${values.sample}; allowed is a whole number from 1.`);
  }
  const results: PlanResult[] = [];
  for (const crowd of CROWDS) {
    process.stderr.write(`Simulating ${crowd.name}\n`);
    results.push(await plan(crowd, sample));
  }
  process.stdout.write(planTable(results));
  if (values.out !== undefined) {
    mkdirSync(values.out, { recursive: true });
    writeFileSync(path.join(values.out, "waiting-room-plan.json"), `${JSON.stringify(results, null, 2)}\n`);
  }
  if (values.json) {
    process.stdout.write(`${JSON.stringify(results)}\n`);
  }
}

if (process.argv[1] === import.meta.filename) {
  await main().catch((error: unknown) => {
    process.stderr.write(`load:plan: ${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
  });
}
