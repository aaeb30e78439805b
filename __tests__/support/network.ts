import { expect } from "vitest";
import type { Json, Resource, TerraformStack } from "./terraform";

/**
 * One end of a connection: a resource that stands in security groups, a CIDR block, or `cloudfront` (Amazon's list of
 * the addresses from which CloudFront calls origins).
 */
export type Endpoint = Resource | "cloudfront" | `${number}.${number}.${number}.${number}/${number}`;

/** A rule of a security group, wherever it was written. */
export interface SecurityGroupRule {
  /** Address of the group, with `#cluster` behind it for the group that EKS makes for a cluster. */
  readonly group: string;
  readonly direction: "ingress" | "egress";
  readonly protocol: string;
  readonly fromPort: number;
  readonly toPort: number;
  readonly peerGroup?: string;
  readonly peerCidr?: string;
  readonly peerPrefixList?: string;
  readonly description: string;
}

/** Id of `com.amazonaws.global.cloudfront.origin-facing` in ap-northeast-2. Source: Amazon VPC, "AWS-managed prefix lists". */
const CLOUDFRONT_PREFIX_LIST = "pl-22a6434b";

/** Where resources name the security groups in which they stand. */
const GROUP_PATHS = [
  "vpc_security_group_ids",
  "security_group_ids",
  "security_groups",
  "vpc_config.security_group_ids",
  "broker_node_group_info.security_groups",
  "network_interfaces.security_groups",
  "network_configuration.security_groups",
];

/** Where resources name the subnets in which they stand. */
const SUBNET_PATHS = [
  "subnet_ids",
  "subnets",
  "vpc_subnet_ids",
  "vpc_config.subnet_ids",
  "broker_node_group_info.client_subnets",
];

/** Fails unless every rule on the way admits a connection from one end to the other. */
export function expectReachable(
  stack: TerraformStack,
  from: Endpoint,
  to: Resource,
  port: number,
  protocol: "tcp" | "udp" = "tcp",
): void {
  const why = obstacles(stack, from, to, port, protocol);
  expect(why, `${nameOf(from)} must reach ${to.address} on ${protocol} ${port}`).toEqual([]);
}

/** Fails if the rules admit a connection from one end to the other. */
export function expectUnreachable(
  stack: TerraformStack,
  from: Endpoint,
  to: Resource,
  port: number,
  protocol: "tcp" | "udp" = "tcp",
): void {
  const why = obstacles(stack, from, to, port, protocol);
  expect(why, `${nameOf(from)} must not reach ${to.address} on ${protocol} ${port}`).not.toEqual([]);
}

/** Whether the rules on both sides admit a connection. */
export function isReachable(
  stack: TerraformStack,
  from: Endpoint,
  to: Resource,
  port: number,
  protocol: "tcp" | "udp" = "tcp",
): boolean {
  return obstacles(stack, from, to, port, protocol).length === 0;
}

/** Everyone who is admitted to a resource: `tcp 5432 from module.eks.aws_eks_cluster.main#cluster`, sorted, each once. */
export function admissions(stack: TerraformStack, to: Resource): string[] {
  const groups = new Set(securityGroupsOf(stack, to));
  const lines = securityGroupRules(stack)
    .filter((rule) => rule.direction === "ingress" && groups.has(rule.group))
    .map((rule) => `${portsOf(rule)} from ${rule.peerGroup ?? rule.peerCidr ?? rule.peerPrefixList}`);
  return [...new Set(lines)].sort();
}

/** Addresses of the security groups in which a resource stands, sorted. */
export function securityGroupsOf(stack: TerraformStack, resource: Resource): string[] {
  if (resource.type === "aws_eks_node_group") return nodeGroupSecurityGroups(stack, resource);
  const groups = GROUP_PATHS.flatMap((path) => groupsIn(stack, stack.resolve(resource, path)));
  // The default group of a cluster is put on its control plane by EKS itself.
  if (resource.type === "aws_eks_cluster") groups.push(`${resource.address}#cluster`);
  return [...new Set(groups)].sort();
}

/** All rules of all groups: rule resources, rules inside a group, and the ones that EKS puts on its own group. */
export function securityGroupRules(stack: TerraformStack): readonly SecurityGroupRule[] {
  const rules = RULES_OF_STACKS.get(stack) ?? readRules(stack);
  RULES_OF_STACKS.set(stack, rules);
  return rules;
}

const RULES_OF_STACKS = new WeakMap<TerraformStack, readonly SecurityGroupRule[]>();

function readRules(stack: TerraformStack): SecurityGroupRule[] {
  return stack.resources.flatMap((resource): SecurityGroupRule[] => {
    switch (resource.type) {
      case "aws_vpc_security_group_ingress_rule":
        return [separateRule(stack, resource, "ingress")];
      case "aws_vpc_security_group_egress_rule":
        return [separateRule(stack, resource, "egress")];
      case "aws_security_group_rule":
        return olderRules(stack, resource);
      case "aws_security_group":
        return [...inlineRules(stack, resource, "ingress"), ...inlineRules(stack, resource, "egress")];
      case "aws_eks_cluster":
        return clusterGroupRules(`${resource.address}#cluster`);
      default:
        return [];
    }
  });
}

