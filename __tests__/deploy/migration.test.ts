import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateTableCommand, DynamoDBClient, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { DescribeVpcsCommand, EC2Client } from "@aws-sdk/client-ec2";
import { DescribeReplicationGroupsCommand, ElastiCacheClient } from "@aws-sdk/client-elasticache";
import { KafkaClient, ListClustersCommand } from "@aws-sdk/client-kafka";
import { DescribeDBInstancesCommand, RDSClient } from "@aws-sdk/client-rds";
import {
  CreateBucketCommand,
  GetObjectCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deployStacks } from "../../tools/cloud/deploy";
import { clientSettings } from "../../tools/cloud/inventory";
import { Project } from "../../tools/cloud/project";
import type { Cloud } from "../../tools/cloud/simulators";
import { judge } from "../../tools/guard/rules";
import { plannedChanges } from "./plan";
import { startCloud } from "./world";

/*
 * docs/migration.md, lived: an environment that the documented HCL made, with data in it, is taken over by these stacks.
 */

const BUCKET = "urr-terraform-state-staging";
const HCL = path.join(import.meta.dirname, "documented-hcl");

let cloud: Cloud;
let stop: () => Promise<void>;
let project: Project;
let scratch: string;
let before: Awaited<ReturnType<typeof whatExists>>;

beforeAll(async () => {
  ({ cloud, stop } = await startCloud());
  scratch = mkdtempSync(path.join(tmpdir(), "urr-migration-"));
  project = Project.create(cloud.environment, path.join(scratch, "project"));
  const s3 = new S3Client(clientSettings(cloud));
  await s3.send(new CreateBucketCommand({ Bucket: BUCKET }));
  await s3.send(new PutBucketVersioningCommand({ Bucket: BUCKET, VersioningConfiguration: { Status: "Enabled" } }));
  await new DynamoDBClient(clientSettings(cloud)).send(
    new CreateTableCommand({
      TableName: "urr-terraform-locks",
      BillingMode: "PAY_PER_REQUEST",
      KeySchema: [{ AttributeName: "LockID", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "LockID", AttributeType: "S" }],
    }),
  );
});

afterAll(async () => {
  await stop?.();
  if (scratch) rmSync(scratch, { recursive: true, force: true });
});

describe("an environment that the documented HCL made", () => {
  it("exists, and its own plan says no changes", async () => {
    cpSync(HCL, path.join(scratch, "hcl"), { recursive: true });
    await hcl(["init", "-input=false"]);
    await hcl(["apply", "-auto-approve", "-parallelism=16"]);
    expect((await hcl(["plan"])).stdout).toContain("No changes.");
    const s3 = new S3Client(clientSettings(cloud));
    await s3.send(new PutObjectCommand({ Bucket: "urr-staging-frontend-staging", Key: "index.html", Body: "hello" }));
    const Item = { eventId: { S: "evt-1" }, servingCounter: { N: "7" } };
    await new DynamoDBClient(clientSettings(cloud)).send(
      new PutItemCommand({ TableName: "urr-staging-vwr-counters", Item }),
    );
    before = await whatExists();
  });

  it("is matched by the moved command, which names what needs a decision", async () => {
    for (const store of ["deletionProtection: false,\n  }", "numCacheClusters: 1 }", "volumeSizeGib: 20 }"])
      project.edit("environments/staging.ts", store, store.replace(/,?\s*\}$/, ", encryptedByService: true }"));
    const first = await matchStates();
    expect(first.status).toBe(1);
    const atRisk = first.output.split("\n").filter((line) => line.startsWith("at risk: "));
    expect(atRisk.map((line) => line.split(" ")[2])).toEqual([
      "module.secrets.random_password.rds",
      "module.secrets.random_password.redis_auth",
      "module.msk.aws_security_group.brokers",
    ]);
    const displaced = "module.elasticache.aws_security_group.redis";
    expect(first.output).toContain(`terraform state rm '${displaced}'`);
    const { moved, removed } = JSON.parse(first.stdout) as Moves;
    expect(moved).toContainEqual({ from: "module.rds.aws_db_instance.main", to: "module.rds.aws_db_instance.primary" });
    expect(moved).toContainEqual({ from: "module.vpc.aws_subnet.db[1]", to: "module.vpc.aws_subnet.db_c" });
    expect(removed).toEqual([{ from: "module.rds.aws_db_parameter_group.postgres", lifecycle: { destroy: false } }]);

    // What the document says to do about them.
    project.edit("modules/msk/index.ts", "`Kafka brokers of ${prefix}`", '"Managed by Terraform"');
    await hcl(["state", "rm", displaced]);
    const byHand = { rds: "rds_credentials", redis_auth: "redis_auth_token" };
    for (const [from, to] of Object.entries(byHand))
      moved.push({ from: `module.secrets.random_password.${from}`, to: `module.secrets.random_password.${to}` });
    writeFileSync(path.join(project.stackDirectory("staging"), "moved.tf.json"), JSON.stringify({ moved, removed }));
  });

  it("is planned without a loss: the guard refuses nothing, and only a secret's value is written again", async () => {
    await project.diff("staging");
    const plan = JSON.parse(await project.mustTerraform("staging", ["show", "-json", "plan"])) as {
      resource_changes: { address: string; type: string; change: { actions: string[] } }[];
    };
    expect(judge(plan).refused).toEqual([]);
    const gone = plan.resource_changes.filter(({ change }) => change.actions.includes("delete"));
    expect(gone.map(({ address }) => address)).toEqual([
      "module.secrets.aws_secretsmanager_secret_version.rds_credentials",
    ]);
  });

  it("is taken over with everything that it holds, and the next plan repeats only what waits for a window", async () => {
    await deployStacks(project, ["staging"]);
    expect(await whatExists()).toEqual(before);
    expect(await plannedChanges(project, "staging")).toEqual([
      // AWS turns IAM authentication on in the maintenance window, and so does the simulator.
      "update module.rds.aws_db_instance.primary",
    ]);
  });
});

