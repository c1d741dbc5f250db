import { randomBytes } from "node:crypto";
import { Client, Pool } from "pg";

/** A server for tests; the default is the one that `.ci/run` starts. */
const serverUrl = process.env["DATABASE_URL"] ?? "postgres://postgres@127.0.0.1:5432/test";

/**
 * Whether tests that need a PostgreSQL server are skipped. In CI they are not: there a missing server is a failure.
 */
export async function withoutServer(): Promise<boolean> {
  if (process.env["CI"] !== undefined) return false;
  const client = new Client({ connectionString: serverUrl, connectionTimeoutMillis: 2_000 });
  try {
    await client.connect();
    await client.end();
    return false;
  } catch {
    console.warn("Skipped: start PostgreSQL 15 or newer on 127.0.0.1:5432, or set DATABASE_URL to a superuser's.");
    return true;
  }
}

export interface FreshDatabase {
  /** Names the database, and starts the names of its roles. */
  readonly name: string;
  /** Where it is, for another process. */
  readonly url: string;
  /** Connections as the server's superuser. */
  readonly pool: Pool;
  /** More connections, as another role or as the superuser too; closed with the rest. */
  poolAs(role?: string): Pool;
  /** Ends the connections and removes the database. */
  close(): Promise<void>;
}

/** A database of its own for a test file, so that files can run at the same time. */
export async function freshDatabase(
  options: { readonly owner?: (name: string) => string; readonly clause?: string } = {},
): Promise<FreshDatabase> {
  const name = `armature_test_${randomBytes(6).toString("hex")}`;
  const pools: Pool[] = [];
  const open = (role?: string) => {
    const url = new URL(serverUrl);
    url.pathname = `/${name}`;
    if (role !== undefined) url.username = role;
    const pool = new Pool({ connectionString: url.href, max: 20 });
    pool.on("error", () => {}); // the server ends what is still connected when the database is dropped
    pools.push(pool);
    return pool;
  };

  const owner = options.owner?.(name);
  if (owner !== undefined) await onServer([`CREATE ROLE "${owner}" LOGIN CREATEROLE`]);
  await onServer([
    `CREATE DATABASE "${name}"${owner === undefined ? "" : ` OWNER "${owner}"`} ${options.clause ?? ""}`,
  ]);
  const address = new URL(serverUrl);
  address.pathname = `/${name}`;
  return {
    name,
    url: address.href,
    pool: open(),
    poolAs: open,
    close: async () => {
      await Promise.all(pools.map((each) => each.end()));
      await onServer([`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`]);
    },
  };
}

/** Removes the databases, and then every role whose name starts with the name of one: they may have shared them. */
export async function dropAll(databases: readonly FreshDatabase[]): Promise<void> {
  for (const database of databases) await database.close();
  for (const { name } of databases) {
    const roles = await onServer([`SELECT rolname FROM pg_roles WHERE rolname LIKE '${name}%'`]);
    for (const { rolname } of roles) await onServer([`DROP ROLE "${rolname}"`]);
  }
}

/** Runs statements on the server's own database; the rows of the last. */
async function onServer(statements: readonly string[]): Promise<readonly { readonly rolname: string }[]> {
  const client = new Client({ connectionString: serverUrl });
  await client.connect();
  try {
    let rows: readonly { readonly rolname: string }[] = [];
    for (const statement of statements) rows = (await client.query(statement)).rows;
    return rows;
  } finally {
    await client.end();
  }
}
