import type { CloudFrontHeaders, CloudFrontRequest, CloudFrontResultResponse } from "aws-lambda";
import fc from "fast-check";
import { SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import { createHandler } from "../../lambdas/edge-queue-check/handler";
import { judgePath, normalisePath } from "../../lambdas/edge-queue-check/path";
import { PublishedList } from "../../lambdas/edge-queue-check/published-list";
import { type ActiveEvents, parseActiveEvents, serializeActiveEvents } from "../../lambdas/shared/active-events";
import { KeyRing, signingKey } from "../../lambdas/shared/secrets";
import { mintToken } from "../../lambdas/shared/tokens";
import { ringOf, TIER1_KEY, TIER2_KEY } from "./support/waiting-room";

const NOW = new Date("2026-05-01T12:00:00Z");
const seconds = NOW.getTime() / 1000;

interface Ask {
  readonly uri?: string;
  readonly query?: string;
  readonly method?: string;
  readonly cookie?: string | readonly string[];
  readonly headers?: Record<string, string>;
  readonly active?: ActiveEvents | undefined;
  readonly tier1Keys?: KeyRing;
  readonly tier2Keys?: KeyRing;
}

const ACTIVE: ActiveEvents = { events: new Map([["evt-1", 3]]) };

async function ask(
  options: Ask,
): Promise<{ passed: boolean; request?: CloudFrontRequest; response?: CloudFrontResultResponse }> {
  const headers: CloudFrontHeaders = {};
  for (const [key, value] of Object.entries(options.headers ?? { accept: "text/html" })) {
    headers[key] = [{ key, value }];
  }
  if (options.cookie !== undefined) {
    headers.cookie = [options.cookie].flat().map((value) => ({ key: "Cookie", value }));
  }
  const request: CloudFrontRequest = {
    clientIp: "203.0.113.1",
    method: options.method ?? "GET",
    uri: options.uri ?? "/api/v1/seats/evt-1",
    querystring: options.query ?? "",
    headers,
  };
  const handler = createHandler({
    tier1Keys: options.tier1Keys ?? ringOf(TIER1_KEY),
    tier2Keys: options.tier2Keys ?? ringOf(TIER2_KEY),
    activeEvents: async () => ("active" in options ? options.active : ACTIVE),
    now: () => NOW,
    random: () => 0,
  });
  const config = {
    distributionDomainName: "d",
    distributionId: "D",
    eventType: "viewer-request",
    requestId: "r",
  } as const;
  const answer = await handler({ Records: [{ cf: { config, request } }] });
  return "status" in answer
    ? { passed: false, response: answer }
    : { passed: true, request: answer as CloudFrontRequest };
}

const location = (response: CloudFrontResultResponse | undefined) => response?.headers?.location?.[0]?.value;
const bodyOf = (response: CloudFrontResultResponse | undefined) => JSON.parse(response?.body ?? "{}");

const tier1 = (change: { eventId?: string; generation?: number; admittedAt?: number } = {}, key = TIER1_KEY) =>
  mintToken(
    { eventId: "evt-1", generation: 3, subject: "user-7", requestId: "r".repeat(16), admittedAt: seconds, ...change },
    key,
  );

/** As queue-service mints it: no kid, no audience. */
const tier2 = (claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}, secret = TIER2_KEY.secret) =>
  new SignJWT({ sub: "evt-1", exp: seconds + 600, ...claims })
    .setProtectedHeader({ alg: "HS256", ...header })
    .sign(secret);

const both = async () => `urr-vwr-token=${await tier1()}; urr-entry-token=${await tier2()}`;

