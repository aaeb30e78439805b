import { stringify } from "yaml";
import { NAMESPACE_LABELS, PLATFORM } from "../../environments/gitops";
import { SERVICES } from "../../environments/services";
import { type Manifest, selectorOf } from "./manifest";
import { pods, policy } from "./network-policies";
import type { Overlay } from "./overlay";
import { CONTAINER_SECURITY, podSecurity } from "./pods";

const IMAGES = {
  zipkin: "openzipkin/zipkin:3.5.1",
  prometheus: "prom/prometheus:v3.5.0",
  grafana: "grafana/grafana:12.2.0",
} as const;

const PROMETHEUS_PORT = 9090;
const GRAFANA_PORT = 3000;
const GRAFANA = "grafana";
const SPRING = SERVICES.filter(({ runtime }) => runtime === "spring");

/** The laptop's namespace; elsewhere the platform makes it. */
export function namespace({ namespace: name }: Overlay): Manifest {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels: NAMESPACE_LABELS } };
}

/** Traces, kept in memory. Source: AWS architecture §9. */
export function zipkin(): Manifest[] {
  const name = PLATFORM.zipkinName;
  return [
    service(name, PLATFORM.zipkinPort),
    deployment(name, 1000, {
      image: IMAGES.zipkin,
      port: PLATFORM.zipkinPort,
      env: [
        { name: "STORAGE_TYPE", value: "mem" },
        { name: "JAVA_OPTS", value: "-Xms128m -Xmx256m" },
      ],
      memory: { request: "256Mi", limit: "512Mi" },
      readinessPath: "/health",
      writable: { tmp: "/tmp" },
    }),
    policy(name, selectorOf(name), {
      ingress: [{ from: [pods(...SPRING.map((spring) => spring.name))], ports: [tcp(PLATFORM.zipkinPort)] }],
    }),
  ];
}

/** Metrics of the eight backends: one pod each, so their Services are targets enough. */
export function prometheus(): Manifest[] {
  const name = PLATFORM.prometheusName;
  const config = {
    global: { scrape_interval: "15s" },
    scrape_configs: [
      {
        job_name: "services",
        metrics_path: "/actuator/prometheus",
        static_configs: SPRING.map(({ name: target, port }) => ({
          targets: [`${target}:${port}`],
          labels: { app: target },
        })),
      },
    ],
  };
  return [
    configMap(`${name}-config`, { "prometheus.yml": stringify(config) }),
    service(name, PROMETHEUS_PORT),
    deployment(name, 65_534, {
      image: IMAGES.prometheus,
      port: PROMETHEUS_PORT,
      args: [
        "--config.file=/etc/prometheus/prometheus.yml",
        "--storage.tsdb.path=/prometheus",
        "--storage.tsdb.retention.time=1d",
      ],
      memory: { request: "256Mi", limit: "512Mi" },
      readinessPath: "/-/ready",
      writable: { data: "/prometheus" },
      config: { name: `${name}-config`, path: "/etc/prometheus" },
    }),
    policy(name, selectorOf(name), {
      ingress: [{ from: [pods(GRAFANA)], ports: [tcp(PROMETHEUS_PORT)] }],
      egress: SPRING.map((target) => ({ to: [pods(target.name)], ports: [tcp(target.port)] })),
    }),
  ];
}

