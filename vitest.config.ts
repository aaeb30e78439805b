import { defineConfig } from "vitest/config";

/** `npm test` runs the fast suites; each slower suite has a project and an npm script of its own. */
const SLOW_SUITES = ["deploy", "browser", "cluster", "plan-bundles"];
/** A step of the deployed life is a whole deploy or destroy, on a machine that may be busy with the other suites. */
const DEPLOY_MINUTES = 25;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["__tests__/**/*.test.ts"],
          exclude: SLOW_SUITES.map((suite) => `__tests__/${suite}/**`),
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      ...SLOW_SUITES.map((suite) => ({
        test: {
          name: suite,
          include: [`__tests__/${suite}/**/*.test.ts`],
          testTimeout: suite === "deploy" ? DEPLOY_MINUTES * 60_000 : 600_000,
          globalSetup: suite === "deploy" ? "__tests__/deploy/setup.ts" : [],
          hookTimeout: 600_000,
        },
      })),
    ],
  },
});
