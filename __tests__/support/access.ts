import { expect } from "vitest";
import type { Json, JsonObject, Resource, TerraformStack } from "./terraform";

/** A statement of a policy, its lists made lists. */
export interface PolicyStatement {
  readonly effect: "Allow" | "Deny";
  readonly actions: readonly string[];
  readonly notActions: readonly string[];
  readonly resources: readonly string[];
  /** `Service:lambda.amazonaws.com`, `AWS:*`, `Federated:…`, or `*`. */
  readonly principals: readonly string[];
  readonly conditions: JsonObject;
}

/** Fails unless the role's own policies allow the action on the resource (or on the ARN as written). */
export function expectGrant(stack: TerraformStack, role: Resource, action: string, target: Resource | string): void {
  const statements = statementsOfRole(stack, role);
  const allowed = isAllowed(stack, statements, action, target);
  expect(allowed, `${role.address} may ${action} on ${nameOf(target)}; it has: ${describeAll(statements)}`).toBe(true);
}

/** Fails if the role's own policies allow the action on the resource. */
export function expectNoGrant(stack: TerraformStack, role: Resource, action: string, target: Resource | string): void {
  const statements = statementsOfRole(stack, role);
  const allowed = isAllowed(stack, statements, action, target);
  expect(allowed, `${role.address} may not ${action} on ${nameOf(target)}`).toBe(false);
}

/** Whether statements allow an action on a resource: some Allow speaks of it and no unconditional Deny does. */
export function isAllowed(
  stack: TerraformStack,
  statements: readonly PolicyStatement[],
  action: string,
  target: Resource | string,
): boolean {
  const speaking = statements.filter(
    (statement) => coversAction(statement, action) && coversTarget(stack, statement, target),
  );
  const denied = speaking.some(({ effect, conditions }) => effect === "Deny" && Object.keys(conditions).length === 0);
  return !denied && speaking.some(({ effect }) => effect === "Allow");
}

/** Every statement that the stack itself writes for a role: inline, and in its own managed policies. */
export function statementsOfRole(stack: TerraformStack, role: Resource): PolicyStatement[] {
  const inline = stack
    .find({ type: "aws_iam_role_policy" })
    .filter((policy) => isRole(stack, policy, "role", role))
    .flatMap((policy) => statementsIn(stack, policy, "policy"));
  const blocks =
    stack.arguments(role).inline_policy === undefined ? [] : statementsIn(stack, role, "inline_policy.policy");
  const attached = stack
    .find({ type: "aws_iam_role_policy_attachment" })
    .filter((attachment) => isRole(stack, attachment, "role", role))
    .flatMap((attachment) => stack.referred(attachment, "policy_arn"))
    .flatMap((policy) => statementsIn(stack, policy, "policy"));
  return [...inline, ...blocks, ...attached];
}

