import { Secret } from "../../kernel/secret.ts";

/** How a connection proves who it is. */
export type Authentication = "oauth2" | "api-key" | "basic" | "client-credentials";

/** The ways in which one provider can be connected: at least one. */
export interface ProviderAuth {
  readonly oauth2?: OAuth2Auth;
  readonly apiKey?: ApiKeyAuth;
  readonly basic?: BasicAuth;
  readonly clientCredentials?: ClientCredentialsAuth;
}

/** Their names, as contracts and events have them. */
export function authenticationsOf(auth: ProviderAuth): Authentication[] {
  return [
    ...(auth.oauth2 ? (["oauth2"] as const) : []),
    ...(auth.apiKey ? (["api-key"] as const) : []),
    ...(auth.basic ? (["basic"] as const) : []),
    ...(auth.clientCredentials ? (["client-credentials"] as const) : []),
  ];
}

/** A token endpoint, as one provider speaks it. */
export interface TokenEndpoint {
  readonly tokenEndpoint: string;
  /** The authorization server's issuer identifier (RFC 8414); checked against `iss` in the callback (RFC 9207). */
  readonly issuer: string;
  readonly scopes: readonly string[];
  /** How the client proves itself at the token endpoint. */
  readonly clientAuthentication: "basic" | "post";
  /** Says what a refusal of the token endpoint means, where the provider's word differs from RFC 6749's. */
  readonly classifyTokenError: (error: string, description: string | undefined) => TokenErrorMeaning;
  /** The scopes that a token answer says were granted, where it does not say so in RFC 6749's `scope`. */
  readonly grantedScopes: (answer: TokenAnswer) => readonly string[] | undefined;
}

/** Who asks at a token endpoint. */
export interface OAuthClient {
  readonly clientId: string;
  readonly clientSecret: Secret<string>;
}

/** OAuth 2.1 authorization code with PKCE. */
export interface OAuth2Auth extends TokenEndpoint, OAuthClient {
  readonly authorizationEndpoint: string;
  /** Further parameters of the authorization request, `{ prompt: "consent" }`. */
  readonly parameters: Readonly<Record<string, string>>;
}

/** OAuth 2.1 client credentials: no person, a client that acts for itself. */
export interface ClientCredentialsAuth extends TokenEndpoint {
  /** The app's own client; absent when each tenant brings one. */
  readonly client: OAuthClient | undefined;
  /** Further parameters of the token request, `{ audience: "https://api.crm.example" }`. */
  readonly parameters: Readonly<Record<string, string>>;
}

/** A user name and a password (RFC 7617), sent as UTF-8. */
export interface BasicAuth {
  readonly scheme: "basic";
}

/** What a token endpoint answered, by member. */
export type TokenAnswer = Readonly<Record<string, unknown>>;

/** `dead`: the grant is gone, a person must connect again. `again`: the same request may succeed later. */
export type TokenErrorMeaning = "dead" | "again";

/** A key that the tenant's administrator copies from the provider. */
export interface ApiKeyAuth {
  /** Header that carries it. */
  readonly header: string;
  /** Text before the key, `Bearer `. */
  readonly prefix: string;
}

interface TokenEndpointOptions extends Pick<TokenEndpoint, "tokenEndpoint" | "scopes"> {
  /** Without it, the origin of the token endpoint. */
  readonly issuer?: string;
  readonly clientAuthentication?: TokenEndpoint["clientAuthentication"];
  readonly classifyTokenError?: TokenEndpoint["classifyTokenError"];
  readonly grantedScopes?: TokenEndpoint["grantedScopes"];
  readonly parameters?: Readonly<Record<string, string>>;
}

/** Declares how a provider does OAuth with a person's consent. */
export function oauth2(
  options: TokenEndpointOptions &
    Pick<OAuth2Auth, "authorizationEndpoint" | "clientId"> & { readonly clientSecret: string | Secret<string> },
): OAuth2Auth {
  return {
    ...options,
    ...tokenEndpoint(options, ["invalid_grant"]),
    clientSecret: toSecret(options.clientSecret),
    parameters: options.parameters ?? {},
  };
}

/**
 * Declares how a provider gives tokens to a client that acts for itself. With `clientId` and `clientSecret` it is the
 * app's own client and every connection uses it; without, each tenant brings one when it connects.
 */
export function clientCredentials(
  options: TokenEndpointOptions &
    (
      | { readonly clientId: string; readonly clientSecret: string | Secret<string> }
      | { readonly clientId?: never; readonly clientSecret?: never }
    ),
): ClientCredentialsAuth {
  const { clientId, clientSecret } = options;
  return {
    ...tokenEndpoint(options, ["invalid_client", "unauthorized_client", "invalid_grant"]),
    client: clientId === undefined ? undefined : { clientId, clientSecret: toSecret(clientSecret) },
    parameters: options.parameters ?? {},
  };
}

/** Declares that a provider takes a user name and a password. */
export function basic(): BasicAuth {
  return { scheme: "basic" };
}

function tokenEndpoint(options: TokenEndpointOptions, dead: readonly string[]): TokenEndpoint {
  return {
    tokenEndpoint: options.tokenEndpoint,
    issuer: options.issuer ?? new URL(options.tokenEndpoint).origin,
    scopes: options.scopes,
    clientAuthentication: options.clientAuthentication ?? "basic",
    classifyTokenError: options.classifyTokenError ?? ((error) => (dead.includes(error) ? "dead" : "again")),
    grantedScopes: options.grantedScopes ?? scopeOf,
  };
}

function toSecret(secret: string | Secret<string>): Secret<string> {
  return typeof secret === "string" ? new Secret(secret) : secret;
}

// RFC 6749, 3.3: separated by spaces.
function scopeOf({ scope }: TokenAnswer): readonly string[] | undefined {
  return typeof scope === "string" ? scope.split(" ").filter((each) => each !== "") : undefined;
}

/** Declares how a provider takes an API key. */
export function apiKey(options: { readonly header: string; readonly prefix?: string }): ApiKeyAuth {
  return { header: options.header.toLowerCase(), prefix: options.prefix ?? "" };
}
