import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { evaluateTemplate, type Json } from "./expression";
import { readStack, TerraformStack } from "./terraform";

const NAMES: Readonly<Record<string, Json>> = { "var.names": ["a", "b"], "var.prefix": "urr", "var.on": true };
const lookup = ({ root, path }: { root: string; path: readonly (string | number)[] }): Json => {
  const written = [root, ...path].join(".");
  return NAMES[written] ?? `\${${written}}`;
};

describe("templates", () => {
  it.each<[string, Json]>([
    ["plain text", "plain text"],
    ["", ""],
    ["${var.names}", ["a", "b"]],
    ["${var.prefix}-queue", "urr-queue"],
    ["$${aws:username}-${var.prefix}", "${aws:username}-urr"],
    ['${join("-", [var.prefix, "x"])}', "urr-x"],
    [
      '${jsonencode({"Action" = ["s3:*"], "On" = aws_s3_bucket.b.arn})}',
      '{"Action":["s3:*"],"On":"${aws_s3_bucket.b.arn}"}',
    ],
    ['${replace(aws_x.y.url, "https://", "")}:sub', "${replace(aws_x.y.url, 'https://', '')}:sub"],
    ['${replace("https://a", "https://", "")}', "a"],
    ['${var.on ? "yes" : "no"}', "yes"],
    ["${1 + 2 * 3}", 7],
    ['${"quoted \\"${var.prefix}\\""}', 'quoted "urr"'],
    ["${element(var.names, 3)}", "b"],
    ["back\\slash", "back\\slash"],
    ['${{a = 1, "b" : [true, null]}}', { a: 1, b: [true, null] }],
  ])("evaluates %s", (template, value) => {
    expect(evaluateTemplate(template, lookup)).toEqual(value);
  });

  it("fails on an expression that is cut off", () => {
    expect(() => evaluateTemplate("${var.prefix", lookup)).toThrow("expected }");
  });
});

const stack = new TerraformStack(
  "prod",
  {
    provider: {
      aws: [{ region: "ap-northeast-2" }, { alias: "us_east_1", region: "us-east-1" }],
    },
    module: {
      vpc: { source: "./modules/vpc", cidr: "10.0.0.0/16" },
      msk: { source: "./modules/msk", subnet_ids: "${module.vpc.app_subnet_ids}", allowed: "${var.allowed_cidrs}" },
      edge: { source: "./modules/edge", providers: { "aws.edge": "aws.us_east_1" } },
    },
    output: { subnet: { value: "${module.vpc.app_subnet_ids[1]}" } },
    resource: { aws_s3_bucket: { state: { bucket: "state", "//": { metadata: { path: "x" } } } } },
  },
  {
    vpc: {
      variable: { cidr: { type: "string" } },
      locals: { prefix: "urr-${var.cidr}" },
      resource: {
        aws_vpc: { main: { cidr_block: "${var.cidr}", tags: { Name: "${local.prefix}" } } },
        aws_subnet: {
          app_a: { vpc_id: "${aws_vpc.main.id}", cidr_block: "10.0.10.0/24" },
          app_c: { vpc_id: "${aws_vpc.main.id}", cidr_block: "10.0.11.0/24" },
        },
      },
      output: { app_subnet_ids: { value: ["${aws_subnet.app_a.id}", "${aws_subnet.app_c.id}"] } },
    },
    msk: {
      variable: { subnet_ids: {}, allowed: {}, size: { default: 20 } },
      resource: {
        aws_msk_cluster: {
          main: {
            broker_node_group_info: {
              client_subnets: "${var.subnet_ids}",
              storage_info: [{ ebs_storage_info: [{ volume_size: "${var.size}" }] }],
            },
            allowed: "${var.allowed}",
          },
        },
        aws_x_rules: { main: { rule: [{ name: "one" }, { name: "two" }], cidr: "${var.subnet_ids[0]}" } },
      },
    },
    edge: { resource: { aws_lambda_function: { gate: { provider: "aws.edge", function_name: "gate" } } } },
  },
);

