import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { deterministicZip } from "../../../lib/lambda-bundle/zip";
import { readDependencies, readSynth } from "../../../tools/plan-comments/files";
import { largePlan } from "../../../tools/plan-comments/large-plan";
import { render } from "../../../tools/plan-comments/render";
import {
  compareStacks,
  inDependencyOrder,
  markerOf,
  outlineOf,
  parsePlan,
  Redactor,
  readMarker,
  readMemory,
  renderComment,
  reportOf,
  unpackMemory,
} from "../../../tools/plan-comments/render/index";
import { bodyBytes } from "../../../tools/plan-comments/render/markdown";
import type { JsonObject } from "../../../tools/plan-comments/render/plan";
import { change, FIXTURES, fixture, fixtureText, planOf, rendered, resource } from "./fixture";
import { problemsOf } from "./markdown-check";

const created = (address: string, values: JsonObject = { name: "x" }) =>
  resource(address, change(["create"], null, values));
const folders: string[] = [];
const folder = () => {
  const made = mkdtempSync(join(tmpdir(), "plan-render-"));
  folders.push(made);
  return made;
};
afterEach(() => {
  for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true });
});

describe("plan formats", () => {
  it.each([
    [
      "another major version",
      '{"format_version":"2.0","resource_changes":[]}',
      /plan format 2\.0; this renderer reads 1\.x/,
    ],
    ["no version", '{"resource_changes":[]}', /no format_version/],
    ["a state", '{"format_version":"1.0","values":{}}', /is a state, not a plan/],
    ["text that is not JSON", '{"password": "hunter2-secret"', /is not JSON/],
    ["a list", "[]", /not a JSON object/],
  ])("fails on %s", (_, text, message) => {
    expect(() => parsePlan(text)).toThrow(message);
    expect(() => parsePlan(text)).not.toThrow(/hunter2/);
  });

  it("fails on changes without their parts, naming all of them", () => {
    const text = JSON.stringify({
      format_version: "1.2",
      resource_changes: [{ address: "a.b" }, 7],
      output_changes: { o: { actions: [] } },
    });
    expect(() => parsePlan(text)).toThrow(
      /resource_changes\[0\]\.mode[\s\S]*resource_changes\[1\][\s\S]*output_changes\.o\.actions/,
    );
  });

  it("reads a newer minor version and unknown sections, and says so", () => {
    const { full } = rendered(
      planOf([created("aws_x.a")], { format_version: "1.9", action_invocations: [{ address: "action.x" }] }),
    );
    expect(full).toContain("Plan format 1.9 is newer than 1.2");
    expect(full).toContain("has a section `action_invocations` that this renderer does not know");
  });

  it("shows an action it does not know, loudly", () => {
    const { full, summary } = rendered(planOf([resource("aws_x.a", change(["melt", "freeze"], { a: 1 }, { a: 2 }))]));
    expect(summary).toBe("1 with an unknown action");
    expect(full).toContain("[!CAUTION]");
    expect(full).toContain("Terraform says melt + freeze");
  });

  it("replaces by leaving the old one running where Terraform forgets it", () => {
    const { full, summary } = rendered(planOf([resource("aws_x.a", change(["create", "forget"], { a: 1 }, { a: 2 }))]));
    expect(summary).toBe("1 to replace");
    expect(full).toContain("the old one is left running");
  });

  // Synthetic: Terraform 1.11 makes deferred changes only in experimental builds.
  it("tells what is put off, and that the plan is not complete", () => {
    const later = resource("module.eks.kubernetes_namespace.app", change(["create"], null, { name: "urr" }));
    const { full, summary } = rendered(
      planOf([created("aws_x.a")], {
        complete: false,
        deferred_changes: [{ reason: "provider_config_unknown", resource_change: later }],
      }),
    );
    expect(summary).toBe("1 to add, 1 put off");
    expect(full).toContain("**This plan is not complete:** 1 change put off.");
    expect(full).toContain(
      "- create `module.eks.kubernetes_namespace.app`: its provider's configuration is known only after apply",
    );
  });
});

