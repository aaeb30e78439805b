import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { IMAGES, TOPIC_REPLICATION } from "../../environments/platform";
import { DATABASES } from "../../environments/services";
import { RDS_PASSWORD_SPECIALS } from "../../modules/secrets";
import { canRunKafka, KafkaCluster } from "../../tools/kafka/kafka";

const BOOTSTRAP = path.resolve("k8s/charts/database-bootstrap/files/bootstrap.sh");
const TOPICS_SCRIPT = path.resolve("k8s/charts/kafka-topics/files/topics.sh");
const MASTER = "urr_admin";
const MASTER_PASSWORD = "master-password";

/** Folder of the newest installed PostgreSQL server's commands. */
function postgresBin(): string | undefined {
  const versions = spawnSync("ls", ["/usr/lib/postgresql"], { encoding: "utf8" });
  const newest = versions.stdout
    .split("\n")
    .filter((name) => /^\d+$/.test(name))
    .sort((left, right) => Number(right) - Number(left))[0];
  return versions.status === 0 && newest ? `/usr/lib/postgresql/${newest}/bin` : undefined;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() =>
        address && typeof address === "object" ? resolve(address.port) : reject(new Error("no port")),
      );
    });
  });
}

const bin = postgresBin();
if (!bin) {
  if (process.env.CI) throw new Error("the job that makes databases: no PostgreSQL server; CI must have one.");
  process.stderr.write("NOT RUN: the job that makes databases (no PostgreSQL server)\n");
}

