import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";

const ROOT = path.resolve(import.meta.dirname, "../../..");
/** Runs a command in a project and says, once it has ended, that it has seen the end. */
const DEPLOYS = `
  import { Project } from "./tools/cloud/project.ts";
  const project = Project.create({}, process.argv[1]);
  await project.command("sh", ["-c", "echo $$; exec sleep 600"], { progress: (line) => console.log(line) });
  console.log("ended");
`;

let home: string;

beforeAll(() => {
  home = mkdtempSync(path.join(tmpdir(), "urr-project-"));
});

afterAll(() => rmSync(home, { recursive: true, force: true }));

describe("a command in a project", () => {
  it.each([
    "SIGINT",
    "SIGTERM",
    "SIGHUP",
  ] as const)("ends with the process that runs it when that gets %s", async (signal) => {
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", DEPLOYS, home], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk;
    });
    while (!/^\d+\n/.test(output)) await sleep(50);
    const command = Number.parseInt(output, 10);
    onTestFinished(() => {
      if (isAlive(command)) process.kill(command, "SIGKILL");
    });
    child.kill(signal);
    await once(child, "close");
    expect(isAlive(command)).toBe(false);
    expect(output).toContain("ended");
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
