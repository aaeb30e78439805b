import { Configuration, type ConfiguredResource, resourcesOf, type SynthStack, withoutKeys } from "./configuration";
import { type AttributeDiff, diffAttributes, diffValue, equal, REPEATING } from "./diff";
import { type Change, isList, isObject, type Json, type JsonObject, own, type Plan, type ResourceChange } from "./plan";
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
  readonly before: Shown;
  readonly after: Shown;
  /** One attribute alone. */
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

const KIND_OF: Readonly<Record<string, Kind>> = {
  "no-op": "no-op",
  create: "create",
  read: "read",
  update: "update",
  delete: "delete",
  forget: "forget",
  "delete,create": "replace",
  "create,delete": "replace",
  "create,forget": "replace",
  "forget,create": "replace",
};

export function kindOf(resource: ResourceChange): Kind {
  const { actions } = resource.change;
  const kind = own(KIND_OF, (actions.length === 1 ? actions[0] : undefined) ?? actions.join(",")) ?? "unknown";
  if (kind !== "no-op") return kind;
  if (resource.change.importing) return "import";
  return resource.previous_address !== undefined && resource.previous_address !== resource.address ? "move" : "no-op";
}

/** Reads a plan into what a comment says, with every value redacted. */
export function reportOf(stack: string, plan: Plan, redactor: Redactor, synth?: SynthStack): Report {
  const configuration = Configuration.of(plan, synth);
  const toItem = (resource: ResourceChange) => new PlanItem(resource, configuration, redactor);
  const changing = plan.resource_changes.filter((resource) => kindOf(resource) !== "no-op");
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
    renames: renamesOf(plan).map(({ from, to, ambiguous }) => ({
      from: redactor.address(from),
      to: redactor.address(to),
      ambiguous,
    })),
    preview: false,
    unchanged: plan.resource_changes.filter((resource) => resource.mode === "managed" && kindOf(resource) === "no-op")
      .length,
  };
}

const byAddress = (a: Item, b: Item): number =>
  compareText(a.module, b.module) || compareText(a.address, b.address) || compareText(a.deposed ?? "", b.deposed ?? "");

/** By code units, so that the order is the same on every machine. */
export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Terraform also lists resources here that only moved; those are told with the moves. */
const driftOf = (plan: Plan): readonly ResourceChange[] =>
  plan.resource_drift.filter((resource) => !["no-op", "move"].includes(kindOf(resource)));

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
  readonly kind: Kind;
  readonly actions: readonly string[];
  readonly reason?: string;
  readonly previousAddress?: string;
  readonly importId?: string;
  readonly deposed?: string;
  readonly unknown: Json;
  readonly change: Change;
  readonly awaited?: Readonly<Record<string, string>>;
  private readonly forced: ReadonlySet<string>;
  private keptMarks?: { readonly of: Marks };
  private keptBefore?: Shown;
  private keptAfter?: Shown;
  private keptDiff?: AttributeDiff;

  constructor(
    resource: ResourceChange,
    configuration: Configuration,
    private readonly redactor: Redactor,
  ) {
    const { address, change, deposed, previous_address: previous } = resource;
    const configured = configuration.find(address);
    this.forced = new Set((change.replace_paths ?? []).map(joinPath));
    const reason = reasonOf(resource, this.forced, redactor);
    this.address = redactor.address(address);
    this.type = resource.type;
    this.mode = resource.mode;
    this.module = configuration.moduleOf(address);
    if (configured?.path !== undefined) this.construct = redactor.text(configured.path);
    this.kind = kindOf(resource);
    this.actions = change.actions;
    if (reason !== undefined) this.reason = reason;
    if (previous !== undefined && previous !== address) this.previousAddress = redactor.address(previous);
    if (change.importing) this.importId = importIdOf(change.importing, redactor);
    if (deposed !== undefined) this.deposed = deposed;
    this.unknown = change.after_unknown ?? false;
    this.change = change;
    if (configured !== undefined) this.awaited = awaitedBy(resource, configuration, configured);
  }

  get before(): Shown {
    this.keptBefore ??= shownAttributes(this.change.before, this.marks, this.type, this.redactor);
    return this.keptBefore;
  }

  get after(): Shown {
    this.keptAfter ??= shownAttributes(this.change.after, this.marks, this.type, this.redactor);
    return this.keptAfter;
  }

  get diff(): AttributeDiff {
    this.keptDiff ??= diffOf(this.change, this.marks, this.forced, this.type, this.redactor);
    return this.keptDiff;
  }

  shown(side: "before" | "after", name: string): Shown {
    const value = this.change[side];
    if (!isObject(value)) return null;
    const marks = this.marks === true ? true : marksOf(this.marks, name);
    return this.redactor.value(own(value, name), marks, name, this.type);
  }

  private get marks(): Marks {
    this.keptMarks ??= { of: hiddenOnEither(this.change) };
    return this.keptMarks.of;
  }
}

/**
 * What a change changes. Attributes that are the same to the letter on both sides are left out before anything is redacted:
 * of an update, those are nearly all.
 */
function diffOf(
  change: Change,
  marks: Marks,
  forced: ReadonlySet<string>,
  type: string,
  redactor: Redactor,
): AttributeDiff {
  const { before, after, after_unknown: unknown } = change;
  const names =
    isObject(before) && isObject(after)
      ? attributesToCompare(before, after, isObject(unknown) ? unknown : {})
      : undefined;
  return diffAttributes(
    shownAttributes(before, marks, type, redactor, names),
    shownAttributes(after, marks, type, redactor, names),
    redactor.keysOf(unknown ?? false),
    forced,
  );
}

