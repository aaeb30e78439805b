import { KmsKey } from "@cdktf/provider-aws/lib/kms-key";
import { S3BucketPolicy } from "@cdktf/provider-aws/lib/s3-bucket-policy";
import { describe, expect, it } from "vitest";
import { Role } from "../../lib/iam";
import type { EncryptionKey } from "../../lib/kms";
import type { JsonObject } from "../../lib/terraform-modules";
import { Cloudfront, type CloudfrontProps } from "../../modules/cloudfront";
import { type CacheKey, type CacheTtl, cachePolicyProblems } from "../../modules/cloudfront/cache";
import { ACCOUNT_ID, REGION, resourcesOf, synthModule, synthProblems, type TestStack } from "../support/synth";

const CERTIFICATE_ARN = `arn:aws:acm:us-east-1:${ACCOUNT_ID}:certificate/11111111-1111-1111-1111-111111111111`;
const TOPIC_ARN = `arn:aws:sns:${REGION}:${ACCOUNT_ID}:alarms`;
const US_TOPIC_ARN = `arn:aws:sns:us-east-1:${ACCOUNT_ID}:alarms`;
const ORIGIN_SECRET = "s".repeat(64);

function bundleOf(bytes: number): CloudfrontProps["edgeBundle"] {
  const zip = Buffer.alloc(bytes, 1);
  return {
    name: "edge-queue-check",
    zip,
    sha256Base64: "",
    zipBytes: zip.length,
    sources: [],
    sourceMap: Buffer.alloc(0),
  };
}

function keyIn(stack: TestStack, region: "home" | "us_east_1"): EncryptionKey {
  const key = new KmsKey(stack, `kms_key.${region}`);
  return {
    keyArn: key.arn,
    logsPermission: key,
    grantDecrypt: () => undefined,
    grantEncryptDecrypt: () => undefined,
  };
}

/** Properties of a whole distribution, and the role of its queue check. */
function propsOf(stack: TestStack): CloudfrontProps & Required<Pick<CloudfrontProps, "logsBucket">> {
  return {
    prefix: "urr-prod",
    domainName: "urr.guru",
    certificateArn: CERTIFICATE_ARN,
    webAclArn: `arn:aws:wafv2:us-east-1:${ACCOUNT_ID}:global/webacl/urr-prod-waf/1`,
    alb: { dnsName: "urr-prod-alb.ap-northeast-2.elb.amazonaws.com" },
    originHeader: { name: "X-Custom-Header", value: ORIGIN_SECRET },
    frontendBucketRegionalDomainName: "urr-prod-frontend-prod.s3.ap-northeast-2.amazonaws.com",
    vwrApi: { invokeDomainName: "abc.execute-api.ap-northeast-2.amazonaws.com", stageName: "v1" },
    edgeBundle: bundleOf(100),
    edgeRole: new Role(stack, "edge", {
      name: "edge",
      description: "edge",
      assumedByServices: ["lambda.amazonaws.com", "edgelambda.amazonaws.com"],
      managedPolicies: { logs: "service-role/AWSLambdaBasicExecutionRole" },
    }),
    functions: {
      "vwr-api-rewrite": { code: "function handler(event) { return `${event.request}`; }" },
      "vwr-page-rewrite": { code: "function handler(event) { return event.request; }" },
    },
    corsAllowedOrigins: ["https://urr.guru", "https://www.urr.guru"],
    logsBucket: {
      bucketName: "logs",
      bucketArn: "arn:aws:s3:::logs",
      policy: new S3BucketPolicy(stack, "s3_bucket_policy.logs", { bucket: "logs", policy: "{}" }),
    },
    usEast1: stack.usEast1,
    key: keyIn(stack, "home"),
  };
}

function build(stack: TestStack, changed: Partial<CloudfrontProps> = {}): Cloudfront {
  const props = { ...propsOf(stack), ...changed };
  const cloudfront = new Cloudfront(stack, "cloudfront", props);
  // As a stack does: what the role may read is granted after the function is made.
  props.edgeRole.addStatement({ sid: "Read", actions: ["secretsmanager:GetSecretValue"], resources: ["arn:secret"] });
  cloudfront.alarms.notify(US_TOPIC_ARN);
  cloudfront.edgeAlarms.notify(TOPIC_ARN);
  return cloudfront;
}

