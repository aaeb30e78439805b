import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import { type Chart, type ContainerResources, createRelease } from "../../lib/helm";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link ArgoRollouts}. */
export interface ArgoRolloutsProps {
  readonly chart: Chart;
  readonly namespace: string;
  readonly replicas: number;
  readonly dependsOn?: ITerraformDependable[];
}

/** Values of the chart argo-rollouts, as far as they are set here. */
interface ArgoRolloutsValues {
  readonly controller: {
    readonly replicas: number;
    readonly resources: ContainerResources;
    readonly pdb: { readonly enabled: boolean; readonly minAvailable?: number };
    readonly metrics: { readonly enabled: boolean; readonly serviceMonitor: { readonly enabled: boolean } };
  };
  readonly providerRBAC: { readonly enabled: boolean };
}

const RESOURCES: ContainerResources = { requests: { cpu: "50m", memory: "128Mi" }, limits: { memory: "256Mi" } };

/** Blue-green deployments. Source: Infra analysis §3-9, AWS architecture §8.2, Architecture guide §10.4. */
export class ArgoRollouts extends Module {
  constructor(scope: Construct, id: string, { chart, dependsOn = [], namespace, replicas }: ArgoRolloutsProps) {
    super(scope, id);
    createRelease<ArgoRolloutsValues>(this, "controller", {
      name: "argo-rollouts",
      namespace,
      chart,
      values: {
        controller: {
          replicas,
          resources: RESOURCES,
          pdb: replicas > 1 ? { enabled: true, minAvailable: 1 } : { enabled: false },
          metrics: { enabled: true, serviceMonitor: { enabled: true } },
        },
        // No mesh and no ingress controller takes part in a blue-green switch: it is a change of the Service's selector.
        providerRBAC: { enabled: false },
      },
      dependsOn,
    });
  }
}
