import {
  ControlError,
  closeEvent,
  drainEvent,
  type EventStatus,
  eventStatus,
  listEvents,
  openEvent,
  pauseEvent,
  reportSaturation,
  resumeEvent,
  setBypass,
  setCeiling,
  setRate,
} from "../../lambdas/shared/control";
import { type Arguments, parseArguments, USAGE, UsageError } from "./arguments";
import { gatherFacts } from "./facts";
import { assess } from "./preflight";
import { painter, renderFindings, renderProgress, renderStatus, stateOf } from "./render";
import { ENVIRONMENTS, openTarget, type Target } from "./target";
import { warmFunctions, warmTables } from "./warm";

/** The terminal, or what stands for it. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
  /** Whether somebody is there to read and answer. */
  readonly interactive: boolean;
  readonly ask: (question: string) => Promise<string>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** Ends `status --watch`. */
  readonly stopped: () => boolean;
}

export const EXIT = { done: 0, failed: 1, usage: 2, notConfirmed: 3, notAllowed: 4, tooSmall: 5 } as const;

/** A change of one event. */
interface Change {
  /** What happens to visitors, for the question and the dry run. */
  readonly effect: (status: EventStatus | undefined) => string;
  /** Whether it lets people in or voids what they hold. */
  readonly asks: (status: EventStatus | undefined) => boolean;
  readonly apply: (target: Target) => Promise<unknown>;
}

/** Runs one command line and returns the exit code. */
export async function runCommand(args: readonly string[], terminal: Terminal): Promise<number> {
  if (args.includes("--help") || args.length === 0) {
    terminal.out(USAGE);
    return args.length === 0 ? EXIT.usage : EXIT.done;
  }
  let parsed: Arguments;
  try {
    parsed = parseArguments(args, terminal.env);
  } catch (error) {
    if (error instanceof UsageError) {
      terminal.error(`vwr: not understood:\n${error.problems.map((line) => `  - ${line}`).join("\n")}\nSee --help.\n`);
      return EXIT.usage;
    }
    throw error;
  }
  const target = openTarget(ENVIRONMENTS[parsed.environment], parsed.endpoint, terminal.now);
  try {
    return await dispatch(parsed, target, terminal);
  } catch (error) {
    return fail(error, target, terminal);
  } finally {
    target.close();
  }
}

async function dispatch(args: Arguments, target: Target, terminal: Terminal): Promise<number> {
  switch (args.command) {
    case "status":
      return args.event === undefined ? showAll(args, target, terminal) : showOne(args, args.event, target, terminal);
    case "publish":
      return publish(args, target, terminal);
    case "preflight":
      return preflight(args, target, terminal);
    case "warm":
      return warm(args, target, terminal);
    default:
      return change(args, args.event as string, changeFor(args, args.event as string), target, terminal);
  }
}

function changeFor(args: Arguments, event: string): Change {
  const { command, value } = args;
  const always = () => true;
  const never = () => false;
  switch (command) {
    case "open":
      return {
        effect: (status) =>
          status?.isActive
            ? `voids the places of ${status.waiting} who wait and every token of generation ${status.generation}`
            : `starts a new generation: visitors queue, and tokens of earlier generations are void${args.opensAt === undefined ? "" : `; who comes before ${new Date(args.opensAt * 1000).toISOString()} draws lots then`}`,
        asks: always,
        apply: ({ plane }) =>
          openEvent(plane, event, {
            ...(args.rate !== undefined && { batchSize: args.rate }),
            ...(args.stripes !== undefined && { stripes: args.stripes }),
            ...(args.lease !== undefined && { lease: args.lease }),
            ...(args.opensAt !== undefined && { opensAt: args.opensAt }),
            again: args.again,
          }),
      };
    case "pause":
      return {
        effect: () => "lets nobody in until it is resumed; places are still given",
        asks: never,
        apply: ({ plane }) => pauseEvent(plane, event),
      };
    case "resume":
      return {
        effect: (status) => `lets in ${status?.waiting ?? 0} who wait, at the usual rate`,
        asks: always,
        apply: ({ plane }) => resumeEvent(plane, event),
      };
    case "drain":
      return {
        effect: (status) => `lets in ${status?.waiting ?? 0} who wait at the usual rate, then closes the event`,
        asks: always,
        apply: ({ plane }) => drainEvent(plane, event),
      };
    case "close":
      return {
        effect: (status) => `lets in at once ${status?.waiting ?? 0} who wait, and everybody who comes`,
        asks: always,
        apply: ({ plane }) => closeEvent(plane, event),
      };
    case "rate":
      return {
        effect: (status) => `lets in ${value} per 10 s from the next tick on, instead of ${status?.limit ?? "?"}`,
        asks: (status) => status === undefined || Number(value) > status.limit,
        apply: ({ plane }) => setRate(plane, event, Number(value)),
      };
    case "ceiling":
      return {
        effect: () => (value === "none" ? "takes the upper limit off" : `lets in at most ${value} per 10 s`),
        asks: (status) => value === "none" || status === undefined || Number(value) > status.limit,
        apply: ({ plane }) => setCeiling(plane, event, value === "none" ? undefined : Number(value)),
      };
    case "saturated":
      return {
        effect: (status) => `halves the present ${status?.limit ?? "?"} per 10 s; a tenth comes back with every tick`,
        asks: never,
        apply: ({ environment, plane }) => reportSaturation(plane, event, environment.waitingRoom.counterBatchSize),
      };
    case "bypass":
      return {
        effect: (status) =>
          value === "on"
            ? `EMERGENCY: lets in at once ${status?.waiting ?? 0} who wait, and everybody who comes`
            : "goes back to the line, behind the last position handed out",
        asks: () => value === "on",
        apply: ({ plane }) => setBypass(plane, event, value === "on"),
      };
    default:
      throw new Error(`${command} changes nothing`);
  }
}