function obstacles(
  stack: TerraformStack,
  from: Endpoint,
  to: Resource,
  port: number,
  protocol: "tcp" | "udp",
): string[] {
  const rules = securityGroupRules(stack).filter((rule) => coversPort(rule, port, protocol));
  const toGroups = groupsOrThrow(stack, to);
  const fromGroups = typeof from === "string" ? [] : groupsOrThrow(stack, from);
  const ingress = rules.filter((rule) => rule.direction === "ingress" && toGroups.includes(rule.group));
  const egress = rules.filter((rule) => rule.direction === "egress" && fromGroups.includes(rule.group));
  const problems: string[] = [];
  if (!ingress.some((rule) => isPeer(stack, rule, from, fromGroups))) {
    problems.push(`no ingress rule of ${toGroups.join(", ")} admits ${nameOf(from)} on ${protocol} ${port}`);
  }
  if (typeof from !== "string" && !egress.some((rule) => isPeer(stack, rule, to, toGroups))) {
    problems.push(`no egress rule of ${fromGroups.join(", ")} lets it out to ${to.address} on ${protocol} ${port}`);
  }
  return problems;
}

function isPeer(stack: TerraformStack, rule: SecurityGroupRule, peer: Endpoint, groups: readonly string[]): boolean {
  if (rule.peerGroup !== undefined) return groups.includes(rule.peerGroup);
  if (rule.peerPrefixList !== undefined) return peer === "cloudfront" && isCloudFront(rule.peerPrefixList);
  if (rule.peerCidr === undefined) return false;
  if (rule.peerCidr === "0.0.0.0/0") return true;
  if (peer === "cloudfront") return false;
  const blocks = typeof peer === "string" ? [peer] : subnetBlocks(stack, peer);
  const within = rule.peerCidr;
  return blocks.length > 0 && blocks.every((block) => contains(within, block));
}

function isCloudFront(prefixList: string): boolean {
  return prefixList === CLOUDFRONT_PREFIX_LIST || /cloudfront/i.test(prefixList);
}

/** CIDR blocks of the subnets in which a resource stands. */
function subnetBlocks(stack: TerraformStack, resource: Resource): string[] {
  const subnets = SUBNET_PATHS.flatMap((path) => stack.referred(resource, path)).flatMap((referred) =>
    referred.type.endsWith("_subnet_group") ? stack.referred(referred, "subnet_ids") : [referred],
  );
  const throughGroup = ["db_subnet_group_name", "subnet_group_name"]
    .flatMap((path) => stack.referred(resource, path))
    .flatMap((group) => stack.referred(group, "subnet_ids"));
  return [...subnets, ...throughGroup]
    .filter(({ type }) => type === "aws_subnet")
    .map((subnet) => String(stack.literal(subnet, "cidr_block")));
}

function nodeGroupSecurityGroups(stack: TerraformStack, nodeGroup: Resource): string[] {
  const fromTemplate = stack
    .referred(nodeGroup, "launch_template.id")
    .flatMap((template) => securityGroupsOf(stack, template));
  if (fromTemplate.length > 0) return fromTemplate;
  // Without groups in a launch template, EKS puts its own group of the cluster on the nodes, and no other.
  const clusters = stack.find({ type: "aws_eks_cluster" });
  const [cluster] = stack.referred(nodeGroup, "cluster_name").filter(({ type }) => type === "aws_eks_cluster");
  const owner = cluster ?? clusters.find((candidate) => sameName(stack, candidate, nodeGroup));
  return owner ? [`${owner.address}#cluster`] : [];
}

function sameName(stack: TerraformStack, cluster: Resource, nodeGroup: Resource): boolean {
  return stack.resolve(cluster, "name") === stack.resolve(nodeGroup, "cluster_name");
}

function groupsOrThrow(stack: TerraformStack, resource: Resource): string[] {
  const groups = securityGroupsOf(stack, resource);
  if (groups.length === 0) throw new Error(`${resource.address} names no security group`);
  return groups;
}

/** Security groups in a resolved value: `module.x.aws_security_group.y.id`, or a cluster's own group. */
function groupsIn(stack: TerraformStack, value: Json | undefined): string[] {
  const items: readonly Json[] = Array.isArray(value) ? value.flat() : value === undefined ? [] : [value as Json];
  return items.flatMap((item) => {
    const text = String(item);
    const [address] = stack.addressesIn(`\${${text.replace(/^\$\{|\}$/g, "")}}`);
    if (address === undefined) return [];
    return [text.includes("cluster_security_group_id") ? `${address}#cluster` : address];
  });
}

