import { createHash } from "node:crypto";
import { isList, isObject, type Json, type Plan } from "../render/plan";

/**
 * What a plan does, without what differs between two runs that do the same: when it was made, what it only reads, and
 * the order of keys. Two plans with the same digest change the same things to the same values.
 */
export function digestOfPlan(plan: Plan): string {
  const changes = plan.resource_changes
    .filter(({ change }) => !["no-op", "read"].includes(change.actions.join()) || change.importing !== undefined)
    .map(({ address, previous_address, deposed, change }) => {
      const { actions, before, after, after_unknown, importing } = change;
      return [
        address,
        previous_address ?? "",
        deposed ?? "",
        actions,
        before ?? null,
        after ?? null,
        after_unknown ?? null,
        importing ?? null,
      ];
    });
  const moved = plan.resource_changes
    .filter(({ previous_address, change }) => previous_address !== undefined && change.actions.join() === "no-op")
    .map(({ address, previous_address }) => [address, previous_address ?? ""]);
  const outputs = Object.entries(plan.output_changes).map(([name, { actions, after, after_unknown }]) => [
    name,
    actions,
    after ?? null,
    after_unknown ?? null,
  ]);
  const whole = [changes, moved, outputs].map((list) => list.map((entry) => stable(entry as unknown as Json)).sort());
  return createHash("sha256").update(JSON.stringify(whole)).digest("hex");
}

function stable(value: Json): string {
  if (isList(value)) return `[${value.map(stable).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${stable(value[key] ?? null)}`);
  return `{${members.join(",")}}`;
}
