import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { ENDPOINTS, ENDPOINTS_CONFIG_MAP } from "../../environments/gitops";
import { SERVICES } from "../../environments/services";
import { differences, treeOf } from "../../tools/gitops";
import { localSecrets } from "../../tools/gitops/local-secrets";
import { OVERLAYS, replicasOf } from "../../tools/gitops/overlay";
import { currentTags } from "../../tools/gitops/tree";
import { command } from "../../tools/kube/build";
import { schemaLocation } from "../../tools/kube/schemas";
import { isWorkload, type KubernetesObject, named, ofKind } from "../tools/gitops/objects";
import { admits } from "../tools/gitops/reachability";
import { build, buildIn, objectsOf, REPOSITORY } from "./overlays";

const temporary = mkdtempSync(path.join(tmpdir(), "urr-gitops-"));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

function kubeconform(input: string, ...args: string[]) {
  return spawnSync(
    command("kubeconform"),
    ["-strict", "-summary", "-output", "json", "-schema-location", schemaLocation(), ...args, "-"],
    { input, encoding: "utf8", maxBuffer: 1 << 26 },
  );
}

/** What kubeconform finds wrong, as text. */
function schemaErrors(object: unknown): string {
  const { resources = [] } = JSON.parse(kubeconform(JSON.stringify(object)).stdout) as {
    resources?: { msg: string }[];
  };
  return resources.map(({ msg }) => msg).join("\n");
}

