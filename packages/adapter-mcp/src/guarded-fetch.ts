import { type HttpClient, Secret } from "@armature/core";
import type { FetchLike } from "@modelcontextprotocol/client";
import type { McpHeaders } from "./mcp-server.ts";

/** Shorter values say nothing, and would be found everywhere. */
const SHORTEST_SECRET = 8;

export interface FetchLimits {
  readonly maxBytes: number;
  readonly signal: AbortSignal;
  /** Milliseconds until the call is given up. */
  readonly left: () => number;
}

/** The way of the protocol's library to the network: the caller's headers, through the guard of every outgoing call. */
export class GuardedFetch {
  /** What the guard or the network last refused with. The library wraps it in errors of its own. */
  failure: unknown;
  readonly #http: HttpClient;
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #secrets: readonly string[];
  readonly #limits: FetchLimits;

  /** @param url the only address that the headers go to */
  constructor(http: HttpClient, url: string, headers: McpHeaders, limits: FetchLimits) {
    this.#http = http;
    this.#url = url;
    const given = Object.entries(headers).flatMap(([written, value]) => {
      if (value === undefined) return [];
      const name = written.toLowerCase();
      const secret = value instanceof Secret || name === "authorization";
      return [{ name, secret, value: value instanceof Secret ? value.reveal() : value }];
    });
    this.#headers = Object.fromEntries(given.map(({ name, value }) => [name, value]));
    // A scheme stands before what is secret: "Bearer …".
    this.#secrets = given
      .flatMap(({ secret, value }) => (secret ? [value, ...value.split(" ").slice(1)] : []))
      .filter((value) => value.length >= SHORTEST_SECRET);
    this.#limits = limits;
  }

  readonly fetch: FetchLike = async (url, init = {}) => {
    const headers = Object.fromEntries(new Headers(init.headers));
    // Of servers of 2025 only: a stream of what nobody has asked for. Answers come with their requests.
    const listens = (init.method ?? "GET") === "GET" && headers["accept"] === "text/event-stream";
    if (listens) return new Response(null, { status: 405 });
    try {
      const { maxBytes, signal, left } = this.#limits;
      const answer = await this.#http.send({
        method: (init.method ?? "GET") as "GET",
        url: String(url),
        headers: String(url) === this.#url ? { ...headers, ...this.#headers } : headers,
        body: (init.body ?? undefined) as string | URLSearchParams | undefined,
        signal: init.signal == null ? signal : AbortSignal.any([signal, init.signal]),
        timeoutMs: Math.max(1, left()),
        maxBytes,
      });
      const empty = [101, 204, 205, 304].includes(answer.status);
      return new Response(empty ? null : this.#withoutSecrets(answer.text()), {
        status: answer.status,
        headers: answer.headers,
      });
    } catch (error) {
      this.failure = error;
      throw error;
    }
  };

  // A server that repeats what it was sent must not have a model, a log or an error read it.
  #withoutSecrets(text: string): string {
    return this.#secrets.reduce((left, secret) => left.replaceAll(secret, "[secret]"), text);
  }
}
