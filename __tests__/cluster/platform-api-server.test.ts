import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import type { RenderedStack } from "../../lib/terraform-modules";
import { buildApp } from "../../main";
import { ApiServer } from "../../tools/kube/api-server";
import { command } from "../../tools/kube/build";
import { outputsOf, PlatformWorkspace, releasesOf, renderCharts, stateOf } from "../stacks/platform-workspace";
import { canRunTerraform } from "../support/real-terraform";
import { customResourceDefinitions } from "./overlays";

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: Readonly<Record<string, unknown>>;
}

const hasTerraform = canRunTerraform("platform stacks against an API server", ["helm", "kubernetes"]);
const rendered = new Map(
  buildApp()
    .render()
    .map((stack) => [stack.stack.node.id, stack]),
);

/**
 * Stands for the quota controller, which is no part of an API server: it writes down what a quota admits, and the provider waits
 * for that.
 */
const QUOTA_CONTROLLER = `
const { execFileSync } = require("node:child_process");
const [kubectl, kubeconfig] = process.argv.slice(1);
const run = (...args) =>
  execFileSync(kubectl, ["--kubeconfig", kubeconfig, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
setInterval(() => {
  try {
    for (const { metadata, spec, status } of JSON.parse(run("get", "resourcequota", "-A", "-o", "json")).items) {
      if (status && status.hard) continue;
      const patch = JSON.stringify({ status: { hard: spec.hard, used: {} } });
      run("-n", metadata.namespace, "patch", "resourcequota", metadata.name, "--subresource=status", "--type=merge", "-p", patch);
    }
  } catch {}
}, 500);
`;

function stackOf(name: string): RenderedStack {
  const found = rendered.get(name);
  if (!found) throw new Error(`no stack ${name}`);
  return found;
}

