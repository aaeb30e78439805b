/*
 * Timeouts that leave the function time to answer 503 itself: an SDK default would wait longer than the 10 s that vwr-api
 * has, and the visitor would get API Gateway's 502 without a Retry-After.
 */
const CONNECTION_TIMEOUT_MS = 500;
const REQUEST_TIMEOUT_MS = 800;

/**
 * Settings of an SDK client in a function of the home Region: it gives up in time, after so many attempts, and puts its middleware
 * together once per kind of command instead of for each call (the SDK on `cacheMiddleware`). What is added to a client, tracing say,
 * must therefore be added before its first call.
 */
export function boundedClient(maxAttempts: number) {
  return {
    maxAttempts,
    cacheMiddleware: true,
    requestHandler: {
      connectionTimeout: CONNECTION_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      throwOnRequestTimeout: true,
    },
  };
}