describe("exempt paths", () => {
  it.each([
    "/api/v1/events",
    "/api/v1/events/evt-1",
    "/api/v1/auth/login",
    "/api/v1/queue/evt-1",
    "/api/v1/stats/daily",
    "/api/events/evt-1",
    "/api/auth/login",
    "/vwr/evt-1",
    "/vwr-api/vwr/assign/evt-1",
    "/api/v1/EVENTS/evt-1",
    "/api//v1//events/evt-1",
  ])("lets %s through without a token", async (uri) => {
    expect((await ask({ uri })).passed).toBe(true);
  });

  it.each([
    "/api/v1/eventsx/evt-1",
    "/api/v1/events/../seats/evt-1",
    "/api/v1/events/%2e%2e/seats/evt-1",
    "/api/v1/events/%252e%252e/seats/evt-1",
    "/api/v1/events%2f..%2fseats/evt-1",
    "/api/v1/events/..;/seats/evt-1",
    "/api/v1/events\\..\\seats/evt-1",
    "/api/v1/SEATS/evt-1",
    "/api/./v1/seats/evt-1",
    "//api/v1/seats/evt-1",
    "/api/v1/seats;events=1/evt-1",
    "/vwr/../api/v1/seats/evt-1",
    "/api/v2/events/evt-1",
    "/api/v1/v1/events",
  ])("fails for %s, which only looks like one", async (uri) => {
    expect((await ask({ uri })).passed).toBe(false);
  });

  it("sends the origin the path that was judged", async () => {
    const { request } = await ask({ uri: "/api/v1/seats/../events//evt-1/" });
    expect(request?.uri).toBe("/api/v1/events/evt-1");
  });

  it("lets a preflight through, but not every OPTIONS", async () => {
    expect((await ask({ method: "OPTIONS", headers: { "access-control-request-method": "POST" } })).passed).toBe(true);
    expect((await ask({ method: "OPTIONS" })).passed).toBe(false);
  });
});