interface Container {
  readonly env?: readonly {
    readonly name: string;
    readonly value?: string;
    readonly valueFrom?: Readonly<Record<string, { readonly name: string; readonly key: string }>>;
  }[];
  readonly envFrom?: readonly { readonly configMapRef: { readonly name: string } }[];
  readonly image: string;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

function containersOf(workload: KubernetesObject): Container[] {
  return workload.spec.template.spec.containers;
}

describe.each(
  OVERLAYS.map((overlay) => [overlay.name, overlay] as const),
)("overlay %s, as kustomize builds it", (name, overlay) => {
  const text = build(name);
  const objects = objectsOf(text);
  const workloads = objects.filter(isWorkload);

  it("conforms to the schemas of the cluster's Kubernetes version and of every custom resource", () => {
    const { status, stdout } = kubeconform(text);
    const { summary } = JSON.parse(stdout) as { summary: Record<string, number> };
    expect(summary).toEqual({ valid: objects.length, invalid: 0, errors: 0, skipped: 0 });
    expect(status).toBe(0);
  });

  it("is the same as kubectl's own kustomize makes it", () => {
    const folder = path.join(REPOSITORY, "k8s/spring/overlays", name);
    const { status, stdout } = spawnSync(command("kubectl"), ["kustomize", folder], { encoding: "utf8" });
    expect(status).toBe(0);
    expect(stdout).toBe(text);
  });

  it("runs each service by a Deployment or a Rollout, never by both", () => {
    const rollouts = name === "prod" ? ["gateway-service", "payment-service", "queue-service", "ticket-service"] : [];
    for (const service of SERVICES) {
      const kinds = workloads.filter(({ metadata }) => metadata.name === service.name).map(({ kind }) => kind);
      expect(kinds, service.name).toEqual([rollouts.includes(service.name) ? "Rollout" : "Deployment"]);
    }
  });

  it("starts as many pods as documented", () => {
    for (const service of SERVICES) {
      const [workload] = workloads.filter(({ metadata }) => metadata.name === service.name);
      expect(workload?.spec.replicas, service.name).toBe(replicasOf(service, overlay));
    }
  });

  it("puts everything into its namespace", () => {
    for (const { kind, metadata } of objects)
      expect(kind === "Namespace" ? metadata.name : metadata.namespace, `${kind} ${metadata.name}`).toBe(
        overlay.namespace,
      );
  });

  it("holds no secret", () => {
    expect(ofKind(objects, "Secret")).toEqual([]);
    for (const workload of workloads)
      for (const { env = [] } of containersOf(workload))
        for (const variable of env)
          if (/PASSWORD|SECRET|TOKEN/.test(variable.name) && !variable.name.endsWith("_URL"))
            expect(variable.valueFrom?.secretKeyRef, variable.name).toBeDefined();
  });

  it("reads only secrets and settings that somebody makes", () => {
    const made = new Set<string>([
      ...ofKind(objects, "ConfigMap").flatMap(({ data, metadata }) =>
        Object.keys(data).map((key) => `${metadata.name}/${key}`),
      ),
      ...ofKind(objects, "ExternalSecret").flatMap(({ metadata, spec }) => [
        ...((spec.data ?? []) as { secretKey: string }[]).map(({ secretKey }) => `${metadata.name}/${secretKey}`),
        ...Object.keys(spec.target.template?.data ?? {}).map((key) => `${metadata.name}/${key}`),
      ]),
      ...("aws" in overlay.stores
        ? Object.keys(ENDPOINTS)
            .filter((key) => key !== "RDS_REPLICA_ENDPOINT" || name === "prod")
            .map((key) => `${ENDPOINTS_CONFIG_MAP}/${key}`)
        : []),
      ...(name === "kind"
        ? (localSecrets(() => "x") as { metadata: { name: string }; stringData: object }[]).flatMap(
            ({ metadata, stringData }) => Object.keys(stringData).map((key) => `${metadata.name}/${key}`),
          )
        : []),
    ]);
    const configMaps = new Set(ofKind(objects, "ConfigMap").map(({ metadata }) => metadata.name));
    for (const workload of workloads)
      for (const { env = [], envFrom = [] } of containersOf(workload)) {
        for (const { configMapRef } of envFrom) expect(configMaps).toContain(configMapRef.name);
        for (const { valueFrom = {} } of env)
          for (const { key, name: source } of Object.values(valueFrom)) expect([...made]).toContain(`${source}/${key}`);
      }
  });

  it("defines each variable before another one names it", () => {
    for (const workload of workloads)
      for (const { env = [] } of containersOf(workload))
        env.forEach(({ name: variable, value = "" }, index) => {
          for (const [, used] of value.matchAll(/\$\(([A-Z0-9_]+)\)/g))
            expect(
              env.slice(0, index).map((earlier) => earlier.name),
              `${workload.metadata.name}: ${variable}`,
            ).toContain(used);
        });
  });

  it("leads each Service to the pods that it is named after, on their port", () => {
    for (const { metadata, spec } of ofKind(objects, "Service")) {
      const [workload, ...others] = workloads.filter(({ spec: { template } }) =>
        Object.entries(spec.selector).every(([key, value]) => template.metadata.labels[key] === value),
      );
      expect(others, metadata.name).toEqual([]);
      expect(metadata.name.replace(/-preview$/, "")).toBe(workload?.metadata.name);
      const ports = workload?.spec.template.spec.containers[0].ports as { name: string }[];
      for (const { targetPort } of spec.ports) expect(ports.map((port) => port.name)).toContain(targetPort);
    }
  });

  it("takes every image from where it is meant to come, by tag", () => {
    for (const service of SERVICES) {
      const [workload] = workloads.filter(({ metadata }) => metadata.name === service.name);
      const [{ image }] = containersOf(workload as KubernetesObject) as [Container];
      expect(image).toMatch(
        name === "kind"
          ? new RegExp(`^urr/${service.name}:local$`)
          : new RegExp(`^\\d{12}\\.dkr\\.ecr\\.ap-northeast-2\\.amazonaws\\.com/urr/${service.name}:[\\w.-]+$`),
      );
    }
  });

  it("writes nowhere but into volumes", () => {
    for (const workload of workloads)
      for (const container of workload.spec.template.spec.containers) {
        expect(container.securityContext.readOnlyRootFilesystem, workload.metadata.name).toBe(true);
        const volumes = new Set([
          ...(workload.spec.template.spec.volumes ?? []).map((volume: { name: string }) => volume.name),
          ...(workload.spec.volumeClaimTemplates ?? []).map(
            (claim: { metadata: { name: string } }) => claim.metadata.name,
          ),
        ]);
        for (const mount of container.volumeMounts) expect([...volumes]).toContain(mount.name);
        expect(container.volumeMounts.length).toBeGreaterThan(0);
      }
  });

  it("admits the same calls as the rendered policies do, after kustomize has put them into the namespace", () => {
    const policies = ofKind(objects, "NetworkPolicy");
    const pod = (service: string) => {
      const workload = workloads.find(({ metadata }) => metadata.name === service) as KubernetesObject;
      const labels = workload.spec.template.metadata.labels;
      return { name: service, address: "10.0.10.9", pod: { namespace: overlay.namespace, labels } };
    };
    for (const from of SERVICES)
      for (const to of SERVICES.filter((other) => other.name !== from.name))
        expect(admits(policies, pod(from.name), pod(to.name), to.port), `${from.name} -> ${to.name}`).toBe(
          from.calls.includes(to.name),
        );
  });
});

describe("production, as kustomize builds it", () => {
  const objects = objectsOf(build("prod"));

  it("scales what runs: each autoscaler aims at the workload that exists", () => {
    const autoscalers = ofKind(objects, "HorizontalPodAutoscaler");
    expect(autoscalers).toHaveLength(8);
    for (const { spec } of autoscalers) {
      const { apiVersion, kind, name } = spec.scaleTargetRef;
      expect(named(objects, kind, name).apiVersion).toBe(apiVersion);
    }
  });

  it("has a preview Service and an analysis for each Rollout", () => {
    for (const { spec } of ofKind(objects, "Rollout")) {
      const { activeService, prePromotionAnalysis, previewService } = spec.strategy.blueGreen;
      named(objects, "Service", activeService);
      named(objects, "Service", previewService);
      for (const { templateName } of prePromotionAnalysis.templates) {
        const { spec: analysis } = named(objects, "AnalysisTemplate", templateName);
        expect(prePromotionAnalysis.args.map((argument: { name: string }) => argument.name).sort()).toEqual(
          analysis.args.map((argument: { name: string }) => argument.name).sort(),
        );
      }
    }
  });
});

describe("schemas", () => {
  const objects = objectsOf(build("prod"));
  const copy = (kind: string, name: string) => structuredClone(named(objects, kind, name));

  it("refuse a misspelt field, in Kubernetes' own kinds and in custom ones", () => {
    const deployment = copy("Deployment", "auth-service");
    deployment.spec.template.spec.containers[0].readinesProbe = {};
    expect(schemaErrors(deployment)).toContain("readinesProbe");
    const rollout = copy("Rollout", "ticket-service");
    rollout.spec.strategy.blueGreen.autoPromotion = false;
    expect(schemaErrors(rollout)).toContain("autoPromotion");
    const secret = copy("ExternalSecret", "jwt-secret");
    secret.spec.data[0].remoteRef.propertie = "secret";
    expect(schemaErrors(secret)).toContain("propertie");
  });

  it("refuse a string in replicas and a number in an annotation", () => {
    const deployment = copy("Deployment", "auth-service");
    deployment.spec.replicas = "two";
    expect(schemaErrors(deployment)).toContain("replicas");
    const rollout = copy("Rollout", "ticket-service");
    rollout.spec.replicas = "3";
    expect(schemaErrors(rollout)).toContain("replicas");
    const account = copy("ServiceAccount", "ticket-service");
    account.metadata.annotations["eks.amazonaws.com/role-arn"] = 123_456_789_012;
    expect(schemaErrors(account)).toContain("role-arn");
  });

  it("refuse a kind that nobody has defined, instead of passing it over", () => {
    const { status, stdout } = kubeconform(
      JSON.stringify({ apiVersion: "urr.guru/v1", kind: "Nothing", metadata: { name: "x" } }),
    );
    expect(status).not.toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ summary: { errors: 1, skipped: 0 } });
  });

