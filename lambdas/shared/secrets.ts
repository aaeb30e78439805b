import { hkdfSync } from "node:crypto";
import { GetSecretValueCommand, type SecretsManagerClient } from "@aws-sdk/client-secrets-manager";

/** One version of a token secret. */
export interface SigningKey {
  /** The secret's VersionId, carried as `kid`. */
  readonly kid: string;
  readonly secret: Uint8Array;
  /** Signs tickets. Derived, so that a ticket can never be taken for a token or the other way round. */
  readonly ticketKey: Uint8Array;
}

/** AWSCURRENT first, which signs; AWSPREVIOUS after it, which still verifies. */
export type SigningKeys = readonly [SigningKey, ...SigningKey[]];

export class SecretUnavailableError extends Error {
  constructor(cause: unknown) {
    super("Token secret cannot be read and no copy is fresh enough to use", { cause });
    this.name = "SecretUnavailableError";
  }
}

export interface KeyRingOptions {
  /** Milliseconds after which the secret is read again. @default 300000 */
  readonly freshMs?: number;
  /** Milliseconds for which a copy serves while the store does not answer. @default 3600000 */
  readonly staleMs?: number;
  /** Milliseconds between two attempts, whether they failed or an unknown `kid` asked for them. @default 15000 */
  readonly retryMs?: number;
  /** Monotonic milliseconds: a clock that jumps must not make a retired key live on. */
  readonly monotonic?: () => number;
}

/** At least as many bytes as the hash puts out (RFC 7518 §3.2). */
const MIN_SECRET_BYTES = 32;

/**
 * The keys of one token secret, read at run time and kept in memory, so that rotation needs no deployment. A key that is
 * neither current nor previous is forgotten with the next read.
 */
export class KeyRing {
  private keys: SigningKeys | undefined;
  private readAt = Number.NEGATIVE_INFINITY;
  private triedAt = Number.NEGATIVE_INFINITY;
  private lastError: unknown;
  private pending: Promise<void> | undefined;
  private readonly freshMs: number;
  private readonly staleMs: number;
  private readonly retryMs: number;
  private readonly monotonic: () => number;

  constructor(
    private readonly load: () => Promise<SigningKeys>,
    options: KeyRingOptions = {},
  ) {
    this.freshMs = options.freshMs ?? 300_000;
    this.staleMs = options.staleMs ?? 3_600_000;
    this.retryMs = options.retryMs ?? 15_000;
    this.monotonic = options.monotonic ?? (() => performance.now());
  }

  /** All keys that verify; the first one signs. */
  async all(): Promise<SigningKeys> {
    const age = this.monotonic() - this.readAt;
    if (this.keys === undefined || age > this.freshMs) {
      // Without any key every call tries: nothing can be served until one succeeds.
      await this.refresh(this.keys === undefined ? 0 : this.retryMs);
    }
    if (this.keys === undefined || this.monotonic() - this.readAt > this.staleMs) {
      throw new SecretUnavailableError(this.lastError);
    }
    return this.keys;
  }

  /** The key with this id. An unknown id reads the secret again, since it may have been rotated a moment ago. */
  async find(kid: string): Promise<SigningKey | undefined> {
    const known = (await this.all()).find((key) => key.kid === kid);
    if (known !== undefined) {
      return known;
    }
    await this.refresh(this.retryMs);
    return (await this.all()).find((key) => key.kid === kid);
  }

  private async refresh(minimumGapMs: number): Promise<void> {
    if (this.pending === undefined) {
      if (this.monotonic() - this.triedAt < minimumGapMs) {
        return;
      }
      this.triedAt = this.monotonic();
      this.pending = this.load()
        .then((keys) => {
          this.keys = keys;
          this.readAt = this.monotonic();
        })
        .catch((error: unknown) => {
          this.lastError = error;
        })
        .finally(() => {
          this.pending = undefined;
        });
    }
    await this.pending;
  }
}

/** Reads both live versions of a secret whose value is `{"secret": "..."}`. */
export function secretsManagerKeys(client: SecretsManagerClient, secretId: string): () => Promise<SigningKeys> {
  const read = async (stage: "AWSCURRENT" | "AWSPREVIOUS"): Promise<SigningKey> => {
    const answer = await client.send(new GetSecretValueCommand({ SecretId: secretId, VersionStage: stage }));
    return signingKey(answer.VersionId ?? "", secretField(answer.SecretString));
  };
  return async () => {
    const [current, previous] = await Promise.allSettled([read("AWSCURRENT"), read("AWSPREVIOUS")]);
    if (current.status === "rejected") {
      throw current.reason;
    }
    if (previous.status === "fulfilled") {
      return [current.value, previous.value];
    }
    // A secret that was never rotated has no previous version. Any other failure must not silently drop a live key.
    if ((previous.reason as Error).name !== "ResourceNotFoundException") {
      throw previous.reason;
    }
    return [current.value];
  };
}

/** The `secret` field of a secret's JSON value. */
export function secretField(json: string | undefined): string {
  try {
    const value = (JSON.parse(json ?? "") as { secret?: unknown }).secret;
    if (typeof value === "string") {
      return value;
    }
  } catch {
    // The parser's own message would quote the value.
  }
  throw new Error('Secret value must be a JSON object {"secret": "..."}');
}

export function signingKey(kid: string, secret: string): SigningKey {
  const bytes = new TextEncoder().encode(secret);
  if (kid === "" || bytes.length < MIN_SECRET_BYTES) {
    throw new Error(`Token secret must have a version and at least ${MIN_SECRET_BYTES} bytes, got ${bytes.length}`);
  }
  const derived = hkdfSync("sha256", bytes, new Uint8Array(), "urr-vwr-ticket", 32);
  return { kid, secret: bytes, ticketKey: new Uint8Array(derived) };
}
