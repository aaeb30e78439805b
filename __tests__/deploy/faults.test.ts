import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { DynamoDBClient, ListTablesCommand } from "@aws-sdk/client-dynamodb";
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { clientSettings } from "../../tools/cloud/inventory";
import { type CommandResult, Project } from "../../tools/cloud/project";
import type { Cloud } from "../../tools/cloud/simulators";
import { eventually, startCloud } from "./world";

/*
 * Faults on a small stack with the backend of the real ones. The guard's wrapper is the Terraform that runs; the proxy answers as AWS
 * words its refusals, because the simulators refuse nothing.
 */

const BUCKET = "urr-fault-states";
const LOCK_TABLE = "urr-fault-locks";
const GUARDED = path.resolve(import.meta.dirname, "../../tools/guard/terraform.mjs");

let cloud: Cloud;
let stop: () => Promise<void>;
let proxy: FaultyProxy;
let project: Project;
let directory: string;

beforeAll(async () => {
  ({ cloud, stop } = await startCloud());
  proxy = await FaultyProxy.start(cloud.endpoint);
  const backend = mkdtempSync(path.join(tmpdir(), "urr-backend-"));
  project = Project.create({ ...cloud.environment, AWS_ENDPOINT_URL: proxy.url });
  writeRoot(backend, {
    terraform: { backend: { local: {} } },
    resource: {
      aws_s3_bucket: { states: { bucket: BUCKET } },
      aws_s3_bucket_versioning: {
        states: { bucket: "${aws_s3_bucket.states.id}", versioning_configuration: { status: "Enabled" } },
      },
      aws_dynamodb_table: {
        locks: {
          name: LOCK_TABLE,
          billing_mode: "PAY_PER_REQUEST",
          hash_key: "LockID",
          attribute: [{ name: "LockID", type: "S" }],
        },
      },
    },
  });
  await must(backend, ["init", "-input=false"]);
  await must(backend, ["apply", "-auto-approve"]);
  rmSync(backend, { recursive: true, force: true });
});

afterAll(async () => {
  project?.dispose();
  await proxy?.stop();
  await stop?.();
});

/** Each test has states and tables of its own, so that what one leaves behind is nothing to the next. */
let life = 0;

beforeEach(async () => {
  life += 1;
  directory = mkdtempSync(path.join(tmpdir(), "urr-small-"));
  writeRoot(directory, small());
  await must(directory, ["init", "-input=false"]);
});

afterEach(() => {
  proxy.release();
  rmSync(directory, { recursive: true, force: true });
});

describe("an apply that is cut off", () => {
  it("is resumed by the next one after the dead lock is released", async () => {
    const kill = new AbortController();
    proxy.faults = [{ matches: isCreateTable("second"), answer: "hang" }];
    const cut = terraform(directory, ["apply", "-auto-approve"], {}, kill.signal);
    await eventually("the first table", async () => ((await tables()).includes(tableOf("first")) ? true : undefined));
    await eventually("the second call to hang", async () => (proxy.hanging > 0 ? true : undefined));
    kill.abort();
    expect((await cut).status).not.toBe(0);
    proxy.faults = [];

    const refused = await terraform(directory, ["apply", "-auto-approve"]);
    expect(refused.status).not.toBe(0);
    expect(refused.output).toContain("Error acquiring the state lock");
    await must(directory, ["force-unlock", "-force", lockIdOf(refused)]);
    // What was made and never written to the state is adopted, not made twice.
    await adopt(directory, "first");
    await must(directory, ["apply", "-auto-approve"]);
    expect(await tables()).toEqual(expect.arrayContaining([tableOf("first"), tableOf("second")]));
    expect(await must(directory, ["plan"])).toContain("No changes.");
  });
});

describe("two deploys at once", () => {
  it("the second is refused with who holds the lock, and a wrong id does not release it", async () => {
    proxy.faults = [{ matches: isCreateTable("second"), answer: "hang" }];
    const first = terraform(directory, ["apply", "-auto-approve"]);
    await eventually("the first deploy to hold the lock", async () => (proxy.hanging > 0 ? true : undefined));
    const second = await terraform(directory, ["apply", "-auto-approve"]);
    expect(second.status).not.toBe(0);
    expect(second.output).toContain("Error acquiring the state lock");
    expect(second.output).toMatch(/Operation:\s+OperationTypeApply/);
    expect(second.output).toMatch(/Who:\s+\S+@\S+/);
    expect(second.output).toMatch(/Created:\s+\d{4}-\d\d-\d\d/);
    const wrong = await terraform(directory, ["force-unlock", "-force", "00000000-0000-0000-0000-000000000000"]);
    expect(wrong.status).not.toBe(0);
    expect(wrong.output).toContain("Failed to unlock state");
    proxy.release();
    expect((await first).status).toBe(0);
  });
});

