import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { filled, runs } from "./expressions";
import { runJob } from "./job";

const FOLDER = join(import.meta.dirname, "../../../.github/workflows");
const NAMES = readdirSync(FOLDER).filter((name) => /^(?:infra-.*|drift)\.yml$/.test(name));

interface Step {
  readonly id?: string;
  readonly name?: string;
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
}
interface Job {
  readonly if?: string;
  readonly needs?: string | readonly string[];
  readonly strategy?: { readonly matrix: { readonly include?: readonly Readonly<Record<string, string>>[] } };
  readonly with?: Readonly<Record<string, string>>;
  readonly "runs-on"?: string;
  readonly uses?: string;
  readonly permissions?: Readonly<Record<string, string>>;
  readonly steps?: readonly Step[];
  readonly environment?: string;
  readonly concurrency?: { readonly group: string; readonly "cancel-in-progress": boolean };
}
interface Workflow {
  readonly on: Readonly<Record<string, unknown>>;
  readonly permissions: Readonly<Record<string, string>>;
  readonly concurrency?: { readonly group: string; readonly "cancel-in-progress": boolean };
  readonly jobs: Readonly<Record<string, Job>>;
}

const text = (name: string): string => readFileSync(join(FOLDER, name), "utf8");
const workflow = (name: string): Workflow => parse(text(name)) as Workflow;
const steps = (name: string): readonly Step[] => Object.values(workflow(name).jobs).flatMap((job) => job.steps ?? []);

