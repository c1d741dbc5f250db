import { compareText } from "../kernel/index-value.ts";

/** Rows kept in the code-point order of a unique text key, which is how an index of PostgreSQL keeps them. */
export class SortedRows<T> {
  readonly #rows: T[] = [];
  readonly #keyOf: (row: T) => string;

  constructor(keyOf: (row: T) => string) {
    this.#keyOf = keyOf;
  }

  /** Adds the row, or replaces the one that has its key. */
  set(row: T): void {
    const key = this.#keyOf(row);
    const index = this.#firstNotBelow(key);
    const present = this.#rows[index];
    this.#rows.splice(index, present !== undefined && this.#keyOf(present) === key ? 1 : 0, row);
  }

  get(key: string): T | undefined {
    const row = this.#rows[this.#firstNotBelow(key)];
    return row !== undefined && this.#keyOf(row) === key ? row : undefined;
  }

  /** Rows beyond the key, in the direction asked; without a key, all of them. */
  *beyond(key: string | undefined, direction: "asc" | "desc"): Generator<T> {
    if (direction === "asc") {
      let index = key === undefined ? 0 : this.#firstNotBelow(key);
      for (; index < this.#rows.length; index += 1) {
        const row = this.#rows[index]!;
        if (this.#keyOf(row) !== key) yield row;
      }
    } else {
      let index = (key === undefined ? this.#rows.length : this.#firstNotBelow(key)) - 1;
      for (; index >= 0; index -= 1) yield this.#rows[index]!;
    }
  }

  #firstNotBelow(key: string): number {
    const last = this.#rows.at(-1);
    // Most rows arrive in order.
    if (last === undefined || compareText(this.#keyOf(last), key) < 0) return this.#rows.length;
    let low = 0;
    let high = this.#rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareText(this.#keyOf(this.#rows[middle]!), key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The first `limit` rows that match, and whether there are more. */
export function takePage<T>(
  rows: Iterable<T>,
  limit: number,
  matches: (row: T) => boolean,
): { readonly items: readonly T[]; readonly more: boolean } {
  const items: T[] = [];
  for (const row of rows) {
    if (!matches(row)) continue;
    if (items.length === limit) return { items, more: true };
    items.push(row);
  }
  return { items, more: false };
}
