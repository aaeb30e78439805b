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
  const { draw } = control;
  if (draw === undefined) {
    return undefined;
  }
  if (!early) {
    return sum(draw.counts) + place;
  }
  return earlyPositionOf(draw, place);
}

/** The position that was drawn for an early place; undefined if nobody came early enough to have it. */
export function earlyPositionOf(draw: Draw, place: number): number | undefined {
  const stripe = stripeOf(place, draw.counts.length);
  const index = (place - 1 - stripe) / draw.counts.length;
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
const ROUNDS = [0, 1, 2, 3, 4, 5];
const ROUNDS_BACK = [...ROUNDS].reverse();

/**
 * A permutation that the seed picks: a Feistel network over a grid of about as many columns as rows that is just large enough,
 * walked until the value is within the size again (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", generalized Feistel).
 * The grid is larger by less than one row, so that hardly any value walks twice.
 */
export function permutation(seed: string, size: number): Permutation {
  const key = Buffer.from(seed, "hex");
  const columns = Math.max(2, Math.ceil(Math.sqrt(size)));
  const rows = Math.max(2, Math.ceil(size / columns));
  const mix = (round: number, value: number) =>
    createHmac("sha256", key).update(`${round}:${value}`).digest().readUInt32BE(0);
  const walk = (value: number, rounds: readonly number[], sign: 1 | -1): number => {
    let current = value;
    do {
      let [row, column] = [Math.floor(current / columns), current % columns];
      for (const round of rounds) {
        if (round % 2 === 0) {
          row = modulo(row + sign * mix(round, column), rows);
        } else {
          column = modulo(column + sign * mix(round, row), columns);
        }
      }
      current = row * columns + column;
    } while (current >= size);
    return current;
  };
  return {
    forward: (value) => walk(value, ROUNDS, 1),
    backward: (value) => walk(value, ROUNDS_BACK, -1),
  };
}

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}

function permutationOf(draw: Draw): Permutation {
  return permutation(draw.seed, sum(draw.counts));
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
