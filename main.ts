import { validateEnvironments } from "./environments/environment";
import { prodPlatform, stagingPlatform } from "./environments/platform";
import { prod } from "./environments/prod";
import { staging } from "./environments/staging";
import { ModularApp, SynthError } from "./lib/terraform-modules";
import { BootstrapStack } from "./stacks/bootstrap";
import { PlatformStack } from "./stacks/platform";
import { ProdStack } from "./stacks/prod";
import { StagingStack } from "./stacks/staging";

const STACKS = {
  bootstrap: (app: ModularApp) => new BootstrapStack(app, "bootstrap", { environments: [staging, prod] }),
  staging: (app: ModularApp) => new StagingStack(app, "staging", staging),
  prod: (app: ModularApp) => new ProdStack(app, "prod", prod),
  "staging-platform": (app: ModularApp) => new PlatformStack(app, "staging-platform", staging, stagingPlatform),
  "prod-platform": (app: ModularApp) => new PlatformStack(app, "prod-platform", prod, prodPlatform),
};

/**
 * The app, ready to synthesize.
 *
 * @param outdir Folder of the output; absent means what the cdktf CLI asks for, or `cdktf.out`.
 * @param names Stacks of the app; the output of the others stays. None means all.
 * @throws SynthError if there is no stack of a name
 */
export function buildApp(outdir?: string, names: readonly string[] = []): ModularApp {
  const unknown = names.filter((name) => !Object.hasOwn(STACKS, name));
  if (unknown.length > 0) {
    const allowed = Object.keys(STACKS).join(", ");
    throw new SynthError(unknown.map((name) => `stack: given ${JSON.stringify(name)}; allowed: ${allowed}.`));
  }
  validateEnvironments([staging, prod]);
  const app = new ModularApp({ ...(outdir !== undefined && { outdir }), partial: names.length > 0 });
  for (const [name, create] of Object.entries(STACKS)) {
    if (names.length === 0 || names.includes(name)) create(app);
  }
  return app;
}
