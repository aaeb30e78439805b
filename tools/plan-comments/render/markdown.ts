/** Characters that change how text reads without being seen: controls, direction marks, zero-width, lone surrogates. */
const UNSEEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the point
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|\udb40[\udc00-\udfff]/g;

/** Text with everything unseen written out, so that a reviewer reads what is there. */
export const visible = (text: string): string =>
  text.replace(UNSEEN, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);

const oneLine = (text: string): string => visible(text.replace(/\r?\n/g, "\\n"));

/** Inline code in running text or a table cell, whatever the text holds. Mentions and links stay dead in it. */
export function code(text: string): string {
  const line = oneLine(text);
  if (line.trim() === "") return "<code>&nbsp;</code>";
  if (/^[^`|\\<>&]+$/.test(line)) return `\`${line.trim()}\``;
  const encoded = html(line).replace(/[^A-Za-z\d\s&;.,/=-]/g, entity);
  return `<code>${encoded.replace(/&#64;|www(?=\.)|https?(?=&#58;)/gi, (found) => `${found}&#8203;`)}</code>`;
}

const entity = (character: string): string => `&#${character.codePointAt(0) ?? 0};`;

/** Text for an HTML block (`<summary>`): no tag, entity or line break of its own. */
export const html = (text: string): string =>
  oneLine(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** Code inside an HTML block, where Markdown's backticks mean nothing. */
export const htmlCode = (text: string): string => `<code>${html(text)}</code>`;

/** Breaks what GitHub turns into mentions, references and links even inside HTML: it looks at the finished text. */
const unlinked = (text: string): string =>
  text.replace(/[@#](?=\w)|GH-(?=\d)|www(?=\.)|https?(?=:)/gi, (found) => `${found}&#8203;`);

/** Words from outside inside an HTML block (`<summary>`). */
export const htmlWords = (text: string): string => unlinked(html(text));

/** Words from outside in running text or a table cell: nothing in them is Markdown, a mention or a link. */
export const words = (text: string): string => unlinked(html(text)).replace(/[\\`*_{}[\]|~$]/g, entity);

/** A fenced block that its content cannot end: the fence is longer than any run of backticks in it. */
export function fence(language: string, lines: readonly string[]): string {
  const text = lines.map(visible).join("\n");
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((run) => run.length));
  const ticks = "`".repeat(longest + 1);
  return `${ticks}${language}\n${text}\n${ticks}`;
}

export type Align = "left" | "right";

/** A table. Cells are Markdown already ({@link code}, {@link words}); a line break or bare pipe in one is a mistake. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  align: readonly Align[] = [],
): string {
  const cells = (row: readonly string[]) => `| ${row.map((cell) => checkedCell(cell)).join(" | ")} |`;
  const rule = `|${head.map((_, index) => (align[index] === "right" ? "--:" : ":--")).join("|")}|`;
  return [cells(head), rule, ...rows.map(cells)].join("\n");
}

function checkedCell(cell: string): string {
  if (/[|\n\r]/.test(cell))
    throw new Error(`a table cell may hold neither a pipe nor a line break: ${JSON.stringify(cell)}`);
  return cell;
}

export function details(summaryHtml: string, body: string, open = false): string {
  return `<details${open ? " open" : ""}><summary>${summaryHtml}</summary>\n\n${body}\n\n</details>`;
}

export type Alert = "NOTE" | "WARNING" | "CAUTION" | "IMPORTANT" | "TIP";

export const alert = (kind: Alert, lines: readonly string[]): string =>
  [`> [!${kind}]`, ...lines.map((line) => (line === "" ? ">" : `> ${line}`))].join("\n");

/** Whole numbers with commas; a tenth of the time that Intl takes. */
export const grouped = (count: number): string => String(count).replace(/\B(?=(?:\d{3})+$)/g, ",");

export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${grouped(count)} ${count === 1 ? one : many}`;

/** The larger of the two sizes GitHub could count: not that of the text, but of the JSON that carries it. */
export const bodyBytes = (text: string): number => Buffer.byteLength(JSON.stringify(text));
