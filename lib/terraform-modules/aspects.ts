import { Aspects, type IAspect } from "cdktf";
import type { IConstruct } from "constructs";

/** Lets the aspects of every construct visit it and all below it, outer ones first, each once. */
export function invokeAspects(root: IConstruct): void {
  visit(root, []);
}

function visit(construct: IConstruct, inherited: readonly IAspect[]): void {
  const aspects = [...new Set([...inherited, ...Aspects.of(construct).all])];
  for (const aspect of aspects) {
    aspect.visit(construct);
  }
  for (const child of construct.node.children) {
    visit(child, aspects);
  }
}
