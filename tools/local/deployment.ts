import { readFileSync } from "node:fs";
import path from "node:path";
import type { Grant } from "./permissions";
import { type Block, type Resource, SynthesizedStack } from "./terraform";

/** A Lambda function as it would be deployed. */
export interface LambdaFunction {
  /** Terraform address, unique in the stack. */
  readonly address: string;
  readonly name: string;
  readonly zipFile: string;
  /** `index.handler`. */
  readonly handler: string;
  readonly timeoutSeconds: number;
  readonly memoryMib: number;
  /** Most environments at once; undefined where nothing is reserved. */
  readonly reservedConcurrency?: number;
  readonly environment: Readonly<Record<string, string>>;
  /** What its role's own policy allows. */
  readonly grants: readonly Grant[];
}

export interface Behavior {
  /** `*` for the default one. */
  readonly pathPattern: string;
  readonly allowedMethods: readonly string[];
  readonly originId: string;
  readonly viewerProtocolPolicy: string;
  /** Code of the CloudFront function on viewer-request. */
  readonly functionCode?: string;
  /** Lambda@Edge function on viewer-request. */
  readonly edgeFunction?: LambdaFunction;
  readonly cache: { readonly minSeconds: number; readonly defaultSeconds: number; readonly maxSeconds: number };
  /** Which of the viewer's headers reach the origin. */
  readonly forwards: "nothing" | "all" | "all-but-host";
}

