import { EcrLifecyclePolicy } from "@cdktf/provider-aws/lib/ecr-lifecycle-policy";
import { EcrRepository } from "@cdktf/provider-aws/lib/ecr-repository";
import type { Construct } from "constructs";
import { physicalName } from "../../lib/naming";
import { enforce, type Rule } from "../../lib/rules";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link Ecr}. */
export interface EcrProps {
  /** Names without the namespace, such as `gateway-service`. Removing one destroys the repository, which AWS refuses while it holds images. */
  readonly repositories: readonly string[];
  /** First part of every name. Replacing it destroys the repositories. @default "urr" (Infra analysis §2-11) */
  readonly namespace?: string;
  /** Tagged images that a repository keeps. @default 30 (Infra analysis §2-11) */
  readonly maxImageCount?: number;
  /** Days after which an image without a tag goes. @default 7 (Infra analysis §2-11) */
  readonly untaggedExpiryDays?: number;
}

const DEFAULT_NAMESPACE = "urr";
const DEFAULT_MAX_IMAGE_COUNT = 30;
const DEFAULT_UNTAGGED_EXPIRY_DAYS = 7;

const RULES: readonly Rule<EcrProps>[] = [
  {
    property: "repositories",
    given: ({ repositories }) => repositories,
    valid: ({ repositories }) => repositories.length > 0 && new Set(repositories).size === repositories.length,
    allowed: "at least one name, each once",
    remedy: "Name each image once.",
  },
  {
    property: "maxImageCount",
    given: ({ maxImageCount = DEFAULT_MAX_IMAGE_COUNT }) => maxImageCount,
    valid: ({ maxImageCount = DEFAULT_MAX_IMAGE_COUNT }) => Number.isInteger(maxImageCount) && maxImageCount >= 2,
    allowed: "a whole number of at least 2",
    remedy: "The image that runs and the one to roll back to must both stay.",
  },
  {
    property: "untaggedExpiryDays",
    given: ({ untaggedExpiryDays = DEFAULT_UNTAGGED_EXPIRY_DAYS }) => untaggedExpiryDays,
    valid: ({ untaggedExpiryDays = DEFAULT_UNTAGGED_EXPIRY_DAYS }) =>
      Number.isInteger(untaggedExpiryDays) && untaggedExpiryDays >= 1,
    allowed: "a whole number of at least 1",
    remedy: "ECR counts whole days since the push.",
  },
];

/**
 * One image repository per service, for both environments. A tag is pushed once and never moves, so what was tested is what
 * runs. Source: Infra analysis §2-11 "ECR", Architecture guide §10.2.
 */
export class Ecr extends Module {
  /** Where images are pushed and pulled, by the name of their service. */
  readonly repositoryUrls: Readonly<Record<string, string>>;
  readonly repositoryArns: Readonly<Record<string, string>>;

  constructor(scope: Construct, id: string, props: EcrProps) {
    super(scope, id);
    enforce(this, props, RULES);
    const { namespace = DEFAULT_NAMESPACE, repositories } = props;

    const policy = lifecyclePolicy(props);
    const made = new Map(
      [...new Set(repositories)].map((name) => [name, this.createRepository(name, `${namespace}/${name}`, policy)]),
    );

    this.repositoryUrls = Object.fromEntries([...made].map(([name, repository]) => [name, repository.repositoryUrl]));
    this.repositoryArns = Object.fromEntries([...made].map(([name, repository]) => [name, repository.arn]));
  }

  private createRepository(name: string, fullName: string, policy: string): EcrRepository {
    const terraformName = name.replaceAll("-", "_");
    const repository = new EcrRepository(this, `ecr_repository.${terraformName}`, {
      name: physicalName(this, "repository", fullName),
      imageTagMutability: "IMMUTABLE",
      imageScanningConfiguration: { scanOnPush: true },
      // Documented. Replacing it destroys the repository.
      encryptionConfiguration: [{ encryptionType: "AES256" }],
      forceDelete: false,
    });
    new EcrLifecyclePolicy(this, `ecr_lifecycle_policy.${terraformName}`, { repository: repository.name, policy });
    return repository;
  }
}

/** Both rules count in days and images of one repository; the second sees every tag, since tags carry no prefix to select by. */
function lifecyclePolicy({
  maxImageCount = DEFAULT_MAX_IMAGE_COUNT,
  untaggedExpiryDays = DEFAULT_UNTAGGED_EXPIRY_DAYS,
}: EcrProps): string {
  return JSON.stringify({
    rules: [
      {
        rulePriority: 1,
        description: `Images without a tag go after ${untaggedExpiryDays} days`,
        selection: {
          tagStatus: "untagged",
          countType: "sinceImagePushed",
          countUnit: "days",
          countNumber: untaggedExpiryDays,
        },
        action: { type: "expire" },
      },
      {
        rulePriority: 2,
        description: `Of the tagged images the last ${maxImageCount} stay`,
        selection: {
          tagStatus: "tagged",
          tagPatternList: ["*"],
          countType: "imageCountMoreThan",
          countNumber: maxImageCount,
        },
        action: { type: "expire" },
      },
    ],
  });
}
