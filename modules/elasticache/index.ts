import { ElasticacheParameterGroup } from "@cdktf/provider-aws/lib/elasticache-parameter-group";
import { ElasticacheReplicationGroup } from "@cdktf/provider-aws/lib/elasticache-replication-group";
import { ElasticacheSubnetGroup } from "@cdktf/provider-aws/lib/elasticache-subnet-group";
import { Token } from "cdktf";
import type { Construct } from "constructs";
import { type AlarmProps, AlarmSet } from "../../lib/alarms";
import type { EncryptionKey } from "../../lib/kms";
import { createLogGroup } from "../../lib/log-group";
import { physicalName } from "../../lib/naming";
import { enforce, type Rule } from "../../lib/rules";
import { type Connectable, type Peer, SecurityGroup, tcp } from "../../lib/security-group";
import { serviceWindowRules } from "../../lib/service-window";
import { Module } from "../../lib/terraform-modules";
import type { Vpc } from "../vpc";

/** Properties of {@link Elasticache}. */
export interface ElasticacheProps {
  /** Start of every name, such as `urr-prod`. Replacing it destroys the cache. */
  readonly prefix: string;
  readonly vpc: Vpc;
  /** Encrypts data at rest, snapshots and logs. Replacing it destroys the cache. Source: Infra analysis §9-3. */
  readonly key: EncryptionKey;
  /**
   * Whether AWS's own key for the service encrypts storage instead of `key`: for a cache that is taken over from elsewhere, because
   * another key means another cache.
   *
   * @default false
   */
  readonly encryptedByService?: boolean;
  /** AUTH token that clients must give, 16 to 128 characters. A new one is accepted beside the old one. */
  readonly authToken: string;
  /** Node type. Source: Infra analysis §2-4. */
  readonly nodeType: string;
  /** Nodes: one primary and the replicas. Source: Infra analysis §2-4. */
  readonly numCacheClusters: number;
  /** Redis OSS version; later ones are Valkey. @default "7.1" (Infra analysis §2-4) */
  readonly engineVersion?: string;
  /** Whether a replica in another zone takes over by itself. @default whether there is more than one node (Infra analysis §2-4) */
  readonly automaticFailover?: boolean;
  /** Zone of each node, the primary's first. Changing it replaces nothing. @default the VPC's zones in turn (Architecture guide §8.2) */
  readonly preferredCacheClusterAzs?: readonly string[];
  /** Days for which daily snapshots are kept, 0 to 35. @default 5 (Infra analysis §2-4) */
  readonly snapshotRetentionDays?: number;
  /** Daily snapshot window, UTC. @default "03:00-05:00" (Infra analysis §2-4) */
  readonly snapshotWindow?: string;
  /** Weekly maintenance window, UTC. @default "sun:05:00-sun:07:00" (Infra analysis §2-4) */
  readonly maintenanceWindow?: string;
}

const PORT = 6379;
const DEFAULT_ENGINE_VERSION = "7.1";
const DEFAULT_SNAPSHOT_RETENTION_DAYS = 5;
const DEFAULT_SNAPSHOT_WINDOW = "03:00-05:00";
const DEFAULT_MAINTENANCE_WINDOW = "sun:05:00-sun:07:00";
const LOGS = ["slow-log", "engine-log"] as const;

/** Source: Infra analysis §2-4 "파라미터 그룹". */
const PARAMETERS = [
  { name: "timeout", value: "300" },
  { name: "maxmemory-policy", value: "allkeys-lru" },
];

