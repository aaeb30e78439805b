import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CloudWatchClient, SetAlarmStateCommand } from "@aws-sdk/client-cloudwatch";
import { DynamoDBClient, QueryCommand } from "@aws-sdk/client-dynamodb";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventStatus } from "../../../lambdas/shared/control";
import { signingKey } from "../../../lambdas/shared/secrets";
import { mintToken } from "../../../lambdas/shared/tokens";
import { readDeployment } from "../../../tools/local/deployment";
import { type LocalRun, startLocal } from "../../../tools/local/run";

let output: string;
let run: LocalRun;

beforeAll(async () => {
  output = mkdtempSync(join(tmpdir(), "urr-local-test-"));
  execFileSync("node", ["tools/app/index.mjs"], { env: { ...process.env, CDKTF_OUTDIR: output } });
  run = await startLocal({ stackDirectory: join(output, "stacks/prod"), maxEnvironments: 2, events: ["evt-1"] });
  await run.open("evt-1", { batchSize: 1, stripes: 1, lease: 1 });
});

afterAll(async () => {
  await run?.stop();
  rmSync(output, { recursive: true, force: true });
});

const api = (path: string, init?: RequestInit) => fetch(`${run.url}/vwr-api/vwr/${path}`, init);

describe("what is read from the synthesized production stack", () => {
  it("has the documented behaviours in order, the default one last", () => {
    const { behaviors } = run.deployment;
    expect(behaviors.map(({ pathPattern }) => pathPattern)).toEqual([
      "/api/*",
      "/_next/static/*",
      "/vwr/*",
      "/vwr-api/*",
      "*",
    ]);
    const [protectedApi, , page, waitingRoom, site] = behaviors;
    expect(protectedApi?.edgeFunction?.name).toBe("urr-prod-edge-queue-check");
    expect(page?.functionCode).toContain("/vwr/index.html");
    expect(page?.cache).toEqual({ minSeconds: 0, defaultSeconds: 300, maxSeconds: 300 });
    expect(waitingRoom).toMatchObject({ originId: "vwr-api", forwards: "all-but-host" });
    expect(site).toMatchObject({ originId: "alb", forwards: "all", allowedMethods: ["GET", "HEAD", "OPTIONS"] });
  });

  it("has the functions with their environment, timeouts and zips", () => {
    const [advancer, vwrApi] = ["urr-prod-vwr-counter-advancer", "urr-prod-vwr-api"].map((name) =>
      run.deployment.functions.find((one) => one.name === name),
    );
    expect(advancer).toMatchObject({ timeoutSeconds: 70, memoryMib: 128, environment: { BATCH_SIZE: "500" } });
    expect(vwrApi).toMatchObject({ timeoutSeconds: 10, memoryMib: 256, reservedConcurrency: 500 });
    expect(vwrApi?.environment).toMatchObject({
      COUNTERS_TABLE: "urr-prod-vwr-counters",
      POSITIONS_TABLE: "urr-prod-vwr-positions",
      TOKEN_SECRET_ID: "urr-prod/vwr-token-secret",
    });
    expect(existsSync(vwrApi?.zipFile ?? "")).toBe(true);
    expect(run.deployment.schedule).toEqual({ functionAddress: advancer?.address, everySeconds: 60 });
  });

  it("has the routes, each with OPTIONS, and the stage's throttle", () => {
    const { rateLimit, burstLimit, routes } = run.deployment.api;
    expect([rateLimit, burstLimit]).toEqual([5000, 10_000]);
    expect(routes.map(({ method, resourcePath }) => `${method} ${resourcePath}`).sort()).toEqual([
      "GET /vwr/check/{eventId}/{requestId}",
      "GET /vwr/status/{eventId}",
      "OPTIONS /vwr/assign/{eventId}",
      "OPTIONS /vwr/check/{eventId}/{requestId}",
      "OPTIONS /vwr/status/{eventId}",
      "POST /vwr/assign/{eventId}",
    ]);
  });

  it("has secrets of the length that is generated, resolved in their JSON", () => {
    const value = JSON.parse(run.deployment.secrets["urr-prod/vwr-token-secret"] ?? "{}") as { secret: string };
    expect(value.secret).toMatch(/^[A-Za-z0-9_-]{64}$/);
  });

  it("fails with what to do where nothing was synthesized", () => {
    expect(() => readDeployment(join(output, "nowhere"))).toThrow("npm run synth");
  });
});

