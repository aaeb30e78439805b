import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { evaluateTemplate, type Json, pathText, unknown, unknownsIn, type WrittenReference, walk } from "./expression";

export type { Json } from "./expression";

/** A JSON object. */
export interface JsonObject {
  readonly [key: string]: Json;
}

/** A resource or data source of a stack. */
export interface Resource {
  /** `module.vpc.aws_subnet.app_a`, `aws_s3_bucket.state`, `module.iam.data.aws_iam_policy_document.x`. */
  readonly address: string;
  /** Documented name of the module, such as `vpc-endpoints`; absent in the root. */
  readonly module?: string;
  readonly type: string;
  readonly name: string;
  readonly isData: boolean;
  /** Arguments as synthesized. */
  readonly config: JsonObject;
}

/** What a resource is found by. Every condition must hold. */
export interface Selector {
  readonly module?: string;
  readonly type: string;
  /** Attribute path to the value it has, to a pattern, or to what it refers to. `null`: the attribute is not set. */
  readonly where?: Readonly<Record<string, Json | { readonly matches: string } | { readonly refersTo: Selector }>>;
}

/** One Terraform configuration: the root or one child module. */
interface Scope {
  /** Name of the module call, with underscores; empty in the root. */
  readonly call: string;
  readonly json: JsonObject;
}

/**
 * A synthesized stack: its root and its modules, indexed, with references followed through variables, module calls,
 * outputs and locals as far as they are known before apply.
 */
export class TerraformStack {
  readonly root: JsonObject;
  readonly resources: readonly Resource[];
  private readonly scopes: ReadonlyMap<string, Scope>;
  private readonly byAddress: ReadonlyMap<string, Resource>;
  private readonly byType: ReadonlyMap<string, readonly Resource[]>;
  private readonly cache = new Map<string, JsonObject>();

  /**
   * @param name Name of the stack.
   * @param root The parsed `cdk.tf.json`.
   * @param modules The parsed `main.tf.json` of each child module, by documented name.
   * @param folder Where the stack was written, for those who read its assets.
   */
  constructor(
    readonly name: string,
    root: JsonObject,
    modules: Readonly<Record<string, JsonObject>> = {},
    readonly folder?: string,
  ) {
    this.root = root;
    const scopes: Scope[] = [
      { call: "", json: root },
      ...Object.entries(modules).map(([module, json]) => ({ call: module.replaceAll("-", "_"), json })),
    ];
    this.scopes = new Map(scopes.map((scope) => [scope.call, scope]));
    this.resources = scopes.flatMap((scope) => resourcesOf(scope));
    this.byAddress = new Map(this.resources.map((resource) => [resource.address, resource]));
    const byType = new Map<string, Resource[]>();
    for (const resource of this.resources) byType.set(resource.type, [...(byType.get(resource.type) ?? []), resource]);
    this.byType = byType;
  }

  /** Documented names of the modules that the root calls, in its order. */
  get moduleNames(): string[] {
    return Object.keys(objectAt(this.root, "module")).map((call) => call.replaceAll("_", "-"));
  }

  /** Arguments of a module's call, evaluated. */
  moduleInputs(module: string): JsonObject {
    const call = objectAt(objectAt(this.root, "module"), module.replaceAll("-", "_"));
    return this.evaluate(call, "") as JsonObject;
  }

  /** The resources that a selector finds, in the order of the output. */
  find(selector: Selector): Resource[] {
    return (this.byType.get(selector.type) ?? []).filter((resource) => this.matches(resource, selector));
  }

  /** The one resource that a selector finds. */
  one(selector: Selector): Resource {
    const found = this.find(selector);
    const [resource] = found;
    if (!resource || found.length > 1) {
      const candidates = this.resources.filter(({ type }) => type === selector.type).map(({ address }) => address);
      throw new Error(
        `stack ${this.name}: ${JSON.stringify(selector)} finds ${found.length} resources, wanted 1; ` +
          `of that type there are: ${candidates.join(", ") || "none"}`,
      );
    }
    return resource;
  }

