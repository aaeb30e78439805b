/**
 * Turns a cdktf construct tree into real Terraform modules.
 *
 * In TypeScript, a class that extends {@link Module} is passed objects and used like any other construct. In the output it is a
 * child module: a stack becomes a root (`cdk.tf.json`: backend, providers, variables, module calls, outputs) and one
 * `modules/<directory>/main.tf.json` per module, and every reference between modules becomes an output, a line of wiring in the root
 * and an input variable. The resource graph is that of the flat configuration cdktf itself would write.
 *
 * ```ts
 * class Vpc extends Module {
 *   public readonly main = new AwsVpc(this, "main", { cidrBlock: "10.0.0.0/16" }); // module.vpc.aws_vpc.main
 * }
 *
 * const app = new ModularApp();
 * const stack = new ModularStack(app, "prod");
 * const vpc = new Vpc(stack, "vpc");
 * new Rds(stack, "rds", { vpcId: vpc.main.id }); // output vpc_main_id of module.vpc, variable vpc_vpc_main_id of module.rds
 * app.synth();
 * ```
 *
 * - Variables, outputs and provider blocks belong to the root wherever they are made; a module that uses a root variable gets one of
 *   the same name, an aliased provider comes through `configuration_aliases`.
 * - `dependsOn` works across modules, on single resources and on a whole {@link Module}.
 * - What Terraform cannot pass between modules (`replace_triggered_by`) fails the synth, with everything else that is wrong.
 */

export { ModularApp, type ModularAppConfig } from "./app";
export { Asset, type AssetProps } from "./asset";
export { type Boundary, EmitError, type Emitted, emit, type Ownership } from "./emit";
export { exportHcl, hclOf, printModule, type Shapes } from "./hcl";
export { formatHcl } from "./hcl-format";
export type { Json, JsonObject } from "./json";
export { Module, type ModuleOptions } from "./module";
export { SynthError } from "./problems";
export { type Files, ModularStack, type RenderedStack } from "./stack";
