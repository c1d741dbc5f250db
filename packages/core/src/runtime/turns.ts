/** A place in the order of those who want the same. */
export interface Turn {
  /** Whether somebody of this process has had it since this was last asked: there need not be anybody else in the way. */
  overtaken(): boolean;
  end(): void;
}

interface Queue {
  last: Promise<void>;
  /** How often it was had, whoever's turn it was. */
  had: number;
}

/** Lets those that want one thing at the same time have it one after the other, within this process. */
export class Turns {
  readonly #queues = new Map<string, Queue>();

  /** Whether anybody waits for anything. */
  get isEmpty(): boolean {
    return this.#queues.size === 0;
  }

  /** Resolves when it is the caller's turn. */
  async take(key: string): Promise<Turn> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const queue = this.#queues.get(key) ?? { last: Promise.resolve(), had: 0 };
    const before = queue.last;
    queue.last = promise;
    this.#queues.set(key, queue);
    await before;
    let seen = queue.had;
    return {
      overtaken: () => {
        const overtaken = queue.had > seen;
        seen = queue.had;
        return overtaken;
      },
      end: () => {
        // One that is ended twice may be ended when others stand in a new queue.
        if (queue.last === promise && this.#queues.get(key) === queue) this.#queues.delete(key);
        resolve();
      },
    };
  }

  /** Somebody has had it, in turn or not. */
  had(key: string): void {
    const queue = this.#queues.get(key);
    if (queue !== undefined) queue.had += 1;
  }
}
