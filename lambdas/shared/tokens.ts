import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify, SignJWT } from "jose";
import { parseEventId, TOKEN_TTL_SECONDS } from "./schema";
import { type KeyRing, SecretUnavailableError, type SigningKey } from "./secrets";

/** Audience of tier-1 tokens. A token that names it can never pass for tier 2, nor one that does not for tier 1. */
export const TIER1_AUDIENCE = "urr-vwr";
const ISSUER = "urr-vwr-api";
const MAX_TOKEN_LENGTH = 4096;

/** What a tier-1 token says: this identity came through the waiting room of this event. */
export interface AdmissionClaims {
  readonly eventId: string;
  readonly generation: number;
  /** Identity bound at assign, or the request id of a visitor who gave none. */
  readonly subject: string;
  readonly requestId: string;
  /** Seconds since 1970 of the admission. */
  readonly admittedAt: number;
}

/** Why a token was refused; also the reason dimension of the metric. */
export type Refusal =
  | "missing"
  | "malformed"
  | "signature"
  | "expired"
  | "tier"
  | "event"
  | "generation"
  | "unavailable";

export type Verdict<T> = { readonly ok: true; readonly claims: T } | { readonly ok: false; readonly refusal: Refusal };

/** Expectations that are not part of the signature. */
export interface Tier1Expectation {
  /** Event that the path names; any event will do where it names none. */
  readonly eventId?: string;
  /** Oldest generation that counts, per event; undefined where it is not known. */
  readonly minimumGeneration?: (eventId: string) => number | undefined;
  readonly now?: Date;
}

/** `urr-vwr-token`. The same admission always gives the same claims and the same expiry. */
export async function mintToken(claims: AdmissionClaims, key: SigningKey): Promise<string> {
  return new SignJWT({ eventId: claims.eventId, gen: claims.generation, tier: 1 })
    .setProtectedHeader({ alg: "HS256", typ: "JWT", kid: key.kid })
    .setIssuer(ISSUER)
    .setAudience(TIER1_AUDIENCE)
    .setSubject(claims.subject)
    .setJti(claims.requestId)
    .setIssuedAt(claims.admittedAt)
    .setExpirationTime(claims.admittedAt + TOKEN_TTL_SECONDS)
    .sign(key.secret);
}

/** Verifies a tier-1 token: HS256, live `kid`, audience, tier, expiry, event, generation. Never throws on hostile input. */
export async function verifyTier1(
  token: string,
  keys: KeyRing,
  expected: Tier1Expectation = {},
): Promise<Verdict<AdmissionClaims>> {
  const header = headerOf(token);
  if (header?.kid === undefined) {
    return refuse("malformed");
  }
  const payload = await verifyWith(
    token,
    async () => {
      const key = await keys.find(header.kid as string);
      return key === undefined ? [] : [key];
    },
    expected.now,
  );
  if (!payload.ok) {
    return payload;
  }
  const { aud, tier, eventId, gen, sub, jti, iat } = payload.claims;
  if (aud !== TIER1_AUDIENCE || tier !== 1) {
    return refuse("tier");
  }
  const sound =
    typeof eventId === "string" &&
    typeof sub === "string" &&
    typeof jti === "string" &&
    typeof gen === "number" &&
    typeof iat === "number";
  if (!sound) {
    return refuse("malformed");
  }
  if (expected.eventId !== undefined && expected.eventId !== eventId) {
    return refuse("event");
  }
  if (gen < (expected.minimumGeneration?.(eventId) ?? gen)) {
    return refuse("generation");
  }
  return { ok: true, claims: { eventId, generation: gen, subject: sub, requestId: jti, admittedAt: iat } };
}

/**
 * Verifies `urr-entry-token`, minted by queue-service: HS256, `sub` is the event, `exp`. It may lack `kid` and `aud`, so
 * every live key is tried, and what marks a tier-1 token rules it out.
 */
export async function verifyTier2(
  token: string,
  keys: KeyRing,
  expected: { readonly eventId?: string; readonly now?: Date } = {},
): Promise<Verdict<{ readonly eventId: string }>> {
  const header = headerOf(token);
  if (header === undefined) {
    return refuse("malformed");
  }
  const payload = await verifyWith(
    token,
    async () => {
      const named = header.kid === undefined ? undefined : await keys.find(header.kid);
      return named === undefined ? keys.all() : [named];
    },
    expected.now,
  );
  if (!payload.ok) {
    return payload;
  }
  const { sub, aud, tier } = payload.claims;
  const audiences = typeof aud === "string" ? [aud] : (aud ?? []);
  if (audiences.includes(TIER1_AUDIENCE) || (tier !== undefined && tier !== 2)) {
    return refuse("tier");
  }
  const eventId = parseEventId(sub);
  if (eventId === undefined) {
    return refuse("malformed");
  }
  if (expected.eventId !== undefined && expected.eventId !== eventId) {
    return refuse("event");
  }
  return { ok: true, claims: { eventId } };
}

function refuse(refusal: Refusal): { readonly ok: false; readonly refusal: Refusal } {
  return { ok: false, refusal };
}

function headerOf(token: string): { readonly kid?: string } | undefined {
  if (token.length > MAX_TOKEN_LENGTH) {
    return undefined;
  }
  try {
    const { alg, kid } = decodeProtectedHeader(token);
    if (alg !== "HS256" || (kid !== undefined && typeof kid !== "string")) {
      return undefined;
    }
    return kid === undefined ? {} : { kid };
  } catch {
    return undefined;
  }
}

async function verifyWith(
  token: string,
  candidates: () => Promise<readonly SigningKey[]>,
  now: Date | undefined,
): Promise<Verdict<JWTPayload>> {
  try {
    for (const key of await candidates()) {
      try {
        const { payload } = await jwtVerify(token, key.secret, {
          algorithms: ["HS256"],
          requiredClaims: ["exp", "sub"],
          ...(now === undefined ? {} : { currentDate: now }),
        });
        return { ok: true, claims: payload };
      } catch (error) {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) {
          return refuse(error instanceof errors.JWTExpired ? "expired" : "malformed");
        }
      }
    }
    return refuse("signature");
  } catch (error) {
    if (error instanceof SecretUnavailableError) {
      return refuse("unavailable");
    }
    throw error;
  }
}
