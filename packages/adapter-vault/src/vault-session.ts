import type { Clock, Secret } from "@armature/core";

const SHORTEST_WAIT_MS = 1_000;

/** A token, and what is known of its life. */
export interface VaultSession {
  readonly token: Secret<string>;
  /** When somebody logged in for it. */
  readonly obtainedAt: number;
  readonly expiresAt: number;
  /** When it is renewed or replaced before it is used again. */
  readonly dueAt: number;
  readonly renewable: boolean;
  /** How long it was given at first. A renewal that gives less has met the token's longest life. */
  readonly ttlMs: number;
}

/** A session that starts now, or that did at `since`. Due at half of its life. A TTL of 0 never ends. */
export function sessionOf(
  token: Secret<string>,
  { ttlMs, renewable, since }: { readonly ttlMs: number; readonly renewable: boolean; readonly since: number },
): VaultSession {
  const endless = ttlMs === 0;
  return {
    token,
    obtainedAt: since,
    expiresAt: endless ? Number.POSITIVE_INFINITY : since + ttlMs,
    dueAt: endless ? Number.POSITIVE_INFINITY : since + Math.max(ttlMs / 2, SHORTEST_WAIT_MS),
    renewable,
    ttlMs,
  };
}

/** The same token, with as long as a renewal gave it. */
export function renewed(session: VaultSession, given: { readonly ttlMs: number; readonly since: number }) {
  const { expiresAt, dueAt } = sessionOf(session.token, { ...given, renewable: true });
  return { ...session, expiresAt, dueAt, renewable: given.ttlMs >= session.ttlMs };
}

/** The same token, to be looked after later: at half of what is left of it. */
export function postponed(session: VaultSession, clock: Clock): VaultSession {
  const now = clock.now();
  return { ...session, dueAt: now + Math.max((session.expiresAt - now) / 2, SHORTEST_WAIT_MS) };
}
