/** The parts of a plan's JSON that are read here. Source: Terraform, "JSON Output Format". */
export interface Plan {
  readonly variables?: unknown;
  readonly resource_changes: ResourceChange[];
  readonly planned_values: { readonly root_module: ValuesModule };
  readonly configuration: { readonly root_module: ConfigurationModule };
}

interface ResourceChange {
  readonly address: string;
  readonly change: { after: Attributes | null; readonly after_unknown?: Attributes };
}

interface ValuesModule {
  readonly resources?: { readonly address: string; readonly values: Attributes }[];
  readonly child_modules?: ValuesModule[];
}

interface ConfigurationModule {
  readonly resources?: { readonly address: string; readonly expressions?: Readonly<Record<string, Expression>> }[];
  readonly module_calls?: Readonly<Record<string, { readonly module: ConfigurationModule }>>;
}

type Attributes = Record<string, unknown>;
type Expression =
  | { readonly references?: readonly string[] }
  | readonly Readonly<Record<string, Expression>>[]
  | Readonly<Record<string, unknown>>;

/**
 * Writes a text into each attribute whose value is unknown until apply although the configuration sets it: a key's ARN, a web
 * ACL. A checker that reads only the plan would take them for missing. Attributes that nobody sets stay absent.
 */
export function fillReferences(plan: Plan): void {
  const expressions = new Map<string, Readonly<Record<string, Expression>>>();
  collect(plan.configuration.root_module, "", expressions);
  const values = new Map<string, Attributes>();
  collectValues(plan.planned_values.root_module, values);
  for (const { address, change } of plan.resource_changes) {
    const configured = expressions.get(address.replaceAll(/\[[^\]]*\]/g, ""));
    if (!configured || !change.after) continue;
    fill(change.after, change.after_unknown ?? {}, configured);
    const planned = values.get(address);
    if (planned) fill(planned, change.after_unknown ?? {}, configured);
  }
}

function collect(
  module: ConfigurationModule,
  prefix: string,
  into: Map<string, Readonly<Record<string, Expression>>>,
): void {
  for (const { address, expressions } of module.resources ?? []) into.set(`${prefix}${address}`, expressions ?? {});
  for (const [name, call] of Object.entries(module.module_calls ?? {}))
    collect(call.module, `${prefix}module.${name}.`, into);
}

function collectValues(module: ValuesModule, into: Map<string, Attributes>): void {
  for (const { address, values } of module.resources ?? []) into.set(address, values);
  for (const child of module.child_modules ?? []) collectValues(child, into);
}

function fill(after: Attributes, unknown: Attributes, configured: Readonly<Record<string, Expression>>): void {
  for (const [name, expression] of Object.entries(configured)) {
    const state = unknown[name];
    if (Array.isArray(expression)) {
      const blocks = after[name];
      if (!Array.isArray(blocks)) continue;
      blocks.forEach((block: unknown, index) => {
        const inner = Array.isArray(state) ? state[index] : undefined;
        const configuredBlock = expression[index] ?? expression[0];
        if (isAttributes(block) && isAttributes(inner) && configuredBlock) fill(block, inner, configuredBlock);
      });
    } else if (
      state === true &&
      "references" in expression &&
      Array.isArray(expression.references) &&
      after[name] === undefined
    ) {
      after[name] = `known after apply: ${String(expression.references[0])}`;
    }
  }
}

function isAttributes(value: unknown): value is Attributes {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
