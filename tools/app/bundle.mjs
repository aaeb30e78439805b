import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { build, version } from "esbuild";

/**
 * Bundles main.ts with cdktf and the provider classes in use into one CommonJS function of require, module, __dirname and __filename,
 * and tells the project's own files that went in, with the contents that were read. `alias` names packages to take in place of others.
 */
export async function bundle(root, alias = {}) {
  const sources = new Map();
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ["main.ts"],
    bundle: true,
    write: false,
    platform: "node",
    format: "cjs",
    target: "node20",
    alias,
    // Shorter, but still readable in a stack trace.
    minifySyntax: true,
    legalComments: "none",
    plugins: [ownSources(root, sources), withoutDeadWeight, withLateEsbuild],
    banner: { js: "(function (require, module, __dirname, __filename) {" },
    footer: { js: "})" },
    logLevel: "error",
  });
  // V8 keeps a text of one byte per character in half the space. esbuild has left other characters in comments only.
  const code = outputFiles[0].text.replace(/[^\0-\x7f]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
  return { code, sources: [...sources].sort(([a], [b]) => (a < b ? -1 : 1)) };
}

/** Notes what is read. A source that asks where it lies means its own file, not the bundle. */
function ownSources(root, sources) {
  return {
    name: "own-sources",
    setup({ onLoad }) {
      onLoad({ filter: /\.(ts|json)$/ }, ({ path: file }) => {
        if (file.includes("node_modules")) return undefined;
        const content = readFileSync(file);
        sources.set(path.relative(root, file).replaceAll("\\", "/"), content);
        return {
          contents: content.toString().replaceAll("import.meta.url", JSON.stringify(pathToFileURL(file).href)),
          loader: path.extname(file).slice(1),
        };
      });
    },
  };
}

/** Leaves out what a synth never uses and pays for at every start: a stack trace for each token, and the archiver (zips are our own). */
const withoutDeadWeight = {
  name: "without-dead-weight",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^archiver$/ }, () => ({ path: "archiver", namespace: "empty" }));
    onLoad({ filter: /.*/, namespace: "empty" }, () => ({ contents: "module.exports = undefined;", loader: "js" }));
    onLoad({ filter: /cdktf[\\/]lib[\\/]tokens[\\/]private[\\/]stack-trace\.js$/ }, () => ({
      contents: "exports.captureStackTrace = () => [];",
      loader: "js",
    }));
  },
};

/** Loads esbuild when something has to be built, which in most synths is nothing. */
const withLateEsbuild = {
  name: "with-late-esbuild",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^esbuild$/ }, ({ namespace }) =>
      namespace === "late" ? { path: "esbuild", external: true } : { path: "esbuild", namespace: "late" },
    );
    onLoad({ filter: /.*/, namespace: "late" }, () => ({
      contents: `exports.version = ${JSON.stringify(version)}; exports.buildSync = (options) => require("esbuild").buildSync(options);`,
      loader: "js",
    }));
  },
};
