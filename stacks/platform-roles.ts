import type { Environment } from "../environments/environment";
import { SERVICE_ACCOUNTS, TOPIC_SETTINGS } from "../environments/platform";
import { SHARED_SECRETS, type SharedSecret } from "../environments/services";
import type { Grantee, Role } from "../lib/iam";
import type { Secret } from "../lib/secret";
import type { Alb } from "../modules/alb";
import type { Eks } from "../modules/eks";
import type { Monitoring } from "../modules/monitoring";
import type { Msk } from "../modules/msk";
import type { Secrets } from "../modules/secrets";

/** Name of a part of the platform that has a role of its own. */
export type PlatformRole = keyof typeof SERVICE_ACCOUNTS;

/** Modules that the platform's parts may use. */
export interface PlatformRoleModules {
  readonly alb: Alb;
  readonly eks: Eks;
  readonly monitoring: Monitoring;
  readonly msk: Msk;
  readonly secrets: Secrets;
}

/**
 * Makes the roles of what the platform stack runs in the cluster, each trusted by one service account, and returns their ARNs
 * by name. Prometheus and Karpenter have theirs in `monitoring` and `eks`.
 */
export function createPlatformRoles(
  { alb, eks, monitoring, msk, secrets }: PlatformRoleModules,
  { prefix, region }: Environment,
): Record<PlatformRole, string> {
  const role = (id: PlatformRole, description: string): Role =>
    eks.addServiceRole(id, {
      ...SERVICE_ACCOUNTS[id],
      name: `${prefix}-${id.replaceAll("_", "-")}`,
      description: `${description} of ${prefix}`,
    });
  const read = (grantee: Grantee, granted: readonly Secret[]) => {
    for (const secret of granted) secret.grantRead(grantee);
  };

  const loadBalancerController = role("load_balancer_controller", "AWS Load Balancer Controller");
  grantRegisterTargets(loadBalancerController, Object.values(alb.targetGroupArns));

  // The master user's credentials are not among them: only the job that needs them can read them.
  const externalSecrets = role("external_secrets", "External Secrets");
  const shared: Record<SharedSecret, Secret> = {
    "jwt-secret": secrets.jwtSecret,
    "queue-entry-token-secret": secrets.queueEntryTokenSecret,
    "internal-api-token": secrets.internalApiToken,
  };
  read(externalSecrets, [
    ...Object.values(secrets.databaseUsers),
    secrets.redisAuthToken,
    ...SHARED_SECRETS.map((name) => shared[name]),
  ]);

  const databaseBootstrap = role("database_bootstrap", "Job that makes databases and users");
  read(databaseBootstrap, [secrets.rdsCredentials, ...Object.values(secrets.databaseUsers)]);

  const kafkaTopics = role("kafka_topics", "Job that makes topics");
  for (const { name } of TOPIC_SETTINGS) msk.grantManageTopic(kafkaTopics, name);

  const alertmanager = role("alertmanager", "Alertmanager");
  monitoring.grantPublish(alertmanager);

  const grafana = role("grafana_in_cluster", "Grafana in the cluster");
  grantReadMetrics(grafana, region);

  return {
    load_balancer_controller: loadBalancerController.roleArn,
    external_secrets: externalSecrets.roleArn,
    database_bootstrap: databaseBootstrap.roleArn,
    kafka_topics: kafkaTopics.roleArn,
    alertmanager: alertmanager.roleArn,
    grafana_in_cluster: grafana.roleArn,
  };
}

/**
 * What the controller needs to add and remove pods of existing target groups, and nothing with which it could make load balancers
 * or change security groups: those are this repository's. Source: AWS Load Balancer Controller, "Installation", "Special IAM
 * cases"; narrowed to our own target groups where IAM can.
 */
function grantRegisterTargets(grantee: Grantee, targetGroupArns: readonly string[]): void {
  grantee.addStatement({
    sid: "FindTargetGroupsAndPods",
    actions: [
      "ec2:DescribeAvailabilityZones",
      "ec2:DescribeInstances",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets",
      "ec2:DescribeVpcs",
      "elasticloadbalancing:DescribeTargetGroups",
      "elasticloadbalancing:DescribeTargetHealth",
    ],
    resources: ["*"],
  });
  grantee.addStatement({
    sid: "RegisterPods",
    actions: ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"],
    resources: targetGroupArns,
  });
}

/** What Grafana's CloudWatch data source asks for metrics, in this Region. Source: Grafana, "CloudWatch data source", "IAM policies". */
function grantReadMetrics(grantee: Grantee, region: string): void {
  grantee.addStatement({
    sid: "ReadMetrics",
    actions: [
      "cloudwatch:DescribeAlarmsForMetric",
      "cloudwatch:DescribeAlarms",
      "cloudwatch:GetMetricData",
      "cloudwatch:ListMetrics",
    ],
    resources: ["*"],
    conditions: { StringEquals: { "aws:RequestedRegion": region } },
  });
}
