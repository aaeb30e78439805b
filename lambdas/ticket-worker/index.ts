import { Tracer } from "@aws-lambda-powertools/tracer";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { secretField } from "../shared/secrets";
import { createTelemetry, requiredEnv } from "../shared/telemetry";
import { boundedClient } from "../shared/timeouts";
import { createHandler } from "./handler";

/** A rotated token is picked up within this time. */
const TOKEN_FRESH_MS = 300_000;

const tracer = new Tracer({ captureHTTPsRequests: true });
const secrets = tracer.captureAWSv3Client(new SecretsManagerClient(boundedClient(2)));
const secretId = requiredEnv("INTERNAL_API_TOKEN_SECRET_ID");
let token: { value: string; readAt: number } | undefined;

async function internalApiToken(refused?: string): Promise<string> {
  if (token === undefined || token.value === refused || performance.now() - token.readAt > TOKEN_FRESH_MS) {
    const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: secretId }));
    token = { value: secretField(SecretString), readAt: performance.now() };
  }
  return token.value;
}

export const handler = createHandler({
  ticketServiceUrl: requiredEnv("TICKET_SERVICE_URL"),
  internalApiToken,
  telemetry: createTelemetry(),
});
