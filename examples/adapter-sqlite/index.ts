export { SqliteFailed, SqliteUnavailable } from "./errors.ts";
export { type Sqlite, type SqliteOptions, sqlite } from "./sqlite.ts";
