import { createInterface } from "node:readline/promises";
import { setTimeout } from "node:timers/promises";
import { runCommand } from "./command";

/** `npm run vwr`: what an operator does to the waiting room. */
async function main(): Promise<number> {
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true";
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  return runCommand(process.argv.slice(2), {
    out: (text) => process.stdout.write(text),
    error: (text) => process.stderr.write(text),
    interactive: process.stdout.isTTY === true && process.stdin.isTTY === true,
    ask: async (question) => {
      const prompt = createInterface({ input: process.stdin, output: process.stdout });
      try {
        return await prompt.question(question, { signal: stop.signal });
      } catch {
        return "";
      } finally {
        prompt.close();
      }
    },
    env: process.env,
    now: Date.now,
    sleep: (ms) => setTimeout(ms, undefined, { signal: stop.signal }).catch(() => undefined),
    stopped: () => stop.signal.aborted,
  });
}

process.exitCode = await main();
