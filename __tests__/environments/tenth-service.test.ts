import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import {
  DATABASES,
  SERVICE_NAMES,
  SERVICES,
  type Service,
  type ServiceName,
  serviceNamed,
} from "../../environments/services";
import type { Tree } from "../../tools/gitops/tree";
import type { Resource, TerraformStack } from "../support/terraform";
import type { KubernetesObject } from "../tools/gitops/objects";

/** A service that uses everything that a service can use. */
const SEAT: Service = {
  name: "seat-service" as ServiceName,
  runtime: "spring",
  port: 3010,
  usesCommonLibrary: true,
  replicas: { prod: 2, staging: 1, dev: 1 },
  healthCheckPath: "/seats/health",
  resources: { requests: { cpuMillicores: 150, memoryMib: 320 }, limits: { cpuMillicores: 700, memoryMib: 640 } },
  autoscaling: { minReplicas: 2, maxReplicas: 7, cpuPercent: 70 },
  blueGreen: true,
  minAvailable: 1,
  secrets: ["jwt-secret"],
  settings: { SEAT_HOLD_SECONDS: "300" },
  database: { name: "seat_db", user: "seat" },
  readsReplica: true,
  redis: true,
  kafka: { publishes: ["reservation-events"], consumes: ["payment-events"] },
  sendsTicketEvents: true,
  calls: ["catalog-service"],
  loadBalancer: { public: { pathPatterns: ["/seats/*"] } },
};
const NAME = SEAT.name;
const REPOSITORY = path.resolve(import.meta.dirname, "../..");

let prod: TerraformStack;
let platform: TerraformStack;
let tree: Tree;
let access: typeof import("../support/access");
let network: typeof import("../support/network");

beforeAll(async () => {
  // A test file has its own copy of every module: what is loaded after this finds ten services in the catalogue.
  (SERVICE_NAMES as unknown as ServiceName[]).push(NAME);
  (SERVICES as Service[]).push(SEAT);
  (DATABASES as { name: string; user: string }[]).push({ name: "seat_db", user: "seat" });
  (serviceNamed("gateway-service").calls as ServiceName[]).push(NAME);

  const { loadStack } = await import("../support/terraform");
  const { renderTree } = await import("../../tools/gitops/tree");
  const { workflowFiles } = await import("../../tools/gitops/workflows");
  access = await import("../support/access");
  network = await import("../support/network");
  [prod, platform] = [await loadStack("prod"), await loadStack("prod-platform")];
  tree = new Map([...renderTree(committed), ...workflowFiles((file) => committed(file))]);
});

function committed(file: string): string | undefined {
  const full = path.join(REPOSITORY, file);
  return existsSync(full) ? readFileSync(full, "utf8") : undefined;
}

function objectsIn(file: string): KubernetesObject[] {
  const text = tree.get(file);
  if (text === undefined) throw new Error(`the tree has no ${file}`);
  return parseAllDocuments(text).map((document) => document.toJS() as KubernetesObject);
}

function ownObject(file: string, name: string = NAME): KubernetesObject {
  const found = objectsIn(file).filter(({ metadata }) => metadata.name === name);
  if (found.length !== 1) throw new Error(`${file} has ${found.length} objects ${name}`);
  return found[0] as KubernetesObject;
}

const overlay = (file: string) => `k8s/spring/overlays/prod/${file}`;

