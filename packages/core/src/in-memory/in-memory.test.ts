import { describe, expect, test } from "vitest";
import { z } from "zod";
import { defineContext } from "../kernel/context.ts";
import { command, defineContract } from "../kernel/contract.ts";
import type { CloudEvent } from "../kernel/ports.ts";
import { createArmature } from "../runtime/create-armature.ts";
import { fixedClock } from "../testing/fixed-clock.ts";
import { InMemoryLease, InMemoryRateLimiter, InProcessBus, inMemory } from "./index.ts";

// What every adapter must do is tested by the conformance suites; this is what is special to these.

test("a result that is given a second time is the caller's own, as the first time", async () => {
  const list = command({
    input: z.strictObject({}),
    output: z.array(z.string()),
    permission: "trials:list",
    summary: "Lists.",
  });
  const contexts = [defineContext(defineContract("trials", { list }), { handlers: { list: () => ["b"] } })] as const;
  const app = await createArmature({
    ...{ store: inMemory(), authorizer: () => true, contexts },
    keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
  });
  const { trials } = app.as({ tenant: "acme", user: "ann" });
  for (let time = 0; time < 3; time += 1) {
    const given = await trials.list({}, { idempotencyKey: "once" });
    given.push("a");
    expect(given).toEqual(["b", "a"]);
  }
  await app.close();
});

describe("memory", () => {
  test("leases that ran out unreleased are forgotten", async () => {
    const clock = fixedClock();
    const lease = new InMemoryLease(clock);
    for (let at = 0; at < 2_000; at += 1) {
      await lease.acquire(`key-${at}`, 10);
      await clock.advance(1);
    }
    expect(lease.size).toBeLessThan(100);
    expect(await lease.acquire("key-1999", 10)).toBeUndefined();
  });

  test("buckets that are full again are forgotten", async () => {
    const clock = fixedClock();
    const limiter = new InMemoryRateLimiter(clock);
    const bucket = { capacity: 1, refillMs: 10 };
    for (let at = 0; at < 2_000; at += 1) {
      await limiter.take([{ key: `key-${at}`, bucket }]);
      await clock.advance(1);
    }
    expect(limiter.size).toBeLessThan(100);
    expect((await limiter.take([{ key: "key-1999", bucket }])).allowed).toBe(false);
  });

  test("buckets and leases that still matter are never forgotten", async () => {
    const clock = fixedClock();
    const [limiter, lease] = [new InMemoryRateLimiter(clock), new InMemoryLease(clock)];
    const keys = Array.from({ length: 500 }, (_, at) => `key-${at}`);
    for (const key of keys) {
      await limiter.take([{ key, bucket: { capacity: 1, refillMs: 1_000 } }]);
      await lease.acquire(key, 1_000);
    }
    for (const key of keys) {
      expect((await limiter.take([{ key, bucket: { capacity: 1, refillMs: 1_000 } }])).allowed).toBe(false);
      expect(await lease.acquire(key, 1_000)).toBeUndefined();
    }
  });
});

describe("the rate limiter", () => {
  test("a bucket that can never give a token is refused", async () => {
    const limiter = new InMemoryRateLimiter(fixedClock());
    for (const bucket of [
      { capacity: 0, refillMs: 1000 },
      { capacity: 0.5, refillMs: 1000 },
      { capacity: 1, refillMs: 0 },
      { capacity: Number.NaN, refillMs: 1000 },
    ])
      await expect(limiter.take([{ key: "key", bucket }])).rejects.toThrow(RangeError);
  });

  test("a clock that goes back gives no tokens away and takes none", async () => {
    let now = 10_000;
    const limiter = new InMemoryRateLimiter({ now: () => now, sleep: () => Promise.resolve() });
    const bucket = { capacity: 2, refillMs: 1_000 };
    await limiter.take([{ key: "key", bucket }]);
    now = 9_000;
    expect((await limiter.take([{ key: "key", bucket }])).allowed).toBe(false);
    now = 10_000;
    expect((await limiter.take([{ key: "key", bucket }])).allowed).toBe(true);
  });
});

