import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectGrant, expectNoGrant, isAllowed, managedPoliciesOf, statementsOfRole } from "../support/access";
import { synthProblems } from "../support/synth";
import type { Resource, TerraformStack } from "../support/terraform";
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

const MODULE = "lambda-vwr";

function functionOf(stack: TerraformStack, name: string): Resource {
  return stack.one({ module: MODULE, type: "aws_lambda_function", where: { function_name: { matches: `${name}$` } } });
}

function roleOf(stack: TerraformStack, lambda: Resource): Resource {
  const [address] = stack.references(lambda, "role");
  return stack.at(address ?? "");
}

describe.each([PROD, STAGING])("the waiting room's functions of $prefix", (environment) => {
  const { batch, prefix, vwrConcurrency } = environment;
  const stack = serverlessStack(environment);
  const api = functionOf(stack, "vwr-api");
  const advancer = functionOf(stack, "vwr-counter-advancer");
  const table = (name: string) =>
    stack.one({ module: "dynamodb-vwr", type: "aws_dynamodb_table", where: { name: `${prefix}-vwr-${name}` } });

  it("are two", () => {
    expect(stack.find({ module: MODULE, type: "aws_lambda_function" })).toHaveLength(2);
  });

  /** AWS architecture §5.7; concurrency and batch: Infra analysis §2-10. */
  it("have the documented size, timeout and concurrency", () => {
    expect(stack.arguments(api)).toMatchObject({
      function_name: `${prefix}-vwr-api`,
      memory_size: 256,
      timeout: 10,
      reserved_concurrent_executions: vwrConcurrency,
    });
    expect(stack.arguments(advancer)).toMatchObject({
      function_name: `${prefix}-vwr-counter-advancer`,
      memory_size: 128,
      timeout: 70,
      environment: { variables: { BATCH_SIZE: `${batch}`, CYCLES: "6", CYCLE_SECONDS: "10" } },
    });
  });

  it("run outside the VPC, on a runtime that Lambda still takes, on x86_64, traced", () => {
    for (const lambda of [api, advancer]) {
      expect(stack.arguments(lambda)).toMatchObject({
        runtime: "nodejs22.x",
        architectures: ["x86_64"],
        handler: "index.handler",
        tracing_config: { mode: "Active" },
      });
      expect(stack.arguments(lambda)).not.toHaveProperty("vpc_config");
    }
  });

  it("are deployed from their own bundle, and again when it changes", () => {
    for (const [lambda, name] of [
      [api, "vwr-api"],
      [advancer, "vwr-counter-advancer"],
    ] as const) {
      expect(stack.resolve(lambda, "source_code_hash")).toBe(bundleOf(name).sha256Base64);
      expect(stack.resolve(lambda, "filename")).toMatch(new RegExp(`^assets/[^/]+/[0-9a-f]{16}/${name}\\.zip$`));
    }
  });

  it("know their tables, and the API its origins and the name of its secret, and no secret", () => {
    const variables = (lambda: Resource) => stack.resolve(lambda, "environment.variables") as Record<string, string>;
    for (const lambda of [api, advancer]) {
      expect(variables(lambda).POWERTOOLS_METRICS_NAMESPACE).toBe("URR/WaitingRoom");
      expect(stack.references(lambda, "environment.variables.COUNTERS_TABLE")).toEqual([table("counters").address]);
      expect(stack.references(lambda, "environment.variables.POSITIONS_TABLE")).toEqual([table("positions").address]);
    }
    expect(variables(api)).toMatchObject({
      TOKEN_SECRET_ID: `${prefix}/vwr-token-secret`,
      CORS_ALLOWED_ORIGINS: "https://urr.guru,https://www.urr.guru",
      POWERTOOLS_SERVICE_NAME: `${prefix}-vwr-api`,
    });
    expect(variables(advancer)).not.toHaveProperty("TOKEN_SECRET_ID");
    expect(JSON.stringify([variables(api), variables(advancer)])).not.toContain("random_password");
  });

  it("encrypt variables and logs with the environment's key, and keep logs for a year", () => {
    const key = stack.one({ module: "secrets", type: "aws_kms_key" });
    for (const lambda of [api, advancer]) {
      expect(stack.references(lambda, "kms_key_arn")).toEqual([key.address]);
      expectGrant(stack, roleOf(stack, lambda), "kms:Decrypt", key);
      const [logs] = stack.references(lambda, "logging_config.log_group").map((address) => stack.at(address));
      expect(stack.arguments(logs as Resource)).toMatchObject({
        name: `/aws/lambda/${String(stack.resolve(lambda, "function_name"))}`,
        retention_in_days: 365,
      });
      expect(stack.references(logs as Resource, "kms_key_id")).toEqual([key.address]);
    }
  });

  it.each(["api", "advancer"])("makes %s after its log group and its role's policy, which Lambda checks", (name) => {
    expect(predecessorsOf(environment, "aws_lambda_function", `lambda_vwr_${name}`)).toEqual([
      `aws_cloudwatch_log_group.lambda_vwr_${name}`,
      `aws_iam_role.lambda_vwr_${name}`,
      `aws_iam_role_policy.lambda_vwr_${name}`,
    ]);
  });

  it("may write traces, because they are traced actively", () => {
    for (const lambda of [api, advancer]) {
      expectGrant(stack, roleOf(stack, lambda), "xray:PutTraceSegments", "*");
      expectGrant(stack, roleOf(stack, lambda), "xray:PutTelemetryRecords", "*");
    }
  });

  it("may write to their own log group and no other", () => {
    for (const lambda of [api, advancer]) {
      const role = roleOf(stack, lambda);
      const writable = statementsOfRole(stack, role)
        .filter(({ actions }) => actions.includes("logs:PutLogEvents"))
        .flatMap(({ resources }) => resources.flatMap((resource) => stack.addressesIn(resource)));
      expect(writable).toEqual(stack.references(lambda, "logging_config.log_group"));
      expect(managedPoliciesOf(stack, role)).toEqual([]);
    }
  });

  it("may do with the tables what each does, and nothing more", () => {
    const allowed = (lambda: Resource, name: string) =>
      ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "DeleteTable"].filter((action) =>
        isAllowed(stack, statementsOfRole(stack, roleOf(stack, lambda)), `dynamodb:${action}`, table(name)),
      );
    expect(allowed(api, "counters")).toEqual(["GetItem", "UpdateItem"]);
    expect(allowed(api, "positions")).toEqual(["GetItem", "PutItem", "UpdateItem"]);
    expect(allowed(advancer, "counters")).toEqual(["UpdateItem", "Scan"]);
    // The table itself: reclaimed places are found by its own keys, and a grant on its index would not cover that.
    expect(allowed(advancer, "positions")).toEqual(["Query"]);
  });

  it.each([
    ["vwr-api", "vwr-api"],
    ["vwr-counter-advancer", "vwr-counter-advancer"],
  ])("may do exactly what the commands in the sources of %s ask for", (name) => {
    const statements = statementsOfRole(stack, roleOf(stack, functionOf(stack, name)));
    const granted = statements
      .flatMap(({ actions }) => actions)
      .filter((action) => /^(dynamodb|cloudwatch):|^secretsmanager:Get/.test(action))
      .map((action) => action.split(":")[1]);
    expect([...new Set(granted)].sort()).toEqual(commandsOf(name));
  });

  it("lets the API read the tier-1 secret, and neither function any other", () => {
    const secret = (name: string) =>
      stack.one({ type: "aws_secretsmanager_secret", where: { name: `${prefix}/${name}` } });
    expectGrant(stack, roleOf(stack, api), "secretsmanager:GetSecretValue", secret("vwr-token-secret"));
    expectNoGrant(stack, roleOf(stack, advancer), "secretsmanager:GetSecretValue", secret("vwr-token-secret"));
    for (const name of ["queue-entry-token-secret", "jwt-secret", "rds-credentials", "internal-api-token"]) {
      expectNoGrant(stack, roleOf(stack, api), "secretsmanager:GetSecretValue", secret(name));
    }
  });

  /** Infra analysis §2-10: EventBridge, once a minute. */
  it("wakes the advancer every minute, once, and never repeats a run that failed", () => {
    const rule = stack.one({ module: MODULE, type: "aws_cloudwatch_event_rule" });
    expect(stack.resolve(rule, "schedule_expression")).toBe("rate(1 minute)");
    const target = stack.one({ module: MODULE, type: "aws_cloudwatch_event_target" });
    expect(stack.references(target, "arn")).toEqual([advancer.address]);
    expect(stack.arguments(target).retry_policy).toEqual({
      maximum_event_age_in_seconds: 60,
      maximum_retry_attempts: 0,
    });
    const invocation = stack.one({ module: MODULE, type: "aws_lambda_function_event_invoke_config" });
    expect(stack.references(invocation, "function_name")).toEqual([advancer.address]);
    expect(stack.arguments(invocation)).toMatchObject({ maximum_event_age_in_seconds: 60, maximum_retry_attempts: 0 });
  });

  it("admits only that schedule to the advancer, before its first tick", () => {
    const permission = stack.one({ module: MODULE, type: "aws_lambda_permission" });
    const rule = stack.one({ module: MODULE, type: "aws_cloudwatch_event_rule" });
    expect(stack.arguments(permission)).toMatchObject({
      action: "lambda:InvokeFunction",
      principal: "events.amazonaws.com",
    });
    expect(stack.references(permission, "function_name")).toEqual([advancer.address]);
    expect(stack.references(permission, "source_arn")).toEqual([rule.address]);
    expect(predecessorsOf(environment, "aws_cloudwatch_event_target", "lambda_vwr_advancer")).toEqual([
      "aws_lambda_permission.lambda_vwr_advancer_schedule",
      "aws_lambda_function_event_invoke_config.lambda_vwr_advancer",
    ]);
  });

  it("alarms on errors, throttles, durations, concurrency, and on an advancer that does not run", () => {
    const alarm = (metric: string, fires: string, seconds = 300, statistic = "Maximum", missing = "notBreaching") => ({
      metric,
      statistic,
      fires,
      seconds,
      missing,
    });
    expect(alarmsOf(stack, MODULE, prefix)).toEqual({
      "vwr-api-errors": alarm("Errors", "> 5", 600, "Sum"),
      "vwr-api-duration": alarm("Duration", "> 8000"),
      "vwr-api-throttles": alarm("Throttles", "> 0", 300, "Sum"),
      "vwr-api-concurrency": alarm("ConcurrentExecutions", `> ${vwrConcurrency * 0.9}`, 60),
      "vwr-counter-advancer-errors": alarm("Errors", "> 0", 60, "Sum"),
      "vwr-counter-advancer-duration": alarm("Duration", "> 65000"),
      "vwr-counter-advancer-throttles": alarm("Throttles", "> 0", 300, "Sum"),
      "vwr-counter-advancer-missing": alarm("Invocations", "< 1", 120, "Sum", "breaching"),
      "vwr-booking-slow": { ...alarm("TargetResponseTime", "> 2", 60), statistic: null },
      "vwr-booking-failing": alarm("HTTPCode_Target_5XX_Count", "> 30", 60, "Sum"),
      "vwr-booking-unreachable": alarm("HTTPCode_ELB_5XX_Count", "> 30", 60, "Sum"),
      "vwr-booking-busy": alarm("TicketServiceBusy", "> 10", 60, "Sum"),
    });
  });

  it("lets the advancer see the booking API's alarms by name, and no other alarm", () => {
    const alarms = stack
      .find({ module: MODULE, type: "aws_cloudwatch_metric_alarm" })
      .filter((alarm) => String(stack.resolve(alarm, "alarm_name")).includes("-vwr-booking-"));
    const readable = statementsOfRole(stack, roleOf(stack, advancer))
      .filter(({ actions }) => actions.includes("cloudwatch:DescribeAlarms"))
      .flatMap(({ resources }) => resources.flatMap((resource) => stack.addressesIn(resource)));
    expect(readable.sort()).toEqual(alarms.map(({ address }) => address).sort());
    expect(stack.references(advancer, "environment.variables.SATURATION_ALARMS").sort()).toEqual(readable);
    expectNoGrant(stack, roleOf(stack, api), "cloudwatch:DescribeAlarms", alarms[0] as Resource);
  });

  it("alarms on the worker's own metric under the name by which the worker reports it", () => {
    const busy = stack.one({
      module: MODULE,
      type: "aws_cloudwatch_metric_alarm",
      where: { metric_name: "TicketServiceBusy" },
    });
    const worker = stack.one({ module: "lambda-worker", type: "aws_lambda_function" });
    const variables = stack.resolve(worker, "environment.variables") as Record<string, string>;
    expect(stack.resolve(busy, "namespace")).toBe(variables.POWERTOOLS_METRICS_NAMESPACE);
    expect(stack.resolve(busy, "dimensions")).toEqual({ service: variables.POWERTOOLS_SERVICE_NAME });
    const source = readFileSync(join(import.meta.dirname, "../../lambdas/ticket-worker/handler.ts"), "utf8");
    expect(source).toContain('count("TicketServiceBusy")');
  });
});

