import { describe, expect, it } from "vitest";
import { DEV_NAMESPACE } from "../../../environments/gitops";
import { prodPlatform, stagingPlatform } from "../../../environments/platform";
import { prod } from "../../../environments/prod";
import { type ServiceName, serviceNamed } from "../../../environments/services";
import { staging } from "../../../environments/staging";
import type { OverlayName } from "../../../tools/gitops/overlay";
import { additions, baseObjects, isWorkload, type KubernetesObject, objectsIn, TREE } from "./objects";

/** What pods ask for, or what nodes give: pods, thousandths of a core, MiB. */
interface Amount {
  readonly pods: number;
  readonly cpu: number;
  readonly memory: number;
}

const NOTHING: Amount = { pods: 0, cpu: 0, memory: 0 };

/** vCPUs, memory, and addresses for pods. Source: Amazon EC2 instance types; amazon-eks-ami `eni-max-pods.txt`. */
const INSTANCE_TYPES: Readonly<
  Record<string, { readonly vcpus: number; readonly memoryMib: number; readonly maxPods: number }>
> = {
  "t3.small": { vcpus: 2, memoryMib: 2048, maxPods: 11 },
  "t3.medium": { vcpus: 2, memoryMib: 4096, maxPods: 17 },
};

/** Share of the memory that the hypervisor and the kernel keep. Source: Karpenter, `VM_MEMORY_OVERHEAD_PERCENT`. */
const MEMORY_OVERHEAD = 0.075;
/** Source: Amazon EKS, nodeadm: reserved for kubelet and containerd, and the threshold of eviction. */
const RESERVED = { cpu: 70, memory: (maxPods: number) => 255 + 11 * maxPods, eviction: 100 };

/** Pods that every node runs: CNI with its policy agent, kube-proxy, the volume driver, node-exporter, the log agent. Requests as their makers set them. */
const DAEMON_SETS: readonly Amount[] = [
  { pods: 1, cpu: 50, memory: 0 },
  { pods: 1, cpu: 100, memory: 0 },
  { pods: 1, cpu: 30, memory: 120 },
  { pods: 1, cpu: 50, memory: 32 },
  { pods: 1, cpu: 50, memory: 128 },
];

/** Two pods of CoreDNS and two of the volume driver's controller. Source: the add-ons' defaults. */
const ADD_ONS: readonly Amount[] = [
  { pods: 2, cpu: 200, memory: 140 },
  { pods: 2, cpu: 120, memory: 480 },
];

/** Source: AWS architecture §2.3, "리소스 상한". */
const NODE_POOL_LIMIT = { cpu: 32_000, memory: 64 * 1024 };

function add(...amounts: readonly Amount[]): Amount {
  return amounts.reduce(
    (sum, { cpu, memory, pods }) => ({ pods: sum.pods + pods, cpu: sum.cpu + cpu, memory: sum.memory + memory }),
    NOTHING,
  );
}

function times({ cpu, memory, pods }: Amount, factor: number): Amount {
  return { pods: pods * factor, cpu: cpu * factor, memory: memory * factor };
}

function fits(need: Amount, room: Amount): boolean {
  return need.pods <= room.pods && need.cpu <= room.cpu && need.memory <= room.memory;
}

/** What is left for pods on nodes of a type, after the system and the DaemonSets. */
function room(type: string, nodes: number): Amount {
  const instance = INSTANCE_TYPES[type];
  if (!instance) throw new Error(`no figures for ${type}`);
  const memory = Math.floor(instance.memoryMib * (1 - MEMORY_OVERHEAD));
  const allocatable = {
    pods: instance.maxPods,
    cpu: instance.vcpus * 1000 - RESERVED.cpu,
    memory: memory - RESERVED.memory(instance.maxPods) - RESERVED.eviction,
  };
  return times(add(allocatable, times(add(...DAEMON_SETS), -1)), nodes);
}

function quantity(text: string, units: Readonly<Record<string, number>>): number {
  const [, number, unit = ""] = /^([0-9.]+)([A-Za-z]*)$/.exec(text) ?? [];
  const factor = units[unit];
  if (number === undefined || factor === undefined) throw new Error(`cannot read ${text}`);
  return Number(number) * factor;
}

function requestsOf(workload: KubernetesObject): Amount {
  return add(
    { ...NOTHING, pods: 1 },
    ...workload.spec.template.spec.containers.map(
      ({ resources }: { resources: { requests: { cpu: string; memory: string } } }) => ({
        pods: 0,
        cpu: quantity(resources.requests.cpu, { "": 1000, m: 1 }),
        memory: quantity(resources.requests.memory, { Mi: 1, Gi: 1024 }),
      }),
    ),
  );
}

