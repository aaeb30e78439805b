import type { Asset, SynthStack } from "./configuration";
import { compareText, type Report } from "./model";
import { isObject, own } from "./plan";
import { Words } from "./redact";

/** A function whose code the plan changes. */
export interface BundleChange {
  readonly address: string;
  readonly name: string;
  readonly isNew: boolean;
  readonly beforeBytes?: number;
  readonly afterBytes?: number;
  /** Source files that differ, if both bundles can be looked into. */
  readonly sources: readonly string[];
  /** Why the sources cannot be told. */
  readonly unknown?: string;
}

/** Functions whose code changes, with the sizes of their bundles and the files that made them change. */
export function bundleChangesOf(report: Report, base?: SynthStack): readonly BundleChange[] {
  const changes: BundleChange[] = [];
  for (const item of report.items) {
    if (item.type !== "aws_lambda_function" || !["create", "update", "replace"].includes(item.kind)) continue;
    const [before, after] = [item.change.before, item.change.after].map((value) =>
      isObject(value) ? value.source_code_hash : undefined,
    );
    const sameCode = before !== undefined && before !== null && before === after;
    if (sameCode) continue;
    // Only to look the bundle up: a file name is not shown.
    const filename = isObject(item.change.after) ? String(item.change.after.filename ?? "") : "";
    const fresh = report.synth ? own(report.synth.assets, filename) : undefined;
    const old = base ? oldAsset(base, filename, before) : undefined;
    const isNew = item.kind === "create" || before === undefined || before === null;
    changes.push({
      address: item.address,
      name: text(item.shown("after", "function_name")) || item.address,
      isNew,
      ...(old ? { beforeBytes: old.bytes } : {}),
      ...(fresh ? { afterBytes: fresh.bytes } : {}),
      ...sourcesOf(old, fresh, isNew),
    });
  }
  return changes;
}

/** The old bundle, found by the hash in the state, or by its file name if the base carries only that. */
function oldAsset(base: SynthStack, filename: string, hash: unknown): Asset | undefined {
  return Object.values(base.assets).find((asset) => asset.hash === hash) ?? own(base.assets, filename);
}

function sourcesOf(
  old: Asset | undefined,
  fresh: Asset | undefined,
  isNew: boolean,
): { sources: readonly string[]; unknown?: string } {
  if (isNew) return { sources: [] };
  if (!fresh || !old) return { sources: [], unknown: "the bundles are not at hand" };
  const files = [...new Set([...Object.keys(old.sources), ...Object.keys(fresh.sources)])].sort(compareText);
  const changed = files.filter((file) => old.sources[file] !== fresh.sources[file]);
  return changed.length > 0
    ? { sources: changed }
    : { sources: [], unknown: "no source file differs: the state holds another build" };
}

function text(value: unknown): string {
  return value instanceof Words ? value.text : typeof value === "string" ? value : "";
}
