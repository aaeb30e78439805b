import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import { type Chart, createRelease } from "../../lib/helm";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link MonitoringCrds}. */
export interface MonitoringCrdsProps {
  readonly chart: Chart;
  readonly namespace: string;
  readonly dependsOn?: ITerraformDependable[];
}

/**
 * The Prometheus operator's resource definitions, before everything that brings a ServiceMonitor along. As a chart of their own
 * they are upgraded with it; removing it deletes every rule and monitor of the cluster.
 */
export class MonitoringCrds extends Module {
  constructor(scope: Construct, id: string, { chart, dependsOn = [], namespace }: MonitoringCrdsProps) {
    super(scope, id);
    createRelease(this, "crds", { name: "prometheus-operator-crds", namespace, chart, values: {}, dependsOn });
  }
}
