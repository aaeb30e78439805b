import { describe, expect, it } from "vitest";
import { ENDPOINTS, GITOPS } from "../../../environments/gitops";
import { SERVICES } from "../../../environments/services";
import { serviceEnvironment, sharedSettings } from "../../../tools/gitops/configuration";
import { tierBlocks } from "../../../tools/gitops/network-policies";
import { awsOf, OVERLAYS } from "../../../tools/gitops/overlay";
import { expectReachable, expectUnreachable } from "../../support/network";
import { loadStack, type Resource } from "../../support/terraform";
import { additions, objectsIn, ofKind } from "./objects";

const stacks = { prod: await loadStack("prod"), staging: await loadStack("staging") };
const ENVIRONMENTS = ["prod", "staging"] as const;

describe.each(ENVIRONMENTS)("the GitOps tree and the infrastructure of %s", (name) => {
  const stack = stacks[name];
  const overlay = OVERLAYS.find((candidate) => candidate.name === name);
  const environment = overlay && awsOf(overlay);
  if (!overlay || !environment) throw new Error(`no overlay ${name}`);
  const nodes = stack.one({ type: "aws_eks_node_group" });
  const proxy = stack.one({ type: "aws_db_proxy" });
  const redis = stack.one({ type: "aws_elasticache_replication_group" });
  const kafka = stack.one({ type: "aws_msk_cluster" });
  const outputs = Object.keys(stack.root.output as object);
  const blocksOf = (resource: Resource, path: string) =>
    stack.referred(resource, path).map((subnet) => String(stack.literal(subnet, "cidr_block")));

  it("agree on where pods, load balancers and data stores have their addresses", () => {
    const [publicBalancer, internalBalancer] = ["main", "internal"].map((lb) => stack.at(`module.alb.aws_lb.${lb}`));
    expect(blocksOf(publicBalancer as Resource, "subnets")).toEqual(tierBlocks(environment, "public"));
    expect(blocksOf(internalBalancer as Resource, "subnets")).toEqual(tierBlocks(environment, "streaming"));
    expect(blocksOf(nodes, "subnet_ids")).toEqual(tierBlocks(environment, "app"));
    expect(blocksOf(proxy, "vpc_subnet_ids")).toEqual(tierBlocks(environment, "app"));
    expect(blocksOf(kafka, "broker_node_group_info.client_subnets")).toEqual(tierBlocks(environment, "streaming"));
    const groups = (type: string) => blocksOf(stack.one({ type }), "subnet_ids");
    expect(groups("aws_db_subnet_group")).toEqual(tierBlocks(environment, "db"));
    expect(groups("aws_elasticache_subnet_group")).toEqual(tierBlocks(environment, "cache"));
    const endpoint = stack.at("module.vpc_endpoints.aws_vpc_endpoint.sts");
    expect(blocksOf(endpoint, "subnet_ids")).toEqual(tierBlocks(environment, "app"));
  });

  it("agree that no endpoint in the VPC leads to SQS: that is why queue-service may leave it", () => {
    const services = stack.find({ type: "aws_vpc_endpoint" }).map((one) => String(stack.resolve(one, "service_name")));
    expect(services.some((service) => service.endsWith(".sts"))).toBe(true);
    expect(services.some((service) => service.endsWith(".sqs"))).toBe(false);
  });

  it("agree on the roles of service accounts: each exists, and trusts that account of that namespace", () => {
    const accounts = objectsIn(`k8s/spring/overlays/${name}/patches/roles.yaml`);
    const roles = new Map(
      stack.find({ type: "aws_iam_role", module: "eks" }).map((role) => [String(stack.resolve(role, "name")), role]),
    );
    expect(accounts.map(({ metadata }) => metadata.name).sort()).toEqual([
      "payment-service",
      "queue-service",
      "stats-service",
      "ticket-service",
    ]);
    for (const { metadata } of accounts) {
      const arn = metadata.annotations["eks.amazonaws.com/role-arn"] as string;
      const prefix = `arn:aws:iam::${GITOPS.accountId}:role/`;
      expect(arn.startsWith(prefix)).toBe(true);
      const role = roles.get(arn.slice(prefix.length));
      expect(role, arn).toBeDefined();
      expect(JSON.stringify(stack.resolve(role as Resource, "assume_role_policy"))).toContain(
        `system:serviceaccount:${overlay.namespace}:${metadata.name}`,
      );
    }
  });

  it("agree on the names and the fields of secrets", () => {
    const versions = new Map(
      stack.find({ type: "aws_secretsmanager_secret_version" }).map((version) => {
        const [secret] = stack.referred(version, "secret_id");
        return [String(stack.resolve(secret as Resource, "name")), String(stack.resolve(version, "secret_string"))];
      }),
    );
    const references = ofKind(additions(name), "ExternalSecret").flatMap(({ spec }) => spec.data);
    expect(references).toHaveLength(16);
    for (const { remoteRef } of references) {
      expect([...versions.keys()]).toContain(remoteRef.key);
      expect(versions.get(remoteRef.key), remoteRef.key).toContain(`"${remoteRef.property}":`);
    }
  });

  it("agree on the outputs that fill the endpoints, those that services read here", () => {
    const read = SERVICES.flatMap((service) => serviceEnvironment(service, overlay)).flatMap(({ valueFrom }) =>
      valueFrom?.configMapKeyRef ? [valueFrom.configMapKeyRef.key as keyof typeof ENDPOINTS] : [],
    );
    for (const key of new Set(read)) expect(outputs, key).toContain(ENDPOINTS[key]);
    expect(read.includes("RDS_REPLICA_ENDPOINT")).toBe(environment.rds.readReplica);
  });

  it.each(
    SERVICES.map((service) => [service.name, service] as const),
  )("agree on the way of %s to its data stores: the security groups admit it", (_, service) => {
    if (service.database) expectReachable(stack, nodes, proxy, 5432);
    if (service.readsReplica && environment.rds.readReplica)
      expectReachable(stack, nodes, stack.at("module.rds.aws_db_instance.replica"), 5432);
    if (service.redis) expectReachable(stack, nodes, redis, 6379);
    if (service.kafka) expectReachable(stack, nodes, kafka, 9098);
    if (service.loadBalancer?.public) expectReachable(stack, stack.at("module.alb.aws_lb.main"), nodes, service.port);
    if (service.loadBalancer?.internal)
      expectReachable(stack, stack.at("module.alb.aws_lb.internal"), nodes, service.port);
    if (!service.loadBalancer?.public)
      expectUnreachable(stack, stack.at("module.alb.aws_lb.main"), nodes, service.port);
  });

  it("agree that data stores want TLS, and that services speak it", () => {
    expect(stack.resolve(proxy, "require_tls")).toBe(true);
    expect(stack.resolve(redis, "transit_encryption_enabled")).toBe(true);
    expect(stack.resolve(kafka, "encryption_info.encryption_in_transit.client_broker")).toBe("TLS");
    const settings = sharedSettings(overlay);
    expect(settings.SPRING_DATA_REDIS_SSL_ENABLED).toBe("true");
    expect(settings.SPRING_KAFKA_PROPERTIES_SECURITY_PROTOCOL).toBe("SASL_SSL");
    for (const service of SERVICES.filter(({ database }) => database))
      for (const { name: variable, value } of serviceEnvironment(service, overlay))
        if (variable.endsWith("DATASOURCE_URL")) expect(value).toMatch(/\?sslmode=require$/);
  });

  it("agree on what no pod may reach: the primary database past the proxy, Kafka without IAM, the other environment", () => {
    expectUnreachable(stack, nodes, stack.at("module.rds.aws_db_instance.primary"), 5432);
    for (const port of [2181, 9092, 9094, 9096]) expectUnreachable(stack, nodes, kafka, port);
    const other = name === "prod" ? "10.1.10.5/32" : "10.0.10.5/32";
    for (const [store, port] of [
      [proxy, 5432],
      [redis, 6379],
      [kafka, 9098],
    ] as const)
      expectUnreachable(stack, other, store, port);
  });
});
