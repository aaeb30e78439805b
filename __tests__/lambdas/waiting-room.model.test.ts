import { createHash } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { closeEvent, eventStatus, openEvent } from "../../lambdas/shared/control";
import { earlyPlaceOf, permutation, positionOfPlace } from "../../lambdas/shared/draw";
import { type EventControl, placesUpTo, positionOf, stripeOf } from "../../lambdas/shared/schema";
import { advanceTarget, floors, frontier } from "../../lambdas/vwr-counter-advancer/advance";
import { type FaultKind, startTables, type Tables } from "./support/tables";
import { ApiEnvironment, advance, Clock, freshEvent, planeOf, requestIdOf } from "./support/waiting-room";

let tables: Tables;

beforeAll(async () => {
  tables = await startTables();
});
afterAll(() => tables.close());

type Step =
  | { readonly kind: "assign"; readonly visitor: number; readonly environment: number }
  | { readonly kind: "check"; readonly visitor: number; readonly environment: number }
  | { readonly kind: "leave"; readonly visitor: number; readonly environment: number }
  | { readonly kind: "tick"; readonly times: number }
  | { readonly kind: "pass"; readonly ms: number }
  | { readonly kind: "fault"; readonly operation: string; readonly fault: FaultKind };

/** What an environment read of an event serves it for so long, if DynamoDB fails meanwhile. */
const CONTROL_STALE_MS = 10_000;
const environments = 4;
const visitors = 25;
const visitor = fc.nat(visitors - 1);
const environment = fc.nat(environments - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant("assign" as const), visitor, environment }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("check" as const), visitor, environment }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("leave" as const), visitor, environment }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("tick" as const), times: fc.integer({ min: 1, max: 3 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.constantFrom(5, 300, 800, 10_000, 35_000) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("fault" as const),
      operation: fc.constantFrom("UpdateItem", "PutItem", "GetItem", "Scan", "Query"),
      fault: fc.constantFrom<FaultKind>("lost-before", "lost-after", "error-500"),
    }),
  },
);

/** What must hold whatever happened: the visitors' own knowledge against the tables. */
class World {
  readonly clock = new Clock();
  readonly event = freshEvent();
  readonly rooms: ApiEnvironment[];
  readonly positions = new Map<number, number>();
  /** Those who came before the opening. */
  readonly early = new Set<number>();
  readonly tickets = new Map<number, string>();
  readonly admitted = new Set<number>();
  readonly left = new Set<number>();
  serving = 0;
  /** When the first position was told, by the clock of caches. */
  numberedAt: number | undefined;

  constructor(random: () => number) {
    this.rooms = Array.from({ length: environments }, () => new ApiEnvironment(tables, this.clock, { random }));
  }

  /** Steps whose calls overlap on the wire. */
  async together(steps: readonly Step[]): Promise<void> {
    await Promise.all(steps.map((one) => this.run(one)));
    tables.forget();
    const { servingCounter, handedOut } = await eventStatus(planeOf(tables, this.clock), this.event, 3);
    expect(servingCounter).toBeGreaterThanOrEqual(this.serving);
    expect(servingCounter).toBeLessThanOrEqual(handedOut);
    this.serving = servingCounter;
    for (const one of this.admitted) {
      expect(this.positions.get(one)).toBeLessThanOrEqual(servingCounter);
    }
  }

  private async run(one: Step): Promise<void> {
    if (one.kind === "pass") {
      this.clock.pass(one.ms);
    } else if (one.kind === "fault") {
      tables.fail(one.operation, one.fault);
    } else if (one.kind === "tick") {
      const before = this.serving;
      const waiting = [...this.positions].filter(([one]) => !this.left.has(one)).map(([, position]) => position);
      const outcomes = (
        await Promise.all(Array.from({ length: one.times }, () => advance(tables, this.clock, 3)))
      ).flat();
      const moves = outcomes.filter((outcome) => outcome.eventId === this.event && outcome.result === "advanced");
      // One advance per tick, however often the tick fires.
      expect(moves.length).toBeLessThanOrEqual(1);
      for (const move of moves) {
        if (move.result === "advanced") {
          expect(move.from).toBeGreaterThanOrEqual(before);
          const live = waiting.filter((place) => place > move.from && place <= move.to);
          expect(live.length).toBeLessThanOrEqual(2 * 3);
        }
      }
    } else {
      await this.visit(one);
    }
  }

