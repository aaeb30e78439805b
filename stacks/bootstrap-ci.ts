import { IamOpenidConnectProvider } from "@cdktf/provider-aws/lib/iam-openid-connect-provider";
import { Construct } from "constructs";
import type { GithubConfiguration } from "../environments/bootstrap";
import type { Environment } from "../environments/environment";
import { Role, type Statement } from "../lib/iam";
import type { LockTable, PlanBundles } from "./bootstrap-state";

/** Properties of {@link CiRoles}. */
export interface CiRolesProps {
  readonly accountId: string;
  readonly region: string;
  /** `owner/name` of the repository whose workflows are trusted. */
  readonly repository: string;
  readonly environments: readonly Environment[];
  readonly lockTable: LockTable;
  readonly bundles: PlanBundles;
  readonly github: GithubConfiguration;
  /** Keys of the states that the CI plans and applies, in the environment's bucket. */
  readonly stateKeysOf: (environment: Environment) => readonly string[];
}

/** A role that CI jobs assume. */
export interface CiRole {
  readonly roleArn: string;
  readonly description: string;
}

/** Where a job must run to be trusted. */
interface TrustedJob {
  /** GitHub environment of the job. */
  readonly environment: string;
  /** Refs on which the run may be, with `*` for any name. */
  readonly refs: readonly string[];
  /** File of the workflow that defines the job, at the default branch. */
  readonly workflow: string;
}

const ISSUER = "token.actions.githubusercontent.com";
const AUDIENCE = "sts.amazonaws.com";
/** Namespace of the repositories of images. Source: Infra analysis §2-11 "ECR". */
const IMAGE_NAMESPACE = "urr";
/** Names of what this stack makes for the CI. */
const CI_PREFIX = "urr-ci";

/**
 * GitHub's identity provider and the roles that its jobs assume. AWS evaluates the token's `sub` and no other claim of GitHub's,
 * so the repository is set up to put repository, environment, ref and the defining workflow file into it, and the trust
 * policies name all four. How: docs/bootstrap.md. Source: Infra analysis §4-3; GitHub, "OpenID Connect reference".
 */
export class CiRoles extends Construct {
  /** Every role by the name of its output: `ci_plan_prod`, `ci_apply_prod`, `ci_images`, … */
  readonly byName: Readonly<Record<string, CiRole>>;

  private readonly providerArn: string;
  private readonly props: CiRolesProps;

  constructor(scope: Construct, id: string, props: CiRolesProps) {
    super(scope, id);
    this.props = props;
    const provider = new IamOpenidConnectProvider(this, "iam_openid_connect_provider.github", {
      url: `https://${ISSUER}`,
      clientIdList: [AUDIENCE],
    });
    this.providerArn = provider.arn;
    this.byName = {
      ...Object.fromEntries(
        props.environments.map((environment) => [`ci_plan_${environment.name}`, this.createPlanRole(environment)]),
      ),
      ...Object.fromEntries(
        props.environments.map((environment) => [`ci_apply_${environment.name}`, this.createApplyRole(environment)]),
      ),
      ci_images: this.createImageRole(),
      ci_frontend: this.createFrontendRole(),
    };
  }

  /** Reads configuration, and writes nothing but the lock of a state and the bundle of a plan. */
  private createPlanRole(environment: Environment): CiRole {
    const { accountId, bundles, github, lockTable, region } = this.props;
    const { name, prefix, state } = environment;
    const description = `Plans the stacks of ${name}`;
    const role = new Role(this, `plan_${name}`, {
      name: `${CI_PREFIX}-plan-${name}`,
      description,
      trust: [
        this.trust({
          environment: this.githubEnvironments(name).plan,
          // The workflow comes from the default branch even where it plans a pull request.
          refs: [`refs/heads/${github.defaultBranch}`, "refs/pull/*/merge"],
          workflow: github.planWorkflow,
        }),
      ],
      managedPolicies: { read_only: "ReadOnlyAccess" },
    });
    addAll(role, this.stateAccess(environment, ["s3:GetObject"]));
    role.addStatement({
      sid: "LockState",
      actions: ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"],
      resources: [lockTable.tableArn],
      conditions: { "ForAllValues:StringEquals": { "dynamodb:LeadingKeys": this.lockIds(environment) } },
    });
    role.addStatement({
      sid: "ReadDigests",
      actions: ["dynamodb:GetItem"],
      resources: [lockTable.tableArn],
      conditions: {
        "ForAllValues:StringEquals": { "dynamodb:LeadingKeys": this.lockIds(environment).map((id) => `${id}-md5`) },
      },
    });
    role.addStatement({ sid: "PutBundles", actions: ["s3:PutObject"], resources: [bundles.objectsOf(name)] });
    role.addStatement({ sid: "EncryptBundles", actions: ["kms:GenerateDataKey"], resources: [bundles.keyArn] });
    bundles.allowEncrypt(role.roleArn, name);
    // Terraform compares secrets with its state, so it has to read them: those of this environment, with its key.
    role.addStatement({
      sid: "RefreshSecrets",
      actions: ["secretsmanager:GetSecretValue"],
      resources: [`arn:aws:secretsmanager:${region}:${accountId}:secret:${prefix}/*`],
    });
    role.addStatement({
      sid: "DecryptSecrets",
      actions: ["kms:Decrypt"],
      resources: [`arn:aws:kms:${region}:${accountId}:key/*`],
      conditions: {
        StringEquals: { "kms:ViaService": `secretsmanager.${region}.amazonaws.com` },
        "ForAnyValue:StringEquals": { "kms:ResourceAliases": `alias/${prefix}` },
      },
    });
    addAll(role, this.refuseData());
    addAll(role, this.refuseOtherStates(environment));
    role.addStatement({
      sid: "RefuseReadingBundles",
      effect: "Deny",
      actions: ["s3:GetObject", "s3:GetObjectVersion"],
      resources: [`${bundles.bucketArn}/*`],
    });
    return { roleArn: role.roleArn, description: `${description}; its state is in ${state.bucket}` };
  }

