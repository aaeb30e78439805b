import {
  DeleteItemCommand,
  GetItemCommand,
  PutItemCommand,
  ScanCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  closeEvent,
  drainEvent,
  openEvent,
  pauseEvent,
  reportSaturation,
  resumeEvent,
  setBypass,
  setCeiling,
  setRate,
} from "../../lambdas/shared/control";
import { type BookingHealth, type EventControl, toControl } from "../../lambdas/shared/schema";
import { silentTelemetry } from "../../lambdas/shared/telemetry";
import { signTicket } from "../../lambdas/shared/tickets";
import { advanceTarget, measuredRate, ticksDue } from "../../lambdas/vwr-counter-advancer/advance";
import { createHandler, runTick } from "../../lambdas/vwr-counter-advancer/handler";
import { startTables, type Tables } from "./support/tables";
import {
  ApiEnvironment,
  advance,
  Clock,
  freshEvent,
  planeOf,
  type Reply,
  requestIdOf,
  TIER1_KEY,
} from "./support/waiting-room";

let tables: Tables;
let clock: Clock;
let event: string;

beforeAll(async () => {
  tables = await startTables();
});
afterAll(() => tables.close());
beforeEach(async () => {
  await empty();
  tables.forget();
  clock = new Clock();
  event = freshEvent();
});

/** Events of earlier tests would advance too. */
async function empty(): Promise<void> {
  const { Items = [], LastEvaluatedKey } = await tables.client.send(
    new ScanCommand({ TableName: tables.countersTable }),
  );
  for (const { eventId } of Items) {
    if (eventId !== undefined) {
      await tables.client.send(new DeleteItemCommand({ TableName: tables.countersTable, Key: { eventId } }));
    }
  }
  if (LastEvaluatedKey !== undefined) {
    await empty();
  }
}

const plane = () => planeOf(tables, clock);

async function control(): Promise<EventControl> {
  const Key = { eventId: { S: event } };
  const { Item } = await tables.client.send(new GetItemCommand({ TableName: tables.countersTable, Key }));
  return toControl(Item) as EventControl;
}

/** An open event with so many visitors waiting on one stripe. */
async function queueOf(visitors: number, options = {}): Promise<ApiEnvironment> {
  await openEvent(plane(), event, { stripes: 1, lease: 1, ...options });
  const environment = new ApiEnvironment(tables, clock);
  for (let visitor = 1; visitor <= visitors; visitor += 1) {
    await environment.assign(event, { requestId: requestIdOf(visitor) });
  }
  return environment;
}

/** The function as the schedule runs it, without waiting for real. */
function scheduled(options: { cycles?: number; batchSize?: number } = {}) {
  const { client, countersTable, positionsTable } = tables;
  return createHandler({
    client,
    countersTable,
    positionsTable,
    batchSize: options.batchSize ?? 2,
    cycles: options.cycles ?? 6,
    telemetry: silentTelemetry,
    nowMs: clock.now,
    monotonic: clock.monotonic,
    sleep: async (ms) => clock.pass(ms),
  });
}

