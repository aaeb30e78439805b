import type { CloudWatchClient } from "@aws-sdk/client-cloudwatch";
import { describe, expect, it } from "vitest";
import { alarmedHealth } from "../../lambdas/vwr-counter-advancer/booking-health";

/** CloudWatch that knows these alarms. */
function cloudwatch(states: Record<string, string>): Pick<CloudWatchClient, "send"> {
  const send = async ({ input }: { input: { AlarmNames?: string[] } }) => ({
    MetricAlarms: (input.AlarmNames ?? [])
      .filter((name) => name in states)
      .map((AlarmName) => ({ AlarmName, StateValue: states[AlarmName] })),
  });
  return { send } as unknown as Pick<CloudWatchClient, "send">;
}

describe("the booking API", () => {
  it.each([
    [{ slow: "OK", failing: "OK" }, "healthy"],
    [{ slow: "OK", failing: "ALARM" }, "saturated"],
    [{ slow: "INSUFFICIENT_DATA", failing: "OK" }, "healthy"],
    [{ slow: "OK", failing: "OK", other: "ALARM" }, "healthy"],
  ])("with the alarms %j is %s", async (states, health) => {
    expect(await alarmedHealth(cloudwatch(states), ["slow", "failing"])()).toBe(health);
  });

  it("fails where an alarm is gone, since nobody would watch any more", async () => {
    await expect(alarmedHealth(cloudwatch({ slow: "OK" }), ["slow", "failing"])()).rejects.toThrow(
      "No such alarm: failing",
    );
  });
});
