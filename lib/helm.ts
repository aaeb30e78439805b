import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Release } from "@cdktf/provider-helm/lib/release";
import { type ITerraformDependable, TerraformStack } from "cdktf";
import type { Construct } from "constructs";
import { ModularStack } from "./terraform-modules";

/** A Helm chart of a public repository, pinned. */
export interface Chart {
  /** Chart repository (`https://…`) or registry path (`oci://…`). */
  readonly repository: string;
  readonly name: string;
  readonly version: string;
  /** Version of what the chart installs, as its Chart.yaml says: custom resources are tested against the definitions of this one. */
  readonly appVersion: string;
}

/** A chart of this repository: a folder of `k8s/charts`, with files that live elsewhere in `k8s/` beside it. */
export interface LocalChart {
  readonly name: string;
  /** Further files, by their path in the chart and their path below `k8s/`. @default none */
  readonly files?: Readonly<Record<string, string>>;
}

/** What a container is promised and what it may use at most. No CPU limit: it throttles where CPU is free. */
export interface ContainerResources {
  readonly requests: { readonly cpu: string; readonly memory: string };
  readonly limits: { readonly memory: string };
}

/** Properties of {@link createRelease}. */
export interface ReleaseProps<Values> {
  /** Name of the release; the chart names most of its objects after it. Replacing it uninstalls everything. */
  readonly name: string;
  readonly namespace: string;
  readonly chart: Chart | LocalChart;
  readonly values: Values;
  /** Whether to wait until the release's Jobs have succeeded as well. @default false */
  readonly waitForJobs?: boolean;
  /** Whether CRDs in the chart's `crds/` are left alone, because they come by a chart of their own. @default false */
  readonly skipCrds?: boolean;
  readonly dependsOn?: ITerraformDependable[];
}

const KUBERNETES_FILES = fileURLToPath(new URL("../k8s/", import.meta.url));
const TIMEOUT_SECONDS = 900;
/** Releases that can be rolled back to; Helm keeps each as a Secret, encrypted by the cluster's key. */
const MAX_HISTORY = 10;

/**
 * Makes `helm_release.<id>`. A release that does not become ready is rolled back. Values are written as JSON, which is YAML.
 */
export function createRelease<Values extends object>(
  scope: Construct,
  id: string,
  props: ReleaseProps<Values>,
): Release {
  const { chart, dependsOn, name, namespace, skipCrds = false, values, waitForJobs = false } = props;
  return new Release(scope, `release.${id}`, {
    name,
    namespace,
    ...("repository" in chart
      ? { repository: chart.repository, chart: chart.name, version: chart.version }
      : { chart: addLocalChart(scope, chart) }),
    values: [JSON.stringify(values)],
    atomic: true,
    cleanupOnFail: true,
    wait: true,
    timeout: TIMEOUT_SECONDS,
    maxHistory: MAX_HISTORY,
    ...(waitForJobs && { waitForJobs }),
    ...(skipCrds && { skipCrds }),
    ...(dependsOn && { dependsOn }),
  });
}

/**
 * Puts a chart into the stack's output and returns its path there. The path changes with the chart's content: Terraform compares
 * paths, versions and values, and would not see a changed template otherwise.
 */
function addLocalChart(scope: Construct, { files = {}, name }: LocalChart): string {
  const stack = TerraformStack.of(scope);
  if (!ModularStack.isModularStack(stack)) throw new Error(`${scope.node.path}: charts need a ModularStack`);
  const root = path.join(KUBERNETES_FILES, "charts", name);
  const contents = new Map<string, Buffer>(
    readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
      .map((file) => [path.relative(root, file).split(path.sep).join("/"), readFileSync(file)]),
  );
  for (const [target, source] of Object.entries(files)) {
    contents.set(target, readFileSync(path.join(KUBERNETES_FILES, source)));
  }
  const sorted = [...contents].sort(([left], [right]) => (left < right ? -1 : 1));
  const hash = createHash("sha256");
  for (const [file, content] of sorted) hash.update(`${file}\0${content.length}\0`).update(content);
  const folder = `assets/charts/${name}/${hash.digest("hex").slice(0, 16)}`;
  for (const [file, content] of sorted) stack.addFile(`${folder}/${file}`, content);
  return `./${folder}`;
}

/** Names of the files of a folder of `k8s/` that end so, sorted. */
export function kubernetesFiles(folder: string, extension: string): string[] {
  return readdirSync(path.join(KUBERNETES_FILES, folder))
    .filter((file) => file.endsWith(extension))
    .sort();
}

/** Content of a file of `k8s/`. */
export function readKubernetesFile(file: string): string {
  return readFileSync(path.join(KUBERNETES_FILES, file), "utf8");
}
