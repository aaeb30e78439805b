import type { Environment } from "../../environments/environment";
import { SERVICES } from "../../environments/services";
import { DEFAULT_STRIPES, ROW_SHARDS } from "../../lambdas/shared/schema";

/** The crowd that is expected. */
export interface Crowd {
  readonly visitors: number;
  /** Seconds within which they click. */
  readonly arrivalSeconds: number;
  /** Visitors let in per ten seconds. */
  readonly ratePerTick: number;
}

/** What is there, as far as it could be read; undefined where it could not. */
export interface Facts {
  readonly stripes?: number | undefined;
  readonly countersWarmWrites?: number | undefined;
  readonly positionsWarmWrites?: number | undefined;
  readonly accountConcurrency?: number | undefined;
  readonly reservedConcurrency?: number | undefined;
  readonly accountRequestsPerSecond?: number | undefined;
  readonly wafRequestsPerFiveMinutes?: number | undefined;
}

export interface Finding {
  readonly check: string;
  readonly level: "ok" | "too-small" | "unknown";
  readonly have: number | null;
  readonly need: number;
  readonly unit: string;
  readonly remedy: string;
}

/** Arrivals that one stripe takes: a lease of 4 halfway used and 500 writes/s on an item, half of what DynamoDB allows. */
export const ARRIVALS_PER_STRIPE = 1_250;
/** Counters writes per arrival, as simulated for 15,000 visitors in 1.5 s. */
const COUNTER_WRITES_PER_ARRIVAL = 0.27;
const WRITES_PER_SHARD = 500;
/** Milliseconds that an assign holds an environment at p99. */
const ENVIRONMENT_MS = 40;
/** Seconds between two polls of a visitor far back in the line, and near the front. */
const FAR_POLL_SECONDS = 15;
const NEAR_POLL_SECONDS = 5;
/** Visitors whom a mobile carrier may bring behind one address. */
const VISITORS_PER_ADDRESS = 500;
/** Requests per second of visitors in the second line: they poll every 2 s. Infra analysis §8-2. */
const QUEUE_REQUESTS_PER_VISITOR = 0.5;
/** Requests per second that a pod of queue-service serves within its CPU request; measured figures belong here. */
const REQUESTS_PER_POD = 100;

/** Every limit that the crowd meets, in the order in which it meets them. */
export function assess(crowd: Crowd, facts: Facts, environment: Environment): Finding[] {
  const arrivals = Math.ceil(crowd.visitors / crowd.arrivalSeconds);
  const waiting = Math.max(0, crowd.visitors - crowd.ratePerTick);
  const near = Math.min(waiting, 6 * crowd.ratePerTick);
  const polls = Math.ceil(near / NEAR_POLL_SECONDS + (waiting - near) / FAR_POLL_SECONDS);
  const requests = arrivals + polls;
  const { waitingRoom } = environment;
  const queue = SERVICES.find(({ name }) => name === "queue-service");
  const queuePods = Math.ceil((crowd.ratePerTick * QUEUE_REQUESTS_PER_VISITOR) / REQUESTS_PER_POD);
  return [
    finding(
      "counter stripes of the event",
      facts.stripes ?? DEFAULT_STRIPES,
      Math.ceil(arrivals / ARRIVALS_PER_STRIPE),
      "stripes",
      "Open the event with --stripes; a lease of 4 stays right.",
    ),
    finding(
      "row shards",
      ROW_SHARDS * WRITES_PER_SHARD,
      arrivals,
      "writes/s",
      "Raise ROW_SHARDS in lambdas/shared/schema.ts while no event is open, or spread the sale.",
    ),
    finding(
      "warm writes of the counters table",
      facts.countersWarmWrites,
      Math.ceil(arrivals * COUNTER_WRITES_PER_ARRIVAL),
      "writes/s",
      "Run warm: it raises the table's warm throughput, which takes minutes and is charged once.",
    ),
    finding(
      "warm writes of the positions table",
      facts.positionsWarmWrites,
      arrivals + crowd.ratePerTick,
      "writes/s",
      "Run warm: it raises the table's warm throughput, which takes minutes and is charged once.",
    ),
    finding(
      "throttle of the API's stage",
      waitingRoom.throttlingBurstLimit + waitingRoom.throttlingRateLimit * Math.max(0, crowd.arrivalSeconds - 1),
      crowd.visitors + polls * (crowd.arrivalSeconds - 1),
      "requests",
      "Raise throttlingRateLimit and throttlingBurstLimit; until then the page retries, and arrival order suffers.",
    ),
    finding(
      "API Gateway quota of the account",
      facts.accountRequestsPerSecond,
      requests,
      "requests/s",
      "Ask for more of quota L-8A5B8E43 (throttle rate per Region); it is shared by all APIs of the account.",
    ),
    finding(
      "reserved concurrency of vwr-api",
      facts.reservedConcurrency,
      Math.ceil((requests * ENVIRONMENT_MS) / 1000),
      "environments",
      "Raise waitingRoom.apiReservedConcurrentExecutions.",
    ),
    finding(
      "Lambda concurrency of the account",
      facts.accountConcurrency,
      (facts.reservedConcurrency ?? waitingRoom.apiReservedConcurrentExecutions) + 100,
      "environments",
      "Ask for more of quota L-B99A9384; 100 must stay unreserved.",
    ),
    finding(
      "WAF limit on /vwr-api/",
      facts.wafRequestsPerFiveMinutes,
      Math.ceil(VISITORS_PER_ADDRESS * (300 / FAR_POLL_SECONDS + 2)),
      "requests per address in 5 min",
      "Raise vwrApiRateLimit: visitors behind a carrier share one address.",
    ),
    finding(
      "HPA floor of queue-service",
      queue?.autoscaling?.minReplicas,
      queuePods,
      "pods",
      "Raise minReplicas before the sale, or let in fewer per tick: new pods take 30 to 60 s.",
    ),
    finding(
      "room on the nodes for the HPA floors",
      environment.eks.nodeGroup.maxSize,
      nodesFor(environment, queuePods),
      `nodes (${environment.eks.nodeGroup.instanceTypes.join(", ")}) without Karpenter`,
      "Karpenter adds nodes within a minute or two; scale the deployments up before the sale so that it already has.",
    ),
  ];
}

function finding(check: string, have: number | undefined, need: number, unit: string, remedy: string): Finding {
  const level = have === undefined ? "unknown" : have >= need ? "ok" : "too-small";
  return { check, level, have: have ?? null, need, unit, remedy };
}

/** Nodes that the floors of all services fill, by CPU: a t3.medium has 1,930m to give, of which DaemonSets take some 400m. */
function nodesFor({ name }: Environment, queuePods: number): number {
  const millicores = SERVICES.reduce((sum, service) => {
    const floor =
      name === "prod" ? (service.autoscaling?.minReplicas ?? service.replicas.prod) : service.replicas.staging;
    const pods = service.name === "queue-service" ? Math.max(floor, queuePods) : floor;
    return sum + pods * service.resources.requests.cpuMillicores;
  }, 0);
  return Math.ceil(millicores / 1_530);
}
