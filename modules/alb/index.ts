import { Ec2ManagedPrefixList } from "@cdktf/provider-aws/lib/ec2-managed-prefix-list";
import { Lb } from "@cdktf/provider-aws/lib/lb";
import { LbListener } from "@cdktf/provider-aws/lib/lb-listener";
import { LbListenerRule, type LbListenerRuleCondition } from "@cdktf/provider-aws/lib/lb-listener-rule";
import { LbTargetGroup } from "@cdktf/provider-aws/lib/lb-target-group";
import { Fn, Op, TerraformIterator, Token } from "cdktf";
import type { Construct } from "constructs";
import { AlarmSet } from "../../lib/alarms";
import { physicalName } from "../../lib/naming";
import { enforce, type Rule } from "../../lib/rules";
import { type AddressPeer, SecurityGroup, tcp } from "../../lib/security-group";
import { Module } from "../../lib/terraform-modules";
import type { LogsBucket } from "../s3";
import type { Vpc } from "../vpc";
import { createInternalLoadBalancer, type InternalLoadBalancer, type InternalTarget } from "./internal";
import { DEREGISTRATION_DELAY_SECONDS, HEALTH_CHECK } from "./target-group";

export type { InternalTarget } from "./internal";

/** Who may reach the public load balancer: CloudFront alone, or a list of addresses. */
export type AlbIngress =
  | {
      /** Managed prefix list of CloudFront's origin-facing addresses in this Region. */ readonly cloudfrontPrefixListId: string;
    }
  | { /** IPv4 blocks, at most 20. */ readonly cidrBlocks: readonly string[] };

/** One service behind the public load balancer. */
export interface AlbTarget {
  /** Name of the service. Replacing it destroys the target group. */
  readonly name: string;
  /** Port of its pods. Replacing it destroys the target group. */
  readonly port: number;
  /** Path that must answer 200. */
  readonly healthCheckPath: string;
  /** Paths that lead here, such as `/api/*`. @default none: everything that leads nowhere else; exactly one target is of that kind */
  readonly pathPatterns?: readonly string[];
}

/** Properties of {@link Alb}. */
export interface AlbProps {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
  readonly vpc: Vpc;
  /** Certificate of the domain, from this Region (CloudFront's is another one, from us-east-1). */
  readonly certificateArn: string;
  /** Whether AWS refuses to delete the load balancers. Source: AWS architecture §5.4: on in production. */
  readonly deletionProtection: boolean;
  readonly targets: readonly AlbTarget[];
  readonly ingress: AlbIngress;
  /** Header that CloudFront adds; whatever comes without it is answered 403. Required behind CloudFront. */
  readonly originHeader?: { readonly name: string; readonly value: string };
  /** Where access logs go. @default nowhere */
  readonly logsBucket?: LogsBucket;
  /** Service that callers outside the cluster reach. */
  readonly internal: InternalTarget;
}

/** TLS 1.3, and 1.2 for clients without it. Source: AWS architecture §5.4 "SSL Policy: TLS 1.3", Architecture guide §6.4. */
const SSL_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06";
/** 24 hours. Source: AWS architecture §5.4 "Stickiness". */
const STICKINESS_SECONDS = 86_400;
/** Rules that CloudFront's prefix list counts for. Source: Amazon CloudFront, "Use the CloudFront managed prefix list". */
const CLOUDFRONT_PREFIX_LIST_WEIGHT = 55;
/** Room in the list of admitted addresses: it counts in full, once for 443 and once for 80, towards the 60 rules of a group. */
const MAX_CIDR_BLOCKS = 20;
/** Values that the conditions of one listener rule may hold together. Source: Elastic Load Balancing, "Quotas". */
const MAX_CONDITION_VALUES = 5;
const ALARM_PERIOD_SECONDS = 300;
const SERVER_ERRORS_PER_PERIOD = 10;
const SLOW_SECONDS = 3;

