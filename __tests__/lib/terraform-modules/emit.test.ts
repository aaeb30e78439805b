import { TerraformHclModule, TerraformLocal, TerraformOutput, TerraformVariable } from "cdktf";
import { Construct } from "constructs";
import { describe, expect, it } from "vitest";
import { EmitError, emit, type JsonObject } from "../../../lib/terraform-modules";
import { emitted, render, TestBlocks, TestData, TestModule, TestProvider, TestResource } from "./support";

/** What crosses from `vpc` to `rds`: outputs of the one, wiring in the root, inputs of the other. */
function wiring({ root, modules }: { root: JsonObject; modules: Record<string, JsonObject> }) {
  const calls = root.module as Record<string, Record<string, unknown>>;
  return {
    outputs: modules.vpc?.output as Record<string, JsonObject> | undefined,
    call: calls.rds,
    variables: modules.rds?.variable as Record<string, JsonObject> | undefined,
  };
}

/** Names of the blocks of one type in a module. */
function namesOf(module: JsonObject | undefined, type: string): string[] {
  return Object.keys((module as Record<string, Record<string, JsonObject>>).resource?.[type] ?? {});
}

function withoutMetadata(block: unknown): unknown {
  const { "//": _metadata, ...rest } = block as Record<string, unknown>;
  return rest;
}

describe("addresses", () => {
  it("puts a module's blocks into its folder, without the module's name", () => {
    const { root, modules } = emitted((stack) => {
      const endpoints = new TestModule(stack, "vpc_endpoints");
      new TestResource(endpoints, "s3", "aws_vpc_endpoint", { service_name: "s3" });
      new TestResource(new Construct(endpoints, "logs"), "api", "aws_vpc_endpoint");
      new TestResource(stack, "table", "aws_dynamodb_table");
    });
    expect(root.module).toEqual({ vpc_endpoints: { source: "./modules/vpc-endpoints" } });
    expect(modules["vpc-endpoints"]?.resource).toEqual({
      aws_vpc_endpoint: {
        s3: {
          "//": { metadata: { path: "prod/vpc_endpoints/s3", uniqueId: "vpc_endpoints_s3" } },
          service_name: "s3",
        },
        logs_api: { "//": { metadata: { path: "prod/vpc_endpoints/logs/api", uniqueId: "vpc_endpoints_logs_api" } } },
      },
    });
    expect(Object.keys(root.resource as JsonObject)).toEqual(["aws_dynamodb_table"]);
  });

  it("tells the new address of every block", () => {
    const { emitted: result } = render((stack) => {
      const vpc = new TestModule(stack, "vpc");
      new TestResource(vpc, "main", "aws_vpc");
      new TestData(vpc, "zones", "aws_availability_zones");
      new TestResource(stack, "logs", "aws_s3_bucket");
    });
    expect(Object.fromEntries(result.addresses)).toEqual({
      "aws_vpc.vpc_main": "module.vpc.aws_vpc.main",
      "data.aws_availability_zones.vpc_zones": "module.vpc.data.aws_availability_zones.zones",
      "aws_s3_bucket.logs": "aws_s3_bucket.logs",
    });
  });

  it("calls a block main that has only the module's own name", () => {
    const { modules } = emitted((stack) => {
      new TestResource(new TestModule(stack, "vpc"), "Default", "aws_vpc");
    });
    expect(namesOf(modules.vpc, "aws_vpc")).toEqual(["main"]);
  });

  it("keeps modules apart whose names begin alike", () => {
    const { modules } = emitted((stack) => {
      const vpc = new TestResource(new TestModule(stack, "vpc"), "main", "aws_vpc");
      new TestResource(new TestModule(stack, "vpc_endpoints"), "vpc_main", "aws_vpc_endpoint", {
        vpc: vpc.attribute("id"),
      });
    });
    expect(Object.keys(modules)).toEqual(["vpc", "vpc-endpoints"]);
    expect(modules["vpc-endpoints"]?.resource).toMatchObject({
      aws_vpc_endpoint: { vpc_main: { vpc: "${var.vpc_vpc_main_id}" } },
    });
  });

  it("leaves out a module that has no blocks", () => {
    const { root, modules } = emitted((stack) => {
      new TerraformVariable(new TestModule(stack, "empty"), "size", {});
    });
    expect(modules).toEqual({});
    expect(root.module).toBeUndefined();
    expect(root.variable).toEqual({ empty_size: {} });
  });

  it("fails when two blocks of a module would have one name", () => {
    expect(() =>
      render((stack) => {
        const vpc = new TestModule(stack, "vpc");
        new TestResource(vpc, "Default", "aws_vpc");
        new TestResource(vpc, "main", "aws_vpc");
      }),
    ).toThrow("aws_vpc.vpc and aws_vpc.vpc_main would both be aws_vpc.main in module vpc");
  });
});