describe("workflows of the infrastructure", () => {
  it("are all there", () => {
    expect(NAMES.sort()).toEqual([
      "drift.yml",
      "infra-apply-stack.yml",
      "infra-apply.yml",
      "infra-closed.yml",
      "infra-command.yml",
      "infra-plan-stack.yml",
      "infra-plan.yml",
      "infra-preview.yml",
      "infra-release.yml",
      "infra-synth.yml",
    ]);
  });

  it.each(NAMES)("%s pins every action of others by a full commit", (name) => {
    for (const { uses } of steps(name))
      if (uses !== undefined) expect(uses).toMatch(/^[\w-]+(?:\/[\w-]+)+@[0-9a-f]{40}$/);
  });

  it.each(NAMES)("%s puts no expression into a script", (name) => {
    for (const { run } of steps(name)) expect(run ?? "").not.toContain("${{");
  });

  it.each(NAMES)("%s cuts no pipe off, which would fail the step for a large plan", (name) => {
    for (const { run } of steps(name)) expect(run ?? "").not.toMatch(/\|\s*head\b/);
  });

  it.each(NAMES)("%s leaves no token behind in a checkout", (name) => {
    for (const { uses, with: inputs } of steps(name)) {
      if (uses?.startsWith("actions/checkout@")) expect(inputs?.["persist-credentials"]).toBe(false);
    }
  });

  it.each(
    NAMES,
  )("%s grants nothing beyond reading the code to all of its jobs, and never runs on pull_request_target", (name) => {
    expect([{}, { contents: "read" }]).toContainEqual(workflow(name).permissions);
    expect(Object.keys(workflow(name).on)).not.toContain("pull_request_target");
  });

  it("give the pull request's own code neither credentials nor a token that writes", () => {
    const { on, permissions, jobs } = workflow("infra-synth.yml");
    expect(Object.keys(on)).toEqual(["pull_request"]);
    expect(permissions).toEqual({ contents: "read" });
    for (const job of Object.values(jobs)) {
      expect(job.permissions).toBeUndefined();
      expect(job.environment).toBeUndefined();
    }
    expect(text("infra-synth.yml")).not.toMatch(/secrets\.|id-token|configure-aws-credentials/);
  });

  it.each(NAMES.filter((name) => name !== "infra-synth.yml"))("%s never checks out a pull request", (name) => {
    for (const { uses, with: inputs } of steps(name)) {
      if (uses?.startsWith("actions/checkout@")) expect(inputs).toEqual({ "persist-credentials": false });
    }
  });

  it("know no long-lived keys", () => {
    for (const name of NAMES)
      expect(text(name)).not.toMatch(/aws-access-key-id|AWS_SECRET_ACCESS_KEY|secrets\.(?!INFRACOST_API_KEY)/);
  });

  it("assume a role only in the two files that the trust policies name", () => {
    const assuming = NAMES.filter((name) =>
      steps(name).some(({ uses }) => uses?.startsWith("aws-actions/configure-aws-credentials@")),
    );
    expect(assuming.sort()).toEqual(["infra-apply-stack.yml", "infra-plan-stack.yml"]);
    for (const name of assuming) {
      for (const job of Object.values(workflow(name).jobs)) {
        const assumes = job.steps?.some(({ uses }) => uses?.startsWith("aws-actions/configure-aws-credentials@"));
        expect(job.environment).toBe(assumes ? "${{ inputs.environment }}" : undefined);
        expect(job.permissions?.["id-token"]).toBe(assumes ? "write" : undefined);
      }
    }
  });

  it("check the Terraform JSON in a job without credentials, and give the one that has them only what passed", () => {
    const { check, plan, preview } = workflow("infra-plan-stack.yml").jobs;
    const downloads = (job: Job | undefined) =>
      job?.steps?.filter(({ uses }) => uses?.startsWith("actions/download-artifact@")).map((step) => step.with?.name);
    expect(downloads(check)).toEqual(["synth"]);
    expect(check?.steps?.some(({ run }) => run?.includes("terraform "))).toBe(false);
    for (const job of [plan, preview]) {
      expect(job?.needs).toBe("check");
      // What has no name is the comments of other stacks, which main's code made in this run.
      expect(downloads(job)?.filter((name) => name !== undefined)).toEqual(["checked-${{ inputs.stack }}"]);
      expect(JSON.stringify(job)).not.toMatch(/synth\//);
    }
  });

  const planJob = (name: string) => workflow(name).jobs.plan;
  it.each(["infra-plan.yml", "drift.yml"])("%s plans platform stacks on a runner inside the VPC", (name) => {
    const runners = (vars: Readonly<Record<string, string>>) =>
      Object.fromEntries(
        (planJob(name)?.strategy?.matrix.include ?? []).map(({ stack = "", runner = "" }) => [
          stack,
          filled(runner, { vars }),
        ]),
      );
    expect(runners({ STAGING_VPC_RUNNER: "vpc-a", PRODUCTION_VPC_RUNNER: "vpc-b" })).toEqual({
      staging: "ubuntu-24.04",
      prod: "ubuntu-24.04",
      "staging-platform": "vpc-a",
      "prod-platform": "vpc-b",
    });
    expect(runners({})).toMatchObject({ "staging-platform": "", "prod-platform": "" });
    expect(planJob(name)?.with?.runner).toBe("${{ matrix.runner }}");
  });

  it.each([
    ["vpc-a", "1", { plan: true, preview: false }],
    ["", "1", { plan: false, preview: true }],
    ["", "", { plan: false, preview: false }],
  ])("with runner %j and pull request %j: %j", (runner, pull, expected) => {
    const { plan, preview } = workflow("infra-plan-stack.yml").jobs;
    const contexts = { inputs: { runner, pull } };
    expect({ plan: runs(plan?.if, contexts), preview: runs(preview?.if, contexts) }).toEqual(expected);
    expect(plan?.["runs-on"]).toBe("${{ inputs.runner }}");
  });

  it("plan on command the stacks that it names, where the pull request's are planned, and drop none for another", () => {
    const { synth, plan } = workflow("infra-command.yml").jobs;
    expect(runs(synth?.if, { needs: { decide: { outputs: { kind: "plan" } } } })).toBe(true);
    for (const kind of ["apply", "unlock", "answer", "ignore"])
      expect(runs(synth?.if, { needs: { decide: { outputs: { kind } } } })).toBe(false);
    expect(runs(plan?.if, { needs: { synth: { outputs: { run: "5" } } } })).toBe(true);
    expect(runs(plan?.if, { needs: { synth: { outputs: { run: "" } } } })).toBe(false);
    const placed = (stack: string, vars: Readonly<Record<string, string>>) =>
      ["environment", "runner"].map((name) => filled(String(plan?.with?.[name]), { matrix: { stack }, vars }));
    const vars = { STAGING_VPC_RUNNER: "vpc-a", PRODUCTION_VPC_RUNNER: "vpc-b" };
    expect(placed("staging", {})).toEqual(["staging-plan", "ubuntu-24.04"]);
    expect(placed("prod", vars)).toEqual(["production-plan", "ubuntu-24.04"]);
    expect(placed("staging-platform", vars)).toEqual(["staging-plan", "vpc-a"]);
    expect(placed("prod-platform", vars)).toEqual(["production-plan", "vpc-b"]);
    expect(placed("prod-platform", {})).toEqual(["production-plan", ""]);
    const groupOf = (stack: string, head: string, branch = "b") =>
      filled(plan?.concurrency?.group ?? "", {
        github: { repository: "urr/infra", event: { issue: { number: 1 } } },
        matrix: { stack },
        needs: { decide: { outputs: { head, branch } } },
      });
    // GitHub keeps one that waits in each group: what two of a group plan has to be the same.
    expect(groupOf("prod", "a", "b")).toBe(groupOf("prod", "a", "c"));
    const groups = [groupOf("prod", "a"), groupOf("staging", "a"), groupOf("prod", "c")];
    const { concurrency } = workflow("infra-plan.yml");
    const github = {
      repository: "urr/infra",
      event: { workflow_run: { head_repository: { full_name: "urr/infra" }, head_branch: "b" } },
    };
    expect(new Set([...groups, filled(concurrency?.group ?? "", { github })]).size).toBe(4);
    expect(plan?.concurrency?.["cancel-in-progress"]).toBe(false);
  });

  describe("a plan on command", () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), "urr-command-"));
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    /** Runs the job with a `gh` that answers from these runs and this number of artifacts, and writes down what it is asked to do. */
    const find = async (workflowRuns: readonly object[], artifacts: number) => {
      const bin = join(folder, "bin");
      mkdirSync(bin);
      writeFileSync(join(folder, "answer.json"), JSON.stringify({ workflow_runs: workflowRuns }));
      const gh = `#!/bin/sh
case "$*" in
  *workflows/infra-synth.yml/runs*) cat '${folder}/answer.json' ;;
  *artifacts*) echo ${artifacts} ;;
  *) echo "$@" >> '${folder}/gh.log' ;;
esac
`;
      writeFileSync(join(bin, "gh"), gh, { mode: 0o755 });
      const { status, outputs } = await runJob("infra-command.yml", "synth", {
        folder,
        environment: { PATH: `${bin}:${process.env.PATH}`, GITHUB_REPOSITORY: "urr/infra" },
        contexts: {
          github: { token: "t", event: { issue: { number: 12 } } },
          needs: { decide: { outputs: { head: "a".repeat(40) } } },
        },
      });
      const log = join(folder, "gh.log");
      return { status, run: outputs.find?.run, asked: existsSync(log) ? readFileSync(log, "utf8") : "" };
    };
    const run = (id: number, from = "urr/infra", status = "completed") => ({
      id,
      status,
      head_repository: { full_name: from },
    });

    it("takes what the newest finished synth of this repository's own branch kept", async () => {
      const kept = await find([run(9, "urr/infra", "in_progress"), run(8, "someone/infra"), run(7), run(6)], 1);
      expect(kept).toEqual({ status: "success", run: "7", asked: "" });
    });

    it("synthesizes again where nothing is kept any more, leaves the plan to what follows, and says so", async () => {
      const gone = await find([run(7)], 0);
      expect(gone).toMatchObject({ status: "success", run: undefined });
      expect(gone.asked.split("\n")).toEqual([
        "run rerun 7 --repo urr/infra",
        expect.stringMatching(
          /^pr comment 12 --repo urr\/infra --body Nothing of aaaaaaa is planned yet: .* runs again/,
        ),
        "",
      ]);
    });

    it.each([
      ["is not synthesized yet", [run(9, "urr/infra", "in_progress")]],
      ["was never synthesized here", [run(8, "someone/infra")]],
    ])("fails where the commit %s, and says so", async (_, workflowRuns) => {
      const missing = await find(workflowRuns, 1);
      expect(missing).toMatchObject({ status: "failure", run: undefined });
      expect(missing.asked).toMatch(
        /^pr comment 12 --repo urr\/infra --body Nothing of aaaaaaa is planned yet: infra-synth has not finished for it\..*\n$/,
      );
    });
  });

  describe("a commit's pull request", () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), "urr-pull-"));
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    const HEAD = "a".repeat(40);
    const pull = (number: number, base: string, more: object = {}) => ({
      number,
      draft: false,
      merged_at: "2026-01-02T00:00:00Z",
      head: { sha: HEAD, repo: { full_name: "urr/infra" } },
      base: { ref: base },
      ...more,
    });
    const PULLS = [
      pull(1, "side"),
      pull(2, "main", { merged_at: null, head: { sha: "c".repeat(40), repo: { full_name: "urr/infra" } } }),
      pull(3, "main", { merged_at: null, head: { sha: HEAD, repo: { full_name: "someone/infra" } } }),
      pull(4, "main"),
      pull(5, "main"),
    ];

    /** Runs the job with a `gh` that knows these pull requests, by whatever address it is asked for them, and the tip of main. */
    const find = async (name: string, job: string, pulls: readonly object[] = PULLS) => {
      const bin = join(folder, "bin");
      mkdirSync(bin);
      writeFileSync(join(folder, "pulls.json"), JSON.stringify(pulls));
      writeFileSync(join(folder, "main.json"), JSON.stringify({ commit: { sha: "b".repeat(40) } }));
      const gh = `#!/bin/sh
case "$*" in
  *branches/main*) answer='${folder}/main.json' ;;
  *pulls*) answer='${folder}/pulls.json' ;;
esac
while [ $# -gt 1 ]; do
  if [ "$1" = --jq ]; then exec jq -rc "$2" "$answer"; fi
  shift
done
cat "$answer"
`;
      writeFileSync(join(bin, "gh"), gh, { mode: 0o755 });
      const { status, outputs } = await runJob(name, job, {
        folder,
        environment: { PATH: `${bin}:${process.env.PATH}`, GITHUB_REPOSITORY: "urr/infra", GITHUB_SHA: "f".repeat(40) },
        contexts: {
          github: {
            token: "t",
            event: { workflow_run: { head_sha: HEAD, head_repository: { full_name: "urr/infra" } } },
          },
        },
      });
      expect(status).toBe("success");
      return outputs;
    };

    it.each([
      "infra-plan.yml",
      "infra-preview.yml",
    ])("is for %s the one that goes to main from the branch that was synthesized", async (name) => {
      expect((await find(name, "pull")).pull).toEqual({ number: "4", draft: "false", base: "b".repeat(40) });
    });

    it("is after a merge the one that was merged into main", async () => {
      expect((await find("infra-apply.yml", "merged")).merged).toEqual({ pull: "4", head: HEAD });
    });

    it("is none where it was merged into another branch only", async () => {
      expect((await find("infra-apply.yml", "merged", PULLS.slice(0, 3))).merged).toEqual({ pull: "", head: "" });
    });
  });

  it("plan and apply every stack that CI may, with the state that it has", () => {
    const all = ["prod", "prod-platform", "staging", "staging-platform"];
    expect(
      planJob("infra-plan.yml")
        ?.strategy?.matrix.include?.map(({ stack }) => stack)
        .sort(),
    ).toEqual(all);
    expect(
      planJob("drift.yml")
        ?.strategy?.matrix.include?.map(({ stack }) => stack)
        .sort(),
    ).toEqual(all);
    const applying = Object.entries(workflow("infra-apply.yml").jobs).filter(([, job]) => job.uses);
    expect(applying.map(([id]) => id).sort()).toEqual(all);
    for (const [id, job] of applying)
      expect(job.with).toMatchObject({
        stack: id,
        environment: id.startsWith("prod") ? "production" : "staging",
      });
    for (const name of ["infra-command.yml", "infra-apply-stack.yml"])
      expect(text(name)).toContain("--stacks staging,staging-platform,prod,prod-platform ");
  });

  it("give the program that prices a plan no credentials of AWS", () => {
    const { steps: all = [], ...plan } = workflow("infra-plan-stack.yml").jobs.plan ?? {};
    expect(all.find(({ name }) => name === "Price the plan")?.run).toMatch(
      /^env -i PATH="\$PATH" HOME="\$HOME" INFRACOST_API_KEY=/,
    );
    const pricing = all.filter(
      (step) => JSON.stringify(step).includes("infracost diff") || step.uses?.startsWith("infracost/"),
    );
    for (const { if: condition } of pricing as readonly { if?: string }[]) {
      const contexts = (INFRACOST: string) => ({
        env: { INFRACOST },
        inputs: { pull: "1" },
        steps: { plan: { outcome: "success" } },
      });
      expect(runs(condition, contexts("true"))).toBe(true);
      expect(runs(condition, contexts("false"))).toBe(false);
    }
    expect(pricing).toHaveLength(2);
    expect(JSON.stringify(plan)).toContain("secrets.INFRACOST_API_KEY != ''");
  });

  it("refuse a plan that loses what holds data before its bundle is kept or a merge applies it", () => {
    for (const [name, before] of [
      ["infra-plan-stack.yml", "comment pack"],
      ["infra-apply-stack.yml", "tool same"],
    ] as const) {
      const script = steps(name)
        .map(({ run }) => run ?? "")
        .join("\n");
      expect(script.indexOf("npm run -s guard")).toBeGreaterThan(0);
      expect(script.indexOf("npm run -s guard")).toBeLessThan(script.indexOf(before));
    }
  });

  it("guard every plan before it is kept for an apply, and every apply", () => {
    const all = steps("infra-plan-stack.yml");
    const at = (text: string) => all.findIndex(({ run }) => run?.includes(text) === true);
    expect(at("run -s guard")).toBeGreaterThan(at("terraform plan"));
    expect(at("run -s guard")).toBeLessThan(at("comment pack"));
    const applies = NAMES.flatMap((name) => text(name).match(/\S+ -chdir=\S+ apply\b|terraform apply\b/g) ?? []);
    expect(applies).toHaveLength(2);
    for (const apply of applies) expect(apply).toMatch(/^tools\/guard\/terraform\.mjs /);
  });

  it("keep plan files and their JSON out of artifacts", () => {
    for (const name of ["infra-plan-stack.yml", "infra-apply-stack.yml"]) {
      const kept = steps(name)
        .filter(({ uses }) => uses?.startsWith("actions/upload-artifact@"))
        .map((step) => step.with?.path);
      const harmless = ["planned.json", "${{ runner.temp }}/rendered.json", "checked"];
      expect(kept.filter((path) => !harmless.includes(String(path)))).toEqual([]);
    }
  });

  it("never cancel an apply or a plan that runs", () => {
    for (const name of ["infra-apply.yml", "infra-plan.yml", "drift.yml"]) {
      expect(workflow(name).concurrency?.["cancel-in-progress"]).toBe(false);
    }
    expect(workflow("infra-apply-stack.yml").jobs.apply?.concurrency?.["cancel-in-progress"]).toBe(false);
  });

  it("let no comment push another one's command out of a queue", () => {
    expect(workflow("infra-command.yml").concurrency).toBeUndefined();
  });

  it("let a failing command in a pipe fail the apply", () => {
    expect(text("infra-apply-stack.yml")).toMatch(/defaults:\n\s+run:\n\s+shell: bash/);
  });

  const finished = (change: object = {}) => ({
    github: {
      repository: "urr/infra",
      event: {
        workflow_run: {
          conclusion: "success",
          event: "pull_request",
          head_repository: { full_name: "urr/infra" },
          ...change,
        },
      },
    },
  });
  it.each([
    ["infra-plan.yml", "pull"],
    ["infra-release.yml", "find"],
  ])("%s follows only a run of a pull request of this repository that succeeded", (name, id) => {
    const condition = workflow(name).jobs[id]?.if;
    expect(runs(condition, finished())).toBe(true);
    for (const change of [
      { conclusion: "failure" },
      { event: "push" },
      { head_repository: { full_name: "someone/infra" } },
    ]) {
      expect(runs(condition, finished(change))).toBe(false);
    }
  });

  it("either plan or preview a pull request, never both", () => {
    for (const draft of ["true", "false"]) {
      for (const full_name of ["urr/infra", "someone/infra"]) {
        const contexts = {
          ...finished({ head_repository: { full_name } }),
          needs: { pull: { outputs: { number: "1", draft } } },
        };
        const plans =
          runs(workflow("infra-plan.yml").jobs.pull?.if, contexts) &&
          runs(workflow("infra-plan.yml").jobs.plan?.if, contexts);
        const preview = workflow("infra-preview.yml").jobs.preview;
        expect(runs(preview?.if, contexts)).toBe(true);
        const env = preview?.steps?.find(({ name }) => name === "Render and comment")?.env;
        expect(filled(env?.PLANNED ?? "", contexts)).toBe(String(plans));
        expect(plans).toBe(draft === "false" && full_name === "urr/infra");
      }
    }
  });

  it("read commands from people on pull requests only", () => {
    const reads = (body: string, type = "User", pull_request: object | null = {}) =>
      runs(workflow("infra-command.yml").jobs.decide?.if, {
        github: {
          event: { issue: { pull_request: pull_request === null ? null : {} }, comment: { body, user: { type } } },
        },
      });
    expect(reads("cdktf apply prod")).toBe(true);
    expect(reads("cdktf apply prod", "Bot")).toBe(false);
    expect(reads("cdktf apply prod", "User", null)).toBe(false);
    expect(reads("please cdktf apply prod")).toBe(false);
  });

  it("apply prod after staging, and not after a staging that failed", () => {
    const applies = (stack: string, results: Readonly<Record<string, string>>, dispatched = "", runner = "vpc") =>
      runs(
        workflow("infra-apply.yml").jobs[stack]?.if,
        {
          github: { event_name: dispatched === "" ? "push" : "workflow_dispatch" },
          inputs: { stack: dispatched },
          vars: { STAGING_VPC_RUNNER: runner, PRODUCTION_VPC_RUNNER: runner },
          needs: Object.fromEntries(
            Object.entries({ synth: "success", merged: "success", ...results }).map(([id, result]) => [id, { result }]),
          ),
        },
        Object.values(results).includes("failure") ? "failure" : "success",
      );
    const after = (staging: string, platform: string) => ({ staging, "staging-platform": platform });
    expect(applies("prod", after("success", "success"))).toBe(true);
    expect(applies("prod", after("success", "skipped"))).toBe(true);
    expect(applies("prod", after("failure", "skipped"))).toBe(false);
    expect(applies("prod", after("success", "failure"))).toBe(false);
    expect(applies("prod", after("skipped", "skipped"), "prod")).toBe(true);
    expect(applies("prod", after("success", "skipped"), "staging")).toBe(false);
    for (const [platform, infra] of [
      ["staging-platform", "staging"],
      ["prod-platform", "prod"],
    ] as const) {
      expect(applies(platform, { [infra]: "success" })).toBe(true);
      expect(applies(platform, { [infra]: "success" }, "", "")).toBe(false);
      expect(applies(platform, { [infra]: "failure" })).toBe(false);
      expect(applies(platform, { [infra]: "skipped" }, platform)).toBe(true);
      expect(applies(platform, { [infra]: "skipped" }, infra)).toBe(false);
    }
  });

  it.each([
    ["same", "", true, false],
    ["nothing", "", false, false],
    ["different", "", false, true],
    ["different", "d1", true, false],
    ["different", "d2", false, true],
  ])("apply a merged plan that is %s with approval %j: %s", (verdict, approved, applies, stops) => {
    const steps = workflow("infra-apply-stack.yml").jobs.apply?.steps as readonly { name?: string; if?: string }[];
    const contexts = {
      inputs: { "approved-digest": approved, "closed-pull": "" },
      steps: { again: { outputs: { verdict, digest: "d1" }, outcome: "success" } },
    };
    const does = (name: string) => runs(steps.find((step) => step.name === name)?.if, contexts);
    expect(does("Apply what was reviewed")).toBe(applies);
    expect(does("Stop at a plan that nobody reviewed")).toBe(stops);
  });

  it("plan only what comes from this repository, and preview the rest", () => {
    expect(workflow("infra-plan.yml").jobs.pull?.if).toContain("head_repository.full_name == github.repository");
    expect(workflow("infra-preview.yml").jobs.preview?.permissions).toEqual({
      contents: "read",
      actions: "read",
      "pull-requests": "write",
    });
    expect(text("infra-preview.yml")).not.toContain("id-token");
  });
});

