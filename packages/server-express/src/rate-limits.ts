import { type Bucket, LimitExceeded, type Logger, type Principal, type RateLimiter } from "@armature/core";
import { addressBucket } from "./client-address.ts";
import type { Exchange, LimitLevel } from "./http-exchange.ts";

/** How much one caller may ask. A limit that is absent is none. */
export interface RateLimits {
  /** Where the buckets are kept; the same one in every process that serves the API. */
  readonly limiter: RateLimiter;
  /** Requests of one address (IPv6: of one /64), whoever calls. Counted before anything else is done. */
  readonly address?: Bucket | undefined;
  /** Credentials from one address that turned out to be wrong. Once they are used up, none is looked at any more. */
  readonly failures?: Bucket | undefined;
  /** Requests with one API key, or of one caller where the host authenticates. */
  readonly key?: Bucket | undefined;
  /** Requests of all callers of a tenant. */
  readonly tenant?: Bucket | undefined;
}

type LimitName = "address" | "failures" | "key" | "tenant";

/** More than a crowd of attackers that is worth remembering; each is one short text. */
const MOST_SUSPECTS = 10_000;

/** Counts requests. A limiter that fails lets everything through, and the log says so: it guards, it does not serve. */
export class RequestLimits {
  readonly #limits: RateLimits;
  readonly #logger: Logger | undefined;
  /** Addresses whose failures were used up when they last failed: asked before their next credential is looked at. */
  readonly #suspects = new Set<string>();

  constructor(limits: RateLimits, logger: Logger | undefined) {
    this.#limits = limits;
    this.#logger = logger;
  }

  /** @throws {LimitExceeded} */
  async arrived({ address, levels }: Exchange): Promise<void> {
    if (address !== undefined) await this.#take("address", addressBucket(address), levels);
  }

  /** @throws {LimitExceeded} when this address has tried too many wrong credentials, right ones too */
  async presented({ address, levels }: Exchange): Promise<void> {
    const bucket = address === undefined ? undefined : addressBucket(address);
    if (bucket !== undefined && this.#suspects.has(bucket)) await this.#take("failures", bucket, levels);
  }

  /** The credential was good. */
  async accepted({ address, levels }: Exchange, { tenant, actor, credential }: Principal): Promise<void> {
    if (address !== undefined) this.#suspects.delete(addressBucket(address));
    const caller = credential ?? `${actor.type}:${actor.id}`;
    await Promise.all([this.#take("key", `${tenant} ${caller}`, levels), this.#take("tenant", tenant, levels)]);
  }

  /** The credential was wrong. */
  async rejected({ address }: Exchange): Promise<void> {
    if (address === undefined) return;
    const bucket = addressBucket(address);
    // For a suspect this attempt is counted already.
    if (this.#suspects.has(bucket)) return;
    try {
      const level: LimitLevel[] = [];
      await this.#take("failures", bucket, level);
      if (level[0]?.remaining !== 0) return;
    } catch (error) {
      if (!(error instanceof LimitExceeded)) throw error;
    }
    if (this.#suspects.size >= MOST_SUSPECTS) this.#suspects.delete(this.#suspects.values().next().value!);
    this.#suspects.add(bucket);
  }

  async #take(name: LimitName, key: string, levels: LimitLevel[]): Promise<void> {
    const { limiter, [name]: bucket } = this.#limits;
    if (bucket === undefined) return;
    let taken: Awaited<ReturnType<RateLimiter["take"]>>;
    try {
      taken = await limiter.take([{ key: `http ${name} ${key}`, bucket }]);
    } catch (error) {
      this.#logger?.warn("The rate limiter does not answer, so nothing is limited", {
        limit: name,
        error: String(error),
      });
      return;
    }
    levels.push({ name, bucket, remaining: taken.allowed ? taken.remaining : 0 });
    if (!taken.allowed) throw new LimitExceeded({ limit: name, retryAfterMs: taken.retryAfterMs });
  }
}

/** `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10): the rules, and what is left of each. */
export function limitHeaders(levels: readonly LimitLevel[]): Readonly<Record<string, string>> {
  if (levels.length === 0) return {};
  const seconds = (ms: number) => Math.max(1, Math.ceil(ms / 1000));
  const policy = levels.map(({ name, bucket }) => `"${name}";q=${bucket.capacity};w=${seconds(bucket.refillMs)}`);
  const left = levels.map(({ name, bucket, remaining }) => {
    // Until the bucket is full again.
    const missing = bucket.capacity - remaining;
    return `"${name}";r=${remaining};t=${seconds((missing * bucket.refillMs) / bucket.capacity)}`;
  });
  return { "ratelimit-policy": policy.join(", "), ratelimit: left.join(", ") };
}