describe("values that cross", () => {
  it("become an output, a line in the root and a described input", () => {
    const result = wiring(
      emitted((stack) => {
        const subnet = new TestResource(new TestModule(stack, "vpc"), "app_a", "aws_subnet");
        new TestResource(new TestModule(stack, "rds"), "main", "aws_db_instance", { subnet: subnet.attribute("id") });
      }),
    );
    expect(result).toEqual({
      outputs: { subnet_app_a_id: { description: "Read by module.rds.", value: "${aws_subnet.app_a.id}" } },
      call: { source: "./modules/rds", vpc_subnet_app_a_id: "${module.vpc.subnet_app_a_id}" },
      variables: { vpc_subnet_app_a_id: { description: "aws_subnet.app_a.id of module.vpc." } },
    });
  });

  it.each([
    ["aws_x.vpc_y.arn", "x_y_arn", "${aws_x.y.arn}", "${var.vpc_x_y_arn}"],
    ["aws_x.vpc_y.a.b[0].c", "x_y_a_b_0_c", "${aws_x.y.a.b[0].c}", "${var.vpc_x_y_a_b_0_c}"],
    ['aws_x.vpc_y.tags["k/v"]', "x_y_tags_k_v", '${aws_x.y.tags["k/v"]}', "${var.vpc_x_y_tags_k_v}"],
    ["aws_x.vpc_y.a[*].b", "x_y_a", "${aws_x.y.a}", "${var.vpc_x_y_a[*].b}"],
    ["aws_x.vpc_y.*.b", "x_y", "${aws_x.y}", "${var.vpc_x_y.*.b}"],
    ["aws_x.vpc_y.a[each.key].b", "x_y_a", "${aws_x.y.a}", "${var.vpc_x_y_a[each.key].b}"],
    ["try(aws_x.vpc_y.a[0].b, null)", "x_y_a", "${aws_x.y.a}", "${try(var.vpc_x_y_a[0].b, null)}"],
    ["aws_x.vpc_many[0].id", "x_many_0_id", "${aws_x.many[0].id}", "${var.vpc_x_many_0_id}"],
    ["one(aws_x.vpc_many).id", "x_many", "${aws_x.many}", "${one(var.vpc_x_many).id}"],
    ["1 > 0 ? aws_x.vpc_many[0].id : null", "x_many", "${aws_x.many}", "${1 > 0 ? var.vpc_x_many[0].id : null}"],
    ["data.aws_x.vpc_z.id", "data_x_z_id", "${data.aws_x.z.id}", "${var.vpc_data_x_z_id}"],
    ["local.vpc_l.a", "local_l_a", "${local.l.a}", "${var.vpc_local_l_a}"],
    ["module.vpc_m.out", "m_out", "${module.m.out}", "${var.vpc_m_out}"],
    ["ephemeral.aws_e.vpc_e.v", "ephemeral_e_e_v", "${ephemeral.aws_e.e.v}", "${var.vpc_ephemeral_e_e_v}"],
  ])("%s", (expression, name, value, inside) => {
    const files = emitted((stack) => {
      const vpc = new TestModule(stack, "vpc");
      new TestResource(vpc, "y", "aws_x");
      new TestResource(vpc, "many", "aws_x", {}, { count: 2 });
      new TestData(vpc, "z", "aws_x");
      new TerraformLocal(vpc, "l", { a: 1 });
      new TerraformHclModule(vpc, "m", { source: "terraform-aws-modules/vpc/aws", version: "5.0.0" });
      new TestBlocks(vpc, "e", { ephemeral: { aws_e: { vpc_e: {} } } });
      new TestResource(new TestModule(stack, "rds"), "main", "aws_db", { value: `\${${expression}}` });
    });
    const { outputs, call } = wiring(files);
    expect(Object.keys(outputs ?? {})).toEqual([name]);
    expect(outputs?.[name]).toMatchObject({ value });
    expect(call).toEqual({ source: "./modules/rds", [`vpc_${name}`]: `\${module.vpc.${name}}` });
    expect(files.modules.rds?.resource).toMatchObject({ aws_db: { main: { value: inside } } });
  });

  it("cross once however many use them", () => {
    const { modules } = emitted((stack) => {
      const vpc = new TestResource(new TestModule(stack, "vpc"), "main", "aws_vpc");
      for (const name of ["rds", "eks"]) {
        const module = new TestModule(stack, name);
        new TestResource(module, "a", "aws_a", { vpc: vpc.attribute("id"), again: [vpc.attribute("id")] });
        new TestResource(module, "b", "aws_b", { vpc: `\${upper("\${${"aws_vpc.vpc_main.id"}}")}` });
      }
      new TerraformOutput(stack, "vpc_id", { value: vpc.attribute("id") });
    });
    expect(modules.vpc?.output).toEqual({
      vpc_main_id: { description: "Read by module.eks, module.rds, the root.", value: "${aws_vpc.main.id}" },
    });
    expect(Object.keys(modules.rds?.variable as JsonObject)).toEqual(["vpc_vpc_main_id"]);
  });

  it("come from the root without an output", () => {
    const { root, modules } = emitted((stack) => {
      const bucket = new TestResource(stack, "logs", "aws_s3_bucket");
      new TestResource(new TestModule(stack, "alb"), "main", "aws_lb", { bucket: bucket.attribute("id") });
    });
    expect(root.module).toEqual({ alb: { source: "./modules/alb", s3_bucket_logs_id: "${aws_s3_bucket.logs.id}" } });
    expect(modules.alb?.variable).toEqual({ s3_bucket_logs_id: { description: "aws_s3_bucket.logs.id of the root." } });
  });

  it("are found in keys, nested blocks and lists", () => {
    const { modules } = emitted((stack) => {
      const vpc = new TestResource(new TestModule(stack, "vpc"), "main", "aws_vpc");
      new TestResource(new TestModule(stack, "rds"), "main", "aws_db", {
        map: { [vpc.attribute("arn")]: "x" },
        block: [{ inner: [{ list: [`a-${vpc.attribute("id")}`] }] }],
      });
    });
    expect(modules.rds?.resource).toMatchObject({
      aws_db: {
        main: { map: { "${var.vpc_vpc_main_arn}": "x" }, block: [{ inner: [{ list: ["a-${var.vpc_vpc_main_id}"] }] }] },
      },
    });
  });

  it("stay text where they are text", () => {
    const text = "aws_vpc.vpc_main.id $${aws_vpc.vpc_main.id} %%{ if aws_vpc.vpc_main.id }";
    const { modules } = emitted((stack) => {
      new TestResource(new TestModule(stack, "vpc"), "main", "aws_vpc");
      new TestResource(new TestModule(stack, "rds"), "main", "aws_db", { text });
    });
    expect(modules.vpc?.output).toBeUndefined();
    expect(modules.rds?.resource).toMatchObject({ aws_db: { main: { text } } });
  });

  it("mark what is ephemeral, also behind a local value", () => {
    const { modules } = emitted((stack) => {
      const secrets = new TestModule(stack, "secrets");
      new TestBlocks(secrets, "e", { ephemeral: { random_password: { secrets_e: { length: 8 } } } });
      new TerraformLocal(secrets, "l", "${ephemeral.random_password.secrets_e.result}");
      new TestResource(new TestModule(stack, "rds"), "main", "aws_db", { password_wo: "${local.secrets_l}" });
    });
    expect(modules.secrets?.output).toMatchObject({ local_l: { ephemeral: true } });
    expect(modules.rds?.variable).toMatchObject({ secrets_local_l: { ephemeral: true } });
  });

  it("get numbers where names would be the same, whatever the order", () => {
    const build = (ids: readonly string[]) =>
      emitted((stack) => {
        const vpc = new TestModule(stack, "vpc");
        const rds = new TestModule(stack, "rds");
        const resources: Record<string, TestResource> = {};
        for (const id of ids) {
          resources[id] = new TestResource(vpc, id, id === "b_c" ? "aws_a" : "aws_a_b");
        }
        for (const id of ids) {
          new TestResource(rds, id, "aws_db", { value: resources[id]?.attribute("d") });
        }
      });
    const one = build(["b_c", "c"]);
    expect(one).toEqual(build(["c", "b_c"]));
    expect(wiring(one).outputs).toMatchObject({
      a_b_c_d: { value: "${aws_a.b_c.d}" },
      a_b_c_d_2: { value: "${aws_a_b.c.d}" },
    });
    expect(wiring(one).call).toMatchObject({
      vpc_a_b_c_d: "${module.vpc.a_b_c_d}",
      vpc_a_b_c_d_2: "${module.vpc.a_b_c_d_2}",
    });
  });

  it("never lose their own name to one that needs a number", () => {
    const { modules } = emitted((stack) => {
      const vpc = new TestModule(stack, "vpc");
      const values = [
        new TestResource(vpc, "b_c", "aws_a").attribute("d"),
        new TestResource(vpc, "c", "aws_a_b").attribute("d"),
        new TestResource(vpc, "e", "aws_a_b_c_d_2").fqn,
        new TestResource(new Construct(vpc, "b"), "c_d", "aws_a").attribute("2"),
      ];
      new TestResource(new TestModule(stack, "rds"), "main", "aws_db", { values });
    });
    const outputs = modules.vpc?.output as Record<string, JsonObject>;
    expect(Object.fromEntries(Object.entries(outputs).map(([name, { value }]) => [name, value]))).toEqual({
      a_b_c_d: "${aws_a.b_c.d}",
      a_b_c_d_2: "${aws_a.b_c_d[2]}",
      a_b_c_d_3: "${aws_a_b.c.d}",
      a_b_c_d_2_e: "${aws_a_b_c_d_2.e}",
    });
  });

  it("never take the name of an argument of the call or of a root variable", () => {
    const { root, modules } = emitted((stack) => {
      const taken = new TerraformVariable(stack, "vpc_main_id", { type: "string" });
      const vpc = new TestResource(stack, "main", "aws_vpc");
      const each = new TestResource(stack, "each", "for");
      new TestResource(new TestModule(stack, "rds"), "main", "aws_db", {
        a: taken.stringValue,
        b: vpc.attribute("id"),
        c: each.fqn,
      });
    });
    expect((root.module as JsonObject).rds).toEqual({
      source: "./modules/rds",
      vpc_main_id: "${var.vpc_main_id}",
      vpc_main_id_2: "${aws_vpc.main.id}",
      for_each_2: "${for.each}",
    });
    expect(Object.keys(modules.rds?.variable as JsonObject).sort()).toEqual([
      "for_each_2",
      "vpc_main_id",
      "vpc_main_id_2",
    ]);
  });
});

