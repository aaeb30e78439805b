import { fork } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { eventStatus } from "../../lambdas/shared/control";
import { type DatabaseUsage, startLocal } from "../local/run";

export interface LoadOptions {
  readonly visitors: number;
  /** Milliseconds within which they click. */
  readonly arrivalMs: number;
  /** Visitors let in per ten seconds. */
  readonly rate: number;
  /** Connections of those who click, and as many of those who poll. */
  readonly sockets: number;
  /** Most environments of one Lambda function. */
  readonly environments: number;
  /** The run fails if it takes longer. */
  readonly maxSeconds: number;
  readonly stackDirectory?: string;
}

/** One visitor, as the crowd's process reports it; milliseconds since the start. */
export interface Person {
  readonly sentAt: number;
  readonly position: number;
  readonly polls: number;
  readonly admittedMs: number;
  readonly servingCounter: number;
}

export interface LoadResult {
  readonly visitors: number;
  readonly rate: number;
  readonly machine: { readonly cpus: number; readonly model: string; readonly loadAverage: number };
  /** From the first click to the last answer to one. */
  readonly arrivalSeconds: number;
  readonly totalSeconds: number;
  readonly assignsPerSecond: number;
  /** CPU time of the edge, the gateway and all function environments together, per place given: does not depend on what else the machine does. */
  readonly cpuMsPerAssign: number;
  readonly assignP50Ms: number;
  readonly assignP99Ms: number;
  readonly checks: number;
  readonly checkP50Ms: number;
  readonly checkP99Ms: number;
  readonly pollsPerVisitor: number;
  readonly admittedPerSecond: number;
  readonly busiestSecondAdmitted: number;
  /** In time between clicks: the same misplacement is a tenth of it where ten times as many click per second. */
  readonly orderErrorP95Ms: number;
  /** The same in places, which does not depend on how fast the machine is. */
  readonly orderErrorP95Places: number;
  readonly abandonedShare: number;
  /** Answers other than 200, by status; every one was tried again. */
  readonly turnedAway: Readonly<Record<string, number>>;
  /** Visitors who went on to the protected API. */
  readonly booked: number;
  readonly assignWriteUnits: number;
  readonly writeUnits: number;
  readonly readUnits: number;
  readonly readUnitsPerCheck: number;
  readonly hottestItem: string;
  readonly hottestItemWritesPerSecond: number;
  /** Per second since the start: places given, visitors let in. */
  readonly timeline: readonly { readonly second: number; readonly assigned: number; readonly admitted: number }[];
}

const EVENT = "load";
/** Visitors who go on to the protected API with their token. */
const BOOKINGS = 50;
/** After which leases that nobody used are known to be lost. */
const LEASES_SETTLE_MS = 1_500;

/** Sends the crowd through the local run and checks on the way what must hold for every visitor. */
export async function measureLoad(options: LoadOptions, log: (line: string) => void): Promise<LoadResult> {
  const { environments: maxEnvironments, rate, stackDirectory, visitors } = options;
  const run = await startLocal({ maxEnvironments, ...(stackDirectory !== undefined && { stackDirectory }) });
  try {
    await run.open(EVENT, { batchSize: rate });
    await warmUp(run.url, maxEnvironments);
    await run.usage(true);
    const loadAverage = loadavg()[0] ?? 0;
    let assignUsage: DatabaseUsage | undefined;
    let arrivedMs = 0;
    let cpuMs = 0;
    const cpuBefore = process.cpuUsage();
    const crowd = await sendCrowd(run.url, options, async (ms) => {
      arrivedMs = ms;
      const { system, user } = process.cpuUsage(cpuBefore);
      cpuMs = (system + user) / 1000;
      assignUsage = await run.usage();
      log(`${visitors} have a place after ${(ms / 1000).toFixed(1)} s`);
    });
    await new Promise((resolve) => setTimeout(resolve, LEASES_SETTLE_MS));
    const usage = await run.usage();
    const status = await eventStatus(run.plane, EVENT, rate);
    if (usage === undefined || assignUsage === undefined) {
      throw new Error("The load run needs the embedded database: it counts the units.");
    }
    const { people } = crowd;
    check(people, visitors);
    const admissions = people.map(({ admittedMs }) => admittedMs).sort((a, b) => a - b);
    const firstMs = admissions[0] ?? 0;
    const lastMs = admissions.at(-1) ?? 0;
    const timeline = timelineOf(people);
    const [cpu] = cpus();
    return {
      visitors,
      rate,
      machine: { cpus: cpus().length, model: cpu?.model.trim() ?? "unknown", loadAverage: round(loadAverage) },
      arrivalSeconds: round(arrivedMs / 1000),
      totalSeconds: round(lastMs / 1000),
      assignsPerSecond: Math.round(visitors / (arrivedMs / 1000)),
      cpuMsPerAssign: round(cpuMs / visitors, 2),
      assignP50Ms: round(quantile(crowd.assigns, 0.5)),
      assignP99Ms: round(quantile(crowd.assigns, 0.99)),
      checks: crowd.checks.length,
      checkP50Ms: round(quantile(crowd.checks, 0.5)),
      checkP99Ms: round(quantile(crowd.checks, 0.99)),
      pollsPerVisitor: round(people.reduce((sum, { polls }) => sum + polls, 0) / visitors),
      admittedPerSecond: Math.round(visitors / Math.max(1, (lastMs - firstMs) / 1000)),
      busiestSecondAdmitted: Math.max(...timeline.map(({ admitted }) => admitted)),
      orderErrorP95Ms: round(quantile(orderErrors(people), 0.95)),
      orderErrorP95Places: quantile(orderErrors(ranked(people)), 0.95),
      abandonedShare: round(Math.max(0, status.handedOut - visitors) / status.handedOut, 4),
      turnedAway: crowd.turnedAway,
      booked: crowd.booked,
      assignWriteUnits: assignUsage.writeUnits,
      writeUnits: usage.writeUnits,
      readUnits: usage.readUnits,
      readUnitsPerCheck: round(usage.readUnits / Math.max(1, crowd.checks.length), 4),
      hottestItem: usage.hottestItem,
      hottestItemWritesPerSecond: usage.hottestItemWritesPerSecond,
      timeline,
    };
  } finally {
    await run.stop();
  }
}

