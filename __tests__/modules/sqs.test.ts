import { describe, expect, it } from "vitest";
import { Iam } from "../../modules/iam";
import { Sqs, type SqsProps } from "../../modules/sqs";
import { resourcePolicyOf } from "../support/access";
import { synthModule, synthProblems, type TestStack } from "../support/synth";
import { toTerraformStack } from "../support/terraform";
import { alarmsOf, PROD, STAGING, serverlessStack } from "./serverless";

const QUEUE = { module: "sqs", type: "aws_sqs_queue", where: { name: { matches: "ticket-events\\.fifo$" } } };
const DLQ = { module: "sqs", type: "aws_sqs_queue", where: { name: { matches: "dlq\\.fifo$" } } };

describe.each([PROD, STAGING])("the queue of $prefix", (environment) => {
  const stack = serverlessStack(environment);
  const queue = stack.one(QUEUE);
  const dlq = stack.one(DLQ);

  /** Infra analysis §2-6 "FIFO 큐". */
  it("is the documented FIFO queue", () => {
    expect(stack.arguments(queue)).toMatchObject({
      name: `${environment.prefix}-ticket-events.fifo`,
      fifo_queue: true,
      content_based_deduplication: true,
      deduplication_scope: "messageGroup",
      fifo_throughput_limit: "perMessageGroupId",
      message_retention_seconds: 345_600,
      visibility_timeout_seconds: 300,
      receive_wait_time_seconds: 10,
      sqs_managed_sse_enabled: true,
    });
  });

  /** Infra analysis §2-6 "Dead Letter Queue". */
  it("moves a message to the dead-letter queue after three receptions, which keeps it for 14 days", () => {
    expect(stack.arguments(dlq)).toMatchObject({
      name: `${environment.prefix}-ticket-events-dlq.fifo`,
      fifo_queue: true,
      message_retention_seconds: 14 * 24 * 3600,
      sqs_managed_sse_enabled: true,
    });
    const redrive = JSON.parse(String(stack.resolve(queue, "redrive_policy")));
    expect(redrive.maxReceiveCount).toBe(3);
    expect(stack.references(queue, "redrive_policy")).toEqual([dlq.address]);
  });

  it("admits this queue only as a source of the dead-letter queue", () => {
    const allow = stack.one({ type: "aws_sqs_queue_redrive_allow_policy" });
    expect(stack.references(allow, "queue_url")).toEqual([dlq.address]);
    expect(stack.references(allow, "redrive_allow_policy")).toEqual([queue.address]);
    expect(JSON.parse(String(stack.resolve(allow, "redrive_allow_policy"))).redrivePermission).toBe("byQueue");
  });

  /** Infra analysis §2-6 "큐 정책"; the producer is the role that the stack names. */
  it("lets exactly the producer send and exactly the worker receive and delete", () => {
    const allowed = resourcePolicyOf(stack, queue).filter(({ effect }) => effect === "Allow");
    const who = (action: string) =>
      allowed
        .filter(({ actions }) => actions.includes(action))
        .flatMap(({ principals }) => principals.flatMap((principal) => stack.addressesIn(`\${${principal}}`)));
    expect(who("sqs:SendMessage")).toEqual(["module.iam.aws_iam_role.eks_node"]);
    expect(who("sqs:ReceiveMessage")).toEqual(["module.iam.aws_iam_role.lambda_worker"]);
    expect(who("sqs:DeleteMessage")).toEqual(["module.iam.aws_iam_role.lambda_worker"]);
    expect(allowed.flatMap(({ actions }) => actions).filter((action) => action.includes("*"))).toEqual([]);
  });

  it("refuses connections without TLS to both queues", () => {
    for (const each of [queue, dlq]) {
      expect(resourcePolicyOf(stack, each)).toContainEqual(
        expect.objectContaining({
          effect: "Deny",
          principals: ["*"],
          actions: ["sqs:*"],
          conditions: { Bool: { "aws:SecureTransport": "false" } },
        }),
      );
    }
  });

  /** Infra analysis §2-6 "CloudWatch 알람", AWS architecture §10. */
  it("alarms on any dead letter and on messages older than ten minutes", () => {
    expect(alarmsOf(stack, "sqs", environment.prefix)).toEqual({
      "ticket-events-dlq-messages": {
        metric: "ApproximateNumberOfMessagesVisible",
        statistic: "Maximum",
        fires: "> 0",
        seconds: 300,
        missing: "notBreaching",
      },
      "ticket-events-message-age": {
        metric: "ApproximateAgeOfOldestMessage",
        statistic: "Maximum",
        fires: "> 600",
        seconds: 300,
        missing: "notBreaching",
      },
    });
    const watched = stack
      .find({ type: "aws_cloudwatch_metric_alarm", module: "sqs" })
      .map((alarm) => stack.references(alarm, "dimensions"));
    expect(watched.flat().sort()).toEqual([dlq.address, queue.address].sort());
  });
});

