import { spawn, spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeCheckout, SYNTH_SOURCES } from "../../tools/bench-synth/checkout";

const MAIN = `import { writeFileSync } from "node:fs";
import { Fn, Token } from "cdktf";
import { greeting } from "./lib/greeting";

export function buildApp(_outdir: string | undefined, names: readonly string[]) {
  const tokens = Token.isUnresolved(Fn.timestamp());
  const file = import.meta.url.split("/").at(-1);
  return { synth: () => writeFileSync("out.json", JSON.stringify({ greeting, names, tokens, file })) };
}
`;

let folder: string;

beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "app-")));
  makeCheckout(folder, []);
  mkdirSync(join(folder, "lib"));
  write("main.ts", MAIN);
  greet("hello");
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (file: string, content: string) => writeFileSync(join(folder, file), content);
const greet = (greeting: string) =>
  write("lib/greeting.ts", `export const greeting: string = ${JSON.stringify(greeting)};\n`);
const synth = (...names: string[]) =>
  spawnSync(process.execPath, ["tools/app/index.mjs", ...names], { cwd: folder, encoding: "utf8" });
const output = () => JSON.parse(readFileSync(join(folder, "out.json"), "utf8")) as Record<string, unknown>;
const cached = (extension: string) =>
  readdirSync(join(folder, "node_modules/.cache/urr-infra/app")).filter((name) => name.endsWith(extension));
/** From here on a synth that has to bundle fails. */
const takeBundlerAway = () => rmSync(join(folder, "node_modules/esbuild"));

describe("the launcher", () => {
  it("runs main.ts with the named stacks, each source under its own URL", () => {
    expect(synth("prod", "staging")).toMatchObject({ status: 0, stdout: "", stderr: "" });
    expect(output()).toEqual({ greeting: "hello", names: ["prod", "staging"], tokens: true, file: "main.ts" });
  });

  it("keeps characters beyond ASCII", () => {
    greet("대기열 §2-6 🎫");
    synth();
    synth();
    expect(output().greeting).toBe("대기열 §2-6 🎫");
  });

  it("bundles nothing while no source has changed", () => {
    synth();
    takeBundlerAway();
    rmSync(join(folder, "out.json"));
    expect(synth().status).toBe(0);
    expect(output().greeting).toBe("hello");
  });

  it("fails without a bundler once a source has changed, and never runs the old bundle", () => {
    synth();
    takeBundlerAway();
    greet("good morning");
    const { status, stderr } = synth();
    expect(status).toBe(1);
    expect(stderr).toContain("Cannot find package 'esbuild'");
    expect(output().greeting).toBe("hello");
  });

  it.each(["lib/greeting.ts", "tsconfig.json", "tools/app/bundle.mjs"])("bundles anew when %s changes", (file) => {
    synth();
    write(file, `${readFileSync(join(folder, file), "utf8")}\n`);
    synth();
    expect(cached(".cjs")).toHaveLength(2);
  });

  it("finds the bundle of sources that were changed and changed back", () => {
    synth();
    greet("good morning");
    synth();
    expect(output().greeting).toBe("good morning");
    takeBundlerAway();
    greet("hello");
    expect(synth().status).toBe(0);
    expect(output().greeting).toBe("hello");
  });

  it("keeps what V8 compiled, and does without it when it is damaged", () => {
    synth();
    const [compiled] = cached(".v8") as [string];
    const file = join(folder, "node_modules/.cache/urr-infra/app", compiled);
    const size = readFileSync(file).length;
    writeFileSync(file, "damaged");
    expect(synth()).toMatchObject({ status: 0, stderr: "" });
    expect(output().greeting).toBe("hello");
    expect(readFileSync(file).length).toBeGreaterThan(size / 2);
  });

  it("keeps the newest bundles only", () => {
    for (const greeting of ["1", "2", "3", "4", "5", "6"]) {
      greet(greeting);
      synth();
      expect(output().greeting).toBe(greeting);
    }
    expect(cached(".cjs").length).toBeLessThanOrEqual(4);
    expect(cached(".v8").length).toBeLessThanOrEqual(4);
  });

  it("serves two processes that find no bundle at the same time", async () => {
    const run = () =>
      new Promise((resolve) => spawn(process.execPath, ["tools/app/index.mjs"], { cwd: folder }).on("close", resolve));
    expect(await Promise.all([run(), run()])).toEqual([0, 0]);
    expect(cached("")).toHaveLength(3);
    takeBundlerAway();
    expect(synth().status).toBe(0);
  });
});

describe("bad sources", () => {
  it("fails with the problems alone when an error lists them", () => {
    write(
      "main.ts",
      'export const buildApp = () => { throw Object.assign(new Error("2 problems:\\n  - a\\n  - b"), { problems: ["a", "b"] }); };',
    );
    expect(synth()).toMatchObject({ status: 1, stdout: "", stderr: "2 problems:\n  - a\n  - b\n" });
  });

  it("fails with a trace for a defect", () => {
    write("main.ts", "export function buildApp() { (undefined as unknown as { x: number }).x; }");
    const { status, stderr } = synth();
    expect(status).toBe(1);
    expect(stderr).toMatch(/^TypeError: .*\n {4}at .*buildApp/);
  });

  it("fails with file, line and column for a source that is no TypeScript, without a trace", () => {
    write("lib/greeting.ts", "export const greeting = ;\n");
    const { status, stderr } = synth();
    expect(status).toBe(1);
    expect(stderr).toContain("lib/greeting.ts:1:24");
    expect(stderr).not.toContain("    at ");
  });

  it("fails for stacks that do not exist, all of them at once", () => {
    for (const source of SYNTH_SOURCES) {
      cpSync(join(import.meta.dirname, "../..", source), join(folder, source), { recursive: true, force: true });
    }
    const { status, stderr } = synth("production", "prod", "stage");
    expect(status).toBe(1);
    expect(stderr).toContain('stack: given "production"; allowed: bootstrap, staging, prod');
    expect(stderr).toContain('stack: given "stage"');
    expect(stderr).not.toContain("    at ");
  });
});
