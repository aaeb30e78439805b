import { posix } from "node:path";
import { CHARTS } from "../../../environments/platform";
import { isList, isObject, type Json, type JsonObject, own } from "../render/plan";

/** Providers whose code may run with credentials, by local name. */
const PROVIDERS: Readonly<Record<string, string>> = {
  aws: "hashicorp/aws",
  kubernetes: "hashicorp/kubernetes",
  helm: "hashicorp/helm",
  random: "hashicorp/random",
};

const allowed = (provider: string): boolean => Object.hasOwn(PROVIDERS, provider);

/** What may be said of how to reach a cluster. */
const CLUSTER_ARGUMENTS = ["host", "cluster_ca_certificate", "exec"];

/**
 * Arguments that a provider may be given. Others name files of the runner, credentials, or another account or endpoint, and each new
 * version of a provider may bring more of them.
 */
const PROVIDER_ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  aws: ["alias", "region", "allowed_account_ids", "default_tags"],
  kubernetes: ["alias", ...CLUSTER_ARGUMENTS],
  helm: ["alias", "kubernetes"],
  random: ["alias"],
};

/** Attributes that name files of the runner: only what synth packed may be read. */
const FILE_ATTRIBUTES: Readonly<Record<string, readonly string[]>> = {
  aws_lambda_function: ["filename"],
  aws_lambda_layer_version: ["filename"],
  aws_s3_object: ["source"],
  aws_s3_bucket_object: ["source"],
  aws_synthetics_canary: ["zip_file"],
  aws_gamelift_script: ["zip_file"],
  helm_release: ["chart", "repository_ca_file", "repository_cert_file", "repository_key_file", "keyring"],
};

/** Where charts may come from: a chart is a program whose output the cluster runs. */
const CHART_REPOSITORIES: ReadonlySet<string> = new Set(Object.values(CHARTS).map(({ repository }) => repository));

/** The Kubernetes API that tokens may be sent to: the one that the infra stack's state names. */
const CLUSTER_ENDPOINT = "${data.terraform_remote_state.infra.outputs.eks_cluster_endpoint}";

/** Arguments that run programs of the runner, or fetch what nobody listed. */
const FORBIDDEN_ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  helm_release: ["postrender", "dependency_update"],
};

/**
 * Data sources that may be read: those that stacks use. Others could put secrets into a plan (`aws_lambda_function`,
 * `kubernetes_resource`) or run programs while it is made (`helm_template`).
 */
const DATA_SOURCES: ReadonlySet<string> = new Set(["terraform_remote_state"]);

/** Arguments of the state's backend: none of them names another account, endpoint or file. */
const BACKEND_ARGUMENTS: ReadonlySet<string> = new Set([
  "bucket",
  "key",
  "region",
  "dynamodb_table",
  "use_lockfile",
  "encrypt",
  "skip_credentials_validation",
  "skip_metadata_api_check",
  "skip_requesting_account_id",
  "skip_s3_checksum",
  "use_path_style",
]);

/** A file that synth packed, by its literal path. */
const PACKED_FILE = /\bfile\("(?:\.\/)?assets\/[\w./-]+"\)/g;

/** What may stand between a function's name and its parenthesis: Terraform takes comments there, too. */
const CALL = String.raw`\b(?=\s*(?:\(|\/\*|\/\/|#))`;

/** Functions of Terraform that read the runner's files, in any template. */
const FILE_FUNCTION = new RegExp(
  String.raw`\b(?:file|fileexists|fileset|filebase64|filemd5|filesha1|filesha256|filesha512|filebase64sha256|filebase64sha512|templatefile|pathexpand|abspath)${CALL}`,
);

/** The function that takes a mark of sensitivity away. */
const NONSENSITIVE = new RegExp(String.raw`\bnonsensitive${CALL}`);

export interface ExpectedBackend {
  readonly bucket: string;
  readonly key: string;
}

/** Everything in a stack's folder that a job with credentials must not run. */
export class InspectionError extends Error {
  override readonly name = "InspectionError";

