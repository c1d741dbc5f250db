import type * as OAuth from "oauth4webapi";
import { ArmatureError } from "../../kernel/errors.ts";
import { ProviderAnsweredGarbage } from "../../kernel/port-errors.ts";
import type { HttpClient } from "../../kernel/ports.ts";
import type { OAuthClient, TokenEndpoint } from "./authentication.ts";
import type { ConnectorDefinition } from "./connector-definition.ts";
import { ProviderFailed, ProviderLimited } from "./contract.ts";
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

export const load = () => import("oauth4webapi");

export function server(auth: TokenEndpoint): OAuth.AuthorizationServer {
  return { issuer: auth.issuer, token_endpoint: auth.tokenEndpoint };
}

export function client(auth: OAuthClient): OAuth.Client {
  return { client_id: auth.clientId };
}

export function proof(oauth: typeof OAuth, auth: TokenEndpoint, { clientSecret }: OAuthClient): OAuth.ClientAuth {
  const secret = clientSecret.reveal();
  return auth.clientAuthentication === "basic" ? oauth.ClientSecretBasic(secret) : oauth.ClientSecretPost(secret);
}

// The library asks for https; our own client decides which origins may be reached without.
export function through(oauth: typeof OAuth, http: HttpClient, signal: AbortSignal) {
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

/** What a token answer gives, whatever it was asked with. */
export interface GivenToken {
  readonly accessToken: string;
  readonly expiresAt?: number;
  readonly renewAt?: number;
  readonly refreshToken?: string;
  readonly scopes: string[];
}

export function toToken(
  answer: OAuth.TokenEndpointResponse,
  auth: TokenEndpoint,
  asked: readonly string[],
  now: number,
): GivenToken {
  const granted = auth.grantedScopes(answer) ?? [];
  return {
    accessToken: answer.access_token,
    ...(answer.expires_in === undefined ? {} : lifetime(answer.expires_in * 1000, now)),
    ...(answer.refresh_token === undefined ? {} : { refreshToken: answer.refresh_token }),
    // What is not said is as it was asked for (RFC 6749, 5.1), or as it was before (6).
    scopes: [...(granted.length > 0 ? granted : asked)],
  };
}

function lifetime(ms: number, now: number): Required<Pick<GivenToken, "expiresAt" | "renewAt">> {
  return { expiresAt: now + ms, renewAt: now + ms - Math.min(EARLY_MS, ms / 4) };
}

// What the library throws may quote the answer; ours say only what kind of thing went wrong.
export function toRefusal(oauth: typeof OAuth, definition: ConnectorDefinition, error: unknown, now: number): Error {
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
