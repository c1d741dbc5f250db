import type * as OAuth from "oauth4webapi";
import { ArmatureError } from "../../kernel/errors.ts";
import { ProviderAnsweredGarbage } from "../../kernel/port-errors.ts";
import type { HttpClient } from "../../kernel/ports.ts";
import type { ConnectorDefinition, OAuth2Auth } from "./connector-definition.ts";
import { AuthorizationInvalid, AuthorizationRefused, ProviderFailed, ProviderLimited } from "./contract.ts";
import type { OAuthToken } from "./credential.ts";
import { retryAfter } from "./retry-after.ts";

const TOKEN_TIMEOUT_MS = 15_000;
/** A token this close to its end is renewed before it is used; one that lives for seconds only, in its last quarter. */
const EARLY_MS = 5_000;

/** The provider's token endpoint said no, in OAuth's terms. */
export class TokenRefused extends Error {
  readonly error: string;
  readonly description: string | undefined;

  constructor(error: string, description: string | undefined) {
    super(`The token endpoint answered "${error}".`);
    this.error = error;
    this.description = description;
  }
}

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
      proof(oauth, auth),
      parameters,
      answer.redirectUri,
      answer.codeVerifier,
      through(oauth, http, signal),
    );
    return toToken(
      await oauth.processAuthorizationCodeResponse(server(auth), client(auth), response),
      auth,
      auth.scopes,
      now(),
    );
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
      proof(oauth, auth),
      token.refreshToken ?? "",
      through(oauth, http, signal),
    );
    const answered = await oauth.processRefreshTokenResponse(server(auth), client(auth), response);
    const renewed = toToken(answered, auth, token.scopes, now());
    // A provider that does not rotate sends no new refresh token: the old one stays.
    return { ...renewed, refreshToken: renewed.refreshToken ?? token.refreshToken };
  } catch (error) {
    throw toRefusal(oauth, definition, error, now());
  }
}

const load = () => import("oauth4webapi");

function server(auth: OAuth2Auth): OAuth.AuthorizationServer {
  return { issuer: auth.issuer, token_endpoint: auth.tokenEndpoint };
}

function client(auth: OAuth2Auth): OAuth.Client {
  return { client_id: auth.clientId };
}

function proof(oauth: typeof OAuth, auth: OAuth2Auth): OAuth.ClientAuth {
  const secret = auth.clientSecret.reveal();
  return auth.clientAuthentication === "basic" ? oauth.ClientSecretBasic(secret) : oauth.ClientSecretPost(secret);
}

// The library asks for https; our own client decides which origins may be reached without.
function through(oauth: typeof OAuth, http: HttpClient, signal: AbortSignal) {
  return {
    [oauth.allowInsecureRequests]: true,
    signal,
    [oauth.customFetch]: async (
      url: string,
      init: { method: string; headers: Record<string, string>; body?: unknown; signal?: AbortSignal | undefined },
    ) => {
      const response = await http.send({
        method: init.method as "POST",
        url,
        headers: Object.fromEntries(new Headers(init.headers)),
        body: init.body === undefined || init.body === null ? undefined : String(init.body),
        signal: init.signal ?? signal,
        timeoutMs: TOKEN_TIMEOUT_MS,
        maxBytes: 100_000,
      });
      return new Response(response.status === 204 ? null : withoutIdToken(response.text()), {
        status: response.status,
        headers: response.headers,
      });
    },
  };
}

// Who the person is was not asked. The library would check an ID token by an issuer and keys that no connector names.
function withoutIdToken(body: string): string {
  if (!body.includes('"id_token"')) return body;
  try {
    const { id_token: _ignored, ...rest } = JSON.parse(body);
    return JSON.stringify(rest);
  } catch {
    return body;
  }
}

function toToken(
  answer: OAuth.TokenEndpointResponse,
  auth: OAuth2Auth,
  asked: readonly string[],
  now: number,
): OAuthToken {
  const granted = auth.grantedScopes(answer) ?? [];
  return {
    type: "oauth2",
    accessToken: answer.access_token,
    ...(answer.expires_in === undefined ? {} : lifetime(answer.expires_in * 1000, now)),
    ...(answer.refresh_token === undefined ? {} : { refreshToken: answer.refresh_token }),
    // What is not said is as it was asked for (RFC 6749, 5.1), or as it was before (6).
    scopes: [...(granted.length > 0 ? granted : asked)],
  };
}

function lifetime(ms: number, now: number): Pick<OAuthToken, "expiresAt" | "renewAt"> {
  return { expiresAt: now + ms, renewAt: now + ms - Math.min(EARLY_MS, ms / 4) };
}

// What the library throws may quote the answer; ours say only what kind of thing went wrong.
function toRefusal(oauth: typeof OAuth, definition: ConnectorDefinition, error: unknown, now: number): Error {
  if (error instanceof ArmatureError) return error;
  const provider = definition.id;
  const cause = error instanceof Error ? error.cause : undefined;
  const response = error instanceof oauth.ResponseBodyError ? error.response : cause;
  if (response instanceof Response && response.status >= 500)
    return new ProviderFailed({ provider, status: response.status });
  if (response instanceof Response && response.status === 429)
    return new ProviderLimited({ provider, retryAfterMs: retryAfter(response, now) ?? 1_000 });
  if (error instanceof oauth.ResponseBodyError) return new TokenRefused(word(error.error), error.error_description);
  if (error instanceof oauth.WWWAuthenticateChallengeError) return new TokenRefused("invalid_client", undefined);
  return new ProviderAnsweredGarbage({
    host: provider,
    reason: "the token endpoint's answer is not a token response",
  });
}

// RFC 6749's error words are short; anything else is not repeated.
function word(error: string): string {
  return /^[a-z_]{1,60}$/.test(error) ? error : "an error without a standard name";
}
