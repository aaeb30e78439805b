import { describe, expect, it } from "vitest";
import { Msk, type MskProps } from "../../modules/msk";
import { Vpc } from "../../modules/vpc";
import { expectGrant, expectNoGrant } from "../support/access";
import { expectEncrypted } from "../support/encryption";
import { ALARM_TOPIC_ARN, type Foundation, problemsOnFoundation, synthOnFoundation } from "../support/foundation";
import { admissions, expectReachable, expectUnreachable } from "../support/network";
import { ACCOUNT_ID, REGION, type TestStack } from "../support/synth";
import type { TerraformStack } from "../support/terraform";

/** Infra analysis §2-5, columns Prod and Staging. */
const PROD = {
  prefix: "urr-prod",
  kafkaVersion: "3.6.0",
  brokerNodes: 2,
  instanceType: "kafka.t3.small",
  volumeSizeGib: 50,
};
const STAGING = { ...PROD, prefix: "urr-staging", volumeSizeGib: 20 };

const CLUSTER = "module.msk.aws_msk_cluster.main";
const CLIENT = "aws_network_interface.client";

function create(stack: TestStack, { secrets, vpc }: Foundation, props: Partial<MskProps>): Msk {
  const msk = new Msk(stack, "msk", {
    ...PROD,
    region: REGION,
    accountId: ACCOUNT_ID,
    vpc,
    key: secrets.key,
    ...props,
  });
  msk.alarms.notify(ALARM_TOPIC_ARN);
  return msk;
}

function synth(props: Partial<MskProps> = {}, use?: (msk: Msk, foundation: Foundation) => void): TerraformStack {
  return synthOnFoundation((stack, foundation) => {
    const msk = create(stack, foundation, props);
    use?.(msk, foundation);
  });
}

function problems(props: Partial<MskProps>, use?: (msk: Msk, foundation: Foundation) => void): readonly string[] {
  return problemsOnFoundation((stack, foundation) => {
    const msk = create(stack, foundation, props);
    use?.(msk, foundation);
  });
}

/** The broker settings of a cluster, read as Kafka reads a properties file. */
function serverProperties(stack: TerraformStack): Record<string, string> {
  const [configuration] = stack.referred(stack.at(CLUSTER), "configuration_info.arn");
  const text = configuration ? String(stack.resolve(configuration, "server_properties")) : "";
  return Object.fromEntries(
    text
      .trim()
      .split("\n")
      .map((line) => line.split("=") as [string, string]),
  );
}