describe("schedule", () => {
  it("fails to start with settings that would let nobody in or count ticks wrongly, naming all of them", () => {
    const { client, countersTable, positionsTable } = tables;
    const options = { client, countersTable, positionsTable, telemetry: silentTelemetry };
    const wrong = { batchSize: Number("x"), cycles: 0, cycleSeconds: 5 };
    const messages = [
      "BATCH_SIZE: given NaN; allowed is a whole number from 1",
      "CYCLES: given 0; allowed is a whole number from 1",
      "CYCLE_SECONDS: given 5; allowed is 10 (the tables number ticks by it, and the API tells rates by it). Set it to 10, or leave it out",
    ];
    expect(() => createHandler({ ...options, ...wrong })).toThrow(messages.join("\n"));
  });

  it("lets in six batches a minute, ten seconds apart", async () => {
    await queueOf(20);
    clock.pass(10_000);
    const startedAt = clock.now();
    const outcomes = await scheduled()({ time: new Date(clock.now()).toISOString() });
    expect(outcomes.map((outcome) => (outcome.result === "advanced" ? outcome.to : 0))).toEqual([2, 4, 6, 8, 10, 12]);
    expect(clock.now() - startedAt).toBe(50_000);
  });

  it("advances once per tick when it fires twice at once", async () => {
    await queueOf(40);
    clock.pass(60_000 - (clock.now() % 60_000));
    const time = new Date(clock.now()).toISOString();
    const outcomes = await Promise.all([1, 2, 3].map(() => advance(tables, clock, 2)));
    expect(outcomes.flat().filter(({ result }) => result === "advanced")).toHaveLength(1);
    const after = (await control()).servingCounter;
    await scheduled({ cycles: 1 })({ time });
    expect([after, (await control()).servingCounter]).toEqual([4, 4]);
  });

  it("never sets the counter back when an invocation that hung overlaps later ones", async () => {
    await queueOf(40);
    clock.pass(10_000);
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    let reached = () => {};
    const hanging = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const client = {
      send: async (command: UpdateItemCommand) => {
        if (command instanceof UpdateItemCommand) {
          reached();
          await released;
        }
        return tables.client.send(command);
      },
    } as unknown as Tables["client"];
    const hung = advance({ ...tables, client }, clock, 2);
    await hanging;
    await advance(tables, clock, 2);
    clock.pass(10_000);
    await advance(tables, clock, 2);
    release();
    expect(await hung).toEqual([{ eventId: event, result: "lost-race" }]);
    expect((await control()).servingCounter).toBe(4);
  });

  it("does nothing when a timed-out minute is retried after the next one has begun", async () => {
    await queueOf(40);
    clock.pass(60_000 - (clock.now() % 60_000));
    const time = new Date(clock.now()).toISOString();
    await scheduled()({ time });
    clock.pass(10_000);
    await scheduled({ cycles: 1 })({ time: new Date(clock.now()).toISOString() });
    const before = (await control()).servingCounter;
    const outcomes = await scheduled()({ time });
    expect(new Set(outcomes.map(({ result }) => result))).toEqual(new Set(["applied"]));
    expect((await control()).servingCounter).toBe(before);
  });

  it("makes up for at most two ticks when some were missed", async () => {
    await queueOf(40);
    clock.pass(10_000);
    await advance(tables, clock, 2);
    clock.pass(300_000);
    await advance(tables, clock, 2);
    expect((await control()).servingCounter).toBe(2 + 4);
  });

  it("finishes what a crash between cycles left, without letting in anybody twice", async () => {
    await queueOf(40);
    clock.pass(60_000 - (clock.now() % 60_000));
    const time = new Date(clock.now()).toISOString();
    await scheduled({ cycles: 3 })({ time });
    const crashed = (await control()).servingCounter;
    await scheduled()({ time });
    expect((await control()).servingCounter - crashed).toBe(3 * 2);
  });

  it("numbers ticks by the scheduled time, so that a machine whose clock is off advances no more and no less", async () => {
    await queueOf(40);
    clock.pass(60_000 - (clock.now() % 60_000));
    const time = new Date(clock.now()).toISOString();
    await scheduled({ cycles: 1 })({ time });
    clock.wallMs += 300_000;
    await scheduled({ cycles: 1 })({ time });
    clock.wallMs -= 600_000;
    await scheduled({ cycles: 1 })({ time });
    expect((await control()).servingCounter).toBe(4);
  });

  it("ends before the function's timeout and leaves the rest to the next minute", async () => {
    await queueOf(40);
    clock.pass(10_000);
    const deadline = clock.monotonic() + 22_000;
    const context = { getRemainingTimeInMillis: () => deadline - clock.monotonic() };
    const outcomes = await scheduled()({ time: new Date(clock.now()).toISOString() }, context);
    expect(outcomes).toHaveLength(2);
  });
});

