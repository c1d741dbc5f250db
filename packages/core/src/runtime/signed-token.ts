import { type JsonObject, type Schema, tryParse } from "../kernel/schema.ts";
import type { Secret } from "../kernel/secret.ts";

const ALGORITHM = "HS256";

/**
 * A compact, URL-safe token that holds the payload in the clear, signed with HMAC-SHA256 (a JWT). Give each purpose a
 * key of its own by `deriveKey`: a token then passes for nothing else.
 *
 * @param expiresAt milliseconds since the epoch
 */
export async function signToken(key: Secret<Uint8Array>, payload: JsonObject, expiresAt: number): Promise<string> {
  const { SignJWT } = await import("jose");
  // The payload is one claim, so that its fields cannot be taken for registered ones.
  return new SignJWT({ payload, exp: expiresAt / 1000 }).setProtectedHeader({ alg: ALGORITHM }).sign(key.reveal());
}

/** The payload of a token that this key signed and that has not expired; undefined for everything else. */
export async function verifyToken<T>(
  key: Secret<Uint8Array>,
  token: string,
  schema: Schema<T>,
  now: number,
): Promise<T | undefined> {
  const { errors, jwtVerify } = await import("jose");
  try {
    const { payload } = await jwtVerify(token, key.reveal(), {
      algorithms: [ALGORITHM],
      requiredClaims: ["exp"],
      currentDate: new Date(now),
    });
    // The library compares whole seconds.
    if (Math.round(payload.exp! * 1000) <= now) return undefined;
    const parsed = tryParse(schema, payload["payload"]);
    return parsed.ok ? parsed.value : undefined;
  } catch (error) {
    if (error instanceof errors.JOSEError) return undefined;
    throw error;
  }
}
