import { describe, expect, it } from "vitest";
import { Secrets } from "../../modules/secrets";
import { Vpc, type VpcProps } from "../../modules/vpc";
import { ACCOUNT_ID, REGION, resourcesOf, type SynthesizedModules, synthModule, synthProblems } from "../support/synth";

const PROD: VpcProps = {
  prefix: "urr-prod",
  vpcCidr: "10.0.0.0/16",
  availabilityZones: ["ap-northeast-2a", "ap-northeast-2c"],
  clusterName: "urr-prod",
};

function synthVpc(props: Partial<VpcProps> = {}): SynthesizedModules {
  return synthModule((stack) => {
    new Vpc(stack, "vpc", { ...PROD, ...props });
  });
}

/** Where the default route of a subnet leads, followed through its association and route table; undefined if it has none. */
function wayOut(synthesized: SynthesizedModules, subnet: string): string | undefined {
  const association = Object.values(resourcesOf(synthesized, "aws_route_table_association")).find(
    ({ subnet_id }) => subnet_id === `\${aws_subnet.vpc_${subnet}.id}`,
  );
  const route = Object.values(resourcesOf(synthesized, "aws_route")).find(
    ({ route_table_id, destination_cidr_block }) =>
      route_table_id === association?.route_table_id && destination_cidr_block === "0.0.0.0/0",
  );
  const target = route?.gateway_id ?? route?.nat_gateway_id;
  return typeof target === "string" ? target : undefined;
}

