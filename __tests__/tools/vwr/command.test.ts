import type { Server } from "node:http";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import dynalite from "dynalite";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { prod } from "../../../environments/prod";
import { eventStatus } from "../../../lambdas/shared/control";
import { ACTIVE_EVENTS_KEY as PUBLISHED_BY_THE_STACK } from "../../../stacks/prod";
import { createAwsEndpoint, ObjectStore, SecretStore } from "../../../tools/local/aws";
import { portOf, serve, stopServer } from "../../../tools/local/http";
import { Permissions } from "../../../tools/local/permissions";
import { runCommand, type Terminal } from "../../../tools/vwr/command";
import { ACTIVE_EVENTS_KEY } from "../../../tools/vwr/target";
import { createTables, listen } from "../../lambdas/support/tables";

const COUNTERS = "urr-prod-vwr-counters";
const BUCKET = "urr-prod-frontend-prod";

let database: Server;
let aws: Server;
let client: DynamoDBClient;
let endpoint: string;
const objects = new ObjectStore();

beforeAll(async () => {
  database = dynalite({ createTableMs: 0 });
  const dynamodbPort = await listen(database);
  aws = await serve(
    createAwsEndpoint({
      objects,
      secrets: new SecretStore(),
      alarms: new Map(),
      permissions: new Permissions(new Set(), []),
      dynamodbPort,
    }),
  );
  endpoint = `http://127.0.0.1:${portOf(aws)}`;
  client = new DynamoDBClient({
    endpoint,
    region: "ap-northeast-2",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  await createTables(client, COUNTERS, "urr-prod-vwr-positions");
  await createTables(client, "urr-staging-vwr-counters", "urr-staging-vwr-positions");
});

afterAll(async () => {
  client.destroy();
  await stopServer(aws);
  database.closeAllConnections();
  await new Promise<void>((resolve) => database.close(() => resolve()));
});

let events = 0;
let event: string;

beforeEach(() => {
  events += 1;
  event = `evt-${events}`;
});

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly error: string;
  readonly questions: readonly string[];
}

/** Runs a command line against the local endpoint in prod, answering what it asks. */
async function vwr(
  line: string,
  { answer, ...terminal }: Partial<Terminal> & { answer?: string } = {},
): Promise<Outcome> {
  let out = "";
  let error = "";
  const questions: string[] = [];
  const args = line.split(" ");
  const code = await runCommand(
    [...args, ...(args.includes("--env") ? [] : ["--env", "prod"]), "--endpoint", endpoint],
    {
      out: (text) => {
        out += text;
      },
      error: (text) => {
        error += text;
      },
      interactive: answer !== undefined,
      ask: async (question) => {
        questions.push(question);
        return answer ?? "";
      },
      env: {},
      now: Date.now,
      sleep: async () => undefined,
      stopped: () => false,
      ...terminal,
    },
  );
  return { code, out, error, questions };
}

const statusOf = (id: string) => eventStatus({ client, countersTable: COUNTERS }, id, 500);
const published = () => JSON.parse(objects.get(BUCKET, ACTIVE_EVENTS_KEY)?.body.toString() ?? "{}");

describe("opening an event", () => {
  it("starts a generation with the given rate and tells the edge", async () => {
    const { code, out } = await vwr(`open ${event} --rate 200 --stripes 16 --lease 2 --yes --json`);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      eventId: event,
      generation: 1,
      state: "open",
      limit: 200,
      stripes: 16,
      lease: 2,
    });
    expect(published().events[event]).toEqual({ generation: 1 });
  });

  it.each([
    -300_000, 300_000,
  ])("counts ticks by AWS's clock where the operator's is off by %i ms, also on resuming", async (ms) => {
    const now = () => Date.now() + ms;
    for (const line of [`open ${event} --yes`, `pause ${event}`, `resume ${event} --yes`]) {
      expect((await vwr(line, { now })).code).toBe(0);
      expect(Math.abs((await statusOf(event)).tick - Date.now() / 10_000)).toBeLessThan(2);
    }
  });

  it("takes visitors before the opening, who draw lots when it has come", async () => {
    const { code, out } = await vwr(
      `open ${event} --opens-at ${new Date(Date.now() + 3_600_000).toISOString().slice(0, 19)}Z --yes`,
    );
    expect(code).toBe(0);
    expect(out).toContain("before the opening");
    expect(out).toMatch(/opens in\s+(60 min|1 h)/);
    expect((await statusOf(event)).opensIn).toBeGreaterThan(3_500);
  });

  it.each([
    ["a time that is past", "2020-01-01T00:00:00Z", 4],
    ["a time more than twelve hours away", "2999-01-01T00:00:00Z", 4],
    ["a time without its offset", "2026-05-01T20:00:00", 2],
  ])("fails for %s", async (_, time, code) => {
    const result = await vwr(`open ${event} --opens-at ${time} --yes`);
    expect(result.code).toBe(code);
    expect(result.error).toMatch(/opens-?at/i);
  });

  it("asks for the event's id in production and goes on when it is typed", async () => {
    const { code, questions } = await vwr(`open ${event}`, { answer: event });
    expect(code).toBe(0);
    expect(questions[0]).toContain(`open ${event} in prod`);
    expect((await statusOf(event)).isActive).toBe(true);
  });

  it.each(["y", "yes", "evt-0", ""])("fails with 3 and changes nothing when %j is typed instead", async (answer) => {
    expect((await vwr(`open ${event}`, { answer })).code).toBe(3);
    await expect(statusOf(event)).rejects.toThrow("never opened");
  });

  it("asks for a plain yes in staging, and publishes nothing there", async () => {
    const before = published();
    expect((await vwr(`open ${event} --env staging`, { answer: "yes" })).code).toBe(0);
    expect(published()).toEqual(before);
  });

  it("fails with 3 where nobody is there to confirm", async () => {
    const { code, error } = await vwr(`open ${event}`);
    expect(code).toBe(3);
    expect(error).toContain("--yes");
  });

  it("fails with 4 on an open event, and with --again voids its places", async () => {
    await vwr(`open ${event} --yes`);
    const refused = await vwr(`open ${event} --yes`);
    expect(refused.code).toBe(4);
    expect(refused.error).toContain("--again");
    expect((await vwr(`open ${event} --again --yes`)).code).toBe(0);
    expect((await statusOf(event)).generation).toBe(2);
    expect(published().events[event]).toEqual({ generation: 2 });
  });
});

