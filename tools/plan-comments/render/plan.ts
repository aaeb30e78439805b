/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

/** One change as `terraform show -json` describes it ("Change representation" of the JSON output format). */
export interface Change {
  readonly actions: readonly string[];
  readonly before?: Json;
  readonly after?: Json;
  readonly after_unknown?: Json;
  readonly before_sensitive?: Json;
  readonly after_sensitive?: Json;
  readonly replace_paths?: readonly (readonly (string | number)[])[];
  readonly importing?: { readonly id?: string; readonly unknown?: boolean; readonly identity?: Json };
  readonly generated_config?: string;
}

export interface ResourceChange {
  readonly address: string;
  readonly previous_address?: string;
  readonly module_address?: string;
  readonly mode: string;
  readonly type: string;
  readonly name: string;
  readonly index?: string | number;
  readonly provider_name?: string;
  readonly deposed?: string;
  readonly change: Change;
  readonly action_reason?: string;
}

export interface ConfigResource {
  readonly address: string;
  readonly mode: string;
  readonly type: string;
  readonly name: string;
  readonly expressions?: JsonObject;
}

export interface ConfigModule {
  readonly resources?: readonly ConfigResource[];
  readonly outputs?: Readonly<Record<string, { readonly expression?: Json; readonly sensitive?: boolean }>>;
  readonly variables?: Readonly<Record<string, { readonly sensitive?: boolean }>>;
  readonly module_calls?: Readonly<
    Record<string, { readonly source?: string; readonly expressions?: JsonObject; readonly module?: ConfigModule }>
  >;
}

export interface Check {
  readonly address: { readonly to_display?: string };
  readonly status: string;
  readonly instances?: readonly { readonly problems?: readonly { readonly message?: string }[] }[];
}

/** The JSON plan, as far as comments speak of it. */
export interface Plan {
  readonly format_version: string;
  readonly terraform_version?: string;
  readonly timestamp?: string;
  readonly resource_changes: readonly ResourceChange[];
  readonly resource_drift: readonly ResourceChange[];
  readonly deferred_changes: readonly { readonly reason: string; readonly resource_change: ResourceChange }[];
  readonly output_changes: Readonly<Record<string, Change>>;
  readonly checks: readonly Check[];
  readonly configuration: { readonly root_module?: ConfigModule; readonly provider_config?: Json };
  readonly prior_state?: Json;
  readonly planned_values?: Json;
  readonly variables?: Readonly<Record<string, { readonly value?: Json }>>;
  readonly relevant_attributes: readonly { readonly resource: string; readonly attribute: readonly Json[] }[];
  readonly errored: boolean;
  /** False where some changes were put off; true where the plan does not say (before Terraform 1.8). */
  readonly complete: boolean;
  readonly applyable?: boolean;
  /** What this renderer has to say about the plan file itself. */
  readonly notices: readonly string[];
}

/** The newest plan format this renderer has been checked with. */
const KNOWN_FORMAT = { major: 1, minor: 2 };

const KNOWN_KEYS = new Set([
  "format_version",
  "terraform_version",
  "timestamp",
  "resource_changes",
  "resource_drift",
  "deferred_changes",
  "output_changes",
  "checks",
  "configuration",
  "prior_state",
  "planned_values",
  "proposed_unknown",
  "variables",
  "relevant_attributes",
  "errored",
  "complete",
  "applyable",
]);

/** Thrown for a file that is not a plan this renderer understands. */
export class PlanFormatError extends Error {
  override readonly name = "PlanFormatError";
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A member of an object by a name from outside, which may also be the name of something that every object inherits. */
export function own<T>(object: { readonly [key: string]: T }, name: string): T | undefined {
  const value = object[name];
  return value !== undefined && Object.hasOwn(object, name) ? value : undefined;
}

/** Whether both are the same JSON, whatever the order of members; no value is the same as null. */
export function sameJson(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null)
    return (a ?? null) === null && (b ?? null) === null;
  if (isList(a)) return isList(b) && a.length === b.length && a.every((item, index) => sameJson(item, b[index]));
  if (!isObject(a) || !isObject(b)) return false;
  let members = 0;
  for (const key in a) {
    if (!Object.hasOwn(b, key) || !sameJson(a[key], b[key])) return false;
    members++;
  }
  return members === Object.keys(b).length;
}

/** An empty object that inherits nothing, so that any name from outside can be its member. */
export const bare = <T>(): Record<string, T> => Object.create(null) as Record<string, T>;

export const isList = (value: unknown): value is readonly Json[] => Array.isArray(value);

/**
 * Reads the output of `terraform show -json`.
 *
 * @throws PlanFormatError for another major format, a state instead of a plan, or a change without its parts, all
 * problems at once. A plan is never half read.
 */
export function parsePlan(text: string, what = "the plan"): Plan {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (error) {
    throw new PlanFormatError(
      `${what} is not JSON (${syntaxProblem(error)}): give the output of terraform show -json FILE`,
    );
  }
  return readPlan(raw, what);
}

/** A JSON syntax error without the excerpt that Node quotes from the file: it could be a secret. */
function syntaxProblem(error: unknown): string {
  const position = /position \d+/.exec(error instanceof Error ? error.message : "");
  return position ? `syntax error at ${position[0]}` : "syntax error";
}