/** Names of the AWS managed policies of a role, sorted, without their paths: `AmazonEKSClusterPolicy`. */
export function managedPoliciesOf(stack: TerraformStack, role: Resource): string[] {
  const attached = stack
    .find({ type: "aws_iam_role_policy_attachment" })
    .filter((attachment) => isRole(stack, attachment, "role", role))
    .map((attachment) => stack.resolve(attachment, "policy_arn"));
  const listed = asList(stack.resolve(role, "managed_policy_arns"));
  return [...attached, ...listed]
    .map(String)
    .filter((arn) => /^arn:[\w-]+:iam::aws:policy\//.test(arn))
    .map((arn) => arn.split("/").at(-1) ?? arn)
    .sort();
}

/** Who may assume a role, sorted: `Service:eks.amazonaws.com`. */
export function trustedBy(stack: TerraformStack, role: Resource): string[] {
  return trustStatements(stack, role)
    .filter(({ effect }) => effect === "Allow")
    .flatMap(({ principals }) => principals)
    .sort();
}

/** The trust policy of a role. */
export function trustStatements(stack: TerraformStack, role: Resource): PolicyStatement[] {
  return statementsIn(stack, role, "assume_role_policy");
}

/** Service accounts that may assume a role by web identity: `system:serviceaccount:kube-system:aws-node`. */
export function serviceAccountsOf(stack: TerraformStack, role: Resource): string[] {
  return trustStatements(stack, role).flatMap(({ conditions }) =>
    Object.values(conditions).flatMap((keys) =>
      Object.entries(keys as JsonObject)
        .filter(([key]) => key.endsWith(":sub"))
        .flatMap(([, value]) => asList(value).map(String)),
    ),
  );
}

/** Types of policy resources that belong to another resource, and the attribute that names it. */
const RESOURCE_POLICIES: readonly (readonly [type: string, owner: string])[] = [
  ["aws_sqs_queue_policy", "queue_url"],
  ["aws_s3_bucket_policy", "bucket"],
  ["aws_kms_key_policy", "key_id"],
  ["aws_secretsmanager_secret_policy", "secret_arn"],
  ["aws_sns_topic_policy", "arn"],
  ["aws_ecr_repository_policy", "repository"],
  ["aws_api_gateway_rest_api_policy", "rest_api_id"],
];

/** The resource policy of a queue, bucket, key, secret, topic, repository or API. */
export function resourcePolicyOf(stack: TerraformStack, resource: Resource): PolicyStatement[] {
  const own = stack.resolve(resource, "policy") === undefined ? [] : statementsIn(stack, resource, "policy");
  const separate = RESOURCE_POLICIES.flatMap(([type, owner]) =>
    stack
      .find({ type })
      .filter((policy) => stack.references(policy, owner).includes(resource.address))
      .flatMap((policy) => statementsIn(stack, policy, "policy")),
  );
  return [...own, ...separate];
}

/** Statements of the policy at a path of a resource, be it JSON text or a policy document data source. */
export function statementsIn(stack: TerraformStack, resource: Resource, path: string): PolicyStatement[] {
  const values = asList(stack.resolve(resource, path)).map(String);
  return values.flatMap((text) => {
    const [address] = stack.addressesIn(`\${${text}}`);
    if (address?.includes("data.aws_iam_policy_document")) return documentStatements(stack, stack.at(address));
    return statementsOfPolicy(text, `${resource.address}.${path}`);
  });
}

/** Statements of a policy written as JSON text. */
export function statementsOfPolicy(text: string, where: string): PolicyStatement[] {
  let policy: JsonObject;
  try {
    policy = JSON.parse(text) as JsonObject;
  } catch {
    throw new Error(`${where} is not JSON: ${text.slice(0, 200)}`);
  }
  return (asList(policy.Statement) as readonly JsonObject[]).map((statement) => ({
    effect: statement.Effect === "Deny" ? "Deny" : "Allow",
    actions: asList(statement.Action).map(String),
    notActions: asList(statement.NotAction).map(String),
    resources: asList(statement.Resource).map(String),
    principals: principalsOf(statement.Principal),
    conditions: (statement.Condition as JsonObject | undefined) ?? {},
  }));
}

function documentStatements(stack: TerraformStack, document: Resource): PolicyStatement[] {
  return (asList(stack.arguments(document).statement) as readonly JsonObject[]).map((statement) => ({
    effect: statement.effect === "Deny" ? "Deny" : "Allow",
    actions: asList(statement.actions).map(String),
    notActions: asList(statement.not_actions).map(String),
    resources: asList(statement.resources).map(String),
    principals: (asList(statement.principals) as readonly JsonObject[]).flatMap(({ type, identifiers }) =>
      asList(identifiers).map((identifier) => `${String(type)}:${String(identifier)}`),
    ),
    conditions: conditionsOf(asList(statement.condition) as readonly JsonObject[]),
  }));
}

function conditionsOf(blocks: readonly JsonObject[]): JsonObject {
  const conditions: Record<string, Record<string, Json>> = {};
  for (const { test, variable, values } of blocks) {
    conditions[String(test)] = { ...conditions[String(test)], [String(variable)]: values ?? [] };
  }
  return conditions;
}

function principalsOf(principal: Json | undefined): string[] {
  if (principal === undefined || principal === null) return [];
  if (typeof principal === "string") return [principal];
  return Object.entries(principal).flatMap(([kind, ids]) => asList(ids as Json).map((id) => `${kind}:${String(id)}`));
}

function isRole(stack: TerraformStack, resource: Resource, path: string, role: Resource): boolean {
  if (stack.references(resource, path).includes(role.address)) return true;
  const name = stack.resolve(role, "name");
  return name !== undefined && stack.resolve(resource, path) === name;
}

function coversAction({ actions, notActions }: PolicyStatement, action: string): boolean {
  if (notActions.length > 0) return !notActions.some((pattern) => wildcard(pattern, "i").test(action));
  return actions.some((pattern) => wildcard(pattern, "i").test(action));
}

function coversTarget(stack: TerraformStack, { resources }: PolicyStatement, target: Resource | string): boolean {
  if (typeof target === "string") return resources.some((pattern) => pattern === "*" || wildcard(pattern).test(target));
  const arns = arnsOf(stack, target);
  return resources.some((pattern) => {
    if (pattern === "*" || stack.addressesIn(pattern).includes(target.address)) return true;
    const known = String(stack.fill(pattern));
    return arns.some((arn) => wildcard(known).test(arn));
  });
}

/** How ARNs of a type end, by the attribute that names the resource. */
const ARN_SHAPES: Readonly<
  Record<string, readonly [service: string, name: string, resource: (name: string) => string]>
> = {
  aws_cloudwatch_log_group: ["logs", "name", (name) => `log-group:${name}`],
  aws_dynamodb_table: ["dynamodb", "name", (name) => `table/${name}`],
  aws_ecr_repository: ["ecr", "name", (name) => `repository/${name}`],
  aws_eks_cluster: ["eks", "name", (name) => `cluster/${name}`],
  aws_iam_role: ["iam", "name", (name) => `role/${name}`],
  aws_lambda_function: ["lambda", "function_name", (name) => `function:${name}`],
  aws_secretsmanager_secret: ["secretsmanager", "name", (name) => `secret:${name}-a1B2c3`],
  aws_sns_topic: ["sns", "name", (name) => name],
  aws_sqs_queue: ["sqs", "name", (name) => name],
};

/** ARNs that a policy may spell out by name instead of referring to the resource. Account and Region stay open. */
function arnsOf(stack: TerraformStack, resource: Resource): string[] {
  if (resource.type === "aws_s3_bucket") return [`arn:aws:s3:::${String(stack.literal(resource, "bucket"))}`];
  const shape = ARN_SHAPES[resource.type];
  if (!shape) return [];
  const [service, nameAttribute, tail] = shape;
  const name = stack.literal(resource, nameAttribute);
  if (typeof name !== "string") return [];
  const region = service === "iam" ? "" : String(stack.regionOf(resource) ?? "ap-northeast-2");
  return [`arn:aws:${service}:${region}:111122223333:${tail(name)}`];
}

/** `*`, `?` and whatever is unknown match anything. */
function wildcard(pattern: string, flags = ""): RegExp {
  const source = pattern
    .split(/(\$\{[^}]*\}|\*|\?)/)
    .map((part) => {
      if (part === "*") return ".*";
      if (part === "?") return ".";
      return part.startsWith("${") ? "[^:/]+" : part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
    })
    .join("");
  return new RegExp(`^${source}$`, flags);
}

function describeAll(statements: readonly PolicyStatement[]): string {
  const lines = statements.map(
    ({ effect, actions, resources }) => `${effect} ${actions.join(", ")} on ${resources.join(", ")}`,
  );
  return lines.join("; ") || "nothing";
}

function nameOf(target: Resource | string): string {
  return typeof target === "string" ? target : target.address;
}

function asList(value: Json | undefined): readonly Json[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value as Json];
}
