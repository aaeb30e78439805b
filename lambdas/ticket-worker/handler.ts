import type { SQSBatchResponse, SQSEvent, SQSRecord } from "aws-lambda";
import type { Telemetry } from "../shared/telemetry";

/** What the worker needs of the function's context. */
export interface WorkerContext {
  getRemainingTimeInMillis(): number;
}

export interface WorkerOptions {
  /** Base URL of ticket-service's internal HTTP API. */
  readonly ticketServiceUrl: string;
  /** The present INTERNAL_API_TOKEN, read again if ticket-service has refused this one. */
  readonly internalApiToken: (refused?: string) => Promise<string>;
  readonly telemetry: Telemetry;
  readonly fetch?: typeof fetch;
  readonly sleep?: (ms: number) => Promise<void>;
  /** Milliseconds that one call may take. @default 5000 */
  readonly callTimeoutMs?: number;
}

/** Where each action goes in ticket-service's internal API. */
const ROUTES = {
  seat_reserve: "/internal/seats/reserve",
  reservation_create: "/internal/reservations",
  admitted: "/internal/queue/admitted",
} as const;

type Action = keyof typeof ROUTES;

interface TicketEvent {
  readonly action: Action;
  readonly eventId: string;
  readonly payload: Record<string, unknown>;
}

/** Time kept back for the answer to SQS: a batch that runs into the timeout is delivered again as a whole. */
const MARGIN_MS = 2_000;
const CALL_TIMEOUT_MS = 5_000;
/** Less than this is not worth a call. */
const MIN_CALL_MS = 250;
const RETRY_PAUSE_MS = 200;
/** Characters of a wrong value that a message quotes. */
const MAX_QUOTED = 64;

/**
 * Hands queue-service's events to ticket-service (AWS architecture §5.6). Message groups run side by side, the messages
 * of one group one after the other; after the first that fails, the rest of its group goes back untouched, because the
 * group's order is what the FIFO queue is for. A call carries the message's deduplication id, so that repeating it is safe.
 */
export function createHandler(options: WorkerOptions) {
  return async (event: SQSEvent, context: WorkerContext): Promise<SQSBatchResponse> => {
    const failures = await Promise.all(
      groupsOf(event.Records).map((records) => processGroup(options, records, context)),
    );
    const failed = new Set(failures.flat());
    options.telemetry.count("TicketEventsProcessed", event.Records.length - failed.size);
    if (failed.size > 0) {
      options.telemetry.count("TicketEventsReturned", failed.size);
    }
    options.telemetry.flush();
    // In the order of the batch: SQS asks for the ids only, people read the log.
    const batchItemFailures = event.Records.filter(({ messageId }) => failed.has(messageId)).map(({ messageId }) => ({
      itemIdentifier: messageId,
    }));
    return { batchItemFailures };
  };
}

function groupsOf(records: readonly SQSRecord[]): SQSRecord[][] {
  const groups = new Map<string, SQSRecord[]>();
  for (const record of records) {
    const id = record.attributes.MessageGroupId ?? "";
    groups.set(id, [...(groups.get(id) ?? []), record]);
  }
  return [...groups.values()];
}

/** The ids of the messages to be delivered again. */
async function processGroup(
  options: WorkerOptions,
  records: readonly SQSRecord[],
  context: WorkerContext,
): Promise<string[]> {
  for (const [index, record] of records.entries()) {
    const returned = records.slice(index);
    if (context.getRemainingTimeInMillis() < MARGIN_MS + MIN_CALL_MS) {
      options.telemetry.warn("Out of time; the rest of the group is returned", { returned: returned.length });
      return returned.map(({ messageId }) => messageId);
    }
    try {
      await deliver(options, record, context);
    } catch (error) {
      options.telemetry.error("Ticket event failed; the rest of its group is returned", error, {
        messageId: record.messageId,
        group: record.attributes.MessageGroupId,
        receiveCount: record.attributes.ApproximateReceiveCount,
        returned: returned.length,
      });
      return returned.map(({ messageId }) => messageId);
    }
  }
  return [];
}

