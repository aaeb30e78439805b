import { Route53Record } from "@cdktf/provider-aws/lib/route53-record";
import { Route53Zone } from "@cdktf/provider-aws/lib/route53-zone";
import { conditional, type IResolvable, propertyAccess, Token } from "cdktf";
import type { Construct } from "constructs";
import { enforce, type Rule } from "../../lib/rules";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link Route53}. */
export interface Route53Props {
  /** Domain of the site, such as `urr.guru`. */
  readonly domainName: string;
  /** Whether the zone is made here, or an existing one is used. Known at plan at the latest. Source: Infra analysis §2-8. */
  readonly createHostedZone: boolean | IResolvable;
  /** Existing zone; read only where none is made. @default none */
  readonly hostedZoneId?: string;
  readonly cloudfrontDomainName: string;
  /** Zone of CloudFront's own names: `Z2FDTNDATAQYW2`. */
  readonly cloudfrontHostedZoneId: string;
  /** Whether `www.` leads to the site, too. @default true */
  readonly includeWww?: boolean;
}

const RULES: readonly Rule<Route53Props>[] = [
  {
    property: "domainName",
    given: ({ domainName }) => domainName,
    valid: ({ domainName }) => /^(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$/.test(domainName),
    allowed: "a domain name in lower case such as urr.guru, without a trailing dot",
    remedy: "Route 53 refuses a hosted zone with an empty name.",
  },
  {
    property: "hostedZoneId",
    given: ({ createHostedZone, hostedZoneId = "" }) => ({ createHostedZone, hostedZoneId }),
    valid: ({ createHostedZone, hostedZoneId = "" }) => createHostedZone === true || /^Z[A-Z0-9]+$/.test(hostedZoneId),
    allowed: "the id of a zone (Z…) where createHostedZone is false",
    remedy: "Give the existing zone's id, or let the zone be made here.",
  },
];

/**
 * The domain's records: the apex and `www`, IPv4 and IPv6, as aliases of the distribution; and the zone itself if asked for.
 * Source: Infra analysis §2-8, Architecture guide §3.1.
 */
export class Route53 extends Module {
  readonly zoneId: string;
  /** Name servers of a zone that is made here, to be entered at the registrar; empty for an existing zone. */
  readonly nameServers: string[];

  constructor(scope: Construct, id: string, props: Route53Props) {
    super(scope, id);
    enforce(this, props, RULES);
    const { domainName, includeWww = true } = props;

    const { nameServers, zoneId } = this.zoneOf(props);
    this.zoneId = zoneId;
    this.nameServers = nameServers;
    this.alias("apex", domainName, props);
    if (includeWww) this.alias("www", `www.${domainName}`, props);
  }

  private zoneOf({ createHostedZone, domainName, hostedZoneId = "" }: Route53Props): {
    zoneId: string;
    nameServers: string[];
  } {
    if (createHostedZone === false) return { zoneId: hostedZoneId, nameServers: [] };
    const zone = new Route53Zone(this, "route53_zone.main", {
      name: domainName,
      comment: `Public zone of ${domainName}`,
      ...(createHostedZone !== true && { count: Token.asNumber(conditional(createHostedZone, 1, 0)) }),
    });
    if (createHostedZone === true) return { zoneId: zone.zoneId, nameServers: zone.nameServers };
    return {
      zoneId: Token.asString(conditional(createHostedZone, propertyAccess(zone, [0, "zone_id"]), hostedZoneId)),
      nameServers: Token.asList(conditional(createHostedZone, propertyAccess(zone, [0, "name_servers"]), [])),
    };
  }

  private alias(id: string, name: string, { cloudfrontDomainName, cloudfrontHostedZoneId }: Route53Props): void {
    const alias = { name: cloudfrontDomainName, zoneId: cloudfrontHostedZoneId, evaluateTargetHealth: false };
    new Route53Record(this, `route53_record.${id}_a`, { zoneId: this.zoneId, name, type: "A", alias });
    // The distribution answers on IPv6, too.
    new Route53Record(this, `route53_record.${id}_aaaa`, { zoneId: this.zoneId, name, type: "AAAA", alias });
  }
}