describe("tier 1", () => {
  it("sends a navigation without a token to the event's waiting page and remembers where it was heading", async () => {
    const { response } = await ask({ uri: "/api/v1/seats/evt-1", query: "grade=R" });
    expect(response?.status).toBe("302");
    expect(location(response)).toBe(`/vwr/evt-1?returnTo=${encodeURIComponent("/api/v1/seats/evt-1?grade=R")}`);
    expect(response?.headers?.["cache-control"]?.[0]?.value).toBe("no-store");
  });

  it("sends a navigation to no event to the front page", async () => {
    expect(location((await ask({ uri: "/api/v1/seats/reserve" })).response)).toBe("/");
    expect(location((await ask({ uri: "/api/v1/members/me" })).response)).toBe("/");
  });

  it.each([
    [{ "sec-fetch-mode": "cors", accept: "text/html" }],
    [{ accept: "application/json" }],
    [{ accept: "text/html", "x-requested-with": "XMLHttpRequest" }],
  ])("answers a script with JSON: %o", async (headers) => {
    const { response } = await ask({ headers: headers as unknown as Record<string, string> });
    expect(response?.status).toBe("401");
    expect(bodyOf(response)).toMatchObject({
      code: "WAITING_ROOM_TOKEN_REQUIRED",
      reason: "missing",
      location: "/vwr/evt-1",
    });
  });

  it("asks for none where the event is not active, or no event is", async () => {
    const cookie = `urr-entry-token=${await tier2({ sub: "evt-2" })}`;
    expect((await ask({ uri: "/api/v1/seats/evt-2", cookie })).passed).toBe(true);
    expect((await ask({ uri: "/api/v1/members/me", active: { events: new Map() } })).passed).toBe(true);
    expect((await ask({ uri: "/api/v1/reservations", cookie })).passed).toBe(true);
  });

  it("takes the event from the query where that asks for more, and never to do without a token", async () => {
    const uri = "/api/v1/members/me";
    expect(location((await ask({ uri, query: "eventId=evt-1" })).response)).toMatch(/^\/vwr\/evt-1\?/);
    expect((await ask({ uri, query: "eventId=evt-2" })).passed).toBe(false);
    expect((await ask({ uri, query: "eventId=evt-2", cookie: `urr-vwr-token=${await tier1()}` })).passed).toBe(true);
    const reservation = { uri: "/api/v1/reservations", query: "eventId=evt-2" };
    expect(location((await ask(reservation)).response)).toMatch(/^\/queue\/evt-2\?/);
    expect((await ask({ ...reservation, cookie: `urr-entry-token=${await tier2()}` })).passed).toBe(false);
    expect((await ask({ ...reservation, cookie: `urr-entry-token=${await tier2({ sub: "evt-2" })}` })).passed).toBe(
      true,
    );
  });

  it("treats every event as active while no list was ever read", async () => {
    const { response } = await ask({ uri: "/api/v1/seats/evt-9", active: undefined });
    expect(location(response)).toMatch(/^\/vwr\/evt-9\?/);
  });

  it.each([
    ["another event", () => tier1({ eventId: "evt-2" }), "event"],
    ["an older generation", () => tier1({ generation: 2 }), "generation"],
    ["no life left, at the very second", () => tier1({ admittedAt: seconds - 600 }), "expired"],
    ["a wrong key", () => tier1({}, signingKey(TIER1_KEY.kid, "wrong-secret-wrong-secret-wrong-secret")), "signature"],
    ["an unknown key id", () => tier1({}, signingKey("nobody", "wrong-secret-wrong-secret-wrong-secret")), "signature"],
    ["tier 2's token", () => tier2(), "malformed"],
    ["tier 2's token under tier 1's key id", () => tier2({}, { kid: TIER1_KEY.kid }), "signature"],
  ])("fails for a token with %s", async (_, token, reason) => {
    const headers = { accept: "application/json" };
    const { response } = await ask({ headers, cookie: `urr-vwr-token=${await token()}` });
    expect(bodyOf(response)).toMatchObject({ code: "WAITING_ROOM_TOKEN_REQUIRED", reason });
  });

  it("fails for a token that tier 1's own key signed without tier, audience or expiry", async () => {
    const claims = {
      eventId: "evt-1",
      gen: 3,
      tier: 1,
      sub: "u",
      jti: "r".repeat(16),
      iat: seconds,
      aud: "urr-vwr",
      exp: seconds + 60,
    };
    const sign = (without: string) => {
      const rest = Object.fromEntries(Object.entries(claims).filter(([name]) => name !== without));
      return new SignJWT(rest).setProtectedHeader({ alg: "HS256", kid: TIER1_KEY.kid }).sign(TIER1_KEY.secret);
    };
    for (const without of ["tier", "aud", "exp", "eventId", "gen", "sub"]) {
      const { passed } = await ask({ uri: "/api/v1/members/me", cookie: `urr-vwr-token=${await sign(without)}` });
      expect([without, passed]).toEqual([without, false]);
    }
    expect((await ask({ uri: "/api/v1/members/me", cookie: `urr-vwr-token=${await sign("nothing")}` })).passed).toBe(
      true,
    );
  });

  it("takes a token of a newer generation than the list, which may be seconds old", async () => {
    expect(
      (await ask({ uri: "/api/v1/members/me", cookie: `urr-vwr-token=${await tier1({ generation: 4 })}` })).passed,
    ).toBe(true);
  });

  it("takes a token in its last second, and one from a machine whose clock runs five minutes ahead", async () => {
    for (const admittedAt of [seconds - 599, seconds + 300]) {
      const cookie = `urr-vwr-token=${await tier1({ admittedAt })}`;
      expect((await ask({ uri: "/api/v1/members/me", cookie })).passed).toBe(true);
    }
  });
});

