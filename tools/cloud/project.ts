import { spawn } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { StringDecoder } from "node:string_decoder";
import { stripVTControlCharacters } from "node:util";
import { type Cost, Meter } from "./meter";
import { withoutAws } from "./simulators";

const ROOT = path.resolve(import.meta.dirname, "../..");
/** What of a checkout is no source: account values, outputs and states stay behind, tests and texts are not needed. */
const LEFT_BEHIND = [".git", ".cache", "node_modules", "cdktf.out", "bootstrap", "__tests__", "docs"];
/** As many as keep two cores busy while most calls wait; the provider's own waits dominate. */
const PARALLELISM = 16;
/** The Terraform that the npm scripts name: it refuses what the guard refuses. */
const GUARDED_TERRAFORM = "tools/guard/terraform.mjs";
/** What ends this process: by a key, by a supervisor, with its terminal. */
const ENDING = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** What a command did. */
export interface CommandResult {
  readonly status: number;
  /** Standard output and error, as they came. */
  readonly output: string;
  readonly stdout: string;
  readonly cost: Cost;
}

/** Options of {@link Project.command}. */
export interface CommandOptions {
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Told each line. @default nobody */
  readonly progress?: (line: string) => void;
  /** Ends the command's whole group at once, as a power cut would, when it aborts. */
  readonly kill?: AbortSignal;
}

/** A command that ended with an error where it should not have. */
export class CommandError extends Error {
  constructor(command: string, { output, status }: CommandResult) {
    super(`${command} ended with ${status}:\n${output.split("\n").slice(-60).join("\n")}`);
    this.name = "CommandError";
  }
}

/**
 * A copy of a checkout with account values for the cloud on loopback, in which the unchanged cdktf CLI deploys. A copy, because a
 * life edits sources as a developer would, and must touch neither the real checkout nor its outputs and states.
 */
export class Project {
  private constructor(
    readonly directory: string,
    private readonly environment: Readonly<Record<string, string>>,
    private readonly temporary: boolean,
  ) {}

  /**
   * @param environment What makes Terraform talk to the cloud: `Cloud.environment`.
   * @param directory Where to put it, replacing sources that are there and keeping states. @default a temporary folder
   * @param checkout Checkout to copy. @default this one
   */
  static create(environment: Readonly<Record<string, string>>, directory?: string, checkout = ROOT): Project {
    const home = directory ?? mkdtempSync(path.join(tmpdir(), "urr-project-"));
    mkdirSync(home, { recursive: true });
    const sources = readdirSync(checkout).filter((name) => !LEFT_BEHIND.includes(name));
    const others = readdirSync(home).filter((name) => !LEFT_BEHIND.includes(name));
    for (const name of others) rmSync(path.join(home, name), { recursive: true, force: true });
    for (const name of sources) {
      const filter = (source: string) => !source.endsWith(".tfvars");
      cpSync(path.join(checkout, name), path.join(home, name), { recursive: true, filter });
    }
    const modules = path.join(home, "node_modules");
    if (!existsSync(modules)) symlinkSync(path.join(ROOT, "node_modules"), modules);
    const project = new Project(home, environment, directory === undefined);
    project.writeAccountValues();
    return project;
  }

  /** Folder of a synthesized stack. */
  stackDirectory(stack: string): string {
    return path.join(this.directory, "cdktf.out/stacks", stack);
  }

  /** Changes a source file, as a developer would; throws if what is to be replaced is not there exactly once. */
  edit(file: string, from: string, to: string): void {
    const target = path.join(this.directory, file);
    const parts = this.read(file).split(from);
    if (parts.length !== 2) {
      throw new Error(`${file}: ${JSON.stringify(from)} is there ${parts.length - 1} times; it must be once.`);
    }
    writeFileSync(target, parts.join(to));
  }

  /** Changes every occurrence in a source file; throws if there is none. */
  editAll(file: string, from: string, to: string): void {
    const text = this.read(file);
    if (!text.includes(from)) throw new Error(`${file}: ${JSON.stringify(from)} is not there.`);
    writeFileSync(path.join(this.directory, file), text.replaceAll(from, to));
  }

  /** A source file's text. */
  read(file: string): string {
    return readFileSync(path.join(this.directory, file), "utf8");
  }

  /** Adds a line to a source file. */
  append(file: string, line: string): void {
    appendFileSync(path.join(this.directory, file), `${line}\n`);
  }

