import { createHmac } from "node:crypto";
import { type Draw, type EventControl, type Line, type Place, positionOf, stripeOf } from "./schema";

/*
 * Who comes before the opening takes a place like everybody, from stripes of its own. At the opening those stripes are closed
 * and a seed is made; the seed permutes the early places to the first positions. Nothing is sorted and no row is rewritten:
 * each visitor's position follows from place and seed, and so does the place from a position.
 */

/** Whether the event's lots have yet to be drawn. */
export function awaitsDraw(control: EventControl): boolean {
  return control.opensAt !== undefined && control.draw === undefined;
}

/** How many positions belong to those who came before the opening. */
export function earlyPositions({ draw }: Pick<EventControl, "draw">): number {
  return draw === undefined ? 0 : sum(draw.counts);
}

/** The line in which a newcomer takes a place at this moment, seconds since 1970. */
export function lineAt(control: EventControl, nowSeconds: number): Line {
  const { eventId, generation, lease, nextPosition, opensAt, servingCounter, stripes } = control;
  const early = awaitsDraw(control) && nowSeconds < (opensAt as number);
  const before = earlyPositions(control);
  const counted = awaitsDraw(control) ? 0 : nextPosition - before;
  const common = { eventId, generation, lease, stripes };
  return early
    ? { ...common, early, served: 0, rush: false }
    : { ...common, early, served: servingCounter - before, rush: counted <= 0 };
}

/** The position of a place; undefined until the lots are drawn. */
export function positionOfPlace(control: EventControl, { early, place }: Place): number | undefined {
  if (control.opensAt === undefined) {
    return place;
  }
  const { draw, stripes } = control;
  if (draw === undefined) {
    return undefined;
  }
  if (!early) {
    return sum(draw.counts) + place;
  }
  const stripe = stripeOf(place, stripes);
  const index = (place - 1 - stripe) / stripes;
  if (index >= (draw.counts[stripe] ?? 0)) {
    return undefined;
  }
  const rank = sum(draw.counts.slice(0, stripe)) + index;
  return permutationOf(draw).forward(rank) + 1;
}

/** The early place that has this position. */
export function earlyPlaceOf(draw: Draw, position: number): number {
  let rank = permutationOf(draw).backward(position - 1);
  let stripe = 0;
  for (; rank >= (draw.counts[stripe] as number); stripe += 1) {
    rank -= draw.counts[stripe] as number;
  }
  return positionOf(stripe, rank, draw.counts.length);
}

/** A bijection of 0 … size - 1 onto itself. */
export interface Permutation {
  forward(value: number): number;
  backward(value: number): number;
}

/** Enough for a Feistel network to be a pseudo-random permutation even against who sees others' positions (Luby and Rackoff: four). */
const ROUNDS = 6;

/**
 * A permutation that the seed picks: a balanced Feistel network over the next power of four, walked until the value is within
 * the size again (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", cycle walking).
 */
export function permutation(seed: string, size: number): Permutation {
  const key = Buffer.from(seed, "hex");
  const half = 2 ** Math.max(1, Math.ceil(Math.log2(Math.max(2, size)) / 2));
  const mix = (round: number, value: number) =>
    createHmac("sha256", key).update(`${round}:${value}`).digest().readUInt32BE(0) % half;
  const walk = (value: number, step: (left: number, right: number) => readonly [number, number]): number => {
    let current = value;
    do {
      const [left, right] = step(Math.floor(current / half), current % half);
      current = left * half + right;
    } while (current >= size);
    return current;
  };
  return {
    forward: (value) =>
      walk(value, (startLeft, startRight) => {
        let [left, right] = [startLeft, startRight];
        for (let round = 0; round < ROUNDS; round += 1) {
          [left, right] = [right, (left + mix(round, right)) % half];
        }
        return [left, right];
      }),
    backward: (value) =>
      walk(value, (startLeft, startRight) => {
        let [left, right] = [startLeft, startRight];
        for (let round = ROUNDS - 1; round >= 0; round -= 1) {
          [left, right] = [(right - mix(round, left) + half) % half, left];
        }
        return [left, right];
      }),
  };
}

function permutationOf(draw: Draw): Permutation {
  return permutation(draw.seed, sum(draw.counts));
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
