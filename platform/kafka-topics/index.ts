import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import { createRelease } from "../../lib/helm";
import { enforce, type Rule } from "../../lib/rules";
import { Module } from "../../lib/terraform-modules";

/** A topic. */
export interface TopicProps {
  readonly name: string;
  /** It can be raised, never lowered. */
  readonly partitions: number;
  /** Settings by Kafka's names. */
  readonly config: Readonly<Record<string, string>>;
}

/** Properties of {@link KafkaTopics}. */
export interface KafkaTopicsProps {
  readonly namespace: string;
  /** Image with Kafka's command line. */
  readonly image: string;
  /** Image with `curl` and `sha256sum`. */
  readonly downloadImage: string;
  readonly bootstrapServers: string;
  readonly roleArn: string;
  /** Copies of each partition. */
  readonly replication: number;
  readonly topics: readonly TopicProps[];
  /** What lets Kafka's command line authenticate by IAM. */
  readonly iamAuth: { readonly url: string; readonly sha256: string };
  readonly dependsOn?: ITerraformDependable[];
}

const RULES: readonly Rule<KafkaTopicsProps>[] = [
  {
    property: "topics",
    given: ({ topics }) => topics.map(({ name }) => name),
    valid: ({ topics }) =>
      new Set(topics.map(({ name }) => name)).size === topics.length &&
      topics.every(({ name, partitions }) => /^[A-Za-z0-9._-]{1,249}$/.test(name) && partitions >= 1),
    allowed: "different names of letters, digits, dots, _ and -, each with at least one partition",
    remedy: "Kafka refuses others.",
  },
  {
    property: "topics.config",
    given: ({ topics }) => topics.flatMap(({ config }) => Object.entries(config).flat()),
    valid: ({ topics }) =>
      topics.every(({ config }) =>
        Object.entries(config)
          .flat()
          .every((text) => !/[\s,=]/.test(text)),
      ),
    allowed: "keys and values without spaces, commas and equals signs",
    remedy: "kafka-configs.sh reads them as one list.",
  },
];

/** Job that makes the topics, since the brokers make none by themselves. Source: Infra analysis §2-5, §9-2, Architecture guide §8.3. */
export class KafkaTopics extends Module {
  constructor(scope: Construct, id: string, props: KafkaTopicsProps) {
    super(scope, id);
    enforce(this, props, RULES);
    const { dependsOn = [], namespace, ...values } = props;
    createRelease(this, "topics", {
      name: "kafka-topics",
      namespace,
      chart: { name: "kafka-topics" },
      values,
      waitForJobs: true,
      dependsOn,
    });
  }
}
