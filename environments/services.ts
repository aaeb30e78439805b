/** Names of the nine services, in the order of the documents. Source: AWS architecture §3.1, Infra analysis §2-11 "ECR". */
export const SERVICE_NAMES = [
  "gateway-service",
  "auth-service",
  "ticket-service",
  "payment-service",
  "queue-service",
  "stats-service",
  "catalog-service",
  "community-service",
  "frontend",
] as const;

/** Name of a service. */
export type ServiceName = (typeof SERVICE_NAMES)[number];

/** Kafka topics of the platform; the dead-letter topics are those that stats-service parks what it cannot read. */
export const TOPICS = ["payment-events", "reservation-events", "transfer-events", "membership-events"] as const;

/** Name of a topic. */
export type Topic = (typeof TOPICS)[number];

/** Dead-letter topic of a topic. */
export type DeadLetterTopic = `${Topic}.DLT`;

/** How many pods of a service run. */
export interface Replicas {
  readonly prod: number;
  readonly staging: number;
  readonly dev: number;
}

/** CPU in thousandths of a core and memory in MiB. */
export interface ResourceAmount {
  readonly cpuMillicores: number;
  readonly memoryMib: number;
}

/** What a pod is promised, and what it may use at most. */
export interface Resources {
  readonly requests: ResourceAmount;
  readonly limits: ResourceAmount;
}

/** How the number of pods follows the load, in production. */
export interface Autoscaling {
  readonly minReplicas: number;
  readonly maxReplicas: number;
  /** Average use of the requested CPU at which another pod starts, in percent. */
  readonly cpuPercent: number;
}

/** What the process is, and so how it is probed, measured and traced. */
export type ServiceRuntime = "spring" | "next";

/** Secrets that more than one service knows, by their name behind the prefix in Secrets Manager. Source: Infra analysis §2-12. */
export const SHARED_SECRETS = ["jwt-secret", "queue-entry-token-secret", "internal-api-token"] as const;

/** Name of a shared secret. */
export type SharedSecret = (typeof SHARED_SECRETS)[number];

/** One service: what it is called, where it listens, what it uses, and whom it calls. */
export interface Service {
  readonly name: ServiceName;
  readonly runtime: ServiceRuntime;
  /** TCP port of the container and of the Kubernetes Service. Source: AWS architecture §3.1. */
  readonly port: number;
  /** Whether its build includes the library that services share. Source: Architecture guide §8, "urr-common". @default false */
  readonly usesCommonLibrary?: boolean;
  /** Source: Infra analysis §3-5 (prod), AWS architecture §9 "총 레플리카" (staging: two for gateway, ticket and queue, one else). */
  readonly replicas: Replicas;
  /** Path that load balancers and the analysis before a promotion ask. Source: AWS architecture §5.4, Infra analysis §3-9. */
  readonly healthCheckPath: string;
  /** Source: AWS architecture §3.1, Infra analysis §3-4, §8-2 (queue-service). */
  readonly resources: Resources;
  /** Source: Infra analysis §7-1. @default none: the number of pods is fixed */
  readonly autoscaling?: Autoscaling;
  /** Whether production deploys it blue-green, by hand-promoted Argo Rollouts. Source: Infra analysis §3-9. @default false: rolling update */
  readonly blueGreen?: boolean;
  /** Pods that must stay while nodes are drained, in production. Source: AWS architecture §3.7. @default none */
  readonly minAvailable?: number;
  /** Secrets that it knows beside its own database's. */
  readonly secrets?: readonly SharedSecret[];
  /** Settings of its own, as environment variables: the same in every environment. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Database and the user that owns it. Source: Architecture guide §8.1. */
  readonly database?: { readonly name: string; readonly user: string };
  /** Whether it reads from the replica too. Source: Architecture guide §8.1 "Read Replica". */
  readonly readsReplica?: boolean;
  /** Whether it uses Redis. Source: Architecture guide §8.2. */
  readonly redis?: boolean;
  /** Source: Architecture guide §7.9, §8.3. */
  readonly kafka?: { readonly publishes: readonly (Topic | DeadLetterTopic)[]; readonly consumes: readonly Topic[] };
  /** Whether it sends to the FIFO queue of ticket events. Source: Architecture guide §7.6. */
  readonly sendsTicketEvents?: boolean;
  /** Services that it calls over HTTP. Source: Architecture guide §7.9, Infra analysis §3-8. */
  readonly calls: readonly ServiceName[];
  /** Public hosts on the internet that it calls, in words; empty for most. */
  readonly callsInternet?: string;
  /** How the load balancers reach it. */
  readonly loadBalancer?: {
    /** Target group of the public load balancer: path patterns, none for the default. Source: AWS architecture §5.4. */
    readonly public?: { readonly pathPatterns: readonly string[] };
    /** Target group of the internal load balancer, for callers outside the cluster. */
    readonly internal?: true;
  };
}

