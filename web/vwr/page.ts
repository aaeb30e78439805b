/// <reference lib="dom" />
import { admissionCookie, eventIdOf, goesInCircles, holdsCookie, targetOf } from "./admission";
import { type LineState, WaitingLine } from "./line";
import { type Language, languageOf } from "./text";
import { WaitingView } from "./view";

/*
 * The waiting page at /vwr/{eventId}: where the edge sends who has no token (Architecture guide §4.3).
 */

const LANGUAGE = "urr-vwr-language";

const local = storageOf(() => localStorage);
const session = storageOf(() => sessionStorage);
const eventId = eventIdOf(location.pathname);
const target = targetOf(location, eventId ?? "");

const line =
  eventId === undefined
    ? undefined
    : new WaitingLine({ eventId, storage: local, isOnline: () => navigator.onLine, onChange: show });
const view = new WaitingView(document.getElementById("card") as HTMLElement, preferredLanguage(), {
  onLeave: () => void line?.leave(),
  onAgain: () => line?.start(),
  onContinue: () => location.assign(target),
  onLanguage: (language) => attempt(() => local?.setItem(LANGUAGE, language)),
});

if (line === undefined) {
  view.render({ kind: "bad-address" });
} else {
  line.start();
  // Back from the browser's memory: timers may have been dropped, and the place may have come up meanwhile.
  addEventListener("pageshow", ({ persisted }) => persisted && line.start());
  addEventListener("online", () => line.wake());
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && line.wake());
}

function show(state: LineState): void {
  if (state.kind !== "admitted" || state.place.token === null) {
    view.render(state);
    return;
  }
  const { token, tokenExpiresIn } = state.place;
  // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is missing in browsers that visitors use.
  document.cookie = admissionCookie(token, tokenExpiresIn);
  if (!holdsCookie(document.cookie, token)) {
    view.render({ kind: "no-cookies" });
  } else if (goesInCircles(session, Date.now())) {
    view.render({ kind: "looping" });
  } else {
    view.render(state);
    // Replaced, so that Back leads to where the visitor came from and not into the line again.
    location.replace(target);
  }
}

function preferredLanguage(): Language {
  const asked = new URLSearchParams(location.search).get("lang") ?? attempt(() => local?.getItem(LANGUAGE));
  return asked === "ko" || asked === "en" ? asked : languageOf(navigator.languages);
}

/** Reading the property throws where the visitor forbids storage. */
function storageOf(get: () => Storage): Storage | undefined {
  return attempt(get);
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}