  /** The resource at an address, such as `module.vpc.aws_subnet.app_a`. */
  at(address: string): Resource {
    const resource = this.byAddress.get(address);
    if (!resource) throw new Error(`stack ${this.name} has no ${address}`);
    return resource;
  }

  /** All arguments of a resource, evaluated; what is unknown reads `${address.attribute}`. */
  arguments(resource: Resource): JsonObject {
    const cached = this.cache.get(resource.address);
    if (cached) return cached;
    const { "//": _metadata, ...config } = resource.config;
    const evaluated = this.evaluate(config, callOf(resource)) as JsonObject;
    this.cache.set(resource.address, evaluated);
    return evaluated;
  }

  /**
   * The value at a path of a resource, undefined where it is not set. Blocks are walked into whether they are written as
   * an object or as a list; where a path leads through several blocks, the answer is the list of their values. A
   * reference that stays unknown reads `module.vpc.aws_subnet.app_a.id`.
   */
  resolve(resource: Resource, path: string): Json | undefined {
    const value = valueAt(this.arguments(resource), path);
    return value === undefined ? undefined : unwrap(value);
  }

  /** Like {@link resolve}, and what another resource's arguments say is filled in: a name, a CIDR block. */
  literal(resource: Resource, path: string): Json | undefined {
    const value = valueAt(this.arguments(resource), path);
    return value === undefined ? undefined : unwrap(this.fill(value));
  }

  /** Addresses of the resources that the value at a path refers to, in order, each once. */
  references(resource: Resource, path: string): string[] {
    return this.addressesIn(valueAt(this.arguments(resource), path) ?? null);
  }

  /** The resources that the value at a path refers to, in order, each once. */
  referred(resource: Resource, path: string): Resource[] {
    return this.references(resource, path).map((address) => this.at(address));
  }

  /** Every resource that names this one anywhere in its arguments. */
  referrers(resource: Resource): Resource[] {
    return this.resources.filter((other) => this.addressesIn(this.arguments(other)).includes(resource.address));
  }

  /** Addresses of resources in an evaluated value. */
  addressesIn(value: Json): string[] {
    const found = unknownsIn(value).flatMap((text) => text.match(ADDRESS) ?? []);
    return [...new Set(found)].filter((address) => this.byAddress.has(address));
  }

