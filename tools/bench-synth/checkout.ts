import { cpSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");

const NOT_PART_OF_A_SYNTH = ["node_modules", "cdktf.out", "__tests__", "docs", "tools"];

/** Everything that a synth may read. */
export const SYNTH_SOURCES = readdirSync(ROOT).filter(
  (name) => !name.startsWith(".") && !NOT_PART_OF_A_SYNTH.includes(name),
);

/**
 * Makes a folder a checkout with the launcher, the packages of this one and no caches.
 *
 * @param sources What else it gets, relative to the root.
 */
export function makeCheckout(folder: string, sources: readonly string[]): void {
  for (const source of ["tools/app", "tsconfig.json", "package.json", "package-lock.json", ...sources]) {
    mkdirSync(dirname(join(folder, source)), { recursive: true });
    cpSync(join(ROOT, source), join(folder, source), { recursive: true });
  }
  mkdirSync(join(folder, "node_modules"));
  for (const name of readdirSync(join(ROOT, "node_modules")).filter((name) => name !== ".cache")) {
    symlinkSync(join(ROOT, "node_modules", name), join(folder, "node_modules", name));
  }
}
