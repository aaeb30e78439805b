import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join, relative, sep } from "node:path";
import {
  AssetType,
  type ISynthesisSession,
  LocalBackend,
  Manifest,
  TerraformAsset,
  TerraformElement,
  TerraformOutput,
  TerraformResource,
  TerraformStack,
} from "cdktf";
import type { Construct, IConstruct, Node } from "constructs";
import { invokeAspects } from "./aspects";
import { Asset } from "./asset";
import { EmitError, type Emitted, emit, type Ownership } from "./emit";
import { isIdentifier, logicalId } from "./ids";
import { formatJson, isObject, type Json, type JsonObject, listOf, objectOf } from "./json";
import { Module } from "./module";
import { STACK_FILES, writeFolder } from "./output";
import { messageOf, problemOf, SynthError } from "./problems";
import { parseAddress } from "./references";
import { resolveIn } from "./resolve";

/** Files of a stack by path relative to its root, with `/` as separator. */
export type Files = ReadonlyMap<string, Buffer>;

/** A stack as it will be written, with every problem found on the way; without problems it is complete. */
export interface RenderedStack {
  readonly stack: ModularStack;
  /** The stack as one configuration without modules, the form that cdktf itself writes. */
  readonly flat: JsonObject;
  readonly emitted: Emitted;
  readonly assets: Files;
  /** Everything below the stack's folder: `cdk.tf.json`, `modules/…`, `assets/…`. */
  readonly files: Files;
  readonly problems: readonly string[];
}

type Mutable = { [key: string]: Json };

const CUSTOM_SYNTHESIS = Symbol.for("cdktf/customSynthesis");
const STACK = Symbol.for("urr/terraform-modules/ModularStack");
const NAMED_BLOCKS = ["locals", "variable", "output", "module", "check"];
const TYPED_BLOCKS = ["resource", "data", "ephemeral"];

/**
 * A stack that is written as a root and one Terraform module per {@link Module}. Names of blocks are the construct ids below the
 * stack (or the module), joined by `_`, without hashes.
 */
export class ModularStack extends TerraformStack {
  private readonly overrides: [path: string[], value: unknown][] = [];
  private readonly ownFiles = new Map<string, Buffer>();
  private resolving: IConstruct = this;

  public constructor(scope: Construct, id: string) {
    super(scope, id);
    Object.defineProperty(this, STACK, { value: true });
    this.synthesizer = { synthesize: (session) => synthesizeAlone(this, session) };
  }

  public static isModularStack(construct: unknown): construct is ModularStack {
    return typeof construct === "object" && construct !== null && STACK in construct;
  }

  /** The construct whose tokens are being resolved: where a reference to another stack was used. */
  public get resolvingPath(): string {
    return this.resolving.node.path;
  }

  /** Version of cdktf, as its app notes it. */
  private get version(): string {
    return String(this.node.tryGetContext("cdktfVersion"));
  }

  /** Merges a value into the flat configuration, as in cdktf. */
  public override addOverride(path: string, value: unknown): void {
    super.addOverride(path, value);
    this.overrides.push([path.split("."), value]);
  }

  /** Puts a file beside the root as it is, under a name that Terraform gives a meaning to (`terraform.tfvars`). */
  public addFile(fileName: string, content: Buffer | string): void {
    this.ownFiles.set(fileName, Buffer.from(content));
  }

  /** Keeps a state file without a backend inside the stack's folder, so that no path of this machine is written. */
  public override ensureBackendExists(): ReturnType<TerraformStack["ensureBackendExists"]> {
    const backend = this.node.findAll().find((construct) => construct.node.id === "backend" && isBackend(construct));
    if (!backend) {
      new LocalBackend(this, { path: `terraform.${this.node.id}.tfstate` });
    }
    return super.ensureBackendExists();
  }

  /** Nothing to prepare but the backend: references between stacks, for which cdktf prepares, are refused. */
  public override prepareStack(): void {
    this.ensureBackendExists();
  }

  /** The stack as one configuration without modules. */
  public override toTerraform(): JsonObject {
    const { flat, problems } = this.flatten();
    if (problems.length > 0) {
      throw new SynthError(problems);
    }
    return flat;
  }