describe("the bus", () => {
  const event = (subject: string, sequence: number): CloudEvent => ({
    specversion: "1.0",
    id: `${subject}-${sequence}`,
    source: "/contexts/orders",
    type: "order.changed",
    subject,
    time: "2026-01-02T03:04:05.678Z",
    datacontenttype: "application/json",
    data: {},
    dataversion: 1,
    tenant: "acme",
    sequence,
    actor: "user:ann",
    correlationid: "cor_1",
    causationid: "call_1",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  });

  test("a busy subject does not keep a quiet one waiting", async () => {
    const bus = new InProcessBus();
    const order: string[] = [];
    const { promise: all, resolve: done } = Promise.withResolvers<void>();
    await bus.subscribe({ group: "a", sources: ["/contexts/orders"], handle: async () => {} }).then((s) => s.close());
    await bus.publish([...Array.from({ length: 20 }, (_, at) => event("order/busy", at + 1)), event("order/quiet", 1)]);
    await bus.subscribe({
      group: "a",
      sources: ["/contexts/orders"],
      handle: async ({ subject }) => {
        order.push(subject);
        if (order.length === 21) done();
      },
    });
    await all;
    expect(order.indexOf("order/quiet")).toBe(1);
    await bus.close();
  });

  test("waits longer after each failure, and begins anew after a success", async () => {
    const clock = fixedClock();
    const bus = new InProcessBus(clock);
    const tries: string[] = [];
    let failing = 4;
    await bus.subscribe({
      group: "a",
      sources: ["/contexts/orders"],
      handle: async ({ sequence }) => {
        tries.push(`${sequence} at ${clock.now() - Date.parse("2026-01-01T00:00:00Z")}`);
        failing -= 1;
        if (failing > 0 || sequence === 2) throw new Error("not yet");
      },
    });
    await bus.publish([event("order/a", 1), event("order/a", 2)]);
    for (let sleep = 0; sleep < 4; sleep += 1) {
      await clock.untilSleeping();
      await clock.advance([10, 20, 40, 10][sleep]!);
    }
    expect(tries).toEqual(["1 at 0", "1 at 10", "1 at 30", "1 at 70", "2 at 70", "2 at 80"]);
    await bus.close();
  });

  test("a closed bus takes nothing any more and says so", async () => {
    const bus = new InProcessBus();
    await bus.close();
    await expect(bus.publish([event("order/a", 1)])).rejects.toThrow("closed");
    await expect(bus.subscribe({ group: "a", sources: [], handle: async () => {} })).rejects.toThrow("closed");
    await expect(bus.ping()).rejects.toThrow("closed");
    await bus.close();
  });
});

describe("the store", () => {
  test("a context that was not migrated is named in the refusal", async () => {
    await expect(inMemory().load({ tenant: "acme", context: "orders" }, [])).rejects.toThrow('"orders"');
  });

  test("an attempt that nobody claimed cannot be settled or released", async () => {
    const store = inMemory();
    await store.migrate([{ name: "orders", aggregates: [] }]);
    const commit = (attempt: number, step: "claim" | "release") =>
      store.commit("acme", {
        parts: [
          {
            context: "orders",
            aggregates: [],
            events: [],
            messages: [],
            audit: [],
            idempotency: { key: "key", inputHash: "hash", attempt, claimedUntil: 0, step },
          },
        ],
      });
    await expect(commit(2, "claim")).rejects.toThrow("never claimed");
    await expect(commit(1, "release")).rejects.toThrow("never claimed");
  });

  test("a key of a record has at most 512 signs", async () => {
    const store = inMemory();
    await store.migrate([{ name: "orders", aggregates: [] }]);
    const scope = { tenant: "acme", context: "orders" };
    for (const key of ["", "k".repeat(513)])
      await expect(store.records.put(scope, key, {}, 0)).rejects.toMatchObject({ code: "invalid_input" });
  });
});
