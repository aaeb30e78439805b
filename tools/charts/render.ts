import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { parse, parseAllDocuments } from "yaml";
import type { JsonObject } from "../../lib/terraform-modules";
import { command } from "../kube/build";
import { KUBERNETES_VERSION } from "../kube/versions";
import type { PlatformRelease } from "./releases";

/** A Kubernetes object, as far as every one has the same fields. */
export interface RenderedObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: JsonObject;
}

/** Kinds of the cluster that charts ask for before they render what needs them. */
const API_VERSIONS = ["monitoring.coreos.com/v1", "monitoring.coreos.com/v1/ServiceMonitor"];

/** What Helm makes of a chart with a release's values, hooks left out. Values that break the chart's own schema are an error. */
export function renderRelease(
  { name, namespace, skipCrds, values }: PlatformRelease,
  folder: string,
): RenderedObject[] {
  const { error, status, stderr, stdout } = spawnSync(
    command("helm"),
    [
      "template",
      name,
      folder,
      `--namespace=${namespace}`,
      `--kube-version=${KUBERNETES_VERSION}`,
      ...API_VERSIONS.map((version) => `--api-versions=${version}`),
      skipCrds ? "--skip-crds" : "--include-crds",
      "--no-hooks",
      "--values=-",
    ],
    { input: JSON.stringify(values), encoding: "utf8", maxBuffer: 1 << 28 },
  );
  if (error) throw error;
  if (status !== 0) throw new Error(`${name}: ${stderr}`);
  return parseAllDocuments(stdout)
    .map((document) => document.toJS() as RenderedObject | null)
    .filter((object) => object !== null);
}

/** Maps that charts write out whole, whatever is in them, although their defaults are not empty. */
const OPEN_MAPS = ["resources", "cm", "limits_config", "grafana.ini"];

/**
 * Values that a chart does not know: neither its `values.yaml` nor any of its templates names them. Most charts have no schema, and
 * Helm passes over what they do not read.
 */
export function unknownValues(values: JsonObject, folder: string): string[] {
  const templates = readTexts(folder);
  const isNamed = (key: string) => templates.some((text) => text.includes(`.${key}`) || text.includes(`"${key}"`));
  return unknownKeys(values, defaultsOf(folder), isNamed);
}

function unknownKeys(given: JsonObject, known: JsonObject, isNamed: (key: string) => boolean, at = ""): string[] {
  return Object.entries(given).flatMap(([key, value]) => {
    const place = at ? `${at}.${key}` : key;
    if (!(key in known)) return isNamed(key) ? [] : [place];
    const inner = known[key];
    // An empty map is filled with whatever a reader likes: labels, annotations, a pod's own fields.
    if (!isMap(value) || !isMap(inner) || Object.keys(inner).length === 0 || OPEN_MAPS.includes(key)) return [];
    return unknownKeys(value, inner, isNamed, place);
  });
}

/** Default values of a chart, those of the charts in it below their names. */
function defaultsOf(folder: string): JsonObject {
  const file = path.join(folder, "values.yaml");
  const own = existsSync(file) ? ((parse(readFileSync(file, "utf8")) ?? {}) as JsonObject) : {};
  const inner = subfolders(path.join(folder, "charts")).map(([name, at]) => {
    const set = own[name];
    return [name, { ...defaultsOf(at), ...(isMap(set) ? set : {}) }];
  });
  return { ...own, ...Object.fromEntries(inner) };
}

function readTexts(folder: string): string[] {
  const templates = path.join(folder, "templates");
  const own = existsSync(templates)
    ? readdirSync(templates, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => readFileSync(path.join(entry.parentPath, entry.name), "utf8"))
    : [];
  return [...own, ...subfolders(path.join(folder, "charts")).flatMap(([, at]) => readTexts(at))];
}

function subfolders(folder: string): [name: string, path: string][] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => [entry.name, path.join(folder, entry.name)]);
}

function isMap(value: unknown): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
