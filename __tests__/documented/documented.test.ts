import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { expectReachable, expectUnreachable } from "../support/network";
import {
  type Json,
  type JsonObject,
  loadStack,
  type Resource,
  type Selector,
  type TerraformStack,
} from "../support/terraform";
import { CHECKS, type CheckContext } from "./checks";

type EnvironmentName = "prod" | "staging";
type StackName = EnvironmentName | "bootstrap";

/** Where a row's value is found in the synthesized stack. Without `equals`, `matches` or the like it must be the documented value. */
type Expectation = JsonObject;

interface Row {
  readonly id: string;
  readonly item: string;
  readonly environment: EnvironmentName | "both";
  readonly scope: "infra" | "platform" | "ci" | "waiting-room" | "narrative";
  readonly documented?: Json;
  readonly deviation?: string;
  readonly expect?: Expectation;
}

interface Section {
  readonly section: string;
  readonly heading?: string;
  readonly values: number;
  readonly rows: readonly Row[];
}

interface Table {
  readonly document: string;
  readonly countingRule: string;
  readonly sections: readonly Section[];
}

interface NamedSelector extends Selector {
  readonly stack?: StackName;
}

const read = (name: string): string => readFileSync(new URL(name, import.meta.url), "utf8");
const tables = ["infra-analysis", "aws-architecture", "architecture-guide"].map(
  (name) => JSON.parse(read(`${name}.json`)) as Table,
);
const selectors = JSON.parse(read("selectors.json")) as Readonly<Record<string, NamedSelector>>;
const PREFIXES: Readonly<Record<EnvironmentName, string>> = { prod: "urr-prod", staging: "urr-staging" };

/** Rows of the table in docs/deviations.md: id, documents, documented value, built value, reason. */
const deviations = new Map(
  read("../../docs/deviations.md")
    .split("\n")
    .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()))
    .filter((cells) => cells.length === 7 && /^`[a-z0-9-]+`$/.test(cells[1] ?? ""))
    .map(([, id = "", sources = "", documented = "", built = "", reason = ""]) => [
      id.replaceAll("`", ""),
      { sources, documented, built, reason },
    ]),
);

const entries = tables.flatMap(({ document, sections }) =>
  sections.flatMap(({ section, rows }) => rows.map((row) => ({ document, section, row }))),
);

const stacks = {} as Record<StackName, TerraformStack>;
beforeAll(async () => {
  for (const name of ["bootstrap", "staging", "prod"] as const) stacks[name] = await loadStack(name);
});

describe("the tables of documented values", () => {
  it("give every row an id of its own", () => {
    const ids = entries.map(({ row }) => row.id);
    expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
  });

  it.each(
    tables.flatMap(({ document, sections }) =>
      sections.map(({ section, heading = "", values, rows }) => ({ document, section, heading, values, rows })),
    ),
  )("hold every value of $document $section $heading", ({ values, rows }) => {
    expect(rows.length).toBeGreaterThanOrEqual(values);
  });

  it("bind every infrastructure row to the output", () => {
    const unbound = entries.filter(({ row }) => row.scope === "infra" && row.expect === undefined);
    expect(unbound.map(({ row }) => row.id)).toEqual([]);
  });

  it("list every deviation of a row in docs/deviations.md, with the row's document and section", () => {
    const unlisted = entries
      .filter(({ row }) => row.deviation !== undefined)
      .filter(({ document, section, row }) => !lists(deviations.get(row.deviation ?? "")?.sources, document, section));
    expect(unlisted.map(({ document, section, row }) => `${row.deviation}: ${document} ${section}`)).toEqual([]);
  });

  it("use every deviation of docs/deviations.md", () => {
    const used = new Set(entries.map(({ row }) => row.deviation));
    expect([...deviations.keys()].filter((id) => !used.has(id))).toEqual([]);
  });

  it("fill in every column of docs/deviations.md", () => {
    const empty = [...deviations].filter(([, cells]) => Object.values(cells).some((cell) => cell === ""));
    expect(empty.map(([id]) => id)).toEqual([]);
  });

  it("call nothing a deviation that is built as documented", () => {
    const same = entries.filter(({ row }) => {
      const { equals, args } = row.expect ?? {};
      const built = equals ?? (args as JsonObject | undefined)?.value;
      return (
        row.deviation !== undefined && built !== undefined && JSON.stringify(built) === JSON.stringify(row.documented)
      );
    });
    expect(same.map(({ row }) => row.id)).toEqual([]);
  });

  it("state another built value than the documented one only where a deviation is named", () => {
    const silent = entries.filter(({ row }) => {
      const { equals, args } = row.expect ?? {};
      const stated = equals !== undefined || (args as JsonObject | undefined)?.value !== undefined;
      return stated && row.deviation === undefined;
    });
    expect(silent.map(({ row }) => row.id)).toEqual([]);
  });

  it("use every named selector and every check", () => {
    const used = entries.map(({ row }) => JSON.stringify(row.expect ?? null)).join("\n");
    const conditions = JSON.stringify(selectors);
    const isUsed = (name: string) =>
      used.includes(`"${name}"`) || conditions.includes(`"refersTo":"${name}"`) || USED_BY_CHECKS.includes(name);
    expect([...Object.keys(selectors), ...Object.keys(CHECKS)].filter((name) => !isUsed(name))).toEqual([]);
  });
});

