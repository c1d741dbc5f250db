import type { Pool } from "pg";
import { CHANGES, type CountInput } from "../counters.ts";
import { concurrently } from "../rounds.ts";
import type { Contender } from "../work.ts";

/** Makes changes, each caller of counters of its own, and knows afterwards how many there must be. */
export function changes(
  subject: string,
  callers: number,
  change: (input: CountInput) => Promise<unknown>,
  /** Counts what is there now; every kind of row by itself. */
  written: () => Promise<readonly number[]>,
  options: Pick<Contender, "note" | "close"> = {},
): Contender {
  const numbers = Array.from({ length: callers }, () => 0);
  return {
    subject,
    ...options,
    measure: (ms) =>
      concurrently(ms, callers, async (caller) => {
        const number = numbers[caller]!;
        numbers[caller] = number + 1;
        const counterId = `cnt_${callers}_${caller}_${Math.floor(number / CHANGES)}`;
        await change({ counterId, by: 1, note: "as ordered" });
      }),
    check: async () => {
      const expected = numbers.reduce((sum, number) => sum + number, 0);
      for (const rows of await written())
        if (rows !== expected) throw new Error(`${subject} made ${expected} changes and wrote ${rows}.`);
    },
  };
}

/** The number of rows of some tables. */
export async function rowsOf(pool: Pick<Pool, "query">, tables: readonly string[]): Promise<number[]> {
  const counts = tables.map((table) => pool.query(`SELECT count(*)::int AS rows FROM ${table}`));
  return (await Promise.all(counts)).map(({ rows }) => rows[0].rows);
}
