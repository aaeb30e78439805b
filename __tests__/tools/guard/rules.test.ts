import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { prodPlatform } from "../../../environments/platform";
import { prod } from "../../../environments/prod";
import { staging } from "../../../environments/staging";
import { PlatformStack } from "../../../stacks/platform";
import { ProdStack } from "../../../stacks/prod";
import { StagingStack } from "../../../stacks/staging";
import { readOverrides } from "../../../tools/guard/overrides";
import { explain, GUARDED_TYPES, judge, type ResourceChange, UnreadablePlanError } from "../../../tools/guard/rules";
import { readStacks } from "./stacks";

/** Types whose loss costs data or an address that people know, and no other type of the stacks. */
const STATEFUL = [
  "aws_api_gateway_rest_api",
  "aws_cloudfront_distribution",
  "aws_db_instance",
  "aws_dynamodb_table",
  "aws_ecr_repository",
  "aws_eip",
  "aws_eks_cluster",
  "aws_elasticache_replication_group",
  "aws_grafana_workspace",
  "aws_kms_key",
  "aws_lb",
  "aws_msk_cluster",
  "aws_prometheus_workspace",
  "aws_route53_zone",
  "aws_s3_bucket",
  "aws_secretsmanager_secret",
  "aws_sqs_queue",
];

const TABLE = "module.dynamodb_vwr.aws_dynamodb_table.positions";

describe("judge", () => {
  const stacks = readStacks((app) => {
    new StagingStack(app, "staging", staging);
    new ProdStack(app, "prod", prod);
    new PlatformStack(app, "prod-platform", prod, prodPlatform);
  });

  it("guards every stateful resource of prod when all of it is destroyed", () => {
    const { refused } = judge(planOf(stacks.prod?.map((resource) => change(resource, ["delete"])) ?? []));
    expect([...new Set(refused.map(({ type }) => type))].sort()).toEqual(STATEFUL);
    const expected = stacks.prod?.filter(({ type }) => STATEFUL.includes(type)).map(({ address }) => address);
    expect(refused.map(({ address }) => address)).toEqual(expected);
  });

  it("guards the namespaces of a cluster, which take services and volumes with them", () => {
    const resources = stacks["prod-platform"] ?? [];
    const { refused } = judge(planOf(resources.map((resource) => change(resource, ["delete"]))));
    expect(refused.map(({ address }) => address)).toEqual(
      resources.filter(({ type }) => type.startsWith("kubernetes_namespace")).map(({ address }) => address),
    );
    expect(refused.map(({ address }) => address)).toContain("module.namespaces.kubernetes_namespace_v1.urr_spring");
  });

  it.each([
    ["created", ["create"]],
    ["changed in place", ["update"]],
    ["read", ["read"]],
    ["left alone", ["no-op"]],
    ["forgotten, which leaves it in AWS", ["forget"]],
  ])("says nothing of what is %s", (_, actions) => {
    const changes = stacks.staging?.map((resource) => change(resource, actions)) ?? [];
    expect(judge(planOf(changes))).toEqual({ refused: [], overridden: [], unused: [] });
  });

  it.each([
    ["delete then create", ["delete", "create"]],
    ["create before delete", ["create", "delete"]],
  ])("refuses a replacement (%s) and tells which attribute forces it", (_, actions) => {
    const verdict = judge(
      planOf([{ ...change({ address: TABLE, type: "aws_dynamodb_table" }, actions, [["hash_key"]]) }]),
    );
    expect(verdict.refused).toEqual([
      { address: TABLE, type: "aws_dynamodb_table", action: "replace", because: ["hash_key"], lost: "its data" },
    ]);
    expect(explain(verdict)).toContain(`- ${TABLE}: replace (hash_key changes) loses its data`);
  });

  it("lets pass exactly the address that is named, not its neighbours", () => {
    const zones = ["a", "b"].map((key) =>
      change({ address: `aws_route53_zone.main["${key}"]`, type: "aws_route53_zone" }, ["delete"]),
    );
    const verdict = judge(planOf(zones), ['aws_route53_zone.main["a"]']);
    expect(verdict.refused.map(({ address }) => address)).toEqual(['aws_route53_zone.main["b"]']);
    expect(verdict.overridden.map(({ address }) => address)).toEqual(['aws_route53_zone.main["a"]']);
  });

  it("takes no pattern and no module for an override, and says that it matched nothing", () => {
    const plan = planOf([change({ address: TABLE, type: "aws_dynamodb_table" }, ["delete"])]);
    for (const override of ["*", "module.dynamodb_vwr", "aws_dynamodb_table.positions", `${TABLE} `]) {
      const verdict = judge(plan, [override]);
      expect(verdict.refused).toHaveLength(1);
      expect(verdict.unused).toEqual([override]);
      expect(explain(verdict)).toContain(`the override ${override} matches nothing`);
    }
  });

  it("tells what a failed replacement left behind from what stands at its address, by one word that an override can name", () => {
    const left = { ...change({ address: TABLE, type: "aws_dynamodb_table" }, ["delete"]), deposed: "00000001" };
    expect(judge(planOf([left]), [TABLE]).refused).toHaveLength(1);
    const [refusal] = judge(planOf([left])).refused;
    const allowed = readOverrides({ URR_GUARD_ALLOW: `aws_lb.x ${refusal?.address}` });
    expect(judge(planOf([left]), allowed).refused).toEqual([]);
  });

  it("does not take data sources for resources", () => {
    const data = { ...change({ address: "data.aws_s3_bucket.x", type: "aws_s3_bucket" }, ["delete"]), mode: "data" };
    expect(judge(planOf([data])).refused).toEqual([]);
  });

  it("fails on what is not a plan", () => {
    for (const input of [null, [], "{}", {}, { resource_changes: [] }])
      expect(() => judge(input)).toThrow(UnreadablePlanError);
  });
});

