/// <reference lib="dom" />

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import type { BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventStatus, pauseEvent, resumeEvent } from "../../lambdas/shared/control";
import { n, rowKey, s } from "../../lambdas/shared/schema";
import { signingKey } from "../../lambdas/shared/secrets";
import { mintToken } from "../../lambdas/shared/tokens";
import {
  assign,
  callSeats,
  consoleErrors,
  cookieOf,
  leaveOut,
  note,
  position,
  type Stage,
  startStage,
  title,
} from "./support";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** Two ticks of the advancer, and what a busy machine adds. */
const SOON = { timeout: 60_000 };
const TIER1 = "urr-vwr-token";
const TIER2 = "urr-entry-token";

let stage: Stage;
let context: BrowserContext;
let page: Page;
let errors: string[];

describe.skipIf(leaveOut)("the waiting room in Chromium (left out where no Chromium is installed)", () => {
  beforeAll(async () => {
    stage = await startStage();
  });
  afterAll(async () => {
    await stage?.stop();
  });
  beforeEach(async () => {
    context = await stage.browser.newContext({ baseURL: stage.run.url, locale: "ko-KR" });
    page = await context.newPage();
    errors = consoleErrors(page);
  });
  afterEach(async () => {
    await context.close();
  });

  describe("from the event page", () => {
    it("waits in the dialog after 'book' and goes on to seats and a reservation once its turn has come", async () => {
      const event = await stage.openEvent(4, 6);
      await page.goto(`/events/${event}`);
      await page.getByRole("button", { name: "예매하기" }).click();
      await expectText(position(page), "7번");
      expect(await page.getByRole("dialog").first().isVisible()).toBe(true);
      expect(await page.locator("[data-part=hint]").textContent()).toContain("이 창을 닫지 마세요");
      expect((await callSeats(page, event)).status).toBe(401);

      await page.waitForURL(`**/booking/${event}`, SOON);
      await page.getByRole("button", { name: "A7", exact: true }).click();
      await expectText(page.locator("#state"), "A7 좌석을 예매했습니다");
      expect(errors.filter((text) => !text.includes("401"))).toEqual([]);
    });

    it("stores the token in a cookie that is secure, lax, for the whole site and ten minutes long", async () => {
      const event = await stage.openEvent(100, 0);
      await page.goto(`/vwr/${event}`);
      await page.waitForURL(`**/booking/${event}`, SOON);
      const cookie = await cookieOf(context, TIER1);
      expect(cookie).toMatchObject({ secure: true, sameSite: "Lax", path: "/", httpOnly: false });
      const left = (cookie?.expires ?? 0) - Date.now() / 1000;
      expect(left).toBeGreaterThan(500);
      expect(left).toBeLessThanOrEqual(600);
    });

    it("does not wait for an event whose line is closed", async () => {
      const event = await stage.openEvent(1, 3);
      await stage.closeEvent(event);
      // An environment serves for a second what it has read of an event.
      await sleep(1_500);
      await page.goto(`/events/${event}`);
      await page.getByRole("button", { name: "예매하기" }).click();
      await page.waitForURL(`**/booking/${event}`, SOON);
      expect(await cookieOf(context, TIER1)).toBeUndefined();
    });

    it("opens the dialog all the same when the first answers are 429, and gets a place by itself", async () => {
      const event = await stage.openEvent(1, 4);
      let refused = 0;
      await page.route("**/vwr-api/**", (route) => {
        refused += 1;
        return refused <= 2
          ? route.fulfill({ status: 429, headers: { "retry-after": "1" }, json: { code: "too_many_requests" } })
          : route.fallback();
      });
      await page.goto(`/events/${event}`);
      await page.getByRole("button", { name: "예매하기" }).click();
      await expectText(note(page), "자동으로 다시 시도합니다");
      await expectText(position(page), "5번");
      expect(await note(page).isVisible()).toBe(false);
      expect(refused).toBeGreaterThan(2);
    });

    it("can be joined and left with the keyboard alone", async () => {
      const event = await stage.openEvent(1, 8);
      await page.goto(`/events/${event}`);
      await tabTo(page, "book");
      await page.keyboard.press("Enter");
      await expectText(position(page), "9번");
      await page.keyboard.press("Escape");
      expect(await position(page).isVisible()).toBe(true);
      await tabTo(page, "leave");
      await page.keyboard.press("Enter");
      await page.locator("#vwr-leave-title").waitFor();
      await page.keyboard.press("Escape");
      expect(await position(page).isVisible()).toBe(true);
      await page.keyboard.press("Enter");
      await page.locator("#vwr-leave-title").waitFor();
      await tabTo(page, "leave-now");
      await page.keyboard.press("Enter");
      await page.locator("#modal").waitFor({ state: "hidden" });
      expect(await page.evaluate(() => document.activeElement?.id)).toBe("book");
      expect(await page.evaluate((id) => localStorage.getItem(`urr-vwr:${id}`), event)).toBeNull();
    });
  });

  describe("from a direct link", () => {
    it("is sent to the waiting page, keeps where it was heading, and gets there", async () => {
      const event = await stage.openEvent(4, 6);
      await page.goto(`/api/v1/seats/${event}?section=R`);
      expect(new URL(page.url()).pathname).toBe(`/vwr/${event}`);
      await expectText(position(page), "7번");
      await page.waitForURL(`**/api/v1/seats/${event}?section=R`, SOON);
      expect(JSON.parse((await page.locator("body").textContent()) ?? "")).toMatchObject({ eventId: event });
      expect(errors).toEqual([]);
    });

    it.each([
      "//evil.example/x",
      "https://evil.example/",
      "/\\evil.example",
      "/vwr/other",
      "javascript:alert(1)",
    ])("goes to the next queue instead of %s", async (returnTo) => {
      const event = await stage.openEvent(1, 0);
      await stage.closeEvent(event);
      const visited: string[] = [];
      page.on("request", (request) => request.isNavigationRequest() && visited.push(request.url()));
      await page.goto(`/vwr/${event}?returnTo=${encodeURIComponent(returnTo)}`);
      await page.waitForURL(`**/booking/${event}`, SOON);
      expect(visited.every((url) => url.startsWith(stage.run.url))).toBe(true);
      expect(visited.map((url) => new URL(url).pathname)).toContain(`/queue/${event}`);
    });

    it("leaves no way back into the line behind", async () => {
      const event = await stage.openEvent(100, 0);
      await page.goto("/");
      await page.goto(`/vwr/${event}`);
      await page.waitForURL(`**/booking/${event}`, SOON);
      await page.goBack();
      expect(new URL(page.url()).pathname).toBe("/");
    });
  });

  describe("tokens", () => {
    it("asks for a new admission once the token has expired", async () => {
      const event = await stage.openEvent(100, 0);
      const past = Math.floor(Date.now() / 1000) - 700;
      await setCookie(TIER1, await mintToken(claims(event, past), currentKey()));
      await page.goto("/");
      expect(await callSeats(page, event)).toMatchObject({ status: 401, reason: "expired" });
      await page.goto(`/api/v1/seats/${event}`);
      expect(new URL(page.url()).pathname).toBe(`/vwr/${event}`);
      await page.waitForURL(`**/api/v1/seats/${event}`, SOON);
    });

    it("gives a new number, and says so, to a visitor whose admission has expired", async () => {
      const event = await stage.openEvent(100, 0);
      await page.goto(`/vwr/${event}`);
      await page.waitForURL(`**/booking/${event}`, SOON);
      const { requestId } = await savedPlace(page, event);
      await stage.run.plane.client.send(
        new UpdateItemCommand({
          TableName: stage.run.deployment.tables.positions.name,
          Key: { eventId: s(rowKey(event, requestId)), requestId: s(requestId) },
          UpdateExpression: "SET admittedAt = :past",
          ExpressionAttributeValues: { ":past": n(Math.floor(Date.now() / 1000) - 700) },
        }),
      );
      await context.clearCookies();
      await page.goto(`/vwr/${event}`);
      await expectText(note(page), "입장 시간이 지나 새 순번을 받았습니다");
      expect((await savedPlace(page, event)).requestId).not.toBe(requestId);
    });

    it("of one event does not open another", async () => {
      const first = await stage.openEvent(100, 0);
      const second = await stage.openEvent(1, 5);
      await page.goto(`/vwr/${first}`);
      await page.waitForURL(`**/booking/${first}`, SOON);
      expect((await callSeats(page, first)).status).toBe(200);
      expect(await callSeats(page, second)).toMatchObject({ status: 401, reason: "event" });
      await page.goto(`/api/v1/seats/${second}`);
      expect(new URL(page.url()).pathname).toBe(`/vwr/${second}`);
      await expectText(position(page), "6번");
    });

    it("of tier 1 does not pass as tier 2", async () => {
      const event = await stage.openEvent(100, 0);
      await page.goto(`/vwr/${event}`);
      await page.waitForURL(`**/booking/${event}`, SOON);
      const tier1 = await cookieOf(context, TIER1);
      await setCookie(TIER2, tier1?.value ?? "");
      expect(await callSeats(page, event)).toMatchObject({ status: 403, code: "ENTRY_TOKEN_REQUIRED" });
      const answer = await page.request.get(`/api/v1/seats/${event}`, {
        headers: { accept: "text/html", "sec-fetch-mode": "navigate" },
        maxRedirects: 0,
      });
      expect(answer.status()).toBe(302);
      expect(answer.headers().location).toMatch(new RegExp(`^/queue/${event}`));
    });

    it("of tier 2 does not pass as tier 1", async () => {
      const event = await stage.openEvent(100, 0);
      await setCookie(TIER1, await stage.run.entryToken(event));
      await page.goto("/");
      expect(await callSeats(page, event)).toMatchObject({ status: 401, code: "WAITING_ROOM_TOKEN_REQUIRED" });
    });

    it("that are forged are refused", async () => {
      const event = await stage.openEvent(100, 0);
      const now = Math.floor(Date.now() / 1000);
      const forger = signingKey(currentKey().kid, "a-key-that-the-forger-made-up-a-key-that-the-forger-made-up");
      await setCookie(TIER1, await mintToken(claims(event, now), forger));
      await page.goto("/");
      expect(await callSeats(page, event)).toMatchObject({ status: 401, reason: "signature" });
      await page.goto(`/api/v1/seats/${event}`);
      expect(new URL(page.url()).pathname).toBe(`/vwr/${event}`);
    });

    it("are void once the event was opened again", async () => {
      const event = await stage.openEvent(100, 0);
      await page.goto(`/vwr/${event}`);
      await page.waitForURL(`**/booking/${event}`, SOON);
      await stage.run.open(event, { batchSize: 1, again: true });
      await expect.poll(() => callSeats(page, event).then(({ reason }) => reason), SOON).toBe("generation");
    });
  });

  describe("whatever happens meanwhile", () => {
    it("keeps the place over a reload", async () => {
      const event = await stage.openEvent(1, 10);
      await page.goto(`/vwr/${event}`);
      await expectText(position(page), "11번");
      const before = await savedPlace(page, event);
      await page.reload();
      await expectText(position(page), "11번");
      expect((await savedPlace(page, event)).requestId).toBe(before.requestId);
      expect((await assign(stage.run, event)).position).toBe(12);
    });

    it("keeps the place when the visitor goes away and comes back with the back button", async () => {
      const event = await stage.openEvent(1, 10);
      await page.goto(`/vwr/${event}`);
      await expectText(position(page), "11번");
      await page.goto("/");
      await page.goBack();
      await expectText(position(page), "11번");
    });

    it("says so when it is offline, and goes on with the same place afterwards", async () => {
      const event = await stage.openEvent(1, 10);
      await page.goto(`/vwr/${event}`);
      await expectText(position(page), "11번");
      await context.setOffline(true);
      await expectText(note(page), "인터넷 연결이 끊겼습니다");
      expect(await position(page).textContent()).toBe("11번");
      await context.setOffline(false);
      await note(page).waitFor({ state: "hidden", ...SOON });
      expect(await position(page).textContent()).toBe("11번");
    });

    it("keeps the number on screen while the API answers 503, and goes on when it recovers", async () => {
      const event = await stage.openEvent(1, 10);
      await page.goto(`/vwr/${event}`);
      await expectText(position(page), "11번");
      await page.route("**/vwr-api/**", (route) => route.fulfill({ status: 503, headers: { "retry-after": "1" } }));
      await expectText(note(page), "접속이 몰려");
      expect(await position(page).textContent()).toBe("11번");
      await page.unroute("**/vwr-api/**");
      await note(page).waitFor({ state: "hidden", ...SOON });
      expect(await position(page).textContent()).toBe("11번");
    });

    it("asks soon after a sleep in which its turn came", async () => {
      const event = await stage.openEvent(500, 10);
      await pauseEvent(stage.run.plane, event);
      await page.clock.install();
      await page.goto(`/vwr/${event}`);
      await expectText(position(page), "11번");
      await page.clock.pauseAt(Date.now() + 60_000);
      await resumeEvent(stage.run.plane, event);
      const serving = async () => (await eventStatus(stage.run.plane, event, 500)).servingCounter;
      await expect.poll(serving, SOON).toBeGreaterThanOrEqual(11);
      // Timers of a sleeping device do not run; its clock goes on.
      await page.clock.setSystemTime(Date.now() + 600_000);
      await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
      await page.clock.runFor(1_500);
      await page.waitForURL(`**/booking/${event}`, SOON);
    });

    it("waits and gets in over a slow network: 400 kbit/s with two seconds of delay", async () => {
      const event = await stage.openEvent(100, 5);
      const network = await context.newCDPSession(page);
      await network.send("Network.enable");
      await network.send("Network.emulateNetworkConditions", {
        offline: false,
        latency: 2_000,
        downloadThroughput: 50_000,
        uploadThroughput: 50_000,
      });
      await page.goto(`/vwr/${event}`, { timeout: 60_000 });
      await page.waitForURL(`**/booking/${event}`, { timeout: 60_000 });
    });

    it("gives a new number, and says so, when the event is opened again", async () => {
      const event = await stage.openEvent(1, 10);
      await page.goto(`/vwr/${event}`);
      await expectText(position(page), "11번");
      await stage.run.open(event, { batchSize: 1, stripes: 1, lease: 1, again: true });
      await assign(stage.run, event);
      await expectText(note(page), "새 순번을 받았습니다");
      expect(await position(page).textContent()).not.toBe("11번");
    });

    it("takes two tabs of one browser for one visitor", async () => {
      const event = await stage.openEvent(1, 10);
      await page.goto(`/vwr/${event}`);
      await expectText(position(page), "11번");
      const other = await context.newPage();
      await other.goto(`/vwr/${event}`);
      await expectText(position(other), "11번");
    });

    it("says what to do where cookies are refused, instead of going round in a circle", async () => {
      const event = await stage.openEvent(1, 0);
      await stage.closeEvent(event);
      await page.addInitScript(() => {
        Object.defineProperty(Document.prototype, "cookie", { get: () => "", set: () => undefined });
      });
      await page.goto(`/vwr/${event}`);
      await expectText(title(page), "쿠키를 허용해 주세요");
    });

    it("says what to do without JavaScript", async () => {
      const event = await stage.openEvent(1, 0);
      const bare = await stage.browser.newContext({ baseURL: stage.run.url, javaScriptEnabled: false });
      const still = await bare.newPage();
      await still.goto(`/vwr/${event}`);
      const text = await still.locator("main").textContent();
      expect(text).toContain("자바스크립트를 켜 주세요");
      expect(text).toContain("Please turn on JavaScript");
      await bare.close();
    });

    it("speaks English to those who ask for it, and remembers the choice", async () => {
      const event = await stage.openEvent(1, 10);
      const english = await stage.browser.newContext({ baseURL: stage.run.url, locale: "en-GB" });
      const own = await english.newPage();
      await own.goto(`/vwr/${event}`);
      await expectText(title(own), "You are in line");
      expect(await own.locator("html").getAttribute("lang")).toBe("en");
      await own.getByRole("button", { name: "한국어" }).click();
      await own.reload();
      await expectText(title(own), "접속 대기 중");
      await english.close();
    });

    it("shows no line for an event that never had one, and offers to go on", async () => {
      await page.goto("/vwr/never-opened");
      await expectText(title(page), "대기열이 없는 공연입니다");
      expect(await page.getByRole("button", { name: "지금 이동하기" }).isVisible()).toBe(true);
    });
  });

  describe("before the opening", () => {
    const openIn = async (seconds: number): Promise<string> => {
      const event = await stage.openEvent(100, 0);
      const opensAt = Math.floor(Date.now() / 1000) + seconds;
      await stage.run.open(event, { batchSize: 100, stripes: 1, lease: 1, opensAt, again: true });
      return event;
    };

    it("says when it opens and that numbers are drawn, and promises none", async () => {
      const event = await openIn(3_600);
      await page.goto(`/vwr/${event}`);
      await expectText(title(page), "예매 시작 전입니다");
      await expectText(page.locator("[data-part=opens]"), "예매 시작까지 약 1시간");
      await expectText(page.locator("[role=status]"), "예매 시작까지");
      expect(await position(page).isVisible()).toBe(false);
      expect(await violations(page)).toEqual([]);
      await page.locator("[data-part=language]").click();
      await expectText(title(page), "The sale has not opened yet");
      expect(await violations(page)).toEqual([]);
    });

    it("draws a number when the time has come, the same after a reload, and lets in", async () => {
      const event = await openIn(15);
      await Promise.all(Array.from({ length: 5 }, () => assign(stage.run, event)));
      await page.goto(`/events/${event}`);
      await page.getByRole("button", { name: "예매하기" }).click();
      await expectText(title(page), "예매 시작 전입니다");
      await page.waitForURL(`**/booking/${event}`, { timeout: 60_000 });
    });
  });

  describe("accessibility", () => {
    it.each(["ko", "en"])("has no violation of WCAG 2.2 AA while waiting (%s)", async (language) => {
      const event = await stage.openEvent(1, 40);
      await page.goto(`/vwr/${event}?lang=${language}`);
      await position(page).waitFor();
      expect(await violations(page)).toEqual([]);
      await page.locator("[data-part=leave]").click();
      expect(await violations(page)).toEqual([]);
      await page.locator("[data-part=leave-now]").click();
      await page.locator("[data-part=again]").waitFor();
      expect(await violations(page)).toEqual([]);
    });

    it("has no violation of WCAG 2.2 AA in the dialog of the event page", async () => {
      const event = await stage.openEvent(1, 40);
      await page.goto(`/events/${event}`);
      await page.getByRole("button", { name: "예매하기" }).click();
      await position(page).waitFor();
      expect(await violations(page)).toEqual([]);
    });

    it("announces the place to screen readers, and not at every poll", async () => {
      const event = await stage.openEvent(1, 40);
      await page.goto(`/vwr/${event}`);
      const live = page.locator("[role=status]");
      await expectText(live, "대기 순번 41번, 내 앞에");
      const polls: string[] = [];
      page.on("response", (response) => response.url().includes("/check/") && polls.push(response.url()));
      await page.evaluate(() => {
        const region = document.querySelector("[role=status]") as HTMLElement;
        (window as unknown as { spoken: number }).spoken = 0;
        new MutationObserver(() => {
          (window as unknown as { spoken: number }).spoken += 1;
        }).observe(region, { childList: true, characterData: true, subtree: true });
      });
      await expect.poll(() => polls.length, SOON).toBeGreaterThanOrEqual(2);
      expect(await page.evaluate(() => (window as unknown as { spoken: number }).spoken)).toBeLessThan(polls.length);
    });

    it("fits a narrow phone without scrolling sideways, at 200 % text size too", async () => {
      const event = await stage.openEvent(1, 40);
      await page.setViewportSize({ width: 320, height: 640 });
      await page.goto(`/vwr/${event}`);
      await position(page).waitFor();
      const overflow = () =>
        page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      expect(await overflow()).toBe(0);
      await page.evaluate(() => {
        document.documentElement.style.fontSize = "200%";
      });
      expect(await overflow()).toBe(0);
    });
  });

  it("answers 403 to whoever goes round the edge", async () => {
    const event = await stage.openEvent(1, 0);
    expect((await fetch(`${stage.run.apiUrl}/vwr/status/${event}`)).status).toBe(403);
    expect((await fetch(`${stage.run.loadBalancerUrl}/api/v1/seats/${event}`)).status).toBe(403);
  });
});

