import { Configuration, type ConfiguredResource, resourcesOf, type SynthStack, withoutKeys } from "./configuration";
import { type AttributeDiff, diffAttributes, diffValue, hasUnknown, REPEATING } from "./diff";
import {
  bare,
  type Change,
  isList,
  isObject,
  type Json,
  type JsonObject,
  own,
  type Plan,
  type ResourceChange,
  sameJson,
} from "./plan";
import { isShownObject, type Marks, marksOf, type Redactor, type Shown } from "./redact";

/** What happens to a resource, in the order in which a reviewer wants to read it. */
export const KINDS = ["unknown", "delete", "replace", "forget", "update", "create", "import", "move", "read"] as const;
export type Kind = (typeof KINDS)[number] | "no-op";

/** One change of one resource instance, redacted. */
export interface Item {
  readonly address: string;
  readonly type: string;
  readonly mode: string;
  /** Documented module name, "" in the root. */
  readonly module: string;
  /** Construct path from the module on, if the synthesized JSON is at hand. */
  readonly construct?: string;
  readonly kind: Kind;
  readonly actions: readonly string[];
  /** Why Terraform does this, in words. */
  readonly reason?: string;
  readonly previousAddress?: string;
  readonly importId?: string;
  readonly deposed?: string;
  /** One attribute alone, redacted. */
  shown(side: "before" | "after", name: string): Shown;
  readonly unknown: Json;
  readonly diff: AttributeDiff;
  readonly change: Change;
  /**
   * Attributes known only after apply that the configuration sets, with what they come from; undefined where the
   * configuration is not at hand.
   */
  readonly awaited?: Readonly<Record<string, string>>;
}

export interface OutputItem {
  readonly name: string;
  readonly kind: Kind;
  readonly diff: AttributeDiff;
}

/** A destroyed resource that a created one equals: nobody told Terraform that it only moved. */
export interface Rename {
  readonly from: string;
  readonly to: string;
  /** More than one partner would fit: say so. */
  readonly ambiguous: boolean;
}

export interface Report {
  readonly stack: string;
  readonly plan: Plan;
  readonly configuration: Configuration;
  readonly synth?: SynthStack;
  readonly items: readonly Item[];
  readonly drift: readonly Item[];
  readonly deferred: readonly { readonly reason: string; readonly item: Item }[];
  readonly outputs: readonly OutputItem[];
  readonly renames: readonly Rename[];
  /** Made from synthesized JSON alone, without Terraform. */
  readonly preview: boolean;
  readonly unchanged: number;
}

/** Terraform's words for reasons (`action_reason` of the JSON output format). */
const REASONS: Readonly<Record<string, string>> = {
  replace_because_tainted: "is tainted: an earlier apply left it half made",
  replace_because_cannot_update: "cannot be changed in place",
  replace_by_request: "asked for with -replace",
  replace_by_triggers: "replace_triggered_by",
  delete_because_no_resource_config: "is no longer in the configuration",
  delete_because_no_module: "its module is no longer in the configuration",
  delete_because_wrong_repetition: "count or for_each was added or taken away",
  delete_because_count_index: "its index is beyond count",
  delete_because_each_key: "its key is no longer in for_each",
  delete_because_no_move_target: "was moved to an address that is not in the configuration",
  delete_because_enabled_false: "its lifecycle says enabled = false",
  read_because_config_unknown: "its configuration is known only after apply",
  read_because_dependency_pending: "something it depends on changes first",
  read_because_check_nested: "is read again for a check",
};

const KIND_OF: ReadonlyMap<string, Kind> = new Map([
  ["no-op", "no-op"],
  ["create", "create"],
  ["read", "read"],
  ["update", "update"],
  ["delete", "delete"],
  ["forget", "forget"],
  ["delete,create", "replace"],
  ["create,delete", "replace"],
  ["create,forget", "replace"],
  ["forget,create", "replace"],
]);

const kindOfActions = (actions: readonly string[]): Kind =>
  KIND_OF.get((actions.length === 1 ? actions[0] : undefined) ?? actions.join()) ?? "unknown";

