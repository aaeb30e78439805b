import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { bootstrap } from "../../../environments/bootstrap";
import {
  COMMON_LIBRARY,
  imageRepository,
  SERVICES,
  serviceNamed,
  sourceFolder,
  sourcePaths,
} from "../../../environments/services";
import { command, goVersion } from "../../../tools/kube/build";
import { COMMANDS } from "../../../tools/kube/versions";
import { evaluate, filled, runs, type Value } from "./expressions";
import { type Step, shell, stepsOf } from "./job";

const ROOT = resolve(import.meta.dirname, "../../..");
const FOLDER = join(ROOT, ".github/workflows");
const NAMES = readdirSync(FOLDER).filter((name) => name.endsWith(".yml") && name !== "ci.yml");
const SPRING = SERVICES.filter(({ runtime }) => runtime === "spring").map(({ name }) => name);
const CALLERS = SPRING.map((name) => `${name}-ci-cd.yml`);
const SERVICE_CI = [
  ...CALLERS,
  "e2e-tests.yml",
  "frontend-ci-cd.yml",
  "load-tests.yml",
  "pr-validation.yml",
  "reusable-spring-ci-cd.yml",
  "rollback.yml",
  "set-image.yml",
];

interface Job {
  readonly if?: string;
  readonly needs?: string | readonly string[];
  readonly uses?: string;
  readonly with?: Readonly<Record<string, string>>;
  readonly secrets?: Readonly<Record<string, string>>;
  readonly permissions?: Readonly<Record<string, string>>;
  readonly environment?: string;
  readonly steps?: readonly Step[];
  readonly strategy?: { readonly "fail-fast"?: boolean };
}
interface Trigger {
  readonly branches?: readonly string[];
  readonly paths?: readonly string[];
  readonly inputs?: Readonly<Record<string, Readonly<Record<string, Value>>>>;
  readonly secrets?: Readonly<Record<string, unknown>>;
}
interface Workflow {
  readonly on: Readonly<Record<string, Trigger | null>>;
  readonly permissions: Readonly<Record<string, string>>;
  readonly concurrency?: { readonly group: string; readonly "cancel-in-progress": boolean };
  readonly jobs: Readonly<Record<string, Job>>;
}

const text = (name: string): string => readFileSync(join(FOLDER, name), "utf8");
const workflow = (name: string): Workflow => parse(text(name)) as Workflow;
const job = (name: string, id: string): Job => {
  const found = workflow(name).jobs[id];
  if (!found) throw new Error(`${name} has no job ${id}`);
  return found;
};
const list = (value: string | readonly string[] | undefined): readonly string[] =>
  value === undefined ? [] : typeof value === "string" ? [value] : value;

