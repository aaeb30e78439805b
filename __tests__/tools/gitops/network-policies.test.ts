import { describe, expect, it } from "vitest";
import { SERVICES, type Service } from "../../../environments/services";
import { OVERLAYS, type Overlay, type OverlayName } from "../../../tools/gitops/overlay";
import { additions, baseObjects, isWorkload, type KubernetesObject, ofKind } from "./objects";
import { admits, type End } from "./reachability";

const INTERNET = address("the internet", "93.184.216.34");
/** Source: Infra analysis §2-1: first octets of the VPC, then the tiers .0, .10, .20, .30 and .40. */
const NETWORKS: Readonly<Partial<Record<OverlayName, string>>> = { prod: "10.0", staging: "10.1" };
const OTHER_NETWORK: Readonly<Partial<Record<OverlayName, string>>> = { prod: "10.1", staging: "10.0" };
const METRICS = SERVICES.filter(({ name }) => name !== "frontend");

function address(name: string, ip: string): End {
  return { name, address: ip };
}

function policiesOf(overlay: Overlay): KubernetesObject[] {
  return ofKind([...baseObjects(), ...additions(overlay.name)], "NetworkPolicy").map((policy) => ({
    ...policy,
    metadata: { ...policy.metadata, namespace: overlay.namespace },
  }));
}

/** Every pod of the overlay by its workload's name, with an address of the app subnets, as the VPC CNI gives them. */
function podsOf(overlay: Overlay): Map<string, End> {
  const workloads = [...baseObjects(), ...additions(overlay.name)].filter(isWorkload);
  return new Map(
    workloads.map(({ metadata, spec }, index) => [
      metadata.name,
      {
        name: metadata.name,
        address: `${NETWORKS[overlay.name] ?? "10.244"}.${10 + (index % 2)}.${20 + index}`,
        pod: { namespace: overlay.namespace, labels: spec.template.metadata.labels },
      },
    ]),
  );
}

function podIn(namespace: string, name: string, labels: Readonly<Record<string, string>>, ip = "10.0.10.200"): End {
  return { name, address: ip, pod: { namespace, labels } };
}

