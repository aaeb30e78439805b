import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { readDependencies, readSynth } from "./files";
import {
  inDependencyOrder,
  type Outline,
  outlineOf,
  PlanFormatError,
  parsePlan,
  previewOf,
  Redactor,
  type Remembered,
  type Rendered,
  type RenderOptions,
  type Report,
  readMemory,
  readOutline,
  remember,
  renderComment,
  renderFailure,
  reportOf,
  type SynthStack,
  toAnsi,
  unpackMemory,
} from "./render/index";
import { isList, isObject, type Json } from "./render/plan";

const USAGE = `Usage: plan:render --stack NAME PLAN.json [--stack NAME PLAN.json …] [options]
       plan:render --preview --synth DIR --base-synth DIR [--stack NAME …]
       plan:render --failed PHASE --stack NAME LOG

PLAN.json is the output of terraform show -json; "-" reads standard input.

  --synth DIR        synthesized configuration (cdktf.out): construct paths, order of stacks, Lambda bundles
  --base-synth DIR   the same of the base branch: what changed in bundles; in a preview, what to compare with
  --previous FILE    the last comment's body or the last plan's JSON: what changed since (of the first stack)
  --head SHA, --base SHA
  --beside FILE      what --json wrote of another stack: what is the same there, and whether it comes first
  --error-log FILE   what terraform plan printed: its error is shown if the plan says that it stopped
  --not-planned WHY  a preview in the place of a plan that could not be made
  --guard-allow LIST addresses that the guard lets go, separated by spaces
  --infracost FILE   output of infracost diff --format json, instead of the price table
  --full-text-url URL
  --only NAME        print this stack alone; the others are read for comparison and order
  --full             everything, without GitHub's limit
  --ansi             for a terminal
  --json             bodies, full text and facts as JSON`;

export interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

/** The command, without touching the process: what it prints and its exit code (0, or 2 for bad input). */
export function render(parameters: readonly string[], read: (file: string) => string = readText): Output {
  try {
    return { stdout: run(parameters, read), stderr: "", code: 0 };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const usage = error instanceof TypeError || error instanceof UsageError ? `\n\n${USAGE}` : "";
    const known = usage !== "" || error instanceof PlanFormatError;
    return { stdout: "", stderr: `${known ? error.message : `${error.name}: ${error.message}`}${usage}\n`, code: 2 };
  }
}

class UsageError extends Error {}

function readText(file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(
      `${file} cannot be read (${reason}). Give the file that \`terraform show -json PLANFILE\` printed.`,
    );
  }
}

