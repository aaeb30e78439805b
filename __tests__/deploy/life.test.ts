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
import { ASSERTED_TYPES, describeDeployed } from "./deployed";
import { plannedChanges, planOf, stateAddresses, typeOf } from "./plan";
import { Report } from "./report";
import { describeTags } from "./tags";
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

const report = new Report();
/** What staging and prod hold once they are deployed. */
const addresses: string[] = [];

/** A step of the life; later steps are not tried once one has failed. */
function step(name: string, body: () => Promise<void>): void {
  it(name, ({ skip }) => run(name, skip, body));
}

async function run(name: string, skip: (note: string) => void, body: () => Promise<void>): Promise<void> {
  if (broken !== undefined) skip(`"${broken}" failed`);
  const started = Date.now();
  broken = name;
  await body();
  broken = undefined;
  report.step(name, (Date.now() - started) / 1000);
}

beforeAll(async () => {
  ({ cloud, stop } = await startCloud());
  booking = await BookingApi.start();
  scratch = mkdtempSync(path.join(tmpdir(), "urr-life-"));
});

afterAll(async () => {
  if (cloud) console.info(await report.text(cloud, addresses));
  project?.dispose();
  await booking?.stop();
  await stop?.();
  if ("directory" in previous) rmSync(previous.directory, { recursive: true, force: true });
  if (scratch) rmSync(scratch, { recursive: true, force: true });
});

const previous = previousCheckout();

describe("bootstrap, staging and prod, deployed by the cdktf CLI", () => {
  step("bootstrap is deployed with local state, which then moves into the bucket that it made", async () => {
    project = openProject("directory" in previous ? previous.directory : undefined);
    await deployBootstrap(project);
    expect(project.backendOf("bootstrap")).toBe("s3");
    const state = await new S3Client(clientSettings(cloud)).send(
      new HeadObjectCommand({ Bucket: "urr-terraform-state-prod", Key: "bootstrap/terraform.tfstate" }),
    );
    expect(state.ServerSideEncryption).toBe("AES256");
    expect(await plannedChanges(project, "bootstrap")).toEqual([]);
  });

  step("staging and prod are deployed", async () => {
    report.deployed("first deploy", await deployStacks(project, ["staging", "prod"]));
  });

  it("this commit is deployed over the commit before it", async ({ skip }) => {
    if ("missing" in previous) return skip(`not run: ${previous.missing}`);
    await run("this commit is deployed over the commit before it", skip, async () => {
      project = openProject();
      await deployBootstrap(project);
      report.deployed("upgrade", await deployStacks(project, ["staging", "prod"]));
    });
  });

  step("what is deployed contains every type that is asked about below", async () => {
    for (const stack of ["staging", "prod"]) addresses.push(...(await stateAddresses(project, stack)));
    const types = new Set(addresses.map(typeOf));
    expect(ASSERTED_TYPES.filter((type) => !types.has(type))).toEqual([]);
  });

  step("a second plan changes nothing in staging", async () => {
    const planned = await planOf(project, "staging");
    report.planned("plan of staging, no changes", planned);
    expect(planned.changes).toEqual([]);
  });

  step("a second plan changes nothing in prod", async () => {
    const planned = await planOf(project, "prod");
    report.planned("plan of prod, no changes", planned);
    // What of it is the provider's start and Terraform's own work.
    const { cost } = await project.terraform("prod", ["plan", "-refresh=false"]);
    report.row("the same without refresh", planned.resources, cost);
    expect(planned.changes).toEqual([]);
  });
});

describeDeployed(() => cloud, step);
describeTags(() => ({ cloud, project }), step);
describeInUse(() => ({ cloud, booking }), step);

describeChange(() => ({ project, report }), step);
describeTeardown(() => ({ cloud, project, report, scratch }), step);

/** The checkout with the booking API's address where a real account has none: the internal load balancer answers there. */
function openProject(checkout?: string): Project {
  const opened = Project.create(cloud.environment, path.join(scratch, "project"), checkout);
  for (const environment of ["staging", "prod"]) opened.setVariable(environment, "ticket_service_url", booking.url);
  return opened;
}
