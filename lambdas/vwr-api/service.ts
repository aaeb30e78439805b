import { randomUUID } from "node:crypto";
import { type DynamoDBClient, GetItemCommand, PutItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { type Allocator, reclaimedItem, StaleGenerationError, singlePlace } from "../shared/allocator";
import { isConditionFailed } from "../shared/clients";
import type { ControlCache } from "../shared/controls";
import { awaitsDraw, lineAt, positionOfPlace } from "../shared/draw";
import {
  bool,
  type EventControl,
  type Item,
  limitPerTick,
  n,
  type Place,
  ROW_TTL_SECONDS,
  rowKey,
  s,
  TICK_SECONDS,
  TOKEN_TTL_SECONDS,
  toVisitorRow,
  type VisitorRow,
} from "../shared/schema";
import type { KeyRing } from "../shared/secrets";
import { signTicket, verifyTicket } from "../shared/tickets";
import { mintToken } from "../shared/tokens";

/** What assign and check answer. Architecture guide §4.1; seconds are whole. */
export interface PlaceAnswer {
  readonly eventId: string;
  readonly requestId: string;
  /** 0 for a visitor who never had to queue; null until those who came before the opening have drawn lots. */
  readonly position: number | null;
  readonly servingCounter: number;
  /** Null as long as there is no position. */
  readonly ahead: number | null;
  readonly totalInQueue: number;
  /** Seconds, from the measured rate; null while the queue stands still. */
  readonly estimatedWait: number | null;
  /** Seconds until the next poll is of use. */
  readonly nextPoll: number;
  readonly admitted: boolean;
  readonly paused: boolean;
  /** Seconds until the opening, 0 while the lots are being drawn; null once there is a position. */
  readonly opensIn: number | null;
  /** `urr-vwr-token`, once admitted. */
  readonly token: string | null;
  /** Seconds for which the token is still good. */
  readonly tokenExpiresIn: number | null;
  /** To be sent along with every poll, header `x-vwr-ticket`; null once admitted. */
  readonly ticket: string | null;
}

export interface StatusAnswer {
  readonly eventId: string;
  readonly isActive: boolean;
  readonly paused: boolean;
  /** Seconds until the opening; null where the event is open. */
  readonly opensIn: number | null;
  readonly servingCounter: number;
  readonly nextPosition: number;
  readonly totalInQueue: number;
  readonly estimatedWait: number | null;
  readonly nextPoll: number;
}

/** A refusal with the status to answer, a code for programs and a sentence for people. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = "Refused";
  }
}

export interface WaitingRoomOptions {
  /** Client that retries: all it is used for may be repeated. */
  readonly client: Pick<DynamoDBClient, "send">;
  readonly positionsTable: string;
  readonly allocator: Allocator;
  readonly controls: ControlCache;
  readonly keys: KeyRing;
  /** Visitors per tick where the event's own item says nothing. */
  readonly defaultBatch: number;
  readonly nowMs?: () => number;
  readonly newRequestId?: () => string;
}

export interface AssignRequest {
  readonly requestId?: string;
  readonly identity?: string;
}

/** Seconds between polls for a visitor who will be let in within so many ticks. */
const POLL_BY_TICKS: readonly (readonly [number, number])[] = [
  [1, 2],
  [6, 5],
  [18, 10],
  [Number.POSITIVE_INFINITY, 15],
];

/** The waiting room as visitors meet it; knows DynamoDB and keys, but nothing of HTTP. */
export class WaitingRoom {
  private readonly nowMs: () => number;
  private readonly newRequestId: () => string;

  constructor(private readonly options: WaitingRoomOptions) {
    this.nowMs = options.nowMs ?? Date.now;
    this.newRequestId = options.newRequestId ?? randomUUID;
  }

  /** Gives the visitor a place, the same one however often the request is repeated. */
  async assign(eventId: string, request: AssignRequest): Promise<PlaceAnswer> {
    const requestId = request.requestId ?? this.newRequestId();
    const control = await this.existing(eventId);
    if (letsEverybodyIn(control)) {
      return this.letIn(control, requestId, request.identity ?? requestId, 0, this.nowSeconds());
    }
    try {
      return await this.place(control, requestId, request.identity);
    } catch (error) {
      if (!(error instanceof StaleGenerationError)) {
        throw error;
      }
      // Opened again or lots drawn within the last second: once more with what the table says now.
      const current = required(await this.options.controls.refresh(eventId), eventId);
      if (letsEverybodyIn(current)) {
        return this.letIn(current, requestId, request.identity ?? requestId, 0, this.nowSeconds());
      }
      if (current.generation === control.generation && awaitsDraw(current) === awaitsDraw(control)) {
        throw new Refused(
          503,
          "EVENT_NOT_READY",
          "The queue of this event is being prepared. Please try again shortly.",
        );
      }
      return this.place(current, requestId, request.identity);
    }
  }