export interface Origin {
  readonly id: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Route {
  readonly method: string;
  /** `/vwr/check/{eventId}/{requestId}`. */
  readonly resourcePath: string;
  readonly apiKeyRequired: boolean;
  readonly integration:
    | { readonly type: "proxy"; readonly functionAddress: string }
    | {
        readonly type: "mock";
        readonly status: number;
        readonly headers: Readonly<Record<string, string>>;
        readonly allowedOrigins: readonly string[];
      };
}

export interface GatewayResponse {
  readonly status?: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Table {
  readonly name: string;
  readonly attributes: readonly { readonly name: string; readonly type: string }[];
  readonly hashKey: string;
  readonly rangeKey?: string;
  readonly indexes: readonly { readonly name: string; readonly hashKey: string; readonly rangeKey: string }[];
}

export interface StoredObject {
  readonly bucket: string;
  readonly key: string;
  readonly content: string;
  readonly contentType: string;
  readonly cacheControl: string;
}

/** Everything of the production stack that the waiting room consists of. */
export interface Deployment {
  readonly region: string;
  /** Default behaviour last, as CloudFront asks it last. */
  readonly behaviors: readonly Behavior[];
  readonly origins: Readonly<Record<string, Origin>>;
  readonly responseHeaders: Readonly<Record<string, string>>;
  readonly functions: readonly LambdaFunction[];
  readonly api: {
    readonly stageName: string;
    readonly apiKey: string;
    readonly rateLimit: number;
    readonly burstLimit: number;
    readonly routes: readonly Route[];
    readonly responses: Readonly<Record<string, GatewayResponse>>;
  };
  /** Names of all alarms. */
  readonly alarms: readonly string[];
  readonly schedule: { readonly functionAddress: string; readonly everySeconds: number };
  readonly tables: { readonly counters: Table; readonly positions: Table };
  readonly frontendBucket: string;
  readonly objects: readonly StoredObject[];
  /** Secret values by name. */
  readonly secrets: Readonly<Record<string, string>>;
  readonly loadBalancer: { readonly header: string; readonly value: string };
}

/** Managed policies by id. Source: CloudFront, "Use managed cache policies", "Use managed origin request policies". */
const MANAGED_CACHE: Readonly<Record<string, Behavior["cache"]>> = {
  "4135ea2d-6df8-44a3-9df3-4b5a84be39ad": { minSeconds: 0, defaultSeconds: 0, maxSeconds: 0 },
  "658327ea-f89d-4fab-a63d-7e88639e58f6": { minSeconds: 1, defaultSeconds: 86_400, maxSeconds: 31_536_000 },
};
const MANAGED_REQUEST: Readonly<Record<string, Behavior["forwards"]>> = {
  "216adef6-5c7f-47e4-b989-5492eafa07d3": "all",
  "b689b0a8-53d0-40ab-baf2-68738e2966ac": "all-but-host",
};

/** Reads the waiting room out of a synthesized stack folder, such as `cdktf.out/stacks/prod`. */
export function readDeployment(directory: string): Deployment {
  const stack = new SynthesizedStack(directory);
  const functions = stack.resources("aws_lambda_function").map((resource) => readFunction(stack, resource));
  const distribution = stack.single("aws_cloudfront_distribution", "cloudfront");
  const listenerRule = stack.single("aws_lb_listener_rule", "alb", "frontend");
  const conditions = listenerRule.block.condition as { http_header?: { http_header_name: string; values: string[] } }[];
  const header = conditions.find(({ http_header }) => http_header !== undefined)?.http_header;
  return {
    region: stack.region,
    behaviors: readBehaviors(stack, distribution, functions),
    origins: Object.fromEntries(readOrigins(stack, distribution).map((origin) => [origin.id, origin])),
    responseHeaders: readResponseHeaders(stack, distribution),
    functions,
    api: readApi(stack),
    alarms: stack.resources("aws_cloudwatch_metric_alarm").map((alarm) => stack.text(alarm, alarm.block.alarm_name)),
    schedule: readSchedule(stack),
    tables: { counters: readTable(stack, "counters"), positions: readTable(stack, "positions") },
    frontendBucket: stack.text(
      stack.single("aws_s3_bucket", "s3", "frontend"),
      stack.single("aws_s3_bucket", "s3", "frontend").block.bucket,
    ),
    objects: stack.resources("aws_s3_object").map((resource) => readObject(stack, resource)),
    secrets: Object.fromEntries(
      stack.resources("aws_secretsmanager_secret_version").map((version) => {
        const [, name] = /aws_secretsmanager_secret\.([^.]+)\./.exec(String(version.block.secret_id)) ?? [];
        const secret = stack.single("aws_secretsmanager_secret", version.module, name);
        return [stack.text(secret, secret.block.name), stack.text(version, version.block.secret_string)];
      }),
    ),
    loadBalancer: {
      header: String(header?.http_header_name).toLowerCase(),
      value: stack.text(listenerRule, header?.values[0]),
    },
  };
}

function readFunction(stack: SynthesizedStack, resource: Resource): LambdaFunction {
  const { block } = resource;
  const variables = (block.environment as { variables?: Record<string, string> } | undefined)?.variables ?? {};
  return {
    address: addressOf(resource),
    name: stack.text(resource, block.function_name),
    zipFile: path.join(stack.directory, String(block.filename)),
    handler: String(block.handler),
    timeoutSeconds: Number(block.timeout),
    memoryMib: Number(block.memory_size),
    ...(block.reserved_concurrent_executions === undefined
      ? {}
      : { reservedConcurrency: Number(block.reserved_concurrent_executions) }),
    environment: Object.fromEntries(
      Object.entries(variables).map(([name, value]) => [name, stack.text(resource, value)]),
    ),
    grants: readGrants(stack, resource),
  };
}

function readGrants(stack: SynthesizedStack, lambda: Resource): Grant[] {
  const role = stack.follow(lambda, lambda.block.role);
  const caller = stack.text(lambda, lambda.block.function_name);
  const listed = (values: string | readonly string[]): readonly string[] => [values].flat();
  return stack
    .resources("aws_iam_role_policy", role.module)
    .filter((policy) => String(policy.block.role) === `\${aws_iam_role.${role.name}.name}`)
    .flatMap((policy) => {
      const { Statement } = JSON.parse(String(policy.block.policy)) as {
        Statement: { Effect: string; Action: string | string[]; Resource: string | string[] }[];
      };
      return Statement.filter(({ Effect }) => Effect === "Allow").flatMap(({ Action, Resource }) =>
        listed(Action).flatMap((action) =>
          listed(Resource).map((resource) => ({ caller, action, resource: namedResource(stack, policy, resource) })),
        ),
      );
    });
}

/** The ARN in a policy as the name of what it stands for, with what follows it: `urr-prod-frontend-prod/edge/list.json`. */
function namedResource(stack: SynthesizedStack, policy: Resource, arn: string): string {
  const [, module, type, name, rest = ""] = /^([^:]+):([^.]+)\.([^.]+)\.arn(.*)$/.exec(stack.text(policy, arn)) ?? [];
  if (module === undefined || type === undefined) {
    return arn;
  }
  const resource = stack.single(type, module, name);
  const { alarm_name: alarm, bucket, name: own } = resource.block;
  return `${stack.text(resource, own ?? bucket ?? alarm)}${rest}`;
}

function readBehaviors(
  stack: SynthesizedStack,
  distribution: Resource,
  functions: readonly LambdaFunction[],
): Behavior[] {
  const { ordered_cache_behavior: ordered, default_cache_behavior: fallback } = distribution.block as {
    ordered_cache_behavior: Block[];
    default_cache_behavior: Block;
  };
  return [...ordered, { ...fallback, path_pattern: "*" }].map((behavior) => {
    const associated = (key: string, attribute: string): Resource | undefined => {
      const [association] = (behavior[key] ?? []) as Block[];
      return association === undefined ? undefined : stack.follow(distribution, association[attribute]);
    };
    const cloudfrontFunction = associated("function_association", "function_arn");
    const edge = associated("lambda_function_association", "lambda_arn");
    const edgeFunction = edge && functions.find(({ address }) => address === addressOf(edge));
    return {
      pathPattern: String(behavior.path_pattern),
      allowedMethods: behavior.allowed_methods as string[],
      originId: String(behavior.target_origin_id),
      viewerProtocolPolicy: String(behavior.viewer_protocol_policy),
      ...(cloudfrontFunction && { functionCode: stack.text(cloudfrontFunction, cloudfrontFunction.block.code) }),
      ...(edgeFunction && { edgeFunction }),
      cache: readCache(stack, distribution, String(behavior.cache_policy_id)),
      forwards: MANAGED_REQUEST[String(behavior.origin_request_policy_id)] ?? "nothing",
    };
  });
}

function readCache(stack: SynthesizedStack, distribution: Resource, policy: string): Behavior["cache"] {
  const managed = MANAGED_CACHE[policy];
  if (managed !== undefined) {
    return managed;
  }
  const { block } = stack.follow(distribution, policy);
  return {
    minSeconds: Number(block.min_ttl),
    defaultSeconds: Number(block.default_ttl),
    maxSeconds: Number(block.max_ttl),
  };
}

function readOrigins(stack: SynthesizedStack, distribution: Resource): Origin[] {
  return (distribution.block.origin as Block[]).map((origin) => ({
    id: String(origin.origin_id),
    path: String(origin.origin_path ?? ""),
    headers: Object.fromEntries(
      ((origin.custom_header ?? []) as { name: string; value: string }[]).map(({ name, value }) => [
        name.toLowerCase(),
        stack.text(distribution, value),
      ]),
    ),
  }));
}

/** What the distribution's response headers policy adds to every answer; CORS needs the request and is left out. */
function readResponseHeaders(stack: SynthesizedStack, distribution: Resource): Record<string, string> {
  const behavior = distribution.block.default_cache_behavior as Block;
  const policy = stack.follow(distribution, behavior.response_headers_policy_id).block.security_headers_config as {
    strict_transport_security: { access_control_max_age_sec: number };
    frame_options: { frame_option: string };
    referrer_policy: { referrer_policy: string };
  };
  return {
    "strict-transport-security": `max-age=${policy.strict_transport_security.access_control_max_age_sec}; includeSubDomains; preload`,
    "x-content-type-options": "nosniff",
    "x-frame-options": policy.frame_options.frame_option,
    "x-xss-protection": "1; mode=block",
    "referrer-policy": policy.referrer_policy.referrer_policy,
  };
}

function readApi(stack: SynthesizedStack): Deployment["api"] {
  const module = "api_gateway_vwr";
  const stage = stack.single("aws_api_gateway_stage", module);
  const key = stack.single("aws_api_gateway_api_key", module);
  const { throttling_burst_limit: burst, throttling_rate_limit: rate } = stack.single(
    "aws_api_gateway_method_settings",
    module,
  ).block.settings as Block;
  const integrations = stack.resources("aws_api_gateway_integration", module);
  const routes = stack.resources("aws_api_gateway_method", module).map((method): Route => {
    const integration = integrations.find(({ name }) => name === method.name);
    if (integration === undefined) {
      throw new Error(`aws_api_gateway_method.${method.name} has no integration of the same name`);
    }
    return {
      method: String(method.block.http_method),
      resourcePath: resourcePath(stack, stack.follow(method, method.block.resource_id)),
      apiKeyRequired: method.block.api_key_required === true,
      integration:
        integration.block.type === "AWS_PROXY"
          ? { type: "proxy", functionAddress: addressOf(stack.follow(integration, integration.block.uri)) }
          : readMock(stack, integration),
    };
  });
  const responses = stack.resources("aws_api_gateway_gateway_response", module).map(({ block }) => {
    const parameters = (block.response_parameters ?? {}) as Record<string, string>;
    const response: GatewayResponse = {
      ...(block.status_code === undefined ? {} : { status: Number(block.status_code) }),
      headers: headersOf(parameters, "gatewayresponse.header."),
      body: (block.response_templates as Record<string, string>)["application/json"] ?? "",
    };
    return [String(block.response_type), response] as const;
  });
  return {
    stageName: String(stage.block.stage_name),
    apiKey: stack.text(key, key.block.value),
    rateLimit: Number(rate),
    burstLimit: Number(burst),
    routes,
    responses: Object.fromEntries(responses),
  };
}

/** The mock integration's template echoes the caller's origin if it is on its list; that list is read out of it. */
function readMock(stack: SynthesizedStack, integration: Resource): Route["integration"] {
  const { block } = stack.single("aws_api_gateway_integration_response", integration.module, integration.name);
  const template = (block.response_templates as Record<string, string> | undefined)?.["application/json"] ?? "";
  const list = /#set\(\$allowed = (\[[^\]]*\])\)/.exec(template)?.[1] ?? "[]";
  return {
    type: "mock",
    status: Number(block.status_code),
    headers: headersOf(block.response_parameters as Record<string, string>, "method.response.header."),
    allowedOrigins: JSON.parse(list) as string[],
  };
}

function headersOf(parameters: Record<string, string>, prefix: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [name.slice(prefix.length), value.replace(/^'|'$/g, "")]),
  );
}

