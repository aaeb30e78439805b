import { Lb } from "@cdktf/provider-aws/lib/lb";
import { LbListener } from "@cdktf/provider-aws/lib/lb-listener";
import { LbTargetGroup } from "@cdktf/provider-aws/lib/lb-target-group";
import { Route53Record } from "@cdktf/provider-aws/lib/route53-record";
import { Route53Zone } from "@cdktf/provider-aws/lib/route53-zone";
import type { Construct } from "constructs";
import { physicalName } from "../../lib/naming";
import { SecurityGroup } from "../../lib/security-group";
import type { Vpc } from "../vpc";
import { DEREGISTRATION_DELAY_SECONDS, HEALTH_CHECK } from "./target-group";

/** One service that callers outside the cluster, in the VPC, reach under a private name. */
export interface InternalTarget {
  /** Service, such as `ticket-service`: first label of its private name. */
  readonly targetName: string;
  /** Port of the load balancer and of the pods. */
  readonly port: number;
  /** Private zone, made here, such as `urr-prod.internal`. Replacing it destroys the zone. */
  readonly zoneName: string;
  /** @default "/health" */
  readonly healthCheckPath?: string;
}

/** The internal load balancer, as far as the module shows it. */
export interface InternalLoadBalancer {
  readonly arnSuffix: string;
  readonly securityGroup: SecurityGroup;
  readonly targetGroup: LbTargetGroup;
  /** Private name of the service. */
  readonly host: string;
}

/**
 * Makes `aws_lb.internal` and what belongs to it. A network load balancer: it passes the plain HTTP on that the documented
 * URL speaks, needs no certificate for a private name, and takes a security group as an application load balancer does.
 */
export function createInternalLoadBalancer(
  scope: Construct,
  { healthCheckPath = "/health", port, targetName, zoneName }: InternalTarget,
  {
    deletionProtection,
    prefix,
    vpc,
  }: { readonly prefix: string; readonly vpc: Vpc; readonly deletionProtection: boolean },
): InternalLoadBalancer {
  const securityGroup = new SecurityGroup(scope, "internal", {
    name: `${prefix}-internal-lb`,
    description: `Internal load balancer of ${targetName}`,
    vpcId: vpc.vpcId,
    label: "internal_lb",
  });
  const loadBalancer = new Lb(scope, "lb.internal", {
    name: physicalName(scope, "load balancer", `${prefix}-int`),
    loadBalancerType: "network",
    internal: true,
    // Beside its caller, not among the pods: the cluster's network policies admit it by these addresses, which no pod then has.
    subnets: [...vpc.tiers.streaming.subnetIds],
    // A network load balancer that is made without a security group can never be given one.
    securityGroups: [securityGroup.securityGroupId],
    // The pods of a small environment may all be in one zone, and the caller in the other.
    enableCrossZoneLoadBalancing: true,
    enableDeletionProtection: deletionProtection,
  });
  const targetGroup = new LbTargetGroup(scope, `lb_target_group.internal_${targetName.replaceAll("-", "_")}`, {
    name: physicalName(scope, "target group", `${prefix}-int-${targetName}`),
    vpcId: vpc.vpcId,
    targetType: "ip",
    protocol: "TCP",
    port,
    // Return traffic must pass the load balancer, and the pods' rules name its group, not the callers'.
    preserveClientIp: "false",
    deregistrationDelay: `${DEREGISTRATION_DELAY_SECONDS}`,
    connectionTermination: true,
    healthCheck: { ...HEALTH_CHECK, protocol: "HTTP", path: healthCheckPath },
  });
  new LbListener(scope, "lb_listener.internal", {
    loadBalancerArn: loadBalancer.arn,
    protocol: "TCP",
    port,
    defaultAction: [{ type: "forward", targetGroupArn: targetGroup.arn }],
  });
  const zone = new Route53Zone(scope, "route53_zone.internal", {
    name: zoneName,
    comment: `Private names of ${prefix}`,
    vpc: [{ vpcId: vpc.vpcId }],
  });
  const host = `${targetName}.${zoneName}`;
  new Route53Record(scope, `route53_record.${targetName.replaceAll("-", "_")}`, {
    zoneId: zone.zoneId,
    name: host,
    type: "A",
    alias: { name: loadBalancer.dnsName, zoneId: loadBalancer.zoneId, evaluateTargetHealth: false },
  });
  return { arnSuffix: loadBalancer.arnSuffix, securityGroup, targetGroup, host };
}
