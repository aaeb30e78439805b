import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Nodes } from "mdast";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm } from "micromark-extension-gfm";
import { describe, expect, it } from "vitest";

const ROOT = path.resolve(import.meta.dirname, "../..");
const DOCUMENTS = [
  "README.md",
  ...readdirSync(path.join(ROOT, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];
const SCRIPTS = Object.keys(
  (JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8")) as { scripts: Record<string, string> }).scripts,
);
/** Folders of the checkout whose files the documents name; what is below them is committed. */
const FOLDERS = /^(?:__tests__|docs|lib|modules|platform|stacks|tools|web|lambdas|k8s|environments)\//;
/** Account values, which everybody writes for themselves. */
const GIT_IGNORED = /\.tfvars$/;

describe.each(DOCUMENTS)("%s", (document) => {
  const tree = parse(document);

  it("links to files and headings that exist", () => {
    expect(linksOf(tree).filter((link) => isBroken(document, link))).toEqual([]);
  });

  it("names npm scripts that exist", () => {
    const named = [
      ...codeOf(tree)
        .join("\n")
        .matchAll(/npm run (?:-s |--silent )?([a-z][\w:-]*)/g),
    ].map(([, script = ""]) => script);
    expect(named.filter((script) => !SCRIPTS.includes(script))).toEqual([]);
  });

  it("names files that exist", () => {
    const named = codeOf(tree).filter(
      (code) => FOLDERS.test(code) && /^[\w./-]+$/.test(code) && !GIT_IGNORED.test(code),
    );
    expect(named.filter((file) => !existsSync(path.join(ROOT, file)))).toEqual([]);
  });
});

describe("package.json", () => {
  it("has no script that no document explains", () => {
    const words = new Set(
      DOCUMENTS.flatMap((document) => codeOf(parse(document))).flatMap((code) => code.split(/\s+/)),
    );
    expect(SCRIPTS.filter((script) => !words.has(script))).toEqual([]);
  });
});

function parse(document: string): Nodes {
  return fromMarkdown(readFileSync(path.join(ROOT, document), "utf8"), {
    extensions: [gfm()],
    mdastExtensions: [gfmFromMarkdown()],
  });
}

function isBroken(document: string, link: string): boolean {
  if (/^[a-z]+:/.test(link)) return false;
  const [file = "", heading] = link.split("#");
  const target = file === "" ? document : path.join(path.dirname(document), file);
  if (!existsSync(path.join(ROOT, target))) return true;
  return heading !== undefined && !headingsOf(parse(target)).includes(heading);
}

/** Headings as GitHub makes anchors of them. */
function headingsOf(tree: Nodes): string[] {
  return all(tree)
    .filter(({ type }) => type === "heading")
    .map((heading) =>
      textOf(heading)
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-"),
    );
}

function linksOf(tree: Nodes): string[] {
  return all(tree).flatMap((node) => {
    if (node.type === "link" || node.type === "image" || node.type === "definition") return [node.url];
    return node.type === "html" ? [...node.value.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url = ""]) => url) : [];
  });
}

/** Code spans, and blocks as a whole. */
function codeOf(tree: Nodes): string[] {
  return all(tree).flatMap((node) => (node.type === "code" || node.type === "inlineCode" ? [node.value] : []));
}

function textOf(node: Nodes): string {
  return "children" in node ? node.children.map(textOf).join("") : "value" in node ? node.value : "";
}

function all(node: Nodes): Nodes[] {
  return [node, ...("children" in node ? node.children.flatMap(all) : [])];
}
