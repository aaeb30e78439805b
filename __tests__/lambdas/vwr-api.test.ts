import { DeleteItemCommand, GetItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { decodeJwt, decodeProtectedHeader } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { closeEvent, openEvent, pauseEvent, setBypass } from "../../lambdas/shared/control";
import { rowKey, stripeKey } from "../../lambdas/shared/schema";
import { KeyRing, signingKey } from "../../lambdas/shared/secrets";
import { signTicket } from "../../lambdas/shared/tickets";
import { startTables, type Tables } from "./support/tables";
import {
  ApiEnvironment,
  advance,
  Clock,
  freshEvent,
  planeOf,
  requestIdOf,
  ringOf,
  TIER1_KEY,
} from "./support/waiting-room";

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

/** Without leases unless a test asks for them: positions then follow the order of requests exactly. */
const open = (options = {}) => openEvent(planeOf(tables, clock), event, { lease: 1, ...options });
const environment = (options = {}) => new ApiEnvironment(tables, clock, options);
const storedRow = async (requestId: string) => {
  const key = { eventId: { S: rowKey(event, requestId) }, requestId: { S: requestId } };
  return (await tables.client.send(new GetItemCommand({ TableName: tables.positionsTable, Key: key }))).Item;
};

describe("assign", () => {
  it("answers the documented fields, with a ticket instead of a token while the visitor waits", async () => {
    await open();
    const { status, body, headers } = await environment().assign(event);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      position: 1,
      servingCounter: 0,
      ahead: 1,
      totalInQueue: 1,
      estimatedWait: 1,
      nextPoll: 2,
      admitted: false,
      token: null,
    });
    expect(body.requestId).toMatch(/^[A-Za-z0-9-]{36}$/);
    expect(body.ticket).toBeTypeOf("string");
    expect(headers["cache-control"]).toBe("no-store");
  });

  it("gives the same position to the same request however often, from whichever environment", async () => {
    await open();
    const requestId = requestIdOf(1);
    const first = await environment().assign(event, { requestId });
    const again = await Promise.all(
      [environment(), environment(), environment()].map((e) => e.assign(event, { requestId })),
    );
    expect(again.map(({ body }) => body.position)).toEqual([1, 1, 1].map(() => first.body.position));
  });

  it("uses the position that a repeated request did not need for the next visitor", async () => {
    await open({ stripes: 1 });
    const one = environment();
    await one.assign(event, { requestId: requestIdOf(1) });
    await one.assign(event, { requestId: requestIdOf(1) });
    const next = await one.assign(event, { requestId: requestIdOf(2) });
    expect(next.body.position).toBe(2);
  });

  it("stores rows without the index's sort key, for 24 hours", async () => {
    await open();
    await environment().assign(event, { requestId: requestIdOf(1), userId: "user-7" });
    const row = await storedRow(requestIdOf(1));
    expect(row?.position).toBeUndefined();
    expect(row?.identity?.S).toBe("user-7");
    expect(Number(row?.ttl?.N)).toBe(clock.now() / 1000 + 86_400);
  });

  const leaseSizes = () =>
    tables.calls
      .filter(({ operation }) => operation === "UpdateItem")
      .flatMap(({ body }) => (body.ExpressionAttributeValues as Record<string, { N: string }>)[":size"]?.N ?? []);

  async function placesOf(stripe: number): Promise<number> {
    const Key = { eventId: { S: stripeKey(event, stripe) } };
    const { Item } = await tables.client.send(new GetItemCommand({ TableName: tables.countersTable, Key }));
    return Number(Item?.nextPosition?.N);
  }

  async function takenElsewhere(places: number, stripe = 0): Promise<void> {
    await tables.client.send(
      new UpdateItemCommand({
        TableName: tables.countersTable,
        Key: { eventId: { S: stripeKey(event, stripe) } },
        UpdateExpression: "ADD nextPosition :places",
        ExpressionAttributeValues: { ":places": { N: String(places) } },
      }),
    );
  }

  it("takes several places at once in the rush of an opening", async () => {
    await open({ stripes: 1, lease: 4 });
    const one = environment();
    tables.forget();
    for (let visitor = 1; visitor <= 9; visitor += 1) {
      await one.assign(event, { requestId: requestIdOf(visitor) });
      await takenElsewhere(10);
      clock.pass(20);
    }
    expect(leaseSizes()).toEqual(["4", "4", "4"]);
  });

  it("takes no more at once for an environment that serves one call after the other, however fast", async () => {
    await open({ stripes: 1, lease: 4 });
    const one = environment();
    tables.forget();
    for (let visitor = 1; visitor <= 9; visitor += 1) {
      await one.assign(event, { requestId: requestIdOf(visitor) });
      await takenElsewhere(10);
      clock.pass(5);
    }
    expect(leaseSizes()).toEqual(["4", "4", "4"]);
  });

  it("takes more at once where calls come faster than one environment serves one after the other", async () => {
    await open({ stripes: 1, lease: 4 });
    const one = environment();
    tables.forget();
    const requests = Array.from({ length: 40 }, (_, visitor) => one.assign(event, { requestId: requestIdOf(visitor) }));
    const positions = (await Promise.all(requests)).map(({ body }) => Number(body.position));
    expect(leaseSizes()).toEqual(["32", "8"]);
    expect(positions.sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
  });

  it("takes one place for each visitor while the stripes are far from their limit, and several once they are not", async () => {
    await open({ stripes: 1, lease: 4 });
    await environment().assign(event);
    clock.pass(10_000);
    await advance(tables, clock, 500);
    const one = environment();
    tables.forget();
    for (let visitor = 0; visitor < 4; visitor += 1) {
      await one.assign(event);
      clock.pass(100);
    }
    // Other environments take thousands within a second.
    await takenElsewhere(10_000);
    clock.pass(900);
    await one.assign(event);
    clock.pass(100);
    await one.assign(event);
    expect(leaseSizes()).toEqual(["1", "1", "1", "1", "1", "4"]);
  });

  it("takes equally many places from every stripe, whatever the sizes of its leases", async () => {
    await open({ stripes: 3, lease: 4 });
    const one = environment();
    for (let visitor = 0; visitor < 90; visitor += 1) {
      await one.assign(event);
      // Leases of four in quick succession, of fewer in between.
      clock.pass(visitor % 7 < 4 ? 20 : 400);
    }
    const counts = await Promise.all([0, 1, 2].map((stripe) => placesOf(stripe)));
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(4);
    expect(new Set(leaseSizes()).size).toBeGreaterThan(1);
  });

  it("writes down the places of a lease that grew old, and gives the next visitor a place behind later arrivals", async () => {
    await open({ stripes: 1, lease: 4 });
    const busy = environment();
    await busy.assign(event);
    await busy.assign(event);
    clock.pass(800);
    const late = await busy.assign(event);
    expect(late.body.position).toBe(5);
    const reclaimed = tables.calls.filter(({ operation }) => operation === "PutItem").map(({ body }) => body.Item);
    expect(reclaimed).toContainEqual(expect.objectContaining({ place: { N: "3" }, count: { N: "2" } }));
  });

  it("lets in at once, with a token, while the event is not active", async () => {
    await open();
    await closeEvent(planeOf(tables, clock), event);
    const { body } = await environment().assign(event, { userId: "user-7" });
    expect(body).toMatchObject({ admitted: true, position: 0, estimatedWait: 0 });
    expect(decodeJwt(body.token ?? "")).toMatchObject({ sub: "user-7", eventId: event, gen: 1, tier: 1 });
  });

  it("lets in at once while the emergency bypass is on", async () => {
    await open();
    await setBypass(planeOf(tables, clock), event, true);
    expect((await environment().assign(event)).body.admitted).toBe(true);
  });

  it("still gives places while paused, and promises no time", async () => {
    await open();
    await pauseEvent(planeOf(tables, clock), event);
    const { body } = await environment().assign(event);
    expect(body).toMatchObject({ admitted: false, paused: true, estimatedWait: null, nextPoll: 15 });
  });

  it("fails for an event that was never opened, and for one whose counters item was deleted", async () => {
    expect(await environment().assign("never-opened")).toMatchObject({ status: 404, body: { code: "EVENT_UNKNOWN" } });
    await open();
    const one = environment();
    const { body } = await one.assign(event);
    await tables.client.send(
      new DeleteItemCommand({ TableName: tables.countersTable, Key: { eventId: { S: event } } }),
    );
    clock.pass(1_500);
    expect(await one.assign(event)).toMatchObject({ status: 404, body: { code: "EVENT_UNKNOWN" } });
    expect(await one.check(event, body.requestId, body.ticket)).toMatchObject({ status: 404 });
  });

  it("fails for everybody when the counters item is damaged", async () => {
    await open();
    await tables.client.send(
      new UpdateItemCommand({
        TableName: tables.countersTable,
        Key: { eventId: { S: event } },
        UpdateExpression: "SET servingCounter = :bad",
        ExpressionAttributeValues: { ":bad": { S: "NaN" } },
      }),
    );
    expect((await environment().assign(event)).status).toBe(404);
  });
});

