import { EksAccessEntry } from "@cdktf/provider-aws/lib/eks-access-entry";
import { EksAccessPolicyAssociation } from "@cdktf/provider-aws/lib/eks-access-policy-association";
import { EksCluster } from "@cdktf/provider-aws/lib/eks-cluster";
import { TerraformIterator, Token } from "cdktf";
import type { Construct } from "constructs";
import type { OidcProvider, Role } from "../../lib/iam";
import type { EncryptionKey } from "../../lib/kms";
import { createLogGroup } from "../../lib/log-group";
import { physicalName } from "../../lib/naming";
import { enforce, type Rule } from "../../lib/rules";
import { allTraffic, INTERNET, SecurityGroup, tcp } from "../../lib/security-group";
import { Module } from "../../lib/terraform-modules";
import type { Vpc } from "../vpc";
import { type AddonName, createAddons } from "./addons";
import { createOidcProvider, createServiceRole, type ServiceRoleProps } from "./irsa";
import { createKarpenter } from "./karpenter";
import { createNodeGroup, type NodeGroupProps } from "./node-group";

export type { AddonName } from "./addons";
export type { ServiceRoleProps } from "./irsa";
export type { NodeGroupProps } from "./node-group";

/** Properties of {@link Eks}. */
export interface EksProps {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
  /** Account and Region of the cluster: Karpenter's permissions name them. */
  readonly accountId: string;
  readonly region: string;
  /** Name of the cluster. Replacing it destroys the cluster and everything in it. */
  readonly clusterName: string;
  /** Kubernetes version, such as `1.35`. It can be raised by one minor version at a time and never lowered. */
  readonly kubernetesVersion: string;
  readonly vpc: Vpc;
  /** Encrypts Kubernetes Secrets and the control plane's logs. Once set, it cannot be taken away or replaced. */
  readonly key: EncryptionKey;
  /** Role of the control plane. Replacing it destroys the cluster. */
  readonly clusterRole: Role;
  /** Role of every node, the initial ones and Karpenter's. */
  readonly nodeRole: Role;
  /** Whether the API answers on the internet, too. @default true (Infra analysis §2-2) */
  readonly endpointPublicAccess?: boolean;
  /** IPv4 blocks that may reach the public endpoint. AWS reads an empty list as the whole internet. */
  readonly publicAccessCidrs: readonly string[];
  /** IAM roles and users that administer the cluster. Nobody else may, not even whoever creates it. Known at plan. */
  readonly adminPrincipalArns: readonly string[];
  /**
   * IAM roles that read the whole cluster, Secrets included, and change nothing: those that plan what runs in it. None of them may
   * be an administrator, too. Known at plan. @default none
   */
  readonly viewerPrincipalArns?: readonly string[];
  readonly nodeGroup: NodeGroupProps;
  /** Tags of instances, volumes and network interfaces, which the provider's default tags do not reach. @default the name only */
  readonly instanceTags?: Readonly<Record<string, string>>;
  /** Days for which the control plane's logs are kept. @default 7 (Infra analysis §2-2) */
  readonly logRetentionDays?: number;
  /**
   * Versions of add-ons, such as `{ "kube-proxy": "v1.35.0-eksbuild.2" }`. An add-on without one gets AWS's default for the
   * Kubernetes version and keeps it: name the new ones when that version is raised.
   *
   * @default AWS's defaults, which always exist; AWS withdraws single builds
   */
  readonly addonVersions?: Readonly<Partial<Record<AddonName, string>>>;
}

const DEFAULT_LOG_RETENTION_DAYS = 7;
/** Source: Infra analysis §2-2 "클러스터 설정". */
const LOG_TYPES = ["api", "audit", "authenticator", "controllerManager", "scheduler"];
/** Addresses of Kubernetes Services. EKS takes this block for VPCs in 10.0.0.0/8 anyway; written down, it cannot surprise. */
const SERVICE_CIDR = "172.20.0.0/16";
const CLUSTER_ADMIN_POLICY_ARN = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";
/**
 * Reads every kind of object, Secrets included: Helm keeps its releases there, and a plan compares them. `AmazonEKSViewPolicy` reads
 * neither Secrets nor storage classes. Source: Amazon EKS User Guide, "Review access policy permissions".
 */
const ADMIN_VIEW_POLICY_ARN = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSAdminViewPolicy";
const VERSION_PATTERN = /^1\.\d{2}$/;
const ADDON_VERSION_PATTERN = /^v\d+\.\d+\.\d+-eksbuild\.\d+$/;

