import { describe, expect, it } from "vitest";
import { prod } from "../../environments/prod";
import { staging } from "../../environments/staging";
import { maxNameLength } from "../../lib/naming";
import { Eks, type EksProps } from "../../modules/eks";
import { Iam } from "../../modules/iam";
import { Secrets } from "../../modules/secrets";
import { Vpc } from "../../modules/vpc";
import {
  expectGrant,
  expectNoGrant,
  managedPoliciesOf,
  resourcePolicyOf,
  serviceAccountsOf,
  statementsOfRole,
  trustStatements,
} from "../support/access";
import {
  admissions,
  expectReachable,
  expectUnreachable,
  securityGroupRules,
  securityGroupsOf,
} from "../support/network";
import { ACCOUNT_ID, REGION, resourcesOf, synthModule, synthProblems, type TestStack } from "../support/synth";
import { toTerraformStack } from "../support/terraform";

type Environment = typeof prod;

function build(stack: TestStack, props: Partial<EksProps> = {}, { prefix, vpc, eks }: Environment = prod): Eks {
  const iam = new Iam(stack, "iam", { prefix });
  const network = new Vpc(stack, "vpc", {
    prefix,
    vpcCidr: vpc.cidr,
    availabilityZones: vpc.availabilityZones,
    clusterName: prefix,
  });
  const secrets = new Secrets(stack, "secrets", { prefix, accountId: ACCOUNT_ID, region: REGION, databases: [] });
  secrets.writeDatabaseCredentials({ endpointAddress: "primary.example", port: 5432, dbName: "ticket_db" });
  return new Eks(stack, "eks", {
    prefix,
    accountId: ACCOUNT_ID,
    region: REGION,
    clusterName: prefix,
    kubernetesVersion: eks.version,
    vpc: network,
    key: secrets.key,
    clusterRole: iam.eksClusterRole,
    nodeRole: iam.eksNodeRole,
    publicAccessCidrs: ["203.0.113.0/24"],
    adminPrincipalArns: [`arn:aws:iam::${ACCOUNT_ID}:role/platform-admin`],
    nodeGroup: eks.nodeGroup,
    ...props,
  });
}

function synthesize(props: Partial<EksProps> = {}, environment: Environment = prod) {
  const synthesized = synthModule((stack) => {
    const eks = build(stack, props, environment);
    const role = eks.addServiceRole("queue_service", {
      namespace: "urr-spring",
      serviceAccount: "queue-service",
      name: `${environment.prefix}-queue-service`,
      description: "Pods of queue-service",
    });
    role.addStatement({ sid: "Send", actions: ["sqs:SendMessage"], resources: ["arn:aws:sqs:x:y:z"] });
  });
  const stack = toTerraformStack(synthesized);
  return { synthesized, stack };
}

const { stack, synthesized } = synthesize();
const cluster = stack.at("module.eks.aws_eks_cluster.main");
const nodeGroup = stack.at("module.eks.aws_eks_node_group.initial");
const launchTemplate = stack.at("module.eks.aws_launch_template.initial");
const karpenter = stack.at("module.eks.aws_iam_role.karpenter");

/** What a resource waits for, as written. */
function dependenciesOf(type: string, name: string): string[] {
  return (resourcesOf(synthesized, type)[name]?.depends_on ?? []) as string[];
}

