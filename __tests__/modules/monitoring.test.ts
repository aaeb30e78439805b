import { TerraformOutput, TerraformVariable } from "cdktf";
import { describe, expect, it } from "vitest";
import { type OidcProvider, Role } from "../../lib/iam";
import { Module } from "../../lib/terraform-modules";
import { Monitoring, type MonitoringProps } from "../../modules/monitoring";
import { Secrets } from "../../modules/secrets";
import {
  expectGrant,
  expectNoGrant,
  isAllowed,
  managedPoliciesOf,
  resourcePolicyOf,
  serviceAccountsOf,
  statementsIn,
  trustedBy,
  trustStatements,
} from "../support/access";
import { ACCOUNT_ID, REGION, resourcesOf, synthModule, synthProblems, type TestStack } from "../support/synth";
import { toTerraformStack } from "../support/terraform";

const OIDC: OidcProvider = {
  providerArn: `arn:aws:iam::${ACCOUNT_ID}:oidc-provider/oidc.eks.${REGION}.amazonaws.com/id/EXAMPLE`,
  issuer: `oidc.eks.${REGION}.amazonaws.com/id/EXAMPLE`,
};

function propsOf(stack: TestStack): MonitoringProps {
  const secrets = new Secrets(stack, "secrets", {
    prefix: "urr-prod",
    accountId: ACCOUNT_ID,
    region: REGION,
    databases: [],
    usEast1: stack.usEast1,
  });
  secrets.writeDatabaseCredentials({ endpointAddress: "primary.example", port: 5432, dbName: "ticket_db" });
  return {
    prefix: "urr-prod",
    accountId: ACCOUNT_ID,
    region: REGION,
    key: secrets.key,
    oidc: OIDC,
    alarmEmails: ["oncall@example.com"],
    usEast1: { provider: stack.usEast1, key: secrets.usEast1Key },
  };
}

function build(stack: TestStack, props: Partial<MonitoringProps> = {}): Monitoring {
  return new Monitoring(stack, "monitoring", { ...propsOf(stack), ...props });
}

/** Somebody who publishes to the topic: the cluster's AlertManager. */
class Publisher extends Module {
  readonly role = new Role(this, "alertmanager", {
    name: "urr-prod-alertmanager",
    description: "AlertManager",
    assumedByServices: ["ec2.amazonaws.com"],
  });
}

function synthesize(props: (stack: TestStack) => Partial<MonitoringProps> = () => ({})) {
  const synthesized = synthModule((stack) => {
    build(stack, props(stack)).grantPublish(new Publisher(stack, "publisher").role);
  });
  return {
    synthesized,
    stack: toTerraformStack(synthesized),
  };
}

const { stack, synthesized } = synthesize();
const prometheus = stack.at("module.monitoring.aws_prometheus_workspace.main");
const grafana = stack.at("module.monitoring.aws_grafana_workspace.main");
const grafanaRole = stack.at("module.monitoring.aws_iam_role.grafana");
const prometheusRole = stack.at("module.monitoring.aws_iam_role.prometheus");
const homeTopic = stack.at("module.monitoring.aws_sns_topic.alarms");
const usEast1Topic = stack.at("module.monitoring.aws_sns_topic.alarms_us_east_1");