  /** Fills in what is known of other resources' arguments, as often as it takes. */
  fill(value: Json): Json {
    if (Array.isArray(value)) return value.map((item: Json) => this.fill(item));
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.fill(item)]));
    }
    if (typeof value !== "string") return value;
    const whole = /^\$\{([^}]*)\}$/.exec(value);
    if (whole?.[1] !== undefined) return this.known(whole[1]) ?? value;
    return value.replace(/\$\{([^}]*)\}/g, (text, reference: string) => {
      const known = this.known(reference);
      return known === undefined || typeof known === "object" ? text : String(known);
    });
  }

  /** An output of the root, evaluated. */
  output(name: string): Json | undefined {
    const output = objectAt(this.root, "output")[name];
    return output === undefined ? undefined : unwrap(this.evaluate((output as JsonObject).value ?? null, ""));
  }

  /** Region of the provider configuration that a resource uses. */
  regionOf(resource: Resource): Json | undefined {
    const written =
      typeof resource.config.provider === "string" ? resource.config.provider : resource.type.split("_")[0];
    let provider = written ?? "";
    const call = callOf(resource);
    if (call !== "") {
      const passed = objectAt(objectAt(objectAt(this.root, "module"), call), "providers")[provider];
      if (typeof passed === "string") provider = passed;
    }
    const [name = "", alias] = provider.split(".");
    const configurations = asArray(objectAt(this.root, "provider")[name]) as readonly JsonObject[];
    const configuration = configurations.find((candidate) => (candidate.alias ?? undefined) === alias);
    return configuration === undefined ? undefined : unwrap(this.evaluate(configuration.region ?? null, ""));
  }

  /** Evaluates a value as written in a module (by the name of its call) or in the root (empty). */
  evaluate(value: Json, call: string): Json {
    if (typeof value === "string") return evaluateTemplate(value, (reference) => this.lookup(reference, call));
    if (Array.isArray(value)) return value.map((item: Json) => this.evaluate(item, call));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [String(this.evaluate(key, call)), this.evaluate(item, call)]),
    );
  }

  private lookup({ root, path }: WrittenReference, call: string): Json {
    const [first, ...rest] = path;
    const name = String(first);
    if (root === "local") return walk(this.evaluate(this.section(call, "locals")[name] ?? null, call), rest);
    if (root === "var" && call === "") return unknown(`var${pathText(path)}`);
    if (root === "var") {
      const argument = objectAt(objectAt(this.root, "module"), call)[name];
      if (argument !== undefined) return walk(this.evaluate(argument, ""), rest);
      const declared = this.section(call, "variable")[name] as JsonObject | undefined;
      if (!declared) throw new Error(`stack ${this.name}: module ${call} reads var.${name}, which it does not declare`);
      return walk(this.evaluate(declared.default ?? null, call), rest);
    }
    if (root === "module" && call === "") {
      const [output, ...inside] = rest;
      const declared = this.section(name, "output")[String(output)] as JsonObject | undefined;
      if (!declared) throw new Error(`stack ${this.name}: module ${name} has no output ${String(output)}`);
      return walk(this.evaluate(declared.value ?? null, name), inside);
    }
    const isAddress = root === "data" || root.includes("_");
    return unknown(`${isAddress && call !== "" ? `module.${call}.` : ""}${root}${pathText(path)}`);
  }

  private section(call: string, name: string): JsonObject {
    const scope = this.scopes.get(call);
    if (!scope) throw new Error(`stack ${this.name}: there is no module ${call}`);
    return mergedSection(scope.json, name);
  }

  /** What is known of `module.x.aws_y.z.attribute`, undefined if nothing is. */
  private known(reference: string): Json | undefined {
    const match = new RegExp(`^(${ADDRESS.source})(?:\\.([\\w.[\\]]+))?$`).exec(reference);
    const resource = match?.[1] === undefined ? undefined : this.byAddress.get(match[1]);
    if (!resource || match?.[2] === undefined) return undefined;
    const value = valueAt(this.arguments(resource), match[2].replaceAll("[", ".").replaceAll("]", ""));
    return value === undefined || value === `\${${reference}}` ? undefined : this.fill(value);
  }

  private matches(resource: Resource, { module, type, where = {} }: Selector): boolean {
    if (resource.type !== type || resource.isData || (module !== undefined && resource.module !== module)) return false;
    return Object.entries(where).every(([path, wanted]) => {
      if (isObject(wanted) && "refersTo" in wanted) {
        const targets = new Set(this.find(wanted.refersTo as unknown as Selector).map(({ address }) => address));
        return this.references(resource, path).some((address) => targets.has(address));
      }
      const value = this.resolve(resource, path);
      if (isObject(wanted) && typeof wanted.matches === "string") {
        return value !== undefined && new RegExp(wanted.matches).test(String(value));
      }
      return same(value ?? null, wanted as Json);
    });
  }
}

const ADDRESS = /(?:module\.[\w-]+\.)?(?:data\.)?[a-z][a-z0-9]*_[a-z0-9_]+\.[\w-]+/g;

/** Whether two values are the same, whatever the order of their keys. */
export function same(left: Json, right: Json): boolean {
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((item: Json, index) => same(item, right[index] as Json));
  }
  if (isObject(left) && isObject(right)) {
    const keys = Object.keys(left);
    return (
      keys.length === Object.keys(right).length &&
      keys.every((key) => key in right && same(left[key] as Json, right[key] as Json))
    );
  }
  return left === right;
}

