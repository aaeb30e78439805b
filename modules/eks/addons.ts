import { EksAddon } from "@cdktf/provider-aws/lib/eks-addon";
import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import type { Role } from "../../lib/iam";

/** The four add-ons. Source: Infra analysis §2-2 "EKS Add-ons (4개)". */
export type AddonName = "vpc-cni" | "kube-proxy" | "coredns" | "aws-ebs-csi-driver";

interface AddonsContext {
  readonly clusterName: string;
  readonly versions: Readonly<Partial<Record<AddonName, string>>>;
  readonly vpcCniRole: Role;
  readonly ebsCsiRole: Role;
  /** The nodes on which the add-ons run. */
  readonly nodes: ITerraformDependable;
}

/**
 * Makes the add-ons `aws_eks_addon.vpc_cni`, `.kube_proxy`, `.coredns` and `.aws_ebs_csi_driver`, after the nodes: CoreDNS and
 * the CSI controller become active only where their pods find a node. Until then the nodes live on the CNI, kube-proxy and
 * CoreDNS that EKS puts into every new cluster (`bootstrap_self_managed_addons`), which the add-ons then take over.
 */
export function createAddons(
  scope: Construct,
  { clusterName, ebsCsiRole, nodes, vpcCniRole, versions }: AddonsContext,
) {
  const addon = (name: AddonName, role?: Role, configuration?: Readonly<Record<string, unknown>>) => {
    const addonVersion = versions[name];
    return new EksAddon(scope, `eks_addon.${name.replaceAll("-", "_")}`, {
      clusterName,
      addonName: name,
      ...(addonVersion !== undefined && { addonVersion }),
      resolveConflictsOnCreate: "OVERWRITE",
      resolveConflictsOnUpdate: "OVERWRITE",
      ...(role && { serviceAccountRoleArn: role.roleArn }),
      ...(configuration && { configurationValues: JSON.stringify(configuration) }),
      dependsOn: [nodes, ...(role?.dependables ?? [])],
    });
  };
  // Without this the CNI accepts NetworkPolicy objects and enforces none of them. The schema wants text, not a boolean.
  addon("vpc-cni", vpcCniRole, { enableNetworkPolicy: "true" });
  addon("kube-proxy");
  addon("coredns");
  addon("aws-ebs-csi-driver", ebsCsiRole);
}
