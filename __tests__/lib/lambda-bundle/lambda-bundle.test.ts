import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { unzipSync } from "fflate";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  bundleCloudFrontFunctions,
  bundleEdge,
  bundleLambdas,
  type EdgeConfig,
  type LambdaBundle,
  LambdaBundleError,
} from "../../../lib/lambda-bundle";
import { deterministicZip } from "../../../lib/lambda-bundle/zip";

const PROJECT = join(dirname(fileURLToPath(import.meta.url)), "../../..");
const CONFIG: EdgeConfig = {
  region: "ap-northeast-2",
  tokenSecretName: "urr-prod/vwr-token-secret",
  entryTokenSecretName: "urr-prod/queue-entry-token-secret",
  activeEvents: { bucket: "urr-prod-frontend-prod", key: "edge/active-events.json" },
};

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lambda-bundle-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A second checkout of the sources, elsewhere on the disk, with the packages of this one. */
function checkout(name: string): string {
  const root = join(folder, name);
  mkdirSync(root, { recursive: true });
  cpSync(join(PROJECT, "lambdas"), join(root, "lambdas"), { recursive: true });
  cpSync(join(PROJECT, "tsconfig.json"), join(root, "tsconfig.json"));
  symlinkSync(join(PROJECT, "node_modules"), join(root, "node_modules"));
  return root;
}

const write = (root: string, path: string, text: string) => writeFileSync(join(root, "lambdas", path), text);
const hashes = (root: string) =>
  [...Object.values(bundleLambdas({ root, cache: false })), bundleEdge(CONFIG, { root, cache: false })].map(
    ({ name, sha256Base64 }) => [name, sha256Base64],
  );

/** The problems of a build that has to fail. */
function problemsOf(build: () => unknown): readonly string[] {
  try {
    build();
  } catch (error) {
    expect(error).toBeInstanceOf(LambdaBundleError);
    return (error as LambdaBundleError).problems;
  }
  throw new Error("expected the build to fail");
}

