import {
  CloudfrontCachePolicy,
  type CloudfrontCachePolicyParametersInCacheKeyAndForwardedToOrigin,
} from "@cdktf/provider-aws/lib/cloudfront-cache-policy";
import type { Construct } from "constructs";
import { physicalName } from "../../lib/naming";
import { problem } from "../../lib/rules";

/** Managed policies by id, the same in every account. Source: CloudFront, "Use managed cache policies". */
export const CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad";
export const CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6";
/** Source: CloudFront, "Use managed origin request policies". */
export const ALL_VIEWER = "216adef6-5c7f-47e4-b989-5492eafa07d3";
export const ALL_VIEWER_EXCEPT_HOST = "b689b0a8-53d0-40ab-baf2-68738e2966ac";

/** Seconds for which answers are kept. */
export interface CacheTtl {
  readonly minSeconds: number;
  /** Where the origin says nothing. */
  readonly defaultSeconds: number;
  readonly maxSeconds: number;
}

/** What two requests must share to get the same answer. */
export interface CacheKey {
  readonly cookies: "all" | "none";
  readonly queryStrings: "all" | "none";
  readonly headers: readonly string[];
  /** Whether answers are kept per encoding. */
  readonly compressed: boolean;
}

/**
 * Pages: at most a minute, and only where the frontend says so. Everything that may personalise a page is part of the key.
 * Source: Infra analysis §2-7 "캐시 정책".
 */
const FRONTEND_SSR: { readonly ttl: CacheTtl; readonly key: CacheKey } = {
  ttl: { minSeconds: 0, defaultSeconds: 0, maxSeconds: 60 },
  key: { cookies: "all", queryStrings: "all", headers: ["Authorization", "Host"], compressed: true },
};

/** The waiting page: one file for everybody. Source: Infra analysis §2-7 "캐시 정책". */
const VWR_STATIC: { readonly ttl: CacheTtl; readonly key: CacheKey } = {
  ttl: { minSeconds: 0, defaultSeconds: 300, maxSeconds: 300 },
  key: { cookies: "none", queryStrings: "none", headers: [], compressed: true },
};

/** The two cache policies of our own. */
export function createCachePolicies(
  scope: Construct,
  prefix: string,
): { readonly frontendSsr: CloudfrontCachePolicy; readonly vwrStatic: CloudfrontCachePolicy } {
  const create = (id: string, comment: string, { key, ttl }: { readonly ttl: CacheTtl; readonly key: CacheKey }) => {
    scope.node.addValidation({ validate: () => cachePolicyProblems(id, ttl, key) });
    return new CloudfrontCachePolicy(scope, `cloudfront_cache_policy.${id}`, {
      name: physicalName(scope, "cloudfront policy", `${prefix}-${id.replaceAll("_", "-")}`),
      comment,
      minTtl: ttl.minSeconds,
      defaultTtl: ttl.defaultSeconds,
      maxTtl: ttl.maxSeconds,
      parametersInCacheKeyAndForwardedToOrigin: renderKey(key),
    });
  };
  return {
    frontendSsr: create("frontend_ssr", "Pages: 0 to 60 seconds", FRONTEND_SSR),
    vwrStatic: create("vwr_static", "Waiting page: 300 seconds", VWR_STATIC),
  };
}

/** What CloudFront would refuse at apply. Source: CloudFront, CachePolicyConfig. */
export function cachePolicyProblems(name: string, ttl: CacheTtl, key: CacheKey): string[] {
  const problems: string[] = [];
  if (!(ttl.minSeconds <= ttl.defaultSeconds && ttl.defaultSeconds <= ttl.maxSeconds)) {
    problems.push(
      problem(`cache policy ${name}: ttl`, ttl, "minSeconds <= defaultSeconds <= maxSeconds", "Order them."),
    );
  }
  const keyed = key.cookies !== "none" || key.queryStrings !== "none" || key.headers.length > 0 || key.compressed;
  if (ttl.maxSeconds === 0 && keyed) {
    problems.push(
      problem(
        `cache policy ${name}: key`,
        key,
        "nothing, where maxSeconds is 0",
        "Use the managed CachingDisabled, and an origin request policy for what the origin needs.",
      ),
    );
  }
  return problems;
}

function renderKey(key: CacheKey): CloudfrontCachePolicyParametersInCacheKeyAndForwardedToOrigin {
  return {
    cookiesConfig: { cookieBehavior: key.cookies },
    queryStringsConfig: { queryStringBehavior: key.queryStrings },
    headersConfig:
      key.headers.length > 0
        ? { headerBehavior: "whitelist", headers: { items: [...key.headers] } }
        : { headerBehavior: "none" },
    enableAcceptEncodingBrotli: key.compressed,
    enableAcceptEncodingGzip: key.compressed,
  };
}
