import { createCipheriv, createDecipheriv, type KeyObject } from "node:crypto";
import { z } from "zod";
import type { Ids } from "../kernel/ids.ts";

const CIPHER = "aes-256-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** base64 of nonce, ciphertext and tag. */
export const sealedText = z.base64().min(Math.ceil((NONCE_BYTES + TAG_BYTES) / 3) * 4);

/**
 * Seals with AES-256-GCM under a random nonce. `bound` is what the value belongs to: it is not stored, and only who
 * gives the same again can open.
 */
export function seal(key: KeyObject, plaintext: Uint8Array, bound: readonly (string | number)[], ids: Ids): string {
  const nonce = ids.random(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(JSON.stringify(bound)));
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([nonce, ciphertext, cipher.getAuthTag()]).toString("base64");
}

/** The plaintext, or undefined when the key is another, a bit has changed, or it is bound to something else. */
export function open(key: KeyObject, sealed: string, bound: readonly (string | number)[]): Buffer | undefined {
  const bytes = Buffer.from(sealed, "base64");
  if (bytes.byteLength < NONCE_BYTES + TAG_BYTES) return undefined;
  const end = bytes.byteLength - TAG_BYTES;
  const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(JSON.stringify(bound)));
  decipher.setAuthTag(bytes.subarray(end));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, end)), decipher.final()]);
  } catch {
    return undefined;
  }
}
