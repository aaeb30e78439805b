import { TerraformVariable } from "cdktf";
import { describe, expect, it } from "vitest";
import { CORS_ORIGINS_RULE } from "../../lib/cors";
import { brokenRules } from "../../lib/rules";
import { TestStack } from "../support/synth";

function problems(corsAllowedOrigins: readonly string[]): string[] {
  return brokenRules({ corsAllowedOrigins }, [CORS_ORIGINS_RULE]);
}

describe("allowed origins", () => {
  it.each([
    ["https://urr.guru"],
    ["https://www.urr.guru"],
    ["http://localhost:3000"],
    ["https://staging-2.urr.guru:8443"],
  ])("may be %s", (origin) => {
    expect(problems([origin])).toEqual([]);
  });

  it.each([
    ["*"],
    ["https://*.urr.guru"],
    ["https://urr.guru/"],
    ["https://urr.guru/path"],
    ["https://user@urr.guru"],
    ["https://URR.guru"],
    ["urr.guru"],
    ["null"],
    ["ftp://urr.guru"],
    [""],
  ])("fails for %j", (origin) => {
    expect(problems(["https://urr.guru", origin])).toHaveLength(1);
  });

  it("fails for none", () => {
    expect(problems([])).toHaveLength(1);
  });

  it("are not judged before they are known", () => {
    const origins = new TerraformVariable(new TestStack(), "cors_allowed_origins", { type: "list(string)" });
    expect(problems(origins.listValue)).toEqual([]);
  });
});