describe("packages", () => {
  it("hold index.js alone, and the edge's its configuration too", () => {
    for (const { zip } of Object.values(bundleLambdas())) {
      expect(Object.keys(unzipSync(zip))).toEqual(["index.js"]);
    }
    const files = unzipSync(bundleEdge(CONFIG).zip);
    expect(Object.keys(files)).toEqual(["config.json", "index.js"]);
    expect(JSON.parse(Buffer.from(files["config.json"] ?? []).toString())).toEqual(CONFIG);
  });

  it("stay under their targets: vwr-api 250 KB, edge 200 KB", () => {
    expect(bundleLambdas()["vwr-api"].zipBytes).toBeLessThanOrEqual(250 * 1024);
    expect(bundleEdge(CONFIG).zipBytes).toBeLessThanOrEqual(200 * 1024);
  });

  it("have the hash that Terraform compares", () => {
    for (const { zip, sha256Base64, zipBytes } of Object.values(bundleLambdas())) {
      expect(sha256Base64).toBe(createHash("sha256").update(zip).digest("base64"));
      expect(zipBytes).toBe(zip.length);
    }
  });

  it("name their own sources, and none of another function", () => {
    const { sources } = bundleLambdas()["ticket-worker"];
    expect(sources).toContain("lambdas/ticket-worker/handler.ts");
    expect(sources).toContain("lambdas/shared/secrets.ts");
    expect(sources.some((path) => path.includes("vwr-api"))).toBe(false);
  });

  it("keep the source map beside the zip, with the sources in it", () => {
    const { sourceMap, zip } = bundleLambdas()["vwr-api"];
    const map = JSON.parse(sourceMap.toString()) as { sources: string[]; sourcesContent: string[] };
    const at = map.sources.findIndex((path) => path.endsWith("vwr-api/service.ts"));
    expect(map.sourcesContent[at]).toContain("class WaitingRoom");
    expect(Buffer.from(unzipSync(zip)["index.js"] ?? []).toString()).not.toContain("sourceMappingURL");
  });

  it("contain only the SDK clients that are used", () => {
    const code = (name: "vwr-api" | "vwr-counter-advancer" | "ticket-worker") =>
      Buffer.from(unzipSync(bundleLambdas()[name].zip)["index.js"] ?? []).toString();
    expect(code("vwr-counter-advancer")).not.toContain("secretsmanager");
    expect(code("vwr-api")).not.toContain("GetObject");
    expect(code("ticket-worker")).not.toContain("DynamoDB_20120810");
  });

  it("find credentials in the environment, where Lambda puts them, and carry no other way to find some", () => {
    for (const { name, zip } of [...Object.values(bundleLambdas()), bundleEdge(CONFIG)]) {
      const code = Buffer.from(unzipSync(zip)["index.js"] ?? []).toString();
      const found = ["AWS_SESSION_TOKEN", "AssumeRole", "GetRoleCredentials", "aws_access_key_id"].filter((text) =>
        code.includes(text),
      );
      expect(found, name).toEqual(["AWS_SESSION_TOKEN"]);
    }
  });

  it("load and export a handler", async () => {
    const load = createRequire(import.meta.url);
    const environment = {
      COUNTERS_TABLE: "c",
      POSITIONS_TABLE: "p",
      TOKEN_SECRET_ID: "t",
      BATCH_SIZE: "500",
      TICKET_SERVICE_URL: "http://ticket.internal:3002",
      INTERNAL_API_TOKEN_SECRET_ID: "i",
      AWS_REGION: "ap-northeast-2",
    };
    const before = { ...process.env };
    Object.assign(process.env, environment);
    try {
      for (const { name, zip } of [...Object.values(bundleLambdas()), bundleEdge(CONFIG)]) {
        const target = join(folder, name);
        mkdirSync(target);
        for (const [file, content] of Object.entries(unzipSync(zip))) {
          writeFileSync(join(target, file), content);
        }
        expect((load(join(target, "index.js")) as { handler: unknown }).handler).toBeTypeOf("function");
      }
    } finally {
      process.env = before;
    }
  });
});

describe("determinism", () => {
  it("gives the same bytes in another checkout, with other file times", () => {
    const other = checkout("elsewhere/with a longer path");
    for (const file of readdirSync(join(other, "lambdas/shared"))) {
      utimesSync(join(other, "lambdas/shared", file), 1, 1);
    }
    expect(hashes(other)).toEqual(hashes(PROJECT));
  });

  it("gives the same bytes in every time zone, in a fixed format", () => {
    const module = JSON.stringify(join(PROJECT, "lib/lambda-bundle/zip.ts"));
    const code = `import(${module}).then(({ deterministicZip }) => process.stdout.write(deterministicZip({ b: Buffer.from("b"), a: Buffer.from("a") })))`;
    const zips = ["UTC", "Asia/Seoul", "America/St_Johns", "Pacific/Kiritimati", "Pacific/Pago_Pago"].map((TZ) =>
      execFileSync(process.execPath, ["--import", "tsx", "-e", code], { cwd: PROJECT, env: { ...process.env, TZ } }),
    );
    const [first] = zips as [Buffer, ...Buffer[]];
    expect(zips.every((zip) => zip.equals(first))).toBe(true);
    expect(first.equals(deterministicZip({ a: Buffer.from("a"), b: Buffer.from("b") }))).toBe(true);
    // DOS date of 1980-01-01 12:00, and the Unix mode 0100644 in the central directory.
    expect(first.readUInt16LE(10)).toBe(12 << 11);
    expect(first.readUInt16LE(12)).toBe((1 << 5) | 1);
    const central = first.indexOf(Buffer.from([0x50, 0x4b, 1, 2]));
    expect(first.readUInt32LE(central + 38) >>> 16).toBe(0o100644);
  });

  it("changes with the sources and with the configuration", () => {
    const other = checkout("other");
    const before = bundleLambdas({ root: other, cache: false })["ticket-worker"].sha256Base64;
    const path = "ticket-worker/handler.ts";
    write(
      other,
      path,
      readFileSync(join(other, "lambdas", path), "utf8").replace("/internal/reservations", "/internal/r"),
    );
    expect(bundleLambdas({ root: other, cache: false })["ticket-worker"].sha256Base64).not.toBe(before);
    expect(bundleEdge({ ...CONFIG, region: "us-west-2" }).sha256Base64).not.toBe(bundleEdge(CONFIG).sha256Base64);
  });
});

