import { CloudwatchEventRule } from "@cdktf/provider-aws/lib/cloudwatch-event-rule";
import { CloudwatchEventTarget } from "@cdktf/provider-aws/lib/cloudwatch-event-target";
import type { CloudwatchMetricAlarm } from "@cdktf/provider-aws/lib/cloudwatch-metric-alarm";
import { LambdaFunctionEventInvokeConfig } from "@cdktf/provider-aws/lib/lambda-function-event-invoke-config";
import { LambdaPermission } from "@cdktf/provider-aws/lib/lambda-permission";
import type { Construct } from "constructs";
import { AlarmSet } from "../../lib/alarms";
import { CORS_ORIGINS_RULE } from "../../lib/cors";
import type { EncryptionKey } from "../../lib/kms";
import type { LambdaBundle } from "../../lib/lambda-bundle";
import { telemetryVariables, ZipFunction } from "../../lib/lambda-function";
import { physicalName } from "../../lib/naming";
import { enforce, type Rule } from "../../lib/rules";
import type { Secret } from "../../lib/secret";
import { Module } from "../../lib/terraform-modules";
import type { DynamodbVwr, ItemAction, VwrItems } from "../dynamodb-vwr";
import { WORKER_METRICS, workerFunctionName } from "../lambda-worker";

/** Properties of {@link LambdaVwr}. */
export interface LambdaVwrProps {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
  readonly dynamodb: DynamodbVwr;
  /** Signs and verifies tier-1 tokens; read by the API at run time, so that it can be rotated without a deployment. */
  readonly tokenSecret: Secret;
  readonly key: EncryptionKey;
  /** Executions of the API at a time. Source: Infra analysis §2-10 (prod 500, staging 20). */
  readonly reservedConcurrentExecutions: number;
  /** Visitors admitted per cycle of ten seconds. Source: Infra analysis §2-10 (prod 500, staging 100). */
  readonly counterBatchSize: number;
  /** Exact origins that may call the API from a browser. */
  readonly corsAllowedOrigins: readonly string[];
  /** Load balancer of the booking API, by whose metrics the advancer knows that it is saturated. */
  readonly booking: { /** Dimension of its metrics. */ readonly albArnSuffix: string };
  readonly bundles: Readonly<Record<"vwr-api" | "vwr-counter-advancer", LambdaBundle>>;
}

/** Source: AWS architecture §5.7 "VWR API Lambda". */
const API_MEMORY_MIB = 256;
const API_TIMEOUT_SECONDS = 10;
/** Source: AWS architecture §5.7 "VWR Counter Advancer Lambda". */
const ADVANCER_MEMORY_MIB = 128;
const ADVANCER_TIMEOUT_SECONDS = 70;
/** Source: Infra analysis §2-10: six cycles of ten seconds, started every minute. */
const CYCLES = 6;
const CYCLE_SECONDS = 10;
const SCHEDULE = "rate(1 minute)";
const SCHEDULE_PERIOD_SECONDS = 60;
/** One run may still be ending when the next begins, and no third one ever helps: advances are conditional on the tick. */
const ADVANCER_RESERVED_CONCURRENT_EXECUTIONS = 2;
/** A tick that waited longer is the next run's business, which catches up. AWS's minimum. */
const MAXIMUM_TICK_AGE_SECONDS = 60;
const MISSED_TICKS = 2;
const CONCURRENCY_ALARM_SHARE = 0.9;
const METRICS_NAMESPACE = "URR/WaitingRoom";
/** The booking API is saturated when one answer in twenty takes longer, seconds: half a second is what its pages are made for. */
const BOOKING_SLOW_SECONDS = 2;
/** Answers 5xx per minute that are still normal. */
const BOOKING_FAILURES_PER_MINUTE = 30;
/** Calls of the ticket worker per minute that ticket-service may turn away with 429 or 503. */
const BUSY_CALLS_PER_MINUTE = 10;
/** Reads the state of alarms, one minute each: a shorter period exists for metrics of one's own only. */
const BOOKING_PERIOD_SECONDS = 60;

/** What the API does with items: finds an event, leases positions, writes and reads visitors' rows. */
const API_GRANTS: Grants = [
  ["counters", ["GetItem", "UpdateItem"]],
  ["positions", ["GetItem", "PutItem", "UpdateItem"]],
];
/** What the advancer does with items: finds the active events, finds abandoned positions, moves counters. */
const ADVANCER_GRANTS: Grants = [
  ["counters", ["Scan", "UpdateItem"]],
  ["positions", ["Query"]],
];

type Grants = readonly (readonly [VwrItems, readonly ItemAction[]])[];

const RULES: readonly Rule<LambdaVwrProps>[] = [
  CORS_ORIGINS_RULE,
  {
    property: "counterBatchSize",
    given: ({ counterBatchSize }) => counterBatchSize,
    valid: ({ counterBatchSize }) => Number.isInteger(counterBatchSize) && counterBatchSize >= 1,
    allowed: "1 or more visitors per ten seconds",
    remedy: "To let nobody in, pause the event instead.",
  },
];

