import type { Clock } from "../../kernel/clock.ts";
import { SecretVersionConflict } from "../../kernel/port-errors.ts";
import type { HeldLease } from "../../kernel/ports.ts";
import { nextClientToken } from "./client-credentials.ts";
import type { ConnectorDefinition } from "./connector-definition.ts";
import { ProviderFailed } from "./contract.ts";
import {
  type CredentialCaller,
  type CredentialRef,
  type HeldCredential,
  isRenewable,
  type Renewing,
  readCredential,
} from "./held-credential.ts";
import type { Background, DetachedCalls } from "./ports.ts";
import { rotate } from "./token-rotation.ts";

/** Short, and renewed while the provider answers, so that a crash blocks nobody for long. */
const LEASE_MS = 5_000;
const WAIT_MS = 50;

/**
 * Gives out credentials that work, and renews them: however many callers in however many processes find a token
 * expired, one token request is made.
 *
 * Within a process callers share one promise; between processes a lease is held, and every write is a compare-and-set
 * on the secret's version. The intent to rotate is written first, and the new token is durable before anything else
 * happens with it.
 */
export class TokenKeeper {
  readonly #renewals = new Map<string, Promise<HeldCredential>>();
  readonly #detached: DetachedCalls;
  readonly #background: Background;

  constructor(detached: DetachedCalls, background: Background) {
    this.#detached = detached;
    this.#background = background;
  }

  /**
   * @param stale version of the secret whose token the provider has just refused, although it was not expired
   * @throws {ConnectorNeedsReauthorization} only a person can bring the connection back
   */
  async get(
    ctx: CredentialCaller,
    definition: ConnectorDefinition,
    ref: CredentialRef,
    stale?: number,
  ): Promise<HeldCredential> {
    const held = await readCredential(ctx, ref);
    if (isGood(held, ctx.clock, stale)) return held;
    const key = `${ctx.tenant} ${ref.credential}`;
    const running = this.#renewals.get(key);
    if (running !== undefined) return running;
    // Not bound to the first caller's deadline: the others wait for the same renewal.
    const alone: Renewing = { ...ctx, signal: new AbortController().signal, own: this.#detached(ctx) };
    const renewal = this.#renew(alone, definition, ref, stale).finally(() => this.#renewals.delete(key));
    this.#renewals.set(key, renewal);
    return this.#background(renewal);
  }

  async #renew(
    ctx: Renewing,
    definition: ConnectorDefinition,
    ref: CredentialRef,
    stale: number | undefined,
  ): Promise<HeldCredential> {
    const giveUpAt = ctx.clock.now() + 60_000;
    for (;;) {
      const lease = await ctx.lease.acquire(`connector-token:${ctx.tenant}:${ref.credential}`, LEASE_MS);
      try {
        // Somebody else is at it, or has just finished: what they store is what we wait for.
        const held = await readCredential(ctx, ref);
        if (isGood(held, ctx.clock, stale)) return held;
        const renewed = lease && (await renewUnderLease(ctx, definition, ref, held, lease));
        if (renewed !== undefined) return renewed;
      } finally {
        // One that cannot be given back lapses.
        await lease?.release().catch(() => undefined);
      }
      if (ctx.clock.now() > giveUpAt) throw new ProviderFailed({ provider: definition.id, status: 0 });
      await ctx.clock.sleep(WAIT_MS);
    }
  }
}

// Undefined when somebody else wrote in the meantime: then their token is looked at.
async function renewUnderLease(
  ctx: Renewing,
  definition: ConnectorDefinition,
  ref: CredentialRef,
  held: HeldCredential,
  lease: HeldLease,
): Promise<HeldCredential | undefined> {
  const over = new AbortController();
  const keeping = keepLease(ctx.clock, lease, over.signal);
  try {
    const { version, credential } = held;
    return credential.type === "client-credentials"
      ? await nextClientToken(ctx, definition, ref, version, credential)
      : await rotate(ctx, definition, ref, held);
  } catch (error) {
    if (error instanceof SecretVersionConflict) return undefined;
    throw error;
  } finally {
    over.abort();
    await keeping;
  }
}

function isGood({ version, credential }: HeldCredential, clock: Clock, stale: number | undefined): boolean {
  if (!isRenewable(credential)) return true;
  if (version === stale || credential.broken !== undefined) return false;
  if (credential.type === "oauth2" && credential.rotationBegun !== undefined) return false;
  return credential.renewAt === undefined || credential.renewAt > clock.now();
}

async function keepLease(clock: Clock, lease: HeldLease, until: AbortSignal): Promise<void> {
  while (!until.aborted) {
    await clock.sleep(LEASE_MS / 3, until).catch(() => undefined);
    if (!until.aborted && !(await lease.renew(LEASE_MS).catch(() => false))) return;
  }
}
