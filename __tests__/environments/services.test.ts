import { describe, expect, it } from "vitest";
import {
  callersOf,
  SERVICES,
  type ServiceName,
  serviceNamed,
  targetGroupsOf,
  usesAws,
} from "../../environments/services";

/** Source: AWS architecture §3.1, with queue-service of Infra analysis §8-2; requests and limits. */
const RESOURCES: Readonly<Record<Exclude<ServiceName, "frontend">, readonly [string, string]>> = {
  "gateway-service": ["200m 256Mi", "1000m 1024Mi"],
  "ticket-service": ["200m 256Mi", "1000m 1024Mi"],
  "payment-service": ["200m 256Mi", "1000m 1024Mi"],
  "stats-service": ["200m 256Mi", "1000m 1024Mi"],
  "auth-service": ["200m 256Mi", "1000m 1024Mi"],
  "queue-service": ["250m 384Mi", "500m 512Mi"],
  "community-service": ["100m 256Mi", "500m 512Mi"],
  "catalog-service": ["100m 256Mi", "500m 512Mi"],
};

/** Source: Infra analysis §7-1, with at least two replicas for stats and community. */
const AUTOSCALING: Readonly<Record<Exclude<ServiceName, "frontend">, readonly [number, number]>> = {
  "gateway-service": [3, 10],
  "ticket-service": [3, 10],
  "queue-service": [3, 8],
  "payment-service": [2, 6],
  "auth-service": [2, 6],
  "catalog-service": [2, 6],
  "stats-service": [2, 4],
  "community-service": [2, 4],
};

/** Source: AWS architecture §3.1, Architecture guide §3.6. */
const PORTS: Readonly<Record<ServiceName, number>> = {
  "gateway-service": 3001,
  "ticket-service": 3002,
  "payment-service": 3003,
  "stats-service": 3004,
  "auth-service": 3005,
  "queue-service": 3007,
  "community-service": 3008,
  "catalog-service": 3009,
  frontend: 3000,
};

/** Source: Architecture guide §7.9, AWS architecture §4.2, §4.3. */
const CALLERS: Readonly<Record<ServiceName, readonly ServiceName[]>> = {
  "gateway-service": ["frontend"],
  "auth-service": ["gateway-service", "catalog-service"],
  "ticket-service": ["gateway-service", "payment-service", "catalog-service", "community-service"],
  "payment-service": ["gateway-service", "ticket-service"],
  "stats-service": ["gateway-service"],
  "queue-service": ["gateway-service"],
  "catalog-service": ["gateway-service", "queue-service"],
  "community-service": ["gateway-service"],
  frontend: [],
};

function names(services: readonly { readonly name: ServiceName }[]): ServiceName[] {
  return services.map(({ name }) => name).sort();
}

describe("the service catalogue", () => {
  it("has the nine documented services on their documented ports, each its own", () => {
    expect(Object.fromEntries(SERVICES.map(({ name, port }) => [name, port]))).toEqual(PORTS);
    expect(new Set(SERVICES.map(({ port }) => port)).size).toBe(9);
  });

  it.each(Object.entries(RESOURCES))("gives %s its documented resources", (name, [requests, limits]) => {
    const { resources } = serviceNamed(name as ServiceName);
    const text = ({ cpuMillicores, memoryMib }: typeof resources.requests) => `${cpuMillicores}m ${memoryMib}Mi`;
    expect([text(resources.requests), text(resources.limits)]).toEqual([requests, limits]);
  });

  it.each(Object.entries(AUTOSCALING))("scales %s as documented, at 70 %% of its CPU", (name, [min, max]) => {
    expect(serviceNamed(name as ServiceName).autoscaling).toEqual({
      minReplicas: min,
      maxReplicas: max,
      cpuPercent: 70,
    });
  });

  it("scales every backend and nothing else, from no fewer pods than it starts with", () => {
    expect(names(SERVICES.filter(({ autoscaling }) => autoscaling))).toEqual(Object.keys(AUTOSCALING).sort());
    for (const { autoscaling, replicas } of SERVICES)
      if (autoscaling) expect(autoscaling.minReplicas).toBe(replicas.prod);
  });

  it("keeps one pod of each backend through every drain, and never starts so few that this blocks it", () => {
    const budgeted = SERVICES.filter(({ minAvailable }) => minAvailable !== undefined);
    expect(names(budgeted)).toEqual(Object.keys(AUTOSCALING).sort());
    for (const { autoscaling, minAvailable = 0, name, replicas } of budgeted) {
      expect(minAvailable, name).toBe(1);
      expect(Math.min(replicas.prod, autoscaling?.minReplicas ?? 0), name).toBeGreaterThan(minAvailable);
    }
  });

  it("deploys gateway, ticket, payment and queue blue-green", () => {
    expect(names(SERVICES.filter(({ blueGreen }) => blueGreen))).toEqual([
      "gateway-service",
      "payment-service",
      "queue-service",
      "ticket-service",
    ]);
  });

  it.each(Object.entries(CALLERS))("lets %s be called by its documented callers", (name, callers) => {
    expect(callersOf(name as ServiceName).sort()).toEqual([...callers].sort());
  });

  it("gives a role in AWS to who uses Kafka or the queue, and to nobody else", () => {
    expect(names(SERVICES.filter(usesAws))).toEqual([
      "payment-service",
      "queue-service",
      "stats-service",
      "ticket-service",
    ]);
  });

  it("registers gateway and frontend at the public load balancer and ticket at the internal one", () => {
    expect(SERVICES.flatMap(targetGroupsOf).sort()).toEqual(["frontend", "gateway-service", "internal-ticket-service"]);
  });

  it("lets who mints a token and who checks it know the same secret", () => {
    const knowing = (secret: string) =>
      names(SERVICES.filter(({ secrets = [] }) => (secrets as readonly string[]).includes(secret)));
    expect(knowing("jwt-secret")).toEqual(["auth-service", "gateway-service"]);
    expect(knowing("queue-entry-token-secret")).toEqual(["gateway-service", "queue-service"]);
    expect(knowing("internal-api-token")).not.toContain("frontend");
  });

  it("carries the gateway's documented rate limits and pool, and the queue's life of an active visitor", () => {
    expect(serviceNamed("gateway-service").settings).toMatchObject({
      RATE_LIMIT_AUTH_RPM: "60",
      RATE_LIMIT_QUEUE_RPM: "120",
      RATE_LIMIT_BOOKING_RPM: "30",
      RATE_LIMIT_GENERAL_RPM: "3000",
      SPRING_DATA_REDIS_LETTUCE_POOL_MAX_ACTIVE: "32",
      SPRING_DATA_REDIS_LETTUCE_POOL_MAX_IDLE: "16",
      SPRING_DATA_REDIS_LETTUCE_POOL_MIN_IDLE: "4",
    });
    expect(serviceNamed("queue-service").settings).toEqual({ QUEUE_ACTIVE_TTL_SECONDS: "600" });
  });
});
