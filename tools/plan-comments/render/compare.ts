import { createHash } from "node:crypto";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { withoutKeys } from "./configuration";
import { compareText, type Item, isEmptyReport, KINDS, type Kind, type Report } from "./model";
import { isList, isObject, type Json } from "./plan";

/** What a comment remembers of the plan it showed, so that the next one can say what changed since. */
export interface Remembered {
  /** Address (with a deposed key) to action and a digest of the redacted diff. */
  readonly changes: ReadonlyMap<string, { readonly kind: Kind; readonly digest: string }>;
  readonly head?: string;
}

/** Since the last plan of the same pull request. */
export interface Delta {
  readonly since?: string;
  readonly added: readonly string[];
  readonly gone: readonly string[];
  readonly changed: readonly string[];
  readonly same: number;
}

/** A digest of what is shown of a change; never of what is hidden, which could be guessed from it. */
const digestOf = (item: Item): string =>
  createHash("sha256")
    .update(JSON.stringify([item.kind, item.previousAddress ?? "", item.importId ?? "", item.diff.lines]))
    .digest("base64url")
    .slice(0, 8);

const keyOf = (item: Item): string => (item.deposed === undefined ? item.address : `${item.address} (deposed)`);

export function remember(report: Report, head?: string): Remembered {
  const changes = new Map(
    report.items
      .filter((item) => item.kind !== "read")
      .map((item) => [keyOf(item), { kind: item.kind, digest: digestOf(item) }]),
  );
  return { changes, ...(head === undefined ? {} : { head }) };
}

/** Longest memory that a comment carries; a larger plan is not compared with its predecessor. */
const LONGEST_MEMORY = 8_000;

/** Changes beyond which a memory would certainly be too long. */
export const MOST_REMEMBERED = 1_500;

/** The memory as text for a hidden comment, or undefined where it would be too long. */
export function packMemory(memory: Remembered): string | undefined {
  const rows = [...memory.changes].map(([address, { kind, digest }]) => [
    address,
    KINDS.indexOf(kind as (typeof KINDS)[number]),
    digest,
  ]);
  const text = deflateRawSync(JSON.stringify([1, memory.head ?? "", rows]), { level: 9 }).toString("base64url");
  return text.length <= LONGEST_MEMORY ? text : undefined;
}

/** Reads a memory back; anything that is not one is as good as none. */
export function unpackMemory(text: string): Remembered | undefined {
  try {
    const raw: unknown = JSON.parse(
      inflateRawSync(Buffer.from(text, "base64url"), { maxOutputLength: 4_000_000 }).toString(),
    );
    if (!Array.isArray(raw) || raw[0] !== 1 || !Array.isArray(raw[2])) return undefined;
    const changes = new Map<string, { kind: Kind; digest: string }>();
    for (const row of raw[2] as unknown[]) {
      if (!Array.isArray(row) || typeof row[0] !== "string" || typeof row[2] !== "string") return undefined;
      changes.set(row[0], { kind: KINDS[row[1] as number] ?? "unknown", digest: row[2] });
    }
    const head = typeof raw[1] === "string" && /^[0-9a-f]{7,64}$/.test(raw[1]) ? raw[1] : undefined;
    return { changes, ...(head === undefined ? {} : { head }) };
  } catch {
    return undefined;
  }
}

export function deltaOf(before: Remembered, after: Remembered): Delta {
  const added = [...after.changes.keys()].filter((address) => !before.changes.has(address));
  const gone = [...before.changes.keys()].filter((address) => !after.changes.has(address));
  const changed = [...after.changes].flatMap(([address, { kind, digest }]) => {
    const old = before.changes.get(address);
    return old && (old.kind !== kind || old.digest !== digest) ? [address] : [];
  });
  return {
    ...(before.head === undefined ? {} : { since: before.head }),
    added: added.sort(compareText),
    gone: gone.sort(compareText),
    changed: changed.sort(compareText),
    same: after.changes.size - added.length - changed.length,
  };
}

/** What a plan does, without values: enough to tell another stack's comment of it. */
export interface Outline {
  readonly stack: string;
  readonly changes: boolean;
  readonly items: readonly OutlineItem[];
}

export interface OutlineItem {
  readonly address: string;
  readonly kind: Kind;
  /** Equal for changes that do the same to the same attributes. */
  readonly shape: string;
}

export function outlineOf(report: Report): Outline {
  const shape = ({ kind, diff }: Item) =>
    kind === "create" || kind === "delete"
      ? kind
      : JSON.stringify([kind, [...new Set(diff.changed.map(withoutKeys))].sort(compareText)]);
  return {
    stack: report.stack,
    changes: !isEmptyReport(report),
    items: report.items
      .filter((item) => item.kind !== "read")
      .map((item) => ({ address: keyOf(item), kind: item.kind, shape: shape(item) })),
  };
}

/** Reads an outline that another job wrote; undefined for anything else. */
export function readOutline(raw: Json | undefined): Outline | undefined {
  if (!isObject(raw) || typeof raw.stack !== "string" || !isList(raw.items)) return undefined;
  const items = raw.items.flatMap((item) => {
    if (!isObject(item) || typeof item.address !== "string" || typeof item.shape !== "string") return [];
    const kind = KINDS.find((known) => known === item.kind) ?? "unknown";
    return [{ address: item.address, kind, shape: item.shape }];
  });
  return { stack: raw.stack, changes: raw.changes === true, items };
}

/** Two environments of one system, side by side. */
export interface Comparison {
  readonly left: string;
  readonly right: string;
  readonly same: number;
  readonly onlyLeft: readonly OutlineItem[];
  readonly onlyRight: readonly OutlineItem[];
  /** Changed in both, but not in the same way. */
  readonly different: readonly OutlineItem[];
}

/**
 * Compares what two stacks would change. Two changes are the same if they do the same to the same address and touch the
 * same attributes; values may differ, since sizes and names do between environments.
 */
export function compareStacks(left: Outline, right: Outline): Comparison {
  const index = (outline: Outline) => new Map(outline.items.map((item) => [item.address, item]));
  const [a, b] = [index(left), index(right)];
  const onlyLeft: OutlineItem[] = [];
  const different: OutlineItem[] = [];
  let same = 0;
  for (const [address, item] of a) {
    const other = b.get(address);
    if (!other) onlyLeft.push(item);
    else if (item.shape === other.shape) same++;
    else different.push(item);
  }
  const onlyRight = [...b].flatMap(([address, item]) => (a.has(address) ? [] : [item]));
  return { left: left.stack, right: right.stack, same, onlyLeft, onlyRight, different };
}

/**
 * Stacks so that each comes after what it depends on; those that do not depend on each other by name, production last.
 *
 * @throws Error for a circle, naming it
 */
export function inDependencyOrder(dependencies: Readonly<Record<string, readonly string[]>>): readonly string[] {
  const order: string[] = [];
  const visit = (stack: string, path: readonly string[]) => {
    if (order.includes(stack)) return;
    if (path.includes(stack))
      throw new Error(`stacks depend on each other in a circle: ${[...path, stack].join(" → ")}`);
    for (const needed of [...(dependencies[stack] ?? [])].sort(byTurn)) visit(needed, [...path, stack]);
    order.push(stack);
  };
  for (const stack of Object.keys(dependencies).sort(byTurn)) visit(stack, []);
  return order;
}

const byTurn = (a: string, b: string): number =>
  Number(a.includes("prod")) - Number(b.includes("prod")) || compareText(a, b);
