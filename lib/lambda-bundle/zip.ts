import { type Zippable, zipSync } from "fflate";

/** Regular file, rw-r--r--: a Lambda sandbox user must be able to read what root wrote. */
const FILE_MODE = 0o100644;
const UNIX = 3;

/**
 * A zip whose bytes depend on names and contents only.
 *
 * Deflate is fflate's, in plain JavaScript: Node's own zlib picks other matches on other processors and releases, which
 * would change `source_code_hash` between a laptop and CI. Entries are sorted by name, and every one has the same mode and
 * the earliest date a zip can hold. Zip dates are local time without a zone and fflate reads them with the local getters,
 * so the date is made from local parts: a UTC instant would give other bytes east and west of Greenwich.
 */
export function deterministicZip(files: Readonly<Record<string, Uint8Array>>): Buffer {
  const mtime = new Date(1980, 0, 1, 12, 0, 0);
  const entries: Zippable = {};
  for (const name of Object.keys(files).sort()) {
    entries[name] = [files[name] as Uint8Array, { level: 9, mtime, os: UNIX, attrs: FILE_MODE << 16 }];
  }
  return Buffer.from(zipSync(entries));
}
