import { overlaps, parseCidr } from "../lib/cidr";
import { nameProblems } from "../lib/naming";
import { brokenRules, problem, type Rule } from "../lib/rules";

/** Name of an environment. */
export type EnvironmentName = "prod" | "staging";

/** Everything in which the environments differ, and nothing that depends on an account: that is a Terraform variable. */
export interface Environment {
  readonly name: EnvironmentName;
  /** Start of every physical name. */
  readonly prefix: string;
  readonly region: string;
  /** Kubernetes namespace of the services. Source: Infra analysis §3-2. */
  readonly namespace: string;
  /** All namespaces of services on the environment's cluster, its own first: staging's cluster hosts dev as well. */
  readonly namespaces: readonly string[];
  /** Sites whose pages may call the waiting-room API and read static files, each by its exact origin. The first is the site itself. */
  readonly corsAllowedOrigins: readonly string[];
  readonly state: { readonly bucket: string; readonly key: string; readonly lockTable: string };
  readonly vpc: {
    readonly cidr: string;
    readonly availabilityZones: readonly string[];
    readonly natGateways: "per-az" | "single";
  };
  readonly eks: {
    readonly version: string;
    /** Whether the whole internet may be named as allowed to reach the API. */
    readonly publicAccessMayBeOpen: boolean;
    readonly nodeGroup: {
      readonly name: string;
      readonly instanceTypes: readonly string[];
      readonly capacityType: "ON_DEMAND" | "SPOT";
      readonly desiredSize: number;
      readonly minSize: number;
      readonly maxSize: number;
      readonly diskSizeGib: number;
    };
  };
  readonly rds: {
    readonly engineVersion: string;
    readonly instanceClass: string;
    readonly allocatedStorageGib: number;
    readonly maxAllocatedStorageGib: number;
    readonly multiAz: boolean;
    readonly readReplica: boolean;
    readonly proxy: boolean;
    readonly deletionProtection: boolean;
    /** Set where databases that exist with RDS's own key are taken over (docs/migration.md). @default false */
    readonly encryptedByService?: boolean;
  };
  readonly elasticache: {
    readonly engineVersion: string;
    readonly nodeType: string;
    readonly numCacheClusters: number;
    /** As of `rds`. @default false */
    readonly encryptedByService?: boolean;
  };
  readonly msk: {
    readonly kafkaVersion: string;
    readonly instanceType: string;
    readonly brokerNodes: number;
    readonly volumeSizeGib: number;
    /** As of `rds`. @default false */
    readonly encryptedByService?: boolean;
  };
  readonly waitingRoom: {
    readonly apiReservedConcurrentExecutions: number;
    /** Visitors admitted per ten seconds. */
    readonly counterBatchSize: number;
    /** Requests per second of the API. */
    readonly throttlingRateLimit: number;
    readonly throttlingBurstLimit: number;
    readonly pointInTimeRecovery: boolean;
  };
  readonly worker: {
    readonly timeoutSeconds: number;
    readonly reservedConcurrentExecutions: number;
    readonly maximumConcurrency: number;
  };
  readonly queue: { readonly visibilityTimeoutSeconds: number };
  /** Whether the waiting room's tables refuse deletion. */
  readonly deletionProtection: boolean;
  /** Whether the load balancers refuse deletion: visitors know their names, in staging, too. */
  readonly loadBalancerDeletionProtection: boolean;
  /** How often each generated secret has been replaced, by its Terraform name. */
  readonly secretRotations: Readonly<Record<string, number>>;
}

/** Fewest and most function-wide concurrent executions that an event source mapping may use. Source: AWS Lambda, ScalingConfig. */
const MAXIMUM_CONCURRENCY_RANGE = { min: 2, max: 1000 };
/** The default account quota of concurrent executions, of which 100 must stay unreserved. Source: AWS Lambda quotas. */
const RESERVABLE_CONCURRENCY = 900;
/** What the advancer reserves in each environment: one run and one that overlaps it. */
const ADVANCER_CONCURRENCY = 2;

