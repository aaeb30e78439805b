import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isDailyWindow, isWeeklyWindow, windowsOverlap } from "../../lib/service-window";

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

function clock(minute: number): string {
  const inDay = minute % 1440;
  return `${`${Math.floor(inDay / 60)}`.padStart(2, "0")}:${`${inDay % 60}`.padStart(2, "0")}`;
}

function weekly(start: number, length: number): string {
  const day = (minute: number) => DAYS[Math.floor(minute / 1440) % 7];
  return `${day(start)}:${clock(start)}-${day(start + length)}:${clock(start + length)}`;
}

describe("isDailyWindow", () => {
  it.each([
    ["03:00-04:00", 30, true],
    ["03:00-03:30", 30, true],
    ["03:00-03:29", 30, false],
    ["23:45-00:15", 30, true],
    ["03:00-03:00", 30, false],
    ["3:00-4:00", 30, false],
    ["24:00-25:00", 30, false],
    ["03:60-04:30", 30, false],
    ["mon:03:00-mon:04:00", 30, false],
    ["", 30, false],
  ])("of %j with at least %d minutes is %s", (text, minMinutes, expected) => {
    expect(isDailyWindow(text, minMinutes)).toBe(expected);
  });
});

describe("isWeeklyWindow", () => {
  it.each([
    ["mon:04:00-mon:05:00", 60, true],
    ["mon:04:00-mon:04:59", 60, false],
    ["sun:23:30-mon:00:30", 60, true],
    ["Mon:04:00-Mon:05:00", 60, false],
    ["monday:04:00-monday:05:00", 60, false],
    ["04:00-05:00", 60, false],
  ])("of %j with at least %d minutes is %s", (text, minMinutes, expected) => {
    expect(isWeeklyWindow(text, minMinutes)).toBe(expected);
  });
});

describe("windowsOverlap", () => {
  it.each([
    ["touching windows", "03:00-04:00", "mon:04:00-mon:05:00", false],
    ["one shared minute", "03:00-04:01", "mon:04:00-mon:05:00", true],
    ["a backup within the maintenance", "04:15-04:45", "mon:04:00-mon:05:00", true],
    ["a maintenance within the backup", "03:00-06:00", "wed:04:00-wed:05:00", true],
    ["a backup past midnight", "23:30-00:30", "tue:00:00-tue:01:00", true],
    ["a maintenance past the end of the week", "00:15-00:45", "sun:23:30-mon:00:30", true],
    ["windows hours apart", "03:00-04:00", "sun:12:00-sun:13:00", false],
  ])("of %s", (_, daily, maintenance, expected) => {
    expect(windowsOverlap(daily, maintenance)).toBe(expected);
  });

  it("says nothing of malformed windows", () => {
    expect(windowsOverlap("always", "mon:04:00-mon:05:00")).toBe(false);
    expect(windowsOverlap("03:00-04:00", "always")).toBe(false);
  });

  it("agrees with counting the minutes of the week", () => {
    const length = fc.integer({ min: 30, max: 24 * 60 - 1 });
    fc.assert(
      fc.property(fc.nat(1439), length, fc.nat(7 * 1440 - 1), length, (start, minutes, onceStart, onceMinutes) => {
        const daily = `${clock(start)}-${clock(start + minutes)}`;
        const inDaily = (minute: number) => (minute - start + 8 * 1440) % 1440 < minutes;
        const shared = Array.from({ length: onceMinutes }, (_, index) => onceStart + index).some(inDaily);
        expect(windowsOverlap(daily, weekly(onceStart, onceMinutes))).toBe(shared);
      }),
    );
  });
});