/** Ports of nodes that the control plane opens connections to, and why. */
const CONTROL_PLANE_TO_NODES: readonly { readonly port: number; readonly description: string }[] = [
  { port: 443, description: "Control plane to webhooks and aggregated APIs on 443" },
  { port: 10250, description: "Control plane to kubelets (logs, exec), metrics-server and operator webhooks" },
  { port: 9443, description: "Control plane to the webhook of the load balancer controller" },
];

const RULES: readonly Rule<EksProps>[] = [
  {
    property: "nodeGroup",
    given: ({ nodeGroup: { desiredSize, maxSize, minSize } }) => ({ minSize, desiredSize, maxSize }),
    valid: ({ nodeGroup: { desiredSize, maxSize, minSize } }) =>
      [minSize, desiredSize, maxSize].every(Number.isInteger) &&
      minSize >= 1 &&
      minSize <= desiredSize &&
      desiredSize <= maxSize,
    allowed: "whole numbers with 1 <= minSize <= desiredSize <= maxSize",
    remedy: "Raise maxSize or lower the others.",
  },
  {
    property: "nodeGroup.instanceTypes",
    given: ({ nodeGroup }) => nodeGroup.instanceTypes,
    valid: ({ nodeGroup: { instanceTypes } }) =>
      instanceTypes.length >= 1 && instanceTypes.length <= 20 && new Set(instanceTypes).size === instanceTypes.length,
    allowed: "1 to 20 different instance types",
    remedy: "Name at least one, such as t3.medium.",
  },
  {
    property: "nodeGroup.diskSizeGib",
    given: ({ nodeGroup }) => nodeGroup.diskSizeGib,
    valid: ({ nodeGroup: { diskSizeGib } }) =>
      Number.isInteger(diskSizeGib) && diskSizeGib >= 20 && diskSizeGib <= 16384,
    allowed: "20 to 16384 GiB",
    remedy: "The root volume holds the system's image (20 GiB) and every container image of the node.",
  },
  {
    property: "kubernetesVersion",
    given: ({ kubernetesVersion }) => kubernetesVersion,
    valid: ({ kubernetesVersion }) => VERSION_PATTERN.test(kubernetesVersion),
    allowed: "a minor version such as 1.35",
    remedy: "EKS chooses the patch version itself.",
  },
  {
    property: "publicAccessCidrs",
    given: ({ publicAccessCidrs }) => publicAccessCidrs,
    valid: ({ endpointPublicAccess = true, publicAccessCidrs }) =>
      !endpointPublicAccess || publicAccessCidrs.length > 0,
    allowed: "at least one IPv4 block while the public endpoint is on",
    remedy: "Name office, VPN and CI runners; AWS reads an empty list as 0.0.0.0/0.",
  },
  {
    property: "adminPrincipalArns",
    given: ({ adminPrincipalArns }) => adminPrincipalArns,
    valid: ({ adminPrincipalArns }) => adminPrincipalArns.length > 0,
    allowed: "at least one IAM role or user",
    remedy: "Without one nobody can administer the cluster: its creator gets no rights by having created it.",
  },
  {
    property: "viewerPrincipalArns",
    given: ({ viewerPrincipalArns = [] }) => viewerPrincipalArns,
    valid: ({ adminPrincipalArns, viewerPrincipalArns = [] }) =>
      viewerPrincipalArns.every((arn) => Token.isUnresolved(arn) || !adminPrincipalArns.includes(arn)),
    allowed: "principals that are not among adminPrincipalArns",
    remedy: "EKS keeps one access entry per principal; administrators read everything anyway.",
  },
  {
    property: "addonVersions",
    given: ({ addonVersions = {} }) => addonVersions,
    valid: ({ addonVersions = {} }) =>
      Object.values(addonVersions).every((version) => ADDON_VERSION_PATTERN.test(version)),
    allowed: "versions such as v1.35.0-eksbuild.2",
    remedy: "List them with: aws eks describe-addon-versions --kubernetes-version <version> --addon-name <name>.",
  },
  {
    property: "addonVersions.kube-proxy",
    given: ({ addonVersions = {}, kubernetesVersion }) => ({
      kubernetesVersion,
      kubeProxy: addonVersions["kube-proxy"],
    }),
    valid: ({ addonVersions = {}, kubernetesVersion }) =>
      addonVersions["kube-proxy"] === undefined || addonVersions["kube-proxy"].startsWith(`v${kubernetesVersion}.`),
    allowed: ({ kubernetesVersion }) => `a build of v${kubernetesVersion}`,
    remedy: "kube-proxy follows the minor version of the cluster.",
  },
];

