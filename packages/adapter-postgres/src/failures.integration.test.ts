import type { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { inspect } from "node:util";
import type { AggregateChange, CommitPart, StoreAdapter, StoredEvent } from "@armature/core";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dropAll, type FreshDatabase, freshDatabase, withoutServer } from "./fresh-database.ts";
import { postgres } from "./postgres.ts";

const scope = { tenant: "acme", context: "orders" };
const contexts = ["orders", "billing"].map((name) => ({ name, aggregates: [{ type: "order", index: ["status"] }] }));

const change = (
  id: string,
  expectedVersion: number,
  more: { readonly status?: string; readonly state?: object } = {},
) =>
  ({
    type: "order",
    id,
    expectedVersion,
    write: {
      version: expectedVersion + 1,
      stateVersion: 1,
      state: { ...more.state },
      index: { status: `4${more.status ?? ""}` },
    },
  }) satisfies AggregateChange;
const part = (context: string, aggregates: readonly AggregateChange[], more: Partial<CommitPart> = {}): CommitPart => ({
  context,
  aggregates,
  events: [],
  messages: [],
  audit: [],
  ...more,
});

/** A change of one aggregate with its event, as most commands make it. */
function counted(id: string, expectedVersion: number, tenant = "acme"): CommitPart {
  const { write, ...ref } = change(id, expectedVersion, { state: { tenant } });
  const event: StoredEvent = {
    ...{ id: `evt_${tenant}_${id}_${write.version}`, tenant, context: "orders", type: "order.counted", version: 1 },
    ...{ aggregateType: "order", aggregateId: id, aggregateVersion: write.version, time: "2026-01-02T03:04:05.678Z" },
    ...{ data: {}, correlationId: "c", causationId: "c", traceparent: "t" },
    actor: { type: "user", id: "ann" },
  };
  return part("orders", [{ ...ref, write }], { events: [event] });
}

describe("A PostgreSQL server that cannot be reached", () => {
  it("is an error of its own, which does not show how it was to be reached", async () => {
    const pool = new Pool({ connectionString: "postgres://app:hush-hush@127.0.0.1:1/test" });
    const store = postgres({ pool, appRole: "app" });
    const calls = [
      () => store.ping(),
      () => store.load(scope, []),
      () => store.migrate(contexts),
      () => store.lease.acquire("key", 5),
    ];
    for (const call of calls) {
      const error = await call().catch((reason: unknown) => reason);
      expect(error).toMatchObject({
        code: "store.unavailable",
        kind: "unavailable",
        details: { reason: "ECONNREFUSED" },
      });
      expect(inspect(error, { depth: 9 })).not.toMatch(/hush-hush|127\.0\.0\.1/);
    }
    await store.close();
    await expect(store.ping()).rejects.toMatchObject({ code: "store.unavailable", details: { reason: "closed" } });
    await pool.end();
  });
});