describe("eks", () => {
  /** Infra analysis §2-2, "클러스터 설정"; the version by the life-cycle table. */
  it("makes a cluster whose API answers inside and, to named blocks only, outside", () => {
    expect(stack.arguments(cluster)).toMatchObject({ name: "urr-prod", version: prod.eks.version });
    expect(stack.resolve(cluster, "vpc_config.endpoint_private_access")).toBe(true);
    expect(stack.resolve(cluster, "vpc_config.endpoint_public_access")).toBe(true);
    expect(stack.resolve(cluster, "vpc_config.public_access_cidrs")).toEqual(["203.0.113.0/24"]);
  });

  it("names no public blocks where the public endpoint is off", () => {
    const inside = synthesize({ endpointPublicAccess: false, publicAccessCidrs: [] }).stack;
    const closed = inside.at("module.eks.aws_eks_cluster.main");
    expect(inside.resolve(closed, "vpc_config.endpoint_public_access")).toBe(false);
    expect(inside.resolve(closed, "vpc_config.public_access_cidrs")).toBeUndefined();
  });

  it("logs all five kinds of control-plane events", () => {
    expect(stack.resolve(cluster, "enabled_cluster_log_types")).toEqual([
      "api",
      "audit",
      "authenticator",
      "controllerManager",
      "scheduler",
    ]);
  });

  it("keeps the control plane's logs for 7 days, encrypted, in the group that EKS writes to", () => {
    const logGroup = stack.at("module.eks.aws_cloudwatch_log_group.cluster");
    expect(stack.arguments(logGroup)).toMatchObject({ name: "/aws/eks/urr-prod/cluster", retention_in_days: 7 });
    expect(stack.references(logGroup, "kms_key_id")).toEqual(["module.secrets.aws_kms_key.main"]);
  });

  it("encrypts Kubernetes Secrets with the environment's key, never with none", () => {
    expect(stack.resolve(cluster, "encryption_config.resources")).toEqual(["secrets"]);
    expect(stack.references(cluster, "encryption_config.provider.key_arn")).toEqual([
      "module.secrets.aws_kms_key.main",
    ]);
  });

  it("authenticates by access entries only: the named administrators, not the creator", () => {
    expect(stack.resolve(cluster, "access_config.authentication_mode")).toBe("API");
    expect(stack.resolve(cluster, "access_config.bootstrap_cluster_creator_admin_permissions")).toBe(false);
    for (const type of ["aws_eks_access_entry", "aws_eks_access_policy_association"]) {
      expect(resourcesOf(synthesized, type).eks_admin).toMatchObject({
        for_each: `\${toset(["arn:aws:iam::${ACCOUNT_ID}:role/platform-admin"])}`,
        principal_arn: "${each.value}",
      });
    }
    expect(resourcesOf(synthesized, "aws_eks_access_policy_association").eks_admin).toMatchObject({
      policy_arn: "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
      access_scope: { type: "cluster" },
    });
  });

  it("admits readers who see Secrets, as Helm's releases are, and change nothing", () => {
    const viewer = `arn:aws:iam::${ACCOUNT_ID}:role/urr-ci-plan-prod`;
    const { synthesized: withViewer } = synthesize({ viewerPrincipalArns: [viewer] });
    for (const type of ["aws_eks_access_entry", "aws_eks_access_policy_association"]) {
      expect(resourcesOf(withViewer, type).eks_viewer).toMatchObject({
        for_each: `\${toset(["${viewer}"])}`,
        principal_arn: "${each.value}",
      });
    }
    expect(resourcesOf(withViewer, "aws_eks_access_policy_association").eks_viewer).toMatchObject({
      policy_arn: "arn:aws:eks::aws:cluster-access-policy/AmazonEKSAdminViewPolicy",
      access_scope: { type: "cluster" },
      depends_on: ["aws_eks_access_entry.eks_viewer"],
    });
    // Nothing that RBAC binds to a group comes on top.
    expect(resourcesOf(withViewer, "aws_eks_access_entry").eks_viewer).not.toHaveProperty("kubernetes_groups");
  });

  it("admits no readers unless they are named", () => {
    for (const type of ["aws_eks_access_entry", "aws_eks_access_policy_association"])
      expect(resourcesOf(synthesized, type).eks_viewer).toMatchObject({ for_each: "${toset([])}" });
  });

  it("comes after its log group and its role's policies, which AWS would otherwise miss", () => {
    expect(dependenciesOf("aws_eks_cluster", "eks_main")).toEqual(
      expect.arrayContaining([
        "aws_cloudwatch_log_group.eks_cluster",
        "aws_iam_role_policy_attachment.iam_eks_cluster_cluster",
        "aws_iam_role_policy_attachment.iam_eks_cluster_vpc_resource_controller",
      ]),
    );
  });
});

