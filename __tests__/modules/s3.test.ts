import { TerraformVariable } from "cdktf";
import { describe, expect, it } from "vitest";
import { Role } from "../../lib/iam";
import { Asset } from "../../lib/terraform-modules";
import { S3, type S3Props } from "../../modules/s3";
import { ACCOUNT_ID, REGION, resourcesOf, synthModule, synthProblems, type TestStack } from "../support/synth";

function build(stack: TestStack, props: Partial<S3Props> = {}): S3 {
  return new S3(stack, "s3", {
    prefix: "urr-prod",
    environment: "prod",
    accountId: ACCOUNT_ID,
    region: REGION,
    corsAllowedOrigins: ["https://urr.guru", "https://www.urr.guru"],
    ...props,
  });
}

const synthesized = synthModule((stack) => {
  build(stack).allowRead({ distributionArn: `arn:aws:cloudfront::${ACCOUNT_ID}:distribution/E1` });
});

interface BucketStatement {
  Sid: string;
  Effect: string;
  Principal: "*" | { Service?: string; AWS?: string };
  Action: string;
  Resource: string | string[];
  Condition?: Record<string, Record<string, string>>;
}

function statementsOf(bucket: string, of = synthesized): BucketStatement[] {
  const policy = resourcesOf(of, "aws_s3_bucket_policy")[`s3_${bucket}`]?.policy;
  return (JSON.parse(String(policy)) as { Statement: BucketStatement[] }).Statement;
}

function rulesOf(bucket: string, of = synthesized): Record<string, unknown>[] {
  return resourcesOf(of, "aws_s3_bucket_lifecycle_configuration")[`s3_${bucket}`]?.rule as unknown as Record<
    string,
    unknown
  >[];
}

