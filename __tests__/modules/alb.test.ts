import { TerraformVariable } from "cdktf";
import { describe, expect, it } from "vitest";
import { maxNameLength } from "../../lib/naming";
import { SecurityGroup } from "../../lib/security-group";
import { Module } from "../../lib/terraform-modules";
import { Alb, type AlbProps } from "../../modules/alb";
import { S3 } from "../../modules/s3";
import { Vpc } from "../../modules/vpc";
import { admissions, expectReachable, expectUnreachable, securityGroupRules } from "../support/network";
import { ACCOUNT_ID, REGION, resourcesOf, synthModule, synthProblems, type TestStack } from "../support/synth";
import { type TerraformStack, toTerraformStack } from "../support/terraform";

const CERTIFICATE = `arn:aws:acm:${REGION}:${ACCOUNT_ID}:certificate/11111111-2222-3333-4444-555555555555`;
const GATEWAY = {
  name: "gateway-service",
  port: 3001,
  healthCheckPath: "/health",
  pathPatterns: ["/api/*"],
} satisfies AlbProps["targets"][number];
const FRONTEND = { name: "frontend", port: 3000, healthCheckPath: "/health" } satisfies AlbProps["targets"][number];
const CLOUDFRONT = { cloudfrontPrefixListId: "pl-22a6434b" };
const ORIGIN_HEADER = { name: "X-Custom-Header", value: "the origin secret" };

/** Two callers, each behind a security group of its own. */
class Callers extends Module {
  readonly nodes = this.group("nodes", "eks_nodes");
  readonly worker = this.group("worker", "lambda_worker");
  readonly stranger = this.group("stranger", "stranger");

  private group(id: string, label: string): SecurityGroup {
    return new SecurityGroup(this, id, { name: id, description: id, vpcId: "vpc-1", label });
  }
}

function build(stack: TestStack, props: Partial<AlbProps> = {}): Alb {
  const prefix = props.prefix ?? "urr-prod";
  const vpc = new Vpc(stack, "vpc", {
    prefix,
    vpcCidr: "10.0.0.0/16",
    availabilityZones: [`${REGION}a`, `${REGION}c`],
    clusterName: prefix,
  });
  const s3 = new S3(stack, "s3", {
    prefix: "urr-prod",
    environment: "prod",
    accountId: ACCOUNT_ID,
    region: REGION,
    corsAllowedOrigins: ["https://urr.guru"],
  });
  const alb = new Alb(stack, "alb", {
    prefix,
    vpc,
    certificateArn: CERTIFICATE,
    deletionProtection: true,
    // The default target first: its rule must come last all the same.
    targets: [FRONTEND, GATEWAY],
    ingress: CLOUDFRONT,
    ...("cidrBlocks" in (props.ingress ?? {}) ? {} : { originHeader: ORIGIN_HEADER }),
    ...(s3.logsBucket && { logsBucket: s3.logsBucket }),
    internal: { targetName: "ticket-service", port: 3002, zoneName: "prod.urr.internal" },
    ...props,
  });
  alb.alarms.notify("arn:aws:sns:ap-northeast-2:123456789012:urr-prod-alarms");
  return alb;
}

function synthesize(props: Partial<AlbProps> = {}) {
  const synthesized = synthModule((stack) => {
    const alb = build(stack, props);
    const callers = new Callers(stack, "callers");
    alb.allowTo(callers.nodes);
    alb.allowInternalFrom(callers.worker, "Worker to ticket-service");
  });
  return {
    synthesized,
    stack: toTerraformStack(synthesized),
  };
}

const { stack, synthesized } = synthesize();
const staging = synthesize({
  prefix: "urr-staging",
  deletionProtection: false,
  ingress: { cidrBlocks: ["203.0.113.0/24", "198.51.100.0/24"] },
});
const loadBalancer = stack.at("module.alb.aws_lb.main");
const internal = stack.at("module.alb.aws_lb.internal");

/** Listener rules by priority: the conditions, and where they lead. */
function routing(own: TerraformStack): unknown[] {
  return own
    .find({ type: "aws_lb_listener_rule" })
    .sort((left, right) => Number(own.resolve(left, "priority")) - Number(own.resolve(right, "priority")))
    .map((rule) => ({
      paths: own.resolve(rule, "condition.path_pattern.values"),
      header: own.resolve(rule, "condition.http_header.http_header_name"),
      values: own.resolve(rule, "condition.http_header.values"),
      to: own.references(rule, "action.target_group_arn"),
    }));
}