  /** Tells the visitor how far the queue is, and lets in whose turn it is. */
  async check(eventId: string, requestId: string, ticketText: string | undefined): Promise<PlaceAnswer> {
    let control = await this.existing(eventId);
    const held = await this.holding(eventId, requestId, ticketText);
    if (held.generation > control.generation) {
      control = required(await this.options.controls.refresh(eventId), eventId);
    }
    if (held.generation !== control.generation) {
      throw new Refused(
        410,
        "TICKET_VOID",
        "The queue was opened anew after this place was given. Please queue again.",
      );
    }
    const position = positionOfPlace(control, held);
    if (letsEverybodyIn(control) || isServed(control, position)) {
      return this.admit(control, requestId, held, position ?? 0);
    }
    const ticket = held.ticket ?? (await this.newTicket(control, requestId, held));
    return this.waiting(control, requestId, position, ticket);
  }

  /** The event as anybody may see it. An event that has no queue is one nobody waits for. */
  async status(eventId: string): Promise<StatusAnswer> {
    const control = await this.options.controls.get(eventId);
    if (control === undefined || letsEverybodyIn(control)) {
      const servingCounter = control?.servingCounter ?? 0;
      const nextPosition = control?.nextPosition ?? 0;
      const idle = { isActive: false, paused: false, opensIn: null, totalInQueue: 0, estimatedWait: 0, nextPoll: 15 };
      return { eventId, ...idle, servingCounter, nextPosition };
    }
    const { servingCounter, nextPosition, paused } = control;
    const opensIn = this.opensIn(control);
    const totalInQueue = Math.max(0, nextPosition - servingCounter);
    const estimatedWait = opensIn === null ? this.estimatedWait(control, totalInQueue + 1) : null;
    const nextPoll = opensIn === null ? this.nextPoll(control, totalInQueue) : pollBeforeOpening(opensIn);
    const queue = { servingCounter, nextPosition, totalInQueue, estimatedWait, nextPoll };
    return { eventId, isActive: true, paused, opensIn, ...queue };
  }

  /** Gives up the visitor's place, so that the advancer does not spend its rate on it. */
  async leave(eventId: string, requestId: string, ticketText: string | undefined): Promise<void> {
    const control = await this.existing(eventId);
    const held = await this.holding(eventId, requestId, ticketText);
    if (held.generation !== control.generation) {
      return;
    }
    const { positionsTable, client } = this.options;
    try {
      await client.send(
        new UpdateItemCommand({
          TableName: positionsTable,
          Key: { eventId: s(rowKey(eventId, requestId)), requestId: s(requestId) },
          UpdateExpression: "SET #left = :true",
          ConditionExpression: "generation = :generation AND attribute_not_exists(admittedAt)",
          ExpressionAttributeNames: { "#left": "left" },
          ExpressionAttributeValues: { ":true": bool(true), ":generation": n(control.generation) },
        }),
      );
    } catch (error) {
      if (isConditionFailed(error)) {
        return;
      }
      throw error;
    }
    const given = singlePlace({ ...control, early: held.early }, held.place);
    await client.send(new PutItemCommand(reclaimedItem(positionsTable, given, this.nowSeconds())));
  }

  private async place(control: EventControl, requestId: string, identity: string | undefined): Promise<PlaceAnswer> {
    const { allocator } = this.options;
    const line = lineAt(control, this.nowSeconds());
    const place = await allocator.take(line);
    const row = await this.writeRow(control, requestId, identity, { place, early: line.early });
    if (row.place !== place || row.early !== line.early) {
      allocator.giveBack(line, place);
    }
    if (row.identity !== identity && identity !== undefined) {
      throw new Refused(
        409,
        "IDENTITY_MISMATCH",
        "This request already belongs to another identity. Please queue anew.",
      );
    }
    if (row.left) {
      throw new Refused(410, "PLACE_LEFT", "This place was given up. Please queue again with a new request.");
    }
    const position = positionOfPlace(control, row);
    if (isServed(control, position)) {
      return this.admit(control, requestId, row, position);
    }
    return this.waiting(control, requestId, position, await this.newTicket(control, requestId, row));
  }