describe("s3", () => {
  /** Infra analysis §2-11. */
  it("names the buckets after the environment", () => {
    const buckets = resourcesOf(synthesized, "aws_s3_bucket");
    expect(Object.values(buckets).map(({ bucket }) => bucket)).toEqual([
      "urr-prod-frontend-prod",
      "urr-prod-logs-prod",
    ]);
    for (const { force_destroy } of Object.values(buckets)) expect(force_destroy).toBe(false);
  });

  it.each([
    "frontend",
    "logs",
  ])("protects the %s bucket: AES256 with a bucket key, versions, no public access, no ACLs", (bucket) => {
    const name = `s3_${bucket}`;
    expect(resourcesOf(synthesized, "aws_s3_bucket_server_side_encryption_configuration")[name]?.rule).toEqual([
      { apply_server_side_encryption_by_default: { sse_algorithm: "AES256" }, bucket_key_enabled: true },
    ]);
    expect(resourcesOf(synthesized, "aws_s3_bucket_versioning")[name]?.versioning_configuration).toEqual({
      status: "Enabled",
    });
    expect(resourcesOf(synthesized, "aws_s3_bucket_public_access_block")[name]).toMatchObject({
      block_public_acls: true,
      block_public_policy: true,
      ignore_public_acls: true,
      restrict_public_buckets: true,
    });
    expect(resourcesOf(synthesized, "aws_s3_bucket_ownership_controls")[name]?.rule).toEqual({
      object_ownership: "BucketOwnerEnforced",
    });
    expect(statementsOf(bucket)).toContainEqual({
      Sid: "RefusePlainText",
      Effect: "Deny",
      Principal: "*",
      Action: "s3:*",
      Resource: [`\${aws_s3_bucket.${name}.arn}`, `\${aws_s3_bucket.${name}.arn}/*`],
      Condition: { Bool: { "aws:SecureTransport": "false" } },
    });
  });

  it("lets exactly one distribution read the frontend bucket, and nobody else", () => {
    expect(statementsOf("frontend").filter(({ Effect }) => Effect === "Allow")).toEqual([
      {
        Sid: "CloudFrontReads",
        Effect: "Allow",
        Principal: { Service: "cloudfront.amazonaws.com" },
        Action: "s3:GetObject",
        Resource: "${aws_s3_bucket.s3_frontend.arn}/*",
        Condition: { StringEquals: { "AWS:SourceArn": `arn:aws:cloudfront::${ACCOUNT_ID}:distribution/E1` } },
      },
    ]);
  });

  it("lets nobody read the frontend bucket where there is no distribution", () => {
    const alone = synthModule((stack) => {
      build(stack);
    });
    expect(statementsOf("frontend", alone).map(({ Sid }) => Sid)).toEqual(["RefusePlainText"]);
  });

  it("answers GET and HEAD of the allowed origins, with no wildcard anywhere: S3 always allows credentials", () => {
    const cors = resourcesOf(synthesized, "aws_s3_bucket_cors_configuration").s3_frontend;
    expect(cors?.cors_rule).toMatchObject([
      { allowed_methods: ["GET", "HEAD"], allowed_origins: ["https://urr.guru", "https://www.urr.guru"] },
    ]);
    expect(JSON.stringify(cors?.cors_rule)).not.toContain("*");
  });

  it("keeps old versions of the frontend for 30 days and unfinished uploads for 7", () => {
    expect(rulesOf("frontend")).toMatchObject([
      { status: "Enabled", noncurrent_version_expiration: [{ noncurrent_days: 30 }] },
      { status: "Enabled", abort_incomplete_multipart_upload: [{ days_after_initiation: 7 }] },
    ]);
    for (const rule of rulesOf("frontend")) expect(rule).not.toHaveProperty("expiration");
  });

  it("moves logs to Standard-IA after 30 days and Glacier after 90, and deletes them after a year", () => {
    expect(rulesOf("logs")[0]).toMatchObject({
      status: "Enabled",
      transition: [
        { days: 30, storage_class: "STANDARD_IA" },
        { days: 90, storage_class: "GLACIER" },
      ],
      expiration: [{ days: 365 }],
    });
  });

  it("says of every lifecycle rule what it applies to", () => {
    const filters = [...rulesOf("frontend"), ...rulesOf("logs")].map(({ filter }) => filter);
    expect(filters).toEqual(Array(5).fill([{ prefix: "" }]));
  });

  it("takes logs of load balancers, CloudFront and the frontend bucket, each below its own path", () => {
    const writers = statementsOf("logs")
      .filter(({ Effect }) => Effect === "Allow")
      .map(({ Action, Principal, Resource }) => [Principal, Action, Resource]);
    const logs = "${aws_s3_bucket.s3_logs.arn}";
    // Without the test file ELB answers "Access Denied for bucket" when logging is switched on.
    const loadBalancers = [
      `${logs}/AWSLogs/${ACCOUNT_ID}/ELBAccessLogTestFile`,
      `${logs}/AWSLogs/${ACCOUNT_ID}/elasticloadbalancing/*`,
    ];
    expect(writers).toEqual([
      [{ Service: "logdelivery.elasticloadbalancing.amazonaws.com" }, "s3:PutObject", loadBalancers],
      [{ AWS: "arn:aws:iam::600734575887:root" }, "s3:PutObject", loadBalancers],
      [{ Service: "delivery.logs.amazonaws.com" }, "s3:PutObject", `${logs}/AWSLogs/${ACCOUNT_ID}/CloudFront/*`],
      [{ Service: "logging.s3.amazonaws.com" }, "s3:PutObject", `${logs}/s3/*`],
    ]);
  });

  it("takes deliveries of this account only, so that nobody else's service can write through ours", () => {
    const shared = statementsOf("logs").filter(({ Sid }) => ["CloudFrontWrites", "S3Writes"].includes(Sid));
    expect(shared).toHaveLength(2);
    for (const { Condition } of shared) {
      expect(Condition?.StringEquals).toMatchObject({ "aws:SourceAccount": ACCOUNT_ID });
      expect(Condition?.ArnLike).toHaveProperty(["aws:SourceArn"]);
    }
  });

  it("switches the frontend bucket's logging on only once the logs bucket takes them", () => {
    expect(resourcesOf(synthesized, "aws_s3_bucket_logging").s3_frontend).toMatchObject({
      target_bucket: "${aws_s3_bucket.s3_logs.id}",
      target_prefix: "s3/",
      depends_on: ["aws_s3_bucket_policy.s3_logs"],
    });
  });

  it("blocks public access before it writes a policy: S3 refuses both at once", () => {
    const predecessors = Object.entries(resourcesOf(synthesized, "aws_s3_bucket_policy")).map(
      ([name, { depends_on }]) => [name, depends_on],
    );
    expect(predecessors).toEqual(
      ["s3_frontend", "s3_logs"].map((name) => [name, [`aws_s3_bucket_public_access_block.${name}`]]),
    );
  });

  it("makes no logs bucket where none is wanted", () => {
    const alone = synthModule((stack) => {
      expect(build(stack, { logsBucket: false }).logsBucket).toBeUndefined();
    });
    expect(Object.keys(resourcesOf(alone, "aws_s3_bucket"))).toEqual(["s3_frontend"]);
    expect(resourcesOf(alone, "aws_s3_bucket_logging")).toEqual({});
  });

  it("writes the environment's own values in staging", () => {
    const staging = synthModule((stack) => {
      build(stack, { prefix: "urr-staging", environment: "staging", forceDestroy: true });
    });
    expect(Object.values(resourcesOf(staging, "aws_s3_bucket")).map(({ bucket }) => bucket)).toEqual([
      "urr-staging-frontend-staging",
      "urr-staging-logs-staging",
    ]);
  });

  it("grants reading and writing of single objects, not of the bucket", () => {
    const granted = synthModule((stack) => {
      const s3 = build(stack);
      const role = (id: string) => new Role(stack, id, { name: id, description: id, assumedByServices: ["x"] });
      s3.grantReadObject(role("reader"), "edge/active-events.json");
      s3.grantPutObject(role("writer"), "edge/active-events.json");
    });
    const allowed = (role: string) =>
      (
        JSON.parse(String(resourcesOf(granted, "aws_iam_role_policy")[role]?.policy)) as {
          Statement: BucketStatement[];
        }
      ).Statement.map(({ Action, Effect, Resource }) => [Effect, Action, Resource]);
    const object = "${aws_s3_bucket.s3_frontend.arn}/edge/active-events.json";
    expect(allowed("reader")).toEqual([["Allow", "s3:GetObject", object]]);
    expect(allowed("writer")).toEqual([["Allow", "s3:PutObject", object]]);
  });

  describe("uploads", () => {
    const uploads = synthModule((stack) => {
      const s3 = build(stack);
      s3.upload("page", {
        key: "vwr/index.html",
        content: "<p>`${position}` %{if}</p>",
        contentType: "text/html; charset=utf-8",
        cacheControl: "public, max-age=300",
      });
      s3.upload("script", {
        key: "vwr/page.js",
        content: new Asset(s3, "asset.page", { fileName: "page.js", content: "alert(1)" }),
        contentType: "text/javascript",
        cacheControl: "public, max-age=31536000, immutable",
      });
      s3.upload("list", {
        key: "edge/active-events.json",
        content: "{}",
        contentType: "application/json",
        cacheControl: "no-cache",
      });
    });
    const object = (name: string) => resourcesOf(uploads, "aws_s3_object")[`s3_${name}`];

    it("keep text that looks like a Terraform template as it is", () => {
      expect(object("page")).toMatchObject({
        content: "<p>`$${position}` %%{if}</p>",
        content_type: "text/html; charset=utf-8",
        cache_control: "public, max-age=300",
        server_side_encryption: "AES256",
      });
    });

    it("replace a file when its content changes", () => {
      expect(object("script")?.source).toMatch(/^assets\/.+\/page\.js$/);
      expect(object("script")?.source_hash).toMatch(/^[0-9a-f]{64}$/);
    });

    it("wait for encryption and versions", () => {
      expect(object("page")?.depends_on).toEqual([
        "aws_s3_bucket_server_side_encryption_configuration.s3_frontend",
        "aws_s3_bucket_versioning.s3_frontend",
      ]);
    });
  });

  it.each([
    [{ corsAllowedOrigins: ["*"] }, 'corsAllowedOrigins: given ["*"]; allowed: one or more exact origins'],
    [{ corsAllowedOrigins: [] }, "corsAllowedOrigins: given []"],
    [{ corsAllowedOrigins: ["https://urr.guru/"] }, "without a path"],
    [{ corsAllowedOrigins: ["urr.guru"] }, "exact origins such as https://urr.guru"],
    [{ logExpirationDays: 90 }, "logExpirationDays: given 90; allowed: more than 90 days"],
    [{ prefix: "x".repeat(60) }, "name of the bucket"],
  ])("fails for %j", (props, message) => {
    expect(synthProblems((stack) => build(stack, props)).join("\n")).toContain(message);
  });

  it.each([91, 365])("takes an expiry of %d days", (logExpirationDays) => {
    expect(synthProblems((stack) => build(stack, { logExpirationDays }))).toEqual([]);
  });

  it("takes origins that are known at plan only", () => {
    expect(
      synthProblems((stack) => {
        const origins = new TerraformVariable(stack, "cors_allowed_origins", { type: "list(string)" });
        build(stack, { corsAllowedOrigins: origins.listValue });
      }),
    ).toEqual([]);
  });
});