describe("eks: initial nodes", () => {
  /** Infra analysis §2-2 "노드 그룹", AWS architecture §2.2. */
  it.each([
    ["prod", prod, "urr-prod-ng-initial", ["t3.medium"], "ON_DEMAND", { desired_size: 3, min_size: 2, max_size: 5 }],
    ["staging", staging, "urr-staging-ng-initial", ["t3.small"], "SPOT", { desired_size: 2, min_size: 1, max_size: 3 }],
  ])("in %s are as documented", (_, environment, name, instanceTypes, capacityType, scaling) => {
    const own = synthesize({}, environment).stack;
    const group = own.at("module.eks.aws_eks_node_group.initial");
    expect(own.arguments(group)).toMatchObject({
      node_group_name: name,
      instance_types: instanceTypes,
      capacity_type: capacityType,
      ami_type: "AL2023_x86_64_STANDARD",
      labels: { role: "initial" },
      scaling_config: scaling,
    });
    expect(own.references(group, "subnet_ids")).toEqual(["module.vpc.aws_subnet.app_a", "module.vpc.aws_subnet.app_c"]);
    const template = own.at("module.eks.aws_launch_template.initial");
    expect(own.resolve(template, "block_device_mappings.ebs.volume_size")).toBe(20);
  });

  it("leave their number to whatever scales them, and nothing else of the module to anybody", () => {
    const ignoring = stack.resources.filter(
      ({ module, config }) => module === "eks" && JSON.stringify(config).includes("ignore_changes"),
    );
    expect(ignoring.map(({ address }) => address)).toEqual([nodeGroup.address]);
    expect(stack.resolve(nodeGroup, "lifecycle.ignore_changes")).toEqual(["scaling_config[0].desired_size"]);
  });

  it("demand session tokens for instance metadata and keep it from pods", () => {
    expect(stack.resolve(launchTemplate, "metadata_options.http_tokens")).toBe("required");
    expect(stack.resolve(launchTemplate, "metadata_options.http_put_response_hop_limit")).toBe(1);
  });

  it("have encrypted gp3 volumes", () => {
    expect(stack.resolve(launchTemplate, "block_device_mappings.ebs.encrypted")).toBe("true");
    expect(stack.resolve(launchTemplate, "block_device_mappings.ebs.volume_type")).toBe("gp3");
  });

  it("carry the node group that data stores name, not the one that EKS makes", () => {
    expect(securityGroupsOf(stack, nodeGroup)).toEqual(["module.eks.aws_security_group.nodes"]);
  });

  it("use the newest version of the launch template", () => {
    expect(resourcesOf(synthesized, "aws_eks_node_group").eks_initial?.launch_template).toEqual({
      id: "${aws_launch_template.eks_initial.id}",
      version: "${tostring(aws_launch_template.eks_initial.latest_version)}",
    });
  });

  it("pass tags on to what is launched, where default tags do not reach", () => {
    const tagged = synthesize({ instanceTags: { Project: "URR" } }).stack;
    const template = tagged.at("module.eks.aws_launch_template.initial");
    expect(tagged.resolve(template, "tag_specifications.resource_type")).toEqual([
      "instance",
      "volume",
      "network-interface",
    ]);
    expect(tagged.resolve(template, "tag_specifications.0.tags")).toEqual({
      Project: "URR",
      Name: "urr-prod-ng-initial",
    });
  });

  it("come after their way to the internet, their way to the API and their role's policies", () => {
    expect(dependenciesOf("aws_eks_node_group", "eks_initial")).toEqual(
      expect.arrayContaining([
        "aws_route.vpc_app_a_nat",
        "aws_route.vpc_app_c_nat",
        "aws_route_table_association.vpc_app_a",
        "aws_route_table_association.vpc_app_c",
        "aws_iam_role_policy_attachment.iam_eks_node_worker_node",
        "aws_iam_role_policy_attachment.iam_eks_node_cni",
        "aws_iam_role_policy_attachment.iam_eks_node_ecr_read_only",
        "aws_vpc_security_group_egress_rule.eks_nodes_to_internet_443",
        "aws_vpc_security_group_egress_rule.eks_nodes_to_eks_control_plane_443",
        "aws_vpc_security_group_ingress_rule.eks_control_plane_from_eks_nodes_443",
      ]),
    );
  });
});

