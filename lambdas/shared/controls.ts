import { type DynamoDBClient, GetItemCommand } from "@aws-sdk/client-dynamodb";
import { type EventControl, s, toControl } from "./schema";

export interface ControlCacheOptions {
  readonly client: Pick<DynamoDBClient, "send">;
  readonly countersTable: string;
  readonly monotonic?: () => number;
  /** Called after each read, for the gauges that need no more than one value per second. */
  readonly onRead?: (control: EventControl) => void;
}

interface Entry {
  readonly control: EventControl | undefined;
  readonly readAt: number;
}

/** One read per environment and second, however many visitors poll. */
const FRESH_MS = 1_000;
/** A control item this old still tells a visitor the place in the queue, if DynamoDB does not answer. */
const STALE_MS = 10_000;
const MAX_EVENTS = 500;

/** The control items that this environment has read, each at most once per second. */
export class ControlCache {
  private readonly entries = new Map<string, Entry>();
  private readonly pending = new Map<string, Promise<Entry>>();
  private readonly monotonic: () => number;

  constructor(private readonly options: ControlCacheOptions) {
    this.monotonic = options.monotonic ?? (() => performance.now());
  }

  /** At most a second old, or up to ten while DynamoDB fails; undefined if there is no such event. */
  async get(eventId: string): Promise<EventControl | undefined> {
    const known = this.entries.get(eventId);
    if (known !== undefined && this.monotonic() - known.readAt <= FRESH_MS) {
      return known.control;
    }
    try {
      return (await this.read(eventId)).control;
    } catch (error) {
      if (known?.control !== undefined && this.monotonic() - known.readAt <= STALE_MS) {
        return known.control;
      }
      throw error;
    }
  }

  /** What DynamoDB holds now. */
  async refresh(eventId: string): Promise<EventControl | undefined> {
    return (await this.read(eventId)).control;
  }

  private read(eventId: string): Promise<Entry> {
    const running = this.pending.get(eventId);
    if (running !== undefined) {
      return running;
    }
    const read = this.load(eventId).finally(() => this.pending.delete(eventId));
    this.pending.set(eventId, read);
    return read;
  }

  private async load(eventId: string): Promise<Entry> {
    const { Item } = await this.options.client.send(
      new GetItemCommand({ TableName: this.options.countersTable, Key: { eventId: s(eventId) }, ConsistentRead: true }),
    );
    const entry = { control: toControl(Item), readAt: this.monotonic() };
    this.entries.delete(eventId);
    if (this.entries.size >= MAX_EVENTS) {
      this.entries.delete(this.entries.keys().next().value as string);
    }
    this.entries.set(eventId, entry);
    if (entry.control !== undefined) {
      this.options.onRead?.(entry.control);
    }
    return entry;
  }
}