describe("tier 2", () => {
  it.each([
    "seats/evt-1",
    "reservations",
    "payments/42/confirm",
  ])("is needed for %s, with and without v1", async (path) => {
    for (const prefix of ["/api/v1/", "/api/"]) {
      const { response } = await ask({ uri: prefix + path, cookie: `urr-vwr-token=${await tier1()}` });
      expect(response?.status).toBe("302");
      expect(location(response)).toMatch(/^\/queue\/evt-1\?/);
      expect((await ask({ uri: prefix + path, cookie: await both() })).passed).toBe(true);
    }
  });

  it("is not needed elsewhere", async () => {
    expect((await ask({ uri: "/api/v1/members/me", cookie: `urr-vwr-token=${await tier1()}` })).passed).toBe(true);
  });

  it("may come in the header", async () => {
    const headers = { accept: "text/html", "x-queue-entry-token": await tier2() };
    expect((await ask({ headers, cookie: `urr-vwr-token=${await tier1()}` })).passed).toBe(true);
  });

  it("answers a script with 403", async () => {
    const { response } = await ask({
      headers: { accept: "application/json" },
      cookie: `urr-vwr-token=${await tier1()}`,
    });
    expect(response?.status).toBe("403");
    expect(bodyOf(response)).toMatchObject({ code: "ENTRY_TOKEN_REQUIRED", location: "/queue/evt-1" });
  });

  it.each([
    ["tier 1's token", () => tier1(), "signature"],
    ["tier 1's claims under tier 2's key", () => tier1({}, { ...TIER2_KEY }), "tier"],
    ["tier 1 among its audiences", () => tier2({ aud: ["urr", "urr-vwr"] }), "tier"],
    ["another tier", () => tier2({ tier: 1 }), "tier"],
    ["another event", () => tier2({ sub: "evt-2" }), "event"],
    ["no expiry", () => tier2({ exp: undefined }), "malformed"],
    ["no life left", () => tier2({ exp: seconds }), "expired"],
    ["no subject", () => tier2({ sub: undefined }), "malformed"],
    ["a wrong key", () => tier2({}, {}, TIER1_KEY.secret), "signature"],
  ])("fails for %s", async (_, token, reason) => {
    const cookie = `urr-vwr-token=${await tier1()}; urr-entry-token=${await token()}`;
    const { response } = await ask({ headers: { accept: "application/json" }, cookie });
    expect(bodyOf(response)).toMatchObject({ code: "ENTRY_TOKEN_REQUIRED", reason });
  });

  it("never lets the tokens stand in for one another, even if both secrets were the same", async () => {
    const shared = ringOf(TIER1_KEY);
    const one = await tier1();
    const two = await tier2({}, { kid: TIER1_KEY.kid }, TIER1_KEY.secret);
    const keys = { tier1Keys: shared, tier2Keys: shared };
    expect((await ask({ ...keys, cookie: `urr-vwr-token=${one}; urr-entry-token=${one}` })).passed).toBe(false);
    expect((await ask({ ...keys, cookie: `urr-vwr-token=${two}; urr-entry-token=${two}` })).passed).toBe(false);
    expect((await ask({ ...keys, cookie: `urr-vwr-token=${one}; urr-entry-token=${two}` })).passed).toBe(true);
  });

  it("belongs to the same event as the tier-1 token where the path names none", async () => {
    const cookie = `urr-vwr-token=${await tier1({ eventId: "evt-2" })}; urr-entry-token=${await tier2()}`;
    expect((await ask({ uri: "/api/v1/reservations", cookie })).passed).toBe(false);
  });
});

