import { readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NAMESPACE_LABELS, PLATFORM } from "../../environments/gitops";
import { OVERLAYS } from "../../tools/gitops/overlay";
import { ApiServer } from "../../tools/kube/api-server";
import { KUBERNETES_VERSION } from "../../tools/kube/versions";
import { isWorkload, type KubernetesObject, named } from "../tools/gitops/objects";
import { build, customResourceDefinitions, OVERLAY_NAMES, objectsOf, REPOSITORY } from "./overlays";

const DRY_RUN = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
let server: ApiServer;

beforeAll(async () => {
  server = await ApiServer.start();
  server.install(customResourceDefinitions());
  const namespaces = new Set([PLATFORM.argoCdNamespace, ...OVERLAYS.map(({ namespace }) => namespace)]);
  for (const name of namespaces) {
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name, labels: NAMESPACE_LABELS } };
    server.mustKubectl(["apply", "--server-side", "-f", "-"], JSON.stringify(namespace));
  }
});

afterAll(async () => {
  await server?.stop();
});

/** What the server says to objects, which it does not keep. */
function dryRun(...objects: readonly unknown[]) {
  return server.kubectl(DRY_RUN, objects.map((object) => JSON.stringify(object)).join("\n---\n"));
}

/** Objects as the server would store them. */
function stored(text: string): KubernetesObject[] {
  const answer = JSON.parse(server.mustKubectl([...DRY_RUN, "-o", "json"], text)) as KubernetesObject;
  return answer.kind === "List" ? (answer.items as KubernetesObject[]) : [answer];
}

function podOf(workload: KubernetesObject): unknown {
  const { metadata, spec } = workload.spec.template;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...metadata, name: workload.metadata.name, namespace: workload.metadata.namespace },
    spec: { ...spec, volumes: [...(spec.volumes ?? []), ...claims(workload)] },
  };
}

/** Volumes that a StatefulSet's controller would add. */
function claims({ spec }: KubernetesObject) {
  return (spec.volumeClaimTemplates ?? []).map((claim: KubernetesObject) => ({
    name: claim.metadata.name,
    persistentVolumeClaim: { claimName: claim.metadata.name },
  }));
}

describe("the API server of the cluster's version", () => {
  it("is the pinned one", () => {
    expect(JSON.parse(server.mustKubectl(["version", "-o", "json"]))).toMatchObject({
      serverVersion: { gitVersion: `v${KUBERNETES_VERSION}` },
      clientVersion: { gitVersion: `v${KUBERNETES_VERSION}` },
    });
  });

  it.each(OVERLAY_NAMES)("takes every object of overlay %s, and warns of nothing", (name) => {
    const text = build(name);
    const { status, stderr, stdout } = server.kubectl(DRY_RUN, text);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(stdout.trim().split("\n")).toHaveLength(objectsOf(text).length);
  });

  it("takes the Applications of Argo CD", () => {
    for (const name of ["dev", "staging", "prod"]) {
      const file = path.join(REPOSITORY, `k8s/argocd/applications/urr-spring-${name}.yaml`);
      expect(server.kubectl(DRY_RUN, readFileSync(file, "utf8"))).toMatchObject({ status: 0, stderr: "" });
    }
  });

  it.each(
    OVERLAY_NAMES,
  )("admits the pods of every workload of overlay %s into a namespace of the restricted profile", (name) => {
    for (const workload of objectsOf(build(name)).filter(isWorkload)) {
      const { status, stderr } = dryRun(podOf(workload));
      expect(stderr, workload.metadata.name).toBe("");
      expect(status, workload.metadata.name).toBe(0);
    }
  });

  it.each<[string, (pod: KubernetesObject["spec"]) => void]>([
    [
      "may gain privileges",
      (pod) => Object.assign(pod.containers[0].securityContext, { allowPrivilegeEscalation: true }),
    ],
    [
      "keeps its capabilities",
      (pod) => Object.assign(pod.containers[0].securityContext, { capabilities: { drop: [] } }),
    ],
    ["may run as root", (pod) => Object.assign(pod.securityContext, { runAsNonRoot: false })],
    ["has no seccomp profile", (pod) => Object.assign(pod.securityContext, { seccompProfile: undefined })],
    ["mounts the node's disk", (pod) => pod.volumes.push({ name: "node", hostPath: { path: "/" } })],
  ])("refuses a pod that %s", (_, spoil) => {
    const pod = structuredClone(
      podOf(named(objectsOf(build("prod")), "Rollout", "gateway-service")),
    ) as KubernetesObject;
    spoil(pod.spec);
    expect(dryRun(pod)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('violates PodSecurity "restricted'),
    });
  });

  it("fills in nothing that a custom resource does not say itself: Argo CD would take it for a difference", () => {
    for (const name of OVERLAY_NAMES) {
      const text = build(name);
      const custom = (objects: KubernetesObject[]) =>
        objects.filter(({ apiVersion }) => /(argoproj|external-secrets)\.io\//.test(apiVersion));
      const key = ({ kind, metadata }: KubernetesObject) => `${kind}/${metadata.name}`;
      const after = new Map(custom(stored(text)).map((object) => [key(object), object.spec]));
      for (const before of custom(objectsOf(text))) expect(after.get(key(before)), key(before)).toEqual(before.spec);
    }
  });
});

