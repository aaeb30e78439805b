import type { Rule } from "./rules";

/** An origin as a browser sends it: scheme, host and port, nothing after them. */
const EXACT_ORIGIN = /^https?:\/\/[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/;

/**
 * Allowed origins must be named one by one: answers carry credentials somewhere on the way (S3 always says
 * `Access-Control-Allow-Credentials: true`), and browsers refuse `*` together with credentials.
 */
export const CORS_ORIGINS_RULE: Rule<{ readonly corsAllowedOrigins: readonly string[] }> = {
  property: "corsAllowedOrigins",
  given: ({ corsAllowedOrigins }) => corsAllowedOrigins,
  valid: ({ corsAllowedOrigins }) =>
    corsAllowedOrigins.length > 0 && corsAllowedOrigins.every((origin) => EXACT_ORIGIN.test(origin)),
  allowed: "one or more exact origins such as https://urr.guru, without a path and never *",
  remedy: "Name each site that may call from a browser; the first one is the site itself.",
};
