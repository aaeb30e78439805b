import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import { type Chart, type ContainerResources, createRelease } from "../../lib/helm";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link ExternalSecrets}. */
export interface ExternalSecretsProps {
  readonly chart: Chart;
  readonly region: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Role of the controller: what it may read, every ExternalSecret of the store's namespaces may. */
  readonly roleArn: string;
  readonly replicas: number;
  readonly storeName: string;
  /** Namespaces whose ExternalSecrets may use the store. */
  readonly storeNamespaces: readonly string[];
  readonly dependsOn?: ITerraformDependable[];
}

/** Values of the chart external-secrets, as far as they are set here. */
interface ExternalSecretsValues {
  readonly replicaCount: number;
  readonly leaderElect: boolean;
  readonly serviceAccount: { readonly name: string; readonly annotations: Readonly<Record<string, string>> };
  readonly resources: ContainerResources;
  readonly webhook: { readonly resources: ContainerResources };
  readonly certController: { readonly resources: ContainerResources };
  readonly serviceMonitor: { readonly enabled: boolean };
}

const RESOURCES: ContainerResources = { requests: { cpu: "50m", memory: "128Mi" }, limits: { memory: "256Mi" } };
const SMALL: ContainerResources = { requests: { cpu: "20m", memory: "64Mi" }, limits: { memory: "128Mi" } };

/** Brings secrets from Secrets Manager into the cluster: Git names them and holds none. Source: Infra analysis §2-12, Architecture guide §8.6. */
export class ExternalSecrets extends Module {
  constructor(scope: Construct, id: string, props: ExternalSecretsProps) {
    super(scope, id);
    const { chart, dependsOn = [], namespace, region, replicas, roleArn, serviceAccount } = props;
    const controller = createRelease<ExternalSecretsValues>(this, "controller", {
      name: "external-secrets",
      namespace,
      chart,
      values: {
        replicaCount: replicas,
        leaderElect: replicas > 1,
        serviceAccount: { name: serviceAccount, annotations: { "eks.amazonaws.com/role-arn": roleArn } },
        resources: RESOURCES,
        webhook: { resources: SMALL },
        certController: { resources: RESOURCES },
        serviceMonitor: { enabled: true },
      },
      dependsOn,
    });
    createRelease(this, "store", {
      name: "external-secrets-store",
      namespace,
      chart: { name: "external-secrets-store" },
      values: { name: props.storeName, region, namespaces: props.storeNamespaces },
      dependsOn: [controller],
    });
  }
}
