import type { StoreAdapter, StoredContext } from "@armature/core";
import type { Pool, PoolClient } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dropAll, type FreshDatabase, freshDatabase, withoutServer } from "./fresh-database.ts";
import { postgres } from "./postgres.ts";

const contexts: readonly StoredContext[] = [
  { name: "orders", aggregates: [{ type: "order", index: ["status"] }] },
  { name: "billing", aggregates: [{ type: "invoice", index: [] }] },
];
const tables = [
  "aggregates",
  "audit",
  "counters",
  "dead_letters",
  "events",
  "execution_inputs",
  "execution_journal",
  "execution_signals",
  "executions",
  "failures",
  "idempotency",
  "inbox",
  "outbox",
  "projection_rows",
  "records",
  "timers",
];
/** They say how far projections have come, and who is at work, over all tenants, and hold nothing of any. */
const tablesOfNoTenant = ["execution_workers", "relay_claims", "relay_members", "projection_positions", "projections"];

describe.skipIf(await withoutServer())("Row-level security on PostgreSQL", () => {
  let database: FreshDatabase;
  let app: Pool;
  let store: StoreAdapter;
  let owner: string;
  let relay: string;

  beforeAll(async () => {
    database = await freshDatabase();
    owner = `${database.name}_owner`;
    relay = `${database.name}_relay`;
    await database.pool.query(`CREATE ROLE "${database.name}_app" LOGIN`);
    app = database.poolAs(`${database.name}_app`);
    store = postgres({ pool: app, migrationPool: database.pool, rolePrefix: database.name });
    await store.migrate(contexts);
    for (const tenant of ["acme", "other"]) await fill(store, tenant);
  });
  afterAll(() => dropAll([database]));

  /** Runs statements in one transaction that is rolled back; the answers of those that were allowed. */
  const inTransaction = async <T>(pool: Pool, run: (client: PoolClient) => Promise<T>): Promise<T> => {
    const client = await pool.connect();
    try {
      await client.query("BEGIN");
      return await run(client);
    } finally {
      await client.query("ROLLBACK");
      client.release();
    }
  };
  const tenantsSeen = async (client: PoolClient, table: string) =>
    (await client.query(`SELECT DISTINCT tenant FROM ${table} ORDER BY 1`)).rows.map(({ tenant }) => tenant);
  const everyTable = contexts.flatMap(({ name }) => tables.map((table) => `${name}.${table}`));
  const ofNoTenant = contexts.flatMap(({ name }) => tablesOfNoTenant.map((table) => `${name}.${table}`));

  it("lets the application's role reach no table, not even its own tenant's rows", async () => {
    await expect(app.query("SELECT * FROM armature.inbox")).rejects.toMatchObject({ code: "42501" });
    for (const table of [...everyTable, ...ofNoTenant, "armature.leases"])
      for (const statement of [
        `SELECT * FROM ${table}`,
        `DELETE FROM ${table}`,
        `TRUNCATE ${table}`,
        `INSERT INTO ${table} DEFAULT VALUES`,
      ])
        await inTransaction(app, async (client) => {
          await client.query("SELECT set_config('armature.tenant', 'acme', true)");
          await expect(client.query(statement), statement).rejects.toMatchObject({ code: "42501" });
        });
  });

  it("lets the application become neither of the roles that own the functions", async () => {
    for (const role of [owner, relay])
      await expect(app.query(`SET ROLE "${role}"`)).rejects.toMatchObject({ code: "42501" });
  });

  it("keeps to itself the functions that trust their caller", async () => {
    for (const name of ["guard", "write", "write_timers", "write_executions"])
      await expect(app.query(`SELECT orders.${name}('acme', '{}')`)).rejects.toMatchObject({ code: "42501" });
  });

  it("shows the functions' owner nothing without a tenant, and then only that one's rows", async () => {
    await inTransaction(database.pool, async (client) => {
      await client.query(`SET LOCAL ROLE "${owner}"`);
      const readable = everyTable.filter((table) => !/outbox|failures|execution_(inputs|signals)/.test(table));
      for (const table of readable) expect(await tenantsSeen(client, table), table).toEqual([]);
      for (const tenant of ["acme", "other", "nobody", ""]) {
        await client.query("SELECT set_config('armature.tenant', $1, true)", [tenant]);
        const expected = ["acme", "other"].includes(tenant) ? [tenant] : [];
        for (const table of readable)
          if (table.startsWith("orders.") && !table.endsWith("dead_letters"))
            expect(await tenantsSeen(client, table), `${table} as "${tenant}"`).toEqual(expected);
      }
    });
  });

  it("lets the functions' owner write no row of another tenant", async () => {
    const insert = "INSERT INTO orders.inbox (tenant, message_id, consumer) VALUES ('other', 'm', 'c')";
    for (const tenant of ["acme", ""])
      await inTransaction(database.pool, async (client) => {
        await client.query(`SET LOCAL ROLE "${owner}"`);
        await client.query("SELECT set_config('armature.tenant', $1, true)", [tenant]);
        await expect(client.query(insert)).rejects.toMatchObject({ code: "42501" });
      });
  });

  it("lets the functions' owner see which rows of a projection are read, and write neither those nor anything of it", async () => {
    await inTransaction(database.pool, async (client) => {
      await client.query(`SET LOCAL ROLE "${owner}"`);
      expect((await client.query("SELECT name FROM orders.projections")).rows).toEqual([{ name: "same" }]);
    });
    for (const statement of [
      "SELECT * FROM orders.projection_positions",
      "UPDATE orders.projections SET serving = 2",
      "DELETE FROM orders.projection_rows",
      "INSERT INTO orders.projection_rows VALUES ('acme', 'same', 1, 'x', '{}', '{}')",
    ])
      await inTransaction(database.pool, async (client) => {
        await client.query(`SET LOCAL ROLE "${owner}"`);
        await client.query("SELECT set_config('armature.tenant', 'acme', true)");
        await expect(client.query(statement), statement).rejects.toMatchObject({ code: "42501" });
      });
  });

  it("lets the relay see every tenant's outbox, and no state, audit, key or record", async () => {
    await inTransaction(database.pool, async (client) => {
      await client.query(`SET LOCAL ROLE "${relay}"`);
      for (const table of ["outbox", "events", "inbox", "projection_rows", "timers", "executions", "execution_journal"])
        expect(await tenantsSeen(client, `orders.${table}`)).toEqual(["acme", "other"]);
    });
    for (const table of ["aggregates", "audit", "counters", "idempotency", "records"])
      await inTransaction(database.pool, async (client) => {
        await client.query(`SET LOCAL ROLE "${relay}"`);
        await expect(client.query(`SELECT * FROM orders.${table}`)).rejects.toMatchObject({ code: "42501" });
      });
    for (const statement of [
      "UPDATE orders.events SET type = 'x'",
      "UPDATE orders.inbox SET consumer = 'x'",
      "SELECT outcome FROM orders.idempotency",
      "SELECT input_hash FROM orders.idempotency",
      "DELETE FROM orders.events",
      "UPDATE orders.execution_journal SET number = 9",
      "UPDATE orders.execution_inputs SET id = 'x'",
      "INSERT INTO orders.execution_signals VALUES ('acme', 'same', 'x', 1, '{}')",
    ])
      await inTransaction(database.pool, async (client) => {
        await client.query(`SET LOCAL ROLE "${relay}"`);
        await expect(client.query(statement)).rejects.toMatchObject({ code: "42501" });
      });
  });

  it("forgets the tenant when a function returns, inside the caller's transaction too", async () => {
    const calls = [
      `SELECT orders.load('acme', '[{"type":"order","id":"order-acme"}]')`,
      `SELECT orders.find('acme', '{"type":"order","where":{},"limit":1}')`,
      `SELECT orders.commit('acme', '{"aggregates":[],"events":[],"messages":[],"audit":[]}')`,
      `SELECT armature.commit('acme', '[{"context":"orders","aggregates":[],"events":[],"messages":[],"audit":[]}]')`,
      `SELECT orders.record_get('acme', 'key')`,
      `SELECT orders.list_counters('acme', '', 'z', '', 5)`,
      `SELECT orders.find_rows('acme', '{"projection":"same","where":{},"limit":1}')`,
      `SELECT orders.one_row('acme', 'same', 'row')`,
      `SELECT orders.list_timers('acme', null, 0, '', false, 5)`,
      `SELECT orders.execution('acme', 'same')`,
      `SELECT orders.list_journal('acme', 'same', 0, 5)`,
    ];
    for (const call of calls) {
      await inTransaction(app, async (client) => {
        const [answers = {}] = (await client.query(call)).rows as Record<string, string>[];
        const [answer] = Object.values(answers);
        if (!call.includes("commit")) expect(answer).toContain(call.includes("counters") ? '"of" : 1' : "acme");
        expect((await client.query("SELECT current_setting('armature.tenant', true) AS tenant")).rows).toEqual([
          { tenant: "" },
        ]);
      });
      const setting = await inTransaction(app, async (client) => {
        await client.query("COMMIT");
        return (await client.query("SELECT coalesce(current_setting('armature.tenant', true), '') AS tenant")).rows;
      });
      expect(setting).toEqual([{ tenant: "" }]);
    }
  });

  it("forgets the tenant when a function fails", async () => {
    await inTransaction(app, async (client) => {
      const stale = { type: "order", id: "order-acme", expectedVersion: 9 };
      const part = JSON.stringify({ aggregates: [stale], events: [], messages: [], audit: [] });
      await client.query("SAVEPOINT before");
      await expect(client.query("SELECT orders.commit('acme', $1)", [part])).rejects.toMatchObject({ code: "RM001" });
      await client.query("ROLLBACK TO before");
      const { rows } = await client.query("SELECT coalesce(current_setting('armature.tenant', true), '') AS tenant");
      expect(rows).toEqual([{ tenant: "" }]);
    });
  });

  it("takes part in the caller's transaction: what is rolled back was never there", async () => {
    await inTransaction(app, async (client) => {
      const made = {
        aggregates: [
          {
            type: "order",
            id: "gone",
            expectedVersion: 0,
            write: { version: 1, stateVersion: 1, state: {}, index: {} },
          },
        ],
        events: [],
        messages: [],
        audit: [],
      };
      await client.query("SELECT orders.commit('acme', $1)", [JSON.stringify(made)]);
    });
    expect(await store.load({ tenant: "acme", context: "orders" }, [{ type: "order", id: "gone" }])).toEqual([
      undefined,
    ]);
  });

  it("is forced on every table of every context, with a policy and no right for PUBLIC", async () => {
    const { rows } = await database.pool.query(`
      SELECT relnamespace::regnamespace::text || '.' || relname AS name, relrowsecurity, relforcerowsecurity,
        EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid AND polname = 'tenant') AS has_policy,
        EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee = 0) AS public_right,
        (SELECT bool_and(starts.attname = 'tenant' OR relname = 'outbox') FROM pg_index AS i
          JOIN pg_attribute AS starts ON starts.attrelid = i.indrelid AND starts.attnum = i.indkey[0]
          WHERE i.indrelid = c.oid AND i.indisunique) AS keyed_by_tenant
      FROM pg_class AS c
      WHERE relkind IN ('r', 'p') AND relnamespace::regnamespace::text IN ('orders', 'billing') ORDER BY 1`);
    expect(rows.map(({ name }) => name)).toEqual([...everyTable, ...ofNoTenant].sort());
    for (const { name, ...rest } of rows)
      expect(rest, name).toEqual({
        relrowsecurity: true,
        relforcerowsecurity: true,
        has_policy: everyTable.includes(name),
        public_right: false,
        keyed_by_tenant: everyTable.includes(name),
      });
  });

  it("lets PUBLIC run none of the functions, and gives those that run with other rights a fixed search path", async () => {
    const { rows } = await database.pool.query(`
      SELECT p.oid::regprocedure::text AS name, prosecdef, coalesce(proconfig, '{}') AS settings,
        pg_get_userbyid(proowner) AS owner,
        EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0) AS public_right
      FROM pg_proc AS p WHERE pronamespace::regnamespace::text IN ('orders', 'billing', 'armature') ORDER BY 1`);
    expect(rows.length).toBeGreaterThan(40);
    for (const { name, prosecdef, settings, owner: has, public_right: open } of rows) {
      expect(open, name).toBe(false);
      expect([owner, relay], name).toContain(has);
      if (prosecdef) expect(settings, name).toContain("search_path=pg_catalog, pg_temp");
    }
  });

  it("is bound to roles that can neither log in nor step over it, and that own no table", async () => {
    const { rows } = await database.pool.query(
      `SELECT rolcanlogin, rolsuper, rolbypassrls, (SELECT count(*)::int FROM pg_class WHERE relowner = r.oid) AS owns
       FROM pg_roles AS r WHERE rolname = ANY ($1)`,
      [[owner, relay]],
    );
    expect(rows).toEqual([
      { rolcanlogin: false, rolsuper: false, rolbypassrls: false, owns: 0 },
      { rolcanlogin: false, rolsuper: false, rolbypassrls: false, owns: 0 },
    ]);
  });
});

