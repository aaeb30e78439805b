import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LbListener } from "@cdktf/provider-aws/lib/lb-listener";
import { AwsProvider } from "@cdktf/provider-aws/lib/provider";
import { SecurityGroup } from "@cdktf/provider-aws/lib/security-group";
import { Wafv2WebAcl } from "@cdktf/provider-aws/lib/wafv2-web-acl";
import { TerraformIterator, TerraformVariable, Token } from "cdktf";
import { describe, expect, it } from "vitest";
import {
  Asset,
  exportHcl,
  formatHcl,
  hclOf,
  type JsonObject,
  ModularApp,
  ModularStack,
  printModule,
} from "../../../lib/terraform-modules";
import { filesBelow, render, scratchFolders, TestModule, TestProvider, TestResource } from "./support";

const scratch = scratchFolders();

function print(module: JsonObject): Record<string, string> {
  return Object.fromEntries(printModule(module, new Map()));
}

function printResource(body: JsonObject): string {
  return print({ resource: { aws_x: { y: body } } })["main.tf"] as string;
}

describe("arguments", () => {
  it.each<[string, JsonObject, string]>([
    ["text", { a: "b" }, 'a = "b"'],
    ["text with quotes and backslashes", { a: 'say "x" \\ y' }, 'a = "say \\"x\\" \\\\ y"'],
    ["text over lines without a newline at the end", { a: "x\ny\t" }, 'a = "x\\ny\\t"'],
    ["text of whole lines", { a: 'one\n"two" \\d ${var.x}\n' }, 'a = <<EOT\none\n"two" \\d ${var.x}\nEOT'],
    ["text that holds the marker", { a: "one\nEOT\n" }, "a = <<EOT_\none\nEOT\nEOT_"],
    ["one expression", { a: "${aws_a.b.c}" }, "a = aws_a.b.c"],
    ["an expression that strips", { a: "${~ aws_a.b.c ~}" }, "a = aws_a.b.c"],
    ["an expression over lines", { a: "${true ?\n1 : 2}" }, "a = (true ?\n  1 : 2)"],
    ["an expression over lines in parentheses", { a: "${(1 +\n2)}" }, "a = (1 +\n  2)"],
    ["two parentheses over lines", { a: "${(1) +\n(2)}" }, "a = ((1) +\n  (2))"],
    ["text around expressions", { a: 'a"${f("x")}"b' }, 'a = "a\\"${f("x")}\\"b"'],
    ["escapes of templates", { a: "$${a} %%{b} $x %y" }, 'a = "$${a} %%{b} $x %y"'],
    ["directives", { a: "%{ if true }a%{ endif }" }, 'a = "%{if true}a%{endif}"'],
    ["spaces in expressions", { a: '${jsonencode({"a"=1+2,b:[1,2]})}' }, 'a = jsonencode({ "a" = 1 + 2, b : [1, 2] })'],
    ["negation and subtraction", { a: "${-1 - -2 - (-3)}" }, "a = -1 - -2 - (-3)"],
    ["loops", { a: "${[for x in[1]: x if!x]}" }, "a = [for x in [1] : x if !x]"],
    ["functions of providers", { a: "${provider :: aws :: arn_parse( x )}" }, "a = provider::aws::arn_parse(x)"],
    ["numbers, truth and nothing", { a: 1.5, b: true, c: null }, "a = 1.5\n  b = true\n  c = null"],
    ["a short list", { a: ["x", 1, "${b.c}"] }, 'a = ["x", 1, b.c]'],
    ["an empty list and object", { a: [], b: {} }, "a = []\n  b = {}"],
    ["an object", { a: { b: 1, long_name: "x" } }, 'a = {\n    b         = 1\n    long_name = "x"\n  }'],
    ["a list of objects", { a: [{ b: 1 }] }, "a = [\n    {\n      b = 1\n    },\n  ]"],
    [
      "keys that are no names",
      { a: { "aws:x": 1, "1a": 2, for: 3, null: 4, "${b.c}": 5, "x-${b.c}": 6, "a-b": 7 } },
      'a = {\n    (b.c)      = 5\n    "1a"       = 2\n    a-b        = 7\n    "aws:x"    = 1\n    "for"      = 3\n    "null"     = 4\n    "x-${b.c}" = 6\n  }',
    ],
  ])("%s", (_name, body, text) => {
    expect(printResource(body)).toBe(`resource "aws_x" "y" {\n  ${text}\n}\n`);
  });

  it("align where lines are neighbours, and stand apart where they span lines", () => {
    expect(printResource({ name: "n", a: 1, tags: { x: 1 }, long_name: "m", depends_on: ["aws_a.b"] })).toBe(
      [
        'resource "aws_x" "y" {',
        "  a         = 1",
        '  long_name = "m"',
        '  name      = "n"',
        "",
        "  tags = {",
        "    x = 1",
        "  }",
        "",
        "  depends_on = [aws_a.b]",
        "}",
        "",
      ].join("\n"),
    );
  });

  it("break lists that are long", () => {
    const items = Array.from({ length: 10 }, (_, index) => `a-rather-long-item-${index}`);
    expect(printResource({ a: items })).toContain('  a = [\n    "a-rather-long-item-0",\n');
  });

  it("count characters as readers do when they align", () => {
    expect(printResource({ tags: { 한글: 1, "e\u0301": 2, abc: 3 } })).toContain(
      '    abc  = 3\n    "e\u0301"  = 2\n    "한글" = 1\n',
    );
  });
});