  constructor(
    stack: string,
    readonly problems: readonly string[],
  ) {
    super(
      `stack ${stack} is not planned, its Terraform JSON is refused:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`,
    );
  }
}

/**
 * Checks what a pull request's synth wrote before anything runs it: known files only, providers of the list only, no
 * provisioners, no external programs, no reading of the runner's files, the stack's own state.
 *
 * @throws InspectionError naming everything that is wrong
 */
export function inspectStack(stack: string, files: ReadonlyMap<string, Buffer>, backend: ExpectedBackend): void {
  const problems: string[] = [];
  const modules = new Set<string>();
  for (const path of files.keys()) {
    const module = /^modules\/([\w-]+)\/main\.tf\.json$/.exec(path)?.[1];
    if (module !== undefined) modules.add(module);
    else if (path !== "cdk.tf.json" && path !== ".terraform.lock.hcl" && !/^assets\/[\w./-]+$/.test(path)) {
      problems.push(`${path}: not a file that synth writes`);
    } else if (/^assets\/.*\.tf(?:\.json|vars)?$/.test(path))
      problems.push(`${path}: Terraform files do not belong among assets`);
  }
  if (!files.has("cdk.tf.json")) problems.push("cdk.tf.json: is missing");
  for (const [path, content] of files) {
    if (!path.endsWith(".tf.json") || path.startsWith("assets/")) continue;
    let body: unknown;
    try {
      body = JSON.parse(content.toString());
    } catch {
      problems.push(`${path}: not JSON`);
      continue;
    }
    if (!isObject(body)) problems.push(`${path}: a JSON object is needed`);
    else if (!isPlainJson(content.toString(), body))
      problems.push(`${path}: not as synth writes it; a name that stands twice is read twice by Terraform`);
    else inspectFile(path, body, path === "cdk.tf.json", backend, modules, problems);
  }
  if (problems.length > 0) throw new InspectionError(stack, problems);
}

const SECTIONS = new Set([
  "//",
  "terraform",
  "provider",
  "variable",
  "module",
  "output",
  "moved",
  "removed",
  "import",
  "locals",
  "resource",
  "data",
]);

