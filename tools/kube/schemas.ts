import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseAllDocuments } from "yaml";
import { cached, crdFiles, openApiFile } from "./build";
import { CRD_SOURCES, KUBERNETES_VERSION } from "./versions";

type Schema = Readonly<Record<string, unknown>>;

interface GroupVersionKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/** Bump when the conversion changes: schemas are cached. */
const CONVERSION = 2;
/** Where kubeconform finds a schema: its own names of an object's group, version and kind. */
const FILE_TEMPLATE = "{{.Group}}_{{.ResourceAPIVersion}}_{{.ResourceKind}}.json";
const DEFINITIONS = "#/definitions/";

/** The `-schema-location` of kubeconform: every kind of Kubernetes and every custom one, and nothing from the network. */
export function schemaLocation(): string {
  const key = JSON.stringify([CONVERSION, KUBERNETES_VERSION, CRD_SOURCES]);
  const directory = cached("schemas", key, (draft) => {
    writeKubernetesSchemas(draft);
    for (const source of Object.keys(CRD_SOURCES) as (keyof typeof CRD_SOURCES)[])
      for (const file of crdFiles(source)) writeCrdSchemas(draft, file);
  });
  return path.join(directory, FILE_TEMPLATE);
}

function writeKubernetesSchemas(directory: string): void {
  const { definitions } = JSON.parse(readFileSync(openApiFile(), "utf8")) as { definitions: Record<string, Schema> };
  const strictDefinitions = Object.fromEntries(
    Object.entries(definitions).map(([name, schema]) => [name, special(name) ?? strict(schema)]),
  );
  for (const [name, schema] of Object.entries(definitions)) {
    const kinds = (schema["x-kubernetes-group-version-kind"] ?? []) as GroupVersionKind[];
    for (const kind of kinds.length === 1 ? kinds : []) {
      const needed = closure(name, strictDefinitions);
      write(directory, kind, {
        $ref: `${DEFINITIONS}${name}`,
        definitions: Object.fromEntries(
          needed.map((one) => [one, identified(one, kind, strictDefinitions[one] ?? {})]),
        ),
      });
    }

    function identified(one: string, { group, kind, version }: GroupVersionKind, body: Schema): Schema {
      if (one !== name) return body;
      const apiVersion = group ? `${group}/${version}` : version;
      return {
        ...body,
        required: [...new Set([...((body.required as string[]) ?? []), "apiVersion", "kind"])],
        properties: { ...(body.properties as Schema), apiVersion: { const: apiVersion }, kind: { const: kind } },
      };
    }
  }
}

function writeCrdSchemas(directory: string, file: string): void {
  for (const document of parseAllDocuments(readFileSync(file, "utf8"))) {
    const crd = document.toJS() as {
      kind?: string;
      spec: {
        group: string;
        names: { kind: string };
        versions: { name: string; schema: { openAPIV3Schema: Schema } }[];
      };
    } | null;
    if (crd?.kind !== "CustomResourceDefinition") continue;
    for (const { name: version, schema } of crd.spec.versions) {
      const { group, names } = crd.spec;
      const body = strict(schema.openAPIV3Schema) as { properties: Schema };
      write(
        directory,
        { group, version, kind: names.kind },
        {
          ...body,
          required: ["apiVersion", "kind", "metadata", "spec"],
          properties: { ...body.properties, metadata: { type: "object" } },
        },
      );
    }
  }
}

/** As kubeconform names the parts of `apiVersion`: without a group, both are the version. */
function write(directory: string, { group, kind, version }: GroupVersionKind, schema: Schema): void {
  const file = path.join(directory, `${group || version}_${version}_${kind.toLowerCase()}.json`);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify({ $schema: "http://json-schema.org/draft-07/schema#", ...schema }));
}

/** Types whose JSON form the OpenAPI description does not tell. */
function special(name: string): Schema | undefined {
  if (name.endsWith(".util.intstr.IntOrString")) return { type: ["string", "integer"] };
  if (name.endsWith(".api.resource.Quantity")) return { type: ["string", "number"] };
  return undefined;
}

/** A schema that refuses fields it does not name. */
function strict(schema: Schema): Schema {
  const entries = Object.entries(schema)
    .filter(([key]) => !key.startsWith("x-kubernetes-") && key !== "format" && key !== "default")
    .map(([key, value]) => [key, strictValue(key, value)]);
  const result = Object.fromEntries(entries) as Record<string, unknown>;
  if (schema["x-kubernetes-int-or-string"] === true) return { type: ["string", "integer"] };
  const isClosed =
    schema.properties !== undefined &&
    schema.additionalProperties === undefined &&
    schema["x-kubernetes-preserve-unknown-fields"] !== true;
  if (isClosed) result.additionalProperties = false;
  if (schema.nullable === true && typeof schema.type === "string") result.type = [schema.type, "null"];
  return result;
}

function strictValue(key: string, value: unknown): unknown {
  if (key === "properties" || key === "definitions")
    return Object.fromEntries(
      Object.entries(value as Schema).map(([name, schema]) => [name, strict(schema as Schema)]),
    );
  if (key === "items" || key === "not" || key === "additionalProperties")
    return value !== null && typeof value === "object" ? strict(value as Schema) : value;
  // Branches of a choice describe a part of an object only: closing them would refuse the rest of it.
  return value;
}

/** A definition and all that it leads to. */
function closure(start: string, definitions: Readonly<Record<string, Schema>>): string[] {
  const seen = new Set<string>();
  const open = [start];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const text = JSON.stringify(definitions[name] ?? {});
    for (const [, next] of text.matchAll(/"#\/definitions\/([^"]+)"/g)) if (next !== undefined) open.push(next);
  }
  return [...seen].sort();
}
