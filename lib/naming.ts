import { Token } from "cdktf";
import type { Construct } from "constructs";
import { problem } from "./rules";

interface NameRule {
  readonly maxLength: number;
  readonly minLength?: number;
  readonly pattern: RegExp;
  /** The pattern in words. */
  readonly characters: string;
}

/**
 * What AWS allows in a name, per kind of resource. Sources: the "Quotas" and API reference page of each service
 * (ELBv2 CreateTargetGroup, ElastiCache CreateReplicationGroup, IAM CreateRole, S3 "Bucket naming rules", …).
 */
const NAME_RULES = {
  vpc: { maxLength: 255, pattern: /^.+$/, characters: "any" },
  role: { maxLength: 64, pattern: /^[\w+=,.@-]+$/, characters: "letters, digits and + = , . @ _ -" },
  policy: { maxLength: 128, pattern: /^[\w+=,.@-]+$/, characters: "letters, digits and + = , . @ _ -" },
  "instance profile": { maxLength: 128, pattern: /^[\w+=,.@-]+$/, characters: "letters, digits and + = , . @ _ -" },
  "security group": {
    maxLength: 255,
    pattern: /^(?!sg-)[\w .:/()#,@[\]+=&;{}!$*-]+$/,
    characters: "letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*, not starting with sg-",
  },
  secret: { maxLength: 512, pattern: /^[\w/+=.@-]+$/, characters: "letters, digits and / _ + = . @ -" },
  alias: {
    maxLength: 256,
    pattern: /^alias\/(?!aws\/)[\w/-]+$/,
    characters: "alias/ followed by letters, digits, / _ -",
  },
  cluster: { maxLength: 100, pattern: /^[0-9A-Za-z][\w-]*$/, characters: "letters, digits, _ and -" },
  "node group": { maxLength: 63, pattern: /^[0-9A-Za-z][\w-]*$/, characters: "letters, digits, _ and -" },
  "launch template": {
    maxLength: 128,
    minLength: 3,
    pattern: /^[\w()./-]+$/,
    characters: "letters, digits and ( ) . / _ -",
  },
  "db instance": {
    maxLength: 63,
    pattern: /^[a-z](?:-?[a-z0-9])*$/,
    characters: "lower-case letters, digits and single hyphens, starting with a letter",
  },
  "db subnet group": {
    maxLength: 255,
    pattern: /^[a-z0-9 ._-]+$/,
    characters: "lower-case letters, digits, spaces, . _ -",
  },
  "db parameter group": {
    maxLength: 255,
    pattern: /^[a-z](?:-?[a-z0-9.])*$/,
    characters: "lower-case letters, digits, dots and single hyphens",
  },
  "db proxy": {
    maxLength: 63,
    pattern: /^[A-Za-z](?:-?[A-Za-z0-9])*$/,
    characters: "letters, digits and single hyphens, starting with a letter",
  },
  "replication group": {
    maxLength: 40,
    pattern: /^[a-z](?:-?[a-z0-9])*$/,
    characters: "lower-case letters, digits and single hyphens, starting with a letter",
  },
  "cache subnet group": {
    maxLength: 255,
    pattern: /^[a-z0-9-]+$/,
    characters: "lower-case letters, digits and hyphens",
  },
  "cache parameter group": {
    maxLength: 255,
    pattern: /^[a-z](?:-?[a-z0-9])*$/,
    characters: "lower-case letters, digits and single hyphens",
  },
  "kafka cluster": { maxLength: 64, pattern: /^[0-9A-Za-z-]+$/, characters: "letters, digits and hyphens" },
  "kafka configuration": {
    maxLength: 64,
    pattern: /^[0-9A-Za-z][0-9A-Za-z-]*$/,
    characters: "letters, digits and hyphens",
  },
  "load balancer": {
    maxLength: 32,
    pattern: /^(?!internal-)[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?$/,
    characters: "letters, digits and inner hyphens, not starting with internal-",
  },
  "target group": {
    maxLength: 32,
    pattern: /^[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?$/,
    characters: "letters, digits and inner hyphens",
  },
  bucket: {
    maxLength: 63,
    minLength: 3,
    pattern: /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/,
    characters: "lower-case letters, digits and inner hyphens",
  },
  queue: {
    maxLength: 80,
    pattern: /^[\w-]+(?:\.fifo)?$/,
    characters: "letters, digits, _ and -, ending in .fifo for a FIFO queue",
  },
  table: { maxLength: 255, minLength: 3, pattern: /^[\w.-]+$/, characters: "letters, digits, _ . -" },
  function: { maxLength: 64, pattern: /^[\w-]+$/, characters: "letters, digits, _ and -" },
  "cloudfront function": { maxLength: 64, pattern: /^[\w-]+$/, characters: "letters, digits, _ and -" },
  "cloudfront policy": { maxLength: 128, pattern: /^[\w-]+$/, characters: "letters, digits, _ and -" },
  "origin access control": { maxLength: 64, pattern: /^.+$/, characters: "any" },
  "log group": { maxLength: 512, pattern: /^[\w./#-]+$/, characters: "letters, digits and _ . / # -" },
  alarm: { maxLength: 255, pattern: /^.+$/, characters: "any" },
  topic: { maxLength: 256, pattern: /^[\w-]+$/, characters: "letters, digits, _ and -" },
  "event rule": { maxLength: 64, pattern: /^[\w.-]+$/, characters: "letters, digits, _ . -" },
  "web acl": { maxLength: 128, pattern: /^[\w-]+$/, characters: "letters, digits, _ and -" },
  "rest api": { maxLength: 1024, pattern: /^.+$/, characters: "any" },
  repository: {
    maxLength: 256,
    minLength: 2,
    pattern: /^[a-z0-9]+(?:[._/-][a-z0-9]+)*$/,
    characters: "lower-case letters, digits and single . _ / -",
  },
  workspace: { maxLength: 100, pattern: /^.+$/, characters: "any" },
  "grafana workspace": { maxLength: 255, pattern: /^[\w.~-]+$/, characters: "letters, digits and . _ ~ -" },
} as const satisfies Record<string, NameRule>;

/** Kinds of resource whose names are checked. */
export type NameKind = keyof typeof NAME_RULES;

/** The longest name that AWS takes for this kind, in characters. */
export function maxNameLength(kind: NameKind): number {
  return NAME_RULES[kind].maxLength;
}

/**
 * A physical name for AWS. Returns it unchanged and lets the synth fail, together with everything else that is wrong,
 * where AWS would refuse it at apply.
 */
export function physicalName(scope: Construct, kind: NameKind, name: string): string {
  scope.node.addValidation({ validate: () => nameProblems(kind, name) });
  return name;
}

/** The problems of a name, none if AWS takes it. */
export function nameProblems(kind: NameKind, name: string): string[] {
  if (Token.isUnresolved(name)) return [];
  const rule: NameRule = NAME_RULES[kind];
  const problems: string[] = [];
  const minLength = rule.minLength ?? 1;
  if (name.length > rule.maxLength || name.length < minLength) {
    problems.push(
      problem(
        `name of the ${kind}`,
        `${name} (${name.length} characters)`,
        `${minLength} to ${rule.maxLength} characters`,
        "Shorten the environment's prefix or the part that follows it.",
      ),
    );
  }
  if (!rule.pattern.test(name)) {
    problems.push(
      problem(
        `name of the ${kind}`,
        name,
        rule.characters,
        "Change the environment's prefix or the part that follows it.",
      ),
    );
  }
  return problems;
}
