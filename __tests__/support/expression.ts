/** A value as Terraform JSON holds it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A reference as written: `var.queue_arn`, `aws_sqs_queue.main.arn`, `module.vpc.app_subnet_ids[0]`. */
export interface WrittenReference {
  /** First word: `var`, `module`, `data`, a resource type, … */
  readonly root: string;
  /** What follows, attribute names and list indexes in order. */
  readonly path: readonly (string | number)[];
}

/** Gives a reference its value; strings of the form `${address.attribute}` stand for what only Terraform knows. */
export type Lookup = (reference: WrittenReference) => Json;

/**
 * The value of a Terraform template such as `arn:${var.partition}:s3:::${aws_s3_bucket.logs.id}/*`. What is not known
 * before apply stays in it as `${…}`; text without a template is returned as it is.
 */
export function evaluateTemplate(template: string, lookup: Lookup): Json {
  return new Parser(template, lookup).template();
}

/** Every `${…}` left in an evaluated value, without the braces. */
export function unknownsIn(value: Json): string[] {
  if (typeof value === "string") return [...value.matchAll(/\$\{([^}]*)\}/g)].map((match) => match[1] ?? "");
  if (Array.isArray(value)) return value.flatMap((item: Json) => unknownsIn(item));
  if (value !== null && typeof value === "object") return Object.values(value).flatMap((item) => unknownsIn(item));
  return [];
}

/** A reference or call that stays unknown. Quotes become apostrophes, so that it can stand inside JSON text. */
export function unknown(text: string): string {
  return `\${${text.replaceAll('"', "'")}}`;
}

/** Walks into an evaluated value; an unknown value takes the path into its own text. */
export function walk(value: Json | undefined, path: readonly (string | number)[]): Json {
  let current: Json | undefined = value;
  for (const [index, step] of path.entries()) {
    const whole = typeof current === "string" ? /^\$\{([^}]*)\}$/.exec(current) : null;
    if (whole) return unknown(`${whole[1]}${pathText(path.slice(index))}`);
    if (step === "*" && Array.isArray(current)) {
      return current.map((item: Json) => walk(item, path.slice(index + 1)));
    }
    if (Array.isArray(current) && typeof step === "number") current = current[step];
    else if (current !== null && typeof current === "object" && !Array.isArray(current)) {
      current = (current as Readonly<Record<string, Json>>)[String(step)];
      // A block that may occur once is an object in the JSON, yet Terraform addresses it as a list.
    } else if (step !== 0) current = undefined;
    if (step === 0 && current === undefined && index > 0) current = walk(value, path.slice(0, index));
  }
  return current ?? null;
}

/** `.attribute` and `[index]` of a path, as Terraform writes them. */
export function pathText(path: readonly (string | number)[]): string {
  return path.map((step) => (typeof step === "number" || step === "*" ? `[${step}]` : `.${step}`)).join("");
}

type Arguments = readonly Json[];

/** Functions that can be computed here as long as no argument is unknown. */
const FUNCTIONS: Readonly<Record<string, (args: Arguments) => Json>> = {
  concat: (args) => args.flatMap((list) => asList(list)),
  distinct: ([list]) => [...new Set(asList(list))],
  element: ([list, index]) => {
    const items = asList(list);
    return items[Number(index) % items.length] ?? null;
  },
  flatten: ([list]) => flatten(asList(list)),
  format: ([text, ...values]) => {
    const rest = [...values];
    return String(text).replace(/%[sdvq]/g, () => String(rest.shift()));
  },
  join: ([separator, list]) => asList(list).map(String).join(String(separator)),
  jsondecode: ([text]) => JSON.parse(String(text)) as Json,
  jsonencode: ([value]) => JSON.stringify(value),
  keys: ([map]) => Object.keys(map as object),
  length: ([value]) => (typeof value === "string" ? value.length : Object.keys(value as object).length),
  lower: ([text]) => String(text).toLowerCase(),
  merge: (args) => Object.assign({}, ...args),
  one: ([list]) => asList(list)[0] ?? null,
  replace: ([text, search, by]) => String(text).replaceAll(String(search), String(by)),
  split: ([separator, text]) => String(text).split(String(separator)),
  tolist: ([list]) => asList(list),
  tonumber: ([value]) => Number(value),
  toset: ([list]) => asList(list),
  tostring: ([value]) => String(value),
  trimprefix: ([text, prefix]) =>
    String(text).startsWith(String(prefix)) ? String(text).slice(String(prefix).length) : (text ?? null),
  trimsuffix: ([text, suffix]) =>
    String(text).endsWith(String(suffix)) ? String(text).slice(0, -String(suffix).length) : (text ?? null),
  upper: ([text]) => String(text).toUpperCase(),
  values: ([map]) => Object.values(map as Readonly<Record<string, Json>>),
};