describe("changing an event", () => {
  beforeEach(async () => {
    await vwr(`open ${event} --rate 100 --yes`);
  });

  it("pauses without asking and resumes after asking", async () => {
    expect(await vwr(`pause ${event}`)).toMatchObject({ code: 0, questions: [] });
    expect((await statusOf(event)).paused).toBe(true);
    expect((await vwr(`resume ${event}`)).code).toBe(3);
    expect((await vwr(`resume ${event}`, { answer: event })).code).toBe(0);
    expect((await statusOf(event)).paused).toBe(false);
  });

  it("asks before it raises the rate, not before it lowers it", async () => {
    expect(await vwr(`rate ${event} 50`)).toMatchObject({ code: 0, questions: [] });
    expect((await vwr(`rate ${event} 400`)).code).toBe(3);
    expect((await statusOf(event)).limit).toBe(50);
  });

  it("holds the rate under a ceiling until that is taken off", async () => {
    await vwr(`ceiling ${event} 30`);
    expect((await statusOf(event)).limit).toBe(30);
    await vwr(`ceiling ${event} none --yes`);
    expect((await statusOf(event)).limit).toBe(100);
  });

  it("halves the rate when the booking API is saturated", async () => {
    expect((await vwr(`saturated ${event}`)).code).toBe(0);
    expect((await statusOf(event)).limit).toBe(50);
  });

  it("bypasses the line after asking, and goes back to it without", async () => {
    expect((await vwr(`bypass ${event} on`)).code).toBe(3);
    const on = await vwr(`bypass ${event} on`, { answer: event });
    expect(on.questions[0]).toContain("EMERGENCY");
    expect((await statusOf(event)).bypass).toBe(true);
    expect(await vwr(`bypass ${event} off`)).toMatchObject({ code: 0, questions: [] });
    expect((await statusOf(event)).bypass).toBe(false);
  });

  it("drains after asking", async () => {
    expect((await vwr(`drain ${event}`)).code).toBe(3);
    expect((await vwr(`drain ${event} --yes`)).code).toBe(0);
    expect((await statusOf(event)).draining).toBe(true);
  });

  it("closes after asking and takes the event off the edge's list", async () => {
    expect((await vwr(`close ${event}`, { answer: "no" })).code).toBe(3);
    expect(published().events).toHaveProperty(event);
    expect((await vwr(`close ${event}`, { answer: event })).code).toBe(0);
    expect(published().events).not.toHaveProperty(event);
  });

  it.each([
    "open EVENT --again",
    "close EVENT",
    "rate EVENT 7",
    "bypass EVENT on",
    "pause EVENT",
  ])("says what %s would do with --dry-run, and does nothing", async (line) => {
    const before = await statusOf(event);
    const list = published();
    const { code, out } = await vwr(`${line.replace("EVENT", event)} --dry-run`);
    expect(code).toBe(0);
    expect(out).toContain("Would");
    expect(await statusOf(event)).toEqual(before);
    expect(published()).toEqual(list);
  });

  it.each([
    "pause",
    "drain",
    "bypass EVENT on",
    "saturated",
  ])("fails with 4 when %s meets a closed event", async (line) => {
    await vwr(`close ${event} --yes`);
    const words = line.includes("EVENT") ? line.replace("EVENT", event) : `${line} ${event}`;
    const { code, error } = await vwr(`${words} --yes`);
    expect(code).toBe(4);
    expect(error).toContain("not open");
  });
});