describe.skipIf(await withoutServer())("On a PostgreSQL server", () => {
  let database: FreshDatabase;
  let store: StoreAdapter;
  beforeAll(async () => {
    database = await freshDatabase();
    // A deadlock is to be seen as one, not resolved in silence.
    await database.pool.query(`ALTER DATABASE "${database.name}" SET deadlock_timeout = '10min'`);
    await database.pool.query(`ALTER DATABASE "${database.name}" SET lock_timeout = '5s'`);
    const pool = database.poolAs();
    store = postgres({ pool, rolePrefix: database.name });
    await store.migrate(contexts);
  });
  afterAll(() => dropAll([database]));

  it("commits that take the same aggregates in opposite orders never wait for each other in a circle", async () => {
    for (let round = 0; round < 10; round += 1) {
      const ids = ["a", "b", "c", "d"].map((name) => `${name}-${round}`);
      for (const expected of [0, 1]) {
        const results = await Promise.allSettled(
          Array.from({ length: 12 }, (_, writer) => {
            const changes = ids.map((id) => change(id, expected));
            const parts = ["orders", "billing"].map((context) =>
              part(context, writer % 2 === 0 ? changes : changes.toReversed()),
            );
            return store.commit("acme", { parts: writer % 3 === 0 ? parts.toReversed() : parts });
          }),
        );
        expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
        for (const result of results)
          if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "version_conflict" });
      }
    }
  }, 60_000);

  it("a lost race does not cost the connection", async () => {
    const pool = database.poolAs();
    const raced = postgres({ pool, rolePrefix: database.name });
    let connections = 0;
    pool.on("connect", () => {
      connections += 1;
    });
    await raced.commit("acme", { parts: [part("orders", [change("raced", 0)])] });
    for (let time = 0; time < 5; time += 1)
      await expect(raced.commit("acme", { parts: [part("orders", [change("raced", 0)])] })).rejects.toMatchObject({
        code: "version_conflict",
        details: { type: "order", id: "raced" },
      });
    expect(connections).toBe(1);
  });

  it("a connection that the server ends is an error of its own, and the next call has another", async () => {
    const pool = database.poolAs();
    const cut = postgres({ pool, rolePrefix: database.name });
    const client = await pool.connect();
    const { rows } = await client.query("SELECT pg_backend_pid() AS pid");
    client.release();

    // While it is idle: the pool drops it, and nobody has to listen for that.
    const gone = new Promise((resolve) => pool.once("remove", resolve));
    await database.pool.query("SELECT pg_terminate_backend($1)", [rows[0].pid]);
    await gone;
    await cut.ping();

    // While a commit waits for somebody's lock.
    await cut.commit("acme", { parts: [part("orders", [change("locked", 0)])] });
    const blocker = await database.pool.connect();
    await blocker.query("BEGIN; SELECT FROM orders.aggregates WHERE id = 'locked' FOR UPDATE");
    const waiting = cut.commit("acme", { parts: [part("orders", [change("locked", 1)])] });
    const refused = expect(waiting).rejects.toMatchObject({
      code: "store.unavailable",
      details: { reason: "SQLSTATE 57P01" },
    });
    let ended = 0;
    while (ended === 0)
      ended = (
        await database.pool.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
        )
      ).rows.length;
    await refused;
    await blocker.query("ROLLBACK");
    blocker.release();
    expect(await cut.load(scope, [{ type: "order", id: "locked" }])).toMatchObject([{ version: 1 }]);
  });

  it("a connection that breaks under a call fails that call and nothing else of the process", async () => {
    const pool = database.poolAs();
    const broken = postgres({ pool, rolePrefix: database.name });
    await broken.commit("acme", { parts: [part("orders", [change("broken", 0)])] });
    const blocker = await database.pool.connect();
    await blocker.query("BEGIN; SELECT FROM orders.aggregates WHERE id = 'broken' FOR UPDATE");
    // What a driver emits then ends the process if nobody listens, so it is looked at here.
    const held = new Promise<EventEmitter>((resolve) => pool.once("acquire", (client) => resolve(client)));
    const waiting = broken.commit("acme", { parts: [part("orders", [change("broken", 1)])] });
    const refused = expect(waiting).rejects.toMatchObject({ code: "store.unavailable" });
    const client = await held;
    const { connection } = client as EventEmitter & { connection: { stream: Socket } };
    await expect.poll(() => client.listenerCount("error"), { interval: 1 }).toBe(1);
    connection.stream.destroy(new Error("read ECONNRESET"));
    await refused;
    await blocker.query("ROLLBACK");
    blocker.release();
    expect(await broken.load(scope, [{ type: "order", id: "broken" }])).toHaveLength(1);
    // Each call takes its listener away again.
    for (let call = 0; call < 20; call += 1) await broken.ping();
    const idle = await pool.connect();
    expect(idle.listenerCount("error")).toBe(0);
    idle.release();
  });

  it("a lock that is not had in time is an error of its own, and nothing is written", async () => {
    await store.commit("acme", { parts: [part("orders", [change("busy", 0)])] });
    const blocker = await database.pool.connect();
    await blocker.query("BEGIN; SELECT FROM orders.aggregates WHERE id = 'busy' FOR UPDATE");
    const pool = database.poolAs();
    pool.on("connect", (client) => void client.query("SET lock_timeout = '50ms'"));
    const hurried = postgres({ pool, rolePrefix: database.name });
    await expect(
      hurried.commit("acme", { parts: [part("orders", [change("another", 0), change("busy", 1)])] }),
    ).rejects.toMatchObject({ code: "store.unavailable", details: { reason: "SQLSTATE 55P03" } });
    await blocker.query("ROLLBACK");
    blocker.release();
    expect(await store.load(scope, [{ type: "order", id: "another" }])).toEqual([undefined]);
  });

  it("commits that share a transaction are each all or nothing, and see nothing of each other's failures", async () => {
    const one = (id: string, expectedVersion: number) => ({ parts: [counted(id, expectedVersion)] });
    const commits = Array.from({ length: 30 }, (_, number) => one(`shared-${number % 20}`, 0));
    // Each of the last ten is a race that somebody loses, in the same transaction or in another one.
    const results = await Promise.allSettled(commits.map((commit) => store.commit("acme", commit)));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(20);
    for (const result of results)
      if (result.status === "rejected")
        expect(result.reason).toMatchObject({ code: "version_conflict", details: { type: "order" } });
    const loaded = await Promise.all(
      Array.from({ length: 25 }, (_, number) => store.load(scope, [{ type: "order", id: `shared-${number}` }])),
    );
    expect(loaded.map(([found]) => found?.version)).toEqual(
      Array.from({ length: 25 }, (_, number) => (number < 20 ? 1 : undefined)),
    );
    const { items } = await store.events("acme", { contexts: ["orders"], types: ["order.counted"], limit: 100 });
    expect(items.map(({ aggregateId }) => aggregateId).toSorted()).toEqual(
      Array.from({ length: 20 }, (_, number) => `shared-${number}`).toSorted(),
    );
  });

  it("tenants that share a transaction have and see their own", async () => {
    const tenants = Array.from({ length: 12 }, (_, number) => `tenant-${number}`);
    await Promise.all(tenants.map((tenant) => store.commit(tenant, { parts: [counted("same", 0, tenant)] })));
    const loaded = await Promise.all(
      tenants.map((tenant) => store.load({ ...scope, tenant }, [{ type: "order", id: "same" }])),
    );
    expect(loaded.map(([found]) => found?.state["tenant"])).toEqual(tenants);
    expect(await store.load({ ...scope, tenant: "nobody" }, [{ type: "order", id: "same" }])).toEqual([undefined]);
    const { rows } = await database.pool.query(
      "SELECT tenant, state ->> 'tenant' AS of FROM orders.aggregates WHERE id = 'same'",
    );
    expect(rows.map(({ tenant, of }) => tenant === of)).toEqual(tenants.map(() => true));
  });

  it("commits that share a transaction with one that has to wait for a row are not kept waiting", async () => {
    await store.commit("acme", { parts: [counted("kept", 0)] });
    const blocker = await database.pool.connect();
    await blocker.query("BEGIN; SELECT FROM orders.aggregates WHERE id = 'kept' FOR UPDATE");
    let kept = "waiting";
    const others = Array.from({ length: 12 }, (_, number) =>
      store.commit("acme", { parts: [counted(`free-${number}`, 0)] }),
    );
    const waiting = store.commit("acme", { parts: [counted("kept", 1)] }).finally(() => {
      kept = "done";
    });
    await Promise.all(others);
    expect(kept).toBe("waiting");
    await blocker.query("ROLLBACK");
    blocker.release();
    await waiting;
    expect(await store.load(scope, [{ type: "order", id: "kept" }])).toMatchObject([{ version: 2 }]);
  });

  it("many commits of one row that is locked keep those that they share a transaction with waiting no longer than one", async () => {
    const pool = database.poolAs();
    // Fifteen times the wait of one would be too long for this.
    pool.on("connect", (client) => void client.query("SET statement_timeout = '1s'"));
    const patient = postgres({ pool, rolePrefix: database.name });
    await patient.commit("acme", { parts: [counted("wanted", 0)] });
    const blocker = await database.pool.connect();
    await blocker.query("BEGIN; SELECT FROM orders.aggregates WHERE id = 'wanted' FOR UPDATE");
    const waiting = Promise.allSettled(
      Array.from({ length: 15 }, () => patient.commit("acme", { parts: [counted("wanted", 1)] })),
    );
    await Promise.all(["a-free", "z-free"].map((id) => patient.commit("acme", { parts: [counted(id, 0)] })));
    await blocker.query("ROLLBACK");
    blocker.release();
    await waiting;
    const loaded = await Promise.all(["a-free", "z-free"].map((id) => patient.load(scope, [{ type: "order", id }])));
    expect(loaded).toMatchObject([[{ version: 1 }], [{ version: 1 }]]);
  });

  it("a commit that the server cannot even read is refused, and not felt by those that would share its transaction", async () => {
    // Half of a character outside of the first 65,536: no JSON of PostgreSQL's.
    const ids = ["one", "two", "broken-\ud83d", "three", "four"];
    const results = await Promise.allSettled(ids.map((id) => store.commit("acme", { parts: [counted(id, 0)] })));
    expect(results.map(({ status }) => status)).toEqual([
      "fulfilled",
      "fulfilled",
      "rejected",
      "fulfilled",
      "fulfilled",
    ]);
  });

  it("loads that share a round trip with one that waits for a table are not kept waiting", async () => {
    const blocker = await database.pool.connect();
    await blocker.query("BEGIN; LOCK TABLE billing.aggregates IN ACCESS EXCLUSIVE MODE");
    const load = (context: string) => store.load({ ...scope, context }, [{ type: "order", id: "nothing" }]);
    let kept = true;
    const others = [load("orders"), load("orders")];
    const waiting = load("billing").finally(() => {
      kept = false;
    });
    await Promise.all([...others, load("orders"), load("orders")]);
    expect(kept).toBe(true);
    await blocker.query("ROLLBACK");
    blocker.release();
    expect(await waiting).toEqual([undefined]);
  });

  it("a load that cannot be answered is not felt by those that share its round trip", async () => {
    const missing = { tenant: "acme", context: "missing" };
    const results = await Promise.allSettled(
      [scope, missing, scope, missing, scope].map((each) => store.load(each, [{ type: "order", id: "nothing" }])),
    );
    expect(results.map(({ status }) => status)).toEqual([
      "fulfilled",
      "rejected",
      "fulfilled",
      "rejected",
      "fulfilled",
    ]);
    expect(results[1]).toMatchObject({ reason: { code: "store.not_migrated" } });
  });

  it("what the server refuses for another reason is named without any of the data", async () => {
    const event = {
      id: "evt_canary",
      tenant: "acme",
      context: "orders",
      type: "order.made",
      version: 1,
      aggregateType: "order",
      aggregateId: "canary",
      aggregateVersion: 1,
      time: "2026-01-02T03:04:05.678Z",
      data: { note: "canary" },
      actor: { type: "user", id: "canary" },
      correlationId: "c",
      causationId: "c",
      traceparent: "t",
    } as const;
    const commit = (id: string) =>
      store.commit("acme", { parts: [part("orders", [change(id, 0)], { events: [event] })] });
    await commit("first");
    const error = await commit("second").catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: "store.failed",
      kind: "internal",
      message: "The database failed in orders.commit (SQLSTATE 23505, orders.events.events_pkey).",
    });
    expect(`${inspect(error, { depth: 9 })}${JSON.stringify(error)}`).not.toContain("canary");
    expect(await store.load(scope, [{ type: "order", id: "second" }])).toEqual([undefined]);
  });

  it("a value that is too long to be found by is refused as input", async () => {
    // Digits of a sequence that no compression shortens much.
    const long = Array.from({ length: 4_000 }, (_, at) =>
      Math.sin(at + 1)
        .toString(36)
        .slice(4, 8),
    ).join("");
    await expect(
      store.commit("acme", { parts: [part("orders", [change("long", 0, { status: long })])] }),
    ).rejects.toMatchObject({ code: "invalid_input" });
    expect(await store.load(scope, [{ type: "order", id: "long" }])).toEqual([undefined]);
  });
});
