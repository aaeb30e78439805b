import type { Cost } from "./meter";
import type { Project } from "./project";

const BOOTSTRAP_CONFIGURATION = "environments/bootstrap.ts";

/** Options of {@link deployAll}. */
export interface DeployOptions {
  /** Told what happens. @default nobody */
  readonly progress?: (line: string) => void;
}

/** The first deploy of everything, as docs/bootstrap.md and docs/deploy.md describe it. */
export async function deployAll(project: Project, options: DeployOptions = {}): Promise<void> {
  await deployBootstrap(project, options);
  await deployStacks(project, ["staging", "prod"], options);
}

/** Bootstrap with local state, then the migration of that state into the bucket which it has just made. */
export async function deployBootstrap(project: Project, options: DeployOptions = {}): Promise<void> {
  const migrated = project.backendOf("bootstrap") === "s3";
  setStateBackend(project, migrated ? "s3" : "local");
  await deployStacks(project, ["bootstrap"], options);
  if (migrated) return;
  setStateBackend(project, "s3");
  options.progress?.("bootstrap: moving its state into the bucket");
  await project.diff("bootstrap", { migrateState: true });
  project.remove("bootstrap");
}

/** A resource that a deploy made, changed or destroyed. */
export interface Done {
  readonly address: string;
  readonly seconds: number;
}

/** How a stack was deployed. */
export interface Deployed {
  readonly stack: string;
  readonly cost: Cost;
  readonly done: readonly Done[];
}

/**
 * Deploys stacks from one synth, side by side: most of the time each waits for the provider's own delays. Tells of every resource that
 * is ready. Throws if a stack fails, after all have ended.
 */
export async function deployStacks(
  project: Project,
  stacks: readonly string[],
  { progress = () => {} }: DeployOptions = {},
): Promise<Deployed[]> {
  await project.synth();
  const results = await Promise.allSettled(stacks.map((stack) => deployStack(project, stack, progress)));
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
  return results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
}

async function deployStack(project: Project, stack: string, progress: (line: string) => void): Promise<Deployed> {
  const done: Done[] = [];
  const { cost } = await project.deploy(stack, {
    progress: (line) => {
      const found = /(\S+): (?:Creation|Modifications|Destruction) complete after (?:(\d+)m)?(\d+)s/.exec(line);
      if (!found) return;
      const [, address = "", minutes = "0", seconds = "0"] = found;
      done.push({ address, seconds: Number(minutes) * 60 + Number(seconds) });
      progress(`${stack} ${String(done.length).padStart(4)} ${address} (${done.at(-1)?.seconds} s)`);
    },
  });
  progress(`${stack}: ${done.length} resources in ${Math.round(cost.seconds)} s`);
  return { stack, cost, done };
}

function setStateBackend(project: Project, backend: "local" | "s3"): void {
  const other = backend === "local" ? "s3" : "local";
  if (project.read(BOOTSTRAP_CONFIGURATION).includes(`  stateBackend: "${other}",`)) {
    project.edit(BOOTSTRAP_CONFIGURATION, `  stateBackend: "${other}",`, `  stateBackend: "${backend}",`);
  }
}