/** Dashboards over Prometheus and Zipkin, open to whoever can forward a port. */
export function grafana(): Manifest[] {
  const sources = {
    apiVersion: 1,
    datasources: [
      {
        name: "Prometheus",
        uid: "prometheus",
        type: "prometheus",
        url: `http://${PLATFORM.prometheusName}:${PROMETHEUS_PORT}`,
        isDefault: true,
      },
      { name: "Zipkin", uid: "zipkin", type: "zipkin", url: `http://${PLATFORM.zipkinName}:${PLATFORM.zipkinPort}` },
    ],
  };
  return [
    configMap(`${GRAFANA}-config`, { "datasources.yaml": stringify(sources) }),
    service(GRAFANA, GRAFANA_PORT),
    deployment(GRAFANA, 472, {
      image: IMAGES.grafana,
      port: GRAFANA_PORT,
      env: [
        { name: "GF_AUTH_ANONYMOUS_ENABLED", value: "true" },
        { name: "GF_AUTH_ANONYMOUS_ORG_ROLE", value: "Admin" },
        { name: "GF_ANALYTICS_REPORTING_ENABLED", value: "false" },
        { name: "GF_ANALYTICS_CHECK_FOR_UPDATES", value: "false" },
      ],
      memory: { request: "128Mi", limit: "512Mi" },
      readinessPath: "/api/health",
      writable: { data: "/var/lib/grafana", tmp: "/tmp" },
      config: { name: `${GRAFANA}-config`, path: "/etc/grafana/provisioning/datasources" },
    }),
    policy(GRAFANA, selectorOf(GRAFANA), {
      egress: [
        { to: [pods(PLATFORM.prometheusName)], ports: [tcp(PROMETHEUS_PORT)] },
        { to: [pods(PLATFORM.zipkinName)], ports: [tcp(PLATFORM.zipkinPort)] },
      ],
    }),
    policy(`${PLATFORM.zipkinName}-${GRAFANA}`, selectorOf(PLATFORM.zipkinName), {
      ingress: [{ from: [pods(GRAFANA)], ports: [tcp(PLATFORM.zipkinPort)] }],
    }),
  ];
}

/** Two nodes, as `kind create cluster --config` takes them. Source: AWS architecture §9. */
export function kindCluster(): unknown {
  return {
    kind: "Cluster",
    apiVersion: "kind.x-k8s.io/v1alpha4",
    name: "urr",
    nodes: [{ role: "control-plane" }, { role: "worker" }],
  };
}

interface Tool {
  readonly image: string;
  readonly port: number;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value: string }[];
  readonly memory: { readonly request: string; readonly limit: string };
  readonly readinessPath: string;
  /** Writable folders by their volume's name. */
  readonly writable: Readonly<Record<string, string>>;
  readonly config?: { readonly name: string; readonly path: string };
}

function deployment(name: string, user: number, tool: Tool): Manifest {
  const { args, config, env, image, memory, port, readinessPath, writable } = tool;
  const labels = { ...selectorOf(name), [PLATFORM.nameLabel]: name, tier: "monitoring" };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, labels },
    spec: {
      replicas: 1,
      selector: { matchLabels: selectorOf(name) },
      template: {
        metadata: { labels },
        spec: {
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          securityContext: podSecurity(user),
          containers: [
            {
              name,
              image,
              ...(args && { args }),
              ...(env && { env }),
              ports: [{ name: "http", containerPort: port, protocol: "TCP" }],
              resources: { requests: { cpu: "50m", memory: memory.request }, limits: { memory: memory.limit } },
              readinessProbe: { httpGet: { path: readinessPath, port: "http" }, periodSeconds: 10 },
              securityContext: CONTAINER_SECURITY,
              volumeMounts: [
                ...Object.entries(writable).map(([volume, mountPath]) => ({ name: volume, mountPath })),
                ...(config ? [{ name: "config", mountPath: config.path, readOnly: true }] : []),
              ],
            },
          ],
          volumes: [
            ...Object.keys(writable).map((volume) => ({ name: volume, emptyDir: {} })),
            ...(config ? [{ name: "config", configMap: { name: config.name } }] : []),
          ],
        },
      },
    },
  };
}

function service(name: string, port: number): Manifest {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, labels: selectorOf(name) },
    spec: {
      type: "ClusterIP",
      selector: selectorOf(name),
      ports: [{ name: "http", port, targetPort: "http", protocol: "TCP" }],
    },
  };
}

function configMap(name: string, data: Readonly<Record<string, string>>): Manifest {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data };
}

function tcp(port: number) {
  return { protocol: "TCP", port } as const;
}