/** AWS architecture §5.4. */
describe("alb", () => {
  it("is public, in the public subnets, and drops malformed headers", () => {
    expect(stack.arguments(loadBalancer)).toMatchObject({
      name: "urr-prod-alb",
      load_balancer_type: "application",
      internal: false,
      drop_invalid_header_fields: true,
    });
    expect(stack.references(loadBalancer, "subnets")).toEqual([
      "module.vpc.aws_subnet.public_a",
      "module.vpc.aws_subnet.public_c",
    ]);
  });

  it("is protected from deletion where asked", () => {
    for (const [own, expected] of [
      [stack, true],
      [staging.stack, false],
    ] as const) {
      const protections = own.find({ type: "aws_lb" }).map((each) => own.resolve(each, "enable_deletion_protection"));
      expect(protections).toEqual([expected, expected]);
    }
  });

  it("serves HTTPS with TLS 1.3 and the certificate of its own Region", () => {
    const listener = stack.at("module.alb.aws_lb_listener.https");
    expect(stack.arguments(listener)).toMatchObject({
      port: 443,
      protocol: "HTTPS",
      ssl_policy: "ELBSecurityPolicy-TLS13-1-2-2021-06",
      certificate_arn: CERTIFICATE,
    });
  });

  it("behind CloudFront answers 403 to whoever does not bring the origin header, on every path", () => {
    expect(stack.resolve(stack.at("module.alb.aws_lb_listener.https"), "default_action.type")).toBe("fixed-response");
    expect(
      stack.resolve(stack.at("module.alb.aws_lb_listener.https"), "default_action.fixed_response.status_code"),
    ).toBe("403");
    const header = { header: "X-Custom-Header", values: ["the origin secret"] };
    expect(routing(stack)).toEqual([
      { ...header, paths: ["/api/*"], to: ["module.alb.aws_lb_target_group.gateway_service"] },
      { ...header, paths: undefined, to: ["module.alb.aws_lb_target_group.frontend"] },
    ]);
  });

  it("without CloudFront forwards without a header", () => {
    const listener = staging.stack.at("module.alb.aws_lb_listener.https");
    expect(staging.stack.resolve(listener, "default_action.type")).toBe("forward");
    expect(staging.stack.references(listener, "default_action.target_group_arn")).toEqual([
      "module.alb.aws_lb_target_group.frontend",
    ]);
    expect(routing(staging.stack)).toEqual([
      {
        header: undefined,
        values: undefined,
        paths: ["/api/*"],
        to: ["module.alb.aws_lb_target_group.gateway_service"],
      },
    ]);
  });

  it("redirects port 80 for good where it is open, and listens there nowhere else", () => {
    const http = staging.stack.at("module.alb.aws_lb_listener.http");
    expect(staging.stack.arguments(http)).toMatchObject({ port: 80, protocol: "HTTP" });
    expect(staging.stack.resolve(http, "default_action.redirect")).toEqual({
      protocol: "HTTPS",
      port: "443",
      status_code: "HTTP_301",
    });
    expect(stack.find({ type: "aws_lb_listener", where: { port: 80 } })).toEqual([]);
  });

  it.each([
    ["gateway_service", 3001],
    ["frontend", 3000],
  ])("targets pods of %s by address on %d, with the documented health check, stickiness and delay", (id, port) => {
    expect(stack.arguments(stack.at(`module.alb.aws_lb_target_group.${id}`))).toMatchObject({
      target_type: "ip",
      protocol: "HTTP",
      port,
      deregistration_delay: "30",
      stickiness: { enabled: true, type: "lb_cookie", cookie_duration: 86_400 },
      health_check: { path: "/health", healthy_threshold: 2, unhealthy_threshold: 3, matcher: "200" },
    });
  });

  it("writes access logs, after the bucket lets it", () => {
    expect(stack.references(loadBalancer, "access_logs.bucket")).toEqual(["module.s3.aws_s3_bucket.logs"]);
    expect(stack.resolve(loadBalancer, "access_logs.enabled")).toBe(true);
    expect(resourcesOf(synthesized, "aws_lb").alb_main?.depends_on).toEqual(["aws_s3_bucket_policy.s3_logs"]);
  });
});

