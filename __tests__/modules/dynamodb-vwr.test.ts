import { describe, expect, it } from "vitest";
import { DynamodbVwr, type DynamodbVwrProps } from "../../modules/dynamodb-vwr";
import { expectEncrypted } from "../support/encryption";
import { synthModule, synthProblems, type TestStack } from "../support/synth";
import { toTerraformStack } from "../support/terraform";
import { alarmsOf, PROD, STAGING, serverlessStack } from "./serverless";

const TABLE = { module: "dynamodb-vwr", type: "aws_dynamodb_table" };

describe.each([PROD, STAGING])("the tables of $prefix", (environment) => {
  const { prefix, protection, recovery } = environment;
  const stack = serverlessStack(environment);
  const counters = stack.one({ ...TABLE, where: { name: `${prefix}-vwr-counters` } });
  const positions = stack.one({ ...TABLE, where: { name: `${prefix}-vwr-positions` } });

  it("are two", () => {
    expect(stack.find(TABLE)).toHaveLength(2);
  });

  /** Infra analysis §2-10 "DynamoDB", AWS architecture §5.8. */
  it("are keyed as documented", () => {
    expect(stack.arguments(counters)).toMatchObject({
      hash_key: "eventId",
      attribute: [{ name: "eventId", type: "S" }],
    });
    expect(stack.arguments(counters)).not.toHaveProperty("range_key");
    expect(stack.arguments(positions)).toMatchObject({
      hash_key: "eventId",
      range_key: "requestId",
      attribute: [
        { name: "eventId", type: "S" },
        { name: "requestId", type: "S" },
        { name: "position", type: "N" },
      ],
      global_secondary_index: [
        { name: "eventId-position-index", hash_key: "eventId", range_key: "position", projection_type: "ALL" },
      ],
      ttl: { attribute_name: "ttl", enabled: true },
    });
  });

  it(`are on demand, with point-in-time recovery: ${recovery}, protected from deletion: ${protection}`, () => {
    for (const table of [counters, positions]) {
      expect(stack.arguments(table)).toMatchObject({
        billing_mode: "PAY_PER_REQUEST",
        deletion_protection_enabled: protection,
        point_in_time_recovery: recovery ? { enabled: true, recovery_period_in_days: 35 } : { enabled: false },
      });
    }
  });

  it("are encrypted with the environment's key", () => {
    const key = stack.one({ type: "aws_kms_key", module: "secrets" });
    for (const table of [counters, positions]) expectEncrypted(stack, table, { key });
  });

  it("alarm on every read or write that is refused, the index's included", () => {
    const throttled = (metric: string) => ({
      metric,
      statistic: "Sum",
      fires: "> 0",
      seconds: 60,
      missing: "notBreaching",
    });
    expect(alarmsOf(stack, "dynamodb-vwr", prefix)).toEqual({
      "vwr-counters-read-throttles": throttled("ReadThrottleEvents"),
      "vwr-counters-write-throttles": throttled("WriteThrottleEvents"),
      "vwr-positions-read-throttles": throttled("ReadThrottleEvents"),
      "vwr-positions-write-throttles": throttled("WriteThrottleEvents"),
      "vwr-position-index-write-throttles": throttled("WriteThrottleEvents"),
    });
  });
});

describe("DynamodbVwr", () => {
  const build = (stack: TestStack, props: Partial<DynamodbVwrProps> = {}) =>
    new DynamodbVwr(stack, "dynamodb_vwr", { prefix: "urr-prod", pointInTimeRecovery: true, ...props }).alarms.notify(
      "arn:aws:sns:ap-northeast-2:123456789012:alarms",
    );

  it("leaves encryption to AWS's own key where none is given", () => {
    const stack = toTerraformStack(synthModule((testStack) => build(testStack)));
    const tables = stack.find(TABLE);
    expect(tables).toHaveLength(2);
    for (const table of tables) expect(stack.arguments(table)).not.toHaveProperty("server_side_encryption");
  });

  it.each([0, 36, 1.5])("fails with a recovery period of %d days", (recoveryPeriodDays) => {
    const problems = synthProblems((stack) => build(stack, { recoveryPeriodDays }));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(`recoveryPeriodDays: given ${recoveryPeriodDays}; allowed: 1 to 35 days.`);
  });

  it.each([1, 35])("takes a recovery period of %d days", (recoveryPeriodDays) => {
    expect(synthProblems((stack) => build(stack, { recoveryPeriodDays }))).toEqual([]);
  });
});
