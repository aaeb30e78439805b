import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { S3Client } from "@aws-sdk/client-s3";
import type { Octokit } from "@octokit/rest";
import { digestOfText, PlanComments, type PullRequestRef } from "./client/comments";
import { connect } from "./client/github";
import { PullRequests } from "./client/pulls";
import { openBundle, packBundle, readFolder, writeFolder } from "./commands/bundle";
import { type CommentEvent, decide } from "./commands/decide";
import { inspectStack } from "./commands/inspect";
import { StackLocks } from "./commands/locks";
import { digestOfPlan } from "./commands/normalise";
import { type CommentedPlan, type PlannedBundle, unreviewed } from "./commands/requirements";
import { S3BundleStore } from "./commands/store";
import { readDependencies } from "./files";
import { isObject, own, parsePlan } from "./render/plan";
import { readZip } from "./zip";

const USAGE = `Usage: node tools/plan-comments/run.cjs comment STEP [options], in a workflow

  post     --pull N --stack NAME --head SHA --rendered FILE [--if-changed]
                                                              what plan:render --json wrote, as comments and label
  memory   --pull N --stack NAME --out FILE                   the last comment's body, for plan:render --previous
  decide   --event FILE --stacks A,B --out FILE [--locks TABLE]
  inspect  --stack NAME --synth DIR --bucket NAME --key KEY [--out DIR]
                                                              Terraform JSON before it is run; what passed is copied
  pack     --stack NAME --head SHA --base SHA --folder DIR --rendered FILE --bucket NAME --kms-key ARN --out FILE
  open     --planned FILE --folder DIR --bucket NAME
  planned  --pull N --stack NAME --head SHA --out FILE        what a plan job wrote down, if it was reviewed as an apply asks
  same     --fresh PLAN.json [--reviewed PLAN.json]           output verdict=nothing|same|different and digest
  take     --stack NAME --head SHA --locks TABLE [--pull N]   the lock, for the main branch
  finish   --stack NAME --locks TABLE
  release  --stacks A,B --pull N --locks TABLE                when a pull request is merged or closed

GITHUB_TOKEN, GITHUB_API_URL, GITHUB_REPOSITORY and GITHUB_RUN_ID are read from the environment.`;

/** Label of pull requests whose plan of a stack destroys or replaces something. */
const labelOf = (stack: string): string => `infra: destroys in ${stack}`;

/** Name of the artifact that holds a plan's digest. */
export const artifactOf = (stack: string, head: string): string => `planned-${stack}-${head}`;

class StepError extends Error {}

type Values = Readonly<Record<string, string | boolean | undefined>>;

