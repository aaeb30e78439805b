import { createHash, timingSafeEqual } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { deterministicZip } from "../../../lib/lambda-bundle/zip";
import { isObject } from "../render/plan";
import { isSafePath, readZip } from "../zip";

/** What a bundle says of itself: one stack's plan of one commit against one base, and every file by its digest. */
export interface Manifest {
  readonly version: 1;
  readonly stack: string;
  readonly head: string;
  readonly base: string;
  readonly files: Readonly<Record<string, string>>;
}

/** Which bundle is meant: its manifest's identity and the manifest's SHA-256. */
export interface BundleRef extends Pick<Manifest, "stack" | "head" | "base"> {
  readonly digest: string;
}

const MANIFEST = "manifest.json";

/** A bundle that is not what was reviewed. Nothing of it may be used. */
export class BundleError extends Error {
  override readonly name = "BundleError";

  constructor(readonly problems: readonly string[]) {
    super(`the bundle is refused:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`);
  }
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Packs plan file, Terraform JSON and zips into one file. Same input, same bytes. */
export function packBundle(
  identity: Pick<Manifest, "stack" | "head" | "base">,
  files: ReadonlyMap<string, Buffer>,
): { readonly bytes: Buffer; readonly planned: BundleRef } {
  const unsafe = [...files.keys()].filter((path) => !isSafePath(path) || path === MANIFEST);
  if (unsafe.length > 0)
    throw new BundleError(unsafe.map((path) => `${JSON.stringify(path)} may not be a file's path`));
  const paths = [...files.keys()].sort();
  const manifest: Manifest = {
    version: 1,
    stack: identity.stack,
    head: identity.head,
    base: identity.base,
    files: Object.fromEntries(paths.map((path) => [path, sha256(files.get(path) ?? Buffer.alloc(0))])),
  };
  const text = Buffer.from(JSON.stringify(manifest));
  const entries: Record<string, Buffer> = { [MANIFEST]: text };
  for (const path of paths) entries[path] = files.get(path) ?? Buffer.alloc(0);
  return {
    bytes: deterministicZip(entries),
    planned: { stack: identity.stack, head: identity.head, base: identity.base, digest: sha256(text) },
  };
}

/**
 * Opens a bundle if it is exactly the one that was planned.
 *
 * @throws BundleError naming everything that differs
 */
export function openBundle(bytes: Buffer, planned: BundleRef): ReadonlyMap<string, Buffer> {
  let entries: ReadonlyMap<string, Buffer>;
  try {
    entries = readZip(bytes);
  } catch (error) {
    throw new BundleError([`it cannot be read: ${error instanceof Error ? error.message : String(error)}`]);
  }
  const text = entries.get(MANIFEST);
  if (!text) throw new BundleError(["it has no manifest"]);
  const digest = sha256(text);
  if (planned.digest.length !== digest.length || !timingSafeEqual(Buffer.from(digest), Buffer.from(planned.digest))) {
    throw new BundleError([`its manifest has the digest ${digest}, not the reviewed ${planned.digest}`]);
  }
  const manifest: unknown = JSON.parse(text.toString());
  if (!isObject(manifest) || manifest.version !== 1 || !isObject(manifest.files)) {
    throw new BundleError(["its manifest is of a version that is not known here: plan again"]);
  }
  const problems: string[] = [];
  for (const key of ["stack", "head", "base"] as const) {
    if (manifest[key] !== planned[key]) problems.push(`it is of ${key} ${String(manifest[key])}, not ${planned[key]}`);
  }
  const listed = manifest.files;
  const files = new Map([...entries].filter(([path]) => path !== MANIFEST));
  for (const path of Object.keys(listed)) if (!files.has(path)) problems.push(`${path} is missing`);
  for (const [path, content] of files) {
    if (!Object.hasOwn(listed, path)) problems.push(`${path} is not in the manifest`);
    else if (sha256(content) !== listed[path]) problems.push(`${path} is not the file that was reviewed`);
  }
  if (problems.length > 0) throw new BundleError(problems);
  return files;
}

/** Reads a folder into memory. Links are refused: they could point at anything. */
export function readFolder(folder: string, prefix = ""): ReadonlyMap<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    const status = lstatSync(path);
    if (status.isDirectory()) {
      if (name === ".terraform" || name === "node_modules") continue;
      for (const [inner, content] of readFolder(path, `${prefix}${name}/`)) files.set(inner, content);
    } else if (status.isFile()) files.set(`${prefix}${name}`, readFileSync(path));
    else throw new BundleError([`${prefix}${name} is neither a file nor a folder`]);
  }
  return files;
}

export function writeFolder(folder: string, files: ReadonlyMap<string, Buffer>): void {
  for (const [path, content] of files) {
    if (!isSafePath(path)) throw new BundleError([`${JSON.stringify(path)} may not be a file's path`]);
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content, { mode: 0o600 });
  }
}
