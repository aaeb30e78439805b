import { DynamodbTable } from "@cdktf/provider-aws/lib/dynamodb-table";
import type { Construct } from "constructs";
import { AlarmSet } from "../../lib/alarms";
import type { Grantee } from "../../lib/iam";
import type { EncryptionKey } from "../../lib/kms";
import { physicalName } from "../../lib/naming";
import { enforce, type Rule } from "../../lib/rules";
import { Module } from "../../lib/terraform-modules";

/** Properties of {@link DynamodbVwr}. */
export interface DynamodbVwrProps {
  /** Start of every name, such as `urr-prod`. */
  readonly prefix: string;
  /** Whether the tables can be restored to any second of the recovery period. Source: Infra analysis §2-10 (prod on, staging off). */
  readonly pointInTimeRecovery: boolean;
  /** Days to which a table can be restored: 1 to 35. @default 35 (AWS architecture §5.8) */
  readonly recoveryPeriodDays?: number;
  /**
   * Key that encrypts the tables. DynamoDB asks KMS for a table's key once in five minutes per caller, so a rush of
   * visitors costs no call of its own. @default a key that AWS owns
   */
  readonly key?: EncryptionKey;
  /** Whether AWS refuses to delete the tables. @default false */
  readonly deletionProtection?: boolean;
}

/** What can be granted: the items of either table. Nothing reads the index, so nobody is granted it. */
export type VwrItems = "counters" | "positions";

/** What may be done with items, in DynamoDB's words. */
export type ItemAction = "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" | "Query" | "Scan";

/** Index of the positions table. Rows carry its sort key only where something reads it: a row in it costs a second write. */
const POSITION_INDEX = "eventId-position-index";
const DEFAULT_RECOVERY_PERIOD_DAYS = 35;
const ALARM_PERIOD_SECONDS = 60;

const RULES: readonly Rule<DynamodbVwrProps>[] = [
  {
    property: "recoveryPeriodDays",
    given: ({ recoveryPeriodDays = DEFAULT_RECOVERY_PERIOD_DAYS }) => recoveryPeriodDays,
    valid: ({ recoveryPeriodDays = DEFAULT_RECOVERY_PERIOD_DAYS }) =>
      Number.isInteger(recoveryPeriodDays) && recoveryPeriodDays >= 1 && recoveryPeriodDays <= 35,
    allowed: "1 to 35 days",
    remedy: "DynamoDB keeps no longer history; export the table to S3 for more.",
  },
];

/**
 * The waiting room's tables: one item (or several, by a suffix of the key's value) of counters per event, and one row per
 * visitor that expires by itself. On demand; warm throughput before a sale is raised by the operator's preflight, because
 * the provider does not know the setting and Terraform would not lower it again.
 * Source: Infra analysis §2-10 "DynamoDB", AWS architecture §5.8, Architecture guide §8.7.
 */
export class DynamodbVwr extends Module {
  readonly countersTableName: string;
  readonly countersTableArn: string;
  readonly positionsTableName: string;
  readonly positionsTableArn: string;
  /** Reads and writes that DynamoDB refused for load, per table and for the index. */
  readonly alarms: AlarmSet;

  private readonly props: DynamodbVwrProps;

  constructor(scope: Construct, id: string, props: DynamodbVwrProps) {
    super(scope, id);
    this.props = props;
    enforce(this, props, RULES);

    const counters = this.createCounters();
    const positions = this.createPositions();

    this.countersTableName = counters.name;
    this.countersTableArn = counters.arn;
    this.positionsTableName = positions.name;
    this.positionsTableArn = positions.arn;
    this.alarms = this.createAlarms();
  }

  /** Lets the grantee do exactly these things with the items, and use the key that encrypts them. */
  grant(grantee: Grantee, items: VwrItems, actions: readonly ItemAction[]): void {
    const { sid, resource } = {
      counters: { sid: "UseCounters", resource: this.countersTableArn },
      positions: { sid: "UsePositions", resource: this.positionsTableArn },
    }[items];
    grantee.addStatement({ sid, actions: actions.map((action) => `dynamodb:${action}`), resources: [resource] });
    this.props.key?.grantEncryptDecrypt(grantee);
  }

  private createCounters(): DynamodbTable {
    return new DynamodbTable(this, "dynamodb_table.counters", {
      ...this.commonSettings("vwr-counters"),
      hashKey: "eventId",
      attribute: [{ name: "eventId", type: "S" }],
    });
  }

  private createPositions(): DynamodbTable {
    return new DynamodbTable(this, "dynamodb_table.positions", {
      ...this.commonSettings("vwr-positions"),
      hashKey: "eventId",
      rangeKey: "requestId",
      attribute: [
        { name: "eventId", type: "S" },
        { name: "requestId", type: "S" },
        { name: "position", type: "N" },
      ],
      globalSecondaryIndex: [{ name: POSITION_INDEX, hashKey: "eventId", rangeKey: "position", projectionType: "ALL" }],
      ttl: { attributeName: "ttl", enabled: true },
    });
  }

  private commonSettings(name: string) {
    const { deletionProtection = false, key, pointInTimeRecovery, prefix, recoveryPeriodDays } = this.props;
    return {
      name: physicalName(this, "table", `${prefix}-${name}`),
      billingMode: "PAY_PER_REQUEST",
      deletionProtectionEnabled: deletionProtection,
      pointInTimeRecovery: {
        enabled: pointInTimeRecovery,
        ...(pointInTimeRecovery && { recoveryPeriodInDays: recoveryPeriodDays ?? DEFAULT_RECOVERY_PERIOD_DAYS }),
      },
      ...(key && { serverSideEncryption: { enabled: true, kmsKeyArn: key.keyArn } }),
    };
  }

  private createAlarms(): AlarmSet {
    const { prefix } = this.props;
    const alarms = new AlarmSet(this);
    const add = (id: string, what: string, metricName: string, dimensions: Record<string, string>) =>
      alarms.add(`${id}_throttles`, {
        name: `${prefix}-vwr-${id.replaceAll("_", "-")}-throttles`,
        description: `DynamoDB refuses ${what}: visitors get 503 and try again. Raise the table's warm throughput, or look for a hot key.`,
        namespace: "AWS/DynamoDB",
        metricName,
        dimensions,
        statistic: "Sum",
        periodSeconds: ALARM_PERIOD_SECONDS,
        threshold: 0,
        comparison: "GreaterThanThreshold",
      });
    for (const [table, name] of [
      ["counters", this.countersTableName],
      ["positions", this.positionsTableName],
    ] as const) {
      add(`${table}_read`, `reads of the ${table} table`, "ReadThrottleEvents", { TableName: name });
      add(`${table}_write`, `writes to the ${table} table`, "WriteThrottleEvents", { TableName: name });
    }
    // An index that cannot keep up holds back the writes to its table.
    add("position_index_write", "writes to the index of positions", "WriteThrottleEvents", {
      TableName: this.positionsTableName,
      GlobalSecondaryIndexName: POSITION_INDEX,
    });
    return alarms;
  }
}