describe("folding of noise", () => {
  const update = (before: JsonObject, after: JsonObject, more: JsonObject = {}) =>
    rendered(planOf([resource("aws_x.a", change(["update"], before, after, more))])).full;

  it("folds tags_all, defaults and the form of JSON, each by name", () => {
    const text = update(
      { tags: { A: "1" }, tags_all: { A: "1" }, flag: null, policy: '{"a":1,"b":[2]}', size: 1 },
      { tags: { A: "2" }, tags_all: { A: "2" }, flag: false, policy: '{ "b": [2], "a": 1 }', size: 2 },
    );
    expect(text).toContain('! tags.A: "1" → "2"');
    expect(text).toContain("! size: 1 → 2");
    expect(text).not.toMatch(/^[!+-] (?:tags_all|flag|policy)/m);
    expect(text).toContain("# folded: flag null → false, policy differs in form only, tags_all repeats tags");
  });

  it("shows a tag that only the provider's defaults change", () => {
    expect(update({ tags: {}, tags_all: { Team: "a" } }, { tags: {}, tags_all: { Team: "b" } })).toContain(
      '! tags_all.Team: "a" → "b"',
    );
  });

  it("shows members of lists that come and go, and a changed order as such", () => {
    const text = update({ zones: ["a", "b"], order: ["x", "y"] }, { zones: ["b", "c"], order: ["y", "x"] });
    expect(text).toContain('- zones: "a"');
    expect(text).toContain('+ zones: "c"');
    expect(text).toContain("! order: the same members in another order");
  });

  it("pairs blocks by their names", () => {
    const text = update(
      {
        rule: [
          { name: "one", weight: 1 },
          { name: "two", weight: 2 },
        ],
      },
      {
        rule: [
          { name: "two", weight: 3 },
          { name: "one", weight: 1 },
          { name: "three", weight: 9 },
        ],
      },
    );
    expect(text).toContain("! rule[0].weight: 2 → 3");
    expect(text).toContain('+ rule: {name: "three", weight: 9}');
    expect(text).not.toContain('"one"');
  });

  it("diffs texts by their lines", () => {
    expect(update({ t: "a\nb\nc" }, { t: "a\nB\nc" })).toContain("! t: text\n-     b\n+     B\n");
  });

  it("shows what becomes unknown and forces a replacement", () => {
    const changed = change(
      ["delete", "create"],
      { subnet: "old" },
      {},
      { after_unknown: { subnet: true }, replace_paths: [["subnet"]] },
    );
    const { full } = rendered(
      planOf([resource("aws_x.a", changed, { action_reason: "replace_because_cannot_update" })]),
    );
    expect(full).toContain('! subnet: "old" → (known after apply)  # forces replacement');
  });
});

describe("renames", () => {
  it("names a pair that is equal in every known value, and nothing else", () => {
    const gone = (name: string, values: JsonObject) => resource(`aws_subnet.${name}`, change(["delete"], values, null));
    const made = (name: string, values: JsonObject) =>
      resource(`aws_subnet.${name}`, change(["create"], null, values, { after_unknown: { id: true } }));
    const { full } = rendered(
      planOf([
        gone("a", { id: "s-1", cidr: "10.0.1.0/24", zone: "a" }),
        gone("b", { id: "s-2", cidr: "10.0.2.0/24", zone: "b" }),
        made("app_a", { cidr: "10.0.1.0/24", zone: "a" }),
        made("other", { cidr: "10.0.9.0/24", zone: "b" }),
      ]),
    );
    expect(full).toContain("from = aws_subnet.a\n  to   = aws_subnet.app_a");
    expect(full).not.toContain("from = aws_subnet.b");
  });

  it("says so where others fit too", () => {
    const values = { cidr: "10.0.1.0/24" };
    const { full } = rendered(
      planOf([
        resource("aws_x.old", change(["delete"], values, null)),
        created("aws_x.p", values),
        created("aws_x.q", values),
      ]),
    );
    expect(full).toContain("(others fit too: check)");
  });
});

