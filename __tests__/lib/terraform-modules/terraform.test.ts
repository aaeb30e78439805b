import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { TerraformIterator, TerraformLocal, TerraformOutput, TerraformVariable } from "cdktf";
import type { Construct } from "constructs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Asset, hclOf, type JsonObject, type ModularStack, type RenderedStack } from "../../../lib/terraform-modules";
import { missingProviders, terraformVersion } from "../../../tools/terraform/workspace";
import { render, scratchFolders, TestModule, TestProvider, TestResource } from "./support";

const scratch = scratchFolders();
const RANDOM = { source: "hashicorp/random", version: "3.7.2" };
const hasTerraform = terraformVersion() !== undefined;
const hasRandom =
  hasTerraform && missingProviders({ terraform: { required_providers: { random: RANDOM } } }).length === 0;

function terraform(folder: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync("terraform", args, {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, CHECKPOINT_DISABLE: "1", TF_IN_AUTOMATION: "1" },
  });
  if (status !== 0) {
    throw new Error(`terraform ${args.join(" ")} failed:\n${stdout}\n${stderr}`);
  }
  return stdout;
}

interface Change {
  readonly after: unknown;
  readonly after_unknown: unknown;
  readonly after_sensitive: unknown;
}
interface Plan {
  readonly resource_changes?: readonly { readonly address: string; readonly change: Change }[];
  readonly output_changes?: Record<string, Change>;
}

