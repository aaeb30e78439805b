import {
  CreateWorkspaceServiceAccountCommand,
  CreateWorkspaceServiceAccountTokenCommand,
  DeleteWorkspaceServiceAccountTokenCommand,
  type GrafanaClient,
  paginateListWorkspaceServiceAccounts,
} from "@aws-sdk/client-grafana";
import { type Dashboard, type DataSource, Grafana } from "./grafana";

/** What is published, and where. */
export interface Publication {
  readonly workspaceId: string;
  /** Base URL of the workspace's Grafana. */
  readonly url: string;
  readonly dashboards: readonly Dashboard[];
  readonly dataSources: readonly DataSource[];
  /** Said in each dashboard's history: the commit. */
  readonly message: string;
}

/** Service account of the workspace that publishes; its tokens live for minutes. */
export const SERVICE_ACCOUNT = "urr-dashboards";
/** Long enough for a slow run; a token that outlives a crash is worth nothing soon after. */
export const TOKEN_LIFETIME_SECONDS = 300;

/**
 * Publishes dashboards and data sources to a workspace of Managed Grafana, with a token that is made for it and deleted afterwards,
 * also when something fails. The AWS provider has no resource for what is inside a workspace.
 */
export async function publish(client: GrafanaClient, publication: Publication): Promise<void> {
  const { dashboards, dataSources, message, url, workspaceId } = publication;
  const serviceAccountId = await serviceAccount(client, workspaceId);
  const { serviceAccountToken: token } = await client.send(
    new CreateWorkspaceServiceAccountTokenCommand({
      workspaceId,
      serviceAccountId,
      // Names of tokens are unique, also of one that a crash left behind.
      name: `publish-${Date.now()}`,
      secondsToLive: TOKEN_LIFETIME_SECONDS,
    }),
  );
  if (!token?.key || !token.id) throw new Error(`workspace ${workspaceId}: AWS made a token and did not tell it`);
  try {
    const grafana = new Grafana(url, token.key);
    for (const source of dataSources) await grafana.putDataSource(source);
    await grafana.putFolder();
    for (const dashboard of dashboards) await grafana.putDashboard(dashboard, message);
  } finally {
    await client.send(
      new DeleteWorkspaceServiceAccountTokenCommand({ workspaceId, serviceAccountId, tokenId: token.id }),
    );
  }
}

/** The publishing service account's id; it is made at the first run. Data sources need the role ADMIN. */
async function serviceAccount(client: GrafanaClient, workspaceId: string): Promise<string> {
  for await (const { serviceAccounts = [] } of paginateListWorkspaceServiceAccounts({ client }, { workspaceId })) {
    const found = serviceAccounts.find(({ isDisabled, name }) => name === SERVICE_ACCOUNT && isDisabled !== "true");
    if (found?.id) return found.id;
  }
  const { id } = await client.send(
    new CreateWorkspaceServiceAccountCommand({ workspaceId, name: SERVICE_ACCOUNT, grafanaRole: "ADMIN" }),
  );
  if (!id) throw new Error(`workspace ${workspaceId}: AWS made a service account and did not tell its id`);
  return id;
}
