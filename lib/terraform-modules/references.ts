import { HclSyntaxError, type Source, type Token, tokenize } from "./lexer";

/** One static step of a traversal after its root: `.name`, `[0]` or `["key"]`. */
export type Step = { readonly attribute: string } | { readonly index: number | string };

/**
 * A reference as it stands in an expression: its root and the steps that are known without evaluating anything.
 * `aws_subnet.app[0].tags[var.x]` has the root `aws_subnet`, the steps `.app`, `[0]` and `.tags`, and ends before `[var.x]`.
 */
export interface Traversal {
  readonly root: string;
  readonly steps: readonly Step[];
  /** Place of the root's first character in the source. */
  readonly start: number;
  /** End (exclusive) of the root and of each step: `ends[0]` is the root's, `ends[n]` that of step n. */
  readonly ends: readonly number[];
  /** Whether it may never be evaluated, or may fail without harm: a branch of a condition, a loop's body, `try`, `can`. */
  readonly guarded: boolean;
}

/** A reference that is a whole text, with that text. */
export interface Address extends Traversal {
  readonly source: string;
}

/** What a template or an expression mentions. */
export interface Mentions {
  readonly traversals: readonly Traversal[];
  /** Local names of the providers whose own functions are called (`provider::aws::arn_parse`). */
  readonly providerFunctions: readonly string[];
}

const NOTHING: Mentions = { traversals: [], providerFunctions: [] };

/** The references in a string of Terraform JSON that Terraform reads as a template. Plain text has none. */
export function mentionsOfTemplate(template: string): Mentions {
  return isTemplate(template) ? new Parser(template, "template").template() : NOTHING;
}

/** Whether a string of Terraform JSON can be more than plain text. */
export function isTemplate(text: string): boolean {
  return text.includes("${") || text.includes("%{");
}

/** The references in a bare expression, such as an entry of `replace_triggered_by`. */
export function mentionsOfExpression(expression: string): Mentions {
  return new Parser(expression, "code").wholeExpression();
}

/**
 * Reads a plain address (`aws_subnet.app`, `data.aws_region.current`, `module.vpc`), also when it is written as a template
 * (`${aws_subnet.app}`).
 *
 * @returns undefined for anything that is more than one static reference
 */
export function parseAddress(text: string): Address | undefined {
  const source = unwrapTemplate(text) ?? text;
  try {
    const [traversal, ...others] = mentionsOfExpression(source).traversals;
    const whole = traversal && others.length === 0 && traversal.start === 0 && traversal.ends.at(-1) === source.length;
    return whole ? { ...traversal, source } : undefined;
  } catch (error) {
    if (error instanceof HclSyntaxError) {
      return undefined;
    }
    throw error;
  }
}

/** The expression of a string that is one interpolation and nothing else (`${expr}`), else undefined. */
export function unwrapTemplate(text: string): string | undefined {
  if (!text.startsWith("${") || !text.endsWith("}")) {
    return undefined;
  }
  const tokens = tokenize(text, "template");
  let depth = 0;
  for (const token of tokens.slice(0, -1)) {
    depth += token.type === "interpolation" || token.type === "directive" ? 1 : token.type === "closeTemplate" ? -1 : 0;
    if (depth === 0) {
      return undefined;
    }
  }
  const open = tokens[0] as Token;
  const close = tokens.at(-1) as Token;
  return close.type === "closeTemplate" ? text.slice(open.end, close.start).trim() : undefined;
}

/** Replaces parts of a source; the parts must not overlap. */
export function splice(source: string, parts: readonly { start: number; end: number; text: string }[]): string {
  let result = "";
  let position = 0;
  for (const part of [...parts].sort((a, b) => a.start - b.start)) {
    result += source.slice(position, part.start) + part.text;
    position = part.end;
  }
  return result + source.slice(position);
}

/** Writes steps as Terraform does: `.name`, `[0]`, `["key"]`. */
export function formatSteps(steps: readonly Step[]): string {
  return steps
    .map((step) => {
      if ("attribute" in step) {
        return `.${step.attribute}`;
      }
      return typeof step.index === "number" ? `[${step.index}]` : `[${quote(step.index)}]`;
    })
    .join("");
}

