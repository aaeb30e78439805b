import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

/** A dashboard as its file has it. */
export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly [key: string]: unknown;
}

/** A data source of Grafana. */
export interface DataSource {
  readonly name: string;
  readonly uid: string;
  readonly type: string;
  readonly access: "proxy";
  readonly url?: string;
  readonly isDefault?: boolean;
  readonly jsonData: Readonly<Record<string, string | boolean>>;
}

/** Folder that our dashboards are in: by its lasting id, whatever people call it. */
export const FOLDER = { uid: "urr", title: "URR" } as const;

/** Grafana refused something. */
export class GrafanaError extends Error {
  constructor(
    what: string,
    readonly status: number,
    answer: string,
  ) {
    super(`${what}: Grafana answered ${status}: ${answer.slice(0, 500) || "nothing"}`);
    this.name = "GrafanaError";
  }
}

/** Dashboards of a folder of JSON files, sorted by file name. */
export function readDashboards(folder: string): Dashboard[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".json"))
    .sort()
    .map((file) => {
      const dashboard = JSON.parse(readFileSync(path.join(folder, file), "utf8")) as Partial<Dashboard>;
      if (!dashboard.uid || !dashboard.title)
        throw new Error(`${file}: given uid ${dashboard.uid} and title ${dashboard.title}; allowed: both. Add them.`);
      return dashboard as Dashboard;
    });
}

/** The data sources that dashboards choose from: Managed Prometheus, signed by Grafana's own role, and CloudWatch. */
export function dataSources(prometheusUrl: string, region: string): DataSource[] {
  return [
    {
      name: "Managed Prometheus",
      uid: "urr-prometheus",
      type: "prometheus",
      access: "proxy",
      url: prometheusUrl,
      isDefault: true,
      jsonData: { httpMethod: "POST", sigV4Auth: true, sigV4AuthType: "ec2_iam_role", sigV4Region: region },
    },
    {
      name: "CloudWatch",
      uid: "urr-cloudwatch",
      type: "cloudwatch",
      access: "proxy",
      jsonData: { authType: "ec2_iam_role", defaultRegion: region },
    },
  ];
}

/** Grafana's HTTP API, as far as dashboards need it. Everything may be done again: it ends in the same state. */
export class Grafana {
  /**
   * @param url Base URL, such as `https://g-1234567890.grafana-workspace.ap-northeast-2.amazonaws.com`.
   * @param token Token of a service account with the role Admin.
   */
  constructor(
    private readonly url: string,
    private readonly token: string,
  ) {}

  /** Makes a data source, or brings the one with its uid to these settings. */
  async putDataSource(source: DataSource): Promise<void> {
    const what = `data source ${source.name}`;
    const existing = await this.ask("GET", `/api/datasources/uid/${source.uid}`, what, undefined, [404]);
    if (existing.status === 404) await this.ask("POST", "/api/datasources", what, source);
    else await this.ask("PUT", `/api/datasources/uid/${source.uid}`, what, source);
  }

  /** Makes the folder, unless it is there. */
  async putFolder(): Promise<void> {
    const what = `folder ${FOLDER.title}`;
    const existing = await this.ask("GET", `/api/folders/${FOLDER.uid}`, what, undefined, [404]);
    if (existing.status === 404) await this.ask("POST", "/api/folders", what, FOLDER);
  }

  /** Posts a dashboard into the folder, over whatever has its uid. */
  async putDashboard(dashboard: Dashboard, message: string): Promise<void> {
    await this.ask("POST", "/api/dashboards/db", `dashboard ${dashboard.title}`, {
      // Grafana's own number must be absent, or it looks for that number.
      dashboard: { ...dashboard, id: null },
      folderUid: FOLDER.uid,
      message,
      overwrite: true,
    });
  }

  private async ask(method: string, path: string, what: string, body?: unknown, allowed: readonly number[] = []) {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        accept: "application/json",
        ...(body !== undefined && { "content-type": "application/json" }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      redirect: "error",
    });
    const text = await response.text();
    if (!response.ok && !allowed.includes(response.status)) throw new GrafanaError(what, response.status, text);
    return { status: response.status, text };
  }
}