export function kindOf(resource: ResourceChange): Kind {
  const kind = kindOfActions(resource.change.actions);
  if (kind !== "no-op") return kind;
  if (resource.change.importing) return "import";
  return resource.previous_address !== undefined && resource.previous_address !== resource.address ? "move" : "no-op";
}

/** Reads a plan into what a comment says, with every value redacted. */
export function reportOf(stack: string, plan: Plan, redactor: Redactor, synth?: SynthStack): Report {
  const configuration = Configuration.of(plan, synth);
  const toItem = (resource: ResourceChange) => new PlanItem(resource, kindOf(resource), configuration, redactor);
  const changing: ResourceChange[] = [];
  let unchanged = 0;
  for (const resource of plan.resource_changes) {
    if (kindOf(resource) !== "no-op") changing.push(resource);
    else if (resource.mode === "managed") unchanged++;
  }
  return {
    stack,
    plan,
    configuration,
    ...(synth ? { synth } : {}),
    items: changing.map(toItem).sort(byAddress),
    drift: driftOf(plan)
      .map(toItem)
      .filter((item) => item.kind !== "update" || item.diff.lines.length > 0),
    deferred: plan.deferred_changes.map(({ reason, resource_change }) => ({ reason, item: toItem(resource_change) })),
    outputs: Object.entries(plan.output_changes)
      .map(([name, change]) => outputOf(name, change, redactor))
      .filter((output) => output.kind !== "no-op")
      .sort((a, b) => compareText(a.name, b.name)),
    renames: renamesOf(changing).map(({ from, to, ambiguous }) => ({
      from: redactor.address(from),
      to: redactor.address(to),
      ambiguous,
    })),
    preview: false,
    unchanged,
  };
}

const byAddress = (a: Item, b: Item): number =>
  compareText(a.module, b.module) || compareText(a.address, b.address) || compareText(a.deposed ?? "", b.deposed ?? "");

/** By code units, so that the order is the same on every machine. */
export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Terraform also lists resources here that only moved; those are told with the moves. */
const driftOf = (plan: Plan): readonly ResourceChange[] =>
  plan.resource_drift.filter((resource) => !["no-op", "move"].includes(kindOf(resource)));

const NOTHING_FORCED: ReadonlySet<string> = new Set();

/**
 * An item of a plan. A class, so that thousands of them have one shape. Values that cost time are made when somebody asks: of a large
 * plan, most are never shown.
 */
class PlanItem implements Item {
  readonly address: string;
  readonly type: string;
  readonly mode: string;
  readonly module: string;
  readonly construct?: string;
  readonly actions: readonly string[];
  readonly reason?: string;
  readonly previousAddress?: string;
  readonly importId?: string;
  readonly deposed?: string;
  readonly unknown: Json;
  readonly change: Change;
  readonly awaited?: Readonly<Record<string, string>>;
  private readonly forced: ReadonlySet<string>;
  private keptDiff?: AttributeDiff;

  constructor(
    resource: ResourceChange,
    readonly kind: Kind,
    configuration: Configuration,
    private readonly redactor: Redactor,
  ) {
    const { address, change, deposed, previous_address: previous } = resource;
    const configured = configuration.find(address);
    this.forced = change.replace_paths ? new Set(change.replace_paths.map(joinPath)) : NOTHING_FORCED;
    const reason = reasonOf(resource, this.forced, redactor);
    this.address = redactor.address(address);
    this.type = resource.type;
    this.mode = resource.mode;
    this.module = configuration.moduleOf(address);
    if (configured?.path !== undefined) this.construct = redactor.text(configured.path);
    this.actions = change.actions;
    if (reason !== undefined) this.reason = reason;
    if (previous !== undefined && previous !== address) this.previousAddress = redactor.address(previous);
    if (change.importing) this.importId = importIdOf(change.importing, redactor);
    if (deposed !== undefined) this.deposed = deposed;
    this.unknown = change.after_unknown ?? false;
    this.change = change;
    if (configured !== undefined) this.awaited = awaitedBy(resource, configuration, configured);
  }