  /** Changes an environment, and neither the other one nor what this stack made. */
  private createApplyRole(environment: Environment): CiRole {
    const { bundles, github, lockTable } = this.props;
    const { name, state } = environment;
    const description = `Applies reviewed plans of ${name}`;
    const role = new Role(this, `apply_${name}`, {
      name: `${CI_PREFIX}-apply-${name}`,
      description,
      trust: [
        this.trust({
          environment: this.githubEnvironments(name).apply,
          refs: [`refs/heads/${github.defaultBranch}`],
          workflow: github.applyWorkflow,
        }),
      ],
      managedPolicies: { power_user: "PowerUserAccess" },
    });
    addAll(role, this.stateAccess(environment, ["s3:GetObject", "s3:PutObject"]));
    role.addStatement({
      sid: "LockState",
      actions: ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:UpdateItem"],
      resources: [lockTable.tableArn],
    });
    role.addStatement({
      sid: "GetBundles",
      actions: ["s3:GetObject", "s3:GetObjectVersion"],
      resources: [bundles.objectsOf(name)],
    });
    role.addStatement({ sid: "DecryptBundles", actions: ["kms:Decrypt"], resources: [bundles.keyArn] });
    bundles.allowDecrypt(role.roleArn, name);
    role.addStatement(this.manageOwnIdentities(environment));
    role.addStatement({
      sid: "RefuseWritingBundles",
      effect: "Deny",
      actions: ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"],
      resources: [`${bundles.bucketArn}/*`],
    });
    addAll(role, this.refuseOtherStates(environment));
    addAll(role, this.refuseOtherEnvironments(environment));
    addAll(role, this.refuseFoundations());
    return { roleArn: role.roleArn, description: `${description}; its state is in ${state.bucket}` };
  }

  /** Pushes images. Source: Infra analysis §4-3, step 3. */
  private createImageRole(): CiRole {
    const { accountId, github, region } = this.props;
    const description = "Pushes images of the services";
    const role = new Role(this, "images", {
      name: `${CI_PREFIX}-images`,
      description,
      trust: [this.trust(...this.publishJobs(github.imageWorkflows))],
    });
    role.addStatement({ sid: "LogIn", actions: ["ecr:GetAuthorizationToken"], resources: ["*"] });
    role.addStatement({
      sid: "PushImages",
      actions: [
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:CompleteLayerUpload",
        "ecr:DescribeImages",
        "ecr:GetDownloadUrlForLayer",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
      ],
      resources: [`arn:aws:ecr:${region}:${accountId}:repository/${IMAGE_NAMESPACE}/*`],
    });
    return { roleArn: role.roleArn, description };
  }

  /** Uploads the frontend's hashed files: adds, never deletes, because pages in visitors' browsers still ask for the old ones. */
  private createFrontendRole(): CiRole {
    const { environments, github } = this.props;
    const description = "Uploads static files of the frontend";
    const buckets = environments.map(({ name, prefix }) => `arn:aws:s3:::${prefix}-frontend-${name}`);
    const role = new Role(this, "frontend", {
      name: `${CI_PREFIX}-frontend`,
      description,
      trust: [this.trust(...this.publishJobs([github.frontendWorkflow]))],
    });
    role.addStatement({
      sid: "UploadStaticFiles",
      actions: ["s3:PutObject", "s3:GetObject"],
      resources: buckets.map((bucket) => `${bucket}/_next/static/*`),
    });
    role.addStatement({ sid: "ListStaticFiles", actions: ["s3:ListBucket"], resources: buckets });
    return { roleArn: role.roleArn, description };
  }

