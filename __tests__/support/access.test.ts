import { describe, expect, it } from "vitest";
import {
  expectGrant,
  expectNoGrant,
  managedPoliciesOf,
  resourcePolicyOf,
  serviceAccountsOf,
  statementsOfPolicy,
  trustedBy,
} from "./access";
import { TerraformStack } from "./terraform";

const policy = (...statements: object[]) => JSON.stringify({ Version: "2012-10-17", Statement: statements });

const stack = new TerraformStack(
  "test",
  {
    provider: { aws: [{ region: "ap-northeast-2" }] },
    module: {
      sqs: { worker_role_name: "${module.iam.role_name}", worker_role_arn: "${module.iam.role_arn}" },
      iam: { queue_arn: "${module.sqs.queue_arn}" },
    },
  },
  {
    iam: {
      variable: { queue_arn: {} },
      resource: {
        aws_iam_role: {
          worker: {
            name: "urr-worker",
            assume_role_policy: policy({
              Effect: "Allow",
              Action: "sts:AssumeRole",
              Principal: { Service: ["lambda.amazonaws.com", "edgelambda.amazonaws.com"] },
            }),
          },
          pods: {
            name: "urr-pods",
            assume_role_policy: policy({
              Effect: "Allow",
              Action: "sts:AssumeRoleWithWebIdentity",
              Principal: { Federated: "arn:x" },
              Condition: {
                StringEquals: { '${replace(aws_eks_cluster.c.url, "https://", "")}:sub': "system:serviceaccount:a:b" },
              },
            }).replaceAll('\\"', '"'),
          },
        },
        aws_iam_role_policy: {
          worker: {
            role: "${aws_iam_role.worker.name}",
            policy: policy(
              { Effect: "Allow", Action: ["sqs:ReceiveMessage", "sqs:Get*"], Resource: "${var.queue_arn}" },
              {
                Effect: "Allow",
                Action: "secretsmanager:GetSecretValue",
                Resource: "arn:aws:secretsmanager:ap-northeast-2:*:secret:urr-prod/token-*",
              },
              { Effect: "Deny", Action: "sqs:GetQueueUrl", Resource: "*" },
            ),
          },
        },
        aws_iam_role_policy_attachment: {
          logs: {
            role: "urr-worker",
            policy_arn: "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
          },
          own: { role: "${aws_iam_role.worker.id}", policy_arn: "${aws_iam_policy.own.arn}" },
        },
        aws_iam_policy: { own: { policy: "${data.aws_iam_policy_document.own.json}" } },
      },
      data: {
        aws_iam_policy_document: {
          own: { statement: [{ actions: ["s3:GetObject"], resources: ["arn:aws:s3:::files/*"] }] },
        },
      },
      output: {
        role_name: { value: "${aws_iam_role.worker.name}" },
        role_arn: { value: "${aws_iam_role.worker.arn}" },
      },
    },
    sqs: {
      variable: { worker_role_name: {}, worker_role_arn: {} },
      resource: {
        aws_sqs_queue: { main: { name: "tickets.fifo" }, other: { name: "other" } },
        aws_secretsmanager_secret: { token: { name: "urr-prod/token" }, jwt: { name: "urr-prod/jwt" } },
        aws_sqs_queue_policy: {
          main: {
            queue_url: "${aws_sqs_queue.main.url}",
            policy: policy({
              Effect: "Allow",
              Principal: { AWS: "${var.worker_role_arn}" },
              Action: "sqs:ReceiveMessage",
              Resource: "${aws_sqs_queue.main.arn}",
            }),
          },
        },
      },
      output: { queue_arn: { value: "${aws_sqs_queue.main.arn}" } },
    },
  },
);
const worker = stack.at("module.iam.aws_iam_role.worker");
const queue = stack.at("module.sqs.aws_sqs_queue.main");

describe("grants", () => {
  it("hold for the named actions on the named resource across modules", () => {
    expectGrant(stack, worker, "sqs:ReceiveMessage", queue);
    expectGrant(stack, worker, "sqs:GetQueueAttributes", queue);
    expectNoGrant(stack, worker, "sqs:SendMessage", queue);
    expectNoGrant(stack, worker, "sqs:ReceiveMessage", stack.at("module.sqs.aws_sqs_queue.other"));
  });

  it("hold for ARNs spelt out by name", () => {
    expectGrant(stack, worker, "secretsmanager:GetSecretValue", stack.at("module.sqs.aws_secretsmanager_secret.token"));
    expectNoGrant(stack, worker, "secretsmanager:GetSecretValue", stack.at("module.sqs.aws_secretsmanager_secret.jwt"));
  });

  it("hold through a policy of our own and its document", () => {
    expectGrant(stack, worker, "s3:GetObject", "arn:aws:s3:::files/a/b");
    expectNoGrant(stack, worker, "s3:GetObject", "arn:aws:s3:::others/a");
  });

  it("yield to a deny", () => {
    expectNoGrant(stack, worker, "sqs:GetQueueUrl", queue);
  });

  it("fails with what the role has", () => {
    expect(() => expectGrant(stack, worker, "sqs:SendMessage", queue)).toThrow(
      /may sqs:SendMessage on module\.sqs\.aws_sqs_queue\.main; it has: Allow sqs:ReceiveMessage, sqs:Get\*/,
    );
  });
});

describe("roles", () => {
  it("tell their managed policies and who may assume them", () => {
    expect(managedPoliciesOf(stack, worker)).toEqual(["AWSLambdaBasicExecutionRole"]);
    expect(trustedBy(stack, worker)).toEqual(["Service:edgelambda.amazonaws.com", "Service:lambda.amazonaws.com"]);
    expect(serviceAccountsOf(stack, stack.at("module.iam.aws_iam_role.pods"))).toEqual(["system:serviceaccount:a:b"]);
  });
});

describe("resource policies", () => {
  it("are found by the resource they belong to", () => {
    expect(resourcePolicyOf(stack, queue)).toMatchObject([
      { actions: ["sqs:ReceiveMessage"], principals: ["AWS:${module.iam.aws_iam_role.worker.arn}"] },
    ]);
    expect(resourcePolicyOf(stack, stack.at("module.sqs.aws_sqs_queue.other"))).toEqual([]);
  });

  it("fails on text that is no JSON", () => {
    expect(() => statementsOfPolicy("{", "queue.policy")).toThrow("queue.policy is not JSON");
  });
});
