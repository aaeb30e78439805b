import { describe, expect, it } from "vitest";
import { type Environment, environmentProblems, validateEnvironments } from "../../environments/environment";
import { prod } from "../../environments/prod";
import { staging } from "../../environments/staging";

/** Production with one value changed. */
function prodWith(change: (environment: Environment) => Partial<Environment>): Environment {
  return { ...prod, ...change(prod) };
}

describe("environment configuration", () => {
  it("is without problems as committed", () => {
    expect(environmentProblems([staging, prod])).toEqual([]);
  });

  it.each<[string, Environment, string]>([
    [
      "a malformed CIDR",
      prodWith(({ vpc }) => ({ vpc: { ...vpc, cidr: "10.0.0.0/160" } })),
      'vpc.cidr: given "10.0.0.0/160"; allowed: a /16 block',
    ],
    ["a CIDR off its boundary", prodWith(({ vpc }) => ({ vpc: { ...vpc, cidr: "10.0.1.0/16" } })), "vpc.cidr: given"],
    ["a CIDR of another size", prodWith(({ vpc }) => ({ vpc: { ...vpc, cidr: "10.0.0.0/20" } })), "vpc.cidr: given"],
    [
      "a single availability zone",
      prodWith(({ vpc }) => ({ vpc: { ...vpc, availabilityZones: ["ap-northeast-2a"] } })),
      "two different zones of ap-northeast-2",
    ],
    [
      "three availability zones",
      prodWith(({ vpc, msk }) => ({
        vpc: { ...vpc, availabilityZones: ["ap-northeast-2a", "ap-northeast-2b", "ap-northeast-2c"] },
        msk: { ...msk, brokerNodes: 3 },
      })),
      "two different zones of ap-northeast-2",
    ],
    [
      "a zone of another Region",
      prodWith(({ vpc }) => ({ vpc: { ...vpc, availabilityZones: ["ap-northeast-2a", "us-east-1a"] } })),
      "two different zones of ap-northeast-2",
    ],
    ["a prefix too long for a load balancer", prodWith(() => ({ prefix: "urr-production-of-korea" })), "prefix: given"],
    [
      "min above desired",
      prodWith(({ eks }) => ({ eks: { ...eks, nodeGroup: { ...eks.nodeGroup, minSize: 4 } } })),
      'eks.nodeGroup: given {"min":4,"desired":3,"max":5}; allowed: 1 <= minSize <= desiredSize <= maxSize',
    ],
    [
      "desired above max",
      prodWith(({ eks }) => ({ eks: { ...eks, nodeGroup: { ...eks.nodeGroup, desiredSize: 6 } } })),
      "eks.nodeGroup: given",
    ],
    [
      "three brokers on two zones",
      prodWith(({ msk }) => ({ msk: { ...msk, brokerNodes: 3 } })),
      "msk.brokerNodes: given 3; allowed: a multiple of the 2",
    ],
    [
      "a FIFO queue that shows a batch again while it is worked on",
      prodWith(() => ({ queue: { visibilityTimeoutSeconds: 179 } })),
      "allowed: at least six times the worker's timeout",
    ],
    [
      "storage that cannot grow",
      prodWith(({ rds }) => ({ rds: { ...rds, maxAllocatedStorageGib: 50 } })),
      "rds: given",
    ],
    [
      "a worker that is throttled by its own reservation",
      prodWith(({ worker }) => ({ worker: { ...worker, maximumConcurrency: 11 } })),
      "worker.maximumConcurrency: given",
    ],
    [
      "more concurrency than an account has by default",
      prodWith(({ waitingRoom }) => ({ waitingRoom: { ...waitingRoom, apiReservedConcurrentExecutions: 895 } })),
      "reserved concurrent executions of all functions: given 907; allowed: at most 900 in one account",
    ],
    [
      "a burst below the rate",
      prodWith(({ waitingRoom }) => ({ waitingRoom: { ...waitingRoom, throttlingBurstLimit: 4999 } })),
      "waitingRoom.throttlingBurstLimit: given",
    ],
    [
      "a node group name over AWS's limit",
      prodWith(({ eks }) => ({ eks: { ...eks, nodeGroup: { ...eks.nodeGroup, name: "n".repeat(64) } } })),
      "name of the node group: given",
    ],
  ])("fails on %s", (_, environment, message) => {
    const problems = environmentProblems([environment]);
    expect(problems).toEqual([expect.stringContaining(message)]);
    expect(problems[0]).toMatch(/^\[environments(?:\/prod)?\] .+: given .+; allowed: .+\. .+\.$/);
  });

  it.each([
    [180, 0],
    [179, 1],
  ])("takes a visibility timeout of %d s with %d problem(s): six times the function's 30 s is the boundary", (visibilityTimeoutSeconds, count) => {
    expect(environmentProblems([prodWith(() => ({ queue: { visibilityTimeoutSeconds } }))])).toHaveLength(count);
  });

  it("fails on networks that overlap and names both", () => {
    const overlapping: Environment = { ...staging, vpc: { ...staging.vpc, cidr: prod.vpc.cidr } };
    expect(environmentProblems([prod, overlapping])).toEqual([
      expect.stringContaining(
        "[environments/staging] vpc.cidr: given 10.0.0.0/16; allowed: a block that does not overlap prod's 10.0.0.0/16",
      ),
    ]);
  });

  it("fails once, with every problem of every environment", () => {
    const broken = prodWith(({ vpc, msk }) => ({
      prefix: "URR",
      vpc: { ...vpc, cidr: "10.0.0.0" },
      msk: { ...msk, brokerNodes: 3 },
    }));
    const error = catchError(() =>
      validateEnvironments([broken, { ...staging, queue: { visibilityTimeoutSeconds: 1 } }]),
    );
    expect(error).toContain("the configuration has 4 problems");
    for (const part of [
      "prefix",
      "vpc.cidr",
      "msk.brokerNodes",
      "[environments/staging] queue.visibilityTimeoutSeconds",
    ]) {
      expect(error).toContain(part);
    }
  });
});

function catchError(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return "";
}
