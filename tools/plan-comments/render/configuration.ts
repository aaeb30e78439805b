import {
  type ConfigModule,
  type ConfigResource,
  isList,
  isObject,
  type Json,
  type JsonObject,
  own,
  type Plan,
} from "./plan";

/** A synthesized stack: the root and the child modules it calls, as Terraform JSON. */
export interface SynthStack {
  readonly name: string;
  /** `cdk.tf.json`. */
  readonly root: JsonObject;
  /** `modules/<name>/main.tf.json` by the folder's name. */
  readonly modules: Readonly<Record<string, JsonObject>>;
  /** Stacks that have to be applied before this one. */
  readonly dependencies: readonly string[];
  /** Zip files by their path in the stack's folder. */
  readonly assets: Readonly<Record<string, Asset>>;
}

/** A packed function. */
export interface Asset {
  readonly bytes: number;
  /** Base64 SHA-256 of the file, as Terraform's `source_code_hash`. */
  readonly hash: string;
  /** What is in it: source file (or entry) and a digest of its part. */
  readonly sources: Readonly<Record<string, string>>;
}

/** A resource as the configuration writes it, with references left as text (`${var.queue_arn}`). */
export interface ConfiguredResource {
  readonly address: string;
  readonly mode: string;
  readonly type: string;
  readonly name: string;
  /** Name of the module call, or "" in the root. */
  readonly call: string;
  readonly values: JsonObject;
  /** What each attribute refers to. */
  readonly references: Readonly<Record<string, readonly string[]>>;
  /** Construct path from the synthesized JSON: `prod/vpc/app_a`. */
  readonly path?: string;
}

/** The configuration behind a plan: what values refer to, and which construct made a resource. */
export class Configuration {
  private constructor(
    private readonly resources: ReadonlyMap<string, ConfiguredResource>,
    private readonly moduleNames: Readonly<Record<string, string>>,
    private readonly root: ConfigModule,
  ) {}

  static of(plan: Plan, synth?: SynthStack): Configuration {
    const root = plan.configuration.root_module ?? (synth ? moduleOf(synth) : {});
    const resources = new Map<string, ConfiguredResource>();
    const names: Record<string, string> = {};
    if (synth) {
      for (const resource of resourcesOf(synth)) resources.set(resource.address, resource);
      for (const [call, name] of callsOf(synth)) names[call] = name;
    }
    const add = (module: ConfigModule, call: string) => {
      for (const resource of module.resources ?? []) {
        const address = `${call ? `module.${call}.` : ""}${resource.address}`;
        const known = resources.get(address);
        const [values, references] = readExpressions(resource.expressions ?? {});
        resources.set(address, {
          address,
          mode: resource.mode,
          type: resource.type,
          name: resource.name,
          call,
          values: { ...known?.values, ...values },
          references,
          ...(known?.path === undefined ? {} : { path: known.path }),
        });
      }
      for (const [name, inner] of Object.entries(module.module_calls ?? {})) {
        if (call === "" && own(names, name) === undefined && /^\.\//.test(inner.source ?? "")) {
          names[name] = (inner.source ?? "").split("/").at(-1) ?? name;
        }
        if (inner.module) add(inner.module, call ? `${call}.module.${name}` : name);
      }
    };
    add(root, "");
    return new Configuration(resources, names, root);
  }

  /** The configuration of an instance: its address without the keys of `count` and `for_each`. */
  find(address: string): ConfiguredResource | undefined {
    return this.resources.size === 0 ? undefined : this.resources.get(withoutKeys(address));
  }

  /** The documented name of the module an address is in (`vpc-endpoints`), or "" for the root. */
  moduleOf(address: string): string {
    const call = callOf(address);
    if (call === undefined) return "";
    return own(this.moduleNames, call) ?? call.replaceAll("_", "-");
  }

  /** The resource that an attribute refers to, through module inputs and outputs, such as `module.vpc.aws_security_group.app`. */
  referredBy(address: string, attribute: string): string | undefined {
    const resource = this.find(address);
    const first = resource?.references[attribute]?.[0];
    return resource && first !== undefined ? this.resolve(resource.call, first, 0) : undefined;
  }

