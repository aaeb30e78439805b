import { KmsKey } from "@cdktf/provider-aws/lib/kms-key";
import { describe, expect, it } from "vitest";
import { Role } from "../../lib/iam";
import type { Json } from "../../lib/terraform-modules";
import { buildApp } from "../../main";
import { resourcesOf, synthModule } from "../support/synth";

interface Policy {
  readonly Statement: readonly { readonly Sid?: string; readonly Resource?: string }[];
}

function statementsOf(grants: (role: Role, key: KmsKey, other: KmsKey) => void): Policy["Statement"] {
  const synthesized = synthModule((stack) => {
    const role = new Role(stack, "some", {
      name: "some",
      description: "Some",
      assumedByServices: ["lambda.amazonaws.com"],
    });
    grants(role, new KmsKey(stack, "kms_key.one", {}), new KmsKey(stack, "kms_key.other", {}));
  });
  const [policy] = Object.values(resourcesOf(synthesized, "aws_iam_role_policy"));
  return (JSON.parse(String(policy?.policy)) as Policy).Statement;
}

const decrypt = (key: KmsKey) => ({ sid: "Decrypt", actions: ["kms:Decrypt"], resources: [key.arn] });

/** Texts of policies anywhere in a configuration. */
function policiesIn(json: Json): string[] {
  if (typeof json === "string") return json.includes('"Statement"') ? [json] : [];
  return json !== null && typeof json === "object"
    ? Object.values(json).flatMap((value) => policiesIn(value as Json))
    : [];
}

describe("a policy", () => {
  it("holds once what was granted twice, though each grant refers to the key anew", () => {
    const statements = statementsOf((role, key) => {
      role.addStatement(decrypt(key));
      role.addStatement(decrypt(key));
    });
    expect(statements).toHaveLength(1);
  });

  it("numbers statement ids that would repeat", () => {
    const statements = statementsOf((role, key, other) => {
      role.addStatement(decrypt(key));
      role.addStatement(decrypt(other));
    });
    expect(statements.map(({ Sid }) => Sid)).toEqual(["Decrypt", "Decrypt2"]);
    expect(new Set(statements.map(({ Resource }) => Resource)).size).toBe(2);
  });
});

/** Source: IAM, "IAM JSON policy elements: Sid": it must be unique within a policy; PutRolePolicy refuses it else. */
it("repeats no statement id, in any policy of any stack", () => {
  const configurations = buildApp()
    .render()
    .flatMap(({ emitted }) => [emitted.root, ...emitted.modules.values()]);
  const policies = configurations.flatMap((json) => policiesIn(json));
  const repeating = policies.filter((text) => {
    const sids = (JSON.parse(text) as Policy).Statement.flatMap(({ Sid }) => Sid ?? []);
    return new Set(sids).size < sids.length;
  });
  expect(policies.length).toBeGreaterThan(100);
  expect(repeating).toEqual([]);
});