/** Selectors that only checks.ts names. */
const USED_BY_CHECKS = [...read("checks.ts").matchAll(/(?:one|find)\("(\w+)"\)|"(\w+)"/g)].map(
  ([, a, b]) => a ?? b ?? "",
);

describe.each(["prod", "staging"] as const)("the %s stack", (environment) => {
  const bound = entries.filter(
    ({ row }) => row.expect !== undefined && (row.environment === "both" || row.environment === environment),
  );
  it.each(
    bound.map((entry) => ({ ...entry, id: entry.row.id, item: entry.row.item })),
  )("has $document $section: $item ($id)", ({ row }) => {
    if (row.expect) verify(environment, row, row.expect);
  });
});

/** Whether the sources of a deviation name a section: `AWS architecture §2.1, §5.7; Infra analysis §2-2`. */
function lists(sources: string | undefined, document: string, section: string): boolean {
  return (sources ?? "").split(";").some((source) => {
    const text = source.trim();
    return text.startsWith(document) && text.slice(document.length).split(/[ ,]+/).includes(section);
  });
}

function verify(environment: EnvironmentName, row: Row, expectation: Expectation): void {
  const stack = stacks[environment];
  const fill = (value: Json): Json => fillNames(value, environment);
  const wanted = fill("equals" in expectation ? (expectation.equals ?? null) : (row.documented ?? null));
  const find = (name: string): Resource[] => resourcesOf(name, environment);
  const one = (name: string): Resource => {
    const found = find(name);
    const [resource] = found;
    if (resource && found.length === 1) return resource;
    const selector = selectors[name];
    const others = stack.resources.filter(({ type }) => type === selector?.type).map(({ address }) => address);
    throw new Error(
      `${name} finds ${found.map(({ address }) => address).join(", ") || "nothing"} of ${others.join(", ")}`,
    );
  };
  if (Array.isArray(expectation.all)) {
    for (const part of expectation.all as readonly Expectation[]) verify(environment, row, part);
  } else if (typeof expectation.check === "string") {
    const check = CHECKS[expectation.check];
    if (!check) throw new Error(`no check is called ${expectation.check}`);
    const args = fill(expectation.args ?? {}) as JsonObject;
    const context: CheckContext = { stack, stacks, find, one, args, documented: fill(row.documented ?? null) };
    expect(check(context)).toEqual("value" in args ? args.value : wanted);
  } else if (typeof expectation.count === "string") {
    expect(find(expectation.count)).toHaveLength(Number(wanted));
  } else if (typeof expectation.root === "string") {
    const value = expectation.root.split(".").reduce<Json>((current, step) => stepInto(current, step), stack.root);
    if (typeof expectation.matches === "string") expect(value).toMatch(new RegExp(expectation.matches));
    else expect(value).toEqual(wanted);
  } else if (expectation.modules === "count") {
    expect(stack.moduleNames).toHaveLength(Number(wanted));
  } else if (expectation.modules === "includes") {
    expect(stack.moduleNames).toContain(wanted);
  } else if (expectation.reach !== undefined) {
    const { from, to, port } = expectation.reach as JsonObject;
    expectReachable(stack, from === "cloudfront" ? from : one(String(from)), one(String(to)), Number(port));
  } else if (expectation.unreachable !== undefined) {
    const { from, to, port } = expectation.unreachable as JsonObject;
    expectUnreachable(stack, from === "cloudfront" ? from : one(String(from)), one(String(to)), Number(port));
  } else {
    verifyAttribute(environment, String(expectation.of), expectation, wanted);
  }
}

