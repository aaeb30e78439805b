import { readFileSync } from "node:fs";
import { join } from "node:path";
import { runInNewContext } from "node:vm";
import {
  isAllowed,
  managedPoliciesOf,
  type PolicyStatement,
  resourcePolicyOf,
  serviceAccountsOf,
  statementsOfRole,
  trustedBy,
} from "../support/access";
import { admissions, isReachable, securityGroupRules, securityGroupsOf } from "../support/network";
import type { Json, JsonObject, Resource, TerraformStack } from "../support/terraform";
import { unzip } from "../support/zip";

/** What a check may ask: the stack of the row's environment, the others, and the named selectors. */
export interface CheckContext {
  readonly stack: TerraformStack;
  readonly stacks: Readonly<Record<"prod" | "staging" | "bootstrap", TerraformStack>>;
  /** Resources of a named selector, in the row's environment. */
  readonly find: (selector: string) => Resource[];
  /** The one resource of a named selector. */
  readonly one: (selector: string) => Resource;
  readonly args: JsonObject;
  /** The value that the row documents, for checks that look for it in a larger whole. */
  readonly documented: Json;
}

/** Works out the built value of a row that is not one attribute of one resource. */
export type Check = (context: CheckContext) => Json;

const MANAGED_CACHE_POLICIES: Readonly<Record<string, string>> = {
  "658327ea-f89d-4fab-a63d-7e88639e58f6": "Managed-CachingOptimized",
  "4135ea2d-6df8-44a3-9df3-4b5a84be39ad": "Managed-CachingDisabled",
};
/** Managed origin request policies that forward every cookie and query string. Source: Amazon CloudFront, "Use managed origin request policies". */
const FORWARDS_EVERYTHING = ["216adef6-5c7f-47e4-b989-5492eafa07d3", "b689b0a8-53d0-40ab-baf2-68738e2966ac"];
/** What AWS's rule groups are for. Source: AWS WAF, "AWS Managed Rules rule groups list". */
const MANAGED_RULE_GROUPS: Readonly<Record<string, string>> = {
  AWSManagedRulesCommonRuleSet: "common attacks",
  AWSManagedRulesKnownBadInputsRuleSet: "known bad inputs",
  AWSManagedRulesSQLiRuleSet: "SQL injection",
};
const ALARM_SIDES: Readonly<Record<string, string>> = { GreaterThanThreshold: "above", LessThanThreshold: "below" };
const INVOKERS: Readonly<Record<string, string>> = { "apigateway.amazonaws.com": "API Gateway" };
const TIERS = ["public", "app", "db", "cache", "streaming"];

const text = (value: Json | undefined): string => (value === undefined ? "" : String(value));
const sorted = (values: Iterable<string>): string[] => [...new Set(values)].sort();

function list(value: Json | undefined): readonly Json[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value as Json];
}

function blocks(value: Json | undefined): readonly JsonObject[] {
  return list(value) as readonly JsonObject[];
}

function arg(context: CheckContext, name: string): string {
  const value = context.args[name];
  if (typeof value !== "string") throw new Error(`the check needs the argument ${name}`);
  return value;
}

function subnetsOf({ find }: CheckContext, tier: string): Resource[] {
  return find(`${tier}Subnets`);
}

function zoneLetter(context: CheckContext, subnet: Resource): string {
  return text(context.stack.resolve(subnet, "availability_zone")).slice(-1);
}

/** Default route of a subnet: the resource it leads to, undefined where there is none. */
function defaultRouteOf({ stack }: CheckContext, subnet: Resource): Resource | undefined {
  const tables = routeTablesOf(stack, subnet);
  const routes = stack
    .find({ type: "aws_route", where: { destination_cidr_block: "0.0.0.0/0" } })
    .filter((route) => stack.references(route, "route_table_id").some((table) => tables.includes(table)));
  const [target] = routes.flatMap((route) =>
    ["gateway_id", "nat_gateway_id"].flatMap((path) => stack.referred(route, path)),
  );
  const inline = tables
    .flatMap((table) => blocks(stack.arguments(stack.at(table)).route))
    .filter((route) => route.cidr_block === "0.0.0.0/0")
    .flatMap((route) => stack.addressesIn(route));
  return target ?? (inline[0] === undefined ? undefined : stack.at(inline[0]));
}

function routeTablesOf(stack: TerraformStack, subnet: Resource): string[] {
  return stack
    .find({ type: "aws_route_table_association" })
    .filter((association) => stack.references(association, "subnet_id").includes(subnet.address))
    .flatMap((association) => stack.references(association, "route_table_id"));
}

function role(context: CheckContext): Resource {
  return context.one(arg(context, "role"));
}

function kafkaProperties(context: CheckContext): Record<string, string> {
  const properties = text(context.stack.resolve(context.one("kafkaConfiguration"), "server_properties"));
  return Object.fromEntries(
    properties
      .split("\n")
      .filter((line) => line.includes("="))
      .map((line) => line.split("=").map((part) => part.trim()) as [string, string]),
  );
}

function behaviours(context: CheckContext): JsonObject[] {
  const distribution = context.stack.arguments(context.one("distribution"));
  const [standard] = blocks(distribution.default_cache_behavior);
  return [{ ...standard, path_pattern: "default" }, ...blocks(distribution.ordered_cache_behavior)];
}

function behaviour(context: CheckContext): JsonObject {
  const pattern = arg(context, "pattern");
  const found = behaviours(context).find(({ path_pattern }) => path_pattern === pattern);
  if (!found) throw new Error(`there is no cache behaviour for ${pattern}`);
  return found;
}

function cachePolicyOf({ stack }: CheckContext, found: JsonObject): Resource | undefined {
  const [address] = stack.addressesIn(found.cache_policy_id ?? null);
  return address === undefined ? undefined : stack.at(address);
}

function origins(context: CheckContext): readonly JsonObject[] {
  return blocks(context.stack.arguments(context.one("distribution")).origin);
}

/** Which of the three documented origins an origin is, by what it points at. */
function originKind({ stack }: CheckContext, origin: JsonObject): string {
  const types = stack.addressesIn(origin.domain_name ?? null).map((address) => stack.at(address).type);
  if (types.includes("aws_s3_bucket")) return "s3";
  if (types.some((type) => type.startsWith("aws_api_gateway"))) return "vwr-api";
  return types.includes("aws_lb") ? "alb" : "unknown";
}