/** Source: AWS architecture §3.1, Infra analysis §3-4. */
const LARGE: Resources = {
  requests: { cpuMillicores: 200, memoryMib: 256 },
  limits: { cpuMillicores: 1000, memoryMib: 1024 },
};
/** Source: AWS architecture §3.1; the documents name none for the frontend. */
const SMALL: Resources = {
  requests: { cpuMillicores: 100, memoryMib: 256 },
  limits: { cpuMillicores: 500, memoryMib: 512 },
};
/** Waiting visitors poll. Source: Infra analysis §8-2. */
const QUEUE: Resources = {
  requests: { cpuMillicores: 250, memoryMib: 384 },
  limits: { cpuMillicores: 500, memoryMib: 512 },
};
/** Source: Infra analysis §7-1 "Scale Trigger". */
const CPU_PERCENT = 70;

const BACKENDS: readonly ServiceName[] = SERVICE_NAMES.filter(
  (name) => name !== "gateway-service" && name !== "frontend",
);

/** The service catalogue: from here come repositories, target groups, service roles, grants and everything in the cluster. */
export const SERVICES: readonly Service[] = [
  {
    name: "gateway-service",
    runtime: "spring",
    port: 3001,
    replicas: { prod: 3, staging: 2, dev: 1 },
    healthCheckPath: "/health",
    resources: LARGE,
    autoscaling: { minReplicas: 3, maxReplicas: 10, cpuPercent: CPU_PERCENT },
    blueGreen: true,
    minAvailable: 1,
    secrets: ["jwt-secret", "queue-entry-token-secret"],
    settings: {
      // Requests a minute. Source: Architecture guide §7.1.
      RATE_LIMIT_AUTH_RPM: "60",
      RATE_LIMIT_QUEUE_RPM: "120",
      RATE_LIMIT_BOOKING_RPM: "30",
      RATE_LIMIT_GENERAL_RPM: "3000",
      // Every request asks Redis. Source: Infra analysis §7-3.
      SPRING_DATA_REDIS_LETTUCE_POOL_MAX_ACTIVE: "32",
      SPRING_DATA_REDIS_LETTUCE_POOL_MAX_IDLE: "16",
      SPRING_DATA_REDIS_LETTUCE_POOL_MIN_IDLE: "4",
      // Durations by route. Source: Spring Cloud Gateway, "The Gateway Metrics Filter".
      MANAGEMENT_METRICS_DISTRIBUTION_PERCENTILESHISTOGRAM_SPRING_CLOUD_GATEWAY_REQUESTS: "true",
    },
    redis: true,
    calls: BACKENDS,
    loadBalancer: { public: { pathPatterns: ["/api/*"] } },
  },
  {
    name: "auth-service",
    runtime: "spring",
    port: 3005,
    replicas: { prod: 2, staging: 1, dev: 1 },
    healthCheckPath: "/health",
    resources: LARGE,
    autoscaling: { minReplicas: 2, maxReplicas: 6, cpuPercent: CPU_PERCENT },
    minAvailable: 1,
    secrets: ["jwt-secret", "internal-api-token"],
    database: { name: "auth_db", user: "auth" },
    calls: [],
    callsInternet: "OAuth providers",
  },
  {
    name: "ticket-service",
    runtime: "spring",
    port: 3002,
    usesCommonLibrary: true,
    replicas: { prod: 3, staging: 2, dev: 1 },
    healthCheckPath: "/health",
    resources: LARGE,
    autoscaling: { minReplicas: 3, maxReplicas: 10, cpuPercent: CPU_PERCENT },
    blueGreen: true,
    minAvailable: 1,
    secrets: ["internal-api-token"],
    database: { name: "ticket_db", user: "ticket" },
    redis: true,
    kafka: { publishes: ["reservation-events", "transfer-events", "membership-events"], consumes: ["payment-events"] },
    calls: ["payment-service"],
    loadBalancer: { internal: true },
  },
  {
    name: "payment-service",
    runtime: "spring",
    port: 3003,
    usesCommonLibrary: true,
    replicas: { prod: 2, staging: 1, dev: 1 },
    healthCheckPath: "/health",
    resources: LARGE,
    autoscaling: { minReplicas: 2, maxReplicas: 6, cpuPercent: CPU_PERCENT },
    blueGreen: true,
    minAvailable: 1,
    secrets: ["internal-api-token"],
    database: { name: "payment_db", user: "payment" },
    kafka: { publishes: ["payment-events"], consumes: [] },
    calls: ["ticket-service"],
    callsInternet: "payment gateways",
  },
  {
    name: "queue-service",
    runtime: "spring",
    port: 3007,
    usesCommonLibrary: true,
    replicas: { prod: 3, staging: 2, dev: 1 },
    healthCheckPath: "/health",
    resources: QUEUE,
    autoscaling: { minReplicas: 3, maxReplicas: 8, cpuPercent: CPU_PERCENT },
    blueGreen: true,
    minAvailable: 1,
    secrets: ["queue-entry-token-secret", "internal-api-token"],
    // Source: Architecture guide §4.4.
    settings: { QUEUE_ACTIVE_TTL_SECONDS: "600" },
    redis: true,
    sendsTicketEvents: true,
    calls: ["catalog-service"],
  },
  {
    name: "stats-service",
    runtime: "spring",
    port: 3004,
    usesCommonLibrary: true,
    replicas: { prod: 2, staging: 1, dev: 1 },
    healthCheckPath: "/health",
    resources: LARGE,
    autoscaling: { minReplicas: 2, maxReplicas: 4, cpuPercent: CPU_PERCENT },
    minAvailable: 1,
    secrets: ["internal-api-token"],
    database: { name: "stats_db", user: "stats" },
    readsReplica: true,
    kafka: {
      publishes: ["payment-events.DLT", "reservation-events.DLT", "transfer-events.DLT", "membership-events.DLT"],
      consumes: TOPICS,
    },
    calls: [],
  },
  {
    name: "catalog-service",
    runtime: "spring",
    port: 3009,
    usesCommonLibrary: true,
    replicas: { prod: 2, staging: 1, dev: 1 },
    healthCheckPath: "/health",
    resources: SMALL,
    autoscaling: { minReplicas: 2, maxReplicas: 6, cpuPercent: CPU_PERCENT },
    minAvailable: 1,
    secrets: ["internal-api-token"],
    database: { name: "catalog_db", user: "catalog" },
    readsReplica: true,
    calls: ["auth-service", "ticket-service"],
  },
  {
    name: "community-service",
    runtime: "spring",
    port: 3008,
    usesCommonLibrary: true,
    replicas: { prod: 2, staging: 1, dev: 1 },
    healthCheckPath: "/health",
    resources: SMALL,
    autoscaling: { minReplicas: 2, maxReplicas: 4, cpuPercent: CPU_PERCENT },
    minAvailable: 1,
    secrets: ["internal-api-token"],
    database: { name: "community_db", user: "community" },
    calls: ["ticket-service"],
  },
  {
    name: "frontend",
    runtime: "next",
    port: 3000,
    replicas: { prod: 2, staging: 1, dev: 1 },
    healthCheckPath: "/health",
    resources: SMALL,
    calls: ["gateway-service"],
    loadBalancer: { public: { pathPatterns: [] } },
  },
];

