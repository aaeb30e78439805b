import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { NAMESPACE_LABELS } from "../../environments/gitops";
import { buildApp } from "../../main";
import { ApiServer } from "../../tools/kube/api-server";
import { command } from "../../tools/kube/build";
import { schemaLocation } from "../../tools/kube/schemas";
import { outputsOf, PlatformWorkspace, releasesOf, renderCharts, stateOf } from "../stacks/platform-workspace";
import { canRunTerraform } from "../support/real-terraform";
import { type KubernetesObject, named, ofKind } from "../tools/gitops/objects";
import { customResourceDefinitions } from "./overlays";

/** Kind whose maker's own definition cannot be had, and ours of it, as far as our chart goes. */
const STANDING_IN = "TargetGroupBinding";
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
    server.install(customResourceDefinitions());
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
    const own = of(environment).filter(({ kind }) => kind !== STANDING_IN);
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

  it("are refused where they break the rules of the two AWS kinds", () => {
    const spoilt = (kind: string, spoil: (spec: KubernetesObject["spec"]) => void) => {
      const [object] = structuredClone(ofKind(of("prod"), kind));
      spoil(object?.spec);
      return dryRun(object);
    };
    const refused = (text: string) => ({ status: 1, stderr: expect.stringContaining(text) });
    expect(spoilt("EC2NodeClass", (spec) => Object.assign(spec, { instanceProfile: "x" }))).toMatchObject(
      refused("must specify exactly one of ['role', 'instanceProfile']"),
    );
    expect(spoilt("EC2NodeClass", (spec) => Object.assign(spec.tags, { "karpenter.sh/nodepool": "x" }))).toMatchObject(
      refused("restricted tag matching karpenter.sh/nodepool"),
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