describe("the API server refuses", () => {
  const object = (kind: string, name: string) => structuredClone(named(objectsOf(build("prod")), kind, name));

  it("a misspelt field, in Kubernetes' own kinds and in custom ones", () => {
    const deployment = object("Deployment", "auth-service");
    deployment.spec.template.spec.containers[0].readinesProbe = {};
    expect(dryRun(deployment)).toMatchObject({ status: 1, stderr: expect.stringContaining("readinesProbe") });
    const rollout = object("Rollout", "ticket-service");
    rollout.spec.strategy.blueGreen.autoPromotion = false;
    expect(dryRun(rollout)).toMatchObject({ status: 1, stderr: expect.stringContaining("autoPromotion") });
  });

  it("a string in replicas", () => {
    for (const [kind, name] of [
      ["Deployment", "auth-service"],
      ["Rollout", "ticket-service"],
    ] as const) {
      const spoilt = object(kind, name);
      spoilt.spec.replicas = "two";
      expect(dryRun(spoilt)).toMatchObject({ status: 1, stderr: expect.stringContaining("replicas") });
    }
  });

  it("an autoscaler that scales to fewer than it starts from, and a policy on a port that there cannot be", () => {
    const autoscaler = object("HorizontalPodAutoscaler", "ticket-service");
    autoscaler.spec.maxReplicas = 2;
    expect(dryRun(autoscaler)).toMatchObject({ status: 1, stderr: expect.stringContaining("maxReplicas") });
    const policy = object("NetworkPolicy", "ticket-service");
    policy.spec.ingress[0].ports[0].port = 70_000;
    expect(dryRun(policy)).toMatchObject({ status: 1, stderr: expect.stringContaining("port") });
  });

  it("an object that breaks a CEL rule of its kind, and a rule that is none", () => {
    // Rollouts' own rule: a selector is what it was.
    const rollout = object("Rollout", "ticket-service");
    server.mustKubectl(["apply", "--server-side", "-f", "-"], JSON.stringify(rollout));
    expect(dryRun(rollout)).toMatchObject({ status: 0 });
    rollout.spec.selector.matchLabels = { app: "another" };
    expect(dryRun(rollout)).toMatchObject({ status: 1, stderr: expect.stringContaining("selector is immutable") });

    const crd = {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "windows.test.urr.guru" },
      spec: {
        group: "test.urr.guru",
        scope: "Namespaced",
        names: { kind: "Window", plural: "windows" },
        versions: [
          {
            name: "v1",
            served: true,
            storage: true,
            schema: {
              openAPIV3Schema: {
                type: "object",
                properties: {
                  spec: {
                    type: "object",
                    properties: { from: { type: "integer" }, to: { type: "integer" } },
                    "x-kubernetes-validations": [{ rule: "self.from < self.to", message: "from must lie before to" }],
                  },
                },
              },
            },
          },
        ],
      },
    };
    const broken = structuredClone(crd);
    const [rule] = broken.spec.versions[0]?.schema.openAPIV3Schema.properties.spec["x-kubernetes-validations"] ?? [];
    if (rule) rule.rule = "self.from << self.to";
    expect(dryRun(broken)).toMatchObject({ status: 1, stderr: expect.stringContaining("compilation failed") });

    server.mustKubectl(["apply", "--server-side", "-f", "-"], JSON.stringify(crd));
    server.mustKubectl(["wait", "--for=condition=Established", "--timeout=60s", "crd", "windows.test.urr.guru"]);
    const window = (from: number, to: number) => ({
      apiVersion: "test.urr.guru/v1",
      kind: "Window",
      metadata: { name: "night", namespace: "urr-spring" },
      spec: { from, to },
    });
    expect(dryRun(window(1, 2))).toMatchObject({ status: 0 });
    expect(dryRun(window(2, 1))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("from must lie before to"),
    });
  });
});
