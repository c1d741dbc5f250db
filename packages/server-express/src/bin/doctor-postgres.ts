import { Client } from "pg";
import { z } from "zod";
import { type Finding, fail, ok, warn } from "./finding.ts";

const facts = z.object({
  version: z.int(),
  shown: z.string(),
  encoding: z.string(),
  standby: z.boolean(),
  role: z.string(),
  mighty: z.boolean(),
  skew: z.number(),
});

// Between two looks at this machine's clock, so that the way there is not counted.
const ASK = `SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS shown,
  current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby, current_user::text AS role,
  (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS mighty,
  extract(epoch FROM clock_timestamp())::float8 * 1000 AS skew`;

// Tables of tenants' rows that are not guarded. All of ours that have the column are.
const UNGUARDED = `SELECT format('%I.%I', n.nspname, c.relname) AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
  WHERE c.relkind = 'r' AND n.nspname IN (SELECT DISTINCT scope FROM armature.migrations WHERE scope <> '')
    AND NOT (c.relrowsecurity AND c.relforcerowsecurity)`;

/** Looks at the database as the server's own role sees it. */
export async function* lookAtPostgres(store: { readonly url: string }): AsyncIterable<Finding> {
  const client = new Client({ connectionString: store.url, connectionTimeoutMillis: 5_000 });
  // The connection's end is told by the query that needed it.
  client.on("error", () => undefined);
  try {
    await client.connect();
  } catch (error) {
    const { code = "no connection" } = error as NodeJS.ErrnoException;
    yield fail(
      "store",
      `PostgreSQL cannot be reached (${code}).`,
      "Look whether it runs, and at host, port, user, password and name in DATABASE_URL.",
    );
    return;
  }
  try {
    const before = Date.now();
    const { rows } = await client.query(ASK);
    const found = facts.parse(rows[0]);
    yield* judge(found, Math.round(found.skew - (before + Date.now()) / 2));
    yield* await guards(client);
  } finally {
    await client.end();
  }
}

function* judge(
  { version, shown, encoding, standby, role, mighty }: z.infer<typeof facts>,
  skewMs: number,
): Iterable<Finding> {
  const server = `PostgreSQL ${shown} as ${role}`;
  if (version < 150_000) yield fail("store", `${server} is too old.`, "Use PostgreSQL 15 or newer.");
  else if (encoding !== "UTF8")
    yield fail("store", `${server} stores text as ${encoding}.`, "Make the database with encoding UTF8.");
  else if (standby)
    yield fail("store", `${server} is a standby, which takes no writes.`, "Point DATABASE_URL at the primary.");
  else yield ok("store", `${server} answers`);
  if (mighty)
    yield warn(
      "role",
      `${role} is a superuser or may bypass row-level security.`,
      "Give DATABASE_URL a role of its own, and MIGRATION_DATABASE_URL this one.",
    );
  const skew = `this machine's clock is ${Math.abs(skewMs)} ms ${skewMs < 0 ? "ahead of" : "behind"} the database's`;
  const todo = "Have both machines follow a time server.";
  if (Math.abs(skewMs) >= 30_000) yield fail("clock", `${skew}.`, todo);
  else if (Math.abs(skewMs) >= 1_000) yield warn("clock", `${skew}.`, todo);
  else yield ok("clock", skew);
}

async function guards(client: Client): Promise<readonly Finding[]> {
  const migrated = await client.query("SELECT to_regclass('armature.migrations') IS NOT NULL AS there");
  if (migrated.rows[0]?.there !== true) return [];
  try {
    const { rows } = await client.query(UNGUARDED);
    if (rows.length === 0) return [ok("tenancy", "row-level security guards every table of tenants")];
    const names = rows.map(({ name }) => name).join(", ");
    return [
      fail(
        "tenancy",
        `Row-level security is off for ${names}.`,
        "ALTER TABLE … ENABLE and FORCE ROW LEVEL SECURITY on each, and find out who switched it off.",
      ),
    ];
  } catch {
    // Another check says which right is missing.
    return [];
  }
}
