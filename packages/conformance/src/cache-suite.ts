import type { Cache } from "@armature/core";
import fc from "fast-check";
import { beforeAll, expect, vi } from "vitest";
import { fresh } from "./expectations.ts";
import { type Losable, onceBack, withoutBackend } from "./outage-tests.ts";
import { describeSuite, type SuiteOptions } from "./suite.ts";

export interface CacheSetup extends Losable {
  readonly cache: Cache;
  /** The same cache as another process sees it; without it the tests of two instances are skipped. */
  readonly elsewhere?: Cache;
  /** Moves the adapter's time; without it the tests wait. */
  pass?(ms: number): Promise<void> | void;
}

const HOUR_MS = 3_600_000;
const AWAY = expect.stringMatching(/^(?:unavailable|timeout)$/);

/** What every `Cache` must do. It may forget, so it is asked at once, and about little. */
export function cacheSuite(
  adapter: string,
  setup: () => CacheSetup | Promise<CacheSetup>,
  options: SuiteOptions = {},
): void {
  describeSuite("Cache", adapter, options, (test) => {
    let ready: CacheSetup;
    beforeAll(async () => {
      ready = await setup();
    });

    test("what was set is given, and what was not is not", async () => {
      const { cache } = ready;
      const group = fresh("group");
      expect(await cache.get(group, "a")).toBeUndefined();
      await cache.set(group, "a", "1", HOUR_MS);
      expect(await cache.get(group, "a")).toBe("1");
      expect(await cache.get(group, "b")).toBeUndefined();
    });

    test("what is set later counts", async () => {
      const { cache } = ready;
      const group = fresh("group");
      await cache.set(group, "a", "1", HOUR_MS);
      await cache.set(group, "a", "2", HOUR_MS);
      expect(await cache.get(group, "a")).toBe("2");
    });

    test("groups keep to themselves, whatever their names and keys are", async () => {
      const { cache } = ready;
      const group = fresh("group");
      const places: readonly (readonly [string, string])[] = [
        [group, "ab"],
        [`${group}a`, "b"],
        [`${group}:a`, "b"],
        [group, ":ab"],
        [group, "*"],
        [`${group}*`, "ab"],
        [group, "日本語 '\"%_\n"],
        [group.toUpperCase(), "ab"],
      ];
      for (const [at, place] of places.entries()) await cache.set(...place, `${at}`, HOUR_MS);
      for (const [at, place] of places.entries()) expect(await cache.get(...place)).toBe(`${at}`);
      await cache.delete(group);
      for (const [at, place] of places.entries())
        expect(await cache.get(...place)).toBe(place[0] === group ? undefined : `${at}`);
    });

    test("one entry can be forgotten, and a whole group; what is not there is no error", async () => {
      const { cache } = ready;
      const group = fresh("group");
      await cache.delete(group);
      await cache.delete(group, "a");
      for (const key of ["a", "b", "c"]) await cache.set(group, key, key, HOUR_MS);
      await cache.delete(group, "a");
      expect(await Promise.all(["a", "b", "c"].map((key) => cache.get(group, key)))).toEqual([undefined, "b", "c"]);
      await cache.delete(group);
      expect(await Promise.all(["a", "b", "c"].map((key) => cache.get(group, key)))).toEqual(Array(3).fill(undefined));
      await cache.set(group, "a", "again", HOUR_MS);
      expect(await cache.get(group, "a")).toBe("again");
    });

    test("nothing outlives its time, which begins anew when it is set again", async () => {
      const { cache } = ready;
      const group = fresh("group");
      await cache.set(group, "short", "1", 40);
      await cache.set(group, "long", "1", HOUR_MS);
      await cache.set(group, "renewed", "1", 40);
      await cache.set(group, "renewed", "2", HOUR_MS);
      await ready.pass?.(40);
      await vi.waitFor(async () => expect(await cache.get(group, "short")).toBeUndefined(), { interval: 10 });
      expect(await cache.get(group, "long")).toBe("1");
      expect(await cache.get(group, "renewed")).toBe("2");
    });

    test("every text comes back as it was, a large one too", async () => {
      const { cache } = ready;
      const group = fresh("group");
      await fc.assert(
        fc.asyncProperty(fc.string({ unit: "binary" }), async (value) => {
          await cache.set(group, "text", value, HOUR_MS);
          expect(await cache.get(group, "text")).toBe(value);
        }),
        { numRuns: 50 },
      );
      const large = "ä".repeat(500_000);
      await cache.set(group, "text", large, HOUR_MS);
      expect((await cache.get(group, "text")) === large).toBe(true);
    });

    test("many can write and read at once", async () => {
      const { cache } = ready;
      const group = fresh("group");
      const keys = Array.from({ length: 50 }, (_, at) => `${at}`);
      await Promise.all(keys.map((key) => cache.set(group, key, key, HOUR_MS)));
      expect(await Promise.all(keys.map((key) => cache.get(group, key)))).toEqual(keys);
    });

    test("what one instance sets another gives, and what one forgets is forgotten for both", async (context) => {
      const { cache, elsewhere } = ready;
      if (elsewhere === undefined) return context.skip("the setup has no second instance");
      const group = fresh("group");
      await cache.set(group, "a", "1", HOUR_MS);
      expect(await elsewhere.get(group, "a")).toBe("1");
      await elsewhere.set(group, "a", "2", HOUR_MS);
      await elsewhere.set(group, "b", "2", HOUR_MS);
      expect(await cache.get(group, "a")).toBe("2");
      await cache.delete(group, "a");
      expect(await elsewhere.get(group, "a")).toBeUndefined();
      await elsewhere.delete(group);
      expect(await cache.get(group, "b")).toBeUndefined();
    });

    test("however writers of two instances meet, what is read was written as a whole, and both end with the same", async () => {
      const { cache, elsewhere = cache } = ready;
      const group = fresh("group");
      const texts = Array.from({ length: 6 }, (_, at) => `${at}`.repeat(20_000));
      const read: (string | undefined)[] = [];
      const writer = async (by: Cache, at: number) => {
        for (let turn = 0; turn < 8; turn += 1) {
          if ((turn + at) % 4 === 3) await by.delete(group, turn % 2 === 0 ? "a" : undefined);
          else await by.set(group, "a", texts[at]!, HOUR_MS);
          read.push(await (turn % 2 === 0 ? cache : elsewhere).get(group, "a"));
        }
      };
      await Promise.all(texts.map((_, at) => writer(at % 2 === 0 ? cache : elsewhere, at)));
      for (const text of read) expect(text === undefined || texts.includes(text)).toBe(true);
      const last = await cache.get(group, "a");
      expect((await elsewhere.get(group, "a")) === last).toBe(true);
      await elsewhere.delete(group);
      expect(await cache.get(group, "a")).toBeUndefined();
    });

    test("while the backend is away nothing is made up and nobody waits for long; after that it keeps again", async (context) => {
      const { cache } = ready;
      const group = fresh("group");
      await cache.set(group, "a", "1", HOUR_MS);
      await withoutBackend(context, ready, async () => {
        const asked = performance.now();
        const outcomes = await Promise.allSettled([cache.get(group, "a"), cache.get(group, "b")]);
        for (const [at, outcome] of outcomes.entries())
          if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ kind: AWAY });
          else expect([undefined, ...(at === 0 ? ["1"] : [])]).toContain(outcome.value);
        await cache.set(group, "b", "2", HOUR_MS).catch((error) => expect(error).toMatchObject({ kind: AWAY }));
        expect(performance.now() - asked).toBeLessThan(10_000);
      });
      await onceBack(() => cache.set(group, "a", "3", HOUR_MS));
      expect(await cache.get(group, "a")).toBe("3");
    }, 60_000);
  });
}