/** Infra analysis §2-13, AWS architecture §10.1. */
describe("monitoring: Prometheus and Grafana", () => {
  it("keeps metrics in a workspace that logs its own failures, encrypted", () => {
    expect(stack.resolve(prometheus, "alias")).toBe("urr-prod-amp");
    const [logGroup] = stack.referred(prometheus, "logging_configuration.log_group_arn");
    expect(logGroup?.address).toBe("module.monitoring.aws_cloudwatch_log_group.amp");
    expect(String(stack.resolve(prometheus, "logging_configuration.log_group_arn"))).toMatch(/:\*$/);
    expect(logGroup && stack.references(logGroup, "kms_key_id")).toEqual(["module.secrets.aws_kms_key.main"]);
  });

  it("shows them in Grafana, behind single sign-on, with both data sources and plugin management", () => {
    expect(stack.arguments(grafana)).toMatchObject({
      authentication_providers: ["AWS_SSO"],
      permission_type: "SERVICE_MANAGED",
      account_access_type: "CURRENT_ACCOUNT",
      data_sources: ["PROMETHEUS", "CLOUDWATCH"],
    });
    const configuration = JSON.parse(String(stack.resolve(grafana, "configuration"))) as {
      plugins: { pluginAdminEnabled: boolean };
    };
    expect(configuration.plugins.pluginAdminEnabled).toBe(true);
    expect(stack.references(grafana, "role_arn")).toEqual([grafanaRole.address]);
  });

  it.each([
    "aps:QueryMetrics",
    "aps:GetLabels",
    "aps:GetSeries",
    "aps:GetMetricMetadata",
  ])("lets Grafana %s in this workspace", (action) => {
    expectGrant(stack, grafanaRole, action, prometheus);
  });

  it("lets Grafana list workspaces and read CloudWatch, and write nothing", () => {
    expectGrant(stack, grafanaRole, "aps:ListWorkspaces", "*");
    expect(managedPoliciesOf(stack, grafanaRole)).toEqual(["AmazonGrafanaCloudWatchAccess"]);
    expectNoGrant(stack, grafanaRole, "aps:RemoteWrite", prometheus);
  });

  it("lends Grafana's role to workspaces of this account alone", () => {
    expect(trustedBy(stack, grafanaRole)).toEqual(["Service:grafana.amazonaws.com"]);
    expect(trustStatements(stack, grafanaRole)[0]?.conditions).toEqual({
      StringEquals: { "aws:SourceAccount": ACCOUNT_ID },
      StringLike: { "aws:SourceArn": `arn:aws:grafana:${REGION}:${ACCOUNT_ID}:/workspaces/*` },
    });
  });

  it("lets the cluster's Prometheus write, and nothing more", () => {
    expect(serviceAccountsOf(stack, prometheusRole)).toEqual([
      "system:serviceaccount:monitoring:kube-prometheus-stack-prometheus",
    ]);
    expectGrant(stack, prometheusRole, "aps:RemoteWrite", prometheus);
    expectNoGrant(stack, prometheusRole, "aps:QueryMetrics", prometheus);
    expect(managedPoliciesOf(stack, prometheusRole)).toEqual([]);
  });

  it("tells Prometheus where to write", () => {
    const written = synthModule((testStack) => {
      new TerraformOutput(testStack, "url", { value: build(testStack).ampRemoteWriteEndpoint });
    });
    expect(written.flat.output).toEqual({
      url: { value: "${aws_prometheus_workspace.monitoring_main.prometheus_endpoint}api/v1/remote_write" },
    });
  });
});

/** AWS architecture §10, "알림 경로". */
describe("monitoring: alarms", () => {
  it("has one topic in each Region with alarms", () => {
    expect(stack.regionOf(homeTopic)).toBe(REGION);
    expect(stack.regionOf(usEast1Topic)).toBe("us-east-1");
    expect(stack.find({ type: "aws_sns_topic" })).toHaveLength(2);
  });

  it.each([
    ["alarms", REGION],
    ["alarms_us_east_1", "us-east-1"],
  ])("lets CloudWatch alarms of this account publish to %s, over TLS only", (id, region) => {
    const topic = stack.at(`module.monitoring.aws_sns_topic.${id}`);
    const statements = resourcePolicyOf(stack, topic);
    expect(statements.filter(({ effect }) => effect === "Allow")).toMatchObject([
      {
        actions: ["sns:Publish"],
        principals: ["Service:cloudwatch.amazonaws.com"],
        conditions: {
          StringEquals: { "aws:SourceAccount": ACCOUNT_ID },
          ArnLike: { "aws:SourceArn": `arn:aws:cloudwatch:${region}:${ACCOUNT_ID}:alarm:*` },
        },
      },
    ]);
    expect(statements.filter(({ effect }) => effect === "Deny")).toMatchObject([
      { conditions: { Bool: { "aws:SecureTransport": "false" } } },
    ]);
  });

  it.each([
    ["alarms", "module.secrets.aws_kms_key.main"],
    ["alarms_us_east_1", "module.secrets.aws_kms_key.us_east_1"],
  ])("encrypts %s with %s, a key of its own Region that CloudWatch may use", (id, keyAddress) => {
    const topic = stack.at(`module.monitoring.aws_sns_topic.${id}`);
    const [alias] = stack.referred(topic, "kms_master_key_id");
    expect(alias?.type).toBe("aws_kms_alias");
    const [key] = alias ? stack.referred(alias, "target_key_id") : [];
    expect(key?.address).toBe(keyAddress);
    if (!key || !alias) throw new Error("unreachable");
    expect(stack.regionOf(key)).toBe(stack.regionOf(topic));
    expect(stack.regionOf(alias)).toBe(stack.regionOf(topic));
    expect(stack.resolve(key, "enable_key_rotation")).toBe(true);
    const forCloudWatch = statementsIn(stack, key, "policy").filter(({ principals }) =>
      principals.includes("Service:cloudwatch.amazonaws.com"),
    );
    expect(isAllowed(stack, forCloudWatch, "kms:Decrypt", "*")).toBe(true);
    expect(isAllowed(stack, forCloudWatch, "kms:GenerateDataKey", "*")).toBe(true);
  });

  it("names the key by an alias that a plan already knows", () => {
    const alias = stack.at("module.monitoring.aws_kms_alias.alarms");
    expect(stack.resolve(alias, "name")).toBe("alias/urr-prod-alarms");
    expect(stack.literal(homeTopic, "kms_master_key_id")).toBe("alias/urr-prod-alarms");
  });

  it("mails alarms of both Regions to every address", () => {
    const listed = synthModule((testStack) => {
      const emails = new TerraformVariable(testStack, "alarm_emails", { type: "list(string)" });
      build(testStack, { alarmEmails: emails.listValue });
    });
    const subscriptions = resourcesOf(listed, "aws_sns_topic_subscription");
    expect(Object.keys(subscriptions).sort()).toEqual(["monitoring_alarms_email", "monitoring_alarms_us_east_1_email"]);
    for (const subscription of Object.values(subscriptions)) {
      expect(subscription).toMatchObject({
        for_each: "${toset(var.alarm_emails)}",
        protocol: "email",
        endpoint: "${each.value}",
      });
    }
  });

  it("lets others publish to the encrypted topic", () => {
    const role = stack.at("module.publisher.aws_iam_role.alertmanager");
    expectGrant(stack, role, "sns:Publish", homeTopic);
    expectGrant(stack, role, "kms:GenerateDataKey", stack.at("module.secrets.aws_kms_key.main"));
    expectNoGrant(stack, role, "sns:Subscribe", homeTopic);
  });

  it("fails where a topic in us-east-1 is asked for and none was made", () => {
    const home = synthModule((testStack) => {
      const { usEast1: _, ...props } = propsOf(testStack);
      const monitoring = new Monitoring(testStack, "monitoring", props);
      expect(() => monitoring.usEast1AlarmTopicArn).toThrow(
        "there is no topic in us-east-1. Give usEast1: provider and key of that Region.",
      );
    });
    expect(Object.keys(resourcesOf(home, "aws_sns_topic"))).toEqual(["monitoring_alarms"]);
  });
});

