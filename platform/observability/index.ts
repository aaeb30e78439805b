import { fileURLToPath } from "node:url";
import { ConfigMapV1 } from "@cdktf/provider-kubernetes/lib/config-map-v1";
import { Fn, type ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import { type Chart, createRelease, kubernetesFiles } from "../../lib/helm";
import { Asset, Module } from "../../lib/terraform-modules";
import { type AlloyValues, alloyValues, type LokiSettings, type LokiValues, lokiValues } from "./logs";
import {
  DASHBOARD_FOLDER_ANNOTATION,
  DASHBOARD_LABEL,
  DASHBOARD_LABEL_VALUE,
  type KubePrometheusStackValues,
  type PrometheusSettings,
  prometheusValues,
} from "./prometheus";

/** Where Zipkin keeps traces. */
export interface ZipkinProps {
  readonly image: string;
  readonly storage: "memory" | "elasticsearch";
  /** Only with Elasticsearch. */
  readonly elasticsearch?: { readonly image: string; readonly storageGib: number };
}

/** Properties of {@link Observability}. */
export interface ObservabilityProps {
  readonly namespace: string;
  readonly charts: { readonly kubePrometheusStack: Chart; readonly loki: Chart; readonly alloy: Chart };
  readonly prometheus: PrometheusSettings;
  readonly loki: LokiSettings;
  readonly zipkin: ZipkinProps;
  /** What makes the namespace: all that dashboards wait for. */
  readonly namespaces: ITerraformDependable;
  /** What pods wait for. */
  readonly dependsOn?: ITerraformDependable[];
}

/** Folder of Grafana with our dashboards. */
const DASHBOARD_FOLDER = "URR";

/** What watches the system from inside the cluster: metrics, alerts, dashboards, logs and traces. Source: Architecture guide §9.1, AWS architecture §10.1. */
export class Observability extends Module {
  private readonly props: ObservabilityProps;

  constructor(scope: Construct, id: string, props: ObservabilityProps) {
    super(scope, id);
    this.props = props;
    const { charts, dependsOn = [], loki, namespace, prometheus } = props;

    const stack = createRelease<KubePrometheusStackValues>(this, "kube_prometheus_stack", {
      // The roles trust service accounts that are named after the release.
      name: "kube-prometheus-stack",
      namespace,
      chart: charts.kubePrometheusStack,
      skipCrds: true,
      values: prometheusValues(prometheus),
      dependsOn,
    });
    const lokiRelease = createRelease<LokiValues>(this, "loki", {
      name: "loki",
      namespace,
      chart: charts.loki,
      values: lokiValues(loki),
      dependsOn,
    });
    createRelease<AlloyValues>(this, "alloy", {
      name: "alloy",
      namespace,
      chart: charts.alloy,
      values: alloyValues(),
      dependsOn: [lokiRelease],
    });
    this.createZipkin();
    this.createRules(stack);
    this.createDashboards();
  }

  /** Source: AWS architecture §9 "추적". */
  private createZipkin(): void {
    const { dependsOn = [], namespace, prometheus, zipkin } = this.props;
    const { elasticsearch, image, storage } = zipkin;
    createRelease(this, "zipkin", {
      name: "zipkin",
      namespace,
      chart: { name: "zipkin" },
      values: {
        image,
        storage,
        clients: prometheus.serviceNamespaces,
        ...(elasticsearch && {
          elasticsearch: {
            image: elasticsearch.image,
            storageClassName: prometheus.storageClassName,
            storageSize: `${elasticsearch.storageGib}Gi`,
          },
        }),
      },
      dependsOn,
    });
  }

  private createRules(stack: ITerraformDependable): void {
    createRelease(this, "rules", {
      name: "prometheus-rules",
      namespace: this.props.namespace,
      chart: {
        name: "prometheus-rules",
        files: Object.fromEntries(kubernetesFiles("rules", ".yaml").map((file) => [`rules/${file}`, `rules/${file}`])),
      },
      values: {},
      dependsOn: [stack],
    });
  }

  /** One ConfigMap each, which Grafana's sidecar picks up. */
  private createDashboards(): void {
    const { namespace, namespaces } = this.props;
    for (const fileName of kubernetesFiles("dashboards", ".json")) {
      const name = fileName.replace(/\.json$/, "");
      const id = name.replaceAll("-", "_");
      const asset = new Asset(this, `dashboard.${id}`, {
        fileName,
        source: fileURLToPath(new URL(`../../k8s/dashboards/${fileName}`, import.meta.url)),
      });
      new ConfigMapV1(this, `config_map_v1.dashboard_${id}`, {
        metadata: {
          name: `dashboard-${name}`,
          namespace,
          labels: { [DASHBOARD_LABEL]: DASHBOARD_LABEL_VALUE },
          annotations: { [DASHBOARD_FOLDER_ANNOTATION]: DASHBOARD_FOLDER },
        },
        data: { [fileName]: Fn.file(asset.path) },
        dependsOn: [namespaces],
      });
    }
  }
}
