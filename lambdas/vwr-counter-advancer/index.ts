import { CloudWatchClient } from "@aws-sdk/client-cloudwatch";
import { createDynamoClient } from "../shared/clients";
import { TICK_SECONDS } from "../shared/schema";
import { createTelemetry, requiredEnv } from "../shared/telemetry";
import { boundedClient } from "../shared/timeouts";
import { alarmedHealth } from "./booking-health";
import { createHandler } from "./handler";

const alarmNames = (process.env.SATURATION_ALARMS ?? "").split(",").filter((name) => name !== "");

export const handler = createHandler({
  client: createDynamoClient(),
  countersTable: requiredEnv("COUNTERS_TABLE"),
  positionsTable: requiredEnv("POSITIONS_TABLE"),
  batchSize: Number(requiredEnv("BATCH_SIZE")),
  cycles: Number(process.env.CYCLES ?? 6),
  cycleSeconds: Number(process.env.CYCLE_SECONDS ?? TICK_SECONDS),
  telemetry: createTelemetry(),
  // Tried once: the next tick asks again.
  ...(alarmNames.length > 0 && { bookingHealth: alarmedHealth(new CloudWatchClient(boundedClient(1)), alarmNames) }),
});