describe("the edge", () => {
  it("serves the waiting page for every event, cached, with the security headers", async () => {
    const first = await fetch(`${run.url}/vwr/evt-1`);
    expect(first.status).toBe(200);
    expect(await first.text()).toContain("접속 대기 중");
    expect(first.headers.get("cache-control")).toBe("public, max-age=300");
    expect(first.headers.get("x-frame-options")).toBe("DENY");
    const second = await fetch(`${run.url}/vwr/another-event`);
    expect(second.headers.get("x-cache")).toBe("Hit from cloudfront");
  });

  it("refuses what is not in the bucket and what a behaviour does not allow", async () => {
    expect((await fetch(`${run.url}/vwr/missing.js`)).status).toBe(403);
    expect((await fetch(`${run.url}/`, { method: "POST" })).status).toBe(403);
  });

  it("sends who navigates without a token to the waiting page, and tells a script", async () => {
    const navigation = await navigate("/api/v1/seats/evt-1?x=1");
    expect(navigation.status).toBe(302);
    expect(navigation.location).toBe("/vwr/evt-1?returnTo=%2Fapi%2Fv1%2Fseats%2Fevt-1%3Fx%3D1");
    expect((await fetch(`${run.url}/api/v1/seats/evt-1`)).status).toBe(401);
    expect((await fetch(`${run.url}/api/v1/events`)).status).toBe(200);
  });

  it("runs both CloudFront functions as emitted, apart from this process", async () => {
    expect((await api("status/evt-1")).status).toBe(200);
    const { functionCode } = run.deployment.behaviors.find(({ pathPattern }) => pathPattern === "/vwr-api/*") ?? {};
    expect(functionCode).toContain("function handler(event)");
  });
});

describe("the API", () => {
  it("gives a place, and the same one to the same request", async () => {
    const body = JSON.stringify({ requestId: "request-0123456789" });
    const [first, second] = await Promise.all(
      [0, 1].map(async () => (await api("assign/evt-1", { method: "POST", body })).json()),
    );
    expect(second).toMatchObject({ position: first.position, requestId: "request-0123456789" });
  });

  it("is closed at its own address, and at the load balancer's", async () => {
    expect((await fetch(`${run.apiUrl}/vwr/status/evt-1`)).status).toBe(403);
    const loadBalancer = await fetch(`${run.loadBalancerUrl}/api/v1/events`);
    expect(loadBalancer.status).toBe(403);
  });

  it("answers an unknown route with the gateway's own response", async () => {
    const answer = await api("nothing/evt-1");
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ code: "not_found" });
    expect(answer.headers.get("cache-control")).toBe("no-store");
  });

  it.each([
    ["https://www.urr.guru", "https://www.urr.guru"],
    ["https://evil.example", "https://urr.guru"],
  ])("answers a preflight of %s with %s", async (origin, allowed) => {
    const answer = await api("assign/evt-1", { method: "OPTIONS", headers: { origin } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("access-control-allow-origin")).toBe(allowed);
    expect(answer.headers.get("access-control-allow-methods")).toBe("OPTIONS,POST");
  });

  it("reports its metrics", async () => {
    const before = run.metrics.get("Assigned") ?? 0;
    await api("assign/evt-1", { method: "POST", body: "{}" });
    await expect.poll(() => run.metrics.get("Assigned") ?? 0).toBeGreaterThan(before);
  });
});

describe("what a function may do", () => {
  const advancer = "urr-prod-vwr-counter-advancer";
  const clientOf = (accessKeyId: string) =>
    new DynamoDBClient({
      endpoint: run.awsUrl,
      region: run.deployment.region,
      credentials: { accessKeyId, secretAccessKey: "any" },
    });
  const query = (IndexName?: string) =>
    new QueryCommand({
      TableName: run.deployment.tables.positions.name,
      ...(IndexName && { IndexName }),
      KeyConditionExpression: "eventId = :event",
      ExpressionAttributeValues: { ":event": { S: "evt-1#00#g1" } },
    });

  it("is what its role in the stack allows, down to the index", async () => {
    expect((await clientOf(advancer).send(query())).Items).toEqual([]);
    await expect(clientOf(advancer).send(query("eventId-position-index"))).rejects.toThrow("not authorized");
    await expect(clientOf("urr-prod-vwr-api").send(query())).rejects.toThrow(
      "urr-prod-vwr-api is not authorized to perform: dynamodb:Query on resource: urr-prod-vwr-positions",
    );
    // The operator is no function.
    expect((await clientOf("local").send(query())).Items).toEqual([]);
  });

  it("does not include secrets of others", async () => {
    const secrets = new SecretsManagerClient({
      endpoint: run.awsUrl,
      region: run.deployment.region,
      credentials: { accessKeyId: advancer, secretAccessKey: "any" },
    });
    const SecretId = "urr-prod/vwr-token-secret";
    await expect(secrets.send(new GetSecretValueCommand({ SecretId }))).rejects.toThrow("not authorized");
  });
});

