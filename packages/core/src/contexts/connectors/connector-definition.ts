import type { CircuitOptions } from "../../kernel/circuit.ts";
import type { Bucket, HttpRequest, HttpResponse } from "../../kernel/ports.ts";
import { assertJsonOnly, type Schema } from "../../kernel/schema.ts";
import { type Authentication, authenticationsOf, type ProviderAuth } from "./authentication.ts";

/** A limit that the provider sets on its callers, kept by us so that it is not reached. */
export interface ProviderLimit extends Bucket {
  readonly name: string;
  /** Whether each connection has the limit for itself, or the whole app shares it over all tenants. */
  readonly per: "connector" | "app";
  /**
   * Of a limit of the whole app: the part of it, up to 1, that a single tenant may use. Half when absent, so that one
   * tenant cannot use up what is everybody's.
   */
  readonly share?: number;
  /** Which requests count against it; all of them when absent. */
  readonly appliesTo?: (request: LimitedRequest) => boolean;
}

/** What a limit may tell requests apart by. */
export interface LimitedRequest {
  readonly method: HttpRequest["method"];
  /** As the action gave it, below the base URL. */
  readonly path: string;
  /** How the connection authenticates. */
  readonly authentication: Authentication;
}

/** How a provider says no. */
export interface ProviderFailure {
  /** A fixed word, never a sentence of the answer: that may quote what was sent. */
  readonly reason: string;
  /**
   * What the word means, where the status does not say so. `refused`: asking again would change nothing. `limited`:
   * too many requests; it is waited for. `credential`: the token or key is no good; a token is renewed, once.
   * `outage`: the provider's own trouble.
   */
  readonly meaning?: "refused" | "limited" | "credential" | "outage";
  /** How long to wait, in milliseconds, when the provider says so in its own way. */
  readonly retryAfterMs?: number;
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

/** Where the next page is: a change of the query, or an address that the provider gave. Undefined on the last page. */
export type NextPage =
  | { readonly query: Readonly<Record<string, string | number>> }
  | { readonly url: string }
  | undefined;

/** Finds the next page by the one that has just been read. */
export type Paging<Out> = (page: Out, response: HttpResponse) => NextPage;

export interface PagesRequest<Out> extends ProviderRequest<Out> {
  /** How this provider pages: `byCursor`, `byLink`, `byOffset`, or a function. */
  readonly next: Paging<Out>;
  /** More pages than this are an error, so that nothing is left out unnoticed; 1,000 when absent. */
  readonly maxPages?: number;
}

/** The provider's API with the tenant's credential, limits and retries already taken care of. */
export interface ProviderClient {
  /**
   * Reads page after page, each when it is asked for. Ends with the last page, and with an error when the provider's
   * paging leads in a circle, elsewhere, or over more than `maxPages`.
   */
  pages<Out>(path: string, request: PagesRequest<Out>): AsyncIterable<Out>;
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
  readonly auth: ProviderAuth;
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
     * The provider's own notion of a failure, where the status does not say it: a failure in HTTP 200, or the
     * provider's word for a refusal.
     */
    readonly failure: (response: HttpResponse, request: HttpRequest) => string | ProviderFailure | undefined;
    /** How long to wait after a 429 or 5xx, in milliseconds, where the provider says it otherwise than by `Retry-After`. */
    readonly retryAfter: (response: HttpResponse) => number | undefined;
    /** When nothing more is sent to a provider that is down; `false` never. */
    readonly circuit: CircuitOptions | false;
    /** Whether answers are kept and asked about again by their `ETag`, as far as the provider allows. */
    readonly cache: boolean;
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
  if (authenticationsOf(options.auth).length === 0)
    throw new TypeError(
      `The provider "${options.id}" needs a way to authenticate: oauth2, apiKey, basic or clientCredentials.`,
    );
  for (const { name, per, share = 1 } of options.http.limits ?? [])
    if (!(share > 0 && share <= 1) || (per === "connector" && share !== 1))
      throw new TypeError(
        `The share of the limit "${name}" must be above 0 and at most 1, and is for limits of the app.`,
      );
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
      circuit: options.http.circuit ?? { failures: 10, openMs: 30_000 },
      cache: options.http.cache ?? true,
    },
  });
}
