import { ConfigMapV1 } from "@cdktf/provider-kubernetes/lib/config-map-v1";
import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link ServiceEndpoints}. */
export interface ServiceEndpointsProps {
  /** Name of the ConfigMap, by which the GitOps tree refers to it. */
  readonly name: string;
  readonly namespace: string;
  /** Addresses that AWS gave, by the key under which services read them. */
  readonly endpoints: Readonly<Record<string, string>>;
  readonly dependsOn?: ITerraformDependable[];
}

/**
 * Addresses that are known only after the infra stack's apply, as a ConfigMap that Git can name without knowing them. Pods read it
 * when they start: restart them after an address has changed.
 */
export class ServiceEndpoints extends Module {
  constructor(scope: Construct, id: string, { dependsOn = [], endpoints, name, namespace }: ServiceEndpointsProps) {
    super(scope, id);
    new ConfigMapV1(this, "config_map_v1.main", { metadata: { name, namespace }, data: { ...endpoints }, dependsOn });
  }
}
