import { beforeAll, describe, expect, it } from "vitest";
import { isAllowed, resourcePolicyOf, statementsOfRole } from "../support/access";
import { expectReachable, type SecurityGroupRule, securityGroupRules } from "../support/network";
import { loadStack, type Resource, type TerraformStack } from "../support/terraform";

const ENVIRONMENTS = ["prod", "staging"] as const;
const stacks = {} as Record<(typeof ENVIRONMENTS)[number], TerraformStack>;
beforeAll(async () => {
  for (const name of ENVIRONMENTS) stacks[name] = await loadStack(name);
});

/** Group or address range of one end of a rule, without its module. */
function nameOf(end: string | undefined): string {
  return (end ?? "").replace(/^module\.\w+\.aws_(security_group|ec2_managed_prefix_list)\./, "").replace(/\.id$/, "");
}

/** `client > server:port` of every rule of a direction, each once, sorted. */
function connections(stack: TerraformStack, direction: SecurityGroupRule["direction"]): string[] {
  const lines = securityGroupRules(stack)
    // The group that EKS makes for the cluster itself stands on nothing else.
    .filter((rule) => rule.direction === direction && !rule.group.endsWith("#cluster"))
    .map(({ fromPort, group, peerCidr, peerGroup, peerPrefixList, protocol, toPort }) => {
      const [own, peer] = [nameOf(group), nameOf(peerGroup ?? peerCidr ?? peerPrefixList)];
      const ports = protocol === "-1" ? "all" : fromPort === toPort ? fromPort : `${fromPort}-${toPort}`;
      return direction === "ingress" ? `${peer} > ${own}:${ports}` : `${own} > ${peer}:${ports}`;
    });
  return [...new Set(lines)].sort();
}

/** AWS architecture §6.3, with the ports as settled in docs/deviations.md; both ends of each have a rule. */
const BETWEEN_GROUPS = [
  "alb > nodes:3000",
  "alb > nodes:3001",
  "brokers > brokers:2181",
  "control_plane > nodes:10250",
  "control_plane > nodes:443",
  "control_plane > nodes:9443",
  "internal > nodes:3002",
  "nodes > brokers:9098",
  "nodes > control_plane:443",
  "nodes > nodes:all",
  "nodes > proxy:5432",
  "nodes > redis:6379",
  "proxy > primary:5432",
  "worker > brokers:9098",
  "worker > internal:3002",
  "worker > proxy:5432",
  "worker > redis:6379",
];
const IN_ITS_OWN_WAY = {
  prod: {
    groups: ["nodes > replica:5432"],
    inbound: ["10.0.0.0/16 > endpoints:443", "var.cloudfront_prefix_list_id > alb:443"],
  },
  staging: { groups: [], inbound: ["10.1.0.0/16 > endpoints:443", "allowed > alb:443", "allowed > alb:80"] },
} as const;

/** Topics of each service. Architecture guide §7.3 to §7.5, §8.3. */
const TOPICS = ["payment-events", "reservation-events", "transfer-events", "membership-events"];
const PUBLISHES: Readonly<Record<string, readonly string[]>> = {
  queue_service: [],
  ticket_service: ["reservation-events", "transfer-events", "membership-events"],
  payment_service: ["payment-events"],
  stats_service: TOPICS.map((topic) => `${topic}.DLT`),
};
const CONSUMES: Readonly<Record<string, readonly string[]>> = {
  queue_service: [],
  ticket_service: ["payment-events"],
  payment_service: [],
  stats_service: TOPICS,
};

