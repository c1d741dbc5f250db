import type { Bucket, RateLimiter, TakeRequest } from "@armature/core";
import fc from "fast-check";
import { beforeAll, expect, type TestContext, vi } from "vitest";
import { fresh } from "./expectations.ts";
import { expectOutage, type Losable, onceBack, withoutBackend } from "./outage-tests.ts";
import { describeSuite, type SuiteOptions } from "./suite.ts";

export interface RateLimiterSetup extends Losable {
  readonly rateLimiter: RateLimiter;
  /** The same buckets as another process sees them; without it the test of two instances is skipped. */
  readonly elsewhere?: RateLimiter;
  /** Moves the adapter's time. Without it tests that need exact times are skipped. */
  pass?(ms: number): Promise<void> | void;
}

const HOUR_MS = 3_600_000;

/** What every `RateLimiter` must do. */
export function rateLimiterSuite(
  adapter: string,
  setup: () => RateLimiterSetup | Promise<RateLimiterSetup>,
  options: SuiteOptions = {},
): void {
  describeSuite("RateLimiter", adapter, options, (test) => {
    let ready: RateLimiterSetup;
    beforeAll(async () => {
      ready = await setup();
    });
    const takeAll = (...requests: readonly TakeRequest[]) => ready.rateLimiter.take(requests);
    const take = (key: string, bucket: Bucket) => takeAll({ key, bucket });
    const allowedOf = async (count: number, key: string, bucket: Bucket) => {
      const results = await Promise.all(Array.from({ length: count }, () => take(key, bucket)));
      return results.filter(({ allowed }) => allowed).length;
    };
    const waitFor = async (key: string, bucket: Bucket): Promise<number> => {
      const result = await take(key, bucket);
      if (result.allowed) throw new Error("A token was given where none could be left.");
      return result.retryAfterMs;
    };
    const needPass = (context: TestContext): ((ms: number) => Promise<void> | void) => {
      if (ready.pass === undefined) return context.skip("the setup cannot move the time");
      return ready.pass.bind(ready);
    };

    test("a full bucket gives as many tokens as it holds, then says how long to wait for one", async () => {
      const [key, bucket] = [fresh("key"), { capacity: 5, refillMs: HOUR_MS }];
      for (let remaining = 4; remaining >= 0; remaining -= 1)
        expect(await take(key, bucket)).toEqual({ allowed: true, remaining });
      const wait = await waitFor(key, bucket);
      expect(Number.isInteger(wait)).toBe(true);
      expect(wait).toBeGreaterThan(HOUR_MS / 5 - 60_000);
      expect(wait).toBeLessThanOrEqual(HOUR_MS / 5);
    });

    test("of many who ask at once exactly as many get a token as there are", async () => {
      const [key, bucket] = [fresh("key"), { capacity: 7, refillMs: HOUR_MS }];
      expect(await allowedOf(40, key, bucket)).toBe(7);
      expect(await allowedOf(40, key, bucket)).toBe(0);
    });

    test("being refused costs nothing", async () => {
      const [key, bucket] = [fresh("key"), { capacity: 1, refillMs: HOUR_MS }];
      await take(key, bucket);
      const before = await waitFor(key, bucket);
      for (let asked = 0; asked < 30; asked += 1) await take(key, bucket);
      expect(await waitFor(key, bucket)).toBeLessThanOrEqual(before);
    });

    test("keys have buckets of their own", async () => {
      const [key, bucket] = [fresh("key"), { capacity: 1, refillMs: HOUR_MS }];
      const keys = [key, `${key}/`, `${key} 日本語`, `${key}'"%_*`, key.toUpperCase()];
      for (const each of keys) expect((await take(each, bucket)).allowed).toBe(true);
      for (const each of keys) expect((await take(each, bucket)).allowed).toBe(false);
    });

    test("of several buckets each gives a token, or none does and the longest wait is said", async () => {
      const [narrow, wide, slow] = [
        { key: fresh("narrow"), bucket: { capacity: 1, refillMs: HOUR_MS } },
        { key: fresh("wide"), bucket: { capacity: 3, refillMs: HOUR_MS } },
        { key: fresh("slow"), bucket: { capacity: 1, refillMs: 2 * HOUR_MS } },
      ];
      expect(await takeAll(wide, narrow)).toEqual({ allowed: true, remaining: 0 });
      // Refused for the sake of the narrow one, in either order; the wide one still has two.
      for (const requests of [
        [wide, narrow],
        [narrow, wide],
      ])
        expect((await takeAll(...requests)).allowed).toBe(false);
      expect(await takeAll(slow, wide)).toEqual({ allowed: true, remaining: 0 });
      const wait = await takeAll(narrow, slow, wide);
      expect(wait).toMatchObject({ allowed: false, retryAfterMs: expect.any(Number) });
      expect((wait as { retryAfterMs: number }).retryAfterMs).toBeGreaterThan(HOUR_MS);
      expect(await takeAll(wide)).toEqual({ allowed: true, remaining: 0 });
      expect((await takeAll(wide)).allowed).toBe(false);
    });

    test("of many who ask for several buckets at once exactly as many get theirs as the narrowest has", async () => {
      const [mine, shared] = [
        { key: fresh("mine"), bucket: { capacity: 4, refillMs: HOUR_MS } },
        { key: fresh("shared"), bucket: { capacity: 9, refillMs: HOUR_MS } },
      ];
      const results = await Promise.all(
        Array.from({ length: 30 }, (_, at) => (at % 2 === 0 ? takeAll(mine, shared) : takeAll(shared, mine))),
      );
      expect(results.filter(({ allowed }) => allowed)).toHaveLength(4);
      expect(await allowedOf(20, shared.key, shared.bucket)).toBe(5);
    });

    test("a token comes back with time", async () => {
      const [key, bucket] = [fresh("key"), { capacity: 2, refillMs: 200 }];
      await take(key, bucket);
      await take(key, bucket);
      await ready.pass?.(100);
      await vi.waitFor(async () => expect((await take(key, bucket)).allowed).toBe(true), { interval: 10 });
    });

    test("whoever waits as long as was said gets a token, and not a millisecond earlier", async (context) => {
      const pass = needPass(context);
      for (const bucket of [
        { capacity: 3, refillMs: 1000 },
        { capacity: 7, refillMs: 60_000 },
        { capacity: 1, refillMs: 1 },
      ]) {
        const key = fresh("key");
        await allowedOf(bucket.capacity, key, bucket);
        for (let round = 0; round < 20; round += 1) {
          const wait = await waitFor(key, bucket);
          await pass(wait - 1);
          expect((await take(key, bucket)).allowed).toBe(false);
          await pass(1);
          expect(await take(key, bucket)).toEqual({ allowed: true, remaining: 0 });
        }
      }
    });

    test("a bucket is full after its time and never more than full", async (context) => {
      const pass = needPass(context);
      const [key, bucket] = [fresh("key"), { capacity: 4, refillMs: 1000 }];
      expect(await allowedOf(10, key, bucket)).toBe(4);
      await pass(500);
      expect(await allowedOf(10, key, bucket)).toBe(2);
      await pass(1000);
      expect(await allowedOf(10, key, bucket)).toBe(4);
      await pass(1_000_000);
      expect(await allowedOf(10, key, bucket)).toBe(4);
    });

    test("in the long run nobody gets more than the bucket gives, and whoever keeps asking gets all of it", async (context) => {
      const pass = needPass(context);
      await fc.assert(
        fc.asyncProperty(
          fc.record({ capacity: fc.integer({ min: 1, max: 9 }), refillMs: fc.integer({ min: 1, max: 5_000 }) }),
          fc.array(fc.record({ wait: fc.integer({ min: 0, max: 700 }), takes: fc.integer({ min: 1, max: 12 }) }), {
            minLength: 1,
            maxLength: 20,
          }),
          async (bucket, steps) => {
            const key = fresh("key");
            // In units of a token's share of the time, so that the model needs no fractions.
            const full = bucket.capacity * bucket.refillMs;
            let level = full;
            for (const { wait, takes } of steps) {
              await pass(wait);
              level = Math.min(full, level + wait * bucket.capacity);
              const expected = Math.min(takes, Math.floor(level / bucket.refillMs));
              expect(await allowedOf(takes, key, bucket)).toBe(expected);
              level -= expected * bucket.refillMs;
            }
          },
        ),
        { numRuns: 60 },
      );
    });

    test("two instances share their buckets: together they give what there is, however their takers meet", async (context) => {
      const { rateLimiter, elsewhere } = ready;
      if (elsewhere === undefined) return context.skip("the setup has no second instance");
      const [mine, shared] = [
        { key: fresh("mine"), bucket: { capacity: 5, refillMs: HOUR_MS } },
        { key: fresh("shared"), bucket: { capacity: 11, refillMs: HOUR_MS } },
      ];
      const results = await Promise.all(
        Array.from({ length: 40 }, (_, at) => {
          const requests = at % 4 < 2 ? [mine, shared] : [shared, mine];
          return (at % 2 === 0 ? rateLimiter : elsewhere).take(requests);
        }),
      );
      expect(results.filter(({ allowed }) => allowed)).toHaveLength(5);
      const rest = await Promise.all(
        Array.from({ length: 20 }, (_, at) => (at % 2 === 0 ? rateLimiter : elsewhere).take([shared])),
      );
      expect(rest.filter(({ allowed }) => allowed)).toHaveLength(6);
    });

    test("while the backend is away a taker is refused soon, and what was taken before is not given again", async (context) => {
      const [key, bucket] = [fresh("key"), { capacity: 3, refillMs: HOUR_MS }];
      expect(await allowedOf(2, key, bucket)).toBe(2);
      await withoutBackend(context, ready, async () => {
        await expectOutage(take(key, bucket));
      });
      const first = await onceBack(() => take(key, bucket));
      // The answer of a taker may have been lost on its way, and its token with it.
      expect((first.allowed ? 1 : 0) + (await allowedOf(10, key, bucket))).toBeLessThanOrEqual(1);
    }, 60_000);
  });
}