/** What an overlay's pods ask for: as they start, or with every autoscaler at its limit and every Rollout's twin running. */
function need(overlay: OverlayName, at: "start" | "peak"): Amount {
  const own = additions(overlay).filter(isWorkload);
  const rollouts = new Set(own.filter(({ kind }) => kind === "Rollout").map(({ metadata }) => metadata.name));
  const deployments = baseObjects()
    .filter(isWorkload)
    .filter(({ metadata }) => !rollouts.has(metadata.name));
  const patched = TREE.has(`k8s/spring/overlays/${overlay}/patches/replicas.yaml`)
    ? objectsIn(`k8s/spring/overlays/${overlay}/patches/replicas.yaml`)
    : [];
  return add(
    ...[...deployments, ...own].map((workload) => {
      const { kind, metadata, spec } = workload;
      const replicas =
        patched.find((patch) => patch.metadata.name === metadata.name)?.spec.replicas ?? spec.replicas ?? 1;
      const isService = baseObjects().some((object) => object.metadata.name === metadata.name);
      const limit = isService ? serviceNamed(metadata.name as ServiceName).autoscaling?.maxReplicas : undefined;
      const most = overlay === "prod" ? (limit ?? replicas) : replicas;
      return times(requestsOf(workload), at === "start" ? replicas : kind === "Rollout" ? 2 * most : most);
    }),
  );
}

describe("the services' needs", () => {
  it("are the documented pods: 21 to start with in production, 12 in staging, 9 in dev beside its three stores and a job", () => {
    expect(need("prod", "start").pods).toBe(21);
    expect(need("staging", "start").pods).toBe(12);
    expect(need("dev", "start").pods).toBe(9 + 3 + 1);
  });

  it("are the sum of the documented requests", () => {
    // Twelve pods of 200m/256Mi, three of 250m/384Mi, four and the frontend's two of 100m/256Mi.
    expect(need("prod", "start")).toEqual({ pods: 21, cpu: 3750, memory: 12 * 256 + 3 * 384 + 6 * 256 });
  });
});

describe("the platform's quotas", () => {
  it.each([
    ["prod", prodPlatform.quotas[prod.namespace]],
    ["staging", stagingPlatform.quotas[staging.namespace]],
    ["dev", stagingPlatform.quotas[DEV_NAMESPACE]],
  ] as const)("leave room for all of %s at its peak, with one more pod of each service while it is replaced", (overlay, quota) => {
    if (!quota) throw new Error(`no quota for ${overlay}`);
    const surge = add(...baseObjects().filter(isWorkload).map(requestsOf));
    const limit: Amount = {
      pods: quota.pods,
      cpu: quantity(quota.requestsCpu, { "": 1000, m: 1 }),
      memory: quantity(quota.requestsMemory, { Mi: 1, Gi: 1024 }),
    };
    const needed = overlay === "prod" ? need("prod", "peak") : add(need(overlay, "peak"), surge);
    expect({ needed, limit, fits: fits(needed, limit) }).toMatchObject({ fits: true });
  });
});

describe("the documented node groups", () => {
  const group = (environment: typeof prod, nodes: "desiredSize" | "maxSize") =>
    room(environment.eks.nodeGroup.instanceTypes[0] ?? "", environment.eks.nodeGroup[nodes]);
  const stagingNeed = add(...ADD_ONS, need("staging", "start"), need("dev", "start"));

  it("give production room for its services as they start, but not at the autoscalers' limits", () => {
    expect(fits(add(...ADD_ONS, need("prod", "start")), group(prod, "desiredSize"))).toBe(true);
    expect(fits(add(...ADD_ONS, need("prod", "peak")), group(prod, "maxSize"))).toBe(false);
  });

  it("do not give staging room for staging and dev, even at their largest: addresses run out before memory does", () => {
    const largest = group(staging, "maxSize");
    expect(fits(stagingNeed, largest)).toBe(false);
    expect(largest.pods).toBe(3 * (11 - 5));
    expect(stagingNeed.pods - largest.pods).toBe(11);
  });

  it.each([
    ["prod", prod, add(...ADD_ONS, need("prod", "peak"))],
    ["staging", staging, stagingNeed],
  ] as const)("have room for all of %s, at its peak, together with what Karpenter may add", (_, environment, needed) => {
    // The smallest of the documented instance types: it has the fewest addresses and the dearest DaemonSets.
    const { memoryMib, vcpus } = INSTANCE_TYPES["t3.medium"] ?? { memoryMib: 1, vcpus: 1 };
    const nodes = Math.floor(Math.min(NODE_POOL_LIMIT.cpu / (vcpus * 1000), NODE_POOL_LIMIT.memory / memoryMib));
    const total = add(group(environment, "desiredSize"), room("t3.medium", nodes));
    expect(fits(needed, total)).toBe(true);
    // A third of it stays for the platform: Argo CD, Prometheus, Loki and what else the cluster runs.
    expect(fits(times(needed, 1.5), total)).toBe(true);
  });
});
