import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { ModularApp } from "../../../lib/terraform-modules";

/** A resource as it will be addressed in plans. */
export interface Address {
  readonly address: string;
  readonly type: string;
}

/** Addresses of the resources of synthesized stacks, by stack. */
export function readStacks(build: (app: ModularApp) => void): Readonly<Record<string, Address[]>> {
  const outdir = mkdtempSync(path.join(tmpdir(), "urr-stacks-"));
  const app = new ModularApp({ outdir });
  build(app);
  app.synth();
  const stacks = readdirSync(path.join(outdir, "stacks")).map((stack) => {
    const home = path.join(outdir, "stacks", stack);
    const root = resourcesOf(path.join(home, "cdk.tf.json"), "");
    const modules = readdirSync(path.join(home, "modules")).flatMap((name) =>
      resourcesOf(path.join(home, "modules", name, "main.tf.json"), `module.${name.replaceAll("-", "_")}.`),
    );
    return [stack, [...root, ...modules]] as [string, Address[]];
  });
  rmSync(outdir, { recursive: true });
  return Object.fromEntries(stacks);
}

function resourcesOf(file: string, prefix: string): Address[] {
  const { resource = {} } = JSON.parse(readFileSync(file, "utf8")) as {
    resource?: Record<string, Record<string, unknown>>;
  };
  return Object.entries(resource).flatMap(([type, byName]) =>
    Object.keys(byName).map((name) => ({ address: `${prefix}${type}.${name}`, type })),
  );
}