/** A row in every table that a commit and a record write. */
async function fill(store: StoreAdapter, tenant: string): Promise<void> {
  const time = "2026-01-02T03:04:05.678Z";
  const actor = { type: "user", id: "ann" } as const;
  const traced = { correlationId: "c", causationId: "c", traceparent: "t" };
  const id = `order-${tenant}`;
  const sent = { ...traced, id: "cmd_same", context: "orders", operation: "orders.make", input: {}, time, actor };
  await store.commit(tenant, {
    parts: [
      {
        context: "orders",
        aggregates: [
          {
            type: "order",
            id,
            expectedVersion: 0,
            write: { version: 1, stateVersion: 1, state: { tenant }, index: { status: "4open" } },
          },
        ],
        events: [
          {
            ...traced,
            id: "evt_same",
            tenant,
            context: "orders",
            type: "order.made",
            version: 1,
            aggregateType: "order",
            aggregateId: id,
            aggregateVersion: 1,
            time,
            data: {},
            actor,
          },
        ],
        messages: [],
        executions: [
          {
            step: "start",
            execution: {
              ...traced,
              ...{ id: "same", definition: tenant, version: 1, input: {}, startedAt: 1 },
              principal: { tenant, actor },
            },
          },
          { step: "signal", id: "same", signal: { name: "same", payload: tenant } },
        ],
        timers: [{ step: "set", timer: { key: "cmd_same", dueAt: 1, command: { ...sent, tenant } } }],
        audit: [
          {
            id: "aud_same",
            tenant,
            context: "orders",
            time,
            actor,
            operation: "orders.make",
            outcome: "succeeded",
            input: {},
            correlationId: "c",
            traceId: "t",
          },
        ],
        idempotency: { step: "claim", key: "same", inputHash: "h", attempt: 1, claimedUntil: 1 },
        inbox: { consumer: "orders.same", messageId: "msg_same" },
        counters: [{ key: "same", numbers: { of: 1 } }],
      },
    ],
  });
  const request = { worker: tenant, ttlMs: 60_000, now: 1, limit: 1, definitions: [{ name: tenant, versions: [1] }] };
  const [taken] = (await store.executions.take("orders", request)).executions;
  const outcome = { type: "value", value: tenant } as const;
  const entry = { position: 0, kind: "activity", name: "same", at: 1, outcome } as const;
  await store.executions.write("orders", [{ ...taken!, length: 0, entries: [entry] }]);
  await store.records.put({ tenant, context: "orders" }, "key", { tenant }, 0);
  await store.projections.write("orders", "same", 0, { serving: 1, body: {} });
  const before = (await store.projections.read("orders", "same"))?.positions[1];
  await store.projections.commit("orders", {
    ...{ projection: "same", generation: 1, revision: 1, positions: { orders: (before?.["orders"] ?? 0) + 1 } },
    ...(before === undefined ? {} : { before }),
    rows: [{ tenant, id: "row", write: { row: { tenant }, index: {} } }],
  });
}