describe("explain", () => {
  it("names every guarded resource and where overrides are written", () => {
    const addresses = Object.keys(GUARDED_TYPES).map((type) => `${type}.x`);
    const text = explain(
      judge(planOf(Object.keys(GUARDED_TYPES).map((type) => change({ address: `${type}.x`, type }, ["delete"])))),
    );
    for (const address of addresses) expect(text).toContain(`  - ${address}: destroy loses`);
    expect(text).toContain(`${addresses.length} guarded resources`);
    expect(text).toContain("URR_GUARD_ALLOW");
  });
});

describe("readOverrides", () => {
  it("reads the variable and the file, without remarks", () => {
    const directory = mkdtempSync(path.join(tmpdir(), "urr-overrides-"));
    const file = path.join(directory, "allowed");
    writeFileSync(file, "# moved to the new account\naws_kms_key.a   # emptied\n\n  aws_lb.b\n");
    expect(
      readOverrides({ URR_GUARD_ALLOW: " aws_sqs_queue.c\naws_s3_bucket.d ", URR_GUARD_ALLOW_FILE: file }),
    ).toEqual(["aws_sqs_queue.c", "aws_s3_bucket.d", "aws_kms_key.a", "aws_lb.b"]);
    expect(readOverrides({})).toEqual([]);
    // The cdktf CLI runs Terraform in a stack's folder.
    expect(readOverrides({ URR_GUARD_ALLOW_FILE: "allowed", INIT_CWD: directory })).toEqual([
      "aws_kms_key.a",
      "aws_lb.b",
    ]);
    rmSync(directory, { recursive: true });
  });
});

describe("the command", () => {
  const run = (plan: unknown, ...args: string[]) =>
    spawnSync(process.execPath, ["--import", "tsx", "tools/guard/index.ts", "-", ...args], {
      input: JSON.stringify(plan),
      encoding: "utf8",
    });
  const plan = planOf([change({ address: TABLE, type: "aws_dynamodb_table" }, ["delete"])]);

  it("exits 1 and names the resource, 0 with its override, 2 on what it cannot read", () => {
    const refused = run(plan);
    expect(refused.status).toBe(1);
    expect(refused.stdout).toContain(TABLE);
    const allowed = run(plan, "--allow", TABLE);
    expect(allowed.status).toBe(0);
    expect(allowed.stdout).toContain(`allowed by override: ${TABLE}`);
    const unreadable = run({});
    expect(unreadable.status).toBe(2);
    expect(unreadable.stderr).toContain("not a plan");
  });

  it("reads the plan that lies where npm was called, not one of the same name beside package.json", () => {
    const directory = mkdtempSync(path.join(tmpdir(), "urr-plan-"));
    writeFileSync(path.join(directory, "package.json"), JSON.stringify(plan));
    writeFileSync(path.join(directory, "allowed"), TABLE);
    const inDirectory = (...args: string[]) =>
      spawnSync(process.execPath, ["--import", "tsx", "tools/guard/index.ts", "package.json", ...args], {
        encoding: "utf8",
        env: { ...process.env, INIT_CWD: directory },
      }).status;
    expect(inDirectory()).toBe(1);
    expect(inDirectory("--allow-file", "allowed")).toBe(0);
    rmSync(directory, { recursive: true });
  });
});

function change(
  { address, type }: { address: string; type: string },
  actions: readonly string[],
  replacePaths?: readonly (readonly string[])[],
): ResourceChange {
  return { address, mode: "managed", type, change: { actions, ...(replacePaths && { replace_paths: replacePaths }) } };
}

function planOf(changes: readonly ResourceChange[]) {
  return { format_version: "1.2", resource_changes: changes };
}