function separateRule(
  stack: TerraformStack,
  resource: Resource,
  direction: SecurityGroupRule["direction"],
): SecurityGroupRule {
  const protocol = String(stack.resolve(resource, "ip_protocol"));
  const [group = "?"] = groupsIn(stack, stack.resolve(resource, "security_group_id"));
  const [peerGroup] = groupsIn(stack, stack.resolve(resource, "referenced_security_group_id"));
  return {
    group,
    direction,
    ...ports(protocol, stack.resolve(resource, "from_port"), stack.resolve(resource, "to_port")),
    ...peer(peerGroup, stack.literal(resource, "cidr_ipv4"), stack.resolve(resource, "prefix_list_id")),
    description: String(stack.resolve(resource, "description") ?? ""),
  };
}

function olderRules(stack: TerraformStack, resource: Resource): SecurityGroupRule[] {
  const [group = "?"] = groupsIn(stack, stack.resolve(resource, "security_group_id"));
  const isSelf = stack.resolve(resource, "self") === true;
  const peers = [
    ...groupsIn(stack, stack.resolve(resource, "source_security_group_id")).map((id) => peer(id)),
    ...(isSelf ? [peer(group)] : []),
    ...list(stack.literal(resource, "cidr_blocks")).map((cidr) => peer(undefined, cidr)),
    ...list(stack.resolve(resource, "prefix_list_ids")).map((id) => peer(undefined, undefined, id)),
  ];
  return peers.map((one) => ({
    group,
    direction: stack.resolve(resource, "type") === "egress" ? "egress" : "ingress",
    ...ports(
      String(stack.resolve(resource, "protocol")),
      stack.resolve(resource, "from_port"),
      stack.resolve(resource, "to_port"),
    ),
    ...one,
    description: String(stack.resolve(resource, "description") ?? ""),
  }));
}

function inlineRules(
  stack: TerraformStack,
  group: Resource,
  direction: SecurityGroupRule["direction"],
): SecurityGroupRule[] {
  const blocks = list(stack.arguments(group)[direction]) as readonly Readonly<Record<string, Json>>[];
  return blocks.flatMap((block) => {
    const peers = [
      ...groupsIn(stack, block.security_groups).map((id) => peer(id)),
      ...(block.self === true ? [peer(group.address)] : []),
      ...list(stack.fill(block.cidr_blocks ?? null)).map((cidr) => peer(undefined, cidr)),
      ...list(block.prefix_list_ids).map((id) => peer(undefined, undefined, id)),
    ];
    return peers.map((one) => ({
      group: group.address,
      direction,
      ...ports(String(block.protocol), block.from_port, block.to_port),
      ...one,
      description: String(block.description ?? ""),
    }));
  });
}

/** What EKS puts on the group that it makes for a cluster. Source: Amazon EKS, "View Amazon EKS security group requirements". */
function clusterGroupRules(group: string): SecurityGroupRule[] {
  const everything = { group, ...ports("-1", undefined, undefined), description: "made by EKS" };
  return [
    { ...everything, direction: "ingress", peerGroup: group },
    { ...everything, direction: "egress", peerCidr: "0.0.0.0/0" },
  ];
}

function ports(
  protocol: string,
  from: Json | undefined,
  to: Json | undefined,
): Pick<SecurityGroupRule, "protocol" | "fromPort" | "toPort"> {
  if (protocol === "-1" || protocol === "all") return { protocol: "-1", fromPort: 0, toPort: 65535 };
  return { protocol, fromPort: Number(from), toPort: Number(to) };
}

function peer(
  group: string | undefined,
  cidr?: Json,
  prefixList?: Json,
): Pick<SecurityGroupRule, "peerGroup" | "peerCidr" | "peerPrefixList"> {
  if (group !== undefined) return { peerGroup: group };
  if (cidr !== undefined && cidr !== null) return { peerCidr: String(cidr) };
  return prefixList === undefined || prefixList === null ? {} : { peerPrefixList: String(prefixList) };
}

function list(value: Json | undefined): readonly Json[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value as Json];
}

function coversPort(rule: SecurityGroupRule, port: number, protocol: string): boolean {
  if (rule.protocol !== "-1" && rule.protocol !== protocol) return false;
  return rule.fromPort <= port && port <= rule.toPort;
}

function portsOf({ protocol, fromPort, toPort }: SecurityGroupRule): string {
  if (protocol === "-1") return "everything";
  return fromPort === toPort ? `${protocol} ${fromPort}` : `${protocol} ${fromPort}-${toPort}`;
}

function nameOf(endpoint: Endpoint): string {
  return typeof endpoint === "string" ? endpoint : endpoint.address;
}

/** Whether one CIDR block holds another. */
export function contains(outer: string, innerBlock: string): boolean {
  const [outerStart, outerBits] = block(outer);
  const [innerStart, innerBits] = block(innerBlock);
  const size = 2 ** (32 - outerBits);
  return outerBits <= innerBits && Math.floor(outerStart / size) === Math.floor(innerStart / size);
}

function block(cidr: string): [start: number, bits: number] {
  const [address = "", bits] = cidr.split("/");
  const start = address.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);
  if (Number.isNaN(start) || bits === undefined) return [Number.NaN, 33];
  return [start, Number(bits)];
}
