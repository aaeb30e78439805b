import { earlyPlaceOf, earlyPositionOf, earlyPositions } from "../shared/draw";
import { type Draw, placesUpTo, positionOf, type ReclaimedRow, stripeOf } from "../shared/schema";

/** What the tables say about an event's queue when its counter is to move. */
export interface Queue {
  readonly servingCounter: number;
  /** Places handed out per stripe. */
  readonly handedOut: readonly number[];
  /** Places beyond the serving counter that nobody holds. */
  readonly reclaimed: readonly ReclaimedRow[];
  /** Those who came before the opening have the first positions, as drawn. */
  readonly early?: { readonly draw: Draw; readonly reclaimed: readonly ReclaimedRow[] };
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
  const { early, handedOut, servingCounter } = queue;
  const stripes = handedOut.length;
  const before = earlyPositions(early ?? {});
  const last = Math.max(servingCounter, before + frontier(handedOut));
  if (quota >= last - servingCounter) {
    return quota > 0 ? last : servingCounter;
  }
  const nobodys = placesOf(queue.reclaimed, stripes);
  const isNobodysEarly = early === undefined ? () => false : givenUpEarly(early, stripes, quota);
  const held = (position: number): boolean => {
    if (position <= before) {
      return !isNobodysEarly(position);
    }
    const place = position - before;
    const stripe = stripeOf(place, stripes);
    return placesUpTo(place, stripe, stripes) <= (handedOut[stripe] ?? 0) && !nobodys.has(place);
  };
  let target = servingCounter;
  for (let left = quota; left > 0 && target < last; ) {
    target += 1;
    left -= held(target) ? 1 : 0;
  }
  return target;
}

/**
 * Which early positions nobody holds. Place and position follow from each other by six hashes, so whichever is less is computed: the
 * positions of the places that were given up, or the places of the positions that are about to come in.
 */
function givenUpEarly(
  { draw, reclaimed }: NonNullable<Queue["early"]>,
  stripes: number,
  quota: number,
): (position: number) => boolean {
  const places = placesOf(reclaimed, stripes);
  if (places.size > quota) {
    return (position) => places.has(earlyPlaceOf(draw, position));
  }
  const positions = new Set([...places].map((place) => earlyPositionOf(draw, place)));
  return (position) => positions.has(position);
}

function placesOf(reclaimed: readonly ReclaimedRow[], stripes: number): ReadonlySet<number> {
  return new Set(reclaimed.flatMap(({ place, count }) => Array.from({ length: count }, (_, i) => place + i * stripes)));
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
