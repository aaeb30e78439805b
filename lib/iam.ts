import { IamRole } from "@cdktf/provider-aws/lib/iam-role";
import { IamRolePolicy } from "@cdktf/provider-aws/lib/iam-role-policy";
import { IamRolePolicyAttachment } from "@cdktf/provider-aws/lib/iam-role-policy-attachment";
import { Lazy } from "cdktf";
import type { Construct } from "constructs";
import { physicalName } from "./naming";

/** Condition block of a policy statement: operator, then key, then values. */
export type Conditions = Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;

/** Who a statement of a resource or trust policy speaks of. */
export interface Principals {
  /** Service principals, such as `lambda.amazonaws.com`. */
  readonly services?: readonly string[];
  /** Account, role or user ARNs, or `*`. */
  readonly aws?: readonly string[];
  /** Identity providers, such as the ARN of a cluster's OIDC provider. */
  readonly federated?: readonly string[];
}

/** One statement of a policy. */
export interface Statement {
  /** Statement id: letters and digits; says what the statement is for. */
  readonly sid: string;
  /** @default "Allow" */
  readonly effect?: "Allow" | "Deny";
  readonly actions: readonly string[];
  /** Omitted in trust policies. */
  readonly resources?: readonly string[];
  /** Only in resource and trust policies. */
  readonly principals?: Principals;
  readonly conditions?: Conditions;
}

/** Whoever permissions can be granted to. */
export interface Grantee {
  /** Adds a statement to the grantee's own policy. */
  addStatement(statement: Statement): void;
}

/**
 * A policy whose statements are collected while the tree is built and rendered when it is synthesized. What was granted twice
 * is in it once, and every statement id once, numbered if need be: IAM refuses a policy that repeats one.
 */
export class PolicyDocument implements Grantee {
  private readonly statements: Statement[] = [];

  constructor(statements: readonly Statement[] = []) {
    this.statements.push(...statements);
  }

  /** Adds a statement. */
  addStatement(statement: Statement): void {
    this.statements.push(statement);
  }

  /** Whether there is nothing in it yet. */
  get isEmpty(): boolean {
    return this.statements.length === 0;
  }

  /** The policy as JSON text, complete only at synth. */
  get json(): string {
    // Resolved first: two references to one attribute are two different tokens until then.
    return Lazy.stringValue({ produce: (context) => policyJson(distinct(context.resolve(this.statements))) });
  }
}

/** Each statement once; a second one under the same id gets a number. */
function distinct(statements: readonly Statement[]): Statement[] {
  const once = [...new Map(statements.map((statement) => [JSON.stringify(statement), statement])).values()];
  const uses = new Map<string, number>();
  return once.map((statement) => {
    const use = (uses.get(statement.sid) ?? 0) + 1;
    uses.set(statement.sid, use);
    return use === 1 ? statement : { ...statement, sid: `${statement.sid}${use}` };
  });
}

/** The policy as JSON text, now. */
export function policyJson(statements: readonly Statement[]): string {
  return JSON.stringify({
    Version: "2012-10-17",
    Statement: statements.map(({ sid, effect = "Allow", actions, resources, principals, conditions }) => ({
      Sid: sid,
      Effect: effect,
      ...(principals && { Principal: renderPrincipals(principals) }),
      Action: oneOrMany(actions),
      ...(resources && { Resource: oneOrMany(resources) }),
      ...(conditions && { Condition: conditions }),
    })),
  });
}

/** Properties of {@link Role}. */
export interface RoleProps {
  /** Name of the role, at most 64 characters. Replacing it destroys the role. */
  readonly name: string;
  readonly description: string;
  /** Services that may assume the role. Give this or `trust`. */
  readonly assumedByServices?: readonly string[];
  /** Trust policy, where a list of services does not say enough (OIDC, conditions). */
  readonly trust?: readonly Statement[];
  /** AWS managed policies by the name of their attachment: `{ worker: "AmazonEKSWorkerNodePolicy" }`. Paths (`service-role/…`) included. */
  readonly managedPolicies?: Readonly<Record<string, string>>;
}

