import { randomUUID } from "node:crypto";
import vm from "node:vm";
import type { Behavior, Deployment } from "./deployment";
import type { HttpAnswer, HttpHandler, HttpRequest } from "./http";
import type { LocalLambda } from "./lambda";

interface CompiledBehavior extends Behavior {
  readonly pattern: RegExp;
  readonly rewrite?: (event: unknown) => FunctionRequest | FunctionResponse;
}

/** CloudFront Functions' event structure. */
interface FunctionRequest {
  readonly method: string;
  readonly uri: string;
  readonly querystring: Record<string, { value: string }>;
}
interface FunctionResponse {
  readonly statusCode: number;
  readonly headers?: Record<string, { value: string }>;
}

/** Lambda@Edge's. */
type EdgeHeaders = Record<string, { readonly key: string; readonly value: string }[]>;
interface EdgeRequest {
  readonly uri: string;
  readonly querystring: string;
  readonly headers: EdgeHeaders;
}
interface EdgeResponse {
  readonly status: string;
  readonly headers?: EdgeHeaders;
  readonly body?: string;
}

interface Cached {
  readonly answer: HttpAnswer;
  readonly until: number;
}

/** The distribution: behaviours in order, viewer-request functions, cache, origins. */
export function createDistribution(
  deployment: Deployment,
  functions: ReadonlyMap<string, LocalLambda>,
  origins: Readonly<Record<string, HttpHandler>>,
  onError: (error: Error) => void,
): HttpHandler {
  const behaviors = deployment.behaviors.map(compile);
  const cache = new Map<string, Cached>();
  const finish = (answer: HttpAnswer): HttpAnswer => ({
    ...answer,
    headers: { ...answer.headers, ...deployment.responseHeaders, via: "1.1 local (CloudFront)" },
  });
  const problem = (status: number, body: string): HttpAnswer =>
    finish({ status, headers: { "content-type": "text/html", "cache-control": "no-store" }, body });

  return async (viewer) => {
    const behavior = behaviors.find(({ pattern }) => pattern.test(viewer.path)) as CompiledBehavior;
    if (!behavior.allowedMethods.includes(viewer.method)) {
      return problem(403, `This distribution does not allow ${viewer.method} here.`);
    }
    let request: HttpRequest;
    try {
      const outcome = await onViewerRequest(behavior, viewer, functions);
      if (isAnswer(outcome)) {
        return finish(outcome);
      }
      request = outcome;
    } catch (error) {
      onError(error as Error);
      return problem(503, "The function on this behaviour failed.");
    }
    const cacheable = request.method === "GET" && behavior.cache.maxSeconds > 0 && behavior.forwards === "nothing";
    const known = cacheable ? cache.get(request.path) : undefined;
    if (known !== undefined && known.until > Date.now()) {
      return finish({ ...known.answer, headers: { ...known.answer.headers, "x-cache": "Hit from cloudfront" } });
    }
    const origin = deployment.origins[behavior.originId];
    const handler = origins[behavior.originId];
    if (origin === undefined || handler === undefined) {
      return problem(502, `Origin ${behavior.originId} is not part of the local run.`);
    }
    const answer = await handler({
      ...request,
      path: `${origin.path}${request.path}`,
      headers: { ...forwarded(behavior, request.headers), ...origin.headers },
    });
    const seconds = cacheable && answer.status === 200 ? ttl(behavior, answer) : 0;
    if (seconds > 0) {
      cache.set(request.path, { answer, until: Date.now() + seconds * 1000 });
    }
    return finish({ ...answer, headers: { ...answer.headers, "x-cache": "Miss from cloudfront" } });
  };
}

function compile(behavior: Behavior): CompiledBehavior {
  const source = behavior.pathPattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  // A leading slash is optional in patterns.
  const pattern = new RegExp(`^${source.startsWith("/") || source === ".*" ? "" : "/"}${source}$`);
  return { ...behavior, pattern, ...(behavior.functionCode && { rewrite: compileFunction(behavior.functionCode) }) };
}