/** AWS architecture §6.3. */
describe("alb: who reaches whom", () => {
  const nodes = stack.at("module.callers.aws_security_group.nodes");

  it("CloudFront reaches it on 443, nobody else does, and nobody on 80", () => {
    expectReachable(stack, "cloudfront", loadBalancer, 443);
    expectUnreachable(stack, "cloudfront", loadBalancer, 80);
    expectUnreachable(stack, "203.0.113.7/32", loadBalancer, 443);
    expect(admissions(stack, loadBalancer)).toEqual(["tcp 443 from pl-22a6434b"]);
  });

  it("without CloudFront the listed addresses reach it on 443 and 80", () => {
    const own = staging.stack;
    expect(admissions(own, own.at("module.alb.aws_lb.main"))).toEqual([
      "tcp 443 from module.alb.aws_ec2_managed_prefix_list.allowed.id",
      "tcp 80 from module.alb.aws_ec2_managed_prefix_list.allowed.id",
    ]);
  });

  it("reaches the services' ports on the nodes and no others", () => {
    const out = securityGroupRules(stack)
      .filter(({ direction, peerGroup }) => direction === "ingress" && peerGroup !== undefined)
      .filter(({ group }) => group === nodes.address)
      .map(({ fromPort, peerGroup, toPort }) => [peerGroup, fromPort, toPort]);
    expect(out.sort()).toEqual([
      ["module.alb.aws_security_group.alb", 3000, 3000],
      ["module.alb.aws_security_group.alb", 3001, 3001],
      ["module.alb.aws_security_group.internal", 3002, 3002],
    ]);
    const egress = securityGroupRules(stack).filter(
      ({ direction, group }) => direction === "egress" && group === "module.alb.aws_security_group.alb",
    );
    expect(egress.map(({ fromPort, peerGroup }) => [peerGroup, fromPort])).toEqual([
      [nodes.address, 3000],
      [nodes.address, 3001],
    ]);
  });

  it("takes a list whose length is known at plan only, within one prefix list of known size", () => {
    const own = synthModule((testStack) => {
      const blocks = new TerraformVariable(testStack, "alb_allowed_cidrs", { type: "list(string)" });
      build(testStack, { ingress: { cidrBlocks: blocks.listValue } });
    });
    const list = resourcesOf(own, "aws_ec2_managed_prefix_list").alb_allowed;
    expect(list).toMatchObject({
      max_entries: 20,
      dynamic: {
        entry: {
          for_each: "${toset(var.alb_allowed_cidrs)}",
          iterator: "each",
          content: { cidr: "${each.value}" },
        },
      },
    });
    expect(JSON.stringify(list?.lifecycle)).toContain("length(toset(var.alb_allowed_cidrs)) <= 20");
  });
});

describe("alb: internal load balancer", () => {
  it("is reached by the worker on 3002 and by nobody else", () => {
    expect(admissions(stack, internal)).toEqual(["tcp 3002 from module.callers.aws_security_group.worker"]);
  });

  it("stands in the streaming subnets, where no pod is, crosses zones and carries its own security group from the start", () => {
    expect(stack.arguments(internal)).toMatchObject({
      load_balancer_type: "network",
      internal: true,
      enable_cross_zone_load_balancing: true,
    });
    expect(stack.references(internal, "subnets")).toEqual([
      "module.vpc.aws_subnet.streaming_a",
      "module.vpc.aws_subnet.streaming_c",
    ]);
    expect(stack.references(internal, "security_groups")).toEqual(["module.alb.aws_security_group.internal"]);
  });

  it("passes TCP 3002 on to pods by address, checked over HTTP", () => {
    const targetGroup = stack.at("module.alb.aws_lb_target_group.internal_ticket_service");
    expect(stack.arguments(targetGroup)).toMatchObject({
      target_type: "ip",
      protocol: "TCP",
      port: 3002,
      preserve_client_ip: "false",
      health_check: { protocol: "HTTP", path: "/health", healthy_threshold: 2, unhealthy_threshold: 3 },
    });
    const listener = stack.at("module.alb.aws_lb_listener.internal");
    expect(stack.arguments(listener)).toMatchObject({ port: 3002, protocol: "TCP" });
    expect(stack.references(listener, "default_action.target_group_arn")).toEqual([targetGroup.address]);
  });

  it("has a private name that the worker's URL uses", () => {
    const record = stack.at("module.alb.aws_route53_record.ticket_service");
    expect(stack.resolve(record, "name")).toBe("ticket-service.prod.urr.internal");
    expect(stack.references(record, "alias.name")).toEqual([internal.address]);
    const zone = stack.at("module.alb.aws_route53_zone.internal");
    expect(stack.resolve(zone, "name")).toBe("prod.urr.internal");
    expect(stack.references(zone, "vpc.vpc_id")).toEqual(["module.vpc.aws_vpc.main"]);
    let url: string | undefined;
    synthModule((testStack) => {
      url = build(testStack).internalServiceUrl;
    });
    expect(url).toBe("http://ticket-service.prod.urr.internal:3002");
  });
});

