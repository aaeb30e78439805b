import type { CloudwatchLogGroup } from "@cdktf/provider-aws/lib/cloudwatch-log-group";
import { DbInstance } from "@cdktf/provider-aws/lib/db-instance";
import { DbParameterGroup } from "@cdktf/provider-aws/lib/db-parameter-group";
import { DbProxy } from "@cdktf/provider-aws/lib/db-proxy";
import { DbProxyDefaultTargetGroup } from "@cdktf/provider-aws/lib/db-proxy-default-target-group";
import { DbProxyTarget } from "@cdktf/provider-aws/lib/db-proxy-target";
import { DbSubnetGroup } from "@cdktf/provider-aws/lib/db-subnet-group";
import type { Construct } from "constructs";
import { AlarmSet } from "../../lib/alarms";
import type { Role } from "../../lib/iam";
import type { EncryptionKey } from "../../lib/kms";
import { createLogGroup } from "../../lib/log-group";
import { physicalName } from "../../lib/naming";
import { enforce, type Rule } from "../../lib/rules";
import type { Secret } from "../../lib/secret";
import { type Connectable, type Peer, SecurityGroup, tcp } from "../../lib/security-group";
import { serviceWindowRules } from "../../lib/service-window";
import { Module } from "../../lib/terraform-modules";
import type { Vpc } from "../vpc";
import { connectionLimit, instanceMemoryBytes } from "./instance-class";

/** Properties of {@link Rds}. */
export interface RdsProps {
  /** Start of every name, such as `urr-prod`. Replacing it destroys the databases. */
  readonly prefix: string;
  readonly vpc: Vpc;
  /** Encrypts storage, snapshots, Performance Insights and logs. Replacing it destroys the databases. Source: Infra analysis §9-3. */
  readonly key: EncryptionKey;
  /**
   * Whether AWS's own key for the service encrypts storage instead of `key`: for databases that are taken over from elsewhere, because
   * another key means another database.
   *
   * @default false
   */
  readonly encryptedByService?: boolean;
  /** Assumed by RDS to publish enhanced monitoring. */
  readonly monitoringRole: Role;
  /** Assumed by the proxy to read its credentials. */
  readonly proxyRole: Role;
  /** Credentials of the master user. */
  readonly masterSecret: Secret;
  /** Credentials of each database's own user, by user name: the proxy takes one secret per user and refuses users without one. */
  readonly databaseUserSecrets: Readonly<Record<string, Secret>>;
  /**
   * PostgreSQL version: `16.4` is pinned and changed only here, `16` follows AWS's minor upgrades in the maintenance window.
   * A pinned version with automatic upgrades would make the next plan ask for a downgrade, which RDS refuses.
   */
  readonly engineVersion: string;
  /** Instance class of primary and replica. Source: Infra analysis §2-3. */
  readonly instanceClass: string;
  /** gp3 storage, GiB. It can grow, never shrink. */
  readonly allocatedStorageGib: number;
  /** Storage that autoscaling may reach, GiB. @default 100 (Infra analysis §2-3) */
  readonly maxAllocatedStorageGib?: number;
  /** Whether a synchronous standby in another zone takes over. */
  readonly multiAz: boolean;
  /** Whether there is an asynchronous, readable copy. */
  readonly readReplica: boolean;
  /** Whether clients connect through a pooling proxy. @default true (Infra analysis §2-3) */
  readonly proxy?: boolean;
  /** Whether RDS refuses to delete the instances; if so, the primary leaves a final snapshot and its automated backups behind. */
  readonly deletionProtection: boolean;
  /** First database, the only one that RDS makes itself. Replacing it destroys the databases. @default "ticket_db" (Infra analysis §2-3) */
  readonly dbName?: string;
  /** Name of the master user. Replacing it destroys the databases. @default "urr_admin" (Infra analysis §2-3) */
  readonly username?: string;
  /** Days for which automated backups are kept, 1 to 35. @default 7 (Infra analysis §2-3) */
  readonly backupRetentionDays?: number;
  /** Daily backup window, UTC. @default "03:00-04:00" (Infra analysis §2-3) */
  readonly backupWindow?: string;
  /** Weekly maintenance window, UTC. @default "mon:04:00-mon:05:00" (Infra analysis §2-3) */
  readonly maintenanceWindow?: string;
}

