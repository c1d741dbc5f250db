import { type Clock, systemClock } from "../kernel/clock.ts";
import type { Cache } from "../kernel/ports.ts";

export interface InMemoryCacheOptions {
  readonly clock?: Clock;
  /** Bytes of all texts together, counted as two for each character; 16 MiB when absent. */
  readonly maxBytes?: number;
  /** 5,000 when absent. */
  readonly maxEntries?: number;
}

interface Entry {
  readonly group: string;
  readonly value: string;
  readonly bytes: number;
  readonly until: number;
}

/** Inside one process. What was used least recently goes first. */
export class InMemoryCache implements Cache {
  readonly #clock: Clock;
  readonly #maxBytes: number;
  readonly #maxEntries: number;
  /** In the order of their last use. */
  readonly #entries = new Map<string, Entry>();
  readonly #groups = new Map<string, Set<string>>();
  #bytes = 0;

  constructor(options: InMemoryCacheOptions = {}) {
    this.#clock = options.clock ?? systemClock();
    this.#maxBytes = options.maxBytes ?? 16 * 1024 * 1024;
    this.#maxEntries = options.maxEntries ?? 5_000;
  }

  /** How much is kept now. */
  get size(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#entries.size, bytes: this.#bytes };
  }

  async get(group: string, key: string): Promise<string | undefined> {
    const id = idOf(group, key);
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    this.#entries.delete(id);
    if (entry.until <= this.#clock.now()) {
      this.#forgotten(id, entry);
      return undefined;
    }
    this.#entries.set(id, entry);
    return entry.value;
  }

  async set(group: string, key: string, value: string, ttlMs: number): Promise<void> {
    const id = idOf(group, key);
    this.#forget(id);
    const bytes = 2 * (id.length + value.length);
    if (bytes > this.#maxBytes || !(ttlMs > 0)) return;
    this.#entries.set(id, { group, value, bytes, until: this.#clock.now() + ttlMs });
    this.#bytes += bytes;
    const ids = this.#groups.get(group);
    if (ids === undefined) this.#groups.set(group, new Set([id]));
    else ids.add(id);
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#maxBytes && this.#entries.size <= this.#maxEntries) break;
      this.#forget(oldest);
    }
  }

  async delete(group: string, key?: string): Promise<void> {
    if (key !== undefined) this.#forget(idOf(group, key));
    else for (const id of [...(this.#groups.get(group) ?? [])]) this.#forget(id);
  }

  #forget(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.#forgotten(id, entry);
  }

  #forgotten(id: string, { group, bytes }: Entry): void {
    this.#bytes -= bytes;
    const ids = this.#groups.get(group);
    ids?.delete(id);
    if (ids?.size === 0) this.#groups.delete(group);
  }
}

// Whatever stands in either, two pairs never make one text.
function idOf(group: string, key: string): string {
  return `${group.length}:${group}${key}`;
}