export function readPlan(raw: unknown, what = "the plan"): Plan {
  if (!isObject(raw))
    throw new PlanFormatError(`${what} is not a JSON object: give the output of terraform show -json`);
  const version = raw.format_version;
  const [, major, minor] = (typeof version === "string" && /^(\d+)\.(\d+)$/.exec(version)) || [];
  if (major === undefined || minor === undefined) {
    throw new PlanFormatError(`${what} has no format_version like "1.2": it is not the output of terraform show -json`);
  }
  if (Number(major) !== KNOWN_FORMAT.major) {
    throw new PlanFormatError(
      `${what} has plan format ${major}.${minor}; this renderer reads ${KNOWN_FORMAT.major}.x. Use a Terraform that writes it, or a newer renderer.`,
    );
  }
  if (raw.values !== undefined && raw.resource_changes === undefined && raw.planned_values === undefined) {
    throw new PlanFormatError(
      `${what} is a state, not a plan: run terraform show -json on the file that plan -out wrote`,
    );
  }
  const notices: string[] = [];
  if (Number(minor) > KNOWN_FORMAT.minor) {
    notices.push(
      `Plan format ${major}.${minor} is newer than ${KNOWN_FORMAT.major}.${KNOWN_FORMAT.minor}, the newest this renderer has been checked with.`,
    );
  }
  for (const key of Object.keys(raw)) {
    if (!KNOWN_KEYS.has(key) && !isEmpty(raw[key])) {
      notices.push(
        `The plan has a section \`${key.replace(/[^\w.-]/g, "?")}\` that this renderer does not know. Read it in the plan itself.`,
      );
    }
  }
  const problems: string[] = [];
  const list = (key: string): readonly Json[] => {
    const value = raw[key];
    if (value === undefined || value === null) return [];
    if (isList(value)) return value;
    problems.push(`${key}: a list is needed`);
    return [];
  };
  const record = (key: string): JsonObject => {
    const value = raw[key];
    if (value === undefined || value === null) return {};
    if (isObject(value)) return value;
    problems.push(`${key}: an object is needed`);
    return {};
  };
  const changes = (key: string) => list(key).map((item, index) => checkedResource(item, `${key}[${index}]`, problems));
  const plan: Plan = {
    format_version: String(version),
    ...(typeof raw.terraform_version === "string" ? { terraform_version: raw.terraform_version } : {}),
    ...(typeof raw.timestamp === "string" ? { timestamp: raw.timestamp } : {}),
    resource_changes: changes("resource_changes"),
    resource_drift: changes("resource_drift"),
    deferred_changes: list("deferred_changes").map((item, index) => {
      const where = `deferred_changes[${index}]`;
      const deferred = isObject(item) ? item : {};
      return {
        reason: typeof deferred.reason === "string" ? deferred.reason : "unknown",
        resource_change: checkedResource(deferred.resource_change ?? null, `${where}.resource_change`, problems),
      };
    }),
    output_changes: Object.fromEntries(
      Object.entries(record("output_changes")).map(([name, change]) => [
        name,
        checkedChange(change, `output_changes.${name}`, problems),
      ]),
    ),
    checks: list("checks").filter(isObject) as unknown as readonly Check[],
    configuration: record("configuration") as Plan["configuration"],
    ...(raw.prior_state === undefined ? {} : { prior_state: raw.prior_state }),
    ...(raw.planned_values === undefined ? {} : { planned_values: raw.planned_values }),
    variables: record("variables") as NonNullable<Plan["variables"]>,
    relevant_attributes: list("relevant_attributes") as unknown as Plan["relevant_attributes"],
    errored: raw.errored === true,
    complete: raw.complete !== false,
    ...(typeof raw.applyable === "boolean" ? { applyable: raw.applyable } : {}),
    notices,
  };
  if (problems.length > 0) {
    throw new PlanFormatError(`${what} cannot be read:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`);
  }
  return plan;
}

function isEmpty(value: Json | undefined): boolean {
  if (value === undefined || value === null || value === false) return true;
  if (isList(value)) return value.length === 0;
  return isObject(value) && Object.keys(value).length === 0;
}

/** The item itself, not a copy: a large plan is most of the memory. */
function checkedResource(item: Json, where: string, problems: string[]): ResourceChange {
  if (!isObject(item)) {
    problems.push(`${where}: an object is needed`);
    return EMPTY_RESOURCE;
  }
  for (const key of NEEDED_TEXTS) {
    if (typeof item[key] !== "string" || item[key] === "")
      problems.push(`${where}.${key}: a non-empty string is needed`);
  }
  checkedChange(item.change ?? null, `${where}.change`, problems);
  return item as unknown as ResourceChange;
}

const NEEDED_TEXTS = ["address", "mode", "type", "name"];

function checkedChange(item: Json, where: string, problems: string[]): Change {
  const actions = isObject(item) ? item.actions : undefined;
  if (!isList(actions) || actions.length === 0 || !actions.every((action) => typeof action === "string"))
    problems.push(`${where}.actions: a list with at least one action is needed`);
  return item as unknown as Change;
}

const EMPTY_RESOURCE: ResourceChange = { address: "", mode: "", type: "", name: "", change: { actions: ["no-op"] } };