describe("input limits", () => {
  it("takes upper case for the same event", async () => {
    await open();
    const one = environment();
    await one.assign(event);
    expect((await one.assign(event.toUpperCase())).body.position).toBe(2);
  });

  it.each([
    ["4 KB", "a".repeat(4096)],
    ["a stripe's key", "evt-1#00"],
    ["empty", ""],
    ["a path", "../evt-1"],
    ["not ASCII", "공연"],
  ])("fails for an event id that is %s", async (_, id) => {
    expect(await environment().assign(id)).toMatchObject({ status: 400, body: { code: "EVENT_ID_INVALID" } });
  });

  it.each([
    ["malformed JSON", '{"requestId":', 400, "BODY_INVALID"],
    ["an array", "[]", 400, "BODY_INVALID"],
    ["a number", "7", 400, "BODY_INVALID"],
    ["a short request id", '{"requestId":"abc"}', 400, "REQUEST_ID_INVALID"],
    ["a request id that is an object", '{"requestId":{"S":"x"}}', 400, "REQUEST_ID_INVALID"],
    ["a user id of 300 KB", JSON.stringify({ userId: "u".repeat(300_000) }), 413, "BODY_TOO_LARGE"],
    ["a user id of 129 characters", JSON.stringify({ userId: "u".repeat(129) }), 400, "USER_ID_INVALID"],
    ["a user id with a line break", JSON.stringify({ userId: "a\nb" }), 400, "USER_ID_INVALID"],
  ])("fails for a body that is %s", async (_, text, status, code) => {
    await open();
    const reply = await environment().send("POST", "/vwr/assign/{eventId}", { eventId: event }, {}, text);
    expect(reply).toMatchObject({ status, body: { code } });
  });

  it.each([
    ["null", null, false],
    ["the JSON null", "null", false],
    ["empty", "", false],
    ["base64", Buffer.from('{"userId":"user-7"}').toString("base64"), true],
  ])("takes a body that is %s", async (_, text, isBase64) => {
    await open();
    const reply = await environment().send("POST", "/vwr/assign/{eventId}", { eventId: event }, {}, text, isBase64);
    expect(reply.status).toBe(200);
  });

  it("fails for a wrong method and an unknown route", async () => {
    await open();
    const one = environment();
    expect((await one.send("GET", "/vwr/assign/{eventId}", { eventId: event }, {}, null)).status).toBe(404);
    expect((await one.send("GET", "/vwr/reset/{eventId}", { eventId: event }, {}, null)).status).toBe(404);
  });

  it("names the origin in CORS headers only if it is configured", async () => {
    await open();
    const one = environment();
    const own = await one.assign(event, {}, { Origin: "https://urr.guru" });
    const other = await one.assign(event, {}, { Origin: "https://evil.example" });
    expect(own.headers["access-control-allow-origin"]).toBe("https://urr.guru");
    expect(other.headers["access-control-allow-origin"]).toBeUndefined();
    expect(other.headers.vary).toBe("Origin");
  });
});