describe("all workflows", () => {
  const actionlint = join(ROOT, "node_modules/.cache/urr-infra/bin/actionlint");
  beforeAll(() => {
    if (existsSync(actionlint) || goVersion() === undefined) return;
    spawnSync("go", ["install", "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"], {
      env: { ...process.env, GOBIN: join(actionlint, "..") },
      stdio: "inherit",
    });
  }, 300_000);

  it.skipIf(!process.env.CI && !existsSync(actionlint) && goVersion() === undefined)(
    "pass actionlint (needs Go outside CI)",
    () => {
      const { status, stdout, error } = spawnSync(actionlint, ["-no-color"], { cwd: ROOT, encoding: "utf8" });
      expect(error).toBeUndefined();
      expect(stdout).toBe("");
      expect(status).toBe(0);
    },
  );

  it.each(
    NAMES,
  )("%s pins the actions of others by full commits, one per action, with the version beside it", (name) => {
    for (const line of text(name).match(/^.*\buses: .*$/gm) ?? []) {
      if (!line.includes("uses: ./")) expect(line).toMatch(/uses: [\w-]+(?:\/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
    }
  });

  it("agree on one commit of every action", () => {
    const commits = new Map<string, Set<string>>();
    for (const name of NAMES) {
      for (const [, action = "", commit = ""] of text(name).matchAll(/uses: ([\w-]+(?:\/[\w.-]+)+)@([0-9a-f]{40})/g))
        commits.set(action, (commits.get(action) ?? new Set()).add(commit));
    }
    expect([...commits].filter(([, used]) => used.size > 1)).toEqual([]);
  });

  it.each(NAMES)("%s has no expression in a script", (name) => {
    for (const { steps } of Object.values(workflow(name).jobs))
      for (const { run } of steps ?? []) expect(run ?? "").not.toContain("${{");
  });

  it.each(NAMES)("%s asks for no more than the job that it calls may have", (name) => {
    const rank: Readonly<Record<string, number>> = { read: 1, write: 2 };
    const { jobs, permissions } = workflow(name);
    for (const { uses, permissions: granted = permissions } of Object.values(jobs)) {
      if (!uses?.startsWith("./")) continue;
      const called = workflow(uses.split("/").at(-1) ?? "");
      for (const inner of Object.values(called.jobs)) {
        for (const [scope, level] of Object.entries(inner.permissions ?? called.permissions))
          expect(rank[granted[scope] ?? ""] ?? 0, `${name} → ${uses}: ${scope}`).toBeGreaterThanOrEqual(
            rank[level] ?? 0,
          );
      }
    }
  });
});

describe("service CI", () => {
  it("is complete, with a caller for every Spring service of the catalogue", () => {
    expect(NAMES.filter((name) => !/^(?:infra-|drift|charts)/.test(name)).sort()).toEqual([...SERVICE_CI].sort());
    expect(SPRING).toHaveLength(8);
  });

  it("has callers that differ in nothing but the service and the library that six share", () => {
    const shape = (name: string) =>
      text(`${name}-ci-cd.yml`).replaceAll(name, "SERVICE").replace("      - services-spring/urr-common/**\n", "");
    expect(new Set(SPRING.map(shape)).size).toBe(1);
    // Source: Architecture guide §8, "services-spring/urr-common".
    expect(SPRING.filter((name) => text(`${name}-ci-cd.yml`).includes("urr-common")).sort()).toEqual([
      "catalog-service",
      "community-service",
      "payment-service",
      "queue-service",
      "stats-service",
      "ticket-service",
    ]);
  });

  it("takes the documented inputs and secrets", () => {
    const { inputs, secrets } = workflow("reusable-spring-ci-cd.yml").on.workflow_call ?? {};
    expect(Object.keys(inputs ?? {})).toEqual(["service-name", "ecr-repository", "service-path", "environment"]);
    expect(inputs?.environment?.default).toBe("staging");
    expect(Object.keys(secrets ?? {})).toEqual(["AWS_ROLE_ARN", "AWS_ACCOUNT_ID", "DISCORD_WEBHOOK"]);
  });

  it("goes through the documented stages in their order", () => {
    const { jobs } = workflow("reusable-spring-ci-cd.yml");
    const stages = ["unit-test", "integration-test", "build-and-push", "update-manifests", "e2e-gate", "load-test"];
    expect(Object.keys(jobs)).toEqual([...stages, "notify"]);
    stages.slice(1).forEach((stage, index) => {
      expect(list(jobs[stage]?.needs)).toEqual([stages[index]]);
    });
    expect(list(jobs.notify?.needs)).toEqual(stages);
  });

  it.each([
    ["staging", true],
    ["prod", false],
  ])("tests a deployment to %s end to end and under load: %s", (environment, expected) => {
    const contexts = { inputs: { environment }, needs: {} };
    for (const id of ["e2e-gate", "load-test"])
      expect(runs(job("reusable-spring-ci-cd.yml", id).if, contexts)).toBe(expected);
    expect(runs(job("load-tests.yml", "load").if, contexts)).toBe(expected);
  });

  it("tells how it went also where a stage failed, and does not put load on what failed", () => {
    expect(runs(job("reusable-spring-ci-cd.yml", "notify").if, { inputs: {} }, "failure")).toBe(true);
    const staging = { inputs: { environment: "staging" } };
    expect(runs(job("reusable-spring-ci-cd.yml", "load-test").if, staging, "failure")).toBe(false);
  });

  it.each(["ticket-service-ci-cd.yml", "frontend-ci-cd.yml"])("%s reaches production by approval only", (name) => {
    const id = name.startsWith("frontend") ? "test" : "deploy";
    const deploys = (environment: Value, approval: string, ref = "refs/heads/main") =>
      runs(
        job(name, id).if,
        { inputs: { environment }, github: { ref }, needs: { "prod-approval": { result: approval } } },
        approval === "success" || approval === "skipped" ? "success" : "failure",
      );
    const asks = (environment: Value) => runs(job(name, "prod-approval").if, { inputs: { environment } });
    expect(job(name, "prod-approval").environment).toBe("production");
    expect([asks("prod"), asks("staging"), asks(null)]).toEqual([true, false, false]);
    expect(deploys("prod", "success")).toBe(true);
    expect(deploys("prod", "skipped")).toBe(false);
    expect(deploys("prod", "failure")).toBe(false);
    expect(deploys("staging", "skipped")).toBe(true);
    expect(deploys(null, "skipped")).toBe(true);
    expect(deploys("staging", "skipped", "refs/heads/other")).toBe(false);
  });

  it("deploys a push to staging, and one deployment of a service at a time", () => {
    const { concurrency, jobs } = workflow("ticket-service-ci-cd.yml");
    const to = (environment: Value) => filled(jobs.deploy?.with?.environment ?? "", { inputs: { environment } });
    expect([to(null), to("staging"), to("prod")]).toEqual(["staging", "staging", "prod"]);
    expect(concurrency?.["cancel-in-progress"]).toBe(false);
    const rollback = workflow("rollback.yml").concurrency;
    const inputs = { service: "ticket-service", environment: "prod" };
    expect(filled(rollback?.group ?? "", { inputs })).toBe(filled(concurrency?.group ?? "", { inputs }));
    expect(rollback?.["cancel-in-progress"]).toBe(false);
  });

  it("assumes roles only in the files and the environment that the trust policies name", () => {
    const assuming = SERVICE_CI.filter((name) => text(name).includes("configure-aws-credentials"));
    expect(assuming.sort()).toEqual([...bootstrap.github.imageWorkflows].sort());
    for (const name of SERVICE_CI) {
      for (const [id, one] of Object.entries(workflow(name).jobs)) {
        const token = one.permissions?.["id-token"] === "write";
        const assumes =
          one.steps?.some(({ uses }) => uses?.startsWith("aws-actions/configure-aws-credentials@")) === true;
        if (one.uses === undefined) expect(token, `${name}: ${id}`).toBe(assumes);
        if (assumes) expect(one.environment).toBe(bootstrap.github.publishEnvironment);
      }
    }
  });

  it.each([
    ["reusable-spring-ci-cd.yml", "build-and-push"],
    ["frontend-ci-cd.yml", "build-and-push"],
  ])("%s scans before it pushes one immutable tag for one architecture", (name, id) => {
    const steps = stepsOf(name, id);
    const at = (test: (step: Step) => boolean) => steps.findIndex(test);
    const build = at(({ uses }) => uses?.startsWith("docker/build-push-action@") === true);
    const scan = at(({ uses }) => uses?.startsWith("aquasecurity/trivy-action@") === true);
    const push = at(({ run }) => run?.startsWith("docker push") === true);
    expect(build).toBeGreaterThan(0);
    expect(scan).toBe(build + 1);
    expect(push).toBe(scan + 1);
    const inputs = steps[build]?.with ?? {};
    expect(inputs).toMatchObject({ platforms: "linux/amd64", push: false, load: true });
    expect(steps[scan]?.with).toMatchObject({ severity: "CRITICAL,HIGH", "exit-code": "1" });
    const contexts = {
      inputs: { "ecr-repository": "urr/frontend" },
      steps: { registry: { outputs: { registry: "R" } }, tag: { outputs: { tag: "0123abc-20261121090000" } } },
    };
    const images = [inputs.tags, steps[scan]?.with?.["image-ref"], steps[push]?.env?.IMAGE];
    for (const image of images) expect(filled(String(image), contexts)).toBe("R/urr/frontend:0123abc-20261121090000");
  });

  it("hands the shared library to the builds of images, which see no folder but the service's own", () => {
    const steps = stepsOf("reusable-spring-ci-cd.yml", "build-and-push");
    const build = steps.find(({ uses }) => uses?.startsWith("docker/build-push-action@"));
    expect(build?.with?.["build-contexts"]).toBe(`${COMMON_LIBRARY.name}=${COMMON_LIBRARY.folder}`);
  });

  it("names an image by commit and time", async () => {
    const folder = mkdtempSync(join(tmpdir(), "urr-tag-"));
    try {
      const step = stepsOf("reusable-spring-ci-cd.yml", "build-and-push").find(({ id }) => id === "tag");
      const file = join(folder, "out");
      await shell(step?.run ?? "", folder, {
        PATH: process.env.PATH,
        GITHUB_SHA: "0123abcdef".repeat(4),
        GITHUB_OUTPUT: file,
      });
      expect(readFileSync(file, "utf8")).toMatch(/^tag=0123abc-\d{14}\n$/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("builds the frontend from the folder, into the repository and under the name of the catalogue", () => {
    const frontend = serviceNamed("frontend");
    expect(workflow("frontend-ci-cd.yml").on.push?.paths).toEqual(sourcePaths(frontend));
    const build = stepsOf("frontend-ci-cd.yml", "build-and-push").find(({ uses }) =>
      uses?.includes("/build-push-action@"),
    );
    expect(build?.with?.context).toBe(sourceFolder(frontend));
    expect(job("frontend-ci-cd.yml", "update-manifests").with).toMatchObject({
      "service-name": frontend.name,
      "ecr-repository": imageRepository(frontend),
    });
  });

  it("uploads the frontend's hashed files for a year, to the bucket of the environment, and deletes none", () => {
    const upload = stepsOf("frontend-ci-cd.yml", "build-and-push").at(-1);
    const bucket = (environment: Value) => filled(upload?.env?.BUCKET ?? "", { inputs: { environment } });
    expect([bucket("prod"), bucket("staging"), bucket(null)]).toEqual([
      "urr-prod-frontend-prod",
      "urr-staging-frontend-staging",
      "urr-staging-frontend-staging",
    ]);
    expect(upload?.run).toContain("'public, max-age=31536000, immutable'");
    expect(upload?.run).not.toContain("--delete");
  });

  it("tests in a pull request what it touches, each service by itself, without credentials", () => {
    const { jobs, on } = workflow("pr-validation.yml");
    expect(Object.keys(on)).toEqual(["pull_request"]);
    expect(jobs.spring?.strategy?.["fail-fast"]).toBe(false);
    const filters = stepsOf("pr-validation.yml", "changes").find(({ id }) => id === "services")?.with?.filters ?? "";
    expect(parse(filters)).toEqual(
      Object.fromEntries(
        SERVICES.filter(({ runtime }) => runtime === "spring").map((service) => [service.name, sourcePaths(service)]),
      ),
    );
    const touched = (services: string, frontend: string) =>
      ["spring", "frontend"].filter((id) =>
        runs(jobs[id]?.if, { needs: { changes: { outputs: { services, frontend } } } }),
      );
    expect(touched("[]", "false")).toEqual([]);
    expect(touched('["auth-service"]', "false")).toEqual(["spring"]);
    expect(touched("[]", "true")).toEqual(["frontend"]);
    expect(text("pr-validation.yml")).not.toMatch(/secrets\.|id-token|: write/);
  });

  it("rolls back any of the nine services, in production by approval", () => {
    const { inputs } = workflow("rollback.yml").on.workflow_dispatch ?? {};
    expect([...((inputs?.service?.options ?? []) as string[])].sort()).toEqual(SERVICES.map(({ name }) => name).sort());
    const approval = job("rollback.yml", "approval").environment ?? "";
    expect(filled(approval, { inputs: { environment: "prod" } })).toBe("production");
    expect(filled(approval, { inputs: { environment: "staging" } })).toBe("staging");
    expect(list(job("rollback.yml", "update-manifests").needs)).toEqual(["approval"]);
  });
});

describe("a message about a deployment", () => {
  it("carries every stage's result, quotes what it is given and mentions nobody", async () => {
    const folder = mkdtempSync(join(tmpdir(), "urr-notify-"));
    try {
      mkdirSync(join(folder, "bin"));
      writeFileSync(join(folder, "bin/curl"), `#!/bin/sh\necho "$@" > called\n`, { mode: 0o755 });
      const step = stepsOf("reusable-spring-ci-cd.yml", "notify")[0];
      const title = '@everyone "$(id)" `id`';
      const environment = {
        PATH: `${join(folder, "bin")}:${process.env.PATH}`,
        RESULTS: String(
          evaluate("toJSON(needs)", { needs: { build: { result: "success" }, "e2e-gate": { result: "failure" } } }),
        ),
        TITLE: title,
        GITHUB_ACTOR: "dev",
        GITHUB_SERVER_URL: "https://github.example",
        GITHUB_REPOSITORY: "urr/infra",
        GITHUB_RUN_ID: "1",
      };
      expect((await shell(step?.run ?? "", folder, { ...environment, WEBHOOK: "" })).code).toBe(0);
      expect(existsSync(join(folder, "called"))).toBe(false);
      expect((await shell(step?.run ?? "", folder, { ...environment, WEBHOOK: "https://d.example" })).code).toBe(0);
      const message = JSON.parse(readFileSync(join(folder, "message.json"), "utf8")) as {
        allowed_mentions: unknown;
        embeds: { title: string; fields: { name: string; value: string }[] }[];
      };
      expect(message.allowed_mentions).toEqual({ parse: [] });
      expect(message.embeds[0]?.title).toBe(`${title}: failed`);
      expect(message.embeds[0]?.fields.map(({ name, value }) => `${name} ${value}`)).toEqual([
        "build success",
        "e2e-gate failure",
        "by dev",
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe.skipIf(!process.env.CI && goVersion() === undefined)("setting an image (needs Go outside CI)", () => {
  const TAG = "0123abc-20261121090000";
  let folder: string;
  let kustomize: string;
  beforeAll(() => {
    kustomize = command("kustomize");
  }, 300_000);
  const git = (cwd: string, ...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync(
      "git",
      ["-c", "user.name=t", "-c", "user.email=t@example.com", ...args],
      {
        cwd,
        encoding: "utf8",
        env: { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" },
      },
    );
    if (status !== 0) throw new Error(`git ${args.join(" ")}: ${stderr}`);
    return stdout;
  };
  const overlay = (at: string) => join(at, "k8s/spring/overlays/staging/kustomization.yaml");
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "urr-set-image-"));
    const seed = join(folder, "seed");
    mkdirSync(join(seed, "k8s/spring/overlays/staging"), { recursive: true });
    writeFileSync(overlay(seed), readFileSync(overlay(ROOT)));
    git(seed, "init", "--quiet", "--initial-branch=main");
    git(seed, "add", ".");
    git(seed, "commit", "--quiet", "--message=start");
    git(folder, "clone", "--quiet", "--bare", "seed", "remote.git");
    for (const name of ["mine", "other"]) git(folder, "clone", "--quiet", "remote.git", name);
    mkdirSync(join(folder, "bin"));
    writeFileSync(join(folder, "bin/gh"), "#!/bin/sh\n", { mode: 0o755 });
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const set = (change: Readonly<Record<string, string>> = {}) => {
    const script = stepsOf("set-image.yml", "set-image").at(-1)?.run ?? "";
    return shell(script, join(folder, "mine"), {
      PATH: `${join(folder, "bin")}:${join(kustomize, "..")}:${process.env.PATH}`,
      HOME: folder,
      SERVICE: "ticket-service",
      REPOSITORY: "urr/ticket-service",
      TARGET: "staging",
      TAG,
      ACCOUNT: "123456789012",
      RETRY_SECONDS: "0",
      ...change,
    });
  };
  const images = () => {
    const { images: found } = parse(
      git(join(folder, "remote.git"), "show", "main:k8s/spring/overlays/staging/kustomization.yaml"),
    ) as {
      images: { name: string; newName: string; newTag: string }[];
    };
    return Object.fromEntries(found.map(({ name, newName, newTag }) => [name, `${newName}:${newTag}`]));
  };

  it("uses the kustomize that the overlays are tested with", () => {
    expect(text("set-image.yml")).toContain(`${COMMANDS.kustomize.package}@${COMMANDS.kustomize.version}`);
  });

  it("changes one image and commits without starting CI, once", async () => {
    const before = images();
    expect(await set()).toMatchObject({ code: 0 });
    expect(images()).toEqual({
      ...before,
      "ticket-service": `123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/urr/ticket-service:${TAG}`,
    });
    expect(git(join(folder, "remote.git"), "log", "-1", "--format=%s", "main").trim()).toBe(
      `[skip ci] chore(k8s): update ticket-service image to ${TAG} [staging]`,
    );
    expect((await set()).text).toContain("already");
    expect(git(join(folder, "remote.git"), "rev-list", "--count", "main").trim()).toBe("2");
  });

  it("comes through where a neighbour's tag is pushed in between, and keeps it", async () => {
    const hook = join(folder, "remote.git/hooks/pre-receive");
    writeFileSync(hook, `#!/bin/sh\n[ -e '${folder}/refused' ] && exit 0\ntouch '${folder}/refused'\nexit 1\n`, {
      mode: 0o755,
    });
    const other = join(folder, "other");
    writeFileSync(
      overlay(other),
      readFileSync(overlay(other), "utf8").replace(/(urr\/stats-service\n\s+newTag: ).*/, "$1fffffff-20261121080000"),
    );
    git(other, "commit", "--quiet", "--all", "--message=neighbour");
    // The first push is refused and, while it is, the neighbour's arrives.
    writeFileSync(
      hook,
      `#!/bin/sh
if [ ! -e '${folder}/raced' ]; then touch '${folder}/raced'; env -u GIT_QUARANTINE_PATH -u GIT_OBJECT_DIRECTORY -u GIT_ALTERNATE_OBJECT_DIRECTORIES -u GIT_DIR git -C '${other}' push --quiet origin main; exit 1; fi
`,
      { mode: 0o755 },
    );
    const { code, text: log } = await set();
    expect(log).toContain("attempt 1");
    expect(code).toBe(0);
    expect(images()["stats-service"]).toContain("fffffff-20261121080000");
    expect(images()["ticket-service"]).toContain(TAG);
  });

  it("fails after five refused pushes", async () => {
    writeFileSync(join(folder, "remote.git/hooks/pre-receive"), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
    const { code, text: log } = await set();
    expect(code).toBe(1);
    expect(log).toContain("attempt 5");
    expect(log).not.toContain("attempt 6");
  });

  it.each([
    ["a moving tag", { TAG: "latest" }],
    ["a tag that is a program", { TAG: "0123abc-20261121090000$(id)" }],
    ["another environment", { TARGET: "../../argocd" }],
    ["another repository", { REPOSITORY: "evil/ticket-service" }],
    ["a service that the overlay does not have", { SERVICE: "evil-service", REPOSITORY: "urr/evil-service" }],
  ])("fails on %s, and pushes nothing", async (_, change) => {
    const before = images();
    const { code, text: log } = await set(change);
    expect(code).toBe(1);
    expect(log).toContain("::error::");
    expect(images()).toEqual(before);
  });
});
