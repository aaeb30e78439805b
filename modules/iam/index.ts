import type { Construct } from "constructs";
import { Role } from "../../lib/iam";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link Iam}. */
export interface IamProps {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
}

/**
 * The six service roles of the documents. What a role may do beyond AWS's managed policies is granted by the modules that
 * own the resources (`queue.grantConsume(iam.lambdaWorkerRole)`) and collected in the role's one inline policy.
 * Source: Infra analysis §2-9 "IAM 역할", AWS architecture §7.
 */
export class Iam extends Module {
  /** Assumed by the EKS control plane. */
  readonly eksClusterRole: Role;
  /** Carried by every node: the initial group's and Karpenter's. */
  readonly eksNodeRole: Role;
  /** Carried by the SQS consumer. */
  readonly lambdaWorkerRole: Role;
  /** Carried by the Lambda@Edge function; trusted by Lambda and by its edge replicas. */
  readonly lambdaEdgeRole: Role;
  /** Assumed by RDS to publish enhanced monitoring. */
  readonly rdsMonitoringRole: Role;
  /** Assumed by the RDS proxy to read its credentials. */
  readonly rdsProxyRole: Role;

  constructor(scope: Construct, id: string, { prefix }: IamProps) {
    super(scope, id);

    this.eksClusterRole = new Role(this, "eks_cluster", {
      name: `${prefix}-eks-cluster`,
      description: `Control plane of the ${prefix} cluster`,
      assumedByServices: ["eks.amazonaws.com"],
      managedPolicies: { cluster: "AmazonEKSClusterPolicy", vpc_resource_controller: "AmazonEKSVPCResourceController" },
    });
    this.eksNodeRole = new Role(this, "eks_node", {
      name: `${prefix}-eks-node`,
      description: `Nodes of the ${prefix} cluster`,
      assumedByServices: ["ec2.amazonaws.com"],
      managedPolicies: {
        worker_node: "AmazonEKSWorkerNodePolicy",
        cni: "AmazonEKS_CNI_Policy",
        ecr_read_only: "AmazonEC2ContainerRegistryReadOnly",
        ssm: "AmazonSSMManagedInstanceCore",
      },
    });
    this.lambdaWorkerRole = new Role(this, "lambda_worker", {
      name: `${prefix}-lambda-worker`,
      description: `SQS consumer of ${prefix}`,
      assumedByServices: ["lambda.amazonaws.com"],
      managedPolicies: {
        basic_execution: "service-role/AWSLambdaBasicExecutionRole",
        vpc_access: "service-role/AWSLambdaVPCAccessExecutionRole",
      },
    });
    this.lambdaEdgeRole = new Role(this, "lambda_edge", {
      name: `${prefix}-lambda-edge`,
      description: `Queue check at the edge of ${prefix}`,
      assumedByServices: ["lambda.amazonaws.com", "edgelambda.amazonaws.com"],
      managedPolicies: { basic_execution: "service-role/AWSLambdaBasicExecutionRole" },
    });
    this.rdsMonitoringRole = new Role(this, "rds_monitoring", {
      name: `${prefix}-rds-monitoring`,
      description: `Enhanced monitoring of the ${prefix} databases`,
      assumedByServices: ["monitoring.rds.amazonaws.com"],
      managedPolicies: { enhanced_monitoring: "service-role/AmazonRDSEnhancedMonitoringRole" },
    });
    this.rdsProxyRole = new Role(this, "rds_proxy", {
      name: `${prefix}-rds-proxy`,
      description: `Credentials of the ${prefix} database proxy`,
      assumedByServices: ["rds.amazonaws.com"],
    });
  }
}
