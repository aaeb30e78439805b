import { join } from "node:path";
import { TerraformElement, TerraformStack } from "cdktf";
import type { IConstruct } from "constructs";
import type { ModularApp } from "./app";
import { formatHcl } from "./hcl-format";
import { blockTypes, compareText, isObject, type Json, type JsonObject, listOf, objectOf } from "./json";
import { tokenize } from "./lexer";
import { writeFolder } from "./output";
import { escapeQuoted, quote, unwrapTemplate } from "./references";
import { resolveIn } from "./resolve";
import type { RenderedStack } from "./stack";

/** Which arguments of a block are blocks themselves, and what is in those. */
export interface Shape {
  readonly blocks: Map<string, Shape>;
  /** Whether the bindings leave what is inside open; there, objects are blocks. */
  readonly untyped?: boolean;
}

/** Shapes of blocks by kind and type: `resource.aws_lb`, `data.aws_iam_policy_document`, `provider.aws`. */
export type Shapes = ReadonlyMap<string, Shape>;

/** Files of one module of Terraform's native syntax, by name. */
export type HclFiles = ReadonlyMap<string, string>;

const NO_SHAPE: Shape = { blocks: new Map() };
const UNTYPED: Shape = { blocks: new Map(), untyped: true };
/** Files by the blocks they hold; the rest is in `main.tf`. */
const FILE_OF: Readonly<Record<string, string>> = {
  terraform: "terraform.tf",
  provider: "providers.tf",
  variable: "variables.tf",
  output: "outputs.tf",
};
const HCL_FILES = ["main.tf", ...Object.values(FILE_OF)];
/** Arguments that come first and last in a block, in this order. */
const FIRST = ["source", "version", "providers", "count", "for_each", "provider", "alias"];
const LAST = ["lifecycle", "depends_on"];
const FIRST_OF_VARIABLE = ["description", "type", "default"];
const FIRST_OF_OUTPUT = ["description", "value"];
const PROVIDER_KEYS = ["source", "version", "configuration_aliases"];
/** Words that an object's key cannot be without quotes. */
const QUOTED_KEYS: ReadonlySet<string> = new Set(["for", "if", "in", "null", "true", "false"]);
const LIST_WIDTH = 100;

/**
 * Writes the stacks of an app in Terraform's native syntax: `<directory>/environments/<stack>/main.tf` and beside it its
 * `terraform.tf`, `providers.tf`, `variables.tf`, `outputs.tf`, `modules/<name>/` and `assets/`. Addresses and plans are those of the
 * JSON. Needs no Terraform; a failed synth writes nothing.
 *
 * @returns the folders of the stacks
 */
export function exportHcl(app: ModularApp, directory: string): string[] {
  const stacks = app.render().map((rendered) => ({ rendered, files: hclOf(rendered) }));
  return stacks.map(({ rendered, files }) => {
    const folder = join(directory, "environments", rendered.stack.node.id);
    writeFolder(folder, files, HCL_FILES);
    return folder;
  });
}

/** All files of a stack in native syntax, assets included, by path relative to the stack's folder. */
export function hclOf({ stack, emitted, files: written }: RenderedStack): Map<string, Buffer> {
  const shapes = shapesOf(stack);
  const files = new Map<string, Buffer>([...written].filter(([path]) => path.startsWith("assets/")));
  const add = (folder: string, module: JsonObject): void => {
    for (const [name, text] of printModule(module, shapes)) {
      files.set(`${folder}${name}`, Buffer.from(text));
    }
  };
  add("", emitted.root);
  for (const [name, module] of emitted.modules) {
    add(`modules/${name}/`, module);
  }
  return files;
}

/** What the provider bindings say of a stack's elements: which of their arguments are blocks. */
export function shapesOf(stack: TerraformStack): Shapes {
  const shapes = new Map<string, Shape>();
  const shapeOf = (key: string): Shape => {
    const shape = shapes.get(key) ?? { blocks: new Map() };
    shapes.set(key, shape);
    return shape;
  };
  for (const element of stack.node.findAll().filter((construct) => isElementOf(stack, construct))) {
    const fragment = objectOf(resolveIn(stack, (element as TerraformElement).toHclTerraform()));
    for (const kind of ["resource", "data", "ephemeral"]) {
      for (const [type, byId] of Object.entries(objectOf(fragment[kind]))) {
        for (const body of Object.values(objectOf(byId))) {
          readShape(objectOf(body), shapeOf(`${kind}.${type}`));
        }
      }
    }
    for (const [name, configurations] of Object.entries(objectOf(fragment.provider))) {
      for (const configuration of listOf(configurations)) {
        readShape(objectOf(configuration), shapeOf(`provider.${name}`));
      }
    }
  }
  return shapes;
}

