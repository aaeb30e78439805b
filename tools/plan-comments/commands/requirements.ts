import type { Permission, PullFacts } from "../client/pulls";
import type { BundleRef } from "./bundle";
import type { Command } from "./parse";

/** What was planned: as the plan job wrote it down. */
export interface PlannedBundle extends BundleRef {
  /** SHA-256 of the comment that tells the plan. */
  readonly text: string;
}

/** A plan with what has become of it on its pull request. */
export interface CommentedPlan extends PlannedBundle {
  /** Whether the pull request's comment says what the plan job wrote, to the letter. */
  readonly commented: boolean;
  /** When the plan was kept or its comment last written, whichever is later, in ISO 8601 by GitHub's clock. */
  readonly at: string;
}

/** What a pull request lacks to be planned with credentials, in words: what goes elsewhere, nobody who guards main looks at. */
function elsewhere({ baseRef, defaultBranch }: PullFacts): readonly string[] {
  return baseRef === defaultBranch ? [] : [`a pull request against ${defaultBranch}`];
}

/** What a pull request lacks to be approved for main, in words. */
function unapproved(facts: PullFacts): readonly string[] {
  const { approvers, headSha, objectors } = facts;
  const known = facts.pusherKnown ? "" : "; who pushed it is not known to GitHub: push a commit";
  const approval = `an approval of ${headSha.slice(0, 7)} by somebody else with write permission, who did not push it${known}`;
  return [
    ...elsewhere(facts),
    ...(approvers.length > 0 ? [] : [approval]),
    ...(objectors.length === 0 ? [] : ["no review that asks for changes"]),
  ];
}

/** Why a plan does not count as reviewed, in words; empty if it does. */
export function unreviewed(facts: PullFacts, planned: CommentedPlan): readonly string[] {
  const missing = [...unapproved(facts)];
  if (planned.head !== facts.headSha)
    missing.push(`a plan of the newest commit: the last one is of ${planned.head.slice(0, 7)}`);
  if (!planned.commented) {
    missing.push(
      `the comment as the plan job wrote it; it is gone, or was edited: comment \`cdktf plan ${planned.stack}\``,
    );
  }
  // The same commit can be planned again, with another outcome: what was approved has to be what was read. GitHub's times have whole seconds.
  if (facts.approvers.length > 0 && (facts.approvedAt ?? "") <= planned.at)
    missing.push("an approval of the newest plan: the last one is not newer than it");
  return missing;
}

/** Everything that is missing for a command to be carried out, in words for its author; empty if nothing is. */
export function missingFor(
  command: Command,
  permission: Permission,
  facts: PullFacts,
  planned: CommentedPlan | undefined,
): readonly string[] {
  if (command.name === "help") return [];
  const missing: string[] = [];
  const need = (holds: boolean, text: string) => {
    if (!holds) missing.push(text);
  };
  need(permission === "admin" || permission === "write", "write permission on this repository");
  need(facts.state === "open" || command.name === "unlock", "an open pull request");
  if (command.sha !== undefined)
    need(facts.headSha.startsWith(command.sha), `the newest commit: it is ${facts.headSha.slice(0, 7)} by now`);
  if (command.name === "unlock") return missing;
  need(!facts.fork, "a branch of this repository: what comes from a fork is previewed, never planned");
  if (command.name === "plan") return [...missing, ...elsewhere(facts)];
  need(!facts.draft, "a pull request that is ready for review, not a draft");
  missing.push(...(planned ? unreviewed(facts, planned) : unapproved(facts)));
  need(facts.mergeable !== false, "a branch without conflicts");
  need(
    facts.mergeable !== undefined,
    "GitHub's word on whether it can be merged: it is still working that out, try again",
  );
  need(facts.behind === 0, `a branch that is up to date: ${facts.baseRef} is ${facts.behind} commits ahead`);
  need(
    planned !== undefined,
    `a plan of ${command.stack ?? "the stack"}: comment \`cdktf plan ${command.stack ?? ""}\``,
  );
  if (planned) {
    need(planned.stack === command.stack, "a plan of this very stack");
    need(
      planned.base === facts.baseSha,
      `a plan against ${facts.baseRef} as it is now: the last one was against ${planned.base.slice(0, 7)}`,
    );
  }
  return missing;
}