/**
 * The cluster: control plane, initial nodes, add-ons, identity provider, and what Karpenter needs of AWS. What runs in the
 * cluster is the platform's. Source: Infra analysis §2-2, AWS architecture §2, Architecture guide §6.
 */
export class Eks extends Module {
  /** Name, known to Terraform only once the control plane exists: whatever takes it from here waits for the cluster. */
  readonly clusterName: string;
  readonly clusterArn: string;
  readonly clusterEndpoint: string;
  /** Certificate of the API, base64. */
  readonly certificateAuthorityData: string;
  readonly oidc: OidcProvider;
  /** Carried by every node and so by every pod: the initial group's by launch template, Karpenter's by discovery tag. */
  readonly nodeSecurityGroup: SecurityGroup;
  /** Carried by the control plane's network interfaces in the app subnets, beside the one that EKS makes itself. */
  readonly clusterSecurityGroup: SecurityGroup;
  readonly nodeGroupName: string;
  readonly nodeRole: Role;
  readonly vpcCniRole: Role;
  readonly ebsCsiRole: Role;
  readonly karpenterRole: Role;
  readonly karpenterRoleArn: string;
  /** Setting `interruptionQueue` of Karpenter. */
  readonly karpenterQueueName: string;

  private readonly props: EksProps;

  constructor(scope: Construct, id: string, props: EksProps) {
    super(scope, id);
    this.props = props;
    enforce(this, props, RULES);
    const {
      addonVersions = {},
      accountId,
      instanceTags = {},
      kubernetesVersion,
      nodeRole,
      prefix,
      region,
      vpc,
    } = props;

    this.clusterSecurityGroup = this.createClusterSecurityGroup();
    this.nodeSecurityGroup = this.createNodeSecurityGroup();
    const cluster = this.createCluster();
    this.oidc = createOidcProvider(this, cluster);
    const { adminPrincipalArns, viewerPrincipalArns = [] } = props;
    this.admit(cluster, "admin", adminPrincipalArns, CLUSTER_ADMIN_POLICY_ARN);
    this.admit(cluster, "viewer", viewerPrincipalArns, ADMIN_VIEW_POLICY_ARN);
    this.vpcCniRole = this.addServiceRole("vpc_cni", {
      name: `${prefix}-vpc-cni`,
      description: `Pod networking of ${prefix}`,
      namespace: "kube-system",
      serviceAccount: "aws-node",
      managedPolicies: { cni: "AmazonEKS_CNI_Policy" },
    });
    this.ebsCsiRole = this.addServiceRole("ebs_csi", {
      name: `${prefix}-ebs-csi`,
      description: `Volumes of ${prefix}`,
      namespace: "kube-system",
      serviceAccount: "ebs-csi-controller-sa",
      managedPolicies: { ebs_csi: "service-role/AmazonEBSCSIDriverPolicy" },
    });
    const nodeGroup = createNodeGroup(this, props.nodeGroup, {
      clusterName: cluster.name,
      kubernetesVersion,
      nodeRole,
      securityGroup: this.nodeSecurityGroup,
      subnetIds: vpc.tiers.app.subnetIds,
      instanceTags,
      dependsOn: [...vpc.egressDependables, ...this.nodeSecurityGroup.rules, ...this.clusterSecurityGroup.rules],
    });
    createAddons(this, {
      clusterName: cluster.name,
      versions: addonVersions,
      vpcCniRole: this.vpcCniRole,
      ebsCsiRole: this.ebsCsiRole,
      nodes: nodeGroup,
    });
    const karpenter = createKarpenter(this, {
      prefix,
      accountId,
      region,
      clusterName: props.clusterName,
      clusterArn: cluster.arn,
      oidc: this.oidc,
      nodeRole,
    });

    this.clusterName = cluster.name;
    this.clusterArn = cluster.arn;
    this.clusterEndpoint = cluster.endpoint;
    this.certificateAuthorityData = cluster.certificateAuthority.get(0).data;
    this.nodeGroupName = nodeGroup.nodeGroupName;
    this.nodeRole = nodeRole;
    this.karpenterRole = karpenter.role;
    this.karpenterRoleArn = karpenter.role.roleArn;
    this.karpenterQueueName = karpenter.queueName;
  }