  /** Stores the visitor's place unless this request already has one in this generation, and returns what is stored. */
  private async writeRow(
    control: EventControl,
    requestId: string,
    identity: string | undefined,
    { early, place }: Place,
  ): Promise<VisitorRow> {
    const { client, positionsTable } = this.options;
    const now = this.nowSeconds();
    const key = { eventId: s(rowKey(control.eventId, requestId)), requestId: s(requestId) };
    const item: Item = {
      ...key,
      place: n(place),
      ...(early && { early: bool(true) }),
      generation: n(control.generation),
      ttl: n(now + ROW_TTL_SECONDS),
      ...(identity === undefined ? {} : { identity: s(identity) }),
    };
    try {
      await client.send(
        new PutItemCommand({
          TableName: positionsTable,
          Item: item,
          ConditionExpression: "attribute_not_exists(requestId) OR generation < :generation",
          ExpressionAttributeValues: { ":generation": n(control.generation) },
        }),
      );
      return toVisitorRow(item) as VisitorRow;
    } catch (error) {
      if (!isConditionFailed(error)) {
        throw error;
      }
    }
    const stored = await client.send(new GetItemCommand({ TableName: positionsTable, Key: key, ConsistentRead: true }));
    const row = toVisitorRow(stored.Item);
    if (row === undefined || row.generation !== control.generation) {
      throw new StaleGenerationError(control.eventId);
    }
    return row;
  }

  /** The place that the ticket proves; without a ticket, the one in the table. */
  private async holding(
    eventId: string,
    requestId: string,
    ticketText: string | undefined,
  ): Promise<Place & { generation: number; ticket?: string }> {
    if (ticketText !== undefined) {
      const ticket = await verifyTicket(ticketText, this.options.keys);
      if (ticket === undefined) {
        throw new Refused(401, "TICKET_INVALID", "The ticket is not valid. Please ask for your place again.");
      }
      if (ticket.eventId !== eventId || ticket.requestId !== requestId) {
        throw new Refused(403, "TICKET_MISMATCH", "The ticket belongs to another event or request.");
      }
      const { early, generation, place } = ticket;
      return { generation, place, early, ticket: ticketText };
    }
    const { Item } = await this.options.client.send(
      new GetItemCommand({
        TableName: this.options.positionsTable,
        Key: { eventId: s(rowKey(eventId, requestId)), requestId: s(requestId) },
        ConsistentRead: true,
      }),
    );
    const row = toVisitorRow(Item);
    if (row === undefined) {
      throw new Refused(404, "REQUEST_UNKNOWN", "No place is known for this request. Please queue first.");
    }
    return row;
  }

  /**
   * The first admission writes its time, and every later one reads it: a visitor whose answer got lost, or who shares the
   * ticket, gets the same token again and none after it has expired.
   */
  private async admit(
    control: EventControl,
    requestId: string,
    { early, place }: Place,
    position: number,
  ): Promise<PlaceAnswer> {
    const { client, positionsTable } = this.options;
    const now = this.nowSeconds();
    let row: VisitorRow | undefined;
    try {
      const { Attributes } = await client.send(
        new UpdateItemCommand({
          TableName: positionsTable,
          Key: { eventId: s(rowKey(control.eventId, requestId)), requestId: s(requestId) },
          UpdateExpression: "SET admittedAt = if_not_exists(admittedAt, :now)",
          ConditionExpression: `generation = :generation AND place = :place AND ${early ? "attribute_exists" : "attribute_not_exists"}(early) AND attribute_not_exists(#left)`,
          ExpressionAttributeNames: { "#left": "left" },
          ExpressionAttributeValues: { ":now": n(now), ":generation": n(control.generation), ":place": n(place) },
          ReturnValues: "ALL_NEW",
        }),
      );
      row = toVisitorRow(Attributes);
    } catch (error) {
      if (!isConditionFailed(error)) {
        throw error;
      }
    }
    if (row?.admittedAt === undefined) {
      throw new Refused(410, "PLACE_GONE", "This place is no longer held. Please queue again with a new request.");
    }
    if (now >= row.admittedAt + TOKEN_TTL_SECONDS) {
      throw new Refused(410, "ADMISSION_EXPIRED", "The admission has expired. Please queue again with a new request.");
    }
    return this.letIn(control, requestId, row.identity ?? requestId, position, row.admittedAt);
  }

