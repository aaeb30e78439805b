import type { APIGatewayProxyResult } from "aws-lambda";
import { Allocator } from "../../../lambdas/shared/allocator";
import type { ControlPlane } from "../../../lambdas/shared/control";
import { ControlCache } from "../../../lambdas/shared/controls";
import { KeyRing, type SigningKeys, signingKey } from "../../../lambdas/shared/secrets";
import { silentTelemetry, type Telemetry } from "../../../lambdas/shared/telemetry";
import { type ApiEvent, createHandler } from "../../../lambdas/vwr-api/handler";
import { type PlaceAnswer, WaitingRoom } from "../../../lambdas/vwr-api/service";
import { type Outcome, runTick } from "../../../lambdas/vwr-counter-advancer/handler";
import type { Tables } from "./tables";

export const TIER1_KEY = signingKey("tier1-v1", "tier-1-secret-tier-1-secret-tier-1-secret");
export const TIER2_KEY = signingKey("tier2-v1", "tier-2-secret-tier-2-secret-tier-2-secret");

export const ringOf = (...keys: SigningKeys): KeyRing => new KeyRing(async () => keys);

/** A clock that only moves when told to: wall time and monotonic time may part, as they do on real machines. */
export class Clock {
  wallMs = Date.UTC(2026, 4, 1, 12, 0, 0);
  monotonicMs = 0;

  readonly now = () => this.wallMs;
  readonly monotonic = () => this.monotonicMs;

  pass(ms: number): void {
    this.wallMs += ms;
    this.monotonicMs += ms;
  }

  get tick(): number {
    return Math.floor(this.wallMs / 10_000);
  }
}

export interface Reply {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: PlaceAnswer & { code?: string; message?: string };
}

/** One Lambda environment of vwr-api with its own memory. */
export class ApiEnvironment {
  readonly allocator: Allocator;
  readonly room: WaitingRoom;
  private readonly handle: (event: ApiEvent) => Promise<APIGatewayProxyResult>;

  constructor(
    tables: Tables,
    clock: Clock,
    options: { keys?: KeyRing; random?: () => number; telemetry?: Telemetry; skewMs?: number } = {},
  ) {
    const { client, countersTable, positionsTable } = tables;
    const keys = options.keys ?? ringOf(TIER1_KEY);
    const random = options.random ?? (() => 0);
    const nowMs = () => clock.now() + (options.skewMs ?? 0);
    this.allocator = new Allocator({
      client: tables.singleAttemptClient,
      countersTable,
      positionsTable,
      monotonic: clock.monotonic,
      random,
      sleep: async () => undefined,
      nowSeconds: () => Math.floor(nowMs() / 1000),
    });
    const controls = new ControlCache({ client, countersTable, monotonic: clock.monotonic });
    this.room = new WaitingRoom({
      client,
      positionsTable,
      allocator: this.allocator,
      controls,
      keys,
      defaultBatch: 500,
      nowMs,
    });
    this.handle = createHandler({
      room: this.room,
      telemetry: options.telemetry ?? silentTelemetry,
      corsAllowedOrigins: ["https://urr.guru"],
      random,
      housekeeping: async () => {
        if (this.allocator.hasStale()) {
          await this.allocator.reclaim();
        }
      },
    });
  }

  assign(eventId: string, body: unknown = {}, headers: Record<string, string> = {}): Promise<Reply> {
    return this.send("POST", "/vwr/assign/{eventId}", { eventId }, headers, JSON.stringify(body));
  }

  check(eventId: string, requestId: string, ticket?: string | null): Promise<Reply> {
    const headers: Record<string, string> = typeof ticket === "string" ? { "x-vwr-ticket": ticket } : {};
    return this.send("GET", "/vwr/check/{eventId}/{requestId}", { eventId, requestId }, headers, null);
  }

  status(eventId: string): Promise<Reply> {
    return this.send("GET", "/vwr/status/{eventId}", { eventId }, {}, null);
  }

  /** Any event as API Gateway would hand it over. */
  async send(
    httpMethod: string,
    resource: string,
    pathParameters: Record<string, string>,
    headers: Record<string, string>,
    body: string | null,
    isBase64Encoded = false,
  ): Promise<Reply> {
    const result = await this.handle({ httpMethod, resource, pathParameters, headers, body, isBase64Encoded });
    return {
      status: result.statusCode,
      headers: result.headers as Record<string, string>,
      body: result.body === "" ? undefined : JSON.parse(result.body),
    };
  }
}

export function planeOf(tables: Tables, clock: Clock): ControlPlane {
  return { client: tables.client, countersTable: tables.countersTable, nowMs: clock.now };
}

/** One tick of the advancer for all events. */
export function advance(tables: Tables, clock: Clock, batchSize: number, tick = clock.tick): Promise<Outcome[]> {
  const { client, countersTable, positionsTable } = tables;
  return runTick(
    { client, countersTable, positionsTable, batchSize, telemetry: silentTelemetry, nowMs: clock.now },
    tick,
  );
}

let events = 0;

/** An event id that no other test uses. */
export function freshEvent(): string {
  events += 1;
  return `evt-${events}`;
}

/** A request id in the form the page makes them. */
export function requestIdOf(number: number): string {
  return `visitor-${String(number).padStart(12, "0")}`;
}
