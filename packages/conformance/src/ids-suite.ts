import type { Clock, Ids } from "@armature/core";
import { expect } from "vitest";
import { describeSuite, type SuiteOptions } from "./suite.ts";

/** What every `Ids` must do. The setup makes one on the clock that it is given. */
export function idsSuite(adapter: string, setup: (clock: Clock) => Ids, options: SuiteOptions = {}): void {
  describeSuite("Ids", adapter, options, (test) => {
    const at = (now: () => number) => setup({ now, sleep: () => Promise.resolve() });

    test("an id is its prefix and 26 signs that stand in any URL, key or file name", () => {
      const ids = at(() => Date.now());
      for (const prefix of ["con", "evt", "a", "long_prefix"])
        expect(ids.next(prefix)).toMatch(new RegExp(`^${prefix}_[0-9a-hjkmnp-tv-z]{26}$`));
    });

    test("no id comes twice, and a later one sorts later, also within a millisecond", () => {
      const start = Date.parse("2026-01-02T03:04:05Z");
      let calls = 0;
      const ids = at(() => start + Math.floor(calls++ / 1000));
      const made = Array.from({ length: 20_000 }, () => ids.next("evt"));
      expect(new Set(made).size).toBe(made.length);
      expect([...made].sort()).toEqual(made);
    });

    test("ids keep their order when the machine's time goes back", () => {
      const times = [5_000, 4_000, 5_000, 1_000, 6_000, 2_000].map((ms) => Date.parse("2026-01-02T03:04:05Z") + ms);
      let calls = 0;
      const ids = at(() => times[Math.min(calls++, times.length - 1)]!);
      const made = times.map(() => ids.next("evt"));
      expect([...made].sort()).toEqual(made);
    });

    test("ids of another day sort by day", () => {
      const first = at(() => Date.parse("2026-01-02T00:00:00Z")).next("evt");
      const second = at(() => Date.parse("2026-01-03T00:00:00Z")).next("evt");
      expect(first < second).toBe(true);
    });

    test("two processes that start at the same moment make different ids", () => {
      const [one, two] = [at(() => 1_770_000_000_000), at(() => 1_770_000_000_000)];
      const made = Array.from({ length: 200 }, (_, n) => (n % 2 === 0 ? one : two).next("evt"));
      expect(new Set(made).size).toBe(200);
    });

    test("random bytes are as many as asked for and different each time", () => {
      const ids = at(() => Date.now());
      for (const length of [0, 1, 16, 32, 4096]) expect(ids.random(length)).toHaveLength(length);
      const drawn = Array.from({ length: 500 }, () => Buffer.from(ids.random(16)).toString("hex"));
      expect(new Set(drawn).size).toBe(500);
    });

    test("random bytes use every value about equally often", () => {
      const counts = new Array<number>(256).fill(0);
      for (const byte of at(() => Date.now()).random(256 * 1024)) counts[byte]! += 1;
      // 1024 expected of each, standard deviation 32: ten deviations do not happen.
      for (const count of counts) expect(Math.abs(count - 1024)).toBeLessThan(320);
    });
  });
}
