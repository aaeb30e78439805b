import { parseArgs } from "node:util";
import type { EnvironmentName } from "../../environments/environment";
import { ENVIRONMENTS } from "./target";

export const COMMANDS = [
  "open",
  "pause",
  "resume",
  "drain",
  "close",
  "status",
  "rate",
  "ceiling",
  "saturated",
  "bypass",
  "publish",
  "preflight",
  "warm",
] as const;

export type Command = (typeof COMMANDS)[number];

/** A command line that was understood. */
export interface Arguments {
  readonly command: Command;
  /** Undefined where the command is about all events. */
  readonly event?: string;
  /** What follows the event: a rate, a ceiling, on or off. */
  readonly value?: string;
  readonly environment: EnvironmentName;
  readonly endpoint?: string;
  readonly rate?: number;
  readonly stripes?: number;
  readonly lease?: number;
  /** Seconds since 1970. */
  readonly opensAt?: number;
  readonly again: boolean;
  readonly watch: boolean;
  readonly intervalSeconds: number;
  readonly visitors: number;
  readonly arrivalSeconds: number;
  readonly site?: string;
  readonly environments: number;
  readonly dryRun: boolean;
  readonly yes: boolean;
  readonly json: boolean;
}

/** The command line cannot be understood; says everything that is wrong with it. */
export class UsageError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "UsageError";
  }
}

export const USAGE = `npm run vwr -- COMMAND EVENT --env prod|staging [options]: the waiting room, by hand

  open EVENT         new generation: earlier places and tokens are void   --rate N --stripes N --lease N --again --opens-at TIME
  pause EVENT        nobody is let in; places are still given
  resume EVENT       goes on where it was paused
  drain EVENT        lets in who waits, then closes by itself
  close EVENT        no more waiting: lets everybody in at once
  status [EVENT]     live numbers, of all events without EVENT            --watch --interval SECONDS
  rate EVENT N       visitors let in per ten seconds
  ceiling EVENT N    upper limit whatever the rate says; 'none' takes it off
  saturated EVENT    the booking API is saturated: halves the rate, which recovers by itself
  bypass EVENT on    emergency: lets everybody in; 'off' goes back to the line
  publish            puts the edge's list of active events in place again
  preflight [EVENT]  what is too small for the crowd                      --visitors N --arrival-seconds N
  warm               makes tables and functions ready for the crowd       --visitors N --arrival-seconds N --site URL --environments N

  --opens-at TIME    visitors may come before, and draw lots for their numbers then: 2026-05-01T20:00:00+09:00
  --env NAME         prod or staging
  --endpoint URL     instead of AWS, such as a local run's (also AWS_ENDPOINT_URL)
  --dry-run          says what would be done and does nothing
  --yes              does not ask
  --json             one JSON object (status --watch: one a line)

Exit codes: 0 done, 1 failed, 2 not understood, 3 not confirmed, 4 the event's state does not allow it, 5 preflight found something
`;

const WITHOUT_EVENT: ReadonlySet<Command> = new Set(["status", "publish", "preflight", "warm"]);
const VALUES: Partial<Record<Command, string>> = {
  rate: "a whole number",
  ceiling: "a whole number or none",
  bypass: "on or off",
};

