import type { Environment } from "../../environments/environment";
import { PLATFORM } from "../../environments/gitops";
import { callersOf, SERVICES, type Service, serviceNamed, usesAws } from "../../environments/services";
import { subnet } from "../../lib/cidr";
import { LOCAL_STORES, readsReplica, STORE_PORTS } from "./configuration";
import { type Manifest, selectorOf } from "./manifest";
import { awsOf, isRollout, type Overlay } from "./overlay";

/** A selector of pods or addresses on the other side of a connection. */
export interface Peer {
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
}

interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly { readonly key: string; readonly operator: "In"; readonly values: string[] }[];
}

interface Port {
  readonly protocol: "TCP" | "UDP";
  readonly port: number;
}

/** One rule of a policy. */
export interface PolicyRule {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly ports: readonly Port[];
}

/** First /24 of the tiers that pods talk to, as the `vpc` module numbers them. Source: Infra analysis §2-1. */
const TIERS = { public: 0, app: 10, db: 20, cache: 30, streaming: 40 } as const;
const SUBNET_PREFIX_LENGTH = 24;
/** Where the internal load balancer has its addresses: it passes requests on under its own. */
const INTERNAL_LOAD_BALANCER_TIER = "streaming";
/** What is not the internet: private, shared, link-local (instance metadata among them) and loopback addresses. Source: RFC 6890. */
const NOT_THE_INTERNET = [
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.168.0.0/16",
];
const HTTPS = 443;
const DNS = 53;
const NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name";

/** IPv4 blocks of a tier, one per zone. */
export function tierBlocks({ vpc }: Environment, tier: keyof typeof TIERS): string[] {
  return vpc.availabilityZones.map((_, index) => subnet(vpc.cidr, SUBNET_PREFIX_LENGTH, TIERS[tier] + index));
}

/** Policies that hold everywhere: nothing, but names, and the calls of the catalogue. Source: Infra analysis §3-8, AWS architecture §4. */
export function basePolicies(): Manifest[] {
  return [
    policy("default-deny-all", {}, { ingress: [], egress: [] }),
    policy("allow-dns", {}, { egress: [{ to: [CLUSTER_DNS], ports: [udp(DNS), tcp(DNS)] }] }),
    ...SERVICES.flatMap((service) => {
      const { calls, name, port } = service;
      const callers = callersOf(name);
      const ingress = callers.length > 0 ? [{ from: [pods(...callers)], ports: [tcp(port)] }] : [];
      const egress = calls.map((callee) => ({ to: [pods(callee)], ports: [tcp(serviceNamed(callee).port)] }));
      return ingress.length + egress.length > 0
        ? [
            policy(name, selectorOf(name), {
              ...(ingress.length > 0 && { ingress }),
              ...(egress.length > 0 && { egress }),
            }),
          ]
        : [];
    }),
  ];
}

/** What an environment adds: load balancers, monitoring, its data stores, AWS and, where the catalogue says so, the internet. */
export function overlayPolicies(overlay: Overlay): Manifest[] {
  return SERVICES.flatMap((service) => {
    const ingress = overlayIngress(service, overlay);
    const egress = overlayEgress(service, overlay);
    if (ingress.length + egress.length === 0) return [];
    return [
      policy(`${service.name}-${overlay.name}`, selectorOf(service.name), {
        ...(ingress.length > 0 && { ingress }),
        ...(egress.length > 0 && { egress }),
      }),
    ];
  });
}

/** Policies of a data store that runs in the namespace: who may come in, and whether its pods talk among each other. */
export function storePolicy(
  name: string,
  clients: readonly string[],
  port: number,
  amongEachOther: readonly number[] = [],
): Manifest {
  const own = { peers: [pods(name)], ports: amongEachOther.map(tcp) };
  return policy(name, selectorOf(name), {
    ingress: [
      { from: [pods(...clients)], ports: [tcp(port)] },
      ...(own.ports.length > 0 ? [{ from: own.peers, ports: own.ports }] : []),
    ],
    ...(own.ports.length > 0 && { egress: [{ to: own.peers, ports: own.ports }] }),
  });
}

/** A policy of the namespace. Types follow from the rules that are given, so that a policy closes only what it opens again. */
export function policy(
  name: string,
  podLabels: Readonly<Record<string, string>>,
  { egress, ingress }: { readonly ingress?: readonly PolicyRule[]; readonly egress?: readonly PolicyRule[] },
): Manifest {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name },
    spec: {
      podSelector: Object.keys(podLabels).length > 0 ? { matchLabels: podLabels } : {},
      policyTypes: [...(ingress ? ["Ingress"] : []), ...(egress ? ["Egress"] : [])],
      ...(ingress && ingress.length > 0 && { ingress }),
      ...(egress && egress.length > 0 && { egress }),
    },
  };
}