/** Writes text as a quoted string of the language, in which nothing is interpolated. */
export function quote(text: string): string {
  return `"${escapeQuoted(text.replace(/[$%]\{/g, (match) => match[0] + match))}"`;
}

/** Escapes the characters that a quoted string cannot hold; `${`, `%{` and their escapes stay as they are. */
export function escapeQuoted(text: string): string {
  const named: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\" };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what has to be escaped
  return text.replace(/["\\\u0000-\u001f]/g, (character) => {
    return named[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

type Scope = ReadonlySet<string>;

const KEYWORDS: ReadonlySet<string> = new Set(["true", "false", "null"]);
const BINARY: ReadonlySet<string> = new Set("== != < > <= >= + - * / % && ||".split(" "));

/** A recursive descent over HCL's expression grammar that keeps the references and forgets the rest. */
class Parser {
  private readonly tokens: readonly Token[];
  private readonly traversals: Traversal[] = [];
  private readonly providerFunctions = new Set<string>();
  private next = 0;
  /** Whether a newline separates here: it does between the items of an object, and nowhere else in an expression. */
  private newlinesCount = false;
  private guards = 0;

  public constructor(
    private readonly source: string,
    kind: Source,
  ) {
    this.tokens = tokenize(source, kind).filter((token) => token.type !== "comment");
  }

  public template(): Mentions {
    this.templateParts(() => this.next >= this.tokens.length, new Set());
    return this.mentions();
  }

  public wholeExpression(): Mentions {
    this.expression(new Set());
    if (this.peek()) {
      throw this.unexpected();
    }
    return this.mentions();
  }

  private mentions(): Mentions {
    return { traversals: this.traversals, providerFunctions: [...this.providerFunctions] };
  }

  /** Literals, interpolations and directives up to (not including) the end. `for` directives bind names until `endfor`. */
  private templateParts(ended: () => boolean, outer: Scope): void {
    const scopes: Scope[] = [outer];
    const scope = (): Scope => scopes[scopes.length - 1] as Scope;
    const guards = this.guards;
    while (!ended()) {
      const token = this.tokens[this.next++];
      if (token === undefined) {
        throw this.unexpected();
      }
      if (token.type === "interpolation") {
        this.inTemplate(() => this.expression(scope()));
      } else if (token.type === "directive") {
        this.inTemplate(() => this.directive(scopes, scope()));
      } else if (token.type !== "literal") {
        this.next -= 1;
        throw this.unexpected();
      }
    }
    if (scopes.length > 1 || this.guards !== guards) {
      throw new HclSyntaxError("a directive is never ended", this.source, this.source.length);
    }
  }

  private directive(scopes: Scope[], scope: Scope): void {
    const keyword = this.take("ident").text;
    if (keyword === "if") {
      this.expression(scope);
      this.guards += 1;
    } else if (keyword === "for") {
      const names = this.loopNames();
      this.expression(scope);
      scopes.push(new Set([...scope, ...names]));
      this.guards += 1;
    } else if (keyword === "endfor" && scopes.length > 1) {
      scopes.pop();
      this.guards -= 1;
    } else if (keyword === "endif" && this.guards > 0) {
      this.guards -= 1;
    } else if (keyword !== "else") {
      throw this.unexpected();
    }
  }

  private inTemplate(body: () => void): void {
    this.withNewlines(false, () => {
      body();
      this.take("closeTemplate");
    });
  }

  private withNewlines(count: boolean, body: () => void): void {
    const before = this.newlinesCount;
    this.newlinesCount = count;
    body();
    this.newlinesCount = before;
  }

  private expression(scope: Scope): void {
    this.binary(scope);
    if (this.accept("?")) {
      this.guarded(() => {
        this.expression(scope);
        this.expect(":");
        this.expression(scope);
      });
    }
  }

  private guarded(body: () => void): void {
    this.guards += 1;
    body();
    this.guards -= 1;
  }

  private binary(scope: Scope): void {
    this.term(scope);
    for (let token = this.peek(); token?.type === "punctuation" && BINARY.has(token.text); token = this.peek()) {
      this.skip();
      if (token.text === "&&" || token.text === "||") {
        this.guarded(() => this.term(scope));
      } else {
        this.term(scope);
      }
    }
  }

  private term(scope: Scope): void {
    if (this.accept("-") || this.accept("!")) {
      this.term(scope);
      return;
    }
    const token = this.peek();
    if (token?.type === "ident") {
      this.name(scope);
    } else if (token?.type === "number") {
      this.skip();
    } else if (token?.type === "openQuote" || token?.type === "openHeredoc") {
      this.text(scope);
    } else if (this.accept("(")) {
      this.withNewlines(false, () => {
        this.expression(scope);
        this.expect(")");
      });
    } else if (this.accept("[")) {
      this.tuple(scope);
    } else if (this.accept("{")) {
      this.object(scope);
    } else {
      throw this.unexpected();
    }
    this.accesses(scope);
  }

  private text(scope: Scope): void {
    const open = this.tokens[this.next] as Token;
    this.skip();
    const close = open.type === "openQuote" ? "closeQuote" : "closeHeredoc";
    this.templateParts(() => this.tokens[this.next]?.type === close, scope);
    this.next += 1;
  }

  private name(scope: Scope): void {
    const root = this.take("ident");
    if (this.at("(") || this.at("::")) {
      this.call(root, scope);
      return;
    }
    if (KEYWORDS.has(root.text)) {
      return;
    }
    const { steps, ends } = this.staticSteps(root.end);
    if (!scope.has(root.text)) {
      this.traversals.push({ root: root.text, steps, start: root.start, ends, guarded: this.guards > 0 });
    }
  }

  private call(first: Token, scope: Scope): void {
    const names = [first.text];
    while (this.accept("::")) {
      names.push(this.take("ident").text);
    }
    if (names.length > 2 && names[0] === "provider") {
      this.providerFunctions.add(names[1] as string);
    }
    this.expect("(");
    const guard = names.length === 1 && (first.text === "try" || first.text === "can");
    this.withNewlines(false, () => {
      while (!this.at(")")) {
        if (guard) {
          this.guarded(() => this.expression(scope));
        } else {
          this.expression(scope);
        }
        this.accept("...");
        if (!this.accept(",")) {
          break;
        }
      }
      this.expect(")");
    });
  }

  /** The steps that need no evaluation; stops before a splat, a computed index, or an index that is a template. */
  private staticSteps(rootEnd: number): { steps: Step[]; ends: number[] } {
    const steps: Step[] = [];
    const ends = [rootEnd];
    const add = (step: Step, end: number): void => {
      steps.push(step);
      ends.push(end);
    };
    for (;;) {
      const [first, second, third, fourth, fifth] = this.tokens.slice(this.next, this.next + 5);
      if (first?.text === "." && second?.type === "ident") {
        add({ attribute: second.text }, second.end);
        this.next += 2;
      } else if (first?.text === "." && second?.type === "number") {
        // Legacy index syntax: `.0`, and `.0.1` which reads as one number.
        let end = second.start;
        for (const digits of second.text.split(".")) {
          end += digits.length;
          add({ index: Number(digits) }, end);
          end += 1;
        }
        this.next += 2;
      } else if (first?.text === "[" && second?.type === "number" && third?.text === "]") {
        add({ index: Number(second.text) }, third.end);
        this.next += 3;
      } else if (
        first?.text === "[" &&
        second?.type === "openQuote" &&
        third?.type === "literal" &&
        fourth?.type === "closeQuote" &&
        fifth?.text === "]"
      ) {
        add({ index: unquote(third.text) }, fifth.end);
        this.next += 5;
      } else {
        return { steps, ends };
      }
    }
  }

  /** Whatever follows a term: attributes, splats, indices. Only indices can mention something. */
  private accesses(scope: Scope): void {
    for (;;) {
      if (this.accept(".")) {
        const token = this.peek();
        if (token?.type === "ident" || token?.type === "number" || token?.text === "*") {
          this.skip();
        } else {
          throw this.unexpected();
        }
      } else if (this.at("[")) {
        this.skip();
        this.withNewlines(false, () => {
          if (!this.accept("*")) {
            this.expression(scope);
          }
          this.expect("]");
        });
      } else {
        return;
      }
    }
  }

  private tuple(scope: Scope): void {
    this.withNewlines(false, () => {
      if (this.atWord("for")) {
        this.loop(scope, "]");
      } else {
        while (!this.at("]")) {
          this.expression(scope);
          if (!this.accept(",")) {
            break;
          }
        }
      }
      this.expect("]");
    });
  }

  private object(scope: Scope): void {
    this.skipNewlines();
    if (this.atWord("for")) {
      this.withNewlines(false, () => {
        this.loop(scope, "}");
        this.expect("}");
      });
      return;
    }
    this.withNewlines(true, () => {
      this.skipNewlines();
      while (!this.at("}")) {
        this.objectKey(scope);
        if (!this.accept("=")) {
          this.expect(":");
        }
        this.expression(scope);
        if (!this.at("}") && !this.accept(",") && this.peek()?.type !== "newline") {
          throw this.unexpected();
        }
        this.skipNewlines();
      }
      this.expect("}");
    });
  }

  /** A bare name before `=` or `:` is a key, never a reference; in parentheses it would be one. */
  private objectKey(scope: Scope): void {
    const key = this.peek();
    if (key?.type === "ident" && !this.isCallAhead()) {
      this.skip();
      while (this.accept(".")) {
        this.skip();
      }
    } else {
      this.expression(scope);
    }
  }

  private isCallAhead(): boolean {
    const after = this.tokens[this.next + 1]?.text;
    return after === "(" || after === "::";
  }

  private loop(scope: Scope, close: string): void {
    this.take("ident");
    const names = this.loopNames();
    this.expression(scope);
    this.expect(":");
    const inner = new Set([...scope, ...names]);
    this.guarded(() => {
      this.expression(inner);
      if (close === "}") {
        this.expect("=>");
        this.expression(inner);
        this.accept("...");
      }
      if (this.peek()?.type === "ident" && this.peek()?.text === "if") {
        this.skip();
        this.expression(inner);
      }
    });
  }

  private loopNames(): string[] {
    const names = [this.take("ident").text];
    if (this.accept(",")) {
      names.push(this.take("ident").text);
    }
    if (this.take("ident").text !== "in") {
      this.next -= 1;
      throw this.unexpected();
    }
    return names;
  }

  private peek(): Token | undefined {
    if (!this.newlinesCount) {
      this.skipNewlines();
    }
    return this.tokens[this.next];
  }

  private skip(): void {
    this.peek();
    this.next += 1;
  }

  private skipNewlines(): void {
    while (this.tokens[this.next]?.type === "newline") {
      this.next += 1;
    }
  }

  private at(text: string): boolean {
    const token = this.peek();
    return token?.type === "punctuation" && token.text === text;
  }

  private atWord(word: string): boolean {
    const token = this.peek();
    return token?.type === "ident" && token.text === word && this.tokens[this.next + 1]?.type === "ident";
  }

  private accept(text: string): boolean {
    const found = this.at(text);
    this.next += found ? 1 : 0;
    return found;
  }

  private expect(text: string): void {
    if (!this.at(text)) {
      throw this.unexpected();
    }
    this.next += 1;
  }

  private take(type: Token["type"]): Token {
    const token = this.peek();
    if (token?.type !== type) {
      throw this.unexpected();
    }
    this.next += 1;
    return token;
  }

  private unexpected(): HclSyntaxError {
    const token = this.tokens[this.next];
    return token === undefined
      ? new HclSyntaxError("unexpected end", this.source, this.source.length)
      : new HclSyntaxError(`unexpected ${JSON.stringify(token.text)}`, this.source, token.start);
  }
}

/** The text that an escaped literal of a quoted string stands for. */
export function unquote(literal: string): string {
  return literal.replace(/\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)|\$\$\{|%%\{/g, (match, code: string | undefined) => {
    if (code === undefined) {
      return match.slice(1);
    }
    const simple: Record<string, string> = { n: "\n", r: "\r", t: "\t" };
    return code.length > 1 ? String.fromCodePoint(Number.parseInt(code.slice(1), 16)) : (simple[code] ?? code);
  });
}
