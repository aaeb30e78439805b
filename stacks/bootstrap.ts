import { existsSync, readFileSync } from "node:fs";
import { ApiGatewayAccount } from "@cdktf/provider-aws/lib/api-gateway-account";
import { AwsProvider } from "@cdktf/provider-aws/lib/provider";
import { LocalBackend, S3Backend, TerraformOutput, TerraformVariable } from "cdktf";
import type { Construct } from "constructs";
import { type BootstrapConfiguration, bootstrap } from "../environments/bootstrap";
import type { Environment } from "../environments/environment";
import { Role } from "../lib/iam";
import { enforce, type Rule } from "../lib/rules";
import { ModularStack } from "../lib/terraform-modules";
import { CiRoles } from "./bootstrap-ci";
import { LockTable, PlanBundles, StateBucket } from "./bootstrap-state";

/** Properties of {@link BootstrapStack}. */
export interface BootstrapStackProps {
  /** Environments whose state is kept; one of them is `prod`, whose bucket also takes this stack's own state. */
  readonly environments: readonly Environment[];
  /** @default the committed configuration */
  readonly configuration?: BootstrapConfiguration;
}

const REQUIRED_TERRAFORM = ">= 1.10.0";
/** Environment whose state bucket takes the state of the stacks that serve all. */
const HOME_ENVIRONMENT = "prod";

const RULES: readonly Rule<Required<BootstrapStackProps>>[] = [
  {
    property: "environments[].state.lockTable",
    given: ({ environments }) => environments.map(({ state }) => state.lockTable),
    valid: ({ environments }) => new Set(environments.map(({ state }) => state.lockTable)).size === 1,
    allowed: "one lock table for all environments",
    remedy: "Lock items are told apart by bucket and key; a second table is a second stack.",
  },
  {
    property: "environments[].state.bucket",
    given: ({ environments }) => environments.map(({ state }) => state.bucket),
    valid: ({ environments }) => new Set(environments.map(({ state }) => state.bucket)).size === environments.length,
    allowed: "a bucket of its own for each environment",
    remedy: "Whoever may write staging's state must not be able to write production's.",
  },
  {
    property: "environments[].region",
    given: ({ environments }) => environments.map(({ region }) => region),
    valid: ({ environments }) => new Set(environments.map(({ region }) => region)).size === 1,
    allowed: "one Region for all environments",
    remedy: "The API Gateway account role is per Region: a second Region needs a second bootstrap stack.",
  },
  {
    property: "github.environments",
    given: ({ configuration }) => Object.keys(configuration.github.environments).sort(),
    valid: ({ configuration, environments }) =>
      environments.every(({ name }) => name in configuration.github.environments),
    allowed: ({ environments }) => `GitHub environments for each of ${environments.map(({ name }) => name).join(", ")}`,
    remedy: "Name the environments of the plan and the apply job in environments/bootstrap.ts.",
  },
  {
    property: "localStatePath",
    given: ({ configuration }) => configuration.localStatePath,
    valid: ({ configuration }) =>
      configuration.localStatePath.startsWith("../../../") &&
      configuration.localStatePath.endsWith("/terraform.tfstate"),
    allowed: "a relative path out of the output folder, ending in /terraform.tfstate",
    remedy: "The output folder may be deleted at any time, and Git ignores that file name.",
  },
];

/**
 * What must exist once per account before the other stacks can be deployed: state buckets and lock table, the CI's OIDC
 * provider and roles, the bucket and key of reviewed plans, and the role by which API Gateway writes logs.
 * Source: Infra analysis §1-3 (state), §4-3 and §9-1 (OIDC).
 */
