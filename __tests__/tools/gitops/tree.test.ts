import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { SERVICES } from "../../../environments/services";
import { differences, treeOf, writeTree } from "../../../tools/gitops";
import { localSecrets } from "../../../tools/gitops/local-secrets";
import { OVERLAYS, type OverlayName } from "../../../tools/gitops/overlay";
import { renderTree, sameContent } from "../../../tools/gitops/tree";
import { additions, baseObjects, isWorkload, kustomization, named, objectsIn, ofKind, TREE } from "./objects";

const REPOSITORY = path.resolve(import.meta.dirname, "../../..");
const BLUE_GREEN = ["gateway-service", "payment-service", "queue-service", "ticket-service"];
const BACKENDS = SERVICES.filter(({ name }) => name !== "frontend");
const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A copy of the committed tree that a test may spoil. */
function checkout(): string {
  const folder = mkdtempSync(path.join(tmpdir(), "urr-gitops-"));
  folders.push(folder);
  for (const part of ["k8s", ".github"])
    cpSync(path.join(REPOSITORY, part), path.join(folder, part), { recursive: true });
  return folder;
}

function patches(overlay: OverlayName, file: string) {
  return TREE.has(`k8s/spring/overlays/${overlay}/patches/${file}`)
    ? objectsIn(`k8s/spring/overlays/${overlay}/patches/${file}`)
    : [];
}

describe("the committed tree", () => {
  it("is what the catalogue gives", () => {
    expect(differences(REPOSITORY, treeOf(REPOSITORY))).toEqual([]);
  });

  it("is rendered the same, byte for byte, a second time", () => {
    expect([...renderTree(() => undefined)]).toEqual([...TREE]);
  });

  it("has the documented folders and files", () => {
    expect([...TREE.keys()]).toEqual(
      expect.arrayContaining([
        "k8s/spring/base/kustomization.yaml",
        "k8s/spring/base/ticket-service/deployment.yaml",
        "k8s/spring/base/ticket-service/service.yaml",
        "k8s/spring/base/network-policies.yaml",
        "k8s/spring/overlays/dev/kustomization.yaml",
        "k8s/spring/overlays/staging/kustomization.yaml",
        "k8s/spring/overlays/prod/kustomization.yaml",
        "k8s/spring/overlays/prod/hpa.yaml",
        "k8s/spring/overlays/prod/pdb.yaml",
        "k8s/spring/overlays/prod/rollouts/ticket-service.yaml",
        "k8s/spring/overlays/prod/preview-services.yaml",
        "k8s/spring/overlays/prod/analysis-template.yaml",
        "k8s/argocd/applications/urr-spring-prod.yaml",
      ]),
    );
  });

  it("puts the overlays into their documented namespaces", () => {
    expect(OVERLAYS.map(({ name }) => [name, kustomization(name).namespace])).toEqual([
      ["dev", "urr-dev"],
      ["staging", "urr-staging"],
      ["prod", "urr-spring"],
      ["kind", "urr-spring"],
    ]);
  });

  it("makes the documented ConfigMaps under their own names, and no Secret from a file", () => {
    expect(OVERLAYS.map(({ name }) => kustomization(name).configMapGenerator)).toEqual(
      OVERLAYS.map(({ name }) => [{ name: `spring-${name}-config`, envs: ["config.env"] }]),
    );
    for (const { name } of OVERLAYS) {
      expect(kustomization(name).generatorOptions).toEqual({ disableNameSuffixHash: true });
      expect(kustomization(name).secretGenerator).toBeUndefined();
    }
    expect([...TREE.keys()].filter((file) => file.endsWith(".env")).map((file) => path.basename(file))).toEqual(
      OVERLAYS.map(() => "config.env"),
    );
  });
});

