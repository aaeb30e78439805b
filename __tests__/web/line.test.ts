import { beforeEach, describe, expect, it } from "vitest";
import { type LineOptions, type LineState, type Place, WaitingLine } from "../../web/vwr/line";

const PLACE: Place = {
  requestId: "",
  position: 2341,
  opensIn: null,
  ahead: 1841,
  estimatedWait: 37,
  nextPoll: 5,
  admitted: false,
  paused: false,
  token: null,
  tokenExpiresIn: null,
  ticket: "ticket-1",
};

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly ticket: string | null;
  readonly body: { requestId?: string; leave?: boolean } | undefined;
}

/** A browser whose time stands still until a timer is let run. */
class FakeBrowser {
  readonly states: LineState[] = [];
  readonly asked: Asked[] = [];
  readonly stored = new Map<string, string>();
  nowMs = 1_000_000;
  random = 0.5;
  online = true;
  timer: { callback: () => void; ms: number } | undefined;
  answers: (() => Response)[] = [];

  readonly storage = {
    getItem: (key: string) => this.stored.get(key) ?? null,
    setItem: (key: string, value: string) => void this.stored.set(key, value),
    removeItem: (key: string) => void this.stored.delete(key),
  };

  line(options: Partial<LineOptions> = {}): WaitingLine {
    return new WaitingLine({
      eventId: "evt-1",
      onChange: (state) => this.states.push(state),
      storage: this.storage,
      isOnline: () => this.online,
      random: () => this.random,
      now: () => this.nowMs,
      setTimer: (callback, ms) => {
        this.timer = { callback, ms };
        return this.timer;
      },
      clearTimer: () => {
        this.timer = undefined;
      },
      fetch: async (input, init) => {
        const headers = new Headers(init?.headers);
        const body = init?.body === undefined ? undefined : (JSON.parse(String(init.body)) as Asked["body"]);
        this.asked.push({
          method: init?.method ?? "GET",
          path: String(input),
          ticket: headers.get("x-vwr-ticket"),
          body,
        });
        const answer = this.answers.shift();
        if (answer === undefined) {
          throw new TypeError("Failed to fetch");
        }
        return answer();
      },
      ...options,
    });
  }

  /** Lets the next timer run, and what follows from it. */
  async tick(): Promise<number> {
    await settle();
    const { timer } = this;
    if (timer === undefined) {
      throw new Error("No timer is set: the line would never ask again");
    }
    this.nowMs += timer.ms;
    this.timer = undefined;
    timer.callback();
    await settle();
    return timer.ms;
  }

  get last(): LineState {
    return this.states.at(-1) as LineState;
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));
const ok =
  (place: Partial<Place> = {}) =>
  () =>
    Response.json({ ...PLACE, ...place });
const refused =
  (status: number, code: string, headers: Record<string, string> = {}) =>
  () =>
    Response.json({ code, message: "" }, { status, headers });

let browser: FakeBrowser;

beforeEach(() => {
  browser = new FakeBrowser();
});