describe("advancing", () => {
  it("never goes beyond what was handed out", async () => {
    await queueOf(3);
    clock.pass(10_000);
    await advance(tables, clock, 500);
    expect((await control()).servingCounter).toBe(3);
  });

  it("does nothing while paused, also during a lease, and makes up for nothing on resuming", async () => {
    const environment = await queueOf(5, { lease: 4 });
    await pauseEvent(plane(), event);
    clock.pass(100_000);
    expect(await advance(tables, clock, 2)).toEqual([{ eventId: event, result: "paused" }]);
    expect((await environment.assign(event)).body.admitted).toBe(false);
    await resumeEvent(plane(), event);
    clock.pass(10_000);
    await advance(tables, clock, 2);
    expect((await control()).servingCounter).toBe(2);
  });

  it("gives up its advance when the event is paused or opened anew under its hands", async () => {
    await queueOf(10);
    clock.pass(10_000);
    await advance(tables, clock, 2);
    const before = await control();
    await openEvent(plane(), event, { again: true, stripes: 1 });
    clock.pass(10_000);
    expect(await advance(tables, clock, 2, before.tick)).toEqual([{ eventId: event, result: "applied" }]);
    expect((await control()).servingCounter).toBe(0);
  });

  it("follows the operator's rate, under the ceiling", async () => {
    await queueOf(20);
    await setRate(plane(), event, 5);
    clock.pass(10_000);
    await advance(tables, clock, 2);
    await setCeiling(plane(), event, 3);
    clock.pass(10_000);
    await advance(tables, clock, 2);
    await setCeiling(plane(), event, undefined);
    await setRate(plane(), event, 0);
    clock.pass(10_000);
    await advance(tables, clock, 2);
    expect((await control()).servingCounter).toBe(5 + 3);
  });

  it("halves the rate when the booking API is saturated, and gives a tenth back per tick", async () => {
    await queueOf(20);
    await setRate(plane(), event, 10);
    await reportSaturation(plane(), event, 500);
    const moved: number[] = [];
    for (let tick = 0; tick < 3; tick += 1) {
      const before = (await control()).servingCounter;
      clock.pass(10_000);
      await advance(tables, clock, 500);
      moved.push((await control()).servingCounter - before);
    }
    expect(moved).toEqual([5, 6, 7]);
    for (let tick = 0; tick < 9; tick += 1) {
      clock.pass(10_000);
      await advance(tables, clock, 500);
    }
    expect((await control()).pressure).toBeUndefined();
  });

  describe("with the booking API's alarms", () => {
    let health: BookingHealth | Error;
    beforeEach(async () => {
      health = "healthy";
      await queueOf(400, { stripes: 4 });
      await setRate(plane(), event, 40);
    });

    async function lettingIn(ticks: number): Promise<number[]> {
      const { client, countersTable, positionsTable } = tables;
      const moved: number[] = [];
      for (let tick = 0; tick < ticks; tick += 1) {
        const before = (await control()).servingCounter;
        clock.pass(10_000);
        const bookingHealth = async () => {
          if (health instanceof Error) throw health;
          return health;
        };
        const options = { client, countersTable, positionsTable, batchSize: 500, telemetry: silentTelemetry };
        await runTick({ ...options, bookingHealth, nowMs: clock.now }, clock.tick);
        moved.push((await control()).servingCounter - before);
      }
      return moved;
    }

    it("halves the rate at once, again only after a minute, and gives a tenth back per tick when they are off", async () => {
      expect(await lettingIn(1)).toEqual([40]);
      health = "saturated";
      expect(await lettingIn(8)).toEqual([20, 20, 20, 20, 20, 20, 10, 10]);
      health = "healthy";
      expect(await lettingIn(4)).toEqual([10, 14, 18, 22]);
    });

    it("never lets in fewer than one per tick for them, and follows a lower ceiling of the operator", async () => {
      health = "saturated";
      await setCeiling(plane(), event, 6);
      expect(await lettingIn(1)).toEqual([3]);
      await setRate(plane(), event, 1);
      await lettingIn(12);
      expect((await control()).pressure).toBe(1);
      expect((await lettingIn(1))[0]).toBe(1);
    });

    it("holds the rate while they cannot be read: neither slower nor faster", async () => {
      health = "saturated";
      expect(await lettingIn(1)).toEqual([20]);
      health = new Error("no answer");
      expect(await lettingIn(3)).toEqual([20, 20, 20]);
    });
  });

  describe("of those who came before the opening", () => {
    const opening = 30;
    const open = () =>
      openEvent(plane(), event, { stripes: 4, lease: 4, opensAt: Math.floor(clock.now() / 1000) + opening });

    async function comes(
      numbers: readonly number[],
      environment = new ApiEnvironment(tables, clock),
    ): Promise<Reply[]> {
      const replies: Reply[] = [];
      for (const number of numbers) {
        replies.push(await environment.assign(event, { requestId: requestIdOf(number) }));
      }
      return replies;
    }
    const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
    async function positions(of: readonly number[]): Promise<(number | null)[]> {
      const environment = new ApiEnvironment(tables, clock);
      return (await comes(of, environment)).map(({ body }) => body.position);
    }

    it("lets in nobody before it, and promises no number", async () => {
      await open();
      const [first] = await comes(numbers(1, 20));
      expect(first?.body).toMatchObject({
        position: null,
        ahead: null,
        admitted: false,
        token: null,
        opensIn: opening,
      });
      clock.pass(10_000);
      expect(await advance(tables, clock, 5)).toMatchObject([{ result: "early" }]);
      expect(await control()).toMatchObject({ nextPosition: 20, servingCounter: 0 });
    });

    it("draws lots at the first tick after it: the first numbers, each once, in another order than they came", async () => {
      await open();
      await comes(numbers(1, 40));
      clock.pass(opening * 1000);
      expect(await advance(tables, clock, 5)).toMatchObject([{ result: "advanced", from: 0, to: 5 }]);
      clock.pass(1_100);
      const drawn = (await positions(numbers(1, 40))).map(Number);
      expect([...drawn].sort((a, b) => a - b)).toEqual(numbers(1, 40));
      expect(drawn).not.toEqual(numbers(1, 40));
    });

    it("puts whoever comes later behind them, also in the seconds before the lots are drawn", async () => {
      await open();
      await comes(numbers(1, 12));
      clock.pass(opening * 1000);
      const [late] = await comes([100]);
      expect(late?.body).toMatchObject({ position: null, opensIn: 0 });
      await advance(tables, clock, 5);
      clock.pass(1_100);
      expect(await positions([100, 101])).toEqual([13, expect.any(Number)]);
      expect(Math.max(...(await positions(numbers(1, 12))).map(Number))).toBe(12);
    });

    it("gives a late place where an environment's clock is five minutes behind and does not know of the draw yet", async () => {
      await open();
      const behind = new ApiEnvironment(tables, clock, { skewMs: -300_000 });
      clock.pass(opening * 1000);
      const [before] = await comes([1], behind);
      await advance(tables, clock, 0);
      const [after] = await comes([2], behind);
      expect([before?.status, after?.status]).toEqual([200, 200]);
      expect([before?.body.position, after?.body.position]).toEqual([null, 2]);
    });

    it("draws once when the tick fires twice, and again the same after a crash between stripes and seed", async () => {
      await open();
      await comes(numbers(1, 12));
      clock.pass(opening * 1000);
      tables.fail("UpdateItem", "lost-before", { times: 3, matching: "drawSeed" });
      expect(await advance(tables, clock, 5)).toMatchObject([{ result: "failed" }]);
      tables.forget();
      clock.pass(10_000);
      await Promise.all([advance(tables, clock, 5), advance(tables, clock, 5)]);
      expect((await control()).servingCounter).toBe(5);
      clock.pass(1_100);
      const drawn = await positions(numbers(1, 12));
      expect(await positions(numbers(1, 12))).toEqual(drawn);
      expect([...drawn].map(Number).sort((a, b) => a - b)).toEqual(numbers(1, 12));
    });

    it("spends no rate on early places that were given up", async () => {
      await open();
      const environment = new ApiEnvironment(tables, clock);
      const replies = await comes(numbers(1, 20), environment);
      for (const number of numbers(1, 10)) {
        const headers = { "x-vwr-ticket": replies[number - 1]?.body.ticket ?? "" };
        await environment.assign(event, { requestId: requestIdOf(number), leave: true }, headers);
      }
      clock.pass(opening * 1000);
      await advance(tables, clock, 4);
      const { servingCounter } = await control();
      clock.pass(1_100);
      const letIn = (await comes(numbers(11, 20))).filter(({ body }) => body.admitted);
      expect(letIn).toHaveLength(4);
      expect(servingCounter).toBeGreaterThanOrEqual(4);
    });

    it("is no way in for somebody else's early place, nor for the same place of the other line", async () => {
      await open();
      await comes([1]);
      clock.pass(opening * 1000);
      await comes([2]);
      await advance(tables, clock, 50);
      clock.pass(1_100);
      const forged = { eventId: event, generation: 1, place: 1, early: true, requestId: requestIdOf(2), issuedAt: 0 };
      const reply = await new ApiEnvironment(tables, clock).check(event, requestIdOf(2), signTicket(forged, TIER1_KEY));
      expect(reply.status).toBe(410);
    });

    it("lets everybody in at once when it is closed before it opened", async () => {
      await open();
      await comes([1]);
      await closeEvent(plane(), event);
      clock.pass(1_100);
      const [reply] = await comes([1]);
      expect(reply?.body).toMatchObject({ admitted: true, opensIn: null });
    });
  });

  it("keeps the counter at the end of the queue during a bypass, so that nobody waits behind it afterwards", async () => {
    await queueOf(9);
    await setBypass(plane(), event, true);
    clock.pass(10_000);
    await advance(tables, clock, 2);
    expect((await control()).servingCounter).toBe(9);
  });

  it("drains: lets in those who wait at the rate, then turns the event inactive by itself", async () => {
    await queueOf(3);
    await drainEvent(plane(), event);
    clock.pass(10_000);
    await advance(tables, clock, 2);
    expect(await control()).toMatchObject({ servingCounter: 2, isActive: true });
    clock.pass(10_000);
    await advance(tables, clock, 2);
    expect(await control()).toMatchObject({ servingCounter: 3, isActive: false });
  });

  it("passes over the places of an environment that crashed between lease and use, and loses nobody else", async () => {
    await openEvent(plane(), event, { stripes: 1, lease: 4 });
    const crashed = new ApiEnvironment(tables, clock);
    const other = new ApiEnvironment(tables, clock);
    const first = await crashed.assign(event, { requestId: requestIdOf(1) });
    const second = await other.assign(event, { requestId: requestIdOf(2) });
    // Positions 2 to 4 were leased by the first environment, which never uses them nor writes them down.
    expect([first.body.position, second.body.position]).toEqual([1, 5]);
    for (let tick = 0; tick < 3; tick += 1) {
      clock.pass(10_000);
      await advance(tables, clock, 2);
    }
    clock.pass(1_100);
    const reply = await other.check(event, requestIdOf(2), second.body.ticket);
    expect(reply.body).toMatchObject({ position: 5, admitted: true });
  });

  it("spends no rate on places that nobody holds", async () => {
    const environment = await queueOf(0, { lease: 4 });
    const places = [];
    for (const pause of [0, 0, 800, 0, 0, 0, 0]) {
      clock.pass(pause);
      places.push((await environment.assign(event)).body.position);
    }
    expect(places).toEqual([1, 2, 5, 6, 7, 8, 9]);
    clock.pass(10_000);
    await environment.status(event);
    await advance(tables, clock, 4);
    expect((await control()).servingCounter).toBe(6);
  });

  it("gives nobody who comes later a position that was already served, from a stripe that lagged behind", async () => {
    await openEvent(plane(), event, { stripes: 4, lease: 1 });
    const onlyStripe3 = () => new ApiEnvironment(tables, clock, { random: () => 3 / 1_000_000 + 1e-9 });
    for (let visitor = 0; visitor < 3; visitor += 1) {
      await onlyStripe3().assign(event);
    }
    clock.pass(10_000);
    await advance(tables, clock, 500);
    expect((await control()).servingCounter).toBe(12);
    const late = await new ApiEnvironment(tables, clock).assign(event);
    expect(late.body).toMatchObject({ admitted: false, position: 13 });
  });

  it("measures the rate only while the queue is longer than a batch", async () => {
    await queueOf(6, { batchSize: 2 });
    clock.pass(10_000);
    await advance(tables, clock, 500);
    const measured = (await control()).ratePerSecond;
    for (let tick = 0; tick < 5; tick += 1) {
      clock.pass(10_000);
      await advance(tables, clock, 500);
    }
    expect(measured).toBeCloseTo(0.2);
    expect((await control()).ratePerSecond).toBeCloseTo(0.2);
  });

  it("advances the other events when one fails", async () => {
    await queueOf(5);
    const broken = event;
    event = freshEvent();
    await queueOf(5);
    clock.pass(10_000);
    tables.fail("UpdateItem", "error-500", { times: 9, matching: `"${broken}"` });
    const outcomes = await advance(tables, clock, 2);
    expect(outcomes.find(({ eventId }) => eventId === broken)?.result).toBe("failed");
    expect((await control()).servingCounter).toBe(2);
  });

  it("misses nothing when the table cannot be read for a tick", async () => {
    await queueOf(9);
    clock.pass(10_000);
    tables.fail("Scan", "throttle", { times: 9 });
    expect(await advance(tables, clock, 2)).toEqual([]);
    tables.forget();
    clock.pass(10_000);
    await advance(tables, clock, 2);
    expect((await control()).servingCounter).toBe(4);
  });

  it("advances once when the answer of its write is lost after it was committed", async () => {
    await queueOf(9);
    clock.pass(10_000);
    tables.fail("UpdateItem", "lost-after");
    await advance(tables, clock, 2);
    await advance(tables, clock, 2);
    expect((await control()).servingCounter).toBe(2);
  });

  it("finds the event behind more than 1 MB of other counters", async () => {
    for (let filler = 0; filler < 6; filler += 1) {
      const Item = { eventId: { S: `filler-${filler}` }, note: { S: "x".repeat(300_000) } };
      await tables.client.send(new PutItemCommand({ TableName: tables.countersTable, Item }));
    }
    await queueOf(3);
    clock.pass(10_000);
    tables.forget();
    await advance(tables, clock, 2);
    expect(tables.calls.filter(({ operation }) => operation === "Scan").length).toBeGreaterThan(1);
    expect((await control()).servingCounter).toBe(2);
  });

  it("admits nobody when the counters item was deleted", async () => {
    await queueOf(3);
    await tables.client.send(
      new DeleteItemCommand({ TableName: tables.countersTable, Key: { eventId: { S: event } } }),
    );
    clock.pass(10_000);
    expect(await advance(tables, clock, 2)).toEqual([]);
  });
});

