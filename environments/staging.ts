import { VERSIONS } from "../lib/life-cycle";
import type { Environment } from "./environment";
import { DEV_NAMESPACE } from "./gitops";

/** Staging. Source of each value: Infra analysis §1-1, §2-1 to §2-10, column Staging. */
export const staging: Environment = {
  name: "staging",
  prefix: "urr-staging",
  region: "ap-northeast-2",
  namespace: "urr-staging",
  namespaces: ["urr-staging", DEV_NAMESPACE],
  corsAllowedOrigins: ["https://staging.urr.guru"],
  state: { bucket: "urr-terraform-state-staging", key: "staging/terraform.tfstate", lockTable: "urr-terraform-locks" },
  vpc: { cidr: "10.1.0.0/16", availabilityZones: ["ap-northeast-2a", "ap-northeast-2c"], natGateways: "per-az" },
  eks: {
    version: VERSIONS.kubernetes,
    publicAccessMayBeOpen: true,
    nodeGroup: {
      name: "urr-staging-ng-initial",
      instanceTypes: ["t3.small"],
      capacityType: "SPOT",
      desiredSize: 2,
      minSize: 1,
      maxSize: 3,
      diskSizeGib: 20,
    },
  },
  rds: {
    engineVersion: VERSIONS.postgresql,
    instanceClass: "db.t3.medium",
    allocatedStorageGib: 20,
    maxAllocatedStorageGib: 100,
    multiAz: false,
    readReplica: false,
    proxy: true,
    deletionProtection: false,
  },
  elasticache: { engineVersion: VERSIONS.redis, nodeType: "cache.t4g.small", numCacheClusters: 1 },
  msk: { kafkaVersion: VERSIONS.kafka, instanceType: "kafka.t3.small", brokerNodes: 2, volumeSizeGib: 20 },
  waitingRoom: {
    apiReservedConcurrentExecutions: 20,
    counterBatchSize: 100,
    throttlingRateLimit: 1000,
    throttlingBurstLimit: 2000,
    pointInTimeRecovery: false,
  },
  worker: { timeoutSeconds: 30, reservedConcurrentExecutions: 5, maximumConcurrency: 5 },
  queue: { visibilityTimeoutSeconds: 300 },
  deletionProtection: false,
  loadBalancerDeletionProtection: true,
  secretRotations: {},
};
