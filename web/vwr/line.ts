/*
 * A visitor's place in line as the browser keeps it: asks for it, polls, survives what goes wrong in between. Knows no
 * document, so that the page and the modal of the site share it.
 */

/** What assign and check answer, as far as the browser uses it. */
export interface Place {
  readonly requestId: string;
  /** Null until the event opens and lots are drawn. */
  readonly position: number | null;
  readonly ahead: number | null;
  /** Seconds until the opening, 0 while lots are drawn; null once there is a position. */
  readonly opensIn: number | null;
  /** Seconds; null while the line stands still. */
  readonly estimatedWait: number | null;
  /** Seconds. */
  readonly nextPoll: number;
  readonly admitted: boolean;
  readonly paused: boolean;
  readonly token: string | null;
  readonly tokenExpiresIn: number | null;
  readonly ticket: string | null;
}

/** A place with its number. */
export type NumberedPlace = Place & { readonly position: number; readonly ahead: number };

/** Why the visitor got a new number without asking for one. */
export type Notice = "renewed" | "expired";
export type Trouble = "busy" | "offline" | "unreachable";
export type Stop = "unknown-event" | "bad-address";

/** Where the visitor stands. */
export type LineState =
  | { readonly kind: "joining" }
  | {
      /** Came before the opening; the number will be drawn. */
      readonly kind: "early";
      readonly opensIn: number;
      readonly trouble?: Trouble;
      readonly notice?: Notice;
    }
  | {
      readonly kind: "waiting";
      readonly place: NumberedPlace;
      /** 0 at the moment of joining, 1 at the front. */
      readonly progress: number;
      readonly trouble?: Trouble;
      readonly notice?: Notice;
    }
  /** No place yet. */
  | { readonly kind: "delayed"; readonly trouble: Trouble }
  | { readonly kind: "admitted"; readonly place: Place }
  | { readonly kind: "left" }
  | { readonly kind: "stopped"; readonly reason: Stop };

/** What outlives a reload. */
interface Saved {
  readonly requestId: string;
  readonly ticket: string | null;
  readonly position?: number;
  /** People ahead when the visitor joined: what the bar measures against. */
  readonly firstAhead?: number;
  /** Milliseconds since 1970. */
  readonly savedAt: number;
}

/** The browser, as far as the line needs it. */
export interface LineOptions {
  readonly eventId: string;
  /** Where the API's routes begin. @default /vwr-api/vwr */
  readonly api?: string;
  readonly onChange: (state: LineState) => void;
  readonly fetch?: typeof fetch;
  /** Kept across tabs and reloads; undefined where the browser forbids it. */
  readonly storage?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | undefined;
  readonly isOnline?: () => boolean;
  readonly random?: () => number;
  readonly now?: () => number;
  readonly setTimer?: (callback: () => void, ms: number) => unknown;
  readonly clearTimer?: (timer: never) => void;
}

/** Rows of the waiting room live for a day. */
const SAVED_FOR_MS = 86_400_000;
const REQUEST_TIMEOUT_MS = 12_000;
const MAX_BACKOFF_SECONDS = 30;
/** New numbers that one visit takes by itself, before it waits like everybody whom the server turns away. */
const MAX_RENEWALS = 3;

const NEW_NUMBER: Readonly<Record<string, Notice>> = {
  TICKET_VOID: "renewed",
  PLACE_GONE: "renewed",
  PLACE_LEFT: "renewed",
  IDENTITY_MISMATCH: "renewed",
  ADMISSION_EXPIRED: "expired",
};
/** The place is good, only its proof is not: asking with the same request id gives the same place again. */
const NEW_TICKET: ReadonlySet<string> = new Set(["TICKET_INVALID", "TICKET_MISMATCH", "REQUEST_UNKNOWN"]);
const STOPS: Readonly<Record<string, Stop>> = { EVENT_UNKNOWN: "unknown-event", EVENT_ID_INVALID: "bad-address" };

export class WaitingLine {
  private saved: Saved;
  private place: Place | undefined;
  private notice: Notice | undefined;
  private timer: unknown;
  private dueAt = 0;
  private failures = 0;
  private renewals = 0;
  /** Answers to what an earlier epoch asked are ignored. */
  private epoch = 0;
  private asking = false;
  private done = true;