export async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      "if-changed": { type: "boolean" },
      ...Object.fromEntries(
        [
          "pull",
          "stack",
          "stacks",
          "head",
          "base",
          "rendered",
          "event",
          "out",
          "locks",
          "folder",
          "bucket",
          "key",
          "kms-key",
          "planned",
          "reviewed",
          "fresh",
          "synth",
        ].map((name) => [name, { type: "string" as const }]),
      ),
    },
  });
  const step = STEPS[positionals[0] ?? ""];
  if (!step || positionals.length !== 1) {
    process.stderr.write(`${USAGE}\n`);
    process.exitCode = 2;
    return;
  }
  try {
    await step(values as Values);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

const STEPS: Readonly<Record<string, (values: Values) => Promise<void>>> = {
  async post(values) {
    const stack = need(values, "stack");
    const { bodies, ...found } = renderedOf(values);
    const pull = pullOf(values);
    const comments = new PlanComments(github(), pull);
    if (values["if-changed"] && found.changes === false && !(await comments.firstBody(stack))) return;
    const result = await comments.upsert(stack, bodies, need(values, "head"));
    process.stdout.write(
      result.superseded ? "a newer commit was pushed: nothing written\n" : `${JSON.stringify(result)}\n`,
    );
    if (!result.superseded) await new PullRequests(github()).setLabel(pull, labelOf(stack), found.destroys === true);
  },

  async memory(values) {
    const pull = pullOf(values);
    const body = await new PlanComments(github(), pull).firstBody(need(values, "stack"));
    writeFileSync(need(values, "out"), body ?? "");
  },

  async decide(values) {
    const event = JSON.parse(readFileSync(need(values, "event"), "utf8")) as CommentEvent;
    const octokit = github();
    const pulls = new PullRequests(octokit);
    const pull = { ...repository(), number: event.issue.number };
    const decision = await decide(event, {
      stacks: need(values, "stacks").split(","),
      repository: repository(),
      pulls,
      ...(values.locks === undefined ? {} : { locks: new StackLocks(new DynamoDBClient({}), need(values, "locks")) }),
      run: Number(process.env.GITHUB_RUN_ID),
      plannedOf: (_, stack, head) => plannedFrom(octokit, pull, stack, head),
    });
    writeFileSync(need(values, "out"), JSON.stringify(decision));
    if (decision.kind !== "ignore") await pulls.react(pull, event.comment.id, decision.reaction);
    if (decision.kind === "answer") await new PlanComments(octokit, pull).reply(decision.text);
    output({
      kind: decision.kind,
      stacks: JSON.stringify(
        decision.kind === "plan"
          ? decision.stacks
          : decision.kind === "apply"
            ? [decision.planned.stack]
            : decision.kind === "unlock"
              ? [decision.stack]
              : [],
      ),
      head: "facts" in decision ? decision.facts.headSha : "",
      base: "facts" in decision ? decision.facts.baseSha : "",
    });
    if (decision.kind === "apply") writeFileSync(`${need(values, "out")}.planned`, JSON.stringify(decision.planned));
  },

  async inspect(values) {
    const [stack, synth] = [need(values, "stack"), need(values, "synth")];
    const files = readFolder(join(synth, "stacks", stack));
    inspectStack(stack, files, { bucket: need(values, "bucket"), key: need(values, "key") });
    if (values.out === undefined) return;
    // The bytes that were looked at, and of the manifest only what the comment says of the order of stacks.
    const folder = need(values, "out");
    writeFolder(join(folder, "stacks", stack), files);
    const stacks = Object.entries(readDependencies(synth)).map(([name, dependencies]) => [name, { dependencies }]);
    writeFileSync(join(folder, "manifest.json"), JSON.stringify({ stacks: Object.fromEntries(stacks) }));
  },

  async pack(values) {
    const text = digestOfText(renderedOf(values).bodies);
    const { bytes, planned } = packBundle(
      { stack: need(values, "stack"), head: need(values, "head"), base: need(values, "base") },
      readFolder(need(values, "folder")),
    );
    await new S3BundleStore(new S3Client({}), need(values, "bucket"), need(values, "kms-key")).put(planned, bytes);
    writeFileSync(need(values, "out"), JSON.stringify({ ...planned, text }));
  },

  async open(values) {
    const planned = readPlanned(readFileSync(need(values, "planned")));
    if (!planned) throw new StepError(`${need(values, "planned")} is not what a plan job writes`);
    const bytes = await new S3BundleStore(new S3Client({}), need(values, "bucket"), "").get(planned);
    const folder = need(values, "folder");
    mkdirSync(folder, { recursive: true });
    writeFolder(folder, openBundle(bytes, planned));
  },

  async same(values) {
    const fresh = parsePlan(readFileSync(need(values, "fresh"), "utf8"), "the fresh plan");
    const reviewed =
      values.reviewed === undefined
        ? undefined
        : parsePlan(readFileSync(need(values, "reviewed"), "utf8"), "the reviewed plan");
    const digest = digestOfPlan(fresh);
    const nothing = digest === digestOfPlan({ ...fresh, resource_changes: [], output_changes: {} });
    output({
      verdict: nothing ? "nothing" : reviewed && digestOfPlan(reviewed) === digest ? "same" : "different",
      digest,
    });
  },

  async take(values) {
    const [stack, head, run] = [need(values, "stack"), need(values, "head"), Number(process.env.GITHUB_RUN_ID)];
    const locks = new StackLocks(new DynamoDBClient({}), need(values, "locks"));
    if (values.pull !== undefined && values.pull !== "") await locks.release(stack, Number(values.pull));
    const taken = await locks.acquire({ stack, pull: 0, head, who: process.env.GITHUB_ACTOR ?? "", run });
    if (!taken.acquired)
      throw new StepError(
        `${stack} is locked by ${taken.holder ? `#${taken.holder.pull} (${taken.holder.who})` : "somebody"}`,
      );
  },

  async planned(values) {
    const [octokit, pull] = [github(), pullOf(values)];
    const found = await plannedFrom(octokit, pull, need(values, "stack"), need(values, "head"));
    const missing = found ? unreviewed(await new PullRequests(octokit).facts(pull), found) : ["a plan of its commit"];
    if (missing.length === 0) writeFileSync(need(values, "out"), JSON.stringify(found));
    else process.stdout.write(`#${pull.number} was merged without ${missing.join("; without ")}\n`);
  },

  async finish(values) {
    await new StackLocks(new DynamoDBClient({}), need(values, "locks")).finish(
      need(values, "stack"),
      Number(process.env.GITHUB_RUN_ID),
    );
  },

  async release(values) {
    const locks = new StackLocks(new DynamoDBClient({}), need(values, "locks"));
    for (const stack of need(values, "stacks").split(",")) await locks.release(stack, Number(need(values, "pull")));
  },
};

/** What plan:render --json wrote for the stack. */
function renderedOf(values: Values): {
  readonly bodies: readonly string[];
  readonly changes: unknown;
  readonly destroys: unknown;
} {
  const [file, stack] = [need(values, "rendered"), need(values, "stack")];
  const results: unknown = JSON.parse(readFileSync(file, "utf8"));
  const found = Array.isArray(results)
    ? results.find((entry: unknown) => isObject(entry) && entry.stack === stack)
    : undefined;
  if (!isObject(found) || !Array.isArray(found.bodies)) throw new StepError(`${file} holds nothing for stack ${stack}`);
  return { bodies: found.bodies.map(String), changes: found.changes, destroys: found.destroys };
}

function need(values: Values, name: string): string {
  const value = values[name];
  if (typeof value !== "string" || value === "") throw new StepError(`--${name} is missing\n\n${USAGE}`);
  return value;
}

function github(): Octokit {
  const token = process.env.GITHUB_TOKEN;
  if (!token) throw new StepError("GITHUB_TOKEN is not set");
  return connect({
    token,
    ...(process.env.GITHUB_API_URL ? { baseUrl: process.env.GITHUB_API_URL } : {}),
    onWait: (milliseconds, why) => process.stderr.write(`${why}: waiting ${Math.ceil(milliseconds / 1_000)} s\n`),
  });
}

function repository(): { readonly owner: string; readonly repo: string } {
  const [owner, repo] = (process.env.GITHUB_REPOSITORY ?? "").split("/");
  if (!owner || !repo) throw new StepError("GITHUB_REPOSITORY is not set to OWNER/NAME");
  return { owner, repo };
}

function pullOf(values: Values) {
  const number = Number(need(values, "pull"));
  if (!Number.isInteger(number) || number < 1) throw new StepError("--pull: a number is needed");
  return { ...repository(), number };
}

function output(entries: Readonly<Record<string, string>>): void {
  const file = process.env.GITHUB_OUTPUT;
  const text = Object.entries(entries).map(([name, value]) => `${name}=${value.replace(/[\r\n]/g, " ")}\n`);
  if (file) appendFileSync(file, text.join(""));
}

/** Workflows whose runs write down digests, by what starts them: events of which GitHub always takes the default branch's files. */
const PLAN_WORKFLOWS: Readonly<Record<string, string>> = {
  workflow_run: ".github/workflows/infra-plan.yml",
  issue_comment: ".github/workflows/infra-command.yml",
};

/**
 * The digest that the plan job of this commit wrote down. Any run may keep an artifact of that name, also one of a pull
 * request's own workflow: only those of the plan workflows at the default branch count.
 */
async function plannedFrom(
  octokit: Octokit,
  pull: PullRequestRef,
  stack: string,
  head: string,
): Promise<CommentedPlan | undefined> {
  const artifacts = await octokit.paginate(octokit.rest.actions.listArtifactsForRepo, {
    ...repository(),
    name: artifactOf(stack, head),
    per_page: 100,
  });
  const candidates = artifacts
    .filter((artifact) => !artifact.expired && (artifact.size_in_bytes ?? 0) < 100_000)
    .sort((a, b) => b.id - a.id);
  for (const artifact of candidates) {
    const run = artifact.workflow_run?.id;
    if (run === undefined || !(await isPlanRun(octokit, run))) continue;
    const archive = await octokit.rest.actions.downloadArtifact({
      ...repository(),
      artifact_id: artifact.id,
      archive_format: "zip",
    });
    const file = [...readZip(Buffer.from(archive.data as ArrayBuffer)).values()][0];
    const planned = file ? readPlanned(file) : undefined;
    if (planned?.stack !== stack || planned.head !== head) return undefined;
    const shown = await new PlanComments(octokit, pull).shown(stack);
    const at = [artifact.created_at ?? "", shown?.at ?? ""].sort().at(-1) ?? "";
    return { ...planned, commented: shown?.digest === planned.text, at };
  }
  return undefined;
}

async function isPlanRun(octokit: Octokit, run: number): Promise<boolean> {
  const { data } = await octokit.rest.actions.getWorkflowRun({ ...repository(), run_id: run });
  const { owner, repo } = repository();
  return (
    data.path.split("@")[0] === own(PLAN_WORKFLOWS, data.event) &&
    data.repository.full_name === `${owner}/${repo}` &&
    data.head_repository?.full_name === `${owner}/${repo}`
  );
}

function readPlanned(bytes: Buffer): PlannedBundle | undefined {
  const raw: unknown = JSON.parse(bytes.toString());
  if (!isObject(raw)) return undefined;
  const { stack, head, base, digest, text } = raw;
  const hex = (text: unknown, length: number): text is string =>
    typeof text === "string" && new RegExp(`^[0-9a-f]{${length}}$`).test(text);
  return typeof stack === "string" &&
    /^[a-z0-9-]+$/.test(stack) &&
    hex(head, 40) &&
    hex(base, 40) &&
    hex(digest, 64) &&
    hex(text, 64)
    ? { stack, head, base, digest, text }
    : undefined;
}
