import type { PullRequestRef } from "../client/comments";
import type { PullFacts, PullRequests, Reaction } from "../client/pulls";
import { code } from "../render/markdown";
import type { Lock, StackLocks } from "./locks";
import { type Command, helpText, parseCommand } from "./parse";
import { type CommentedPlan, missingFor, type PlannedBundle } from "./requirements";

/** The parts of GitHub's `issue_comment` event that matter. */
export interface CommentEvent {
  readonly action: string;
  readonly issue: { readonly number: number; readonly pull_request?: unknown };
  readonly comment: {
    readonly id: number;
    readonly body: string;
    readonly created_at: string;
    readonly updated_at: string;
    readonly user: { readonly login: string; readonly type: string } | null;
    readonly performed_via_github_app?: unknown;
  };
}

export interface Surroundings {
  readonly stacks: readonly string[];
  readonly repository: { readonly owner: string; readonly repo: string };
  readonly pulls: PullRequests;
  /** Absent in a job without credentials: it decides all but the lock. */
  readonly locks?: StackLocks;
  /** Workflow run that is carrying out the command. */
  readonly run: number;
  /** What the plan job of this head wrote down for a stack. */
  readonly plannedOf: (pull: number, stack: string, head: string) => Promise<CommentedPlan | undefined>;
}

export type Decision =
  | { readonly kind: "ignore"; readonly why: string }
  | { readonly kind: "answer"; readonly text: string; readonly reaction: Reaction }
  /** Go on: plan these stacks, or apply this bundle; the lock is held. */
  | {
      readonly kind: "plan";
      readonly stacks: readonly string[];
      readonly facts: PullFacts;
      readonly reaction: Reaction;
    }
  /** For a job that can reach the locks. */
  | { readonly kind: "unlock"; readonly stack: string; readonly reaction: Reaction }
  | { readonly kind: "apply"; readonly planned: PlannedBundle; readonly facts: PullFacts; readonly reaction: Reaction };

/**
 * What to do about a comment. Looks up everything it relies on at GitHub; of the event, only who wrote what is used. A
 * comment by a bot, or one that was edited, is never a command.
 */
export async function decide(event: CommentEvent, around: Surroundings): Promise<Decision> {
  const ignore = (why: string): Decision => ({ kind: "ignore", why });
  const { comment, issue } = event;
  if (event.action !== "created") return ignore("only new comments are commands");
  if (comment.created_at !== comment.updated_at) return ignore("the comment was edited");
  if (issue.pull_request === undefined || issue.pull_request === null) return ignore("not a pull request");
  if (comment.user?.type !== "User" || comment.performed_via_github_app) return ignore("not written by a person");
  const parsed = parseCommand(comment.body, around.stacks);
  if (parsed.kind === "none") return ignore("not a command");
  const pull: PullRequestRef = { ...around.repository, number: issue.number };
  const permission = await around.pulls.permissionOf(pull, comment.user.login);
  if (permission === "none") return ignore("an outsider");
  if (parsed.kind === "mistake") return answer(`${parsed.problem}.\n\n${helpText(around.stacks)}`, "confused");
  const { command } = parsed;
  if (command.name === "help") return answer(helpText(around.stacks), "+1");
  const look = async () => {
    const facts = await around.pulls.facts(pull);
    const planned =
      command.name === "apply" && command.stack !== undefined
        ? await around.plannedOf(pull.number, command.stack, facts.headSha)
        : undefined;
    return { facts, planned, missing: missingFor(command, permission, facts, planned) };
  };
  const { facts, planned, missing } = await look();
  if (missing.length > 0) return answer(needsText(command, missing), "confused");
  if (command.name === "plan") {
    const stacks = command.stack === undefined ? around.stacks : [command.stack];
    return { kind: "plan", stacks, facts, reaction: "eyes" };
  }
  const stack = command.stack ?? "";
  const { locks } = around;
  if (command.name === "unlock") {
    return locks ? unlock(stack, pull, { ...around, locks }) : { kind: "unlock", stack, reaction: "eyes" };
  }
  if (!planned) throw new Error(`${stack}: an apply without a plan passed its requirements`);
  if (!locks) return { kind: "apply", planned, facts, reaction: "rocket" };
  const before = await locks.holder(stack);
  const taken = await locks.acquire({
    stack,
    pull: pull.number,
    head: facts.headSha,
    who: comment.user.login,
    run: around.run,
  });
  if (!taken.acquired) return answer(heldText(stack, taken.holder, pull.number), "confused");
  // A push, a review, an edit or another plan between the comment and here: the lock is held, so whatever comes next sees it.
  const now = await look();
  const moved = now.facts.headSha !== facts.headSha || now.facts.baseSha !== facts.baseSha;
  if (!moved && now.missing.length === 0 && now.planned)
    return { kind: "apply", planned: now.planned, facts: now.facts, reaction: "rocket" };
  // What was held before this run stays so: something was applied.
  if (before?.pull === pull.number) await locks.finish(stack, around.run);
  else await locks.release(stack, pull.number, around.run);
  return answer(
    moved
      ? `${code(nameOf(command))}: a commit came in between. Look at the new plan first.`
      : needsText(command, now.missing),
    "confused",
  );
}

async function unlock(
  stack: string,
  pull: PullRequestRef,
  around: Surroundings & { readonly locks: StackLocks },
): Promise<Decision> {
  const holder = await around.locks.holder(stack);
  if (!holder) return answer(`${code(stack)} is not locked.`, "+1");
  if (holder.pull !== pull.number) return answer(heldText(stack, holder, pull.number), "confused");
  if (holder.run !== undefined && !(await around.pulls.hasEnded(pull, holder.run))) {
    return answer(
      `${code(stack)} is being applied by run ${holder.run} right now. Wait for it, or cancel it first.`,
      "confused",
    );
  }
  return (await around.locks.release(stack, pull.number, holder.run))
    ? answer(`${code(stack)} is free.`, "+1")
    : answer(`${code(stack)} changed hands in between: try again.`, "confused");
}

const nameOf = (command: Command): string =>
  ["cdktf", command.name, command.stack ?? "", command.sha ?? ""].join(" ").trim();

const needsText = (command: Command, missing: readonly string[]): string =>
  `${code(nameOf(command))} needs:\n\n${missing.map((text) => `- ${text}`).join("\n")}`;

function heldText(stack: string, holder: Lock | undefined, pull: number): string {
  if (!holder) return `${code(stack)} was locked a moment ago: try again.`;
  const by =
    holder.pull === 0 ? "an apply of the main branch" : holder.pull === pull ? "this pull request" : `#${holder.pull}`;
  const run = holder.run === undefined ? "" : `, run ${holder.run} is at work`;
  return `${code(stack)} is locked by ${by} (${code(holder.who)}, ${new Date(holder.since).toISOString().slice(0, 16).replace("T", " ")} UTC${run}). It is free once that is merged, closed or unlocked.`;
}

function answer(text: string, reaction: Reaction): Decision {
  return { kind: "answer", text, reaction };
}
