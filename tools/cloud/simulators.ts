import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Account in which everything on loopback is made. */
export const ACCOUNT_ID = "123456789012";
/** Region of everything that is not bound to us-east-1. */
export const REGION = "ap-northeast-2";

const ROOT = path.resolve(import.meta.dirname, "../..");
const SOURCES = path.join(import.meta.dirname, "simulators");
const VENVS = path.join(ROOT, "node_modules/.cache/urr-infra/simulators");
const READY_SECONDS = 60;
/** A busy simulator answers late; one that is taken for dead is replaced, with all that it holds. */
const ANSWER_SECONDS = 20;
const STOP_SECONDS = 15;

/** The parts of the cloud, in the order of their ports. */
const PARTS = ["ministack", "moto", "grafana"] as const;
type Part = (typeof PARTS)[number];

const HEALTH_PATHS: Readonly<Record<Part, string>> = {
  ministack: "/_ministack/health",
  moto: "/moto-api/data.json",
  grafana: "/health",
};

interface CloudRecord {
  readonly pid: number;
  readonly ports: Readonly<Record<Part, number>>;
}

/** Options of {@link Cloud.up}. */
export interface UpOptions {
  /** Process with which the cloud ends. @default none: it runs until `down` */
  readonly owner?: number;
  /** Told what is being done. @default nobody */
  readonly progress?: (line: string) => void;
}

/** An AWS API on loopback: three simulators that together serve what the stacks use. State is in memory and ends with them. */
export class Cloud {
  private constructor(
    readonly directory: string,
    private readonly record: CloudRecord,
  ) {}

  /** The cloud that runs in this folder, if one does. */
  static async find(directory: string): Promise<Cloud | undefined> {
    const file = path.join(directory, "cloud.json");
    if (!existsSync(file)) return undefined;
    const record = JSON.parse(readFileSync(file, "utf8")) as CloudRecord;
    if (!isSupervisor(record.pid)) return undefined;
    const cloud = new Cloud(directory, record);
    return (await cloud.health()).every(({ healthy }) => healthy) ? cloud : undefined;
  }

  /** Finds the cloud of this folder, or starts one; of two starts at once, the second finds what the first has started. */
  static async up(directory: string, options: UpOptions = {}): Promise<Cloud> {
    mkdirSync(directory, { recursive: true });
    const release = await claim(path.join(directory, "starting"));
    try {
      return (await Cloud.find(directory)) ?? (await Cloud.start(directory, options));
    } finally {
      release();
    }
  }

  private static async start(directory: string, { owner, progress = () => {} }: UpOptions): Promise<Cloud> {
    await Cloud.stop(directory);
    const python = installSimulators(progress);
    mkdirSync(path.join(directory, "tmp"), { recursive: true });
    // Functions are unpacked below: without this, Node would find the checkout's package.json and take their code for ES modules.
    writeFileSync(path.join(directory, "tmp/package.json"), "{}\n");
    const [ministack, moto, grafana] = await freePorts(PARTS.length);
    const ports = { ministack, moto, grafana } as Record<Part, number>;
    progress(`Starting the simulators on 127.0.0.1, ports ${Object.values(ports).join(", ")}`);
    const log = openSync(path.join(directory, "supervisor.log"), "a");
    const child = spawn(
      python,
      [
        path.join(SOURCES, "supervisor.py"),
        REGION,
        ACCOUNT_ID,
        ...PARTS.map((part) => String(ports[part])),
        ...(owner === undefined ? [] : [String(owner)]),
      ],
      // A group of its own: a Ctrl-C meant for the command does not reach the simulators.
      {
        cwd: directory,
        detached: true,
        stdio: ["ignore", log, log],
        env: { ...withoutAws(process.env), TMPDIR: path.join(directory, "tmp"), PYTHONDONTWRITEBYTECODE: "1" },
      },
    );
    child.unref();
    const cloud = new Cloud(directory, { pid: child.pid ?? 0, ports });
    writeFileSync(path.join(directory, "cloud.json"), `${JSON.stringify(cloud.record, null, 2)}\n`);
    const stopOnSignal = () => {
      if (child.pid) process.kill(child.pid, "SIGTERM");
      process.exit(1);
    };
    process.once("SIGINT", stopOnSignal);
    try {
      await cloud.ready();
    } catch (error) {
      await cloud.down();
      throw error;
    } finally {
      process.removeListener("SIGINT", stopOnSignal);
    }
    return cloud;
  }

  /** Ends the cloud of this folder, also what is left of one that is no longer whole. Tells whether there was one. */
  static async stop(directory: string): Promise<boolean> {
    const file = path.join(directory, "cloud.json");
    if (!existsSync(file)) return false;
    await new Cloud(directory, JSON.parse(readFileSync(file, "utf8")) as CloudRecord).down();
    return true;
  }

  /** URL of MiniStack, which serves all that the others do not. */
  get endpoint(): string {
    return this.url("ministack");
  }

  /** What makes Terraform's provider and backend, the AWS CLI and the SDKs talk to this cloud. */
  get environment(): Readonly<Record<string, string>> {
    return {
      AWS_ENDPOINT_URL: this.url("ministack"),
      AWS_ENDPOINT_URL_CLOUDWATCH: this.url("moto"),
      AWS_ENDPOINT_URL_AMP: this.url("moto"),
      AWS_ENDPOINT_URL_GRAFANA: this.url("grafana"),
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
      AWS_REGION: REGION,
      AWS_DEFAULT_REGION: REGION,
      AWS_EC2_METADATA_DISABLED: "true",
      CHECKPOINT_DISABLE: "1",
    };
  }

