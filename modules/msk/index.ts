import { MskCluster } from "@cdktf/provider-aws/lib/msk-cluster";
import { MskConfiguration } from "@cdktf/provider-aws/lib/msk-configuration";
import type { Construct } from "constructs";
import { AlarmSet } from "../../lib/alarms";
import type { Grantee } from "../../lib/iam";
import type { EncryptionKey } from "../../lib/kms";
import { createLogGroup } from "../../lib/log-group";
import { physicalName } from "../../lib/naming";
import { enforce, problem, type Rule } from "../../lib/rules";
import { type Connectable, type Peer, SecurityGroup, tcp } from "../../lib/security-group";
import { Module } from "../../lib/terraform-modules";
import type { Vpc } from "../vpc";

/** Properties of {@link Msk}. */
export interface MskProps {
  /** Start of every name, such as `urr-prod`. Replacing it destroys the cluster. */
  readonly prefix: string;
  readonly region: string;
  /** AWS account, twelve digits. */
  readonly accountId: string;
  readonly vpc: Vpc;
  /** Encrypts the brokers' volumes and logs. Replacing it destroys the cluster. Source: Infra analysis §9-3. */
  readonly key: EncryptionKey;
  /**
   * Whether AWS's own key for the service encrypts storage instead of `key`: for a cluster that is taken over from elsewhere, because
   * another key means another cluster.
   *
   * @default false
   */
  readonly encryptedByService?: boolean;
  /** Kafka version, such as `3.6.0` or, from 3.7 on, `3.9.x`. It can be raised in place, never lowered. */
  readonly kafkaVersion: string;
  /** Brokers, a multiple of the VPC's zones. It can grow. Source: Infra analysis §2-5. */
  readonly brokerNodes: number;
  /** Broker type. `kafka.t3.small` takes four new IAM connections per second: clients need a reconnect back-off. Source: Infra analysis §2-5. */
  readonly instanceType: string;
  /** Volume of each broker, GiB. It can grow, never shrink. Source: Infra analysis §2-5. */
  readonly volumeSizeGib: number;
  /** Partitions of a topic that does not say. @default 3 (Infra analysis §2-5) */
  readonly defaultPartitions?: number;
  /** Hours for which messages are kept. @default 168 (Infra analysis §2-5) */
  readonly logRetentionHours?: number;
  /** Days for which the brokers' logs are kept. @default 7 (Infra analysis §2-5) */
  readonly logRetentionDays?: number;
}

/** Port of clients that authenticate by IAM, within the VPC. */
const IAM_PORT = 9098;
/** Port on which brokers know ZooKeeper. Source: AWS architecture §6.3. */
const ZOOKEEPER_PORT = 2181;
const DEFAULT_PARTITIONS = 3;
const DEFAULT_LOG_RETENTION_HOURS = 168;
const DEFAULT_LOG_RETENTION_DAYS = 7;
const VOLUME_RANGE_GIB = { min: 1, max: 16_384 };
/** Source: Amazon MSK quotas, brokers per cluster. */
const MAX_BROKERS = 30;
/** Source: Apache Kafka, "Topics": legal names. */
const TOPIC_NAME = /^[\w.-]{1,249}$/;