function originOf(context: CheckContext): JsonObject {
  const found = origins(context).find((origin) => originKind(context, origin) === arg(context, "origin"));
  if (!found) throw new Error(`there is no origin ${arg(context, "origin")}`);
  return found;
}

function wafRules(context: CheckContext): readonly JsonObject[] {
  return blocks(context.stack.arguments(context.one("webAcl")).rule);
}

function wafRule(context: CheckContext): JsonObject {
  const found = wafRules(context).find(({ priority }) => priority === context.args.priority);
  if (!found) throw new Error(`the web ACL has no rule of priority ${String(context.args.priority)}`);
  return found;
}

function rateStatement(context: CheckContext): JsonObject {
  const rule = wafRules(context).find(({ priority }) => priority === 1);
  return inside(rule, "statement", "rate_based_statement");
}

/** The block at a path of an evaluated block; an empty one where it is missing. */
function inside(block: JsonObject | undefined, ...path: string[]): JsonObject {
  return path.reduce<JsonObject>((current, step) => blocks(current[step])[0] ?? {}, block ?? {});
}

function parameter(context: CheckContext, name: string): Json {
  const parameters = blocks(context.stack.arguments(context.one(arg(context, "of"))).parameter);
  return parameters.find((candidate) => candidate.name === name)?.value ?? null;
}

function lifecycleRules(context: CheckContext): JsonObject[] {
  const policies = context.find("repositoryLifecycles");
  if (policies.length !== context.find("repositories").length) throw new Error("not every repository has a life cycle");
  const texts = sorted(policies.map((policy) => text(context.stack.resolve(policy, "policy"))));
  if (texts.length !== 1) throw new Error("the repositories' life cycles differ");
  return (JSON.parse(texts[0] ?? "{}") as { rules: JsonObject[] }).rules;
}

function passwordOf(context: CheckContext): Resource {
  const { stack } = context;
  const [password] = versionsOf(context)
    .flatMap((version) => stack.referred(version, "secret_string"))
    .filter(({ type }) => type === "random_password");
  if (!password) throw new Error(`${arg(context, "of")} is not written from a random_password`);
  return password;
}

function versionsOf(context: CheckContext): Resource[] {
  const secret = context.one(arg(context, "of"));
  return context.stack
    .find({ type: "aws_secretsmanager_secret_version" })
    .filter((version) => context.stack.references(version, "secret_id").includes(secret.address));
}

function secretKeys(context: CheckContext): string[] {
  const [version] = versionsOf(context);
  if (!version) throw new Error(`${arg(context, "of")} has no version`);
  return Object.keys(JSON.parse(text(context.stack.resolve(version, "secret_string"))) as object);
}

/** The functions, queues and tables that a role's statements reach: whether one action at least is allowed on a resource. */
function anyActionOn(context: CheckContext, statements: readonly PolicyStatement[], target: Resource): boolean {
  return statements
    .flatMap(({ actions }) => actions)
    .some((action) => isAllowed(context.stack, statements, action.replace(/\*$/, "X"), target));
}

function functionRole(context: CheckContext): Resource {
  const [found] = context.stack.referred(context.one(arg(context, "of")), "role");
  if (!found) throw new Error(`${arg(context, "of")} has no role`);
  return found;
}

/** Roles whose own statements let them send to the queue. */
function senders(context: CheckContext): string[] {
  const queue = context.one("queue");
  const { stack } = context;
  return stack
    .find({ type: "aws_iam_role" })
    .filter((candidate) => isAllowed(stack, statementsOfRole(stack, candidate), "sqs:SendMessage", queue))
    .map((candidate) => text(stack.literal(candidate, "name")));
}

/** Names of the users whose secret is for a database. */
function databaseUsers({ stack }: CheckContext, database: string): string[] {
  return stack.find({ module: "secrets", type: "aws_secretsmanager_secret_version" }).flatMap((version) => {
    const [secret] = stack.referred(version, "secret_id").filter(({ type }) => type === "aws_secretsmanager_secret");
    if (!secret || !text(stack.resolve(secret, "name")).includes("/db-credentials/")) return [];
    const content = JSON.parse(text(stack.resolve(version, "secret_string"))) as JsonObject;
    return content.dbname === database ? [text(content.username)] : [];
  });
}

function alarmsOf({ stack }: CheckContext): Resource[] {
  return stack.find({ type: "aws_cloudwatch_metric_alarm" });
}

/** Metrics that an alarm watches, directly or through metric math. */
function metricsOf({ stack }: CheckContext, alarm: Resource): string[] {
  return ["metric_name", "metric_query.metric.metric_name"].flatMap((path) =>
    list(stack.resolve(alarm, path)).map(String),
  );
}

function namespacesOf({ stack }: CheckContext, alarm: Resource): string[] {
  return ["namespace", "metric_query.metric.namespace"].flatMap((path) => list(stack.resolve(alarm, path)).map(String));
}

function environmentOf(context: CheckContext): JsonObject {
  return inside(context.stack.arguments(context.one(arg(context, "of"))), "environment").variables as JsonObject;
}

/** Path of a REST API resource, from its parents. */
function apiPath(stack: TerraformStack, resource: Resource): string {
  const [parent] = stack.referred(resource, "parent_id").filter(({ type }) => type === "aws_api_gateway_resource");
  return `${parent ? apiPath(stack, parent) : ""}/${text(stack.resolve(resource, "path_part"))}`;
}

function apiMethods(context: CheckContext): string[] {
  const { stack } = context;
  return stack.find({ type: "aws_api_gateway_method" }).flatMap((method) => {
    const [resource] = stack.referred(method, "resource_id").filter(({ type }) => type === "aws_api_gateway_resource");
    return resource ? [`${text(stack.resolve(method, "http_method"))} ${apiPath(stack, resource)}`] : [];
  });
}

/** Runs a CloudFront function on a request for a URI and gives the URI that it makes of it. */
function rewritten(code: string, uri: string): string {
  const event = { version: "1.0", request: { method: "GET", uri, querystring: {}, headers: {}, cookies: {} } };
  const result = runInNewContext(`${code}\nhandler(${JSON.stringify(event)});`, {}, { timeout: 1000 }) as {
    uri: string;
  };
  return result.uri;
}

