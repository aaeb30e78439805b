import { describe, expect, it } from "vitest";
import { SERVICE_NAMES } from "../../environments/services";
import { Ecr, type EcrProps } from "../../modules/ecr";
import { resourcesOf, synthModule, synthProblems } from "../support/synth";

function synthesize(props: Partial<EcrProps> = {}) {
  return synthModule((stack) => {
    new Ecr(stack, "ecr", { repositories: SERVICE_NAMES, ...props });
  });
}

const synthesized = synthesize();
const repositories = resourcesOf(synthesized, "aws_ecr_repository");

interface LifecycleRule {
  rulePriority: number;
  selection: Record<string, unknown>;
  action: { type: string };
}

function lifecycleRules(of: ReturnType<typeof synthesize>, id: string): LifecycleRule[] {
  const policy = resourcesOf(of, "aws_ecr_lifecycle_policy")[id]?.policy;
  return (JSON.parse(String(policy)) as { rules: LifecycleRule[] }).rules;
}

/** Infra analysis §2-11, "ECR - Prod 전용". */
describe("ecr", () => {
  it.each([
    "gateway-service",
    "auth-service",
    "ticket-service",
    "payment-service",
    "queue-service",
    "stats-service",
    "catalog-service",
    "community-service",
    "frontend",
  ])("keeps images of %s under urr/, tags that never move, scanned on push", (service) => {
    expect(repositories[`ecr_${service.replaceAll("-", "_")}`]).toMatchObject({
      name: `urr/${service}`,
      image_tag_mutability: "IMMUTABLE",
      image_scanning_configuration: { scan_on_push: true },
      encryption_configuration: [{ encryption_type: "AES256" }],
      force_delete: false,
    });
  });

  it("keeps images of nothing else", () => {
    expect(Object.keys(repositories)).toHaveLength(9);
    expect(Object.keys(resourcesOf(synthesized, "aws_ecr_lifecycle_policy"))).toHaveLength(9);
  });

  it("drops images without a tag after 7 days", () => {
    expect(lifecycleRules(synthesized, "ecr_frontend")[0]).toMatchObject({
      rulePriority: 1,
      selection: { tagStatus: "untagged", countType: "sinceImagePushed", countUnit: "days", countNumber: 7 },
      action: { type: "expire" },
    });
  });

  it("keeps the last 30 of all tagged images, whatever their tags begin with", () => {
    expect(lifecycleRules(synthesized, "ecr_frontend")[1]).toMatchObject({
      rulePriority: 2,
      selection: {
        tagStatus: "tagged",
        tagPatternList: ["*"],
        countType: "imageCountMoreThan",
        countNumber: 30,
      },
      action: { type: "expire" },
    });
    expect(lifecycleRules(synthesized, "ecr_frontend")[1]?.selection).not.toHaveProperty("tagPrefixList");
  });

  it("tells every repository's policy apart by repository", () => {
    const policies = Object.entries(resourcesOf(synthesized, "aws_ecr_lifecycle_policy"));
    expect(policies).toHaveLength(9);
    for (const [id, policy] of policies) {
      expect(policy.repository).toBe(`\${aws_ecr_repository.${id}.name}`);
    }
  });

  it("takes other limits and another namespace", () => {
    const other = synthesize({ namespace: "other", maxImageCount: 5, untaggedExpiryDays: 1 });
    expect(resourcesOf(other, "aws_ecr_repository").ecr_frontend?.name).toBe("other/frontend");
    expect(lifecycleRules(other, "ecr_frontend").map(({ selection }) => selection.countNumber)).toEqual([1, 5]);
  });

  it.each([
    ["no repository", { repositories: [] }, "repositories: given []; allowed: at least one name, each once"],
    [
      "a repository named twice",
      { repositories: ["frontend", "frontend"] },
      'repositories: given ["frontend","frontend"]',
    ],
    [
      "a limit that leaves nothing to roll back to",
      { maxImageCount: 1 },
      "maxImageCount: given 1; allowed: a whole number of at least 2",
    ],
    [
      "an expiry of less than a day",
      { untaggedExpiryDays: 0 },
      "untaggedExpiryDays: given 0; allowed: a whole number of at least 1",
    ],
    ["a name in capitals", { repositories: ["Frontend"] }, 'name of the repository: given "urr/Frontend"'],
  ] satisfies [string, Partial<EcrProps>, string][])("fails for %s", (_, props, message) => {
    const problems = synthProblems((stack) => {
      new Ecr(stack, "ecr", { repositories: SERVICE_NAMES, ...props });
    });
    expect(problems.join("\n")).toContain(message);
  });
});
