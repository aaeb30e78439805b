import { spawnSync } from "node:child_process";
import path from "node:path";
import { parseAllDocuments } from "yaml";
import { OVERLAYS, type OverlayName } from "../../tools/gitops/overlay";
import { command, crdFiles } from "../../tools/kube/build";
import { CRD_SOURCES } from "../../tools/kube/versions";
import type { KubernetesObject } from "../tools/gitops/objects";

/** The checkout. */
export const REPOSITORY = path.resolve(import.meta.dirname, "../..");

/** Names of the overlays, for tables of tests. */
export const OVERLAY_NAMES: readonly OverlayName[] = OVERLAYS.map(({ name }) => name);

const built = new Map<OverlayName, string>();

/** An overlay as Argo CD applies it: what kustomize makes of the committed files. */
export function build(overlay: OverlayName): string {
  const text = built.get(overlay) ?? buildIn(REPOSITORY, overlay);
  built.set(overlay, text);
  return text;
}

/** An overlay of another checkout. */
export function buildIn(root: string, overlay: OverlayName): string {
  const folder = path.join(root, "k8s/spring/overlays", overlay);
  const { error, status, stderr, stdout } = spawnSync(command("kustomize"), ["build", folder], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`kustomize build of ${overlay} failed:\n${stderr}`);
  return stdout;
}

/** Objects of a YAML text. */
export function objectsOf(text: string): KubernetesObject[] {
  return parseAllDocuments(text).map((document) => document.toJS() as KubernetesObject);
}

/**
 * Files that define every custom resource of the tree and the charts: their makers' own, and one that stands in for the load balancer
 * controller's, whose module cannot be had.
 */
export function customResourceDefinitions(): string[] {
  return [
    ...(Object.keys(CRD_SOURCES) as (keyof typeof CRD_SOURCES)[]).flatMap(crdFiles),
    path.join(import.meta.dirname, "stand-ins/targetgroupbindings.yaml"),
  ];
}