describe("references within a module", () => {
  it("lose the module's prefix and nothing else", () => {
    const { modules } = emitted((stack) => {
      const vpc = new TestModule(stack, "vpc");
      const main = new TestResource(vpc, "main", "aws_vpc");
      new TerraformLocal(vpc, "name", "x");
      new TestResource(vpc, "a", "aws_subnet", {
        vpc: main.attribute("id"),
        name: '${join("-", [local.vpc_name, "aws_vpc.vpc_main.id", aws_vpc.vpc_main.tags[each.key]])}',
      });
    });
    expect(modules.vpc?.variable).toBeUndefined();
    expect(modules.vpc?.locals).toEqual({ name: "x" });
    expect(modules.vpc?.resource).toMatchObject({
      aws_subnet: {
        a: {
          vpc: "${aws_vpc.main.id}",
          name: '${join("-", [local.name, "aws_vpc.vpc_main.id", aws_vpc.main.tags[each.key]])}',
        },
      },
    });
  });

  it("leave what belongs to no block: loops, each, count, self, path.root", () => {
    const text =
      "${[for x in var_like.y : x.z]}${each.value}${count.index}${self.id}${path.root}${terraform.workspace}";
    const { modules } = emitted((stack) => {
      new TestResource(new TestModule(stack, "vpc"), "main", "aws_vpc", { text });
    });
    expect(modules.vpc?.resource).toMatchObject({ aws_vpc: { main: { text } } });
  });

  it("point path.module at the root, where it points without modules", () => {
    const { root, modules } = emitted((stack) => {
      const attributes = { file: '${file("${path.module}/assets/a")}', text: "path.module" };
      new TestResource(new TestModule(stack, "vpc"), "main", "aws_vpc", attributes);
      new TestResource(stack, "top", "aws_vpc", attributes);
    });
    expect(modules.vpc?.resource).toMatchObject({
      aws_vpc: { main: { file: '${file("${path.root}/assets/a")}', text: "path.module" } },
    });
    expect(root.resource).toMatchObject({ aws_vpc: { top: { file: '${file("${path.module}/assets/a")}' } } });
  });
});

