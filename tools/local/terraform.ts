import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

/** A JSON object of the synthesized configuration. */
export type Block = { readonly [key: string]: unknown };

interface ModuleFile {
  readonly resource?: Record<string, Record<string, Block>>;
  readonly output?: Record<string, { readonly value: unknown }>;
}

/** A resource with where it stands. */
export interface Resource {
  /** Call name of its module, such as `lambda_vwr`. */
  readonly module: string;
  readonly type: string;
  readonly name: string;
  readonly block: Block;
}

const REFERENCE = /\$\$\{|%%\{|\$\{([^}]+)\}/g;

/**
 * A synthesized stack, read as Terraform reads it as far as a local run needs: references are followed through modules;
 * passwords are made up once; what only AWS knows becomes `<module>:<type>.<name>.<attribute>`.
 */
export class SynthesizedStack {
  private readonly root: Block;
  private readonly modules = new Map<string, ModuleFile>();
  private readonly calls: Record<string, Block>;
  private readonly passwords = new Map<string, string>();

  constructor(readonly directory: string) {
    const file = path.join(directory, "cdk.tf.json");
    if (!existsSync(file)) {
      throw new Error(`${file} is missing. Run \`npm run synth\` first.`);
    }
    this.root = readJson(file) as Block;
    this.calls = (this.root.module ?? {}) as Record<string, Block>;
    for (const [name, call] of Object.entries(this.calls)) {
      this.modules.set(name, readJson(path.join(directory, String(call.source), "main.tf.json")) as ModuleFile);
    }
  }

  /** Home Region, from the default provider. */
  get region(): string {
    const [provider] = (this.root.provider as { aws: Block[] }).aws;
    return String(provider?.region);
  }

  /** All resources of a type, in one module or in all. */
  resources(type: string, module?: string): Resource[] {
    const found: Resource[] = [];
    for (const [name, file] of this.modules) {
      if (module === undefined || module === name) {
        for (const [resource, block] of Object.entries(file.resource?.[type] ?? {})) {
          found.push({ module: name, type, name: resource, block });
        }
      }
    }
    return found;
  }

  /** The only resource of its type in the module. */
  single(type: string, module: string, name?: string): Resource {
    const found = this.resources(type, module).filter((one) => name === undefined || one.name === name);
    if (found.length !== 1) {
      const which = name === undefined ? type : `${type}.${name}`;
      throw new Error(`${this.directory}: ${found.length} of ${which} in module ${module}; the local run needs one.`);
    }
    return found[0] as Resource;
  }

  /** The text with every reference replaced, and Terraform's escapes undone. */
  text(resource: Resource, value: unknown): string {
    return this.resolve(resource.module, String(value));
  }

  /** The resource that a reference such as `${aws_lambda_function.api.invoke_arn}` leads to. */
  follow(resource: Resource, reference: unknown): Resource {
    const [, module, type, name] = /^([^:]+):([^.]+)\.([^.]+)\./.exec(this.text(resource, reference)) ?? [];
    return this.single(type ?? String(reference), module ?? "", name);
  }

  private resolve(module: string | undefined, text: string): string {
    return text.replace(REFERENCE, (whole, expression: string | undefined) => {
      if (expression === undefined) {
        return whole.slice(1);
      }
      return this.lookUp(module, expression.trim());
    });
  }

  private lookUp(module: string | undefined, expression: string): string {
    const [head = "", second = "", third = ""] = expression.split(".");
    if (head === "var" && module !== undefined) {
      const given = this.calls[module]?.[second];
      return given === undefined ? `var.${second}` : this.resolve(undefined, String(given));
    }
    if (head === "module" && module === undefined) {
      const value = this.modules.get(second)?.output?.[third]?.value;
      return value === undefined ? expression : this.resolve(second, String(value));
    }
    const block = module === undefined ? undefined : this.modules.get(module)?.resource?.[head]?.[second];
    if (block === undefined || module === undefined) {
      return expression;
    }
    if (head === "random_password") {
      return this.password(`${module}.${second}`, Number(block.length));
    }
    const literal = block[third];
    return typeof literal === "string" ? this.resolve(module, literal) : `${module}:${head}.${second}.${third}`;
  }

  private password(key: string, length: number): string {
    const known = this.passwords.get(key);
    if (known !== undefined) {
      return known;
    }
    const made = randomBytes(length).toString("base64url").slice(0, length);
    this.passwords.set(key, made);
    return made;
  }
}

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, "utf8"));
}