describe.each(OVERLAYS.map((overlay) => [overlay.name, overlay] as const))("network policies of %s", (_, overlay) => {
  const policies = policiesOf(overlay);
  const pods = podsOf(overlay);
  const network = NETWORKS[overlay.name];
  const inAws = (text: string, test: () => void) => network && it(text, test);
  const inCluster = (text: string, test: () => void) => !network && it(text, test);
  const pod = (name: string): End => {
    const found = pods.get(name);
    if (!found) throw new Error(`no pod ${name}`);
    return found;
  };
  const reaches = (from: End, to: End, port: number, protocol?: "TCP" | "UDP") =>
    admits(policies, from, to, port, protocol);
  const who = (uses: (service: Service) => boolean) =>
    SERVICES.filter(uses)
      .map(({ name }) => name)
      .sort();
  const reaching = (to: End, port: number) =>
    SERVICES.map(({ name }) => name)
      .filter((name) => reaches(pod(name), to, port))
      .sort();

  it("admits exactly the calls of the catalogue, for every pair of services and every port", () => {
    const ports = [...SERVICES.map(({ port }) => port), 22, 53, 80, 443, 5432, 6379, 8080, 9092, 9098, 9411, 15_000];
    const admitted = SERVICES.flatMap((from) =>
      SERVICES.filter(({ name }) => name !== from.name).flatMap((to) =>
        ports
          .filter((port) => reaches(pod(from.name), pod(to.name), port))
          .map((port) => `${from.name} -> ${to.name}:${port}`),
      ),
    );
    const called = SERVICES.flatMap(({ calls, name }) =>
      calls.map((callee) => `${name} -> ${callee}:${SERVICES.find((one) => one.name === callee)?.port}`),
    );
    expect(admitted.sort()).toEqual(called.sort());
    expect(admitted).toHaveLength(14);
  });

  it("closes every pod in both directions by one policy, whatever the others say", () => {
    const [closing, ...others] = policies.filter(({ metadata }) => metadata.name === "default-deny-all");
    expect(others).toEqual([]);
    expect(closing?.spec).toEqual({ podSelector: {}, policyTypes: ["Ingress", "Egress"] });
  });

  it("denies everything to a pod that no other policy names", () => {
    const stranger = podIn(overlay.namespace, "stranger", { app: "stranger" });
    for (const { name, port } of SERVICES) {
      expect(reaches(stranger, pod(name), port), name).toBe(false);
      expect(reaches(pod(name), stranger, 8080), name).toBe(false);
    }
    expect(reaches(stranger, INTERNET, 443)).toBe(false);
  });

  it("admits no pod of another namespace but Prometheus and the Rollouts controller", () => {
    for (const { name, port } of SERVICES) {
      for (const namespace of ["default", "kube-system", "urr-other", overlay.monitoringNamespace])
        expect(
          reaches(podIn(namespace, "other", { app: "gateway-service-2" }), pod(name), port),
          `${namespace} -> ${name}`,
        ).toBe(false);
      expect(reaches(podIn("default", "impostor", { app: "gateway-service" }), pod(name), port), name).toBe(false);
    }
  });

  it("lets every pod ask the cluster's DNS, by UDP and TCP, and nobody else on that port", () => {
    const dns = podIn("kube-system", "coredns", { "k8s-app": "kube-dns" });
    for (const [name, from] of pods) {
      expect(reaches(from, dns, 53, "UDP"), name).toBe(true);
      expect(reaches(from, dns, 53, "TCP"), name).toBe(true);
      expect(reaches(from, address("another resolver", "8.8.8.8"), 53, "UDP"), name).toBe(false);
    }
  });

  it("lets Prometheus read the metrics of the backends, and of them only", () => {
    const prometheus = podIn(overlay.monitoringNamespace, "prometheus", {
      app: "prometheus",
      "app.kubernetes.io/name": "prometheus",
    });
    expect(SERVICES.filter(({ name, port }) => reaches(prometheus, pod(name), port)).map(({ name }) => name)).toEqual(
      METRICS.map(({ name }) => name),
    );
  });

  it("lets the backends, and them only, send traces to Zipkin", () => {
    const zipkin = podIn(overlay.monitoringNamespace, "zipkin", { app: "zipkin", "app.kubernetes.io/name": "zipkin" });
    expect(reaching(zipkin, 9411)).toEqual(METRICS.map(({ name }) => name).sort());
  });

  it("lets the Rollouts controller, which asks previews for their health, reach what is deployed blue-green, and nobody else", () => {
    const controller = podIn("argo-rollouts", "argo-rollouts", { "app.kubernetes.io/name": "argo-rollouts" });
    expect(
      SERVICES.filter(({ name, port }) => reaches(controller, pod(name), port))
        .map(({ name }) => name)
        .sort(),
    ).toEqual(overlay.name === "prod" ? ["gateway-service", "payment-service", "queue-service", "ticket-service"] : []);
  });

  it("lets payment and auth call the internet by HTTPS, queue-service where it sends to SQS, and nobody else", () => {
    const expected = ["auth-service", "payment-service", ...(network ? ["queue-service"] : [])];
    expect(reaching(INTERNET, 443)).toEqual(expected);
    for (const port of [22, 80, 5432, 8443]) expect(reaching(INTERNET, port), `${port}`).toEqual([]);
  });

  it("keeps every pod from instance metadata and from the other environment", () => {
    const other = OTHER_NETWORK[overlay.name] ?? "10.0";
    for (const [name, from] of pods) {
      expect(reaches(from, address("metadata", "169.254.169.254"), 80), name).toBe(false);
      for (const [tier, port] of [
        [10, 5432],
        [20, 5432],
        [30, 6379],
        [40, 9098],
        [10, 443],
      ] as const)
        expect(reaches(from, address("other environment", `${other}.${tier}.9`), port), `${name} ${tier}`).toBe(false);
    }
  });

  inAws("admits the load balancers where the catalogue says so", () => {
    const publicBalancer = address("ALB", `${network}.1.7`);
    const internalBalancer = address("NLB", `${network}.41.7`);
    const admitted = (from: End) =>
      SERVICES.filter(({ name, port }) => reaches(from, pod(name), port))
        .map(({ name }) => name)
        .sort();
    expect(admitted(publicBalancer)).toEqual(["frontend", "gateway-service"]);
    expect(admitted(internalBalancer)).toEqual(["ticket-service"]);
    expect(admitted(address("another tier", `${network}.20.7`))).toEqual([]);
    expect(admitted(INTERNET)).toEqual([]);
  });

  inAws("opens the data stores of the environment to who uses them, both zones, and to nobody else", () => {
    const databases = who(({ database }) => database !== undefined);
    for (const zone of [0, 1]) {
      const at = (tier: number) => address(`tier ${tier}`, `${network}.${tier + zone}.9`);
      expect(reaching(at(10), 5432), "proxy").toEqual(databases);
      expect(reaching(at(20), 5432), "replica").toEqual(
        overlay.name === "prod" ? ["catalog-service", "stats-service"] : [],
      );
      expect(reaching(at(30), 6379), "Redis").toEqual(who(({ redis }) => redis === true));
      expect(reaching(at(40), 9098), "Kafka").toEqual(who(({ kafka }) => kafka !== undefined));
      expect(reaching(at(40), 9094), "Kafka without IAM").toEqual([]);
      expect(reaching(at(10), 443), "STS").toEqual([
        "payment-service",
        "queue-service",
        "stats-service",
        "ticket-service",
      ]);
      expect(reaching(at(0), 443), "public tier").toEqual([]);
    }
  });

  inCluster("opens the namespace's own stores to who uses them, and to nobody else", () => {
    expect(reaching(pod("postgres"), 5432)).toEqual(who(({ database }) => database !== undefined));
    expect(reaching(pod("dragonfly"), 6379)).toEqual(who(({ redis }) => redis === true));
    expect(reaching(pod("kafka"), 9092)).toEqual(who(({ kafka }) => kafka !== undefined));
    expect(reaching(pod("kafka"), 9093), "controllers").toEqual([]);
    expect(reaches(pod("kafka-topics"), pod("kafka"), 9092)).toBe(true);
    expect(reaches(pod("kafka"), pod("kafka"), 9093)).toBe(true);
    expect(reaches(pod("postgres"), pod("dragonfly"), 6379)).toBe(false);
    for (const store of ["postgres", "dragonfly", "kafka"])
      expect(reaches(pod(store), INTERNET, 443), store).toBe(false);
  });
});