  /** Makes a role for one service account of the cluster (IRSA): `aws_iam_role.<id>`. Permissions are granted on it. */
  addServiceRole(id: string, props: ServiceRoleProps): Role {
    return createServiceRole(this, this.oidc, id, props);
  }

  private createClusterSecurityGroup(): SecurityGroup {
    const { prefix, vpc } = this.props;
    return new SecurityGroup(this, "control_plane", {
      name: `${prefix}-eks-control-plane`,
      description: "Network interfaces of the Kubernetes control plane",
      vpcId: vpc.vpcId,
      label: "eks_control_plane",
    });
  }

  /**
   * Source: AWS architecture §6.3. DNS to the VPC's resolver, time and instance metadata need no rules: security groups do
   * not filter link-local addresses and the resolver. Pods resolve names at CoreDNS, which is node to node.
   */
  private createNodeSecurityGroup(): SecurityGroup {
    const { clusterName, prefix, vpc } = this.props;
    const nodes = new SecurityGroup(this, "nodes", {
      name: `${prefix}-eks-nodes`,
      description: "Nodes and pods of the Kubernetes cluster",
      vpcId: vpc.vpcId,
      label: "eks_nodes",
      tags: { "karpenter.sh/discovery": clusterName },
    });
    nodes.allowFrom(nodes, allTraffic(), "Pods among each other, CoreDNS and kubelets included");
    nodes.allowTo(this.clusterSecurityGroup, tcp(443), "Nodes and pods to the Kubernetes API");
    for (const { description, port } of CONTROL_PLANE_TO_NODES) {
      nodes.allowFrom(this.clusterSecurityGroup, tcp(port), description);
    }
    nodes.allowTo(INTERNET, tcp(443), "AWS endpoints, registries, payment gateways and OAuth providers");
    return nodes;
  }

  private createCluster(): EksCluster {
    const {
      clusterName,
      clusterRole,
      endpointPublicAccess = true,
      key,
      kubernetesVersion,
      logRetentionDays = DEFAULT_LOG_RETENTION_DAYS,
      publicAccessCidrs,
      vpc,
    } = this.props;
    const name = physicalName(this, "cluster", clusterName);
    const logGroup = createLogGroup(this, "cluster", {
      name: `/aws/eks/${clusterName}/cluster`,
      key,
      retentionDays: logRetentionDays,
    });
    return new EksCluster(this, "eks_cluster.main", {
      name,
      version: kubernetesVersion,
      roleArn: clusterRole.roleArn,
      enabledClusterLogTypes: LOG_TYPES,
      accessConfig: { authenticationMode: "API", bootstrapClusterCreatorAdminPermissions: false },
      // The nodes join on these before the add-ons take over; without them no node would ever be ready.
      bootstrapSelfManagedAddons: true,
      encryptionConfig: { provider: { keyArn: key.keyArn }, resources: ["secrets"] },
      kubernetesNetworkConfig: { ipFamily: "ipv4", serviceIpv4Cidr: SERVICE_CIDR },
      vpcConfig: {
        subnetIds: [...vpc.tiers.app.subnetIds],
        securityGroupIds: [this.clusterSecurityGroup.securityGroupId],
        endpointPrivateAccess: true,
        endpointPublicAccess,
        ...(endpointPublicAccess && { publicAccessCidrs: [...publicAccessCidrs] }),
      },
      // EKS makes an unencrypted log group that never expires if ours is not there yet, and a cluster that is deleted after
      // its role's policies leaves network interfaces behind.
      dependsOn: [logGroup, ...clusterRole.dependables],
    });
  }

  /** Nodes need no entry here: EKS makes the one of their role with the node group, and Karpenter's nodes carry the same role. */
  private admit(cluster: EksCluster, id: string, principalArns: readonly string[], policyArn: string): void {
    const principals = TerraformIterator.fromList([...principalArns]);
    const entry = new EksAccessEntry(this, `eks_access_entry.${id}`, {
      forEach: principals,
      clusterName: cluster.name,
      principalArn: principals.value,
    });
    new EksAccessPolicyAssociation(this, `eks_access_policy_association.${id}`, {
      forEach: principals,
      clusterName: cluster.name,
      principalArn: principals.value,
      policyArn,
      accessScope: { type: "cluster" },
      dependsOn: [entry],
    });
  }
}
