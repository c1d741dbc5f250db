import type { SeededRandom } from "./seeded-random.ts";

/**
 * What can go wrong at a call of a port: the process dies before it or after it, it fails and was not done, it was done
 * and its answer is lost, it is stuck on its way there or back, or it arrives twice.
 */
export type Fault =
  | "crash-before"
  | "crash-after"
  | "error-before"
  | "error-after"
  | "stall-before"
  | "stall-after"
  | "twice";

/** What can go wrong at any time: a process stands still, its clock jumps, or the store's does. */
export type Upset = "pause" | "crash" | "clock-jump" | "store-clock-jump";

const FAULTS: readonly Fault[] = [
  "crash-before",
  "crash-after",
  "error-before",
  "error-after",
  "stall-before",
  "stall-after",
  "twice",
];
const UPSETS: readonly Upset[] = ["pause", "crash", "clock-jump", "store-clock-jump"];

// What may arrive twice without anybody having asked for it: a publication, and what the relay notes down.
const REPEATABLE = /^(bus\.publish|outbox\.(claim|leave|settle|failed|park|announce))$/;
// Reads have nothing that could be half done, and there are many of them.
const READ = /^(load|find|events|audit|counters|idempotency|records\.(get|list)|outbox\.(read|size|announce))$/;

/**
 * Decides by seed what goes wrong. Each seed has kinds of its own and a measure of its own: a run in which everything
 * fails at once finds less than many runs that each overdo a few things.
 */
export class FaultPlan {
  readonly #random: SeededRandom;
  readonly #faults: readonly Fault[];
  readonly #upsets: readonly Upset[];
  readonly #rate: number;
  #healed = false;

  constructor(random: SeededRandom) {
    this.#random = random;
    this.#faults = some(random, FAULTS);
    this.#upsets = some(random, UPSETS);
    this.#rate = random.pick([0.01, 0.03, 0.06, 0.12]);
  }

  /** Whether nothing goes wrong any more. */
  get healed(): boolean {
    return this.#healed;
  }

  /** From now on nothing goes wrong any more. */
  heal(): void {
    this.#healed = true;
  }

  /** What goes wrong at this call, if anything. */
  at(point: string): Fault | undefined {
    if (this.#healed || !this.#random.chance(READ.test(point) ? this.#rate / 4 : this.#rate)) return undefined;
    const fault = this.#random.pick(this.#faults);
    return fault === "twice" && !REPEATABLE.test(point) ? undefined : fault;
  }

  /** What goes wrong now, if anything; asked now and then. */
  upset(): Upset | undefined {
    return this.#healed || !this.#random.chance(this.#rate * 2) ? undefined : this.#random.pick(this.#upsets);
  }

  /** How long a call takes on each way, in milliseconds. */
  latency(): number {
    return this.#random.chance(0.5) ? 0 : this.#random.int(1, 4);
  }

  /** How long something is stuck: often longer than a lease or a call's deadline lasts. Milliseconds. */
  stall(): number {
    return this.#random.pick([50, 500, 5_000, 20_000, 40_000]);
  }

  /** By how much a clock jumps, either way. Milliseconds. */
  jump(): number {
    return this.#random.pick([-60_000, -10_000, -500, 500, 10_000, 60_000]);
  }

  /** How long a dead process takes to come back. Milliseconds. */
  restart(): number {
    return this.#random.pick([10, 200, 3_000, 30_000]);
  }

  /** Which of them it happens to. */
  pick<T>(items: readonly T[]): T {
    return this.#random.pick(items);
  }
}

function some<T>(random: SeededRandom, kinds: readonly T[]): readonly T[] {
  const chosen = kinds.filter(() => random.chance(0.5));
  return chosen.length > 0 ? chosen : [random.pick(kinds)];
}