describe("npm run gitops", () => {
  it("tells of a changed, a missing and a foreign file, and puts all three right", () => {
    const root = checkout();
    writeFileSync(path.join(root, "k8s/spring/overlays/prod/hpa.yaml"), "kind: Nothing\n");
    rmSync(path.join(root, "k8s/spring/overlays/prod/pdb.yaml"));
    writeFileSync(path.join(root, "k8s/spring/base/left-over.yaml"), "kind: Nothing\n");
    expect(differences(root, treeOf(root))).toEqual([
      "k8s/spring/base/left-over.yaml: is not part of the tree",
      "k8s/spring/overlays/prod/hpa.yaml: differs from what the catalogue gives",
      "k8s/spring/overlays/prod/pdb.yaml: is missing",
    ]);
    expect(writeTree(root, treeOf(root))).toHaveLength(3);
    expect(differences(root, treeOf(root))).toEqual([]);
    expect(writeTree(root, treeOf(root))).toEqual([]);
  });

  it("leaves what is not its own alone", () => {
    const root = checkout();
    writeFileSync(path.join(root, "k8s/other.yaml"), "kind: Other\n");
    expect(differences(root, treeOf(root))).toEqual([]);
  });

  it("keeps the tags of released images, as text, and nothing else of an overlay's kustomization", () => {
    const released = `images:\n  - name: ticket-service\n    newName: elsewhere/ticket-service\n    newTag: "0123456"\n  - name: gone\n    newTag: x\n`;
    const tree = renderTree((file) => (file.endsWith("prod/kustomization.yaml") ? released : undefined));
    const { images } = kustomization("prod", tree);
    const registry = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/urr";
    expect(images).toHaveLength(9);
    expect(images).toContainEqual({ name: "ticket-service", newName: `${registry}/ticket-service`, newTag: "0123456" });
    expect(images).toContainEqual({ name: "frontend", newName: `${registry}/frontend`, newTag: "unreleased" });
    expect(kustomization("staging", tree).images).toEqual(kustomization("staging").images);
  });

  it("does not mind the layout of a kustomization file, but any other difference", () => {
    const file = "k8s/spring/overlays/prod/kustomization.yaml";
    expect(sameContent(file, "b: 1\na: [1, 2]\n", "# comment\na:\n  - 1\n  - 2\nb: 1\n")).toBe(true);
    expect(sameContent(file, "a: [2, 1]\n", "a: [1, 2]\n")).toBe(false);
    expect(sameContent(file, "a: [1, 2", "a: [1, 2]\n")).toBe(false);
    expect(sameContent("k8s/spring/base/x.yaml", "a: 1\n\n", "a: 1\n")).toBe(false);
    expect(sameContent(file, undefined, "a: 1\n")).toBe(false);
  });
});

