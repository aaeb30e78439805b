import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildFailure, type BuildOptions, type BuildResult, buildSync, version as esbuildVersion } from "esbuild";
import { BundleCache, digestOf, filesUnder } from "./cache";
import { deterministicZip } from "./zip";

/** Functions that run in the home Region. */
export type RegionalLambdaName = "vwr-api" | "vwr-counter-advancer" | "ticket-worker";
export type CloudFrontFunctionName = "vwr-api-rewrite" | "vwr-page-rewrite";

/** A Lambda function's deployment package: `index.js` (CommonJS, handler `index.handler`) in a zip. */
export interface LambdaBundle {
  readonly name: string;
  readonly zip: Buffer;
  /** What Terraform wants as `source_code_hash`. */
  readonly sha256Base64: string;
  readonly zipBytes: number;
  /** The project's own source files that went in, relative to its root, sorted. Packages are not listed. */
  readonly sources: readonly string[];
  /** The source map, to be kept beside the zip: inside it would cost every cold start its bytes. */
  readonly sourceMap: Buffer;
}

/** A CloudFront function's code, runtime cloudfront-js-2.0. */
export interface CloudFrontFunctionBundle {
  readonly name: CloudFrontFunctionName;
  readonly code: string;
  readonly sources: readonly string[];
}

/**
 * What `edge-queue-check` knows of its environment. Lambda@Edge takes no environment variables, so this goes into the
 * package as `config.json`. Names only: no secret value is ever part of a zip.
 */
export interface EdgeConfig {
  /** Home Region, where the secrets and the list of active events are read. */
  readonly region: string;
  readonly tokenSecretName: string;
  readonly entryTokenSecretName: string;
  readonly activeEvents: { readonly bucket: string; readonly key: string };
}

export interface BundleOptions {
  /** Root of the checkout. @default this one */
  readonly root?: string;
  /** Where results are kept; `false` builds every time. @default node_modules/.cache/urr-infra/lambdas */
  readonly cache?: string | false;
}

/** All that can go wrong in one build, in one error. */
export class LambdaBundleError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(
      `Lambda sources cannot be bundled (${problems.length}):\n${problems.map((line) => `  - ${line}`).join("\n")}`,
    );
    this.name = "LambdaBundleError";
  }
}

/** Lambda@Edge quota for viewer events (CloudFront Developer Guide, "Quotas on Lambda@Edge"). */
const EDGE_ZIP_LIMIT_BYTES = 1_048_576;
/** CloudFront Functions quota on code size (CloudFront Developer Guide, "Quotas on CloudFront Functions"). */
const CLOUDFRONT_FUNCTION_LIMIT_BYTES = 10_240;

const REGIONAL: readonly RegionalLambdaName[] = ["vwr-api", "vwr-counter-advancer", "ticket-worker"];
const EDGE = "edge-queue-check";
const CLOUDFRONT_FUNCTIONS: readonly CloudFrontFunctionName[] = ["vwr-api-rewrite", "vwr-page-rewrite"];

/**
 * CommonJS, because the SDK's and the tracer's dependencies call `require`; the packages' ES modules are preferred over
 * their CommonJS builds, because only those can be tree-shaken (a third less code).
 */
const LAMBDA_OPTIONS = {
  bundle: true,
  minify: true,
  platform: "node",
  target: "node22",
  format: "cjs",
  mainFields: ["module", "main"],
  alias: { "@aws-sdk/credential-provider-node": "./lambdas/shared/environment-credentials.ts" },
  legalComments: "none",
  charset: "utf8",
  sourcemap: "external",
  sourcesContent: true,
  external: ["./config.json"],
  metafile: true,
  write: false,
  logLevel: "silent",
} as const satisfies BuildOptions;

/** Not minified: whoever opens the function in the CloudFront console should be able to read it. */
const FUNCTION_OPTIONS = {
  bundle: true,
  minify: false,
  platform: "neutral",
  target: "es2017",
  format: "esm",
  charset: "ascii",
  metafile: true,
  write: false,
  logLevel: "silent",
} as const satisfies BuildOptions;

interface BuiltFile {
  readonly code: Buffer;
  readonly sourceMap: Buffer;
  readonly sources: readonly string[];
}

