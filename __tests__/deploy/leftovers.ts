import { APIGatewayClient, GetRestApisCommand } from "@aws-sdk/client-api-gateway";
import {
  CloudFrontClient,
  ListDistributionsCommand,
  ListFunctionsCommand as ListEdgeFunctionsCommand,
} from "@aws-sdk/client-cloudfront";
import { CloudWatchClient, DescribeAlarmsCommand } from "@aws-sdk/client-cloudwatch";
import { CloudWatchLogsClient, DescribeLogGroupsCommand } from "@aws-sdk/client-cloudwatch-logs";
import { DynamoDBClient, ListTablesCommand } from "@aws-sdk/client-dynamodb";
import {
  DescribeAddressesCommand,
  DescribeNatGatewaysCommand,
  DescribeSecurityGroupsCommand,
  DescribeSubnetsCommand,
  DescribeVpcEndpointsCommand,
  DescribeVpcsCommand,
  EC2Client,
} from "@aws-sdk/client-ec2";
import { DescribeRepositoriesCommand, ECRClient } from "@aws-sdk/client-ecr";
import { EKSClient, ListClustersCommand } from "@aws-sdk/client-eks";
import { DescribeLoadBalancersCommand, ElasticLoadBalancingV2Client } from "@aws-sdk/client-elastic-load-balancing-v2";
import { DescribeReplicationGroupsCommand, ElastiCacheClient } from "@aws-sdk/client-elasticache";
import { EventBridgeClient, ListRulesCommand } from "@aws-sdk/client-eventbridge";
import { IAMClient, ListRolesCommand } from "@aws-sdk/client-iam";
import { KafkaClient, ListClustersCommand as ListKafkaClustersCommand } from "@aws-sdk/client-kafka";
import { LambdaClient, ListFunctionsCommand } from "@aws-sdk/client-lambda";
import { DescribeDBInstancesCommand, DescribeDBProxiesCommand, RDSClient } from "@aws-sdk/client-rds";
import { ListBucketsCommand, S3Client } from "@aws-sdk/client-s3";
import { ListSecretsCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { ListTopicsCommand, SNSClient } from "@aws-sdk/client-sns";
import { ListQueuesCommand, SQSClient } from "@aws-sdk/client-sqs";
import { clientSettings } from "../../tools/cloud/inventory";
import type { Cloud } from "../../tools/cloud/simulators";

type Tagged = { readonly Tags?: { Key?: string | undefined; Value?: string | undefined }[] | undefined };

/** Names of an environment's resources that AWS still lists; what waits for its deletion (secrets, keys) does not count. */
export async function leftovers(cloud: Cloud, prefix: string): Promise<string[]> {
  const settings = clientSettings(cloud);
  const usEast1 = clientSettings(cloud, undefined, "us-east-1");
  const ec2 = new EC2Client(settings);
  const rds = new RDSClient(settings);
  const nameOf = ({ Tags = [] }: Tagged) => Tags.find(({ Key }) => Key === "Name")?.Value;
  const lists: Record<string, () => Promise<(string | undefined)[] | undefined>> = {
    vpc: async () => (await ec2.send(new DescribeVpcsCommand())).Vpcs?.map(nameOf),
    subnet: async () => (await ec2.send(new DescribeSubnetsCommand())).Subnets?.map(nameOf),
    "security group": async () =>
      (await ec2.send(new DescribeSecurityGroupsCommand())).SecurityGroups?.map(({ GroupName }) => GroupName),
    "VPC endpoint": async () => (await ec2.send(new DescribeVpcEndpointsCommand())).VpcEndpoints?.map(nameOf),
    address: async () => (await ec2.send(new DescribeAddressesCommand())).Addresses?.map(nameOf),
    "NAT gateway": async () =>
      (await ec2.send(new DescribeNatGatewaysCommand())).NatGateways?.filter(({ State }) => State !== "deleted").map(
        nameOf,
      ),
    cluster: async () => (await new EKSClient(settings).send(new ListClustersCommand())).clusters,
    database: async () =>
      (await rds.send(new DescribeDBInstancesCommand())).DBInstances?.map((found) => found.DBInstanceIdentifier),
    "database proxy": async () =>
      (await rds.send(new DescribeDBProxiesCommand())).DBProxies?.map((found) => found.DBProxyName),
    redis: async () =>
      (await new ElastiCacheClient(settings).send(new DescribeReplicationGroupsCommand())).ReplicationGroups?.map(
        (found) => found.ReplicationGroupId,
      ),
    kafka: async () =>
      (await new KafkaClient(settings).send(new ListKafkaClustersCommand())).ClusterInfoList?.map(
        (found) => found.ClusterName,
      ),
    "load balancer": async () =>
      (await new ElasticLoadBalancingV2Client(settings).send(new DescribeLoadBalancersCommand())).LoadBalancers?.map(
        (found) => found.LoadBalancerName,
      ),
    table: async () => (await new DynamoDBClient(settings).send(new ListTablesCommand())).TableNames,
    queue: async () =>
      (await new SQSClient(settings).send(new ListQueuesCommand())).QueueUrls?.map((url) => url.split("/").at(-1)),
    topic: async () =>
      (await new SNSClient(settings).send(new ListTopicsCommand())).Topics?.map(({ TopicArn }) =>
        TopicArn?.split(":").at(-1),
      ),
    "topic in us-east-1": async () =>
      (await new SNSClient(usEast1).send(new ListTopicsCommand())).Topics?.map(({ TopicArn }) =>
        TopicArn?.split(":").at(-1),
      ),
    function: async () =>
      (await new LambdaClient(settings).send(new ListFunctionsCommand())).Functions?.map((found) => found.FunctionName),
    "edge function": async () =>
      (await new LambdaClient(usEast1).send(new ListFunctionsCommand())).Functions?.map((found) => found.FunctionName),
    "CloudFront function": async () =>
      (await new CloudFrontClient(settings).send(new ListEdgeFunctionsCommand())).FunctionList?.Items?.map(
        ({ Name }) => Name,
      ),
    distribution: async () =>
      (await new CloudFrontClient(settings).send(new ListDistributionsCommand())).DistributionList?.Items?.map(
        ({ Comment, Id }) => `${prefix} ${Comment ?? Id}`,
      ),
    bucket: async () => (await new S3Client(settings).send(new ListBucketsCommand())).Buckets?.map(({ Name }) => Name),
    secret: async () =>
      (await new SecretsManagerClient(settings).send(new ListSecretsCommand({ MaxResults: 100 }))).SecretList?.filter(
        ({ DeletedDate }) => !DeletedDate,
      ).map(({ Name }) => Name),
    repository: async () =>
      (await new ECRClient(settings).send(new DescribeRepositoriesCommand())).repositories?.map(
        (found) => `${prefix} ${found.repositoryName}`,
      ),
    "REST API": async () =>
      (await new APIGatewayClient(settings).send(new GetRestApisCommand())).items?.map(({ name }) => name),
    alarm: async () =>
      (
        await new CloudWatchClient(clientSettings(cloud, "cloudwatch")).send(
          new DescribeAlarmsCommand({ MaxRecords: 100 }),
        )
      ).MetricAlarms?.map((found) => found.AlarmName),
    "alarm in us-east-1": async () =>
      (
        await new CloudWatchClient(clientSettings(cloud, "cloudwatch", "us-east-1")).send(new DescribeAlarmsCommand())
      ).MetricAlarms?.map((found) => found.AlarmName),
    "log group": async () =>
      (await new CloudWatchLogsClient(settings).send(new DescribeLogGroupsCommand())).logGroups?.map(
        (found) => found.logGroupName,
      ),
    role: async () =>
      (await new IAMClient(settings).send(new ListRolesCommand({ MaxItems: 1000 }))).Roles?.map(
        ({ RoleName }) => RoleName,
      ),
    rule: async () =>
      (await new EventBridgeClient(settings).send(new ListRulesCommand())).Rules?.map(({ Name }) => Name),
  };
  const found = await Promise.all(
    Object.entries(lists).map(async ([kind, list]) =>
      ((await list()) ?? []).filter((name) => name?.includes(prefix)).map((name) => `${kind} ${name}`),
    ),
  );
  return found.flat().sort();
}