  private publishJobs(workflows: readonly string[]): TrustedJob[] {
    const { github } = this.props;
    return workflows.map((workflow) => ({
      environment: github.publishEnvironment,
      refs: [`refs/heads/${github.defaultBranch}`],
      workflow,
    }));
  }

  /** Trust of GitHub jobs, each pinned to repository, environment, ref and defining workflow file. */
  private trust(...jobs: readonly TrustedJob[]): Statement {
    const { github, repository } = this.props;
    const subjects = jobs.flatMap(({ environment, refs, workflow }) =>
      refs.map(
        (ref) =>
          `repo:${repository}:environment:${environment}:ref:${ref}:job_workflow_ref:${repository}/.github/workflows/${workflow}@refs/heads/${github.defaultBranch}`,
      ),
    );
    const operator = subjects.some((subject) => subject.includes("*")) ? "StringLike" : "StringEquals";
    const subject = { [`${ISSUER}:sub`]: subjects };
    const audience = { [`${ISSUER}:aud`]: AUDIENCE };
    return {
      sid: "AssumeRoleFromPinnedJob",
      actions: ["sts:AssumeRoleWithWebIdentity"],
      principals: { federated: [this.providerArn] },
      conditions:
        operator === "StringEquals"
          ? { StringEquals: { ...audience, ...subject } }
          : { StringEquals: audience, StringLike: subject },
    };
  }

  private githubEnvironments(name: string): { readonly plan: string; readonly apply: string } {
    return this.props.github.environments[name] ?? { plan: `${name}-plan`, apply: name };
  }

  private stateAccess(environment: Environment, actions: readonly string[]): Statement[] {
    const bucketArn = `arn:aws:s3:::${environment.state.bucket}`;
    const objects = this.props.stateKeysOf(environment).map((key) => `${bucketArn}/${key}`);
    return [
      { sid: "FindState", actions: ["s3:ListBucket"], resources: [bucketArn] },
      { sid: "UseState", actions, resources: objects },
      {
        sid: "UseLockFile",
        actions: ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
        resources: objects.map((object) => `${object}.tflock`),
      },
    ];
  }

  /** Ids of the lock items of an environment's states. Source: Terraform, S3 backend: `<bucket>/<key>`. */
  private lockIds(environment: Environment): string[] {
    return this.props.stateKeysOf(environment).map((key) => `${environment.state.bucket}/${key}`);
  }

  private otherEnvironments({ name }: Environment): Environment[] {
    return this.props.environments.filter((other) => other.name !== name);
  }

  /** A plan compares configuration; visitors, messages and logs are none of its business. */
  private refuseData(): Statement[] {
    const { accountId, environments, region } = this.props;
    const prefixes = environments.map(({ prefix }) => prefix);
    return [
      {
        sid: "RefuseReadingTables",
        effect: "Deny",
        actions: [
          "dynamodb:GetItem",
          "dynamodb:BatchGetItem",
          "dynamodb:Query",
          "dynamodb:Scan",
          "dynamodb:PartiQLSelect",
        ],
        resources: prefixes.map((prefix) => `arn:aws:dynamodb:${region}:${accountId}:table/${prefix}-*`),
      },
      {
        sid: "RefuseReadingQueues",
        effect: "Deny",
        actions: ["sqs:ReceiveMessage"],
        resources: prefixes.map((prefix) => `arn:aws:sqs:${region}:${accountId}:${prefix}-*`),
      },
      {
        sid: "RefuseReadingLogs",
        effect: "Deny",
        actions: [
          "logs:FilterLogEvents",
          "logs:GetLogEvents",
          "logs:GetQueryResults",
          "logs:StartLiveTail",
          "logs:StartQuery",
        ],
        resources: ["*"],
      },
    ];
  }

  private refuseOtherStates(environment: Environment): Statement[] {
    const { lockTable } = this.props;
    const others = this.otherEnvironments(environment).map(({ state }) => state.bucket);
    return [
      {
        sid: "RefuseOtherStates",
        effect: "Deny",
        actions: ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject"],
        resources: [
          ...others.map((bucket) => `arn:aws:s3:::${bucket}/*`),
          `arn:aws:s3:::${environment.state.bucket}/bootstrap/*`,
        ],
      },
      {
        sid: "RefuseOtherLocks",
        effect: "Deny",
        actions: ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"],
        resources: [lockTable.tableArn],
        conditions: {
          "ForAnyValue:StringLike": {
            "dynamodb:LeadingKeys": [
              ...others.map((bucket) => `${bucket}/*`),
              `${environment.state.bucket}/bootstrap/*`,
            ],
          },
        },
      },
    ];
  }

