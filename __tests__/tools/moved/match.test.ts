import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { match, type Resource, readResources, UnreadableInputError } from "../../../tools/moved/match";

const resource = (address: string, values: Record<string, unknown> = {}): Resource => ({
  address,
  type: address.replace(/\[.*$/, "").split(".").at(-2) ?? "",
  values,
});

/** As the documented HCL names things: lists by count, one module per documented module. */
const HCL = [
  resource("module.vpc.aws_vpc.main", { id: "vpc-1", cidr_block: "10.0.0.0/16" }),
  resource("module.vpc.aws_subnet.app[0]", { cidr_block: "10.0.10.0/24" }),
  resource("module.vpc.aws_subnet.app[1]", { cidr_block: "10.0.11.0/24" }),
  resource("module.rds.aws_db_instance.main", { identifier: "urr-prod-postgres" }),
  resource('module.ecr.aws_ecr_repository.services["gateway-service"]', { name: "urr/gateway-service" }),
  resource("module.s3.aws_s3_bucket.frontend", { bucket: "urr-prod-frontend-prod" }),
  resource("module.s3.aws_s3_bucket_versioning.frontend", { bucket: "urr-prod-frontend-prod" }),
  resource("module.vpc.aws_internet_gateway.this", { vpc_id: "vpc-1" }),
];
const OURS = [
  resource("module.vpc.aws_vpc.main", { cidr_block: "10.0.0.0/16" }),
  resource("module.vpc.aws_subnet.app_a", { cidr_block: "10.0.10.0/24" }),
  resource("module.vpc.aws_subnet.app_c", { cidr_block: "10.0.11.0/24" }),
  resource("module.rds.aws_db_instance.primary", { identifier: "urr-prod-postgres" }),
  resource("module.ecr.aws_ecr_repository.gateway_service", { name: "urr/gateway-service" }),
  resource("module.s3.aws_s3_bucket.frontend", { bucket: "urr-prod-frontend-prod" }),
  resource("module.s3.aws_s3_bucket_versioning.frontend"),
  resource("module.vpc.aws_internet_gateway.main"),
  resource("module.waf.aws_wafv2_web_acl.main", { name: "urr-prod-waf" }),
];

describe("match", () => {
  it("moves by type and physical name, keeps what agrees and tells what is new", () => {
    expect(match(HCL, OURS)).toEqual({
      same: [
        "module.s3.aws_s3_bucket.frontend",
        "module.s3.aws_s3_bucket_versioning.frontend",
        "module.vpc.aws_vpc.main",
      ],
      moves: [
        {
          from: 'module.ecr.aws_ecr_repository.services["gateway-service"]',
          to: "module.ecr.aws_ecr_repository.gateway_service",
        },
        { from: "module.rds.aws_db_instance.main", to: "module.rds.aws_db_instance.primary" },
        { from: "module.vpc.aws_internet_gateway.this", to: "module.vpc.aws_internet_gateway.main" },
        { from: "module.vpc.aws_subnet.app[0]", to: "module.vpc.aws_subnet.app_a" },
        { from: "module.vpc.aws_subnet.app[1]", to: "module.vpc.aws_subnet.app_c" },
      ],
      ambiguous: [],
      onlyInState: [],
      released: [],
      displaced: [],
      renamed: [],
      onlyInPlan: ["module.waf.aws_wafv2_web_acl.main"],
      atRisk: [],
    });
  });

  it("never moves a resource onto one with another physical name", () => {
    const result = match(
      [resource("module.rds.aws_db_instance.main", { identifier: "urr-legacy" })],
      [resource("module.rds.aws_db_instance.main", { identifier: "urr-prod-postgres" })],
    );
    expect(result.moves).toEqual([]);
    expect(result.same).toEqual([]);
    expect(result.onlyInState).toEqual(["module.rds.aws_db_instance.main"]);
    expect(result.atRisk).toEqual(["module.rds.aws_db_instance.main"]);
  });

  it("tells who a resource could be instead of guessing", () => {
    const rule = (name: string) => resource(`module.vpc.aws_route_table.${name}`, { tags: { Name: "urr-prod-app" } });
    const result = match([rule("old")], [rule("app_a"), rule("app_c")]);
    expect(result.moves).toEqual([]);
    expect(result.ambiguous).toEqual([
      {
        from: "module.vpc.aws_route_table.old",
        candidates: ["module.vpc.aws_route_table.app_a", "module.vpc.aws_route_table.app_c"],
      },
    ]);
  });

  it("leaves in AWS what others use, and tells of descriptions that AWS never changes", () => {
    const group = (name: string, description: string) =>
      resource(`module.rds.aws_security_group.${name}`, { name: `urr-prod-${name}`, description });
    const result = match(
      [
        group("rds", "Managed by Terraform"),
        group("msk-old", "Kafka"),
        { ...group("redis", ""), values: { name: "x" } },
      ],
      [group("rds", "Databases"), group("msk", "Kafka"), group("redis", "Redis")],
    );
    expect(result.displaced).toEqual(["module.rds.aws_security_group.redis"]);
    expect(result.released).toEqual(["module.rds.aws_security_group.msk-old"]);
    expect(result.onlyInState).toEqual([]);
    expect(result.renamed).toEqual([
      { address: "module.rds.aws_security_group.rds", exists: "Managed by Terraform", planned: "Databases" },
    ]);
  });

  it("moves a route and an association with what they link: AWS admits no second one beside them", () => {
    const link = (address: string, values: object, references?: Record<string, string>): Resource => ({
      ...resource(address, { ...values }),
      ...(references && { references }),
    });
    const everywhere = { destination_cidr_block: "0.0.0.0/0" };
    const [subnet, table] = ["module.vpc.aws_subnet.app", "module.vpc.aws_route_table.app"];
    const { moves, onlyInPlan } = match(
      [
        link(`${subnet}[0]`, { id: "subnet-1", cidr_block: "10.0.10.0/24" }),
        link(`${subnet}[1]`, { id: "subnet-2", cidr_block: "10.0.11.0/24" }),
        link(`${table}`, { id: "rtb-1", tags: { Name: "app" } }),
        link("module.vpc.aws_route_table_association.app[0]", { subnet_id: "subnet-1", route_table_id: "rtb-1" }),
        link("module.vpc.aws_route_table_association.app[1]", { subnet_id: "subnet-2", route_table_id: "rtb-1" }),
        link("module.vpc.aws_route.out", { route_table_id: "rtb-1", ...everywhere }),
      ],
      [
        link(`${subnet}_a`, { cidr_block: "10.0.10.0/24" }),
        link(`${subnet}_c`, { cidr_block: "10.0.11.0/24" }),
        link(`${table}_a`, { tags: { Name: "app" } }),
        link(
          "module.vpc.aws_route_table_association.a",
          {},
          { subnet_id: `${subnet}_a`, route_table_id: `${table}_a` },
        ),
        link(
          "module.vpc.aws_route_table_association.c",
          {},
          { subnet_id: `${subnet}_c`, route_table_id: `${table}_a` },
        ),
        link("module.vpc.aws_route.nat", everywhere, { route_table_id: `${table}_a` }),
      ],
    );
    expect(onlyInPlan).toEqual([]);
    expect(moves).toContainEqual({
      from: "module.vpc.aws_route_table_association.app[1]",
      to: "module.vpc.aws_route_table_association.c",
    });
    expect(moves).toContainEqual({ from: "module.vpc.aws_route.out", to: "module.vpc.aws_route.nat" });
  });

  it("gives every resource one fate, whatever the order", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(HCL), fc.shuffledSubarray(OURS), (state, planned) => {
        const { ambiguous, displaced, moves, onlyInPlan, onlyInState, released, same } = match(state, planned);
        const gone = [...onlyInState, ...released, ...displaced];
        const fates = [...same, ...moves.map(({ from }) => from), ...ambiguous.map(({ from }) => from), ...gone];
        expect(fates.sort()).toEqual(state.map(({ address }) => address).sort());
        expect([...same, ...moves.map(({ to }) => to), ...onlyInPlan].sort()).toEqual(
          planned.map(({ address }) => address).sort(),
        );
      }),
    );
  });
});

