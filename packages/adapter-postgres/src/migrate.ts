import { createHash } from "node:crypto";
import { ArmatureError, type StoredContext } from "@armature/core";
import { functionsOfAll } from "./all-contexts-sql.ts";
import { commitFunctions } from "./commit-sql.ts";
import type { ConnectionPool, PoolClient, Queryable } from "./database.ts";
import { deadLetterFunctions } from "./dead-letters-sql.ts";
import { breaksConnection, isLostRace, MigrationRefused, sqlStateOf, typedError } from "./errors.ts";
import { callable, installed } from "./function-text.ts";
import { contextSchema, indexColumn, quoteIdentifier } from "./identifier.ts";
import { leaseFunctions } from "./lease-sql.ts";
import { logAccess, logFunctions, logIndex } from "./log-sql.ts";
import { relayFunctions } from "./outbox-sql.ts";
import { partitions, partitionsWritten } from "./partitions-sql.ts";
import { projectionFunctions, projectionQueries, projectionSteps } from "./projection-sql.ts";
import { queryFunctions } from "./query-sql.ts";
import { retentionFunctions, retentionIndexes, unfinishedOfAll } from "./retention-sql.ts";
import { createRole, mayActAs, type Roles } from "./roles.ts";
import { contextAccess, contextTables, counterTable, indexField, sharedAccess, sharedTables } from "./schema-sql.ts";
import { timerFunctions, timerRelayFunctions, timerTable } from "./timers-sql.ts";

/** The version of everything below. A database that newer code has migrated is left as it is. */
const VERSION = 11;

/** One thing that a database has or lacks. */
interface Step {
  /** The context; empty for what all of them share. */
  readonly scope: string;
  readonly name: string;
  readonly sql: readonly string[];
  /** Tables and columns are made once; the rest is made again when its text has changed. */
  readonly once?: boolean;
  /** Whose the new functions are. */
  readonly as?: string;
}

interface Applied {
  readonly scope: string;
  readonly name: string;
  readonly version: number;
  readonly fingerprint: string;
}

export interface Migration {
  readonly contexts: readonly StoredContext[];
  readonly roles: Roles;
  /** The role that the application connects as. */
  readonly appRole: string;
  /** Roles of transactions of the host's that commands run in. */
  readonly hostRoles?: readonly string[] | undefined;
}

/** Creates or upgrades what is missing, in one transaction; several processes may do so at the same time. */
export async function migrate(pool: ConnectionPool, migration: Migration): Promise<void> {
  for (const context of migration.contexts) contextSteps(context, migration); // refuses bad names
  for (let attempt = 1; ; attempt += 1) {
    const client = await connect(pool);
    let broken = false;
    try {
      if ((await missingSteps(client, migration)).length > 0) await inTransaction(client, migration);
      return;
    } catch (error) {
      broken = !(error instanceof ArmatureError) && breaksConnection(error) && sqlStateOf(error) !== "XX000";
      // Roles belong to the whole server, so a migration of another database can be in the way.
      if (attempt < 5 && (isLostRace(error) || ["XX000", "23505"].includes(sqlStateOf(error) ?? ""))) continue;
      throw refusalOf(error);
    } finally {
      client.release(broken);
    }
  }
}

/**
 * What `migrate` would do: the names of its steps, `connectors.aggregates`. Reads only.
 *
 * @throws {StoreNotMigrated} when this connection may not see what was done
 */
export async function pendingSteps(pool: ConnectionPool, migration: Migration): Promise<readonly string[]> {
  const client = await connect(pool);
  try {
    const steps = await missingSteps(client, migration);
    return steps.map(({ scope, name }) => (scope === "" ? name : `${scope}: ${name}`));
  } catch (error) {
    throw typedError(error, "armature", "migrate");
  } finally {
    client.release();
  }
}

async function connect(pool: ConnectionPool): Promise<PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    throw typedError(error, "armature", "migrate");
  }
}

async function inTransaction(client: Queryable, migration: Migration): Promise<void> {
  await client.query({ text: "BEGIN" });
  try {
    await client.query({ text: "SELECT pg_advisory_xact_lock(hashtextextended('armature.migrate', 0))" });
    // Looked at again under the lock: somebody else may have done it while we waited.
    const missing = await missingSteps(client, migration);
    await refuseUnfit(client);
    if (missing.length > 0) await asFunctionOwner(client, migration.roles, () => apply(client, missing));
    await client.query({ text: "COMMIT" });
  } catch (error) {
    await client.query({ text: "ROLLBACK" }).catch(() => undefined); // the first error is the one to tell of
    throw error;
  }
}

