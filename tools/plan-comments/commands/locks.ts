import {
  ConditionalCheckFailedException,
  DeleteItemCommand,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";

/** Who holds a stack. */
export interface Lock {
  readonly stack: string;
  /** Pull request; 0 for the main branch. */
  readonly pull: number;
  readonly head: string;
  readonly who: string;
  /** When it was taken, in milliseconds since 1970. */
  readonly since: number;
  /** Workflow run that is at work on the stack right now. A run that died leaves it behind. */
  readonly run?: number;
}

export type Acquired = { readonly acquired: true } | { readonly acquired: false; readonly holder: Lock | undefined };

/**
 * Locks of stacks as items of the table that Terraform's state locks are in, under keys that Terraform does not use. A
 * pull request holds a stack from its first apply until it is merged, closed or unlocked; within it, one run at a time.
 * Every change is one conditional write, so that it does not matter when a runner dies.
 */
export class StackLocks {
  constructor(
    private readonly dynamodb: DynamoDBClient,
    private readonly table: string,
    private readonly now: () => number = Date.now,
  ) {}

  /** Takes the stack for a run. Taking it again in the same run is fine. */
  async acquire(lock: Omit<Lock, "since"> & { readonly run: number }): Promise<Acquired> {
    const done = await this.attempt(
      new PutItemCommand({
        TableName: this.table,
        Item: {
          LockID: { S: keyOf(lock.stack) },
          pull: { N: String(lock.pull) },
          head: { S: lock.head },
          who: { S: lock.who },
          since: { N: String(this.now()) },
          run: { N: String(lock.run) },
        },
        ConditionExpression:
          "attribute_not_exists(LockID) OR (pull = :pull AND (attribute_not_exists(#run) OR #run = :run))",
        ExpressionAttributeNames: { "#run": "run" },
        ExpressionAttributeValues: { ":pull": { N: String(lock.pull) }, ":run": { N: String(lock.run) } },
      }),
    );
    return done ? { acquired: true } : { acquired: false, holder: await this.holder(lock.stack) };
  }

  /** Ends a run's work; the pull request keeps the stack. False if the run did not hold it. */
  async finish(stack: string, run: number): Promise<boolean> {
    return this.attempt(
      new UpdateItemCommand({
        TableName: this.table,
        Key: { LockID: { S: keyOf(stack) } },
        UpdateExpression: "REMOVE #run",
        ConditionExpression: "#run = :run",
        ExpressionAttributeNames: { "#run": "run" },
        ExpressionAttributeValues: { ":run": { N: String(run) } },
      }),
    );
  }

  /**
   * Gives a stack up for a pull request. While a run is at work only its own end does that, unless the caller knows that
   * the run has ended without saying so.
   */
  async release(stack: string, pull: number, endedRun?: number): Promise<boolean> {
    return this.attempt(
      new DeleteItemCommand({
        TableName: this.table,
        Key: { LockID: { S: keyOf(stack) } },
        ConditionExpression: `pull = :pull AND (attribute_not_exists(#run)${endedRun === undefined ? "" : " OR #run = :run"})`,
        ExpressionAttributeNames: { "#run": "run" },
        ExpressionAttributeValues: {
          ":pull": { N: String(pull) },
          ...(endedRun === undefined ? {} : { ":run": { N: String(endedRun) } }),
        },
      }),
    );
  }

  async holder(stack: string): Promise<Lock | undefined> {
    const { Item: item } = await this.dynamodb.send(
      new GetItemCommand({ TableName: this.table, Key: { LockID: { S: keyOf(stack) } }, ConsistentRead: true }),
    );
    if (!item) return undefined;
    return {
      stack,
      pull: Number(item.pull?.N),
      head: item.head?.S ?? "",
      who: item.who?.S ?? "",
      since: Number(item.since?.N),
      ...(item.run?.N === undefined ? {} : { run: Number(item.run.N) }),
    };
  }

  private async attempt(command: PutItemCommand | UpdateItemCommand | DeleteItemCommand): Promise<boolean> {
    try {
      await this.dynamodb.send(command as PutItemCommand);
      return true;
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return false;
      throw error;
    }
  }
}

/** Terraform's own keys are `BUCKET/KEY` and `BUCKET/KEY-md5`; a bucket's name holds no colon. */
const keyOf = (stack: string): string => `plan-comments:${stack}`;
