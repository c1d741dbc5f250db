import type { Clock, RateLimiter, TakeResult } from "@armature/core";
import { keyPart, RedisCommands, type RedisOptions, script } from "./redis-client.ts";

export interface RedisRateLimiterOptions extends RedisOptions {
  /** Tells the time in place of Redis' own clock. For tests: the clocks of several machines are never the same. */
  readonly clock?: Clock | undefined;
  /** Asked while Redis cannot be; each process counts for itself then. When absent, `take` throws. */
  readonly whileDown?: RateLimiter | undefined;
}

// Of each bucket the time at which it is full again is kept in milliseconds (the generic cell rate algorithm), and
// nothing once it is (or a minute later, where another clock than Redis' tells the time). The hundredth of a millisecond is what adding intervals may lose.
const TAKE = script(`
local now, slack = tonumber(ARGV[1]), 60000
if now < 0 then
  slack = 0
  local time = redis.call('TIME')
  now = time[1] * 1000 + time[2] / 1000
end
local wait, remaining, taken = 0, math.huge, {}
for i, key in ipairs(KEYS) do
  local capacity, refill = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local full = math.max(tonumber(redis.call('GET', key)) or now, now) + refill / capacity
  local over = full - refill - now
  wait = math.max(wait, over)
  remaining = math.min(remaining, math.floor((0.01 - over) * capacity / refill))
  taken[i] = full
end
if wait > 0.01 then return {0, math.ceil(wait - 0.01)} end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%.17g', taken[i]), 'PX', math.max(1, math.ceil(taken[i] - now)) + slack)
end
return {1, remaining}`);

/** Token buckets in Redis, by Redis' clock: one script for each `take`, all of its buckets or none. */
export function redisRateLimiter(options: RedisRateLimiterOptions): RateLimiter {
  const redis = new RedisCommands(options);
  const { clock, whileDown } = options;
  const take: RateLimiter["take"] = async (requests): Promise<TakeResult> => {
    for (const { bucket } of requests)
      if (!(bucket.capacity >= 1 && bucket.refillMs > 0))
        throw new RangeError(
          `A bucket of ${bucket.capacity} tokens refilled in ${bucket.refillMs} ms can never give a token.`,
        );
    // One hash tag: the buckets of a call stand together, on a cluster too.
    const keys = requests.map(({ key }) => `${redis.prefix}rate:{rate}:${keyPart(key)}`);
    const buckets = requests.flatMap(({ bucket }) => [bucket.capacity, bucket.refillMs]);
    const answer = (await redis.run(TAKE, keys, [clock?.now() ?? -1, ...buckets])) as readonly [number, number];
    const [allowed, number] = answer;
    return allowed === 1 ? { allowed: true, remaining: number } : { allowed: false, retryAfterMs: number };
  };
  if (whileDown === undefined) return { take };
  return {
    take: async (requests) => {
      try {
        return await take(requests);
      } catch (error) {
        if (error instanceof RangeError) throw error;
        return whileDown.take(requests);
      }
    },
  };
}
