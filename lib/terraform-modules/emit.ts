import { posix } from "node:path";
import { compareText, isObject, type Json, type JsonObject, listOf, objectOf } from "./json";
import { HclSyntaxError } from "./lexer";
import {
  type Address,
  formatSteps,
  isTemplate,
  type Mentions,
  mentionsOfExpression,
  mentionsOfTemplate,
  parseAddress,
  type Step,
  splice,
  type Traversal,
  unwrapTemplate,
} from "./references";

/** A module boundary of a stack. */
export interface Boundary {
  /** Name of the call in the root: `vpc_endpoints`. */
  readonly callName: string;
  /** Folder below `modules/`: `vpc-endpoints`. */
  readonly directory: string;
}

/** Which blocks of a flat configuration go to which module. */
export interface Ownership {
  readonly boundaries: readonly Boundary[];
  /** Call name of the module by flat address (`aws_vpc.vpc_main`, `data.…`, `local.…`, `module.…`, `check.…`); the root has the rest. */
  readonly owners: ReadonlyMap<string, string>;
}

/** A stack as a root and its child modules. */
export interface Emitted {
  readonly root: JsonObject;
  /** Child modules by folder below `modules/`. */
  readonly modules: ReadonlyMap<string, JsonObject>;
  /** Address in the emitted form by flat address: `aws_vpc.vpc_main` is `module.vpc.aws_vpc.main`. */
  readonly addresses: ReadonlyMap<string, string>;
}

/** What keeps a flat configuration from being cut into modules, all of it. */
export class EmitError extends Error {
  public constructor(public readonly problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "EmitError";
  }
}

const ROOT = "";
const RESOURCE_KINDS = ["resource", "data", "ephemeral"] as const;
/** Argument names of a module call, which no input variable can have. */
const RESERVED_INPUTS = ["count", "depends_on", "for_each", "lifecycle", "locals", "providers", "source", "version"];
const UNNAMED_RESOURCE = "main";

type Kind = (typeof RESOURCE_KINDS)[number] | "local" | "module" | "variable" | "check";

/** A block that can be referred to. */
interface Entity {
  readonly kind: Kind;
  /** Flat address. */
  readonly address: string;
  readonly type: string;
  readonly owner: string;
  /** Name within its owner, without the owner's prefix. */
  readonly name: string;
  /** Address within its owner. */
  readonly local: string;
  readonly body: Json;
}

/** A value, or the mere existence of resources, that leaves its module. */
interface Crossing {
  readonly key: string;
  readonly producer: string;
  readonly base: string;
  /** The output's value and meta-arguments. */
  readonly output: JsonObject;
  /** The expression that gives the value within the producer. */
  readonly expression: string;
  readonly source: string;
  readonly ephemeral: boolean;
}

/** What is done with each kind of text of a block; `collect` notes what crosses, `rewrite` puts the new names in. */
interface Visitor {
  template(text: string): string;
  dependsOn(entries: readonly Json[]): Json[];
  trigger(text: string): string;
  provider(text: string): string;
  source(text: string): string;
}

/**
 * Cuts the flat configuration of a stack into a root and child modules. Blocks go where the ownership says, under their names
 * without the module's prefix; what refers to a block of another module goes through an output, the root, and an input variable.
 *
 * The resource graph stays the same. Names depend on what is referred to, never on the order of blocks.
 *
 * @throws EmitError with everything that cannot be cut
 */
export function emit(flat: JsonObject, ownership: Ownership): Emitted {
  return new Emitter(flat, ownership).emit();
}

class Emitter {
  private readonly entities = new Map<string, Entity>();
  private readonly problems = new Set<string>();
  private readonly parsed = new Map<string, Mentions>();
  private readonly contexts = new Map<string, Context>();
  private readonly plainAddresses = new Map<string, Address | undefined>();
  /** What leaves each producer, by key. */
  private readonly crossings = new Map<string, Crossing>();
  /** Keys of the crossings that each consumer takes. */
  private readonly inputs = new Map<string, Set<string>>();
  /** Root variables that each module takes. */
  private readonly passed = new Map<string, Set<string>>();
  /** Provider configurations (`aws`, `aws.us_east_1`) that each module uses. */
  private readonly providers = new Map<string, Set<string>>();
  /** Names of outputs by crossing key, and of input variables by consumer and crossing key. */
  private readonly outputNames = new Map<string, string>();
  private readonly inputNames = new Map<string, Map<string, string>>();
  private readonly ephemerals = new Map<string, boolean>();

