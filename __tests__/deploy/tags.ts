import { AmpClient, ListTagsForResourceCommand as AmpTags } from "@aws-sdk/client-amp";
import {
  APIGatewayClient,
  GetApiKeyCommand,
  GetRestApiCommand,
  GetStageCommand,
  GetUsagePlanCommand,
} from "@aws-sdk/client-api-gateway";
import { CloudFrontClient, ListTagsForResourceCommand as CloudFrontTags } from "@aws-sdk/client-cloudfront";
import { CloudWatchClient, ListTagsForResourceCommand as CloudWatchTags } from "@aws-sdk/client-cloudwatch";
import { CloudWatchLogsClient, ListTagsForResourceCommand as LogsTags } from "@aws-sdk/client-cloudwatch-logs";
import { DynamoDBClient, ListTagsOfResourceCommand } from "@aws-sdk/client-dynamodb";
import { EC2Client, DescribeTagsCommand as Ec2Tags } from "@aws-sdk/client-ec2";
import { ECRClient, ListTagsForResourceCommand as EcrTags } from "@aws-sdk/client-ecr";
import { EKSClient, ListTagsForResourceCommand as EksTags } from "@aws-sdk/client-eks";
import {
  ElasticLoadBalancingV2Client,
  DescribeTagsCommand as LoadBalancingTags,
} from "@aws-sdk/client-elastic-load-balancing-v2";
import { ElastiCacheClient, ListTagsForResourceCommand as ElastiCacheTags } from "@aws-sdk/client-elasticache";
import { EventBridgeClient, ListTagsForResourceCommand as EventBridgeTags } from "@aws-sdk/client-eventbridge";
import { GrafanaClient, ListTagsForResourceCommand as GrafanaTags } from "@aws-sdk/client-grafana";
import { GetOpenIDConnectProviderCommand, IAMClient, ListRoleTagsCommand } from "@aws-sdk/client-iam";
import { KafkaClient, ListTagsForResourceCommand as KafkaTags } from "@aws-sdk/client-kafka";
import { KMSClient, ListResourceTagsCommand } from "@aws-sdk/client-kms";
import { LambdaClient, ListTagsCommand as LambdaTags } from "@aws-sdk/client-lambda";
import { RDSClient, ListTagsForResourceCommand as RdsTags } from "@aws-sdk/client-rds";
import { Route53Client, ListTagsForResourceCommand as Route53Tags } from "@aws-sdk/client-route-53";
import { GetBucketTaggingCommand, GetObjectTaggingCommand, S3Client } from "@aws-sdk/client-s3";
import { DescribeSecretCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { SNSClient, ListTagsForResourceCommand as SnsTags } from "@aws-sdk/client-sns";
import { GetQueueUrlCommand, ListQueueTagsCommand, SQSClient } from "@aws-sdk/client-sqs";
import { WAFV2Client, ListTagsForResourceCommand as WafTags } from "@aws-sdk/client-wafv2";
import { describe, expect } from "vitest";
import { clientSettings } from "../../tools/cloud/inventory";
import type { Project } from "../../tools/cloud/project";
import { ACCOUNT_ID, type Cloud, REGION } from "../../tools/cloud/simulators";
import { readResources } from "../../tools/moved/match";
import type { Step } from "./deployed";

/** A resource to ask about. */
interface Taggable {
  readonly type: string;
  readonly id: string;
  readonly arn: string;
}

type Tags = Readonly<Record<string, string | undefined>>;
type Settings = ReturnType<typeof clientSettings>;
type Pairs = readonly { readonly Key?: string | undefined; readonly Value?: string | undefined }[] | undefined;

const fromPairs = (pairs: Pairs = []): Tags => Object.fromEntries(pairs.map(({ Key = "", Value }) => [Key, Value]));

/** Default tags of an environment. Source: Infra analysis §1-3. */
const DEFAULT_TAGS = { Project: "URR", ManagedBy: "Terraform" };

/** Asks AWS for the tags of everything that the provider calls taggable. */
export function describeTags(world: () => { cloud: Cloud; project: Project }, step: Step): void {
  describe("tags, as AWS has them", () => {
    for (const environment of ["staging", "prod"]) {
      step(`everything taggable in ${environment} carries the default tags`, async () => {
        const { cloud, project } = world();
        const resources = await taggables(project, environment);
        expect(resources.length).toBeGreaterThan(200);
        const wrong: string[] = [];
        for (const resource of resources) {
          const tags = await tagsOf(cloud, resource);
          const expected = Object.entries({ ...DEFAULT_TAGS, Environment: environment });
          if (!expected.every(([key, value]) => tags[key] === value)) {
            wrong.push(`${resource.address}: ${JSON.stringify(tags)}`);
          }
        }
        expect(wrong).toEqual([]);
      });
    }
  });
}

/** Resources that have `tags_all` in the state. */
async function taggables(project: Project, stack: string): Promise<(Taggable & { readonly address: string })[]> {
  const state = JSON.parse(await project.mustTerraform(stack, ["show", "-json"]));
  return readResources(state)
    .filter(({ values }) => "tags_all" in values)
    .map(({ address, type, values }) => {
      const id = String(values.id ?? "");
      // EC2 knows everything by its id; a NAT gateway has no ARN in the state.
      const arn = String(values.arn ?? values.access_entry_arn ?? `arn:aws:ec2:${REGION}:${ACCOUNT_ID}:${id}`);
      return { address, type, id, arn };
    });
}

/** How each service tells tags, by the service's name in ARNs; a client's settings are those of the resource's Region. */
const READERS: Readonly<Record<string, (resource: Taggable, settings: Settings, cloud: Cloud) => Promise<Tags>>> = {
  apigateway: async ({ arn }, settings) => {
    const client = new APIGatewayClient(settings);
    const [kind, id = "", , stageName = ""] = (arn.split("::/")[1] ?? "").split("/");
    if (stageName !== "") return (await client.send(new GetStageCommand({ restApiId: id, stageName }))).tags ?? {};
    if (kind === "restapis") return (await client.send(new GetRestApiCommand({ restApiId: id }))).tags ?? {};
    if (kind === "apikeys") return (await client.send(new GetApiKeyCommand({ apiKey: id }))).tags ?? {};
    return (await client.send(new GetUsagePlanCommand({ usagePlanId: id }))).tags ?? {};
  },
  aps: async ({ arn }, _, cloud) => {
    const client = new AmpClient(clientSettings(cloud, "amp"));
    return (await client.send(new AmpTags({ resourceArn: arn }))).tags ?? {};
  },
  cloudfront: async ({ arn }, settings) =>
    fromPairs((await new CloudFrontClient(settings).send(new CloudFrontTags({ Resource: arn }))).Tags?.Items),
  cloudwatch: async ({ arn }, { region }, cloud) => {
    const client = new CloudWatchClient(clientSettings(cloud, "cloudwatch", region));
    return fromPairs((await client.send(new CloudWatchTags({ ResourceARN: arn }))).Tags);
  },
  dynamodb: async ({ arn }, settings) =>
    fromPairs((await new DynamoDBClient(settings).send(new ListTagsOfResourceCommand({ ResourceArn: arn }))).Tags),
  ec2: async ({ id }, settings) => {
    const Filters = [{ Name: "resource-id", Values: [id] }];
    return fromPairs((await new EC2Client(settings).send(new Ec2Tags({ Filters }))).Tags);
  },
  ecr: async ({ arn }, settings) =>
    fromPairs((await new ECRClient(settings).send(new EcrTags({ resourceArn: arn }))).tags),
  eks: async ({ arn }, settings) => (await new EKSClient(settings).send(new EksTags({ resourceArn: arn }))).tags ?? {},
  elasticache: async ({ arn }, settings) =>
    fromPairs((await new ElastiCacheClient(settings).send(new ElastiCacheTags({ ResourceName: arn }))).TagList),
  elasticloadbalancing: async ({ arn }, settings) => {
    const client = new ElasticLoadBalancingV2Client(settings);
    return fromPairs((await client.send(new LoadBalancingTags({ ResourceArns: [arn] }))).TagDescriptions?.[0]?.Tags);
  },
  events: async ({ arn }, settings) =>
    fromPairs((await new EventBridgeClient(settings).send(new EventBridgeTags({ ResourceARN: arn }))).Tags),
  grafana: async ({ arn }, _, cloud) => {
    const client = new GrafanaClient(clientSettings(cloud, "grafana"));
    return (await client.send(new GrafanaTags({ resourceArn: arn }))).tags ?? {};
  },
  iam: async ({ arn, id, type }, settings) => {
    const client = new IAMClient(settings);
    if (type === "aws_iam_role") return fromPairs((await client.send(new ListRoleTagsCommand({ RoleName: id }))).Tags);
    const provider = new GetOpenIDConnectProviderCommand({ OpenIDConnectProviderArn: arn });
    return fromPairs((await client.send(provider)).Tags);
  },
  kafka: async ({ arn }, settings) =>
    (await new KafkaClient(settings).send(new KafkaTags({ ResourceArn: arn }))).Tags ?? {},
  kms: async ({ id }, settings) => {
    const { Tags = [] } = await new KMSClient(settings).send(new ListResourceTagsCommand({ KeyId: id }));
    return Object.fromEntries(Tags.map(({ TagKey = "", TagValue }) => [TagKey, TagValue]));
  },
  lambda: async ({ arn }, settings) =>
    (await new LambdaClient(settings).send(new LambdaTags({ Resource: arn }))).Tags ?? {},
  logs: async ({ arn }, settings) =>
    (await new CloudWatchLogsClient(settings).send(new LogsTags({ resourceArn: arn }))).tags ?? {},
  rds: async ({ arn }, settings) =>
    fromPairs((await new RDSClient(settings).send(new RdsTags({ ResourceName: arn }))).TagList),
  route53: async ({ id }, settings) => {
    const zone = new Route53Tags({ ResourceType: "hostedzone", ResourceId: id });
    return fromPairs((await new Route53Client(settings).send(zone)).ResourceTagSet?.Tags);
  },
  s3: async ({ arn, type }, settings) => {
    const client = new S3Client(settings);
    const [Bucket = "", ...key] = (arn.split(":::")[1] ?? "").split("/");
    if (type === "aws_s3_bucket") return fromPairs((await client.send(new GetBucketTaggingCommand({ Bucket }))).TagSet);
    return fromPairs((await client.send(new GetObjectTaggingCommand({ Bucket, Key: key.join("/") }))).TagSet);
  },
  secretsmanager: async ({ arn }, settings) =>
    fromPairs((await new SecretsManagerClient(settings).send(new DescribeSecretCommand({ SecretId: arn }))).Tags),
  sns: async ({ arn }, settings) =>
    fromPairs((await new SNSClient(settings).send(new SnsTags({ ResourceArn: arn }))).Tags),
  sqs: async ({ arn }, settings) => {
    const client = new SQSClient(settings);
    const { QueueUrl } = await client.send(new GetQueueUrlCommand({ QueueName: arn.split(":").at(-1) }));
    return (await client.send(new ListQueueTagsCommand({ QueueUrl }))).Tags ?? {};
  },
  wafv2: async ({ arn }, settings) =>
    fromPairs((await new WAFV2Client(settings).send(new WafTags({ ResourceARN: arn }))).TagInfoForResource?.TagList),
};

/** Tags of a resource, asked of the service that owns it. */
async function tagsOf(cloud: Cloud, resource: Taggable): Promise<Tags> {
  const [, , service = "", region = ""] = resource.arn.split(":");
  const read = READERS[service];
  if (!read) throw new Error(`no reader for tags of ${resource.type} (${resource.arn})`);
  return read(resource, clientSettings(cloud, undefined, region || REGION), cloud);
}
