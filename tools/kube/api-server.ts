import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import { command } from "./build";
import { ended, freePorts, LOOPBACK } from "./processes";

/** What kubectl said. */
export interface KubectlResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const READY_TIMEOUT_MS = 180_000;

/**
 * A real Kubernetes API server with its store, on loopback: it knows every kind, defaults, validates and admits, and runs nothing.
 */
export class ApiServer {
  private readonly processes: ChildProcess[] = [];

  private constructor(
    private readonly directory: string,
    /** Configuration for kubectl, as administrator. */
    readonly kubeconfig: string,
  ) {}

  /** Starts a server, empty but for what Kubernetes itself puts there. */
  static async start(): Promise<ApiServer> {
    const directory = mkdtempSync(path.join(tmpdir(), "urr-kube-"));
    const server = new ApiServer(directory, path.join(directory, "kubeconfig"));
    try {
      await server.launch();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  /** Runs the pinned kubectl against the server. */
  kubectl(args: readonly string[], input?: string): KubectlResult {
    const result = spawnSync(command("kubectl"), ["--kubeconfig", this.kubeconfig, ...args], {
      encoding: "utf8",
      maxBuffer: 1 << 28,
      env: { PATH: process.env.PATH, HOME: this.directory },
      ...(input !== undefined && { input }),
    });
    if (result.error) throw result.error;
    return { status: result.status ?? 1, stdout: result.stdout, stderr: result.stderr };
  }

  /** Runs kubectl and throws with what it said if it fails. */
  mustKubectl(args: readonly string[], input?: string): string {
    const { status, stderr, stdout } = this.kubectl(args, input);
    if (status !== 0) throw new Error(`kubectl ${args.join(" ")} failed:\n${stderr}`);
    return stdout;
  }

  /** Makes the kinds of custom resource definitions known. */
  install(crds: readonly string[]): void {
    for (const file of crds) this.mustKubectl(["apply", "--server-side", "-f", file]);
    this.mustKubectl(["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
  }

  /** Stops what this object started and removes its files. */
  async stop(): Promise<void> {
    for (const child of this.processes.toReversed()) await ended(child);
    rmSync(this.directory, { recursive: true, force: true });
  }

  private async launch(): Promise<void> {
    const [clientPort, peerPort, apiPort] = await freePorts(3);
    const etcdUrl = `http://${LOOPBACK}:${clientPort}`;
    const peerUrl = `http://${LOOPBACK}:${peerPort}`;
    this.run("etcd", [
      `--data-dir=${path.join(this.directory, "etcd")}`,
      `--listen-client-urls=${etcdUrl}`,
      `--advertise-client-urls=${etcdUrl}`,
      `--listen-peer-urls=${peerUrl}`,
      `--initial-advertise-peer-urls=${peerUrl}`,
      `--initial-cluster=default=${peerUrl}`,
      "--unsafe-no-fsync",
      "--log-level=error",
    ]);
    const token = randomBytes(16).toString("hex");
    const tokenFile = this.write("tokens.csv", `${token},admin,1,system:masters\n`);
    const { privateKey } = generateKeyPairSync("rsa", {
      modulusLength: 2048,
      publicKeyEncoding: { type: "spki", format: "pem" },
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
    });
    const keyFile = this.write("service-accounts.pem", privateKey);
    const certificates = path.join(this.directory, "certificates");
    this.run("kube-apiserver", [
      `--etcd-servers=${etcdUrl}`,
      `--bind-address=${LOOPBACK}`,
      `--advertise-address=${LOOPBACK}`,
      `--secure-port=${apiPort}`,
      `--cert-dir=${certificates}`,
      `--token-auth-file=${tokenFile}`,
      "--authorization-mode=RBAC",
      "--anonymous-auth=false",
      "--disable-admission-plugins=ServiceAccount",
      "--endpoint-reconciler-type=none",
      "--service-cluster-ip-range=172.20.0.0/16",
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${keyFile}`,
      `--service-account-signing-key-file=${keyFile}`,
    ]);
    writeFileSync(
      this.kubeconfig,
      stringify({
        apiVersion: "v1",
        kind: "Config",
        "current-context": "local",
        clusters: [
          {
            name: "local",
            cluster: {
              server: `https://${LOOPBACK}:${apiPort}`,
              "certificate-authority": path.join(certificates, "apiserver.crt"),
            },
          },
        ],
        users: [{ name: "admin", user: { token } }],
        contexts: [{ name: "local", context: { cluster: "local", user: "admin" } }],
      }),
    );
    await this.ready();
  }

  private async ready(): Promise<void> {
    const deadline = Date.now() + READY_TIMEOUT_MS;
    for (;;) {
      const dead = this.processes.find(({ exitCode }) => exitCode !== null);
      if (dead) throw new Error(`${dead.spawnfile} ended with ${dead.exitCode}:\n${this.logs()}`);
      const { status, stderr } = this.kubectl(["get", "--raw", "/readyz", "--request-timeout=2s"]);
      if (status === 0) return;
      if (Date.now() > deadline) throw new Error(`the API server is not ready: ${stderr}\n${this.logs()}`);
      await sleep(500);
    }
  }

  private run(name: "etcd" | "kube-apiserver", args: readonly string[]): void {
    const binary = command(name);
    const log = openSync(path.join(this.directory, `${name}.log`), "w");
    const child = spawn(binary, args, { stdio: ["ignore", log, log], env: { PATH: process.env.PATH } });
    // Whoever started it may be ended without a chance to stop it.
    const kill = () => child.kill("SIGKILL");
    process.once("exit", kill);
    child.once("exit", () => process.off("exit", kill));
    this.processes.push(child);
    closeSync(log);
  }

  private logs(): string {
    return (["etcd", "kube-apiserver"] as const)
      .map((name) => {
        try {
          return readFileSync(path.join(this.directory, `${name}.log`), "utf8")
            .split("\n")
            .slice(-20)
            .join("\n");
        } catch {
          return "";
        }
      })
      .join("\n");
  }

  private write(name: string, content: string): string {
    const file = path.join(this.directory, name);
    writeFileSync(file, content, { mode: 0o600 });
    return file;
  }
}