interface Moves {
  readonly moved: { readonly from: string; readonly to: string }[];
  readonly removed: readonly object[];
}

function hcl(args: readonly string[]) {
  return must("terraform", args, path.join(scratch, "hcl"));
}

async function must(command: string, args: readonly string[], cwd: string) {
  const result = await project.command(command, args, { cwd });
  if (result.status !== 0) throw new Error(`${command} ${args.join(" ")}:\n${result.output}`);
  return result;
}

/** Steps 1 and 4 of the document. */
async function matchStates() {
  const state = path.join(scratch, "before.json");
  const plan = path.join(scratch, "plan.json");
  writeFileSync(state, (await hcl(["state", "pull"])).stdout);
  await must("npm", ["run", "--silent", "synth", "--", "staging"], project.directory);
  const planned = await must("npm", ["run", "--silent", "plan:offline", "--", "staging"], project.directory);
  writeFileSync(plan, planned.stdout);
  return project.command("npm", ["run", "--silent", "moved", "--", state, plan]);
}

/** What would not come back if it were made again. */
async function whatExists() {
  const settings = clientSettings(cloud);
  const { DBInstances = [] } = await new RDSClient(settings).send(new DescribeDBInstancesCommand());
  const { Vpcs = [] } = await new EC2Client(settings).send(
    new DescribeVpcsCommand({ Filters: [{ Name: "cidr", Values: ["10.1.0.0/16"] }] }),
  );
  const { ReplicationGroups = [] } = await new ElastiCacheClient(settings).send(new DescribeReplicationGroupsCommand());
  const { ClusterInfoList = [] } = await new KafkaClient(settings).send(new ListClustersCommand());
  const { Body } = await new S3Client(settings).send(
    new GetObjectCommand({ Bucket: "urr-staging-frontend-staging", Key: "index.html" }),
  );
  const { Item } = await new DynamoDBClient(settings).send(
    new GetItemCommand({ TableName: "urr-staging-vwr-counters", Key: { eventId: { S: "evt-1" } } }),
  );
  const { SecretString } = await new SecretsManagerClient(settings).send(
    new GetSecretValueCommand({ SecretId: "urr-staging/rds-credentials" }),
  );
  return {
    databases: DBInstances.map(({ DbiResourceId }) => DbiResourceId),
    networks: Vpcs.map(({ VpcId }) => VpcId),
    redis: ReplicationGroups.map(({ ARN }) => ARN),
    kafka: ClusterInfoList.map(({ ClusterArn }) => ClusterArn),
    object: await Body?.transformToString(),
    counter: Item?.servingCounter?.N,
    password: (JSON.parse(SecretString ?? "{}") as { password: string }).password,
  };
}
