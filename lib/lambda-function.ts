import type { CloudwatchLogGroup } from "@cdktf/provider-aws/lib/cloudwatch-log-group";
import { LambdaFunction as AwsLambdaFunction } from "@cdktf/provider-aws/lib/lambda-function";
import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import type { AlarmSet } from "./alarms";
import { type Grantee, Role } from "./iam";
import type { EncryptionKey } from "./kms";
import type { LambdaBundle } from "./lambda-bundle";
import { VERSIONS } from "./life-cycle";
import { createLogGroup } from "./log-group";
import { physicalName } from "./naming";
import { enforce, type Rule } from "./rules";
import type { SecurityGroup } from "./security-group";
import { Asset } from "./terraform-modules";

/** Properties of {@link ZipFunction}. */
export interface ZipFunctionProps {
  /** Name of the function, at most 64 characters. Replacing it destroys the function. */
  readonly functionName: string;
  /** What it does and who calls it. */
  readonly description: string;
  /** Its code. */
  readonly bundle: LambdaBundle;
  /** 128 to 10,240 MiB; CPU comes in proportion. */
  readonly memoryMib: number;
  /** 1 to 900 seconds. */
  readonly timeoutSeconds: number;
  /** Executions at a time: taken from the account's quota, and never exceeded. */
  readonly reservedConcurrentExecutions: number;
  /** Environment variables: configuration and names of secrets, never secrets. Encrypted with the key. */
  readonly environment: Readonly<Record<string, string>>;
  /** Encrypts the logs and the environment variables. */
  readonly key: EncryptionKey;
  /** Days for which logs are kept. @default 365 */
  readonly logRetentionDays?: number;
  /** Role with whatever the function needs beyond traces and the key. @default a role of its own, which may write to its log group only */
  readonly role?: Role;
  /** `Active` samples requests that nobody has sampled yet, and lets the role write traces. @default "Active" (Infra analysis §2-10) */
  readonly tracing?: "Active" | "PassThrough";
  /** Subnets and group of a function that reaches into the VPC. */
  readonly network?: { readonly subnetIds: readonly string[]; readonly securityGroup: SecurityGroup };
}

/** How a function names itself to Powertools, and where its metrics go. */
export interface TelemetryProps {
  /** Service name in logs, metrics and traces: the function's, because environments share an account. */
  readonly serviceName: string;
  /** CloudWatch namespace of its own metrics. */
  readonly metricsNamespace: string;
  /** @default "INFO" */
  readonly logLevel?: "DEBUG" | "INFO" | "WARN" | "ERROR";
}

/** What is worth waking somebody up for. */
export interface FunctionAlarmProps {
  /** Failed invocations in `errorPeriodSeconds` that are still normal. */
  readonly errorThreshold: number;
  readonly errorPeriodSeconds: number;
  /** Longest duration that is still normal. @default 80 % of the timeout (AWS architecture §10) */
  readonly durationThresholdMilliseconds?: number;
}

/** x86_64 everywhere: images, nodes and Lambda@Edge, which has no arm64. */
const ARCHITECTURE = "x86_64";
const DURATION_ALARM_SHARE = 0.8;
const ALARM_PERIOD_SECONDS = 300;

const RULES: readonly Rule<ZipFunctionProps>[] = [
  {
    property: "memoryMib",
    given: ({ memoryMib }) => memoryMib,
    valid: ({ memoryMib }) => Number.isInteger(memoryMib) && memoryMib >= 128 && memoryMib <= 10_240,
    allowed: "128 to 10240 MiB",
    remedy: "See Lambda's page on configuring memory.",
  },
  {
    property: "timeoutSeconds",
    given: ({ timeoutSeconds }) => timeoutSeconds,
    valid: ({ timeoutSeconds }) => Number.isInteger(timeoutSeconds) && timeoutSeconds >= 1 && timeoutSeconds <= 900,
    allowed: "1 to 900 seconds",
    remedy: "Longer work belongs into a queue or a job.",
  },
  {
    property: "reservedConcurrentExecutions",
    given: ({ reservedConcurrentExecutions }) => reservedConcurrentExecutions,
    valid: ({ reservedConcurrentExecutions }) =>
      Number.isInteger(reservedConcurrentExecutions) && reservedConcurrentExecutions >= 1,
    allowed: "1 or more",
    remedy: "0 switches the function off: disable its trigger instead.",
  },
  {
    property: "environment",
    given: ({ environment }) => Object.keys(environment).filter((name) => RESERVED_VARIABLE.test(name)),
    valid: ({ environment }) => !Object.keys(environment).some((name) => RESERVED_VARIABLE.test(name)),
    allowed: "no variable that Lambda sets itself (AWS_…, _HANDLER, LAMBDA_…)",
    remedy: "Lambda refuses the function; name the variable differently.",
  },
];

/** Source: AWS Lambda, "Defined runtime environment variables". */
const RESERVED_VARIABLE = /^(AWS_|LAMBDA_|_HANDLER$|_X_AMZN_)/;

/**
 * A Lambda function from a zip that is part of the stack's output. Makes its resources in the given scope:
 * `aws_cloudwatch_log_group.<id>`, `aws_lambda_function.<id>` and, unless a role is given, `aws_iam_role.<id>`.
 */
export class ZipFunction {
  readonly functionName: string;
  readonly functionArn: string;
  /** ARN by which API Gateway calls it. */
  readonly invokeArn: string;
  readonly role: Role;
  readonly reservedConcurrentExecutions: number;
  readonly timeoutSeconds: number;