interface Built {
  /** Digest of everything that went in. */
  readonly key: string;
  readonly lambdas: Readonly<Record<string, BuiltFile>>;
  readonly zips: Readonly<Record<string, Buffer>>;
  readonly functions: Readonly<Record<string, CloudFrontFunctionBundle>>;
}

const inProcess = new Map<string, Built>();

/** The three functions of the home Region. Builds nothing if no source, package or option has changed. */
export function bundleLambdas(options: BundleOptions = {}): Record<RegionalLambdaName, LambdaBundle> {
  const built = build(options);
  const bundles = REGIONAL.map((name) => [name, toBundle(name, built.lambdas[name], built.zips[name])]);
  return Object.fromEntries(bundles) as Record<RegionalLambdaName, LambdaBundle>;
}

/** `edge-queue-check` with the configuration of one environment inside. */
export function bundleEdge(config: EdgeConfig, options: BundleOptions = {}): LambdaBundle {
  const problems = configProblems(config);
  const { key, lambdas } = build(options);
  const configFile = `${JSON.stringify(orderedConfig(config), undefined, 2)}\n`;
  const zip = cachedFile(
    options,
    digestOf([
      [EDGE, key],
      ["config.json", configFile],
    ]),
    () =>
      deterministicZip({ "config.json": Buffer.from(configFile), "index.js": lambdas[EDGE]?.code ?? Buffer.alloc(0) }),
  );
  if (zip.length > EDGE_ZIP_LIMIT_BYTES) {
    problems.push(edgeTooLarge(zip.length));
  }
  if (problems.length > 0) {
    throw new LambdaBundleError(problems);
  }
  return toBundle(EDGE, lambdas[EDGE], zip);
}

/** The two viewer-request functions that rewrite paths. */
export function bundleCloudFrontFunctions(
  options: BundleOptions = {},
): Record<CloudFrontFunctionName, CloudFrontFunctionBundle> {
  return { ...build(options).functions } as Record<CloudFrontFunctionName, CloudFrontFunctionBundle>;
}

function build(options: BundleOptions): Built {
  const root = options.root ?? projectRoot();
  const key = inputDigest(root);
  const cache = cacheOf(options);
  if (cache === undefined) {
    return { key, ...buildAll(root) };
  }
  const memoKey = `${root}\0${key}`;
  const known = inProcess.get(memoKey);
  if (known !== undefined) {
    return known;
  }
  const stored = cache.read(key);
  const built = { key, ...(stored === undefined ? buildAll(root) : unpack(stored)) };
  if (stored === undefined) {
    cache.write(key, pack(built));
  }
  inProcess.set(memoKey, built);
  return built;
}

/** One file, from the cache if it is there. */
function cachedFile(options: BundleOptions, key: string, make: () => Buffer): Buffer {
  const cache = cacheOf(options);
  const stored = cache?.read(key)?.file;
  const file = stored ?? make();
  if (stored === undefined) {
    cache?.write(key, { file });
  }
  return file;
}

function cacheOf({ root = projectRoot(), cache }: BundleOptions): BundleCache | undefined {
  return cache === false ? undefined : new BundleCache(cache ?? join(root, "node_modules/.cache/urr-infra/lambdas"));
}

/**
 * Everything a build depends on: the sources, the installed packages (npm's own record of what is in node_modules, which a
 * changed lock file alone does not change), the options and esbuild. A test that the sources reach nothing else is in
 * {@link foreignSources}.
 */
function inputDigest(root: string): string {
  const lambdas = join(root, "lambdas");
  const installed = join(root, "node_modules/.package-lock.json");
  const lock = existsSync(installed) ? installed : join(root, "package-lock.json");
  return digestOf([
    ["esbuild", esbuildVersion],
    ["options", JSON.stringify([LAMBDA_OPTIONS, FUNCTION_OPTIONS])],
    ["format", `${deterministicZip} ${pack} ${unpack}`],
    ["packages", readFileSync(lock)],
    ["tsconfig", existsSync(join(root, "tsconfig.json")) ? readFileSync(join(root, "tsconfig.json")) : ""],
    ...filesUnder(lambdas).map((file): [string, Buffer] => [file, readFileSync(join(lambdas, file))]),
  ]);
}

