import { GUARDED_TYPES } from "../guard/rules";

/** A managed resource with what is known of it. */
export interface Resource {
  /** `module.vpc.aws_subnet.app["a"]`. */
  readonly address: string;
  readonly type: string;
  readonly values: Readonly<Record<string, unknown>>;
  /** In a plan: the resource that an attribute whose value is not known yet refers to. */
  readonly references?: Readonly<Record<string, string>>;
}

/** One `moved` block. */
export interface Move {
  readonly from: string;
  readonly to: string;
}

/** A resource with another description than the code gives it. */
export interface Renamed {
  readonly address: string;
  readonly exists: string;
  readonly planned: string;
}

/** What became of every resource on either side. */
export interface Match {
  /** Addresses that both sides use for the same resource: nothing to do. */
  readonly same: readonly string[];
  readonly moves: readonly Move[];
  /** Resources that cannot be told apart by name, with who they could be. */
  readonly ambiguous: readonly { readonly from: string; readonly candidates: readonly string[] }[];
  /** In the state only: the next apply destroys them. */
  readonly onlyInState: readonly string[];
  /**
   * In the state only, but used by what stays, such as an old security group: Terraform would delete it before its users have changed
   * over, and AWS refuses. `removed` blocks leave them in AWS, to be deleted by hand.
   */
  readonly released: readonly string[];
  /** Like `released`, but the code has another resource at that address: only `terraform state rm` leaves these in AWS. */
  readonly displaced: readonly string[];
  /** Found by name, with a description that AWS never changes: the next apply would replace them under the same name, and AWS refuses. */
  readonly renamed: readonly Renamed[];
  /** In the plan only: the next apply creates them. */
  readonly onlyInPlan: readonly string[];
  /** Guarded resources and generated passwords that a plan with these moves would still destroy or rename; they need a decision first. */
  readonly atRisk: readonly string[];
}

/** What cannot be read as a state or a plan. */
export class UnreadableInputError extends Error {
  override readonly name = "UnreadableInputError";
}

/** Attributes that name a resource in AWS, where they are not the usual ones. */
const IDENTITIES: Readonly<Record<string, readonly string[]>> = {
  aws_cloudfront_distribution: ["aliases"],
  aws_cloudwatch_event_target: ["rule", "target_id"],
  aws_cloudwatch_metric_alarm: ["alarm_name"],
  aws_db_instance: ["identifier"],
  aws_ecr_lifecycle_policy: ["repository"],
  aws_eks_addon: ["cluster_name", "addon_name"],
  aws_eks_node_group: ["cluster_name", "node_group_name"],
  aws_elasticache_replication_group: ["replication_group_id"],
  aws_iam_role_policy: ["role", "name"],
  aws_iam_role_policy_attachment: ["role", "policy_arn"],
  aws_kms_key: ["description"],
  aws_lambda_function: ["function_name"],
  aws_msk_cluster: ["cluster_name"],
  aws_prometheus_workspace: ["alias"],
  aws_route53_record: ["name", "type"],
  aws_subnet: ["cidr_block"],
  aws_vpc: ["cidr_block"],
  aws_vpc_endpoint: ["service_name"],
};
/** Links between resources: AWS admits one of each, so the old one must become the new one. Named by what they link. */
const LINKS: Readonly<Record<string, readonly string[]>> = {
  aws_route: ["route_table_id", "destination_cidr_block"],
  aws_route_table_association: ["subnet_id"],
};
/** Types that AWS does not delete while something uses them. */
const USED_BY_OTHERS = [
  "aws_db_parameter_group",
  "aws_db_subnet_group",
  "aws_elasticache_parameter_group",
  "aws_elasticache_subnet_group",
  "aws_security_group",
];
/** Types whose description is fixed when they are made. */
const FIXED_DESCRIPTIONS = ["aws_db_parameter_group", "aws_elasticache_parameter_group", "aws_security_group"];
/** Recreated it is another password, and every secret made of it another secret. */
const GENERATED = ["random_password"];
/** What names every other type, first match wins; buckets' settings are named by their bucket. */
const USUAL_IDENTITIES: readonly (readonly string[])[] = [["name"], ["bucket"], ["function_name"], ["tags.Name"]];

/**
 * Finds for each resource of a state the one that the plan would create in its place: the same type and the same physical name, or
 * the only one of its type in the same module. Never guesses: what two could be is told, not moved.
 */