/** A module's JSON as formatted files of native syntax. */
export function printModule(module: JsonObject, shapes: Shapes): HclFiles {
  const printer = new Printer(shapes);
  const blocks = new Map<string, string[]>();
  for (const type of blockTypes(module)) {
    if (type !== "//") {
      const file = FILE_OF[type] ?? "main.tf";
      blocks.set(file, [...(blocks.get(file) ?? []), ...printer.blocksOf(type, module[type] as Json)]);
    }
  }
  if (!blocks.has("main.tf")) {
    blocks.set("main.tf", []);
  }
  return new Map([...blocks].map(([name, texts]) => [name, formatHcl(texts.map((text) => `${text}\n`).join("\n"))]));
}

/** One argument or nested block, printed. */
interface Item {
  readonly name: string;
  readonly text: string;
  readonly block: boolean;
}

/** How texts of JSON are read: as templates, as they are, or as names to be printed without quotes. */
type Reading = "template" | "literal" | "reference";

/** Prints blocks of Terraform JSON; layout within lines is left to the formatter. */
class Printer {
  public constructor(private readonly shapes: Shapes) {}

  public blocksOf(type: string, value: Json): string[] {
    const sorted = Object.entries(objectOf(value)).sort(([a], [b]) => compareText(a, b));
    switch (type) {
      case "resource":
      case "data":
      case "ephemeral":
        return sorted.flatMap(([resourceType, byId]) =>
          Object.entries(objectOf(byId))
            .sort(([a], [b]) => compareText(a, b))
            .map(([id, body]) =>
              block(
                [type, quote(resourceType), quote(id)],
                this.resource(objectOf(body), this.shapes.get(`${type}.${resourceType}`) ?? NO_SHAPE),
              ),
            ),
        );
      case "provider":
        return sorted.flatMap(([name, configurations]) =>
          listOf(configurations).map((configuration) =>
            block([type, quote(name)], this.provider(name, objectOf(configuration))),
          ),
        );
      case "terraform":
        return [block([type], this.terraform(objectOf(value)))];
      case "locals":
        return [block([type], this.body(objectOf(value), NO_SHAPE))];
      case "variable":
        return sorted.map(([name, body]) =>
          block([type, quote(name)], this.variable(objectOf(body)), FIRST_OF_VARIABLE),
        );
      case "output":
        return sorted.map(([name, body]) => block([type, quote(name)], this.output(objectOf(body)), FIRST_OF_OUTPUT));
      case "module":
        return sorted.map(([name, body]) => block([type, quote(name)], this.moduleCall(objectOf(body))));
      case "check":
        return sorted.map(([name, body]) => block([type, quote(name)], this.check(objectOf(body))));
      default:
        return listOf(value).map((entry) => block([type], this.move(objectOf(entry))));
    }
  }

  /** A resource or a data source: its meta-arguments, and everything else. */
  private resource(body: JsonObject, shape: Shape): Item[] {
    const { lifecycle, provisioner, connection, depends_on, provider, ...rest } = body;
    return [
      ...listOf(lifecycle).map((entry) => nested(["lifecycle"], this.lifecycle(objectOf(entry)))),
      ...listOf(provisioner).flatMap((entry) =>
        Object.entries(objectOf(entry)).flatMap(([type, configurations]) =>
          listOf(configurations).map((configuration) =>
            nested(["provisioner", quote(type)], this.provisioner(objectOf(configuration))),
          ),
        ),
      ),
      ...listOf(connection).map((entry) => nested(["connection"], this.body(objectOf(entry), NO_SHAPE))),
      ...(depends_on === undefined ? [] : [this.argument("depends_on", depends_on, "reference")]),
      ...(provider === undefined ? [] : [this.argument("provider", provider, "reference")]),
      ...this.body(rest, shape),
    ];
  }

  /** Arguments and nested blocks of anything. */
  private body(body: JsonObject, shape: Shape): Item[] {
    return Object.entries(body).flatMap(([name, value]): Item[] => {
      if (name === "//" || value === undefined) {
        return [];
      }
      if (name === "dynamic") {
        return this.dynamic(objectOf(value), shape);
      }
      const inner = shape.blocks.get(name) ?? (shape.untyped && holdsObjects(value) ? UNTYPED : undefined);
      return inner ? this.nestedBlocks(name, value, inner) : [this.argument(name, value)];
    });
  }

