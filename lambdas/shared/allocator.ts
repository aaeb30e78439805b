import { type DynamoDBClient, PutItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { isConditionFailed, isTransient } from "./clients";
import {
  type Line,
  n,
  positionOf,
  ROW_TTL_SECONDS,
  reclaimedKey,
  reclaimedRange,
  s,
  stripeItem,
  stripeKey,
  stripeOf,
} from "./schema";

/** The stripe belongs to another generation or is gone: what the caller knows of the event is out of date. */
export class StaleGenerationError extends Error {
  constructor(readonly eventId: string) {
    super(`Event ${eventId} was opened again or removed`);
    this.name = "StaleGenerationError";
  }
}

export interface AllocatorOptions {
  /** Client without retries, see {@link createSingleAttemptDynamoClient}. */
  readonly client: Pick<DynamoDBClient, "send">;
  readonly countersTable: string;
  readonly positionsTable: string;
  /** Monotonic milliseconds. @default performance.now */
  readonly monotonic?: () => number;
  /** Seconds since 1970, for the TTL of reclaimed rows. */
  readonly nowSeconds?: () => number;
  /** 0 ≤ x < 1; picks the first stripe, so that environments that start together do not all start on stripe 0. */
  readonly random?: () => number;
  readonly sleep?: (ms: number) => Promise<void>;
}

/** Consecutive places of one stripe. */
interface Lease {
  readonly eventId: string;
  readonly generation: number;
  readonly early: boolean;
  readonly stripe: number;
  readonly stripes: number;
  next: number;
  readonly end: number;
  readonly takenAt: number;
  /** How many it had at first. */
  readonly size: number;
  /** Whether several calls waited for it: never where an environment has one call at a time. */
  readonly shared: boolean;
}

/** A call that needs a place. */
interface Waiting {
  readonly line: Line;
  readonly gapMs: number;
  readonly resolve: (position: number) => void;
  readonly reject: (error: unknown) => void;
}

/** A lease that was asked for, and the calls that will be served from it. */
interface ComingLease {
  readonly generation: number;
  readonly size: number;
  readonly calls: Waiting[];
}

/** A stripe as this environment knows it. */
interface KnownStripe {
  /** Places that this environment has taken from it or asked for. */
  taken: number;
  /** When it last failed to answer. */
  failedAt: number;
  /** What it last answered. */
  last?: StripeAnswer;
}

interface StripeAnswer {
  /** Places handed out by then, to all environments. */
  readonly count: number;
  readonly at: number;
}

/** What an environment remembers of one line. */
interface LineState {
  leases: Lease[];
  waiting: Waiting[];
  coming: ComingLease[];
  /** Of which generation the stripes are known. */
  generation: number;
  readonly known: Map<number, KnownStripe>;
  /** Stripe to begin with, so that environments that start together do not all start on stripe 0. */
  readonly first: number;
  lastTakeAt: number;
  /** Least places to take next, after a lease that was used up at once. */
  leastSize: number;
  /** The stripe that answered last. */
  last?: StripeAnswer;
  /** Places that a stripe hands out per second, smoothed. */
  placesPerSecond?: number;
}

/** A lease older than this is not handed out any more: its places would let a newcomer in front of earlier arrivals. */
const LEASE_MAX_AGE_MS = 750;
const ATTEMPTS = 3;
/**
 * A lease for several calls that is used up sooner than this was too small: twice as many next time. Lambda gives an environment one
 * call at a time, so there it never comes to that.
 */
const SHORT_LEASE_MS = 40;
/**
 * Leases are there to keep items below DynamoDB's limit of 1,000 writes/s. A stripe that hands out fewer places per second than
 * this stays far from it: each visitor then gets a place of their own, which keeps the order of arrival and abandons nothing.
 */
const PLACES_WITHOUT_LEASES = 500;
/** The same before the first advance has counted anybody, when an opening's rush may be about to come. */
const PLACES_WITHOUT_LEASES_IN_RUSH = 100;
/** Weight of the latest measurement of a stripe's pace. */
const PACE_SMOOTHING = 0.3;
/** A stripe that did not answer is left alone for so long, if there is another. */
const AVOID_MS = 1_000;
/** Most calls that share one lease: more would make the places of one stripe run ahead of the others. */
const MAX_SHARED = 32;
const MAX_LINES = 200;

/**
 * Hands out places without a hot item.
 *
 * One counters item takes 1,000 writes/s, so an event has several, the stripes, and an environment goes round them. In a rush it
 * takes a few places at a time; below that each visitor costs one place and wastes none. Places of a lease that was not used up in
 * time are written down as reclaimed, so that the advancer does not spend its rate on them.
 */
export class Allocator {
  private readonly lines = new Map<string, LineState>();
  private stale: Lease[] = [];
  private readonly monotonic: () => number;
  private readonly nowSeconds: () => number;
  private readonly random: () => number;
  private readonly sleep: (ms: number) => Promise<void>;

  constructor(private readonly options: AllocatorOptions) {
    this.monotonic = options.monotonic ?? (() => performance.now());
    this.nowSeconds = options.nowSeconds ?? (() => Math.floor(Date.now() / 1000));
    this.random = options.random ?? Math.random;
    this.sleep = options.sleep ?? ((ms) => new Promise((resolve) => setTimeout(resolve, ms)));
  }

  /** A place that nobody else gets. Throws {@link StaleGenerationError}, or DynamoDB's error if no stripe answers. */
  async take(line: Line): Promise<number> {
    const state = this.stateOf(line);
    const now = this.monotonic();
    const gapMs = now - state.lastTakeAt;
    state.lastTakeAt = now;
    this.retire(state, line);
    const held = state.leases[0];
    if (held !== undefined) {
      return this.takeFrom(state, held);
    }
    return new Promise((resolve, reject) => {
      state.waiting.push({ line, gapMs, resolve, reject });
      if (state.waiting.length === 1) {
        queueMicrotask(() => this.serveWaiting(state));
      }
    });
  }

  /** Takes back a place that its visitor turned out not to need. */
  giveBack(line: Line, place: number): void {
    this.stateOf(line).leases.unshift({
      ...singlePlace(line, place),
      takenAt: this.monotonic(),
      size: 1,
      shared: false,
    });
  }

  /** Whether places wait to be written down as reclaimed. Cheap: asked on every request. */
  hasStale(): boolean {
    this.collectStale();
    return this.stale.length > 0;
  }

  /** Writes down the places of leases that grew too old. What cannot be written now is kept for the next time. */
  async reclaim(): Promise<void> {
    this.collectStale();
    const leases = this.stale;
    this.stale = [];
    await Promise.all(
      leases.map(async (lease) => {
        try {
          await this.options.client.send(
            new PutItemCommand(reclaimedItem(this.options.positionsTable, lease, this.nowSeconds())),
          );
        } catch (error) {
          this.stale.push(lease);
          if (!isTransient(error)) {
            throw error;
          }
        }
      }),
    );
  }

  /**
   * Calls share leases: those that came at the same moment, and those that come while one is on its way with places left.
   * Where an environment has one call at a time, each lease has one call.
   */
  private serveWaiting(state: LineState): void {
    const waiting = state.waiting;
    state.waiting = [];
    for (let at = 0; at < waiting.length; at += 1) {
      const one = waiting[at] as Waiting;
      const coming = state.coming.find(
        ({ generation, size, calls }) => generation === one.line.generation && calls.length < size,
      );
      if (coming !== undefined) {
        coming.calls.push(one);
      } else {
        const together = Math.min(waiting.length - at, MAX_SHARED);
        this.startLease(state, one, together);
      }
    }
  }

  private startLease(state: LineState, first: Waiting, together: number): void {
    const { line, gapMs } = first;
    const stripe = this.leastUsed(state, line);
    const size = Math.max(together, this.leaseSize(state, line, gapMs), line.lease > 1 ? state.leastSize : 1);
    const coming: ComingLease = { generation: line.generation, size, calls: [first] };
    state.coming.push(coming);
    const arrived = () => {
      state.coming = state.coming.filter((other) => other !== coming);
    };
    this.lease(line, state, stripe, size).then(
      (places) => {
        arrived();
        const lease = { ...places, shared: coming.calls.length > 1 };
        state.leases.push(lease);
        for (const { resolve } of coming.calls) {
          resolve(this.takeFrom(state, lease));
        }
      },
      (error: unknown) => {
        arrived();
        for (const { reject } of coming.calls) {
          reject(error);
        }
      },
    );
  }

  private takeFrom(state: LineState, lease: Lease): number {
    const position = positionOf(lease.stripe, lease.next, lease.stripes);
    lease.next += 1;
    if (lease.next >= lease.end) {
      const short = lease.shared && this.monotonic() - lease.takenAt < SHORT_LEASE_MS;
      state.leastSize = short ? Math.min(MAX_SHARED, lease.size * 2) : 1;
      state.leases = state.leases.filter((other) => other !== lease);
    }
    return position;
  }

  private async lease(line: Line, state: LineState, firstStripe: number, size: number): Promise<Omit<Lease, "shared">> {
    const { early, eventId, generation, stripes } = line;
    for (let attempt = 1, stripe = firstStripe; ; attempt += 1, stripe = this.leastUsed(state, line)) {
      const known = knownStripe(state, stripe);
      known.taken += size;
      try {
        const { Attributes } = await this.options.client.send(
          new UpdateItemCommand({
            TableName: this.options.countersTable,
            Key: { eventId: s(stripeKey(eventId, stripeItem(stripe, stripes, early))) },
            UpdateExpression: "ADD nextPosition :size",
            ConditionExpression: "generation = :generation AND attribute_not_exists(closed)",
            ExpressionAttributeValues: { ":size": n(size), ":generation": n(generation) },
            ReturnValues: "UPDATED_NEW",
          }),
        );
        const end = Number(Attributes?.nextPosition?.N);
        if (!Number.isSafeInteger(end) || end < size || !Number.isSafeInteger(positionOf(stripe, end, stripes))) {
          const key = stripeKey(eventId, stripeItem(stripe, stripes, early));
          throw new Error(`Stripe ${key} holds no usable counter: ${Attributes?.nextPosition?.N}`);
        }
        const takenAt = this.monotonic();
        measurePace(state, known, { count: end, at: takenAt });
        return { eventId, generation, early, stripe, stripes, next: end - size, end, takenAt, size };
      } catch (error) {
        if (isConditionFailed(error)) {
          throw new StaleGenerationError(eventId);
        }
        known.taken -= size;
        known.failedAt = this.monotonic();
        if (!isTransient(error) || attempt >= ATTEMPTS) {
          throw error;
        }
        await this.sleep(20 + this.random() * 60 * attempt);
      }
    }
  }

  /**
   * The stripe from which this environment has taken the fewest places. Leases of different sizes then leave stripes level, and
   * nobody has to know what the others take: a stripe seen to lag would be stormed by all of them at once.
   */
  private leastUsed(state: LineState, { stripes }: Line): number {
    const now = this.monotonic();
    const rank = (stripe: number): readonly [number, number] => {
      const known = state.known.get(stripe);
      return known === undefined ? [0, 0] : [now - known.failedAt < AVOID_MS ? 1 : 0, known.taken];
    };
    let best = state.first % stripes;
    for (let i = 1; i < stripes; i += 1) {
      const stripe = (state.first + i) % stripes;
      const [avoid, taken] = rank(stripe);
      const [bestAvoid, bestTaken] = rank(best);
      if (avoid < bestAvoid || (avoid === bestAvoid && taken < bestTaken)) {
        best = stripe;
      }
    }
    return best;
  }

  /**
   * As many places as will be needed before they grow too old, and no more than the stripe's pace asks for. In an opening's rush an
   * environment serves its first visitors without knowing that pace, and takes the most; later it takes it for slow.
   */
  private leaseSize({ placesPerSecond }: LineState, { lease, rush }: Line, gapMs: number): number {
    const usable =
      gapMs === Number.POSITIVE_INFINITY && rush ? lease : Math.floor(LEASE_MAX_AGE_MS / Math.max(1, gapMs));
    const inRush = (placesPerSecond ?? Number.POSITIVE_INFINITY) < PLACES_WITHOUT_LEASES_IN_RUSH ? 1 : lease;
    const asked = rush ? inRush : Math.ceil((placesPerSecond ?? 0) / PLACES_WITHOUT_LEASES);
    return Math.max(1, Math.min(lease, usable, asked));
  }

  /** Drops leases of an earlier generation, and those that no longer keep the order of arrival. */
  private retire(state: LineState, { generation, served: servedPlaces }: Line): void {
    const now = this.monotonic();
    state.leases = state.leases.filter((lease) => {
      if (lease.generation !== generation) {
        return false;
      }
      const served = positionOf(lease.stripe, lease.next, lease.stripes) <= servedPlaces;
      const old = served || now - lease.takenAt > LEASE_MAX_AGE_MS;
      if (old && !served) {
        this.stale.push(lease);
      }
      if (old) {
        state.leastSize = 1;
      }
      return !old;
    });
  }

  private collectStale(): void {
    const now = this.monotonic();
    for (const state of this.lines.values()) {
      if (state.leases.length > 0) {
        const old = state.leases.filter((lease) => now - lease.takenAt > LEASE_MAX_AGE_MS);
        if (old.length > 0) {
          state.leases = state.leases.filter((lease) => !old.includes(lease));
          this.stale.push(...old);
        }
      }
    }
  }

  private stateOf({ early, eventId, generation }: Line): LineState {
    const key = early ? `${eventId}#early` : eventId;
    const met = this.lines.get(key);
    if (met !== undefined) {
      if (met.generation !== generation) {
        met.generation = generation;
        met.leastSize = 1;
        met.known.clear();
        delete met.last;
        delete met.placesPerSecond;
      }
      return met;
    }
    if (this.lines.size >= MAX_LINES) {
      const [oldest, state] = this.lines.entries().next().value as [string, LineState];
      this.stale.push(...state.leases);
      this.lines.delete(oldest);
    }
    const state: LineState = {
      leases: [],
      waiting: [],
      coming: [],
      generation,
      known: new Map(),
      first: Math.floor(this.random() * 1_000_000),
      lastTakeAt: Number.NEGATIVE_INFINITY,
      leastSize: 1,
    };
    this.lines.set(key, state);
    return state;
  }
}

function knownStripe({ known }: LineState, stripe: number): KnownStripe {
  const found = known.get(stripe) ?? { taken: 0, failedAt: Number.NEGATIVE_INFINITY };
  known.set(stripe, found);
  return found;
}

/** Stripes are level, so another one's count will do until this one has answered twice. */
function measurePace(state: LineState, known: KnownStripe, answer: StripeAnswer): void {
  const earlier = known.last ?? state.last;
  if (earlier !== undefined && answer.at > earlier.at) {
    const pace = Math.max(0, ((answer.count - earlier.count) * 1000) / (answer.at - earlier.at));
    const before = state.placesPerSecond ?? pace;
    state.placesPerSecond = before + PACE_SMOOTHING * (pace - before);
  }
  known.last = answer;
  state.last = answer;
}

/** One place, as a lease of which nothing was used. */
export function singlePlace(
  { early, eventId, generation, stripes }: Pick<Line, "early" | "eventId" | "generation" | "stripes">,
  place: number,
): Pick<Lease, "eventId" | "generation" | "early" | "stripe" | "stripes" | "next" | "end"> {
  const stripe = stripeOf(place, stripes);
  const next = (place - 1 - stripe) / stripes;
  return { eventId, generation, early, stripe, stripes, next, end: next + 1 };
}

/** The row that tells the advancer about places which nobody holds. Writing it twice changes nothing. */
export function reclaimedItem(
  table: string,
  places: Pick<Lease, "eventId" | "generation" | "early" | "stripe" | "stripes" | "next" | "end">,
  nowSeconds: number,
) {
  const { early, end, eventId, generation, next, stripe, stripes } = places;
  const first = positionOf(stripe, next, stripes);
  return {
    TableName: table,
    Item: {
      eventId: s(reclaimedKey(eventId, stripeItem(stripe, stripes, early), generation)),
      requestId: s(reclaimedRange(first)),
      place: n(first),
      count: n(end - next),
      ttl: n(nowSeconds + ROW_TTL_SECONDS),
    },
  };
}
