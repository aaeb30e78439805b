// What cdktf.json runs. Node cannot run TypeScript by itself, and loading it through a compiler at every synth costs more than the
// synth: this bundles main.ts once per change of its sources and runs the bundle. Plain JavaScript, because it runs before any loader.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const ROOT = path.resolve(import.meta.dirname, "../..");
const CACHE = path.join(ROOT, "node_modules/.cache/urr-infra/app");
const INPUTS = path.join(CACHE, "inputs.json");

/** Hash of the files that went into the last bundle, or undefined if one of them is gone. */
function hashOf(inputs) {
  const hash = createHash("sha256").update(process.version).update(ROOT);
  for (const input of inputs) {
    const file = path.join(ROOT, input);
    if (!existsSync(file)) return undefined;
    hash.update(input).update("\0").update(readFileSync(file)).update("\0");
  }
  return hash.digest("hex").slice(0, 32);
}

/** The bundle that fits today's sources, if there is one. */
function cachedBundle() {
  if (!existsSync(INPUTS)) return undefined;
  const hash = hashOf(JSON.parse(readFileSync(INPUTS, "utf8")));
  const bundle = hash && path.join(CACHE, `${hash}.mjs`);
  return bundle && existsSync(bundle) ? bundle : undefined;
}

/** Bundles main.ts with cdktf and the provider classes in use. */
async function bundle() {
  const { build } = await import("esbuild");
  const { metafile, outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: ["main.ts"],
    bundle: true,
    write: false,
    metafile: true,
    platform: "node",
    format: "esm",
    target: "node20",
    external: ["esbuild"],
    plugins: [withOwnUrls, withoutDeadWeight],
    // cdktf is CommonJS and asks for require, __dirname and __filename.
    banner: {
      js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url); const __dirname = import.meta.dirname; const __filename = import.meta.filename;',
    },
    logLevel: "error",
  });
  // Packages change only with the lock file, so it stands for all of them.
  const inputs = [
    ...Object.keys(metafile.inputs).filter(
      (input) => !input.startsWith("node_modules/") && existsSync(path.join(ROOT, input)),
    ),
    "package-lock.json",
    "tools/app/index.mjs",
  ].sort();
  const file = path.join(CACHE, `${hashOf(inputs)}.mjs`);
  mkdirSync(CACHE, { recursive: true });
  writeWhole(file, outputFiles[0].contents);
  writeWhole(INPUTS, JSON.stringify(inputs, null, 2));
  return file;
}

/** Leaves out what a synth never uses and pays for at every start: a stack trace for each token, and the archiver (zips are our own). */
const withoutDeadWeight = {
  name: "without-dead-weight",
  setup(build) {
    build.onResolve({ filter: /^archiver$/ }, () => ({ path: "archiver", namespace: "empty" }));
    build.onLoad({ filter: /.*/, namespace: "empty" }, () => ({
      contents: "module.exports = undefined;",
      loader: "js",
    }));
    build.onLoad({ filter: /cdktf[\\/]lib[\\/]tokens[\\/]private[\\/]stack-trace\.js$/ }, () => ({
      contents: "exports.captureStackTrace = () => [];",
      loader: "js",
    }));
  },
};

/** A source that asks where it lies means its own file, not the bundle. */
const withOwnUrls = {
  name: "with-own-urls",
  setup(build) {
    build.onLoad({ filter: /\.ts$/ }, ({ path: file }) => {
      if (file.includes("node_modules")) return undefined;
      const source = readFileSync(file, "utf8");
      return { contents: source.replaceAll("import.meta.url", JSON.stringify(pathToFileURL(file).href)), loader: "ts" };
    });
  },
};

/** A reader of a half-written bundle would fail: write beside it, then rename. */
function writeWhole(file, content) {
  const temporary = `${file}.${process.pid}`;
  writeFileSync(temporary, content);
  renameSync(temporary, file);
}

const { buildApp } = await import(pathToFileURL(cachedBundle() ?? (await bundle())).href);
try {
  buildApp().synth();
} catch (error) {
  // An error that lists problems is about the configuration and says all there is to say; anything else is a defect and needs its trace.
  process.stderr.write(`${error?.problems ? error.message : (error?.stack ?? error)}\n`);
  process.exitCode = 1;
}
