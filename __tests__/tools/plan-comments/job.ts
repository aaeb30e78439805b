import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { filled, runs, type Status, type Value } from "./expressions";

const WORKFLOWS = join(import.meta.dirname, "../../../.github/workflows");

export interface Step {
  readonly id?: string;
  readonly name?: string;
  readonly if?: string;
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
}

export interface JobRun {
  /** Folder that takes the checkout's place. */
  readonly folder: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly contexts: Readonly<Record<string, Value>>;
  /** Told of every step that uses an action and runs. */
  readonly onAction?: (action: string, inputs: Readonly<Record<string, string>>) => void;
}

export interface JobResult {
  readonly status: Status;
  /** Names, ids or scripts of the steps that ran, in order. */
  readonly ran: readonly string[];
  readonly log: string;
  readonly outputs: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Steps of a job as the workflow file has them. */
export function stepsOf(workflow: string, job: string): readonly Step[] {
  const { jobs } = parse(readFileSync(join(WORKFLOWS, workflow), "utf8")) as {
    jobs: Record<string, { steps: readonly Step[] }>;
  };
  return jobs[job]?.steps ?? [];
}

/** Runs the scripts of a job as a runner would: conditions evaluated, outputs and outcomes handed on. Actions are only reported. */
export async function runJob(workflow: string, job: string, run: JobRun): Promise<JobResult> {
  const scratch = join(run.folder, ".runner");
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  const results: Record<string, { outcome: string; outputs: Record<string, string> }> = {};
  const ran: string[] = [];
  let status: Status = "success";
  let log = "";
  for (const [index, step] of stepsOf(workflow, job).entries()) {
    const key = step.id ?? `step-${index}`;
    const contexts = { ...run.contexts, steps: results, job: { status }, runner: { temp: scratch } };
    if (!runs(step.if, contexts, status)) {
      results[key] = { outcome: "skipped", outputs: {} };
      continue;
    }
    const fill = (values: Readonly<Record<string, string>> = {}) =>
      Object.fromEntries(Object.entries(values).map(([name, value]) => [name, filled(String(value), contexts)]));
    if (step.uses !== undefined) {
      run.onAction?.(step.uses.split("@")[0] ?? "", fill(step.with));
      continue;
    }
    if (step.run === undefined || step.run === "npm ci") continue;
    ran.push(step.name ?? step.id ?? step.run);
    const outputFile = join(scratch, `output-${index}`);
    writeFileSync(outputFile, "");
    const { code, text } = await shell(step.run, run.folder, {
      ...run.environment,
      ...fill(step.env),
      RUNNER_TEMP: scratch,
      GITHUB_OUTPUT: outputFile,
      GITHUB_STEP_SUMMARY: join(scratch, "summary.md"),
    });
    log += text;
    if (code !== 0) status = "failure";
    const outputs = Object.fromEntries(
      readFileSync(outputFile, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    );
    results[key] = { outcome: code === 0 ? "success" : "failure", outputs };
  }
  return {
    status,
    ran,
    log,
    outputs: Object.fromEntries(Object.entries(results).map(([key, { outputs }]) => [key, outputs])),
  };
}

/** Runs a script with GitHub's options for `shell: bash`. */
export function shell(
  script: string,
  cwd: string,
  env: NodeJS.ProcessEnv,
): Promise<{ readonly code: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn("bash", ["--noprofile", "--norc", "-eo", "pipefail", "-c", script], {
      cwd,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let text = "";
    child.stdout.on("data", (chunk) => (text += chunk));
    child.stderr.on("data", (chunk) => (text += chunk));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, text }));
  });
}
