import { DATABASES, SERVICES, type Service, TOPICS } from "../../environments/services";
import { VERSIONS } from "../../lib/life-cycle";
import { databaseSecretName, LOCAL_STORES, STORE_PORTS } from "./configuration";
import type { Manifest } from "./manifest";
import { selectorOf } from "./manifest";
import { pods, policy, storePolicy } from "./network-policies";
import { CONTAINER_SECURITY, podSecurity } from "./pods";

/** Images of what stands in for AWS on a laptop and in the development namespace. */
const IMAGES = {
  postgresql: `postgres:${VERSIONS.postgresql}`,
  dragonfly: "docker.dragonflydb.io/dragonflydb/dragonfly:v1.34.2",
  kafka: "apache/kafka:3.9.1",
} as const;

/** Users as which these images run. */
const POSTGRES_USER = 999;
const DRAGONFLY_USER = 999;
const KAFKA_USER = 1000;

/** Secret with the password of PostgreSQL's own administrator. */
export const SUPERUSER_SECRET = "postgres-superuser";

const CONTROLLER_PORT = 9093;
/** Sixteen bytes, base64: every broker must be told the same. */
const KAFKA_CLUSTER_ID = Buffer.from("urr-spring-kafka").toString("base64url");
const PARTITIONS = 3;
const TOPICS_JOB = "kafka-topics";

/** What a small container is promised and may use. */
function resources(cpu: string, memory: string, memoryLimit: string) {
  return { requests: { cpu, memory }, limits: { memory: memoryLimit } };
}

/** PostgreSQL with the catalogue's databases, each owned by its own user. */
export function postgresql(): Manifest[] {
  const name = LOCAL_STORES.postgresql;
  const script = [
    "create() {",
    '  psql --set ON_ERROR_STOP=1 --set user="$1" --set database="$2" --set password="$3" --username postgres <<\'SQL\'',
    "CREATE ROLE :\"user\" LOGIN PASSWORD :'password';",
    'CREATE DATABASE :"database" OWNER :"user";',
    "SQL",
    "}",
    ...DATABASES.map((database) => `create ${database.user} ${database.name} "$${passwordVariable(database.user)}"`),
    "",
  ].join("\n");
  return [
    configMap(`${name}-init`, { "databases.sh": script }),
    headless(name, [{ name: "postgresql", port: STORE_PORTS.postgresql }]),
    statefulSet(name, 1, POSTGRES_USER, "1Gi", {
      name,
      image: IMAGES.postgresql,
      ports: [{ name: "postgresql", containerPort: STORE_PORTS.postgresql, protocol: "TCP" }],
      env: [
        { name: "PGDATA", value: "/var/lib/postgresql/data/pgdata" },
        { name: "POSTGRES_PASSWORD", valueFrom: { secretKeyRef: { name: SUPERUSER_SECRET, key: "password" } } },
        ...DATABASES.map(({ user }) => ({
          name: passwordVariable(user),
          valueFrom: { secretKeyRef: { name: databaseSecretName(user), key: "password" } },
        })),
      ],
      resources: resources("100m", "256Mi", "512Mi"),
      readinessProbe: { exec: { command: ["pg_isready", "--username", "postgres"] }, periodSeconds: 10 },
      mounts: {
        data: "/var/lib/postgresql/data",
        empty: { run: "/var/run/postgresql", tmp: "/tmp" },
        config: { name: `${name}-init`, path: "/docker-entrypoint-initdb.d" },
      },
    }),
    storePolicy(
      name,
      clients(({ database }) => database !== undefined),
      STORE_PORTS.postgresql,
    ),
  ];
}

