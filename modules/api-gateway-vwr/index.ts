import { createHash } from "node:crypto";
import { ApiGatewayApiKey } from "@cdktf/provider-aws/lib/api-gateway-api-key";
import { ApiGatewayDeployment } from "@cdktf/provider-aws/lib/api-gateway-deployment";
import { ApiGatewayGatewayResponse } from "@cdktf/provider-aws/lib/api-gateway-gateway-response";
import { ApiGatewayIntegration } from "@cdktf/provider-aws/lib/api-gateway-integration";
import { ApiGatewayIntegrationResponse } from "@cdktf/provider-aws/lib/api-gateway-integration-response";
import { ApiGatewayMethod } from "@cdktf/provider-aws/lib/api-gateway-method";
import { ApiGatewayMethodResponse } from "@cdktf/provider-aws/lib/api-gateway-method-response";
import { ApiGatewayMethodSettings } from "@cdktf/provider-aws/lib/api-gateway-method-settings";
import { ApiGatewayRequestValidator } from "@cdktf/provider-aws/lib/api-gateway-request-validator";
import { ApiGatewayResource } from "@cdktf/provider-aws/lib/api-gateway-resource";
import { ApiGatewayRestApi } from "@cdktf/provider-aws/lib/api-gateway-rest-api";
import { ApiGatewayStage } from "@cdktf/provider-aws/lib/api-gateway-stage";
import { ApiGatewayUsagePlan } from "@cdktf/provider-aws/lib/api-gateway-usage-plan";
import { ApiGatewayUsagePlanKey } from "@cdktf/provider-aws/lib/api-gateway-usage-plan-key";
import { LambdaPermission } from "@cdktf/provider-aws/lib/lambda-permission";
import { Fn, type IResolveContext, Lazy, type TerraformResource, Token } from "cdktf";
import type { Construct } from "constructs";
import { AlarmSet } from "../../lib/alarms";
import { CORS_ORIGINS_RULE } from "../../lib/cors";
import type { EncryptionKey } from "../../lib/kms";
import { createLogGroup } from "../../lib/log-group";
import { physicalName } from "../../lib/naming";
import { enforce, problem, type Rule } from "../../lib/rules";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link ApiGatewayVwr}. */
export interface ApiGatewayVwrProps {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
  readonly region: string;
  /** Sites whose pages may call the API from a browser; the first is the site itself. */
  readonly corsAllowedOrigins: readonly string[];
  /** Requests per second. Source: Infra analysis §2-10 (5,000 and 1,000). */
  readonly throttlingRateLimit: number;
  /** Requests at once. AWS's account-wide default is 5,000: more needs a raised quota. Source: Infra analysis §2-10. */
  readonly throttlingBurstLimit: number;
  /** Encrypts the logs. */
  readonly key: EncryptionKey;
  /** Value that callers must send as `x-api-key`, 20 to 128 characters; without it the API is open. @default open */
  readonly requireApiKey?: { readonly value: string };
  /** Part of the API's own URL; CloudFront adds it. Replacing it changes that URL. @default "v1" */
  readonly stageName?: string;
}

/** The function that answers. */
export interface ApiFunction {
  readonly functionName: string;
  readonly functionArn: string;
  readonly invokeArn: string;
}

interface Route {
  readonly method: "GET" | "POST";
  /** Below `/vwr`. Source: Infra analysis §2-10 "API Gateway". */
  readonly path: readonly string[];
}

/** The three routes by their Terraform name. Source: Infra analysis §2-10, AWS architecture §5.10. */
const ROUTES: Readonly<Record<string, Route>> = {
  assign: { method: "POST", path: ["assign", "{eventId}"] },
  check: { method: "GET", path: ["check", "{eventId}", "{requestId}"] },
  status: { method: "GET", path: ["status", "{eventId}"] },
};

interface GatewayError {
  /** Status, where it is not API Gateway's own. */
  readonly statusCode?: string;
  readonly code: string;
  readonly message: string;
  /** Whether the same request may succeed soon. */
  readonly retry?: boolean;
}

