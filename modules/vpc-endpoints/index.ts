import { VpcEndpoint } from "@cdktf/provider-aws/lib/vpc-endpoint";
import type { Construct } from "constructs";
import { SecurityGroup, tcp } from "../../lib/security-group";
import { Module } from "../../lib/terraform-modules";
import type { Vpc } from "../vpc";

/** Properties of {@link VpcEndpoints}. */
export interface VpcEndpointsProps {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
  readonly region: string;
  readonly vpc: Vpc;
  /** Whether DynamoDB gets a gateway endpoint. Its tables are used from outside the VPC only. @default false (AWS architecture §1.4) */
  readonly dynamodbGateway?: boolean;
}

/** AWS services that the app tier reaches without the NAT gateways, by their Terraform name. Source: Infra analysis §2-1 "VPC Endpoints". */
const INTERFACE_SERVICES: Readonly<Record<string, string>> = {
  ec2: "ec2",
  ecr_api: "ecr.api",
  ecr_dkr: "ecr.dkr",
  eks: "eks",
  sts: "sts",
  logs: "logs",
  secretsmanager: "secretsmanager",
  elasticloadbalancing: "elasticloadbalancing",
  autoscaling: "autoscaling",
};

/**
 * Private ways to AWS services: nine interface endpoints in the app subnets behind one security group, and gateway
 * endpoints on every route table. Source: Infra analysis §2-1, AWS architecture §1.4, Architecture guide §5.4.
 */
export class VpcEndpoints extends Module {
  readonly securityGroup: SecurityGroup;

  constructor(scope: Construct, id: string, { prefix, region, vpc, dynamodbGateway = false }: VpcEndpointsProps) {
    super(scope, id);

    this.securityGroup = new SecurityGroup(this, "endpoints", {
      name: `${prefix}-vpc-endpoints`,
      description: "Interface endpoints of AWS services",
      vpcId: vpc.vpcId,
      label: "vpc_endpoints",
    });
    this.securityGroup.allowFrom(vpc.peer, tcp(443), "HTTPS from anywhere in the VPC");

    for (const [name, service] of Object.entries(INTERFACE_SERVICES)) {
      new VpcEndpoint(this, `vpc_endpoint.${name}`, {
        vpcId: vpc.vpcId,
        vpcEndpointType: "Interface",
        serviceName: `com.amazonaws.${region}.${service}`,
        subnetIds: [...vpc.tiers.app.subnetIds],
        securityGroupIds: [this.securityGroup.securityGroupId],
        privateDnsEnabled: true,
        tags: { Name: `${prefix}-${service.replaceAll(".", "-")}-endpoint` },
      });
    }
    for (const service of dynamodbGateway ? ["s3", "dynamodb"] : ["s3"]) {
      new VpcEndpoint(this, `vpc_endpoint.${service}`, {
        vpcId: vpc.vpcId,
        vpcEndpointType: "Gateway",
        serviceName: `com.amazonaws.${region}.${service}`,
        routeTableIds: [...vpc.routeTableIds],
        tags: { Name: `${prefix}-${service}-endpoint` },
      });
    }
  }
}
