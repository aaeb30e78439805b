import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { AmpClient, CreateWorkspaceCommand as CreatePrometheusWorkspaceCommand } from "@aws-sdk/client-amp";
import {
  CreateWorkspaceCommand,
  type CreateWorkspaceCommandInput,
  DeleteWorkspaceCommand,
  DescribeWorkspaceCommand,
  GrafanaClient,
} from "@aws-sdk/client-grafana";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { clientSettings } from "../../tools/cloud/inventory";
import { Cloud } from "../../tools/cloud/simulators";
import { eventually } from "./world";

let cloud: Cloud;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "urr-cloud-"));
  cloud = await Cloud.up(directory, { owner: process.pid });
});

afterAll(async () => {
  await cloud?.down();
  rmSync(directory, { recursive: true, force: true });
});

describe("the cloud", () => {
  it("is found by a second start", async () => {
    const again = await Cloud.up(directory);
    expect(again.environment).toEqual(cloud.environment);
  });

  it("is started once by two starts at once, also after a start that was cut short", async () => {
    const home = mkdtempSync(path.join(tmpdir(), "urr-cloud-"));
    const gone = spawnSync("true").pid;
    writeFileSync(path.join(home, "starting"), String(gone));
    const [one, other] = await Promise.all([Cloud.up(home, { owner: process.pid }), Cloud.up(home)]);
    expect(one?.environment).toEqual(other?.environment);
    await one?.down();
    rmSync(home, { recursive: true, force: true });
  });

  it("listens on 127.0.0.1 only", async () => {
    const health = await cloud.health();
    expect(health.every(({ url, healthy }) => healthy && url.startsWith("http://127.0.0.1:"))).toBe(true);
  });

  it.each(["supervisor", "ministack"])("leaves no process behind when %s is killed", async (victim) => {
    const home = mkdtempSync(path.join(tmpdir(), "urr-cloud-"));
    await Cloud.up(home, { owner: process.pid });
    const { pid } = JSON.parse(readFileSync(path.join(home, "cloud.json"), "utf8")) as { pid: number };
    const members = groupOf(pid);
    expect(members.length).toBeGreaterThanOrEqual(4);
    const killed =
      victim === "supervisor" ? pid : members.find(({ command }) => command.includes(`simulate ${victim}`))?.pid;
    process.kill(killed ?? 0, "SIGKILL");
    await eventually("the group to end", async () => (groupOf(pid).length === 0 ? true : undefined), 20);
    expect(await Cloud.find(home)).toBeUndefined();
    rmSync(home, { recursive: true, force: true });
  });

  it("ends with the process that owns it", async () => {
    const home = mkdtempSync(path.join(tmpdir(), "urr-cloud-"));
    const owner = spawn("sleep", ["600"]);
    await Cloud.up(home, { owner: owner.pid ?? 0 });
    owner.kill("SIGKILL");
    await eventually("the cloud to end", async () => ((await Cloud.find(home)) === undefined ? true : undefined), 20);
    rmSync(home, { recursive: true, force: true });
  });
});

describe("moto", () => {
  it("makes one Prometheus workspace for one client token", async () => {
    const amp = new AmpClient(clientSettings(cloud, "amp"));
    const made = async (clientToken: string) =>
      (await amp.send(new CreatePrometheusWorkspaceCommand({ clientToken }))).workspaceId;
    expect(await made("one")).toBe(await made("one"));
    expect(await made("other")).not.toBe(await made("one"));
  });
});

describe("the Grafana shim", () => {
  const request: CreateWorkspaceCommandInput = {
    accountAccessType: "CURRENT_ACCOUNT",
    permissionType: "CUSTOMER_MANAGED",
    authenticationProviders: ["AWS_SSO"],
    workspaceName: "urr",
    workspaceDataSources: ["PROMETHEUS", "CLOUDWATCH"],
  };
  const grafana = () => new GrafanaClient({ ...clientSettings(cloud, "grafana"), maxAttempts: 1 });

  it("keeps what it was given until it is deleted", async () => {
    const { workspace } = await grafana().send(new CreateWorkspaceCommand(request));
    const workspaceId = workspace?.id ?? "";
    expect((await grafana().send(new DescribeWorkspaceCommand({ workspaceId }))).workspace).toMatchObject({
      name: "urr",
      dataSources: ["PROMETHEUS", "CLOUDWATCH"],
      status: "ACTIVE",
    });
    await grafana().send(new DeleteWorkspaceCommand({ workspaceId }));
    await expect(grafana().send(new DescribeWorkspaceCommand({ workspaceId }))).rejects.toThrow(
      `Workspace ${workspaceId} not found`,
    );
  });

  it("makes one workspace for one client token", async () => {
    const made = async (clientToken: string) =>
      (await grafana().send(new CreateWorkspaceCommand({ ...request, clientToken }))).workspace?.id;
    expect(await made("one")).toBe(await made("one"));
    expect(await made("other")).not.toBe(await made("one"));
  });

  it.each([
    ["an unknown data source", { ...request, workspaceDataSources: ["PROMETHEUSES"] }, "allowed: "],
    [
      "a missing parameter",
      { accountAccessType: "CURRENT_ACCOUNT", permissionType: "CUSTOMER_MANAGED" },
      "authenticationProviders",
    ],
    ["an unknown parameter", { ...request, colour: "blue" }, "Unknown parameter in input: colour"],
    ["a wrong type", { ...request, workspaceDataSources: "PROMETHEUS" }, "Invalid type"],
  ])("fails on %s, as the service model says", async (_, body, message) => {
    const response = await fetch(`${cloud.environment.AWS_ENDPOINT_URL_GRAFANA}/workspaces`, {
      method: "POST",
      body: JSON.stringify(body),
    });
    expect(response.status).toBe(400);
    expect(response.headers.get("x-amzn-errortype")).toBe("ValidationException");
    expect(((await response.json()) as { message: string }).message).toContain(message);
  });
});

/** Live processes of a process group. */
function groupOf(group: number): { pid: number; command: string }[] {
  const { stdout } = spawnSync("ps", ["-eo", "pid=,pgid=,stat=,command="], { encoding: "utf8" });
  return stdout
    .split("\n")
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line))
    .filter((found) => found !== null && Number(found[2]) === group && !found[3]?.startsWith("Z"))
    .map((found) => ({ pid: Number(found?.[1]), command: found?.[4] ?? "" }));
}
