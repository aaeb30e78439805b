import { describe, expect, it } from "vitest";
import { Iam } from "../../modules/iam";
import { resourcesOf, synthModule, synthProblems } from "../support/synth";

const synthesized = synthModule((stack) => {
  new Iam(stack, "iam", { prefix: "urr-prod" });
});

/** Services that may assume a role. */
function trusted(id: string): unknown {
  const policy = JSON.parse(String(resourcesOf(synthesized, "aws_iam_role")[`iam_${id}`]?.assume_role_policy)) as {
    Statement: { Action: string; Principal: { Service: unknown } }[];
  };
  expect(policy.Statement).toHaveLength(1);
  expect(policy.Statement[0]?.Action).toBe("sts:AssumeRole");
  return policy.Statement[0]?.Principal.Service;
}

/** AWS managed policies of a role, without the common start of their ARNs. */
function managed(id: string): string[] {
  return Object.values(resourcesOf(synthesized, "aws_iam_role_policy_attachment"))
    .filter(({ role }) => role === `\${aws_iam_role.iam_${id}.name}`)
    .map(({ policy_arn }) => String(policy_arn).replace("arn:aws:iam::aws:policy/", ""))
    .sort();
}

describe("iam", () => {
  /** Infra analysis §2-9, "IAM 역할". */
  it.each<[string, unknown, string[]]>([
    ["eks_cluster", "eks.amazonaws.com", ["AmazonEKSClusterPolicy", "AmazonEKSVPCResourceController"]],
    [
      "eks_node",
      "ec2.amazonaws.com",
      [
        "AmazonEC2ContainerRegistryReadOnly",
        "AmazonEKSWorkerNodePolicy",
        "AmazonEKS_CNI_Policy",
        "AmazonSSMManagedInstanceCore",
      ],
    ],
    [
      "lambda_worker",
      "lambda.amazonaws.com",
      ["service-role/AWSLambdaBasicExecutionRole", "service-role/AWSLambdaVPCAccessExecutionRole"],
    ],
    ["lambda_edge", ["lambda.amazonaws.com", "edgelambda.amazonaws.com"], ["service-role/AWSLambdaBasicExecutionRole"]],
    ["rds_monitoring", "monitoring.rds.amazonaws.com", ["service-role/AmazonRDSEnhancedMonitoringRole"]],
    ["rds_proxy", "rds.amazonaws.com", []],
  ])("has the role %s, trusted by %j alone, with %j", (id, services, policies) => {
    expect(trusted(id)).toEqual(services);
    expect(managed(id)).toEqual(policies);
  });

  it("has no other roles", () => {
    expect(Object.keys(resourcesOf(synthesized, "aws_iam_role"))).toHaveLength(6);
  });

  it("grants nothing of its own", () => {
    expect(resourcesOf(synthesized, "aws_iam_role_policy")).toEqual({});
  });

  it("fails where a role's name is over AWS's 64 characters", () => {
    const problems = synthProblems((stack) => {
      new Iam(stack, "iam", { prefix: "u".repeat(53) });
    });
    expect(problems).toContainEqual(expect.stringContaining("allowed: 1 to 64 characters"));
  });
});