/** AWS architecture §6.3; ports of kubelet and webhooks by Amazon EKS, "View Amazon EKS security group requirements". */
describe("eks: who reaches whom", () => {
  it.each([
    [443, "tcp"],
    [10250, "tcp"],
    [53, "udp"],
    [53, "tcp"],
    [3002, "tcp"],
    [65535, "tcp"],
  ] as const)("nodes and pods reach each other on %d/%s", (port, protocol) => {
    expectReachable(stack, nodeGroup, nodeGroup, port, protocol);
  });

  it("nodes reach the control plane on 443 alone", () => {
    expectReachable(stack, nodeGroup, cluster, 443);
    expect(admissions(stack, cluster).filter((line) => !line.includes("#cluster"))).toEqual([
      "tcp 443 from module.eks.aws_security_group.nodes",
    ]);
  });

  it.each([443, 10250, 9443])("the control plane reaches nodes on %d", (port) => {
    expectReachable(stack, cluster, nodeGroup, port);
  });

  it.each([22, 3001, 3002, 30000])("the control plane does not reach nodes on %d", (port) => {
    expectUnreachable(stack, cluster, nodeGroup, port);
  });

  it("nobody else is admitted to nodes", () => {
    expect(admissions(stack, nodeGroup)).toEqual([
      "everything from module.eks.aws_security_group.nodes",
      "tcp 10250 from module.eks.aws_security_group.control_plane",
      "tcp 443 from module.eks.aws_security_group.control_plane",
      "tcp 9443 from module.eks.aws_security_group.control_plane",
    ]);
    expectUnreachable(stack, "203.0.113.7/32", nodeGroup, 443);
  });

  it("nodes reach the internet on 443 alone", () => {
    const out = securityGroupRules(stack).filter(
      ({ direction, group, peerCidr }) =>
        direction === "egress" && group === "module.eks.aws_security_group.nodes" && peerCidr !== undefined,
    );
    expect(out).toMatchObject([{ peerCidr: "0.0.0.0/0", protocol: "tcp", fromPort: 443, toPort: 443 }]);
  });

  it("every rule says what it is for", () => {
    const rules = securityGroupRules(stack).filter(({ group }) => group.startsWith("module.eks.aws_security_group"));
    expect(rules.length).toBeGreaterThan(0);
    for (const { description } of rules) expect(description.length).toBeGreaterThan(10);
  });
});

describe("eks: add-ons", () => {
  /** Infra analysis §2-2, "EKS Add-ons (4개)". */
  it.each([
    ["vpc_cni", "vpc-cni", "module.eks.aws_iam_role.vpc_cni"],
    ["kube_proxy", "kube-proxy", undefined],
    ["coredns", "coredns", undefined],
    ["aws_ebs_csi_driver", "aws-ebs-csi-driver", "module.eks.aws_iam_role.ebs_csi"],
  ])("%s is there, after the nodes, with the role %s", (id, name, role) => {
    const addon = stack.at(`module.eks.aws_eks_addon.${id}`);
    expect(stack.resolve(addon, "addon_name")).toBe(name);
    expect(stack.references(addon, "service_account_role_arn")).toEqual(role === undefined ? [] : [role]);
    expect(dependenciesOf("aws_eks_addon", `eks_${id}`)).toContain("aws_eks_node_group.eks_initial");
  });

  it("are four", () => {
    expect(stack.find({ type: "aws_eks_addon" })).toHaveLength(4);
  });

  it("let the CNI enforce network policies", () => {
    const text = stack.resolve(stack.at("module.eks.aws_eks_addon.vpc_cni"), "configuration_values");
    expect(JSON.parse(String(text))).toEqual({ enableNetworkPolicy: "true" });
  });

  it("take over what EKS puts into a new cluster, on which the nodes come up", () => {
    expect(stack.resolve(cluster, "bootstrap_self_managed_addons")).toBe(true);
    for (const addon of stack.find({ type: "aws_eks_addon" })) {
      expect(stack.resolve(addon, "resolve_conflicts_on_create")).toBe("OVERWRITE");
    }
  });

  it("follow AWS's default versions until one is pinned", () => {
    const pinned = synthesize({ addonVersions: { coredns: "v1.13.2-eksbuild.1" } }).stack;
    const versions = pinned
      .find({ type: "aws_eks_addon" })
      .map((addon) => [addon.name, pinned.resolve(addon, "addon_version")]);
    expect(Object.fromEntries(versions)).toEqual({
      vpc_cni: undefined,
      kube_proxy: undefined,
      coredns: "v1.13.2-eksbuild.1",
      aws_ebs_csi_driver: undefined,
    });
  });
});

