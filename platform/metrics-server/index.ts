import type { Construct } from "constructs";
import { type Chart, type ContainerResources, createRelease } from "../../lib/helm";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link MetricsServer}. */
export interface MetricsServerProps {
  readonly chart: Chart;
  readonly replicas: number;
}

/** Values of the chart metrics-server, as far as they are set here. */
interface MetricsServerValues {
  readonly replicas: number;
  readonly resources: ContainerResources;
  readonly podDisruptionBudget: { readonly enabled: boolean; readonly minAvailable?: number };
}

const RESOURCES: ContainerResources = { requests: { cpu: "50m", memory: "128Mi" }, limits: { memory: "256Mi" } };

/** What autoscalers read CPU from: without it no HPA scales. Source: Infra analysis §3-6, §7-1. */
export class MetricsServer extends Module {
  constructor(scope: Construct, id: string, { chart, replicas }: MetricsServerProps) {
    super(scope, id);
    createRelease<MetricsServerValues>(this, "metrics_server", {
      name: "metrics-server",
      namespace: "kube-system",
      chart,
      values: {
        replicas,
        resources: RESOURCES,
        // A budget for a single pod would block every drain.
        podDisruptionBudget: replicas > 1 ? { enabled: true, minAvailable: 1 } : { enabled: false },
      },
    });
  }
}
