/** What a token of Terraform's configuration language is. */
export type TokenType =
  | "ident"
  | "number"
  | "punctuation"
  | "newline"
  | "comment"
  | "openQuote"
  | "closeQuote"
  | "openHeredoc"
  | "closeHeredoc"
  /** Literal text of a quoted string, a heredoc or a bare template, still escaped. */
  | "literal"
  /** `${` or `${~`. */
  | "interpolation"
  /** `%{` or `%{~`. */
  | "directive"
  /** `}` or `~}` that closes an interpolation or a directive. */
  | "closeTemplate";

/** One token with its place in the source; `end` is exclusive. */
export interface Token {
  readonly type: TokenType;
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** What the source is: the text of a template (a string of Terraform JSON), or an expression or a whole file. */
export type Source = "template" | "code";

/** A source that is not valid Terraform syntax. */
export class HclSyntaxError extends Error {
  public constructor(
    message: string,
    public readonly source: string,
    public readonly offset: number,
  ) {
    super(`${message} at character ${offset + 1} of ${JSON.stringify(source)}`);
    this.name = "HclSyntaxError";
  }
}

type Mode =
  | { readonly kind: "code"; braces: number; readonly nested: boolean }
  | { readonly kind: "quoted" }
  | { readonly kind: "bare" }
  | { readonly kind: "heredoc"; readonly marker: string };

const IDENT = /[\p{ID_Start}_][\p{ID_Continue}-]*/uy;
const NUMBER = /\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const HEREDOC = /<<-?([\p{ID_Start}_][\p{ID_Continue}-]*)\r?\n/uy;
const COMMENT = /#[^\n]*|\/\/[^\n]*|\/\*[\s\S]*?\*\//y;
const BLANK = /[ \t\r]+/y;
const PUNCTUATION = /\.\.\.|::|==|!=|<=|>=|&&|\|\||=>|[-+*/%<>!?:=.,()[\]{}]/y;

/**
 * Splits Terraform source into tokens, as HCL's own scanner does: templates nest in strings, strings in expressions,
 * expressions in templates, to any depth. Blanks are not tokens; the positions tell where they were.
 */
export function tokenize(source: string, kind: Source): Token[] {
  const tokens: Token[] = [];
  const modes: Mode[] = [kind === "template" ? { kind: "bare" } : { kind: "code", braces: 0, nested: false }];
  let position = 0;

  const push = (type: TokenType, end: number): void => {
    tokens.push({ type, text: source.slice(position, end), start: position, end });
    position = end;
  };
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position;
    return pattern.exec(source);
  };

  while (position < source.length) {
    const mode = modes[modes.length - 1] as Mode;
    if (mode.kind === "code") {
      scanCode(mode);
    } else {
      scanTemplate(mode);
    }
  }
  const open = modes.pop() as Mode;
  if (modes.length > 0 || (open.kind === "code" && open.braces > 0)) {
    throw new HclSyntaxError("a string, template or brace is never closed", source, source.length);
  }
  return tokens;

  function scanCode(mode: Mode & { kind: "code" }): void {
    const blank = match(BLANK);
    if (blank) {
      position += blank[0].length;
      return;
    }
    const character = source[position] as string;
    if (character === "\n") {
      push("newline", position + 1);
      return;
    }
    if (character === '"') {
      push("openQuote", position + 1);
      modes.push({ kind: "quoted" });
      return;
    }
    if (mode.nested && mode.braces === 0 && (character === "}" || source.startsWith("~}", position))) {
      push("closeTemplate", position + (character === "}" ? 1 : 2));
      modes.pop();
      return;
    }
    const comment = match(COMMENT);
    if (comment) {
      push("comment", position + comment[0].length);
      return;
    }
    const heredoc = match(HEREDOC);
    if (heredoc) {
      push("openHeredoc", position + heredoc[0].length);
      modes.push({ kind: "heredoc", marker: heredoc[1] as string });
      return;
    }
    const word = match(IDENT);
    if (word) {
      push("ident", position + word[0].length);
      return;
    }
    const number = match(NUMBER);
    if (number) {
      push("number", position + number[0].length);
      return;
    }
    const punctuation = match(PUNCTUATION);
    if (!punctuation) {
      throw new HclSyntaxError(`unexpected character ${JSON.stringify(character)}`, source, position);
    }
    if (character === "{") {
      mode.braces += 1;
    } else if (character === "}") {
      mode.braces -= 1;
    }
    push("punctuation", position + punctuation[0].length);
  }

  function scanTemplate(mode: Exclude<Mode, { kind: "code" }>): void {
    const first = source[position] as string;
    const second = source[position + 1];
    if ((first === "$" || first === "%") && second === "{") {
      const strip = source[position + 2] === "~" ? 1 : 0;
      push(first === "$" ? "interpolation" : "directive", position + 2 + strip);
      modes.push({ kind: "code", braces: 0, nested: true });
      return;
    }
    if (mode.kind === "quoted" && first === '"') {
      push("closeQuote", position + 1);
      modes.pop();
      return;
    }
    if (mode.kind === "heredoc" && (source[position - 1] === "\n" || position === 0)) {
      const close = closesHeredoc(mode.marker);
      if (close !== undefined) {
        push("closeHeredoc", close);
        modes.pop();
        return;
      }
    }
    push("literal", literalEnd(mode));
  }

  /** The end of the closing marker, when the line at the current position holds nothing else. */
  function closesHeredoc(marker: string): number | undefined {
    const lineEnd = source.indexOf("\n", position);
    const line = source.slice(position, lineEnd < 0 ? source.length : lineEnd);
    return line.trim() === marker ? position + line.trimEnd().length : undefined;
  }

  function literalEnd(mode: Exclude<Mode, { kind: "code" }>): number {
    let end = position;
    while (end < source.length) {
      const character = source[end] as string;
      if (character === "$" || character === "%") {
        if (source[end + 1] === "{") {
          break;
        }
        // `$${` and `%%{` are literal `${` and `%{`.
        end += source[end + 1] === character && source[end + 2] === "{" ? 3 : 1;
        continue;
      }
      if (mode.kind === "quoted") {
        if (character === '"') {
          break;
        }
        if (character === "\n") {
          throw new HclSyntaxError("a quoted string runs over the end of its line", source, end);
        }
        end += character === "\\" ? 2 : 1;
        continue;
      }
      end += 1;
      if (mode.kind === "heredoc" && character === "\n") {
        break;
      }
    }
    return Math.min(end, source.length);
  }
}
