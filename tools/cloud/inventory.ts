import { APIGatewayClient, GetRestApisCommand, GetStagesCommand } from "@aws-sdk/client-api-gateway";
import { CloudFrontClient, ListDistributionsCommand } from "@aws-sdk/client-cloudfront";
import { CloudWatchClient, DescribeAlarmsCommand } from "@aws-sdk/client-cloudwatch";
import { DynamoDBClient, ListTablesCommand } from "@aws-sdk/client-dynamodb";
import { DescribeVpcsCommand, EC2Client } from "@aws-sdk/client-ec2";
import { DescribeRepositoriesCommand, ECRClient } from "@aws-sdk/client-ecr";
import { EKSClient, ListClustersCommand } from "@aws-sdk/client-eks";
import { DescribeLoadBalancersCommand, ElasticLoadBalancingV2Client } from "@aws-sdk/client-elastic-load-balancing-v2";
import { DescribeReplicationGroupsCommand, ElastiCacheClient } from "@aws-sdk/client-elasticache";
import { KafkaClient, ListClustersCommand as ListKafkaClustersCommand } from "@aws-sdk/client-kafka";
import { LambdaClient, ListFunctionsCommand } from "@aws-sdk/client-lambda";
import { DescribeDBInstancesCommand, RDSClient } from "@aws-sdk/client-rds";
import { ListHostedZonesCommand, Route53Client } from "@aws-sdk/client-route-53";
import { ListBucketsCommand, S3Client } from "@aws-sdk/client-s3";
import { ListSecretsCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { ListQueuesCommand, SQSClient } from "@aws-sdk/client-sqs";
import { type Cloud, REGION } from "./simulators";

type Names = readonly (string | undefined)[] | undefined;

/** Settings of an SDK client that talks to the cloud. */
export function clientSettings(cloud: Cloud, service?: "cloudwatch" | "amp" | "grafana", region = REGION) {
  const { environment } = cloud;
  return {
    region,
    endpoint: (service && environment[`AWS_ENDPOINT_URL_${service.toUpperCase()}`]) ?? cloud.endpoint,
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  };
}

/** One table of what exists, asked of the cloud and not of Terraform, and the URLs that answer. */
export async function inventory(cloud: Cloud): Promise<string> {
  const settings = clientSettings(cloud);
  const rows: [string, Names][] = [
    [
      "VPCs",
      (
        await new EC2Client(settings).send(
          new DescribeVpcsCommand({ Filters: [{ Name: "is-default", Values: ["false"] }] }),
        )
      ).Vpcs?.map(({ CidrBlock }) => CidrBlock),
    ],
    ["Clusters", (await new EKSClient(settings).send(new ListClustersCommand())).clusters],
    [
      "Databases",
      (await new RDSClient(settings).send(new DescribeDBInstancesCommand())).DBInstances?.map(
        (found) => found.DBInstanceIdentifier,
      ),
    ],
    [
      "Redis",
      (await new ElastiCacheClient(settings).send(new DescribeReplicationGroupsCommand())).ReplicationGroups?.map(
        (found) => found.ReplicationGroupId,
      ),
    ],
    [
      "Kafka",
      (await new KafkaClient(settings).send(new ListKafkaClustersCommand())).ClusterInfoList?.map(
        (found) => found.ClusterName,
      ),
    ],
    [
      "Load balancers",
      (await new ElasticLoadBalancingV2Client(settings).send(new DescribeLoadBalancersCommand())).LoadBalancers?.map(
        (found) => found.LoadBalancerName,
      ),
    ],
    [
      "Distributions",
      (await new CloudFrontClient(settings).send(new ListDistributionsCommand())).DistributionList?.Items?.map(
        (found) => found.DomainName,
      ),
    ],
    [
      "Hosted zones",
      (await new Route53Client(settings).send(new ListHostedZonesCommand())).HostedZones?.map((found) => found.Name),
    ],
    ["Tables", (await new DynamoDBClient(settings).send(new ListTablesCommand())).TableNames],
    [
      "Queues",
      (await new SQSClient(settings).send(new ListQueuesCommand())).QueueUrls?.map((url) => url.split("/").at(-1)),
    ],
    [
      "Functions",
      (await new LambdaClient(settings).send(new ListFunctionsCommand())).Functions?.map((found) => found.FunctionName),
    ],
    ["Buckets", (await new S3Client(settings).send(new ListBucketsCommand())).Buckets?.map((found) => found.Name)],
    [
      "Repositories",
      (await new ECRClient(settings).send(new DescribeRepositoriesCommand())).repositories?.map(
        (found) => found.repositoryName,
      ),
    ],
    [
      "Secrets",
      (await new SecretsManagerClient(settings).send(new ListSecretsCommand({ MaxResults: 100 }))).SecretList?.map(
        (found) => found.Name,
      ),
    ],
    [
      "Alarms",
      (
        await new CloudWatchClient(clientSettings(cloud, "cloudwatch")).send(
          new DescribeAlarmsCommand({ MaxRecords: 100 }),
        )
      ).MetricAlarms?.map((found) => found.AlarmName),
    ],
  ];
  const width = Math.max(...rows.map(([title]) => title.length));
  const lines = rows.map(
    ([title, names = []]) => `${title.padEnd(width)}  ${String(names.length).padStart(3)}  ${shorten(names)}`,
  );
  const urls = await waitingRoomUrls(cloud);
  return `${[...lines, "", ...(urls.length > 0 ? ["URLs that answer:", ...urls] : ["No API is deployed yet."])].join("\n")}\n`;
}

/** The address at which MiniStack serves a stage of a REST API; Terraform's `invoke_url` is served nowhere on loopback. */
export function stageUrl(cloud: Cloud, restApiId: string, stageName: string): string {
  return `${cloud.endpoint}/restapis/${restApiId}/${stageName}/_user_request_`;
}

async function waitingRoomUrls(cloud: Cloud): Promise<string[]> {
  const client = new APIGatewayClient(clientSettings(cloud));
  const { items = [] } = await client.send(new GetRestApisCommand());
  const urls = await Promise.all(
    items.map(async ({ id = "", name }) => {
      const { item: stages = [] } = await client.send(new GetStagesCommand({ restApiId: id }));
      return Promise.all(
        stages.map(async ({ stageName = "" }) => {
          const url = `${stageUrl(cloud, id, stageName)}/vwr/status/evt-1`;
          const status = await fetch(url).then(
            (response) => String(response.status),
            () => "no answer",
          );
          return `  ${name}: ${url} (GET: ${status})`;
        }),
      );
    }),
  );
  return urls.flat();
}

function shorten(names: readonly (string | undefined)[]): string {
  const shown = names.slice(0, 6).join(", ");
  return names.length > 6 ? `${shown}, …` : shown;
}