const RULES: readonly Rule<AlbProps>[] = [
  {
    property: "targets",
    given: ({ targets }) => targets.map(({ name }) => name),
    valid: ({ targets }) => targets.length > 0 && new Set(targets.map(({ name }) => name)).size === targets.length,
    allowed: "at least one target, each name once",
    remedy: "Terraform addresses and target groups are named after it.",
  },
  {
    property: "targets.pathPatterns",
    given: ({ targets }) => targets.filter(isDefault).map(({ name }) => name),
    valid: ({ targets }) => targets.filter(isDefault).length === 1,
    allowed: "exactly one target without path patterns",
    remedy: "It gets every request that no path claims.",
  },
  {
    property: "targets.pathPatterns",
    given: ({ targets }) => targets.map(({ pathPatterns = [] }) => pathPatterns.length),
    valid: ({ originHeader, targets }) =>
      targets.every(({ pathPatterns = [] }) => pathPatterns.length + (originHeader ? 1 : 0) <= MAX_CONDITION_VALUES),
    allowed: ({ originHeader }) => `at most ${MAX_CONDITION_VALUES - (originHeader ? 1 : 0)} per target`,
    remedy: `A listener rule takes ${MAX_CONDITION_VALUES} condition values, the origin header included.`,
  },
  {
    property: "originHeader",
    given: ({ ingress, originHeader }) => ({
      cloudfront: isCloudfront(ingress),
      originHeader: originHeader?.name ?? "",
    }),
    valid: ({ ingress, originHeader }) => isCloudfront(ingress) === (originHeader !== undefined),
    allowed: "a header behind CloudFront's prefix list, and none with a list of addresses",
    remedy:
      "The prefix list admits every distribution of every AWS account: only the secret header tells ours from theirs. Without CloudFront nobody adds it.",
  },
  {
    property: "ingress.cidrBlocks",
    given: ({ ingress }) => ("cidrBlocks" in ingress ? ingress.cidrBlocks : ["CloudFront"]),
    valid: ({ ingress }) =>
      !("cidrBlocks" in ingress) ||
      (ingress.cidrBlocks.length > 0 &&
        ingress.cidrBlocks.length <= MAX_CIDR_BLOCKS &&
        new Set(ingress.cidrBlocks).size === ingress.cidrBlocks.length),
    allowed: `1 to ${MAX_CIDR_BLOCKS} different IPv4 blocks`,
    remedy: "Join neighbouring blocks: the list counts twice towards the 60 rules of a security group.",
  },
];

/**
 * The public load balancer with a listener for HTTPS and one target group per service, filled by the cluster's load balancer
 * controller; and an internal one for callers outside the cluster.
 * Source: AWS architecture §5.4, Architecture guide §6.4.
 */
export class Alb extends Module {
  readonly albArn: string;
  /** Dimension of the load balancer's metrics. */
  readonly albArnSuffix: string;
  readonly dnsName: string;
  /** Zone of `dnsName`, for alias records. */
  readonly zoneId: string;
  /** Target groups by the name of their service; the internal one is `internal-<service>`. For TargetGroupBindings. */
  readonly targetGroupArns: Readonly<Record<string, string>>;
  readonly securityGroup: SecurityGroup;
  /** Base URL of the internal service by its private name, such as `http://ticket-service.urr-prod.internal:3002`. */
  readonly internalServiceUrl: string;
  /** Carried by the internal load balancer: nobody reaches it until somebody is let in. */
  readonly internalSecurityGroup: SecurityGroup;
  readonly alarms: AlarmSet;

  private readonly props: AlbProps;

  constructor(scope: Construct, id: string, props: AlbProps) {
    super(scope, id);
    this.props = props;
    enforce(this, props, RULES);
    const { deletionProtection, prefix, targets, vpc } = props;

    this.securityGroup = this.createSecurityGroup();
    const loadBalancer = this.createLoadBalancer();
    const targetGroups = new Map(targets.map((target) => [target.name, this.createTargetGroup(target)]));
    this.createListeners(loadBalancer, targetGroups);
    const internal = createInternalLoadBalancer(this, props.internal, { prefix, vpc, deletionProtection });
    this.alarms = this.createAlarms(loadBalancer, targetGroups, internal);

    this.albArn = loadBalancer.arn;
    this.albArnSuffix = loadBalancer.arnSuffix;
    this.dnsName = loadBalancer.dnsName;
    this.zoneId = loadBalancer.zoneId;
    this.targetGroupArns = {
      ...Object.fromEntries([...targetGroups].map(([name, targetGroup]) => [name, targetGroup.arn])),
      [`internal-${props.internal.targetName}`]: internal.targetGroup.arn,
    };
    this.internalSecurityGroup = internal.securityGroup;
    this.internalServiceUrl = `http://${internal.host}:${props.internal.port}`;
  }

  /**
   * Lets the load balancers reach the services' ports on the nodes, for requests and health checks.
   * Source: AWS architecture §6.3 (which opens every port).
   */
  allowTo(nodes: SecurityGroup): void {
    const { internal, targets } = this.props;
    for (const { name, port } of targets) {
      this.securityGroup.allowTo(nodes, tcp(port), `Public load balancer to ${name}`);
    }
    this.internalSecurityGroup.allowTo(nodes, tcp(internal.port), `Internal load balancer to ${internal.targetName}`);
  }