  /** A block argument: one block per object. A template in its place can only be an argument. */
  private nestedBlocks(name: string, value: Json, shape: Shape): Item[] {
    const entries = listOf(value);
    return entries.every(isObject)
      ? entries.map((entry) => nested([name], this.body(objectOf(entry), shape)))
      : [this.argument(name, value)];
  }

  private dynamic(blocks: JsonObject, shape: Shape): Item[] {
    return Object.entries(blocks).flatMap(([name, value]) =>
      listOf(value)
        .map(objectOf)
        .map(({ content, iterator, ...rest }) => {
          const inner = shape.blocks.get(name) ?? NO_SHAPE;
          return nested(
            ["dynamic", quote(name)],
            [
              ...Object.entries(rest).map(([key, entry]) => this.argument(key, entry)),
              ...(iterator === undefined ? [] : [this.argument("iterator", iterator, "reference")]),
              ...listOf(content).map((entry) => nested(["content"], this.body(objectOf(entry), inner))),
            ],
          );
        }),
    );
  }

  private lifecycle(body: JsonObject): Item[] {
    return Object.entries(body).flatMap(([name, value]) => {
      switch (name) {
        case "precondition":
        case "postcondition":
          return listOf(value).map((entry) => nested([name], this.body(objectOf(entry), NO_SHAPE)));
        case "ignore_changes":
        case "replace_triggered_by":
          return [this.argument(name, value, "reference")];
        default:
          return [this.argument(name, value)];
      }
    });
  }

  private provisioner(body: JsonObject): Item[] {
    const { when, on_failure, ...rest } = body;
    return [
      ...(when === undefined ? [] : [this.argument("when", when, "reference")]),
      ...(on_failure === undefined ? [] : [this.argument("on_failure", on_failure, "reference")]),
      ...this.resource(rest, NO_SHAPE),
    ];
  }

  private provider(name: string, body: JsonObject): Item[] {
    const { alias, version, ...rest } = body;
    return [
      ...(alias === undefined ? [] : [this.argument("alias", alias, "literal")]),
      ...(version === undefined ? [] : [this.argument("version", version, "literal")]),
      ...this.body(rest, this.shapes.get(`provider.${name}`) ?? NO_SHAPE),
    ];
  }

  private terraform(body: JsonObject): Item[] {
    return Object.entries(body).flatMap(([name, value]) => {
      switch (name) {
        case "required_providers":
          return [nested([name], this.requiredProviders(objectOf(value)))];
        case "backend":
        case "provider_meta":
          return Object.entries(objectOf(value)).map(([label, settings]) =>
            nested([name, quote(label)], this.literals(objectOf(settings))),
          );
        case "cloud": {
          const { workspaces, ...rest } = objectOf(value);
          return [
            nested(
              [name],
              [
                ...this.literals(rest),
                ...listOf(workspaces).map((entry) => nested(["workspaces"], this.literals(objectOf(entry)))),
              ],
            ),
          ];
        }
        default:
          return [this.argument(name, value, "literal")];
      }
    });
  }

  private requiredProviders(providers: JsonObject): Item[] {
    return Object.entries(providers).map(([name, provider]) => {
      if (!isObject(provider)) {
        return this.argument(name, provider, "literal");
      }
      const entries = Object.entries(provider)
        .sort(([a], [b]) => PROVIDER_KEYS.indexOf(a) - PROVIDER_KEYS.indexOf(b) || compareText(a, b))
        .map(
          ([key, value]) => `${key} = ${this.value(value, key === "configuration_aliases" ? "reference" : "literal")}`,
        );
      return { name, block: false, text: `${name} = {\n${entries.join("\n")}\n}` };
    });
  }

  private variable(body: JsonObject): Item[] {
    return Object.entries(body).flatMap(([name, value]) => {
      switch (name) {
        case "validation":
          return listOf(value).map((entry) => nested([name], this.body(objectOf(entry), NO_SHAPE)));
        case "type":
          return [{ name, block: false, text: `${name} = ${typeExpression(String(value))}` }];
        default:
          return [this.argument(name, value, "literal")];
      }
    });
  }

  private output(body: JsonObject): Item[] {
    return Object.entries(body).flatMap(([name, value]) => {
      switch (name) {
        case "precondition":
          return listOf(value).map((entry) => nested([name], this.body(objectOf(entry), NO_SHAPE)));
        case "description":
          return [this.argument(name, value, "literal")];
        case "depends_on":
          return [this.argument(name, value, "reference")];
        default:
          return [this.argument(name, value)];
      }
    });
  }