describe("monitoring: Slack", () => {
  const withSlack = synthesize(() => ({ slackTeamId: "T01ABCDEF23", slackChannelId: "C01ABCDEF23" })).stack;

  it("is left out where none is named", () => {
    expect(stack.find({ type: "aws_chatbot_slack_channel_configuration" })).toEqual([]);
    expect(resourcesOf(synthesized, "aws_iam_role")).not.toHaveProperty("monitoring_slack");
  });

  it("gets the alarms of both Regions", () => {
    const channel = withSlack.at("module.monitoring.aws_chatbot_slack_channel_configuration.alarms");
    expect(withSlack.arguments(channel)).toMatchObject({
      slack_team_id: "T01ABCDEF23",
      slack_channel_id: "C01ABCDEF23",
    });
    expect(withSlack.references(channel, "sns_topic_arns")).toEqual([homeTopic.address, usEast1Topic.address]);
  });

  it("reads CloudWatch at most, whatever somebody types into the channel", () => {
    const channel = withSlack.at("module.monitoring.aws_chatbot_slack_channel_configuration.alarms");
    expect(withSlack.resolve(channel, "guardrail_policy_arns")).toEqual([
      "arn:aws:iam::aws:policy/CloudWatchReadOnlyAccess",
    ]);
    expect(withSlack.resolve(channel, "user_authorization_required")).toBe(true);
    const role = withSlack.at("module.monitoring.aws_iam_role.slack");
    expect(managedPoliciesOf(withSlack, role)).toEqual(["CloudWatchReadOnlyAccess"]);
    expect(trustedBy(withSlack, role)).toEqual(["Service:chatbot.amazonaws.com"]);
    expect(trustStatements(withSlack, role)[0]?.conditions).toEqual({
      StringEquals: { "aws:SourceAccount": ACCOUNT_ID },
    });
  });

  it("counts by a variable that may be empty, which is known at plan", () => {
    const listed = synthModule((testStack) => {
      const team = new TerraformVariable(testStack, "slack_team_id", { type: "string", default: "" });
      const channel = new TerraformVariable(testStack, "slack_channel_id", { type: "string", default: "" });
      build(testStack, { slackTeamId: team.stringValue, slackChannelId: channel.stringValue });
    });
    expect(resourcesOf(listed, "aws_chatbot_slack_channel_configuration").monitoring_alarms).toMatchObject({
      count: "${min(length(var.slack_team_id), 1)}",
      slack_team_id: "${var.slack_team_id}",
    });
  });
});

describe("monitoring: bad input", () => {
  it.each([
    [
      "nobody to tell",
      { alarmEmails: [] },
      "alarmEmails: given []; allowed: at least one e-mail address. An alarm that nobody receives is none.",
    ],
    ["an address without a domain", { alarmEmails: ["oncall"] }, 'alarmEmails: given ["oncall"]'],
    [
      "a Slack workspace without a channel",
      { slackTeamId: "T01ABCDEF23" },
      "allowed: workspace and channel together, or neither. Give both slackTeamId (T…) and slackChannelId (C…).",
    ],
    ["a name that Grafana refuses", { prefix: "urr prod" }, "name of the grafana workspace"],
  ] satisfies [string, Partial<MonitoringProps>, string][])("fails for %s", (_, props, message) => {
    expect(synthProblems((testStack) => void build(testStack, props)).join("\n")).toContain(message);
  });
});
