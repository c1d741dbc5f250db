import type { SentCommand, StoredContext } from "@armature/core";
import { PGlite } from "@electric-sql/pglite";
import { createPgConfig } from "@electric-sql/pglite/node-postgres";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { QueryConfig } from "./database.ts";
import { dropAll, type FreshDatabase, freshDatabase, withoutServer } from "./fresh-database.ts";
import { postgres } from "./postgres.ts";

const orders: StoredContext = { name: "orders", aggregates: [{ type: "order", index: ["status"] }] };
const billing: StoredContext = { name: "billing", aggregates: [{ type: "invoice", index: [] }] };

const saved = (context: string, type: string, id: string, index: Record<string, string> = {}) => ({
  context,
  aggregates: [{ type, id, expectedVersion: 0, write: { version: 1, stateVersion: 1, state: { id }, index } }],
  events: [],
  messages: [],
  audit: [],
});
const sentCommand: SentCommand = {
  ...{ id: "cmd_1", tenant: "acme", context: "orders", operation: "orders.make", input: {} },
  ...{ time: "2026-01-02T03:04:05.678Z", actor: { type: "user", id: "ann" } },
  ...{ correlationId: "c", causationId: "c", traceparent: "t" },
};
const acme = (context: string) => ({ tenant: "acme", context });

