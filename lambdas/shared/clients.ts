import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { boundedClient } from "./timeouts";

/** For operations that may be repeated: the SDK retries throttling and lost connections. */
export function createDynamoClient(): DynamoDBClient {
  return new DynamoDBClient(boundedClient(3));
}

/**
 * For taking places: an answer that got lost leaves places that nobody holds, so a repetition goes to another stripe and
 * is the allocator's decision, not the SDK's.
 */
export function createSingleAttemptDynamoClient(): DynamoDBClient {
  return new DynamoDBClient(boundedClient(1));
}

const THROTTLED = new Set([
  "LimitExceededException",
  "ProvisionedThroughputExceededException",
  "RequestLimitExceeded",
  "ThrottlingException",
]);

/** Whether DynamoDB refused for load, or did not answer at all: worth another try, here or by the visitor. */
export function isTransient(error: unknown): boolean {
  const { name, $metadata, code } = error as {
    name?: string;
    code?: string;
    $metadata?: { httpStatusCode?: number };
  };
  const status = $metadata?.httpStatusCode;
  return (
    THROTTLED.has(name ?? "") ||
    name === "TimeoutError" ||
    (status !== undefined && status >= 500) ||
    /^E(CONN|PIPE|HOST|AI_AGAIN|TIMEDOUT|SOCKET)/.test(code ?? "") ||
    code === "UND_ERR_SOCKET"
  );
}

export function isThrottled(error: unknown): boolean {
  return THROTTLED.has((error as { name?: string }).name ?? "");
}

export function isConditionFailed(error: unknown): boolean {
  return (error as { name?: string }).name === "ConditionalCheckFailedException";
}