async function change(
  args: Arguments,
  event: string,
  wanted: Change,
  target: Target,
  terminal: Terminal,
): Promise<number> {
  const { environment } = target;
  const before = await known(event, target);
  if (before === undefined && args.command !== "open") {
    // Says why, with the library's own words.
    await eventStatus(target.plane, event, environment.waitingRoom.counterBatchSize);
  }
  if (args.command === "open" && before?.isActive && !args.again) {
    throw new ControlError(
      "ALREADY_OPEN",
      `Event ${event} is open since generation ${before.generation}. --again opens it anew and voids the places of ${before.waiting} who wait.`,
    );
  }
  const effect = wanted.effect(before);
  if (args.dryRun) {
    const body = { command: args.command, event, environment: environment.name, dryRun: true, effect };
    terminal.out(
      args.json ? `${JSON.stringify(body)}\n` : `Would ${args.command} ${event} in ${environment.name}: ${effect}.\n`,
    );
    return EXIT.done;
  }
  if (wanted.asks(before) && !args.yes && !(await confirmed(args, event, effect, target, terminal))) {
    return EXIT.notConfirmed;
  }
  await wanted.apply(target);
  await target.publish();
  const after = await eventStatus(target.plane, event, environment.waitingRoom.counterBatchSize);
  terminal.out(
    args.json
      ? `${JSON.stringify({ command: args.command, environment: environment.name, ...after, state: stateOf(after) })}\n`
      : `${renderStatus(after, paintFor(terminal))}\n`,
  );
  return EXIT.done;
}

/** The event's id has to be typed in production: a habit of pressing y would not notice the wrong event. */
async function confirmed(
  { command }: Arguments,
  event: string,
  effect: string,
  { environment }: Target,
  { ask, error, interactive }: Terminal,
): Promise<boolean> {
  const question = `${command} ${event} in ${environment.name}: ${effect}.`;
  if (!interactive) {
    error(`vwr: ${question}\nNobody is here to confirm that; say --yes if it is meant.\n`);
    return false;
  }
  const wanted = environment.name === "prod" ? event : "yes";
  const answer = await ask(`${question}\nType ${wanted} to go on: `);
  if (answer.trim() !== wanted) {
    error("vwr: not confirmed; nothing was changed.\n");
    return false;
  }
  return true;
}

async function showOne(args: Arguments, event: string, target: Target, terminal: Terminal): Promise<number> {
  const { counterBatchSize } = target.environment.waitingRoom;
  const paint = paintFor(terminal);
  const redraws = args.watch && terminal.interactive && !args.json;
  do {
    const status = await eventStatus(target.plane, event, counterBatchSize);
    if (args.json) {
      terminal.out(
        `${JSON.stringify({ ...status, state: stateOf(status), at: new Date(terminal.now()).toISOString() })}\n`,
      );
    } else if (!args.watch) {
      terminal.out(`${renderStatus(status, paint)}\n`);
    } else {
      terminal.out(redraws ? `\r\u001b[2K${renderProgress(status, paint)}` : `${renderProgress(status, paint)}\n`);
    }
    if (!args.watch) {
      break;
    }
    if (!status.isActive) {
      // A drained event closes by itself; the edge has to hear of it.
      await target.publish();
      break;
    }
    await terminal.sleep(args.intervalSeconds * 1000);
  } while (!terminal.stopped());
  if (redraws) {
    terminal.out("\n");
  }
  return EXIT.done;
}

