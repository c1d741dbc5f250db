/** What an account has left of its limit, as the CRM tells it in every answer. */
export interface LimitState {
  readonly allowed: boolean;
  readonly headers: Readonly<Record<string, string>>;
}

/** A token bucket per account: so many requests at once, refilled evenly within a second. */
export class RequestLimit {
  readonly #perSecond: number;
  readonly #now: () => number;
  readonly #buckets = new Map<string, { tokens: number; at: number }>();

  constructor(perSecond: number, now: () => number) {
    this.#perSecond = perSecond;
    this.#now = now;
  }

  take(account: string): LimitState {
    const now = this.#now();
    const bucket = this.#buckets.get(account) ?? { tokens: this.#perSecond, at: now };
    const tokens = Math.min(this.#perSecond, bucket.tokens + ((now - bucket.at) / 1000) * this.#perSecond);
    const allowed = tokens >= 1;
    const left = allowed ? tokens - 1 : tokens;
    this.#buckets.set(account, { tokens: left, at: now });
    const headers = {
      "ratelimit-limit": String(this.#perSecond),
      "ratelimit-remaining": String(Math.floor(left)),
      "ratelimit-reset": String(Math.ceil((this.#perSecond - left) / this.#perSecond)),
    };
    return { allowed, headers: allowed ? headers : { ...headers, "retry-after": "1" } };
  }
}
