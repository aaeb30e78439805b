import { LambdaFunction } from "@cdktf/provider-aws/lib/lambda-function";
import type { AwsProvider } from "@cdktf/provider-aws/lib/provider";
import { dependable, Lazy } from "cdktf";
import type { Construct } from "constructs";
import { AlarmSet } from "../../lib/alarms";
import type { Role } from "../../lib/iam";
import type { EncryptionKey } from "../../lib/kms";
import type { LambdaBundle } from "../../lib/lambda-bundle";
import { bundleAsset } from "../../lib/lambda-function";
import { VERSIONS } from "../../lib/life-cycle";
import { createLogGroup } from "../../lib/log-group";
import { physicalName } from "../../lib/naming";
import { enforce, type Rule } from "../../lib/rules";

/** Properties of {@link EdgeFunction}. */
export interface EdgeFunctionProps {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
  /** Deployment package of the queue check, at most 1 MB. */
  readonly edgeBundle: LambdaBundle;
  /** Role of the queue check; what it may read is granted to it before. */
  readonly edgeRole: Role;
  /** Provider of us-east-1, where the edge function, CloudFront's metrics and its log delivery live. */
  readonly usEast1: AwsProvider;
  /** Encrypts what the edge function logs in the home Region, where most visitors are. */
  readonly key: EncryptionKey;
  /** Key of us-east-1 for what the edge function logs there. @default encryption with a key of CloudWatch Logs */
  readonly usEast1Key?: EncryptionKey;
}

/** Source: Infra analysis §2-7 "Lambda@Edge". */
const TIMEOUT_SECONDS = 5;
const MEMORY_MIB = 128;
/** Largest package of a viewer event. Source: CloudFront, "Quotas on Lambda@Edge". */
const PACKAGE_LIMIT_BYTES = 1_048_576;
/** How long a destroy waits for the replicas: CloudFront removes them hours after the distribution has gone. */
const DELETE_TIMEOUT = "3h";

const RULES: readonly Rule<EdgeFunctionProps>[] = [
  {
    property: "edgeBundle",
    given: ({ edgeBundle }) => `${edgeBundle.zipBytes} bytes`,
    valid: ({ edgeBundle }) => edgeBundle.zipBytes <= PACKAGE_LIMIT_BYTES,
    allowed: `a zip of at most ${PACKAGE_LIMIT_BYTES} bytes`,
    remedy: "Lambda@Edge takes no larger package for viewer events; see which packages the bundle draws in.",
  },
];

/**
 * The queue check at the edge, in us-east-1, from where CloudFront copies it to its Regions. No environment variables, no VPC,
 * no tracing, no reserved concurrency: Lambda@Edge has none of these. Source: Infra analysis §2-7, AWS architecture §5.7.
 */
export class EdgeFunction {
  /** ARN of the published version: the only kind that CloudFront takes. */
  readonly qualifiedArn: string;
  private readonly functionName: string;

  constructor(
    private readonly scope: Construct,
    props: EdgeFunctionProps,
  ) {
    const { edgeBundle, edgeRole, key, prefix, usEast1, usEast1Key } = props;
    enforce(scope, props, RULES);
    this.functionName = physicalName(scope, "function", `${prefix}-edge-queue-check`);

    // Replicas log where they run, under this name in every Region; others than these two are made by Lambda itself.
    const name = `/aws/lambda/us-east-1.${this.functionName}`;
    const logGroups = [
      createLogGroup(scope, "edge_queue_check", { name, key }),
      createLogGroup(scope, "edge_queue_check_us_east_1", { name, key: usEast1Key, provider: usEast1 }),
    ];
    const code = bundleAsset(scope, "edge_queue_check", edgeBundle);
    const lambda = new LambdaFunction(scope, "lambda_function.edge_queue_check", {
      functionName: this.functionName,
      description: "Checks the tokens of the two queues before a request reaches the API",
      role: edgeRole.roleArn,
      runtime: VERSIONS.lambdaRuntime,
      handler: "index.handler",
      architectures: ["x86_64"],
      filename: code.path,
      sourceCodeHash: code.base64Sha256,
      timeout: TIMEOUT_SECONDS,
      memorySize: MEMORY_MIB,
      publish: true,
      timeouts: { delete: DELETE_TIMEOUT },
      provider: usEast1,
    });
    // A replica that starts without its permissions or its log group makes its own group, forever and unencrypted. The stack
    // grants after it has made the function, so the list is complete only at synth.
    lambda.dependsOn = Lazy.listValue({
      produce: () => [...edgeRole.dependables, ...logGroups].map((resource) => dependable(resource)),
    });
    this.qualifiedArn = lambda.qualifiedArn;
  }

  /** Alarms in the home Region, on the replica that serves Korean visitors. */
  createAlarms(): AlarmSet {
    const alarms = new AlarmSet(this.scope);
    const common = {
      namespace: "AWS/Lambda",
      dimensions: { FunctionName: `us-east-1.${this.functionName}` },
      periodSeconds: 60,
      comparison: "GreaterThanThreshold",
    } as const;
    alarms.add("edge_errors", {
      ...common,
      name: `${this.functionName}-errors`,
      description: "The queue check throws: CloudFront answers 502 or 503 on /api/*. See its log group in this Region.",
      metricName: "Errors",
      statistic: "Sum",
      threshold: 0,
    });
    alarms.add("edge_duration", {
      ...common,
      name: `${this.functionName}-duration`,
      description:
        "The queue check comes near its timeout of 5 s: the secrets or the list of active events answer slowly.",
      metricName: "Duration",
      statistic: "Maximum",
      evaluationPeriods: 3,
      threshold: TIMEOUT_SECONDS * 1000 * 0.8,
    });
    alarms.add("edge_throttles", {
      ...common,
      name: `${this.functionName}-throttles`,
      description: "The queue check is throttled: raise the account's quota of concurrent executions in this Region.",
      metricName: "Throttles",
      statistic: "Sum",
      threshold: 0,
    });
    return alarms;
  }
}
