import { VERSIONS } from "../lib/life-cycle";
import type { Environment } from "./environment";

/** Production. Source of each value: Infra analysis §1-1, §2-1 to §2-10, column Prod. */
export const prod: Environment = {
  name: "prod",
  prefix: "urr-prod",
  region: "ap-northeast-2",
  namespace: "urr-spring",
  namespaces: ["urr-spring"],
  corsAllowedOrigins: ["https://urr.guru", "https://www.urr.guru"],
  state: { bucket: "urr-terraform-state-prod", key: "prod/terraform.tfstate", lockTable: "urr-terraform-locks" },
  vpc: { cidr: "10.0.0.0/16", availabilityZones: ["ap-northeast-2a", "ap-northeast-2c"], natGateways: "per-az" },
  eks: {
    version: VERSIONS.kubernetes,
    publicAccessMayBeOpen: false,
    nodeGroup: {
      name: "urr-prod-ng-initial",
      instanceTypes: ["t3.medium"],
      capacityType: "ON_DEMAND",
      desiredSize: 3,
      minSize: 2,
      maxSize: 5,
      diskSizeGib: 20,
    },
  },
  rds: {
    engineVersion: VERSIONS.postgresql,
    instanceClass: "db.t3.medium",
    allocatedStorageGib: 50,
    maxAllocatedStorageGib: 100,
    multiAz: true,
    readReplica: true,
    proxy: true,
    deletionProtection: true,
  },
  elasticache: { engineVersion: VERSIONS.redis, nodeType: "cache.r6g.large", numCacheClusters: 2 },
  msk: { kafkaVersion: VERSIONS.kafka, instanceType: "kafka.t3.small", brokerNodes: 2, volumeSizeGib: 50 },
  waitingRoom: {
    apiReservedConcurrentExecutions: 500,
    counterBatchSize: 500,
    throttlingRateLimit: 5000,
    throttlingBurstLimit: 10_000,
    pointInTimeRecovery: true,
  },
  worker: { timeoutSeconds: 30, reservedConcurrentExecutions: 10, maximumConcurrency: 10 },
  queue: { visibilityTimeoutSeconds: 300 },
  deletionProtection: true,
  loadBalancerDeletionProtection: true,
  secretRotations: {},
};