  constructor(scope: Construct, id: string, props: ZipFunctionProps) {
    enforce(scope, props, RULES);
    const { bundle, environment, key, network, tracing = "Active" } = props;

    const functionName = physicalName(scope, "function", props.functionName);
    const logGroup = createLogGroup(scope, id, {
      name: `/aws/lambda/${functionName}`,
      key,
      ...(props.logRetentionDays !== undefined && { retentionDays: props.logRetentionDays }),
    });
    this.role = props.role ?? createRole(scope, id, functionName, logGroup);
    if (tracing === "Active") grantTracing(this.role);
    key.grantDecrypt(this.role);

    const asset = bundleAsset(scope, id, bundle);
    const lambda = new AwsLambdaFunction(scope, `lambda_function.${id}`, {
      functionName,
      description: props.description,
      role: this.role.roleArn,
      runtime: VERSIONS.lambdaRuntime,
      handler: "index.handler",
      architectures: [ARCHITECTURE],
      filename: asset.path,
      sourceCodeHash: bundle.sha256Base64,
      memorySize: props.memoryMib,
      timeout: props.timeoutSeconds,
      reservedConcurrentExecutions: props.reservedConcurrentExecutions,
      environment: { variables: environment },
      kmsKeyArn: key.keyArn,
      tracingConfig: { mode: tracing },
      loggingConfig: { logFormat: "JSON", logGroup: logGroup.name },
      ...(network && {
        vpcConfig: {
          subnetIds: [...network.subnetIds],
          securityGroupIds: [network.securityGroup.securityGroupId],
        },
      }),
      // Lambda checks the role when the function is made, and the function may run at once: log group and policies first.
      dependsOn: [logGroup, ...this.role.dependables],
    });
    this.functionName = lambda.functionName;
    this.functionArn = lambda.arn;
    this.invokeArn = lambda.invokeArn;
    this.reservedConcurrentExecutions = props.reservedConcurrentExecutions;
    this.timeoutSeconds = props.timeoutSeconds;
  }

  /** Adds the alarms that every function has: errors, duration near the timeout, throttles. */
  addAlarms(alarms: AlarmSet, id: string, props: FunctionAlarmProps & { readonly alarmPrefix: string }): void {
    const { alarmPrefix, errorPeriodSeconds, errorThreshold } = props;
    const metric = { namespace: "AWS/Lambda", dimensions: { FunctionName: this.functionName } };
    alarms.add(`${id}_errors`, {
      ...metric,
      name: `${alarmPrefix}-errors`,
      description: `HIGH: more than ${errorThreshold} invocations failed within ${errorPeriodSeconds / 60} minutes. Read the function's log group first.`,
      metricName: "Errors",
      statistic: "Sum",
      periodSeconds: errorPeriodSeconds,
      threshold: errorThreshold,
      comparison: "GreaterThanThreshold",
    });
    const durationMilliseconds =
      props.durationThresholdMilliseconds ?? this.timeoutSeconds * 1000 * DURATION_ALARM_SHARE;
    alarms.add(`${id}_duration`, {
      ...metric,
      name: `${alarmPrefix}-duration`,
      description: `WARNING: an invocation took more than ${durationMilliseconds / 1000} of its ${this.timeoutSeconds} seconds. Look at the traces for what it waited for.`,
      metricName: "Duration",
      statistic: "Maximum",
      periodSeconds: ALARM_PERIOD_SECONDS,
      threshold: durationMilliseconds,
      comparison: "GreaterThanThreshold",
    });
    alarms.add(`${id}_throttles`, {
      ...metric,
      name: `${alarmPrefix}-throttles`,
      description: `HIGH: invocations were refused: more than ${this.reservedConcurrentExecutions} at a time. Raise the reserved concurrency or slow the callers down.`,
      metricName: "Throttles",
      statistic: "Sum",
      periodSeconds: ALARM_PERIOD_SECONDS,
      threshold: 0,
      comparison: "GreaterThanThreshold",
    });
  }
}

/** The package of a function as part of the output, its source map beside it: inside it would cost every cold start its bytes. */
export function bundleAsset(scope: Construct, id: string, bundle: LambdaBundle): Asset {
  return new Asset(scope, `asset.${id}`, {
    fileName: `${bundle.name}.zip`,
    content: bundle.zip,
    companions: { [`${bundle.name}.zip.map`]: bundle.sourceMap },
  });
}

/** The variables by which Powertools is set up. */
export function telemetryVariables({ logLevel = "INFO", metricsNamespace, serviceName }: TelemetryProps) {
  return {
    POWERTOOLS_SERVICE_NAME: serviceName,
    POWERTOOLS_METRICS_NAMESPACE: metricsNamespace,
    POWERTOOLS_LOG_LEVEL: logLevel,
  };
}

/** Lets the grantee write traces. Active tracing without it loses them silently. The actions know no resources. */
export function grantTracing(grantee: Grantee): void {
  grantee.addStatement({
    sid: "WriteTraces",
    actions: ["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
    resources: ["*"],
  });
}

function createRole(
  scope: Construct,
  id: string,
  functionName: string,
  logGroup: CloudwatchLogGroup & ITerraformDependable,
): Role {
  const role = new Role(scope, id, {
    name: functionName,
    description: `Lambda function ${functionName}`,
    assumedByServices: ["lambda.amazonaws.com"],
  });
  role.addStatement({
    sid: "WriteLogs",
    actions: ["logs:CreateLogStream", "logs:PutLogEvents"],
    resources: [`${logGroup.arn}:*`],
  });
  return role;
}
