import { CloudwatchEventRule } from "@cdktf/provider-aws/lib/cloudwatch-event-rule";
import { CloudwatchEventTarget } from "@cdktf/provider-aws/lib/cloudwatch-event-target";
import { SqsQueue } from "@cdktf/provider-aws/lib/sqs-queue";
import { SqsQueuePolicy } from "@cdktf/provider-aws/lib/sqs-queue-policy";
import type { Construct } from "constructs";
import { type OidcProvider, policyJson, type Role, refusePlainText, type Statement } from "../../lib/iam";
import { physicalName } from "../../lib/naming";
import { createServiceRole } from "./irsa";

/** What Karpenter needs of AWS: its controller's role, and the queue on which it hears of interruptions. */
export interface Karpenter {
  readonly role: Role;
  readonly queueName: string;
  readonly queueArn: string;
}

interface KarpenterContext {
  readonly prefix: string;
  readonly accountId: string;
  readonly region: string;
  readonly clusterName: string;
  readonly clusterArn: string;
  readonly oidc: OidcProvider;
  readonly nodeRole: Role;
}

/** Source: AWS architecture §2.3, "karpenter SA (kube-system)". */
const NAMESPACE = "kube-system";
const SERVICE_ACCOUNT = "karpenter";
/** An interruption is announced two minutes ahead; older notices are of no use. Source: Karpenter, "CloudFormation". */
const MESSAGE_RETENTION_SECONDS = 300;

/** Events that announce the loss of a node, by Terraform name. Source: Karpenter, "CloudFormation", "Rules". */
const INTERRUPTIONS: Readonly<Record<string, { readonly source: string; readonly detailType: string }>> = {
  spot_interruption: { source: "aws.ec2", detailType: "EC2 Spot Instance Interruption Warning" },
  rebalance: { source: "aws.ec2", detailType: "EC2 Instance Rebalance Recommendation" },
  instance_state_change: { source: "aws.ec2", detailType: "EC2 Instance State-change Notification" },
  scheduled_change: { source: "aws.health", detailType: "AWS Health Event" },
};

/**
 * Makes `aws_iam_role.karpenter`, `aws_sqs_queue.karpenter` and one event rule per kind of interruption.
 * Source: Infra analysis §2-2 "Karpenter Autoscaler", AWS architecture §2.3; permissions by Karpenter's page "CloudFormation".
 */
export function createKarpenter(scope: Construct, context: KarpenterContext): Karpenter {
  const { oidc, prefix } = context;
  const role = createServiceRole(scope, oidc, "karpenter", {
    name: `${prefix}-karpenter`,
    description: `Karpenter controller of ${prefix}`,
    namespace: NAMESPACE,
    serviceAccount: SERVICE_ACCOUNT,
  });
  const queue = createInterruptionQueue(scope, prefix);
  for (const statement of controllerStatements(context, queue.arn)) role.addStatement(statement);
  return { role, queueName: queue.name, queueArn: queue.arn };
}

function createInterruptionQueue(scope: Construct, prefix: string): SqsQueue {
  const queue = new SqsQueue(scope, "sqs_queue.karpenter", {
    name: physicalName(scope, "queue", `${prefix}-karpenter-interruption`),
    messageRetentionSeconds: MESSAGE_RETENTION_SECONDS,
    sqsManagedSseEnabled: true,
  });
  const rules = Object.entries(INTERRUPTIONS).map(([name, { detailType, source }]) => {
    const rule = new CloudwatchEventRule(scope, `cloudwatch_event_rule.karpenter_${name}`, {
      name: physicalName(scope, "event rule", `${prefix}-karpenter-${name.replaceAll("_", "-")}`),
      description: `Tells Karpenter of: ${detailType}`,
      eventPattern: JSON.stringify({ source: [source], "detail-type": [detailType] }),
    });
    new CloudwatchEventTarget(scope, `cloudwatch_event_target.karpenter_${name}`, {
      rule: rule.name,
      targetId: "karpenter",
      arn: queue.arn,
    });
    return rule;
  });
  new SqsQueuePolicy(scope, "sqs_queue_policy.karpenter", {
    queueUrl: queue.id,
    policy: policyJson([
      {
        sid: "EventRulesSend",
        actions: ["sqs:SendMessage"],
        resources: [queue.arn],
        principals: { services: ["events.amazonaws.com"] },
        conditions: { ArnEquals: { "aws:SourceArn": rules.map(({ arn }) => arn) } },
      },
      refusePlainText(["sqs:*"], [queue.arn]),
    ]),
  });
  return queue;
}