/** What API Gateway answers by itself, without asking the function. Source: Amazon API Gateway, "Gateway response types". */
const GATEWAY_ERRORS: Readonly<Record<string, GatewayError>> = {
  ACCESS_DENIED: { statusCode: "403", code: "forbidden", message: "Access to this API is denied." },
  API_CONFIGURATION_ERROR: { statusCode: "500", code: "internal_error", message: "The waiting room is misconfigured." },
  BAD_REQUEST_PARAMETERS: { statusCode: "400", code: "bad_request", message: "A part of the address is missing." },
  DEFAULT_4XX: { code: "bad_request", message: "The request cannot be processed." },
  DEFAULT_5XX: { code: "unavailable", message: "The waiting room cannot answer; try again shortly.", retry: true },
  INTEGRATION_FAILURE: {
    statusCode: "503",
    code: "unavailable",
    message: "The waiting room cannot answer; try again shortly.",
    retry: true,
  },
  INTEGRATION_TIMEOUT: {
    statusCode: "504",
    code: "timeout",
    message: "The waiting room took too long; try again shortly.",
    retry: true,
  },
  INVALID_API_KEY: { statusCode: "403", code: "forbidden", message: "Call this API through the site." },
  // An unknown path is no question of authentication, whatever API Gateway calls it.
  MISSING_AUTHENTICATION_TOKEN: { statusCode: "404", code: "not_found", message: "There is no such route." },
  QUOTA_EXCEEDED: { statusCode: "429", code: "too_many_requests", message: "Too many requests.", retry: true },
  REQUEST_TOO_LARGE: { statusCode: "413", code: "too_large", message: "The request is too large." },
  THROTTLED: { statusCode: "429", code: "too_many_requests", message: "Too many requests.", retry: true },
  UNSUPPORTED_MEDIA_TYPE: { statusCode: "415", code: "unsupported_media_type", message: "Send JSON." },
};

const DEFAULT_STAGE_NAME = "v1";
/** Seconds that a refused caller is told to wait at least; pages add their own jitter. */
const RETRY_AFTER_SECONDS = 3;
/** Seconds for which a browser keeps the answer to a preflight request: two hours is Chromium's maximum. */
const PREFLIGHT_MAX_AGE_SECONDS = 7200;
/** Headers that the page and the modal send. */
const ALLOWED_HEADERS = ["Content-Type", "X-Requested-With", "X-Vwr-Ticket"];
const PREFLIGHT_STATUS = "200";
/** Length of an API key's value. Source: Amazon API Gateway, CreateApiKey. */
const API_KEY_LENGTH = { min: 20, max: 128 };

/** One line of JSON per request. `messageString` brings its own quotes. */
const ACCESS_LOG_FORMAT = `{${[
  ...[
    ["requestId", "$context.requestId"],
    ["extendedRequestId", "$context.extendedRequestId"],
    ["xrayTraceId", "$context.xrayTraceId"],
    ["requestTime", "$context.requestTime"],
    ["sourceIp", "$context.identity.sourceIp"],
    ["httpMethod", "$context.httpMethod"],
    ["resourcePath", "$context.resourcePath"],
    ["path", "$context.path"],
    ["protocol", "$context.protocol"],
    ["status", "$context.status"],
    ["responseType", "$context.error.responseType"],
    ["responseLength", "$context.responseLength"],
    ["responseLatencyMs", "$context.responseLatency"],
    ["integrationLatencyMs", "$context.integrationLatency"],
    ["integrationStatus", "$context.integration.status"],
  ].map(([name, value]) => `"${name}":"${value}"`),
  `"error":$context.error.messageString`,
].join(",")}}`;

