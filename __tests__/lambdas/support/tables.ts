import { createServer, type IncomingMessage, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import dynalite from "dynalite";

/** What may go wrong between a client and DynamoDB. */
export type FaultKind =
  /** Refused for load; nothing was done. */
  | "throttle"
  /** The connection breaks before DynamoDB sees the request. */
  | "lost-before"
  /** DynamoDB does it, and the answer gets lost: what a client sees as a timeout after commit. */
  | "lost-after"
  /** An internal error; nothing was done. */
  | "error-500";

interface Fault {
  readonly operation: string;
  readonly kind: FaultKind;
  readonly matches: (body: string) => boolean;
  left: number;
}

/** A request that reached the wire. */
export interface Call {
  readonly operation: string;
  readonly body: Record<string, unknown>;
}

export interface Tables {
  readonly countersTable: string;
  readonly positionsTable: string;
  /** With the SDK's retries as in production (3 attempts). */
  readonly client: DynamoDBClient;
  readonly singleAttemptClient: DynamoDBClient;
  /** Every request since the last {@link Tables.forget}, faulty ones included. */
  readonly calls: Call[];
  /** Makes the next requests of this operation fail. */
  fail(operation: string, kind: FaultKind, options?: { times?: number; matching?: string }): void;
  forget(): void;
  close(): Promise<void>;
}

const CREDENTIALS = { accessKeyId: "test", secretAccessKey: "test" };

/** dynalite with both documented tables behind a proxy on the wire that breaks requests on demand. */
export async function startTables(): Promise<Tables> {
  const database = dynalite({ createTableMs: 0 });
  const databasePort = await listen(database);
  const faults: Fault[] = [];
  const calls: Call[] = [];
  const proxy = createServer((incoming, outgoing) => {
    collect(incoming).then((body) => {
      const operation = String(incoming.headers["x-amz-target"]).split(".")[1] ?? "";
      calls.push({ operation, body: JSON.parse(body) });
      const fault = faults.find((one) => one.left > 0 && one.operation === operation && one.matches(body));
      if (fault !== undefined) {
        fault.left -= 1;
      }
      if (fault?.kind === "lost-before") {
        incoming.socket.destroy();
        return;
      }
      if (fault?.kind === "throttle" || fault?.kind === "error-500") {
        const [status, type] =
          fault.kind === "throttle" ? [400, "ProvisionedThroughputExceededException"] : [500, "InternalServerError"];
        outgoing.writeHead(status as number, { "content-type": "application/x-amz-json-1.0" });
        outgoing.end(JSON.stringify({ __type: `com.amazonaws.dynamodb.v20120810#${type}`, message: "injected" }));
        return;
      }
      const onward = request(
        {
          port: databasePort,
          host: "127.0.0.1",
          method: incoming.method,
          path: incoming.url,
          headers: incoming.headers,
        },
        (answer) => {
          collect(answer).then((text) => {
            if (fault?.kind === "lost-after") {
              incoming.socket.destroy();
              return;
            }
            outgoing.writeHead(answer.statusCode ?? 500, { "content-type": "application/x-amz-json-1.0" });
            outgoing.end(text);
          });
        },
      );
      // Also when the database is stopped under a request that nobody waits for any more.
      onward.on("error", () => incoming.socket.destroy());
      onward.end(body);
    });
  });
  const endpoint = `http://127.0.0.1:${await listen(proxy)}`;
  const options = { endpoint, region: "ap-northeast-2", credentials: CREDENTIALS };
  const client = new DynamoDBClient({ ...options, maxAttempts: 3, retryMode: "standard" });
  const singleAttemptClient = new DynamoDBClient({ ...options, maxAttempts: 1 });
  const countersTable = "urr-test-vwr-counters";
  const positionsTable = "urr-test-vwr-positions";
  await createTables(client, countersTable, positionsTable);
  calls.length = 0;
  return {
    countersTable,
    positionsTable,
    client,
    singleAttemptClient,
    calls,
    fail(operation, kind, { times = 1, matching = "" } = {}) {
      faults.push({ operation, kind, left: times, matches: (body) => body.includes(matching) });
    },
    forget() {
      calls.length = 0;
      faults.length = 0;
    },
    async close() {
      client.destroy();
      singleAttemptClient.destroy();
      proxy.closeAllConnections();
      database.closeAllConnections();
      await Promise.all([stop(proxy), stop(database)]);
    },
  };
}

/** The tables as `dynamodb-vwr` makes them (Infra analysis §2-10). */
export async function createTables(client: DynamoDBClient, counters: string, positions: string): Promise<void> {
  await client.send(
    new CreateTableCommand({
      TableName: counters,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: [{ AttributeName: "eventId", AttributeType: "S" }],
      KeySchema: [{ AttributeName: "eventId", KeyType: "HASH" }],
    }),
  );
  await client.send(
    new CreateTableCommand({
      TableName: positions,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: [
        { AttributeName: "eventId", AttributeType: "S" },
        { AttributeName: "requestId", AttributeType: "S" },
        { AttributeName: "position", AttributeType: "N" },
      ],
      KeySchema: [
        { AttributeName: "eventId", KeyType: "HASH" },
        { AttributeName: "requestId", KeyType: "RANGE" },
      ],
      GlobalSecondaryIndexes: [
        {
          IndexName: "eventId-position-index",
          KeySchema: [
            { AttributeName: "eventId", KeyType: "HASH" },
            { AttributeName: "position", KeyType: "RANGE" },
          ],
          Projection: { ProjectionType: "ALL" },
        },
      ],
    }),
  );
}

/** Starts the server on a free loopback port. */
export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

export async function stop(server: Server): Promise<void> {
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

export async function collect(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) {
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}
