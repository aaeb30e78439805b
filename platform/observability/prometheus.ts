import type { ContainerResources } from "../../lib/helm";

/** What the values of kube-prometheus-stack depend on. */
export interface PrometheusSettings {
  readonly clusterName: string;
  readonly region: string;
  readonly storageClassName: string;
  /** Namespaces whose pods are scraped by their annotations. */
  readonly serviceNamespaces: readonly string[];
  /** Role that writes to Managed Prometheus. */
  readonly prometheusRoleArn: string;
  readonly remoteWriteUrl: string;
  readonly alertmanagerRoleArn: string;
  readonly alarmTopicArn: string;
  readonly alertmanagerReplicas: number;
  readonly grafanaRoleArn: string;
  readonly retentionDays: number;
  readonly storageGib: number;
  readonly resources: ContainerResources;
}

interface ServiceAccountValues {
  readonly name: string;
  readonly annotations: Readonly<Record<string, string>>;
}

interface VolumeClaimTemplate {
  readonly spec: {
    readonly storageClassName: string;
    readonly accessModes: readonly string[];
    readonly resources: { readonly requests: { readonly storage: string } };
  };
}

interface ScrapeConfig {
  readonly job_name: string;
  readonly kubernetes_sd_configs: readonly {
    readonly role: "pod";
    readonly namespaces: { readonly names: readonly string[] };
  }[];
  readonly relabel_configs: readonly {
    readonly source_labels?: readonly string[];
    readonly regex?: string;
    readonly action?: "keep" | "drop" | "replace";
    readonly target_label?: string;
    readonly replacement?: string;
    readonly separator?: string;
  }[];
}

interface DataSource {
  readonly name: string;
  readonly type: string;
  readonly uid: string;
  readonly access: "proxy";
  readonly url?: string;
  readonly jsonData?: Readonly<Record<string, string>>;
}

interface Enabled {
  readonly enabled: boolean;
}

/** Values of the chart kube-prometheus-stack, as far as they are set here. */
export interface KubePrometheusStackValues {
  readonly crds: Enabled;
  readonly kubeControllerManager: Enabled;
  readonly kubeScheduler: Enabled;
  readonly kubeEtcd: Enabled;
  readonly kubeProxy: Enabled;
  readonly prometheusOperator: {
    readonly resources: ContainerResources;
    readonly prometheusConfigReloader: { readonly resources: ContainerResources };
    readonly admissionWebhooks: { readonly failurePolicy: "Ignore" };
  };
  readonly prometheus: {
    readonly serviceAccount: ServiceAccountValues;
    readonly prometheusSpec: {
      readonly retention: string;
      readonly retentionSize: string;
      readonly externalLabels: Readonly<Record<string, string>>;
      readonly ruleSelectorNilUsesHelmValues: boolean;
      readonly serviceMonitorSelectorNilUsesHelmValues: boolean;
      readonly podMonitorSelectorNilUsesHelmValues: boolean;
      readonly remoteWrite: readonly {
        readonly url: string;
        readonly sigv4: { readonly region: string };
        readonly queueConfig: {
          readonly maxSamplesPerSend: number;
          readonly maxShards: number;
          readonly capacity: number;
        };
      }[];
      readonly storageSpec: { readonly volumeClaimTemplate: VolumeClaimTemplate };
      readonly resources: ContainerResources;
      readonly additionalScrapeConfigs: readonly ScrapeConfig[];
    };
  };
  readonly alertmanager: {
    readonly serviceAccount: ServiceAccountValues;
    readonly config: AlertmanagerConfig;
    readonly podDisruptionBudget: Enabled;
    readonly alertmanagerSpec: {
      readonly replicas: number;
      readonly resources: ContainerResources;
      readonly storage: { readonly volumeClaimTemplate: VolumeClaimTemplate };
    };
  };
  readonly grafana: {
    readonly serviceAccount: ServiceAccountValues;
    readonly resources: ContainerResources;
    readonly "grafana.ini": { readonly analytics: { readonly reporting_enabled: boolean } };
    readonly sidecar: {
      /** Of each of the two, for dashboards and for data sources. */
      readonly resources: ContainerResources;
      readonly dashboards: {
        readonly label: string;
        readonly labelValue: string;
        readonly folderAnnotation: string;
        readonly provider: { readonly foldersFromFilesStructure: boolean };
      };
    };
    readonly additionalDataSources: readonly DataSource[];
  };
  readonly "kube-state-metrics": { readonly resources: ContainerResources };
  readonly "prometheus-node-exporter": { readonly resources: ContainerResources };
}

