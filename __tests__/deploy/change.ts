import { describe, expect } from "vitest";
import { deployStacks } from "../../tools/cloud/deploy";
import type { Project } from "../../tools/cloud/project";
import { plannedChanges } from "./plan";
import type { Report } from "./report";

type Step = (name: string, run: () => Promise<void>) => void;

const QUEUE_ALARM = `    modules.sqs.alarms.add("queue_depth", {
      name: \`\${prefix}-ticket-events-depth\`,
      description: "More than a thousand ticket events wait.",
      namespace: "AWS/SQS",
      metricName: "ApproximateNumberOfMessagesVisible",
      dimensions: { QueueName: modules.sqs.queueName },
      statistic: "Maximum",
      periodSeconds: 300,
      threshold: 1000,
      comparison: "GreaterThanThreshold",
    });
`;

/** Changes what a team changes on an ordinary day, and nothing else moves. */
export function describeChange(world: () => { project: Project; report: Report }, step: Step): void {
  describe("a realistic change", () => {
    step("plans exactly what was changed, and applies it", async () => {
      const { project, report } = world();
      project.edit("environments/prod.ts", "maxSize: 5,", "maxSize: 6,");
      project.edit("environments/prod.ts", "secretRotations: {},", "secretRotations: { jwt_secret: 1 },");
      project.edit(
        "stacks/prod.ts",
        "    declareCoreOutputs(this, modules);",
        `${QUEUE_ALARM}    declareCoreOutputs(this, modules);`,
      );
      project.append("lambdas/vwr-api/index.ts", 'console.info("a new release");');
      expect(await plannedChanges(project, "prod")).toEqual(
        [
          "create module.sqs.aws_cloudwatch_metric_alarm.queue_depth",
          "delete+create module.secrets.random_password.jwt_secret",
          "delete+create module.secrets.aws_secretsmanager_secret_version.jwt_secret",
          "update module.eks.aws_eks_node_group.initial",
          "update module.lambda_vwr.aws_lambda_function.api",
        ].sort(),
      );
      report.deployed("change", await deployStacks(project, ["prod"]));
      expect(await plannedChanges(project, "prod")).toEqual([]);
    });
  });
}
