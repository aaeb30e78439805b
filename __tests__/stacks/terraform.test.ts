import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hclOf, type RenderedStack } from "../../lib/terraform-modules";
import { buildApp } from "../../main";
import { OfflineWorkspace } from "../../tools/terraform/workspace";
import { canRunTerraform } from "../support/real-terraform";

interface Change {
  readonly after: unknown;
  readonly after_unknown: unknown;
  readonly after_sensitive: unknown;
}

interface Plan {
  readonly resource_changes: readonly {
    readonly address: string;
    readonly type: string;
    readonly change: Change & { readonly actions: readonly string[] };
  }[];
  readonly output_changes?: Readonly<Record<string, Change>>;
  readonly errored?: boolean;
}

const scratch: string[] = [];
const rendered = new Map(
  buildApp()
    .render()
    .map((stack) => [stack.stack.node.id, stack]),
);
const hasTerraform = canRunTerraform("terraform validate and plan of every stack", ["aws", "random"]);

/** Writes files below a new folder. */
function folderOf(files: ReadonlyMap<string, Buffer | string>): string {
  const folder = mkdtempSync(path.join(tmpdir(), "urr-stack-"));
  scratch.push(folder);
  for (const [file, content] of files) {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    writeFileSync(path.join(folder, file), content);
  }
  return folder;
}

function stackOf(name: string): RenderedStack {
  const found = rendered.get(name);
  if (!found) throw new Error(`no stack ${name}`);
  return found;
}

/** Plans a form of a stack with the example values; checks on the way that Terraform has no objection and no warning to make. */
function planOf(files: ReadonlyMap<string, Buffer | string>, stack: string): Plan {
  const workspace = new OfflineWorkspace(
    folderOf(files),
    `environments/${stack}.tfvars.example`,
    stack === "prod" ? ["us_east_1"] : [],
  );
  try {
    workspace.init();
    const validation = JSON.parse(workspace.terraform("validate", "-json").stdout) as {
      valid: boolean;
      diagnostics: unknown[];
    };
    expect(validation.diagnostics).toEqual([]);
    expect(validation.valid).toBe(true);
    return JSON.parse(workspace.planJson()) as Plan;
  } finally {
    workspace.dispose();
  }
}

/** What is planned for each resource, under the address that it has in the modules. */
function byAddress(plan: Plan, rename: (address: string) => string = (address) => address): Record<string, Change> {
  return Object.fromEntries(
    plan.resource_changes.map(({ address, change: { after, after_sensitive, after_unknown } }) => [
      rename(address),
      { after, after_sensitive, after_unknown },
    ]),
  );
}

afterAll(() => {
  for (const folder of scratch) rmSync(folder, { recursive: true, force: true });
});

