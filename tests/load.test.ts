import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "pg";
import { afterEach, describe, expect, test } from "vitest";
import { type FreshDatabase, freshDatabase, withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { Caller, Ledger } from "./load/caller.ts";
import { Serving } from "./load/serving.ts";

const SECONDS = Number(process.env["LOAD_SECONDS"] ?? 15);
const CALLERS = 16;
/** How much the heap may grow from the middle third of the load to the last, beside what chance gives. */
const MOST_GROWTH_BYTES = 8 * 1024 * 1024;

const MB = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MB`;

describe.skipIf(await withoutServer())("a server under mixed load, on PostgreSQL", () => {
  let database: FreshDatabase;
  let serving: Serving;

  async function start(): Promise<string> {
    database = await freshDatabase();
    serving = await Serving.start({ DATABASE_URL: database.url });
    return (await serving.key()).key;
  }

  /** Which of these accounts are in the database, in a state of theirs and in an event. */
  async function stored(accounts: ReadonlySet<string>): Promise<number> {
    const pool = new Pool({ connectionString: database.url, max: 1 });
    try {
      const { rows } = await pool.query<{ count: string }>(
        `SELECT count(*) FROM identity.aggregates JOIN identity.events ON events.aggregate_id = aggregates.id
          WHERE aggregates.id = ANY($1) AND events.aggregate_version = 1`,
        [[...accounts]],
      );
      return Number(rows[0]?.count);
    } finally {
      await pool.end();
    }
  }

  afterEach(async () => {
    await serving?.kill();
    await database?.close();
  });

  test(
    `works for ${SECONDS} s without an error, keeps what it has acknowledged, and holds no more memory than before`,
    async () => {
      const key = await start();
      const ledger = new Ledger();
      const stop = new AbortController();
      const callers = Array.from({ length: CALLERS }, () => new Caller(serving.origin, key, ledger).run(stop.signal));
      const heap: number[] = [];
      const resident: number[] = [];
      const samples = 12;
      for (let sample = 0; sample < samples; sample += 1) {
        await sleep((SECONDS * 1_000) / samples);
        const memory = await serving.memory();
        heap.push(memory.heapUsed);
        resident.push(memory.rss);
      }
      stop.abort();
      await Promise.all(callers);

      const { requests } = ledger;
      console.info(
        `load: ${requests} requests in ${SECONDS} s (${Math.round(requests / SECONDS)}/s), ` +
          `median ${ledger.percentile(0.5).toFixed(1)} ms, 99 % within ${ledger.percentile(0.99).toFixed(1)} ms, ` +
          `${ledger.accounts.size} accounts made, heap ${heap.map(MB).join(", ")}; resident ${resident.map(MB).join(", ")}`,
      );
      expect(ledger.wrong.slice(0, 3)).toEqual([]);
      expect(serving.failures.slice(0, 3)).toEqual([]);
      expect(ledger.outcomes.has("gone")).toBe(false);
      expect(ledger.accounts.size).toBeGreaterThan(0);
      expect(await stored(ledger.accounts)).toBe(ledger.accounts.size);
      const third = samples / 3;
      const lowest = (from: number) => Math.min(...heap.slice(from, from + third));
      expect(lowest(2 * third) - lowest(third)).toBeLessThan(MOST_GROWTH_BYTES);
      await expect.poll(async () => (await serving.memory()).waiting, { timeout: 30_000 }).toBe(0);
    },
    SECONDS * 1_000 + 90_000,
  );

  test("shuts down without cutting off a request that it has begun, and keeps what it has acknowledged", async () => {
    const key = await start();
    const ledger = new Ledger();
    const never = new AbortController().signal;
    const callers = Array.from({ length: CALLERS }, () => new Caller(serving.origin, key, ledger).run(never));
    await expect.poll(() => ledger.accounts.size, { timeout: 30_000, interval: 20 }).toBeGreaterThan(CALLERS * 2);
    const { begun, answered, cut, exitCode } = await serving.close();
    await Promise.all(callers);
    expect({ cut, exitCode }).toEqual({ cut: 0, exitCode: 0 });
    expect(answered).toBe(begun);
    expect(ledger.wrong.slice(0, 3)).toEqual([]);
    expect(serving.failures.slice(0, 3)).toEqual([]);
    expect(await stored(ledger.accounts)).toBe(ledger.accounts.size);
  }, 90_000);
});
