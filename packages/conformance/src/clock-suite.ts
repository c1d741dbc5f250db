import { getEventListeners } from "node:events";
import type { Clock } from "@armature/core";
import { beforeAll, expect } from "vitest";
import { rejection } from "./expectations.ts";
import { describeSuite, type SuiteOptions } from "./suite.ts";

export interface ClockSetup {
  readonly clock: Clock;
  /** Moves the clock's time. Without it the time must pass by itself. */
  pass?(ms: number): Promise<void> | void;
}

const PENDING = Symbol("pending");

/** What every `Clock` must do. */
export function clockSuite(
  adapter: string,
  setup: () => ClockSetup | Promise<ClockSetup>,
  options: SuiteOptions = {},
): void {
  describeSuite("Clock", adapter, options, (test) => {
    let ready: ClockSetup;
    let clock: Clock;
    beforeAll(async () => {
      ready = await setup();
      clock = ready.clock;
    });
    const now = <T>(promise: Promise<T>): Promise<T | typeof PENDING> =>
      Promise.race([promise, new Promise<typeof PENDING>((resolve) => setImmediate(() => resolve(PENDING)))]);

    test("the time is in whole milliseconds of this age and never goes back", () => {
      let before = clock.now();
      expect(before).toBeGreaterThan(Date.parse("2000-01-01T00:00:00Z"));
      expect(before).toBeLessThan(Date.parse("2200-01-01T00:00:00Z"));
      for (let look = 0; look < 1000; look += 1) {
        const time = clock.now();
        expect(Number.isInteger(time)).toBe(true);
        expect(time).toBeGreaterThanOrEqual(before);
        before = time;
      }
    });

    test("a sleeper wakes when its time has passed and not before", async () => {
      const begin = clock.now();
      const asleep = clock.sleep(25);
      expect(await now(asleep)).toBe(PENDING);
      await ready.pass?.(25);
      await asleep;
      // A timer may be a millisecond ahead of the time of day.
      expect(clock.now() - begin).toBeGreaterThanOrEqual(24);
    });

    test("sleepers wake in the order of their times", async () => {
      const woke: number[] = [];
      const asleep = [45, 5, 25].map((ms) => clock.sleep(ms).then(() => woke.push(ms)));
      await ready.pass?.(45);
      await Promise.all(asleep);
      expect(woke).toEqual([5, 25, 45]);
    });

    test("a sleep of no time ends", async () => {
      const asleep = clock.sleep(0);
      await ready.pass?.(0);
      await expect(asleep).resolves.toBeUndefined();
    });

    test("a sleeper that is called off wakes at once with the reason", async () => {
      const caller = new AbortController();
      const reason = new Error("called off");
      const asleep = clock.sleep(3_600_000, caller.signal);
      expect(await now(asleep.catch(() => "rejected"))).toBe(PENDING);
      caller.abort(reason);
      expect(await rejection(asleep)).toBe(reason);
    });

    test("a sleep that was called off before does not begin", async () => {
      const reason = new Error("called off");
      expect(await rejection(clock.sleep(3_600_000, AbortSignal.abort(reason)))).toBe(reason);
    });

    test("a sleep that is over leaves nothing behind on its signal, and calling it off then has no effect", async () => {
      const caller = new AbortController();
      const asleep = Promise.all([clock.sleep(1, caller.signal), clock.sleep(2, caller.signal)]);
      await ready.pass?.(2);
      await asleep;
      expect(getEventListeners(caller.signal, "abort")).toHaveLength(0);
      caller.abort(new Error("too late"));
      await expect(asleep).resolves.toEqual([undefined, undefined]);
    });
  });
}
