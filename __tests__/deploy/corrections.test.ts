import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import {
  APIGatewayClient,
  CreateDeploymentCommand,
  CreateRestApiCommand,
  CreateStageCommand,
  GetIntegrationCommand,
  GetStageCommand,
  PutIntegrationCommand,
  PutMethodCommand,
} from "@aws-sdk/client-api-gateway";
import { CloudFrontClient, ListFunctionsCommand } from "@aws-sdk/client-cloudfront";
import {
  CreateTableCommand,
  DeleteItemCommand,
  DescribeContinuousBackupsCommand,
  DynamoDBClient,
  UpdateContinuousBackupsCommand,
} from "@aws-sdk/client-dynamodb";
import {
  AuthorizeSecurityGroupIngressCommand,
  CreateFlowLogsCommand,
  CreateManagedPrefixListCommand,
  CreateSecurityGroupCommand,
  CreateVpcCommand,
  CreateVpcEndpointCommand,
  DescribeFlowLogsCommand,
  DescribeSecurityGroupRulesCommand,
  DescribeVpcEndpointsCommand,
  EC2Client,
  RevokeSecurityGroupEgressCommand,
} from "@aws-sdk/client-ec2";
import {
  CreateClusterCommand,
  CreateNodegroupCommand,
  DescribeClusterCommand,
  DescribeNodegroupCommand,
  EKSClient,
  UpdateNodegroupConfigCommand,
} from "@aws-sdk/client-eks";
import {
  CreateCacheParameterGroupCommand,
  CreateReplicationGroupCommand,
  DescribeCacheClustersCommand,
  DescribeCacheParametersCommand,
  DescribeReplicationGroupsCommand,
  ElastiCacheClient,
  ModifyCacheParameterGroupCommand,
  ModifyReplicationGroupCommand,
} from "@aws-sdk/client-elasticache";
import {
  CreateClusterCommand as CreateKafkaCommand,
  DescribeClusterOperationCommand,
  DescribeClusterV2Command,
  DescribeConfigurationCommand,
  KafkaClient,
  UpdateClusterKafkaVersionCommand,
  UpdateMonitoringCommand,
} from "@aws-sdk/client-kafka";
import { CreateFunctionCommand, LambdaClient, ListVersionsByFunctionCommand } from "@aws-sdk/client-lambda";
import {
  CreateDBInstanceCommand,
  CreateDBInstanceReadReplicaCommand,
  DescribeDBInstancesCommand,
  ModifyDBInstanceCommand,
  RDSClient,
} from "@aws-sdk/client-rds";
import {
  CreateSecretCommand,
  ListSecretVersionIdsCommand,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager";
import {
  DeleteLoggingConfigurationCommand,
  GetLoggingConfigurationCommand,
  PutLoggingConfigurationCommand,
  WAFV2Client,
} from "@aws-sdk/client-wafv2";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deterministicZip } from "../../lib/lambda-bundle/zip";
import { clientSettings } from "../../tools/cloud/inventory";
import { type Cloud, installSimulators } from "../../tools/cloud/simulators";
import { startCloud } from "./world";

const SIMULATORS = path.resolve(import.meta.dirname, "../../tools/cloud/simulators");

let cloud: Cloud;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ cloud, stop } = await startCloud());
});

afterAll(() => stop?.());

