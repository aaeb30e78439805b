import type { Construct } from "constructs";
import type { Environment } from "../environments/environment";
import { ModularStack } from "../lib/terraform-modules";
import { declareAccountVariables, declareStagingVariables } from "./account-variables";
import { CoreModules } from "./core-modules";
import { declareCoreOutputs } from "./outputs";
import { configureTerraform } from "./terraform-settings";

/** Staging: the sixteen modules, without CloudFront in front of them. Source: Infra analysis §1-2. */
export class StagingStack extends ModularStack {
  constructor(scope: Construct, id: string, environment: Environment) {
    super(scope, id);
    const account = declareAccountVariables(this, environment);
    const { albAllowedCidrs } = declareStagingVariables(this);
    configureTerraform(this, environment, account.accountId);

    const modules = new CoreModules(this, {
      environment,
      account,
      albIngress: { cidrBlocks: albAllowedCidrs },
      behindCloudfront: false,
    });

    declareCoreOutputs(this, modules);
  }
}