describe.each(ENVIRONMENTS)("the modules of %s", (name) => {
  const own = IN_ITS_OWN_WAY[name];

  it("let exactly the documented connections in, and out on the other side", () => {
    const stack = stacks[name];
    const groups = [...BETWEEN_GROUPS, ...own.groups];
    expect(connections(stack, "ingress")).toEqual([...groups, ...own.inbound].sort());
    expect(connections(stack, "egress")).toEqual([...groups, "nodes > 0.0.0.0/0:443", "worker > 0.0.0.0/0:443"].sort());
  });

  it("lead the worker to ticket-service by the internal load balancer, whose name resolves in the VPC", () => {
    const stack = stacks[name];
    const worker = stack.one({ module: "lambda-worker", type: "aws_lambda_function" });
    const record = stack.one({ module: "alb", type: "aws_route53_record" });
    const internal = stack.at("module.alb.aws_lb.internal");
    expect(stack.resolve(worker, "environment.variables.TICKET_SERVICE_URL")).toBe(
      `coalesce(var.ticket_service_url, 'http://${String(stack.resolve(record, "name"))}:3002')`,
    );
    expect(stack.references(record, "alias.name")).toEqual([internal.address]);
    expect(stack.references(stack.at("module.alb.aws_route53_zone.internal"), "vpc.vpc_id")).toEqual([
      "module.vpc.aws_vpc.main",
    ]);
    expectReachable(stack, worker, internal, 3002);
  });

  it("give the worker the proxy, Redis and Kafka of its own environment", () => {
    const stack = stacks[name];
    const worker = stack.one({ module: "lambda-worker", type: "aws_lambda_function" });
    const referred = ["DB_PROXY_ENDPOINT", "REDIS_ENDPOINT", "KAFKA_BOOTSTRAP_SERVERS"].map((variable) =>
      stack.resolve(worker, `environment.variables.${variable}`),
    );
    expect(referred).toEqual([
      "module.rds.aws_db_proxy.main.endpoint",
      "module.elasticache.aws_elasticache_replication_group.main.primary_endpoint_address",
      "module.msk.aws_msk_cluster.main.bootstrap_brokers_sasl_iam",
    ]);
  });

  it("record the flows of the VPC", () => {
    const flows = stacks[name].one({ type: "aws_flow_log" });
    expect(stacks[name].resolve(flows, "vpc_id")).toBe("module.vpc.aws_vpc.main.id");
    expect(stacks[name].resolve(flows, "traffic_type")).toBe("ALL");
  });

  it.each(Object.keys(PUBLISHES))("let %s use its own topics, and no other", (service) => {
    const stack = stacks[name];
    const statements = statementsOfRole(stack, stack.at(`module.eks.aws_iam_role.${service}`));
    const usable = (action: string) =>
      [...TOPICS, ...TOPICS.map((topic) => `${topic}.DLT`)].filter((topic) =>
        isAllowed(stack, statements, action, `arn:aws:kafka:ap-northeast-2:acct:topic/urr-${name}-kafka/uuid/${topic}`),
      );
    expect(usable("kafka-cluster:WriteData").sort()).toEqual([...(PUBLISHES[service] ?? [])].sort());
    expect(usable("kafka-cluster:ReadData").sort()).toEqual([...(CONSUMES[service] ?? [])].sort());
  });

  it("let queue-service alone send ticket events, and the worker alone receive them", () => {
    const stack = stacks[name];
    const queue = stack.at("module.sqs.aws_sqs_queue.main");
    const roles = stack.find({ type: "aws_iam_role" });
    const may = (action: string) =>
      roles
        .filter((role) => isAllowed(stack, statementsOfRole(stack, role), action, queue))
        .map(({ address }) => address);
    expect(may("sqs:SendMessage")).toEqual(["module.eks.aws_iam_role.queue_service"]);
    expect(may("sqs:ReceiveMessage")).toEqual(["module.iam.aws_iam_role.lambda_worker"]);
    const admitted = resourcePolicyOf(stack, queue).filter(({ effect }) => effect === "Allow");
    expect(admitted.map(({ principals }) => stack.addressesIn(principals.join()))).toEqual([
      ["module.eks.aws_iam_role.queue_service"],
      ["module.iam.aws_iam_role.lambda_worker"],
    ]);
  });
});

describe("what stands behind CloudFront", () => {
  const ORIGIN_SECRET = "module.secrets.random_password.origin_header.result";
  const distribution = () => stacks.prod.one({ type: "aws_cloudfront_distribution" });
  const headerOf = (origin: string) => {
    const origins = stacks.prod.arguments(distribution()).origin as readonly {
      readonly origin_id: string;
      readonly custom_header: readonly { readonly name: string; readonly value: string }[];
    }[];
    const header = origins.find(({ origin_id }) => origin_id === origin)?.custom_header;
    return [header].flat(2).map((each) => [each?.name, each?.value]);
  };

  it("gets its own certificate, and the load balancer the one of its Region", () => {
    expect(stacks.prod.resolve(distribution(), "viewer_certificate.acm_certificate_arn")).toBe(
      "var.cloudfront_certificate_arn",
    );
    for (const name of ENVIRONMENTS) {
      expect(stacks[name].resolve(stacks[name].at("module.alb.aws_lb_listener.https"), "certificate_arn")).toBe(
        "var.alb_certificate_arn",
      );
    }
  });

  it("is a load balancer that forwards only with the secret which CloudFront sends it", () => {
    const { prod } = stacks;
    expect(headerOf("alb")).toEqual([["X-Custom-Header", `\${${ORIGIN_SECRET}}`]]);
    const rules: readonly Resource[] = prod.find({ type: "aws_lb_listener_rule" });
    expect(rules).toHaveLength(2);
    expect(rules.map((rule) => prod.resolve(rule, "condition.http_header.values"))).toEqual(
      rules.map(() => [ORIGIN_SECRET]),
    );
    expect(prod.resolve(prod.at("module.alb.aws_lb_listener.https"), "default_action.fixed_response.status_code")).toBe(
      "403",
    );
  });

  it("is an API that answers only with the key which CloudFront sends it", () => {
    const { prod } = stacks;
    expect(headerOf("vwr-api")).toEqual([["x-api-key", `\${${ORIGIN_SECRET}}`]]);
    expect(prod.resolve(prod.one({ type: "aws_api_gateway_api_key" }), "value")).toBe(ORIGIN_SECRET);
    const required = prod
      .find({ type: "aws_api_gateway_method" })
      .filter((method) => prod.resolve(method, "http_method") !== "OPTIONS")
      .map((method) => prod.resolve(method, "api_key_required"));
    expect(required).toEqual([true, true, true]);
  });

  it("is neither in staging, which has no CloudFront to send anything", () => {
    const { staging } = stacks;
    expect(staging.find({ type: "aws_api_gateway_api_key" })).toEqual([]);
    expect(staging.resolve(staging.at("module.alb.aws_lb_listener.https"), "default_action.type")).toBe("forward");
  });
});
