import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { bundleCloudFrontFunctions, type CloudFrontFunctionName } from "../../lib/lambda-bundle";

const functions = bundleCloudFrontFunctions();

/** Runs the emitted code as CloudFront does: a script whose global `handler` is called, without Node around it. */
function rewrite(name: CloudFrontFunctionName, uri: string): { uri: string; querystring: unknown } {
  const event = {
    version: "1.0",
    context: {
      distributionDomainName: "d.cloudfront.net",
      distributionId: "D",
      eventType: "viewer-request",
      requestId: "r",
    },
    viewer: { ip: "203.0.113.1" },
    request: { method: "GET", uri, querystring: { a: { value: "1" } }, headers: {}, cookies: {} },
  };
  return runInNewContext(`${functions[name].code}\nhandler(event)`, { event });
}

describe("vwr-api-rewrite", () => {
  it.each([
    ["/vwr-api/vwr/assign/evt-1", "/vwr/assign/evt-1"],
    ["/vwr-api/vwr/check/evt-1/r-1", "/vwr/check/evt-1/r-1"],
    ["/vwr-api/", "/"],
    ["/vwr-api", "/"],
    ["/vwr-api/vwr-api/vwr/status/e", "/vwr-api/vwr/status/e"],
    ["/vwr-apix/vwr", "/vwr-apix/vwr"],
  ])("sends %s on as %s", (uri, expected) => {
    expect(rewrite("vwr-api-rewrite", uri)).toMatchObject({ uri: expected, querystring: { a: { value: "1" } } });
  });
});

describe("vwr-page-rewrite", () => {
  it.each([
    ["/vwr/evt-1", "/vwr/index.html"],
    ["/vwr/evt-1/", "/vwr/index.html"],
    ["/vwr/", "/vwr/index.html"],
    ["/vwr", "/vwr/index.html"],
    ["/vwr/index.html", "/vwr/index.html"],
    ["/vwr/page.3f2a.js", "/vwr/page.3f2a.js"],
    ["/vwr/assets/logo.svg", "/vwr/assets/logo.svg"],
    ["/vwrx/evt-1", "/vwrx/evt-1"],
  ])("serves %s from %s", (uri, expected) => {
    expect(rewrite("vwr-page-rewrite", uri).uri).toBe(expected);
  });
});

describe.each(Object.values(functions))("$name", ({ code }) => {
  it("fits CloudFront's 10 KB and uses nothing that its runtime lacks", () => {
    expect(Buffer.byteLength(code)).toBeLessThanOrEqual(10_240);
    expect(code).not.toMatch(/^\s*(import|export)\b|\brequire\(|\bprocess\b|\beval\b|\?\.|\?\?|\bclass\b/m);
  });
});
