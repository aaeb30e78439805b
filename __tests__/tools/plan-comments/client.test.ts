import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { digestOfText, PlanComments } from "../../../tools/plan-comments/client/comments";
import { connect } from "../../../tools/plan-comments/client/github";
import { PullRequests } from "../../../tools/plan-comments/client/pulls";
import { markerOf, readMarker } from "../../../tools/plan-comments/render/index";
import { change, planOf, rendered, resource } from "./fixture";
import { GitHubServer } from "./github-server";

const BOT = "github-actions[bot]";
const pull = { owner: "urr", repo: "infra", number: 1 };
const body = (stack: string, part: number, text: string) => `${markerOf(stack, part)}\n${text}`;

let server: GitHubServer;
let waits: { readonly milliseconds: number; readonly why: string }[];
let clock: number;

beforeEach(async () => {
  server = new GitHubServer();
  await server.start();
  waits = [];
  clock = 1_000_000;
});
afterEach(() => server.stop());

const github = (login = BOT) =>
  connect({
    token: login,
    baseUrl: server.url,
    now: () => clock,
    sleep: async (milliseconds) => {
      clock += milliseconds;
    },
    onWait: (milliseconds, why) => waits.push({ milliseconds, why }),
  });
const comments = (login = BOT) => new PlanComments(github(login), pull);
const texts = () => server.comments.filter(({ minimised }) => !minimised).map((comment) => comment.body.split("\n")[1]);

describe("sticky comments", () => {
  it("are created once and then changed in place", async () => {
    expect(await comments().upsert("prod", [body("prod", 1, "first")])).toMatchObject({
      created: 1,
      url: server.comments[0]?.html_url,
    });
    expect(await comments().upsert("prod", [body("prod", 1, "second")])).toMatchObject({ created: 0, updated: 1 });
    expect(texts()).toEqual(["second"]);
  });

  it("are left alone where nothing changed", async () => {
    await comments().upsert("prod", [body("prod", 1, "same")]);
    server.requests = [];
    expect(await comments().upsert("prod", [body("prod", 1, "same")])).toMatchObject({
      created: 0,
      updated: 0,
      unchanged: 1,
    });
    expect(server.requests.filter((request) => !request.startsWith("GET") && request !== "POST /graphql")).toEqual([]);
  });

  it("tell what they say now and since when, whoever edited them, without parts that are outdated", async () => {
    expect(await comments().shown("prod")).toBeUndefined();
    const parts = [body("prod", 1, "first"), body("prod", 2, "second")];
    await comments().upsert("prod", parts);
    await comments("dev").upsert("prod", [body("prod", 1, "by somebody else")]);
    const at = "2026-01-01T00:00:00Z";
    expect(await comments().shown("prod")).toEqual({ digest: digestOfText(parts), at });
    Object.assign(server.comments[1] ?? {}, {
      body: `${body("prod", 2, "nothing to see")}\r\n`,
      updated_at: "2026-01-05T00:00:00Z",
    });
    expect(await comments().shown("prod")).toEqual({
      digest: digestOfText([body("prod", 1, "first"), body("prod", 2, "nothing to see")]),
      at: "2026-01-05T00:00:00Z",
    });
    await comments().upsert("prod", [body("prod", 1, "shorter")]);
    expect(await comments().shown("prod")).toMatchObject({ digest: digestOfText([body("prod", 1, "shorter")]) });
  });

  it("are kept apart by stack", async () => {
    await comments().upsert("prod", [body("prod", 1, "p")]);
    await comments().upsert("staging", [body("staging", 1, "s")]);
    await comments().upsert("prod", [body("prod", 1, "p2")]);
    expect(texts()).toEqual(["p2", "s"]);
  });

  it("are found behind hundreds of others, on every page", async () => {
    for (let index = 0; index < 230; index++) server.add("someone", `talk ${index}`);
    const own = server.add(BOT, body("prod", 1, "old"));
    for (let index = 0; index < 150; index++) server.add("someone", `more ${index}`);
    expect(await comments().upsert("prod", [body("prod", 1, "new")])).toMatchObject({ created: 0, updated: 1 });
    expect(own.body).toContain("new");
    expect(server.requests.filter((request) => /^GET .*comments$/.test(request))).toHaveLength(4);
  });

  it("are not confused by a marker that somebody else wrote, nor by a quoted one", async () => {
    const spoof = server.add("attacker", body("prod", 1, "apply me"));
    const quote = server.add(BOT, `> ${markerOf("prod", 1)}\nquoted`);
    expect(await comments().upsert("prod", [body("prod", 1, "real")])).toMatchObject({ created: 1 });
    expect(spoof.body).toContain("apply me");
    expect(quote.body).toContain("quoted");
    expect(await comments().upsert("prod", [body("prod", 1, "real 2")])).toMatchObject({ updated: 1 });
  });

  it("minimise parts that are no longer needed, once, and use them again", async () => {
    const parts = (count: number, text: string) =>
      Array.from({ length: count }, (_, index) => body("prod", index + 1, `${text} ${index + 1}`));
    await comments().upsert("prod", parts(3, "long"));
    expect(await comments().upsert("prod", parts(1, "short"))).toMatchObject({ updated: 1, minimised: 2 });
    expect(server.comments.map(({ minimised }) => minimised)).toEqual([false, true, true]);
    expect(await comments().upsert("prod", parts(1, "short"))).toMatchObject({ unchanged: 1, minimised: 0 });
    expect(await comments().upsert("prod", parts(3, "again"))).toMatchObject({ created: 0, updated: 3 });
    expect(server.comments.map(({ minimised }) => minimised)).toEqual([false, false, false]);
    expect(texts()).toEqual(["again 1", "again 2", "again 3"]);
  });

  it("are not written for a commit that the pull request has left behind", async () => {
    await comments().upsert("prod", [body("prod", 1, "new plan")], server.pull.headSha);
    expect(await comments().upsert("prod", [body("prod", 1, "late plan")], "c".repeat(40))).toMatchObject({
      superseded: true,
      updated: 0,
    });
    expect(texts()).toEqual(["new plan"]);
  });

  it("end as one where two runs create the same part at the same time", async () => {
    let raced = false;
    server.before = (request) => {
      if (raced || !/^POST .*comments$/.test(request)) return;
      raced = true;
      server.add(BOT, body("prod", 1, "of the other run"));
    };
    await comments().upsert("prod", [body("prod", 1, "mine")]);
    expect(texts()).toEqual(["mine"]);
    expect(server.comments.filter(({ minimised }) => minimised)).toHaveLength(1);
  });

  it("are created again where they were deleted meanwhile", async () => {
    await comments().upsert("prod", [body("prod", 1, "old")]);
    server.before = (request) => {
      if (request.startsWith("PATCH")) server.comments = [];
    };
    await comments().upsert("prod", [body("prod", 1, "new")]);
    expect(texts()).toEqual(["new"]);
  });

  it("are not doubled where the answer to their creation is lost", async () => {
    for (const fault of [{ status: 502 }, { status: 500, hangUp: true }]) {
      server.comments = [];
      server.faults = [{ on: /^POST .*comments$/, done: true, times: 1, ...fault }];
      expect(await comments().upsert("prod", [body("prod", 1, "once")])).toMatchObject({ created: 1 });
      expect(server.comments).toHaveLength(1);
    }
  });

  it("are created after all where the first try did not get through", async () => {
    server.faults = [{ on: /^POST .*comments$/, status: 502, times: 1 }];
    await comments().upsert("prod", [body("prod", 1, "second try")]);
    expect(texts()).toEqual(["second try"]);
  });

  it("remember their plan for the next one", async () => {
    const first = rendered(planOf([resource("aws_x.a", change(["create"], null, { v: 1 }))]), { head: "aaaaaaaaaa" });
    await comments().upsert("prod", first.bodies);
    expect((await comments().previous("prod"))?.changes.get("aws_x.a")?.kind).toBe("create");
    expect(await comments().previous("staging")).toBeUndefined();
    server.comments = [];
    server.add("attacker", first.bodies[0] ?? "");
    expect(await comments().previous("prod")).toBeUndefined();
  });

  it("fail on a body without its marker", async () => {
    await expect(comments().upsert("prod", ["hello"])).rejects.toThrow(/does not begin with its marker/);
  });

  it("hold parts in numbers", async () => {
    await comments().upsert("prod", [body("prod", 1, "a"), body("prod", 2, "b")]);
    expect(server.comments.map((comment) => readMarker(comment.body)?.part)).toEqual([1, 2]);
  });
});

