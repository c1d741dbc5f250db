import {
  type CuttableLine,
  cacheSuite,
  cuttableLine,
  type EventBusSetup,
  eventBusSuite,
  leaseSuite,
  rateLimiterSuite,
} from "@armature/conformance";
import { fixedClock } from "@armature/core/testing";
import { afterAll, describe } from "vitest";
import { type FreshRedis, freshRedis, PrivateRedis, redisUrl, severable, withoutRedis } from "./fresh-redis.ts";
import { type RedisStreamsOptions, redisCache, redisLease, redisRateLimiter, redisStreams } from "./index.ts";

describe.skipIf(await withoutRedis())("on Redis", () => {
  const open: FreshRedis[] = [];
  const fresh = async () => {
    const redis = await freshRedis();
    open.push(redis);
    return redis;
  };
  const servers: PrivateRedis[] = [];
  const lines: CuttableLine[] = [];
  afterAll(async () => {
    await Promise.all(open.map((redis) => redis.close()));
    await Promise.all([...servers.map((server) => server.remove()), ...lines.map((line) => line.close())]);
  });

  /** Two connections to one Redis, and a third whose process can die. */
  const buses = async (redis: FreshRedis, more: Partial<RedisStreamsOptions> = {}): Promise<EventBusSetup> => {
    const { client, prefix } = redis;
    const options = { prefix, backoffMs: 10, maxBackoffMs: 50, leaseMs: 1_000, ...more };
    return {
      bus: redisStreams({ client, ...options }),
      elsewhere: redisStreams({ client: await redis.connect(), ...options }),
      victim: async () => {
        const { client: doomed, sever } = severable(await redis.connect());
        return { bus: redisStreams({ client: doomed, ...options, timeoutMs: 500 }), kill: async () => sever() };
      },
    };
  };

  eventBusSuite("Redis Streams", async () => buses(await fresh()));

  eventBusSuite("Redis Streams, one partition", async () => buses(await fresh(), { partitions: 1 }));

  eventBusSuite("Redis Streams on a Redis that is killed", async () => {
    const server = await PrivateRedis.start();
    servers.push(server);
    const redis = await freshRedis(server.url);
    open.push(redis);
    return {
      ...(await buses(redis)),
      loseBackend: async () => {
        await server.kill();
        return () => server.start();
      },
    };
  });

  /** A connection over a line that can be cut, one that does without it, and what both begin their keys with. */
  const cuttable = async () => {
    const { hostname: host, port } = new URL(redisUrl);
    const line = await cuttableLine({ host, port: Number(port || 6379) });
    lines.push(line);
    const url = new URL(redisUrl);
    url.host = `127.0.0.1:${line.port}`;
    const [redis, direct] = [await freshRedis(url.href), await fresh()];
    open.push(redis);
    const { prefix } = redis;
    const here = { client: redis.client, prefix, timeoutMs: 1_000 };
    return { here, elsewhere: { client: direct.client, prefix }, loseBackend: line.cut };
  };

  leaseSuite("Redis", async () => {
    const { here, elsewhere, loseBackend } = await cuttable();
    return { lease: redisLease(here), elsewhere: redisLease(elsewhere), loseBackend };
  });

  rateLimiterSuite("Redis", async () => {
    const clock = fixedClock(Date.now());
    return { rateLimiter: redisRateLimiter({ ...(await fresh()), clock }), pass: (ms) => clock.advance(ms) };
  });

  rateLimiterSuite("Redis, by its own clock", async () => {
    const { here, elsewhere, loseBackend } = await cuttable();
    return { rateLimiter: redisRateLimiter(here), elsewhere: redisRateLimiter(elsewhere), loseBackend };
  });

  cacheSuite("Redis", async () => {
    const { here, elsewhere, loseBackend } = await cuttable();
    return { cache: redisCache(here), elsewhere: redisCache(elsewhere), loseBackend };
  });
});
