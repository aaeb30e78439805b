/// <reference lib="dom" />
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { openEvent, pauseEvent, resumeEvent, setRate } from "../../lambdas/shared/control";
import { chromiumPath, launchChromium } from "../../tools/local/chromium";
import { type LocalRun, startLocal } from "../../tools/local/run";

/** Outside CI the suite is left out by name where there is no browser; in CI its absence is a failure. */
export const leaveOut = chromiumPath() === undefined && !process.env.CI;

export interface Stage {
  readonly run: LocalRun;
  readonly browser: Browser;
  /** An event that no other test uses, open at this rate, with so many visitors in line already. */
  openEvent(rate: number, ahead: number): Promise<string>;
  /** Closes the event, and waits until the edge knows. */
  closeEvent(eventId: string): Promise<void>;
  stop(): Promise<void>;
}

const EVENTS = 50;

/** The synthesized production stack of these sources, running, and a browser. */
export async function startStage(): Promise<Stage> {
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true";
  const output = mkdtempSync(join(tmpdir(), "urr-browser-"));
  execFileSync("node", ["tools/app/index.mjs"], { env: { ...process.env, CDKTF_OUTDIR: output }, stdio: "inherit" });
  // One environment each: every one of the edge's keeps a list of active events of its own, up to ten seconds old.
  const run = await startLocal({ stackDirectory: join(output, "stacks/prod"), maxEnvironments: 1 });
  const browser = await launchChromium();
  // Opened all at once: the edge follows its list of active events within ten seconds, which every test would wait for.
  const pool = Array.from({ length: EVENTS }, (_, index) => `evt-${index + 1}`);
  for (const eventId of pool) {
    await openEvent(run.plane, eventId, { stripes: 1, lease: 1 });
    await pauseEvent(run.plane, eventId);
  }
  await run.publish();
  await untilEdge(run, pool[0] as string, 401);
  return {
    run,
    browser,
    openEvent: async (rate, ahead) => {
      const eventId = pool.shift();
      if (eventId === undefined) {
        throw new Error(`More than ${EVENTS} events are used: raise EVENTS`);
      }
      await setRate(run.plane, eventId, rate);
      await resumeEvent(run.plane, eventId);
      for (let visitor = 0; visitor < ahead; visitor += 1) {
        await assign(run, eventId);
      }
      return eventId;
    },
    closeEvent: async (eventId) => {
      await run.close(eventId);
      await untilEdge(run, eventId, 403);
    },
    stop: async () => {
      await browser.close();
      await run.stop();
      rmSync(output, { recursive: true, force: true });
    },
  };
}

/** Asks the protected API without any token until the edge refuses with this status: 401 for tier 1, 403 for tier 2 alone. */
async function untilEdge({ url }: LocalRun, eventId: string, status: number): Promise<void> {
  const deadline = Date.now() + 60_000;
  while ((await fetch(`${url}/api/v1/seats/${eventId}`)).status !== status) {
    if (Date.now() > deadline) {
      throw new Error(`The edge did not answer ${status} for ${eventId} within a minute`);
    }
    await setTimeout(200);
  }
}

export interface AssignAnswer {
  readonly requestId: string;
  readonly position: number;
  readonly admitted: boolean;
  readonly token: string | null;
}

/** A visitor without a browser. */
export async function assign(run: LocalRun, eventId: string): Promise<AssignAnswer> {
  const answer = await fetch(`${run.url}/vwr-api/vwr/assign/${eventId}`, { method: "POST", body: "{}" });
  if (!answer.ok) {
    throw new Error(`assign answered ${answer.status}: ${await answer.text()}`);
  }
  return (await answer.json()) as AssignAnswer;
}

/** Errors that the browser's console showed, violations of the content security policy among them. */
export function consoleErrors(page: Page): string[] {
  const errors: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") {
      errors.push(message.text());
    }
  });
  page.on("pageerror", (error) => errors.push(error.message));
  return errors;
}

export const position = (page: Page) => page.locator("[data-part=position]");
export const title = (page: Page) => page.locator("[data-part=title]");
export const note = (page: Page) => page.locator("[data-part=note]");

/** The cookie of this name as the browser keeps it. */
export async function cookieOf(context: BrowserContext, name: string) {
  return (await context.cookies()).find((cookie) => cookie.name === name);
}

/** What the protected API answers to a script on the site. */
export async function callSeats(
  page: Page,
  eventId: string,
): Promise<{ status: number; code?: string; reason?: string; seats?: string[] }> {
  return page.evaluate(async (id) => {
    const answer = await fetch(`/api/v1/seats/${id}`);
    return { status: answer.status, ...(await answer.json()) };
  }, eventId);
}