describe("check", () => {
  it("reads the counters once a second and no row at all, however many visitors poll", async () => {
    await open();
    const one = environment();
    const visitors = await Promise.all([1, 2, 3].map((id) => one.assign(event, { requestId: requestIdOf(id) })));
    clock.pass(2_000);
    tables.forget();
    for (let poll = 0; poll < 100; poll += 1) {
      const { body } = visitors[poll % 3] as (typeof visitors)[number];
      await one.check(event, body.requestId, body.ticket);
      clock.pass(10);
    }
    const reads = tables.calls.filter(({ operation }) => operation === "GetItem");
    expect(reads).toHaveLength(1);
    expect(reads[0]?.body.TableName).toBe(tables.countersTable);
  });

  it("lets in whose turn it is, with a token for the identity given at assign", async () => {
    await open({ stripes: 1 });
    const one = environment();
    const first = await one.assign(event, { requestId: requestIdOf(1), userId: "user-7" });
    const second = await one.assign(event, { requestId: requestIdOf(2) });
    clock.pass(10_000);
    await advance(tables, clock, 1);
    const admitted = await one.check(event, requestIdOf(1), first.body.ticket);
    const waiting = await one.check(event, requestIdOf(2), second.body.ticket);
    expect(waiting.body).toMatchObject({ admitted: false, servingCounter: 1, ahead: 1, token: null });
    expect(admitted.body).toMatchObject({ admitted: true, ahead: 0, ticket: null, tokenExpiresIn: 600 });
    const token = admitted.body.token ?? "";
    expect(decodeProtectedHeader(token)).toEqual({ alg: "HS256", typ: "JWT", kid: TIER1_KEY.kid });
    const now = clock.now() / 1000;
    expect(decodeJwt(token)).toEqual({
      iss: "urr-vwr-api",
      aud: "urr-vwr",
      sub: "user-7",
      jti: requestIdOf(1),
      eventId: event,
      gen: 1,
      tier: 1,
      iat: now,
      exp: now + 600,
    });
  });

  it("gives the same token again after a crash between admission and answer", async () => {
    await open({ stripes: 1 });
    const { body } = await environment().assign(event, { requestId: requestIdOf(1) });
    clock.pass(10_000);
    await advance(tables, clock, 10);
    const first = await environment().check(event, body.requestId, body.ticket);
    clock.pass(30_000);
    const second = await environment().check(event, body.requestId, body.ticket);
    expect(second.body.token).toBe(first.body.token);
    expect(second.body.tokenExpiresIn).toBe(570);
  });

  it("fails for a shared or replayed ticket once the admission has expired, at the very second", async () => {
    await open({ stripes: 1 });
    const { body } = await environment().assign(event, { requestId: requestIdOf(1) });
    clock.pass(10_000);
    await advance(tables, clock, 10);
    await environment().check(event, body.requestId, body.ticket);
    clock.pass(599_000);
    expect((await environment().check(event, body.requestId, body.ticket)).body.tokenExpiresIn).toBe(1);
    clock.pass(1_000);
    const late = await environment().check(event, body.requestId, body.ticket);
    expect(late).toMatchObject({ status: 410, body: { code: "ADMISSION_EXPIRED" } });
  });

  it("finds the place without a ticket and gives a new one", async () => {
    await open();
    await environment().assign(event, { requestId: requestIdOf(1) });
    const { body } = await environment().check(event, requestIdOf(1));
    expect(body).toMatchObject({ position: 1, admitted: false });
    expect((await environment().check(event, requestIdOf(1), body.ticket)).status).toBe(200);
  });

  it("fails for a request that never got a place", async () => {
    await open();
    expect(await environment().check(event, requestIdOf(9))).toMatchObject({
      status: 404,
      body: { code: "REQUEST_UNKNOWN" },
    });
  });

  it("ignores an identity in the request: the one bound at assign stays", async () => {
    await open({ stripes: 1 });
    const one = environment();
    const { body } = await one.assign(event, { requestId: requestIdOf(1), userId: "user-7" });
    const thief = await one.assign(event, { requestId: requestIdOf(1), userId: "user-8" });
    expect(thief).toMatchObject({ status: 409, body: { code: "IDENTITY_MISMATCH" } });
    clock.pass(10_000);
    await advance(tables, clock, 1);
    const admitted = await one.check(event, requestIdOf(1), body.ticket);
    expect(decodeJwt(admitted.body.token ?? "").sub).toBe("user-7");
  });

  it.each([
    ["another event", { eventId: "another" }, 403],
    ["another request", { requestId: requestIdOf(5) }, 403],
    ["an older generation", { generation: 0 }, 410],
    ["a generation yet to come", { generation: 9 }, 410],
    ["position 0", { place: 0 }, 401],
    ["a negative position", { place: -1 }, 401],
    ["a position that is not a number", { place: Number.NaN }, 401],
    ["position 2^53", { place: 2 ** 53 }, 401],
  ])("fails for a ticket with %s", async (_, change, status) => {
    await open();
    const ticket = {
      eventId: event,
      generation: 1,
      place: 1,
      early: false,
      requestId: requestIdOf(1),
      issuedAt: 0,
      ...change,
    };
    const reply = await environment().check(event, requestIdOf(1), signTicket(ticket, TIER1_KEY));
    expect(reply.status).toBe(status);
    expect(reply.body.token).toBeUndefined();
  });

  it("does not let in a position beyond what was handed out", async () => {
    await open();
    const one = environment();
    await one.assign(event);
    clock.pass(10_000);
    await advance(tables, clock, 500);
    const beyond = { eventId: event, generation: 1, place: 400, early: false, requestId: requestIdOf(1), issuedAt: 0 };
    clock.pass(2_000);
    const reply = await one.check(event, requestIdOf(1), signTicket(beyond, TIER1_KEY));
    expect(reply.body).toMatchObject({ admitted: false, token: null });
  });

  it("lets in nobody on a signed ticket for a place that the table does not hold", async () => {
    await open({ stripes: 1 });
    const one = environment();
    await one.assign(event);
    clock.pass(10_000);
    await advance(tables, clock, 500);
    const forged = { eventId: event, generation: 1, place: 1, early: false, requestId: requestIdOf(77), issuedAt: 0 };
    const reply = await environment().check(event, requestIdOf(77), signTicket(forged, TIER1_KEY));
    expect(reply).toMatchObject({ status: 410, body: { code: "PLACE_GONE" } });
  });

  it.each([
    ["malformed base64", "###.###"],
    ["no signature", "abc"],
    ["oversized", `${"a".repeat(5000)}.${"b".repeat(5000)}`],
    ["JSON that is no list", `${Buffer.from('{"k":1}').toString("base64url")}.AAAA`],
  ])("fails for a ticket that is %s", async (_, ticket) => {
    await open();
    expect((await environment().check(event, requestIdOf(1), ticket)).status).toBe(401);
  });

  it("fails for a ticket signed with a token key or a retired key", async () => {
    await open();
    const ticket = { eventId: event, generation: 1, place: 1, early: false, requestId: requestIdOf(1), issuedAt: 0 };
    const withTokenKey = signTicket(ticket, { ...TIER1_KEY, ticketKey: TIER1_KEY.secret });
    const withRetired = signTicket(ticket, signingKey("tier1-v0", "retired-secret-retired-secret-retired"));
    expect((await environment().check(event, requestIdOf(1), withTokenKey)).status).toBe(401);
    expect((await environment().check(event, requestIdOf(1), withRetired)).status).toBe(401);
  });

  it("knows a ticket signed before a rotation", async () => {
    await open();
    const before = await environment().assign(event, { requestId: requestIdOf(1) });
    const rotated = ringOf(signingKey("tier1-v2", "another-secret-another-secret-another"), TIER1_KEY);
    expect((await environment({ keys: rotated }).check(event, requestIdOf(1), before.body.ticket)).status).toBe(200);
  });

  it("lets in those who wait when the event is closed", async () => {
    await open();
    const one = environment();
    const { body } = await one.assign(event, { userId: "user-7" });
    await closeEvent(planeOf(tables, clock), event);
    clock.pass(1_500);
    const reply = await one.check(event, body.requestId, body.ticket);
    expect(decodeJwt(reply.body.token ?? "").sub).toBe("user-7");
  });

  it("voids tickets when the event is opened again, within the second that an environment remembers", async () => {
    await open();
    const one = environment();
    const { body } = await one.assign(event);
    await open({ again: true });
    clock.pass(1_100);
    expect(await one.check(event, body.requestId, body.ticket)).toMatchObject({
      status: 410,
      body: { code: "TICKET_VOID" },
    });
    const anew = await one.assign(event, { requestId: body.requestId });
    expect(anew.body).toMatchObject({ admitted: false });
    expect((await one.check(event, body.requestId, anew.body.ticket)).status).toBe(200);
  });

  it("does not mix generations when it is opened again during a lease", async () => {
    await open({ stripes: 1 });
    const one = environment();
    await one.assign(event);
    await one.assign(event);
    await open({ again: true, stripes: 1 });
    const other = await environment().assign(event, { requestId: requestIdOf(1) });
    clock.pass(1_100);
    const own = await one.assign(event, { requestId: requestIdOf(2) });
    expect([other.body.position, own.body.position].sort()).toEqual([1, 2]);
  });
});

