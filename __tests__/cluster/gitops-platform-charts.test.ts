import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { NAMESPACE_LABELS } from "../../environments/gitops";
import { buildApp } from "../../main";
import { ApiServer } from "../../tools/kube/api-server";
import { command, crdFiles } from "../../tools/kube/build";
import { schemaLocation } from "../../tools/kube/schemas";
import { CRD_SOURCES } from "../../tools/kube/versions";
import { outputsOf, PlatformWorkspace, releasesOf, renderCharts, stateOf } from "../stacks/platform-workspace";
import { canRunTerraform } from "../support/real-terraform";
import { type KubernetesObject, named, ofKind } from "../tools/gitops/objects";

/** Definitions of kinds whose makers' own cannot be had: ours, as far as our charts go. */
const STAND_INS = ["ec2nodeclasses.yaml", "targetgroupbindings.yaml"].map((file) =>
  path.join(import.meta.dirname, "stand-ins", file),
);
const STANDING_IN = ["EC2NodeClass", "TargetGroupBinding"];
const ENVIRONMENTS = ["staging", "prod"] as const;
const hasProviders = canRunTerraform("the platform's own charts before a real API server", ["helm", "kubernetes"]);

/** Objects of the platform's own charts, with the values of a first plan. */
function chartObjects(environment: (typeof ENVIRONMENTS)[number]): KubernetesObject[] {
  const rendered = new Map(
    buildApp()
      .render()
      .map((stack) => [stack.stack.node.id, stack]),
  );
  const [infra, platform] = [rendered.get(environment), rendered.get(`${environment}-platform`)];
  if (!infra || !platform) throw new Error(`no stacks of ${environment}`);
  const workspace = new PlatformWorkspace(platform, stateOf(outputsOf(infra)));
  try {
    workspace.init();
    return Object.values(renderCharts(workspace, releasesOf(workspace.plan())))
      .flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as KubernetesObject | null))
      .filter((object) => object !== null);
  } finally {
    workspace.dispose();
  }
}

describe.skipIf(!hasProviders)("the platform's own charts", () => {
  const objects = new Map<string, KubernetesObject[]>();
  let server: ApiServer;

  beforeAll(async () => {
    for (const environment of ENVIRONMENTS) objects.set(environment, chartObjects(environment));
    server = await ApiServer.start();
    server.install([...(Object.keys(CRD_SOURCES) as (keyof typeof CRD_SOURCES)[]).flatMap(crdFiles), ...STAND_INS]);
    const namespaces = new Set([...objects.values()].flat().flatMap(({ metadata }) => metadata.namespace ?? []));
    for (const name of namespaces) {
      const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name, labels: NAMESPACE_LABELS } };
      server.mustKubectl(["apply", "--server-side", "-f", "-"], JSON.stringify(namespace));
    }
  });

  afterAll(async () => {
    await server?.stop();
  });

  const of = (environment: string) => objects.get(environment) ?? [];
  const dryRun = (...all: readonly unknown[]) =>
    server.kubectl(
      ["apply", "--server-side", "--dry-run=server", "-f", "-"],
      all.map((object) => JSON.stringify(object)).join("\n---\n"),
    );

  it.each(ENVIRONMENTS)("of %s hold every kind that they are for", (environment) => {
    for (const kind of [
      "NodePool",
      "EC2NodeClass",
      "TargetGroupBinding",
      "ClusterSecretStore",
      "Application",
      "PrometheusRule",
    ])
      expect(ofKind(of(environment), kind).length, kind).toBeGreaterThan(0);
  });

  it.each(
    ENVIRONMENTS,
  )("of %s are taken by a server that knows all of their kinds, without a warning", (environment) => {
    const all = of(environment);
    const { status, stderr, stdout } = dryRun(...all);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(stdout.trim().split("\n")).toHaveLength(all.length);
  });

  it.each(ENVIRONMENTS)("of %s conform to the schemas of what can be had", (environment) => {
    const own = of(environment).filter(({ kind }) => !STANDING_IN.includes(kind));
    const { stdout } = spawnSync(
      command("kubeconform"),
      ["-strict", "-summary", "-output", "json", "-schema-location", schemaLocation(), "-"],
      { input: own.map((object) => JSON.stringify(object)).join("\n---\n"), encoding: "utf8" },
    );
    expect(JSON.parse(stdout)).toMatchObject({
      summary: { valid: own.length, invalid: 0, errors: 0, skipped: 0 },
    });
  });

  it("are refused with a misspelt field, a wrong type, and where they break a rule of Karpenter's own definition", () => {
    const spoilt = (kind: string, name: string, spoil: (spec: KubernetesObject["spec"]) => void) => {
      const object = structuredClone(named(of("prod"), kind, name));
      spoil(object.spec);
      return dryRun(object);
    };
    const refused = (text: string) => ({ status: 1, stderr: expect.stringContaining(text) });
    expect(spoilt("NodePool", "default", (spec) => Object.assign(spec, { limit: {} }))).toMatchObject(refused("limit"));
    expect(
      spoilt("NodePool", "default", (spec) => Object.assign(spec.disruption, { consolidateAfter: "soon" })),
    ).toMatchObject(refused("consolidateAfter"));
    expect(
      spoilt("NodePool", "default", (spec) => Object.assign(spec.template.spec.requirements[0], { values: [] })),
    ).toMatchObject(refused("must have a value defined"));
    expect(
      spoilt("NodePool", "default", (spec) =>
        Object.assign(spec.template.spec.requirements[0], { key: "kubernetes.io/hostname" }),
      ),
    ).toMatchObject(refused("restricted"));
    expect(
      spoilt("ClusterSecretStore", "aws-secrets-manager", (spec) => Object.assign(spec, { provider: { azure: {} } })),
    ).toMatchObject(refused("azure"));
  });

  it("are refused where they break what the makers of the two AWS kinds tell of them", () => {
    const spoilt = (kind: string, spoil: (spec: KubernetesObject["spec"]) => void) => {
      const [object] = structuredClone(ofKind(of("prod"), kind));
      spoil(object?.spec);
      return dryRun(object);
    };
    const refused = (text: string) => ({ status: 1, stderr: expect.stringContaining(text) });
    expect(spoilt("EC2NodeClass", (spec) => Object.assign(spec, { instanceProfile: "x" }))).toMatchObject(
      refused("exactly one of role and instanceProfile"),
    );
    expect(spoilt("EC2NodeClass", (spec) => Object.assign(spec.tags, { "karpenter.sh/nodepool": "x" }))).toMatchObject(
      refused("Karpenter writes these tags itself"),
    );
    expect(spoilt("TargetGroupBinding", (spec) => Object.assign(spec, { targetType: "pod" }))).toMatchObject(
      refused("targetType"),
    );
    expect(spoilt("TargetGroupBinding", (spec) => Object.assign(spec, { targetGroupArn: "x" }))).toMatchObject(
      refused("targetGroupArn"),
    );
  });

  it("hold the committed Application as it is", () => {
    const [application] = ofKind(of("prod"), "Application");
    const committed = parseAllDocuments(
      readFileSync(path.resolve(import.meta.dirname, "../../k8s/argocd/applications/urr-spring-prod.yaml"), "utf8"),
    )[0]?.toJS() as KubernetesObject;
    expect(application?.metadata.name).toBe(committed.metadata.name);
    expect(application?.spec).toEqual(committed.spec);
  });
});
