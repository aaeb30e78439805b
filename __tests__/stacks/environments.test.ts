import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../lib/terraform-modules";
import { buildApp } from "../../main";

const stacks = new Map(
  buildApp()
    .render()
    .map((rendered) => [rendered.stack.node.id, rendered]),
);

/** A stack's root, as Terraform reads it. */
function root(stack: string): JsonObject {
  return rendered(stack).emitted.root;
}

function rendered(stack: string) {
  const found = stacks.get(stack);
  if (!found) throw new Error(`no stack ${stack}`);
  return found;
}

/** Every file of a stack as text. */
function texts(stack: string): string[] {
  return [...rendered(stack).files].filter(([path]) => path.endsWith(".json")).map(([, content]) => content.toString());
}

/** Every value below a key of that name, at any depth. */
function valuesOf(json: Json | undefined, key: string): Json[] {
  if (Array.isArray(json)) return json.flatMap((value) => valuesOf(value, key));
  if (json === null || typeof json !== "object") return [];
  return Object.entries(json).flatMap(([name, value]) => [...(name === key ? [value] : []), ...valuesOf(value, key)]);
}

/** Modules of both environments. Source: Infra analysis §1-2, with lambda_vwr and lambda_worker counted one by one. */
const CORE = [
  "iam",
  "vpc",
  "secrets",
  "vpc_endpoints",
  "eks",
  "rds",
  "elasticache",
  "msk",
  "alb",
  "s3",
  "sqs",
  "dynamodb_vwr",
  "api_gateway_vwr",
  "lambda_vwr",
  "lambda_worker",
  "monitoring",
];
/** Source: Infra analysis §1-2, "Prod 환경". */
const PROD_ONLY = ["cloudfront", "waf", "route53", "ecr"];

