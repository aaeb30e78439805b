import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DATABASES } from "../../environments/services";
import { RDS_PASSWORD_SPECIALS } from "../../modules/secrets";

const BOOTSTRAP = path.resolve("k8s/charts/database-bootstrap/files/bootstrap.sh");
const TOPICS = path.resolve("k8s/charts/kafka-topics/files/topics.sh");
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

/**
 * Stands for Kafka's two commands: keeps topics as files, speaks as kafka-topics.sh and kafka-configs.sh do, and notes what it was
 * asked. It cannot show that Kafka itself agrees.
 */
const FAKE_KAFKA = `#!/bin/bash
set -euo pipefail
command=\${0##*/}; action=; topic=; partitions=; replication=; config=
while [ $# -gt 0 ]; do
  case "$1" in
    --create|--describe|--alter) action=\${1#--} ;;
    --topic|--entity-name) topic=$2; shift ;;
    --partitions) partitions=$2; shift ;;
    --replication-factor) replication=$2; shift ;;
    --add-config) config=$2; shift ;;
    --bootstrap-server) [ "$2" = "$EXPECTED_SERVERS" ]; shift ;;
    --command-config) [ -f "$2" ]; shift ;;
  esac
  shift
done
state="$STATE/$topic"
case "$command $action" in
  "kafka-topics.sh create") [ -f "$state" ] || { echo "$partitions $replication" > "$state"; echo "create $topic" >> "$STATE.calls"; } ;;
  "kafka-topics.sh alter") read -r _ copies < "$state"; echo "$partitions $copies" > "$state"; echo "alter $topic $partitions" >> "$STATE.calls" ;;
  "kafka-topics.sh describe")
    read -r count copies < "$state"
    printf 'Topic: %s\\tTopicId: x\\tPartitionCount: %s\\tReplicationFactor: %s\\tConfigs: \\n' "$topic" "$count" "$copies"
    printf '\\tTopic: %s\\tPartition: 0\\tLeader: 1\\tReplicas: 1,2\\tIsr: 1,2\\n' "$topic" ;;
  "kafka-configs.sh alter") echo "config $topic $config" >> "$STATE.calls" ;;
  *) exit 64 ;;
esac
`;

describe("the job that makes topics", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "urr-topics-"));
  const binaries = path.join(folder, "bin");

  beforeAll(() => {
    mkdirSync(binaries);
    for (const command of ["kafka-topics.sh", "kafka-configs.sh"]) {
      writeFileSync(path.join(binaries, command), FAKE_KAFKA, { mode: 0o755 });
    }
    writeFileSync(path.join(folder, "client.properties"), "security.protocol=SASL_SSL\n");
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs the script on topics that exist already, and returns what it changed. */
  function run(name: string, topics: string, existing: Readonly<Record<string, string>> = {}) {
    const state = path.join(folder, name);
    mkdirSync(state, { recursive: true });
    for (const [topic, content] of Object.entries(existing)) writeFileSync(path.join(state, topic), `${content}\n`);
    writeFileSync(`${state}.calls`, "");
    const { status, stderr } = spawnSync("bash", [TOPICS], {
      encoding: "utf8",
      env: {
        ...process.env,
        KAFKA_BIN: binaries,
        CLIENT_CONFIG: path.join(folder, "client.properties"),
        BOOTSTRAP_SERVERS: "b-1:9098,b-2:9098",
        EXPECTED_SERVERS: "b-1:9098,b-2:9098",
        REPLICATION: "2",
        TOPICS: topics,
        STATE: state,
      },
    });
    const calls = readFileSync(`${state}.calls`, "utf8").trim();
    return { status, stderr, calls: calls === "" ? [] : calls.split("\n"), topics: readdirSync(state).sort() };
  }

  it("makes each with its settings, and changes nothing when it runs again", () => {
    const topics = "payment-events 3\npayment-events.DLT 3 retention.ms=1209600000,cleanup.policy=delete";
    const first = run("twice", topics);
    expect(first).toMatchObject({ status: 0, topics: ["payment-events", "payment-events.DLT"] });
    expect(first.calls).toEqual([
      "create payment-events",
      "create payment-events.DLT",
      "config payment-events.DLT retention.ms=1209600000,cleanup.policy=delete",
    ]);
    expect(run("twice", topics)).toMatchObject({
      status: 0,
      calls: ["config payment-events.DLT retention.ms=1209600000,cleanup.policy=delete"],
    });
  });

  it("raises the number of partitions", () => {
    expect(run("raise", "payment-events 6", { "payment-events": "3 2" })).toMatchObject({
      status: 0,
      calls: ["alter payment-events 6"],
    });
  });

  it("fails on more partitions than wanted, which Kafka cannot take away, after all other topics are done", () => {
    const { calls, status, stderr } = run("lower", "payment-events 3\nother 3", { "payment-events": "6 2" });
    expect(status).toBe(1);
    expect(stderr).toContain("payment-events: has 6 partitions, wanted 3");
    expect(calls).toEqual(["create other"]);
  });

  it("fails on another number of copies", () => {
    const { status, stderr } = run("copies", "payment-events 3", { "payment-events": "3 1" });
    expect(status).toBe(1);
    expect(stderr).toContain("payment-events: has 1 copies, wanted 2");
  });

  it("fails at once when Kafka does not answer", () => {
    const { status } = spawnSync("bash", [TOPICS], {
      encoding: "utf8",
      env: {
        ...process.env,
        KAFKA_BIN: folder,
        CLIENT_CONFIG: path.join(folder, "client.properties"),
        BOOTSTRAP_SERVERS: "x",
        REPLICATION: "2",
        TOPICS: "payment-events 3",
      },
    });
    expect(status).not.toBe(0);
  });
});