describe("readResources", () => {
  const attributes = { name: "urr-prod-x.fifo" };

  it("reads a state file, with index keys of both kinds and without data sources", () => {
    const state = {
      version: 4,
      resources: [
        { mode: "managed", module: "module.sqs", type: "aws_sqs_queue", name: "main", instances: [{ attributes }] },
        {
          mode: "managed",
          type: "aws_subnet",
          name: "app",
          instances: [
            { index_key: 0, attributes },
            { index_key: "c", attributes },
          ],
        },
        { mode: "data", type: "aws_caller_identity", name: "me", instances: [{ attributes }] },
      ],
    };
    expect(readResources(state).map(({ address }) => address)).toEqual([
      "module.sqs.aws_sqs_queue.main",
      "aws_subnet.app[0]",
      'aws_subnet.app["c"]',
    ]);
  });

  it("reads from a plan which resource an unknown attribute refers to", () => {
    const association = {
      address: "aws_route_table_association.a",
      mode: "managed",
      type: "aws_route_table_association",
    };
    const expressions = {
      subnet_id: { references: ["aws_subnet.app_a.id", "aws_subnet.app_a"] },
      route_table_id: { references: ["var.table"] },
    };
    const address = `module.vpc.${association.address}`;
    const [read] = readResources({
      planned_values: { root_module: { child_modules: [{ resources: [{ ...association, address, values: {} }] }] } },
      configuration: {
        root_module: { module_calls: { vpc: { module: { resources: [{ ...association, expressions }] } } } },
      },
    });
    expect(read).toMatchObject({ address, references: { subnet_id: "module.vpc.aws_subnet.app_a" } });
    expect(read?.references).not.toHaveProperty("route_table_id");
  });

  it("reads what terraform show prints of a state and of a plan", () => {
    const root_module = {
      resources: [{ address: "aws_vpc.x", mode: "managed", type: "aws_vpc", values: {} }],
      child_modules: [{ resources: [{ address: "module.a.aws_vpc.y", mode: "managed", type: "aws_vpc", values: {} }] }],
    };
    for (const input of [{ values: { root_module } }, { planned_values: { root_module } }]) {
      expect(readResources(input).map(({ address }) => address)).toEqual(["aws_vpc.x", "module.a.aws_vpc.y"]);
    }
  });

  it("fails on anything else, saying what to give", () => {
    for (const input of [null, [], {}, { version: 3, resources: [] }])
      expect(() => readResources(input)).toThrow(UnreadableInputError);
    expect(() => readResources({})).toThrow("terraform show -json");
  });
});
