import { GITOPS } from "../../environments/gitops";
import { SERVICES, type Service, usesAws } from "../../environments/services";
import { type Manifest, selectorOf } from "./manifest";
import { awsOf, isRollout, type Overlay, replicasOf } from "./overlay";
import { basePod, mergePods, overlayPod, type PodTemplate, tierOf, topologySpread } from "./pods";

const ROLLOUTS_API = "argoproj.io/v1alpha1";
/** Label that tells versions of a Deployment's pods apart. */
const DEPLOYMENT_HASH = "pod-template-hash";
/** Label that tells versions of a Rollout's pods apart. */
const ROLLOUT_HASH = "rollouts-pod-template-hash";
/** Old versions that can be gone back to. */
const REVISION_HISTORY_LIMIT = 5;
/** Seconds in which a new version must become ready: the startup probe alone allows 150. */
const PROGRESS_DEADLINE_SECONDS = 600;
/** Source: Infra analysis §3-9. */
const SCALE_DOWN_DELAY_SECONDS = 30;
/** Source: Infra analysis §3-9. */
const ANALYSIS_TEMPLATE = "health-check";

/** A service as it is everywhere: one pod, replaced without ever being gone. */
export function deployment(service: Service): Manifest {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: service.name, labels: { app: service.name, tier: tierOf(service) } },
    spec: {
      replicas: 1,
      revisionHistoryLimit: REVISION_HISTORY_LIMIT,
      progressDeadlineSeconds: PROGRESS_DEADLINE_SECONDS,
      selector: { matchLabels: selectorOf(service.name) },
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: basePod(service),
    },
  };
}

/** Where other services find it. */
export function service({ name, port }: Service, suffix = ""): Manifest {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: `${name}${suffix}`, labels: { app: name } },
    spec: {
      type: "ClusterIP",
      selector: selectorOf(name),
      ports: [{ name: "http", port, targetPort: "http", protocol: "TCP" }],
    },
  };
}

/** Who its pods are. They do not talk to the Kubernetes API. */
export function serviceAccount({ name }: Service): Manifest {
  return {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name, labels: { app: name } },
    automountServiceAccountToken: false,
  };
}

/** Patches that give service accounts their roles in AWS. Role names are the infra stack's. */
export function roleAnnotations(overlay: Overlay): Manifest[] {
  const aws = awsOf(overlay);
  if (!aws) return [];
  return SERVICES.filter(usesAws).map(({ name }) => ({
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: {
      name,
      annotations: {
        "eks.amazonaws.com/role-arn": `arn:aws:iam::${GITOPS.accountId}:role/${aws.prefix}-${name}`,
        "eks.amazonaws.com/sts-regional-endpoints": "true",
      },
    },
  }));
}

/** Services that an overlay deploys by Deployments. */
export function deployed(overlay: Overlay): Service[] {
  return SERVICES.filter((candidate) => !isRollout(candidate, overlay));
}

/** Services that an overlay deploys by Rollouts. */
export function rolledOut(overlay: Overlay): Service[] {
  return SERVICES.filter((candidate) => isRollout(candidate, overlay));
}

/** Patches with the number of pods, where it is not one. */
export function replicaPatches(overlay: Overlay): unknown[] {
  return deployed(overlay)
    .filter((candidate) => replicasOf(candidate, overlay) !== 1)
    .map((candidate) => deploymentPatch(candidate, { replicas: replicasOf(candidate, overlay) }));
}

/** Patches with the settings of each service. */
export function environmentPatches(overlay: Overlay): unknown[] {
  return deployed(overlay).map((candidate) => deploymentPatch(candidate, { template: overlayPod(candidate, overlay) }));
}

/** Patches that spread pods over zones. */
export function spreadPatches(overlay: Overlay): unknown[] {
  if (!overlay.spread) return [];
  return deployed(overlay).map((candidate) =>
    deploymentPatch(candidate, {
      template: { spec: { topologySpreadConstraints: topologySpread(candidate, overlay, DEPLOYMENT_HASH) } },
    }),
  );
}

/**
 * A blue-green deployment: the new version runs beside the old one, is asked for its health, and takes over when somebody
 * says so. Source: Infra analysis §3-9, AWS architecture §8.2.
 */
