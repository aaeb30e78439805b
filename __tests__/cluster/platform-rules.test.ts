import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { CHARTS } from "../../environments/platform";
import { moduleFiles } from "../../tools/kube/build";
import { promtool, runPromtool } from "../../tools/promtool/promtool";

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly {
    readonly datasource?: { readonly uid: string };
    readonly expr?: string;
    readonly namespace?: string;
    readonly metricName?: string;
  }[];
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}

interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: unknown }[] };
}

const RULES = "k8s/rules";
const DASHBOARDS = "k8s/dashboards";
const ruleFiles = yamlFiles(RULES);
const dashboardFiles = readdirSync(DASHBOARDS).sort();
const rules: readonly Rule[] = ruleFiles.flatMap((file) =>
  (parse(readFileSync(path.join(RULES, file), "utf8")) as { groups: { rules: Rule[] }[] }).groups.flatMap(
    (group) => group.rules,
  ),
);
const alerts = rules.filter(({ alert }) => alert !== undefined);

function yamlFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".yaml"))
    .sort();
}

function dashboard(file: string): Dashboard {
  return JSON.parse(readFileSync(path.join(DASHBOARDS, file), "utf8")) as Dashboard;
}

/** A query as Prometheus gets it, once Grafana has put values in place of its variables. */
function interpolated(expression: string): string {
  return expression.replaceAll("[$__rate_interval]", "[5m]").replaceAll(/\$(?:namespace|service|nodepool)\b/g, "value");
}