  private async visit(one: Step & { visitor: number; environment: number }): Promise<void> {
    const room = this.rooms[one.environment] as ApiEnvironment;
    const requestId = requestIdOf(one.visitor);
    const ticket = this.tickets.get(one.visitor);
    if (one.kind === "leave") {
      if (ticket !== undefined && !this.admitted.has(one.visitor)) {
        this.left.add(one.visitor);
        await room.assign(this.event, { requestId, leave: true }, { "x-vwr-ticket": ticket });
      }
      return;
    }
    if (one.kind === "check" && ticket === undefined) {
      return;
    }
    const askedAt = this.clock.monotonic();
    const reply =
      one.kind === "assign"
        ? await room.assign(this.event, { requestId })
        : await room.check(this.event, requestId, ticket);
    expect([200, 410, 503]).toContain(reply.status);
    if (reply.status === 410) {
      // Gone are those who left, and those whose turn was ten minutes ago; the answer that let them in may have got lost.
      const position = this.positions.get(one.visitor) ?? Number.POSITIVE_INFINITY;
      expect(this.left.has(one.visitor) || this.admitted.has(one.visitor) || position <= this.serving).toBe(true);
      return;
    }
    if (reply.status !== 200) {
      return;
    }
    const { position, admitted, servingCounter, token, opensIn } = reply.body;
    const known = this.positions.get(one.visitor);
    if (position === null) {
      expect([admitted, token]).toEqual([false, null]);
      // An environment may not have heard of the draw for as long as it trusts what it read, and then tells no position yet.
      expect(askedAt - (this.numberedAt ?? askedAt)).toBeLessThanOrEqual(CONTROL_STALE_MS);
      if (Number(opensIn) > 0) {
        this.early.add(one.visitor);
      }
      this.tickets.set(one.visitor, reply.body.ticket ?? "");
      return;
    }
    expect(opensIn).toBeNull();
    expect(known ?? position).toBe(position);
    this.numberedAt ??= this.clock.monotonic();
    this.positions.set(one.visitor, position);
    expect(admitted).toBe(position <= servingCounter);
    expect(token !== null).toBe(admitted);
    if (admitted) {
      this.admitted.add(one.visitor);
    } else {
      this.tickets.set(one.visitor, reply.body.ticket ?? "");
    }
  }

  /** Nobody may be lost: whoever has a place and stays is let in once the queue has run through. */
  async finish(): Promise<void> {
    tables.forget();
    for (let tick = 0; tick < 60; tick += 1) {
      this.clock.pass(10_000);
      await advance(tables, this.clock, 3);
      const { servingCounter, handedOut } = await eventStatus(planeOf(tables, this.clock), this.event, 3);
      expect(servingCounter).toBeLessThanOrEqual(handedOut);
      if (servingCounter === handedOut) {
        break;
      }
    }
    this.clock.pass(1_100);
    for (const [one, ticket] of this.tickets) {
      if (!this.left.has(one) && !this.admitted.has(one)) {
        const room = this.rooms[0] as ApiEnvironment;
        const reply = await room.check(this.event, requestIdOf(one), ticket);
        expect([one, reply.status, reply.body.admitted]).toEqual([one, 200, true]);
        expect(this.positions.get(one) ?? reply.body.position).toBe(reply.body.position);
        this.positions.set(one, Number(reply.body.position));
      }
    }
    const places = [...this.positions.values()];
    expect(new Set(places).size).toBe(places.length);
    const drawn = [...this.positions].filter(([one]) => this.early.has(one)).map(([, position]) => position);
    const later = [...this.positions].filter(([one]) => !this.early.has(one)).map(([, position]) => position);
    expect(Math.max(0, ...drawn)).toBeLessThan(Math.min(Number.POSITIVE_INFINITY, ...later));
  }
}