  constructor(private readonly options: LineOptions) {
    this.saved = this.load() ?? this.fresh();
  }

  /** Takes a place, or finds the one that this browser already has. */
  start(): void {
    this.epoch += 1;
    this.done = false;
    this.asking = false;
    this.failures = 0;
    this.renewals = 0;
    this.place = undefined;
    this.notice = undefined;
    this.saved = this.load() ?? this.fresh();
    this.options.onChange({ kind: "joining" });
    void this.ask();
  }

  /** Stops asking; the place stays. */
  stop(): void {
    this.epoch += 1;
    this.done = true;
    this.cancel();
  }

  /** The device woke up or is online again: asks now if that was due, spread so that a network's return is no rush. */
  wake(): void {
    if (this.done || this.asking) {
      return;
    }
    const overdue = this.now() >= this.dueAt;
    if (overdue || this.failures > 0) {
      this.failures = Math.min(this.failures, 1);
      this.schedule(0.1 + this.random() * 0.9);
    }
  }

  /** Gives the place up. The visitor is out even if the server cannot be told: the place lapses by itself. */
  async leave(): Promise<void> {
    this.stop();
    const { requestId, ticket } = this.saved;
    this.forget();
    this.options.onChange({ kind: "left" });
    try {
      await this.request("POST", `assign/${this.eventPath()}`, ticket, { requestId, leave: true });
    } catch {
      // Offline.
    }
  }

  private async ask(): Promise<void> {
    if (this.asking || this.done) {
      return;
    }
    this.cancel();
    const { epoch } = this;
    this.asking = true;
    try {
      const answer = await this.send();
      const body = (await answer.json().catch(() => undefined)) as (Place & { code?: string }) | undefined;
      if (epoch === this.epoch) {
        this.asking = false;
        this.take(answer, body);
      }
    } catch {
      if (epoch === this.epoch) {
        this.asking = false;
        this.fail((this.options.isOnline?.() ?? true) ? "unreachable" : "offline", undefined);
      }
    }
  }

  private send(): Promise<Response> {
    const { requestId, ticket } = this.saved;
    return ticket === null
      ? this.request("POST", `assign/${this.eventPath()}`, null, { requestId })
      : this.request("GET", `check/${this.eventPath()}/${requestId}`, ticket, undefined);
  }

  private take(answer: Response, body: (Place & { code?: string }) | undefined): void {
    const code = body?.code ?? "";
    const stop = STOPS[code];
    if (answer.ok && body !== undefined && (isNumbered(body) || typeof body.opensIn === "number")) {
      this.accept(body);
    } else if (stop !== undefined) {
      this.stop();
      this.options.onChange({ kind: "stopped", reason: stop });
    } else if (NEW_TICKET.has(code) && this.saved.ticket !== null) {
      this.store({ ...this.saved, ticket: null });
      this.schedule(0.2 + this.random());
    } else if ((code in NEW_NUMBER || NEW_TICKET.has(code)) && this.renewals < MAX_RENEWALS) {
      this.renewals += 1;
      this.notice = NEW_NUMBER[code] ?? "renewed";
      this.place = undefined;
      this.store(this.fresh());
      this.schedule(0.2 + this.random());
    } else {
      this.fail("busy", Number(answer.headers.get("retry-after") ?? Number.NaN));
    }
  }

  private accept(answer: Place): void {
    const place = this.withNumber(answer);
    this.failures = 0;
    this.place = place;
    const { requestId, ticket } = place;
    const saved = { requestId, ticket, savedAt: this.now() };
    if (isNumbered(place)) {
      const { ahead, position } = place;
      const samePlace = this.saved.position === position;
      const firstAhead = samePlace ? Math.max(this.saved.firstAhead ?? 0, ahead) : ahead;
      this.store({ ...saved, position, firstAhead });
    } else {
      this.store(saved);
    }
    if (place.admitted && place.token !== null) {
      this.stop();
      this.options.onChange({ kind: "admitted", place });
      return;
    }
    this.publish(undefined);
    // Half of the spread before, half after: the server's figure is what it can bear on average.
    this.schedule(place.nextPoll * (0.85 + this.random() * 0.3));
  }

