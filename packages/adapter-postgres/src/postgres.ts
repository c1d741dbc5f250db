import type { StoreAdapter } from "@armature/core";
import { type ConnectionPool, Database } from "./database.ts";
import { StoreUnavailable, typedError } from "./errors.ts";
import { migrate, pendingSteps } from "./migrate.ts";
import { PostgresStore } from "./postgres-store.ts";
import { rolesOf } from "./roles.ts";
import { localSignals, NotifySignals } from "./signals.ts";

export interface PostgresOptions {
  /** A `pg.Pool`. It stays the host's: closing the store does not end it. */
  readonly pool: ConnectionPool;
  /** Connections for `migrate()`, as a role that may create schemas and roles. Without it, `pool`. */
  readonly migrationPool?: ConnectionPool | undefined;
  /** The role that `pool` connects as, where the migration cannot ask it. */
  readonly appRole?: string | undefined;
  /** Other roles whose transactions `app.as(…).within(client, …)` may run commands in; `migrate()` lets them. */
  readonly hostRoles?: readonly string[] | undefined;
  /** First part of the names of the two roles that own the functions; `armature` when absent. */
  readonly rolePrefix?: string | undefined;
  /** Whether statements are prepared by name; true when absent. Switch it off behind a pooler that cannot. */
  readonly prepare?: boolean | undefined;
  /**
   * Whether one connection of the pool listens for commits of other processes; true when absent and the pool may have
   * three or more. Switch it off behind a pooler that changes connections between transactions: commits of others are
   * then found by looking, within `relay.pollMs`.
   */
  readonly listen?: boolean | undefined;
}

const FEW = 3;

/** Armature's store and leases on PostgreSQL 15 or newer. */
export function postgres(options: PostgresOptions): StoreAdapter {
  const { pool, migrationPool = pool, prepare = true } = options;
  const roles = rolesOf(options.rolePrefix ?? "armature");
  let closed = false;

  // A pool without a listener ends the process when the server closes an idle connection. The next call tells.
  const onIdleError = () => {};
  pool.on?.("error", onIdleError);

  const database = new Database(
    async () => {
      if (closed) throw new StoreUnavailable({ reason: "closed" });
      return pool;
    },
    prepare,
    true,
  );
  // One connection is kept for listening, where there are enough.
  const listens = (options.listen ?? true) && (pool.options?.max ?? FEW) >= FEW;
  const signals = listens ? new NotifySignals(database, () => pool.connect()) : localSignals();
  return new PostgresStore(database, signals, {
    embedded: false,
    lasting: true,
    migrate: async (contexts) => {
      const appRole = options.appRole ?? (await roleOf(database));
      await migrate(migrationPool, { contexts, roles, appRole, hostRoles: options.hostRoles });
    },
    pendingMigration: async (contexts) => {
      const appRole = options.appRole ?? (await roleOf(database));
      return pendingSteps(migrationPool, { contexts, roles, appRole, hostRoles: options.hostRoles });
    },
    close: async () => {
      closed = true;
      pool.off?.("error", onIdleError);
    },
  });
}

/** The role that a database's connections have. */
export async function roleOf(database: Database): Promise<string> {
  const [row] = await database.query("armature", "migrate", { text: "SELECT current_user::text AS role" });
  const role = row?.["role"];
  if (typeof role !== "string") throw typedError(new Error("no role"), "armature", "migrate");
  return role;
}
