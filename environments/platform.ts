import type { Chart, ContainerResources } from "../lib/helm";
import { DEV_NAMESPACE, PLATFORM } from "./gitops";
import { SERVICES, TOPICS } from "./services";

/** Charts of the platform. Each version is one that supports the cluster's Kubernetes version. */
export const CHARTS = {
  /** Kubernetes 1.35 needs 1.9 or later; the documents name 1.1.1. Source: Karpenter, "Compatibility". */
  karpenter: {
    repository: "oci://public.ecr.aws/karpenter",
    name: "karpenter",
    version: "1.14.1",
    appVersion: "1.14.1",
  },
  /** Same version as Karpenter: Helm never upgrades a chart's own CRDs, so they come as a chart. */
  karpenterCrd: {
    repository: "oci://public.ecr.aws/karpenter",
    name: "karpenter-crd",
    version: "1.14.1",
    appVersion: "1.14.1",
  },
  loadBalancerController: {
    repository: "https://aws.github.io/eks-charts",
    name: "aws-load-balancer-controller",
    version: "3.5.0",
    appVersion: "3.5.0",
  },
  metricsServer: {
    repository: "https://kubernetes-sigs.github.io/metrics-server",
    name: "metrics-server",
    version: "3.13.1",
    appVersion: "0.8.1",
  },
  externalSecrets: {
    repository: "https://charts.external-secrets.io",
    name: "external-secrets",
    version: "2.9.0",
    appVersion: "2.9.0",
  },
  argoCd: {
    repository: "https://argoproj.github.io/argo-helm",
    name: "argo-cd",
    version: "10.1.1",
    appVersion: "3.4.4",
  },
  argoRollouts: {
    repository: "https://argoproj.github.io/argo-helm",
    name: "argo-rollouts",
    version: "2.41.0",
    appVersion: "1.9.0",
  },
  /** Same operator version as kube-prometheus-stack: ServiceMonitors of what is installed before it need the CRDs. */
  prometheusOperatorCrds: {
    repository: "https://prometheus-community.github.io/helm-charts",
    name: "prometheus-operator-crds",
    version: "31.0.1",
    appVersion: "0.93.1",
  },
  kubePrometheusStack: {
    repository: "https://prometheus-community.github.io/helm-charts",
    name: "kube-prometheus-stack",
    version: "88.5.3",
    appVersion: "0.93.1",
  },
  loki: {
    repository: "https://grafana-community.github.io/helm-charts",
    name: "loki",
    version: "18.11.0",
    appVersion: "3.7.6",
  },
  /** Follows Promtail, which has reached its end of life. Source: Grafana, "Promtail agent". */
  alloy: {
    repository: "https://grafana.github.io/helm-charts",
    name: "alloy",
    version: "1.11.1",
    appVersion: "1.18.1",
  },
} as const satisfies Record<string, Chart>;

/** Images that our own charts run. */
export const IMAGES = {
  /** Client of the database's own major version. */
  postgresqlClient: "public.ecr.aws/docker/library/postgres:16.14",
  /** Kafka's command line, of the brokers' own version. */
  kafkaClient: "docker.io/apache/kafka:3.9.1",
  download: "docker.io/curlimages/curl:8.16.0",
  zipkin: "docker.io/openzipkin/zipkin:3.6.1",
  /** Zipkin 3 stores in Elasticsearch 7 and 8. */
  elasticsearch: "docker.elastic.co/elasticsearch/elasticsearch:8.19.16",
} as const;

/** What lets Kafka's command line authenticate by IAM; checked against its SHA-256 before it is used. */
export const MSK_IAM_AUTH = {
  url: "https://repo1.maven.org/maven2/software/amazon/msk/aws-msk-iam-auth/2.3.9/aws-msk-iam-auth-2.3.9-all.jar",
  sha256: "922064f312ddc8a5f3dbe65fcef3d02ddbd588a02e3a6f0fca4b5a4dbec1ba43",
} as const;

/** Namespace of the jobs that make databases, users and topics. */
export const JOBS_NAMESPACE = "urr-platform";
export const EXTERNAL_SECRETS_NAMESPACE = "external-secrets";

/** Service accounts of the platform that take a role, by the role's Terraform name: the roles trust these and no others. */
export const SERVICE_ACCOUNTS = {
  load_balancer_controller: { namespace: "kube-system", serviceAccount: "aws-load-balancer-controller" },
  external_secrets: { namespace: EXTERNAL_SECRETS_NAMESPACE, serviceAccount: "external-secrets" },
  database_bootstrap: { namespace: JOBS_NAMESPACE, serviceAccount: "database-bootstrap" },
  kafka_topics: { namespace: JOBS_NAMESPACE, serviceAccount: "kafka-topics" },
  alertmanager: { namespace: PLATFORM.monitoringNamespace, serviceAccount: "kube-prometheus-stack-alertmanager" },
  grafana_in_cluster: { namespace: PLATFORM.monitoringNamespace, serviceAccount: "kube-prometheus-stack-grafana" },
} as const;

/** A Kafka topic, kept as code. */
export interface TopicSettings {
  readonly name: string;
  /** It can be raised, never lowered; raising it moves keys to other partitions. */
  readonly partitions: number;
  /** Broker settings of the topic, by Kafka's names. */
  readonly config: Readonly<Record<string, string>>;
}

/** Source: Infra analysis §2-5, "num.partitions". */
const PARTITIONS = 3;
/** Days for which a message that nobody could read stays: long enough for somebody to look at it. */
const DEAD_LETTER_RETENTION_DAYS = 14;
const DAY_MS = 24 * 60 * 60 * 1000;

