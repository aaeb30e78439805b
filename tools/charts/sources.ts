import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { parse } from "yaml";
import { CHARTS } from "../../environments/platform";
import { moduleFiles } from "../kube/build";

/** Folder with public charts, each under its name, as `npm run charts -- pull DIR` fills it. */
export const CHARTS_VARIABLE = "URR_CHARTS";

/** What a chart says of itself. */
interface ChartVersions {
  readonly version: string;
  readonly appVersion: string;
}

/** Charts whose sources are part of a Go module. */
const MODULES: Readonly<
  Record<string, { readonly module: string; readonly version: string; readonly folder: string }>
> = {
  [CHARTS.karpenter.name]: {
    module: "github.com/aws/karpenter-provider-aws",
    version: `v${CHARTS.karpenter.appVersion}`,
    folder: "charts/karpenter",
  },
  [CHARTS.karpenterCrd.name]: {
    module: "github.com/aws/karpenter-provider-aws",
    version: `v${CHARTS.karpenterCrd.appVersion}`,
    folder: "charts/karpenter-crd",
  },
  // The chart of one release is in the sources of the next.
  [CHARTS.metricsServer.name]: {
    module: "sigs.k8s.io/metrics-server",
    version: "v0.9.0",
    folder: "charts/metrics-server",
  },
};

/** Folder of a public chart, or undefined where it cannot be had here. */
export function chartFolder(name: string): string | undefined {
  const given = process.env[CHARTS_VARIABLE];
  if (given !== undefined && isGiven(name)) return path.resolve(given, name);
  const source = MODULES[name];
  return source && moduleFiles(source.module, source.version, source.folder);
}

/** Versions of the chart that {@link chartFolder} finds. Karpenter's are stamped into its charts when they are published: its tag counts. */
export function chartVersions(name: string): ChartVersions {
  const folder = chartFolder(name);
  if (folder === undefined) throw new Error(`chart ${name} is not in reach`);
  const source = MODULES[name];
  if (source?.module.endsWith("/karpenter-provider-aws") && !isGiven(name)) {
    const version = source.version.slice(1);
    return { version, appVersion: version };
  }
  const { appVersion, version } = parse(readFileSync(path.join(folder, "Chart.yaml"), "utf8")) as ChartVersions;
  return { version, appVersion: appVersion.replace(/^v/, "") };
}

function isGiven(name: string): boolean {
  const given = process.env[CHARTS_VARIABLE];
  return given !== undefined && existsSync(path.join(given, name, "Chart.yaml"));
}
