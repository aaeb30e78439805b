import { type ChildProcess, fork } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { S3Client } from "@aws-sdk/client-s3";
import dynalite from "dynalite";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { deterministicZip } from "../../../lib/lambda-bundle/zip";
import { buildApp } from "../../../main";
import { connect } from "../../../tools/plan-comments/client/github";
import { type PullFacts, PullRequests } from "../../../tools/plan-comments/client/pulls";
import { openBundle, packBundle, readFolder, writeFolder } from "../../../tools/plan-comments/commands/bundle";
import { type CommentEvent, decide, type Surroundings } from "../../../tools/plan-comments/commands/decide";
import { inspectStack } from "../../../tools/plan-comments/commands/inspect";
import { StackLocks } from "../../../tools/plan-comments/commands/locks";
import { digestOfPlan } from "../../../tools/plan-comments/commands/normalise";
import { parseCommand } from "../../../tools/plan-comments/commands/parse";
import { type CommentedPlan, missingFor, unreviewed } from "../../../tools/plan-comments/commands/requirements";
import { keyOf, S3BundleStore } from "../../../tools/plan-comments/commands/store";
import { readDependencies, readSynth } from "../../../tools/plan-comments/files";
import { readZip } from "../../../tools/plan-comments/zip";
import { change, planOf, resource } from "./fixture";
import { GitHubServer } from "./github-server";
import { problemsOf } from "./markdown-check";

const STACKS = ["bootstrap", "prod", "staging"];
const HEAD = "a".repeat(40);
const BASE = "b".repeat(40);
const credentials = { accessKeyId: "x", secretAccessKey: "x" };

describe("commands in comments", () => {
  it.each([
    ["cdktf plan", { name: "plan" }],
    ["cdktf plan prod", { name: "plan", stack: "prod" }],
    ["  cdktf apply prod \r\n", { name: "apply", stack: "prod" }],
    ["cdktf apply prod 0123abc", { name: "apply", stack: "prod", sha: "0123abc" }],
    ["cdktf unlock staging", { name: "unlock", stack: "staging" }],
    ["cdktf help", { name: "help" }],
  ])("%j is one", (body, command) => {
    expect(parseCommand(body, STACKS)).toEqual({ kind: "command", command });
  });

  it.each([
    "looks good",
    "please cdktf apply prod",
    "> cdktf apply prod",
    "```\ncdktf apply prod\n```",
    "`cdktf apply prod`",
    "CDKTF apply prod",
    "cdktfapply prod",
    "",
    "/cdktf apply prod",
    "cdktf\napply prod",
    "don't cdktf apply prod yet",
  ])("%j is talk", (body) => {
    expect(parseCommand(body, STACKS)).toEqual({ kind: "none" });
  });

  it.each([
    ["cdktf apply", /needs the name of a stack: bootstrap, prod, staging/],
    ["cdktf destroy prod", /the commands are plan, apply, unlock, help/],
    ["cdktf apply production", /no such stack/],
    ["cdktf apply prod; rm -rf /", /too many words/],
    ["cdktf apply prod;id", /no such stack/],
    ["cdktf apply prod $(id)", /only a commit/],
    ["cdktf apply prod 0123abc now", /too many words/],
    ["cdktf apply prod -target=x", /only a commit/],
    ["cdktf apply prod\ncdktf apply staging", /stands alone/],
  ])("%j is a mistake that is answered", (body, problem) => {
    expect(parseCommand(body, STACKS)).toMatchObject({ kind: "mistake", problem: expect.stringMatching(problem) });
  });

  it("never yields a stack or commit that could mean something to a shell", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 30 }), fc.constantFrom("plan", "apply", "unlock"), (text, name) => {
        const parsed = parseCommand(`cdktf ${name} ${text}`, STACKS);
        if (parsed.kind !== "command") return;
        if (parsed.command.stack !== undefined) expect(STACKS).toContain(parsed.command.stack);
        if (parsed.command.sha !== undefined) expect(parsed.command.sha).toMatch(/^[0-9a-f]{7,40}$/);
      }),
    );
  });
});