/** The emitted code in a context of its own: no modules, no timers, no process, as in CloudFront. */
function compileFunction(code: string): NonNullable<CompiledBehavior["rewrite"]> {
  const context = vm.createContext(Object.create(null), { codeGeneration: { strings: false, wasm: false } });
  vm.runInContext(code, context);
  const call = new vm.Script("JSON.stringify(handler(JSON.parse(event)))");
  return (event) => {
    (context as { event?: string }).event = JSON.stringify(event);
    return JSON.parse(call.runInContext(context) as string);
  };
}

async function onViewerRequest(
  behavior: CompiledBehavior,
  viewer: HttpRequest,
  functions: ReadonlyMap<string, LocalLambda>,
): Promise<HttpRequest | HttpAnswer> {
  if (behavior.rewrite !== undefined) {
    const result = behavior.rewrite(functionEvent(viewer));
    if ("statusCode" in result) {
      const headers = Object.entries(result.headers ?? {}).map(([name, { value }]) => [name, value]);
      return { status: result.statusCode, headers: Object.fromEntries(headers), body: "" };
    }
    return { ...viewer, path: result.uri };
  }
  const edge = behavior.edgeFunction && functions.get(behavior.edgeFunction.address);
  if (edge === undefined) {
    return viewer;
  }
  const result = (await edge.invoke(edgeEvent(viewer))) as EdgeRequest | EdgeResponse;
  if ("status" in result) {
    const headers = Object.entries(result.headers ?? {}).map(([name, values]) => [
      name,
      values.map(({ value }) => value),
    ]);
    return { status: Number(result.status), headers: Object.fromEntries(headers), body: result.body ?? "" };
  }
  const headers = Object.entries(result.headers).map(([name, values]) => [
    name,
    values.map(({ value }) => value).join(name === "cookie" ? "; " : ", "),
  ]);
  return { ...viewer, path: result.uri, query: result.querystring, headers: Object.fromEntries(headers) };
}

/** Source: CloudFront, "CloudFront Functions event structure". */
function functionEvent({ method, path, query, headers, clientIp }: HttpRequest) {
  return {
    version: "1.0",
    context: {
      distributionDomainName: "local",
      distributionId: "LOCAL",
      eventType: "viewer-request",
      requestId: randomUUID(),
    },
    viewer: { ip: clientIp },
    request: {
      method,
      uri: path,
      querystring: Object.fromEntries([...new URLSearchParams(query)].map(([name, value]) => [name, { value }])),
      headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, { value }])),
      cookies: {},
    },
  };
}

/** Source: CloudFront, "Lambda@Edge event structure". */
function edgeEvent({ method, path, query, headers, clientIp }: HttpRequest) {
  const config = {
    distributionDomainName: "local",
    distributionId: "LOCAL",
    eventType: "viewer-request",
    requestId: randomUUID(),
  };
  const edgeHeaders = Object.entries(headers).map(([name, value]) => [name, [{ key: name, value }]]);
  const request = { clientIp, method, uri: path, querystring: query, headers: Object.fromEntries(edgeHeaders) };
  return { Records: [{ cf: { config, request } }] };
}

function isAnswer(outcome: HttpRequest | HttpAnswer): outcome is HttpAnswer {
  return "status" in outcome;
}

function forwarded(behavior: Behavior, headers: HttpRequest["headers"]): Record<string, string> {
  if (behavior.forwards === "nothing") {
    return {};
  }
  const { host, ...others } = headers;
  return behavior.forwards === "all" && host !== undefined ? { ...others, host } : others;
}

/** What the origin says, within the policy's bounds. */
function ttl({ cache }: Behavior, { headers }: HttpAnswer): number {
  const told = /(?:^|,)\s*max-age=(\d+)/.exec(String(headers["cache-control"] ?? ""))?.[1];
  const wanted = told === undefined ? cache.defaultSeconds : Number(told);
  return Math.min(cache.maxSeconds, Math.max(cache.minSeconds, wanted));
}
