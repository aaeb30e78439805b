import { APIGatewayClient, GetApiKeysCommand, GetRestApisCommand } from "@aws-sdk/client-api-gateway";
import { CloudFrontClient, GetFunctionCommand } from "@aws-sdk/client-cloudfront";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import {
  GetEventSourceMappingCommand,
  InvokeCommand,
  LambdaClient,
  ListEventSourceMappingsCommand,
  UpdateEventSourceMappingCommand,
} from "@aws-sdk/client-lambda";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import {
  ChangeMessageVisibilityCommand,
  GetQueueUrlCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import { describe, expect } from "vitest";
import { openEvent } from "../../lambdas/shared/control";
import { clientSettings, stageUrl } from "../../tools/cloud/inventory";
import type { Cloud } from "../../tools/cloud/simulators";
import { type BookingApi, eventually } from "./world";

interface World {
  readonly cloud: Cloud;
  readonly booking: BookingApi;
}

type Step = (name: string, run: () => Promise<void>) => void;

/** Uses what is deployed: the functions run, the queue delivers, the edge's code is fetched and executed. */
export function describeInUse(world: () => World, step: Step): void {
  describe("the deployed waiting room", () => {
    step("gives places over HTTP in staging and lets visitors in on the advancer's schedule", async () => {
      const { cloud } = world();
      const api = await apiOf(cloud, "urr-staging");
      await openEvent(
        { client: new DynamoDBClient(clientSettings(cloud)), countersTable: "urr-staging-vwr-counters" },
        "evt-1",
        { again: true },
      );
      const response = await fetch(`${api}/vwr/assign/evt-1`, { method: "POST", body: "{}" });
      expect(response.status).toBe(200);
      expect(response.headers.get("cache-control")).toBe("no-store");
      const place = (await response.json()) as {
        requestId: string;
        position: number;
        admitted: boolean;
        ticket: string;
      };
      expect(place).toMatchObject({ position: expect.any(Number), admitted: false, ticket: expect.any(String) });
      expect(place.position).toBeGreaterThan(0);

      const admitted = await eventually(
        "the schedule to let the visitor in",
        async () => {
          const check = await fetch(`${api}/vwr/check/evt-1/${place.requestId}`, {
            headers: { "x-vwr-ticket": place.ticket },
          });
          const answer = (await check.json()) as { admitted: boolean; token: string | null };
          return answer.admitted ? answer : undefined;
        },
        180,
      );
      expect(admitted.token).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
      const status = (await (await fetch(`${api}/vwr/status/evt-1`)).json()) as { servingCounter: number };
      expect(status.servingCounter).toBeGreaterThanOrEqual(place.position);
    });

    step("answers in prod to whom CloudFront's key is known, and to nobody else", async () => {
      const { cloud } = world();
      const api = await apiOf(cloud, "urr-prod");
      const { SecretString } = await new SecretsManagerClient(clientSettings(cloud)).send(
        new GetSecretValueCommand({ SecretId: "urr-prod/origin-header" }),
      );
      const key = (JSON.parse(SecretString ?? "{}") as { secret: string }).secret;
      const { items = [] } = await new APIGatewayClient(clientSettings(cloud)).send(
        new GetApiKeysCommand({ includeValues: true }),
      );
      expect(items.map(({ value }) => value)).toEqual([key]);
      expect((await fetch(`${api}/vwr/status/evt-1`)).status).toBe(403);
      expect((await fetch(`${api}/vwr/status/evt-1`, { headers: { "x-api-key": key } })).status).toBe(200);
    });

    step("answers a browser's preflight with the environment's origin", async () => {
      const api = await apiOf(world().cloud, "urr-staging");
      const response = await fetch(`${api}/vwr/assign/evt-1`, {
        method: "OPTIONS",
        headers: { origin: "https://staging.urr.guru", "access-control-request-method": "POST" },
      });
      expect(response.ok).toBe(true);
      expect(response.headers.get("access-control-allow-origin")).toBe("https://staging.urr.guru");
    });
  });

  describe("the deployed worker", () => {
    step("hands a FIFO message to the booking API, with the internal token and the message's key", async () => {
      const { booking, cloud } = world();
      const sqs = new SQSClient(clientSettings(cloud));
      const { QueueUrl } = await sqs.send(new GetQueueUrlCommand({ QueueName: "urr-prod-ticket-events.fifo" }));
      const event = { action: "seat_reserve", eventId: "evt-1", seatId: "A-1" };
      await sqs.send(
        new SendMessageCommand({
          QueueUrl,
          MessageGroupId: "user-1",
          MessageDeduplicationId: "reserve-1",
          MessageBody: JSON.stringify(event),
        }),
      );
      const call = await eventually("the booking API to be called", async () => booking.calls.at(-1));
      const { SecretString } = await new SecretsManagerClient(clientSettings(cloud)).send(
        new GetSecretValueCommand({ SecretId: "urr-prod/internal-api-token" }),
      );
      expect(call).toEqual({
        path: "/internal/seats/reserve",
        authorization: `Bearer ${(JSON.parse(SecretString ?? "{}") as { secret: string }).secret}`,
        idempotencyKey: "reserve-1",
        body: { eventId: "evt-1", seatId: "A-1" },
      });
    });

    step("hands a poisoned message back each time, and the queue gives it up after three attempts", async () => {
      const { booking, cloud } = world();
      const calls = booking.calls.length;
      const lambda = new LambdaClient(clientSettings(cloud));
      const sqs = new SQSClient(clientSettings(cloud));
      const url = async (name: string) => (await sqs.send(new GetQueueUrlCommand({ QueueName: name }))).QueueUrl;
      const QueueUrl = await url("urr-prod-ticket-events.fifo");
      const dlqUrl = await url("urr-prod-ticket-events-dlq.fifo");
      // The test polls in the mapping's place, because only who received a message may end its wait of five minutes.
      const mapping = await pauseMapping(lambda, "urr-prod-ticket-worker");
      const poison = JSON.stringify({ action: "seat_steal", eventId: "evt-1" });
      await sqs.send(
        new SendMessageCommand({
          QueueUrl,
          MessageGroupId: "user-2",
          MessageDeduplicationId: "poison-1",
          MessageBody: poison,
        }),
      );
      for (let attempt = 1; attempt <= 3; attempt += 1) {
        const message = await eventually(`attempt ${attempt}`, async () => {
          const received = await sqs.send(
            new ReceiveMessageCommand({ QueueUrl, MessageSystemAttributeNames: ["All"] }),
          );
          return received.Messages?.[0];
        });
        expect(message.Attributes?.ApproximateReceiveCount).toBe(String(attempt));
        const answer = await lambda.send(
          new InvokeCommand({
            FunctionName: "urr-prod-ticket-worker",
            Payload: JSON.stringify({ Records: [recordOf(message)] }),
          }),
        );
        expect(JSON.parse(new TextDecoder().decode(answer.Payload))).toEqual({
          batchItemFailures: [{ itemIdentifier: message.MessageId }],
        });
        await sqs.send(
          new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle: message.ReceiptHandle, VisibilityTimeout: 0 }),
        );
      }
      await lambda.send(new UpdateEventSourceMappingCommand({ UUID: mapping, Enabled: true }));
      const dead = await eventually("the message in the dead-letter queue", async () => {
        await sqs.send(new ReceiveMessageCommand({ QueueUrl }));
        return (await sqs.send(new ReceiveMessageCommand({ QueueUrl: dlqUrl }))).Messages?.[0];
      });
      expect(dead.Body).toBe(poison);
      expect(booking.calls.length).toBe(calls);
    });
  });

  describe("the deployed CloudFront functions", () => {
    step("vwr-api-rewrite takes the prefix off, vwr-page-rewrite leads to the one page", async () => {
      const { cloud } = world();
      const api = await edgeFunction(cloud, "urr-prod-vwr-api-rewrite");
      expect(api("/vwr-api/vwr/assign/evt-1")).toBe("/vwr/assign/evt-1");
      expect(api("/vwr/assign/evt-1")).toBe("/vwr/assign/evt-1");
      const page = await edgeFunction(cloud, "urr-prod-vwr-page-rewrite");
      expect(page("/vwr/evt-1")).toBe("/vwr/index.html");
      expect(page("/vwr/app.js")).toBe("/vwr/app.js");
    });
  });
}