describe.each([
  ["staging", CORE],
  ["prod", [...CORE, ...PROD_ONLY]],
] as const)("stack %s", (stack, modules) => {
  it("calls exactly the documented modules, each from the folder of its documented name", () => {
    const calls = root(stack).module as Record<string, { source: string }>;
    expect(Object.keys(calls).sort()).toEqual([...modules].sort());
    for (const [name, { source }] of Object.entries(calls))
      expect(source).toBe(`./modules/${name.replaceAll("_", "-")}`);
    expect([...rendered(stack).emitted.modules.keys()].sort()).toEqual(
      [...modules].map((name) => name.replaceAll("_", "-")).sort(),
    );
  });

  it("holds nothing but wiring in its root", () => {
    expect(root(stack)).not.toHaveProperty("resource");
    expect(root(stack)).not.toHaveProperty("data");
  });

  it("keeps its state in its own bucket, encrypted, locked by the documented table and by a lock file", () => {
    expect((root(stack).terraform as { backend: Json }).backend).toEqual({
      s3: {
        bucket: `urr-terraform-state-${stack}`,
        key: `${stack}/terraform.tfstate`,
        region: "ap-northeast-2",
        dynamodb_table: "urr-terraform-locks",
        encrypt: true,
        use_lockfile: true,
      },
    });
  });

  it("asks for a Terraform that knows both locks, and for the pinned AWS provider within ~> 5.0", () => {
    expect(root(stack).terraform).toMatchObject({
      required_version: ">= 1.10.0",
      required_providers: { aws: { source: "hashicorp/aws", version: "5.100.0" }, random: { version: "3.7.2" } },
    });
  });

  it("tags everything by the provider, in every Region", () => {
    const { aws } = root(stack).provider as { aws: { default_tags: Json }[] };
    const tags = [{ tags: { Project: "URR", Environment: stack, ManagedBy: "Terraform" } }];
    expect(aws.map(({ default_tags }) => default_tags)).toEqual(stack === "prod" ? [tags, tags] : [tags]);
  });

  it("refuses to deploy to another account than the one it is told", () => {
    const { aws } = root(stack).provider as { aws: { allowed_account_ids: Json }[] };
    const account = ["${var.aws_account_id}"];
    expect(aws.map(({ allowed_account_ids }) => allowed_account_ids)).toEqual(
      stack === "prod" ? [account, account] : [account],
    );
  });

  it("writes no unresolved token, no JavaScript artefact and no hash in a name", () => {
    for (const text of texts(stack)) expect(text).not.toMatch(/TfToken|TOKEN\.|\[object |undefined|NaN|#\{/);
    for (const byName of Object.values(rendered(stack).flat.resource as Record<string, JsonObject>)) {
      for (const name of Object.keys(byName)) expect(name).not.toMatch(/_[0-9A-F]{8}$/);
    }
  });

  it("prevents no destroy by life cycle: it would abort a whole destroy, and AWS's own protection does not", () => {
    expect(valuesOf(rendered(stack).flat.resource, "prevent_destroy")).toEqual([]);
  });

  it("reads no data source, so that it can be planned without an account", () => {
    expect(rendered(stack).flat.data).toBeUndefined();
  });

  it("keeps secrets out of its outputs", () => {
    const outputs = root(stack).output as Record<string, { value: Json; sensitive?: boolean; description: string }>;
    expect(JSON.stringify(outputs)).not.toMatch(/random_password|secret_string|auth_token/);
    for (const [name, { sensitive, description }] of Object.entries(outputs)) {
      expect(sensitive, name).toBeUndefined();
      expect(description, name).not.toBe("");
    }
  });

  it("describes each variable, and refuses what cannot work before it plans", () => {
    const variables = root(stack).variable as Record<
      string,
      { description: string; type: string; validation?: Json[] }
    >;
    for (const [name, { description, type, validation = [] }] of Object.entries(variables)) {
      expect(description, name).toMatch(/\.$/);
      if (type !== "bool") expect(validation.length, name).toBeGreaterThan(0);
    }
  });

  it("gives every module resource its construct path, by which plans are read", () => {
    for (const [directory, module] of rendered(stack).emitted.modules) {
      for (const byName of Object.values(
        (module.resource ?? {}) as Record<string, Record<string, { "//": { metadata: { path: string } } }>>,
      )) {
        for (const resource of Object.values(byName)) {
          expect(resource["//"].metadata.path.startsWith(`${stack}/${directory.replaceAll("-", "_")}/`)).toBe(true);
        }
      }
    }
  });

  it("keeps every role's own policy within IAM's 10,240 characters", () => {
    const policies = Object.entries(
      (rendered(stack).flat.resource as Record<string, JsonObject>).aws_iam_role_policy ?? {},
    );
    expect(policies.length).toBeGreaterThan(10);
    for (const [name, { policy }] of policies as [string, { policy: string }][])
      expect(policy.replaceAll(/\$\{[^}]*\}/g, "x".repeat(80)).length, name).toBeLessThan(10_240);
  });

  it("is the same, byte for byte, when it is synthesized again", () => {
    const again = buildApp()
      .render()
      .find(({ stack: other }) => other.node.id === stack);
    expect([...(again?.files ?? [])].map(([path, content]) => [path, content.toString("base64")])).toEqual(
      [...rendered(stack).files].map(([path, content]) => [path, content.toString("base64")]),
    );
  });
});

describe("the app", () => {
  it("has the bootstrap stack and both environments", () => {
    expect([...stacks.keys()]).toEqual(expect.arrayContaining(["bootstrap", "staging", "prod"]));
  });

  it("ignores changes nowhere but at the documented place, in any stack", () => {
    const ignored = [...stacks].flatMap(([name, { flat }]) =>
      valuesOf(flat.resource, "ignore_changes").map((value) => [name, value]),
    );
    expect(ignored).toEqual([
      ["staging", ["scaling_config[0].desired_size"]],
      ["prod", ["scaling_config[0].desired_size"]],
    ]);
  });

  it("lists no stack that depends on another: values cross by name", () => {
    for (const { stack } of stacks.values()) expect(stack.dependencies).toEqual([]);
  });
});

describe("deployment packages", () => {
  const zips = [...rendered("prod").files.keys()].filter((file) => file.endsWith(".zip"));

  it("are those of the four functions", () => {
    expect(zips.map((file) => file.split("/").at(-1)).sort()).toEqual([
      "edge-queue-check.zip",
      "ticket-worker.zip",
      "vwr-api.zip",
      "vwr-counter-advancer.zip",
    ]);
  });

  it.each(zips)("%s has its source map beside it, naming sources of the project by relative paths", (file) => {
    const map = JSON.parse(String(rendered("prod").files.get(`${file}.map`))) as { sources: string[] };
    expect(map.sources.some((source) => source.includes("lambdas/") || source.endsWith("index.ts"))).toBe(true);
    expect(map.sources.filter((source) => source.startsWith("/"))).toEqual([]);
  });

  it("hold no secret and no value of one", () => {
    for (const [file, content] of rendered("prod").files) {
      if (file.endsWith(".zip"))
        expect(content.toString("latin1"), file).not.toMatch(/secret_string|BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}/);
    }
  });
});