describe("size", () => {
  const plans = ["mixed", "aws"].map((name) => JSON.parse(fixtureText(name)) as JsonObject);

  it("splits 5,000 changes into numbered bodies under the budget, each a whole document, and loses no address", () => {
    const raw = largePlan(plans, 5_000);
    const { bodies } = rendered(planOf(raw.resource_changes as unknown as JsonObject[]));
    expect(bodies.length).toBeGreaterThan(1);
    expect(bodies.length).toBeLessThanOrEqual(8);
    bodies.forEach((body, index) => {
      expect(readMarker(body)).toEqual({ stack: "prod", part: index + 1 });
      expect(bodyBytes(body)).toBeLessThanOrEqual(60_000);
    });
    for (const body of bodies.slice(0, 2)) expect(problemsOf(body)).toEqual([]);
    const text = bodies.join("\n");
    const lost = (raw.resource_changes as unknown as JsonObject[]).filter(
      (item) => !text.includes(`${item.type}.${item.name}`),
    );
    expect(lost).toEqual([]);
    expect(bodies[0]).toContain("Details are left out here");
  });

  it("leaves out details before it splits", () => {
    const many = Array.from({ length: 70 }, (_, index) =>
      resource(
        `aws_x.r${index}`,
        change(
          ["update"],
          { text: `${"lorem ipsum ".repeat(12)}${index}`, ...wide(index) },
          { text: "y", ...wide(index + 1) },
        ),
      ),
    );
    const { bodies, full } = rendered(planOf(many));
    expect(bodies).toHaveLength(1);
    expect(bodies[0]).toContain("more lines");
    expect(full.length).toBeGreaterThan(bodies[0]?.length ?? 0);
    expect(full).not.toContain("more lines");
  });

  const wide = (from: number): JsonObject =>
    Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`key_${index}`, `v${from + index}`]));

  it("keeps one enormous change under the budget", () => {
    const text = (sign: string) =>
      Array.from({ length: 3_000 }, (_, index) => `${sign} line ${index} 한국어 "quoted"`).join("\n");
    const { bodies } = rendered(
      planOf([resource("aws_x.a", change(["update"], { data: text("a"), wide: "w" }, { data: text("b"), wide: "v" }))]),
    );
    for (const body of bodies) expect(bodyBytes(body)).toBeLessThanOrEqual(60_000);
    expect(bodies.join("")).toContain("aws_x.a");
  });

  it("says loudly what even eight bodies do not hold", () => {
    const long = Array.from({ length: 3_000 }, (_, index) => created(`aws_x.${"n".repeat(250)}${index}`));
    const { bodies, full } = rendered(planOf(long));
    expect(bodies).toHaveLength(8);
    expect(bodies.at(-1)).toMatch(/\[!WARNING\]\n> \d+ more pieces of this plan did not fit/);
    expect(full).toContain(`${"n".repeat(250)}2999`);
  });
});

describe("comparison", () => {
  const report = (stack: string, resources: readonly JsonObject[]) => {
    const plan = planOf(resources);
    return reportOf(stack, plan, Redactor.forPlans([plan]));
  };

  it("says which changes staging and prod have in common", () => {
    const change1 = resource("module.vpc.aws_x.a", change(["update"], { size: 1 }, { size: 2 }));
    const prod = report("prod", [change1, created("module.vpc.aws_x.b"), created("module.ecr.aws_x.c")]);
    const staging = report("staging", [
      resource("module.vpc.aws_x.a", change(["update"], { size: 8 }, { size: 9 })),
      created("module.vpc.aws_x.b"),
    ]);
    expect(compareStacks(outlineOf(prod), outlineOf(staging))).toMatchObject({ same: 2, onlyRight: [], different: [] });
    const redactor = new Redactor();
    expect(renderComment(prod, redactor, { sibling: outlineOf(staging) }).bodies[0]).toContain(
      "- **Beside `staging`:** the same 2 changes, 1 only in `prod`",
    );
  });

  it("remembers the plan in its comment and says what changed since", () => {
    const first = rendered(planOf([created("aws_x.a"), created("aws_x.b"), created("aws_x.c", { v: 1 })]), {
      head: "aaaaaaaaaa",
    });
    const memory = unpackMemory(readMemory(first.bodies[0] ?? "") ?? "");
    const second = rendered(planOf([created("aws_x.a"), created("aws_x.c", { v: 2 }), created("aws_x.d")]), {
      head: "bbbbbbbbbb",
      ...(memory ? { previous: memory } : {}),
    });
    expect(second.bodies[0]).toContain("- **Since the last plan (`aaaaaaa`):** 1 new, 1 changed, 1 gone, 1 as before");
  });

  it("takes a memory that is not one for none", () => {
    for (const text of ["", "AAAA", "not base64 !", Buffer.from("{}").toString("base64url")])
      expect(unpackMemory(text)).toBeUndefined();
  });

  it("orders stacks by dependency and fails on a circle", () => {
    expect(
      inDependencyOrder({ prod: ["bootstrap"], "prod-platform": ["prod"], bootstrap: [], staging: ["bootstrap"] }),
    ).toEqual(["bootstrap", "staging", "prod", "prod-platform"]);
    expect(() => inDependencyOrder({ a: ["b"], b: ["a"] })).toThrow("a → b → a");
  });

  it("reads a marker only on the first line", () => {
    expect(readMarker(`${markerOf("prod", 3)}\ntext`)).toEqual({ stack: "prod", part: 3 });
    expect(readMarker(`> ${markerOf("prod", 1)}`)).toBeUndefined();
    expect(readMarker(`hello\n${markerOf("prod", 1)}`)).toBeUndefined();
  });
});