export function rollout(target: Service, overlay: Overlay): Manifest {
  const { name, port } = target;
  const preview = `${name}${PREVIEW}`;
  const template: PodTemplate = mergePods(basePod(target), overlayPod(target, overlay));
  return {
    apiVersion: ROLLOUTS_API,
    kind: "Rollout",
    metadata: { name, labels: { app: name, tier: tierOf(target) } },
    spec: {
      replicas: replicasOf(target, overlay),
      revisionHistoryLimit: REVISION_HISTORY_LIMIT,
      progressDeadlineSeconds: PROGRESS_DEADLINE_SECONDS,
      selector: { matchLabels: selectorOf(name) },
      strategy: {
        blueGreen: {
          activeService: name,
          previewService: preview,
          autoPromotionEnabled: false,
          scaleDownDelaySeconds: SCALE_DOWN_DELAY_SECONDS,
          prePromotionAnalysis: {
            templates: [{ templateName: ANALYSIS_TEMPLATE }],
            args: [
              { name: "service-name", value: preview },
              { name: "port", value: `${port}` },
              { name: "path", value: target.healthCheckPath },
            ],
          },
        },
      },
      template: {
        ...template,
        spec: {
          ...template.spec,
          ...(overlay.spread && { topologySpreadConstraints: topologySpread(target, overlay, ROLLOUT_HASH) }),
        },
      },
    },
  };
}

/** What a preview Service's name ends in. Source: AWS architecture §8.2. */
export const PREVIEW = "-preview";

/**
 * Five measurements ten seconds apart, one of which may fail. Argo hands the JSON body to the condition, never the HTTP
 * status: what is tested is the status that the body tells. A request that gets no answer counts as an error, not as a failure, and
 * four of those would pass by default. Source: Infra analysis §3-9.
 */
export function analysisTemplate({ namespace }: Overlay): Manifest {
  return {
    apiVersion: ROLLOUTS_API,
    kind: "AnalysisTemplate",
    metadata: { name: ANALYSIS_TEMPLATE },
    spec: {
      args: [{ name: "service-name" }, { name: "port" }, { name: "path" }],
      metrics: [
        {
          name: "health-endpoint",
          interval: "10s",
          count: 5,
          failureLimit: 1,
          consecutiveErrorLimit: 1,
          successCondition: 'result == "UP"',
          provider: {
            web: {
              url: `http://{{args.service-name}}.${namespace}.svc.cluster.local:{{args.port}}{{args.path}}`,
              timeoutSeconds: 5,
              jsonPath: "{$.status}",
            },
          },
        },
      ],
    },
  };
}

/** How the number of pods follows the load. Source: Infra analysis §7-1. */
export function autoscaler(target: Service, overlay: Overlay): Manifest | undefined {
  const { autoscaling, name } = target;
  if (!autoscaling || !overlay.production) return undefined;
  return {
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    metadata: { name, labels: { app: name } },
    spec: {
      scaleTargetRef: isRollout(target, overlay)
        ? { apiVersion: ROLLOUTS_API, kind: "Rollout", name }
        : { apiVersion: "apps/v1", kind: "Deployment", name },
      minReplicas: autoscaling.minReplicas,
      maxReplicas: autoscaling.maxReplicas,
      metrics: [
        {
          type: "Resource",
          resource: { name: "cpu", target: { type: "Utilization", averageUtilization: autoscaling.cpuPercent } },
        },
      ],
    },
  };
}

/** What a drain must leave running. Source: AWS architecture §3.7. */
export function disruptionBudget({ minAvailable, name }: Service, overlay: Overlay): Manifest | undefined {
  if (minAvailable === undefined || !overlay.production) return undefined;
  return {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: { name, labels: { app: name } },
    spec: {
      minAvailable,
      selector: { matchLabels: selectorOf(name) },
      // A pod that is not ready serves nobody: it must not hold a node back.
      unhealthyPodEvictionPolicy: "AlwaysAllow",
    },
  };
}

function deploymentPatch({ name }: Service, spec: unknown) {
  return { apiVersion: "apps/v1", kind: "Deployment", metadata: { name }, spec };
}