/** Redis OSS versions with enhanced transit encryption that ElastiCache offers; its own numbering goes on as Valkey. */
const ENGINE_VERSIONS = ["7.0", "7.1"];
/** One primary and at most five replicas. Source: Amazon ElastiCache quotas, "Nodes per shard". */
const MAX_NODES = 6;
const MIN_WINDOW_MINUTES = 60;
/** Source: Amazon ElastiCache, "Authenticating with the AUTH command". */
const AUTH_TOKEN = /^[\w!&#$^<>-]{16,128}$/;

const RULES: readonly Rule<ElasticacheProps>[] = [
  {
    property: "engineVersion",
    given: ({ engineVersion = DEFAULT_ENGINE_VERSION }) => engineVersion,
    valid: ({ engineVersion = DEFAULT_ENGINE_VERSION }) => ENGINE_VERSIONS.includes(engineVersion),
    allowed: `one of ${ENGINE_VERSIONS.join(", ")}`,
    remedy: "The parameter group's family is redis7; a later engine is Valkey, with a family and clients of its own.",
  },
  {
    property: "nodeType",
    given: ({ nodeType }) => nodeType,
    valid: ({ nodeType }) => /^cache\.[a-z]+\d[a-z]*\.[a-z0-9]+$/.test(nodeType),
    allowed: "a node type such as cache.t4g.small",
    remedy: "ElastiCache's node types start with cache.",
  },
  {
    property: "numCacheClusters",
    given: ({ numCacheClusters }) => numCacheClusters,
    valid: ({ numCacheClusters }) =>
      Number.isInteger(numCacheClusters) && numCacheClusters >= 1 && numCacheClusters <= MAX_NODES,
    allowed: `1 to ${MAX_NODES}`,
    remedy: "One primary and up to five replicas.",
  },
  {
    property: "automaticFailover",
    given: ({ automaticFailover, numCacheClusters }) => ({ automaticFailover, numCacheClusters }),
    valid: ({ automaticFailover, numCacheClusters }) => !automaticFailover || numCacheClusters > 1,
    allowed: "true only with at least two nodes",
    remedy: "There is nothing to fail over to: raise numCacheClusters or leave automaticFailover out.",
  },
  {
    property: "preferredCacheClusterAzs",
    given: ({ numCacheClusters, preferredCacheClusterAzs }) =>
      preferredCacheClusterAzs && { zones: preferredCacheClusterAzs, numCacheClusters },
    valid: ({ numCacheClusters, preferredCacheClusterAzs, vpc }) =>
      preferredCacheClusterAzs === undefined ||
      (preferredCacheClusterAzs.length === numCacheClusters &&
        preferredCacheClusterAzs.every((zone) => vpc.availabilityZones.includes(zone))),
    allowed: ({ numCacheClusters, vpc }) =>
      `${numCacheClusters} zone(s), one per node, out of ${vpc.availabilityZones.join(", ")}`,
    remedy: "Name one zone per node, the primary's first, or leave it out.",
  },
  {
    property: "authToken",
    // The value is a secret: a problem tells its length only.
    given: ({ authToken }) => (Token.isUnresolved(authToken) ? authToken : `${authToken.length} characters`),
    valid: ({ authToken }) => AUTH_TOKEN.test(authToken),
    allowed: "16 to 128 letters, digits and ! & # $ ^ < > - _",
    remedy: "Generate it without other special characters.",
  },
  {
    property: "snapshotRetentionDays",
    given: ({ snapshotRetentionDays = DEFAULT_SNAPSHOT_RETENTION_DAYS }) => snapshotRetentionDays,
    valid: ({ snapshotRetentionDays = DEFAULT_SNAPSHOT_RETENTION_DAYS }) =>
      Number.isInteger(snapshotRetentionDays) && snapshotRetentionDays >= 0 && snapshotRetentionDays <= 35,
    allowed: "0 to 35 days",
    remedy: "0 takes no snapshots.",
  },
  ...serviceWindowRules<ElasticacheProps>({
    service: "ElastiCache",
    minMinutes: MIN_WINDOW_MINUTES,
    daily: {
      property: "snapshotWindow",
      example: DEFAULT_SNAPSHOT_WINDOW,
      of: ({ snapshotWindow = DEFAULT_SNAPSHOT_WINDOW }) => snapshotWindow,
    },
    weekly: {
      property: "maintenanceWindow",
      example: DEFAULT_MAINTENANCE_WINDOW,
      of: ({ maintenanceWindow = DEFAULT_MAINTENANCE_WINDOW }) => maintenanceWindow,
    },
  }),
];

/**
 * Redis: the waiting queue of tier 2, seat locks, rate limits and sessions. Clients speak TLS and give the AUTH token.
 * Source: Infra analysis §2-4, AWS architecture §5.2, Architecture guide §8.2.
 */
export class Elasticache extends Module {
  readonly replicationGroupId: string;
  /** Address of the primary: reads and writes. It stays the same over a failover. */
  readonly primaryEndpointAddress: string;
  /** Address of the replicas: reads that may be a moment behind. */
  readonly readerEndpointAddress: string;
  /** TCP port. */
  readonly port = PORT;
  readonly alarms: AlarmSet;

  private readonly props: ElasticacheProps;
  private readonly securityGroup: SecurityGroup;

  constructor(scope: Construct, id: string, props: ElasticacheProps) {
    super(scope, id);
    this.props = props;
    enforce(this, props, RULES);
    this.alarms = new AlarmSet(this);

    this.securityGroup = new SecurityGroup(this, "redis", {
      name: `${props.prefix}-redis`,
      description: `Redis nodes of ${props.prefix}`,
      vpcId: props.vpc.vpcId,
      label: "redis",
    });
    const group = this.createReplicationGroup();
    for (let node = 1; node <= props.numCacheClusters; node += 1) this.addNodeAlarms(group, node);

    this.replicationGroupId = group.replicationGroupId;
    this.primaryEndpointAddress = group.primaryEndpointAddress;
    this.readerEndpointAddress = group.readerEndpointAddress;
  }

  /** Lets a peer connect to all nodes. */
  allowFrom(peer: Peer | Connectable, description: string): void {
    this.securityGroup.allowFrom("securityGroup" in peer ? peer.securityGroup : peer, tcp(PORT), description);
  }

  private createReplicationGroup(): ElasticacheReplicationGroup {
    const { authToken, encryptedByService, key, nodeType, numCacheClusters, prefix, vpc } = this.props;
    const { automaticFailover = numCacheClusters > 1, engineVersion = DEFAULT_ENGINE_VERSION } = this.props;
    const replicationGroupId = physicalName(this, "replication group", `${prefix}-redis`);
    const subnetGroup = new ElasticacheSubnetGroup(this, "elasticache_subnet_group.main", {
      name: physicalName(this, "cache subnet group", `${prefix}-cache`),
      description: `Isolated cache subnets of ${prefix}`,
      subnetIds: [...vpc.tiers.cache.subnetIds],
    });
    const logGroups = LOGS.map((log) => ({
      log,
      logGroup: createLogGroup(this, log.replaceAll("-", "_"), {
        name: `/aws/elasticache/${replicationGroupId}/${log}`,
        key,
      }),
    }));
    return new ElasticacheReplicationGroup(this, "elasticache_replication_group.main", {
      replicationGroupId,
      description: `Queues, locks, rate limits and sessions of ${prefix}`,
      engine: "redis",
      engineVersion,
      nodeType,
      port: PORT,
      numCacheClusters,
      automaticFailoverEnabled: automaticFailover,
      multiAzEnabled: automaticFailover,
      preferredCacheClusterAzs: [...(this.props.preferredCacheClusterAzs ?? this.zonesInTurn())],
      parameterGroupName: this.createParameterGroup(engineVersion).name,
      subnetGroupName: subnetGroup.name,
      securityGroupIds: [this.securityGroup.securityGroupId],
      atRestEncryptionEnabled: "true",
      ...(!encryptedByService && { kmsKeyId: key.keyArn }),
      transitEncryptionEnabled: true,
      authToken,
      // Old and new token are both accepted until the next change, so that pods can be restarted one after the other.
      authTokenUpdateStrategy: "ROTATE",
      // 7.1 is the last Redis OSS version: this brings security patches and never another version.
      autoMinorVersionUpgrade: "true",
      snapshotRetentionLimit: this.props.snapshotRetentionDays ?? DEFAULT_SNAPSHOT_RETENTION_DAYS,
      snapshotWindow: this.props.snapshotWindow ?? DEFAULT_SNAPSHOT_WINDOW,
      maintenanceWindow: this.props.maintenanceWindow ?? DEFAULT_MAINTENANCE_WINDOW,
      logDeliveryConfiguration: logGroups.map(({ log, logGroup }) => ({
        logType: log,
        logFormat: "json",
        destinationType: "cloudwatch-logs",
        destination: logGroup.name,
      })),
    });
  }

  private zonesInTurn(): string[] {
    const { numCacheClusters, vpc } = this.props;
    const zones = vpc.availabilityZones;
    return Array.from(
      { length: Math.max(0, Math.trunc(numCacheClusters)) },
      (_, node) => zones[node % zones.length] ?? "",
    );
  }

  private createParameterGroup(engineVersion: string): ElasticacheParameterGroup {
    const { prefix } = this.props;
    const family = `redis${engineVersion.split(".")[0]}`;
    return new ElasticacheParameterGroup(this, "elasticache_parameter_group.main", {
      name: physicalName(this, "cache parameter group", `${prefix}-${family}`),
      family,
      description: `Redis settings of ${prefix}`,
      parameter: PARAMETERS,
      // The old group is in use until the nodes have moved to one of another family.
      lifecycle: { createBeforeDestroy: true },
    });
  }

  /** Alarms of one node: after a failover any node may be the primary. Source: Infra analysis §9-3, item 4. */
  private addNodeAlarms(group: ElasticacheReplicationGroup, node: number): void {
    const { numCacheClusters, prefix } = this.props;
    const number = `${node}`.padStart(3, "0");
    const add = (id: string, alarm: Omit<AlarmProps, "dimensions" | "name" | "namespace">) =>
      this.alarms.add(`${id}_${number}`, {
        ...alarm,
        name: `${prefix}-redis-${number}-${id.replaceAll("_", "-")}`,
        namespace: "AWS/ElastiCache",
        dimensions: { CacheClusterId: `${group.replicationGroupId}-${number}` },
      });

    add("engine_cpu_utilization", {
      description:
        "HIGH: Redis has kept its one command thread more than 80 % busy for five minutes. Look in the slow log for commands over large keys.",
      metricName: "EngineCPUUtilization",
      statistic: "Average",
      periodSeconds: 60,
      evaluationPeriods: 5,
      threshold: 80,
      comparison: "GreaterThanThreshold",
    });
    add("database_memory_usage", {
      description:
        "HIGH: Redis has filled more than 80 % of its memory for five minutes; at 100 % it evicts keys. Take a larger node type.",
      metricName: "DatabaseMemoryUsagePercentage",
      statistic: "Maximum",
      periodSeconds: 60,
      evaluationPeriods: 5,
      threshold: 80,
      comparison: "GreaterThanThreshold",
    });
    add("evictions", {
      description:
        "CRITICAL: Redis has evicted keys to make room (allkeys-lru): seat locks and queue positions may be among them. Take a larger node type.",
      metricName: "Evictions",
      statistic: "Sum",
      periodSeconds: 300,
      threshold: 0,
      comparison: "GreaterThanThreshold",
    });
    add("cache_hit_rate", {
      description:
        "WARNING: fewer than 80 % of the reads have found their key for half an hour. Look for keys that expire early or are evicted.",
      metricName: "CacheHitRate",
      statistic: "Average",
      periodSeconds: 300,
      evaluationPeriods: 6,
      threshold: 80,
      comparison: "LessThanThreshold",
    });
    if (numCacheClusters === 1) return;
    add("replication_lag", {
      description:
        "HIGH: the replica has been more than ten seconds behind the primary for five minutes; a failover now would lose that much.",
      metricName: "ReplicationLag",
      statistic: "Maximum",
      periodSeconds: 60,
      evaluationPeriods: 5,
      threshold: 10,
      comparison: "GreaterThanThreshold",
    });
  }
}
