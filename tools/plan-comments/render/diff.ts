import { grouped, visible } from "./markdown";
import { isList, isObject, type Json, own } from "./plan";
import { isShownObject, JsonText, type Shown, Words } from "./redact";

export type Sign = "+" | "-" | "!" | "#";

/** One line of an attribute diff; the sign is also what GitHub colours the line by. */
export interface DiffLine {
  readonly sign: Sign;
  readonly text: string;
}

export interface AttributeDiff {
  readonly lines: readonly DiffLine[];
  /** Top-level attributes that really differ. */
  readonly changed: readonly string[];
  /** Attributes whose values are known only after apply. */
  readonly unknown: readonly string[];
  /** Differences without meaning, each with the reason it is folded. */
  readonly noise: readonly string[];
}

/** Attributes that only repeat others. */
export const REPEATING: Readonly<Record<string, string>> = {
  tags_all: "tags",
  labels_all: "labels",
  effective_labels: "labels",
};

const LONGEST_VALUE = 160;
const LONGEST_LIST = 60;

interface Sink {
  readonly lines: DiffLine[];
  readonly unknown: string[];
  readonly noise: string[];
  readonly forced: ReadonlySet<string>;
}

/**
 * What differs between two values that have been through the redactor, one line per leaf, so that a reviewer reads paths
 * and values and no braces. JSON texts are compared as JSON, lists by their members.
 *
 * @param unknown Terraform's `after_unknown` marks
 * @param forced paths (joined with dots) that force a replacement
 */
export function diffAttributes(
  before: Shown,
  after: Shown,
  unknown: Json | undefined,
  forced: ReadonlySet<string> = new Set(),
): AttributeDiff {
  const sink: Sink = { lines: [], unknown: [], noise: [], forced };
  const changed: string[] = [];
  const left = isShownObject(before) ? before : {};
  const right = isShownObject(after) ? after : {};
  const marks = isObject(unknown) ? unknown : {};
  for (const key of keysOf(left, right, marks)) {
    const base = own(REPEATING, key);
    if (base !== undefined && repeats(left, right, marks, key, base)) {
      if (!equal(left[key] ?? null, right[key] ?? null)) sink.noise.push(`${key} repeats ${base}`);
      continue;
    }
    const count = sink.lines.length;
    walk(key, own(left, key) ?? null, own(right, key) ?? null, own(marks, key), sink);
    if (sink.lines.length > count) changed.push(key);
  }
  return { lines: sink.lines, changed, unknown: sink.unknown, noise: sink.noise };
}

/** Keys of any of the objects, in the order in which a reader looks for them. */
function keysOf(...objects: readonly { readonly [key: string]: unknown }[]): readonly string[] {
  const keys = new Set<string>();
  for (const object of objects) for (const key in object) keys.add(key);
  return [...keys].sort();
}

/** One value beside another, such as an output. */
export function diffValue(name: string, before: Shown, after: Shown, unknown: Json | undefined): AttributeDiff {
  const sink: Sink = { lines: [], unknown: [], noise: [], forced: new Set() };
  walk(name, before, after, unknown, sink);
  return { lines: sink.lines, changed: [], unknown: sink.unknown, noise: sink.noise };
}

function repeats(
  left: { readonly [key: string]: Shown },
  right: { readonly [key: string]: Shown },
  unknown: { readonly [key: string]: Json },
  key: string,
  base: string,
): boolean {
  if (own(unknown, key) === true) return true;
  const inBase = (side: { readonly [key: string]: Shown }, name: string) => {
    const value = side[base];
    return isShownObject(value) ? (own(value, name) ?? null) : null;
  };
  const part = (side: { readonly [key: string]: Shown }) => (isShownObject(side[key]) ? side[key] : {});
  const [a, b] = [part(left), part(right)];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].every(
    (name) =>
      equal(own(a, name) ?? null, own(b, name) ?? null) ||
      (equal(own(a, name) ?? null, inBase(left, name)) && equal(own(b, name) ?? null, inBase(right, name))),
  );
}

