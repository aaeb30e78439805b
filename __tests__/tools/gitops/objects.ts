import { parseAllDocuments } from "yaml";
import type { OverlayName } from "../../../tools/gitops/overlay";
import { renderTree, type Tree } from "../../../tools/gitops/tree";

/** A Kubernetes object as read back from YAML: tests look into it by path. */
// biome-ignore lint/suspicious/noExplicitAny: objects of a dozen kinds, which the API server's own schemas check elsewhere
export type KubernetesObject = { kind: string; apiVersion: string; metadata: any; spec: any } & Record<string, any>;

/** The tree as it is rendered from nothing. */
export const TREE: Tree = renderTree(() => undefined);

/** Objects of one file of the tree. */
export function objectsIn(path: string, tree: Tree = TREE): KubernetesObject[] {
  const text = tree.get(path);
  if (text === undefined) throw new Error(`the tree has no ${path}`);
  return parseAllDocuments(text).map((document) => document.toJS() as KubernetesObject);
}

/** A kustomization file. */
export function kustomization(overlay: OverlayName, tree: Tree = TREE): KubernetesObject {
  const [object] = objectsIn(`k8s/spring/overlays/${overlay}/kustomization.yaml`, tree);
  if (!object) throw new Error(`overlay ${overlay} has no kustomization`);
  return object;
}

/** What an overlay adds to the base, patches aside. */
export function additions(overlay: OverlayName): KubernetesObject[] {
  const resources = kustomization(overlay).resources as string[];
  return resources
    .filter((resource) => resource !== "../../base")
    .flatMap((resource) => objectsIn(`k8s/spring/overlays/${overlay}/${resource}`));
}

/** Objects of the base. */
export function baseObjects(): KubernetesObject[] {
  const [kustomize] = objectsIn("k8s/spring/base/kustomization.yaml");
  return ((kustomize?.resources ?? []) as string[]).flatMap((resource) => objectsIn(`k8s/spring/base/${resource}`));
}

/** Objects of a kind. */
export function ofKind(objects: readonly KubernetesObject[], kind: string): KubernetesObject[] {
  return objects.filter((object) => object.kind === kind);
}

/** The one object of a kind and name. */
export function named(objects: readonly KubernetesObject[], kind: string, name: string): KubernetesObject {
  const found = ofKind(objects, kind).filter(({ metadata }) => metadata.name === name);
  if (found.length !== 1) throw new Error(`there are ${found.length} ${kind} ${name}`);
  return found[0] as KubernetesObject;
}

/** Whether an object runs pods. */
export function isWorkload({ kind }: KubernetesObject): boolean {
  return ["Deployment", "Rollout", "StatefulSet", "Job", "DaemonSet"].includes(kind);
}
