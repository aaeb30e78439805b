import { describe, expect, it } from "vitest";
import { Rds, type RdsProps } from "../../modules/rds";
import { expectGrant, expectNoGrant } from "../support/access";
import { expectEncrypted } from "../support/encryption";
import { ALARM_TOPIC_ARN, type Foundation, problemsOnFoundation, synthOnFoundation } from "../support/foundation";
import { admissions, expectReachable, expectUnreachable } from "../support/network";
import type { TestStack } from "../support/synth";
import type { TerraformStack } from "../support/terraform";

/** Infra analysis §2-3, column Prod. */
const PROD = {
  prefix: "urr-prod",
  engineVersion: "16.4",
  instanceClass: "db.t3.medium",
  allocatedStorageGib: 50,
  multiAz: true,
  readReplica: true,
  deletionProtection: true,
};
/** Infra analysis §2-3, column Staging. */
const STAGING = {
  ...PROD,
  prefix: "urr-staging",
  allocatedStorageGib: 20,
  multiAz: false,
  readReplica: false,
  deletionProtection: false,
};

function createRds(stack: TestStack, { iam, secrets, vpc }: Foundation, props: Partial<RdsProps>): Rds {
  const rds = new Rds(stack, "rds", {
    ...PROD,
    vpc,
    key: secrets.key,
    monitoringRole: iam.rdsMonitoringRole,
    proxyRole: iam.rdsProxyRole,
    masterSecret: secrets.rdsCredentials,
    databaseUserSecrets: secrets.databaseUsers,
    ...props,
  });
  rds.alarms.notify(ALARM_TOPIC_ARN);
  return rds;
}

function synthRds(props: Partial<RdsProps> = {}, use?: (rds: Rds, foundation: Foundation) => void): TerraformStack {
  return synthOnFoundation((stack, foundation) => {
    const rds = createRds(stack, foundation, props);
    foundation.secrets.writeDatabaseCredentials(rds);
    use?.(rds, foundation);
  });
}

function problems(props: Partial<RdsProps>): readonly string[] {
  return problemsOnFoundation((stack, foundation) => {
    createRds(stack, foundation, props);
  });
}

const PRIMARY = "module.rds.aws_db_instance.primary";
const REPLICA = "module.rds.aws_db_instance.replica";
const PROXY = "module.rds.aws_db_proxy.main";
const CLIENT = "aws_network_interface.client";