describe.skipIf(!bin)("the job that makes databases, against PostgreSQL", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "urr-postgres-"));
  const passwords = path.join(folder, "passwords");
  const log = path.join(folder, "log");
  let port: number;
  let server: ChildProcess;

  /** PostgreSQL refuses to run as root: then it runs as nobody. */
  const asServer = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : undefined;

  function query(user: string, password: string, database: string, sql: string) {
    const { status, stderr, stdout } = spawnSync(
      "psql",
      ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", "--command", sql],
      {
        encoding: "utf8",
        env: { ...process.env, ...connection(user, password, database) },
      },
    );
    return { ok: status === 0, stdout: stdout.trim(), stderr };
  }

  function connection(user: string, password: string, database: string) {
    return { PGHOST: "127.0.0.1", PGPORT: `${port}`, PGUSER: user, PGPASSWORD: password, PGDATABASE: database };
  }

  /** Runs the script as a pod does: without a terminal. */
  function bootstrap(databases = DATABASES) {
    const { status, stderr, stdout } = spawnSync("setsid", ["--wait", "bash", BOOTSTRAP], {
      encoding: "utf8",
      env: {
        ...process.env,
        ...connection(MASTER, MASTER_PASSWORD, "ticket_db"),
        PASSWORDS: passwords,
        DATABASES: databases.map(({ name, user }) => `${name} ${user}`).join("\n"),
      },
    });
    return { status, stdout, stderr };
  }

  function setPassword(user: string, password: string): void {
    writeFileSync(path.join(passwords, user), password);
  }

  beforeAll(async () => {
    mkdirSync(passwords);
    if (asServer) chownSync(folder, asServer.uid, asServer.gid);
    chmodSync(folder, 0o755);
    const data = path.join(folder, "data");
    const made = spawnSync(
      `${bin}/initdb`,
      ["-D", data, "-U", "rdsadmin", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync"],
      { ...asServer, encoding: "utf8", cwd: folder },
    );
    if (made.status !== 0) throw new Error(made.stderr);
    port = await freePort();
    server = spawn(
      `${bin}/postgres`,
      // As the parameter group sets it (Infra analysis §2-3): what is DDL is logged, word for word.
      [
        "-D",
        data,
        "-p",
        `${port}`,
        "-k",
        folder,
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "log_statement=ddl",
        "-c",
        "fsync=off",
      ],
      { ...asServer, cwd: folder, stdio: ["ignore", "ignore", openSync(log, "w")] },
    );
    const superuser = (sql: string) =>
      spawnSync("psql", ["-h", folder, "-p", `${port}`, "-U", "rdsadmin", "-d", "postgres", "-q", "-c", sql], {
        encoding: "utf8",
      });
    for (let attempt = 0; superuser("SELECT 1").status !== 0; attempt++) {
      if (attempt > 100) throw new Error("PostgreSQL did not start");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // What RDS makes: a master user who is no superuser, and the first database.
    superuser(`CREATE ROLE ${MASTER} LOGIN CREATEDB CREATEROLE PASSWORD '${MASTER_PASSWORD}'`);
    superuser(`CREATE DATABASE ticket_db OWNER ${MASTER}`);
    for (const { user } of DATABASES) setPassword(user, `${RDS_PASSWORD_SPECIALS}'\\${user}`);
  }, 60_000);

  afterAll(async () => {
    if (server.exitCode === null) {
      const exited = new Promise((resolve) => server.once("exit", resolve));
      server.kill("SIGINT");
      await exited;
    }
    rmSync(folder, { recursive: true, force: true });
  });

  it("makes what is missing, and may run again", () => {
    for (const run of [1, 2, 3]) {
      const { status, stderr, stdout } = bootstrap();
      expect(status, `run ${run}: ${stderr}`).toBe(0);
      expect(stdout.trim().split("\n")).toEqual(DATABASES.map(({ name, user }) => `${name} belongs to ${user}`));
    }
    const owners = query(
      MASTER,
      MASTER_PASSWORD,
      "ticket_db",
      "SELECT datname || ' ' || pg_get_userbyid(datdba) FROM pg_database WHERE datname LIKE '%_db'",
    );
    expect(owners.stdout.split("\n").sort()).toEqual(DATABASES.map(({ name, user }) => `${name} ${user}`).sort());
  });

  it.each(DATABASES)("lets $user migrate $name, and nobody else's", ({ name, user }) => {
    const password = readFileSync(path.join(passwords, user), "utf8");
    expect(
      query(user, password, name, "CREATE TABLE t (i int); DROP TABLE t; CREATE SCHEMA s; DROP SCHEMA s"),
    ).toMatchObject({
      ok: true,
    });
    for (const other of DATABASES.filter((candidate) => candidate.name !== name)) {
      const { ok, stderr } = query(user, password, other.name, "SELECT 1");
      expect(ok, `${user} in ${other.name}`).toBe(false);
      expect(stderr).toContain("permission denied for database");
    }
  });

  it("gives users no rights beyond their database", () => {
    const rights = query(
      MASTER,
      MASTER_PASSWORD,
      "ticket_db",
      `SELECT rolname FROM pg_roles WHERE rolname IN (${DATABASES.map(({ user }) => `'${user}'`).join(",")})
       AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)`,
    );
    expect(rights).toMatchObject({ ok: true, stdout: "" });
  });

  it("follows a rotated password at the next run", () => {
    const [database] = DATABASES;
    if (!database) throw new Error("no database");
    const old = readFileSync(path.join(passwords, database.user), "utf8");
    setPassword(database.user, "rotated");
    expect(bootstrap().status).toBe(0);
    expect(query(database.user, "rotated", database.name, "SELECT 1").ok).toBe(true);
    expect(query(database.user, old, database.name, "SELECT 1").ok).toBe(false);
  });

  it("never lets a password reach the server's log, which keeps DDL", () => {
    const text = readFileSync(log, "utf8");
    expect(text).toContain("CREATE ROLE ticket");
    expect(text).toContain("SCRAM-SHA-256$");
    expect(text).not.toContain("rotated");
    expect(text).not.toContain(RDS_PASSWORD_SPECIALS);
  });

  it("fails when a user's password is missing, and says whose", () => {
    const { status, stderr } = bootstrap([{ name: "other_db", user: "nobody_knows" }]);
    expect(status).not.toBe(0);
    expect(stderr).toContain("nobody_knows");
  });
});