/** A parameter of the parameter group. */
interface Parameter {
  readonly name: string;
  readonly value: string;
  /** Whether PostgreSQL reads it at start only: RDS refuses to apply such a parameter immediately. */
  readonly isStatic?: true;
}

const PORT = 5432;
const DEFAULT_MAX_ALLOCATED_STORAGE_GIB = 100;
const DEFAULT_DB_NAME = "ticket_db";
const DEFAULT_USERNAME = "urr_admin";
const DEFAULT_BACKUP_RETENTION_DAYS = 7;
const DEFAULT_BACKUP_WINDOW = "03:00-04:00";
const DEFAULT_MAINTENANCE_WINDOW = "mon:04:00-mon:05:00";
const MONITORING_INTERVAL_SECONDS = 60;
const PERFORMANCE_INSIGHTS_RETENTION_DAYS = 7;
const LOG_EXPORTS = ["postgresql", "upgrade"] as const;

/** Source: Infra analysis §2-3 "파라미터 그룹"; `rds.force_ssl` refuses connections without TLS. */
const PARAMETERS: readonly Parameter[] = [
  { name: "shared_preload_libraries", value: "pg_stat_statements", isStatic: true },
  { name: "log_statement", value: "ddl" },
  { name: "log_min_duration_statement", value: "1000" },
  { name: "rds.force_ssl", value: "1" },
];

/** Source: Infra analysis §2-3 "RDS Proxy". */
const PROXY_IDLE_CLIENT_TIMEOUT_SECONDS = 1800;
const PROXY_MAX_CONNECTIONS_PERCENT = 100;
const PROXY_MAX_IDLE_CONNECTIONS_PERCENT = 50;

/** Smallest gp3 volume and largest volume of RDS, GiB. Source: Amazon RDS, "gp3 storage". */
const STORAGE_RANGE_GIB = { min: 20, max: 65_536 };
/** RDS wants the autoscaling limit at least a tenth above the allocated storage. Source: Amazon RDS, "Managing capacity automatically". */
const MIN_AUTOSCALING_FACTOR = 1.1;
const MIN_WINDOW_MINUTES = 30;
/** Source: Amazon RDS, CreateDBInstance, MasterUsername and DBName for PostgreSQL. */
const SQL_NAME = /^[A-Za-z][A-Za-z0-9_]{0,62}$/;
const RESERVED_NAMES = ["admin", "postgres", "rdsadmin", "rds_superuser", "template0", "template1"];

