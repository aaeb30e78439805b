import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const MODULE = fileURLToPath(new URL(".", import.meta.url));
const CACHE = path.join(MODULE, "../../node_modules/.cache/urr-infra/promtool");
const PACKAGE = "github.com/prometheus/prometheus/cmd/promtool";

/**
 * Path of promtool of the version that `go.mod` beside this file pins, built on the first call and kept; `undefined` where there is
 * no Go. Building takes minutes once.
 *
 * @throws Error with what Go said if the build fails
 */
export function promtool(): string | undefined {
  const hash = createHash("sha256");
  for (const file of ["go.mod", "go.sum"]) hash.update(readFileSync(path.join(MODULE, file)));
  const binary = path.join(CACHE, hash.digest("hex").slice(0, 16), "promtool");
  if (existsSync(binary)) return binary;
  const go = (...args: string[]) => spawnSync("go", args, { cwd: MODULE, encoding: "utf8" });
  if (go("version").status !== 0) return undefined;
  mkdirSync(path.dirname(binary), { recursive: true });
  const { status, stderr } = go("build", "-trimpath", "-mod=readonly", "-o", binary, PACKAGE);
  if (status !== 0) throw new Error(`promtool could not be built:\n${stderr}`);
  return binary;
}

/** What promtool said, and whether it had no objection. */
export interface PromtoolResult {
  readonly ok: boolean;
  readonly output: string;
}

/** Runs promtool in a folder. */
export function runPromtool(binary: string, directory: string, ...args: string[]): PromtoolResult {
  const { error, status, stderr, stdout } = spawnSync(binary, args, { cwd: directory, encoding: "utf8" });
  if (error) throw error;
  return { ok: status === 0, output: `${stdout}${stderr}` };
}