describe("a lost state file", () => {
  it("comes back from the bucket's versions, and the plan is clean again", async () => {
    await must(directory, ["apply", "-auto-approve"]);
    const s3 = new S3Client(clientSettings(cloud));
    const { ETag } = await s3.send(new HeadObjectCommand({ Bucket: BUCKET, Key: keyOf() }));
    await s3.send(new DeleteObjectCommand({ Bucket: BUCKET, Key: keyOf() }));
    const { Versions = [] } = await s3.send(new ListObjectVersionsCommand({ Bucket: BUCKET, Prefix: keyOf() }));
    const lost = Versions.find((version) => version.Key === keyOf() && version.ETag === ETag);
    await s3.send(
      new CopyObjectCommand({
        Bucket: BUCKET,
        Key: keyOf(),
        CopySource: `${BUCKET}/${keyOf()}?versionId=${lost?.VersionId}`,
      }),
    );
    expect(await must(directory, ["plan"])).toContain("No changes.");
  });
});

describe("an API that stumbles", () => {
  it.each([
    ["throttles", 400, "ThrottlingException", "Rate exceeded"],
    ["fails with 500", 500, "InternalServerError", "The request processing has failed because of an unknown error"],
  ])("that %s a few times is asked again until it answers", async (_, status, code, message) => {
    const fault = { matches: isCreateTable("first"), answer: json(status, code, message), times: 3 };
    proxy.faults = [fault];
    await must(directory, ["apply", "-auto-approve"]);
    expect(fault.times).toBe(0);
    expect((await tables()).includes(tableOf("first"))).toBe(true);
  });
});

describe("what AWS refuses is said in a sentence", () => {
  it("fails with the action and the role where IAM denies it", async () => {
    const denial =
      "User: arn:aws:sts::123456789012:assumed-role/urr-ci-apply-prod/run is not authorized to perform: dynamodb:CreateTable on resource: arn:aws:dynamodb:ap-northeast-2:123456789012:table/urr-small-second because no identity-based policy allows the dynamodb:CreateTable action";
    proxy.faults = [{ matches: isCreateTable("second"), answer: json(400, "AccessDeniedException", denial) }];
    const result = await terraform(directory, ["apply", "-auto-approve"]);
    expect(result.status).not.toBe(0);
    expect(flat(result)).toContain("not authorized to perform: dynamodb:CreateTable");
  });

  it.each([
    ["expired", "ExpiredToken", "The security token included in the request is expired"],
    ["wrong", "InvalidClientTokenId", "The security token included in the request is invalid."],
  ])("fails with what is wrong where credentials are %s", async (_, code, message) => {
    proxy.faults = [{ matches: (text) => text.includes("GetCallerIdentity"), answer: xml(403, code, message) }];
    const result = await terraform(directory, ["plan"]);
    expect(result.status).not.toBe(0);
    expect(flat(result)).toContain(message.replace(/\.$/, ""));
    proxy.faults = [];
  });

  it("fails with both account ids where the credentials are another account's", async () => {
    const other = mkdtempSync(path.join(tmpdir(), "urr-small-"));
    writeRoot(other, { ...small(), terraform: { backend: { local: {} } } }, "999999999999");
    await must(other, ["init", "-input=false"]);
    const result = await terraform(other, ["plan"]);
    expect(result.status).not.toBe(0);
    expect(flat(result)).toContain("AWS account ID not allowed: 123456789012");
    rmSync(other, { recursive: true, force: true });
  });

  it("fails with the bucket's name where the state bucket is missing", async () => {
    const other = mkdtempSync(path.join(tmpdir(), "urr-small-"));
    writeRoot(other, { ...small(), terraform: { backend: { s3: { ...backendOf(), bucket: "urr-no-such-bucket" } } } });
    const result = await terraform(other, ["init", "-input=false"]);
    expect(result.status).not.toBe(0);
    expect(flat(result)).toContain('S3 bucket "urr-no-such-bucket" does not exist');
    rmSync(other, { recursive: true, force: true });
  });

  it("fails in the guard, naming the resource, where a plan would replace a table", async () => {
    await must(directory, ["apply", "-auto-approve"]);
    writeRoot(directory, small("id"));
    const result = await terraform(directory, ["apply", "-auto-approve"]);
    expect(result.status).toBe(1);
    expect(result.output).toContain("- aws_dynamodb_table.first: replace (hash_key changes) loses its data");
    expect(await tables()).toContain(tableOf("first"));
    expect((await must(directory, ["state", "list"])).trim().split("\n")).toEqual(
      TABLES.map((name) => `aws_dynamodb_table.${name}`),
    );
  });
});

const TABLES = ["first", "second"] as const;

/** Two tables, the second after the first, in the backend of the real stacks. */
function small(hashKey = "key") {
  const table = (name: string) => ({
    name: tableOf(name),
    billing_mode: "PAY_PER_REQUEST",
    hash_key: hashKey,
    attribute: [{ name: hashKey, type: "S" }],
  });
  return {
    terraform: { backend: { s3: backendOf() } },
    resource: {
      aws_dynamodb_table: {
        first: table("first"),
        second: { ...table("second"), depends_on: ["aws_dynamodb_table.first"] },
      },
    },
  };
}

