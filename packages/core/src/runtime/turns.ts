/** Lets those that want one thing at the same time have it one after the other, within this process. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>();

  /** Resolves when it is the caller's turn, with the function that ends it. */
  async take(key: string): Promise<() => void> {
    const before = this.#last.get(key);
    const turn = Promise.withResolvers<void>();
    this.#last.set(key, turn.promise);
    await before;
    return () => {
      if (this.#last.get(key) === turn.promise) this.#last.delete(key);
      turn.resolve();
    };
  }
}
