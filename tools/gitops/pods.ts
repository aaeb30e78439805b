import type { ResourceAmount, Service } from "../../environments/services";
import { configChecksum, type EnvironmentVariable, SHUTDOWN_SECONDS, serviceEnvironment } from "./configuration";
import { configMapName, type Overlay, replicasOf } from "./overlay";

/** What a pod may do to its node and itself: nothing but run. Source: AWS architecture §3.5, Infra analysis §3-4. */
export function podSecurity(user: number) {
  return {
    runAsNonRoot: true,
    runAsUser: user,
    runAsGroup: user,
    fsGroup: user,
    seccompProfile: { type: "RuntimeDefault" },
  } as const;
}

/** Source: Infra analysis §3-4; a read-only root keeps a break-in from installing anything. */
export const CONTAINER_SECURITY = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
} as const;

/** Source: Infra analysis §3-4 "runAsUser". */
export const SERVICE_USER = 1000;

/** The load balancers go on sending for this long after a pod was taken off them. Source: AWS architecture §5.4 "Deregistration Delay". */
const LOAD_BALANCED_DRAIN_SECONDS = 30;
/** For so long kube-proxy may still send to a pod that is going. */
const CLUSTER_DRAIN_SECONDS = 5;

/** A pod template, or the part of one that an overlay adds. */
export interface PodTemplate {
  readonly metadata: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly topologySpreadConstraints?: readonly unknown[];
    readonly containers: readonly ({ readonly name: string } & Readonly<Record<string, unknown>>)[];
    readonly [field: string]: unknown;
  };
}

/** The part of a service's pods that is the same everywhere. */
export function basePod(service: Service): PodTemplate {
  const { name, port, runtime } = service;
  const drainSeconds = service.loadBalancer ? LOAD_BALANCED_DRAIN_SECONDS : CLUSTER_DRAIN_SECONDS;
  return {
    metadata: {
      labels: { app: name, tier: tierOf(service) },
      ...(runtime === "spring" && {
        annotations: {
          "prometheus.io/scrape": "true",
          "prometheus.io/path": "/actuator/prometheus",
          "prometheus.io/port": `${port}`,
        },
      }),
    },
    spec: {
      serviceAccountName: name,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: drainSeconds + SHUTDOWN_SECONDS + 5,
      securityContext: podSecurity(SERVICE_USER),
      containers: [
        {
          name,
          image: name,
          ports: [{ name: "http", containerPort: port, protocol: "TCP" }],
          securityContext: CONTAINER_SECURITY,
          resources: {
            requests: amount(service.resources.requests),
            limits: amount(service.resources.limits),
          },
          ...probes(service),
          lifecycle: { preStop: { sleep: { seconds: drainSeconds } } },
          volumeMounts: [{ name: "tmp", mountPath: "/tmp" }, ...(runtime === "next" ? [NEXT_CACHE_MOUNT] : [])],
        },
      ],
      volumes: [{ name: "tmp", emptyDir: {} }, ...(runtime === "next" ? [{ name: "next-cache", emptyDir: {} }] : [])],
    },
  };
}

/** Rendered pages that are kept for a minute. Source: Infra analysis §8-2 (ISR); the standalone server runs in /app. */
const NEXT_CACHE_MOUNT = { name: "next-cache", mountPath: "/app/.next/cache" };

/** What an overlay adds to a service's pods: settings, and how they are spread. */
export function overlayPod(service: Service, overlay: Overlay): PodTemplate {
  const environment: readonly EnvironmentVariable[] = serviceEnvironment(service, overlay);
  return {
    metadata: { annotations: { "urr.guru/config-checksum": configChecksum(overlay) } },
    spec: {
      containers: [
        {
          name: service.name,
          envFrom: [{ configMapRef: { name: configMapName(overlay) } }],
          env: environment,
        },
      ],
    },
  };
}

/**
 * Spread over zones, forced where there are two pods or more. The hash of the pod template is part of it: a new version is
 * spread by itself and does not wait for room that the old one takes.
 * Source: AWS architecture §3.2.
 */
export function topologySpread(service: Service, overlay: Overlay, hashLabel: string): readonly unknown[] {
  return [
    {
      maxSkew: 1,
      topologyKey: "topology.kubernetes.io/zone",
      whenUnsatisfiable: replicasOf(service, overlay) >= 2 ? "DoNotSchedule" : "ScheduleAnyway",
      labelSelector: { matchLabels: { app: service.name } },
      matchLabelKeys: [hashLabel],
    },
  ];
}

/** A template with what an overlay adds to it. Containers are matched by name, as a strategic merge does. */
export function mergePods(base: PodTemplate, addition: PodTemplate): PodTemplate {
  return {
    metadata: {
      ...base.metadata,
      annotations: { ...base.metadata.annotations, ...addition.metadata.annotations },
    },
    spec: {
      ...base.spec,
      ...addition.spec,
      containers: base.spec.containers.map((container) => ({
        ...container,
        ...addition.spec.containers.find(({ name }) => name === container.name),
      })),
    },
  };
}

/** `backend`, or the frontend's own tier: network policies and people select by it. Source: Infra analysis §3-8. */
export function tierOf({ runtime }: Service): string {
  return runtime === "spring" ? "backend" : "frontend";
}

/** Source: Infra analysis §3-4, AWS architecture §3.6; the frontend, which has no actuator, answers on its health path. */
function probes({ healthCheckPath, runtime }: Service) {
  const get = (path: string) => ({ httpGet: { path, port: "http" } });
  const liveness = runtime === "spring" ? "/actuator/health/liveness" : healthCheckPath;
  const readiness = runtime === "spring" ? "/actuator/health/readiness" : healthCheckPath;
  return {
    startupProbe: { ...get(liveness), failureThreshold: 30, periodSeconds: 5 },
    readinessProbe: { ...get(readiness), periodSeconds: 10 },
    livenessProbe: { ...get(liveness), periodSeconds: 20 },
  };
}

/** Quantities as Kubernetes prints them: whole cores and gibibytes where they are whole. */
export function amount({ cpuMillicores, memoryMib }: ResourceAmount): {
  readonly cpu: string;
  readonly memory: string;
} {
  return {
    cpu: cpuMillicores % 1000 === 0 ? `${cpuMillicores / 1000}` : `${cpuMillicores}m`,
    memory: memoryMib % 1024 === 0 ? `${memoryMib / 1024}Gi` : `${memoryMib}Mi`,
  };
}
