import type { Json, JsonObject } from "./render/plan";
import { isObject } from "./render/plan";

/**
 * A plan of any size, made by repeating the changes of real ones under new names: what the benchmark and the tests of
 * large plans read. Same plans and count, same result.
 */
export function largePlan(plans: readonly JsonObject[], count: number): JsonObject {
  const changes = plans.flatMap((plan) =>
    Array.isArray(plan.resource_changes) ? (plan.resource_changes as Json[]) : [],
  );
  const real = changes.filter(
    (change): change is JsonObject =>
      isObject(change) &&
      isObject(change.change) &&
      Array.isArray(change.change.actions) &&
      change.change.actions[0] !== "no-op",
  );
  const resources = Array.from({ length: count }, (_, index) => {
    const original = real[index % real.length] ?? {};
    const suffix = `_${index}`;
    const renamed = JSON.parse(JSON.stringify(original)) as Record<string, Json>;
    renamed.address = `${original.address}${suffix}`.replace(/^module\.(\w+)\./, `module.$1_${index % 20}.`);
    renamed.module_address = `${original.module_address ?? ""}_${index % 20}`;
    renamed.name = `${original.name}${suffix}`;
    return renamed;
  });
  const { prior_state: _state, planned_values: _planned, configuration: _configuration, ...rest } = plans[0] ?? {};
  return { ...rest, resource_changes: resources };
}
