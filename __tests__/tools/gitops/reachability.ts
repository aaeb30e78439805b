import { contains } from "../../support/network";
import type { KubernetesObject } from "./objects";

/** One end of a connection: a pod, which has an address too, or an address outside the cluster. */
export interface End {
  readonly name: string;
  /** IPv4 address. */
  readonly address: string;
  /** Namespace with its labels and the pod's; absent for what is no pod. */
  readonly pod?: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> };
}

type Labels = Readonly<Record<string, string>>;

interface Selector {
  readonly matchLabels?: Labels;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: string[];
  }[];
}

interface Peer {
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
}

interface Rule {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  readonly ports?: readonly { readonly protocol?: string; readonly port?: number }[];
}

/**
 * Whether policies admit a connection: it has to be let out at one end and in at the other. An address matches an `ipBlock`
 * whether or not it is a pod's, as the VPC CNI, which gives pods addresses of the VPC, enforces it.
 * Source: Kubernetes, "Network Policies".
 */
export function admits(
  policies: readonly KubernetesObject[],
  from: End,
  to: End,
  port: number,
  protocol: "TCP" | "UDP" = "TCP",
): boolean {
  return passes(policies, from, to, "Egress", port, protocol) && passes(policies, to, from, "Ingress", port, protocol);
}

function passes(
  policies: readonly KubernetesObject[],
  own: End,
  other: End,
  direction: "Ingress" | "Egress",
  port: number,
  protocol: string,
): boolean {
  const { pod } = own;
  if (!pod) return true;
  const selecting = policies.filter(
    ({ metadata, spec }) =>
      metadata.namespace === pod.namespace &&
      spec.policyTypes.includes(direction) &&
      matches(spec.podSelector as Selector, pod.labels),
  );
  if (selecting.length === 0) return true;
  return selecting.some(({ spec }) =>
    ((direction === "Ingress" ? spec.ingress : spec.egress) ?? []).some((rule: Rule) => {
      const peers = direction === "Ingress" ? rule.from : rule.to;
      const isPort =
        !rule.ports ||
        rule.ports.some((one) => (one.protocol ?? "TCP") === protocol && (one.port === undefined || one.port === port));
      return isPort && (!peers || peers.some((peer) => isPeer(peer, other, pod.namespace)));
    }),
  );
}

function isPeer({ ipBlock, namespaceSelector, podSelector }: Peer, end: End, ownNamespace: string): boolean {
  if (ipBlock) {
    const address = `${end.address}/32`;
    return contains(ipBlock.cidr, address) && !(ipBlock.except ?? []).some((block) => contains(block, address));
  }
  if (!end.pod) return false;
  const isNamespace = namespaceSelector
    ? matches(namespaceSelector, { "kubernetes.io/metadata.name": end.pod.namespace })
    : end.pod.namespace === ownNamespace;
  return isNamespace && (!podSelector || matches(podSelector, end.pod.labels));
}

function matches({ matchExpressions = [], matchLabels = {} }: Selector, labels: Labels): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      if (operator !== "In") throw new Error(`operator ${operator} is not evaluated here`);
      return labels[key] !== undefined && values.includes(labels[key] as string);
    })
  );
}