describe("blocks that Terraform itself defines", () => {
  it("have names without quotes where Terraform wants references", () => {
    expect(
      printResource({
        provider: "aws.us",
        count: 2,
        lifecycle: {
          ignore_changes: ["tags"],
          replace_triggered_by: ["aws_a.b"],
          precondition: [{ condition: "${var.x}", error_message: "No." }],
        },
        provisioner: [{ "local-exec": { command: "true", when: "destroy", on_failure: "continue" } }],
        connection: { host: "h" },
        dynamic: { setting: { for_each: "${var.s}", iterator: "each", content: { name: "${each.value}" } } },
        depends_on: ["aws_a.b", "module.c"],
      }),
    ).toBe(`resource "aws_x" "y" {
  count    = 2
  provider = aws.us

  connection {
    host = "h"
  }

  dynamic "setting" {
    for_each = var.s
    iterator = each

    content {
      name = each.value
    }
  }

  provisioner "local-exec" {
    command    = "true"
    on_failure = continue
    when       = destroy
  }

  lifecycle {
    ignore_changes       = [tags]
    replace_triggered_by = [aws_a.b]

    precondition {
      condition     = var.x
      error_message = "No."
    }
  }

  depends_on = [aws_a.b, module.c]
}
`);
  });

  it("go to the files where people look for them", () => {
    const files = print({
      "//": { metadata: {} },
      terraform: {
        required_version: ">= 1.10",
        required_providers: { aws: { source: "hashicorp/aws", version: "5", configuration_aliases: ["aws.us"] } },
        backend: { s3: { bucket: "b", key: "${literal}" } },
      },
      provider: { aws: [{ region: "x" }, { alias: "us", region: "${var.r}" }] },
      variable: {
        r: {
          type: "list",
          default: ["${literal}"],
          description: 'A "region".',
          validation: [{ condition: "${var.r != []}", error_message: "No." }],
        },
      },
      locals: { a: "${var.r}" },
      module: { vpc: { source: "./modules/vpc", providers: { "aws.us": "aws.us", aws: "aws" }, x: "${local.a}" } },
      check: { c: { data: { http: { h: { url: "u" } } }, assert: [{ condition: true, error_message: "No." }] } },
      moved: [{ from: "aws_a.b", to: "module.vpc.aws_a.b" }],
      import: [{ to: "aws_a.c", id: "x" }],
      removed: [{ from: "aws_a.d", lifecycle: { destroy: false } }],
      output: { o: { value: "${local.a}", description: "${literal}", sensitive: true, depends_on: ["module.vpc"] } },
    });
    expect(files).toEqual({
      "terraform.tf": `terraform {
  required_version = ">= 1.10"

  backend "s3" {
    bucket = "b"
    key    = "$\${literal}"
  }

  required_providers {
    aws = {
      source                = "hashicorp/aws"
      version               = "5"
      configuration_aliases = [aws.us]
    }
  }
}
`,
      "providers.tf": `provider "aws" {
  region = "x"
}

provider "aws" {
  alias  = "us"
  region = var.r
}
`,
      "variables.tf": `variable "r" {
  description = "A \\"region\\"."
  type        = list(any)
  default     = ["$\${literal}"]

  validation {
    condition     = var.r != []
    error_message = "No."
  }
}
`,
      "main.tf": `locals {
  a = var.r
}

module "vpc" {
  source = "./modules/vpc"

  providers = {
    aws    = aws
    aws.us = aws.us
  }

  x = local.a
}

check "c" {
  assert {
    condition     = true
    error_message = "No."
  }

  data "http" "h" {
    url = "u"
  }
}

moved {
  from = aws_a.b
  to   = module.vpc.aws_a.b
}

import {
  id = "x"
  to = aws_a.c
}

removed {
  from = aws_a.d

  lifecycle {
    destroy = false
  }
}
`,
      "outputs.tf": `output "o" {
  description = "$\${literal}"
  value       = local.a
  sensitive   = true

  depends_on = [module.vpc]
}
`,
    });
  });
});

