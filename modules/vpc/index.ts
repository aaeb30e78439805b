import { DefaultSecurityGroup } from "@cdktf/provider-aws/lib/default-security-group";
import { Eip } from "@cdktf/provider-aws/lib/eip";
import { FlowLog } from "@cdktf/provider-aws/lib/flow-log";
import { InternetGateway } from "@cdktf/provider-aws/lib/internet-gateway";
import { NatGateway } from "@cdktf/provider-aws/lib/nat-gateway";
import { Route } from "@cdktf/provider-aws/lib/route";
import { RouteTable } from "@cdktf/provider-aws/lib/route-table";
import { RouteTableAssociation } from "@cdktf/provider-aws/lib/route-table-association";
import { Subnet } from "@cdktf/provider-aws/lib/subnet";
import { Vpc as AwsVpc } from "@cdktf/provider-aws/lib/vpc";
import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import { parseCidr, subnet } from "../../lib/cidr";
import { Role } from "../../lib/iam";
import type { EncryptionKey } from "../../lib/kms";
import { createLogGroup } from "../../lib/log-group";
import { physicalName } from "../../lib/naming";
import { enforce, type Rule } from "../../lib/rules";
import { type AddressPeer, INTERNET } from "../../lib/security-group";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link Vpc}. */
export interface VpcProps {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
  /** IPv4 block of the VPC, a /16. Replacing it destroys the whole network. Source: Infra analysis §2-1. */
  readonly vpcCidr: string;
  /** Availability zones, in the order in which their subnets are numbered. Source: AWS architecture §1.1 (2a, 2c). */
  readonly availabilityZones: readonly string[];
  /** One NAT gateway per availability zone, or a single one for all. @default "per-az" (Infra analysis §2-1) */
  readonly natGateways?: "per-az" | "single";
  /** Cluster whose load balancers and Karpenter nodes find their subnets by tag. */
  readonly clusterName: string;
}

/** Where a subnet's traffic to the internet goes. */
type Egress = "internet gateway" | "nat gateway" | "none";

/** The subnets of one tier, one per availability zone, in the order of the zones. */
export interface SubnetTier {
  readonly subnetIds: readonly string[];
  readonly cidrBlocks: readonly string[];
  /** The tier's blocks as peers of security-group rules. */
  readonly peers: readonly AddressPeer[];
}

/** Names of the five tiers. Source: Infra analysis §2-1, "서브넷 설계 (5-티어)". */
export type TierName = "public" | "app" | "db" | "cache" | "streaming";

/** First /24 of each tier within the VPC's block, and its way out. Source: Infra analysis §2-1. */
const TIERS: Readonly<Record<TierName, { readonly offset: number; readonly egress: Egress }>> = {
  public: { offset: 0, egress: "internet gateway" },
  app: { offset: 10, egress: "nat gateway" },
  db: { offset: 20, egress: "none" },
  cache: { offset: 30, egress: "none" },
  streaming: { offset: 40, egress: "nat gateway" },
};

const SUBNET_PREFIX_LENGTH = 24;
const VPC_PREFIX_LENGTH = 16;
/** Tiers lie ten /24 blocks apart, so an eleventh zone would run into the next tier. */
const MAX_ZONES = 10;

const RULES: readonly Rule<VpcProps>[] = [
  {
    property: "availabilityZones",
    given: ({ availabilityZones }) => availabilityZones,
    valid: ({ availabilityZones }) => availabilityZones.length >= 2 && availabilityZones.length <= MAX_ZONES,
    allowed: `2 to ${MAX_ZONES} zones`,
    remedy: "RDS, EKS and the load balancer each need subnets in two zones.",
  },
  {
    property: "vpcCidr",
    given: ({ vpcCidr }) => vpcCidr,
    valid: ({ vpcCidr }) => parseCidr(vpcCidr).prefixLength === VPC_PREFIX_LENGTH,
    allowed: `a /${VPC_PREFIX_LENGTH} block`,
    remedy: "The tiers are numbered as /24 blocks 0 to 49 of a /16.",
  },
];

/**
 * The network: one VPC, five tiers of subnets in each availability zone, an internet gateway, NAT gateways and route
 * tables. The db and cache tiers share one route table without a route out.
 * Source: Infra analysis §2-1, AWS architecture §1, Architecture guide §5.
 */
