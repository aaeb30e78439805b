import {
  CloudfrontDistribution,
  type CloudfrontDistributionDefaultCacheBehavior,
  type CloudfrontDistributionOrigin,
} from "@cdktf/provider-aws/lib/cloudfront-distribution";
import { CloudfrontFunction } from "@cdktf/provider-aws/lib/cloudfront-function";
import { CloudfrontOriginAccessControl } from "@cdktf/provider-aws/lib/cloudfront-origin-access-control";
import { CloudfrontResponseHeadersPolicy } from "@cdktf/provider-aws/lib/cloudfront-response-headers-policy";
import { CloudwatchLogDelivery } from "@cdktf/provider-aws/lib/cloudwatch-log-delivery";
import { CloudwatchLogDeliveryDestination } from "@cdktf/provider-aws/lib/cloudwatch-log-delivery-destination";
import { CloudwatchLogDeliverySource } from "@cdktf/provider-aws/lib/cloudwatch-log-delivery-source";
import type { Construct } from "constructs";
import { AlarmSet } from "../../lib/alarms";
import { CORS_ORIGINS_RULE } from "../../lib/cors";
import { physicalName } from "../../lib/naming";
import { enforce, type Rule } from "../../lib/rules";
import { Module } from "../../lib/terraform-modules";
import { literal } from "../../lib/terraform-text";
import type { LogsBucket } from "../s3";
import { ALL_VIEWER, ALL_VIEWER_EXCEPT_HOST, CACHING_DISABLED, CACHING_OPTIMIZED, createCachePolicies } from "./cache";
import { EdgeFunction, type EdgeFunctionProps } from "./edge-function";

/** Properties of {@link Cloudfront}. */
export interface CloudfrontProps extends EdgeFunctionProps {
  /** Domain of the site, such as `urr.guru`; `www.` leads here, too, unless `includeWww` says otherwise. */
  readonly domainName: string;
  /** @default true */
  readonly includeWww?: boolean;
  /** Certificate of the domain, issued in us-east-1: CloudFront takes none of another Region. */
  readonly certificateArn: string;
  readonly webAclArn: string;
  /** The public load balancer. Its own certificate must match the domain, because the viewer's Host header is passed on. */
  readonly alb: { readonly dnsName: string };
  /** By what the origins know CloudFront: the load balancer as this header, the API as `x-api-key`. Source: Infra analysis §2-7. */
  readonly originHeader: { readonly name: string; readonly value: string };
  readonly frontendBucketRegionalDomainName: string;
  readonly vwrApi: { readonly invokeDomainName: string; readonly stageName: string };
  /** Code of the two path-rewriting functions, by name. */
  readonly functions: Readonly<Record<"vwr-api-rewrite" | "vwr-page-rewrite", { readonly code: string }>>;
  /** @default "PriceClass_200" (Infra analysis §2-7) */
  readonly priceClass?: "PriceClass_100" | "PriceClass_200" | "PriceClass_All";
  /** Sites that may call from a browser, each by its exact origin. */
  readonly corsAllowedOrigins: readonly string[];
  /** Where access logs go. @default none */
  readonly logsBucket?: LogsBucket;
}

type Behavior = Pick<
  CloudfrontDistributionDefaultCacheBehavior,
  | "allowedMethods"
  | "cachePolicyId"
  | "originRequestPolicyId"
  | "targetOriginId"
  | "viewerProtocolPolicy"
  | "functionAssociation"
  | "lambdaFunctionAssociation"
>;

const DEFAULT_PRICE_CLASS = "PriceClass_200";
/** Ids of the three origins. Source: Infra analysis §2-7 "오리진 구성". */
const ALB_ORIGIN = "alb";
const S3_ORIGIN = "s3";
const VWR_API_ORIGIN = "vwr-api";
const READ_METHODS = ["GET", "HEAD", "OPTIONS"];
const ALL_METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
/** Quota on the code of a CloudFront function. Source: CloudFront, "Quotas on CloudFront Functions". */
const FUNCTION_LIMIT_BYTES = 10_240;
/** Seconds that CloudFront waits for an origin: the gateway's own requests end earlier. */
const ORIGIN_READ_TIMEOUT_SECONDS = 30;
/** Longer than CloudFront's 5 s and shorter than the load balancer's idle timeout of 60 s, so that the client closes first. */
const ORIGIN_KEEPALIVE_SECONDS = 55;
const HSTS_MAX_AGE_SECONDS = 31_536_000;
const CORS_MAX_AGE_SECONDS = 600;
/**
 * Errors that CloudFront keeps for ten seconds unless told otherwise, whatever the cache policy and the origin say: one
 * visitor's 503 would be everybody's. Source: CloudFront, "HTTP 4xx and 5xx status codes that CloudFront caches".
 */