describe("blocks of providers", () => {
  const files = (build: (stack: ModularStack) => void): Record<string, string> =>
    Object.fromEntries([...hclOf(render(build))].map(([path, content]) => [path, content.toString()]));

  it("are told from arguments by what the bindings know", () => {
    const { "modules/alb/main.tf": main, "providers.tf": providers } = files((stack) => {
      new AwsProvider(stack, "aws", {
        region: "x",
        defaultTags: [{ tags: { a: "b" } }],
        ignoreTags: [{ keys: ["k"] }],
      });
      new LbListener(new TestModule(stack, "alb"), "https", {
        loadBalancerArn: "lb",
        tags: { a: "b" },
        defaultAction: [{ type: "forward", forward: { targetGroup: [{ arn: "t1" }, { arn: "t2", weight: 2 }] } }],
        timeouts: { create: "5m" },
      });
    });
    expect(main).toBe(`resource "aws_lb_listener" "https" {
  load_balancer_arn = "lb"

  tags = {
    a = "b"
  }

  default_action {
    type = "forward"

    forward {
      target_group {
        arn = "t1"
      }

      target_group {
        arn    = "t2"
        weight = 2
      }
    }
  }

  timeouts {
    create = "5m"
  }
}
`);
    expect(providers).toContain('  default_tags {\n    tags = {\n      a = "b"\n    }\n  }\n');
  });

  it("are taken for blocks where the bindings leave deep nesting open, and where an override puts lists of objects", () => {
    const { "main.tf": main } = files((stack) => {
      new AwsProvider(stack, "aws", {});
      const visibilityConfig = { cloudwatchMetricsEnabled: true, metricName: "m", sampledRequestsEnabled: true };
      const acl = new Wafv2WebAcl(stack, "main", {
        scope: "REGIONAL",
        defaultAction: { allow: {} },
        visibilityConfig,
        rule: [
          {
            name: "r",
            priority: 1,
            visibilityConfig,
            statement: { byte_match_statement: [{ search_string: "x", field_to_match: [{ uri_path: [{}] }] }] },
          },
        ],
      });
      acl.addOverride("association_config", [{ request_body: [{ api_gateway: [{ limit: "KB_16" }] }] }]);
    });
    expect(main).toContain(`
    statement {
      byte_match_statement {
        search_string = "x"

        field_to_match {
          uri_path {}
        }
      }
    }
`);
    expect(main).toContain(`
  association_config {
    request_body {
      api_gateway {
        limit = "KB_16"
      }
    }
  }
`);
  });

  it("stay blocks when they are dynamic, and arguments when one expression makes them all", () => {
    const { "main.tf": main } = files((stack) => {
      new AwsProvider(stack, "aws", {});
      const ports = new TerraformVariable(stack, "ports", { type: "set(number)" });
      const iterator = TerraformIterator.fromList(ports.listValue);
      new LbListener(stack, "dynamic", {
        loadBalancerArn: "lb",
        defaultAction: iterator.dynamic({ type: "forward", order: iterator.value }) as never,
      });
      new SecurityGroup(stack, "expression", { ingress: Token.asAny("${var.ports}") as never });
    });
    expect(main).toContain(`  dynamic "default_action" {
    for_each = toset(var.ports)
    iterator = each

    content {
      order = each.value
      type  = "forward"
    }
  }
`);
    expect(main).toContain("  ingress = var.ports\n");
  });
});