  public constructor(
    private readonly flat: JsonObject,
    private readonly ownership: Ownership,
  ) {}

  public emit(): Emitted {
    this.checkBoundaries();
    this.readEntities();
    this.walk((owner, where, scope) => this.collector(owner, where, scope));
    this.allocateNames();
    this.throwProblems();
    const files = this.walk((owner, _where, scope) => this.rewriter(owner, scope));
    this.throwProblems();
    return this.assemble(files);
  }

  private throwProblems(): void {
    if (this.problems.size > 0) {
      throw new EmitError([...this.problems]);
    }
  }

  private checkBoundaries(): void {
    const byDirectory = new Map<string, string>();
    for (const { callName, directory } of this.ownership.boundaries) {
      const other = byDirectory.get(directory);
      if (other !== undefined) {
        this.problems.add(
          `modules ${other} and ${callName} would both be written to modules/${directory}; give one of them another directory.`,
        );
      }
      byDirectory.set(directory, callName);
    }
  }

  private readEntities(): void {
    for (const kind of RESOURCE_KINDS) {
      for (const [type, byId] of Object.entries(objectOf(this.flat[kind]))) {
        for (const [id, body] of Object.entries(objectOf(byId))) {
          this.addEntity(kind, type, id, body);
        }
      }
    }
    const plain: [string, Kind][] = [
      ["locals", "local"],
      ["module", "module"],
      ["variable", "variable"],
      ["check", "check"],
    ];
    for (const [block, kind] of plain) {
      for (const [id, body] of Object.entries(objectOf(this.flat[block]))) {
        this.addEntity(kind, "", id, body);
      }
    }
    const calls = new Set(this.ownership.boundaries.map(({ callName }) => callName));
    const locals = new Map<string, Entity>();
    for (const entity of this.entities.values()) {
      if (entity.kind === "module" && entity.owner === ROOT && calls.has(entity.name)) {
        this.problems.add(
          `module.${entity.name}: both a module call of the root and a module of the stack; give one of them another id.`,
        );
      }
      const key = `${entity.owner}|${entity.local}`;
      const other = locals.get(key);
      if (other) {
        this.problems.add(
          `${other.address} and ${entity.address} would both be ${entity.local} in module ${entity.owner}; give one of them another id.`,
        );
      }
      locals.set(key, entity);
    }
  }

  private addEntity(kind: Kind, type: string, id: string, body: Json): void {
    const address = addressOf(kind, type, id);
    const owner = kind === "variable" ? ROOT : (this.ownership.owners.get(address) ?? ROOT);
    const name = localName(owner, id);
    this.entities.set(address, { kind, address, type, owner, name, local: addressOf(kind, type, name), body });
  }

  /** Visits every block in its owner's terms and returns the blocks by owner, with what the visitor made of their texts. */
  private walk(
    visitorOf: (owner: string, where: string, scope: Context) => Visitor,
  ): Map<string, Record<string, Json>> {
    const files = new Map<string, Record<string, Json>>();
    const put = (owner: string, path: readonly string[], value: Json): void => {
      let target = files.get(owner) ?? {};
      files.set(owner, target);
      for (const key of path.slice(0, -1)) {
        target[key] ??= {};
        target = target[key] as Record<string, Json>;
      }
      target[path.at(-1) as string] = value;
    };
    for (const entity of this.entities.values()) {
      const context = this.contexts.get(entity.address) ?? contextOf(entity);
      this.contexts.set(entity.address, context);
      const visitor = visitorOf(entity.owner, entity.address, context);
      const path = {
        resource: ["resource", entity.type, entity.name],
        data: ["data", entity.type, entity.name],
        ephemeral: ["ephemeral", entity.type, entity.name],
        local: ["locals", entity.name],
        module: ["module", entity.name],
        variable: ["variable", entity.name],
        check: ["check", entity.name],
      }[entity.kind];
      put(entity.owner, path, mapBlock(entity.kind, entity.body, visitor));
    }
    const context: Context = { guarded: false, scoped: new Set() };
    for (const [block, body] of Object.entries(this.flat)) {
      const known = [...RESOURCE_KINDS, "locals", "module", "variable", "check"].includes(block);
      if (known) {
        continue;
      }
      if (block === "//" || block === "terraform") {
        put(ROOT, [block], body);
      } else if (block === "output") {
        for (const [id, output] of Object.entries(objectOf(body))) {
          put(ROOT, [block, id], mapBlock("output", output, visitorOf(ROOT, `output.${id}`, context)));
        }
      } else if (block === "provider") {
        for (const [name, configurations] of Object.entries(objectOf(body))) {
          const visitor = visitorOf(ROOT, `provider.${name}`, context);
          put(
            ROOT,
            [block, name],
            listOf(configurations).map((configuration) => mapBlock("provider", configuration, visitor)),
          );
        }
      } else if (block === "moved" || block === "import" || block === "removed") {
        const visitor = visitorOf(ROOT, block, context);
        put(
          ROOT,
          [block],
          listOf(body).map((entry) => this.mapAddresses(objectOf(entry), visitor)),
        );
      } else {
        put(ROOT, [block], mapTemplates(body, visitorOf(ROOT, block, context)));
      }
    }
    return files;
  }

