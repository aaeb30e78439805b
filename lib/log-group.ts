import { CloudwatchLogGroup } from "@cdktf/provider-aws/lib/cloudwatch-log-group";
import type { TerraformProvider } from "cdktf";
import type { Construct } from "constructs";
import type { EncryptionKey } from "./kms";
import { physicalName } from "./naming";

/** Properties of a log group. */
export interface LogGroupProps {
  /** Name, where whoever writes to it expects it. Replacing it destroys the logs. */
  readonly name: string;
  /** Encrypts the logs; a key of the group's own Region. @default encryption with a key of CloudWatch Logs */
  readonly key?: EncryptionKey | undefined;
  /** Days for which logs are kept. @default 365 */
  readonly retentionDays?: number;
  /** Provider of the group's Region, where that is not the stack's own. */
  readonly provider?: TerraformProvider;
}

const DEFAULT_RETENTION_DAYS = 365;

/**
 * Makes `aws_cloudwatch_log_group.<id>`. Whatever writes to it is made after it: services make a missing group themselves,
 * unencrypted and kept for ever, and the next apply then fails because the name is taken.
 */
export function createLogGroup(scope: Construct, id: string, props: LogGroupProps): CloudwatchLogGroup {
  const { key, name, provider, retentionDays = DEFAULT_RETENTION_DAYS } = props;
  return new CloudwatchLogGroup(scope, `cloudwatch_log_group.${id}`, {
    name: physicalName(scope, "log group", name),
    retentionInDays: retentionDays,
    // CloudWatch Logs refuses a key whose policy does not name it yet.
    ...(key && { kmsKeyId: key.keyArn, dependsOn: [key.logsPermission] }),
    ...(provider && { provider }),
  });
}