describe.skipIf(await withoutServer())("Migrating a PostgreSQL server", () => {
  const opened: FreshDatabase[] = [];
  const fresh = async (options?: Parameters<typeof freshDatabase>[0]) => {
    const database = await freshDatabase(options);
    opened.push(database);
    return database;
  };
  afterAll(() => dropAll(opened));
  const storeOn = ({ pool, name }: FreshDatabase) => postgres({ pool, rolePrefix: name });
  /** Every definition with the transaction that wrote it last. */
  const definitions = async ({ pool }: FreshDatabase) =>
    (
      await pool.query(`
        SELECT 'relation ' || oid::regclass AS what, xmin::text FROM pg_class WHERE relnamespace::regnamespace::text IN ('armature', 'orders', 'billing')
        UNION ALL SELECT 'function ' || oid::regprocedure, xmin::text FROM pg_proc WHERE pronamespace::regnamespace::text IN ('armature', 'orders', 'billing')
        UNION ALL SELECT 'step ' || scope || ' ' || name, xmin::text FROM armature.migrations
        ORDER BY 1`)
    ).rows as { what: string; xmin: string }[];

  it("makes everything from nothing, and changes nothing the second time", async () => {
    const database = await fresh();
    await storeOn(database).migrate([orders, billing]);
    const first = await definitions(database);
    expect(first.map(({ what }) => what)).toEqual(
      expect.arrayContaining(["relation orders.events", "relation billing.outbox", "step orders functions"]),
    );
    await storeOn(database).migrate([billing, orders]);
    await storeOn(database).migrate([orders]);
    expect(await definitions(database)).toEqual(first);
  });

  it("lets many processes start at once", async () => {
    const database = await fresh();
    await Promise.all(Array.from({ length: 8 }, () => storeOn(database).migrate([orders, billing])));
    const result = await storeOn(database).commit("acme", {
      parts: [saved("orders", "order", "a"), saved("billing", "invoice", "b")],
    });
    expect(result).toEqual({ status: "committed" });
  });

  it("sees what another migration has made while it waited for its turn", async () => {
    const database = await fresh();
    const first = await database.pool.connect();
    await first.query("BEGIN");
    await first.query("SELECT pg_advisory_xact_lock(hashtextextended('armature.migrate', 0))");
    const waiting = storeOn(database).migrate([orders]);
    await vi.waitFor(async () => {
      const locks = "SELECT FROM pg_locks JOIN pg_database ON database = pg_database.oid";
      const held = `${locks} WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted`;
      expect((await first.query(held)).rowCount).toBe(1);
    });
    const inTurn = { connect: async () => ({ query: (config: QueryConfig) => first.query(config), release() {} }) };
    await postgres({ pool: inTurn, rolePrefix: database.name }).migrate([orders]);
    await waiting;
    first.release();
    expect(await storeOn(database).commit("acme", { parts: [saved("orders", "order", "a")] })).toEqual({
      status: "committed",
    });
  });

  it("lets several databases of one server share their roles, also when they start at once", async () => {
    const databases = await Promise.all([fresh(), fresh(), fresh()]);
    const rolePrefix = databases[0]!.name;
    await Promise.all(databases.map(({ pool }) => postgres({ pool, rolePrefix }).migrate([orders])));
    for (const { pool } of databases)
      expect(await postgres({ pool, rolePrefix }).commit("acme", { parts: [saved("orders", "order", "a")] })).toEqual({
        status: "committed",
      });
  });

  it("adds a context and an index field to a database that is in use", async () => {
    const database = await fresh();
    const store = storeOn(database);
    await store.migrate([orders]);
    await store.commit("acme", { parts: [saved("orders", "order", "old", { status: "4open" })] });

    await store.migrate([{ name: "orders", aggregates: [{ type: "order", index: ["status", "total"] }] }, billing]);
    await store.commit("acme", {
      parts: [saved("orders", "order", "new", { status: "4open", total: "3x" }), saved("billing", "invoice", "i", {})],
    });
    const found = async (query: object) =>
      (await store.find(acme("orders"), { type: "order", limit: 10, ...query })).items.map(({ id }) => id);
    expect(await found({ where: { status: "4open" } })).toEqual(["new", "old"]);
    expect(await found({ where: { total: "3x" } })).toEqual(["new"]);
    // What was stored before the field was declared has no value for it, and sorts first.
    expect(await found({ orderBy: "total" })).toEqual(["old", "new"]);
    expect(await store.load(acme("billing"), [{ type: "invoice", id: "i" }])).toMatchObject([{ version: 1 }]);
  });

  it("brings counters to a database from before there were any", async () => {
    const database = await fresh();
    const store = storeOn(database);
    await store.migrate([orders]);
    await store.commit("acme", { parts: [saved("orders", "order", "old")] });
    // As the first version has left it: without the table, and with other functions.
    await database.pool.query(`DROP TABLE orders.counters; DROP FUNCTION orders.list_counters;
      DELETE FROM armature.migrations WHERE name = 'counters';
      UPDATE armature.migrations SET version = 1, fingerprint = 'first'`);
    expect(await store.pendingMigration?.([orders])).toContain("orders: counters");

    await store.migrate([orders]);
    const counters = [{ key: "k", numbers: { n: 1 } }];
    await store.commit("acme", { parts: [{ ...saved("orders", "order", "new"), counters }] });
    expect(await store.counters(acme("orders"), { gte: "a", lt: "z", limit: 5 })).toEqual({ items: counters });
    expect(await store.load(acme("orders"), [{ type: "order", id: "old" }])).toMatchObject([{ version: 1 }]);
  });

  it("brings timers to a database from before there were any", async () => {
    const database = await fresh();
    const store = storeOn(database);
    await store.migrate([orders]);
    await store.commit("acme", { parts: [saved("orders", "order", "old")] });
    // As the third version has left it: without the table, and with other functions.
    await database.pool.query(`DROP TABLE orders.timers; DROP FUNCTION orders.list_timers, orders.timers_due,
        orders.timers_fire, orders.write_timers;
      DELETE FROM armature.migrations WHERE name = 'timers';
      UPDATE armature.migrations SET version = 3, fingerprint = 'third'`);
    expect(await store.pendingMigration?.([orders])).toContain("orders: timers");

    await store.migrate([orders]);
    const timer = { key: "k", dueAt: 5, command: sentCommand };
    await store.commit("acme", {
      parts: [{ ...saved("orders", "order", "new"), timers: [{ step: "set", timer }] }],
    });
    expect(await store.timers.due("orders", { now: 5, limit: 5 })).toEqual({ timers: [timer], nextAt: undefined });
    expect(await store.timers.fire("orders", [{ timer, message: timer.command }])).toBe(1);
    expect(await store.load(acme("orders"), [{ type: "order", id: "old" }])).toMatchObject([{ version: 1 }]);
  });

  it("brings durable executions to a database from before there were any", async () => {
    const database = await fresh();
    const store = storeOn(database);
    await store.migrate([orders]);
    await store.commit("acme", { parts: [saved("orders", "order", "old")] });
    // As the tenth version has left it: without the tables, and with other functions.
    await database.pool.query(`DROP TABLE orders.executions, orders.execution_inputs, orders.execution_journal,
        orders.execution_signals, orders.execution_workers;
      DROP FUNCTION orders.write_executions, orders.execution, orders.list_journal, orders.executions_take,
        orders.executions_write, orders.executions_leave, orders.executions_signals, orders.executions_prune;
      DELETE FROM armature.migrations WHERE name = 'executions';
      UPDATE armature.migrations SET version = 10, fingerprint = 'tenth'`);
    expect(await store.pendingMigration?.([orders])).toContain("orders: executions");

    await store.migrate([orders]);
    const { id: correlationId, actor, traceparent } = sentCommand;
    const execution = {
      ...{ id: "e", definition: "refund", version: 1, input: {}, startedAt: 5, traceparent },
      ...{ principal: { tenant: "acme", actor }, correlationId, causationId: correlationId },
    };
    await store.commit("acme", {
      parts: [{ ...saved("orders", "order", "new"), executions: [{ step: "start", execution }] }],
    });
    const definitions = [{ name: "refund", versions: [1] }];
    const request = { worker: "w", ttlMs: 60_000, now: 5, limit: 5, definitions };
    expect((await store.executions.take("orders", request)).executions).toMatchObject([execution]);
    expect(await store.load(acme("orders"), [{ type: "order", id: "old" }])).toMatchObject([{ version: 1 }]);
  });

  it("leaves alone what newer code has migrated", async () => {
    const database = await fresh();
    await storeOn(database).migrate([orders]);
    await database.pool.query("UPDATE armature.migrations SET version = version + 1, fingerprint = 'newer'");
    const before = await definitions(database);
    await storeOn(database).migrate([orders]);
    expect(await definitions(database)).toEqual(before);
  });

  it("works for a role that is no superuser but owns the database and may create roles", async () => {
    const database = await fresh({ owner: (name) => `${name}_host` });
    const host = `${database.name}_host`;
    const app = `${database.name}_app`;
    await database.pool.query(`CREATE ROLE "${app}" LOGIN`);
    const store = postgres({
      pool: database.poolAs(app),
      migrationPool: database.poolAs(host),
      rolePrefix: database.name,
    });
    await store.migrate([orders]);
    await store.migrate([orders, billing]);
    expect(
      await store.commit("acme", { parts: [saved("orders", "order", "a"), saved("billing", "invoice", "b")] }),
    ).toEqual({ status: "committed" });
    expect(await store.lease.acquire("key", 1_000)).toMatchObject({ key: "key", fence: 1 });
    await store.outbox.size("orders");

    // What it borrowed for the migration is given back.
    const { rows } = await database.pool.query(
      `SELECT role, pg_has_role('${host}', role, 'MEMBER') AS member, has_schema_privilege(role, 'orders', 'CREATE') AS creates
       FROM unnest(ARRAY['${database.name}_owner', '${database.name}_relay']) AS role`,
    );
    expect(rows.map(({ member, creates }) => [member, creates])).toEqual([
      [false, false],
      [false, false],
    ]);
    // A process that may not migrate can find out that nothing is missing.
    await postgres({ pool: database.poolAs(app), rolePrefix: database.name }).migrate([orders, billing]);
  });

  it("is refused with a reason for a role that may not", async () => {
    const database = await fresh();
    const role = `${database.name}_nobody`;
    await database.pool.query(`CREATE ROLE "${role}" LOGIN`);
    const store = postgres({ pool: database.poolAs(role), rolePrefix: database.name });
    await expect(store.migrate([orders])).rejects.toMatchObject({
      code: "store.migration_refused",
      message: expect.stringContaining("permission denied"),
    });
  });

  it("is refused on a database that cannot hold every text", async () => {
    const database = await fresh({ clause: "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0" });
    await expect(storeOn(database).migrate([orders])).rejects.toMatchObject({
      code: "store.migration_refused",
      message: "The database cannot be migrated: its encoding is LATIN1 and has to be UTF8.",
    });
  });

  it("is refused when the role that its functions should have could step over row-level security", async () => {
    const database = await fresh();
    await database.pool.query(`CREATE ROLE "${database.name}_owner" BYPASSRLS`);
    await expect(storeOn(database).migrate([orders])).rejects.toMatchObject({ code: "store.migration_refused" });
    expect((await database.pool.query("SELECT to_regclass('orders.events') AS found")).rows).toEqual([{ found: null }]);
  });

  it("is what calls ask for when a context is missing", async () => {
    const database = await fresh();
    const store = storeOn(database);
    await expect(store.load(acme("orders"), [])).rejects.toMatchObject({
      code: "store.not_migrated",
      message: expect.stringContaining('"orders"'),
    });
    await store.migrate([orders]);
    await expect(
      store.commit("acme", { parts: [saved("orders", "order", "a"), saved("billing", "invoice", "b")] }),
    ).rejects.toMatchObject({ code: "store.not_migrated" });
    await expect(
      store.find(acme("orders"), { type: "order", limit: 1, where: { colour: "4red" } }),
    ).rejects.toMatchObject({ code: "store.not_migrated" });
    expect(await store.load(acme("orders"), [{ type: "order", id: "a" }])).toEqual([undefined]);
  });

  it("refuses names that belong to PostgreSQL or to Armature", async () => {
    const store = postgres({ pool: { connect: () => Promise.reject(new Error("not asked")) }, appRole: "app" });
    for (const name of ["public", "information_schema", "armature", "pg_catalog", "pg_temp", 'a"b', "Orders", ""]) {
      await expect(store.load({ tenant: "acme", context: name }, [])).rejects.toThrow(TypeError);
      await expect(store.commit("acme", { parts: [saved(name, "a", "b")] })).rejects.toThrow(TypeError);
    }
  });

  it("gives index fields columns that row-level security lets PostgreSQL look up by", async () => {
    const database = await fresh();
    await storeOn(database).migrate([orders]);
    const client = await database.pool.connect();
    try {
      await client.query(`BEGIN; SET LOCAL ROLE "${database.name}_owner"; SET LOCAL enable_seqscan = off`);
      await client.query("SELECT set_config('armature.tenant', 'acme', true)");
      const { rows } = await client.query(
        `EXPLAIN SELECT id FROM orders.aggregates WHERE tenant = 'acme' AND type = 'order'
         AND (ix_status, id) > ('4a', 'x') ORDER BY ix_status, id LIMIT 5`,
      );
      const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
      expect(plan).toMatch(/Index Cond: .*ROW\(ix_status, id\) > ROW/);
      expect(plan).not.toMatch(/Sort/);
    } finally {
      await client.query("ROLLBACK");
      client.release();
    }
  });
});

