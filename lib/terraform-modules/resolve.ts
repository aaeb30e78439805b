import { DefaultTokenResolver, StringConcat, type TerraformStack, Tokenization } from "cdktf";
import type { Json } from "./json";

const RESOLVER = new DefaultTokenResolver(new StringConcat());

/** Numbers that stand for tokens are below any that a configuration holds. */
const LARGEST_NUMBER_TOKEN = -1e280;

/**
 * Resolves tokens as cdktf does in its preparing pass, in which references to other stacks come to light.
 *
 * cdktf's own walk costs more than everything else in a synth, and most of a configuration is plain values: those are copied here,
 * and only what can hold a token is handed to cdktf.
 */
export function resolveIn(stack: TerraformStack, value: unknown): Json {
  return (copy(stack, value) ?? {}) as Json;
}

function copy(stack: TerraformStack, value: unknown): unknown {
  if (value === null || value === undefined || typeof value === "boolean") {
    return value;
  }
  if (!isPlain(value)) {
    return Tokenization.resolve(value, { scope: stack, resolver: RESOLVER, preparing: true });
  }
  if (Array.isArray(value)) {
    return value.map((entry) => copy(stack, entry)).filter((entry) => entry !== undefined);
  }
  if (typeof value !== "object") {
    return value;
  }
  const result: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const entry = copy(stack, (value as Record<string, unknown>)[key]);
    if (entry !== undefined) {
      result[key] = entry;
    }
  }
  return result;
}

/** Whether a value itself is no token; what is in a list or an object is looked at by itself. */
function isPlain(value: unknown): boolean {
  if (typeof value === "string") {
    // `e+` is in the text of a number that stands for a token.
    return !value.includes("{") && !value.includes("e+");
  }
  if (typeof value === "number") {
    return value > LARGEST_NUMBER_TOKEN;
  }
  if (Array.isArray(value)) {
    // A token for a whole list is a list with one element that is the token.
    return value.length !== 1 || typeof value[0] === "object" || isPlain(value[0]);
  }
  return (
    typeof value === "object" &&
    value !== null &&
    Object.getPrototypeOf(value) === Object.prototype &&
    !Tokenization.isResolvable(value) &&
    Object.keys(value).every((key) => !key.includes("{"))
  );
}
