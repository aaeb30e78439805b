import { type ChildProcess, execFileSync, fork, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DescribeKeyCommand, GetKeyPolicyCommand, GetKeyRotationStatusCommand, KMSClient } from "@aws-sdk/client-kms";
import {
  DeleteObjectCommand,
  GetBucketPolicyCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { deployStacks } from "../../tools/cloud/deploy";
import { clientSettings } from "../../tools/cloud/inventory";
import { Project } from "../../tools/cloud/project";
import { Cloud } from "../../tools/cloud/simulators";
import { openBundle, packBundle, readFolder } from "../../tools/plan-comments/commands/bundle";
import { StackLocks } from "../../tools/plan-comments/commands/locks";
import type { PlannedBundle } from "../../tools/plan-comments/commands/requirements";
import { keyOf, S3BundleStore } from "../../tools/plan-comments/commands/store";

/** Everything here speaks to the bucket, key and lock table that the bootstrap stack makes, on the simulated AWS API. */

const ROOT = path.resolve(import.meta.dirname, "../..");
const BUCKET = "urr-plan-bundles";
const TABLE = "urr-terraform-locks";
const HEAD = "a".repeat(40);
const BASE = "b".repeat(40);

let home: string;
let cloud: Cloud;
let project: Project;
let s3: S3Client;
let kms: KMSClient;
let dynamodb: DynamoDBClient;
let keyArn: string;

beforeAll(async () => {
  home = mkdtempSync(path.join(tmpdir(), "urr-plan-bundles-"));
  cloud = await Cloud.up(home, { owner: process.pid });
  project = Project.create(cloud.environment);
  await deployStacks(project, ["bootstrap"]);
  const settings = clientSettings(cloud);
  s3 = new S3Client({ ...settings, forcePathStyle: true });
  kms = new KMSClient(settings);
  dynamodb = new DynamoDBClient(settings);
  const { KeyMetadata: key } = await kms.send(new DescribeKeyCommand({ KeyId: "alias/urr-plan-bundles" }));
  keyArn = key?.Arn ?? "";
});
afterAll(async () => {
  for (const client of [s3, kms, dynamodb]) client?.destroy();
  project?.dispose();
  await cloud?.down();
  rmSync(home, { recursive: true, force: true });
});

let work: string;
beforeEach(() => {
  work = mkdtempSync(path.join(tmpdir(), "urr-plan-bundle-"));
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  ...cloud.environment,
  AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
});

/** The step of a workflow, as the workflow calls it. */
const step = (...parameters: string[]) =>
  spawnSync(process.execPath, ["tools/plan-comments/run.cjs", "comment", ...parameters], {
    cwd: ROOT,
    encoding: "utf8",
    env: environment(),
  });

const terraform = (folder: string, ...parameters: string[]): string =>
  execFileSync("terraform", parameters, { cwd: folder, encoding: "utf8", env: environment(), stdio: "pipe" });

/** A stack that needs no cloud, planned by real Terraform. */
function plannedFolder(text: string): string {
  const folder = path.join(work, "stack");
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    path.join(folder, "cdk.tf.json"),
    JSON.stringify({ resource: { terraform_data: { greeting: { input: text } } } }),
  );
  terraform(folder, "init", "-input=false");
  terraform(folder, "plan", "-input=false", "-out=plan.tfplan");
  return folder;
}

function pack(folder: string, stack = "prod"): PlannedBundle {
  const file = path.join(work, "planned.json");
  const identity = ["--stack", stack, "--head", HEAD, "--base", BASE];
  const rendered = path.join(work, "rendered.json");
  writeFileSync(rendered, JSON.stringify([{ stack, bodies: ["what the comment says"] }]));
  const { status, stderr } = step(
    "pack",
    ...identity,
    "--folder",
    folder,
    "--rendered",
    rendered,
    "--bucket",
    BUCKET,
    "--kms-key",
    keyArn,
    "--out",
    file,
  );
  expect(`${status} ${stderr}`).toBe("0 ");
  return JSON.parse(readFileSync(file, "utf8")) as PlannedBundle;
}

