/// <reference lib="dom" />
import { admissionCookie } from "../../../web/vwr/admission";
import { type LineState, WaitingLine } from "../../../web/vwr/line";
import { languageOf } from "../../../web/vwr/text";
import { WaitingView } from "../../../web/vwr/view";

/*
 * The event page's "book" button: asks whether there is a line, and if so waits in a dialog over the page (Architecture guide
 * §4.0, §4.1). The line and the screen are those of the waiting page.
 */

const button = document.getElementById("book") as HTMLButtonElement;
const dialog = document.getElementById("modal") as HTMLDialogElement;
const eventId = button.dataset.event ?? "";
const onwards = `/queue/${encodeURIComponent(eventId)}`;
let line: WaitingLine | undefined;

button.addEventListener("click", async () => {
  button.disabled = true;
  const open = await isOpenToAll();
  button.disabled = false;
  if (open) {
    location.assign(onwards);
    return;
  }
  const view = new WaitingView(dialog, languageOf(navigator.languages), {
    onLeave: () => void line?.leave(),
    onAgain: () => line?.start(),
    onContinue: () => location.assign(onwards),
    onLanguage: () => undefined,
  });
  const show = (state: LineState) => {
    if (state.kind === "left") {
      dialog.close();
      button.focus();
      return;
    }
    if (state.kind === "admitted" && state.place.token !== null) {
      // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is missing in browsers that visitors use.
      document.cookie = admissionCookie(state.place.token, state.place.tokenExpiresIn);
      view.render(state);
      location.assign(onwards);
      return;
    }
    view.render(state);
  };
  line = new WaitingLine({ eventId, storage: localStorage, isOnline: () => navigator.onLine, onChange: show });
  dialog.showModal();
  line.start();
});

// Escape would close the dialog while the place goes on being kept; leaving has a button of its own.
dialog.addEventListener("cancel", (event) => event.preventDefault());
addEventListener("online", () => line?.wake());
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && line?.wake());

/** Anything but a clear answer opens the dialog, which goes on asking. */
async function isOpenToAll(): Promise<boolean> {
  try {
    const answer = await fetch(`/vwr-api/vwr/status/${encodeURIComponent(eventId)}`, { cache: "no-store" });
    return answer.ok && ((await answer.json()) as { isActive: boolean }).isActive === false;
  } catch {
    return false;
  }
}
