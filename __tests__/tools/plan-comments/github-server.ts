import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface StoredComment {
  id: number;
  node_id: string;
  body: string;
  html_url: string;
  user: { login: string; type: string };
  minimised: boolean;
  /** When it was last written; tests that edit it say when. */
  updated_at: string;
}

export interface StoredArtifact {
  readonly id: number;
  readonly name: string;
  readonly run: number;
  readonly zip: Buffer;
}

export interface RunOrigin {
  readonly event: string;
  readonly path: string;
  readonly headRepository: string;
}

export interface Fault {
  /** Method and path that it strikes, such as /^POST .*comments$/. */
  readonly on: RegExp;
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly message?: string;
  /** The request is done all the same: only its answer is lost. */
  readonly done?: boolean;
  /** Cuts the connection instead of answering. */
  readonly hangUp?: boolean;
  times: number;
}

/** GitHub's REST and GraphQL shapes, as far as plan comments use them, in memory. The token decides who is asking. */
export class GitHubServer {
  comments: StoredComment[] = [];
  pull = {
    state: "open",
    draft: false,
    author: "author",
    headSha: "a".repeat(40),
    baseRef: "main",
    fork: false,
    mergeable: true as boolean | null,
  };
  defaultBranch = "main";
  baseSha = "b".repeat(40);
  behind = 0;
  /** Given a day after the artifacts were kept, unless they say when. */
  reviews: { user: string; state: string; commit: string; at?: string }[] = [];
  permissions: Record<string, string> = {};
  labels = new Set<string>();
  reactions: { comment: number; content: string }[] = [];
  runs: Record<number, string> = {};
  /** Where a run came from, if it is not a plan of the default branch. */
  origins: Record<number, Partial<RunOrigin>> = {};
  /** Who pushed the head; of some GitHub no longer says who it was. */
  pushers: (string | null)[] = ["author"];
  /** How much happened to the branch since, such as pushes of other commits that were taken back. */
  laterActivities = 0;
  artifacts: StoredArtifact[] = [];
  faults: Fault[] = [];
  requests: string[] = [];
  /** Called before a request is answered, to let something happen in between. */
  before: (request: string) => void = () => {};
  pageSize = 100;
  private nextId = 1;
  private readonly server = createServer((request, response) => void this.handle(request, response));

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return this.url;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/api/v3`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  add(login: string, body: string): StoredComment {
    const id = this.nextId++;
    const comment = {
      id,
      node_id: `IC_${id}`,
      body,
      html_url: `https://github.example/pull/1#issuecomment-${id}`,
      user: { login, type: "User" },
      minimised: false,
      updated_at: "2026-01-01T00:00:00Z",
    };
    this.comments.push(comment);
    return comment;
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const chunk of request) text += chunk;
    const { pathname, searchParams } = new URL(request.url ?? "", "http://x");
    const path = decodeURIComponent(pathname.replace(/^\/api\/(?:v3)?/, "/").replace("//", "/"));
    const name = `${request.method} ${path}`;
    this.requests.push(name);
    this.before(name);
    const answer = (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}) => {
      const type = Buffer.isBuffer(body) ? "application/zip" : "application/json; charset=utf-8";
      response.writeHead(status, { "content-type": type, ...headers });
      response.end(status === 204 ? undefined : Buffer.isBuffer(body) ? body : JSON.stringify(body));
    };
    const fault = this.faults.find((candidate) => candidate.times > 0 && candidate.on.test(name));
    if (fault) {
      fault.times--;
      if (fault.done) this.route(request, path, searchParams, text, () => {});
      if (fault.hangUp) request.socket.destroy();
      else answer(fault.status, { message: fault.message ?? "fault" }, fault.headers);
      return;
    }
    this.route(request, path, searchParams, text, answer);
  }

  private route(
    request: IncomingMessage,
    path: string,
    query: URLSearchParams,
    text: string,
    answer: (status: number, body: unknown, headers?: Readonly<Record<string, string>>) => unknown,
  ): unknown {
    const body = text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
    const login = String(request.headers.authorization).replace(/^(?:token|bearer) /i, "");
    const repo = "/repos/urr/infra";
    const is = (method: string, pattern: RegExp) => (request.method === method ? pattern.exec(path) : null);
    let match: RegExpExecArray | null = null;
    if (path === "/graphql") return this.graphql(login, body as { query: string; variables?: { id?: string } }, answer);
    if (!path.startsWith(`${repo}/`)) return answer(404, { message: "Not Found" });
    if (is("GET", /\/issues\/1\/comments$/)) {
      const size = Math.min(Number(query.get("per_page") ?? 30), this.pageSize);
      const page = Number(query.get("page") ?? 1);
      const last = Math.max(1, Math.ceil(this.comments.length / size));
      const link =
        page < last
          ? `<${this.url}${repo}/issues/1/comments?per_page=${size}&page=${page + 1}>; rel="next", <${this.url}${repo}/issues/1/comments?per_page=${size}&page=${last}>; rel="last"`
          : "";
      return answer(200, this.comments.slice((page - 1) * size, page * size), link ? { link } : {});
    }
    if (is("POST", /\/issues\/1\/comments$/)) {
      if (String(body.body).length > 65_536) return answer(422, { message: "Body is too long" });
      return answer(201, this.add(login, String(body.body)));
    }
    match = is("PATCH", /\/issues\/comments\/(\d+)$/);
    if (match) {
      const comment = this.comments.find(({ id }) => id === Number(match?.[1]));
      if (!comment) return answer(404, { message: "Not Found" });
      if (comment.user.login !== login) return answer(403, { message: "Must have admin rights to Repository." });
      comment.body = String(body.body);
      return answer(200, comment);
    }
    match = is("POST", /\/issues\/comments\/(\d+)\/reactions$/);
    if (match) {
      this.reactions.push({ comment: Number(match[1]), content: String(body.content) });
      return answer(201, { id: 1 });
    }
    if (is("GET", /\/pulls\/1$/)) {
      const { pull } = this;
      const full_name = "urr/infra";
      return answer(200, {
        state: pull.state,
        draft: pull.draft,
        user: { login: pull.author },
        mergeable: pull.mergeable,
        head: { sha: pull.headSha, ref: "feature", repo: { full_name: pull.fork ? "someone/infra" : full_name } },
        base: { ref: pull.baseRef, sha: this.baseSha, repo: { full_name, default_branch: this.defaultBranch } },
      });
    }
    if (is("GET", /\/pulls\/1\/reviews$/)) {
      return answer(
        200,
        this.reviews.map(({ user, state, commit, at = "2026-01-02T00:00:00Z" }, id) => ({
          id,
          user: { login: user },
          state,
          commit_id: commit,
          submitted_at: at,
        })),
      );
    }
    if (is("GET", /\/branches\/main$/)) return answer(200, { name: "main", commit: { sha: this.baseSha } });
    if (is("GET", /\/compare\//)) return answer(200, { behind_by: this.behind, ahead_by: 1 });
    match = is("GET", /\/collaborators\/([^/]+)\/permission$/);
    if (match) {
      const permission = this.permissions[match[1] ?? ""];
      return permission === undefined ? answer(404, { message: "Not Found" }) : answer(200, { permission });
    }
    if (is("POST", /\/issues\/1\/labels$/)) {
      for (const label of body.labels as string[]) this.labels.add(label);
      return answer(200, []);
    }
    match = is("DELETE", /\/issues\/1\/labels\/(.+)$/);
    if (match) {
      return this.labels.delete(match[1] ?? "") ? answer(200, []) : answer(404, { message: "Label does not exist" });
    }
    match = is("GET", /\/actions\/runs\/(\d+)$/);
    if (match) {
      const status = this.runs[Number(match[1])];
      const { event, path, headRepository } = {
        event: "workflow_run",
        path: ".github/workflows/infra-plan.yml",
        headRepository: "urr/infra",
        ...this.origins[Number(match[1])],
      };
      return status === undefined
        ? answer(404, { message: "Not Found" })
        : answer(200, {
            status,
            event,
            path,
            repository: { full_name: "urr/infra" },
            head_repository: { full_name: headRepository },
          });
    }
    if (is("GET", /\/activity$/)) {
      const { headSha } = this.pull;
      const pushes = this.pushers.map((login) => ({ after: headSha, actor: login === null ? null : { login } }));
      const later = { after: "0".repeat(40), actor: { login: "somebody" } };
      const all = [...Array.from({ length: this.laterActivities }, () => later), ...pushes];
      const size = Math.min(Number(query.get("per_page") ?? 30), this.pageSize);
      // GitHub's pages of activities have cursors instead of numbers.
      const from = Number(query.get("after") ?? 0);
      const next = `<${this.url}${repo}/activity?ref=${query.get("ref")}&per_page=${size}&after=${from + size}>; rel="next"`;
      const right = query.get("ref") === "refs/heads/feature";
      return answer(
        200,
        right ? all.slice(from, from + size) : [],
        right && from + size < all.length ? { link: next } : {},
      );
    }
    if (is("GET", /\/actions\/artifacts$/)) {
      // The newest first.
      const found = this.artifacts.filter(({ name }) => name === query.get("name")).sort((a, b) => b.id - a.id);
      const size = Math.min(Number(query.get("per_page") ?? 30), this.pageSize);
      const page = Number(query.get("page") ?? 1);
      const next = `<${this.url}${repo}/actions/artifacts?name=${query.get("name")}&per_page=${size}&page=${page + 1}>; rel="next"`;
      const body = {
        total_count: found.length,
        artifacts: found.slice((page - 1) * size, page * size).map(({ id, name, run, zip }) => ({
          id,
          name,
          size_in_bytes: zip.length,
          expired: false,
          created_at: "2026-01-01T00:00:00Z",
          workflow_run: { id: run },
        })),
      };
      return answer(200, body, page * size < found.length ? { link: next } : {});
    }
    match = is("GET", /\/actions\/artifacts\/(\d+)\/zip$/);
    if (match) {
      const artifact = this.artifacts.find(({ id }) => id === Number(match?.[1]));
      return artifact ? answer(200, artifact.zip) : answer(404, { message: "Not Found" });
    }
    return answer(404, { message: "Not Found" });
  }

  private graphql(
    login: string,
    { query, variables }: { query: string; variables?: { id?: string } },
    answer: (status: number, body: unknown) => unknown,
  ): unknown {
    if (/viewer/.test(query)) return answer(200, { data: { viewer: { login } } });
    const comment = this.comments.find(({ node_id }) => node_id === variables?.id);
    if (!comment) return answer(200, { errors: [{ type: "NOT_FOUND", message: "no node" }] });
    comment.minimised = query.includes("minimizeComment") && !query.includes("unminimizeComment");
    return answer(200, { data: { minimizeComment: { clientMutationId: null } } });
  }
}