describe("rds", () => {
  const prod = synthRds({}, (rds, { client }) => rds.allowFrom(client, "Queries of a client"));
  const staging = synthRds(STAGING);
  const argumentsOf = (stack: TerraformStack, address: string) => stack.arguments(stack.at(address));

  describe("primary", () => {
    it.each([
      ["prod", prod, 50, true, true],
      ["staging", staging, 20, false, false],
    ])("is the documented PostgreSQL in %s", (_, stack, allocated, multiAz, deletionProtection) => {
      expect(argumentsOf(stack, PRIMARY)).toMatchObject({
        engine: "postgres",
        engine_version: "16.4",
        instance_class: "db.t3.medium",
        allocated_storage: allocated,
        max_allocated_storage: 100,
        storage_type: "gp3",
        storage_encrypted: true,
        multi_az: multiAz,
        deletion_protection: deletionProtection,
        db_name: "ticket_db",
        username: "urr_admin",
        port: 5432,
        publicly_accessible: false,
      });
    });

    it("takes the generated password of the master secret", () => {
      expect(prod.references(prod.at(PRIMARY), "password")).toEqual(["module.secrets.random_password.rds_credentials"]);
    });

    it("stands in the isolated database subnets", () => {
      const [group] = prod.referred(prod.at(PRIMARY), "db_subnet_group_name");
      expect(group && prod.references(group, "subnet_ids")).toEqual([
        "module.vpc.aws_subnet.db_a",
        "module.vpc.aws_subnet.db_c",
      ]);
    });

    it("is backed up for seven days, before its maintenance", () => {
      expect(argumentsOf(prod, PRIMARY)).toMatchObject({
        backup_retention_period: 7,
        backup_window: "03:00-04:00",
        maintenance_window: "mon:04:00-mon:05:00",
        copy_tags_to_snapshot: true,
      });
    });

    it("leaves a final snapshot and its backups behind where it is protected from deletion", () => {
      expect(argumentsOf(prod, PRIMARY)).toMatchObject({
        skip_final_snapshot: false,
        final_snapshot_identifier: "urr-prod-postgres-final",
        delete_automated_backups: false,
      });
      expect(argumentsOf(staging, PRIMARY)).toMatchObject({
        skip_final_snapshot: true,
        delete_automated_backups: true,
      });
    });

    it("pins a minor version, and lets AWS upgrade it only where the version names none", () => {
      expect(argumentsOf(prod, PRIMARY).auto_minor_version_upgrade).toBe(false);
      expect(argumentsOf(synthRds({ engineVersion: "16" }), PRIMARY).auto_minor_version_upgrade).toBe(true);
    });
  });

  describe("parameter group", () => {
    it("holds the documented parameters and TLS only; the one that PostgreSQL reads at start waits for a reboot", () => {
      const [group] = prod.referred(prod.at(PRIMARY), "parameter_group_name");
      expect(group && prod.arguments(group)).toMatchObject({
        family: "postgres16",
        parameter: [
          { name: "shared_preload_libraries", value: "pg_stat_statements", apply_method: "pending-reboot" },
          { name: "log_statement", value: "ddl", apply_method: "immediate" },
          { name: "log_min_duration_statement", value: "1000", apply_method: "immediate" },
          { name: "rds.force_ssl", value: "1", apply_method: "immediate" },
        ],
      });
    });

    it("follows the major version, the new one made before the old one goes", () => {
      const group = synthRds({ engineVersion: "17.2" }).one({ type: "aws_db_parameter_group" });
      expect(group.config).toMatchObject({
        family: "postgres17",
        name: "urr-prod-postgres17",
        lifecycle: { create_before_destroy: true },
      });
    });

    it("is shared by the replica, so that it refuses connections without TLS too", () => {
      expect(prod.references(prod.at(REPLICA), "parameter_group_name")).toEqual(
        prod.references(prod.at(PRIMARY), "parameter_group_name"),
      );
    });
  });

  it.each([PRIMARY, REPLICA])("monitors %s: insights for 7 days, the system every minute, logs exported", (address) => {
    expect(argumentsOf(prod, address)).toMatchObject({
      performance_insights_enabled: true,
      performance_insights_retention_period: 7,
      monitoring_interval: 60,
      enabled_cloudwatch_logs_exports: ["postgresql", "upgrade"],
    });
    expect(prod.references(prod.at(address), "monitoring_role_arn")).toEqual([
      "module.iam.aws_iam_role.rds_monitoring",
    ]);
  });

  it("encrypts storage, insights and logs with the environment's key", () => {
    const key = prod.at("module.secrets.aws_kms_key.main");
    expectEncrypted(prod, prod.at(PRIMARY), { key });
    expectEncrypted(prod, prod.at(REPLICA), { key });
    for (const address of [PRIMARY, REPLICA])
      expect(prod.references(prod.at(address), "performance_insights_kms_key_id")).toEqual([key.address]);
    const logGroups = prod.find({ type: "aws_cloudwatch_log_group", module: "rds" });
    expect(logGroups).toHaveLength(5);
    for (const logGroup of logGroups) expectEncrypted(prod, logGroup, { key });
  });

  it("leaves storage and insights of databases that were taken over with RDS's own key", () => {
    const taken = synthRds({ encryptedByService: true });
    for (const address of [PRIMARY, REPLICA]) {
      const settings = taken.arguments(taken.at(address));
      expect(settings).toMatchObject({ storage_encrypted: true });
      expect(settings).not.toHaveProperty("kms_key_id");
      expect(settings).not.toHaveProperty("performance_insights_kms_key_id");
    }
  });

  it("makes log groups and monitoring permission before RDS looks for them", () => {
    expect(prod.at(PRIMARY).config.depends_on).toEqual(
      expect.arrayContaining([
        "aws_cloudwatch_log_group.primary_postgresql",
        "aws_cloudwatch_log_group.primary_upgrade",
        expect.stringMatching(/rds_monitoring_enhanced_monitoring/),
      ]),
    );
    expect(prod.resolve(prod.at("module.rds.aws_cloudwatch_log_group.primary_postgresql"), "name")).toBe(
      "/aws/rds/instance/urr-prod-postgres/postgresql",
    );
  });

  describe("replica", () => {
    it("copies the primary, in the first zone, with what RDS lets a replica set", () => {
      const replica = argumentsOf(prod, REPLICA);
      expect(prod.references(prod.at(REPLICA), "replicate_source_db")).toEqual([PRIMARY]);
      expect(replica).toMatchObject({
        instance_class: "db.t3.medium",
        availability_zone: "ap-northeast-2a",
        max_allocated_storage: 100,
        skip_final_snapshot: true,
        publicly_accessible: false,
      });
      for (const inherited of ["engine", "engine_version", "username", "password", "db_name", "db_subnet_group_name"])
        expect(replica).not.toHaveProperty(inherited);
    });

    it("exists in production only", () => {
      expect(staging.find({ type: "aws_db_instance" }).map(({ name }) => name)).toEqual(["primary"]);
    });

    it("tells its address", () => {
      synthRds({}, (rds) => expect(rds.replicaEndpointAddress).toBeDefined());
      synthRds(STAGING, (rds) => expect(rds.replicaEndpointAddress).toBeUndefined());
    });
  });

  describe("proxy", () => {
    it.each([
      ["prod", prod],
      ["staging", staging],
    ])("pools connections as documented in %s", (_, stack) => {
      expect(argumentsOf(stack, PROXY)).toMatchObject({
        engine_family: "POSTGRESQL",
        require_tls: true,
        idle_client_timeout: 1800,
      });
      expect(argumentsOf(stack, "module.rds.aws_db_proxy_default_target_group.main")).toMatchObject({
        connection_pool_config: { max_connections_percent: 100, max_idle_connections_percent: 50 },
      });
      expect(stack.references(stack.at("module.rds.aws_db_proxy_target.primary"), "db_instance_identifier")).toEqual([
        PRIMARY,
      ]);
    });

    it("stands in the app subnets, not with the databases", () => {
      expect(prod.references(prod.at(PROXY), "vpc_subnet_ids")).toEqual([
        "module.vpc.aws_subnet.app_a",
        "module.vpc.aws_subnet.app_c",
      ]);
    });

    it("knows one secret per database user and the master's", () => {
      expect(prod.references(prod.at(PROXY), "auth.secret_arn")).toEqual([
        "module.secrets.aws_secretsmanager_secret.rds_credentials",
        "module.secrets.aws_secretsmanager_secret.ticket",
        "module.secrets.aws_secretsmanager_secret.auth",
      ]);
      expect(prod.resolve(prod.at(PROXY), "auth.iam_auth")).toEqual(["DISABLED", "DISABLED", "DISABLED"]);
      expect(prod.resolve(prod.at(PROXY), "auth.auth_scheme")).toEqual(["SECRETS", "SECRETS", "SECRETS"]);
    });

    it("may read those secrets and no other", () => {
      const role = prod.at("module.iam.aws_iam_role.rds_proxy");
      for (const name of ["rds_credentials", "ticket", "auth"])
        expectGrant(
          prod,
          role,
          "secretsmanager:GetSecretValue",
          prod.at(`module.secrets.aws_secretsmanager_secret.${name}`),
        );
      expectGrant(prod, role, "kms:Decrypt", prod.at("module.secrets.aws_kms_key.main"));
      for (const name of ["jwt_secret", "redis_auth_token", "vwr_token_secret"])
        expectNoGrant(
          prod,
          role,
          "secretsmanager:GetSecretValue",
          prod.at(`module.secrets.aws_secretsmanager_secret.${name}`),
        );
    });

    it("waits for the values of its secrets and for the permission to read them", () => {
      const waits = (prod.at(PROXY).config.depends_on as readonly string[]).join(" ");
      for (const name of ["rds_credentials", "ticket", "auth"])
        expect(waits).toMatch(new RegExp(`secretsmanager_secret_version_${name}\\b|secret_version_${name}_`));
      expect(waits).toMatch(/iam_role_policy_rds_proxy/);
      expect(waits).toContain("aws_cloudwatch_log_group.proxy");
    });

    it("can be left out: clients then connect to the primary", () => {
      const bare = synthRds({ proxy: false }, (rds, { client }) => {
        expect(rds.proxyEndpoint).toBe(rds.endpointAddress);
        rds.allowProxyFrom(client, "Queries of a client");
      });
      expect(bare.find({ type: "aws_db_proxy" })).toEqual([]);
      expectReachable(bare, bare.at(CLIENT), bare.at(PRIMARY), 5432);
    });
  });

  describe("network", () => {
    it("leads clients to the proxy and the replica on 5432, the primary admits the proxy alone", () => {
      const client = prod.at(CLIENT);
      expectReachable(prod, client, prod.at(PROXY), 5432);
      expectReachable(prod, client, prod.at(REPLICA), 5432);
      expectUnreachable(prod, client, prod.at(PRIMARY), 5432);
      expectReachable(prod, prod.at(PROXY), prod.at(PRIMARY), 5432);
      expectUnreachable(prod, prod.at(PROXY), prod.at(REPLICA), 5432);
      expect(admissions(prod, prod.at(PRIMARY))).toEqual(["tcp 5432 from module.rds.aws_security_group.proxy"]);
    });

    it("can lead a client to the proxy only, or past it", () => {
      const narrow = synthRds({}, (rds, { client }) => rds.allowProxyFrom(client, "Writes"));
      expectReachable(narrow, narrow.at(CLIENT), narrow.at(PROXY), 5432);
      expectUnreachable(narrow, narrow.at(CLIENT), narrow.at(REPLICA), 5432);
      const direct = synthRds({}, (rds, { client }) => rds.allowDirectFrom(client, "Dumps"));
      expectReachable(direct, direct.at(CLIENT), direct.at(PRIMARY), 5432);
      expectUnreachable(direct, direct.at(CLIENT), direct.at(PROXY), 5432);
    });
  });

  describe("alarms", () => {
    const alarm = (name: string) => argumentsOf(prod, `module.rds.aws_cloudwatch_metric_alarm.${name}`);
    const GIB = 2 ** 30;

    it.each([
      ["cpu_utilization", "CPUUtilization", "GreaterThanThreshold", 80],
      // A tenth of the 4 GiB of a db.t3.medium.
      ["freeable_memory", "FreeableMemory", "LessThanThreshold", Math.floor(0.4 * GIB)],
      // 80 % of 4 GiB / 9531392.
      ["database_connections", "DatabaseConnections", "GreaterThanThreshold", 360],
      ["free_storage_space", "FreeStorageSpace", "LessThanThreshold", 5 * GIB],
    ])("watch %s of primary and replica", (id, metricName, comparison, threshold) => {
      for (const instance of ["primary", "replica"]) {
        expect(alarm(`${instance}_${id}`)).toMatchObject({
          namespace: "AWS/RDS",
          metric_name: metricName,
          comparison_operator: comparison,
          threshold,
          alarm_actions: [ALARM_TOPIC_ARN],
        });
        expect(
          prod.literal(
            prod.at(`module.rds.aws_cloudwatch_metric_alarm.${instance}_${id}`),
            "dimensions.DBInstanceIdentifier",
          ),
        ).toBe(instance === "primary" ? "urr-prod-postgres" : "urr-prod-postgres-replica");
      }
    });

    it("watch how far the replica is behind", () => {
      expect(alarm("replica_lag")).toMatchObject({ metric_name: "ReplicaLag", threshold: 60, statistic: "Maximum" });
      expect(staging.find({ type: "aws_cloudwatch_metric_alarm" })).toHaveLength(4);
    });

    it("scale with the instance class", () => {
      const large = synthRds({ instanceClass: "db.r6g.xlarge" });
      expect(argumentsOf(large, "module.rds.aws_cloudwatch_metric_alarm.primary_freeable_memory").threshold).toBe(
        Math.floor(3.2 * GIB),
      );
    });
  });

  describe("rules", () => {
    it.each<[string, Partial<RdsProps>, string]>([
      ["an unpinned word as version", { engineVersion: "latest" }, 'engineVersion: given "latest"'],
      ["a class of unknown memory", { instanceClass: "db.x2g.large" }, 'instanceClass: given "db.x2g.large"'],
      ["a class without db.", { instanceClass: "t3.medium" }, 'instanceClass: given "t3.medium"'],
      [
        "less than 20 GiB of gp3",
        { allocatedStorageGib: 19 },
        "allocatedStorageGib: given 19; allowed: 20 to 65536 GiB",
      ],
      [
        "a maximum below the allocated storage",
        { maxAllocatedStorageGib: 40 },
        'maxAllocatedStorageGib: given {"allocated":50,"max":40}; allowed: at least 56 GiB',
      ],
      [
        "a maximum that leaves no step",
        { maxAllocatedStorageGib: 54 },
        'maxAllocatedStorageGib: given {"allocated":50,"max":54}',
      ],
      ["a database name with a hyphen", { dbName: "ticket-db" }, 'dbName: given "ticket-db"'],
      ["the reserved user name admin", { username: "admin" }, 'username: given "admin"'],
      ["no automated backups", { backupRetentionDays: 0 }, "backupRetentionDays: given 0; allowed: 1 to 35 days"],
      ["backups for more than 35 days", { backupRetentionDays: 36 }, "backupRetentionDays: given 36"],
      ["a backup window of 15 minutes", { backupWindow: "03:00-03:15" }, 'backupWindow: given "03:00-03:15"'],
      [
        "a maintenance window without days",
        { maintenanceWindow: "04:00-05:00" },
        'maintenanceWindow: given "04:00-05:00"',
      ],
      [
        "windows that overlap",
        { backupWindow: "03:30-04:30" },
        'backupWindow: given {"backupWindow":"03:30-04:30","maintenanceWindow":"mon:04:00-mon:05:00"}; allowed: windows that do not overlap',
      ],
      ["a name that RDS refuses", { prefix: "Urr_Prod" }, "name of the db instance"],
    ])("fails on %s", (_, props, message) => {
      expect(problems(props).join("\n")).toContain(message);
    });

    it("tell all problems at once", () => {
      const told = problems({ engineVersion: "16.x", backupRetentionDays: 0, allocatedStorageGib: 5 });
      expect(told).toHaveLength(3);
    });

    it("accept both environments", () => {
      expect(problems({})).toEqual([]);
      expect(problems(STAGING)).toEqual([]);
    });
  });
});
