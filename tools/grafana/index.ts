import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { GrafanaClient } from "@aws-sdk/client-grafana";
import { givenFile } from "../terraform/given-file";
import { dataSources, readDashboards } from "./grafana";
import { publish } from "./publish";

const DASHBOARDS = fileURLToPath(new URL("../../k8s/dashboards", import.meta.url));
const USAGE = `dashboards: posts k8s/dashboards to Managed Grafana.
  npm run dashboards -- OUTPUTS
OUTPUTS is a file with the infra stack's outputs: \`terraform output -json > outputs.json\` in cdktf.out/stacks/<stack>.
`;

interface Outputs {
  readonly workspaceId: string;
  readonly endpoint: string;
  readonly remoteWriteUrl: string;
}

async function main([file]: readonly string[]): Promise<number> {
  if (!file) {
    process.stderr.write(USAGE);
    return 2;
  }
  const { endpoint, remoteWriteUrl, workspaceId } = outputsOf(readFileSync(givenFile(file), "utf8"));
  const region = /\.([a-z]{2}-[a-z]+-\d)\.amazonaws\.com$/.exec(endpoint)?.[1];
  if (!region) throw new Error(`${file}: grafana_endpoint: given ${endpoint}; allowed: a host of Managed Grafana.`);
  const dashboards = readDashboards(DASHBOARDS);
  await publish(new GrafanaClient({ region }), {
    workspaceId,
    url: `https://${endpoint}`,
    dashboards,
    dataSources: dataSources(remoteWriteUrl.replace(/\/api\/v1\/remote_write$/, ""), region),
    message: commit(),
  });
  process.stdout.write(`${dashboards.length} dashboards are in https://${endpoint}\n`);
  return 0;
}

/** What publishing needs of `terraform output -json`. */
function outputsOf(text: string): Outputs {
  const outputs = JSON.parse(text) as Record<string, { value?: unknown } | undefined>;
  const value = (name: string): string => {
    const found = outputs[name]?.value;
    if (typeof found !== "string")
      throw new Error(`output ${name}: given ${JSON.stringify(found)}; allowed: text. Apply the infra stack first.`);
    return found;
  };
  return {
    workspaceId: value("grafana_workspace_id"),
    endpoint: value("grafana_endpoint"),
    remoteWriteUrl: value("amp_remote_write_endpoint"),
  };
}

function commit(): string {
  const { status, stdout } = spawnSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" });
  return status === 0 ? `commit ${stdout.trim()}` : "published by hand";
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
