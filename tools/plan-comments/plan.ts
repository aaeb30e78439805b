import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { render } from "./render";

const USAGE = `Usage: npm run plan -- STACK [--markdown] [--no-synth] [-- TERRAFORM-PLAN-ARGUMENTS]

Synthesizes, plans one stack with the credentials at hand and prints the comment that a pull request would get.
The plan file stays in the stack's folder of cdktf.out (plan.tfplan): terraform apply plan.tfplan applies exactly it.`;

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
  const unknown = flags.filter((flag) => flag !== "--markdown" && flag !== "--no-synth");
  if (stack === undefined || !/^[a-z0-9-]+$/.test(stack) || unknown.length > 0) {
    process.stderr.write(`${unknown.length > 0 ? `unknown: ${unknown.join(", ")}\n\n` : ""}${USAGE}\n`);
    return 2;
  }
  const root = process.cwd();
  const synth = join(root, "cdktf.out");
  if (!flags.includes("--no-synth") && run("npm", ["run", "-s", "synth"], root).status !== 0) return fail("synth");
  const folder = join(synth, "stacks", stack);
  if (!existsSync(join(folder, "cdk.tf.json"))) return fail(`${folder}/cdk.tf.json is missing: is ${stack} a stack?`);
  if (run("terraform", ["init", "-input=false"], folder).status !== 0) return fail("terraform init");
  const planned = run("terraform", ["plan", "-input=false", "-out=plan.tfplan", ...passed], folder);
  const shown = run("terraform", ["show", "-json", "plan.tfplan"], folder, true);
  if (shown.status !== 0) return fail("terraform plan");
  const scratch = mkdtempSync(join(tmpdir(), "urr-plan-"));
  try {
    const file = join(scratch, "plan.json");
    writeFileSync(file, shown.stdout, { mode: 0o600 });
    const form = flags.includes("--markdown") || !process.stdout.isTTY ? "--full" : "--ansi";
    const { stdout, stderr, code } = render(["--stack", stack, file, "--synth", synth, form]);
    process.stdout.write(stdout);
    process.stderr.write(stderr);
    return code || (planned.status ?? 1);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function fail(what: string): number {
  process.stderr.write(`not planned: ${what} failed\n`);
  return 1;
}
