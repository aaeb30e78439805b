import type { ITerraformDependable } from "cdktf";
import type { Grantee } from "./iam";

/** A customer-managed key, as modules that encrypt with it see it. */
export interface EncryptionKey {
  readonly keyArn: string;
  /** The key policy that lets CloudWatch Logs use the key: log groups are refused before it is in place, and Terraform cannot see that. */
  readonly logsPermission: ITerraformDependable;
  /** Lets the grantee decrypt what the key encrypted. */
  grantDecrypt(grantee: Grantee): void;
  /** Lets the grantee encrypt and decrypt. */
  grantEncryptDecrypt(grantee: Grantee): void;
}
