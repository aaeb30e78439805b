import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { canRunTerraform } from "../../support/real-terraform";

const WRAPPER = path.resolve(import.meta.dirname, "../../../tools/guard/terraform.mjs");

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), "urr-wrapper-"));
  writeFileSync(
    path.join(directory, "main.tf.json"),
    JSON.stringify({
      variable: { size: { type: "number", default: 1 } },
      resource: { terraform_data: { one: { input: "${var.size}" } } },
      output: { size: { value: "${terraform_data.one.output}" } },
    }),
  );
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function run(args: readonly string[], input = "") {
  const { status, stderr, stdout } = spawnSync(WRAPPER, args, {
    cwd: directory,
    input,
    encoding: "utf8",
    env: { ...process.env, CHECKPOINT_DISABLE: "1" },
  });
  return { status, output: stdout + stderr };
}

const isApplied = () => existsSync(path.join(directory, "terraform.tfstate"));

describe.skipIf(!canRunTerraform("the wrapper around Terraform", []))("the wrapper around Terraform", () => {
  it("is Terraform for every other command, exit codes included", () => {
    expect(run(["version", "-json"]).output).toContain('"terraform_version"');
    expect(run(["init", "-input=false"]).status).toBe(0);
    expect(run(["plan", "-detailed-exitcode"]).status).toBe(2);
    expect(run(["nonsense"]).status).toBe(1);
  });

  it("applies without a question with -auto-approve, and passes variables on", () => {
    run(["init"]);
    const result = run(["apply", "-auto-approve", "-no-color", "-parallelism=2", "-var", "size=7"]);
    expect(result.status).toBe(0);
    expect(result.output).toContain("Apply complete! Resources: 1 added");
    expect(run(["output", "-raw", "size"]).output).toContain("7");
  });

  it("asks Terraform's own question and takes nothing but yes", () => {
    run(["init"]);
    for (const answer of ["no\n", "y\n", "\n"]) {
      const result = run(["apply", "-no-color"], answer);
      expect(result.status).toBe(1);
      expect(result.output).toContain("Do you want to perform these actions?");
      expect(result.output).toContain("Apply cancelled.");
      expect(isApplied()).toBe(false);
    }
    expect(run(["apply", "-no-color"], "yes\n").status).toBe(0);
    expect(isApplied()).toBe(true);
    const destroyed = run(["destroy", "-no-color"], "yes\n");
    expect(destroyed.output).toContain("Do you really want to destroy all resources?");
    expect(destroyed.output).toContain("1 destroyed");
  });

  it.each([
    "SIGTERM",
    "SIGHUP",
    "the end of its input",
  ] as const)("leaves no plan behind when %s comes before the answer: plans hold secrets", async (what) => {
    run(["init"]);
    const scratch = path.join(directory, "scratch");
    mkdirSync(scratch);
    const child = spawn(WRAPPER, ["apply", "-no-color"], {
      cwd: directory,
      env: { ...process.env, CHECKPOINT_DISABLE: "1", TMPDIR: scratch },
    });
    const left = () => readdirSync(scratch).filter((name) => name.startsWith("urr-guard-"));
    let output = "";
    for await (const chunk of child.stdout) {
      output += chunk;
      if (output.includes("Enter a value")) break;
    }
    expect(left()).toHaveLength(1);
    if (what === "the end of its input") child.stdin.end();
    else child.kill(what);
    const [status] = await once(child, "exit");
    expect(status).not.toBe(0);
    expect(left()).toEqual([]);
    expect(isApplied()).toBe(false);
  });

  it("applies a plan file that was made before", () => {
    run(["init"]);
    run(["plan", "-out=reviewed"]);
    const result = run(["apply", "-no-color", "reviewed"]);
    expect(result.status).toBe(0);
    expect(result.output).toContain("Apply complete!");
  });

  it("works in the folder that -chdir names", () => {
    const { status } = spawnSync(WRAPPER, [`-chdir=${directory}`, "init"], { encoding: "utf8" });
    expect(status).toBe(0);
    const applied = spawnSync(WRAPPER, [`-chdir=${directory}`, "apply", "-auto-approve"], { encoding: "utf8" });
    expect(applied.status, applied.stderr).toBe(0);
    expect(isApplied()).toBe(true);
  });

  it("fails with Terraform's own error where the plan fails", () => {
    writeFileSync(
      path.join(directory, "broken.tf.json"),
      JSON.stringify({ output: { broken: { value: "${var.missing}" } } }),
    );
    const result = run(["apply", "-auto-approve", "-no-color"]);
    expect(result.status).toBe(1);
    expect(result.output).toContain("Reference to undeclared input variable");
  });
});
