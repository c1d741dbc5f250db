import { lookup } from "node:dns";
import type { LookupFunction } from "node:net";
import type { Agent, buildConnector } from "undici";
import { type Clock, systemClock } from "../kernel/clock.ts";
import { ProviderAnsweredGarbage, ProviderTimedOut, ProviderUnreachable } from "../kernel/port-errors.ts";
import type { HttpClient, HttpRequest, HttpResponse, HttpStream } from "../kernel/ports.ts";
import { ReceivedResponse } from "../kernel/received-response.ts";
import { checkedLookup, type ResolveHost } from "./address-guard.ts";
import { httpFailure } from "./http-failure.ts";
import { checkHeaders, checkUrl } from "./http-request.ts";

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_MAX_BYTES = 10 * 1024 * 1024;
const MAX_CONNECTIONS_PER_ORIGIN = 128;

export interface GuardedHttpClientOptions {
  /**
   * Origins (`http://crm.internal:8080`) that may be called wherever they are, and over plain http. Exact scheme, host
   * and port. They come from the host's own configuration, never from a tenant.
   */
  readonly allowedOrigins?: readonly string[];
  /** What deadlines are measured with. */
  readonly clock?: Clock;
  /** How names become addresses: `dns.lookup`. */
  readonly resolve?: ResolveHost;
  /** Sent as `user-agent` where a request names none. */
  readonly userAgent?: string;
}

interface Transport {
  readonly agent: Agent;
  readonly exchange: (url: URL, request: HttpRequest, headers: Headers, signal: AbortSignal) => Promise<Response>;
}

/**
 * The way out over ky and undici. `https:` goes to any public address; `http:` only to origins that the host listed.
 * A literal address is checked before the call; a name when its connection is opened, on what the lookup gave, so that
 * it cannot change its meaning in between. Proxies of the environment are not used. Both libraries load with the first
 * call.
 */
export class GuardedHttpClient implements HttpClient {
  readonly #allowed: ReadonlySet<string>;
  readonly #clock: Clock;
  readonly #resolve: ResolveHost;
  readonly #userAgent: string;
  #transport: Promise<Transport> | undefined;
  #closed = false;

  constructor(options: GuardedHttpClientOptions = {}) {
    this.#allowed = new Set((options.allowedOrigins ?? []).map(checkOrigin));
    this.#clock = options.clock ?? systemClock();
    this.#resolve = options.resolve ?? lookup;
    this.#userAgent = options.userAgent ?? "armature";
  }

  async send(request: HttpRequest): Promise<HttpResponse> {
    const stream = await this.open(request);
    const chunks: Uint8Array[] = [];
    try {
      for await (const chunk of stream.body) chunks.push(chunk);
    } finally {
      stream.close();
    }
    const { status, headers } = stream;
    const url = new URL(request.url).href;
    return new ReceivedResponse({ status, headers, url, body: new Uint8Array(Buffer.concat(chunks)) });
  }

  async open(request: HttpRequest): Promise<HttpStream> {
    const url = checkUrl(request.url, this.#allowed);
    const headers = checkHeaders(request, this.#userAgent);
    const { signal, timeoutMs = DEFAULT_TIMEOUT_MS, maxBytes = DEFAULT_MAX_BYTES } = request;
    signal?.throwIfAborted();
    if (this.#closed) throw new ProviderUnreachable({ host: url.host, reason: "the client is closed" });

    const exchange = new AbortController();
    const done = new AbortController();
    let timedOut = false;
    this.#clock.sleep(timeoutMs, done.signal).then(
      () => {
        timedOut = true;
        exchange.abort();
      },
      () => {},
    );
    const cancel = () => exchange.abort();
    signal?.addEventListener("abort", cancel, { once: true });
    const close = () => {
      done.abort();
      signal?.removeEventListener("abort", cancel);
      // Whatever of the answer was not read is not wanted: this frees its connection.
      exchange.abort();
    };
    const failure = (error: unknown) => {
      if (timedOut) return new ProviderTimedOut({ host: url.host, timeoutMs });
      if (signal?.aborted === true) return signal.reason;
      return error instanceof ProviderAnsweredGarbage ? error : httpFailure(error, url.host);
    };
    try {
      this.#transport ??= this.#makeTransport();
      const response = await (await this.#transport).exchange(url, request, headers, exchange.signal);
      const body = bodyOf(response, maxBytes, url.host, failure);
      return { status: response.status, headers: response.headers, body, close };
    } catch (error) {
      const thrown = failure(error);
      close();
      throw thrown;
    }
  }

  /** Waits for calls under way and closes the connections. */
  async close(): Promise<void> {
    this.#closed = true;
    await (await this.#transport)?.agent.close();
  }

  async #makeTransport(): Promise<Transport> {
    const [{ default: ky }, undici] = await Promise.all([import("ky"), import("undici")]);
    const connectorWith = (lookup: LookupFunction) => undici.buildConnector({ allowH2: false, lookup });
    const open = connectorWith(checkedLookup(this.#resolve, () => undefined));
    const guarded = connectorWith(checkedLookup(this.#resolve));
    const connect: buildConnector.connector = (target, callback) => {
      const listed = this.#allowed.has(new URL(`${target.protocol}//${target.host}`).origin);
      return listed ? open(target, callback) : guarded(target, callback);
    };
    const agent = new undici.Agent({
      connect,
      connections: MAX_CONNECTIONS_PER_ORIGIN,
      // The deadline of the whole exchange is ours.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    return {
      agent,
      exchange: (url, { method, body }, headers, signal) =>
        ky(url, {
          method,
          headers,
          ...(body === undefined ? {} : { body: body as NonNullable<RequestInit["body"]> }),
          signal,
          redirect: "manual",
          retry: 0,
          timeout: false,
          throwHttpErrors: false,
          // Node's own fetch does not take another undici's agent, nor undici's fetch Node's Request.
          fetch: (sent) =>
            undici.fetch(url, {
              method,
              headers: [...(sent as Request).headers],
              body: body ?? null,
              // The request's own signal is forgotten with the request, while the body is still being read.
              signal,
              redirect: "manual",
              dispatcher: agent,
            }) as unknown as Promise<Response>,
        }),
    };
  }
}

function checkOrigin(origin: string): string {
  const url = URL.parse(origin);
  if (url === null || url.origin !== origin || !/^https?:$/.test(url.protocol) || origin.includes("*"))
    // Without what stands beside the host: it may be a password.
    throw new TypeError(
      `An allowed origin is scheme, host and port, with no path, no password and no slash behind: "https://crm.example:8443", not what was given for "${url?.host ?? "no URL"}".`,
    );
  return origin;
}

// Counts decoded bytes, so that a small compressed body cannot become a large one.
async function* bodyOf(
  response: Response,
  maxBytes: number,
  host: string,
  failure: (error: unknown) => unknown,
): AsyncGenerator<Uint8Array, void> {
  let size = 0;
  try {
    for await (const chunk of response.body ?? []) {
      size += chunk.byteLength;
      if (size > maxBytes)
        throw new ProviderAnsweredGarbage({ host, reason: `its body has more than ${maxBytes} bytes` });
      yield chunk;
    }
  } catch (error) {
    throw failure(error);
  }
}