/** Alertmanager's configuration, as far as it is used here. */
export interface AlertmanagerConfig {
  readonly route: {
    readonly receiver: string;
    readonly group_by: readonly string[];
    readonly group_wait: string;
    readonly group_interval: string;
    readonly repeat_interval: string;
    readonly routes: readonly { readonly receiver: string; readonly matchers: readonly string[] }[];
  };
  readonly inhibit_rules: readonly {
    readonly source_matchers: readonly string[];
    readonly target_matchers: readonly string[];
    readonly equal: readonly string[];
  }[];
  readonly receivers: readonly {
    readonly name: string;
    readonly sns_configs?: readonly {
      readonly topic_arn: string;
      readonly sigv4: { readonly region: string };
      readonly send_resolved: boolean;
      readonly subject: string;
      readonly message: string;
    }[];
  }[];
}

/** Names that the roles trust. Source: Infra analysis §2-13 "Prometheus IRSA (Remote Write)". */
const PROMETHEUS_SERVICE_ACCOUNT = "kube-prometheus-stack-prometheus";
const ALERTMANAGER_SERVICE_ACCOUNT = "kube-prometheus-stack-alertmanager";
const GRAFANA_SERVICE_ACCOUNT = "kube-prometheus-stack-grafana";

/** Label and value by which Grafana's sidecar finds dashboards, and the annotation with their folder. */
export const DASHBOARD_LABEL = "grafana_dashboard";
export const DASHBOARD_LABEL_VALUE = "1";
export const DASHBOARD_FOLDER_ANNOTATION = "grafana_folder";

const ALERTMANAGER_STORAGE = "2Gi";
/** Share of the volume that blocks may take: the write-ahead log and compaction need the rest. */
const RETENTION_SHARE = 0.8;

/** Values of kube-prometheus-stack. Source: Architecture guide §9.1, §9.2, AWS architecture §10.1. */
export function prometheusValues(settings: PrometheusSettings): KubePrometheusStackValues {
  const { alertmanagerReplicas, clusterName, region, retentionDays, storageClassName, storageGib } = settings;
  return {
    // They come by a chart of their own, before everything that has a ServiceMonitor.
    crds: { enabled: false },
    // EKS runs these where nobody can scrape them, and lets kube-proxy tell its metrics to its own node only.
    kubeControllerManager: { enabled: false },
    kubeScheduler: { enabled: false },
    kubeEtcd: { enabled: false },
    kubeProxy: { enabled: false },
    prometheusOperator: {
      resources: resources("50m", "128Mi", "256Mi"),
      prometheusConfigReloader: { resources: resources("10m", "32Mi", "64Mi") },
      // Rules are tested before they are merged; an operator that is away must not stand in the way of a deploy.
      admissionWebhooks: { failurePolicy: "Ignore" },
    },
    prometheus: {
      serviceAccount: account(PROMETHEUS_SERVICE_ACCOUNT, settings.prometheusRoleArn),
      prometheusSpec: {
        retention: `${retentionDays}d`,
        retentionSize: `${Math.floor(storageGib * RETENTION_SHARE)}GB`,
        // Both environments may be looked at together: what they have in common would overwrite each other.
        externalLabels: { cluster: clusterName },
        ruleSelectorNilUsesHelmValues: false,
        serviceMonitorSelectorNilUsesHelmValues: false,
        podMonitorSelectorNilUsesHelmValues: false,
        remoteWrite: [
          {
            url: settings.remoteWriteUrl,
            sigv4: { region },
            queueConfig: { maxSamplesPerSend: 1000, maxShards: 50, capacity: 2500 },
          },
        ],
        storageSpec: { volumeClaimTemplate: volume(storageClassName, `${storageGib}Gi`) },
        resources: settings.resources,
        additionalScrapeConfigs: [annotatedPods(settings.serviceNamespaces)],
      },
    },
    alertmanager: {
      serviceAccount: account(ALERTMANAGER_SERVICE_ACCOUNT, settings.alertmanagerRoleArn),
      config: alertmanagerConfig(settings.alarmTopicArn, region),
      podDisruptionBudget: { enabled: alertmanagerReplicas > 1 },
      alertmanagerSpec: {
        replicas: alertmanagerReplicas,
        resources: resources("20m", "64Mi", "128Mi"),
        storage: { volumeClaimTemplate: volume(storageClassName, ALERTMANAGER_STORAGE) },
      },
    },
    grafana: {
      serviceAccount: account(GRAFANA_SERVICE_ACCOUNT, settings.grafanaRoleArn),
      resources: resources("50m", "256Mi", "512Mi"),
      "grafana.ini": { analytics: { reporting_enabled: false } },
      sidecar: {
        resources: resources("10m", "96Mi", "192Mi"),
        dashboards: {
          label: DASHBOARD_LABEL,
          labelValue: DASHBOARD_LABEL_VALUE,
          folderAnnotation: DASHBOARD_FOLDER_ANNOTATION,
          provider: { foldersFromFilesStructure: true },
        },
      },
      additionalDataSources: [
        {
          name: "CloudWatch",
          type: "cloudwatch",
          uid: "cloudwatch",
          access: "proxy",
          jsonData: { authType: "default", defaultRegion: region },
        },
        { name: "Loki", type: "loki", uid: "loki", access: "proxy", url: "http://loki:3100" },
        { name: "Zipkin", type: "zipkin", uid: "zipkin", access: "proxy", url: "http://zipkin:9411" },
      ],
    },
    "kube-state-metrics": { resources: resources("20m", "96Mi", "192Mi") },
    "prometheus-node-exporter": { resources: resources("20m", "32Mi", "64Mi") },
  };
}

