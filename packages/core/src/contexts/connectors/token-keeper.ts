import type { Clock } from "../../kernel/clock.ts";
import { toInstant } from "../../kernel/clock.ts";
import type { ActionContext } from "../../kernel/context.ts";
import type { OwnClient } from "../../kernel/contract.ts";
import { SecretVersionConflict } from "../../kernel/port-errors.ts";
import type { HeldLease, StoredSecret } from "../../kernel/ports.ts";
import type { ConnectorDefinition, OAuth2Auth } from "./connector-definition.ts";
import { ConnectorNeedsReauthorization, ConnectorNotConnected, type Connectors, ProviderFailed } from "./contract.ts";
import { type Credential, type OAuthToken, openCredential, sealCredential } from "./credential.ts";
import { refreshToken, TokenRefused } from "./oauth.ts";
import type { Background, DetachedCalls } from "./ports.ts";

/** How long, and with which waits, a renewed token is tried to be stored: the one that it replaces works no more. */
const STORE_FOR_MS = 30_000;
const STORE_WAIT_MS = 100;
const STORE_MAX_WAIT_MS = 2_000;
/** Short, and renewed while the provider answers, so that a crash blocks nobody for long. */
const LEASE_MS = 5_000;
const WAIT_MS = 50;

type Ctx = Pick<
  ActionContext<Connectors, never>,
  "secrets" | "lease" | "clock" | "http" | "tenant" | "signal" | "log" | "principal" | "traceparent" | "correlationId"
> & { readonly own: OwnClient<Connectors> };
type Caller = Omit<Ctx, "own">;

/** Which credential of which connector. */
export interface CredentialRef {
  readonly connectorId: string;
  /** Name of the secret. */
  readonly credential: string;
}