describe("leaving", () => {
  it("frees the place for the advancer and voids it for the visitor", async () => {
    await open({ stripes: 1 });
    const one = environment();
    const visitors = [];
    for (const id of [1, 2, 3]) {
      visitors.push(await one.assign(event, { requestId: requestIdOf(id) }));
    }
    const ticket = visitors[0]?.body.ticket ?? "";
    const left = await one.assign(event, { requestId: requestIdOf(1), leave: true }, { "x-vwr-ticket": ticket });
    expect(left).toMatchObject({ status: 200, body: { left: true } });
    clock.pass(10_000);
    await advance(tables, clock, 1);
    expect((await one.check(event, requestIdOf(2), visitors[1]?.body.ticket)).body.admitted).toBe(true);
    expect((await one.check(event, requestIdOf(3), visitors[2]?.body.ticket)).body.admitted).toBe(false);
    expect(await one.check(event, requestIdOf(1), ticket)).toMatchObject({ status: 410 });
    expect(await one.assign(event, { requestId: requestIdOf(1) })).toMatchObject({
      status: 410,
      body: { code: "PLACE_LEFT" },
    });
  });

  it("fails with another visitor's ticket", async () => {
    await open();
    const one = environment();
    const { body } = await one.assign(event, { requestId: requestIdOf(1) });
    await one.assign(event, { requestId: requestIdOf(2) });
    const reply = await one.assign(
      event,
      { requestId: requestIdOf(2), leave: true },
      { "x-vwr-ticket": body.ticket ?? "" },
    );
    expect(reply.status).toBe(403);
  });
});