  /** Sets a Terraform variable of an environment's account values. */
  setVariable(environment: string, name: string, value: string | boolean): void {
    const file = path.join(this.directory, `environments/${environment}.tfvars`);
    const others = readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => !new RegExp(`^${name}\\s*=`).test(line));
    writeFileSync(file, `${others.join("\n").trimEnd()}\n${name} = ${JSON.stringify(value)}\n`);
  }

  /** Runs `cdktf`, with the guard before every apply and destroy. */
  cdktf(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const command = path.join(this.directory, "node_modules/.bin/cdktf");
    return this.command(command, args, options);
  }

  /** Runs `cdktf synth`; throws if it fails. */
  async synth(): Promise<void> {
    await this.must(["synth"], {});
  }

  /** Runs `cdktf deploy` without questions on what was synthesized; throws if it fails. */
  deploy(stack: string, options: CommandOptions = {}): Promise<CommandResult> {
    const flags = ["--auto-approve", "--skip-provider-lock", "--skip-synth"];
    return this.must(["deploy", stack, ...flags, "--terraform-parallelism", String(PARALLELISM)], options);
  }

  /** Runs `cdktf diff`; throws if it fails. */
  diff(stack: string, options: CommandOptions & { readonly migrateState?: boolean } = {}): Promise<CommandResult> {
    const flags = ["--skip-provider-lock", "--terraform-parallelism", String(PARALLELISM)];
    return this.must(["diff", stack, ...flags, ...(options.migrateState ? ["--migrate-state"] : [])], options);
  }

  /** Runs `cdktf destroy` without questions; the caller looks at what came of it. */
  destroy(stack: string, options: CommandOptions = {}): Promise<CommandResult> {
    const parallelism = ["--terraform-parallelism", String(PARALLELISM)];
    return this.cdktf(["destroy", stack, "--auto-approve", ...parallelism], options);
  }

  /** Runs Terraform itself in a stack's folder. */
  terraform(stack: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return this.command("terraform", args, { ...options, cwd: this.stackDirectory(stack) });
  }

  /** What Terraform prints in a stack's folder; throws if it fails. */
  async mustTerraform(stack: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const result = await this.terraform(stack, args, options);
    if (result.status !== 0) throw new CommandError(`terraform ${args.join(" ")} (${stack})`, result);
    return result.stdout;
  }

  /** Runs a command with the cloud's environment. */
  command(command: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const { cwd = this.directory, environment = {}, kill, progress } = options;
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        cwd,
        stdio: ["ignore", "pipe", "pipe"],
        // A group of its own, so that ending it ends Terraform and its providers too.
        detached: true,
        env: {
          ...withoutAws(process.env),
          TERRAFORM_BINARY_NAME: path.join(this.directory, GUARDED_TERRAFORM),
          CI: "1",
          TF_IN_AUTOMATION: "1",
          ...this.environment,
          ...environment,
        },
      });
      const meter = new Meter(child.pid ?? 0);
      let output = "";
      let stdout = "";
      let line = "";
      const take = (text: string) => {
        output += text;
        line += text;
        const lines = line.split("\n");
        line = lines.pop() ?? "";
        for (const whole of lines) progress?.(stripVTControlCharacters(whole));
      };
      for (const stream of [child.stdout, child.stderr]) {
        const decoder = new StringDecoder("utf8");
        stream.on("data", (chunk: Buffer) => {
          const text = decoder.write(chunk);
          if (stream === child.stdout) stdout += text;
          take(text);
        });
      }
      const end = () => {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      };
      // A signal reaches this process only: the command ends in order, and with it what it started.
      const interrupt = () => {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
      };
      for (const signal of ENDING) process.once(signal, interrupt);
      kill?.addEventListener("abort", end, { once: true });
      child.once("error", (error) => {
        meter.stop();
        reject(error);
      });
      child.once("close", (status) => {
        kill?.removeEventListener("abort", end);
        for (const signal of ENDING) process.removeListener(signal, interrupt);
        resolve({ status: status ?? 1, output: stripVTControlCharacters(output), stdout, cost: meter.stop() });
      });
    });
  }

  /** Type of the backend that a stack was last initialised with, such as `s3`. */
  backendOf(stack: string): string | undefined {
    const file = path.join(this.stackDirectory(stack), ".terraform/terraform.tfstate");
    if (!existsSync(file)) return undefined;
    return (JSON.parse(readFileSync(file, "utf8")) as { backend?: { type?: string } }).backend?.type;
  }

  /** Removes a file or folder. */
  remove(name: string): void {
    rmSync(path.join(this.directory, name), { recursive: true, force: true });
  }

  /** Removes the project, if it is a temporary one. */
  dispose(): void {
    if (this.temporary) rmSync(this.directory, { recursive: true, force: true });
  }

  private async must(args: readonly string[], options: CommandOptions): Promise<CommandResult> {
    const result = await this.cdktf(args, options);
    if (result.status !== 0) throw new CommandError(`cdktf ${args.join(" ")}`, result);
    return result;
  }

  /** The committed examples are account values of the simulated account; only the hosted zone has to be made. */
  private writeAccountValues(): void {
    for (const name of ["bootstrap", "staging", "prod"]) {
      const example = path.join(this.directory, `environments/${name}.tfvars.example`);
      writeFileSync(path.join(this.directory, `environments/${name}.tfvars`), readFileSync(example, "utf8"));
    }
    this.setVariable("prod", "create_hosted_zone", true);
    this.setVariable("prod", "hosted_zone_id", "");
  }
}