describe("root variables", () => {
  it("keep name, type and marks in a module, and their validation in the root", () => {
    const { root, modules } = emitted((stack) => {
      const cidrs = new TerraformVariable(stack, "allowed_cidrs", {
        type: "list(string)",
        description: "Ranges that may enter.",
        sensitive: true,
        nullable: false,
        default: ["10.0.0.0/8"],
        validation: [{ condition: "${length(var.allowed_cidrs) > 0}", errorMessage: "Give one." }],
      });
      new TestResource(new TestModule(stack, "eks"), "main", "aws_eks_cluster", { cidrs: cidrs.listValue });
    });
    expect(modules.eks?.variable).toEqual({
      allowed_cidrs: { type: "list(string)", description: "Ranges that may enter.", sensitive: true, nullable: false },
    });
    expect(root.module).toEqual({ eks: { source: "./modules/eks", allowed_cidrs: "${var.allowed_cidrs}" } });
    expect(root.variable).toMatchObject({ allowed_cidrs: { default: ["10.0.0.0/8"], validation: [{}] } });
  });

  it("made in a module belong to the root all the same", () => {
    const { root, modules } = emitted((stack) => {
      const vpc = new TestModule(stack, "vpc");
      const cidr = new TerraformVariable(vpc, "cidr", { type: "string" });
      new TestResource(vpc, "main", "aws_vpc", { cidr: cidr.stringValue });
    });
    expect(root.variable).toEqual({ vpc_cidr: { type: "string" } });
    expect(modules.vpc?.variable).toEqual({
      vpc_cidr: { description: "Variable vpc_cidr of the root.", type: "string" },
    });
  });

  it("are no templates in their defaults and descriptions", () => {
    const { root } = emitted((stack) => {
      new TestResource(new TestModule(stack, "vpc"), "main", "aws_vpc");
      new TestBlocks(stack, "v", {
        variable: { v: { default: "${aws_vpc.vpc_main.id}", description: "${aws_vpc.vpc_main.id} ${" } },
      });
    });
    expect(root.variable).toEqual({
      v: { default: "${aws_vpc.vpc_main.id}", description: "${aws_vpc.vpc_main.id} ${" },
    });
  });
});

