import type { Clock, RateLimiter, TakeRequest, TakeResult } from "@armature/core";
import { blob, type SqliteFile } from "./sqlite-file.ts";

const GET = "SELECT full_at FROM buckets WHERE key = $key";
const SET = "INSERT OR REPLACE INTO buckets (key, full_at) VALUES ($key, $fullAt)";
/** A full bucket is one that is not there. */
const TIDY = "DELETE FROM buckets WHERE rowid IN (SELECT rowid FROM buckets WHERE full_at <= $now LIMIT 2)";
/** What adding intervals that are no whole milliseconds may lose. */
const ROUNDING_MS = 0.01;

/**
 * Token buckets in a SQLite file, by the machine's clock. Of each bucket the time is kept at which it is full again: the
 * generic cell rate algorithm (ITU-T I.371), one number a bucket.
 */
export class SqliteRateLimiter implements RateLimiter {
  readonly #file: SqliteFile;
  readonly #clock: Clock;

  constructor(file: SqliteFile, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  // region take
  take(requests: readonly TakeRequest[]): Promise<TakeResult> {
    return this.#file.change((run): TakeResult => {
      const now = this.#clock.now();
      const taken: { readonly key: Uint8Array; readonly fullAt: number }[] = [];
      let wait = 0;
      let remaining = Number.POSITIVE_INFINITY;
      for (const { key: name, bucket } of requests) {
        const { capacity, refillMs } = bucket;
        if (!(capacity >= 1 && refillMs > 0)) throw new RangeError("A bucket that can never give a token.");
        const key = blob(name);
        const fullAt = Math.max(Number(run(GET, { key })[0]?.["full_at"] ?? now), now) + refillMs / capacity;
        const over = fullAt - refillMs - now;
        wait = Math.max(wait, over);
        remaining = Math.min(remaining, Math.floor(((ROUNDING_MS - over) * capacity) / refillMs));
        taken.push({ key, fullAt });
      }
      if (wait > ROUNDING_MS) return { allowed: false, retryAfterMs: Math.ceil(wait - ROUNDING_MS) };
      run(TIDY, { now });
      for (const bucket of taken) run(SET, bucket);
      return { allowed: true, remaining };
    });
  }
  // endregion take
}