describe.skipIf(!hasTerraform).each(["staging", "prod"])(
  "platform stack of %s and a real API server",
  (environment) => {
    const folder = mkdtempSync(path.join(tmpdir(), "urr-platform-server-"));
    const searchPath = process.env.PATH;
    let server: ApiServer;
    let workspace: PlatformWorkspace;
    let manifests: Manifest[];
    let targets: string[];
    let quotaController: ChildProcess | undefined;

    beforeAll(async () => {
      server = await ApiServer.start();
      server.install(customResourceDefinitions());
      quotaController = spawn(process.execPath, ["-e", QUOTA_CONTROLLER, command("kubectl"), server.kubeconfig], {
        stdio: "ignore",
      });
      const kubeconfig = parse(readFileSync(server.kubeconfig, "utf8")) as {
        clusters: { cluster: { server: string; "certificate-authority": string } }[];
        users: { user: { token: string } }[];
      };
      const cluster = kubeconfig.clusters[0]?.cluster;
      if (!cluster) throw new Error("the kubeconfig has no cluster");
      // Stands for the AWS command line: the provider asks it for a token exactly as it would in AWS.
      writeFileSync(
        path.join(folder, "aws"),
        `#!/bin/sh
[ "$*" = "eks get-token --output json --region ap-northeast-2 --cluster-name eks_cluster_name" ] || exit 64
echo '${JSON.stringify({
          apiVersion: "client.authentication.k8s.io/v1beta1",
          kind: "ExecCredential",
          spec: {},
          status: { token: kubeconfig.users[0]?.user.token },
        })}'
`,
      );
      chmodSync(path.join(folder, "aws"), 0o755);
      process.env.PATH = `${folder}:${searchPath}`;

      workspace = new PlatformWorkspace(
        stackOf(`${environment}-platform`),
        stateOf({
          ...outputsOf(stackOf(environment)),
          eks_cluster_endpoint: cluster.server,
          eks_cluster_certificate_authority_data: readFileSync(cluster["certificate-authority"]).toString("base64"),
        }),
      );
      workspace.init();
      const plan = workspace.plan();
      targets = plan.resource_changes
        .filter(({ type }) => type.startsWith("kubernetes_"))
        .map(({ address }) => `-target=${address}`);
      manifests = Object.values(renderCharts(workspace, releasesOf(plan)))
        .flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as Manifest | null))
        .filter((manifest) => manifest !== null);
    }, 600_000);

    afterAll(async () => {
      process.env.PATH = searchPath;
      quotaController?.kill();
      workspace?.dispose();
      await server?.stop();
      rmSync(folder, { recursive: true, force: true });
    });

    function dryRun(manifest: unknown) {
      return server.kubectl(["apply", "--server-side", "--dry-run=server", "-f", "-"], JSON.stringify(manifest));
    }

    it("applies everything that is not a Helm release, by a token from the exec command", () => {
      const { status, stderr } = workspace.terraform("apply", "-auto-approve", "-input=false", "-no-color", ...targets);
      expect(status, stderr).toBe(0);
      expect(targets.length).toBeGreaterThan(12);
    });

    it("has nothing left to change: the server stores what was asked for", () => {
      const { status, stderr, stdout } = workspace.terraform(
        "plan",
        "-detailed-exitcode",
        "-input=false",
        "-no-color",
        ...targets,
      );
      expect(status, `${stdout}${stderr}`).toBe(0);
    });

    it("lets a quota and the default limits stand in the services' namespace", () => {
      const namespace = environment === "prod" ? "urr-spring" : "urr-staging";
      const quota = JSON.parse(
        server.mustKubectl(["-n", namespace, "get", "resourcequota", "default", "-o", "json"]),
      ) as {
        spec: { hard: Record<string, string> };
      };
      expect(quota.spec.hard).toMatchObject({ "services.loadbalancers": "0", "services.nodeports": "0" });
      server.mustKubectl(["-n", namespace, "get", "limitrange", "default"]);
    });

    it("makes every dashboard as a ConfigMap, whole", () => {
      const { items } = JSON.parse(
        server.mustKubectl(["-n", "monitoring", "get", "configmap", "-l", "grafana_dashboard=1", "-o", "json"]),
      ) as { items: { data: Record<string, string> }[] };
      const files = items.flatMap(({ data }) => Object.entries(data));
      expect(files).toHaveLength(6);
      for (const [file, content] of files)
        expect(content).toBe(readFileSync(path.join("k8s/dashboards", file), "utf8"));
    });

    it("renders own charts that the server accepts, field by field", () => {
      const kinds = new Set(manifests.map(({ kind }) => kind));
      for (const kind of [
        "NodePool",
        "EC2NodeClass",
        "TargetGroupBinding",
        "ClusterSecretStore",
        "SecretStore",
        "ExternalSecret",
        "Application",
        "PrometheusRule",
        "Job",
      ])
        expect(kinds).toContain(kind);
      for (const manifest of manifests) {
        const { status, stderr } = dryRun(manifest);
        expect(status, `${manifest.kind} ${manifest.metadata.name}: ${stderr}`).toBe(0);
        expect(stderr, manifest.metadata.name).not.toContain("would violate PodSecurity");
      }
    });

    it("runs jobs as pods that the restricted profile admits", () => {
      const jobs = manifests.filter(({ kind }) => kind === "Job");
      expect(jobs).toHaveLength(2);
      for (const { metadata, spec } of jobs) {
        const pod = (spec as { template: { spec: unknown } }).template.spec;
        const { status, stderr } = dryRun({ apiVersion: "v1", kind: "Pod", metadata, spec: pod });
        expect(status, stderr).toBe(0);
      }
    });

    it.each<[string, (pool: Readonly<Record<string, unknown>>) => unknown, string]>([
      ["a misspelt field", (spec) => ({ ...spec, limmits: {} }), "limmits"],
      [
        "a consolidation that is no duration",
        (spec) => ({ ...spec, disruption: { ...(spec.disruption as object), consolidateAfter: "soon" } }),
        "consolidateAfter",
      ],
      [
        "a requirement without values, by the definition's own CEL rule",
        (spec) => {
          const changed = structuredClone(spec) as unknown as {
            template: { spec: { requirements: { values: string[] }[] } };
          };
          const [first] = changed.template.spec.requirements;
          if (first) first.values = [];
          return changed;
        },
        "must have a value",
      ],
    ])("fails on a NodePool with %s", (_, change, message) => {
      const pool = manifests.find(({ kind }) => kind === "NodePool");
      const { status, stderr } = dryRun({ ...pool, spec: change(pool?.spec ?? {}) });
      expect(status).not.toBe(0);
      expect(stderr).toContain(message);
    });
  },
);
