import { createHash } from "node:crypto";

/** `arm_<tenant>_<key's id without prefix>_<64 hexadecimal digits>`: a tenant id holds no underscore. */
const KEY = /^arm_([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)_([0-9a-z]{1,60})_([0-9a-f]{64})$/;

/** How many random bytes the secret part is made of. */
export const SECRET_BYTES = 32;

/** An API key as far as it may be handed around: with the secret's hash instead of the secret. */
export interface ParsedApiKey {
  readonly tenant: string;
  /** `key_01k…` */
  readonly keyId: string;
  /** SHA-256 of the secret part, in hexadecimal. */
  readonly secretHash: string;
}

/** Reads the text of an API key; undefined when it is none. Says nothing about whether the key is known. */
export function parseApiKey(text: string): ParsedApiKey | undefined {
  const [, tenant, id, secret] = KEY.exec(text) ?? [];
  if (tenant === undefined || id === undefined || secret === undefined) return undefined;
  return { tenant, keyId: `key_${id}`, secretHash: sha256(secret) };
}

/** Makes a key's text of random bytes, and what is kept of it. */
export function makeApiKey(tenant: string, keyId: string, random: Uint8Array) {
  const secret = Buffer.from(random).toString("hex");
  return {
    key: `arm_${tenant}_${keyId.replace(/^key_/, "")}_${secret}`,
    proof: { secretHash: sha256(secret), lastFour: secret.slice(-4) },
  };
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
