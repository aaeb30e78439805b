import { parse, stringify } from "yaml";
import { GITOPS } from "../../environments/gitops";
import { prod } from "../../environments/prod";
import { imageRepository, SERVICES } from "../../environments/services";
import { application, applicationName } from "./applications";
import { configEnv } from "./configuration";
import { grafana, kindCluster, namespace, prometheus, zipkin } from "./local-monitoring";
import { kafka, postgresql, redis } from "./local-stores";
import { yamlFile } from "./manifest";
import { basePolicies, overlayPolicies } from "./network-policies";
import { awsOf, configMapName, OVERLAYS, type Overlay } from "./overlay";
import { externalSecrets, generatedSecrets } from "./secrets";
import {
  analysisTemplate,
  autoscaler,
  deployment,
  disruptionBudget,
  environmentPatches,
  PREVIEW,
  replicaPatches,
  roleAnnotations,
  rolledOut,
  rollout,
  service,
  serviceAccount,
  spreadPatches,
} from "./workloads";

/** Files by their path below the repository. */
export type Tree = ReadonlyMap<string, string>;

/** Reads a file of the tree as it is now; undefined if there is none. */
export type ReadFile = (path: string) => string | undefined;

/** Folders that belong to the renderer: what it does not write there is stale. */
export const TREE_ROOTS = ["k8s/spring/base", "k8s/spring/overlays", "k8s/argocd/applications"] as const;

/** Tag of a service that CI has not released to an environment yet. */
const UNRELEASED = "unreleased";
/** Tag under which `docker build` and `kind load` know an image on a laptop. */
const LOCAL_TAG = "local";

/**
 * The whole tree. One thing in it is not rendered but kept: the tags of the released images, which CI writes into the overlays'
 * kustomization files.
 */
export function renderTree(readFile: ReadFile): Tree {
  const files = new Map<string, string>();
  for (const [path, content] of [...baseFiles(), ...OVERLAYS.flatMap((overlay) => overlayFiles(overlay, readFile))])
    files.set(path, content);
  for (const overlay of OVERLAYS.filter(({ name }) => name !== "kind"))
    files.set(`k8s/argocd/applications/${applicationName(overlay)}.yaml`, yamlFile([application(overlay)]));
  return files;
}

/** Whether a file says the same. In kustomization files, which `kustomize edit` reformats, layout does not count. */
export function sameContent(path: string, actual: string | undefined, expected: string): boolean {
  if (actual === undefined) return false;
  if (!path.endsWith("/kustomization.yaml")) return actual === expected;
  try {
    return JSON.stringify(sorted(parse(actual))) === JSON.stringify(sorted(parse(expected)));
  } catch {
    return false;
  }
}

function baseFiles(): [string, string][] {
  const folder = "k8s/spring/base";
  const perService = SERVICES.flatMap((one): [string, string][] => [
    [`${one.name}/deployment.yaml`, yamlFile([deployment(one)])],
    [`${one.name}/service.yaml`, yamlFile([service(one)])],
    [`${one.name}/service-account.yaml`, yamlFile([serviceAccount(one)])],
  ]);
  const files: [string, string][] = [...perService, ["network-policies.yaml", yamlFile(basePolicies())]];
  const kustomization = {
    ...KUSTOMIZATION,
    resources: files.map(([path]) => path),
  };
  return [["kustomization.yaml", yamlFile([kustomization])] as [string, string], ...files].map(([path, content]) => [
    `${folder}/${path}`,
    content,
  ]);
}

const KUSTOMIZATION = { apiVersion: "kustomize.config.k8s.io/v1beta1", kind: "Kustomization" };

function overlayFiles(overlay: Overlay, readFile: ReadFile): [string, string][] {
  const folder = `k8s/spring/overlays/${overlay.name}`;
  const resources = resourceFiles(overlay);
  const patches = patchFiles(overlay);
  const kustomization = {
    ...KUSTOMIZATION,
    namespace: overlay.namespace,
    resources: ["../../base", ...resources.keys()],
    labels: [{ pairs: { "app.kubernetes.io/part-of": "urr" } }],
    configMapGenerator: [{ name: configMapName(overlay), envs: ["config.env"] }],
    // Pods are replaced by their checksum annotation when settings change: the name can stay. Source: Infra analysis §3-3.
    generatorOptions: { disableNameSuffixHash: true },
    patches: [...deletions(overlay), ...[...patches.keys()].map((path) => ({ path }))],
    images: images(overlay, readFile(`${folder}/kustomization.yaml`)),
  };
  const comment = overlay.name === "kind" ? "" : "Only the tags under `images` are CI's: they are kept.";
  const files: [string, string][] = [
    ["kustomization.yaml", yamlFile([kustomization], comment)],
    ["config.env", configEnv(overlay)],
    ...toFiles(resources),
    ...toFiles(patches),
    ...(overlay.name === "kind" ? [["cluster.yaml", yamlFile([kindCluster()])] as [string, string]] : []),
  ];
  return files.map(([path, content]) => [`${folder}/${path}`, content]);
}

