import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import {
  TerraformDataSource,
  TerraformElement,
  type TerraformMetaArguments,
  TerraformProvider,
  TerraformResource,
  Token,
} from "cdktf";
import type { Construct } from "constructs";
import { afterEach } from "vitest";
import { type JsonObject, ModularApp, ModularStack, Module, type RenderedStack } from "../../../lib/terraform-modules";

export class TestModule extends Module {}

/** A resource of any type with any arguments, as cdktf's bindings would make it. */
export class TestResource extends TerraformResource {
  public constructor(
    scope: Construct,
    id: string,
    type: string,
    private readonly attributes: Record<string, unknown> = {},
    meta: TerraformMetaArguments = {},
  ) {
    super(scope, id, { terraformResourceType: type, ...meta });
  }

  public attribute(path: string): string {
    return Token.asString(this.interpolationForAttribute(path));
  }

  protected override synthesizeAttributes(): Record<string, unknown> {
    return this.attributes;
  }
}

/** A data source of any type. */
export class TestData extends TerraformDataSource {
  public constructor(
    scope: Construct,
    id: string,
    type: string,
    private readonly attributes: Record<string, unknown> = {},
    meta: TerraformMetaArguments = {},
  ) {
    super(scope, id, { terraformResourceType: type, ...meta });
  }

  public attribute(path: string): string {
    return Token.asString(this.interpolationForAttribute(path));
  }

  protected override synthesizeAttributes(): Record<string, unknown> {
    return this.attributes;
  }
}

/** A provider configuration of any name. */
export class TestProvider extends TerraformProvider {
  private readonly configuredAlias: string | undefined;

  public constructor(scope: Construct, id: string, name: string, alias?: string, version = "1.0.0") {
    super(scope, id, {
      terraformResourceType: name,
      terraformProviderSource: name,
      terraformGeneratorMetadata: { providerName: name, providerVersion: version },
    });
    this.configuredAlias = alias;
  }

  public override get alias(): string | undefined {
    return this.configuredAlias;
  }

  public override set alias(_alias: string | undefined) {}
}

/** Any blocks at all, for those that cdktf has no class for. */
export class TestBlocks extends TerraformElement {
  public constructor(
    scope: Construct,
    id: string,
    private readonly blocks: Record<string, unknown>,
  ) {
    super(scope, id);
  }

  public override toTerraform(): Record<string, unknown> {
    return this.blocks;
  }
}

/** Builds one stack called `prod` and renders it. */
export function render(build: (stack: ModularStack) => void): RenderedStack {
  const app = new ModularApp({ outdir: "never-written" });
  const stack = new ModularStack(app, "prod");
  build(stack);
  return app.render()[0] as RenderedStack;
}

/** The emitted files of a stack; `modules` by directory. */
export function emitted(build: (stack: ModularStack) => void): {
  root: JsonObject;
  modules: Record<string, JsonObject>;
} {
  const { root, modules } = render(build).emitted;
  return { root, modules: Object.fromEntries(modules) };
}

/** A folder for the tests of one file, emptied after each test. */
export function scratchFolders(): () => string {
  const folders: string[] = [];
  afterEach(() => {
    for (const folder of folders.splice(0)) {
      rmSync(folder, { recursive: true, force: true });
    }
  });
  return () => {
    const folder = mkdtempSync(join(tmpdir(), "terraform-modules-test-"));
    folders.push(folder);
    return folder;
  };
}

/** Every file below a folder with its text. */
export function filesBelow(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = entries.map((entry) => join(entry.parentPath, entry.name)).sort();
  return Object.fromEntries(paths.map((path) => [relative(folder, path), readFileSync(path, "utf8")]));
}
