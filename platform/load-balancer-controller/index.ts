import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import { type Chart, type ContainerResources, createRelease } from "../../lib/helm";
import { Module } from "../../lib/terraform-modules";

/** A Service whose pods are registered in a target group. */
export interface TargetGroupBinding {
  readonly name: string;
  readonly service: string;
  readonly port: number;
  readonly targetGroupArn: string;
}

/** Properties of {@link LoadBalancerController}. */
export interface LoadBalancerControllerProps {
  readonly chart: Chart;
  readonly clusterName: string;
  /** Region and VPC: nodes answer no metadata questions of pods, so the controller cannot find them out by itself. */
  readonly region: string;
  readonly vpcId: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly roleArn: string;
  readonly replicas: number;
  /** Namespace of the Services. */
  readonly bindingsNamespace: string;
  readonly bindings: readonly TargetGroupBinding[];
  readonly dependsOn?: ITerraformDependable[];
}

/** Values of the chart aws-load-balancer-controller, as far as they are set here. */
interface LoadBalancerControllerValues {
  readonly clusterName: string;
  readonly region: string;
  readonly vpcId: string;
  readonly serviceAccount: { readonly name: string; readonly annotations: Readonly<Record<string, string>> };
  readonly replicaCount: number;
  readonly resources: ContainerResources;
  readonly enableServiceMutatorWebhook: boolean;
  readonly createIngressClassResource: boolean;
  readonly ingressClassParams: { readonly create: boolean };
  readonly enableShield: boolean;
  readonly enableWaf: boolean;
  readonly enableWafv2: boolean;
  readonly enableBackendSecurityGroup: boolean;
  readonly keepTLSSecret: boolean;
}

const RESOURCES: ContainerResources = { requests: { cpu: "50m", memory: "128Mi" }, limits: { memory: "256Mi" } };

/**
 * Registers pods in the target groups that the infra stack made. It makes no load balancers and opens no security groups: neither
 * is allowed to its role. Source: AWS architecture §5.4, Architecture guide §6.4.
 */
export class LoadBalancerController extends Module {
  constructor(scope: Construct, id: string, props: LoadBalancerControllerProps) {
    super(scope, id);
    const { chart, clusterName, dependsOn = [], namespace, region, roleArn, serviceAccount, vpcId } = props;
    const controller = createRelease<LoadBalancerControllerValues>(this, "controller", {
      name: "aws-load-balancer-controller",
      namespace,
      chart,
      values: {
        clusterName,
        region,
        vpcId,
        serviceAccount: { name: serviceAccount, annotations: { "eks.amazonaws.com/role-arn": roleArn } },
        replicaCount: props.replicas,
        resources: RESOURCES,
        // It would stand before every Service of the cluster, and refuse them all while the controller is away.
        enableServiceMutatorWebhook: false,
        createIngressClassResource: false,
        ingressClassParams: { create: false },
        enableShield: false,
        enableWaf: false,
        enableWafv2: false,
        enableBackendSecurityGroup: false,
        // A new certificate at every upgrade would leave the webhooks and the pods apart for a while.
        keepTLSSecret: true,
      },
      dependsOn,
    });
    createRelease(this, "bindings", {
      name: "target-group-bindings",
      namespace: props.bindingsNamespace,
      chart: { name: "target-group-bindings" },
      values: { bindings: props.bindings },
      dependsOn: [controller, ...dependsOn],
    });
  }
}