describe("outputs", () => {
  it("belong to the root, in its terms", () => {
    const { root } = emitted((stack) => {
      const vpc = new TestModule(stack, "vpc");
      const main = new TestResource(vpc, "main", "aws_vpc");
      new TerraformOutput(stack, "vpc_id", {
        value: main.attribute("id"),
        description: "${x} The VPC.",
        sensitive: true,
      });
      new TerraformOutput(vpc, "arn", { value: main.attribute("arn"), dependsOn: [main] });
    });
    expect(root.output).toEqual({
      vpc_id: { value: "${module.vpc.vpc_main_id}", description: "${x} The VPC.", sensitive: true },
      vpc_arn: { value: "${module.vpc.vpc_main_arn}", depends_on: ["module.vpc.vpc_main_ready"] },
    });
  });
});

describe("depends_on", () => {
  it("crosses as an output that waits and an input", () => {
    const files = emitted((stack) => {
      const vpc = new TestModule(stack, "vpc");
      const gateway = new TestResource(vpc, "igw", "aws_internet_gateway");
      new TestResource(vpc, "other", "aws_vpc");
      new TestResource(new TestModule(stack, "rds"), "main", "aws_db", {}, { dependsOn: [gateway] });
    });
    const { outputs, call, variables } = wiring(files);
    expect(outputs).toEqual({
      internet_gateway_igw_ready: {
        description: "Read by module.rds.",
        value: true,
        depends_on: ["aws_internet_gateway.igw"],
      },
    });
    expect(call).toMatchObject({ vpc_internet_gateway_igw_ready: "${module.vpc.internet_gateway_igw_ready}" });
    expect(variables).toEqual({
      vpc_internet_gateway_igw_ready: { description: "aws_internet_gateway.igw of module.vpc." },
    });
    expect(files.modules.rds?.resource).toMatchObject({
      aws_db: { main: { depends_on: ["var.vpc_internet_gateway_igw_ready"] } },
    });
  });

  it("on a whole module waits for all its resources through one input", () => {
    const files = emitted((stack) => {
      const vpc = new TestModule(stack, "vpc");
      new TestResource(new TestModule(stack, "rds"), "main", "aws_db", {}, { dependsOn: [vpc] });
      new TestResource(stack, "top", "aws_x", {}, { dependsOn: [vpc] });
      new TestResource(vpc, "b", "aws_b");
      new TestData(vpc, "a", "aws_a");
      new TerraformLocal(vpc, "l", 1);
    });
    expect(wiring(files).outputs).toEqual({
      ready: { description: "Read by module.rds, the root.", value: true, depends_on: ["aws_b.b", "data.aws_a.a"] },
    });
    expect(files.modules.rds?.resource).toMatchObject({ aws_db: { main: { depends_on: ["var.vpc_ready"] } } });
    expect(files.root.resource).toMatchObject({ aws_x: { top: { depends_on: ["module.vpc.ready"] } } });
  });

  it("on a whole module is one on every resource in the flat form", () => {
    const { flat } = render((stack) => {
      const vpc = new TestModule(stack, "vpc");
      new TestResource(stack, "top", "aws_x", {}, { dependsOn: [vpc] });
      new TestResource(vpc, "b", "aws_b");
      new TestData(vpc, "a", "aws_a");
    });
    expect(flat.resource).toMatchObject({ aws_x: { top: { depends_on: ["aws_b.vpc_b", "data.aws_a.vpc_a"] } } });
  });

  it("on something of the root passes it in", () => {
    const { root, modules } = emitted((stack) => {
      const bucket = new TestResource(stack, "logs", "aws_s3_bucket");
      new TestResource(new TestModule(stack, "alb"), "main", "aws_lb", {}, { dependsOn: [bucket] });
    });
    expect((root.module as JsonObject).alb).toMatchObject({ s3_bucket_logs: "${aws_s3_bucket.logs}" });
    expect(modules.alb?.resource).toMatchObject({ aws_lb: { main: { depends_on: ["var.s3_bucket_logs"] } } });
  });

  it("within a module stays a plain address, also when it was written as a template", () => {
    const { modules } = emitted((stack) => {
      const vpc = new TestModule(stack, "vpc");
      new TestResource(vpc, "a", "aws_a");
      new TestBlocks(vpc, "b", { resource: { aws_b: { vpc_b: { depends_on: ["${aws_a.vpc_a}", "aws_a.vpc_a"] } } } });
    });
    expect(modules.vpc?.resource).toMatchObject({ aws_b: { b: { depends_on: ["aws_a.a"] } } });
  });
});

