import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { CreateTableCommand, DeleteItemCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { App, S3Backend, TerraformResource, TerraformStack } from "cdktf";
import dynalite from "dynalite";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { deterministicZip } from "../../../lib/lambda-bundle/zip";
import { packBundle } from "../../../tools/plan-comments/commands/bundle";
import { StackLocks } from "../../../tools/plan-comments/commands/locks";
import { keyOf } from "../../../tools/plan-comments/commands/store";
import { canRunTerraform } from "../../support/real-terraform";
import { GitHubServer } from "./github-server";
import { type JobResult, runJob } from "./job";
import { ObjectStore } from "./object-store";

const ROOT = resolve(import.meta.dirname, "../../..");
const HEAD = "a".repeat(40);
const BASE = "b".repeat(40);
const TABLE = "urr-terraform-locks";
const STATE = "/urr-terraform-state-staging/staging/terraform.tfstate";
const PLAN_RUN = 501;
const APPLY_RUN = 502;
const hasAws = canRunTerraform("the guard on the path from synth to apply", ["aws"]);
const ACCOUNT = "123456789012";
const KEY = `arn:aws:kms:ap-northeast-2:${ACCOUNT}:key/bundles`;

class Greeting extends TerraformResource {
  constructor(
    scope: TerraformStack,
    private readonly text: string,
  ) {
    super(scope, "greeting", { terraformResourceType: "terraform_data" });
  }

  protected override synthesizeAttributes() {
    return { input: this.text };
  }
}

/** A stack that needs no cloud, with the state where the real one has it. */
function synthesize(folder: string, text: string): void {
  mkdirSync(folder, { recursive: true });
  const app = new App({ outdir: folder, skipValidation: true });
  const stack = new TerraformStack(app, "staging");
  new S3Backend(stack, {
    bucket: "urr-terraform-state-staging",
    key: "staging/terraform.tfstate",
    region: "ap-northeast-2",
    dynamodbTable: TABLE,
    encrypt: true,
    skipCredentialsValidation: true,
    skipMetadataApiCheck: true,
    skipRequestingAccountId: true,
    skipS3Checksum: true,
    usePathStyle: true,
  });
  new Greeting(stack, text);
  app.synth();
}

/** The same stack with AWS's provider, which asks only whose credentials it has while it plans without a refresh. */
function synthesizeWithAws(folder: string): void {
  synthesize(folder, "as reviewed");
  const file = join(folder, "stacks/staging/cdk.tf.json");
  const body = JSON.parse(readFileSync(file, "utf8")) as { terraform: object };
  const requiredProviders = { aws: { source: "hashicorp/aws", version: "5.100.0" } };
  const aws = { region: "ap-northeast-2", allowed_account_ids: [ACCOUNT] };
  writeFileSync(
    file,
    JSON.stringify({
      ...body,
      terraform: { ...body.terraform, required_providers: requiredProviders },
      provider: { aws: [aws] },
    }),
  );
}

/** Answers whose credentials these are, as STS does. */
const sts = createServer((_, response) =>
  response
    .writeHead(200, { "content-type": "text/xml" })
    .end(
      `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:sts::${ACCOUNT}:assumed-role/urr-ci-plan-staging/x</Arn><UserId>x</UserId><Account>${ACCOUNT}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`,
    ),
);

/** What Terraform remembers of a queue that the configuration no longer has. */
const stateWithQueue = {
  version: 4,
  terraform_version: "1.11.4",
  serial: 1,
  lineage: "00000000-0000-0000-0000-000000000000",
  outputs: {},
  resources: [
    {
      mode: "managed",
      type: "aws_sqs_queue",
      name: "jobs",
      provider: 'provider["registry.terraform.io/hashicorp/aws"]',
      instances: [
        {
          schema_version: 0,
          attributes: { id: `https://sqs.ap-northeast-2.amazonaws.com/${ACCOUNT}/jobs`, name: "jobs" },
        },
      ],
    },
  ],
};

describe("the path from a pull request's synth to its apply", { timeout: 300_000 }, () => {
  const locksServer = dynalite({ createTableMs: 0 });
  let dynamodb: DynamoDBClient;
  let locks: StackLocks;
  let store: ObjectStore;
  let github: GitHubServer;
  let folder: string;
  let environment: NodeJS.ProcessEnv;

  beforeAll(async () => {
    await new Promise<void>((done) => locksServer.listen(0, "127.0.0.1", done));
    await new Promise<void>((done) => sts.listen(0, "127.0.0.1", done));
    const endpoint = `http://127.0.0.1:${(locksServer.address() as { port: number }).port}`;
    dynamodb = new DynamoDBClient({
      endpoint,
      region: "ap-northeast-2",
      credentials: { accessKeyId: "x", secretAccessKey: "x" },
    });
    await dynamodb.send(
      new CreateTableCommand({
        TableName: TABLE,
        KeySchema: [{ AttributeName: "LockID", KeyType: "HASH" }],
        AttributeDefinitions: [{ AttributeName: "LockID", AttributeType: "S" }],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
    locks = new StackLocks(dynamodb, TABLE);
  });
  afterAll(async () => {
    dynamodb.destroy();
    await new Promise<void>((done) => locksServer.close(() => done()));
    sts.closeAllConnections();
    await new Promise<void>((done) => sts.close(() => done()));
  });

  beforeEach(async () => {
    store = new ObjectStore();
    github = new GitHubServer();
    folder = mkdtempSync(join(tmpdir(), "urr-whole-path-"));
    for (const name of ["tools", "lib", "node_modules", "package.json"])
      symlinkSync(join(ROOT, name), join(folder, name));
    const bin = join(folder, "bin");
    mkdirSync(bin);
    writeFileSync(join(bin, "gh"), `#!/bin/sh\necho "$@" >> '${join(folder, "gh.log")}'\n`);
    chmodSync(join(bin, "gh"), 0o755);
    const objects = await store.start();
    environment = {
      PATH: `${bin}:${process.env.PATH}`,
      HOME: process.env.HOME,
      CHECKPOINT_DISABLE: "1",
      AWS_ACCESS_KEY_ID: "x",
      AWS_SECRET_ACCESS_KEY: "x",
      AWS_REGION: "ap-northeast-2",
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_ENDPOINT_URL_S3: objects,
      AWS_ENDPOINT_URL_STS: `http://127.0.0.1:${(sts.address() as AddressInfo).port}`,
      AWS_ENDPOINT_URL_DYNAMODB: await dynamodb.config
        .endpoint?.()
        .then(({ hostname, port }) => `http://${hostname}:${port}`),
      AWS_REQUEST_CHECKSUM_CALCULATION: "WHEN_REQUIRED",
      AWS_RESPONSE_CHECKSUM_VALIDATION: "WHEN_REQUIRED",
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
      GITHUB_API_URL: await github.start(),
      GITHUB_REPOSITORY: "urr/infra",
      GITHUB_SERVER_URL: "https://github.example",
      GITHUB_SHA: HEAD,
      GITHUB_ACTOR: "dev",
      GITHUB_EVENT_PATH: join(folder, "event.json"),
    };
    github.permissions = { dev: "write", lead: "write" };
    github.reviews = [{ user: "lead", state: "APPROVED", commit: HEAD }];
    github.runs = { [PLAN_RUN]: "completed", [APPLY_RUN]: "in_progress" };
    synthesize(join(folder, "synth/head"), "as reviewed");
    synthesize(join(folder, "synth/base"), "as before");
  });
  afterEach(async () => {
    await locks.finish("staging", APPLY_RUN);
    for (const pull of [0, 1]) await locks.release("staging", pull);
    // Terraform keeps the digest of the state here, and the next test's store is empty.
    await dynamodb.send(new DeleteItemCommand({ TableName: TABLE, Key: { LockID: { S: `${STATE.slice(1)}-md5` } } }));
    await store.stop();
    await github.stop();
    rmSync(folder, { recursive: true });
  });

  const vars = { AWS_ACCOUNT_ID: ACCOUNT, PLAN_BUNDLE_KEY_ARN: KEY, TERRAFORM_TFVARS: "" };

  /** The two jobs of a plan; only what the first one keeps is in the second one's folder. */
  const plan = async (runner = "ubuntu-24.04"): Promise<JobResult> => {
    const job = (name: string) =>
      runJob("infra-plan-stack.yml", name, {
        folder,
        environment: { ...environment, GITHUB_RUN_ID: String(PLAN_RUN) },
        contexts: {
          inputs: {
            stack: "staging",
            environment: "staging-plan",
            runner,
            "synth-run": "500",
            head: HEAD,
            base: BASE,
            pull: "1",
          },
          github: { token: "github-actions[bot]", event_name: "workflow_run" },
          env: { INFRACOST: "false" },
          vars,
        },
        onAction: (action, inputs) => {
          if (action === "aws-actions/configure-aws-credentials") assumed.push(inputs["role-to-assume"] ?? "");
          if (action === "actions/download-artifact" && inputs.name?.startsWith("checked-"))
            renameSync(join(folder, "artifact"), join(folder, inputs.path ?? ""));
          if (action !== "actions/upload-artifact") return;
          if (inputs.name?.startsWith("checked-"))
            renameSync(join(folder, inputs.path ?? ""), join(folder, "artifact"));
          else if (inputs.name?.startsWith("planned-"))
            keep(inputs.name, PLAN_RUN, readFileSync(join(folder, inputs.path ?? "")));
        },
      });
    // Every plan runs on runners of its own.
    assumed.length = 0;
    rmSync(join(folder, "checked"), { recursive: true, force: true });
    const checked = await job("check");
    if (checked.status !== "success") return checked;
    expect(assumed).toEqual([]);
    rmSync(join(folder, "synth"), { recursive: true });
    return job(runner === "" ? "preview" : "plan");
  };
  const assumed: string[] = [];

  /** As with `overwrite`: one artifact of a name per run. */
  const keep = (name: string, run: number, content: Buffer): void => {
    const zip = deterministicZip({ "planned.json": content });
    const others = github.artifacts.filter((artifact) => artifact.name !== name || artifact.run !== run);
    const id = Math.max(0, ...github.artifacts.map((artifact) => artifact.id)) + 1;
    github.artifacts = [...others, { id, name, run, zip }];
  };

  const apply = (inputs: Readonly<Record<string, string>> = {}, event = "issue_comment"): Promise<JobResult> => {
    writeFileSync(
      join(folder, "event.json"),
      JSON.stringify({
        action: "created",
        issue: { number: 1, pull_request: {} },
        comment: {
          id: 77,
          body: "cdktf apply staging",
          created_at: "t",
          updated_at: "t",
          user: { login: "dev", type: "User" },
        },
      }),
    );
    return runJob("infra-apply-stack.yml", "apply", {
      folder,
      environment: { ...environment, STACK: "staging", GITHUB_RUN_ID: String(APPLY_RUN) },
      contexts: {
        inputs: {
          stack: "staging",
          environment: "staging",
          runner: "ubuntu-24.04",
          "merged-pull": "",
          "merged-head": "",
          "approved-digest": "",
          "closed-pull": "",
          ...inputs,
        },
        github: { token: "github-actions[bot]", event_name: event, event: { issue: { number: 1 } } },
        vars,
      },
    });
  };

  const greeting = (): string | undefined => {
    const state = store.objects.get(STATE);
    if (!state) return undefined;
    const { resources } = JSON.parse(state.body.toString()) as {
      resources: { instances: { attributes: { output: { value: string } | string } }[] }[];
    };
    return JSON.stringify(resources[0]?.instances[0]?.attributes.output ?? null);
  };
  const bundle = (): string => [...store.objects.keys()].find((key) => key.startsWith("/urr-plan-bundles/")) ?? "";

  it("plans, comments, and applies exactly what was reviewed, whatever the checkout says by then", async () => {
    const planned = await plan();
    expect(planned.log).not.toContain("Error");
    expect(planned.status).toBe("success");
    expect(github.comments).toHaveLength(1);
    expect(github.comments[0]?.body).toContain("## Plan for `staging`: 1 to add");
    expect(github.comments[0]?.body).toContain("as reviewed");
    expect(store.objects.get(bundle())?.headers).toMatchObject({
      "x-amz-server-side-encryption": "aws:kms",
      "x-amz-server-side-encryption-aws-kms-key-id": KEY,
    });
    expect(greeting()).toBeUndefined();
    expect(assumed).toEqual([`arn:aws:iam::${ACCOUNT}:role/urr-ci-plan-staging`]);
    synthesize(join(folder, "synth/head"), "as nobody read it");

    const applied = await apply();
    expect(applied.log).toContain("Apply complete! Resources: 1 added, 0 changed, 0 destroyed.");
    expect(applied.status).toBe("success");
    expect(greeting()).toContain("as reviewed");
    expect(await locks.holder("staging")).toMatchObject({ pull: 1, head: HEAD, who: "dev" });
    expect((await locks.holder("staging"))?.run).toBeUndefined();
    expect(readFileSync(join(folder, "gh.log"), "utf8")).toContain("Apply of `staging`: success.");
  });

  it("applies what was planned for a command in a comment", async () => {
    await plan();
    github.origins[PLAN_RUN] = { event: "issue_comment", path: ".github/workflows/infra-command.yml" };
    expect((await apply()).status).toBe("success");
    expect(greeting()).toContain("as reviewed");
  });

  it("has nothing left to do after the merge of what was applied, and frees the stack", async () => {
    await plan();
    await apply();
    synthesize(join(folder, "synth"), "as reviewed");
    const merged = await apply({ "merged-pull": "1", "merged-head": HEAD }, "push");
    expect(merged.status).toBe("success");
    expect(merged.outputs.again?.verdict).toBe("nothing");
    expect(merged.ran).not.toContain("Apply what was reviewed");
    expect(await locks.holder("staging")).toBeUndefined();
  });

  it("applies after the merge what was reviewed, and stops at what was not", async () => {
    await plan();
    synthesize(join(folder, "synth"), "as nobody read it");
    const other = await apply({ "merged-pull": "1", "merged-head": HEAD }, "push");
    expect(other.outputs.again?.verdict).toBe("different");
    expect(other.status).toBe("failure");
    expect(greeting()).toBeUndefined();
    expect(await locks.holder("staging")).toBeUndefined();

    // Another run starts on another runner.
    for (const name of ["reviewed", "synth/stacks"]) rmSync(join(folder, name), { recursive: true });
    synthesize(join(folder, "synth"), "as reviewed");
    const same = await apply({ "merged-pull": "1", "merged-head": HEAD }, "push");
    expect(same.outputs.again?.verdict).toBe("same");
    expect(same.status).toBe("success");
    expect(greeting()).toContain("as reviewed");
  });

  it.each([
    ["approved by nobody", () => Object.assign(github, { reviews: [] }), /merged without an approval of aaaaaaa/],
    [
      "approved before it was planned",
      () => Object.assign(github.reviews[0] ?? {}, { at: "2025-12-31T23:59:59Z" }),
      /merged without an approval of the newest plan/,
    ],
    [
      "approved under a comment that said something else",
      () => Object.assign(github.comments[0] ?? {}, { body: "<!-- urr-plan stack=staging part=1 -->\nno changes" }),
      /merged without the comment as the plan job wrote it/,
    ],
  ])("stops after the merge at a plan that was %s", async (_, spoil, message) => {
    await plan();
    spoil();
    synthesize(join(folder, "synth"), "as reviewed");
    const merged = await apply({ "merged-pull": "1", "merged-head": HEAD }, "push");
    expect(merged.log).toMatch(message);
    expect(merged.outputs.again?.verdict).toBe("different");
    expect(merged.status).toBe("failure");
    expect(greeting()).toBeUndefined();
  });

  it("fails to apply under a comment that somebody edited, and under one that was edited back after its approval", async () => {
    await plan();
    const comment = github.comments[0];
    const written = comment?.body ?? "";
    const edit = (body: string) => Object.assign(comment ?? {}, { body, updated_at: "2026-01-03T00:00:00Z" });
    edit(written.replace("1 to add", "no changes"));
    expect((await apply()).outputs.decide?.kind).toBe("answer");
    expect(github.comments.at(-1)?.body).toContain("the comment as the plan job wrote it; it is gone, or was edited");
    edit(written);
    expect((await apply()).outputs.decide?.kind).toBe("answer");
    expect(github.comments.at(-1)?.body).toContain("an approval of the newest plan: the last one is not newer than it");
    expect(greeting()).toBeUndefined();
  });

  it("fails on a bundle that was tampered with, applies nothing and says so", async () => {
    await plan();
    const stored = store.objects.get(bundle());
    const evil = packBundle(
      { stack: "staging", head: HEAD, base: BASE },
      new Map([["plan.tfplan", Buffer.from("evil")]]),
    );
    if (stored) stored.body = evil.bytes;
    const applied = await apply();
    expect(`${applied.log}${JSON.stringify(applied.outputs)}${github.comments.at(-1)?.body}`).toMatch(
      /the bundle is refused:[\s\S]*not the reviewed/,
    );
    expect(greeting()).toBeUndefined();
    expect(existsSync(join(folder, "bundle/plan.tfplan"))).toBe(false);
    expect(readFileSync(join(folder, "gh.log"), "utf8")).toContain("Apply of `staging`: failure.");
  });

  it("plans nothing that smuggles a program, and says what was refused", async () => {
    const file = join(folder, "synth/head/stacks/staging/cdk.tf.json");
    const body = JSON.parse(readFileSync(file, "utf8")) as { resource: { terraform_data: { greeting: object } } };
    Object.assign(body.resource.terraform_data.greeting, { provisioner: { "local-exec": { command: "id" } } });
    writeFileSync(file, JSON.stringify(body));
    const planned = await plan();
    expect(planned.status).toBe("failure");
    expect(assumed).toEqual([]);
    expect(github.comments).toHaveLength(1);
    expect(github.comments[0]?.body).toContain("## Plan for `staging`: failed");
    expect(github.comments[0]?.body).toContain("terraform_data.greeting: provisioners are not allowed");
    expect(store.objects.size).toBe(0);
  });

  it.skipIf(!hasAws)(
    "plans no destruction of what holds data, names it, offers no apply and labels the pull request for as long",
    async () => {
      synthesizeWithAws(join(folder, "synth/head"));
      store.objects.set(STATE, { body: Buffer.from(JSON.stringify(stateWithQueue)), headers: {} });
      environment.TF_CLI_ARGS_plan = "-refresh=false";
      const refused = await plan();
      expect(refused.status).toBe("failure");
      expect(refused.ran).not.toContain("Keep the plan for an apply");
      expect(bundle()).toBe("");
      const { body } = github.comments[0] ?? { body: "" };
      expect(body).toContain("## Plan for `staging`: 1 to add, 1 to destroy");
      expect(body).toMatch(/guard refuses[\s\S]*`aws_sqs_queue\.jobs`/);
      expect(body).not.toContain("cdktf apply");
      expect([...github.labels]).toEqual(["infra: destroys in staging"]);
      expect((await apply()).outputs.decide?.kind).toBe("answer");

      store.objects.delete(STATE);
      synthesize(join(folder, "synth/head"), "as reviewed");
      expect((await plan()).status).toBe("success");
      expect([...github.labels]).toEqual([]);
    },
  );

  it("applies no earlier plan of a commit whose newest plan failed", async () => {
    await plan();
    const file = join(folder, "synth/head/stacks/staging/cdk.tf.json");
    synthesize(join(folder, "synth/head"), "as reviewed");
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), check: {} }));
    expect((await plan()).status).toBe("failure");
    expect(github.comments[0]?.body).toContain("## Plan for `staging`: failed");
    const applied = await apply();
    expect(applied.outputs.decide?.kind).toBe("answer");
    expect(github.comments.at(-1)?.body).toContain("a plan of staging: comment `cdktf plan staging`");
    expect(greeting()).toBeUndefined();
  });

  it("previews, and says that nothing was planned, where no runner reaches the cluster", async () => {
    const previewed = await plan("");
    expect(previewed.status).toBe("success");
    expect(assumed).toEqual([]);
    expect(github.comments[0]?.body).toContain("## `staging`: not planned · preview: 1 to change");
    expect(github.comments[0]?.body).toContain("there is no runner inside the VPC that could reach the cluster");
    expect(github.comments[0]?.body).toContain('"as before" → "as reviewed"');
    expect(github.comments[0]?.body).not.toContain("cdktf apply");
    expect(store.objects.size).toBe(0);
    const applied = await apply();
    expect(applied.outputs.decide?.kind).toBe("answer");
    expect(github.comments.at(-1)?.body).toContain("a plan of staging");
  });

  it("fails to apply the plan of a head that is no longer the newest", async () => {
    await plan();
    github.pull.headSha = "c".repeat(40);
    const applied = await apply();
    expect(applied.outputs.decide?.kind).toBe("answer");
    expect(applied.ran).not.toContain("Apply the reviewed plan");
    expect(github.comments.at(-1)?.body).toContain("a plan of staging: comment `cdktf plan staging`");
    expect(greeting()).toBeUndefined();
    expect(await locks.holder("staging")).toBeUndefined();
  });

  it("fails to apply a plan that is younger than the approval of its commit", async () => {
    await plan();
    github.reviews = [{ user: "lead", state: "APPROVED", commit: HEAD, at: "2025-12-31T23:59:59Z" }];
    const applied = await apply();
    expect(applied.outputs.decide?.kind).toBe("answer");
    expect(github.comments.at(-1)?.body).toContain("an approval of the newest plan: the last one is not newer than it");
    expect(greeting()).toBeUndefined();
  });

  it.each([
    ["a pull request's own workflow", { event: "pull_request", path: ".github/workflows/ci.yml" }],
    ["a branch's copy of the plan workflow", { event: "push" }],
    ["a fork", { headRepository: "someone/infra" }],
    ["a workflow of another name that a comment starts", { event: "issue_comment" }],
    ["the command workflow as a branch has it", { event: "pull_request", path: ".github/workflows/infra-command.yml" }],
  ])("looks past a digest that a run of %s kept under the same name", async (_, origin) => {
    await plan();
    const evil = packBundle(
      { stack: "staging", head: HEAD, base: BASE },
      new Map([["plan.tfplan", Buffer.from("evil")]]),
    );
    store.objects.set(`/urr-plan-bundles/${keyOf(evil.planned)}`, { body: evil.bytes, headers: {} });
    keep(`planned-staging-${HEAD}`, 666, Buffer.from(JSON.stringify({ ...evil.planned, text: "0".repeat(64) })));
    github.runs[666] = "completed";
    github.origins[666] = origin;
    github.pageSize = 1;
    const applied = await apply();
    expect(applied.status).toBe("success");
    expect(greeting()).toContain("as reviewed");
  });

  it("gives up the lock of a pull request that is closed without a merge, and nobody else's", async () => {
    await locks.acquire({ stack: "staging", pull: 1, head: HEAD, who: "dev", run: APPLY_RUN });
    await locks.finish("staging", APPLY_RUN);
    const other = await apply({ "closed-pull": "2" }, "workflow_run");
    expect(other.ran).toEqual(["The role of the environment", "Give up the lock of a closed pull request"]);
    expect(await locks.holder("staging")).toMatchObject({ pull: 1 });
    await apply({ "closed-pull": "1" }, "workflow_run");
    expect(await locks.holder("staging")).toBeUndefined();
  });
});
