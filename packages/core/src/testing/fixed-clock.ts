import type { Clock, Instant } from "../kernel/clock.ts";

/** A clock for tests: its time moves only when it is told to. */
export interface FixedClock extends Clock {
  /**
   * Moves the time on. Sleepers wake in the order of their times, each at its own time, and what they do next (without
   * I/O) is done before the next one wakes; a sleeper who falls asleep again within the span wakes again.
   */
  advance(ms: number): Promise<void>;
  /** How many are asleep. */
  readonly sleeping: number;
  /**
   * Resolves as soon as at least `count` are asleep who wake within `withinMs` (however late, when absent): what a test
   * waits for before it advances. One sleeper waits for the earliest deadline of all calls under way, and may still be
   * there for a turn of the event loop after the last of them.
   */
  untilSleeping(count?: number, withinMs?: number): Promise<void>;
}

interface Sleeper {
  readonly due: number;
  wake(): void;
}

/** @param start an instant or milliseconds; 2026-01-01T00:00:00.000Z when absent */
export function fixedClock(start: Instant | number = "2026-01-01T00:00:00.000Z"): FixedClock {
  let now = typeof start === "number" ? start : Date.parse(start);
  if (!Number.isFinite(now)) throw new TypeError(`"${start}" is no time to start a clock at.`);
  const sleepers = new Set<Sleeper>();
  const watchers = new Set<{ readonly count: number; readonly withinMs: number; resolve(): void }>();

  const nextDue = (until: number): Sleeper | undefined => {
    let first: Sleeper | undefined;
    // The set keeps the order of falling asleep, so of two with the same time the earlier one wakes first.
    for (const sleeper of sleepers)
      if (sleeper.due <= until && (first === undefined || sleeper.due < first.due)) first = sleeper;
    return first;
  };

  const sleepingWithin = (ms: number) => [...sleepers].filter(({ due }) => due - now <= ms).length;

  return {
    now: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) return reject(signal.reason);
        const sleeper: Sleeper = {
          // Whole milliseconds, as a machine's clock has them.
          due: now + Math.max(0, Math.ceil(ms)),
          wake() {
            sleepers.delete(sleeper);
            signal?.removeEventListener("abort", abort);
            resolve();
          },
        };
        const abort = () => {
          sleepers.delete(sleeper);
          reject(signal?.reason);
        };
        signal?.addEventListener("abort", abort, { once: true });
        sleepers.add(sleeper);
        for (const watcher of watchers) {
          if (sleepingWithin(watcher.withinMs) < watcher.count) continue;
          watchers.delete(watcher);
          watcher.resolve();
        }
      }),
    async advance(ms) {
      if (!(ms >= 0)) throw new RangeError("Time moves forward only.");
      const until = now + ms;
      for (let sleeper = nextDue(until); sleeper !== undefined; sleeper = nextDue(until)) {
        now = sleeper.due;
        sleeper.wake();
        await settled();
      }
      now = until;
      await settled();
    },
    get sleeping() {
      return sleepers.size;
    },
    untilSleeping: (count = 1, withinMs = Number.POSITIVE_INFINITY) =>
      new Promise((resolve) => {
        if (sleepingWithin(withinMs) >= count) return resolve();
        watchers.add({ count, withinMs, resolve });
      }),
  };
}

// A turn of the event loop: every promise that can go on without I/O has gone on.
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
