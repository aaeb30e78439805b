import type { JsonObject } from "../../lib/terraform-modules";

interface Behavior {
  readonly path_pattern?: string;
  readonly target_origin_id: string;
  readonly lambda_function_association?: readonly unknown[] | null;
  readonly function_association?: readonly unknown[] | null;
}

interface Distribution {
  readonly default_cache_behavior: Behavior;
  readonly ordered_cache_behavior: readonly Behavior[];
}

interface EgressRule {
  readonly security_group_id: string;
  readonly referenced_security_group_id?: string;
  readonly from_port?: number;
}

/** Nodes of the picture for the origins of the distribution. */
const ORIGINS: Readonly<Record<string, string>> = { alb: "alb_alb", s3: "s3", "vwr-api": "api_gateway" };

/** What the security groups stand for. */
const GROUPS: Readonly<Record<string, string>> = {
  alb_alb: "public load balancer",
  alb_internal: "internal load balancer",
  eks_nodes: "EKS nodes and pods",
  eks_control_plane: "EKS control plane",
  rds_proxy: "RDS proxy",
  rds_primary: "PostgreSQL",
  rds_replica: "read replica",
  elasticache_redis: "Redis",
  msk_brokers: "Kafka",
  lambda_worker_worker: "ticket worker",
};

/**
 * Production as a Mermaid flowchart: where CloudFront sends which path, and which security group may open connections to which, on
 * which ports. Read from the synthesized stack (its form without modules), so it shows what is deployed and nothing else.
 */
export function drawProduction(flat: JsonObject): string {
  const resources = flat.resource as Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  const [distribution] = Object.values(resources.aws_cloudfront_distribution ?? {}) as Distribution[];
  if (!distribution) throw new Error("the stack has no distribution to draw");
  const rules = Object.values(resources.aws_vpc_security_group_egress_rule ?? {}) as EgressRule[];
  return [
    "flowchart LR",
    '  visitor(["visitor"]) --> waf["WAF"] --> cloudfront["CloudFront"]',
    '  s3[("S3: static files, waiting page")]',
    '  api_gateway["API Gateway"] --> vwr_api["vwr-api"] --> dynamodb[("DynamoDB: counters, positions")]',
    '  advancer["vwr-counter-advancer"] --> dynamodb',
    '  eks_nodes --> sqs[("SQS FIFO")] --> lambda_worker_worker',
    ...[...distribution.ordered_cache_behavior, distribution.default_cache_behavior].map(drawBehavior),
    ...Object.entries(GROUPS).map(([id, title]) => `  ${id}["${title}"]`),
    ...drawConnections(rules),
    "",
  ].join("\n");
}

function drawBehavior({
  path_pattern,
  target_origin_id,
  lambda_function_association,
  function_association,
}: Behavior): string {
  const check = lambda_function_association?.length
    ? ", Lambda@Edge"
    : function_association?.length
      ? ", function"
      : "";
  return `  cloudfront -- "${path_pattern ?? "everything else"}${check}" --> ${ORIGINS[target_origin_id] ?? target_origin_id}`;
}

/** One arrow per pair of groups, with all its ports. */
function drawConnections(rules: readonly EgressRule[]): string[] {
  const ports = new Map<string, Set<number>>();
  for (const { security_group_id, referenced_security_group_id, from_port } of rules) {
    const [from, to] = [groupOf(security_group_id), groupOf(referenced_security_group_id)];
    if (!from || !to || from === to || from_port === undefined) continue;
    const pair = `${from} -- "PORTS" --> ${to}`;
    ports.set(pair, (ports.get(pair) ?? new Set()).add(from_port));
  }
  return [...ports].map(
    ([pair, numbers]) => `  ${pair.replace("PORTS", [...numbers].sort((a, b) => a - b).join(", "))}`,
  );
}

function groupOf(reference: string | undefined): string | undefined {
  return /^\$\{aws_security_group\.(\w+)\.id\}$/.exec(reference ?? "")?.[1];
}