const RULES: readonly Rule<RdsProps>[] = [
  {
    property: "engineVersion",
    given: ({ engineVersion }) => engineVersion,
    valid: ({ engineVersion }) => /^\d{2}(\.\d+)?$/.test(engineVersion),
    allowed: "a PostgreSQL version such as 16.4 (pinned) or 16 (minor upgrades by AWS)",
    remedy: "Take one that the RDS for PostgreSQL release calendar still lists in standard support.",
  },
  {
    property: "instanceClass",
    given: ({ instanceClass }) => instanceClass,
    valid: ({ instanceClass }) => instanceMemoryBytes(instanceClass) !== undefined,
    allowed: "a class of the t, m or r families, such as db.t3.medium",
    remedy:
      "The alarms on memory and connections are computed from the memory of the class; add its family there first.",
  },
  {
    property: "allocatedStorageGib",
    given: ({ allocatedStorageGib }) => allocatedStorageGib,
    valid: ({ allocatedStorageGib }) =>
      Number.isInteger(allocatedStorageGib) &&
      allocatedStorageGib >= STORAGE_RANGE_GIB.min &&
      allocatedStorageGib <= STORAGE_RANGE_GIB.max,
    allowed: `${STORAGE_RANGE_GIB.min} to ${STORAGE_RANGE_GIB.max} GiB`,
    remedy: "These are the limits of gp3 volumes in RDS.",
  },
  {
    property: "maxAllocatedStorageGib",
    given: ({ allocatedStorageGib, maxAllocatedStorageGib = DEFAULT_MAX_ALLOCATED_STORAGE_GIB }) => ({
      allocated: allocatedStorageGib,
      max: maxAllocatedStorageGib,
    }),
    valid: ({ allocatedStorageGib, maxAllocatedStorageGib = DEFAULT_MAX_ALLOCATED_STORAGE_GIB }) =>
      maxAllocatedStorageGib >= allocatedStorageGib * MIN_AUTOSCALING_FACTOR,
    allowed: ({ allocatedStorageGib }) =>
      `at least ${Math.ceil(allocatedStorageGib * MIN_AUTOSCALING_FACTOR)} GiB, a tenth above the allocated storage`,
    remedy: "RDS refuses storage autoscaling that could not take one step.",
  },
  {
    property: "dbName",
    given: ({ dbName = DEFAULT_DB_NAME }) => dbName,
    valid: ({ dbName = DEFAULT_DB_NAME }) => SQL_NAME.test(dbName) && !RESERVED_NAMES.includes(dbName),
    allowed: `up to 63 letters, digits and _, starting with a letter, and none of ${RESERVED_NAMES.join(", ")}`,
    remedy: "RDS refuses other names of the first database.",
  },
  {
    property: "username",
    given: ({ username = DEFAULT_USERNAME }) => username,
    valid: ({ username = DEFAULT_USERNAME }) => SQL_NAME.test(username) && !RESERVED_NAMES.includes(username),
    allowed: `up to 63 letters, digits and _, starting with a letter, and none of ${RESERVED_NAMES.join(", ")}`,
    remedy: "RDS keeps these names for itself.",
  },
  {
    property: "backupRetentionDays",
    given: ({ backupRetentionDays = DEFAULT_BACKUP_RETENTION_DAYS }) => backupRetentionDays,
    valid: ({ backupRetentionDays = DEFAULT_BACKUP_RETENTION_DAYS }) =>
      Number.isInteger(backupRetentionDays) && backupRetentionDays >= 1 && backupRetentionDays <= 35,
    allowed: "1 to 35 days",
    remedy: "Without automated backups there is neither point-in-time recovery nor a read replica.",
  },
  ...serviceWindowRules<RdsProps>({
    service: "RDS",
    minMinutes: MIN_WINDOW_MINUTES,
    daily: {
      property: "backupWindow",
      example: DEFAULT_BACKUP_WINDOW,
      of: ({ backupWindow = DEFAULT_BACKUP_WINDOW }) => backupWindow,
    },
    weekly: {
      property: "maintenanceWindow",
      example: DEFAULT_MAINTENANCE_WINDOW,
      of: ({ maintenanceWindow = DEFAULT_MAINTENANCE_WINDOW }) => maintenanceWindow,
    },
  }),
];

/**
 * PostgreSQL: one primary, in production with a standby and a read replica, and a proxy in the app subnets that pools the
 * clients' connections. Source: Infra analysis §2-3, AWS architecture §5.1, Architecture guide §8.1.
 */
export class Rds extends Module {
  /** Identifier of the primary. */
  readonly instanceIdentifier: string;
  /** Address of the primary, for its administrators; services use {@link proxyEndpoint}. */
  readonly endpointAddress: string;
  /** TCP port of primary, replica and proxy. */
  readonly port = PORT;
  /** First database. */
  readonly dbName: string;
  /** Address that clients connect to: the proxy, or the primary where there is no proxy. */
  readonly proxyEndpoint: string;
  /** Address of the read replica, for queries that may be seconds behind. */
  readonly replicaEndpointAddress?: string;
  readonly alarms: AlarmSet;

  private readonly props: RdsProps;
  private readonly primaryGroup: SecurityGroup;
  private readonly replicaGroup?: SecurityGroup;
  private readonly proxyGroup?: SecurityGroup;

