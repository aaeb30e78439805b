import { AwsProvider } from "@cdktf/provider-aws/lib/provider";
import { RandomProvider } from "@cdktf/provider-random/lib/provider";
import { type JsonObject, ModularApp, ModularStack, SynthError } from "../../lib/terraform-modules";

/** Region of the stacks under test. */
export const REGION = "ap-northeast-2";
/** Account that example values name. */
export const ACCOUNT_ID = "123456789012";

/** A stack with the providers that every module needs, before it is synthesized. */
export class TestStack extends ModularStack {
  /** Provider of us-east-1. */
  readonly usEast1: AwsProvider;

  constructor(app: ModularApp = new ModularApp()) {
    super(app, "test");
    new AwsProvider(this, "aws", { region: REGION });
    this.usEast1 = new AwsProvider(this, "aws_us_east_1", { alias: "us_east_1", region: "us-east-1" });
    new RandomProvider(this, "random");
  }
}

/** A synthesized test stack: its root and its modules, by folder. */
export interface SynthesizedModules {
  readonly root: JsonObject;
  readonly modules: ReadonlyMap<string, JsonObject>;
  /** The stack without modules, with references as they were written. */
  readonly flat: JsonObject;
}

/** Builds a test stack and synthesizes it in memory. Throws what the synth throws. */
export function synthModule(build: (stack: TestStack) => void): SynthesizedModules {
  const app = new ModularApp();
  build(new TestStack(app));
  const [rendered] = app.render();
  if (!rendered) throw new Error("the test app has no stack");
  return { root: rendered.emitted.root, modules: rendered.emitted.modules, flat: rendered.flat };
}

/** The problems for which a synth of the test stack fails; none if it succeeds. */
export function synthProblems(build: (stack: TestStack) => void): readonly string[] {
  try {
    synthModule(build);
    return [];
  } catch (error) {
    if (error instanceof SynthError) return error.problems;
    throw error;
  }
}

/** Resources of a type in the stack without modules, by name. */
export function resourcesOf(synthesized: SynthesizedModules, type: string): Readonly<Record<string, JsonObject>> {
  const resources = synthesized.flat.resource as
    | Readonly<Record<string, Readonly<Record<string, JsonObject>>>>
    | undefined;
  return resources?.[type] ?? {};
}
