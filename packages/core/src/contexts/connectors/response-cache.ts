import { createHash } from "node:crypto";
import { z } from "zod";
import type { Cache, HttpResponse, Logger } from "../../kernel/ports.ts";
import { ReceivedResponse } from "../../kernel/received-response.ts";
import { tryParse } from "../../kernel/schema.ts";
import type { PreparedRequest } from "./provider-request.ts";

/** How long an answer is kept to be asked about again. */
const KEEP_MS = 24 * 3_600_000;
/** However long a provider says that its answer is good, it is not given longer than this without asking. */
const LONGEST_FRESH_MS = 5 * 60_000;
const MAX_BODY_BYTES = 1024 * 1024;
/** Headers by which a caller takes such things into its own hands. */
const OWN_CONDITIONS = ["if-none-match", "if-modified-since", "if-match", "range", "cache-control"];

const storedAnswer = z.object({
  status: z.number(),
  headers: z.array(z.tuple([z.string(), z.string()])),
  body: z.string(),
  /** Milliseconds: until then it is given without asking. */
  freshUntil: z.number(),
});
type StoredAnswer = z.infer<typeof storedAnswer>;

/** An answer that was kept, and how to ask whether it still holds. */
export interface KeptAnswer {
  readonly response: HttpResponse;
  readonly fresh: boolean;
  readonly conditions: Readonly<Record<string, string>>;
}

/**
 * Answers to GET requests of one connection (RFC 9111, as a private cache). A key is the address and every header that
 * an action sets, so nothing that a provider varies its answers by can be mixed up; the group is the tenant and the
 * credential, so nothing is shared between tenants, connections, or a connection before and after it was authorized anew.
 */
export class ResponseCache {
  readonly #cache: Cache;
  readonly #group: string;
  readonly #log: Logger;

  constructor(cache: Cache, group: string, log: Logger) {
    this.#cache = cache;
    this.#group = group;
    this.#log = log;
  }

  async find({ url, headers }: PreparedRequest, now: number): Promise<KeptAnswer | undefined> {
    if (OWN_CONDITIONS.some((name) => name in headers)) return undefined;
    const text = await this.#guarded(() => this.#cache.get(this.#group, keyOf(url, headers)));
    const stored = text === undefined ? undefined : readStored(text);
    if (stored === undefined) return undefined;
    const { status, body, freshUntil } = stored;
    const kept = new Headers(stored.headers);
    const [etag, modified] = [kept.get("etag"), kept.get("last-modified")];
    return {
      response: received(url, status, kept, body),
      fresh: freshUntil > now,
      conditions: {
        ...(etag === null ? {} : { "if-none-match": etag }),
        ...(modified === null || etag !== null ? {} : { "if-modified-since": modified }),
      },
    };
  }

  /** Keeps an answer, if the provider lets us and it is worth it. */
  async keep({ url, headers }: PreparedRequest, answer: HttpResponse, now: number): Promise<void> {
    if (OWN_CONDITIONS.some((name) => name in headers)) return;
    const stored = storable(answer, now);
    if (stored === undefined) return;
    await this.#guarded(() => this.#cache.set(this.#group, keyOf(url, headers), JSON.stringify(stored), KEEP_MS));
  }

  /** The kept answer as the provider has just confirmed it: its newer headers count. */
  async confirm(request: PreparedRequest, kept: HttpResponse, confirmation: HttpResponse, now: number) {
    const headers = new Headers(kept.headers);
    for (const [name, value] of confirmation.headers) if (name !== "content-length") headers.set(name, value);
    const response = received(request.url, kept.status, headers, kept.text());
    await this.keep(request, response, now);
    return response;
  }

  /** Forgets everything of this connection: something there has changed. */
  async clear(): Promise<void> {
    await this.#guarded(() => this.#cache.delete(this.#group));
  }

  // What a cache cannot do costs a request and nothing else.
  async #guarded<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#log.warn("The cache of providers' answers cannot be used", { error: String(error) });
      return undefined;
    }
  }
}

/** Where a connection's answers are kept. */
export function cacheGroup(tenant: string, credential: string): string {
  return `answers:${tenant}:${credential}`;
}

function received(url: string, status: number, headers: Headers, body: string): HttpResponse {
  return new ReceivedResponse({ url, status, headers, body: new TextEncoder().encode(body) });
}

function keyOf(url: string, headers: Readonly<Record<string, string>>): string {
  const sent = Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256")
    .update(JSON.stringify([url, sent]))
    .digest("base64url");
}

// What is not as we wrote it is as good as nothing. The parser's message would quote it.
function readStored(text: string): StoredAnswer | undefined {
  try {
    const parsed = tryParse(storedAnswer, JSON.parse(text));
    return parsed.ok ? parsed.value : undefined;
  } catch {
    return undefined;
  }
}

function storable(answer: HttpResponse, now: number): StoredAnswer | undefined {
  const { headers, status } = answer;
  const control = directives(headers.get("cache-control") ?? "");
  if (status !== 200 || control.has("no-store") || headers.get("vary")?.trim() === "*") return undefined;
  const age = Number(headers.get("age") ?? 0) || 0;
  const seconds = control.has("no-cache") ? 0 : Math.max(0, (Number(control.get("max-age") ?? 0) || 0) - age);
  if (seconds === 0 && !headers.has("etag") && !headers.has("last-modified")) return undefined;
  const bytes = answer.bytes();
  if (bytes.byteLength > MAX_BODY_BYTES) return undefined;
  try {
    return {
      status,
      headers: [...headers].filter(([name]) => name !== "set-cookie"),
      body: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes),
      freshUntil: now + Math.min(seconds * 1000, LONGEST_FRESH_MS),
    };
  } catch {
    return undefined; // not a text
  }
}

function directives(text: string): ReadonlyMap<string, string> {
  const pairs = text.split(",").map((each) => each.trim().toLowerCase().split("=", 2));
  return new Map(pairs.map(([name = "", value = ""]) => [name, value.replaceAll('"', "")]));
}
