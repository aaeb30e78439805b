import type { ITerraformDependable } from "cdktf";
import type { Construct } from "constructs";
import { createRelease } from "../../lib/helm";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link Databases}. */
export interface DatabasesProps {
  readonly namespace: string;
  readonly region: string;
  /** Image with `psql` and `bash`. */
  readonly image: string;
  /** Host of the databases: the proxy, which knows the master user. */
  readonly host: string;
  /** Role of the job: it alone reads the master user's credentials. */
  readonly roleArn: string;
  /** Name of the master user's secret. */
  readonly masterSecretName: string;
  readonly databases: readonly { readonly name: string; readonly user: string; readonly secret: string }[];
  readonly dependsOn?: ITerraformDependable[];
}

/**
 * Job that makes the databases, which RDS does not, and the users that own them. Source: Infra analysis §2-3 "데이터베이스 구성",
 * Architecture guide §8.1.
 */
export class Databases extends Module {
  constructor(scope: Construct, id: string, props: DatabasesProps) {
    super(scope, id);
    const { databases, dependsOn = [], host, image, masterSecretName, namespace, region, roleArn } = props;
    createRelease(this, "bootstrap", {
      name: "database-bootstrap",
      namespace,
      chart: { name: "database-bootstrap" },
      values: { image, host, region, roleArn, masterSecret: masterSecretName, databases },
      waitForJobs: true,
      dependsOn,
    });
  }
}
