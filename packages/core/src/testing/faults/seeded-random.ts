import { createHash } from "node:crypto";
import { monotonicFactory } from "ulid";
import type { Clock } from "../../kernel/clock.ts";
import type { Ids } from "../../kernel/ids.ts";

/** Random choices that are the same for the same seed. For tests only: whoever knows the seed knows them all. */
export class SeededRandom {
  readonly #seed: string;
  readonly #state: Uint32Array;

  constructor(seed: string | number) {
    this.#seed = String(seed);
    const digest = createHash("sha256").update(this.#seed).digest();
    this.#state = Uint32Array.from({ length: 4 }, (_, at) => digest.readUInt32LE(at * 4));
  }

  /** Choices of their own under this name: more of them change nothing elsewhere. */
  fork(name: string): SeededRandom {
    return new SeededRandom(`${this.#seed}/${name}`);
  }

  /** From 0 up to, not including, 1. The generator is sfc32. */
  next(): number {
    const state = this.#state;
    const [a, b, c, counter] = state as unknown as [number, number, number, number];
    const sum = (a + b + counter) >>> 0;
    state[0] = b ^ (b >>> 9);
    state[1] = c + (c << 3);
    state[2] = ((c << 21) | (c >>> 11)) + sum;
    state[3] = counter + 1;
    return sum / 2 ** 32;
  }

  /** A whole number; both ends are possible. */
  int(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  /** True with this probability, 0 to 1. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** @throws {RangeError} there is nothing to pick from */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError("There is nothing to pick from.");
    return items[this.int(0, items.length - 1)] as T;
  }
}

/** Ids as the system makes them, ULIDs by the given clock, but the same for the same choices. */
export function seededIds(random: SeededRandom, clock: Clock): Ids {
  const ulid = monotonicFactory(() => random.next());
  return {
    next: (prefix) => `${prefix}_${ulid(clock.now()).toLowerCase()}`,
    random: (bytes) => Uint8Array.from({ length: bytes }, () => random.int(0, 255)),
  };
}
