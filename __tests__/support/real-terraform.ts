import { missingProviders, terraformVersion } from "../../tools/terraform/workspace";

/** Providers by name, pinned as the bindings pin them. */
const PROVIDERS: Readonly<Record<string, { source: string; version: string }>> = {
  aws: { source: "hashicorp/aws", version: "5.100.0" },
  random: { source: "hashicorp/random", version: "3.7.2" },
  kubernetes: { source: "hashicorp/kubernetes", version: "2.38.0" },
  helm: { source: "hashicorp/helm", version: "3.1.1" },
};

/**
 * Whether tests that need Terraform and these providers can run here. Elsewhere they are skipped under their own names, and this
 * says why; in CI their absence is a failure.
 */
export function canRunTerraform(suite: string, providers: readonly string[]): boolean {
  const lacking = [
    ...(terraformVersion() === undefined ? ["terraform"] : []),
    ...missingProviders({
      terraform: {
        required_providers: Object.fromEntries(
          providers.flatMap((name) => (PROVIDERS[name] ? [[name, PROVIDERS[name]]] : [])),
        ),
      },
    }),
  ];
  if (lacking.length === 0) return true;
  if (process.env.CI)
    throw new Error(`${suite}: not in reach: ${lacking.join(", ")}. CI must have them; see README, "Tests".`);
  process.stderr.write(`NOT RUN: ${suite} (not in reach: ${lacking.join(", ")})\n`);
  return false;
}
