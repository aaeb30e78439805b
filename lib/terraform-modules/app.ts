import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AnnotationMetadataEntryType, App, type AppConfig, type TerraformStack } from "cdktf";
import { invokeAspects } from "./aspects";
import { formatJson, type JsonObject, objectOf } from "./json";
import { writeOutput } from "./output";
import { problemOf, SynthError } from "./problems";
import { ModularStack, type RenderedStack, validate } from "./stack";

/** Settings of an app of modular stacks. */
export interface ModularAppConfig extends AppConfig {
  /**
   * Whether the app holds only some of the stacks: the output of the others stays.
   *
   * @default false: the output of stacks that the app does not hold is removed
   */
  readonly partial?: boolean;
}

const ANNOTATIONS: readonly string[] = Object.values(AnnotationMetadataEntryType);

/**
 * A cdktf app whose synth is all or nothing: aspects, validations and rendering of all stacks first, every problem in one error,
 * and only then files, of which those that differ are replaced and those that are stale removed.
 *
 * It writes to `outdir`, else to the folder in `CDKTF_OUTDIR` (which the cdktf command sets), else to `cdktf.out`.
 */
export class ModularApp extends App {
  private readonly partial: boolean;
  private readonly crossStackProblems: string[] = [];

  public constructor(config: ModularAppConfig = {}) {
    // cdktf's App makes its output folder at once. It gets one to throw away: nothing is written before synth succeeds.
    const scratch = mkdtempSync(join(tmpdir(), "terraform-modules-"));
    super({ ...config, outdir: scratch, stackTraces: false });
    rmSync(scratch, { recursive: true });
    const outdir = config.outdir ?? process.env.CDKTF_OUTDIR ?? "cdktf.out";
    Object.assign(this, { outdir });
    Object.assign(this.manifest, { outdir });
    this.partial = config.partial ?? false;
  }

  /** Stacks of the app, in the order of their creation. */
  public get stacks(): ModularStack[] {
    return this.node.findAll().filter(ModularStack.isModularStack);
  }

  /**
   * Runs aspects and validations and computes all stacks, without writing anything.
   *
   * @throws SynthError with every problem of every stack
   */
  public render(): RenderedStack[] {
    const problems: string[] = [];
    if (this.hclOutput) {
      problems.push("HCL output of cdktf (synth --hcl) is not supported; export the stacks with npm run export:hcl.");
    }
    invokeAspects(this);
    if (!this.skipValidation) {
      problems.push(...validate(this));
    }
    this.crossStackProblems.length = 0;
    const stacks = this.stacks.map((stack) => stack.render());
    problems.push(...this.crossStackProblems, ...stacks.flatMap((stack) => stack.problems), ...this.errorAnnotations());
    if (problems.length > 0) {
      throw new SynthError([...new Set(problems)]);
    }
    return stacks;
  }

  /** Writes all stacks, or nothing if there is a problem. */
  public override synth(): void {
    const stacks = this.render();
    const files = new Map(stacks.map(({ stack, files }) => [stack.node.id, files]));
    writeOutput(this.outdir, Buffer.from(formatJson(this.manifestOf(stacks))), files, this.partial);
  }

  /** cdktf calls this for a reference from one stack to another; such a value has to be an explicit output. */
  public override crossStackReference(fromStack: TerraformStack, toStack: TerraformStack, identifier: string): string {
    const path = ModularStack.isModularStack(toStack) ? toStack.resolvingPath : toStack.node.path;
    this.crossStackProblems.push(
      `[${path}] refers to ${identifier} of the stack ${fromStack.node.path}. Stacks share named values only: declare a ` +
        `TerraformOutput in ${fromStack.node.path} and read it in ${toStack.node.path} through a data source of its remote state, ` +
        "or pass a name or ARN that is known at synth.",
    );
    return identifier;
  }

  private errorAnnotations(): string[] {
    return this.node
      .findAll()
      .flatMap((construct) =>
        construct.node.metadata
          .filter((entry) => entry.type === AnnotationMetadataEntryType.ERROR)
          .map((entry) => problemOf(construct, String(entry.data))),
      );
  }

  private manifestOf(stacks: readonly RenderedStack[]): JsonObject {
    for (const { stack } of stacks) {
      const annotations = stack.node
        .findAll()
        .flatMap((construct) =>
          construct.node.metadata
            .filter((entry) => ANNOTATIONS.includes(entry.type))
            .map((entry) => ({ constructPath: construct.node.path, level: entry.type, message: entry.data })),
        );
      Object.assign(this.manifest.forStack(stack), { annotations });
    }
    const { version, stacks: own } = JSON.parse(JSON.stringify(this.manifest.buildManifest())) as {
      version: string;
      stacks: JsonObject;
    };
    return { version, stacks: { ...this.manifestOfOthers(), ...own } };
  }

  private manifestOfOthers(): JsonObject {
    try {
      const text = this.partial ? readFileSync(join(this.outdir, "manifest.json"), "utf8") : "{}";
      return objectOf((JSON.parse(text) as JsonObject).stacks);
    } catch {
      return {};
    }
  }
}