/** Pods of this namespace by the name of what they run. */
export function pods(...names: string[]): Peer {
  const [first] = names;
  return names.length === 1 && first !== undefined
    ? { podSelector: { matchLabels: selectorOf(first) } }
    : { podSelector: { matchExpressions: [{ key: "app", operator: "In", values: names }] } };
}

/** Pods of the platform, in a namespace of their own or in this one. */
export function platformPods(overlay: Overlay, namespace: string, name: string): Peer {
  return {
    ...(namespace !== overlay.namespace && {
      namespaceSelector: { matchLabels: { [NAMESPACE_NAME_LABEL]: namespace } },
    }),
    podSelector: { matchLabels: { [PLATFORM.nameLabel]: name } },
  };
}

const CLUSTER_DNS: Peer = {
  namespaceSelector: { matchLabels: { [NAMESPACE_NAME_LABEL]: "kube-system" } },
  podSelector: { matchLabels: { "k8s-app": "kube-dns" } },
};

function overlayIngress(service: Service, overlay: Overlay): PolicyRule[] {
  const { loadBalancer, port, runtime } = service;
  const aws = awsOf(overlay);
  const from = (...peers: Peer[]): PolicyRule => ({ from: peers, ports: [tcp(port)] });
  return [
    ...(aws && loadBalancer?.public ? [from(...blocks(tierBlocks(aws, "public")))] : []),
    ...(aws && loadBalancer?.internal ? [from(...blocks(tierBlocks(aws, INTERNAL_LOAD_BALANCER_TIER)))] : []),
    ...(runtime === "spring"
      ? [from(platformPods(overlay, overlay.monitoringNamespace, PLATFORM.prometheusName))]
      : []),
    // A preview Service leads to the same pods: the policy names them by their label.
    ...(isRollout(service, overlay)
      ? [from(platformPods(overlay, PLATFORM.rolloutsNamespace, PLATFORM.rolloutsName))]
      : []),
  ];
}

function overlayEgress(service: Service, overlay: Overlay): PolicyRule[] {
  const { callsInternet, runtime, sendsTicketEvents } = service;
  const aws = awsOf(overlay);
  const zipkin = platformPods(overlay, overlay.monitoringNamespace, PLATFORM.zipkinName);
  return [
    ...(runtime === "spring" ? [{ to: [zipkin], ports: [tcp(PLATFORM.zipkinPort)] }] : []),
    ...(aws ? awsEgress(service, overlay, aws) : localEgress(service)),
    // The queue's address is a public one: SQS has no endpoint in the VPC.
    ...(callsInternet || (aws && sendsTicketEvents) ? [{ to: [INTERNET], ports: [tcp(HTTPS)] }] : []),
  ];
}

function awsEgress(service: Service, overlay: Overlay, aws: Environment): PolicyRule[] {
  const to = (tier: keyof typeof TIERS, port: number): PolicyRule => ({
    to: blocks(tierBlocks(aws, tier)),
    ports: [tcp(port)],
  });
  return [
    // The proxy stands in the app subnets.
    ...(service.database ? [to("app", STORE_PORTS.postgresql)] : []),
    ...(readsReplica(service, overlay) ? [to("db", STORE_PORTS.postgresql)] : []),
    ...(service.redis ? [to("cache", STORE_PORTS.redis)] : []),
    ...(service.kafka ? [to("streaming", STORE_PORTS.kafkaIam)] : []),
    // Roles are taken at STS, whose endpoint stands in the app subnets.
    ...(usesAws(service) ? [to("app", HTTPS)] : []),
  ];
}

function localEgress({ database, kafka, redis }: Service): PolicyRule[] {
  const to = (store: string, port: number): PolicyRule => ({ to: [pods(store)], ports: [tcp(port)] });
  return [
    ...(database ? [to(LOCAL_STORES.postgresql, STORE_PORTS.postgresql)] : []),
    ...(redis ? [to(LOCAL_STORES.redis, STORE_PORTS.redis)] : []),
    ...(kafka ? [to(LOCAL_STORES.kafka, STORE_PORTS.kafkaPlain)] : []),
  ];
}

const INTERNET: Peer = { ipBlock: { cidr: "0.0.0.0/0", except: NOT_THE_INTERNET } };

function blocks(cidrs: readonly string[]): Peer[] {
  return cidrs.map((cidr) => ({ ipBlock: { cidr } }));
}

function tcp(port: number): Port {
  return { protocol: "TCP", port };
}

function udp(port: number): Port {
  return { protocol: "UDP", port };
}