describe("Migrating PGlite as a role that is no superuser (PostgreSQL 18)", () => {
  let db: PGlite;
  let pool: Pool;
  beforeAll(async () => {
    db = await PGlite.create();
    await db.exec(`CREATE ROLE host LOGIN CREATEROLE; GRANT CREATE ON DATABASE postgres TO host;
      SET SESSION AUTHORIZATION host`);
    pool = new Pool({ ...createPgConfig(db), max: 1, idleTimeoutMillis: 0 });
  });
  afterAll(async () => {
    await pool.end();
    await db.close();
  });

  it("makes everything, adds to it, and gives back what it borrowed", async () => {
    const store = postgres({ pool });
    await store.migrate([orders]);
    await store.migrate([orders, billing]);
    expect(
      await store.commit("acme", { parts: [saved("orders", "order", "a"), saved("billing", "invoice", "b")] }),
    ).toEqual({ status: "committed" });
    const { rows } = await pool.query(
      "SELECT pg_has_role('host', role, 'SET') AS can FROM unnest(ARRAY['armature_owner', 'armature_relay']) AS role",
    );
    expect(rows).toEqual([{ can: false }, { can: false }]);
    // Row-level security binds the owner of the tables as well.
    expect((await pool.query("SELECT count(*)::int AS seen FROM orders.aggregates")).rows).toEqual([{ seen: 0 }]);
  });
});
