import { describe, expect, it } from "vitest";
import { type BootstrapConfiguration, bootstrap } from "../../environments/bootstrap";
import type { Environment } from "../../environments/environment";
import { prod } from "../../environments/prod";
import { staging } from "../../environments/staging";
import { ModularApp, SynthError } from "../../lib/terraform-modules";
import { BootstrapStack } from "../../stacks/bootstrap";
import {
  managedPoliciesOf,
  type PolicyStatement,
  resourcePolicyOf,
  statementsOfRole,
  trustStatements,
} from "../support/access";
import { type JsonObject, type Resource, TerraformStack } from "../support/terraform";

interface Inputs {
  readonly environments?: readonly Environment[];
  readonly configuration?: BootstrapConfiguration;
}

function rootOf({ environments = [staging, prod], configuration = bootstrap }: Inputs = {}): JsonObject {
  const app = new ModularApp();
  new BootstrapStack(app, "bootstrap", { environments, configuration });
  return app.render()[0]?.emitted.root as JsonObject;
}

function problemsOf(inputs: Inputs): readonly string[] {
  try {
    rootOf(inputs);
    return [];
  } catch (error) {
    if (error instanceof SynthError) return error.problems;
    throw error;
  }
}

const root = rootOf();
const stack = new TerraformStack("bootstrap", root);
const REPOSITORY = "${var.github_repository}";
const ISSUER = "token.actions.githubusercontent.com";

function bucketNamed(name: string): Resource {
  return stack.one({ type: "aws_s3_bucket", where: { bucket: name } });
}

function ofBucket(type: string, bucket: Resource): Resource {
  return stack.one({
    type,
    where: {
      bucket: { refersTo: { type: "aws_s3_bucket", where: { bucket: String(stack.resolve(bucket, "bucket")) } } },
    },
  });
}

function roleNamed(name: string): Resource {
  return stack.one({ type: "aws_iam_role", where: { name } });
}

function backendOf(json: JsonObject): JsonObject {
  return (json.terraform as JsonObject).backend as JsonObject;
}

/** What a role's statements allow, with each resource's address or text: `s3:PutObject on …`. */
function allowedTo(name: string): string[] {
  return statementsOfRole(stack, roleNamed(name))
    .filter(({ effect }) => effect === "Allow")
    .flatMap(({ actions, resources }) =>
      actions.flatMap((action) => resources.map((resource) => `${action} on ${String(stack.fill(resource))}`)),
    );
}

function denials(name: string): PolicyStatement[] {
  return statementsOfRole(stack, roleNamed(name)).filter(({ effect }) => effect === "Deny");
}