describe("forged headers", () => {
  const unsigned = (header: object, claims: object) =>
    [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  const claims = {
    eventId: "evt-1",
    gen: 3,
    tier: 1,
    sub: "u",
    jti: "r",
    iat: seconds,
    exp: seconds + 60,
    aud: "urr-vwr",
  };

  it.each([
    ["alg none", `${unsigned({ alg: "none", kid: TIER1_KEY.kid }, claims)}.`],
    ["alg RS256", `${unsigned({ alg: "RS256", kid: TIER1_KEY.kid }, claims)}.AAAA`],
    ["alg HS512", `${unsigned({ alg: "HS512", kid: TIER1_KEY.kid }, claims)}.AAAA`],
    ["a kid that is no string", `${unsigned({ alg: "HS256", kid: ["a"] }, claims)}.AAAA`],
    ["a crit header", `${unsigned({ alg: "HS256", kid: TIER1_KEY.kid, crit: ["x"], x: 1 }, claims)}.AAAA`],
    ["malformed base64", "###.###.###"],
    ["one part", "abc"],
    ["100 KB", "a".repeat(100_000)],
    ["null claims", `${unsigned({ alg: "HS256", kid: TIER1_KEY.kid }, null as unknown as object)}.AAAA`],
  ])("fails for a token with %s", async (_, token) => {
    const { response } = await ask({ cookie: `urr-vwr-token=${token}`, headers: { accept: "application/json" } });
    expect(response?.status).toBe("401");
  });
});

describe("cookies", () => {
  it("finds a good token among duplicates, in several headers, behind others, quoted or escaped", async () => {
    const token = await tier1();
    const uri = "/api/v1/members/me";
    for (const cookie of [
      `urr-vwr-token=stale; urr-vwr-token=${token}`,
      ["a=1; b=%E0%A4%A", `urr-vwr-token=${token}`],
      `x="a=b"; urr-vwr-token="${token}"`,
      `urr-vwr-token=${token.replaceAll(".", "%2E")}`,
      `=; ;;urr-vwr-token=${token};`,
    ]) {
      expect((await ask({ uri, cookie })).passed).toBe(true);
    }
  });

  it("looks at a few duplicates only", async () => {
    const cookie = `${"urr-vwr-token=x; ".repeat(10)}urr-vwr-token=${await tier1()}`;
    expect((await ask({ uri: "/api/v1/members/me", cookie })).passed).toBe(false);
  });

  it("does not take a cookie whose name only ends the same", async () => {
    expect((await ask({ uri: "/api/v1/members/me", cookie: `x-urr-vwr-token=${await tier1()}` })).passed).toBe(false);
  });
});

describe("secrets", () => {
  it("takes tokens of the previous key after a rotation, and refuses those of a retired one", async () => {
    const next = signingKey("tier1-v2", "next-secret-next-secret-next-secret-next");
    const last = signingKey("tier1-v3", "last-secret-last-secret-last-secret-last");
    const ask1 = async (keys: KeyRing) =>
      (await ask({ uri: "/api/v1/members/me", cookie: `urr-vwr-token=${await tier1()}`, tier1Keys: keys })).passed;
    expect(await ask1(ringOf(next, TIER1_KEY))).toBe(true);
    expect(await ask1(ringOf(last, next))).toBe(false);
  });

  it("takes a tier-2 token from the first moment after a rotation, if it names its key", async () => {
    let live = [TIER2_KEY];
    let now = 0;
    const tier2Keys = new KeyRing(async () => [...live] as [typeof TIER2_KEY], { monotonic: () => now });
    await tier2Keys.all();
    const next = signingKey("tier2-v2", "next-secret-next-secret-next-secret-next");
    live = [next, TIER2_KEY];
    now = 20_000;
    const cookie = `urr-vwr-token=${await tier1()}; urr-entry-token=${await tier2({}, { kid: next.kid }, next.secret)}`;
    expect((await ask({ cookie, tier2Keys })).passed).toBe(true);
  });

  it("answers 503, not the waiting page, while the store is down and no key is known", async () => {
    const down = new KeyRing(async () => Promise.reject(new Error("down")));
    const { response } = await ask({ cookie: await both(), tier1Keys: down });
    expect(response).toMatchObject({ status: "503", headers: { "retry-after": [{ value: "2" }] } });
    expect((await ask({ tier1Keys: down })).response?.status).toBe("302");
    expect((await ask({ cookie: await both(), tier2Keys: down })).response?.status).toBe("503");
  });
});

describe("a home Region that hangs", () => {
  const never = () => new Promise<never>(() => undefined);

  it("is answered with 503 before CloudFront ends the function, for what needs a decision only", async () => {
    const errors: unknown[] = [];
    const handler = createHandler({
      tier1Keys: new KeyRing(never),
      tier2Keys: new KeyRing(never),
      activeEvents: async () => ACTIVE,
      now: () => NOW,
      random: () => 0,
      onError: (error) => errors.push(error),
      deadlineMs: 50,
    });
    const cookie = [{ key: "Cookie", value: await both() }];
    const event = (uri: string) => ({
      Records: [{ cf: { request: { method: "GET", uri, querystring: "", headers: { cookie } } } }],
    });
    expect(await handler(event("/api/v1/seats/evt-1") as never)).toMatchObject({
      status: "503",
      headers: { "retry-after": [{ value: "2" }] },
    });
    expect(await handler(event("/api/v1/events/evt-1") as never)).toMatchObject({ uri: "/api/v1/events/evt-1" });
    expect(errors).toEqual([new Error("No decision within 50 ms")]);
  });
});

describe("the list of active events", () => {
  const document = (...ids: string[]) =>
    serializeActiveEvents(
      ids.map((id) => [id, 1] as const),
      NOW,
    );

  it("is read at most every ten seconds, and the last good one kept while it cannot be", async () => {
    let now = 0;
    let reads = 0;
    let answer: () => string = () => document("evt-1");
    const list = new PublishedList(
      async () => {
        reads += 1;
        return answer();
      },
      undefined,
      () => now,
    );
    const known = async () => [...((await list.current())?.events.keys() ?? [])];
    expect(await known()).toEqual(["evt-1"]);
    answer = () => document("evt-2");
    now = 9_999;
    expect([await known(), reads]).toEqual([["evt-1"], 1]);
    now = 10_000;
    expect([await known(), reads]).toEqual([["evt-2"], 2]);
    for (const broken of [
      "",
      "null",
      "{}",
      '{"version":1,"events":{"evt-1":{}}}',
      '{"version":1,"events":{"evt-1":{"gen',
    ]) {
      answer = () => broken;
      now += 10_000;
      expect(await known()).toEqual(["evt-2"]);
    }
    answer = () => {
      throw new Error("no bucket");
    };
    now += 86_400_000;
    expect(await known()).toEqual(["evt-2"]);
  });

  it("is undefined until it was read once", async () => {
    const list = new PublishedList(async () => Promise.reject(new Error("no bucket")));
    expect(await list.current()).toBeUndefined();
  });

  it("comes back as it was published", () => {
    expect(parseActiveEvents(document("evt-2", "evt-1")).events).toEqual(
      new Map([
        ["evt-1", 1],
        ["evt-2", 1],
      ]),
    );
  });
});

describe("hostile input", () => {
  it.each([
    "/api/%",
    "/api/%zz",
    "/api/%ff",
    "/api/\u0000",
    "/api/%00",
    `/api/${"a".repeat(9_000)}`,
    "/api/%25252525",
  ])("answers 400 to a path that cannot be read: %j", async (uri) => {
    expect((await ask({ uri })).response?.status).toBe("400");
  });

  it("never throws and never lets anything through to tier 2 without tokens", async () => {
    const character = fc.constantFrom("/", "%", ".", ";", "\\", "2", "e", "f", "E", "a", "é", "\u0001", "?", "#");
    const noise = fc.array(character, { maxLength: 12 }).map((parts) => parts.join(""));
    await fc.assert(
      fc.asyncProperty(noise, noise, fc.string(), fc.string(), async (before, after, cookie, query) => {
        const { passed, request } = await ask({ uri: `/api/${before}/seats/${after}`, cookie, query });
        if (passed) {
          const judged = judgePath(request?.uri ?? "", "");
          expect(judged?.exempt === true || judged?.needsTier2 === false).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("reads a canonical path as itself", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (raw) => {
        const path = normalisePath(raw);
        expect(path === undefined || path.includes("%") || normalisePath(path) === path).toBe(true);
      }),
    );
  });

  it("answers an event without a request", async () => {
    const handler = createHandler({
      tier1Keys: ringOf(TIER1_KEY),
      tier2Keys: ringOf(TIER2_KEY),
      activeEvents: async () => ACTIVE,
    });
    expect(await handler({ Records: [] })).toMatchObject({ status: "400" });
  });

  it("leads nobody off the site", async () => {
    for (const uri of [
      "//evil.example/api/v1/seats/evt-1",
      "/\\evil.example/api/v1/seats/evt-1",
      "/api/v1/seats/evt-1//evil.example",
    ]) {
      const target = location((await ask({ uri, cookie: "" })).response) ?? "/";
      const returnTo = new URL(target, "https://urr.guru").searchParams.get("returnTo") ?? "/";
      expect(new URL(target, "https://urr.guru").origin).toBe("https://urr.guru");
      expect(new URL(returnTo, "https://urr.guru").origin).toBe("https://urr.guru");
    }
  });
});
