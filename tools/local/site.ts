import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import { SignJWT } from "jose";
import type { SecretStore } from "./aws";
import { type HttpAnswer, type HttpHandler, json } from "./http";

export interface SiteOptions {
  /** The load balancer forwards only what carries this header. */
  readonly header: string;
  readonly value: string;
  readonly secrets: SecretStore;
  /** Name of queue-service's secret. */
  readonly entryTokenSecret: string;
  /** Events that the start page lists. */
  readonly events: readonly string[];
}

const ENTRY_TOKEN_SECONDS = 600;

/**
 * What stands behind the load balancer, as far as a visitor to the waiting room meets it: the site's pages, queue-service, which
 * mints tier-2 tokens, and the booking API. It trusts the edge: whatever reaches `/api/v1/seats` has passed both checks.
 */
export function createSite(options: SiteOptions): HttpHandler {
  const script = bundle("modal.ts");
  const style = `${bundle("../../../web/vwr/style.css")}\n${bundle("site.css")}`;
  const page = (title: string, body: string): HttpAnswer => html(title, style, body);
  return async ({ headers, method, path, query, body }) => {
    if (headers[options.header] !== options.value) {
      return { status: 403, headers: { "content-type": "text/plain" }, body: "Forbidden" };
    }
    const [root = "", second = "", third = "", fourth = ""] = path.slice(1).split("/");
    if (root === "favicon.ico") {
      return { status: 204, headers: {}, body: "" };
    }
    if (root === "" && method === "GET") {
      return page("URR", startPage(options.events));
    }
    if (root === "events" && second !== "") {
      return page("공연", eventPage(safeId(second), script));
    }
    if (root === "queue" && second !== "") {
      return page("대기열 안내", queuePage(safeId(second)));
    }
    if (root === "booking" && second !== "") {
      return page("좌석 선택", bookingPage(safeId(second)));
    }
    if (root === "api" && second === "v1" && third === "events") {
      return json(200, { events: options.events });
    }
    if (root === "api" && second === "v1" && third === "queue" && fourth !== "" && method === "POST") {
      return json(200, { eventId: fourth, position: 1, token: await entryToken(options, fourth) });
    }
    if (root === "api" && second === "v1" && third === "seats") {
      const seats = Array.from({ length: 20 }, (_, index) => `A${index + 1}`);
      return json(200, { eventId: fourth, seats });
    }
    if (root === "api" && second === "v1" && third === "reservations" && method === "POST") {
      const seat = (JSON.parse(body.toString() || "{}") as { seat?: string }).seat ?? "A1";
      return json(201, { reservationId: randomUUID(), seat, query });
    }
    return root === "api"
      ? json(404, { code: "NOT_FOUND", message: `No ${method} ${path} here.` })
      : { ...page("404", '<div class="sheet"><h1>404</h1><p>없는 페이지입니다.</p></div>'), status: 404 };
  };
}

/** As queue-service mints it: HS256, `sub` the event, `exp`; neither `kid` nor `aud`. */
export async function entryToken(
  { secrets, entryTokenSecret }: Pick<SiteOptions, "secrets" | "entryTokenSecret">,
  eventId: string,
): Promise<string> {
  const { secret } = JSON.parse(secrets.get(entryTokenSecret, "AWSCURRENT")?.value ?? "{}") as { secret: string };
  return new SignJWT({})
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(eventId)
    .setExpirationTime(Math.floor(Date.now() / 1000) + ENTRY_TOKEN_SECONDS)
    .sign(new TextEncoder().encode(secret));
}

function startPage(events: readonly string[]): string {
  const items = events.map((id) => `<p><a href="/events/${id}">${id}</a></p>`).join("");
  return `<div class="sheet"><h1>공연</h1>${items}</div>`;
}

function eventPage(eventId: string, script: string): string {
  return `<div class="show"><div class="poster" role="img" aria-label="포스터"></div><div>
<h1>여름밤 콘서트</h1><p>그랜드홀 · ${eventId}</p>
<dl><dt>일시</dt><dd>2026년 8월 15일 19:00</dd><dt>등급</dt><dd>R석 · S석 · A석</dd><dt>가격</dt><dd>88,000원 – 154,000원</dd></dl>
<button type="button" class="go" id="book" data-event="${eventId}">예매하기</button></div></div>
<dialog class="vwr" id="modal" aria-labelledby="vwr-title"></dialog><script>${script}</script>`;
}

/** Tier 2: asks queue-service for the turn, keeps its token and goes on. Source: Architecture guide §4.2. */
function queuePage(eventId: string): string {
  return `<div class="sheet"><h1>대기열 안내</h1><p role="status" id="turn">현재 대기 순번: 1번</p></div><script>
fetch("/api/v1/queue/${eventId}", { method: "POST" }).then((answer) => answer.json()).then(({ token }) => {
  document.cookie = "urr-entry-token=" + token + "; Path=/; Max-Age=600; SameSite=Lax; Secure";
  const back = new URLSearchParams(location.search).get("returnTo") || "/booking/${eventId}";
  const url = new URL(back, location.origin);
  location.replace(url.origin === location.origin ? url.href : "/");
});</script>`;
}

function bookingPage(eventId: string): string {
  return `<div class="sheet"><h1>좌석 선택</h1><p id="state" role="status">좌석을 불러오고 있습니다</p><div class="seats" id="seats"></div></div><script>
const state = document.getElementById("state");
fetch("/api/v1/seats/${eventId}").then(async (answer) => {
  const body = await answer.json();
  if (!answer.ok) { state.textContent = body.message; location.assign(body.location + "?returnTo=" + encodeURIComponent(location.pathname)); return; }
  state.textContent = "원하는 좌석을 선택하세요";
  for (const seat of body.seats) {
    const button = document.createElement("button");
    button.textContent = seat;
    button.onclick = () => fetch("/api/v1/reservations?eventId=${eventId}", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ seat }) })
      .then(async (done) => { state.textContent = done.ok ? seat + " 좌석을 예매했습니다" : (await done.json()).message; });
    document.getElementById("seats").append(button);
  }
});</script>`;
}

function html(title: string, style: string, body: string): HttpAnswer {
  return {
    status: 200,
    headers: { "content-type": "text/html; charset=utf-8", "cache-control": "no-store" },
    body: `<!doctype html><html lang="ko"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${title}</title><link rel="icon" href="data:,"><style>${style}</style></head><body><main class="site"><header><a href="/">URR</a><small>로컬 실행</small></header>${body}</main></body></html>`,
  };
}

/** Event ids reach pages and scripts; anything else in the address does not. */
function safeId(segment: string): string {
  return /^[A-Za-z0-9_-]{1,64}$/.test(segment) ? segment : "";
}

function bundle(file: string): string {
  const { outputFiles } = buildSync({
    entryPoints: [fileURLToPath(new URL(`./site/${file}`, import.meta.url))],
    bundle: true,
    minify: true,
    write: false,
    platform: "browser",
    format: "iife",
    target: "es2022",
    charset: "utf8",
    logLevel: "silent",
  });
  return (outputFiles[0]?.text ?? "").replaceAll("</script", "<\\/script");
}