describe.skipIf(!hasTerraform).each(["staging", "prod"])("real Terraform on %s", (name) => {
  let plan: Plan;

  beforeAll(() => {
    plan = planOf(stackOf(name).files, name);
  }, 300_000);

  it("creates everything and changes nothing in a first plan", () => {
    expect(plan.errored ?? false).toBe(false);
    for (const { address, change } of plan.resource_changes) expect(change.actions, address).toEqual(["create"]);
  });

  /** Counts of the documents, by type: what there is one of, two of, ten of. */
  it.each<[string, number, number]>([
    ["aws_vpc", 1, 1],
    ["aws_subnet", 10, 10],
    ["aws_nat_gateway", 2, 2],
    ["aws_vpc_endpoint", 10, 10],
    ["aws_eks_cluster", 1, 1],
    ["aws_eks_node_group", 1, 1],
    ["aws_eks_addon", 4, 4],
    ["aws_db_instance", 1, 2],
    ["aws_db_proxy", 1, 1],
    ["aws_elasticache_replication_group", 1, 1],
    ["aws_msk_cluster", 1, 1],
    ["aws_dynamodb_table", 2, 2],
    ["aws_lambda_event_source_mapping", 1, 1],
    ["aws_api_gateway_rest_api", 1, 1],
    ["aws_prometheus_workspace", 1, 1],
    ["aws_grafana_workspace", 1, 1],
    ["aws_cloudfront_distribution", 0, 1],
    ["aws_cloudfront_function", 0, 2],
    ["aws_wafv2_web_acl", 0, 1],
    ["aws_ecr_repository", 0, 9],
  ])("has as many %s as documented: staging %d, prod %d", (type, staging, prod) => {
    expect(plan.resource_changes.filter((resource) => resource.type === type)).toHaveLength(
      name === "prod" ? prod : staging,
    );
  });

  it("plans the same without modules, resource by resource: the emitter moves blocks and changes nothing", () => {
    const { flat, assets, emitted } = stackOf(name);
    const flatPlan = planOf(new Map<string, Buffer | string>([["cdk.tf.json", JSON.stringify(flat)], ...assets]), name);
    expect(byAddress(flatPlan, (address) => moduleAddress(emitted.addresses, address))).toEqual(byAddress(plan));
    expect(flatPlan.output_changes).toEqual(plan.output_changes);
  }, 300_000);

  it("plans the same from its HCL export, which terraform fmt leaves as it is", () => {
    const files = hclOf(stackOf(name));
    const folder = folderOf(files);
    const workspace = new OfflineWorkspace(folder);
    try {
      const { status, stdout } = workspace.terraform("fmt", "-check", "-recursive", "-diff", ".");
      expect(stdout).toBe("");
      expect(status).toBe(0);
    } finally {
      workspace.dispose();
    }
    const hclPlan = planOf(files, name);
    expect(byAddress(hclPlan)).toEqual(byAddress(plan));
    expect(hclPlan.output_changes).toEqual(plan.output_changes);
  }, 300_000);

  /** Each refusal comes from a variable's own validation, before anything is planned. */
  it.each<[string, string, string]>([
    ["an empty domain", 'domain_name = ""', "domain_name must be a domain"],
    [
      "a certificate of another Region",
      `alb_certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/x"`,
      "must be the ARN of an ACM certificate in ap-northeast-2",
    ],
    ["an account id that is none", 'aws_account_id = "12345"', "must be the twelve digits of an AWS account"],
    ["no one to hear an alarm", "alarm_emails = []", "at least one e-mail address"],
    ["half of a Slack channel", 'slack_team_id = "T01ABCDEF23"', "together with slack_team_id"],
    ["addresses that are none", 'eks_public_access_cidrs = ["office"]', "at least one IPv4 block"],
    [
      "a reader of the cluster that is no role",
      'eks_viewer_principal_arns = ["urr-ci-plan-prod"]',
      "must list IAM role ARNs, or be empty",
    ],
    [
      "a reader of the cluster that administers it",
      'eks_viewer_principal_arns = ["arn:aws:iam::123456789012:role/platform-admin"]',
      "may list none of eks_admin_principal_arns",
    ],
    ...(name === "prod"
      ? ([
          [
            "the whole internet at the Kubernetes API",
            'eks_public_access_cidrs = ["0.0.0.0/0"]',
            "may not hold 0.0.0.0/0 in production",
          ],
          [
            "CloudFront with the load balancer's certificate",
            `cloudfront_certificate_arn = "arn:aws:acm:ap-northeast-2:123456789012:certificate/x"`,
            "must be the ARN of an ACM certificate in us-east-1",
          ],
          ["neither a zone nor the wish for one", 'hosted_zone_id = ""', "must be the id of the existing zone"],
        ] satisfies [string, string, string][])
      : []),
  ])("fails on %s", (_, assignment, message) => {
    const workspace = new OfflineWorkspace(
      folderOf(new Map([["main.tf.json", JSON.stringify({ variable: stackOf(name).emitted.root.variable })]])),
      `environments/${name}.tfvars.example`,
    );
    try {
      writeFileSync(path.join(workspace.directory, "wrong.auto.tfvars"), assignment);
      rmSync(path.join(workspace.directory, "offline_override.tf.json"));
      workspace.mustTerraform("init", "-input=false", "-no-color");
      const { status, stderr } = workspace.terraform("plan", "-input=false", "-no-color");
      expect(status).toBe(1);
      expect(stderr.replaceAll(/\s*│?\s+/g, " ")).toContain(message);
    } finally {
      workspace.dispose();
    }
  });
});

/** Address in the modules of an address in the flat form, with its instance key. */
function moduleAddress(addresses: ReadonlyMap<string, string>, address: string): string {
  const [, bare = address, key = ""] = /^(.*?)(\[.*\])?$/.exec(address) ?? [];
  const found = addresses.get(bare);
  if (!found) throw new Error(`${address} has no address in the modules`);
  return `${found}${key}`;
}
