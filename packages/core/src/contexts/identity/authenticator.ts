import type { Clock } from "../../kernel/clock.ts";
import { Unauthenticated } from "../../kernel/errors.ts";
import { type Principal, toPrincipal } from "../../kernel/principal.ts";
import { parseApiKey, sha256 } from "./api-key-text.ts";
import { ExpiringCache } from "./expiring-cache.ts";

/** Finds out who presents an API key. */
export interface ApiKeyAuthenticator {
  /**
   * The principal of a key's text.
   *
   * @throws {Unauthenticated} for every text that does not stand for a working key; why is not said
   */
  authenticate(text: string): Promise<Principal>;
  /** Forgets what is known of the tenant's keys, after a change to them in this process. */
  invalidate(tenant: string): void;
}

/**
 * Authenticates API keys through the identity context. A key that worked is believed for `ttlMs`, so a revocation in
 * another process takes effect within that time; one in this process at once, through `invalidate`.
 *
 * @param options.call asks identity's `authenticateApiKey`; throws `Unauthenticated` when the key does not work
 * @param options.ttlMs how long a key that worked is believed; 2 s when absent
 */
export function createApiKeyAuthenticator(options: {
  readonly call: (tenant: string, keyId: string, secretHash: string) => Promise<Principal>;
  readonly clock: Clock;
  readonly ttlMs?: number;
  readonly maxEntries?: number;
}): ApiKeyAuthenticator {
  const cache = new ExpiringCache<Principal>({
    clock: options.clock,
    ttlMs: options.ttlMs ?? 2_000,
    maxEntries: options.maxEntries ?? 10_000,
  });
  return {
    async authenticate(text) {
      const key = parseApiKey(text);
      if (key === undefined) throw new Unauthenticated({});
      // Remembered under a hash: a memory dump of the cache holds no key.
      return cache.get(key.tenant, sha256(text), async () =>
        // Frozen, because callers share it.
        toPrincipal(await options.call(key.tenant, key.keyId, key.secretHash)),
      );
    },
    invalidate: (tenant) => cache.invalidate(tenant),
  };
}
