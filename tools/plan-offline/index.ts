import { existsSync } from "node:fs";
import path from "node:path";
import { OfflineWorkspace } from "../terraform/workspace";

/**
 * `npm run -s plan:offline -- STACK`: prints the plan of a first apply as JSON (`terraform show -json`), with the example account
 * values and without asking AWS anything.
 */
function main([stack]: readonly string[]): number {
  const stackDirectory = path.resolve("cdktf.out/stacks", stack ?? "");
  if (!stack || !existsSync(path.join(stackDirectory, "cdk.tf.json"))) {
    process.stderr.write(
      `plan:offline: given ${stack ?? "no stack"}; allowed: a stack below cdktf.out/stacks. Run \`npm run synth\` first.\n`,
    );
    return 2;
  }
  const workspace = new OfflineWorkspace(stackDirectory, `environments/${stack}.tfvars.example`);
  try {
    workspace.init();
    if (workspace.replacedProviders.length > 0) {
      process.stderr.write(
        `Not in reach, so replaced by built-in resources with fixed values: ${workspace.replacedProviders.join(", ")}\n`,
      );
    }
    process.stdout.write(workspace.planJson());
    return 0;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    return 1;
  } finally {
    workspace.dispose();
  }
}

process.exitCode = main(process.argv.slice(2));
