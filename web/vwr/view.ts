/// <reference lib="dom" />
import type { LineState, Trouble } from "./line";
import { type Language, TEXTS, type Texts } from "./text";

/** What the page shows besides the states of the line. */
export type ViewState =
  | LineState
  | { readonly kind: "no-cookies" }
  | { readonly kind: "looping" }
  | { readonly kind: "bad-address" };

/** What a visitor can do. */
export interface ViewActions {
  readonly onLeave: () => void;
  readonly onAgain: () => void;
  readonly onContinue: () => void;
  readonly onLanguage: (language: Language) => void;
}

/** Milliseconds between two announcements of the place: a screen reader that never stops talking helps nobody. */
const ANNOUNCE_EVERY_MS = 30_000;

const MARKUP = `
<div class="bar-top"><span class="pill" data-part="pill" aria-hidden="true"></span><button type="button" class="quiet" data-part="language"></button></div>
<h1 data-part="title" id="vwr-title" tabindex="-1"></h1>
<p class="lead" data-part="lead"></p>
<div data-part="place" class="place">
  <p class="label" data-part="position-label"></p>
  <p class="position" data-part="position"></p>
  <div class="track" data-part="track" role="progressbar" aria-valuemin="0" aria-valuemax="100"><div class="fill" data-part="fill"></div></div>
  <div class="figures"><p data-part="ahead"></p><p><span data-part="wait-label"></span> <strong data-part="wait"></strong></p></div>
</div>
<p class="opens" data-part="opens"><span data-part="opens-label"></span> <strong data-part="opens-in"></strong></p>
<div data-part="spinner" class="spinner" aria-hidden="true"></div>
<p class="note" data-part="note" hidden></p>
<p class="hint" data-part="hint"></p>
<div class="actions">
  <button type="button" class="primary" data-part="again"></button>
  <button type="button" class="primary" data-part="continue"></button>
  <a class="secondary" data-part="home" href="/"></a>
  <button type="button" class="secondary" data-part="leave"></button>
</div>
<dialog class="confirm" data-part="confirm" aria-labelledby="vwr-leave-title" aria-describedby="vwr-leave-lead">
  <h2 id="vwr-leave-title" data-part="leave-title"></h2>
  <p id="vwr-leave-lead" data-part="leave-lead"></p>
  <div class="actions"><button type="button" class="primary" data-part="stay"></button><button type="button" class="secondary" data-part="leave-now"></button></div>
</dialog>
<p class="visually-hidden" role="status" aria-live="polite" data-part="live"></p>
`;

/** The waiting screen of Architecture guide §4.0, on a page of its own or in a dialog. */
export class WaitingView {
  private readonly parts = new Map<string, HTMLElement>();
  private state: ViewState = { kind: "joining" };
  private announcedAt = Number.NEGATIVE_INFINITY;
  private announcedKind = "";

  constructor(
    root: HTMLElement,
    private language: Language,
    actions: ViewActions,
  ) {
    root.innerHTML = MARKUP;
    for (const element of root.querySelectorAll<HTMLElement>("[data-part]")) {
      this.parts.set(element.dataset.part ?? "", element);
    }
    const confirm = this.part("confirm") as HTMLDialogElement;
    this.on("leave", () => confirm.showModal());
    this.on("stay", () => confirm.close());
    this.on("leave-now", () => {
      confirm.close();
      actions.onLeave();
    });
    this.on("again", actions.onAgain);
    this.on("continue", actions.onContinue);
    this.on("language", () => {
      this.language = this.language === "ko" ? "en" : "ko";
      this.announcedKind = "";
      actions.onLanguage(this.language);
      this.render(this.state);
    });
    this.render(this.state);
  }

  render(state: ViewState): void {
    const texts = TEXTS[this.language];
    const before = this.state;
    this.state = state;
    document.documentElement.lang = this.language;
    this.text("language", texts.otherLanguage);
    this.part("language").lang = this.language === "ko" ? "en" : "ko";
    const { title, lead } = headline(state, texts);
    this.text("title", title);
    this.text("lead", lead);
    this.text("note", noteOf(state, texts) ?? "");
    this.show("note", noteOf(state, texts) !== undefined);
    this.part("pill").dataset.tone = toneOf(state);
    this.renderPlace(state, texts);
    this.renderActions(state, texts);
    document.title = state.kind === "waiting" ? `${texts.position(state.place.position)} · ${title}` : title;
    this.announce(state, texts, title, lead);
    if (before.kind !== state.kind && isEnd(state)) {
      // What had the focus is gone; the headline says what happened instead.
      const confirm = this.part("confirm") as HTMLDialogElement;
      if (confirm.open) {
        confirm.close();
      }
      this.part("title").focus();
    }
  }

