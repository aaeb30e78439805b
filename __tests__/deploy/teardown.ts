import { writeFileSync } from "node:fs";
import path from "node:path";
import { DescribeDBInstancesCommand, RDSClient } from "@aws-sdk/client-rds";
import { DeleteObjectsCommand, ListBucketsCommand, ListObjectVersionsCommand, S3Client } from "@aws-sdk/client-s3";
import { describe, expect } from "vitest";
import { deployStacks } from "../../tools/cloud/deploy";
import { clientSettings } from "../../tools/cloud/inventory";
import type { Project } from "../../tools/cloud/project";
import type { Cloud } from "../../tools/cloud/simulators";
import { GUARDED_TYPES } from "../../tools/guard/rules";
import { leftovers } from "./leftovers";
import { stateAddresses, typeOf } from "./plan";
import type { Report } from "./report";

type Step = (name: string, run: () => Promise<void>) => void;

interface World {
  readonly cloud: Cloud;
  readonly project: Project;
  readonly report: Report;
  /** Folder for files of this run. */
  readonly scratch: string;
}

/** Takes prod down: refused as it stands, then by the documented steps. */
export function describeTeardown(world: () => World, step: Step): void {
  describe("destroying prod", () => {
    step("is refused before anything is touched, naming every guarded resource", async () => {
      const { cloud, project } = world();
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

    // docs/deploy.md, "Taking an environment down".
    step("is prepared by the documented unprotect step", async () => {
      const { cloud, project, report } = world();
      project.editAll("environments/prod.ts", "deletionProtection: true", "deletionProtection: false");
      project.editAll(
        "environments/prod.ts",
        "loadBalancerDeletionProtection: true",
        "loadBalancerDeletionProtection: false",
      );
      report.deployed("unprotect", await deployStacks(project, ["prod"]));
      await emptyBuckets(cloud, ["urr-prod-frontend-prod", "urr-prod-logs-prod"]);
    });

    step("then works with an override per resource, and leaves only what AWS keeps", async () => {
      const { cloud, project, report, scratch } = world();
      const before = await stateAddresses(project, "prod");
      const guarded = before.filter((address) => GUARDED_TYPES[typeOf(address)]);
      const allowed = path.join(scratch, "allowed");
      writeFileSync(allowed, `${guarded.join("\n")}\n`);
      const result = await project.destroy("prod", { environment: { URR_GUARD_ALLOW_FILE: allowed } });
      expect(result.status, result.output.slice(-4000)).toBe(0);
      report.row("destroy of prod", before.length, result.cost);
      expect(await stateAddresses(project, "prod")).toEqual([]);
      expect(await leftovers(cloud, "urr-prod")).toEqual([]);
      const { Buckets = [] } = await new S3Client(clientSettings(cloud)).send(new ListBucketsCommand());
      expect(Buckets.map(({ Name }) => Name)).toContain("urr-terraform-state-prod");
    });
  });
}

async function emptyBuckets(cloud: Cloud, names: readonly string[]): Promise<void> {
  const client = new S3Client(clientSettings(cloud));
  for (const Bucket of names) {
    const { DeleteMarkers = [], Versions = [] } = await client.send(new ListObjectVersionsCommand({ Bucket }));
    const Objects = [...Versions, ...DeleteMarkers].map(({ Key, VersionId }) => ({ Key, VersionId }));
    if (Objects.length > 0) await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
  }
}
