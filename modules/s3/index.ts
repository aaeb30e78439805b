import { S3Bucket } from "@cdktf/provider-aws/lib/s3-bucket";
import { S3BucketCorsConfiguration } from "@cdktf/provider-aws/lib/s3-bucket-cors-configuration";
import {
  S3BucketLifecycleConfiguration,
  type S3BucketLifecycleConfigurationRule,
} from "@cdktf/provider-aws/lib/s3-bucket-lifecycle-configuration";
import { S3BucketLoggingA } from "@cdktf/provider-aws/lib/s3-bucket-logging";
import { S3BucketOwnershipControls } from "@cdktf/provider-aws/lib/s3-bucket-ownership-controls";
import { S3BucketPolicy } from "@cdktf/provider-aws/lib/s3-bucket-policy";
import { S3BucketPublicAccessBlock } from "@cdktf/provider-aws/lib/s3-bucket-public-access-block";
import { S3BucketServerSideEncryptionConfigurationA } from "@cdktf/provider-aws/lib/s3-bucket-server-side-encryption-configuration";
import { S3BucketVersioningA } from "@cdktf/provider-aws/lib/s3-bucket-versioning";
import { S3Object } from "@cdktf/provider-aws/lib/s3-object";
import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import { CORS_ORIGINS_RULE } from "../../lib/cors";
import { type Grantee, PolicyDocument, refusePlainText } from "../../lib/iam";
import { physicalName } from "../../lib/naming";
import { enforce, type Rule } from "../../lib/rules";
import { type Asset, Module } from "../../lib/terraform-modules";
import { literal } from "../../lib/terraform-text";

/** Properties of {@link S3}. */
export interface S3Props {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
  /** End of the buckets' names, such as `prod`. */
  readonly environment: string;
  /** AWS account, twelve digits: logs are taken from it alone. */
  readonly accountId: string;
  /** Region of the buckets, which is the load balancer's. */
  readonly region: string;
  /** Sites that may read the frontend's files from a browser. Source: Infra analysis §2-11. */
  readonly corsAllowedOrigins: readonly string[];
  /** Whether there is a bucket for the logs of the load balancer, CloudFront and the frontend bucket. @default true */
  readonly logsBucket?: boolean;
  /** Days after which logs are deleted, later than their move to Glacier on day 90. @default 365 */
  readonly logExpirationDays?: number;
  /** Whether a destroy also deletes what the buckets hold. @default false */
  readonly forceDestroy?: boolean;
}

/** A file for the frontend bucket. */
export interface Upload {
  /** Path in the bucket, without a leading slash: `vwr/index.html`. */
  readonly key: string;
  /** Text, or a file of the output. */
  readonly content: string | Asset;
  readonly contentType: string;
  /** Such as `public, max-age=300`. */
  readonly cacheControl: string;
}

/** The logs bucket, as those who write to it see it. */
export interface LogsBucket {
  readonly bucketName: string;
  readonly bucketArn: string;
  /** The policy that lets the services write: name it in `dependsOn`, because AWS tries a write when logging is switched on. */
  readonly policy: ITerraformDependable;
}

const DEFAULT_LOG_EXPIRATION_DAYS = 365;
/** Source: Infra analysis §2-11, "라이프사이클 규칙". */
const NONCURRENT_VERSION_DAYS = 30;
const ABORT_MULTIPART_DAYS = 7;
/** Source: Infra analysis §2-11, "Logs 버킷". */
const LOGS_TO_STANDARD_IA_DAYS = 30;
const LOGS_TO_GLACIER_DAYS = 90;
/** Seconds for which a browser keeps the answer to a preflight request. */
const CORS_MAX_AGE_SECONDS = 3600;

/**
 * Accounts from which load balancers write their logs, in Regions opened before August 2022.
 * Source: Elastic Load Balancing, "Enable access logs for your Application Load Balancer".
 */
const LOAD_BALANCER_ACCOUNTS: Readonly<Record<string, string>> = { "ap-northeast-2": "600734575887" };

const RULES: readonly Rule<S3Props>[] = [
  CORS_ORIGINS_RULE,
  {
    property: "logExpirationDays",
    given: ({ logExpirationDays = DEFAULT_LOG_EXPIRATION_DAYS }) => logExpirationDays,
    valid: ({ logExpirationDays = DEFAULT_LOG_EXPIRATION_DAYS }) =>
      Number.isInteger(logExpirationDays) && logExpirationDays > LOGS_TO_GLACIER_DAYS,
    allowed: `more than ${LOGS_TO_GLACIER_DAYS} days`,
    remedy: "S3 refuses an expiry that does not come later than the last transition.",
  },
];

/**
 * The frontend bucket (static files, the waiting page, the list of active events), readable through CloudFront only, and the
 * logs bucket. Source: Infra analysis §2-11, AWS architecture §5.9, Architecture guide §3.7.
 */
