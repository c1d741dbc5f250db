import { type Clock, systemClock } from "../kernel/clock.ts";
import type { StoreAdapter } from "../kernel/store-adapter.ts";
import { InMemoryLease } from "./in-memory-lease.ts";
import { InMemoryStore } from "./in-memory-store.ts";

export { InProcessBus } from "./in-memory-bus.ts";
export { InMemoryCache, type InMemoryCacheOptions } from "./in-memory-cache.ts";
export { InMemoryLease } from "./in-memory-lease.ts";
export { InMemoryRateLimiter } from "./in-memory-rate-limiter.ts";
export { InMemoryStore } from "./in-memory-store.ts";

/** Keeps everything in the memory of this process, for tests and for trying things out. */
export function inMemory(options: { readonly clock?: Clock } = {}): InMemoryStore & StoreAdapter {
  const clock = options.clock ?? systemClock();
  return Object.assign(new InMemoryStore(clock), {
    lease: new InMemoryLease(clock),
    embedded: true,
    lasting: false,
  });
}
