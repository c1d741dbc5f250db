import { randomBytes } from "node:crypto";
import { monotonicFactory } from "ulid";
import type { Clock } from "./clock.ts";

/** Ids and randomness as a port: values come in, nothing in core reads a global. */
export interface Ids {
  /** A new id, `con_01k…`: the prefix and a lower-case ULID; ids made later by one process sort later. */
  next(prefix: string): string;
  /** Unguessable bytes from the operating system. */
  random(bytes: number): Uint8Array;
}

/** Ids from the given clock and the operating system's randomness. */
export function systemIds(clock: Clock): Ids {
  const ulid = monotonicFactory(() => randomBytes(1)[0]! / 256);
  return {
    next: (prefix) => `${prefix}_${ulid(clock.now()).toLowerCase()}`,
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
  };
}

/** Random hexadecimal text of `bytes` bytes: trace ids, nonces. */
export function randomHex(ids: Ids, bytes: number): string {
  return Buffer.from(ids.random(bytes)).toString("hex");
}
