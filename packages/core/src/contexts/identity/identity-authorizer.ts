import type { Clock } from "../../kernel/clock.ts";
import type { Authorizer } from "../../kernel/ports.ts";
import { covers, type Party, type Principal } from "../../kernel/principal.ts";
import { ExpiringCache } from "./expiring-cache.ts";

/** What no role and no key can give: an owner's "*" would otherwise cover it. */
const SYSTEM_ONLY: ReadonlySet<string> = new Set([
  "identity:tenants",
  "identity:authenticate",
  // What they are about is every tenant's.
  "projections:read",
  "projections:write",
]);

/** The default `Authorizer`: what the tenant's users and service accounts may do follows from their roles. */
export interface IdentityAuthorizer extends Authorizer {
  /** Forgets what is known of the tenant, after a change to it in this process. */
  invalidate(tenant: string): void;
}

/**
 * Decides by the roles of the identity context.
 *
 * - The system may do everything.
 * - A user or service account may do what its roles give, and when it acts on somebody's behalf what that party may too.
 * - An agent may do what the party may that it acts for, and nothing without one.
 * - A credential that is limited may do no more than its limits.
 *
 * @param options.grants what an account's roles give in the tenant; nothing when it is unknown or disabled
 * @param options.ttlMs how long an answer is believed that another process may have changed; 2 s when absent
 */
export function createIdentityAuthorizer(options: {
  readonly grants: (tenant: string, account: Party) => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly ttlMs?: number;
  readonly maxEntries?: number;
}): IdentityAuthorizer {
  const cache = new ExpiringCache<readonly string[]>({
    clock: options.clock,
    ttlMs: options.ttlMs ?? 2_000,
    maxEntries: options.maxEntries ?? 10_000,
  });
  const holds = async (tenant: string, account: Party, permission: string): Promise<boolean> => {
    const load = () => options.grants(tenant, { type: account.type, id: account.id });
    const grants = await cache.get(tenant, `${account.type}:${account.id}`, load);
    return grants.some((granted) => covers(granted, permission));
  };
  return {
    async allows(principal, permission) {
      if (principal.actor.type === "system") return withinLimits(principal, permission);
      if (SYSTEM_ONLY.has(permission) || !withinLimits(principal, permission)) return false;
      const accounts = accountable(principal);
      if (accounts.length === 0) return false;
      for (const account of accounts) if (!(await holds(principal.tenant, account, permission))) return false;
      return true;
    },
    invalidate: (tenant) => cache.invalidate(tenant),
  };
}

function withinLimits({ limitedTo }: Principal, permission: string): boolean {
  return limitedTo === undefined || limitedTo.some((limit) => covers(limit, permission));
}

// Whose roles must all give the permission. An agent has none of its own.
function accountable({ actor, onBehalfOf }: Principal): readonly Party[] {
  const self = actor.type === "user" || actor.type === "service" ? [{ type: actor.type, id: actor.id }] : [];
  return onBehalfOf === undefined ? self : [...self, onBehalfOf];
}
