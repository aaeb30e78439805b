import { ChatbotSlackChannelConfiguration } from "@cdktf/provider-aws/lib/chatbot-slack-channel-configuration";
import { GrafanaWorkspace } from "@cdktf/provider-aws/lib/grafana-workspace";
import { PrometheusWorkspace } from "@cdktf/provider-aws/lib/prometheus-workspace";
import type { AwsProvider } from "@cdktf/provider-aws/lib/provider";
import { Fn, Token } from "cdktf";
import type { Construct } from "constructs";
import { type Grantee, type OidcProvider, Role, trustServiceAccount, trustServices } from "../../lib/iam";
import type { EncryptionKey } from "../../lib/kms";
import { createLogGroup } from "../../lib/log-group";
import { physicalName } from "../../lib/naming";
import { enforce, type Rule } from "../../lib/rules";
import { Module } from "../../lib/terraform-modules";
import { createAlarmTopic } from "./notifications";

/** Properties of {@link Monitoring}. */
export interface MonitoringProps {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
  readonly accountId: string;
  readonly region: string;
  /** Encrypts logs and the home Region's alarms; its policy must let CloudWatch decrypt and generate data keys. */
  readonly key: EncryptionKey;
  /** Identity provider of the cluster in which Prometheus runs. */
  readonly oidc: OidcProvider;
  /** Addresses that alarms go to; each confirms its subscription once. Known at plan. */
  readonly alarmEmails: readonly string[];
  /** Slack workspace, authorised once in the console of Amazon Q Developer in chat applications. Known at plan. @default no Slack */
  readonly slackTeamId?: string;
  /** Slack channel; given together with the workspace. Known at plan. @default no Slack */
  readonly slackChannelId?: string;
  /** Provider of us-east-1, where CloudFront's metrics and alarms live. @default no topic there */
  readonly usEast1?: { readonly provider: AwsProvider; readonly key: EncryptionKey };
  /** Version of Grafana, such as `10.4`. It can be raised and never lowered. @default AWS's newest at creation */
  readonly grafanaVersion?: string;
}

const US_EAST_1 = "us-east-1";
/** Source: Infra analysis §2-13 "Prometheus IRSA (Remote Write)". */
const PROMETHEUS_NAMESPACE = "monitoring";
const PROMETHEUS_SERVICE_ACCOUNT = "kube-prometheus-stack-prometheus";
/** What whoever types into the Slack channel may do at most. Without it AWS allows everything that an administrator may. */
const SLACK_GUARDRAIL = "CloudWatchReadOnlyAccess";

const RULES: readonly Rule<MonitoringProps>[] = [
  {
    property: "alarmEmails",
    given: ({ alarmEmails }) => alarmEmails,
    valid: ({ alarmEmails }) =>
      alarmEmails.length > 0 && alarmEmails.every((address) => /^[^@\s]+@[^@\s]+\.[^@\s]+$/.test(address)),
    allowed: "at least one e-mail address",
    remedy: "An alarm that nobody receives is none.",
  },
  {
    property: "slackChannelId",
    given: ({ slackChannelId = "", slackTeamId = "" }) => ({ slackTeamId, slackChannelId }),
    valid: ({ slackChannelId = "", slackTeamId = "" }) => (slackChannelId === "") === (slackTeamId === ""),
    allowed: "workspace and channel together, or neither",
    remedy: "Give both slackTeamId (T…) and slackChannelId (C…).",
  },
];

/**
 * What watches the system from outside the cluster: managed Prometheus and Grafana, and the topics on which alarms reach people.
 * Source: Infra analysis §2-13, AWS architecture §10.1, Architecture guide §9.
 */
export class Monitoring extends Module {
  /** Topic of the alarms of the home Region. */
  readonly alarmTopicArn: string;
  readonly ampWorkspaceId: string;
  readonly ampWorkspaceArn: string;
  /** URL for Prometheus's `remote_write`. */
  readonly ampRemoteWriteEndpoint: string;
  readonly grafanaWorkspaceId: string;
  /** Host name of Grafana, without `https://`. */
  readonly grafanaEndpoint: string;
  readonly prometheusRole: Role;
  readonly prometheusRoleArn: string;

  private readonly props: MonitoringProps;
  private readonly usEast1TopicArn: string | undefined;

  constructor(scope: Construct, id: string, props: MonitoringProps) {
    super(scope, id);
    this.props = props;
    enforce(this, props, RULES);
    const { accountId, alarmEmails, key, prefix, region, usEast1 } = props;

    const prometheus = this.createPrometheus();
    const grafana = this.createGrafana(prometheus);
    this.prometheusRole = this.createPrometheusRole(prometheus);
    const common = { prefix, accountId, emails: alarmEmails };
    const topic = createAlarmTopic(this, "alarms", { ...common, region, keyArn: key.keyArn });
    const usEast1Topic =
      usEast1 &&
      createAlarmTopic(this, "alarms_us_east_1", {
        ...common,
        region: US_EAST_1,
        keyArn: usEast1.key.keyArn,
        provider: usEast1.provider,
      });
    this.createSlackChannel([topic.arn, ...(usEast1Topic ? [usEast1Topic.arn] : [])]);

    this.alarmTopicArn = topic.arn;
    this.usEast1TopicArn = usEast1Topic?.arn;
    this.ampWorkspaceId = prometheus.id;
    this.ampWorkspaceArn = prometheus.arn;
    this.ampRemoteWriteEndpoint = `${prometheus.prometheusEndpoint}api/v1/remote_write`;
    this.grafanaWorkspaceId = grafana.id;
    this.grafanaEndpoint = grafana.endpoint;
    this.prometheusRoleArn = this.prometheusRole.roleArn;
  }

