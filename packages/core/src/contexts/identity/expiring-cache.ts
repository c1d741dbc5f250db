import type { Clock } from "../../kernel/clock.ts";

interface Entry<T> {
  readonly value: Promise<T>;
  readonly expiresAt: number;
}

/**
 * Answers per tenant and key, kept for a short time and in a bounded number. Callers who miss at the same moment share
 * one load; a load that fails is not kept.
 */
export class ExpiringCache<T> {
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #maxEntries: number;
  readonly #entries = new Map<string, Entry<T>>();

  constructor(options: { readonly clock: Clock; readonly ttlMs: number; readonly maxEntries: number }) {
    this.#clock = options.clock;
    this.#ttlMs = options.ttlMs;
    this.#maxEntries = options.maxEntries;
  }

  get(tenant: string, key: string, load: () => Promise<T>): Promise<T> {
    const full = `${tenant} ${key}`;
    const known = this.#entries.get(full);
    const now = this.#clock.now();
    if (known !== undefined && now < known.expiresAt) return known.value;
    // Counted from before the load, so that an answer is never older than the limit.
    const entry: Entry<T> = { value: load(), expiresAt: now + this.#ttlMs };
    entry.value.catch(() => {
      if (this.#entries.get(full) === entry) this.#entries.delete(full);
    });
    this.#entries.delete(full);
    this.#entries.set(full, entry);
    if (this.#entries.size > this.#maxEntries) this.#evictOldest();
    return entry.value;
  }

  /** Forgets a tenant's answers, those on their way too: who asks after this gets one that was loaded after this. */
  invalidate(tenant: string): void {
    for (const full of this.#entries.keys()) if (full.startsWith(`${tenant} `)) this.#entries.delete(full);
  }

  #evictOldest(): void {
    for (const full of this.#entries.keys()) {
      this.#entries.delete(full);
      return;
    }
  }
}
