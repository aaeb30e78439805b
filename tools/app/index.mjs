// What cdktf.json runs: `node tools/app/index.mjs [stack…]`, all stacks unless some are named. Node cannot run TypeScript by itself,
// and loading it through a compiler at every synth costs more than the synth: main.ts is bundled once per change of its sources, and
// what V8 compiled of the bundle is kept beside it. Plain JavaScript, because it runs before any loader.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { setFlagsFromString } from "node:v8";
import { Script } from "node:vm";

const ROOT = path.resolve(import.meta.dirname, "../..");
const CACHE = path.join(ROOT, "node_modules/.cache/urr-infra/app");
const INPUTS = path.join(CACHE, "inputs.json");
/** Inputs that are no sources of main.ts: the compiler's options, the record of what is installed in node_modules, and the bundler. */
const OTHER_INPUTS = [
  "tsconfig.json",
  "node_modules/.package-lock.json",
  "tools/app/index.mjs",
  "tools/app/bundle.mjs",
];
const KEPT_BUNDLES = 4;

/** Path without extension of the bundle of files with these contents. */
function bundleOf(inputs) {
  const hash = createHash("sha256").update(`${process.version}\0${process.arch}\0${ROOT}\0`);
  for (const [name, content] of inputs) {
    hash.update(`${name}\0${content.length}\0`).update(content);
  }
  return path.join(CACHE, hash.digest("hex").slice(0, 32));
}

/** The file's content, or undefined if there is none. */
function read(file, encoding) {
  try {
    return readFileSync(file, encoding);
  } catch {
    return undefined;
  }
}

/** The bundle that fits the files as they are now; made, if it is not there. */
async function currentBundle() {
  const names = read(INPUTS, "utf8");
  const inputs = names && JSON.parse(names).map((name) => [name, read(path.join(ROOT, name))]);
  const known = inputs?.every(([, content]) => content) && bundleOf(inputs);
  const code = known && read(`${known}.cjs`, "latin1");
  if (code) return { file: known, code };
  const { bundle } = await import("./bundle.mjs");
  const made = await bundle(ROOT);
  const others = OTHER_INPUTS.map((name) => [name, readFileSync(path.join(ROOT, name))]);
  const current = [...made.sources, ...others];
  const file = bundleOf(current);
  mkdirSync(CACHE, { recursive: true });
  prune();
  writeWhole(`${file}.cjs`, made.code);
  writeWhole(INPUTS, JSON.stringify(current.map(([name]) => name)));
  return { file, code: made.code };
}

/** Removes all but the newest bundles, for one more. */
function prune() {
  const ages = readdirSync(CACHE)
    .filter((name) => name !== path.basename(INPUTS))
    .map((name) => [name, statSync(path.join(CACHE, name), { throwIfNoEntry: false })?.mtimeMs ?? 0])
    .sort(([, a], [, b]) => b - a);
  for (const [name] of ages.slice(2 * (KEPT_BUNDLES - 1))) {
    rmSync(path.join(CACHE, name), { force: true });
  }
}

/** Another process that reads while this one writes must find all of a file: write beside it, then rename. */
function writeWhole(file, content) {
  const temporary = `${file}.${process.pid}`;
  writeFileSync(temporary, content);
  renameSync(temporary, file);
}

// A synth is over before optimized code pays for its compilation: V8 waits fifteen times as long with it.
setFlagsFromString("--interrupt-budget=1000000");

try {
  const { file, code } = await currentBundle();
  const compiled = `${file}.v8`;
  const script = new Script(code, { filename: `${file}.cjs`, cachedData: read(compiled) });
  const app = { exports: {} };
  script.runInThisContext()(createRequire(`${file}.cjs`), app, CACHE, `${file}.cjs`);
  app.exports.buildApp(undefined, process.argv.slice(2)).synth();
  // Only now does V8 know all functions that a synth calls.
  if (script.cachedDataRejected !== false) writeWhole(compiled, script.createCachedData());
} catch (error) {
  // Sources that cannot be bundled have been shown by esbuild. An error that lists problems is about the configuration and says all
  // there is to say. Anything else is a defect and needs its trace.
  if (!error?.errors) process.stderr.write(`${error?.problems ? error.message : (error?.stack ?? error)}\n`);
  process.exitCode = 1;
}
