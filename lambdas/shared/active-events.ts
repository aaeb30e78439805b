import { parseEventId } from "./schema";

/** The object that the operator publishes and the edge reads: which events have a queue, and since which generation. */
export interface ActiveEvents {
  /** Event id to generation. */
  readonly events: ReadonlyMap<string, number>;
}

const MAX_BYTES = 262_144;

export function serializeActiveEvents(events: Iterable<readonly [string, number]>, updatedAt: Date): string {
  const sorted = [...events].sort(([a], [b]) => (a < b ? -1 : 1));
  const body = {
    version: 1,
    updatedAt: updatedAt.toISOString(),
    events: Object.fromEntries(sorted.map(([id, generation]) => [id, { generation }])),
  };
  return `${JSON.stringify(body, undefined, 2)}\n`;
}

/** Throws on anything but a whole, well-formed list: half a list would let people past a queue. */
export function parseActiveEvents(json: string): ActiveEvents {
  if (json.length > MAX_BYTES) {
    throw new Error(`List of active events: ${json.length} characters; at most ${MAX_BYTES} are read`);
  }
  const body = JSON.parse(json) as { version?: unknown; events?: unknown } | null;
  if (body === null || body.version !== 1 || typeof body.events !== "object" || body.events === null) {
    throw new Error('List of active events must be {"version": 1, "events": {…}}');
  }
  const events = new Map<string, number>();
  for (const [id, value] of Object.entries(body.events)) {
    const generation = (value as { generation?: unknown } | null)?.generation;
    if (parseEventId(id) !== id || !Number.isSafeInteger(generation)) {
      throw new Error(`List of active events: entry ${JSON.stringify(id)} must be an event id with its generation`);
    }
    events.set(id, generation as number);
  }
  return { events };
}