describe("LambdaVwr", () => {
  const problemsWith = (overrides: Overrides) => synthProblems((stack) => buildServerless(stack, PROD, overrides));

  it.each([
    [["*"]],
    [["https://urr.guru", "*"]],
    [["https://urr.guru/path"]],
    [[]],
  ])("fails with the origins %j", (corsAllowedOrigins) => {
    const problems = problemsWith({ vwr: { corsAllowedOrigins } });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(`corsAllowedOrigins: given ${JSON.stringify(corsAllowedOrigins)}`);
  });

  it.each([0, -1, 0.5])("fails with a batch of %d visitors", (counterBatchSize) => {
    const problems = problemsWith({ vwr: { counterBatchSize } });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(`counterBatchSize: given ${counterBatchSize}; allowed: 1 or more visitors`);
  });

  it("fails with no reserved concurrency, which would switch the function off", () => {
    const problems = problemsWith({ vwr: { reservedConcurrentExecutions: 0 } });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain("reservedConcurrentExecutions: given 0; allowed: 1 or more.");
  });

  it("fails with a function name that Lambda refuses", () => {
    const problems = synthProblems((stack) => buildServerless(stack, { ...PROD, prefix: "u".repeat(50) }));
    expect(problems.join("\n")).toMatch(
      /name of the function: given "u{50}-vwr-counter-advancer \(71 characters\)"; allowed: 1 to 64/,
    );
  });
});

/** Operations of AWS that the sources of a function send, its shared files included, sorted. */
function commandsOf(name: string): string[] {
  const seen = new Set<string>();
  const commands = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = readFileSync(file, "utf8");
    for (const [, command] of text.matchAll(/new (\w+)Command\(/g)) if (command) commands.add(command);
    for (const [, path] of text.matchAll(/from "(\.[^"]+)"/g)) visit(`${join(dirname(file), path ?? "")}.ts`);
  };
  visit(join(import.meta.dirname, "../../lambdas", name, "index.ts"));
  return [...commands].sort();
}