  private async letIn(
    control: EventControl,
    requestId: string,
    subject: string,
    position: number,
    admittedAt: number,
  ): Promise<PlaceAnswer> {
    const { eventId, generation, servingCounter } = control;
    const [key] = await this.options.keys.all();
    return {
      eventId,
      requestId,
      position,
      servingCounter,
      ahead: 0,
      totalInQueue: totalInQueue(control, 0),
      estimatedWait: 0,
      nextPoll: 2,
      admitted: true,
      paused: false,
      opensIn: null,
      token: await mintToken({ eventId, generation, subject, requestId, admittedAt }, key),
      tokenExpiresIn: admittedAt + TOKEN_TTL_SECONDS - this.nowSeconds(),
      ticket: null,
    };
  }

  private waiting(control: EventControl, requestId: string, position: number | undefined, ticket: string): PlaceAnswer {
    const { eventId, paused, servingCounter } = control;
    // Not told before the lots are drawn.
    const ahead = position === undefined ? null : position - servingCounter;
    const opensIn = position === undefined ? (this.opensIn(control) ?? 0) : null;
    // One literal: V8 takes many times longer to spread one into another, and every poll comes here.
    return {
      eventId,
      requestId,
      servingCounter,
      paused,
      admitted: false,
      token: null,
      tokenExpiresIn: null,
      position: position ?? null,
      ahead,
      totalInQueue: totalInQueue(control, position ?? 0),
      estimatedWait: ahead === null ? null : this.estimatedWait(control, ahead),
      nextPoll: ahead === null ? pollBeforeOpening(opensIn ?? 0) : this.nextPoll(control, ahead),
      opensIn,
      ticket,
    };
  }

  private async newTicket(control: EventControl, requestId: string, { early, place }: Place): Promise<string> {
    const [key] = await this.options.keys.all();
    const { eventId, generation } = control;
    return signTicket({ eventId, generation, place, early, requestId, issuedAt: this.nowSeconds() }, key);
  }

  private opensIn(control: EventControl): number | null {
    return awaitsDraw(control) ? Math.max(0, (control.opensAt as number) - this.nowSeconds()) : null;
  }

  private estimatedWait(control: EventControl, ahead: number): number | null {
    const rate = this.rate(control);
    return rate > 0 ? Math.max(1, Math.ceil(ahead / rate)) : null;
  }

  private nextPoll(control: EventControl, ahead: number): number {
    const rate = this.rate(control);
    const ticks = rate > 0 ? ahead / (rate * TICK_SECONDS) : Number.POSITIVE_INFINITY;
    return POLL_BY_TICKS.find(([upTo]) => ticks <= upTo)?.[1] ?? 15;
  }

  /** Visitors per second: as measured, or as set until there is a measurement; 0 while the queue stands still. */
  private rate(control: EventControl): number {
    const limit = limitPerTick(control, this.options.defaultBatch) / TICK_SECONDS;
    return control.paused ? 0 : Math.min(control.ratePerSecond ?? limit, Number.MAX_SAFE_INTEGER);
  }

  private async existing(eventId: string): Promise<EventControl> {
    return required(await this.options.controls.get(eventId), eventId);
  }

  private nowSeconds(): number {
    return Math.floor(this.nowMs() / 1000);
  }
}

function letsEverybodyIn(control: EventControl): boolean {
  return !control.isActive || control.bypass;
}

function isServed(control: EventControl, position: number | undefined): position is number {
  return position !== undefined && position <= control.servingCounter;
}

/** Rarely while the opening is far; after it, everybody asks within one tick, spread by when they came. */
function pollBeforeOpening(opensIn: number): number {
  return opensIn > 15 ? 15 : 10;
}

function totalInQueue(control: EventControl, position: number): number {
  return Math.max(0, Math.max(control.nextPosition, position) - control.servingCounter);
}

/** Without its control item nothing is known about an event's queue, so nobody gets a token. */
function required(control: EventControl | undefined, eventId: string): EventControl {
  if (control === undefined) {
    throw new Refused(404, "EVENT_UNKNOWN", `No queue is known for event ${eventId}.`);
  }
  return control;
}