  /** Lets a caller in the VPC reach the internal load balancer. */
  allowInternalFrom(caller: SecurityGroup, description: string): void {
    const { internal } = this.props;
    this.internalSecurityGroup.allowFrom(caller, tcp(internal.port), description);
  }

  private createSecurityGroup(): SecurityGroup {
    const { ingress, prefix, vpc } = this.props;
    const group = new SecurityGroup(this, "alb", {
      name: `${prefix}-alb`,
      description: "Public load balancer",
      vpcId: vpc.vpcId,
      label: "alb",
    });
    if ("cloudfrontPrefixListId" in ingress) {
      // On 443 only: a second port would need 110 of a security group's 60 rules.
      group.allowFrom(
        { label: "cloudfront", prefixListId: ingress.cloudfrontPrefixListId, weight: CLOUDFRONT_PREFIX_LIST_WEIGHT },
        tcp(443),
        "HTTPS from CloudFront",
      );
      return group;
    }
    const allowed = this.createPrefixList(ingress.cidrBlocks);
    group.allowFrom(allowed, tcp(443), "HTTPS from the admitted addresses");
    group.allowFrom(allowed, tcp(80), "HTTP from the admitted addresses, redirected to HTTPS");
    return group;
  }

  /** The admitted addresses as one list: how many there are is known at plan only, and two rules then name it whatever it holds. */
  private createPrefixList(cidrBlocks: readonly string[]): AddressPeer {
    const { prefix } = this.props;
    const blocks = [...cidrBlocks];
    const iterator = TerraformIterator.fromList(blocks);
    const list = new Ec2ManagedPrefixList(this, "ec2_managed_prefix_list.allowed", {
      name: `${prefix}-alb-allowed`,
      addressFamily: "IPv4",
      maxEntries: MAX_CIDR_BLOCKS,
      entry: iterator.dynamic({ cidr: iterator.value }),
      lifecycle: {
        precondition: [
          {
            condition: Token.asString(Op.lte(Fn.lengthOf(Fn.toset(blocks)), MAX_CIDR_BLOCKS)),
            errorMessage: `The load balancer admits at most ${MAX_CIDR_BLOCKS} IPv4 blocks; join neighbouring ones.`,
          },
        ],
      },
    });
    return { label: "allowed", prefixListId: list.id, weight: MAX_CIDR_BLOCKS };
  }

  private createLoadBalancer(): Lb {
    const { deletionProtection, logsBucket, prefix, vpc } = this.props;
    return new Lb(this, "lb.main", {
      name: physicalName(this, "load balancer", `${prefix}-alb`),
      loadBalancerType: "application",
      internal: false,
      subnets: [...vpc.tiers.public.subnetIds],
      securityGroups: [this.securityGroup.securityGroupId],
      enableDeletionProtection: deletionProtection,
      dropInvalidHeaderFields: true,
      desyncMitigationMode: "defensive",
      ...(logsBucket && {
        accessLogs: { bucket: logsBucket.bucketName, enabled: true },
        // ELB writes a test file when logging is switched on.
        dependsOn: [logsBucket.policy],
      }),
    });
  }

  private createTargetGroup({ healthCheckPath, name, port }: AlbTarget): LbTargetGroup {
    const { prefix, vpc } = this.props;
    return new LbTargetGroup(this, `lb_target_group.${terraformName(name)}`, {
      name: physicalName(this, "target group", `${prefix}-${name}`),
      vpcId: vpc.vpcId,
      targetType: "ip",
      protocol: "HTTP",
      port,
      deregistrationDelay: `${DEREGISTRATION_DELAY_SECONDS}`,
      stickiness: { enabled: true, type: "lb_cookie", cookieDuration: STICKINESS_SECONDS },
      healthCheck: { ...HEALTH_CHECK, protocol: "HTTP", path: healthCheckPath },
    });
  }

