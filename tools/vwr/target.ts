import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { S3Client } from "@aws-sdk/client-s3";
import type { Environment, EnvironmentName } from "../../environments/environment";
import { prod } from "../../environments/prod";
import { staging } from "../../environments/staging";
import { activeEventsDocument, type ControlPlane, publishActiveEvents } from "../../lambdas/shared/control";

/** Where the edge reads the list of active events; the production stack names the same. */
export const ACTIVE_EVENTS_KEY = "edge/active-events.json";

export const ENVIRONMENTS: Readonly<Record<EnvironmentName, Environment>> = { prod, staging };

/** What the command works on. */
export interface Target {
  readonly environment: Environment;
  /** Instead of AWS: a local run, for example. */
  readonly endpoint?: string;
  readonly dynamodb: DynamoDBClient;
  readonly plane: ControlPlane;
  readonly countersTable: string;
  readonly positionsTable: string;
  readonly bucket: string;
  /** Publishes the edge's list; nothing where there is no edge, as in staging. */
  publish(): Promise<void>;
  close(): void;
}

/** Clients and names of an environment. Credentials are the SDK's own affair, except for an endpoint on this machine. */
export function openTarget(environment: Environment, endpoint: string | undefined, nowMs: () => number): Target {
  const isLocal = endpoint !== undefined && /^https?:\/\/(?:127\.0\.0\.1|localhost|\[::1\])(?::|\/|$)/.test(endpoint);
  const client = {
    region: environment.region,
    maxAttempts: 5,
    ...(endpoint !== undefined && { endpoint }),
    ...(isLocal && { credentials: { accessKeyId: "local", secretAccessKey: "local" } }),
  };
  const dynamodb = new DynamoDBClient(client);
  const s3 = new S3Client(client);
  const countersTable = `${environment.prefix}-vwr-counters`;
  const plane: ControlPlane = { client: dynamodb, countersTable, nowMs: awsClock(dynamodb, nowMs) };
  const bucket = `${environment.prefix}-frontend-${environment.name}`;
  return {
    environment,
    ...(endpoint !== undefined && { endpoint }),
    dynamodb,
    plane,
    countersTable,
    positionsTable: `${environment.prefix}-vwr-positions`,
    bucket,
    publish: async () => {
      if (environment.name === "prod") {
        await publishActiveEvents(s3, { bucket, key: ACTIVE_EVENTS_KEY }, await activeEventsDocument(plane));
      }
    },
    close: () => {
      dynamodb.destroy();
      s3.destroy();
    },
  };
}

/** Milliseconds by which this machine's clock may differ; `Date` headers tell whole seconds. */
const CLOCK_TOLERANCE_MS = 2_000;

/**
 * This machine's clock, set by DynamoDB's answers where it is wrong: the tick from which a line goes on is written by the operator
 * and compared with the schedule's, and one from the future would let nobody in until it has come.
 */
function awsClock(client: DynamoDBClient, nowMs: () => number): () => number {
  let offset = 0;
  client.middlewareStack.add(
    (next) => async (args) => {
      const sentAt = nowMs();
      const result = await next(args);
      const { headers } = result.response as { headers?: Record<string, string> };
      const ahead = Date.parse(headers?.date ?? "") + 500 - (sentAt + nowMs()) / 2;
      if (!Number.isNaN(ahead)) {
        offset = Math.abs(ahead) > CLOCK_TOLERANCE_MS ? ahead : 0;
      }
      return result;
    },
    { step: "deserialize", name: "awsClock" },
  );
  return () => nowMs() + offset;
}
