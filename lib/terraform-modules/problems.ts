import type { IConstruct } from "constructs";

/** Everything that is wrong with an app, told at once. */
export class SynthError extends Error {
  public constructor(public readonly problems: readonly string[]) {
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    super(
      `synth failed with ${count}; nothing was written:\n${problems.map((problem) => `  - ${indent(problem)}`).join("\n")}`,
    );
    this.name = "SynthError";
  }
}

/** A problem of one construct, with its path in front. */
export function problemOf(construct: IConstruct, message: string): string {
  return `[${construct.node.path}] ${message}`;
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function indent(text: string): string {
  return text.replaceAll("\n", "\n    ");
}