describe("the corrections", () => {
  it("refuse any other version of the simulator", () => {
    const result = spawnSync(installSimulators(), ["-c", WITH_OTHER_VERSION], { encoding: "utf8", cwd: SIMULATORS });
    expect(result.status).not.toBe(0);
    expect(result.stderr).toContain("given 1.5.34; the corrections");
  });

  it("each say what AWS does, and name a function that the simulator has", () => {
    const source = readFileSync(path.join(SIMULATORS, "ministack_corrected.py"), "utf8");
    const corrections = source.split("@corrects(").slice(1);
    expect(corrections.length).toBeGreaterThan(20);
    for (const correction of corrections) expect(correction).toMatch(/def \w+\([^)]*\):\n\s+"""AWS: .+"""/);
  });

  it("keep the prefix list of a security group's rule, and the tags of the list", async () => {
    const ec2 = new EC2Client(clientSettings(cloud));
    const { PrefixList } = await ec2.send(
      new CreateManagedPrefixListCommand({
        PrefixListName: "test",
        AddressFamily: "IPv4",
        MaxEntries: 1,
        TagSpecifications: [{ ResourceType: "prefix-list", Tags: [{ Key: "Project", Value: "URR" }] }],
      }),
    );
    expect(PrefixList?.Tags).toEqual([{ Key: "Project", Value: "URR" }]);
    const { GroupId } = await ec2.send(new CreateSecurityGroupCommand({ GroupName: "test", Description: "test" }));
    await ec2.send(
      new AuthorizeSecurityGroupIngressCommand({
        GroupId,
        IpPermissions: [
          {
            IpProtocol: "tcp",
            FromPort: 443,
            ToPort: 443,
            PrefixListIds: [{ PrefixListId: PrefixList?.PrefixListId }],
          },
        ],
      }),
    );
    const { SecurityGroupRules = [] } = await ec2.send(
      new DescribeSecurityGroupRulesCommand({ Filters: [{ Name: "group-id", Values: [GroupId ?? ""] }] }),
    );
    expect(SecurityGroupRules.filter(({ IsEgress }) => !IsEgress).map(({ PrefixListId }) => PrefixListId)).toEqual([
      PrefixList?.PrefixListId,
    ]);
  });

  it("take a new group's rule for all protocols away, whatever ports come with it", async () => {
    const ec2 = new EC2Client(clientSettings(cloud));
    const { GroupId } = await ec2.send(new CreateSecurityGroupCommand({ GroupName: "closed", Description: "closed" }));
    const everything = { IpProtocol: "-1", FromPort: 0, ToPort: 0, IpRanges: [{ CidrIp: "0.0.0.0/0" }] };
    await ec2.send(new RevokeSecurityGroupEgressCommand({ GroupId, IpPermissions: [everything] }));
    const Filters = [{ Name: "group-id", Values: [GroupId ?? ""] }];
    expect((await ec2.send(new DescribeSecurityGroupRulesCommand({ Filters }))).SecurityGroupRules).toEqual([]);
  });

  it("answer for a Kafka configuration that is gone as AWS does", async () => {
    const arn = "arn:aws:kafka:ap-northeast-2:123456789012:configuration/gone/0-0";
    const error = await new KafkaClient(clientSettings(cloud))
      .send(new DescribeConfigurationCommand({ Arn: arn }))
      .catch((thrown) => thrown);
    expect(error).toMatchObject({ name: "BadRequestException", $metadata: { httpStatusCode: 400 } });
  });

  it("give a secret without a value no version", async () => {
    const client = new SecretsManagerClient(clientSettings(cloud));
    await client.send(new CreateSecretCommand({ Name: "empty" }));
    expect((await client.send(new ListSecretVersionIdsCommand({ SecretId: "empty" }))).Versions ?? []).toEqual([]);
  });

  it("keep groups, private DNS and policy of an interface endpoint, and the settings of a flow log", async () => {
    const ec2 = new EC2Client(clientSettings(cloud));
    const { Vpc } = await ec2.send(new CreateVpcCommand({ CidrBlock: "10.9.0.0/16" }));
    const VpcId = Vpc?.VpcId ?? "";
    const group = await ec2.send(new CreateSecurityGroupCommand({ GroupName: "endpoint", Description: "x", VpcId }));
    const GroupId = group.GroupId ?? "";
    const ServiceName = "com.amazonaws.ap-northeast-2.sts";
    await ec2.send(
      new CreateVpcEndpointCommand({
        VpcId,
        ServiceName,
        VpcEndpointType: "Interface",
        SecurityGroupIds: [GroupId],
        PrivateDnsEnabled: true,
        PolicyDocument: '{"Statement":[]}',
      }),
    );
    const { VpcEndpoints = [] } = await ec2.send(new DescribeVpcEndpointsCommand());
    expect(VpcEndpoints.find((found) => found.ServiceName === ServiceName)).toMatchObject({
      Groups: [{ GroupId }],
      PrivateDnsEnabled: true,
      PolicyDocument: '{"Statement":[]}',
    });
    const role = "arn:aws:iam::123456789012:role/flow-logs";
    await ec2.send(
      new CreateFlowLogsCommand({
        ResourceIds: [VpcId],
        ResourceType: "VPC",
        TrafficType: "ALL",
        LogGroupName: "/flow-logs",
        DeliverLogsPermissionArn: role,
      }),
    );
    const { FlowLogs = [] } = await ec2.send(new DescribeFlowLogsCommand({}));
    expect(FlowLogs.find((found) => found.ResourceId === VpcId)).toMatchObject({
      DeliverLogsPermissionArn: role,
      LogGroupName: "/flow-logs",
      MaxAggregationInterval: 600,
      LogFormat: expect.stringContaining("log-status"),
    });
  });

  it("give clusters an https issuer, and node groups their update settings and changes", async () => {
    const eks = new EKSClient(clientSettings(cloud));
    const roleArn = "arn:aws:iam::123456789012:role/eks";
    const name = { clusterName: "corrected", nodegroupName: "corrected" };
    await eks.send(new CreateClusterCommand({ name: "corrected", roleArn, resourcesVpcConfig: { subnetIds: [] } }));
    const { cluster } = await eks.send(new DescribeClusterCommand({ name: "corrected" }));
    expect(cluster?.identity?.oidc?.issuer).toMatch(/^https:/);
    const sizes = { minSize: 1, desiredSize: 1, maxSize: 2 };
    await eks.send(
      new CreateNodegroupCommand({
        ...name,
        nodeRole: roleArn,
        subnets: [],
        scalingConfig: sizes,
        updateConfig: { maxUnavailable: 1 },
      }),
    );
    const { update } = await eks.send(new UpdateNodegroupConfigCommand({ ...name, scalingConfig: { maxSize: 3 } }));
    expect(update?.status).toBe("Successful");
    expect((await eks.send(new DescribeNodegroupCommand(name))).nodegroup).toMatchObject({
      scalingConfig: { ...sizes, maxSize: 3 },
      updateConfig: { maxUnavailable: 1 },
    });
  });

  it("describe a Kafka cluster in the second version of the API, tags in their own case, and change it", async () => {
    const kafka = new KafkaClient(clientSettings(cloud));
    const { ClusterArn } = await kafka.send(
      new CreateKafkaCommand({
        ClusterName: "corrected",
        Tags: { ManagedBy: "Terraform" },
        KafkaVersion: "3.9.x",
        NumberOfBrokerNodes: 2,
        BrokerNodeGroupInfo: { ClientSubnets: ["subnet-1", "subnet-2"], InstanceType: "kafka.t3.small" },
      }),
    );
    const { ClusterInfo } = await kafka.send(new DescribeClusterV2Command({ ClusterArn }));
    expect(ClusterInfo).toMatchObject({ ClusterType: "PROVISIONED", Tags: { ManagedBy: "Terraform" } });
    expect(ClusterInfo?.Provisioned?.NumberOfBrokerNodes).toBe(2);
    const CurrentVersion = ClusterInfo?.CurrentVersion;
    const { ClusterOperationArn } = await kafka.send(
      new UpdateClusterKafkaVersionCommand({ ClusterArn, CurrentVersion, TargetKafkaVersion: "4.0.x" }),
    );
    const { ClusterOperationInfo } = await kafka.send(new DescribeClusterOperationCommand({ ClusterOperationArn }));
    expect(ClusterOperationInfo?.OperationState).toBe("UPDATE_COMPLETE");
    await kafka.send(
      new UpdateMonitoringCommand({ ClusterArn, CurrentVersion, EnhancedMonitoring: "PER_TOPIC_PER_BROKER" }),
    );
    const changed = (await kafka.send(new DescribeClusterV2Command({ ClusterArn }))).ClusterInfo?.Provisioned;
    expect(changed).toMatchObject({
      CurrentBrokerSoftwareInfo: { KafkaVersion: "4.0.x" },
      EnhancedMonitoring: "PER_TOPIC_PER_BROKER",
    });
  });

  it("keep what a database exports, and give its replica settings of its own", async () => {
    const rds = new RDSClient(clientSettings(cloud));
    const engine = { Engine: "postgres", DBInstanceClass: "db.t3.medium", AllocatedStorage: 20 };
    const user = { MasterUsername: "u", MasterUserPassword: "password1" };
    const logs = { EnableCloudwatchLogsExports: ["postgresql"], DeletionProtection: true };
    await rds.send(new CreateDBInstanceCommand({ DBInstanceIdentifier: "first", ...engine, ...user, ...logs }));
    await rds.send(new CreateDBInstanceCommand({ DBInstanceIdentifier: "other", ...engine, ...user }));
    const source = { SourceDBInstanceIdentifier: "first" };
    await rds.send(new CreateDBInstanceReadReplicaCommand({ DBInstanceIdentifier: "replica", ...source }));
    const describeOne = async (DBInstanceIdentifier: string) =>
      (await rds.send(new DescribeDBInstancesCommand({ DBInstanceIdentifier }))).DBInstances?.[0];
    const first = await describeOne("first");
    expect(first?.EnabledCloudwatchLogsExports).toEqual(["postgresql"]);
    const replica = await describeOne("replica");
    expect(replica?.DeletionProtection).toBe(false);
    expect(replica?.EnabledCloudwatchLogsExports ?? []).toEqual([]);
    const changes = { AutoMinorVersionUpgrade: false, EnableIAMDatabaseAuthentication: true };
    await rds.send(new ModifyDBInstanceCommand({ DBInstanceIdentifier: "first", ...changes }));
    // The one at once, the other in the maintenance window.
    const changed = await describeOne("first");
    expect(changed?.AutoMinorVersionUpgrade).toBe(false);
    expect(changed?.IAMDatabaseAuthenticationEnabled).toBe(false);
    const Filters = [{ Name: "dbi-resource-id", Values: [first?.DbiResourceId ?? ""] }];
    const { DBInstances = [] } = await rds.send(new DescribeDBInstancesCommand({ Filters }));
    expect(DBInstances.map((found) => found.DBInstanceIdentifier)).toEqual(["first"]);
  });

  it("tell a cache's own parameters from the system's, and whether it takes minor versions", async () => {
    const cache = new ElastiCacheClient(clientSettings(cloud));
    const group = { CacheParameterGroupName: "corrected" };
    const family = { CacheParameterGroupFamily: "redis7", Description: "x" };
    await cache.send(new CreateCacheParameterGroupCommand({ ...group, ...family }));
    const ParameterNameValues = [{ ParameterName: "timeout", ParameterValue: "300" }];
    await cache.send(new ModifyCacheParameterGroupCommand({ ...group, ParameterNameValues }));
    const { Parameters = [] } = await cache.send(new DescribeCacheParametersCommand({ ...group, Source: "user" }));
    expect(Parameters.map(({ ParameterName }) => ParameterName)).toEqual(["timeout"]);
    const id = { ReplicationGroupId: "corrected" };
    const settings = { ReplicationGroupDescription: "x", CacheNodeType: "cache.t4g.small", NumCacheClusters: 1 };
    await cache.send(
      new CreateReplicationGroupCommand({ ...id, ...settings, AutoMinorVersionUpgrade: true, KmsKeyId: "key" }),
    );
    const { ReplicationGroups = [] } = await cache.send(new DescribeReplicationGroupsCommand(id));
    expect(ReplicationGroups[0]?.KmsKeyId).toBe("key");
    const CacheClusterId = ReplicationGroups[0]?.MemberClusters?.[0];
    const { CacheClusters = [] } = await cache.send(new DescribeCacheClustersCommand({ CacheClusterId }));
    expect(CacheClusters[0]?.AutoMinorVersionUpgrade).toBe(true);
  });

  it("change groups, window, minor versions and log delivery of a replication group in place", async () => {
    const cache = new ElastiCacheClient(clientSettings(cloud));
    const id = { ReplicationGroupId: "changed" };
    const settings = { ReplicationGroupDescription: "x", CacheNodeType: "cache.t4g.small", NumCacheClusters: 1 };
    await cache.send(new CreateReplicationGroupCommand({ ...id, ...settings }));
    const delivery = { LogType: "slow-log", LogFormat: "json", DestinationType: "cloudwatch-logs" } as const;
    const change = { PreferredMaintenanceWindow: "mon:18:00-mon:19:00", AutoMinorVersionUpgrade: false };
    const SecurityGroupIds = ["sg-1"];
    const DestinationDetails = { CloudWatchLogsDetails: { LogGroup: "/corrected" } };
    const LogDeliveryConfigurations = [{ ...delivery, DestinationDetails }];
    await cache.send(
      new ModifyReplicationGroupCommand({ ...id, ...change, SecurityGroupIds, LogDeliveryConfigurations }),
    );
    // What is not named stays.
    await cache.send(new ModifyReplicationGroupCommand({ ...id, SnapshotRetentionLimit: 1 }));
    const { ReplicationGroups = [] } = await cache.send(new DescribeReplicationGroupsCommand(id));
    expect(ReplicationGroups[0]?.LogDeliveryConfigurations).toMatchObject(LogDeliveryConfigurations);
    const CacheClusterId = ReplicationGroups[0]?.MemberClusters?.[0];
    const { CacheClusters = [] } = await cache.send(new DescribeCacheClustersCommand({ CacheClusterId }));
    const SecurityGroups = [{ SecurityGroupId: "sg-1" }];
    expect(CacheClusters[0]).toMatchObject({ ...change, SecurityGroups, LogDeliveryConfigurations });
  });

  it("give a mock integration no method, and a stage no settings that it was not given", async () => {
    const gateway = new APIGatewayClient(clientSettings(cloud));
    const { id: restApiId = "", rootResourceId: resourceId = "" } = await gateway.send(
      new CreateRestApiCommand({ name: "corrected" }),
    );
    const method = { restApiId, resourceId, httpMethod: "OPTIONS" };
    await gateway.send(new PutMethodCommand({ ...method, authorizationType: "NONE" }));
    await gateway.send(new PutIntegrationCommand({ ...method, type: "MOCK" }));
    const integration = await gateway.send(new GetIntegrationCommand(method));
    expect(integration.httpMethod).toBeUndefined();
    const { id: deploymentId } = await gateway.send(new CreateDeploymentCommand({ restApiId }));
    await gateway.send(new CreateStageCommand({ restApiId, stageName: "v1", deploymentId }));
    expect((await gateway.send(new GetStageCommand({ restApiId, stageName: "v1" }))).accessLogSettings).toBeUndefined();
  });

  it("name versions of functions by ARNs of their own", async () => {
    const lambda = new LambdaClient(clientSettings(cloud));
    const ZipFile = deterministicZip({ "index.mjs": Buffer.from("export const handler = () => {};") });
    await lambda.send(
      new CreateFunctionCommand({
        FunctionName: "corrected",
        Runtime: "nodejs22.x",
        Handler: "index.handler",
        Role: "arn:aws:iam::123456789012:role/lambda",
        Code: { ZipFile },
        Publish: true,
      }),
    );
    const { Versions = [] } = await lambda.send(new ListVersionsByFunctionCommand({ FunctionName: "corrected" }));
    expect(Versions.length).toBeGreaterThanOrEqual(2);
    for (const { FunctionArn, Version } of Versions)
      expect(FunctionArn?.split(":function:")[1]).toBe(`corrected:${Version}`);
  });

  it("tell how far back a table can be recovered", async () => {
    const dynamodb = new DynamoDBClient(clientSettings(cloud));
    const TableName = "corrected";
    await dynamodb.send(
      new CreateTableCommand({
        TableName,
        BillingMode: "PAY_PER_REQUEST",
        KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
        AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
      }),
    );
    const PointInTimeRecoverySpecification = { PointInTimeRecoveryEnabled: true };
    await dynamodb.send(new UpdateContinuousBackupsCommand({ TableName, PointInTimeRecoverySpecification }));
    const { ContinuousBackupsDescription } = await dynamodb.send(new DescribeContinuousBackupsCommand({ TableName }));
    expect(ContinuousBackupsDescription?.PointInTimeRecoveryDescription?.RecoveryPeriodInDays).toBe(35);
  });

  it("log for a web ACL until that is taken away", async () => {
    const waf = new WAFV2Client(clientSettings(cloud));
    const ResourceArn = "arn:aws:wafv2:ap-northeast-2:123456789012:regional/webacl/corrected/1";
    const LogDestinationConfigs = ["arn:aws:logs:ap-northeast-2:123456789012:log-group:aws-waf-logs-corrected"];
    await waf.send(
      new PutLoggingConfigurationCommand({ LoggingConfiguration: { ResourceArn, LogDestinationConfigs } }),
    );
    const { LoggingConfiguration } = await waf.send(new GetLoggingConfigurationCommand({ ResourceArn }));
    expect(LoggingConfiguration?.LogDestinationConfigs).toEqual(LogDestinationConfigs);
    await waf.send(new DeleteLoggingConfigurationCommand({ ResourceArn }));
    await expect(waf.send(new GetLoggingConfigurationCommand({ ResourceArn }))).rejects.toThrow("No logging");
  });

  it("give a call that is repeated the answer that it had, and another call its own", async () => {
    const dynamodb = new DynamoDBClient(clientSettings(cloud));
    const TableName = "locks";
    await dynamodb.send(
      new CreateTableCommand({
        TableName,
        BillingMode: "PAY_PER_REQUEST",
        KeySchema: [{ AttributeName: "LockID", KeyType: "HASH" }],
        AttributeDefinitions: [{ AttributeName: "LockID", AttributeType: "S" }],
      }),
    );
    // By plain HTTP, because an SDK chooses the id of a call itself.
    const lock = async (invocation: string) => {
      const headers = { "x-amz-target": "DynamoDB_20120810.PutItem", "amz-sdk-invocation-id": invocation };
      const Item = { LockID: { S: "state" } };
      const body = JSON.stringify({ TableName, Item, ConditionExpression: "attribute_not_exists(LockID)" });
      return (await fetch(cloud.endpoint, { method: "POST", headers, body })).status;
    };
    expect(await lock("first")).toBe(200);
    expect(await lock("first")).toBe(200);
    expect(await lock("second")).toBe(400);
    // A refusal is not kept: what it was for may have changed.
    await dynamodb.send(new DeleteItemCommand({ TableName, Key: { LockID: { S: "state" } } }));
    expect(await lock("second")).toBe(200);
  });

  it("leave the rest of the simulator as it is", async () => {
    const { FunctionList } = await new CloudFrontClient(clientSettings(cloud)).send(new ListFunctionsCommand());
    expect(FunctionList?.Quantity).toBe(0);
  });
});

const WITH_OTHER_VERSION = `
import importlib.metadata, runpy
importlib.metadata.version = lambda name: "1.5.34"
runpy.run_path("ministack_corrected.py")
`;