/** Functions that only rearrange their arguments: unknown parts go through them unharmed. */
const TAKES_UNKNOWNS = new Set([
  "concat",
  "distinct",
  "flatten",
  "format",
  "join",
  "jsonencode",
  "merge",
  "tolist",
  "toset",
]);

function flatten(list: readonly Json[]): Json[] {
  return list.flatMap((item) => (Array.isArray(item) ? flatten(item) : [item]));
}

function asList(value: Json | undefined): readonly Json[] {
  if (Array.isArray(value)) return value;
  return value === null || value === undefined ? [] : [value];
}

/** A recursive-descent parser of the part of Terraform's expression language that synthesized JSON uses. */
class Parser {
  private at = 0;

  constructor(
    private readonly text: string,
    private readonly lookup: Lookup,
  ) {}

  template(): Json {
    return joinParts(this.templateParts(() => this.at >= this.text.length, false));
  }

  /** Literal text and `${…}` up to the end that `done` names. Backslashes escape only inside quotes. */
  private templateParts(done: () => boolean, quoted: boolean): Json[] {
    const parts: Json[] = [];
    let start = this.at;
    const flush = (end: number) => {
      const literal = this.text.slice(start, end);
      if (literal !== "") parts.push(quoted ? (JSON.parse(`"${literal}"`) as string) : literal);
    };
    while (!done()) {
      if (this.text.startsWith("$${", this.at)) {
        flush(this.at);
        this.at += 3;
        parts.push("${");
        start = this.at;
      } else if (this.text.startsWith("${", this.at)) {
        flush(this.at);
        this.at += 2;
        parts.push(this.expression());
        this.expect("}");
        start = this.at;
      } else this.at += quoted && this.text[this.at] === "\\" ? 2 : 1;
    }
    flush(this.at);
    return parts;
  }

  private expression(): Json {
    const condition = this.binary(0);
    if (!this.take("?")) return condition;
    const yes = this.expression();
    this.expect(":");
    const no = this.expression();
    if (typeof condition === "boolean") return condition ? yes : no;
    return unknown(`${inner(condition)} ? ${inner(yes)} : ${inner(no)}`);
  }

  private static readonly LEVELS = [["||"], ["&&"], ["==", "!="], [">=", "<=", ">", "<"], ["+", "-"], ["*", "/", "%"]];

  private binary(level: number): Json {
    const operators = Parser.LEVELS[level];
    if (!operators) return this.unary();
    let left = this.binary(level + 1);
    for (;;) {
      const operator = operators.find((candidate) => this.take(candidate));
      if (!operator) return left;
      const right = this.binary(level + 1);
      left = compute(operator, left, right);
    }
  }

  private unary(): Json {
    if (this.take("!")) {
      const value = this.unary();
      return typeof value === "boolean" ? !value : unknown(`!${inner(value)}`);
    }
    if (this.take("-")) {
      const value = this.unary();
      return typeof value === "number" ? -value : unknown(`-${inner(value)}`);
    }
    return this.postfix();
  }

  private postfix(): Json {
    this.space();
    const word = /^[A-Za-z_][\w-]*/.exec(this.text.slice(this.at))?.[0];
    if (word && !["true", "false", "null"].includes(word)) {
      this.at += word.length;
      if (this.take("(")) return walk(this.call(word), this.path());
      return this.lookup({ root: word, path: this.path() });
    }
    const value = this.primary();
    return walk(value, this.path());
  }

  /** `.name`, `[0]`, `["key"]`, `[*]` and `.*`, as many as follow. */
  private path(): (string | number)[] {
    const steps: (string | number)[] = [];
    for (;;) {
      const attribute = /^\.([A-Za-z_][\w-]*|\d+|\*)/.exec(this.text.slice(this.at));
      if (attribute?.[1] !== undefined) {
        this.at += attribute[0].length;
        steps.push(/^\d+$/.test(attribute[1]) ? Number(attribute[1]) : attribute[1]);
      } else if (this.text.startsWith("[*]", this.at)) {
        this.at += 3;
        steps.push("*");
      } else if (this.text[this.at] === "[") {
        this.at += 1;
        const key = this.expression();
        this.expect("]");
        steps.push(typeof key === "number" ? key : String(key));
      } else return steps;
    }
  }

