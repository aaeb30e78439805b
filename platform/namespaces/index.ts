import { LimitRangeV1 } from "@cdktf/provider-kubernetes/lib/limit-range-v1";
import { NamespaceV1 } from "@cdktf/provider-kubernetes/lib/namespace-v1";
import { ResourceQuotaV1 } from "@cdktf/provider-kubernetes/lib/resource-quota-v1";
import type { Construct } from "constructs";
import { Module } from "../../lib/terraform-modules";

/** A namespace. Removing it deletes everything in it. */
export interface NamespaceProps {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The most that it may hold. @default no limit */
  readonly quota?: NamespaceQuota;
}

/** The most that a namespace may hold. */
export interface NamespaceQuota {
  /** Sum of requests, in cores. */
  readonly requestsCpu: string;
  /** Sum of requests, such as `16Gi`. */
  readonly requestsMemory: string;
  /** Sum of limits, such as `32Gi`. */
  readonly limitsMemory: string;
  readonly pods: number;
}

/** Properties of {@link Namespaces}. */
export interface NamespacesProps {
  readonly namespaces: readonly NamespaceProps[];
}

/** What a container gets that says nothing: a quota refuses pods without requests. */
const DEFAULT_REQUEST = { cpu: "50m", memory: "64Mi" };
const DEFAULT_LIMIT = { memory: "256Mi" };

/** The namespaces of services and platform, with Pod Security levels, quotas and defaults. Source: Infra analysis §3-2, AWS architecture §3.5. */
export class Namespaces extends Module {
  constructor(scope: Construct, id: string, { namespaces }: NamespacesProps) {
    super(scope, id);
    for (const { labels, name, quota } of namespaces) this.createNamespace(name, labels, quota);
  }

  private createNamespace(name: string, labels: Readonly<Record<string, string>>, quota?: NamespaceQuota): void {
    const id = name.replaceAll("-", "_");
    const namespace = new NamespaceV1(this, `namespace_v1.${id}`, {
      metadata: { name, labels: { ...labels } },
    });
    if (!quota) return;
    const metadata = { name: "default", namespace: namespace.metadata.name };
    new ResourceQuotaV1(this, `resource_quota_v1.${id}`, {
      metadata,
      spec: {
        hard: {
          "requests.cpu": quota.requestsCpu,
          "requests.memory": quota.requestsMemory,
          "limits.memory": quota.limitsMemory,
          pods: `${quota.pods}`,
          // Load balancers are Terraform's.
          "services.loadbalancers": "0",
          "services.nodeports": "0",
        },
      },
    });
    new LimitRangeV1(this, `limit_range_v1.${id}`, {
      metadata,
      spec: { limit: [{ type: "Container", defaultRequest: DEFAULT_REQUEST, default: DEFAULT_LIMIT }] },
    });
  }
}
