import { expect } from "vitest";
import type { Json, Resource, TerraformStack } from "./terraform";

/** What to expect besides encryption itself. */
export interface EncryptionExpectation {
  /** The customer-managed key that must be used. @default any key, the service's own included */
  readonly key?: Resource;
}

interface EncryptionRule {
  /** Paths and the value that switches encryption on. */
  readonly on: readonly (readonly [path: string, value: Json])[];
  /** Where the resource names its key. */
  readonly keyPath?: string;
}

/** How each type of resource is encrypted at rest, and in transit where the resource decides that. */
const RULES: Readonly<Record<string, EncryptionRule>> = {
  aws_cloudwatch_log_group: { on: [], keyPath: "kms_key_id" },
  aws_db_instance: { on: [["storage_encrypted", true]], keyPath: "kms_key_id" },
  aws_dynamodb_table: { on: [], keyPath: "server_side_encryption.kms_key_arn" },
  aws_ecr_repository: { on: [], keyPath: "encryption_configuration.kms_key" },
  aws_eks_cluster: {
    on: [["encryption_config.resources", ["secrets"]]],
    keyPath: "encryption_config.provider.key_arn",
  },
  aws_elasticache_replication_group: {
    on: [
      ["at_rest_encryption_enabled", true],
      ["transit_encryption_enabled", true],
    ],
    keyPath: "kms_key_id",
  },
  aws_msk_cluster: {
    on: [
      ["encryption_info.encryption_in_transit.client_broker", "TLS"],
      ["encryption_info.encryption_in_transit.in_cluster", true],
    ],
    keyPath: "encryption_info.encryption_at_rest_kms_key_arn",
  },
  aws_secretsmanager_secret: { on: [], keyPath: "kms_key_id" },
  aws_sns_topic: { on: [], keyPath: "kms_master_key_id" },
};

/** Types that this helper knows. Those that AWS always encrypts pass without a key, unless one is asked for. */
export const ENCRYPTED_TYPES: readonly string[] = [...Object.keys(RULES), "aws_s3_bucket", "aws_sqs_queue"];

/** Fails unless the resource is encrypted, and by the key that was asked for. */
export function expectEncrypted(stack: TerraformStack, resource: Resource, { key }: EncryptionExpectation = {}): void {
  expect(encryptionGaps(stack, resource, key), `encryption of ${resource.address}`).toEqual([]);
}

/** What keeps a resource from being encrypted as asked, in words; nothing if it is. */
export function encryptionGaps(stack: TerraformStack, resource: Resource, key?: Resource): string[] {
  if (resource.type === "aws_s3_bucket") return bucketGaps(stack, resource, key);
  if (resource.type === "aws_sqs_queue") return queueGaps(stack, resource, key);
  const rule = RULES[resource.type];
  if (!rule) throw new Error(`no encryption rule for ${resource.type} (${resource.address})`);
  // A read replica in the same Region takes over encryption and key from its source.
  const [source] = stack.referred(resource, "replicate_source_db");
  if (source) return encryptionGaps(stack, source, key);
  const gaps = rule.on
    .filter(
      ([path, value]) => JSON.stringify(asWritten(stack.resolve(resource, path), value)) !== JSON.stringify(value),
    )
    .map(
      ([path, value]) => `${path} is ${JSON.stringify(stack.resolve(resource, path))}, not ${JSON.stringify(value)}`,
    );
  return [...gaps, ...keyGaps(stack, resource, rule.keyPath, key)];
}

function keyGaps(
  stack: TerraformStack,
  resource: Resource,
  path: string | undefined,
  key: Resource | undefined,
): string[] {
  if (!key) return [];
  if (path !== undefined && stack.references(resource, path).includes(key.address)) return [];
  return [`${path ?? "key"} is ${JSON.stringify(path && stack.resolve(resource, path))}, not ${key.address}`];
}

function bucketGaps(stack: TerraformStack, bucket: Resource, key: Resource | undefined): string[] {
  const [configuration] = stack
    .find({ type: "aws_s3_bucket_server_side_encryption_configuration" })
    .filter((candidate) => stack.references(candidate, "bucket").includes(bucket.address));
  if (!configuration) return ["no aws_s3_bucket_server_side_encryption_configuration names it"];
  const defaults = "rule.apply_server_side_encryption_by_default";
  const algorithm = stack.resolve(configuration, `${defaults}.sse_algorithm`);
  const gaps = algorithm === "AES256" || algorithm === "aws:kms" ? [] : [`sse_algorithm is ${String(algorithm)}`];
  return [...gaps, ...keyGaps(stack, configuration, `${defaults}.kms_master_key_id`, key)];
}

function queueGaps(stack: TerraformStack, queue: Resource, key: Resource | undefined): string[] {
  const managed = stack.resolve(queue, "sqs_managed_sse_enabled") === true;
  const byKey = stack.resolve(queue, "kms_master_key_id") !== undefined;
  const gaps = managed || byKey ? [] : ["neither sqs_managed_sse_enabled nor kms_master_key_id is set"];
  return [...gaps, ...keyGaps(stack, queue, "kms_master_key_id", key)];
}

/** A list of one may be written as the value itself, and a boolean that the provider takes as text (`"true"`) as that text. */
function asWritten(value: Json | undefined, wanted: Json): Json | undefined {
  if (typeof wanted === "boolean" && (value === "true" || value === "false")) return value === "true";
  if (typeof wanted === "boolean" && typeof value === "string") return value === "true";
  return Array.isArray(wanted) && value !== undefined && !Array.isArray(value) ? [value as Json] : value;
}
