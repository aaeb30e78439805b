import { CloudwatchLogResourcePolicy } from "@cdktf/provider-aws/lib/cloudwatch-log-resource-policy";
import type { AwsProvider } from "@cdktf/provider-aws/lib/provider";
import { Wafv2WebAcl, type Wafv2WebAclRule } from "@cdktf/provider-aws/lib/wafv2-web-acl";
import { Wafv2WebAclLoggingConfiguration } from "@cdktf/provider-aws/lib/wafv2-web-acl-logging-configuration";
import type { Construct } from "constructs";
import { AlarmSet } from "../../lib/alarms";
import { policyJson } from "../../lib/iam";
import type { EncryptionKey } from "../../lib/kms";
import { createLogGroup } from "../../lib/log-group";
import { physicalName } from "../../lib/naming";
import { enforce, type Rule } from "../../lib/rules";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link Waf}. */
export interface WafProps {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
  /** AWS account, twelve digits: the only one whose deliveries the log group takes. */
  readonly accountId: string;
  /** Provider of us-east-1, where web ACLs of CloudFront live. */
  readonly usEast1: AwsProvider;
  /** Requests that one address may make in five minutes, outside the waiting room. @default 2000 (Infra analysis §2-9) */
  readonly rateLimit?: number;
  /** Requests that one address may make to the waiting room in five minutes. @default 20000 */
  readonly vwrApiRateLimit?: number;
  /**
   * Key of us-east-1 that encrypts the log group; the environment's key is of another Region and cannot.
   * @default encryption with a key of CloudWatch Logs
   */
  readonly key?: EncryptionKey;
}

/** Source: Infra analysis §2-9 (prod/variables.tf). */
const DEFAULT_RATE_LIMIT = 2000;
/** Ten times as many: some 900 visitors behind one carrier's address, polling as often as the waiting room asks them to. */
const DEFAULT_VWR_API_RATE_LIMIT = 20_000;
const RATE_WINDOW_SECONDS = 300;
const VWR_API_PATH = "/vwr-api/";
/** Source: AWS WAF, RateBasedStatement, Limit. */
const RATE_LIMIT_RANGE = { min: 10, max: 2_000_000_000 };
/** Headers that hold tokens. */
const REDACTED_HEADERS = ["authorization", "cookie", "x-queue-entry-token"];

/** AWS's rule groups by priority. Source: Infra analysis §2-9 "WAF". */
const MANAGED_RULE_GROUPS: readonly { priority: number; name: string }[] = [
  { priority: 2, name: "AWSManagedRulesCommonRuleSet" },
  { priority: 3, name: "AWSManagedRulesKnownBadInputsRuleSet" },
  { priority: 4, name: "AWSManagedRulesSQLiRuleSet" },
];

/** A statement in the provider's own words: the bindings leave it untyped. */
type Statement = Readonly<Record<string, unknown>>;

const RULES: readonly Rule<WafProps>[] = [
  {
    property: "rateLimit",
    given: ({ rateLimit = DEFAULT_RATE_LIMIT }) => rateLimit,
    valid: ({ rateLimit = DEFAULT_RATE_LIMIT }) => isRateLimit(rateLimit),
    allowed: `a whole number from ${RATE_LIMIT_RANGE.min} to ${RATE_LIMIT_RANGE.max}`,
    remedy: "It counts requests of one address in five minutes.",
  },
  {
    property: "vwrApiRateLimit",
    given: ({ rateLimit = DEFAULT_RATE_LIMIT, vwrApiRateLimit = DEFAULT_VWR_API_RATE_LIMIT }) => ({
      rateLimit,
      vwrApiRateLimit,
    }),
    valid: ({ rateLimit = DEFAULT_RATE_LIMIT, vwrApiRateLimit = DEFAULT_VWR_API_RATE_LIMIT }) =>
      isRateLimit(vwrApiRateLimit) && vwrApiRateLimit > rateLimit,
    allowed: `a whole number above rateLimit, at most ${RATE_LIMIT_RANGE.max}`,
    remedy:
      "Visitors behind one carrier share an address, and waiting is polling: a narrow limit blocks those who wait.",
  },
];

/**
 * The web ACL of the distribution: two rate limits and three of AWS's rule groups; what matches nothing passes. Every decision
 * is logged, tokens left out. Source: Infra analysis §2-9, §9-3 (logging), AWS architecture §5.5, Architecture guide §3.3.
 */
export class Waf extends Module {
  readonly webAclArn: string;
  readonly alarms: AlarmSet;

  private readonly props: WafProps;

  constructor(scope: Construct, id: string, props: WafProps) {
    super(scope, id);
    this.props = props;
    enforce(this, props, RULES);
    const { prefix, usEast1 } = props;

    const name = physicalName(this, "web acl", `${prefix}-waf`);
    const webAcl = new Wafv2WebAcl(this, "wafv2_web_acl.main", {
      name,
      description: `Protects the distribution of ${prefix}`,
      scope: "CLOUDFRONT",
      defaultAction: { allow: {} },
      rule: [...this.rateRules(), ...MANAGED_RULE_GROUPS.map((group) => this.managedRule(group))],
      visibilityConfig: this.visibility("waf"),
      provider: usEast1,
    });
    this.webAclArn = webAcl.arn;
    this.logDecisions(webAcl);
    this.alarms = this.createAlarms(name);
  }

