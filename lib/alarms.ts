import { CloudwatchMetricAlarm } from "@cdktf/provider-aws/lib/cloudwatch-metric-alarm";
import type { TerraformProvider } from "cdktf";
import { Lazy } from "cdktf";
import type { Construct } from "constructs";
import { physicalName } from "./naming";

/** One alarm, in CloudWatch's words. */
export interface AlarmProps {
  /** Name of the alarm, as the person on call reads it. */
  readonly name: string;
  /** What has happened and what to do first: it is the text of the notification. */
  readonly description: string;
  readonly namespace: string;
  readonly metricName: string;
  readonly dimensions: Readonly<Record<string, string>>;
  /** `Sum`, `Average`, `Minimum`, `Maximum`, `SampleCount`, or a percentile such as `p99`. */
  readonly statistic: string;
  readonly periodSeconds: number;
  /** Periods in a row that must breach. @default 1 */
  readonly evaluationPeriods?: number;
  readonly threshold: number;
  readonly comparison:
    | "GreaterThanThreshold"
    | "GreaterThanOrEqualToThreshold"
    | "LessThanThreshold"
    | "LessThanOrEqualToThreshold";
  /** What a period without data means. @default "notBreaching" */
  readonly treatMissingData?: "notBreaching" | "breaching" | "missing" | "ignore";
}

/** Statistics that CloudWatch takes by name; anything else is a percentile. */
const NAMED_STATISTICS = new Set(["Sum", "Average", "Minimum", "Maximum", "SampleCount"]);

/**
 * The alarms of one module. They are made where the metric is owned and told later where to report, because the topic is
 * made by `monitoring`. Makes `aws_cloudwatch_metric_alarm.<id>` in the given scope.
 */
export class AlarmSet {
  private readonly topicArns: string[] = [];

  /**
   * @param provider Provider of the Region in which the metric lives, where that is not the stack's own.
   */
  constructor(
    private readonly scope: Construct,
    private readonly provider?: TerraformProvider,
  ) {
    scope.node.addValidation({
      validate: () =>
        this.topicArns.length > 0 || !this.hasAlarms
          ? []
          : ["alarms: given no topic; allowed: at least one. Call alarms.notify(topicArn) in the stack."],
    });
  }

  private hasAlarms = false;

  /** Adds an alarm. */
  add(id: string, props: AlarmProps): CloudwatchMetricAlarm {
    this.hasAlarms = true;
    const { statistic } = props;
    const topicArns = Lazy.listValue({ produce: () => this.topicArns });
    return new CloudwatchMetricAlarm(this.scope, `cloudwatch_metric_alarm.${id}`, {
      alarmName: physicalName(this.scope, "alarm", props.name),
      alarmDescription: props.description,
      namespace: props.namespace,
      metricName: props.metricName,
      dimensions: props.dimensions,
      ...(NAMED_STATISTICS.has(statistic) ? { statistic } : { extendedStatistic: statistic }),
      period: props.periodSeconds,
      evaluationPeriods: props.evaluationPeriods ?? 1,
      threshold: props.threshold,
      comparisonOperator: props.comparison,
      treatMissingData: props.treatMissingData ?? "notBreaching",
      alarmActions: topicArns,
      okActions: topicArns,
      ...(this.provider && { provider: this.provider }),
    });
  }

  /** Reports every alarm of the set to a topic, when it fires and when it is over. */
  notify(topicArn: string): void {
    this.topicArns.push(topicArn);
  }
}