/**
 * An IAM role with one inline policy that collects what is granted to it. Makes its resources in the given scope:
 * `aws_iam_role.<id>`, `aws_iam_role_policy.<id>` and `aws_iam_role_policy_attachment.<id>_<name>`.
 */
export class Role implements Grantee {
  readonly roleArn: string;
  readonly roleName: string;
  /** Everything that must exist before the role is of use: name it where AWS needs the permissions at creation. */
  readonly attachments: readonly IamRolePolicyAttachment[];
  private readonly role: IamRole;
  private readonly policy = new PolicyDocument();
  private policyResource?: IamRolePolicy;

  constructor(
    private readonly scope: Construct,
    private readonly id: string,
    props: RoleProps,
  ) {
    this.role = new IamRole(scope, `iam_role.${id}`, {
      name: physicalName(scope, "role", props.name),
      description: props.description,
      assumeRolePolicy: policyJson(props.trust ?? [trustServices(props.assumedByServices ?? [])]),
    });
    this.roleArn = this.role.arn;
    this.roleName = this.role.name;
    this.attachments = Object.entries(props.managedPolicies ?? {}).map(
      ([name, policy]) =>
        new IamRolePolicyAttachment(scope, `iam_role_policy_attachment.${id}_${name}`, {
          role: this.role.name,
          policyArn: `arn:aws:iam::aws:policy/${policy}`,
        }),
    );
  }

  /** Adds a statement to the role's inline policy; the policy exists only once something was granted. */
  addStatement(statement: Statement): void {
    this.policy.addStatement(statement);
    this.policyResource ??= new IamRolePolicy(this.scope, `iam_role_policy.${this.id}`, {
      name: "permissions",
      role: this.role.name,
      policy: this.policy.json,
    });
  }

  /**
   * The role with its policies: what `dependsOn` must name where AWS checks permissions at creation. It knows the inline policy
   * only once something was granted: ask after the grants, or lazily.
   */
  get dependables(): (IamRole | IamRolePolicy | IamRolePolicyAttachment)[] {
    return [this.role, ...this.attachments, ...(this.policyResource ? [this.policyResource] : [])];
  }
}

/** For resource policies: whoever speaks to the resources without TLS is refused, whatever else allows it. */
export function refusePlainText(actions: readonly string[], resources: readonly string[]): Statement {
  return {
    sid: "RefusePlainText",
    effect: "Deny",
    principals: { aws: ["*"] },
    actions,
    resources,
    conditions: { Bool: { "aws:SecureTransport": "false" } },
  };
}

/** Trust of a list of service principals. */
export function trustServices(services: readonly string[], conditions?: Conditions): Statement {
  return {
    sid: "AssumeRole",
    actions: ["sts:AssumeRole"],
    principals: { services },
    ...(conditions && { conditions }),
  };
}

/** An OIDC provider of a cluster, as far as trust policies need it. */
export interface OidcProvider {
  readonly providerArn: string;
  /** Issuer without `https://`. */
  readonly issuer: string;
}

/** Trust of one Kubernetes service account (IRSA), pinned to its namespace, name and audience. */
export function trustServiceAccount(oidc: OidcProvider, namespace: string, serviceAccount: string): Statement {
  return {
    sid: "AssumeRoleWithWebIdentity",
    actions: ["sts:AssumeRoleWithWebIdentity"],
    principals: { federated: [oidc.providerArn] },
    conditions: {
      StringEquals: {
        [`${oidc.issuer}:aud`]: "sts.amazonaws.com",
        [`${oidc.issuer}:sub`]: `system:serviceaccount:${namespace}:${serviceAccount}`,
      },
    },
  };
}

function renderPrincipals({ services, aws, federated }: Principals): unknown {
  if (aws?.length === 1 && aws[0] === "*") return "*";
  return {
    ...(services && { Service: oneOrMany(services) }),
    ...(aws && { AWS: oneOrMany(aws) }),
    ...(federated && { Federated: oneOrMany(federated) }),
  };
}

function oneOrMany(values: readonly string[]): string | readonly string[] {
  return values.length === 1 && values[0] !== undefined ? values[0] : values;
}