const open = () =>
  step("open", "--planned", path.join(work, "planned.json"), "--folder", path.join(work, "opened"), "--bucket", BUCKET);

describe("a bundle", () => {
  it("is put under the key of the bootstrap stack, fetched, and applied to the letter of what was planned", async () => {
    const planned = pack(plannedFolder("as reviewed"));
    const object = await s3.send(new HeadObjectCommand({ Bucket: BUCKET, Key: keyOf(planned) }));
    expect(object).toMatchObject({ ServerSideEncryption: "aws:kms", SSEKMSKeyId: keyArn });
    expect(object.BucketKeyEnabled ?? false).toBe(false);
    rmSync(path.join(work, "stack"), { recursive: true });
    expect(open().status).toBe(0);
    terraform(path.join(work, "opened"), "init", "-input=false");
    expect(terraform(path.join(work, "opened"), "apply", "-input=false", "-no-color", "plan.tfplan")).toContain(
      "Apply complete! Resources: 1 added",
    );
  });

  it("is put once: the same plan again leaves the object as it is", async () => {
    const folder = plannedFolder("twice");
    const planned = pack(folder);
    const first = await s3.send(new HeadObjectCommand({ Bucket: BUCKET, Key: keyOf(planned) }));
    expect(pack(folder)).toEqual(planned);
    const second = await s3.send(new HeadObjectCommand({ Bucket: BUCKET, Key: keyOf(planned) }));
    expect(second.VersionId).toBe(first.VersionId);
    expect(second.LastModified).toEqual(first.LastModified);
  });

  const replaced = async (planned: PlannedBundle, bytes: Buffer): Promise<void> => {
    await s3.send(
      new PutObjectCommand({
        Bucket: BUCKET,
        Key: keyOf(planned),
        Body: bytes,
        ServerSideEncryption: "aws:kms",
        SSEKMSKeyId: keyArn,
      }),
    );
  };

  it.each([
    [
      "another plan file",
      (folder: string) => {
        const files = new Map(readFolder(folder));
        files.set("plan.tfplan", Buffer.from("evil"));
        return packBundle({ stack: "prod", head: HEAD, base: BASE }, files).bytes;
      },
      /its manifest has the digest [0-9a-f]{64}, not the reviewed/,
    ],
    [
      "the bundle of another commit",
      (folder: string) => packBundle({ stack: "prod", head: BASE, base: BASE }, readFolder(folder)).bytes,
      /not the reviewed/,
    ],
    [
      "half of it",
      (folder: string) =>
        packBundle({ stack: "prod", head: HEAD, base: BASE }, readFolder(folder)).bytes.subarray(0, 700),
      /cannot be read/,
    ],
  ])("that was replaced by %s is refused, and nothing of it is written", async (_, evil, message) => {
    const folder = plannedFolder("as reviewed, then tampered with");
    const planned = pack(folder);
    await replaced(planned, Buffer.from(evil(folder)));
    const { status, stderr } = open();
    expect(status).toBe(1);
    expect(stderr).toMatch(message);
    expect(existsSync(path.join(work, "opened/plan.tfplan"))).toBe(false);
  });

  it("with one byte of the plan file changed is refused by name", async () => {
    const folder = plannedFolder("one byte");
    const planned = pack(folder);
    const store = new S3BundleStore(s3, BUCKET, keyArn);
    const bytes = await store.get(planned);
    const damaged = Buffer.from(bytes);
    const at = damaged.indexOf("plan.tfplan") + 40;
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    await replaced(planned, damaged);
    const fetched = await store.get(planned);
    expect(() => openBundle(fetched, planned)).toThrow(/plan\.tfplan|cannot be read/);
  });

  it("that is gone is an error that names it", async () => {
    const planned = pack(plannedFolder("gone"));
    await s3.send(new DeleteObjectCommand({ Bucket: BUCKET, Key: keyOf(planned) }));
    const { status, stderr } = open();
    expect(status).toBe(1);
    expect(stderr).toContain(keyOf(planned));
  });

  it("of each stack lies below its environment, where its roles may reach it", async () => {
    pack(plannedFolder("platform"), "staging-platform");
    const { Contents: found = [] } = await s3.send(
      new ListObjectsV2Command({ Bucket: BUCKET, Prefix: `staging/staging-platform/${HEAD}/` }),
    );
    expect(found).toHaveLength(1);
  });
});

