import { readFileSync } from "node:fs";
import { givenFile } from "../terraform/given-file";

/**
 * Addresses that this run may lose: `URR_GUARD_ALLOW`, separated by white space, and the file that `URR_GUARD_ALLOW_FILE` names, one
 * address a line. Text after a `#` is a remark, and lists are empty unless given.
 */
export function readOverrides(environment: Readonly<Record<string, string | undefined>>): string[] {
  const { URR_GUARD_ALLOW = "", URR_GUARD_ALLOW_FILE } = environment;
  return [
    ...URR_GUARD_ALLOW.split(/\s+/),
    ...(URR_GUARD_ALLOW_FILE ? readOverrideFile(givenFile(URR_GUARD_ALLOW_FILE, environment)) : []),
  ].filter((address) => address !== "");
}

/** Addresses in a file, one a line. */
export function readOverrideFile(file: string): string[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .map((line) => line.replace(/\s*#.*$/, "").trim())
    .filter((line) => line !== "");
}