describe("cache", () => {
  const sha256 = (content: Buffer) => createHash("sha256").update(content).digest("hex");
  /** Megabytes are quicker to compare by what they hash to. */
  const digests = (bundles: Record<string, LambdaBundle>) =>
    Object.values(bundles).map((bundle) => ({
      ...bundle,
      zip: sha256(bundle.zip),
      sourceMap: sha256(bundle.sourceMap),
    }));
  const cacheFiles = (cache: string) => readdirSync(cache);

  it("is filled once for the same inputs and again when a source changes", () => {
    const root = checkout("one");
    const cache = join(folder, "cache");
    bundleLambdas({ root, cache });
    bundleEdge(CONFIG, { root, cache });
    bundleCloudFrontFunctions({ root, cache });
    bundleEdge(CONFIG, { root, cache });
    // All builds, and the edge function's package with this configuration inside.
    expect(cacheFiles(cache)).toHaveLength(2);
    write(root, "shared/schema.ts", `${readFileSync(join(root, "lambdas/shared/schema.ts"), "utf8")}\n`);
    bundleLambdas({ root, cache });
    expect(cacheFiles(cache)).toHaveLength(3);
  });

  it("gives what was stored, to another checkout with the same inputs too", () => {
    const cache = join(folder, "cache");
    const built = bundleLambdas({ root: checkout("one"), cache });
    const read = bundleLambdas({ root: checkout("two"), cache });
    expect(digests(read)).toEqual(digests(built));
    expect(bundleCloudFrontFunctions({ root: checkout("three"), cache })).toEqual(bundleCloudFrontFunctions());
    expect(cacheFiles(cache)).toHaveLength(1);
  });

  it("builds anew over a damaged or truncated entry", () => {
    const cache = join(folder, "cache");
    const built = bundleLambdas({ root: checkout("one"), cache });
    const [entry] = cacheFiles(cache) as [string];
    for (const [round, damage] of [
      (bytes: Buffer) => bytes.subarray(0, 1_000),
      (bytes: Buffer) => bytes.fill(0, 5_000, 6_000),
    ].entries()) {
      writeFileSync(join(cache, entry), damage(readFileSync(join(cache, entry))));
      expect(digests(bundleLambdas({ root: checkout(`again-${round}`), cache }))).toEqual(digests(built));
    }
  });

  it("serves two processes that build at the same time, and leaves nothing half written", async () => {
    const root = checkout("shared");
    const cache = join(folder, "cache");
    const module = JSON.stringify(join(PROJECT, "lib/lambda-bundle/index.ts"));
    const code = `import(${module}).then(({ bundleLambdas }) => console.log(bundleLambdas(${JSON.stringify({ root, cache })})["vwr-api"].sha256Base64))`;
    const { execFile } = await import("node:child_process");
    const run = () =>
      new Promise<string>((resolve, reject) => {
        execFile(process.execPath, ["--import", "tsx", "-e", code], { cwd: PROJECT }, (error, stdout) =>
          error === null ? resolve(stdout.trim()) : reject(error),
        );
      });
    const results = await Promise.all([run(), run()]);
    expect(new Set(results)).toEqual(new Set([bundleLambdas()["vwr-api"].sha256Base64]));
    expect(cacheFiles(cache)).toHaveLength(1);
  });
});

