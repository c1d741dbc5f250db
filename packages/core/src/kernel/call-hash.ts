import { createHash } from "node:crypto";
import { canonicalJson, type JsonObject } from "./schema.ts";

/**
 * Names one call by what it would do: SHA-256, in base64url without padding, of the canonical JSON (RFC 8785) of
 * `{ action, arguments }`. Equal arguments give the same hash, however their members are ordered. It is no secret, and
 * hides nothing that can be guessed.
 *
 * @param action id of the operation, or name of the tool
 */
export function callHash(action: string, args: JsonObject): string {
  return createHash("sha256")
    .update(canonicalJson({ action, arguments: args }))
    .digest("base64url");
}
