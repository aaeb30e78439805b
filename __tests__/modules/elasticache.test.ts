import { describe, expect, it } from "vitest";
import { Elasticache, type ElasticacheProps } from "../../modules/elasticache";
import { expectEncrypted } from "../support/encryption";
import { ALARM_TOPIC_ARN, type Foundation, problemsOnFoundation, synthOnFoundation } from "../support/foundation";
import { admissions, expectReachable, expectUnreachable } from "../support/network";
import type { TestStack } from "../support/synth";
import type { TerraformStack } from "../support/terraform";

/** Infra analysis §2-4, columns Prod and Staging. */
const PROD = { prefix: "urr-prod", nodeType: "cache.r6g.large", numCacheClusters: 2 };
const STAGING = { prefix: "urr-staging", nodeType: "cache.t4g.small", numCacheClusters: 1 };

const GROUP = "module.elasticache.aws_elasticache_replication_group.main";

function create(stack: TestStack, { secrets, vpc }: Foundation, props: Partial<ElasticacheProps>): Elasticache {
  const redis = new Elasticache(stack, "elasticache", {
    ...PROD,
    vpc,
    key: secrets.key,
    authToken: secrets.redisAuthToken.value,
    ...props,
  });
  redis.alarms.notify(ALARM_TOPIC_ARN);
  return redis;
}

function synth(
  props: Partial<ElasticacheProps> = {},
  use?: (redis: Elasticache, foundation: Foundation) => void,
): TerraformStack {
  return synthOnFoundation((stack, foundation) => {
    const redis = create(stack, foundation, props);
    use?.(redis, foundation);
  });
}

function problems(props: Partial<ElasticacheProps>): readonly string[] {
  return problemsOnFoundation((stack, foundation) => {
    create(stack, foundation, props);
  });
}