const CACHED_ERROR_CODES = [404, 414, 500, 501, 502, 503, 504];

const RULES: readonly Rule<CloudfrontProps>[] = [
  CORS_ORIGINS_RULE,
  {
    property: "domainName",
    given: ({ domainName }) => domainName,
    valid: ({ domainName }) => domainName.includes("."),
    allowed: "a domain name such as urr.guru",
    remedy: "The distribution answers only to the names of its certificate.",
  },
  {
    property: "certificateArn",
    given: ({ certificateArn }) => certificateArn,
    valid: ({ certificateArn }) => /^arn:aws:acm:us-east-1:\d{12}:certificate\/[\w-]+$/.test(certificateArn),
    allowed: "the ARN of a certificate in us-east-1",
    remedy: "Issue one for the domain in us-east-1; the load balancer's certificate is of another Region.",
  },
  {
    property: "webAclArn",
    given: ({ webAclArn }) => webAclArn,
    valid: ({ webAclArn }) => /^arn:aws:wafv2:us-east-1:\d{12}:global\/webacl\//.test(webAclArn),
    allowed: "the ARN of a web ACL of scope CLOUDFRONT",
    remedy: "Web ACLs of scope REGIONAL cannot protect a distribution.",
  },
  ...(["vwr-api-rewrite", "vwr-page-rewrite"] as const).map(
    (name): Rule<CloudfrontProps> => ({
      property: `functions.${name}`,
      given: ({ functions }) => `${Buffer.byteLength(functions[name].code)} bytes`,
      valid: ({ functions }) => Buffer.byteLength(functions[name].code) <= FUNCTION_LIMIT_BYTES,
      allowed: `at most ${FUNCTION_LIMIT_BYTES} bytes`,
      remedy: "CloudFront Functions take no more; move what is heavy to Lambda@Edge.",
    }),
  ),
];

/**
 * The distribution in front of everything: three origins, five behaviours, the queue check at the edge.
 * Source: Infra analysis §2-7, AWS architecture §5.5, Architecture guide §3.2, §3.4.
 */
export class Cloudfront extends Module {
  readonly distributionId: string;
  readonly distributionArn: string;
  readonly distributionDomainName: string;
  /** Zone of CloudFront's names, for alias records. */
  readonly distributionHostedZoneId: string;
  /** Alarms on CloudFront's metrics, which exist in us-east-1 only: they can report only to a topic there. */
  readonly alarms: AlarmSet;
  /** Alarms on the queue check where it runs for Korean visitors: in the home Region. */
  readonly edgeAlarms: AlarmSet;

  private readonly props: CloudfrontProps;

  constructor(scope: Construct, id: string, props: CloudfrontProps) {
    super(scope, id);
    this.props = props;
    enforce(this, props, RULES);

    const edgeFunction = new EdgeFunction(this, props);
    const distribution = this.createDistribution(edgeFunction.qualifiedArn);
    this.distributionId = distribution.id;
    this.distributionArn = distribution.arn;
    this.distributionDomainName = distribution.domainName;
    this.distributionHostedZoneId = distribution.hostedZoneId;
    this.deliverLogs(distribution);
    this.alarms = this.createAlarms(distribution);
    this.edgeAlarms = edgeFunction.createAlarms();
  }

  private createDistribution(edgeFunctionArn: string): CloudfrontDistribution {
    const { certificateArn, domainName, includeWww = true, prefix, priceClass, webAclArn } = this.props;
    const behaviors = this.createBehaviors(edgeFunctionArn);
    const responseHeadersPolicyId = this.createResponseHeadersPolicy().id;
    const common = { responseHeadersPolicyId, cachedMethods: ["GET", "HEAD"], compress: true };
    return new CloudfrontDistribution(this, "cloudfront_distribution.main", {
      comment: `${prefix} (${domainName})`,
      enabled: true,
      isIpv6Enabled: true,
      httpVersion: "http2and3",
      priceClass: priceClass ?? DEFAULT_PRICE_CLASS,
      aliases: includeWww ? [domainName, `www.${domainName}`] : [domainName],
      webAclId: webAclArn,
      origin: this.createOrigins(),
      defaultCacheBehavior: { ...common, ...behaviors.default },
      orderedCacheBehavior: Object.entries(behaviors.byPath).map(([pathPattern, behavior]) => ({
        ...common,
        pathPattern,
        ...behavior,
      })),
      customErrorResponse: CACHED_ERROR_CODES.map((errorCode) => ({ errorCode, errorCachingMinTtl: 0 })),
      restrictions: { geoRestriction: { restrictionType: "none" } },
      viewerCertificate: {
        acmCertificateArn: certificateArn,
        sslSupportMethod: "sni-only",
        minimumProtocolVersion: "TLSv1.2_2021",
      },
      tags: { Name: `${prefix}-distribution` },
    });
  }

