import type { EnvironmentName } from "../../environments/environment";
import { type PlatformRelease, platformReleases, withOwnChart } from "./releases";
import { type RenderedObject, renderRelease } from "./render";
import { chartFolder } from "./sources";

/** What the pods of one workload of the platform ask for, each. */
export interface PlatformPods {
  readonly release: string;
  readonly kind: "Deployment" | "StatefulSet" | "DaemonSet" | "Job";
  readonly name: string;
  /** Pods; of a DaemonSet, on every node. */
  readonly replicas: number;
  readonly cpuMillicores: number;
  readonly memoryMib: number;
}

interface Container {
  readonly resources?: { readonly requests?: Readonly<Record<string, string | number>> };
}

interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly (Container & { readonly restartPolicy?: string })[];
}

const WORKLOADS: readonly string[] = ["Deployment", "StatefulSet", "DaemonSet", "Job"];
/** Kinds whose pods the Prometheus operator makes. */
const OPERATED = ["Prometheus", "Alertmanager"];

/** Pods of an environment's releases, as Helm renders them. Throws where a public chart cannot be had. @default all releases */
export function platformPods(
  environment: EnvironmentName,
  which: (release: PlatformRelease) => boolean = () => true,
): PlatformPods[] {
  return platformReleases(environment)
    .filter(which)
    .flatMap((release) => podsOf(release.name, renderFrom(release)));
}

/** Objects of a release, its own chart's or a public one's. */
function renderFrom(release: PlatformRelease): RenderedObject[] {
  const { chart } = release;
  if (!("repository" in chart)) return withOwnChart(chart, (folder) => renderRelease(release, folder));
  const folder = chartFolder(chart.name);
  if (folder === undefined) throw new Error(`chart ${chart.name} ${chart.version} is not in reach`);
  return renderRelease(release, folder);
}

/** What the pods that a release's objects make ask for. */
export function podsOf(release: string, objects: readonly RenderedObject[]): PlatformPods[] {
  const reloader: Container = { resources: { requests: reloaderRequests(objects) } };
  return objects.flatMap(({ kind, metadata: { name }, spec }): PlatformPods[] => {
    if (OPERATED.includes(kind)) {
      const { replicas = 1, ...container } = spec as Container & { replicas?: number };
      return [{ release, kind: "StatefulSet", name, replicas, ...requestsOf([container, reloader]) }];
    }
    if (!WORKLOADS.includes(kind)) return [];
    const { replicas = 1, template } = spec as unknown as { replicas?: number; template: { spec: PodSpec } };
    const { containers, initContainers = [] } = template.spec;
    if (replicas === 0) return [];
    const isSidecar = ({ restartPolicy }: { readonly restartPolicy?: string }) => restartPolicy === "Always";
    const together = requestsOf([...containers, ...initContainers.filter(isSidecar)]);
    const before = initContainers.filter((one) => !isSidecar(one)).map((one) => requestsOf([one]));
    return [
      {
        release,
        kind: kind as PlatformPods["kind"],
        name,
        replicas,
        cpuMillicores: Math.max(together.cpuMillicores, ...before.map(({ cpuMillicores }) => cpuMillicores)),
        memoryMib: Math.max(together.memoryMib, ...before.map(({ memoryMib }) => memoryMib)),
      },
    ];
  });
}

/** What the Prometheus operator is told to ask for, for the reloader that it adds to each pod. */
function reloaderRequests(objects: readonly RenderedObject[]): Record<string, string> {
  const flags = JSON.stringify(objects).matchAll(/"--config-reloader-(cpu|memory)-request=([^"]+)"/g);
  return Object.fromEntries([...flags].map(([, resource = "", amount = ""]) => [resource, amount]));
}

function requestsOf(containers: readonly Container[]): Pick<PlatformPods, "cpuMillicores" | "memoryMib"> {
  const sum = (resource: string, units: Readonly<Record<string, number>>) =>
    containers.reduce((total, { resources }) => total + quantity(resources?.requests?.[resource] ?? 0, units), 0);
  return {
    cpuMillicores: sum("cpu", CPU_UNITS),
    memoryMib: sum("memory", MEMORY_UNITS),
  };
}

/** Factors to thousandths of a core. */
export const CPU_UNITS = { "": 1000, m: 1 } as const;
/** Factors to MiB. */
export const MEMORY_UNITS = { "": 1 / (1 << 20), Ki: 1 / 1024, Mi: 1, Gi: 1024 } as const;

/** A quantity of Kubernetes in the unit whose factor is 1. */
export function quantity(text: string | number, units: Readonly<Record<string, number>>): number {
  const [, number, unit = ""] = /^([0-9.]+)([A-Za-z]*)$/.exec(`${text}`) ?? [];
  const factor = units[unit];
  if (number === undefined || factor === undefined) throw new Error(`cannot read the quantity ${text}`);
  return Number(number) * factor;
}
