import { DescribeTableCommand } from "@aws-sdk/client-dynamodb";
import { GetAccountSettingsCommand, GetFunctionConcurrencyCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { GetServiceQuotaCommand, ServiceQuotasClient } from "@aws-sdk/client-service-quotas";
import { GetWebACLCommand, ListWebACLsCommand, WAFV2Client } from "@aws-sdk/client-wafv2";
import { eventStatus } from "../../lambdas/shared/control";
import type { Facts } from "./preflight";
import type { Target } from "./target";

/** Quota "Throttle rate" of API Gateway. */
const API_GATEWAY_QUOTA = { ServiceCode: "apigateway", QuotaCode: "L-8A5B8E43" };

/** Reads what it may; what it may not, or what an endpoint other than AWS does not know, stays unknown and is named. */
export async function gatherFacts(
  target: Target,
  event: string | undefined,
): Promise<{ facts: Facts; unread: string[] }> {
  const { endpoint, environment } = target;
  const unread: string[] = [];
  const read = async <T>(what: string, get: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await get();
    } catch (error) {
      unread.push(`${what}: ${(error as Error).name}: ${(error as Error).message}`);
      return undefined;
    }
  };
  const warmWrites = (table: string) =>
    read(table, async () => {
      const { Table } = await target.dynamodb.send(new DescribeTableCommand({ TableName: table }));
      return Table?.WarmThroughput?.WriteUnitsPerSecond;
    });
  const facts = {
    stripes: event && (await read(`event ${event}`, async () => (await eventStatus(target.plane, event, 0)).stripes)),
    countersWarmWrites: await warmWrites(target.countersTable),
    positionsWarmWrites: await warmWrites(target.positionsTable),
  };
  if (endpoint !== undefined) {
    unread.push(`quotas, concurrency and WAF: ${endpoint} stands in for AWS and has none`);
    return { facts: { ...facts, stripes: facts.stripes || undefined }, unread };
  }
  const client = { region: environment.region };
  const lambda = new LambdaClient(client);
  const quotas = new ServiceQuotasClient(client);
  const waf = new WAFV2Client({ region: "us-east-1" });
  try {
    return {
      facts: {
        ...facts,
        stripes: facts.stripes || undefined,
        accountConcurrency: await read("Lambda account settings", async () => {
          const { AccountLimit } = await lambda.send(new GetAccountSettingsCommand({}));
          return AccountLimit?.ConcurrentExecutions;
        }),
        reservedConcurrency: await read("reserved concurrency", async () => {
          const name = `${environment.prefix}-vwr-api`;
          const answer = await lambda.send(new GetFunctionConcurrencyCommand({ FunctionName: name }));
          return answer.ReservedConcurrentExecutions;
        }),
        accountRequestsPerSecond: await read("API Gateway quota", async () => {
          const { Quota } = await quotas.send(new GetServiceQuotaCommand(API_GATEWAY_QUOTA));
          return Quota?.Value;
        }),
        wafRequestsPerFiveMinutes: await read("web ACL", () => waitingRoomLimit(waf, `${environment.prefix}-waf`)),
      },
      unread,
    };
  } finally {
    lambda.destroy();
    quotas.destroy();
    waf.destroy();
  }
}

/** The widest rate limit of the web ACL, which is the waiting room's. */
async function waitingRoomLimit(waf: WAFV2Client, name: string): Promise<number | undefined> {
  const { WebACLs } = await waf.send(new ListWebACLsCommand({ Scope: "CLOUDFRONT", Limit: 100 }));
  const found = WebACLs?.find((acl) => acl.Name === name);
  if (found === undefined) {
    throw new Error(`there is no web ACL ${name}`);
  }
  const { WebACL } = await waf.send(new GetWebACLCommand({ Scope: "CLOUDFRONT", Id: found.Id as string, Name: name }));
  const limits = (WebACL?.Rules ?? []).flatMap(({ Statement }) => Statement?.RateBasedStatement?.Limit ?? []);
  return limits.length === 0 ? undefined : Math.max(...limits);
}