describe("a stack", () => {
  const kafka = stack.one({ module: "msk", type: "aws_msk_cluster" });

  it("follows a variable to the root's wiring, the other module's output and its resource", () => {
    expect(stack.resolve(kafka, "broker_node_group_info.client_subnets")).toEqual([
      "module.vpc.aws_subnet.app_a.id",
      "module.vpc.aws_subnet.app_c.id",
    ]);
    expect(stack.referred(kafka, "broker_node_group_info.client_subnets").map(({ name }) => name)).toEqual([
      "app_a",
      "app_c",
    ]);
  });

  it("takes one item of a list that crosses modules", () => {
    const rules = stack.one({ type: "aws_x_rules" });
    expect(stack.resolve(rules, "cidr")).toBe("module.vpc.aws_subnet.app_a.id");
    expect(stack.output("subnet")).toBe("module.vpc.aws_subnet.app_c.id");
  });

  it("reads blocks written as objects and as lists alike", () => {
    expect(stack.resolve(kafka, "broker_node_group_info.storage_info.ebs_storage_info.volume_size")).toBe(20);
    expect(stack.resolve(kafka, "broker_node_group_info.0.storage_info.0.ebs_storage_info.volume_size")).toBe(20);
    expect(stack.resolve(stack.one({ type: "aws_x_rules" }), "rule.name")).toEqual(["one", "two"]);
    expect(stack.resolve(kafka, "broker_node_group_info.missing")).toBeUndefined();
  });

  it("fills in what other resources' arguments say, and leaves the rest a reference", () => {
    const subnet = stack.at("module.vpc.aws_subnet.app_a");
    expect(stack.resolve(subnet, "vpc_id")).toBe("module.vpc.aws_vpc.main.id");
    expect(stack.fill("${module.vpc.aws_vpc.main.cidr_block}")).toBe("10.0.0.0/16");
    expect(stack.literal(subnet, "vpc_id")).toBe("module.vpc.aws_vpc.main.id");
    expect(stack.resolve(stack.at("module.vpc.aws_vpc.main"), "tags.Name")).toBe("urr-10.0.0.0/16");
  });

  it("leaves root variables unknown", () => {
    expect(stack.resolve(kafka, "allowed")).toBe("var.allowed_cidrs");
  });

  it("finds resources by attribute, by pattern, by absence and by reference", () => {
    expect(stack.find({ type: "aws_subnet", where: { cidr_block: "10.0.10.0/24" } })).toHaveLength(1);
    expect(stack.find({ type: "aws_subnet", where: { cidr_block: { matches: "^10\\.0\\.1[01]" } } })).toHaveLength(2);
    expect(stack.find({ type: "aws_subnet", where: { tags: null } })).toHaveLength(2);
    expect(stack.find({ type: "aws_subnet", where: { vpc_id: { refersTo: { type: "aws_vpc" } } } })).toHaveLength(2);
    expect(stack.referrers(stack.at("module.vpc.aws_vpc.main")).map(({ name }) => name)).toEqual(["app_a", "app_c"]);
  });

  it("knows the Region of each resource's provider", () => {
    expect(stack.regionOf(kafka)).toBe("ap-northeast-2");
    expect(stack.regionOf(stack.one({ type: "aws_lambda_function" }))).toBe("us-east-1");
  });

  it("fails to name one resource where there are two, and lists them", () => {
    expect(() => stack.one({ type: "aws_subnet" })).toThrow(
      /finds 2 resources, wanted 1.*module\.vpc\.aws_subnet\.app_a, module\.vpc\.aws_subnet\.app_c/,
    );
  });

  it("fails on an output that a module does not have", () => {
    const broken = new TerraformStack("x", { output: { a: { value: "${module.vpc.nothing}" } } }, { vpc: {} });
    expect(() => broken.output("a")).toThrow("module vpc has no output nothing");
  });

  it("reads the folders of a synthesized stack", () => {
    const outdir = mkdtempSync(join(tmpdir(), "urr-read-"));
    try {
      const modules = join(outdir, "stacks", "prod", "modules", "vpc-endpoints");
      mkdirSync(modules, { recursive: true });
      writeFileSync(
        join(outdir, "stacks", "prod", "cdk.tf.json"),
        JSON.stringify({ module: { vpc_endpoints: { source: "./modules/vpc-endpoints", name: "s3" } } }),
      );
      writeFileSync(
        join(modules, "main.tf.json"),
        JSON.stringify({
          variable: { name: {} },
          resource: { aws_vpc_endpoint: { s3: { service_name: "${var.name}" } } },
        }),
      );
      const read = readStack(outdir, "prod");
      const [endpoint] = read.resources;
      expect(endpoint).toMatchObject({ address: "module.vpc_endpoints.aws_vpc_endpoint.s3", module: "vpc-endpoints" });
      expect(endpoint && read.resolve(endpoint, "service_name")).toBe("s3");
      expect(read.moduleNames).toEqual(["vpc-endpoints"]);
    } finally {
      rmSync(outdir, { recursive: true, force: true });
    }
  });
});
