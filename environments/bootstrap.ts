/** What the bootstrap stack is made of that does not depend on an account. */
export interface BootstrapConfiguration {
  /**
   * Where the bootstrap stack keeps its own state. The first deploy makes the bucket in which it will live, so it starts as
   * `local`; set `s3` after that deploy and migrate. How: docs/bootstrap.md.
   */
  readonly stateBackend: "local" | "s3";
  /** State file while it is local, relative to the stack's folder in the output (three levels below the checkout). */
  readonly localStatePath: string;
  /** Key of the state in production's state bucket. */
  readonly stateKey: string;
  /** Bucket of reviewed plans. */
  readonly planBundleBucket: string;
  /** Days after which a reviewed plan is gone. A plan that old is stale anyway. */
  readonly planBundleRetentionDays: number;
  readonly github: GithubConfiguration;
}

/** What the CI roles trust: environments and workflow files of the repository. */
export interface GithubConfiguration {
  /** Branch whose workflows are trusted. */
  readonly defaultBranch: string;
  /** GitHub environments of the jobs that plan and apply, by our environment's name. */
  readonly environments: Readonly<Record<string, { readonly plan: string; readonly apply: string }>>;
  /** GitHub environment of the jobs that publish images and static files. */
  readonly publishEnvironment: string;
  /** Reusable workflow whose job plans one stack with credentials. Called at the default branch, so that no pull request can change it. */
  readonly planWorkflow: string;
  /** Reusable workflow whose job applies one reviewed plan. */
  readonly applyWorkflow: string;
  /** Workflows whose jobs push images. */
  readonly imageWorkflows: readonly string[];
  /** Workflow whose job uploads the frontend's static files. */
  readonly frontendWorkflow: string;
}

/** The one bootstrap stack of the account. */
export const bootstrap: BootstrapConfiguration = {
  stateBackend: "local",
  localStatePath: "../../../bootstrap/terraform.tfstate",
  stateKey: "bootstrap/terraform.tfstate",
  planBundleBucket: "urr-plan-bundles",
  planBundleRetentionDays: 14,
  github: {
    defaultBranch: "main",
    environments: {
      staging: { plan: "staging-plan", apply: "staging" },
      prod: { plan: "production-plan", apply: "production" },
    },
    publishEnvironment: "publish",
    planWorkflow: "infra-plan-stack.yml",
    applyWorkflow: "infra-apply-stack.yml",
    imageWorkflows: ["reusable-spring-ci-cd.yml", "frontend-ci-cd.yml"],
    frontendWorkflow: "frontend-ci-cd.yml",
  },
};
