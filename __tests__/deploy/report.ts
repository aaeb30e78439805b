import type { Deployed, Done } from "../../tools/cloud/deploy";
import type { Cost } from "../../tools/cloud/meter";
import type { Cloud } from "../../tools/cloud/simulators";
import { ASSERTED_TYPES } from "./deployed";
import type { Planned } from "./plan";
import { typeOf } from "./plan";

const SLOWEST = 12;

/** What no simulator does; docs/deploy.md says more. */
const NOT_CHECKED =
  "IAM is not enforced; nothing routes, resolves or refuses packets; EKS, RDS, Redis, MSK, CloudFront and WAF have no data planes; no quotas; no waits as long as AWS's.";

/** What a life tells when it is over: what it took, who answered, and what nobody looked at. */
export class Report {
  private readonly rows: string[] = [];
  private readonly done: Done[] = [];
  private readonly steps: string[] = [];

  step(name: string, seconds: number): void {
    this.steps.push(`${String(Math.round(seconds)).padStart(5)} s  ${name}`);
  }

  deployed(what: string, deployed: readonly Deployed[]): void {
    for (const { cost, done, stack } of deployed) this.row(`${what} of ${stack}`, done.length, cost);
    this.done.push(...deployed.flatMap(({ done }) => done));
  }

  planned(what: string, { cost, resources }: Planned): void {
    this.row(what, resources, cost);
  }

  /** The report as text; the first part is the table of docs/performance.md. */
  async text(cloud: Cloud, addresses: readonly string[]): Promise<string> {
    const slowest = [...this.done].sort((a, b) => b.seconds - a.seconds).slice(0, SLOWEST);
    return [
      "| what | resources | wall time | all processes at once | largest process |",
      "|---|---:|---:|---:|---:|",
      ...this.rows,
      "",
      "Slowest resources:",
      ...slowest.map(({ address, seconds }) => `${String(seconds).padStart(5)} s  ${address}`),
      "",
      "Steps:",
      ...this.steps,
      "",
      await servedBy(cloud),
      ...notVerified(addresses),
      NOT_CHECKED,
    ].join("\n");
  }

  row(what: string, resources: number, { largest, peakMib, seconds }: Cost): void {
    const whole = Math.round(seconds);
    const time = `${Math.floor(whole / 60)} min ${whole % 60} s`;
    const process = `${gib(largest.mib)} (${largest.name})`;
    this.rows.push(`| ${what} | ${resources} | ${time} | ${gib(peakMib)} | ${process} |`);
  }
}

function gib(mib: number): string {
  return `${(mib / 1024).toFixed(2)} GiB`;
}

async function servedBy(cloud: Cloud): Promise<string> {
  const { grafana, ministack, moto } = await cloud.calls();
  const services = Object.entries(ministack).sort(([, a], [, b]) => b - a);
  const own = services.reduce((sum, [, count]) => sum + count, 0);
  const total = own + moto + grafana;
  const share = (count: number) => `${count} (${((100 * count) / total).toFixed(1)} %)`;
  const listed = services.map(([service, count]) => `${service} ${count}`).join(", ");
  return [
    `Calls: ${total}. MiniStack ${share(own)}: ${listed}.`,
    `moto (CloudWatch, Managed Prometheus) ${share(moto)}; Grafana shim ${share(grafana)}.`,
  ].join("\n");
}

/** Types by who has looked at them besides Terraform. */
function notVerified(addresses: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const type of addresses.map(typeOf)) counts.set(type, (counts.get(type) ?? 0) + 1);
  const asserted = [...counts].filter(([type]) => ASSERTED_TYPES.includes(type));
  const others = [...counts].filter(([type]) => !ASSERTED_TYPES.includes(type)).sort(([a], [b]) => (a < b ? -1 : 1));
  const sum = (some: readonly (readonly [string, number])[]) => some.reduce((total, [, count]) => total + count, 0);
  return [
    `Deployed: ${addresses.length} resources of ${counts.size} types. Asked of AWS's API beyond their tags: ${asserted.length} types, ${sum(asserted)} resources.`,
    `Deployed, not verified (Terraform's second plan and, where taggable, their tags are all that was looked at): ${others.map(([type, count]) => `${type} ${count}`).join(", ")}.`,
  ];
}
