import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { S3Client } from "@aws-sdk/client-s3";
import {
  activeEventsDocument,
  type ControlPlane,
  closeEvent,
  type OpenOptions,
  openEvent,
  publishActiveEvents,
} from "../../lambdas/shared/control";
import { type AlarmState, createAwsEndpoint, createBucketOrigin, ObjectStore, SecretStore } from "./aws";
import { createDistribution } from "./cloudfront";
import { type Deployment, type LambdaFunction, readDeployment, type Table } from "./deployment";
import { createGateway } from "./gateway";
import { portOf, serve, stopServer } from "./http";
import { LocalLambda } from "./lambda";
import { type Grant, Permissions } from "./permissions";
import { createSite, entryToken } from "./site";

export interface LocalOptions {
  /** Folder of the synthesized production stack. @default cdktf.out/stacks/prod */
  readonly stackDirectory?: string;
  /** Port of the site. @default a free one */
  readonly port?: number;
  /** Most environments of one Lambda function. @default 16 */
  readonly maxEnvironments?: number;
  /** Events that the start page lists. */
  readonly events?: readonly string[];
  /** A DynamoDB Local to use instead of dynalite, such as `http://127.0.0.1:8000`. */
  readonly dynamodbEndpoint?: string;
  /** Lines that the functions log. */
  readonly onLog?: (line: string) => void;
}

/** What the tables were asked, as DynamoDB would count it. */
export interface DatabaseUsage {
  readonly writeUnits: number;
  readonly readUnits: number;
  readonly writes: number;
  readonly reads: number;
  readonly hottestItem: string;
  readonly hottestItemWritesPerSecond: number;
}

/** The edge, running. */
export interface LocalRun {
  /** The site, as CloudFront serves it. */
  readonly url: string;
  /** API Gateway's own address, which refuses whoever does not come through CloudFront. */
  readonly apiUrl: string;
  /** The load balancer's own address, likewise. */
  readonly loadBalancerUrl: string;
  /** For `AWS_ENDPOINT_URL`: DynamoDB, S3 and Secrets Manager. */
  readonly awsUrl: string;
  readonly deployment: Deployment;
  readonly plane: ControlPlane;
  readonly secrets: SecretStore;
  readonly objects: ObjectStore;
  /** State of each of the stack's alarms, by name; all are OK until somebody says otherwise. */
  readonly alarms: Map<string, AlarmState>;
  /** Sums of the metrics that the functions report, by name. */
  readonly metrics: ReadonlyMap<string, number>;
  /** Opens the event and publishes the edge's list. */
  open(eventId: string, options?: OpenOptions): Promise<void>;
  close(eventId: string): Promise<void>;
  publish(): Promise<void>;
  /** A tier-2 token as queue-service mints it. */
  entryToken(eventId: string): Promise<string>;
  /** Units since the start or the last reset; undefined with a database of its own. */
  usage(reset?: boolean): Promise<DatabaseUsage | undefined>;
  stop(): Promise<void>;
}

export const ACTIVE_EVENTS_KEY = "edge/active-events.json";
const CREDENTIALS = { accessKeyId: "local", secretAccessKey: "local" };
const DEFAULT_MAX_ENVIRONMENTS = 16;

/** Starts everything on the loopback address. What was started before a failure is stopped again. */
export async function startLocal(options: LocalOptions = {}): Promise<LocalRun> {
  const stop = new Cleanup();
  try {
    return await start(options, stop);
  } catch (error) {
    await stop.run();
    throw error;
  }
}

