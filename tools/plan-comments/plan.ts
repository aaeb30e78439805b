import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OfflineWorkspace } from "../terraform/workspace";
import { render } from "./render";

const USAGE = `Usage: npm run plan -- STACK [--markdown] [--no-synth] [-- TERRAFORM-PLAN-ARGUMENTS]
       npm run plan -- STACK --offline [--markdown] [--no-synth]

Synthesizes, plans one stack with the credentials at hand and prints the comment that a pull request would get.
The plan file stays in the stack's folder of cdktf.out (plan.tfplan): terraform apply plan.tfplan applies exactly it.

  --markdown  the Markdown itself, also in a terminal
  --no-synth  plans what cdktf.out holds
  --offline   without credentials: a first apply, with the values of environments/STACK.tfvars.example; keeps no plan file`;

const FLAGS = ["--markdown", "--no-synth", "--offline"];

interface Run {
  readonly status: number | null;
  readonly stdout: string;
}

const run = (command: string, parameters: readonly string[], folder: string, quiet = false): Run => {
  const { status, stdout } = spawnSync(command, [...parameters], {
    cwd: folder,
    encoding: "utf8",
    maxBuffer: 1 << 29,
    env: { ...process.env, TF_IN_AUTOMATION: "1", CHECKPOINT_DISABLE: "1" },
    stdio: ["inherit", quiet ? "pipe" : 2, "inherit"],
  });
  return { status, stdout: stdout ?? "" };
};

/** Plans a stack on this machine and prints the comment. */
export function main(): void {
  process.exitCode = planStack(process.argv.slice(2));
}

function planStack([stack, ...rest]: readonly string[]): number {
  const cut = rest.indexOf("--");
  const flags = cut < 0 ? rest : rest.slice(0, cut);
  const passed = cut < 0 ? [] : rest.slice(cut + 1);
  const unknown = flags.filter((flag) => !FLAGS.includes(flag));
  if (flags.includes("--offline") && passed.length > 0) unknown.push(...passed);
  if (stack === undefined || !/^[a-z0-9-]+$/.test(stack) || unknown.length > 0) {
    process.stderr.write(`${unknown.length > 0 ? `unknown: ${unknown.join(", ")}\n\n` : ""}${USAGE}\n`);
    return 2;
  }
  const root = process.cwd();
  const synth = join(root, "cdktf.out");
  if (!flags.includes("--no-synth") && run("npm", ["run", "-s", "synth"], root).status !== 0) return fail("synth");
  const folder = join(synth, "stacks", stack);
  if (!existsSync(join(folder, "cdk.tf.json"))) return fail(`${folder}/cdk.tf.json is missing: is ${stack} a stack?`);
  const form = flags.includes("--markdown") || !process.stdout.isTTY ? "--full" : "--ansi";
  if (flags.includes("--offline")) {
    const planned = planOffline(folder, join(root, "environments", `${stack}.tfvars.example`));
    return planned === undefined ? 1 : print(stack, planned, synth, form);
  }
  if (run("terraform", ["init", "-input=false"], folder).status !== 0)
    return fail(`terraform init (without an account: npm run plan -- ${stack} --offline)`);
  // Left over from before, it would be shown as this one.
  rmSync(join(folder, "plan.tfplan"), { force: true });
  const planned = run("terraform", ["plan", "-input=false", "-out=plan.tfplan", ...passed], folder);
  if (!existsSync(join(folder, "plan.tfplan"))) return fail("terraform plan");
  const shown = run("terraform", ["show", "-json", "plan.tfplan"], folder, true);
  if (shown.status !== 0) return fail("terraform show");
  return print(stack, shown.stdout, synth, form) || (planned.status ?? 1);
}

function planOffline(folder: string, variables: string): string | undefined {
  const workspace = new OfflineWorkspace(folder, existsSync(variables) ? variables : undefined);
  try {
    workspace.init();
    if (workspace.replacedProviders.length > 0)
      process.stderr.write(`replaced, because not in reach: provider ${workspace.replacedProviders.join(", ")}\n`);
    return workspace.planJson();
  } catch (error) {
    process.stderr.write(`not planned: ${error instanceof Error ? error.message : String(error)}\n`);
    return undefined;
  } finally {
    workspace.dispose();
  }
}

function print(stack: string, plan: string, synth: string, form: string): number {
  const scratch = mkdtempSync(join(tmpdir(), "urr-plan-"));
  try {
    const file = join(scratch, "plan.json");
    writeFileSync(file, plan, { mode: 0o600 });
    const { stdout, stderr, code } = render(["--stack", stack, file, "--synth", synth, form]);
    process.stdout.write(stdout);
    process.stderr.write(stderr);
    return code;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function fail(what: string): number {
  process.stderr.write(`not planned: ${what} failed\n`);
  return 1;
}
