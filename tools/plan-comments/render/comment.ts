import { judge, type Verdict } from "../../guard/rules";
import {
  type Comparison,
  compareStacks,
  type Delta,
  deltaOf,
  MOST_REMEMBERED,
  type Outline,
  outlineOf,
  packMemory,
  type Remembered,
  remember,
} from "./compare";
import { callOf, type SynthStack } from "./configuration";
import { type CostView, costOf } from "./cost";
import type { DiffLine } from "./diff";
import { bundleChangesOf } from "./lambdas";
import { type Block, BODY_BUDGET, block, type Frame, fitted, fixed, inFull, type Section } from "./layout";
import { alert, code, details, fence, grouped, htmlCode, htmlWords, plural, table, words } from "./markdown";
import { type Counts, compareText, countsOf, type Item, isEmptyReport, type Kind, type Report } from "./model";
import { own } from "./plan";
import type { Redactor } from "./redact";
import { type AccessRow, type SecurityView, securityOf } from "./security";

export interface RenderOptions {
  /** Commit that was planned. */
  readonly head?: string;
  /** Commit of the base branch it was planned against. */
  readonly base?: string;
  /** What the last comment on this pull request remembered. */
  readonly previous?: Remembered;
  /** Synthesized stack of the base, to tell what changed in Lambda bundles. */
  readonly baseSynth?: SynthStack;
  /** The other environment, to say what is the same there. */
  readonly sibling?: Outline;
  /** Stacks that this one depends on and that have changes of their own. */
  readonly changingDependencies?: readonly string[];
  /** Place of this stack among those planned, from 1. */
  readonly position?: { readonly index: number; readonly of: number };
  /** Monthly figures from Infracost instead of the price table. */
  readonly infracost?: { readonly before: number; readonly after: number; readonly currency: string };
  /** Where the full text is (job summary or artifact). */
  readonly fullTextUrl?: string;
  /** Largest body in bytes. @default 60,000 */
  readonly budget?: number;
  /** What Terraform said when it stopped with an error. */
  readonly errorText?: string;
  /** Why a preview stands in the place of a plan. */
  readonly notPlanned?: string;
  /** Addresses that the guard of what holds data lets go. @default none */
  readonly guardAllows?: readonly string[];
  /** Names the command that applies the plan. @default true */
  readonly commands?: boolean;
}

export interface Rendered {
  /** Comment bodies, each under the budget; the first carries the summary and the memory. */
  readonly bodies: readonly string[];
  /** Everything in one text, for a job summary or an artifact. */
  readonly full: string;
  readonly summary: string;
  /** Whether something is destroyed or replaced: the pull request gets a label. */
  readonly destroys: boolean;
  readonly changes: boolean;
  /** For the comments of other stacks. */
  readonly outline: Outline;
}

const MARKER = "urr-plan";

/** First line of a comment part. The same for every version of this tool, or old comments would not be found again. */
export const markerOf = (stack: string, part: number): string => `<!-- ${MARKER} stack=${stack} part=${part} -->`;

const MARKER_LINE = /^<!-- urr-plan stack=([\w.-]+) part=(\d{1,3}) -->(?:\r?\n|$)/;

/** Which part of which stack's comment a body is; only its first line counts, so quoting one means nothing. */
export function readMarker(body: string): { readonly stack: string; readonly part: number } | undefined {
  const match = MARKER_LINE.exec(body);
  return match ? { stack: match[1] ?? "", part: Number(match[2]) } : undefined;
}

const memoryLine = (text: string): string => `<!-- urr-plan-memory ${text} -->`;

/** The packed memory of a comment's body, if it carries one. */
export const readMemory = (body: string): string | undefined => /^<!-- urr-plan-memory ([\w-]+) -->$/m.exec(body)?.[1];

const STACK_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/i;

const VERBS: Readonly<Record<Kind, string>> = {
  unknown: "unknown action",
  delete: "destroy",
  replace: "replace",
  forget: "forget",
  update: "change",
  create: "create",
  import: "import",
  move: "move",
  read: "read",
  "no-op": "nothing",
};

const SYMBOLS: Readonly<Record<Kind, string>> = {
  unknown: "??",
  delete: "−",
  replace: "±",
  forget: "⊘",
  update: "~",
  create: "+",
  import: "⇐",
  move: "→",
  read: "≤",
  "no-op": " ",
};

const SHORT_DIFF = 12;
const SHORT_TABLE = 25;
const ADDRESSES_PER_BLOCK = 120;

