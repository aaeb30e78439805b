import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Plan,
  parsePlan,
  Redactor,
  type Rendered,
  type RenderOptions,
  renderComment,
  reportOf,
} from "../../../tools/plan-comments/render/index";
import { type Json, type JsonObject, readPlan } from "../../../tools/plan-comments/render/plan";

export const FIXTURES = join(import.meta.dirname, "fixtures");

export const fixtureText = (name: string): string => readFileSync(join(FIXTURES, `${name}.plan.json`), "utf8");

export const fixture = (name: string): Plan => parsePlan(fixtureText(name), name);

export const rendered = (plan: Plan, options: RenderOptions = {}, stack = "prod"): Rendered => {
  const redactor = Redactor.forPlans([plan]);
  return renderComment(reportOf(stack, plan, redactor), redactor, options);
};

/** A change with the marks that Terraform always writes. */
export const change = (actions: readonly string[], before: Json, after: Json, more: JsonObject = {}): JsonObject => ({
  actions: [...actions],
  before,
  after,
  after_unknown: {},
  before_sensitive: before === null ? false : {},
  after_sensitive: after === null ? false : {},
  ...more,
});

export const resource = (address: string, changed: JsonObject, more: JsonObject = {}): JsonObject => {
  const parts = address.replace(/^module\.\w+\./, "").split(".");
  return {
    address,
    mode: "managed",
    type: parts[0] ?? "",
    name: (parts[1] ?? "").replace(/\[.*/, ""),
    change: changed,
    ...more,
  };
};

export const planOf = (resources: readonly JsonObject[], more: JsonObject = {}): Plan =>
  readPlan({ format_version: "1.2", terraform_version: "1.11.4", resource_changes: [...resources], ...more });