  get diff(): AttributeDiff {
    this.keptDiff ??= this.difference();
    return this.keptDiff;
  }

  shown(side: "before" | "after", name: string): Shown {
    const value = this.change[side];
    if (!isObject(value)) return null;
    return this.redactor.value(own(value, name), marksOfAttribute(this.change, name), name, this.type);
  }

  /**
   * Attributes that are the same to the letter on both sides are left out before anything is redacted: of an update, those are
   * nearly all.
   */
  private difference(): AttributeDiff {
    const { before, after } = this.change;
    const unknown = unknownAttributes(this.change.after_unknown);
    const names = isObject(before) && isObject(after) ? attributesToCompare(before, after, unknown) : undefined;
    return diffAttributes(
      this.attributes("before", names),
      this.attributes("after", names),
      this.redactor.keysOf(unknown),
      this.forced,
    );
  }

  /** The named attributes of one side, or all. */
  private attributes(side: "before" | "after", names?: ReadonlySet<string>): Shown {
    const value = this.change[side];
    if (!isObject(value)) return this.redactor.value(value, hiddenOnEither(this.change), "", this.type);
    const shown = bare<Shown>();
    for (const name of names ?? Object.keys(value)) {
      if (Object.hasOwn(value, name)) shown[name] = this.shown(side, name);
    }
    return shown;
  }
}

function attributesToCompare(before: JsonObject, after: JsonObject, unknown: JsonObject): ReadonlySet<string> {
  const names = new Set<string>();
  for (const name in after) if (!sameJson(own(before, name), after[name])) names.add(name);
  for (const name in before) if (!Object.hasOwn(after, name)) names.add(name);
  for (const name in unknown) names.add(name);
  for (const name of [...names]) {
    const repeated = own(REPEATING, name);
    if (repeated !== undefined) names.add(repeated);
  }
  return names;
}

/** Marks of the attributes of which something is known only after apply; Terraform also lists those of which nothing is. */
function unknownAttributes(marks: Json | undefined): JsonObject {
  const unknown = bare<Json>();
  if (!isObject(marks)) return unknown;
  for (const name in marks) {
    const mark = marks[name] ?? false;
    if (hasUnknown(mark)) unknown[name] = mark;
  }
  return unknown;
}

function awaitedBy(
  resource: ResourceChange,
  configuration: Configuration,
  configured: ConfiguredResource,
): Record<string, string> {
  const unknown = isObject(resource.change.after_unknown) ? resource.change.after_unknown : {};
  return Object.fromEntries(
    Object.keys(unknown).flatMap((name) => {
      const source = configuration.referredBy(resource.address, name) ?? configured.references[name]?.[0];
      return source === undefined ? [] : [[name, source]];
    }),
  );
}

/** A value that is or was sensitive is hidden on both sides: a mark taken away does not make it fit to read. */
const hiddenOnEither = ({ before, after, before_sensitive, after_sensitive }: Change): Marks =>
  mergedMarks(isAbsent(before) ? false : before_sensitive, isAbsent(after) ? false : after_sensitive);

/** The part of {@link hiddenOnEither} that belongs to one attribute. */
const marksOfAttribute = ({ before, after, before_sensitive, after_sensitive }: Change, name: string): Marks =>
  mergedMarks(
    isAbsent(before) ? false : marksOf(before_sensitive, name),
    isAbsent(after) ? false : marksOf(after_sensitive, name),
  );

const isAbsent = (value: Json | undefined): boolean => value === undefined || value === null;

function mergedMarks(a: Marks, b: Marks): Marks {
  if (a === undefined || b === undefined || a === true || b === true) return true;
  if (a === false || a === null) return b;
  if (b === false || b === null) return a;
  if (isList(a) && isList(b)) {
    return Array.from(
      { length: Math.max(a.length, b.length) },
      (_, index) => mergedMarks(a[index] ?? false, b[index] ?? false) ?? true,
    );
  }
  if (isObject(a) && isObject(b)) {
    let merged: Record<string, Json> | undefined;
    for (const key in b) {
      const known = own(a, key) ?? false;
      const mark = mergedMarks(known, b[key]) ?? true;
      if (mark === known) continue;
      merged ??= Object.assign(bare<Json>(), a);
      merged[key] = mark;
    }
    return merged ?? a;
  }
  return true;
}