describe("msk", () => {
  const prod = synth({}, (msk, { client }) => msk.allowFrom(client, "Events of a client"));
  const staging = synth(STAGING);

  it.each([
    ["prod", prod, 50],
    ["staging", staging, 20],
  ])("is the documented Kafka in %s", (_, stack, volumeSize) => {
    expect(stack.arguments(stack.at(CLUSTER))).toMatchObject({
      kafka_version: "3.6.0",
      number_of_broker_nodes: 2,
      enhanced_monitoring: "PER_TOPIC_PER_BROKER",
      broker_node_group_info: {
        instance_type: "kafka.t3.small",
        storage_info: { ebs_storage_info: { volume_size: volumeSize } },
      },
    });
  });

  it("puts one broker into each streaming subnet", () => {
    expect(prod.references(prod.at(CLUSTER), "broker_node_group_info.client_subnets")).toEqual([
      "module.vpc.aws_subnet.streaming_a",
      "module.vpc.aws_subnet.streaming_c",
    ]);
  });

  it("admits clients that authenticate by IAM, and no others", () => {
    const { client_authentication: authentication } = prod.arguments(prod.at(CLUSTER));
    expect(authentication).toEqual({ unauthenticated: false, sasl: { iam: true, scram: false } });
  });

  it("encrypts between clients and brokers, among brokers, on disk and in its logs", () => {
    const key = prod.at("module.secrets.aws_kms_key.main");
    expectEncrypted(prod, prod.at(CLUSTER), { key });
    expectEncrypted(prod, prod.at("module.msk.aws_cloudwatch_log_group.brokers"), { key });
  });

  it("leaves the volumes of a cluster that was taken over with MSK's own key", () => {
    const taken = synth({ encryptedByService: true });
    expect(taken.arguments(taken.at(CLUSTER)).encryption_info).toEqual({
      encryption_in_transit: { client_broker: "TLS", in_cluster: true },
    });
  });

  it("keeps the brokers' logs for seven days", () => {
    expect(prod.literal(prod.at(CLUSTER), "logging_info.broker_logs.cloudwatch_logs")).toEqual({
      enabled: true,
      log_group: "/aws/msk/urr-prod-kafka",
    });
    expect(prod.resolve(prod.at("module.msk.aws_cloudwatch_log_group.brokers"), "retention_in_days")).toBe(7);
  });

  it("tells the bootstrap string of IAM clients, the only one that AWS fills in", () => {
    const probed = synth({}, (msk, { iam }) =>
      iam.lambdaWorkerRole.addStatement({ sid: "Probe", actions: ["x:y"], resources: [msk.bootstrapBrokersSaslIam] }),
    );
    const policy = probed.one({ type: "aws_iam_role_policy", where: { name: "permissions" } });
    expect(String(probed.resolve(policy, "policy"))).toContain(`${CLUSTER}.bootstrap_brokers_sasl_iam`);
  });

  describe("broker settings", () => {
    it("are the documented ones, without automatic topics", () => {
      expect(serverProperties(prod)).toEqual({
        "auto.create.topics.enable": "false",
        "default.replication.factor": "2",
        "min.insync.replicas": "1",
        "num.partitions": "3",
        "unclean.leader.election.enable": "false",
        "log.retention.hours": "168",
      });
    });

    it("are the same in staging, and applied in their latest revision", () => {
      expect(serverProperties(staging)).toEqual(serverProperties(prod));
      expect(prod.resolve(prod.at(CLUSTER), "configuration_info.revision")).toBe(
        "module.msk.aws_msk_configuration.main.latest_revision",
      );
    });

    it.each([
      [2, "2", "1"],
      [4, "3", "2"],
      [6, "3", "2"],
    ])("let %d brokers lose one: %s replicas, %s in sync", (brokerNodes, replicas, inSync) => {
      const properties = serverProperties(synth({ brokerNodes }));
      expect(properties["default.replication.factor"]).toBe(replicas);
      expect(properties["min.insync.replicas"]).toBe(inSync);
      expect(Number(inSync)).toBeLessThan(Number(replicas));
    });
  });

  describe("network", () => {
    it("leads clients to the brokers on 9098 only", () => {
      expectReachable(prod, prod.at(CLIENT), prod.at(CLUSTER), 9098);
      for (const port of [2181, 9092, 9094, 9096]) expectUnreachable(prod, prod.at(CLIENT), prod.at(CLUSTER), port);
    });

    it("lets brokers reach ZooKeeper among themselves", () => {
      expectReachable(prod, prod.at(CLUSTER), prod.at(CLUSTER), 2181);
      expect(admissions(staging, staging.at(CLUSTER))).toEqual(["tcp 2181 from module.msk.aws_security_group.brokers"]);
    });
  });

  describe("grants", () => {
    const arn = (path: string) => `arn:aws:kafka:${REGION}:${ACCOUNT_ID}:${path}`;
    const cluster = arn("cluster/urr-prod-kafka/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0-3");
    const topic = (name: string) => arn(`topic/urr-prod-kafka/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0-3/${name}`);
    const group = (name: string) => arn(`group/urr-prod-kafka/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0-3/${name}`);
    const granted = (use: (msk: Msk, foundation: Foundation) => void) => {
      const stack = synth({}, use);
      return { stack, role: stack.at("module.iam.aws_iam_role.lambda_worker") };
    };

    it("let a producer write to its topic, idempotently, and nothing else", () => {
      const { stack, role } = granted((msk, { iam }) => msk.grantProduce(iam.lambdaWorkerRole, "payment-events"));
      expectGrant(stack, role, "kafka-cluster:Connect", cluster);
      expectGrant(stack, role, "kafka-cluster:WriteDataIdempotently", cluster);
      expectGrant(stack, role, "kafka-cluster:DescribeTopic", topic("payment-events"));
      expectGrant(stack, role, "kafka-cluster:WriteData", topic("payment-events"));
      expectNoGrant(stack, role, "kafka-cluster:WriteData", topic("payment-events.DLT"));
      expectNoGrant(stack, role, "kafka-cluster:WriteData", topic("reservation-events"));
      expectNoGrant(stack, role, "kafka-cluster:ReadData", topic("payment-events"));
      expectNoGrant(stack, role, "kafka-cluster:CreateTopic", topic("payment-events"));
      expectNoGrant(stack, role, "kafka-cluster:WriteData", topic("payment-events").replace("urr-prod", "urr-staging"));
    });

    it("let a consumer read its topic in groups of its own, and nothing else", () => {
      const { stack, role } = granted((msk, { iam }) =>
        msk.grantConsume(iam.lambdaWorkerRole, "payment-events", "stats-service"),
      );
      expectGrant(stack, role, "kafka-cluster:Connect", cluster);
      expectGrant(stack, role, "kafka-cluster:ReadData", topic("payment-events"));
      expectGrant(stack, role, "kafka-cluster:AlterGroup", group("stats-service"));
      expectGrant(stack, role, "kafka-cluster:DescribeGroup", group("stats-service-payments"));
      expectNoGrant(stack, role, "kafka-cluster:AlterGroup", group("ticket-service"));
      expectNoGrant(stack, role, "kafka-cluster:ReadData", topic("transfer-events"));
      expectNoGrant(stack, role, "kafka-cluster:WriteData", topic("payment-events"));
      expectNoGrant(stack, role, "kafka-cluster:WriteDataIdempotently", cluster);
    });

    it("let the topic job make topics without reading or writing them", () => {
      const { stack, role } = granted((msk, { iam }) => msk.grantManageTopic(iam.lambdaWorkerRole, "payment-events"));
      expectGrant(stack, role, "kafka-cluster:CreateTopic", topic("payment-events"));
      expectGrant(stack, role, "kafka-cluster:AlterTopicDynamicConfiguration", topic("payment-events"));
      expectNoGrant(stack, role, "kafka-cluster:DeleteTopic", topic("payment-events"));
      expectNoGrant(stack, role, "kafka-cluster:WriteData", topic("payment-events"));
    });

    it("add up in one policy, each statement under a name of its own", () => {
      const { stack } = granted((msk, { iam }) => {
        for (const name of ["payment-events", "reservation-events"]) {
          msk.grantConsume(iam.lambdaWorkerRole, name, "stats-service");
          msk.grantProduce(iam.lambdaWorkerRole, `${name}.DLT`);
        }
      });
      const policy = stack.one({ type: "aws_iam_role_policy", where: { name: "permissions" } });
      const { Statement } = JSON.parse(String(stack.resolve(policy, "policy"))) as { Statement: { Sid: string }[] };
      const sids = Statement.map(({ Sid }) => Sid);
      expect(new Set(sids).size).toBe(sids.length);
      expect(sids).toContain("ProduceToPaymentEventsDLT");
      for (const sid of sids) expect(sid).toMatch(/^[A-Za-z0-9]+$/);
    });

    it.each([
      ["topic", "*", (msk: Msk, { iam }: Foundation) => msk.grantProduce(iam.lambdaWorkerRole, "*")],
      [
        "topic",
        "payment-*",
        (msk: Msk, { iam }: Foundation) => msk.grantConsume(iam.lambdaWorkerRole, "payment-*", "g"),
      ],
      [
        "groupPrefix",
        "",
        (msk: Msk, { iam }: Foundation) => msk.grantConsume(iam.lambdaWorkerRole, "payment-events", ""),
      ],
    ])("fails on the %s %j, which would stand for more than one", (what, name, use) => {
      expect(problems({}, use).join("\n")).toContain(`${what}: given ${JSON.stringify(name)}; allowed: 1 to 249`);
    });
  });

  describe("alarms", () => {
    const alarm = (name: string) => prod.at(`module.msk.aws_cloudwatch_metric_alarm.${name}`);

    it.each([
      ["active_controller_count", "ActiveControllerCount", "LessThanThreshold", 1, "breaching"],
      ["offline_partitions_count", "OfflinePartitionsCount", "GreaterThanThreshold", 0, "notBreaching"],
    ])("watch %s of the cluster as documented", (id, metricName, comparison, threshold, missing) => {
      expect(prod.arguments(alarm(id))).toMatchObject({
        namespace: "AWS/Kafka",
        metric_name: metricName,
        comparison_operator: comparison,
        threshold,
        // An average over two brokers, of which one is the controller, would always be below 1.
        statistic: "Maximum",
        treat_missing_data: missing,
        alarm_actions: [ALARM_TOPIC_ARN],
      });
      expect(prod.literal(alarm(id), "dimensions")).toEqual({ "Cluster Name": "urr-prod-kafka" });
      expect(prod.resolve(alarm(id), "alarm_description")).toMatch(/^CRITICAL/);
    });

    it.each([
      ["data_logs_disk_used", "KafkaDataLogsDiskUsed", 85],
      ["under_replicated_partitions", "UnderReplicatedPartitions", 0],
    ])("watch %s of each broker", (id, metricName, threshold) => {
      for (const broker of ["1", "2"]) {
        expect(prod.arguments(alarm(`${id}_${broker}`))).toMatchObject({ metric_name: metricName, threshold });
        expect(prod.literal(alarm(`${id}_${broker}`), "dimensions")).toEqual({
          "Cluster Name": "urr-prod-kafka",
          "Broker ID": broker,
        });
      }
    });
  });

  describe("rules", () => {
    it.each<[string, Partial<MskProps>, string]>([
      ["a version that MSK does not write so", { kafkaVersion: "3.6" }, 'kafkaVersion: given "3.6"'],
      [
        "three brokers on two zones",
        { brokerNodes: 3 },
        'brokerNodes: given {"brokerNodes":3,"zones":2}; allowed: a multiple of the 2 zones',
      ],
      ["no broker", { brokerNodes: 0 }, "brokerNodes: given"],
      ["more brokers than MSK takes", { brokerNodes: 32 }, "brokerNodes: given"],
      ["an instance type of EC2", { instanceType: "t3.small" }, 'instanceType: given "t3.small"'],
      ["a volume without space", { volumeSizeGib: 0 }, "volumeSizeGib: given 0; allowed: 1 to 16384 GiB"],
      ["a volume above 16 TiB", { volumeSizeGib: 16_385 }, "volumeSizeGib: given 16385"],
      ["no partition", { defaultPartitions: 0 }, "defaultPartitions: given 0"],
      ["a cluster name above 64 characters", { prefix: `u${"r".repeat(60)}` }, "name of the kafka cluster"],
    ])("fails on %s", (_, props, message) => {
      expect(problems(props).join("\n")).toContain(message);
    });

    it("accept three brokers on three zones", () => {
      const told = problemsOnFoundation((stack, foundation) => {
        const vpc = new Vpc(stack, "vpc_of_three", {
          prefix: "urr-three",
          vpcCidr: "10.2.0.0/16",
          availabilityZones: ["ap-northeast-2a", "ap-northeast-2b", "ap-northeast-2c"],
          clusterName: "urr-three",
        });
        create(stack, foundation, { vpc, brokerNodes: 3 });
      });
      expect(told).toEqual([]);
    });

    it("accept both environments and newer versions", () => {
      expect(problems({})).toEqual([]);
      expect(problems({ ...STAGING, kafkaVersion: "3.9.x" })).toEqual([]);
    });
  });
});