describe("elasticache", () => {
  const prod = synth({}, (redis, { client }) => redis.allowFrom(client, "Commands of a client"));
  const staging = synth(STAGING);
  const groupOf = (stack: TerraformStack) => stack.arguments(stack.at(GROUP));

  it("is the documented Redis in production: two nodes in two zones that take over from each other", () => {
    expect(groupOf(prod)).toMatchObject({
      replication_group_id: "urr-prod-redis",
      engine: "redis",
      engine_version: "7.1",
      node_type: "cache.r6g.large",
      num_cache_clusters: 2,
      automatic_failover_enabled: true,
      multi_az_enabled: true,
      preferred_cache_cluster_azs: ["ap-northeast-2a", "ap-northeast-2c"],
      port: 6379,
    });
  });

  it("is the documented Redis in staging: one node, nothing to fail over to", () => {
    expect(groupOf(staging)).toMatchObject({
      engine_version: "7.1",
      node_type: "cache.t4g.small",
      num_cache_clusters: 1,
      automatic_failover_enabled: false,
      multi_az_enabled: false,
      preferred_cache_cluster_azs: ["ap-northeast-2a"],
    });
  });

  it.each([1, 2, 3, 6])("names a zone for each of %d nodes, the zones in turn", (numCacheClusters) => {
    const zones = groupOf(synth({ numCacheClusters })).preferred_cache_cluster_azs;
    expect(zones).toEqual(
      [
        "ap-northeast-2a",
        "ap-northeast-2c",
        "ap-northeast-2a",
        "ap-northeast-2c",
        "ap-northeast-2a",
        "ap-northeast-2c",
      ].slice(0, numCacheClusters),
    );
  });

  it("stands in the isolated cache subnets", () => {
    const [group] = prod.referred(prod.at(GROUP), "subnet_group_name");
    expect(group && prod.references(group, "subnet_ids")).toEqual([
      "module.vpc.aws_subnet.cache_a",
      "module.vpc.aws_subnet.cache_c",
    ]);
  });

  it("encrypts data at rest, in transit and in its logs, with the environment's key", () => {
    const key = prod.at("module.secrets.aws_kms_key.main");
    expectEncrypted(prod, prod.at(GROUP), { key });
    const logGroups = prod.find({ type: "aws_cloudwatch_log_group", module: "elasticache" });
    expect(logGroups).toHaveLength(2);
    for (const logGroup of logGroups) expectEncrypted(prod, logGroup, { key });
  });

  it("leaves the data of a cache that was taken over with ElastiCache's own key", () => {
    const settings = groupOf(synth({ encryptedByService: true }));
    expect(settings).toMatchObject({ at_rest_encryption_enabled: "true" });
    expect(settings).not.toHaveProperty("kms_key_id");
  });

  it("asks for the generated AUTH token and accepts the old one beside a new one", () => {
    expect(prod.references(prod.at(GROUP), "auth_token")).toEqual(["module.secrets.random_password.redis_auth_token"]);
    expect(groupOf(prod).auth_token_update_strategy).toBe("ROTATE");
  });

  it("has the documented parameters", () => {
    const [group] = prod.referred(prod.at(GROUP), "parameter_group_name");
    expect(group && prod.arguments(group)).toMatchObject({
      name: "urr-prod-redis7",
      family: "redis7",
      parameter: [
        { name: "timeout", value: "300" },
        { name: "maxmemory-policy", value: "allkeys-lru" },
      ],
    });
  });

  it("keeps five daily snapshots, taken before the maintenance", () => {
    expect(groupOf(prod)).toMatchObject({
      snapshot_retention_limit: 5,
      snapshot_window: "03:00-05:00",
      maintenance_window: "sun:05:00-sun:07:00",
    });
  });

  it("sends slow log and engine log to CloudWatch as JSON", () => {
    expect(prod.literal(prod.at(GROUP), "log_delivery_configuration")).toEqual([
      {
        log_type: "slow-log",
        log_format: "json",
        destination_type: "cloudwatch-logs",
        destination: "/aws/elasticache/urr-prod-redis/slow-log",
      },
      {
        log_type: "engine-log",
        log_format: "json",
        destination_type: "cloudwatch-logs",
        destination: "/aws/elasticache/urr-prod-redis/engine-log",
      },
    ]);
  });

  it("admits its clients on 6379 and nobody else", () => {
    expectReachable(prod, prod.at("aws_network_interface.client"), prod.at(GROUP), 6379);
    expectUnreachable(prod, prod.at("aws_network_interface.client"), prod.at(GROUP), 6380);
    expect(admissions(prod, prod.at(GROUP))).toEqual(["tcp 6379 from aws_security_group.client"]);
    expect(admissions(staging, staging.at(GROUP))).toEqual([]);
  });

  describe("alarms", () => {
    it.each([
      ["engine_cpu_utilization", "EngineCPUUtilization", "GreaterThanThreshold", 80],
      ["database_memory_usage", "DatabaseMemoryUsagePercentage", "GreaterThanThreshold", 80],
      ["evictions", "Evictions", "GreaterThanThreshold", 0],
      ["cache_hit_rate", "CacheHitRate", "LessThanThreshold", 80],
      ["replication_lag", "ReplicationLag", "GreaterThanThreshold", 10],
    ])("watch %s of every node, since any may become the primary", (id, metricName, comparison, threshold) => {
      for (const node of ["001", "002"]) {
        const alarm = prod.at(`module.elasticache.aws_cloudwatch_metric_alarm.${id}_${node}`);
        expect(prod.arguments(alarm)).toMatchObject({
          namespace: "AWS/ElastiCache",
          metric_name: metricName,
          comparison_operator: comparison,
          threshold,
          alarm_actions: [ALARM_TOPIC_ARN],
          ok_actions: [ALARM_TOPIC_ARN],
        });
        expect(prod.literal(alarm, "dimensions.CacheClusterId")).toBe(`urr-prod-redis-${node}`);
      }
    });

    it("leave out the lag of a replica that is not there", () => {
      expect(staging.find({ type: "aws_cloudwatch_metric_alarm" }).map(({ name }) => name)).toEqual([
        "engine_cpu_utilization_001",
        "database_memory_usage_001",
        "evictions_001",
        "cache_hit_rate_001",
      ]);
    });
  });

  describe("rules", () => {
    it.each<[string, Partial<ElasticacheProps>, string]>([
      ["a Valkey version", { engineVersion: "8.0" }, 'engineVersion: given "8.0"; allowed: one of 7.0, 7.1'],
      ["a node type without cache.", { nodeType: "r6g.large" }, 'nodeType: given "r6g.large"'],
      ["no node", { numCacheClusters: 0 }, "numCacheClusters: given 0; allowed: 1 to 6"],
      ["seven nodes", { numCacheClusters: 7 }, "numCacheClusters: given 7; allowed: 1 to 6"],
      [
        "a failover with one node",
        { automaticFailover: true, numCacheClusters: 1 },
        'automaticFailover: given {"automaticFailover":true,"numCacheClusters":1}; allowed: true only with at least two nodes',
      ],
      [
        "fewer zones than nodes",
        { preferredCacheClusterAzs: ["ap-northeast-2a"] },
        'preferredCacheClusterAzs: given {"zones":["ap-northeast-2a"],"numCacheClusters":2}; allowed: 2 zone(s), one per node, out of ap-northeast-2a, ap-northeast-2c',
      ],
      [
        "more zones than nodes",
        { ...STAGING, preferredCacheClusterAzs: ["ap-northeast-2a", "ap-northeast-2c"] },
        "preferredCacheClusterAzs: given",
      ],
      [
        "a zone in which the VPC has no subnet",
        { preferredCacheClusterAzs: ["ap-northeast-2a", "ap-northeast-2b"] },
        "preferredCacheClusterAzs: given",
      ],
      ["a short token", { authToken: "hunter2" }, 'authToken: given "7 characters"; allowed: 16 to 128'],
      ["a token with a slash", { authToken: "0123456789abcdef/" }, 'authToken: given "17 characters"'],
      [
        "snapshots for 36 days",
        { snapshotRetentionDays: 36 },
        "snapshotRetentionDays: given 36; allowed: 0 to 35 days",
      ],
      ["a snapshot window of half an hour", { snapshotWindow: "03:00-03:30" }, 'snapshotWindow: given "03:00-03:30"'],
      [
        "a maintenance window without days",
        { maintenanceWindow: "05:00-07:00" },
        'maintenanceWindow: given "05:00-07:00"',
      ],
      [
        "windows that overlap",
        { snapshotWindow: "06:00-08:00" },
        'snapshotWindow: given {"snapshotWindow":"06:00-08:00","maintenanceWindow":"sun:05:00-sun:07:00"}; allowed: windows that do not overlap',
      ],
      ["a name of 41 characters", { prefix: `u${"r".repeat(34)}` }, "name of the replication group"],
    ])("fails on %s", (_, props, message) => {
      expect(problems(props).join("\n")).toContain(message);
    });

    it("fails on a bad token without telling it", () => {
      expect(problems({ authToken: "hunter2" }).join("\n")).not.toContain("hunter2");
    });

    it("accept both environments", () => {
      expect(problems({})).toEqual([]);
      expect(problems(STAGING)).toEqual([]);
    });
  });
});
