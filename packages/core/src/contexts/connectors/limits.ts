import type { Bucket, TakeRequest } from "../../kernel/ports.ts";
import { untilAborted } from "../../kernel/until-aborted.ts";
import type { LimitedRequest, ProviderLimit } from "./connector-definition.ts";

/** Half: whatever one tenant does, the other half is there for the rest. */
const SHARE = 0.5;

/** The buckets that a request needs a token of, all at once. */
export function bucketsOf(
  limits: readonly ProviderLimit[],
  request: LimitedRequest,
  of: { readonly provider: string; readonly tenant: string; readonly connectorId: string },
): readonly TakeRequest[] {
  return limits
    .filter((limit) => limit.appliesTo?.(request) !== false)
    .flatMap((limit): readonly TakeRequest[] => {
      const key = `provider:${of.provider}:${limit.name}`;
      const bucket = { capacity: limit.capacity, refillMs: limit.refillMs };
      if (limit.per === "connector") return [{ key: `${key}:${of.tenant}:${of.connectorId}`, bucket }];
      const share = limit.share ?? SHARE;
      const whole = { key, bucket };
      return share >= 1 ? [whole] : [whole, { key: `${key}:share:${of.tenant}`, bucket: shareOf(bucket, share) }];
    });
}

/** A bucket that fills at this share of the rate. It holds a token at least: a share of a small bucket is slow, not void. */
export function shareOf({ capacity, refillMs }: Bucket, share: number): Bucket {
  const part = Math.max(1, Math.floor(capacity * share));
  return { capacity: part, refillMs: (part * refillMs) / (capacity * share) };
}

/**
 * Puts the callers of one connection in a line, first come, first served. Only who stands in front asks for tokens: so
 * a hundred callers of one tenant ask as often as a single one of another does.
 */
export class Lines {
  readonly #ends = new Map<string, Promise<void>>();

  /** Runs the work when everybody before has gone; throws the signal's reason when it is aborted while waiting. */
  async inTurn<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const before = this.#ends.get(key);
    const mine = Promise.withResolvers<void>();
    const end = before === undefined ? mine.promise : before.then(() => mine.promise);
    this.#ends.set(key, end);
    try {
      if (before !== undefined) await untilAborted(signal, before);
      return await work();
    } finally {
      mine.resolve();
      if (this.#ends.get(key) === end) this.#ends.delete(key);
    }
  }
}
