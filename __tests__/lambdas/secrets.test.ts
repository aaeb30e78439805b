import { createServer, type Server } from "node:http";
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { s3Object } from "../../lambdas/edge-queue-check/published-list";
import { publishActiveEvents } from "../../lambdas/shared/control";
import { KeyRing, secretField, secretsManagerKeys, signingKey } from "../../lambdas/shared/secrets";
import { signTicket, verifyTicket } from "../../lambdas/shared/tickets";
import { mintToken, verifyTier1 } from "../../lambdas/shared/tokens";
import { collect, listen, stop } from "./support/tables";

const SECRETS = ["first", "second", "third"].map((name) => `${name}-secret-`.repeat(5));

let server: Server;
let secrets: SecretsManagerClient;
let s3: S3Client;
/** Versions in order of age; the last is current. */
let versions: { id: string; value: string }[];
let failing: string | undefined;
let reads: number;
const objects = new Map<string, string>();

beforeEach(async () => {
  versions = [{ id: "v1", value: JSON.stringify({ secret: SECRETS[0] }) }];
  failing = undefined;
  reads = 0;
  server = createServer(async (request, response) => {
    const body = await collect(request);
    if (request.headers["x-amz-target"] === undefined) {
      if (request.method === "PUT") {
        objects.set(request.url?.split("?")[0] ?? "", body);
      }
      response.end(request.method === "GET" ? objects.get(request.url?.split("?")[0] ?? "") : "");
      return;
    }
    reads += 1;
    const stage = (JSON.parse(body) as { VersionStage: string }).VersionStage;
    const version = versions.at(stage === "AWSCURRENT" ? -1 : -2);
    if (failing !== undefined || version === undefined) {
      response.writeHead(400, { "content-type": "application/x-amz-json-1.1" });
      response.end(JSON.stringify({ __type: failing ?? "ResourceNotFoundException", message: "injected" }));
      return;
    }
    response.writeHead(200, { "content-type": "application/x-amz-json-1.1" });
    response.end(JSON.stringify({ VersionId: version.id, SecretString: version.value }));
  });
  const endpoint = `http://127.0.0.1:${await listen(server)}`;
  const options = {
    endpoint,
    region: "ap-northeast-2",
    credentials: { accessKeyId: "t", secretAccessKey: "t" },
    maxAttempts: 1,
  };
  secrets = new SecretsManagerClient(options);
  s3 = new S3Client({ ...options, forcePathStyle: true });
});

afterEach(async () => {
  secrets.destroy();
  s3.destroy();
  server.closeAllConnections();
  await stop(server);
});

const rotate = () => {
  const next = versions.length;
  versions.push({ id: `v${next + 1}`, value: JSON.stringify({ secret: SECRETS[next] }) });
};