describe("access", () => {
  const tables = (resources: readonly JsonObject[], more: JsonObject = {}) =>
    rendered(planOf(resources, more))
      .full.split("\n")
      .filter((line) => /^\| [＋－]/.test(line));

  it("reports only what a changed policy adds and takes away", () => {
    const policy = (actions: readonly string[]) =>
      JSON.stringify({ Statement: { Effect: "Allow", Action: [...actions], Resource: "arn:aws:s3:::b/*" } });
    const lines = tables([
      resource(
        "aws_iam_role_policy.p",
        change(
          ["update"],
          { role: "r", policy: policy(["s3:GetObject", "s3:ListBucket"]) },
          { role: "r", policy: policy(["s3:PutObject", "s3:GetObject"]) },
        ),
      ),
    ]);
    expect(lines).toEqual([
      "| ＋ | `r` | `s3:PutObject` | `arn:aws:s3:::b/*` |",
      "| － | `r` | `s3:ListBucket` | `arn:aws:s3:::b/*` |",
    ]);
  });

  it("reads policies that are unknown as a whole from the configuration, with references followed", () => {
    const template = JSON.stringify({
      Statement: [{ Effect: "Allow", Action: "sqs:SendMessage", Resource: "${var.queue_arn}" }],
    });
    const lines = tables(
      [
        resource(
          "module.worker.aws_iam_role_policy.p",
          change(["create"], null, { role: "worker" }, { after_unknown: { policy: true } }),
          { module_address: "module.worker" },
        ),
      ],
      {
        configuration: {
          root_module: {
            module_calls: {
              worker: {
                source: "./modules/lambda-worker",
                expressions: { queue_arn: { references: ["module.sqs.arn", "module.sqs"] } },
                module: {
                  resources: [
                    {
                      address: "aws_iam_role_policy.p",
                      mode: "managed",
                      type: "aws_iam_role_policy",
                      name: "p",
                      expressions: { policy: { constant_value: template, references: ["var.queue_arn"] } },
                    },
                  ],
                },
              },
              sqs: {
                module: {
                  outputs: { arn: { expression: { references: ["aws_sqs_queue.q.arn", "aws_sqs_queue.q"] } } },
                },
              },
            },
          },
        },
      },
    );
    expect(lines).toEqual(["| ＋ | `worker` | `sqs:SendMessage` | `module.sqs.aws_sqs_queue.q` |"]);
  });

  it("names what it could not look into", () => {
    const { full } = rendered(
      planOf([
        resource("aws_iam_role_policy.p", change(["create"], null, { role: "r" }, { after_unknown: { policy: true } })),
        created("aws_network_acl.n"),
      ]),
    );
    expect(full).toContain(
      "Not analysed: `aws_iam_role_policy.p (policy is known only after apply)`, `aws_network_acl.n (aws_network_acl is not read here)`.",
    );
  });

  it.each([
    ["anyone", { Effect: "Allow", Principal: "*", Action: "s3:GetObject", Resource: "arn:aws:s3:::b/*" }, "anyone"],
    ["every action", { Effect: "Allow", Action: "*", Resource: "*" }, "every action"],
    ["passing roles", { Effect: "Allow", Action: "iam:PassRole", Resource: "*" }, "can raise its own rights"],
    ["NotAction", { Effect: "Allow", NotAction: "iam:*", Resource: "*" }, "all other actions"],
  ])("warns of a statement that allows %s", (_, statement, risk) => {
    expect(
      tables([created("aws_iam_policy.p", { name: "p", policy: JSON.stringify({ Statement: [statement] }) })])[0],
    ).toContain(`**⚠ ${risk}**`);
  });

  it("does not warn of a statement that denies", () => {
    const statement = { Effect: "Deny", Principal: "*", Action: "*", Resource: "*" };
    expect(
      tables([
        created("aws_s3_bucket_policy.p", { bucket: "b", policy: JSON.stringify({ Statement: [statement] }) }),
      ])[0],
    ).toBe("| ＋ | `*` | `deny *` | `*` |");
  });
});

