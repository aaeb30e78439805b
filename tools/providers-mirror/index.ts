import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";

/** Platforms of CI runners and of the team's machines. */
const PLATFORMS = ["linux_amd64", "darwin_arm64"];
const STACKS = path.resolve("cdktf.out/stacks");

/**
 * `npm run providers:mirror -- DIR`: fetches the pinned providers of every stack from the registry into a folder, for teams behind
 * a closed network. Give the folder to the suites and to `plan:offline` as URR_TERRAFORM_PROVIDER_MIRROR, or to Terraform itself as
 * `filesystem_mirror` in its CLI configuration.
 */
function main([directory, ...others]: readonly string[]): number {
  if (directory === undefined || others.length > 0) {
    process.stderr.write(
      "providers:mirror: given no folder, or several; allowed: the one to write to. Example: npm run providers:mirror -- /srv/terraform-mirror\n",
    );
    return 2;
  }
  if (!existsSync(STACKS)) {
    process.stderr.write("providers:mirror: there are no synthesized stacks. Run `npm run synth` first.\n");
    return 2;
  }
  for (const stack of readdirSync(STACKS)) {
    process.stdout.write(`${stack}\n`);
    const { status, error } = spawnSync(
      "terraform",
      ["providers", "mirror", ...PLATFORMS.map((platform) => `-platform=${platform}`), path.resolve(directory)],
      {
        cwd: path.join(STACKS, stack),
        stdio: "inherit",
        env: { ...process.env, CHECKPOINT_DISABLE: "1" },
      },
    );
    if (error) {
      process.stderr.write("providers:mirror: terraform does not start. Install Terraform 1.10 or later.\n");
      return 1;
    }
    if (status !== 0) return status ?? 1;
  }
  return 0;
}

process.exitCode = main(process.argv.slice(2));