describe("eks: roles of service accounts", () => {
  it("are trusted through the cluster's own provider, without a thumbprint", () => {
    const provider = stack.at("module.eks.aws_iam_openid_connect_provider.main");
    expect(stack.resolve(provider, "client_id_list")).toEqual(["sts.amazonaws.com"]);
    expect(stack.references(provider, "url")).toEqual([cluster.address]);
    expect(stack.resolve(provider, "thumbprint_list")).toBeUndefined();
  });

  it.each([
    ["vpc_cni", "kube-system", "aws-node", ["AmazonEKS_CNI_Policy"]],
    ["ebs_csi", "kube-system", "ebs-csi-controller-sa", ["AmazonEBSCSIDriverPolicy"]],
    ["karpenter", "kube-system", "karpenter", []],
    ["queue_service", "urr-spring", "queue-service", []],
  ])("%s is for %s/%s alone, with %j", (id, namespace, serviceAccount, policies) => {
    const role = stack.at(`module.eks.aws_iam_role.${id}`);
    expect(serviceAccountsOf(stack, role)).toEqual([`system:serviceaccount:${namespace}:${serviceAccount}`]);
    expect(managedPoliciesOf(stack, role)).toEqual(policies);
    const [trust, ...others] = trustStatements(stack, role);
    expect(others).toEqual([]);
    expect(trust?.actions).toEqual(["sts:AssumeRoleWithWebIdentity"]);
    expect(JSON.stringify(trust?.conditions)).toContain(':aud":"sts.amazonaws.com"');
  });

  it("may do what is granted on them", () => {
    const role = stack.at("module.eks.aws_iam_role.queue_service");
    expectGrant(stack, role, "sqs:SendMessage", "arn:aws:sqs:x:y:z");
    expectNoGrant(stack, role, "sqs:ReceiveMessage", "arn:aws:sqs:x:y:z");
  });
});

