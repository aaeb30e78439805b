import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";

/** Files at the top of a stack's folder that a synth (this one, or cdktf's own) makes. */
export const STACK_FILES: readonly string[] = ["cdk.tf.json", "cdk.tf", "metadata.json", "terraform.tfvars"];
/** Folders of a stack that belong to the synth, but for what {@link isKept} names. */
const GENERATED_FOLDERS = ["modules", "assets"];

type Files = ReadonlyMap<string, Buffer>;

/**
 * Brings a folder of synthesized stacks up to date: files whose content changed are replaced in one move each, after all of them
 * have been written beside their places; what is stale is removed. Terraform's own files stay (`.terraform`, lock, state, plans),
 * and so do overrides.
 *
 * @param partial whether stacks that are not given stay as they are
 */
export function writeOutput(
  outdir: string,
  manifest: Buffer,
  stacks: ReadonlyMap<string, Files>,
  partial: boolean,
): void {
  const files = new Map<string, Buffer>();
  for (const [name, contents] of stacks) {
    for (const [path, content] of contents) {
      files.set(join(outdir, "stacks", name, path), content);
    }
  }
  // The manifest names the stacks, so it comes last.
  files.set(join(outdir, "manifest.json"), manifest);
  replaceFiles(files);
  const folder = join(outdir, "stacks");
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    if (statSync(join(folder, name)).isDirectory() && (stacks.has(name) || !partial)) {
      prune(join(folder, name), stacks.get(name) ?? new Map(), STACK_FILES);
    }
  }
}

/**
 * Brings one folder up to date.
 *
 * @param generated names of the files at its top that are removed when they are stale; `modules/` and `assets/` always are pruned
 */
export function writeFolder(directory: string, files: Files, generated: readonly string[]): void {
  replaceFiles(new Map([...files].map(([path, content]) => [join(directory, path), content])));
  prune(directory, files, generated);
}

/** Writes files whose content differs from what is there: all beside their places first, then into place. */
export function replaceFiles(files: Files): void {
  const staged: [temporary: string, path: string][] = [];
  try {
    for (const [path, content] of files) {
      if (!existsSync(path) || !statSync(path).isFile() || !readFileSync(path).equals(content)) {
        mkdirSync(dirname(path), { recursive: true });
        const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
        staged.push([temporary, path]);
        writeFileSync(temporary, content);
      }
    }
    for (const [temporary, path] of staged) {
      renameSync(temporary, path);
    }
  } finally {
    for (const [temporary] of staged) {
      rmSync(temporary, { force: true });
    }
  }
}

function prune(directory: string, live: Files, generated: readonly string[]): void {
  for (const name of generated) {
    if (!live.has(name)) {
      rmSync(join(directory, name), { force: true });
    }
  }
  for (const folder of GENERATED_FOLDERS) {
    pruneFolder(directory, folder, live);
  }
  removeIfEmpty(directory);
}

function pruneFolder(directory: string, folder: string, live: Files): void {
  const path = join(directory, folder);
  if (!existsSync(path)) {
    return;
  }
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const relativePath = `${folder}/${entry.name}`;
    if (isKept(entry.name)) {
      continue;
    }
    if (entry.isDirectory()) {
      pruneFolder(directory, relativePath, live);
    } else if (!live.has(relativePath)) {
      rmSync(join(path, entry.name), { force: true });
    }
  }
  removeIfEmpty(path);
}

/** What Terraform and people put into generated folders. */
function isKept(name: string): boolean {
  return (
    name.startsWith(".terraform") ||
    /(^|_)override\.tf(\.json)?$/.test(name) ||
    /\.(tfstate(\..*)?|tfplan|tfvars)$/.test(name)
  );
}

function removeIfEmpty(directory: string): void {
  if (existsSync(directory) && readdirSync(directory).length === 0) {
    rmdirSync(directory);
  }
}