  private moduleCall(body: JsonObject): Item[] {
    return Object.entries(body).flatMap(([name, value]) => {
      switch (name) {
        case "//":
          return [];
        case "source":
        case "version":
          return [this.argument(name, value, "literal")];
        case "depends_on":
          return [this.argument(name, value, "reference")];
        case "providers": {
          const entries = Object.entries(objectOf(value)).sort(([a], [b]) => compareText(a, b));
          return [
            {
              name,
              block: false,
              text: `${name} = {\n${entries.map(([key, to]) => `${key} = ${String(to)}`).join("\n")}\n}`,
            },
          ];
        }
        default:
          return [this.argument(name, value)];
      }
    });
  }

  private check(body: JsonObject): Item[] {
    return Object.entries(body).flatMap(([name, value]) => {
      switch (name) {
        case "data":
          return Object.entries(objectOf(value)).flatMap(([type, byId]) =>
            Object.entries(objectOf(byId)).map(([id, data]) =>
              nested(
                [name, quote(type), quote(id)],
                this.resource(objectOf(data), this.shapes.get(`data.${type}`) ?? NO_SHAPE),
              ),
            ),
          );
        case "assert":
          return listOf(value).map((entry) => nested([name], this.body(objectOf(entry), NO_SHAPE)));
        default:
          return [];
      }
    });
  }

  /** `moved`, `import`, `removed`. */
  private move(body: JsonObject): Item[] {
    return Object.entries(body).flatMap(([name, value]) => {
      switch (name) {
        case "//":
          return [];
        case "from":
        case "to":
        case "provider":
          return [this.argument(name, value, "reference")];
        case "lifecycle":
          return listOf(value).map((entry) => nested([name], this.lifecycle(objectOf(entry))));
        default:
          return [this.argument(name, value)];
      }
    });
  }

  private literals(body: JsonObject): Item[] {
    return Object.entries(body).map(([name, value]) => this.argument(name, value, "literal"));
  }

  private argument(name: string, value: Json, reading: Reading = "template"): Item {
    return { name, block: false, text: `${name} = ${this.value(value, reading, true)}` };
  }

  private value(value: Json, reading: Reading, heredocs = false): string {
    if (typeof value === "string") {
      return this.text(value, reading, heredocs);
    }
    if (Array.isArray(value)) {
      return this.list(value, reading);
    }
    if (isObject(value)) {
      return this.object(value, reading);
    }
    return String(value);
  }

  private text(text: string, reading: Reading, heredocs: boolean): string {
    if (reading === "reference") {
      return unwrapTemplate(text) ?? text;
    }
    if (reading === "literal") {
      return quote(text);
    }
    const expression = unwrapTemplate(text);
    if (expression !== undefined) {
      return expression.includes("\n") && !isParenthesized(expression) ? `(${expression})` : expression;
    }
    return heredocs && isHeredoc(text) ? heredoc(text) : quoteTemplate(text);
  }

  private list(values: readonly Json[], reading: Reading): string {
    const texts = values.map((value) => this.value(value, reading));
    const line = `[${texts.join(", ")}]`;
    const short = line.length <= LIST_WIDTH && !line.includes("\n");
    return short ? line : `[\n${texts.map((text) => `${text},\n`).join("")}]`;
  }

  private object(value: JsonObject, reading: Reading): string {
    const entries = Object.entries(value).sort(([a], [b]) => compareText(a, b));
    return entries.length === 0
      ? "{}"
      : `{\n${entries.map(([key, entry]) => `${objectKey(key, reading)} = ${this.value(entry, reading, true)}\n`).join("")}}`;
  }
}

function block(head: readonly string[], items: readonly Item[], first: readonly string[] = FIRST): string {
  return `${head.join(" ")} {${items.length === 0 ? "" : `\n${layOut(items, first)}`}}`;
}

function nested(head: readonly string[], items: readonly Item[]): Item {
  return { name: head[0] as string, block: true, text: block(head, items) };
}

/**
 * Arguments of a line first, aligned as one group, then those of several lines, then blocks, each with an empty line before it;
 * meta-arguments stand where Terraform's style guide has them.
 */
