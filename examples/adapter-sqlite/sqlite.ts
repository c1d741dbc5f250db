import { type Cache, type Clock, type Lease, parse, type RateLimiter, systemClock } from "@armature/core";
import { z } from "zod";
import { SqliteCache } from "./sqlite-cache.ts";
import { SqliteFile } from "./sqlite-file.ts";
import { SqliteLease } from "./sqlite-lease.ts";
import { SqliteRateLimiter } from "./sqlite-rate-limiter.ts";

export interface SqliteOptions {
  /** The same for all processes, on a disk of this machine: SQLite's locks do not hold on network file systems. */
  readonly file: string;
  /** How long a call waits while other processes write, in milliseconds; 5 s when absent. */
  readonly waitMs?: number | undefined;
  readonly clock?: Clock | undefined;
}

/** What is kept in one file. */
export interface Sqlite {
  readonly lease: Lease;
  readonly cache: Cache;
  readonly rateLimiter: RateLimiter;
  /** Closes the file. Held leases stay until their time is over. */
  close(): void;
}

// region entry
const optionsSchema = z.strictObject({ file: z.string().min(1), waitMs: z.int().min(0).default(5_000) });

/**
 * Leases, a cache and rate limits for processes of one machine, in a SQLite file.
 *
 * @throws {InvalidInput} an option is not valid
 */
export function sqlite({ clock = systemClock(), ...options }: SqliteOptions): Sqlite {
  const { file: path, waitMs } = parse(optionsSchema, options, "The options of sqlite");
  const file = new SqliteFile(path, waitMs);
  return {
    lease: new SqliteLease(file, clock),
    cache: new SqliteCache(file, clock),
    rateLimiter: new SqliteRateLimiter(file, clock),
    close: () => file.close(),
  };
}
// endregion entry
