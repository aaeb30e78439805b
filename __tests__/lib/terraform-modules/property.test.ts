import { TerraformLocal, TerraformOutput, TerraformVariable } from "cdktf";
import { Construct } from "constructs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json, JsonObject, ModularStack } from "../../../lib/terraform-modules";
import { render, TestData, TestModule, TestProvider, TestResource } from "./support";

/** How a value is mentioned; `R` stands for the reference. */
const FORMS = [
  "${R}",
  "a-${R}-b",
  '${upper("x-${R}")}',
  "${[for x in [R] : x]}",
  "${true ? R : null}",
  "${try(R, null)}",
  "%{ if true }${R}%{ endif }",
  "${jsonencode({ k = R, (R) = 1 })}",
  "${jsonencode(<<EOT\n${R}\nEOT\n)}",
  "line\n${R}\n$${R} R",
] as const;
const PATHS = [".id", ".a[0].b", '.tags["k/x"]', ".list[*].id", ".*.id", ".a[each.key].b", ""] as const;
const NAMES = ["a", "b", "a_b", "b_c", "main", "x-y"] as const;
const TYPES = ["aws_a", "aws_a_b", "random_b", "aws_b"] as const;

type Kind = "resource" | "data" | "local";
interface Use {
  readonly target: number;
  readonly form: (typeof FORMS)[number];
  readonly path: (typeof PATHS)[number];
}
interface Block {
  /** Number of the module, undefined for the root. */
  readonly home: number | undefined;
  readonly kind: Kind;
  readonly type: (typeof TYPES)[number];
  readonly name: (typeof NAMES)[number];
  readonly uses: readonly Use[];
  readonly waits: readonly number[];
  readonly variable: boolean;
  readonly counted: boolean;
  readonly alias: boolean;
}
const MODULES = ["m", "m_n", "o"] as const;

const use = fc.record({ target: fc.nat(20), form: fc.constantFrom(...FORMS), path: fc.constantFrom(...PATHS) });
const block: fc.Arbitrary<Block> = fc.record({
  home: fc.option(fc.nat(MODULES.length - 1), { nil: undefined }),
  kind: fc.constantFrom<Kind>("resource", "resource", "data", "local"),
  type: fc.constantFrom(...TYPES),
  name: fc.constantFrom(...NAMES),
  uses: fc.array(use, { maxLength: 3 }),
  waits: fc.array(fc.nat(20), { maxLength: 2 }),
  variable: fc.boolean(),
  counted: fc.boolean(),
  alias: fc.boolean(),
});

/** Blocks whose flat names are their own; references are to any of them, forwards, backwards and to themselves. */
const trees = fc.array(block, { minLength: 1, maxLength: 12 }).map((blocks) => {
  const seen = new Set<string>();
  return blocks.filter((candidate) => {
    const key = flatAddress(candidate);
    return !seen.has(key) && seen.add(key);
  });
});

/** Names in the root differ from those in modules, so that text which names a root block names nothing in a module. */
function idOf({ home, name }: Pick<Block, "home" | "name">): string {
  return home === undefined ? `top-${name}` : name;
}

function flatName({ home, name }: Block): string {
  return `${home === undefined ? "" : `${MODULES[home]}_`}${idOf({ home, name }).replaceAll("-", "_")}`;
}

function flatAddress(candidate: Block): string {
  const { kind, type } = candidate;
  const name = flatName(candidate);
  return kind === "resource" ? `${type}.${name}` : kind === "data" ? `data.${type}.${name}` : `local.${name}`;
}

function build(blocks: readonly Block[], order: readonly number[] = blocks.map((_, index) => index)) {
  return (stack: ModularStack): void => {
    new TestProvider(stack, "aws", "aws");
    const alias = new TestProvider(stack, "aws_other", "aws", "other");
    new TestProvider(stack, "random", "random");
    const variable = new TerraformVariable(stack, "shared", { type: "string" });
    const modules = MODULES.map((name) => new TestModule(stack, name));
    for (const index of order) {
      const candidate = blocks[index] as Block;
      const home = candidate.home === undefined ? stack : (modules[candidate.home] as TestModule);
      const alike = blocks.slice(0, index).filter((other) => flatName(other) === flatName(candidate)).length;
      const scope = nestedScope(home, alike);
      const attributes: Record<string, unknown> = {
        ...(candidate.variable ? { shared: variable.stringValue } : {}),
        module: "${path.module}/x",
      };
      candidate.uses.forEach(({ target, form, path }, number) => {
        const address = flatAddress(blocks[target % blocks.length] as Block);
        attributes[`use_${number}`] = form.replaceAll("R", `${address}${path}`);
      });
      const dependsOn = candidate.waits
        .map((target) => blocks[target % blocks.length] as Block)
        .filter(({ kind }) => kind !== "local")
        .map((target) => ({ fqn: flatAddress(target) }));
      const meta = {
        dependsOn,
        ...(candidate.counted ? { count: 2 } : {}),
        ...(candidate.alias && candidate.type.startsWith("aws") ? { provider: alias } : {}),
      };
      if (candidate.kind === "resource") {
        new TestResource(scope, idOf(candidate), candidate.type, attributes, meta);
      } else if (candidate.kind === "data") {
        new TestData(scope, idOf(candidate), candidate.type, attributes, meta);
      } else {
        new TerraformLocal(scope, idOf(candidate), attributes);
      }
    }
    blocks.slice(0, 3).forEach((candidate, index) => {
      new TerraformOutput(stack, `out_${index}`, { value: `\${${flatAddress(candidate)}}` });
    });
  };
}

