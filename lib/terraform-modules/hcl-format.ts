import { type Token, tokenize } from "./lexer";

/** A token with the number of spaces before it, which is all that formatting changes. */
interface Spaced extends Token {
  spaces: number;
}

/** A line in cells: what comes before `=`, and the assignment if it ends on the same line. */
interface Line {
  lead: Spaced[];
  assign: Spaced[];
}

const OPENING: ReadonlySet<string> = new Set(["{", "[", "("]);
const CLOSING: ReadonlySet<string> = new Set(["}", "]", ")"]);
/** What a minus after it makes a negation. */
const BEFORE_NEGATION: ReadonlySet<string> = new Set("( { [ = : , ? + * / % - == != > >= < <= && || !".split(" "));

/**
 * Lays out Terraform source as `terraform fmt` does: indentation by brackets, one space between tokens where there is one, the `=` of
 * neighbouring lines aligned. Lines stay lines.
 *
 * The rules are those of HCL's own formatter (hclwrite), in its order.
 */
export function formatHcl(source: string): string {
  const lines = splitLines(tokenize(source, "code"));
  indent(lines);
  space(lines);
  align(lines);
  return lines
    .flatMap(({ lead, assign }) => [...lead, ...assign])
    .map(({ text, spaces }) => " ".repeat(spaces) + text)
    .join("");
}

function splitLines(tokens: readonly Token[]): Line[] {
  const lines: Line[] = [{ lead: [], assign: [] }];
  for (const token of tokens) {
    (lines.at(-1) as Line).lead.push({ ...token, spaces: 0 });
    if (token.type === "newline") {
      lines.push({ lead: [], assign: [] });
    }
  }
  for (const line of lines) {
    const equals = line.lead.findIndex((token, index) => index > 0 && isPunctuation(token, "="));
    if (equals > 0 && bracketChange(line.lead.slice(equals)) === 0) {
      line.assign = line.lead.splice(equals);
    }
  }
  return lines;
}

function indent(lines: readonly Line[]): void {
  const levels: number[] = [];
  for (const { lead, assign } of lines) {
    const [first] = lead;
    if (!first || first.type === "newline") {
      continue;
    }
    const net = bracketChange(untilHeredoc(lead)) + bracketChange(untilHeredoc(assign));
    for (let closed = -net; closed > 0 && levels.length > 0; ) {
      const open = levels.pop() as number;
      if (closed < open) {
        levels.push(open - closed);
      }
      closed -= open;
    }
    first.spaces = 2 * levels.length;
    if (net > 0) {
      levels.push(net);
    }
  }
}

function untilHeredoc(tokens: readonly Spaced[]): readonly Spaced[] {
  const heredoc = tokens.findIndex(({ type }) => type === "openHeredoc");
  return heredoc < 0 ? tokens : tokens.slice(0, heredoc);
}

function space(lines: readonly Line[]): void {
  for (const { lead, assign } of lines) {
    spaceCell(lead);
    spaceCell(assign);
  }
}

function spaceCell(tokens: readonly Spaced[]): void {
  tokens.forEach((token, index) => {
    const after = tokens[index + 1];
    if (after) {
      after.spaces = isSpaced(token, tokens[index - 1], after) ? 1 : 0;
    }
  });
}

function align(lines: readonly Line[]): void {
  let chain: Line[] = [];
  const close = (): void => {
    const width = Math.max(...chain.map(({ lead }) => columns(lead)));
    for (const { lead, assign } of chain) {
      (assign[0] as Spaced).spaces = width - columns(lead) + 1;
    }
    chain = [];
  };
  for (const line of lines) {
    if (line.assign.length > 0) {
      chain.push(line);
    } else if (chain.length > 0) {
      close();
    }
  }
  if (chain.length > 0) {
    close();
  }
}

/** Width in characters as a reader counts them: one per grapheme. */
function columns(tokens: readonly Spaced[]): number {
  const text = tokens.map((token) => " ".repeat(token.spaces) + token.text).join("");
  return /^[\x20-\x7e]*$/.test(text) ? text.length : [...new Intl.Segmenter().segment(text)].length;
}

function bracketChange(tokens: readonly Token[]): number {
  return tokens.reduce((sum, token) => sum + bracketOf(token), 0);
}

function bracketOf(token: Token): number {
  if (token.type === "interpolation" || token.type === "directive") {
    return 1;
  }
  if (token.type === "closeTemplate") {
    return -1;
  }
  return token.type !== "punctuation" ? 0 : OPENING.has(token.text) ? 1 : CLOSING.has(token.text) ? -1 : 0;
}

function isPunctuation(token: Token | undefined, text: string): boolean {
  return token?.type === "punctuation" && token.text === text;
}

function isSpaced(token: Token, before: Token | undefined, after: Token): boolean {
  if (after.type === "newline") {
    return false;
  }
  if (token.type === "ident" && (isPunctuation(after, "(") || isPunctuation(after, "::"))) {
    return false;
  }
  if (isPunctuation(token, "::") && after.type === "ident") {
    return false;
  }
  if (isPunctuation(token, ".") || isPunctuation(after, ".")) {
    return false;
  }
  if (isPunctuation(after, ",") || isPunctuation(after, "...")) {
    return false;
  }
  if (isPunctuation(token, ",")) {
    return true;
  }
  if (
    token.type === "literal" ||
    token.type === "openQuote" ||
    token.type === "openHeredoc" ||
    after.type === "literal" ||
    after.type === "closeQuote" ||
    after.type === "closeHeredoc"
  ) {
    return false;
  }
  if (token.type === "ident" && token.text === "in" && before?.type === "ident") {
    return true;
  }
  if (isPunctuation(after, "[") && (token.type === "ident" || token.type === "number" || bracketOf(token) < 0)) {
    return false;
  }
  if (isPunctuation(token, "!")) {
    return false;
  }
  if (isPunctuation(token, "-")) {
    return before !== undefined && !(before.type === "punctuation" && BEFORE_NEGATION.has(before.text));
  }
  if (isPunctuation(token, "{") || isPunctuation(after, "}")) {
    return !(isPunctuation(token, "{") && isPunctuation(after, "}"));
  }
  if ((token.type === "interpolation" || token.type === "directive") && isPunctuation(after, "{")) {
    return true;
  }
  if (isPunctuation(token, "}") && after.type === "closeTemplate") {
    return true;
  }
  if (token.type === "closeTemplate" && (after.type === "interpolation" || after.type === "directive")) {
    return false;
  }
  return bracketOf(token) <= 0 && bracketOf(after) >= 0;
}
