import { Token } from "cdktf";
import type { Construct } from "constructs";

/**
 * One limit that a construct's properties must keep. A class has a table of these beside it; every broken rule of every
 * construct is reported in one error, before anything is written.
 */
export interface Rule<Props> {
  /** Property that the rule speaks of, as the caller writes it (`visibilityTimeoutSeconds`). */
  readonly property: string;
  /** What was given: one value, or several when the rule relates properties. A rule whose value is unknown until apply is skipped. */
  readonly given: (props: Props) => unknown;
  /** Whether the given value is allowed. */
  readonly valid: (props: Props) => boolean;
  /** What is allowed, as a phrase that follows "allowed:". */
  readonly allowed: string | ((props: Props) => string);
  /** What to do about it, as a sentence. */
  readonly remedy: string;
}

/** A broken rule, ready to be read: `property: given X; allowed: Y. Remedy.` */
export function brokenRules<Props>(props: Props, rules: readonly Rule<Props>[]): string[] {
  return rules
    .map((rule) => ({ rule, given: rule.given(props) }))
    .filter(({ rule, given }) => !isUnknown(given) && !rule.valid(props))
    .map(({ rule, given }) => problem(rule.property, given, resolveText(rule.allowed, props), rule.remedy));
}

/** Checks the properties when the tree is validated, so that one synth reports the problems of all constructs together. */
export function enforce<Props>(scope: Construct, props: Props, rules: readonly Rule<Props>[]): void {
  scope.node.addValidation({ validate: () => brokenRules(props, rules) });
}

/** The one form in which a problem is told: what, given, allowed, what to do. */
export function problem(property: string, given: unknown, allowed: string, remedy: string): string {
  return `${property}: given ${display(given)}; allowed: ${allowed}. ${remedy}`;
}

function resolveText<Props>(text: string | ((props: Props) => string), props: Props): string {
  return typeof text === "string" ? text : text(props);
}

function isUnknown(value: unknown): boolean {
  if (value !== null && typeof value === "object" && !Array.isArray(value) && !Token.isUnresolved(value)) {
    return Object.values(value).some(isUnknown);
  }
  return Array.isArray(value) ? value.some(isUnknown) || Token.isUnresolved(value) : Token.isUnresolved(value);
}

function display(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value);
}
