export type { ConnectionPool, Notification, PoolClient, Queryable, QueryConfig } from "./database.ts";
export { DirectoryInUse, MigrationRefused, StoreFailed, StoreNotMigrated, StoreUnavailable } from "./errors.ts";
export { type PgliteOptions, pglite } from "./pglite.ts";
export { type PostgresOptions, postgres } from "./postgres.ts";
