import { type Clock, systemClock } from "../kernel/clock.ts";
import type { HeldLease, Lease } from "../kernel/ports.ts";

/** Mutual exclusion inside one process. */
export class InMemoryLease implements Lease {
  readonly #clock: Clock;
  readonly #held = new Map<string, { readonly fence: number; until: number }>();
  // One counter for all keys: fences grow for each key, and nothing has to be remembered of a key that is free.
  #lastFence = 0;
  #sweepAt = 64;

  constructor(clock: Clock = systemClock()) {
    this.#clock = clock;
  }

  /** How many keys are remembered: those that are held, and some whose time ran out. */
  get size(): number {
    return this.#held.size;
  }

  async acquire(key: string, ttlMs: number): Promise<HeldLease | undefined> {
    if (this.#live(key) !== undefined) return undefined;
    this.#sweep();
    this.#lastFence += 1;
    const fence = this.#lastFence;
    this.#held.set(key, { fence, until: this.#clock.now() + ttlMs });
    return {
      key,
      fence,
      renew: async (ms) => {
        const mine = this.#live(key);
        if (mine?.fence !== fence) return false;
        mine.until = this.#clock.now() + ms;
        return true;
      },
      release: async () => {
        if (this.#live(key)?.fence === fence) this.#held.delete(key);
      },
    };
  }

  #live(key: string): { readonly fence: number; until: number } | undefined {
    const held = this.#held.get(key);
    return held !== undefined && held.until > this.#clock.now() ? held : undefined;
  }

  /** Forgets leases that ran out unreleased, seldom enough to cost nothing. */
  #sweep(): void {
    if (this.#held.size < this.#sweepAt) return;
    for (const [key, { until }] of this.#held) if (until <= this.#clock.now()) this.#held.delete(key);
    this.#sweepAt = Math.max(64, 2 * this.#held.size);
  }
}