export function match(state: readonly Resource[], planned: readonly Resource[]): Match {
  const same: string[] = [];
  const moves: Move[] = [];
  const renamed: Renamed[] = [];
  const ambiguous: { from: string; candidates: string[] }[] = [];
  const left = new Map(state.map((resource) => [resource.address, resource]));
  const open = new Map(planned.map((resource) => [resource.address, resource]));
  const settle = (from: Resource, to: Resource) => {
    left.delete(from.address);
    open.delete(to.address);
    if (from.address === to.address) same.push(from.address);
    else moves.push({ from: from.address, to: to.address });
    const [exists, planned] = [from.values.description, to.values.description];
    if (FIXED_DESCRIPTIONS.includes(to.type) && exists !== planned) {
      renamed.push({ address: to.address, exists: String(exists), planned: String(planned) });
    }
  };

  const byName = groupBy([...open.values()], identityOf);
  for (const [identity, olds] of groupBy([...left.values()], identityOf)) {
    const news = byName.get(identity) ?? [];
    const [from, to] = [olds[0], news[0]];
    if (from && to && olds.length === 1 && news.length === 1) settle(from, to);
    else
      for (const old of olds)
        if (news.length > 0) ambiguous.push({ from: old.address, candidates: news.map(({ address }) => address) });
  }
  const undecided = new Set(ambiguous.map(({ from }) => from));
  // The same address with nothing that says otherwise is the same resource.
  for (const resource of [...left.values()]) {
    const other = open.get(resource.address);
    if (other && !contradicts(resource, other)) settle(resource, other);
  }
  const bySingle = groupBy([...open.values()], moduleAndType);
  for (const [key, olds] of groupBy([...left.values()], moduleAndType)) {
    const [from, to] = [olds[0], bySingle.get(key)?.[0]];
    const single = olds.length === 1 && bySingle.get(key)?.length === 1;
    if (from && to && single && !undecided.has(from.address) && !contradicts(from, to)) settle(from, to);
  }
  const newAddresses = new Map([
    ...same.map((address) => [address, address] as const),
    ...moves.map(({ from, to }) => [from, to] as const),
  ]);
  const byId = new Map(state.map(({ address, values }) => [values.id, newAddresses.get(address)]));
  const linkOf = ({ references = {}, type, values }: Resource) =>
    LINKS[type] &&
    JSON.stringify([type, ...LINKS[type].map((end) => references[end] ?? byId.get(values[end]) ?? values[end])]);
  const openLinks = groupBy([...open.values()], linkOf);
  for (const [link, olds] of groupBy([...left.values()], linkOf)) {
    const [from, to] = [olds[0], openLinks.get(link)?.[0]];
    if (from && to && olds.length === 1 && openLinks.get(link)?.length === 1) settle(from, to);
  }
  const stillUndecided = ambiguous.filter(({ from }) => left.has(from));
  const decided = [...left.values()].filter(({ address }) => !stillUndecided.some(({ from }) => from === address));
  const isInUse = ({ type }: Resource) => USED_BY_OTHERS.includes(type);
  const taken = new Set(planned.map(({ address }) => withoutKey(address)));
  const isDisplaced = (resource: Resource) => isInUse(resource) && taken.has(withoutKey(resource.address));
  const addressesOf = (resources: readonly Resource[]) => resources.map(({ address }) => address).sort();
  return {
    same: same.sort(),
    moves: moves.sort((a, b) => (a.from < b.from ? -1 : 1)),
    ambiguous: stillUndecided,
    onlyInState: addressesOf(decided.filter((resource) => !isInUse(resource))),
    released: addressesOf(decided.filter((resource) => isInUse(resource) && !isDisplaced(resource))),
    displaced: addressesOf(decided.filter(isDisplaced)),
    renamed,
    onlyInPlan: [...open.keys()].sort(),
    atRisk: addressesOf(
      [...left.values()].filter(({ type }) => GUARDED_TYPES[type] !== undefined || GENERATED.includes(type)),
    ),
  };
}

/** The address of a resource with all its instances. */
export function withoutKey(address: string): string {
  return address.replace(/\[[^\]]*\]$/, "");
}