describe("the laptop's monitoring", () => {
  const overlay = OVERLAYS.find(({ name }) => name === "kind") as Overlay;
  const policies = policiesOf(overlay);
  const pods = podsOf(overlay);
  const reaches = (from: string, to: string, port: number) =>
    admits(policies, pods.get(from) as End, pods.get(to) as End, port);

  it("lets Grafana ask Prometheus and Zipkin, and services neither of Prometheus and Grafana", () => {
    expect(reaches("grafana", "prometheus", 9090)).toBe(true);
    expect(reaches("grafana", "zipkin", 9411)).toBe(true);
    for (const { name, port } of SERVICES) {
      expect(reaches(name, "prometheus", 9090), name).toBe(false);
      expect(reaches(name, "grafana", 3000), name).toBe(false);
      expect(reaches("grafana", name, port), name).toBe(false);
    }
  });
});

describe("the evaluator of network policies", () => {
  const from: End = { name: "a", address: "10.0.10.1", pod: { namespace: "n", labels: { app: "a" } } };
  const to: End = { name: "b", address: "10.0.10.2", pod: { namespace: "n", labels: { app: "b" } } };
  const closed = (podSelector: unknown, types: string[], rules: Record<string, unknown> = {}) =>
    ({
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "p", namespace: "n" },
      spec: { podSelector, policyTypes: types, ...rules },
    }) as KubernetesObject;

  it("admits everything where no policy selects a pod, and nothing where one does and says no more", () => {
    expect(admits([], from, to, 80)).toBe(true);
    expect(admits([closed({}, ["Ingress"])], from, to, 80)).toBe(false);
    expect(admits([closed({ matchLabels: { app: "c" } }, ["Ingress"])], from, to, 80)).toBe(true);
  });

  it("asks both ends", () => {
    const rule = { ports: [{ protocol: "TCP", port: 80 }] };
    const open = closed({ matchLabels: { app: "b" } }, ["Ingress"], { ingress: [rule] });
    expect(admits([open], from, to, 80)).toBe(true);
    expect(admits([open], from, to, 81)).toBe(false);
    expect(admits([open, closed({ matchLabels: { app: "a" } }, ["Egress"])], from, to, 80)).toBe(false);
  });

  it("counts a pod's address into a block, and leaves out what the block leaves out", () => {
    const block = (except: string[]) =>
      closed({ matchLabels: { app: "b" } }, ["Ingress"], {
        ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/16", except } }] }],
      });
    expect(admits([block([])], from, to, 80)).toBe(true);
    expect(admits([block(["10.0.10.0/24"])], from, to, 80)).toBe(false);
  });
});
