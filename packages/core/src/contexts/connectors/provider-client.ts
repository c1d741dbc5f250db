import type { ActionContext } from "../../kernel/context.ts";
import { InvalidInput, LimitExceeded } from "../../kernel/errors.ts";
import { ProviderAnsweredGarbage, ProviderTimedOut, ProviderUnreachable } from "../../kernel/port-errors.ts";
import type { HttpRequest, HttpResponse } from "../../kernel/ports.ts";
import { tryParse } from "../../kernel/schema.ts";
import type {
  ConnectorDefinition,
  Idempotency,
  LimitedRequest,
  ProviderClient,
  ProviderRequest,
} from "./connector-definition.ts";
import {
  type Connectors,
  CredentialRefused,
  ProviderFailed,
  ProviderLimited,
  ProviderRedirected,
  ProviderRefused,
} from "./contract.ts";
import type { Credential } from "./credential.ts";
import { retryAfter } from "./retry-after.ts";
import type { CredentialRef, HeldCredential, TokenKeeper } from "./token-keeper.ts";

type Ctx = Omit<ActionContext<Connectors, never>, "use">;
type Method = HttpRequest["method"];

/** What a request of one action may do when it fails. */
export interface ProviderCall {
  readonly definition: ConnectorDefinition;
  readonly ref: CredentialRef;
  readonly idempotency: Idempotency;
}

/**
 * A provider's API for one action call: the tenant's credential, limits, retries and the provider's own notion of an
 * error. Only what may be repeated is tried again, and never past the deadline.
 */
export function providerClient(ctx: Ctx, tokens: TokenKeeper, call: ProviderCall): ProviderClient {
  const exchange = new Exchange(ctx, tokens, call);
  return {
    get: (path, request) => exchange.run("GET", path, request),
    post: (path, request) => exchange.run("POST", path, request),
    put: (path, request) => exchange.run("PUT", path, request),
    patch: (path, request) => exchange.run("PATCH", path, request),
    delete: (path, request) => exchange.run("DELETE", path, request),
  };
}

const BACKOFF_MS = 250;
const MAX_WAIT_MS = 60_000;

class Exchange {
  readonly #ctx: Ctx;
  readonly #tokens: TokenKeeper;
  readonly #call: ProviderCall;
  /** Whether a request that changes something has left: from then on nothing can claim that nothing happened. */
  #changed = false;

  constructor(ctx: Ctx, tokens: TokenKeeper, call: ProviderCall) {
    this.#ctx = ctx;
    this.#tokens = tokens;
    this.#call = call;
  }