describe("status", () => {
  it("says that nobody waits for an event without a queue, and what the queue is where there is one", async () => {
    expect((await environment().status("never-opened")).body).toMatchObject({ isActive: false, totalInQueue: 0 });
    await open({ batchSize: 1, stripes: 1 });
    const one = environment();
    for (const id of [1, 2, 3]) {
      await one.assign(event, { requestId: requestIdOf(id) });
    }
    clock.pass(10_000);
    await advance(tables, clock, 500);
    const { body } = await environment().status(event);
    expect(body).toMatchObject({ isActive: true, servingCounter: 1, nextPosition: 3, totalInQueue: 2 });
  });
});

describe("estimated wait", () => {
  it("is the documented 37 seconds for 1,841 people ahead at 500 per ten seconds", async () => {
    await open({ stripes: 1 });
    const one = environment();
    await tables.client.send(
      new UpdateItemCommand({
        TableName: tables.countersTable,
        Key: { eventId: { S: event } },
        UpdateExpression: "SET servingCounter = :serving, nextPosition = :next",
        ExpressionAttributeValues: { ":serving": { N: "500" }, ":next": { N: "3000" } },
      }),
    );
    const ticket = { eventId: event, generation: 1, place: 2341, early: false, requestId: requestIdOf(1), issuedAt: 0 };
    const { body } = await one.check(event, requestIdOf(1), signTicket(ticket, TIER1_KEY));
    expect(body).toMatchObject({ position: 2341, ahead: 1841, estimatedWait: 37, nextPoll: 5 });
  });

  it.each([
    [1, 2],
    [500, 2],
    [501, 5],
    [3_000, 5],
    [3_001, 10],
    [9_000, 10],
    [9_001, 15],
  ])("asks a visitor with %i ahead to poll again in %i s", async (ahead, nextPoll) => {
    await open();
    const ticket = {
      eventId: event,
      generation: 1,
      place: ahead,
      early: false,
      requestId: requestIdOf(1),
      issuedAt: 0,
    };
    const { body } = await environment().check(event, requestIdOf(1), signTicket(ticket, TIER1_KEY));
    expect(body).toMatchObject({ ahead, nextPoll });
  });
});

