import { bare, type Change, isList, isObject, type Json, own, type Plan, type ResourceChange } from "./plan";

/** What stands in the place of a value that is not shown. */
export const MASK = "(sensitive)";
/** What stands in the place of text that only looks like a secret. */
export const LOOKS_SECRET = "(masked: looks like a secret)";

/** A leaf that is shown as words, in the place of a value that only equality may be asked of. */
export class Words {
  readonly #value: Json | undefined;

  constructor(
    readonly text: string,
    value?: Json,
  ) {
    this.#value = value;
  }

  /** Whether both stand for the same value. */
  same(other: Words): boolean {
    return this.text === other.text && JSON.stringify(this.#value) === JSON.stringify(other.#value);
  }
}

const SECRET_NAME =
  /pass(?:word|wd|phrase|code)|pass(?:$|[^a-z])|(?:^|[^a-z])pwd|secret|token|credential|api[-_.]?key|access[-_.]?key|private[-_.]?key|signing[-_.]?key|encryption[-_.]?key|auth[-_.]?(?:key|string|value|header)|(?:^|[^a-z])pin(?:$|[^a-z])|connection[-_.]?string|webhook|(?:^|[-_.])dsn$|bearer|cookie[-_.]?value|license[-_.]?key|session[-_.]?key|hmac|salt|user[-_.]?data/i;

/** Names that hold a reference to a secret, or a fact about one, never the secret. */
const REFERENCE_NAME =
  /(?:arn|arns|id|ids|name|names|prefix|suffix|length|version|versions|version_id|stages|rotation|enabled|ttl|type|types|kind|source|sources|path|days|window|window_in_days|policy|description|users?|index|key_id|kms_key|status|expiration|expiry|seconds|minutes|count|algorithm|format|key_spec|fields?|header_name|url_suffix|signing_enabled|required|mode|strategy|duration|hop_limit|http_tokens|action|actions)$/i;

/** Attributes whose long random look is their nature: digests, identifiers and references of AWS and Terraform. */
const RANDOM_BY_NATURE =
  /(?:^|_)(?:id|ids|arn|arns|hash|sha\d*|md5|etag|checksum|digest|fingerprint|thumbprint|thumbprint_list|unique_id|owner_id|version_id|lineage|revision|zone_id|domain_name|dns_name|endpoint|url|path|kid|source|filename)$/i;

/** What the name of a value tells about it. */
interface NameKind {
  readonly secret: boolean;
  /** Never the secret itself, though it may stand among secrets. */
  readonly reference: boolean;
  readonly randomByNature: boolean;
}

const nameKinds = new Map<string, NameKind>();

function nameKind(name: string): NameKind {
  const known = nameKinds.get(name);
  if (known !== undefined) return known;
  const words = name.replace(/([a-z\d])([A-Z])/g, "$1_$2");
  const kind = {
    secret: SECRET_NAME.test(words) && !REFERENCE_NAME.test(words.replace(/[-.]/g, "_")),
    reference: REFERENCE_NAME.test(name),
    randomByNature: RANDOM_BY_NATURE.test(name),
  };
  if (nameKinds.size < REMEMBERED) nameKinds.set(name, kind);
  return kind;
}

const isSecretName = (name: string): boolean => nameKind(name).secret;

/** How many answers are kept: a plan repeats its names and values. */
const REMEMBERED = 20_000;

/** Attributes of which the whole value is a secret though neither name nor marks need to say so, per type. */
const SECRET_ATTRIBUTES: Readonly<Record<string, readonly string[]>> = {
  aws_secretsmanager_secret_version: ["secret_string", "secret_binary", "secret_string_wo"],
  aws_ssm_parameter: ["value", "insecure_value", "value_wo"],
  random_password: ["result", "bcrypt_hash"],
  tls_private_key: ["private_key_pem", "private_key_openssh", "private_key_pem_pkcs8"],
  kubernetes_secret: ["data", "binary_data"],
  kubernetes_secret_v1: ["data", "binary_data"],
  aws_api_gateway_api_key: ["value"],
  aws_iam_access_key: ["secret", "ses_smtp_password_v4"],
};

/** Forms that are secrets wherever they stand. */
const SECRET_FORMS: readonly (readonly [RegExp, string])[] = [
  [/(\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s/:@"']{0,128}):[^\s/@"']{1,256}@/gi, `$1:${MASK}@`],
  [/-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|$)/g, LOOKS_SECRET],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g, LOOKS_SECRET],
  [
    /\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abeoprs]-[\w-]{10,}|sk_(?:live|test)_\w{10,}|npm_[A-Za-z0-9]{20,})/g,
    LOOKS_SECRET,
  ],
  [/https:\/\/(?:hooks\.slack\.com\/\S+|(?:\w+\.)?discord(?:app)?\.com\/api\/webhooks\/\S+)/g, LOOKS_SECRET],
  [/\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?/g, LOOKS_SECRET],
  [/\b(Bearer|Basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${MASK}`],
];

/** `NAME=value` and `name: value` in text, of which only names of secrets matter. */
const ASSIGNMENT = /(?<![\w.-])([\w.-]{2,64})(["']?\s{0,4}[=:]\s{0,4})(["']?)([^\s"'&;,(]{3,})/g;

const withoutAssignments = (text: string): string =>
  text.replace(ASSIGNMENT, (whole, name: string, sign: string, quote: string, value: string, at: number) => {
    const inArn = sign === ":" && text.charAt(at - 1) === ":";
    const action = sign === ":" && /^[a-z][a-z\d-]*$/.test(name) && /^[A-Z*][A-Za-z*]*$/.test(value);
    return inArn || action || value.startsWith("${") || !isSecretName(name) ? whole : `${name}${sign}${quote}${MASK}`;
  });

const SHORTEST_TAINT = 6;

/** Members that hold a value whose name stands beside it. */
const VALUE_NAME = /^(?:value|values|default|content)$/i;

/** Text that none of the forms can be found in. */
const TOO_SHORT_FOR_FORMS = /^[\w./-]{0,14}$/;

/** The marks of a value: Terraform's own, cut to the part that belongs to it. `undefined` means nobody said. */
export type Marks = Json | undefined;

/** Marks of a member: a missing member of known marks is unmarked, and marks of another shape hide everything. */
export function marksOf(marks: Marks, key: string | number): Marks {
  if (marks === true || marks === undefined) return marks;
  if (marks === false || marks === null) return false;
  if (isList(marks)) return typeof key === "number" ? (marks[key] ?? false) : true;
  if (isObject(marks)) return typeof key === "string" ? (Object.hasOwn(marks, key) ? marks[key] : false) : true;
  return true;
}

/** Whether marks hide the value as a whole. Marks that are missing or of an unknown form do. */
const hides = (marks: Marks): boolean =>
  marks === true || marks === undefined || typeof marks === "string" || typeof marks === "number";

/**
 * Decides what of a plan may be read by everybody who can read the pull request. It fails closed: a value is shown only
 * if Terraform's marks are there and do not hide it, its name and its look are not those of a secret, and it holds no
 * value that is marked sensitive anywhere else in the plan.
 */
export class Redactor {
  private readonly exact: ReadonlySet<string>;
  private readonly everywhere: Finder;
  private readonly inFinished: Finder;
  private readonly cleanedRandom = new Map<string, string>();
  private readonly cleanedForms = new Map<string, string>();

  /**
   * @param secrets values known to be sensitive
   * @param identifiers addresses and names that are public by themselves: a secret that is part of one is not hunted for
   */
  constructor(secrets: Iterable<string> = [], identifiers: Iterable<string> = []) {
    const exact = new Set<string>();
    const taints = new Set<string>();
    let names: string | undefined;
    for (const secret of secrets) {
      if (secret.length < 4 || COMMON_WORDS.has(secret)) continue;
      if (/^[a-z][a-z_.-]{0,20}$/i.test(secret)) {
        names ??= [...identifiers].join("\n");
        if (names.includes(secret)) continue;
      }
      exact.add(secret);
      if (secret.length >= SHORTEST_TAINT) for (const form of formsOf(secret)) taints.add(form);
    }
    this.exact = exact;
    this.everywhere = new Finder([...taints]);
    this.inFinished = new Finder([...taints].filter((taint) => taint.length >= 12 && /^[\w+/=.@%-]+$/.test(taint)));
  }

  /** Collects everything that the plan itself marks sensitive, wherever it stands in it. */
  static forPlans(plans: readonly Plan[]): Redactor {
    const secrets = new Set<string>();
    for (const plan of plans) collect(plan, secrets);
    return new Redactor(secrets, identifiersOf(plans));
  }

  /** A value as it may be shown: hidden leaves become {@link Words}. The shape stays. */
  value(value: Json | undefined, marks: Marks, name: string, type = ""): Shown {
    if (value === undefined || value === null) return null;
    if (hides(marks)) return new Words(MASK, value);
    if (own(SECRET_ATTRIBUTES, type)?.includes(name)) return new Words(MASK, value);
    return this.inner(value, marks, name);
  }

  /** Free text (messages, reasons) without what looks like a secret. */
  text(text: string): string {
    return this.cleaned(text, true);
  }

  /** An address, of which only the keys of `for_each` come from values. */
  address(address: string): string {
    if (!address.includes('["')) return address;
    return address.replace(/\["((?:[^"\\]|\\.)*)"\]/g, (whole, written: string) => {
      const key = parseString(`"${written}"`) ?? written;
      const shown = this.key(key);
      return shown === key ? whole : `[${JSON.stringify(shown)}]`;
    });
  }

  /** Marks of a value, with the keys under which {@link value} shows it. */
  keysOf(marks: Json): Json {
    if (isList(marks)) return marks.map((item) => this.keysOf(item));
    if (!isObject(marks)) return marks;
    const shown = bare<Json>();
    for (const key in marks) shown[this.key(key)] = this.keysOf(marks[key] ?? null);
    return shown;
  }

  private cleaned(text: string, random: boolean): string {
    const plain = TOO_SHORT_FOR_FORMS.test(text);
    if (plain && text.length < SHORTEST_TAINT) return text;
    const kept = random ? this.cleanedRandom : this.cleanedForms;
    const known = kept.get(text);
    if (known !== undefined) return known;
    let result = this.scrub(text);
    if (!plain) {
      for (const [form, replacement] of SECRET_FORMS) result = result.replace(form, replacement);
      result = withoutAssignments(result);
      if (random) result = result.replace(RANDOM_RUN, (run) => (looksRandom(run) ? LOOKS_SECRET : run));
    }
    if (kept.size < REMEMBERED) kept.set(text, result);
    return result;
  }

  /** Takes every known secret out of a text that comes from the plan. */
  scrub(text: string): string {
    return this.everywhere.replaceIn(text);
  }

  /**
   * The last net, under all others: finished Markdown without known secrets. Leaves out those that could be part of the
   * layout; they were taken from the values already.
   */
  scrubFinished(markdown: string): string {
    return this.inFinished.replaceIn(markdown);
  }

  private inner(value: Json, marks: Marks, name: string): Shown {
    if (value === null) return null;
    if (hides(marks)) return new Words(MASK, value);
    if (isList(value)) return value.map((item, index) => this.inner(item, marksOf(marks, index), name));
    if (isObject(value)) return this.object(value, marks, name);
    if (typeof value === "boolean") return value;
    const { secret, randomByNature } = nameKind(name);
    if (secret) return value === "" ? "" : new Words(MASK, value);
    if (typeof value === "number") return this.exact.has(String(value)) ? new Words(MASK, value) : value;
    return this.string(value, !randomByNature);
  }

  private object(value: { readonly [key: string]: Json }, marks: Marks, name: string): Shown {
    const shown = bare<Shown>();
    const label = value.name ?? value.key ?? value.Name ?? value.Key ?? value.parameter_name ?? value.header;
    const labelled = typeof label === "string" && isSecretName(label);
    const secret = isSecretName(name);
    for (const key in value) {
      const item = value[key] ?? null;
      const shownAs = this.key(key);
      if (item === null || typeof item === "boolean") {
        shown[shownAs] = this.inner(item, marksOf(marks, key), key);
        continue;
      }
      const hidden =
        (labelled && VALUE_NAME.test(key)) || (secret && typeof item !== "object" && !nameKind(key).reference);
      shown[shownAs] = hidden ? new Words(MASK, item) : this.inner(item, marksOf(marks, key), key);
    }
    return shown;
  }

  /** The keys of maps are text too. */
  key(key: string): string {
    return this.exact.has(key) ? MASK : this.text(key);
  }

  private string(value: string, random: boolean): Shown {
    if (value === "") return value;
    if (this.exact.has(value)) return new Words(MASK, value);
    if (/^\s*[[{]/.test(value) && value.length < 1_000_000) {
      const parsed = parseJson(value);
      if (parsed !== undefined) return new JsonText(this.inner(parsed, false, ""), value);
    }
    const result = this.cleaned(value, random);
    if (result === value) return value;
    return new Words(result === LOOKS_SECRET || result === MASK ? result : JSON.stringify(result), value);
  }
}

/** A string that holds JSON, taken apart so that its parts can be hidden and compared. */
export class JsonText {
  readonly #text: string;

  constructor(
    readonly value: Shown,
    text: string,
  ) {
    this.#text = text;
  }

  /** Whether the texts are the same to the letter, not only in what they mean. */
  sameText(other: JsonText): boolean {
    return this.#text === other.#text;
  }
}

/** A value that may be read by everybody. */
export type Shown =
  | null
  | boolean
  | number
  | string
  | Words
  | JsonText
  | readonly Shown[]
  | { readonly [key: string]: Shown };

export const isShownObject = (value: Shown | undefined): value is { readonly [key: string]: Shown } =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Words) &&
  !(value instanceof JsonText);

function parseString(text: string): string | undefined {
  try {
    return JSON.parse(text) as string;
  } catch {
    return undefined;
  }
}

export function parseJson(text: string): Json | undefined {
  try {
    const parsed = JSON.parse(text) as Json;
    return typeof parsed === "object" && parsed !== null ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/** Long runs of the characters that keys and digests are made of; references in templates are left out. */
const RANDOM_RUN = /(?<![\w$])[A-Za-z0-9+/_=-]{20,}/g;

/**
 * Whether a run of characters looks drawn at random. Words, names and paths change between letters and digits, and
 * between cases, much less often than random text does. ARNs, AWS identifiers and dates are not caught: they are cut
 * at `:` and `.`, or have a known prefix.
 */
export function looksRandom(run: string): boolean {
  if (/^[a-z]{1,12}-[0-9a-f]{8,17}$/.test(run)) return false;
  if (/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(run)) return true;
  return run.split(/[-_/]/).some((word) => isRandomWord(word)) || isRandomWord(run.replace(/[-_/]/g, ""), 32);
}

/** Words written together, such as `CloudWatchLambdaInsightsExecutionRolePolicy`: few capitals, and vowels. */
function isCamelCase(word: string): boolean {
  if (/^(?:AWS|Amazon)[A-Z][A-Za-z\d]+$/.test(word)) return true;
  if (!/^[A-Za-z]+\d{0,4}$/.test(word)) return false;
  const behindAcronym = word.replace(/^[A-Z]{2,4}(?=[A-Z][a-z])/, "");
  const capitals = behindAcronym.replace(/[^A-Z]/g, "").length;
  return capitals / behindAcronym.length <= 0.34 && vowelsIn(word) >= 0.2;
}

const vowelsIn = (word: string): number => (word.match(/[aeiouy]/gi)?.length ?? 0) / word.length;

function isRandomWord(word: string, shortest = 16): boolean {
  if (word.length < shortest) return false;
  const counts = new Map<string, number>();
  for (const character of word) counts.set(character, (counts.get(character) ?? 0) + 1);
  let entropy = 0;
  for (const count of counts.values()) entropy -= (count / word.length) * Math.log2(count / word.length);
  if (entropy < 2.9) return false;
  const kind = (character: string) => (/[a-z]/.test(character) ? 0 : /[A-Z]/.test(character) ? 1 : 2);
  let changes = 0;
  for (let index = 1; index < word.length; index++) {
    if (kind(word.charAt(index)) !== kind(word.charAt(index - 1))) changes++;
  }
  const rate = changes / (word.length - 1);
  if (isCamelCase(word)) return false;
  if (/^[0-9a-f]+$/i.test(word)) return word.length >= 20 && rate > 0.2;
  if (rate > 0.38) return true;
  return (
    word.length >= 20 &&
    (rate > 0.28 || (/^[a-z]+$/.test(word) && vowelsIn(word) < 0.2) || (/\d/.test(word) && rate > 0.2))
  );
}

/**
 * Finds many words in a text at once, by Wu and Manber's method: a table tells for each three characters how far away the end of
 * a word's head still is at least, so that most of a text is jumped over, however many words there are.
 */
class Finder {
  /** Length of the heads: the shortest word's, so that each word has one. */
  private readonly head: number;
  private readonly jumps: Uint8Array;
  private readonly byHead = new Map<string, string[]>();

  constructor(words: readonly string[]) {
    this.head = words.reduce((shortest, word) => Math.min(shortest, word.length), LONGEST_HEAD);
    this.jumps = new Uint8Array(words.length === 0 ? 0 : 1 << 16).fill(this.head - 2);
    for (const word of [...words].sort((a, b) => b.length - a.length)) {
      const head = word.slice(0, this.head);
      const bucket = this.byHead.get(head);
      if (bucket) {
        bucket.push(word);
        continue;
      }
      this.byHead.set(head, [word]);
      for (let end = 3; end <= this.head; end++) {
        const slot = slotOf(head, end);
        this.jumps[slot] = Math.min(this.jumps[slot] ?? 0, this.head - end);
      }
    }
  }

  replaceIn(text: string): string {
    if (this.byHead.size === 0) return text;
    let result = "";
    let hidden = 0;
    let end = this.head;
    while (end <= text.length) {
      const jump = this.jumps[slotOf(text, end)] ?? 0;
      if (jump > 0) {
        end += jump;
        continue;
      }
      const start = end - this.head;
      const found = this.byHead.get(text.slice(start, end))?.find((word) => text.startsWith(word, start));
      if (found !== undefined) {
        // One that begins within another and reaches further hides the rest as well.
        if (start >= hidden) result += text.slice(hidden, start) + MASK;
        hidden = Math.max(hidden, start + found.length);
      }
      end++;
    }
    return hidden === 0 ? text : result + text.slice(hidden);
  }
}

/** Longer heads would not make the jumps longer by much. */
const LONGEST_HEAD = 32;

/** Where the table keeps the jump for the three characters before `end`. */
const slotOf = (text: string, end: number): number =>
  (text.charCodeAt(end - 3) * 961 + text.charCodeAt(end - 2) * 31 + text.charCodeAt(end - 1)) & 0xffff;

/** Values that are marked sensitive now and then and mean nothing by themselves. */
const COMMON_WORDS = new Set([
  "true",
  "false",
  "null",
  "none",
  "default",
  "enabled",
  "disabled",
  "admin",
  "postgres",
  "string",
  "String",
]);

/**
 * The ways a secret can be written: as it is, inside JSON (Terraform's own `jsonencode` too), in an address, as base64, also of a
 * text that it is a part of, in HTML, with other line ends, or with its lines indented.
 */
function formsOf(secret: string): readonly string[] {
  const json = JSON.stringify(secret).slice(1, -1);
  const encoded = json.replace(/[<>&]/g, (sign) => `\\u00${sign.charCodeAt(0).toString(16)}`);
  const html = secret
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
  const lines = secret.includes("\n") ? secret.split("\n").filter((line) => line.trim().length >= 12) : [];
  const wellFormed = !/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(secret);
  const base64 = base64FormsOf(secret);
  return [
    secret,
    secret.replaceAll("\n", "\r\n"),
    ...[json, encoded].flatMap((form) => [form, JSON.stringify(form).slice(1, -1)]),
    ...(wellFormed ? [encodeURIComponent(secret)] : []),
    ...base64,
    ...base64.map((form) => form.replaceAll("+", "-").replaceAll("/", "_")),
    html,
    ...lines.map((line) => line.trim()),
  ].filter((form) => form.length >= SHORTEST_TAINT);
}

/** As base64 by itself, and what is the same of it wherever it stands in a longer text: at each of the three places in a group. */
function base64FormsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const parts = [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes])
      .toString("base64")
      .replace(/=+$/, "");
    // Characters that hold bits of a neighbour depend on it.
    const first = before === 0 ? 0 : before + 1;
    return text.slice(first, (before + bytes.length) % 3 === 0 ? undefined : -1);
  });
  return [bytes.toString("base64").replace(/=+$/, ""), ...parts];
}

function collect(plan: Plan, secrets: Set<string>): void {
  const change = (item: Change, type = "") => {
    gather(item.before, item.before_sensitive, secrets);
    gather(item.after, item.after_sensitive, secrets);
    for (const attribute of own(SECRET_ATTRIBUTES, type) ?? []) {
      for (const side of [item.before, item.after]) if (isObject(side)) gather(side[attribute], true, secrets);
    }
  };
  for (const resource of everyResource(plan)) change(resource.change, resource.type);
  for (const output of Object.values(plan.output_changes)) change(output);
  const variables = plan.configuration.root_module?.variables ?? {};
  for (const [name, variable] of Object.entries(variables)) {
    if (variable.sensitive === true) gather(plan.variables?.[name]?.value, true, secrets);
  }
  for (const state of [plan.prior_state, plan.planned_values]) gatherState(state, secrets);
}

const everyResource = (plan: Plan): readonly ResourceChange[] => [
  ...plan.resource_changes,
  ...plan.resource_drift,
  ...plan.deferred_changes.map((deferred) => deferred.resource_change),
];

/** An address holds the names of its resource, its type and its modules. */
function* identifiersOf(plans: readonly Plan[]): Iterable<string> {
  for (const plan of plans) {
    for (const { address } of everyResource(plan)) yield address;
  }
}

/** State and planned values carry their marks as `sensitive_values` beside `values`. */
function gatherState(value: Json | undefined, secrets: Set<string>): void {
  if (isList(value)) {
    for (const item of value) gatherState(item, secrets);
  } else if (isObject(value)) {
    if (value.sensitive_values !== undefined) gather(value.values, value.sensitive_values, secrets);
    if (value.sensitive === true) gather(value.value, true, secrets);
    for (const [key, item] of Object.entries(value)) {
      const attributes = key === "sensitive_values" || (key === "values" && value.sensitive_values !== undefined);
      if (!attributes && typeof item === "object") gatherState(item, secrets);
    }
  }
}

/**
 * All strings and numbers under marks that say "sensitive". Missing marks add nothing here: they hide at display.
 *
 * Terraform marks a set of blocks as a whole where one member of one block is sensitive, such as the header among a distribution's
 * origins. The block is hidden; what reads like a name or a setting in it (`vwr-api`, `https-only`) is not hunted for elsewhere.
 */
function gather(value: Json | undefined, marks: Marks, secrets: Set<string>, inBlock = false): void {
  if (value === undefined || value === null || marks === false || marks === undefined || marks === null) return;
  if (isList(value)) {
    // Marks are few: where they are of the value's own shape, they and not the values are walked.
    const count = isList(marks) ? Math.min(marks.length, value.length) : value.length;
    for (let index = 0; index < count; index++) {
      const item = value[index];
      gather(item, marksOf(marks, index), secrets, inBlock || (marks === true && isObject(item)));
    }
  } else if (isObject(value)) {
    for (const key of Object.keys(isObject(marks) ? marks : value)) {
      if (marks === true && looksRandom(key)) secrets.add(key);
      const named = inBlock && !isSecretName(key) && !VALUE_NAME.test(key);
      gather(own(value, key), marksOf(marks, key), secrets, named);
    }
  } else if (marks === true && typeof value !== "boolean") {
    const text = String(value);
    if (inBlock && /^[a-z][a-z\d]*(?:[-._][a-z\d]+)*$/i.test(text) && text.length <= 40 && !looksRandom(text)) return;
    secrets.add(text);
    const parsed = typeof value === "string" && /^\s*[[{]/.test(value) ? parseJson(value) : undefined;
    if (parsed !== undefined) gatherLeaves(parsed, secrets);
  }
}

/** The parts of a sensitive JSON text; its keys are words of a format, not secrets. */
function gatherLeaves(value: Json, secrets: Set<string>): void {
  if (isList(value)) for (const item of value) gatherLeaves(item, secrets);
  else if (isObject(value)) for (const item of Object.values(value)) gatherLeaves(item, secrets);
  else if (value !== null && typeof value !== "boolean") secrets.add(String(value));
}