  private renderPlace(state: ViewState, texts: Texts): void {
    const waiting = state.kind === "waiting";
    this.show("place", waiting);
    const drawing = state.kind === "early" && state.opensIn === 0;
    this.show("spinner", drawing || ["joining", "delayed", "admitted"].includes(state.kind));
    this.show("opens", state.kind === "early");
    if (state.kind === "early") {
      this.text("opens-label", drawing ? "" : texts.opensLabel);
      this.text("opens-in", opening(state.opensIn, texts));
    }
    if (!waiting) {
      return;
    }
    const { place, progress } = state;
    const percent = Math.round(progress * 100);
    this.text("position-label", texts.positionLabel);
    this.text("position", texts.position(place.position));
    this.text("ahead", place.ahead > 0 ? texts.ahead(place.ahead) : texts.nextUp);
    this.text("wait-label", texts.waitLabel);
    this.text("wait", place.estimatedWait === null ? texts.waitUnknown : texts.wait(place.estimatedWait));
    const track = this.part("track");
    track.setAttribute("aria-label", texts.progress);
    track.setAttribute("aria-valuenow", String(percent));
    track.setAttribute("aria-valuetext", `${percent}%, ${texts.ahead(place.ahead)}`);
    this.part("fill").style.transform = `scaleX(${Math.max(0.02, progress)})`;
  }

  private renderActions(state: ViewState, texts: Texts): void {
    const inLine = !isEnd(state);
    this.text("hint", inLine ? `${texts.keepOpen}\n${texts.automatic}` : "");
    this.show("hint", inLine);
    this.action("leave", texts.leave, inLine);
    this.action("again", texts.again, state.kind === "left" || state.kind === "no-cookies");
    const mayGoOn = state.kind === "looping" || (state.kind === "stopped" && state.reason === "unknown-event");
    this.action("continue", texts.continueNow, mayGoOn);
    this.action("home", texts.home, !inLine && state.kind !== "admitted");
    this.text("leave-title", texts.leaveTitle);
    this.text("leave-lead", texts.leaveLead);
    this.text("stay", texts.stay);
    this.text("leave-now", texts.leave);
  }

  /** Says at once what is new, and the place now and then. */
  private announce(state: ViewState, texts: Texts, title: string, lead: string): void {
    const note = noteOf(state, texts);
    const kind = `${state.kind} ${note ?? ""}`;
    const now = Date.now();
    if (kind === this.announcedKind && now - this.announcedAt < ANNOUNCE_EVERY_MS) {
      return;
    }
    const headline = `${title}. ${lead}`;
    const place =
      state.kind === "waiting"
        ? texts.announce(state.place.position, state.place.ahead, state.place.estimatedWait)
        : state.kind === "early"
          ? `${headline} ${state.opensIn > 0 ? `${texts.opensLabel} ` : ""}${opening(state.opensIn, texts)}.`
          : headline;
    this.text("live", note === undefined ? place : `${note} ${place}`);
    this.announcedKind = kind;
    this.announcedAt = now;
  }

  private action(part: string, text: string, shown: boolean): void {
    this.text(part, text);
    this.show(part, shown);
  }

  private part(name: string): HTMLElement {
    const element = this.parts.get(name);
    if (element === undefined) {
      throw new Error(`The waiting screen has no part ${name}`);
    }
    return element;
  }

  private text(name: string, text: string): void {
    const element = this.part(name);
    // Writing the same text again would make some screen readers say it again.
    if (element.textContent !== text) {
      element.textContent = text;
    }
  }

  private show(name: string, shown: boolean): void {
    this.part(name).hidden = !shown;
  }

  private on(name: string, action: () => void): void {
    this.part(name).addEventListener("click", action);
  }
}

function isEnd(state: ViewState): boolean {
  return !["joining", "early", "waiting", "delayed"].includes(state.kind);
}

function opening(opensIn: number, texts: Texts): string {
  return opensIn > 0 ? texts.opensIn(opensIn) : texts.drawing;
}

function headline(state: ViewState, texts: Texts): { title: string; lead: string } {
  switch (state.kind) {
    case "joining":
    case "delayed":
      return { title: texts.joining, lead: texts.joiningLead };
    case "early":
      return { title: texts.early, lead: texts.earlyLead };
    case "waiting":
      return { title: texts.title, lead: texts.lead };
    case "admitted":
      return { title: texts.admitted, lead: texts.admittedLead };
    case "left":
      return { title: texts.left, lead: texts.leftLead };
    case "no-cookies":
      return { title: texts.cookies, lead: texts.cookiesLead };
    case "looping":
      return { title: texts.looping, lead: texts.loopingLead };
    case "bad-address":
      return { title: texts.badAddress, lead: texts.badAddressLead };
    case "stopped":
      return state.reason === "unknown-event"
        ? { title: texts.unknownEvent, lead: texts.unknownEventLead }
        : { title: texts.badAddress, lead: texts.badAddressLead };
  }
}

function noteOf(state: ViewState, texts: Texts): string | undefined {
  if (state.kind === "delayed") {
    return state.trouble === "busy" ? texts.busyFirst : troubleText(state.trouble, texts);
  }
  if (state.kind !== "waiting" && state.kind !== "early") {
    return undefined;
  }
  if (state.trouble !== undefined) {
    return troubleText(state.trouble, texts);
  }
  if (state.kind === "waiting" && (state.place.paused || state.place.estimatedWait === null)) {
    return texts.paused;
  }
  return state.notice === undefined ? undefined : texts[state.notice];
}

function troubleText(trouble: Trouble, texts: Texts): string {
  return texts[trouble];
}

function toneOf(state: ViewState): string {
  if (state.kind === "delayed" || (state.kind === "waiting" && (state.trouble !== undefined || state.place.paused))) {
    return "held";
  }
  return state.kind === "admitted" ? "in" : isEnd(state) ? "ended" : "moving";
}
