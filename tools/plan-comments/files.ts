import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative, sep } from "node:path";
import type { Asset, SynthStack } from "./render/index";
import { isObject, type Json, type JsonObject, own } from "./render/plan";
import { readZip } from "./zip";

/** A folder that is not what `npm run synth` writes. */
export class SynthFolderError extends Error {
  override readonly name = "SynthFolderError";
}

/** Reads what synth wrote: every stack's root, its child modules and the packed functions. */
export function readSynth(folder: string): Readonly<Record<string, SynthStack>> {
  const manifestFile = join(folder, "manifest.json");
  if (!existsSync(manifestFile)) {
    throw new SynthFolderError(`${folder}: no manifest.json; give the folder that npm run synth writes (cdktf.out)`);
  }
  refuseLinks(folder);
  const manifest = readJson(manifestFile);
  const stacks: Record<string, SynthStack> = {};
  for (const [name, entry] of Object.entries(isObject(manifest.stacks) ? manifest.stacks : {})) {
    const home = join(folder, "stacks", name);
    if (!existsSync(join(home, "cdk.tf.json"))) continue;
    const dependencies = isObject(entry) && Array.isArray(entry.dependencies) ? entry.dependencies.map(String) : [];
    stacks[name] = {
      name,
      root: readJson(join(home, "cdk.tf.json")),
      modules: Object.fromEntries(
        folders(join(home, "modules"))
          .filter((module) => existsSync(join(home, "modules", module, "main.tf.json")))
          .map((module) => [module, readJson(join(home, "modules", module, "main.tf.json"))]),
      ),
      dependencies,
      assets: readAssets(home),
    };
  }
  return stacks;
}

/**
 * Dependencies of every stack in the manifest, also of those without a folder: what the app says, and the stacks whose state a stack
 * reads.
 */
export function readDependencies(folder: string): Readonly<Record<string, readonly string[]>> {
  refuseLinks(folder);
  const manifest = readJson(join(folder, "manifest.json"));
  const stacks = Object.entries(isObject(manifest.stacks) ? manifest.stacks : {});
  const roots = stacks.flatMap(([name]) => {
    const file = join(folder, "stacks", name, "cdk.tf.json");
    return existsSync(file) ? [[name, readJson(file)] as const] : [];
  });
  const stateOf = (config: Json | undefined) => (isObject(config) ? `${config.bucket}/${config.key}` : undefined);
  const at = (value: Json | undefined, ...path: readonly string[]) =>
    path.reduce<Json | undefined>((inner, name) => (isObject(inner) ? own(inner, name) : undefined), value);
  const owners = new Map(roots.map(([name, root]) => [stateOf(at(root, "terraform", "backend", "s3")), name]));
  const reads = new Map(
    roots.map(([name, root]) => {
      const states = at(root, "data", "terraform_remote_state");
      const read = Object.values(isObject(states) ? states : {}).map((state) =>
        owners.get(stateOf(at(state, "config"))),
      );
      return [name, read.filter((owner) => owner !== undefined && owner !== name) as readonly string[]];
    }),
  );
  return Object.fromEntries(
    stacks.map(([name, entry]) => {
      const said = isObject(entry) && Array.isArray(entry.dependencies) ? entry.dependencies.map(String) : [];
      return [name, [...new Set([...said, ...(reads.get(name) ?? [])])]];
    }),
  );
}

/** A pull request's synth could link to any file of the machine that reads it. What `terraform init` keeps is not read. */
function refuseLinks(folder: string): void {
  const links = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isFile() && !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((path) => !path.split(sep).includes(".terraform"));
  if (links.length > 0)
    throw new SynthFolderError(`${folder}: only files and folders are read, and no links: ${links.sort().join(", ")}`);
}

function readJson(file: string): JsonObject {
  const value = JSON.parse(readFileSync(file, "utf8")) as Json;
  if (!isObject(value)) throw new SynthFolderError(`${file}: a JSON object is needed`);
  return value;
}

const folders = (folder: string): readonly string[] =>
  existsSync(folder) ? readdirSync(folder).filter((name) => statSync(join(folder, name)).isDirectory()) : [];

function readAssets(home: string): Readonly<Record<string, Asset>> {
  const assets: Record<string, Asset> = {};
  const visit = (folder: string, prefix: string) => {
    for (const name of existsSync(folder) ? readdirSync(folder).sort() : []) {
      const file = join(folder, name);
      if (statSync(file).isDirectory()) visit(file, `${prefix}${name}/`);
      else if (name.endsWith(".zip")) assets[`${prefix}${name}`] = readAsset(file);
    }
  };
  visit(join(home, "assets"), "assets/");
  return assets;
}

function readAsset(file: string): Asset {
  const bytes = readFileSync(file);
  return {
    bytes: bytes.length,
    hash: createHash("sha256").update(bytes).digest("base64"),
    sources: sourcesBeside(file) ?? sourcesInside(bytes),
  };
}

const digest = (data: string | Uint8Array): string =>
  createHash("sha256").update(data).digest("base64url").slice(0, 16);

/** Source files by the source map that the bundler leaves beside a zip. */
function sourcesBeside(file: string): Readonly<Record<string, string>> | undefined {
  const map = [`${file}.map`, file.replace(/\.zip$/, ".js.map"), file.replace(/\.zip$/, ".map")].find(existsSync);
  if (map === undefined) return undefined;
  const { sources, sourcesContent } = readJson(map) as {
    sources?: readonly string[];
    sourcesContent?: readonly (string | null)[];
  };
  if (!Array.isArray(sources) || !Array.isArray(sourcesContent)) return undefined;
  return Object.fromEntries(
    sources.map((source, index) => [tidy(String(source)), digest(String(sourcesContent[index] ?? ""))]),
  );
}

/** Packages are named as packages; the project's own files from its root. */
const tidy = (source: string): string => {
  const path = source.replace(/^(?:\.\.?\/)+/, "");
  const inside = /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/.exec(path);
  return inside ? `${inside[1]} (package)` : path;
};

/** Entries of the zip; of a bundle that was not minified, esbuild's comments tell the source files. */
function sourcesInside(bytes: Buffer): Readonly<Record<string, string>> {
  const sources: Record<string, string> = {};
  for (const [name, content] of readZip(bytes)) {
    const parts = content.toString("utf8").split(/^\/\/ ((?:lambdas|node_modules|lib|tools)\/\S+)$/m);
    if (parts.length < 3) sources[name] = digest(content);
    for (let index = 1; index + 1 < parts.length; index += 2) {
      const source = tidy(parts[index] ?? "");
      sources[source] = digest(`${sources[source] ?? ""}${parts[index + 1]}`);
    }
  }
  return sources;
}
