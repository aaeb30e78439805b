import { DeleteItemCommand } from "@aws-sdk/client-dynamodb";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { parseActiveEvents } from "../../lambdas/shared/active-events";
import {
  activeEventsDocument,
  closeEvent,
  drainEvent,
  eventStatus,
  listEvents,
  openEvent,
  pauseEvent,
  resumeEvent,
  setBypass,
  setCeiling,
  setRate,
} from "../../lambdas/shared/control";
import { startTables, type Tables } from "./support/tables";
import { ApiEnvironment, advance, Clock, freshEvent, planeOf, requestIdOf } from "./support/waiting-room";

let tables: Tables;
let clock: Clock;
let event: string;

beforeAll(async () => {
  tables = await startTables();
});
afterAll(() => tables.close());
beforeEach(() => {
  tables.forget();
  clock = new Clock();
  event = freshEvent();
});

const plane = () => planeOf(tables, clock);
const remove = (key: string) =>
  tables.client.send(new DeleteItemCommand({ TableName: tables.countersTable, Key: { eventId: { S: key } } }));

describe("opening", () => {
  it("starts a new generation with an empty queue, each time", async () => {
    expect(await openEvent(plane(), event)).toMatchObject({
      generation: 1,
      servingCounter: 0,
      isActive: true,
      stripes: 8,
    });
    await new ApiEnvironment(tables, clock).assign(event);
    await closeEvent(plane(), event);
    expect(await openEvent(plane(), event)).toMatchObject({ generation: 2, nextPosition: 0 });
    expect((await eventStatus(plane(), event, 500)).handedOut).toBe(0);
  });

  it("fails for an event that is open, unless it is said to be opened again", async () => {
    await openEvent(plane(), event);
    await expect(openEvent(plane(), event)).rejects.toMatchObject({ code: "ALREADY_OPEN" });
    expect((await openEvent(plane(), event, { again: true })).generation).toBe(2);
  });

  it("has one winner when two open at the same time, and no position is given twice", async () => {
    const results = await Promise.allSettled([1, 2, 3].map(() => openEvent(plane(), event)));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const result of results) {
      if (result.status === "rejected") {
        expect(result.reason).toMatchObject({ code: "CHANGED_MEANWHILE" });
      }
    }
    const rooms = Array.from({ length: 12 }, () => new ApiEnvironment(tables, clock, { random: Math.random }));
    const answers = await Promise.all(
      rooms.map((room, visitor) => room.assign(event, { requestId: requestIdOf(visitor) })),
    );
    expect(new Set(answers.map(({ body }) => body.position)).size).toBe(12);
  });

  it("can be repeated after a crash between the stripes and the control item", async () => {
    await openEvent(plane(), event);
    await closeEvent(plane(), event);
    tables.fail("PutItem", "error-500", { times: 3, matching: '"isActive"' });
    await expect(openEvent(plane(), event)).rejects.toThrow();
    tables.forget();
    const opened = await openEvent(plane(), event);
    expect(opened.generation).toBe(3);
    expect((await new ApiEnvironment(tables, clock).assign(event)).body.position).toBe(1);
  });

  it("does not repeat a generation after the control item was deleted", async () => {
    await openEvent(plane(), event);
    await closeEvent(plane(), event);
    await openEvent(plane(), event);
    await remove(event);
    expect((await openEvent(plane(), event)).generation).toBe(3);
  });

  it.each([
    [{ stripes: 0 }, "stripes: given 0; allowed is a whole number from 1 to 256"],
    [{ stripes: 1.5 }, "stripes: given 1.5"],
    [{ lease: 65 }, "lease: given 65; allowed is a whole number from 1 to 64"],
    [{ batchSize: 0 }, "batchSize: given 0"],
  ])("fails for %o", async (options, message) => {
    await expect(openEvent(plane(), event, options)).rejects.toThrow(message);
  });

  it("fails for an event id that is none", async () => {
    await expect(openEvent(plane(), "evt#1")).rejects.toMatchObject({ code: "EVENT_ID_INVALID" });
  });
});

describe("changes", () => {
  it.each([
    ["pause", () => pauseEvent(plane(), event)],
    ["resume", () => resumeEvent(plane(), event)],
    ["drain", () => drainEvent(plane(), event)],
    ["bypass", () => setBypass(plane(), event, true)],
  ])("fails to %s an event that is unknown or not open", async (_, act) => {
    await expect(act()).rejects.toMatchObject({ code: "EVENT_UNKNOWN" });
    await openEvent(plane(), event);
    await closeEvent(plane(), event);
    await expect(act()).rejects.toMatchObject({ code: "NOT_ACTIVE" });
  });

  it("keep the ceiling over a new opening, and the rate not", async () => {
    await openEvent(plane(), event, { batchSize: 50 });
    await setCeiling(plane(), event, 20);
    await closeEvent(plane(), event);
    const opened = await openEvent(plane(), event);
    expect(opened.ceiling).toBe(20);
    expect(opened.batchSize).toBeUndefined();
  });

  it("stamp the time of the change", async () => {
    await openEvent(plane(), event);
    clock.pass(5_000);
    expect((await setRate(plane(), event, 7)).updatedAt).toBe(new Date(clock.now()).toISOString());
  });
});

describe("status", () => {
  it("tells exact numbers from the stripes, between two advances", async () => {
    await openEvent(plane(), event, { lease: 1, stripes: 1, batchSize: 2 });
    const room = new ApiEnvironment(tables, clock);
    for (let visitor = 0; visitor < 5; visitor += 1) {
      await room.assign(event, { requestId: requestIdOf(visitor) });
    }
    expect(await eventStatus(plane(), event, 500)).toMatchObject({
      handedOut: 5,
      waiting: 5,
      limit: 2,
      secondsToDrain: 25,
    });
    clock.pass(10_000);
    await advance(tables, clock, 500);
    expect(await eventStatus(plane(), event, 500)).toMatchObject({ servingCounter: 2, waiting: 3, secondsToDrain: 15 });
    await pauseEvent(plane(), event);
    expect(await eventStatus(plane(), event, 500)).toMatchObject({ limit: 0, secondsToDrain: null });
  });
});

describe("the list of active events", () => {
  it("names open events with their generation, and neither closed ones nor stripes", async () => {
    for (const { eventId } of await listEvents(plane())) {
      await closeEvent(plane(), eventId);
    }
    await openEvent(plane(), event);
    await openEvent(plane(), event, { again: true });
    const list = parseActiveEvents(await activeEventsDocument(plane()));
    expect([...list.events]).toEqual([[event, 2]]);
  });
});
