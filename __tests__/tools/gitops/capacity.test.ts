import { describe, expect, it } from "vitest";
import type { Environment } from "../../../environments/environment";
import { DEV_NAMESPACE } from "../../../environments/gitops";
import { prodPlatform, stagingPlatform } from "../../../environments/platform";
import { prod } from "../../../environments/prod";
import { SERVICES } from "../../../environments/services";
import { staging } from "../../../environments/staging";
import type { Json } from "../../../lib/terraform-modules";
import { CPU_UNITS, MEMORY_UNITS, quantity } from "../../../tools/charts/pods";
import platformPods from "../../../tools/charts/pods.json";
import { platformReleases } from "../../../tools/charts/releases";
import type { OverlayName } from "../../../tools/gitops/overlay";
import { additions, baseObjects, isWorkload, type KubernetesObject, objectsIn, TREE } from "./objects";

/** What pods ask for, or what nodes give: pods, thousandths of a core, MiB. */
interface Amount {
  readonly pods: number;
  readonly cpu: number;
  readonly memory: number;
}

interface InstanceType {
  readonly vcpus: number;
  readonly memoryMib: number;
  readonly maxPods: number;
}

type EnvironmentName = keyof typeof platformPods;

const NOTHING: Amount = { pods: 0, cpu: 0, memory: 0 };

/** vCPUs, memory, and addresses for pods. Source: Amazon EC2 instance types; amazon-eks-ami `eni-max-pods.txt`. */
const INSTANCE_TYPES = {
  "t3.small": { vcpus: 2, memoryMib: 2048, maxPods: 11 },
  "t3.medium": { vcpus: 2, memoryMib: 4096, maxPods: 17 },
  "t3.large": { vcpus: 2, memoryMib: 8192, maxPods: 35 },
  "t3.xlarge": { vcpus: 4, memoryMib: 16_384, maxPods: 58 },
  "m5.large": { vcpus: 2, memoryMib: 8192, maxPods: 29 },
  "m5.xlarge": { vcpus: 4, memoryMib: 16_384, maxPods: 58 },
} as const satisfies Record<string, InstanceType>;

/** Share of the memory that the hypervisor and the kernel keep. Source: Karpenter, `VM_MEMORY_OVERHEAD_PERCENT`. */
const MEMORY_OVERHEAD = 0.075;
/** Reserved for kubelet and containerd, and the threshold of eviction. Source: Amazon EKS, nodeadm. */
const RESERVED = {
  cpu: (vcpus: number) => 70 + 5 * (vcpus - 2),
  memory: (maxPods: number) => 255 + 11 * maxPods,
  eviction: 100,
};

/** Pods of the managed add-ons on every node: CNI with its policy agent, kube-proxy, the volume driver. Source: the add-ons' defaults. */
const ADD_ON_DAEMONS: readonly Amount[] = [
  { pods: 1, cpu: 50, memory: 0 },
  { pods: 1, cpu: 100, memory: 0 },
  { pods: 1, cpu: 30, memory: 120 },
];

/** Pods of CoreDNS and of the volume driver's controller, two each. Source: the add-ons' defaults. */
const ADD_ONS: readonly Amount[] = [
  { pods: 1, cpu: 100, memory: 70 },
  { pods: 1, cpu: 100, memory: 70 },
  { pods: 1, cpu: 60, memory: 240 },
  { pods: 1, cpu: 60, memory: 240 },
];

/** Source: Infra analysis §2-2 "Karpenter Autoscaler", AWS architecture §2.3, "리소스 상한". */
const NODE_POOL = {
  instanceTypes: ["t3.medium", "t3.large", "t3.xlarge", "m5.large", "m5.xlarge"],
  limit: { vcpus: 32, memoryMib: 64 * 1024 },
} as const;

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

/** Pods of the platform's releases on every node: the log agent and the node exporter. */
function daemons(environment: EnvironmentName): Amount {
  const own = platformPods[environment].filter(({ kind }) => kind === "DaemonSet");
  return add(...ADD_ON_DAEMONS, ...own.map(amountOf));
}

/** Every other pod of the add-ons and of the platform's releases, jobs included, each by itself. */
function platform(environment: EnvironmentName): Amount[] {
  const own = platformPods[environment].filter(({ kind }) => kind !== "DaemonSet");
  return [...ADD_ONS, ...own.flatMap((pods) => copies(amountOf(pods), pods.replicas))];
}

function amountOf({ cpuMillicores, memoryMib }: (typeof platformPods)["prod"][number]): Amount {
  return { pods: 1, cpu: cpuMillicores, memory: memoryMib };
}

function copies(amount: Amount, count: number): Amount[] {
  return Array.from({ length: count }, () => amount);
}