async function deliver(options: WorkerOptions, record: SQSRecord, context: WorkerContext): Promise<void> {
  const ticketEvent = parse(record);
  const idempotencyKey = record.attributes.MessageDeduplicationId ?? record.messageId;
  const url = new URL(ROUTES[ticketEvent.action], options.ticketServiceUrl);
  const send = options.fetch ?? fetch;
  let refused: string | undefined;
  for (let attempt = 1; ; attempt += 1) {
    const token = await options.internalApiToken(refused);
    const budget = Math.min(options.callTimeoutMs ?? CALL_TIMEOUT_MS, context.getRemainingTimeInMillis() - MARGIN_MS);
    if (budget < MIN_CALL_MS) {
      throw new Error(`${ticketEvent.action}: no time left for a call`);
    }
    const outcome = await call(send, url, ticketEvent, idempotencyKey, token, budget);
    if (outcome.ok) {
      return;
    }
    // Rotated a moment ago: without this a group would stand still until the copy in memory is due.
    refused = outcome.unauthorized ? token : undefined;
    if (outcome.busy) {
      // The waiting room's advancer lowers its rate by an alarm on this.
      options.telemetry.count("TicketServiceBusy");
    }
    if (!outcome.retry || attempt > 1) {
      throw new Error(`${ticketEvent.action}: ticket-service ${outcome.reason}`);
    }
    await (options.sleep ?? ((ms) => new Promise((resolve) => setTimeout(resolve, ms))))(RETRY_PAUSE_MS);
  }
}

type CallOutcome =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly retry: boolean;
      /** Turned away for load. */
      readonly busy: boolean;
      /** The token was refused. */
      readonly unauthorized: boolean;
      readonly reason: string;
    };

async function call(
  send: typeof fetch,
  url: URL,
  ticketEvent: TicketEvent,
  idempotencyKey: string,
  token: string,
  timeoutMs: number,
): Promise<CallOutcome> {
  try {
    const response = await send(url, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        "idempotency-key": idempotencyKey,
      },
      body: JSON.stringify({ eventId: ticketEvent.eventId, ...ticketEvent.payload }),
      signal: AbortSignal.timeout(timeoutMs),
      redirect: "error",
    });
    await response.body?.cancel();
    // 409: an earlier delivery with this key already did it.
    if (response.ok || response.status === 409) {
      return { ok: true };
    }
    const busy = response.status === 429 || response.status === 503;
    const unauthorized = response.status === 401;
    const retry = busy || unauthorized || response.status === 502;
    return { ok: false, retry, busy, unauthorized, reason: `answered ${response.status}` };
  } catch (error) {
    const { name, message, cause } = error as Error;
    // A timeout has used up the call's share of the time; a refused connection has not.
    return {
      ok: false,
      retry: name !== "TimeoutError",
      busy: false,
      unauthorized: false,
      reason: `did not answer: ${(cause as Error)?.message ?? message}`,
    };
  }
}

/** Throws on what is not a ticket event: acknowledging it would lose it, returned it reaches the dead-letter queue. */
function parse(record: SQSRecord): TicketEvent {
  const body = parseJson(record.body);
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new Error("Body must be a JSON object with action and eventId");
  }
  const { action, eventId, ...payload } = body as Record<string, unknown>;
  if (typeof action !== "string" || !Object.hasOwn(ROUTES, action)) {
    throw new Error(
      `Unknown action ${JSON.stringify(action)?.slice(0, MAX_QUOTED)}; known are ${Object.keys(ROUTES).join(", ")}`,
    );
  }
  if (typeof eventId !== "string" || eventId === "") {
    throw new Error(
      `${action}: eventId must be a non-empty string, got ${JSON.stringify(eventId)?.slice(0, MAX_QUOTED)}`,
    );
  }
  return { action: action as Action, eventId, payload };
}

/** The parser's own message would quote the body, which may name a person, in the log. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`Body must be JSON, got ${text.length} characters that are not`);
  }
}