async function apiOf(cloud: Cloud, prefix: string): Promise<string> {
  const { items = [] } = await new APIGatewayClient(clientSettings(cloud)).send(new GetRestApisCommand());
  const api = items.find(({ name }) => name === `${prefix}-vwr-api`);
  if (!api?.id) throw new Error(`no REST API ${prefix}-vwr-api; there are ${items.map(({ name }) => name).join(", ")}`);
  return stageUrl(cloud, api.id, "v1");
}

/** The live code of a function, run in a fresh scope as CloudFront would: URI in, URI out. */
async function edgeFunction(cloud: Cloud, name: string): Promise<(uri: string) => string> {
  const { FunctionCode } = await new CloudFrontClient(clientSettings(cloud)).send(
    new GetFunctionCommand({ Name: name, Stage: "LIVE" }),
  );
  const code = new TextDecoder().decode(FunctionCode);
  const handler = new Function(`${code}; return handler;`)() as (event: unknown) => { uri: string };
  return (uri) =>
    handler({ version: "1.0", context: { eventType: "viewer-request" }, request: { method: "GET", uri, headers: {} } })
      .uri;
}

/** Stops the function's event source mapping; returns its id. */
async function pauseMapping(lambda: LambdaClient, functionName: string): Promise<string> {
  const { EventSourceMappings = [] } = await lambda.send(
    new ListEventSourceMappingsCommand({ FunctionName: functionName }),
  );
  const UUID = EventSourceMappings[0]?.UUID ?? "";
  await lambda.send(new UpdateEventSourceMappingCommand({ UUID, Enabled: false }));
  await eventually("the mapping to stop", async () => {
    const { State } = await lambda.send(new GetEventSourceMappingCommand({ UUID }));
    return State === "Disabled" ? true : undefined;
  });
  return UUID;
}

/** A message as Lambda's poller hands it to a function. */
function recordOf({ Attributes, Body, MessageId, ReceiptHandle }: Message) {
  return {
    messageId: MessageId,
    receiptHandle: ReceiptHandle,
    body: Body,
    attributes: Attributes,
    messageAttributes: {},
    eventSource: "aws:sqs",
    eventSourceARN: "arn:aws:sqs:ap-northeast-2:123456789012:urr-prod-ticket-events.fifo",
    awsRegion: "ap-northeast-2",
  };
}