/** A scope some constructs deep; those called Default leave no trace in names, so blocks of several types can share one. */
function nestedScope(scope: Construct, depth: number): Construct {
  if (depth === 0) {
    return scope;
  }
  const inner = (scope.node.tryFindChild("Default") as Construct | undefined) ?? new Construct(scope, "Default");
  return nestedScope(inner, depth - 1);
}

/** A module's view of the world: its file, and the module call that gives its variables their values. */
interface Unit {
  readonly name: string;
  readonly file: Record<string, Record<string, Json>>;
  readonly call: Record<string, Json>;
}

/**
 * Undoes modules by nothing but text: every `var.` of a module becomes what the root passes, every `module.x.y` what the output
 * says, every name the flat one. What comes out has to be the flat configuration again, to the letter.
 */
class Inliner {
  private readonly units = new Map<string, Unit>();
  private readonly flatNames = new Map<string, string>();

  public constructor(
    private readonly root: JsonObject,
    modules: ReadonlyMap<string, JsonObject>,
    addresses: ReadonlyMap<string, string>,
  ) {
    const calls = (root.module ?? {}) as Record<string, Record<string, Json>>;
    for (const [name, call] of Object.entries(calls)) {
      const file = modules.get(String(call.source).replace("./modules/", "")) as Unit["file"];
      this.units.set(name, { name, file, call });
    }
    for (const [flat, address] of addresses) {
      this.flatNames.set(address, flat);
    }
  }

  public flat(): Record<string, Record<string, unknown>> {
    const result: Record<string, Record<string, unknown>> = {};
    for (const unit of [undefined, ...this.units.values()]) {
      const file = (unit?.file ?? this.root) as Unit["file"];
      for (const kind of ["resource", "data", "locals"]) {
        for (const [type, entries] of Object.entries(file[kind] ?? {})) {
          const byName = kind === "locals" ? { [type]: entries } : (entries as JsonObject);
          for (const [name, body] of Object.entries(byName)) {
            const local =
              kind === "locals" ? `local.${name}` : kind === "data" ? `data.${type}.${name}` : `${type}.${name}`;
            result[this.flatName(unit, local)] = this.body(unit, body as JsonObject);
          }
        }
      }
    }
    for (const [name, body] of Object.entries((this.root.output ?? {}) as Record<string, JsonObject>)) {
      result[`output.${name}`] = this.body(undefined, body);
    }
    return result;
  }

  private flatName(unit: Unit | undefined, local: string): string {
    return this.flatNames.get(unit ? `module.${unit.name}.${local}` : local) ?? `unknown ${local}`;
  }

  private body(unit: Unit | undefined, body: JsonObject): Record<string, unknown> {
    return Object.fromEntries(
      Object.entries(body).map(([key, value]) => [
        key,
        key === "depends_on"
          ? (value as string[]).flatMap((entry) => this.waits(unit, entry)).sort()
          : key === "//"
            ? value
            : this.text(unit, JSON.stringify(value)),
      ]),
    );
  }

  private waits(unit: Unit | undefined, entry: string): string[] {
    const [, variable] = /^var\.(\w+)$/.exec(entry) ?? [];
    if (unit && variable !== undefined && unit.call[variable] !== undefined) {
      const passed = String(unit.call[variable]).replace(/^\$\{(.*)\}$/, "$1");
      return this.waits(undefined, passed);
    }
    const [, module, output] = /^module\.(\w+)\.(\w+)$/.exec(entry) ?? [];
    const producer = module === undefined ? undefined : this.units.get(module);
    if (producer && output !== undefined) {
      const { depends_on: dependsOn } = (producer.file.output as Record<string, JsonObject>)[output] as JsonObject;
      return (dependsOn as string[]).flatMap((inner) => this.waits(producer, inner));
    }
    return [this.flatName(unit, entry)];
  }