describe("each service's pods", () => {
  it.each(BACKENDS.map(({ name }) => name))("of %s are probed and measured as documented", (name) => {
    const { spec } = named(baseObjects(), "Deployment", name);
    const { metadata, spec: pod } = spec.template;
    const [container] = pod.containers;
    const live = { path: "/actuator/health/liveness", port: "http" };
    expect(container.startupProbe).toEqual({ httpGet: live, failureThreshold: 30, periodSeconds: 5 });
    expect(container.livenessProbe).toEqual({ httpGet: live, periodSeconds: 20 });
    expect(container.readinessProbe).toEqual({
      httpGet: { path: "/actuator/health/readiness", port: "http" },
      periodSeconds: 10,
    });
    expect(metadata.annotations).toEqual({
      "prometheus.io/scrape": "true",
      "prometheus.io/path": "/actuator/prometheus",
      "prometheus.io/port": `${container.ports[0].containerPort}`,
    });
    expect(metadata.labels).toEqual({ app: name, tier: "backend" });
  });

  it("of the frontend, which is no Spring service, are probed on its health path", () => {
    const [container] = named(baseObjects(), "Deployment", "frontend").spec.template.spec.containers;
    for (const probe of [container.startupProbe, container.livenessProbe, container.readinessProbe])
      expect(probe.httpGet.path).toBe("/health");
  });

  it("run as user 1000 without any privilege, on a root that cannot be written", () => {
    for (const { spec } of ofKind(baseObjects(), "Deployment")) {
      const { containers, securityContext, ...pod } = spec.template.spec;
      expect(securityContext).toEqual({
        runAsNonRoot: true,
        runAsUser: 1000,
        runAsGroup: 1000,
        fsGroup: 1000,
        seccompProfile: { type: "RuntimeDefault" },
      });
      expect(containers[0].securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      expect(containers[0].volumeMounts).toContainEqual({ name: "tmp", mountPath: "/tmp" });
      expect(pod.automountServiceAccountToken).toBe(false);
    }
  });

  it("are promised their documented resources", () => {
    const resources = Object.fromEntries(
      ofKind(baseObjects(), "Deployment").map(({ metadata, spec }) => [
        metadata.name,
        spec.template.spec.containers[0].resources,
      ]),
    );
    expect(resources["ticket-service"]).toEqual({
      requests: { cpu: "200m", memory: "256Mi" },
      limits: { cpu: "1", memory: "1Gi" },
    });
    expect(resources["queue-service"]).toEqual({
      requests: { cpu: "250m", memory: "384Mi" },
      limits: { cpu: "500m", memory: "512Mi" },
    });
    expect(resources["catalog-service"]).toEqual({
      requests: { cpu: "100m", memory: "256Mi" },
      limits: { cpu: "500m", memory: "512Mi" },
    });
  });

  it("leave only when nobody sends to them any more, and with the time that this takes", () => {
    for (const { metadata, spec } of ofKind(baseObjects(), "Deployment")) {
      const { containers, terminationGracePeriodSeconds } = spec.template.spec;
      const drain = containers[0].lifecycle.preStop.sleep.seconds;
      const isBehindBalancer = ["frontend", "gateway-service", "ticket-service"].includes(metadata.name);
      expect(drain, metadata.name).toBe(isBehindBalancer ? 30 : 5);
      expect(terminationGracePeriodSeconds, metadata.name).toBeGreaterThan(drain + 25);
    }
  });

  it("are replaced one by one, the new one first", () => {
    for (const { spec } of ofKind(baseObjects(), "Deployment"))
      expect(spec.strategy.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 });
  });

  it.each([
    "staging",
    "prod",
  ] as const)("of %s are spread over zones, forced where there are two or more", (overlay) => {
    const workloads = [...patches(overlay, "topology-spread.yaml"), ...ofKind(additions(overlay), "Rollout")];
    const forced = workloads.filter(({ spec }) => {
      const [constraint, ...others] = spec.template.spec.topologySpreadConstraints;
      expect(others).toEqual([]);
      expect(constraint).toMatchObject({ maxSkew: 1, topologyKey: "topology.kubernetes.io/zone" });
      return constraint.whenUnsatisfiable === "DoNotSchedule";
    });
    expect(workloads).toHaveLength(9);
    expect(forced.map(({ metadata }) => metadata.name).sort()).toEqual(
      overlay === "prod"
        ? SERVICES.map(({ name }) => name).sort()
        : ["gateway-service", "queue-service", "ticket-service"],
    );
  });

  it("of a laptop are not spread: it has no zones", () => {
    expect(patches("kind", "topology-spread.yaml")).toEqual([]);
  });

  it("are replaced when a shared setting changes", () => {
    const checksum = (overlay: OverlayName) =>
      new Set(
        [...patches(overlay, "services-env.yaml"), ...ofKind(additions(overlay), "Rollout")].map(
          ({ spec }) => spec.template.metadata.annotations["urr.guru/config-checksum"],
        ),
      );
    for (const { name } of OVERLAYS) expect(checksum(name).size, name).toBe(1);
    expect(checksum("prod")).not.toEqual(checksum("staging"));
  });
});

