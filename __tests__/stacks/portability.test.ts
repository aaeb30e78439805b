import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundle } from "../../tools/app/bundle.mjs";
import { makeCheckout, SYNTH_SOURCES } from "../../tools/bench-synth/checkout";

// cdktf is archived; cdktn is the fork that goes on. Moving there must stay a change of one dependency.

let folder: string;
const versions: Record<string, string> = {};

/** Synthesizes every stack with `cdktf` taken from the package of that name, into a folder of the package's name. */
async function synthWith(name: string): Promise<void> {
  const { code } = await bundle(folder, { cdktf: name });
  writeFileSync(join(folder, "bundle.cjs"), `module.exports = ${code}`);
  const run = `
    const app = { exports: {} };
    require("./bundle.cjs")(require, app, ${JSON.stringify(folder)}, ${JSON.stringify(join(folder, "bundle.cjs"))});
    app.exports.buildApp(${JSON.stringify(name)}).synth();`;
  const { status, stderr } = spawnSync(process.execPath, ["-e", run], { cwd: folder, encoding: "utf8" });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  versions[name] = JSON.parse(readFileSync(join(folder, "node_modules", name, "package.json"), "utf8")).version;
}

/** Every file of an output by its path, as text. */
function outputOf(name: string): Record<string, string> {
  const files = readdirSync(join(folder, name), { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return Object.fromEntries(
    files.map((entry) => {
      const file = join(entry.parentPath, entry.name);
      return [file.slice(join(folder, name).length), readFileSync(file, "latin1")];
    }),
  );
}

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "portability-")));
  makeCheckout(folder, SYNTH_SOURCES);
  await synthWith("cdktf");
  await synthWith("cdktn");
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("synthesized by cdktn in place of cdktf", () => {
  it("every stack comes out byte for byte the same, but for the version of the framework", () => {
    const expected = outputOf("cdktf");
    expect(Object.keys(expected).length).toBeGreaterThan(50);
    const withVersion = Object.fromEntries(
      Object.entries(expected).map(([file, text]) => [
        file,
        file.endsWith(".json")
          ? text.replaceAll(`"version": "${versions.cdktf}"`, `"version": "${versions.cdktn}"`)
          : text,
      ]),
    );
    expect(outputOf("cdktn")).toEqual(withVersion);
  });
});
