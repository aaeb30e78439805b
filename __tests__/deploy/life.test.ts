import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { DescribeDBInstancesCommand, RDSClient } from "@aws-sdk/client-rds";
import {
  DeleteObjectsCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectVersionsCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deployBootstrap, deployStacks } from "../../tools/cloud/deploy";
import { clientSettings } from "../../tools/cloud/inventory";
import { Project } from "../../tools/cloud/project";
import type { Cloud } from "../../tools/cloud/simulators";
import { GUARDED_TYPES } from "../../tools/guard/rules";
import { describeDeployed } from "./deployed";
import { leftovers } from "./leftovers";
import { plannedChanges, stateAddresses } from "./plan";
import { describeInUse } from "./use";
import { BookingApi, previousCheckout, startCloud } from "./world";

let cloud: Cloud;
let stop: () => Promise<void>;
let project: Project;
let booking: BookingApi;
let scratch: string;
/** Set by the first step that fails: the steps of a life build on each other. */
let broken: string | undefined;

const timeline: string[] = [];

/** A step of the life; later steps are not tried once one has failed. */
function step(name: string, run: () => Promise<void>): void {
  it(name, async ({ skip }) => {
    if (broken !== undefined) skip(`"${broken}" failed`);
    const started = Date.now();
    broken = name;
    await run();
    broken = undefined;
    timeline.push(`${Math.round((Date.now() - started) / 1000)} s  ${name}`);
  });
}

beforeAll(async () => {
  ({ cloud, stop } = await startCloud());
  booking = await BookingApi.start();
  scratch = mkdtempSync(path.join(tmpdir(), "urr-life-"));
});

afterAll(async () => {
  if (cloud) console.info(await report());
  project?.dispose();
  await booking?.stop();
  await stop?.();
  if (scratch) rmSync(scratch, { recursive: true, force: true });
});

describe("bootstrap, staging and prod, deployed by the cdktf CLI", () => {
  step("bootstrap is deployed with local state, which then moves into the bucket that it made", async () => {
    const previous = previousCheckout();
    console.info(
      "missing" in previous
        ? `Upgrade from the commit before this one: not run, ${previous.missing}.`
        : "The life begins with the stacks of the commit before this one.",
    );
    project = openProject("directory" in previous ? previous.directory : undefined);
    await deployBootstrap(project);
    expect(project.backendOf("bootstrap")).toBe("s3");
    const state = await new S3Client(clientSettings(cloud)).send(
      new HeadObjectCommand({ Bucket: "urr-terraform-state-prod", Key: "bootstrap/terraform.tfstate" }),
    );
    expect(state.ServerSideEncryption).toBe("AES256");
    expect(await plannedChanges(project, "bootstrap")).toEqual([]);
    if ("directory" in previous) {
      await deployStacks(project, ["staging", "prod"]);
      rmSync(previous.directory, { recursive: true, force: true });
      project = openProject();
      project.edit("environments/bootstrap.ts", '  stateBackend: "local",', '  stateBackend: "s3",');
      await deployStacks(project, ["bootstrap"]);
    }
  });

  step("staging and prod are deployed", async () => {
    const output = await deployStacks(project, ["staging", "prod"]);
    expect(output).toMatch(/Apply complete!/);
  });

  step("a second plan changes nothing in staging", async () => {
    expect(await plannedChanges(project, "staging")).toEqual([]);
  });

  step("a second plan changes nothing in prod", async () => {
    expect(await plannedChanges(project, "prod")).toEqual([]);
  });
});

describeDeployed(() => cloud, step);
describeInUse(() => ({ cloud, booking }), step);

describe("a realistic change", () => {
  step("plans exactly what was changed, and applies it", async () => {
    project.edit("environments/prod.ts", "maxSize: 5,", "maxSize: 6,");
    project.edit("environments/prod.ts", "secretRotations: {},", "secretRotations: { jwt_secret: 1 },");
    project.edit(
      "stacks/prod.ts",
      "    declareCoreOutputs(this, modules);",
      `${QUEUE_ALARM}    declareCoreOutputs(this, modules);`,
    );
    project.append("lambdas/vwr-api/index.ts", 'console.info("a new release");');
    expect(await plannedChanges(project, "prod")).toEqual(
      [
        "create module.sqs.aws_cloudwatch_metric_alarm.queue_depth",
        "create+delete module.secrets.random_password.jwt_secret",
        "create+delete module.secrets.aws_secretsmanager_secret_version.jwt_secret",
        "update module.eks.aws_eks_node_group.initial",
        "update module.lambda_vwr.aws_lambda_function.api",
      ].sort(),
    );
    await deployStacks(project, ["prod"]);
    expect(await plannedChanges(project, "prod")).toEqual([]);
  });
});