describe("arbitrary interleavings of visitors, ticks, clocks and faults", () => {
  it("give unique positions, admit nobody beyond the counter, advance once per tick and lose no visitor", async () => {
    const settings = fc.record({
      stripes: fc.constantFrom(1, 2, 5, 8),
      lease: fc.constantFrom(1, 3, 4),
      opensIn: fc.constantFrom(undefined, undefined, 12, 45),
      seed: fc.nat(),
    });
    const steps = fc.array(fc.array(step, { minLength: 1, maxLength: 6 }), { minLength: 5, maxLength: 25 });
    await fc.assert(
      fc.asyncProperty(settings, steps, async ({ stripes, lease, opensIn, seed }, batches) => {
        tables.forget();
        let state = seed;
        const random = () => {
          state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
          return state / 2_147_483_648;
        };
        const world = new World(random);
        const opensAt = opensIn === undefined ? {} : { opensAt: Math.floor(world.clock.now() / 1000) + opensIn };
        await openEvent(planeOf(tables, world.clock), world.event, { stripes, lease, ...opensAt });
        for (const batch of batches) {
          await world.together(batch);
        }
        await world.finish();
        await closeEvent(planeOf(tables, world.clock), world.event);
      }),
      { numRuns: 30, endOnFailure: true },
    );
  }, 300_000);
});

