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

/** One service: what it is called, where it listens, what it uses, and whom it calls. */
export interface Service {
  readonly name: ServiceName;
  /** TCP port of the container and of the Kubernetes Service. Source: AWS architecture §3.1. */
  readonly port: number;
  /** Source: Infra analysis §3-5 (prod), AWS architecture §9 "총 레플리카" (staging: two for gateway, ticket and queue, one else). */
  readonly replicas: Replicas;
  /** Path that load balancer and probes ask. */
  readonly healthCheckPath: string;
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

const BACKENDS: readonly ServiceName[] = SERVICE_NAMES.filter(
  (name) => name !== "gateway-service" && name !== "frontend",
);

/** The service catalogue: from here come repositories, target groups, service roles, grants and everything in the cluster. */
export const SERVICES: readonly Service[] = [
  {
    name: "gateway-service",
    port: 3001,
    replicas: { prod: 3, staging: 2, dev: 1 },
    healthCheckPath: "/health",
    redis: true,
    calls: BACKENDS,
    loadBalancer: { public: { pathPatterns: ["/api/*"] } },
  },
  {
    name: "auth-service",
    port: 3005,
    replicas: { prod: 2, staging: 1, dev: 1 },
    healthCheckPath: "/health",
    database: { name: "auth_db", user: "auth" },
    calls: [],
    callsInternet: "OAuth providers",
  },
  {
    name: "ticket-service",
    port: 3002,
    replicas: { prod: 3, staging: 2, dev: 1 },
    healthCheckPath: "/health",
    database: { name: "ticket_db", user: "ticket" },
    redis: true,
    kafka: { publishes: ["reservation-events", "transfer-events", "membership-events"], consumes: ["payment-events"] },
    calls: ["payment-service"],
    loadBalancer: { internal: true },
  },
  {
    name: "payment-service",
    port: 3003,
    replicas: { prod: 2, staging: 1, dev: 1 },
    healthCheckPath: "/health",
    database: { name: "payment_db", user: "payment" },
    kafka: { publishes: ["payment-events"], consumes: [] },
    calls: ["ticket-service"],
    callsInternet: "payment gateways",
  },
  {
    name: "queue-service",
    port: 3007,
    replicas: { prod: 3, staging: 2, dev: 1 },
    healthCheckPath: "/health",
    redis: true,
    sendsTicketEvents: true,
    calls: ["catalog-service"],
  },
  {
    name: "stats-service",
    port: 3004,
    replicas: { prod: 2, staging: 1, dev: 1 },
    healthCheckPath: "/health",
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
    port: 3009,
    replicas: { prod: 2, staging: 1, dev: 1 },
    healthCheckPath: "/health",
    database: { name: "catalog_db", user: "catalog" },
    readsReplica: true,
    calls: ["auth-service", "ticket-service"],
  },
  {
    name: "community-service",
    port: 3008,
    replicas: { prod: 2, staging: 1, dev: 1 },
    healthCheckPath: "/health",
    database: { name: "community_db", user: "community" },
    calls: ["ticket-service"],
  },
  {
    name: "frontend",
    port: 3000,
    replicas: { prod: 2, staging: 1, dev: 1 },
    healthCheckPath: "/health",
    calls: ["gateway-service"],
    loadBalancer: { public: { pathPatterns: [] } },
  },
];

/** Databases with the user that owns each, in the catalogue's order. */
export const DATABASES: readonly { readonly name: string; readonly user: string }[] = SERVICES.flatMap(
  ({ database }) => (database ? [database] : []),
);