  constructor(scope: Construct, id: string, props: RdsProps) {
    super(scope, id);
    this.props = props;
    const { dbName = DEFAULT_DB_NAME, proxy = true, readReplica } = props;
    enforce(this, props, RULES);
    this.alarms = new AlarmSet(this);

    this.primaryGroup = this.createSecurityGroup("primary", "rds", "Primary database");
    const parameterGroup = this.createParameterGroup();
    const primary = this.createPrimary(parameterGroup);
    this.addInstanceAlarms("primary", primary);
    this.instanceIdentifier = primary.identifier;
    this.endpointAddress = primary.address;
    this.dbName = dbName;

    if (readReplica) {
      this.replicaGroup = this.createSecurityGroup("replica", "rds_replica", "Read replica");
      const replica = this.createReplica(primary, parameterGroup);
      this.addInstanceAlarms("replica", replica);
      this.addLagAlarm(replica);
      this.replicaEndpointAddress = replica.address;
    }

    if (proxy) this.proxyGroup = this.createSecurityGroup("proxy", "rds_proxy", "Database proxy");
    this.proxyEndpoint = this.proxyGroup ? this.createProxy(primary, this.proxyGroup).endpoint : this.endpointAddress;
  }

  /** Lets a peer query the databases: through the proxy and, where there is one, on the read replica. */
  allowFrom(peer: Peer | Connectable, description: string): void {
    this.allowProxyFrom(peer, description);
    this.replicaGroup?.allowFrom(peerOf(peer), tcp(PORT), description);
  }

  /** Lets a peer query the databases through the proxy only (the primary where there is no proxy). */
  allowProxyFrom(peer: Peer | Connectable, description: string): void {
    (this.proxyGroup ?? this.primaryGroup).allowFrom(peerOf(peer), tcp(PORT), description);
  }

  /** Lets a peer connect to the primary past the proxy, for sessions that a pool would pin: dumps, logical replication. */
  allowDirectFrom(peer: Peer | Connectable, description: string): void {
    this.primaryGroup.allowFrom(peerOf(peer), tcp(PORT), description);
  }

  private createSecurityGroup(id: string, label: string, what: string): SecurityGroup {
    const { prefix, vpc } = this.props;
    return new SecurityGroup(this, id, {
      name: `${prefix}-${label.replaceAll("_", "-")}`,
      description: `${what} of ${prefix}`,
      vpcId: vpc.vpcId,
      label,
    });
  }

  private createParameterGroup(): DbParameterGroup {
    const { engineVersion, prefix } = this.props;
    const family = `postgres${engineVersion.split(".")[0]}`;
    return new DbParameterGroup(this, "db_parameter_group.main", {
      name: physicalName(this, "db parameter group", `${prefix}-${family}`),
      family,
      description: `PostgreSQL settings of ${prefix}`,
      parameter: PARAMETERS.map(({ name, value, isStatic }) => ({
        name,
        value,
        applyMethod: isStatic ? "pending-reboot" : "immediate",
      })),
      // A major upgrade moves to a group of another family; the old one is in use until the instances have moved.
      lifecycle: { createBeforeDestroy: true },
    });
  }

  private createPrimary(parameterGroup: DbParameterGroup): DbInstance {
    const { allocatedStorageGib, deletionProtection, dbName, encryptedByService, engineVersion, key } = this.props;
    const { masterSecret, multiAz, prefix } = this.props;
    const identifier = physicalName(this, "db instance", `${prefix}-postgres`);
    const subnetGroup = new DbSubnetGroup(this, "db_subnet_group.main", {
      name: physicalName(this, "db subnet group", `${prefix}-db`),
      description: `Isolated database subnets of ${prefix}`,
      subnetIds: [...this.props.vpc.tiers.db.subnetIds],
    });
    return new DbInstance(this, "db_instance.primary", {
      ...this.commonSettings(parameterGroup),
      identifier,
      engine: "postgres",
      engineVersion,
      allocatedStorage: allocatedStorageGib,
      ...(!encryptedByService && { kmsKeyId: key.keyArn }),
      dbName: dbName ?? DEFAULT_DB_NAME,
      username: this.props.username ?? DEFAULT_USERNAME,
      password: masterSecret.value,
      port: PORT,
      multiAz,
      dbSubnetGroupName: subnetGroup.name,
      vpcSecurityGroupIds: [this.primaryGroup.securityGroupId],
      backupRetentionPeriod: this.props.backupRetentionDays ?? DEFAULT_BACKUP_RETENTION_DAYS,
      backupWindow: this.props.backupWindow ?? DEFAULT_BACKUP_WINDOW,
      deleteAutomatedBackups: !deletionProtection,
      skipFinalSnapshot: !deletionProtection,
      ...(deletionProtection && { finalSnapshotIdentifier: `${identifier}-final` }),
      // RDS tries the role and makes missing log groups itself, unencrypted and without end, when the instance is created.
      dependsOn: [...this.createLogGroups("primary", identifier), ...this.props.monitoringRole.dependables],
    });
  }

