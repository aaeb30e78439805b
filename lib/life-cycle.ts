/** Versions by the name under which modules and stacks use them. */
export const VERSIONS = {
  kubernetes: "1.35",
  postgresql: "16.14",
  redis: "7.1",
  kafka: "3.9.x",
  lambdaRuntime: "nodejs22.x",
} as const;

/** One version that this repository pins, and how long it will be supported. */
export interface PinnedVersion {
  /** What it is, in its maker's words. */
  readonly product: string;
  readonly version: string;
  /** Version that the documents name, where it is another. */
  readonly documented?: string;
  /** Last day of standard support, as an ISO date; absent where the maker has announced none. */
  readonly endOfSupport?: string;
  /** Why a version without support is used all the same. */
  readonly accepted?: string;
  /** Page that says so. */
  readonly source: string;
}

/** Day on which somebody last compared the table with its sources, as an ISO date. */
export const LAST_REVIEW = "2026-11-21";

/** Days before the end of support at which it becomes a warning: time enough for an upgrade of a cluster or a database. */
export const WARNING_DAYS = 90;

/** Every pinned version that its maker will stop to support. Providers and packages follow the lock file and are not listed. */
export const PINNED_VERSIONS: readonly PinnedVersion[] = [
  {
    product: "Amazon EKS, Kubernetes",
    version: VERSIONS.kubernetes,
    documented: "1.31",
    endOfSupport: "2027-03-27",
    source: "Amazon EKS User Guide, Kubernetes release calendar",
  },
  {
    product: "Amazon RDS for PostgreSQL, major version",
    version: "16",
    endOfSupport: "2029-02-28",
    source: "Amazon RDS for PostgreSQL Release Notes, Release calendars",
  },
  {
    product: "Amazon RDS for PostgreSQL, minor version",
    version: VERSIONS.postgresql,
    documented: "16.4",
    source: "Amazon RDS for PostgreSQL Release Notes, Release calendars: no end announced",
  },
  {
    product: "Amazon ElastiCache, Redis OSS",
    version: VERSIONS.redis,
    source: "Amazon ElastiCache User Guide, Engine versions and upgrading: no end announced",
  },
  {
    product: "Amazon MSK, Apache Kafka",
    version: VERSIONS.kafka,
    documented: "3.6.0",
    source: "Amazon MSK Developer Guide, Supported Apache Kafka versions: no end announced",
  },
  {
    product: "AWS Lambda, Node.js runtime",
    version: VERSIONS.lambdaRuntime,
    documented: "nodejs20.x",
    endOfSupport: "2027-04-30",
    source: "AWS Lambda Developer Guide, Lambda runtimes",
  },
  {
    product: "CDK for Terraform",
    version: "0.21.0",
    endOfSupport: "2025-12-10",
    accepted:
      "Archived by its maker; its output is plain Terraform, and the community's fork takes the same code with an npm alias.",
    source: "Terraform documentation, CDK for Terraform, sunset notice",
  },
];

/** A version whose support has ended or will end soon, and the days that are left (negative once it has ended). */
export interface Expiring extends PinnedVersion {
  readonly daysLeft: number;
}

/** Versions without an acceptance whose support ends within the warning time after a day, the most urgent first. */
export function expiring(today: string): Expiring[] {
  return PINNED_VERSIONS.flatMap((version) => {
    if (version.endOfSupport === undefined || version.accepted !== undefined) return [];
    const daysLeft = Math.floor((Date.parse(version.endOfSupport) - Date.parse(today)) / 86_400_000);
    return daysLeft <= WARNING_DAYS ? [{ ...version, daysLeft }] : [];
  }).sort((left, right) => left.daysLeft - right.daysLeft);
}
