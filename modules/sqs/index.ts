import { SqsQueue } from "@cdktf/provider-aws/lib/sqs-queue";
import { SqsQueuePolicy } from "@cdktf/provider-aws/lib/sqs-queue-policy";
import { SqsQueueRedriveAllowPolicy } from "@cdktf/provider-aws/lib/sqs-queue-redrive-allow-policy";
import { type ITerraformDependable, Lazy } from "cdktf";
import type { Construct } from "constructs";
import { AlarmSet } from "../../lib/alarms";
import { policyJson, type Role, refusePlainText, type Statement } from "../../lib/iam";
import { physicalName } from "../../lib/naming";
import { enforce, problem, type Rule } from "../../lib/rules";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link Sqs}. */
export interface SqsProps {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
  /** How long a message waits to be received: 60 to 1,209,600 seconds. @default 345600, 4 days (Infra analysis §2-6) */
  readonly messageRetentionSeconds?: number;
  /**
   * How long a received message is hidden from others: 0 to 43,200 seconds, at least six times the timeout of the function
   * that consumes it. @default 300 (Infra analysis §2-6)
   */
  readonly visibilityTimeoutSeconds?: number;
  /** Receptions after which a message goes to the dead-letter queue. @default 3 (Infra analysis §2-6) */
  readonly maxReceiveCount?: number;
}

const DEFAULT_MESSAGE_RETENTION_SECONDS = 345_600;
const DEFAULT_VISIBILITY_TIMEOUT_SECONDS = 300;
const DEFAULT_MAX_RECEIVE_COUNT = 3;
/** Source: Infra analysis §2-6. */
const RECEIVE_WAIT_TIME_SECONDS = 10;
/** Fourteen days, SQS's maximum. Source: Infra analysis §2-6 "Dead Letter Queue". */
const DLQ_RETENTION_SECONDS = 1_209_600;
/** Source: Infra analysis §2-6 "CloudWatch 알람": messages that wait longer than ten minutes. */
const MESSAGE_AGE_THRESHOLD_SECONDS = 600;
const ALARM_PERIOD_SECONDS = 300;

const SEND_ACTIONS = ["sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"];
/** What Lambda needs to consume. Source: AWS Lambda, "Creating and configuring an Amazon SQS event source mapping". */
const CONSUME_ACTIONS = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

const RULES: readonly Rule<SqsProps>[] = [
  {
    property: "messageRetentionSeconds",
    given: ({ messageRetentionSeconds = DEFAULT_MESSAGE_RETENTION_SECONDS }) => messageRetentionSeconds,
    valid: ({ messageRetentionSeconds = DEFAULT_MESSAGE_RETENTION_SECONDS }) =>
      messageRetentionSeconds >= 60 && messageRetentionSeconds <= DLQ_RETENTION_SECONDS,
    allowed: `60 to ${DLQ_RETENTION_SECONDS} seconds`,
    remedy: "SQS keeps no message longer than 14 days.",
  },
  {
    property: "visibilityTimeoutSeconds",
    given: ({ visibilityTimeoutSeconds = DEFAULT_VISIBILITY_TIMEOUT_SECONDS }) => visibilityTimeoutSeconds,
    valid: ({ visibilityTimeoutSeconds = DEFAULT_VISIBILITY_TIMEOUT_SECONDS }) =>
      visibilityTimeoutSeconds >= 0 && visibilityTimeoutSeconds <= 43_200,
    allowed: "0 to 43200 seconds",
    remedy: "SQS hides no message longer than 12 hours.",
  },
  {
    property: "maxReceiveCount",
    given: ({ maxReceiveCount = DEFAULT_MAX_RECEIVE_COUNT }) => maxReceiveCount,
    valid: ({ maxReceiveCount = DEFAULT_MAX_RECEIVE_COUNT }) =>
      Number.isInteger(maxReceiveCount) && maxReceiveCount >= 1 && maxReceiveCount <= 1000,
    allowed: "1 to 1000",
    remedy: "One failure should not end in the dead-letter queue: 3 or more.",
  },
];

/**
 * The queue of ticket events: first in, first out per message group, with a dead-letter queue. Its policy names exactly the
 * roles that were granted something, and refuses connections without TLS.
 * Source: Infra analysis §2-6, AWS architecture §5.6, Architecture guide §8.4.
 */
export class Sqs extends Module {
  readonly queueArn: string;
  readonly queueUrl: string;
  readonly queueName: string;
  readonly dlqArn: string;
  readonly dlqUrl: string;
  readonly dlqName: string;
  readonly visibilityTimeoutSeconds: number;
  /** The queue's policy: a consumer is set up after it, because Lambda tries to receive when the mapping is made. */
  readonly policyDependable: ITerraformDependable;
  /** Messages in the dead-letter queue, and messages that wait too long. */
  readonly alarms: AlarmSet;

  private readonly producers: string[] = [];
  private readonly consumers: string[] = [];

