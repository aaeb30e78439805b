import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync, version as esbuildVersion } from "esbuild";
import { BundleCache, digestOf, filesUnder } from "../lambda-bundle/cache";

export interface WaitingPageOptions {
  /** Root of the checkout. @default this one */
  readonly root?: string;
  /** Where results are kept; `false` builds every time. @default node_modules/.cache/urr-infra/waiting-page */
  readonly cache?: string | false;
}

/** Browsers that visitors use: two years back. */
const TARGETS = ["chrome107", "edge107", "firefox110", "safari16", "ios16"];
const PAGE = "index.html";

/**
 * The waiting page (Architecture guide §4.3) as one file: style and script are inline, so that nothing else has to be
 * fetched while the site is overrun, and its content security policy admits exactly these two by their hashes.
 */
export function bundleWaitingPage(options: WaitingPageOptions = {}): string {
  const root = options.root ?? join(dirname(fileURLToPath(import.meta.url)), "../..");
  const folder = join(root, "web/vwr");
  if (options.cache === false) return build(folder);
  const cache = new BundleCache(options.cache ?? join(root, "node_modules/.cache/urr-infra/waiting-page"));
  const tsconfig = join(root, "tsconfig.json");
  const key = digestOf([
    ["esbuild", esbuildVersion],
    ["targets", TARGETS.join()],
    ["tsconfig", existsSync(tsconfig) ? readFileSync(tsconfig) : ""],
    ["builder", build.toString()],
    ...filesUnder(folder).map((file): [string, Buffer] => [file, readFileSync(join(folder, file))]),
  ]);
  const stored = cache.read(key)?.[PAGE];
  if (stored) return stored.toString();
  const page = build(folder);
  cache.write(key, { [PAGE]: Buffer.from(page) });
  return page;
}

function build(folder: string): string {
  const bundle = (file: string): string => {
    const { outputFiles } = buildSync({
      absWorkingDir: folder,
      entryPoints: [file],
      bundle: true,
      minify: true,
      write: false,
      platform: "browser",
      format: "iife",
      target: TARGETS,
      charset: "utf8",
      legalComments: "none",
      logLevel: "silent",
    });
    // `</` would end the element that holds it.
    return (outputFiles[0]?.text ?? "").trim().replaceAll("</script", "<\\/script").replaceAll("</style", "<\\/style");
  };
  const style = bundle("style.css");
  const script = bundle("page.ts");
  const policy = [
    "default-src 'none'",
    `script-src '${sourceHash(script)}'`,
    `style-src '${sourceHash(style)}'`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return readFileSync(join(folder, PAGE), "utf8")
    .replace("%CSP%", () => policy)
    .replace('<link rel="stylesheet" href="style.css">', () => `<style>${style}</style>`)
    .replace('<script src="page.ts"></script>', () => `<script>${script}</script>`);
}

function sourceHash(source: string): string {
  return `sha256-${createHash("sha256").update(source).digest("base64")}`;
}
