import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline/promises";
import { readOverrides } from "./overrides";
import { explain, judge } from "./rules";

/** Options whose value may be the next argument. */
const WITH_VALUE = [
  "-var",
  "-var-file",
  "-target",
  "-replace",
  "-parallelism",
  "-lock-timeout",
  "-state",
  "-backup",
  "-state-out",
];
/** What `apply` still takes once there is a plan file; everything else is in the plan. */
const FOR_PLAN_FILE =
  /^-(parallelism|lock|lock-timeout|no-color|compact-warnings|input|json|state|state-out|backup)(=|$)/;

/** An `apply` or `destroy`, taken apart. */
interface Request {
  /** Options before the subcommand, such as `-chdir=DIR`. */
  readonly global: readonly string[];
  readonly command: "apply" | "destroy";
  readonly options: readonly (readonly string[])[];
  /** A plan file that was made before. */
  readonly planFile: string | undefined;
}

let running: ChildProcess | undefined;
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, end);

/** Plans, asks the guard, and applies exactly the plan that the guard has seen. */
async function main(args: readonly string[]): Promise<number> {
  const { command, global, options, planFile } = parse(args);
  const file = planFile ?? path.join(scratchFolder(), "plan");
  if (planFile === undefined) {
    const planOptions = options.filter(([name]) => name !== "-auto-approve" && name !== "-force").flat();
    const destroy = command === "destroy" ? ["-destroy"] : [];
    const status = await terraform([...global, "plan", ...destroy, ...planOptions, `-out=${file}`]);
    if (status !== 0) return status;
  }
  const verdict = judge(planOf(global, file), readOverrides(process.env));
  process.stderr.write(explain(verdict));
  if (verdict.refused.length > 0) return 1;
  const approved = planFile !== undefined || options.some(([name]) => /^-auto-approve(=true)?$/.test(name ?? ""));
  if (!approved && !(await ask(command))) return 1;
  const applyOptions = options.filter(([name]) => FOR_PLAN_FILE.test(name ?? "")).flat();
  return await terraform([...global, "apply", ...applyOptions, file]);
}

/** A folder that goes with this process, also when a question is never answered: plans hold secrets in clear. */
function scratchFolder(): string {
  const scratch = mkdtempSync(path.join(tmpdir(), "urr-guard-"));
  process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));
  return scratch;
}

/** Lets Terraform end in order, or ends here where it does not run. */
function end(): void {
  if (running === undefined) process.exit(143);
  running.kill("SIGTERM");
}

function parse(args: readonly string[]): Request {
  const index = args.findIndex((argument) => !argument.startsWith("-"));
  const command = args[index];
  if (command !== "apply" && command !== "destroy") throw new Error(`given ${command}; allowed: apply, destroy`);
  const options: string[][] = [];
  let planFile: string | undefined;
  for (let next = index + 1; next < args.length; next++) {
    const argument = args[next] ?? "";
    if (!argument.startsWith("-")) planFile = argument;
    else if (WITH_VALUE.includes(argument)) options.push([argument, args[++next] ?? ""]);
    else options.push([argument]);
  }
  return { global: args.slice(0, index), command, options, planFile };
}

function planOf(global: readonly string[], file: string): unknown {
  const { status, stderr, stdout } = spawnSync("terraform", [...global, "show", "-json", file], {
    encoding: "utf8",
    maxBuffer: 1 << 30,
  });
  if (status !== 0) throw new Error(`terraform show failed, so the plan cannot be judged:\n${stderr}`);
  return JSON.parse(stdout);
}

function terraform(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    running = spawn("terraform", args, { stdio: "inherit" });
    running.once("error", reject);
    running.once("exit", (code, signal) => {
      running = undefined;
      resolve(code ?? (signal === "SIGINT" ? 130 : 143));
    });
  });
}

/** Terraform's own question, in its own words: the cdktf CLI waits for them. */
async function ask(command: "apply" | "destroy"): Promise<boolean> {
  const question =
    command === "apply"
      ? "\nDo you want to perform these actions?\n  Terraform will perform the actions described above.\n  Only 'yes' will be accepted to approve.\n\n  Enter a value: "
      : "\nDo you really want to destroy all resources?\n  Terraform will destroy all your managed infrastructure, as shown above.\n  There is no undo. Only 'yes' will be accepted to confirm.\n\n  Enter a value: ";
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  // Input that ends without an answer approves nothing.
  const closed = once(lines, "close").then(() => "");
  const answer = await Promise.race([lines.question(question), closed]);
  lines.close();
  if (answer.trim() === "yes") return true;
  process.stdout.write(`\n${command === "apply" ? "Apply" : "Destroy"} cancelled.\n`);
  return false;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`guard: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 2;
}