const joinPath = (path: readonly (string | number)[]): string =>
  path.filter((step) => typeof step === "string").join(".");

function reasonOf(resource: ResourceChange, forced: ReadonlySet<string>, redactor: Redactor): string | undefined {
  const code = resource.action_reason;
  const parts: string[] = [];
  if (code !== undefined) parts.push(own(REASONS, code) ?? `unknown reason ${code}`);
  if (code === "replace_because_cannot_update" && forced.size > 0) {
    parts[0] = `${[...forced].map((path) => redactor.text(path)).join(", ")} cannot be changed in place`;
  }
  const { actions } = resource.change;
  if (actions.length > 1) {
    if (actions.join() === "create,delete") parts.push("the new one is made first");
    if (actions.includes("forget")) parts.push("the old one is left running");
  }
  if (kindOfActions(actions) === "unknown") parts.push(`Terraform says ${actions.join(" + ")}`);
  return parts.length > 0 ? parts.join("; ") : undefined;
}

function importIdOf(importing: NonNullable<Change["importing"]>, redactor: Redactor): string {
  if (importing.unknown === true || (importing.id === undefined && importing.identity === undefined))
    return "an id known after apply";
  return redactor.text(importing.id ?? JSON.stringify(importing.identity));
}

function outputOf(name: string, change: Change, redactor: Redactor): OutputItem {
  const marks = hiddenOnEither(change);
  const before = redactor.value(change.before, marks, name);
  const after = redactor.value(change.after, marks, name);
  return {
    name,
    kind: kindOfActions(change.actions),
    diff: diffValue(name, before, after, redactor.keysOf(change.after_unknown ?? false)),
  };
}

/**
 * Pairs of destroyed and created resources with equal configuration: every value the plan knows of the new one is also
 * the old one's. Compared by the real values, of which nothing is kept.
 */
function renamesOf(changing: readonly ResourceChange[]): readonly Rename[] {
  const gone = changing.filter((resource) => kindOf(resource) === "delete" && resource.deposed === undefined);
  const types = new Set(gone.map((resource) => resource.type));
  const made = changing.filter((resource) => types.has(resource.type) && kindOf(resource) === "create");
  if (gone.length === 0 || made.length === 0) return [];
  const partnersOf = indexed(made);
  const candidates = new Map<ResourceChange, { partner: ResourceChange; score: number }[]>();
  for (const old of gone) {
    const partners = partnersOf(old)
      .filter((fresh) => fresh.provider_name === old.provider_name)
      .map((partner) => ({
        partner,
        score: likeness(old.change.before, partner.change.after, partner.change.after_unknown),
      }))
      .filter(({ score }) => score >= 1)
      .map(({ partner, score }) => ({ partner, score: score + closeness(old.address, partner.address) }))
      .sort((a, b) => b.score - a.score || compareText(a.partner.address, b.partner.address));
    if (partners.length > 0) candidates.set(old, partners);
  }
  const taken = new Set<ResourceChange>();
  const renames: Rename[] = [];
  for (const [old, partners] of [...candidates].sort(([, a], [, b]) => (b[0]?.score ?? 0) - (a[0]?.score ?? 0))) {
    const free = partners.filter(({ partner }) => !taken.has(partner));
    const best = free[0];
    if (!best) continue;
    taken.add(best.partner);
    renames.push({
      from: old.address,
      to: best.partner.address,
      ambiguous: free.filter(({ score }) => score > best.score - 0.5).length > 1,
    });
  }
  return renames.sort((a, b) => compareText(a.from, b.from));
}

/** Most new resources that one old one is compared with: beyond that nobody could tell which it became. */
const MOST_PARTNERS = 10;