describe("failing DynamoDB", () => {
  it.each([
    "throttle",
    "error-500",
    "lost-before",
  ] as const)("answers 503 with a jittered Retry-After when the counters cannot be read: %s", async (kind) => {
    await open();
    tables.fail("GetItem", kind, { times: 9 });
    const early = await environment({ random: () => 0 }).assign(event);
    expect(early).toMatchObject({ status: 503, body: { code: "UNAVAILABLE" }, headers: { "retry-after": "2" } });
    tables.forget();
    tables.fail("GetItem", kind, { times: 9 });
    const late = await environment({ random: () => 0.999 }).assign(event);
    expect(late.headers["retry-after"]).toBe("8");
  });

  it("goes on with a counters item of at most ten seconds while reads fail", async () => {
    await open();
    const one = environment();
    const { body } = await one.assign(event);
    tables.fail("GetItem", "throttle", { times: 99 });
    clock.pass(9_000);
    expect((await one.check(event, body.requestId, body.ticket)).status).toBe(200);
    clock.pass(1_500);
    expect((await one.check(event, body.requestId, body.ticket)).status).toBe(503);
  });

  it("turns to another stripe when one is throttled, and gives up with 503 after three", async () => {
    await open();
    tables.fail("UpdateItem", "throttle", { times: 1 });
    expect((await environment().assign(event)).body.position).toBe(2);
    tables.fail("UpdateItem", "throttle", { times: 3 });
    expect((await environment().assign(event)).status).toBe(503);
  });

  it("never gives a place twice when the answer of a lease is lost after it was committed", async () => {
    await open({ stripes: 1 });
    tables.fail("UpdateItem", "lost-after");
    const first = await environment().assign(event);
    const second = await environment().assign(event);
    expect([first.body.position, second.body.position]).toEqual([2, 3]);
  });

  it("keeps the place when the answer of the row's write is lost after it was committed", async () => {
    await open({ stripes: 1 });
    const one = environment();
    tables.fail("PutItem", "lost-after");
    const first = await one.assign(event, { requestId: requestIdOf(1) });
    const second = await one.assign(event, { requestId: requestIdOf(2) });
    expect(first).toMatchObject({ status: 200, body: { position: 1 } });
    expect(second.body.position).toBe(2);
  });

  it("loses no visitor after a crash between counter and row: the same request gets a place later", async () => {
    await open({ stripes: 1 });
    const one = environment();
    tables.fail("PutItem", "throttle", { times: 3 });
    expect((await one.assign(event, { requestId: requestIdOf(1) })).status).toBe(503);
    const retried = await one.assign(event, { requestId: requestIdOf(1) });
    expect(retried).toMatchObject({ status: 200, body: { admitted: false } });
    expect((await storedRow(requestIdOf(1)))?.place?.N).toBe(String(retried.body.position));
  });

  it.each(["throttle", "lost-after"] as const)("admits once when the admission's write meets: %s", async (kind) => {
    await open({ stripes: 1 });
    const { body } = await environment().assign(event, { requestId: requestIdOf(1) });
    clock.pass(10_000);
    await advance(tables, clock, 10);
    tables.forget();
    tables.fail("UpdateItem", kind, { times: 3 });
    expect((await environment().check(event, requestIdOf(1), body.ticket)).status).toBe(503);
    const admitted = await environment().check(event, requestIdOf(1), body.ticket);
    expect(admitted.body.admitted).toBe(true);
    expect(Number((await storedRow(requestIdOf(1)))?.admittedAt?.N)).toBe(clock.now() / 1000);
  });

  it("keeps places that could not be reclaimed for the next request", async () => {
    await open({ stripes: 1, lease: 4 });
    const one = environment();
    await one.assign(event);
    const { body } = await one.assign(event);
    clock.pass(800);
    tables.fail("PutItem", "throttle", { matching: "reclaimed-" });
    expect((await one.check(event, body.requestId, body.ticket)).status).toBe(200);
    tables.calls.length = 0;
    await one.check(event, body.requestId, body.ticket);
    expect(JSON.stringify(tables.calls)).toContain("reclaimed-0000000000000003");
  });
});

