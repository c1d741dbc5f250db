import type { Clock, HeldLease, Lease } from "@armature/core";
import { blob, type SqliteFile } from "./sqlite-file.ts";

// region acquire
// A row stays when its lease is over, so that the next fence is higher. One that was lost with the machine's power
// begins with the clock, in microseconds.
const ACQUIRE = `
INSERT INTO leases (key, fence, until) VALUES ($key, $now * 1000, $until)
ON CONFLICT (key) DO UPDATE SET fence = max(fence + 1, excluded.fence), until = excluded.until WHERE until <= $now
RETURNING fence`;
// endregion acquire
const EXTEND = "UPDATE leases SET until = $until WHERE key = $key AND fence = $fence AND until > $now RETURNING fence";
const FORGET = "DELETE FROM leases WHERE rowid IN (SELECT rowid FROM leases WHERE until <= $before LIMIT 2)";
const DAY_MS = 86_400_000;

/** Leases in a SQLite file, by the machine's clock. */
export class SqliteLease implements Lease {
  readonly #file: SqliteFile;
  readonly #clock: Clock;

  constructor(file: SqliteFile, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  // region lease
  async acquire(key: string, ttlMs: number): Promise<HeldLease | undefined> {
    const fence = await this.#file.change((run) => {
      // Looked at only now: it may have waited for the file.
      const now = this.#clock.now();
      run(FORGET, { before: now - DAY_MS });
      return run(ACQUIRE, { key: blob(key), now, until: now + Math.ceil(ttlMs) })[0]?.["fence"];
    });
    if (fence === undefined) return undefined;
    const held = { key, fence: Number(fence) };
    return {
      ...held,
      renew: (ms) => this.#extend(held, ms),
      release: async () => {
        await this.#extend(held, 0);
      },
    };
  }

  /** Whether it was held; lets it last so long from now. */
  #extend({ key, fence }: { readonly key: string; readonly fence: number }, ttlMs: number): Promise<boolean> {
    return this.#file.change((run) => {
      const now = this.#clock.now();
      return run(EXTEND, { key: blob(key), fence, now, until: now + Math.ceil(ttlMs) }).length === 1;
    });
  }
  // endregion lease
}
