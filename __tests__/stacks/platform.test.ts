import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { CHARTS } from "../../environments/platform";
import { SERVICES, TOPICS } from "../../environments/services";
import { hclOf, type Json, type JsonObject, type RenderedStack } from "../../lib/terraform-modules";
import { buildApp } from "../../main";
import { canRunTerraform } from "../support/real-terraform";
import {
  outputsOf,
  type PlannedRelease,
  PlatformWorkspace,
  releasesOf,
  renderCharts,
  stateOf,
} from "./platform-workspace";

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [key: string]: unknown };
  readonly spec: JsonObject;
}

const stacks = new Map(
  buildApp()
    .render()
    .map((rendered) => [rendered.stack.node.id, rendered]),
);

function rendered(name: string): RenderedStack {
  const found = stacks.get(name);
  if (!found) throw new Error(`no stack ${name}`);
  return found;
}

/** Values of a release as written, with what is unknown in its place. */
function valuesOf(stack: string, module: string, release: string): JsonObject {
  const resources = rendered(stack).emitted.modules.get(module)?.resource as Record<string, Record<string, JsonObject>>;
  const values = resources.helm_release?.[release]?.values as Json[] | undefined;
  return JSON.parse(String(values?.[0])) as JsonObject;
}

/** Everything that a stack reads from the infra stack's state, as `output` or `output["key"]`. */
function readOutputs(stack: string): string[] {
  const text = JSON.stringify(rendered(stack).flat).replaceAll(/\\+"/g, '"');
  const found = text.matchAll(/data\.terraform_remote_state\.infra\.outputs\.(\w+)(?:\.(\w+)|\["([^"]+)"\])?/g);
  const names = [...found].map(([, output, attribute, index]) => {
    const key = attribute ?? index;
    return key === undefined ? `${output}` : `${output}["${key}"]`;
  });
  return [...new Set(names)].sort();
}

const hasProviders = canRunTerraform("validate and plan of the platform stacks", ["helm", "kubernetes"]);

describe.each(["staging", "prod"])("platform stack of %s", (environment) => {
  const name = `${environment}-platform`;
  const root = rendered(name).emitted.root;

  it("keeps its state beside the infra stack's, in a file of its own, with the same locks", () => {
    expect((root.terraform as { backend: Json }).backend).toEqual({
      s3: {
        bucket: `urr-terraform-state-${environment}`,
        key: `${environment}/platform.tfstate`,
        region: "ap-northeast-2",
        dynamodb_table: "urr-terraform-locks",
        encrypt: true,
        use_lockfile: true,
      },
    });
  });

  it("reads the infra stack's own state and nothing else", () => {
    expect(root.data).toEqual({
      terraform_remote_state: {
        infra: {
          backend: "s3",
          config: {
            bucket: `urr-terraform-state-${environment}`,
            key: `${environment}/terraform.tfstate`,
            region: "ap-northeast-2",
          },
        },
      },
    });
  });

  it("reads only outputs that the infra stack declares, down to the keys of maps", () => {
    const declared = outputsOf(rendered(environment));
    const known = Object.entries(declared).flatMap(([output, value]) => [
      output,
      ...(typeof value === "object" && value !== null ? Object.keys(value).map((key) => `${output}["${key}"]`) : []),
    ]);
    expect(known).toEqual(expect.arrayContaining(readOutputs(name)));
    expect(readOutputs(name)).toEqual(
      expect.arrayContaining([
        "eks_cluster_endpoint",
        'platform_role_arns["database_bootstrap"]',
        'target_group_arns["internal-ticket-service"]',
      ]),
    );
  });

  it("logs in by short-lived tokens of the caller's AWS identity, and keeps no credentials", () => {
    const { helm, kubernetes } = root.provider as { helm: JsonObject[]; kubernetes: JsonObject[] };
    const exec = {
      api_version: "client.authentication.k8s.io/v1beta1",
      command: "aws",
      args: [
        "eks",
        "get-token",
        "--output",
        "json",
        "--region",
        "ap-northeast-2",
        "--cluster-name",
        "${data.terraform_remote_state.infra.outputs.eks_cluster_name}",
      ],
    };
    const cluster = {
      host: "${data.terraform_remote_state.infra.outputs.eks_cluster_endpoint}",
      cluster_ca_certificate:
        "${base64decode(data.terraform_remote_state.infra.outputs.eks_cluster_certificate_authority_data)}",
    };
    expect(kubernetes).toEqual([{ ...cluster, exec: [exec] }]);
    expect(helm).toEqual([{ kubernetes: { ...cluster, exec } }]);
  });

  it("needs no running cluster for its first plan: custom resources come by charts, none by kubernetes_manifest", () => {
    const types = Object.keys(rendered(name).flat.resource as JsonObject);
    expect(types).not.toContain("kubernetes_manifest");
    expect(types).toContain("helm_release");
  });

  it("pins every public chart to one version", () => {
    const releases = Object.values((rendered(name).flat.resource as Record<string, JsonObject>).helm_release ?? {});
    const charts = (releases as JsonObject[]).filter(({ repository }) => repository !== undefined);
    expect(charts.map(({ chart, repository, version }) => ({ name: chart, repository, version }))).toEqual(
      expect.arrayContaining(
        Object.values(CHARTS).map(({ name, repository, version }) => ({ name, repository, version })),
      ),
    );
    expect(charts).toHaveLength(Object.keys(CHARTS).length);
    for (const { version } of charts) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it("is exported to native syntax with its charts, and the Helm provider's settings as the attributes that they are", () => {
    const files = hclOf(rendered(name));
    expect(String(files.get("providers.tf"))).toMatch(/provider "helm" \{\n {2}kubernetes = \{/);
    const charts = (paths: Iterable<string>) => [...paths].filter((path) => path.startsWith("assets/charts/")).sort();
    expect(charts(files.keys())).toEqual(charts(rendered(name).files.keys()));
  });

  it("writes no unresolved token and no JavaScript artefact", () => {
    for (const [path, content] of rendered(name).files) {
      if (path.endsWith(".tf.json"))
        expect(content.toString(), path).not.toMatch(/TfToken|TOKEN\.|\[object |undefined|NaN/);
    }
  });

  it("gives Karpenter its interruption queue and the role that the infra stack trusts for kube-system/karpenter", () => {
    const values = valuesOf(name, "karpenter", "controller");
    expect(values).toMatchObject({
      serviceAccount: { name: "karpenter" },
      settings: { eksControlPlane: true },
      replicas: environment === "prod" ? 2 : 1,
    });
    expect(JSON.stringify(values)).toMatch(/"interruptionQueue":"\$\{var\.[a-z_]*karpenter_queue_name\}"/);
  });

  it("tells the load balancer controller its Region and VPC, which pods cannot ask the node for", () => {
    const values = valuesOf(name, "load-balancer-controller", "controller");
    expect(values.region).toBe("ap-northeast-2");
    expect(String(values.vpcId)).toContain("vpc_id");
    expect(values.enableServiceMutatorWebhook).toBe(false);
  });

  it("writes metrics to Managed Prometheus, signed by the role that the infra stack trusts", () => {
    const { prometheus } = valuesOf(name, "observability", "kube_prometheus_stack") as {
      prometheus: { serviceAccount: { name: string }; prometheusSpec: { remoteWrite: JsonObject[] } };
    };
    // Source: Infra analysis §2-13, system:serviceaccount:monitoring:kube-prometheus-stack-prometheus.
    expect(prometheus.serviceAccount.name).toBe("kube-prometheus-stack-prometheus");
    expect(prometheus.prometheusSpec.remoteWrite).toHaveLength(1);
    expect(prometheus.prometheusSpec.remoteWrite[0]).toMatchObject({ sigv4: { region: "ap-northeast-2" } });
    expect(String(prometheus.prometheusSpec.remoteWrite[0]?.url)).toContain("amp_remote_write_endpoint");
  });

  it("keeps traces in Elasticsearch in production and in memory elsewhere", () => {
    expect(valuesOf(name, "observability", "zipkin").storage).toBe(environment === "prod" ? "elasticsearch" : "memory");
  });

  it("gives Argo CD the Applications of its own cluster", () => {
    const files = [...rendered(name).files.keys()]
      .filter((path) => path.includes("/argo-applications/") && path.includes("/applications/"))
      .map((path) => path.split("/").at(-1));
    // Source: settled with Infra analysis §5-1: dev and staging on the staging cluster, prod on its own.
    expect(files.sort()).toEqual(
      environment === "prod" ? ["urr-spring-prod.yaml"] : ["urr-spring-dev.yaml", "urr-spring-staging.yaml"],
    );
  });
});

describe.skipIf(!hasProviders).each(["staging", "prod"])(
  "real Terraform on the platform stack of %s",
  (environment) => {
    const name = `${environment}-platform`;
    let workspace: PlatformWorkspace;
    let releases: PlannedRelease[];
    let manifests: Manifest[];
    let planned: ReturnType<PlatformWorkspace["plan"]>["resource_changes"];

    beforeAll(() => {
      workspace = new PlatformWorkspace(rendered(name), stateOf(outputsOf(rendered(environment))));
      workspace.init();
      const plan = workspace.plan();
      planned = plan.resource_changes;
      releases = releasesOf(plan);
      manifests = Object.values(renderCharts(workspace, releases))
        .flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as Manifest | null))
        .filter((manifest) => manifest !== null);
    }, 300_000);

    afterAll(() => workspace.dispose());

    function one(kind: string, objectName: string): Manifest {
      const found = manifests.filter((manifest) => manifest.kind === kind && manifest.metadata.name === objectName);
      expect(found, `${kind} ${objectName}`).toHaveLength(1);
      return found[0] as Manifest;
    }

    function ofKind(kind: string): Manifest[] {
      return manifests.filter((manifest) => manifest.kind === kind);
    }

    it("is valid", () => {
      expect(JSON.parse(workspace.terraform("validate", "-json").stdout)).toMatchObject({
        valid: true,
        diagnostics: [],
      });
    });

    it("creates everything in a first plan, for which no cluster answers", () => {
      for (const { address, change } of planned) expect(change.actions, address).toEqual(["create"]);
      expect(planned.length).toBeGreaterThan(30);
    });

    it("fails to plan when the infra stack does not tell what it needs", () => {
      const { platform_role_arns: _, ...others } = outputsOf(rendered(environment));
      const broken = new PlatformWorkspace(rendered(name), stateOf(others));
      try {
        broken.init();
        const { status, stderr } = broken.terraform("plan", "-input=false", "-no-color");
        expect(status).toBe(1);
        expect(stderr).toContain("platform_role_arns");
      } finally {
        broken.dispose();
      }
    });

    it("starts the documented nodes and no more", () => {
      const { spec } = one("NodePool", "default") as unknown as {
        spec: {
          template: {
            spec: { requirements: { key: string; operator: string; values: string[] }[]; nodeClassRef: Json };
          };
          limits: Json;
          disruption: { consolidationPolicy: string; consolidateAfter: string };
        };
      };
      const requirement = (key: string) => spec.template.spec.requirements.find((candidate) => candidate.key === key);
      // Source of each: Infra analysis §2-2, AWS architecture §2.3.
      expect(requirement("node.kubernetes.io/instance-type")).toEqual({
        key: "node.kubernetes.io/instance-type",
        operator: "In",
        values: ["t3.medium", "t3.large", "t3.xlarge", "m5.large", "m5.xlarge"],
      });
      expect(requirement("karpenter.sh/capacity-type")?.values.sort()).toEqual(["on-demand", "spot"]);
      expect(requirement("kubernetes.io/arch")?.values).toEqual(["amd64"]);
      expect(spec.limits).toEqual({ cpu: "32", memory: "64Gi" });
      expect(spec.disruption).toMatchObject({
        consolidationPolicy: "WhenEmptyOrUnderutilized",
        consolidateAfter: "60s",
      });
      expect(spec.template.spec.nodeClassRef).toEqual({
        group: "karpenter.k8s.aws",
        kind: "EC2NodeClass",
        name: "default",
      });
    });

    it("sets nodes up as documented, found by the cluster's discovery tag and closed to pods' metadata questions", () => {
      const discovery = [{ tags: { "karpenter.sh/discovery": "eks_cluster_name" } }];
      expect(one("EC2NodeClass", "default").spec).toMatchObject({
        role: "eks_node_role_name",
        amiSelectorTerms: [{ alias: "al2023@latest" }],
        subnetSelectorTerms: discovery,
        securityGroupSelectorTerms: discovery,
        blockDeviceMappings: [{ ebs: { volumeType: "gp3", volumeSize: "30Gi", encrypted: true } }],
        metadataOptions: { httpTokens: "required", httpPutResponseHopLimit: 1 },
        tags: { Project: "URR", Environment: environment, ManagedBy: "Terraform" },
      });
    });

    it("registers the pods of every target group that the infra stack made, by address", () => {
      const groups = outputsOf(rendered(environment)).target_group_arns as Record<string, string>;
      const bindings = ofKind("TargetGroupBinding").map(({ metadata: { namespace }, spec }) => ({
        namespace,
        ...spec,
      }));
      expect(bindings).toHaveLength(Object.keys(groups).length);
      const service = (binding: string) => SERVICES.find((candidate) => binding.endsWith(candidate.name));
      for (const [group, arn] of Object.entries(groups)) {
        expect(bindings).toContainEqual({
          namespace: environment === "prod" ? "urr-spring" : "urr-staging",
          targetGroupARN: arn,
          targetType: "ip",
          serviceRef: { name: service(group)?.name, port: service(group)?.port },
        });
      }
    });

    it("lets only the services' namespace use the store of secrets", () => {
      expect(one("ClusterSecretStore", "aws-secrets-manager").spec).toEqual({
        conditions: [{ namespaces: [environment === "prod" ? "urr-spring" : "urr-staging"] }],
        provider: { aws: { service: "SecretsManager", region: "ap-northeast-2" } },
      });
    });

    it("reads the master user's credentials as the bootstrap job alone", () => {
      const store = one("SecretStore", "database-bootstrap");
      expect(store.metadata.namespace).toBe("urr-platform");
      expect(store.spec).toMatchObject({
        provider: { aws: { auth: { jwt: { serviceAccountRef: { name: "database-bootstrap" } } } } },
      });
      const account = one("ServiceAccount", "database-bootstrap");
      expect(account.metadata.annotations).toEqual({
        "eks.amazonaws.com/role-arn": "platform_role_arns/database_bootstrap",
      });
      const users = ofKind("ExternalSecret").filter(({ spec }) => JSON.stringify(spec).includes("rds_credentials"));
      expect(users.map(({ metadata }) => metadata.name)).toEqual(["database-bootstrap"]);
    });

    it("makes the six documented databases through the proxy", () => {
      const { spec } = ofKind("Job").find(({ metadata }) => metadata.name.startsWith("database-bootstrap")) as Manifest;
      const [container] = (
        spec as unknown as { template: { spec: { containers: { env: { name: string; value?: string }[] }[] } } }
      ).template.spec.containers;
      const value = (name: string) => container?.env.find((variable) => variable.name === name)?.value;
      expect(value("PGHOST")).toBe("rds_proxy_endpoint");
      expect(value("PGSSLMODE")).toBe("require");
      // Source: Architecture guide §8.1.
      expect(value("DATABASES")?.split("\n").sort()).toEqual([
        "auth_db auth",
        "catalog_db catalog",
        "community_db community",
        "payment_db payment",
        "stats_db stats",
        "ticket_db ticket",
      ]);
    });

    it("makes the four documented topics and a dead-letter topic of each, on both brokers", () => {
      const { spec } = ofKind("Job").find(({ metadata }) => metadata.name.startsWith("kafka-topics")) as Manifest;
      const [container] = (
        spec as unknown as { template: { spec: { containers: { env: { name: string; value?: string }[] }[] } } }
      ).template.spec.containers;
      const value = (name: string) => container?.env.find((variable) => variable.name === name)?.value;
      expect(value("REPLICATION")).toBe("2");
      expect(value("TOPICS")?.split("\n")).toEqual([
        ...TOPICS.map((topic) => `${topic} 3`),
        ...TOPICS.map((topic) => `${topic}.DLT 3 retention.ms=1209600000`),
      ]);
    });

    it("runs its own pods without any right that they do not need", () => {
      const pods = ["Job", "Deployment", "StatefulSet"].flatMap(ofKind);
      expect(pods.length).toBeGreaterThanOrEqual(3);
      for (const { metadata, spec } of pods) {
        const pod = (spec as unknown as { template: { spec: JsonObject } }).template.spec as unknown as {
          automountServiceAccountToken: boolean;
          securityContext: JsonObject;
          containers: { securityContext: JsonObject; resources: JsonObject; image: string }[];
          initContainers?: { securityContext: JsonObject; resources: JsonObject; image: string }[];
        };
        expect(pod.automountServiceAccountToken, metadata.name).toBe(false);
        expect(pod.securityContext, metadata.name).toMatchObject({
          runAsNonRoot: true,
          seccompProfile: { type: "RuntimeDefault" },
        });
        for (const container of [...pod.containers, ...(pod.initContainers ?? [])]) {
          expect(container.securityContext, metadata.name).toMatchObject({
            allowPrivilegeEscalation: false,
            capabilities: { drop: ["ALL"] },
          });
          expect(Object.keys(container.resources).sort(), metadata.name).toEqual(["limits", "requests"]);
          expect(container.image, metadata.name).toMatch(/:\d+\.\d+(\.\d+)?$/);
        }
      }
    });

    it("brings every rule file as a PrometheusRule, its templates untouched", () => {
      const rules = ofKind("PrometheusRule");
      expect(rules.map(({ metadata }) => metadata.name).sort()).toEqual(
        ["database", "gateway", "jvm", "kafka", "nodes", "services", "waiting-room"].map((file) => `urr-${file}`),
      );
      expect(JSON.stringify(rules)).toContain("{{ $labels.service }}");
    });

    it("brings every dashboard as a ConfigMap that Grafana's sidecar finds", () => {
      const dashboards = planned
        .filter(({ address }) => address.includes("config_map_v1.dashboard_"))
        .map(({ change: { after } }) => after as { data: Record<string, string>; metadata: JsonObject[] });
      expect(dashboards.flatMap(({ data }) => Object.keys(data)).sort()).toEqual(
        ["database", "gateway", "jvm", "kafka", "nodes", "waiting-room"].map((file) => `${file}.json`),
      );
      for (const { data, metadata } of dashboards) {
        expect(metadata[0]).toMatchObject({ namespace: "monitoring", labels: { grafana_dashboard: "1" } });
        for (const text of Object.values(data)) expect(JSON.parse(text)).toHaveProperty("panels");
      }
    });

    it("makes the services' namespaces refuse pods that break the restricted profile, and gives each a quota", () => {
      const namespaces = planned
        .filter(({ type }) => type === "kubernetes_namespace_v1")
        .map(({ change }) => (change.after.metadata as JsonObject[])[0] as { name: string; labels: JsonObject });
      const services = environment === "prod" ? ["urr-spring"] : ["urr-staging", "urr-dev"];
      for (const namespace of [...services, "urr-platform", "external-secrets"]) {
        expect(namespaces.find((candidate) => candidate.name === namespace)?.labels).toMatchObject({
          "pod-security.kubernetes.io/enforce": "restricted",
        });
      }
      const quotas = planned.filter(({ type }) => type === "kubernetes_resource_quota_v1");
      expect(quotas.map(({ change }) => (change.after.metadata as JsonObject[])[0]?.name)).toEqual(
        services.map(() => "default"),
      );
    });

    it("tells services the addresses that AWS gave, under the keys that the GitOps tree reads", () => {
      const [endpoints] = planned.filter(({ address }) => address.includes("service_endpoints"));
      expect(endpoints?.change.after.data).toEqual({
        RDS_PROXY_ENDPOINT: "rds_proxy_endpoint",
        ...(environment === "prod" && { RDS_REPLICA_ENDPOINT: "rds_replica_endpoint" }),
        REDIS_ENDPOINT: "redis_endpoint",
        KAFKA_BOOTSTRAP_SERVERS: "msk_bootstrap_brokers",
        SQS_QUEUE_URL: "sqs_queue_url",
      });
    });
  },
);

describe("quotas", () => {
  it.each([
    ["prod", "urr-spring"],
    ["staging", "urr-staging"],
  ] as const)("of %s admit every service at its most, with a second copy of what is deployed blue-green", (environment, namespace) => {
    const resources = rendered(`${environment}-platform`).emitted.modules.get("namespaces")?.resource as Record<
      string,
      Record<string, { spec: { hard: Record<string, string> } }>
    >;
    const hard = resources.kubernetes_resource_quota_v1?.[namespace.replaceAll("-", "_")]?.spec.hard ?? {};
    const needed = SERVICES.reduce(
      (sum, { autoscaling, blueGreen, replicas, resources: { limits, requests } }) => {
        const most = environment === "prod" ? (autoscaling?.maxReplicas ?? replicas.prod) : replicas.staging;
        const pods = environment === "prod" && blueGreen ? most * 2 : most + 1;
        return {
          pods: sum.pods + pods,
          cpu: sum.cpu + (pods * requests.cpuMillicores) / 1000,
          memory: sum.memory + (pods * requests.memoryMib) / 1024,
          limit: sum.limit + (pods * limits.memoryMib) / 1024,
        };
      },
      { pods: 0, cpu: 0, memory: 0, limit: 0 },
    );
    expect(Number(hard.pods)).toBeGreaterThanOrEqual(needed.pods);
    expect(Number(hard["requests.cpu"])).toBeGreaterThanOrEqual(needed.cpu);
    expect(Number.parseFloat(String(hard["requests.memory"]))).toBeGreaterThanOrEqual(needed.memory);
    expect(Number.parseFloat(String(hard["limits.memory"]))).toBeGreaterThanOrEqual(needed.limit);
    expect(Number(hard.pods)).toBeLessThan(needed.pods * 1.5);
  });
});
