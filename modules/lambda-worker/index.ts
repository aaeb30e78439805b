import { LambdaEventSourceMapping } from "@cdktf/provider-aws/lib/lambda-event-source-mapping";
import type { Construct } from "constructs";
import { AlarmSet } from "../../lib/alarms";
import type { Role } from "../../lib/iam";
import type { EncryptionKey } from "../../lib/kms";
import type { LambdaBundle } from "../../lib/lambda-bundle";
import { telemetryVariables, ZipFunction } from "../../lib/lambda-function";
import { enforce, type Rule } from "../../lib/rules";
import type { Secret } from "../../lib/secret";
import { INTERNET, SecurityGroup, tcp } from "../../lib/security-group";
import { Module } from "../../lib/terraform-modules";
import type { Sqs } from "../sqs";
import type { Vpc } from "../vpc";

/** Properties of {@link LambdaWorker}. */
export interface LambdaWorkerProps {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
  readonly vpc: Vpc;
  /** Role with AWS's basic execution and VPC access policies. Source: Infra analysis §2-9. */
  readonly role: Role;
  /** Queue that it consumes. */
  readonly queue: Sqs;
  readonly key: EncryptionKey;
  readonly bundle: LambdaBundle;
  /** Executions at a time. Source: Infra analysis §2-10 (prod 10, staging 5). */
  readonly reservedConcurrentExecutions: number;
  /** Executions that the queue may cause: 2 to 1000, not above the reserved ones. Source: Infra analysis §2-10 (prod 10, staging 5). */
  readonly maximumConcurrency: number;
  /** Endpoint of the database proxy. */
  readonly dbProxyEndpoint: string;
  /** Primary endpoint of Redis. */
  readonly redisEndpoint: string;
  /** Brokers by their IAM listener. */
  readonly kafkaBootstrapServers: string;
  /** Base URL of ticket-service's internal API: a name that resolves outside the cluster. */
  readonly ticketServiceUrl: string;
  /** What it says to the internal API; read at run time. */
  readonly internalApiTokenSecret: Secret;
  /** @default 30 (Infra analysis §2-10) */
  readonly timeoutSeconds?: number;
  /** @default 256 (Infra analysis §2-10) */
  readonly memoryMib?: number;
  /** Messages per invocation: 1 to 10, FIFO's maximum. @default 10 (Infra analysis §2-10) */
  readonly batchSize?: number;
  /**
   * How long to collect messages. The documents say 5 seconds, but a FIFO queue takes none and the mapping would be refused.
   * @default none
   */
  readonly maximumBatchingWindowSeconds?: number;
  /** @default "Active" (Infra analysis §2-10) */
  readonly tracing?: "Active" | "PassThrough";
}

/** What the function reports about itself; `busyMetric` counts calls that ticket-service turned away with 429 or 503. */
export const WORKER_METRICS = { namespace: "URR/TicketWorker", busyMetric: "TicketServiceBusy" } as const;

/** Name of an environment's worker, which is also the dimension `service` of its metrics. */
export function workerFunctionName(prefix: string): string {
  return `${prefix}-ticket-worker`;
}

const DEFAULT_TIMEOUT_SECONDS = 30;
const DEFAULT_MEMORY_MIB = 256;
const DEFAULT_BATCH_SIZE = 10;
const MAX_FIFO_BATCH_SIZE = 10;
/** Source: AWS Lambda, "Configuring scaling behavior for SQS event source mappings". */
const MAXIMUM_CONCURRENCY_RANGE = { min: 2, max: 1000 };
/** Source: AWS Lambda, "Creating and configuring an Amazon SQS event source mapping". */
const VISIBILITY_TIMEOUTS_PER_FUNCTION_TIMEOUT = 6;
/** Source: AWS architecture §10: more than five errors in ten minutes. */
const ERROR_THRESHOLD = 5;
const ERROR_PERIOD_SECONDS = 600;

const RULES: readonly Rule<LambdaWorkerProps>[] = [
  {
    property: "timeoutSeconds",
    given: ({ queue, timeoutSeconds = DEFAULT_TIMEOUT_SECONDS }) => ({
      timeoutSeconds,
      visibilityTimeoutSeconds: queue.visibilityTimeoutSeconds,
    }),
    valid: ({ queue, timeoutSeconds = DEFAULT_TIMEOUT_SECONDS }) =>
      queue.visibilityTimeoutSeconds >= VISIBILITY_TIMEOUTS_PER_FUNCTION_TIMEOUT * timeoutSeconds,
    allowed: ({ queue }) =>
      `at most ${Math.floor(queue.visibilityTimeoutSeconds / VISIBILITY_TIMEOUTS_PER_FUNCTION_TIMEOUT)} seconds, a sixth of the queue's visibility timeout`,
    remedy:
      "Lower it or raise the queue's visibilityTimeoutSeconds: a message must stay hidden while Lambda tries again.",
  },
  {
    property: "maximumBatchingWindowSeconds",
    given: ({ maximumBatchingWindowSeconds }) => maximumBatchingWindowSeconds,
    valid: ({ maximumBatchingWindowSeconds = 0 }) => maximumBatchingWindowSeconds === 0,
    allowed: "none on a FIFO queue",
    remedy: "Leave it out: Lambda refuses the mapping at apply, and no plan shows it.",
  },
  {
    property: "batchSize",
    given: ({ batchSize = DEFAULT_BATCH_SIZE }) => batchSize,
    valid: ({ batchSize = DEFAULT_BATCH_SIZE }) =>
      Number.isInteger(batchSize) && batchSize >= 1 && batchSize <= MAX_FIFO_BATCH_SIZE,
    allowed: `1 to ${MAX_FIFO_BATCH_SIZE} messages on a FIFO queue`,
    remedy: "Larger batches exist on standard queues only.",
  },
  {
    property: "maximumConcurrency",
    given: ({ maximumConcurrency, reservedConcurrentExecutions }) => ({
      maximumConcurrency,
      reservedConcurrentExecutions,
    }),
    valid: ({ maximumConcurrency, reservedConcurrentExecutions }) =>
      Number.isInteger(maximumConcurrency) &&
      maximumConcurrency >= MAXIMUM_CONCURRENCY_RANGE.min &&
      maximumConcurrency <= MAXIMUM_CONCURRENCY_RANGE.max &&
      maximumConcurrency <= reservedConcurrentExecutions,
    allowed: `${MAXIMUM_CONCURRENCY_RANGE.min} to ${MAXIMUM_CONCURRENCY_RANGE.max}, and not above reservedConcurrentExecutions`,
    remedy: "Above the reserved executions, batches are throttled and drift towards the dead-letter queue.",
  },
];