  /** Computes everything the stack writes; writes nothing. */
  public render(): RenderedStack {
    const { flat, ownership, problems } = this.flatten();
    const assets = this.collectAssets(problems);
    let emitted: Emitted = { root: {}, modules: new Map(), addresses: new Map() };
    try {
      emitted = emit(flat, ownership);
    } catch (error) {
      const messages = error instanceof EmitError ? error.problems : [messageOf(error)];
      problems.push(...messages.map((message) => problemOf(this, message)));
    }
    const files = new Map<string, Buffer>([["cdk.tf.json", Buffer.from(formatJson(emitted.root))]]);
    for (const [directory, file] of emitted.modules) {
      files.set(`modules/${directory}/main.tf.json`, Buffer.from(formatJson(file)));
    }
    for (const [path, content] of [...assets, ...this.ownFiles]) {
      files.set(path, content);
    }
    return { stack: this, flat, emitted, assets, files, problems };
  }

  protected override allocateLogicalId(tfElement: TerraformElement | Node): string {
    const node = TerraformElement.isTerraformElement(tfElement) ? tfElement.node : (tfElement as Node);
    const scopes = node.scopes;
    return logicalId(scopes.slice(scopes.indexOf(this) + 1).map((construct) => construct.node.id));
  }

  private flatten(): { flat: JsonObject; ownership: Ownership; problems: string[] } {
    this.ensureBackendExists();
    const problems: string[] = [];
    const owners = new Map<string, string>();
    const origins = new Map<string, IConstruct>();
    const flat: Mutable = {};
    const metadata: Mutable = { version: this.version, stackName: this.node.id, backend: "local" };
    const outputs: Mutable = {};
    for (const element of this.elements()) {
      this.resolving = element;
      try {
        const fragment = objectOf(resolveIn(this, element.toTerraform()));
        this.register(element, fragment, origins, owners, problems);
        const elementMetadata: object = element.toMetadata();
        if (Object.values(elementMetadata).some((value) => value !== undefined)) {
          merge(metadata, objectOf(resolveIn(this, elementMetadata)));
        }
        merge(flat, fragment);
        if (TerraformOutput.isTerraformOutput(element)) {
          merge(outputs, nested(element.node.path.split("/"), element.friendlyUniqueId));
        }
      } catch (error) {
        problems.push(problemOf(element, messageOf(error)));
      }
    }
    this.resolving = this;
    if (this.overrides.length > 0) {
      const blocks = new Set(this.overrides.map(([path]) => path[0] as string));
      metadata.overrides = { ...objectOf(metadata.overrides), stack: [...blocks] };
    }
    for (const [path, value] of this.overrides) {
      override(flat, path, value === undefined ? undefined : resolveIn(this, value));
    }
    const boundaries = this.node.findAll().filter(Module.isModule);
    expandModuleDependencies(flat, membersOf(owners));
    problems.push(...this.providerProblems(flat), ...this.backendProblems(flat));
    return {
      flat: { "//": { metadata, outputs }, ...flat },
      ownership: { boundaries: boundaries.map(({ callName, directory }) => ({ callName, directory })), owners },
      problems,
    };
  }

  private elements(): TerraformElement[] {
    const into: TerraformElement[] = [];
    const visit = (construct: IConstruct): void => {
      if (TerraformElement.isTerraformElement(construct)) {
        into.push(construct);
      }
      for (const child of construct.node.children) {
        if (!TerraformStack.isStack(child)) {
          visit(child);
        }
      }
    };
    visit(this);
    return into;
  }

