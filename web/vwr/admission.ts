/*
 * What happens to a visitor who was let in: the cookie that the edge asks for, and the way back to where they were heading.
 */

/** Life of the cookie, seconds. Architecture guide §4.4. */
export const COOKIE_MAX_AGE_SECONDS = 600;
const COOKIE = "urr-vwr-token";

/** The cookie never outlives the token in it. */
export function admissionCookie(token: string, expiresInSeconds: number | null): string {
  const maxAge = Math.max(0, Math.min(COOKIE_MAX_AGE_SECONDS, expiresInSeconds ?? COOKIE_MAX_AGE_SECONDS));
  return `${COOKIE}=${token}; Path=/; Max-Age=${maxAge}; SameSite=Lax; Secure`;
}

/** Whether the browser took the cookie. */
export function holdsCookie(cookies: string, token: string): boolean {
  return cookies.split(/;\s*/).includes(`${COOKIE}=${token}`);
}

/** The event that the page's address names: `/vwr/evt-1`. */
export function eventIdOf(path: string): string | undefined {
  const segment = /^\/vwr\/([^/]+)\/?$/.exec(path)?.[1];
  try {
    const id = segment === undefined ? "" : decodeURIComponent(segment);
    return /^[A-Za-z0-9_-]{1,64}$/.test(id) ? id : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Where to go once let in: `returnTo` if it stays on this site and does not lead back here, else the next queue
 * (Architecture guide §4.1).
 */
export function targetOf(location: { readonly origin: string; readonly search: string }, eventId: string): string {
  const fallback = `/queue/${encodeURIComponent(eventId)}`;
  const given = new URLSearchParams(location.search).get("returnTo");
  if (given === null || !given.startsWith("/")) {
    return fallback;
  }
  try {
    const url = new URL(given, location.origin);
    // Dots may be taken off before two slashes, and a path that begins with two names another host.
    const stays = url.origin === location.origin && !/^\/(?:\/|vwr(?:-api)?(?:\/|$))/i.test(url.pathname);
    return stays ? `${url.pathname}${url.search}${url.hash}` : fallback;
  } catch {
    return fallback;
  }
}

const RETURNS = "urr-vwr-returns";
const RETURN_WINDOW_MS = 60_000;
const MAX_RETURNS = 3;

/** Whether this tab was let in and sent back here so often that going once more would only go round in a circle. */
export function goesInCircles(storage: Pick<Storage, "getItem" | "setItem"> | undefined, nowMs: number): boolean {
  try {
    const recent = (JSON.parse(storage?.getItem(RETURNS) ?? "[]") as number[]).filter(
      (at) => nowMs - at < RETURN_WINDOW_MS,
    );
    storage?.setItem(RETURNS, JSON.stringify([...recent, nowMs]));
    return recent.length >= MAX_RETURNS;
  } catch {
    return false;
  }
}