describe("token secret", () => {
  it("signs with the current version and names it as kid, and verifies with the previous one too", async () => {
    const load = secretsManagerKeys(secrets, "urr-prod/vwr-token-secret");
    expect((await load()).map(({ kid }) => kid)).toEqual(["v1"]);
    rotate();
    expect((await load()).map(({ kid }) => kid)).toEqual(["v2", "v1"]);
    rotate();
    expect((await load()).map(({ kid }) => kid)).toEqual(["v3", "v2"]);
  });

  it("picks up a rotation when it meets a key id that it does not know, but not at every stranger's call", async () => {
    let now = 100_000;
    const ring = new KeyRing(secretsManagerKeys(secrets, "s"), { monotonic: () => now });
    await ring.all();
    rotate();
    now += 20_000;
    expect((await ring.find("v2"))?.kid).toBe("v2");
    const before = reads;
    for (let call = 0; call < 50; call += 1) {
      expect(await ring.find(`forged-${call}`)).toBeUndefined();
    }
    expect(reads).toBe(before);
  });

  it("reads the secret again after five minutes, and no sooner", async () => {
    let now = 0;
    const ring = new KeyRing(secretsManagerKeys(secrets, "s"), { monotonic: () => now });
    await ring.all();
    now = 299_000;
    await ring.all();
    expect(reads).toBe(2);
    now = 301_000;
    await ring.all();
    expect(reads).toBe(4);
  });

  it("fails while the store is down at a cold start, and tries again with the next call", async () => {
    failing = "InternalServiceError";
    const ring = new KeyRing(secretsManagerKeys(secrets, "s"));
    await expect(ring.all()).rejects.toThrow("cannot be read");
    failing = undefined;
    expect(await ring.all()).toHaveLength(1);
  });

  it("keeps its copy for an hour while the store is down later, and not for longer", async () => {
    let now = 0;
    const ring = new KeyRing(secretsManagerKeys(secrets, "s"), { monotonic: () => now });
    await ring.all();
    failing = "ThrottlingException";
    now = 3_599_000;
    expect(await ring.all()).toHaveLength(1);
    now = 3_601_000;
    await expect(ring.all()).rejects.toThrow("cannot be read");
  });

  it("does not drop the previous key because reading it failed", async () => {
    rotate();
    const client = {
      send: async (command: { input: { VersionStage?: string } }) => {
        if (command.input.VersionStage === "AWSPREVIOUS") {
          throw Object.assign(new Error("slow down"), { name: "ThrottlingException" });
        }
        return { VersionId: "v2", SecretString: JSON.stringify({ secret: SECRETS[1] }) };
      },
    };
    await expect(secretsManagerKeys(client as never, "s")()).rejects.toThrow("slow down");
  });

  it("forgets a retired key with the next read: its tokens and tickets are void", async () => {
    let now = 0;
    const ring = new KeyRing(secretsManagerKeys(secrets, "s"), { monotonic: () => now });
    const [key] = await ring.all();
    const ticket = { eventId: "evt-1", generation: 1, place: 1, early: false, requestId: "r".repeat(16), issuedAt: 0 };
    const signed = signTicket(ticket, key);
    const admittedAt = Math.floor(Date.now() / 1000);
    const token = await mintToken({ eventId: "evt-1", generation: 1, subject: "u", requestId: "r", admittedAt }, key);
    rotate();
    now += 301_000;
    expect([await verifyTicket(signed, ring), (await verifyTier1(token, ring)).ok]).toEqual([ticket, true]);
    rotate();
    now += 301_000;
    expect([await verifyTicket(signed, ring), (await verifyTier1(token, ring)).ok]).toEqual([undefined, false]);
  });

  it.each([
    undefined,
    "",
    "plain text",
    "null",
    "[]",
    '{"secret":5}',
    '{"key":"x"}',
  ])("fails for a value that is %j without quoting it", (value) => {
    expect(() => secretField(value)).toThrow('Secret value must be a JSON object {"secret": "..."}');
  });

  it("fails for a secret shorter than the hash", () => {
    expect(() => signingKey("v1", "x".repeat(31))).toThrow("at least 32 bytes, got 31");
  });
});

describe("tickets", () => {
  it("fail when any character is changed", async () => {
    const key = signingKey("v1", SECRETS[0] as string);
    const ring = new KeyRing(async () => [key]);
    const signed = signTicket(
      { eventId: "evt-1", generation: 1, place: 9, early: false, requestId: "r".repeat(16), issuedAt: 0 },
      key,
    );
    for (let at = 0; at < signed.length - 1; at += 1) {
      const other = signed[at] === "A" ? "B" : "A";
      expect(await verifyTicket(signed.slice(0, at) + other + signed.slice(at + 1), ring)).toBeUndefined();
    }
  });
});

describe("list of active events", () => {
  it("is published as one object and read back by the edge", async () => {
    await publishActiveEvents(s3, { bucket: "urr-prod-frontend-prod", key: "edge/active-events.json" }, "the list");
    expect(await s3Object(s3, "urr-prod-frontend-prod", "edge/active-events.json")()).toBe("the list");
    await expect(
      s3.send(new GetObjectCommand({ Bucket: "urr-prod-frontend-prod", Key: "edge/active-events.json" })),
    ).resolves.toBeDefined();
  });
});