describe("Lambda bundles and previews", () => {
  const synth = (code: string, filename = "assets/api.zip", more: JsonObject = {}) => {
    const made = folder();
    const home = join(made, "stacks/prod");
    mkdirSync(join(home, "assets"), { recursive: true });
    mkdirSync(join(home, "modules/lambda-vwr"), { recursive: true });
    const zip = deterministicZip({
      "index.js": Buffer.from(`// lambdas/vwr-api/index.ts\nhandler();\n// lambdas/vwr-api/token.ts\n${code}\n`),
    });
    writeFileSync(join(home, filename), zip);
    const hash = createHash("sha256").update(zip).digest("base64");
    writeFileSync(join(made, "manifest.json"), JSON.stringify({ stacks: { prod: { dependencies: [] } } }));
    writeFileSync(
      join(home, "cdk.tf.json"),
      JSON.stringify({ module: { lambda_vwr: { source: "./modules/lambda-vwr" } }, ...more }),
    );
    const lambda = {
      function_name: "urr-prod-vwr-api",
      filename,
      source_code_hash: hash,
      password: "plain-text-here",
      "//": { metadata: { path: "prod/lambda-vwr/api" } },
    };
    writeFileSync(
      join(home, "modules/lambda-vwr/main.tf.json"),
      JSON.stringify({ resource: { aws_lambda_function: { api: lambda } } }),
    );
    return { folder: made, hash, bytes: zip.length };
  };

  it("names the source files that changed a function, with the sizes of its bundle", () => {
    const [base, head] = [synth("sign(1)"), synth("sign(22222)")];
    const plan = planOf([
      resource(
        "module.lambda_vwr.aws_lambda_function.api",
        change(
          ["update"],
          { function_name: "f", filename: "assets/api.zip", source_code_hash: base.hash },
          { function_name: "f", filename: "assets/api.zip", source_code_hash: head.hash },
        ),
      ),
    ]);
    const redactor = Redactor.forPlans([plan]);
    const [baseSynth, headSynth] = [readSynth(base.folder).prod, readSynth(head.folder).prod];
    const { full } = renderComment(
      reportOf("prod", plan, redactor, headSynth),
      redactor,
      baseSynth ? { baseSynth } : {},
    );
    expect(full).toContain(`| \`f\` | ${base.bytes} B → ${head.bytes} B | \`lambdas/vwr-api/token.ts\` |`);
  });

  it("previews two synthesized configurations without plan or credentials, and hides what its name gives away", () => {
    const [base, head] = [synth("a"), synth("b")];
    const { stdout, code } = render(["--preview", "--synth", head.folder, "--base-synth", base.folder]);
    expect(code).toBe(0);
    expect(stdout).toContain("## Preview of `prod`: 1 to change");
    expect(stdout).toContain("no state was read and nothing was planned");
    expect(stdout).toContain("`lambdas/vwr-api/token.ts`");
    expect(stdout).not.toContain("plain-text-here");
    expect(stdout).not.toContain("cdktf apply");
    expect(problemsOf(stdout)).toEqual([]);
  });

  it("knows moved blocks in a preview", () => {
    const base = synth("a");
    const head = synth("a", "assets/api.zip", {
      moved: [
        { from: "module.lambda_vwr.aws_lambda_function.api", to: "module.lambda_vwr.aws_lambda_function.renamed" },
      ],
    });
    const file = join(head.folder, "stacks/prod/modules/lambda-vwr/main.tf.json");
    writeFileSync(file, readFileSync(file, "utf8").replace('"api":{', '"renamed":{'));
    expect(render(["--preview", "--synth", head.folder, "--base-synth", base.folder]).stdout).toContain(
      "## Preview of `prod`: 1 moved",
    );
  });
});

