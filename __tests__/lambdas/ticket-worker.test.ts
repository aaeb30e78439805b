import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { SQSRecord } from "aws-lambda";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentTelemetry, type Telemetry } from "../../lambdas/shared/telemetry";
import { createHandler } from "../../lambdas/ticket-worker/handler";
import { collect, listen, stop } from "./support/tables";

interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Record<string, unknown>;
}

let service: Server;
let url: string;
let received: Received[];
/** Status to answer, "break" to cut the connection, "hang" to never answer. */
let respond: (
  body: Record<string, unknown>,
  attempt: number,
  headers: IncomingHttpHeaders,
) => number | "break" | "hang";

beforeEach(async () => {
  received = [];
  respond = () => 200;
  const attempts = new Map<string, number>();
  service = createServer(async (request, response) => {
    const body = JSON.parse(await collect(request));
    const key = JSON.stringify(body);
    attempts.set(key, (attempts.get(key) ?? 0) + 1);
    received.push({ path: request.url ?? "", headers: request.headers, body });
    const answer = respond(body, attempts.get(key) ?? 1, request.headers);
    if (answer === "break") {
      request.socket.destroy();
    } else if (answer !== "hang") {
      response.writeHead(answer).end("{}");
    }
  });
  url = `http://127.0.0.1:${await listen(service)}`;
});

afterEach(async () => {
  service.closeAllConnections();
  await stop(service);
});

function record(number: number, group: string, body: unknown = ticket(number)): SQSRecord {
  return {
    messageId: `m${number}`,
    receiptHandle: "",
    body: typeof body === "string" ? body : JSON.stringify(body),
    attributes: {
      ApproximateReceiveCount: "1",
      SentTimestamp: "0",
      SenderId: "",
      ApproximateFirstReceiveTimestamp: "0",
      MessageGroupId: group,
      MessageDeduplicationId: `dedup-${number}`,
    },
    messageAttributes: {},
    md5OfBody: "",
    eventSource: "aws:sqs",
    eventSourceARN: "",
    awsRegion: "ap-northeast-2",
  };
}

const ticket = (seat: number, action = "seat_reserve") => ({ action, eventId: "evt-1", seat });
const tenOf = (group: string) => Array.from({ length: 10 }, (_, index) => record(index + 1, group));

async function process(
  records: SQSRecord[],
  options: {
    remainingMs?: () => number;
    callTimeoutMs?: number;
    telemetry?: Telemetry;
    internalApiToken?: (refused?: string) => Promise<string>;
  } = {},
) {
  const handler = createHandler({
    ticketServiceUrl: url,
    internalApiToken: options.internalApiToken ?? (async () => "internal-token"),
    telemetry: options.telemetry ?? silentTelemetry,
    sleep: async () => undefined,
    ...(options.callTimeoutMs === undefined ? {} : { callTimeoutMs: options.callTimeoutMs }),
  });
  const context = { getRemainingTimeInMillis: options.remainingMs ?? (() => 30_000) };
  const { batchItemFailures } = await handler({ Records: records }, context);
  return batchItemFailures.map(({ itemIdentifier }) => itemIdentifier);
}

