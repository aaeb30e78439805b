import type { AwsProvider } from "@cdktf/provider-aws/lib/provider";
import { Fn } from "cdktf";
import type { Environment } from "../environments/environment";
import { DATABASES, SERVICES, type Service, usesAws } from "../environments/services";
import type { Role } from "../lib/iam";
import { bundleLambdas } from "../lib/lambda-bundle";
import type { ModularStack } from "../lib/terraform-modules";
import { Alb, type AlbProps, type InternalTarget } from "../modules/alb";
import { ApiGatewayVwr } from "../modules/api-gateway-vwr";
import { DynamodbVwr } from "../modules/dynamodb-vwr";
import { Eks } from "../modules/eks";
import { Elasticache } from "../modules/elasticache";
import { Iam } from "../modules/iam";
import { LambdaVwr } from "../modules/lambda-vwr";
import { LambdaWorker } from "../modules/lambda-worker";
import { Monitoring } from "../modules/monitoring";
import { Msk } from "../modules/msk";
import { Rds } from "../modules/rds";
import { S3 } from "../modules/s3";
import { Secrets } from "../modules/secrets";
import { Sqs } from "../modules/sqs";
import { Vpc } from "../modules/vpc";
import { VpcEndpoints } from "../modules/vpc-endpoints";
import type { AccountVariables } from "./account-variables";
import { createPlatformRoles } from "./platform-roles";
import { defaultTags } from "./terraform-settings";

/** Header by which the load balancer knows CloudFront. Source: Infra analysis §2-7. */
export const ORIGIN_HEADER = "X-Custom-Header";

/** What the sixteen modules need beyond the environment. */
export interface CoreModulesProps {
  readonly environment: Environment;
  readonly account: AccountVariables;
  /** Provider of us-east-1, where something there raises alarms. @default none */
  readonly usEast1?: AwsProvider;
  /** Who may reach the public load balancer. */
  readonly albIngress: AlbProps["ingress"];
  /** Whether everything public comes through CloudFront: the load balancer and the API then answer to nobody else. */
  readonly behindCloudfront: boolean;
}

/** The sixteen modules of every environment, in the order of the documents. Source: Infra analysis §1-2. */
export class CoreModules {
  readonly iam: Iam;
  readonly vpc: Vpc;
  readonly secrets: Secrets;
  readonly vpcEndpoints: VpcEndpoints;
  readonly eks: Eks;
  readonly rds: Rds;
  readonly elasticache: Elasticache;
  readonly msk: Msk;
  readonly alb: Alb;
  readonly s3: S3;
  readonly sqs: Sqs;
  readonly dynamodbVwr: DynamodbVwr;
  readonly apiGatewayVwr: ApiGatewayVwr;
  readonly lambdaVwr: LambdaVwr;
  readonly lambdaWorker: LambdaWorker;
  readonly monitoring: Monitoring;
  /** Roles of the services' pods, by service. */
  readonly serviceRoleArns: Readonly<Record<string, string>>;
  /** Roles of what the platform runs in the cluster, by its name. */
  readonly platformRoleArns: Readonly<Record<string, string>>;

