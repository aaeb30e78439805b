import { inflateRawSync } from "node:zlib";

/** Larger entries are refused: a bundle of plan files and functions never has one. */
const LARGEST_ENTRY = 512 * 1024 * 1024;

/** A zip that is cut off, lies about its entries, or names files outside its folder. */
export class ZipError extends Error {
  override readonly name = "ZipError";
}

/** Reads the entries of a zip by its central directory (APPNOTE 4.3.12); stored and deflated ones, no Zip64. */
export function readZip(bytes: Buffer): ReadonlyMap<string, Buffer> {
  const end = bytes.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  if (end < 0 || end + 22 > bytes.length) throw new ZipError("not a zip: no end of central directory");
  const count = bytes.readUInt16LE(end + 10);
  let at = bytes.readUInt32LE(end + 16);
  const entries = new Map<string, Buffer>();
  for (let index = 0; index < count; index++) {
    if (at + 46 > bytes.length || bytes.readUInt32LE(at) !== 0x02014b50)
      throw new ZipError("damaged central directory");
    const method = bytes.readUInt16LE(at + 10);
    const compressed = bytes.readUInt32LE(at + 20);
    const size = bytes.readUInt32LE(at + 24);
    const nameLength = bytes.readUInt16LE(at + 28);
    const skip = bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
    const header = bytes.readUInt32LE(at + 42);
    const name = bytes.toString("utf8", at + 46, at + 46 + nameLength);
    at += 46 + nameLength + skip;
    if (name.endsWith("/")) continue;
    if (!isSafePath(name)) throw new ZipError(`entry ${JSON.stringify(name)} points outside`);
    if (entries.has(name)) throw new ZipError(`entry ${JSON.stringify(name)} is there twice`);
    if (size > LARGEST_ENTRY) throw new ZipError(`entry ${JSON.stringify(name)} is too large`);
    if (header + 30 > bytes.length || bytes.readUInt32LE(header) !== 0x04034b50) throw new ZipError("damaged entry");
    const start = header + 30 + bytes.readUInt16LE(header + 26) + bytes.readUInt16LE(header + 28);
    const raw = bytes.subarray(start, start + compressed);
    if (method !== 0 && method !== 8)
      throw new ZipError(`entry ${JSON.stringify(name)}: unknown compression ${method}`);
    const content = method === 0 ? Buffer.from(raw) : inflateRawSync(raw, { maxOutputLength: Math.max(1, size) });
    if (content.length !== size) throw new ZipError(`entry ${JSON.stringify(name)} has another size than it says`);
    entries.set(name, content);
  }
  return entries;
}

/** Relative, without `..`, drive letters, backslashes or control characters. */
export const isSafePath = (path: string): boolean =>
  path !== "" &&
  !path.startsWith("/") &&
  /^[\w@+=,. /()[\]-]+$/.test(path) &&
  path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
