import type { Environment } from "../../environments/environment";
import { DEV_NAMESPACE, KIND_NAMESPACE, PLATFORM } from "../../environments/gitops";
import { prod } from "../../environments/prod";
import type { Replicas, Service } from "../../environments/services";
import { staging } from "../../environments/staging";

/** Name of an overlay. */
export type OverlayName = "dev" | "staging" | "prod" | "kind";

/** One environment as the cluster sees it. */
export interface Overlay {
  readonly name: OverlayName;
  readonly namespace: string;
  /** Number of pods per service: the catalogue's column, or one each. */
  readonly replicas: keyof Replicas | "one each";
  /** Where data lives: in AWS, by the environment's network and names, or in pods of the namespace. */
  readonly stores: { readonly aws: Environment } | { readonly kafkaBrokers: number };
  /** Namespace of Prometheus and Zipkin; the laptop has them beside the services. */
  readonly monitoringNamespace: string;
  /** Whether Prometheus, Grafana and Zipkin are part of the overlay. */
  readonly ownMonitoring: boolean;
  /** Whether blue-green deployments, autoscalers and disruption budgets are in force. Source: AWS architecture §9. */
  readonly production: boolean;
  /** Whether pods are spread over zones: not where there are none. Source: AWS architecture §9. */
  readonly spread: boolean;
  /** Share of requests that are traced. Source: AWS architecture §9 "샘플링". */
  readonly tracingProbability: number;
}

/** The four overlays. Source: Infra analysis §3-1, §3-2, AWS architecture §9. */
export const OVERLAYS: readonly Overlay[] = [
  {
    name: "dev",
    namespace: DEV_NAMESPACE,
    replicas: "dev",
    // Staging's databases are staging's: a developer's migration must not reach them.
    stores: { kafkaBrokers: 1 },
    monitoringNamespace: PLATFORM.monitoringNamespace,
    ownMonitoring: false,
    production: false,
    spread: true,
    tracingProbability: 1,
  },
  {
    name: "staging",
    namespace: staging.namespace,
    replicas: "staging",
    stores: { aws: staging },
    monitoringNamespace: PLATFORM.monitoringNamespace,
    ownMonitoring: false,
    production: false,
    spread: true,
    tracingProbability: 1,
  },
  {
    name: "prod",
    namespace: prod.namespace,
    replicas: "prod",
    stores: { aws: prod },
    monitoringNamespace: PLATFORM.monitoringNamespace,
    ownMonitoring: false,
    production: true,
    spread: true,
    tracingProbability: 0.1,
  },
  {
    name: "kind",
    namespace: KIND_NAMESPACE,
    replicas: "one each",
    stores: { kafkaBrokers: 3 },
    monitoringNamespace: KIND_NAMESPACE,
    ownMonitoring: true,
    production: false,
    spread: false,
    tracingProbability: 1,
  },
];

/** The environment in AWS that an overlay belongs to, if its data lives there. */
export function awsOf({ stores }: Overlay): Environment | undefined {
  return "aws" in stores ? stores.aws : undefined;
}

/** Pods of a service, before any autoscaler. */
export function replicasOf(service: Service, { replicas }: Overlay): number {
  return replicas === "one each" ? 1 : service.replicas[replicas];
}

/** Whether the overlay deploys the service by a Rollout, and so by no Deployment. */
export function isRollout(service: Service, { production }: Overlay): boolean {
  return production && service.blueGreen === true;
}

/** Name of the ConfigMap of settings that every service gets. Source: Infra analysis §3-3. */
export function configMapName({ name }: Overlay): string {
  return `spring-${name}-config`;
}