const RULES: readonly Rule<Environment>[] = [
  {
    property: "prefix",
    given: ({ prefix }) => prefix,
    valid: ({ prefix }) => /^[a-z][a-z0-9-]{2,19}$/.test(prefix) && !prefix.endsWith("-") && !prefix.includes("--"),
    allowed: "3 to 20 lower-case letters, digits and single inner hyphens, starting with a letter",
    remedy: "Every physical name starts with it, and the shortest limit (a load balancer's 32) must hold the rest.",
  },
  {
    property: "vpc.cidr",
    given: ({ vpc }) => vpc.cidr,
    valid: ({ vpc }) => isBlockOf16(vpc.cidr),
    allowed: "a /16 block that starts on its own boundary, such as 10.0.0.0/16",
    remedy: "The five tiers are numbered as /24 blocks within it.",
  },
  {
    property: "vpc.availabilityZones",
    given: ({ vpc }) => vpc.availabilityZones,
    valid: ({ vpc, region }) =>
      vpc.availabilityZones.length === 2 &&
      new Set(vpc.availabilityZones).size === 2 &&
      vpc.availabilityZones.every((zone) => zone.startsWith(region) && zone.length === region.length + 1),
    allowed: ({ region }) => `two different zones of ${region}`,
    remedy: "Name them in order: the first carries subnets .0, .10, .20, .30 and .40.",
  },
  {
    property: "eks.nodeGroup",
    given: ({ eks: { nodeGroup } }) => ({
      min: nodeGroup.minSize,
      desired: nodeGroup.desiredSize,
      max: nodeGroup.maxSize,
    }),
    valid: ({ eks: { nodeGroup } }) =>
      nodeGroup.minSize >= 1 &&
      nodeGroup.minSize <= nodeGroup.desiredSize &&
      nodeGroup.desiredSize <= nodeGroup.maxSize,
    allowed: "1 <= minSize <= desiredSize <= maxSize",
    remedy: "Raise maxSize or lower the others.",
  },
  {
    property: "rds",
    given: ({ rds }) => ({ allocated: rds.allocatedStorageGib, max: rds.maxAllocatedStorageGib }),
    valid: ({ rds }) =>
      rds.allocatedStorageGib >= 20 && rds.maxAllocatedStorageGib >= Math.ceil(rds.allocatedStorageGib * 1.1),
    allowed: "at least 20 GiB allocated (gp3), and a maximum at least 10 % above it",
    remedy: "RDS refuses storage autoscaling that could not take one step.",
  },
  {
    property: "elasticache.numCacheClusters",
    given: ({ elasticache }) => elasticache.numCacheClusters,
    valid: ({ elasticache }) => elasticache.numCacheClusters >= 1 && elasticache.numCacheClusters <= 6,
    allowed: "1 to 6",
    remedy: "One primary and up to five replicas.",
  },
  {
    property: "msk.brokerNodes",
    given: ({ msk }) => msk.brokerNodes,
    valid: ({ msk, vpc }) => msk.brokerNodes > 0 && msk.brokerNodes % vpc.availabilityZones.length === 0,
    allowed: ({ vpc }) => `a multiple of the ${vpc.availabilityZones.length} availability zones`,
    remedy: "MSK spreads brokers evenly over its subnets; add a zone for three brokers.",
  },
  {
    property: "queue.visibilityTimeoutSeconds",
    given: ({ queue, worker }) => ({
      visibilityTimeoutSeconds: queue.visibilityTimeoutSeconds,
      workerTimeoutSeconds: worker.timeoutSeconds,
    }),
    valid: ({ queue, worker }) => queue.visibilityTimeoutSeconds >= 6 * worker.timeoutSeconds,
    allowed: "at least six times the worker's timeout",
    remedy: "Lambda retries a throttled batch while it is invisible; see Lambda's page on SQS event source mappings.",
  },
  {
    property: "worker.maximumConcurrency",
    given: ({ worker }) => ({ maximum: worker.maximumConcurrency, reserved: worker.reservedConcurrentExecutions }),
    valid: ({ worker }) =>
      worker.maximumConcurrency >= MAXIMUM_CONCURRENCY_RANGE.min &&
      worker.maximumConcurrency <= MAXIMUM_CONCURRENCY_RANGE.max &&
      worker.maximumConcurrency <= worker.reservedConcurrentExecutions,
    allowed: `${MAXIMUM_CONCURRENCY_RANGE.min} to ${MAXIMUM_CONCURRENCY_RANGE.max}, and not above the reserved concurrency`,
    remedy: "Above the reserved concurrency, batches are throttled and drift towards the dead-letter queue.",
  },
  {
    property: "waitingRoom.throttlingBurstLimit",
    given: ({ waitingRoom }) => ({ rate: waitingRoom.throttlingRateLimit, burst: waitingRoom.throttlingBurstLimit }),
    valid: ({ waitingRoom }) => waitingRoom.throttlingBurstLimit >= waitingRoom.throttlingRateLimit,
    allowed: "a burst limit not below the rate limit",
    remedy: "A bucket smaller than a second's requests throttles below the rate.",
  },
];

