import { describe, expect, it } from "vitest";
import { admissions, contains, expectReachable, expectUnreachable, isReachable, securityGroupsOf } from "./network";
import { type JsonObject, TerraformStack } from "./terraform";

function ingress(group: string, port: number, peer: JsonObject): JsonObject {
  return {
    security_group_id: `\${aws_security_group.${group}.id}`,
    ip_protocol: "tcp",
    from_port: port,
    to_port: port,
    ...peer,
  };
}

const fromGroup = (group: string) => ({ referenced_security_group_id: `\${aws_security_group.${group}.id}` });

const stack = new TerraformStack("test", {
  resource: {
    aws_subnet: { app: { cidr_block: "10.0.10.0/24" }, streaming: { cidr_block: "10.0.40.0/24" } },
    aws_security_group: {
      alb: { name: "alb" },
      proxy: { name: "proxy" },
      worker: { name: "worker", egress: [{ protocol: "-1", from_port: 0, to_port: 0, cidr_blocks: ["0.0.0.0/0"] }] },
      inline: {
        name: "inline",
        ingress: [{ protocol: "tcp", from_port: 1, to_port: 9, self: true, security_groups: [] }],
      },
      internal: { name: "internal" },
    },
    aws_vpc_security_group_ingress_rule: {
      proxy_from_worker: ingress("proxy", 5432, fromGroup("worker")),
      proxy_from_nodes: ingress("proxy", 5432, {
        referenced_security_group_id: "${aws_eks_cluster.main.vpc_config[0].cluster_security_group_id}",
      }),
      alb_from_cloudfront: ingress("alb", 443, { prefix_list_id: "pl-22a6434b" }),
      internal_from_subnets: ingress("internal", 80, { cidr_ipv4: "${aws_subnet.streaming.cidr_block}" }),
    },
    aws_vpc_security_group_egress_rule: {
      alb_to_proxy: {
        security_group_id: "${aws_security_group.alb.id}",
        ip_protocol: "tcp",
        from_port: 5000,
        to_port: 6000,
        ...fromGroup("proxy"),
      },
    },
    aws_eks_cluster: { main: { name: "urr", vpc_config: { subnet_ids: ["${aws_subnet.app.id}"] } } },
    aws_eks_node_group: {
      own: { cluster_name: "${aws_eks_cluster.main.name}", subnet_ids: ["${aws_subnet.app.id}"] },
      templated: { cluster_name: "urr", launch_template: { id: "${aws_launch_template.nodes.id}" } },
    },
    aws_launch_template: { nodes: { vpc_security_group_ids: ["${aws_security_group.inline.id}"] } },
    aws_db_proxy: { main: { vpc_security_group_ids: ["${aws_security_group.proxy.id}"] } },
    aws_lambda_function: {
      worker: {
        vpc_config: {
          security_group_ids: ["${aws_security_group.worker.id}"],
          subnet_ids: ["${aws_subnet.streaming.id}"],
        },
      },
      outside: { function_name: "outside" },
    },
    aws_lb: {
      main: { security_groups: ["${aws_security_group.alb.id}"] },
      internal: { security_groups: ["${aws_security_group.internal.id}"] },
    },
  },
});
const proxy = stack.at("aws_db_proxy.main");
const worker = stack.at("aws_lambda_function.worker");
const nodes = stack.at("aws_eks_node_group.own");
const templated = stack.at("aws_eks_node_group.templated");
const balancer = stack.at("aws_lb.main");
const internal = stack.at("aws_lb.internal");

describe("reachability", () => {
  it("needs an ingress rule there and an egress rule here", () => {
    expectReachable(stack, worker, proxy, 5432);
    expectUnreachable(stack, worker, proxy, 5433);
    // The load balancer is let out to the proxy, which does not let it in.
    expectUnreachable(stack, balancer, proxy, 5432);
  });

  it("gives nodes without a launch template the group that EKS makes", () => {
    expect(securityGroupsOf(stack, nodes)).toEqual(["aws_eks_cluster.main#cluster"]);
    expectReachable(stack, nodes, proxy, 5432);
    expectReachable(stack, nodes, nodes, 10250);
    expectReachable(stack, stack.at("aws_eks_cluster.main"), nodes, 443);
  });

  it("gives nodes with a launch template its groups and no other", () => {
    expect(securityGroupsOf(stack, templated)).toEqual(["aws_security_group.inline"]);
    expectUnreachable(stack, templated, proxy, 5432);
  });

  it("admits CloudFront by its prefix list only", () => {
    expectReachable(stack, "cloudfront", balancer, 443);
    expectUnreachable(stack, "cloudfront", balancer, 80);
    expectUnreachable(stack, "0.0.0.0/0", balancer, 443);
  });

  it("compares CIDR rules with the subnets of the caller", () => {
    expectReachable(stack, worker, internal, 80);
    expectReachable(stack, "10.0.40.8/32", internal, 80);
    expectUnreachable(stack, "10.0.10.0/24", internal, 80);
  });

  it("reads rules inside a group, where self needs an egress rule too", () => {
    expect(isReachable(stack, templated, templated, 5)).toBe(false);
    expect(admissions(stack, templated)).toEqual(["tcp 1-9 from aws_security_group.inline"]);
  });

  it("lists who is admitted", () => {
    expect(admissions(stack, proxy)).toEqual([
      "tcp 5432 from aws_eks_cluster.main#cluster",
      "tcp 5432 from aws_security_group.worker",
    ]);
  });

  it("fails with the missing rule", () => {
    expect(() => expectReachable(stack, worker, balancer, 443)).toThrow(/must reach aws_lb\.main on tcp 443/);
    expect(() => expectUnreachable(stack, worker, proxy, 5432)).toThrow(/must not reach aws_db_proxy\.main/);
  });

  it("fails for a resource that stands in no group", () => {
    const outside = stack.at("aws_lambda_function.outside");
    expect(() => isReachable(stack, outside, proxy, 5432)).toThrow("names no security group");
  });
});

describe("CIDR blocks", () => {
  it.each<[string, string, boolean]>([
    ["10.0.0.0/16", "10.0.40.0/24", true],
    ["10.0.0.0/16", "10.1.0.0/24", false],
    ["10.0.20.0/23", "10.0.21.0/24", true],
    ["10.0.20.0/24", "10.0.20.0/23", false],
    ["0.0.0.0/0", "255.255.255.255/32", true],
    ["pl-1", "10.0.0.0/8", false],
  ])("%s holds %s: %s", (outer, inner, held) => {
    expect(contains(outer, inner)).toBe(held);
  });
});