describe("providers", () => {
  it("are required by the modules that use them, with source and version", () => {
    const { root, modules } = emitted((stack) => {
      new TestProvider(stack, "aws", "aws", undefined, "5.100.0");
      new TestProvider(stack, "random", "random", undefined, "3.7.2");
      stack.addOverride("terraform.required_version", ">= 1.10");
      new TestResource(new TestModule(stack, "vpc"), "main", "aws_vpc");
      new TestResource(new TestModule(stack, "secrets"), "main", "random_password");
      new TestResource(new TestModule(stack, "plain"), "main", "terraform_data");
    });
    expect(modules.vpc?.terraform).toEqual({
      required_providers: { aws: { source: "hashicorp/aws", version: "5.100.0" } },
    });
    expect(modules.secrets?.terraform).toEqual({
      required_providers: { random: { source: "hashicorp/random", version: "3.7.2" } },
    });
    expect(modules.plain?.terraform).toBeUndefined();
    expect(root.terraform).toMatchObject({
      required_version: ">= 1.10",
      required_providers: { aws: { source: "hashicorp/aws" }, random: { source: "hashicorp/random" } },
    });
    expect(root.module).toMatchObject({ vpc: { source: "./modules/vpc" } });
    expect((root.module as Record<string, JsonObject>).vpc).not.toHaveProperty("providers");
  });

  it("with an alias are passed by name, with the default one if it is used too", () => {
    const { root, modules } = emitted((stack) => {
      new TestProvider(stack, "aws", "aws");
      const us = new TestProvider(stack, "aws_us_east_1", "aws", "us_east_1");
      const cloudfront = new TestModule(stack, "cloudfront");
      new TestResource(cloudfront, "edge", "aws_lambda_function", {}, { provider: us });
      new TestResource(cloudfront, "main", "aws_cloudfront_distribution");
      new TestResource(new TestModule(stack, "waf"), "main", "aws_wafv2_web_acl", {}, { provider: us });
    });
    expect(root.module).toEqual({
      cloudfront: { source: "./modules/cloudfront", providers: { aws: "aws", "aws.us_east_1": "aws.us_east_1" } },
      waf: { source: "./modules/waf", providers: { "aws.us_east_1": "aws.us_east_1" } },
    });
    expect(modules.waf?.terraform).toEqual({
      required_providers: {
        aws: { source: "hashicorp/aws", version: "1.0.0", configuration_aliases: ["aws.us_east_1"] },
      },
    });
    expect(modules.waf?.resource).toMatchObject({ aws_wafv2_web_acl: { main: { provider: "aws.us_east_1" } } });
  });

  it("made in a module are configured in the root, with the module's values", () => {
    const { root, modules } = emitted((stack) => {
      const eks = new TestModule(stack, "eks");
      const cluster = new TestResource(eks, "main", "aws_eks_cluster");
      const provider = new TestProvider(eks, "helm", "helm");
      provider.addOverride("host", cluster.attribute("endpoint"));
    });
    expect(root.provider).toEqual({ helm: [{ host: "${module.eks.eks_cluster_main_endpoint}" }] });
    expect(modules.eks).not.toHaveProperty("provider");
  });

  it("are required where only their functions are called", () => {
    const { modules } = emitted((stack) => {
      new TestProvider(stack, "aws", "aws");
      new TerraformLocal(new TestModule(stack, "iam"), "account", '${provider::aws::arn_parse("x").account_id}');
    });
    expect(modules.iam?.terraform).toMatchObject({ required_providers: { aws: {} } });
  });
});