async function start(options: LocalOptions, cleanup: Cleanup): Promise<LocalRun> {
  const deployment = readDeployment(path.resolve(options.stackDirectory ?? "cdktf.out/stacks/prod"));
  const temporary = mkdtempSync(path.join(tmpdir(), "urr-local-"));
  cleanup.add(() => rmSync(temporary, { recursive: true, force: true }));

  const grants = deployment.functions.flatMap((one) => one.grants);
  const callers = deployment.functions.map(({ name }) => name);
  const database = options.dynamodbEndpoint === undefined ? await startDatabase(callers, grants) : undefined;
  if (database !== undefined) {
    cleanup.add(() => database.stop());
  }
  const dynamodbUrl = options.dynamodbEndpoint ?? `http://127.0.0.1:${database?.port}`;
  const client = new DynamoDBClient({ endpoint: dynamodbUrl, region: deployment.region, credentials: CREDENTIALS });
  cleanup.add(() => client.destroy());
  for (const table of Object.values(deployment.tables)) {
    await createTable(client, table);
  }

  const objects = new ObjectStore();
  for (const { bucket, key, content, contentType, cacheControl } of deployment.objects) {
    objects.put(bucket, key, Buffer.from(content), { "content-type": contentType, "cache-control": cacheControl });
  }
  const secrets = new SecretStore();
  for (const [name, value] of Object.entries(deployment.secrets)) {
    secrets.put(name, value);
  }
  const listen = async (handler: Parameters<typeof serve>[0], port?: number): Promise<Server> => {
    const server = await serve(handler, port);
    cleanup.add(() => stopServer(server));
    return server;
  };
  const dynamodbPort = Number(new URL(dynamodbUrl).port);
  const alarms = new Map<string, AlarmState>(deployment.alarms.map((name) => [name, "OK"]));
  const permissions = new Permissions(new Set(callers), grants);
  const aws = await listen(createAwsEndpoint({ objects, secrets, alarms, permissions, dynamodbPort }));
  const awsUrl = `http://127.0.0.1:${portOf(aws)}`;

  const metrics = new Map<string, number>();
  const onLog = (line: string) => {
    options.onLog?.(line);
    addMetrics(metrics, line);
  };
  const onError = (error: Error) => options.onLog?.(JSON.stringify({ level: "ERROR", message: error.message }));
  const runtimeEnvironment = {
    AWS_REGION: deployment.region,
    AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
    AWS_ENDPOINT_URL: awsUrl,
    AWS_ENDPOINT_URL_DYNAMODB: dynamodbUrl,
    TZ: "UTC",
    // The functions run on Node 22 in Lambda; here on whatever runs this.
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
  };
  const functions = new Map<string, LocalLambda>();
  for (const definition of functionsInUse(deployment)) {
    const lambda = new LocalLambda(definition, {
      directory: path.join(temporary, definition.name),
      // Each function calls AWS under its own name, so that its role decides.
      runtimeEnvironment: { ...runtimeEnvironment, AWS_ACCESS_KEY_ID: definition.name },
      maxEnvironments: options.maxEnvironments ?? DEFAULT_MAX_ENVIRONMENTS,
      onLog,
    });
    functions.set(definition.address, lambda);
    cleanup.add(() => lambda.stop());
  }

  const entryTokenSecret = Object.keys(deployment.secrets).find((name) => name.endsWith("/queue-entry-token-secret"));
  const siteOptions = { secrets, entryTokenSecret: entryTokenSecret ?? "" };
  const site = createSite({ ...deployment.loadBalancer, ...siteOptions, events: options.events ?? [] });
  const gateway = createGateway(deployment, functions, onError);
  const distribution = createDistribution(
    deployment,
    functions,
    { alb: site, s3: createBucketOrigin(objects, deployment.frontendBucket), "vwr-api": gateway },
    onError,
  );
  const api = await listen(gateway);
  const loadBalancer = await listen(site);
  const front = await listen(distribution, options.port);
  cleanup.add(startSchedule(deployment, functions, onError));

  const s3 = new S3Client({ endpoint: awsUrl, region: deployment.region, credentials: CREDENTIALS });
  cleanup.add(() => s3.destroy());
  const plane: ControlPlane = { client, countersTable: deployment.tables.counters.name };
  const publish = async () => {
    const target = { bucket: deployment.frontendBucket, key: ACTIVE_EVENTS_KEY };
    await publishActiveEvents(s3, target, await activeEventsDocument(plane));
  };
  await publish();
  return {
    url: `http://localhost:${portOf(front)}`,
    apiUrl: `http://127.0.0.1:${portOf(api)}/${deployment.api.stageName}`,
    loadBalancerUrl: `http://127.0.0.1:${portOf(loadBalancer)}`,
    awsUrl,
    deployment,
    plane,
    secrets,
    objects,
    alarms,
    metrics,
    publish,
    open: async (eventId, openOptions) => {
      await openEvent(plane, eventId, openOptions);
      await publish();
    },
    close: async (eventId) => {
      await closeEvent(plane, eventId);
      await publish();
    },
    entryToken: (eventId) => entryToken(siteOptions, eventId),
    usage: async (reset = false) => database?.usage(reset),
    stop: () => cleanup.run(),
  };
}