const synthesized = synthModule((stack) => {
  build(stack);
});

function get(type: string, name: string, of = synthesized): JsonObject {
  const resource = resourcesOf(of, `aws_${type}`)[`cloudfront_${name}`];
  if (!resource) throw new Error(`there is no aws_${type}.${name}`);
  return resource;
}

const distribution = get("cloudfront_distribution", "main");
const origins = distribution.origin as unknown as JsonObject[];
const ordered = distribution.ordered_cache_behavior as unknown as JsonObject[];
const behaviours: Record<string, JsonObject> = {
  default: distribution.default_cache_behavior as JsonObject,
  ...Object.fromEntries(ordered.map((behaviour) => [String(behaviour.path_pattern), behaviour])),
};

function behaviour(pattern: string): JsonObject {
  const found = behaviours[pattern];
  if (!found) throw new Error(`there is no behaviour ${pattern}`);
  return found;
}

/** Managed policies. CloudFront, "Use managed cache policies" and "Use managed origin request policies". */
const CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";
const CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6";
const ALL_VIEWER = "216adef6-5c7f-47e4-b989-5492eafa07d3";
const ALL_VIEWER_EXCEPT_HOST_HEADER = "b689b0a8-53d0-40ab-baf2-68738e2966ac";
const FRONTEND_SSR = "${aws_cloudfront_cache_policy.cloudfront_frontend_ssr.id}";
const VWR_STATIC = "${aws_cloudfront_cache_policy.cloudfront_vwr_static.id}";