  private call(name: string): Json {
    const args = this.list(")");
    const compute = FUNCTIONS[name];
    if (compute && (TAKES_UNKNOWNS.has(name) || unknownsIn(args).length === 0)) return compute(args);
    return unknown(`${name}(${args.map((arg) => inner(arg)).join(", ")})`);
  }

  private primary(): Json {
    const number = /^\d+(\.\d+)?([eE][+-]?\d+)?/.exec(this.text.slice(this.at))?.[0];
    if (number) {
      this.at += number.length;
      return Number(number);
    }
    if (this.take("true")) return true;
    if (this.take("false")) return false;
    if (this.take("null")) return null;
    if (this.take("(")) {
      const value = this.expression();
      this.expect(")");
      return value;
    }
    if (this.take("[")) return this.list("]");
    if (this.take("{")) return this.object();
    if (this.text[this.at] === '"') return this.quoted();
    throw new Error(`cannot read the Terraform expression at ${this.at}: ${this.text.slice(this.at, this.at + 60)}`);
  }

  private quoted(): Json {
    this.at += 1;
    const parts = this.templateParts(() => this.text[this.at] === '"' || this.at >= this.text.length, true);
    this.at += 1;
    return joinParts(parts);
  }

  private list(end: string): Json[] {
    const items: Json[] = [];
    while (!this.take(end)) {
      const item = this.expression();
      if (this.take("...")) items.push(...asList(item));
      else items.push(item);
      if (!this.take(",")) {
        this.expect(end);
        break;
      }
    }
    return items;
  }

  private object(): Json {
    const entries: [string, Json][] = [];
    while (!this.take("}")) {
      this.space();
      const bare = /^[A-Za-z_][\w-]*(?=\s*[=:])/.exec(this.text.slice(this.at))?.[0];
      if (bare) this.at += bare.length;
      const key = bare ?? String(this.expression());
      if (!this.take("=")) this.expect(":");
      entries.push([key, this.expression()]);
      this.take(",");
    }
    return Object.fromEntries(entries);
  }

  private space(): void {
    while (/\s/.test(this.text[this.at] ?? "")) this.at += 1;
  }

  private take(token: string): boolean {
    this.space();
    if (!this.text.startsWith(token, this.at)) return false;
    // A keyword must end where the word ends; `=` is not the start of `==`, nor `!` of `!=`.
    const next = this.text[this.at + token.length] ?? "";
    if (/^[a-z]+$/.test(token) && /[\w-]/.test(next)) return false;
    if ((token === "!" || token === "=") && next === "=") return false;
    this.at += token.length;
    return true;
  }

  private expect(token: string): void {
    if (!this.take(token)) {
      throw new Error(`expected ${token} in the Terraform expression at ${this.at}: ${this.text.slice(0, 120)}`);
    }
  }
}

function joinParts(parts: readonly Json[]): Json {
  const [only, ...others] = parts;
  if (only === undefined) return "";
  if (others.length === 0) return only;
  return parts.map((part) => (typeof part === "string" ? part : JSON.stringify(part))).join("");
}

/** How a value is written inside another unknown expression. */
function inner(value: Json): string {
  const whole = typeof value === "string" ? /^\$\{([^}]*)\}$/.exec(value) : null;
  return (
    whole?.[1] ??
    JSON.stringify(value)
      .replaceAll('"', "'")
      .replace(/\$\{([^}]*)\}/g, "$1")
  );
}

function compute(operator: string, left: Json, right: Json): Json {
  if (unknownsIn([left, right]).length > 0) return unknown(`${inner(left)} ${operator} ${inner(right)}`);
  switch (operator) {
    case "==":
      return JSON.stringify(left) === JSON.stringify(right);
    case "!=":
      return JSON.stringify(left) !== JSON.stringify(right);
    case "&&":
      return left === true && right === true;
    case "||":
      return left === true || right === true;
    default:
      return arithmetic(operator, Number(left), Number(right));
  }
}

function arithmetic(operator: string, left: number, right: number): Json {
  switch (operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "/":
      return left / right;
    case "%":
      return left % right;
    case ">":
      return left > right;
    case "<":
      return left < right;
    case ">=":
      return left >= right;
    default:
      return left <= right;
  }
}
