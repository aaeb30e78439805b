import type { Project } from "../../tools/cloud/project";
import type { Plan } from "../../tools/guard/rules";

/** Changes of a plan, as `action address`, sorted; an empty list means that nothing would change. */
export async function plannedChanges(project: Project, stack: string): Promise<string[]> {
  await project.diff(stack);
  // The file that `cdktf diff` leaves in the stack's folder.
  const plan = JSON.parse(await project.mustTerraform(stack, ["show", "-json", "plan"])) as Plan & {
    readonly output_changes?: Readonly<Record<string, { readonly actions: readonly string[] }>>;
  };
  const resources = (plan.resource_changes ?? [])
    .filter(({ change }) => !["no-op", "read"].includes(change.actions.join()))
    .map(({ address, change }) => `${change.actions.join("+")} ${address}`);
  const outputs = Object.entries(plan.output_changes ?? {})
    .filter(([, { actions }]) => actions.join() !== "no-op")
    .map(([name, { actions }]) => `${actions.join("+")} output.${name}`);
  return [...resources, ...outputs].sort();
}

/** Addresses of a stack's state. */
export async function stateAddresses(project: Project, stack: string): Promise<string[]> {
  return (await project.mustTerraform(stack, ["state", "list"])).split("\n").filter((line) => line !== "");
}
