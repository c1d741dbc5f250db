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
  const take = randomPool();
  const ulid = monotonicFactory(() => take(1)[0]! / 256);
  return {
    next: (prefix) => `${prefix}_${ulid(clock.now()).toLowerCase()}`,
    random: (bytes) => new Uint8Array(take(bytes)),
  };
}

const POOL_BYTES = 4096;

// Asking the system for a byte costs as much as asking for thousands. No byte is given out twice.
function randomPool(): (bytes: number) => Uint8Array {
  let pool = randomBytes(POOL_BYTES);
  let used = 0;
  return (bytes) => {
    if (bytes > POOL_BYTES) return randomBytes(bytes);
    if (used + bytes > POOL_BYTES) {
      pool = randomBytes(POOL_BYTES);
      used = 0;
    }
    const taken = pool.subarray(used, used + bytes);
    used += bytes;
    return taken;
  };
}

/** Random hexadecimal text of `bytes` bytes: trace ids, nonces. */
export function randomHex(ids: Ids, bytes: number): string {
  return Buffer.from(ids.random(bytes)).toString("hex");
}
