import type { ActionContext } from "../../kernel/context.ts";
import { InvalidInput } from "../../kernel/errors.ts";
import type { HttpClient } from "../../kernel/ports.ts";
import { Secret } from "../../kernel/secret.ts";
import type { ClientCredentialsAuth, OAuthClient } from "./authentication.ts";
import type { ConnectorDefinition } from "./connector-definition.ts";
import { AuthorizationRefused, type Connectors, ProviderFailed } from "./contract.ts";
import { type ClientToken, sealCredential } from "./credential.ts";
import type { CredentialRef, HeldCredential, Renewing } from "./held-credential.ts";
import { clientToken } from "./oauth.ts";
import { broken, keepRenewed, logRefusal } from "./renewed-token.ts";
import { type GivenToken, TokenRefused } from "./token-endpoint.ts";
import { countedTokens, TOKEN, type UsageOf } from "./usage.ts";

/**
 * The token that a connection begins with.
 *
 * @throws {AuthorizationRefused} the provider said no
 */
export async function firstClientToken(
  ctx: Pick<ActionContext<Connectors, never>, "http" | "signal" | "clock" | "count">,
  definition: ConnectorDefinition,
  connectorId: string,
  given: { readonly clientId?: string | undefined; readonly clientSecret?: string | undefined },
): Promise<ClientToken> {
  const auth = definition.auth.clientCredentials!;
  const client = ownClient(auth, given);
  try {
    const asking = asks(auth, client)!;
    return toClientToken(
      await clientToken(definition, auth, counted(ctx, connectorId), asking, ctx.signal, () => ctx.clock.now()),
      client,
    );
  } catch (error) {
    if (error instanceof TokenRefused) throw new AuthorizationRefused({ provider: definition.id, error: error.error });
    throw error;
  }
}

/**
 * Asks for another token. A client may ask as often as it likes: nothing is used up, so nothing has to be written down
 * before. The caller holds the lease.
 *
 * @throws {SecretVersionConflict} somebody else wrote in the meantime
 */
export async function nextClientToken(
  ctx: Renewing,
  definition: ConnectorDefinition,
  ref: CredentialRef,
  version: number,
  held: ClientToken,
): Promise<HeldCredential> {
  const auth = definition.auth.clientCredentials;
  const asking = auth === undefined ? undefined : asks(auth, held.client);
  if (auth === undefined || asking === undefined) return broken(ctx, ref, "refused");
  if (held.broken !== undefined) return broken(ctx, ref, held.broken);
  try {
    const given = await clientToken(definition, auth, counted(ctx, ref.connectorId), asking, ctx.signal, () =>
      ctx.clock.now(),
    );
    return await keepRenewed(ctx, ref, toClientToken(given, held.client), version);
  } catch (error) {
    if (!(error instanceof TokenRefused)) throw error;
    logRefusal(ctx, definition, ref, error);
    // The app's own client is the host's to mend: no person of the tenant could.
    if (held.client === undefined || auth.classifyTokenError(error.error, error.description) !== "dead")
      throw new ProviderFailed({ provider: definition.id, status: 400 });
    await ctx.secrets.put(ctx.tenant, ref.credential, sealCredential({ ...held, broken: "refused" }), version);
    return broken(ctx, ref, "refused");
  }
}

function counted(ctx: UsageOf["ctx"] & { readonly http: HttpClient }, connectorId: string): HttpClient {
  return { send: countedTokens({ ctx, connectorId, action: TOKEN }, ctx.http) };
}

function ownClient(
  { client }: ClientCredentialsAuth,
  { clientId: id, clientSecret: secret }: Parameters<typeof firstClientToken>[3],
): ClientToken["client"] {
  const invalid = (path: string, message: string) =>
    new InvalidInput({ subject: "The client credentials", issues: [{ path, message }] });
  if (client !== undefined) {
    if (id !== undefined || secret !== undefined) throw invalid("clientId", "cannot be given: the app has its own");
    return undefined;
  }
  if (id === undefined) throw invalid("clientId", "is needed");
  if (secret === undefined) throw invalid("clientSecret", "is needed");
  return { id, secret };
}

// The app's own client, or the tenant's.
function asks(auth: ClientCredentialsAuth, own: ClientToken["client"]): OAuthClient | undefined {
  return own === undefined ? auth.client : { clientId: own.id, clientSecret: new Secret(own.secret) };
}

function toClientToken({ refreshToken: _, ...given }: GivenToken, client: ClientToken["client"]): ClientToken {
  return { type: "client-credentials", ...given, ...(client === undefined ? {} : { client }) };
}
