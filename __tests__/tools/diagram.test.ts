import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { buildApp } from "../../main";
import { drawProduction } from "../../tools/diagram/diagram";

const prod = buildApp()
  .render()
  .find(({ stack }) => stack.node.id === "prod");

describe("the picture of production", () => {
  const picture = drawProduction(prod?.flat ?? {});

  it("is the one in the README: run `npm run diagram` after a change", () => {
    expect(readFileSync("README.md", "utf8")).toContain(picture);
  });

  /** Infra analysis §2-7, "캐시 동작 (5개)". */
  it.each([
    'cloudfront -- "everything else" --> alb_alb',
    'cloudfront -- "/api/*, Lambda@Edge" --> alb_alb',
    'cloudfront -- "/_next/static/*" --> s3',
    'cloudfront -- "/vwr/*, function" --> s3',
    'cloudfront -- "/vwr-api/*, function" --> api_gateway',
    'eks_nodes -- "5432" --> rds_proxy',
    'lambda_worker_worker -- "9098" --> msk_brokers',
  ])("shows %s", (line) => {
    expect(picture).toContain(`  ${line}\n`);
  });
});
