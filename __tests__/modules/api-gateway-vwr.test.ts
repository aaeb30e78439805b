import { KmsKey } from "@cdktf/provider-aws/lib/kms-key";
import { TerraformResource, TerraformVariable } from "cdktf";
import { describe, expect, it } from "vitest";
import type { EncryptionKey } from "../../lib/kms";
import type { JsonObject } from "../../lib/terraform-modules";
import { ApiGatewayVwr, type ApiGatewayVwrProps } from "../../modules/api-gateway-vwr";
import {
  ACCOUNT_ID,
  REGION,
  resourcesOf,
  type SynthesizedModules,
  synthModule,
  synthProblems,
  type TestStack,
} from "../support/synth";

const FUNCTION_ARN = `arn:aws:lambda:${REGION}:${ACCOUNT_ID}:function:urr-prod-vwr-api`;
const API_FUNCTION = {
  functionName: "urr-prod-vwr-api",
  functionArn: FUNCTION_ARN,
  invokeArn: `arn:aws:apigateway:${REGION}:lambda:path/2015-03-31/functions/${FUNCTION_ARN}/invocations`,
};

function keyOf(stack: TestStack): EncryptionKey {
  const key = new KmsKey(stack, "kms_key.main");
  return {
    keyArn: key.arn,
    logsPermission: key,
    grantDecrypt: () => undefined,
    grantEncryptDecrypt: () => undefined,
  };
}

function propsOf(stack: TestStack): ApiGatewayVwrProps {
  return {
    prefix: "urr-prod",
    region: REGION,
    corsAllowedOrigins: ["https://urr.guru", "https://www.urr.guru"],
    throttlingRateLimit: 5000,
    throttlingBurstLimit: 10_000,
    key: keyOf(stack),
    requireApiKey: { value: "s".repeat(64) },
  };
}

/** The back edges that a stack makes. */
function connect(api: ApiGatewayVwr, apiFunction = API_FUNCTION): ApiGatewayVwr {
  api.integrate(apiFunction);
  api.alarms.notify(`arn:aws:sns:${REGION}:${ACCOUNT_ID}:alarms`);
  return api;
}

function build(stack: TestStack, props: Partial<ApiGatewayVwrProps> = {}, apiFunction = API_FUNCTION): ApiGatewayVwr {
  return connect(new ApiGatewayVwr(stack, "api_gateway_vwr", { ...propsOf(stack), ...props }), apiFunction);
}

function synth(props: Partial<ApiGatewayVwrProps> = {}, apiFunction = API_FUNCTION): SynthesizedModules {
  return synthModule((stack) => {
    build(stack, props, apiFunction);
  });
}

const synthesized = synth();

/** A resource of the module, by type without its common start and by name. */
function get(type: string, name: string, of = synthesized): JsonObject {
  const resource = resourcesOf(of, `aws_${type}`)[`api_gateway_vwr_${name}`];
  if (!resource) throw new Error(`there is no aws_${type}.${name}`);
  return resource;
}

/** Path of a resource of the API, followed up to its root. */
function pathOf(reference: unknown): string {
  const name = /^\$\{aws_api_gateway_resource\.api_gateway_vwr_(\w+)\.id\}$/.exec(String(reference))?.[1];
  if (name === undefined) return "";
  const { parent_id, path_part } = get("api_gateway_resource", name);
  return `${pathOf(parent_id)}/${String(path_part)}`;
}

function configurationOf(of: SynthesizedModules): unknown {
  return (get("api_gateway_deployment", "main", of).triggers as JsonObject).configuration;
}

/** Everything that a deployment freezes: a change to any of it is live only after a new one. */
const FROZEN_TYPES = [
  "aws_api_gateway_resource",
  "aws_api_gateway_method",
  "aws_api_gateway_integration",
  "aws_api_gateway_method_response",
  "aws_api_gateway_integration_response",
  "aws_api_gateway_gateway_response",
];

