import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const KEPT_ENTRIES = 8;

/**
 * Build results by the hash of everything that went into them. An entry appears by one rename, so that two processes that
 * build the same thing at once each find it whole or not at all; an entry that was damaged since is built again.
 */
export class BundleCache {
  constructor(private readonly folder: string) {}

  /** The files of the entry, or undefined if there is none or its digest no longer holds. */
  read(key: string): Record<string, Buffer> | undefined {
    try {
      const packed = readFileSync(join(this.folder, key));
      const digest = packed.subarray(0, 32);
      const body = packed.subarray(32);
      if (!createHash("sha256").update(body).digest().equals(digest)) {
        return undefined;
      }
      const headerLength = body.readUInt32BE(0);
      const header = JSON.parse(body.toString("utf8", 4, 4 + headerLength)) as [string, number][];
      const files: Record<string, Buffer> = {};
      let offset = 4 + headerLength;
      for (const [name, length] of header) {
        files[name] = body.subarray(offset, offset + length);
        offset += length;
      }
      return files;
    } catch {
      return undefined;
    }
  }

  /** Stores the files. A folder that cannot be written costs the next synth a build, not this one its result. */
  write(key: string, files: Readonly<Record<string, Uint8Array>>): void {
    const names = Object.keys(files).sort();
    const header = Buffer.from(JSON.stringify(names.map((name) => [name, (files[name] as Uint8Array).length])));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(header.length);
    const body = Buffer.concat([length, header, ...names.map((name) => files[name] as Uint8Array)]);
    const temporary = join(this.folder, `.${key}.${process.pid}.${randomBytes(4).toString("hex")}`);
    try {
      mkdirSync(this.folder, { recursive: true });
      writeFileSync(temporary, Buffer.concat([createHash("sha256").update(body).digest(), body]));
      renameSync(temporary, join(this.folder, key));
      this.prune(key);
    } catch {
      rmSync(temporary, { force: true });
    }
  }

  private prune(current: string): void {
    const entries = readdirSync(this.folder)
      .filter((name) => !name.startsWith(".") && name !== current)
      .map((name) => ({ name, time: statSync(join(this.folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
      .sort((a, b) => b.time - a.time);
    for (const { name } of entries.slice(KEPT_ENTRIES - 1)) {
      rmSync(join(this.folder, name), { force: true });
    }
  }
}

/** Digest over named parts; names and lengths are hashed too, so that no two lists of parts give the same bytes. */
export function digestOf(parts: Iterable<readonly [string, string | Uint8Array]>): string {
  const hash = createHash("sha256");
  for (const [name, content] of parts) {
    hash.update(`${name.length}:${name}:${content.length}:`).update(content);
  }
  return hash.digest("hex");
}

/** Every file under the folder, relative to it, `/` as separator, in order of name. */
export function filesUnder(folder: string): string[] {
  if (!existsSync(folder)) {
    return [];
  }
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(folder.length + 1)
        .replaceAll("\\", "/"),
    )
    .sort();
}
