import { DynamodbTable } from "@cdktf/provider-aws/lib/dynamodb-table";
import { KmsAlias } from "@cdktf/provider-aws/lib/kms-alias";
import { KmsKey } from "@cdktf/provider-aws/lib/kms-key";
import { S3Bucket } from "@cdktf/provider-aws/lib/s3-bucket";
import {
  S3BucketLifecycleConfiguration,
  type S3BucketLifecycleConfigurationRule,
} from "@cdktf/provider-aws/lib/s3-bucket-lifecycle-configuration";
import { S3BucketOwnershipControls } from "@cdktf/provider-aws/lib/s3-bucket-ownership-controls";
import { S3BucketPolicy } from "@cdktf/provider-aws/lib/s3-bucket-policy";
import { S3BucketPublicAccessBlock } from "@cdktf/provider-aws/lib/s3-bucket-public-access-block";
import { S3BucketServerSideEncryptionConfigurationA } from "@cdktf/provider-aws/lib/s3-bucket-server-side-encryption-configuration";
import { S3BucketVersioningA } from "@cdktf/provider-aws/lib/s3-bucket-versioning";
import { Construct } from "constructs";
import { PolicyDocument, refusePlainText } from "../lib/iam";
import { physicalName } from "../lib/naming";

/** Properties of {@link StateBucket}. */
export interface StateBucketProps {
  /** Replacing it destroys the bucket, which its policy refuses. */
  readonly bucketName: string;
  /** Keys of the states in it. */
  readonly stateKeys: readonly string[];
}

/** Versions of a state that are kept whatever their age. */
const KEPT_STATE_VERSIONS = 50;
/** Days for which every version is kept. */
const STATE_HISTORY_DAYS = 365;
/** Lock files are written and deleted with every run. */
const LOCK_FILE_HISTORY_DAYS = 7;
const ABORT_UPLOADS_AFTER_DAYS = 7;
/** Days between a key's deletion and the loss of everything that it encrypted: AWS's maximum. */
const KEY_DELETION_WINDOW_DAYS = 30;

/**
 * A bucket of Terraform states: versioned, encrypted, private, TLS only. Its policy refuses to delete the bucket, a state or
 * any version, to whoever asks; Terraform has to take the policy away first, in an apply of its own.
 * Source: Infra analysis §1-3 (versioning, AES256).
 */
export class StateBucket extends Construct {
  readonly bucketName: string;

  constructor(scope: Construct, id: string, { bucketName, stateKeys }: StateBucketProps) {
    super(scope, id);
    const bucket = createPrivateBucket(this, "state", bucketName, {
      applyServerSideEncryptionByDefault: { sseAlgorithm: "AES256" },
    });
    new S3BucketPolicy(this, "s3_bucket_policy.state", {
      bucket: bucket.id,
      policy: new PolicyDocument([
        refusePlainText(["s3:*"], [bucket.arn, `${bucket.arn}/*`]),
        {
          sid: "RefuseDeletion",
          effect: "Deny",
          principals: { aws: ["*"] },
          actions: ["s3:DeleteBucket"],
          resources: [bucket.arn],
        },
        {
          sid: "RefuseDeletionOfHistory",
          effect: "Deny",
          principals: { aws: ["*"] },
          actions: ["s3:DeleteObjectVersion"],
          resources: [`${bucket.arn}/*`],
        },
        {
          sid: "RefuseDeletionOfStates",
          effect: "Deny",
          principals: { aws: ["*"] },
          actions: ["s3:DeleteObject"],
          resources: stateKeys.map((key) => `${bucket.arn}/${key}`),
        },
      ]).json,
    });
    createLifecycle(this, "state", bucket, [
      {
        id: "state-history",
        status: "Enabled",
        filter: [{ prefix: "" }],
        noncurrentVersionExpiration: [
          { noncurrentDays: STATE_HISTORY_DAYS, newerNoncurrentVersions: KEPT_STATE_VERSIONS },
        ],
        expiration: [{ expiredObjectDeleteMarker: true }],
        abortIncompleteMultipartUpload: [{ daysAfterInitiation: ABORT_UPLOADS_AFTER_DAYS }],
      },
      ...stateKeys.map((key) => ({
        id: `lock-files-of-${key.replaceAll(/[^a-z0-9]+/g, "-")}`,
        status: "Enabled",
        filter: [{ prefix: `${key}.tflock` }],
        noncurrentVersionExpiration: [{ noncurrentDays: LOCK_FILE_HISTORY_DAYS }],
      })),
    ]);
    this.bucketName = bucket.bucket;
  }
}

