import { randomUUID } from "node:crypto";
import type { Deployment, Route } from "./deployment";
import type { HttpAnswer, HttpHandler, HttpRequest } from "./http";
import { InvocationError, type LocalLambda, TooManyRequestsError } from "./lambda";

interface CompiledRoute extends Route {
  readonly pattern: RegExp;
  readonly names: readonly string[];
}

/** API Gateway's limit on the time of an integration. */
const INTEGRATION_TIMEOUT_MS = 29_000;
const MAX_BODY_BYTES = 10_485_760;

/** The REST API: routes, API key, throttling, proxy and mock integrations, gateway responses. */
export function createGateway(
  { api }: Deployment,
  functions: ReadonlyMap<string, LocalLambda>,
  onError: (error: Error) => void,
): HttpHandler {
  const routes = api.routes.map(compile);
  const bucket = new TokenBucket(api.rateLimit, api.burstLimit);
  const refuse = (type: string, fallbackStatus: number): HttpAnswer => {
    const response = api.responses[type] ?? api.responses[fallbackStatus < 500 ? "DEFAULT_4XX" : "DEFAULT_5XX"];
    return {
      status: response?.status ?? fallbackStatus,
      headers: { "content-type": "application/json", ...response?.headers },
      body: response?.body ?? "",
    };
  };
  return async (request) => {
    const prefix = `/${api.stageName}/`;
    if (!request.path.startsWith(prefix)) {
      return { status: 403, headers: { "content-type": "application/json" }, body: '{"message":"Forbidden"}' };
    }
    const path = request.path.slice(prefix.length - 1);
    const route = routes.find(({ method, pattern }) => method === request.method && pattern.test(path));
    if (route === undefined) {
      return refuse("MISSING_AUTHENTICATION_TOKEN", 403);
    }
    if (route.apiKeyRequired && request.headers["x-api-key"] !== api.apiKey) {
      return refuse("INVALID_API_KEY", 403);
    }
    if (request.body.length > MAX_BODY_BYTES) {
      return refuse("REQUEST_TOO_LARGE", 413);
    }
    if (!bucket.take()) {
      return refuse("THROTTLED", 429);
    }
    const { integration } = route;
    if (integration.type === "mock") {
      const origin = request.headers.origin;
      const echoed = origin !== undefined && integration.allowedOrigins.includes(origin);
      return {
        status: integration.status,
        headers: { ...integration.headers, ...(echoed && { "Access-Control-Allow-Origin": origin }) },
        body: "",
      };
    }
    const called = functions.get(integration.functionAddress);
    if (called === undefined) {
      return refuse("API_CONFIGURATION_ERROR", 500);
    }
    try {
      const event = proxyEvent(route, request, path, api.stageName);
      const result = await withTimeout(called.invoke(event), INTEGRATION_TIMEOUT_MS);
      return result === undefined ? refuse("INTEGRATION_TIMEOUT", 504) : toAnswer(result);
    } catch (error) {
      onError(error as Error);
      if (error instanceof TooManyRequestsError || error instanceof InvocationError) {
        return refuse("INTEGRATION_FAILURE", 502);
      }
      throw error;
    }
  };
}

function compile(route: Route): CompiledRoute {
  const names = [...route.resourcePath.matchAll(/\{(\w+)\}/g)].map(([, name]) => name as string);
  return { ...route, names, pattern: new RegExp(`^${route.resourcePath.replace(/\{\w+\}/g, "([^/]+)")}$`) };
}

/** The event of an AWS_PROXY integration. Source: API Gateway, "Input format of a Lambda function for proxy integration". */
function proxyEvent(route: CompiledRoute, request: HttpRequest, path: string, stage: string) {
  const values = route.pattern.exec(path)?.slice(1) ?? [];
  const query = new URLSearchParams(request.query);
  return {
    resource: route.resourcePath,
    path,
    httpMethod: request.method,
    headers: request.headers,
    multiValueHeaders: Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, [value]])),
    queryStringParameters: request.query === "" ? null : Object.fromEntries(query),
    multiValueQueryStringParameters: null,
    pathParameters: Object.fromEntries(route.names.map((name, index) => [name, decode(values[index] ?? "")])),
    stageVariables: null,
    requestContext: {
      requestId: randomUUID(),
      stage,
      httpMethod: request.method,
      path: `/${stage}${path}`,
      resourcePath: route.resourcePath,
      identity: { sourceIp: request.clientIp, userAgent: request.headers["user-agent"] ?? null },
    },
    body: request.body.length === 0 ? null : request.body.toString("utf8"),
    isBase64Encoded: false,
  };
}

function toAnswer(result: unknown): HttpAnswer {
  const { statusCode, headers, body, isBase64Encoded } = (result ?? {}) as {
    statusCode?: number;
    headers?: Record<string, string>;
    body?: string;
    isBase64Encoded?: boolean;
  };
  if (typeof statusCode !== "number") {
    throw new InvocationError(`Malformed Lambda proxy response: ${JSON.stringify(result)}`);
  }
  return {
    status: statusCode,
    headers: headers ?? {},
    body: Buffer.from(body ?? "", isBase64Encoded ? "base64" : "utf8"),
  };
}

async function withTimeout(call: Promise<unknown>, ms: number): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([call, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** The stage's throttle: `rate` per second on average, `burst` at once. */
class TokenBucket {
  private tokens: number;
  private at = performance.now();

  constructor(
    private readonly rate: number,
    private readonly burst: number,
  ) {
    this.tokens = burst;
  }

  take(): boolean {
    const now = performance.now();
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.at) / 1000) * this.rate);
    this.at = now;
    if (this.tokens < 1) {
      return false;
    }
    this.tokens -= 1;
    return true;
  }
}
