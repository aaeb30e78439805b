import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CHARTS } from "../../environments/platform";
import type { JsonObject } from "../../lib/terraform-modules";
import { buildApp } from "../../main";
import { platformPods, podsOf } from "../../tools/charts/pods";
import recorded from "../../tools/charts/pods.json";
import { type PlatformRelease, platformReleases } from "../../tools/charts/releases";
import { type RenderedObject, renderRelease, unknownValues } from "../../tools/charts/render";
import { CHARTS_VARIABLE, chartFolder, chartVersions } from "../../tools/charts/sources";
import { ApiServer } from "../../tools/kube/api-server";
import { customResourceDefinitions } from "./overlays";

/**
 * The public charts with the values that the platform stacks give them, as Helm renders them, before a real API server. Charts that a
 * Go module carries are always there; the others where `URR_CHARTS` names a folder that has them.
 */
const ENVIRONMENTS = ["staging", "prod"] as const;
const NAMES = Object.values(CHARTS).map(({ name }) => name);
const missing = NAMES.filter((name) => chartFolder(name) === undefined);
if (missing.length > 0)
  process.stderr.write(`NOT RUN: charts ${missing.join(", ")} (not in reach; ${CHARTS_VARIABLE} names a folder)\n`);

const releases = new Map(ENVIRONMENTS.map((environment) => [environment, platformReleases(environment)]));

function releaseOf(environment: (typeof ENVIRONMENTS)[number], chart: string): PlatformRelease {
  const found = releases.get(environment)?.find((one) => "repository" in one.chart && one.chart.name === chart);
  if (!found) throw new Error(`${environment} has no release of ${chart}`);
  return found;
}

function folderOf(chart: string): string {
  const folder = chartFolder(chart);
  if (folder === undefined) throw new Error(`chart ${chart} is not in reach`);
  return folder;
}

/** Namespaces of a platform stack, as Terraform makes them. */
function namespacesOf(environment: string): unknown[] {
  const [stack] = buildApp(undefined, [`${environment}-platform`]).render();
  const resources = stack?.emitted.modules.get("namespaces")?.resource as Record<string, Record<string, JsonObject>>;
  return Object.values(resources?.kubernetes_namespace_v1 ?? {}).map(({ metadata }) => ({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: (metadata as JsonObject[])[0] ?? metadata,
  }));
}

interface Workload {
  readonly template: { readonly metadata: object; readonly spec: { readonly volumes?: readonly unknown[] } };
  readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[];
}

const isDefinition = ({ kind }: RenderedObject) => kind === "CustomResourceDefinition";

describe.each(ENVIRONMENTS)("the public charts of %s", (environment) => {
  let server: ApiServer;
  const rendered = new Map<string, RenderedObject[]>();

  beforeAll(async () => {
    for (const name of NAMES.filter((one) => !missing.includes(one)))
      rendered.set(name, renderRelease(releaseOf(environment, name), folderOf(name)));
    server = await ApiServer.start();
    server.install(customResourceDefinitions());
    for (const namespace of namespacesOf(environment))
      server.mustKubectl(["apply", "--server-side", "-f", "-"], JSON.stringify(namespace));
    const definitions = [...rendered.values()].flat().filter(isDefinition);
    for (const definition of definitions)
      server.mustKubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], JSON.stringify(definition));
    server.mustKubectl(["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
  });

  afterAll(async () => {
    await server?.stop();
  });

  const dryRun = (objects: readonly unknown[]) =>
    server.kubectl(
      ["apply", "--server-side", "--dry-run=server", "-f", "-"],
      objects.map((object) => JSON.stringify(object)).join("\n---\n"),
    );

  describe.each(NAMES)("%s", (name) => {
    const isHere = !missing.includes(name);
    const pinned = Object.values(CHARTS).find((chart) => chart.name === name);

    it.skipIf(!isHere)("is the pinned one, and installs what custom resources are tested against", () => {
      const { appVersion, version } = pinned ?? {};
      expect(chartVersions(name)).toEqual({ version, appVersion });
    });

    it.skipIf(!isHere)("knows every value that it is given", () => {
      const { values } = releaseOf(environment, name);
      expect(unknownValues(values, folderOf(name))).toEqual([]);
      if (Object.keys(values).length > 0)
        expect(unknownValues({ ...values, replicaz: 2 }, folderOf(name))).toEqual(["replicaz"]);
    });

    it.skipIf(!isHere)("makes objects that the server takes, field by field", () => {
      const objects = (rendered.get(name) ?? []).filter((object) => !isDefinition(object));
      if (objects.length === 0) return expect(rendered.get(name)?.length).toBeGreaterThan(0);
      const { status, stderr } = dryRun(objects);
      // What a namespace admits is the next test's; some warn of more.
      const warnings = stderr.split("\n").filter((line) => line !== "" && !line.includes("would violate PodSecurity"));
      expect({ warnings, status }).toEqual({ warnings: [], status: 0 });
    });

    it.skipIf(!isHere)("makes pods that the namespace's Pod Security level admits", () => {
      const { namespace } = releaseOf(environment, name);
      for (const { kind, metadata, spec } of rendered.get(name) ?? []) {
        if (!["Deployment", "StatefulSet", "DaemonSet", "Job"].includes(kind)) continue;
        const { template, volumeClaimTemplates = [] } = spec as unknown as Workload;
        // Volumes that a StatefulSet's controller would add.
        const claims = volumeClaimTemplates.map(({ metadata: { name: claimName } }) => ({
          name: claimName,
          persistentVolumeClaim: { claimName },
        }));
        const podSpec = { ...template.spec, volumes: [...(template.spec.volumes ?? []), ...claims] };
        const pod = { apiVersion: "v1", kind: "Pod", spec: podSpec };
        const answer = dryRun([
          {
            ...pod,
            metadata: { ...template.metadata, name: metadata.name, namespace: metadata.namespace ?? namespace },
          },
        ]);
        expect({ name: metadata.name, ...answer }).toMatchObject({ status: 0 });
      }
    });

    it.skipIf(!isHere)("asks for what the capacity test counts", () => {
      const { name: release } = releaseOf(environment, name);
      const known = recorded[environment].filter((pods) => pods.release === release);
      expect(known).toEqual(podsOf(release, rendered.get(name) ?? []));
    });
  });
});

describe("the platform's own charts", () => {
  it.each(ENVIRONMENTS)("ask for what the capacity test counts, in %s", (environment) => {
    const own = platformReleases(environment).filter(({ chart }) => !("repository" in chart));
    const names = new Set(own.map(({ name }) => name));
    expect(recorded[environment].filter(({ release }) => names.has(release))).toEqual(
      platformPods(environment, (release) => names.has(release.name)),
    );
  });
});