async function refuseUnfit(client: Queryable): Promise<void> {
  const { rows } = await client.query({
    text: "SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding",
  });
  const { version, encoding } = rows[0] as { readonly version: number; readonly encoding: string };
  if (version < 150000) throw new MigrationRefused({ reason: "PostgreSQL 15 or newer is needed" });
  // Bytes of other encodings do not sort by code point, and cannot hold every text.
  if (encoding !== "UTF8") throw new MigrationRefused({ reason: `its encoding is ${encoding} and has to be UTF8` });
}

/** Lets the session act as the roles for the time of the migration, if it could not anyway. */
async function asFunctionOwner(client: Queryable, roles: Roles, work: () => Promise<void>): Promise<void> {
  const lent: string[] = [];
  for (const role of [roles.owner, roles.relay]) {
    await client.query({ text: createRole(role) });
    const { rows } = await client.query({ text: `${mayActAs}`, values: [role] });
    if (rows[0]?.["answer"] === true) continue;
    await client.query({ text: `GRANT ${quoteIdentifier(role)} TO current_user` });
    lent.push(role);
  }
  await work();
  for (const role of lent) await client.query({ text: `REVOKE ${quoteIdentifier(role)} FROM current_user` });
}

async function apply(client: Queryable, steps: readonly Step[]): Promise<void> {
  for (const step of steps) {
    if (step.as === undefined) for (const text of step.sql) await client.query({ text });
    else await applyAs(client, step.as, step);
    await client.query({
      text: `INSERT INTO armature.migrations (scope, name, version, fingerprint) VALUES ($1, $2, $3, $4)
  ON CONFLICT (scope, name) DO UPDATE
    SET version = excluded.version, fingerprint = excluded.fingerprint, applied_at = excluded.applied_at`,
      values: [step.scope, step.name, VERSION, fingerprintOf(step)],
    });
  }
}

/** Whoever makes a function owns it, and needs the right to create in the schema only while doing so. */
async function applyAs(client: Queryable, role: string, step: Step): Promise<void> {
  const schema = step.scope === "" ? "armature" : contextSchema(step.scope);
  await client.query({ text: `GRANT CREATE, USAGE ON SCHEMA ${schema} TO ${quoteIdentifier(role)}` });
  const { rows } = await client.query({ text: "SELECT current_setting('role') AS role" });
  await client.query({ text: `SET LOCAL ROLE ${quoteIdentifier(role)}` });
  for (const text of step.sql) await client.query({ text });
  await client.query({ text: "SELECT set_config('role', $1, true)", values: [rows[0]?.["role"]] });
  await client.query({ text: `REVOKE CREATE ON SCHEMA ${schema} FROM ${quoteIdentifier(role)}` });
}

async function missingSteps(client: Queryable, migration: Migration): Promise<readonly Step[]> {
  const applied = await appliedSteps(client);
  const known = new Map(applied.map((each) => [JSON.stringify([each.scope, each.name]), each]));
  const contexts = new Set([...applied.map(({ scope }) => scope), ...migration.contexts.map(({ name }) => name)]);
  contexts.delete("");
  return stepsOf(migration, [...contexts].sort()).filter((step) => {
    const present = known.get(JSON.stringify([step.scope, step.name]));
    if (present === undefined) return true;
    return step.once !== true && present.version <= VERSION && present.fingerprint !== fingerprintOf(step);
  });
}

async function appliedSteps(client: Queryable): Promise<readonly Applied[]> {
  // Reads the catalog itself. `to_regclass` may answer from what the session remembers of the time before it waited.
  const { rows } = await client.query({
    text: "SELECT FROM pg_catalog.pg_tables WHERE schemaname = 'armature' AND tablename = 'migrations'",
  });
  if (rows.length === 0) return [];
  const found = await client.query({ text: "SELECT scope, name, version, fingerprint FROM armature.migrations" });
  return found.rows as unknown as readonly Applied[];
}

/** Everything that a database should have. `allContexts` are those that it has already and those that are asked for. */
function stepsOf(migration: Migration, allContexts: readonly string[]): readonly Step[] {
  const { contexts, roles, appRole } = migration;
  const shared: Step[] = [
    { scope: "", name: "tables", once: true, sql: sharedTables },
    { scope: "", name: "access", sql: sharedAccess(roles) },
    {
      scope: "",
      name: `schema for ${appRole}`,
      // Enough to find out that nothing is missing.
      sql: [
        `GRANT USAGE ON SCHEMA armature TO ${quoteIdentifier(appRole)}`,
        `GRANT SELECT ON armature.migrations TO ${quoteIdentifier(appRole)}`,
      ],
    },
    ...others(migration).map((role) => ({
      scope: "",
      name: `schema for host role ${role}`,
      sql: [`GRANT USAGE ON SCHEMA armature TO ${quoteIdentifier(role)}`],
    })),
  ];
  const ofAll = functionsOfAll(allContexts);
  const known = allContexts.length > 0;
  const overAll = known ? [...leaseFunctions, ...ofAll.functions] : leaseFunctions;
  const router: Step[] = [
    { scope: "", name: "inbox", sql: inboxOfAll(allContexts, roles) },
    { scope: "", name: "unfinished", sql: unfinishedOfAll(allContexts, roles) },
  ];
  return [
    ...shared,
    ...contexts.flatMap((context) => contextSteps(context, migration)),
    ...(known ? router : []),
    { scope: "", name: "functions", as: roles.owner, sql: installed(overAll) },
    { scope: "", name: `functions for ${appRole}`, as: roles.owner, sql: [callable(overAll, appRole)] },
    ...(known ? others(migration) : []).map((role) => ({
      scope: "",
      name: `functions for host role ${role}`,
      as: roles.owner,
      sql: [callable(ofAll.forHosts, role)],
    })),
  ];
}

