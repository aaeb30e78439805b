import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Json, JsonObject, RenderedStack } from "../../lib/terraform-modules";
import { type CommandResult, OfflineWorkspace } from "../../tools/terraform/workspace";

/** A release as it is planned. */
export interface PlannedRelease {
  readonly address: string;
  readonly name: string;
  readonly namespace: string;
  readonly chart: string;
  readonly version: string | null;
  readonly values: Json;
}

interface Plan {
  readonly resource_changes: readonly {
    readonly address: string;
    readonly type: string;
    readonly change: { readonly actions: readonly string[]; readonly after: JsonObject };
  }[];
}

/** A certificate of nobody, for providers that want to parse one and then never connect. */
const CERTIFICATE = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";

/**
 * What the infra stack's state would hold: every output that its synthesized root declares, and no other, each with a value that
 * says which it is. A map keeps its keys.
 */
export function outputsOf(infra: RenderedStack): Record<string, Json> {
  const declared = infra.emitted.root.output as Record<string, { value: Json }>;
  return Object.fromEntries(
    Object.entries(declared).map(([name, { value }]) => {
      if (name === "eks_cluster_endpoint") return [name, "https://127.0.0.1:1"];
      if (name === "eks_cluster_certificate_authority_data") return [name, CERTIFICATE];
      if (value !== null && typeof value === "object" && !Array.isArray(value)) {
        return [name, Object.fromEntries(Object.keys(value).map((key) => [key, `${name}/${key}`]))];
      }
      return [name, name];
    }),
  );
}

/** Terraform state with outputs and nothing else. */
export function stateOf(outputs: Readonly<Record<string, Json>>): string {
  return JSON.stringify({
    version: 4,
    terraform_version: "1.11.4",
    serial: 1,
    lineage: "00000000-0000-4000-8000-000000000000",
    outputs: Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name, { value, type: typeOf(value) }])),
    resources: [],
    check_results: null,
  });
}

/**
 * A platform stack in a workspace where everything it needs lies at hand: the infra stack's state in a file, and in place of each
 * public chart an empty one of the same name and version. Its own charts are the real ones.
 */
export class PlatformWorkspace {
  readonly directory: string;
  private readonly folder: string;
  private readonly workspace: OfflineWorkspace;

  constructor(platform: RenderedStack, state: string) {
    this.folder = mkdtempSync(path.join(tmpdir(), "urr-platform-"));
    writeFiles(this.folder, platform.files);
    this.workspace = new OfflineWorkspace(this.folder);
    this.directory = this.workspace.directory;
    const infra = path.join(this.directory, "infra.tfstate");
    writeFiles(this.directory, [
      ["infra.tfstate", state],
      [
        "offline_override.tf.json",
        JSON.stringify({
          terraform: { backend: { local: {} } },
          data: { terraform_remote_state: { infra: { backend: "local", config: { path: infra } } } },
        }),
      ],
    ]);
    for (const [directory, module] of platform.emitted.modules) this.replaceCharts(directory, module);
  }

  init(): void {
    this.workspace.mustTerraform("init", "-input=false", "-no-color");
  }

  terraform(...args: string[]): CommandResult {
    return this.workspace.terraform(...args);
  }

  plan(): Plan {
    return JSON.parse(this.workspace.planJson()) as Plan;
  }

  dispose(): void {
    this.workspace.dispose();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private replaceCharts(directory: string, module: JsonObject): void {
    const releases = (module.resource as Record<string, Record<string, JsonObject>> | undefined)?.helm_release;
    const replaced: Record<string, Json> = {};
    for (const [name, { chart, repository, version }] of Object.entries(releases ?? {})) {
      if (repository === undefined) continue;
      const stub = path.join(this.directory, "stubs", String(chart));
      writeFiles(stub, [["Chart.yaml", `apiVersion: v2\nname: ${chart}\nversion: ${version}\n`]]);
      replaced[name] = { repository: null, chart: stub };
    }
    if (Object.keys(replaced).length === 0) return;
    writeFiles(path.join(this.directory, "modules", directory), [
      ["offline_override.tf.json", JSON.stringify({ resource: { helm_release: replaced } })],
    ]);
  }
}

/** The releases of a plan, with the values that Helm will get. */
export function releasesOf(plan: Plan): PlannedRelease[] {
  return plan.resource_changes
    .filter(({ type }) => type === "helm_release")
    .map(({ address, change: { after } }) => ({
      address,
      name: String(after.name),
      namespace: String(after.namespace),
      chart: String(after.chart),
      version: after.version === undefined ? null : (after.version as string | null),
      values: JSON.parse(String((after.values as Json[])[0])) as Json,
    }));
}

/** Renders the stack's own charts with the planned values, by the Helm that is built into the provider; no cluster is asked. */
export function renderCharts(
  workspace: PlatformWorkspace,
  releases: readonly PlannedRelease[],
): Record<string, string> {
  const own = releases.filter(({ chart }) => chart.startsWith("./assets/charts/"));
  const folder = mkdtempSync(path.join(tmpdir(), "urr-charts-"));
  const renderer = (() => {
    writeFiles(folder, [
      [
        "cdk.tf.json",
        JSON.stringify({
          terraform: { required_providers: { helm: { source: "hashicorp/helm", version: "3.1.1" } } },
          data: {
            helm_template: Object.fromEntries(
              own.map(({ chart, name, namespace, values }) => [
                name,
                {
                  name,
                  namespace,
                  chart: path.join(workspace.directory, chart),
                  values: [JSON.stringify(values).replaceAll("${", "$${")],
                  kube_version: "1.35.0",
                },
              ]),
            ),
          },
          output: Object.fromEntries(
            own.map(({ name }) => [name, { value: `\${data.helm_template.${name}.manifest}` }]),
          ),
        }),
      ],
    ]);
    return new OfflineWorkspace(folder);
  })();
  try {
    writeFiles(renderer.directory, [
      ["offline_override.tf.json", JSON.stringify({ terraform: { backend: { local: {} } } })],
    ]);
    renderer.mustTerraform("init", "-input=false", "-no-color");
    const plan = JSON.parse(renderer.planJson()) as { planned_values: { outputs: Record<string, { value: string }> } };
    return Object.fromEntries(Object.entries(plan.planned_values.outputs).map(([name, { value }]) => [name, value]));
  } finally {
    renderer.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

function typeOf(value: Json): Json {
  if (typeof value === "string") return "string";
  if (Array.isArray(value)) return ["tuple", value.map(typeOf)];
  return ["object", Object.fromEntries(Object.entries(value as JsonObject).map(([key, item]) => [key, typeOf(item)]))];
}

function writeFiles(folder: string, files: Iterable<readonly [string, string | Buffer]>): void {
  for (const [file, content] of files) {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    writeFileSync(path.join(folder, file), content);
  }
}
