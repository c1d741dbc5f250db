import { type Clock, systemClock } from "../kernel/clock.ts";
import type { RateLimiter, TakeRequest, TakeResult } from "../kernel/ports.ts";

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

  async take(requests: readonly TakeRequest[]): Promise<TakeResult> {
    const now = this.#clock.now();
    const taken: (readonly [string, number])[] = [];
    let wait = 0;
    let remaining = Number.POSITIVE_INFINITY;
    for (const { key, bucket } of requests) {
      const { capacity, refillMs } = bucket;
      if (!(capacity >= 1 && refillMs > 0))
        throw new RangeError(`A bucket of ${capacity} tokens refilled in ${refillMs} ms can never give a token.`);
      const fullAt = Math.max(this.#fullAt.get(key) ?? now, now) + refillMs / capacity;
      const over = fullAt - refillMs - now;
      wait = Math.max(wait, over);
      remaining = Math.min(remaining, Math.floor(((ROUNDING_MS - over) * capacity) / refillMs));
      taken.push([key, fullAt]);
    }
    if (wait > ROUNDING_MS) return { allowed: false, retryAfterMs: Math.ceil(wait - ROUNDING_MS) };
    this.#sweep(now);
    for (const [key, fullAt] of taken) this.#fullAt.set(key, fullAt);
    return { allowed: true, remaining };
  }

  /** Forgets buckets that are full again, seldom enough to cost nothing. */
  #sweep(now: number): void {
    if (this.#fullAt.size < this.#sweepAt) return;
    for (const [key, fullAt] of this.#fullAt) if (fullAt <= now) this.#fullAt.delete(key);
    this.#sweepAt = Math.max(64, 2 * this.#fullAt.size);
  }
}