const RULES: readonly Rule<ApiGatewayVwrProps>[] = [
  CORS_ORIGINS_RULE,
  {
    property: "throttlingBurstLimit",
    given: ({ throttlingBurstLimit, throttlingRateLimit }) => ({ throttlingRateLimit, throttlingBurstLimit }),
    valid: ({ throttlingBurstLimit, throttlingRateLimit }) =>
      throttlingRateLimit > 0 && throttlingBurstLimit >= throttlingRateLimit,
    allowed: "a rate above 0 and a burst not below it",
    remedy: "A bucket smaller than a second's requests throttles below the rate.",
  },
  {
    property: "stageName",
    given: ({ stageName = DEFAULT_STAGE_NAME }) => stageName,
    valid: ({ stageName = DEFAULT_STAGE_NAME }) => /^[A-Za-z0-9_-]{1,128}$/.test(stageName),
    allowed: "letters, digits, - and _",
    remedy: "The stage is part of the API's URL.",
  },
  {
    property: "requireApiKey.value",
    given: ({ requireApiKey }) => requireApiKey?.value.length ?? API_KEY_LENGTH.min,
    valid: ({ requireApiKey }) =>
      requireApiKey === undefined ||
      Token.isUnresolved(requireApiKey.value) ||
      (requireApiKey.value.length >= API_KEY_LENGTH.min && requireApiKey.value.length <= API_KEY_LENGTH.max),
    allowed: `${API_KEY_LENGTH.min} to ${API_KEY_LENGTH.max} characters`,
    remedy: "Use the generated origin secret.",
  },
];

/**
 * The waiting room's REST API: three routes to one function, preflight answers without it, errors that browsers may read and
 * nobody may cache. Source: Infra analysis §2-10 "API Gateway", AWS architecture §5.10.
 */
export class ApiGatewayVwr extends Module {
  readonly restApiId: string;
  readonly executionArn: string;
  /** Host of the API's own URL, which CloudFront uses as origin. */
  readonly invokeDomainName: string;
  readonly stageName: string;
  readonly alarms: AlarmSet;

  private readonly props: ApiGatewayVwrProps;
  private readonly api: ApiGatewayRestApi;
  private readonly apiName: string;
  private readonly validator: ApiGatewayRequestValidator;
  private readonly methods: Readonly<Record<string, ApiGatewayMethod>>;
  /** Everything that a deployment freezes. */
  private readonly deployed: TerraformResource[] = [];
  private integrated = false;

  constructor(scope: Construct, id: string, props: ApiGatewayVwrProps) {
    super(scope, id);
    this.props = props;
    enforce(this, props, RULES);
    this.node.addValidation({ validate: () => this.missingIntegration() });

    this.apiName = physicalName(this, "rest api", `${props.prefix}-vwr-api`);
    this.api = new ApiGatewayRestApi(this, "api_gateway_rest_api.main", {
      name: this.apiName,
      description: `Waiting room of ${props.prefix}`,
      endpointConfiguration: { types: ["REGIONAL"] },
      lifecycle: { createBeforeDestroy: true },
    });
    this.validator = new ApiGatewayRequestValidator(this, "api_gateway_request_validator.parameters", {
      restApiId: this.api.id,
      name: "parameters",
      validateRequestParameters: true,
    });
    this.methods = this.createRoutes();
    this.createGatewayResponses();

    this.restApiId = this.api.id;
    this.executionArn = this.api.executionArn;
    this.invokeDomainName = `${this.api.id}.execute-api.${props.region}.amazonaws.com`;
    this.stageName = props.stageName ?? DEFAULT_STAGE_NAME;
    this.alarms = this.createAlarms();
  }

  /** Lets a function answer the three routes, and opens the API to callers. */
  integrate(apiFunction: ApiFunction): void {
    if (this.integrated)
      throw new Error(`${this.node.path}: integrate() was called twice; one function answers all routes.`);
    this.integrated = true;
    for (const [name, route] of Object.entries(ROUTES)) {
      const method = this.methods[name];
      if (!method) continue;
      this.deployed.push(
        new ApiGatewayIntegration(this, `api_gateway_integration.${name}`, {
          restApiId: this.api.id,
          resourceId: method.resourceId,
          httpMethod: method.httpMethod,
          type: "AWS_PROXY",
          integrationHttpMethod: "POST",
          uri: apiFunction.invokeArn,
        }),
      );
      new LambdaPermission(this, `lambda_permission.${name}`, {
        statementId: `ApiGateway${name.charAt(0).toUpperCase()}${name.slice(1)}`,
        action: "lambda:InvokeFunction",
        functionName: apiFunction.functionName,
        principal: "apigateway.amazonaws.com",
        sourceArn: `${this.api.executionArn}/${this.stageName}/${route.method}/vwr/${route.path.map(asPattern).join("/")}`,
      });
    }
    this.createStage(this.createDeployment(apiFunction));
  }

