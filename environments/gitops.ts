/**
 * What the GitOps tree has to know that lies outside the catalogue. Argo CD reads Git and nothing else, so the account's number,
 * which everything else takes from git-ignored variables, is written here: images and roles are named by it. After a change,
 * run `npm run gitops`.
 */
export const GITOPS = {
  /** AWS account of both environments, twelve digits. */
  accountId: "123456789012",
  /** Repository that holds this tree. Source: Infra analysis §5-1. */
  repositoryUrl: "https://github.com/YOUR_ORG/YOUR_REPO.git",
  /** Branch that Argo CD follows. Source: Infra analysis §5-1. */
  targetRevision: "main",
} as const;

/** Where the platform's parts run in the cluster: network policies and addresses name them. Source: Architecture guide §9.1. */
export const PLATFORM = {
  argoCdNamespace: "argocd",
  monitoringNamespace: "monitoring",
  rolloutsNamespace: "argo-rollouts",
  /** Label by which network policies know Prometheus, Zipkin and the Rollouts controller. */
  nameLabel: "app.kubernetes.io/name",
  prometheusName: "prometheus",
  zipkinName: "zipkin",
  rolloutsName: "argo-rollouts",
  zipkinPort: 9411,
  /** ClusterSecretStore that reads Secrets Manager. */
  secretStore: "aws-secrets-manager",
} as const;

/** ConfigMap, made by the platform stack in each environment's namespace, of what is known only after the infra stack's apply. */
export const ENDPOINTS_CONFIG_MAP = "urr-endpoints";

/** Keys of that ConfigMap, and the infra stack's output that fills each. */
export const ENDPOINTS = {
  RDS_PROXY_ENDPOINT: "rds_proxy_endpoint",
  /** Only where there is a replica. */
  RDS_REPLICA_ENDPOINT: "rds_replica_endpoint",
  REDIS_ENDPOINT: "redis_endpoint",
  KAFKA_BOOTSTRAP_SERVERS: "msk_bootstrap_brokers",
  SQS_QUEUE_URL: "sqs_queue_url",
} as const;

/** Key of an endpoint. */
export type Endpoint = keyof typeof ENDPOINTS;

/** Labels of every namespace that services run in: pods that break the restricted profile are refused. Source: AWS architecture §3.5. */
export const NAMESPACE_LABELS = {
  "pod-security.kubernetes.io/enforce": "restricted",
  "pod-security.kubernetes.io/audit": "restricted",
  "pod-security.kubernetes.io/warn": "restricted",
} as const;

/** Namespace of the development environment, on staging's cluster. Source: Infra analysis §3-2. */
export const DEV_NAMESPACE = "urr-dev";
/** Namespace of the laptop's cluster. Source: AWS architecture §9. */
export const KIND_NAMESPACE = "urr-spring";