function attributesToCompare(before: JsonObject, after: JsonObject, unknown: JsonObject): ReadonlySet<string> {
  const names = new Set<string>();
  for (const name in after) {
    if (Object.hasOwn(unknown, name) || !equal(asShown(own(before, name) ?? null), asShown(after[name] ?? null)))
      names.add(name);
  }
  for (const name in before) if (!Object.hasOwn(after, name)) names.add(name);
  for (const name of [...names]) {
    const repeated = own(REPEATING, name);
    if (repeated !== undefined) names.add(repeated);
  }
  return names;
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

/** Attributes of an instance, each redacted by its own marks. */
function shownAttributes(
  value: Json | undefined,
  marks: Marks,
  type: string,
  redactor: Redactor,
  names?: ReadonlySet<string>,
): Shown {
  if (value === undefined || value === null) return null;
  if (!isObject(value)) return redactor.value(value, marks, "", type);
  const shown: Record<string, Shown> = Object.create(null);
  for (const name in value) {
    if (names && !names.has(name)) continue;
    shown[name] = redactor.value(value[name], marks === true ? true : marksOf(marks, name), name, type);
  }
  return shown;
}

/** A value that is or was sensitive is hidden on both sides: a mark taken away does not make it fit to read. */
function hiddenOnEither(change: Change): Marks {
  const absent = (value: Json | undefined) => value === undefined || value === null;
  return mergedMarks(
    absent(change.before) ? false : change.before_sensitive,
    absent(change.after) ? false : change.after_sensitive,
  );
}

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
    return Object.fromEntries(
      [...new Set([...Object.keys(a), ...Object.keys(b)])].map((key) => [
        key,
        mergedMarks(a[key] ?? false, b[key] ?? false) ?? true,
      ]),
    );
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
  if (resource.change.actions.join() === "create,delete") parts.push("the new one is made first");
  if (resource.change.actions.includes("forget") && resource.change.actions.length > 1)
    parts.push("the old one is left running");
  if (own(KIND_OF, resource.change.actions.join(",")) === undefined)
    parts.push(`Terraform says ${resource.change.actions.join(" + ")}`);
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
    kind: own(KIND_OF, change.actions.join(",")) ?? "unknown",
    diff: diffValue(name, before, after, redactor.keysOf(change.after_unknown ?? false)),
  };
}

/**
 * Pairs of destroyed and created resources with equal configuration: every value the plan knows of the new one is also
 * the old one's. Compared by the real values, of which nothing is kept.
 */
function renamesOf(plan: Plan): readonly Rename[] {
  const gone = plan.resource_changes.filter(
    (resource) => kindOf(resource) === "delete" && resource.deposed === undefined,
  );
  const types = new Set(gone.map((resource) => resource.type));
  const made = plan.resource_changes.filter((resource) => types.has(resource.type) && kindOf(resource) === "create");
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
  const values = (type: string, side: Json | undefined) =>
    Object.entries(isObject(side) ? side : {})
      .filter(([, value]) => typeof value === "string" || typeof value === "number")
      .map(([name, value]) => `${type} ${name} ${typeof value} ${value}`);
  const frequency = new Map<string, number>();
  for (const one of made) {
    for (const value of values(one.type, one.change.after)) frequency.set(value, (frequency.get(value) ?? 0) + 1);
  }
  const byValue = new Map<string, ResourceChange[]>();
  for (const one of made) {
    const rarest = values(one.type, one.change.after).sort(
      (a, b) => (frequency.get(a) ?? 0) - (frequency.get(b) ?? 0),
    )[0];
    const key = rarest ?? one.type;
    const list = byValue.get(key);
    if (list) list.push(one);
    else byValue.set(key, [one]);
  }
  return (old) => {
    const keys = [old.type, ...values(old.type, old.change.before)];
    const found: ResourceChange[] = [];
    for (const key of keys) {
      for (const one of byValue.get(key) ?? []) if (found.length < MOST_PARTNERS) found.push(one);
    }
    return found;
  };
}

/** How many values two resources share; 0 if any known value differs. */
function likeness(before: Json | undefined, after: Json | undefined, unknown: Json | undefined): number {
  if (unknown === true || after === null || after === undefined) return 0.001;
  if (isList(after)) {
    if (!isList(before) || before.length !== after.length) return after.length === 0 && !before ? 0.001 : 0;
    return sum(after.map((item, index) => likeness(before[index], item, isList(unknown) ? unknown[index] : false)));
  }
  if (isObject(after)) {
    if (!isObject(before)) return Object.keys(after).length === 0 ? 0.001 : 0;
    const marks = isObject(unknown) ? unknown : {};
    const keys = [...new Set([...Object.keys(after), ...Object.keys(marks)])];
    return sum(
      keys.map((key) => (key === "tags_all" ? 0.001 : likeness(own(before, key), own(after, key), own(marks, key)))),
    );
  }
  if (after === before) return typeof after === "boolean" ? 0.2 : 1;
  return before === null && (after === false || after === "" || after === 0) ? 0.001 : 0;
}

/** 0 as soon as one part is 0. */
const sum = (scores: readonly number[]): number =>
  scores.some((score) => score === 0)
    ? 0
    : Math.max(
        0.001,
        scores.reduce((total, score) => total + score, 0),
      );

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
    const same = fresh && old && equal(asShown(old.values), asShown(fresh.values));
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

/** Only for comparing; never shown. */
const asShown = (value: Json): Shown => value as unknown as Shown;

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
