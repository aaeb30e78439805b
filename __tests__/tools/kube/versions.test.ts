import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { VERSIONS } from "../../../lib/life-cycle";
import { KUBERNETES_VERSION } from "../../../tools/kube/versions";

const GO_MODULE = readFileSync(path.resolve(import.meta.dirname, "../../../tools/kube/go/go.mod"), "utf8");

describe("the Kubernetes that tests run against", () => {
  it("is a patch of the clusters' own minor version", () => {
    expect(KUBERNETES_VERSION).toMatch(new RegExp(`^${VERSIONS.kubernetes.replace(".", "\\.")}\\.\\d+$`));
  });

  it("is the one that the Go module builds, all of its parts", () => {
    const [, minor] = KUBERNETES_VERSION.split(/^\d+\./);
    expect(GO_MODULE).toContain(`\tk8s.io/kubernetes v${KUBERNETES_VERSION}\n`);
    const replaced = [...GO_MODULE.matchAll(/\tk8s\.io\/([a-z-]+) => k8s\.io\/([a-z-]+) v0\.([0-9.]+)\n/g)];
    expect(replaced.length).toBeGreaterThanOrEqual(30);
    for (const [, from, to, version] of replaced) {
      expect(to).toBe(from);
      expect(version, from).toBe(minor);
    }
  });
});