describe("arithmetic", () => {
  it.each([
    ["nobody handed out", [0, 0], [], 5, 0],
    ["fewer than the batch", [2, 1], [], 5, 3],
    ["exactly the batch", [2, 2], [], 4, 4],
    ["the batch, past a place of a lagging stripe", [3, 1], [], 3, 3],
    ["the batch, past two places of a lagging stripe", [4, 1], [], 4, 5],
    ["the batch, past given-up places", [4, 4], [{ place: 1, count: 2 }], 2, 4],
    ["nothing at rate 0", [4, 4], [], 0, 0],
  ])("lets in %s", (_, handedOut, reclaimed, quota, target) => {
    expect(advanceTarget({ servingCounter: 0, handedOut, reclaimed }, quota)).toBe(target);
  });

  it.each([
    [10, 9, 0],
    [10, 10, 0],
    [10, 11, 1],
    [10, 12, 2],
    [10, 4000, 2],
  ])("after tick %i, tick %i is due %i times", (last, now, due) => {
    expect(ticksDue(last, now)).toBe(due);
  });

  it("keeps the measured rate when the queue ran dry", () => {
    expect(measuredRate(50, 3, 10, true)).toBe(50);
    expect(measuredRate(undefined, 500, 10, false)).toBe(50);
    expect(measuredRate(50, 0, 10, false)).toBe(35);
  });
});
