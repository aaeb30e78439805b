import { createDynamoClient } from "../shared/clients";
import { createTelemetry, requiredEnv } from "../shared/telemetry";
import { createHandler } from "./handler";

export const handler = createHandler({
  client: createDynamoClient(),
  countersTable: requiredEnv("COUNTERS_TABLE"),
  positionsTable: requiredEnv("POSITIONS_TABLE"),
  batchSize: Number(requiredEnv("BATCH_SIZE")),
  cycles: Number(process.env.CYCLES ?? 6),
  telemetry: createTelemetry(),
});