/** Every problem of a set of environments, each with where, what was given, what is allowed and what to do. */
export function environmentProblems(environments: readonly Environment[]): string[] {
  const own = environments.flatMap((environment) =>
    [...brokenRules(environment, RULES), ...nameProblems("node group", environment.eks.nodeGroup.name)].map(
      (text) => `[environments/${environment.name}] ${text}`,
    ),
  );
  const clashes = environments.flatMap((left, index) =>
    environments
      .slice(index + 1)
      .filter(
        (right) => isBlockOf16(left.vpc.cidr) && isBlockOf16(right.vpc.cidr) && overlaps(left.vpc.cidr, right.vpc.cidr),
      )
      .map(
        (right) =>
          `[environments/${right.name}] vpc.cidr: given ${right.vpc.cidr}; allowed: a block that does not overlap ${left.name}'s ${left.vpc.cidr}. Overlapping networks can never be peered.`,
      ),
  );
  return [...own, ...clashes, ...concurrencyProblems(environments)];
}

/** Both environments share one account, and so its quota of concurrent executions. */
function concurrencyProblems(environments: readonly Environment[]): string[] {
  const reserved = environments.map(
    ({ waitingRoom, worker }) =>
      waitingRoom.apiReservedConcurrentExecutions + ADVANCER_CONCURRENCY + worker.reservedConcurrentExecutions,
  );
  const total = reserved.reduce((sum, count) => sum + count, 0);
  if (total <= RESERVABLE_CONCURRENCY) return [];
  return [
    `[environments] ${problem(
      "reserved concurrent executions of all functions",
      total,
      `at most ${RESERVABLE_CONCURRENCY} in one account`,
      "Lower waitingRoom.apiReservedConcurrentExecutions, or have AWS raise the quota and raise this limit.",
    )}`,
  ];
}

/** Everything that is wrong with the committed configuration, told at once. */
export class ConfigurationError extends Error {
  constructor(readonly problems: readonly string[]) {
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    super(
      `the configuration has ${count}; nothing was written:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`,
    );
    this.name = "ConfigurationError";
  }
}

/** Throws one error with every problem of the environments, or does nothing. */
export function validateEnvironments(environments: readonly Environment[]): void {
  const problems = environmentProblems(environments);
  if (problems.length > 0) throw new ConfigurationError(problems);
}

function isBlockOf16(cidr: string): boolean {
  try {
    return parseCidr(cidr).prefixLength === 16;
  } catch {
    return false;
  }
}
