import { toInstant } from "../../kernel/clock.ts";
import { SecretVersionConflict } from "../../kernel/port-errors.ts";
import type { ConnectorDefinition } from "./connector-definition.ts";
import { ConnectorNeedsReauthorization } from "./contract.ts";
import { type ClientToken, type OAuthToken, sealCredential } from "./credential.ts";
import type { CredentialRef, HeldCredential, Renewing } from "./held-credential.ts";
import type { TokenRefused } from "./token-endpoint.ts";

/** How long, and with which waits, a renewed token is tried to be stored: the one that it replaces works no more. */
const STORE_FOR_MS = 30_000;
const STORE_WAIT_MS = 100;
const STORE_MAX_WAIT_MS = 2_000;

/** Stores a new token in place of this version, and notes it. */
export async function keepRenewed(
  ctx: Renewing,
  ref: CredentialRef,
  renewed: OAuthToken | ClientToken,
  version: number,
): Promise<HeldCredential> {
  const stored = await storeRenewed(ctx, ref, renewed, version);
  await note(ctx, ref, renewed);
  return { version: stored, credential: renewed };
}

// The provider has forgotten the old token: a store that stumbles now is tried again before the new one is given up.
async function storeRenewed(
  ctx: Renewing,
  ref: CredentialRef,
  renewed: OAuthToken | ClientToken,
  version: number,
): Promise<number> {
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

/** Notes that only a person can mend it, and says so. */
export async function broken(ctx: Renewing, ref: CredentialRef, reason: "refused" | "interrupted"): Promise<never> {
  const { connectorId, credential } = ref;
  await ctx.own.recordBroken({ connectorId: connectorId as `con_${string}`, credential, reason });
  throw new ConnectorNeedsReauthorization({ connectorId: connectorId as `con_${string}`, reason });
}

// The token is safe already: that the event could not be written must not cost the caller its answer.
async function note(ctx: Renewing, ref: CredentialRef, token: OAuthToken | ClientToken): Promise<void> {
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

/** Tells the operator why there is no new token. */
export function logRefusal(
  ctx: Renewing,
  definition: ConnectorDefinition,
  ref: CredentialRef,
  { error }: TokenRefused,
): void {
  ctx.log.warn("A token could not be renewed", { provider: definition.id, connectorId: ref.connectorId, error });
}
