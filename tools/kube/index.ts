import { promtool } from "../promtool/promtool";
import { type CommandName, command, goVersion } from "./build";
import { schemaLocation } from "./schemas";
import { COMMANDS, KUBERNETES_COMMANDS } from "./versions";

/**
 * Builds what the cluster suite runs, before it runs: a cold build takes minutes, in which a test's own process would be taken for dead.
 */
function main(): number {
  const go = goVersion();
  if (go === undefined) {
    console.error(
      "there is no go on the PATH; install Go 1.25 or later: kustomize, kubeconform and the API server are built with it",
    );
    return 1;
  }
  console.log(go);
  for (const name of Object.keys({ ...COMMANDS, ...KUBERNETES_COMMANDS }) as CommandName[]) console.log(command(name));
  console.log(schemaLocation());
  console.log(promtool());
  return 0;
}

process.exitCode = main();
