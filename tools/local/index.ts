import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type LocalRun, startLocal } from "./run";

const USAGE = `npm run local -- [options]: the edge and the waiting room on this machine, from the synthesized prod stack

  --port N            port of the site (default: a free one)
  --event ID          event that is opened (default: evt-2026)
  --crowd N           visitors who are in line already (default: 900; 0 for none)
  --rate N            visitors let in per ten seconds (default: the stack's)
  --opens-in N        seconds until the sale opens; who comes before draws lots (default: open at once)
  --environments N    most environments of one Lambda function (default: 16)
  --dynamodb URL      DynamoDB Local instead of dynalite
  --stack DIR         synthesized stack (default: cdktf.out/stacks/prod)
  --logs              print what the functions log, on stderr
  --json              print one JSON object instead of text
`;

/** Answers other than 200 that the crowd at the start puts up with. */
const MAX_REFUSALS = 50;

async function main(args: readonly string[]): Promise<number> {
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true";
  const { values } = parseArgs({
    args: [...args],
    options: {
      port: { type: "string" },
      event: { type: "string", default: "evt-2026" },
      crowd: { type: "string", default: "900" },
      rate: { type: "string" },
      "opens-in": { type: "string" },
      environments: { type: "string", default: "16" },
      dynamodb: { type: "string" },
      stack: { type: "string" },
      logs: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const run = await startLocal({
    events: [values.event],
    maxEnvironments: wholeNumber("environments", values.environments),
    ...(values.port !== undefined && { port: wholeNumber("port", values.port) }),
    ...(values.dynamodb !== undefined && { dynamodbEndpoint: values.dynamodb }),
    ...(values.stack !== undefined && { stackDirectory: values.stack }),
    ...(values.logs && { onLog: (line: string) => process.stderr.write(`${line}\n`) }),
  });
  const stopped = untilStopped();
  try {
    await run.open(values.event, {
      ...(values.rate !== undefined && { batchSize: wholeNumber("rate", values.rate) }),
      ...(values["opens-in"] !== undefined && {
        opensAt: Math.floor(Date.now() / 1000) + wholeNumber("opens-in", values["opens-in"]),
      }),
    });
    await joinCrowd(run, values.event, wholeNumber("crowd", values.crowd));
    process.stdout.write(values.json ? `${JSON.stringify(summary(run, values.event))}\n` : welcome(run, values.event));
    await stopped;
  } finally {
    await run.stop();
  }
  return 0;
}

/** Visitors who came before, through the same door as everybody; whoever is turned away for load tries again, as the page does. */
async function joinCrowd({ url }: LocalRun, eventId: string, count: number): Promise<void> {
  let left = count;
  let refused = 0;
  const join = async () => {
    while (left > 0) {
      left -= 1;
      const answer = await fetch(`${url}/vwr-api/vwr/assign/${eventId}`, { method: "POST", body: "{}" });
      if (answer.status !== 200) {
        left += 1;
        refused += 1;
        if (refused > MAX_REFUSALS) {
          throw new Error(`The crowd was turned away with ${answer.status}: ${await answer.text()} Try --logs.`);
        }
        await setTimeout(1_000);
      }
    }
  };
  await Promise.all(Array.from({ length: 16 }, join));
}

function summary(run: LocalRun, eventId: string) {
  return {
    url: run.url,
    eventUrl: `${run.url}/events/${eventId}`,
    waitingPageUrl: `${run.url}/vwr/${eventId}`,
    apiUrl: run.apiUrl,
    loadBalancerUrl: run.loadBalancerUrl,
    awsEndpointUrl: run.awsUrl,
    event: eventId,
    pid: process.pid,
  };
}

function welcome(run: LocalRun, eventId: string): string {
  const { eventUrl, waitingPageUrl, apiUrl, awsEndpointUrl } = summary(run, eventId);
  return `
  Event page      ${eventUrl}      open it, choose 예매하기, wait, get in
  Waiting page    ${waitingPageUrl}
  Protected API   ${run.url}/api/v1/seats/${eventId}
  API's own URL   ${apiUrl}      answers 403: it wants CloudFront's key

  Operator        npm run vwr -- status ${eventId} --env prod --watch --endpoint ${awsEndpointUrl}

  Ctrl+C stops everything.
`;
}

function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    process.once("SIGINT", () => resolve());
    process.once("SIGTERM", () => resolve());
  });
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new Error(`--${name}: given ${text}; allowed is a whole number from 0.`);
  }
  return value;
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`local: ${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
  },
);