  constructor(stack: ModularStack, props: CoreModulesProps) {
    const { environment, account, usEast1, albIngress, behindCloudfront } = props;
    const { prefix, region } = environment;
    const { accountId } = account;
    const clusterName = prefix;
    const bundles = bundleLambdas();

    this.iam = new Iam(stack, "iam", { prefix });

    this.vpc = new Vpc(stack, "vpc", {
      prefix,
      vpcCidr: environment.vpc.cidr,
      availabilityZones: environment.vpc.availabilityZones,
      natGateways: environment.vpc.natGateways,
      clusterName,
    });

    this.secrets = new Secrets(stack, "secrets", {
      prefix,
      accountId,
      region,
      databases: DATABASES,
      ...(usEast1 && { usEast1 }),
      rotations: environment.secretRotations,
    });
    const { key } = this.secrets;

    this.vpcEndpoints = new VpcEndpoints(stack, "vpc_endpoints", { prefix, region, vpc: this.vpc });

    this.eks = new Eks(stack, "eks", {
      prefix,
      accountId,
      region,
      clusterName,
      kubernetesVersion: environment.eks.version,
      vpc: this.vpc,
      key,
      clusterRole: this.iam.eksClusterRole,
      nodeRole: this.iam.eksNodeRole,
      publicAccessCidrs: account.eksPublicAccessCidrs,
      adminPrincipalArns: account.eksAdminPrincipalArns,
      viewerPrincipalArns: account.eksViewerPrincipalArns,
      nodeGroup: environment.eks.nodeGroup,
      instanceTags: defaultTags(environment),
    });

    this.rds = new Rds(stack, "rds", {
      prefix,
      vpc: this.vpc,
      key,
      monitoringRole: this.iam.rdsMonitoringRole,
      proxyRole: this.iam.rdsProxyRole,
      masterSecret: this.secrets.rdsCredentials,
      databaseUserSecrets: this.secrets.databaseUsers,
      ...environment.rds,
    });

    this.elasticache = new Elasticache(stack, "elasticache", {
      prefix,
      vpc: this.vpc,
      key,
      authToken: this.secrets.redisAuthToken.value,
      ...environment.elasticache,
    });

    this.msk = new Msk(stack, "msk", { prefix, region, accountId, vpc: this.vpc, key, ...environment.msk });

    this.s3 = new S3(stack, "s3", {
      prefix,
      environment: environment.name,
      accountId,
      region,
      corsAllowedOrigins: environment.corsAllowedOrigins,
    });

    this.alb = new Alb(stack, "alb", {
      prefix,
      vpc: this.vpc,
      certificateArn: account.albCertificateArn,
      deletionProtection: environment.loadBalancerDeletionProtection,
      targets: publicTargets(),
      ingress: albIngress,
      ...(behindCloudfront && { originHeader: { name: ORIGIN_HEADER, value: this.secrets.originHeader.value } }),
      ...(this.s3.logsBucket && { logsBucket: this.s3.logsBucket }),
      internal: internalTarget(`${environment.name}.urr.internal`),
    });

    this.sqs = new Sqs(stack, "sqs", { prefix, ...environment.queue });

    this.dynamodbVwr = new DynamodbVwr(stack, "dynamodb_vwr", {
      prefix,
      key,
      pointInTimeRecovery: environment.waitingRoom.pointInTimeRecovery,
      deletionProtection: environment.deletionProtection,
    });

    this.apiGatewayVwr = new ApiGatewayVwr(stack, "api_gateway_vwr", {
      prefix,
      region,
      corsAllowedOrigins: environment.corsAllowedOrigins,
      throttlingRateLimit: environment.waitingRoom.throttlingRateLimit,
      throttlingBurstLimit: environment.waitingRoom.throttlingBurstLimit,
      key,
      ...(behindCloudfront && { requireApiKey: { value: this.secrets.originHeader.value } }),
    });

    this.lambdaVwr = new LambdaVwr(stack, "lambda_vwr", {
      prefix,
      key,
      dynamodb: this.dynamodbVwr,
      tokenSecret: this.secrets.vwrTokenSecret,
      reservedConcurrentExecutions: environment.waitingRoom.apiReservedConcurrentExecutions,
      counterBatchSize: environment.waitingRoom.counterBatchSize,
      corsAllowedOrigins: environment.corsAllowedOrigins,
      booking: this.alb,
      bundles,
    });

    this.lambdaWorker = new LambdaWorker(stack, "lambda_worker", {
      prefix,
      vpc: this.vpc,
      role: this.iam.lambdaWorkerRole,
      queue: this.sqs,
      key,
      bundle: bundles["ticket-worker"],
      ...environment.worker,
      dbProxyEndpoint: this.rds.proxyEndpoint,
      redisEndpoint: this.elasticache.primaryEndpointAddress,
      kafkaBootstrapServers: this.msk.bootstrapBrokersSaslIam,
      ticketServiceUrl: Fn.coalesce([account.ticketServiceUrl, this.alb.internalServiceUrl]),
      internalApiTokenSecret: this.secrets.internalApiToken,
    });

    this.monitoring = new Monitoring(stack, "monitoring", {
      prefix,
      accountId,
      region,
      key,
      oidc: this.eks.oidc,
      alarmEmails: account.alarmEmails,
      slackTeamId: account.slackTeamId,
      slackChannelId: account.slackChannelId,
      ...(usEast1 && { usEast1: { provider: usEast1, key: this.secrets.usEast1Key } }),
    });

    this.connect();
    this.serviceRoleArns = this.grantToServices(environment);
    this.platformRoleArns = createPlatformRoles(this, environment);
    this.report();
  }

