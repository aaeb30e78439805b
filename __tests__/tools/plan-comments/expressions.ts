import { data, Evaluator, type Expr, Lexer, Parser, wellKnownFunctions } from "@actions/expressions";

/** Any value of a workflow's contexts. */
export type Value = string | number | boolean | null | readonly Value[] | { readonly [name: string]: Value };

/** How the steps or jobs before went. */
export type Status = "success" | "failure" | "cancelled";

const STATUS_FUNCTIONS = ["success", "failure", "cancelled", "always"];

/** Evaluates an expression of a workflow as GitHub does, without its `${{ }}`. */
export function evaluate(
  expression: string,
  contexts: Readonly<Record<string, Value>>,
  status: Status = "success",
): Value {
  const functions = new Map(
    STATUS_FUNCTIONS.map((name) => [
      name,
      {
        name,
        minArgs: 0,
        maxArgs: 0,
        call: () => new data.BooleanData(name === "always" || name === status),
      },
    ]),
  );
  const names = Object.keys(contexts);
  const tree: Expr = new Parser(new Lexer(expression).lex().tokens, names, [
    ...Object.values(wellKnownFunctions),
    ...functions.values(),
  ]).parse();
  return plain(new Evaluator(tree, wrapped(contexts) as data.Dictionary, functions).evaluate());
}

/** Whether a job or step with this `if` runs: without a status function GitHub asks for success as well. */
export function runs(
  condition: string | boolean | undefined,
  contexts: Readonly<Record<string, Value>>,
  status: Status = "success",
): boolean {
  const text = String(condition ?? "success()").replace(/^\s*\$\{\{([\s\S]*)\}\}\s*$/, "$1");
  const asks = new RegExp(`\\b(?:${STATUS_FUNCTIONS.join("|")})\\s*\\(`).test(text);
  const value = evaluate(asks ? text : `success() && (${text})`, contexts, status);
  return value !== false && value !== 0 && value !== "" && value !== null;
}

/** A text with `${{ }}` filled in. */
export function filled(text: string, contexts: Readonly<Record<string, Value>>): string {
  return text.replace(/\$\{\{([\s\S]*?)\}\}/g, (_, expression: string) => {
    const value = evaluate(expression.trim(), contexts);
    return value === null ? "" : String(value);
  });
}

function wrapped(value: Value): data.ExpressionData {
  if (value === null) return new data.Null();
  if (typeof value === "string") return new data.StringData(value);
  if (typeof value === "number") return new data.NumberData(value);
  if (typeof value === "boolean") return new data.BooleanData(value);
  if (Array.isArray(value)) return new data.Array(...value.map(wrapped));
  return new data.Dictionary(...Object.entries(value).map(([key, item]) => ({ key, value: wrapped(item as Value) })));
}

function plain(value: data.ExpressionData): Value {
  if (value instanceof data.StringData || value instanceof data.NumberData || value instanceof data.BooleanData)
    return value.value;
  if (value instanceof data.Array) return value.values().map(plain);
  if (value instanceof data.Dictionary)
    return Object.fromEntries(value.pairs().map(({ key, value: item }) => [key, plain(item)]));
  return null;
}
