import { describe, expect, it } from "vitest";
import { SERVICE_ACCOUNTS, TOPIC_SETTINGS } from "../../environments/platform";
import { DATABASES } from "../../environments/services";
import { expectGrant, expectNoGrant, statementsOfRole } from "../support/access";
import { loadStack, type Resource, type TerraformStack } from "../support/terraform";

const READ = "secretsmanager:GetSecretValue";
const READ_AT_RUN_TIME = ["redis_auth_token", "jwt_secret", "queue_entry_token_secret", "internal_api_token"];

function roleOf(stack: TerraformStack, name: string): Resource {
  return stack.at(`module.eks.aws_iam_role.${name}`);
}

function secretOf(stack: TerraformStack, name: string): Resource {
  return stack.at(`module.secrets.aws_secretsmanager_secret.${name}`);
}

describe.each(["staging", "prod"])("roles of the platform in %s", (name) => {
  it.each(Object.entries(SERVICE_ACCOUNTS))("trust one service account: %s", async (id, account) => {
    const stack = await loadStack(name);
    const trust = String(stack.resolve(roleOf(stack, id), "assume_role_policy"));
    expect(trust).toContain(`:sub":"system:serviceaccount:${account.namespace}:${account.serviceAccount}"`);
    expect(trust).toContain(':aud":"sts.amazonaws.com"');
    expect(trust.match(/AssumeRoleWithWebIdentity/g)?.length).toBeLessThanOrEqual(2);
  });

  it("let External Secrets read what services read, and the master user's credentials to nobody but the job", async () => {
    const stack = await loadStack(name);
    const [controller, job] = [roleOf(stack, "external_secrets"), roleOf(stack, "database_bootstrap")];
    for (const { user } of DATABASES) {
      expectGrant(stack, controller, READ, secretOf(stack, user));
      expectGrant(stack, job, READ, secretOf(stack, user));
    }
    for (const secret of READ_AT_RUN_TIME) {
      expectGrant(stack, controller, READ, secretOf(stack, secret));
      expectNoGrant(stack, job, READ, secretOf(stack, secret));
    }
    expectGrant(stack, job, READ, secretOf(stack, "rds_credentials"));
    for (const secret of ["rds_credentials", "vwr_token_secret", "origin_header"])
      expectNoGrant(stack, controller, READ, secretOf(stack, secret));
  });

  it("let the load balancer controller fill our target groups, and neither make load balancers nor open security groups", async () => {
    const stack = await loadStack(name);
    const role = roleOf(stack, "load_balancer_controller");
    const groups = stack.find({ type: "aws_lb_target_group" });
    expect(groups.length).toBeGreaterThan(2);
    for (const group of groups) {
      expectGrant(stack, role, "elasticloadbalancing:RegisterTargets", group);
      expectGrant(stack, role, "elasticloadbalancing:DeregisterTargets", group);
    }
    expectGrant(stack, role, "elasticloadbalancing:DescribeTargetHealth", "*");
    for (const action of [
      "elasticloadbalancing:CreateLoadBalancer",
      "elasticloadbalancing:ModifyListener",
      "ec2:AuthorizeSecurityGroupIngress",
      "iam:CreateServiceLinkedRole",
    ])
      expectNoGrant(stack, role, action, "*");
    expectNoGrant(
      stack,
      role,
      "elasticloadbalancing:RegisterTargets",
      "arn:aws:elasticloadbalancing:ap-northeast-2:123456789012:targetgroup/somebody-elses/1",
    );
  });

  it("let the topics job manage every topic and neither read nor write any", async () => {
    const stack = await loadStack(name);
    const actions = statementsOfRole(stack, roleOf(stack, "kafka_topics")).flatMap((statement) => statement.actions);
    expect(actions).toEqual(expect.arrayContaining(["kafka-cluster:Connect", "kafka-cluster:CreateTopic"]));
    expect(actions).not.toEqual(expect.arrayContaining(["kafka-cluster:ReadData"]));
    expect(actions).not.toEqual(expect.arrayContaining(["kafka-cluster:WriteData"]));
    expect(actions).not.toEqual(expect.arrayContaining(["kafka-cluster:DeleteTopic"]));
    const resources = statementsOfRole(stack, roleOf(stack, "kafka_topics")).flatMap(
      (statement) => statement.resources,
    );
    for (const { name: topic } of TOPIC_SETTINGS)
      expect(
        resources.some((resource) => resource.endsWith(`/${topic}`)),
        topic,
      ).toBe(true);
  });

  it("let Alertmanager publish to the environment's alarm topic and to no other", async () => {
    const stack = await loadStack(name);
    const role = roleOf(stack, "alertmanager");
    expectGrant(stack, role, "sns:Publish", stack.at("module.monitoring.aws_sns_topic.alarms"));
    expectNoGrant(stack, role, "sns:Publish", "arn:aws:sns:ap-northeast-2:123456789012:others");
  });

  it("let Grafana read metrics and change nothing", async () => {
    const stack = await loadStack(name);
    const role = roleOf(stack, "grafana_in_cluster");
    expectGrant(stack, role, "cloudwatch:GetMetricData", "*");
    for (const { actions } of statementsOfRole(stack, role))
      for (const action of actions) expect(action).toMatch(/^cloudwatch:(Get|List|Describe)/);
  });
});