  private createRoutes(): Record<string, ApiGatewayMethod> {
    const root = this.resource("vwr", this.api.rootResourceId, "vwr");
    return Object.fromEntries(
      Object.entries(ROUTES).map(([name, { method, path }]) => {
        const leaf = path.reduce(
          (parent, part, index) => this.resource(index === 0 ? name : `${name}_${asIdentifier(part)}`, parent.id, part),
          root,
        );
        this.createPreflight(name, leaf, method);
        const { requireApiKey } = this.props;
        const resource = new ApiGatewayMethod(this, `api_gateway_method.${name}`, {
          restApiId: this.api.id,
          resourceId: leaf.id,
          httpMethod: method,
          authorization: "NONE",
          apiKeyRequired: requireApiKey !== undefined,
          requestValidatorId: this.validator.id,
          requestParameters: Object.fromEntries(
            path.filter(isParameter).map((part) => [`method.request.path.${part.slice(1, -1)}`, true]),
          ),
        });
        this.deployed.push(resource);
        return [name, resource];
      }),
    );
  }

  private resource(id: string, parentId: string, pathPart: string): ApiGatewayResource {
    const resource = new ApiGatewayResource(this, `api_gateway_resource.${id}`, {
      restApiId: this.api.id,
      parentId,
      pathPart,
    });
    this.deployed.push(resource);
    return resource;
  }

  /**
   * Answers OPTIONS without the function. The page and the modal send no cookies to this API, so it never says that
   * credentials are allowed; the origin is the caller's own if it is one of the allowed ones, and the site's otherwise.
   */
  private createPreflight(name: string, resource: ApiGatewayResource, allowedMethod: string): void {
    const id = `${name}_options`;
    const common = { restApiId: this.api.id, resourceId: resource.id, httpMethod: "OPTIONS" };
    const method = new ApiGatewayMethod(this, `api_gateway_method.${id}`, {
      ...common,
      authorization: "NONE",
      apiKeyRequired: false,
      requestValidatorId: this.validator.id,
    });
    const integration = new ApiGatewayIntegration(this, `api_gateway_integration.${id}`, {
      ...common,
      type: "MOCK",
      passthroughBehavior: "WHEN_NO_TEMPLATES",
      // What the mock answers is decided by a status in its own request.
      requestTemplates: { "application/json": JSON.stringify({ statusCode: Number(PREFLIGHT_STATUS) }) },
      dependsOn: [method],
    });
    const headers: Record<string, string> = {
      "Access-Control-Allow-Origin": quoted(this.siteOrigin()),
      "Access-Control-Allow-Methods": quoted(`OPTIONS,${allowedMethod}`),
      "Access-Control-Allow-Headers": quoted(ALLOWED_HEADERS.join(",")),
      "Access-Control-Max-Age": quoted(`${PREFLIGHT_MAX_AGE_SECONDS}`),
      Vary: quoted("Origin"),
    };
    const named = (value: (header: string) => string | boolean) =>
      Object.fromEntries(Object.keys(headers).map((header) => [`method.response.header.${header}`, value(header)]));
    const response = new ApiGatewayMethodResponse(this, `api_gateway_method_response.${id}`, {
      ...common,
      statusCode: PREFLIGHT_STATUS,
      responseParameters: named(() => true) as Record<string, boolean>,
      dependsOn: [method],
    });
    const integrationResponse = new ApiGatewayIntegrationResponse(this, `api_gateway_integration_response.${id}`, {
      ...common,
      statusCode: PREFLIGHT_STATUS,
      responseParameters: named((header) => headers[header] ?? "") as Record<string, string>,
      responseTemplates: { "application/json": this.originTemplate() },
      dependsOn: [integration, response],
    });
    this.deployed.push(method, integration, response, integrationResponse);
  }