describe("alert rules", () => {
  it("are told in words: a severity, a summary without variables, a description", () => {
    expect(alerts.length).toBeGreaterThan(15);
    for (const { alert, annotations, labels } of alerts) {
      expect(["critical", "warning"], alert).toContain(labels?.severity);
      // Alerts of a group are told together; what differs between them would be left out.
      expect(annotations?.summary, alert).not.toContain("{{");
      expect(annotations?.description, alert).toMatch(/\.$/);
    }
  });

  it("have names of their own", () => {
    const names = rules.map(({ alert, record }) => alert ?? record);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe("rules and queries, by Prometheus's own parser", () => {
  let binary: string;
  const folder = mkdtempSync(path.join(tmpdir(), "urr-promql-"));

  beforeAll(() => {
    const found = promtool();
    if (!found) throw new Error("promtool is built by Go, which is not on the PATH");
    binary = found;
  }, 600_000);

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("are valid rules", () => {
    const { ok, output } = runPromtool(binary, RULES, "check", "rules", "--lint=all", "--lint-fatal", ...ruleFiles);
    expect(ok, output).toBe(true);
  });

  it("fire when they should, with the words people get, and stay silent beside it", () => {
    const tests = path.join(RULES, "tests");
    const { ok, output } = runPromtool(binary, tests, "test", "rules", ...yamlFiles(tests));
    expect(ok, output).toBe(true);
  });

  it("are each tested: for every alert there is a case in which it fires and one in which it does not", () => {
    const cases = yamlFiles(path.join(RULES, "tests")).flatMap((file) =>
      (
        parse(readFileSync(path.join(RULES, "tests", file), "utf8")) as {
          tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[];
        }
      ).tests.flatMap((test) => test.alert_rule_test),
    );
    const fired = cases.filter(({ exp_alerts }) => exp_alerts.length > 0).map(({ alertname }) => alertname);
    expect([...new Set(fired)].sort()).toEqual(alerts.map(({ alert }) => alert).sort());
  });

  it("fail when an expression is misspelt, so a passing check means something", () => {
    writeFileSync(
      path.join(folder, "broken.yaml"),
      'groups: [{ name: x, rules: [{ record: "a:b", expr: "sum by (x (up)" }] }]',
    );
    expect(runPromtool(binary, folder, "check", "rules", "broken.yaml").ok).toBe(false);
  });

  it.each(dashboardFiles)("are valid in every panel of %s", (file) => {
    const expressions = dashboard(file).panels.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => expr ?? []));
    expect(expressions.length).toBeGreaterThan(0);
    writeFileSync(
      path.join(folder, "queries.yaml"),
      JSON.stringify({
        groups: [
          {
            name: "queries",
            rules: expressions.map((expression, index) => ({
              record: `query:${index}`,
              expr: interpolated(expression),
            })),
          },
        ],
      }),
    );
    const { ok, output } = runPromtool(binary, folder, "check", "rules", "--lint=none", "queries.yaml");
    expect(ok, output).toBe(true);
    for (const expression of expressions) expect(interpolated(expression)).not.toContain("$");
  });
});

describe("metrics", () => {
  const queries = dashboardFiles.flatMap((file) => dashboard(file).panels.flatMap(({ targets = [] }) => targets));

  it("of Karpenter are named as the deployed version exports them, and asked for as what they are", () => {
    const exported = karpenterMetrics();
    expect(exported.size).toBeGreaterThan(40);
    const expressions = [...queries.map(({ expr = "" }) => expr), ...rules.map(({ expr }) => expr)];
    const used = new Set(expressions.flatMap((expression) => expression.match(/\bkarpenter_\w+/g) ?? []));
    expect(used.size).toBeGreaterThan(5);
    for (const name of used) {
      const base = name.replace(/_(?:bucket|sum|count)$/, "");
      const kind = exported.get(name) ?? exported.get(base);
      expect(kind, name).toBeDefined();
      // A summary has quantiles and no buckets.
      if (name.endsWith("_bucket")) expect(kind, name).toBe("Histogram");
    }
  });

  it("of the waiting room are those that its functions count", () => {
    const sources = readdirSync("lambdas", { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => readFileSync(path.join("lambdas", file), "utf8"))
      .join("\n");
    const own = queries.filter(({ namespace }) => namespace === "URR/WaitingRoom");
    expect(own.length).toBeGreaterThan(4);
    for (const { datasource, metricName } of own) {
      expect(datasource?.uid).toBe("${cloudwatch}");
      expect(sources).toContain(`"${metricName}"`);
    }
  });
});

/** Every metric that the sources of the deployed Karpenter register, with its kind. */
function karpenterMetrics(): Map<string, string> {
  const version = `v${CHARTS.karpenter.appVersion}`;
  const sources = ["sigs.k8s.io/karpenter", "github.com/aws/karpenter-provider-aws"]
    .map((module) => moduleFiles(module, version, "pkg"))
    .flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(".go") && !file.endsWith("_test.go"))
        .map((file) => readFileSync(path.join(folder, file), "utf8")),
    );
  const constants = new Map(
    sources.flatMap((source) =>
      [...source.matchAll(/\b(\w*Subsystem)\s*=\s*"(\w+)"/g)].map(
        ([, name = "", value = ""]) => [name, value] as const,
      ),
    ),
  );
  const options = /prometheus\.(\w+)Opts\{[^}]*?Subsystem:\s*([\w."]+),\s*Name:\s*"(\w+)"/g;
  return new Map(
    sources.flatMap((source) =>
      [...source.matchAll(options)].map(([, kind = "", subsystem = "", name = ""]) => {
        const inner = subsystem.startsWith('"')
          ? subsystem.slice(1, -1)
          : constants.get(subsystem.split(".").pop() ?? "");
        return [`karpenter_${inner}_${name}`, kind] as const;
      }),
    ),
  );
}

describe.each(dashboardFiles)("dashboard %s", (file) => {
  const { panels, templating, title, uid } = dashboard(file);

  it("is the same in both Grafanas: its data sources are variables", () => {
    const variables = templating.list.map(({ name }) => name);
    for (const panel of panels.filter(({ type }) => type !== "row")) {
      expect(["${prometheus}", "${cloudwatch}"], panel.title).toContain(panel.datasource?.uid);
      expect(variables, panel.title).toContain(String(panel.datasource?.uid).slice(2, -1));
    }
  });

  it("has a lasting id, so that posting it again replaces it", () => {
    expect(uid).toMatch(/^urr-[a-z-]{1,36}$/);
    expect(title).not.toBe("");
  });

  it("uses only variables that it has", () => {
    const variables = new Set(templating.list.map(({ name }) => name));
    const used = JSON.stringify(panels).matchAll(/\$\{?(?!__|PROP)([a-z]+)/g);
    for (const [, name] of used) expect(variables).toContain(name);
  });

  it("lays its panels out without overlaps, within the grid's 24 columns", () => {
    const taken = new Set<string>();
    for (const { gridPos, title: panel } of panels) {
      expect(gridPos.x + gridPos.w, panel).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken.has(`${x},${y}`), `${panel} at ${x},${y}`).toBe(false);
          taken.add(`${x},${y}`);
        }
      }
    }
  });
});