describe("a place in line", () => {
  it("is asked for with a request id of the browser's own, then checked with its ticket alone", async () => {
    browser.answers = [ok(), ok({ ahead: 1341 })];
    browser.line().start();
    await browser.tick();
    const [first, second] = browser.asked;
    expect(first).toMatchObject({ method: "POST", path: "/vwr-api/vwr/assign/evt-1", ticket: null });
    expect(first?.body?.requestId).toMatch(/^[0-9a-f-]{36}$/);
    expect(second).toMatchObject({ method: "GET", ticket: "ticket-1", body: undefined });
    expect(second?.path).toBe("/vwr-api/vwr/check/evt-1/");
    expect(browser.last).toMatchObject({ kind: "waiting", place: { ahead: 1341 } });
  });

  it("is measured from where the visitor began", async () => {
    browser.answers = [ok({ ahead: 2000 }), ok({ ahead: 500 })];
    browser.line().start();
    await settle();
    expect(browser.last).toMatchObject({ progress: 0 });
    await browser.tick();
    expect(browser.last).toMatchObject({ progress: 0.75 });
  });

  it("survives a reload with the bar where it was, and costs no new place", async () => {
    browser.answers = [ok({ requestId: "request-0123456789", ahead: 2000 })];
    browser.line().start();
    await settle();
    browser.answers = [ok({ requestId: "request-0123456789", ahead: 1000 })];
    browser.line().start();
    await settle();
    expect(browser.asked[1]).toMatchObject({ method: "GET", path: "/vwr-api/vwr/check/evt-1/request-0123456789" });
    expect(browser.last).toMatchObject({ kind: "waiting", progress: 0.5 });
  });

  it("keeps its number when a part of the server answers that the lots are yet to be drawn", async () => {
    const early = { position: null, ahead: null, opensIn: 0, estimatedWait: null, nextPoll: 10 };
    browser.answers = [ok({ ...early, ticket: "early" }), ok(), ok({ ...early, ticket: "fresh" }), ok({ ahead: 1341 })];
    browser.line().start();
    await settle();
    expect(browser.last).toMatchObject({ kind: "early", opensIn: 0 });
    await browser.tick();
    expect(browser.last).toMatchObject({ kind: "waiting", place: { position: 2341 }, progress: 0 });
    await browser.tick();
    expect(browser.last).toMatchObject({ kind: "waiting", place: { position: 2341, ahead: 1841 }, progress: 0 });
    expect(await browser.tick()).toBe(5_000);
    expect(browser.asked.at(-1)?.ticket).toBe("fresh");
    expect(browser.last).toMatchObject({ kind: "waiting", place: { ahead: 1341 } });
  });

  it("drops its number when the event was opened anew and has yet to begin", async () => {
    const early = { position: null, ahead: null, opensIn: 3600, estimatedWait: null, nextPoll: 15 };
    browser.answers = [ok(), ok({ ...early, ticket: "anew" }), ok({ ...early, ticket: "anew" })];
    browser.line().start();
    await settle();
    await browser.tick();
    expect(browser.last).toMatchObject({ kind: "early", opensIn: 3600 });
    expect(await browser.tick()).toBe(15_000);
  });

  it("is polled when the server says, spread by 15 % to either side", async () => {
    const delays: number[] = [];
    for (const random of [0, 0.5, 0.999]) {
      browser = new FakeBrowser();
      browser.random = random;
      browser.answers = [ok({ nextPoll: 10 }), ok()];
      browser.line().start();
      delays.push(await browser.tick());
    }
    expect(delays).toEqual([8500, 10_000, 11_497]);
  });

  it("ends with the admission, and asks no more", async () => {
    browser.answers = [ok({ admitted: true, token: "t", tokenExpiresIn: 600, ticket: null })];
    browser.line().start();
    await settle();
    expect(browser.last).toMatchObject({ kind: "admitted", place: { token: "t" } });
    expect(browser.timer).toBeUndefined();
  });

  it("is given up at the server and in the browser when the visitor leaves", async () => {
    browser.answers = [ok({ requestId: "request-0123456789" }), () => Response.json({ left: true })];
    const line = browser.line();
    line.start();
    await settle();
    await line.leave();
    expect(browser.asked[1]).toMatchObject({
      method: "POST",
      ticket: "ticket-1",
      body: { requestId: "request-0123456789", leave: true },
    });
    expect(browser.last).toEqual({ kind: "left" });
    expect(browser.stored.size).toBe(0);
    expect(browser.timer).toBeUndefined();
  });

  it("is given up in the browser also where the server cannot be told", async () => {
    browser.answers = [ok()];
    const line = browser.line();
    line.start();
    await settle();
    await line.leave();
    expect(browser.last).toEqual({ kind: "left" });
    expect(browser.stored.size).toBe(0);
  });

  it("lives without storage", async () => {
    const denied = () => {
      throw new DOMException("denied", "SecurityError");
    };
    browser.answers = [ok(), ok({ ahead: 3 })];
    browser.line({ storage: { getItem: denied, setItem: denied, removeItem: denied } }).start();
    await browser.tick();
    expect(browser.asked[1]).toMatchObject({ ticket: "ticket-1" });
    expect(browser.last).toMatchObject({ kind: "waiting", place: { ahead: 3 } });
  });

  it.each([
    '{"requestId":"x"}',
    "null",
    "{",
    '{"requestId":"request-0123456789","ticket":null,"savedAt":1}',
  ])("starts anew where what was stored is unusable or a day old: %s", async (text) => {
    browser.nowMs = 100_000_000;
    browser.stored.set("urr-vwr:evt-1", text);
    browser.answers = [ok()];
    browser.line().start();
    await settle();
    expect(browser.asked[0]?.body?.requestId).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe("when something goes wrong", () => {
  it("tries again after 429 on the first click, no sooner than told and not with everybody else", async () => {
    browser.random = 1;
    browser.answers = [refused(429, "too_many_requests", { "retry-after": "4" }), ok()];
    browser.line().start();
    await settle();
    expect(browser.last).toEqual({ kind: "delayed", trouble: "busy" });
    expect(await browser.tick()).toBe(6000);
    expect(browser.last).toMatchObject({ kind: "waiting" });
    expect(browser.asked[1]?.body?.requestId).toBe(browser.asked[0]?.body?.requestId);
  });

  it("keeps showing the place while the API answers 503", async () => {
    browser.answers = [ok(), refused(503, "UNAVAILABLE", { "retry-after": "2" }), ok()];
    browser.line().start();
    await browser.tick();
    expect(browser.last).toMatchObject({ kind: "waiting", place: { position: 2341 }, trouble: "busy" });
    await browser.tick();
    expect(browser.last).not.toHaveProperty("trouble");
  });

  it("waits longer and longer, up to 30 s and a spread, where nothing says how long", async () => {
    browser.answers = Array.from({ length: 8 }, () => () => new Response("<html>", { status: 502 }));
    browser.line().start();
    const delays: number[] = [];
    for (let attempt = 0; attempt < 7; attempt += 1) {
      delays.push(await browser.tick());
    }
    expect(delays).toEqual([2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  });

  it("takes a blocked address (403 in HTML) for load, not for the end", async () => {
    browser.answers = [() => new Response("<html>Request blocked</html>", { status: 403 }), ok()];
    browser.line().start();
    await browser.tick();
    expect(browser.last).toMatchObject({ kind: "waiting" });
  });

  it.each([
    [false, "offline"],
    [true, "unreachable"],
  ])("tells offline (%s) from out of reach", async (online, trouble) => {
    browser.answers = [ok()];
    const line = browser.line();
    line.start();
    await settle();
    browser.online = online as boolean;
    await browser.tick();
    expect(browser.last).toMatchObject({ kind: "waiting", trouble });
  });

  it("asks within a second once the network is back, though the next attempt was far away", async () => {
    browser.answers = [ok()];
    const line = browser.line();
    line.start();
    await browser.tick();
    await browser.tick();
    browser.answers = [ok()];
    line.wake();
    expect(await browser.tick()).toBeLessThanOrEqual(1000);
    expect(browser.last).not.toHaveProperty("trouble");
  });

  it("asks at once after a sleep in which the poll was missed, but not before it is due", async () => {
    browser.answers = [ok({ nextPoll: 15 }), ok()];
    const line = browser.line();
    line.start();
    await settle();
    line.wake();
    expect(browser.timer?.ms).toBe(15_000);
    browser.nowMs += 3_600_000;
    line.wake();
    expect(browser.timer?.ms).toBeLessThanOrEqual(1000);
  });

  it("takes a new number, and says why, where the old one is void", async () => {
    browser.answers = [ok(), refused(410, "TICKET_VOID"), ok({ position: 7, ahead: 7 })];
    browser.line().start();
    await browser.tick();
    await browser.tick();
    expect(browser.last).toMatchObject({ kind: "waiting", place: { position: 7 }, progress: 0, notice: "renewed" });
    expect(browser.asked[2]).toMatchObject({ method: "POST", ticket: null });
    expect(browser.asked[2]?.body?.requestId).not.toBe(browser.asked[0]?.body?.requestId);
  });

  it("asks for a new ticket with the same request id where only the ticket is refused", async () => {
    browser.answers = [ok({ requestId: "request-0123456789" }), refused(401, "TICKET_INVALID"), ok()];
    browser.line().start();
    await browser.tick();
    await browser.tick();
    expect(browser.asked[2]).toMatchObject({ method: "POST", ticket: null, body: { requestId: "request-0123456789" } });
    expect(browser.last).not.toHaveProperty("notice");
  });

  it("does not take one number after the other from a server that voids them all", async () => {
    browser.answers = Array.from({ length: 5 }, () => refused(410, "PLACE_GONE"));
    browser.line().start();
    for (let attempt = 0; attempt < 3; attempt += 1) {
      expect(await browser.tick()).toBeLessThan(1300);
    }
    await settle();
    expect(browser.timer?.ms).toBeGreaterThanOrEqual(2000);
    expect(browser.last).toEqual({ kind: "delayed", trouble: "busy" });
  });

  it("stops where there is no line for the event", async () => {
    browser.answers = [refused(404, "EVENT_UNKNOWN")];
    browser.line().start();
    await settle();
    expect(browser.last).toEqual({ kind: "stopped", reason: "unknown-event" });
    expect(browser.timer).toBeUndefined();
  });

  it("ignores an answer that arrives after the visitor has left", async () => {
    let release: (answer: Response) => void = () => undefined;
    const slow = new Promise<Response>((resolve) => {
      release = resolve;
    });
    const line = browser.line({ fetch: () => slow });
    line.start();
    const left = line.leave();
    release(Response.json({ ...PLACE, admitted: true, token: "t" }));
    await left;
    await settle();
    expect(browser.last).toEqual({ kind: "left" });
  });
});