  /** The replica takes engine, credentials, subnets, key and storage size from its source. */
  private createReplica(primary: DbInstance, parameterGroup: DbParameterGroup): DbInstance {
    const { monitoringRole, prefix, vpc } = this.props;
    const identifier = physicalName(this, "db instance", `${prefix}-postgres-replica`);
    return new DbInstance(this, "db_instance.replica", {
      ...this.commonSettings(parameterGroup),
      identifier,
      replicateSourceDb: primary.identifier,
      availabilityZone: vpc.availabilityZones[0] ?? "",
      vpcSecurityGroupIds: [this.replicaGroup?.securityGroupId ?? ""],
      // RDS takes no final snapshot of a replica and refuses its deletion if asked for one.
      skipFinalSnapshot: true,
      dependsOn: [...this.createLogGroups("replica", identifier), ...monitoringRole.dependables],
    });
  }

  /** What primary and replica have in common. Source: Infra analysis §2-3 "Read Replica". */
  private commonSettings(parameterGroup: DbParameterGroup) {
    const { deletionProtection, encryptedByService, engineVersion, instanceClass, key, monitoringRole } = this.props;
    return {
      instanceClass: instanceClass,
      storageType: "gp3",
      storageEncrypted: true,
      maxAllocatedStorage: this.props.maxAllocatedStorageGib ?? DEFAULT_MAX_ALLOCATED_STORAGE_GIB,
      parameterGroupName: parameterGroup.name,
      publiclyAccessible: false,
      // Opens nothing by itself: it lets people with rds-db:connect and the rds_iam role sign in without a password.
      iamDatabaseAuthenticationEnabled: true,
      autoMinorVersionUpgrade: !engineVersion.includes("."),
      maintenanceWindow: this.props.maintenanceWindow ?? DEFAULT_MAINTENANCE_WINDOW,
      enabledCloudwatchLogsExports: [...LOG_EXPORTS],
      performanceInsightsEnabled: true,
      performanceInsightsRetentionPeriod: PERFORMANCE_INSIGHTS_RETENTION_DAYS,
      ...(!encryptedByService && { performanceInsightsKmsKeyId: key.keyArn }),
      monitoringInterval: MONITORING_INTERVAL_SECONDS,
      monitoringRoleArn: monitoringRole.roleArn,
      copyTagsToSnapshot: true,
      deletionProtection,
    };
  }

  private createLogGroups(id: string, identifier: string): CloudwatchLogGroup[] {
    const { key } = this.props;
    return LOG_EXPORTS.map((log) =>
      createLogGroup(this, `${id}_${log}`, { name: `/aws/rds/instance/${identifier}/${log}`, key }),
    );
  }

  private createProxy(primary: DbInstance, group: SecurityGroup): DbProxy {
    const { databaseUserSecrets, key, masterSecret, prefix, proxyRole, vpc } = this.props;
    this.primaryGroup.allowFrom(group, tcp(PORT), "PostgreSQL from the connection pool of the proxy");
    const credentials = [
      { description: "Master user", secret: masterSecret },
      ...Object.entries(databaseUserSecrets).map(([user, secret]) => ({ description: `User ${user}`, secret })),
    ];
    for (const { secret } of credentials) secret.grantRead(proxyRole);

    const name = physicalName(this, "db proxy", `${prefix}-postgres-proxy`);
    const proxy = new DbProxy(this, "db_proxy.main", {
      name,
      engineFamily: "POSTGRESQL",
      roleArn: proxyRole.roleArn,
      requireTls: true,
      idleClientTimeout: PROXY_IDLE_CLIENT_TIMEOUT_SECONDS,
      debugLogging: false,
      vpcSubnetIds: [...vpc.tiers.app.subnetIds],
      vpcSecurityGroupIds: [group.securityGroupId],
      auth: credentials.map(({ description, secret }) => ({
        authScheme: "SECRETS",
        iamAuth: "DISABLED",
        clientPasswordAuthType: "POSTGRES_SCRAM_SHA_256",
        description,
        secretArn: secret.secretArn,
      })),
      // The proxy reads its secrets as soon as it exists: without value or permission it never becomes available.
      dependsOn: [
        ...credentials.map(({ secret }) => secret.version),
        ...proxyRole.dependables,
        createLogGroup(this, "proxy", { name: `/aws/rds/proxy/${name}`, key }),
      ],
    });
    const targetGroup = new DbProxyDefaultTargetGroup(this, "db_proxy_default_target_group.main", {
      dbProxyName: proxy.name,
      connectionPoolConfig: {
        maxConnectionsPercent: PROXY_MAX_CONNECTIONS_PERCENT,
        maxIdleConnectionsPercent: PROXY_MAX_IDLE_CONNECTIONS_PERCENT,
      },
    });
    new DbProxyTarget(this, "db_proxy_target.primary", {
      dbProxyName: proxy.name,
      targetGroupName: targetGroup.name,
      dbInstanceIdentifier: primary.identifier,
    });
    return proxy;
  }