  /** Mapping template that answers an allowed caller with its own origin. Browsers on HTTP/2 write the header in lower case. */
  private originTemplate(): string {
    const { corsAllowedOrigins } = this.props;
    const allowed = Token.isUnresolved(corsAllowedOrigins)
      ? Fn.jsonencode(corsAllowedOrigins)
      : JSON.stringify(corsAllowedOrigins);
    return [
      `#set($allowed = ${allowed})`,
      `#set($origin = $input.params("Origin"))`,
      `#if($origin == "")#set($origin = $input.params("origin"))#end`,
      "#if($allowed.contains($origin))",
      "#set($context.responseOverride.header.Access-Control-Allow-Origin = $origin)",
      "#end",
    ].join("\n");
  }

  /** Errors that never reach the function: readable by the site's own pages, and never kept by a cache. */
  private createGatewayResponses(): void {
    for (const [responseType, { code, message, retry, statusCode }] of Object.entries(GATEWAY_ERRORS)) {
      const headers: Record<string, string> = {
        // A gateway response cannot choose between origins; the site's own page is the one that must read it.
        "Access-Control-Allow-Origin": this.siteOrigin(),
        "Access-Control-Expose-Headers": "Retry-After",
        "Cache-Control": "no-store",
        Vary: "Origin",
        ...(retry && { "Retry-After": `${RETRY_AFTER_SECONDS}` }),
      };
      this.deployed.push(
        new ApiGatewayGatewayResponse(this, `api_gateway_gateway_response.${responseType.toLowerCase()}`, {
          restApiId: this.api.id,
          responseType,
          ...(statusCode && { statusCode }),
          responseParameters: Object.fromEntries(
            Object.entries(headers).map(([header, value]) => [`gatewayresponse.header.${header}`, quoted(value)]),
          ),
          responseTemplates: { "application/json": JSON.stringify({ code, message }) },
        }),
      );
    }
  }

  private siteOrigin(): string {
    const { corsAllowedOrigins } = this.props;
    if (Token.isUnresolved(corsAllowedOrigins)) return Token.asString(Fn.element(corsAllowedOrigins, 0));
    return corsAllowedOrigins[0] ?? "";
  }

  /**
   * A deployment is a frozen copy: it is made anew whenever anything that it froze changes. The trigger is computed here, from
   * the configuration itself; a hash of the resources' attributes would be unknown at the first plan and change at the second.
   */
  private createDeployment({ functionName }: ApiFunction): ApiGatewayDeployment {
    const { corsAllowedOrigins } = this.props;
    return new ApiGatewayDeployment(this, "api_gateway_deployment.main", {
      restApiId: this.api.id,
      triggers: {
        configuration: Lazy.stringValue({ produce: (context) => this.configurationHash(context) }),
        function_name: functionName,
        ...(Token.isUnresolved(corsAllowedOrigins) && { cors_allowed_origins: Fn.join(",", [...corsAllowedOrigins]) }),
      },
      lifecycle: { createBeforeDestroy: true },
      dependsOn: this.deployed,
    });
  }

  private configurationHash(context: IResolveContext): string {
    const configuration = this.deployed.map((resource) => context.resolve(resource.toTerraform()));
    return createHash("sha256")
      .update(JSON.stringify(configuration, (key, value) => (key === "//" ? undefined : value)))
      .digest("hex");
  }