describe("vpc", () => {
  const vpc = synthVpc();

  it("is one network with DNS names and DNS resolution", () => {
    expect(resourcesOf(vpc, "aws_vpc").vpc_main).toMatchObject({
      cidr_block: "10.0.0.0/16",
      enable_dns_hostnames: true,
      enable_dns_support: true,
    });
  });

  /** Infra analysis §2-1, "서브넷 설계 (5-티어)"; AWS architecture §1.2. */
  it.each([
    ["public_a", "10.0.0.0/24", "ap-northeast-2a"],
    ["public_c", "10.0.1.0/24", "ap-northeast-2c"],
    ["app_a", "10.0.10.0/24", "ap-northeast-2a"],
    ["app_c", "10.0.11.0/24", "ap-northeast-2c"],
    ["db_a", "10.0.20.0/24", "ap-northeast-2a"],
    ["db_c", "10.0.21.0/24", "ap-northeast-2c"],
    ["cache_a", "10.0.30.0/24", "ap-northeast-2a"],
    ["cache_c", "10.0.31.0/24", "ap-northeast-2c"],
    ["streaming_a", "10.0.40.0/24", "ap-northeast-2a"],
    ["streaming_c", "10.0.41.0/24", "ap-northeast-2c"],
  ])("has subnet %s, %s in %s", (name, cidrBlock, availabilityZone) => {
    expect(resourcesOf(vpc, "aws_subnet")[`vpc_${name}`]).toMatchObject({
      cidr_block: cidrBlock,
      availability_zone: availabilityZone,
    });
  });

  it("has no other subnets", () => {
    expect(Object.keys(resourcesOf(vpc, "aws_subnet"))).toHaveLength(10);
  });

  it.each(["public_a", "public_c"])("leads %s straight to the internet", (subnet) => {
    expect(wayOut(vpc, subnet)).toBe("${aws_internet_gateway.vpc_main.id}");
  });

  it.each([
    ["app_a", "a"],
    ["app_c", "c"],
    ["streaming_a", "a"],
    ["streaming_c", "c"],
  ])("leads %s out through the NAT gateway of its own zone", (subnet, zone) => {
    expect(wayOut(vpc, subnet)).toBe(`\${aws_nat_gateway.vpc_${zone}.id}`);
  });

  it.each(["db_a", "db_c", "cache_a", "cache_c"])("leads %s nowhere", (subnet) => {
    expect(wayOut(vpc, subnet)).toBeUndefined();
  });

  it("keeps db and cache on one route table", () => {
    const tables = Object.entries(resourcesOf(vpc, "aws_route_table_association"))
      .filter(([name]) => /_(db|cache)_/.test(name))
      .map(([, { route_table_id }]) => route_table_id);
    expect(new Set(tables)).toEqual(new Set(["${aws_route_table.vpc_db.id}"]));
    expect(tables).toHaveLength(4);
  });

  it("stands each NAT gateway in the public subnet of its zone, on an address of its own, after the internet gateway", () => {
    expect(
      Object.entries(resourcesOf(vpc, "aws_nat_gateway")).map(([name, nat]) => [
        name,
        nat.subnet_id,
        nat.allocation_id,
        nat.depends_on,
      ]),
    ).toEqual([
      ["vpc_a", "${aws_subnet.vpc_public_a.id}", "${aws_eip.vpc_nat_a.id}", ["aws_internet_gateway.vpc_main"]],
      ["vpc_c", "${aws_subnet.vpc_public_c.id}", "${aws_eip.vpc_nat_c.id}", ["aws_internet_gateway.vpc_main"]],
    ]);
  });

  it("serves both zones by one NAT gateway where that is asked for", () => {
    const single = synthVpc({ natGateways: "single" });
    expect(Object.keys(resourcesOf(single, "aws_nat_gateway"))).toEqual(["vpc_a"]);
    expect(wayOut(single, "app_c")).toBe("${aws_nat_gateway.vpc_a.id}");
  });

  it("closes the default security group", () => {
    const group = resourcesOf(vpc, "aws_default_security_group").vpc_main;
    expect(group?.vpc_id).toBe("${aws_vpc.vpc_main.id}");
    expect(group).not.toHaveProperty("ingress");
    expect(group).not.toHaveProperty("egress");
  });

  it("gives no machine a public address by itself", () => {
    const subnets = Object.values(resourcesOf(vpc, "aws_subnet"));
    expect(subnets.map(({ map_public_ip_on_launch }) => map_public_ip_on_launch)).toEqual(Array(10).fill(false));
  });

  it("tags subnets so that load balancers and Karpenter find theirs", () => {
    const subnets = resourcesOf(vpc, "aws_subnet");
    expect(subnets.vpc_public_a?.tags).toMatchObject({ "kubernetes.io/role/elb": "1" });
    expect(subnets.vpc_app_a?.tags).toMatchObject({
      "kubernetes.io/role/internal-elb": "1",
      "karpenter.sh/discovery": "urr-prod",
    });
    expect(subnets.vpc_db_a?.tags).not.toHaveProperty("karpenter.sh/discovery");
  });

  it("records flows for a year, encrypted, once the log service may use the key", () => {
    const logged = synthModule((stack) => {
      const network = new Vpc(stack, "vpc", PROD);
      const secrets = new Secrets(stack, "secrets", {
        prefix: "urr-prod",
        accountId: ACCOUNT_ID,
        region: REGION,
        databases: [],
      });
      secrets.writeDatabaseCredentials({ endpointAddress: "db", port: 5432, dbName: "ticket_db" });
      network.logFlows(secrets.key);
    });
    expect(resourcesOf(logged, "aws_flow_log").vpc_main).toMatchObject({ traffic_type: "ALL" });
    expect(resourcesOf(logged, "aws_cloudwatch_log_group").vpc_flow_logs).toMatchObject({
      kms_key_id: "${aws_kms_key.secrets_main.arn}",
      retention_in_days: 365,
      depends_on: ["aws_kms_key.secrets_main"],
    });
  });

  it.each<[string, Partial<VpcProps>, string]>([
    ["one availability zone", { availabilityZones: ["ap-northeast-2a"] }, "availabilityZones: given"],
  ])("fails on %s", (_, props, message) => {
    expect(
      synthProblems((stack) => {
        new Vpc(stack, "vpc", { ...PROD, ...props });
      }).join("\n"),
    ).toContain(message);
  });
});