  /** Who may open connections to whom. Source: AWS architecture §6.3, Architecture guide §12. */
  private connect(): void {
    const { nodeSecurityGroup: nodes } = this.eks;
    const { securityGroup: worker } = this.lambdaWorker;
    this.alb.allowTo(nodes);
    this.alb.allowInternalFrom(worker, "Ticket worker to the internal API of ticket-service");
    this.rds.allowFrom(nodes, "Services to their databases");
    this.rds.allowProxyFrom(worker, "Ticket worker to its database");
    this.elasticache.allowFrom(nodes, "Services to Redis");
    this.elasticache.allowFrom(worker, "Ticket worker to Redis");
    this.msk.allowFrom(nodes, "Services to Kafka");
    this.msk.allowFrom(worker, "Ticket worker to Kafka");
    this.secrets.writeDatabaseCredentials(this.rds);
    this.vpc.logFlows(this.secrets.key);
    this.apiGatewayVwr.integrate(this.lambdaVwr.apiFunction);
  }

  /** What each service's pods may do in AWS: queue-service sends ticket events, the others use their topics. */
  private grantToServices(environment: Environment): Record<string, string> {
    return Object.fromEntries(
      SERVICES.filter(usesAws).map((service) => {
        const role = this.serviceRole(service, environment);
        if (service.sendsTicketEvents) this.sqs.grantSend(role);
        for (const topic of service.kafka?.publishes ?? []) this.msk.grantProduce(role, topic);
        for (const topic of service.kafka?.consumes ?? []) this.msk.grantConsume(role, topic, service.name);
        return [service.name, role.roleArn];
      }),
    );
  }

  private serviceRole(service: Service, environment: Environment): Role {
    return this.eks.addServiceRole(service.name.replaceAll("-", "_"), {
      namespace: environment.namespace,
      serviceAccount: service.name,
      name: `${environment.prefix}-${service.name}`,
      description: `Pods of ${service.name}`,
    });
  }

  /** Every alarm of the home Region reports to its topic. */
  private report(): void {
    const modules = [
      this.rds,
      this.elasticache,
      this.msk,
      this.alb,
      this.sqs,
      this.dynamodbVwr,
      this.apiGatewayVwr,
      this.lambdaVwr,
      this.lambdaWorker,
    ];
    for (const { alarms } of modules) alarms.notify(this.monitoring.alarmTopicArn);
  }
}

/** Services that the public load balancer forwards to, with the paths that lead to them. */
function publicTargets(): AlbProps["targets"] {
  return SERVICES.flatMap(({ name, port, healthCheckPath, loadBalancer }) =>
    loadBalancer?.public ? [{ name, port, healthCheckPath, pathPatterns: loadBalancer.public.pathPatterns }] : [],
  );
}

/** The one service that callers outside the cluster reach through the internal load balancer. */
function internalTarget(zoneName: string): InternalTarget {
  const [service, ...others] = SERVICES.filter(({ loadBalancer }) => loadBalancer?.internal);
  if (!service || others.length > 0) throw new Error("services: exactly one service must have loadBalancer.internal");
  return { targetName: service.name, port: service.port, zoneName };
}