  async run<Out>(method: Method, path: string, request: ProviderRequest<Out>): Promise<Out> {
    const { definition } = this.#call;
    const repeatable = method === "GET" || this.#call.idempotency !== "none";
    let stale: number | undefined;
    for (let attempt = 1; ; attempt += 1) {
      const held = await this.#tokens.get(this.#ctx, definition, this.#call.ref, stale);
      const outcome = await this.#attempt(method, path, request, held, repeatable);
      if ("answer" in outcome) {
        const { answer } = outcome;
        if (answer.status === 401) {
          // Once: the token may have been revoked before its time. What was refused did not happen.
          if (stale !== undefined || held.credential.type === "api-key")
            throw new CredentialRefused({ provider: definition.id, connectorId: this.#call.ref.connectorId });
          stale = held.version;
          continue;
        }
        if (!isPassing(answer.status)) return this.#read(answer, method, request);
      }
      const wait = this.#wait(outcome, attempt);
      if (!repeatable || attempt >= definition.http.attempts || !(await this.#pause(wait)))
        throw this.#failure(outcome, wait);
    }
  }

  async #attempt<Out>(
    method: Method,
    path: string,
    request: ProviderRequest<Out>,
    held: HeldCredential,
    repeatable: boolean,
  ): Promise<Outcome> {
    const { definition } = this.#call;
    await this.#takeTokens({ method, path, authentication: held.credential.type });
    if (method !== "GET") this.#changed = true;
    const url = below(definition.http.baseUrl, path);
    for (const [name, value] of Object.entries(request.query ?? {}))
      if (value !== undefined) url.searchParams.set(name, String(value));
    const headers = {
      accept: "application/json",
      ...definition.http.headers,
      ...lowerCase(request.headers),
      ...credentialHeader(definition, held.credential),
    };
    const body = request.json === undefined ? undefined : JSON.stringify(request.json);
    try {
      const answer = await this.#ctx.http.send({
        method,
        url: url.href,
        headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
        body,
        signal: this.#ctx.signal,
        timeoutMs: definition.http.timeoutMs,
      });
      return { answer };
    } catch (error) {
      const lost = error instanceof ProviderUnreachable || error instanceof ProviderTimedOut;
      if (!lost || !repeatable || this.#ctx.signal.aborted) throw error;
      return { error };
    }
  }

  // Our own picture of the provider's limits, so that they are waited for and not run into.
  async #takeTokens(request: LimitedRequest): Promise<void> {
    const { definition, ref } = this.#call;
    const wanted = definition.http.limits
      .filter((limit) => limit.appliesTo?.(request) !== false)
      .map((limit) => ({
        key:
          limit.per === "app"
            ? `provider:${definition.id}:${limit.name}`
            : `provider:${definition.id}:${limit.name}:${this.#ctx.tenant}:${ref.connectorId}`,
        bucket: limit,
      }));
    if (wanted.length === 0) return;
    for (;;) {
      const taken = await this.#ctx.rateLimiter.take(wanted);
      if (taken.allowed) return;
      if (!(await this.#pause(taken.retryAfterMs))) throw this.#limited(taken.retryAfterMs);
    }
  }

  // The kernel's error promises that nothing has happened yet.
  #limited(retryAfterMs: number): Error {
    const provider = this.#call.definition.id;
    return this.#changed
      ? new ProviderLimited({ provider, retryAfterMs })
      : new LimitExceeded({ limit: `provider ${provider}`, retryAfterMs });
  }

  #read<Out>(answer: HttpResponse, method: Method, request: ProviderRequest<Out>): Out {
    const { definition } = this.#call;
    const { status } = answer;
    if (status >= 300 && status < 400) throw new ProviderRedirected({ provider: definition.id, status });
    const reason = definition.http.failure(answer, { method, url: answer.url });
    if (status >= 400 || reason !== undefined)
      throw new ProviderRefused({ provider: definition.id, status, ...(reason === undefined ? {} : { reason }) });
    const parsed = tryParse(request.schema, answer.bytes().length === 0 ? undefined : answer.json());
    if (parsed.ok) return parsed.value;
    const where = parsed.issues.slice(0, 3).map((issue) => issue.path || "the answer itself");
    throw new ProviderAnsweredGarbage({
      host: new URL(answer.url).host,
      reason: `it does not fit the expected shape at ${where.join(", ")}`,
    });
  }

  #wait(outcome: Outcome, attempt: number): number {
    if ("answer" in outcome) {
      const { answer } = outcome;
      const asked = retryAfter(answer, this.#ctx.clock.now()) ?? this.#call.definition.http.retryAfter(answer);
      if (asked !== undefined) return asked;
    }
    const jitter = 0.5 + this.#ctx.random(1)[0]! / 512;
    return BACKOFF_MS * 2 ** (attempt - 1) * jitter;
  }

  // False when the wait would be too long to be worth it.
  async #pause(ms: number): Promise<boolean> {
    const { clock, deadline, signal } = this.#ctx;
    if (ms > MAX_WAIT_MS || clock.now() + ms >= deadline) return false;
    await clock.sleep(ms, signal);
    return true;
  }

  #failure(outcome: Outcome, wait: number): unknown {
    if ("error" in outcome) return outcome.error;
    const { id: provider } = this.#call.definition;
    const { status } = outcome.answer;
    return status === 429
      ? new ProviderLimited({ provider, retryAfterMs: Math.ceil(wait) })
      : new ProviderFailed({ provider, status });
  }
}

type Outcome = { readonly answer: HttpResponse } | { readonly error: unknown };

/** Statuses after which the same request may succeed. */
function isPassing(status: number): boolean {
  return status === 429 || status >= 500;
}

function credentialHeader(definition: ConnectorDefinition, credential: Credential): Record<string, string> {
  if (credential.type === "oauth2") return { authorization: `Bearer ${credential.accessToken}` };
  const { header, prefix } = definition.auth.apiKey ?? { header: "authorization", prefix: "Bearer " };
  return { [header]: `${prefix}${credential.key}` };
}

// A path that was put together from a caller's text must not lead the credential elsewhere, nor to another resource
// of the same provider: an id ".." is no id, and encodeURIComponent leaves it as it is.
function below(baseUrl: string, path: string): URL {
  const base = new URL(`${baseUrl}/`);
  const url = new URL(baseUrl + path);
  if (!path.startsWith("/") || url.origin !== base.origin || !url.pathname.startsWith(base.pathname))
    throw new TypeError("A path of a provider's action must begin with a slash and stay below the base URL.");
  if (DOT_SEGMENT.test(path.replace(/[?#].*$/s, "")))
    throw new InvalidInput({
      subject: "The address of the provider's action",
      issues: [{ path: "", message: 'has "." or ".." for a part of it; an id may be neither' }],
    });
  return url;
}

const DOT_SEGMENT = /[/\\](?:\.|%2e){1,2}(?:[/\\]|$)/i;

function lowerCase(headers: Readonly<Record<string, string>> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
