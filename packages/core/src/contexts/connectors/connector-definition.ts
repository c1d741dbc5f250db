import type { Bucket, HttpRequest, HttpResponse } from "../../kernel/ports.ts";
import { assertJsonOnly, type Schema } from "../../kernel/schema.ts";
import { Secret } from "../../kernel/secret.ts";

/** OAuth 2.1 authorization code with PKCE, as one provider speaks it. */
export interface OAuth2Auth {
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  /** The authorization server's issuer identifier (RFC 8414); checked against `iss` in the callback (RFC 9207). */
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: Secret<string>;
  readonly scopes: readonly string[];
  /** How the client proves itself at the token endpoint. */
  readonly clientAuthentication: "basic" | "post";
  /** Further parameters of the authorization request, `{ prompt: "consent" }`. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Says what a refusal of the token endpoint means, where the provider's word differs from RFC 6749's. */
  readonly classifyTokenError: (error: string, description: string | undefined) => TokenErrorMeaning;
  /** The scopes that a token answer says were granted, where it does not say so in RFC 6749's `scope`. */
  readonly grantedScopes: (answer: TokenAnswer) => readonly string[] | undefined;
}

/** What a token endpoint answered, by member. */
export type TokenAnswer = Readonly<Record<string, unknown>>;

/** `dead`: the grant is gone, a person must authorize again. `again`: the same request may succeed later. */
export type TokenErrorMeaning = "dead" | "again";

/** A key that the tenant's administrator copies from the provider. */
export interface ApiKeyAuth {
  /** Header that carries it. */
  readonly header: string;
  /** Text before the key, `Bearer `. */
  readonly prefix: string;
}

/** Declares how a provider does OAuth. */
export function oauth2(
  options: Pick<OAuth2Auth, "authorizationEndpoint" | "tokenEndpoint" | "clientId" | "scopes"> & {
    readonly clientSecret: string | Secret<string>;
    /** Without it, the origin of the token endpoint. */
    readonly issuer?: string;
    readonly clientAuthentication?: OAuth2Auth["clientAuthentication"];
    readonly parameters?: OAuth2Auth["parameters"];
    readonly classifyTokenError?: OAuth2Auth["classifyTokenError"];
    readonly grantedScopes?: OAuth2Auth["grantedScopes"];
  },
): OAuth2Auth {
  const { clientSecret } = options;
  return {
    ...options,
    issuer: options.issuer ?? new URL(options.tokenEndpoint).origin,
    clientSecret: typeof clientSecret === "string" ? new Secret(clientSecret) : clientSecret,
    clientAuthentication: options.clientAuthentication ?? "basic",
    parameters: options.parameters ?? {},
    classifyTokenError: options.classifyTokenError ?? ((error) => (error === "invalid_grant" ? "dead" : "again")),
    grantedScopes: options.grantedScopes ?? scopeOf,
  };
}

// RFC 6749, 3.3: separated by spaces.
function scopeOf({ scope }: TokenAnswer): readonly string[] | undefined {
  return typeof scope === "string" ? scope.split(" ").filter((each) => each !== "") : undefined;
}

/** Declares how a provider takes an API key. */
export function apiKey(options: { readonly header: string; readonly prefix?: string }): ApiKeyAuth {
  return { header: options.header.toLowerCase(), prefix: options.prefix ?? "" };
}

/** A limit that the provider sets on its callers, kept by us so that it is not reached. */
export interface ProviderLimit extends Bucket {
  readonly name: string;
  /** Whether each connection has the limit for itself, or the whole app shares it over all tenants. */
  readonly per: "connector" | "app";
  /** Which requests count against it; all of them when absent. */
  readonly appliesTo?: (request: LimitedRequest) => boolean;
}

/** What a limit may tell requests apart by. */
export interface LimitedRequest {
  readonly method: HttpRequest["method"];
  /** As the action gave it, below the base URL. */
  readonly path: string;
  /** How the connection authenticates. */
  readonly authentication: "oauth2" | "api-key";
}

export interface ProviderRequest<Out> {
  /** Query parameters; undefined ones are left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** JSON body. */
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** What the provider answers. Anything else is `ProviderAnsweredGarbage`. */
  readonly schema: Schema<Out>;
}

/** The provider's API with the tenant's credential, limits and retries already taken care of. */
export interface ProviderClient {
  get<Out>(path: string, request: ProviderRequest<Out>): Promise<Out>;
  post<Out>(path: string, request: ProviderRequest<Out>): Promise<Out>;
  put<Out>(path: string, request: ProviderRequest<Out>): Promise<Out>;
  patch<Out>(path: string, request: ProviderRequest<Out>): Promise<Out>;
  delete<Out>(path: string, request: ProviderRequest<Out>): Promise<Out>;
}

/** What an action's `run` gets beside its input. */
export interface ConnectorActionContext {
  readonly http: ProviderClient;
  /** The same over repeats of this call; send it to a provider that honours one. */
  readonly idempotencyKey: string;
  readonly signal: AbortSignal;
}