  /** `moved`, `import` and `removed` stand in the root and speak of addresses from there. */
  private mapAddresses(entry: JsonObject, visitor: Visitor): JsonObject {
    return mapEntries(entry, (key, value) => {
      if ((key === "from" || key === "to") && typeof value === "string") {
        return this.absolute(value);
      }
      return key === "id" || key === "for_each" || key === "identity" ? mapTemplates(value, visitor) : value;
    });
  }

  /** A flat address as seen from the root; anything that is no address of this stack stays as it is. */
  private absolute(text: string): string {
    const source = unwrapTemplate(text) ?? text;
    const traversal = firstTraversal(source);
    const address = traversal && addressAt(traversal);
    const owner = address && this.ownership.owners.get(address.address);
    if (!traversal || !address || !owner) {
      return source;
    }
    const { kind, type, id } = address;
    const end = traversal.ends[address.depth] as number;
    return `module.${owner}.${addressOf(kind, type, localName(owner, id))}${source.slice(end)}`;
  }

  private collector(owner: string, where: string, context: Context): Visitor {
    const problem = (text: string): void => {
      this.problems.add(`${where}: ${text}`);
    };
    const note = (text: string, read: (text: string) => Mentions): string => {
      try {
        const mentions = this.parse(text, read);
        for (const name of mentions.providerFunctions) {
          this.useProvider(owner, name);
        }
        for (const traversal of mentions.traversals) {
          const target = this.target(traversal, context);
          if (target?.entity.kind === "variable" && owner !== ROOT) {
            setOf(this.passed, owner).add(target.entity.name);
          } else if (target && target.entity.owner !== owner && target.entity.kind !== "variable") {
            this.cross(owner, this.valueCrossing(target.entity, crossingSteps(target, context)));
          }
        }
      } catch (error) {
        if (!(error instanceof HclSyntaxError)) {
          throw error;
        }
        problem(`not a valid template: ${error.message}. Escape a literal \${ as $\${.`);
      }
      return text;
    };
    const type = this.entities.get(where)?.type;
    if (type !== undefined && type !== "" && !("provider" in objectOf(this.entities.get(where)?.body))) {
      this.useProvider(owner, providerOfType(type));
    }
    const entity = this.entities.get(where);
    if (entity?.kind === "module" && !("providers" in objectOf(entity.body))) {
      for (const name of Object.keys(objectOf(objectOf(this.flat.terraform).required_providers))) {
        this.useProvider(owner, name);
      }
    }
    return {
      template: (text) => note(text, mentionsOfTemplate),
      dependsOn: (entries) => {
        for (const dependency of this.dependencies(owner, entries)) {
          if (typeof dependency === "string") {
            if (dependency.startsWith("var.") && owner !== ROOT && this.entities.has(dependency)) {
              setOf(this.passed, owner).add(dependency.slice("var.".length));
            }
          } else {
            this.cross(owner, dependency);
          }
        }
        return [...entries];
      },
      trigger: (text) => {
        const source = unwrapTemplate(text) ?? text;
        const foreign = this.parse(source, mentionsOfExpression)
          .traversals.map((traversal) => this.target(traversal, context)?.entity)
          .find((target) => target !== undefined && target.owner !== owner);
        if (foreign) {
          problem(
            `replace_triggered_by names ${foreign.address} of ${ownerText(foreign.owner)}; Terraform takes only resources of the ` +
              `same module (${ownerText(owner)}). Put both in one module, or make a terraform_data here whose triggers_replace is the ` +
              "value to watch, and name that.",
          );
        }
        return text;
      },
      provider: (text) => {
        this.useProvider(owner, unwrapTemplate(text) ?? text);
        return text;
      },
      source: (text) => text,
    };
  }