/** The managed resources of a state file, of `terraform show -json` of a state, or of a plan. */
export function readResources(input: unknown): Resource[] {
  if (!isObject(input)) throw new UnreadableInputError("neither a state nor a plan: not a JSON object");
  if (isObject(input.planned_values)) {
    const references = isObject(input.configuration) ? referencesOfModule(input.configuration.root_module) : new Map();
    return resourcesOfModule(input.planned_values.root_module).map((resource) => ({
      ...resource,
      references: references.get(resource.address) ?? {},
    }));
  }
  if (isObject(input.values)) return resourcesOfModule(input.values.root_module);
  if (input.version === 4 && Array.isArray(input.resources)) return input.resources.flatMap(resourcesOfStateEntry);
  throw new UnreadableInputError(
    "neither a state nor a plan; give a state file of version 4, or what `terraform show -json` prints of a state or a plan",
  );
}

function resourcesOfModule(module: unknown): Resource[] {
  if (!isObject(module)) return [];
  const own = list(module.resources)
    .filter(({ mode }) => mode === "managed")
    .map(({ address, type, values }) => ({
      address: String(address),
      type: String(type),
      values: isObject(values) ? values : {},
    }));
  return [...own, ...list(module.child_modules).flatMap(resourcesOfModule)];
}

/** By address, the resource of the same module that each attribute refers to. */
function referencesOfModule(module: unknown, prefix = ""): Map<string, Record<string, string>> {
  const found = new Map<string, Record<string, string>>();
  if (!isObject(module)) return found;
  for (const { address, expressions } of list(module.resources)) {
    const references: Record<string, string> = {};
    for (const [attribute, expression] of Object.entries(isObject(expressions) ? expressions : {})) {
      const named = isObject(expression) && Array.isArray(expression.references) ? expression.references : [];
      const resource = named.map(String).find((name) => /^aws_\w+\.\w+$/.test(name));
      if (resource !== undefined) references[attribute] = `${prefix}${resource}`;
    }
    found.set(`${prefix}${address}`, references);
  }
  for (const [name, call] of Object.entries(isObject(module.module_calls) ? module.module_calls : {})) {
    if (isObject(call))
      for (const [address, references] of referencesOfModule(call.module, `${prefix}module.${name}.`))
        found.set(address, references);
  }
  return found;
}

function resourcesOfStateEntry(entry: unknown): Resource[] {
  if (!isObject(entry) || entry.mode !== "managed") return [];
  const module = typeof entry.module === "string" ? `${entry.module}.` : "";
  return list(entry.instances).map(({ attributes, index_key }) => ({
    address: `${module}${entry.type}.${entry.name}${index_key === undefined ? "" : `[${JSON.stringify(index_key)}]`}`,
    type: String(entry.type),
    values: isObject(attributes) ? attributes : {},
  }));
}

/** Type and physical name, or undefined if nothing known names the resource. */
function identityOf({ type, values }: Resource): string | undefined {
  const candidates = IDENTITIES[type] ? [IDENTITIES[type]] : USUAL_IDENTITIES;
  for (const attributes of candidates) {
    const parts = attributes.map((attribute) => at(values, attribute));
    if (parts.every((part) => part !== undefined && part !== null && part !== "")) {
      return JSON.stringify([
        type,
        attributes,
        ...parts.map((part) => (Array.isArray(part) ? [...part].sort() : part)),
      ]);
    }
  }
  return undefined;
}

/** Whether both have physical names, and different ones. */
function contradicts(a: Resource, b: Resource): boolean {
  const [left, right] = [identityOf(a), identityOf(b)];
  return left !== undefined && right !== undefined && left !== right;
}

function moduleAndType({ address, type }: Resource): string {
  const module = /^(?:module\.[^.[]+(?:\[[^\]]*\])?\.)*/.exec(address)?.[0] ?? "";
  return `${module}${type}`;
}

function groupBy(
  resources: readonly Resource[],
  key: (resource: Resource) => string | undefined,
): Map<string, Resource[]> {
  const groups = new Map<string, Resource[]>();
  for (const resource of resources) {
    const name = key(resource);
    if (name !== undefined) groups.set(name, [...(groups.get(name) ?? []), resource]);
  }
  return groups;
}

function at(values: Readonly<Record<string, unknown>>, attribute: string): unknown {
  return attribute.split(".").reduce<unknown>((value, key) => (isObject(value) ? value[key] : undefined), values);
}

function list(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
