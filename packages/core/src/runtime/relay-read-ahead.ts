import type { Claim } from "../kernel/outbox.ts";

/** Where a partition is read on. */
export interface Cursor {
  readonly claim: Claim;
  /** A position; the partition's beginning when absent. */
  readonly after: string | undefined;
}

/** Up to where each partition was read since the bus has last taken something. */
export class ReadAhead {
  readonly #reached = new Map<number, Cursor>();

  reached(cursor: Cursor): void {
    if (this.past(cursor) === cursor) this.#reached.set(cursor.claim.partition, cursor);
  }

  /** The cursor, or the one behind everything that was read under the same claim. */
  past(cursor: Cursor): Cursor {
    const reached = this.#reached.get(cursor.claim.partition);
    if (reached === undefined || reached.claim.fence !== cursor.claim.fence) return cursor;
    return Number(cursor.after ?? Number.NEGATIVE_INFINITY) < Number(reached.after) ? reached : cursor;
  }

  forget(): void {
    this.#reached.clear();
  }
}
