import { InMemoryRateLimiter } from "@armature/core/in-memory";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type FreshRedis, freshRedis, PrivateRedis, withoutRedis } from "./fresh-redis.ts";
import { openRedis, redisCache, redisLease, redisRateLimiter } from "./index.ts";

describe.skipIf(await withoutRedis())("leases, limits and the cache on a Redis of their own", () => {
  let server: PrivateRedis;
  let redis: FreshRedis;
  beforeAll(async () => {
    server = await PrivateRedis.start();
    redis = await freshRedis(server.url);
  });
  afterAll(async () => {
    await redis.close();
    await server.remove();
  });

  test("fences go on growing although a flush has forgotten the last one", async () => {
    const lease = redisLease(redis);
    const before = await lease.acquire("job", 60_000);
    await redis.client.sendCommand(["FLUSHALL"]);
    const after = await lease.acquire("job", 60_000);
    expect(after!.fence).toBeGreaterThan(before!.fence);
    expect(await before!.renew(60_000)).toBe(false);
    await before!.release();
    expect(await lease.acquire("job", 60_000)).toBeUndefined();
  });

  test("a call is one round trip once Redis knows the script, also after a flush of the scripts two", async () => {
    const sent: string[] = [];
    const client = {
      get isReady() {
        return redis.client.isReady;
      },
      on: () => undefined,
      sendCommand: (args: readonly string[]) => {
        sent.push(args[0]!);
        return redis.client.sendCommand([...args]);
      },
      duplicate: () => redis.client.duplicate(),
    };
    const limiter = redisRateLimiter({ client, prefix: redis.prefix });
    const buckets = [1, 2, 3].map((n) => ({ key: `bucket ${n}`, bucket: { capacity: 10, refillMs: 60_000 } }));
    await redis.client.sendCommand(["SCRIPT", "FLUSH"]);
    await limiter.take(buckets);
    await limiter.take(buckets);
    expect(sent).toEqual(["EVALSHA", "EVAL", "EVALSHA"]);
  });

  test("buckets that are full again leave nothing behind", async () => {
    const limiter = redisRateLimiter({ client: redis.client, prefix: `${redis.prefix}short:` });
    await limiter.take([{ key: "quick", bucket: { capacity: 1, refillMs: 600_000 } }]);
    const [key] = await redis.client.keys(`${redis.prefix}short:*`);
    const ttl = await redis.client.pTTL(key!);
    expect(ttl).toBeGreaterThan(590_000);
    expect(ttl).toBeLessThanOrEqual(600_000);
  });

  test("a value that is too long is not kept, and neither is what stood there before", async () => {
    const cache = redisCache({ ...redis, maxValueBytes: 10 });
    await cache.set("group", "a", "short", 60_000);
    await cache.set("group", "a", "日本語日本語", 60_000);
    expect(await cache.get("group", "a")).toBeUndefined();
    await cache.set("group", "a", "0123456789", 60_000);
    expect(await cache.get("group", "a")).toBe("0123456789");
  });

  test("a group ends with its last value, and its dead values make room as others are written", async () => {
    const cache = redisCache({ client: redis.client, prefix: `${redis.prefix}ends:` });
    for (let at = 0; at < 20; at += 1) await cache.set("group", `short ${at}`, "x", 1);
    const key = `${redis.prefix}ends:cache:{group}`;
    // Each write takes away two whose time is over, so few are left however many there were.
    for (let at = 0; at < 20; at += 1) await cache.set("group", "long", "x", 600_000);
    expect(await redis.client.hLen(key)).toBe(1);
    expect(await redis.client.pTTL(key)).toBeLessThanOrEqual(600_000);
    await cache.delete("group");
    expect(await redis.client.keys(`${redis.prefix}ends:*`)).toEqual([]);
  });

  test("while Redis is away a limiter of the process takes its place, and everything else says so at once", async () => {
    const opened = await openRedis(server.url);
    const whileDown = new InMemoryRateLimiter();
    const limiter = redisRateLimiter({ client: opened.client, prefix: redis.prefix, whileDown });
    const strict = redisRateLimiter({ client: opened.client, prefix: redis.prefix });
    const one = [{ key: "one", bucket: { capacity: 1, refillMs: 3_600_000 } }];
    await expect.poll(() => opened.client.isReady).toBe(true);
    expect(await limiter.take(one)).toMatchObject({ allowed: true });
    await server.kill();
    // The process has a bucket of its own, which is full.
    await expect(strict.take(one)).rejects.toMatchObject({ code: "redis.unavailable" });
    expect(await limiter.take(one)).toEqual({ allowed: true, remaining: 0 });
    expect((await limiter.take(one)).allowed).toBe(false);
    await expect(redisLease(opened).acquire("k", 1_000)).rejects.toMatchObject({ code: "redis.unavailable" });
    await expect(redisCache(opened).get("g", "k")).rejects.toMatchObject({ code: "redis.unavailable" });
    await server.start();
    await expect.poll(() => strict.take(one).then((taken) => taken.allowed), { timeout: 10_000 }).toBe(false);
    await opened.close();
  });

  test("a user without rights gets a typed refusal that quotes nothing", async () => {
    await redis.client.sendCommand(["ACL", "SETUSER", "weak", "on", ">pass-1234", "~nothing:*", "+@all"]);
    const url = new URL(server.url);
    [url.username, url.password] = ["weak", "pass-1234"];
    const opened = await openRedis(url.href);
    await expect.poll(() => opened.client.isReady).toBe(true);
    const error = await redisCache(opened)
      .get("group", "secret-key")
      .then(String, (reason) => reason);
    expect([error.code, error.details]).toEqual(["redis.refused", { reason: "NOPERM" }]);
    expect(JSON.stringify(error) + error.stack).not.toMatch(/secret-key|pass-1234/);
    await opened.close();
  });
});
