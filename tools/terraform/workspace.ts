import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/** The Terraform JSON of a root, as far as a workspace needs it. */
interface Root {
  readonly terraform?: {
    readonly required_providers?: Readonly<Record<string, { readonly source: string; readonly version: string }>>;
  };
  readonly provider?: Readonly<Record<string, readonly { readonly alias?: string }[]>>;
}

/** Folder in which a team keeps providers it cannot fetch from the registry; see `npm run providers:mirror`. */
const MIRROR_VARIABLE = "URR_TERRAFORM_PROVIDER_MIRROR";

/** Settings that keep the AWS provider from asking AWS anything while it plans. */
const OFFLINE_AWS = {
  access_key: "offline",
  secret_key: "offline",
  skip_credentials_validation: true,
  skip_requesting_account_id: true,
  skip_metadata_api_check: "true",
  skip_region_validation: true,
  allowed_account_ids: [],
};

/** What a Terraform command did. */
export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * A throw-away copy of a synthesized stack in which Terraform works without an account: local state, and providers that ask
 * nobody. The stack itself is not touched.
 */
export class OfflineWorkspace {
  readonly directory: string;
  /** Providers whose resources `init` replaced because the provider is not in reach: `random` or nothing. */
  replacedProviders: readonly string[] = [];

  /**
   * @param stackDirectory Folder of a synthesized stack.
   * @param variablesFile File with a value for every required variable.
   * @param providerAliases Aliases of the AWS provider, where the stack is not JSON and so does not tell.
   */
  constructor(stackDirectory: string, variablesFile?: string, providerAliases: readonly string[] = []) {
    this.directory = mkdtempSync(path.join(tmpdir(), "urr-terraform-"));
    cpSync(stackDirectory, this.directory, {
      recursive: true,
      filter: (source) => !/[/\\](?:\.terraform|terraform\.tfstate.*|terraform\.tfvars)$/.test(source),
    });
    if (variablesFile) cpSync(variablesFile, path.join(this.directory, "terraform.tfvars"));
    this.writeOverride(providerAliases);
  }

  /** Runs Terraform in the workspace. */
  terraform(...args: string[]): CommandResult {
    const mirror = process.env[MIRROR_VARIABLE];
    const result: SpawnSyncReturns<string> = spawnSync("terraform", args, {
      cwd: this.directory,
      encoding: "utf8",
      maxBuffer: 1 << 30,
      env: {
        ...process.env,
        CHECKPOINT_DISABLE: "1",
        TF_IN_AUTOMATION: "1",
        ...(mirror && { TF_CLI_ARGS_init: `-plugin-dir=${mirror}` }),
      },
    });
    if (result.error) throw result.error;
    return { status: result.status ?? 1, stdout: result.stdout, stderr: result.stderr };
  }

  /** Runs Terraform and throws with what it said if it fails. */
  mustTerraform(...args: string[]): string {
    const { status, stdout, stderr } = this.terraform(...args);
    if (status !== 0)
      throw new Error(`terraform ${args.join(" ")} failed in a copy of the stack:\n${stderr || stdout}`);
    return stdout;
  }

  /**
   * `terraform init` with the workspace's local state. Where the registry does not answer and only the random provider is missing,
   * goes on without it.
   */
  init(): void {
    const first = this.terraform("init", "-input=false", "-no-color");
    if (first.status === 0) return;
    const missing = missingProviders(this.readRoot());
    if (missing.length !== 1 || missing[0] !== "random")
      throw new Error(`terraform init failed in a copy of the stack:\n${first.stderr}`);
    this.replaceRandom();
    this.replacedProviders = missing;
    this.mustTerraform("init", "-input=false", "-no-color");
  }

  /** The plan of a first apply, as `terraform show -json` prints it. */
  planJson(): string {
    this.mustTerraform("plan", "-input=false", "-no-color", "-refresh=false", "-lock=false", "-out=tfplan");
    return this.mustTerraform("show", "-json", "tfplan");
  }

  /** Removes the workspace. */
  dispose(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  private readRoot(): Root {
    const file = path.join(this.directory, "cdk.tf.json");
    return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Root) : {};
  }

  private writeOverride(providerAliases: readonly string[]): void {
    const aws = this.readRoot().provider?.aws ?? ["", ...providerAliases].map((alias) => ({ alias }));
    writeFileSync(
      path.join(this.directory, "offline_override.tf.json"),
      JSON.stringify({
        terraform: { backend: { local: {} } },
        provider: { aws: aws.map(({ alias }) => ({ ...(alias && { alias }), ...OFFLINE_AWS })) },
      }),
    );
  }

  /** Where only the random provider is missing, its resources become built-in ones with a fixed value. */
  private replaceRandom(): void {
    for (const file of terraformFiles(this.directory)) {
      const text = readFileSync(file, "utf8");
      writeFileSync(file, JSON.stringify(withoutRandom(JSON.parse(text) as Record<string, unknown>)));
    }
  }
}

/** Pinned providers that Terraform finds neither in its plugin folder nor in the mirror; empty if the registry may be asked. */
export function missingProviders(root: Root): string[] {
  return Object.values(root.terraform?.required_providers ?? {})
    .filter(
      ({ source, version }) =>
        !providerFolders().some((folder) =>
          existsSync(path.join(folder, "registry.terraform.io", expand(source), version)),
        ),
    )
    .map(({ source }) => expand(source).split("/").at(-1) ?? source);
}

/** Whether Terraform is on the PATH. */
export function terraformVersion(): string | undefined {
  const { status, stdout } = spawnSync("terraform", ["version", "-json"], {
    encoding: "utf8",
    env: { ...process.env, CHECKPOINT_DISABLE: "1" },
  });
  return status === 0 ? (JSON.parse(stdout) as { terraform_version: string }).terraform_version : undefined;
}

function providerFolders(): string[] {
  const mirror = process.env[MIRROR_VARIABLE];
  return [path.join(process.env.HOME ?? "/", ".terraform.d/plugins"), ...(mirror ? [mirror] : [])];
}

/** `hashicorp/aws` of `aws`, `hashicorp/aws` or `registry.terraform.io/hashicorp/aws`. */
function expand(source: string): string {
  const parts = source.replace(/^registry\.terraform\.io\//, "").split("/");
  return parts.length === 1 ? `hashicorp/${parts[0]}` : parts.join("/");
}

function terraformFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".tf.json") && !file.startsWith(".terraform"))
    .map((file) => path.join(directory, file));
}

interface Blocks {
  terraform?: { required_providers?: Record<string, unknown> };
  provider?: Record<string, unknown>;
  resource?: Record<string, Record<string, { length?: number }>>;
}

function withoutRandom(source: Record<string, unknown>): Record<string, unknown> {
  const blocks = source as Blocks;
  const passwords = blocks.resource?.random_password ?? {};
  delete blocks.terraform?.required_providers?.random;
  delete blocks.provider?.random;
  if (blocks.resource) {
    delete blocks.resource.random_password;
    if (Object.keys(passwords).length > 0) {
      blocks.resource.terraform_data = {
        ...blocks.resource.terraform_data,
        ...Object.fromEntries(
          Object.entries(passwords).map(([id, { length = 32 }]) => [
            `random_${id}`,
            { input: "x".repeat(length) } as never,
          ]),
        ),
      };
    }
  }
  return JSON.parse(
    JSON.stringify(source).replaceAll(/random_password\.(\w+)\.result/g, "terraform_data.random_$1.output"),
  ) as Record<string, unknown>;
}
