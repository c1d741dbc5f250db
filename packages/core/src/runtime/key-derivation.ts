import { hkdfSync } from "node:crypto";
import { InvalidInput } from "../kernel/errors.ts";
import { Secret } from "../kernel/secret.ts";

const KEY_BYTES = 32;

/**
 * A key of 32 bytes for one purpose, from the key-encryption key (32 bytes in base64, `openssl rand -base64 32`) by
 * HKDF-SHA256 (RFC 5869). Keys of two purposes say nothing of each other, so what one signs or seals never passes for
 * the other. The same key and purpose always give the same result.
 *
 * @throws {InvalidInput} when the key-encryption key is not 32 bytes in base64
 */
export function deriveKey(kek: Secret<string>, purpose: string): Secret<Uint8Array> {
  const derived = hkdfSync("sha256", keyBytes(kek), "", `armature/1/${purpose}`, KEY_BYTES);
  return new Secret(new Uint8Array(derived));
}

/** Names a key-encryption key without telling anything of it. */
export function keyId(kek: Secret<string>): string {
  return Buffer.from(deriveKey(kek, "key-id").reveal()).toString("hex", 0, 8);
}

function keyBytes(kek: Secret<string>): Buffer {
  const text = kek.reveal().trim();
  const bytes = Buffer.from(text, "base64");
  // Node skips over what is not base64 and over a shorter key's missing end: compare with what it read.
  if (bytes.byteLength !== KEY_BYTES || bytes.toString("base64").replace("=", "") !== text.replace("=", ""))
    throw new InvalidInput({
      subject: "The key-encryption key",
      issues: [{ path: "", message: "must be 32 bytes in base64, as `openssl rand -base64 32` makes them" }],
    });
  return bytes;
}
