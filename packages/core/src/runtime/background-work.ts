/** Work that nobody waits for, which must have ended before the store closes. */
export class BackgroundWork {
  #underWay = 0;
  #idle: (() => void)[] = [];

  /** Remembers the work until it has ended, and gives it back. */
  readonly track = <T>(work: Promise<T>): Promise<T> => {
    this.begin();
    work.then(this.end, this.end);
    return work;
  };

  begin(): void {
    this.#underWay += 1;
  }

  readonly end = (): void => {
    this.#underWay -= 1;
    if (this.#underWay === 0) for (const resolve of this.#idle.splice(0)) resolve();
  };

  /** Resolves when nothing is under way. */
  async ended(): Promise<void> {
    while (this.#underWay > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }
}
