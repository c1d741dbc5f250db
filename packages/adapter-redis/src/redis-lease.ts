import type { HeldLease, Lease } from "@armature/core";
import { keyPart, RedisCommands, type RedisOptions, script } from "./redis-client.ts";

// A flushed Redis has forgotten the last fence, so the counter never stands behind the clock, in microseconds.
const ACQUIRE = script(`
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local time = redis.call('TIME')
local fence = math.max(time[1] * 1000000 + time[2], (tonumber(redis.call('GET', KEYS[2])) or 0) + 1)
local text = string.format('%.0f', fence)
redis.call('SET', KEYS[2], text)
redis.call('SET', KEYS[1], text, 'PX', ARGV[1])
return text`);

const RENEW = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`);

const RELEASE = script(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0`);

/**
 * Leases in Redis, by its clock, each call one round trip. Fences are microseconds of that clock, and grow although a
 * flush or a failover forgets the last one, as long as the clock does not go back. A Redis that loses what it had
 * acknowledged (a failover, a flush) can give a lease while its last holder still works: what must not happen twice
 * checks the fence, or uses the leases of its store.
 */
export function redisLease(options: RedisOptions): Lease {
  const redis = new RedisCommands(options);
  const name = (key: string) => `${redis.prefix}lease:{lease}:${keyPart(key)}`;
  return {
    acquire: async (key, ttlMs) => {
      const counter = `${redis.prefix}lease:{lease}`;
      const answer = await redis.run(ACQUIRE, [name(key), counter], [Math.ceil(ttlMs)]);
      return answer === null ? undefined : held(key, Number(answer));
    },
  };

  function held(key: string, fence: number): HeldLease {
    return {
      key,
      fence,
      renew: async (ttlMs) => (await redis.run(RENEW, [name(key)], [fence, Math.ceil(ttlMs)])) === 1,
      release: async () => {
        await redis.run(RELEASE, [name(key)], [fence]);
      },
    };
  }
}