  /**
   * Priority 1 is the documented limit, for everything but the waiting room; priority 0 is the waiting room's own. A path
   * counts as the waiting room's only if it is one both as it came and decoded, so that no spelling gets another path the wide
   * limit.
   */
  private rateRules(): Wafv2WebAclRule[] {
    const { rateLimit = DEFAULT_RATE_LIMIT, vwrApiRateLimit = DEFAULT_VWR_API_RATE_LIMIT } = this.props;
    const waitingRoom: Statement = {
      and_statement: [
        {
          statement: [
            pathStartsWith(VWR_API_PATH, ["NONE"]),
            pathStartsWith(VWR_API_PATH, ["URL_DECODE", "NORMALIZE_PATH"]),
          ],
        },
      ],
    };
    return [
      this.rateRule(0, "rate-limit-vwr-api", vwrApiRateLimit, waitingRoom),
      this.rateRule(1, "rate-limit", rateLimit, { not_statement: [{ statement: [waitingRoom] }] }),
    ];
  }

  private rateRule(priority: number, name: string, limit: number, scopeDown: Statement): Wafv2WebAclRule {
    return {
      name,
      priority,
      action: { block: {} },
      statement: {
        rate_based_statement: [
          {
            limit,
            aggregate_key_type: "IP",
            evaluation_window_sec: RATE_WINDOW_SECONDS,
            scope_down_statement: [scopeDown],
          },
        ],
      },
      visibilityConfig: this.visibility(name),
    };
  }

  private managedRule({ name, priority }: { readonly name: string; readonly priority: number }): Wafv2WebAclRule {
    return {
      name,
      priority,
      overrideAction: { none: {} },
      statement: { managed_rule_group_statement: [{ vendor_name: "AWS", name }] },
      visibilityConfig: this.visibility(name),
    };
  }

  private visibility(name: string): Wafv2WebAclRule["visibilityConfig"] {
    return {
      cloudwatchMetricsEnabled: true,
      metricName: `${this.props.prefix}-${name}`,
      sampledRequestsEnabled: true,
    };
  }

  private logDecisions(webAcl: Wafv2WebAcl): void {
    const { accountId, key, prefix, usEast1 } = this.props;
    // AWS WAF takes no log group whose name starts otherwise.
    const logGroup = createLogGroup(this, "main", { name: `aws-waf-logs-${prefix}`, key, provider: usEast1 });
    const delivery = new CloudwatchLogResourcePolicy(this, "cloudwatch_log_resource_policy.main", {
      policyName: `${prefix}-waf-logs`,
      policyDocument: policyJson([
        {
          sid: "WafWritesItsLogs",
          actions: ["logs:CreateLogStream", "logs:PutLogEvents"],
          resources: [`${logGroup.arn}:*`],
          principals: { services: ["delivery.logs.amazonaws.com"] },
          conditions: {
            StringEquals: { "aws:SourceAccount": accountId },
            ArnLike: { "aws:SourceArn": `arn:aws:logs:us-east-1:${accountId}:*` },
          },
        },
      ]),
      provider: usEast1,
    });
    new Wafv2WebAclLoggingConfiguration(this, "wafv2_web_acl_logging_configuration.main", {
      resourceArn: webAcl.arn,
      logDestinationConfigs: [logGroup.arn],
      redactedFields: REDACTED_HEADERS.map((header) => ({ singleHeader: { name: header } })),
      provider: usEast1,
      // AWS WAF would otherwise write a policy of its own, which Terraform does not know.
      dependsOn: [delivery],
    });
  }

  private createAlarms(webAclName: string): AlarmSet {
    const { prefix, usEast1 } = this.props;
    const alarms = new AlarmSet(this, usEast1);
    alarms.add("vwr_api_blocked", {
      name: `${prefix}-waf-vwr-api-blocked`,
      description:
        "Addresses are cut off from the waiting room. If they are carriers and not one attacker, raise vwrApiRateLimit.",
      namespace: "AWS/WAFV2",
      metricName: "BlockedRequests",
      dimensions: { WebACL: webAclName, Rule: `${prefix}-rate-limit-vwr-api` },
      statistic: "Sum",
      periodSeconds: 60,
      threshold: 0,
      comparison: "GreaterThanThreshold",
    });
    return alarms;
  }
}

function pathStartsWith(path: string, transformations: readonly string[]): Statement {
  return {
    byte_match_statement: [
      {
        search_string: path,
        positional_constraint: "STARTS_WITH",
        field_to_match: [{ uri_path: [{}] }],
        text_transformation: transformations.map((type, priority) => ({ priority, type })),
      },
    ],
  };
}

function isRateLimit(limit: number): boolean {
  return Number.isInteger(limit) && limit >= RATE_LIMIT_RANGE.min && limit <= RATE_LIMIT_RANGE.max;
}