describe("clocks", () => {
  it.each([
    -300_000, 300_000,
  ])("lets in exactly whose turn it is on a machine whose clock is off by %i ms", async (skewMs) => {
    await open({ stripes: 1 });
    const one = environment({ skewMs });
    const first = await one.assign(event, { requestId: requestIdOf(1) });
    const second = await one.assign(event, { requestId: requestIdOf(2) });
    clock.pass(10_000);
    await advance(tables, clock, 1);
    expect((await one.check(event, requestIdOf(1), first.body.ticket)).body.admitted).toBe(true);
    expect((await one.check(event, requestIdOf(2), second.body.ticket)).body.admitted).toBe(false);
  });

  it("does not keep a stale counter longer when the wall clock jumps back", async () => {
    await open({ stripes: 1 });
    const one = environment();
    const { body } = await one.assign(event);
    clock.pass(10_000);
    await advance(tables, clock, 10);
    clock.wallMs -= 3_600_000;
    clock.monotonicMs += 1_001;
    expect((await one.check(event, body.requestId, body.ticket)).body.admitted).toBe(true);
  });
});

describe("secret store", () => {
  it("answers 503 while no key was ever read, and goes on with a copy of at most an hour", async () => {
    await open();
    let down = true;
    const keys = new KeyRing(
      async () => {
        if (down) {
          throw new Error("store down");
        }
        return [TIER1_KEY];
      },
      { monotonic: clock.monotonic },
    );
    const one = environment({ keys });
    expect(await one.assign(event, { requestId: requestIdOf(1) })).toMatchObject({ status: 503 });
    down = false;
    const { body } = await one.assign(event, { requestId: requestIdOf(1) });
    down = true;
    clock.pass(3_500_000);
    expect((await one.check(event, body.requestId, body.ticket)).status).toBe(200);
    clock.pass(200_000);
    expect((await one.check(event, body.requestId, body.ticket)).status).toBe(503);
  });
});
