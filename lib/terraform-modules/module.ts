import { type ITerraformDependable, TerraformStack } from "cdktf";
import { Construct, type IConstruct } from "constructs";
import { logicalId } from "./ids";

/** Settings of a module boundary. */
export interface ModuleOptions {
  /**
   * Folder of the module below `modules/`, in kebab case.
   *
   * @default the name of the module call, with `-` for `_` (`vpc_endpoints` is in `vpc-endpoints`)
   */
  readonly directory?: string;
}

const MODULE = Symbol.for("urr/terraform-modules/Module");
const CALL_NAME = /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/;
const DIRECTORY = /^[a-z0-9]+(-[a-z0-9]+)*$/;

/**
 * A construct that is a Terraform module: everything below it is written to `modules/<directory>/main.tf.json`, and the stack's
 * root calls it. Its construct id is the name of the call, so a subnet `app_a` in `new Vpc(stack, "vpc")` has the address
 * `module.vpc.aws_subnet.app_a`. Pass a module in `dependsOn` to wait for all its resources.
 *
 * Changing the id changes the address of everything in the module: Terraform destroys and recreates it, unless a `moved` block
 * tells otherwise.
 */
export abstract class Module extends Construct implements ITerraformDependable {
  /** Folder of the module below `modules/`. */
  public readonly directory: string;

  /** Name of the module call in the root. */
  public readonly callName: string;

  public constructor(scope: Construct, id: string, options: ModuleOptions = {}) {
    super(scope, id);
    Object.defineProperty(this, MODULE, { value: true });
    const outer = Module.of(scope);
    if (outer) {
      throw new Error(
        `${this.node.path}: a module inside the module ${outer.node.path}; modules do not nest. ` +
          "Make it a plain Construct, or put it beside the other one and pass what it needs as props.",
      );
    }
    const stack = TerraformStack.of(this);
    const ids = this.node.scopes.slice(this.node.scopes.indexOf(stack) + 1).map((construct) => construct.node.id);
    this.callName = logicalId(ids);
    this.directory = options.directory ?? this.callName.replaceAll("_", "-");
    const problems = [
      CALL_NAME.test(this.callName)
        ? undefined
        : `id: given ${JSON.stringify(this.callName)}; allowed: snake case such as vpc_endpoints. It is the name of the module call.`,
      DIRECTORY.test(this.directory)
        ? undefined
        : `directory: given ${JSON.stringify(this.directory)}; allowed: kebab case such as vpc-endpoints. It is a folder of modules/.`,
    ].filter((problem) => problem !== undefined);
    if (problems.length > 0) {
      throw new Error(problems.map((problem) => `${this.node.path}: ${problem}`).join("\n"));
    }
  }

  public static isModule(construct: unknown): construct is Module {
    return typeof construct === "object" && construct !== null && MODULE in construct;
  }

  /** The module that a construct is in (or is), undefined when it belongs to the root. */
  public static of(construct: IConstruct): Module | undefined {
    return construct.node.scopes.findLast(Module.isModule);
  }

  /** What `dependsOn` writes for the module; the stack puts its resources in its place. */
  public get fqn(): string {
    return `module.${this.callName}`;
  }
}