async function expectText(locator: ReturnType<Page["locator"]>, text: string): Promise<void> {
  await expect
    .poll(async () => (await locator.count()) > 0 && (await locator.first().textContent()), SOON)
    .toContain(text);
}

async function violations(of: Page): Promise<string[]> {
  await of.waitForTimeout(50);
  // Injected by the browser's own means: the page's policy would refuse a script element, as it should.
  return of.evaluate(`(async () => { ${AXE}
    const { violations } = await axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
    return violations.map(({ id, nodes }) => id + ": " + nodes.map(({ html }) => html).join(" "));
  })()`) as Promise<string[]>;
}

async function tabTo(of: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 12; presses += 1) {
    await of.keyboard.press("Tab");
    const reached = await of.evaluate(() => {
      const { activeElement } = document;
      return activeElement?.id || (activeElement as HTMLElement | null)?.dataset.part;
    });
    if (reached === name) {
      return;
    }
  }
  throw new Error(`${name} cannot be reached with the Tab key`);
}

async function savedPlace(of: Page, event: string): Promise<{ requestId: string }> {
  return JSON.parse((await of.evaluate((id) => localStorage.getItem(`urr-vwr:${id}`), event)) ?? "null");
}

async function setCookie(name: string, value: string): Promise<void> {
  await context.addCookies([{ name, value, url: stage.run.url }]);
}

function claims(eventId: string, admittedAt: number) {
  const requestId = "visitor-0123456789abcdef";
  return { eventId, generation: 1, subject: requestId, requestId, admittedAt };
}

/** The key with which the deployed functions sign now. */
function currentKey() {
  const name = Object.keys(stage.run.deployment.secrets).find((one) => one.endsWith("/vwr-token-secret")) ?? "";
  const version = stage.run.secrets.get(name, "AWSCURRENT");
  return signingKey(version?.id ?? "", (JSON.parse(version?.value ?? "{}") as { secret: string }).secret);
}