describe("a tenth service in the catalogue, and nothing else changed,", () => {
  it("gets a repository of images", () => {
    const names = prod.find({ type: "aws_ecr_repository" }).map((one) => prod.resolve(one, "name"));
    expect(names).toHaveLength(10);
    expect(names).toContain(`urr/${NAME}`);
  });

  it("gets a target group, a rule for its paths, and a way from the load balancer to its port", () => {
    const group = prod.find({ type: "aws_lb_target_group" }).find((one) => prod.resolve(one, "port") === SEAT.port);
    expect(prod.resolve(group as Resource, "health_check.path")).toBe(SEAT.healthCheckPath);
    const rules = prod
      .find({ type: "aws_lb_listener_rule" })
      .filter((rule) => JSON.stringify(prod.arguments(rule)).includes("/seats/*"));
    expect(rules).toHaveLength(1);
    network.expectReachable(
      prod,
      prod.at("module.alb.aws_lb.main"),
      prod.one({ type: "aws_eks_node_group" }),
      SEAT.port,
    );
  });

  it("gets a role for its ServiceAccount, with its topics and the queue and nothing of the others'", () => {
    const role = prod.at("module.eks.aws_iam_role.seat_service");
    const statements = access.statementsOfRole(prod, role);
    const topic = (name: string) => `arn:aws:kafka:ap-northeast-2:acct:topic/urr-prod-kafka/uuid/${name}`;
    const may = (action: string, resource: Resource | string) => access.isAllowed(prod, statements, action, resource);
    expect(may("kafka-cluster:WriteData", topic("reservation-events"))).toBe(true);
    expect(may("kafka-cluster:ReadData", topic("payment-events"))).toBe(true);
    expect(may("kafka-cluster:WriteData", topic("payment-events"))).toBe(false);
    expect(may("sqs:SendMessage", prod.at("module.sqs.aws_sqs_queue.main"))).toBe(true);
    expect(JSON.stringify(prod.resolve(role, "assume_role_policy"))).toContain(
      `system:serviceaccount:urr-spring:${NAME}`,
    );
    expect(ownObject(overlay("patches/roles.yaml")).metadata.annotations["eks.amazonaws.com/role-arn"]).toMatch(
      /:role\/urr-prod-seat-service$/,
    );
  });

  it("gets its database's credentials, known to the proxy and to the bootstrap job", () => {
    const secrets = prod.find({ type: "aws_secretsmanager_secret" }).map((one) => prod.resolve(one, "name"));
    expect(secrets).toContain("urr-prod/db-credentials/seat");
    const proxy = JSON.stringify(prod.arguments(prod.one({ type: "aws_db_proxy" })));
    expect(proxy).toContain("seat");
    const bootstrap = platform.at("module.databases.helm_release.bootstrap");
    expect(String(platform.resolve(bootstrap, "values"))).toContain('"name":"seat_db","user":"seat"');
  });

  it("gets its pods registered in the target group", () => {
    const bindings = platform.at("module.load_balancer_controller.helm_release.bindings");
    expect(String(platform.resolve(bindings, "values"))).toContain(`"service":"${NAME}","port":${SEAT.port}`);
  });

  it("gets a Deployment, a Service and a ServiceAccount in the base", () => {
    const deployment = ownObject(`k8s/spring/base/${NAME}/deployment.yaml`);
    const [container] = deployment.spec.template.spec.containers;
    expect(container).toMatchObject({
      image: NAME,
      ports: [{ containerPort: SEAT.port }],
      resources: { requests: { cpu: "150m", memory: "320Mi" }, limits: { cpu: "700m", memory: "640Mi" } },
    });
    expect(ownObject(`k8s/spring/base/${NAME}/service.yaml`).spec.ports[0].port).toBe(SEAT.port);
    ownObject(`k8s/spring/base/${NAME}/service-account.yaml`);
    expect(objectsIn("k8s/spring/base/kustomization.yaml")[0]?.resources).toContain(`${NAME}/deployment.yaml`);
  });

  it("gets in production a Rollout in the Deployment's place, a preview Service, an autoscaler and a budget", () => {
    const rollout = ownObject(overlay(`rollouts/${NAME}.yaml`));
    expect(rollout.spec.strategy.blueGreen.previewService).toBe(`${NAME}-preview`);
    ownObject(overlay("preview-services.yaml"), `${NAME}-preview`);
    const kustomization = objectsIn(overlay("kustomization.yaml"))[0];
    expect(kustomization?.patches[0].target.name.split("|")).toContain(NAME);
    expect(ownObject(overlay("hpa.yaml")).spec).toMatchObject({
      scaleTargetRef: { kind: "Rollout", name: NAME },
      minReplicas: 2,
      maxReplicas: 7,
    });
    expect(ownObject(overlay("pdb.yaml")).spec.minAvailable).toBe(1);
    const application = objectsIn("k8s/argocd/applications/urr-spring-prod.yaml")[0];
    expect(application?.spec.ignoreDifferences).toContainEqual({
      group: "argoproj.io",
      kind: "Rollout",
      name: NAME,
      jsonPointers: ["/spec/replicas"],
    });
  });

  it("gets network policies: its callers in, whom it calls and its stores out", () => {
    const { spec } = ownObject("k8s/spring/base/network-policies.yaml");
    expect(JSON.stringify(spec.ingress)).toContain('"app":"gateway-service"');
    expect(JSON.stringify(spec.egress)).toContain('"app":"catalog-service"');
    const gateway = ownObject("k8s/spring/base/network-policies.yaml", "gateway-service");
    expect(JSON.stringify(gateway.spec.egress)).toContain(`"app":"${NAME}"`);
    const catalog = ownObject("k8s/spring/base/network-policies.yaml", "catalog-service");
    expect(JSON.stringify(catalog.spec.ingress)).toContain(NAME);
    const own = ownObject(overlay("network-policies.yaml"), `${NAME}-prod`);
    const ports = own.spec.egress.flatMap((rule: { ports: { port: number }[] }) => rule.ports.map(({ port }) => port));
    expect([...new Set(ports)].sort()).toEqual([443, 5432, 6379, 9098, 9411].sort());
  });

  it("gets its settings, its addresses and its secrets, and its callers get its address", () => {
    const rollout = ownObject(overlay(`rollouts/${NAME}.yaml`));
    const names = rollout.spec.template.spec.containers[0].env.map(({ name }: { name: string }) => name);
    expect(names).toEqual(
      expect.arrayContaining([
        "SERVER_PORT",
        "CATALOG_SERVICE_URL",
        "SPRING_DATASOURCE_URL",
        "SPRING_REPLICA_DATASOURCE_URL",
        "SPRING_DATA_REDIS_HOST",
        "SPRING_KAFKA_BOOTSTRAP_SERVERS",
        "SPRING_KAFKA_CONSUMER_GROUP_ID",
        "SQS_QUEUE_URL",
        "JWT_SECRET",
        "SEAT_HOLD_SECONDS",
      ]),
    );
    const gateway = ownObject(overlay("rollouts/gateway-service.yaml"), "gateway-service");
    expect(gateway.spec.template.spec.containers[0].env).toContainEqual({
      name: "SEAT_SERVICE_URL",
      value: `http://${NAME}:${SEAT.port}`,
    });
    ownObject(overlay("external-secrets.yaml"), "db-credentials-seat");
    expect(tree.get("k8s/spring/overlays/kind/stores/postgres.yaml")).toContain("create seat seat_db");
  });

  it("gets an image tag in every overlay, and room in the namespace's quota", () => {
    for (const name of ["dev", "staging", "prod", "kind"]) {
      const images = objectsIn(`k8s/spring/overlays/${name}/kustomization.yaml`)[0]?.images as { name: string }[];
      expect(images.map((image) => image.name)).toContain(NAME);
    }
    const quota = platform.find({ type: "kubernetes_resource_quota_v1" })[0] as Resource;
    // A quarter more than at most 10, 10, 8 and 6 pods twice, 6, 6, 4 and 4 and one more of each, three of the frontend, and seven twice.
    expect(platform.resolve(quota, "spec.hard.pods")).toBe(`${Math.ceil(1.25 * (2 * 34 + 24 + 3 + 2 * 7))}`);
  });

  it("gets a workflow that releases it, tests in pull requests, and a place among what can be rolled back", () => {
    const caller = parse(tree.get(`.github/workflows/${NAME}-ci-cd.yml`) ?? "") as KubernetesObject;
    expect(caller.on.push.paths).toEqual([`services-spring/${NAME}/**`, "services-spring/urr-common/**"]);
    expect(caller.jobs.deploy.with["ecr-repository"]).toBe(`urr/${NAME}`);
    const validation = parse(tree.get(".github/workflows/pr-validation.yml") ?? "") as KubernetesObject;
    const filters = parse(
      validation.jobs.changes.steps.find(({ id }: { id: string }) => id === "services").with.filters,
    );
    expect(filters[NAME]).toEqual([`services-spring/${NAME}/**`, "services-spring/urr-common/**"]);
    const rollback = parse(tree.get(".github/workflows/rollback.yml") ?? "") as KubernetesObject;
    expect(rollback.on.workflow_dispatch.inputs.service.options).toContain(NAME);
  });
});
