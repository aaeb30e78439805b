import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  Annotations,
  App,
  Aspects,
  AssetType,
  Lazy,
  LocalBackend,
  S3Backend,
  TerraformAsset,
  type TerraformElement,
  TerraformLocal,
  TerraformOutput,
  TerraformStack,
  TerraformVariable,
  Testing,
  Token,
} from "cdktf";
import { Construct, type Node } from "constructs";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Asset, ModularApp, ModularStack, Module, SynthError } from "../../../lib/terraform-modules";
import { filesBelow, render, scratchFolders, TestModule, TestProvider, TestResource } from "./support";

const scratch = scratchFolders();

afterEach(() => {
  vi.unstubAllEnvs();
});

/** A staging and a prod stack with two modules that refer to each other, and an asset. */
function buildApp(outdir: string, change: (app: ModularApp, stacks: ModularStack[]) => void = () => {}): ModularApp {
  const app = new ModularApp({ outdir });
  const stacks = ["staging", "prod"].map((name) => {
    const stack = new ModularStack(app, name);
    const vpc = new TestModule(stack, "vpc");
    const rds = new TestModule(stack, "rds");
    const main = new TestResource(vpc, "main", "terraform_data");
    new TestResource(rds, "main", "terraform_data", { input: main.attribute("id") });
    const asset = new Asset(rds, "function", { fileName: "function.zip", content: Buffer.from("zip") });
    new TerraformOutput(stack, "zip", { value: asset.path });
    return stack;
  });
  change(app, stacks);
  return app;
}

