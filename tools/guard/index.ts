import { readFileSync } from "node:fs";
import { givenFile } from "../terraform/given-file";
import { readOverrideFile, readOverrides } from "./overrides";
import { explain, judge, UnreadablePlanError } from "./rules";

const USAGE =
  "guard: give the file that `terraform show -json PLANFILE` printed, or - for standard input; then any number of --allow ADDRESS and --allow-file FILE.\n";

/** `npm run -s guard -- PLAN.json [--allow ADDRESS]… [--allow-file FILE]…`: exits 1 if the plan loses a guarded resource. */
function main(args: readonly string[]): number {
  const overrides = readOverrides(process.env);
  const files: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] ?? "";
    const value = args[index + 1];
    if (argument === "--allow" && value) overrides.push(value);
    else if (argument === "--allow-file" && value) overrides.push(...readOverrideFile(givenFile(value)));
    else if (argument.startsWith("--")) return usage();
    else {
      files.push(argument);
      continue;
    }
    index++;
  }
  const [file, ...others] = files;
  if (file === undefined || others.length > 0) return usage();
  try {
    const verdict = judge(JSON.parse(readFileSync(file === "-" ? 0 : givenFile(file), "utf8")), overrides);
    process.stdout.write(explain(verdict) || "guard: the plan loses no guarded resource.\n");
    return verdict.refused.length > 0 ? 1 : 0;
  } catch (error) {
    const hint = error instanceof UnreadablePlanError ? "" : "; give what `terraform show -json PLANFILE` prints";
    process.stderr.write(`guard: ${file}: ${error instanceof Error ? error.message : error}${hint}\n`);
    return 2;
  }
}

function usage(): number {
  process.stderr.write(USAGE);
  return 2;
}

process.exitCode = main(process.argv.slice(2));