/**
 * The two functions of the waiting room: the API that hands out positions, and the advancer that admits them, woken every
 * minute. Neither runs in the VPC: they reach only services of the Region.
 * Source: Infra analysis §2-10 "VWR Lambda 함수", AWS architecture §5.7, Architecture guide §4.1.
 */
export class LambdaVwr extends Module {
  /** Called by API Gateway. */
  readonly apiFunction: ZipFunction;
  /** Called by the schedule. */
  readonly advancerFunction: ZipFunction;
  /** Errors, duration and throttles of both, concurrency of the API, missed ticks of the advancer, saturation of the booking API. */
  readonly alarms: AlarmSet;

  private readonly props: LambdaVwrProps;

  constructor(scope: Construct, id: string, props: LambdaVwrProps) {
    super(scope, id);
    this.props = props;
    enforce(this, props, RULES);

    this.alarms = new AlarmSet(this);
    this.apiFunction = this.createApi();
    this.advancerFunction = this.createAdvancer(this.createBookingAlarms());
    this.createSchedule();
    this.createAlarms();
  }

  private createApi(): ZipFunction {
    const { bundles, corsAllowedOrigins, counterBatchSize, dynamodb, key, prefix, tokenSecret } = this.props;
    const functionName = `${prefix}-vwr-api`;
    const api = new ZipFunction(this, "api", {
      functionName,
      description: "Waiting room: hands out positions and tokens, called by API Gateway",
      bundle: bundles["vwr-api"],
      memoryMib: API_MEMORY_MIB,
      timeoutSeconds: API_TIMEOUT_SECONDS,
      reservedConcurrentExecutions: this.props.reservedConcurrentExecutions,
      key,
      environment: {
        ...this.tableVariables(),
        TOKEN_SECRET_ID: tokenSecret.secretName,
        CORS_ALLOWED_ORIGINS: corsAllowedOrigins.join(","),
        // For the estimate of waiting time, until the advancer has measured the rate.
        BATCH_SIZE: `${counterBatchSize}`,
        ...telemetryVariables({ serviceName: functionName, metricsNamespace: METRICS_NAMESPACE }),
      },
    });
    for (const [items, actions] of API_GRANTS) dynamodb.grant(api.role, items, actions);
    tokenSecret.grantRead(api.role);
    return api;
  }

  private createAdvancer(bookingAlarms: readonly CloudwatchMetricAlarm[]): ZipFunction {
    const { bundles, counterBatchSize, dynamodb, key, prefix } = this.props;
    const functionName = `${prefix}-vwr-counter-advancer`;
    const advancer = new ZipFunction(this, "advancer", {
      functionName,
      description: "Waiting room: admits the next visitors every ten seconds, called every minute",
      bundle: bundles["vwr-counter-advancer"],
      memoryMib: ADVANCER_MEMORY_MIB,
      timeoutSeconds: ADVANCER_TIMEOUT_SECONDS,
      reservedConcurrentExecutions: ADVANCER_RESERVED_CONCURRENT_EXECUTIONS,
      key,
      environment: {
        ...this.tableVariables(),
        BATCH_SIZE: `${counterBatchSize}`,
        CYCLES: `${CYCLES}`,
        CYCLE_SECONDS: `${CYCLE_SECONDS}`,
        SATURATION_ALARMS: bookingAlarms.map(({ alarmName }) => alarmName).join(","),
        ...telemetryVariables({ serviceName: functionName, metricsNamespace: METRICS_NAMESPACE }),
      },
    });
    for (const [items, actions] of ADVANCER_GRANTS) dynamodb.grant(advancer.role, items, actions);
    advancer.role.addStatement({
      sid: "ReadBookingAlarms",
      actions: ["cloudwatch:DescribeAlarms"],
      resources: bookingAlarms.map(({ arn }) => arn),
    });
    return advancer;
  }

  private tableVariables() {
    const { countersTableName, positionsTableName } = this.props.dynamodb;
    return { COUNTERS_TABLE: countersTableName, POSITIONS_TABLE: positionsTableName };
  }

  private createSchedule(): void {
    const { functionArn, functionName } = this.advancerFunction;
    const rule = new CloudwatchEventRule(this, "cloudwatch_event_rule.advancer", {
      name: physicalName(this, "event rule", `${this.props.prefix}-vwr-counter-advancer`),
      description: "Wakes the waiting room's advancer",
      scheduleExpression: SCHEDULE,
    });
    const permission = new LambdaPermission(this, "lambda_permission.advancer_schedule", {
      statementId: "AllowSchedule",
      action: "lambda:InvokeFunction",
      functionName,
      principal: "events.amazonaws.com",
      sourceArn: rule.arn,
    });
    // A run that fails is not repeated: the next minute's run sees the missed ticks and catches up.
    const invocation = new LambdaFunctionEventInvokeConfig(this, "lambda_function_event_invoke_config.advancer", {
      functionName,
      maximumEventAgeInSeconds: MAXIMUM_TICK_AGE_SECONDS,
      maximumRetryAttempts: 0,
    });
    new CloudwatchEventTarget(this, "cloudwatch_event_target.advancer", {
      rule: rule.name,
      targetId: "vwr-counter-advancer",
      arn: functionArn,
      retryPolicy: { maximumEventAgeInSeconds: MAXIMUM_TICK_AGE_SECONDS, maximumRetryAttempts: 0 },
      // The first tick would be refused without the permission, and repeated without the invocation's settings.
      dependsOn: [permission, invocation],
    });
  }