it("gives Atlantis the stacks that the workflows plan, in the same order", () => {
  const { projects } = parse(readFileSync(join(FOLDER, "../../atlantis.yaml"), "utf8")) as {
    projects: readonly { name: string; workflow: string; execution_order_group: number; depends_on?: string[] }[];
  };
  const planned = workflow("infra-plan.yml").jobs.plan?.strategy?.matrix.include?.map(({ stack }) => stack);
  expect(projects.map(({ name }) => name).sort()).toEqual([...(planned ?? [])].sort());
  const group = new Map(projects.map((project) => [project.name, project.execution_order_group]));
  for (const { name, depends_on: needed = [], workflow: used } of projects) {
    expect(used).toBe("urr");
    for (const other of needed) expect(group.get(other)).toBeLessThan(group.get(name) ?? 0);
    if (name.endsWith("-platform")) expect(needed).toEqual([name.replace("-platform", "")]);
  }
});

it("applies on Atlantis through the guard as well: a refused plan stays in the server's folder", () => {
  const text = readFileSync(join(FOLDER, "../../docs/plan-comments.md"), "utf8");
  const [, block = ""] = /```yaml\n(repos:[\s\S]*?)```/.exec(text) ?? [];
  const { workflows } = parse(block) as {
    workflows: { urr: Readonly<Record<"plan" | "apply", { steps: readonly { run: string }[] }>> };
  };
  const { apply, plan } = workflows.urr;
  expect(plan.steps.at(-1)?.run).toMatch(/^npm run -s guard -- /);
  for (const { run } of apply.steps) expect(run).toMatch(/^tools\/guard\/terraform\.mjs /);
});