const RULES: readonly Rule<MskProps>[] = [
  {
    property: "kafkaVersion",
    given: ({ kafkaVersion }) => kafkaVersion,
    valid: ({ kafkaVersion }) => /^\d+\.\d+\.(\d+|x)(\.kraft)?$/.test(kafkaVersion),
    allowed: "a version as MSK writes it, such as 3.6.0 or 3.9.x",
    remedy: "Take one that MSK's page on supported versions still lists without an end-of-support date in the past.",
  },
  {
    property: "brokerNodes",
    given: ({ brokerNodes, vpc }) => ({ brokerNodes, zones: vpc.availabilityZones.length }),
    valid: ({ brokerNodes, vpc }) =>
      Number.isInteger(brokerNodes) &&
      brokerNodes > 0 &&
      brokerNodes <= MAX_BROKERS &&
      brokerNodes % vpc.availabilityZones.length === 0,
    allowed: ({ vpc }) => `a multiple of the ${vpc.availabilityZones.length} zones, at most ${MAX_BROKERS}`,
    remedy: "MSK puts the same number of brokers into each subnet; three brokers need a third zone.",
  },
  {
    property: "instanceType",
    given: ({ instanceType }) => instanceType,
    valid: ({ instanceType }) => /^kafka\.[a-z]+\d[a-z]*\.[a-z0-9]+$/.test(instanceType),
    allowed: "a broker type such as kafka.t3.small",
    remedy: "MSK's standard brokers start with kafka.",
  },
  {
    property: "volumeSizeGib",
    given: ({ volumeSizeGib }) => volumeSizeGib,
    valid: ({ volumeSizeGib }) =>
      Number.isInteger(volumeSizeGib) && volumeSizeGib >= VOLUME_RANGE_GIB.min && volumeSizeGib <= VOLUME_RANGE_GIB.max,
    allowed: `${VOLUME_RANGE_GIB.min} to ${VOLUME_RANGE_GIB.max} GiB per broker`,
    remedy: "Add brokers for more.",
  },
  {
    property: "defaultPartitions",
    given: ({ defaultPartitions = DEFAULT_PARTITIONS }) => defaultPartitions,
    valid: ({ defaultPartitions = DEFAULT_PARTITIONS }) =>
      Number.isInteger(defaultPartitions) && defaultPartitions >= 1,
    allowed: "1 or more",
    remedy: "A topic has at least one partition.",
  },
];

/**
 * Kafka: events between services. Brokers admit IAM-authenticated clients over TLS on 9098 and nobody else.
 * Source: Infra analysis §2-5, AWS architecture §5.3, Architecture guide §8.3.
 */
export class Msk extends Module {
  /** ARN, with a suffix that only AWS knows. */
  readonly clusterArn: string;
  readonly clusterName: string;
  /** Bootstrap brokers, `host:9098` separated by commas. The TLS and plaintext strings are empty on a cluster that admits IAM only. */
  readonly bootstrapBrokersSaslIam: string;
  readonly alarms: AlarmSet;

  private readonly props: MskProps;
  private readonly securityGroup: SecurityGroup;

  constructor(scope: Construct, id: string, props: MskProps) {
    super(scope, id);
    this.props = props;
    enforce(this, props, RULES);
    this.alarms = new AlarmSet(this);

    this.clusterName = physicalName(this, "kafka cluster", `${props.prefix}-kafka`);
    this.securityGroup = this.createSecurityGroup();
    const cluster = this.createCluster();
    this.addClusterAlarms(cluster);
    for (let broker = 1; broker <= props.brokerNodes; broker += 1) this.addBrokerAlarms(cluster, broker);

    this.clusterArn = cluster.arn;
    this.bootstrapBrokersSaslIam = cluster.bootstrapBrokersSaslIam;
  }

  /** Lets a peer connect to the brokers. What it may do there is granted to its role. */
  allowFrom(peer: Peer | Connectable, description: string): void {
    this.securityGroup.allowFrom("securityGroup" in peer ? peer.securityGroup : peer, tcp(IAM_PORT), description);
  }

  /** Lets the grantee write to a topic, idempotently: Kafka's producers do so by default. */
  grantProduce(grantee: Grantee, topic: string): void {
    this.grantConnect(grantee);
    grantee.addStatement({
      sid: "WriteToKafkaIdempotently",
      actions: ["kafka-cluster:WriteDataIdempotently"],
      resources: [this.arn("cluster")],
    });
    grantee.addStatement({
      sid: `ProduceTo${sidOf(topic)}`,
      actions: ["kafka-cluster:DescribeTopic", "kafka-cluster:WriteData"],
      resources: [this.topicArn(topic)],
    });
  }

  /** Lets the grantee read a topic in consumer groups whose names start with the prefix. */
  grantConsume(grantee: Grantee, topic: string, groupPrefix: string): void {
    this.checkName("groupPrefix", groupPrefix);
    this.grantConnect(grantee);
    grantee.addStatement({
      sid: `ConsumeFrom${sidOf(topic)}`,
      actions: ["kafka-cluster:DescribeTopic", "kafka-cluster:ReadData"],
      resources: [this.topicArn(topic)],
    });
    grantee.addStatement({
      sid: `JoinGroups${sidOf(groupPrefix)}`,
      actions: ["kafka-cluster:DescribeGroup", "kafka-cluster:AlterGroup"],
      resources: [this.arn("group", `${groupPrefix}*`)],
    });
  }