describe("module calls in a module", () => {
  it("keep registry sources and look for local ones two folders up", () => {
    const { modules } = emitted((stack) => {
      new TestProvider(stack, "aws", "aws");
      const vpc = new TestModule(stack, "vpc");
      const main = new TestResource(vpc, "main", "aws_vpc");
      const far = new TerraformHclModule(vpc, "far", {
        source: "terraform-aws-modules/vpc/aws",
        version: "5.0.0",
        variables: { id: main.attribute("id") },
      });
      new TestBlocks(vpc, "near", {
        module: { vpc_near: { source: "./assets/near", depends_on: [`module.${far.friendlyUniqueId}`] } },
      });
    });
    expect(withoutMetadata((modules.vpc as Record<string, JsonObject>).module?.far)).toEqual({
      source: "terraform-aws-modules/vpc/aws",
      version: "5.0.0",
      id: "${aws_vpc.main.id}",
    });
    expect((modules.vpc as Record<string, JsonObject>).module?.near).toEqual({
      source: "../../assets/near",
      depends_on: ["module.far"],
    });
  });

  it("fails when a call of the root has the name of a module", () => {
    const flat = {
      module: { vpc: { source: "x/y/z" } },
      resource: { aws_vpc: { vpc_main: {} } },
    };
    expect(() =>
      emit(flat, {
        boundaries: [{ callName: "vpc", directory: "vpc" }],
        owners: new Map([["aws_vpc.vpc_main", "vpc"]]),
      }),
    ).toThrow("module.vpc: both a module call of the root and a module of the stack");
  });
});

describe("moved, import, removed", () => {
  it("stand in the root with the addresses from there", () => {
    const { root, modules } = emitted((stack) => {
      const vpc = new TestModule(stack, "vpc");
      const main = new TestResource(vpc, "main", "aws_vpc");
      main.moveFromId("aws_vpc.old");
      new TestResource(vpc, "gone", "aws_subnet").moveToId("aws_subnet.vpc_new");
      new TestResource(vpc, "new", "aws_subnet");
      new TestResource(vpc, "many", "aws_eip");
      new TestBlocks(vpc, "blocks", {
        import: [
          {
            to: "aws_eip.vpc_many[each.key]",
            id: "${aws_vpc.vpc_main.id}",
            for_each: "${toset([aws_vpc.vpc_main.arn])}",
          },
        ],
        removed: [{ from: "module.vpc.aws_x.old", lifecycle: { destroy: false } }],
      });
    });
    expect(root.moved).toEqual([
      { from: "aws_vpc.old", to: "module.vpc.aws_vpc.main" },
      { from: "module.vpc.aws_subnet.gone", to: "module.vpc.aws_subnet.new" },
    ]);
    expect(root.import).toEqual([
      {
        to: "module.vpc.aws_eip.many[each.key]",
        id: "${module.vpc.vpc_main_id}",
        for_each: "${toset([module.vpc.vpc_main_arn])}",
      },
    ]);
    expect(root.removed).toEqual([{ from: "module.vpc.aws_x.old", lifecycle: { destroy: false } }]);
    expect(namesOf(modules.vpc, "aws_subnet")).toEqual(["new"]);
  });
});

