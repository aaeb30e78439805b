/** Memory of the size `large`, GiB, by the letter of the family. Source: Amazon RDS, "Hardware specifications for DB instance classes". */
const LARGE_GIB: Readonly<Record<string, number>> = { t: 8, m: 8, r: 16 };
/** Memory of a size relative to `large` of the same family. */
const SIZE_FACTORS: Readonly<Record<string, number>> = {
  micro: 1 / 8,
  small: 1 / 4,
  medium: 1 / 2,
  large: 1,
  xlarge: 2,
  "2xlarge": 4,
  "4xlarge": 8,
  "8xlarge": 16,
  "12xlarge": 24,
  "16xlarge": 32,
  "24xlarge": 48,
};
const CLASS = /^db\.([a-z])\d+[a-z]*\.(\w+)$/;
/** Default `max_connections`: the memory by this, at most the limit. Source: Amazon RDS, "Maximum number of database connections". */
const BYTES_PER_CONNECTION = 9_531_392;
const MAX_CONNECTIONS = 5000;

/** Memory of an instance class in bytes, undefined for a class that is not known here. */
export function instanceMemoryBytes(instanceClass: string): number | undefined {
  const [, family = "", size = ""] = CLASS.exec(instanceClass) ?? [];
  const [large, factor] = [LARGE_GIB[family], SIZE_FACTORS[size]];
  return large === undefined || factor === undefined ? undefined : large * factor * 2 ** 30;
}

/** Connections that PostgreSQL on RDS takes with this much memory, unless its parameter group says otherwise. */
export function connectionLimit(memoryBytes: number): number {
  return Math.min(Math.floor(memoryBytes / BYTES_PER_CONNECTION), MAX_CONNECTIONS);
}