function walk(path: string, before: Shown, after: Shown, unknown: Json | undefined, sink: Sink): void {
  if (unknown === true) {
    if (sink.forced.has(bare(path)) && !isNothing(before)) {
      push(sink, "!", path, `${show(before)} → (known after apply)`);
    } else sink.unknown.push(path);
    return;
  }
  if (isList(unknown) || isObject(unknown)) {
    if (before === null && after === null && !hasUnknown(unknown)) return;
  }
  if (before instanceof JsonText && after instanceof JsonText) {
    if (!equal(before.value, after.value)) {
      walk(path, before.value, after.value, undefined, sink);
      return;
    }
    if (!before.sameText(after)) sink.noise.push(`${path} differs in form only`);
    return;
  }
  const [left, right] = [unwrapped(before), unwrapped(after)];
  if (equal(left, right) && !hasUnknown(unknown)) return;
  if (left === null && isDefault(right) && !hasUnknown(unknown)) {
    if (!sink.forced.has(bare(path))) {
      sink.noise.push(`${path} null → ${show(right)}`);
      return;
    }
  }
  if (isShownObject(left) || isShownObject(right)) {
    if ((left === null || isShownObject(left)) && (right === null || isShownObject(right))) {
      walkObject(path, left ?? {}, right ?? {}, unknown, sink);
      return;
    }
  }
  if (isShownList(left) || isShownList(right)) {
    if ((left === null || isShownList(left)) && (right === null || isShownList(right))) {
      walkList(path, left ?? [], right ?? [], unknown, sink);
      return;
    }
  }
  if (isNothing(left)) {
    push(sink, "+", path, show(right));
    return;
  }
  if (right === null) {
    push(sink, "-", path, show(left));
    return;
  }
  if (typeof left === "string" && typeof right === "string" && (left.includes("\n") || right.includes("\n"))) {
    pushLines(path, left, right, sink);
    return;
  }
  if (left instanceof Words && right instanceof Words && left.text === right.text) {
    push(sink, "!", path, `${left.text} → (changed)`);
    return;
  }
  const [from, to] = [show(left), show(right)];
  if (from.length + to.length > LONGEST_VALUE) {
    push(sink, "-", path, from);
    push(sink, "+", path, to);
  } else push(sink, "!", path, `${from} → ${to}`);
}

function walkObject(
  path: string,
  before: { readonly [key: string]: Shown },
  after: { readonly [key: string]: Shown },
  unknown: Json | undefined,
  sink: Sink,
): void {
  const marks = isObject(unknown) ? unknown : {};
  for (const key of keysOf(before, after, marks)) {
    walk(`${path}${member(key)}`, own(before, key) ?? null, own(after, key) ?? null, own(marks, key), sink);
  }
}

function walkList(
  path: string,
  before: readonly Shown[],
  after: readonly Shown[],
  unknown: Json | undefined,
  sink: Sink,
): void {
  const marks = isList(unknown) ? unknown : [];
  const length = Math.max(before.length, after.length, marks.length);
  if (length <= 1) {
    walk(path, before[0] ?? null, after[0] ?? null, marks[0], sink);
    return;
  }
  if (hasUnknown(unknown)) {
    for (let index = 0; index < length; index++) {
      walk(`${path}[${index}]`, before[index] ?? null, after[index] ?? null, marks[index], sink);
    }
    return;
  }
  const { pairs, gone, added } = matched(before, after);
  if (pairs.length === 0 && gone.length === 0 && added.length === 0) {
    push(sink, "!", path, "the same members in another order");
    return;
  }
  for (const [index, left, right] of pairs) walk(`${path}[${index}]`, left, right, undefined, sink);
  for (const item of gone) pushMember("-", path, item, sink);
  for (const item of added) pushMember("+", path, item, sink);
}

/** Pairs up members: equal ones are left out, then those with the same name, then by position among objects. */
function matched(before: readonly Shown[], after: readonly Shown[]) {
  const rest = new Map<string, Shown[]>();
  for (const item of after) {
    const key = fingerprint(item);
    rest.set(key, [...(rest.get(key) ?? []), item]);
  }
  const gone: Shown[] = [];
  for (const item of before) {
    const same = rest.get(fingerprint(item));
    const index = same?.findIndex((candidate) => equal(candidate, item)) ?? -1;
    if (same && index >= 0) same.splice(index, 1);
    else gone.push(item);
  }
  const added = after.filter((item) => {
    const same = rest.get(fingerprint(item));
    const index = same?.indexOf(item) ?? -1;
    if (same && index >= 0) same.splice(index, 1);
    return index >= 0;
  });
  const pairs: (readonly [number, Shown, Shown])[] = [];
  for (const item of [...gone]) {
    const name = nameOf(item);
    const partner = name === undefined ? undefined : added.find((candidate) => nameOf(candidate) === name);
    if (partner === undefined) continue;
    pairs.push([after.indexOf(partner), item, partner]);
    gone.splice(gone.indexOf(item), 1);
    added.splice(added.indexOf(partner), 1);
  }
  if (gone.length === added.length && gone.every(isShownObject) && added.every(isShownObject)) {
    gone.forEach((item, index) => {
      const partner = added[index] ?? null;
      pairs.push([after.indexOf(partner), item, partner]);
    });
    return { pairs, gone: [], added: [] };
  }
  return { pairs, gone, added };
}