/** What the API, the schedule and the edge call. The ticket worker has no queue to consume here. */
function functionsInUse({ api, behaviors, functions, schedule }: Deployment): LambdaFunction[] {
  const called = new Set([
    schedule.functionAddress,
    ...behaviors.flatMap(({ edgeFunction }) => edgeFunction?.address ?? []),
    ...api.routes.flatMap(({ integration }) => (integration.type === "proxy" ? integration.functionAddress : [])),
  ]);
  return functions.filter(({ address }) => called.has(address));
}

/** EventBridge: once at the start, then at the documented rate, each time with the moment it was due. */
function startSchedule(
  { schedule }: Deployment,
  functions: ReadonlyMap<string, LocalLambda>,
  onError: (error: Error) => void,
): () => void {
  let stopped = false;
  const fire = () => {
    const event = {
      source: "aws.events",
      "detail-type": "Scheduled Event",
      time: new Date().toISOString(),
      detail: {},
    };
    functions
      .get(schedule.functionAddress)
      ?.invoke(event)
      .catch((error: Error) => {
        if (!stopped) {
          onError(error);
        }
      });
  };
  fire();
  const timer = setInterval(fire, schedule.everySeconds * 1000);
  return () => {
    stopped = true;
    clearInterval(timer);
  };
}

async function createTable(client: DynamoDBClient, table: Table): Promise<void> {
  const key = (hash: string, range: string | undefined) => [
    { AttributeName: hash, KeyType: "HASH" as const },
    ...(range === undefined ? [] : [{ AttributeName: range, KeyType: "RANGE" as const }]),
  ];
  await client.send(
    new CreateTableCommand({
      TableName: table.name,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: table.attributes.map(({ name, type }) => ({
        AttributeName: name,
        AttributeType: type as "S" | "N",
      })),
      KeySchema: key(table.hashKey, table.rangeKey),
      ...(table.indexes.length > 0 && {
        GlobalSecondaryIndexes: table.indexes.map((index) => ({
          IndexName: index.name,
          KeySchema: key(index.hashKey, index.rangeKey),
          Projection: { ProjectionType: "ALL" as const },
        })),
      }),
    }),
  );
}

async function startDatabase(
  callers: readonly string[],
  grants: readonly Grant[],
): Promise<{
  port: number;
  usage(reset: boolean): Promise<DatabaseUsage>;
  stop(): Promise<void>;
}> {
  const child: ChildProcess = fork(fileURLToPath(new URL("./database.mjs", import.meta.url)), { execArgv: [] });
  const next = <T>() =>
    new Promise<T>((resolve, reject) => {
      child.once("message", (message) => resolve(message as T));
      child.once("exit", (code) => reject(new Error(`dynalite ended with code ${code}`)));
    });
  const ready = next<{ port: number }>();
  child.send({ callers, grants: grants.filter(({ action }) => action.startsWith("dynamodb:")) });
  const { port } = await ready;
  return {
    port,
    usage: (reset) => {
      const answer = next<DatabaseUsage>();
      child.send(reset ? "reset" : "read");
      return answer;
    },
    stop: () =>
      new Promise((resolve) => {
        child.removeAllListeners("exit");
        child.once("exit", () => resolve());
        child.disconnect();
      }),
  };
}

/** Lines in embedded metric format, summed by name. */
function addMetrics(metrics: Map<string, number>, line: string): void {
  if (!line.includes('"_aws"')) {
    return;
  }
  try {
    const entry = JSON.parse(line) as Record<string, unknown> & {
      _aws: { CloudWatchMetrics: { Metrics: { Name: string }[] }[] };
    };
    for (const { Metrics } of entry._aws.CloudWatchMetrics) {
      for (const { Name } of Metrics) {
        const values = [entry[Name]].flat().map(Number);
        const sum = values.reduce((total, value) => total + value, 0);
        metrics.set(Name, (metrics.get(Name) ?? 0) + sum);
      }
    }
  } catch {
    // Not a metric after all.
  }
}

/** Undoes in reverse order, once. */
class Cleanup {
  private steps: (() => unknown)[] = [];

  add(step: () => unknown): void {
    this.steps.push(step);
  }

  async run(): Promise<void> {
    const steps = this.steps.reverse();
    this.steps = [];
    for (const step of steps) {
      await step();
    }
  }
}