/**
 * The consumer of ticket events: a function in the streaming subnets, fed by the queue, that calls ticket-service's internal
 * API. A batch may fail in part. Source: Infra analysis §2-10 "Lambda Worker", AWS architecture §5.7, Architecture guide §8.5.
 */
export class LambdaWorker extends Module {
  readonly functionName: string;
  readonly functionArn: string;
  /** Group of the function's network interfaces; data stores admit it (`rds.allowFrom(worker.securityGroup, …)`). */
  readonly securityGroup: SecurityGroup;
  /** The documented three: errors, duration, throttles. */
  readonly alarms: AlarmSet;

  constructor(scope: Construct, id: string, props: LambdaWorkerProps) {
    super(scope, id);
    enforce(this, props, RULES);

    this.securityGroup = this.createSecurityGroup(props);
    const worker = this.createFunction(props, this.securityGroup);
    this.createMapping(props, worker);

    this.functionName = worker.functionName;
    this.functionArn = worker.functionArn;
    this.alarms = new AlarmSet(this);
    worker.addAlarms(this.alarms, "worker", {
      alarmPrefix: `${props.prefix}-ticket-worker`,
      errorThreshold: ERROR_THRESHOLD,
      errorPeriodSeconds: ERROR_PERIOD_SECONDS,
    });
  }

  private createSecurityGroup({ prefix, vpc }: LambdaWorkerProps): SecurityGroup {
    const group = new SecurityGroup(this, "worker", {
      name: `${prefix}-lambda-worker`,
      description: "Consumer of ticket events",
      vpcId: vpc.vpcId,
      label: "lambda_worker",
    });
    // Secrets Manager has an endpoint in the VPC, X-Ray has none: its traces leave by the NAT gateways.
    group.allowTo(INTERNET, tcp(443), "HTTPS to AWS: secrets through their endpoint, traces through the NAT gateways");
    return group;
  }

  private createFunction(props: LambdaWorkerProps, securityGroup: SecurityGroup): ZipFunction {
    const { internalApiTokenSecret, prefix, queue, role, vpc } = props;
    queue.grantConsume(role);
    internalApiTokenSecret.grantRead(role);
    const functionName = workerFunctionName(prefix);
    return new ZipFunction(this, "worker", {
      functionName,
      description: "Hands ticket events from the queue to ticket-service",
      bundle: props.bundle,
      memoryMib: props.memoryMib ?? DEFAULT_MEMORY_MIB,
      timeoutSeconds: props.timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS,
      reservedConcurrentExecutions: props.reservedConcurrentExecutions,
      key: props.key,
      role,
      ...(props.tracing && { tracing: props.tracing }),
      network: { subnetIds: vpc.tiers.streaming.subnetIds, securityGroup },
      environment: {
        DB_PROXY_ENDPOINT: props.dbProxyEndpoint,
        REDIS_ENDPOINT: props.redisEndpoint,
        KAFKA_BOOTSTRAP_SERVERS: props.kafkaBootstrapServers,
        TICKET_SERVICE_URL: props.ticketServiceUrl,
        INTERNAL_API_TOKEN_SECRET_ID: internalApiTokenSecret.secretName,
        ...telemetryVariables({ serviceName: functionName, metricsNamespace: WORKER_METRICS.namespace }),
      },
    });
  }

  private createMapping(props: LambdaWorkerProps, worker: ZipFunction): void {
    const { batchSize = DEFAULT_BATCH_SIZE, maximumConcurrency, queue, role } = props;
    new LambdaEventSourceMapping(this, "lambda_event_source_mapping.ticket_events", {
      eventSourceArn: queue.queueArn,
      functionName: worker.functionArn,
      batchSize,
      functionResponseTypes: ["ReportBatchItemFailures"],
      scalingConfig: { maximumConcurrency },
      // Lambda tries to receive with the function's role when the mapping is made: the queue's policy and the role's come first.
      dependsOn: [queue.policyDependable, ...role.dependables],
    });
  }
}
