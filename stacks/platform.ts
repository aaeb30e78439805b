import { HelmProvider } from "@cdktf/provider-helm/lib/provider";
import { KubernetesProvider } from "@cdktf/provider-kubernetes/lib/provider";
import { DataTerraformRemoteStateS3, Fn, Token } from "cdktf";
import type { Construct } from "constructs";
import type { Environment } from "../environments/environment";
import { ENDPOINTS, ENDPOINTS_CONFIG_MAP, NAMESPACE_LABELS, PLATFORM } from "../environments/gitops";
import {
  CHARTS,
  EXTERNAL_SECRETS_NAMESPACE,
  IMAGES,
  JOBS_NAMESPACE,
  MSK_IAM_AUTH,
  type PlatformSettings,
  SERVICE_ACCOUNTS,
  TOPIC_REPLICATION,
  TOPIC_SETTINGS,
} from "../environments/platform";
import { DATABASES, SERVICES, targetGroupsOf } from "../environments/services";
import { ModularStack } from "../lib/terraform-modules";
import { ArgoCd } from "../platform/argo-cd";
import { ArgoRollouts } from "../platform/argo-rollouts";
import { Databases } from "../platform/databases";
import { ExternalSecrets } from "../platform/external-secrets";
import { KafkaTopics } from "../platform/kafka-topics";
import { Karpenter } from "../platform/karpenter";
import { LoadBalancerController, type TargetGroupBinding } from "../platform/load-balancer-controller";
import { MetricsServer } from "../platform/metrics-server";
import { MonitoringCrds } from "../platform/monitoring-crds";
import { type NamespaceProps, Namespaces } from "../platform/namespaces";
import { Observability } from "../platform/observability";
import { ServiceEndpoints } from "../platform/service-endpoints";
import { Storage } from "../platform/storage";
import type { PlatformRole } from "./platform-roles";
import { configureState, defaultTags } from "./terraform-settings";

/** Version of the credential format that `aws eks get-token` prints. */
const EXEC_API_VERSION = "client.authentication.k8s.io/v1beta1";
/** Node exporter and Alloy read the node's own files: what Pod Security forbids everywhere else. */
const MONITORING_LABELS = {
  "pod-security.kubernetes.io/enforce": "privileged",
  "pod-security.kubernetes.io/warn": "restricted",
};
/** Makes pods count as ready only once the load balancer has seen them healthy. Source: AWS Load Balancer Controller, "Pod readiness gate". */
const READINESS_GATE_LABEL = { "elbv2.k8s.aws/pod-readiness-gate-inject": "enabled" };
const BASELINE_LABELS = {
  "pod-security.kubernetes.io/enforce": "baseline",
  "pod-security.kubernetes.io/warn": "restricted",
};

/**
 * What runs in an environment's cluster beside the services: a stack of its own, because its providers need the cluster that the
 * infra stack makes. It reads that stack's outputs from its state. Source: Infra analysis §3, §5, AWS architecture §2.3, §10.1.
 */
