import { describe, expect, it } from "vitest";
import { expectGrant, expectNoGrant, managedPoliciesOf } from "../support/access";
import { securityGroupRules } from "../support/network";
import { synthProblems } from "../support/synth";
import {
  alarmsOf,
  buildServerless,
  bundleOf,
  type Overrides,
  PROD,
  predecessorsOf,
  STAGING,
  serverlessStack,
} from "./serverless";

const MODULE = "lambda-worker";

describe.each([PROD, STAGING])("the worker of $prefix", (environment) => {
  const { prefix } = environment;
  const stack = serverlessStack(environment);
  const worker = stack.one({ module: MODULE, type: "aws_lambda_function" });
  const role = stack.one({ module: "iam", type: "aws_iam_role", where: { name: `${prefix}-lambda-worker` } });
  const queue = stack.one({ type: "aws_sqs_queue", where: { name: `${prefix}-ticket-events.fifo` } });
  const mapping = stack.one({ module: MODULE, type: "aws_lambda_event_source_mapping" });

  /** Infra analysis §2-10 "Lambda Worker". */
  it("has the documented size, timeout, concurrency and tracing", () => {
    expect(stack.arguments(worker)).toMatchObject({
      function_name: `${prefix}-ticket-worker`,
      runtime: "nodejs22.x",
      memory_size: 256,
      timeout: 30,
      reserved_concurrent_executions: environment.worker,
      tracing_config: { mode: "Active" },
      source_code_hash: bundleOf("ticket-worker").sha256Base64,
    });
  });

  /** Infra analysis §2-10; the internal API token by reference. */
  it("knows where its peers are, and the token by name only", () => {
    expect(stack.resolve(worker, "environment.variables")).toEqual({
      DB_PROXY_ENDPOINT: "proxy.example",
      REDIS_ENDPOINT: "redis.example",
      KAFKA_BOOTSTRAP_SERVERS: "b-1.example:9098,b-2.example:9098",
      TICKET_SERVICE_URL: "http://ticket-service.internal:3002",
      INTERNAL_API_TOKEN_SECRET_ID: `${prefix}/internal-api-token`,
      POWERTOOLS_SERVICE_NAME: `${prefix}-ticket-worker`,
      POWERTOOLS_METRICS_NAMESPACE: "URR/TicketWorker",
      POWERTOOLS_LOG_LEVEL: "INFO",
    });
  });

  /** AWS architecture §5.7: streaming subnets. */
  it("stands in the streaming subnets, in a group of its own", () => {
    const subnets = stack.references(worker, "vpc_config.subnet_ids").map((address) => stack.at(address));
    expect(subnets.map((subnet) => stack.resolve(subnet, "cidr_block"))).toEqual(["10.0.40.0/24", "10.0.41.0/24"]);
    const groups = stack.references(worker, "vpc_config.security_group_ids");
    expect(groups).toEqual([stack.one({ module: MODULE, type: "aws_security_group" }).address]);
  });

  it("opens by itself nothing but HTTPS, and lets nobody in", () => {
    const { address } = stack.one({ module: MODULE, type: "aws_security_group" });
    const rules = securityGroupRules(stack).filter(({ group }) => group === address);
    expect(
      rules.map(({ direction, fromPort, peerCidr, protocol, toPort }) => [
        direction,
        protocol,
        fromPort,
        toPort,
        peerCidr,
      ]),
    ).toEqual([["egress", "tcp", 443, 443, "0.0.0.0/0"]]);
  });

  /** Infra analysis §2-9 and §2-10. */
  it("may run in a VPC, consume the queue, write traces and read the internal token", () => {
    expect(managedPoliciesOf(stack, role)).toEqual(["AWSLambdaBasicExecutionRole", "AWSLambdaVPCAccessExecutionRole"]);
    for (const action of ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]) {
      expectGrant(stack, role, action, queue);
    }
    expectNoGrant(stack, role, "sqs:SendMessage", queue);
    expectGrant(stack, role, "xray:PutTraceSegments", "*");
    expectGrant(stack, role, "xray:PutTelemetryRecords", "*");
    const secret = (name: string) =>
      stack.one({ type: "aws_secretsmanager_secret", where: { name: `${prefix}/${name}` } });
    expectGrant(stack, role, "secretsmanager:GetSecretValue", secret("internal-api-token"));
    expectNoGrant(stack, role, "secretsmanager:GetSecretValue", secret("vwr-token-secret"));
  });

  /** Infra analysis §2-10. */
  it("takes ten messages at a time, reports those that failed, and keeps to its concurrency", () => {
    expect(stack.arguments(mapping)).toMatchObject({
      batch_size: 10,
      function_response_types: ["ReportBatchItemFailures"],
      scaling_config: { maximum_concurrency: environment.worker },
    });
    expect(stack.references(mapping, "event_source_arn")).toEqual([queue.address]);
    expect(stack.references(mapping, "function_name")).toEqual([worker.address]);
  });

  it("collects messages for no time, which a FIFO queue would refuse", () => {
    expect(stack.arguments(mapping)).not.toHaveProperty("maximum_batching_window_in_seconds");
  });

  it("keeps a message hidden for at least six of its timeouts", () => {
    const timeout = Number(stack.resolve(worker, "timeout"));
    expect(Number(stack.resolve(queue, "visibility_timeout_seconds"))).toBeGreaterThanOrEqual(6 * timeout);
  });

  const roleAndPolicies = [
    "aws_iam_role.iam_lambda_worker",
    "aws_iam_role_policy_attachment.iam_lambda_worker_basic_execution",
    "aws_iam_role_policy_attachment.iam_lambda_worker_vpc_access",
    "aws_iam_role_policy.iam_lambda_worker",
  ];

  it("is mapped after the queue's policy and its role's, because Lambda tries to receive at once", () => {
    const name = "lambda_worker_ticket_events";
    expect(predecessorsOf(environment, "aws_lambda_event_source_mapping", name)).toEqual([
      "aws_sqs_queue_policy.sqs_main",
      ...roleAndPolicies,
    ]);
  });

  it("is made after its log group and its role's policies", () => {
    expect(predecessorsOf(environment, "aws_lambda_function", "lambda_worker_worker")).toEqual([
      "aws_cloudwatch_log_group.lambda_worker_worker",
      ...roleAndPolicies,
    ]);
  });

  /** Infra analysis §2-10 and AWS architecture §10. */
  it("has the documented three alarms", () => {
    const common = { missing: "notBreaching" };
    expect(alarmsOf(stack, MODULE, prefix)).toEqual({
      "ticket-worker-errors": { ...common, metric: "Errors", statistic: "Sum", fires: "> 5", seconds: 600 },
      "ticket-worker-duration": { ...common, metric: "Duration", statistic: "Maximum", fires: "> 24000", seconds: 300 },
      "ticket-worker-throttles": { ...common, metric: "Throttles", statistic: "Sum", fires: "> 0", seconds: 300 },
    });
  });
});