  private createOrigins(): CloudfrontDistributionOrigin[] {
    const { alb, frontendBucketRegionalDomainName, originHeader, prefix, vwrApi } = this.props;
    const accessControl = new CloudfrontOriginAccessControl(this, "cloudfront_origin_access_control.s3", {
      name: physicalName(this, "origin access control", `${prefix}-s3-oac`),
      description: `Signs what CloudFront reads from the frontend bucket of ${prefix}`,
      originAccessControlOriginType: "s3",
      signingBehavior: "always",
      signingProtocol: "sigv4",
    });
    const customOriginConfig = {
      httpPort: 80,
      httpsPort: 443,
      originProtocolPolicy: "https-only",
      originSslProtocols: ["TLSv1.2"],
      originReadTimeout: ORIGIN_READ_TIMEOUT_SECONDS,
      originKeepaliveTimeout: ORIGIN_KEEPALIVE_SECONDS,
    };
    return [
      {
        originId: ALB_ORIGIN,
        domainName: alb.dnsName,
        customHeader: [{ name: originHeader.name, value: originHeader.value }],
        customOriginConfig,
      },
      {
        originId: S3_ORIGIN,
        domainName: frontendBucketRegionalDomainName,
        originAccessControlId: accessControl.id,
      },
      {
        originId: VWR_API_ORIGIN,
        domainName: vwrApi.invokeDomainName,
        originPath: `/${vwrApi.stageName}`,
        customHeader: [{ name: "x-api-key", value: originHeader.value }],
        customOriginConfig,
      },
    ];
  }

  /**
   * The five behaviours. The documents' own "API" cache policy (TTL 0 with cookies and query strings) is one that CloudFront
   * refuses: nothing is cached by the managed CachingDisabled, and the origin request policy passes on what the origin needs.
   */
  private createBehaviors(edgeFunctionArn: string): {
    readonly default: Behavior;
    readonly byPath: Readonly<Record<string, Behavior>>;
  } {
    const { frontendSsr, vwrStatic } = createCachePolicies(this, this.props.prefix);
    const apiRewrite = this.createFunction("vwr-api-rewrite", "Strips /vwr-api from the path");
    const pageRewrite = this.createFunction("vwr-page-rewrite", "Shows the waiting page at /vwr/{eventId}");
    return {
      default: {
        targetOriginId: ALB_ORIGIN,
        viewerProtocolPolicy: "redirect-to-https",
        allowedMethods: READ_METHODS,
        cachePolicyId: frontendSsr.id,
        originRequestPolicyId: ALL_VIEWER,
      },
      byPath: {
        "/api/*": {
          targetOriginId: ALB_ORIGIN,
          viewerProtocolPolicy: "https-only",
          allowedMethods: ALL_METHODS,
          cachePolicyId: CACHING_DISABLED,
          originRequestPolicyId: ALL_VIEWER,
          lambdaFunctionAssociation: [{ eventType: "viewer-request", lambdaArn: edgeFunctionArn, includeBody: false }],
        },
        "/_next/static/*": {
          targetOriginId: S3_ORIGIN,
          viewerProtocolPolicy: "redirect-to-https",
          allowedMethods: READ_METHODS,
          cachePolicyId: CACHING_OPTIMIZED,
        },
        "/vwr/*": {
          targetOriginId: S3_ORIGIN,
          viewerProtocolPolicy: "redirect-to-https",
          allowedMethods: READ_METHODS,
          cachePolicyId: vwrStatic.id,
          functionAssociation: [{ eventType: "viewer-request", functionArn: pageRewrite.arn }],
        },
        "/vwr-api/*": {
          targetOriginId: VWR_API_ORIGIN,
          viewerProtocolPolicy: "https-only",
          allowedMethods: ALL_METHODS,
          cachePolicyId: CACHING_DISABLED,
          // API Gateway knows itself by its own name only.
          originRequestPolicyId: ALL_VIEWER_EXCEPT_HOST,
          functionAssociation: [{ eventType: "viewer-request", functionArn: apiRewrite.arn }],
        },
      },
    };
  }

  private createFunction(name: keyof CloudfrontProps["functions"], comment: string): CloudfrontFunction {
    const { functions, prefix } = this.props;
    return new CloudfrontFunction(this, `cloudfront_function.${name.replaceAll("-", "_")}`, {
      name: physicalName(this, "cloudfront function", `${prefix}-${name}`),
      comment,
      runtime: "cloudfront-js-2.0",
      publish: true,
      code: literal(functions[name].code),
    });
  }

