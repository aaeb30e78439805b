import { createHash } from "node:crypto";
import type { LambdaBundle } from "../../lib/lambda-bundle";
import { DynamodbVwr } from "../../modules/dynamodb-vwr";
import { Iam } from "../../modules/iam";
import { LambdaVwr, type LambdaVwrProps } from "../../modules/lambda-vwr";
import { LambdaWorker, type LambdaWorkerProps } from "../../modules/lambda-worker";
import { Secrets } from "../../modules/secrets";
import { Sqs, type SqsProps } from "../../modules/sqs";
import { Vpc } from "../../modules/vpc";
import {
  ACCOUNT_ID,
  REGION,
  resourcesOf,
  type SynthesizedModules,
  synthModule,
  type TestStack,
} from "../support/synth";
import { type Json, type TerraformStack, toTerraformStack } from "../support/terraform";

/** What differs between prod and staging, as Infra analysis §2-10 lists it. */
export const PROD = {
  prefix: "urr-prod",
  vwrConcurrency: 500,
  batch: 500,
  worker: 10,
  recovery: true,
  protection: true,
};
export const STAGING = {
  prefix: "urr-staging",
  vwrConcurrency: 20,
  batch: 100,
  worker: 5,
  recovery: false,
  protection: false,
};

export interface Overrides {
  readonly sqs?: Partial<SqsProps>;
  readonly vwr?: Partial<LambdaVwrProps>;
  readonly worker?: Partial<LambdaWorkerProps>;
}

/** The waiting room and the worker with everything that they stand on. */
export function buildServerless(stack: TestStack, environment: typeof PROD, overrides: Overrides = {}): void {
  const { prefix } = environment;
  const iam = new Iam(stack, "iam", { prefix });
  const vpc = new Vpc(stack, "vpc", {
    prefix,
    vpcCidr: "10.0.0.0/16",
    availabilityZones: ["ap-northeast-2a", "ap-northeast-2c"],
    clusterName: prefix,
  });
  const secrets = new Secrets(stack, "secrets", { prefix, accountId: ACCOUNT_ID, region: REGION, databases: [] });
  secrets.writeDatabaseCredentials({ endpointAddress: "primary.example", port: 5432, dbName: "ticket_db" });
  const sqs = new Sqs(stack, "sqs", { prefix, ...overrides.sqs });
  sqs.grantSend(iam.eksNodeRole);
  const dynamodb = new DynamodbVwr(stack, "dynamodb_vwr", {
    prefix,
    key: secrets.key,
    pointInTimeRecovery: environment.recovery,
    deletionProtection: environment.protection,
  });
  const vwr = new LambdaVwr(stack, "lambda_vwr", {
    prefix,
    dynamodb,
    tokenSecret: secrets.vwrTokenSecret,
    key: secrets.key,
    reservedConcurrentExecutions: environment.vwrConcurrency,
    counterBatchSize: environment.batch,
    corsAllowedOrigins: ["https://urr.guru", "https://www.urr.guru"],
    booking: { albArnSuffix: "app/urr-alb/0123456789abcdef" },
    bundles: { "vwr-api": bundleOf("vwr-api"), "vwr-counter-advancer": bundleOf("vwr-counter-advancer") },
    ...overrides.vwr,
  });
  const worker = new LambdaWorker(stack, "lambda_worker", {
    prefix,
    vpc,
    role: iam.lambdaWorkerRole,
    queue: sqs,
    key: secrets.key,
    bundle: bundleOf("ticket-worker"),
    reservedConcurrentExecutions: environment.worker,
    maximumConcurrency: environment.worker,
    dbProxyEndpoint: "proxy.example",
    redisEndpoint: "redis.example",
    kafkaBootstrapServers: "b-1.example:9098,b-2.example:9098",
    ticketServiceUrl: "http://ticket-service.internal:3002",
    internalApiTokenSecret: secrets.internalApiToken,
    ...overrides.worker,
  });
  for (const { alarms } of [sqs, dynamodb, vwr, worker])
    alarms.notify("arn:aws:sns:ap-northeast-2:123456789012:alarms");
}

/** The stack of an environment, to ask questions of. */
export function serverlessStack(environment: typeof PROD, overrides: Overrides = {}): TerraformStack {
  return toTerraformStack(synthModule((stack) => buildServerless(stack, environment, overrides)));
}

const synthesizedByPrefix = new Map<string, SynthesizedModules>();

/**
 * What an environment's resource is made after, by the names in the stack without modules: `aws_iam_role.iam_lambda_worker`.
 */
export function predecessorsOf(environment: typeof PROD, type: string, name: string): readonly Json[] {
  const synthesized =
    synthesizedByPrefix.get(environment.prefix) ?? synthModule((stack) => buildServerless(stack, environment));
  synthesizedByPrefix.set(environment.prefix, synthesized);
  return (resourcesOf(synthesized, type)[name]?.depends_on ?? []) as readonly Json[];
}

/** A bundle with recognisable content. */
export function bundleOf(name: string): LambdaBundle {
  const zip = Buffer.from(`code of ${name}`);
  const sha256Base64 = createHash("sha256").update(zip).digest("base64");
  return { name, zip, sha256Base64, zipBytes: zip.length, sources: [], sourceMap: Buffer.alloc(0) };
}

/** What an alarm watches and when it fires, in one object to compare. */
export interface WatchedMetric {
  readonly metric: Json;
  readonly statistic: Json;
  readonly fires: string;
  readonly seconds: number;
  readonly missing: Json;
}

/** Alarms of a module by name, without the environment's prefix. */
export function alarmsOf(stack: TerraformStack, module: string, prefix: string): Record<string, WatchedMetric> {
  return Object.fromEntries(
    stack.find({ type: "aws_cloudwatch_metric_alarm", module }).map((alarm) => {
      const value = (path: string) => stack.resolve(alarm, path) ?? null;
      const sign = String(value("comparison_operator")) === "LessThanThreshold" ? "<" : ">";
      return [
        String(value("alarm_name")).replace(`${prefix}-`, ""),
        {
          metric: value("metric_name"),
          statistic: value("statistic"),
          fires: `${sign} ${String(value("threshold"))}`,
          seconds: Number(value("period")) * Number(value("evaluation_periods")),
          missing: value("treat_missing_data"),
        },
      ];
    }),
  );
}