describe("production", () => {
  const objects = additions("prod");

  it("has Rollouts for the four services that need a second look, and takes their Deployments away", () => {
    expect(
      ofKind(objects, "Rollout")
        .map(({ metadata }) => metadata.name)
        .sort(),
    ).toEqual(BLUE_GREEN);
    const [deletion] = kustomization("prod").patches as { target: { kind: string; name: string }; patch: string }[];
    expect(deletion?.target).toMatchObject({ kind: "Deployment" });
    expect(deletion?.target.name.split("|").sort()).toEqual(BLUE_GREEN);
    expect(deletion?.patch).toContain("$patch: delete");
  });

  it.each(BLUE_GREEN)("promotes %s by hand, after its health was asked for on the preview", (name) => {
    const { spec } = named(objects, "Rollout", name);
    const port = SERVICES.find((service) => service.name === name)?.port;
    expect(Object.keys(spec.strategy)).toEqual(["blueGreen"]);
    expect(spec.strategy.blueGreen).toEqual({
      activeService: name,
      previewService: `${name}-preview`,
      autoPromotionEnabled: false,
      scaleDownDelaySeconds: 30,
      prePromotionAnalysis: {
        templates: [{ templateName: "health-check" }],
        args: [
          { name: "service-name", value: `${name}-preview` },
          { name: "port", value: `${port}` },
          { name: "path", value: "/health" },
        ],
      },
    });
    const preview = named(objects, "Service", `${name}-preview`);
    expect(preview.spec.ports[0].port).toBe(port);
  });

  it("asks five times in ten seconds' steps for the status that the body tells, and forgives one failure", () => {
    const [metric, ...others] = named(objects, "AnalysisTemplate", "health-check").spec.metrics;
    expect(others).toEqual([]);
    expect(metric).toMatchObject({
      interval: "10s",
      count: 5,
      failureLimit: 1,
      consecutiveErrorLimit: 1,
      successCondition: 'result == "UP"',
      provider: {
        web: {
          url: "http://{{args.service-name}}.urr-spring.svc.cluster.local:{{args.port}}{{args.path}}",
          jsonPath: "{$.status}",
        },
      },
    });
  });

  it("has the same pods in a Rollout as elsewhere in a Deployment", () => {
    const { containers, topologySpreadConstraints, ...pod } = named(objects, "Rollout", "ticket-service").spec.template
      .spec;
    const base = named(baseObjects(), "Deployment", "ticket-service").spec.template.spec;
    const { env, envFrom, ...container } = containers[0];
    expect({ ...pod, containers: [container] }).toEqual(base);
    expect(envFrom).toEqual([{ configMapRef: { name: "spring-prod-config" } }]);
    expect(env).toContainEqual({ name: "PAYMENT_SERVICE_URL", value: "http://payment-service:3003" });
    expect(topologySpreadConstraints).toHaveLength(1);
  });

  it("scales the eight backends as documented, blue-green ones by their Rollout", () => {
    const autoscalers = ofKind(objects, "HorizontalPodAutoscaler");
    expect(
      Object.fromEntries(
        autoscalers.map(({ metadata, spec }) => [
          metadata.name,
          `${spec.scaleTargetRef.kind} ${spec.minReplicas}-${spec.maxReplicas}`,
        ]),
      ),
    ).toEqual({
      "gateway-service": "Rollout 3-10",
      "ticket-service": "Rollout 3-10",
      "queue-service": "Rollout 3-8",
      "payment-service": "Rollout 2-6",
      "auth-service": "Deployment 2-6",
      "catalog-service": "Deployment 2-6",
      "stats-service": "Deployment 2-4",
      "community-service": "Deployment 2-4",
    });
    for (const { spec } of autoscalers)
      expect(spec.metrics).toEqual([
        { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 70 } } },
      ]);
  });

  it("keeps one pod of each backend through a drain, and lets pods go that are not ready anyway", () => {
    const budgets = ofKind(objects, "PodDisruptionBudget");
    expect(budgets.map(({ metadata }) => metadata.name).sort()).toEqual(BACKENDS.map(({ name }) => name).sort());
    for (const { metadata, spec } of budgets)
      expect(spec).toEqual({
        minAvailable: 1,
        selector: { matchLabels: { app: metadata.name } },
        unhealthyPodEvictionPolicy: "AlwaysAllow",
      });
  });

  it("traces one request in ten", () => {
    expect(TREE.get("k8s/spring/overlays/prod/config.env")).toContain("MANAGEMENT_TRACING_SAMPLING_PROBABILITY=0.1\n");
  });
});

describe.each(["dev", "staging", "kind"] as const)("overlay %s", (overlay) => {
  it("has no Rollouts, no autoscalers, no budgets, and traces everything", () => {
    for (const kind of ["Rollout", "HorizontalPodAutoscaler", "PodDisruptionBudget", "AnalysisTemplate"])
      expect(ofKind(additions(overlay), kind), kind).toEqual([]);
    expect(TREE.get(`k8s/spring/overlays/${overlay}/config.env`)).toContain(
      "MANAGEMENT_TRACING_SAMPLING_PROBABILITY=1\n",
    );
  });
});