/** Compares the value at a path in every resource that a selector finds. */
function verifyAttribute(environment: EnvironmentName, name: string, expectation: Expectation, wanted: Json): void {
  const resources = resourcesOf(name, environment);
  const stack = stacks[selectors[name]?.stack ?? environment];
  const path = String(expectation.path);
  expect(resources, `resources of ${name}`).not.toEqual([]);
  if (expectation.distinct === true) {
    const values = resources.map((resource) => stack.literal(resource, path));
    expect([...new Set(values)].sort()).toEqual(wanted);
    return;
  }
  for (const resource of resources) {
    const written = stack.resolve(resource, path) ?? null;
    // The provider takes some booleans as text.
    const value = typeof wanted === "boolean" && typeof written === "string" ? written === "true" : written;
    const where = `${resource.address}.${path}`;
    const items = Array.isArray(value) ? (value as readonly Json[]) : [value];
    if (typeof expectation.resolvesTo === "string") {
      const targets = resourcesOf(expectation.resolvesTo, environment).map(({ address }) => address);
      const referred = stack.references(resource, path);
      expect(referred, where).not.toEqual([]);
      expect(
        referred.filter((address) => !targets.includes(address)),
        where,
      ).toEqual([]);
    } else if (typeof expectation.refersTo === "string") {
      const targets = resourcesOf(expectation.refersTo, environment).map(({ address }) => address);
      expect(
        stack.references(resource, path).some((address) => targets.includes(address)),
        where,
      ).toBe(true);
    } else if (typeof expectation.matches === "string")
      expect(String(value), where).toMatch(new RegExp(expectation.matches));
    else if (expectation.includes === true) expect(items, where).toContainEqual(wanted);
    else if (expectation.size === true) expect(items, where).toHaveLength(Number(wanted));
    else if (expectation.single === true) expect(items, where).toEqual([wanted]);
    else if (Array.isArray(wanted)) expect([...items].sort(), where).toEqual([...(wanted as Json[])].sort());
    else expect(value, where).toEqual(wanted);
  }
}

function resourcesOf(name: string, environment: EnvironmentName): Resource[] {
  const selector = selectors[name];
  if (!selector) throw new Error(`no selector is called ${name}`);
  return stacks[selector.stack ?? environment].find(expandSelector(selector, environment));
}

/** Puts in names and replaces `refersTo: <name>` by that selector. */
function expandSelector(selector: NamedSelector, environment: EnvironmentName): Selector {
  const { stack: _stack, ...rest } = fillNames(selector as unknown as Json, environment) as unknown as NamedSelector;
  const where = Object.fromEntries(
    Object.entries(rest.where ?? {}).map(([path, wanted]) => {
      const target =
        wanted !== null && typeof wanted === "object" && "refersTo" in wanted ? String(wanted.refersTo) : undefined;
      const named = target === undefined ? undefined : selectors[target];
      return [path, named ? { refersTo: expandSelector(named, environment) } : wanted];
    }),
  );
  return { ...rest, where };
}

function fillNames(value: Json, environment: EnvironmentName): Json {
  if (typeof value === "string") {
    return value.replaceAll("{prefix}", PREFIXES[environment]).replaceAll("{environment}", environment);
  }
  if (Array.isArray(value)) return value.map((item: Json) => fillNames(item, environment));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fillNames(item, environment)]));
}

function stepInto(value: Json, step: string): Json {
  const block = Array.isArray(value) ? (value[0] as Json) : value;
  return block !== null && typeof block === "object" ? ((block as JsonObject)[step] ?? null) : null;
}
