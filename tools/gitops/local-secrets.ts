import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { OVERLAYS } from "./overlay";
import { secretShapes } from "./secrets";

/**
 * The laptop's secrets, made up anew and written to standard output only:
 * `npm run --silent kind:secrets | kubectl create -f -`, once per cluster.
 */
export function localSecrets(random: () => string): unknown[] {
  return OVERLAYS.filter(({ name }) => name === "kind").flatMap((overlay) =>
    secretShapes(overlay).map(({ knownValues, name, secretKeys }) => ({
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name, namespace: overlay.namespace },
      stringData: { ...knownValues, ...Object.fromEntries(secretKeys.map((key) => [key, random()])) },
    })),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const secrets = localSecrets(() => randomBytes(32).toString("hex"));
  process.stdout.write(secrets.map((secret) => stringify(secret)).join("---\n"));
}
