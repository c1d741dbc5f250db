/** Work that nobody waits for, which must have ended before the store closes. */
export class BackgroundWork {
  readonly #underWay = new Set<Promise<unknown>>();

  /** Remembers the work until it has ended, and gives it back. */
  readonly track = <T>(work: Promise<T>): Promise<T> => {
    const forget = () => void this.#underWay.delete(work);
    this.#underWay.add(work);
    work.then(forget, forget);
    return work;
  };

  /** Resolves when nothing is under way. */
  async ended(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }
}
