import { GITOPS, PLATFORM } from "../../environments/gitops";
import { SERVICES } from "../../environments/services";
import type { Manifest } from "./manifest";
import { isRollout, type Overlay } from "./overlay";

/** The cluster in which Argo CD itself runs. Source: Infra analysis §5-1. */
const OWN_CLUSTER = "https://kubernetes.default.svc";

/** Application of an overlay. */
export function applicationName({ name }: Overlay): string {
  return `urr-spring-${name}`;
}

/**
 * What Argo CD keeps the cluster equal to. Changes are applied by the client, not by the server: the Rollouts controller adds a hash to
 * the selectors of Services, and a server-side apply, which owns a selector as a whole, would take it out at every sync and send
 * requests to both versions. Source: Infra analysis §5-1, §5-2.
 */
export function application(overlay: Overlay): Manifest {
  const ignoreDifferences = overlay.production ? autoscaledReplicas(overlay) : [];
  return {
    apiVersion: "argoproj.io/v1alpha1",
    kind: "Application",
    metadata: { name: applicationName(overlay), namespace: PLATFORM.argoCdNamespace },
    spec: {
      project: "default",
      source: {
        repoURL: GITOPS.repositoryUrl,
        targetRevision: GITOPS.targetRevision,
        path: `k8s/spring/overlays/${overlay.name}`,
      },
      destination: { server: OWN_CLUSTER, namespace: overlay.namespace },
      syncPolicy: {
        automated: { prune: true, selfHeal: true },
        syncOptions: [
          "CreateNamespace=true",
          // A sync for another reason must not reset what the autoscalers have set.
          ...(ignoreDifferences.length > 0 ? ["RespectIgnoreDifferences=true"] : []),
        ],
      },
      ...(ignoreDifferences.length > 0 && { ignoreDifferences }),
    },
  };
}

/** Numbers of pods that autoscalers own. The frontend has none: its number is Git's. */
function autoscaledReplicas(overlay: Overlay) {
  return SERVICES.filter(({ autoscaling }) => autoscaling !== undefined).map((service) => ({
    ...(isRollout(service, overlay)
      ? { group: "argoproj.io", kind: "Rollout" }
      : { group: "apps", kind: "Deployment" }),
    name: service.name,
    jsonPointers: ["/spec/replicas"],
  }));
}