  private rewriter(owner: string, context: Context): Visitor {
    const rewrite = (text: string, read: (text: string) => Mentions): string => {
      const parts = this.parse(text, read).traversals.map((traversal) => this.replacement(owner, traversal, context));
      return splice(
        text,
        parts.filter((part) => part !== undefined),
      );
    };
    return {
      template: (text) => rewrite(text, mentionsOfTemplate),
      dependsOn: (entries) => [
        ...new Set(
          this.dependencies(owner, entries).map((dependency) =>
            typeof dependency === "string" ? dependency : this.nameIn(owner, dependency),
          ),
        ),
      ],
      trigger: (text) => rewrite(unwrapTemplate(text) ?? text, mentionsOfExpression),
      provider: (text) => unwrapTemplate(text) ?? text,
      source: (text) => (owner !== ROOT && /^\.{1,2}\//.test(text) ? posix.join("../..", text) : text),
    };
  }

  private parse(text: string, read: (text: string) => Mentions): Mentions {
    const key = read === mentionsOfTemplate ? text : `expression:${text}`;
    const known = this.parsed.get(key);
    if (known) {
      return known;
    }
    const mentions = read(text);
    this.parsed.set(key, mentions);
    return mentions;
  }

  private plainAddress(text: string): Address | undefined {
    if (!this.plainAddresses.has(text)) {
      this.plainAddresses.set(text, parseAddress(text));
    }
    return this.plainAddresses.get(text);
  }

  private target(traversal: Traversal, context: Context): Target | undefined {
    const address = addressAt(traversal);
    const entity = address && !context.scoped.has(address.address) ? this.entities.get(address.address) : undefined;
    return entity && address ? { entity, traversal, depth: address.depth } : undefined;
  }

  /** What a reference becomes in its owner's terms; undefined when it stays as it is. */
  private replacement(
    owner: string,
    traversal: Traversal,
    context: Context,
  ): { start: number; end: number; text: string } | undefined {
    const { start, ends } = traversal;
    const [first] = traversal.steps;
    if (owner !== ROOT && traversal.root === "path" && first && "attribute" in first && first.attribute === "module") {
      return { start, end: ends[1] as number, text: "path.root" };
    }
    const target = this.target(traversal, context);
    if (!target || target.entity.kind === "variable") {
      return undefined;
    }
    const { entity, depth } = target;
    if (entity.owner === owner) {
      return { start, end: ends[depth] as number, text: entity.local };
    }
    const steps = crossingSteps(target, context);
    const crossing = this.valueCrossing(entity, steps);
    return { start, end: ends[depth + steps.length] as number, text: this.nameIn(owner, crossing) };
  }

  private nameIn(owner: string, crossing: Crossing): string {
    return owner === ROOT
      ? `module.${crossing.producer}.${this.outputNames.get(crossing.key)}`
      : `var.${this.inputNames.get(owner)?.get(crossing.key)}`;
  }

  private cross(consumer: string, crossing: Crossing): void {
    this.crossings.set(crossing.key, crossing);
    setOf(this.inputs, consumer).add(crossing.key);
  }

  private valueCrossing(entity: Entity, steps: readonly Step[]): Crossing {
    const expression = `${entity.local}${formatSteps(steps)}`;
    const ephemeral = this.isEphemeral(entity);
    return {
      key: `${entity.owner}|value|${expression}`,
      producer: entity.owner,
      base: identifier([...baseName(entity), ...steps.map((step) => String(Object.values(step)[0]))]),
      expression,
      output: { value: `\${${expression}}`, ...(ephemeral ? { ephemeral: true } : {}) },
      source: expression,
      ephemeral,
    };
  }

  /** What a list of `depends_on` comes to: addresses as the owner writes them, and what has to cross. */
  private dependencies(owner: string, entries: readonly Json[]): (string | Crossing)[] {
    const byProducer = new Map<string, Set<Entity>>();
    const order: (string | { readonly producer: string })[] = [];
    for (const entry of entries.map(String)) {
      const address = this.plainAddress(entry);
      const found = address && addressAt(address);
      const entity = found && this.entities.get(found.address);
      if (!entity) {
        order.push(address?.source ?? entry);
      } else if (entity.owner === owner || entity.kind === "variable") {
        order.push(entity.local);
      } else {
        setOf(byProducer, entity.owner).add(entity);
        order.push({ producer: entity.owner });
      }
    }
    const crossings = new Map(
      [...byProducer].map(([producer, set]) => [producer, this.readyCrossings(producer, [...set])]),
    );
    const result = order.flatMap((entry): (string | Crossing)[] =>
      typeof entry === "string" ? [entry] : (crossings.get(entry.producer) ?? []),
    );
    const seen = new Set<string>();
    return result.filter((entry) => {
      const key = typeof entry === "string" ? entry : entry.key;
      return !seen.has(key) && seen.add(key);
    });
  }

  private readyCrossings(producer: string, entities: readonly Entity[]): Crossing[] {
    const values = entities.filter((entity) => producer === ROOT || entity.kind === "local");
    const others = entities.filter((entity) => !values.includes(entity));
    const all = [...this.entities.values()].filter(
      (entity) => entity.owner === producer && entity.kind !== "local" && entity.kind !== "check",
    );
    const whole = others.length === all.length && others.length > 1;
    const ready = (group: readonly Entity[], base: string, source: string): Crossing => ({
      key: `${producer}|ready|${source}`,
      producer,
      base,
      expression: "",
      output: { value: true, depends_on: group.map((entity) => entity.local).sort(compareText) },
      source,
      ephemeral: false,
    });
    return [
      ...values.map((entity) => this.valueCrossing(entity, [])),
      ...(whole
        ? [ready(all, "ready", "Every resource")]
        : others.map((entity) => ready([entity], identifier([...baseName(entity), "ready"]), entity.local))),
    ];
  }

  private isEphemeral(entity: Entity): boolean {
    const known = this.ephemerals.get(entity.address);
    if (known !== undefined) {
      return known;
    }
    this.ephemerals.set(entity.address, false);
    const result =
      entity.kind === "ephemeral" ||
      (entity.kind === "variable" && objectOf(entity.body).ephemeral === true) ||
      (entity.kind === "local" &&
        textsOf(entity.body)
          .flatMap((text) => this.parse(text, mentionsOfTemplate).traversals)
          .map((traversal) => this.target(traversal, NO_CONTEXT)?.entity)
          .some((target) => target !== undefined && this.isEphemeral(target)));
    this.ephemerals.set(entity.address, result);
    return result;
  }

  private useProvider(owner: string, name: string): void {
    setOf(this.providers, owner).add(name);
  }

  private allocateNames(): void {
    const all = [...this.crossings.values()].sort((a, b) => compareText(a.key, b.key));
    for (const { callName } of this.ownership.boundaries) {
      const outputs = all.filter(({ producer }) => producer === callName);
      for (const [key, name] of uniqueNames(outputs, [])) {
        this.outputNames.set(key, name);
      }
    }
    for (const { callName } of this.ownership.boundaries) {
      const wanted = all
        .filter(({ key }) => this.inputs.get(callName)?.has(key))
        .map((crossing) => {
          const output = this.outputNames.get(crossing.key);
          return { key: crossing.key, base: output ? `${crossing.producer}_${output}` : crossing.base };
        });
      this.inputNames.set(callName, uniqueNames(wanted, [...(this.passed.get(callName) ?? []), ...RESERVED_INPUTS]));
    }
  }

  private assemble(files: Map<string, Record<string, Json>>): Emitted {
    const root: Record<string, Json> = { ...files.get(ROOT) };
    root.terraform = withProviderSources(objectOf(root.terraform));
    const calls: Record<string, Json> = { ...objectOf(root.module) };
    const modules = new Map<string, JsonObject>();
    for (const { callName, directory } of this.ownership.boundaries) {
      const blocks = files.get(callName);
      if (!blocks) {
        continue;
      }
      const { providers, requiredProviders } = this.providersOf(callName, objectOf(root.terraform));
      const { variable, call } = this.inputsOf(callName);
      calls[callName] = { source: `./modules/${directory}`, ...providers, ...call };
      modules.set(
        directory,
        withoutEmpty({
          terraform: withoutEmpty({ required_providers: requiredProviders }),
          variable,
          ...blocks,
          output: this.outputsOf(callName),
        }),
      );
    }
    root.module = calls;
    const addresses = new Map(
      [...this.entities.values()].map((entity) => [
        entity.address,
        entity.owner === ROOT ? entity.address : `module.${entity.owner}.${entity.local}`,
      ]),
    );
    return { root: withoutEmpty(root), modules, addresses };
  }

  private providersOf(
    callName: string,
    terraform: JsonObject,
  ): { providers: JsonObject; requiredProviders: JsonObject } {
    const required = objectOf(terraform.required_providers);
    const used = [...(this.providers.get(callName) ?? [])].sort(compareText);
    const aliases = used.filter((name) => name.includes("."));
    const requiredProviders: Record<string, Json> = {};
    const passed: Record<string, Json> = {};
    for (const name of new Set(used.map((provider) => provider.split(".")[0] as string))) {
      const own = aliases.filter((alias) => alias.startsWith(`${name}.`));
      if (name in required || own.length > 0) {
        requiredProviders[name] = {
          ...objectOf(required[name]),
          ...(own.length > 0 ? { configuration_aliases: own } : {}),
        };
      }
      if (used.includes(name) && name in required) {
        passed[name] = name;
      }
      for (const alias of own) {
        passed[alias] = alias;
      }
    }
    return { providers: aliases.length > 0 ? { providers: passed } : {}, requiredProviders };
  }

  private inputsOf(callName: string): { variable: JsonObject; call: JsonObject } {
    const variable: Record<string, Json> = {};
    const call: Record<string, Json> = {};
    for (const name of this.passed.get(callName) ?? []) {
      const declared = objectOf(this.entities.get(`var.${name}`)?.body);
      const kept = ["type", "description", "sensitive", "nullable", "ephemeral"].filter((key) => key in declared);
      variable[name] = {
        description: `Variable ${name} of the root.`,
        ...Object.fromEntries(kept.map((key) => [key, declared[key] as Json])),
      };
      call[name] = `\${var.${name}}`;
    }
    for (const [key, name] of this.inputNames.get(callName) ?? []) {
      const crossing = this.crossings.get(key) as Crossing;
      variable[name] = {
        description: `${crossing.source} of ${ownerText(crossing.producer)}.`,
        ...(crossing.ephemeral ? { ephemeral: true } : {}),
      };
      call[name] =
        crossing.producer === ROOT
          ? `\${${crossing.expression}}`
          : `\${module.${crossing.producer}.${this.outputNames.get(key)}}`;
    }
    return { variable, call };
  }

  private outputsOf(callName: string): JsonObject {
    const output: Record<string, Json> = {};
    for (const crossing of this.crossings.values()) {
      if (crossing.producer === callName) {
        const readers = [...this.inputs]
          .filter(([, keys]) => keys.has(crossing.key))
          .map(([consumer]) => ownerText(consumer));
        output[this.outputNames.get(crossing.key) as string] = {
          description: `Read by ${readers.sort(compareText).join(", ")}.`,
          ...crossing.output,
        };
      }
    }
    return output;
  }
}

/** What surrounds a reference: whether it may go unevaluated, and the addresses that mean something local to the block. */
interface Context {
  readonly guarded: boolean;
  readonly scoped: ReadonlySet<string>;
}

const NO_CONTEXT: Context = { guarded: false, scoped: new Set() };

interface Target {
  readonly entity: Entity;
  readonly traversal: Traversal;
  /** How many steps the address itself takes. */
  readonly depth: number;
}

function contextOf({ kind, body }: Entity): Context {
  let guarded: boolean | undefined;
  const scoped = Object.entries(kind === "check" ? objectOf(objectOf(body).data) : {}).flatMap(([type, byName]) =>
    Object.keys(objectOf(byName)).map((name) => addressOf("data", type, name)),
  );
  return {
    // Looked up only for what crosses: most blocks have nothing that does.
    get guarded() {
      const { count, for_each: forEach } = objectOf(body);
      guarded ??= count !== undefined || forEach !== undefined || hasDynamic(body);
      return guarded;
    },
    scoped: new Set(scoped),
  };
}

function hasDynamic(value: Json): boolean {
  return Array.isArray(value)
    ? value.some(hasDynamic)
    : isObject(value) && ("dynamic" in value || Object.values(value).some(hasDynamic));
}

/**
 * The steps that cross with a reference. All static ones, unless the reference may go unevaluated: an output is always evaluated, so
 * only what cannot fail crosses (the block, or one attribute of a single one) and the consumer takes the rest of the way.
 */
function crossingSteps({ entity, traversal, depth }: Target, context: Context): readonly Step[] {
  const steps = traversal.steps.slice(depth);
  if (!context.guarded && !traversal.guarded) {
    return steps;
  }
  const body = objectOf(entity.body);
  const single = entity.kind !== "local" && !("count" in body) && !("for_each" in body);
  const [first] = steps;
  return single && first && "attribute" in first ? [first] : [];
}

function addressOf(kind: Kind, type: string, id: string): string {
  switch (kind) {
    case "resource":
      return `${type}.${id}`;
    case "data":
    case "ephemeral":
      return `${kind}.${type}.${id}`;
    case "variable":
      return `var.${id}`;
    default:
      return `${kind}.${id}`;
  }
}

/** The flat address that a traversal begins with, whether or not such a block exists, and how many steps it takes. */
function addressAt(
  traversal: Pick<Traversal, "root" | "steps">,
): { kind: Kind; type: string; id: string; address: string; depth: number } | undefined {
  const names = traversal.steps.map((step) => ("attribute" in step ? step.attribute : undefined));
  const [first, second] = names;
  const found = (kind: Kind, type: string, id: string | undefined, depth: number) =>
    id === undefined ? undefined : { kind, type, id, depth, address: addressOf(kind, type, id) };
  switch (traversal.root) {
    case "var":
      return found("variable", "", first, 1);
    case "local":
    case "module":
      return found(traversal.root, "", first, 1);
    case "data":
    case "ephemeral":
      return first === undefined ? undefined : found(traversal.root, first, second, 2);
    default:
      return found("resource", traversal.root, first, 1);
  }
}

/** The id without the prefix of the module; a block that is called like its module is its main one. */
function localName(owner: string, id: string): string {
  if (owner === ROOT) {
    return id;
  }
  return id === owner ? UNNAMED_RESOURCE : id.startsWith(`${owner}_`) ? id.slice(owner.length + 1) : id;
}

function baseName(entity: Entity): string[] {
  switch (entity.kind) {
    case "resource":
      return [withoutProvider(entity.type), entity.name];
    case "data":
    case "ephemeral":
      return [entity.kind, withoutProvider(entity.type), entity.name];
    case "local":
      return ["local", entity.name];
    default:
      return [entity.name];
  }
}

function withoutProvider(type: string): string {
  const separator = type.indexOf("_");
  return separator < 0 ? type : type.slice(separator + 1);
}

function providerOfType(type: string): string {
  return type.split("_")[0] as string;
}

function identifier(parts: readonly string[]): string {
  return parts
    .join("_")
    .replace(/[^A-Za-z0-9_]+/g, "_")
    .replace(/^(?=\d)/, "_");
}

/** Gives each wanted name once: the name itself, or with the first free number when several want it or it is taken. */
function uniqueNames(wanted: readonly { key: string; base: string }[], taken: readonly string[]): Map<string, string> {
  const bases = new Set(wanted.map(({ base }) => base));
  const used = new Set(taken);
  const names = new Map<string, string>();
  for (const { key, base } of [...wanted].sort((a, b) => compareText(a.base, b.base) || compareText(a.key, b.key))) {
    let name = base;
    for (let count = 2; used.has(name) || (name !== base && bases.has(name)); count += 1) {
      name = `${base}_${count}`;
    }
    used.add(name);
    names.set(key, name);
  }
  return names;
}

function mapBlock(kind: Kind | "output" | "provider", body: Json, visitor: Visitor): Json {
  if (kind === "local") {
    return mapTemplates(body, visitor);
  }
  if (Array.isArray(body)) {
    return body.map((entry) => mapBlock(kind, entry, visitor));
  }
  return mapEntries(objectOf(body), (key, value) => {
    if (key === "//") {
      return value;
    }
    switch (kind) {
      case "variable":
        return key === "validation" ? mapTemplates(value, visitor) : value;
      case "output":
        return key === "description" ? value : mapArgument(key, value, visitor);
      case "provider":
        return key === "alias" || key === "version" ? value : mapTemplates(value, visitor);
      case "module":
        return mapModuleArgument(key, value, visitor);
      case "check":
        return key === "data" ? mapScopedData(value, visitor) : mapTemplates(value, visitor);
      default:
        return mapArgument(key, value, visitor);
    }
  });
}

function mapArgument(key: string, value: Json, visitor: Visitor): Json {
  switch (key) {
    case "depends_on":
      return visitor.dependsOn(listOf(value));
    case "provider":
      return typeof value === "string" ? visitor.provider(value) : value;
    case "lifecycle":
      return Array.isArray(value) ? value.map((entry) => mapLifecycle(entry, visitor)) : mapLifecycle(value, visitor);
    default:
      return mapTemplates(value, visitor);
  }
}

function mapLifecycle(lifecycle: Json, visitor: Visitor): Json {
  return mapEntries(objectOf(lifecycle), (key, value) => {
    switch (key) {
      case "ignore_changes":
        return value;
      case "replace_triggered_by":
        return listOf(value).map((entry) => visitor.trigger(String(entry)));
      default:
        return mapTemplates(value, visitor);
    }
  });
}

function mapModuleArgument(key: string, value: Json, visitor: Visitor): Json {
  switch (key) {
    case "source":
      return typeof value === "string" ? visitor.source(value) : value;
    case "version":
      return value;
    case "providers":
      return mapEntries(objectOf(value), (_name, provider) => visitor.provider(String(provider)));
    default:
      return mapArgument(key, value, visitor);
  }
}

function mapScopedData(data: Json, visitor: Visitor): Json {
  return mapEntries(objectOf(data), (_type, byName) =>
    mapEntries(objectOf(byName), (_name, body) => mapBlock("data", body, visitor)),
  );
}

function mapEntries(object: JsonObject, map: (key: string, value: Json) => Json): JsonObject {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(key, value)]));
}

