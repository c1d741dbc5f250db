import { DatabaseSync, type StatementSync } from "node:sqlite";
import { setTimeout as pause } from "node:timers/promises";
import { isBusy, SqliteUnavailable, typedError } from "./errors.ts";

// Names and values are blobs of UTF-16: SQLite's text ends at a NUL, and half of a surrogate pair has no UTF-8.
const TABLES = `
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS leases (key BLOB PRIMARY KEY, fence INTEGER NOT NULL, until INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS buckets (key BLOB PRIMARY KEY, full_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
  of_group BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (of_group, key));
CREATE INDEX IF NOT EXISTS leases_until ON leases (until);
CREATE INDEX IF NOT EXISTS buckets_full ON buckets (full_at);
CREATE INDEX IF NOT EXISTS entries_until ON entries (until);
`;
const RETRY_MS = 5;

type Value = number | Uint8Array;
/** Runs a statement of the transaction; its rows. */
export type Run = (sql: string, values: Readonly<Record<string, Value>>) => readonly Record<string, unknown>[];

/** A SQLite file that processes of one machine share. It is opened when it is first used. */
export class SqliteFile {
  readonly #path: string;
  readonly #waitMs: number;
  readonly #statements = new Map<string, StatementSync>();
  #database: DatabaseSync | undefined;
  #closed = false;

  constructor(path: string, waitMs: number) {
    this.#path = path;
    this.#waitMs = waitMs;
  }

  // region change
  /**
   * Runs `work` as one transaction in which nobody else writes. While another process does, it waits, and other work of
   * this process goes on.
   *
   * @throws {SqliteUnavailable} it could not begin in time, or could not be written; then nothing of it was
   */
  async change<T>(work: (run: Run) => T): Promise<T> {
    const giveUpAt = performance.now() + this.#waitMs;
    for (;;)
      try {
        return this.#once(work);
      } catch (error) {
        if (!isBusy(error) || performance.now() > giveUpAt) throw typedError(error);
        await pause(RETRY_MS);
      }
  }
  // endregion change

  close(): void {
    this.#closed = true;
    this.#statements.clear();
    this.#database?.close();
    this.#database = undefined;
  }

  #once<T>(work: (run: Run) => T): T {
    const database = this.#open();
    database.exec("BEGIN IMMEDIATE");
    try {
      const result = work((sql, values) => this.#prepared(database, sql).all(values));
      database.exec("COMMIT");
      return result;
    } catch (error) {
      if (database.isTransaction) database.exec("ROLLBACK");
      throw error;
    }
  }

  #open(): DatabaseSync {
    if (this.#closed) throw new SqliteUnavailable({ reason: "closed" });
    if (this.#database !== undefined) return this.#database;
    const database = new DatabaseSync(this.#path);
    try {
      database.exec(TABLES);
    } catch (error) {
      database.close();
      throw error;
    }
    this.#database = database;
    return database;
  }

  #prepared(database: DatabaseSync, sql: string): StatementSync {
    const known = this.#statements.get(sql) ?? database.prepare(sql);
    this.#statements.set(sql, known);
    return known;
  }
}

/** A text as it is, whatever stands in it. */
export const blob = (text: string): Uint8Array => Buffer.from(text, "utf16le");
export const textOf = (value: unknown): string => Buffer.from(value as Uint8Array).toString("utf16le");