/** Reads a stack that was synthesized into `<outdir>/stacks/<name>`. */
export function readStack(outdir: string, name: string): TerraformStack {
  const folder = join(outdir, "stacks", name);
  const modules = join(folder, "modules");
  const names = existsSync(modules) ? readdirSync(modules).sort() : [];
  return new TerraformStack(
    name,
    readJson(join(folder, "cdk.tf.json")),
    Object.fromEntries(names.map((module) => [module, readJson(join(modules, module, "main.tf.json"))])),
    folder,
  );
}

/** A stack that was synthesized in memory (`synthModule`), to ask questions of. */
export function toTerraformStack(synthesized: {
  readonly root: unknown;
  readonly modules: ReadonlyMap<string, unknown>;
}): TerraformStack {
  return new TerraformStack(
    "test",
    synthesized.root as JsonObject,
    Object.fromEntries(synthesized.modules) as Record<string, JsonObject>,
  );
}

const temporary: string[] = [];
afterAll(() => {
  for (const folder of temporary.splice(0)) rmSync(folder, { recursive: true, force: true });
});

let synthesized: Promise<string> | undefined;
const stacks = new Map<string, TerraformStack>();

/** A stack of the app, synthesized once for all tests of a file. */
export async function loadStack(name: string): Promise<TerraformStack> {
  synthesized ??= synthesize();
  const outdir = await synthesized;
  const stack = stacks.get(name) ?? readStack(outdir, name);
  stacks.set(name, stack);
  return stack;
}

async function synthesize(): Promise<string> {
  const { buildApp } = await import("../../main");
  const outdir = mkdtempSync(join(tmpdir(), "urr-synth-"));
  temporary.push(outdir);
  buildApp(outdir).synth();
  return outdir;
}

function resourcesOf({ call, json }: Scope): Resource[] {
  const of = (section: string, isData: boolean): Resource[] =>
    Object.entries(mergedSection(json, section)).flatMap(([type, named]) =>
      Object.entries(named as JsonObject).map(([name, config]) => ({
        address: `${call === "" ? "" : `module.${call}.`}${isData ? "data." : ""}${type}.${name}`,
        ...(call !== "" && { module: call.replaceAll("_", "-") }),
        type,
        name,
        isData,
        config: firstOf(config as Json) as JsonObject,
      })),
    );
  return [...of("resource", false), ...of("data", true)];
}

function callOf({ module }: Resource): string {
  return module?.replaceAll("-", "_") ?? "";
}

/** Terraform JSON allows a section to be a list of objects that are merged. */
function mergedSection(json: JsonObject, name: string): JsonObject {
  const section = json[name];
  return Array.isArray(section) ? (Object.assign({}, ...section) as JsonObject) : objectAt(json, name);
}

function objectAt(json: JsonObject, key: string): JsonObject {
  const value = firstOf(json[key] ?? {});
  return isObject(value) ? value : {};
}

function firstOf(value: Json): Json {
  return Array.isArray(value) ? ((value[0] as Json | undefined) ?? {}) : value;
}

function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function asArray(value: Json | undefined): readonly Json[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}

function valueAt(value: Json, path: string): Json | undefined {
  let current: Json[] = [value];
  for (const step of path === "" ? [] : path.split(".")) {
    current = current.flatMap((item): Json[] => {
      if (Array.isArray(item)) {
        if (/^\d+$/.test(step)) return item[Number(step)] === undefined ? [] : [item[Number(step)] as Json];
        return item.flatMap((block: Json) => (isObject(block) && block[step] !== undefined ? [block[step]] : []));
      }
      if (isObject(item) && item[step] !== undefined) return [item[step]];
      // The first of a block that is written as an object.
      return step === "0" && isObject(item) ? [item] : [];
    });
  }
  const set = current.filter((item) => item !== null);
  return set.length <= 1 ? set[0] : set;
}

/** An unknown reference without its braces; everything else as it is. */
function unwrap(value: Json): Json {
  if (Array.isArray(value)) return value.map((item: Json) => unwrap(item));
  if (typeof value !== "string") return value;
  return /^\$\{([^}]*)\}$/.exec(value)?.[1] ?? value;
}

function readJson(path: string): JsonObject {
  return JSON.parse(readFileSync(path, "utf8")) as JsonObject;
}
