import { createHash } from "node:crypto";
import type { Octokit } from "@octokit/rest";
import { markerOf, type Remembered, readMarker, readMemory, unpackMemory } from "../render/index";

/** A pull request. */
export interface PullRequestRef {
  readonly owner: string;
  readonly repo: string;
  readonly number: number;
}

interface Comment {
  readonly id: number;
  readonly nodeId: string;
  readonly body: string;
  readonly url: string;
  /** When it was last written or edited, in ISO 8601. */
  readonly at: string;
}

/** A stack's comment as it stands now. */
export interface ShownText {
  readonly digest: string;
  readonly at: string;
}

export interface UpsertResult {
  /** Whether the pull request has moved on: nothing was written. */
  readonly superseded: boolean;
  readonly created: number;
  readonly updated: number;
  readonly unchanged: number;
  readonly minimised: number;
  /** Address of the first part. */
  readonly url?: string;
}

const OUTDATED_TEXT = "_This part is outdated: the plan has become shorter. See part 1._";

/**
 * The plan comments of one pull request: one per stack and part, found again by the marker on their first line and by
 * their author, so that neither a quoted marker nor one that somebody else writes is ever touched.
 */
export class PlanComments {
  private ownLogin: string | undefined;

  /** @param login login of the token's account. @default asked from GitHub */
  constructor(
    private readonly github: Octokit,
    private readonly pull: PullRequestRef,
    login?: string,
  ) {
    this.ownLogin = login;
  }

  /** What the last comment of a stack remembered of its plan. */
  async previous(stack: string): Promise<Remembered | undefined> {
    const packed = readMemory((await this.firstBody(stack)) ?? "");
    return packed === undefined ? undefined : unpackMemory(packed);
  }

  /** Body of a stack's first part, if there is one of our own. */
  async firstBody(stack: string): Promise<string | undefined> {
    return (await this.own(stack)).get(1)?.[0]?.body;
  }

  /** What the stack's comment says now, and since when: people with write permission can edit what others wrote. */
  async shown(stack: string): Promise<ShownText | undefined> {
    const parts = [...(await this.own(stack))]
      .sort(([a], [b]) => a - b)
      .flatMap(([, comments]) => comments.filter(({ body }) => !body.includes(OUTDATED_TEXT)));
    const at = parts
      .map((comment) => comment.at)
      .sort()
      .at(-1);
    return at === undefined ? undefined : { digest: digestOfText(parts.map(({ body }) => body)), at };
  }

  /**
   * Makes the stack's comments hold these bodies: those that are there are changed in place, missing ones created, parts
   * that are no longer needed minimised. Doing it twice does nothing the second time.
   *
   * @param head commit that was planned; if the pull request has another one by now, nothing is written
   */
  async upsert(stack: string, bodies: readonly string[], head?: string): Promise<UpsertResult> {
    bodies.forEach((body, index) => {
      if (!body.startsWith(markerOf(stack, index + 1))) {
        throw new Error(
          `body ${index + 1} of stack ${stack} does not begin with its marker ${markerOf(stack, index + 1)}`,
        );
      }
    });
    const counts = { created: 0, updated: 0, unchanged: 0, minimised: 0 };
    if (head !== undefined && (await this.headOf()) !== head) return { superseded: true, ...counts };
    let existing = await this.own(stack);
    let url: string | undefined;
    for (const [index, body] of bodies.entries()) {
      const part = index + 1;
      const comment = existing.get(part)?.[0];
      const written = comment ? await this.change(comment, body, stack, part) : await this.create(stack, part, body);
      if (!comment) counts.created++;
      else if (written === comment) counts.unchanged++;
      else counts.updated++;
      url ??= written.url;
    }
    // Another run may have created the same part meanwhile: the oldest stays.
    if (counts.created > 0) existing = await this.own(stack);
    for (const [part, comments] of existing) {
      const body = bodies[part - 1];
      const surplus = body === undefined ? comments : comments.slice(1);
      const oldest = comments[0];
      if (body !== undefined && oldest && oldest.body !== body && comments.length > 1) {
        await this.change(oldest, body, stack, part);
        counts.updated++;
      }
      for (const comment of surplus) if (await this.retire(comment, stack, part)) counts.minimised++;
    }
    return { superseded: false, ...counts, ...(url === undefined ? {} : { url }) };
  }

