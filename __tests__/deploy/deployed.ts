import {
  APIGatewayClient,
  GetMethodCommand,
  GetResourcesCommand,
  GetRestApisCommand,
  GetStageCommand,
} from "@aws-sdk/client-api-gateway";
import { CloudFrontClient, GetDistributionCommand, ListDistributionsCommand } from "@aws-sdk/client-cloudfront";
import { CloudWatchClient, DescribeAlarmsCommand, type MetricAlarm } from "@aws-sdk/client-cloudwatch";
import {
  DescribeContinuousBackupsCommand,
  DescribeTableCommand,
  DescribeTimeToLiveCommand,
  DynamoDBClient,
} from "@aws-sdk/client-dynamodb";
import {
  DescribeRouteTablesCommand,
  DescribeSecurityGroupRulesCommand,
  DescribeSecurityGroupsCommand,
  DescribeSubnetsCommand,
  DescribeVpcsCommand,
  EC2Client,
  type SecurityGroupRule,
} from "@aws-sdk/client-ec2";
import { DescribeRepositoriesCommand, ECRClient } from "@aws-sdk/client-ecr";
import { DescribeNodegroupCommand, EKSClient, ListNodegroupsCommand } from "@aws-sdk/client-eks";
import {
  DescribeListenersCommand,
  DescribeLoadBalancersCommand,
  ElasticLoadBalancingV2Client,
} from "@aws-sdk/client-elastic-load-balancing-v2";
import { DescribeReplicationGroupsCommand, ElastiCacheClient } from "@aws-sdk/client-elasticache";
import { KafkaClient, ListClustersCommand } from "@aws-sdk/client-kafka";
import { GetFunctionCommand, LambdaClient, ListEventSourceMappingsCommand } from "@aws-sdk/client-lambda";
import { DescribeDBInstancesCommand, RDSClient } from "@aws-sdk/client-rds";
import {
  GetBucketEncryptionCommand,
  GetBucketPolicyCommand,
  GetBucketVersioningCommand,
  GetPublicAccessBlockCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { ListSecretsCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { ListTopicsCommand, SNSClient } from "@aws-sdk/client-sns";
import { GetQueueAttributesCommand, GetQueueUrlCommand, SQSClient } from "@aws-sdk/client-sqs";
import { GetWebACLCommand, ListWebACLsCommand, WAFV2Client } from "@aws-sdk/client-wafv2";
import { describe, expect } from "vitest";
import { clientSettings } from "../../tools/cloud/inventory";
import type { Cloud } from "../../tools/cloud/simulators";

export type Step = (name: string, run: () => Promise<void>) => void;

/** What the documents promise of each environment. Source: Infra analysis §1-1, §2-1 to §2-11. */
const ENVIRONMENTS = [
  {
    prefix: "urr-prod",
    name: "prod",
    network: "10.0",
    database: { storageGib: 50, multiAz: true, protectedFromDeletion: true },
    databases: ["urr-prod-postgres", "urr-prod-postgres-replica"],
    redisNodes: 2,
    nodes: { minSize: 2, desiredSize: 3, maxSize: 5 },
    brokerStorageGib: 50,
    api: { reserved: 500, rate: 5000, burst: 10_000, keyRequired: true },
    recovery: "ENABLED",
    worker: { reserved: 10 },
    connections: ["eks-nodes > rds-replica 5432"],
    albPorts: [443],
  },
  {
    prefix: "urr-staging",
    name: "staging",
    network: "10.1",
    database: { storageGib: 20, multiAz: false, protectedFromDeletion: false },
    databases: ["urr-staging-postgres"],
    redisNodes: 1,
    nodes: { minSize: 1, desiredSize: 2, maxSize: 3 },
    brokerStorageGib: 20,
    api: { reserved: 20, rate: 1000, burst: 2000, keyRequired: false },
    recovery: "DISABLED",
    worker: { reserved: 5 },
    connections: [],
    albPorts: [80, 443],
  },
] as const;

/** Who opens connections to whom, on which port; -1 is every port. Source: AWS architecture §9, Infra analysis §2. */
const CONNECTIONS = [
  "alb > eks-nodes 3000",
  "alb > eks-nodes 3001",
  "eks-control-plane > eks-nodes 10250",
  "eks-control-plane > eks-nodes 443",
  "eks-control-plane > eks-nodes 9443",
  "eks-nodes > eks-control-plane 443",
  "eks-nodes > eks-nodes -1",
  "eks-nodes > msk 9098",
  "eks-nodes > rds-proxy 5432",
  "eks-nodes > redis 6379",
  "internal-lb > eks-nodes 3002",
  "lambda-worker > internal-lb 3002",
  "lambda-worker > msk 9098",
  "lambda-worker > rds-proxy 5432",
  "lambda-worker > redis 6379",
  "msk > msk 2181",
  "rds-proxy > rds 5432",
];
const TIERS = { public: 0, app: 10, db: 20, cache: 30, streaming: 40 } as const;
const REPOSITORIES = [
  "urr/auth-service",
  "urr/catalog-service",
  "urr/community-service",
  "urr/frontend",
  "urr/gateway-service",
  "urr/payment-service",
  "urr/queue-service",
  "urr/stats-service",
  "urr/ticket-service",
];

/** Types of which the steps here and in use.ts ask more than their tags. */
export const ASSERTED_TYPES: readonly string[] = [
  "aws_api_gateway_api_key",
  "aws_api_gateway_integration",
  "aws_api_gateway_method",
  "aws_api_gateway_method_settings",
  "aws_api_gateway_resource",
  "aws_api_gateway_rest_api",
  "aws_api_gateway_stage",
  "aws_cloudfront_distribution",
  "aws_cloudfront_function",
  "aws_cloudwatch_event_rule",
  "aws_cloudwatch_event_target",
  "aws_cloudwatch_metric_alarm",
  "aws_db_instance",
  "aws_dynamodb_table",
  "aws_ecr_repository",
  "aws_eks_node_group",
  "aws_elasticache_replication_group",
  "aws_internet_gateway",
  "aws_lambda_event_source_mapping",
  "aws_lambda_function",
  "aws_lb",
  "aws_lb_listener",
  "aws_msk_cluster",
  "aws_nat_gateway",
  "aws_route",
  "aws_route_table",
  "aws_route_table_association",
  "aws_s3_bucket",
  "aws_s3_bucket_policy",
  "aws_s3_bucket_public_access_block",
  "aws_s3_bucket_server_side_encryption_configuration",
  "aws_s3_bucket_versioning",
  "aws_secretsmanager_secret",
  "aws_secretsmanager_secret_version",
  "aws_security_group",
  "aws_sns_topic",
  "aws_sqs_queue",
  "aws_sqs_queue_policy",
  "aws_subnet",
  "aws_vpc",
  "aws_vpc_security_group_egress_rule",
  "aws_vpc_security_group_ingress_rule",
  "aws_wafv2_web_acl",
];

/** Asks the simulated AWS, through its SDK and not through Terraform, whether what is there is what the documents say. */
export function describeDeployed(cloudOf: () => Cloud, step: Step): void {
  for (const environment of ENVIRONMENTS) describeEnvironment(environment, cloudOf, step);
  describeEdge(cloudOf, step);
}

function describeEnvironment(environment: (typeof ENVIRONMENTS)[number], cloudOf: () => Cloud, step: Step): void {
  const { network, prefix } = environment;
  const settings = () => clientSettings(cloudOf());

  describe(`${environment.name}, as AWS describes it`, () => {
    step(
      `${prefix}: the network has five tiers in two zones, and only the public one routes to the internet gateway`,
      async () => {
        const ec2 = new EC2Client(settings());
        const { Vpcs = [] } = await ec2.send(
          new DescribeVpcsCommand({ Filters: [{ Name: "cidr", Values: [`${network}.0.0/16`] }] }),
        );
        const [vpc] = Vpcs.filter(({ CidrBlock }) => CidrBlock === `${network}.0.0/16`);
        expect(vpc).toBeDefined();
        const ofVpc = [{ Name: "vpc-id", Values: [vpc?.VpcId ?? ""] }];
        const { Subnets = [] } = await ec2.send(new DescribeSubnetsCommand({ Filters: ofVpc }));
        const expected = Object.values(TIERS).flatMap((offset) => [
          `${network}.${offset}.0/24 ap-northeast-2a`,
          `${network}.${offset + 1}.0/24 ap-northeast-2c`,
        ]);
        expect(Subnets.map(({ AvailabilityZone, CidrBlock }) => `${CidrBlock} ${AvailabilityZone}`).sort()).toEqual(
          expected.sort(),
        );
        const { RouteTables = [] } = await ec2.send(new DescribeRouteTablesCommand({ Filters: ofVpc }));
        const defaultTargetOf = (cidr: string) => {
          const subnet = Subnets.find(({ CidrBlock }) => CidrBlock === cidr)?.SubnetId;
          const table = RouteTables.find(({ Associations = [] }) =>
            Associations.some(({ SubnetId }) => SubnetId === subnet),
          );
          const route = table?.Routes?.find(({ DestinationCidrBlock }) => DestinationCidrBlock === "0.0.0.0/0");
          return route?.GatewayId?.slice(0, 4) ?? route?.NatGatewayId ?? "none";
        };
        expect(defaultTargetOf(`${network}.0.0/24`)).toBe("igw-");
        const nat = [`${network}.10.0/24`, `${network}.11.0/24`].map(defaultTargetOf);
        expect(nat).toEqual([expect.stringMatching(/^nat-/), expect.stringMatching(/^nat-/)]);
        expect(new Set(nat).size).toBe(2);
        for (const tier of ["db", "cache"] as const)
          expect(defaultTargetOf(`${network}.${TIERS[tier]}.0/24`)).toBe("none");
      },
    );

    step(`${prefix}: security groups admit exactly the connections that there are to be`, async () => {
      const ec2 = new EC2Client(settings());
      const { SecurityGroups = [] } = await ec2.send(new DescribeSecurityGroupsCommand());
      const names = new Map(
        SecurityGroups.flatMap(({ GroupId = "", GroupName = "" }) =>
          GroupName.startsWith(`${prefix}-`) ? [[GroupId, GroupName.slice(prefix.length + 1)]] : [],
        ),
      );
      const { SecurityGroupRules = [] } = await ec2.send(
        new DescribeSecurityGroupRulesCommand({ Filters: [{ Name: "group-id", Values: [...names.keys()] }] }),
      );
      expect(SecurityGroupRules.filter(({ Description = "" }) => Description === "")).toEqual([]);
      const other = ({ CidrIpv4, CidrIpv6, PrefixListId, ReferencedGroupInfo }: SecurityGroupRule) =>
        names.get(ReferencedGroupInfo?.GroupId ?? "") ?? CidrIpv4 ?? CidrIpv6 ?? PrefixListId?.slice(0, 3);
      const lines = (egress: boolean) =>
        SecurityGroupRules.filter(({ IsEgress }) => IsEgress === egress)
          .map((rule) => {
            const ends = [names.get(rule.GroupId ?? ""), other(rule)];
            const port = rule.FromPort === rule.ToPort ? rule.FromPort : `${rule.FromPort}-${rule.ToPort}`;
            return `${(egress ? ends : ends.reverse()).join(" > ")} ${port}`;
          })
          .sort();
      const between = [...CONNECTIONS, ...environment.connections];
      // The load balancer admits a prefix list: CloudFront's in prod, the given addresses in staging.
      const admitted = environment.albPorts.map((port) => `pl- > alb ${port}`);
      expect(lines(false)).toEqual([...between, ...admitted, `${network}.0.0/16 > vpc-endpoints 443`].sort());
      expect(lines(true)).toEqual([...between, "eks-nodes > 0.0.0.0/0 443", "lambda-worker > 0.0.0.0/0 443"].sort());
    });

    step(`${prefix}: databases, Redis and Kafka have the documented sizes and are encrypted`, async () => {
      const { DBInstances = [] } = await new RDSClient(settings()).send(new DescribeDBInstancesCommand());
      const own = DBInstances.filter((found) => found.DBInstanceIdentifier?.startsWith(prefix));
      expect(own.map((found) => found.DBInstanceIdentifier).sort()).toEqual([...environment.databases]);
      for (const found of own) {
        expect(found).toMatchObject({
          Engine: "postgres",
          DBInstanceClass: "db.t3.medium",
          StorageEncrypted: true,
          PubliclyAccessible: false,
        });
      }
      expect(own.find((found) => found.DBInstanceIdentifier === `${prefix}-postgres`)).toMatchObject({
        AllocatedStorage: environment.database.storageGib,
        MaxAllocatedStorage: 100,
        MultiAZ: environment.database.multiAz,
        DeletionProtection: environment.database.protectedFromDeletion,
        BackupRetentionPeriod: 7,
      });
      const { ReplicationGroups = [] } = await new ElastiCacheClient(settings()).send(
        new DescribeReplicationGroupsCommand(),
      );
      const redis = ReplicationGroups.find((found) => found.ReplicationGroupId === `${prefix}-redis`);
      expect(redis).toMatchObject({
        AtRestEncryptionEnabled: true,
        TransitEncryptionEnabled: true,
        AuthTokenEnabled: true,
      });
      expect(redis?.MemberClusters).toHaveLength(environment.redisNodes);
      const { ClusterInfoList = [] } = await new KafkaClient(settings()).send(new ListClustersCommand());
      const kafka = ClusterInfoList.find((found) => found.ClusterName?.startsWith(prefix));
      expect(kafka).toMatchObject({
        NumberOfBrokerNodes: 2,
        BrokerNodeGroupInfo: {
          InstanceType: "kafka.t3.small",
          StorageInfo: { EbsStorageInfo: { VolumeSize: environment.brokerStorageGib } },
        },
        ClientAuthentication: { Sasl: { Iam: { Enabled: true } } },
        EncryptionInfo: { EncryptionInTransit: { ClientBroker: "TLS", InCluster: true } },
      });
    });

    step(`${prefix}: the initial node group has the documented sizes`, async () => {
      const eks = new EKSClient(settings());
      const { nodegroups = [] } = await eks.send(new ListNodegroupsCommand({ clusterName: prefix }));
      expect(nodegroups).toEqual([`${prefix}-ng-initial`]);
      const { nodegroup } = await eks.send(
        new DescribeNodegroupCommand({ clusterName: prefix, nodegroupName: nodegroups[0] }),
      );
      expect(nodegroup?.scalingConfig).toEqual(environment.nodes);
    });

    step(`${prefix}: the queue is FIFO, encrypted, and gives up after three attempts`, async () => {
      const sqs = new SQSClient(settings());
      const { QueueUrl } = await sqs.send(new GetQueueUrlCommand({ QueueName: `${prefix}-ticket-events.fifo` }));
      const { Attributes = {} } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["All"] }));
      expect(Attributes).toMatchObject({
        FifoQueue: "true",
        ContentBasedDeduplication: "true",
        VisibilityTimeout: "300",
        MessageRetentionPeriod: "345600",
        SqsManagedSseEnabled: "true",
      });
      expect(JSON.parse(Attributes.RedrivePolicy ?? "{}")).toEqual({
        deadLetterTargetArn: `arn:aws:sqs:ap-northeast-2:123456789012:${prefix}-ticket-events-dlq.fifo`,
        maxReceiveCount: 3,
      });
      const policy = JSON.parse(Attributes.Policy ?? "{}") as {
        Statement: { Effect: string; Action: string | string[]; Condition?: object }[];
      };
      expect(policy.Statement).toContainEqual(
        expect.objectContaining({ Effect: "Deny", Condition: { Bool: { "aws:SecureTransport": "false" } } }),
      );
      const { EventSourceMappings = [] } = await new LambdaClient(settings()).send(
        new ListEventSourceMappingsCommand({ FunctionName: `${prefix}-ticket-worker` }),
      );
      expect(EventSourceMappings).toHaveLength(1);
      expect(EventSourceMappings[0]).toMatchObject({
        BatchSize: 10,
        FunctionResponseTypes: ["ReportBatchItemFailures"],
      });
    });

    step(`${prefix}: the waiting room's tables have the documented keys, TTL and recovery`, async () => {
      const client = new DynamoDBClient(settings());
      const keysOf = async (TableName: string) => {
        const { Table } = await client.send(new DescribeTableCommand({ TableName }));
        expect(Table?.BillingModeSummary?.BillingMode).toBe("PAY_PER_REQUEST");
        return Table;
      };
      expect((await keysOf(`${prefix}-vwr-counters`))?.KeySchema).toEqual([
        { AttributeName: "eventId", KeyType: "HASH" },
      ]);
      const positions = await keysOf(`${prefix}-vwr-positions`);
      expect(positions?.KeySchema).toEqual([
        { AttributeName: "eventId", KeyType: "HASH" },
        { AttributeName: "requestId", KeyType: "RANGE" },
      ]);
      expect(positions?.GlobalSecondaryIndexes?.map(({ IndexName, KeySchema }) => ({ IndexName, KeySchema }))).toEqual([
        {
          IndexName: "eventId-position-index",
          KeySchema: [
            { AttributeName: "eventId", KeyType: "HASH" },
            { AttributeName: "position", KeyType: "RANGE" },
          ],
        },
      ]);
      const ttl = await client.send(new DescribeTimeToLiveCommand({ TableName: `${prefix}-vwr-positions` }));
      expect(ttl.TimeToLiveDescription).toMatchObject({ AttributeName: "ttl", TimeToLiveStatus: "ENABLED" });
      const backups = await client.send(new DescribeContinuousBackupsCommand({ TableName: `${prefix}-vwr-positions` }));
      expect(backups.ContinuousBackupsDescription?.PointInTimeRecoveryDescription?.PointInTimeRecoveryStatus).toBe(
        environment.recovery,
      );
    });

    step(`${prefix}: functions and API have the documented limits`, async () => {
      const lambda = new LambdaClient(settings());
      const api = await lambda.send(new GetFunctionCommand({ FunctionName: `${prefix}-vwr-api` }));
      expect(api.Concurrency?.ReservedConcurrentExecutions).toBe(environment.api.reserved);
      expect(api.Configuration?.Runtime).toBe("nodejs22.x");
      const advancer = await lambda.send(new GetFunctionCommand({ FunctionName: `${prefix}-vwr-counter-advancer` }));
      expect(advancer.Configuration?.Timeout).toBe(70);
      const worker = await lambda.send(new GetFunctionCommand({ FunctionName: `${prefix}-ticket-worker` }));
      expect(worker.Configuration).toMatchObject({ Timeout: 30, MemorySize: 256 });
      expect(worker.Concurrency?.ReservedConcurrentExecutions).toBe(environment.worker.reserved);

      const gateway = new APIGatewayClient(settings());
      const { items = [] } = await gateway.send(new GetRestApisCommand());
      const restApiId = items.find(({ name }) => name === `${prefix}-vwr-api`)?.id ?? "";
      const { methodSettings = {} } = await gateway.send(new GetStageCommand({ restApiId, stageName: "v1" }));
      expect(methodSettings["*/*"]).toMatchObject({
        throttlingRateLimit: environment.api.rate,
        throttlingBurstLimit: environment.api.burst,
      });
      const { items: resources = [] } = await gateway.send(new GetResourcesCommand({ restApiId, limit: 500 }));
      const routes = resources.flatMap(({ path = "", resourceMethods = {} }) =>
        Object.keys(resourceMethods).map((method) => `${method} ${path}`),
      );
      expect(routes.sort()).toEqual(
        [
          "POST /vwr/assign/{eventId}",
          "OPTIONS /vwr/assign/{eventId}",
          "GET /vwr/check/{eventId}/{requestId}",
          "OPTIONS /vwr/check/{eventId}/{requestId}",
          "GET /vwr/status/{eventId}",
          "OPTIONS /vwr/status/{eventId}",
        ].sort(),
      );
      const assign = resources.find(({ path }) => path === "/vwr/assign/{eventId}")?.id ?? "";
      const method = await gateway.send(new GetMethodCommand({ restApiId, resourceId: assign, httpMethod: "POST" }));
      expect(method.apiKeyRequired ?? false).toBe(environment.api.keyRequired);
    });

    step(`${prefix}: buckets are private, encrypted and speak TLS only`, async () => {
      const s3 = new S3Client(settings());
      for (const Bucket of [`${prefix}-frontend-${environment.name}`, `${prefix}-logs-${environment.name}`]) {
        const { PublicAccessBlockConfiguration } = await s3.send(new GetPublicAccessBlockCommand({ Bucket }));
        expect(PublicAccessBlockConfiguration).toEqual({
          BlockPublicAcls: true,
          BlockPublicPolicy: true,
          IgnorePublicAcls: true,
          RestrictPublicBuckets: true,
        });
        const { ServerSideEncryptionConfiguration } = await s3.send(new GetBucketEncryptionCommand({ Bucket }));
        expect(ServerSideEncryptionConfiguration?.Rules?.[0]).toMatchObject({
          ApplyServerSideEncryptionByDefault: { SSEAlgorithm: "AES256" },
        });
        const { Policy = "{}" } = await s3.send(new GetBucketPolicyCommand({ Bucket }));
        const { Statement } = JSON.parse(Policy) as { Statement: { Effect: string; Condition?: object }[] };
        expect(Statement).toContainEqual(
          expect.objectContaining({ Effect: "Deny", Condition: { Bool: { "aws:SecureTransport": "false" } } }),
        );
      }
      const { Status } = await s3.send(
        new GetBucketVersioningCommand({ Bucket: `${prefix}-frontend-${environment.name}` }),
      );
      expect(Status).toBe("Enabled");
    });

    step(`${prefix}: every alarm reports to the environment's topic, in both directions`, async () => {
      const alarms = (await alarmsOf(cloudOf(), prefix)).filter(({ AlarmArn }) => AlarmArn?.includes("ap-northeast-2"));
      expect(alarms.length).toBeGreaterThanOrEqual(30);
      const { Topics = [] } = await new SNSClient(settings()).send(new ListTopicsCommand());
      const topic = Topics.map(({ TopicArn }) => TopicArn).find((arn) => arn?.includes(`:${prefix}`));
      expect(topic).toBeDefined();
      for (const { AlarmActions, AlarmName, OKActions } of alarms) {
        expect({ AlarmName, AlarmActions, OKActions }).toEqual({
          AlarmName,
          AlarmActions: [topic],
          OKActions: [topic],
        });
      }
      const dlq = alarms.find(({ AlarmName }) => AlarmName === `${prefix}-ticket-events-dlq-messages`);
      expect(dlq).toMatchObject({
        MetricName: "ApproximateNumberOfMessagesVisible",
        Threshold: 0,
        ComparisonOperator: "GreaterThanThreshold",
      });
    });

    step(
      `${prefix}: the documented four secrets and every database user's exist, and all carry the default tags`,
      async () => {
        const { SecretList = [] } = await new SecretsManagerClient(settings()).send(
          new ListSecretsCommand({ MaxResults: 100 }),
        );
        const own = SecretList.filter(({ Name }) => Name?.startsWith(`${prefix}/`));
        expect(own.map(({ Name }) => Name)).toEqual(
          expect.arrayContaining(
            [
              ...["rds-credentials", "redis-auth-token", "queue-entry-token-secret", "jwt-secret"],
              ...["ticket", "auth", "payment", "stats", "catalog", "community"].map((user) => `db-credentials/${user}`),
            ].map((name) => `${prefix}/${name}`),
          ),
        );
        const ec2 = new EC2Client(settings());
        const { Vpcs = [] } = await ec2.send(new DescribeVpcsCommand());
        const { Subnets = [] } = await ec2.send(new DescribeSubnetsCommand());
        const { SecurityGroups = [] } = await ec2.send(new DescribeSecurityGroupsCommand());
        const vpc = Vpcs.find(({ CidrBlock }) => CidrBlock === `${network}.0.0/16`);
        const inVpc = <T extends { VpcId?: string | undefined }>(list: readonly T[]) =>
          list.filter(({ VpcId }) => VpcId === vpc?.VpcId);
        const tagged = [vpc, ...own, ...inVpc(Subnets), ...inVpc(SecurityGroups)];
        for (const found of tagged) {
          const tags = Object.fromEntries((found?.Tags ?? []).map(({ Key = "", Value = "" }) => [Key, Value]));
          expect(tags).toMatchObject({ Project: "URR", Environment: environment.name, ManagedBy: "Terraform" });
        }
      },
    );
  });
}