/**
 * Maps every text, keys included: Terraform reads the keys of a JSON object as templates too. What does not change is not copied;
 * that is most of a configuration.
 */
function mapTemplates(value: Json, visitor: Visitor): Json {
  if (typeof value === "string") {
    return isTemplate(value) ? visitor.template(value) : value;
  }
  if (Array.isArray(value)) {
    const mapped = value.map((entry) => mapTemplates(entry, visitor));
    return mapped.every((entry, index) => entry === value[index]) ? value : mapped;
  }
  if (!isObject(value)) {
    return value;
  }
  let mapped: Record<string, Json> | undefined;
  for (const key of Object.keys(value)) {
    const entry = value[key] as Json;
    const newEntry = key === "//" ? entry : mapTemplates(entry, visitor);
    const newKey = isTemplate(key) ? visitor.template(key) : key;
    if (mapped === undefined && (newEntry !== entry || newKey !== key)) {
      mapped = {};
      for (const before of Object.keys(value)) {
        if (before === key) {
          break;
        }
        mapped[before] = value[before] as Json;
      }
    }
    if (mapped !== undefined) {
      mapped[newKey] = newEntry;
    }
  }
  return mapped ?? value;
}

function textsOf(value: Json): string[] {
  if (typeof value === "string") {
    return [value];
  }
  return Array.isArray(value)
    ? value.flatMap(textsOf)
    : Object.entries(objectOf(value)).flatMap(([key, entry]) => [key, ...textsOf(entry)]);
}

function firstTraversal(source: string): Traversal | undefined {
  try {
    return mentionsOfExpression(source).traversals.find(({ start }) => start === 0);
  } catch (error) {
    if (error instanceof HclSyntaxError) {
      return undefined;
    }
    throw error;
  }
}

/** Providers without a namespace are HashiCorp's; written out, as Terraform's own documentation does. */
function withProviderSources(terraform: JsonObject): JsonObject {
  if (!isObject(terraform.required_providers)) {
    return terraform;
  }
  const providers = mapEntries(terraform.required_providers, (_name, provider) => {
    const { source } = objectOf(provider);
    return typeof source === "string" && !source.includes("/")
      ? { ...objectOf(provider), source: `hashicorp/${source}` }
      : provider;
  });
  return { ...terraform, required_providers: providers };
}

function ownerText(owner: string): string {
  return owner === ROOT ? "the root" : `module.${owner}`;
}

function setOf<K, V>(sets: Map<K, Set<V>>, key: K): Set<V> {
  const set = sets.get(key) ?? new Set<V>();
  sets.set(key, set);
  return set;
}

function withoutEmpty(object: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(object).filter(([, value]) => !isObject(value) || Object.keys(value).length > 0),
  );
}
