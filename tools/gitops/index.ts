import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { HEADER } from "./manifest";
import { type ReadFile, renderTree, sameContent, TREE_ROOTS, type Tree } from "./tree";
import { WORKFLOWS_FOLDER, workflowFiles } from "./workflows";

const REPOSITORY = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

/** What differs between a checkout and the rendered tree, one line per file. */
export function differences(root: string, tree: Tree): string[] {
  const differing = [...tree].flatMap(([file, content]) =>
    sameContent(file, read(root, file), content)
      ? []
      : [`${file}: ${read(root, file) === undefined ? "is missing" : "differs from what the catalogue gives"}`],
  );
  const stale = presentFiles(root)
    .filter((file) => !tree.has(file))
    .map((file) => `${file}: is not part of the tree`);
  return [...differing, ...stale].sort();
}

/** Writes the tree into a checkout and removes what is no longer part of it. Returns the files that it changed. */
export function writeTree(root: string, tree: Tree): string[] {
  const changed: string[] = [];
  for (const [file, content] of tree) {
    if (read(root, file) === content) continue;
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), content);
    changed.push(file);
  }
  for (const file of presentFiles(root).filter((present) => !tree.has(present))) {
    rmSync(path.join(root, file));
    changed.push(file);
  }
  return changed.sort();
}

/** The tree that belongs to a checkout, and the workflows that follow from the catalogue as well. */
export function treeOf(root: string): Tree {
  const readFile: ReadFile = (file) => read(root, file);
  return new Map([...renderTree(readFile), ...workflowFiles(readFile)]);
}

function read(root: string, file: string): string | undefined {
  const full = path.join(root, file);
  return existsSync(full) ? readFileSync(full, "utf8") : undefined;
}

function presentFiles(root: string): string[] {
  const filesIn = (folder: string) =>
    existsSync(path.join(root, folder))
      ? readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)).split(path.sep).join("/"))
      : [];
  // Most workflows are written by hand: the renderer owns those that say so.
  const rendered = filesIn(WORKFLOWS_FOLDER).filter((file) => read(root, file)?.startsWith(HEADER));
  return [...TREE_ROOTS.flatMap(filesIn), ...rendered];
}

function main(args: readonly string[]): number {
  const unknown = args.filter((argument) => argument !== "--check");
  if (unknown.length > 0) {
    console.error(`unknown argument ${unknown.join(" ")}; allowed: --check (compare, write nothing)`);
    return 2;
  }
  const tree = treeOf(REPOSITORY);
  if (args.includes("--check")) {
    const found = differences(REPOSITORY, tree);
    for (const line of found) console.error(line);
    if (found.length > 0) console.error(`${found.length} files are not up to date: run npm run gitops and commit`);
    else console.log(`${tree.size} files are up to date`);
    return found.length > 0 ? 1 : 0;
  }
  const changed = writeTree(REPOSITORY, tree);
  for (const file of changed) console.log(file);
  console.log(`${tree.size} files, ${changed.length} changed`);
  return 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main(process.argv.slice(2));
