import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { HeadObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deployBootstrap, deployStacks } from "../../tools/cloud/deploy";
import { clientSettings } from "../../tools/cloud/inventory";
import { Project } from "../../tools/cloud/project";
import type { Cloud } from "../../tools/cloud/simulators";
import { describeChange } from "./change";
import { describeDeployed } from "./deployed";
import { plannedChanges } from "./plan";
import { describeTeardown } from "./teardown";
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
      await deployBootstrap(project);
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

describeChange(() => project, step);
describeTeardown(() => ({ cloud, project, scratch }), step);

/** The checkout with the booking API's address where a real account has none: the internal load balancer answers there. */
function openProject(checkout?: string): Project {
  const opened = Project.create(cloud.environment, path.join(scratch, "project"), checkout);
  for (const environment of ["staging", "prod"]) opened.setVariable(environment, "ticket_service_url", booking.url);
  return opened;
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