export function parseArguments(args: readonly string[], env: Readonly<Record<string, string | undefined>>): Arguments {
  const { values, positionals } = parse(args);
  const problems: string[] = [];
  const [command, event, value, ...others] = positionals;
  const known = COMMANDS.find((one) => one === command);
  if (known === undefined) {
    problems.push(`command: given ${command ?? "none"}; allowed: ${COMMANDS.join(", ")}.`);
  } else {
    if (event === undefined && !WITHOUT_EVENT.has(known)) {
      problems.push(`event: given none; ${known} needs the id of one.`);
    }
    const wanted = VALUES[known];
    if (wanted !== undefined && !validValue(known, value)) {
      problems.push(`${known}: given ${value ?? "nothing"} after the event; allowed: ${wanted}.`);
    }
    const surplus = [...(wanted === undefined && value !== undefined ? [value] : []), ...others];
    if (surplus.length > 0) {
      problems.push(`arguments: ${surplus.join(" ")} cannot be placed; ${known} takes no more.`);
    }
  }
  const environment = values.env as EnvironmentName | undefined;
  if (environment === undefined || !Object.hasOwn(ENVIRONMENTS, environment)) {
    problems.push(`--env: given ${environment ?? "none"}; allowed: ${Object.keys(ENVIRONMENTS).join(", ")}.`);
  }
  const whole = (name: keyof typeof values, low: number): number | undefined => {
    const text = values[name];
    if (text === undefined) {
      return undefined;
    }
    const number = Number(text);
    if (!Number.isSafeInteger(number) || number < low) {
      problems.push(`--${name}: given ${text}; allowed is a whole number from ${low}.`);
    }
    return number;
  };
  const rate = whole("rate", 1);
  const stripes = whole("stripes", 1);
  const lease = whole("lease", 1);
  const intervalSeconds = whole("interval", 1) ?? 2;
  const visitors = whole("visitors", 1) ?? 15_000;
  const arrivalSeconds = whole("arrival-seconds", 1) ?? 2;
  const environments = whole("environments", 1) ?? 50;
  const opensAt = values["opens-at"] === undefined ? undefined : moment(values["opens-at"]);
  if (Number.isNaN(opensAt)) {
    problems.push(
      `--opens-at: given ${values["opens-at"]}; allowed is a time with its offset, such as 2026-05-01T20:00:00+09:00.`,
    );
  }
  if (opensAt !== undefined && known !== undefined && known !== "open") {
    problems.push(`--opens-at: ${known} does not take it; open does.`);
  }
  const endpoint = values.endpoint ?? env.AWS_ENDPOINT_URL;
  if (endpoint !== undefined && !URL.canParse(endpoint)) {
    problems.push(`--endpoint: given ${endpoint}; allowed is a URL such as http://127.0.0.1:4566.`);
  }
  if (problems.length > 0) {
    throw new UsageError(problems);
  }
  return {
    command: known as Command,
    ...(event !== undefined && { event }),
    ...(value !== undefined && { value }),
    environment: environment as EnvironmentName,
    ...(endpoint !== undefined && { endpoint }),
    ...(rate !== undefined && { rate }),
    ...(stripes !== undefined && { stripes }),
    ...(lease !== undefined && { lease }),
    ...(opensAt !== undefined && { opensAt }),
    again: values.again ?? false,
    watch: values.watch ?? false,
    intervalSeconds,
    visitors,
    arrivalSeconds,
    ...(values.site !== undefined && { site: values.site }),
    environments,
    dryRun: values["dry-run"] ?? false,
    yes: values.yes ?? false,
    json: values.json ?? false,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        env: { type: "string" },
        endpoint: { type: "string" },
        rate: { type: "string" },
        stripes: { type: "string" },
        lease: { type: "string" },
        again: { type: "boolean" },
        "opens-at": { type: "string" },
        watch: { type: "boolean" },
        interval: { type: "string" },
        visitors: { type: "string" },
        "arrival-seconds": { type: "string" },
        site: { type: "string" },
        environments: { type: "string" },
        "dry-run": { type: "boolean" },
        yes: { type: "boolean" },
        json: { type: "boolean" },
      },
    });
  } catch (error) {
    throw new UsageError([error instanceof Error ? error.message : String(error)]);
  }
}

/** Seconds since 1970 of a time that names its offset: without one it would mean another moment on every machine. */
function moment(text: string): number {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)$/.test(text)
    ? Math.floor(Date.parse(text) / 1000)
    : Number.NaN;
}

function validValue(command: Command, value: string | undefined): boolean {
  if (command === "bypass") {
    return value === "on" || value === "off";
  }
  return (command === "ceiling" && value === "none") || /^\d{1,9}$/.test(value ?? "");
}
