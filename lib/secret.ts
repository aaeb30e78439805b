import type { ITerraformDependable } from "cdktf";
import type { Grantee } from "./iam";

/** A secret of Secrets Manager, as modules that use it see it. */
export interface Secret {
  readonly secretArn: string;
  /** Name, without the suffix that AWS adds to the ARN. */
  readonly secretName: string;
  /** The generated password or token itself: a sensitive value that lands in Terraform's state; use it only where AWS takes nothing else. */
  readonly value: string;
  /** The version that holds the value: name it in `dependsOn` where AWS reads the secret at creation. */
  readonly version: ITerraformDependable;
  /** Lets the grantee read the current and previous value, and use the key it is encrypted with. */
  grantRead(grantee: Grantee): void;
}
