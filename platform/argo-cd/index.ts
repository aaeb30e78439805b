import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import { type Chart, type ContainerResources, createRelease } from "../../lib/helm";
import { enforce, type Rule } from "../../lib/rules";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link ArgoCd}. */
export interface ArgoCdProps {
  readonly chart: Chart;
  readonly namespace: string;
  readonly replicas: number;
  /** Files of `k8s/argocd/applications` that this cluster's Argo CD owns. */
  readonly applications: readonly string[];
  readonly dependsOn?: ITerraformDependable[];
}

interface Component {
  readonly replicas?: number;
  readonly resources: ContainerResources;
  readonly metrics?: { readonly enabled: boolean; readonly serviceMonitor: { readonly enabled: boolean } };
}

/** Values of the chart argo-cd, as far as they are set here. */
interface ArgoCdValues {
  readonly configs: {
    readonly cm: Readonly<Record<string, string | boolean>>;
    readonly params: Readonly<Record<string, string | boolean>>;
  };
  readonly controller: Component;
  readonly server: Component;
  readonly repoServer: Component;
  readonly redis: Component;
  readonly dex: { readonly enabled: boolean };
  readonly notifications: { readonly enabled: boolean };
  readonly applicationSet: { readonly replicas: number };
}

const RULES: readonly Rule<ArgoCdProps>[] = [
  {
    property: "applications",
    given: ({ applications }) => applications,
    valid: ({ applications }) => applications.length > 0 && new Set(applications).size === applications.length,
    allowed: "at least one file of k8s/argocd/applications, each once",
    remedy: "Without an Application Argo CD deploys nothing.",
  },
];

function resources(cpu: string, memory: string, memoryLimit: string): ContainerResources {
  return { requests: { cpu, memory }, limits: { memory: memoryLimit } };
}

/**
 * Deploys what Git says, for the environments of its own cluster. Nothing exposes it: people reach it by
 * `kubectl port-forward`, with the rights that the cluster gives them. Source: Infra analysis §5, Architecture guide §10.3.
 */
export class ArgoCd extends Module {
  constructor(scope: Construct, id: string, props: ArgoCdProps) {
    super(scope, id);
    enforce(this, props, RULES);
    const { applications, chart, dependsOn = [], namespace, replicas } = props;
    const metrics = { enabled: true, serviceMonitor: { enabled: true } };
    const argoCd = createRelease<ArgoCdValues>(this, "argo_cd", {
      name: "argocd",
      namespace,
      chart,
      values: {
        configs: {
          cm: {
            // Labels are the services' own; an annotation tells what belongs to which Application.
            "application.resourceTrackingMethod": "annotation",
          },
          params: { "server.insecure": false },
        },
        controller: { resources: resources("200m", "512Mi", "1Gi"), metrics },
        server: { replicas, resources: resources("50m", "128Mi", "256Mi") },
        repoServer: { replicas, resources: resources("100m", "256Mi", "512Mi") },
        redis: { resources: resources("50m", "64Mi", "128Mi") },
        // No single sign-on, no notifications, no generated Applications: each would be a further pod with rights.
        dex: { enabled: false },
        notifications: { enabled: false },
        applicationSet: { replicas: 0 },
      },
      dependsOn,
    });
    createRelease(this, "applications", {
      name: "argo-applications",
      namespace,
      chart: {
        name: "argo-applications",
        files: Object.fromEntries(applications.map((file) => [`applications/${file}`, `argocd/applications/${file}`])),
      },
      values: {},
      dependsOn: [argoCd],
    });
  }
}