describe("cloudfront", () => {
  describe("origins", () => {
    /** Infra analysis §2-7 "오리진 구성 (3개)". */
    it("are the load balancer, the frontend bucket and the waiting room's API", () => {
      expect(origins.map(({ domain_name, origin_id, origin_path }) => [origin_id, domain_name, origin_path])).toEqual([
        ["alb", "urr-prod-alb.ap-northeast-2.elb.amazonaws.com", undefined],
        ["s3", "urr-prod-frontend-prod.s3.ap-northeast-2.amazonaws.com", undefined],
        ["vwr-api", "abc.execute-api.ap-northeast-2.amazonaws.com", "/v1"],
      ]);
    });

    it.each(["alb", "vwr-api"])("speak TLS 1.2 only: %s", (id) => {
      expect(origins.find(({ origin_id }) => origin_id === id)?.custom_origin_config).toMatchObject({
        origin_protocol_policy: "https-only",
        origin_ssl_protocols: ["TLSv1.2"],
      });
    });

    it.each([
      ["alb", "X-Custom-Header"],
      ["vwr-api", "x-api-key"],
    ])("know CloudFront by a secret: %s by %s", (id, name) => {
      expect(origins.find(({ origin_id }) => origin_id === id)?.custom_header).toEqual([
        { name, value: ORIGIN_SECRET },
      ]);
    });

    it("are signed for where they are a bucket, which learns no secret", () => {
      const s3 = origins.find(({ origin_id }) => origin_id === "s3");
      expect(s3?.origin_access_control_id).toBe("${aws_cloudfront_origin_access_control.cloudfront_s3.id}");
      expect(s3).not.toHaveProperty("custom_header");
      expect(get("cloudfront_origin_access_control", "s3")).toMatchObject({
        origin_access_control_origin_type: "s3",
        signing_behavior: "always",
        signing_protocol: "sigv4",
      });
    });
  });

  describe("behaviours", () => {
    /** Infra analysis §2-7 "캐시 동작 (5개)". */
    it.each([
      ["default", "alb", FRONTEND_SSR, ALL_VIEWER],
      ["/api/*", "alb", CACHING_DISABLED, ALL_VIEWER],
      ["/_next/static/*", "s3", CACHING_OPTIMIZED, undefined],
      ["/vwr/*", "s3", VWR_STATIC, undefined],
      ["/vwr-api/*", "vwr-api", CACHING_DISABLED, ALL_VIEWER_EXCEPT_HOST_HEADER],
    ])("%s goes to %s by the cache policy %s and the origin request policy %s", (pattern, origin, cache, request) => {
      expect(behaviour(pattern).target_origin_id).toBe(origin);
      expect(behaviour(pattern).cache_policy_id).toBe(cache);
      expect(behaviour(pattern).origin_request_policy_id).toBe(request);
    });

    it("are five, in this order, without /static/*", () => {
      expect(Object.keys(behaviours)).toEqual(["default", "/api/*", "/_next/static/*", "/vwr/*", "/vwr-api/*"]);
    });

    it("pass the viewer's Host to the load balancer, whose certificate matches it, and never to a bucket or API Gateway", () => {
      const receivesHost = Object.entries(behaviours)
        .filter(([, { origin_request_policy_id }]) => origin_request_policy_id === ALL_VIEWER)
        .map(([, { target_origin_id }]) => target_origin_id);
      expect(new Set(receivesHost)).toEqual(new Set(["alb"]));
      expect(Object.values(behaviours).filter(({ target_origin_id }) => target_origin_id === "alb")).toHaveLength(
        receivesHost.length,
      );
    });

    it.each([
      ["/api/*", 7],
      ["/vwr-api/*", 7],
      ["default", 3],
      ["/_next/static/*", 3],
      ["/vwr/*", 3],
    ])("%s takes %d methods", (pattern, count) => {
      expect(behaviour(pattern).allowed_methods).toHaveLength(count);
    });

    it("answer nobody over plain HTTP: pages redirect, APIs refuse", () => {
      for (const [pattern, { viewer_protocol_policy }] of Object.entries(behaviours)) {
        expect(viewer_protocol_policy).toBe(/api/.test(pattern) ? "https-only" : "redirect-to-https");
      }
    });

    it("check the queue's tokens on /api/* alone, by a published version", () => {
      expect(behaviour("/api/*").lambda_function_association).toEqual([
        {
          event_type: "viewer-request",
          lambda_arn: "${aws_lambda_function.cloudfront_edge_queue_check.qualified_arn}",
          include_body: false,
        },
      ]);
      for (const [pattern, found] of Object.entries(behaviours)) {
        if (pattern !== "/api/*") expect(found).not.toHaveProperty("lambda_function_association");
      }
    });

    it.each([
      ["/vwr/*", "vwr_page_rewrite"],
      ["/vwr-api/*", "vwr_api_rewrite"],
    ])("rewrite paths of %s by %s", (pattern, name) => {
      expect(behaviour(pattern).function_association).toEqual([
        { event_type: "viewer-request", function_arn: `\${aws_cloudfront_function.cloudfront_${name}.arn}` },
      ]);
    });

    it("never use the settings that cache policies have replaced", () => {
      for (const found of Object.values(behaviours)) {
        expect(found).not.toHaveProperty("forwarded_values");
        expect(found).not.toHaveProperty("default_ttl");
      }
    });

    it("all carry the security headers", () => {
      for (const { response_headers_policy_id } of Object.values(behaviours)) {
        expect(response_headers_policy_id).toBe("${aws_cloudfront_response_headers_policy.cloudfront_security.id}");
      }
    });
  });

  describe("cache policies", () => {
    /** Infra analysis §2-7 "캐시 정책". */
    it("keep pages for at most 60 seconds, apart for each cookie, Authorization, Host and query", () => {
      expect(get("cloudfront_cache_policy", "frontend_ssr")).toMatchObject({
        min_ttl: 0,
        default_ttl: 0,
        max_ttl: 60,
        parameters_in_cache_key_and_forwarded_to_origin: {
          cookies_config: { cookie_behavior: "all" },
          query_strings_config: { query_string_behavior: "all" },
          headers_config: { header_behavior: "whitelist", headers: { items: ["Authorization", "Host"] } },
        },
      });
    });

    it("keep the waiting page for 300 seconds, the same for everybody", () => {
      expect(get("cloudfront_cache_policy", "vwr_static")).toMatchObject({
        default_ttl: 300,
        max_ttl: 300,
        parameters_in_cache_key_and_forwarded_to_origin: {
          cookies_config: { cookie_behavior: "none" },
          query_strings_config: { query_string_behavior: "none" },
          headers_config: { header_behavior: "none" },
        },
      });
    });

    it("are these two: a policy of TTL 0 is left to the managed one", () => {
      const policies = Object.values(resourcesOf(synthesized, "aws_cloudfront_cache_policy"));
      expect(policies).toHaveLength(2);
      for (const { max_ttl } of policies) expect(max_ttl).toBeGreaterThan(0);
    });

    const zero: CacheTtl = { minSeconds: 0, defaultSeconds: 0, maxSeconds: 0 };
    const empty: CacheKey = { cookies: "none", queryStrings: "none", headers: [], compressed: false };
    it.each<[string, Partial<CacheKey>]>([
      ["cookies", { cookies: "all" }],
      ["query strings", { queryStrings: "all" }],
      ["headers", { headers: ["Host"] }],
      ["compression", { compressed: true }],
    ])("fails for TTL 0 with %s in the key", (_, key) => {
      expect(cachePolicyProblems("api", zero, { ...empty, ...key }).join("\n")).toContain(
        "Use the managed CachingDisabled, and an origin request policy",
      );
    });

    it("takes TTL 0 with an empty key, and a key with a TTL", () => {
      expect(cachePolicyProblems("api", zero, empty)).toEqual([]);
      expect(cachePolicyProblems("api", { ...zero, maxSeconds: 1 }, { ...empty, cookies: "all" })).toEqual([]);
    });

    it("fails for times out of order", () => {
      expect(cachePolicyProblems("x", { minSeconds: 1, defaultSeconds: 0, maxSeconds: 2 }, empty).join("\n")).toContain(
        "minSeconds <= defaultSeconds <= maxSeconds",
      );
    });
  });

  describe("response headers", () => {
    const policy = get("cloudfront_response_headers_policy", "security");

    /** Infra analysis §2-7 "보안 응답 헤더". */
    it("are the documented five", () => {
      expect(policy.security_headers_config).toEqual({
        strict_transport_security: {
          access_control_max_age_sec: 31_536_000,
          include_subdomains: true,
          preload: true,
          override: true,
        },
        content_type_options: { override: true },
        frame_options: { frame_option: "DENY", override: true },
        xss_protection: { protection: true, mode_block: true, override: true },
        referrer_policy: { referrer_policy: "strict-origin-when-cross-origin", override: true },
      });
    });

    it("allow credentials to named origins, headers and methods only", () => {
      const cors = policy.cors_config as JsonObject;
      expect(cors.access_control_allow_credentials).toBe(true);
      expect(cors.access_control_allow_origins).toEqual({ items: ["https://urr.guru", "https://www.urr.guru"] });
      expect(JSON.stringify(cors)).not.toMatch(/"\*"|"ALL"/);
    });
  });

  it("does not keep an origin's errors for the next visitor", () => {
    const errors = distribution.custom_error_response as unknown as JsonObject[];
    expect(errors.map(({ error_code }) => error_code)).toEqual([404, 414, 500, 501, 502, 503, 504]);
    for (const error of errors) {
      expect(error.error_caching_min_ttl).toBe(0);
      expect(error).not.toHaveProperty("response_page_path");
    }
  });

  /** Infra analysis §2-7 "기타 설정", AWS architecture §5.5. */
  it("is in price class 200, on IPv6 and HTTP/2 and 3, behind the web ACL, for the domain and www", () => {
    expect(distribution).toMatchObject({
      enabled: true,
      price_class: "PriceClass_200",
      is_ipv6_enabled: true,
      http_version: "http2and3",
      web_acl_id: expect.stringContaining(":global/webacl/"),
      aliases: ["urr.guru", "www.urr.guru"],
      viewer_certificate: {
        acm_certificate_arn: CERTIFICATE_ARN,
        minimum_protocol_version: "TLSv1.2_2021",
        ssl_support_method: "sni-only",
      },
    });
    expect(distribution).not.toHaveProperty("default_root_object");
  });

  it("leaves www out where it is not wanted", () => {
    const apex = synthModule((stack) => {
      build(stack, { includeWww: false });
    });
    expect(get("cloudfront_distribution", "main", apex).aliases).toEqual(["urr.guru"]);
  });

  describe("queue check", () => {
    const lambda = get("lambda_function", "edge_queue_check");

    /** Infra analysis §2-7 "Lambda@Edge". */
    it("is a published function of us-east-1 with 128 MB and 5 seconds", () => {
      expect(lambda).toMatchObject({
        function_name: "urr-prod-edge-queue-check",
        publish: true,
        provider: "aws.us_east_1",
        timeout: 5,
        memory_size: 128,
        runtime: "nodejs22.x",
        handler: "index.handler",
        architectures: ["x86_64"],
      });
    });

    it.each([
      "environment",
      "vpc_config",
      "tracing_config",
      "dead_letter_config",
      "layers",
      "reserved_concurrent_executions",
      "kms_key_arn",
      "image_uri",
    ])("has no %s, which Lambda@Edge refuses", (attribute) => {
      expect(lambda).not.toHaveProperty(attribute);
    });

    it("is made after its log groups and everything that its role may do, also what is granted later", () => {
      expect(lambda.depends_on).toEqual([
        "aws_iam_role.edge",
        "aws_iam_role_policy_attachment.edge_logs",
        "aws_iam_role_policy.edge",
        "aws_cloudwatch_log_group.cloudfront_edge_queue_check",
        "aws_cloudwatch_log_group.cloudfront_edge_queue_check_us_east_1",
      ]);
    });

    it("logs under the name that replicas use, in the home Region and in us-east-1", () => {
      const home = get("cloudwatch_log_group", "edge_queue_check");
      const edge = get("cloudwatch_log_group", "edge_queue_check_us_east_1");
      for (const group of [home, edge]) {
        expect(group).toMatchObject({
          name: "/aws/lambda/us-east-1.urr-prod-edge-queue-check",
          retention_in_days: 365,
        });
      }
      expect(home.kms_key_id).toBe("${aws_kms_key.home.arn}");
      expect(home).not.toHaveProperty("provider");
      expect(edge.provider).toBe("aws.us_east_1");
      // The environment's key is of another Region.
      expect(edge).not.toHaveProperty("kms_key_id");
    });

    it("encrypts its logs in us-east-1 with a key of that Region where there is one", () => {
      const encrypted = synthModule((stack) => {
        build(stack, { usEast1Key: keyIn(stack, "us_east_1") });
      });
      expect(get("cloudwatch_log_group", "edge_queue_check_us_east_1", encrypted).kms_key_id).toBe(
        "${aws_kms_key.us_east_1.arn}",
      );
    });

    it("waits for its replicas when it is destroyed", () => {
      expect(lambda.timeouts).toEqual({ delete: "3h" });
    });

    it.each([
      [1_048_576, []],
      [1_048_577, ['edgeBundle: given "1048577 bytes"; allowed: a zip of at most 1048576 bytes']],
    ])("of %d bytes: %j", (bytes, messages) => {
      const problems = synthProblems((stack) => build(stack, { edgeBundle: bundleOf(bytes) }));
      expect(problems).toHaveLength(messages.length);
      for (const [index, message] of messages.entries()) expect(problems[index]).toContain(message);
    });
  });

  describe("functions", () => {
    it.each(["vwr-api-rewrite", "vwr-page-rewrite"])("publish %s", (name) => {
      expect(get("cloudfront_function", name.replaceAll("-", "_"))).toMatchObject({
        name: `urr-prod-${name}`,
        runtime: "cloudfront-js-2.0",
        publish: true,
      });
    });

    it("keep code that looks like a Terraform template as it is", () => {
      expect(get("cloudfront_function", "vwr_api_rewrite").code).toBe(
        "function handler(event) { return `$${event.request}`; }",
      );
    });

    it.each([
      [10_240, 0],
      [10_241, 1],
    ])("of %d bytes break %d rules", (bytes, count) => {
      const code = { code: "x".repeat(bytes) };
      const problems = synthProblems((stack) =>
        build(stack, { functions: { "vwr-api-rewrite": code, "vwr-page-rewrite": { code: "" } } }),
      );
      expect(problems).toHaveLength(count);
    });
  });

  describe("access logs", () => {
    it("go to the logs bucket from us-east-1, by the kind of logging that needs no ACLs", () => {
      expect(get("cloudwatch_log_delivery_source", "access")).toMatchObject({
        log_type: "ACCESS_LOGS",
        resource_arn: "${aws_cloudfront_distribution.cloudfront_main.arn}",
        provider: "aws.us_east_1",
      });
      expect(get("cloudwatch_log_delivery_destination", "access")).toMatchObject({
        output_format: "json",
        delivery_destination_configuration: [{ destination_resource_arn: "arn:aws:s3:::logs" }],
        provider: "aws.us_east_1",
      });
      // Otherwise AWS adds a statement of its own to the bucket's policy.
      expect(get("cloudwatch_log_delivery", "access")).toMatchObject({
        provider: "aws.us_east_1",
        depends_on: ["aws_s3_bucket_policy.logs"],
      });
      expect(distribution).not.toHaveProperty("logging_config");
    });

    it("keep AWS's own path: the provider loses it when a path is configured and changed", () => {
      expect(get("cloudwatch_log_delivery", "access")).not.toHaveProperty("s3_delivery_configuration");
    });

    it("are left out without a bucket", () => {
      const silent = synthModule((stack) => {
        const { logsBucket: _, ...props } = propsOf(stack);
        const cloudfront = new Cloudfront(stack, "cloudfront", props);
        cloudfront.alarms.notify(US_TOPIC_ARN);
        cloudfront.edgeAlarms.notify(TOPIC_ARN);
      });
      expect(resourcesOf(silent, "aws_cloudwatch_log_delivery")).toEqual({});
    });
  });

  describe("alarms", () => {
    const alarms = Object.values(resourcesOf(synthesized, "aws_cloudwatch_metric_alarm"));

    it("on CloudFront's metrics live and report in us-east-1", () => {
      const global = alarms.filter(({ namespace }) => namespace === "AWS/CloudFront");
      expect(global.map(({ metric_name }) => metric_name).sort()).toEqual([
        "4xxErrorRate",
        "5xxErrorRate",
        "FunctionExecutionErrors",
        "FunctionExecutionErrors",
      ]);
      for (const alarm of global) {
        expect(alarm).toMatchObject({
          provider: "aws.us_east_1",
          dimensions: { Region: "Global" },
          alarm_actions: [US_TOPIC_ARN],
        });
      }
    });

    it("on the queue check live where its visitors are", () => {
      const edge = alarms.filter(({ namespace }) => namespace === "AWS/Lambda");
      expect(edge.map(({ metric_name }) => metric_name).sort()).toEqual(["Duration", "Errors", "Throttles"]);
      for (const alarm of edge) {
        expect(alarm.dimensions).toEqual({ FunctionName: "us-east-1.urr-prod-edge-queue-check" });
        expect(alarm.alarm_actions).toEqual([TOPIC_ARN]);
        expect(alarm).not.toHaveProperty("provider");
      }
    });
  });

  it.each<[Partial<CloudfrontProps>, string]>([
    [
      { certificateArn: CERTIFICATE_ARN.replace("us-east-1", REGION) },
      "allowed: the ARN of a certificate in us-east-1. Issue one for the domain in us-east-1",
    ],
    [{ webAclArn: `arn:aws:wafv2:${REGION}:${ACCOUNT_ID}:regional/webacl/x/1` }, "a web ACL of scope CLOUDFRONT"],
    [{ corsAllowedOrigins: ["*"] }, 'corsAllowedOrigins: given ["*"]'],
    [{ domainName: "" }, 'domainName: given ""; allowed: a domain name such as urr.guru'],
  ])("fails for %j", (props, message) => {
    expect(synthProblems((stack) => build(stack, props)).join("\n")).toContain(message);
  });
});
