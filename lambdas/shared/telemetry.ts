import { Logger } from "@aws-lambda-powertools/logger";
import { Metrics, MetricUnit } from "@aws-lambda-powertools/metrics";

/** What a handler reports. Narrow, so that handlers can be driven without Powertools. */
export interface Telemetry {
  /** Adds to a counter metric; a reason becomes a dimension of its own. */
  count(metric: string, value?: number, reason?: string): void;
  /** Reports a momentary value. */
  gauge(metric: string, value: number): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, error: unknown, fields?: Record<string, unknown>): void;
  /** Writes out what was counted; an environment may be frozen right after its answer. */
  flush(): void;
}

/** Structured JSON logs and embedded-metric-format metrics by Powertools, set up by its own environment variables. */
export function createTelemetry(): Telemetry {
  const logger = new Logger();
  const metrics = new Metrics();
  let counted = false;
  return {
    count(metric, value = 1, reason) {
      if (reason === undefined) {
        metrics.addMetric(metric, MetricUnit.Count, value);
        counted = true;
        return;
      }
      const single = metrics.singleMetric();
      single.addDimension("reason", reason);
      single.addMetric(metric, MetricUnit.Count, value);
    },
    gauge(metric, value) {
      metrics.addMetric(metric, MetricUnit.Count, value);
      counted = true;
    },
    info: (message, fields = {}) => logger.info(message, fields),
    warn: (message, fields = {}) => logger.warn(message, fields),
    error: (message, error, fields = {}) => logger.error(message, { error: error as Error, ...fields }),
    flush() {
      if (counted) {
        metrics.publishStoredMetrics();
        counted = false;
      }
    },
  };
}

/** Reports nothing. */
export const silentTelemetry: Telemetry = {
  count: () => undefined,
  gauge: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  flush: () => undefined,
};

/** The value of an environment variable that the function cannot run without. */
export function requiredEnv(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") {
    throw new Error(`Environment variable ${name} is not set: the function's configuration must name it`);
  }
  return value;
}
