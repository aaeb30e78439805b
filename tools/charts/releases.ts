import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { EnvironmentName } from "../../environments/environment";
import type { Chart } from "../../lib/helm";
import type { Json, JsonObject, RenderedStack } from "../../lib/terraform-modules";
import { buildApp } from "../../main";

/** A Helm release of a platform stack, as it is synthesized, with examples in place of what is known only after an apply. */
export interface PlatformRelease {
  readonly name: string;
  readonly namespace: string;
  readonly values: JsonObject;
  readonly skipCrds: boolean;
  /** A public chart, or the files of one of our own. */
  readonly chart: Pick<Chart, "repository" | "name" | "version"> | ReadonlyMap<string, Buffer>;
}

/** Every release of an environment's platform stack, in the order of their names. */
export function platformReleases(environment: EnvironmentName): PlatformRelease[] {
  const [stack] = buildApp(undefined, [`${environment}-platform`]).render();
  if (!stack) throw new Error(`there is no stack ${environment}-platform`);
  return [...stack.emitted.modules.values()]
    .flatMap(({ resource }) => Object.values((resource as Record<string, JsonObject>)?.helm_release ?? {}))
    .map((release) => releaseOf(release as JsonObject, stack))
    .sort((left, right) => (left.name < right.name ? -1 : 1));
}

/** Calls back with the folder of one of our own charts, which is gone afterwards. */
export function withOwnChart<Result>(files: ReadonlyMap<string, Buffer>, use: (folder: string) => Result): Result {
  const folder = mkdtempSync(path.join(tmpdir(), "urr-chart-"));
  try {
    for (const [file, content] of files) {
      mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
      writeFileSync(path.join(folder, file), content);
    }
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function releaseOf(release: JsonObject, { files }: RenderedStack): PlatformRelease {
  const { chart, name, namespace, repository, skip_crds, values, version } = release;
  return {
    name: String(name),
    namespace: String(namespace),
    values: JSON.parse(withExamples(String((values as Json[])[0]))) as JsonObject,
    skipCrds: skip_crds === true,
    chart:
      repository === undefined
        ? ownFiles(String(chart), files)
        : { repository: String(repository), name: String(chart), version: String(version) },
  };
}

function withExamples(values: string): string {
  return values.replaceAll(/\$\{[^}]+\}/g, (expression) =>
    expression.includes("endpoint") ? "https://example.com" : "example",
  );
}

function ownFiles(chart: string, files: RenderedStack["files"]): ReadonlyMap<string, Buffer> {
  const prefix = `${path.posix.normalize(chart)}/`;
  return new Map(
    [...files]
      .filter(([file]) => file.startsWith(prefix))
      .map(([file, content]) => [file.slice(prefix.length), Buffer.from(content)]),
  );
}