  /** Lets the grantee make a topic and change its settings, not read or write it: for the job that applies the topics kept as code. */
  grantManageTopic(grantee: Grantee, topic: string): void {
    this.grantConnect(grantee);
    grantee.addStatement({
      sid: `Manage${sidOf(topic)}`,
      actions: [
        "kafka-cluster:CreateTopic",
        "kafka-cluster:DescribeTopic",
        "kafka-cluster:AlterTopic",
        "kafka-cluster:DescribeTopicDynamicConfiguration",
        "kafka-cluster:AlterTopicDynamicConfiguration",
      ],
      resources: [this.topicArn(topic)],
    });
  }

  private grantConnect(grantee: Grantee): void {
    grantee.addStatement({
      sid: "ConnectToKafka",
      actions: ["kafka-cluster:Connect"],
      resources: [this.arn("cluster")],
    });
  }

  private topicArn(topic: string): string {
    this.checkName("topic", topic);
    return this.arn("topic", topic);
  }

  /** The wildcard stands for the suffix that AWS gives the cluster; name, Region and account leave no other cluster. */
  private arn(kind: "cluster" | "topic" | "group", name?: string): string {
    const { accountId, region } = this.props;
    const path = [kind, this.clusterName, "*", ...(name === undefined ? [] : [name])].join("/");
    return `arn:aws:kafka:${region}:${accountId}:${path}`;
  }

  /** A `*` in a name would grant more than one topic. */
  private checkName(what: string, name: string): void {
    if (TOPIC_NAME.test(name)) return;
    this.node.addValidation({
      validate: () => [
        problem(what, name, "1 to 249 letters, digits and . _ -", "Grant each topic by its whole name."),
      ],
    });
  }

  private createSecurityGroup(): SecurityGroup {
    const { prefix, vpc } = this.props;
    const group = new SecurityGroup(this, "brokers", {
      name: `${prefix}-msk`,
      description: `Kafka brokers of ${prefix}`,
      vpcId: vpc.vpcId,
      label: "msk",
    });
    group.allowFrom(group, tcp(ZOOKEEPER_PORT), "ZooKeeper among the brokers");
    return group;
  }

  private createCluster(): MskCluster {
    const { brokerNodes, encryptedByService, instanceType, kafkaVersion, key, prefix, volumeSizeGib, vpc } = this.props;
    const configuration = new MskConfiguration(this, "msk_configuration.main", {
      name: physicalName(this, "kafka configuration", `${prefix}-kafka`),
      description: `Broker settings of ${prefix}`,
      // Without a list of versions: it can only be changed by replacing the configuration, which is in use.
      serverProperties: this.serverProperties(),
    });
    const logGroup = createLogGroup(this, "brokers", {
      name: `/aws/msk/${this.clusterName}`,
      key,
      retentionDays: this.props.logRetentionDays ?? DEFAULT_LOG_RETENTION_DAYS,
    });
    return new MskCluster(this, "msk_cluster.main", {
      clusterName: this.clusterName,
      kafkaVersion,
      numberOfBrokerNodes: brokerNodes,
      enhancedMonitoring: "PER_TOPIC_PER_BROKER",
      brokerNodeGroupInfo: {
        instanceType,
        clientSubnets: [...vpc.tiers.streaming.subnetIds],
        securityGroups: [this.securityGroup.securityGroupId],
        storageInfo: { ebsStorageInfo: { volumeSize: volumeSizeGib } },
      },
      clientAuthentication: { unauthenticated: false, sasl: { iam: true, scram: false } },
      configurationInfo: { arn: configuration.arn, revision: configuration.latestRevision },
      encryptionInfo: {
        ...(!encryptedByService && { encryptionAtRestKmsKeyArn: key.keyArn }),
        encryptionInTransit: { clientBroker: "TLS", inCluster: true },
      },
      loggingInfo: { brokerLogs: { cloudwatchLogs: { enabled: true, logGroup: logGroup.name } } },
    });
  }