export class S3 extends Module {
  readonly frontendBucketName: string;
  /** The same name, known at synth: for configuration that is built into a deployment package. */
  readonly frontendBucketPhysicalName: string;
  readonly frontendBucketArn: string;
  /** Origin of CloudFront: the Region is in the name, so that a new bucket is not redirected. */
  readonly frontendBucketRegionalDomainName: string;
  readonly logsBucket?: LogsBucket;

  private readonly props: S3Props;
  private readonly frontend: S3Bucket;
  private readonly frontendPolicy: PolicyDocument;
  private readonly frontendSettings: readonly ITerraformDependable[];

  constructor(scope: Construct, id: string, props: S3Props) {
    super(scope, id);
    this.props = props;
    enforce(this, props, RULES);
    const { environment, forceDestroy = false, logsBucket = true, prefix } = props;

    this.frontendBucketPhysicalName = physicalName(this, "bucket", `${prefix}-frontend-${environment}`);
    this.frontend = new S3Bucket(this, "s3_bucket.frontend", {
      bucket: this.frontendBucketPhysicalName,
      forceDestroy,
    });
    this.frontendSettings = this.protect("frontend", this.frontend);
    this.frontendPolicy = this.attachPolicy("frontend", this.frontend).document;
    this.expire("frontend", this.frontend, [
      noncurrentVersions("expire-noncurrent-versions"),
      abortMultipart("abort-multipart-uploads"),
    ]);
    new S3BucketCorsConfiguration(this, "s3_bucket_cors_configuration.frontend", {
      bucket: this.frontend.id,
      corsRule: [
        {
          allowedMethods: ["GET", "HEAD"],
          allowedOrigins: [...props.corsAllowedOrigins],
          allowedHeaders: ["Content-Type", "If-Modified-Since", "If-None-Match", "Range"],
          exposeHeaders: ["ETag"],
          maxAgeSeconds: CORS_MAX_AGE_SECONDS,
        },
      ],
    });

    this.frontendBucketName = this.frontend.bucket;
    this.frontendBucketArn = this.frontend.arn;
    this.frontendBucketRegionalDomainName = this.frontend.bucketRegionalDomainName;
    if (logsBucket) this.logsBucket = this.createLogsBucket(forceDestroy);
  }

  /** Lets one CloudFront distribution, by its origin access control, read the frontend bucket. Source: Infra analysis §2-11. */
  allowRead({ distributionArn }: { readonly distributionArn: string }): void {
    this.frontendPolicy.addStatement({
      sid: "CloudFrontReads",
      actions: ["s3:GetObject"],
      resources: [`${this.frontend.arn}/*`],
      principals: { services: ["cloudfront.amazonaws.com"] },
      conditions: { StringEquals: { "AWS:SourceArn": distributionArn } },
    });
  }

  /** Lets the grantee read one object of the frontend bucket. */
  grantReadObject(grantee: Grantee, key: string): void {
    grantee.addStatement({
      sid: "ReadFrontendObject",
      actions: ["s3:GetObject"],
      resources: [`${this.frontend.arn}/${key}`],
    });
  }

  /** Lets the grantee write one object of the frontend bucket. */
  grantPutObject(grantee: Grantee, key: string): void {
    grantee.addStatement({
      sid: "WriteFrontendObject",
      actions: ["s3:PutObject"],
      resources: [`${this.frontend.arn}/${key}`],
    });
  }

  /** Puts a file into the frontend bucket. */
  upload(id: string, { cacheControl, content, contentType, key }: Upload): void {
    new S3Object(this, `s3_object.${id}`, {
      bucket: this.frontend.id,
      key,
      ...(typeof content === "string"
        ? { content: literal(content) }
        : { source: content.path, sourceHash: content.sha256 }),
      contentType,
      cacheControl,
      serverSideEncryption: "AES256",
      // The first version must already be one that the bucket keeps.
      dependsOn: [...this.frontendSettings],
    });
  }

  private createLogsBucket(forceDestroy: boolean): LogsBucket {
    const { environment, logExpirationDays = DEFAULT_LOG_EXPIRATION_DAYS, prefix } = this.props;
    const bucket = new S3Bucket(this, "s3_bucket.logs", {
      bucket: physicalName(this, "bucket", `${prefix}-logs-${environment}`),
      forceDestroy,
    });
    this.protect("logs", bucket);
    const { document, resource } = this.attachPolicy("logs", bucket);
    this.admitLogDelivery(bucket, document);
    this.expire("logs", bucket, [
      {
        id: "archive-and-expire",
        status: "Enabled",
        filter: [{ prefix: "" }],
        transition: [
          { days: LOGS_TO_STANDARD_IA_DAYS, storageClass: "STANDARD_IA" },
          { days: LOGS_TO_GLACIER_DAYS, storageClass: "GLACIER" },
        ],
        expiration: [{ days: logExpirationDays }],
      },
      noncurrentVersions("expire-noncurrent-versions"),
      abortMultipart("abort-multipart-uploads"),
    ]);
    new S3BucketLoggingA(this, "s3_bucket_logging.frontend", {
      bucket: this.frontend.id,
      targetBucket: bucket.id,
      targetPrefix: "s3/",
      // S3 tries no write here, but everything that is logged before the policy is lost.
      dependsOn: [resource],
    });
    return { bucketName: bucket.bucket, bucketArn: bucket.arn, policy: resource };
  }

