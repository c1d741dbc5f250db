export type { StreamDeadLetter } from "./dead-letters.ts";
export { RedisFailed, RedisPartitionsDiffer, RedisRefused, RedisTimedOut, RedisUnavailable } from "./errors.ts";
export { type OpenedRedis, openRedis } from "./open-redis.ts";
export { type RedisCacheOptions, redisCache } from "./redis-cache.ts";
export type { RedisClient, RedisOptions, RedisSubscriber } from "./redis-client.ts";
export { redisLease } from "./redis-lease.ts";
export { type RedisRateLimiterOptions, redisRateLimiter } from "./redis-rate-limiter.ts";
export { type ParkedSubject, RedisStreams, type RedisStreamsOptions, redisStreams } from "./redis-streams.ts";