/** The listener rules and default action that lead to a target group. */
function pathsTo(context: CheckContext, target: Resource): string[] {
  const { stack } = context;
  const forwards = (value: Json | undefined) => stack.addressesIn(value ?? null).includes(target.address);
  const rules = stack
    .find({ type: "aws_lb_listener_rule" })
    .filter((rule) => forwards(stack.arguments(rule).action))
    .flatMap((rule) => {
      const patterns = blocks(stack.arguments(rule).condition).flatMap((condition) =>
        list(inside(condition, "path_pattern").values).map(String),
      );
      return patterns.length > 0 ? patterns : ["default"];
    });
  const byDefault = stack
    .find({ type: "aws_lb_listener" })
    .filter((listener) => forwards(stack.arguments(listener).default_action))
    .map(() => "default");
  return sorted([...rules, ...byDefault]);
}

function corsOrigins({ stack }: CheckContext, resource: Resource, path: string): string {
  const origins = list(stack.resolve(resource, path)).map(String);
  if (origins.includes("*")) return "*";
  return origins.length > 0 ? "cors_allowed_origins" : "none";
}

function routeRecords(context: CheckContext): Map<string, Resource> {
  const { stack } = context;
  return new Map(
    context
      .find("records")
      .map((record) => [
        text(stack.literal(record, "name")).replace(/\$?\{?var\.domain_name\}?|urr\.guru/, "{domain_name}"),
        record,
      ]),
  );
}

function record(context: CheckContext, name: string): Resource {
  const found = routeRecords(context).get(name);
  if (!found) throw new Error(`no A record for ${name}; there are ${[...routeRecords(context).keys()].join(", ")}`);
  return found;
}

