import { Circuits } from "../../kernel/circuit.ts";
import type { Clock } from "../../kernel/clock.ts";
import { ProviderAnsweredGarbage, ProviderTimedOut, ProviderUnreachable } from "../../kernel/port-errors.ts";
import type { HttpClient, HttpRequest, HttpStream, Logger } from "../../kernel/ports.ts";
import { commonPermissions, type Principal } from "../../kernel/principal.ts";
import type { PrincipalTokens } from "../../kernel/principal-token.ts";
import { retryAfterOf } from "../../kernel/retry-after.ts";
import { tryParse } from "../../kernel/schema.ts";
import type { AgentDefinition, RemoteEndpoint } from "./agent-definition.ts";
import { RemoteAgentProtocolBroken, RemoteAgentRefused, RemoteAgentUnreachable } from "./remote-errors.ts";
import { LARGEST_STREAM, type RemoteEvent, type RemoteRun, remoteHealth, remoteProblem } from "./remote-protocol.ts";
import { readEvents } from "./remote-stream.ts";

/** An agent that runs elsewhere. */
export type RemoteAgent = AgentDefinition & { readonly remote: RemoteEndpoint };

/** What remote agents are called with. */
export interface RemoteClientOptions {
  /** Reaches the origins of the host's remote agents, wherever they are. */
  readonly http: HttpClient;
  readonly tokens: PrincipalTokens;
  readonly clock: Clock;
  readonly logger: Logger;
}

export type RemoteHealth =
  | { readonly status: "up"; readonly version?: string | undefined }
  | { readonly status: "down"; readonly reason: string };

const HEADERS_MS = 30_000;
const SHORT_CALL_MS = 10_000;
const MOST_PROBLEM_BYTES = 10_000;
/** A connection is renewed, and its token with it, well before the token expires. */
const LIVES_OF_A_TOKEN = 0.4;

/** Speaks to remote agents: every request with a token of its own, and none to one that is down. */
export class RemoteClient {
  readonly #options: RemoteClientOptions;
  readonly #circuits = new Circuits();

  constructor(options: RemoteClientOptions) {
    this.#options = options;
  }

  get clock(): Clock {
    return this.#options.clock;
  }

  get apiUrl(): string {
    return this.#options.tokens.issuer;
  }