/**
 * Finds new resources that could equal an old one without comparing all with all: by one plain value that the new one
 * shares with few others.
 */
function indexed(made: readonly ResourceChange[]): (old: ResourceChange) => readonly ResourceChange[] {
  const byType = new Map<string, ResourceChange[]>();
  for (const one of made) listIn(byType, one.type).push(one);
  const indexes = new Map([...byType].map(([type, resources]) => [type, new ValueIndex(resources)]));
  return (old) => indexes.get(old.type)?.like(old.change.before) ?? [];
}

/** Resources of one type, each under the plain value that it shares with the fewest others. */
class ValueIndex {
  /** By attribute and value. */
  private readonly kept = new Map<string, Map<string | number, ResourceChange[]>>();
  private readonly without: ResourceChange[] = [];

  constructor(made: readonly ResourceChange[]) {
    const values = made.map((one) => plainValues(one.change.after));
    const frequency = new Map<string, Map<string | number, number>>();
    for (const [name, value] of values.flat()) {
      const counts = mapIn(frequency, name);
      counts.set(value, (counts.get(value) ?? 0) + 1);
    }
    made.forEach((one, index) => {
      let rarest: PlainValue | undefined;
      let fewest = Number.POSITIVE_INFINITY;
      for (const entry of values[index] ?? []) {
        const count = frequency.get(entry[0])?.get(entry[1]) ?? 0;
        if (count < fewest) [rarest, fewest] = [entry, count];
      }
      const list = rarest === undefined ? this.without : listIn(mapIn(this.kept, rarest[0]), rarest[1]);
      list.push(one);
    });
  }

  /** At most {@link MOST_PARTNERS} that share the value they are kept under. */
  like(before: Json | undefined): readonly ResourceChange[] {
    const found = this.without.slice(0, MOST_PARTNERS);
    for (const [name, value] of plainValues(before)) {
      if (found.length >= MOST_PARTNERS) break;
      found.push(
        ...(this.kept
          .get(name)
          ?.get(value)
          ?.slice(0, MOST_PARTNERS - found.length) ?? []),
      );
    }
    return found;
  }
}

type PlainValue = readonly [name: string, value: string | number];

function plainValues(side: Json | undefined): readonly PlainValue[] {
  const found: PlainValue[] = [];
  if (!isObject(side)) return found;
  for (const name in side) {
    const value = side[name];
    if (typeof value === "string" || typeof value === "number") found.push([name, value]);
  }
  return found;
}

function listIn<K, V>(map: Map<K, V[]>, key: K): V[] {
  let list = map.get(key);
  if (!list) {
    list = [];
    map.set(key, list);
  }
  return list;
}

function mapIn<K, L, V>(map: Map<K, Map<L, V>>, key: K): Map<L, V> {
  let inner = map.get(key);
  if (!inner) {
    inner = new Map();
    map.set(key, inner);
  }
  return inner;
}

/** How many values two resources share; 0 as soon as any known value differs. */
function likeness(before: Json | undefined, after: Json | undefined, unknown: Json | undefined): number {
  if (unknown === true || after === null || after === undefined) return LITTLE;
  if (isList(after)) {
    if (!isList(before) || before.length !== after.length) return after.length === 0 && !before ? LITTLE : 0;
    let total = 0;
    for (let index = 0; index < after.length; index++) {
      const score = likeness(before[index], after[index], isList(unknown) ? unknown[index] : false);
      if (score === 0) return 0;
      total += score;
    }
    return Math.max(LITTLE, total);
  }
  if (isObject(after)) {
    if (!isObject(before)) return Object.keys(after).length === 0 ? LITTLE : 0;
    const marks = isObject(unknown) ? unknown : {};
    let total = 0;
    for (const key in after) {
      const score = key === "tags_all" ? LITTLE : likeness(own(before, key), after[key], own(marks, key));
      if (score === 0) return 0;
      total += score;
    }
    for (const key in marks) if (!Object.hasOwn(after, key)) total += LITTLE;
    return Math.max(LITTLE, total);
  }
  if (after === before) return typeof after === "boolean" ? 0.2 : 1;
  return before === null && (after === false || after === "" || after === 0) ? LITTLE : 0;
}