/** What must hold for every visitor; says all that does not. */
export function check(people: readonly Person[], visitors: number): void {
  const problems: string[] = [];
  const positions = new Set(people.map(({ position }) => position));
  if (people.length !== visitors) {
    problems.push(`${visitors} came and ${people.length} were served`);
  }
  if (positions.size !== people.length) {
    problems.push(`${people.length} visitors share ${positions.size} positions`);
  }
  const early = people.filter(({ position, servingCounter }) => position > servingCounter);
  if (early.length > 0) {
    problems.push(`${early.length} were let in above the counter, the first at position ${early[0]?.position}`);
  }
  if (problems.length > 0) {
    throw new Error(`The waiting room did not hold:\n${problems.map((line) => `  - ${line}`).join("\n")}`);
  }
}

/** How far, in time of the click, each visitor's place is from the one that the order of clicks gives. */
export function orderErrors(people: readonly Pick<Person, "sentAt" | "position">[]): number[] {
  const clicks = people.map(({ sentAt }) => sentAt).sort((a, b) => a - b);
  const byPosition = [...people].sort((a, b) => a.position - b.position);
  return byPosition.map(({ sentAt }, rank) => Math.abs(sentAt - (clicks[rank] as number)));
}

/** The same people, each click's time replaced by its rank. */
function ranked(people: readonly Pick<Person, "sentAt" | "position">[]): Pick<Person, "sentAt" | "position">[] {
  return [...people].sort((a, b) => a.sentAt - b.sentAt).map(({ position }, rank) => ({ position, sentAt: rank }));
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}

function timelineOf(people: readonly Person[]): LoadResult["timeline"] {
  const end = Math.ceil(Math.max(...people.map(({ admittedMs }) => admittedMs)) / 1000);
  const timeline = Array.from({ length: end + 1 }, (_, second) => ({ second, assigned: 0, admitted: 0 }));
  for (const { admittedMs, sentAt } of people) {
    const clicked = timeline[Math.floor(sentAt / 1000)];
    const admitted = timeline[Math.floor(admittedMs / 1000)];
    if (clicked !== undefined && admitted !== undefined) {
      clicked.assigned += 1;
      admitted.admitted += 1;
    }
  }
  return timeline;
}

/** Loads every environment, as `vwr warm` does before a sale. */
async function warmUp(url: string, environments: number): Promise<void> {
  for (let round = 0; round < 2; round += 1) {
    await Promise.all(
      Array.from({ length: environments * 2 }, async () => (await fetch(`${url}/vwr-api/vwr/status/${EVENT}`)).text()),
    );
  }
}

interface Crowd {
  readonly people: Person[];
  readonly assigns: number[];
  readonly checks: number[];
  readonly turnedAway: Record<string, number>;
  readonly booked: number;
}

async function sendCrowd(url: string, options: LoadOptions, onArrived: (ms: number) => Promise<void>): Promise<Crowd> {
  const { arrivalMs, maxSeconds, sockets, visitors } = options;
  const child = fork(fileURLToPath(new URL("./visitors.mjs", import.meta.url)), {
    execArgv: [],
    serialization: "advanced",
  });
  let arrived: Promise<void> = Promise.resolve();
  try {
    const crowd = await new Promise<Crowd>((resolve, reject) => {
      child.on("message", (message: { kind: string; ms?: number; message?: string }) => {
        if (message.kind === "arrived") {
          arrived = onArrived(message.ms ?? 0);
        } else if (message.kind === "result") {
          resolve(message as unknown as Crowd);
        } else {
          reject(new Error(`The crowd gave up: ${message.message}`));
        }
      });
      child.once("exit", (code) => reject(new Error(`The crowd's process ended with code ${code}`)));
      child.send({
        url,
        event: EVENT,
        visitors,
        arrivalMs,
        sockets,
        maxSeconds,
        bookings: Math.min(visitors, BOOKINGS),
      });
    });
    await arrived;
    return crowd;
  } finally {
    child.removeAllListeners("exit");
    if (child.connected) {
      child.disconnect();
    }
  }
}

function round(value: number, digits = 1): number {
  const factor = 10 ** digits;
  return Math.round(value * factor) / factor;
}