describe("cost", () => {
  it("estimates from the dated price table, and lets Infracost speak where it does", () => {
    const plan = planOf([
      created("aws_nat_gateway.a"),
      created("aws_sqs_queue.q"),
      created("aws_db_instance.odd", { instance_class: "db.x9.huge" }),
    ]);
    const { full } = rendered(plan);
    expect(full).toContain(
      "about +43 USD a month (rough estimate, unchecked prices of 2026-11-21, without what is paid by use)",
    );
    expect(full).toContain("Not priced: `aws_db_instance.odd (size not in the table)`");
    expect(rendered(plan, { infracost: { before: 10, after: 15.5, currency: "USD" } }).full).toContain(
      "+5.50 USD a month by Infracost",
    );
  });

  it("counts both zones of a database and takes away what is destroyed", () => {
    const database = { instance_class: "db.t3.medium", allocated_storage: 50, multi_az: true };
    const { full } = rendered(planOf([resource("aws_db_instance.d", change(["delete"], database, null))]));
    expect(full).toContain("about −162 USD a month");
  });
});

describe("the command", () => {
  const file = (name: string) => join(FIXTURES, `${name}.plan.json`);

  it("prints the comment, and the same for a terminal or as JSON", () => {
    const plain = render(["--stack", "prod", file("mixed"), "--synth", join(FIXTURES, "mixed.synth")]);
    expect(plain).toMatchObject({ code: 0, stderr: "" });
    expect(plain.stdout.startsWith("<!-- urr-plan stack=prod part=1 -->\n")).toBe(true);
    expect(render(["--stack", "prod", file("mixed"), "--ansi"]).stdout).toContain("\u001b[");
    expect(JSON.parse(render(["--stack", "prod", file("mixed"), "--json"]).stdout)).toMatchObject([
      { stack: "prod", destroys: true, changes: true, bodies: [expect.any(String)], full: expect.any(String) },
    ]);
  });

  it("prints several stacks in the order they depend on each other", () => {
    const { stdout } = render([
      "--stack",
      "prod",
      file("mixed"),
      "--stack",
      "bootstrap",
      file("aws"),
      "--synth",
      join(FIXTURES, "mixed.synth"),
    ]);
    expect(stdout.indexOf("Plan for `bootstrap`")).toBeLessThan(stdout.indexOf("Plan for `prod`"));
    expect(stdout).toContain("**Order:** 2 of 2 stacks; this plan may change after `bootstrap` applies");
  });

  it("compares with an older plan file", () => {
    const { stdout } = render(["--stack", "prod", file("mixed"), "--previous", file("mixed")]);
    expect(stdout).toContain("**Since the last plan:** nothing changed");
  });

  it("prints a failure with the end of its log, redacted", () => {
    const { stdout } = render(
      ["--failed", "terraform plan", "--stack", "prod", "log"],
      () => "\u001b[31mError\u001b[0m: no\npassword=hunter2xyz\n``` end",
    );
    expect(stdout).toContain("## Plan for `prod`: failed");
    expect(stdout).toContain("Error: no");
    expect(stdout).not.toContain("hunter2xyz");
    expect(problemsOf(stdout)).toEqual([]);
  });

  it.each([
    [["--stack", "prod"], /one plan file per --stack/],
    [["--bogus"], /Unknown option '--bogus'/],
    [["--stack", "prod", "x", "--head", "$(id)"], /is not a commit/],
    [["--preview"], /needs --synth DIR/],
  ])("fails on %j with its usage", (parameters, message) => {
    const { code, stderr, stdout } = render(parameters, () => fixtureText("empty"));
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
    expect(stderr).toContain("Usage:");
  });

  it("fails on another plan format without printing a comment", () => {
    expect(render(["--stack", "prod", "x"], () => '{"format_version":"3.0"}')).toMatchObject({ code: 2, stdout: "" });
  });

  it("shows no change as one short comment", () => {
    expect(rendered(fixture("empty")).bodies[0]).toContain("The infrastructure is as configured: 1 resource checked.");
  });
});