  /** A plain answer, such as to a command. */
  async reply(body: string): Promise<void> {
    await this.github.rest.issues.createComment({ ...this.place(), body });
  }

  private place() {
    return { owner: this.pull.owner, repo: this.pull.repo, issue_number: this.pull.number };
  }

  private async headOf(): Promise<string> {
    const { data } = await this.github.rest.pulls.get({
      owner: this.pull.owner,
      repo: this.pull.repo,
      pull_number: this.pull.number,
    });
    return data.head.sha;
  }

  private async login(): Promise<string> {
    if (this.ownLogin === undefined) {
      const { viewer } = await this.github.graphql<{ viewer: { login: string } }>("query { viewer { login } }");
      this.ownLogin = viewer.login;
    }
    return this.ownLogin;
  }

  /** Own comments of a stack by part, the oldest first; all pages. */
  private async own(stack: string): Promise<ReadonlyMap<number, readonly Comment[]>> {
    const login = await this.login();
    const all = await this.github.paginate(this.github.rest.issues.listComments, { ...this.place(), per_page: 100 });
    const parts = new Map<number, Comment[]>();
    for (const { id, node_id, body, html_url, user, updated_at } of [...all].sort((a, b) => a.id - b.id)) {
      const marker = readMarker(body ?? "");
      if (user?.login !== login || marker?.stack !== stack) continue;
      const comment = { id, nodeId: node_id, body: body ?? "", url: html_url, at: updated_at };
      parts.set(marker.part, [...(parts.get(marker.part) ?? []), comment]);
    }
    return parts;
  }

  /** The same object if there was nothing to change. */
  private async change(comment: Comment, body: string, stack: string, part: number): Promise<Comment> {
    if (sameText(comment.body, body)) return comment;
    if (comment.body.includes(OUTDATED_TEXT)) await this.setMinimised(comment, false);
    try {
      await this.github.rest.issues.updateComment({
        owner: this.pull.owner,
        repo: this.pull.repo,
        comment_id: comment.id,
        body,
      });
    } catch (error) {
      // Deleted since it was listed.
      if ((error as { status?: number }).status === 404) return this.create(stack, part, body);
      throw error;
    }
    return { ...comment, body };
  }

  /** Creates a comment; after a failure that leaves open whether it was done, looks before it tries again. */
  private async create(stack: string, part: number, body: string): Promise<Comment> {
    for (let attempt = 1; ; attempt++) {
      try {
        const { data } = await this.github.rest.issues.createComment({ ...this.place(), body });
        return { id: data.id, nodeId: data.node_id, body, url: data.html_url, at: data.updated_at };
      } catch (error) {
        const status = (error as { status?: number }).status ?? 0;
        if (attempt >= 3 || (status !== 0 && status < 500)) throw error;
        const made = (await this.own(stack)).get(part)?.find((comment) => sameText(comment.body, body));
        if (made) return made;
      }
    }
  }

  /** Empties and minimises a part that is no longer needed; false if that was done before. */
  private async retire(comment: Comment, stack: string, part: number): Promise<boolean> {
    if (comment.body.includes(OUTDATED_TEXT)) return false;
    await this.setMinimised(comment, true);
    const body = `${markerOf(stack, part)}\n${OUTDATED_TEXT}`;
    await this.github.rest.issues.updateComment({
      owner: this.pull.owner,
      repo: this.pull.repo,
      comment_id: comment.id,
      body,
    });
    return true;
  }

  private async setMinimised(comment: Comment, minimised: boolean): Promise<void> {
    await (minimised
      ? this.github.graphql(
          "mutation($id: ID!) { minimizeComment(input: {subjectId: $id, classifier: OUTDATED}) { clientMutationId } }",
          { id: comment.nodeId },
        )
      : this.github.graphql("mutation($id: ID!) { unminimizeComment(input: {subjectId: $id}) { clientMutationId } }", {
          id: comment.nodeId,
        }));
  }
}

/** GitHub stores line ends as they come and may trim the end. */
const stored = (text: string): string => text.replaceAll("\r\n", "\n").trimEnd();

const sameText = (a: string, b: string): boolean => stored(a) === stored(b);

/** SHA-256 of the parts of a comment, as GitHub stores them. */
export const digestOfText = (bodies: readonly string[]): string =>
  createHash("sha256")
    .update(JSON.stringify(bodies.map(stored)))
    .digest("hex");
