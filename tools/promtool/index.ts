import { readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promtool, runPromtool } from "./promtool";

const RULES = fileURLToPath(new URL("../../k8s/rules", import.meta.url));

/** `npm run rules`: checks the alert rules and runs their tests, by the pinned promtool. */
function main(): number {
  const binary = promtool();
  if (!binary) {
    process.stderr.write("rules: promtool is built by Go, which is not on the PATH. Install Go 1.24 or later.\n");
    return 2;
  }
  const filesOf = (folder: string) =>
    readdirSync(folder)
      .filter((file) => file.endsWith(".yaml"))
      .sort();
  const tests = path.join(RULES, "tests");
  const results = [
    runPromtool(binary, RULES, "check", "rules", ...filesOf(RULES)),
    runPromtool(binary, tests, "test", "rules", ...filesOf(tests)),
  ];
  for (const { output } of results) process.stdout.write(output);
  return results.every(({ ok }) => ok) ? 0 : 1;
}

process.exitCode = main();
