// Starts a command of this folder: `node run.cjs render|plan|comment …`. Node cannot run TypeScript by itself, and a compiler in front
// of every start costs more than the command: it is bundled once per change of its sources, and what V8 compiled of the bundle is
// kept beside it. CommonJS, since V8 keeps the code of scripts only.
const { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } = require("node:fs");
const path = require("node:path");
const { setFlagsFromString } = require("node:v8");
const { Script } = require("node:vm");

const ROOT = path.resolve(__dirname, "../..");
const COMMANDS = ["render", "plan", "comment"];
const CACHE = path.join(ROOT, "node_modules/.cache/plan-comments");
/** What a bundle depends on besides its sources: this file, and what is installed. */
const OTHER_INPUTS = ["tools/plan-comments/run.cjs", "node_modules/.package-lock.json", "tsconfig.json"];
/** Parts of Node that a large plan is rendered without; loading them would be a twentieth of the time. */
const LATE = ["node:crypto", "node:zlib"];

/** The file's content, or undefined if there is none. */
function read(file, encoding) {
  try {
    return readFileSync(file, encoding);
  } catch {
    return undefined;
  }
}

/**
 * Keeps a file for the next start. Another process that reads while this one writes must find all of it: written beside, then
 * renamed. Where it cannot be kept, the next start makes it again; that is no reason for a command to fail, least after its work.
 */
function keep(file, content) {
  const fresh = `${file}.${process.pid}`;
  try {
    mkdirSync(CACHE, { recursive: true });
    writeFileSync(fresh, content);
    renameSync(fresh, file);
  } catch {
    rmSync(fresh, { force: true });
  }
}

/** First line of a bundle: what it was made by and from. */
function stampOf(inputs) {
  const states = inputs.map((name) => {
    const state = statSync(path.join(ROOT, name), { throwIfNoEntry: false });
    return [name, state?.mtimeMs ?? 0, state?.size ?? 0];
  });
  const { arch, platform, version } = process;
  return `//${JSON.stringify({ node: [version, platform, arch], states })}\n`;
}

/** The names that a stamp holds; undefined if it is none. */
function inputsOf(stamp) {
  try {
    return JSON.parse(stamp.slice(2)).states.map(([input]) => input);
  } catch {
    return undefined;
  }
}

/** The command's bundle, made if its sources are not as they were, and its first line. */
async function currentBundle(name) {
  const file = path.join(CACHE, `${name}.cjs`);
  const kept = read(file, "latin1");
  if (kept !== undefined) {
    const stamp = kept.slice(0, kept.indexOf("\n") + 1);
    const inputs = inputsOf(stamp);
    if (inputs !== undefined && stampOf(inputs) === stamp) return { code: kept, stamp };
  }
  const { build } = await import("esbuild");
  const begun = Date.now();
  const { metafile, outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: [`tools/plan-comments/${name}.ts`],
    bundle: true,
    write: false,
    metafile: true,
    format: "cjs",
    platform: "node",
    target: "node20",
    legalComments: "none",
    plugins: [late],
    banner: { js: "(function (require, module, exports, __dirname, __filename) {" },
    footer: { js: "})" },
    logLevel: "warning",
  });
  const own = Object.keys(metafile.inputs).filter((input) => !/^node_modules\/|^late:/.test(input));
  const stamp = stampOf([...own, ...OTHER_INPUTS]);
  // V8 keeps a text of one byte per character in half the space. esbuild has left others in comments and regular expressions only,
  // where the escape means the same.
  const code =
    stamp +
    outputFiles[0].text.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  // A source that was saved meanwhile may not be what was bundled.
  const settled = own.every((input) => statSync(path.join(ROOT, input)).mtimeMs < begun);
  if (settled) keep(file, code);
  return { code, stamp, settled };
}

/** Loads parts of Node when they are first used. */
const late = {
  name: "late",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^node:/ }, ({ path: name, namespace }) =>
      LATE.includes(name) && namespace !== "late" ? { path: name, namespace: "late" } : { path: name, external: true },
    );
    onLoad({ filter: /.*/, namespace: "late" }, ({ path: name }) => ({
      contents: Object.keys(require(name))
        .map(
          (key) =>
            `Object.defineProperty(exports, "${key}", { enumerable: true, get: () => require("${name}").${key} });`,
        )
        .join("\n"),
    }));
  },
};

async function run(name, parameters) {
  const { code, settled = true, stamp } = await currentBundle(name);
  const filename = path.join(CACHE, `${name}.cjs`);
  const compiled = path.join(CACHE, `${name}.v8`);
  // V8 itself tells two scripts apart by their lengths alone.
  const kept = read(compiled);
  const fits = kept?.latin1Slice(0, stamp.length) === stamp;
  const script = new Script(code, { filename, cachedData: fits ? kept.subarray(stamp.length) : undefined });
  const command = { exports: {} };
  script.runInThisContext()(require, command, command.exports, CACHE, filename);
  process.argv = [process.argv[0], name, ...parameters];
  await command.exports.main();
  // Only now does V8 know all functions that the command calls.
  if (script.cachedDataRejected !== false && settled)
    keep(compiled, Buffer.concat([Buffer.from(stamp), script.createCachedData()]));
}

// Most of what runs here runs for a tenth of a second: V8 would spend a third of the CPU on optimizing code that then hardly runs.
setFlagsFromString("--interrupt-budget=1000000");

const [name = "", ...parameters] = process.argv.slice(2);
if (COMMANDS.includes(name)) run(name, parameters);
else {
  process.stderr.write(`unknown command ${JSON.stringify(name)}: one of ${COMMANDS.join(", ")}\n`);
  process.exitCode = 2;
}