describe("bad sources", () => {
  it("fails with file, line and column of every problem in every function at once", () => {
    const root = checkout("broken");
    write(root, "vwr-api/index.ts", "export const handler = () => {\n  return 1 +;\n};\n");
    write(root, "ticket-worker/index.ts", 'import { x } from "no-such-package";\nexport const handler = x;\n');
    write(root, "vwr-page-rewrite/index.ts", "export function handler(event) {\n  return event.\n}\n");
    const problems = problemsOf(() => bundleLambdas({ root, cache: false }));
    expect(problems).toEqual([
      expect.stringMatching(/^lambdas\/ticket-worker\/index\.ts:1:19: Could not resolve "no-such-package"/),
      expect.stringMatching(/^lambdas\/vwr-api\/index\.ts:2:13: Unexpected ";"/),
      expect.stringMatching(/^lambdas\/vwr-page-rewrite\/index\.ts:3:1: Expected identifier/),
    ]);
  });

  it("fails for a function without sources", () => {
    const root = checkout("missing");
    rmSync(join(root, "lambdas/vwr-counter-advancer"), { recursive: true });
    expect(problemsOf(() => bundleLambdas({ root, cache: false }))).toEqual([
      "lambdas/vwr-counter-advancer/index.ts:1: missing; the function vwr-counter-advancer is built from it",
    ]);
  });

  it("fails for an import from another layer of the project", () => {
    const root = checkout("layers");
    mkdirSync(join(root, "lib"));
    writeFileSync(join(root, "lib/cidr.ts"), "export const cidr = 1;\n");
    write(
      root,
      "ticket-worker/index.ts",
      'import { cidr } from "../../lib/cidr";\nexport const handler = () => cidr;\n',
    );
    expect(problemsOf(() => bundleLambdas({ root, cache: false }))).toEqual([
      "lib/cidr.ts:1: imported by lambdas/ticket-worker; a function may import lambdas/ and packages only: move it",
    ]);
  });

  it("fails for an edge zip over 1 MB, with its size and the limit", () => {
    const root = checkout("large");
    const ballast = randomBytes(1_200_000).toString("base64");
    write(root, "edge-queue-check/index.ts", `const ballast = "${ballast}";\nexport const handler = () => ballast;\n`);
    expect(problemsOf(() => bundleEdge(CONFIG, { root, cache: false }))).toEqual([
      expect.stringMatching(
        /^lambdas\/edge-queue-check\/index\.ts:1: zip of \d{7} bytes; Lambda@Edge takes at most 1048576/,
      ),
    ]);
  });

  it("fails for a CloudFront function over 10 KB or without a handler", () => {
    const root = checkout("functions");
    const long = `export function handler(event) {\n  return "${"x".repeat(11_000)}";\n}\n`;
    write(root, "vwr-api-rewrite/index.ts", long);
    write(root, "vwr-page-rewrite/index.ts", "export const handle = 1;\n");
    expect(problemsOf(() => bundleCloudFrontFunctions({ root, cache: false }))).toEqual([
      expect.stringMatching(/^lambdas\/vwr-api-rewrite\/index\.ts: \d{5} bytes; CloudFront takes at most 10240/),
      "lambdas/vwr-page-rewrite/index.ts:1: must export one function named handler and import no package",
    ]);
  });

  it("fails for an edge configuration with a token, an empty name or one secret for both tiers", () => {
    const token = ["$", "{aws_secretsmanager_secret.vwr_token.name}"].join("");
    const bad = { ...CONFIG, region: "", entryTokenSecretName: token, tokenSecretName: token };
    expect(problemsOf(() => bundleEdge(bad))).toEqual([
      expect.stringContaining('region: given ""'),
      expect.stringContaining(`tokenSecretName: given "${token}"`),
      expect.stringContaining(`entryTokenSecretName: given "${token}"; allowed: a literal name`),
      expect.stringContaining("each tier has its own secret"),
    ]);
  });
});
