import { describe, expect, it } from "vitest";
import { CROWDS, meanPolls, plan, planTable } from "../../../tools/load/plan";

const [documented] = CROWDS;
if (documented === undefined) {
  throw new Error("The documented crowd is missing");
}

describe("polls of the average visitor", () => {
  it("are about 23 for 15,000 at 500 per ten seconds, as the documents' own figures give", () => {
    expect(meanPolls(documented)).toBeGreaterThan(21);
    expect(meanPolls(documented)).toBeLessThan(25);
  });

  it("are two or three where everybody is in with the first tick", () => {
    expect(meanPolls({ ...documented, visitors: 500 })).toBeCloseTo(2.5);
  });

  it("fall with the far interval for a long line only", () => {
    const long = { ...documented, visitors: 100_000, farPollSeconds: 60 };
    expect(meanPolls(long)).toBeLessThan(meanPolls({ ...long, farPollSeconds: 15 }) / 2);
    const short = { ...documented, visitors: 3_000 };
    expect(meanPolls({ ...short, farPollSeconds: 60 })).toBe(meanPolls(short));
  });
});

describe("the plan", () => {
  it("scales what the real code did on simulated time, and adds up the bill", async () => {
    const small = { ...documented, visitors: 3_000, arrivalSeconds: 1.5, environments: 50 };
    const result = await plan(small, 1_500);
    expect(result.simulatedVisitors).toBe(2_400);
    expect(result.simulated.distinctPositions).toBe(2_400);
    // A row, its admission and a share of a counter write.
    expect(result.writeUnits / small.visitors).toBeGreaterThan(2);
    expect(result.writeUnits / small.visitors).toBeLessThan(3);
    expect(result.requests).toBeCloseTo(small.visitors * (1 + meanPolls(small)));
    const total = Object.values(result.costUsd).reduce((sum, cost) => sum + cost, 0);
    expect(planTable([result])).toContain(`**$${total.toFixed(2)}**`);
  });
});