export class Vpc extends Module {
  readonly vpcId: string;
  readonly vpcCidr: string;
  readonly availabilityZones: readonly string[];
  /** The five tiers by name. */
  readonly tiers: Readonly<Record<TierName, SubnetTier>>;
  /** Every route table, for gateway endpoints. */
  readonly routeTableIds: readonly string[];
  /** Public addresses of the NAT gateways. */
  readonly natPublicIps: readonly string[];
  /** The VPC's block as a peer of security-group rules. */
  readonly peer: AddressPeer;
  /** Routes and associations that a machine in the app and streaming tiers needs to reach the internet: Terraform cannot see that. */
  readonly egressDependables: readonly ITerraformDependable[];

  private readonly props: VpcProps;

  constructor(scope: Construct, id: string, props: VpcProps) {
    super(scope, id);
    this.props = props;
    enforce(this, props, RULES);

    const vpc = this.createVpc();
    const internetGateway = new InternetGateway(this, "internet_gateway.main", {
      vpcId: vpc.id,
      tags: { Name: `${props.prefix}-igw` },
    });
    const subnets = this.createSubnets(vpc.id);
    const natGateways = this.createNatGateways(subnets.public, internetGateway);
    const routing = this.createRouteTables(vpc.id, subnets, internetGateway, natGateways);
    new DefaultSecurityGroup(this, "default_security_group.main", {
      vpcId: vpc.id,
      tags: { Name: `${props.prefix}-default-closed` },
    });

    this.vpcId = vpc.id;
    this.vpcCidr = props.vpcCidr;
    this.availabilityZones = props.availabilityZones;
    this.tiers = mapTiers((tier) => this.describeTier(tier, subnets[tier]));
    this.routeTableIds = routing.routeTableIds;
    this.natPublicIps = natGateways.map((gateway) => gateway.publicIp);
    this.peer = { label: "vpc", cidrBlock: props.vpcCidr };
    this.egressDependables = routing.egress;
  }

  /** Records accepted and refused connections for a year, encrypted with the environment's key. */
  logFlows(key: EncryptionKey): void {
    const { prefix } = this.props;
    const logGroup = createLogGroup(this, "flow_logs", { name: `/aws/vpc/${prefix}/flow-logs`, key });
    const role = new Role(this, "flow_logs", {
      name: `${prefix}-vpc-flow-logs`,
      description: `Lets the flow logs of ${prefix} write to their log group`,
      assumedByServices: ["vpc-flow-logs.amazonaws.com"],
    });
    role.addStatement({
      sid: "WriteFlowLogs",
      actions: ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
      resources: [`${logGroup.arn}:*`],
    });
    new FlowLog(this, "flow_log.main", {
      vpcId: this.vpcId,
      trafficType: "ALL",
      logDestination: logGroup.arn,
      iamRoleArn: role.roleArn,
      tags: { Name: `${prefix}-flow-logs` },
    });
  }

  private createVpc(): AwsVpc {
    return new AwsVpc(this, "vpc.main", {
      cidrBlock: this.props.vpcCidr,
      enableDnsHostnames: true,
      enableDnsSupport: true,
      tags: { Name: physicalName(this, "vpc", `${this.props.prefix}-vpc`) },
    });
  }

  private createSubnets(vpcId: string): Record<TierName, Subnet[]> {
    const { availabilityZones, prefix, vpcCidr } = this.props;
    return mapTiers((tier) =>
      availabilityZones.map(
        (availabilityZone, index) =>
          new Subnet(this, `subnet.${tier}_${zoneLetter(availabilityZone)}`, {
            vpcId,
            availabilityZone,
            cidrBlock: subnet(vpcCidr, SUBNET_PREFIX_LENGTH, TIERS[tier].offset + index),
            mapPublicIpOnLaunch: false,
            tags: {
              Name: `${prefix}-${tier}-${zoneLetter(availabilityZone)}`,
              Tier: tier,
              ...this.discoveryTags(tier),
            },
          }),
      ),
    );
  }

