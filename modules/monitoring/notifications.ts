import { KmsAlias } from "@cdktf/provider-aws/lib/kms-alias";
import type { AwsProvider } from "@cdktf/provider-aws/lib/provider";
import { SnsTopic } from "@cdktf/provider-aws/lib/sns-topic";
import { SnsTopicPolicy } from "@cdktf/provider-aws/lib/sns-topic-policy";
import { SnsTopicSubscription } from "@cdktf/provider-aws/lib/sns-topic-subscription";
import { TerraformIterator } from "cdktf";
import type { Construct } from "constructs";
import { policyJson, refusePlainText } from "../../lib/iam";
import { physicalName } from "../../lib/naming";

interface AlarmTopicProps {
  readonly prefix: string;
  readonly accountId: string;
  readonly region: string;
  /** Key that encrypts what waits for delivery; its policy must let CloudWatch decrypt and generate data keys. */
  readonly keyArn: string;
  readonly emails: readonly string[];
  /** Provider of the topic's Region, where that is not the stack's own. */
  readonly provider?: AwsProvider;
}

/**
 * Makes `aws_sns_topic.<id>` with its policy, one e-mail subscription per address, and `aws_kms_alias.<id>`: the topic names
 * its key by alias, so that a plan shows that it is encrypted before the key exists.
 */
export function createAlarmTopic(scope: Construct, id: string, props: AlarmTopicProps): SnsTopic {
  const { accountId, emails, keyArn, prefix, provider, region } = props;
  const at = provider && { provider };
  const alias = new KmsAlias(scope, `kms_alias.${id}`, {
    name: physicalName(scope, "alias", `alias/${prefix}-alarms`),
    targetKeyId: keyArn,
    ...at,
  });
  const topic = new SnsTopic(scope, `sns_topic.${id}`, {
    name: physicalName(scope, "topic", `${prefix}-alarms`),
    displayName: `${prefix} alarms`,
    kmsMasterKeyId: alias.name,
    ...at,
  });
  new SnsTopicPolicy(scope, `sns_topic_policy.${id}`, {
    arn: topic.arn,
    policy: policyJson([
      {
        sid: "AlarmsPublish",
        actions: ["sns:Publish"],
        resources: [topic.arn],
        principals: { services: ["cloudwatch.amazonaws.com"] },
        conditions: {
          StringEquals: { "aws:SourceAccount": accountId },
          ArnLike: { "aws:SourceArn": `arn:aws:cloudwatch:${region}:${accountId}:alarm:*` },
        },
      },
      refusePlainText(["sns:Publish"], [topic.arn]),
    ]),
    ...at,
  });
  const addresses = TerraformIterator.fromList([...emails]);
  new SnsTopicSubscription(scope, `sns_topic_subscription.${id}_email`, {
    forEach: addresses,
    topicArn: topic.arn,
    protocol: "email",
    endpoint: addresses.value,
    ...at,
  });
  return topic;
}