/** Properties of {@link LockTable}. */
export interface LockTableProps {
  /** Replacing it destroys the table, which its deletion protection refuses. */
  readonly tableName: string;
}

/** The table of state locks. Source: Infra analysis §1-3 (PAY_PER_REQUEST); key: Terraform, S3 backend, `dynamodb_table`. */
export class LockTable extends Construct {
  readonly tableName: string;
  readonly tableArn: string;

  constructor(scope: Construct, id: string, { tableName }: LockTableProps) {
    super(scope, id);
    const table = new DynamodbTable(this, "dynamodb_table.main", {
      name: physicalName(this, "table", tableName),
      billingMode: "PAY_PER_REQUEST",
      hashKey: "LockID",
      attribute: [{ name: "LockID", type: "S" }],
      pointInTimeRecovery: { enabled: true },
      serverSideEncryption: { enabled: true },
      deletionProtectionEnabled: true,
    });
    this.tableName = table.name;
    this.tableArn = table.arn;
  }
}

/** Properties of {@link PlanBundles}. */
export interface PlanBundlesProps {
  readonly bucketName: string;
  readonly accountId: string;
  /** Days for which a bundle, and after it its versions, are kept. */
  readonly retentionDays: number;
}

/**
 * Reviewed plans on their way from the plan job to the apply job. A plan holds sensitive values in clear, so each is encrypted
 * with a key that plan roles may only encrypt with and apply roles only decrypt with, each for its own environment's folder.
 */
export class PlanBundles extends Construct {
  readonly bucketName: string;
  readonly bucketArn: string;
  readonly keyArn: string;

  private readonly keyPolicy: PolicyDocument;

  constructor(scope: Construct, id: string, { accountId, bucketName, retentionDays }: PlanBundlesProps) {
    super(scope, id);
    this.keyPolicy = new PolicyDocument([
      {
        // Administration, not use: the account's own policies cannot hand out the contents of plans.
        sid: "AccountAdministersTheKey",
        actions: [
          "kms:Create*",
          "kms:Describe*",
          "kms:Enable*",
          "kms:List*",
          "kms:Put*",
          "kms:Update*",
          "kms:Revoke*",
          "kms:Disable*",
          "kms:Get*",
          "kms:Delete*",
          "kms:TagResource",
          "kms:UntagResource",
          "kms:ScheduleKeyDeletion",
          "kms:CancelKeyDeletion",
        ],
        resources: ["*"],
        principals: { aws: [`arn:aws:iam::${accountId}:root`] },
      },
    ]);
    const key = new KmsKey(this, "kms_key.main", {
      description: "Encrypts reviewed Terraform plans",
      enableKeyRotation: true,
      deletionWindowInDays: KEY_DELETION_WINDOW_DAYS,
      policy: this.keyPolicy.json,
    });
    new KmsAlias(this, "kms_alias.main", {
      name: physicalName(this, "alias", "alias/urr-plan-bundles"),
      targetKeyId: key.keyId,
    });
    // Without a bucket key: with one, requests name the bucket only, and the key could not tell the environments apart.
    const bucket = createPrivateBucket(this, "main", bucketName, {
      applyServerSideEncryptionByDefault: { sseAlgorithm: "aws:kms", kmsMasterKeyId: key.arn },
      bucketKeyEnabled: false,
    });
    new S3BucketPolicy(this, "s3_bucket_policy.main", {
      bucket: bucket.id,
      policy: new PolicyDocument([
        refusePlainText(["s3:*"], [bucket.arn, `${bucket.arn}/*`]),
        {
          sid: "RefuseOtherEncryption",
          effect: "Deny",
          principals: { aws: ["*"] },
          actions: ["s3:PutObject"],
          resources: [`${bucket.arn}/*`],
          // Whoever names none gets the bucket's.
          conditions: { StringNotEqualsIfExists: { "s3:x-amz-server-side-encryption": "aws:kms" } },
        },
        {
          sid: "RefuseOtherKeys",
          effect: "Deny",
          principals: { aws: ["*"] },
          actions: ["s3:PutObject"],
          resources: [`${bucket.arn}/*`],
          conditions: {
            StringNotEqualsIfExists: { "s3:x-amz-server-side-encryption-aws-kms-key-id": key.arn },
          },
        },
      ]).json,
    });
    createLifecycle(this, "main", bucket, [
      {
        id: "stale-plans",
        status: "Enabled",
        filter: [{ prefix: "" }],
        expiration: [{ days: retentionDays }],
        noncurrentVersionExpiration: [{ noncurrentDays: 1 }],
        abortIncompleteMultipartUpload: [{ daysAfterInitiation: 1 }],
      },
    ]);
    this.bucketName = bucket.bucket;
    this.bucketArn = bucket.arn;
    this.keyArn = key.arn;
  }