/** Checks by the name that rows call them by; each gives the built value. */
export const CHECKS: Readonly<Record<string, Check>> = {
  // Root
  "default-provider-region": ({ stack }) => {
    const vpc = stack.find({ type: "aws_vpc" })[0];
    return vpc ? (stack.regionOf(vpc) ?? null) : null;
  },
  "aliased-provider-region": ({ stack }) => {
    const provider = (stack.root.provider as JsonObject).aws;
    return blocks(provider).find(({ alias }) => alias !== undefined)?.region ?? null;
  },
  "default-tag": (context) => {
    const providers = blocks((context.stack.root.provider as JsonObject).aws);
    const values = providers.map((provider) => {
      const [tags] = blocks(provider.default_tags);
      return text((tags?.tags as JsonObject | undefined)?.[arg(context, "key")]);
    });
    return sorted(values).join(" or ");
  },
  "backend-kind": ({ stack }) => Object.keys((stack.root.terraform as JsonObject).backend as JsonObject)[0] ?? null,
  "lock-table-exists": (context) => {
    const { stack, stacks } = context;
    const table = inside(stack.root, "terraform", "backend", "s3").dynamodb_table ?? null;
    return stacks.bootstrap.find({ type: "aws_dynamodb_table", where: { name: table } }).length === 1
      ? "DynamoDB"
      : null;
  },
  "prod-holds-staging-modules": ({ stacks }) =>
    stacks.staging.moduleNames.filter((module) => stacks.prod.moduleNames.includes(module)).length,
  "prod-only-module-count": ({ stacks }) =>
    stacks.prod.moduleNames.filter((module) => !stacks.staging.moduleNames.includes(module)).length,
  "module-input": (context) => {
    const { module = null, name = null } = context.args;
    const value = inside(context.stack.root, "module", text(module))[text(name)];
    return value === undefined ? null : text(value).replace(/^\$\{(.*)\}$/, "$1");
  },
  "provider-region": (context) => context.stack.regionOf(context.one(arg(context, "of"))) ?? null,
  exists: (context) => context.find(arg(context, "of")).length > 0,
  "resource-exists": (context) => context.one(arg(context, "of")).type,

  // Network
  "subnet-tiers": (context) => TIERS.filter((tier) => subnetsOf(context, tier).length === 2).length,
  "subnet-offset": (context) =>
    Math.min(
      ...subnetsOf(context, arg(context, "tier")).map((subnet) =>
        Number(text(context.stack.literal(subnet, "cidr_block")).split(".")[2]),
      ),
    ),
  "subnet-cidr-in-zone": (context) => {
    const found = subnetsOf(context, arg(context, "tier")).filter(
      (subnet) => zoneLetter(context, subnet) === arg(context, "zone"),
    );
    return found.map((subnet) => text(context.stack.literal(subnet, "cidr_block"))).join(", ");
  },
  "subnet-class": (context) => {
    const targets = subnetsOf(context, arg(context, "tier")).map((subnet) => defaultRouteOf(context, subnet)?.type);
    if (targets.every((type) => type === "aws_internet_gateway")) return "public";
    return targets.every((type) => type === "aws_nat_gateway") ? "private (NAT)" : "private (isolated)";
  },
  "zone-letters": (context) => sorted(TIERS.flatMap((t) => subnetsOf(context, t)).map((s) => zoneLetter(context, s))),
  "zone-count": (context) =>
    new Set(TIERS.flatMap((t) => subnetsOf(context, t)).map((s) => zoneLetter(context, s))).size,
  "vpc-size": (context) =>
    2 ** (32 - Number(text(context.stack.resolve(context.one("vpc"), "cidr_block")).split("/")[1])),
  "no-explicit-local-route": ({ stack }) => {
    // Terraform need not write the local route, and a route that names the VPC's own block would replace it.
    const vpcBlocks = stack.find({ type: "aws_vpc" }).map((vpc) => stack.resolve(vpc, "cidr_block"));
    const routes = stack.find({ type: "aws_route" }).map((route) => stack.literal(route, "destination_cidr_block"));
    return routes.some((block) => vpcBlocks.includes(block)) ? "replaced" : "local";
  },
  "default-route": (context) => {
    const { stack, args } = context;
    const subnets = subnetsOf(context, arg(context, "tier"));
    const targets = subnets.map((subnet) => defaultRouteOf(context, subnet));
    if (args.sameZone === true) {
      const zones = targets.map((target) =>
        target ? stack.referred(target, "subnet_id").map((subnet) => zoneLetter(context, subnet)) : [],
      );
      const expected = subnets.map((subnet) => [zoneLetter(context, subnet)]);
      if (JSON.stringify(zones) !== JSON.stringify(expected))
        return `gateways of other zones: ${JSON.stringify(zones)}`;
    }
    const types = sorted(targets.map((target) => target?.type ?? "none"));
    if (subnets.length === 0) return "no subnets";
    return types.join(" or ") === "none" ? null : types.join(" or ");
  },
  "shared-route-table": (context) => {
    const tables = ["db", "cache"].flatMap((tier) =>
      subnetsOf(context, tier).flatMap((subnet) => routeTablesOf(context.stack, subnet)),
    );
    return tables.length === 4 && new Set(tables).size === 1;
  },
  "nat-gateway-per-zone": (context) => {
    const zones = context
      .find("natGateways")
      .flatMap((gateway) => context.stack.referred(gateway, "subnet_id"))
      .map((subnet) => zoneLetter(context, subnet));
    return new Set(zones).size === zones.length && zones.length === 2;
  },
  "endpoints-admit-only-https-from-vpc": (context) => {
    const vpc = text(context.stack.resolve(context.one("vpc"), "cidr_block"));
    const admitted = sorted(context.find("interfaceEndpoints").flatMap((e) => admissions(context.stack, e)));
    return admitted.join() === `tcp 443 from ${vpc}` ? 443 : admitted;
  },
  "endpoints-share-security-group": (context) =>
    new Set(context.find("interfaceEndpoints").flatMap((e) => securityGroupsOf(context.stack, e))).size,
  "gateway-endpoints-in-every-route-table": (context) => {
    const tables = context.stack.find({ type: "aws_route_table" }).map(({ address }) => address);
    const missing = context.find("gatewayEndpoints").flatMap((endpoint) => {
      const attached = context.stack.references(endpoint, "route_table_ids");
      return tables.filter((table) => !attached.includes(table));
    });
    return missing.length === 0 && tables.length > 0 ? "every route table" : missing;
  },
  "endpoint-service": (context) =>
    text(context.stack.resolve(context.one(arg(context, "of")), "service_name")).replace(
      /^com\.amazonaws\.[\w-]+\./,
      "",
    ),

  // EKS
  "eks-public-cidrs-are-input": (context) => {
    const cidrs = text(context.stack.resolve(context.one("cluster"), "vpc_config.public_access_cidrs"));
    const name = /^var\.([\w-]+)$/.exec(cidrs)?.[1];
    if (name === undefined) return `not an input: ${cidrs}`;
    const variable = inside(context.stack.root, "variable", name);
    const refusesOpen = JSON.stringify(variable.validation ?? []).includes("0.0.0.0/0");
    const mayBeOpen = context.args.mayBeOpen === true;
    if (variable.default !== undefined) return "the list has a default";
    return refusesOpen === !mayBeOpen
      ? `input ${mayBeOpen ? "that may be open" : "that may not be open"}`
      : "wrong rule";
  },
  "node-disk-size": (context) => {
    const { stack } = context;
    const nodes = context.one("nodeGroup");
    const own = stack.resolve(nodes, "disk_size");
    const [template] = stack.referred(nodes, "launch_template.id");
    const size = template && stack.resolve(template, "block_device_mappings.ebs.volume_size");
    return own ?? size ?? null;
  },
  "node-counts": (context) => ({
    min: context.stack.resolve(context.one("nodeGroup"), "scaling_config.min_size") ?? null,
    max: context.stack.resolve(context.one("nodeGroup"), "scaling_config.max_size") ?? null,
  }),
  "karpenter-terminates-only-tagged": (context) => {
    const key = text(context.documented);
    const terminating = statementsOfRole(context.stack, context.one("karpenterRole")).filter(({ actions }) =>
      actions.includes("ec2:TerminateInstances"),
    );
    const tagged = terminating.every(({ conditions }) => JSON.stringify(conditions).includes(key));
    return terminating.length > 0 && tagged ? key : "any instance";
  },
  "karpenter-discovery": (context) => {
    const { stack } = context;
    const key = text(context.documented);
    const tagged = (resource: Resource) => {
      const tags = stack.arguments(resource).tags as JsonObject | undefined;
      return tags?.[key] !== undefined;
    };
    if (arg(context, "what") === "subnets") return subnetsOf(context, "app").every(tagged) ? context.documented : null;
    const nodeGroups = securityGroupsOf(stack, context.one("nodeGroup"));
    const ec2Tags = stack
      .find({ type: "aws_ec2_tag", where: { key } })
      .flatMap((tag) => stack.references(tag, "resource_id"));
    const groups = stack
      .find({ type: "aws_security_group" })
      .filter(tagged)
      .map(({ address }) => address);
    const found = [...ec2Tags.map((address) => `${address}#cluster`), ...ec2Tags, ...groups];
    return nodeGroups.every((group) => found.includes(group)) ? context.documented : null;
  },
  "eks-irsa-role-count": ({ stack }) =>
    stack
      .find({ module: "eks", type: "aws_iam_role" })
      .filter((candidate) =>
        serviceAccountsOf(stack, candidate).some((account) =>
          /^system:serviceaccount:kube-system:(aws-node|ebs-csi-controller-sa|karpenter)$/.test(account),
        ),
      ).length,

  // IAM
  "role-allows": (context) => {
    const statements = statementsOfRole(context.stack, role(context));
    const actions = list(context.documented).map(String);
    const missing = actions.filter(
      (action) => !statements.some((s) => isAllowed(context.stack, [s], action, s.resources[0] ?? "*")),
    );
    return missing.length === 0 ? context.documented : `without ${missing.join(", ")}`;
  },
  "role-allows-on": (context) => {
    const statements = statementsOfRole(context.stack, role(context));
    const target = context.one(arg(context, "on"));
    const actions = list(context.documented).map(String);
    const missing = actions.filter((action) => !isAllowed(context.stack, statements, action, target));
    return missing.length === 0 ? context.documented : `without ${missing.join(", ")} on ${target.address}`;
  },
  "role-of-function-allows": (context) => {
    const target = context.one(arg(context, "on"));
    const statements = statementsOfRole(context.stack, functionRole(context));
    return anyActionOn(context, statements, target) && target.type === "aws_dynamodb_table" ? "DynamoDB" : "nothing";
  },
  "role-trusts": (context) => {
    const trusted = trustedBy(context.stack, role(context)).map((principal) => principal.replace(/^Service:/, ""));
    const wanted = list(context.documented).map(String);
    if (Array.isArray(context.documented))
      return wanted.every((w) => trusted.includes(w)) && trusted.length === wanted.length
        ? context.documented
        : trusted;
    return wanted.every((service) => trusted.includes(service)) ? context.documented : trusted;
  },
  "managed-policies": (context) => {
    const built = managedPoliciesOf(context.stack, role(context));
    const wanted = list(context.documented).map(String);
    return built.length === wanted.length && wanted.every((policy) => built.includes(policy))
      ? context.documented
      : built;
  },
  "irsa-subject": (context) => serviceAccountsOf(context.stack, role(context)).join(", "),

  // Databases
  "database-has-user-secret": (context) => {
    const database = `${text(context.args.database)}_db`;
    return databaseUsers(context, database).length === 1 ? database : null;
  },
  "database-owner": (context) => databaseUsers(context, `${text(context.args.database)}_db`).join(", "),
  "database-secret-count": ({ stack }) =>
    stack.find({ type: "aws_secretsmanager_secret", where: { name: { matches: "/db-credentials/" } } }).length,
  parameter: (context) => parameter(context, arg(context, "name")),
  "proxy-authenticates-by-secrets": (context) => {
    const auth = blocks(context.stack.arguments(context.one("proxy")).auth);
    const bySecrets = auth.every(
      ({ auth_scheme, secret_arn }) => auth_scheme === "SECRETS" && secret_arn !== undefined,
    );
    return auth.length > 0 && bySecrets ? "SECRETS" : "other";
  },
  "primary-zone": ({ stack, one }) =>
    text(stack.resolve(one("database"), "availability_zone")).slice(-1) || "chosen by RDS",
  "replica-zone": ({ stack, one }) =>
    text(stack.resolve(one("replica"), "availability_zone")).slice(-1) || "chosen by RDS",
  "redis-auth-token-from-secret": ({ stack, one, find }) => {
    const sources = stack.references(one("redis"), "auth_token");
    return find("redisSecret").some((secret) =>
      stack
        .find({ type: "aws_secretsmanager_secret_version" })
        .filter((version) => stack.references(version, "secret_id").includes(secret.address))
        .some((version) => stack.references(version, "secret_string").some((source) => sources.includes(source))),
    );
  },
  "redis-log": (context) => {
    const found = blocks(context.stack.arguments(context.one("redis")).log_delivery_configuration).find(
      ({ log_type }) => log_type === context.args.type,
    );
    return { destination: found?.destination_type ?? null, format: found?.log_format ?? null };
  },
  "redis-log-destination": (context) =>
    blocks(context.stack.arguments(context.one("redis")).log_delivery_configuration).find(
      ({ log_type }) => log_type === context.args.type,
    )?.destination_type ?? null,

  // Kafka
  "kafka-property": (context) => kafkaProperties(context)[arg(context, "name")] ?? null,
  "kafka-tls-only": ({ stack, one }) =>
    stack.resolve(one("kafka"), "encryption_info.encryption_in_transit.client_broker") === "TLS",
  "kafka-plaintext": ({ stack, one }) =>
    stack.resolve(one("kafka"), "encryption_info.encryption_in_transit.client_broker") !== "TLS" ||
    stack.resolve(one("kafka"), "client_authentication.unauthenticated") === true,
  "min-insync-replicas-rule": (context) => {
    const brokers = Number(context.stack.resolve(context.one("kafka"), "number_of_broker_nodes"));
    const built = Number(kafkaProperties(context)["min.insync.replicas"]);
    if (built !== (brokers > 2 ? 2 : 1)) return built;
    return Number(context.args.brokers) > 2 ? 2 : 1;
  },
  "kafka-writes-survive-one-broker": (context) => {
    const properties = kafkaProperties(context);
    return Number(properties["default.replication.factor"]) - 1 >= Number(properties["min.insync.replicas"]);
  },

  // Queue
  "redrive-count": ({ stack, one }) =>
    (JSON.parse(text(stack.resolve(one("queue"), "redrive_policy"))) as JsonObject).maxReceiveCount ?? null,
  "redrive-target": (context) => {
    const { stack, one } = context;
    const [target] = stack
      .references(one("queue"), "redrive_policy")
      .filter((a) => stack.at(a).type === "aws_sqs_queue");
    return target === undefined ? null : (stack.resolve(stack.at(target), "name") ?? null);
  },
  "queue-policy-allows": (context) => {
    const { stack, args } = context;
    const queue = context.one("queue");
    const allowing = resourcePolicyOf(stack, queue).filter(
      (statement) => statement.effect === "Allow" && isAllowed(stack, [statement], text(context.documented), queue),
    );
    const roles = allowing
      .flatMap(({ principals }) => stack.addressesIn(principals))
      .map((address) => text(stack.literal(stack.at(address), "name")));
    const wanted =
      args.principal === "queue-service"
        ? "queue-service"
        : text(stack.literal(context.one(text(args.principal)), "name"));
    return roles.length > 0 && roles.every((name) => name.includes(wanted)) ? context.documented : roles;
  },
  "queue-senders": (context) => {
    const names = senders(context);
    return names.length > 0 && names.every((name) => name.includes("queue-service")) ? "queue-service" : names;
  },
  "queue-consumer": (context) => {
    const mapping = context.one("workerMapping");
    const { stack } = context;
    const queue = stack.references(mapping, "event_source_arn").includes(context.one("queue").address);
    const worker = stack.references(mapping, "function_name").includes(context.one("worker").address);
    return queue && worker ? "worker Lambda" : "something else";
  },
  "queue-denies-plain-http": ({ stack, one }) => {
    const denies = resourcePolicyOf(stack, one("queue")).some(
      ({ effect, conditions }) => effect === "Deny" && JSON.stringify(conditions).includes('"aws:SecureTransport"'),
    );
    return denies ? "HTTPS" : "any";
  },

  // CloudFront
  "origin-count": (context) => origins(context).length,
  "origin-target": (context) => {
    originOf(context);
    return { alb: "ALB", s3: "frontend bucket", "vwr-api": "API Gateway" }[arg(context, "origin")] ?? null;
  },
  "origin-protocol": (context) => {
    const origin = originOf(context);
    const { stack } = context;
    if (arg(context, "origin") === "s3") {
      const [control] = stack.addressesIn(origin.origin_access_control_id ?? null);
      const signing = control && stack.resolve(stack.at(control), "signing_protocol");
      return control === undefined ? "open" : ["OAC", signing ?? null];
    }
    const custom = inside(origin, "custom_origin_config");
    return [custom.origin_protocol_policy ?? null, ...list(custom.origin_ssl_protocols)];
  },
  "origin-header": (context) => {
    const [header] = blocks(originOf(context).custom_header);
    return header?.name ?? null;
  },
  "alb-refuses-without-header": (context) => {
    const { stack } = context;
    const listener = context.one("httpsListener");
    const [action] = blocks(stack.arguments(listener).default_action);
    const refuses = action?.type === "fixed-response" && text(inside(action, "fixed_response").status_code) === "403";
    const header = text(blocks(originHeaders(context))[0]?.name).toLowerCase();
    const rules = stack
      .find({ type: "aws_lb_listener_rule" })
      .filter((rule) => stack.references(rule, "listener_arn").includes(listener.address));
    const guarded = rules.every((rule) =>
      blocks(stack.arguments(rule).condition).some(
        (condition) => text(inside(condition, "http_header").http_header_name).toLowerCase() === header,
      ),
    );
    return refuses && rules.length > 0 && guarded;
  },
  "behaviour-count": (context) => behaviours(context).length,
  "no-behaviour": (context) => behaviours(context).some(({ path_pattern }) => path_pattern === context.args.pattern),
  "behaviour-origin": (context) => {
    const { target_origin_id } = behaviour(context);
    const origin = origins(context).find(({ origin_id }) => origin_id === target_origin_id);
    return origin ? originKind(context, origin) : null;
  },
  "behaviour-cache": (context) => {
    const found = behaviour(context);
    const policy = cachePolicyOf(context, found);
    if (!policy) return MANAGED_CACHE_POLICIES[text(found.cache_policy_id)] ?? null;
    const ttl = (name: string) => Number(context.stack.resolve(policy, `${name}_ttl`));
    if (ttl("min") === 0 && ttl("default") === 0 && ttl("max") === 60) return "SSR policy (TTL 0-60 s)";
    return `VWR static (TTL ${ttl("default")} s)`;
  },
  "behaviour-ttl": (context) => {
    const found = behaviour(context);
    const policy = cachePolicyOf(context, found);
    if (policy) return context.stack.resolve(policy, "default_ttl") ?? null;
    return MANAGED_CACHE_POLICIES[text(found.cache_policy_id)] === "Managed-CachingDisabled" ? 0 : "managed";
  },
  "behaviour-forwards": (context) =>
    FORWARDS_EVERYTHING.includes(text(behaviour(context).origin_request_policy_id)) ? "all" : "none",
  "behaviour-function": (context) => {
    const found = behaviour(context);
    const { stack } = context;
    const [edge] = blocks(found.lambda_function_association);
    if (edge) return `Lambda@Edge ${text(edge.event_type)}`;
    const [association] = blocks(found.function_association);
    if (!association) return null;
    const [address] = stack.addressesIn(association.function_arn ?? null);
    const name = address === undefined ? "" : text(stack.resolve(stack.at(address), "name"));
    return `CloudFront function ${/vwr-(.*)$/.exec(name)?.[1] ?? name}`;
  },
  "edge-event": (context) => {
    const edge = context.one("edgeFunction").address;
    const associations = behaviours(context).flatMap((found) => blocks(found.lambda_function_association));
    const events = associations
      .filter(({ lambda_arn }) => context.stack.addressesIn(lambda_arn ?? null).includes(edge))
      .map(({ event_type }) => text(event_type));
    return events.join(", ");
  },
  "edge-config-names-secrets": (context) => {
    const { stack } = context;
    const zip = unzip(
      readFileSync(join(stack.folder ?? "", text(stack.resolve(context.one("edgeFunction"), "filename")))),
    );
    const config = JSON.parse(text(zip.get("config.json")?.toString("utf8"))) as JsonObject;
    const statements = statementsOfRole(stack, functionRole({ ...context, args: { of: "edgeFunction" } }));
    const names = ["tokenSecretName", "entryTokenSecretName"].map((field) => config[field] ?? null);
    const readable = names.every((name) => {
      const [secret] = stack.find({ type: "aws_secretsmanager_secret", where: { name } });
      return secret !== undefined && isAllowed(stack, statements, "secretsmanager:GetSecretValue", secret);
    });
    return readable && Object.keys(config).every((field) => !/value|token$|key$/i.test(field))
      ? "names only, read at run time"
      : Object.keys(config);
  },
  "function-rewrites": (context) =>
    rewritten(text(context.stack.resolve(context.one(arg(context, "of")), "code")), arg(context, "uri")),
  "function-strips": (context) => {
    const uri = arg(context, "uri");
    const result = rewritten(text(context.stack.resolve(context.one(arg(context, "of")), "code")), uri);
    return uri.endsWith(result) ? uri.slice(0, uri.length - result.length) : result;
  },
  "content-type-options": ({ stack, one }) =>
    stack.resolve(one("headersPolicy"), "security_headers_config.content_type_options") ? "nosniff" : null,
  "xss-protection": ({ stack, one }) => {
    const value = stack.resolve(one("headersPolicy"), "security_headers_config.xss_protection") as
      | JsonObject
      | undefined;
    const [settings] = blocks(value);
    return `${settings?.protection === true ? 1 : 0}; mode=${settings?.mode_block === true ? "block" : "none"}`;
  },
  "cors-origins-from-input": (context) =>
    corsOrigins(context, context.one("headersPolicy"), "cors_config.access_control_allow_origins.items"),
  "viewer-protocol": (context) => {
    const policies = sorted(behaviours(context).map(({ viewer_protocol_policy }) => text(viewer_protocol_policy)));
    return policies.every((policy) => ["redirect-to-https", "https-only"].includes(policy)) ? "HTTPS" : policies;
  },
  "waiting-page-object": ({ stack, find }) => {
    const buckets = find("frontendBucket").map(({ address }) => address);
    const pages = stack
      .find({ type: "aws_s3_object", where: { key: "vwr/index.html" } })
      .filter((page) => stack.references(page, "bucket").some((bucket) => buckets.includes(bucket)));
    return pages.length === 1 ? "vwr/index.html" : null;
  },

  // Route 53
  "hosted-zone-is-optional": (context) => {
    const input = context.stack.moduleInputs("route53");
    const zone = context.find("hostedZone")[0];
    const conditional = zone?.config.count !== undefined;
    return conditional || Object.keys(input).includes("create_hosted_zone") ? "create_hosted_zone" : null;
  },
  "record-type": (context) => context.stack.resolve(record(context, arg(context, "name")), "type") ?? null,
  "record-alias": (context) => {
    const targets = context.stack.references(record(context, arg(context, "name")), "alias.name");
    return targets.includes(context.one("distribution").address) ? "CloudFront distribution" : targets;
  },
  "record-alias-attribute": (context) => {
    const attribute = arg(context, "attribute");
    const value = text(
      context.stack.resolve(
        record(context, "{domain_name}"),
        attribute === "domain_name" ? "alias.name" : "alias.zone_id",
      ),
    );
    return value.endsWith(`.${attribute}`) ? `distribution_${attribute}` : value;
  },

  // WAF
  "waf-rule-count": (context) => wafRules(context).length,
  "waf-rule": (context) => {
    const rule = wafRule(context);
    if (context.args.kind === "rate") {
      return inside(rule, "statement", "rate_based_statement").limit === undefined ? null : "rate limit per IP";
    }
    return inside(rule, "statement", "managed_rule_group_statement").name ?? null;
  },
  "waf-rule-purpose": (context) =>
    MANAGED_RULE_GROUPS[text(inside(wafRule(context), "statement", "managed_rule_group_statement").name)] ?? null,
  "waf-rate-key": (context) => rateStatement(context).aggregate_key_type ?? "IP",
  "waf-rate-limit": (context) => rateStatement(context).limit ?? null,
  "waf-rate-window": (context) => rateStatement(context).evaluation_window_sec ?? 300,
  "waf-action": (context) => {
    const rule = wafRule(context);
    const block = blocks(rule.action)[0] ?? blocks(rule.override_action)[0] ?? {};
    return Object.keys(block)[0] ?? null;
  },
  "waf-default-action": ({ stack, one }) =>
    Object.keys(inside(stack.arguments(one("webAcl")), "default_action"))[0] ?? null,
  "waf-visibility": (context) =>
    wafRules(context).every((rule) => inside(rule, "visibility_config")[arg(context, "what")] === true),

  // Lambda and API
  "environment-number": (context) => Number(environmentOf(context)[arg(context, "name")]),
  "environment-has": (context) =>
    Object.keys(environmentOf(context)).find((name) => name === context.documented) ?? null,
  "invoked-by": (context) => {
    const { stack } = context;
    const target = context.one(arg(context, "of"));
    const principals = stack
      .find({ type: "aws_lambda_permission" })
      .filter((permission) => stack.references(permission, "function_name").includes(target.address))
      .map((permission) => text(stack.resolve(permission, "principal")));
    return sorted(principals.map((principal) => INVOKERS[principal] ?? principal)).join(", ");
  },
  "api-route": (context) => {
    const wanted = `${text(context.documented)} ${arg(context, "path")}`;
    return apiMethods(context).includes(wanted) ? context.documented : apiMethods(context);
  },
  "table-key": (context) => {
    const { stack } = context;
    const table = context.one(arg(context, "of"));
    const name = stack.resolve(table, arg(context, "key"));
    if (name === undefined) return null;
    const attribute = blocks(stack.arguments(table).attribute).find((candidate) => candidate.name === name);
    return { name, type: attribute?.type ?? null };
  },
  "index-keys": (context) => {
    const [index] = blocks(context.stack.arguments(context.one(arg(context, "of"))).global_secondary_index);
    return [index?.hash_key ?? null, index?.range_key ?? null];
  },
  "table-count": ({ stack }) => stack.find({ module: "dynamodb-vwr", type: "aws_dynamodb_table" }).length,
  "recovery-period": (context) => {
    const recovery = inside(context.stack.arguments(context.one(arg(context, "of"))), "point_in_time_recovery");
    // 35 days is what DynamoDB keeps unless told otherwise.
    return recovery.enabled === true ? (recovery.recovery_period_in_days ?? 35) : 0;
  },
  "vwr-tier-1": ({ find }) => {
    const parts = ["counters", "positions", "restApi", "vwrApi"];
    return parts.every((name) => find(name).length === 1) ? "DynamoDB + API Gateway + Lambda" : "none";
  },

  // Storage
  "bucket-cors-from-input": (context) => corsOrigins(context, context.one("frontendCors"), "cors_rule.allowed_origins"),
  "bucket-policy-cloudfront": (context) => {
    const statements = resourcePolicyOf(context.stack, context.one("frontendBucket")).filter(
      ({ effect, principals }) => effect === "Allow" && principals.includes("Service:cloudfront.amazonaws.com"),
    );
    if (arg(context, "what") === "action") return sorted(statements.flatMap(({ actions }) => actions)).join(", ");
    const distribution = context.one("distribution").address;
    const bound = statements.every(({ conditions }) =>
      Object.values(conditions).some((keys) =>
        context.stack.addressesIn((keys as JsonObject)["AWS:SourceArn"] ?? null).includes(distribution),
      ),
    );
    return statements.length > 0 && bound ? "AWS:SourceArn" : "unbound";
  },
  "logs-transition": (context) => {
    const rules = blocks(context.stack.arguments(context.one("logsLifecycle")).rule);
    const transition = rules
      .flatMap((rule) => blocks(rule.transition))
      .find(({ storage_class }) => storage_class === context.args.storageClass);
    return transition?.days ?? null;
  },
  "logs-expiry-after-last-transition": (context) => {
    const rules = blocks(context.stack.arguments(context.one("logsLifecycle")).rule);
    const last = Math.max(...rules.flatMap((rule) => blocks(rule.transition)).map(({ days }) => Number(days)));
    const expiry = rules.map((rule) => inside(rule, "expiration").days).find((days) => days !== undefined);
    return expiry !== undefined && Number(expiry) > last;
  },
  "alb-may-write-logs": (context) => {
    const bucket = context.one("logsBucket");
    const allowing = resourcePolicyOf(context.stack, bucket).filter(
      ({ effect, principals }) =>
        effect === "Allow" && principals.some((p) => /logdelivery|elasticloadbalancing|600734575887/.test(p)),
    );
    return sorted(allowing.flatMap(({ actions }) => actions)).includes("s3:PutObject") ? "s3:PutObject" : null;
  },
  "ecr-lifecycle": (context) => {
    const rules = lifecycleRules(context).map((rule) => inside(rule, "selection"));
    const untagged = rules.find(({ tagStatus }) => tagStatus === "untagged");
    const counted = rules.find(({ countType }) => countType === "imageCountMoreThan");
    const what = arg(context, "what");
    if (what === "untagged") return untagged?.countUnit === "days" ? (untagged.countNumber ?? null) : null;
    if (what === "kept") return counted?.countNumber ?? null;
    const everyTag = counted?.tagStatus === "any" || list(counted?.tagPatternList).includes("*");
    return everyTag ? "every tag" : (counted?.tagPrefixList ?? null);
  },

  // Secrets
  "secret-length": (context) => context.stack.resolve(passwordOf(context), "length") ?? null,
  "secret-special": (context) => context.stack.resolve(passwordOf(context), "special") ?? true,
  "secret-keys": (context) => secretKeys(context),
  "secret-keys-include": (context) => {
    const keys = secretKeys(context);
    return list(context.documented).every((key) => keys.includes(String(key))) ? context.documented : keys;
  },
  "secret-exists": (context) =>
    context.stack
      .find({ type: "aws_secretsmanager_secret" })
      .map((secret) => text(context.stack.resolve(secret, "name")))
      .find((name) => name === context.documented) ?? null,
  "secrets-are-generated": (context) => {
    const { stack } = context;
    const generated = stack
      .find({ type: "aws_secretsmanager_secret_version" })
      .every((version) => stack.referred(version, "secret_string").some(({ type }) => type === "random_password"));
    return generated ? "random_password" : "other";
  },

  // Load balancer
  "listener-target-groups": (context) =>
    context.find("targetGroups").filter((group) => pathsTo(context, group).length > 0).length,
  "target-path": (context) => pathsTo(context, context.one(arg(context, "of"))).join(", "),
  "health-check-path": (context) => {
    const paths = context
      .find("targetGroups")
      .map((group) => context.stack.resolve(group, "health_check.path") ?? null);
    return new Set(paths).size === 1 ? (paths[0] ?? null) : paths;
  },
  "deregistration-delay": (context) => {
    const delays = context
      .find("targetGroups")
      .map((group) => text(context.stack.resolve(group, "deregistration_delay")));
    return sorted(delays).join(", ");
  },
  "alb-admits-only-cloudfront": (context) => {
    const balancer = context.one("loadBalancer");
    const groups = securityGroupsOf(context.stack, balancer);
    const rules = securityGroupRules(context.stack).filter(
      (rule) => rule.direction === "ingress" && groups.includes(rule.group),
    );
    const only = rules.every(({ peerPrefixList }) => peerPrefixList !== undefined);
    return only && isReachable(context.stack, "cloudfront", balancer, 443)
      ? "CloudFront prefix list"
      : admissions(context.stack, balancer);
  },

  // Monitoring
  alarm: (context) => {
    const alarm = context.one(arg(context, "of"));
    const operator = text(context.stack.resolve(alarm, "comparison_operator"));
    return { [ALARM_SIDES[operator] ?? operator]: context.stack.resolve(alarm, "threshold") ?? null };
  },
  "alarm-share-of-timeout": (context) => {
    const alarm = context.one(arg(context, "of"));
    const timeout = Number(context.stack.resolve(context.one("worker"), "timeout"));
    const operator = text(context.stack.resolve(alarm, "comparison_operator"));
    return { [ALARM_SIDES[operator] ?? operator]: Number(context.stack.resolve(alarm, "threshold")) / timeout / 10 };
  },
  "alarm-severity": (context) => {
    const alarm = context.one(arg(context, "of"));
    const tags = context.stack.arguments(alarm).tags as JsonObject | undefined;
    const described = /\b(CRITICAL|HIGH|WARNING)\b/.exec(text(context.stack.resolve(alarm, "alarm_description")))?.[0];
    return tags?.Severity ?? described ?? null;
  },
  "alarm-window": (context) => {
    const alarm = context.one(arg(context, "of"));
    const number = (path: string) => Number(context.stack.resolve(alarm, path) ?? 1);
    return number("period") * number("evaluation_periods");
  },
  "alarms-notify-topic": (context) => {
    const silent = alarmsOf(context).filter(
      (alarm) => !context.stack.referred(alarm, "alarm_actions").some(({ type }) => type === "aws_sns_topic"),
    );
    if (alarmsOf(context).length === 0) return "no alarms";
    return silent.length === 0 ? "SNS topic" : silent.map(({ address }) => address);
  },
  "alarms-watch": (context) => {
    const watching = alarmsOf(context).filter((alarm) =>
      namespacesOf(context, alarm).includes(arg(context, "namespace")),
    );
    const metrics = watching.flatMap((alarm) => metricsOf(context, alarm));
    const missing = list(context.documented).filter((metric) => !metrics.includes(String(metric)));
    return missing.length === 0 ? context.documented : metrics;
  },
  "topic-delivery": (context) => {
    const { stack } = context;
    const protocols = stack.find({ type: "aws_sns_topic_subscription" }).map((s) => stack.resolve(s, "protocol"));
    const slack =
      stack.find({ type: "aws_chatbot_slack_channel_configuration" }).length > 0 ||
      protocols.some((protocol) => protocol === "lambda" || protocol === "https");
    return [...(protocols.includes("email") ? ["email"] : []), ...(slack ? ["Slack"] : [])];
  },
  "grafana-plugin-admin": ({ stack, one }) => {
    const configuration = JSON.parse(text(stack.resolve(one("grafana"), "configuration"))) as JsonObject;
    return inside(configuration, "plugins").pluginAdminEnabled ?? null;
  },
  reaches: (context) => {
    const { stack, args } = context;
    return isReachable(stack, context.one(text(args.from)), context.one(text(args.to)), Number(args.port));
  },
};

function originHeaders(context: CheckContext): readonly JsonObject[] {
  return blocks(originOf({ ...context, args: { origin: "alb" } }).custom_header);
}
