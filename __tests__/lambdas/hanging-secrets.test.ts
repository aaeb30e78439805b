import { createServer, type Server } from "node:http";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { bool, n, s } from "../../lambdas/shared/schema";
import { collect, listen, stop } from "./support/tables";

/*
 * The functions as Lambda starts them, with their own clients, while Secrets Manager takes connections and never answers.
 */

const CLOSED_EVENT = {
  eventId: s("evt-1"),
  generation: n(1),
  isActive: bool(false),
  servingCounter: n(0),
  stripes: n(8),
  tick: n(0),
};

let server: Server;

beforeEach(async () => {
  server = createServer(async (request, response) => {
    await collect(request);
    if (String(request.headers["x-amz-target"]).startsWith("DynamoDB_")) {
      response.writeHead(200, { "content-type": "application/x-amz-json-1.0" });
      response.end(JSON.stringify({ Item: CLOSED_EVENT }));
    }
  });
  const endpoint = `http://127.0.0.1:${await listen(server)}`;
  const variables = {
    AWS_ENDPOINT_URL: endpoint,
    AWS_REGION: "ap-northeast-2",
    AWS_ACCESS_KEY_ID: "t",
    AWS_SECRET_ACCESS_KEY: "t",
    COUNTERS_TABLE: "counters",
    POSITIONS_TABLE: "positions",
    TOKEN_SECRET_ID: "tier-1",
    INTERNAL_API_TOKEN_SECRET_ID: "internal",
    TICKET_SERVICE_URL: endpoint,
    POWERTOOLS_DEV: "true",
    POWERTOOLS_LOG_LEVEL: "SILENT",
    POWERTOOLS_METRICS_DISABLED: "true",
    POWERTOOLS_TRACE_ENABLED: "false",
  };
  for (const [name, value] of Object.entries(variables)) {
    vi.stubEnv(name, value);
  }
});

afterEach(async () => {
  vi.unstubAllEnvs();
  server.closeAllConnections();
  await stop(server);
});

it("vwr-api answers 503 with Retry-After before its ten seconds are over", async () => {
  const { handler } = await import("../../lambdas/vwr-api/index");
  const startedAt = performance.now();
  const answer = await handler({
    httpMethod: "POST",
    resource: "/vwr/assign/{eventId}",
    pathParameters: { eventId: "evt-1" },
    headers: {},
    body: "{}",
    isBase64Encoded: false,
  });
  expect(answer).toMatchObject({ statusCode: 503, headers: { "retry-after": expect.stringMatching(/^\d$/) } });
  expect(performance.now() - startedAt).toBeLessThan(8_000);
}, 20_000);

it("the ticket worker returns its messages before its timeout", async () => {
  const { handler } = await import("../../lambdas/ticket-worker/index");
  const records = [1, 2].map((number) => ({
    messageId: `m${number}`,
    body: JSON.stringify({ action: "admitted", eventId: "evt-1" }),
    attributes: { MessageGroupId: "g", MessageDeduplicationId: `d${number}` },
  }));
  const { batchItemFailures } = await handler(
    { Records: records as never },
    { getRemainingTimeInMillis: () => 30_000 },
  );
  expect(batchItemFailures).toEqual([{ itemIdentifier: "m1" }, { itemIdentifier: "m2" }]);
}, 20_000);
