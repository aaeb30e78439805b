import { TerraformOutput } from "cdktf";
import type { Construct } from "constructs";
import type { Cloudfront } from "../modules/cloudfront";
import type { Ecr } from "../modules/ecr";
import type { Route53 } from "../modules/route53";
import type { Waf } from "../modules/waf";
import type { CoreModules } from "./core-modules";

/** Value of an output, and what it is for. */
type Output = readonly [value: unknown, description: string];

/** What the sixteen modules tell people, the platform stack and CI. Names as in the documents; none is a secret. */
export function declareCoreOutputs(stack: Construct, modules: CoreModules): void {
  const {
    vpc,
    secrets,
    eks,
    rds,
    elasticache,
    msk,
    alb,
    s3,
    sqs,
    dynamodbVwr,
    apiGatewayVwr,
    lambdaVwr,
    lambdaWorker,
    monitoring,
  } = modules;
  declare(stack, {
    vpc_id: [vpc.vpcId, "VPC"],
    vpc_cidr: [vpc.vpcCidr, "IPv4 block of the VPC"],
    public_subnet_ids: [vpc.tiers.public.subnetIds, "Subnets of the load balancer and the NAT gateways"],
    app_subnet_ids: [vpc.tiers.app.subnetIds, "Subnets of nodes, database proxy and interface endpoints"],
    db_subnet_ids: [vpc.tiers.db.subnetIds, "Subnets of the databases"],
    cache_subnet_ids: [vpc.tiers.cache.subnetIds, "Subnets of Redis"],
    streaming_subnet_ids: [vpc.tiers.streaming.subnetIds, "Subnets of Kafka and the ticket worker"],
    nat_public_ips: [
      vpc.natPublicIps,
      "Addresses under which the environment calls the internet: payment gateways may want to know them",
    ],

    kms_key_arn: [secrets.key.keyArn, "Key of the environment"],
    rds_credentials_secret_name: [secrets.rdsCredentials.secretName, "Secret with the databases' master user"],
    vwr_token_secret_name: [secrets.vwrTokenSecret.secretName, "Secret that signs tier-1 tokens"],
    queue_entry_token_secret_name: [secrets.queueEntryTokenSecret.secretName, "Secret that signs tier-2 tokens"],

    eks_cluster_name: [eks.clusterName, "Cluster, as `aws eks update-kubeconfig --name` wants it"],
    eks_cluster_endpoint: [eks.clusterEndpoint, "Kubernetes API"],
    eks_cluster_certificate_authority_data: [eks.certificateAuthorityData, "Certificate of the Kubernetes API, base64"],
    eks_oidc_provider_arn: [eks.oidc.providerArn, "Identity provider of the cluster's service accounts"],
    eks_oidc_issuer: [eks.oidc.issuer, "Issuer of the cluster's service accounts, without https://"],
    eks_node_role_name: [eks.nodeRole.roleName, "Role of nodes: Karpenter's too"],
    eks_node_security_group_id: [eks.nodeSecurityGroup.securityGroupId, "Security group of nodes and pods"],
    karpenter_role_arn: [eks.karpenterRoleArn, "Role of the Karpenter controller"],
    karpenter_queue_name: [eks.karpenterQueueName, "Queue of interruption notices"],
    service_role_arns: [modules.serviceRoleArns, "Role of each service's pods, by service"],
    platform_role_arns: [modules.platformRoleArns, "Role of each part of the platform, by its name"],

    rds_endpoint: [rds.endpointAddress, "Primary database"],
    rds_proxy_endpoint: [rds.proxyEndpoint, "Database proxy: what services connect to"],
    ...(rds.replicaEndpointAddress && { rds_replica_endpoint: [rds.replicaEndpointAddress, "Read replica"] as Output }),
    redis_endpoint: [elasticache.primaryEndpointAddress, "Redis primary"],
    redis_reader_endpoint: [elasticache.readerEndpointAddress, "Redis replicas"],
    msk_cluster_arn: [msk.clusterArn, "Kafka cluster"],
    msk_bootstrap_brokers: [msk.bootstrapBrokersSaslIam, "Kafka brokers, IAM authentication, port 9098"],

    alb_dns_name: [alb.dnsName, "Public load balancer"],
    alb_zone_id: [alb.zoneId, "Zone of the load balancer's name, for alias records"],
    target_group_arns: [alb.targetGroupArns, "Target groups, by service: pods are registered by TargetGroupBindings"],
    internal_service_url: [alb.internalServiceUrl, "ticket-service as callers outside the cluster reach it"],

    frontend_bucket_name: [s3.frontendBucketName, "Bucket of static files"],
    sqs_queue_url: [sqs.queueUrl, "Queue of ticket events"],
    sqs_queue_name: [sqs.queueName, "Queue of ticket events"],
    sqs_dlq_url: [sqs.dlqUrl, "Ticket events that could not be worked on"],
    vwr_counters_table_name: [dynamodbVwr.countersTableName, "Counters of the waiting room"],
    vwr_positions_table_name: [dynamodbVwr.positionsTableName, "Positions of the waiting room"],
    vwr_api_id: [apiGatewayVwr.restApiId, "API of the waiting room"],
    vwr_api_stage_name: [apiGatewayVwr.stageName, "Stage of the API"],
    vwr_api_domain_name: [apiGatewayVwr.invokeDomainName, "Host of the API's own URL"],
    vwr_api_function_name: [lambdaVwr.apiFunction.functionName, "Function that assigns and checks positions"],
    vwr_advancer_function_name: [lambdaVwr.advancerFunction.functionName, "Function that admits visitors"],
    ticket_worker_function_name: [lambdaWorker.functionName, "Function that works on ticket events"],

    alarm_topic_arn: [monitoring.alarmTopicArn, "Topic of alarms"],
    amp_workspace_id: [monitoring.ampWorkspaceId, "Managed Prometheus workspace"],
    amp_remote_write_endpoint: [monitoring.ampRemoteWriteEndpoint, "Where Prometheus writes to"],
    grafana_endpoint: [monitoring.grafanaEndpoint, "Managed Grafana"],
    grafana_workspace_id: [monitoring.grafanaWorkspaceId, "Managed Grafana workspace"],
    prometheus_role_arn: [monitoring.prometheusRoleArn, "Role of the cluster's Prometheus"],
  });
}

/** What the four modules of production's edge tell. */
export function declareEdgeOutputs(
  stack: Construct,
  { cloudfront, waf, route53, ecr }: { cloudfront: Cloudfront; waf: Waf; route53: Route53; ecr: Ecr },
): void {
  declare(stack, {
    cloudfront_distribution_id: [cloudfront.distributionId, "Distribution, as invalidations name it"],
    cloudfront_domain_name: [cloudfront.distributionDomainName, "Distribution's own name"],
    waf_web_acl_arn: [waf.webAclArn, "Web ACL of the distribution"],
    hosted_zone_id: [route53.zoneId, "Public zone"],
    name_servers: [route53.nameServers, "Name servers to enter at the registrar, where the zone was made here"],
    ecr_repository_urls: [ecr.repositoryUrls, "Image repositories, by service"],
  });
}

function declare(stack: Construct, outputs: Readonly<Record<string, Output>>): void {
  for (const [name, [value, description]] of Object.entries(outputs))
    new TerraformOutput(stack, `output.${name}`, { value, description });
}