describe("alb: alarms", () => {
  const alarms = Object.values(resourcesOf(synthesized, "aws_cloudwatch_metric_alarm"));

  it.each([
    ["urr-prod-alb-5xx", "HTTPCode_ELB_5XX_Count", "AWS/ApplicationELB"],
    ["urr-prod-alb-target-5xx", "HTTPCode_Target_5XX_Count", "AWS/ApplicationELB"],
    ["urr-prod-alb-latency", "TargetResponseTime", "AWS/ApplicationELB"],
    ["urr-prod-alb-unhealthy-gateway-service", "UnHealthyHostCount", "AWS/ApplicationELB"],
    ["urr-prod-alb-unhealthy-frontend", "UnHealthyHostCount", "AWS/ApplicationELB"],
    ["urr-prod-internal-lb-unhealthy", "UnHealthyHostCount", "AWS/NetworkELB"],
  ])("%s watches %s", (name, metric, namespace) => {
    const [alarm] = alarms.filter(({ alarm_name }) => alarm_name === name);
    expect(alarm).toMatchObject({
      metric_name: metric,
      namespace,
      comparison_operator: "GreaterThanThreshold",
      alarm_actions: ["arn:aws:sns:ap-northeast-2:123456789012:urr-prod-alarms"],
      ok_actions: ["arn:aws:sns:ap-northeast-2:123456789012:urr-prod-alarms"],
    });
    expect(JSON.stringify(alarm?.dimensions)).toMatch(/aws_lb\.alb_(main|internal)\.arn_suffix/);
  });

  it("are those and no others", () => {
    expect(alarms).toHaveLength(6);
  });
});

describe("alb: bad input", () => {
  const problems = (props: Partial<AlbProps>) => synthProblems((testStack) => void build(testStack, props)).join("\n");

  it.each([
    [
      "two default targets",
      { targets: [FRONTEND, { ...GATEWAY, pathPatterns: [] }] },
      'targets.pathPatterns: given ["frontend","gateway-service"]; allowed: exactly one target without path patterns',
    ],
    [
      "no default target",
      { targets: [GATEWAY] },
      "targets.pathPatterns: given []; allowed: exactly one target without path patterns",
    ],
    [
      "more paths than a rule takes beside the header",
      { targets: [FRONTEND, { ...GATEWAY, pathPatterns: ["/a", "/b", "/c", "/d", "/e"] }] },
      "targets.pathPatterns: given [0,5]; allowed: at most 4 per target",
    ],
    [
      "addresses together with an origin header",
      { ingress: { cidrBlocks: ["203.0.113.0/24"] }, originHeader: ORIGIN_HEADER },
      "originHeader: given",
    ],
    [
      "no addresses",
      { ingress: { cidrBlocks: [] } },
      "ingress.cidrBlocks: given []; allowed: 1 to 20 different IPv4 blocks",
    ],
    [
      "more addresses than a security group can hold twice",
      { ingress: { cidrBlocks: Array.from({ length: 21 }, (_, index) => `203.0.${index}.0/24`) } },
      "allowed: 1 to 20 different IPv4 blocks",
    ],
    [
      "a prefix that leaves no room in a target group's name",
      { prefix: "urr-production-seoul" },
      `name of the target group: given "urr-production-seoul-gateway-service (36 characters)"; allowed: 1 to ${maxNameLength("target group")} characters`,
    ],
  ] satisfies [string, Partial<AlbProps>, string][])("fails for %s", (_, props, message) => {
    expect(problems(props)).toContain(message);
  });

  it("fails behind CloudFront without a secret header: the prefix list admits anybody's distribution", () => {
    const text = synthProblems((testStack) => {
      const alb = new Alb(testStack, "alb", {
        prefix: "urr-prod",
        vpc: new Vpc(testStack, "vpc", {
          prefix: "urr-prod",
          vpcCidr: "10.0.0.0/16",
          availabilityZones: [`${REGION}a`, `${REGION}c`],
          clusterName: "urr-prod",
        }),
        certificateArn: CERTIFICATE,
        deletionProtection: true,
        targets: [FRONTEND],
        ingress: CLOUDFRONT,
        internal: { targetName: "ticket-service", port: 3002, zoneName: "prod.urr.internal" },
      });
      alb.alarms.notify("arn:aws:sns:x");
    }).join("\n");
    expect(text).toContain("allowed: a header behind CloudFront's prefix list");
  });

  it("fails when CloudFront's prefix list is let in on a second port: it counts 55 of 60 rules each time", () => {
    const text = synthProblems((testStack) => {
      const alb = build(testStack);
      const cloudfront = { label: "cloudfront", prefixListId: "pl-22a6434b", weight: 55 };
      alb.securityGroup.allowFrom(cloudfront, { protocol: "tcp", from: 80, to: 80, label: "80" }, "HTTP");
    }).join("\n");
    expect(text).toContain("inbound rules of security group urr-prod-alb: given 110; allowed: at most 60");
  });
});
