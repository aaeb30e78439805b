import { show } from "./diff";
import { compareText, type Item, type Kind, type Report } from "./model";
import { bare, isObject, type Json, sameJson } from "./plan";
import { isShownObject, JsonText, parseJson, type Redactor, type Shown, Words } from "./redact";

/** One thing that may be done, or reached, that was not before (or no longer). */
export interface AccessRow {
  readonly sign: "+" | "-";
  readonly address: string;
  /** Who: principals, or the owner of the policy. */
  readonly who: string;
  readonly what: string;
  readonly where: string;
  /** Why a reviewer should look twice. */
  readonly risk?: string;
}

export interface SecurityView {
  readonly permissions: readonly AccessRow[];
  readonly network: readonly AccessRow[];
  /** What could not be looked into, each with the reason. */
  readonly notAnalysed: readonly string[];
}

/** Attributes that hold IAM policy documents; others are found by their `Statement`. */
const POLICY_ATTRIBUTES = new Set([
  "policy",
  "assume_role_policy",
  "access_policies",
  "access_policy",
  "repository_policy",
  "resource_policy",
  "policy_document",
  "key_policy",
]);

/** Types that decide about access in a language of their own, which is not read here. */
const OTHER_ACCESS =
  /^(?:aws_(?:network_acl|wafv2_|s3_bucket_acl|s3_bucket_public_access_block|kms_grant|ram_|organizations_policy|lakeformation_|eks_access_|cognito_)|kubernetes_(?:cluster_)?role|kubernetes_network_policy)/;

const LEAVES_ACCESS: ReadonlySet<Kind> = new Set(["read", "no-op", "forget"]);

/** Policy statements and network reachability that a plan adds and takes away. */
export function securityOf(report: Report, redactor: Redactor): SecurityView {
  const permissions: AccessRow[] = [];
  const network: AccessRow[] = [];
  const notAnalysed: string[] = [];
  const groups = groupNames(report, redactor);
  for (const item of report.items) {
    if (LEAVES_ACCESS.has(item.kind) || item.mode !== "managed") continue;
    if (OTHER_ACCESS.test(item.type)) notAnalysed.push(`${item.address} (${item.type} is not read here)`);
    if (!isNetwork(item) && !mayGrant(item)) continue;
    if (sameAccess(item)) continue;
    const lines = isNetwork(item) ? network : permissions;
    const rows = (sign: "+" | "-") =>
      isNetwork(item)
        ? networkRows(item, sign, report, groups)
        : permissionRows(item, sign, report, redactor, notAnalysed);
    const [before, after] = [followed(rows("-"), report), followed(rows("+"), report)];
    lines.push(...without(after, before), ...without(before, after));
  }
  return {
    permissions: regrouped(permissions),
    network: withoutRepeats(network),
    notAnalysed: [...new Set(notAnalysed)].sort(compareText),
  };
}

/** Rows that the others do not hold, too. */
function without(rows: readonly AccessRow[], others: readonly AccessRow[]): readonly AccessRow[] {
  if (rows.length === 0 || others.length === 0) return rows;
  const key = (row: AccessRow) => JSON.stringify([row.who, row.what, row.where]);
  const known = new Set(others.map(key));
  return rows.filter((row) => !known.has(key(row)));
}

const NETWORK =
  /^aws_(?:security_group|default_security_group|security_group_rule|vpc_security_group_(?:in|e)gress_rule)$/;

const isNetwork = (item: Item): boolean => NETWORK.test(item.type);

