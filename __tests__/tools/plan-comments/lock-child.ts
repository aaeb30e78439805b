import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { StackLocks } from "../../../tools/plan-comments/commands/locks";

/** A runner of its own: takes a stack, says whether it got it, and stays until it is killed. */
const [endpoint = "", stack = "", pull = "", run = ""] = process.argv.slice(2);
const dynamodb = new DynamoDBClient({
  endpoint,
  region: "ap-northeast-2",
  credentials: { accessKeyId: "x", secretAccessKey: "x" },
});
const locks = new StackLocks(dynamodb, "urr-terraform-locks");
process.once("message", async () => {
  const taken = await locks.acquire({
    stack,
    pull: Number(pull),
    head: "a".repeat(40),
    who: `dev-${run}`,
    run: Number(run),
  });
  process.send?.(taken.acquired);
  setInterval(() => {}, 1_000);
});
process.send?.("ready");
