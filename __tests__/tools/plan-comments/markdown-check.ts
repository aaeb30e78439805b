import type { Nodes, Root } from "mdast";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { gfm } from "micromark-extension-gfm";

/** Parses as GitHub does. */
export const parseMarkdown = (markdown: string): Root =>
  fromMarkdown(markdown, { extensions: [gfm()], mdastExtensions: [gfmFromMarkdown()] });

const ALLOWED_TAGS = /<\/?(?:details|summary|code|sub)>|<details open>|<br>|<!-- urr-plan(?:-memory)? [\w =./-]+ -->/g;

const EXPECTED = new Set([
  "root",
  "heading",
  "paragraph",
  "text",
  "inlineCode",
  "code",
  "table",
  "tableRow",
  "tableCell",
  "html",
  "list",
  "listItem",
  "blockquote",
  "strong",
  "thematicBreak",
  "emphasis",
  "break",
]);

/**
 * Everything that is wrong with a comment as a document: structure that no part of the layout makes (so content broke
 * out), tags that are not closed, tables that are torn, text that GitHub would turn into mentions or references.
 */
export function problemsOf(markdown: string): readonly string[] {
  const problems: string[] = [];
  let depth = 0;
  const walk = (node: Nodes, inCode: boolean) => {
    if (!EXPECTED.has(node.type)) problems.push(`${node.type} node: ${JSON.stringify(node).slice(0, 200)}`);
    if (node.type === "html") {
      const rest = node.value.replace(ALLOWED_TAGS, "");
      if (/[<>]/.test(rest)) problems.push(`tag that the layout does not make: ${node.value.slice(0, 200)}`);
      depth += (node.value.match(/<details/g)?.length ?? 0) - (node.value.match(/<\/details>/g)?.length ?? 0);
      if (depth < 0) problems.push("a fold is closed that was not opened");
      const bare = node.value.replace(/<code>[^<]*<\/code>/g, "").replace(ALLOWED_TAGS, "");
      problems.push(...linksIn(bare));
    }
    if (node.type === "heading" && node.depth !== 2 && node.depth !== 3)
      problems.push(`heading of depth ${node.depth}`);
    if (node.type === "emphasis" && !/^Details are left out|^The last/.test(textOf(node)))
      problems.push(`emphasis: ${textOf(node)}`);
    if (node.type === "blockquote" && !/^\[!(?:NOTE|WARNING|CAUTION)\]/.test(textOf(node)))
      problems.push(`quote: ${textOf(node)}`);
    if (node.type === "table") {
      const widths = new Set(node.children.map((row) => row.children.length));
      if (widths.size !== 1) problems.push(`torn table: ${[...widths]}`);
    }
    if (node.type === "text" && !inCode) problems.push(...linksIn(node.value));
    if ("children" in node) {
      let code = inCode;
      for (const child of node.children) {
        if (child.type === "html" && child.value === "<code>") code = true;
        else if (child.type === "html" && child.value === "</code>") code = false;
        else walk(child, code);
      }
    }
  };
  walk(parseMarkdown(markdown), false);
  if (depth !== 0) problems.push(`${depth} folds are not closed`);
  return problems;
}

const linksIn = (text: string): readonly string[] =>
  (text.match(/@[a-z\d][\w-]*|(?<![\w&])#\d+|\bGH-\d+|https?:\/\/\S+|www\.\w+/gi) ?? []).map(
    (link) => `link outside code: ${link}`,
  );

const textOf = (node: Nodes): string =>
  "value" in node ? node.value : "children" in node ? node.children.map(textOf).join("") : "";

/** Contents of all fenced blocks. */
export function fencesOf(markdown: string): readonly { readonly language: string; readonly value: string }[] {
  const found: { language: string; value: string }[] = [];
  const walk = (node: Nodes) => {
    if (node.type === "code") found.push({ language: node.lang ?? "", value: node.value });
    if ("children" in node) for (const child of node.children) walk(child);
  };
  walk(parseMarkdown(markdown));
  return found;
}
