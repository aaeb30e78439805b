import type { Permission, PullFacts } from "../client/pulls";
import type { Command } from "./parse";

/** What was planned: as the plan job wrote it down. */
export interface PlannedBundle {
  readonly stack: string;
  readonly head: string;
  readonly base: string;
  /** SHA-256 of the bundle's manifest. */
  readonly digest: string;
  /** When the plan job wrote it down, in ISO 8601 by GitHub's clock. */
  readonly at?: string;
}

/** Everything that is missing for a command to be carried out, in words for its author; empty if nothing is. */
export function missingFor(
  command: Command,
  permission: Permission,
  facts: PullFacts,
  planned: PlannedBundle | undefined,
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
  if (command.name === "plan") return missing;
  need(!facts.draft, "a pull request that is ready for review, not a draft");
  need(
    facts.approvers.length > 0,
    `an approval of ${facts.headSha.slice(0, 7)} by somebody else with write permission, who did not push it`,
  );
  need(facts.objectors.length === 0, "no review that asks for changes");
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
    need(planned.head === facts.headSha, `a plan of the newest commit: the last one is of ${planned.head.slice(0, 7)}`);
    // The same commit can be planned again, with another outcome: what was approved has to be what was read.
    need(
      facts.approvers.length === 0 || planned.at === undefined || (facts.approvedAt ?? "") >= planned.at,
      "an approval of the newest plan: the last one is older than it",
    );
    need(
      planned.base === facts.baseSha,
      `a plan against ${facts.baseRef} as it is now: the last one was against ${planned.base.slice(0, 7)}`,
    );
  }
  return missing;
}