function run(parameters: readonly string[], read: (file: string) => string): string {
  const { values, positionals } = parseArgs({
    args: [...parameters],
    allowPositionals: true,
    options: {
      stack: { type: "string", multiple: true, default: [] },
      synth: { type: "string" },
      "base-synth": { type: "string" },
      previous: { type: "string" },
      head: { type: "string" },
      base: { type: "string" },
      infracost: { type: "string" },
      "full-text-url": { type: "string" },
      only: { type: "string" },
      "not-planned": { type: "string" },
      "error-log": { type: "string" },
      beside: { type: "string", multiple: true, default: [] },
      "guard-allow": { type: "string", default: "" },
      failed: { type: "string" },
      preview: { type: "boolean", default: false },
      full: { type: "boolean", default: false },
      ansi: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return `${USAGE}\n`;
  const shared: RenderOptions = {
    ...(values.head === undefined ? {} : { head: commit(values.head) }),
    ...(values.base === undefined ? {} : { base: commit(values.base) }),
    ...(values["full-text-url"] === undefined ? {} : { fullTextUrl: values["full-text-url"] }),
    ...(values["error-log"] === undefined ? {} : { errorText: read(values["error-log"]) }),
    ...(values["not-planned"] === undefined ? {} : { notPlanned: values["not-planned"] }),
    guardAllows: values["guard-allow"].split(/\s+/).filter((address) => address !== ""),
  };
  if (values.failed !== undefined) {
    const [stack, file] = [values.stack[0], positionals[0]];
    if (stack === undefined || file === undefined) throw new UsageError("--failed needs --stack NAME and a log file");
    const body = renderFailure(stack, values.failed, read(file), new Redactor(), shared);
    return values.json ? `${JSON.stringify([{ stack, bodies: [body], destroys: false }])}\n` : `${body}\n`;
  }
  const synth = values.synth === undefined ? {} : readSynth(values.synth);
  const baseSynth = values["base-synth"] === undefined ? {} : readSynth(values["base-synth"]);
  const { reports, redactor } = values.preview
    ? previews(values.stack, synth, baseSynth)
    : planned(values.stack, positionals, synth, read);
  const dependencies = values.synth === undefined ? {} : readDependencies(values.synth);
  const others = values.beside.flatMap((file) => outlinesIn(file, read));
  const order = values.synth === undefined ? values.stack : inDependencyOrder(dependencies);
  const place = (stack: string) => order.indexOf(stack);
  const sorted = [...reports].sort((a, b) => place(a.stack) - place(b.stack));
  const outlines = [...others, ...(reports.length > 1 ? reports.map(outlineOf) : [])];
  const all = [...new Set([...outlines.map(({ stack }) => stack), ...sorted.map(({ stack }) => stack)])].sort(
    (a, b) => place(a) - place(b),
  );
  const results = sorted
    .map((report) => {
      const sibling = siblingOf(report, outlines);
      const old = baseSynth[report.stack];
      const needed = transitive(report.stack, dependencies);
      const changing = outlines.filter((other) => needed.has(other.stack) && other.changes).map(({ stack }) => stack);
      const options: RenderOptions = {
        ...shared,
        ...(old ? { baseSynth: old } : {}),
        ...(sibling ? { sibling } : {}),
        ...(values.previous === undefined || report.stack !== values.stack[0]
          ? {}
          : previousOf(values.previous, report.stack, redactor, read)),
        ...(values.infracost === undefined ? {} : infracostOf(read(values.infracost))),
        changingDependencies: changing,
        position: { index: all.indexOf(report.stack) + 1, of: all.length },
      };
      return { stack: report.stack, rendered: renderComment(report, redactor, options) };
    })
    .filter(({ stack }) => values.only === undefined || stack === values.only);
  if (values.only !== undefined && results.length === 0)
    throw new UsageError(`--only ${values.only}: no such stack among those given`);
  return print(results, values);
}

function planned(
  stacks: readonly string[],
  files: readonly string[],
  synth: Readonly<Record<string, SynthStack>>,
  read: (file: string) => string,
): { reports: readonly Report[]; redactor: Redactor } {
  if (stacks.length === 0 || stacks.length !== files.length) {
    throw new UsageError(
      `one plan file per --stack is needed: ${stacks.length} stacks and ${files.length} files were given`,
    );
  }
  if (new Set(stacks).size !== stacks.length) throw new UsageError("a stack was given twice");
  const plans = files.map((file) => parsePlan(read(file), file));
  const redactor = Redactor.forPlans(plans);
  return {
    redactor,
    reports: plans.map((plan, index) => {
      const stack = stacks[index] ?? "";
      return reportOf(stack, plan, redactor, synth[stack]);
    }),
  };
}

function previews(
  stacks: readonly string[],
  head: Readonly<Record<string, SynthStack>>,
  base: Readonly<Record<string, SynthStack>>,
): { reports: readonly Report[]; redactor: Redactor } {
  const names = stacks.length > 0 ? stacks : [...new Set([...Object.keys(head), ...Object.keys(base)])].sort();
  if (names.length === 0) throw new UsageError("--preview needs --synth DIR and --base-synth DIR");
  const missing = names.filter((name) => head[name] === undefined && base[name] === undefined);
  if (missing.length > 0) throw new UsageError(`not in --synth nor --base-synth: ${missing.join(", ")}`);
  const redactor = new Redactor();
  return { redactor, reports: names.map((name) => previewOf(name, base[name], head[name], redactor)) };
}

/** The same stack of the other environment: prod beside staging. */
function siblingOf(report: Report, outlines: readonly Outline[]): Outline | undefined {
  const swapped = report.stack.includes("staging")
    ? report.stack.replace("staging", "prod")
    : report.stack.replace("prod", "staging");
  return swapped === report.stack ? undefined : outlines.find((other) => other.stack === swapped);
}

/** What `--json` wrote of other stacks. */
function outlinesIn(file: string, read: (file: string) => string): readonly Outline[] {
  const raw = JSON.parse(read(file)) as Json;
  return (isList(raw) ? raw : []).flatMap((entry) => {
    const outline = isObject(entry) ? readOutline(entry.outline) : undefined;
    return outline ? [outline] : [];
  });
}

function transitive(stack: string, dependencies: Readonly<Record<string, readonly string[]>>): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (name: string) => {
    for (const needed of dependencies[name] ?? []) {
      if (found.has(needed)) continue;
      found.add(needed);
      visit(needed);
    }
  };
  visit(stack);
  return found;
}

function previousOf(
  file: string,
  stack: string,
  redactor: Redactor,
  read: (file: string) => string,
): { previous?: Remembered } {
  const text = read(file);
  const packed = readMemory(text);
  if (packed !== undefined) {
    const memory = unpackMemory(packed);
    return memory ? { previous: memory } : {};
  }
  return text.trimStart().startsWith("{")
    ? { previous: remember(reportOf(stack, parsePlan(text, file), redactor)) }
    : {};
}

function infracostOf(text: string): { infracost?: NonNullable<RenderOptions["infracost"]> } {
  const raw = JSON.parse(text) as { currency?: unknown; pastTotalMonthlyCost?: unknown; totalMonthlyCost?: unknown };
  const [before, after] = [Number(raw.pastTotalMonthlyCost ?? Number.NaN), Number(raw.totalMonthlyCost ?? Number.NaN)];
  if (!Number.isFinite(before) || !Number.isFinite(after)) return {};
  const currency = typeof raw.currency === "string" && /^[A-Z]{3}$/.test(raw.currency) ? raw.currency : "USD";
  return { infracost: { before, after, currency } };
}

function commit(text: string): string {
  if (!/^[0-9a-f]{7,64}$/.test(text))
    throw new UsageError(`${JSON.stringify(text)} is not a commit: 7 to 64 hexadecimal digits`);
  return text;
}

function print(
  results: readonly { readonly stack: string; readonly rendered: Rendered }[],
  values: { readonly json: boolean; readonly ansi: boolean; readonly full: boolean },
): string {
  if (values.json) {
    return `${JSON.stringify(
      results.map(({ stack, rendered }) => ({ stack, ...rendered })),
      null,
      2,
    )}\n`;
  }
  const text = results
    .map(({ rendered }) => (values.full || values.ansi ? rendered.full : rendered.bodies.join("\n\n")))
    .join("\n\n");
  return values.ansi ? toAnsi(text) : `${text}\n`;
}

export function main(): void {
  const { stdout, stderr, code } = render(process.argv.slice(2));
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  process.exitCode = code;
}
