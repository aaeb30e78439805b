import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { largePlan } from "./large-plan";
import type { JsonObject } from "./render/plan";

/*
 * `npm run bench:plan -- [--json]`: renders a plan of 5,000 changes as a whole process, in turn with a Node that does nothing and with
 * one that only parses the same file, so that the figures of a busy machine can be read as ratios.
 */

const CHANGES = 5_000;
const ROUNDS = 9;
const GOAL = { seconds: 0.5, mib: 150 };
const fixtures = join(import.meta.dirname, "../../__tests__/tools/plan-comments/fixtures");

interface Run {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly mib: number;
}

/** Told by every measured process at its end, on the last line of standard error. */
const TELL = `data:text/javascript,process.on("exit",()=>process.stderr.write("\\n"+JSON.stringify(process.resourceUsage())))`;

function measured(parameters: readonly string[]): Run & { readonly output: number } {
  const start = process.hrtime.bigint();
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", TELL, ...parameters], {
    maxBuffer: 1 << 28,
  });
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (status !== 0) throw new Error(`${parameters.join(" ")} ended with ${status}: ${stderr}`);
  const usage = JSON.parse(String(stderr).trimEnd().split("\n").at(-1) ?? "{}") as NodeJS.ResourceUsage;
  return {
    seconds,
    cpuSeconds: (usage.userCPUTime + usage.systemCPUTime) / 1e6,
    mib: usage.maxRSS / 1024,
    output: stdout.length,
  };
}

interface Best extends Run {
  /** Wall time of the run in the middle. */
  readonly medianSeconds: number;
}

const best = (runs: readonly Run[]): Best => ({
  seconds: Math.min(...runs.map((run) => run.seconds)),
  medianSeconds: runs.map((run) => run.seconds).sort((a, b) => a - b)[runs.length >> 1] ?? Number.NaN,
  cpuSeconds: Math.min(...runs.map((run) => run.cpuSeconds)),
  mib: Math.max(...runs.map((run) => run.mib)),
});

const folder = mkdtempSync(join(tmpdir(), "plan-bench-"));
try {
  const plans = ["mixed", "aws"].map(
    (name) => JSON.parse(readFileSync(join(fixtures, `${name}.plan.json`), "utf8")) as JsonObject,
  );
  const file = join(folder, "plan.json");
  writeFileSync(file, JSON.stringify(largePlan(plans, CHANGES)));
  const commands = {
    node: ["-e", "0"],
    parse: ["-e", `JSON.parse(require("node:fs").readFileSync(${JSON.stringify(file)}, "utf8"))`],
    render: ["tools/plan-comments/run.cjs", "render", "--stack", "prod", file],
  };
  // Bundles the command, which happens once per change of its sources.
  const { output } = measured(commands.render);
  const runs: Record<keyof typeof commands, Run[]> = { node: [], parse: [], render: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of ["node", "parse", "render"] as const) runs[name].push(measured(commands[name]));
  }
  const [node, parse, render] = [best(runs.node), best(runs.parse), best(runs.render)];
  const ratio = { seconds: render.seconds / parse.seconds, cpu: render.cpuSeconds / parse.cpuSeconds };
  const line = (name: string, run: Best) =>
    `${name.padEnd(24)} ${run.seconds.toFixed(2)} s (median ${run.medianSeconds.toFixed(2)}), ${run.cpuSeconds.toFixed(2)} s of CPU, ${run.mib.toFixed(0)} MiB\n`;
  process.stdout.write(
    `${CHANGES} changes, ${(statSync(file).size / 1e6).toFixed(1)} MB of JSON → ${(output / 1e3).toFixed(0)} kB of Markdown; best of ${ROUNDS}\n` +
      line("node that does nothing", node) +
      line("node that parses it", parse) +
      line("render", render) +
      `render / parse: ${ratio.seconds.toFixed(1)} in time, ${ratio.cpu.toFixed(1)} in CPU (goals: ${GOAL.seconds} s, ${GOAL.mib} MiB)\n`,
  );
  if (process.argv.includes("--json")) {
    process.stdout.write(`${JSON.stringify({ changes: CHANGES, node, parse, render, ratio, goal: GOAL })}\n`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
