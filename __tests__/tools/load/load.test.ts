import { describe, expect, it } from "vitest";
import { check, type LoadResult, orderErrors, type Person, quantile } from "../../../tools/load/measure";
import { loadPlot } from "../../../tools/load/plot";

const person = (position: number, sentAt = position, servingCounter = 100): Person => ({
  position,
  sentAt,
  servingCounter,
  polls: 1,
  admittedMs: 10_000,
});

describe("what must hold for a crowd", () => {
  it("holds when everybody has a place of their own and came in below the counter", () => {
    expect(() => check([person(1), person(2), person(4)], 3)).not.toThrow();
  });

  it("fails with every problem when visitors are lost, share a position and are let in early", () => {
    const people = [person(7), person(7), person(101)];
    expect(() => check(people, 4)).toThrow(
      /4 came and 3 were served[\s\S]*3 visitors share 2 positions[\s\S]*1 were let in above the counter, the first at position 101/,
    );
  });
});

describe("the order of arrival", () => {
  it("has no error where positions follow the clicks, whatever gaps they have", () => {
    expect(orderErrors([person(10, 3), person(1, 1), person(5, 2)])).toEqual([0, 0, 0]);
  });

  it("counts how far in time a place is from the one that the clicks give", () => {
    expect(orderErrors([person(1, 50), person(2, 0), person(3, 100)])).toEqual([50, 50, 0]);
  });
});

describe("quantiles", () => {
  it.each([
    [0, 1],
    [0.5, 6],
    [0.99, 10],
    [1, 10],
  ])("share %s of 1 to 10 is %s", (share, value) => {
    expect(quantile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], share)).toBe(value);
  });
});

describe("the plot", () => {
  const result = {
    visitors: 30,
    rate: 10,
    timeline: [
      { second: 0, assigned: 30, admitted: 0 },
      { second: 1, assigned: 0, admitted: 10 },
      { second: 2, assigned: 0, admitted: 20 },
    ],
  } as unknown as LoadResult;

  it("ends both lines at the number of visitors", () => {
    const [, given, letIn] = [...loadPlot(result).matchAll(/ d="([^"]+)"/g)].map(([, path]) => path as string);
    const end = (path: string | undefined) => path?.split("L").at(-1);
    expect(end(given)).toBe(end(letIn));
  });

  it("names what it shows to screen readers", () => {
    expect(loadPlot(result)).toContain("30 visitors: places given and visitors let in over 3 seconds");
  });
});
