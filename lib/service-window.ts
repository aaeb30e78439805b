import type { Rule } from "./rules";

/** Minutes of a day and of a week. */
const DAY = 24 * 60;
const WEEK = 7 * DAY;
const WEEKDAYS: readonly string[] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const TIME = "([01]\\d|2[0-3]):([0-5]\\d)";
const DAILY = new RegExp(`^${TIME}-${TIME}$`);
const WEEKLY = new RegExp(`^(${WEEKDAYS.join("|")}):${TIME}-(${WEEKDAYS.join("|")}):${TIME}$`);

/** A stretch of time that comes round again: where it starts and how long it takes, in minutes. */
interface Window {
  readonly start: number;
  readonly length: number;
}

/** A daily and a weekly window of one service, which may not overlap. */
export interface ServiceWindows<Props> {
  /** Service that refuses overlapping windows. */
  readonly service: string;
  readonly minMinutes: number;
  /** Property of the daily window, such as `backupWindow`, and its value. */
  readonly daily: { readonly property: string; readonly example: string; readonly of: (props: Props) => string };
  /** Property of the weekly window, such as `maintenanceWindow`, and its value. */
  readonly weekly: { readonly property: string; readonly example: string; readonly of: (props: Props) => string };
}

/** The rules that both windows must keep: each by itself, and together. */
export function serviceWindowRules<Props>(windows: ServiceWindows<Props>): Rule<Props>[] {
  const { daily, minMinutes, service, weekly } = windows;
  return [
    {
      property: daily.property,
      given: daily.of,
      valid: (props) => isDailyWindow(daily.of(props), minMinutes),
      allowed: `a daily window of at least ${minMinutes} minutes, such as ${daily.example} (UTC)`,
      remedy: "Write it as hh:mm-hh:mm.",
    },
    {
      property: weekly.property,
      given: weekly.of,
      valid: (props) => isWeeklyWindow(weekly.of(props), minMinutes),
      allowed: `a weekly window of at least ${minMinutes} minutes, such as ${weekly.example} (UTC)`,
      remedy: "Write it as ddd:hh:mm-ddd:hh:mm with lower-case days.",
    },
    {
      property: daily.property,
      given: (props) => ({ [daily.property]: daily.of(props), [weekly.property]: weekly.of(props) }),
      valid: (props) => !windowsOverlap(daily.of(props), weekly.of(props)),
      allowed: "windows that do not overlap on any day",
      remedy: `${service} refuses overlapping windows at apply; move one of them.`,
    },
  ];
}

/** Whether the text is a window in each day, such as `03:00-04:00` (UTC), of at least `minMinutes`. It may run past midnight. */
export function isDailyWindow(text: string, minMinutes: number): boolean {
  const window = dailyWindow(text);
  return window !== undefined && window.length >= minMinutes;
}

/** Whether the text is a window in each week, such as `mon:04:00-mon:05:00` (UTC), of at least `minMinutes`. It may run past Sunday. */
export function isWeeklyWindow(text: string, minMinutes: number): boolean {
  const window = weeklyWindow(text);
  return window !== undefined && window.length >= minMinutes;
}

/**
 * Whether a daily and a weekly window share a minute on any day; AWS refuses a backup window that overlaps the maintenance
 * window. Windows that only touch do not overlap. False where either is malformed.
 */
export function windowsOverlap(daily: string, weekly: string): boolean {
  const [each, once] = [dailyWindow(daily), weeklyWindow(weekly)];
  if (!each || !once) return false;
  return WEEKDAYS.some((_, day) => {
    const start = day * DAY + each.start;
    // On a ring, two arcs meet where one starts within the other.
    return distance(once.start, start) < once.length || distance(start, once.start) < each.length;
  });
}

/** Minutes from one moment of the week to the next occurrence of another. */
function distance(from: number, to: number): number {
  return (to - from + WEEK) % WEEK;
}

function dailyWindow(text: string): Window | undefined {
  const match = DAILY.exec(text);
  if (!match) return undefined;
  const [start, end] = [minutes(match[1], match[2]), minutes(match[3], match[4])];
  return { start, length: (end - start + DAY) % DAY };
}

function weeklyWindow(text: string): Window | undefined {
  const match = WEEKLY.exec(text);
  if (!match) return undefined;
  const start = weekday(match[1]) * DAY + minutes(match[2], match[3]);
  const end = weekday(match[4]) * DAY + minutes(match[5], match[6]);
  return { start, length: distance(start, end) };
}

function weekday(name = ""): number {
  return WEEKDAYS.indexOf(name);
}

function minutes(hours: string | undefined, rest: string | undefined): number {
  return Number(hours) * 60 + Number(rest);
}
