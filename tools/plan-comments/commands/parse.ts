export type CommandName = "plan" | "apply" | "unlock" | "help";

export interface Command {
  readonly name: CommandName;
  readonly stack?: string;
  /** Commit the author of the comment speaks of: at least seven digits of it. */
  readonly sha?: string;
}

export type Parsed =
  | { readonly kind: "none" }
  | { readonly kind: "command"; readonly command: Command }
  /** Meant as a command, but not one: worth an answer. */
  | { readonly kind: "mistake"; readonly problem: string };

const NAMES: readonly CommandName[] = ["plan", "apply", "unlock", "help"];

/**
 * Reads a comment as a command. The whole comment has to be the command, on one line: a command in a quotation, in a
 * code block or among other words is talk about commands.
 *
 * @param stacks names that exist
 */
export function parseCommand(body: string, stacks: readonly string[]): Parsed {
  const text = body.replaceAll("\r\n", "\n").trim();
  if (!/^cdktf(?:\s|$)/.test(text)) return { kind: "none" };
  if (text.includes("\n")) {
    return /^cdktf (?:plan|apply|unlock|help)\b/.test(text)
      ? { kind: "mistake", problem: "a command stands alone in its comment, on one line" }
      : { kind: "none" };
  }
  const [, name, ...rest] = text.split(/ +/);
  const known = NAMES.find((candidate) => candidate === name);
  if (!known) return { kind: "mistake", problem: `the commands are ${NAMES.join(", ")}` };
  const [stack, sha, ...more] = rest;
  if (more.length > 0 || (known === "help" && rest.length > 0))
    return { kind: "mistake", problem: `too many words after ${known}` };
  if (stack !== undefined && !stacks.includes(stack)) {
    return { kind: "mistake", problem: `no such stack; the stacks are ${stacks.join(", ")}` };
  }
  if (sha !== undefined && !/^[0-9a-f]{7,40}$/.test(sha)) {
    return { kind: "mistake", problem: "after the stack, only a commit may stand: 7 to 40 hexadecimal digits" };
  }
  if (stack === undefined && (known === "apply" || known === "unlock")) {
    return { kind: "mistake", problem: `${known} needs the name of a stack: ${stacks.join(", ")}` };
  }
  return {
    kind: "command",
    command: { name: known, ...(stack === undefined ? {} : { stack }), ...(sha === undefined ? {} : { sha }) },
  };
}

/** The answer to `cdktf help`. */
export const helpText = (stacks: readonly string[]): string =>
  [
    "| comment | what it does |",
    "|:--|:--|",
    "| `cdktf plan [stack]` | plans the stack, or all of them, for the head of this pull request again |",
    "| `cdktf apply <stack> [commit]` | applies exactly the plan that was commented, if everything required is there |",
    "| `cdktf unlock <stack>` | gives up this pull request's lock on the stack |",
    "| `cdktf help` | this |",
    "",
    `Stacks: ${stacks.map((stack) => `\`${stack}\``).join(", ")}. Applying needs: write permission, a pull request against the main branch, an approval of the newest commit and its plan by somebody else, who did not push it either, no request for changes, no conflict, a branch that is up to date with its base, and a plan of that commit, in a comment that nobody edited.`,
  ].join("\n");