  /** Objects of one environment. */
  objectsOf(environment: string): string {
    return `${this.bucketArn}/${environment}/*`;
  }

  /** Lets a role, by its ARN, encrypt bundles of an environment, and not read any. */
  allowEncrypt(roleArn: string, environment: string): void {
    this.allow("Encrypt", ["kms:GenerateDataKey"], roleArn, environment);
  }

  /** Lets a role, by its ARN, decrypt bundles of an environment. */
  allowDecrypt(roleArn: string, environment: string): void {
    this.allow("Decrypt", ["kms:Decrypt"], roleArn, environment);
  }

  private allow(verb: string, actions: readonly string[], roleArn: string, environment: string): void {
    this.keyPolicy.addStatement({
      sid: `${verb}${environment.charAt(0).toUpperCase()}${environment.slice(1)}`,
      actions,
      resources: ["*"],
      principals: { aws: [roleArn] },
      conditions: { StringLike: { "kms:EncryptionContext:aws:s3:arn": this.objectsOf(environment) } },
    });
  }
}

type Encryption = ConstructorParameters<typeof S3BucketServerSideEncryptionConfigurationA>[2]["rule"];
type EncryptionRule = Extract<Encryption, readonly unknown[]>[number];

/** A versioned, encrypted bucket that nobody can make public and whose objects belong to the account. */
function createPrivateBucket(scope: Construct, id: string, name: string, encryption: EncryptionRule): S3Bucket {
  const bucket = new S3Bucket(scope, `s3_bucket.${id}`, { bucket: physicalName(scope, "bucket", name) });
  new S3BucketVersioningA(scope, `s3_bucket_versioning.${id}`, {
    bucket: bucket.id,
    versioningConfiguration: { status: "Enabled" },
  });
  new S3BucketServerSideEncryptionConfigurationA(scope, `s3_bucket_server_side_encryption_configuration.${id}`, {
    bucket: bucket.id,
    rule: [encryption],
  });
  new S3BucketPublicAccessBlock(scope, `s3_bucket_public_access_block.${id}`, {
    bucket: bucket.id,
    blockPublicAcls: true,
    blockPublicPolicy: true,
    ignorePublicAcls: true,
    restrictPublicBuckets: true,
  });
  new S3BucketOwnershipControls(scope, `s3_bucket_ownership_controls.${id}`, {
    bucket: bucket.id,
    rule: { objectOwnership: "BucketOwnerEnforced" },
  });
  return bucket;
}

function createLifecycle(
  scope: Construct,
  id: string,
  bucket: S3Bucket,
  rules: readonly S3BucketLifecycleConfigurationRule[],
): void {
  const versioning = scope.node.findChild(`s3_bucket_versioning.${id}`) as S3BucketVersioningA;
  new S3BucketLifecycleConfiguration(scope, `s3_bucket_lifecycle_configuration.${id}`, {
    bucket: bucket.id,
    rule: [...rules],
    // Rules for older versions are refused while the bucket keeps none.
    dependsOn: [versioning],
  });
}
