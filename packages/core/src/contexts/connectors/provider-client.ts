import type { CircuitUser, Passage } from "../../kernel/circuit.ts";
import type { ActionContext } from "../../kernel/context.ts";
import { LimitExceeded } from "../../kernel/errors.ts";
import {
  CircuitOpen,
  ProviderAnsweredGarbage,
  ProviderTimedOut,
  ProviderUnreachable,
} from "../../kernel/port-errors.ts";
import type { HttpRequest, HttpResponse } from "../../kernel/ports.ts";
import { tryParse } from "../../kernel/schema.ts";
import { untilAborted } from "../../kernel/until-aborted.ts";
import type { ProviderClient, ProviderRequest } from "./connector-definition.ts";
import {
  type Connectors,
  CredentialRefused,
  ProviderFailed,
  ProviderLimited,
  ProviderRedirected,
  ProviderRefused,
} from "./contract.ts";
import { type HeldCredential, isRenewable } from "./held-credential.ts";
import { bucketsOf } from "./limits.ts";
import { readPages } from "./pages.ts";
import type { ProviderCall, ProviderTraffic } from "./provider-call.ts";
import { credentialHeader, type PreparedRequest, prepare } from "./provider-request.ts";
import type { KeptAnswer } from "./response-cache.ts";
import { countCached, countRequest, type UsageOf } from "./usage.ts";
import { judge, type Verdict } from "./verdict.ts";

type Ctx = Omit<ActionContext<Connectors, never>, "use">;
type Method = HttpRequest["method"];

/**
 * A provider's API for one action call: the tenant's credential, limits, retries and the provider's own notion of an
 * error. Only what may be repeated is tried again, and never past the deadline.
 */
export function providerClient(ctx: Ctx, traffic: ProviderTraffic, call: ProviderCall): ProviderClient {
  const exchange = new Exchange(ctx, traffic, call);
  const run = async <Out>(method: Method, path: string, request: ProviderRequest<Out>) =>
    (await exchange.run(method, path, request)).value;
  return {
    get: (path, request) => run("GET", path, request),
    post: (path, request) => run("POST", path, request),
    put: (path, request) => run("PUT", path, request),
    patch: (path, request) => run("PATCH", path, request),
    delete: (path, request) => run("DELETE", path, request),
    pages: (path, request) =>
      readPages((at, asked) => exchange.run("GET", at, asked), call.definition.http.baseUrl, path, request),
  };
}

const BACKOFF_MS = 250;
const MAX_WAIT_MS = 60_000;

/** What became of a request that was sent: an answer and what it means, or none. */
type Outcome = { readonly answer: HttpResponse; readonly verdict: Verdict } | { readonly error: unknown };

/** The attempt before, if there was one. */
type Last = { readonly outcome: Outcome; readonly wait: number } | undefined;

class Exchange {
  readonly #ctx: Ctx;
  readonly #traffic: ProviderTraffic;
  readonly #call: ProviderCall;
  readonly #user: CircuitUser;
  readonly #usage: UsageOf;
  /** Whether a request that changes something has left: from then on nothing can claim that nothing happened. */
  #changed = false;

  constructor(ctx: Ctx, traffic: ProviderTraffic, call: ProviderCall) {
    this.#ctx = ctx;
    this.#traffic = traffic;
    this.#call = call;
    this.#usage = { ctx, connectorId: call.connectorId, action: call.action };
    const { id: provider, http } = call.definition;
    this.#user = { provider, tenant: ctx.tenant, connectorId: call.connectorId, options: http.circuit };
  }

