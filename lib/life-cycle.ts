/** One version that this repository pins, and how long it will be supported. */
export interface PinnedVersion {
  /** What it is, in its maker's words. */
  readonly product: string;
  readonly version: string;
  /** Version that the documents name, where it is another. */
  readonly documented?: string;
  /** Last day of (standard) support, ISO date; absent where the maker has announced none. */
  readonly endOfSupport?: string;
  /** Page that says so. */
  readonly source: string;
}

/** Versions by the name under which modules and stacks use them. */
export const VERSIONS = {
  kubernetes: "1.35",
  postgresql: "16.14",
  redis: "7.1",
  kafka: "3.9.x",
  lambdaRuntime: "nodejs22.x",
} as const;
