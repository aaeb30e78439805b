import { EksNodeGroup } from "@cdktf/provider-aws/lib/eks-node-group";
import { LaunchTemplate } from "@cdktf/provider-aws/lib/launch-template";
import { Fn, type ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import type { Role } from "../../lib/iam";
import { physicalName } from "../../lib/naming";
import type { SecurityGroup } from "../../lib/security-group";

/** The initial nodes: they carry CoreDNS, Karpenter and whatever else must run before Karpenter can add nodes. */
export interface NodeGroupProps {
  /** Name of the group and of its launch template. Replacing it destroys the group. */
  readonly name: string;
  /** Interchangeable instance types, all of one size. Replacing them destroys the group. */
  readonly instanceTypes: readonly string[];
  /** Replacing it destroys the group. */
  readonly capacityType: "ON_DEMAND" | "SPOT";
  /** Nodes at creation; afterwards whatever scales the group owns the number. */
  readonly desiredSize: number;
  readonly minSize: number;
  readonly maxSize: number;
  /** Root volume of each node, in GiB. */
  readonly diskSizeGib: number;
}

interface NodeGroupContext {
  readonly clusterName: string;
  readonly kubernetesVersion: string;
  readonly nodeRole: Role;
  readonly securityGroup: SecurityGroup;
  readonly subnetIds: readonly string[];
  readonly instanceTags: Readonly<Record<string, string>>;
  readonly dependsOn: readonly ITerraformDependable[];
}

/** AL2023 for x86: AWS builds no Amazon Linux 2 images for Kubernetes 1.33 and later, and all images of the services are amd64. */
const AMI_TYPE = "AL2023_x86_64_STANDARD";
const ROOT_DEVICE = "/dev/xvda";
/** Instance metadata stays within the node: every pod that calls AWS has a role of its own (IRSA). */
const METADATA_HOP_LIMIT = 1;

/**
 * Makes `aws_launch_template.initial` and `aws_eks_node_group.initial`. A launch template that names a security group keeps
 * EKS from attaching the cluster's own to the nodes: rules of the data stores that name ours would otherwise match nothing.
 * Source: Infra analysis §2-2 "노드 그룹", AWS architecture §2.2.
 */
export function createNodeGroup(scope: Construct, props: NodeGroupProps, context: NodeGroupContext): EksNodeGroup {
  const { capacityType, desiredSize, diskSizeGib, instanceTypes, maxSize, minSize, name } = props;
  const { clusterName, dependsOn, instanceTags, kubernetesVersion, nodeRole, securityGroup, subnetIds } = context;
  const tags = { ...instanceTags, Name: name };

  const launchTemplate = new LaunchTemplate(scope, "launch_template.initial", {
    name: physicalName(scope, "launch template", name),
    description: `Nodes of ${name}`,
    updateDefaultVersion: true,
    vpcSecurityGroupIds: [securityGroup.securityGroupId],
    metadataOptions: {
      httpEndpoint: "enabled",
      httpTokens: "required",
      httpPutResponseHopLimit: METADATA_HOP_LIMIT,
    },
    blockDeviceMappings: [
      {
        deviceName: ROOT_DEVICE,
        // Encrypted with the account's EBS key: a key of our own would have to admit Auto Scaling's service-linked role by a grant.
        ebs: { volumeType: "gp3", volumeSize: diskSizeGib, encrypted: "true", deleteOnTermination: "true" },
      },
    ],
    // Default tags of the provider reach the template, not what is launched from it.
    tagSpecifications: ["instance", "volume", "network-interface"].map((resourceType) => ({ resourceType, tags })),
  });

  return new EksNodeGroup(scope, "eks_node_group.initial", {
    clusterName,
    nodeGroupName: physicalName(scope, "node group", name),
    nodeRoleArn: nodeRole.roleArn,
    subnetIds: [...subnetIds],
    version: kubernetesVersion,
    amiType: AMI_TYPE,
    capacityType,
    instanceTypes: [...instanceTypes],
    launchTemplate: { id: launchTemplate.id, version: Fn.tostring(launchTemplate.latestVersion) },
    scalingConfig: { desiredSize, minSize, maxSize },
    updateConfig: { maxUnavailable: 1 },
    labels: { role: "initial" },
    // Documented: what scales the group at run time owns the number of nodes.
    lifecycle: { ignoreChanges: ["scaling_config[0].desired_size"] },
    // Nodes that come up without policies, a way out or a way to the API never join, and the creation fails after 25 minutes.
    dependsOn: [...nodeRole.dependables, ...dependsOn],
  });
}