/** Databases with the user that owns each, in the catalogue's order. */
export const DATABASES: readonly { readonly name: string; readonly user: string }[] = SERVICES.flatMap(
  ({ database }) => (database ? [database] : []),
);

/** A service by its name. */
export function serviceNamed(name: ServiceName): Service {
  const service = SERVICES.find((candidate) => candidate.name === name);
  if (!service) throw new Error(`services: there is no ${name} in the catalogue`);
  return service;
}

/** Folder of a service's sources, below the repository that holds them. Source: Infra analysis §4-2 "service-path". */
export function sourceFolder({ name, runtime }: Service): string {
  return runtime === "next" ? "apps/web" : `services-spring/${name}`;
}

/** Folder of the library that services share, for Gradle's `includeBuild '../urr-common'`. Source: Architecture guide §8, "urr-common". */
export const COMMON_LIBRARY = { name: "urr-common", folder: "services-spring/urr-common" } as const;

/** Paths whose change touches a service, as GitHub's filters take them. Source: Infra analysis §4-1, §4-5. */
export function sourcePaths(service: Service): string[] {
  return [`${sourceFolder(service)}/**`, ...(service.usesCommonLibrary ? [`${COMMON_LIBRARY.folder}/**`] : [])];
}

/** Repository of a service's images. Source: Infra analysis §2-11. */
export function imageRepository({ name }: Pick<Service, "name">): string {
  return `urr/${name}`;
}

/** Services that call this one over HTTP. */
export function callersOf(name: ServiceName): ServiceName[] {
  return SERVICES.filter(({ calls }) => calls.includes(name)).map((service) => service.name);
}

/** Whether the service's pods take a role in AWS: to send ticket events, or to authenticate at Kafka. */
export function usesAws({ kafka, sendsTicketEvents }: Service): boolean {
  return kafka !== undefined || sendsTicketEvents === true;
}

/** Target groups that a service's pods are registered in, as the output `target_group_arns` names them. */
export function targetGroupsOf({ loadBalancer, name }: Service): string[] {
  return [...(loadBalancer?.public ? [name] : []), ...(loadBalancer?.internal ? [`internal-${name}`] : [])];
}