/** Renders one stack's plan as comment bodies and as one full text. Same input, same text. */
export function renderComment(report: Report, redactor: Redactor, options: RenderOptions = {}): Rendered {
  if (!STACK_NAME.test(report.stack)) {
    throw new Error(
      `stack name ${JSON.stringify(report.stack)}: letters, digits, dots, hyphens and underscores, at most 64`,
    );
  }
  const counts = countsOf(report.items);
  const summary = summaryOf(report, counts);
  const memory =
    options.previous || report.items.length <= MOST_REMEMBERED ? remember(report, options.head) : undefined;
  const delta = options.previous && memory ? deltaOf(options.previous, memory) : undefined;
  const guarded = judge(report.plan, options.guardAllows);
  const security = securityOf(report, redactor);
  const cost = costOf(report);
  const comparison = options.sibling ? compareStacks(outlineOf(report), options.sibling) : undefined;
  const sections: Section[] = [
    {
      blocks: [...warnings(report, redactor, guarded, options), ...overview(report, options, delta, cost, comparison)],
    },
    ...renameSection(report),
    ...securitySection(security),
    ...bundleSection(report, options.baseSynth),
    ...moduleSections(report),
    ...outputSection(report),
    ...driftSection(report),
    ...deferredSection(report),
    ...checkSection(report, redactor),
    ...costSection(cost, options),
    ...comparisonSection(comparison),
    ...deltaSection(delta),
  ];
  const packed = memory ? packMemory(memory) : undefined;
  const title =
    options.notPlanned === undefined
      ? `## ${report.preview ? "Preview of" : "Plan for"} \`${report.stack}\`: ${summary}`
      : `## \`${report.stack}\`: not planned · preview: ${summary}`;
  const frame: Frame = {
    opening: (part, parts) =>
      [
        markerOf(report.stack, part),
        ...(part === 1 && packed !== undefined ? [memoryLine(packed)] : []),
        part === 1 ? title : `## Plan for \`${report.stack}\`, part ${part} of ${parts}`,
      ].join("\n"),
    closing: (part, parts) => footer(report, options, guarded, part, parts),
    shortened: `_Details are left out here to stay under GitHub's limit. ${fullText(options)}_`,
    cut: (pieces) => `> [!WARNING]\n> ${plural(pieces, "more piece")} of this plan did not fit. ${fullText(options)}`,
  };
  const bodies = fitted(sections, frame, options.budget ?? BODY_BUDGET);
  return {
    bodies: bodies.map((body) => redactor.scrubFinished(body)),
    get full() {
      const text = redactor.scrubFinished(inFull(sections, frame));
      Object.defineProperty(this, "full", { value: text, enumerable: true });
      return text;
    },
    summary,
    destroys: report.items.some((item) => item.kind === "delete" || item.kind === "replace"),
    changes: !isEmptyReport(report),
    get outline() {
      return outlineOf(report);
    },
  };
}

