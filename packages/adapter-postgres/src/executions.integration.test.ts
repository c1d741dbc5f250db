import { randomInt } from "node:crypto";
import type { ExecutionChange, ExecutionWrite, NewExecution, StoreAdapter, TakenExecution } from "@armature/core";
import type { PoolClient } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dropAll, type FreshDatabase, freshDatabase, withoutServer } from "./fresh-database.ts";
import { postgres } from "./postgres.ts";

const entry = { position: 0, kind: "activity", name: "charge", at: 1, outcome: { type: "value", value: 1 } } as const;
const acme = { tenant: "acme", context: "orders" };

describe.skipIf(await withoutServer())("Durable executions on a PostgreSQL server", () => {
  let database: FreshDatabase;
  let store: StoreAdapter;
  beforeAll(async () => {
    database = await freshDatabase();
    // A deadlock is to be seen as one, not resolved in silence.
    await database.pool.query(`ALTER DATABASE "${database.name}" SET deadlock_timeout = '10min'`);
    await database.pool.query(`ALTER DATABASE "${database.name}" SET lock_timeout = '5s'`);
    store = postgres({ pool: database.poolAs(), rolePrefix: database.name });
    await store.migrate([{ name: "orders", aggregates: [{ type: "order", index: [] }] }]);
  });
  afterAll(() => dropAll([database]));

  const begun = (id: string, definition: string): NewExecution => ({
    ...{ id, definition, version: 1, input: {}, startedAt: 1, correlationId: "c", causationId: "c", traceparent: "t" },
    principal: { tenant: "acme", actor: { type: "user", id: "ann" } },
  });
  const part = (executions: readonly ExecutionChange[]) => ({
    ...{ context: "orders", aggregates: [], events: [], messages: [], audit: [], executions },
  });
  const commit = (executions: readonly ExecutionChange[]) => store.commit("acme", { parts: [part(executions)] });
  const take = async (worker: string, definition: string, ttlMs = 60_000) => {
    const definitions = [{ name: definition, versions: [1] }];
    return (await store.executions.take("orders", { worker, ttlMs, now: 5, limit: 100, definitions })).executions;
  };
  const started = async (definition: string, ids: readonly string[]) => {
    await commit(ids.map((id) => ({ step: "start", execution: begun(id, definition) })));
    return take(`worker of ${definition}`, definition);
  };
  const write = ({ tenant, id, fence }: TakenExecution, length: number): ExecutionWrite => ({
    ...{ tenant, id, fence, length, entries: [{ ...entry, position: length }] },
  });
  const inTransaction = async <T>(run: (client: PoolClient) => Promise<T>): Promise<T> => {
    const client = await database.pool.connect();
    try {
      await client.query("BEGIN");
      return await run(client);
    } finally {
      await client.query("ROLLBACK");
      client.release();
    }
  };

  it("workers that write, and commits that signal, write and start the same ones in any order never wait in a circle", async () => {
    const ids = ["a", "b", "c", "d", "e", "f"];
    const held = await started("circle", ids);
    const shuffled = <T>(items: readonly T[]) =>
      items
        .map((item) => ({ item, at: randomInt(1_000) }))
        .sort((a, b) => a.at - b.at)
        .map(({ item }) => item);
    for (let round = 0; round < 15; round += 1) {
      const written = shuffled(held).map((each) => write(each, round));
      const zombies = shuffled(held).map((each) => ({ ...write(each, round), fence: 0 }));
      const signals = Array.from({ length: 6 }, (_, commits) =>
        shuffled(ids).map(
          (id): ExecutionChange => ({
            ...{ step: "signal", id, signal: { name: `${round} ${commits}`, payload: {} } },
          }),
        ),
      );
      const [outcomes, lost] = await Promise.all([
        store.executions.write("orders", written),
        store.executions.write("orders", zombies),
        ...signals.map(commit),
        commit(shuffled(ids).map((id) => ({ step: "start", execution: begun(id, "circle") }))),
        take("another one", "circle"),
      ]);
      expect([...(outcomes as string[]), ...(lost as string[])]).toEqual([
        ...ids.map(() => "written"),
        ...ids.map(() => "lost"),
      ]);
    }
    expect((await store.journal(acme, { id: "a", limit: 50 })).items).toHaveLength(15);
    expect(await store.executions.signals(acme, "a")).toHaveLength(90);
  }, 60_000);

  it("a step of one that goes on touches no index", async () => {
    const [taken] = await started("hot", ["hot"]);
    await inTransaction(async (client) => {
      await client.query("SELECT orders.executions_write($1)", [JSON.stringify([write(taken!, 0)])]);
      const { rows } = await client.query(
        `SELECT pg_stat_get_xact_tuples_updated(t) AS updated, pg_stat_get_xact_tuples_hot_updated(t) AS hot
         FROM (SELECT 'orders.executions'::regclass::oid) AS it (t)`,
      );
      expect(rows).toEqual([{ updated: "1", hot: "1" }]);
    });
  });

  it("who takes waits for nobody, and lets go later of what a silent worker is just writing", async () => {
    const held = await started("busy", ["busy-1", "busy-2"]);
    await database.pool.query(
      "UPDATE orders.execution_workers SET expires_at = '-infinity' WHERE id = 'worker of busy'",
    );
    await inTransaction(async (client) => {
      await client.query("SELECT orders.executions_write($1)", [JSON.stringify([write(held[0]!, 0)])]);
      expect((await take("next", "busy")).map(({ id }) => id)).toEqual(["busy-2"]);
    });
    expect((await take("next", "busy")).map(({ id }) => id)).toEqual(["busy-1"]);
    expect(
      await store.executions.write(
        "orders",
        held.map((each) => write(each, 0)),
      ),
    ).toEqual(["lost", "lost"]);
  });

  it("a worker that takes nothing waits for no disk; what is taken is taken for good", async () => {
    await commit([{ step: "start", execution: begun("durable", "durable") }]);
    const asked = (definition: string) =>
      `SELECT orders.executions_take('w', 60000, null, 5, 9, '{${definition}}', '{1}', '{null}', '{null}')`;
    for (const [definition, setting] of [
      ["none", "off"],
      ["durable", "on"],
    ] as const)
      await inTransaction(async (client) => {
        await client.query(asked(definition));
        expect((await client.query("SHOW synchronous_commit")).rows).toEqual([{ synchronous_commit: setting }]);
      });
  });

  it("in a transaction of the host's an execution is begun with it; one that is lost undoes our commit and nothing else", async () => {
    const [taken] = await started("within", ["within"]);
    const next: ExecutionChange = { step: "start", execution: begun("next", "within") };
    const stale: ExecutionChange = { step: "write", write: { ...write(taken!, 0), fence: 0 } };
    const client = await database.pool.connect();
    try {
      await client.query("BEGIN");
      const { store: inside } = (await store.within?.(client)) ?? {};
      expect(await inside?.commit("acme", { parts: [part([next, stale])] })).toEqual({ status: "execution-lost" });
      expect(await inside?.execution(acme, "next")).toBeUndefined();
      expect(await inside?.commit("acme", { parts: [part([next])] })).toEqual({ status: "committed" });
      expect(await inside?.execution(acme, "next")).toMatchObject({ status: "running" });
      expect(await inside?.journal(acme, { id: "next", limit: 5 })).toMatchObject({ items: [] });
      expect(await store.execution(acme, "next")).toBeUndefined();
      await client.query("COMMIT");
    } finally {
      client.release();
    }
    expect((await take("next", "within")).map(({ id }) => id)).toEqual(["next"]);
  });
});
