import type { Cost } from "../../tools/cloud/meter";
import type { Project } from "../../tools/cloud/project";
import type { Plan } from "../../tools/guard/rules";

/** What a plan would do, and what it took to find out. */
export interface Planned {
  /** Changes of resources and outputs as `action address`, sorted; empty if nothing would change. */
  readonly changes: readonly string[];
  /** Resources that the plan knows, changed or not. */
  readonly resources: number;
  readonly cost: Cost;
}

/** Plans a stack with `cdktf diff`. */
export async function planOf(project: Project, stack: string): Promise<Planned> {
  const { cost } = await project.diff(stack);
  // The file that `cdktf diff` leaves in the stack's folder.
  const plan = JSON.parse(await project.mustTerraform(stack, ["show", "-json", "plan"])) as Plan & {
    readonly output_changes?: Readonly<Record<string, { readonly actions: readonly string[] }>>;
  };
  const resources = plan.resource_changes ?? [];
  const changes = resources
    .filter(({ change }) => !["no-op", "read"].includes(change.actions.join()))
    .map(({ address, change }) => `${change.actions.join("+")} ${address}`);
  const outputs = Object.entries(plan.output_changes ?? {})
    .filter(([, { actions }]) => actions.join() !== "no-op")
    .map(([name, { actions }]) => `${actions.join("+")} output.${name}`);
  return { changes: [...changes, ...outputs].sort(), resources: resources.length, cost };
}

/** Changes of a plan of a stack. */
export async function plannedChanges(project: Project, stack: string): Promise<readonly string[]> {
  return (await planOf(project, stack)).changes;
}

/** Addresses of a stack's state. */
export async function stateAddresses(project: Project, stack: string): Promise<string[]> {
  return (await project.mustTerraform(stack, ["state", "list"])).split("\n").filter((line) => line !== "");
}

/** Type of the resource at an address, such as `aws_subnet` of `module.vpc.aws_subnet.app["a"]`. */
export function typeOf(address: string): string {
  return address.replace(/\[.*$/, "").split(".").at(-2) ?? "";
}