describe("api-gateway-vwr", () => {
  /** Infra analysis §2-10, AWS architecture §5.10. */
  it.each([
    ["assign", "POST", "/vwr/assign/{eventId}", ["eventId"], "v1/POST/vwr/assign/*"],
    ["check", "GET", "/vwr/check/{eventId}/{requestId}", ["eventId", "requestId"], "v1/GET/vwr/check/*/*"],
    ["status", "GET", "/vwr/status/{eventId}", ["eventId"], "v1/GET/vwr/status/*"],
  ])("answers %s, %s %s, by the function, which admits just this route", (name, method, path, parameters, source) => {
    const resource = get("api_gateway_method", name);
    expect(resource).toMatchObject({ http_method: method, authorization: "NONE", api_key_required: true });
    expect(pathOf(resource.resource_id)).toBe(path);
    expect(resource.request_parameters).toEqual(
      Object.fromEntries(parameters.map((parameter) => [`method.request.path.${parameter}`, true])),
    );
    expect(resource.request_validator_id).toBe("${aws_api_gateway_request_validator.api_gateway_vwr_parameters.id}");
    expect(get("api_gateway_integration", name)).toMatchObject({
      type: "AWS_PROXY",
      integration_http_method: "POST",
      uri: API_FUNCTION.invokeArn,
      resource_id: `\${aws_api_gateway_method.api_gateway_vwr_${name}.resource_id}`,
    });
    expect(get("lambda_permission", name)).toMatchObject({
      action: "lambda:InvokeFunction",
      function_name: "urr-prod-vwr-api",
      principal: "apigateway.amazonaws.com",
      source_arn: `\${aws_api_gateway_rest_api.api_gateway_vwr_main.execution_arn}/${source}`,
    });
  });

  it("is a regional REST API with these three routes and their OPTIONS, no other", () => {
    expect(get("api_gateway_rest_api", "main")).toMatchObject({
      name: "urr-prod-vwr-api",
      endpoint_configuration: { types: ["REGIONAL"] },
    });
    expect(Object.keys(resourcesOf(synthesized, "aws_api_gateway_method")).sort()).toEqual(
      ["assign", "assign_options", "check", "check_options", "status", "status_options"].map(
        (name) => `api_gateway_vwr_${name}`,
      ),
    );
  });

  it.each([
    ["assign", "OPTIONS,POST"],
    ["check", "OPTIONS,GET"],
    ["status", "OPTIONS,GET"],
  ])("answers OPTIONS of %s without the function and without a key", (name, methods) => {
    const id = `${name}_options`;
    expect(get("api_gateway_method", id)).toMatchObject({ http_method: "OPTIONS", api_key_required: false });
    expect(get("api_gateway_method", id).resource_id).toBe(get("api_gateway_method", name).resource_id);
    const integration = get("api_gateway_integration", id);
    expect(integration).toMatchObject({ type: "MOCK", passthrough_behavior: "WHEN_NO_TEMPLATES" });
    expect(integration).not.toHaveProperty("integration_http_method");
    const response = get("api_gateway_integration_response", id);
    const status = (JSON.parse(String((integration.request_templates as JsonObject)["application/json"])) as JsonObject)
      .statusCode;
    expect(`${status}`).toBe(response.status_code);
    expect(response.response_parameters).toMatchObject({
      "method.response.header.Access-Control-Allow-Origin": "'https://urr.guru'",
      "method.response.header.Access-Control-Allow-Methods": `'${methods}'`,
      "method.response.header.Vary": "'Origin'",
    });
    expect(Object.keys(get("api_gateway_method_response", id).response_parameters as JsonObject).sort()).toEqual(
      Object.keys(response.response_parameters as JsonObject).sort(),
    );
  });

  it("answers a preflight with the caller's own origin only if it is an allowed one", () => {
    const template = String(
      (get("api_gateway_integration_response", "assign_options").response_templates as JsonObject)["application/json"],
    );
    expect(template.split("\n")).toEqual([
      '#set($allowed = ["https://urr.guru","https://www.urr.guru"])',
      '#set($origin = $input.params("Origin"))',
      '#if($origin == "")#set($origin = $input.params("origin"))#end',
      "#if($allowed.contains($origin))",
      "#set($context.responseOverride.header.Access-Control-Allow-Origin = $origin)",
      "#end",
    ]);
  });

  it("never allows credentials, nor every origin or header", () => {
    const answers = [
      ...Object.values(resourcesOf(synthesized, "aws_api_gateway_integration_response")),
      ...Object.values(resourcesOf(synthesized, "aws_api_gateway_gateway_response")),
    ].map(({ response_parameters, response_templates }) => JSON.stringify([response_parameters, response_templates]));
    expect(answers).toHaveLength(3 + 13);
    for (const answer of answers) {
      expect(answer).not.toContain("Allow-Credentials");
      expect(answer).not.toContain("'*'");
    }
  });

  describe("errors of its own", () => {
    const errors = Object.values(resourcesOf(synthesized, "aws_api_gateway_gateway_response"));
    const of = (type: string) => {
      const error = errors.find(({ response_type }) => response_type === type);
      if (!error) throw new Error(`there is no gateway response ${type}`);
      return error;
    };

    it("cover everything that can go wrong, by the two defaults", () => {
      expect(errors.map(({ response_type }) => response_type)).toEqual(
        expect.arrayContaining(["DEFAULT_4XX", "DEFAULT_5XX"]),
      );
    });

    it("can be read by the site's page and are kept by no cache", () => {
      for (const { response_parameters } of errors) {
        expect(response_parameters).toMatchObject({
          "gatewayresponse.header.Access-Control-Allow-Origin": "'https://urr.guru'",
          "gatewayresponse.header.Access-Control-Expose-Headers": "'Retry-After'",
          "gatewayresponse.header.Cache-Control": "'no-store'",
        });
      }
    });

    it.each([
      "THROTTLED",
      "QUOTA_EXCEEDED",
      "DEFAULT_5XX",
      "INTEGRATION_FAILURE",
      "INTEGRATION_TIMEOUT",
    ])("say when to come back: %s", (type) => {
      expect((of(type).response_parameters as JsonObject)["gatewayresponse.header.Retry-After"]).toMatch(/^'\d+'$/);
    });

    it.each([
      ["THROTTLED", "429"],
      ["QUOTA_EXCEEDED", "429"],
      ["INVALID_API_KEY", "403"],
      ["MISSING_AUTHENTICATION_TOKEN", "404"],
      ["BAD_REQUEST_PARAMETERS", "400"],
      ["INTEGRATION_FAILURE", "503"],
      ["INTEGRATION_TIMEOUT", "504"],
    ])("answer %s with %s, a code and a sentence", (type, status) => {
      expect(of(type).status_code).toBe(status);
      expect(JSON.parse(String((of(type).response_templates as JsonObject)["application/json"]))).toEqual({
        code: expect.stringMatching(/^[a-z_]+$/),
        message: expect.stringMatching(/\.$/),
      });
    });

    it("leave the status of the defaults to API Gateway: one value would stand for every error", () => {
      expect(of("DEFAULT_4XX")).not.toHaveProperty("status_code");
      expect(of("DEFAULT_5XX")).not.toHaveProperty("status_code");
    });
  });

  describe("deployment", () => {
    it("comes after everything that it freezes", () => {
      const frozen = FROZEN_TYPES.flatMap((type) =>
        Object.keys(resourcesOf(synthesized, type)).map((name) => `${type}.${name}`),
      );
      const dependsOn = get("api_gateway_deployment", "main").depends_on as string[];
      expect([...dependsOn].sort()).toEqual(frozen.sort());
    });

    it("is made before the one that it replaces is removed", () => {
      expect(get("api_gateway_deployment", "main").lifecycle).toEqual({ create_before_destroy: true });
    });

    it("is triggered by what is known before apply, so that a second plan changes nothing", () => {
      expect(get("api_gateway_deployment", "main").triggers).toEqual({
        configuration: expect.stringMatching(/^[0-9a-f]{64}$/),
        function_name: "urr-prod-vwr-api",
      });
      expect(configurationOf(synth())).toBe(configurationOf(synthesized));
    });

    it("is triggered by origins that only the plan knows", () => {
      const later = synthModule((stack) => {
        const origins = new TerraformVariable(stack, "cors_allowed_origins", { type: "list(string)" });
        build(stack, { corsAllowedOrigins: origins.listValue });
      });
      expect((get("api_gateway_deployment", "main", later).triggers as JsonObject).cors_allowed_origins).toBe(
        '${join(",", var.cors_allowed_origins)}',
      );
    });

    it.each<[string, Partial<ApiGatewayVwrProps>]>([
      ["an allowed origin", { corsAllowedOrigins: ["https://urr.guru"] }],
      ["the order of origins", { corsAllowedOrigins: ["https://www.urr.guru", "https://urr.guru"] }],
    ])("is made anew when %s changes", (_, props) => {
      expect(configurationOf(synth(props))).not.toBe(configurationOf(synthesized));
    });

    it("is made anew when the key is no longer asked for", () => {
      const open = synthModule((stack) => {
        const { requireApiKey: _, ...props } = propsOf(stack);
        connect(new ApiGatewayVwr(stack, "api_gateway_vwr", props));
      });
      expect(configurationOf(open)).not.toBe(configurationOf(synthesized));
      expect(resourcesOf(open, "aws_api_gateway_api_key")).toEqual({});
    });

    it("is made anew when another function answers", () => {
      const other = synth({}, { ...API_FUNCTION, functionName: "other", invokeArn: "arn:other" });
      expect(configurationOf(other)).not.toBe(configurationOf(synthesized));
    });

    it.each(FROZEN_TYPES)("is made anew when any %s changes", (type) => {
      const names = Object.keys(resourcesOf(synthesized, type));
      expect(names.length).toBeGreaterThan(0);
      const hashes = names.map((name) =>
        configurationOf(
          synthModule((stack) => {
            build(stack);
            const changed = stack.node
              .findAll()
              .filter(TerraformResource.isTerraformResource)
              .find((resource) => resource.terraformResourceType === type && resource.friendlyUniqueId === name);
            if (!changed) throw new Error(`there is no ${type}.${name}`);
            changed.addOverride("changed", true);
          }),
        ),
      );
      expect(new Set([...hashes, configurationOf(synthesized)]).size).toBe(names.length + 1);
    });

    it("stays when only the stage's throttling changes", () => {
      expect(configurationOf(synth({ throttlingRateLimit: 6000 }))).toBe(configurationOf(synthesized));
    });
  });

  describe("stage", () => {
    it.each([
      ["prod", 5000, 10_000],
      ["staging", 1000, 2000],
    ])("throttles %s at %d/s, burst %d, on every method", (_, rate, burst) => {
      const settings = get(
        "api_gateway_method_settings",
        "all",
        synth({ throttlingRateLimit: rate, throttlingBurstLimit: burst }),
      );
      expect(settings).toMatchObject({
        method_path: "*/*",
        settings: { throttling_rate_limit: rate, throttling_burst_limit: burst },
      });
    });

    it("logs errors and measures, but never writes bodies into logs", () => {
      expect(get("api_gateway_method_settings", "all").settings).toMatchObject({
        logging_level: "ERROR",
        metrics_enabled: true,
        data_trace_enabled: false,
      });
    });

    it("writes one line of JSON per request, without tokens, to an encrypted group, and is traced", () => {
      const stage = get("api_gateway_stage", "main");
      expect(stage).toMatchObject({ stage_name: "v1", xray_tracing_enabled: true });
      const { destination_arn, format } = stage.access_log_settings as JsonObject;
      expect(destination_arn).toBe("${aws_cloudwatch_log_group.api_gateway_vwr_access.arn}");
      const line = String(format).replace("$context.error.messageString", '"message"');
      expect(Object.keys(JSON.parse(line) as object)).toEqual(
        expect.arrayContaining(["requestId", "status", "resourcePath", "integrationLatencyMs", "error"]),
      );
      expect(format).not.toMatch(/authorizer|apiKey\b|header/i);
    });

    it("owns the groups of both kinds of log before API Gateway writes to them", () => {
      const groups = resourcesOf(synthesized, "aws_cloudwatch_log_group");
      expect(Object.values(groups).map(({ name }) => name)).toEqual([
        "/aws/apigateway/urr-prod-vwr-api/access",
        "API-Gateway-Execution-Logs_${aws_api_gateway_rest_api.api_gateway_vwr_main.id}/v1",
      ]);
      for (const group of Object.values(groups)) {
        expect(group).toMatchObject({
          retention_in_days: 365,
          kms_key_id: "${aws_kms_key.main.arn}",
          depends_on: ["aws_kms_key.main"],
        });
      }
      expect(get("api_gateway_stage", "main").depends_on).toContain(
        "aws_cloudwatch_log_group.api_gateway_vwr_execution",
      );
    });
  });

  it("admits with the key that CloudFront sends, and nothing without it", () => {
    expect(get("api_gateway_api_key", "cloudfront").value).toBe("s".repeat(64));
    expect(get("api_gateway_usage_plan", "cloudfront").api_stages).toEqual([
      {
        api_id: "${aws_api_gateway_rest_api.api_gateway_vwr_main.id}",
        stage: "${aws_api_gateway_stage.api_gateway_vwr_main.stage_name}",
      },
    ]);
    expect(get("api_gateway_usage_plan_key", "cloudfront")).toMatchObject({
      key_type: "API_KEY",
      key_id: "${aws_api_gateway_api_key.api_gateway_vwr_cloudfront.id}",
      usage_plan_id: "${aws_api_gateway_usage_plan.api_gateway_vwr_cloudfront.id}",
    });
  });

  it("raises alarms on errors, refusals and latency of its own stage", () => {
    const alarms = Object.values(resourcesOf(synthesized, "aws_cloudwatch_metric_alarm"));
    expect(alarms.map(({ metric_name }) => metric_name).sort()).toEqual(["4XXError", "5XXError", "Latency"]);
    for (const alarm of alarms) {
      expect(alarm).toMatchObject({
        namespace: "AWS/ApiGateway",
        dimensions: { ApiName: "urr-prod-vwr-api", Stage: "v1" },
        alarm_actions: [`arn:aws:sns:${REGION}:${ACCOUNT_ID}:alarms`],
      });
    }
  });

  it("tells CloudFront the host of its own URL", () => {
    synthModule((stack) => {
      const api = build(stack);
      expect(api.stageName).toBe("v1");
      expect(api.invokeDomainName).toMatch(/\.execute-api\.ap-northeast-2\.amazonaws\.com$/);
    });
  });

  it.each<[Partial<ApiGatewayVwrProps>, string]>([
    [{ corsAllowedOrigins: ["*"] }, 'corsAllowedOrigins: given ["*"]; allowed: one or more exact origins'],
    [
      { throttlingBurstLimit: 100 },
      'throttlingBurstLimit: given {"throttlingRateLimit":5000,"throttlingBurstLimit":100}',
    ],
    [{ stageName: "v 1" }, 'stageName: given "v 1"; allowed: letters, digits, - and _'],
    [{ requireApiKey: { value: "short" } }, "requireApiKey.value: given 5; allowed: 20 to 128 characters"],
  ])("fails for %j", (props, message) => {
    expect(synthProblems((stack) => build(stack, props)).join("\n")).toContain(message);
  });

  it("fails without a function that answers", () => {
    const problems = synthProblems((stack) => {
      new ApiGatewayVwr(stack, "api_gateway_vwr", propsOf(stack)).alarms.notify("arn");
    });
    expect(problems.join("\n")).toContain("function: given nothing; allowed: the function that answers");
  });

  it("fails for a second function", () => {
    expect(() =>
      synthModule((stack) => {
        build(stack).integrate(API_FUNCTION);
      }),
    ).toThrow("integrate() was called twice");
  });
});
