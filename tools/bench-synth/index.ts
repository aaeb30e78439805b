import { spawnSync } from "node:child_process";
import { appendFileSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { makeCheckout, SYNTH_SOURCES } from "./checkout";

/**
 * Times whole synths in a checkout of its own. Seconds say as much about the machine and what else it does as about the synth, so
 * every figure is a multiple of R, the time in which Node loads cdktf and does nothing, measured in turns with the rest. Best of
 * several runs: other work on the machine only ever adds.
 */
const RUNS = 15;
const COLD_RUNS = 2;
/** The largest stack. */
const ONE_STACK = "prod";
const GOALS = { synthRatio: 2.6, oneStackRatio: 1.5 };

const folder = realpathSync(mkdtempSync(join(tmpdir(), "bench-synth-")));
try {
  makeCheckout(folder, SYNTH_SOURCES);
  const loadCdktf = () => run("-e", "require('cdktf')");
  const synth = (...stacks: string[]) => run("tools/app/index.mjs", ...stacks);
  const forget = (cache: string) =>
    rmSync(join(folder, "node_modules/.cache/urr-infra", cache), { recursive: true, force: true });

  const cold = best(COLD_RUNS, () => {
    forget("");
    return synth();
  });
  const changed = best(COLD_RUNS, () => {
    appendFileSync(join(folder, "main.ts"), "\n");
    return synth();
  });
  // After the first synth of a bundle comes one with what V8 has compiled.
  const rounds = Array.from({ length: RUNS }, () => ({
    load: loadCdktf(),
    all: synth(),
    one: synth(ONE_STACK),
  }));
  const least = (of: keyof (typeof rounds)[number]) => Math.min(...rounds.map((round) => round[of]));
  const load = least("load");
  const result = {
    synthRatio: ratio(least("all"), load),
    oneStackRatio: ratio(least("one"), load),
    changedSourceRatio: ratio(changed, load),
    coldRatio: ratio(cold, load),
  };
  const lines = [
    `R = ${(load * 1000).toFixed(0)} ms: Node ${process.versions.node} loads cdktf (best of ${RUNS}; ${availableParallelism()} cores, load ${loadavg()[0]?.toFixed(1)})`,
    `all stacks, nothing changed: ${result.synthRatio} R (goal ${GOALS.synthRatio})`,
    `only ${ONE_STACK}, nothing changed: ${result.oneStackRatio} R (goal ${GOALS.oneStackRatio})`,
    `all stacks, a TypeScript source changed: ${result.changedSourceRatio} R (best of ${COLD_RUNS})`,
    `all stacks, no caches, every Lambda and the page built: ${result.coldRatio} R (best of ${COLD_RUNS})`,
    ...(process.argv.includes("--json") ? [JSON.stringify(result)] : []),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Seconds of one whole process. */
function run(...command: string[]): number {
  const start = process.hrtime.bigint();
  const { status, stderr } = spawnSync(process.execPath, command, {
    cwd: folder,
    env: { ...process.env, CDKTF_OUTDIR: join(folder, "cdktf.out") },
  });
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (status !== 0) {
    throw new Error(`node ${command.join(" ")} ended with ${status}: ${stderr}`);
  }
  return seconds;
}

function best(runs: number, measure: () => number): number {
  return Math.min(...Array.from({ length: runs }, measure));
}

function ratio(seconds: number, load: number): number {
  return Number((seconds / load).toFixed(2));
}