function backendOf() {
  return {
    bucket: BUCKET,
    key: keyOf(),
    region: "ap-northeast-2",
    encrypt: true,
    dynamodb_table: LOCK_TABLE,
    use_lockfile: true,
  };
}

function writeRoot(folder: string, root: { terraform: object; resource: object }, account = "123456789012"): void {
  const content = {
    terraform: { ...root.terraform, required_providers: { aws: { source: "aws", version: "5.100.0" } } },
    provider: { aws: [{ region: "ap-northeast-2", allowed_account_ids: [account], max_retries: 6 }] },
    resource: root.resource,
  };
  writeFileSync(path.join(folder, "main.tf.json"), JSON.stringify(content));
}

function terraform(
  cwd: string,
  args: readonly string[],
  environment: Record<string, string> = {},
  kill?: AbortSignal,
): Promise<CommandResult> {
  const noColor = ["apply", "destroy", "plan", "init"].includes(args[0] ?? "") ? ["-no-color"] : [];
  return project.command(GUARDED, [args[0] ?? "", ...noColor, ...args.slice(1)], {
    cwd,
    environment,
    ...(kill && { kill }),
  });
}

async function must(cwd: string, args: readonly string[], environment: Record<string, string> = {}): Promise<string> {
  const result = await terraform(cwd, args, environment);
  if (result.status !== 0) throw new Error(`terraform ${args.join(" ")}:\n${result.output}`);
  return result.stdout;
}

/** Brings a table into the state that Terraform had no time to write down. */
async function adopt(cwd: string, name: string): Promise<void> {
  const address = `aws_dynamodb_table.${name}`;
  if ((await terraform(cwd, ["state", "list"])).output.includes(address)) return;
  await must(cwd, ["import", "-input=false", address, tableOf(name)]);
}

function keyOf(): string {
  return `small-${life}/terraform.tfstate`;
}

function tableOf(name: string): string {
  return `urr-small-${life}-${name}`;
}

async function tables(): Promise<string[]> {
  return (await new DynamoDBClient(clientSettings(cloud)).send(new ListTablesCommand())).TableNames ?? [];
}

/** The lock's own id; request ids look the same, so the line's start counts. */
function lockIdOf({ output }: CommandResult): string {
  const id = /^[│\s]+ID:\s+(\S+)/m.exec(output)?.[1];
  if (id === undefined) throw new Error(`no lock id in:\n${output}`);
  return id;
}

/** Terraform's message without its frame and line breaks. */
function flat({ output }: CommandResult): string {
  return output.replaceAll(/[│╷╵]/g, " ").replaceAll(/\s+/g, " ");
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

interface Fault {
  /** Given the operation's name and body. */
  readonly matches: (text: string) => boolean;
  readonly answer: Answer | "hang";
  /** How often. @default always */
  times?: number;
}

function isCreateTable(name: string): Fault["matches"] {
  return (text) => text.includes("DynamoDB_20120810.CreateTable") && text.includes(`"${tableOf(name)}"`);
}

function json(status: number, code: string, message: string): Answer {
  return {
    status,
    headers: { "content-type": "application/x-amz-json-1.0" },
    body: JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${code}`, message }),
  };
}

function xml(status: number, code: string, message: string): Answer {
  return {
    status,
    headers: { "content-type": "text/xml" },
    body: `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error><RequestId>0</RequestId></ErrorResponse>`,
  };
}

/** Passes calls on to the simulator, except those that a fault matches. */
class FaultyProxy {
  faults: Fault[] = [];
  private readonly held: (() => void)[] = [];

  private constructor(
    private readonly server: Server,
    private readonly target: string,
  ) {}

  static async start(target: string): Promise<FaultyProxy> {
    let proxy: FaultyProxy | undefined;
    const server = createServer((incoming, outgoing) => void proxy?.handle(incoming, outgoing));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    proxy = new FaultyProxy(server, target);
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Calls that wait. */
  get hanging(): number {
    return this.held.length;
  }

  /** Lets the calls that wait go on, and those after them. */
  release(): void {
    this.faults = [];
    for (const go of this.held.splice(0)) go();
  }

  async stop(): Promise<void> {
    this.release();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async handle(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const text = `${incoming.headers["x-amz-target"] ?? ""} ${body.toString("latin1")}`;
    const fault = this.faults.find(({ matches, times = 1 }) => times > 0 && matches(text));
    if (fault?.answer === "hang") {
      await new Promise<void>((resolve) => this.held.push(resolve));
    } else if (fault) {
      if (fault.times !== undefined) fault.times -= 1;
      outgoing.writeHead(fault.answer.status, { ...fault.answer.headers }).end(fault.answer.body);
      return;
    }
    const { hostname, port } = new URL(this.target);
    const onward = request(
      { hostname, port, method: incoming.method, path: incoming.url, headers: incoming.headers },
      (response) => {
        outgoing.writeHead(response.statusCode ?? 502, response.headers);
        response.pipe(outgoing);
      },
    );
    onward.on("error", () => outgoing.destroy());
    onward.end(body);
  }
}
