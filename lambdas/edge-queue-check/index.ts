import { S3Client } from "@aws-sdk/client-s3";
import { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { KeyRing, secretsManagerKeys } from "../shared/secrets";
import { createHandler } from "./handler";
import { PublishedList, s3Object } from "./published-list";

/** Written into the package at synth; see EdgeConfig in lib/lambda-bundle. */
interface Config {
  readonly region: string;
  readonly tokenSecretName: string;
  readonly entryTokenSecretName: string;
  readonly activeEvents: { readonly bucket: string; readonly key: string };
}

/** Viewer events end after 5 s; reads that take longer than this are given up for the copy in memory. */
const TIMEOUTS = { connectionTimeout: 800, requestTimeout: 1_500, throwOnRequestTimeout: true };

const config = require("./config.json") as Config;
// The function runs near the visitor, what it reads is at home: the SDK would take the Region it runs in.
const clientOptions = { region: config.region, maxAttempts: 2, requestHandler: TIMEOUTS };
const secrets = new SecretsManagerClient(clientOptions);
const list = new PublishedList(
  s3Object(new S3Client(clientOptions), config.activeEvents.bucket, config.activeEvents.key),
  logError,
);

export const handler = createHandler({
  tier1Keys: new KeyRing(secretsManagerKeys(secrets, config.tokenSecretName)),
  tier2Keys: new KeyRing(secretsManagerKeys(secrets, config.entryTokenSecretName)),
  activeEvents: () => list.current(),
  onError: logError,
});

/** Lambda@Edge writes to the log groups of the Region it runs in, so one line has to say everything. */
function logError(error: unknown): void {
  const { name, message } = error as Error;
  console.error(JSON.stringify({ level: "ERROR", service: "edge-queue-check", error: name, message }));
}