describe("time", () => {
  it.concurrent("lets in at the documented pace without anybody's doing", async ({ expect }) => {
    await run.open("evt-pace", { batchSize: 1, stripes: 1, lease: 1 });
    const places = await Promise.all(
      [1, 2].map(async () => (await api("assign/evt-pace", { method: "POST", body: "{}" })).json()),
    );
    const first = places.find(({ position }) => position === 1);
    const check = async () => (await api(`check/evt-pace/${first.requestId}`)).json();
    await expect.poll(async () => (await check()).admitted, { timeout: 40_000, interval: 500 }).toBe(true);
  });

  it.concurrent("lets in half as many while an alarm of the booking API is on, and gives the rate back afterwards", async ({
    expect,
  }) => {
    const event = "evt-busy";
    await run.open(event, { batchSize: 8, stripes: 1, lease: 1 });
    await Promise.all(Array.from({ length: 60 }, () => api(`assign/${event}`, { method: "POST", body: "{}" })));
    const cloudwatch = new CloudWatchClient({
      endpoint: run.awsUrl,
      region: run.deployment.region,
      credentials: { accessKeyId: "local", secretAccessKey: "local" },
    });
    const set = (StateValue: "ALARM" | "OK") =>
      cloudwatch.send(
        new SetAlarmStateCommand({ AlarmName: "urr-prod-vwr-booking-slow", StateValue, StateReason: "drill" }),
      );
    const status = () => eventStatus(run.plane, event, 500);
    await set("ALARM");
    await expect.poll(async () => (await status()).limit, { timeout: 40_000, interval: 500 }).toBe(4);
    await set("OK");
    await expect.poll(async () => (await status()).limit, { timeout: 40_000, interval: 500 }).toBeGreaterThan(4);
  });

  it.concurrent("takes tokens of a rotated secret without a restart, and those of the one before", async ({
    expect,
  }) => {
    const [name = ""] = Object.keys(run.deployment.secrets).filter((one) => one.endsWith("/vwr-token-secret"));
    const keyOf = () => {
      const version = run.secrets.get(name, "AWSCURRENT");
      return signingKey(version?.id ?? "", (JSON.parse(version?.value ?? "{}") as { secret: string }).secret);
    };
    const requestId = "visitor-0123456789abcdef";
    const admittedAt = Math.floor(Date.now() / 1000);
    const claims = { eventId: "evt-1", generation: 1, subject: requestId, requestId, admittedAt };
    const before = await mintToken(claims, keyOf());
    run.secrets.put(name, JSON.stringify({ secret: "n".repeat(64) }));
    const after = await mintToken(claims, keyOf());
    // Without a tier-2 token 403 is all there is to get; 401 would be the refusal of this one.
    const ask = async (token: string) =>
      (await fetch(`${run.url}/api/v1/seats/evt-1`, { headers: { cookie: `urr-vwr-token=${token}` } })).status;
    await expect.poll(() => ask(after), { timeout: 40_000, interval: 500 }).toBe(403);
    expect(await ask(before)).toBe(403);
    expect(await ask(`${after.slice(0, -6)}AAAAAA`)).toBe(401);
  });
});

it("counts units and the hottest item on the database's wire", async () => {
  await run.usage(true);
  await api("assign/evt-1", { method: "POST", body: "{}" });
  const usage = await run.usage();
  // A place of a stripe, and the visitor's row; the index takes none.
  expect(usage?.writeUnits).toBeGreaterThanOrEqual(2);
  expect(usage?.hottestItem).toMatch(/^urr-prod-vwr-(counters|positions) evt-/);
});

it("stops without leaving anything behind", async () => {
  const folders = () => readdirSync(tmpdir()).filter((name) => /^urr-local-[^-]+$/.test(name));
  const before = new Set(folders());
  const own = await startLocal({ stackDirectory: join(output, "stacks/prod"), maxEnvironments: 1 });
  const made = folders().filter((name) => !before.has(name));
  expect(made.length).toBeGreaterThan(0);
  await own.stop();
  expect(folders().filter((name) => made.includes(name))).toEqual([]);
  await expect(fetch(own.url)).rejects.toThrow();
});

it("ends within seconds of Ctrl+C, though the advancer is at work for a minute", async () => {
  const child = spawn(
    process.execPath,
    ["--import", "tsx", "tools/local/index.ts", "--stack", join(output, "stacks/prod"), "--crowd", "3", "--json"],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const { eventUrl } = JSON.parse(line.toString()) as { eventUrl: string };
  expect((await fetch(eventUrl)).status).toBe(200);
  const askedAt = performance.now();
  child.kill("SIGINT");
  expect(await once(child, "exit")).toEqual([0, null]);
  expect(performance.now() - askedAt).toBeLessThan(20_000);
  await expect(fetch(eventUrl)).rejects.toThrow();
});

/** As a browser's address bar asks; fetch would call itself a script. */
function navigate(path: string): Promise<{ status: number | undefined; location: string | undefined }> {
  const headers = { accept: "text/html", "sec-fetch-mode": "navigate" };
  return new Promise((resolve, reject) => {
    get(`${run.url.replace("localhost", "127.0.0.1")}${path}`, { headers, agent: false }, (answer) => {
      answer.resume();
      resolve({ status: answer.statusCode, location: answer.headers.location });
    }).on("error", reject);
  });
}
