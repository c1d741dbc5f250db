import type { Cache } from "@armature/core";
import { keyPart, RedisCommands, type RedisOptions, script } from "./redis-client.ts";

export interface RedisCacheOptions extends RedisOptions {
  /** Longest value that is kept, in bytes; 4 MiB when absent. A longer one is not kept, and what stood there goes. */
  readonly maxValueBytes?: number | undefined;
}

// A group is a hash of its values and a hash of the times at which they end, so that it goes in one command however
// large it is; the group ends with its last value. Each write takes away two values of the group whose time is over.
const SET = script(`
local time = redis.call('TIME')
local now, ttl = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now + ttl, ARGV[1])
local over = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 2)
for _, field in ipairs(over) do
  redis.call('HDEL', KEYS[1], field)
  redis.call('ZREM', KEYS[2], field)
end
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
end
return 0`);

const GET = script(`
local till = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not till then return false end
local time = redis.call('TIME')
if tonumber(till) > time[1] * 1000 + math.floor(time[2] / 1000) then return redis.call('HGET', KEYS[1], ARGV[1]) end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return false`);

const FORGET = script(`
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 0`);

/** Keeps texts in Redis, by its clock, each call one round trip. How much is kept is Redis' `maxmemory` to say. */
export function redisCache(options: RedisCacheOptions): Cache {
  const redis = new RedisCommands(options);
  const { maxValueBytes = 4 * 1024 * 1024 } = options;
  const keysOf = (group: string) => {
    const name = `${redis.prefix}cache:{${keyPart(group)}}`;
    return [name, `${name}:ends`];
  };
  const cache: Cache = {
    get: async (group, key) => {
      const value = await redis.run(GET, keysOf(group), [encoded(key)]);
      return value === null ? undefined : decoded(String(value));
    },
    set: async (group, key, value, ttlMs) => {
      const text = encoded(value);
      if (!(ttlMs > 0) || Buffer.byteLength(text) > maxValueBytes) return cache.delete(group, key);
      await redis.run(SET, keysOf(group), [encoded(key), text, Math.ceil(ttlMs)]);
    },
    delete: async (group, key) => {
      if (key === undefined) await redis.send("UNLINK", ...keysOf(group));
      else await redis.run(FORGET, keysOf(group), [encoded(key)]);
    },
  };
  return cache;
}

// A text with half of a surrogate pair has no UTF-8: such a one is written as JSON, which escapes it, behind a mark.
const MARK = "\u0000";

function encoded(text: string): string {
  return text.isWellFormed() && !text.startsWith(MARK) ? text : MARK + JSON.stringify(text);
}

function decoded(text: string): string {
  return text.startsWith(MARK) ? String(JSON.parse(text.slice(MARK.length))) : text;
}
