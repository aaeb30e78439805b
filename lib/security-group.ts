import { SecurityGroup as AwsSecurityGroup } from "@cdktf/provider-aws/lib/security-group";
import { VpcSecurityGroupEgressRule } from "@cdktf/provider-aws/lib/vpc-security-group-egress-rule";
import { VpcSecurityGroupIngressRule } from "@cdktf/provider-aws/lib/vpc-security-group-ingress-rule";
import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import { physicalName } from "./naming";
import { problem } from "./rules";

/** Rules that one security group may hold per direction. Source: Amazon VPC quotas, "Inbound or outbound rules per security group". */
const MAX_RULES_PER_DIRECTION = 60;
/** Descriptions of groups and rules; an apostrophe is not among them. Source: Amazon EC2 API, SecurityGroupRuleRequest. */
const DESCRIPTION = /^[A-Za-z0-9 ._:/()#,@[\]+=&;{}!$*-]{1,255}$/;

/** A range of ports of one protocol. */
export interface Port {
  readonly protocol: "tcp" | "udp" | "-1";
  readonly from: number;
  readonly to: number;
  /** Part of the rule's Terraform name: `5432`, `1025_65535`, `all`. */
  readonly label: string;
}

/** One TCP port. */
export function tcp(port: number): Port {
  return { protocol: "tcp", from: port, to: port, label: `${port}` };
}

/** A range of TCP ports, both ends included. */
export function tcpRange(from: number, to: number): Port {
  return { protocol: "tcp", from, to, label: `${from}_${to}` };
}

/** One UDP port. */
export function udp(port: number): Port {
  return { protocol: "udp", from: port, to: port, label: `udp_${port}` };
}

/** Every protocol and port. */
export function allTraffic(): Port {
  return { protocol: "-1", from: -1, to: -1, label: "all" };
}

/** Addresses outside any security group of ours. */
export interface AddressPeer {
  /** Part of the rule's Terraform name, in snake case: `internet`, `vpc`. */
  readonly label: string;
  readonly cidrBlock?: string;
  readonly prefixListId?: string;
  /** Rules that the peer counts for in AWS's quota: a prefix list counts its maximum number of entries. @default 1 */
  readonly weight?: number;
}

/** The whole IPv4 internet. */
export const INTERNET: AddressPeer = { label: "internet", cidrBlock: "0.0.0.0/0" };

/** One side of a connection. */
export type Peer = SecurityGroup | AddressPeer;

/** Something that stands behind a security group. */
export interface Connectable {
  readonly securityGroup: SecurityGroup;
}

/** Properties of {@link SecurityGroup}. */
export interface SecurityGroupProps {
  /** Replacing it destroys the group. */
  readonly name: string;
  /** Replacing it destroys the group. */
  readonly description: string;
  readonly vpcId: string;
  /** Name by which rules of other groups call this one, in snake case: `eks_nodes`, `rds_proxy`. */
  readonly label: string;
  /** Tags beside its name, such as those by which controllers find the group. */
  readonly tags?: Readonly<Record<string, string>>;
}

/**
 * A security group that starts empty: AWS's default "allow all egress" is removed by Terraform, and each connection is a
 * pair of rule resources with a description, one on either side, so that a plan shows who may newly reach whom.
 * Makes its resources in the given scope: `aws_security_group.<id>`, `aws_vpc_security_group_ingress_rule.<id>_from_<peer>_<port>`
 * and `aws_vpc_security_group_egress_rule.<id>_to_<peer>_<port>`.
 */
export class SecurityGroup {
  readonly securityGroupId: string;
  readonly label: string;
  /** The rules so far: name them in `dependsOn` where something fails at creation without its connections. */
  readonly rules: ITerraformDependable[] = [];
  private readonly descriptions: string[] = [];
  private ingressWeight = 0;
  private egressWeight = 0;

  constructor(
    private readonly scope: Construct,
    private readonly id: string,
    props: SecurityGroupProps,
  ) {
    const group = new AwsSecurityGroup(scope, `security_group.${id}`, {
      name: physicalName(scope, "security group", props.name),
      description: props.description,
      vpcId: props.vpcId,
      tags: { Name: props.name, ...props.tags },
      lifecycle: { createBeforeDestroy: false },
    });
    this.securityGroupId = group.id;
    this.label = props.label;
    this.descriptions.push(props.description);
    scope.node.addValidation({
      validate: () => [
        ...descriptionProblems(props.name, this.descriptions),
        ...quotaProblems(`inbound rules of security group ${props.name}`, this.ingressWeight),
        ...quotaProblems(`outbound rules of security group ${props.name}`, this.egressWeight),
      ],
    });
  }

  /** Lets `peer` open connections to this group: an ingress rule here and, where the peer is a group, an egress rule there. */
  allowFrom(peer: Peer, port: Port, description: string): void {
    this.addIngress(peer, port, description);
    if (peer instanceof SecurityGroup) peer.addEgress(this, port, description);
  }

  /** Lets this group open connections to `peer`: an egress rule here and, where the peer is a group, an ingress rule there. */
  allowTo(peer: Peer, port: Port, description: string): void {
    this.addEgress(peer, port, description);
    if (peer instanceof SecurityGroup) peer.addIngress(this, port, description);
  }

  private addIngress(peer: Peer, port: Port, description: string): void {
    this.ingressWeight += weightOf(peer);
    this.descriptions.push(description);
    const label = peer === this ? "self" : peer.label;
    this.rules.push(
      new VpcSecurityGroupIngressRule(
        this.scope,
        `vpc_security_group_ingress_rule.${this.id}_from_${label}_${port.label}`,
        { securityGroupId: this.securityGroupId, description, ...portRange(port), ...peerReference(peer) },
      ),
    );
  }

  private addEgress(peer: Peer, port: Port, description: string): void {
    this.egressWeight += weightOf(peer);
    this.descriptions.push(description);
    const label = peer === this ? "self" : peer.label;
    this.rules.push(
      new VpcSecurityGroupEgressRule(
        this.scope,
        `vpc_security_group_egress_rule.${this.id}_to_${label}_${port.label}`,
        { securityGroupId: this.securityGroupId, description, ...portRange(port), ...peerReference(peer) },
      ),
    );
  }
}

function portRange({ protocol, from, to }: Port): { ipProtocol: string; fromPort?: number; toPort?: number } {
  return protocol === "-1" ? { ipProtocol: protocol } : { ipProtocol: protocol, fromPort: from, toPort: to };
}

function peerReference(peer: Peer): { referencedSecurityGroupId?: string; cidrIpv4?: string; prefixListId?: string } {
  if (peer instanceof SecurityGroup) return { referencedSecurityGroupId: peer.securityGroupId };
  if (peer.prefixListId !== undefined) return { prefixListId: peer.prefixListId };
  if (peer.cidrBlock !== undefined) return { cidrIpv4: peer.cidrBlock };
  throw new Error(`peer ${peer.label}: give cidrBlock or prefixListId`);
}

function weightOf(peer: Peer): number {
  return peer instanceof SecurityGroup ? 1 : (peer.weight ?? 1);
}

/** What EC2 would refuse at apply, and no plan shows. */
function descriptionProblems(name: string, descriptions: readonly string[]): string[] {
  return descriptions
    .filter((description) => !DESCRIPTION.test(description))
    .map((description) =>
      problem(
        `description in security group ${name}`,
        description,
        "1 to 255 letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*",
        "Write it without apostrophes and quotation marks.",
      ),
    );
}

function quotaProblems(what: string, weight: number): string[] {
  if (weight <= MAX_RULES_PER_DIRECTION) return [];
  return [
    problem(
      what,
      weight,
      `at most ${MAX_RULES_PER_DIRECTION}, a prefix list counting its maximum number of entries`,
      "Open fewer ports to the prefix list, or use a second security group.",
    ),
  ];
}
