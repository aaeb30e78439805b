import { validateEnvironments } from "./environments/environment";
import { prodPlatform, stagingPlatform } from "./environments/platform";
import { prod } from "./environments/prod";
import { staging } from "./environments/staging";
import { ModularApp } from "./lib/terraform-modules";
import { BootstrapStack } from "./stacks/bootstrap";
import { PlatformStack } from "./stacks/platform";
import { ProdStack } from "./stacks/prod";
import { StagingStack } from "./stacks/staging";

/**
 * The app with all its stacks, ready to synthesize.
 *
 * @param outdir Folder of the output; absent means what the cdktf CLI asks for, or `cdktf.out`.
 */
export function buildApp(outdir?: string): ModularApp {
  validateEnvironments([staging, prod]);
  const app = new ModularApp(outdir === undefined ? {} : { outdir });
  new BootstrapStack(app, "bootstrap", { environments: [staging, prod] });
  new StagingStack(app, "staging", staging);
  new ProdStack(app, "prod", prod);
  new PlatformStack(app, "staging-platform", staging, stagingPlatform);
  new PlatformStack(app, "prod-platform", prod, prodPlatform);
  return app;
}