  async run<Out>(
    method: Method,
    path: string,
    request: ProviderRequest<Out>,
  ): Promise<{ readonly value: Out; readonly response: HttpResponse }> {
    const prepared = prepare(this.#call.definition, path, request);
    const cache = method === "GET" ? this.#call.cache : undefined;
    const kept = await cache?.find(prepared, this.#ctx.clock.now());
    // What is going to be changed is not judged by what it was minutes ago.
    const enough = kept?.fresh === true && this.#call.risk === "read";
    if (enough) countCached(this.#usage);
    const response = enough ? kept.response : await this.#fetch(method, path, prepared, kept);
    return { value: this.#read(response, request), response };
  }

  // The answer of a request that succeeded, after as many attempts as make sense.
  async #fetch(
    method: Method,
    path: string,
    prepared: PreparedRequest,
    kept: KeptAnswer | undefined,
  ): Promise<HttpResponse> {
    const { definition, connectorId } = this.#call;
    const repeatable = method === "GET" || this.#call.idempotency !== "none";
    let stale: number | undefined;
    let last: Last;
    for (let attempt = 1; ; attempt += 1) {
      const { held, passage } = await this.#admit(method, path, stale, last);
      const outcome = await this.#send(method, prepared, held, passage, kept, repeatable, attempt > 1);
      if ("answer" in outcome) {
        const { answer, verdict } = outcome;
        if (verdict.meaning === "credential") {
          // Once: the token may have been revoked before its time. What was refused did not happen.
          if (stale !== undefined || !isRenewable(held.credential))
            throw new CredentialRefused({ provider: definition.id, connectorId });
          stale = held.version;
          continue;
        }
        if (verdict.meaning === "fine") return this.#keep(method, prepared, answer, kept);
        if (verdict.meaning !== "limited" && verdict.meaning !== "outage") throw this.#failure(outcome, 0);
      }
      const wait = this.#wait(outcome, attempt);
      if (!repeatable || attempt >= definition.http.attempts || !(await this.#pause(wait)))
        throw this.#failure(outcome, wait);
      last = { outcome, wait };
    }
  }

  // Everything that is waited for before a request may leave.
  async #admit(
    method: Method,
    path: string,
    stale: number | undefined,
    last: Last,
  ): Promise<{ readonly held: HeldCredential; readonly passage: Passage }> {
    const { signal, clock, log } = this.#ctx;
    try {
      this.#traffic.circuits.check(this.#user, clock.now());
      const held = await untilAborted(signal, this.#call.credential(stale));
      await this.#takeTokens(method, path, held);
      return { held, passage: this.#traffic.circuits.enter(this.#user, clock.now(), log) };
    } catch (error) {
      if (error instanceof CircuitOpen) throw this.#closedOff(error, last);
      // Who gave up while waiting has done nothing yet: the call's key is good for another attempt.
      if (signal.aborted && !this.#changed) throw this.#limited(1);
      throw error;
    }
  }

  async #send(
    method: Method,
    { url, headers, body }: PreparedRequest,
    held: HeldCredential,
    passage: Passage,
    kept: KeptAnswer | undefined,
    repeatable: boolean,
    retry: boolean,
  ): Promise<Outcome> {
    const { definition } = this.#call;
    const { clock, signal } = this.#ctx;
    if (method !== "GET") this.#changed = true;
    let seen: Parameters<Passage["end"]>[0] = "unknown";
    let exchanged: Parameters<typeof countRequest>[1] = { body, retry, begun: clock.now() };
    try {
      const answer = await this.#ctx.http.send({
        method,
        url,
        headers: { ...headers, ...kept?.conditions, ...credentialHeader(definition, held.credential) },
        body,
        signal,
        timeoutMs: definition.http.timeoutMs,
      });
      exchanged = { ...exchanged, answer };
      const confirmed = answer.status === 304 && kept !== undefined;
      const verdict = confirmed ? ({ meaning: "fine" } as const) : judge(definition, answer, method, clock.now());
      exchanged = { ...exchanged, meaning: verdict.meaning };
      seen = verdict.meaning === "outage" ? "outage" : "alive";
      return { answer, verdict };
    } catch (error) {
      if (!signal.aborted) exchanged = { ...exchanged, error };
      const lost = error instanceof ProviderUnreachable || error instanceof ProviderTimedOut;
      if (lost && !signal.aborted) seen = "outage";
      if (!lost || !repeatable || signal.aborted) throw error;
      return { error };
    } finally {
      passage.end(seen, clock.now());
      countRequest(this.#usage, exchanged);
      // Whatever was answered, and if nothing was: the provider may have done it.
      if (method !== "GET" && this.#call.risk !== "read") await this.#call.cache?.clear();
    }
  }

  async #keep(
    method: Method,
    prepared: PreparedRequest,
    answer: HttpResponse,
    kept: KeptAnswer | undefined,
  ): Promise<HttpResponse> {
    const { cache } = this.#call;
    if (cache === undefined || method !== "GET") return answer;
    const now = this.#ctx.clock.now();
    if (kept !== undefined && answer.status === 304) return cache.confirm(prepared, kept.response, answer, now);
    await cache.keep(prepared, answer, now);
    return answer;
  }

  // Our own picture of the provider's limits, so that they are waited for and not run into.
  async #takeTokens(method: Method, path: string, { credential }: HeldCredential): Promise<void> {
    const { definition, connectorId } = this.#call;
    const { tenant, signal, rateLimiter } = this.#ctx;
    const request = { method, path, authentication: credential.type };
    const wanted = bucketsOf(definition.http.limits, request, { provider: definition.id, tenant, connectorId });
    if (wanted.length === 0) return;
    await this.#traffic.lines.inTurn(
      wanted.map(({ key }) => `${key} ${tenant} ${connectorId}`).join(),
      signal,
      async () => {
        for (;;) {
          const taken = await rateLimiter.take(wanted);
          if (taken.allowed) return;
          if (!(await this.#pause(taken.retryAfterMs))) throw this.#limited(taken.retryAfterMs);
        }
      },
    );
  }

  // The kernel's error promises that nothing has happened yet.
  #limited(retryAfterMs: number): Error {
    const provider = this.#call.definition.id;
    return this.#changed
      ? new ProviderLimited({ provider, retryAfterMs })
      : new LimitExceeded({ limit: `provider ${provider}`, retryAfterMs });
  }

  // What the last attempt met says more than that there is no other.
  #closedOff(error: CircuitOpen, last: Last): unknown {
    if (last !== undefined) return this.#failure(last.outcome, last.wait);
    return this.#changed ? new ProviderFailed({ provider: error.details.provider, status: 0 }) : error;
  }

  #read<Out>(answer: HttpResponse, request: ProviderRequest<Out>): Out {
    const parsed = tryParse(request.schema, answer.bytes().length === 0 ? undefined : answer.json());
    if (parsed.ok) return parsed.value;
    const where = parsed.issues.slice(0, 3).map((issue) => issue.path || "the answer itself");
    throw new ProviderAnsweredGarbage({
      host: new URL(answer.url).host,
      reason: `it does not fit the expected shape at ${where.join(", ")}`,
    });
  }

  #wait(outcome: Outcome, attempt: number): number {
    const asked = "answer" in outcome ? outcome.verdict.retryAfterMs : undefined;
    const jitter = 0.5 + this.#ctx.random(1)[0]! / 512;
    return asked ?? BACKOFF_MS * 2 ** (attempt - 1) * jitter;
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
    const { meaning, reason } = outcome.verdict;
    switch (meaning) {
      case "limited":
        return new ProviderLimited({ provider, retryAfterMs: Math.ceil(wait) });
      case "outage":
        return new ProviderFailed({ provider, status });
      case "elsewhere":
        return new ProviderRedirected({ provider, status });
      default:
        return new ProviderRefused({ provider, status, ...(reason === undefined ? {} : { reason }) });
    }
  }
}
