import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CHARTS } from "../../environments/platform";
import { command } from "../kube/build";
import { platformPods } from "./pods";
import { CHARTS_VARIABLE } from "./sources";

const PODS_FILE = fileURLToPath(new URL("pods.json", import.meta.url));
const USAGE = `npm run charts -- pull DIR   downloads every pinned public chart into DIR
npm run charts -- pods       writes tools/charts/pods.json from the charts in $${CHARTS_VARIABLE}`;

function pull(directory: string): void {
  mkdirSync(directory, { recursive: true });
  for (const { name, repository, version } of Object.values(CHARTS)) {
    const source = repository.startsWith("oci://") ? [`${repository}/${name}`] : [name, `--repo=${repository}`];
    const { error, status, stderr } = spawnSync(
      command("helm"),
      ["pull", ...source, `--version=${version}`, "--untar", `--untardir=${directory}`],
      { encoding: "utf8" },
    );
    if (error) throw error;
    if (status !== 0) throw new Error(`${name} ${version}: ${stderr}`);
    console.log(`${name} ${version}`);
  }
}

function main([subcommand, directory, ...rest]: readonly string[]): number {
  if (subcommand === "pull" && directory !== undefined && rest.length === 0) {
    pull(directory);
    return 0;
  }
  if (subcommand === "pods" && directory === undefined) {
    const pods = { staging: platformPods("staging"), prod: platformPods("prod") };
    writeFileSync(PODS_FILE, `${JSON.stringify(pods, null, 2)}\n`);
    console.log(PODS_FILE);
    return 0;
  }
  console.error(USAGE);
  return 2;
}

process.exitCode = main(process.argv.slice(2));
