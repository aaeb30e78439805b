import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { largePlan } from "./large-plan";
import type { JsonObject } from "./render/plan";

/** Renders a plan of 5,000 changes as a whole process and prints the best of several runs. */
const CHANGES = 5_000;
const RUNS = 7;
const fixtures = join(import.meta.dirname, "../../__tests__/tools/plan-comments/fixtures");
const folder = mkdtempSync(join(tmpdir(), "plan-bench-"));
try {
  const plans = ["mixed", "aws"].map(
    (name) => JSON.parse(readFileSync(join(fixtures, `${name}.plan.json`), "utf8")) as JsonObject,
  );
  const file = join(folder, "plan.json");
  writeFileSync(file, JSON.stringify(largePlan(plans, CHANGES)));
  const command = ["tools/plan-comments/run.mjs", "render", "--stack", "prod", file];
  const size = execFileSync(process.execPath, command, { maxBuffer: 1 << 28 }).length;
  const runs = Array.from({ length: RUNS }, () => {
    const start = process.hrtime.bigint();
    const measured = existsSync("/usr/bin/time")
      ? spawnSync("/usr/bin/time", ["-f", "%M", process.execPath, ...command], { maxBuffer: 1 << 28 })
      : spawnSync(process.execPath, command, { maxBuffer: 1 << 28 });
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    return { seconds, mib: Number(/(\d+)\s*$/.exec(String(measured.stderr))?.[1] ?? Number.NaN) / 1024 };
  });
  const best = Math.min(...runs.map((run) => run.seconds));
  const median = runs.map((run) => run.seconds).sort((a, b) => a - b)[Math.floor(RUNS / 2)];
  const memory = Math.max(...runs.map((run) => run.mib));
  process.stdout.write(
    `${CHANGES} changes, ${(statSync(file).size / 1e6).toFixed(1)} MB of JSON → ${(size / 1e3).toFixed(0)} kB of Markdown: ` +
      `best ${best.toFixed(2)} s, median ${median?.toFixed(2)} s (goal 0.5), ${memory.toFixed(0)} MiB (goal 150)\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
