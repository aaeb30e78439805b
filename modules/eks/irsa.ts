import type { EksCluster } from "@cdktf/provider-aws/lib/eks-cluster";
import { IamOpenidConnectProvider } from "@cdktf/provider-aws/lib/iam-openid-connect-provider";
import { Fn, TerraformLocal } from "cdktf";
import type { Construct } from "constructs";
import { type OidcProvider, Role, trustServiceAccount } from "../../lib/iam";

/** A role that one Kubernetes service account assumes (IRSA). */
export interface ServiceRoleProps {
  readonly namespace: string;
  /** Name of the service account; the pod gets the role by the account's annotation `eks.amazonaws.com/role-arn`. */
  readonly serviceAccount: string;
  /** Name of the role, at most 64 characters. Replacing it destroys the role. */
  readonly name: string;
  readonly description: string;
  /** AWS managed policies by the name of their attachment, paths (`service-role/…`) included. @default none */
  readonly managedPolicies?: Readonly<Record<string, string>>;
}

/**
 * The cluster's identity provider, which makes its service accounts known to IAM. No thumbprint: IAM verifies the issuers
 * of EKS by its own list of certificate authorities. Source: Infra analysis §2-2 "OIDC Provider (IRSA)".
 */
export function createOidcProvider(scope: Construct, cluster: EksCluster): OidcProvider {
  const issuerUrl = cluster.identity.get(0).oidc.get(0).issuer;
  const provider = new IamOpenidConnectProvider(scope, "iam_openid_connect_provider.main", {
    url: issuerUrl,
    clientIdList: ["sts.amazonaws.com"],
  });
  const issuer = new TerraformLocal(scope, "oidc_issuer", Fn.replace(issuerUrl, "https://", ""));
  return { providerArn: provider.arn, issuer: issuer.asString };
}

/** Makes a role for one service account. What it may do beyond its managed policies is granted on it. */
export function createServiceRole(scope: Construct, oidc: OidcProvider, id: string, props: ServiceRoleProps): Role {
  const { description, managedPolicies, name, namespace, serviceAccount } = props;
  return new Role(scope, id, {
    name,
    description,
    trust: [trustServiceAccount(oidc, namespace, serviceAccount)],
    ...(managedPolicies && { managedPolicies }),
  });
}
