import type { Counter } from "../kernel/store.ts";

const MAX_KEY = 512;

const isStorable = (text: string): boolean => text.isWellFormed() && !text.includes("\u0000");

/** What one call has counted and no commit has taken yet. */
export class CallCounts {
  #waiting: Map<string, Record<string, number>> | undefined;
  #late: ((counters: readonly Counter[]) => void) | undefined;

  /** @throws {TypeError} the key or a number is none that can be stored */
  add(key: string, numbers: Readonly<Record<string, number>>): void {
    if (key === "" || key.length > MAX_KEY || ![key, ...Object.keys(numbers)].every(isStorable))
      throw new TypeError(`A counter needs a key of 1 to ${MAX_KEY} characters that can be stored.`);
    for (const [name, number] of Object.entries(numbers))
      if (!Number.isSafeInteger(number)) throw new TypeError(`"${name}" is counted in whole numbers.`);
    this.#merge({ key, numbers });
    if (this.#late !== undefined) this.#handOver(this.#late);
  }

  /** Everything so far, for the commit that makes it durable. A commit that fails takes it along: nothing is added twice. */
  take(): readonly Counter[] {
    const taken = [...(this.#waiting ?? [])].map(([key, numbers]) => ({ key, numbers }));
    this.#waiting = undefined;
    return taken;
  }

  /** Gives back what a commit took that is known to have written nothing. */
  putBack(counters: readonly Counter[]): void {
    for (const counter of counters) this.#merge(counter);
    if (this.#late !== undefined) this.#handOver(this.#late);
  }

  /** How the call ended is written down: what is left, and what comes after, goes to `late`. */
  close(late: (counters: readonly Counter[]) => void): void {
    this.#late = late;
    this.#handOver(late);
  }

  #merge({ key, numbers }: Counter): void {
    this.#waiting ??= new Map();
    const sums = this.#waiting.get(key) ?? {};
    for (const [name, number] of Object.entries(numbers)) if (number !== 0) sums[name] = (sums[name] ?? 0) + number;
    if (Object.keys(sums).length > 0) this.#waiting.set(key, sums);
  }

  #handOver(late: (counters: readonly Counter[]) => void): void {
    const counters = this.take();
    if (counters.length > 0) late(counters);
  }
}
