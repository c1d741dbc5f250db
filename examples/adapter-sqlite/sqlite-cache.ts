import type { Cache, Clock } from "@armature/core";
import { blob, type SqliteFile, textOf } from "./sqlite-file.ts";

const GET = "SELECT value FROM entries WHERE of_group = $group AND key = $key AND until > $now";
const SET = "INSERT OR REPLACE INTO entries (of_group, key, value, until) VALUES ($group, $key, $value, $until)";
const FORGET = "DELETE FROM entries WHERE of_group = $group AND key = $key";
const FORGET_GROUP = "DELETE FROM entries WHERE of_group = $group";
/** Each write takes away two whose time is over, so they go sooner than they come. */
const TIDY = "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE until <= $now LIMIT 2)";

/** Texts in a SQLite file, by the machine's clock. Whoever can read the file can read what providers have answered. */
export class SqliteCache implements Cache {
  readonly #file: SqliteFile;
  readonly #clock: Clock;

  constructor(file: SqliteFile, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  async get(group: string, key: string): Promise<string | undefined> {
    const values = { group: blob(group), key: blob(key) };
    const [found] = await this.#file.change((run) => run(GET, { ...values, now: this.#clock.now() }));
    return found === undefined ? undefined : textOf(found["value"]);
  }

  async set(group: string, key: string, value: string, ttlMs: number): Promise<void> {
    await this.#file.change((run) => {
      const now = this.#clock.now();
      run(TIDY, { now });
      run(SET, { group: blob(group), key: blob(key), value: blob(value), until: now + Math.ceil(ttlMs) });
    });
  }

  async delete(group: string, key?: string): Promise<void> {
    await this.#file.change((run) =>
      key === undefined
        ? run(FORGET_GROUP, { group: blob(group) })
        : run(FORGET, { group: blob(group), key: blob(key) }),
    );
  }
}
