import { type DynamoDBClient, PutItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { isConditionFailed, isTransient } from "./clients";
import {
  type EventControl,
  n,
  positionOf,
  ROW_TTL_SECONDS,
  reclaimedKey,
  reclaimedRange,
  s,
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
  readonly stripe: number;
  readonly stripes: number;
  next: number;
  readonly end: number;
  readonly takenAt: number;
  /** How many it had at first. */
  readonly size: number;
}

/** A call that needs a place. */
interface Waiting {
  readonly control: EventControl;
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

interface EventState {
  leases: Lease[];
  waiting: Waiting[];
  coming: ComingLease[];
  cursor: number;
  lastTakeAt: number;
  /** Least places to take next, after a lease that was used up at once. */
  leastSize: number;
}

/** A lease older than this is not handed out any more: its places would let a newcomer in front of earlier arrivals. */
const LEASE_MAX_AGE_MS = 750;
const ATTEMPTS = 3;
/**
 * A lease used up sooner than this was too small: twice as many next time. Only an environment with several calls at a time
 * is as fast; one call after another takes longer for four places.
 */
const SHORT_LEASE_MS = 40;
/** Most calls that share one lease: more would make the places of one stripe run ahead of the others. */
const MAX_SHARED = 32;
const MAX_EVENTS = 200;

/**
 * Hands out positions without a hot item.
 *
 * One counters item takes 1,000 writes/s, so an event has several, the stripes, and an environment goes round them. In a
 * stream of arrivals it takes a few places at a time; a visitor who comes alone costs one place and wastes none. Places of
 * a lease that was not used up in time are written down as reclaimed, so that the advancer does not spend its rate on them.
 */
export class Allocator {
  private readonly events = new Map<string, EventState>();
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

  /** A position that nobody else gets. Throws {@link StaleGenerationError}, or DynamoDB's error if no stripe answers. */
  async take(control: EventControl): Promise<number> {
    const state = this.stateOf(control.eventId);
    const now = this.monotonic();
    const gapMs = now - state.lastTakeAt;
    state.lastTakeAt = now;
    this.retire(state, control);
    const held = state.leases[0];
    if (held !== undefined) {
      return this.takeFrom(state, held);
    }
    return new Promise((resolve, reject) => {
      state.waiting.push({ control, gapMs, resolve, reject });
      if (state.waiting.length === 1) {
        queueMicrotask(() => this.serveWaiting(state));
      }
    });
  }

  /** Takes back a position that its visitor turned out not to need. */
  giveBack(control: EventControl, position: number): void {
    const { eventId, generation, stripes } = control;
    const stripe = stripeOf(position, stripes);
    const next = (position - 1 - stripe) / stripes;
    const lease = { eventId, generation, stripe, stripes, next, end: next + 1, takenAt: this.monotonic(), size: 1 };
    this.stateOf(eventId).leases.unshift(lease);
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
  private serveWaiting(state: EventState): void {
    const waiting = state.waiting;
    state.waiting = [];
    for (let at = 0; at < waiting.length; at += 1) {
      const one = waiting[at] as Waiting;
      const coming = state.coming.find(
        ({ generation, size, calls }) => generation === one.control.generation && calls.length < size,
      );
      if (coming !== undefined) {
        coming.calls.push(one);
      } else {
        const together = Math.min(waiting.length - at, MAX_SHARED);
        this.startLease(state, one, together);
      }
    }
  }

  private startLease(state: EventState, first: Waiting, together: number): void {
    const { control, gapMs } = first;
    const size = Math.max(together, leaseSize(control, gapMs), control.lease > 1 ? state.leastSize : 1);
    const coming: ComingLease = { generation: control.generation, size, calls: [first] };
    state.coming.push(coming);
    const arrived = () => {
      state.coming = state.coming.filter((other) => other !== coming);
    };
    this.lease(control, state, size).then(
      (lease) => {
        arrived();
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

  private takeFrom(state: EventState, lease: Lease): number {
    const position = positionOf(lease.stripe, lease.next, lease.stripes);
    lease.next += 1;
    if (lease.next >= lease.end) {
      const short = lease.size > 1 && this.monotonic() - lease.takenAt < SHORT_LEASE_MS;
      state.leastSize = short ? Math.min(MAX_SHARED, lease.size * 2) : 1;
      state.leases = state.leases.filter((other) => other !== lease);
    }
    return position;
  }

  private async lease(control: EventControl, state: EventState, size: number): Promise<Lease> {
    const { eventId, generation, stripes } = control;
    for (let attempt = 1; ; attempt += 1) {
      const stripe = state.cursor % stripes;
      state.cursor = (stripe + 1) % stripes;
      try {
        const { Attributes } = await this.options.client.send(
          new UpdateItemCommand({
            TableName: this.options.countersTable,
            Key: { eventId: s(stripeKey(eventId, stripe)) },
            UpdateExpression: "ADD nextPosition :size",
            ConditionExpression: "generation = :generation",
            ExpressionAttributeValues: { ":size": n(size), ":generation": n(generation) },
            ReturnValues: "UPDATED_NEW",
          }),
        );
        const end = Number(Attributes?.nextPosition?.N);
        if (!Number.isSafeInteger(end) || end < size || !Number.isSafeInteger(positionOf(stripe, end, stripes))) {
          throw new Error(
            `Stripe ${stripeKey(eventId, stripe)} holds no usable counter: ${Attributes?.nextPosition?.N}`,
          );
        }
        return { eventId, generation, stripe, stripes, next: end - size, end, takenAt: this.monotonic(), size };
      } catch (error) {
        if (isConditionFailed(error)) {
          throw new StaleGenerationError(eventId);
        }
        if (!isTransient(error) || attempt >= ATTEMPTS) {
          throw error;
        }
        await this.sleep(20 + this.random() * 60 * attempt);
      }
    }
  }

  /** Drops leases of an earlier generation, and those that no longer keep the order of arrival. */
  private retire(state: EventState, control: EventControl): void {
    const now = this.monotonic();
    state.leases = state.leases.filter((lease) => {
      if (lease.generation !== control.generation) {
        return false;
      }
      const served = positionOf(lease.stripe, lease.next, lease.stripes) <= control.servingCounter;
      const old = served || now - lease.takenAt > LEASE_MAX_AGE_MS;
      if (old && !served) {
        this.stale.push(lease);
      }
      return !old;
    });
  }

  private collectStale(): void {
    const now = this.monotonic();
    for (const state of this.events.values()) {
      if (state.leases.length > 0) {
        const old = state.leases.filter((lease) => now - lease.takenAt > LEASE_MAX_AGE_MS);
        if (old.length > 0) {
          state.leases = state.leases.filter((lease) => !old.includes(lease));
          this.stale.push(...old);
        }
      }
    }
  }

  private stateOf(eventId: string): EventState {
    const known = this.events.get(eventId);
    if (known !== undefined) {
      return known;
    }
    if (this.events.size >= MAX_EVENTS) {
      const [oldest, state] = this.events.entries().next().value as [string, EventState];
      this.stale.push(...state.leases);
      this.events.delete(oldest);
    }
    const cursor = Math.floor(this.random() * 1_000_000);
    const state: EventState = {
      leases: [],
      waiting: [],
      coming: [],
      cursor,
      lastTakeAt: Number.NEGATIVE_INFINITY,
      leastSize: 1,
    };
    this.events.set(eventId, state);
    return state;
  }
}

/**
 * As many places as will be needed before they grow too old, if visitors go on coming at this pace. Until the first advance
 * has counted anybody, an opening's rush is assumed: then every environment serves its first visitor without knowing.
 */
function leaseSize(control: EventControl, gapMs: number): number {
  const wanted = control.nextPosition === 0 ? control.lease : Math.floor(LEASE_MAX_AGE_MS / Math.max(1, gapMs));
  return Math.max(1, Math.min(control.lease, wanted));
}

/** The row that tells the advancer about places which nobody holds. Writing it twice changes nothing. */
export function reclaimedItem(
  table: string,
  places: Pick<Lease, "eventId" | "generation" | "stripe" | "stripes" | "next" | "end">,
  nowSeconds: number,
) {
  const position = positionOf(places.stripe, places.next, places.stripes);
  return {
    TableName: table,
    Item: {
      eventId: s(reclaimedKey(places.eventId, places.stripe, places.generation)),
      requestId: s(reclaimedRange(position)),
      place: n(position),
      count: n(places.end - places.next),
      ttl: n(nowSeconds + ROW_TTL_SECONDS),
    },
  };
}