describe("requirements", () => {
  const facts: PullFacts = {
    state: "open",
    draft: false,
    fork: false,
    author: "author",
    headSha: HEAD,
    baseRef: "main",
    defaultBranch: "main",
    baseSha: BASE,
    behind: 0,
    mergeable: true,
    approvers: ["lead"],
    approvedAt: "2026-01-02T00:00:00Z",
    objectors: [],
    pusherKnown: true,
  };
  const planned: CommentedPlan = {
    stack: "prod",
    head: HEAD,
    base: BASE,
    digest: "d".repeat(64),
    text: "e".repeat(64),
    commented: true,
    at: "2026-01-01T00:00:00Z",
  };
  const apply = { name: "apply", stack: "prod" } as const;

  it("let an apply through when everything is there", () => {
    expect(missingFor(apply, "write", facts, planned)).toEqual([]);
  });

  it.each([
    ["permission", "read", {}, planned, /write permission/],
    ["an approval", "write", { approvers: [] }, planned, /an approval of aaaaaaa/],
    [
      "a pusher that is known",
      "write",
      { approvers: [], pusherKnown: false },
      planned,
      /who did not push it; who pushed it is not known/,
    ],
    [
      "an approval of the newest plan",
      "write",
      {},
      { ...planned, at: "2026-01-02T00:00:01Z" },
      /an approval of the newest plan: the last one is not newer than it/,
    ],
    [
      "an approval that is newer than the plan's second",
      "write",
      {},
      { ...planned, at: "2026-01-02T00:00:00Z" },
      /not newer than it/,
    ],
    ["a time of its approval", "write", { approvedAt: undefined }, planned, /an approval of the newest plan/],
    [
      "the comment that was planned",
      "write",
      {},
      { ...planned, commented: false },
      /the comment as the plan job wrote it/,
    ],
    ["the main branch as its base", "write", { baseRef: "side" }, planned, /a pull request against main/],
    ["a withdrawn objection", "write", { objectors: ["x"] }, planned, /asks for changes/],
    ["no conflicts", "write", { mergeable: false }, planned, /without conflicts/],
    ["GitHub's answer", "write", { mergeable: undefined }, planned, /still working that out/],
    ["an up-to-date branch", "write", { behind: 2 }, planned, /main is 2 commits ahead/],
    ["an open pull request", "write", { state: "closed" }, planned, /an open pull request/],
    ["readiness", "write", { draft: true }, planned, /not a draft/],
    ["a branch of its own", "write", { fork: true }, planned, /never planned/],
    ["a plan", "write", {}, undefined, /a plan of prod: comment/],
    ["a plan of the newest commit", "write", {}, { ...planned, head: "c".repeat(40) }, /the last one is of ccccccc/],
    ["a plan against the newest base", "write", {}, { ...planned, base: "c".repeat(40) }, /against main as it is now/],
    ["a plan of this stack", "write", {}, { ...planned, stack: "staging" }, /this very stack/],
  ] as const)("an apply fails without %s, and says so", (_, permission, change, bundle, message) => {
    const missing = missingFor(apply, permission, { ...facts, ...change } as PullFacts, bundle);
    expect(missing).toHaveLength(1);
    expect(missing[0]).toMatch(message);
  });

  it("count no plan as reviewed that was merged into another branch", () => {
    expect(unreviewed(facts, planned)).toEqual([]);
    expect(unreviewed({ ...facts, state: "closed", baseRef: "side" }, planned)).toEqual([
      "a pull request against main",
    ]);
  });

  it("name everything that is missing at once", () => {
    expect(missingFor(apply, "none", { ...facts, approvers: [], behind: 1, mergeable: false }, undefined)).toHaveLength(
      5,
    );
  });

  it("hold an apply to the commit that its comment names", () => {
    expect(missingFor({ ...apply, sha: "aaaaaaa" }, "write", facts, planned)).toEqual([]);
    expect(missingFor({ ...apply, sha: "0123456" }, "write", facts, planned)[0]).toMatch(/the newest commit/);
  });

  it("ask less of a plan, and of giving up a lock", () => {
    const poor = { ...facts, approvers: [], behind: 3, draft: true, mergeable: false };
    expect(missingFor({ name: "plan" }, "write", poor, undefined)).toEqual([]);
    expect(missingFor({ name: "plan" }, "read", poor, undefined)).toHaveLength(1);
    expect(missingFor({ name: "plan" }, "write", { ...poor, baseRef: "side" }, undefined)).toEqual([
      "a pull request against main",
    ]);
    expect(missingFor({ name: "unlock", stack: "prod" }, "write", { ...poor, state: "closed" }, undefined)).toEqual([]);
  });
});

let dynamo: Server;
let endpoint: string;
let dynamodb: DynamoDBClient;

beforeAll(async () => {
  dynamo = dynalite({ createTableMs: 0 });
  await new Promise<void>((resolve) => dynamo.listen(0, "127.0.0.1", resolve));
  endpoint = `http://127.0.0.1:${(dynamo.address() as AddressInfo).port}`;
  dynamodb = new DynamoDBClient({ endpoint, region: "ap-northeast-2", credentials });
  await dynamodb.send(
    new CreateTableCommand({
      TableName: "urr-terraform-locks",
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: [{ AttributeName: "LockID", AttributeType: "S" }],
      KeySchema: [{ AttributeName: "LockID", KeyType: "HASH" }],
    }),
  );
});
afterAll(async () => {
  dynamodb.destroy();
  await new Promise<void>((resolve) => dynamo.close(() => resolve()));
});

let unique = 0;
const freshStack = () => `stack-${++unique}`;