/** Infra analysis §2-2 "Karpenter Autoscaler", AWS architecture §2.3; Karpenter, "CloudFormation". */
describe("eks: Karpenter", () => {
  const instances = `arn:aws:ec2:${REGION}:${ACCOUNT_ID}:instance/*`;
  const profiles = `arn:aws:iam::${ACCOUNT_ID}:instance-profile/*`;

  it("may launch instances, look at the cluster and pass the node role on", () => {
    expectGrant(stack, karpenter, "ec2:RunInstances", instances);
    expectGrant(stack, karpenter, "ec2:CreateFleet", `arn:aws:ec2:${REGION}:${ACCOUNT_ID}:fleet/*`);
    expectGrant(stack, karpenter, "eks:DescribeCluster", cluster);
    expectGrant(stack, karpenter, "iam:PassRole", stack.at("module.iam.aws_iam_role.eks_node"));
  });

  it.each([
    "iam:CreateInstanceProfile",
    "iam:TagInstanceProfile",
    "iam:AddRoleToInstanceProfile",
    "iam:GetInstanceProfile",
    "iam:DeleteInstanceProfile",
  ])("may %s, since it makes the profiles of its nodes itself", (action) => {
    expectGrant(stack, karpenter, action, profiles);
  });

  it("may pass no other role, and the node role to EC2 alone", () => {
    expectNoGrant(stack, karpenter, "iam:PassRole", stack.at("module.iam.aws_iam_role.eks_cluster"));
    const [pass] = statementsOfRole(stack, karpenter).filter(({ actions }) => actions.includes("iam:PassRole"));
    expect(pass?.conditions).toEqual({ StringEquals: { "iam:PassedToService": "ec2.amazonaws.com" } });
  });

  it.each([
    ["ec2:TerminateInstances", "aws:ResourceTag"],
    ["ec2:DeleteLaunchTemplate", "aws:ResourceTag"],
    ["ec2:CreateLaunchTemplate", "aws:RequestTag"],
  ])("may %s only with the tags of a node pool of this cluster", (action, tag) => {
    const statements = statementsOfRole(stack, karpenter).filter(({ actions }) => actions.includes(action));
    expect(statements.length).toBeGreaterThan(0);
    for (const { conditions } of statements) {
      expect(conditions).toMatchObject({
        StringEquals: { [`${tag}/kubernetes.io/cluster/urr-prod`]: "owned" },
        StringLike: { [`${tag}/karpenter.sh/nodepool`]: "*" },
      });
    }
  });

  it("changes nothing in AWS without a condition, but for reading its queue and launching into the network", () => {
    const free = statementsOfRole(stack, karpenter)
      .filter(({ conditions }) => Object.keys(conditions).length === 0)
      .flatMap(({ actions }) => actions)
      .filter((action) => !/:(?:Get|List|Describe)/.test(action));
    expect(free.sort()).toEqual(["ec2:CreateFleet", "ec2:RunInstances", "sqs:DeleteMessage", "sqs:ReceiveMessage"]);
  });

  it("keeps within the 10,240 characters of a role's inline policies", () => {
    const text = String(stack.resolve(stack.at("module.eks.aws_iam_role_policy.karpenter"), "policy"));
    const longestArn = "a".repeat(120);
    expect(text.replaceAll(/\$\{[^}]*\}/g, longestArn).length).toBeLessThan(10_240);
  });

  it.each([
    ["spot_interruption", "aws.ec2", "EC2 Spot Instance Interruption Warning"],
    ["rebalance", "aws.ec2", "EC2 Instance Rebalance Recommendation"],
    ["instance_state_change", "aws.ec2", "EC2 Instance State-change Notification"],
    ["scheduled_change", "aws.health", "AWS Health Event"],
  ])("hears of %s", (id, source, detailType) => {
    const rule = stack.at(`module.eks.aws_cloudwatch_event_rule.karpenter_${id}`);
    expect(JSON.parse(String(stack.resolve(rule, "event_pattern")))).toEqual({
      source: [source],
      "detail-type": [detailType],
    });
    const target = stack.at(`module.eks.aws_cloudwatch_event_target.karpenter_${id}`);
    expect(stack.references(target, "rule")).toEqual([rule.address]);
    expect(stack.references(target, "arn")).toEqual(["module.eks.aws_sqs_queue.karpenter"]);
  });

  it("has a queue that takes messages from those rules alone, encrypted in transit and at rest", () => {
    const queue = stack.at("module.eks.aws_sqs_queue.karpenter");
    expect(stack.arguments(queue)).toMatchObject({ sqs_managed_sse_enabled: true, message_retention_seconds: 300 });
    const statements = resourcePolicyOf(stack, queue);
    const allowed = statements.filter(({ effect }) => effect === "Allow");
    expect(allowed).toMatchObject([{ actions: ["sqs:SendMessage"], principals: ["Service:events.amazonaws.com"] }]);
    expect(
      JSON.stringify(allowed[0]?.conditions)
        .match(/karpenter_\w+\.arn/g)
        ?.sort(),
    ).toEqual([
      "karpenter_instance_state_change.arn",
      "karpenter_rebalance.arn",
      "karpenter_scheduled_change.arn",
      "karpenter_spot_interruption.arn",
    ]);
    expect(statements).toContainEqual(
      expect.objectContaining({ effect: "Deny", conditions: { Bool: { "aws:SecureTransport": "false" } } }),
    );
    expectGrant(stack, karpenter, "sqs:ReceiveMessage", queue);
  });

  it("finds the node group's subnets and security group by one tag", () => {
    const discovered = stack.resources
      .filter((resource) => stack.resolve(resource, "tags") !== undefined)
      .filter((resource) =>
        JSON.stringify(stack.resolve(resource, "tags")).includes('"karpenter.sh/discovery":"urr-prod"'),
      )
      .map(({ address }) => address);
    expect(discovered.sort()).toEqual([
      "module.eks.aws_security_group.nodes",
      "module.vpc.aws_subnet.app_a",
      "module.vpc.aws_subnet.app_c",
    ]);
  });
});

