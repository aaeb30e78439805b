import { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { Allocator } from "../shared/allocator";
import { createDynamoClient, createSingleAttemptDynamoClient } from "../shared/clients";
import { ControlCache } from "../shared/controls";
import { KeyRing, secretsManagerKeys } from "../shared/secrets";
import { createTelemetry, requiredEnv } from "../shared/telemetry";
import { boundedClient } from "../shared/timeouts";
import { createHandler } from "./handler";
import { WaitingRoom } from "./service";

/** Used for the estimate only until the advancer has measured the rate. */
const DEFAULT_BATCH = 500;

const countersTable = requiredEnv("COUNTERS_TABLE");
const positionsTable = requiredEnv("POSITIONS_TABLE");
const telemetry = createTelemetry();
const client = createDynamoClient();
const allocator = new Allocator({ client: createSingleAttemptDynamoClient(), countersTable, positionsTable });
const controls = new ControlCache({
  client,
  countersTable,
  onRead: ({ nextPosition, servingCounter }) => telemetry.gauge("Waiting", Math.max(0, nextPosition - servingCounter)),
});
const secrets = new SecretsManagerClient(boundedClient(3));
const keys = new KeyRing(secretsManagerKeys(secrets, requiredEnv("TOKEN_SECRET_ID")));
const defaultBatch = Number(process.env.BATCH_SIZE ?? DEFAULT_BATCH);
const room = new WaitingRoom({ client, positionsTable, allocator, controls, keys, defaultBatch });

export const handler = createHandler({
  room,
  telemetry,
  corsAllowedOrigins: (process.env.CORS_ALLOWED_ORIGINS ?? "")
    .split(",")
    .map((origin) => origin.trim())
    .filter((origin) => origin !== "" && origin !== "*"),
  housekeeping: async () => {
    if (allocator.hasStale()) {
      await allocator.reclaim();
    }
  },
});