/** What is not known yet becomes the addresses it leads to, without the signs of a template. */
function followed(rows: readonly AccessRow[], report: Report): readonly AccessRow[] {
  const plain = (text: string, address: string) =>
    report.configuration
      .followed(address, text)
      .replace(/\$\{((?:module|data|aws_\w+)\.[\w.[\]"-]+?)(?:\.(?:arn|id))?\}/g, "$1");
  return rows.map((row) =>
    row.who.includes("${") || row.where.includes("${")
      ? { ...row, who: plain(row.who, row.address), where: plain(row.where, row.address) }
      : row,
  );
}

/** A way from group to group is opened by a rule at each end: one line. */
const withoutRepeats = (rows: readonly AccessRow[]): readonly AccessRow[] => [
  ...new Map(rows.map((row) => [JSON.stringify([row.sign, row.who, row.what, row.where]), row])).values(),
];

/** Whether a look at the redacted values is worth it. */
function mayGrant(item: Item): boolean {
  const { before, after, after_unknown: unknown } = item.change;
  if (GRANTING_TYPES.test(item.type) || holdsPolicy(before) || holdsPolicy(after)) return true;
  if (isObject(unknown)) {
    for (const name in unknown) if (unknown[name] === true && POLICY_ATTRIBUTES.has(name)) return true;
  }
  return false;
}

function holdsPolicy(values: Json | undefined): boolean {
  if (!isObject(values)) return false;
  for (const name in values) {
    const value = values[name];
    if (typeof value === "string" ? isPolicy(name, value) : value === true && name === "publicly_accessible")
      return true;
  }
  return false;
}

const isPolicy = (name: string, value: string): boolean => value.includes("Statement") || POLICY_ATTRIBUTES.has(name);

const GRANTING_TYPES = /^aws_(?:iam_(?:role|user)_policy_attachment|lambda_permission)$/;

/** The attributes of one side that say something about access, redacted; the others are not worth the time. */
function side(item: Item, sign: "+" | "-", matters: (name: string, value: Json) => boolean): Shown {
  const which = sign === "+" ? "after" : "before";
  const values = item.change[which];
  if (!isObject(values)) return null;
  const shown = bare<Shown>();
  for (const name in values) if (matters(name, values[name] ?? null)) shown[name] = item.shown(which, name);
  return shown;
}

const SUBJECTS = new Set([
  "role",
  "user",
  "name",
  "bucket",
  "function_name",
  "policy_arn",
  "principal",
  "source_arn",
  "action",
  "publicly_accessible",
]);

const grants = (name: string, value: Json): boolean =>
  SUBJECTS.has(name) || POLICY_ATTRIBUTES.has(name) || (typeof value === "string" && value.includes("Statement"));

/** Whether an update leaves alone what says something about access: told before anything is redacted. */
function sameAccess({ kind, change: { before, after, after_unknown: unknown }, type }: Item): boolean {
  if (kind !== "update" || !isObject(before) || !isObject(after)) return false;
  const network = NETWORK.test(type);
  return Object.keys(after).every(
    (name) =>
      !(network ? opens(name) : grants(name, after[name] ?? null) || grants(name, before[name] ?? null)) ||
      (!(isObject(unknown) && Object.hasOwn(unknown, name)) && sameJson(before[name], after[name])),
  );
}

const OPENING = new Set([
  "type",
  "self",
  "ingress",
  "egress",
  "from_port",
  "to_port",
  "protocol",
  "ip_protocol",
  "cidr_blocks",
  "ipv6_cidr_blocks",
  "cidr_ipv4",
  "cidr_ipv6",
  "prefix_list_id",
  "prefix_list_ids",
  "security_group_id",
  "source_security_group_id",
  "referenced_security_group_id",
]);

const opens = (name: string): boolean => OPENING.has(name);

function permissionRows(
  item: Item,
  sign: "+" | "-",
  report: Report,
  redactor: Redactor,
  notAnalysed: string[],
): readonly AccessRow[] {
  const values = side(item, sign, grants);
  if (!isShownObject(values)) return [];
  const owner = text(values.role ?? values.name ?? values.bucket ?? values.function_name ?? null) || item.address;
  const rows: AccessRow[] = [];
  const unknown = isObject(item.unknown) ? item.unknown : {};
  const names = new Set([...Object.keys(values), ...(sign === "+" ? Object.keys(unknown) : [])]);
  for (const name of names) {
    const value = values[name] ?? null;
    if (value instanceof JsonText && isShownObject(value.value) && "Statement" in value.value) {
      rows.push(...statementRows(value.value, item.address, owner, sign));
    } else if (sign === "+" && unknown[name] === true && POLICY_ATTRIBUTES.has(name)) {
      const written = report.configuration.find(item.address)?.values[name];
      const parsed =
        typeof written === "string" ? parseJson(report.configuration.followed(item.address, written)) : undefined;
      if (isObject(parsed) && "Statement" in parsed) {
        const shown = redactor.value(parsed as Json, false, name);
        if (isShownObject(shown)) rows.push(...statementRows(shown, item.address, owner, sign));
      } else notAnalysed.push(`${item.address} (${name} is known only after apply)`);
    } else if (value instanceof Words && POLICY_ATTRIBUTES.has(name)) {
      notAnalysed.push(`${item.address} (${name} is hidden)`);
    }
  }
  const named = (attributeName: string): string => {
    const value = text(values[attributeName] ?? null);
    return value || report.configuration.referredBy(item.address, attributeName) || "(known after apply)";
  };
  if (item.type === "aws_iam_role_policy_attachment" || item.type === "aws_iam_user_policy_attachment") {
    const policy = named("policy_arn");
    rows.push({
      sign,
      address: item.address,
      who: named(item.type.includes("role") ? "role" : "user"),
      what: "everything in the managed policy",
      where: policy,
      ...(/AdministratorAccess|PowerUserAccess|IAMFullAccess/.test(policy) ? { risk: "grants almost everything" } : {}),
    });
  }
  if (item.type === "aws_lambda_permission") {
    const principal = named("principal");
    const open = principal === "*" || (text(values.source_arn ?? null) === "" && unknown.source_arn !== true);
    rows.push({
      sign,
      address: item.address,
      who: principal,
      what: text(values.action ?? null) || "lambda:InvokeFunction",
      where: named("function_name"),
      ...(open ? { risk: principal === "*" ? "anyone" : "no source_arn" } : {}),
    });
  }
  if (values.publicly_accessible === true) {
    rows.push({
      sign,
      address: item.address,
      who: "the internet",
      what: "publicly_accessible",
      where: item.address,
      risk: "public",
    });
  }
  return rows;
}

function statementRows(
  document: { readonly [key: string]: Shown },
  address: string,
  owner: string,
  sign: "+" | "-",
): readonly AccessRow[] {
  const statements = listed(document.Statement ?? null).filter(isShownObject);
  return statements.flatMap((statement) => {
    const effect = text(statement.Effect ?? null) || "Allow";
    const principals = principalsOf(statement.Principal ?? null);
    const notPrincipals = principalsOf(statement.NotPrincipal ?? null);
    const who =
      principals.length > 0
        ? principals.join(", ")
        : notPrincipals.length > 0
          ? `everyone but ${notPrincipals.join(", ")}`
          : owner;
    const resources = strings(statement.Resource ?? null);
    const notResources = strings(statement.NotResource ?? null);
    const condition = isShownObject(statement.Condition ?? null) ? ` if ${show(statement.Condition ?? null)}` : "";
    const where =
      (resources.length > 0
        ? resources.join(", ")
        : notResources.length > 0
          ? `all but ${notResources.join(", ")}`
          : address) + condition;
    const actions = strings(statement.Action ?? null);
    const excluded = strings(statement.NotAction ?? null);
    const list = actions.length > 0 ? actions : [`all but ${excluded.join(", ")}`];
    return list.map((action) => {
      const risk =
        effect === "Deny" ? undefined : riskOf(action, resources, notResources, principals, condition, excluded);
      return {
        sign,
        address,
        who,
        what: effect === "Deny" ? `deny ${action}` : action,
        where,
        ...(risk === undefined ? {} : { risk }),
      };
    });
  });
}

function riskOf(
  action: string,
  resources: readonly string[],
  notResources: readonly string[],
  principals: readonly string[],
  condition: string,
  excluded: readonly string[],
): string | undefined {
  // In the policy of a resource, "*" means that resource.
  const everywhere = principals.length === 0 && (resources.includes("*") || notResources.length > 0);
  if (principals.includes("*") && condition === "") return "anyone";
  if (excluded.length > 0) return "all other actions";
  if (action === "*" || action === "*:*") return "every action";
  if (/:\*$/.test(action) && everywhere) return "every action of the service on everything";
  if (
    /^iam:(?:PassRole|CreatePolicyVersion|AttachRolePolicy|PutRolePolicy|UpdateAssumeRolePolicy|CreateAccessKey)$/i.test(
      action,
    ) &&
    everywhere
  ) {
    return "can raise its own rights";
  }
  return undefined;
}

function principalsOf(value: Shown): readonly string[] {
  if (typeof value === "string" || value instanceof Words) return [text(value)];
  if (!isShownObject(value)) return [];
  return Object.values(value).flatMap(strings);
}

/** Actions of one statement again on one row. */
function regrouped(rows: readonly AccessRow[]): readonly AccessRow[] {
  const grouped = new Map<string, AccessRow & { actions: string[] }>();
  for (const row of rows) {
    const key = JSON.stringify([row.sign, row.address, row.who, row.where, row.risk ?? ""]);
    const group = grouped.get(key);
    if (group) group.actions.push(row.what);
    else grouped.set(key, { ...row, actions: [row.what] });
  }
  const byActions = new Map<string, AccessRow & { places: string[] }>();
  for (const { actions, ...row } of grouped.values()) {
    const what = [...new Set(actions)].join(", ");
    const key = JSON.stringify([row.sign, row.who, what, row.risk ?? ""]);
    const group = byActions.get(key);
    if (group) group.places.push(row.where);
    else byActions.set(key, { ...row, what, places: [row.where] });
  }
  return [...byActions.values()].map(({ places, ...row }) => ({ ...row, where: [...new Set(places)].join(", ") }));
}

const GROUP = "aws_security_group";

/** Addresses of security groups by their id, as far as the plan or the state it started from tells. */
function groupNames(report: Report, redactor: Redactor): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const remember = (type: unknown, id: unknown, address: unknown) => {
    if (type === GROUP && typeof id === "string" && typeof address === "string")
      names.set(id, redactor.address(address));
  };
  for (const { type, address, change } of report.plan.resource_changes) {
    if (type !== GROUP) continue;
    for (const value of [change.before, change.after]) if (isObject(value)) remember(type, value.id, address);
  }
  const walk = (module: Json | undefined) => {
    if (!isObject(module)) return;
    for (const resource of Array.isArray(module.resources) ? (module.resources as Json[]) : []) {
      if (isObject(resource) && isObject(resource.values))
        remember(resource.type, resource.values.id, resource.address);
    }
    for (const child of Array.isArray(module.child_modules) ? (module.child_modules as Json[]) : []) walk(child);
  };
  const state = report.plan.prior_state;
  if (isObject(state) && isObject(state.values)) walk(state.values.root_module);
  return names;
}

function networkRows(
  item: Item,
  sign: "+" | "-",
  report: Report,
  groups: ReadonlyMap<string, string>,
): readonly AccessRow[] {
  const values = side(item, sign, opens);
  if (!isShownObject(values)) return [];
  const refer = (name: string): string | undefined => {
    const value = text(values[name] ?? null);
    if (value !== "") return groups.get(value) ?? value;
    const unknown = isObject(item.unknown) && item.unknown[name] === true;
    return unknown && sign === "+"
      ? (report.configuration.referredBy(item.address, name) ?? "(known after apply)")
      : undefined;
  };
  const rule = (
    direction: "ingress" | "egress",
    group: string,
    peers: readonly string[],
    ports: string,
  ): readonly AccessRow[] =>
    (peers.length > 0 ? peers : ["(nobody)"]).map((peer) => {
      const open = /^(?:0\.0\.0\.0\/0|::\/0)$/.test(peer) && direction === "ingress";
      return {
        sign,
        address: item.address,
        who: direction === "ingress" ? peer : group,
        what: ports,
        where: direction === "ingress" ? group : peer,
        ...(open ? { risk: "the whole internet" } : {}),
      };
    });
  if (/^aws_vpc_security_group_/.test(item.type)) {
    const peers = ["cidr_ipv4", "cidr_ipv6", "prefix_list_id", "referenced_security_group_id"].flatMap(
      (name) => refer(name) ?? [],
    );
    const direction = item.type.includes("ingress") ? "ingress" : "egress";
    return rule(direction, refer("security_group_id") ?? "?", peers, portsOf(values, "ip_protocol"));
  }
  if (item.type === "aws_security_group_rule") {
    const peers = [
      ...strings(values.cidr_blocks ?? null),
      ...strings(values.ipv6_cidr_blocks ?? null),
      ...strings(values.prefix_list_ids ?? null),
    ];
    const source = refer("source_security_group_id");
    if (source !== undefined) peers.push(source);
    const group = refer("security_group_id") ?? "?";
    if (values.self === true) peers.push(group);
    return rule(
      text(values.type ?? null) === "egress" ? "egress" : "ingress",
      group,
      peers,
      portsOf(values, "protocol"),
    );
  }
  return (["ingress", "egress"] as const).flatMap((direction) =>
    listed(values[direction] ?? null)
      .filter(isShownObject)
      .flatMap((block) => {
        const peers = ["cidr_blocks", "ipv6_cidr_blocks", "prefix_list_ids", "security_groups"].flatMap((name) =>
          strings(block[name] ?? null).map((peer) => groups.get(peer) ?? peer),
        );
        if (block.self === true) peers.push(item.address);
        return rule(direction, item.address, peers, portsOf(block, "protocol"));
      }),
  );
}

function portsOf(values: { readonly [key: string]: Shown }, protocolName: string): string {
  const protocol = text(values[protocolName] ?? null);
  if (protocol === "-1" || protocol === "all") return "all traffic";
  const [from, to] = [text(values.from_port ?? null), text(values.to_port ?? null)];
  if (from === "" || (from === "-1" && to === "-1")) return `all ${protocol}`;
  if (from === "0" && to === "65535") return `all ${protocol} ports`;
  return `${protocol} ${from === to ? from : `${from}-${to}`}`;
}

const listed = (value: Shown): readonly Shown[] => (Array.isArray(value) ? value : value === null ? [] : [value]);

const strings = (value: Shown): string[] =>
  listed(value)
    .map(text)
    .filter((item) => item !== "");

function text(value: Shown): string {
  if (value === null || value === undefined) return "";
  if (value instanceof Words) return value.text;
  return typeof value === "object" ? show(value) : String(value);
}
