import { type DynamoDBClient, GetItemCommand, PutItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";

/*
 * The plain design of the documents, as the measure of comparison: one counters item per event, three operations per
 * assign (take a number, write the row with the index's sort key, read the serving counter), two reads per check. Its
 * algorithm is frozen; results over time can be compared only as long as nobody improves it.
 */

export interface BaselineOptions {
  readonly client: Pick<DynamoDBClient, "send">;
  readonly countersTable: string;
  readonly positionsTable: string;
}

export async function baselineTake({ client, countersTable }: BaselineOptions, eventId: string): Promise<number> {
  const { Attributes } = await client.send(
    new UpdateItemCommand({
      TableName: countersTable,
      Key: { eventId: { S: eventId } },
      UpdateExpression: "ADD nextPosition :one",
      ExpressionAttributeValues: { ":one": { N: "1" } },
      ReturnValues: "UPDATED_NEW",
    }),
  );
  return Number(Attributes?.nextPosition?.N);
}

export async function baselineAssign(options: BaselineOptions, eventId: string, requestId: string) {
  const { client, positionsTable } = options;
  const position = await baselineTake(options, eventId);
  await client.send(
    new PutItemCommand({
      TableName: positionsTable,
      Item: {
        eventId: { S: eventId },
        requestId: { S: requestId },
        position: { N: String(position) },
        ttl: { N: String(Math.floor(Date.now() / 1000) + 86_400) },
      },
    }),
  );
  const servingCounter = await readServingCounter(options, eventId);
  return { requestId, position, servingCounter };
}

export async function baselineCheck(options: BaselineOptions, eventId: string, requestId: string) {
  const row = await options.client.send(
    new GetItemCommand({
      TableName: options.positionsTable,
      Key: { eventId: { S: eventId }, requestId: { S: requestId } },
    }),
  );
  const servingCounter = await readServingCounter(options, eventId);
  const position = Number(row.Item?.position?.N);
  return { requestId, position, servingCounter, admitted: position <= servingCounter };
}

async function readServingCounter({ client, countersTable }: BaselineOptions, eventId: string): Promise<number> {
  const { Item } = await client.send(
    new GetItemCommand({ TableName: countersTable, Key: { eventId: { S: eventId } } }),
  );
  return Number(Item?.servingCounter?.N ?? 0);
}