  /** Source: Infra analysis §9-3, item 4. */
  private addInstanceAlarms(id: string, instance: DbInstance): void {
    const { allocatedStorageGib, instanceClass, prefix } = this.props;
    const memoryBytes = instanceMemoryBytes(instanceClass) ?? 0;
    const name = `${prefix}-rds-${id}`;
    const metric = {
      namespace: "AWS/RDS",
      dimensions: { DBInstanceIdentifier: instance.identifier },
      statistic: "Average",
      periodSeconds: 300,
      evaluationPeriods: 3,
    };
    this.alarms.add(`${id}_cpu_utilization`, {
      ...metric,
      name: `${name}-cpu-utilization`,
      description: `HIGH: the CPU of the ${id} database has been above 80 % for 15 minutes. See Performance Insights for the statements that take it.`,
      metricName: "CPUUtilization",
      threshold: 80,
      comparison: "GreaterThanThreshold",
    });
    this.alarms.add(`${id}_freeable_memory`, {
      ...metric,
      name: `${name}-freeable-memory`,
      description: `HIGH: less than a tenth of the ${id} database's memory has been free for 15 minutes. Look for large sorts and too many connections.`,
      metricName: "FreeableMemory",
      threshold: Math.floor(memoryBytes / 10),
      comparison: "LessThanThreshold",
    });
    this.alarms.add(`${id}_database_connections`, {
      ...metric,
      name: `${name}-database-connections`,
      description: `HIGH: the ${id} database has held more than 80 % of the connections it can take for 15 minutes. Look for pods that bypass the proxy and for transactions that stay open.`,
      metricName: "DatabaseConnections",
      threshold: Math.floor(connectionLimit(memoryBytes) * 0.8),
      comparison: "GreaterThanThreshold",
    });
    this.alarms.add(`${id}_free_storage_space`, {
      ...metric,
      name: `${name}-free-storage-space`,
      description: `CRITICAL: less than a tenth of the ${id} database's storage has been free for 15 minutes, so that autoscaling has not kept up or is at its limit. Raise maxAllocatedStorageGib.`,
      metricName: "FreeStorageSpace",
      statistic: "Minimum",
      threshold: Math.floor((allocatedStorageGib * 2 ** 30) / 10),
      comparison: "LessThanThreshold",
    });
  }

  private addLagAlarm(replica: DbInstance): void {
    this.alarms.add("replica_lag", {
      name: `${this.props.prefix}-rds-replica-lag`,
      description:
        "WARNING: the read replica has been more than a minute behind the primary for five minutes; statistics and the catalogue show old data. Look for long queries on the replica.",
      namespace: "AWS/RDS",
      metricName: "ReplicaLag",
      dimensions: { DBInstanceIdentifier: replica.identifier },
      statistic: "Maximum",
      periodSeconds: 60,
      evaluationPeriods: 5,
      threshold: 60,
      comparison: "GreaterThanThreshold",
    });
  }
}

function peerOf(peer: Peer | Connectable): Peer {
  return "securityGroup" in peer ? peer.securityGroup : peer;
}
