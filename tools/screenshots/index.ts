import { mkdirSync } from "node:fs";
import path from "node:path";
import type { Browser, Page } from "playwright-core";
import { launchChromium } from "../local/chromium";
import { type LocalRun, startLocal } from "../local/run";

/*
 * `npm run screenshots -- [DIR]`: pictures of the waiting screen for the documentation, taken in Chromium through the local run.
 * The API's answers are those of the documents' example (Architecture guide §4.0), so that a picture changes only with the page.
 */

const EVENT = "summer-night";

const PLACE = {
  eventId: EVENT,
  requestId: "5f0c7c0e-6f0a-4a39-8d34-1f1f6a0a2341",
  position: 2341,
  servingCounter: 500,
  ahead: 1841,
  totalInQueue: 12_659,
  estimatedWait: 37,
  nextPoll: 5,
  admitted: false,
  paused: false,
  opensIn: null,
  token: null,
  tokenExpiresIn: null,
  ticket: "example",
};

interface Shot {
  readonly file: string;
  readonly locale: "ko-KR" | "en-GB";
  readonly width: number;
  readonly height: number;
  readonly path: string;
  readonly place?: { readonly [name in keyof typeof PLACE]?: (typeof PLACE)[name] | number | null };
  /** What the page shows once it has asked again. @default the people ahead in the documents' example */
  readonly shows?: string;
  readonly javaScript?: boolean;
  readonly act?: (page: Page) => Promise<void>;
}

const PAGE = `/vwr/${EVENT}`;
const SHOTS: readonly Shot[] = [
  { file: "waiting-page-ko", locale: "ko-KR", width: 880, height: 680, path: PAGE },
  { file: "waiting-page-en", locale: "en-GB", width: 880, height: 680, path: PAGE },
  { file: "waiting-page-phone-ko", locale: "ko-KR", width: 390, height: 760, path: PAGE },
  { file: "waiting-page-phone-en", locale: "en-GB", width: 390, height: 760, path: PAGE },
  {
    file: "waiting-modal-ko",
    locale: "ko-KR",
    width: 1000,
    height: 720,
    path: `/events/${EVENT}`,
    act: (page) => page.locator("#book").click(),
  },
  {
    file: "waiting-page-paused-en",
    locale: "en-GB",
    width: 390,
    height: 800,
    path: PAGE,
    place: { paused: true, estimatedWait: null },
  },
  {
    file: "waiting-page-leave-ko",
    locale: "ko-KR",
    width: 390,
    height: 760,
    path: PAGE,
    act: async (page) => {
      await page.locator("[data-part=position]").waitFor();
      await page.locator("[data-part=leave]").click();
    },
  },
  {
    file: "waiting-page-early-ko",
    locale: "ko-KR",
    width: 880,
    height: 680,
    path: PAGE,
    place: { position: null, ahead: null, estimatedWait: null, opensIn: 840 },
    shows: "약 14분",
  },
  { file: "waiting-page-no-script", locale: "ko-KR", width: 390, height: 640, path: PAGE, javaScript: false },
];

async function main([directory = "docs/images"]: readonly string[]): Promise<void> {
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= "true";
  mkdirSync(directory, { recursive: true });
  const run = await startLocal({ maxEnvironments: 2 });
  const browser = await launchChromium();
  try {
    await run.open(EVENT);
    for (const shot of SHOTS) {
      const file = path.join(directory, `${shot.file}.png`);
      await take(browser, run, shot, file);
      process.stdout.write(`${file}\n`);
    }
  } finally {
    await browser.close();
    await run.stop();
  }
}

async function take(browser: Browser, run: LocalRun, shot: Shot, file: string): Promise<void> {
  const context = await browser.newContext({
    baseURL: run.url,
    locale: shot.locale,
    viewport: { width: shot.width, height: shot.height },
    deviceScaleFactor: 2,
    reducedMotion: "reduce",
    javaScriptEnabled: shot.javaScript ?? true,
  });
  const page = await context.newPage();
  const joined = { ...PLACE, ahead: 5200, ...shot.place };
  await page.route(/\/vwr-api\/vwr\/assign\//, (route) => route.fulfill({ json: { ...joined, nextPoll: 0.05 } }));
  await page.route(/\/vwr-api\/vwr\/check\//, (route) => route.fulfill({ json: { ...PLACE, ...shot.place } }));
  await page.goto(shot.path);
  await shot.act?.(page);
  if (shot.javaScript ?? true) {
    await page
      .locator(".vwr", { hasText: shot.shows ?? "1,841" })
      .first()
      .waitFor();
  }
  await page.screenshot({ path: file });
  await context.close();
}

await main(process.argv.slice(2));