function resourcePath(stack: SynthesizedStack, resource: Resource): string {
  const parent = stack.text(resource, resource.block.parent_id);
  const above = parent.includes("aws_api_gateway_resource.")
    ? resourcePath(stack, stack.follow(resource, resource.block.parent_id))
    : "";
  return `${above}/${resource.block.path_part}`;
}

function readSchedule(stack: SynthesizedStack): Deployment["schedule"] {
  const target = stack.single("aws_cloudwatch_event_target", "lambda_vwr");
  const rule = stack.single("aws_cloudwatch_event_rule", "lambda_vwr");
  const [, count, unit] = /^rate\((\d+) (minute|hour)s?\)$/.exec(String(rule.block.schedule_expression)) ?? [];
  if (count === undefined) {
    throw new Error(`Schedule ${rule.block.schedule_expression}: the local run knows rate(N minutes) only.`);
  }
  return {
    functionAddress: addressOf(stack.follow(target, target.block.arn)),
    everySeconds: Number(count) * (unit === "hour" ? 3_600 : 60),
  };
}

function readTable(stack: SynthesizedStack, name: string): Table {
  const resource = stack.single("aws_dynamodb_table", "dynamodb_vwr", name);
  const { block } = resource;
  return {
    name: stack.text(resource, block.name),
    attributes: block.attribute as Table["attributes"],
    hashKey: String(block.hash_key),
    ...(block.range_key === undefined ? {} : { rangeKey: String(block.range_key) }),
    indexes: ((block.global_secondary_index ?? []) as Block[]).map((index) => ({
      name: String(index.name),
      hashKey: String(index.hash_key),
      rangeKey: String(index.range_key),
    })),
  };
}

function readObject(stack: SynthesizedStack, resource: Resource): StoredObject {
  const { block } = resource;
  const [, bucketName] = /aws_s3_bucket\.([^.]+)\./.exec(String(block.bucket)) ?? [];
  const bucket = stack.single("aws_s3_bucket", resource.module, bucketName);
  return {
    bucket: stack.text(bucket, bucket.block.bucket),
    key: String(block.key),
    content:
      block.content === undefined
        ? readFileSync(path.join(stack.directory, String(block.source)), "utf8")
        : stack.text(resource, block.content),
    contentType: String(block.content_type),
    cacheControl: String(block.cache_control),
  };
}

function addressOf({ module, type, name }: Resource): string {
  return `${module}:${type}.${name}`;
}
