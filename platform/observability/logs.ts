import type { ContainerResources } from "../../lib/helm";

/** What the values of Loki depend on. */
export interface LokiSettings {
  readonly storageClassName: string;
  readonly storageGib: number;
  readonly retentionDays: number;
  readonly resources: ContainerResources;
}

interface Replicas {
  readonly replicas: number;
}

/** Values of the chart loki, as far as they are set here. */
export interface LokiValues {
  readonly deploymentMode: "Monolithic";
  readonly loki: {
    readonly auth_enabled: boolean;
    readonly commonConfig: { readonly replication_factor: number };
    readonly storage: { readonly type: "filesystem" };
    readonly schemaConfig: {
      readonly configs: readonly {
        readonly from: string;
        readonly store: "tsdb";
        readonly object_store: "filesystem";
        readonly schema: "v13";
        readonly index: { readonly prefix: string; readonly period: "24h" };
      }[];
    };
    readonly limits_config: { readonly retention_period: string };
    readonly compactor: { readonly retention_enabled: boolean; readonly delete_request_store: "filesystem" };
    readonly analytics: { readonly reporting_enabled: boolean };
  };
  readonly singleBinary: {
    readonly replicas: number;
    readonly sidecar: boolean;
    readonly resources: ContainerResources;
    readonly persistence: { readonly storageClass: string; readonly size: string };
  };
  readonly write: Replicas;
  readonly read: Replicas;
  readonly backend: Replicas;
  readonly gateway: { readonly enabled: boolean };
  readonly chunksCache: { readonly enabled: boolean };
  readonly resultsCache: { readonly enabled: boolean };
  readonly lokiCanary: { readonly enabled: boolean };
  readonly test: { readonly enabled: boolean };
  readonly monitoring: { readonly serviceMonitor: { readonly enabled: boolean } };
}

/** Values of the chart alloy, as far as they are set here. */
export interface AlloyValues {
  readonly crds: { readonly create: boolean };
  readonly alloy: {
    readonly enableReporting: boolean;
    readonly configMap: { readonly content: string };
    readonly mounts: { readonly varlog: boolean };
    readonly resources: ContainerResources;
  };
  readonly controller: { readonly type: "daemonset"; readonly tolerations: readonly { readonly operator: "Exists" }[] };
  readonly rbac: {
    readonly rules: readonly {
      readonly apiGroups: readonly string[];
      readonly resources: readonly string[];
      readonly verbs: readonly string[];
    }[];
    /** It may not be empty: the chart would write both lists as one and end it. */
    readonly clusterRules: readonly {
      readonly nonResourceURLs: readonly string[];
      readonly verbs: readonly string[];
    }[];
  };
  readonly serviceMonitor: { readonly enabled: boolean };
}

/** First day of the storage schema; a later schema gets an entry of its own, and this one stays. */
const SCHEMA_FROM = "2026-01-01";

/** Loki as one process with a volume. Source: Architecture guide §9.1 "Loki". */
export function lokiValues({ resources, retentionDays, storageClassName, storageGib }: LokiSettings): LokiValues {
  return {
    deploymentMode: "Monolithic",
    loki: {
      // One tenant: whoever reaches Loki in the cluster may read everything.
      auth_enabled: false,
      commonConfig: { replication_factor: 1 },
      storage: { type: "filesystem" },
      schemaConfig: {
        configs: [
          {
            from: SCHEMA_FROM,
            store: "tsdb",
            object_store: "filesystem",
            schema: "v13",
            index: { prefix: "loki_index_", period: "24h" },
          },
        ],
      },
      limits_config: { retention_period: `${retentionDays * 24}h` },
      // Without it the period above is accepted and nothing is ever deleted.
      compactor: { retention_enabled: true, delete_request_store: "filesystem" },
      analytics: { reporting_enabled: false },
    },
    singleBinary: {
      replicas: 1,
      // It would look for Loki's own alert rules in every namespace; there are none.
      sidecar: false,
      resources,
      persistence: { storageClass: storageClassName, size: `${storageGib}Gi` },
    },
    write: { replicas: 0 },
    read: { replicas: 0 },
    backend: { replicas: 0 },
    gateway: { enabled: false },
    // Each cache alone would ask for more memory than Loki itself.
    chunksCache: { enabled: false },
    resultsCache: { enabled: false },
    lokiCanary: { enabled: false },
    test: { enabled: false },
    monitoring: { serviceMonitor: { enabled: true } },
  };
}

/**
 * Reads the log files of a node's own pods and sends them to Loki. Source: Grafana Alloy, "Collect Kubernetes logs"; in place of
 * Promtail (Architecture guide §9.1), which has reached its end of life.
 */
const ALLOY_CONFIGURATION = `discovery.kubernetes "pods" {
  role = "pod"
  selectors {
    role  = "pod"
    field = "spec.nodeName=" + coalesce(sys.env("HOSTNAME"), constants.hostname)
  }
}

discovery.relabel "pods" {
  targets = discovery.kubernetes.pods.targets
  rule {
    source_labels = ["__meta_kubernetes_namespace"]
    target_label  = "namespace"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_name"]
    target_label  = "pod"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_container_name"]
    target_label  = "container"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_label_app"]
    target_label  = "service"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_uid", "__meta_kubernetes_pod_container_name"]
    separator     = "/"
    replacement   = "/var/log/pods/*$1/*.log"
    target_label  = "__path__"
  }
}

local.file_match "pods" {
  path_targets = discovery.relabel.pods.output
}

loki.source.file "pods" {
  targets    = local.file_match.pods.targets
  forward_to = [loki.process.pods.receiver]
}

loki.process "pods" {
  stage.cri {}
  forward_to = [loki.write.loki.receiver]
}

loki.write "loki" {
  endpoint {
    url = "http://loki:3100/loki/api/v1/push"
  }
}
`;

/** Alloy on every node. */
export function alloyValues(): AlloyValues {
  return {
    crds: { create: false },
    alloy: {
      enableReporting: false,
      configMap: { content: ALLOY_CONFIGURATION },
      mounts: { varlog: true },
      resources: { requests: { cpu: "50m", memory: "128Mi" }, limits: { memory: "256Mi" } },
    },
    controller: { type: "daemonset", tolerations: [{ operator: "Exists" }] },
    // The chart's own rules read every Secret of the cluster.
    rbac: {
      rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "watch"] }],
      clusterRules: [{ nonResourceURLs: ["/metrics"], verbs: ["get"] }],
    },
    serviceMonitor: { enabled: true },
  };
}