  private createListeners(loadBalancer: Lb, targetGroups: ReadonlyMap<string, LbTargetGroup>): void {
    const { certificateArn, ingress, originHeader, targets } = this.props;
    const arnOf = (name: string) => targetGroups.get(name)?.arn ?? "";
    const defaultTarget = targets.find(isDefault)?.name ?? "";
    const https = new LbListener(this, "lb_listener.https", {
      loadBalancerArn: loadBalancer.arn,
      protocol: "HTTPS",
      port: 443,
      sslPolicy: SSL_POLICY,
      certificateArn,
      defaultAction: [
        originHeader
          ? {
              type: "fixed-response",
              fixedResponse: { statusCode: "403", contentType: "text/plain", messageBody: "Forbidden" },
            }
          : { type: "forward", targetGroupArn: arnOf(defaultTarget) },
      ],
    });
    if (!isCloudfront(ingress)) {
      new LbListener(this, "lb_listener.http", {
        loadBalancerArn: loadBalancer.arn,
        protocol: "HTTP",
        port: 80,
        defaultAction: [{ type: "redirect", redirect: { protocol: "HTTPS", port: "443", statusCode: "HTTP_301" } }],
      });
    }

    const header: LbListenerRuleCondition[] = originHeader
      ? [{ httpHeader: { httpHeaderName: originHeader.name, values: [originHeader.value] } }]
      : [];
    // Paths come first, whatever the order of the targets: the default target's rule matches every path.
    const ordered = [...targets.filter((target) => !isDefault(target)), ...targets.filter(isDefault)];
    ordered.forEach(({ name, pathPatterns = [] }, index) => {
      const condition = [
        ...(pathPatterns.length > 0 ? [{ pathPattern: { values: [...pathPatterns] } }] : []),
        ...header,
      ];
      if (condition.length === 0) return;
      new LbListenerRule(this, `lb_listener_rule.${terraformName(name)}`, {
        listenerArn: https.arn,
        priority: (index + 1) * 10,
        condition,
        action: [{ type: "forward", targetGroupArn: arnOf(name) }],
      });
    });
  }

  /** The documents name no alarms for the load balancer; "CloudWatch 알람 확충" (Infra analysis §9-3) asks for more of them. */
  private createAlarms(
    loadBalancer: Lb,
    targetGroups: ReadonlyMap<string, LbTargetGroup>,
    internal: InternalLoadBalancer,
  ): AlarmSet {
    const { prefix } = this.props;
    const alarms = new AlarmSet(this);
    const common = {
      namespace: "AWS/ApplicationELB",
      dimensions: { LoadBalancer: loadBalancer.arnSuffix },
      periodSeconds: ALARM_PERIOD_SECONDS,
      comparison: "GreaterThanThreshold",
    } as const;
    alarms.add("elb_5xx", {
      ...common,
      name: `${prefix}-alb-5xx`,
      description:
        "The load balancer itself answers 5xx: no healthy pod, or pods that do not answer. Look at the target groups first.",
      metricName: "HTTPCode_ELB_5XX_Count",
      statistic: "Sum",
      threshold: SERVER_ERRORS_PER_PERIOD,
    });
    alarms.add("target_5xx", {
      ...common,
      name: `${prefix}-alb-target-5xx`,
      description: "Services answer 5xx. Look at the gateway's dashboard and logs first.",
      metricName: "HTTPCode_Target_5XX_Count",
      statistic: "Sum",
      threshold: SERVER_ERRORS_PER_PERIOD,
    });
    alarms.add("latency", {
      ...common,
      name: `${prefix}-alb-latency`,
      description: `One request in a hundred takes longer than ${SLOW_SECONDS} seconds. Look at the gateway's and the databases' dashboards first.`,
      metricName: "TargetResponseTime",
      statistic: "p99",
      evaluationPeriods: 2,
      threshold: SLOW_SECONDS,
    });
    const unhealthy = {
      metricName: "UnHealthyHostCount",
      statistic: "Maximum",
      periodSeconds: 60,
      evaluationPeriods: 5,
      threshold: 0,
      comparison: "GreaterThanThreshold",
    } as const;
    for (const [name, targetGroup] of targetGroups) {
      alarms.add(`unhealthy_${terraformName(name)}`, {
        ...unhealthy,
        name: `${prefix}-alb-unhealthy-${name}`,
        description: `A pod of ${name} fails the load balancer's health check for five minutes. Look at the pod's readiness first.`,
        namespace: "AWS/ApplicationELB",
        dimensions: { LoadBalancer: loadBalancer.arnSuffix, TargetGroup: targetGroup.arnSuffix },
      });
    }
    alarms.add("unhealthy_internal", {
      ...unhealthy,
      name: `${prefix}-internal-lb-unhealthy`,
      description: `A pod behind ${internal.host} fails its health check for five minutes: the worker's calls may fail. Look at the pod's readiness first.`,
      namespace: "AWS/NetworkELB",
      dimensions: { LoadBalancer: internal.arnSuffix, TargetGroup: internal.targetGroup.arnSuffix },
    });
    return alarms;
  }
}

function isDefault({ pathPatterns = [] }: AlbTarget): boolean {
  return pathPatterns.length === 0;
}

function isCloudfront(ingress: AlbIngress): boolean {
  return "cloudfrontPrefixListId" in ingress;
}

/** `ticket_service` of `ticket-service`. */
function terraformName(service: string): string {
  return service.replaceAll("-", "_");
}