/** Every topic with its dead-letter topic. Source: Architecture guide §8.3, Infra analysis §2-5, §9-2. */
export const TOPIC_SETTINGS: readonly TopicSettings[] = [
  ...TOPICS.map((name) => ({ name, partitions: PARTITIONS, config: {} })),
  ...TOPICS.map((name) => ({
    name: `${name}.DLT`,
    partitions: PARTITIONS,
    config: { "retention.ms": `${DEAD_LETTER_RETENTION_DAYS * DAY_MS}` },
  })),
];
/** Copies of each partition: one per broker, of which there are two. Source: Infra analysis §2-5, `default.replication.factor`. */
export const TOPIC_REPLICATION = 2;

/** Everything of the platform in which environments differ. */
export interface PlatformSettings {
  /** Name of the environment's stack of the cluster. */
  readonly stateKey: string;
  /** Files of k8s/argocd/applications that Argo CD of this cluster owns. Source: Infra analysis §5-1. */
  readonly applications: readonly string[];
  /** Controllers that must not be gone while a node is drained. */
  readonly controllerReplicas: number;
  readonly karpenter: { readonly replicas: number; readonly resources: ContainerResources };
  readonly prometheus: {
    readonly retentionDays: number;
    readonly storageGib: number;
    readonly resources: ContainerResources;
  };
  readonly alertmanagerReplicas: number;
  readonly loki: {
    readonly retentionDays: number;
    readonly storageGib: number;
    readonly resources: ContainerResources;
  };
  /** Where Zipkin keeps traces. Source: AWS architecture §9 "추적". */
  readonly zipkin: { readonly storage: "memory" } | { readonly storage: "elasticsearch"; readonly storageGib: number };
  /** Quota of each namespace of services. */
  readonly quotas: Readonly<Record<string, NamespaceQuota>>;
}

/** The most that a namespace may hold. */
export interface NamespaceQuota {
  readonly requestsCpu: string;
  readonly requestsMemory: string;
  readonly limitsMemory: string;
  readonly pods: number;
}

/** Databases, Redis and Kafka of a namespace that has them in pods: what dev's overlay runs, rounded up. */
const LOCAL_STORES = { pods: 6, cpuMillicores: 800, memoryMib: 2048, memoryLimitMib: 3584 };
/** Quotas leave room for this many times the services' own need: a rolling update or a blue-green twin, jobs and debugging. */
const QUOTA_HEADROOM = 1.25;

/** Platform of staging's cluster, which hosts dev as well. */
export const stagingPlatform: PlatformSettings = {
  stateKey: "staging/platform.tfstate",
  applications: ["urr-spring-staging.yaml", "urr-spring-dev.yaml"],
  controllerReplicas: 1,
  karpenter: { replicas: 1, resources: resources("200m", "512Mi", "1Gi") },
  prometheus: { retentionDays: 3, storageGib: 20, resources: resources("200m", "1Gi", "2Gi") },
  alertmanagerReplicas: 1,
  loki: { retentionDays: 3, storageGib: 10, resources: resources("100m", "256Mi", "1Gi") },
  zipkin: { storage: "memory" },
  quotas: { "urr-staging": quota("staging"), [DEV_NAMESPACE]: quota("dev") },
};

/** Platform of production's cluster. */
export const prodPlatform: PlatformSettings = {
  stateKey: "prod/platform.tfstate",
  applications: ["urr-spring-prod.yaml"],
  controllerReplicas: 2,
  karpenter: { replicas: 2, resources: resources("250m", "512Mi", "1Gi") },
  prometheus: { retentionDays: 7, storageGib: 50, resources: resources("500m", "2Gi", "4Gi") },
  alertmanagerReplicas: 2,
  loki: { retentionDays: 14, storageGib: 50, resources: resources("200m", "512Mi", "2Gi") },
  zipkin: { storage: "elasticsearch", storageGib: 20 },
  quotas: { "urr-spring": quota("prod") },
};

/** Resources of a container, memory limit apart from the request. */
function resources(cpu: string, memory: string, memoryLimit: string): ContainerResources {
  return { requests: { cpu, memory }, limits: { memory: memoryLimit } };
}

/** What all services need at once, at their most, with a twin of every pod of those that are deployed blue-green. */
function quota(environment: "prod" | "staging" | "dev"): NamespaceQuota {
  const total = SERVICES.reduce(
    (sum, { autoscaling, blueGreen, replicas, resources: { limits, requests } }) => {
      const most = environment === "prod" ? (autoscaling?.maxReplicas ?? replicas.prod) : replicas[environment];
      // A rolling update starts one pod more before it ends one.
      const pods = environment === "prod" && blueGreen ? 2 * most : most + 1;
      return {
        pods: sum.pods + pods,
        cpu: sum.cpu + pods * requests.cpuMillicores,
        memory: sum.memory + pods * requests.memoryMib,
        memoryLimit: sum.memoryLimit + pods * limits.memoryMib,
      };
    },
    environment === "dev"
      ? {
          pods: LOCAL_STORES.pods,
          cpu: LOCAL_STORES.cpuMillicores,
          memory: LOCAL_STORES.memoryMib,
          memoryLimit: LOCAL_STORES.memoryLimitMib,
        }
      : { pods: 0, cpu: 0, memory: 0, memoryLimit: 0 },
  );
  return {
    requestsCpu: `${Math.ceil((total.cpu * QUOTA_HEADROOM) / 1000)}`,
    requestsMemory: `${Math.ceil((total.memory * QUOTA_HEADROOM) / 1024)}Gi`,
    limitsMemory: `${Math.ceil((total.memoryLimit * QUOTA_HEADROOM) / 1024)}Gi`,
    pods: Math.ceil(total.pods * QUOTA_HEADROOM),
  };
}