/** What the controller may do. Everything it launches carries the cluster's tags, and it may touch nothing without them. */
function controllerStatements(context: KarpenterContext, queueArn: string): Statement[] {
  const { accountId, clusterArn, clusterName, nodeRole, region } = context;
  const ec2 = (type: string, account = accountId) => `arn:aws:ec2:${region}:${account}:${type}/*`;
  const instanceProfiles = `arn:aws:iam::${accountId}:instance-profile/*`;
  const clusterTag = `kubernetes.io/cluster/${clusterName}`;
  const launched = [
    "fleet",
    "instance",
    "volume",
    "network-interface",
    "launch-template",
    "spot-instances-request",
  ].map((type) => ec2(type));
  const requestedForCluster = {
    [`aws:RequestTag/${clusterTag}`]: "owned",
    "aws:RequestTag/eks:eks-cluster-name": clusterName,
  };
  const ownedByCluster = {
    StringEquals: { [`aws:ResourceTag/${clusterTag}`]: "owned" },
    StringLike: { "aws:ResourceTag/karpenter.sh/nodepool": "*" },
  };
  const profileOfCluster = {
    [`aws:ResourceTag/${clusterTag}`]: "owned",
    "aws:ResourceTag/topology.kubernetes.io/region": region,
  };

  return [
    {
      sid: "LaunchFromImagesAndNetwork",
      actions: ["ec2:RunInstances", "ec2:CreateFleet"],
      resources: [
        // Images and snapshots belong to whoever published them: no account in their ARN.
        ec2("image", ""),
        ec2("snapshot", ""),
        ...["security-group", "subnet", "capacity-reservation"].map((type) => ec2(type)),
      ],
    },
    {
      sid: "LaunchFromOwnTemplates",
      actions: ["ec2:RunInstances", "ec2:CreateFleet"],
      resources: [ec2("launch-template")],
      conditions: ownedByCluster,
    },
    {
      sid: "LaunchTagged",
      actions: ["ec2:RunInstances", "ec2:CreateFleet", "ec2:CreateLaunchTemplate"],
      resources: launched,
      conditions: {
        StringEquals: requestedForCluster,
        StringLike: { "aws:RequestTag/karpenter.sh/nodepool": "*" },
      },
    },
    {
      sid: "TagAtLaunch",
      actions: ["ec2:CreateTags"],
      resources: launched,
      conditions: {
        StringEquals: {
          ...requestedForCluster,
          "ec2:CreateAction": ["RunInstances", "CreateFleet", "CreateLaunchTemplate"],
        },
        StringLike: { "aws:RequestTag/karpenter.sh/nodepool": "*" },
      },
    },
    {
      sid: "NameOwnInstances",
      actions: ["ec2:CreateTags"],
      resources: [ec2("instance")],
      conditions: {
        ...ownedByCluster,
        StringEqualsIfExists: { "aws:RequestTag/eks:eks-cluster-name": clusterName },
        "ForAllValues:StringEquals": { "aws:TagKeys": ["eks:eks-cluster-name", "karpenter.sh/nodeclaim", "Name"] },
      },
    },
    {
      sid: "DeleteOwn",
      actions: ["ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"],
      resources: [ec2("instance"), ec2("launch-template")],
      conditions: ownedByCluster,
    },
    {
      sid: "PassNodeRole",
      actions: ["iam:PassRole"],
      resources: [nodeRole.roleArn],
      conditions: { StringEquals: { "iam:PassedToService": "ec2.amazonaws.com" } },
    },
    {
      sid: "CreateInstanceProfiles",
      actions: ["iam:CreateInstanceProfile"],
      resources: [instanceProfiles],
      conditions: {
        StringEquals: { ...requestedForCluster, "aws:RequestTag/topology.kubernetes.io/region": region },
        StringLike: { "aws:RequestTag/karpenter.k8s.aws/ec2nodeclass": "*" },
      },
    },
    {
      sid: "TagOwnInstanceProfiles",
      actions: ["iam:TagInstanceProfile"],
      resources: [instanceProfiles],
      conditions: {
        StringEquals: {
          ...profileOfCluster,
          ...requestedForCluster,
          "aws:RequestTag/topology.kubernetes.io/region": region,
        },
        StringLike: {
          "aws:ResourceTag/karpenter.k8s.aws/ec2nodeclass": "*",
          "aws:RequestTag/karpenter.k8s.aws/ec2nodeclass": "*",
        },
      },
    },
    {
      sid: "ManageOwnInstanceProfiles",
      actions: ["iam:AddRoleToInstanceProfile", "iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile"],
      resources: [instanceProfiles],
      conditions: {
        StringEquals: profileOfCluster,
        StringLike: { "aws:ResourceTag/karpenter.k8s.aws/ec2nodeclass": "*" },
      },
    },
    { sid: "ReadInstanceProfiles", actions: ["iam:GetInstanceProfile"], resources: [instanceProfiles] },
    { sid: "ListInstanceProfiles", actions: ["iam:ListInstanceProfiles"], resources: ["*"] },
    { sid: "FindCluster", actions: ["eks:DescribeCluster"], resources: [clusterArn] },
    {
      sid: "HearOfInterruptions",
      actions: ["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"],
      resources: [queueArn],
    },
    {
      sid: "ReadEc2",
      actions: [
        "ec2:DescribeCapacityReservations",
        "ec2:DescribeImages",
        "ec2:DescribeInstances",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstanceTypeOfferings",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribePlacementGroups",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSpotPriceHistory",
        "ec2:DescribeSubnets",
      ],
      resources: ["*"],
      conditions: { StringEquals: { "aws:RequestedRegion": region } },
    },
    {
      sid: "ReadImageIds",
      actions: ["ssm:GetParameter"],
      resources: [`arn:aws:ssm:${region}::parameter/aws/service/*`],
    },
    { sid: "ReadPrices", actions: ["pricing:GetProducts"], resources: ["*"] },
  ];
}