export class PlatformStack extends ModularStack {
  constructor(scope: Construct, id: string, environment: Environment, settings: PlatformSettings) {
    super(scope, id);
    const { prefix, region } = environment;
    configureState(this, environment, settings.stateKey);
    const infra = new InfraOutputs(this, environment);
    this.configureProviders(infra, region);

    const clusterName = infra.text("eks_cluster_name");
    const role = (name: PlatformRole) => infra.entry("platform_role_arns", name);
    const { monitoringNamespace, rolloutsNamespace } = PLATFORM;
    const { controllerReplicas } = settings;

    const namespaces = new Namespaces(this, "namespaces", { namespaces: namespacesOf(settings) });
    const storage = new Storage(this, "storage");
    const monitoringCrds = new MonitoringCrds(this, "monitoring_crds", {
      chart: CHARTS.prometheusOperatorCrds,
      namespace: monitoringNamespace,
      dependsOn: [namespaces],
    });
    monitoringCrds.node.addDependency(namespaces);

    const karpenter = new Karpenter(this, "karpenter", {
      chart: CHARTS.karpenter,
      crdChart: CHARTS.karpenterCrd,
      clusterName,
      clusterEndpoint: infra.text("eks_cluster_endpoint"),
      interruptionQueue: infra.text("karpenter_queue_name"),
      roleArn: infra.text("karpenter_role_arn"),
      nodeRoleName: infra.text("eks_node_role_name"),
      ...settings.karpenter,
      tags: defaultTags(environment),
      dependsOn: [monitoringCrds],
    });

    new LoadBalancerController(this, "load_balancer_controller", {
      chart: CHARTS.loadBalancerController,
      clusterName,
      region,
      vpcId: infra.text("vpc_id"),
      ...SERVICE_ACCOUNTS.load_balancer_controller,
      roleArn: role("load_balancer_controller"),
      replicas: controllerReplicas,
      bindingsNamespace: environment.namespace,
      bindings: bindingsOf(infra),
      dependsOn: [namespaces, karpenter],
    });

    new MetricsServer(this, "metrics_server", { chart: CHARTS.metricsServer, replicas: controllerReplicas });

    const externalSecrets = new ExternalSecrets(this, "external_secrets", {
      chart: CHARTS.externalSecrets,
      region,
      ...SERVICE_ACCOUNTS.external_secrets,
      roleArn: role("external_secrets"),
      replicas: controllerReplicas,
      storeName: PLATFORM.secretStore,
      storeNamespaces: [environment.namespace],
      dependsOn: [namespaces, karpenter, monitoringCrds],
    });

    const databases = new Databases(this, "databases", {
      namespace: JOBS_NAMESPACE,
      region,
      image: IMAGES.postgresqlClient,
      host: infra.text("rds_proxy_endpoint"),
      roleArn: role("database_bootstrap"),
      masterSecretName: infra.text("rds_credentials_secret_name"),
      databases: DATABASES.map(({ name, user }) => ({ name, user, secret: `${prefix}/db-credentials/${user}` })),
      dependsOn: [externalSecrets],
    });

    const topics = new KafkaTopics(this, "kafka_topics", {
      namespace: JOBS_NAMESPACE,
      image: IMAGES.kafkaClient,
      downloadImage: IMAGES.download,
      bootstrapServers: infra.text("msk_bootstrap_brokers"),
      roleArn: role("kafka_topics"),
      replication: TOPIC_REPLICATION,
      topics: TOPIC_SETTINGS,
      iamAuth: MSK_IAM_AUTH,
      dependsOn: [namespaces, karpenter],
    });

    const endpoints = new ServiceEndpoints(this, "service_endpoints", {
      name: ENDPOINTS_CONFIG_MAP,
      namespace: environment.namespace,
      endpoints: endpointsOf(infra, environment),
      dependsOn: [namespaces],
    });

    const rollouts = new ArgoRollouts(this, "argo_rollouts", {
      chart: CHARTS.argoRollouts,
      namespace: rolloutsNamespace,
      replicas: controllerReplicas,
      dependsOn: [namespaces, karpenter, monitoringCrds],
    });

    // Last of what services need: from here on Argo CD deploys them.
    new ArgoCd(this, "argo_cd", {
      chart: CHARTS.argoCd,
      namespace: PLATFORM.argoCdNamespace,
      replicas: controllerReplicas,
      applications: settings.applications,
      dependsOn: [databases, topics, endpoints, rollouts],
    });

    new Observability(this, "observability", {
      namespace: monitoringNamespace,
      charts: CHARTS,
      prometheus: {
        clusterName,
        region,
        storageClassName: storage.storageClassName,
        serviceNamespaces: environment.namespaces,
        prometheusRoleArn: infra.text("prometheus_role_arn"),
        remoteWriteUrl: infra.text("amp_remote_write_endpoint"),
        alertmanagerRoleArn: role("alertmanager"),
        alarmTopicArn: infra.text("alarm_topic_arn"),
        alertmanagerReplicas: settings.alertmanagerReplicas,
        grafanaRoleArn: role("grafana_in_cluster"),
        ...settings.prometheus,
      },
      loki: { storageClassName: storage.storageClassName, ...settings.loki },
      zipkin: {
        image: IMAGES.zipkin,
        storage: settings.zipkin.storage,
        ...(settings.zipkin.storage === "elasticsearch" && {
          elasticsearch: { image: IMAGES.elasticsearch, storageGib: settings.zipkin.storageGib },
        }),
      },
      namespaces,
      dependsOn: [namespaces, karpenter, monitoringCrds],
    });
  }

