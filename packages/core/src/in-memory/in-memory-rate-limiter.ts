import { type Clock, systemClock } from "../kernel/clock.ts";
import type { Bucket, RateLimiter } from "../kernel/ports.ts";

// Adding intervals that are no whole milliseconds loses some of their last digits.
const ROUNDING_MS = 0.01;

/**
 * Token buckets inside one process. A bucket is kept as the time at which it is full again (the generic cell rate
 * algorithm), so one number is stored for each key, and none once the bucket is full.
 */
export class InMemoryRateLimiter implements RateLimiter {
  readonly #clock: Clock;
  readonly #fullAt = new Map<string, number>();
  #sweepAt = 64;

  constructor(clock: Clock = systemClock()) {
    this.#clock = clock;
  }

  /** How many buckets are remembered: those that are not full, and some that are again. */
  get size(): number {
    return this.#fullAt.size;
  }

  async take(key: string, bucket: Bucket): ReturnType<RateLimiter["take"]> {
    const { capacity, refillMs } = bucket;
    if (!(capacity >= 1 && refillMs > 0))
      throw new RangeError(`A bucket of ${capacity} tokens refilled in ${refillMs} ms can never give a token.`);
    const now = this.#clock.now();
    const fullAt = Math.max(this.#fullAt.get(key) ?? now, now) + refillMs / capacity;
    const wait = fullAt - refillMs - now;
    if (wait > ROUNDING_MS) return { allowed: false, retryAfterMs: Math.ceil(wait - ROUNDING_MS) };
    this.#sweep(now);
    this.#fullAt.set(key, fullAt);
    return { allowed: true, remaining: Math.floor(((ROUNDING_MS - wait) * capacity) / refillMs) };
  }

  /** Forgets buckets that are full again, seldom enough to cost nothing. */
  #sweep(now: number): void {
    if (this.#fullAt.size < this.#sweepAt) return;
    for (const [key, fullAt] of this.#fullAt) if (fullAt <= now) this.#fullAt.delete(key);
    this.#sweepAt = Math.max(64, 2 * this.#fullAt.size);
  }
}