  private text(unit: Unit | undefined, json: string): string {
    // What is escaped or outside of braces names flat addresses, none of which is an emitted one with a prefix of its own.
    const names = /(?<![\w.$-])(?:data\.)?[a-z]\w*\.[a-z]\w*(?:\.[a-z]\w*)?/g;
    return json.replace(names, (match) => {
      if (unit && match.startsWith("path.root")) {
        return match.replace("path.root", "path.module");
      }
      const [root, first, second] = match.split(".") as [string, string, string | undefined];
      if (unit && root === "var" && unit.call[first] !== undefined) {
        const rest = second === undefined ? "" : `.${second}`;
        return `${this.text(undefined, unquoted(String(unit.call[first])))}${rest}`;
      }
      const producer = root === "module" ? this.units.get(first) : undefined;
      if (producer && second !== undefined) {
        const { value } = (producer.file.output as Record<string, JsonObject>)[second] as JsonObject;
        return this.text(producer, unquoted(String(value)));
      }
      const depth = root === "data" ? 3 : 2;
      const local = match.split(".").slice(0, depth).join(".");
      const flat = this.flatNames.get(unit ? `module.${unit.name}.${local}` : local);
      return flat === undefined ? match : flat + match.slice(local.length);
    });
  }
}

/** The expression of a wire, as it stands in JSON. */
function unquoted(wire: string): string {
  return JSON.stringify(wire.replace(/^\$\{(.*)\}$/s, "$1")).slice(1, -1);
}

/** The flat configuration in the inliner's form. */
function flatOf(flat: JsonObject): Record<string, Record<string, unknown>> {
  const addresses = new Map<string, string>();
  for (const kind of ["resource", "data"]) {
    for (const [type, byName] of Object.entries((flat[kind] ?? {}) as Record<string, JsonObject>)) {
      for (const name of Object.keys(byName)) {
        const address = kind === "data" ? `data.${type}.${name}` : `${type}.${name}`;
        addresses.set(address, address);
      }
    }
  }
  for (const name of Object.keys((flat.locals ?? {}) as JsonObject)) {
    addresses.set(`local.${name}`, `local.${name}`);
  }
  const result = new Inliner(flat, new Map(), addresses).flat();
  for (const body of Object.values(result)) {
    if (Array.isArray(body.depends_on)) {
      body.depends_on = [...new Set(body.depends_on)];
    }
  }
  return result;
}

describe("any construct tree", () => {
  it("is the flat configuration again when its modules are inlined: the same references from the same places", () => {
    fc.assert(
      fc.property(trees, (blocks) => {
        const { flat, emitted } = render(build(blocks));
        const inlined = new Inliner(emitted.root, emitted.modules, emitted.addresses).flat();
        for (const body of Object.values(inlined)) {
          if (Array.isArray(body.depends_on)) {
            body.depends_on = [...new Set(body.depends_on)];
          }
        }
        expect(inlined).toEqual(flatOf(flat));
      }),
      { numRuns: 200 },
    );
  });

  it("declares what it names, passes what is declared, and uses what is passed", () => {
    fc.assert(
      fc.property(trees, (blocks) => {
        const { emitted } = render(build(blocks));
        const calls = (emitted.root.module ?? {}) as Record<string, JsonObject>;
        for (const [name, { source, providers, ...passed }] of Object.entries(calls)) {
          const file = emitted.modules.get(String(source).replace("./modules/", "")) as JsonObject;
          const { variable, ...blocksOfModule } = file;
          const text = JSON.stringify(blocksOfModule);
          expect(Object.keys(passed).sort()).toEqual(Object.keys((variable ?? {}) as JsonObject).sort());
          for (const input of Object.keys(passed)) {
            expect(text).toMatch(new RegExp(`var\\.${input}\\b`));
          }
          for (const output of Object.keys((file.output ?? {}) as JsonObject)) {
            expect(JSON.stringify(emitted.root)).toMatch(new RegExp(`module\\.${name}\\.${output}\\b`));
          }
          for (const [, output] of JSON.stringify(emitted.root).matchAll(
            new RegExp(`module\\.${name}\\.(\\w+)`, "g"),
          )) {
            expect(file.output).toHaveProperty(output as string);
          }
          const required = (file.terraform as Record<string, JsonObject> | undefined)?.required_providers ?? {};
          const aliases = Object.values(required as Record<string, JsonObject>).flatMap(
            ({ configuration_aliases: list }) => (list as string[] | undefined) ?? [],
          );
          const named = [...text.matchAll(/"provider":"([^"]+)"/g)].map(([, alias]) => alias as string);
          expect(new Set(aliases)).toEqual(new Set(named));
          if (aliases.length > 0) {
            expect(Object.keys(providers as JsonObject)).toEqual(expect.arrayContaining(aliases));
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it("is the same whatever the order of its blocks", () => {
    fc.assert(
      fc.property(trees, fc.infiniteStream(fc.nat()), (blocks, random) => {
        const order = blocks
          .map((_, index) => ({ index, rank: random.next().value as number }))
          .sort((a, b) => a.rank - b.rank || a.index - b.index)
          .map(({ index }) => index);
        const one = render(build(blocks)).files;
        const other = render(build(blocks, order)).files;
        expect(texts(other)).toEqual(texts(one));
      }),
      { numRuns: 50 },
    );
  });
});

function texts(files: ReadonlyMap<string, Buffer>): Record<string, string> {
  return Object.fromEntries([...files].map(([path, content]) => [path, content.toString()]));
}