  /** Notes which blocks an element makes, whose they are, and whether the names are free and valid. */
  private register(
    element: TerraformElement,
    fragment: JsonObject,
    origins: Map<string, IConstruct>,
    owners: Map<string, string>,
    problems: string[],
  ): void {
    const owner = Module.of(element)?.callName;
    const addresses = addressesOf(fragment);
    for (const { address, id } of addresses) {
      const other = origins.get(address);
      if (other && other !== element) {
        problems.push(
          problemOf(
            element,
            `${address} is also the name of ${other.node.path}; blocks of one kind need names of their own within the stack. ` +
              "Give one of the two constructs another id.",
          ),
        );
      }
      origins.set(address, element);
      const local = owner !== undefined && id.startsWith(`${owner}_`) ? id.slice(owner.length + 1) : id;
      if (!isIdentifier(local)) {
        problems.push(
          problemOf(
            element,
            `id: given ${JSON.stringify(local)}; allowed: letters, digits, dashes and underscores, not beginning with a digit. ` +
              "It becomes the name of the block.",
          ),
        );
      }
    }
    if (owner !== undefined) {
      for (const { address } of addresses) {
        owners.set(address, owner);
      }
      if (TerraformResource.isTerraformResource(element)) {
        owners.set(`${element.terraformResourceType}.${element.friendlyUniqueId}`, owner);
      }
    }
  }

  private providerProblems(flat: JsonObject): string[] {
    return Object.entries(objectOf(flat.provider)).flatMap(([name, configurations]) => {
      const aliases = listOf(configurations).map((configuration) => objectOf(configuration).alias ?? "");
      const repeated = new Set(aliases.filter((alias, index) => aliases.indexOf(alias) !== index));
      return [...repeated].map((alias) =>
        problemOf(
          this,
          `provider ${name}: ${alias === "" ? "two configurations without alias" : `two configurations with the alias ${alias}`}; ` +
            "Terraform takes one. Give each but one an alias of its own.",
        ),
      );
    });
  }

  private backendProblems(flat: JsonObject): string[] {
    const { path } = objectOf(objectOf(objectOf(flat.terraform).backend).local);
    return typeof path === "string" && isAbsolute(path)
      ? [
          problemOf(
            this,
            `local backend, path: given ${JSON.stringify(path)}; allowed: a path relative to the stack's folder, because the ` +
              "output must be the same on every machine. cdktf makes it absolute when none is given: name one.",
          ),
        ]
      : [];
  }

  private collectAssets(problems: string[]): Files {
    const files = new Map<string, Buffer>();
    const constructs = this.node.findAll().filter((construct) => TerraformStack.of(construct) === this);
    for (const construct of constructs) {
      if (Asset.isAsset(construct)) {
        for (const [path, content] of construct.files) {
          files.set(path, content);
        }
      }
    }
    const custom = constructs.filter((construct) => CUSTOM_SYNTHESIS in construct);
    const archives = custom.filter(
      (construct) => construct instanceof TerraformAsset && construct.type === AssetType.ARCHIVE,
    );
    problems.push(
      ...archives.map((construct) =>
        problemOf(
          construct,
          "AssetType.ARCHIVE makes zips that differ from run to run; make the zip and pass it as an Asset.",
        ),
      ),
    );
    if (custom.length > 0 && archives.length === 0) {
      for (const [path, content] of this.runCustomSynthesis(custom, problems)) {
        files.set(path, content);
      }
    }
    return files;
  }

  /** Lets constructs that write files by themselves (cdktf's own assets) do so in a scratch folder, and takes what they wrote. */
  private runCustomSynthesis(constructs: readonly IConstruct[], problems: string[]): Files {
    const scratch = mkdtempSync(join(tmpdir(), "terraform-modules-"));
    try {
      const manifest = new Manifest(this.version, scratch, false);
      const session: ISynthesisSession = { outdir: scratch, manifest };
      for (const construct of constructs) {
        try {
          customSynthesisOf(construct).onSynthesize(session);
        } catch (error) {
          problems.push(problemOf(construct, messageOf(error)));
        }
      }
      return readFiles(join(scratch, manifest.forStack(this).workingDirectory));
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }
}

/** Runs the validations of every construct below (and including) one; each problem with the path of its construct. */
export function validate(root: IConstruct): string[] {
  return root.node.findAll().flatMap((construct) => {
    try {
      return construct.node.validate().map((message) => problemOf(construct, message));
    } catch (error) {
      return [problemOf(construct, messageOf(error))];
    }
  });
}

/** For callers that synthesize one stack by itself, such as cdktf's `Testing.fullSynth`. */
function synthesizeAlone(stack: ModularStack, session: ISynthesisSession): void {
  invokeAspects(stack);
  const problems = session.skipValidation ? [] : validate(stack);
  const rendered = stack.render();
  problems.push(...rendered.problems);
  if (problems.length > 0) {
    throw new SynthError(problems);
  }
  writeFolder(join(session.outdir, session.manifest.forStack(stack).workingDirectory), rendered.files, STACK_FILES);
}

function isBackend(construct: IConstruct): boolean {
  return Symbol.for("cdktf/TerraformBackend") in construct;
}

function customSynthesisOf(construct: IConstruct): { onSynthesize(session: ISynthesisSession): void } {
  return (construct as unknown as Record<symbol, { onSynthesize(session: ISynthesisSession): void }>)[
    CUSTOM_SYNTHESIS
  ] as {
    onSynthesize(session: ISynthesisSession): void;
  };
}

function readFiles(directory: string): Files {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  return new Map(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [relative(directory, path).split(sep).join("/"), readFileSync(path)]),
  );
}

