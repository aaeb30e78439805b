import {
  APIGatewayClient,
  GetApiKeyCommand,
  GetRestApisCommand,
  GetStagesCommand,
  GetUsagePlanKeysCommand,
  GetUsagePlansCommand,
} from "@aws-sdk/client-api-gateway";
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

/** What exists. */
export interface Inventory {
  /** Names by kind, such as `Databases`. */
  readonly resources: Readonly<Record<string, readonly string[]>>;
  readonly urls: readonly Url[];
}

/** An address of the waiting room's API, and how it answered just now. */
export interface Url {
  readonly name: string;
  readonly url: string;
  /** The header that the API asks for: CloudFront's key, in prod. */
  readonly headers: Readonly<Record<string, string>>;
  readonly answer: string;
}

/** What exists, asked of the cloud and not of Terraform, and the URLs that answer. */
export async function inventory(cloud: Cloud): Promise<Inventory> {
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
  const named = rows.map(([kind, names = []]) => [kind, names.map(String).sort()] as const);
  return { resources: Object.fromEntries(named), urls: await waitingRoomUrls(cloud) };
}

/** An inventory as one table for people. */
export function table({ resources, urls }: Inventory): string {
  const width = Math.max(...Object.keys(resources).map((kind) => kind.length));
  const lines = Object.entries(resources).map(
    ([kind, names]) => `${kind.padEnd(width)}  ${String(names.length).padStart(3)}  ${shorten(names)}`,
  );
  const answers = urls.map(({ answer, headers, name, url }) => {
    const options = Object.entries(headers).map(([header, value]) => ` -H '${header}: ${value}'`);
    return `  ${name} (${answer}):  curl${options.join("")} ${url}`;
  });
  const heading = urls.length > 0 ? "URLs that answer:" : "No API is deployed yet.";
  return `${[...lines, "", heading, ...answers].join("\n")}\n`;
}

/** The address at which MiniStack serves a stage of a REST API; Terraform's `invoke_url` is served nowhere on loopback. */
export function stageUrl(cloud: Cloud, restApiId: string, stageName: string): string {
  return `${cloud.endpoint}/restapis/${restApiId}/${stageName}/_user_request_`;
}

async function waitingRoomUrls(cloud: Cloud): Promise<Url[]> {
  const client = new APIGatewayClient(clientSettings(cloud));
  const { items = [] } = await client.send(new GetRestApisCommand());
  const urls = await Promise.all(
    items.map(async ({ id = "", name = "" }) => {
      const { item: stages = [] } = await client.send(new GetStagesCommand({ restApiId: id }));
      const key = await keyOf(client, id);
      return Promise.all(
        stages.map(async ({ stageName = "" }) => {
          const url = `${stageUrl(cloud, id, stageName)}/vwr/status/evt-1`;
          const headers = key === undefined ? {} : { "x-api-key": key };
          const answer = await fetch(url, { headers }).then(
            ({ status }) => `GET: ${status}`,
            () => "no answer",
          );
          return { name, url, headers, answer } satisfies Url;
        }),
      );
    }),
  );
  return urls.flat();
}

/** The key that a usage plan asks of an API's clients. */
async function keyOf(client: APIGatewayClient, restApiId: string): Promise<string | undefined> {
  const { items: plans = [] } = await client.send(new GetUsagePlansCommand());
  const plan = plans.find(({ apiStages = [] }) => apiStages.some(({ apiId }) => apiId === restApiId));
  if (!plan) return undefined;
  const { items: keys = [] } = await client.send(new GetUsagePlanKeysCommand({ usagePlanId: plan.id }));
  return (await client.send(new GetApiKeyCommand({ apiKey: keys[0]?.id, includeValue: true }))).value;
}

function shorten(names: readonly string[]): string {
  const shown = names.slice(0, 6).join(", ");
  return names.length > 6 ? `${shown}, …` : shown;
}