describe("drawing lots", () => {
  const seed = fc.stringMatching(/^[0-9a-f]{32}$/);

  it("gives every early place a position of its own, from the first on, and finds the place of every position", () => {
    const counts = fc.array(fc.nat(40), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(seed, counts, (own, handedOut) => {
        const stripes = handedOut.length;
        const draw = { seed: own, counts: handedOut };
        const control = { stripes, draw, opensAt: 1 } as unknown as EventControl;
        const places = handedOut.flatMap((count, stripe) =>
          Array.from({ length: count }, (_, index) => positionOf(stripe, index, stripes)),
        );
        const positions = places.map((place) => Number(positionOfPlace(control, { place, early: true })));
        expect([...positions].sort((a, b) => a - b)).toEqual(places.map((_, index) => index + 1));
        expect(positions.map((position) => earlyPlaceOf(draw, position))).toEqual(places);
        // Who came later stands behind all of them, in order.
        expect(positionOfPlace(control, { place: 1, early: false })).toBe(places.length + 1);
      }),
      { numRuns: 200 },
    );
  });

  it("permutes sizes up to 2^40 and back", () => {
    fc.assert(
      fc.property(
        seed,
        fc.integer({ min: 1, max: 2 ** 40 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (own, size, at) => {
          const value = Math.floor(at * size);
          const { backward, forward } = permutation(own, size);
          expect(forward(value)).toBeLessThan(size);
          expect(backward(forward(value))).toBe(value);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("favours nobody: early arrivals are as likely among the first as late ones", () => {
    const size = 1_000;
    const tenth = size / 10;
    let firstComers = 0;
    for (let draw = 0; draw < 200; draw += 1) {
      const { forward } = permutation(createHash("md5").update(String(draw)).digest("hex"), size);
      for (let rank = 0; rank < tenth; rank += 10) {
        firstComers += forward(rank) < tenth ? 1 : 0;
      }
    }
    // 2,000 draws with probability 0.1: mean 200, standard deviation 13.4.
    expect(firstComers).toBeGreaterThan(200 - 5 * 13.4);
    expect(firstComers).toBeLessThan(200 + 5 * 13.4);
  });
});

describe("stripes", () => {
  const stripes = fc.integer({ min: 1, max: 256 });

  it("deal every position to exactly one place of one stripe", () => {
    fc.assert(
      fc.property(stripes, fc.integer({ min: 1, max: 2 ** 40 }), (count, position) => {
        const stripe = stripeOf(position, count);
        const index = placesUpTo(position, stripe, count) - 1;
        expect(positionOf(stripe, index, count)).toBe(position);
        expect(placesUpTo(position - 1, stripe, count)).toBe(index);
      }),
    );
  });
});

describe("advancing over arbitrary stripes", () => {
  const scene = fc.record({
    handedOut: fc.array(fc.nat(30), { minLength: 1, maxLength: 8 }),
    serving: fc.nat(60),
    quota: fc.nat(40),
    given: fc.array(fc.record({ place: fc.integer({ min: 1, max: 200 }), count: fc.integer({ min: 1, max: 3 }) }), {
      maxLength: 10,
    }),
  });

  it("lets in exactly the quota, or all, and nothing that was not handed out", () => {
    fc.assert(
      fc.property(scene, ({ handedOut, serving, quota, given }) => {
        const count = handedOut.length;
        const last = frontier(handedOut);
        const start = Math.min(serving, last);
        const nobodys = new Set(
          given.flatMap(({ place, count: length }) => Array.from({ length }, (_, i) => place + i * count)),
        );
        const held = (position: number) =>
          placesUpTo(position, stripeOf(position, count), count) <= (handedOut[stripeOf(position, count)] ?? 0) &&
          !nobodys.has(position);
        const target = advanceTarget({ servingCounter: start, handedOut, reclaimed: given }, quota);
        let letIn = 0;
        let waiting = 0;
        for (let position = start + 1; position <= last; position += 1) {
          waiting += held(position) ? 1 : 0;
          letIn += held(position) && position <= target ? 1 : 0;
        }
        expect(target).toBeGreaterThanOrEqual(start);
        expect(target).toBeLessThanOrEqual(Math.max(start, last));
        expect(letIn).toBe(Math.min(quota, waiting));
      }),
      { numRuns: 2_000 },
    );
  });

  it("counts early places by their drawn positions, those given up not at all", () => {
    const early = fc.record({
      seed: fc.stringMatching(/^[0-9a-f]{32}$/),
      counts: fc.array(fc.nat(12), { minLength: 1, maxLength: 8 }),
      quota: fc.nat(40),
      serving: fc.nat(60),
      givenUp: fc.uniqueArray(fc.integer({ min: 1, max: 96 }), { maxLength: 30 }),
    });
    fc.assert(
      fc.property(early, ({ seed, counts, quota, serving, givenUp }) => {
        const draw = { seed, counts };
        const last = counts.reduce((sum, count) => sum + count, 0);
        const start = Math.min(serving, last);
        const reclaimed = givenUp.map((place) => ({ place, count: 1 }));
        const handedOut = counts.map(() => 0);
        const queue = { servingCounter: start, handedOut, reclaimed: [], early: { draw, reclaimed } };
        const target = advanceTarget(queue, quota);
        const held = Array.from({ length: last - start }, (_, index) => start + 1 + index).filter(
          (position) => !givenUp.includes(earlyPlaceOf(draw, position)),
        );
        expect(held.filter((position) => position <= target).length).toBe(Math.min(quota, held.length));
      }),
      { numRuns: 1_000 },
    );
  });

  it("raises stripes just so far that nothing up to the target is handed out any more", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 16 }), fc.nat(500), (count, target) => {
        for (const [stripe, floor] of floors(target, count).entries()) {
          expect(positionOf(stripe, floor, count)).toBeGreaterThan(target);
          expect(floor === 0 || positionOf(stripe, floor - 1, count) <= target).toBe(true);
        }
      }),
    );
  });
});
