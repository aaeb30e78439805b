import { type CloudWatchClient, DescribeAlarmsCommand } from "@aws-sdk/client-cloudwatch";
import type { BookingHealth } from "../shared/schema";

/**
 * The booking API's health as its alarms tell it: saturated while one of them is on. One without data is off, since a quiet API is
 * not a slow one. An alarm that is gone is an error: nobody would watch any more.
 */
export function alarmedHealth(
  client: Pick<CloudWatchClient, "send">,
  alarmNames: readonly string[],
): () => Promise<BookingHealth> {
  return async () => {
    const { MetricAlarms = [] } = await client.send(new DescribeAlarmsCommand({ AlarmNames: [...alarmNames] }));
    const states = new Map(MetricAlarms.map(({ AlarmName, StateValue }) => [AlarmName, StateValue]));
    const missing = alarmNames.filter((name) => !states.has(name));
    if (missing.length > 0) {
      throw new Error(`No such alarm: ${missing.join(", ")}`);
    }
    return [...states.values()].includes("ALARM") ? "saturated" : "healthy";
  };
}
