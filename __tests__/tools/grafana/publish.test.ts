import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { GrafanaClient } from "@aws-sdk/client-grafana";
import { afterEach, describe, expect, it } from "vitest";
import { dataSources, readDashboards } from "../../../tools/grafana/grafana";
import { publish, SERVICE_ACCOUNT, TOKEN_LIFETIME_SECONDS } from "../../../tools/grafana/publish";

const WORKSPACE = "g-1234567890";

interface Call {
  readonly method: string;
  readonly path: string;
  readonly authorization: string;
  readonly body: Record<string, unknown>;
}

/** AWS's API for workspaces and the Grafana inside one, on loopback: accounts, tokens, data sources, folders and dashboards. */
class Workspace {
  readonly calls: Call[] = [];
  readonly accounts: { id: string; name: string; isDisabled: string; grafanaRole: string }[] = [];
  readonly tokens = new Map<string, string>();
  readonly sources = new Map<string, unknown>();
  readonly dashboards = new Map<string, Record<string, unknown>>();
  folder: unknown;
  /** Answers this to the dashboard with this title. */
  refuse: { readonly title: string; readonly status: number } | undefined;
  private readonly server: Server;

  constructor() {
    this.server = createServer((request, response) => void this.answer(request, response));
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    const address = this.server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return `http://127.0.0.1:${address.port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const call: Call = {
      method: request.method ?? "",
      path: (request.url ?? "").split("?")[0] ?? "",
      authorization: request.headers.authorization ?? "",
      body: text === "" ? {} : (JSON.parse(text) as Record<string, unknown>),
    };
    this.calls.push(call);
    const [status, body] = call.path.startsWith("/api/") ? this.grafana(call) : this.aws(call);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }

  private aws({ authorization, body, method, path }: Call): [number, unknown] {
    if (!authorization.startsWith("AWS4-HMAC-SHA256 ")) return [403, { message: "unsigned" }];
    const accounts = `/workspaces/${WORKSPACE}/serviceaccounts`;
    if (path === accounts && method === "GET") return [200, { serviceAccounts: this.accounts, workspaceId: WORKSPACE }];
    if (path === accounts && method === "POST") {
      const account = {
        id: `${this.accounts.length + 1}`,
        name: String(body.name),
        grafanaRole: String(body.grafanaRole),
      };
      this.accounts.push({ ...account, isDisabled: "false" });
      return [200, { ...account, workspaceId: WORKSPACE }];
    }
    const [, account, tokenId] = new RegExp(`^${accounts}/(\\d+)/tokens(?:/(\\d+))?$`).exec(path) ?? [];
    if (account && method === "POST") {
      const id = `${this.tokens.size + 1}`;
      this.tokens.set(id, `glsa_${id}`);
      return [
        200,
        {
          serviceAccountId: account,
          workspaceId: WORKSPACE,
          serviceAccountToken: { id, key: `glsa_${id}`, name: body.name },
        },
      ];
    }
    if (account && tokenId && method === "DELETE") {
      this.tokens.delete(tokenId);
      return [200, { serviceAccountId: account, tokenId, workspaceId: WORKSPACE }];
    }
    return [404, { message: "ResourceNotFoundException" }];
  }

  private grafana({ authorization, body, method, path }: Call): [number, unknown] {
    if (![...this.tokens.values()].includes(authorization.replace("Bearer ", "")))
      return [401, { message: "Unauthorized" }];
    const uid = path.split("/").at(-1) ?? "";
    if (path.startsWith("/api/datasources/uid/")) {
      if (!this.sources.has(uid)) return [404, { message: "Data source not found" }];
      if (method === "PUT") this.sources.set(uid, body);
      return [200, this.sources.get(uid)];
    }
    if (path === "/api/datasources") {
      this.sources.set(String(body.uid), body);
      return [200, {}];
    }
    if (path.startsWith("/api/folders/"))
      return this.folder ? [200, this.folder] : [404, { message: "folder not found" }];
    if (path === "/api/folders") {
      if (this.folder) return [412, { message: "a folder with the same name already exists" }];
      this.folder = body;
      return [200, body];
    }
    if (path === "/api/dashboards/db") {
      const dashboard = body.dashboard as { uid: string; title: string };
      if (this.refuse?.title === dashboard.title) return [this.refuse.status, { message: "no" }];
      if (this.dashboards.has(dashboard.uid) && body.overwrite !== true) return [412, { status: "name-exists" }];
      this.dashboards.set(dashboard.uid, body);
      return [200, { status: "success" }];
    }
    return [404, { message: "Not found" }];
  }
}

let workspace: Workspace;

afterEach(() => workspace.stop());

async function setUp() {
  workspace = new Workspace();
  const url = await workspace.start();
  const client = new GrafanaClient({
    endpoint: url,
    region: "ap-northeast-2",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
    maxAttempts: 1,
  });
  const publication = {
    workspaceId: WORKSPACE,
    url,
    dashboards: readDashboards("k8s/dashboards"),
    dataSources: dataSources("https://aps-workspaces.ap-northeast-2.amazonaws.com/workspaces/ws-1", "ap-northeast-2"),
    message: "commit abc1234",
  };
  return { run: (changes = {}) => publish(client, { ...publication, ...changes }), publication };
}

describe("publishing dashboards to Managed Grafana", () => {
  it("posts every file of k8s/dashboards, as it is, into one folder", async () => {
    const { publication, run } = await setUp();
    await run();
    expect([...workspace.dashboards.keys()].sort()).toEqual(publication.dashboards.map(({ uid }) => uid).sort());
    for (const { uid, ...dashboard } of publication.dashboards) {
      expect(workspace.dashboards.get(uid)).toEqual({
        dashboard: { ...dashboard, uid, id: null },
        folderUid: "urr",
        message: "commit abc1234",
        overwrite: true,
      });
    }
    expect(workspace.folder).toEqual({ uid: "urr", title: "URR" });
  });

  it("makes data sources of the two kinds that dashboards choose from, signed by the workspace's own role", async () => {
    const { publication, run } = await setUp();
    await run();
    expect([...workspace.sources.values()]).toEqual(publication.dataSources);
    expect(workspace.sources.get("urr-prometheus")).toMatchObject({
      type: "prometheus",
      jsonData: { sigV4Auth: true, sigV4Region: "ap-northeast-2" },
    });
    expect(workspace.sources.get("urr-cloudwatch")).toMatchObject({ type: "cloudwatch" });
  });

  it("takes a token that lives for minutes, and deletes it", async () => {
    const { run } = await setUp();
    await run();
    expect(workspace.tokens.size).toBe(0);
    const created = workspace.calls.find(({ method, path }) => method === "POST" && path.endsWith("/tokens"));
    expect(created?.body.secondsToLive).toBe(TOKEN_LIFETIME_SECONDS);
    expect(TOKEN_LIFETIME_SECONDS).toBeLessThanOrEqual(900);
  });

  it("ends in the same state when it runs again, with one service account", async () => {
    const { run } = await setUp();
    await run();
    const before = structuredClone([...workspace.dashboards, ...workspace.sources]);
    await run();
    expect([...workspace.dashboards, ...workspace.sources]).toEqual(before);
    expect(workspace.accounts.map(({ grafanaRole, name }) => ({ grafanaRole, name }))).toEqual([
      { name: SERVICE_ACCOUNT, grafanaRole: "ADMIN" },
    ]);
  });

  it("deletes the token when Grafana refuses a dashboard, and says which and why", async () => {
    const { run } = await setUp();
    workspace.refuse = { title: "Kafka", status: 422 };
    await expect(run()).rejects.toThrow("dashboard Kafka: Grafana answered 422");
    expect(workspace.tokens.size).toBe(0);
  });

  it("never sends the token to where Grafana redirects", async () => {
    const { run } = await setUp();
    workspace.refuse = { title: "Kafka", status: 302 };
    await expect(run()).rejects.toThrow();
    expect(workspace.tokens.size).toBe(0);
  });
});