describe("the laptop", () => {
  const objects = additions("kind");

  it("runs everything that AWS and the platform have elsewhere, Kafka on three brokers", () => {
    expect(
      objects.filter(isWorkload).map(({ kind, metadata, spec }) => `${kind} ${metadata.name} ${spec.replicas ?? ""}`),
    ).toEqual([
      "StatefulSet postgres 1",
      "StatefulSet dragonfly 1",
      "StatefulSet kafka 3",
      "Job kafka-topics ",
      "Deployment zipkin 1",
      "Deployment prometheus 1",
      "Deployment grafana 1",
    ]);
    expect(objectsIn("k8s/spring/overlays/kind/cluster.yaml")[0]?.nodes).toHaveLength(2);
  });

  it("makes the six databases and the eight topics", () => {
    const script = named(objects, "ConfigMap", "postgres-init").data["databases.sh"];
    for (const database of ["ticket", "auth", "payment", "stats", "community", "catalog"])
      expect(script).toContain(`create ${database} ${database}_db "$${database.toUpperCase()}_PASSWORD"`);
    const [container] = named(objects, "Job", "kafka-topics").spec.template.spec.containers;
    for (const topic of ["payment", "reservation", "transfer", "membership"])
      expect(container.command[2]).toMatch(new RegExp(` ${topic}-events ${topic}-events\\.DLT[ ;]`));
  });

  it("tells every broker of all three, and lets none make topics by itself", () => {
    const properties = named(objects, "ConfigMap", "kafka-config").data["server.properties"] as string;
    expect(properties).toContain(
      "controller.quorum.voters=0@kafka-0.kafka:9093,1@kafka-1.kafka:9093,2@kafka-2.kafka:9093\n",
    );
    expect(properties).toContain("auto.create.topics.enable=false\n");
    expect(properties).toContain("default.replication.factor=3\n");
  });

  it("makes up its secrets when asked, each another, and keeps none in Git", () => {
    let count = 0;
    const secrets = localSecrets(() => `value-${++count}`) as {
      metadata: { namespace: string };
      stringData: Record<string, string>;
    }[];
    const values = secrets
      .flatMap(({ stringData }) => Object.values(stringData))
      .filter((value) => value.startsWith("value-"));
    expect(new Set(values).size).toBe(10);
    expect(new Set(secrets.map(({ metadata }) => metadata.namespace))).toEqual(new Set(["urr-spring"]));
    for (const content of TREE.values()) expect(content).not.toContain("kind: Secret\n");
  });
});

describe("Argo CD's Applications", () => {
  it.each([
    ["dev", "urr-dev"],
    ["staging", "urr-staging"],
    ["prod", "urr-spring"],
  ])("of %s keeps its namespace equal to its overlay on main, pruned and healed", (name, namespace) => {
    const [application] = objectsIn(`k8s/argocd/applications/urr-spring-${name}.yaml`);
    expect(application?.metadata).toEqual({ name: `urr-spring-${name}`, namespace: "argocd" });
    expect(application?.spec).toMatchObject({
      source: { targetRevision: "main", path: `k8s/spring/overlays/${name}` },
      destination: { server: "https://kubernetes.default.svc", namespace },
      syncPolicy: { automated: { prune: true, selfHeal: true } },
    });
    expect(application?.spec.syncPolicy.syncOptions).toContain("CreateNamespace=true");
    expect(application?.spec.syncPolicy.syncOptions).not.toContain("ServerSideApply=true");
  });

  it("leaves the number of pods to the autoscalers where there are any, and nowhere else", () => {
    const [application] = objectsIn("k8s/argocd/applications/urr-spring-prod.yaml");
    const ignored = application?.spec.ignoreDifferences as { kind: string; name: string; jsonPointers: string[] }[];
    const scaled = ofKind(additions("prod"), "HorizontalPodAutoscaler").map(
      ({ spec }) => `${spec.scaleTargetRef.kind}/${spec.scaleTargetRef.name}`,
    );
    expect(ignored.map(({ kind, name }) => `${kind}/${name}`).sort()).toEqual(scaled.sort());
    for (const { jsonPointers } of ignored) expect(jsonPointers).toEqual(["/spec/replicas"]);
    expect(application?.spec.syncPolicy.syncOptions).toContain("RespectIgnoreDifferences=true");
    for (const name of ["dev", "staging"])
      expect(objectsIn(`k8s/argocd/applications/urr-spring-${name}.yaml`)[0]?.spec.ignoreDifferences).toBeUndefined();
  });
});