function describeEdge(cloudOf: () => Cloud, step: Step): void {
  describe("the edge of prod, as AWS describes it", () => {
    step("the distribution has the five documented behaviours, two functions and the edge check", async () => {
      const client = new CloudFrontClient(clientSettings(cloudOf()));
      const { DistributionList } = await client.send(new ListDistributionsCommand());
      expect(DistributionList?.Items).toHaveLength(1);
      const { Distribution } = await client.send(new GetDistributionCommand({ Id: DistributionList?.Items?.[0]?.Id }));
      const config = Distribution?.DistributionConfig;
      expect(config).toMatchObject({
        Enabled: true,
        IsIPV6Enabled: true,
        PriceClass: "PriceClass_200",
        ViewerCertificate: { MinimumProtocolVersion: "TLSv1.2_2021", SSLSupportMethod: "sni-only" },
      });
      const behaviours = config?.CacheBehaviors?.Items ?? [];
      expect(behaviours.map(({ PathPattern }) => PathPattern).sort()).toEqual([
        "/_next/static/*",
        "/api/*",
        "/vwr-api/*",
        "/vwr/*",
      ]);
      const at = (path: string) => behaviours.find(({ PathPattern }) => PathPattern === path);
      const edge = at("/api/*")?.LambdaFunctionAssociations?.Items ?? [];
      expect(edge).toEqual([
        expect.objectContaining({
          EventType: "viewer-request",
          LambdaFunctionARN: expect.stringMatching(
            /^arn:aws:lambda:us-east-1:123456789012:function:urr-prod-edge-queue-check:\d+$/,
          ),
        }),
      ]);
      const functionAt = (path: string) =>
        at(path)?.FunctionAssociations?.Items?.map(({ FunctionARN }) => FunctionARN?.split("/").at(-1));
      expect(functionAt("/vwr/*")).toEqual(["urr-prod-vwr-page-rewrite"]);
      expect(functionAt("/vwr-api/*")).toEqual(["urr-prod-vwr-api-rewrite"]);
      // AllViewerExceptHostHeader: API Gateway refuses the viewer's Host.
      expect(at("/vwr-api/*")?.OriginRequestPolicyId).toBe("b689b0a8-53d0-40ab-baf2-68738e2966ac");
      expect(config?.Origins?.Quantity).toBe(3);
    });

    step("the web ACL limits requests and applies AWS's three rule groups", async () => {
      const waf = new WAFV2Client(clientSettings(cloudOf(), undefined, "us-east-1"));
      const { WebACLs = [] } = await waf.send(new ListWebACLsCommand({ Scope: "CLOUDFRONT" }));
      const found = WebACLs.find(({ Name }) => Name === "urr-prod-waf");
      const { WebACL } = await waf.send(
        new GetWebACLCommand({ Scope: "CLOUDFRONT", Id: found?.Id, Name: found?.Name }),
      );
      const rules = [...(WebACL?.Rules ?? [])].sort((a, b) => (a.Priority ?? 0) - (b.Priority ?? 0));
      expect(rules.find(({ Priority }) => Priority === 1)?.Statement?.RateBasedStatement).toMatchObject({
        Limit: 2000,
        AggregateKeyType: "IP",
      });
      expect(
        rules.flatMap(({ Priority, Statement }) =>
          Statement?.ManagedRuleGroupStatement ? [`${Priority} ${Statement.ManagedRuleGroupStatement.Name}`] : [],
        ),
      ).toEqual([
        "2 AWSManagedRulesCommonRuleSet",
        "3 AWSManagedRulesKnownBadInputsRuleSet",
        "4 AWSManagedRulesSQLiRuleSet",
      ]);
    });

    step("the load balancer listens on 443 only and refuses whoever does not come through CloudFront", async () => {
      const client = new ElasticLoadBalancingV2Client(clientSettings(cloudOf()));
      const { LoadBalancers = [] } = await client.send(new DescribeLoadBalancersCommand());
      const alb = LoadBalancers.find(
        ({ LoadBalancerName, Scheme }) => LoadBalancerName?.startsWith("urr-prod") && Scheme === "internet-facing",
      );
      const { Listeners = [] } = await client.send(
        new DescribeListenersCommand({ LoadBalancerArn: alb?.LoadBalancerArn }),
      );
      expect(Listeners.map(({ Port, Protocol }) => `${Protocol} ${Port}`)).toEqual(["HTTPS 443"]);
      expect(Listeners[0]?.DefaultActions?.[0]).toMatchObject({
        Type: "fixed-response",
        FixedResponseConfig: { StatusCode: "403" },
      });
    });

    step("nine repositories are immutable and scanned", async () => {
      const { repositories = [] } = await new ECRClient(clientSettings(cloudOf())).send(
        new DescribeRepositoriesCommand(),
      );
      expect(repositories.map(({ repositoryName }) => repositoryName).sort()).toEqual(REPOSITORIES);
      for (const { imageScanningConfiguration, imageTagMutability } of repositories) {
        expect({ imageTagMutability, scan: imageScanningConfiguration?.scanOnPush }).toEqual({
          imageTagMutability: "IMMUTABLE",
          scan: true,
        });
      }
    });

    step("CloudFront's alarms live in us-east-1 and report there", async () => {
      const alarms = await alarmsOf(cloudOf(), "urr-prod", "us-east-1");
      expect(alarms.length).toBeGreaterThanOrEqual(3);
      for (const { AlarmActions = [] } of alarms)
        expect(AlarmActions).toEqual([expect.stringMatching(/^arn:aws:sns:us-east-1:/)]);
    });
  });
}

async function alarmsOf(cloud: Cloud, prefix: string, region?: string): Promise<MetricAlarm[]> {
  const client = new CloudWatchClient(clientSettings(cloud, "cloudwatch", region));
  const { MetricAlarms = [] } = await client.send(
    new DescribeAlarmsCommand({ MaxRecords: 100, AlarmNamePrefix: prefix }),
  );
  return MetricAlarms;
}