describe("the guard of what holds data", () => {
  const address = "module.rds.aws_db_instance.primary";
  const plan = planOf([
    resource(address, change(["delete", "create"], { id: "a" }, { id: "b" }, { replace_paths: [["kms_key_id"]] })),
  ]);

  it("refuses in the comment what it refuses in the job, and offers no command", () => {
    const [body = ""] = rendered(plan).bodies;
    expect(body).toContain(`**The guard refuses this plan.** Would be lost: \`${address}\` (its data)`);
    expect(body).toContain("`URR_GUARD_ALLOW`");
    expect(body).not.toContain("cdktf apply");
  });

  it("says what an override lets go", () => {
    const [body = ""] = rendered(plan, { guardAllows: [address] }).bodies;
    expect(body).toContain(`Lost, and allowed by override: \`${address}\` (its data)`);
    expect(body).not.toContain("refuses");
    expect(body).toContain("cdktf apply prod");
  });
});

describe("plans of one pull request that are made in jobs of their own", () => {
  const folder = mkdtempSync(join(tmpdir(), "urr-beside-"));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("tell the later ones what they share and that they come first", () => {
    const stack = (name: string, key: string, reads?: string) => {
      const home = join(folder, "synth/stacks", name);
      mkdirSync(home, { recursive: true });
      const backend = (state: string) => ({ bucket: "states", key: state });
      const root = {
        terraform: { backend: { s3: backend(key) } },
        ...(reads ? { data: { terraform_remote_state: { infra: { backend: "s3", config: backend(reads) } } } } : {}),
      };
      writeFileSync(join(home, "cdk.tf.json"), JSON.stringify(root));
    };
    stack("staging", "staging.tfstate");
    stack("prod", "prod.tfstate");
    stack("prod-platform", "platform.tfstate", "prod.tfstate");
    const names = ["staging", "prod", "prod-platform"];
    writeFileSync(
      join(folder, "synth/manifest.json"),
      JSON.stringify({ stacks: Object.fromEntries(names.map((name) => [name, { dependencies: [] }])) }),
    );
    expect(readDependencies(join(folder, "synth"))).toEqual({ staging: [], prod: [], "prod-platform": ["prod"] });
    const plan = (name: string, beside: readonly string[], ...resources: readonly string[]) => {
      const file = join(folder, `${name}.plan.json`);
      writeFileSync(
        file,
        JSON.stringify(planOf(resources.map((address) => resource(address, change(["create"], null, {}))))),
      );
      const flags = beside.flatMap((other) => ["--beside", join(folder, `${other}.json`)]);
      const { stdout, stderr } = render(["--stack", name, file, "--synth", join(folder, "synth"), "--json", ...flags]);
      expect(stderr).toBe("");
      writeFileSync(join(folder, `${name}.json`), stdout);
      return (JSON.parse(stdout) as { bodies: string[] }[])[0]?.bodies[0] ?? "";
    };
    expect(plan("staging", [], "aws_x.a", "aws_x.b")).not.toContain("Beside");
    const prod = plan("prod", ["staging"], "aws_x.a", "aws_x.b", "aws_x.c");
    expect(prod).toContain("**Beside `staging`:** the same 2 changes, 1 only in `prod`");
    const platform = plan("prod-platform", ["staging", "prod"], "aws_x.d");
    expect(platform).toContain("**Order:** 3 of 3 stacks; this plan may change after `prod` applies");
  });
});

it("shows members that are named as something every object inherits", () => {
  const names = ["__proto__", "constructor", "toString", "hasOwnProperty"];
  const tags = JSON.parse(`{${names.map((name) => `"${name}":"new"`).join(",")}}`) as JsonObject;
  const plan = planOf([resource("terraform_data.map", change(["update"], { input: {} }, { input: tags }))]);
  const { full } = rendered(plan);
  for (const name of names) expect(full).toContain(`+ input.${name}: "new"`);
  const back = planOf([resource("terraform_data.map", change(["update"], { input: tags }, { input: {} }))]);
  for (const name of names) expect(rendered(back).full).toContain(`- input.${name}: "new"`);
});
