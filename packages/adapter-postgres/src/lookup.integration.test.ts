import type { PoolClient } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dropAll, type FreshDatabase, freshDatabase, withoutServer } from "./fresh-database.ts";
import { partitionOf } from "./partitions-sql.ts";
import { postgres } from "./postgres.ts";

const ROWS = 5_000;
/** A scan of the tenant's rows reads hundreds of pages of 8 kB. */
const FEW = 50;

describe.skipIf(await withoutServer())("Among thousands of rows of one tenant", () => {
  let database: FreshDatabase;
  let client: PoolClient;

  beforeAll(async () => {
    database = await freshDatabase();
    const store = postgres({ pool: database.pool, rolePrefix: database.name });
    await store.migrate([
      {
        name: "orders",
        aggregates: [{ type: "order", index: ["status", "total"] }],
        projections: [{ name: "sums", index: ["spent"] }],
      },
    ]);
    await store.projections.write("orders", "sums", 0, { serving: 2, body: {} });
    const done = { projection: "sums", revision: 1, positions: { orders: 1 }, rows: [] };
    await store.projections.commit("orders", { ...done, generation: 2 });
    client = await database.pool.connect();
    // One row first, so that the connection could keep plans that suit a table of one row.
    for (const [from, to] of [
      [0, 1],
      [2, ROWS],
    ]) {
      await client.query(`
        INSERT INTO orders.aggregates (tenant, type, id, version, state_version, state, idx)
          SELECT 'acme', 'order', 'o' || to_char(n, 'FM00000'), 1, 1, jsonb_build_object('filler', repeat('x', 200)),
            jsonb_build_object('status', '4' || (n % 3), 'total', '4' || to_char(n, 'FM00000'))
          FROM generate_series(${from}, ${to}) AS n;
        INSERT INTO orders.events (tenant, id, type, aggregate_type, aggregate_id, aggregate_version, time, body)
          SELECT 'acme', 'evt_' || to_char(n, 'FM00000'), 'order.made', 'order', 'o' || to_char(n, 'FM00000'), 1, now(), '{}'
          FROM generate_series(${from}, ${to}) AS n;
        INSERT INTO orders.outbox (tenant, message_id, aggregate_id, partition)
          SELECT 'acme', 'evt_' || to_char(n, 'FM00000'), 'o' || to_char(n, 'FM00000'), ${partitionOf("'acme'", "'o' || to_char(n, 'FM00000')")}
          FROM generate_series(${from}, ${to}) AS n;
        INSERT INTO orders.inbox (tenant, message_id, consumer)
          SELECT 'acme', 'evt_' || to_char(n, 'FM00000'), 'orders.copy' FROM generate_series(${from}, ${to}) AS n;
        INSERT INTO orders.idempotency (tenant, key, input_hash, attempt, claimed_until, outcome)
          SELECT 'acme', 'orders.make ' || to_char(n, 'FM00000'), 'hash', 1, 0, '{"type":"result"}'
          FROM generate_series(${from}, ${to}) AS n;
        INSERT INTO orders.audit (tenant, id, time, actor_id, operation, outcome, body)
          SELECT 'acme', 'aud_' || to_char(n, 'FM00000'), now(), 'ann', 'orders.make', 'succeeded', '{}'
          FROM generate_series(${from}, ${to}) AS n;
        INSERT INTO orders.counters (tenant, key, shard, numbers)
          SELECT 'acme', 'usage/' || to_char(n, 'FM00000'), shard, '{"requests":1}'
          FROM generate_series(${from}, ${to}) AS n, generate_series(0, 7) AS shard;
        INSERT INTO orders.timers (tenant, key, due_at, command)
          SELECT 'acme', 'cmd_' || to_char(n, 'FM00000'), n, '{}' FROM generate_series(${from}, ${to}) AS n;
        INSERT INTO orders.executions (tenant, id, definition, version, started_at, due_at, worker, fence, length, ended_at)
          SELECT 'acme', 'exe_' || to_char(n, 'FM00000'), CASE WHEN n % 1000 = 2 THEN 'few' ELSE 'refund' END, 1, n,
            CASE n % 5 WHEN 1 THEN 1000000 + n WHEN 4 THEN n END, CASE n % 5 WHEN 2 THEN 'other' END, 1,
            CASE n WHEN 2502 THEN ${ROWS + 1} ELSE 0 END, CASE n % 5 WHEN 3 THEN 1000 + n END
          FROM generate_series(${from}, ${to}) AS n;
        INSERT INTO orders.execution_inputs (tenant, id, body)
          SELECT 'acme', 'exe_' || to_char(n, 'FM00000'), '{}' FROM generate_series(${from}, ${to}) AS n;
        INSERT INTO orders.execution_journal (tenant, id, number, entry)
          SELECT 'acme', 'exe_02502', n, '{}' FROM generate_series(${from}, ${to}) AS n;
        INSERT INTO orders.execution_workers VALUES ('other', 'infinity') ON CONFLICT DO NOTHING;
        INSERT INTO orders.projection_rows (tenant, projection, generation, id, body, idx)
          SELECT 'acme', 'sums', generation, 'r' || to_char(n, 'FM00000'), jsonb_build_object('filler', repeat('x', 200)),
            jsonb_build_object('spent', '4' || to_char(n, 'FM00000'))
          FROM generate_series(${from}, ${to}) AS n, generate_series(1, 2) AS generation;
        INSERT INTO orders.records (tenant, key, version, value)
          SELECT 'acme', 'key/' || to_char(n, 'FM00000'), 1, '{}' FROM generate_series(${from}, ${to}) AS n`);
      if (from === 0) for (let call = 0; call < 8; call += 1) await client.query(load);
    }
  }, 60_000);
  afterAll(async () => {
    client.release();
    await dropAll([database]);
  });

  const load = `SELECT orders.load('acme', '[{"type":"order","id":"o02500"}]')`;
  /** Pages that a statement reads, everything in its functions included. */
  const pagesRead = async (statement: string): Promise<number> => {
    await client.query("BEGIN");
    try {
      let pages = 0;
      // The first run also reads the catalogue and makes plans.
      for (let run = 0; run < 2; run += 1) {
        await client.query("SAVEPOINT run");
        const { rows } = await client.query(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${statement}`);
        const plan = rows[0]["QUERY PLAN"][0]["Plan"];
        pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];
        await client.query("ROLLBACK TO run");
      }
      return pages;
    } finally {
      await client.query("ROLLBACK");
    }
  };

  const commit = (change: object, counters?: readonly object[], timers?: readonly object[]) =>
    `SELECT orders.commit('acme', '${JSON.stringify({ aggregates: [change], events: [], messages: [], audit: [], counters, timers })}')`;
  const take = (limit: number, one: string, other = "none", ofAll = "{null,null}", ofTenant = "{null,null}") =>
    `SELECT orders.executions_take('me', 60000, null, 5000, ${limit}, '{${one},${other}}', '{1,1}', '${ofAll}', '${ofTenant}')`;
  const find = (query: object) =>
    `SELECT orders.find('acme', '${JSON.stringify({ type: "order", where: {}, ...query })}')`;

  const findRows = (query: object) =>
    `SELECT orders.find_rows('acme', '${JSON.stringify({ projection: "sums", where: {}, ...query })}')`;
  const batch = {
    ...{ generation: 2, revision: 1, before: { orders: 1 }, positions: { orders: 2 } },
    rows: [
      { tenant: "acme", id: "r02500", write: { row: {}, index: { spent: "49" } } },
      { tenant: "acme", id: "r02501" },
    ],
  };

  // Plans of these are kept, so they must be right whatever the server knows of the table.
  const unanalyzed: Readonly<Record<string, string>> = {
    "aggregates are loaded": load,
    "an aggregate is loaded": "SELECT orders.load_one('acme', 'order', 'o02500')",
    "aggregates are loaded for several": `SELECT armature.load_together('${JSON.stringify([
      { tenant: "acme", context: "orders", type: "order", id: "o02500" },
    ])}')`,
    "one aggregate is changed, and nothing else": `SELECT orders.commit('acme', '${JSON.stringify({
      context: "orders",
      only: {
        ...{ type: "order", id: "o02500", expectedVersion: 1, version: 2, stateVersion: 1, state: {} },
        index: { status: "40", total: "402500" },
      },
      event: {
        ...{ id: "evt_new", type: "order.made", aggregateType: "order", aggregateId: "o02500", aggregateVersion: 2 },
        ...{ time: "2026-01-01T00:00:00.000Z", body: {} },
      },
    })}')`,
    "an aggregate is changed": commit({
      type: "order",
      id: "o02500",
      expectedVersion: 1,
      write: { version: 2, stateVersion: 1, state: {}, index: { status: "40", total: "402500" } },
    }),
    "an aggregate that was only read is checked": commit({ type: "order", id: "o02500", expectedVersion: 1 }),
    "a record is read": `SELECT orders.record_get('acme', 'key/02500')`,
    "records are listed": `SELECT orders.record_list('acme', 'key/025', 'key/0250', 5)`,
    "a counter is added to": commit({ type: "order", id: "o02500", expectedVersion: 1 }, [
      { key: "usage/02500", numbers: { requests: 1 } },
    ]),
    "a page of counters is read": `SELECT orders.list_counters('acme', 'usage/025', 'usage/026', 'usage/0250', 3)`,
    "a timer is set and another one removed": commit({ type: "order", id: "o02500", expectedVersion: 1 }, undefined, [
      { step: "set", timer: { key: "cmd_02500", dueAt: 2_500, command: {} } },
      { step: "remove", key: "cmd_02501", required: false },
    ]),
    "a page of timers is listed": "SELECT orders.list_timers('acme', null, 2500, 'cmd_02500', false, 3)",
    "a timer is found by its key": "SELECT orders.list_timers('acme', 'cmd_02500', 0, '', false, 3)",
    "it is asked which timers are due": "SELECT orders.timers_due(3, 3)",
    "a timer is fired": `SELECT orders.timers_fire('[{"tenant":"acme","key":"cmd_02500","dueAt":2500,"id":"x","message":{"id":"x"}}]')`,
    "an execution is begun and another one hears of something": `SELECT orders.commit('acme', '${JSON.stringify({
      ...{ aggregates: [], events: [], messages: [], audit: [] },
      executions: [
        { step: "start", execution: { id: "exe_new", definition: "refund", version: 1, startedAt: 5, body: {} } },
        { step: "signal", id: "exe_02500", signal: { name: "paid", payload: {} } },
      ],
    })}')`,
    "a step of an execution is written down": `SELECT orders.executions_write('${JSON.stringify([
      { tenant: "acme", id: "exe_02502", fence: 1, length: ROWS + 1, entries: [{}] },
      { tenant: "acme", id: "exe_02507", fence: 1, length: 0, entries: [{}], ended: {}, endedAt: 5 },
      { tenant: "acme", id: "exe_02512", fence: 1, length: 0, entries: [{}], seen: 0, dueAt: 5 },
    ])}')`,
    "an execution is taken": take(1, "refund"),
    "no execution is due": take(3, "other", "refund without its version"),
    "a worker only says that it is alive": take(0, "refund"),
    "an execution of a definition that is limited is taken": take(1, "few", "refund", "{5,null}", "{null,null}"),
    "an execution is looked at": "SELECT orders.execution('acme', 'exe_02500')",
    "a page of a journal is read": "SELECT orders.list_journal('acme', 'exe_02502', 2500, 3)",
    "an execution's signals are read": "SELECT orders.executions_signals('acme', 'exe_02500')",
    "some executions are forgotten": "SELECT orders.executions_prune(2000, 3)",
    "a row of a projection is read": "SELECT orders.one_row('acme', 'sums', 'r02500')",
    "rows of a projection are looked for": `SELECT orders.projection_load('sums', 2, '[{"tenant":"acme","id":"r02500"},{"tenant":"acme","id":"x"}]')`,
    "a batch of a projection is committed": `SELECT orders.projection_commit('sums', '${JSON.stringify(batch)}')`,
    "some rows of a generation are dropped": "SELECT orders.projection_drop('sums', 1, 3)",
    "a page of the outbox is read": `SELECT orders.outbox_read('{7}', '{0}', '{-9223372036854775808}', 3, '{order.made}')`,
    "a page of the outbox is read on": `SELECT orders.outbox_read('{7}', '{0}', '{2500}', 3, null)`,
    "it is asked whether anything waits": "SELECT orders.outbox_size(ARRAY(SELECT generate_series(0, 63)), 1)",
    "an entry is removed from the outbox": `SELECT orders.outbox_settle('[[7,0]]', '{}', '{}', '{2500}', '{7}')`,
    "a failure is noted": `SELECT orders.outbox_failed('[[7,0]]', 2500, 'orders.copy', 1, 5)`,
    "there is nothing to prune": "SELECT orders.prune(3600000, 3, true)",
    "an event is parked": `SELECT orders.outbox_park('[[7,0]]', 2500,
      '{"tenant":"acme","messageId":"evt_02500","consumer":"orders.copy","aggregateType":"order","aggregateId":"o02500","body":{"attempts":8}}')`,
  };
  // These are planned for what is asked, with the statistics that autovacuum gathers.
  const analyzed: Readonly<Record<string, string>> = {
    "an aggregate is found by a field": find({ where: { total: "402500" }, limit: 1 }),
    "a page in the middle of a listing is turned to": find({ orderBy: "total", after: ["402500", "o02500"], limit: 5 }),
    "a page is turned backwards": find({ orderBy: "total", direction: "desc", after: ["402500", "o02500"], limit: 5 }),
    "a page by id is turned to": find({ after: ["", "o02500"], limit: 5 }),
    "a range is read": find({ range: { field: "total", gte: "402500", lt: "402505" }, limit: 9 }),
    "a row of a projection is found by a field": findRows({ where: { spent: "402500" }, limit: 1 }),
    "a page of a projection is turned to": findRows({ orderBy: "spent", after: ["402500", "r02500"], limit: 5 }),
    "a page of a projection by id is turned to": findRows({ after: ["", "r02500"], limit: 5 }),
    "an aggregate's history is read": `SELECT orders.list_events('acme', '{"aggregate":{"type":"order","id":"o02500"},"limit":5}')`,
    "a page of the timeline is turned to": `SELECT orders.list_events('acme', '{"after":"evt_02500","limit":5}')`,
    "a page of the audit is turned to": `SELECT orders.list_audit('acme', '{"after":"aud_02500","limit":5}')`,
  };
  for (const [what, statement] of Object.entries(unanalyzed))
    it(`only a few pages are read when ${what}`, async () => {
      // What prunes finds nothing here: without one of its indexes it would read some tens of pages.
      expect(await pagesRead(statement)).toBeLessThan(what.includes("prune") ? 10 : FEW);
    });

  describe("of which the server has statistics", () => {
    beforeAll(async () => {
      await client.query("ANALYZE");
    });
    for (const [what, statement] of Object.entries(analyzed))
      it(`only a few pages are read when ${what}`, async () => {
        expect(await pagesRead(statement)).toBeLessThan(FEW);
      });
  });

  it("what leaves the outbox waits for no disk", async () => {
    await client.query("BEGIN");
    await client.query("SELECT orders.outbox_settle('[[7,0]]', '{}', '{}', '{}', '{}')");
    expect((await client.query("SHOW synchronous_commit")).rows).toEqual([{ synchronous_commit: "off" }]);
    await client.query("ROLLBACK");
  });

  it("entries leave a long outbox by their keys", async () => {
    const removed = "SELECT orders.outbox_settle('[[7,0]]', $1, $2, $1, $2)";
    const named = Array.from({ length: 100 }, (_, index) => 30_000 + 20 * index);
    const values = [named, named.map(() => 7)];
    await client.query("DELETE FROM orders.outbox");
    await client.query("VACUUM orders.outbox");
    await client.query(removed, values);
    await client.query(`INSERT INTO orders.outbox (position, tenant, message_id, aggregate_id, partition)
      OVERRIDING SYSTEM VALUE SELECT n, 'acme', 'evt_' || n, 'o', 7 FROM generate_series(30000, 35000) AS n`);
    const { rows } = await client.query(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${removed}`, values);
    const plan = rows[0]["QUERY PLAN"][0]["Plan"];
    // Each is looked up twice, marked as published and removed; the whole outbox has some sixty pages.
    expect(plan["Shared Hit Blocks"] / named.length).toBeLessThan(20);
    const left = await client.query("SELECT count(*)::int AS waiting FROM orders.outbox");
    expect(left.rows).toEqual([{ waiting: 4901 }]);
  });

  it("a scan would have been noticed", async () => {
    expect(await pagesRead("SELECT count(*) FROM orders.aggregates WHERE state ? 'none'")).toBeGreaterThan(2 * FEW);
    expect(await pagesRead("SELECT count(*) FROM orders.audit WHERE body ? 'none'")).toBeGreaterThan(FEW);
  });

  it("a plan is never compiled: for one page of a long table that takes far longer than reading it", async () => {
    const { rows } = await client.query(`
      SELECT p.oid::regprocedure::text AS name, coalesce(proconfig, '{}') AS settings FROM pg_proc AS p
        WHERE prosecdef AND pronamespace::regnamespace::text IN ('orders', 'armature')`);
    expect(rows.length).toBeGreaterThan(20);
    for (const { name, settings } of rows) expect(settings, name).toContain("jit=off");
  });
});
