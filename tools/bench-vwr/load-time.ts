import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { unzipSync } from "fflate";
import { bundleEdge, bundleLambdas, type LambdaBundle } from "../../lib/lambda-bundle";

/** What a cold start loads. */
export interface LoadTime {
  readonly name: string;
  readonly zippedKb: number;
  /** Milliseconds of CPU that loading the module takes in a process of its own, the best of several. */
  readonly cpuMs: number;
  /** Milliseconds that it took, the best of several: as much as the CPU time where nothing else wants the machine. */
  readonly wallMs: number;
}

const RUNS = 9;
/** Names decide nothing about loading. */
const EDGE_CONFIG = {
  region: "ap-northeast-2",
  tokenSecretName: "bench/vwr-token-secret",
  entryTokenSecretName: "bench/queue-entry-token-secret",
  activeEvents: { bucket: "bench", key: "edge/active-events.json" },
};
/** What the functions refuse to start without. */
const ENVIRONMENT = {
  AWS_REGION: "ap-northeast-2",
  AWS_ACCESS_KEY_ID: "bench",
  AWS_SECRET_ACCESS_KEY: "bench",
  AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
  COUNTERS_TABLE: "bench",
  POSITIONS_TABLE: "bench",
  TOKEN_SECRET_ID: "bench",
  BATCH_SIZE: "500",
  SATURATION_ALARMS: "bench",
  TICKET_SERVICE_URL: "http://127.0.0.1",
  INTERNAL_API_TOKEN_SECRET_ID: "bench",
};
const SCRIPT = `const before = process.cpuUsage(), from = performance.now();
require(process.argv[1]);
const wallMs = performance.now() - from, { system, user } = process.cpuUsage(before);
console.log(JSON.stringify({ wallMs, cpuMs: (system + user) / 1000 }));`;

/** Size and load time of every function's package, as deployed. */
export function measureLoadTimes(): LoadTime[] {
  const directory = mkdtempSync(path.join(tmpdir(), "urr-load-time-"));
  try {
    return [...Object.values(bundleLambdas()), bundleEdge(EDGE_CONFIG)].map((bundle) => measure(bundle, directory));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function measure({ name, zip, zipBytes }: LambdaBundle, directory: string): LoadTime {
  const folder = path.join(directory, name);
  mkdirSync(folder);
  for (const [file, content] of Object.entries(unzipSync(zip))) {
    writeFileSync(path.join(folder, file), content);
  }
  const times = Array.from({ length: RUNS }, () => {
    const args = ["-e", SCRIPT, path.join(folder, "index.js")];
    const text = execFileSync(process.execPath, args, { env: ENVIRONMENT, encoding: "utf8" });
    return JSON.parse(text) as Pick<LoadTime, "cpuMs" | "wallMs">;
  });
  return {
    name,
    zippedKb: zipBytes / 1024,
    cpuMs: Math.min(...times.map(({ cpuMs }) => cpuMs)),
    wallMs: Math.min(...times.map(({ wallMs }) => wallMs)),
  };
}
