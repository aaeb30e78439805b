import { GetObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { type ActiveEvents, parseActiveEvents } from "../shared/active-events";

const FRESH_MS = 10_000;
/** Pause after a failed read, so that an unreachable bucket does not slow down every request. */
const RETRY_MS = 2_000;

/**
 * The list of active events, at most ten seconds old. While it cannot be read the last good one holds; without any, the
 * answer is undefined.
 */
export class PublishedList {
  private list: ActiveEvents | undefined;
  private dueAt = Number.NEGATIVE_INFINITY;
  private pending: Promise<void> | undefined;

  constructor(
    private readonly load: () => Promise<string>,
    private readonly onError: (error: unknown) => void = () => undefined,
    private readonly monotonic: () => number = () => performance.now(),
  ) {}

  async current(): Promise<ActiveEvents | undefined> {
    if (this.monotonic() >= this.dueAt) {
      this.pending ??= this.refresh().finally(() => {
        this.pending = undefined;
      });
      await this.pending;
    }
    return this.list;
  }

  private async refresh(): Promise<void> {
    try {
      this.list = parseActiveEvents(await this.load());
      this.dueAt = this.monotonic() + FRESH_MS;
    } catch (error) {
      this.dueAt = this.monotonic() + RETRY_MS;
      this.onError(error);
    }
  }
}

export function s3Object(client: S3Client, bucket: string, key: string): () => Promise<string> {
  return async () => {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
    if (Body === undefined) {
      throw new Error(`s3://${bucket}/${key} has no body`);
    }
    return Body.transformToString();
  };
}
