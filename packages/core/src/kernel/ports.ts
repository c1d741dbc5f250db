import type { Principal } from "./principal.ts";
import type { JsonObject } from "./schema.ts";
import type { Secret } from "./secret.ts";

/** A published event: CloudEvents 1.0, structured mode, with Armature's context as extension attributes. */
export interface CloudEvent {
  readonly specversion: "1.0";
  readonly id: string;
  /** `/contexts/connectors` */
  readonly source: string;
  /** `connector.connected` */
  readonly type: string;
  /** `connector/con_01k…`: aggregate type and id. */
  readonly subject: string;
  readonly time: string;
  readonly datacontenttype: "application/json";
  readonly data: JsonObject;
  /** Version of the data. */
  readonly dataversion: number;
  readonly tenant: string;
  /** The aggregate's version after the event. */
  readonly sequence: number;
  /** `user:ann` */
  readonly actor: string;
  readonly onbehalfof?: string | undefined;
  readonly correlationid: string;
  readonly causationid: string;
  readonly traceparent: string;
}

/** Carries published events to other processes. At least once; in order per (source, subject) and group. */
export interface EventBus {
  /** Resolves when the bus has taken responsibility for all of them. */
  publish(events: readonly CloudEvent[]): Promise<void>;
  /**
   * Delivers events to one member of the group at a time. A handler that throws gets the event again, and none of
   * the same subject in between.
   */
  subscribe(subscription: BusSubscription): Promise<{ close(): Promise<void> }>;
  ping(): Promise<void>;
  close(): Promise<void>;
}

export interface BusSubscription {
  /** Permanent name of the group: each group gets every event once it has subscribed for the first time. */
  readonly group: string;
  /** Sources to listen to, `/contexts/connectors`. */
  readonly sources: readonly string[];
  handle(event: CloudEvent): Promise<void>;
}

/** A version of a secret. */
export interface StoredSecret {
  readonly version: number;
  readonly value: Secret<string>;
}

/** Keeps secrets of tenants. Plaintext crosses this port, inside the process that uses it, and nothing else. */
export interface SecretStore {
  /** The newest version, or the given one. Undefined when it does not exist, is deleted or is no longer kept. */
  get(tenant: string, name: string, version?: number): Promise<StoredSecret | undefined>;
  /**
   * Writes a new version.
   *
   * @param expectedVersion the newest version that the caller knows; 0 when it must not exist; undefined for any
   * @returns the new version
   * @throws {SecretVersionConflict} when the newest version is another one
   */
  put(tenant: string, name: string, value: Secret<string>, expectedVersion?: number): Promise<number>;
  /** Destroys every version. Without effect when there is none. */
  delete(tenant: string, name: string): Promise<void>;
  /** Names that start with the prefix, in order. */
  list(tenant: string, prefix: string): Promise<readonly string[]>;
  ping(): Promise<void>;
}

/** An exclusive, timed right, fenced: `fence` grows with every new holder. */
export interface HeldLease {
  readonly key: string;
  readonly fence: number;
  /** Makes it last `ttlMs` from now; false when it was lost in the meantime. */
  renew(ttlMs: number): Promise<boolean>;
  /** Gives it back; without effect when it was lost. */
  release(): Promise<void>;
}

/** Mutual exclusion between processes for a limited time. */
export interface Lease {
  /** The lease, or undefined when somebody else holds it. */
  acquire(key: string, ttlMs: number): Promise<HeldLease | undefined>;
}

/** A token bucket: `capacity` tokens, refilled evenly over `refillMs`. */
export interface Bucket {
  readonly capacity: number;
  /** Milliseconds in which an empty bucket becomes full. */
  readonly refillMs: number;
}

/** A token that is wanted: of which bucket, and how that one is filled. */
export interface TakeRequest {
  readonly key: string;
  readonly bucket: Bucket;
}

/** What became of it. */
export type TakeResult =
  | { readonly allowed: true; readonly remaining: number }
  | { readonly allowed: false; readonly retryAfterMs: number };

export interface RateLimiter {
  /**
   * Takes one token of each of these buckets (there is at least one, and no two have the same key), or none of any:
   * then it says how long to wait until all of them have one. `remaining` is how many whole tokens are left in the one
   * that has the fewest. One round trip, however many buckets there are.
   */
  take(requests: readonly TakeRequest[]): Promise<TakeResult>;
}

/**
 * Keeps texts for a while, so that they need not be had again. It may forget anything at any time, and holds data of
 * tenants: whoever can read it can read what providers have answered. Entries of a group are forgotten together.
 */
export interface Cache {
  get(group: string, key: string): Promise<string | undefined>;
  /** Keeps it for at most `ttlMs`; what stood there before is replaced, or at least gone. */
  set(group: string, key: string, value: string, ttlMs: number): Promise<void>;
  /** Forgets one entry, or without a key the whole group. Without effect when there is none. */
  delete(group: string, key?: string): Promise<void>;
}

/** Decides whether a principal may use a permission in its tenant. */
export interface Authorizer {
  allows(principal: Principal, permission: string): Promise<boolean>;
}

export type LogFields = Readonly<Record<string, unknown>>;

/** Where core writes what an operator should see. Fields never hold secrets or inputs. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | URLSearchParams | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Upper bound for the whole exchange, in milliseconds; 30 s when absent. */
  readonly timeoutMs?: number;
  /** Upper bound for the answer's body, in bytes; 10 MiB when absent. */
  readonly maxBytes?: number;
}

/** An answer whose body has been read completely. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly url: string;
  bytes(): Uint8Array;
  text(): string;
  /** Throws `ProviderAnsweredGarbage` when the body is not JSON. */
  json(): unknown;
}

/** An answer whose body is read as it comes. Whoever has it has to let go of it. */
export interface HttpStream {
  readonly status: number;
  readonly headers: Headers;
  /** Throws what `send` does; also when the server breaks off in the middle. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Frees the connection. Without effect the second time. */
  close(): void;
}

/**
 * The only way out to other systems. Refuses private, loopback, link-local and other special addresses, as a literal
 * and as the result of a lookup, except origins that the host listed. Redirects are returned, never followed. When the
 * request's signal aborts, its reason is thrown. Errors name the host and quote nothing else of request or answer.
 *
 * @throws {InvalidInput} the request is not one that HTTP allows
 * @throws {AddressRefused} the address is not public
 * @throws {ProviderUnreachable} no answer could be had
 * @throws {ProviderTimedOut} `timeoutMs` passed
 * @throws {ProviderAnsweredGarbage} the answer is too large or not what it claims to be
 */
export interface HttpClient {
  send(request: HttpRequest): Promise<HttpResponse>;
  /** The same for an answer that is not waited for to its end. A client without it cannot follow remote agents. */
  open?(request: HttpRequest): Promise<HttpStream>;
}