  /** Text with references replaced by the addresses they lead to, where that can be followed. */
  followed(address: string, text: string): string {
    const call = this.find(address)?.call ?? "";
    return text.replace(/\$\{((?:var|module|data|[a-z]\w*)\.[\w.[\]"-]+)\}/g, (whole, reference: string) => {
      const target = this.resolve(call, reference, 0);
      return target === undefined ? whole : `\${${target}${/\.(\w+)$/.exec(reference)?.[1] === "arn" ? ".arn" : ""}}`;
    });
  }

  private resolve(call: string, reference: string, depth: number): string | undefined {
    if (depth > 8) return undefined;
    const parts = reference.split(".");
    if (parts[0] === "var") {
      const outer = call.includes(".module.")
        ? undefined
        : this.root.module_calls?.[call]?.expressions?.[parts[1] ?? ""];
      const next = firstReference(outer);
      return next === undefined ? undefined : this.resolve("", next, depth + 1);
    }
    if (parts[0] === "module") {
      const output = this.root.module_calls?.[parts[1] ?? ""]?.module?.outputs?.[(parts[2] ?? "").replace(/\[.*$/, "")];
      const next = firstReference(output?.expression);
      return next === undefined ? undefined : this.resolve(parts[1] ?? "", next, depth + 1);
    }
    const length = parts[0] === "data" ? 3 : 2;
    if (["local", "each", "count", "path", "terraform", "self"].includes(parts[0] ?? "")) return undefined;
    return `${call ? `module.${call}.` : ""}${parts.slice(0, length).join(".").replace(/\[.*$/, "")}`;
  }
}

/** Name of the outermost module call of an address, without its key. */
export function callOf(address: string): string | undefined {
  if (!address.startsWith("module.")) return undefined;
  const start = "module.".length;
  const dot = address.indexOf(".", start);
  const key = address.indexOf("[", start);
  return address.slice(start, key >= 0 && (key < dot || dot < 0) ? key : dot < 0 ? undefined : dot);
}

export const withoutKeys = (address: string): string =>
  address.includes("[") ? address.replace(/\[(?:"(?:[^"\\]|\\.)*"|\d+)\]/g, "") : address;

function firstReference(expression: Json | undefined): string | undefined {
  if (!isObject(expression)) return undefined;
  const references = expression.references;
  const first = isList(references) ? references[0] : undefined;
  return typeof first === "string" ? first : undefined;
}

/** Expressions of a plan's configuration, as values (templates stay text) and references by top-level attribute. */
function readExpressions(expressions: JsonObject): readonly [JsonObject, Record<string, readonly string[]>] {
  const values: Record<string, Json> = {};
  const references: Record<string, readonly string[]> = {};
  for (const [name, expression] of Object.entries(expressions)) {
    const value = constantOf(expression);
    if (value !== undefined) values[name] = value;
    const found: string[] = [];
    collectReferences(expression, found);
    if (found.length > 0) references[name] = found;
  }
  return [values, references];
}

function constantOf(expression: Json): Json | undefined {
  if (isList(expression)) {
    return expression.map((block) =>
      isObject(block)
        ? Object.fromEntries(
            Object.entries(block).flatMap(([key, value]) => {
              const constant = constantOf(value);
              return constant === undefined ? [] : [[key, constant]];
            }),
          )
        : block,
    );
  }
  return isObject(expression) ? expression.constant_value : undefined;
}

function collectReferences(expression: Json, into: string[]): void {
  if (isList(expression)) for (const item of expression) collectReferences(item, into);
  else if (isObject(expression)) {
    for (const [key, value] of Object.entries(expression)) {
      if (key === "references" && isList(value)) into.push(...value.filter((item) => typeof item === "string"));
      else if (key !== "constant_value") collectReferences(value, into);
    }
  }
}

/** A synthesized stack in the shape in which a plan describes its configuration. */
function moduleOf(stack: SynthStack): ConfigModule {
  const expression = (value: Json): Json => {
    const references = referencesIn(value);
    return references.length > 0 ? { constant_value: value, references } : { constant_value: value };
  };
  const all = resourcesOf(stack);
  const resources = (call: string): readonly ConfigResource[] =>
    all
      .filter((resource) => resource.call === call)
      .map(({ address, mode, type, name, values }) => ({
        address: call === "" ? address : address.slice(`module.${call}.`.length),
        mode,
        type,
        name,
        expressions: Object.fromEntries(Object.entries(values).map(([key, value]) => [key, expression(value)])),
      }));
  const outputs = (body: JsonObject | undefined) =>
    Object.fromEntries(
      Object.entries(isObject(body?.output) ? body.output : {}).map(([name, output]) => [
        name,
        { expression: expression(isObject(output) ? (output.value ?? null) : null) },
      ]),
    );
  const calls = isObject(stack.root.module) ? stack.root.module : {};
  return {
    resources: resources(""),
    module_calls: Object.fromEntries(
      callsOf(stack).map(([call, name]) => {
        const written = isObject(calls[call]) ? calls[call] : {};
        return [
          call,
          {
            source: `./modules/${name}`,
            expressions: Object.fromEntries(Object.entries(written).map(([key, value]) => [key, expression(value)])),
            module: { resources: resources(call), outputs: outputs(stack.modules[name]) },
          },
        ];
      }),
    ),
  };
}

/** What the templates in a value refer to. */
function referencesIn(value: Json): readonly string[] {
  if (typeof value === "string") {
    return [...value.matchAll(/\$\{((?:var|module|data|local|[a-z]\w*)\.[\w.[\]"-]+)\}/g)].map(
      (match) => match[1] ?? "",
    );
  }
  if (isList(value)) return value.flatMap(referencesIn);
  return isObject(value) ? Object.values(value).flatMap(referencesIn) : [];
}

const callsOf = (stack: SynthStack): readonly (readonly [string, string])[] =>
  Object.entries(isObject(stack.root.module) ? stack.root.module : {}).flatMap(([call, body]) => {
    const source = isObject(body) && typeof body.source === "string" ? body.source : "";
    const name = /^\.\/modules\/([\w-]+)$/.exec(source)?.[1];
    return name === undefined ? [] : [[call, name] as const];
  });

/** Every resource and data source of a synthesized stack, with the address that Terraform gives it. */
export function resourcesOf(stack: SynthStack): readonly ConfiguredResource[] {
  const found: ConfiguredResource[] = [];
  const add = (body: JsonObject, call: string) => {
    for (const [section, mode] of [
      ["resource", "managed"],
      ["data", "data"],
    ] as const) {
      for (const [type, named] of Object.entries(isObject(body[section]) ? body[section] : {})) {
        for (const [name, raw] of Object.entries(isObject(named) ? named : {})) {
          if (!isObject(raw)) continue;
          const { "//": comment, ...values } = raw;
          const metadata = isObject(comment) && isObject(comment.metadata) ? comment.metadata : {};
          found.push({
            address: `${call ? `module.${call}.` : ""}${mode === "data" ? "data." : ""}${type}.${name}`,
            mode,
            type,
            name,
            call,
            values,
            references: {},
            ...(typeof metadata.path === "string" ? { path: metadata.path } : {}),
          });
        }
      }
    }
  };
  add(stack.root, "");
  for (const [call, name] of callsOf(stack)) add(stack.modules[name] ?? {}, call);
  return found;
}