describe("locks of stacks", () => {
  const locks = () => new StackLocks(dynamodb, "urr-terraform-locks", () => 1_700_000_000_000);
  const take = (stack: string, pull: number, run: number) =>
    locks().acquire({ stack, pull, head: HEAD, who: "dev", run });

  it("are held by one pull request, which is named to the other", async () => {
    const stack = freshStack();
    expect(await take(stack, 1, 10)).toEqual({ acquired: true });
    expect(await take(stack, 2, 20)).toEqual({
      acquired: false,
      holder: { stack, pull: 1, head: HEAD, who: "dev", since: 1_700_000_000_000, run: 10 },
    });
  });

  it("admit one run of a pull request at a time, and the same run again", async () => {
    const stack = freshStack();
    await take(stack, 1, 10);
    expect(await take(stack, 1, 10)).toEqual({ acquired: true });
    expect(await take(stack, 1, 11)).toMatchObject({ acquired: false });
    expect(await locks().finish(stack, 11)).toBe(false);
    expect(await locks().finish(stack, 10)).toBe(true);
    expect(await take(stack, 1, 11)).toEqual({ acquired: true });
  });

  it("stay with the pull request after its run, until it lets go", async () => {
    const stack = freshStack();
    await take(stack, 1, 10);
    await locks().finish(stack, 10);
    expect(await take(stack, 2, 20)).toMatchObject({ acquired: false });
    expect(await locks().release(stack, 2)).toBe(false);
    expect(await locks().release(stack, 1)).toBe(true);
    expect(await take(stack, 2, 20)).toEqual({ acquired: true });
  });

  it("are not released under a run that is at work", async () => {
    const stack = freshStack();
    await take(stack, 1, 10);
    expect(await locks().release(stack, 1)).toBe(false);
    expect(await locks().release(stack, 1, 9)).toBe(false);
    expect(await locks().release(stack, 1, 10)).toBe(true);
  });

  it("do not touch each other", async () => {
    const [one, other] = [freshStack(), freshStack()];
    await take(one, 1, 10);
    expect(await take(other, 2, 20)).toEqual({ acquired: true });
  });

  it("go to exactly one of many that race", async () => {
    const stack = freshStack();
    const results = await Promise.all(Array.from({ length: 12 }, (_, index) => take(stack, index + 1, index + 100)));
    expect(results.filter(({ acquired }) => acquired)).toHaveLength(1);
  });

  it("go to one of two processes, survive its death, and are free once its run is known to have ended", async () => {
    const stack = freshStack();
    const runners = [1, 2].map((pull) => startRunner(stack, pull, pull * 10));
    try {
      await Promise.all(runners.map((runner) => nextMessage(runner)));
      const answers = Promise.all(runners.map((runner) => nextMessage(runner)));
      for (const runner of runners) runner.send("go");
      const taken = await answers;
      expect(taken.filter(Boolean)).toHaveLength(1);
      const winner = taken.indexOf(true) + 1;
      runners[winner - 1]?.kill("SIGKILL");
      await new Promise((resolve) => runners[winner - 1]?.once("exit", resolve));
      expect(await locks().holder(stack)).toMatchObject({ pull: winner, run: winner * 10 });
      const loser = 3 - winner;
      expect(await take(stack, loser, loser * 10)).toMatchObject({ acquired: false });
      expect(await locks().release(stack, winner, winner * 10)).toBe(true);
      expect(await take(stack, loser, loser * 10)).toEqual({ acquired: true });
    } finally {
      for (const runner of runners) runner.kill("SIGKILL");
    }
  });

  const startRunner = (stack: string, pull: number, run: number): ChildProcess =>
    fork(join(import.meta.dirname, "lock-child.ts"), [endpoint, stack, String(pull), String(run)], {
      execArgv: ["--import", "tsx"],
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
  const nextMessage = (runner: ChildProcess): Promise<unknown> =>
    new Promise((resolve) => runner.once("message", resolve));
});

const sample = (): ReadonlyMap<string, Buffer> =>
  new Map([
    ["plan.tfplan", Buffer.from("binary plan \u0000\u0001")],
    ["stack/cdk.tf.json", Buffer.from('{"terraform":{}}')],
    ["stack/assets/vwr-api.zip", deterministicZip({ "index.js": Buffer.from("code") })],
  ]);
const identity = { stack: "prod", head: HEAD, base: BASE };

describe("bundles", () => {
  it("open to exactly what was packed, and are the same bytes every time", () => {
    const { bytes, planned } = packBundle(identity, sample());
    expect(packBundle(identity, new Map([...sample()].reverse())).bytes.equals(bytes)).toBe(true);
    expect(planned).toMatchObject({ ...identity, digest: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const files = openBundle(bytes, planned);
    expect([...files.keys()].sort()).toEqual(["plan.tfplan", "stack/assets/vwr-api.zip", "stack/cdk.tf.json"]);
    expect(files.get("plan.tfplan")).toEqual(sample().get("plan.tfplan"));
  });

  const repacked = (change: (entries: Record<string, Buffer>) => unknown): Buffer => {
    const entries = Object.fromEntries(readZip(packBundle(identity, sample()).bytes));
    change(entries);
    return deterministicZip(entries);
  };

  it.each([
    [
      "a changed plan",
      (e: Record<string, Buffer>) => Object.assign(e, { "plan.tfplan": Buffer.from("evil") }),
      /plan\.tfplan is not the file that was reviewed/,
    ],
    [
      "a changed Lambda",
      (e: Record<string, Buffer>) => Object.assign(e, { "stack/assets/vwr-api.zip": Buffer.from("evil") }),
      /vwr-api\.zip is not the file/,
    ],
    [
      "an added file",
      (e: Record<string, Buffer>) => Object.assign(e, { "stack/extra_override.tf.json": Buffer.from("{}") }),
      /extra_override\.tf\.json is not in the manifest/,
    ],
    [
      "a missing file",
      (e: Record<string, Buffer>) => Reflect.deleteProperty(e, "stack/cdk.tf.json"),
      /cdk\.tf\.json is missing/,
    ],
    [
      "another manifest",
      (e: Record<string, Buffer>) => Object.assign(e, { "manifest.json": Buffer.from('{"version":1,"files":{}}') }),
      /not the reviewed/,
    ],
    ["no manifest", (e: Record<string, Buffer>) => Reflect.deleteProperty(e, "manifest.json"), /has no manifest/],
  ])("fails to open with %s", (_, tamper, message) => {
    expect(() => openBundle(repacked(tamper), packBundle(identity, sample()).planned)).toThrow(message);
  });

  it("fails to open as the bundle of another commit, base or stack", () => {
    const { bytes, planned } = packBundle(identity, sample());
    for (const change of [{ head: BASE }, { base: HEAD }, { stack: "staging" }]) {
      expect(() => openBundle(bytes, { ...planned, ...change })).toThrow(/it is of/);
    }
  });

  it("fails to open after any byte is changed or cut off, whatever it is", () => {
    const { bytes, planned } = packBundle(identity, sample());
    const names = new Set(openBundle(bytes, planned).keys());
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), fc.boolean(), (at, bits, cut) => {
        const damaged = cut ? bytes.subarray(0, at) : Buffer.from(bytes);
        if (!cut) damaged[at] = (damaged[at] ?? 0) ^ bits;
        let opened: ReadonlyMap<string, Buffer>;
        try {
          opened = openBundle(damaged, planned);
        } catch {
          return;
        }
        // Bytes that carry nothing, such as dates, may differ: then the contents are still the reviewed ones.
        expect(new Set(opened.keys())).toEqual(names);
        for (const [path, content] of opened) expect(content).toEqual(sample().get(path));
      }),
      { numRuns: 400 },
    );
  });

  it("fails to pack or write paths that lead outside, and links", () => {
    for (const path of ["../x", "/etc/passwd", "a/../../b", "a\\b", "manifest.json", "a//b"]) {
      expect(() => packBundle(identity, new Map([[path, Buffer.alloc(0)]]))).toThrow(/may not be a file's path/);
    }
    expect(() => readZip(deterministicZip({ "../evil": Buffer.from("x") }))).toThrow(/points outside/);
    const folder = mkdtempSync(join(tmpdir(), "bundle-"));
    try {
      writeFolder(folder, new Map([["a/b.txt", Buffer.from("x")]]));
      expect([...readFolder(folder).keys()]).toEqual(["a/b.txt"]);
      symlinkSync("/etc/passwd", join(folder, "link"));
      expect(() => readFolder(folder)).toThrow(/link is neither a file nor a folder/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("the store of bundles", () => {
  const objects = new Map<string, { body: Buffer; headers: IncomingHttpHeaders }>();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const key = new URL(request.url ?? "", "http://x").pathname;
    if (request.method === "PUT") {
      if (request.headers["if-none-match"] === "*" && objects.has(key)) {
        response.writeHead(412).end("<Error><Code>PreconditionFailed</Code></Error>");
        return;
      }
      objects.set(key, { body: Buffer.concat(chunks), headers: request.headers });
      response.writeHead(200).end();
      return;
    }
    const object = objects.get(key);
    if (object) response.writeHead(200, { "content-type": "application/zip" }).end(object.body);
    else response.writeHead(404).end("<Error><Code>NoSuchKey</Code></Error>");
  });
  let s3: S3Client;
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    s3 = new S3Client({
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      region: "ap-northeast-2",
      credentials,
      forcePathStyle: true,
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
    });
  });
  afterAll(() => {
    s3.destroy();
    server.close();
  });

  it("encrypts with the key it is told, under an address that its digest makes", async () => {
    const { bytes, planned } = packBundle(identity, sample());
    const store = new S3BundleStore(s3, "bundles", "arn:aws:kms:key");
    await store.put(planned, bytes);
    await store.put(planned, bytes);
    const [path, object] = [...objects][0] ?? [];
    expect(path).toBe(`/bundles/${keyOf(planned)}`);
    expect(object?.headers).toMatchObject({
      "x-amz-server-side-encryption": "aws:kms",
      "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:key",
    });
    expect(openBundle(await store.get(planned), planned).size).toBe(3);
  });

  it("gives out what was tampered with, which then fails to open", async () => {
    const { bytes, planned } = packBundle(identity, sample());
    const store = new S3BundleStore(s3, "bundles", "k");
    await store.put(planned, bytes);
    objects.set(`/bundles/${keyOf(planned)}`, {
      body: packBundle(identity, new Map([["plan.tfplan", Buffer.from("evil")]])).bytes,
      headers: {},
    });
    const stored = await store.get(planned);
    expect(() => openBundle(stored, planned)).toThrow(/not the reviewed/);
  });

  it("fails where there is no bundle", async () => {
    const store = new S3BundleStore(s3, "bundles", "k");
    await expect(store.get({ ...identity, digest: "0".repeat(64) })).rejects.toThrow(
      /prod\/prod\/a{40}\/0{64}\.zip is not in bundles: .*Plan again/,
    );
  });
});

describe("inspection of the stacks as they are", () => {
  const folder = mkdtempSync(join(tmpdir(), "urr-inspected-"));
  beforeAll(() => buildApp(folder).synth(), 120_000);
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each([
    ["staging", "staging", "terraform"],
    ["prod", "prod", "terraform"],
    ["staging-platform", "staging", "platform"],
    ["prod-platform", "prod", "platform"],
  ])("lets %s through", (stack, environment, state) => {
    const backend = { bucket: `urr-terraform-state-${environment}`, key: `${environment}/${state}.tfstate` };
    expect(() => inspectStack(stack, readFolder(join(folder, "stacks", stack)), backend)).not.toThrow();
  });
});

describe("inspection of a pull request's Terraform JSON", () => {
  const backend = { bucket: "urr-terraform-state-prod", key: "prod/terraform.tfstate" };
  const root = (more: object = {}) => ({
    terraform: {
      backend: { s3: { ...backend, region: "ap-northeast-2" } },
      required_providers: { aws: { source: "registry.terraform.io/hashicorp/aws", version: "5.100.0" } },
    },
    provider: { aws: [{ region: "ap-northeast-2", default_tags: [{ tags: {} }] }] },
    module: { vpc: { source: "./modules/vpc" } },
    ...more,
  });
  const files = (top: object, child: object = {}, extra: Readonly<Record<string, string>> = {}) =>
    new Map(
      Object.entries({
        "cdk.tf.json": JSON.stringify(top),
        "modules/vpc/main.tf.json": JSON.stringify(child),
        "assets/vwr-api.zip": "zip",
        ...extra,
      }).map(([path, text]) => [path, Buffer.from(text)]),
    );
  const inspect = (top: object, child?: object, extra?: Readonly<Record<string, string>>) => () =>
    inspectStack("prod", files(top, child, extra), backend);

  const resource = (type: string, values: object) => ({ resource: { [type]: { x: values } } });

  it("lets through what synth writes", () => {
    const child = {
      resource: {
        aws_vpc: { main: { cidr_block: "10.0.0.0/16" } },
        aws_lambda_function: { f: { filename: "assets/vwr-api.zip", description: 'the "file" of ${var.x}' } },
        terraform_data: { t: { input: 1 } },
      },
      variable: { x: {} },
    };
    expect(inspect(root(), child)).not.toThrow();
    const state = { backend: "s3", config: { ...backend, region: "ap-northeast-2" } };
    expect(inspect(root({ data: { terraform_remote_state: { infra: state } } }))).not.toThrow();
    const exec = {
      kubernetes: [
        { exec: [{ api_version: "v1", command: "aws", args: ["eks", "get-token", "--cluster-name", "urr"] }] },
      ],
    };
    expect(inspect(root({ provider: exec }))).not.toThrow();
    const dashboard = resource("kubernetes_config_map_v1", { data: { "x.json": '${file("assets/x/abc/x.json")}' } });
    expect(inspect(root(), dashboard, { "assets/x/abc/x.json": "{}" })).not.toThrow();
  });

  it.each([
    [
      "a provisioner",
      root(),
      resource("terraform_data", { provisioner: [{ "local-exec": { command: "env" } }] }),
      /provisioners are not allowed/,
    ],
    [
      "a provisioner in a list of blocks",
      root(),
      { resource: [{ aws_vpc: [{ x: [{ provisioner: { "local-exec": { command: "env" } } }] }] }] },
      /provisioners are not allowed/,
    ],
    [
      "an external data source",
      root(),
      { data: { external: { x: { program: ["sh"] } } } },
      /external is not a provider of the list/,
    ],
    [
      "an HTTP data source",
      root(),
      { data: { http: { x: { url: "http://169.254.169.254" } } } },
      /http is not a provider/,
    ],
    [
      "a provider that hides behind a known name",
      root({ terraform: { backend: { s3: backend }, required_providers: { aws: { source: "evil/aws" } } } }),
      {},
      /provider aws from "evil\/aws"/,
    ],
    [
      "an unknown provider",
      root({ terraform: { backend: { s3: backend }, required_providers: { null: { source: "hashicorp/null" } } } }),
      {},
      /provider null from/,
    ],
    [
      "a provider named like a property of objects",
      root(),
      resource("constructor_x", {}),
      /constructor is not a provider/,
    ],
    [
      "another state",
      root({ terraform: { backend: { s3: { ...backend, key: "other/terraform.tfstate" } } } }),
      {},
      /the state is not the stack's own/,
    ],
    [
      "another backend",
      root({ terraform: { backend: { http: { address: "http://evil" } } } }),
      {},
      /the state is not the stack's own/,
    ],
    ["no backend", root({ terraform: {} }), {}, /has no backend/],
    ["an empty list of backends", root({ terraform: { backend: [] } }), {}, /has no backend/],
    ["an empty backend", root({ terraform: { backend: { s3: [] } } }), {}, /has no backend/],
    [
      "Terraform Cloud",
      root({ terraform: { backend: { s3: backend }, cloud: {} } }),
      {},
      /terraform\.cloud is not allowed/,
    ],
    [
      "endpoints of its own",
      root({ provider: { aws: { endpoints: { sts: "http://evil" } } } }),
      {},
      /endpoints is not allowed/,
    ],
    [
      "a role that the provider takes on",
      root({ provider: { aws: [{ region: "ap-northeast-2" }, { alias: "x", assume_role: { role_arn: "x" } }] } }),
      {},
      /provider aws: assume_role is not allowed/,
    ],
    [
      "an argument that nobody listed",
      root({ provider: { random: { brand_new: true } } }),
      {},
      /provider random: brand_new is not allowed/,
    ],
    [
      "a variable for the program that fetches a token",
      root({
        provider: { kubernetes: { exec: { command: "aws", args: ["eks", "get-token"], env: { AWS_PROFILE: "x" } } } },
      }),
      {},
      /provider kubernetes: env is not allowed/,
    ],
    [
      "a program for credentials",
      root({ provider: { kubernetes: { exec: { command: "sh", args: ["-c", "env"] } } } }),
      {},
      /may only be aws eks get-token/,
    ],
    [
      "a token for another server",
      root({ provider: { kubernetes: { host: "https://evil.example" } } }),
      {},
      /host may only be \$\{data\.terraform_remote_state/,
    ],
    [
      "another server inside helm's provider",
      root({ provider: { helm: [{ kubernetes: { host: "https://evil.example", insecure: true } }] } }),
      {},
      /host may only be .*|insecure is not allowed/,
    ],
    [
      "a cluster that is a template, and with it a program",
      root({
        provider: {
          helm: [{ kubernetes: '${{host = "https://evil.example", exec = {command = "sh", args = ["x"]}}}' }],
        },
      }),
      {},
      /provider helm: kubernetes has to be written out, not as a template/,
    ],
    [
      "a program that is a template",
      root({ provider: { helm: [{ kubernetes: { exec: '${{command = "sh", args = ["-c", "env"]}}' } }] } }),
      {},
      /provider helm: exec has to be written out, not as a template/,
    ],
    [
      "a program that is a template in a list",
      root({ provider: { kubernetes: [{ exec: [['${{command = "sh"}}']] }] } }),
      {},
      /provider kubernetes: exec has to be written out, not as a template/,
    ],
    [
      "a provider's configuration that is a template",
      root({ provider: { helm: "${var.helm}" } }),
      {},
      /provider helm has to be written out, not as a template/,
    ],
    [
      "a token from another endpoint",
      root({
        provider: {
          kubernetes: { exec: { command: "aws", args: ["eks", "get-token", "--endpoint-url", "http://evil"] } },
        },
      }),
      {},
      /with --output, --region and --cluster-name/,
    ],
    [
      "a chart from anywhere",
      root(),
      resource("helm_release", { chart: "x", repository: "https://evil.example" }),
      /charts may come from oci:\/\/public\.ecr\.aws\/karpenter,/,
    ],
    [
      "the state of another environment",
      root({
        data: {
          terraform_remote_state: { x: { backend: "s3", config: { bucket: "urr-terraform-state-staging", key: "k" } } },
        },
      }),
      {},
      /only the state of the infra stack \(s3, urr-terraform-state-prod\/prod\/terraform\.tfstate\)/,
    ],
    [
      "a role for another state",
      root({ data: { terraform_remote_state: { x: { backend: "s3", config: { ...backend, role_arn: "x" } } } } }),
      {},
      /only the state of the infra stack/,
    ],
    [
      "another state of the environment",
      root({
        data: {
          terraform_remote_state: { infra: { backend: "s3", config: { ...backend, key: "prod/platform.tfstate" } } },
        },
      }),
      {},
      /only the state of the infra stack/,
    ],
    [
      "a state by a configuration that is a template",
      root({ data: { terraform_remote_state: { infra: { backend: "s3", config: "${var.x}" } } } }),
      {},
      /only the state of the infra stack/,
    ],
    [
      "a secret read into the plan",
      root(),
      { data: { aws_secretsmanager_secret_version: { x: { secret_id: "urr-prod/jwt" } } } },
      /data sources may only be terraform_remote_state/,
    ],
    [
      "a Secret read by a data source for anything",
      root(),
      { data: { kubernetes_resource: { x: { api_version: "v1", kind: "Secret", metadata: { name: "x" } } } } },
      /data sources may only be terraform_remote_state/,
    ],
    [
      "a program that renders a chart while it is planned",
      root(),
      { data: { helm_template: { x: { name: "x", chart: "x", postrender: { binary_path: "sh" } } } } },
      /data sources may only be terraform_remote_state/,
    ],
    [
      "a program that renders a release",
      root(),
      resource("helm_release", { chart: "argo-cd", postrender: { binary_path: "sh" } }),
      /postrender is not allowed/,
    ],
    [
      "a provisioner of what is removed",
      root({
        removed: [
          {
            from: "aws_vpc.x",
            lifecycle: { destroy: true },
            provisioner: { "local-exec": { when: "destroy", command: "env" } },
          },
        ],
      }),
      {},
      /removed\.provisioner is not allowed/,
    ],
    [
      "a data source inside a check",
      root({ check: { x: { data: { external: { x: { program: ["sh"] } } }, assert: [] } } }),
      {},
      /section "check" is not known/,
    ],
    [
      "a state by way of another endpoint",
      root({ terraform: { backend: { s3: { ...backend, sts_endpoint: "https://evil.example" } } } }),
      {},
      /backend arguments sts_endpoint are not allowed/,
    ],
    [
      "a call with a comment in it that reads files",
      root({ output: { o: { value: '${file/**/("/proc/self/environ")}' } } }),
      {},
      /reads files of the runner/,
    ],
    [
      "a call over two lines that reads files",
      root({ output: { o: { value: '${file # ours\n("/proc/self/environ")}' } } }),
      {},
      /reads files of the runner/,
    ],
    [
      "a mark of sensitivity taken away",
      root({ output: { x: { value: "${nonsensitive(module.secrets.x)}" } } }),
      {},
      /takes a mark of sensitivity away/,
    ],
    [
      "a packed file's path that leaves the folder",
      root(),
      resource("terraform_data", { input: '${file("assets/../../x")}' }),
      /reads files of the runner/,
    ],
    [
      "a remote module",
      root({ module: { x: { source: "git::https://evil.example/x" } } }),
      {},
      /only the stack's own modules/,
    ],
    [
      "a module call in a module",
      root(),
      { module: { x: { source: "./modules/vpc" } } },
      /only the stack's own modules/,
    ],
    [
      "a template that reads files",
      root(),
      resource("aws_ssm_parameter", { value: '${file("/proc/self/environ")}' }),
      /reads files of the runner/,
    ],
    [
      "a nested template that reads files",
      root({ output: { o: { value: '${jsonencode({a = filebase64 ("/home/x/.aws/credentials")})}' } } }),
      {},
      /reads files of the runner/,
    ],
    [
      "a Lambda from elsewhere",
      root(),
      resource("aws_lambda_function", { filename: "/etc/passwd" }),
      /filename must be below assets/,
    ],
    [
      "a Lambda from outside",
      root(),
      resource("aws_lambda_function", { filename: "assets/../../secret" }),
      /filename must be below assets/,
    ],
    [
      "an uploaded file of the runner",
      root(),
      resource("aws_s3_object", { source: "/proc/self/environ" }),
      /source must be below assets/,
    ],
    [
      "a state that is not in S3",
      root(),
      { data: { terraform_remote_state: { x: { backend: "http" } } } },
      /only the state of the infra stack/,
    ],
    ["an unknown section", root({ ephemeral: {} }), {}, /section "ephemeral" is not known/],
  ])("fails on %s", (_, top, child, message) => {
    expect(inspect(top, child)).toThrow(message);
  });

  it.each([
    ["all providers", { provider: "${var.x}" }, /json: provider has to be/],
    ["settings", { terraform: ["${var.x}"] }, /json: terraform has to be/],
    ["a backend", { terraform: { backend: "${var.x}" } }, /json: terraform\.backend has to be/],
    ["a backend's arguments", { terraform: { backend: { s3: "${var.x}" } } }, /terraform\.backend\.s3 has to be/],
    ["providers' sources", { terraform: { required_providers: "${var.x}" } }, /required_providers has to be/],
    ["module calls", { module: "${var.x}" }, /json: module has to be/],
    ["a module call", { module: { vpc: "${var.x}" } }, /module vpc has to be/],
    ["all resources", { resource: "${var.x}" }, /json: resource has to be/],
    ["resources of a type", { resource: { terraform_data: "${var.x}" } }, /terraform_data has to be/],
    ["a resource", { resource: { terraform_data: { a: "${var.x}" } } }, /terraform_data\.a has to be/],
    ["a data source", { data: { terraform_remote_state: { a: "${var.x}" } } }, /_remote_state\.a has to be/],
    ["what is removed", { removed: "${var.x}" }, /json: removed has to be/],
  ])("fails on a template in place of %s", (_, more, message) => {
    expect(inspect(root(more))).toThrow(message);
  });

  it.each([
    "skip_credentials_validation",
    "skip_requesting_account_id",
    "skip_metadata_api_check",
  ])("fails on %s, with which nobody would look whose account it is", (argument) => {
    expect(inspect(root({ provider: { aws: [{ region: "ap-northeast-2", [argument]: true }] } }))).toThrow(
      `provider aws: ${argument} is not allowed`,
    );
  });

  it.each([
    ["defaults", { eks_cluster_endpoint: "https://evil.example" }],
    ["workspace", "mine"],
    ["provider", "aws"],
  ])("fails on a state with %s, which may name another cluster", (argument, value) => {
    const state = { backend: "s3", config: backend, [argument]: value };
    expect(inspect(root({ data: { terraform_remote_state: { infra: state } } }))).toThrow(
      `terraform_remote_state.infra: ${argument} is not allowed`,
    );
  });

  it.each([
    "override.tf.json",
    "cdk_override.tf.json",
    "extra.tf",
    "terraform.tfvars",
    ".terraformrc",
    "modules/vpc/extra.tf.json",
    "modules/vpc/deep/main.tf.json",
    "assets/x.tf.json",
  ])("fails on the file %s", (path) => {
    expect(inspect(root(), {}, { [path]: "{}" })).toThrow(path);
  });

  it("fails on a name that stands twice, of which Terraform reads both and JavaScript the last", () => {
    const child = (text: string) => () =>
      inspectStack("prod", new Map([...files(root()), ["modules/vpc/main.tf.json", Buffer.from(text)]]), backend);
    const harmless = '"resource": { "terraform_data": { "b": { "input": "a \\"b\\" c" } } }';
    expect(child(`{ ${harmless} }`)).not.toThrow();
    const smuggled =
      '"resource": { "terraform_data": { "a": { "provisioner": { "local-exec": { "command": "env" } } } } }';
    expect(child(`{ ${smuggled}, ${harmless} }`)).toThrow(/modules\/vpc\/main\.tf\.json: .* a name that stands twice/);
  });

  it("reads no file by a link, whichever stack's", () => {
    const folder = mkdtempSync(join(tmpdir(), "urr-links-"));
    try {
      mkdirSync(join(folder, "stacks/staging"), { recursive: true });
      writeFileSync(join(folder, "manifest.json"), JSON.stringify({ stacks: { staging: {} } }));
      symlinkSync("/proc/self/environ", join(folder, "stacks/staging/cdk.tf.json"));
      const refused = /no links: stacks\/staging\/cdk\.tf\.json/;
      expect(() => readSynth(folder)).toThrow(refused);
      expect(() => readDependencies(folder)).toThrow(refused);
      rmSync(join(folder, "stacks/staging/cdk.tf.json"));
      mkdirSync(join(folder, "stacks/staging/.terraform"));
      symlinkSync("/usr", join(folder, "stacks/staging/.terraform/provider"));
      expect(readSynth(folder)).toEqual({});
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("names everything at once", () => {
    const act = inspect(root({ module: { x: { source: "evil" } } }), {
      data: { external: { x: {} } },
      resource: { terraform_data: { x: { provisioner: {} } } },
    });
    expect(act).toThrow(/module x[\s\S]*provisioners[\s\S]*external/);
  });
});

describe("a comment", () => {
  let server: GitHubServer;
  let stack: string;
  let planned: CommentedPlan | undefined;
  beforeEach(async () => {
    server = new GitHubServer();
    await server.start();
    stack = freshStack();
    server.permissions = { dev: "write", lead: "write", guest: "read" };
    server.reviews = [{ user: "lead", state: "APPROVED", commit: HEAD }];
    planned = {
      stack,
      head: HEAD,
      base: BASE,
      digest: "d".repeat(64),
      text: "e".repeat(64),
      commented: true,
      at: "2026-01-01T00:00:00Z",
    };
  });
  afterEach(() => server.stop());

  const around = (run = 10): Surroundings & { locks: StackLocks } => ({
    stacks: [stack, "staging"],
    repository: { owner: "urr", repo: "infra" },
    pulls: new PullRequests(
      connect({ token: "github-actions[bot]", baseUrl: server.url, sleep: async () => {} }),
      async () => {},
    ),
    locks: new StackLocks(dynamodb, "urr-terraform-locks"),
    run,
    plannedOf: async () => planned,
  });
  const event = (
    body: string,
    change: Partial<CommentEvent["comment"]> = {},
    more: Partial<CommentEvent> = {},
  ): CommentEvent => ({
    action: "created",
    issue: { number: 1, pull_request: {} },
    comment: { id: 5, body, created_at: "t", updated_at: "t", user: { login: "dev", type: "User" }, ...change },
    ...more,
  });

  it("applies the reviewed bundle and holds the stack", async () => {
    const decision = await decide(event(`cdktf apply ${stack}`), around());
    expect(decision).toMatchObject({ kind: "apply", planned: { digest: "d".repeat(64) }, reaction: "rocket" });
    expect(await new StackLocks(dynamodb, "urr-terraform-locks").holder(stack)).toMatchObject({
      pull: 1,
      run: 10,
      who: "dev",
    });
  });

  it.each([
    ["is edited", {}, { action: "edited" }],
    ["was edited before it was read", { updated_at: "later" }, {}],
    ["is by a bot", { user: { login: "dev", type: "Bot" } }, {}],
    ["is by an app in a person's name", { performed_via_github_app: { id: 1 } }, {}],
    ["is by a deleted account", { user: null }, {}],
    ["is on an issue", {}, { issue: { number: 1 } }],
    ["is by an outsider", { user: { login: "outsider", type: "User" } }, {}],
  ])("is ignored, without a word, if it %s", async (_, change, more) => {
    expect(await decide(event(`cdktf apply ${stack}`, change, more), around())).toMatchObject({ kind: "ignore" });
  });

  it("is answered with all that is missing", async () => {
    server.reviews = [];
    server.behind = 1;
    planned = undefined;
    const decision = await decide(event(`cdktf apply ${stack}`, { user: { login: "guest", type: "User" } }), around());
    expect(decision).toMatchObject({ kind: "answer", reaction: "confused" });
    const text = decision.kind === "answer" ? decision.text : "";
    for (const part of ["write permission", "an approval", "up to date", "a plan of"]) expect(text).toContain(part);
    expect(problemsOf(text)).toEqual([]);
  });

  it("does not apply a stack that another pull request holds, and says which", async () => {
    await around().locks.acquire({ stack, pull: 7, head: HEAD, who: "lead", run: 70 });
    const decision = await decide(event(`cdktf apply ${stack}`), around());
    expect(decision).toMatchObject({ kind: "answer", text: expect.stringContaining("is locked by #7 (`lead`") });
  });

  it("does not apply when a push comes between comment and lock, and lets go", async () => {
    let asked = 0;
    server.before = (request) => {
      if (request.endsWith("/pulls/1") && ++asked === 2) server.pull.headSha = "e".repeat(40);
    };
    const decision = await decide(event(`cdktf apply ${stack}`), around());
    expect(decision).toMatchObject({ kind: "answer", text: expect.stringContaining("a commit came in between") });
    expect(await around().locks.holder(stack)).toBeUndefined();
  });

  it.each([
    [
      "an approval is dismissed",
      () => server.reviews.push({ user: "lead", state: "DISMISSED", commit: HEAD }),
      "an approval of aaaaaaa",
    ],
    [
      "changes are asked for",
      () => server.reviews.push({ user: "dev", state: "CHANGES_REQUESTED", commit: HEAD }),
      "no review that asks for changes",
    ],
    ["it is made a draft", () => (server.pull.draft = true), "ready for review"],
    [
      "the comment is edited",
      () => (planned = planned && { ...planned, commented: false }),
      "the comment as the plan job wrote it",
    ],
    ["the plan is taken back", () => (planned = undefined), "a plan of"],
  ])("does not apply when between comment and lock %s, says so and lets go", async (_, happens, lacks) => {
    for (const held of [false, true]) {
      const before = { reviews: [...server.reviews], draft: server.pull.draft, planned };
      if (held) {
        await around().locks.acquire({ stack, pull: 1, head: HEAD, who: "dev", run: 9 });
        await around().locks.finish(stack, 9);
      }
      let asked = 0;
      server.before = (request) => {
        if (request.endsWith("/pulls/1") && ++asked === 2) happens();
      };
      const decision = await decide(event(`cdktf apply ${stack}`), around());
      expect(decision).toMatchObject({ kind: "answer", text: expect.stringContaining(lacks) });
      const holder = await around().locks.holder(stack);
      expect([holder?.pull, holder?.run]).toEqual([held ? 1 : undefined, undefined]);
      server.reviews = before.reviews;
      server.pull.draft = before.draft;
      planned = before.planned;
    }
  });

  it("is applied once where two say it at the same time", async () => {
    const decisions = await Promise.all([10, 11].map((run) => decide(event(`cdktf apply ${stack}`), around(run))));
    expect(decisions.filter(({ kind }) => kind === "apply")).toHaveLength(1);
  });

  it("plans one stack or all", async () => {
    expect(await decide(event(`cdktf plan ${stack}`), around())).toMatchObject({ kind: "plan", stacks: [stack] });
    expect(await decide(event("cdktf plan"), around())).toMatchObject({ kind: "plan", stacks: [stack, "staging"] });
  });

  it("unlocks what is its own, but not under a run at work", async () => {
    const say = async () => {
      const decision = await decide(event(`cdktf unlock ${stack}`), around());
      return decision.kind === "answer" ? decision.text : decision.kind;
    };
    expect(await say()).toContain("is not locked");
    await around().locks.acquire({ stack, pull: 1, head: HEAD, who: "dev", run: 33 });
    server.runs = { 33: "in_progress" };
    expect(await say()).toContain("is being applied by run 33");
    server.runs = { 33: "completed" };
    expect(await say()).toContain("is free");
    await around().locks.acquire({ stack, pull: 7, head: HEAD, who: "lead", run: 70 });
    expect(await say()).toContain("is locked by #7");
  });

  it("is answered with help where it is a mistake", async () => {
    const decision = await decide(event("cdktf aply"), around());
    expect(decision).toMatchObject({ kind: "answer", text: expect.stringContaining("`cdktf apply <stack> [commit]`") });
    if (decision.kind === "answer") expect(problemsOf(decision.text)).toEqual([]);
  });
});

describe("a plan that is made again", () => {
  const plan = (more: object = {}, changed: object = {}) =>
    planOf(
      [
        resource("aws_x.b", change(["update"], { a: 1, b: { c: 1, d: 2 } }, { a: 2, ...changed })),
        resource("aws_x.a", change(["create"], null, { v: 1 })),
        resource("aws_x.still", change(["no-op"], { v: 1 }, { v: 1 })),
      ],
      { timestamp: "2026-11-20T02:00:00Z", ...more },
    );

  it("is the same plan at another time and in another order", () => {
    const again = plan({ timestamp: "2026-11-21T02:00:00Z" });
    expect(digestOfPlan({ ...again, resource_changes: [...again.resource_changes].reverse() })).toBe(
      digestOfPlan(plan()),
    );
  });

  it("is another plan if one value, action, address or output differs", () => {
    const digests = [
      plan(),
      plan({}, { a: 3 }),
      plan({ output_changes: { o: change(["update"], 1, 2) } }),
      planOf([resource("aws_x.b", change(["delete"], { a: 1 }, null))]),
      planOf([resource("aws_x.b", change(["no-op"], { a: 1 }, { a: 1 }), { previous_address: "aws_x.c" })]),
      planOf([]),
    ].map(digestOfPlan);
    expect(new Set(digests).size).toBe(digests.length);
  });
});