function buildAll(root: string): Omit<Built, "key"> {
  const problems: string[] = [];
  const lambdas = buildLambdas(root, problems);
  const functions = buildFunctions(root, problems);
  const edge = lambdas[EDGE];
  const zips: Record<string, Buffer> = {};
  for (const name of REGIONAL) {
    const file = lambdas[name];
    if (file !== undefined) {
      zips[name] = deterministicZip({ "index.js": file.code });
    }
  }
  if (edge !== undefined) {
    const bytes = deterministicZip({ "index.js": edge.code }).length;
    if (bytes > EDGE_ZIP_LIMIT_BYTES) {
      problems.push(edgeTooLarge(bytes));
    }
  }
  if (problems.length > 0) {
    throw new LambdaBundleError(problems);
  }
  return { lambdas, zips, functions };
}

function buildLambdas(root: string, problems: string[]): Record<string, BuiltFile> {
  const names = [...REGIONAL, EDGE];
  const result = run(root, names, LAMBDA_OPTIONS, problems);
  const files: Record<string, BuiltFile> = {};
  if (result === undefined) {
    return files;
  }
  for (const name of names) {
    const sources = sourcesOf(result, name, problems);
    const code = outputOf(result, `${name}/index.js`);
    const sourceMap = Buffer.from(outputOf(result, `${name}/index.js.map`));
    files[name] = { code: Buffer.from(code), sourceMap, sources };
  }
  return files;
}

