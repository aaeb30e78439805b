import { compareText, type Item, type Report } from "./model";
import { isList, isObject, type Json, type JsonObject, own } from "./plan";
import prices from "./prices.json" with { type: "json" };

/** One resource whose monthly list price changes. */
export interface CostRow {
  readonly address: string;
  readonly before: number;
  readonly after: number;
  /** What the figure stands on. */
  readonly basis: string;
}

export interface CostView {
  readonly rows: readonly CostRow[];
  readonly before: number;
  readonly after: number;
  /** Types that are paid by use, which no plan tells. */
  readonly byUse: readonly string[];
  /** Priced types with a size that the table does not hold. */
  readonly unpriced: readonly string[];
  readonly date: string;
  readonly region: string;
}

interface Price {
  readonly monthly: number;
  readonly basis: string;
}

type Pricer = (values: JsonObject) => Price | undefined;

const hourly = (price: number, basis: string, count = 1): Price => ({
  monthly: price * prices.hoursPerMonth * count,
  basis,
});

const number = (value: Json | undefined, otherwise: number): number => (typeof value === "number" ? value : otherwise);

const first = (value: Json | undefined): JsonObject => {
  const item = isList(value) ? value[0] : value;
  return isObject(item) ? item : {};
};

const listed = (table: Readonly<Record<string, number>>, key: Json | undefined): number | undefined =>
  typeof key === "string" ? own(table, key) : undefined;

/** Fixed monthly prices of the types of these stacks; undefined where the size is not in the table. */
const PRICERS: Readonly<Record<string, Pricer>> = {
  aws_nat_gateway: () => hourly(prices.natGatewayHour, "NAT gateway, without traffic"),
  aws_eip: () => hourly(prices.publicAddressHour, "public IPv4 address"),
  aws_eks_cluster: () => hourly(prices.clusterHour, "control plane in standard support"),
  aws_eks_node_group: (values) => {
    const type = isList(values.instance_types) ? values.instance_types[0] : undefined;
    const price = listed(prices.instance, type);
    const desired = number(first(values.scaling_config).desired_size, 1);
    const spot = values.capacity_type === "SPOT";
    return price === undefined
      ? undefined
      : hourly(
          price * (spot ? prices.spotShare : 1),
          `${desired} × ${type}${spot ? ", Spot at about a third" : ""}`,
          desired,
        );
  },
  aws_instance: (values) => {
    const price = listed(prices.instance, values.instance_type);
    return price === undefined ? undefined : hourly(price, String(values.instance_type));
  },
  aws_db_instance: (values) => {
    const price = listed(prices.database, values.instance_class);
    if (price === undefined) return undefined;
    const zones = values.multi_az === true ? 2 : 1;
    const type = typeof values.storage_type === "string" ? values.storage_type : "gp3";
    const storage =
      number(values.allocated_storage, 0) * (listed(prices.databaseStorageGib, type) ?? prices.databaseStorageGib.gp3);
    return {
      monthly: (price * prices.hoursPerMonth + storage) * zones,
      basis: `${values.instance_class}, ${number(values.allocated_storage, 0)} GiB${zones === 2 ? ", Multi-AZ" : ""}`,
    };
  },
  aws_elasticache_replication_group: (values) => {
    const price = listed(prices.cache, values.node_type);
    const nodes = number(values.num_cache_clusters, 1);
    return price === undefined ? undefined : hourly(price, `${nodes} × ${values.node_type}`, nodes);
  },
  aws_msk_cluster: (values) => {
    const group = first(values.broker_node_group_info);
    const price = listed(prices.broker, group.instance_type);
    const brokers = number(values.number_of_broker_nodes, 2);
    const gib = number(first(first(group.storage_info).ebs_storage_info).volume_size, 0);
    return price === undefined
      ? undefined
      : {
          monthly: brokers * (price * prices.hoursPerMonth + gib * prices.brokerStorageGib),
          basis: `${brokers} × ${group.instance_type}, ${gib} GiB each`,
        };
  },
  aws_lb: () => hourly(prices.loadBalancerHour, "load balancer, without capacity units"),
  aws_vpc_endpoint: (values) => {
    if (values.vpc_endpoint_type !== "Interface") return { monthly: 0, basis: "gateway endpoint" };
    const zones = isList(values.subnet_ids) && values.subnet_ids.length > 0 ? values.subnet_ids.length : 2;
    return hourly(prices.interfaceEndpointHour, `interface endpoint in ${zones} zones`, zones);
  },
  aws_secretsmanager_secret: () => ({ monthly: prices.secretMonth, basis: "secret" }),
  aws_kms_key: () => ({ monthly: prices.keyMonth, basis: "key" }),
  aws_wafv2_web_acl: (values) => {
    const rules = isList(values.rule) ? values.rule.length : 0;
    return { monthly: prices.webAclMonth + rules * prices.webAclRuleMonth, basis: `web ACL with ${rules} rules` };
  },
  aws_route53_zone: () => ({ monthly: prices.zoneMonth, basis: "hosted zone" }),
  aws_cloudwatch_metric_alarm: () => ({ monthly: prices.alarmMonth, basis: "alarm" }),
  aws_grafana_workspace: () => ({ monthly: prices.grafanaEditorMonth, basis: "one editor" }),
};

/** Types that cost by use alone. */
const BY_USE =
  /^aws_(?:lambda_function|sqs_queue|dynamodb_table|s3_bucket|cloudfront_distribution|api_gateway_rest_api|cloudwatch_log_group|ecr_repository|prometheus_workspace|sns_topic|flow_log|kinesis_\w+)$/;

/** What the plan changes in the monthly list price, from the dated price table of the repository: an estimate. */
export function costOf(report: Report): CostView {
  const rows: CostRow[] = [];
  const byUse = new Set<string>();
  const unpriced: string[] = [];
  for (const item of report.items) {
    if (!["create", "update", "replace", "delete"].includes(item.kind) || item.mode !== "managed") continue;
    if (BY_USE.test(item.type)) byUse.add(item.type);
    if (item.type === "aws_db_proxy") unpriced.push(`${item.address} (by the database's vCPUs)`);
    const pricer = own(PRICERS, item.type);
    if (!pricer) continue;
    const [before, after] = [priced(item, "before", pricer, unpriced), priced(item, "after", pricer, unpriced)];
    if (before === undefined || after === undefined) continue;
    if (Math.abs(after.monthly - before.monthly) < 0.005) continue;
    rows.push({
      address: item.address,
      before: before.monthly,
      after: after.monthly,
      basis: after.basis || before.basis,
    });
  }
  rows.sort((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before) || compareText(a.address, b.address));
  return {
    rows,
    before: rows.reduce((total, row) => total + row.before, 0),
    after: rows.reduce((total, row) => total + row.after, 0),
    byUse: [...byUse].sort(compareText),
    unpriced: [...new Set(unpriced)].sort(compareText),
    date: prices.date,
    region: prices.region,
  };
}

function priced(item: Item, side: "before" | "after", pricer: Pricer, unpriced: string[]): Price | undefined {
  const values = item.change[side];
  if (!isObject(values) || (side === "after" && item.kind === "delete")) return { monthly: 0, basis: "" };
  const price = pricer(values);
  if (price === undefined) unpriced.push(`${item.address} (size not in the table)`);
  return price;
}
