import { placesUpTo, positionOf, type ReclaimedRow, stripeOf } from "../shared/schema";

/** What the tables say about an event's queue when its counter is to move. */
export interface Queue {
  readonly servingCounter: number;
  /** Places handed out per stripe. */
  readonly handedOut: readonly number[];
  /** Places beyond the serving counter that nobody holds. */
  readonly reclaimed: readonly ReclaimedRow[];
}

/** Highest position handed out; 0 if there is none. */
export function frontier(handedOut: readonly number[]): number {
  const stripes = handedOut.length;
  const tops = handedOut.map((count, stripe) => (count === 0 ? 0 : positionOf(stripe, count - 1, stripes)));
  return Math.max(0, ...tops);
}

/**
 * The counter that lets in exactly `quota` more visitors, or everybody if fewer wait. Positions that were never handed out,
 * because their stripe lags behind, and positions that nobody holds any more do not count. Never beyond what was handed out.
 */
export function advanceTarget(queue: Queue, quota: number): number {
  const { servingCounter, handedOut, reclaimed } = queue;
  const stripes = handedOut.length;
  const last = Math.max(servingCounter, frontier(handedOut));
  if (quota >= last - servingCounter) {
    return quota > 0 ? last : servingCounter;
  }
  const nobodys = new Set<number>();
  for (const { place, count } of reclaimed) {
    for (let i = 0; i < count; i += 1) {
      nobodys.add(place + i * stripes);
    }
  }
  let target = servingCounter;
  for (let left = quota; left > 0 && target < last; ) {
    target += 1;
    const stripe = stripeOf(target, stripes);
    const held = placesUpTo(target, stripe, stripes) <= (handedOut[stripe] ?? 0) && !nobodys.has(target);
    left -= held ? 1 : 0;
  }
  return target;
}

/** Per stripe, how far it must at least be so that nobody who comes later gets a position up to the target. */
export function floors(target: number, stripes: number): number[] {
  return Array.from({ length: stripes }, (_, stripe) => placesUpTo(target, stripe, stripes));
}

/** Most ticks whose advance is made up for when the schedule was late: a missed hour must not let in an hour's visitors. */
export const MAX_CATCH_UP_TICKS = 2;

/** How many ticks' worth of visitors may come in now; 0 if this tick was already applied. */
export function ticksDue(lastTick: number, tick: number): number {
  return Math.min(Math.max(0, tick - lastTick), MAX_CATCH_UP_TICKS);
}

const SMOOTHING = 0.3;

/** The measured rate, smoothed. Ticks in which the queue ran dry say nothing about how fast it could move. */
export function measuredRate(
  previous: number | undefined,
  moved: number,
  seconds: number,
  ranDry: boolean,
): number | undefined {
  if (ranDry || seconds <= 0) {
    return previous;
  }
  const rate = moved / seconds;
  return previous === undefined ? rate : previous + SMOOTHING * (rate - previous);
}
