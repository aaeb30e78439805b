import { exportHcl, SynthError } from "../../lib/terraform-modules";
import { buildApp } from "../../main";

const DEFAULT_DIRECTORY = "cdktf.out/hcl";

/**
 * `npm run export:hcl -- [DIR]`: writes every stack in Terraform's native syntax to `DIR/environments/<stack>/`, function code and
 * pages included, so that Terraform can plan it there. Needs no Terraform itself.
 */
function main(args: readonly string[]): number {
  const [directory = DEFAULT_DIRECTORY, ...others] = args;
  if (others.length > 0 || directory.startsWith("-")) {
    process.stderr.write(
      `export:hcl: given ${args.join(" ")}; allowed: at most one folder (default ${DEFAULT_DIRECTORY}). Stacks are written below it.\n`,
    );
    return 2;
  }
  try {
    for (const folder of exportHcl(buildApp(), directory)) {
      process.stdout.write(`${folder}\n`);
    }
    return 0;
  } catch (error) {
    process.stderr.write(`${error instanceof SynthError ? error.message : String(error)}\n`);
    return 1;
  }
}

process.exitCode = main(process.argv.slice(2));
