import { KmsKey } from "@cdktf/provider-aws/lib/kms-key";
import { describe, expect, it } from "vitest";
import { Waf, type WafProps } from "../../modules/waf";
import { ACCOUNT_ID, resourcesOf, synthModule, synthProblems, type TestStack } from "../support/synth";

function build(stack: TestStack, props: Partial<WafProps> = {}): Waf {
  const waf = new Waf(stack, "waf", { prefix: "urr-prod", accountId: ACCOUNT_ID, usEast1: stack.usEast1, ...props });
  waf.alarms.notify(`arn:aws:sns:us-east-1:${ACCOUNT_ID}:alarms`);
  return waf;
}

const synthesized = synthModule((stack) => {
  build(stack);
});

interface Match {
  search_string: string;
  positional_constraint: string;
  text_transformation: { priority: number; type: string }[];
}
interface Condition {
  byte_match_statement?: [Match];
  and_statement?: [{ statement: Condition[] }];
  not_statement?: [{ statement: Condition[] }];
}
interface WafRule {
  name: string;
  priority: number;
  action?: unknown;
  override_action?: unknown;
  statement: {
    rate_based_statement?: [
      { limit: number; aggregate_key_type: string; evaluation_window_sec: number; scope_down_statement: [Condition] },
    ];
    managed_rule_group_statement?: [{ vendor_name: string; name: string }];
  };
  visibility_config: { cloudwatch_metrics_enabled: boolean; sampled_requests_enabled: boolean; metric_name: string };
}

const webAcl = resourcesOf(synthesized, "aws_wafv2_web_acl").waf_main;
const rules = webAcl?.rule as unknown as WafRule[];

/** Whether a condition holds for a path, with the transformations that AWS WAF would make. */
function holds(condition: Condition, path: string): boolean {
  if (condition.not_statement) return !condition.not_statement[0].statement.some((inner) => holds(inner, path));
  if (condition.and_statement) return condition.and_statement[0].statement.every((inner) => holds(inner, path));
  const match = condition.byte_match_statement?.[0];
  if (!match) throw new Error(`unknown condition ${JSON.stringify(condition)}`);
  expect(match.positional_constraint).toBe("STARTS_WITH");
  const seen = [...match.text_transformation]
    .sort((left, right) => left.priority - right.priority)
    .reduce((text, { type }) => TRANSFORMATIONS[type]?.(text) ?? text, path);
  return seen.startsWith(match.search_string);
}

const TRANSFORMATIONS: Record<string, (text: string) => string> = {
  NONE: (text) => text,
  URL_DECODE: decodeURIComponent,
  NORMALIZE_PATH: (text) => {
    const parts: string[] = [];
    for (const part of text.split("/")) {
      if (part === "..") parts.pop();
      else if (part !== "." && part !== "") parts.push(part);
    }
    return `/${parts.join("/")}${text.endsWith("/") ? "/" : ""}`;
  },
};

/** Requests per five minutes that one address may make to a path. */
function limitOf(path: string): number[] {
  return rules.flatMap(({ statement: { rate_based_statement: rate } }) =>
    rate && holds(rate[0].scope_down_statement[0], path) ? [rate[0].limit] : [],
  );
}