describe("delivery", () => {
  it.each([
    ["seat_reserve", "/internal/seats/reserve"],
    ["reservation_create", "/internal/reservations"],
    ["admitted", "/internal/queue/admitted"],
  ])("hands %s to ticket-service with the internal token and the deduplication id", async (action, path) => {
    expect(await process([record(1, "g", ticket(7, action))])).toEqual([]);
    expect(received).toHaveLength(1);
    expect(received[0]).toMatchObject({ path, body: { eventId: "evt-1", seat: 7 } });
    expect(received[0]?.headers).toMatchObject({
      authorization: "Bearer internal-token",
      "idempotency-key": "dedup-1",
    });
  });

  it("keeps the order of a group", async () => {
    await process(tenOf("g"));
    expect(received.map(({ body }) => body.seat)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it("repeats a call that was refused for load with the same deduplication id, once", async () => {
    respond = (_, attempt) => (attempt === 1 ? 503 : 200);
    expect(await process([record(1, "g")])).toEqual([]);
    expect(received.map(({ headers }) => headers["idempotency-key"])).toEqual(["dedup-1", "dedup-1"]);
  });

  it("takes a conflict for done: an earlier delivery had succeeded", async () => {
    respond = () => 409;
    expect(await process([record(1, "g")])).toEqual([]);
  });
});

describe("partial failure", () => {
  it("returns the third to the tenth of a group whose third fails, unprocessed, and finishes other groups", async () => {
    respond = (body) => (body.seat === 3 && body.eventId === "evt-1" ? 400 : 200);
    const others = [11, 12].map((number) => record(number, "other", { ...ticket(number), eventId: "evt-2" }));
    expect(await process([...tenOf("g").slice(0, 8), ...others])).toEqual(["m3", "m4", "m5", "m6", "m7", "m8"]);
    const seats = received.map(({ body }) => body.seat);
    expect(seats.filter((seat) => Number(seat) < 11)).toEqual([1, 2, 3]);
    expect(seats).toEqual(expect.arrayContaining([11, 12]));
  });

  it.each([
    ["an unknown action", { action: "seat_steal", eventId: "evt-1" }],
    ["an action of Object.prototype", { action: "constructor", eventId: "evt-1" }],
    ["no action", { eventId: "evt-1" }],
    ["no event", { action: "admitted" }],
    ["an array", []],
    ["null", "null"],
    ["malformed JSON", "{"],
    ["an empty body", ""],
  ])("fails for a message with %s instead of acknowledging it", async (_, body) => {
    expect(await process([record(1, "a", body), record(2, "b")])).toEqual(["m1"]);
    expect(received).toHaveLength(1);
  });

  it.each([400, 403, 404, 500])("fails at once when ticket-service answers %i", async (status) => {
    respond = () => status;
    expect(await process([record(1, "g")])).toEqual(["m1"]);
    expect(received).toHaveLength(1);
  });

  it.each([
    [429, 2],
    [503, 2],
    [502, 0],
    [500, 0],
  ])("reports ticket-service as busy for every %i, which the waiting room's rate follows (%i times)", async (status, times) => {
    respond = () => status;
    const counted: string[] = [];
    await process([record(1, "g")], { telemetry: { ...silentTelemetry, count: (metric) => counted.push(metric) } });
    expect(counted.filter((metric) => metric === "TicketServiceBusy")).toHaveLength(times);
  });

  it.each([429, 502, 503])("fails after a second try when ticket-service answers %i", async (status) => {
    respond = () => status;
    expect(await process([record(1, "g")])).toEqual(["m1"]);
    expect(received).toHaveLength(2);
  });

  it("fails after a second try when the connection breaks", async () => {
    respond = () => "break";
    expect(await process([record(1, "g")])).toEqual(["m1"]);
    expect(received).toHaveLength(2);
  });

  it("takes a rotated token at once when ticket-service refuses the old one, and fails after a second refusal", async () => {
    respond = (_, __, { authorization }) => (authorization === "Bearer new" ? 200 : 401);
    const rotated = { internalApiToken: async (refused?: string) => (refused === "old" ? "new" : "old") };
    expect(await process([record(1, "g")], rotated)).toEqual([]);
    expect(await process([record(2, "g")])).toEqual(["m2"]);
    expect(received.map(({ headers }) => headers.authorization)).toEqual([
      "Bearer old",
      "Bearer new",
      "Bearer internal-token",
      "Bearer internal-token",
    ]);
  });

  it.each([
    ["a body that is no JSON", "kim@example.com"],
    ["an overlong action", { action: `${"x".repeat(100)}kim@example.com`, eventId: "evt-1" }],
  ])("logs nothing personal of %s", async (_, body) => {
    const logged: string[] = [];
    const error = (message: string, cause: unknown) => logged.push(message, String(cause));
    expect(await process([record(1, "g", body)], { telemetry: { ...silentTelemetry, error } })).toEqual(["m1"]);
    expect(logged.join()).toMatch(/Body must be JSON|Unknown action/);
    expect(logged.join()).not.toMatch(/kim|example/);
  });

  it("fails for a redirect: the internal token goes nowhere else", async () => {
    respond = () => 307;
    expect(await process([record(1, "g")])).toEqual(["m1"]);
  });
});

describe("time", () => {
  it("gives up a call that hangs and returns the rest, well before the function's timeout", async () => {
    respond = (body) => (body.seat === 2 ? "hang" : 200);
    expect(await process(tenOf("g"), { callTimeoutMs: 300 })).toHaveLength(9);
    expect(received.map(({ body }) => body.seat)).toEqual([1, 2]);
  });

  it("starts no call that the timeout would cut off, and returns what it did not start", async () => {
    let remaining = 6_000;
    const failures = await process(tenOf("g"), {
      remainingMs: () => {
        remaining -= 500;
        return remaining;
      },
    });
    expect(failures.length).toBeGreaterThan(0);
    expect(received.length).toBe(10 - failures.length);
    expect(remaining).toBeGreaterThan(1_000);
  });
});