  constructor(scope: Construct, id: string, props: SqsProps) {
    super(scope, id);
    enforce(this, props, RULES);
    const { prefix } = props;

    const dlq = this.createDeadLetterQueue(prefix);
    const queue = this.createQueue(props, dlq);
    // A resource of its own: as arguments of the two queues, the policies would refer to each other in a circle.
    new SqsQueueRedriveAllowPolicy(this, "sqs_queue_redrive_allow_policy.dlq", {
      queueUrl: dlq.url,
      redriveAllowPolicy: JSON.stringify({ redrivePermission: "byQueue", sourceQueueArns: [queue.arn] }),
    });
    this.policyDependable = new SqsQueuePolicy(this, "sqs_queue_policy.main", {
      queueUrl: queue.url,
      policy: Lazy.stringValue({ produce: () => policyJson(this.statements()) }),
    });
    new SqsQueuePolicy(this, "sqs_queue_policy.dlq", {
      queueUrl: dlq.url,
      policy: policyJson([refusePlainText(["sqs:*"], [dlq.arn])]),
    });

    this.queueArn = queue.arn;
    this.queueUrl = queue.url;
    this.queueName = queue.name;
    this.dlqArn = dlq.arn;
    this.dlqUrl = dlq.url;
    this.dlqName = dlq.name;
    this.visibilityTimeoutSeconds = props.visibilityTimeoutSeconds ?? DEFAULT_VISIBILITY_TIMEOUT_SECONDS;
    this.alarms = this.createAlarms(prefix);
    this.node.addValidation({ validate: () => this.missingGrants() });
  }

  /** Lets a role send messages, in its own policy and in the queue's. */
  grantSend(role: Role): void {
    this.grant(role, this.producers, { sid: "SendTicketEvents", actions: SEND_ACTIONS });
  }

  /** Lets a role receive and delete messages, in its own policy and in the queue's: what an event source mapping needs. */
  grantConsume(role: Role): void {
    this.grant(role, this.consumers, { sid: "ConsumeTicketEvents", actions: CONSUME_ACTIONS });
  }

  private grant(role: Role, roleArns: string[], statement: Pick<Statement, "sid" | "actions">): void {
    role.addStatement({ ...statement, resources: [this.queueArn] });
    if (!roleArns.includes(role.roleArn)) roleArns.push(role.roleArn);
  }

  private statements(): Statement[] {
    const resources = [this.queueArn];
    const allowed: Statement[] = [
      { sid: "Produce", actions: SEND_ACTIONS, principals: { aws: this.producers }, resources },
      { sid: "Consume", actions: CONSUME_ACTIONS, principals: { aws: this.consumers }, resources },
    ];
    return [...allowed, refusePlainText(["sqs:*"], [this.queueArn])];
  }

  private createDeadLetterQueue(prefix: string): SqsQueue {
    return new SqsQueue(this, "sqs_queue.dlq", {
      name: physicalName(this, "queue", `${prefix}-ticket-events-dlq.fifo`),
      fifoQueue: true,
      messageRetentionSeconds: DLQ_RETENTION_SECONDS,
      sqsManagedSseEnabled: true,
    });
  }

  private createQueue(props: SqsProps, dlq: SqsQueue): SqsQueue {
    return new SqsQueue(this, "sqs_queue.main", {
      name: physicalName(this, "queue", `${props.prefix}-ticket-events.fifo`),
      fifoQueue: true,
      contentBasedDeduplication: true,
      // High throughput: both must be set, one without the other is refused.
      deduplicationScope: "messageGroup",
      fifoThroughputLimit: "perMessageGroupId",
      messageRetentionSeconds: props.messageRetentionSeconds ?? DEFAULT_MESSAGE_RETENTION_SECONDS,
      visibilityTimeoutSeconds: props.visibilityTimeoutSeconds ?? DEFAULT_VISIBILITY_TIMEOUT_SECONDS,
      receiveWaitTimeSeconds: RECEIVE_WAIT_TIME_SECONDS,
      sqsManagedSseEnabled: true,
      redrivePolicy: JSON.stringify({
        deadLetterTargetArn: dlq.arn,
        maxReceiveCount: props.maxReceiveCount ?? DEFAULT_MAX_RECEIVE_COUNT,
      }),
    });
  }

  private createAlarms(prefix: string): AlarmSet {
    const alarms = new AlarmSet(this);
    alarms.add("dlq_messages", {
      name: `${prefix}-ticket-events-dlq-messages`,
      description:
        "HIGH: ticket events failed three times and wait in the dead-letter queue. Find the cause in the worker's logs, then redrive them.",
      namespace: "AWS/SQS",
      metricName: "ApproximateNumberOfMessagesVisible",
      dimensions: { QueueName: this.dlqName },
      statistic: "Maximum",
      periodSeconds: ALARM_PERIOD_SECONDS,
      threshold: 0,
      comparison: "GreaterThanThreshold",
    });
    alarms.add("message_age", {
      name: `${prefix}-ticket-events-message-age`,
      description:
        "WARNING: a ticket event has waited for more than ten minutes. The worker is failing, throttled or too slow.",
      namespace: "AWS/SQS",
      metricName: "ApproximateAgeOfOldestMessage",
      dimensions: { QueueName: this.queueName },
      statistic: "Maximum",
      periodSeconds: ALARM_PERIOD_SECONDS,
      threshold: MESSAGE_AGE_THRESHOLD_SECONDS,
      comparison: "GreaterThanThreshold",
    });
    return alarms;
  }

  private missingGrants(): string[] {
    const parties = [
      [this.producers, "a producer", "Call grantSend(role) in the stack."],
      [this.consumers, "a consumer", "Call grantConsume(role), or give the queue to LambdaWorker."],
    ] as const;
    return parties
      .filter(([roleArns]) => roleArns.length === 0)
      .map(([, who, remedy]) => problem("queue policy", undefined, `a role as ${who}`, remedy));
  }
}
