import { styleText } from "node:util";
import type { EventStatus } from "../../lambdas/shared/control";
import type { Finding } from "./preflight";

type Style = "bold" | "dim" | "green" | "yellow" | "red" | "cyan";

/** Colours only where they are wanted. */
export type Paint = (style: Style, text: string) => string;

export function painter(colours: boolean): Paint {
  return (style, text) => (colours ? styleText(style, text, { validateStream: false }) : text);
}

const BAR_WIDTH = 24;

/** One word for what an event is doing. */
export function stateOf({ bypass, draining, isActive, opensIn, paused }: EventStatus): string {
  if (!isActive) {
    return "closed";
  }
  const open = draining ? "draining" : opensIn === null ? "open" : "before the opening";
  return bypass ? "bypassed" : paused ? "paused" : open;
}

export function renderStatus(status: EventStatus, paint: Paint): string {
  const state = stateOf(status);
  const tone: Style = state === "open" ? "green" : state === "closed" ? "dim" : "yellow";
  const rows: [string, string][] = [
    ["state", paint(tone, state)],
    ["generation", whole(status.generation)],
    ...(status.opensIn === null ? [] : [["opens in", duration(status.opensIn)] as [string, string]]),
    [status.opensIn === null ? "handed out" : "came early", whole(status.handedOut)],
    ["let in", whole(Math.min(status.servingCounter, status.handedOut))],
    ["waiting", paint("bold", whole(status.waiting))],
    [
      "limit",
      `${whole(status.limit)} per 10 s${status.pressure === undefined ? "" : paint("yellow", " (booking API saturated)")}`,
    ],
    ["measured", status.ratePerSecond === undefined ? "not yet" : `${status.ratePerSecond.toFixed(1)} per second`],
    ["empty in", duration(status.secondsToDrain)],
    ["stripes", `${status.stripes}, lease ${status.lease}`],
    ["changed", status.updatedAt],
  ];
  const lines = rows.map(([name, value]) => `  ${paint("dim", name.padEnd(11))} ${value}`);
  return [paint("bold", status.eventId), ...lines].join("\n");
}

/** One line that says how far the line is. */
export function renderProgress(status: EventStatus, paint: Paint): string {
  const letIn = Math.min(status.servingCounter, status.handedOut);
  const share = status.handedOut === 0 ? 0 : letIn / status.handedOut;
  const filled = Math.round(share * BAR_WIDTH);
  const bar = `${paint("cyan", "█".repeat(filled))}${paint("dim", "░".repeat(BAR_WIDTH - filled))}`;
  const figures = `${whole(letIn)}/${whole(status.handedOut)} in · ${whole(status.waiting)} waiting`;
  const rate = status.ratePerSecond === undefined ? "" : ` · ${status.ratePerSecond.toFixed(1)}/s`;
  return `${status.eventId} ${stateOf(status)} ${bar} ${figures}${rate} · empty in ${duration(status.secondsToDrain)}`;
}

export function renderFindings(findings: readonly Finding[], paint: Paint): string {
  const width = Math.max(...findings.map(({ check }) => check.length));
  return findings
    .map(({ check, have, level, need, remedy, unit }) => {
      const mark = {
        ok: paint("green", "ok       "),
        "too-small": paint("red", "too small"),
        unknown: paint("yellow", "unknown  "),
      };
      const figures = `${have === null ? "?" : whole(have)} of ${whole(need)} ${unit}`;
      const advice = level === "ok" ? "" : `\n${" ".repeat(12)}${paint("dim", remedy)}`;
      return `${mark[level]}   ${check.padEnd(width)}  ${figures}${advice}`;
    })
    .join("\n");
}

export function duration(seconds: number | null): string {
  if (seconds === null) {
    return "stands still";
  }
  if (seconds < 60) {
    return `${seconds} s`;
  }
  const minutes = Math.ceil(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function whole(value: number): string {
  return new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 }).format(value);
}