  /** Short-lived credentials from the caller's AWS identity, which the cluster must know as an administrator. */
  private configureProviders(infra: InfraOutputs, region: string): void {
    const cluster = {
      host: infra.text("eks_cluster_endpoint"),
      clusterCaCertificate: Fn.base64decode(infra.text("eks_cluster_certificate_authority_data")),
    };
    const exec = {
      apiVersion: EXEC_API_VERSION,
      command: "aws",
      args: [
        "eks",
        "get-token",
        "--output",
        "json",
        "--region",
        region,
        "--cluster-name",
        infra.text("eks_cluster_name"),
      ],
    };
    new KubernetesProvider(this, "kubernetes", { ...cluster, exec: [exec] });
    new ClusterHelmProvider(this, "helm", { kubernetes: { ...cluster, exec } });
  }
}

/** The provider takes its nested settings as attributes; the bindings, in native syntax, take them for blocks. */
class ClusterHelmProvider extends HelmProvider {
  protected override synthesizeHclAttributes(): Record<string, unknown> {
    return attributesOf(super.synthesizeHclAttributes()) as Record<string, unknown>;
  }
}

/** The same values, none of them a block. */
function attributesOf(value: unknown): unknown {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  const entries = Object.entries(value).map(([key, item]) => [key, attributesOf(item)]);
  return { ...Object.fromEntries(entries), ...("isBlock" in value && { isBlock: false }) };
}

/** Outputs of the infra stack that the platform reads. */
export const INFRA_OUTPUTS = [
  "vpc_id",
  "eks_cluster_name",
  "eks_cluster_endpoint",
  "eks_cluster_certificate_authority_data",
  "eks_node_role_name",
  "karpenter_role_arn",
  "karpenter_queue_name",
  "platform_role_arns",
  "rds_credentials_secret_name",
  "target_group_arns",
  "prometheus_role_arn",
  "amp_remote_write_endpoint",
  "alarm_topic_arn",
  ...Object.values(ENDPOINTS),
] as const;

type InfraOutput = (typeof INFRA_OUTPUTS)[number];

/** The infra stack's outputs, read from its state. */
class InfraOutputs {
  private readonly state: DataTerraformRemoteStateS3;

  constructor(stack: ModularStack, { region, state }: Environment) {
    this.state = new DataTerraformRemoteStateS3(stack, "infra", { bucket: state.bucket, key: state.key, region });
  }

  text(output: InfraOutput): string {
    return this.state.getString(output);
  }

  /** One entry of an output that is a map. */
  entry(output: InfraOutput, key: string): string {
    return Token.asString(Fn.lookupNested(this.state.get(output), [key]));
  }
}

/** Namespaces of services and platform. Pods of services must keep the restricted profile. Source: AWS architecture §3.5. */
function namespacesOf({ quotas }: PlatformSettings): NamespaceProps[] {
  return [
    ...Object.entries(quotas).map(([name, quota]) => ({
      name,
      labels: { ...NAMESPACE_LABELS, ...READINESS_GATE_LABEL },
      quota,
    })),
    { name: JOBS_NAMESPACE, labels: NAMESPACE_LABELS },
    { name: EXTERNAL_SECRETS_NAMESPACE, labels: NAMESPACE_LABELS },
    { name: PLATFORM.argoCdNamespace, labels: BASELINE_LABELS },
    { name: PLATFORM.rolloutsNamespace, labels: BASELINE_LABELS },
    { name: PLATFORM.monitoringNamespace, labels: MONITORING_LABELS },
  ];
}

/** Pods of each service behind a load balancer, in its target group. */
function bindingsOf(infra: InfraOutputs): TargetGroupBinding[] {
  return SERVICES.flatMap((service) =>
    targetGroupsOf(service).map((name) => ({
      name,
      service: service.name,
      port: service.port,
      targetGroupArn: infra.entry("target_group_arns", name),
    })),
  );
}

/** Addresses by the keys under which the GitOps tree reads them; the replica's only where there is one. */
function endpointsOf(infra: InfraOutputs, { rds }: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(ENDPOINTS)
      .filter(([, output]) => rds.readReplica || output !== "rds_replica_endpoint")
      .map(([key, output]) => [key, infra.text(output)]),
  );
}
