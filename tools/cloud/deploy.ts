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
  for (const stack of ["staging", "prod"]) await deployStack(project, stack, options);
}

/** Bootstrap with local state, then the migration of that state into the bucket which it has just made. */
export async function deployBootstrap(project: Project, options: DeployOptions = {}): Promise<void> {
  setStateBackend(project, "local");
  await deployStack(project, "bootstrap", options);
  setStateBackend(project, "s3");
  options.progress?.("bootstrap: migrating its state into the bucket");
  await project.diff("bootstrap", { migrateState: true });
}

/** Deploys a stack and tells of every resource that is ready. */
export async function deployStack(
  project: Project,
  stack: string,
  { progress = () => {} }: DeployOptions = {},
): Promise<string> {
  const started = Date.now();
  let ready = 0;
  const output = await project.deploy(stack, {
    progress: (line) => {
      const made = /(\S+): (?:Creation|Modifications|Destruction) complete after (\S+)/.exec(line);
      if (made) progress(`${stack}: ${String(++ready).padStart(3)} ${made[1]} (${made[2]})`);
    },
  });
  progress(`${stack}: ${ready} resources in ${Math.round((Date.now() - started) / 1000)} s`);
  return output;
}

function setStateBackend(project: Project, backend: "local" | "s3"): void {
  const other = backend === "local" ? "s3" : "local";
  if (project.read(BOOTSTRAP_CONFIGURATION).includes(`stateBackend: "${other}"`)) {
    project.edit(BOOTSTRAP_CONFIGURATION, `stateBackend: "${other}"`, `stateBackend: "${backend}"`);
  }
}
