import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { micromark } from "micromark";
import { gfm, gfmHtml } from "micromark-extension-gfm";
import { launchChromium } from "../local/chromium";

/*
 * `npm run plan:screenshot -- COMMENT.md PICTURE.png [--open]`: a comment as GitHub shows it, in Chromium. Markdown by the same rules (GFM),
 * GitHub's colours and widths by the style sheet below. With --open every fold is open.
 */

const STYLE = `
  body { margin: 24px; background: #fff; font: 14px/1.5 -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; color: #1f2328; }
  .comment { width: 772px; border: 1px solid #d1d9e0; border-radius: 6px; }
  .head { background: #f6f8fa; border-bottom: 1px solid #d1d9e0; border-radius: 6px 6px 0 0; padding: 8px 16px; color: #59636e; }
  .head b { color: #1f2328; }
  .body { padding: 16px; overflow-wrap: break-word; }
  .body > :first-child { margin-top: 0; }
  h2 { font-size: 21px; border-bottom: 1px solid #d1d9e0b3; padding-bottom: 4px; margin: 24px 0 16px; line-height: 1.25; }
  h3 { font-size: 17.5px; margin: 24px 0 16px; line-height: 1.25; }
  p, ul, table, pre, details, .alert { margin: 0 0 16px; }
  ul { padding-left: 28px; }
  code, pre { font: 12px/1.45 ui-monospace, "Liberation Mono", "DejaVu Sans Mono", monospace; }
  code { background: #818b981f; border-radius: 6px; padding: 2px 5px; white-space: break-spaces; }
  pre { background: #f6f8fa; border-radius: 6px; padding: 16px; overflow: auto; }
  pre code { background: none; padding: 0; white-space: pre; }
  pre span { display: inline-block; min-width: 100%; }
  .add { color: #116329; background: #dafbe1; } .del { color: #82071e; background: #ffebe9; }
  .mod { color: #953800; background: #ffd8b5; } .rem { color: #59636e; }
  table { border-collapse: collapse; display: block; max-width: 100%; overflow: auto; }
  th, td { border: 1px solid #d1d9e0; padding: 6px 13px; } tr:nth-child(2n) td { background: #f6f8fa; }
  hr { border: 0; border-top: 3px solid #d1d9e0; margin: 24px 0; }
  .alert { border-left: 4px solid; padding: 8px 16px; } .alert p { margin: 0 0 8px; color: #1f2328; } .alert p:last-child { margin: 0; }
  .alert b.kind { display: block; margin-bottom: 4px; font-weight: 500; }
  .caution { border-color: #cf222e; } .caution b.kind { color: #d1242f; }
  .warning { border-color: #9a6700; } .warning b.kind { color: #9a6700; }
  .note { border-color: #0969da; } .note b.kind { color: #0969da; }
  sub { font-size: 75%; line-height: 0; position: relative; bottom: -0.25em; }
`;

const SIGNS: Readonly<Record<string, string>> = { "+": "add", "-": "del", "!": "mod", "#": "rem" };

/** The HTML that GitHub makes of a comment, as far as this renderer's Markdown goes. */
function toHtml(markdown: string): string {
  return micromark(markdown, { allowDangerousHtml: true, extensions: [gfm()], htmlExtensions: [gfmHtml()] })
    .replace(
      /<pre><code class="language-diff">([\s\S]*?)<\/code><\/pre>/g,
      (_, text: string) =>
        `<pre><code>${text
          .trimEnd()
          .split("\n")
          .map((line) => `<span class="${SIGNS[line.charAt(0)] ?? ""}">${line}</span>`)
          .join("\n")}</code></pre>`,
    )
    .replace(
      /<blockquote>\s*<p>\[!(CAUTION|WARNING|NOTE)\]\s*/g,
      (_, kind: string) =>
        `<blockquote class="alert ${kind.toLowerCase()}" style="margin-inline:0"><b class="kind">${kind.charAt(0)}${kind.slice(1).toLowerCase()}</b><p>`,
    );
}

const [comment, picture, flag] = process.argv.slice(2);
if (comment === undefined || picture === undefined || (flag !== undefined && flag !== "--open")) {
  process.stderr.write("Usage: npm run plan:screenshot -- COMMENT.md PICTURE.png [--open]\n");
  process.exit(2);
}
const html = toHtml(readFileSync(comment, "utf8"));
const folder = mkdtempSync(join(tmpdir(), "urr-comment-"));
const browser = await launchChromium();
try {
  const file = join(folder, "comment.html");
  writeFileSync(
    file,
    `<!doctype html><meta charset="utf-8"><style>${STYLE}</style><div class="comment"><div class="head"><b>github-actions</b> bot commented</div><div class="body">${flag ? html.replaceAll("<details>", "<details open>") : html}</div></div>`,
  );
  const page = await browser.newPage({ viewport: { width: 824, height: 600 } });
  await page.goto(`file://${file}`);
  mkdirSync(join(picture, ".."), { recursive: true });
  await page.screenshot({ path: picture, fullPage: true });
} finally {
  await browser.close();
  rmSync(folder, { recursive: true });
}
