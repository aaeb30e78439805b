// Starts a command of this folder from a bundle that is made once per change of its sources: a third of tsx's start time.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import module from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import v8 from "node:v8";

const here = dirname(fileURLToPath(import.meta.url));
const COMMANDS = ["render", "plan", "comment"];

const stamp = (folder) =>
  readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return stamp(path);
      const { mtimeMs, size } = statSync(path);
      return `${path} ${mtimeMs} ${size}`;
    })
    .join("\n");

const [name = "", ...parameters] = process.argv.slice(2);
if (!COMMANDS.includes(name)) {
  process.stderr.write(`unknown command ${JSON.stringify(name)}: one of ${COMMANDS.join(", ")}\n`);
  process.exit(2);
}
const cache = join(here, "../../node_modules/.cache/plan-comments");
const sources = [
  here,
  ...["../guard", "../terraform", "../../environments", "../../lib/lambda-bundle"].map((folder) => join(here, folder)),
]
  .map(stamp)
  .join("\n");
const target = join(cache, createHash("sha256").update(sources).digest("hex").slice(0, 20));
if (!existsSync(join(target, `${name}.mjs`))) {
  const { build } = await import("esbuild");
  const fresh = `${target}.${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  await build({
    entryPoints: COMMANDS.map((command) => join(here, `${command}.ts`)).filter(existsSync),
    outdir: fresh,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    logLevel: "warning",
  });
  if (existsSync(target)) rmSync(fresh, { recursive: true });
  else renameSync(fresh, target);
}
// Most of what runs here runs for a tenth of a second: V8 would spend a third of the CPU on optimizing code that then hardly runs.
v8.setFlagsFromString("--interrupt-budget=1000000");
// Keeps V8's code from run to run where Node can (22.8 and later).
module.enableCompileCache?.(target);
process.argv = [process.argv[0], name, ...parameters];
const { main } = await import(pathToFileURL(join(target, `${name}.mjs`)).href);
await main();