describe("waf", () => {
  /** Infra analysis §2-9, AWS architecture §5.5. */
  it("protects CloudFront, from us-east-1, and lets pass what matches no rule", () => {
    expect(webAcl).toMatchObject({ scope: "CLOUDFRONT", default_action: { allow: {} }, provider: "aws.us_east_1" });
  });

  it.each([
    [2, "AWSManagedRulesCommonRuleSet"],
    [3, "AWSManagedRulesKnownBadInputsRuleSet"],
    [4, "AWSManagedRulesSQLiRuleSet"],
  ])("has at priority %d the rule group %s, not overridden", (priority, name) => {
    const rule = rules.find((candidate) => candidate.priority === priority);
    expect(rule?.statement.managed_rule_group_statement).toEqual([{ vendor_name: "AWS", name }]);
    expect(rule?.override_action).toEqual({ none: {} });
  });

  it("blocks an address after 2,000 requests in five minutes, at priority 1", () => {
    const rule = rules.find(({ priority }) => priority === 1);
    expect(rule?.action).toEqual({ block: {} });
    expect(rule?.statement.rate_based_statement?.[0]).toMatchObject({
      limit: 2000,
      aggregate_key_type: "IP",
      evaluation_window_sec: 300,
    });
  });

  it("has these four rules and the waiting room's own, no other", () => {
    expect(rules.map(({ priority }) => priority).sort()).toEqual([0, 1, 2, 3, 4]);
  });

  it.each([
    ["/", 2000],
    ["/api/v1/seats/1", 2000],
    ["/vwr/evt-1", 2000],
    ["/vwr-apix", 2000],
    ["/vwr-api/vwr/check/evt-1/abc", 20_000],
    ["/vwr-api/vwr/status/evt-1", 20_000],
    ["/vwr-api/../api/v1/seats/1", 2000],
    ["/vwr-api/%2e%2e/api/v1/seats/1", 2000],
    ["/%76wr-api/vwr/status/evt-1", 2000],
    ["/api/../vwr-api/vwr/status/evt-1", 2000],
  ])("counts %s against exactly one limit, %d", (path, limit) => {
    expect(limitOf(path)).toEqual([limit]);
  });

  it("measures and samples every rule under a name of its own", () => {
    const configs = [...rules, { visibility_config: webAcl?.visibility_config } as unknown as WafRule].map(
      ({ visibility_config }) => visibility_config,
    );
    for (const config of configs) {
      expect(config).toMatchObject({ cloudwatch_metrics_enabled: true, sampled_requests_enabled: true });
    }
    expect(new Set(configs.map(({ metric_name }) => metric_name)).size).toBe(rules.length + 1);
  });

  it("logs every decision to a group whose name AWS WAF takes, without tokens", () => {
    expect(resourcesOf(synthesized, "aws_cloudwatch_log_group").waf_main).toMatchObject({
      name: "aws-waf-logs-urr-prod",
      retention_in_days: 365,
      provider: "aws.us_east_1",
    });
    const logging = resourcesOf(synthesized, "aws_wafv2_web_acl_logging_configuration").waf_main;
    expect(logging).toMatchObject({
      resource_arn: "${aws_wafv2_web_acl.waf_main.arn}",
      log_destination_configs: ["${aws_cloudwatch_log_group.waf_main.arn}"],
      redacted_fields: [
        { single_header: { name: "authorization" } },
        { single_header: { name: "cookie" } },
        { single_header: { name: "x-queue-entry-token" } },
      ],
      depends_on: ["aws_cloudwatch_log_resource_policy.waf_main"],
      provider: "aws.us_east_1",
    });
    expect(logging).not.toHaveProperty("logging_filter");
  });

  it("lets only this account's deliveries write the log", () => {
    const policy = JSON.parse(
      String(resourcesOf(synthesized, "aws_cloudwatch_log_resource_policy").waf_main?.policy_document),
    ) as { Statement: unknown[] };
    expect(policy.Statement).toEqual([
      {
        Sid: "WafWritesItsLogs",
        Effect: "Allow",
        Principal: { Service: "delivery.logs.amazonaws.com" },
        Action: ["logs:CreateLogStream", "logs:PutLogEvents"],
        Resource: "${aws_cloudwatch_log_group.waf_main.arn}:*",
        Condition: {
          StringEquals: { "aws:SourceAccount": ACCOUNT_ID },
          ArnLike: { "aws:SourceArn": `arn:aws:logs:us-east-1:${ACCOUNT_ID}:*` },
        },
      },
    ]);
  });

  it("encrypts the log with a key of us-east-1 where there is one", () => {
    const encrypted = synthModule((stack) => {
      const key = new KmsKey(stack, "kms_key.us_east_1", { provider: stack.usEast1 });
      const grantNothing = () => undefined;
      build(stack, {
        key: { keyArn: key.arn, logsPermission: key, grantDecrypt: grantNothing, grantEncryptDecrypt: grantNothing },
      });
    });
    expect(resourcesOf(encrypted, "aws_cloudwatch_log_group").waf_main).toMatchObject({
      kms_key_id: "${aws_kms_key.us_east_1.arn}",
      depends_on: ["aws_kms_key.us_east_1"],
    });
  });

  it("says when visitors are cut off from the waiting room", () => {
    const alarm = resourcesOf(synthesized, "aws_cloudwatch_metric_alarm").waf_vwr_api_blocked;
    const rule = rules.find(({ priority }) => priority === 0);
    expect(alarm).toMatchObject({
      namespace: "AWS/WAFV2",
      metric_name: "BlockedRequests",
      dimensions: { WebACL: "urr-prod-waf", Rule: rule?.visibility_config.metric_name },
      provider: "aws.us_east_1",
    });
  });

  it.each([
    [{ rateLimit: 9 }, "rateLimit: given 9; allowed: a whole number from 10 to 2000000000"],
    [{ rateLimit: 10.5 }, "rateLimit: given 10.5"],
    [{ vwrApiRateLimit: 2000 }, "a narrow limit blocks those who wait"],
    [{ rateLimit: 30_000 }, "a whole number above rateLimit"],
  ])("fails for %j", (props, message) => {
    expect(synthProblems((stack) => build(stack, props)).join("\n")).toContain(message);
  });
});