  /** Tags by which the load balancer controller and Karpenter find their subnets. */
  private discoveryTags(tier: TierName): Record<string, string> {
    const { clusterName } = this.props;
    if (tier === "public") return { "kubernetes.io/role/elb": "1", [`kubernetes.io/cluster/${clusterName}`]: "shared" };
    if (tier !== "app") return {};
    return {
      "kubernetes.io/role/internal-elb": "1",
      [`kubernetes.io/cluster/${clusterName}`]: "shared",
      "karpenter.sh/discovery": clusterName,
    };
  }

  private createNatGateways(publicSubnets: readonly Subnet[], internetGateway: InternetGateway): NatGateway[] {
    const { availabilityZones, natGateways = "per-az", prefix } = this.props;
    return publicSubnets.slice(0, natGateways === "single" ? 1 : undefined).map((publicSubnet, index) => {
      const letter = zoneLetter(availabilityZones[index] ?? "");
      const address = new Eip(this, `eip.nat_${letter}`, { domain: "vpc", tags: { Name: `${prefix}-nat-${letter}` } });
      return new NatGateway(this, `nat_gateway.${letter}`, {
        allocationId: address.id,
        subnetId: publicSubnet.id,
        tags: { Name: `${prefix}-nat-${letter}` },
        // A NAT gateway without a way out fails at creation; nothing in its arguments says so.
        dependsOn: [internetGateway],
      });
    });
  }

  private createRouteTables(
    vpcId: string,
    subnets: Readonly<Record<TierName, readonly Subnet[]>>,
    internetGateway: InternetGateway,
    natGateways: readonly NatGateway[],
  ): { routeTableIds: string[]; egress: ITerraformDependable[] } {
    const { availabilityZones, prefix } = this.props;
    const routeTableIds: string[] = [];
    const egress: ITerraformDependable[] = [];
    const table = (name: string) => {
      const routeTable = new RouteTable(this, `route_table.${name}`, {
        vpcId,
        tags: { Name: `${prefix}-${name.replaceAll("_", "-")}-rt` },
      });
      routeTableIds.push(routeTable.id);
      return routeTable;
    };
    const associate = (name: string, zone: number, routeTable: RouteTable, tier: TierName) =>
      new RouteTableAssociation(this, `route_table_association.${name}`, {
        subnetId: subnets[tier][zone]?.id ?? "",
        routeTableId: routeTable.id,
      });

    const publicTable = table("public");
    new Route(this, "route.public_internet", {
      routeTableId: publicTable.id,
      destinationCidrBlock: INTERNET.cidrBlock ?? "",
      gatewayId: internetGateway.id,
    });
    const isolatedTable = table("db");
    availabilityZones.forEach((availabilityZone, zone) => {
      const letter = zoneLetter(availabilityZone);
      associate(`public_${letter}`, zone, publicTable, "public");
      associate(`db_${letter}`, zone, isolatedTable, "db");
      associate(`cache_${letter}`, zone, isolatedTable, "cache");
      for (const tier of ["app", "streaming"] as const) {
        const routeTable = table(`${tier}_${letter}`);
        const route = new Route(this, `route.${tier}_${letter}_nat`, {
          routeTableId: routeTable.id,
          destinationCidrBlock: INTERNET.cidrBlock ?? "",
          natGatewayId: (natGateways[zone] ?? natGateways[0])?.id ?? "",
        });
        egress.push(route, associate(`${tier}_${letter}`, zone, routeTable, tier));
      }
    });
    return { routeTableIds, egress };
  }

  private describeTier(tier: TierName, subnets: readonly Subnet[]): SubnetTier {
    const cidrBlocks = this.props.availabilityZones.map((_, index) =>
      subnet(this.props.vpcCidr, SUBNET_PREFIX_LENGTH, TIERS[tier].offset + index),
    );
    return {
      subnetIds: subnets.map(({ id }) => id),
      cidrBlocks,
      peers: cidrBlocks.map((cidrBlock, index) => ({
        label: `${tier}_subnet_${zoneLetter(this.props.availabilityZones[index] ?? "")}`,
        cidrBlock,
      })),
    };
  }
}

/** `a` of `ap-northeast-2a`. */
function zoneLetter(availabilityZone: string): string {
  return availabilityZone.slice(-1);
}

function mapTiers<T>(make: (tier: TierName) => T): Record<TierName, T> {
  return {
    public: make("public"),
    app: make("app"),
    db: make("db"),
    cache: make("cache"),
    streaming: make("streaming"),
  };
}