export class BootstrapStack extends ModularStack {
  constructor(scope: Construct, id: string, { configuration = bootstrap, environments }: BootstrapStackProps) {
    super(scope, id);
    enforce(this, { configuration, environments }, RULES);
    const home = environments.find(({ name }) => name === HOME_ENVIRONMENT);
    if (!home)
      throw new Error(`environments: given none named ${HOME_ENVIRONMENT}; its state bucket takes this stack's state.`);
    const { region } = home;

    const { accountId, repository } = this.declareVariables();
    this.configureTerraform(home, configuration, accountId);

    const buckets = environments.map(
      (environment) =>
        new StateBucket(this, environment.name, {
          bucketName: environment.state.bucket,
          stateKeys: [...stateKeysOf(environment), ...(environment === home ? [configuration.stateKey] : [])],
        }),
    );
    const lockTable = new LockTable(this, "locks", { tableName: home.state.lockTable });
    const bundles = new PlanBundles(this, "plan_bundles", {
      bucketName: configuration.planBundleBucket,
      retentionDays: configuration.planBundleRetentionDays,
      accountId,
    });
    const roles = new CiRoles(this, "ci", {
      accountId,
      region,
      repository,
      environments,
      lockTable,
      bundles,
      github: configuration.github,
      stateKeysOf,
    });
    this.createApiGatewayAccount();

    this.output(
      "state_bucket_names",
      buckets.map(({ bucketName }) => bucketName),
      "Buckets of Terraform states",
    );
    this.output("lock_table_name", lockTable.tableName, "Table of state locks");
    this.output("plan_bundle_bucket_name", bundles.bucketName, "Bucket of reviewed plans");
    this.output("plan_bundle_key_arn", bundles.keyArn, "Key that encrypts reviewed plans");
    for (const [name, role] of Object.entries(roles.byName)) {
      this.output(`${name}_role_arn`, role.roleArn, role.description);
    }
  }

  private declareVariables(): { accountId: string; repository: string } {
    const accountId = new TerraformVariable(this, "aws_account_id", {
      type: "string",
      description: "AWS account to deploy to: twelve digits.",
      nullable: false,
      validation: [
        {
          condition: '${can(regex("^[0-9]{12}$", var.aws_account_id))}',
          errorMessage: "aws_account_id must be the twelve digits of an AWS account.",
        },
      ],
    });
    const repository = new TerraformVariable(this, "github_repository", {
      type: "string",
      description: "GitHub repository whose workflows may assume the CI roles: owner/name, as GitHub spells it.",
      nullable: false,
      validation: [
        {
          // No wildcard may get into a trust policy.
          condition: '${can(regex("^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$", var.github_repository))}',
          errorMessage:
            "github_repository must be owner/name, such as example/urr, without a host and without wildcards.",
        },
      ],
    });
    return { accountId: accountId.stringValue, repository: repository.stringValue };
  }

  private configureTerraform(home: Environment, configuration: BootstrapConfiguration, accountId: string): void {
    const { region, state } = home;
    if (configuration.stateBackend === "local") {
      new LocalBackend(this, { path: configuration.localStatePath });
    } else {
      new S3Backend(this, {
        bucket: state.bucket,
        key: configuration.stateKey,
        region,
        encrypt: true,
        dynamodbTable: state.lockTable,
      });
      this.addOverride("terraform.backend.s3.use_lockfile", true);
    }
    this.addOverride("terraform.required_version", REQUIRED_TERRAFORM);
    new AwsProvider(this, "aws", {
      region,
      allowedAccountIds: [accountId],
      defaultTags: [{ tags: { Project: "URR", Environment: "bootstrap", ManagedBy: "Terraform" } }],
    });
    const variables = "environments/bootstrap.tfvars";
    if (existsSync(variables)) this.addFile("terraform.tfvars", readFileSync(variables));
  }

  /** One setting per account and Region: without it no REST API may write logs, and stages with logging are refused. */
  private createApiGatewayAccount(): void {
    const role = new Role(this, "api_gateway_logs", {
      name: "urr-api-gateway-logs",
      description: "Lets API Gateway write the logs of every REST API of the account",
      assumedByServices: ["apigateway.amazonaws.com"],
      managedPolicies: { push: "service-role/AmazonAPIGatewayPushToCloudWatchLogs" },
    });
    new ApiGatewayAccount(this, "api_gateway_account.main", {
      cloudwatchRoleArn: role.roleArn,
      // API Gateway tries the role when it is set.
      dependsOn: role.dependables,
    });
  }

  private output(name: string, value: string | string[], description: string): void {
    new TerraformOutput(this, name, { value, description });
  }
}

/** Keys of the states of an environment: its infrastructure's and its platform's. */
function stateKeysOf({ name, state }: Environment): string[] {
  return [state.key, `${name}/platform.tfstate`];
}