/** What may happen: nothing changes, something changes, something changes that cannot be taken back. */
export type Risk = "read" | "write" | "irreversible";

/**
 * What a repetition does. `natural`: the same again (reads, replacements). `key`: the provider recognises the
 * idempotency key. `none`: it would happen twice; such a request is sent once and never retried.
 */
export type Idempotency = "natural" | "key" | "none";

/** An action without its types: what the connectors context reads. */
export interface AnyConnectorAction {
  readonly summary: string;
  readonly input: Schema;
  readonly output: Schema;
  readonly risk: Risk;
  readonly idempotency: Idempotency;
  /** Scopes that the provider asks for. */
  readonly scopes: readonly string[];
  // biome-ignore lint/suspicious/noExplicitAny: `connectorAction` has checked the types
  readonly run: (input: any, ctx: ConnectorActionContext) => Promise<unknown>;
}

export interface ConnectorAction<In, Out> extends AnyConnectorAction {
  /** Never present: carries the types. */
  readonly $types?: { readonly in: In; readonly out: Out };
}

/** Declares one thing that can be done at a provider. */
export function connectorAction<In, Args, Returned, Out>(options: {
  readonly summary: string;
  readonly input: Schema<Args, In>;
  readonly output: Schema<Out, Returned>;
  readonly risk: Risk;
  /** Without it: `natural` for reads, `none` for everything else. */
  readonly idempotency?: Idempotency;
  readonly scopes?: readonly string[];
  readonly run: (input: Args, ctx: ConnectorActionContext) => Promise<Returned>;
}): ConnectorAction<In, Out> {
  return {
    ...options,
    idempotency: options.idempotency ?? (options.risk === "read" ? "natural" : "none"),
    scopes: options.scopes ?? [],
  };
}

/** Who the credential belongs to at the provider, as its health check found out. */
export interface ProviderAccount {
  /** The provider's own id of the account. */
  readonly id: string;
  readonly name: string;
}

/** How to talk to one provider. Made by `defineConnector`. */
export interface ConnectorDefinition<
  Actions extends Readonly<Record<string, AnyConnectorAction>> = Readonly<Record<string, AnyConnectorAction>>,
> {
  readonly id: string;
  readonly name: string;
  readonly auth: { readonly oauth2?: OAuth2Auth; readonly apiKey?: ApiKeyAuth };
  readonly http: {
    /** Actions' paths are below it. */
    readonly baseUrl: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly limits: readonly ProviderLimit[];
    /** For one request, in milliseconds. */
    readonly timeoutMs: number;
    /** How often a request that may be repeated is tried. */
    readonly attempts: number;
    /**
     * The provider's own notion of a failure, where it is not the status: a failure in HTTP 200. Of a refusal (4xx),
     * the provider's word for it. A fixed word, never a sentence of the answer: that may quote what was sent.
     */
    readonly failure: (response: HttpResponse, request: HttpRequest) => string | undefined;
    /** How long to wait after a 429 or 5xx, in milliseconds, where the provider says it otherwise than by `Retry-After`. */
    readonly retryAfter: (response: HttpResponse) => number | undefined;
  };
  /** Proves that the credential works, and says whose it is. */
  readonly health: (ctx: ConnectorActionContext) => Promise<ProviderAccount>;
  readonly actions: Actions;
}

/** Declares a provider. All its oddities live here; the connectors context has no switch over providers. */
export function defineConnector<const Actions extends Readonly<Record<string, AnyConnectorAction>>>(options: {
  /** Lower-case letters, digits and hyphens: `sandbox-crm`. */
  readonly id: string;
  readonly name: string;
  readonly auth: ConnectorDefinition["auth"];
  readonly http: Pick<ConnectorDefinition["http"], "baseUrl"> & Partial<ConnectorDefinition["http"]>;
  readonly health: ConnectorDefinition["health"];
  readonly actions: Actions;
}): ConnectorDefinition<Actions> {
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(options.id))
    throw new TypeError(`The provider id "${options.id}" must be kebab-case.`);
  if (options.auth.oauth2 === undefined && options.auth.apiKey === undefined)
    throw new TypeError(`The provider "${options.id}" needs a way to authenticate: oauth2 or apiKey.`);
  for (const [name, action] of Object.entries(options.actions)) {
    assertJsonOnly(action.input, `The input of ${options.id}.${name}`);
    assertJsonOnly(action.output, `The output of ${options.id}.${name}`);
  }
  return Object.freeze({
    ...options,
    http: {
      baseUrl: options.http.baseUrl.replace(/\/+$/, ""),
      headers: options.http.headers ?? {},
      limits: options.http.limits ?? [],
      timeoutMs: options.http.timeoutMs ?? 20_000,
      attempts: options.http.attempts ?? 4,
      failure: options.http.failure ?? (() => undefined),
      retryAfter: options.http.retryAfter ?? (() => undefined),
    },
  });
}
