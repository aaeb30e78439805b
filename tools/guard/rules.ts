/** Why a resource is guarded: what is lost if it goes. Types that are not listed can be made again from the code. */
export const GUARDED_TYPES: Readonly<Record<string, string>> = {
  aws_api_gateway_rest_api: "its URL, which CloudFront and clients call",
  aws_cloudfront_distribution: "its domain name, and the site while another is made",
  aws_db_instance: "its data",
  aws_dynamodb_table: "its data",
  aws_ecr_repository: "its images",
  aws_eip: "its address, which others may have let in by number: it does not come back",
  aws_eks_cluster: "everything that runs in it, and its endpoint",
  aws_grafana_workspace: "its URL, which people know, and what they made in it",
  aws_elasticache_replication_group: "its data: queues, locks and sessions",
  aws_kms_key: "everything that it encrypts",
  aws_lb: "its domain name, which clients call",
  aws_msk_cluster: "its messages",
  aws_prometheus_workspace: "its metrics",
  aws_route53_zone: "its records and name servers",
  aws_s3_bucket: "its objects and its global name",
  aws_secretsmanager_secret: "its values",
  aws_sqs_queue: "its messages",
  kubernetes_namespace_v1: "everything in it: services, and the data on volumes",
};

/** The plan, as `terraform show -json` prints it, as far as the guard reads it. */
export interface Plan {
  readonly format_version?: string;
  readonly resource_changes?: readonly ResourceChange[];
}

/** One resource of a plan. */
export interface ResourceChange {
  readonly address: string;
  readonly mode?: string;
  readonly type: string;
  /** Given for an object that a failed replacement left behind. */
  readonly deposed?: string;
  readonly change: {
    readonly actions: readonly string[];
    /** Paths of the attributes that make it a replacement. */
    readonly replace_paths?: readonly (readonly (string | number)[])[];
    readonly before?: unknown;
  };
}

/** A guarded resource that a plan would replace or destroy. */
export interface Refusal {
  readonly address: string;
  readonly type: string;
  readonly action: "destroy" | "replace";
  /** Attributes that force the replacement, such as `kms_key_id`. */
  readonly because: readonly string[];
  readonly lost: string;
}

/** What the guard says of a plan. */
export interface Verdict {
  readonly refused: readonly Refusal[];
  /** What would have been refused without an override. */
  readonly overridden: readonly Refusal[];
  /** Overrides that no resource of the plan needed: a typing error, or left from another time. */
  readonly unused: readonly string[];
}

/** A plan that the guard cannot judge, and so refuses. */
export class UnreadablePlanError extends Error {
  override readonly name = "UnreadablePlanError";
}

/**
 * Judges a plan. An override is the exact address of one resource: there are no patterns, so nothing is given up by accident.
 *
 * @param plan What `terraform show -json` printed.
 * @param overrides Addresses that may be replaced or destroyed this time.
 */
export function judge(plan: unknown, overrides: readonly string[] = []): Verdict {
  const allowed = new Set(overrides);
  const losses = changesOf(plan).flatMap(lossOf);
  const lostAddresses = new Set(losses.map(({ address }) => address));
  return {
    refused: losses.filter(({ address }) => !allowed.has(address)),
    overridden: losses.filter(({ address }) => allowed.has(address)),
    unused: [...allowed].filter((address) => !lostAddresses.has(address)),
  };
}

function changesOf(plan: unknown): readonly ResourceChange[] {
  if (typeof plan !== "object" || plan === null || !("format_version" in plan)) {
    throw new UnreadablePlanError(
      "this is not a plan: it has no format_version. Give what `terraform show -json PLANFILE` prints.",
    );
  }
  return (plan as Plan).resource_changes ?? [];
}

function lossOf({ address, change, deposed, mode = "managed", type }: ResourceChange): Refusal[] {
  const lost = GUARDED_TYPES[type];
  if (lost === undefined || mode !== "managed" || !change.actions.includes("delete")) return [];
  const replaced = change.actions.includes("create");
  return [
    {
      // One word, so that an override can name it: the object at the address itself is another one.
      address: deposed === undefined ? address : `${address}:deposed:${deposed}`,
      type,
      action: replaced ? "replace" : "destroy",
      because: (change.replace_paths ?? []).map((path) => path.join(".")),
      lost,
    },
  ];
}

/** The verdict in words, for people and for logs; empty if there is nothing to say. */
export function explain({ overridden, refused, unused }: Verdict): string {
  const lines: string[] = [];
  if (refused.length > 0) {
    const resources = refused.length === 1 ? "1 guarded resource" : `${refused.length} guarded resources`;
    lines.push(`guard: refused, nothing was touched. The plan would lose ${resources}:`);
    for (const refusal of refused) lines.push(`  - ${refusal.address}: ${describe(refusal)}`);
    lines.push(
      "If that is meant, name each address in URR_GUARD_ALLOW (separated by spaces) or, one a line, in the file that URR_GUARD_ALLOW_FILE names. How and when: docs/deploy.md.",
    );
  }
  for (const loss of overridden) lines.push(`guard: allowed by override: ${loss.address}: ${describe(loss)}`);
  for (const address of unused) lines.push(`guard: the override ${address} matches nothing that this plan would lose.`);
  return lines.map((line) => `${line}\n`).join("");
}

function describe({ action, because, lost }: Refusal): string {
  const reason = because.length > 0 ? ` (${because.join(", ")} changes)` : "";
  return `${action}${reason} loses ${lost}`;
}
