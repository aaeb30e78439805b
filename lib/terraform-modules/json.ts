/** A value of Terraform's JSON syntax. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;

/** An object of Terraform's JSON syntax. */
export interface JsonObject {
  readonly [key: string]: Json;
}

/** Block types of a configuration file in the order in which a person reads them; others follow alphabetically. */
const BLOCK_ORDER: readonly string[] = [
  "//",
  "terraform",
  "provider",
  "variable",
  "locals",
  "data",
  "ephemeral",
  "resource",
  "module",
  "check",
  "moved",
  "import",
  "removed",
  "output",
];

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value as an object, `{}` when it is none. */
export function objectOf(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {};
}

/** The value as a list: a list as it is, nothing as an empty one, anything else as its only element. */
export function listOf(value: Json | undefined): readonly Json[] {
  return value === undefined || value === null ? [] : Array.isArray(value) ? value : [value as Json];
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Block types of a file, sorted for reading. */
export function blockTypes(file: JsonObject): string[] {
  const rank = (key: string): number => {
    const index = BLOCK_ORDER.indexOf(key);
    return index < 0 ? BLOCK_ORDER.length : index;
  };
  return Object.keys(file).sort((a, b) => rank(a) - rank(b) || compareText(a, b));
}

/** The text of a JSON file: two spaces, sorted keys, blocks in reading order, a newline at the end. Same value, same bytes. */
export function formatJson(file: JsonObject): string {
  const ordered = Object.fromEntries(blockTypes(file).map((key) => [key, sortKeys(file[key] as Json)]));
  return `${JSON.stringify(ordered, null, 2)}\n`;
}

function sortKeys(value: Json): Json {
  if (Array.isArray(value)) {
    return value.map(sortKeys);
  }
  if (!isObject(value)) {
    return value;
  }
  return Object.fromEntries(
    Object.keys(value)
      .sort(compareText)
      .map((key) => [key, sortKeys(value[key] as Json)]),
  );
}