  /**
   * A number once told stays: part of the server may not have heard of the draw yet, for a second or so. Before the opening there is
   * no number to keep: the event was opened anew.
   */
  private withNumber(answer: Place): Place {
    const known = this.place;
    const forgotten = known !== undefined && isNumbered(known) && !isNumbered(answer) && !(answer.opensIn ?? 0);
    return forgotten && known.requestId === answer.requestId ? { ...known, ticket: answer.ticket } : answer;
  }

  /** Turned away or not reached: the place stays, the next attempt comes later and at no time that others share. */
  private fail(trouble: Trouble, retryAfter: number | undefined): void {
    this.failures += 1;
    this.publish(trouble);
    const told = retryAfter !== undefined && Number.isFinite(retryAfter) ? Math.min(300, Math.max(1, retryAfter)) : 0;
    const backoff = Math.min(MAX_BACKOFF_SECONDS, 2 ** this.failures);
    this.schedule(told > 0 ? told * (1 + this.random() * 0.5) : backoff * (0.5 + this.random()));
  }

  private publish(trouble: Trouble | undefined): void {
    const place = this.place;
    const notice = this.notice;
    if (place === undefined) {
      this.options.onChange(trouble === undefined ? { kind: "joining" } : { kind: "delayed", trouble });
      return;
    }
    const more = { ...(trouble === undefined ? {} : { trouble }), ...(notice === undefined ? {} : { notice }) };
    if (!isNumbered(place)) {
      this.options.onChange({ kind: "early", opensIn: place.opensIn ?? 0, ...more });
      return;
    }
    const first = Math.max(this.saved.firstAhead ?? 0, place.ahead, 1);
    const progress = Math.min(1, Math.max(0, 1 - place.ahead / first));
    this.options.onChange({ kind: "waiting", place, progress, ...more });
  }

  private schedule(seconds: number): void {
    this.cancel();
    const ms = Math.round(seconds * 1000);
    this.dueAt = this.now() + ms;
    const setTimer = this.options.setTimer ?? setTimeout;
    this.timer = setTimer(() => void this.ask(), ms);
  }

  private cancel(): void {
    if (this.timer !== undefined) {
      const clearTimer = this.options.clearTimer ?? clearTimeout;
      clearTimer(this.timer as never);
      this.timer = undefined;
    }
  }

  private request(method: string, path: string, ticket: string | null, body: unknown): Promise<Response> {
    const ask = this.options.fetch ?? fetch;
    return ask(`${this.options.api ?? "/vwr-api/vwr"}/${path}`, {
      method,
      cache: "no-store",
      credentials: "same-origin",
      headers: {
        accept: "application/json",
        ...(ticket === null ? {} : { "x-vwr-ticket": ticket }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
  }

  private eventPath(): string {
    return encodeURIComponent(this.options.eventId);
  }

  private fresh(): Saved {
    return { requestId: crypto.randomUUID(), ticket: null, savedAt: this.now() };
  }

  private key(): string {
    return `urr-vwr:${this.options.eventId}`;
  }

  private load(): Saved | undefined {
    try {
      const saved = JSON.parse(this.options.storage?.getItem(this.key()) ?? "null") as Partial<Saved> | null;
      const sound =
        saved !== null &&
        typeof saved.requestId === "string" &&
        /^[A-Za-z0-9_-]{16,64}$/.test(saved.requestId) &&
        (saved.ticket === null || typeof saved.ticket === "string") &&
        typeof saved.savedAt === "number" &&
        this.now() - saved.savedAt < SAVED_FOR_MS;
      return sound ? (saved as Saved) : undefined;
    } catch {
      return undefined;
    }
  }

  private store(saved: Saved): void {
    this.saved = saved;
    try {
      this.options.storage?.setItem(this.key(), JSON.stringify(saved));
    } catch {
      // Private mode or full: the place then lives as long as the page.
    }
  }

  private forget(): void {
    this.saved = this.fresh();
    try {
      this.options.storage?.removeItem(this.key());
    } catch {
      // As above.
    }
  }

  private now(): number {
    return (this.options.now ?? Date.now)();
  }

  private random(): number {
    return (this.options.random ?? Math.random)();
  }
}

function isNumbered(place: Place): place is NumberedPlace {
  return typeof place.position === "number" && typeof place.ahead === "number";
}