/** A comment for a stack that could not be planned: what failed, and the end of its output, redacted. */
export function renderFailure(
  stack: string,
  phase: string,
  output: string,
  redactor: Redactor,
  options: RenderOptions = {},
): string {
  const lines = redactor.text(stripAnsi(output)).split("\n");
  const kept: string[] = [];
  let bytes = 0;
  for (const line of [...lines].reverse()) {
    const cut = line.length > 2_000 ? `${line.slice(0, 2_000)}…` : line;
    bytes += Buffer.byteLength(cut) * 2;
    if (bytes > (options.budget ?? BODY_BUDGET) * 0.7) break;
    kept.unshift(cut);
  }
  const dropped = lines.length - kept.length;
  return [
    markerOf(stack, 1),
    `## Plan for \`${stack}\`: failed`,
    "",
    alert("CAUTION", [
      `Failed at ${code(phase)}${options.head ? ` for ${code(options.head.slice(0, 7))}` : ""}. Nothing was planned; an older plan of this stack cannot be applied.`,
    ]),
    "",
    ...(dropped > 0 ? [`_The last ${plural(kept.length, "line")} of ${lines.length}. ${fullText(options)}_`, ""] : []),
    fence("text", kept),
  ].join("\n");
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: terminal colours begin with one
const stripAnsi = (text: string): string => text.replace(/\u001b\[[0-9;]*[A-Za-z]/g, "");

const fullText = (options: RenderOptions): string =>
  options.fullTextUrl !== undefined && /^https:\/\/[\w.:/%?=&#-]+$/.test(options.fullTextUrl)
    ? `The [full text](${options.fullTextUrl}) has everything.`
    : "The job summary has everything.";

function summaryOf(report: Report, counts: Counts): string {
  const parts = [
    counts.create > 0 ? `${counts.create} to add` : "",
    counts.update > 0 ? `${counts.update} to change` : "",
    counts.replace > 0 ? `${counts.replace} to replace` : "",
    counts.delete > 0 ? `${counts.delete} to destroy` : "",
    counts.import > 0 ? `${counts.import} to import` : "",
    counts.move > 0 ? `${counts.move} moved` : "",
    counts.forget > 0 ? `${counts.forget} to forget` : "",
    counts.unknown > 0 ? `${counts.unknown} with an unknown action` : "",
    report.deferred.length > 0 ? `${report.deferred.length} put off` : "",
  ].filter((part) => part !== "");
  const outputs = report.outputs.length > 0 ? plural(report.outputs.length, "output") : "";
  if (report.plan.errored) return `failed${parts.length > 0 ? ` (planned until then: ${parts.join(", ")})` : ""}`;
  if (parts.length === 0) return outputs === "" ? "no changes" : `only ${outputs} changed`;
  return parts.join(", ");
}

/** What a log says from its first error on, redacted, at most as much as a reader wants on top. */
function errorLines(log: string, redactor: Redactor): readonly string[] {
  const lines = redactor.text(stripAnsi(log)).split("\n");
  const first = lines.findIndex((line) => /^\W*Error:/.test(line));
  if (first < 0) return [];
  const said = lines.slice(first).map((line) => (line.length > 500 ? `${line.slice(0, 500)}…` : line));
  while (said.at(-1)?.trim() === "") said.pop();
  return said.length > MOST_ERROR_LINES
    ? [...said.slice(0, MOST_ERROR_LINES), `… ${said.length - MOST_ERROR_LINES} more lines in the job's log`]
    : said;
}

const MOST_ERROR_LINES = 60;

function warnings(report: Report, redactor: Redactor, guarded: Verdict, options: RenderOptions): readonly Block[] {
  const blocks: Block[] = [];
  const { plan } = report;
  if (plan.errored) {
    blocks.push(
      fixed(
        alert("CAUTION", [
          "**Terraform stopped with an error.** What follows is only what it had planned until then; it cannot be applied.",
        ]),
      ),
    );
    const said = errorLines(options.errorText ?? "", redactor);
    if (said.length > 0) blocks.push(fixed(fence("text", said)));
  }
  if (!plan.complete && !plan.errored) {
    blocks.push(
      fixed(
        alert("WARNING", [
          `**This plan is not complete:** ${plural(report.deferred.length, "change")} put off. Plan again after applying it.`,
        ]),
      ),
    );
  }
  for (const notice of plan.notices) blocks.push(fixed(alert("WARNING", [redactor.text(notice)])));
  if (plan.applyable === false && !plan.errored && !isEmptyReport(report)) {
    blocks.push(fixed(alert("WARNING", ["Terraform says that this plan cannot be applied."])));
  }
  const unknown = report.items.filter((item) => item.kind === "unknown");
  if (unknown.length > 0) {
    blocks.push(
      fixed(
        alert("CAUTION", [
          `**${plural(unknown.length, "resource")} with actions that this tool does not know.** Read the plan itself: ${addresses(
            unknown.map((item) => item.address),
            5,
          )}.`,
        ]),
      ),
    );
  }
  const lost = report.items.filter((item) => item.kind === "delete" || item.kind === "replace");
  if (lost.length > 0) {
    const heads = [countWords(lost, "delete", "destroyed"), countWords(lost, "replace", "replaced")].filter(
      (text) => text !== "",
    );
    const named = guarded.refused.length + guarded.overridden.length;
    const others = lost.map((item) => item.address);
    const lines = [
      `**${heads.join(", ")}${named === 0 ? ":" : "."}**${named === 0 ? ` ${addresses(others, 6)}.` : ""}`,
    ];
    const losses = (refusals: Verdict["refused"]) =>
      `${refusals
        .slice(0, 8)
        .map(({ address, lost: what }) => `${code(cutAddress(redactor.address(address)))} (${what})`)
        .join(", ")}${refusals.length > 8 ? ` and ${refusals.length - 8} more` : ""}`;
    if (guarded.refused.length > 0 && report.preview) lines.push(`Would be lost: ${losses(guarded.refused)}.`);
    else if (guarded.refused.length > 0) {
      lines.push(
        `**The guard refuses this plan.** Would be lost: ${losses(guarded.refused)}. It can be applied only while \`URR_GUARD_ALLOW\` names each of these addresses.`,
      );
    }
    if (guarded.overridden.length > 0) lines.push(`Lost, and allowed by override: ${losses(guarded.overridden)}.`);
    if (report.renames.length > 0) {
      lines.push(
        `${plural(report.renames.length, "of these looks", "of these look")} like a rename: see below before applying.`,
      );
    }
    const severe = lost.length > report.renames.length || guarded.refused.length + guarded.overridden.length > 0;
    blocks.push(
      fixed(
        alert(
          severe ? "CAUTION" : "WARNING",
          lines.flatMap((line, index) => (index === 0 ? [line] : ["", line])),
        ),
      ),
    );
  }
  return blocks;
}

function countWords(items: readonly Item[], kind: Kind, verb: string): string {
  const count = items.filter((item) => item.kind === kind).length;
  return count === 0 ? "" : `${plural(count, "resource is", "resources are")} ${verb}`;
}

function addresses(list: readonly string[], most: number): string {
  const shown = list.slice(0, most).map(code).join(", ");
  return list.length > most ? `${shown} and ${list.length - most} more` : shown;
}

function overview(
  report: Report,
  options: RenderOptions,
  delta: Delta | undefined,
  cost: CostView,
  comparison: Comparison | undefined,
): readonly Block[] {
  const blocks: Block[] = [];
  if (report.preview) {
    blocks.push(
      fixed(
        alert(options.notPlanned === undefined ? "NOTE" : "WARNING", [
          `${options.notPlanned === undefined ? "" : `**Not planned:** ${words(options.notPlanned)}. `}Made from the synthesized configuration of base and head alone: no state was read and nothing was planned. It cannot be applied.`,
        ]),
      ),
    );
  }
  if (isEmptyReport(report) && !report.plan.errored) {
    const reads = report.items.length;
    blocks.push(
      fixed(
        report.preview
          ? "The configuration is the same on both sides."
          : `The infrastructure is as configured: ${plural(report.unchanged, "resource")} checked${reads > 0 ? `, ${plural(reads, "data source")} to read` : ""}.`,
      ),
    );
  }
  const modules = modulesOf(report.items);
  if (modules.length > 1) {
    const rows = modules.map(([name, items]) => countRow(moduleTitle(name), countsOf(items)));
    const head = ["", "add", "change", "replace", "destroy", "other"];
    const align = ["left", "right", "right", "right", "right", "left"] as const;
    blocks.push(fixed(table(head, rows, [...align])));
  }
  const facts: string[] = [];
  if (delta)
    facts.push(
      `**Since the last plan${delta.since ? ` (${code(delta.since.slice(0, 7))})` : ""}:** ${deltaWords(delta)}`,
    );
  if (comparison) facts.push(`**Beside ${code(comparison.right)}:** ${comparisonWords(comparison)}`);
  const costFact = costWords(cost, options);
  if (costFact !== "") facts.push(`**Cost:** ${costFact}`);
  const dependencies = options.changingDependencies ?? [];
  if (options.position && options.position.of > 1) {
    facts.push(
      `**Order:** ${options.position.index} of ${options.position.of} stacks${dependencies.length > 0 ? `; this plan may change after ${addresses(dependencies, 5)} applies` : ""}`,
    );
  } else if (dependencies.length > 0) {
    facts.push(`**Order:** this plan may change after ${addresses(dependencies, 5)} applies`);
  }
  if (facts.length > 0) blocks.push(fixed(facts.map((fact) => `- ${fact}`).join("\n")));
  return blocks;
}

function countRow(title: string, counts: Counts): readonly string[] {
  const number = (count: number) => (count === 0 ? "" : String(count));
  const other = [
    counts.import > 0 ? `${counts.import} import` : "",
    counts.move > 0 ? `${counts.move} move` : "",
    counts.forget > 0 ? `${counts.forget} forget` : "",
    counts.read > 0 ? `${counts.read} read` : "",
    counts.unknown > 0 ? `**${counts.unknown} unknown**` : "",
  ].filter((text) => text !== "");
  return [
    title,
    number(counts.create),
    number(counts.update),
    number(counts.replace),
    counts.delete === 0 ? "" : `**${counts.delete}**`,
    other.join(", "),
  ];
}

const moduleTitle = (name: string): string => (name === "" ? "root" : code(name));

function modulesOf(items: readonly Item[]): readonly (readonly [string, readonly Item[]])[] {
  const modules = new Map<string, Item[]>();
  for (const item of items) {
    const list = modules.get(item.module);
    if (list) list.push(item);
    else modules.set(item.module, [item]);
  }
  return [...modules].sort(([a], [b]) => compareText(a, b));
}

/** The address inside its module: the heading says the rest. */
function local({ address }: Item): string {
  const call = callOf(address);
  const inner = call === undefined ? "" : address.slice(`module.${call}`.length);
  return inner.startsWith(".") ? inner.slice(1) : address;
}

function moduleSections(report: Report): readonly Section[] {
  return modulesOf(report.items).map(([name, items]) => ({
    heading: `### ${moduleTitle(name)} · ${moduleCounts(items)}`,
    blocks: moduleBlocks(items),
  }));
}

function moduleCounts(items: readonly Item[]): string {
  return (["delete", "replace", "forget", "update", "create", "import", "move", "read", "unknown"] as const)
    .map((kind) => [kind, items.filter((item) => item.kind === kind).length] as const)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `${count} ${VERBS[kind]}`)
    .join(", ");
}

function moduleBlocks(items: readonly Item[]): readonly Block[] {
  const of = (kind: Kind) => items.filter((item) => item.kind === kind);
  return [
    ...["unknown", "delete", "replace"].flatMap((kind) => single(of(kind as Kind), false)),
    ...listing(of("forget"), "no longer managed; the real thing stays"),
    ...single(
      of("update").filter((item) => item.diff.lines.length > 0),
      true,
    ),
    ...noiseBlocks(of("update").filter((item) => item.diff.lines.length === 0)),
    ...creations(of("create")),
    ...listing(of("import"), "imported as it is"),
    ...listing(of("move"), "moved, otherwise unchanged"),
    ...listing(of("read"), "read during apply"),
  ];
}

/** One folded diff per resource. */
function single(items: readonly Item[], foldedReason: boolean): readonly Block[] {
  const long = items.length > ADDRESSES_PER_BLOCK;
  const versions = (item: Item): Block =>
    block(
      () => itemDetails(item, Number.POSITIVE_INFINITY, foldedReason),
      () => itemDetails(item, SHORT_DIFF, foldedReason),
      () => briefly(item),
    );
  if (!long) return items.map(versions);
  return chunks(items, 20).map((chunk) =>
    block(
      () => chunk.map((item) => itemDetails(item, Number.POSITIVE_INFINITY, foldedReason)).join("\n"),
      () => chunk.map((item) => itemDetails(item, SHORT_DIFF, foldedReason)).join("\n"),
      () => chunk.map(briefly).join("\n"),
    ),
  );
}

const briefly = (item: Item): string =>
  `- ${SYMBOLS[item.kind]} ${VERBS[item.kind]} ${code(cutAddress(local(item)))}${remark(item)}`;

function remark(item: Item): string {
  const parts = [
    item.reason === undefined ? "" : words(item.reason),
    item.previousAddress === undefined ? "" : `moved from ${code(cutAddress(item.previousAddress))}`,
    item.importId === undefined ? "" : `imports ${code(cutAddress(item.importId))}`,
    item.deposed === undefined ? "" : "a deposed copy of an earlier replacement",
    item.kind === "update" && item.diff.changed.length > 0 ? words(listWords(item.diff.changed, 1).slice(0, 200)) : "",
  ].filter((part) => part !== "");
  return parts.length > 0 ? `: ${parts.join("; ")}` : "";
}

function itemDetails(item: Item, most: number, named: boolean): string {
  const lines = diffLines(item, most);
  if (lines.length === 0) return briefly(item);
  const construct = constructOf(item);
  const title = [
    `${SYMBOLS[item.kind]} ${VERBS[item.kind]} ${htmlCode(cutAddress(local(item)))}`,
    item.reason === undefined ? "" : htmlWords(item.reason),
    item.previousAddress === undefined ? "" : `moved from ${htmlCode(cutAddress(item.previousAddress))}`,
    item.importId === undefined ? "" : `imports ${htmlCode(cutAddress(item.importId))}`,
    item.deposed === undefined ? "" : "a deposed copy",
    named && item.diff.changed.length > 0 ? changedWords(item.diff.changed) : "",
    construct === undefined ? "" : `construct ${htmlCode(construct)}`,
  ].filter((part) => part !== "");
  return details(title.join(" · "), fence("diff", lines));
}

const changedWords = (names: readonly string[]): string =>
  names.length <= 4
    ? names.map(htmlWords).join(", ")
    : `${names.slice(0, 3).map(htmlWords).join(", ")} and ${names.length - 3} more`;

/** A construct path is worth its room only where the address does not say the same. */
function constructOf(item: Item): string | undefined {
  const inner = item.construct?.split("/").slice(2) ?? [];
  return inner.length > 1 ? inner.join("/") : undefined;
}

const cutAddress = (address: string): string => (address.length > 300 ? `${address.slice(0, 300)}…` : address);

function diffLines(item: Item, most: number): readonly string[] {
  if (item.kind === "delete") return identity(item);
  const { diff } = item;
  const fresh = item.kind === "create";
  const lines = [...diff.lines.map(toText), ...(fresh ? awaitedLines(item) : [])];
  const shown = lines.slice(0, most);
  if (lines.length > most) shown.push(`# … ${plural(lines.length - most, "more line")}`);
  if (most < SHORT_DIFF || fresh) return shown;
  if (diff.unknown.length > 0) shown.push(`# known after apply: ${listWords(diff.unknown, most)}`);
  if (diff.noise.length > 0) shown.push(`# folded: ${listWords(diff.noise, most)}`);
  return shown;
}

/** Of a new resource, only what the configuration sets is worth a line; the rest is made by the provider. */
function awaitedLines(item: Item): readonly string[] {
  const { awaited } = item;
  if (awaited === undefined)
    return item.diff.unknown.length > 0 ? [`# known after apply: ${listWords(item.diff.unknown, 12)}`] : [];
  return item.diff.unknown.flatMap((path) => {
    const source = awaited[/^\w+/.exec(path)?.[0] ?? ""];
    return source === undefined ? [] : [`+ ${path}: (known after apply, from ${source})`];
  });
}

/** What a destroyed resource was: enough to know it again. */
function identity(item: Item): readonly string[] {
  const wanted = [
    "name",
    "identifier",
    "bucket",
    "function_name",
    "id",
    "arn",
    "cidr_block",
    "engine",
    "instance_class",
    "tags",
    "input",
  ];
  return item.diff.lines
    .filter((line) => wanted.includes(/^[\w]+/.exec(line.text)?.[0] ?? ""))
    .slice(0, 12)
    .map(toText);
}

const listWords = (names: readonly string[], most: number): string => {
  const limit = Number.isFinite(most) ? 12 : 60;
  return names.length > limit
    ? `${names.slice(0, limit).join(", ")} and ${names.length - limit} more`
    : names.join(", ");
};

const toText = (line: DiffLine): string => `${line.sign} ${line.text}`;

function noiseBlocks(items: readonly Item[]): readonly Block[] {
  return chunks(items, ADDRESSES_PER_BLOCK).map((chunk) => {
    const title = `~ ${plural(chunk.length, "resource")} changed in form only, or by what is known after apply`;
    const lines = (most: number) =>
      chunk.map((item) => {
        const parts = [
          ...(item.diff.unknown.length > 0 ? [`known after apply: ${listWords(item.diff.unknown, most)}`] : []),
          ...(item.diff.noise.length > 0 ? [`folded: ${listWords(item.diff.noise, most)}`] : []),
          ...(item.previousAddress === undefined ? [] : [`moved from ${item.previousAddress}`]),
          ...(item.importId === undefined ? [] : [`imports ${item.importId}`]),
        ];
        return `! ${cutAddress(local(item))}${parts.length > 0 ? `  # ${parts.join("; ")}` : ""}`;
      });
    return block(
      () => details(title, fence("diff", lines(Number.POSITIVE_INFINITY))),
      () => details(title, fence("diff", lines(SHORT_DIFF))),
      () =>
        details(
          title,
          fence(
            "diff",
            chunk.map((item) => `! ${cutAddress(local(item))}`),
          ),
        ),
    );
  });
}

/** Creations of a module in one fold: a new thing is read as a list first. */
function creations(items: readonly Item[]): readonly Block[] {
  return chunks(items, 40).map((chunk) => {
    const names = chunk
      .slice(0, 6)
      .map((item) => htmlCode(cutAddress(local(item))))
      .join(", ");
    const title = `+ create ${names}${chunk.length > 6 ? ` and ${chunk.length - 6} more` : ""}`;
    const body = (most: number) =>
      chunk.flatMap((item) => [
        `+ ${cutAddress(local(item))}${item.deposed === undefined ? "" : " (deposed)"}${constructOf(item) === undefined ? "" : `  # construct ${constructOf(item)}`}`,
        ...diffLines(item, most).map((line) => `${line.slice(0, 1)}   ${line.slice(2)}`),
      ]);
    return block(
      () => details(title, fence("diff", body(Number.POSITIVE_INFINITY))),
      () => details(title, fence("diff", body(SHORT_DIFF / 2))),
      () =>
        details(
          `+ create ${plural(chunk.length, "resource")}`,
          fence(
            "diff",
            chunk.map((item) => `+ ${cutAddress(local(item))}`),
          ),
        ),
    );
  });
}

/** Plain lists of addresses. */
function listing(items: readonly Item[], what: string): readonly Block[] {
  if (items.length === 0) return [];
  if (items.length <= 10)
    return [
      fixed(
        [
          ...items.map(
            (item) => `${briefly(item)}${item.reason || item.previousAddress || item.importId ? "" : `: ${what}`}`,
          ),
        ].join("\n"),
      ),
    ];
  return chunks(items, ADDRESSES_PER_BLOCK).map((chunk) => {
    const title = `${SYMBOLS[chunk[0]?.kind ?? "read"]} ${plural(chunk.length, "resource")}: ${what}`;
    return block(
      () => details(title, chunk.map(briefly).join("\n")),
      () =>
        details(
          title,
          fence(
            "text",
            chunk.map((item) => cutAddress(local(item))),
          ),
        ),
    );
  });
}

function chunks<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  const result: T[][] = [];
  for (let index = 0; index < items.length; index += size) result.push(items.slice(index, index + size));
  return result;
}

function renameSection(report: Report): readonly Section[] {
  if (report.renames.length === 0) return [];
  return chunks(report.renames, 25).map((chunk, index) => {
    const sure = chunk.filter((rename) => !rename.ambiguous);
    const list = chunk.map(
      ({ from, to, ambiguous }) =>
        `- ${code(cutAddress(from))} → ${code(cutAddress(to))}${ambiguous ? " (others fit too: check)" : ""}`,
    );
    const blocks = chunk.map(({ from, to }) => `moved {\n  from = ${from}\n  to   = ${to}\n}`);
    const text =
      "Destroyed here and created there with equal configuration. If it is the same thing, keep it with a `moved` block:";
    return {
      ...(index === 0
        ? { heading: `### ${plural(report.renames.length, "rename")} that Terraform does not know of` }
        : {}),
      blocks: [
        block(
          () =>
            [
              text,
              list.join("\n"),
              details(
                `<code>moved</code> ${sure.length === 1 ? "block" : "blocks"}`,
                fence(
                  "hcl",
                  blocks.flatMap((moved) => moved.split("\n")),
                ),
                chunk.length <= 3,
              ),
            ].join("\n\n"),
          () => [text, list.join("\n")].join("\n\n"),
        ),
      ],
    };
  });
}

function securitySection(view: SecurityView): readonly Section[] {
  if (view.permissions.length === 0 && view.network.length === 0 && view.notAnalysed.length === 0) return [];
  const blocks: Block[] = [];
  if (view.permissions.length > 0) blocks.push(...accessTables(view.permissions, ["", "who", "may", "on"]));
  if (view.network.length > 0) blocks.push(...accessTables(view.network, ["", "from", "by", "to"]));
  if (view.notAnalysed.length > 0) {
    blocks.push(
      block(
        () =>
          `Not analysed: ${view.notAnalysed
            .slice(0, 100)
            .map((text) => code(text))
            .join(", ")}${view.notAnalysed.length > 100 ? ` and ${view.notAnalysed.length - 100} more` : ""}.`,
        () => `Not analysed: ${addresses(view.notAnalysed, 5)}.`,
      ),
    );
  } else
    blocks.push(
      fixed("<sub>Not analysed: rights granted outside these stacks, service control policies and network ACLs.</sub>"),
    );
  const risks = [...view.permissions, ...view.network].filter(
    (row) => row.sign === "+" && row.risk !== undefined,
  ).length;
  return [{ heading: `### Access${risks > 0 ? ` · ${plural(risks, "line")} to look at twice` : ""}`, blocks }];
}

function accessTables(rows: readonly AccessRow[], head: readonly string[]): readonly Block[] {
  const sorted = [...rows].sort((a, b) => rank(a) - rank(b));
  const row = (entry: AccessRow) => [
    entry.sign === "+" ? "＋" : "－",
    code(cell(entry.who)),
    `${code(cell(entry.what))}${entry.risk === undefined || entry.sign === "-" ? "" : ` **⚠ ${words(entry.risk)}**`}`,
    code(cell(entry.where)),
  ];
  return chunks(sorted, 60).map((chunk) =>
    block(
      () => table(head, chunk.map(row)),
      () =>
        chunk.length > SHORT_TABLE
          ? `${table(head, chunk.slice(0, SHORT_TABLE).map(row))}\n\n… and ${chunk.length - SHORT_TABLE} more lines.`
          : table(head, chunk.map(row)),
    ),
  );
}

const rank = (row: AccessRow): number => (row.sign === "+" ? (row.risk === undefined ? 1 : 0) : 2);

const cell = (text: string): string => (text.length > 220 ? `${text.slice(0, 220)}…` : text);

function bundleSection(report: Report, base: SynthStack | undefined): readonly Section[] {
  const changes = bundleChangesOf(report, base);
  if (changes.length === 0) return [];
  const rows = changes.slice(0, 60).map((change) => [
    code(cell(change.name)),
    change.beforeBytes === undefined && change.afterBytes === undefined
      ? ""
      : change.isNew
        ? size(change.afterBytes)
        : `${size(change.beforeBytes)} → ${size(change.afterBytes)}`,
    change.sources.length > 0
      ? `${change.sources
          .slice(0, 6)
          .map((file) => code(cell(file)))
          .join(", ")}${change.sources.length > 6 ? ` and ${change.sources.length - 6} more` : ""}`
      : change.unknown !== undefined
        ? words(change.unknown)
        : "new",
  ]);
  const more = changes.length > 60 ? `\n\n… and ${changes.length - 60} more functions.` : "";
  return [{ heading: "### Lambda code", blocks: [fixed(table(["function", "size", "because of"], rows) + more)] }];
}

const size = (bytes: number | undefined): string =>
  bytes === undefined
    ? "?"
    : bytes < 1024
      ? `${bytes} B`
      : bytes < 1024 * 1024
        ? `${(bytes / 1024).toFixed(1)} KiB`
        : `${(bytes / 1024 / 1024).toFixed(2)} MiB`;

function outputSection(report: Report): readonly Section[] {
  if (report.outputs.length === 0) return [];
  return chunks(report.outputs, 60).map((chunk, index) => {
    const lines = (most: number) =>
      chunk.flatMap((output) => {
        const diff = [
          ...output.diff.lines.map(toText),
          ...output.diff.unknown.map((name) => `${output.kind === "create" ? "+" : "!"} ${name}: (known after apply)`),
        ];
        const all =
          diff.length > 0 ? diff : [`! ${output.name}: ${output.diff.noise.join(", ") || "changed in form only"}`];
        return all.length > most
          ? [...all.slice(0, most), `# … ${plural(all.length - most, "more line")} of ${output.name}`]
          : all;
      });
    return {
      ...(index === 0 ? { heading: `### Outputs · ${report.outputs.length} changed` } : {}),
      blocks: [
        block(
          () => fence("diff", lines(Number.POSITIVE_INFINITY)),
          () => fence("diff", lines(3)),
          () =>
            fence(
              "diff",
              chunk.map((output) => `! ${output.name.slice(0, 200)}`),
            ),
        ),
      ],
    };
  });
}

function driftSection(report: Report): readonly Section[] {
  if (report.drift.length === 0) return [];
  const blocks = chunks(report.drift, 40).map((chunk) => {
    const body = (most: number) =>
      chunk.flatMap((item) => [
        `${item.kind === "delete" ? "-" : "!"} ${cutAddress(item.address)}${item.kind === "delete" ? ": is gone" : ""}`,
        ...(item.kind === "delete" ? [] : item.diff.lines.slice(0, most).map((line) => `${line.sign}   ${line.text}`)),
        ...(item.kind !== "delete" && item.diff.lines.length > most
          ? [`#   … ${plural(item.diff.lines.length - most, "more line")}`]
          : []),
      ]);
    return block(
      () =>
        details(
          `What is no longer as the last apply left it`,
          fence("diff", body(Number.POSITIVE_INFINITY)),
          report.drift.length <= 5,
        ),
      () => details(`What is no longer as the last apply left it`, fence("diff", body(4))),
      () =>
        details(
          `What is no longer as the last apply left it`,
          fence(
            "text",
            chunk.map((item) => cutAddress(item.address)),
          ),
        ),
    );
  });
  return [
    {
      heading: `### Drift · ${plural(report.drift.length, "resource")} changed outside Terraform`,
      blocks,
    },
  ];
}

const DEFERRED: Readonly<Record<string, string>> = {
  instance_count_unknown: "count or for_each is known only after apply",
  resource_config_unknown: "its configuration is known only after apply",
  provider_config_unknown: "its provider's configuration is known only after apply",
  deferred_prereq: "something it needs is put off",
  absent_prereq: "something it needs is not there yet",
};

function deferredSection(report: Report): readonly Section[] {
  if (report.deferred.length === 0) return [];
  return [
    {
      heading: `### Put off · ${report.deferred.length}`,
      blocks: chunks(report.deferred, 60).map((chunk) =>
        fixed(
          chunk
            .map(
              ({ reason, item }) =>
                `- ${VERBS[item.kind]} ${code(cutAddress(item.address))}: ${words(own(DEFERRED, reason) ?? `reason ${reason}`)}`,
            )
            .join("\n"),
        ),
      ),
    },
  ];
}

function checkSection(report: Report, redactor: Redactor): readonly Section[] {
  const failing = report.plan.checks.filter((check) => check.status === "fail" || check.status === "error");
  if (failing.length === 0) return [];
  const blocks = failing.slice(0, 100).map((check) => {
    const messages = (check.instances ?? [])
      .flatMap((instance) => instance.problems ?? [])
      .map((problem) => problem.message ?? "");
    const shown = messages.slice(0, 10).map((message) => words(redactor.text(message).slice(0, 600)));
    return fixed(
      `- ${code(cutAddress(redactor.address(check.address.to_display ?? "a check")))}: ${shown.join("; ") || "does not hold"}`,
    );
  });
  return [{ heading: `### Checks that fail · ${failing.length}`, blocks }];
}

/** An amount of money without its sign: cents only where they matter. */
const figure = (amount: number): string => {
  const absolute = Math.abs(amount);
  return absolute === 0 || absolute >= 10 ? grouped(Math.round(absolute)) : absolute.toFixed(2);
};

const signed = (amount: number): string => `${amount < 0 ? "−" : "+"}${figure(amount)}`;

function costWords(cost: CostView, options: RenderOptions): string {
  if (options.infracost) {
    const { before, after, currency } = options.infracost;
    return `${signed(after - before)} ${words(currency)} a month by Infracost (${figure(before)} → ${figure(after)})`;
  }
  if (cost.rows.length === 0) return "";
  return `about ${signed(cost.after - cost.before)} USD a month (rough estimate, unchecked prices of ${cost.date}${cost.byUse.length > 0 ? ", without what is paid by use" : ""})`;
}

function costSection(cost: CostView, options: RenderOptions): readonly Section[] {
  if (cost.rows.length === 0 && cost.unpriced.length === 0) return [];
  const rows = cost.rows
    .slice(0, 40)
    .map((row) => [
      code(cell(row.address)),
      figure(row.before),
      figure(row.after),
      signed(row.after - row.before),
      words(row.basis),
    ]);
  const notes = [
    cost.rows.length > 40 ? `… and ${cost.rows.length - 40} more.` : "",
    cost.unpriced.length > 0 ? `Not priced: ${addresses(cost.unpriced, 5)}.` : "",
    cost.byUse.length > 0 ? `Paid by use, not priced: ${addresses(cost.byUse, 12)}.` : "",
  ].filter((note) => note !== "");
  const body = [
    ...(rows.length > 0
      ? [
          table(["resource", "before", "after", "USD a month", "for"], rows, [
            "left",
            "right",
            "right",
            "right",
            "left",
          ]),
        ]
      : []),
    ...notes,
  ].join("\n\n");
  const title = options.infracost
    ? "Cost by the price table of this repository"
    : `Cost estimate: ${htmlWords(costWords(cost, {})) || "sizes without a price"}`;
  return [{ blocks: [fixed(details(title, body))] }];
}

function comparisonWords(comparison: Comparison): string {
  const parts = [
    comparison.same > 0 ? `the same ${plural(comparison.same, "change")}` : "no change in common",
    comparison.different.length > 0 ? `${comparison.different.length} changed in another way` : "",
    comparison.onlyLeft.length > 0 ? `${comparison.onlyLeft.length} only in ${code(comparison.left)}` : "",
    comparison.onlyRight.length > 0 ? `${comparison.onlyRight.length} only in ${code(comparison.right)}` : "",
  ].filter((part) => part !== "");
  return parts.join(", ");
}

function comparisonSection(comparison: Comparison | undefined): readonly Section[] {
  if (!comparison) return [];
  const groups = [
    [`Only in ${comparison.left}`, comparison.onlyLeft],
    [`Only in ${comparison.right}`, comparison.onlyRight],
    ["In both, but not the same", comparison.different],
  ] as const;
  const lines = groups.flatMap(([title, items]) =>
    items.length === 0
      ? []
      : [
          `# ${title}`,
          ...items.slice(0, 60).map((item) => `${SYMBOLS[item.kind]} ${cutAddress(item.address)}`),
          ...(items.length > 60 ? [`… and ${items.length - 60} more`] : []),
        ],
  );
  if (lines.length === 0) return [];
  return [
    {
      blocks: [
        block(
          () => details(`Beside ${htmlCode(comparison.right)}`, fence("text", lines)),
          () => "",
        ),
      ],
    },
  ];
}

function deltaWords(delta: Delta): string {
  const parts = [
    delta.added.length > 0 ? `${delta.added.length} new` : "",
    delta.changed.length > 0 ? `${delta.changed.length} changed` : "",
    delta.gone.length > 0 ? `${delta.gone.length} gone` : "",
  ].filter((part) => part !== "");
  return parts.length === 0 ? "nothing changed" : `${parts.join(", ")}, ${delta.same} as before`;
}

function deltaSection(delta: Delta | undefined): readonly Section[] {
  if (!delta || delta.added.length + delta.changed.length + delta.gone.length === 0) return [];
  const most = 40;
  const lines = (
    [
      ["+", delta.added],
      ["!", delta.changed],
      ["-", delta.gone],
    ] as const
  ).flatMap(([sign, list]) => [
    ...list.slice(0, most).map((address) => `${sign} ${cutAddress(address)}`),
    ...(list.length > most ? [`# … ${list.length - most} more`] : []),
  ]);
  return [
    {
      blocks: [
        block(
          () => details("What changed since the last plan of this pull request", fence("diff", lines)),
          () => "",
        ),
      ],
    },
  ];
}

function footer(report: Report, options: RenderOptions, guarded: Verdict, part: number, parts: number): string {
  const time = report.plan.timestamp;
  const facts = [
    options.head ? `commit ${code(options.head.slice(0, 7))}` : "",
    options.base ? `base ${code(options.base.slice(0, 7))}` : "",
    report.plan.terraform_version ? `Terraform ${words(report.plan.terraform_version)}` : "",
    time && /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(time) ? `${time.slice(0, 10)} ${time.slice(11, 16)} UTC` : "",
    parts > 1 ? `part ${part} of ${parts}` : "",
  ].filter((fact) => fact !== "");
  const lines = facts.length > 0 ? [`<sub>${facts.join(" · ")}</sub>`] : [];
  const applicable = !report.preview && !report.plan.errored && !isEmptyReport(report) && guarded.refused.length === 0;
  if (part === parts && options.commands !== false && applicable) {
    lines.push(
      `<sub>Apply exactly this plan: comment \`cdktf apply ${report.stack}\` · plan again: \`cdktf plan ${report.stack}\`</sub>`,
    );
  }
  return lines.length > 0
    ? ["---", ...lines.map((line, index) => (index < lines.length - 1 ? `${line}<br>` : line))].join("\n")
    : "";
}