/** What a value counts for that says nothing. */
const LITTLE = 0.001;

/** Between equals, the one whose address reads most alike: less than one value's worth. */
function closeness(a: string, b: string): number {
  const left = new Set(withoutKeys(a).split(/[._]/));
  const shared = withoutKeys(b)
    .split(/[._]/)
    .filter((part) => left.has(part)).length;
  return shared / (left.size + 100);
}

/**
 * What two synthesized stacks differ in: a preview for pull requests that get no credentials. Without a state nobody
 * knows what exists, and without marks nobody knows what is sensitive: names and looks alone decide what is hidden.
 */
export function previewOf(
  stack: string,
  base: SynthStack | undefined,
  head: SynthStack | undefined,
  redactor: Redactor,
): Report {
  const before = new Map((base ? resourcesOf(base) : []).map((resource) => [resource.address, resource]));
  const after = new Map((head ? resourcesOf(head) : []).map((resource) => [resource.address, resource]));
  const moved = new Map(
    listOf(head?.root.moved).flatMap((block) =>
      isObject(block) && typeof block.from === "string" && typeof block.to === "string"
        ? [[block.to, block.from] as const]
        : [],
    ),
  );
  const changes: ResourceChange[] = [];
  const movedAway = new Set([...moved.values()].filter((from) => before.has(from)));
  for (const address of [...new Set([...before.keys(), ...after.keys()])].sort(compareText)) {
    const fresh = after.get(address);
    const previous = moved.get(address);
    const old = before.get(address) ?? (previous === undefined ? undefined : before.get(previous));
    if (!fresh && movedAway.has(address)) continue;
    const one = fresh ?? old;
    if (!one || one.mode === "data") continue;
    const same = fresh && old && sameJson(old.values, fresh.values);
    const relocated = old !== undefined && fresh !== undefined && old.address !== fresh.address;
    if (same && !relocated) continue;
    changes.push({
      address,
      mode: one.mode,
      type: one.type,
      name: one.name,
      ...(relocated ? { previous_address: old.address } : {}),
      change: {
        actions: [!old ? "create" : !fresh ? "delete" : same ? "no-op" : "update"],
        before: old?.values ?? null,
        after: fresh?.values ?? null,
        before_sensitive: {},
        after_sensitive: {},
        after_unknown: {},
      },
    });
  }
  const plan: Plan = {
    format_version: "1.2",
    resource_changes: changes,
    resource_drift: [],
    deferred_changes: [],
    output_changes: {},
    checks: [],
    configuration: {},
    relevant_attributes: [],
    errored: false,
    complete: true,
    notices: [],
  };
  return { ...reportOf(stack, plan, redactor, head ?? base), preview: true };
}

const listOf = (value: Json | undefined): readonly Json[] =>
  isList(value) ? value : value === undefined ? [] : [value];

export interface Counts {
  readonly create: number;
  readonly update: number;
  readonly replace: number;
  readonly delete: number;
  readonly import: number;
  readonly move: number;
  readonly forget: number;
  readonly read: number;
  readonly unknown: number;
}

/** Each change counts once for what happens to it; imports and moves that also change something count there too. */
export function countsOf(items: readonly Item[]): Counts {
  const counts = { create: 0, update: 0, replace: 0, delete: 0, import: 0, move: 0, forget: 0, read: 0, unknown: 0 };
  for (const item of items) {
    if (item.kind !== "no-op" && item.kind !== "import" && item.kind !== "move") counts[item.kind]++;
    if (item.importId !== undefined) counts.import++;
    if (item.previousAddress !== undefined) counts.move++;
  }
  return counts;
}

/** Whether the plan would do nothing at all. */
export const isEmptyReport = (report: Report): boolean =>
  report.items.every((item) => item.kind === "read") && report.outputs.length === 0 && report.deferred.length === 0;

export const attribute = (value: Shown, name: string): Shown => (isShownObject(value) ? (value[name] ?? null) : null);