describe("the key and the bucket, as the API tells of them", () => {
  it("rotate, and let plan roles encrypt and apply roles decrypt, each in its own folder", async () => {
    const { KeyRotationEnabled: rotates } = await kms.send(new GetKeyRotationStatusCommand({ KeyId: keyArn }));
    expect(rotates).toBe(true);
    const { Policy: text = "{}" } = await kms.send(new GetKeyPolicyCommand({ KeyId: keyArn, PolicyName: "default" }));
    const { Statement: statements } = JSON.parse(text) as {
      Statement: { Action: string | string[]; Principal: object }[];
    };
    const may = (action: string) =>
      statements
        .filter((statement) => [statement.Action].flat().includes(action))
        .flatMap((statement) => JSON.stringify(statement.Principal).match(/urr-ci-[\w-]+/g) ?? [])
        .sort();
    expect(may("kms:GenerateDataKey")).toEqual(["urr-ci-plan-prod", "urr-ci-plan-staging"]);
    expect(may("kms:Decrypt")).toEqual(["urr-ci-apply-prod", "urr-ci-apply-staging"]);
  });

  it("refuse what is not encrypted with this key", async () => {
    const { Policy: text = "{}" } = await s3.send(new GetBucketPolicyCommand({ Bucket: BUCKET }));
    const { Statement: statements } = JSON.parse(text) as {
      Statement: { Effect: string; Condition?: { StringNotEqualsIfExists?: Record<string, string> } }[];
    };
    const refused = statements
      .filter(({ Effect }) => Effect === "Deny")
      .map(({ Condition }) => Condition?.StringNotEqualsIfExists ?? {});
    expect(refused).toContainEqual({ "s3:x-amz-server-side-encryption-aws-kms-key-id": keyArn });
  });
});

describe("locks in the deployed table", () => {
  it("go to one of two processes, survive its death, and are free once its run is known to have ended", async () => {
    const locks = new StackLocks(dynamodb, TABLE);
    const child = path.join(ROOT, "__tests__/tools/plan-comments/lock-child.ts");
    const runners = [1, 2].map((pull) =>
      fork(child, [cloud.endpoint, "prod", String(pull), String(pull * 10)], {
        execArgv: ["--import", "tsx"],
        stdio: ["ignore", "ignore", "ignore", "ipc"],
      }),
    );
    const message = (runner: ChildProcess) => new Promise<unknown>((resolve) => runner.once("message", resolve));
    try {
      await Promise.all(runners.map(message));
      const answers = Promise.all(runners.map(message));
      for (const runner of runners) runner.send("go");
      const taken = await answers;
      expect(taken.filter(Boolean)).toHaveLength(1);
      const winner = taken.indexOf(true) + 1;
      runners[winner - 1]?.kill("SIGKILL");
      const held = { stack: "prod", pull: 3 - winner, head: HEAD, who: "dev", run: 99 };
      expect(await locks.acquire(held)).toMatchObject({ acquired: false, holder: { pull: winner, run: winner * 10 } });
      expect(await locks.release("prod", winner, winner * 10)).toBe(true);
      expect(await locks.acquire(held)).toEqual({ acquired: true });
    } finally {
      for (const runner of runners) runner.kill("SIGKILL");
    }
  });
});
