import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import { type Chart, type ContainerResources, createRelease } from "../../lib/helm";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link Karpenter}. */
export interface KarpenterProps {
  readonly chart: Chart;
  /** Chart with the custom resources' definitions, of the same version. */
  readonly crdChart: Chart;
  readonly clusterName: string;
  readonly clusterEndpoint: string;
  /** Queue on which it hears of interruptions. */
  readonly interruptionQueue: string;
  /** Role of the controller's service account. */
  readonly roleArn: string;
  /** Role of the nodes that it starts. */
  readonly nodeRoleName: string;
  /** Controllers; each needs a node of the initial group for itself, in a zone of its own. */
  readonly replicas: number;
  readonly resources: ContainerResources;
  /** Tags of instances and volumes. */
  readonly tags: Readonly<Record<string, string>>;
  readonly dependsOn?: ITerraformDependable[];
}

/** Values of the chart karpenter, as far as they are set here. */
interface KarpenterValues {
  readonly serviceAccount: { readonly name: string; readonly annotations: Readonly<Record<string, string>> };
  readonly replicas: number;
  readonly controller: { readonly resources: ContainerResources };
  readonly serviceMonitor: { readonly enabled: boolean };
  readonly settings: {
    readonly clusterName: string;
    readonly clusterEndpoint: string;
    readonly interruptionQueue: string;
    readonly eksControlPlane: boolean;
  };
}

/** Source: AWS architecture §2.3, "karpenter SA (kube-system)". */
const NAMESPACE = "kube-system";
const SERVICE_ACCOUNT = "karpenter";

/** Source of each: Infra analysis §2-2 "Karpenter Autoscaler", AWS architecture §2.3. */
const INSTANCE_TYPES = ["t3.medium", "t3.large", "t3.xlarge", "m5.large", "m5.xlarge"];
const CAPACITY_TYPES = ["on-demand", "spot"];
const LIMITS = { cpu: "32", memory: "64Gi" };
const CONSOLIDATE_AFTER = "60s";
const VOLUME_SIZE = "30Gi";

/** Starts and ends nodes as pods need them. Source: Infra analysis §2-2, AWS architecture §2.3, Architecture guide §6.3. */
export class Karpenter extends Module {
  constructor(scope: Construct, id: string, props: KarpenterProps) {
    super(scope, id);
    const { chart, clusterEndpoint, clusterName, crdChart, dependsOn = [], interruptionQueue, roleArn } = props;

    const crds = createRelease(this, "crds", {
      name: "karpenter-crd",
      namespace: NAMESPACE,
      chart: crdChart,
      values: {},
    });
    const controller = createRelease<KarpenterValues>(this, "controller", {
      name: "karpenter",
      namespace: NAMESPACE,
      chart,
      skipCrds: true,
      values: {
        serviceAccount: { name: SERVICE_ACCOUNT, annotations: { "eks.amazonaws.com/role-arn": roleArn } },
        replicas: props.replicas,
        controller: { resources: props.resources },
        serviceMonitor: { enabled: true },
        settings: { clusterName, clusterEndpoint, interruptionQueue, eksControlPlane: true },
      },
      dependsOn: [crds, ...dependsOn],
    });
    createRelease(this, "nodes", {
      name: "karpenter-nodes",
      namespace: NAMESPACE,
      chart: { name: "karpenter-nodes" },
      values: {
        clusterName,
        nodeRoleName: props.nodeRoleName,
        instanceTypes: INSTANCE_TYPES,
        capacityTypes: CAPACITY_TYPES,
        limits: LIMITS,
        consolidateAfter: CONSOLIDATE_AFTER,
        volumeSize: VOLUME_SIZE,
        tags: props.tags,
      },
      dependsOn: [controller],
    });
  }
}