  private createStage(deployment: ApiGatewayDeployment): void {
    const { key, prefix, requireApiKey, throttlingBurstLimit, throttlingRateLimit } = this.props;
    const accessLogs = createLogGroup(this, "access", { name: `/aws/apigateway/${this.apiName}/access`, key });
    // The name that API Gateway gives it.
    const executionLogs = createLogGroup(this, "execution", {
      name: `API-Gateway-Execution-Logs_${this.api.id}/${this.stageName}`,
      key,
    });
    const stage = new ApiGatewayStage(this, "api_gateway_stage.main", {
      restApiId: this.api.id,
      deploymentId: deployment.id,
      stageName: this.stageName,
      xrayTracingEnabled: true,
      accessLogSettings: { destinationArn: accessLogs.arn, format: ACCESS_LOG_FORMAT },
      dependsOn: [executionLogs],
    });
    new ApiGatewayMethodSettings(this, "api_gateway_method_settings.all", {
      restApiId: this.api.id,
      stageName: stage.stageName,
      methodPath: "*/*",
      settings: {
        throttlingRateLimit,
        throttlingBurstLimit,
        metricsEnabled: true,
        loggingLevel: "ERROR",
        // Would write tokens into the logs.
        dataTraceEnabled: false,
      },
    });
    if (requireApiKey) this.createApiKey(requireApiKey.value, stage, prefix);
  }

  /** The key by which the API knows CloudFront, so that its own URL leads nowhere. */
  private createApiKey(value: string, stage: ApiGatewayStage, prefix: string): void {
    const apiKey = new ApiGatewayApiKey(this, "api_gateway_api_key.cloudfront", {
      name: `${prefix}-vwr-cloudfront`,
      description: "Sent by CloudFront as x-api-key",
      value,
    });
    const usagePlan = new ApiGatewayUsagePlan(this, "api_gateway_usage_plan.cloudfront", {
      name: `${prefix}-vwr-cloudfront`,
      description: "Everything that comes through CloudFront; throttled by the stage",
      apiStages: [{ apiId: this.api.id, stage: stage.stageName }],
    });
    new ApiGatewayUsagePlanKey(this, "api_gateway_usage_plan_key.cloudfront", {
      keyId: apiKey.id,
      keyType: "API_KEY",
      usagePlanId: usagePlan.id,
    });
  }

  private createAlarms(): AlarmSet {
    const alarms = new AlarmSet(this);
    const common = {
      namespace: "AWS/ApiGateway",
      dimensions: { ApiName: this.apiName, Stage: this.stageName },
      periodSeconds: 60,
      comparison: "GreaterThanThreshold",
    } as const;
    alarms.add("server_errors", {
      ...common,
      name: `${this.apiName}-5xx`,
      description:
        "More than 1 % of the waiting room's answers are errors. Look at the function's errors and throttles first.",
      metricName: "5XXError",
      statistic: "Average",
      evaluationPeriods: 3,
      threshold: 0.01,
    });
    alarms.add("client_errors", {
      ...common,
      name: `${this.apiName}-4xx`,
      description:
        "More than 20 % of calls are refused: throttling (429), or a caller without the key (403). See the access log.",
      metricName: "4XXError",
      statistic: "Average",
      evaluationPeriods: 5,
      threshold: 0.2,
    });
    alarms.add("latency", {
      ...common,
      name: `${this.apiName}-latency`,
      description:
        "One call in a hundred takes longer than 3 s. Look at DynamoDB throttling and the function's duration.",
      metricName: "Latency",
      statistic: "p99",
      evaluationPeriods: 3,
      threshold: 3000,
    });
    return alarms;
  }

  private missingIntegration(): string[] {
    if (this.integrated) return [];
    return [problem("function", undefined, "the function that answers", "Call integrate(function) in the stack.")];
  }
}

/** A static value of a response header, as API Gateway writes it. */
function quoted(value: string): string {
  return `'${value}'`;
}

function isParameter(part: string): boolean {
  return part.startsWith("{");
}

/** `*` for a path parameter, the part itself otherwise. */
function asPattern(part: string): string {
  return isParameter(part) ? "*" : part;
}

/** `event` of `{eventId}`. */
function asIdentifier(part: string): string {
  return part.slice(1, -1).replace(/Id$/, "");
}
