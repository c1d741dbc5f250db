import type { HttpClient } from "../../kernel/ports.ts";
import type { ClientCredentialsAuth, OAuth2Auth, OAuthClient } from "./authentication.ts";
import type { ConnectorDefinition } from "./connector-definition.ts";
import { AuthorizationInvalid, AuthorizationRefused } from "./contract.ts";
import type { OAuthToken } from "./credential.ts";
import {
  client,
  type GivenToken,
  load,
  proof,
  server,
  TokenRefused,
  through,
  toRefusal,
  toToken,
} from "./token-endpoint.ts";

/** The address that begins an authorization: authorization code with PKCE, S256. */
export async function authorizationUrl(
  auth: OAuth2Auth,
  request: { readonly redirectUri: string; readonly state: string; readonly codeVerifier: string },
): Promise<string> {
  const oauth = await load();
  const url = new URL(auth.authorizationEndpoint);
  const parameters = {
    ...auth.parameters,
    response_type: "code",
    client_id: auth.clientId,
    redirect_uri: request.redirectUri,
    scope: auth.scopes.join(" "),
    state: request.state,
    code_challenge: await oauth.calculatePKCECodeChallenge(request.codeVerifier),
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
}

/** Exchanges an authorization code. */
export async function exchangeCode(
  definition: ConnectorDefinition,
  auth: OAuth2Auth,
  http: HttpClient,
  answer: {
    readonly code: string;
    readonly iss?: string | undefined;
    readonly redirectUri: string;
    readonly codeVerifier: string;
  },
  signal: AbortSignal,
  now: () => number,
): Promise<OAuthToken> {
  // An answer of another authorization server (RFC 9207).
  if (answer.iss !== undefined && answer.iss !== auth.issuer) throw new AuthorizationInvalid({});
  const oauth = await load();
  const callback = new URLSearchParams({ code: answer.code, ...(answer.iss === undefined ? {} : { iss: answer.iss }) });
  try {
    const parameters = oauth.validateAuthResponse(server(auth), client(auth), callback, oauth.expectNoState);
    const response = await oauth.authorizationCodeGrantRequest(
      server(auth),
      client(auth),
      proof(oauth, auth, auth),
      parameters,
      answer.redirectUri,
      answer.codeVerifier,
      through(oauth, http, signal),
    );
    const answered = await oauth.processAuthorizationCodeResponse(server(auth), client(auth), response);
    return { type: "oauth2", ...toToken(answered, auth, auth.scopes, now()) };
  } catch (error) {
    const refused = toRefusal(oauth, definition, error, now());
    if (refused instanceof TokenRefused)
      throw new AuthorizationRefused({ provider: definition.id, error: refused.error });
    throw refused;
  }
}

/**
 * Uses a refresh token.
 *
 * @throws {TokenRefused} the provider said no
 */
export async function refreshToken(
  definition: ConnectorDefinition,
  auth: OAuth2Auth,
  http: HttpClient,
  token: OAuthToken,
  signal: AbortSignal,
  now: () => number,
): Promise<OAuthToken> {
  const oauth = await load();
  try {
    const response = await oauth.refreshTokenGrantRequest(
      server(auth),
      client(auth),
      proof(oauth, auth, auth),
      token.refreshToken ?? "",
      through(oauth, http, signal),
    );
    const answered = await oauth.processRefreshTokenResponse(server(auth), client(auth), response);
    const renewed = toToken(answered, auth, token.scopes, now());
    // A provider that does not rotate sends no new refresh token: the old one stays.
    return { type: "oauth2", ...renewed, refreshToken: renewed.refreshToken ?? token.refreshToken };
  } catch (error) {
    throw toRefusal(oauth, definition, error, now());
  }
}

/**
 * Asks for a token as a client that acts for itself.
 *
 * @throws {TokenRefused} the provider said no
 */
export async function clientToken(
  definition: ConnectorDefinition,
  auth: ClientCredentialsAuth,
  http: HttpClient,
  asking: OAuthClient,
  signal: AbortSignal,
  now: () => number,
): Promise<GivenToken> {
  const oauth = await load();
  try {
    const scope = auth.scopes.length === 0 ? {} : { scope: auth.scopes.join(" ") };
    const response = await oauth.clientCredentialsGrantRequest(
      server(auth),
      client(asking),
      proof(oauth, auth, asking),
      { ...auth.parameters, ...scope },
      through(oauth, http, signal),
    );
    const answered = await oauth.processClientCredentialsResponse(server(auth), client(asking), response);
    return toToken(answered, auth, auth.scopes, now());
  } catch (error) {
    throw toRefusal(oauth, definition, error, now());
  }
}