/** Dragonfly, which speaks Redis's protocol. Source: AWS architecture §9. */
export function redis(): Manifest[] {
  const name = LOCAL_STORES.redis;
  return [
    headless(name, [{ name: "redis", port: STORE_PORTS.redis }]),
    statefulSet(name, 1, DRAGONFLY_USER, "1Gi", {
      name,
      image: IMAGES.dragonfly,
      args: ["dragonfly", "--logtostderr", "--dir=/data", "--proactor_threads=1", "--maxmemory=256mb"],
      ports: [{ name: "redis", containerPort: STORE_PORTS.redis, protocol: "TCP" }],
      resources: resources("100m", "320Mi", "512Mi"),
      readinessProbe: { tcpSocket: { port: "redis" }, periodSeconds: 10 },
      mounts: { data: "/data", empty: { tmp: "/tmp" } },
    }),
    storePolicy(
      name,
      clients((service) => service.redis === true),
      STORE_PORTS.redis,
    ),
  ];
}

/** Kafka without ZooKeeper, every broker a controller too, and a job that makes the topics. */
export function kafka(brokers: number): Manifest[] {
  const name = LOCAL_STORES.kafka;
  const replication = Math.min(brokers, 3);
  const ids = Array.from({ length: brokers }, (_, id) => id);
  const properties = [
    "process.roles=broker,controller",
    "node.id=@ID@",
    `controller.quorum.voters=${ids.map((id) => `${id}@${name}-${id}.${name}:${CONTROLLER_PORT}`).join(",")}`,
    `listeners=PLAINTEXT://:${STORE_PORTS.kafkaPlain},CONTROLLER://:${CONTROLLER_PORT}`,
    `advertised.listeners=PLAINTEXT://${name}-@ID@.${name}:${STORE_PORTS.kafkaPlain}`,
    "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names=CONTROLLER",
    "inter.broker.listener.name=PLAINTEXT",
    "log.dirs=/var/lib/kafka/data",
    "auto.create.topics.enable=false",
    `default.replication.factor=${replication}`,
    `offsets.topic.replication.factor=${replication}`,
    `transaction.state.log.replication.factor=${replication}`,
    "transaction.state.log.min.isr=1",
    "min.insync.replicas=1",
    "",
  ].join("\n");
  const start = [
    "set -eu",
    'sed "s/@ID@/${HOSTNAME##*-}/g" /etc/kafka/template/server.properties > /tmp/server.properties',
    `/opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id ${KAFKA_CLUSTER_ID} --config /tmp/server.properties`,
    "exec /opt/kafka/bin/kafka-server-start.sh /tmp/server.properties",
    "",
  ].join("\n");
  return [
    configMap(`${name}-config`, { "server.properties": properties }),
    headless(name, [
      { name: "kafka", port: STORE_PORTS.kafkaPlain },
      { name: "controller", port: CONTROLLER_PORT },
    ]),
    statefulSet(name, brokers, KAFKA_USER, "2Gi", {
      name,
      image: IMAGES.kafka,
      command: ["/bin/sh", "-c", start],
      ports: [
        { name: "kafka", containerPort: STORE_PORTS.kafkaPlain, protocol: "TCP" },
        { name: "controller", containerPort: CONTROLLER_PORT, protocol: "TCP" },
      ],
      env: [
        { name: "LOG_DIR", value: "/tmp/logs" },
        { name: "KAFKA_HEAP_OPTS", value: "-Xms256m -Xmx512m" },
      ],
      resources: resources("250m", "768Mi", "1Gi"),
      readinessProbe: { tcpSocket: { port: "kafka" }, initialDelaySeconds: 10, periodSeconds: 10 },
      mounts: {
        data: "/var/lib/kafka",
        empty: { tmp: "/tmp" },
        config: { name: `${name}-config`, path: "/etc/kafka/template" },
      },
    }),
    topicsJob(replication),
    storePolicy(name, [...clients((service) => service.kafka !== undefined), TOPICS_JOB], STORE_PORTS.kafkaPlain, [
      STORE_PORTS.kafkaPlain,
      CONTROLLER_PORT,
    ]),
    policy(TOPICS_JOB, selectorOf(TOPICS_JOB), {
      egress: [{ to: [pods(name)], ports: [{ protocol: "TCP", port: STORE_PORTS.kafkaPlain }] }],
    }),
  ];
}

