import { createHash } from "node:crypto";
import { ENDPOINTS_CONFIG_MAP, type Endpoint, PLATFORM } from "../../environments/gitops";
import { SERVICES, type Service, type SharedSecret, serviceNamed } from "../../environments/services";
import { awsOf, type Overlay } from "./overlay";

/** One environment variable of a container. */
export interface EnvironmentVariable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly configMapKeyRef?: { readonly name: string; readonly key: string };
    readonly secretKeyRef?: { readonly name: string; readonly key: string };
  };
}

/** Ports of the data stores. Source: AWS architecture §4.4; Kafka by IAM in AWS, plain in the cluster. */
export const STORE_PORTS = { postgresql: 5432, redis: 6379, kafkaIam: 9098, kafkaPlain: 9092 } as const;
/** Names of the data stores' Services where they run in the cluster. */
export const LOCAL_STORES = { postgresql: "postgres", redis: "dragonfly", kafka: "kafka" } as const;
/** Seconds that a service has for the requests it is still working on. */
export const SHUTDOWN_SECONDS = 25;

/** Secret of a database's own user, with `username` and `password`. */
export function databaseSecretName(user: string): string {
  return `db-credentials-${user}`;
}

/** Secret with Redis's password under `token`; only where Redis wants one. */
export const REDIS_SECRET = "redis-auth-token";

/** Environment variable that carries a shared secret. */
const SECRET_VARIABLES: Readonly<Record<SharedSecret, string>> = {
  "jwt-secret": "JWT_SECRET",
  "queue-entry-token-secret": "QUEUE_ENTRY_TOKEN_SECRET",
  "internal-api-token": "INTERNAL_API_TOKEN",
};

/** Settings that every service of an overlay gets, by name: Spring Boot binds them to its own properties. */
export function sharedSettings(overlay: Overlay): Readonly<Record<string, string>> {
  const aws = awsOf(overlay);
  return {
    SPRING_PROFILES_ACTIVE: overlay.name,
    SERVER_SHUTDOWN: "graceful",
    SPRING_LIFECYCLE_TIMEOUT_PER_SHUTDOWN_PHASE: `${SHUTDOWN_SECONDS}s`,
    MANAGEMENT_ENDPOINT_HEALTH_PROBES_ENABLED: "true",
    MANAGEMENT_ENDPOINTS_WEB_EXPOSURE_INCLUDE: "health,prometheus",
    // Dashboards and alerts compute percentiles of buckets. Dashes of a property's name fall away; an underscore would name another.
    MANAGEMENT_METRICS_DISTRIBUTION_PERCENTILESHISTOGRAM_HTTP_SERVER_REQUESTS: "true",
    MANAGEMENT_TRACING_SAMPLING_PROBABILITY: `${overlay.tracingProbability}`,
    MANAGEMENT_ZIPKIN_TRACING_ENDPOINT: `http://${PLATFORM.zipkinName}.${overlay.monitoringNamespace}.svc.cluster.local:${PLATFORM.zipkinPort}/api/v2/spans`,
    SPRING_DATA_REDIS_PORT: `${STORE_PORTS.redis}`,
    SPRING_DATA_REDIS_SSL_ENABLED: `${aws !== undefined}`,
    // Money is taken on these messages. Source: Infra analysis §8-2.
    SPRING_KAFKA_PRODUCER_ACKS: "all",
    ...(aws && {
      AWS_REGION: aws.region,
      AWS_STS_REGIONAL_ENDPOINTS: "regional",
      SPRING_KAFKA_PROPERTIES_SECURITY_PROTOCOL: "SASL_SSL",
      SPRING_KAFKA_PROPERTIES_SASL_MECHANISM: "AWS_MSK_IAM",
      SPRING_KAFKA_PROPERTIES_SASL_JAAS_CONFIG: "software.amazon.msk.auth.iam.IAMLoginModule required;",
      SPRING_KAFKA_PROPERTIES_SASL_CLIENT_CALLBACK_HANDLER_CLASS:
        "software.amazon.msk.auth.iam.IAMClientCallbackHandler",
      // Small brokers take four new IAM connections a second: back off. Source: Amazon MSK quotas.
      SPRING_KAFKA_PROPERTIES_RECONNECT_BACKOFF_MS: "1000",
    }),
  };
}

/** The shared settings as the file that kustomize reads. Source: Infra analysis §3-3. */
export function configEnv(overlay: Overlay): string {
  return Object.entries(sharedSettings(overlay))
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
}

/** Short digest of the shared settings: on the pods, so that a change of settings replaces them. */
export function configChecksum(overlay: Overlay): string {
  return createHash("sha256").update(configEnv(overlay)).digest("hex").slice(0, 12);
}

/** Variables of one service in one overlay: what it calls, its stores, its secrets. */
export function serviceEnvironment(service: Service, overlay: Overlay): EnvironmentVariable[] {
  const { name, port, runtime, secrets = [], settings = {} } = service;
  return [
    { name: runtime === "spring" ? "SERVER_PORT" : "PORT", value: `${port}` },
    ...serviceUrls(service),
    ...databaseVariables(service, overlay),
    ...redisVariables(service, overlay),
    ...kafkaVariables(service, overlay),
    ...queueVariables(service, overlay),
    ...secrets.map((secret) => fromSecret(SECRET_VARIABLES[secret], secret, "secret")),
    ...(runtime === "spring" ? [{ name: "SPRING_APPLICATION_NAME", value: name }] : []),
    ...Object.entries(settings).map(([setting, value]) => ({ name: setting, value })),
  ];
}