  /**
   * Starts the run, or goes on with it behind the event `after`, and gives its events until the connection ends or has
   * been open for long enough.
   *
   * @param call.alive called with everything that comes
   * @throws {RemoteAgentUnreachable | RemoteAgentRefused | RemoteAgentProtocolBroken | CircuitOpen} also the signal's reason
   */
  async *follow(
    agent: RemoteAgent,
    call: {
      readonly principal: Principal;
      readonly run: RemoteRun;
      readonly after: number;
      /** For how long the connection is kept open at most. */
      readonly timeoutMs: number;
      readonly signal: AbortSignal;
      readonly alive: () => Promise<void>;
    },
  ): AsyncGenerator<RemoteEvent, void> {
    const { tokens } = this.#options;
    const { principal, run, after, signal, alive } = call;
    const stream = await this.#open(agent, principal.tenant, {
      method: "PUT",
      url: `${agent.remote.url}/runs/${run.id}`,
      headers: {
        ...(await this.#headers(agent, principal, run.id, agent.remote.permissions)),
        accept: "text/event-stream",
        "idempotency-key": run.id,
        ...(after === 0 ? {} : { "last-event-id": String(after) }),
      },
      body: JSON.stringify(run),
      signal,
      timeoutMs: Math.min(call.timeoutMs, tokens.lifetimeMs * LIVES_OF_A_TOKEN),
      maxBytes: LARGEST_STREAM,
    });
    try {
      if (!/^text\/event-stream *(;|$)/i.test(stream.headers.get("content-type") ?? ""))
        throw new RemoteAgentProtocolBroken({ agent: agent.id, reason: "its answer is no text/event-stream" });
      await alive();
      yield* readEvents(agent.id, stream.body, alive);
    } catch (error) {
      // Open for long enough: whoever wants more asks again.
      if (error instanceof ProviderTimedOut) return;
      throw named(agent, error);
    } finally {
      stream.close();
    }
  }

  /** Asks the agent to stop. One that does not know the run has nothing to stop. */
  async cancel(
    agent: RemoteAgent,
    call: { readonly principal: Principal; readonly id: string; readonly reason: string; readonly signal: AbortSignal },
  ): Promise<void> {
    const { principal, id, reason, signal } = call;
    const stream = await this.#open(
      agent,
      principal.tenant,
      {
        method: "POST",
        url: `${agent.remote.url}/runs/${id}/cancel`,
        // Whoever is to stop has nothing to call back for.
        headers: { ...(await this.#headers(agent, principal, id, [])), "idempotency-key": id },
        body: JSON.stringify({ reason }),
        signal,
        timeoutMs: SHORT_CALL_MS,
      },
      [404],
    );
    stream.close();
  }

  /** Whether the agent takes runs now. */
  async health(agent: RemoteAgent, signal: AbortSignal): Promise<RemoteHealth> {
    try {
      const url = `${agent.remote.url}/health`;
      const { http } = this.#options;
      const answer = await http.send({ method: "GET", url, signal, timeoutMs: SHORT_CALL_MS, maxBytes: 10_000 });
      if (answer.status !== 200) return { status: "down", reason: `it answers ${answer.status}` };
      const health = tryParse(remoteHealth, answer.json());
      return health.ok ? health.value : { status: "down", reason: "its answer is not what the protocol has" };
    } catch (error) {
      signal.throwIfAborted();
      const known = named(agent, error);
      if (known instanceof RemoteAgentUnreachable || known instanceof RemoteAgentProtocolBroken)
        return { status: "down", reason: known.details.reason };
      throw known;
    }
  }

  /** @param permissions what the token is good for at the API; for nothing there without any */
  async #headers(
    { remote: { url } }: RemoteAgent,
    principal: Principal,
    id: string,
    permissions: readonly string[],
  ): Promise<Readonly<Record<string, string>>> {
    const { tokens } = this.#options;
    const limitedTo = commonPermissions(principal.limitedTo ?? ["*"], permissions);
    const token = await tokens.issue({
      principal: { ...principal, limitedTo },
      audience: limitedTo.length === 0 ? [url] : [url, tokens.issuer],
      subject: id,
    });
    return { authorization: `Bearer ${token.reveal()}`, "content-type": "application/json" };
  }

  /** An answer of the 200s, or one of the statuses that are fine too. */
  async #open(
    agent: RemoteAgent,
    tenant: string,
    request: HttpRequest & { readonly signal: AbortSignal },
    fine: readonly number[] = [],
  ): Promise<HttpStream> {
    const { http, clock, logger } = this.#options;
    const user = { provider: agent.id, tenant, connectorId: agent.id, options: agent.remote.circuit };
    const passage = this.#circuits.enter(user, clock.now(), logger);
    let seen: "alive" | "outage" | "unknown" = "unknown";
    const headers = new AbortController();
    const answered = new AbortController();
    const late = new RemoteAgentUnreachable({ agent: agent.id, reason: "it does not answer in time" });
    clock.sleep(HEADERS_MS, answered.signal).then(
      () => headers.abort(late),
      () => {},
    );
    try {
      const stream = await http.open!({ ...request, signal: AbortSignal.any([request.signal, headers.signal]) });
      const { status } = stream;
      seen = status >= 500 ? "outage" : "alive";
      if ((status >= 200 && status < 300) || fine.includes(status)) return stream;
      try {
        const wait = retryAfterOf(stream.headers.get("retry-after"), clock.now());
        if (status >= 500 || status === 429)
          throw new RemoteAgentUnreachable({
            ...{ agent: agent.id, reason: `it answers ${status}` },
            ...(wait === undefined ? {} : { retryAfterMs: wait }),
          });
        throw new RemoteAgentRefused({ agent: agent.id, status, code: await problemOf(stream) });
      } finally {
        stream.close();
      }
    } catch (error) {
      const known = error instanceof ProviderTimedOut ? late : named(agent, error);
      if (seen === "unknown" && known instanceof RemoteAgentUnreachable) seen = "outage";
      throw known;
    } finally {
      answered.abort();
      passage.end(seen, clock.now());
    }
  }
}

/** What went wrong on the way, as an error of the agent. */
function named(agent: RemoteAgent, error: unknown): unknown {
  const { id } = agent;
  if (error instanceof ProviderUnreachable)
    return new RemoteAgentUnreachable({ agent: id, reason: error.details.reason });
  if (error instanceof ProviderTimedOut)
    return new RemoteAgentUnreachable({ agent: id, reason: "it does not answer in time" });
  if (error instanceof ProviderAnsweredGarbage)
    return new RemoteAgentProtocolBroken({ agent: id, reason: error.details.reason });
  return error;
}

/** The code that a refusal names, where it names one. */
async function problemOf({ body }: HttpStream): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of body) {
      size += chunk.byteLength;
      if (size > MOST_PROBLEM_BYTES) return undefined;
      chunks.push(chunk);
    }
    const parsed = tryParse(remoteProblem, JSON.parse(Buffer.concat(chunks).toString()));
    return parsed.ok ? parsed.value.code : undefined;
  } catch {
    return undefined;
  }
}
