import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { admissionCookie, eventIdOf, goesInCircles, holdsCookie, targetOf } from "../../web/vwr/admission";
import { languageOf, TEXTS } from "../../web/vwr/text";

describe("the cookie", () => {
  it("is for the whole site, secure, lax and ten minutes long", () => {
    expect(admissionCookie("a.b.c", 600)).toBe("urr-vwr-token=a.b.c; Path=/; Max-Age=600; SameSite=Lax; Secure");
  });

  it.each([
    [null, 600],
    [601, 600],
    [42, 42],
    [-3, 0],
  ])("does not outlive its token (%s s left: %s s)", (left, maxAge) => {
    expect(admissionCookie("t", left)).toContain(`Max-Age=${maxAge};`);
  });

  it("is found among others, whole", () => {
    expect(holdsCookie("a=1; urr-vwr-token=tok; b=2", "tok")).toBe(true);
    expect(holdsCookie("a=1; urr-vwr-token=token; b=2", "tok")).toBe(false);
    expect(holdsCookie("", "tok")).toBe(false);
  });
});

describe("the event of an address", () => {
  it.each([
    ["/vwr/evt-1", "evt-1"],
    ["/vwr/abc_123/", "abc_123"],
    ["/vwr/", undefined],
    ["/vwr/index.html", undefined],
    ["/vwr/a/b", undefined],
    ["/vwr/%E0%A4%A", undefined],
    ["/vwr/<script>", undefined],
    [`/vwr/${"a".repeat(65)}`, undefined],
  ])("%s names %s", (path, event) => {
    expect(eventIdOf(path)).toBe(event);
  });
});

describe("where an admitted visitor goes", () => {
  const target = (returnTo: string) =>
    targetOf({ origin: "https://urr.guru", search: `?returnTo=${encodeURIComponent(returnTo)}` }, "evt-1");

  it.each(["/api/v1/seats/evt-1?section=R&x=%2F", "/booking/evt-1#map", "/"])("back to %s", (path) => {
    expect(target(path)).toBe(path);
  });

  it("to the next queue without a return address", () => {
    expect(targetOf({ origin: "https://urr.guru", search: "" }, "evt-1")).toBe("/queue/evt-1");
  });

  it.each([
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example/",
    "/\t/evil.example/",
    "/.//evil.example/",
    "/x/..//evil.example/",
    "/%2e/\\evil.example/",
    "javascript:alert(1)",
    "data:text/html,x",
    "booking",
    "",
    "/vwr/evt-1",
    "/VWR/evt-1",
    "/vwr-api/vwr/status/evt-1",
    "/x/../vwr/evt-1",
  ])("never off the site or back into the line: %j", (path) => {
    expect(target(path)).toBe("/queue/evt-1");
  });

  it("stays on the site whatever the address is made of", () => {
    const parts = fc.constantFrom("/", "\\", ".", "..", "%2e", "%2f", "\t", ":", "@", "?");
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 6 }), (path) => {
        expect(new URL(target(`/${path.join("")}/evil.example`), "https://urr.guru").origin).toBe("https://urr.guru");
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("a circle", () => {
  it("is noticed at the fourth admission within a minute", () => {
    const stored = new Map<string, string>();
    const storage = {
      getItem: (key: string) => stored.get(key) ?? null,
      setItem: (key: string, value: string) => void stored.set(key, value),
    };
    expect([0, 1000, 2000, 3000].map((at) => goesInCircles(storage, at))).toEqual([false, false, false, true]);
    expect(goesInCircles(storage, 200_000)).toBe(false);
  });

  it("does not keep out a visitor whose browser stores nothing", () => {
    expect(goesInCircles(undefined, 0)).toBe(false);
  });
});

describe("texts", () => {
  it.each([
    [[], "ko"],
    [["ko-KR", "en"], "ko"],
    [["en-US", "ko"], "en"],
    [["ja"], "en"],
  ] as const)("languages %j show %s", (preferred, language) => {
    expect(languageOf(preferred)).toBe(language);
  });

  it.each([
    [37, "약 37초", "about 37 seconds"],
    [1, "약 1초", "about 1 second"],
    [60, "약 1분", "about 1 minute"],
    [61, "약 2분", "about 2 minutes"],
    [3600, "약 1시간", "about 1 hour"],
    [4000, "약 1시간 7분", "about 1 hour 7 minutes"],
  ])("%s s are told as %s and %s", (seconds, korean, english) => {
    expect(TEXTS.ko.wait(seconds)).toBe(korean);
    expect(TEXTS.en.wait(seconds)).toBe(english);
  });

  it("are those of the documented screen", () => {
    const { automatic, keepOpen, lead, leave, positionLabel, title } = TEXTS.ko;
    expect([
      title,
      lead,
      positionLabel,
      TEXTS.ko.position(2341),
      TEXTS.ko.ahead(1841),
      keepOpen,
      automatic,
      leave,
    ]).toEqual([
      "접속 대기 중",
      "현재 접속자가 많아 순서대로 안내하고 있습니다",
      "현재 대기 순번",
      "2,341번",
      "내 앞 1,841명",
      "이 창을 닫지 마세요.",
      "순서가 되면 자동으로 이동합니다.",
      "대기열 나가기",
    ]);
  });

  it("say the same things in both languages", () => {
    expect(Object.keys(TEXTS.en)).toEqual(Object.keys(TEXTS.ko));
  });
});