/** Alerts go where CloudWatch's alarms go: to the topic that mails and writes to Slack. Source: Architecture guide §9.1 "AlertManager". */
function alertmanagerConfig(topicArn: string, region: string): AlertmanagerConfig {
  return {
    route: {
      receiver: "alarms",
      group_by: ["alertname", "namespace"],
      group_wait: "30s",
      group_interval: "5m",
      repeat_interval: "12h",
      routes: [{ receiver: "nobody", matchers: ['alertname =~ "Watchdog|InfoInhibitor"'] }],
    },
    inhibit_rules: [
      {
        source_matchers: ['severity = "critical"'],
        target_matchers: ['severity =~ "warning|info"'],
        equal: ["namespace", "alertname"],
      },
      {
        source_matchers: ['alertname = "InfoInhibitor"'],
        target_matchers: ['severity = "info"'],
        equal: ["namespace"],
      },
    ],
    receivers: [
      { name: "nobody" },
      {
        name: "alarms",
        sns_configs: [
          {
            topic_arn: topicArn,
            sigv4: { region },
            send_resolved: true,
            subject: "[{{ .Status | toUpper }}] {{ .CommonLabels.alertname }}",
            // Slack shows what has this form and drops the rest. Source: Amazon Q Developer in chat applications, "Custom notifications".
            message:
              '{"version":"1.0","source":"custom","content":{"textType":"client-markdown",' +
              '"title":{{ printf "[%s] %s" (.Status | toUpper) .CommonLabels.alertname | printf "%q" }},' +
              '"description":{{ printf "%s (severity %s, namespace %s, %d alerts)" .CommonAnnotations.summary ' +
              '.CommonLabels.severity .CommonLabels.namespace (len .Alerts) | printf "%q" }}}}',
          },
        ],
      },
    ],
  };
}

/** Pods that ask for it by annotation are scraped, on the path and port that they name. Source: Infra analysis §3-4 "Prometheus scrape". */
function annotatedPods(namespaces: readonly string[]): ScrapeConfig {
  const annotation = (name: string) => `__meta_kubernetes_pod_annotation_prometheus_io_${name}`;
  return {
    job_name: "services",
    kubernetes_sd_configs: [{ role: "pod", namespaces: { names: namespaces } }],
    relabel_configs: [
      { source_labels: [annotation("scrape")], regex: "true", action: "keep" },
      { source_labels: ["__meta_kubernetes_pod_phase"], regex: "Pending|Succeeded|Failed", action: "drop" },
      // A pod is a target per declared port; with this they are all the same one, and it is scraped once.
      {
        source_labels: ["__meta_kubernetes_pod_ip", annotation("port")],
        separator: ":",
        target_label: "__address__",
        action: "replace",
      },
      { source_labels: [annotation("path")], target_label: "__metrics_path__", action: "replace" },
      { source_labels: ["__meta_kubernetes_namespace"], target_label: "namespace", action: "replace" },
      { source_labels: ["__meta_kubernetes_pod_name"], target_label: "pod", action: "replace" },
      { source_labels: ["__meta_kubernetes_pod_label_app"], target_label: "service", action: "replace" },
      { source_labels: ["__meta_kubernetes_pod_node_name"], target_label: "node", action: "replace" },
    ],
  };
}

function account(name: string, roleArn: string): ServiceAccountValues {
  return { name, annotations: { "eks.amazonaws.com/role-arn": roleArn } };
}

function resources(cpu: string, memory: string, memoryLimit: string): ContainerResources {
  return { requests: { cpu, memory }, limits: { memory: memoryLimit } };
}

function volume(storageClassName: string, storage: string): VolumeClaimTemplate {
  return { spec: { storageClassName, accessModes: ["ReadWriteOnce"], resources: { requests: { storage } } } };
}
