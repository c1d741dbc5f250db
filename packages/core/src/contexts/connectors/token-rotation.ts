import { SecretVersionConflict } from "../../kernel/port-errors.ts";
import type { OAuth2Auth } from "./authentication.ts";
import type { ConnectorDefinition } from "./connector-definition.ts";
import { ProviderFailed } from "./contract.ts";
import { type OAuthToken, sealCredential } from "./credential.ts";
import { type CredentialRef, type HeldCredential, type Renewing, readCredential } from "./held-credential.ts";
import { refreshToken } from "./oauth.ts";
import { broken, keepRenewed, logRefusal } from "./renewed-token.ts";
import { TokenRefused } from "./token-endpoint.ts";
import { countedTokens, TOKEN } from "./usage.ts";

/**
 * Uses the refresh token, and stores what comes of it. The caller holds the lease.
 *
 * @throws {SecretVersionConflict} somebody else wrote in the meantime
 */
export async function rotate(
  ctx: Renewing,
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
    renewed = await refreshToken(
      definition,
      auth,
      { send: countedTokens({ ctx, connectorId: ref.connectorId, action: TOKEN }, ctx.http) },
      credential,
      ctx.signal,
      () => ctx.clock.now(),
    );
  } catch (error) {
    if (!(error instanceof TokenRefused)) throw error;
    return refused(ctx, definition, auth, ref, version, interrupted, error);
  }
  return keepRenewed(ctx, ref, renewed, version);
}

// The provider said no. Somebody else may have rotated before us: their token is in the store then.
async function refused(
  ctx: Renewing,
  definition: ConnectorDefinition,
  auth: OAuth2Auth,
  ref: CredentialRef,
  version: number,
  interrupted: boolean,
  error: TokenRefused,
): Promise<HeldCredential> {
  const now = await readCredential(ctx, ref);
  if (now.version !== version) throw new SecretVersionConflict({ name: ref.credential, expected: version });
  logRefusal(ctx, definition, ref, error);
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