  /** Whether each part answers. */
  async health(): Promise<{ part: Part; url: string; healthy: boolean; log: string }[]> {
    return Promise.all(
      PARTS.map(async (part) => ({
        part,
        url: this.url(part),
        healthy: await answers(this.url(part) + HEALTH_PATHS[part]),
        log: path.join(this.directory, `${part}.log`),
      })),
    );
  }

  /** How many calls each part has served, and MiniStack by service. */
  async calls(): Promise<{ ministack: Readonly<Record<string, number>>; moto: number; grafana: number }> {
    const counted = await fetch(`${this.url("ministack")}/_urr/calls`);
    const lines = (part: Part) =>
      readFileSync(path.join(this.directory, `${part}.log`), "utf8")
        .split("\n")
        .filter((line) => / "[A-Z]+ \/.*HTTP\/1/.test(line) && !line.includes(HEALTH_PATHS[part])).length;
    return {
      ministack: (await counted.json()) as Record<string, number>,
      moto: lines("moto"),
      grafana: lines("grafana"),
    };
  }

  /** Ends every process of the cloud; what it held is gone. */
  async down(): Promise<void> {
    const { pid } = this.record;
    if (isSupervisor(pid)) process.kill(pid, "SIGTERM");
    const end = Date.now() + STOP_SECONDS * 1000;
    while (isSupervisor(pid)) {
      if (Date.now() > end) process.kill(-pid, "SIGKILL");
      await sleep(100);
    }
    rmSync(path.join(this.directory, "cloud.json"), { force: true });
    rmSync(path.join(this.directory, "tmp"), { recursive: true, force: true });
  }

  private url(part: Part): string {
    return `http://127.0.0.1:${this.record.ports[part]}`;
  }

  private async ready(): Promise<void> {
    const end = Date.now() + READY_SECONDS * 1000;
    for (;;) {
      const health = await this.health();
      const missing = health.filter(({ healthy }) => !healthy);
      if (missing.length === 0) return;
      const ended = !isSupervisor(this.record.pid);
      if (ended || Date.now() > end) {
        const logs = missing.map(({ part, log }) => `${part}: ${tail(log)}`).join("\n");
        throw new Error(
          `the simulators ${ended ? "ended" : `did not answer within ${READY_SECONDS} seconds`}; missing:\n${logs}`,
        );
      }
      await sleep(100);
    }
  }
}

/** The pinned simulators in a virtual environment of their own, made once per requirements file. Returns its Python. */
export function installSimulators(progress: (line: string) => void = () => {}): string {
  const requirements = path.join(SOURCES, "requirements.txt");
  const digest = createHash("sha256").update(readFileSync(requirements)).digest("hex").slice(0, 16);
  const venv = path.join(VENVS, digest);
  const python = path.join(venv, "bin/python");
  if (existsSync(python)) return python;
  progress("Installing the simulators (once; a minute or two)");
  mkdirSync(VENVS, { recursive: true });
  // Made beside and then renamed: whoever else installs at the same time must not find half of it.
  const fresh = mkdtempSync(`${venv}.`);
  run("python3", ["-m", "venv", fresh]);
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
  run(path.join(fresh, "bin/python"), [...pip, "-r", requirements]);
  try {
    renameSync(fresh, venv);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(python)) throw error;
  }
  return python;
}

function run(command: string, args: readonly string[]): void {
  const { error, status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (error || status !== 0) {
    throw new Error(
      `cannot install the simulators: ${command} ${args.join(" ")} failed. Python 3.11 or later with venv and a package index are needed.\n${error?.message ?? stderr}`,
    );
  }
}

/** Waits until no other live process holds this file, then holds it. Returns what gives it up. */
async function claim(file: string): Promise<() => void> {
  for (;;) {
    try {
      writeFileSync(file, String(process.pid), { flag: "wx" });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
    if (holder > 0 && !isAlive(holder)) rmSync(file, { force: true });
    await sleep(100);
  }
}

function isAlive(pid: number): boolean {
  return spawnSync("ps", ["-p", String(pid)]).status === 0;
}

/** Whether this process id is one of our supervisors and not somebody else's process that got its number. */
function isSupervisor(pid: number): boolean {
  if (!(pid > 0)) return false;
  const { status, stdout } = spawnSync("ps", ["-o", "stat=,command=", "-p", String(pid)], { encoding: "utf8" });
  return status === 0 && !stdout.trimStart().startsWith("Z") && stdout.includes(path.join(SOURCES, "supervisor.py"));
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_SECONDS * 1000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

/** Ports that were free a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(0, "127.0.0.1", resolve);
      });
      return server;
    }),
  );
  return Promise.all(
    servers.map(async (server) => {
      const address = server.address();
      await new Promise((resolve) => server.close(resolve));
      if (address === null || typeof address === "string") throw new Error("no port on 127.0.0.1");
      return address.port;
    }),
  );
}

/** The environment without anything that would make an SDK look for a real account. */
export function withoutAws(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith("AWS_")));
}

function tail(file: string): string {
  return existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n").slice(-5).join("\n  ") : "no log";
}
