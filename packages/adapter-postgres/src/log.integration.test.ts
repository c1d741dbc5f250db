import type { AggregateRef, CommitPart, StoredEvent } from "@armature/core";
import type { PoolClient } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dropAll, type FreshDatabase, freshDatabase, withoutServer } from "./fresh-database.ts";
import { postgres } from "./postgres.ts";
import type { PostgresStore } from "./postgres-store.ts";

const CONTEXT = "orders";
const TENANT = "acme";
const SEEDS = 10;
// Transactions of other databases of the server are waited for too.
const LONG_MS = 300_000;

/** Numbers that look random and are the same for every run. */
function seeded(seed: number): (below: number) => number {
  let state = seed * 2_654_435_761 + 1;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 2_246_822_519) + 0x9e3779b9) | 0;
    return ((state ^ (state >>> 13)) >>> 0) % below;
  };
}

describe.skipIf(await withoutServer())("Following the log on PostgreSQL", () => {
  let database: FreshDatabase;
  let store: PostgresStore;
  beforeAll(async () => {
    database = await freshDatabase();
    store = open();
    await store.migrate([{ name: CONTEXT, aggregates: [{ type: "order", index: [] }] }]);
  });
  afterAll(() => dropAll([database]));
  const open = () => postgres({ pool: database.pool, rolePrefix: database.name }) as PostgresStore;

  const eventOf = (ref: AggregateRef, version: number): StoredEvent => ({
    id: `evt_${ref.id}_${version}`,
    tenant: TENANT,
    context: CONTEXT,
    type: "order.changed",
    version: 1,
    aggregateType: ref.type,
    aggregateId: ref.id,
    aggregateVersion: version,
    time: "2026-01-02T03:04:05.678Z",
    data: {},
    actor: { type: "user", id: "ann" },
    correlationId: "cor_1",
    causationId: "call_1",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  });
  const step = (ref: AggregateRef, version: number): CommitPart => ({
    context: CONTEXT,
    aggregates: [{ ...ref, expectedVersion: version - 1, write: { version, stateVersion: 1, state: {}, index: {} } }],
    events: [eventOf(ref, version)],
    messages: [],
    audit: [],
  });
  const begin = async () => {
    const client = await database.pool.connect();
    await client.query("BEGIN");
    const joined = await store.within!(client);
    return {
      write: (ref: AggregateRef, version: number) => joined.store.commit(TENANT, { parts: [step(ref, version)] }),
      end: async (how: "COMMIT" | "ROLLBACK") => {
        await client.query(how);
        client.release();
      },
    };
  };

  /** A reader that takes what is there, and goes on from the last position that it saw. */
  const naiveReader = (after: number) => {
    const seen: string[] = [];
    let cursor = after;
    const look = async () => {
      const { rows } = await database.pool.query(
        "SELECT position, id FROM orders.events WHERE position > $1 ORDER BY position",
        [cursor],
      );
      for (const { position, id } of rows) {
        seen.push(id);
        cursor = Number(position);
      }
    };
    return { seen, look };
  };
  const reader = (after: number, from: PostgresStore = store) => {
    const seen: StoredEvent[] = [];
    let cursor = after;
    const look = async () => {
      const page = await from.log.read(CONTEXT, { after: cursor, limit: 5 });
      seen.push(...page.items.map(({ event }) => event));
      cursor = page.upTo;
      return page;
    };
    return { seen, look, at: () => cursor };
  };
  /** Looks until the reader has passed everything that has been taken by now. */
  const catchUp = async (each: ReturnType<typeof reader>) => {
    const head = await store.log.head(CONTEXT);
    while (each.at() < head) if (!(await each.look()).more) await new Promise((resolve) => setTimeout(resolve, 5));
  };

  /** Transactions of hosts, some of them long, write versions of a few aggregates in an order that the seed decides. */
  const play = async (seed: number, look: () => Promise<void>) => {
    const below = seeded(seed);
    const refs = [0, 1, 2, 3].map((at): AggregateRef => ({ type: "order", id: `o${seed}_${at}` }));
    const committed = refs.map(() => 0);
    const running: { work: Awaited<ReturnType<typeof begin>>; at: Map<number, number> }[] = [];

    const end = async (index: number) => {
      const [{ work, at } = running[index]!] = running.splice(index, 1);
      const how = below(4) === 0 ? "ROLLBACK" : "COMMIT";
      await work.end(how);
      if (how === "COMMIT") for (const [which, version] of at) committed[which] = version;
    };
    for (let turn = 0; turn < 45; turn += 1) {
      const what = below(10);
      if (what < 2 && running.length < 4) running.push({ work: await begin(), at: new Map() });
      else if (what < 6 && running.length > 0) {
        const one = running[below(running.length)]!;
        // An aggregate that another transaction has written would keep this one waiting.
        const taken = new Set(running.flatMap(({ at }) => (at === one.at ? [] : [...at.keys()])));
        const free = [0, 1, 2, 3].filter((which) => !taken.has(which));
        if (free.length === 0) continue;
        const which = free[below(free.length)]!;
        const version = (one.at.get(which) ?? committed[which]!) + 1;
        await one.work.write(refs[which]!, version);
        one.at.set(which, version);
      } else if (what < 8 && running.length > 0) await end(below(running.length));
      else await look();
    }
    while (running.length > 0) await end(0);
    return refs.map(({ id }, which) => ({
      id,
      versions: Array.from({ length: committed[which]! }, (_, at) => at + 1),
    }));
  };

  it(
    "skips nothing and keeps each aggregate's order, however fast and slow transactions are mixed",
    async () => {
      const after = await store.log.head(CONTEXT);
      const steady = reader(after);
      const naive = naiveReader(after);
      // A new process each time: it has no memory but the position.
      let forgetful = reader(after);
      const look = async () => {
        await steady.look();
        await naive.look();
        const other = open();
        const next = reader(forgetful.at(), other);
        next.seen.push(...forgetful.seen);
        for (let again = 0; again < 2; again += 1) await next.look();
        await other.close();
        forgetful = next;
      };
      const expected: Awaited<ReturnType<typeof play>> = [];
      for (let seed = 1; seed <= SEEDS; seed += 1) expected.push(...(await play(seed, look)));
      await catchUp(steady);
      const last = reader(forgetful.at());
      last.seen.push(...forgetful.seen);
      await catchUp(last);
      await naive.look();

      for (const { seen } of [steady, last]) {
        const versionsOf = (id: string) =>
          seen.flatMap((each) => (each.aggregateId === id ? [each.aggregateVersion] : []));
        expect(expected.map(({ id }) => ({ id, versions: versionsOf(id) }))).toEqual(expected);
      }
      // It is a scenario in which who does not wait loses events.
      const events = expected.reduce((sum, { versions }) => sum + versions.length, 0);
      expect(events).toBeGreaterThan(SEEDS * 4);
      expect(events - new Set(naive.seen).size).toBeGreaterThan(SEEDS / 2);
    },
    LONG_MS,
  );

  it(
    "gives versions in their order when an old transaction writes a later one",
    async () => {
      const ref: AggregateRef = { type: "order", id: "by-an-old-one" };
      const each = reader(await store.log.head(CONTEXT));
      const old = await begin(); // has its transaction's id from here on
      await store.commit(TENANT, { parts: [step(ref, 1)] });
      await each.look();
      expect(each.seen).toEqual([]); // the old one might still have taken an earlier position
      await old.write(ref, 2);
      await old.end("COMMIT");
      await store.commit(TENANT, { parts: [step(ref, 3)] });
      await catchUp(each);
      expect(each.seen.map(({ aggregateVersion }) => aggregateVersion)).toEqual([1, 2, 3]);
    },
    LONG_MS,
  );

  it(
    "goes on while there is always some transaction open",
    async () => {
      const each = reader(await store.log.head(CONTEXT));
      let open = await begin();
      for (let round = 1; each.seen.length < 5; round += 1) {
        await store.commit(TENANT, { parts: [step({ type: "order", id: `busy_${round}` }, 1)] });
        const next = await begin();
        await open.end("COMMIT");
        open = next;
        await each.look();
        expect(round).toBeLessThan(200);
      }
      await open.end("ROLLBACK");
    },
    LONG_MS,
  );

  it(
    "waits for whoever has taken a position, also where the isolation is stricter than usual",
    async () => {
      await database.pool.query(
        `ALTER DATABASE "${database.name}" SET default_transaction_isolation = 'repeatable read'`,
      );
      const strict = database.poolAs();
      const from = postgres({ pool: strict, rolePrefix: database.name }) as PostgresStore;
      const each = reader(await from.log.head(CONTEXT), from);
      const slow = await begin();
      await slow.write({ type: "order", id: "slow" }, 1);
      await store.commit(TENANT, { parts: [step({ type: "order", id: "fast" }, 1)] });
      for (let look = 0; look < 3; look += 1) await each.look();
      expect(each.seen).toEqual([]);
      await slow.end("COMMIT");
      await catchUp(each);
      expect(each.seen.map(({ aggregateId }) => aggregateId)).toEqual(["slow", "fast"]);
      await database.pool.query(`ALTER DATABASE "${database.name}" RESET default_transaction_isolation`);
    },
    LONG_MS,
  );

  it("has a transaction get its id before it takes a position, also for an event without an aggregate", async () => {
    const client: PoolClient = await database.pool.connect();
    const notices: (string | undefined)[] = [];
    client.on("notice", ({ message }) => notices.push(message));
    await client.query("BEGIN");
    // Positions are taken before such a trigger runs, and rows get their transaction's id after it.
    await client.query(`
      CREATE FUNCTION pg_temp.has_id() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE NOTICE 'id: %', pg_current_xact_id_if_assigned() IS NOT NULL; RETURN NEW; END $$`);
    await client.query("CREATE TRIGGER has_id BEFORE INSERT ON orders.events EXECUTE FUNCTION pg_temp.has_id()");
    await client.query("COMMIT");
    const { events, ...rest } = step({ type: "order", id: "alone" }, 1);
    const items = events.map(({ id, type, aggregateType, aggregateId, aggregateVersion, time }) => ({
      ...{ id, type, aggregateType, aggregateId, aggregateVersion, time },
      body: {},
    }));
    await client.query("SELECT orders.commit($1, $2)", [
      TENANT,
      JSON.stringify({ ...rest, aggregates: [], events: items }),
    ]);
    await client.query("DROP TRIGGER has_id ON orders.events");
    client.release(true);
    expect(notices).toEqual(["id: t"]);
  });

  it("finds its page by position, in a log of any size", async () => {
    const client = await database.pool.connect();
    await client.query("SET enable_seqscan = off");
    const query = "SELECT position FROM orders.events WHERE position > 5 ORDER BY position LIMIT 10";
    const { rows } = await client.query(`EXPLAIN ${query}`);
    client.release(true);
    expect(rows.map((row) => row["QUERY PLAN"]).join("\n")).toContain("events_by_position");
  });
});