function inspectFile(
  path: string,
  body: JsonObject,
  isRoot: boolean,
  backend: ExpectedBackend,
  modules: ReadonlySet<string>,
  problems: string[],
): void {
  for (const section of Object.keys(body))
    if (!SECTIONS.has(section)) problems.push(`${path}: section ${JSON.stringify(section)} is not known`);
  const settings = blocks(body.terraform, `${path}: terraform`, problems);
  for (const block of settings) inspectSettings(path, block, isRoot ? backend : undefined, problems);
  // An empty list of blocks is none: Terraform would plan on an empty state of its own.
  const backends = settings
    .flatMap((block) => blocks(block.backend, path, []))
    .flatMap((kinds) => Object.values(kinds).flatMap((kind) => blocks(kind, path, [])));
  if (isRoot && backends.length === 0) problems.push(`${path}: has no backend`);
  for (const block of blocks(body.provider, `${path}: provider`, problems)) {
    for (const [name, configurations] of Object.entries(block)) {
      if (!allowed(name)) problems.push(`${path}: provider ${name} is not on the list`);
      for (const configuration of blocks(configurations, `${path}: provider ${name}`, problems))
        inspectProvider(path, name, configuration, problems);
    }
  }
  for (const block of blocks(body.module, `${path}: module`, problems)) {
    for (const [name, calls] of Object.entries(block)) {
      for (const call of blocks(calls, `${path}: module ${name}`, problems)) {
        const source = typeof call.source === "string" ? /^\.\/modules\/([\w-]+)$/.exec(call.source)?.[1] : undefined;
        if (!isRoot || source === undefined || !modules.has(source))
          problems.push(`${path}: module ${name}: only the stack's own modules may be called`);
      }
    }
  }
  for (const block of blocks(body.removed, `${path}: removed`, problems)) {
    for (const key of Object.keys(block))
      if (!["from", "lifecycle"].includes(key)) problems.push(`${path}: removed.${key} is not allowed`);
  }
  for (const section of ["resource", "data"] as const) {
    const prefix = `${path}: ${section === "data" ? "data." : ""}`;
    for (const block of blocks(body[section], `${path}: ${section}`, problems)) {
      for (const [type, named] of Object.entries(block)) {
        for (const group of blocks(named, `${prefix}${type}`, problems)) {
          for (const [name, values] of Object.entries(group)) {
            const where = `${prefix}${type}.${name}`;
            for (const one of blocks(values, where, problems))
              inspectResource(where, section, type, one, backend, problems);
          }
        }
      }
    }
  }
  for (const text of stringsIn(body)) {
    if (!/[$%]\{/.test(text)) continue;
    const foreign = text.replace(PACKED_FILE, (call) => (call.includes("..") ? call : ""));
    if (FILE_FUNCTION.test(foreign))
      problems.push(`${path}: a template reads files of the runner: ${JSON.stringify(text.slice(0, 80))}`);
    if (NONSENSITIVE.test(text))
      problems.push(`${path}: a template takes a mark of sensitivity away: ${JSON.stringify(text.slice(0, 80))}`);
  }
}

function inspectSettings(
  path: string,
  block: JsonObject,
  backend: ExpectedBackend | undefined,
  problems: string[],
): void {
  for (const key of Object.keys(block)) {
    if (!["required_version", "required_providers", "backend", "//"].includes(key))
      problems.push(`${path}: terraform.${key} is not allowed`);
  }
  for (const list of blocks(block.required_providers, `${path}: terraform.required_providers`, problems)) {
    for (const [name, requirement] of Object.entries(list)) {
      const source = isObject(requirement) ? requirement.source : requirement;
      const plain = typeof source === "string" ? source.replace(/^registry\.terraform\.io\//, "") : "";
      if (!allowed(name) || plain !== PROVIDERS[name]) {
        problems.push(`${path}: provider ${name} from ${JSON.stringify(source)} is not on the list`);
      }
    }
  }
  for (const kinds of blocks(block.backend, `${path}: terraform.backend`, problems)) {
    for (const [kind, configurations] of Object.entries(kinds)) {
      for (const configuration of blocks(configurations, `${path}: terraform.backend.${kind}`, problems)) {
        const right =
          backend && kind === "s3" && configuration.bucket === backend.bucket && configuration.key === backend.key;
        const elsewhere = Object.keys(configuration).filter((key) => !BACKEND_ARGUMENTS.has(key));
        if (!right) problems.push(`${path}: the state is not the stack's own (s3, ${backend?.bucket}/${backend?.key})`);
        if (elsewhere.length > 0) problems.push(`${path}: backend arguments ${elsewhere.join(", ")} are not allowed`);
      }
    }
  }
}

function inspectProvider(path: string, name: string, configuration: JsonObject, problems: string[]): void {
  const refuse = (what: string) => problems.push(`${path}: provider ${name}: ${what}`);
  const only = (block: JsonObject, known: readonly string[]) => {
    for (const argument of Object.keys(block)) if (!known.includes(argument)) refuse(`${argument} is not allowed`);
  };
  const written = (block: JsonObject, argument: string) =>
    blocks(block[argument], `${path}: provider ${name}: ${argument}`, problems);
  const clusters = written(configuration, "kubernetes");
  only(configuration, own(PROVIDER_ARGUMENTS, name) ?? []);
  for (const cluster of clusters) only(cluster, CLUSTER_ARGUMENTS);
  for (const cluster of [configuration, ...clusters]) {
    if (cluster.host !== undefined && cluster.host !== CLUSTER_ENDPOINT) refuse(`host may only be ${CLUSTER_ENDPOINT}`);
    for (const exec of written(cluster, "exec")) {
      only(exec, ["api_version", "command", "args"]);
      const [command, verb, ...flags] = isList(exec.args) ? exec.args.map(String) : [];
      const known = flags.every(
        (flag, index) => index % 2 === 1 || ["--output", "--region", "--cluster-name"].includes(flag),
      );
      if (exec.command !== "aws" || command !== "eks" || verb !== "get-token" || !known)
        refuse("exec may only be aws eks get-token, with --output, --region and --cluster-name");
    }
  }
}

function inspectResource(
  where: string,
  section: "resource" | "data",
  type: string,
  values: JsonObject,
  backend: ExpectedBackend,
  problems: string[],
): void {
  if (values.provisioner !== undefined || values.connection !== undefined)
    problems.push(`${where}: provisioners are not allowed`);
  const builtIn = type === "terraform_data" || (section === "data" && type === "terraform_remote_state");
  const provider = type.split("_")[0] ?? "";
  if (!builtIn && !allowed(provider)) problems.push(`${where}: ${provider} is not a provider of the list`);
  if (typeof values.provider === "string" && !allowed(values.provider.split(".")[0] ?? ""))
    problems.push(`${where}: provider ${values.provider} is not on the list`);
  if (type === "terraform_remote_state") {
    const config = isObject(values.config) ? values.config : {};
    const known = Object.keys(config).every((key) => ["bucket", "key", "region"].includes(key));
    const key = `${posix.dirname(backend.key)}/terraform.tfstate`;
    if (values.backend !== "s3" || !known || config.bucket !== backend.bucket || config.key !== key)
      problems.push(`${where}: only the state of the infra stack (s3, ${backend.bucket}/${key}) may be read`);
    for (const argument of Object.keys(values))
      if (!["backend", "config"].includes(argument)) problems.push(`${where}: ${argument} is not allowed`);
  }
  if (section === "data" && !DATA_SOURCES.has(type))
    problems.push(`${where}: data sources may only be ${[...DATA_SOURCES].join(", ")}`);
  for (const argument of FORBIDDEN_ARGUMENTS[type] ?? []) {
    if (values[argument] !== undefined) problems.push(`${where}: ${argument} is not allowed`);
  }
  if (type === "helm_release" && values.repository !== undefined && !CHART_REPOSITORIES.has(String(values.repository)))
    problems.push(
      `${where}: charts may come from ${[...CHART_REPOSITORIES].join(", ")}; not from ${JSON.stringify(values.repository)}`,
    );
  for (const attribute of FILE_ATTRIBUTES[type] ?? []) {
    const value = values[attribute];
    if (value === undefined || value === null) continue;
    const text = String(value);
    const packed = /^(?:\$\{path\.(?:root|module)\}\/)?(?:\.\/)?assets\/[\w./-]+$/.test(text) && !text.includes("..");
    const chart = attribute === "chart" && /^[\w-]+$/.test(text);
    if (!packed && !chart)
      problems.push(`${where}: ${attribute} must be below assets/, not ${JSON.stringify(text.slice(0, 80))}`);
  }
}

/**
 * Whether a text says no more than what was parsed of it. Of a name that stands twice in an object JavaScript keeps the last
 * value, while Terraform reads the blocks of both.
 */
function isPlainJson(text: string, parsed: JsonObject): boolean {
  return text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, "$1") === JSON.stringify(parsed);
}

/**
 * Terraform's JSON takes a block or a list of blocks everywhere. Some providers take a template in its place, too, whose outcome
 * nobody could look at.
 */
function blocks(value: Json | undefined, where: string, problems: string[]): readonly JsonObject[] {
  if (value === undefined) return [];
  if (isList(value)) return value.flatMap((item) => blocks(item, where, problems));
  if (isObject(value)) return [value];
  problems.push(`${where} has to be written out, not as a template`);
  return [];
}

function* stringsIn(value: Json): Iterable<string> {
  if (typeof value === "string") yield value;
  else if (isList(value)) for (const item of value) yield* stringsIn(item);
  else if (isObject(value)) {
    for (const [key, item] of Object.entries(value)) {
      yield key;
      yield* stringsIn(item);
    }
  }
}