/** What Terraform plans for a folder, by address and by output. */
function planOf(files: ReadonlyMap<string, Buffer>): { resources: Record<string, unknown>; outputs: unknown } {
  const folder = scratch();
  for (const [path, content] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  terraform(folder, "init", "-input=false", "-no-color");
  terraform(folder, "validate", "-no-color");
  terraform(folder, "plan", "-input=false", "-no-color", "-out=tfplan");
  const plan = JSON.parse(terraform(folder, "show", "-json", "tfplan")) as Plan;
  const resources = (plan.resource_changes ?? []).map(({ address, change }) => [
    address,
    { after: change.after, unknown: change.after_unknown, sensitive: change.after_sensitive },
  ]);
  return { resources: Object.fromEntries(resources), outputs: plan.output_changes ?? {} };
}

function flatFiles({ flat, assets }: RenderedStack): ReadonlyMap<string, Buffer> {
  return new Map([["cdk.tf.json", Buffer.from(JSON.stringify(flat))], ...assets]);
}

/** Plans the flat form, the modules and the modules in native syntax, and expects the same from all three. */
function expectSamePlans(rendered: RenderedStack): Record<string, unknown> {
  const flat = planOf(flatFiles(rendered));
  const renamed = Object.fromEntries(
    Object.entries(flat.resources).map(([address, change]) => {
      const [, block = address, index = ""] = /^(.*?)(\[.*\])?$/.exec(address) ?? [];
      return [`${rendered.emitted.addresses.get(block)}${index}`, change];
    }),
  );
  expect(planOf(rendered.files)).toEqual({ resources: renamed, outputs: flat.outputs });
  const native = hclOf(rendered);
  expect(planOf(native)).toEqual({ resources: renamed, outputs: flat.outputs });
  return renamed;
}

function expectFormatted(files: ReadonlyMap<string, Buffer>): void {
  const folder = scratch();
  for (const [path, content] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  expect(terraform(folder, "fmt", "-check", "-diff", "-recursive", ".")).toBe("");
}

/** Everything that can cross, and everything that must not be mistaken for it. */
function buildEverything(stack: ModularStack): void {
  new TestProvider(stack, "random", "random", undefined, RANDOM.version);
  const other = new TestProvider(stack, "random_other", "random", "other", RANDOM.version);
  const names = new TerraformVariable(stack, "names", {
    type: "map(string)",
    default: { a: "x", b: "$y" },
    description: 'Names, "quoted".',
    nullable: false,
    validation: [{ condition: "${length(var.names) > 0}", errorMessage: "Give one." }],
  });
  const secret = new TerraformVariable(stack, "secret", { type: "string", default: "hidden", sensitive: true });
  const one = new TestModule(stack, "one");
  const two = new TestModule(stack, "one_two");
  const page = new Asset(one, "page", { fileName: "page.html", content: "<p>페이지</p>" });
  const data = (scope: Construct, id: string, input: unknown, meta = {}) =>
    new TestResource(scope, id, "terraform_data", { input }, meta);

  const first = data(one, "first", { list: [{ a: [1, 2] }, { a: [3] }], map: { "k/x": "v", 한글: "값" } });
  data(one, "none", "x", { count: 0 });
  const many = data(one, "many", "x", { count: 2 });
  data(one, "each", "${each.value}", { forEach: TerraformIterator.fromMap({ a: "1", b: "2" }) });
  new TerraformLocal(one, "numbers", [1, 2, 3]);
  new TestResource(one, "id", "random_id", { byte_length: 4, keepers: { first: first.attribute("id") } });

  const second = data(two, "second", {
    direct: first.attribute("output"),
    deep: "${terraform_data.one_first.input.list[0].a[1]}",
    legacy: "${terraform_data.one_first.input.list.1.a.0}",
    key: '${terraform_data.one_first.input.map["k/x"]}',
    computed: "${terraform_data.one_first.input.list[length([1])].a}",
    splat: "${terraform_data.one_first.input.list[*].a}",
    guarded: '${length(terraform_data.one_none) > 0 ? terraform_data.one_none[0].output : "none"}',
    tried: '${try(terraform_data.one_none[0].output, "nothing")}',
    counted: "${terraform_data.one_many[*].input}",
    instance: '${terraform_data.one_each["a"].input}',
    looped: "${[for n in local.one_numbers : n * 2 if n > 1]}",
    shadowed: "${[for local in [{ one_numbers = 1 }] : local.one_numbers]}",
    heredoc: "${trimspace(<<EOT\n  ${terraform_data.one_first.input.map.한글} $${x}\nEOT\n)}",
    nested: '${upper("a-${lower("B-${terraform_data.one_first.input.list[0].a[0]}")}")}',
    object: '${{ terraform_data = 1, (terraform_data.one_first.input.map["k/x"]) = 2, "q" : 3 }}',
    directive: "%{ for n in local.one_numbers ~}${n},%{ endfor ~}%{ if true }yes%{ else }no%{ endif }",
    file: `\${filesha256("\${path.module}/${page.path}")}`,
    text: 'terraform_data.one_first $${terraform_data.one_first.input} %%{ if } "quoted" \\ back $$${a} $ % {}',
    lines: "one\ntwo ${terraform_data.one_first.input.list[0].a[0]}\n\ttabs\n",
    tail: "one\ntwo",
    windows: "a\r\nb",
    "key ${local.one_numbers[0]}": 1,
    "aws:literal": "$${aws:username}",
    names: names.value,
    secret: secret.stringValue,
    minus: "${-1 - -local.one_numbers[0]}",
  });
  data(one, "back", { second: second.attribute("id") }, { dependsOn: [second] });
  data(two, "all", "x", {
    dependsOn: [one],
    lifecycle: { replaceTriggeredBy: ["terraform_data.one_two_second"], ignoreChanges: ["triggers_replace"] },
  });
  const top = data(stack, "top", { second: second.attribute("output") }, { dependsOn: [two, many] });
  data(new TestModule(stack, "three"), "after_top", top.attribute("id"), { dependsOn: [top] });
  new TestResource(two, "pet", "random_pet", { length: 2 }, { provider: other });
  new TestResource(two, "string", "random_string", {
    length: 8,
    keepers: { each: "${length(terraform_data.one_each)}" },
  });
  new TerraformOutput(stack, "direct", {
    value: second.attribute("output"),
    sensitive: true,
    description: "All ${of} it.",
  });
  new TerraformOutput(stack, "each", { value: "${terraform_data.one_each}", dependsOn: [one] });
  stack.addOverride("check", {
    healthy: { assert: [{ condition: "${terraform_data.one_first.input != null}", error_message: "It is not." }] },
  });
}

/** A tree of random references without cycles: each block mentions only blocks before it. */
const trees = fc.array(
  fc.record({
    home: fc.constantFrom(undefined, 0, 1, 2),
    uses: fc.array(
      fc.record({
        target: fc.nat(20),
        form: fc.constantFrom(
          "${R}",
          "a-${jsonencode(R)}",
          "${[for x in [R] : x]}",
          "${true ? R : null}",
          "${try(R, 1)}",
        ),
        path: fc.constantFrom(".id", ".output", ".output.module"),
      }),
      { maxLength: 3 },
    ),
    waits: fc.array(fc.nat(20), { maxLength: 2 }),
  }),
  { minLength: 8, maxLength: 16 },
);

function buildTree(blocks: typeof trees extends fc.Arbitrary<infer T> ? T : never): (stack: ModularStack) => void {
  return (stack) => {
    const modules = ["m", "m_n", "o"].map((name) => new TestModule(stack, name));
    const made: TestResource[] = [];
    blocks.forEach(({ home, uses, waits }, index) => {
      const scope = home === undefined ? stack : (modules[home] as TestModule);
      const input: Record<string, unknown> = { module: `block ${index}` };
      uses.forEach(({ target, form, path }, number) => {
        const used = made[target % made.length];
        if (used) {
          input[`use_${number}`] = form.replaceAll("R", `terraform_data.${used.friendlyUniqueId}${path}`);
        }
      });
      const dependsOn = waits.flatMap((target) => made[target % made.length] ?? []);
      made.push(new TestResource(scope, `b${index}`, "terraform_data", { input }, { dependsOn }));
    });
    made.forEach((block, index) => {
      new TerraformOutput(stack, `out_${index}`, { value: block.attribute("output") });
    });
  };
}

describe.skipIf(!hasRandom)("Terraform, for everything that can cross", () => {
  it("plans the flat form, the modules and their native syntax alike", () => {
    const planned = expectSamePlans(render(buildEverything));
    expect(Object.keys(planned)).toEqual(
      expect.arrayContaining([
        'module.one.terraform_data.each["a"]',
        "module.one.terraform_data.many[1]",
        "module.one_two.random_pet.pet",
        "terraform_data.top",
      ]),
    );
    const { after } = planned["module.one_two.terraform_data.second"] as { after: JsonObject };
    expect((after.input as JsonObject).text).toBe(
      'terraform_data.one_first ${terraform_data.one_first.input} %{ if } "quoted" \\ back $${a} $ % {}',
    );
  });

  it("finds nothing to format in the native syntax", () => {
    expectFormatted(hclOf(render(buildEverything)));
  });
});

describe.skipIf(!hasTerraform)("Terraform, for trees of random references", () => {
  const samples = fc.sample(trees, { numRuns: 3, seed: 20 });

  it.each(
    samples.map((blocks, index) => [index, blocks] as const),
  )("plans tree %i alike in all forms", (_index, blocks) => {
    const planned = expectSamePlans(render(buildTree(blocks)));
    expect(Object.keys(planned)).toHaveLength(blocks.length);
  });
});