describe("destroying prod", () => {
  step("is refused before anything is touched, naming every guarded resource", async () => {
    const before = await stateAddresses(project, "prod");
    const result = await project.destroy("prod");
    expect(result.status).not.toBe(0);
    const guarded = before.filter((address) => GUARDED_TYPES[typeOf(address)] !== undefined);
    expect(guarded.length).toBeGreaterThan(30);
    for (const address of guarded) expect(result.output).toContain(`- ${address}: destroy loses`);
    expect(await stateAddresses(project, "prod")).toEqual(before);
    const { DBInstances = [] } = await new RDSClient(clientSettings(cloud)).send(new DescribeDBInstancesCommand());
    expect(DBInstances.map((found) => found.DBInstanceIdentifier)).toContain("urr-prod-postgres");
  });

  step("works after the documented unprotect step, and leaves only what AWS keeps", async () => {
    // docs/deploy.md, "Taking an environment down".
    project.editAll("environments/prod.ts", "deletionProtection: true", "deletionProtection: false");
    project.editAll("stacks/core-modules.ts", "deletionProtection: true", "deletionProtection: false");
    await deployStacks(project, ["prod"]);
    await emptyBuckets(["urr-prod-frontend-prod", "urr-prod-logs-prod"]);
    const guarded = (await stateAddresses(project, "prod")).filter((address) => GUARDED_TYPES[typeOf(address)]);
    const allowed = path.join(scratch, "allowed");
    writeFileSync(allowed, `${guarded.join("\n")}\n`);
    const result = await project.destroy("prod", { environment: { URR_GUARD_ALLOW_FILE: allowed } });
    expect(result.status, result.output.slice(-4000)).toBe(0);
    expect(await stateAddresses(project, "prod")).toEqual([]);
    expect(await leftovers(cloud, "urr-prod")).toEqual([]);
    const { Buckets = [] } = await new S3Client(clientSettings(cloud)).send(new ListBucketsCommand());
    expect(Buckets.map(({ Name }) => Name)).toContain("urr-terraform-state-prod");
  });
});

const QUEUE_ALARM = `    modules.sqs.alarms.add("queue_depth", {
      name: \`\${prefix}-ticket-events-depth\`,
      description: "More than a thousand ticket events wait.",
      namespace: "AWS/SQS",
      metricName: "ApproximateNumberOfMessagesVisible",
      dimensions: { QueueName: modules.sqs.queueName },
      statistic: "Maximum",
      periodSeconds: 300,
      threshold: 1000,
      comparison: "GreaterThanThreshold",
    });
`;

/** The checkout with the booking API's address where a real account has none: the internal load balancer answers there. */
function openProject(checkout?: string): Project {
  const opened = Project.create(cloud.environment, path.join(scratch, "project"), checkout);
  for (const environment of ["staging", "prod"]) opened.setVariable(environment, "ticket_service_url", booking.url);
  return opened;
}

function typeOf(address: string): string {
  return address.replace(/\[.*$/, "").split(".").at(-2) ?? "";
}

async function emptyBuckets(names: readonly string[]): Promise<void> {
  const client = new S3Client(clientSettings(cloud));
  for (const Bucket of names) {
    const { DeleteMarkers = [], Versions = [] } = await client.send(new ListObjectVersionsCommand({ Bucket }));
    const Objects = [...Versions, ...DeleteMarkers].map(({ Key, VersionId }) => ({ Key, VersionId }));
    if (Objects.length > 0) await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
  }
}

/** Which part served how much, so that a reader knows what "deployed" means here. */
async function report(): Promise<string> {
  const { grafana, ministack, moto } = await cloud.calls();
  const total = Object.values(ministack).reduce((sum, count) => sum + count, 0) + moto + grafana;
  const share = (count: number) => `${count} (${((100 * count) / total).toFixed(1)} %)`;
  const services = Object.entries(ministack)
    .sort(([, a], [, b]) => b - a)
    .map(([service, count]) => `${service} ${count}`);
  return [
    "Steps:",
    ...timeline.map((line) => `  ${line}`),
    `Calls: ${total}. MiniStack ${share(total - moto - grafana)}: ${services.join(", ")}.`,
    `moto (CloudWatch, Managed Prometheus) ${share(moto)}; Grafana shim ${share(grafana)}.`,
    "Deployed, not verified: IAM is not enforced; data planes of EKS, RDS, Redis, MSK and CloudFront do not run; see docs/deploy.md.",
  ].join("\n");
}
