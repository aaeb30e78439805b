/** Construct ids that leave no trace in names, as in cdktf. */
const HIDDEN: ReadonlySet<string> = new Set(["Default", "Resource"]);

/**
 * The name that a path of construct ids gives to a block: the ids joined by `_`, other separators made `_`, nothing else changed.
 * What stands before a dot in an id only tells it from its siblings: `subnet.app_a` and `route_table.app_a` are both called `app_a`,
 * so that construct ids can read like Terraform addresses (`aws_subnet.app_a`, `aws_route_table.app_a`).
 */
export function logicalId(ids: readonly string[]): string {
  const names = ids.map((id) => id.slice(id.lastIndexOf(".") + 1));
  const visible = names.filter((name) => !HIDDEN.has(name));
  return (visible.length > 0 ? visible : names).map((name) => name.replace(/[-: ]+/g, "_")).join("_");
}

/** Whether Terraform takes the text as the name of a block. */
export function isIdentifier(text: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(text);
}
