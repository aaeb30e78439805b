import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { expiring, LAST_REVIEW, PINNED_VERSIONS, VERSIONS, WARNING_DAYS } from "../../lib/life-cycle";

/** The day that is so many days before another. */
function daysBefore(day: string, days: number): string {
  return new Date(Date.parse(day) - days * 86_400_000).toISOString().slice(0, 10);
}

describe("life cycle of pinned versions", () => {
  it("held nothing at its last review that loses support within the warning time", () => {
    expect(expiring(LAST_REVIEW)).toEqual([]);
  });

  it("lists every version that stacks and modules use", () => {
    const listed = PINNED_VERSIONS.map(({ version }) => version);
    for (const version of Object.values(VERSIONS)) expect(listed).toContain(version);
  });

  it("lists the version of cdktf that is installed", () => {
    const { dependencies } = JSON.parse(readFileSync("package.json", "utf8")) as {
      dependencies: Record<string, string>;
    };
    expect(PINNED_VERSIONS.find(({ product }) => product === "CDK for Terraform")?.version).toBe(dependencies.cdktf);
  });

  it.each(
    PINNED_VERSIONS.filter(({ documented }) => documented !== undefined),
  )("explains in the deviations why $product is $version and not $documented", ({ version, documented = "" }) => {
    const rows = readFileSync("docs/deviations.md", "utf8").split("\n");
    expect(rows.filter((row) => row.includes(documented) && row.includes(version))).not.toEqual([]);
  });

  it.each([
    [WARNING_DAYS + 1, []],
    [WARNING_DAYS, [WARNING_DAYS]],
    [0, [0]],
    [-1, [-1]],
  ])("%d days before the end of Kubernetes' support, warns of %j days", (days, left) => {
    const end = PINNED_VERSIONS.find(({ version }) => version === VERSIONS.kubernetes)?.endOfSupport ?? "";
    expect(
      expiring(daysBefore(end, days))
        .filter(({ version }) => version === VERSIONS.kubernetes)
        .map(({ daysLeft }) => daysLeft),
    ).toEqual(left);
  });

  it("does not warn of what was accepted", () => {
    expect(expiring("2100-01-01").map(({ product }) => product)).not.toContain("CDK for Terraform");
  });
});