function problemsOf(app: ModularApp): readonly string[] {
  try {
    app.synth();
  } catch (error) {
    if (error instanceof SynthError) {
      return error.problems;
    }
    throw error;
  }
  return [];
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

describe("a synth", () => {
  it("writes a manifest, and per stack a root, its modules and assets", () => {
    const outdir = join(scratch(), "cdktf.out");
    buildApp(outdir).synth();
    const digits = sha256("zip").slice(0, 16);
    const ofStack = (name: string) => [
      `stacks/${name}/assets/rds_function/${digits}/function.zip`,
      `stacks/${name}/cdk.tf.json`,
      `stacks/${name}/modules/rds/main.tf.json`,
      `stacks/${name}/modules/vpc/main.tf.json`,
    ];
    expect(Object.keys(filesBelow(outdir))).toEqual(["manifest.json", ...ofStack("prod"), ...ofStack("staging")]);
  });

  it("writes the manifest that cdktf writes", () => {
    const folder = scratch();
    const own = join(folder, "own");
    const plain = join(folder, "plain");
    const build = (app: App, Stack: typeof TerraformStack) => {
      const first = new Stack(app, "first");
      const second = new Stack(app, "second");
      second.addDependency(first);
      Annotations.of(second).addWarning("mind this");
      new LocalBackend(first, { path: "x.tfstate" });
      new LocalBackend(second, { path: "y.tfstate" });
    };
    const modular = new ModularApp({ outdir: own });
    build(modular, ModularStack);
    modular.synth();
    const app = new App({ outdir: plain, stackTraces: false });
    build(app, TerraformStack);
    app.synth();
    const manifest = (path: string) => JSON.parse(readFileSync(join(path, "manifest.json"), "utf8"));
    expect(manifest(own)).toEqual(manifest(plain));
  });

  it("has the flat form that cdktf would write, but for the names", () => {
    class PlainStack extends TerraformStack {
      protected override allocateLogicalId(element: TerraformElement | Node): string {
        const node = "scopes" in element ? element : element.node;
        return node.scopes
          .slice(node.scopes.indexOf(this) + 1)
          .map((scope) => scope.node.id)
          .join("_");
      }
    }
    const build = (stack: TerraformStack) => {
      new S3Backend(stack, { bucket: "state", key: "prod" }).addOverride("use_lockfile", true);
      new TestProvider(stack, "aws", "aws");
      new TestProvider(stack, "aws_us", "aws", "us");
      const variable = new TerraformVariable(stack, "size", { type: "number", default: 1 });
      const group = new Construct(stack, "group");
      const one = new TestResource(group, "one", "aws_x", {
        a: variable.numberValue,
        l: Lazy.stringValue({ produce: () => "lazy" }),
      });
      one.addOverride("lifecycle.ignore_changes", ["tags"]);
      one.moveFromId("aws_x.before");
      new TestResource(group, "tokens", "aws_x", {
        list: Token.asList("${aws_x.group_one.list}"),
        numbers: Token.asNumberList("${aws_x.group_one.numbers}"),
        map: Token.asStringMap("${aws_x.group_one.map}"),
        amount: `size ${variable.numberValue}`,
        text: `size ${variable.numberValue} of ${one.attribute("arn")} and $\${literal}`,
        key: { [one.attribute("arn")]: [variable.numberValue, one.attribute("id")] },
        nested: [
          { list: [[one.attribute("id")], []], nothing: undefined, none: null, truth: false, zero: 0, big: 1e21 },
        ],
        plain: ["x", 1],
      });
      new TestResource(
        group,
        "two",
        "aws_y",
        { one: one.attribute("id"), n: undefined },
        { dependsOn: [one], count: 2 },
      );
      new TerraformLocal(group, "local", { a: [one.attribute("arn")] });
      new TerraformOutput(group, "out", { value: one.attribute("id"), sensitive: true });
      stack.addOverride("terraform.required_version", ">= 1.10");
      stack.addOverride("resource.aws_y.group_two.count", undefined);
      stack.addOverride("resource.aws_x.group_one.tags", { a: one.attribute("id") });
    };
    const modular = new ModularStack(new ModularApp({ outdir: "never-written" }), "prod");
    build(modular);
    const plain = new PlainStack(new App({ outdir: scratch(), stackTraces: false }), "prod");
    build(plain);
    plain.prepareStack();
    expect(JSON.parse(JSON.stringify(modular.toTerraform()))).toEqual(JSON.parse(JSON.stringify(plain.toTerraform())));
  });

  it("keeps stack traces of the machine out", () => {
    const outdir = scratch();
    buildApp(outdir).synth();
    expect(Object.values(filesBelow(outdir)).join()).not.toMatch(/stackTrace|node_modules|file:\/\//);
  });

  it("works for one stack through cdktf's testing helper", () => {
    const stack = buildApp(scratch()).stacks[0] as ModularStack;
    const folder = Testing.fullSynth(stack);
    expect(Object.keys(filesBelow(join(folder, "stacks", "staging")))).toContain("modules/vpc/main.tf.json");
    rmSync(folder, { recursive: true });
  });

  it("gives the same bytes in another folder and working directory", () => {
    const before = process.cwd();
    const outputs = [scratch(), scratch()].map((folder) => {
      process.chdir(folder);
      try {
        buildApp("out").synth();
        return filesBelow(join(folder, "out"));
      } finally {
        process.chdir(before);
      }
    });
    expect(outputs[1]).toEqual(outputs[0]);
  });
});

describe("the output folder", () => {
  it("is the one that the cdktf command names, unless the app names one", () => {
    const folder = scratch();
    vi.stubEnv("CDKTF_OUTDIR", join(folder, "named"));
    const app = new ModularApp();
    new ModularStack(app, "prod");
    app.synth();
    expect(existsSync(join(folder, "named", "manifest.json"))).toBe(true);
    expect(new ModularApp({ outdir: "own" }).outdir).toBe("own");
  });

  it("is not made before synth", () => {
    const outdir = join(scratch(), "a", "b");
    buildApp(outdir);
    expect(existsSync(outdir)).toBe(false);
  });

  it("stays as it was when a synth fails", () => {
    const outdir = scratch();
    buildApp(outdir).synth();
    const before = filesBelow(outdir);
    const app = buildApp(outdir, (_app, [staging, prod]) => {
      new TestResource(staging as ModularStack, "new", "terraform_data");
      (prod as ModularStack).node.addValidation({ validate: () => ["no"] });
    });
    expect(() => app.synth()).toThrow("nothing was written");
    expect(filesBelow(outdir)).toEqual(before);
  });

  it("keeps files that did not change as they are on disk", () => {
    const outdir = scratch();
    buildApp(outdir).synth();
    const inode = (path: string) => statSync(join(outdir, "stacks/prod", path)).ino;
    const before = ["cdk.tf.json", "modules/vpc/main.tf.json"].map(inode);
    buildApp(outdir, (_app, [, prod]) => new TerraformVariable(prod as ModularStack, "size", {})).synth();
    const after = ["cdk.tf.json", "modules/vpc/main.tf.json"].map(inode);
    expect(after[0]).not.toBe(before[0]);
    expect(after[1]).toBe(before[1]);
  });

  it("loses stacks, modules and assets that are gone, and nothing of Terraform's or of people", () => {
    const outdir = scratch();
    buildApp(outdir, (app) => {
      const old = new ModularStack(app, "old");
      new TestResource(new TestModule(old, "vpc"), "main", "terraform_data");
    }).synth();
    const kept = [
      "stacks/prod/.terraform/modules/modules.json",
      "stacks/prod/.terraform.lock.hcl",
      "stacks/prod/terraform.tfstate",
      "stacks/prod/terraform.tfstate.backup",
      "stacks/prod/terraform.prod.tfstate",
      "stacks/prod/offline_override.tf.json",
      "stacks/prod/plan",
      "stacks/prod/tfplan",
      "stacks/prod/modules/vpc/offline_override.tf.json",
      "stacks/old/terraform.tfstate",
      "stacks/old/.terraform/providers/x",
    ];
    const stale = [
      "stacks/prod/cdk.tf",
      "stacks/prod/modules/old/main.tf.json",
      "stacks/prod/modules/vpc/extra.tf.json",
      "stacks/prod/assets/rds_function/0000000000000000/function.zip",
      "stacks/gone/cdk.tf.json",
    ];
    for (const path of [...kept, ...stale]) {
      mkdirSync(join(outdir, path, ".."), { recursive: true });
      writeFileSync(join(outdir, path), path);
    }
    buildApp(outdir).synth();
    const files = filesBelow(outdir);
    for (const path of kept) {
      expect(files[path]).toBe(path);
    }
    const removed = [...stale, "stacks/old/cdk.tf.json", "stacks/old/modules/vpc/main.tf.json"];
    expect(Object.keys(files).filter((path) => removed.includes(path))).toEqual([]);
    expect(existsSync(join(outdir, "stacks/gone"))).toBe(false);
    expect(existsSync(join(outdir, "stacks/prod/modules/old"))).toBe(false);
    expect(Object.keys(JSON.parse(files["manifest.json"] as string).stacks)).toEqual(["prod", "staging"]);
  });

  it("keeps the other stacks when the app holds only some", () => {
    const outdir = scratch();
    buildApp(outdir).synth();
    const before = filesBelow(outdir);
    const app = new ModularApp({ outdir, partial: true });
    new TestResource(new ModularStack(app, "prod"), "only", "terraform_data");
    app.synth();
    const after = filesBelow(outdir);
    expect(Object.keys(JSON.parse(after["manifest.json"] as string).stacks)).toEqual(["prod", "staging"]);
    expect(after["stacks/staging/cdk.tf.json"]).toBe(before["stacks/staging/cdk.tf.json"]);
    expect(after["stacks/prod/modules/vpc/main.tf.json"]).toBeUndefined();
  });

  it("has no temporary files after a write that fails", () => {
    const outdir = scratch();
    mkdirSync(join(outdir, "stacks/staging/cdk.tf.json/in-the-way"), { recursive: true });
    expect(() => buildApp(outdir).synth()).toThrow();
    expect(Object.keys(filesBelow(outdir)).filter((path) => path.endsWith(".tmp"))).toEqual([]);
  });
});

describe("problems", () => {
  it("are all told at once, of every stack and every kind", () => {
    const outdir = join(scratch(), "out");
    const app = buildApp(outdir, (_app, [staging, prod]) => {
      (staging as ModularStack).node.addValidation({ validate: () => ["the first rule", "the second rule"] });
      const group = new Construct(prod as ModularStack, "group");
      group.node.addValidation({ validate: () => ["a rule of another stack"] });
      Annotations.of(group).addError("an annotation");
      new TestResource(group, "lazy", "aws_x", {
        a: Lazy.stringValue({
          produce: () => {
            throw new Error("a value that cannot be computed");
          },
        }),
      });
      new TestResource(group, "text", "aws_x", { a: "${aws:username}" });
    });
    const problems = problemsOf(app);
    expect(problems).toEqual([
      "[staging] the first rule",
      "[staging] the second rule",
      "[prod/group] a rule of another stack",
      expect.stringMatching(/^\[prod\/group\/lazy\] .*a value that cannot be computed/s),
      expect.stringContaining("[prod] aws_x.group_text: not a valid template"),
      "[prod/group] an annotation",
    ]);
    expect(existsSync(outdir)).toBe(false);
  });

  it("read as a list", () => {
    const app = buildApp(scratch(), (_app, stacks) => {
      for (const stack of stacks) {
        stack.node.addValidation({ validate: () => ["no"] });
      }
    });
    expect(() => app.synth()).toThrow(
      "synth failed with 2 problems; nothing was written:\n  - [staging] no\n  - [prod] no",
    );
  });

  it("come after aspects, which may mend or make them", () => {
    const app = buildApp(scratch(), (app, [staging]) => {
      let visited = 0;
      Aspects.of(app).add({ visit: () => (visited += 1) });
      (staging as ModularStack).node.addValidation({ validate: () => (visited > 10 ? [] : ["not visited"]) });
    });
    expect(problemsOf(app)).toEqual([]);
  });

  it("are not looked for by validations that are switched off", () => {
    const outdir = scratch();
    const app = new ModularApp({ outdir, skipValidation: true });
    new ModularStack(app, "prod").node.addValidation({ validate: () => ["no"] });
    expect(problemsOf(app)).toEqual([]);
  });

  it("include two blocks of one name, with both constructs", () => {
    const app = buildApp(scratch(), (_app, [staging]) => {
      new TestResource(new Construct(staging as ModularStack, "a-b"), "c", "aws_x");
      new TestResource(new Construct(staging as ModularStack, "a"), "b_c", "aws_x");
      new TestResource(new Construct(staging as ModularStack, "a.b"), "c", "aws_y");
    });
    expect(problemsOf(app)).toEqual([
      "[staging/a/b_c] aws_x.a_b_c is also the name of staging/a-b/c; blocks of one kind need names of their own within the " +
        "stack. Give one of the two constructs another id.",
    ]);
  });

  it.each(["1a", "ä", "a$b"])("include an id that is no name for Terraform: %s", (id) => {
    const app = buildApp(scratch(), (_app, [staging]) => {
      new TestResource((staging as ModularStack).node.findChild("vpc") as Module, id, "aws_x");
    });
    expect(problemsOf(app)).toEqual([expect.stringContaining("allowed: letters, digits, dashes and underscores")]);
  });

  it("include two configurations of a provider that Terraform cannot tell apart", () => {
    const app = buildApp(scratch(), (_app, [staging]) => {
      for (const [id, alias] of [["a"], ["b"], ["c", "us"], ["d", "us"], ["e", "eu"]] as [string, string?][]) {
        new TestProvider(staging as ModularStack, id, "aws", alias);
      }
    });
    expect(problemsOf(app)).toEqual([
      expect.stringContaining("[staging] provider aws: two configurations without alias"),
      expect.stringContaining("[staging] provider aws: two configurations with the alias us"),
    ]);
  });

  it("include references from one stack to another, with both ends and the remedy", () => {
    const app = buildApp(scratch(), (_app, [staging, prod]) => {
      const bucket = new TestResource(staging as ModularStack, "bucket", "aws_s3_bucket");
      const alb = new TestModule(prod as ModularStack, "alb");
      new TestResource(alb, "main", "aws_lb", { bucket: `x-${bucket.attribute("arn")}` });
    });
    expect(problemsOf(app)).toEqual([
      "[prod/alb/main] refers to aws_s3_bucket.bucket.arn of the stack staging. Stacks share named values only: declare a " +
        "TerraformOutput in staging and read it in prod through a data source of its remote state, or pass a name or ARN that is " +
        "known at synth.",
    ]);
  });

  it("include cdktf's own HCL output, for which there is an export", () => {
    vi.stubEnv("SYNTH_HCL_OUTPUT", "true");
    expect(problemsOf(buildApp(scratch()))).toEqual([expect.stringContaining("npm run export:hcl")]);
  });
});

describe("the local backend", () => {
  it("of a stack without backend is in the stack's folder, not in a folder of this machine", () => {
    const { emitted } = render(() => {});
    expect(emitted.root.terraform).toEqual({ backend: { local: { path: "terraform.prod.tfstate" } } });
  });

  it("fails with a path of this machine, which cdktf makes when none is given", () => {
    expect(() => render((stack) => new LocalBackend(stack))).toThrow(
      /\[prod\] local backend, path: given ".*terraform\.prod\.tfstate"; allowed: a path relative to the stack's folder/,
    );
  });

  it("is not added to a stack that has another", () => {
    const { emitted } = render((stack) => new S3Backend(stack, { bucket: "b", key: "k" }));
    expect(emitted.root.terraform).toEqual({ backend: { s3: { bucket: "b", key: "k" } } });
  });
});

describe("modules", () => {
  const stack = () => new ModularStack(new ModularApp({ outdir: "never-written" }), "prod");

  it("take call name and folder from their id", () => {
    const module = new TestModule(stack(), "vpc_endpoints");
    expect([module.callName, module.directory, module.fqn]).toEqual([
      "vpc_endpoints",
      "vpc-endpoints",
      "module.vpc_endpoints",
    ]);
  });

  it("can be put into another folder", () => {
    expect(new TestModule(stack(), "edge", { directory: "lambda-edge" }).directory).toBe("lambda-edge");
  });

  it("are found from anything in them", () => {
    const root = stack();
    const module = new TestModule(root, "vpc");
    const inner = new TestResource(new Construct(module, "group"), "main", "aws_vpc");
    expect(Module.of(inner)).toBe(module);
    expect(Module.of(module)).toBe(module);
    expect(Module.of(root)).toBeUndefined();
  });

  it("fail inside another module, with both paths", () => {
    const outer = new TestModule(stack(), "vpc");
    expect(() => new TestModule(new Construct(outer, "group"), "inner")).toThrow(
      "prod/vpc/group/inner: a module inside the module prod/vpc; modules do not nest.",
    );
  });

  it("fail with names that are none", () => {
    expect(() => new TestModule(stack(), "Vpc", { directory: "a/b" })).toThrow(
      /id: given "Vpc"; allowed: snake case.*\n.*directory: given "a\/b"; allowed: kebab case/,
    );
  });
});

describe("assets", () => {
  it("have a path that says what they are and changes with their content only", () => {
    const stack = new ModularStack(new ModularApp({ outdir: "never-written" }), "prod");
    const scope = new Construct(new TestModule(stack, "lambda_vwr"), "vwr-api");
    const asset = new Asset(scope, "code", { fileName: "function.zip", content: Buffer.from("a") });
    expect(asset.path).toBe(`assets/lambda_vwr_vwr_api_code/${sha256("a").slice(0, 16)}/function.zip`);
    expect(asset.base64Sha256).toBe(createHash("sha256").update("a").digest("base64"));
  });

  it("can be files", () => {
    const path = join(scratch(), "page.html");
    writeFileSync(path, "<html>");
    const { files } = render((stack) => new Asset(stack, "page", { fileName: "index.html", source: path }));
    expect(files.get(`assets/page/${sha256("<html>").slice(0, 16)}/index.html`)?.toString()).toBe("<html>");
  });

  it("fail with a name that is a path", () => {
    expect(() => render((stack) => new Asset(stack, "page", { fileName: "../x", content: "" }))).toThrow(
      'prod/page: fileName: given "../x"; allowed: letters, digits, dots, dashes and underscores.',
    );
  });

  it("of cdktf are taken into the output, files and folders alike", () => {
    const folder = scratch();
    writeFileSync(join(folder, "a.txt"), "a");
    const { files } = render((stack) => {
      new TerraformAsset(stack, "one", { path: join(folder, "a.txt"), type: AssetType.FILE, assetHash: "h1" });
      new TerraformAsset(stack, "all", { path: folder, type: AssetType.DIRECTORY, assetHash: "h2" });
    });
    expect([...files.keys()].filter((path) => path.startsWith("assets/")).sort()).toEqual([
      "assets/all/h2/a.txt",
      "assets/one/h1/a.txt",
    ]);
  });

  it("fail as archives of cdktf, which differ from run to run", () => {
    const folder = scratch();
    expect(() =>
      render((stack) => new TerraformAsset(stack, "zip", { path: folder, type: AssetType.ARCHIVE })),
    ).toThrow("[prod/zip] AssetType.ARCHIVE makes zips that differ from run to run");
  });
});