  /**
   * Source: Infra analysis §2-5 "서버 프로퍼티"; topics are made as code, so a misspelt name makes none (§9-2). With more
   * than two brokers a topic has three replicas: with two of two in sync, the restart of one broker would stop all writes.
   */
  private serverProperties(): string {
    const { brokerNodes, defaultPartitions = DEFAULT_PARTITIONS } = this.props;
    const properties: Readonly<Record<string, boolean | number>> = {
      "auto.create.topics.enable": false,
      "default.replication.factor": Math.min(brokerNodes, 3),
      "min.insync.replicas": brokerNodes > 2 ? 2 : 1,
      "num.partitions": defaultPartitions,
      "unclean.leader.election.enable": false,
      "log.retention.hours": this.props.logRetentionHours ?? DEFAULT_LOG_RETENTION_HOURS,
    };
    return Object.entries(properties)
      .map(([name, value]) => `${name}=${value}\n`)
      .join("");
  }

  /** Source: Infra analysis §2-5 "CloudWatch 알람", AWS architecture §10. */
  private addClusterAlarms(cluster: MskCluster): void {
    const metric = {
      namespace: "AWS/Kafka",
      dimensions: { "Cluster Name": cluster.clusterName },
      // Each broker reports its own share: the average of one controller among two brokers is a half.
      statistic: "Maximum",
      periodSeconds: 60,
    };
    this.alarms.add("active_controller_count", {
      ...metric,
      name: `${this.clusterName}-active-controller-count`,
      description:
        "CRITICAL: the Kafka cluster has had no active controller for five minutes: no partition can change its leader. See the brokers' logs and the cluster's state.",
      metricName: "ActiveControllerCount",
      evaluationPeriods: 5,
      threshold: 1,
      comparison: "LessThanThreshold",
      // Brokers that are gone report nothing.
      treatMissingData: "breaching",
    });
    this.alarms.add("offline_partitions_count", {
      ...metric,
      name: `${this.clusterName}-offline-partitions-count`,
      description:
        "CRITICAL: partitions have no leader: their topics can be neither read nor written. See which broker is down.",
      metricName: "OfflinePartitionsCount",
      evaluationPeriods: 1,
      threshold: 0,
      comparison: "GreaterThanThreshold",
    });
  }

  /** Source: Amazon MSK, "Best practices for Standard brokers": monitor disk space; Infra analysis §9-2 on one in-sync replica. */
  private addBrokerAlarms(cluster: MskCluster, broker: number): void {
    const metric = {
      namespace: "AWS/Kafka",
      dimensions: { "Cluster Name": cluster.clusterName, "Broker ID": `${broker}` },
      statistic: "Maximum",
      periodSeconds: 300,
      evaluationPeriods: 3,
    };
    this.alarms.add(`data_logs_disk_used_${broker}`, {
      ...metric,
      name: `${this.clusterName}-data-logs-disk-used-${broker}`,
      description: `HIGH: more than 85 % of the disk of broker ${broker} has been full for 15 minutes; a full broker stops. Raise volumeSizeGib or shorten the topics' retention.`,
      metricName: "KafkaDataLogsDiskUsed",
      threshold: 85,
      comparison: "GreaterThanThreshold",
    });
    this.alarms.add(`under_replicated_partitions_${broker}`, {
      ...metric,
      name: `${this.clusterName}-under-replicated-partitions-${broker}`,
      description: `HIGH: partitions led by broker ${broker} have lacked a replica for 15 minutes: one more failure loses what was written since. See whether the other broker is up and keeps pace.`,
      metricName: "UnderReplicatedPartitions",
      threshold: 0,
      comparison: "GreaterThanThreshold",
    });
  }
}

/** `PaymentEventsDLT` of `payment-events.DLT`. */
function sidOf(name: string): string {
  return name.replaceAll(/(?:^|[^A-Za-z0-9]+)([A-Za-z0-9]|$)/g, (_, letter: string) => letter.toUpperCase());
}
