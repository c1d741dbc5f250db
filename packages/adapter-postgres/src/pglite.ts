import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ArmatureError, type StoreAdapter } from "@armature/core";
import { type ConnectionPool, Database } from "./database.ts";
import { type DirectoryLock, lockDirectory } from "./directory-lock.ts";
import { StoreUnavailable } from "./errors.ts";
import { migrate, pendingSteps } from "./migrate.ts";
import { roleOf } from "./postgres.ts";
import { PostgresStore } from "./postgres-store.ts";
import { rolesOf } from "./roles.ts";
import { localSignals } from "./signals.ts";

export interface PgliteOptions {
  /** Where the database lives; made when missing, and used by one process at a time. Without it, in memory. */
  readonly dataDir?: string | undefined;
}

interface Embedded {
  readonly pool: ConnectionPool;
  close(): Promise<void>;
}

/** Armature's store and leases on an embedded PostgreSQL. It opens with the first call, which takes about 2 s. */
export function pglite(options: PgliteOptions = {}): StoreAdapter {
  let opened: Promise<Embedded> | undefined;
  let closed = false;
  const pool = async (): Promise<ConnectionPool> => {
    if (closed) throw new StoreUnavailable({ reason: "closed" });
    opened ??= open(options.dataDir).catch((error: unknown) => {
      opened = undefined; // the next call tries again
      throw error;
    });
    return (await opened).pool;
  };
  // One connection: calls queue for it, and each gives it back before the next.
  const database = new Database(pool, true, false);
  return new PostgresStore(database, localSignals(), {
    embedded: true,
    lasting: options.dataDir !== undefined,
    migrate: async (contexts) =>
      migrate(await pool(), { contexts, roles: rolesOf("armature"), appRole: await roleOf(database) }),
    pendingMigration: async (contexts) =>
      pendingSteps(await pool(), { contexts, roles: rolesOf("armature"), appRole: await roleOf(database) }),
    close: async () => {
      closed = true;
      const open = opened?.catch(() => undefined);
      opened = undefined; // a second close has nothing to do
      await (await open)?.close();
    },
  });
}

async function open(dataDir: string | undefined): Promise<Embedded> {
  const lock = dataDir === undefined ? undefined : await lockDirectory(resolve(dataDir));
  try {
    return await start(dataDir === undefined ? undefined : resolve(dataDir), lock);
  } catch (error) {
    await lock?.release();
    if (error instanceof ArmatureError) throw error;
    throw new StoreUnavailable({ reason: `the embedded database does not start: ${(error as Error).message}` });
  }
}

async function start(directory: string | undefined, lock: DirectoryLock | undefined): Promise<Embedded> {
  const [{ PGlite }, { createPgConfig }, { Pool }] = await Promise.all([
    import("@electric-sql/pglite"),
    import("@electric-sql/pglite/node-postgres"),
    import("pg"),
  ]);
  if (directory !== undefined) await initialize(directory, async (path) => (await PGlite.create(path)).close());
  const db = await PGlite.create(directory === undefined ? "memory://" : join(directory, "pgdata"));
  // The directory is ours alone, so whoever held a lease is gone.
  await db.exec(END_LEASES);
  const pool = new Pool({ ...createPgConfig(db), max: 1, idleTimeoutMillis: 0 });
  pool.on("error", () => {}); // the next call tells
  return {
    // There is only this one connection, and no other to be had: it is kept whatever happens.
    pool: {
      connect: async () => {
        const client = await pool.connect();
        return { query: (config) => client.query(config), release: () => client.release() };
      },
    },
    close: async () => {
      await pool.end();
      await db.close();
      await lock?.release();
    },
  };
}

const END_LEASES = `
  DO $$ DECLARE held regclass; BEGIN
    IF to_regclass('armature.leases') IS NOT NULL THEN
      UPDATE armature.leases SET expires_at = '-infinity';
    END IF;
    FOR held IN SELECT oid FROM pg_class WHERE relname IN ('relay_claims', 'relay_members', 'execution_workers') AND relkind = 'r' LOOP
      EXECUTE format('UPDATE %s SET expires_at = %L', held, '-infinity');
    END LOOP;
  END $$`;

/** A database that was killed while it was being made would not start: it is made aside and gets its name at the end. */
async function initialize(directory: string, make: (path: string) => Promise<void>): Promise<void> {
  const made = join(directory, "pgdata");
  if (existsSync(made)) return;
  const unfinished = join(directory, "pgdata.new");
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  await make(unfinished);
  await rename(unfinished, made);
}