  /**
   * What the advancer lowers its rate by. They tell people, too; the service's own alarms, with longer periods and higher limits,
   * stay with the load balancer and the worker.
   */
  private createBookingAlarms(): CloudwatchMetricAlarm[] {
    const { booking, prefix } = this.props;
    const effect =
      "The waiting room halves its rate every minute until this is over, then gives it back within two minutes.";
    const common = { periodSeconds: BOOKING_PERIOD_SECONDS, comparison: "GreaterThanThreshold" } as const;
    const alb = { namespace: "AWS/ApplicationELB", dimensions: { LoadBalancer: booking.albArnSuffix } };
    const failures = { ...common, ...alb, statistic: "Sum", threshold: BOOKING_FAILURES_PER_MINUTE };
    return [
      this.alarms.add("booking_slow", {
        ...common,
        ...alb,
        name: `${prefix}-vwr-booking-slow`,
        description: `One answer of the booking API in twenty takes longer than ${BOOKING_SLOW_SECONDS} seconds. ${effect}`,
        metricName: "TargetResponseTime",
        statistic: "p95",
        threshold: BOOKING_SLOW_SECONDS,
      }),
      this.alarms.add("booking_failing", {
        ...failures,
        name: `${prefix}-vwr-booking-failing`,
        description: `The booking API answers 5xx more than ${BOOKING_FAILURES_PER_MINUTE} times a minute. ${effect}`,
        metricName: "HTTPCode_Target_5XX_Count",
      }),
      this.alarms.add("booking_unreachable", {
        ...failures,
        name: `${prefix}-vwr-booking-unreachable`,
        description: `The load balancer answers 5xx for the booking API more than ${BOOKING_FAILURES_PER_MINUTE} times a minute: no pod takes the requests or answers in time. ${effect}`,
        metricName: "HTTPCode_ELB_5XX_Count",
      }),
      this.alarms.add("booking_busy", {
        ...common,
        name: `${prefix}-vwr-booking-busy`,
        description: `ticket-service turns the ticket worker away with 429 or 503 more than ${BUSY_CALLS_PER_MINUTE} times a minute. ${effect}`,
        namespace: WORKER_METRICS.namespace,
        dimensions: { service: workerFunctionName(prefix) },
        metricName: WORKER_METRICS.busyMetric,
        statistic: "Sum",
        threshold: BUSY_CALLS_PER_MINUTE,
      }),
    ];
  }

  private createAlarms(): void {
    const { prefix, reservedConcurrentExecutions } = this.props;
    const { alarms } = this;
    this.apiFunction.addAlarms(alarms, "api", {
      alarmPrefix: `${prefix}-vwr-api`,
      errorThreshold: 5,
      errorPeriodSeconds: 600,
    });
    alarms.add("api_concurrency", {
      name: `${prefix}-vwr-api-concurrency`,
      description: `The waiting room's API uses more than ${CONCURRENCY_ALARM_SHARE * 100} % of its ${reservedConcurrentExecutions} executions: visitors are about to be refused.`,
      namespace: "AWS/Lambda",
      metricName: "ConcurrentExecutions",
      dimensions: { FunctionName: this.apiFunction.functionName },
      statistic: "Maximum",
      periodSeconds: 60,
      threshold: Math.floor(reservedConcurrentExecutions * CONCURRENCY_ALARM_SHARE),
      comparison: "GreaterThanThreshold",
    });
    this.advancerFunction.addAlarms(alarms, "advancer", {
      alarmPrefix: `${prefix}-vwr-counter-advancer`,
      errorThreshold: 0,
      errorPeriodSeconds: SCHEDULE_PERIOD_SECONDS,
      // It works for its six cycles by design; half of what is left until the timeout is worth a warning.
      durationThresholdMilliseconds: ((CYCLES * CYCLE_SECONDS + ADVANCER_TIMEOUT_SECONDS) / 2) * 1000,
    });
    alarms.add("advancer_missing", {
      name: `${prefix}-vwr-counter-advancer-missing`,
      description: `Nobody is admitted: the advancer did not run for ${MISSED_TICKS} minutes. Look at its schedule and its permission.`,
      namespace: "AWS/Lambda",
      metricName: "Invocations",
      dimensions: { FunctionName: this.advancerFunction.functionName },
      statistic: "Sum",
      periodSeconds: SCHEDULE_PERIOD_SECONDS,
      evaluationPeriods: MISSED_TICKS,
      threshold: 1,
      comparison: "LessThanThreshold",
      // No invocation is no data.
      treatMissingData: "breaching",
    });
  }
}