describe("LambdaWorker", () => {
  const problemsWith = (overrides: Overrides) => synthProblems((stack) => buildServerless(stack, PROD, overrides));

  it("fails with a timeout of more than a sixth of the queue's visibility timeout", () => {
    expect(problemsWith({ worker: { timeoutSeconds: 50 } })).toEqual([]);
    const problems = problemsWith({ worker: { timeoutSeconds: 51 } });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(
      'timeoutSeconds: given {"timeoutSeconds":51,"visibilityTimeoutSeconds":300}; allowed: at most 50 seconds',
    );
  });

  it("fails with a queue that hides messages too briefly", () => {
    expect(problemsWith({ sqs: { visibilityTimeoutSeconds: 180 } })).toEqual([]);
    const problems = problemsWith({ sqs: { visibilityTimeoutSeconds: 179 } });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/allowed: at most 29 seconds.*raise the queue's visibilityTimeoutSeconds/);
  });

  it("fails with the documented batching window, which no FIFO queue takes", () => {
    const problems = problemsWith({ worker: { maximumBatchingWindowSeconds: 5 } });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain("maximumBatchingWindowSeconds: given 5; allowed: none on a FIFO queue.");
  });

  it.each([0, 11])("fails with batches of %d", (batchSize) => {
    const problems = problemsWith({ worker: { batchSize } });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(`batchSize: given ${batchSize}; allowed: 1 to 10 messages on a FIFO queue.`);
  });

  it.each([
    [1, 10],
    [11, 10],
    [1001, 1001],
  ])("fails with a maximum concurrency of %d under a reserved concurrency of %d", (maximumConcurrency, reservedConcurrentExecutions) => {
    const problems = problemsWith({ worker: { maximumConcurrency, reservedConcurrentExecutions } });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain("allowed: 2 to 1000, and not above reservedConcurrentExecutions.");
  });

  it.each([
    [2, 2],
    [10, 10],
    [1000, 1000],
  ])("takes a maximum concurrency of %d under a reserved concurrency of %d", (maximumConcurrency, reservedConcurrentExecutions) => {
    expect(problemsWith({ worker: { maximumConcurrency, reservedConcurrentExecutions } })).toEqual([]);
  });

  it.each([
    ["memoryMib", 127, "128 to 10240 MiB"],
    ["memoryMib", 10_241, "128 to 10240 MiB"],
    ["timeoutSeconds", 0, "1 to 900 seconds"],
  ])("fails with %s %d", (property, value, allowed) => {
    const problems = problemsWith({ worker: { [property]: value } });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(`${property}: given ${value}; allowed: ${allowed}.`);
  });
});