describe("looking", () => {
  it("prints the numbers of an event", async () => {
    await vwr(`open ${event} --yes`);
    const { out } = await vwr(`status ${event}`);
    expect(out).toMatch(/state +open/);
    expect(out).toMatch(/limit +500 per 10 s/);
  });

  it("fails with 4 on an event that was never opened", async () => {
    expect(await vwr(`status ${event}`)).toMatchObject({ code: 4, out: "" });
  });

  it("prints one line per look while it watches, until it is stopped", async () => {
    await vwr(`open ${event} --yes`);
    let looks = 0;
    const { out } = await vwr(`status ${event} --watch`, {
      stopped: () => {
        looks += 1;
        return looks >= 3;
      },
    });
    expect(out.trim().split("\n")).toHaveLength(3);
    expect(out).toContain("0/0 in · 0 waiting");
  });

  it("redraws one line on a terminal", async () => {
    await vwr(`open ${event} --yes`);
    const { out } = await vwr(`status ${event} --watch`, { answer: "", stopped: () => true });
    expect(out.startsWith("\r\u001b[2K")).toBe(true);
  });

  it("stops watching and tells the edge when a drained event has closed itself", async () => {
    await vwr(`open ${event} --yes`);
    const plane = { client, countersTable: COUNTERS };
    const { closeEvent } = await import("../../../lambdas/shared/control");
    await closeEvent(plane, event);
    expect(published().events).toHaveProperty(event);
    expect((await vwr(`status ${event} --watch`)).code).toBe(0);
    expect(published().events).not.toHaveProperty(event);
  });

  it("colours for a terminal, and not where NO_COLOR is set or nobody looks", async () => {
    await vwr(`open ${event} --yes`);
    const colour = "\u001b[";
    expect((await vwr(`status ${event}`, { answer: "" })).out).toContain(colour);
    expect((await vwr(`status ${event}`, { answer: "", env: { NO_COLOR: "1" } })).out).not.toContain(colour);
    expect((await vwr(`status ${event}`)).out).not.toContain(colour);
  });

  it("lists every event as JSON", async () => {
    await vwr(`open ${event} --yes`);
    const { events: all } = JSON.parse((await vwr("status --json")).out);
    expect(all.map(({ eventId }: { eventId: string }) => eventId)).toContain(event);
  });

  it("finds too small what a crowd of a million in ten seconds meets, and fails with 5", async () => {
    await vwr(`open ${event} --yes`);
    const { code, out } = await vwr(`preflight ${event} --visitors 1000000 --arrival-seconds 10 --json`);
    expect(code).toBe(5);
    const { findings, unread } = JSON.parse(out);
    const levels = Object.fromEntries(
      findings.map(({ check, level }: { check: string; level: string }) => [check, level]),
    );
    expect(levels["counter stripes of the event"]).toBe("too-small");
    expect(levels["throttle of the API's stage"]).toBe("too-small");
    expect(levels["API Gateway quota of the account"]).toBe("unknown");
    expect(unread.join()).toContain("stands in for AWS");
  });

  it("finds nothing too small for two thousand visitors in ten seconds", async () => {
    await vwr(`open ${event} --yes`);
    expect((await vwr(`preflight ${event} --visitors 2000 --arrival-seconds 10`)).code).toBe(0);
  });
});

describe("a command line that cannot be understood", () => {
  it("fails with 2 and names everything that is wrong", async () => {
    const { code, error } = await vwr("rate evt-1 many --env dev --rate 0 --interval x");
    expect(code).toBe(2);
    for (const part of [
      "rate: given many",
      "--env: given dev; allowed: prod, staging",
      "--rate: given 0",
      "--interval: given x",
    ]) {
      expect(error).toContain(part);
    }
  });

  it.each([
    ["launch evt-1", "given launch"],
    ["pause", "needs the id"],
    ["pause evt-1 now", "now cannot be placed"],
    ["bypass evt-1 maybe", "on or off"],
    ["status --bogus", "--bogus"],
  ])("fails with 2: %s", async (line, part) => {
    const { code, error } = await vwr(line);
    expect(code).toBe(2);
    expect(error).toContain(part);
  });

  it("fails with 4 on an id that cannot be one", async () => {
    expect(await vwr("pause evt#1 --yes")).toMatchObject({ code: 4 });
  });

  it("fails with 1 and a remedy where nothing answers", async () => {
    let error = "";
    const code = await runCommand(["status", "evt-1", "--env", "prod", "--endpoint", "http://127.0.0.1:9"], {
      out: () => undefined,
      error: (text) => {
        error += text;
      },
      interactive: false,
      ask: async () => "",
      env: {},
      now: Date.now,
      sleep: async () => undefined,
      stopped: () => true,
    });
    expect(code).toBe(1);
    expect(error).toContain("http://127.0.0.1:9 answered");
  });
});

describe("names", () => {
  it("are those that the production stack gives", () => {
    expect(ACTIVE_EVENTS_KEY).toBe(PUBLISHED_BY_THE_STACK);
    expect(`${prod.prefix}-vwr-counters`).toBe(COUNTERS);
  });
});
