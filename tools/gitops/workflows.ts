import { isScalar, parseDocument, type Scalar, type YAMLSeq } from "yaml";
import {
  imageRepository,
  SERVICES,
  type Service,
  type ServiceRuntime,
  sourceFolder,
  sourcePaths,
} from "../../environments/services";
import { yamlFile } from "./manifest";
import type { ReadFile } from "./tree";

/** Where GitHub looks for workflows. */
export const WORKFLOWS_FOLDER = ".github/workflows";
const PR_VALIDATION = `${WORKFLOWS_FOLDER}/pr-validation.yml`;
const ROLLBACK = `${WORKFLOWS_FOLDER}/rollback.yml`;
const RELEASE_ENVIRONMENTS = ["staging", "prod"] as const;

/**
 * Workflows of the service CI, as far as they follow from the catalogue: a caller per Spring service, the paths that a pull request
 * is tested by, and the services that can be rolled back. The last two are written by hand but for that part.
 */
export function workflowFiles(readFile: ReadFile): Map<string, string> {
  const read = (file: string) => {
    const text = readFile(file);
    if (text === undefined) throw new Error(`${file} is missing: its list of services is rendered, the rest is not`);
    return text;
  };
  return new Map([
    ...running("spring").map((service): [string, string] => [
      `${WORKFLOWS_FOLDER}/${service.name}-ci-cd.yml`,
      yamlFile([caller(service)], "Source: Infra analysis §4-1, §4-4."),
    ]),
    [
      PR_VALIDATION,
      filtered(filtered(read(PR_VALIDATION), "services", running("spring")), "frontend", running("next")),
    ],
    [ROLLBACK, withOptions(read(ROLLBACK), SERVICES)],
  ]);
}

/** The workflow that releases one service by the one that all share. */
function caller(service: Service) {
  const { name } = service;
  return {
    name: `${name}-ci-cd`,
    on: {
      push: { branches: ["main"], paths: sourcePaths(service) },
      workflow_dispatch: {
        inputs: {
          environment: {
            description: "Where to",
            type: "choice",
            options: RELEASE_ENVIRONMENTS,
            default: RELEASE_ENVIRONMENTS[0],
          },
        },
      },
    },
    permissions: {},
    concurrency: { group: `deploy-${name}-\${{ inputs.environment || 'staging' }}`, "cancel-in-progress": false },
    jobs: {
      "prod-approval": {
        name: "Production Approval",
        if: "inputs.environment == 'prod'",
        "runs-on": "ubuntu-24.04",
        "timeout-minutes": 5,
        environment: "production",
        permissions: {},
        steps: [{ name: "Approved", run: `echo "Production deployment approved for ${name}"` }],
      },
      deploy: {
        needs: "prod-approval",
        if:
          "!cancelled() && github.ref == 'refs/heads/main' && (needs.prod-approval.result == 'success' || " +
          "(needs.prod-approval.result == 'skipped' && inputs.environment != 'prod'))",
        permissions: { contents: "write", "id-token": "write" },
        uses: "./.github/workflows/reusable-spring-ci-cd.yml",
        with: {
          "service-name": name,
          "ecr-repository": imageRepository(service),
          "service-path": sourceFolder(service),
          environment: "${{ inputs.environment || 'staging' }}",
        },
        secrets: {
          AWS_ROLE_ARN: "arn:aws:iam::${{ vars.AWS_ACCOUNT_ID }}:role/urr-ci-images",
          AWS_ACCOUNT_ID: "${{ vars.AWS_ACCOUNT_ID }}",
          DISCORD_WEBHOOK: "${{ secrets.DISCORD_WEBHOOK }}",
        },
      },
    },
  };
}

/** The text of pr-validation with the paths of services in the filter of one step. */
function filtered(text: string, step: string, services: readonly Service[]): string {
  const steps = parseDocument(text).getIn(["jobs", "changes", "steps"]) as YAMLSeq;
  const index = steps.items.findIndex((_, at) => steps.getIn([at, "id"]) === step);
  const filters = steps.getIn([index, "with", "filters"], true);
  if (!isScalar(filters)) throw new Error(`${PR_VALIDATION}: step ${step} of job changes has no filters`);
  const lines = services.flatMap((service) => [
    // With one service the filter is named after its kind: jobs ask for it by that name.
    `${services.length > 1 ? service.name : step}:`,
    ...sourcePaths(service).map((path) => `  - ${path}`),
  ]);
  return spliced(text, filters, `|\n${lines.map((line) => `            ${line}\n`).join("")}`);
}

/** The text of rollback with services to choose from. */
function withOptions(text: string, services: readonly Service[]): string {
  const options = parseDocument(text).getIn(["on", "workflow_dispatch", "inputs", "service", "options"], true);
  if (!options) throw new Error(`${ROLLBACK}: input service has no options`);
  return spliced(text, options as YAMLSeq, `[${services.map(({ name }) => name).join(", ")}]`);
}

function spliced(text: string, { range }: Pick<Scalar | YAMLSeq, "range">, replacement: string): string {
  if (!range) throw new Error("a node of parsed YAML has no place in its text");
  return text.slice(0, range[0]) + replacement + text.slice(range[1]);
}

function running(runtime: ServiceRuntime): Service[] {
  return SERVICES.filter((service) => service.runtime === runtime);
}
