import { NetworkInterface } from "@cdktf/provider-aws/lib/network-interface";
import { SecurityGroup } from "../../lib/security-group";
import { Iam } from "../../modules/iam";
import { Secrets } from "../../modules/secrets";
import { Vpc } from "../../modules/vpc";
import { ACCOUNT_ID, REGION, synthModule, synthProblems, type TestStack } from "./synth";
import { type TerraformStack, toTerraformStack } from "./terraform";

/** What every module of the data tier stands on. */
export interface Foundation {
  readonly iam: Iam;
  readonly vpc: Vpc;
  readonly secrets: Secrets;
  /** A security group of a client, in which `aws_network_interface.client` stands. */
  readonly client: SecurityGroup;
}

/** Makes the modules that belong to a test, on a production-like foundation. */
export type Build = (stack: TestStack, foundation: Foundation) => void;

/** Topic that alarms of a test go to. */
export const ALARM_TOPIC_ARN = `arn:aws:sns:${REGION}:${ACCOUNT_ID}:alarms`;

/** Synthesizes a stack with network, roles and secrets and with what the test builds on them. */
export function synthOnFoundation(build: Build): TerraformStack {
  return toTerraformStack(synthModule((stack) => build(stack, createFoundation(stack))));
}

/** The problems for which the synth of such a stack fails; none if it succeeds. */
export function problemsOnFoundation(build: Build): readonly string[] {
  return synthProblems((stack) => build(stack, createFoundation(stack)));
}

function createFoundation(stack: TestStack): Foundation {
  const prefix = "urr-prod";
  const vpc = new Vpc(stack, "vpc", {
    prefix,
    vpcCidr: "10.0.0.0/16",
    availabilityZones: ["ap-northeast-2a", "ap-northeast-2c"],
    clusterName: prefix,
  });
  const secrets = new Secrets(stack, "secrets", {
    prefix,
    accountId: ACCOUNT_ID,
    region: REGION,
    databases: [
      { name: "ticket_db", user: "ticket" },
      { name: "auth_db", user: "auth" },
    ],
  });
  secrets.writeDatabaseCredentials({ endpointAddress: "postgres.test", port: 5432, dbName: "ticket_db" });
  const client = new SecurityGroup(stack, "client", {
    name: "client",
    description: "A client",
    vpcId: vpc.vpcId,
    label: "client",
  });
  new NetworkInterface(stack, "network_interface.client", {
    subnetId: vpc.tiers.app.subnetIds[0] ?? "",
    securityGroups: [client.securityGroupId],
  });
  return { iam: new Iam(stack, "iam", { prefix }), vpc, secrets, client };
}