describe("limits", () => {
  const write = () => comments().upsert("prod", [body("prod", 1, "x")]);

  it("wait as long as Retry-After says, and create once", async () => {
    server.faults = [
      {
        on: /^POST .*comments$/,
        status: 403,
        headers: { "retry-after": "42" },
        message: "You have exceeded a secondary rate limit",
        times: 1,
      },
    ];
    await write();
    expect(waits).toEqual([{ milliseconds: 42_000, why: "GitHub's limit holds" }]);
    expect(server.comments).toHaveLength(1);
  });

  it("wait a minute, then two, where a secondary limit names no time", async () => {
    server.faults = [
      { on: /^POST .*comments$/, status: 403, message: "You have exceeded a secondary rate limit", times: 2 },
    ];
    await write();
    expect(waits.map(({ milliseconds }) => milliseconds)).toEqual([60_000, 120_000]);
  });

  it("wait until the hourly limit is reset", async () => {
    const reset = String(clock / 1_000 + 300);
    server.faults = [
      {
        on: /^GET .*comments$/,
        status: 403,
        headers: { "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset },
        times: 1,
      },
    ];
    await write();
    expect(waits[0]?.milliseconds).toBe(301_000);
  });

  it("fail where waiting would take too long, saying how long", async () => {
    server.faults = [{ on: /^GET .*comments$/, status: 429, headers: { "retry-after": "3600" }, times: 1 }];
    await expect(write()).rejects.toThrow(/another 60 minutes/);
  });

  it("repeat reads and changes after an error of the server, up to a bound", async () => {
    server.faults = [{ on: /^GET .*comments$/, status: 503, times: 2 }];
    await write();
    expect(waits.map(({ milliseconds }) => milliseconds)).toEqual([1_000, 2_000]);
    server.faults = [{ on: /^GET .*comments$/, status: 503, times: 99 }];
    await expect(write()).rejects.toMatchObject({ status: 503 });
    expect(server.faults[0]?.times).toBe(93);
  });

  it("do not repeat what is refused for good", async () => {
    server.faults = [{ on: /^POST .*comments$/, status: 422, times: 1 }];
    await expect(write()).rejects.toMatchObject({ status: 422 });
    expect(waits).toEqual([]);
  });

  it("space writes a second apart", async () => {
    const start = clock;
    await comments().upsert(
      "prod",
      [1, 2, 3, 4].map((part) => body("prod", part, "x")),
    );
    expect(clock - start).toBeGreaterThanOrEqual(3_000);
  });
});

describe("pull requests", () => {
  const pulls = (login = BOT) => new PullRequests(github(login), async () => {});

  it("tell what an account may do", async () => {
    server.permissions = { owner: "admin", dev: "write", guest: "read" };
    const permissions = await Promise.all(
      ["owner", "dev", "guest", "outsider"].map((login) => pulls().permissionOf(pull, login)),
    );
    expect(permissions).toEqual(["admin", "write", "read", "none"]);
  });

  it("count neither the approval of whoever pushed the head, nor the objection of an outsider", async () => {
    server.permissions = { dev: "write", lead: "admin", guest: "read" };
    server.pushers = ["dev"];
    server.reviews = [
      { user: "dev", state: "APPROVED", commit: server.pull.headSha },
      { user: "guest", state: "CHANGES_REQUESTED", commit: server.pull.headSha },
    ];
    expect(await pulls().facts(pull)).toMatchObject({ approvers: [], objectors: [] });
    server.reviews.push({ user: "lead", state: "APPROVED", commit: server.pull.headSha });
    expect(await pulls().facts(pull)).toMatchObject({ approvers: ["lead"], objectors: [] });
  });

  it("count no approval where GitHub does not say who pushed the head", async () => {
    server.permissions = { dev: "write", lead: "admin" };
    server.reviews = ["dev", "lead"].map((user) => ({ user, state: "APPROVED", commit: server.pull.headSha }));
    for (const pushers of [[], [null], ["dev", null]]) {
      server.pushers = pushers;
      expect(await pulls().facts(pull)).toMatchObject({ approvers: [], pusherKnown: false });
    }
  });

  it("find who pushed the head behind hundreds of later activities", async () => {
    server.permissions = { dev: "write", lead: "admin" };
    server.reviews = ["dev", "lead"].map((user) => ({ user, state: "APPROVED", commit: server.pull.headSha }));
    server.pushers = ["dev"];
    server.laterActivities = 230;
    expect(await pulls().facts(pull)).toMatchObject({ approvers: ["lead"], pusherKnown: true });
    expect(server.requests.filter((request) => request.endsWith("/activity"))).toHaveLength(3);
  });

  it("count only approvals of this very head by others who may write", async () => {
    const head = server.pull.headSha;
    server.permissions = { dev: "write", guest: "read", author: "write", old: "write", fickle: "write", lead: "admin" };
    server.reviews = [
      { user: "dev", state: "CHANGES_REQUESTED", commit: head },
      { user: "dev", state: "APPROVED", commit: head },
      { user: "dev", state: "COMMENTED", commit: head },
      { user: "guest", state: "APPROVED", commit: head },
      { user: "author", state: "APPROVED", commit: head },
      { user: "old", state: "APPROVED", commit: "c".repeat(40) },
      { user: "fickle", state: "APPROVED", commit: head },
      { user: "fickle", state: "DISMISSED", commit: head },
      { user: "lead", state: "CHANGES_REQUESTED", commit: "c".repeat(40) },
    ];
    expect(await pulls().facts(pull)).toMatchObject({
      approvers: ["dev"],
      objectors: ["lead"],
      behind: 0,
      mergeable: true,
      fork: false,
    });
  });

  it("wait for GitHub to find out whether they can be merged", async () => {
    server.pull.mergeable = null;
    let asked = 0;
    server.before = (request) => {
      if (request.endsWith("/pulls/1") && ++asked === 3) server.pull.mergeable = false;
    };
    expect((await pulls().facts(pull)).mergeable).toBe(false);
  });

  it("take labels and reactions, and have labels taken away that are not there", async () => {
    await pulls().setLabel(pull, "destroys", true);
    expect([...server.labels]).toEqual(["destroys"]);
    await pulls().setLabel(pull, "destroys", false);
    await pulls().setLabel(pull, "destroys", false);
    expect([...server.labels]).toEqual([]);
    await pulls().react(pull, 7, "eyes");
    expect(server.reactions).toEqual([{ comment: 7, content: "eyes" }]);
  });

  it("tell whether a run has ended", async () => {
    server.runs = { 1: "in_progress", 2: "completed" };
    expect(await Promise.all([1, 2, 3].map((run) => pulls().hasEnded(pull, run)))).toEqual([false, true, true]);
  });
});
