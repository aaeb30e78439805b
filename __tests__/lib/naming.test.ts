import { describe, expect, it } from "vitest";
import { maxNameLength, type NameKind, nameProblems } from "../../lib/naming";

describe("physical names", () => {
  /** Limits as AWS's own pages give them. */
  it.each<[NameKind, number]>([
    ["target group", 32],
    ["load balancer", 32],
    ["replication group", 40],
    ["role", 64],
    ["bucket", 63],
    ["function", 64],
    ["queue", 80],
    ["db instance", 63],
    ["node group", 63],
  ])("of a %s are at most %d characters", (kind, limit) => {
    expect(maxNameLength(kind)).toBe(limit);
    expect(nameProblems(kind, "a".repeat(limit))).toEqual([]);
    expect(nameProblems(kind, "a".repeat(limit + 1))).toEqual([
      expect.stringMatching(new RegExp(`\\(${limit + 1} characters\\)"; allowed: \\d+ to ${limit} characters`)),
    ]);
  });

  it.each<[NameKind, string]>([
    ["bucket", "Urr-frontend"],
    ["bucket", "-urr"],
    ["load balancer", "internal-urr"],
    ["load balancer", "urr-"],
    ["db instance", "1urr"],
    ["db instance", "urr--prod"],
    ["queue", "urr.fifo.fifo"],
    ["replication group", "urr_prod"],
    ["security group", "sg-urr"],
    ["repository", "Urr/gateway"],
    ["alias", "urr"],
    ["alias", "alias/aws/urr"],
  ])("fails on a %s called %j and says what is allowed", (kind, name) => {
    expect(nameProblems(kind, name)).toEqual([expect.stringMatching(/given .*; allowed: .+\. .+\.$/)]);
  });

  it.each<[NameKind, string]>([
    ["queue", "urr-prod-ticket-events.fifo"],
    ["bucket", "urr-prod-frontend-prod"],
    ["repository", "urr/gateway-service"],
    ["alias", "alias/urr-prod"],
    ["secret", "urr-prod/rds-credentials"],
    ["log group", "/aws/eks/urr-prod/cluster"],
  ])("takes a %s called %j", (kind, name) => {
    expect(nameProblems(kind, name)).toEqual([]);
  });

  it("tells length and characters together", () => {
    expect(nameProblems("load balancer", "_".repeat(33))).toHaveLength(2);
  });
});