  /** Load balancers, CloudFront (standard logging v2) and S3 itself may write, each below its own path, for this account only. */
  private admitLogDelivery(bucket: S3Bucket, document: PolicyDocument): void {
    const { accountId, region } = this.props;
    // The test file that ELB writes when logging is switched on lies beside the folder of its logs, not in it.
    const loadBalancerLogs = ["ELBAccessLogTestFile", "elasticloadbalancing/*"].map(
      (path) => `${bucket.arn}/AWSLogs/${accountId}/${path}`,
    );
    const loadBalancerAccount = LOAD_BALANCER_ACCOUNTS[region];
    document.addStatement({
      sid: "LoadBalancersWrite",
      actions: ["s3:PutObject"],
      resources: loadBalancerLogs,
      principals: { services: ["logdelivery.elasticloadbalancing.amazonaws.com"] },
    });
    if (loadBalancerAccount) {
      document.addStatement({
        sid: "LoadBalancersOfOlderRegionsWrite",
        actions: ["s3:PutObject"],
        resources: loadBalancerLogs,
        principals: { aws: [`arn:aws:iam::${loadBalancerAccount}:root`] },
      });
    }
    document.addStatement({
      sid: "CloudFrontWrites",
      actions: ["s3:PutObject"],
      resources: [`${bucket.arn}/AWSLogs/${accountId}/CloudFront/*`],
      principals: { services: ["delivery.logs.amazonaws.com"] },
      conditions: {
        StringEquals: { "aws:SourceAccount": accountId, "s3:x-amz-acl": "bucket-owner-full-control" },
        ArnLike: { "aws:SourceArn": `arn:aws:logs:us-east-1:${accountId}:delivery-source:*` },
      },
    });
    document.addStatement({
      sid: "S3Writes",
      actions: ["s3:PutObject"],
      resources: [`${bucket.arn}/s3/*`],
      principals: { services: ["logging.s3.amazonaws.com"] },
      conditions: {
        StringEquals: { "aws:SourceAccount": accountId },
        ArnLike: { "aws:SourceArn": this.frontend.arn },
      },
    });
  }

  /** Encryption, versions, no public access, no ACLs: what every bucket has. */
  private protect(id: string, bucket: S3Bucket): ITerraformDependable[] {
    const encryption = new S3BucketServerSideEncryptionConfigurationA(
      this,
      `s3_bucket_server_side_encryption_configuration.${id}`,
      {
        bucket: bucket.id,
        rule: [{ applyServerSideEncryptionByDefault: { sseAlgorithm: "AES256" }, bucketKeyEnabled: true }],
      },
    );
    const versioning = new S3BucketVersioningA(this, `s3_bucket_versioning.${id}`, {
      bucket: bucket.id,
      versioningConfiguration: { status: "Enabled" },
    });
    new S3BucketOwnershipControls(this, `s3_bucket_ownership_controls.${id}`, {
      bucket: bucket.id,
      rule: { objectOwnership: "BucketOwnerEnforced" },
    });
    return [encryption, versioning];
  }

  private attachPolicy(id: string, bucket: S3Bucket): { document: PolicyDocument; resource: S3BucketPolicy } {
    const document = new PolicyDocument([refusePlainText(["s3:*"], [bucket.arn, `${bucket.arn}/*`])]);
    const publicAccessBlock = new S3BucketPublicAccessBlock(this, `s3_bucket_public_access_block.${id}`, {
      bucket: bucket.id,
      blockPublicAcls: true,
      blockPublicPolicy: true,
      ignorePublicAcls: true,
      restrictPublicBuckets: true,
    });
    const resource = new S3BucketPolicy(this, `s3_bucket_policy.${id}`, {
      bucket: bucket.id,
      policy: document.json,
      // S3 refuses one of two such changes to a bucket that arrive at the same time.
      dependsOn: [publicAccessBlock],
    });
    return { document, resource };
  }

  private expire(id: string, bucket: S3Bucket, rule: S3BucketLifecycleConfigurationRule[]): void {
    new S3BucketLifecycleConfiguration(this, `s3_bucket_lifecycle_configuration.${id}`, { bucket: bucket.id, rule });
  }
}

function noncurrentVersions(id: string): S3BucketLifecycleConfigurationRule {
  return {
    id,
    status: "Enabled",
    filter: [{ prefix: "" }],
    noncurrentVersionExpiration: [{ noncurrentDays: NONCURRENT_VERSION_DAYS }],
  };
}

function abortMultipart(id: string): S3BucketLifecycleConfigurationRule {
  return {
    id,
    status: "Enabled",
    filter: [{ prefix: "" }],
    abortIncompleteMultipartUpload: [{ daysAfterInitiation: ABORT_MULTIPART_DAYS }],
  };
}
