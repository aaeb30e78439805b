/** Seconds for which a leaving pod may finish its requests. Source: AWS architecture §5.4 "Deregistration Delay". */
export const DEREGISTRATION_DELAY_SECONDS = 30;

/** Source: AWS architecture §5.4, "GET /health (2회 성공, 3회 실패)"; interval and timeout are AWS's defaults. */
export const HEALTH_CHECK = {
  port: "traffic-port",
  matcher: "200",
  healthyThreshold: 2,
  unhealthyThreshold: 3,
  interval: 30,
  timeout: 5,
} as const;
