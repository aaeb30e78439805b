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

/** Deploys stacks and tells of every resource that is ready. */
export async function deployStacks(
  project: Project,
  stacks: readonly string[],
  { progress = () => {} }: DeployOptions = {},
): Promise<string> {
  const started = Date.now();
  let ready = 0;
  const output = await project.deploy(stacks, {
    progress: (line) => {
      const made = /^\s*(?:(\w+)\s+)?(\S+): (?:Creation|Modifications|Destruction) complete after (\S+)/.exec(line);
      if (made) progress(`${made[1] ?? stacks[0]} ${String(++ready).padStart(4)} ${made[2]} (${made[3]})`);
    },
  });
  progress(`${stacks.join(", ")}: ${ready} resources in ${Math.round((Date.now() - started) / 1000)} s`);
  return output;
}

function setStateBackend(project: Project, backend: "local" | "s3"): void {
  const other = backend === "local" ? "s3" : "local";
  if (project.read(BOOTSTRAP_CONFIGURATION).includes(`  stateBackend: "${other}",`)) {
    project.edit(BOOTSTRAP_CONFIGURATION, `  stateBackend: "${other}",`, `  stateBackend: "${backend}",`);
  }
}