/** Roles that may do what a tenant's calls do, and nothing of what the relay does. */
function others({ appRole, hostRoles = [] }: Migration): readonly string[] {
  return [...new Set(hostRoles)].filter((role) => role !== appRole);
}

function contextSteps(context: StoredContext, migration: Migration): readonly Step[] {
  const { roles, appRole } = migration;
  const scope = context.name;
  const ofTenants = [commitFunctions, queryFunctions, projectionQueries, deadLetterFunctions, timerFunctions];
  const forTenants = ofTenants.flatMap((of) => of(scope));
  const ofRelay = [relayFunctions, logFunctions, projectionFunctions, timerRelayFunctions, retentionFunctions];
  const forRelay = ofRelay.flatMap((of) => of(scope));
  return [
    { scope, name: "tables", once: true, sql: contextTables(scope) },
    { scope, name: "counters", once: true, sql: counterTable(scope) },
    { scope, name: "log", once: true, sql: logIndex(scope) },
    { scope, name: "timers", once: true, sql: timerTable(scope) },
    { scope, name: "partitions", once: true, sql: partitions(scope) },
    { scope, name: "partitions written", once: true, sql: partitionsWritten(scope) },
    { scope, name: "retention", once: true, sql: retentionIndexes(scope) },
    { scope, name: "access", sql: [...contextAccess(scope, roles), ...logAccess(scope, roles)] },
    ...context.aggregates.flatMap(({ type, index }) =>
      index.map((field) => ({
        scope,
        name: `index ${type} ${indexColumn(field)}`,
        once: true,
        sql: indexField(scope, type, field),
      })),
    ),
    ...projectionSteps(context, roles).map((step) => ({ scope, ...step })),
    { scope, name: "functions", as: roles.owner, sql: installed(forTenants) },
    { scope, name: "relay functions", as: roles.relay, sql: installed(forRelay) },
    {
      scope,
      name: `schema for ${appRole}`,
      sql: [`GRANT USAGE ON SCHEMA ${contextSchema(scope)} TO ${quoteIdentifier(appRole)}`],
    },
    { scope, name: `functions for ${appRole}`, as: roles.owner, sql: [callable(forTenants, appRole)] },
    { scope, name: `relay functions for ${appRole}`, as: roles.relay, sql: [callable(forRelay, appRole)] },
    ...others(migration).flatMap((role) => [
      {
        scope,
        name: `schema for host role ${role}`,
        sql: [`GRANT USAGE ON SCHEMA ${contextSchema(scope)} TO ${quoteIdentifier(role)}`],
      },
      { scope, name: `functions for host role ${role}`, as: roles.owner, sql: [callable(forTenants, role)] },
    ]),
  ];
}

/** Which consumers have handled a message, over all contexts: a consumer's row is in the consumer's own context. */
function inboxOfAll(contexts: readonly string[], roles: Roles): readonly string[] {
  const selects = contexts.map((name) => `SELECT tenant, message_id, consumer FROM ${contextSchema(name)}.inbox`);
  return [
    `CREATE OR REPLACE VIEW armature.inbox WITH (security_invoker = true) AS\n${selects.join("\nUNION ALL\n")}`,
    "REVOKE ALL ON armature.inbox FROM PUBLIC",
    `GRANT SELECT ON armature.inbox TO ${quoteIdentifier(roles.relay)}`,
  ];
}

function fingerprintOf(step: Step): string {
  return createHash("sha256")
    .update(JSON.stringify([step.as, step.sql]))
    .digest("hex")
    .slice(0, 32);
}

function refusalOf(error: unknown): ArmatureError {
  // What a server says about a refused definition names roles and schemas and holds no row.
  if (sqlStateOf(error) === "42501" && error instanceof Error)
    return new MigrationRefused({
      reason: `${error.message} (migrating takes a role that may create schemas and roles)`,
    });
  return typedError(error, "armature", "migrate");
}