const NAMES = ["name", "Name", "Sid", "sid", "id", "key", "path_pattern", "rule_id", "event_type", "priority"];

function nameOf(item: Shown): string | undefined {
  if (!isShownObject(item)) return undefined;
  for (const name of NAMES) {
    const value = item[name];
    if (typeof value === "string" || typeof value === "number") return `${name}=${value}`;
  }
  return undefined;
}

function pushMember(sign: "+" | "-", path: string, item: Shown, sink: Sink): void {
  push(sink, sign, path, show(item));
}

/** The lines that differ between two texts, with a line of context around them. */
function pushLines(path: string, before: string, after: string, sink: Sink): void {
  const [a, b] = [before.split("\n"), after.split("\n")];
  push(sink, "!", path, "text");
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const gone = a.slice(start, a.length - end);
  const added = b.slice(start, b.length - end);
  for (const [sign, lines] of [
    ["-", gone],
    ["+", added],
  ] as const) {
    for (const line of lines.slice(0, LONGEST_LIST)) sink.lines.push({ sign, text: `    ${cut(line)}` });
    if (lines.length > LONGEST_LIST) sink.lines.push({ sign, text: `    … ${lines.length - LONGEST_LIST} more lines` });
  }
}

function push(sink: Sink, sign: Sign, path: string, text: string): void {
  const forces =
    sink.forced.size > 0 && (sink.forced.has(bare(path)) || sink.forced.has(bare(path).split(".")[0] ?? ""));
  sink.lines.push({ sign, text: `${visible(path)}: ${text}${forces ? "  # forces replacement" : ""}` });
}

const bare = (path: string): string => path.replace(/\[\d+\]/g, "");

const member = (key: string): string => (/^[\w-]+$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`);

/** A value on one line, without line breaks of its own, cut where it is too long. */
export function show(value: Shown): string {
  if (value === null) return "null";
  if (value instanceof Words) return cut(visible(value.text.replace(/\r?\n/g, "\\n")));
  if (value instanceof JsonText) return show(value.value);
  if (isShownList(value)) return cut(`[${value.map(show).join(", ")}]`);
  if (typeof value === "object") {
    const members = Object.entries(value as { readonly [key: string]: Shown }).filter(([, item]) => !isNothing(item));
    return cut(
      `{${members.map(([key, item]) => `${/^[\w-]+$/.test(key) ? key : JSON.stringify(key)}: ${show(item)}`).join(", ")}}`,
    );
  }
  return cut(visible(JSON.stringify(value)));
}

function cut(text: string): string {
  if (text.length <= LONGEST_VALUE * 2) return text;
  const end = /[\ud800-\udbff]/.test(text.charAt(LONGEST_VALUE * 2 - 41))
    ? LONGEST_VALUE * 2 - 41
    : LONGEST_VALUE * 2 - 40;
  return `${text.slice(0, end)}… (${grouped(text.length)} characters)`;
}

const isShownList = (value: Shown): value is readonly Shown[] => Array.isArray(value);

const unwrapped = (value: Shown): Shown => (value instanceof JsonText ? value.value : value);

/** What an attribute that nobody set may hold. */
export function isNothing(value: Shown | undefined): boolean {
  if (value === undefined || value === null || value === "") return true;
  if (Array.isArray(value)) return value.length === 0;
  return isShownObject(value) && Object.values(value).every(isNothing);
}

const isDefault = (value: Shown): boolean => value === false || value === 0 || isNothing(value);

/** Whether anything in a value is known only after apply. */
export function hasUnknown(marks: Json | undefined): boolean {
  if (marks === true) return true;
  if (isList(marks)) return marks.some(hasUnknown);
  return isObject(marks) && Object.values(marks).some(hasUnknown);
}

function fingerprint(value: Shown): string {
  return typeof value === "object" ? JSON.stringify(value) : `${typeof value} ${value}`;
}

/** Equality of what the values stand for, hidden ones too; the order of keys does not matter. */
export function equal(a: Shown, b: Shown): boolean {
  if (a === b) return true;
  if (a === null || b === null) return false;
  if (a instanceof Words || b instanceof Words) return a instanceof Words && b instanceof Words && a.same(b);
  if (a instanceof JsonText || b instanceof JsonText) {
    return a instanceof JsonText && b instanceof JsonText && equal(a.value, b.value);
  }
  if (isShownList(a) || isShownList(b)) {
    return (
      isShownList(a) &&
      isShownList(b) &&
      a.length === b.length &&
      a.every((item, index) => equal(item, b[index] ?? null))
    );
  }
  if (!isShownObject(a) || !isShownObject(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && equal(a[key] ?? null, b[key] ?? null))
  );
}
