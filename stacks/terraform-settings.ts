import { existsSync, readFileSync } from "node:fs";
import { AwsProvider } from "@cdktf/provider-aws/lib/provider";
import { RandomProvider } from "@cdktf/provider-random/lib/provider";
import { S3Backend } from "cdktf";
import type { Environment } from "../environments/environment";
import type { ModularStack } from "../lib/terraform-modules";

const EDGE_REGION = "us-east-1";
/** First Terraform that knows the S3 backend's own lock file. Source: Terraform, S3 backend, `use_lockfile`. */
const REQUIRED_TERRAFORM = ">= 1.10.0";

/**
 * Backend and required Terraform of an environment's stack. State is locked twice: by the DynamoDB table of the documents, which
 * Terraform 1.11 deprecates, and by the lock file beside the state that replaces it.
 *
 * @param key Key of the state in the environment's bucket.
 */
export function configureState(stack: ModularStack, { region, state }: Environment, key = state.key): void {
  new S3Backend(stack, { bucket: state.bucket, key, region, encrypt: true, dynamodbTable: state.lockTable });
  stack.addOverride("terraform.backend.s3.use_lockfile", true);
  stack.addOverride("terraform.required_version", REQUIRED_TERRAFORM);
}

/** State, providers and account values of an environment's infra stack. */
export function configureTerraform(stack: ModularStack, environment: Environment, accountId: string): void {
  const { name, region } = environment;
  configureState(stack, environment);
  new AwsProvider(stack, "aws", { region, ...accountSettings(environment, accountId) });
  new RandomProvider(stack, "random");

  const variables = `environments/${name}.tfvars`;
  if (existsSync(variables)) stack.addFile("terraform.tfvars", readFileSync(variables));
}

/** The provider of us-east-1, in which CloudFront's certificate, web ACL, edge function and metrics live. */
export function edgeProvider(stack: ModularStack, environment: Environment, accountId: string): AwsProvider {
  return new AwsProvider(stack, "aws_us_east_1", {
    alias: "us_east_1",
    region: EDGE_REGION,
    ...accountSettings(environment, accountId),
  });
}

function accountSettings(environment: Environment, accountId: string) {
  return {
    // A deploy with the credentials of another account stops before it makes anything.
    allowedAccountIds: [accountId],
    defaultTags: [{ tags: defaultTags(environment) }],
  };
}

/** Tags of everything. Source: Infra analysis §1-4. */
export function defaultTags({ name }: Environment): Record<string, string> {
  return { Project: "URR", Environment: name, ManagedBy: "Terraform" };
}
