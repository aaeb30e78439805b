import { describe, expect, it } from "vitest";
import { encryptionGaps, expectEncrypted } from "./encryption";
import { TerraformStack } from "./terraform";

const stack = new TerraformStack("test", {
  resource: {
    aws_kms_key: { main: {}, other: {} },
    aws_db_instance: {
      primary: { storage_encrypted: true, kms_key_id: "${aws_kms_key.main.arn}" },
      replica: { replicate_source_db: "${aws_db_instance.primary.identifier}" },
      plain: { storage_encrypted: false },
    },
    aws_elasticache_replication_group: {
      half: { at_rest_encryption_enabled: true, transit_encryption_enabled: false },
    },
    aws_eks_cluster: {
      main: { encryption_config: { resources: ["secrets"], provider: { key_arn: "${aws_kms_key.main.arn}" } } },
    },
    aws_s3_bucket: { sealed: { bucket: "a" }, open: { bucket: "b" } },
    aws_s3_bucket_server_side_encryption_configuration: {
      sealed: {
        bucket: "${aws_s3_bucket.sealed.id}",
        rule: [{ apply_server_side_encryption_by_default: { sse_algorithm: "AES256" } }],
      },
    },
    aws_sqs_queue: { managed: { sqs_managed_sse_enabled: true }, open: {} },
    aws_thing: { x: {} },
  },
});
const key = stack.at("aws_kms_key.main");

describe("encryption", () => {
  it("holds where it is switched on, by the key that was asked for", () => {
    expectEncrypted(stack, stack.at("aws_db_instance.primary"), { key });
    expectEncrypted(stack, stack.at("aws_eks_cluster.main"), { key });
    expectEncrypted(stack, stack.at("aws_s3_bucket.sealed"));
    expectEncrypted(stack, stack.at("aws_sqs_queue.managed"));
  });

  it("is taken over by a read replica", () => {
    expectEncrypted(stack, stack.at("aws_db_instance.replica"), { key });
  });

  it.each<[string, string]>([
    ["aws_db_instance.plain", "storage_encrypted is false, not true"],
    ["aws_elasticache_replication_group.half", "transit_encryption_enabled is false, not true"],
    ["aws_s3_bucket.open", "no aws_s3_bucket_server_side_encryption_configuration names it"],
    ["aws_sqs_queue.open", "neither sqs_managed_sse_enabled nor kms_master_key_id is set"],
  ])("fails for %s", (address, gap) => {
    expect(encryptionGaps(stack, stack.at(address))).toEqual([gap]);
    expect(() => expectEncrypted(stack, stack.at(address))).toThrow(`encryption of ${address}`);
  });

  it("fails by another key", () => {
    const other = stack.at("aws_kms_key.other");
    expect(encryptionGaps(stack, stack.at("aws_db_instance.primary"), other)).toEqual([
      'kms_key_id is "aws_kms_key.main.arn", not aws_kms_key.other',
    ]);
  });

  it("fails for a type it does not know", () => {
    expect(() => encryptionGaps(stack, stack.at("aws_thing.x"))).toThrow("no encryption rule for aws_thing");
  });
});
