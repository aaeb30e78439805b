import { GetItemCommand, PutItemCommand, type PutItemCommandInput, UpdateItemCommand } from "@aws-sdk/client-dynamodb";

/** What a run cost DynamoDB, as it bills: items are under 1 KB, so a write is one unit, and one more if it is indexed. */
export interface Usage {
  writeUnits: number;
  reads: number;
}

interface Command {
  readonly input: object;
}

/** Counts what goes through a client. */
export function metered<T extends { send(command: never): unknown }>(client: T): { client: T; usage: Usage } {
  const usage: Usage = { writeUnits: 0, reads: 0 };
  const send = (command: Command) => {
    usage.writeUnits += writeUnitsOf(command);
    usage.reads += command instanceof GetItemCommand ? 1 : 0;
    return client.send(command as never);
  };
  return { client: { send } as unknown as T, usage };
}

export function writeUnitsOf(command: Command): number {
  // The attribute that puts a row into eventId-position-index, which is written like a second table.
  const indexed =
    command instanceof PutItemCommand && (command.input as PutItemCommandInput).Item?.position !== undefined;
  return command instanceof PutItemCommand || command instanceof UpdateItemCommand ? (indexed ? 2 : 1) : 0;
}

/** Value below which this share of the values lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