function addressesOf(fragment: JsonObject): { address: string; id: string }[] {
  const typed = TYPED_BLOCKS.flatMap((block) =>
    Object.entries(objectOf(fragment[block])).flatMap(([type, byId]) =>
      Object.keys(objectOf(byId)).map((id) => ({
        address: block === "resource" ? `${type}.${id}` : `${block}.${type}.${id}`,
        id,
      })),
    ),
  );
  const prefixes: Record<string, string> = { locals: "local", variable: "var" };
  const named = NAMED_BLOCKS.flatMap((block) =>
    Object.keys(objectOf(fragment[block])).map((id) => ({ address: `${prefixes[block] ?? block}.${id}`, id })),
  );
  return [...typed, ...named];
}

/** What waiting for a module waits for, by call name: its resources, data sources and module calls. */
function membersOf(owners: ReadonlyMap<string, string>): Map<string, string[]> {
  const members = new Map<string, string[]>();
  for (const [address, owner] of owners) {
    if (!/^(local|output|var|check)\./.test(address)) {
      members.set(owner, [...(members.get(owner) ?? []), address]);
    }
  }
  return members;
}

/** The flat form has no modules to depend on: a dependency on one is a dependency on everything in it. */
function expandModuleDependencies(flat: Mutable, members: ReadonlyMap<string, string[]>): void {
  const expand = (body: Json | undefined): void => {
    if (isObject(body) && Array.isArray(body.depends_on)) {
      (body as Mutable).depends_on = body.depends_on.flatMap((entry: Json): Json[] => {
        const address = String(entry).includes("module.") ? parseAddress(String(entry)) : undefined;
        const [step] = address?.steps ?? [];
        const found =
          address?.root === "module" && address.steps.length === 1 && step && "attribute" in step
            ? members.get(step.attribute)
            : undefined;
        return found ?? [entry];
      });
    }
  };
  for (const block of TYPED_BLOCKS) {
    for (const byId of Object.values(objectOf(flat[block]))) {
      Object.values(objectOf(byId)).forEach(expand);
    }
  }
  for (const block of ["module", "output"]) {
    Object.values(objectOf(flat[block])).forEach(expand);
  }
}

function nested(path: readonly string[], value: Json): JsonObject {
  const [first, ...rest] = path;
  return { [first as string]: rest.length > 0 ? nested(rest, value) : value };
}

/** Merges as cdktf does: objects by key, lists by joining them, anything else by replacing. */
function merge(target: Mutable, source: JsonObject): void {
  for (const [key, value] of Object.entries(source)) {
    const before = target[key];
    if (isObject(value)) {
      const child: Mutable = isObject(before) ? (before as Mutable) : {};
      target[key] = child;
      merge(child, value);
    } else if (Array.isArray(value) && Array.isArray(before)) {
      target[key] = [...before, ...value];
    } else {
      target[key] = value;
    }
  }
}

function override(target: Mutable, path: readonly string[], value: Json | undefined): void {
  const [key, ...rest] = path as [string, ...string[]];
  if (rest.length > 0) {
    const child: Mutable = isObject(target[key]) ? (target[key] as Mutable) : {};
    target[key] = child;
    override(child, rest, value);
  } else if (value === undefined) {
    delete target[key];
  } else {
    merge(target, { [key]: value });
  }
}
