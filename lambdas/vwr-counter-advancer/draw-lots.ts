import { randomBytes } from "node:crypto";
import { type DynamoDBClient, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { isConditionFailed } from "../shared/clients";
import { bool, type EventControl, n, s, stripeItem, stripeKey, toControl, toStripe } from "../shared/schema";

export interface DrawOptions {
  readonly client: Pick<DynamoDBClient, "send">;
  readonly countersTable: string;
}

/**
 * Closes the early stripes and makes the seed. A closed stripe never changes again, so whoever repeats this after a crash, or at the
 * same moment, counts the same; the control item takes one seed and no second one. Undefined where somebody else was faster or the
 * event changed meanwhile.
 */
export async function drawLots(options: DrawOptions, control: EventControl): Promise<EventControl | undefined> {
  const { eventId, generation, stripes } = control;
  try {
    const counts = await Promise.all(
      Array.from({ length: stripes }, (_, stripe) => closeStripe(options, control, stripeItem(stripe, stripes, true))),
    );
    const { Attributes } = await options.client.send(
      new UpdateItemCommand({
        TableName: options.countersTable,
        Key: { eventId: s(eventId) },
        UpdateExpression: "SET drawSeed = :seed, drawCounts = :counts",
        ConditionExpression:
          "generation = :generation AND attribute_not_exists(drawSeed) AND isActive = :true AND paused = :false",
        ExpressionAttributeValues: {
          ":seed": s(randomBytes(16).toString("hex")),
          ":counts": { L: counts.map(n) },
          ":generation": n(generation),
          ":true": bool(true),
          ":false": bool(false),
        },
        ReturnValues: "ALL_NEW",
      }),
    );
    return toControl(Attributes);
  } catch (error) {
    if (isConditionFailed(error)) {
      return undefined;
    }
    throw error;
  }
}

async function closeStripe(
  { client, countersTable }: DrawOptions,
  { eventId, generation }: EventControl,
  item: number,
): Promise<number> {
  const { Attributes = {} } = await client.send(
    new UpdateItemCommand({
      TableName: countersTable,
      Key: { eventId: s(stripeKey(eventId, item)) },
      UpdateExpression: "SET closed = :true",
      ConditionExpression: "generation = :generation",
      ExpressionAttributeValues: { ":true": bool(true), ":generation": n(generation) },
      ReturnValues: "ALL_NEW",
    }),
  );
  return toStripe(Attributes).nextPosition;
}