/** Endpoints that a service takes from the platform's ConfigMap. */
export function endpointsOf(service: Service, overlay: Overlay): Endpoint[] {
  const aws = awsOf(overlay);
  if (!aws) return [];
  return [
    ...(service.database ? (["RDS_PROXY_ENDPOINT"] as const) : []),
    ...(readsReplica(service, overlay) ? (["RDS_REPLICA_ENDPOINT"] as const) : []),
    ...(service.redis ? (["REDIS_ENDPOINT"] as const) : []),
    ...(service.kafka ? (["KAFKA_BOOTSTRAP_SERVERS"] as const) : []),
    ...(service.sendsTicketEvents ? (["SQS_QUEUE_URL"] as const) : []),
  ];
}

/** Whether the service has a replica to read from. */
export function readsReplica({ readsReplica: reads }: Service, overlay: Overlay): boolean {
  return reads === true && awsOf(overlay)?.rds.readReplica === true;
}

/** Documented name of the frontend's way to the API. Source: Infra analysis §8-2. */
function serviceUrls({ calls, runtime }: Service): EnvironmentVariable[] {
  return calls.map((callee) => ({
    name: runtime === "next" ? "INTERNAL_API_URL" : `${constantCase(callee)}_URL`,
    value: `http://${callee}:${serviceNamed(callee).port}`,
  }));
}

function databaseVariables(service: Service, overlay: Overlay): EnvironmentVariable[] {
  const { database } = service;
  if (!database) return [];
  const aws = awsOf(overlay);
  const host = aws ? "$(RDS_PROXY_ENDPOINT)" : LOCAL_STORES.postgresql;
  const options = aws ? "?sslmode=require" : "";
  const url = (server: string) => `jdbc:postgresql://${server}:${STORE_PORTS.postgresql}/${database.name}${options}`;
  const secret = databaseSecretName(database.user);
  return [
    ...(aws ? [endpoint("RDS_PROXY_ENDPOINT")] : []),
    { name: "SPRING_DATASOURCE_URL", value: url(host) },
    fromSecret("SPRING_DATASOURCE_USERNAME", secret, "username"),
    fromSecret("SPRING_DATASOURCE_PASSWORD", secret, "password"),
    ...(readsReplica(service, overlay)
      ? [
          endpoint("RDS_REPLICA_ENDPOINT"),
          { name: "SPRING_REPLICA_DATASOURCE_URL", value: url("$(RDS_REPLICA_ENDPOINT)") },
        ]
      : []),
  ];
}

function redisVariables({ redis }: Service, overlay: Overlay): EnvironmentVariable[] {
  if (!redis) return [];
  if (!awsOf(overlay)) return [{ name: "SPRING_DATA_REDIS_HOST", value: LOCAL_STORES.redis }];
  return [
    endpoint("REDIS_ENDPOINT", "SPRING_DATA_REDIS_HOST"),
    fromSecret("SPRING_DATA_REDIS_PASSWORD", REDIS_SECRET, "token"),
  ];
}

function kafkaVariables({ kafka, name }: Service, overlay: Overlay): EnvironmentVariable[] {
  if (!kafka) return [];
  return [
    awsOf(overlay)
      ? endpoint("KAFKA_BOOTSTRAP_SERVERS", "SPRING_KAFKA_BOOTSTRAP_SERVERS")
      : { name: "SPRING_KAFKA_BOOTSTRAP_SERVERS", value: `${LOCAL_STORES.kafka}:${STORE_PORTS.kafkaPlain}` },
    // The role of the pods may join groups of this name only.
    ...(kafka.consumes.length > 0 ? [{ name: "SPRING_KAFKA_CONSUMER_GROUP_ID", value: name }] : []),
  ];
}

function queueVariables({ sendsTicketEvents }: Service, overlay: Overlay): EnvironmentVariable[] {
  if (!sendsTicketEvents) return [];
  return awsOf(overlay)
    ? [{ name: "SQS_ENABLED", value: "true" }, endpoint("SQS_QUEUE_URL")]
    : [{ name: "SQS_ENABLED", value: "false" }];
}

function endpoint(key: Endpoint, name: string = key): EnvironmentVariable {
  return { name, valueFrom: { configMapKeyRef: { name: ENDPOINTS_CONFIG_MAP, key } } };
}

function fromSecret(name: string, secret: string, key: string): EnvironmentVariable {
  return { name, valueFrom: { secretKeyRef: { name: secret, key } } };
}

function constantCase(name: string): string {
  return name.replaceAll("-", "_").toUpperCase();
}

/** Shared secrets that any service of the catalogue knows, each once. */
export function usedSharedSecrets(): SharedSecret[] {
  return [...new Set(SERVICES.flatMap(({ secrets = [] }) => secrets))];
}
