import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { cached } from "../kube/build";
import { ended, freePorts } from "../kube/processes";

const POM = fileURLToPath(new URL("pom.xml", import.meta.url));
/** Sixteen bytes, base64: every broker must be told the same. */
const CLUSTER_ID = Buffer.from("urr-kafka-tested").toString("base64url");
const READY_TIMEOUT_MS = 240_000;
/** Classes behind the commands that the topics job runs. */
const COMMANDS = {
  "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
  "kafka-configs.sh": "kafka.admin.ConfigCommand",
} as const;

/** Whether Java and Maven are there to run Kafka with. */
export function canRunKafka(): boolean {
  return ["java", "mvn"].every((name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0);
}

/** Kafka of the deployed version on loopback, without authentication: brokers of which each is a controller too. */
export class KafkaCluster {
  private readonly processes: ChildProcess[] = [];

  private constructor(
    private readonly directory: string,
    readonly bootstrapServers: string,
    /** Folder with `kafka-topics.sh` and `kafka-configs.sh`. */
    readonly commands: string,
  ) {}

  static async start(brokers: number): Promise<KafkaCluster> {
    const directory = mkdtempSync(path.join(tmpdir(), "urr-kafka-"));
    const classPath = `${libraries()}/*`;
    const ports = await freePorts(2 * brokers);
    const [client, controller] = [ports.slice(0, brokers), ports.slice(brokers)];
    const cluster = new KafkaCluster(
      directory,
      client.map((port) => `127.0.0.1:${port}`).join(","),
      writeCommands(directory, classPath),
    );
    try {
      for (const id of client.keys()) cluster.run(id, classPath, properties(directory, id, client, controller));
      await cluster.ready(brokers);
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** Runs a command of Kafka and returns what it printed. */
  command(name: keyof typeof COMMANDS, ...args: readonly string[]): string {
    const { status, stderr, stdout } = spawnSync(
      path.join(this.commands, name),
      ["--bootstrap-server", this.bootstrapServers, ...args],
      { encoding: "utf8" },
    );
    if (status !== 0) throw new Error(`${name} ${args.join(" ")}: ${stdout}${stderr}`);
    return stdout;
  }

  async stop(): Promise<void> {
    for (const child of this.processes) await ended(child);
    rmSync(this.directory, { recursive: true, force: true });
  }

  private run(id: number, classPath: string, text: string): void {
    const file = path.join(this.directory, `broker-${id}.properties`);
    writeFileSync(file, text);
    const formatted = spawnSync(
      "java",
      ["-cp", classPath, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", file],
      {
        encoding: "utf8",
      },
    );
    if (formatted.status !== 0) throw new Error(`kafka-storage: ${formatted.stdout}${formatted.stderr}`);
    const log = openSync(path.join(this.directory, `broker-${id}.log`), "w");
    const child = spawn("java", ["-Xmx320m", "-cp", classPath, "kafka.Kafka", file], { stdio: ["ignore", log, log] });
    const kill = () => child.kill("SIGKILL");
    process.once("exit", kill);
    child.once("exit", () => process.off("exit", kill));
    this.processes.push(child);
    closeSync(log);
  }

  private async ready(brokers: number): Promise<void> {
    const deadline = Date.now() + READY_TIMEOUT_MS;
    for (;;) {
      const dead = this.processes.findIndex(({ exitCode }) => exitCode !== null);
      if (dead >= 0 || Date.now() > deadline) {
        const logs = this.processes.map((_, id) => readFileSync(path.join(this.directory, `broker-${id}.log`), "utf8"));
        throw new Error(`Kafka did not start:\n${logs.map((log) => log.slice(-2000)).join("\n")}`);
      }
      try {
        this.command(
          "kafka-topics.sh",
          "--create",
          "--if-not-exists",
          "--topic",
          "ready",
          "--replication-factor",
          `${brokers}`,
        );
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    }
  }
}

/** Jars of the module beside this file, fetched once. */
function libraries(): string {
  return cached("kafka", readFileSync(POM, "utf8"), (draft) => {
    const { status, stderr, stdout } = spawnSync(
      "mvn",
      ["-q", "-B", "-f", POM, "dependency:copy-dependencies", `-DoutputDirectory=${draft}`],
      { encoding: "utf8" },
    );
    if (status !== 0) throw new Error(`mvn: ${stdout}${stderr}`);
  });
}

function writeCommands(directory: string, classPath: string): string {
  const folder = path.join(directory, "bin");
  mkdirSync(folder);
  for (const [name, main] of Object.entries(COMMANDS))
    writeFileSync(
      path.join(folder, name),
      `#!/bin/sh\nexec java -Xmx128m -XX:TieredStopAtLevel=1 -cp '${classPath}' ${main} "$@"\n`,
      { mode: 0o755 },
    );
  return folder;
}

function properties(directory: string, id: number, client: readonly number[], controller: readonly number[]): string {
  const voters = controller.map((port, voter) => `${voter}@127.0.0.1:${port}`).join(",");
  return [
    "process.roles=broker,controller",
    `node.id=${id}`,
    `controller.quorum.voters=${voters}`,
    `listeners=PLAINTEXT://127.0.0.1:${client[id]},CONTROLLER://127.0.0.1:${controller[id]}`,
    "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names=CONTROLLER",
    `log.dirs=${path.join(directory, `data-${id}`)}`,
    "auto.create.topics.enable=false",
    `offsets.topic.replication.factor=${client.length}`,
    "",
  ].join("\n");
}
