import { DefaultTokenResolver, StringConcat, type TerraformStack, Tokenization } from "cdktf";
import type { Json } from "./json";

const RESOLVER = new DefaultTokenResolver(new StringConcat());

/** Resolves tokens as cdktf does in its preparing pass, in which references to other stacks come to light. */
export function resolveIn(stack: TerraformStack, value: unknown): Json {
  return Tokenization.resolve(value, { scope: stack, resolver: RESOLVER, preparing: true }) ?? {};
}