/** What is left for pods on a node of a type, after the system and the DaemonSets. */
function room(type: keyof typeof INSTANCE_TYPES, environment: EnvironmentName): Amount {
  const { maxPods, memoryMib, vcpus } = INSTANCE_TYPES[type];
  const memory = Math.floor(memoryMib * (1 - MEMORY_OVERHEAD));
  const allocatable = {
    pods: maxPods,
    cpu: vcpus * 1000 - RESERVED.cpu(vcpus),
    memory: memory - RESERVED.memory(maxPods) - RESERVED.eviction,
  };
  return add(allocatable, times(daemons(environment), -1));
}

/** Nodes of one type that the pool's limits allow. */
function poolOf(type: (typeof NODE_POOL.instanceTypes)[number], environment: EnvironmentName): Amount[] {
  const { memoryMib, vcpus } = INSTANCE_TYPES[type];
  const { limit } = NODE_POOL;
  return copies(room(type, environment), Math.floor(Math.min(limit.vcpus / vcpus, limit.memoryMib / memoryMib)));
}

/** The initial nodes, as many as they are at creation. */
function initialNodes({ eks: { nodeGroup }, name }: Environment, count = nodeGroup.desiredSize): Amount[] {
  const [type] = nodeGroup.instanceTypes;
  if (type === undefined || !(type in INSTANCE_TYPES)) throw new Error(`no figures for ${type}`);
  return copies(room(type as keyof typeof INSTANCE_TYPES, name), count);
}

/** Pods that find no node when each is put on the first that has room for it, the largest first. */
function leftOver(pods: readonly Amount[], nodes: readonly Amount[]): Amount[] {
  const free = [...nodes];
  const size = ({ cpu, memory }: Amount) => Math.max(cpu / 2000, memory / 4096);
  return pods
    .toSorted((left, right) => size(right) - size(left))
    .filter((pod) => {
      const at = free.findIndex((node) => fits(pod, node));
      if (at >= 0) free[at] = add(free[at] ?? NOTHING, times(pod, -1));
      return at < 0;
    });
}

function requestsOf(workload: KubernetesObject): Amount {
  return add(
    { ...NOTHING, pods: 1 },
    ...workload.spec.template.spec.containers.map(
      ({ resources }: { resources: { requests: { cpu: string; memory: string } } }) => ({
        pods: 0,
        cpu: quantity(resources.requests.cpu, CPU_UNITS),
        memory: quantity(resources.requests.memory, MEMORY_UNITS),
      }),
    ),
  );
}

/** Every `requests` in a release's values, at whatever depth. */
function requestsIn(values: Json): { readonly cpu: string; readonly memory: string }[] {
  if (values === null || typeof values !== "object") return [];
  if (Array.isArray(values)) return values.flatMap(requestsIn);
  return Object.entries(values).flatMap(([key, value]) =>
    key === "requests" && typeof value === "object" && value !== null && "cpu" in value
      ? [value as unknown as { cpu: string; memory: string }]
      : requestsIn(value),
  );
}

/** A moment: as the services start; with every autoscaler at its limit; and then with twins of some blue-green services beside them. */
type Moment = "start" | { readonly twinsOf: readonly string[] };

/** Every pod of an overlay. */
function podsOf(overlay: OverlayName, moment: Moment): Amount[] {
  const own = additions(overlay).filter(isWorkload);
  const rollouts = new Set(own.filter(({ kind }) => kind === "Rollout").map(({ metadata }) => metadata.name));
  const deployments = baseObjects()
    .filter(isWorkload)
    .filter(({ metadata }) => !rollouts.has(metadata.name));
  const patched = TREE.has(`k8s/spring/overlays/${overlay}/patches/replicas.yaml`)
    ? objectsIn(`k8s/spring/overlays/${overlay}/patches/replicas.yaml`)
    : [];
  return [...deployments, ...own].flatMap((workload) => {
    const { metadata, spec } = workload;
    const { name } = metadata;
    const replicas = patched.find((patch) => patch.metadata.name === name)?.spec.replicas ?? spec.replicas ?? 1;
    const service = SERVICES.find((candidate) => candidate.name === name);
    const most = overlay === "prod" ? (service?.autoscaling?.maxReplicas ?? replicas) : replicas;
    const count = moment === "start" ? replicas : rollouts.has(name) && moment.twinsOf.includes(name) ? 2 * most : most;
    return copies(requestsOf(workload), count);
  });
}

function need(overlay: OverlayName, moment: Moment): Amount {
  return add(...podsOf(overlay, moment));
}

const BLUE_GREEN = SERVICES.filter(({ blueGreen }) => blueGreen).map(({ name }) => name);
const ALL_TWINS: Moment = { twinsOf: BLUE_GREEN };

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
      cpu: quantity(quota.requestsCpu, CPU_UNITS),
      memory: quantity(quota.requestsMemory, MEMORY_UNITS),
    };
    const needed = overlay === "prod" ? need("prod", ALL_TWINS) : add(need(overlay, ALL_TWINS), surge);
    expect({ needed, limit, fits: fits(needed, limit) }).toMatchObject({ fits: true });
  });
});