describe("eks: bad input", () => {
  const problems = (props: Partial<EksProps>) => synthProblems((testStack) => void build(testStack, props)).join("\n");
  const { nodeGroup: documented } = prod.eks;

  it.each([
    { minSize: 4, desiredSize: 3, maxSize: 5 },
    { minSize: 2, desiredSize: 6, maxSize: 5 },
    { minSize: 0, desiredSize: 3, maxSize: 5 },
    { minSize: 2, desiredSize: 2.5, maxSize: 5 },
  ])("fails for the sizes %j", (sizes) => {
    expect(problems({ nodeGroup: { ...documented, ...sizes } })).toContain(
      `nodeGroup: given ${JSON.stringify({ minSize: sizes.minSize, desiredSize: sizes.desiredSize, maxSize: sizes.maxSize })}; allowed: whole numbers with 1 <= minSize <= desiredSize <= maxSize. Raise maxSize or lower the others.`,
    );
  });

  it.each([
    ["no instance type", { nodeGroup: { ...documented, instanceTypes: [] } }, "nodeGroup.instanceTypes: given []"],
    [
      "a disk that the system does not fit on",
      { nodeGroup: { ...documented, diskSizeGib: 8 } },
      "nodeGroup.diskSizeGib: given 8; allowed: 20 to 16384 GiB",
    ],
    ["a patch version", { kubernetesVersion: "1.35.2" }, 'kubernetesVersion: given "1.35.2"; allowed: a minor version'],
    [
      "a public endpoint for nobody in particular",
      { publicAccessCidrs: [] },
      "publicAccessCidrs: given []; allowed: at least one IPv4 block",
    ],
    [
      "no administrator",
      { adminPrincipalArns: [] },
      "adminPrincipalArns: given []; allowed: at least one IAM role or user",
    ],
    [
      "a reader who administers, too",
      { viewerPrincipalArns: [`arn:aws:iam::${ACCOUNT_ID}:role/platform-admin`] },
      "viewerPrincipalArns: given",
    ],
    ["an add-on version without a build", { addonVersions: { coredns: "1.13" } }, "addonVersions: given"],
    [
      "a kube-proxy of another minor version",
      { kubernetesVersion: "1.35", addonVersions: { "kube-proxy": "v1.34.1-eksbuild.2" } },
      "addonVersions.kube-proxy",
    ],
    [
      "a node group name that AWS refuses",
      { nodeGroup: { ...documented, name: "n".repeat(maxNameLength("node group") + 1) } },
      "name of the node group",
    ],
    ["a role name that AWS refuses", { prefix: `urr-${"x".repeat(60)}` }, "name of the role"],
  ] satisfies [string, Partial<EksProps>, string][])("fails for %s", (_, props, message) => {
    expect(problems(props)).toContain(message);
  });

  it("fails with all problems at once", () => {
    const text = problems({ publicAccessCidrs: [], adminPrincipalArns: [] });
    expect(text).toContain("publicAccessCidrs");
    expect(text).toContain("adminPrincipalArns");
  });
});