/** Topics and their dead-letter topics, made once; run again, it changes nothing. */
function topicsJob(replication: number): Manifest {
  const bootstrap = `${LOCAL_STORES.kafka}:${STORE_PORTS.kafkaPlain}`;
  const script = [
    "set -eu",
    `for topic in ${TOPICS.flatMap((topic) => [topic, `${topic}.DLT`]).join(" ")}; do`,
    `  /opt/kafka/bin/kafka-topics.sh --bootstrap-server ${bootstrap} --create --if-not-exists --topic "$topic" --partitions ${PARTITIONS} --replication-factor ${replication}`,
    "done",
    "",
  ].join("\n");
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: TOPICS_JOB,
      labels: { app: TOPICS_JOB, tier: "data" },
      // A job cannot be changed: Argo CD makes it anew at each sync.
      annotations: {
        "argocd.argoproj.io/hook": "Sync",
        "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation",
      },
    },
    spec: {
      backoffLimit: 20,
      template: {
        metadata: { labels: { app: TOPICS_JOB, tier: "data" } },
        spec: {
          restartPolicy: "OnFailure",
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          securityContext: podSecurity(KAFKA_USER),
          containers: [
            {
              name: TOPICS_JOB,
              image: IMAGES.kafka,
              command: ["/bin/sh", "-c", script],
              env: [{ name: "LOG_DIR", value: "/tmp/logs" }],
              resources: resources("50m", "128Mi", "384Mi"),
              securityContext: CONTAINER_SECURITY,
              volumeMounts: [{ name: "tmp", mountPath: "/tmp" }],
            },
          ],
          volumes: [{ name: "tmp", emptyDir: {} }],
        },
      },
    },
  };
}

/** What a store's container is, and what it mounts. */
interface StoreContainer {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number; readonly protocol: "TCP" }[];
  readonly env?: readonly unknown[];
  readonly resources: unknown;
  readonly readinessProbe: unknown;
  readonly mounts: {
    /** Where the volume that outlives the pod is. */
    readonly data: string;
    /** Writable folders that do not outlive it, by the volume's name. */
    readonly empty: Readonly<Record<string, string>>;
    readonly config?: { readonly name: string; readonly path: string };
  };
}

function statefulSet(
  name: string,
  replicas: number,
  user: number,
  storage: string,
  { mounts, ...container }: StoreContainer,
): Manifest {
  const { config, data, empty } = mounts;
  return {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name, labels: { app: name, tier: "data" } },
    spec: {
      replicas,
      serviceName: name,
      // Brokers find each other before any of them is ready.
      podManagementPolicy: "Parallel",
      selector: { matchLabels: selectorOf(name) },
      template: {
        metadata: { labels: { app: name, tier: "data" } },
        spec: {
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          securityContext: podSecurity(user),
          containers: [
            {
              ...container,
              securityContext: CONTAINER_SECURITY,
              volumeMounts: [
                { name: "data", mountPath: data },
                ...Object.entries(empty).map(([volume, mountPath]) => ({ name: volume, mountPath })),
                ...(config ? [{ name: "config", mountPath: config.path, readOnly: true }] : []),
              ],
            },
          ],
          volumes: [
            ...Object.keys(empty).map((volume) => ({ name: volume, emptyDir: {} })),
            ...(config ? [{ name: "config", configMap: { name: config.name } }] : []),
          ],
        },
      },
      volumeClaimTemplates: [
        {
          apiVersion: "v1",
          kind: "PersistentVolumeClaim",
          metadata: { name: "data" },
          spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage } } },
        },
      ],
    },
  };
}

function headless(name: string, ports: readonly { readonly name: string; readonly port: number }[]): Manifest {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, labels: { app: name, tier: "data" } },
    spec: {
      clusterIP: "None",
      publishNotReadyAddresses: true,
      selector: selectorOf(name),
      ports: ports.map((port) => ({ ...port, targetPort: port.name, protocol: "TCP" })),
    },
  };
}

function configMap(name: string, data: Readonly<Record<string, string>>): Manifest {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data };
}

function clients(uses: (service: Service) => boolean): string[] {
  return SERVICES.filter(uses).map(({ name }) => name);
}

function passwordVariable(user: string): string {
  return `${user.toUpperCase()}_PASSWORD`;
}
