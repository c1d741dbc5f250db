// The timers as they are when this is loaded: with those of a test that stands still, nobody would be asked any more.
import { clearTimeout, setImmediate, setTimeout } from "node:timers";

/** What came of one of several: an answer, an error, or that it has to be asked by itself. */
export type Came<A> = { readonly answer: A } | { readonly error: Error } | "alone";

interface Asking<Q, A> {
  /** By itself. */
  one(question: Q): Promise<A>;
  /** All in one round trip; what comes of each, in their order. */
  many(questions: readonly Q[]): Promise<readonly Came<A>[]>;
}

interface Waiting<Q, A> {
  readonly question: Q;
  resolve(answer: A): void;
  reject(error: unknown): void;
}

/** Round trips under way at a time before what comes next waits for the others. */
const LANES = 2;
/** A round trip that takes longer holds up nobody any more: it may wait for a row that somebody has locked. */
const SLOW_MS = 25;
/** Questions of one round trip. With two subtransactions each, PostgreSQL keeps their ids at hand up to 64. */
const MOST = 24;

/**
 * Asks at once while little is under way. When there is more, what has come in the meantime shares a round trip, and
 * where it writes a transaction: the busier the process, the less each costs.
 */
export class Together<Q, A> {
  readonly #asking: Asking<Q, A>;
  readonly #waiting: Waiting<Q, A>[] = [];
  #underWay = 0;
  #flushing = false;

  constructor(asking: Asking<Q, A>) {
    this.#asking = asking;
  }

  ask(question: Q): Promise<A> {
    // Whoever is alone waits for nobody.
    if (this.#underWay === 0 && !this.#flushing) return this.#lane(() => this.#asking.one(question));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ question, resolve, reject });
      this.#flushSoon();
    });
  }

  // What others ask in this turn of the event loop comes along.
  #flushSoon(): void {
    if (this.#flushing || this.#underWay >= LANES) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      // As many for each lane that is free.
      while (this.#waiting.length > 0 && this.#underWay < LANES) {
        const share = Math.ceil(this.#waiting.length / (LANES - this.#underWay));
        this.#flush(this.#waiting.splice(0, Math.min(MOST, share)));
      }
    });
  }

  #flush(asked: readonly Waiting<Q, A>[]): void {
    const alone = ({ question, resolve, reject }: Waiting<Q, A>) => this.#asking.one(question).then(resolve, reject);
    const [only] = asked;
    if (only !== undefined && asked.length === 1) {
      void this.#lane(() => alone(only));
      return;
    }
    void this.#lane(async () => {
      try {
        const came = await this.#asking.many(asked.map(({ question }) => question));
        for (const [at, each] of asked.entries()) {
          const its = came[at] ?? "alone";
          if (its === "alone") void alone(each);
          else if ("error" in its) each.reject(its.error);
          else each.resolve(its.answer);
        }
      } catch (error) {
        for (const { reject } of asked) reject(error);
      }
    });
  }

  async #lane<T>(run: () => Promise<T>): Promise<T> {
    let held = true;
    const free = () => {
      if (!held) return;
      held = false;
      this.#underWay -= 1;
      if (this.#waiting.length > 0) this.#flushSoon();
    };
    this.#underWay += 1;
    const slow = setTimeout(free, SLOW_MS);
    try {
      return await run();
    } finally {
      clearTimeout(slow);
      free();
    }
  }
}