describe("check blocks", () => {
  it("keep their own data sources and take other values in", () => {
    const { modules } = emitted((stack) => {
      const vpc = new TestResource(new TestModule(stack, "vpc"), "main", "aws_vpc");
      const rds = new TestModule(stack, "rds");
      new TestData(stack, "site", "http");
      new TestBlocks(rds, "health", {
        check: {
          rds_health: {
            data: { http: { site: { url: `https://${vpc.attribute("id")}` } } },
            assert: [
              { condition: "${data.http.site.status_code == 200}", error_message: "${data.http.site.url} is down" },
            ],
          },
        },
      });
    });
    expect(modules.rds?.check).toEqual({
      health: {
        data: { http: { site: { url: "https://${var.vpc_vpc_main_id}" } } },
        assert: [{ condition: "${data.http.site.status_code == 200}", error_message: "${data.http.site.url} is down" }],
      },
    });
  });
});

describe("lifecycle", () => {
  it("names triggers of the same module without prefix and leaves ignored attributes alone", () => {
    const { modules } = emitted((stack) => {
      const vpc = new TestModule(stack, "vpc");
      const a = new TestResource(vpc, "a", "aws_a");
      new TestResource(
        vpc,
        "b",
        "aws_b",
        {},
        {
          lifecycle: { replaceTriggeredBy: [a, "aws_a.vpc_a.id"], ignoreChanges: ["tags"], preventDestroy: true },
        },
      );
    });
    expect(modules.vpc?.resource).toMatchObject({
      aws_b: {
        b: {
          lifecycle: {
            replace_triggered_by: ["aws_a.a", "aws_a.a.id"],
            ignore_changes: ["tags"],
            prevent_destroy: true,
          },
        },
      },
    });
  });

  it("fails when a trigger is in another module, and says what to do", () => {
    expect(() =>
      render((stack) => {
        const a = new TestResource(new TestModule(stack, "vpc"), "a", "aws_a");
        new TestResource(new TestModule(stack, "rds"), "b", "aws_b", {}, { lifecycle: { replaceTriggeredBy: [a] } });
      }),
    ).toThrow(
      /aws_b\.rds_b: replace_triggered_by names aws_a\.vpc_a of module\.vpc; .*same module \(module\.rds\)\. .*terraform_data here whose triggers_replace/,
    );
  });
});

describe("what cannot be cut", () => {
  const flat = (blocks: JsonObject): JsonObject => ({ resource: { aws_a: { x_a: {} } }, ...blocks });
  const ownership = {
    boundaries: [
      { callName: "x", directory: "same" },
      { callName: "y", directory: "same" },
    ],
    owners: new Map([["aws_a.x_a", "x"]]),
  };

  it("fails with everything at once", () => {
    const broken = flat({
      output: { o: { value: "${aws:username}" } },
      data: { aws_b: { c: { lifecycle: { replace_triggered_by: ["aws_a.x_a"] }, text: "%{ if }" } } },
    });
    let problems: readonly string[] = [];
    try {
      emit(broken, ownership);
    } catch (error) {
      problems = error instanceof EmitError ? error.problems : [];
    }
    expect(problems).toEqual([
      "modules x and y would both be written to modules/same; give one of them another directory.",
      expect.stringContaining("data.aws_b.c: replace_triggered_by names aws_a.x_a of module.x"),
      expect.stringContaining('data.aws_b.c: not a valid template: unexpected "}" at character 7'),
      expect.stringContaining('output.o: not a valid template: unexpected ":" at character 6 of "${aws:username}"'),
    ]);
    expect(problems[3]).toContain("Escape a literal ${ as $${.");
  });
});

describe("purity", () => {
  it("leaves its input alone and gives the same result twice", () => {
    const { flat } = render((stack) => {
      const vpc = new TestResource(new TestModule(stack, "vpc"), "main", "aws_vpc");
      new TestResource(
        new TestModule(stack, "rds"),
        "main",
        "aws_db",
        { vpc: vpc.attribute("id") },
        { dependsOn: [vpc] },
      );
    });
    const before = JSON.stringify(flat);
    const ownership = {
      boundaries: [
        { callName: "vpc", directory: "vpc" },
        { callName: "rds", directory: "rds" },
      ],
      owners: new Map([
        ["aws_vpc.vpc_main", "vpc"],
        ["aws_db.rds_main", "rds"],
      ]),
    };
    const first = emit(flat, ownership);
    const second = emit(flat, ownership);
    expect(JSON.stringify(flat)).toBe(before);
    expect(second).toEqual(first);
  });
});