describe("the queue's policy", () => {
  const build = (stack: TestStack, props: Partial<SqsProps> = {}) => {
    const sqs = new Sqs(stack, "sqs", { prefix: "urr-prod", ...props });
    sqs.alarms.notify("arn:aws:sns:ap-northeast-2:123456789012:alarms");
    return { sqs, iam: new Iam(stack, "iam", { prefix: "urr-prod" }) };
  };

  it("has one statement for several producers, because SQS refuses two statements of one id", () => {
    const synthesized = synthModule((testStack) => {
      const { iam, sqs } = build(testStack);
      sqs.grantSend(iam.eksNodeRole);
      sqs.grantSend(iam.eksClusterRole);
      sqs.grantSend(iam.eksNodeRole);
      sqs.grantConsume(iam.lambdaWorkerRole);
    });
    const stack = toTerraformStack(synthesized);
    const senders = resourcePolicyOf(stack, stack.one(QUEUE)).filter(({ actions }) =>
      actions.includes("sqs:SendMessage"),
    );
    expect(senders).toHaveLength(1);
    expect(senders[0]?.principals).toHaveLength(2);
  });

  it("fails without a producer or without a consumer", () => {
    const problems = synthProblems((stack) => void build(stack)).join("\n");
    expect(problems).toMatch(/queue policy: given nothing; allowed: a role as a producer\. Call grantSend/);
    expect(problems).toMatch(/queue policy: given nothing; allowed: a role as a consumer\. Call grantConsume/);
  });

  it.each([
    ["messageRetentionSeconds", 59, "60 to 1209600 seconds"],
    ["messageRetentionSeconds", 1_209_601, "60 to 1209600 seconds"],
    ["visibilityTimeoutSeconds", 43_201, "0 to 43200 seconds"],
    ["maxReceiveCount", 0, "1 to 1000"],
    ["maxReceiveCount", 1001, "1 to 1000"],
  ])("fails with %s %d", (property, value, allowed) => {
    const problems = synthProblems((stack) => {
      const { iam, sqs } = build(stack, { [property]: value });
      sqs.grantSend(iam.eksNodeRole);
      sqs.grantConsume(iam.lambdaWorkerRole);
    });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(`${property}: given ${value}; allowed: ${allowed}.`);
  });

  it.each([
    ["messageRetentionSeconds", 60],
    ["messageRetentionSeconds", 1_209_600],
    ["visibilityTimeoutSeconds", 43_200],
    ["maxReceiveCount", 1000],
  ])("takes %s %d", (property, value) => {
    const problems = synthProblems((stack) => {
      const { iam, sqs } = build(stack, { [property]: value });
      sqs.grantSend(iam.eksNodeRole);
      sqs.grantConsume(iam.lambdaWorkerRole);
    });
    expect(problems).toEqual([]);
  });
});
