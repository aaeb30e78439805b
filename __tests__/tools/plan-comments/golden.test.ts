import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readSynth } from "../../../tools/plan-comments/files";
import { BODY_BUDGET, Redactor, renderComment, reportOf, toAnsi } from "../../../tools/plan-comments/render/index";
import { bodyBytes } from "../../../tools/plan-comments/render/markdown";
import { FIXTURES, fixture, rendered } from "./fixture";
import { fencesOf, problemsOf } from "./markdown-check";

const CASES = ["mixed", "empty", "destroy", "reasons", "unknown", "errored", "aws", "drift"];
const commits = { head: "0123456789abcdef", base: "fedcba9876543210" };

/** Plans made by real Terraform 1.11.4 (see fixtures/make.ts). */
describe("a comment over a real plan", () => {
  it.each(CASES)("%s reads as it did when it was last looked at", async (name) => {
    const { bodies } = rendered(fixture(name), commits);
    expect(bodies).toHaveLength(1);
    await expect(bodies[0]).toMatchFileSnapshot(join(FIXTURES, "golden", `${name}.txt`));
  });

  it.each(CASES)("%s is one whole document under GitHub's limit", (name) => {
    const { bodies, full } = rendered(fixture(name), commits);
    for (const text of [...bodies, full]) expect(problemsOf(text)).toEqual([]);
    for (const body of bodies) {
      expect(bodyBytes(body)).toBeLessThanOrEqual(BODY_BUDGET);
      expect(body.length).toBeLessThan(65_536);
    }
  });

  it.each(CASES)("%s is the same text every time", (name) => {
    expect(rendered(fixture(name), commits).full).toBe(rendered(fixture(name), commits).full);
  });

  it("counts every kind of change in its title", () => {
    expect(rendered(fixture("mixed")).summary).toBe(
      "4 to add, 2 to change, 3 to replace, 1 to destroy, 1 to import, 1 moved, 1 to forget",
    );
    expect(rendered(fixture("empty")).summary).toBe("no changes");
    expect(rendered(fixture("errored")).summary).toBe("failed (planned until then: 1 to change)");
  });

  it("says why something is replaced or destroyed", () => {
    const reasons = rendered(fixture("reasons")).full;
    expect(reasons).toContain("<code>random_id.suffix</code> · byte_length cannot be changed in place");
    expect(reasons).toContain("<code>terraform_data.asked</code> · asked for with -replace");
    expect(reasons).toContain("<code>terraform_data.tainted</code> · is tainted");
    expect(reasons).toContain("<code>terraform_data.follower</code> · replace_triggered_by; the new one is made first");
    const destroyed = rendered(fixture("destroy")).full;
    expect(destroyed).toContain("<code>terraform_data.list[1]</code> · its index is beyond count");
    expect(destroyed).toContain("its key is no longer in for_each");
    expect(destroyed).toContain("<code>terraform_data.primary</code> · is no longer in the configuration");
  });

  it("warns of what is destroyed and asks for the label", () => {
    expect(rendered(fixture("destroy")).destroys).toBe(true);
    expect(rendered(fixture("destroy")).full).toMatch(
      /> \[!CAUTION\]\n> \*\*5 resources are destroyed:\*\* `module\.rds\.terraform_data\.list\[1\]`/,
    );
    expect(rendered(fixture("unknown")).destroys).toBe(false);
    expect(rendered(fixture("unknown")).full).not.toContain("[!CAUTION]");
  });

  it("tells moves, imports and forgotten resources", () => {
    const { full } = rendered(fixture("mixed"));
    expect(full).toContain("- → move `terraform_data.flow_log`: moved from `module.vpc.terraform_data.flow_logs`");
    expect(full).toContain("imports <code>Abcdef12</code>");
    expect(full).toContain("- ⊘ forget `terraform_data.legacy`");
  });

  it("recognises a rename that nobody told Terraform of, and prints the moved block", () => {
    expect(fencesOf(rendered(fixture("mixed")).full).find(({ language }) => language === "hcl")?.value).toBe(
      "moved {\n  from = module.rds.terraform_data.old_name\n  to   = module.rds.terraform_data.new_name\n}",
    );
  });

  it("shows drift apart from the plan", () => {
    const { full } = rendered(fixture("drift"));
    expect(full).toContain("### Drift · 3 resources changed outside Terraform");
    expect(full).toContain("- module.monitoring.aws_ssm_parameter.gone: is gone");
    expect(full).toContain('+   description: "opened by hand"');
  });

  it("shows changed outputs, without sensitive ones", () => {
    const outputs = fencesOf(rendered(fixture("mixed")).full).at(-1)?.value;
    expect(outputs).toContain('! endpoint: "old.urr.guru" → "new.urr.guru"');
    expect(outputs).toContain("- gone: 1");
    expect(outputs).toContain("! token: (sensitive) → (changed)");
  });

  it("shows where a value known after apply comes from, through module inputs and outputs", () => {
    const { full } = rendered(fixture("aws"));
    expect(full).toContain("referenced_security_group_id: (known after apply, from module.vpc.aws_security_group.app)");
    expect(full).toContain("security_group_id: (known after apply, from module.vpc.aws_security_group.app)");
  });

  it("says that a failed plan cannot be applied, with the messages of failing checks", () => {
    const { full } = rendered(fixture("errored"));
    expect(full).toContain("**Terraform stopped with an error.**");
    expect(full).toContain("`module.vpc.terraform_data.broken`: Two subnets are needed.");
    expect(full).not.toContain("cdktf apply");
  });

  it("hides every secret of the AWS plan, wherever it stands", () => {
    const { full } = rendered(fixture("aws"));
    for (const secret of ["S3cr3t-Master-Passw0rd", "Old-Master-Passw0rd", "tok-not-so-random", "tok-older-one"]) {
      expect(full).not.toContain(secret);
    }
    expect(full).toContain("postgres://urr_admin:(sensitive)@db.internal:5432/urr");
    expect(full).toContain('TOKEN_SECRET_ID: "urr-prod/vwr-token-secret"');
  });

  it("compares policies as JSON and names the actions that are new", () => {
    const { full } = rendered(fixture("aws"));
    expect(full).toContain("| ＋ | `urr-prod-vwr-api` | `dynamodb:PutItem` |");
    expect(full).toContain("`s3:*` **⚠ every action of the service on everything** | `*` |");
    expect(full).not.toContain("`dynamodb:GetItem`");
    expect(full).toContain("aws_iam_role.api  # ");
  });

  it("says who can reach whom, with the names of groups that do not exist yet", () => {
    const { full } = rendered(fixture("aws"));
    expect(full).toContain(
      "| ＋ | `0.0.0.0/0` | `tcp 443` **⚠ the whole internet** | `module.vpc.aws_security_group.app` |",
    );
    expect(full).toContain("| ＋ | `module.vpc.aws_security_group.app` | `tcp 5432` | `10.0.0.0/20` |");
    expect(full).toContain("| － | `10.0.0.0/8` | `tcp 22` | `module.vpc.aws_security_group.old` |");
  });

  it("takes module names and construct paths from the synthesized configuration", () => {
    const plan = fixture("aws");
    const redactor = Redactor.forPlans([plan]);
    const report = reportOf("prod", plan, redactor, readSynth(join(FIXTURES, "aws.synth")).prod);
    expect(report.items.find((item) => item.type === "aws_lambda_function")).toMatchObject({
      module: "lambda-vwr",
      construct: "prod/lambda-vwr/api",
    });
    expect(renderComment(report, redactor).full).toContain("### `lambda-vwr` · 3 change, 1 create");
  });

  it("reads the same in a terminal, without any Markdown sign", () => {
    const text = toAnsi(rendered(fixture("aws"), commits).full);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours begin with one
    const plain = text.replace(/\u001b\[[\d;]*m/g, "");
    expect(plain).toContain("Plan for prod: 7 to add, 5 to change, 1 to destroy");
    expect(plain).not.toMatch(/<\/?(?:details|summary|code|sub)|^```|\*\*|^\|/m);
    expect(plain).toContain("! memory_size: 256 → 512");
    expect(text).toContain("\u001b[32m+ aws_nat_gateway.a");
  });
});
