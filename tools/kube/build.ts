import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { unzipSync } from "fflate";
import { COMMANDS, CRD_SOURCES, KUBERNETES_COMMANDS, KUBERNETES_VERSION } from "./versions";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const GO_MODULE = path.join(HERE, "go");
/** Everything built or derived here; removing it is safe. */
const CACHE = path.resolve(HERE, "../../node_modules/.cache/urr-infra/kube");
/** A cold build of the API server takes minutes; the rest of the machine goes first. */
const NICENESS = "15";

/** Name of a command that can be built. */
export type CommandName = keyof typeof COMMANDS | keyof typeof KUBERNETES_COMMANDS;

/** Path of a pinned command, built on first use. */
export function command(name: CommandName): string {
  return name in COMMANDS ? installed(name as keyof typeof COMMANDS) : path.join(kubernetesCommands(), name);
}

/** Whether Go is there to build with. */
export function goVersion(): string | undefined {
  const { status, stdout } = spawnSync("go", ["version"], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/** Files of the custom resource definitions, by who defines them. */
export function crdFiles(source: keyof typeof CRD_SOURCES): string[] {
  const { files, module, version } = CRD_SOURCES[source];
  return files.map((file) => moduleFile(module, version, file));
}

/** The OpenAPI description of the pinned Kubernetes version. */
export function openApiFile(): string {
  return moduleFile("k8s.io/kubernetes", `v${KUBERNETES_VERSION}`, "api/openapi-spec/swagger.json");
}

/**
 * A folder below the cache that `fill` has filled completely, once per key. It is filled under another name and then moved, so
 * that one who is interrupted leaves nothing half done, and two at once do no harm.
 */
export function cached(name: string, key: string, fill: (directory: string) => void): string {
  const target = path.join(CACHE, `${name}-${createHash("sha256").update(key).digest("hex").slice(0, 12)}`);
  if (existsSync(target)) return target;
  mkdirSync(CACHE, { recursive: true });
  const draft = mkdtempSync(path.join(CACHE, `.${name}-`));
  try {
    fill(draft);
    try {
      renameSync(draft, target);
    } catch (error) {
      if (!existsSync(target)) throw error;
    }
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
  return target;
}

function installed(name: keyof typeof COMMANDS): string {
  const { package: source, version } = COMMANDS[name];
  const directory = cached(name, version, (draft) =>
    go(["install", "-trimpath", `${source}@${version}`], { GOBIN: draft }),
  );
  return path.join(directory, name);
}

/** API server, etcd and kubectl, from one module with the versions that Kubernetes itself is built of. */
function kubernetesCommands(): string {
  const sources = readdirSync(GO_MODULE, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(path.join(entry.parentPath, entry.name), "utf8"));
  const [major, minor] = KUBERNETES_VERSION.split(".");
  const version = "k8s.io/component-base/version";
  return cached("kubernetes", [KUBERNETES_VERSION, ...sources].join("\n"), (draft) => {
    for (const [name, source] of Object.entries(KUBERNETES_COMMANDS)) {
      go(
        [
          "build",
          "-C",
          GO_MODULE,
          "-mod=readonly",
          "-trimpath",
          `-ldflags=-s -w -X ${version}.gitVersion=v${KUBERNETES_VERSION} -X ${version}.gitMajor=${major} -X ${version}.gitMinor=${minor}`,
          "-o",
          path.join(draft, name),
          source,
        ],
        {},
      );
    }
  });
}

/** A file of a Go module, under its own name in a folder of its own. */
function moduleFile(module: string, version: string, file: string): string {
  return path.join(moduleFiles(module, version, file), path.basename(file));
}

/**
 * A folder with one file of a Go module, or with everything below one of its folders. They are taken out of the module's archive: a
 * module that asks for a newer Go than there is can be downloaded all the same, and is not unpacked.
 */
export function moduleFiles(module: string, version: string, name: string): string {
  return cached("module", `${module}@${version}/${name}`, (draft) => {
    const output = go(["mod", "download", "-json", `${module}@${version}`], {}, '"Zip"');
    const { Zip } = JSON.parse(output) as { Zip: string };
    const wanted = `${module}@${version}/${name}`;
    const contents = unzipSync(readFileSync(Zip), {
      filter: (entry) => entry.name === wanted || entry.name.startsWith(`${wanted}/`),
    });
    for (const [entry, content] of Object.entries(contents)) {
      const file = entry === wanted ? path.basename(name) : entry.slice(wanted.length + 1);
      mkdirSync(path.dirname(path.join(draft, file)), { recursive: true });
      writeFileSync(path.join(draft, file), content);
    }
    if (Object.keys(contents).length === 0) throw new Error(`${module}@${version} has no ${name}`);
  });
}

/** Runs Go out of the way of everything else. `enough`: what its answer must hold to be one, even if it says that it failed. */
function go(args: readonly string[], environment: Readonly<Record<string, string>>, enough?: string): string {
  const result = spawnSync("nice", ["-n", NICENESS, "go", ...args], {
    cwd: GO_MODULE,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    env: { ...process.env, GOTOOLCHAIN: "local", GOWORK: "off", ...environment },
  });
  if (result.error) throw result.error;
  if (result.status !== 0 && !(enough && result.stdout.includes(enough)))
    throw new Error(`go ${args.join(" ")} failed:\n${result.stderr || result.stdout}`);
  return result.stdout;
}