function buildFunctions(root: string, problems: string[]): Record<string, CloudFrontFunctionBundle> {
  const result = run(root, CLOUDFRONT_FUNCTIONS, FUNCTION_OPTIONS, problems);
  const functions: Record<string, CloudFrontFunctionBundle> = {};
  if (result === undefined) {
    return functions;
  }
  for (const name of CLOUDFRONT_FUNCTIONS) {
    const sources = sourcesOf(result, name, problems);
    // CloudFront calls the global function `handler`; its runtime knows no exports.
    const code = outputOf(result, `${name}/index.js`).replace(/\nexport \{\n {2}handler\n\};\n$/, "\n");
    if (!/^function handler\(/m.test(code) || /^(?:export|import)\b/m.test(code)) {
      problems.push(`${sources.at(-1)}:1: must export one function named handler and import no package`);
    }
    if (Buffer.byteLength(code) > CLOUDFRONT_FUNCTION_LIMIT_BYTES) {
      const given = Buffer.byteLength(code);
      problems.push(
        `${sources.at(-1)}: ${given} bytes; CloudFront takes at most ${CLOUDFRONT_FUNCTION_LIMIT_BYTES}: shorten it`,
      );
    }
    functions[name] = { name, code, sources };
  }
  return functions;
}

function run<T extends BuildOptions>(
  root: string,
  names: readonly string[],
  options: T,
  problems: string[],
): BuildResult<T & { metafile: true; write: false }> | undefined {
  const present = names.filter((name) => {
    const found = existsSync(join(root, "lambdas", name, "index.ts"));
    if (!found) {
      problems.push(`lambdas/${name}/index.ts:1: missing; the function ${name} is built from it`);
    }
    return found;
  });
  if (present.length !== names.length) {
    return undefined;
  }
  try {
    return buildSync({
      ...options,
      absWorkingDir: root,
      outdir: join(root, "lambdas/.out"),
      entryPoints: Object.fromEntries(names.map((name) => [`${name}/index`, `lambdas/${name}/index.ts`])),
    } as BuildOptions & { metafile: true; write: false }) as BuildResult<T & { metafile: true; write: false }>;
  } catch (error) {
    const failure = error as Partial<BuildFailure>;
    if (failure.errors === undefined) {
      throw error;
    }
    for (const { location, text } of failure.errors) {
      const where = location === null ? "lambdas" : `${location.file}:${location.line}:${location.column + 1}`;
      problems.push(`${where}: ${text}`);
    }
    return undefined;
  }
}

function sourcesOf(
  result: BuildResult<{ metafile: true; write: false }>,
  name: string,
  problems: string[],
): readonly string[] {
  const output = result.metafile.outputs[`lambdas/.out/${name}/index.js`];
  const inputs = Object.keys(output?.inputs ?? {}).sort();
  problems.push(...foreignSources(name, reached(result, `lambdas/${name}/index.ts`)));
  return inputs.filter((path) => !path.includes("node_modules/"));
}

/** All that the entry imports, directly or not, also what was inlined or left out as unused. */
function reached(result: BuildResult<{ metafile: true; write: false }>, entry: string): string[] {
  const found = new Set([entry]);
  for (const path of found) {
    for (const imported of result.metafile.inputs[path]?.imports ?? []) {
      if (imported.external !== true) {
        found.add(imported.path);
      }
    }
  }
  return [...found].sort();
}

/** A source outside `lambdas/` would not be part of the cache's key, and breaks the layers of the project. */
function foreignSources(name: string, inputs: readonly string[]): string[] {
  return inputs
    .filter((path) => !path.startsWith("lambdas/") && !path.includes("node_modules/"))
    .map((path) => `${path}:1: imported by lambdas/${name}; a function may import lambdas/ and packages only: move it`);
}

function outputOf(result: BuildResult<{ write: false }>, path: string): string {
  const suffix = `/lambdas/.out/${path}`;
  return result.outputFiles.find((file) => file.path.replaceAll("\\", "/").endsWith(suffix))?.text ?? "";
}

function toBundle(name: string, file: BuiltFile | undefined, zip: Buffer | undefined): LambdaBundle {
  if (file === undefined || zip === undefined) {
    throw new LambdaBundleError([`lambdas/${name}/index.ts:1: not built`]);
  }
  return {
    name,
    zip,
    sha256Base64: createHash("sha256").update(zip).digest("base64"),
    zipBytes: zip.length,
    sources: file.sources,
    sourceMap: file.sourceMap,
  };
}

function configProblems(config: EdgeConfig): string[] {
  const fields: [string, string][] = [
    ["region", config.region],
    ["tokenSecretName", config.tokenSecretName],
    ["entryTokenSecretName", config.entryTokenSecretName],
    ["activeEvents.bucket", config.activeEvents.bucket],
    ["activeEvents.key", config.activeEvents.key],
  ];
  const problems = fields.flatMap(([field, value]) => {
    // Terraform fills in tokens only in its own JSON; in a zip they would stay as they are.
    if (!/^[A-Za-z0-9][A-Za-z0-9._/-]*$/.test(value)) {
      return [`edge config.json, ${field}: given ${JSON.stringify(value)}; allowed: a literal name known at synth`];
    }
    return [];
  });
  if (config.tokenSecretName === config.entryTokenSecretName) {
    const given = JSON.stringify(config.tokenSecretName);
    problems.push(
      `edge config.json, entryTokenSecretName: given ${given} for both tiers; each tier has its own secret`,
    );
  }
  return problems;
}

function orderedConfig({ region, tokenSecretName, entryTokenSecretName, activeEvents }: EdgeConfig): EdgeConfig {
  const { bucket, key } = activeEvents;
  return { region, tokenSecretName, entryTokenSecretName, activeEvents: { bucket, key } };
}

function edgeTooLarge(bytes: number): string {
  return `lambdas/${EDGE}/index.ts:1: zip of ${bytes} bytes; Lambda@Edge takes at most ${EDGE_ZIP_LIMIT_BYTES} on a viewer event: import fewer packages`;
}

function pack(built: Built): Record<string, Buffer> {
  const files: Record<string, Buffer> = { functions: Buffer.from(JSON.stringify(built.functions)) };
  for (const [name, file] of Object.entries(built.lambdas)) {
    files[`${name}.js`] = file.code;
    files[`${name}.js.map`] = file.sourceMap;
    files[`${name}.sources`] = Buffer.from(JSON.stringify(file.sources));
  }
  for (const [name, zip] of Object.entries(built.zips)) {
    files[`${name}.zip`] = zip;
  }
  return files;
}

function unpack(files: Record<string, Buffer>): Omit<Built, "key"> {
  const lambdas: Record<string, BuiltFile> = {};
  const zips: Record<string, Buffer> = {};
  for (const [name, content] of Object.entries(files)) {
    if (name.endsWith(".js")) {
      const lambda = name.slice(0, -".js".length);
      lambdas[lambda] = {
        code: content,
        sourceMap: files[`${name}.map`] ?? Buffer.alloc(0),
        sources: JSON.parse(files[`${lambda}.sources`]?.toString() ?? "[]") as string[],
      };
    } else if (name.endsWith(".zip")) {
      zips[name.slice(0, -".zip".length)] = content;
    }
  }
  return { lambdas, zips, functions: JSON.parse(files.functions?.toString() ?? "{}") };
}

function projectRoot(): string {
  return join(dirname(fileURLToPath(import.meta.url)), "../..");
}
