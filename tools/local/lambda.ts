import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { unzipSync } from "fflate";
import type { LambdaFunction } from "./deployment";

/** The function threw, ran out of time, or could not be loaded. */
export class InvocationError extends Error {}

/** No environment is free and none may be added: what Lambda answers 429 to. */
export class TooManyRequestsError extends Error {}

export interface LambdaOptions {
  /** Where the package is unzipped to. */
  readonly directory: string;
  /** What Lambda itself sets: Region, credentials, endpoints. */
  readonly runtimeEnvironment: Readonly<Record<string, string>>;
  /** Most environments at once, within what the function has reserved. */
  readonly maxEnvironments: number;
  /** Every line that the function logs. */
  readonly onLog: (line: string) => void;
}

interface Environment {
  readonly worker: Worker;
  finish?: ((message: { result?: string; error?: { message: string; stack?: string } }) => void) | undefined;
}

interface Call {
  readonly event: unknown;
  readonly resolve: (environment: Environment) => void;
  readonly reject: (error: Error) => void;
}

/** Calls wait for an environment here, where Lambda would answer 429 at the 501st: this machine has fewer. */
const MAX_QUEUE = 20_000;

/** A deployed function: environments come when needed, each serving one event at a time, as in Lambda. */
export class LocalLambda {
  private readonly idle: Environment[] = [];
  private readonly all = new Set<Environment>();
  private readonly queue: Call[] = [];
  private readonly limit: number;

  constructor(
    readonly definition: LambdaFunction,
    private readonly options: LambdaOptions,
  ) {
    this.limit = Math.min(options.maxEnvironments, definition.reservedConcurrency ?? Number.POSITIVE_INFINITY);
    mkdirSync(options.directory, { recursive: true });
    for (const [name, content] of Object.entries(unzipSync(readFileSync(definition.zipFile)))) {
      writeFileSync(path.join(options.directory, name), content);
    }
  }

  get environments(): number {
    return this.all.size;
  }

  /** Calls the function and waits for what it returns. */
  async invoke(event: unknown): Promise<unknown> {
    const environment = await this.acquire(event);
    const { timeoutSeconds } = this.definition;
    const deadline = Date.now() + timeoutSeconds * 1000;
    const id = randomUUID();
    let timer: NodeJS.Timeout | undefined;
    try {
      const message = await new Promise<{ result?: string; error?: { message: string; stack?: string } }>(
        (resolve, reject) => {
          environment.finish = resolve;
          timer = setTimeout(() => {
            this.remove(environment);
            reject(new InvocationError(`${this.definition.name}: Task timed out after ${timeoutSeconds} seconds`));
          }, timeoutSeconds * 1000);
          environment.worker.postMessage({ id, event: JSON.stringify(event), deadline, requestId: id });
        },
      );
      if (message.error !== undefined) {
        throw new InvocationError(`${this.definition.name}: ${message.error.stack ?? message.error.message}`);
      }
      return JSON.parse(message.result ?? "null");
    } finally {
      clearTimeout(timer);
      environment.finish = undefined;
      if (this.all.has(environment)) {
        this.release(environment);
      }
    }
  }

  /** Ends every environment, and every call that waits for one or is under way: their timeouts would keep the process alive. */
  async stop(): Promise<void> {
    const stopped = new InvocationError(`${this.definition.name}: stopped`);
    const environments = [...this.all];
    this.all.clear();
    for (const { reject } of this.queue.splice(0)) {
      reject(stopped);
    }
    for (const { finish } of environments) {
      finish?.({ error: stopped });
    }
    await Promise.all(environments.map(({ worker }) => worker.terminate()));
  }

  private acquire(event: unknown): Promise<Environment> {
    const free = this.idle.pop();
    if (free !== undefined) {
      return Promise.resolve(free);
    }
    if (this.all.size < this.limit) {
      return Promise.resolve(this.add());
    }
    if (this.queue.length >= MAX_QUEUE) {
      return Promise.reject(new TooManyRequestsError(`${this.definition.name}: Rate Exceeded`));
    }
    return new Promise((resolve, reject) => this.queue.push({ event, resolve, reject }));
  }

  private release(environment: Environment): void {
    const next = this.queue.shift();
    if (next === undefined) {
      this.idle.push(environment);
    } else {
      next.resolve(environment);
    }
  }

  private add(): Environment {
    const { definition } = this;
    const worker = new Worker(fileURLToPath(new URL("./lambda-environment.mjs", import.meta.url)), {
      workerData: {
        directory: this.options.directory,
        handler: definition.handler,
        functionName: definition.name,
        memoryMib: definition.memoryMib,
      },
      env: { ...this.options.runtimeEnvironment, ...definition.environment, AWS_LAMBDA_FUNCTION_NAME: definition.name },
      execArgv: [],
      stdout: true,
      stderr: true,
    });
    const environment: Environment = { worker };
    this.all.add(environment);
    worker.on("message", (message) => environment.finish?.(message));
    worker.on("error", (error) => {
      environment.finish?.({ error });
      this.remove(environment);
    });
    for (const stream of [worker.stdout, worker.stderr]) {
      createInterface({ input: stream }).on("line", this.options.onLog);
    }
    return environment;
  }

  private remove(environment: Environment): void {
    if (this.all.delete(environment)) {
      void environment.worker.terminate();
      const next = this.queue.shift();
      if (next !== undefined) {
        next.resolve(this.add());
      }
    }
  }
}