/** Objects that an overlay adds to the base, by file. */
function resourceFiles(overlay: Overlay): Map<string, readonly unknown[]> {
  const rollouts = rolledOut(overlay);
  const isKind = overlay.name === "kind";
  return filled([
    ["namespace.yaml", isKind ? [namespace(overlay)] : []],
    ["network-policies.yaml", overlayPolicies(overlay)],
    ["external-secrets.yaml", awsOf(overlay) ? externalSecrets(overlay) : isKind ? [] : generatedSecrets(overlay)],
    ...rollouts.map((one): [string, readonly unknown[]] => [`rollouts/${one.name}.yaml`, [rollout(one, overlay)]]),
    ["preview-services.yaml", rollouts.map((one) => service(one, PREVIEW))],
    ["analysis-template.yaml", rollouts.length > 0 ? [analysisTemplate(overlay)] : []],
    ["hpa.yaml", SERVICES.flatMap((one) => autoscaler(one, overlay) ?? [])],
    ["pdb.yaml", SERVICES.flatMap((one) => disruptionBudget(one, overlay) ?? [])],
    ...("kafkaBrokers" in overlay.stores
      ? ([
          ["stores/postgres.yaml", postgresql()],
          ["stores/dragonfly.yaml", redis()],
          ["stores/kafka.yaml", kafka(overlay.stores.kafkaBrokers)],
        ] as [string, readonly unknown[]][])
      : []),
    ["monitoring/zipkin.yaml", overlay.ownMonitoring ? zipkin() : []],
    ["monitoring/prometheus.yaml", overlay.ownMonitoring ? prometheus() : []],
    ["monitoring/grafana.yaml", overlay.ownMonitoring ? grafana() : []],
  ]);
}

/** What an overlay changes in the base, by file. */
function patchFiles(overlay: Overlay): Map<string, readonly unknown[]> {
  return filled([
    ["patches/replicas.yaml", replicaPatches(overlay)],
    ["patches/services-env.yaml", environmentPatches(overlay)],
    ["patches/topology-spread.yaml", spreadPatches(overlay)],
    ["patches/roles.yaml", roleAnnotations(overlay)],
  ]);
}

/** Takes away the Deployments in whose place Rollouts stand: one patch, aimed at each of them by its name. */
function deletions(overlay: Overlay) {
  const names = rolledOut(overlay).map(({ name }) => name);
  if (names.length === 0) return [];
  const patch = {
    $patch: "delete",
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "replaced-by-a-rollout" },
  };
  return [{ target: { group: "apps", kind: "Deployment", name: names.join("|") }, patch: stringify(patch) }];
}

/** Images by the names that the workloads use, sorted as `kustomize edit set image` sorts them. */
function images(overlay: Overlay, current: string | undefined) {
  const tags = currentTags(current);
  const registry = `${GITOPS.accountId}.dkr.ecr.${prod.region}.amazonaws.com`;
  return SERVICES.map(({ name }) => name)
    .sort()
    .map((name) =>
      overlay.name === "kind"
        ? { name, newName: imageRepository({ name }), newTag: LOCAL_TAG }
        : { name, newName: `${registry}/${imageRepository({ name })}`, newTag: tags.get(name) ?? UNRELEASED },
    );
}

/** Tags of the images in a kustomization file. */
export function currentTags(kustomization: string | undefined): ReadonlyMap<string, string> {
  const { images: entries = [] } = (kustomization === undefined ? {} : (parse(kustomization) ?? {})) as {
    images?: { name?: string; newTag?: unknown }[];
  };
  return new Map(
    entries.flatMap(({ name, newTag }) => (name !== undefined && newTag !== undefined ? [[name, `${newTag}`]] : [])),
  );
}

function filled(entries: readonly [string, readonly unknown[]][]): Map<string, readonly unknown[]> {
  return new Map(entries.filter(([, objects]) => objects.length > 0));
}

function toFiles(objects: ReadonlyMap<string, readonly unknown[]>): [string, string][] {
  return [...objects].map(([path, documents]) => [path, yamlFile(documents)]);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([key, item]) => [key, sorted(item)]),
  );
}