  /** Topic of CloudFront's alarms, which can report to no other Region. */
  get usEast1AlarmTopicArn(): string {
    if (this.usEast1TopicArn === undefined) {
      throw new Error(
        `${this.node.path}: there is no topic in us-east-1. Give usEast1: provider and key of that Region.`,
      );
    }
    return this.usEast1TopicArn;
  }

  /** Lets the grantee, such as the cluster's AlertManager, publish to the home Region's topic. */
  grantPublish(grantee: Grantee): void {
    grantee.addStatement({ sid: "PublishAlarms", actions: ["sns:Publish"], resources: [this.alarmTopicArn] });
    this.props.key.grantEncryptDecrypt(grantee);
  }

  private createPrometheus(): PrometheusWorkspace {
    const { key, prefix } = this.props;
    // Below /aws/vendedlogs/ one resource policy serves every group; elsewhere each adds to one of limited length.
    const logGroup = createLogGroup(this, "amp", { name: `/aws/vendedlogs/prometheus/${prefix}-amp`, key });
    return new PrometheusWorkspace(this, "prometheus_workspace.main", {
      alias: physicalName(this, "workspace", `${prefix}-amp`),
      loggingConfiguration: { logGroupArn: `${logGroup.arn}:*` },
      tags: { Name: `${prefix}-amp` },
    });
  }

  private createGrafana(prometheus: PrometheusWorkspace): GrafanaWorkspace {
    const { accountId, grafanaVersion, prefix, region } = this.props;
    const role = new Role(this, "grafana", {
      name: `${prefix}-grafana`,
      description: `Data sources of the ${prefix} Grafana workspace`,
      trust: [
        trustServices(["grafana.amazonaws.com"], {
          StringEquals: { "aws:SourceAccount": accountId },
          StringLike: { "aws:SourceArn": `arn:aws:grafana:${region}:${accountId}:/workspaces/*` },
        }),
      ],
      managedPolicies: { cloudwatch: "service-role/AmazonGrafanaCloudWatchAccess" },
    });
    role.addStatement({ sid: "ListPrometheus", actions: ["aps:ListWorkspaces"], resources: ["*"] });
    role.addStatement({
      sid: "QueryPrometheus",
      actions: ["aps:DescribeWorkspace", "aps:QueryMetrics", "aps:GetLabels", "aps:GetSeries", "aps:GetMetricMetadata"],
      resources: [prometheus.arn],
    });
    return new GrafanaWorkspace(this, "grafana_workspace.main", {
      name: physicalName(this, "grafana workspace", `${prefix}-grafana`),
      description: `Metrics of ${prefix}`,
      accountAccessType: "CURRENT_ACCOUNT",
      authenticationProviders: ["AWS_SSO"],
      permissionType: "SERVICE_MANAGED",
      dataSources: ["PROMETHEUS", "CLOUDWATCH"],
      configuration: JSON.stringify({
        plugins: { pluginAdminEnabled: true },
        unifiedAlerting: { enabled: true },
      }),
      roleArn: role.roleArn,
      ...(grafanaVersion !== undefined && { grafanaVersion }),
    });
  }

  private createPrometheusRole(prometheus: PrometheusWorkspace): Role {
    const { oidc, prefix } = this.props;
    const role = new Role(this, "prometheus", {
      name: `${prefix}-prometheus`,
      description: `Remote write of the ${prefix} cluster's Prometheus`,
      trust: [trustServiceAccount(oidc, PROMETHEUS_NAMESPACE, PROMETHEUS_SERVICE_ACCOUNT)],
    });
    role.addStatement({ sid: "RemoteWrite", actions: ["aps:RemoteWrite"], resources: [prometheus.arn] });
    return role;
  }

  /** The role exists with or without Slack, so that switching it on and off changes one resource. */
  private createSlackChannel(topicArns: readonly string[]): void {
    const { accountId, prefix, slackChannelId = "", slackTeamId = "" } = this.props;
    if (slackTeamId === "" || slackChannelId === "") return;
    const role = new Role(this, "slack", {
      name: `${prefix}-slack`,
      description: `Alarms of ${prefix} in Slack`,
      trust: [trustServices(["chatbot.amazonaws.com"], { StringEquals: { "aws:SourceAccount": accountId } })],
      managedPolicies: { cloudwatch: SLACK_GUARDRAIL },
    });
    new ChatbotSlackChannelConfiguration(this, "chatbot_slack_channel_configuration.alarms", {
      ...(Token.isUnresolved(slackTeamId) && { count: Token.asNumber(Fn.min([Fn.lengthOf(slackTeamId), 1])) }),
      configurationName: `${prefix}-alarms`,
      iamRoleArn: role.roleArn,
      slackTeamId,
      slackChannelId,
      snsTopicArns: [...topicArns],
      guardrailPolicyArns: [`arn:aws:iam::aws:policy/${SLACK_GUARDRAIL}`],
      loggingLevel: "ERROR",
      userAuthorizationRequired: true,
      dependsOn: [...role.attachments],
    });
  }
}