function layOut(items: readonly Item[], first: readonly string[]): string {
  const rank = ({ name, block: isBlock, text }: Item): number => {
    if (first.includes(name) && !isBlock) {
      return first.indexOf(name) - first.length;
    }
    return LAST.includes(name) ? 10 + LAST.indexOf(name) : isBlock ? 2 : text.includes("\n") ? 1 : 0;
  };
  const sorted = items
    .map((item, index) => ({ item, index }))
    .sort((a, b) => rank(a.item) - rank(b.item) || compareText(a.item.name, b.item.name) || a.index - b.index)
    .map(({ item }) => item);
  return sorted
    .map((item, index) => {
      const before = sorted[index - 1];
      const apart =
        before !== undefined &&
        (item.block ||
          before.block ||
          item.text.includes("\n") ||
          before.text.includes("\n") ||
          LAST.includes(item.name));
      return `${apart ? "\n" : ""}${item.text}\n`;
    })
    .join("");
}

function objectKey(key: string, reading: Reading): string {
  if (/^[A-Za-z_][A-Za-z0-9_-]*$/.test(key) && !QUOTED_KEYS.has(key)) {
    return key;
  }
  if (reading !== "template") {
    return quote(key);
  }
  const expression = unwrapTemplate(key);
  return expression === undefined ? quoteTemplate(key) : `(${expression})`;
}

/** Terraform's JSON has the text of a template as it would stand in a file; in quotes its literal parts need escapes. */
function quoteTemplate(text: string): string {
  const parts = tokenize(text, "template");
  let depth = 0;
  let result = "";
  let position = 0;
  for (const token of parts) {
    const literal = token.type === "literal" && depth === 0;
    result += text.slice(position, token.start) + (literal ? escapeQuoted(token.text) : token.text);
    position = token.end;
    depth += token.type === "interpolation" || token.type === "directive" ? 1 : token.type === "closeTemplate" ? -1 : 0;
  }
  return `"${result}${text.slice(position)}"`;
}

/** Text of several whole lines reads better as a heredoc; one holds it exactly when it ends with a newline. */
function isHeredoc(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters need the escapes of a quoted string
  return /\n[\s\S]*\n$/.test(text) && !/[\u0000-\u0008\u000b-\u001f]/.test(text);
}

function heredoc(text: string): string {
  const lines = new Set(text.split("\n").map((line) => line.trim()));
  let marker = "EOT";
  while (lines.has(marker)) {
    marker += "_";
  }
  return `<<${marker}\n${text}${marker}`;
}

/** Whether the first parenthesis closes at the very end. */
function isParenthesized(expression: string): boolean {
  const tokens = tokenize(expression, "code").filter(({ type }) => type === "punctuation");
  let depth = 0;
  for (const [index, { text }] of tokens.entries()) {
    depth += text === "(" ? 1 : text === ")" ? -1 : 0;
    if (depth === 0) {
      return index === tokens.length - 1 && expression.startsWith("(") && expression.endsWith(")");
    }
  }
  return false;
}

/** Types that lack an element type are of any, and are written so. */
function typeExpression(type: string): string {
  const source = unwrapTemplate(type) ?? type;
  return source === "list" || source === "map" || source === "set" ? `${source}(any)` : source;
}

/** Collects which arguments of a binding's intermediate form are blocks. */
function readShape(body: JsonObject, into: Shape): void {
  for (const [name, argument] of Object.entries(body)) {
    const {
      isBlock,
      is_block = isBlock,
      storageClassType,
      storage_class_type = storageClassType,
      value,
    } = objectOf(argument);
    if (name === "dynamic") {
      for (const block of Object.keys(objectOf(argument))) {
        into.blocks.set(block, into.blocks.get(block) ?? { blocks: new Map() });
      }
    } else if (is_block === true) {
      const inner = into.blocks.get(name) ?? { blocks: new Map() };
      into.blocks.set(name, inner);
      for (const entry of listOf(value)) {
        readShape(objectOf(entry), inner);
      }
    } else if (
      (storage_class_type === "any" && holdsObjects(value)) ||
      (Array.isArray(argument) && holdsObjects(argument))
    ) {
      // Deeply nested blocks that the bindings leave open, and lists of objects that an override put in.
      into.blocks.set(name, into.blocks.get(name) ?? UNTYPED);
    }
  }
}

function holdsObjects(value: Json | undefined): boolean {
  const entries = listOf(value);
  return entries.length > 0 && entries.every(isObject);
}

function isElementOf(stack: TerraformStack, construct: IConstruct): boolean {
  return TerraformElement.isTerraformElement(construct) && TerraformStack.of(construct) === stack;
}