describe("the pods that are counted for the platform", () => {
  it.each([
    "staging",
    "prod",
  ] as const)("are those of every release of %s that runs any, with requests for each", (name) => {
    const releases = new Set(platformPods[name].map(({ release }) => release));
    const planned = platformReleases(name).map(({ name: release }) => release);
    expect(planned).toEqual(expect.arrayContaining([...releases]));
    // What is not among them holds custom resources, definitions or rules.
    expect(planned.filter((release) => !releases.has(release))).toEqual([
      "argo-applications",
      "external-secrets-store",
      "karpenter-crd",
      "karpenter-nodes",
      "prometheus-operator-crds",
      "prometheus-rules",
      "target-group-bindings",
    ]);
    for (const { cpuMillicores, memoryMib, name: pods } of platformPods[name]) {
      expect(cpuMillicores, pods).toBeGreaterThan(0);
      expect(memoryMib, pods).toBeGreaterThan(0);
    }
  });

  it.each(["staging", "prod"] as const)("ask for what the values of %s say", (name) => {
    for (const { name: release, values } of platformReleases(name)) {
      const known = platformPods[name].filter((pods) => pods.release === release);
      for (const { cpu, memory } of requestsIn(values)) {
        const enough = ({ cpuMillicores, memoryMib }: { cpuMillicores: number; memoryMib: number }) =>
          cpuMillicores >= quantity(cpu, CPU_UNITS) && memoryMib >= quantity(memory, MEMORY_UNITS);
        expect(known.some(enough), `${release}: no pod asks for ${cpu} and ${memory}; run npm run charts -- pods`).toBe(
          true,
        );
      }
    }
  });
});

describe("the nodes", () => {
  const stagingAndDev = [...podsOf("staging", "start"), ...podsOf("dev", "start")];

  it.each([
    ["prod", prod],
    ["staging", staging],
  ] as const)("of %s's group carry what must run before Karpenter can add any", (name, environment) => {
    const karpenter = platformPods[name].filter(({ release }) => release === "karpenter");
    const first = [...ADD_ONS, ...karpenter.flatMap((pods) => copies(amountOf(pods), pods.replicas))];
    const { desiredSize, minSize } = environment.eks.nodeGroup;
    expect(leftOver(first, initialNodes(environment, desiredSize))).toEqual([]);
    // At its smallest a second CoreDNS may have to wait for the node that Karpenter then adds; nothing else.
    const waiting = leftOver(first, initialNodes(environment, minSize));
    expect(waiting.length).toBeLessThanOrEqual(1);
    for (const pod of waiting) expect(ADD_ONS.slice(0, 2)).toContainEqual(pod);
    // Two controllers of Karpenter never share a node.
    expect(minSize).toBeGreaterThanOrEqual(karpenter[0]?.replicas ?? 0);
  });

  it("of the documented groups do not carry services and platform, even at their largest: the documents' gap", () => {
    const { maxSize } = prod.eks.nodeGroup;
    expect(leftOver([...platform("prod"), ...podsOf("prod", "start")], initialNodes(prod, maxSize))).not.toEqual([]);
    const largest = initialNodes(staging, staging.eks.nodeGroup.maxSize);
    expect(leftOver([...platform("staging"), ...stagingAndDev], largest)).not.toEqual([]);
    // Addresses alone: eleven a node, of which DaemonSets take five.
    expect(add(...largest).pods).toBe(3 * (11 - 5));
  });

  it.each(
    NODE_POOL.instanceTypes,
  )("that Karpenter may add, all of them %s, carry staging and dev with the platform", (type) => {
    const nodes = [...initialNodes(staging), ...poolOf(type, "staging")];
    expect(leftOver([...platform("staging"), ...stagingAndDev], nodes)).toEqual([]);
  });

  it.each(
    NODE_POOL.instanceTypes.flatMap((type) => BLUE_GREEN.map((service) => [type, service] as const)),
  )("that Karpenter may add, all of them %s, carry production at every autoscaler's limit while %s is released", (type, service) => {
    const nodes = [...initialNodes(prod), ...poolOf(type, "prod")];
    expect(leftOver([...platform("prod"), ...podsOf("prod", { twinsOf: [service] })], nodes)).toEqual([]);
  });

  it("carry all four blue-green services released at once at the limit only as t3.medium: else 64 GiB end before 32 CPU", () => {
    const all = [...platform("prod"), ...podsOf("prod", ALL_TWINS)];
    const carry = NODE_POOL.instanceTypes.filter(
      (type) => leftOver(all, [...initialNodes(prod), ...poolOf(type, "prod")]).length === 0,
    );
    expect(carry).toEqual(["t3.medium"]);
  });
});