  it("cover the three Applications of Argo CD", () => {
    const text = OVERLAYS.filter(({ name }) => name !== "kind")
      .map(({ name }) => readFileSync(path.join(REPOSITORY, `k8s/argocd/applications/urr-spring-${name}.yaml`), "utf8"))
      .join("---\n");
    expect(JSON.parse(kubeconform(text).stdout)).toMatchObject({ summary: { valid: 3, invalid: 0, errors: 0 } });
  });
});

describe("a release", () => {
  it("changes one tag by kustomize edit, and the tree is still up to date and keeps it", () => {
    for (const part of ["k8s", ".github"])
      cpSync(path.join(REPOSITORY, part), path.join(temporary, part), { recursive: true });
    const overlay = path.join(temporary, "k8s/spring/overlays/prod");
    const image = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/urr/ticket-service";
    const { status, stderr } = spawnSync(
      command("kustomize"),
      ["edit", "set", "image", `ticket-service=${image}:1a2b3c4-20261121090000`],
      { cwd: overlay, encoding: "utf8" },
    );
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(differences(temporary, treeOf(temporary))).toEqual([]);
    const rollout = named(objectsOf(buildIn(temporary, "prod")), "Rollout", "ticket-service");
    expect(containersOf(rollout)[0]?.image).toBe(`${image}:1a2b3c4-20261121090000`);
    const tags = currentTags(treeOf(temporary).get("k8s/spring/overlays/prod/kustomization.yaml"));
    expect(tags.get("ticket-service")).toBe("1a2b3c4-20261121090000");
  });
});
