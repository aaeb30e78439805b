import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { OfflineWorkspace } from "../terraform/workspace";
import { fillReferences, type Plan } from "./plan";
import reviewed from "./reviewed.json";

const CHECKOV_VERSION = "3.3.30";
const VIRTUAL_ENVIRONMENT = path.resolve(`node_modules/.cache/urr-infra/checkov-${CHECKOV_VERSION}`);
const ENVIRONMENTS = ["staging", "prod"] as const;

/** A failure that was looked at and stays, with its reason. */
interface Reviewed {
  readonly id: string;
  /** Address of a resource; `*` stands for any part of it. */
  readonly resource: string;
  readonly environments: readonly string[];
  readonly reason: string;
}

interface Failure {
  readonly environment: string;
  readonly id: string;
  readonly resource: string;
  readonly name: string;
}

interface Report {
  readonly summary: { readonly passed: number; readonly failed: number };
  readonly results: {
    readonly failed_checks: readonly {
      readonly check_id: string;
      readonly check_name: string;
      readonly resource: string;
    }[];
  };
}

/**
 * `npm run checkov`: plans both environments offline and checks the plans. Every failure must be listed in `reviewed.json` with a
 * reason, and every entry there must still be needed.
 */
function main(): number {
  install();
  const failures = ENVIRONMENTS.flatMap(check);
  const entries: readonly Reviewed[] = reviewed;
  const unexpected = failures.filter((failure) => !entries.some((entry) => covers(entry, failure)));
  const stale = entries.flatMap((entry) =>
    entry.environments
      .filter(
        (environment) => !failures.some((failure) => failure.environment === environment && covers(entry, failure)),
      )
      .map((environment) => ({ ...entry, environment })),
  );
  for (const { environment, id, resource, name } of unexpected)
    process.stderr.write(
      `${environment}: ${id} ${resource}: ${name}. Fix it, or list it with its reason in tools/checkov/reviewed.json.\n`,
    );
  for (const { environment, id, resource } of stale)
    process.stderr.write(
      `${environment}: ${id} ${resource} no longer fails. Take it out of tools/checkov/reviewed.json.\n`,
    );
  process.stdout.write(
    `checkov ${CHECKOV_VERSION}: ${failures.length} failures reviewed in ${entries.length} entries, ${unexpected.length} unexpected, ${stale.length} stale\n`,
  );
  return unexpected.length + stale.length > 0 ? 1 : 0;
}

/** Installs the pinned checkov in a virtual environment of its own, once. */
function install(): void {
  const done = path.join(VIRTUAL_ENVIRONMENT, ".installed");
  if (existsSync(done)) return;
  rmSync(VIRTUAL_ENVIRONMENT, { recursive: true, force: true });
  mkdirSync(path.dirname(VIRTUAL_ENVIRONMENT), { recursive: true });
  process.stdout.write(`installing checkov ${CHECKOV_VERSION} …\n`);
  run("python3", ["-m", "venv", VIRTUAL_ENVIRONMENT]);
  run(path.join(VIRTUAL_ENVIRONMENT, "bin/pip"), [
    "install",
    "--quiet",
    "--disable-pip-version-check",
    `checkov==${CHECKOV_VERSION}`,
  ]);
  writeFileSync(done, "");
}

function check(environment: string): Failure[] {
  const workspace = new OfflineWorkspace(
    path.resolve("cdktf.out/stacks", environment),
    `environments/${environment}.tfvars.example`,
  );
  try {
    workspace.init();
    const plan = JSON.parse(workspace.planJson()) as Plan;
    fillReferences(plan);
    const file = path.join(workspace.directory, "plan.json");
    writeFileSync(file, JSON.stringify(plan));
    const output = run(path.join(VIRTUAL_ENVIRONMENT, "bin/checkov"), [
      "-f",
      file,
      "--framework",
      "terraform_plan",
      "-o",
      "json",
      "--skip-download",
      "--quiet",
      "--compact",
      "--soft-fail",
    ]);
    const report = JSON.parse(output) as Report;
    if (report.summary.passed < 100)
      throw new Error(
        `checkov passed only ${report.summary.passed} checks of ${environment}: it did not read the plan`,
      );
    process.stdout.write(`${environment}: ${report.summary.passed} passed, ${report.summary.failed} failed\n`);
    return report.results.failed_checks.map(({ check_id, check_name, resource }) => ({
      environment,
      id: check_id,
      resource,
      name: check_name,
    }));
  } finally {
    workspace.dispose();
  }
}

function covers(entry: Reviewed, { environment, id, resource }: Failure): boolean {
  return entry.id === id && entry.environments.includes(environment) && wildcard(entry.resource).test(resource);
}

function wildcard(pattern: string): RegExp {
  return new RegExp(
    `^${pattern
      .split("*")
      .map((part) => part.replaceAll(/[.[\]"]/g, "\\$&"))
      .join(".*")}$`,
  );
}

function run(command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 30 });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${stderr || stdout}`);
  return stdout;
}

process.exitCode = main();