async function showAll(args: Arguments, target: Target, terminal: Terminal): Promise<number> {
  const events = await listEvents(target.plane);
  const { counterBatchSize } = target.environment.waitingRoom;
  const all = await Promise.all(events.map(({ eventId }) => eventStatus(target.plane, eventId, counterBatchSize)));
  if (args.json) {
    terminal.out(`${JSON.stringify({ events: all.map((status) => ({ ...status, state: stateOf(status) })) })}\n`);
  } else if (all.length === 0) {
    terminal.out(`No event was ever opened in ${target.countersTable}.\n`);
  } else {
    terminal.out(`${all.map((status) => renderProgress(status, paintFor(terminal))).join("\n")}\n`);
  }
  return EXIT.done;
}

async function publish(args: Arguments, target: Target, terminal: Terminal): Promise<number> {
  const active = (await listEvents(target.plane)).filter(({ isActive }) => isActive).map(({ eventId }) => eventId);
  if (!args.dryRun) {
    await target.publish();
  }
  const list = active.length === 0 ? "no event" : active.join(", ");
  const text = `${args.dryRun ? "Would publish" : "Published"} ${list} to s3://${target.bucket}.\n`;
  terminal.out(args.json ? `${JSON.stringify({ published: !args.dryRun, active, bucket: target.bucket })}\n` : text);
  return EXIT.done;
}

async function preflight(args: Arguments, target: Target, terminal: Terminal): Promise<number> {
  const { facts, unread } = await gatherFacts(target, args.event);
  const findings = assess(crowdOf(args, target), facts, target.environment);
  const paint = paintFor(terminal);
  if (args.json) {
    terminal.out(`${JSON.stringify({ crowd: crowdOf(args, target), findings, unread })}\n`);
  } else {
    terminal.out(`${renderFindings(findings, paint)}\n`);
    terminal.out(unread.map((line) => paint("dim", `not read: ${line}\n`)).join(""));
  }
  return findings.some(({ level }) => level === "too-small") ? EXIT.tooSmall : EXIT.done;
}

async function warm(args: Arguments, target: Target, terminal: Terminal): Promise<number> {
  const results = await warmTables(target, crowdOf(args, target), args.dryRun);
  if (args.site !== undefined) {
    results.push(await warmFunctions(args.site.replace(/\/$/, ""), args.environments, args.dryRun));
  }
  const lines = results.map(({ detail, result, what }) => `${result.padEnd(13)} ${what}: ${detail}\n`);
  terminal.out(args.json ? `${JSON.stringify({ results })}\n` : lines.join(""));
  return EXIT.done;
}

function crowdOf({ arrivalSeconds, rate, visitors }: Arguments, { environment }: Target) {
  return { visitors, arrivalSeconds, ratePerTick: rate ?? environment.waitingRoom.counterBatchSize };
}

async function known(event: string, { environment, plane }: Target): Promise<EventStatus | undefined> {
  try {
    return await eventStatus(plane, event, environment.waitingRoom.counterBatchSize);
  } catch (error) {
    if (error instanceof ControlError && error.code === "EVENT_UNKNOWN") {
      return undefined;
    }
    throw error;
  }
}

function fail(error: unknown, target: Target, terminal: Terminal): number {
  if (error instanceof ControlError) {
    terminal.error(`vwr: ${error.message}\n`);
    return EXIT.notAllowed;
  }
  const { message, name } = error as Error;
  const where = target.endpoint ?? `AWS, ${target.environment.region}`;
  const remedies: Record<string, string> = {
    ResourceNotFoundException: `Is the ${target.environment.name} stack deployed, and are these its account's credentials?`,
    CredentialsProviderError: "Sign in first: aws sso login, or set AWS_PROFILE.",
    ExpiredTokenException: "Sign in again: the session has expired.",
    AccessDeniedException: `The role needs access to ${target.countersTable} and s3://${target.bucket}.`,
  };
  const remedy =
    remedies[name] ??
    "Nothing says that the change was not made: look with status, then repeat; every command may be repeated.";
  terminal.error(`vwr: ${where} answered ${name}: ${message}\n${remedy}\n`);
  return EXIT.failed;
}

function paintFor({ env, interactive }: Terminal) {
  return painter(interactive && !env.NO_COLOR && env.TERM !== "dumb");
}
