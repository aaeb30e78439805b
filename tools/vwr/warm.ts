import { DescribeTableCommand, UpdateTableCommand } from "@aws-sdk/client-dynamodb";
import { assess, type Crowd } from "./preflight";
import type { Target } from "./target";

/** What became of one thing that was to be made ready. */
export interface Warmed {
  readonly what: string;
  readonly result: "raised" | "enough" | "would-raise" | "not-supported" | "reached" | "would-reach";
  readonly detail: string;
}

/** A table's warm throughput may be raised, never lowered, and holds what DynamoDB can take at once without scaling first. */
const MIN_READS = 12_000;

export async function warmTables(target: Target, crowd: Crowd, dryRun: boolean): Promise<Warmed[]> {
  const needs = assess(crowd, {}, target.environment);
  const need = (check: string) => needs.find((one) => one.check === check)?.need ?? 0;
  return Promise.all(
    [
      { table: target.countersTable, writes: need("warm writes of the counters table") },
      { table: target.positionsTable, writes: need("warm writes of the positions table") },
    ].map(({ table, writes }) => warmTable(target, table, writes, dryRun)),
  );
}

async function warmTable(target: Target, table: string, writes: number, dryRun: boolean): Promise<Warmed> {
  const { Table } = await target.dynamodb.send(new DescribeTableCommand({ TableName: table }));
  const now = Table?.WarmThroughput;
  if (now?.WriteUnitsPerSecond === undefined) {
    return { what: table, result: "not-supported", detail: "the endpoint does not know warm throughput" };
  }
  if (now.WriteUnitsPerSecond >= writes) {
    return { what: table, result: "enough", detail: `${now.WriteUnitsPerSecond} writes/s, ${writes} needed` };
  }
  const detail = `from ${now.WriteUnitsPerSecond} to ${writes} writes/s`;
  if (dryRun) {
    return { what: table, result: "would-raise", detail };
  }
  const reads = Math.max(now.ReadUnitsPerSecond ?? 0, MIN_READS);
  const throughput = { ReadUnitsPerSecond: reads, WriteUnitsPerSecond: writes };
  await target.dynamodb.send(new UpdateTableCommand({ TableName: table, WarmThroughput: throughput }));
  return { what: table, result: "raised", detail };
}

/**
 * Asks the status of no event from as many callers at once as environments are wanted: each environment then has loaded its code
 * and opened its connections. Lambda keeps them for minutes, so this belongs right before the sale.
 */
export async function warmFunctions(
  site: string,
  environments: number,
  dryRun: boolean,
  ask: typeof fetch = fetch,
): Promise<Warmed> {
  const what = `${site}/vwr-api/vwr/status/warm-up`;
  if (dryRun) {
    return { what, result: "would-reach", detail: `${environments} callers at once, three times` };
  }
  let answered = 0;
  for (let round = 0; round < 3; round += 1) {
    const answers = await Promise.allSettled(Array.from({ length: environments }, () => ask(what)));
    answered += answers.filter((answer) => answer.status === "fulfilled" && answer.value.ok).length;
  }
  return { what, result: "reached", detail: `${answered} of ${3 * environments} calls answered` };
}