const hasKafka = canRunKafka();
if (!hasKafka) {
  if (process.env.CI) throw new Error("the job that makes topics: no Java or Maven; CI must have both.");
  process.stderr.write("NOT RUN: the job that makes topics (no Java or Maven)\n");
}

describe.skipIf(!hasKafka)("the job that makes topics, against Kafka of the deployed version on two brokers", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "urr-topics-"));
  const clientConfig = path.join(folder, "client.properties");
  let kafka: KafkaCluster;

  beforeAll(async () => {
    writeFileSync(clientConfig, "security.protocol=PLAINTEXT\n");
    kafka = await KafkaCluster.start(TOPIC_REPLICATION);
  });

  afterAll(async () => {
    await kafka?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs the script as its pod does. */
  function run(...topics: readonly string[]) {
    const { status, stderr, stdout } = spawnSync("bash", [TOPICS_SCRIPT], {
      encoding: "utf8",
      env: {
        ...process.env,
        KAFKA_BIN: kafka.commands,
        CLIENT_CONFIG: clientConfig,
        BOOTSTRAP_SERVERS: kafka.bootstrapServers,
        REPLICATION: `${TOPIC_REPLICATION}`,
        TOPICS: topics.join("\n"),
      },
    });
    return { status, stderr, stdout };
  }

  /** What Kafka says of a topic: partitions, copies, settings. */
  function described(topic: string): readonly (string | undefined)[] {
    const summary = kafka.command("kafka-topics.sh", "--describe", "--topic", topic).split("\n")[0] ?? "";
    return ["PartitionCount", "ReplicationFactor", "Configs"].map(
      (field) => new RegExp(`${field}: ([^\\t]*)`).exec(summary)?.[1],
    );
  }

  it("is tested on the version that the platform deploys", () => {
    expect(readFileSync("tools/kafka/pom.xml", "utf8")).toContain(
      `<kafka.version>${IMAGES.kafkaClient.split(":").pop()}</kafka.version>`,
    );
  });

  it("makes each topic with its settings, and changes nothing when it runs again", () => {
    const topics = ["payment-events 3", "payment-events.DLT 3 retention.ms=1209600000,cleanup.policy=delete"];
    for (const attempt of [1, 2]) {
      const { status, stderr, stdout } = run(...topics);
      expect(status, `run ${attempt}: ${stderr}`).toBe(0);
      expect(stdout).toContain("payment-events: done\n");
    }
    expect(described("payment-events")).toEqual(["3", "2", ""]);
    const [partitions, copies, settings] = described("payment-events.DLT");
    expect([partitions, copies]).toEqual(["3", "2"]);
    expect(settings?.split(",").sort()).toEqual(["cleanup.policy=delete", "retention.ms=1209600000"]);
  });

  it("raises the number of partitions", () => {
    expect(run("payment-events 6")).toMatchObject({ status: 0 });
    expect(described("payment-events")[0]).toBe("6");
  });

  it("fails on more partitions than wanted, which Kafka cannot take away, after all other topics are done", () => {
    const { status, stderr } = run("payment-events 3", "transfer-events 3");
    expect(status).toBe(1);
    expect(stderr).toContain("payment-events: has 6 partitions, wanted 3");
    expect(described("payment-events")[0]).toBe("6");
    expect(described("transfer-events")[0]).toBe("3");
  });

  it("fails on another number of copies", () => {
    kafka.command("kafka-topics.sh", "--create", "--topic", "lonely", "--partitions", "3", "--replication-factor", "1");
    const { status, stderr } = run("lonely 3");
    expect(status).toBe(1);
    expect(stderr).toContain("lonely: has 1 copies, wanted 2");
  });

  it("fails on a setting that Kafka does not know", () => {
    const { status } = run("payment-events 6 retention.minutes=5");
    expect(status).not.toBe(0);
  });
});
