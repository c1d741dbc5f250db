import { InMemoryRateLimiter } from "@armature/core/in-memory";
import { fixedClock } from "@armature/core/testing";
import { afterEach, describe, expect, test } from "vitest";
import type { RateLimits } from "./rate-limits.ts";
import { callAs, startTestServer, type TestServer } from "./test-server.ts";

const MINUTE = 60_000;
const perMinute = (capacity: number) => ({ capacity, refillMs: MINUTE });
const WRONG = `arm_acme_01abc_${"0".repeat(64)}`;

let server: TestServer;
const clock = fixedClock();
afterEach(() => server.close());

async function start(limits: Omit<RateLimits, "limiter">, trustedProxies: readonly string[] = []): Promise<void> {
  const limiter = new InMemoryRateLimiter(clock);
  server = await startTestServer({ rateLimits: { limiter, ...limits }, trustedProxies });
}

const from = (address: string, key: string | null = server.keys.acme) =>
  callAs(server.origin, "", "/me", { key, headers: { "x-forwarded-for": address } });

describe("rate limits", () => {
  test("are told with every answer, and refuse with when to come back", async () => {
    await start({ key: perMinute(3) });
    const seen = [];
    for (let at = 0; at < 3; at += 1) seen.push((await server.call("/me")).headers.get("ratelimit"));
    expect(seen).toEqual(['"key";r=2;t=20', '"key";r=1;t=40', '"key";r=0;t=60']);
    const { status, headers, problem } = await server.call("/me");
    expect([status, problem.code, problem.details]).toEqual([
      429,
      "limit_exceeded",
      { limit: "key", retryAfterMs: 20_000 },
    ]);
    expect(headers.get("retry-after")).toBe("20");
    expect(headers.get("ratelimit-policy")).toBe('"key";q=3;w=60');
    expect(headers.get("ratelimit")).toBe('"key";r=0;t=60');
    // Another key of the same user, another user and another tenant have their own.
    for (const key of [server.keys.reader, server.keys.globex])
      expect((await callAs(server.origin, key, "/me")).status).toBe(200);
    await clock.advance(20_000);
    expect((await server.call("/me")).status).toBe(200);
  });

  test("of a tenant count all of its callers", async () => {
    await start({ tenant: perMinute(2) });
    await server.call("/me");
    await callAs(server.origin, server.keys.reader, "/me");
    expect((await server.call("/me")).problem.details).toMatchObject({ limit: "tenant" });
    expect((await callAs(server.origin, server.keys.globex, "/me")).status).toBe(200);
  });

  test("of an address count before anybody looks at a key, and never for probes", async () => {
    await start({ address: perMinute(2) });
    expect((await server.call("/nothing", { key: null })).status).toBe(404);
    expect((await server.call("/me", { key: null })).status).toBe(401);
    expect((await server.call("/me")).status).toBe(429);
    expect((await server.call("/nothing")).status).toBe(429);
    for (const probe of ["/health", "/ready"]) expect((await server.call(probe, { key: null })).status).toBe(200);
  });

  test("stop an address that tries wrong keys, whatever it presents then", async () => {
    await start({ failures: perMinute(3) });
    for (let at = 0; at < 3; at += 1) expect((await callAs(server.origin, WRONG, "/me")).status).toBe(401);
    expect((await callAs(server.origin, WRONG, "/me")).status).toBe(429);
    // A right key is no more looked at than a wrong one, or trying would tell them apart.
    expect((await server.call("/me")).problem.details).toMatchObject({ limit: "failures" });
    await clock.advance(20_000);
    expect((await callAs(server.origin, WRONG, "/me")).status).toBe(401);
    expect((await callAs(server.origin, WRONG, "/me")).status).toBe(429);
    await clock.advance(20_000);
    expect((await server.call("/me")).status).toBe(200);
    expect((await server.call("/me")).status).toBe(200);
  });

  test("no key at all is not a wrong key", async () => {
    await start({ failures: perMinute(1) });
    for (let at = 0; at < 3; at += 1) expect((await server.call("/me", { key: null })).status).toBe(401);
    expect((await server.call("/me")).status).toBe(200);
  });

  test("believe what a trusted proxy says of its client, and count an IPv6 network as one", async () => {
    await start({ address: perMinute(2) }, ["loopback", "10.0.0.0/8"]);
    const first = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9"];
    for (const address of first) expect((await from(address)).status).toBe(200);
    expect((await from("2001:db8:1:2::77")).status).toBe(429);
    expect((await from("2001:db8:1:3::1")).status).toBe(200);
    // Entries left of the last proxy that is trusted are the client's own invention.
    expect((await from("198.51.100.7")).status).toBe(200);
    expect((await from("203.0.113.1, 198.51.100.7, 10.1.2.3")).status).toBe(200);
    expect((await from("203.0.113.2, 198.51.100.7, 10.1.2.3")).status).toBe(429);
    expect((await from("::ffff:198.51.100.7")).status).toBe(429);
    // What is no address tells nothing: the proxy itself is counted.
    for (const status of [200, 200, 429]) expect((await from("unknown")).status).toBe(status);
  });

  test("do not believe it of anybody else", async () => {
    await start({ address: perMinute(1) });
    expect((await from("203.0.113.1")).status).toBe(200);
    expect((await from("203.0.113.2")).status).toBe(429);
  });

  test("let everything through when their store is away, and the log says so", async () => {
    const limiter = {
      take: async () => {
        throw new Error("the store of buckets is away");
      },
    };
    server = await startTestServer({
      rateLimits: { limiter, address: perMinute(1), failures: perMinute(1), key: perMinute(1) },
    });
    for (let at = 0; at < 3; at += 1) expect((await server.call("/me")).status).toBe(200);
    expect((await callAs(server.origin, WRONG, "/me")).status).toBe(401);
    expect(server.logger.text()).toContain("the store of buckets is away");
  });
});
