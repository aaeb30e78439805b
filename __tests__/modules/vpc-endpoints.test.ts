import { describe, expect, it } from "vitest";
import { Vpc } from "../../modules/vpc";
import { VpcEndpoints, type VpcEndpointsProps } from "../../modules/vpc-endpoints";
import { REGION, resourcesOf, synthModule } from "../support/synth";

function synthEndpoints(props: Partial<VpcEndpointsProps> = {}) {
  return synthModule((stack) => {
    const vpc = new Vpc(stack, "vpc", {
      prefix: "urr-prod",
      vpcCidr: "10.0.0.0/16",
      availabilityZones: ["ap-northeast-2a", "ap-northeast-2c"],
      clusterName: "urr-prod",
    });
    new VpcEndpoints(stack, "vpc_endpoints", { prefix: "urr-prod", region: REGION, vpc, ...props });
  });
}

function endpoints(synthesized: ReturnType<typeof synthEndpoints>, type: string) {
  return Object.values(resourcesOf(synthesized, "aws_vpc_endpoint")).filter(
    ({ vpc_endpoint_type }) => vpc_endpoint_type === type,
  );
}

describe("vpc-endpoints", () => {
  const synthesized = synthEndpoints();

  /** Infra analysis §2-1, "Interface Endpoints (PrivateLink) - 9개". */
  it("has the nine documented interface endpoints in the app subnets, with private names, behind one group", () => {
    const found = endpoints(synthesized, "Interface");
    expect(found.map(({ service_name }) => service_name).sort()).toEqual(
      ["autoscaling", "ec2", "ecr.api", "ecr.dkr", "eks", "elasticloadbalancing", "logs", "secretsmanager", "sts"].map(
        (service) => `com.amazonaws.ap-northeast-2.${service}`,
      ),
    );
    for (const endpoint of found) {
      expect(endpoint).toMatchObject({
        private_dns_enabled: true,
        subnet_ids: ["${aws_subnet.vpc_app_a.id}", "${aws_subnet.vpc_app_c.id}"],
        security_group_ids: ["${aws_security_group.vpc_endpoints_endpoints.id}"],
      });
    }
  });

  it("admits HTTPS from the VPC and nothing else", () => {
    expect(Object.values(resourcesOf(synthesized, "aws_vpc_security_group_ingress_rule"))).toEqual([
      expect.objectContaining({ cidr_ipv4: "10.0.0.0/16", from_port: 443, to_port: 443, ip_protocol: "tcp" }),
    ]);
    expect(resourcesOf(synthesized, "aws_vpc_security_group_egress_rule")).toEqual({});
  });

  it("puts the S3 gateway on every route table, and none for DynamoDB", () => {
    const gateways = endpoints(synthesized, "Gateway");
    expect(gateways.map(({ service_name }) => service_name)).toEqual(["com.amazonaws.ap-northeast-2.s3"]);
    expect([...((gateways[0]?.route_table_ids ?? []) as string[])].sort()).toEqual(
      Object.keys(resourcesOf(synthesized, "aws_route_table"))
        .map((name) => `\${aws_route_table.${name}.id}`)
        .sort(),
    );
  });

  it("adds the DynamoDB gateway where it is asked for", () => {
    expect(endpoints(synthEndpoints({ dynamodbGateway: true }), "Gateway")).toHaveLength(2);
  });
});
