import { mkdtempSync } from "node:fs";
import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { expect, it } from "vitest";
import { deployStacks } from "../../tools/cloud/deploy";
import { clientSettings } from "../../tools/cloud/inventory";
import { Project } from "../../tools/cloud/project";
import { describeChange } from "./change";
import { plannedChanges } from "./plan";
import { describeTeardown } from "./teardown";
import { startCloud } from "./world";

const { cloud } = await startCloud();
const project = Project.create(cloud.environment, mkdtempSync("/tmp/urr-tailp-"));
const scratch = mkdtempSync("/tmp/urr-tail-");
const step = (n: string, r: () => Promise<void>) => {
  it(n, async () => {
    const s = Date.now();
    try {
      await r();
      console.info("OK", n, (Date.now() - s) / 1000);
    } catch (e) {
      console.info("FAILED", n, (e as Error).message, JSON.stringify((e as { actual?: unknown }).actual));
      throw e;
    }
  });
};
it("prod", async () => {
  await new S3Client(clientSettings(cloud)).send(new CreateBucketCommand({ Bucket: "urr-terraform-state-prod" }));
  await new DynamoDBClient(clientSettings(cloud)).send(
    new CreateTableCommand({
      TableName: "urr-terraform-locks",
      BillingMode: "PAY_PER_REQUEST",
      KeySchema: [{ AttributeName: "LockID", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "LockID", AttributeType: "S" }],
    }),
  );
  await deployStacks(project, ["prod"], { progress: (l) => void l });
  expect(await plannedChanges(project, "prod")).toEqual([]);
});
describeChange(() => project, step);
describeTeardown(() => ({ cloud, project, scratch }), step);