  /** Source: Infra analysis §2-7 "보안 응답 헤더". */
  private createResponseHeadersPolicy(): CloudfrontResponseHeadersPolicy {
    const { corsAllowedOrigins, prefix } = this.props;
    return new CloudfrontResponseHeadersPolicy(this, "cloudfront_response_headers_policy.security", {
      name: physicalName(this, "cloudfront policy", `${prefix}-security-headers`),
      comment: "Security headers, and CORS for the named origins",
      securityHeadersConfig: {
        strictTransportSecurity: {
          accessControlMaxAgeSec: HSTS_MAX_AGE_SECONDS,
          includeSubdomains: true,
          preload: true,
          override: true,
        },
        contentTypeOptions: { override: true },
        frameOptions: { frameOption: "DENY", override: true },
        xssProtection: { protection: true, modeBlock: true, override: true },
        referrerPolicy: { referrerPolicy: "strict-origin-when-cross-origin", override: true },
      },
      corsConfig: {
        // Cookies carry the tokens, so every list is exact: browsers refuse "*" together with credentials.
        accessControlAllowCredentials: true,
        accessControlAllowOrigins: { items: [...corsAllowedOrigins] },
        accessControlAllowMethods: { items: ALL_METHODS },
        accessControlAllowHeaders: {
          items: ["Authorization", "Content-Type", "X-Requested-With", "x-queue-entry-token", "x-vwr-ticket"],
        },
        accessControlExposeHeaders: { items: ["Retry-After"] },
        accessControlMaxAgeSec: CORS_MAX_AGE_SECONDS,
        // A cached answer holds the headers of whoever asked first.
        originOverride: true,
      },
    });
  }

  /**
   * Access logs by standard logging v2: the older kind needs a bucket with ACLs, which the logs bucket does not have. No path
   * is configured, because the provider loses AWS's own part of it on an update; logs come to
   * `AWSLogs/{account}/CloudFront/`.
   */
  private deliverLogs(distribution: CloudfrontDistribution): void {
    const { logsBucket, prefix, usEast1 } = this.props;
    if (!logsBucket) return;
    const source = new CloudwatchLogDeliverySource(this, "cloudwatch_log_delivery_source.access", {
      name: `${prefix}-cloudfront`,
      logType: "ACCESS_LOGS",
      resourceArn: distribution.arn,
      provider: usEast1,
    });
    const destination = new CloudwatchLogDeliveryDestination(this, "cloudwatch_log_delivery_destination.access", {
      name: `${prefix}-cloudfront-logs`,
      outputFormat: "json",
      deliveryDestinationConfiguration: [{ destinationResourceArn: logsBucket.bucketArn }],
      provider: usEast1,
    });
    new CloudwatchLogDelivery(this, "cloudwatch_log_delivery.access", {
      deliverySourceName: source.name,
      deliveryDestinationArn: destination.arn,
      provider: usEast1,
      // AWS would otherwise add a statement of its own to the bucket's policy, which Terraform then removes.
      dependsOn: [logsBucket.policy],
    });
  }

  private createAlarms(distribution: CloudfrontDistribution): AlarmSet {
    const { prefix, usEast1 } = this.props;
    const alarms = new AlarmSet(this, usEast1);
    const rate = {
      namespace: "AWS/CloudFront",
      dimensions: { DistributionId: distribution.id, Region: "Global" },
      statistic: "Average",
      periodSeconds: 60,
      comparison: "GreaterThanThreshold",
    } as const;
    alarms.add("server_errors", {
      ...rate,
      name: `${prefix}-cloudfront-5xx`,
      description:
        "More than 1 % of answers are server errors. Compare with the load balancer's and the API's own alarms.",
      metricName: "5xxErrorRate",
      evaluationPeriods: 5,
      threshold: 1,
    });
    alarms.add("client_errors", {
      ...rate,
      name: `${prefix}-cloudfront-4xx`,
      description: "More than 20 % of requests are refused: a broken link, missing static files, or the firewall.",
      metricName: "4xxErrorRate",
      evaluationPeriods: 10,
      threshold: 20,
    });
    for (const name of ["vwr-api-rewrite", "vwr-page-rewrite"] as const) {
      alarms.add(`${name.replaceAll("-", "_")}_errors`, {
        name: `${prefix}-${name}-errors`,
        description: `The CloudFront function ${name} throws: the waiting room cannot be reached.`,
        namespace: "AWS/CloudFront",
        metricName: "FunctionExecutionErrors",
        dimensions: { FunctionName: `${prefix}-${name}`, Region: "Global" },
        statistic: "Sum",
        periodSeconds: 60,
        threshold: 0,
        comparison: "GreaterThanThreshold",
      });
    }
    return alarms;
  }
}