/** A usable credential, and the version of the secret that it came from. */
export interface HeldCredential {
  readonly version: number;
  readonly credential: Credential;
}

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
  async get(ctx: Caller, definition: ConnectorDefinition, ref: CredentialRef, stale?: number): Promise<HeldCredential> {
    const held = await read(ctx, ref);
    if (isGood(held, ctx.clock, stale)) return held;
    const key = `${ctx.tenant} ${ref.credential}`;
    const running = this.#renewals.get(key);
    if (running !== undefined) return running;
    // Not bound to the first caller's deadline: the others wait for the same renewal.
    const alone: Ctx = { ...ctx, signal: new AbortController().signal, own: this.#detached(ctx) };
    const renewal = this.#renew(alone, definition, ref, stale).finally(() => this.#renewals.delete(key));
    this.#renewals.set(key, renewal);
    return this.#background(renewal);
  }

  async #renew(
    ctx: Ctx,
    definition: ConnectorDefinition,
    ref: CredentialRef,
    stale: number | undefined,
  ): Promise<HeldCredential> {
    const giveUpAt = ctx.clock.now() + 60_000;
    for (;;) {
      const lease = await ctx.lease.acquire(`connector-token:${ctx.tenant}:${ref.credential}`, LEASE_MS);
      try {
        // Somebody else is at it, or has just finished: what they store is what we wait for.
        const held = await read(ctx, ref);
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
  ctx: Ctx,
  definition: ConnectorDefinition,
  ref: CredentialRef,
  held: HeldCredential,
  lease: HeldLease,
): Promise<HeldCredential | undefined> {
  const over = new AbortController();
  const keeping = keepLease(ctx.clock, lease, over.signal);
  try {
    return await rotate(ctx, definition, ref, held);
  } catch (error) {
    if (error instanceof SecretVersionConflict) return undefined;
    throw error;
  } finally {
    over.abort();
    await keeping;
  }
}

async function rotate(
  ctx: Ctx,
  definition: ConnectorDefinition,
  ref: CredentialRef,
  held: HeldCredential,
): Promise<HeldCredential> {
  const { credential } = held;
  const auth = definition.auth.oauth2;
  if (credential.type !== "oauth2" || credential.refreshToken === undefined || auth === undefined)
    return broken(ctx, ref, "refused");
  if (credential.broken !== undefined) return broken(ctx, ref, credential.broken);
  const interrupted = credential.rotationBegun !== undefined;
  const intent: OAuthToken = { ...credential, rotationBegun: ctx.clock.now() };
  const version = await ctx.secrets.put(ctx.tenant, ref.credential, sealCredential(intent), held.version);
  let renewed: OAuthToken;
  try {
    renewed = await refreshToken(definition, auth, ctx.http, credential, ctx.signal, () => ctx.clock.now());
  } catch (error) {
    if (!(error instanceof TokenRefused)) throw error;
    return refused(ctx, definition, auth, ref, version, interrupted, error);
  }
  const stored = await storeRenewed(ctx, ref, renewed, version);
  await note(ctx, ref, renewed);
  return { version: stored, credential: renewed };
}

// The provider has forgotten the old token: a store that stumbles now is tried again before the new one is given up.
async function storeRenewed(ctx: Ctx, ref: CredentialRef, renewed: OAuthToken, version: number): Promise<number> {
  const giveUpAt = ctx.clock.now() + STORE_FOR_MS;
  for (let wait = STORE_WAIT_MS; ; wait = Math.min(2 * wait, STORE_MAX_WAIT_MS)) {
    try {
      return await ctx.secrets.put(ctx.tenant, ref.credential, sealCredential(renewed), version);
    } catch (error) {
      // Also when an attempt arrived and only its answer was lost: then what is stored is read again.
      if (error instanceof SecretVersionConflict || ctx.clock.now() + wait >= giveUpAt) throw error;
      ctx.log.warn("A renewed token could not be stored and is tried again", { connectorId: ref.connectorId });
    }
    await ctx.clock.sleep(wait);
  }
}

// The provider said no. Somebody else may have rotated before us: their token is in the store then.
async function refused(
  ctx: Ctx,
  definition: ConnectorDefinition,
  auth: OAuth2Auth,
  ref: CredentialRef,
  version: number,
  interrupted: boolean,
  error: TokenRefused,
): Promise<HeldCredential> {
  const now = await read(ctx, ref);
  if (now.version !== version) throw new SecretVersionConflict({ name: ref.credential, expected: version });
  ctx.log.warn("A token could not be renewed", {
    provider: definition.id,
    connectorId: ref.connectorId,
    error: error.error,
  });
  const write = (credential: OAuthToken) =>
    ctx.secrets.put(ctx.tenant, ref.credential, sealCredential(credential), version);
  const held = now.credential.type === "oauth2" ? now.credential : undefined;
  if (auth.classifyTokenError(error.error, error.description) === "dead") {
    const reason = interrupted ? "interrupted" : "refused";
    if (held !== undefined) await write({ ...held, broken: reason });
    return broken(ctx, ref, reason);
  }
  // It may work later, and the refresh token was not used up: the intent is taken back, but not that of a crash before.
  if (held !== undefined && !interrupted) {
    const { rotationBegun: _begun, ...before } = held;
    await write(before);
  }
  throw new ProviderFailed({ provider: definition.id, status: 400 });
}

async function broken(ctx: Ctx, ref: CredentialRef, reason: "refused" | "interrupted"): Promise<never> {
  const { connectorId, credential } = ref;
  await ctx.own.recordBroken({ connectorId: connectorId as `con_${string}`, credential, reason });
  throw new ConnectorNeedsReauthorization({ connectorId: connectorId as `con_${string}`, reason });
}

// The token is safe already: that the event could not be written must not cost the caller its answer.
async function note(ctx: Ctx, ref: CredentialRef, token: OAuthToken): Promise<void> {
  try {
    await ctx.own.recordRefreshed({
      connectorId: ref.connectorId as `con_${string}`,
      credential: ref.credential,
      ...(token.expiresAt === undefined ? {} : { expiresAt: toInstant(token.expiresAt) }),
    });
  } catch (error) {
    ctx.log.error("A token was renewed, and the event of it could not be written", {
      connectorId: ref.connectorId,
      error: String(error),
    });
  }
}

async function read(ctx: Caller, ref: CredentialRef): Promise<HeldCredential> {
  const stored: StoredSecret | undefined = await ctx.secrets.get(ctx.tenant, ref.credential);
  if (stored === undefined) throw new ConnectorNotConnected({ connectorId: ref.connectorId as `con_${string}` });
  return { version: stored.version, credential: openCredential(ref.credential, stored.value) };
}

function isGood({ version, credential }: HeldCredential, clock: Clock, stale: number | undefined): boolean {
  if (credential.type === "api-key") return true;
  if (credential.rotationBegun !== undefined || version === stale) return false;
  return credential.renewAt === undefined || credential.renewAt > clock.now();
}

async function keepLease(clock: Clock, lease: HeldLease, until: AbortSignal): Promise<void> {
  while (!until.aborted) {
    await clock.sleep(LEASE_MS / 3, until).catch(() => undefined);
    if (!until.aborted && !(await lease.renew(LEASE_MS).catch(() => false))) return;
  }
}
