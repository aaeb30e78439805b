import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { type LoadResult, measureLoad } from "./measure";
import { loadPlot } from "./plot";

const USAGE = `npm run load -- [options]: a crowd of visitors through the local run

  --visitors N       how many (default: 1500; the opening of the documents has 15000)
  --arrival-ms N     within which they click (default: 1500)
  --rate N           let in per ten seconds (default: a fifth of the visitors)
  --sockets N        connections of those who click, and as many of those who poll (default: 32)
  --environments N   most environments of one Lambda function (default: 8)
  --max-seconds N    the run fails if it takes longer (default: 300)
  --out DIR          write waiting-room-load.json and .svg there
  --json             one JSON object on the last line
`;

async function main(args: readonly string[]): Promise<number> {
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true";
  const { values } = parseArgs({
    args: [...args],
    options: {
      visitors: { type: "string", default: "1500" },
      "arrival-ms": { type: "string", default: "1500" },
      rate: { type: "string" },
      sockets: { type: "string", default: "32" },
      environments: { type: "string", default: "8" },
      "max-seconds": { type: "string", default: "300" },
      out: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const visitors = wholeNumber("visitors", values.visitors);
  const result = await measureLoad(
    {
      visitors,
      arrivalMs: wholeNumber("arrival-ms", values["arrival-ms"]),
      rate: values.rate === undefined ? Math.max(1, Math.ceil(visitors / 5)) : wholeNumber("rate", values.rate),
      sockets: wholeNumber("sockets", values.sockets),
      environments: wholeNumber("environments", values.environments),
      maxSeconds: wholeNumber("max-seconds", values["max-seconds"]),
    },
    (line) => process.stderr.write(`${line}\n`),
  );
  process.stdout.write(report(result));
  if (values.out !== undefined) {
    mkdirSync(values.out, { recursive: true });
    writeFileSync(path.join(values.out, "waiting-room-load.json"), `${JSON.stringify(result, null, 2)}\n`);
    writeFileSync(path.join(values.out, "waiting-room-load.svg"), loadPlot(result));
  }
  if (values.json) {
    process.stdout.write(`${JSON.stringify(result)}\n`);
  }
  return 0;
}

function report(result: LoadResult): string {
  const { machine } = result;
  const turnedAway = Object.entries(result.turnedAway).map(([status, count]) => `${count} x ${status}`);
  const rows: [string, string][] = [
    ["visitors", `${whole(result.visitors)}, ${whole(result.rate)} let in per 10 s`],
    ["machine", `${machine.cpus} x ${machine.model}, load average ${machine.loadAverage} before the run`],
    ["places given", `${whole(result.assignsPerSecond)}/s, all within ${result.arrivalSeconds} s`],
    ["CPU per place", `${result.cpuMsPerAssign} ms, polls of those who wait included`],
    ["assign", `p50 ${result.assignP50Ms} ms, p99 ${result.assignP99Ms} ms`],
    ["check", `p50 ${result.checkP50Ms} ms, p99 ${result.checkP99Ms} ms, ${result.pollsPerVisitor} per visitor`],
    [
      "let in",
      `${whole(result.admittedPerSecond)}/s on average, ${whole(result.busiestSecondAdmitted)} in the busiest second`,
    ],
    ["order error", `p95 ${result.orderErrorP95Ms} ms, ${whole(result.orderErrorP95Places)} places`],
    ["abandoned places", `${(result.abandonedShare * 100).toFixed(1)} %`],
    ["write units", `${whole(result.assignWriteUnits)} until all had a place, ${whole(result.writeUnits)} in all`],
    ["read units", `${whole(result.readUnits)}, ${result.readUnitsPerCheck} per check`],
    ["hottest item", `${whole(result.hottestItemWritesPerSecond)} writes/s (${result.hottestItem})`],
    ["turned away", turnedAway.length === 0 ? "nobody" : `${turnedAway.join(", ")}; all tried again`],
    ["protected API", `${result.booked} went on to seats with both tokens`],
  ];
  return `${rows.map(([name, value]) => `${name.padEnd(18)}${value}`).join("\n")}\n`;
}

function whole(value: number): string {
  return new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 }).format(value);
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new Error(`--${name}: given ${text}; allowed is a whole number from 1.`);
  }
  return value;
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`load: ${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
  },
);
