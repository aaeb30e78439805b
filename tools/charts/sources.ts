import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { parse } from "yaml";
import { CHARTS } from "../../environments/platform";
import { moduleFiles } from "../kube/build";

/** Folder with public charts, each under its name, as `npm run charts -- pull DIR` fills it. */
export const CHARTS_VARIABLE = "URR_CHARTS";

/** What a Chart.yaml says of itself. */
interface ChartFile {
  readonly version: string;
  readonly appVersion?: string;
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
  if (given !== undefined && existsSync(path.join(given, name, "Chart.yaml"))) return path.resolve(given, name);
  const source = MODULES[name];
  return source && moduleFiles(source.module, source.version, source.folder);
}

/** What the Chart.yaml in a folder says. */
export function chartFile(folder: string): ChartFile {
  return parse(readFileSync(path.join(folder, "Chart.yaml"), "utf8")) as ChartFile;
}