  /** Roles, policies and profiles of the environment, and the identity provider of its cluster. Service-linked roles come with PowerUserAccess. */
  private manageOwnIdentities({ prefix }: Environment): Statement {
    const { accountId, region } = this.props;
    const identity = (path: string) => `arn:aws:iam::${accountId}:${path}`;
    return {
      sid: "ManageOwnIdentities",
      actions: [
        "iam:*Role",
        "iam:*RolePolicy",
        "iam:*RoleTags",
        "iam:ListRole*",
        "iam:ListAttachedRolePolicies",
        "iam:ListInstanceProfilesForRole",
        "iam:UpdateAssumeRolePolicy",
        "iam:UpdateRoleDescription",
        "iam:TagRole",
        "iam:UntagRole",
        "iam:*InstanceProfile",
        "iam:*Policy",
        "iam:*PolicyVersion",
        "iam:ListPolicyVersions",
        "iam:*OpenIDConnectProvider*",
      ],
      resources: [
        identity(`role/${prefix}-*`),
        identity(`policy/${prefix}-*`),
        identity(`instance-profile/${prefix}-*`),
        identity(`oidc-provider/oidc.eks.${region}.amazonaws.com/*`),
      ],
    };
  }

  /** What belongs to another environment: by its tag, and by name where a service does not look at tags. */
  private refuseOtherEnvironments(environment: Environment): Statement[] {
    const { accountId, region } = this.props;
    return this.otherEnvironments(environment).flatMap(({ name, prefix }): Statement[] => [
      {
        sid: `Refuse${name.charAt(0).toUpperCase()}${name.slice(1)}ByTag`,
        effect: "Deny",
        actions: ["*"],
        resources: ["*"],
        conditions: { StringEquals: { "aws:ResourceTag/Environment": name } },
      },
      {
        sid: `Refuse${name.charAt(0).toUpperCase()}${name.slice(1)}ByName`,
        effect: "Deny",
        actions: ["*"],
        resources: [
          `arn:aws:s3:::${prefix}-*`,
          `arn:aws:s3:::${prefix}-*/*`,
          `arn:aws:sqs:${region}:${accountId}:${prefix}-*`,
          `arn:aws:dynamodb:${region}:${accountId}:table/${prefix}-*`,
          `arn:aws:lambda:${region}:${accountId}:function:${prefix}-*`,
          `arn:aws:lambda:us-east-1:${accountId}:function:${prefix}-*`,
          `arn:aws:secretsmanager:${region}:${accountId}:secret:${prefix}/*`,
          `arn:aws:rds:${region}:${accountId}:db:${prefix}-*`,
          `arn:aws:kafka:${region}:${accountId}:cluster/${prefix}-*`,
          `arn:aws:eks:${region}:${accountId}:*/${prefix}-*`,
          `arn:aws:iam::${accountId}:role/${prefix}-*`,
        ],
      },
    ]);
  }

  /** What this stack made is changed by people, with this stack. */
  private refuseFoundations(): Statement[] {
    const { accountId, bundles, environments, lockTable } = this.props;
    const buckets = [...environments.map(({ state }) => `arn:aws:s3:::${state.bucket}`), bundles.bucketArn];
    return [
      {
        sid: "RefuseChangingTheCi",
        effect: "Deny",
        actions: ["iam:*"],
        resources: [`arn:aws:iam::${accountId}:role/${CI_PREFIX}-*`, this.providerArn],
      },
      {
        sid: "RefuseChangingStateStorage",
        effect: "Deny",
        actions: ["s3:DeleteBucket*", "s3:PutBucket*", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration"],
        resources: buckets,
      },
      {
        sid: "RefuseChangingLockTable",
        effect: "Deny",
        actions: [
          "dynamodb:DeleteTable",
          "dynamodb:UpdateTable",
          "dynamodb:UpdateContinuousBackups",
          "dynamodb:*ResourcePolicy",
        ],
        resources: [lockTable.tableArn],
      },
      {
        sid: "RefuseChangingBundleKey",
        effect: "Deny",
        actions: [
          "kms:PutKeyPolicy",
          "kms:CreateGrant",
          "kms:ScheduleKeyDeletion",
          "kms:DisableKey",
          "kms:DisableKeyRotation",
        ],
        resources: [bundles.keyArn],
      },
    ];
  }
}

function addAll(role: Role, statements: readonly Statement[]): void {
  for (const statement of statements) role.addStatement(statement);
}
