import type { Clock } from "../../kernel/clock.ts";

/** Whose sleep it is: it can stand still for a while, or be dead. */
export interface Sleeper {
  /** Wakes no sooner. Milliseconds of simulated time. */
  readonly pausedUntil: number;
}

interface Sleep {
  due: number;
  readonly owner: Sleeper | undefined;
  wake(): void;
}

/**
 * The time of a whole simulation. It moves on to the next sleeper as soon as nothing else can be done, so an hour
 * passes in an instant, and in the same order in every run.
 */
export class SimulatedTime {
  readonly #sleeps = new Set<Sleep>();
  #now: number;
  #working = 0;
  #idle: (() => void) | undefined;

  constructor(start: number) {
    this.#now = start;
  }

  get now(): number {
    return this.#now;
  }

  /** Resolves after `ms`, in whole milliseconds; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, owner?: Sleeper, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason);
      const sleep: Sleep = {
        due: this.#now + Math.max(0, Math.ceil(ms)),
        owner,
        wake: () => {
          this.#sleeps.delete(sleep);
          signal?.removeEventListener("abort", abort);
          resolve();
        },
      };
      const abort = () => {
        this.#sleeps.delete(sleep);
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#sleeps.add(sleep);
    });
  }

  /** A clock that shows this time, wrong by what `skew` says at the moment. Sleeps last as long as they should. */
  clock(owner?: Sleeper, skew: () => number = () => 0): Clock {
    return { now: () => this.#now + skew(), sleep: (ms, signal) => this.sleep(ms, owner, signal) };
  }

  /** Whoever sleeps for this owner never wakes. */
  forget(owner: Sleeper): void {
    for (const sleep of this.#sleeps) if (sleep.owner === owner) this.#sleeps.delete(sleep);
  }

  /** Work that takes real time, such as a database's: simulated time stands still until it has ended. */
  async working<T>(work: () => T | Promise<T>): Promise<T> {
    this.#working += 1;
    try {
      return await work();
    } finally {
      this.#working -= 1;
      if (this.#working === 0) this.#idle?.();
    }
  }

  /** Lets time pass until the condition holds. @returns false when `limitMs` have passed before */
  async passUntil(reached: () => boolean, limitMs: number): Promise<boolean> {
    const end = this.#now + limitMs;
    for (;;) {
      await this.#nothingToDo();
      if (reached()) return true;
      const next = this.#next();
      if (next === undefined || next.due > end) return false;
      this.#now = next.due;
      next.wake();
    }
  }

  #next(): Sleep | undefined {
    let first: Sleep | undefined;
    for (const sleep of this.#sleeps) {
      if (sleep.owner !== undefined && sleep.due < sleep.owner.pausedUntil) sleep.due = sleep.owner.pausedUntil;
      // The set keeps the order of falling asleep, so of two with the same time the earlier one wakes first.
      if (first === undefined || sleep.due < first.due) first = sleep;
    }
    return first;
  }

  // A turn of the event loop: every promise that can go on without I/O has gone on.
  async #nothingToDo(): Promise<void> {
    do {
      if (this.#working > 0)
        await new Promise<void>((resolve) => {
          this.#idle = resolve;
        });
      await new Promise<void>((resolve) => setImmediate(resolve));
    } while (this.#working > 0);
  }
}
