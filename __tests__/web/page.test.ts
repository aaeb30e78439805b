import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleWaitingPage } from "../../lib/waiting-page";

const page = bundleWaitingPage({ cache: false });
const between = (open: string, close: string) => page.slice(page.indexOf(open) + open.length, page.indexOf(close));
const hash = (text: string) => `sha256-${createHash("sha256").update(text).digest("base64")}`;
const policy = /content-security-policy" content="([^"]+)"/.exec(page)?.[1] ?? "";

describe("the waiting page", () => {
  it("is one file that fetches nothing else", () => {
    expect(page.match(/<script/g)).toHaveLength(1);
    expect(page.match(/<style/g)).toHaveLength(1);
    expect(page).not.toMatch(/<script[^>]+src=|<link rel="stylesheet"|@import|url\(|https?:\/\/(?!www\.w3\.org)/);
  });

  it("admits its own script and style and nothing else", () => {
    expect(policy.split("; ")).toEqual([
      "default-src 'none'",
      `script-src '${hash(between("<script>", "</script>"))}'`,
      `style-src '${hash(between("<style>", "</style>"))}'`,
      "connect-src 'self'",
      "img-src data:",
      "base-uri 'none'",
      "form-action 'none'",
    ]);
  });

  it("is small enough for the first round trip of a phone", () => {
    expect(Buffer.byteLength(page)).toBeLessThan(40_000);
  });

  it("says what to do without JavaScript, in both languages", () => {
    const text = between("<noscript>", "</noscript>");
    expect(text).toContain("자바스크립트를 켜 주세요");
    expect(text).toContain("Please turn on JavaScript");
  });
});

describe("the cache of the page", () => {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), "urr-page-"));
    mkdirSync(join(root, "web"), { recursive: true });
    cpSync("web/vwr", join(root, "web/vwr"), { recursive: true });
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it("gives the same bytes, and others once a source has changed", () => {
    const cache = join(root, "cache");
    const first = bundleWaitingPage({ root, cache });
    expect(bundleWaitingPage({ root, cache })).toBe(first);
    const text = join(root, "web/vwr/text.ts");
    writeFileSync(text, readFileSync(text, "utf8").replaceAll("접속 대기 중", "다른 제목"));
    expect(bundleWaitingPage({ root, cache })).toContain("다른 제목");
  });
});
