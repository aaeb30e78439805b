import { rmSync } from "node:fs";
import path from "node:path";
import { deployAll } from "./deploy";
import { inventory, table } from "./inventory";
import { Project } from "./project";
import { Cloud } from "./simulators";

const HOME = path.resolve(import.meta.dirname, "../../.cache/cloud");
const PROJECT = path.join(HOME, "project");

const USAGE = `cloud: an AWS API on loopback, and the stacks deployed to it.

  npm run cloud -- up        start it, or find the one that runs
  npm run cloud -- deploy    start it, then bootstrap, staging and prod (eight to ten minutes)
  npm run cloud -- verify    plan staging and prod again: no change may be left
  npm run cloud -- status    what runs, what is deployed, which URLs answer
  npm run cloud -- env       what to export so that aws, terraform and cdktf talk to it:
                             eval "$(npm run -s cloud -- env)"
  npm run cloud -- down      stop it; everything in it is gone

  --json after deploy or status prints the same as JSON on standard output.
`;

// A note for whoever maintains this repository, not for whoever deploys with it.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";

const say = (line: string) => void process.stderr.write(`${line}\n`);

const COMMANDS: Readonly<Record<string, (json: boolean) => Promise<number>>> = {
  up: async () => {
    const cloud = await Cloud.up(HOME, { progress: say });
    for (const { part, url, log } of await cloud.health()) say(`${part.padEnd(10)} ${url}  log: ${log}`);
    return 0;
  },

  deploy: async (json) => {
    const running = await Cloud.find(HOME);
    // States belong to one life of the simulators.
    if (!running) rmSync(PROJECT, { recursive: true, force: true });
    const cloud = running ?? (await Cloud.up(HOME, { progress: say }));
    const project = Project.create(cloud.environment, PROJECT);
    await deployAll(project, { progress: say });
    const found = await inventory(cloud);
    process.stdout.write(json ? `${JSON.stringify(found, null, 2)}\n` : table(found));
    return 0;
  },

  verify: async () => {
    const project = Project.create((await mustRun()).environment, PROJECT);
    let clean = true;
    for (const stack of ["staging", "prod"]) {
      const { output } = await project.diff(stack);
      const unchanged = output.includes("No changes.");
      clean &&= unchanged;
      say(`${stack}: ${unchanged ? "no changes" : `changes are left:\n${output}`}`);
    }
    return clean ? 0 : 1;
  },

  status: async (json) => {
    const cloud = await Cloud.find(HOME);
    if (!cloud) {
      say("cloud: nothing runs here. Start it with `npm run cloud -- up`.");
      return 1;
    }
    const simulators = await cloud.health();
    const found = await inventory(cloud);
    if (json) {
      process.stdout.write(`${JSON.stringify({ simulators, ...found }, null, 2)}\n`);
      return 0;
    }
    for (const { healthy, log, part, url } of simulators)
      say(`${part.padEnd(10)} ${url}  ${healthy ? "answers" : "does not answer"}  log: ${log}`);
    process.stdout.write(table(found));
    return 0;
  },

  env: async () => {
    const cloud = await mustRun();
    process.stdout.write("unset AWS_PROFILE AWS_SESSION_TOKEN\n");
    for (const [name, value] of Object.entries(cloud.environment)) process.stdout.write(`export ${name}=${value}\n`);
    return 0;
  },

  down: async () => {
    const stopped = await Cloud.stop(HOME);
    rmSync(PROJECT, { recursive: true, force: true });
    say(stopped ? "cloud: stopped." : "cloud: nothing runs here.");
    return 0;
  },
};

async function mustRun(): Promise<Cloud> {
  const cloud = await Cloud.find(HOME);
  if (!cloud) throw new Error("nothing runs here. Start it with `npm run cloud -- up`.");
  return cloud;
}

const [name = "", ...options] = process.argv.slice(2);
const command = COMMANDS[name];
const json = options.includes("--json");
if (!command || options.length > (json ? 1 : 0) || (json && command.length === 0)) {
  process.stderr.write(USAGE);
  process.exitCode = 2;
} else {
  try {
    process.exitCode = await command(json);
  } catch (error) {
    process.stderr.write(`cloud ${name}: ${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
  }
}
