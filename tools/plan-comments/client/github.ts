import { Octokit } from "@octokit/rest";

export interface GitHubOptions {
  readonly token: string;
  /** REST base of the API. @default https://api.github.com (Enterprise: https://HOST/api/v3) */
  readonly baseUrl?: string;
  /** Waits; tests pass one that does not. */
  readonly sleep?: (milliseconds: number) => Promise<void>;
  readonly now?: () => number;
  /** Told before every wait. */
  readonly onWait?: (milliseconds: number, why: string) => void;
}

/** Tries of one request before its failure is final. */
const MOST_TRIES = 6;
/** GitHub asks for a minute after a secondary limit that names no time. */
const SECONDARY_WAIT_MS = 60_000;
/** A limit that takes longer to pass fails the job: somebody has to look. */
const LONGEST_WAIT_MS = 15 * 60_000;
/** Pause between requests that write: 80 a minute are allowed. */
const BETWEEN_WRITES_MS = 1_000;

interface Failure {
  readonly status?: number;
  readonly message: string;
  readonly response?: {
    readonly headers: Readonly<Record<string, string | number | undefined>>;
    readonly data?: unknown;
  };
}

/**
 * Octokit that keeps to GitHub's limits: waits as long as Retry-After or the reset time says, spaces out writes, and
 * repeats what failed on the way. A request that creates something is repeated only after a refusal, never after an
 * error that leaves open whether it was done: its caller looks first.
 */
export function connect(options: GitHubOptions): Octokit {
  const sleep = options.sleep ?? ((milliseconds) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds)));
  const now = options.now ?? Date.now;
  const octokit = new Octokit({
    auth: options.token,
    ...(options.baseUrl === undefined ? {} : { baseUrl: options.baseUrl.replace(/\/$/, "") }),
    userAgent: "urr-infra-plan-comments",
    log: { debug() {}, info() {}, warn() {}, error() {} },
  });
  let nextWrite = 0;
  octokit.hook.wrap("request", async (request, parameters) => {
    const isGraphql = String(parameters.url).endsWith("/graphql");
    const writes = parameters.method !== "GET" && parameters.method !== "HEAD";
    const repeatable = parameters.method !== "POST" || isGraphql;
    for (let attempt = 1; ; attempt++) {
      if (writes) {
        const pause = nextWrite - now();
        nextWrite = Math.max(now(), nextWrite) + BETWEEN_WRITES_MS;
        if (pause > 0) await sleep(pause);
      }
      let wait: { readonly milliseconds: number; readonly why: string } | undefined;
      try {
        const response = await request(parameters);
        wait = isGraphql ? graphqlWait(response, now()) : undefined;
        if (!wait || attempt >= MOST_TRIES) return response;
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        wait = waitFor(error as unknown as Failure, attempt, repeatable, now());
        if (!wait || attempt >= MOST_TRIES) throw error;
        if (wait.milliseconds > LONGEST_WAIT_MS) {
          throw new Error(`${wait.why} for another ${Math.ceil(wait.milliseconds / 60_000)} minutes: ${error.message}`);
        }
      }
      options.onWait?.(wait.milliseconds, wait.why);
      await sleep(wait.milliseconds);
    }
  });
  return octokit;
}

function waitFor(failure: Failure, attempt: number, repeatable: boolean, now: number) {
  const headers = failure.response?.headers ?? {};
  const status = failure.status ?? 0;
  const limited = status === 429 || status === 403;
  const retryAfter = headers["retry-after"];
  if (limited && retryAfter !== undefined) {
    const seconds = Number(retryAfter);
    const until = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(String(retryAfter)) - now;
    return {
      milliseconds: Math.max(1_000, Number.isFinite(until) ? until : SECONDARY_WAIT_MS),
      why: "GitHub's limit holds",
    };
  }
  if (limited && String(headers["x-ratelimit-remaining"]) === "0") {
    return { milliseconds: untilReset(headers, now), why: "GitHub's hourly limit holds" };
  }
  if (limited && /secondary rate limit|abuse/i.test(failure.message)) {
    return { milliseconds: SECONDARY_WAIT_MS * 2 ** (attempt - 1), why: "GitHub's secondary limit holds" };
  }
  if (status === 429) return { milliseconds: SECONDARY_WAIT_MS, why: "GitHub's limit holds" };
  // Octokit gives errors of the connection the status 500 and no response.
  if (repeatable && (status >= 500 || status === 0 || status === 408)) {
    return { milliseconds: 1_000 * 2 ** (attempt - 1), why: `GitHub answered ${status || "nothing"}` };
  }
  return undefined;
}

const untilReset = (headers: Readonly<Record<string, string | number | undefined>>, now: number): number =>
  Math.max(1_000, Number(headers["x-ratelimit-reset"] ?? 0) * 1_000 - now + 1_000);

/** GraphQL refuses with 200 and an error of its own kind. */
function graphqlWait(
  response: { readonly data: unknown; readonly headers: Readonly<Record<string, string | number | undefined>> },
  now: number,
) {
  const errors = (response.data as { errors?: readonly { type?: string }[] } | undefined)?.errors ?? [];
  return errors.some((error) => error.type === "RATE_LIMITED")
    ? { milliseconds: Math.min(untilReset(response.headers, now), LONGEST_WAIT_MS), why: "GitHub's hourly limit holds" }
    : undefined;
}
