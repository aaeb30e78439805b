import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { TerraformStack } from "cdktf";
import { Construct, type IConstruct } from "constructs";

/** What an asset is made of: its bytes, or a file that holds them. */
export type AssetProps = {
  /** Name of the file in the output, without a folder (`function.zip`). */
  readonly fileName: string;
  /**
   * Files that lie beside it and that Terraform does not read, by name: the source map of a bundle.
   *
   * @default none
   */
  readonly companions?: Readonly<Record<string, Buffer | string>>;
} & ({ readonly content: Buffer | string } | { readonly source: string });

const ASSET = Symbol.for("urr/terraform-modules/Asset");
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/**
 * A file that is part of a stack's output and whose content is known at synth: the code of a function, a page. Nothing is written
 * before the whole synth has succeeded.
 */
export class Asset extends Construct {
  /**
   * Path relative to the root, which is Terraform's working directory, so it holds in child modules too:
   * `assets/<readable name>/<first 16 digits of the SHA-256>/<fileName>`. It changes with the content, and with nothing else.
   */
  public readonly path: string;

  public readonly fileName: string;

  public readonly content: Buffer;

  /** Everything to write, by path: the file and its companions. */
  public readonly files: ReadonlyMap<string, Buffer>;

  /** SHA-256 of the content, in hexadecimal. */
  public readonly sha256: string;

  public constructor(scope: Construct, id: string, props: AssetProps) {
    super(scope, id);
    Object.defineProperty(this, ASSET, { value: true });
    if (!FILE_NAME.test(props.fileName)) {
      throw new Error(
        `${this.node.path}: fileName: given ${JSON.stringify(props.fileName)}; allowed: letters, digits, dots, dashes and ` +
          "underscores. Give the name of a file, without folders.",
      );
    }
    this.fileName = props.fileName;
    this.content = "content" in props ? bytesOf(props.content) : readFileSync(props.source);
    this.sha256 = createHash("sha256").update(this.content).digest("hex");
    const stack = TerraformStack.of(this);
    const folder = `assets/${stack.getLogicalId(this.node)}/${this.sha256.slice(0, 16)}`;
    this.path = `${folder}/${this.fileName}`;
    this.files = new Map([
      [this.path, this.content],
      ...Object.entries(props.companions ?? {}).map(([name, content]): [string, Buffer] => [
        `${folder}/${name}`,
        bytesOf(content),
      ]),
    ]);
  }

  /** Base64 of the SHA-256 of the content, as `source_code_hash` wants it. */
  public get base64Sha256(): string {
    return Buffer.from(this.sha256, "hex").toString("base64");
  }

  public static isAsset(construct: IConstruct): construct is Asset {
    return ASSET in construct;
  }
}

/** Buffers are taken as they are: a stack's assets can be many megabytes. */
function bytesOf(content: Buffer | string): Buffer {
  return typeof content === "string" ? Buffer.from(content) : content;
}