describe("the export", () => {
  const build = (outdir: string): ModularApp => {
    const app = new ModularApp({ outdir });
    const stack = new ModularStack(app, "prod");
    new TestProvider(stack, "aws", "aws");
    const vpc = new TestResource(new TestModule(stack, "vpc"), "main", "aws_vpc");
    new TestResource(new TestModule(stack, "rds"), "main", "aws_db", { vpc: vpc.attribute("id") });
    new Asset(stack, "page", { fileName: "index.html", content: "x" });
    return app;
  };

  it("writes folders of environments with modules and assets, and not the synth's output", () => {
    const folder = scratch();
    const outdir = join(folder, "cdktf.out");
    expect(exportHcl(build(outdir), join(folder, "hcl"))).toEqual([join(folder, "hcl/environments/prod")]);
    expect(Object.keys(filesBelow(join(folder, "hcl")))).toEqual(
      [
        "assets/page/2d711642b726b044/index.html",
        "main.tf",
        "modules/rds/main.tf",
        "modules/rds/terraform.tf",
        "modules/rds/variables.tf",
        "modules/vpc/main.tf",
        "modules/vpc/outputs.tf",
        "modules/vpc/terraform.tf",
        "providers.tf",
        "terraform.tf",
      ].map((path) => `environments/prod/${path}`),
    );
    expect(existsSync(outdir)).toBe(false);
  });

  it("removes what is stale and leaves Terraform's files and variables of people alone", () => {
    const folder = scratch();
    exportHcl(build("unused"), folder);
    const before = filesBelow(folder);
    const kept = ["terraform.tfstate", ".terraform.lock.hcl", "terraform.tfvars", "offline_override.tf"];
    for (const name of [...kept, "outputs.tf", "modules/old/main.tf"]) {
      mkdirSync(join(folder, "environments/prod", name, ".."), { recursive: true });
      writeFileSync(join(folder, "environments/prod", name), "");
    }
    exportHcl(build("unused"), folder);
    expect(filesBelow(folder)).toEqual({
      ...before,
      ...Object.fromEntries(kept.map((name) => [`environments/prod/${name}`, ""])),
    });
  });
});

describe("the formatter", () => {
  it("does not change what it formatted", () => {
    const text = 'a   =   {\nb=1\n  ccc =[ 1,2 ]\n}\nd = "x-${ f( a ) }"\nresource "x" "y" {}\n';
    const once = formatHcl(text);
    expect(once).toBe('a = {\n  b   = 1\n  ccc = [1, 2]\n}\nd = "x-${f(a)}"\nresource "x" "y" {}\n');
    expect(formatHcl(once)).toBe(once);
  });
});
