import { stringify } from "yaml";

/** A value as YAML and JSON know it. */
export type Value = string | number | boolean | null | readonly Value[] | { readonly [key: string]: Value };

/** A Kubernetes object. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** First line of every rendered file. */
export const HEADER = "# Rendered from environments/services.ts by `npm run gitops`. Change it there.\n";

/** One file of the tree: what it says about itself, and its objects. */
export function yamlFile(objects: readonly unknown[], comment = ""): string {
  const documents = objects.map((object) => stringify(object, { lineWidth: 0, aliasDuplicateObjects: false }));
  const remark = comment ? comment.replaceAll(/^/gm, "# ").concat("\n") : "";
  return HEADER + remark + documents.join("---\n");
}

/** Labels by which Services, policies and budgets select a service's pods. */
export function selectorOf(name: string): { readonly app: string } {
  return { app: name };
}
