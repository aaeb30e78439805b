import type { Octokit } from "@octokit/rest";
import type { PullRequestRef } from "./comments";

export type Permission = "admin" | "write" | "read" | "none";
export type Reaction = "eyes" | "rocket" | "+1" | "-1" | "confused";

/** What the requirements of an apply ask about a pull request. */
export interface PullFacts {
  readonly state: "open" | "closed";
  readonly draft: boolean;
  readonly fork: boolean;
  readonly author: string;
  readonly headSha: string;
  readonly baseRef: string;
  readonly defaultBranch: string;
  /** Tip of the base branch now. */
  readonly baseSha: string;
  /** Commits of the base branch that the head does not have. */
  readonly behind: number;
  /** Undefined while GitHub is still working it out. */
  readonly mergeable: boolean | undefined;
  /** People with write permission, other than the author and whoever pushed it, whose last review approves this very head. */
  readonly approvers: readonly string[];
  /** When the last of them approved, in ISO 8601. */
  readonly approvedAt?: string;
  /** People with write permission whose last review asks for changes. */
  readonly objectors: readonly string[];
  /** Whether GitHub says who pushed the head. Where it does not, nobody is an approver. Always so for a fork's, which is never planned. */
  readonly pusherKnown: boolean;
}

/** Reads pull requests and says small things on them. */
export class PullRequests {
  constructor(
    private readonly github: Octokit,
    private readonly sleep: (milliseconds: number) => Promise<void> = (milliseconds) =>
      new Promise((resolve) => setTimeout(resolve, milliseconds)),
  ) {}

  /** What an account may do here; nothing for one that is not a collaborator. */
  async permissionOf(pull: PullRequestRef, username: string): Promise<Permission> {
    try {
      const { data } = await this.github.rest.repos.getCollaboratorPermissionLevel({
        owner: pull.owner,
        repo: pull.repo,
        username,
      });
      return data.permission === "admin" || data.permission === "write" || data.permission === "read"
        ? data.permission
        : "none";
    } catch (error) {
      if ((error as { status?: number }).status === 404) return "none";
      throw error;
    }
  }

  async react(pull: PullRequestRef, commentId: number, content: Reaction): Promise<void> {
    await this.github.rest.reactions.createForIssueComment({
      owner: pull.owner,
      repo: pull.repo,
      comment_id: commentId,
      content,
    });
  }

  /** Adds or takes away a label; both are fine if it is so already. */
  async setLabel(pull: PullRequestRef, name: string, present: boolean): Promise<void> {
    const place = { owner: pull.owner, repo: pull.repo, issue_number: pull.number };
    if (present) await this.github.rest.issues.addLabels({ ...place, labels: [name] });
    else {
      try {
        await this.github.rest.issues.removeLabel({ ...place, name });
      } catch (error) {
        if ((error as { status?: number }).status !== 404) throw error;
      }
    }
  }

  /** Whether a workflow run has ended, so that a lock it left is nobody's. A run that is gone has. */
  async hasEnded(pull: PullRequestRef, runId: number): Promise<boolean> {
    try {
      const { data } = await this.github.rest.actions.getWorkflowRun({
        owner: pull.owner,
        repo: pull.repo,
        run_id: runId,
      });
      return data.status === "completed";
    } catch (error) {
      if ((error as { status?: number }).status === 404) return true;
      throw error;
    }
  }

  async facts(ref: PullRequestRef): Promise<PullFacts> {
    const place = { owner: ref.owner, repo: ref.repo, pull_number: ref.number };
    let { data: pull } = await this.github.rest.pulls.get(place);
    for (let attempt = 0; pull.mergeable === null && pull.state === "open" && attempt < 4; attempt++) {
      await this.sleep(2_000);
      ({ data: pull } = await this.github.rest.pulls.get(place));
    }
    const { data: branch } = await this.github.rest.repos.getBranch({
      owner: ref.owner,
      repo: ref.repo,
      branch: pull.base.ref,
    });
    const { data: comparison } = await this.github.rest.repos.compareCommitsWithBasehead({
      owner: ref.owner,
      repo: ref.repo,
      basehead: `${branch.commit.sha}...${pull.head.sha}`,
    });
    const reviews = await this.github.paginate(this.github.rest.pulls.listReviews, { ...place, per_page: 100 });
    const last = new Map<string, { readonly state: string; readonly commit: string | null; readonly at: string }>();
    for (const review of reviews) {
      if (!review.user || review.state === "COMMENTED" || review.state === "PENDING") continue;
      last.set(review.user.login, {
        state: review.state,
        commit: review.commit_id ?? null,
        at: review.submitted_at ?? "",
      });
    }
    const author = pull.user?.login ?? "";
    const fork = pull.head.repo?.full_name !== pull.base.repo.full_name;
    const pushers = fork ? [] : await this.pushersOf(ref, pull.head.ref, pull.head.sha);
    const pusherKnown = fork || pushers.length > 0;
    const own = new Set([author, ...pushers]);
    const approvers: string[] = [];
    const objectors: string[] = [];
    for (const [login, review] of last) {
      const approves = review.state === "APPROVED" && review.commit === pull.head.sha && pusherKnown && !own.has(login);
      const objects = review.state === "CHANGES_REQUESTED";
      if (!approves && !objects) continue;
      if (!["admin", "write"].includes(await this.permissionOf(ref, login))) continue;
      (approves ? approvers : objectors).push(login);
    }
    const approvedAt = approvers
      .map((login) => last.get(login)?.at ?? "")
      .sort()
      .at(-1);
    return {
      state: pull.state === "open" ? "open" : "closed",
      draft: pull.draft === true,
      fork,
      author,
      headSha: pull.head.sha,
      baseRef: pull.base.ref,
      defaultBranch: pull.base.repo.default_branch,
      baseSha: branch.commit.sha,
      behind: comparison.behind_by,
      mergeable: pull.mergeable ?? undefined,
      approvers,
      ...(approvedAt === undefined ? {} : { approvedAt }),
      objectors,
      pusherKnown,
    };
  }

  /**
   * Who pushed a commit to its branch, as GitHub saw it: what a commit says of its author is anybody's word. Empty where GitHub does not
   * tell all of them.
   */
  private async pushersOf(ref: PullRequestRef, branch: string, headSha: string): Promise<readonly string[]> {
    const pages = this.github.paginate.iterator(this.github.rest.repos.listActivities, {
      owner: ref.owner,
      repo: ref.repo,
      ref: `refs/heads/${branch}`,
      per_page: 100,
    });
    for await (const { data } of pages) {
      const pushes = data.filter(({ after }) => after === headSha);
      if (pushes.length === 0) continue;
      return pushes.every(({ actor }) => actor) ? pushes.flatMap(({ actor }) => (actor ? [actor.login] : [])) : [];
    }
    return [];
  }
}