describe("the state buckets", () => {
  /** Infra analysis §1-3. */
  it("are the documented two, and one for plans", () => {
    const names = stack.find({ type: "aws_s3_bucket" }).map((bucket) => stack.resolve(bucket, "bucket"));
    expect(names.sort()).toEqual(["urr-plan-bundles", "urr-terraform-state-prod", "urr-terraform-state-staging"]);
  });

  it.each([
    "urr-terraform-state-prod",
    "urr-terraform-state-staging",
    "urr-plan-bundles",
  ])("keep %s versioned, private and owned by the account", (name) => {
    const bucket = bucketNamed(name);
    expect(stack.resolve(ofBucket("aws_s3_bucket_versioning", bucket), "versioning_configuration.status")).toBe(
      "Enabled",
    );
    expect(stack.arguments(ofBucket("aws_s3_bucket_public_access_block", bucket))).toMatchObject({
      block_public_acls: true,
      block_public_policy: true,
      ignore_public_acls: true,
      restrict_public_buckets: true,
    });
    expect(stack.resolve(ofBucket("aws_s3_bucket_ownership_controls", bucket), "rule.object_ownership")).toBe(
      "BucketOwnerEnforced",
    );
    expect(resourcePolicyOf(stack, bucket)).toContainEqual(
      expect.objectContaining({
        effect: "Deny",
        principals: ["*"],
        actions: ["s3:*"],
        conditions: { Bool: { "aws:SecureTransport": "false" } },
      }),
    );
  });

  it.each(["prod", "staging"])("encrypt %s's states with AES256 and keep the last fifty versions", (name) => {
    const bucket = bucketNamed(`urr-terraform-state-${name}`);
    const encryption = ofBucket("aws_s3_bucket_server_side_encryption_configuration", bucket);
    expect(stack.resolve(encryption, "rule.apply_server_side_encryption_by_default.sse_algorithm")).toBe("AES256");
    const rules = stack.resolve(
      ofBucket("aws_s3_bucket_lifecycle_configuration", bucket),
      "rule",
    ) as readonly JsonObject[];
    expect(rules[0]).toMatchObject({
      status: "Enabled",
      noncurrent_version_expiration: [{ noncurrent_days: 365, newer_noncurrent_versions: 50 }],
    });
    // No rule may take away what is current.
    for (const rule of rules) expect(JSON.stringify(rule)).not.toMatch(/"expiration":\[\{"(days|date)"/);
  });

  it.each([
    ["prod", ["prod/terraform.tfstate", "prod/platform.tfstate", "bootstrap/terraform.tfstate"]],
    ["staging", ["staging/terraform.tfstate", "staging/platform.tfstate"]],
  ])("refuse everybody the deletion of %s's bucket, states and history, but not of lock files", (name, keys) => {
    const bucket = bucketNamed(`urr-terraform-state-${name}`);
    const refused = (action: string) =>
      resourcePolicyOf(stack, bucket)
        .filter(
          ({ actions, effect, principals }) => effect === "Deny" && principals[0] === "*" && actions.includes(action),
        )
        .flatMap(({ resources }) => resources.map((resource) => resource.replace(/^\$\{[^}]*\}/, "")));
    expect(refused("s3:DeleteBucket")).toEqual([""]);
    expect(refused("s3:DeleteObjectVersion")).toEqual(["/*"]);
    expect(refused("s3:DeleteObject").sort()).toEqual(keys.map((key) => `/${key}`).sort());
  });
});

/** Infra analysis §1-3; the key is Terraform's. */
it("keeps locks in a table on demand that can be restored and is protected from deletion", () => {
  const tables = stack.find({ type: "aws_dynamodb_table" });
  expect(tables).toHaveLength(1);
  expect(stack.arguments(tables[0] as Resource)).toMatchObject({
    name: "urr-terraform-locks",
    billing_mode: "PAY_PER_REQUEST",
    hash_key: "LockID",
    attribute: [{ name: "LockID", type: "S" }],
    point_in_time_recovery: { enabled: true },
    deletion_protection_enabled: true,
  });
});

describe("its own state", () => {
  it("starts as a file outside the output, at a path that is the same on every machine", () => {
    expect(bootstrap.stateBackend).toBe("local");
    expect(backendOf(root)).toEqual({ local: { path: "../../../bootstrap/terraform.tfstate" } });
  });

  it("moves to production's bucket with both kinds of lock", () => {
    const migrated = rootOf({ configuration: { ...bootstrap, stateBackend: "s3" } });
    expect(backendOf(migrated)).toEqual({
      s3: {
        bucket: "urr-terraform-state-prod",
        key: "bootstrap/terraform.tfstate",
        region: "ap-northeast-2",
        dynamodb_table: "urr-terraform-locks",
        encrypt: true,
        use_lockfile: true,
      },
    });
    expect(migrated.resource).toEqual(root.resource);
  });

  it("holds no secret", () => {
    expect(JSON.stringify(root)).not.toMatch(/random_password|secretsmanager_secret_version/);
  });
});

it("lets API Gateway write logs, once its role may", () => {
  const account = stack.one({ type: "aws_api_gateway_account" });
  const role = roleNamed("urr-api-gateway-logs");
  expect(stack.references(account, "cloudwatch_role_arn")).toEqual([role.address]);
  expect(managedPoliciesOf(stack, role)).toEqual(["AmazonAPIGatewayPushToCloudWatchLogs"]);
  expect(account.config.depends_on).toContain("aws_iam_role_policy_attachment.api_gateway_logs_push");
});

describe("trust in GitHub", () => {
  it("is in one provider for AWS's audience", () => {
    expect(stack.arguments(stack.one({ type: "aws_iam_openid_connect_provider" }))).toMatchObject({
      url: `https://${ISSUER}`,
      client_id_list: ["sts.amazonaws.com"],
    });
  });

  const job = (environment: string, ref: string, workflow: string) =>
    `repo:${REPOSITORY}:environment:${environment}:ref:${ref}:job_workflow_ref:${REPOSITORY}/.github/workflows/${workflow}@refs/heads/main`;

  it.each([
    ["urr-ci-plan-staging", ["main", "pr"], "staging-plan", ["infra-plan-stack.yml"]],
    ["urr-ci-plan-prod", ["main", "pr"], "production-plan", ["infra-plan-stack.yml"]],
    ["urr-ci-apply-staging", ["main"], "staging", ["infra-apply-stack.yml"]],
    ["urr-ci-apply-prod", ["main"], "production", ["infra-apply-stack.yml"]],
    ["urr-ci-images", ["main"], "publish", ["reusable-spring-ci-cd.yml", "frontend-ci-cd.yml"]],
    ["urr-ci-frontend", ["main"], "publish", ["frontend-ci-cd.yml"]],
  ])("pins %s to repository, ref, environment and workflow file", (name, refs, environment, workflows) => {
    const [statement, ...others] = trustStatements(stack, roleNamed(name));
    expect(others).toEqual([]);
    expect(statement?.actions).toEqual(["sts:AssumeRoleWithWebIdentity"]);
    const conditions = statement?.conditions as Record<string, Record<string, string | string[]>>;
    expect(conditions.StringEquals?.[`${ISSUER}:aud`]).toBe("sts.amazonaws.com");
    const subjects = conditions.StringLike?.[`${ISSUER}:sub`] ?? conditions.StringEquals?.[`${ISSUER}:sub`];
    const wanted = workflows.flatMap((workflow) =>
      refs.map((ref) => job(environment, ref === "main" ? "refs/heads/main" : "refs/pull/*/merge", workflow)),
    );
    expect([subjects].flat()).toEqual(wanted);
    // Only a pull request's number is open, and only where plans are made.
    expect(Object.keys(conditions).includes("StringLike")).toBe(refs.includes("pr"));
  });

  it("gives every role of the CI such a trust", () => {
    const roles = stack.find({ type: "aws_iam_role", where: { name: { matches: "^urr-ci-" } } });
    expect(roles).toHaveLength(6);
    for (const role of roles) {
      const [statement] = trustStatements(stack, role);
      expect(JSON.stringify(statement?.conditions)).toContain("job_workflow_ref");
    }
  });
});

describe.each([
  ["prod", "staging"],
  ["staging", "prod"],
])("the plan role of %s", (name, other) => {
  const role = `urr-ci-plan-${name}`;
  const bucket = `arn:aws:s3:::urr-terraform-state-${name}`;
  const WRITES = /^[a-z0-9-]+:(?!Get|List|Describe|Head|BatchGet|Decrypt)/;

  it("writes nothing but the lock item, the lock file and the bundle", () => {
    expect(managedPoliciesOf(stack, roleNamed(role))).toEqual(["ReadOnlyAccess"]);
    const lockFiles = [`${bucket}/${name}/terraform.tfstate.tflock`, `${bucket}/${name}/platform.tfstate.tflock`];
    expect(
      allowedTo(role)
        .filter((grant) => WRITES.test(grant))
        .sort(),
    ).toEqual(
      [
        ...lockFiles.flatMap((file) => [`s3:PutObject on ${file}`, `s3:DeleteObject on ${file}`]),
        "dynamodb:PutItem on ${aws_dynamodb_table.locks_main.arn}",
        "dynamodb:DeleteItem on ${aws_dynamodb_table.locks_main.arn}",
        `s3:PutObject on \${aws_s3_bucket.plan_bundles_main.arn}/${name}/*`,
        "kms:GenerateDataKey on ${aws_kms_key.plan_bundles_main.arn}",
      ].sort(),
    );
  });

  it("locks its own states only", () => {
    const [lock] = statementsOfRole(stack, roleNamed(role)).filter(({ actions }) =>
      actions.includes("dynamodb:PutItem"),
    );
    expect(lock?.conditions).toEqual({
      "ForAllValues:StringEquals": {
        "dynamodb:LeadingKeys": [
          `urr-terraform-state-${name}/${name}/terraform.tfstate`,
          `urr-terraform-state-${name}/${name}/platform.tfstate`,
        ],
      },
    });
  });

  it("cannot read bundles, the other environment's states, tables, queues or logs", () => {
    const refused = denials(role).flatMap(({ actions, resources }) =>
      actions.flatMap((action) => resources.map((resource) => `${action} on ${String(stack.fill(resource))}`)),
    );
    expect(refused).toEqual(
      expect.arrayContaining([
        "s3:GetObject on ${aws_s3_bucket.plan_bundles_main.arn}/*",
        `s3:GetObject on arn:aws:s3:::urr-terraform-state-${other}/*`,
        `s3:GetObject on ${bucket}/bootstrap/*`,
        "dynamodb:Query on arn:aws:dynamodb:ap-northeast-2:${var.aws_account_id}:table/urr-prod-*",
        "sqs:ReceiveMessage on arn:aws:sqs:ap-northeast-2:${var.aws_account_id}:urr-prod-*",
        "logs:FilterLogEvents on *",
      ]),
    );
  });
});

describe.each([
  ["prod", "staging"],
  ["staging", "prod"],
])("the apply role of %s", (name, other) => {
  const role = `urr-ci-apply-${name}`;
  const refused = () =>
    denials(role).flatMap(({ actions, resources }) =>
      actions.flatMap((action) => resources.map((resource) => `${action} on ${String(stack.fill(resource))}`)),
    );

  it("gets bundles of its environment and writes none", () => {
    const bundles = allowedTo(role).filter((grant) => grant.includes("plan_bundles"));
    expect(bundles.sort()).toEqual([
      "kms:Decrypt on ${aws_kms_key.plan_bundles_main.arn}",
      `s3:GetObject on \${aws_s3_bucket.plan_bundles_main.arn}/${name}/*`,
      `s3:GetObjectVersion on \${aws_s3_bucket.plan_bundles_main.arn}/${name}/*`,
    ]);
    expect(refused()).toContain("s3:PutObject on ${aws_s3_bucket.plan_bundles_main.arn}/*");
  });

  it(`does not touch ${other}, by tag or by name`, () => {
    expect(denials(role)).toContainEqual(
      expect.objectContaining({
        actions: ["*"],
        resources: ["*"],
        conditions: { StringEquals: { "aws:ResourceTag/Environment": other } },
      }),
    );
    expect(refused()).toEqual(
      expect.arrayContaining([
        `s3:PutObject on arn:aws:s3:::urr-terraform-state-${other}/*`,
        `* on arn:aws:secretsmanager:ap-northeast-2:\${var.aws_account_id}:secret:urr-${other}/*`,
        `* on arn:aws:iam::\${var.aws_account_id}:role/urr-${other}-*`,
      ]),
    );
  });

  it("does not touch what this stack made", () => {
    expect(refused()).toEqual(
      expect.arrayContaining([
        "iam:* on arn:aws:iam::${var.aws_account_id}:role/urr-ci-*",
        "iam:* on ${aws_iam_openid_connect_provider.ci_github.arn}",
        `s3:PutBucket* on arn:aws:s3:::urr-terraform-state-${name}`,
        "dynamodb:DeleteTable on ${aws_dynamodb_table.locks_main.arn}",
        "kms:PutKeyPolicy on ${aws_kms_key.plan_bundles_main.arn}",
      ]),
    );
  });

  it("manages identities of its own environment only", () => {
    const identities = allowedTo(role).filter((grant) => grant.startsWith("iam:"));
    expect(identities.length).toBeGreaterThan(0);
    for (const grant of identities) {
      expect(grant).toMatch(
        new RegExp(
          `:(role|policy|instance-profile)/urr-${name}-\\*$|:oidc-provider/oidc\\.eks\\.ap-northeast-2\\.amazonaws\\.com/\\*$`,
        ),
      );
    }
  });
});

it("keeps every role's own policy within IAM's 10,240 characters", () => {
  for (const policy of stack.find({ type: "aws_iam_role_policy" })) {
    const filled = JSON.stringify(stack.resolve(policy, "policy")).replaceAll(/\$?\{[^}"]*\}/g, "x".repeat(80));
    expect(filled.length, policy.address).toBeLessThan(10_240);
  }
});

describe("the key of plans", () => {
  const key = stack.one({ type: "aws_kms_key" });
  const statements = resourcePolicyOf(stack, key);
  const rolesFor = (action: string) =>
    statements
      .filter(({ actions }) => actions.includes(action))
      .map(({ conditions, principals }) => [
        stack.addressesIn(`${principals.join()}`.replace(/^AWS:/, ""))[0],
        JSON.stringify(conditions),
      ]);

  it("rotates, and is used by the account's policies for administration only", () => {
    expect(stack.resolve(key, "enable_key_rotation")).toBe(true);
    const account = statements.filter(({ principals }) => principals.some((principal) => principal.endsWith(":root")));
    expect(account).toHaveLength(1);
    expect(account[0]?.actions).not.toContain("kms:*");
    for (const use of ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncrypt*"]) {
      expect(account[0]?.actions).not.toContain(use);
    }
  });

  it("encrypts for plan roles and decrypts for apply roles, each for its own folder", () => {
    const folder = (environment: string) => expect.stringContaining(`}/${environment}/*`);
    expect(rolesFor("kms:GenerateDataKey")).toEqual([
      ["aws_iam_role.ci_plan_staging", folder("staging")],
      ["aws_iam_role.ci_plan_prod", folder("prod")],
    ]);
    expect(rolesFor("kms:Decrypt")).toEqual([
      ["aws_iam_role.ci_apply_staging", folder("staging")],
      ["aws_iam_role.ci_apply_prod", folder("prod")],
    ]);
    const bucket = bucketNamed("urr-plan-bundles");
    const encryption = ofBucket("aws_s3_bucket_server_side_encryption_configuration", bucket);
    expect(stack.references(encryption, "rule.apply_server_side_encryption_by_default.kms_master_key_id")).toEqual([
      key.address,
    ]);
    // A bucket key would hide the folder from the key's policy.
    expect(stack.resolve(encryption, "rule.bucket_key_enabled")).toBe(false);
  });

  it("keeps plans for two weeks", () => {
    const lifecycle = ofBucket("aws_s3_bucket_lifecycle_configuration", bucketNamed("urr-plan-bundles"));
    expect(stack.resolve(lifecycle, "rule.expiration.days")).toBe(14);
  });
});

it("pushes images to the repositories of the services, and to no others", () => {
  const pushes = allowedTo("urr-ci-images").filter(
    (grant) => grant.startsWith("ecr:") && !grant.startsWith("ecr:GetAuthorizationToken"),
  );
  expect(pushes.map((grant) => grant.split(" on ")[1])).toEqual(
    pushes.map(() => "arn:aws:ecr:ap-northeast-2:${var.aws_account_id}:repository/urr/*"),
  );
  expect(pushes.join()).toContain("ecr:PutImage");
  expect(pushes.join()).not.toMatch(/Delete/);
});

it("uploads static files below _next/static, and deletes none", () => {
  const grants = allowedTo("urr-ci-frontend");
  expect(grants).toContain("s3:PutObject on arn:aws:s3:::urr-prod-frontend-prod/_next/static/*");
  expect(grants.join()).not.toMatch(/Delete/);
});

/** Infra analysis §1-4. */
it("tags everything", () => {
  const [provider] = (root.provider as JsonObject).aws as readonly JsonObject[];
  expect(provider).toMatchObject({
    region: "ap-northeast-2",
    allowed_account_ids: ["${var.aws_account_id}"],
    default_tags: [{ tags: { Project: "URR", Environment: "bootstrap", ManagedBy: "Terraform" } }],
  });
});

describe("bad input", () => {
  const withState = (environment: Environment, state: Partial<Environment["state"]>): Environment => ({
    ...environment,
    state: { ...environment.state, ...state },
  });

  it("fails with two lock tables and with one bucket for both environments, all in one error", () => {
    const problems = problemsOf({
      environments: [
        withState(staging, { lockTable: "other-locks" }),
        withState(prod, { bucket: staging.state.bucket }),
      ],
    });
    const text = problems.join("\n");
    expect(text).toContain(
      'environments[].state.lockTable: given ["other-locks","urr-terraform-locks"]; allowed: one lock table',
    );
    expect(text).toContain("environments[].state.bucket: given");
  });

  it("fails with environments in two Regions", () => {
    expect(problemsOf({ environments: [{ ...staging, region: "us-east-1" }, prod] }).join()).toContain(
      'environments[].region: given ["us-east-1","ap-northeast-2"]; allowed: one Region',
    );
  });

  it("fails without production, whose bucket takes its state", () => {
    expect(() => rootOf({ environments: [staging] })).toThrow(/environments: given none named prod/);
  });

  it("fails without GitHub environments for an environment", () => {
    const github = { ...bootstrap.github, environments: { prod: { plan: "a", apply: "b" } } };
    expect(problemsOf({ configuration: { ...bootstrap, github } }).join()).toContain(
      'github.environments: given ["prod"]; allowed: GitHub environments for each of staging, prod.',
    );
  });

  it.each([
    "/home/somebody/terraform.tfstate",
    "terraform.tfstate",
    "../../../state.json",
  ])("fails with the local state path %s", (localStatePath) => {
    expect(problemsOf({ configuration: { ...bootstrap, localStatePath } }).join("\n")).toContain(
      `localStatePath: given "${localStatePath}"`,
    );
  });

  it.each([
    ["aws_account_id", "123456789012", ["12345678901", "1234567890123", "arn:aws:iam::123456789012"]],
    [
      "github_repository",
      "example/urr-infra.v2",
      ["example", "*/urr", "example/*", "https://github.com/example/urr", "example/urr/extra"],
    ],
  ])("refuses a wrong %s at plan", (name, good, bad) => {
    const variable = (root.variable as JsonObject)[name] as JsonObject;
    expect(variable).not.toHaveProperty("default");
    const [validation] = variable.validation as readonly JsonObject[];
    expect(validation?.error_message).toContain(name);
    const pattern = /regex\("(.+)", var/.exec(String(validation?.condition))?.[1] ?? "";
    expect(good).toMatch(new RegExp(pattern));
    for (const value of bad) expect(value).not.toMatch(new RegExp(pattern));
  });
});
