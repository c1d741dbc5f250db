import { postgres } from "@armature/adapter-postgres";
import { createArmature, type EventLog, type StoreAdapter, type StoredEvent } from "@armature/core";
import type { PoolClient } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  dropAll,
  type FreshDatabase,
  freshDatabase,
  withoutServer,
} from "../packages/adapter-postgres/src/fresh-database.ts";
import { SeededRandom } from "../packages/core/src/testing/faults/seeded-random.ts";
import { keyEncryptionKey } from "./scenarios/place.ts";
import { salesContext } from "./scenarios/sales.ts";

const SEEDS = 6;
const TURNS = 40;
const CUSTOMERS = ["ann", "bo", "cy"];
const LONG_MS = 300_000;

describe.skipIf(await withoutServer())("a projection beside slow and fast transactions that are mixed", () => {
  const databases: FreshDatabase[] = [];
  afterAll(() => dropAll(databases));
  let database: FreshDatabase;
  beforeAll(async () => {
    database = await freshDatabase();
    databases.push(database);
  });

  /** Takes what is there, and goes on behind the last position that it saw. */
  const naiveLog = (log: EventLog): EventLog => ({
    head: (context) => log.head(context),
    count: (context, query) => log.count(context, query),
    read: async (context, { after, limit }) => {
      const { rows } = await database.pool.query(
        `SELECT position::int, id, tenant, type, aggregate_type, aggregate_id, aggregate_version, time, body
         FROM ${context}.events WHERE position > $1 ORDER BY position LIMIT $2`,
        [after, limit],
      );
      const items = rows.map(({ position, id, tenant, type, time, body, ...row }) => ({
        position: position as number,
        event: {
          ...{ id, tenant, context, type, time: new Date(time).toISOString() },
          ...{
            aggregateType: row.aggregate_type,
            aggregateId: row.aggregate_id,
            aggregateVersion: row.aggregate_version,
          },
          ...body,
        } as StoredEvent,
      }));
      return { items, upTo: items.at(-1)?.position ?? after, more: items.length === limit };
    },
  });

  const start = async (log: (log: EventLog) => EventLog) => {
    const store = postgres({ pool: database.pool, rolePrefix: database.name });
    const followed: StoreAdapter = new Proxy(store, {
      get(target, key) {
        if (key === "log") return log(target.log);
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const app = await createArmature({
      ...{ store: followed, keyEncryptionKey, contexts: [salesContext()], authorizer: () => true },
      projections: { batch: 3, pollMs: 2 },
      logger: { debug() {}, info() {}, warn() {}, error() {} }, // it looks before the database is migrated
    });
    await app.migrate();
    return app;
  };
  type App = Awaited<ReturnType<typeof start>>;

  /** Transactions of the host's, some of them long, make sales in an order that the seed decides. */
  const play = async (app: App, tenant: string, seed: number, spent: Map<string, number>) => {
    const random = new SeededRandom(seed);
    const below = (bound: number) => Math.floor(random.next() * bound);
    const ann = app.as({ tenant, user: "ann" });
    const open: { client: PoolClient; sold: [string, number][] }[] = [];
    const end = async () => {
      const [{ client, sold }] = open.splice(below(open.length), 1) as [(typeof open)[number]];
      const kept = below(4) > 0;
      await client.query(kept ? "COMMIT" : "ROLLBACK");
      client.release();
      if (kept) for (const [who, amount] of sold) spent.set(who, (spent.get(who) ?? 0) + amount);
    };
    for (let turn = 0; turn < TURNS; turn += 1) {
      const [what, customer, amount] = [below(10), CUSTOMERS[below(3)]!, 1 + below(9)];
      if (what < 2 && open.length < 4) {
        const client = await database.pool.connect();
        await client.query("BEGIN");
        open.push({ client, sold: [] });
      } else if (what < 5 && open.length > 0) {
        const { client, sold } = open[below(open.length)]!;
        await ann.within(client, ({ sales }) => sales.make({ customer, amount }));
        sold.push([customer, amount]);
      } else if (what < 6 && open.length > 0) await end();
      else {
        await ann.sales.make({ customer, amount });
        spent.set(customer, (spent.get(customer) ?? 0) + amount);
      }
    }
    while (open.length > 0) await end();
  };

  const run = async (tenant: string, log: (log: EventLog) => EventLog) => {
    const app = await start(log);
    const spent = new Map<string, number>();
    for (let seed = 1; seed <= SEEDS; seed += 1) await play(app, tenant, seed, spent);
    await app.settled({ timeoutMs: LONG_MS });
    const { items } = await app.as({ tenant, user: "ann" }).sales.customers({});
    await app.close();
    return {
      spent: Object.fromEntries(spent),
      shown: Object.fromEntries(items.map((each) => [each.customer, each.spent])),
    };
  };

  test(
    "applies every sale that was committed, once",
    async () => {
      const { spent, shown } = await run("acme", (log) => log);
      expect(Object.keys(spent).sort()).toEqual(CUSTOMERS);
      expect(shown).toEqual(spent);
    },
    LONG_MS,
  );

  test(
    "loses sales when the log is read without waiting for who has taken a position",
    async () => {
      const { spent, shown } = await run("naive", naiveLog);
      const total = (sums: Record<string, number>) => Object.values(sums).reduce((sum, each) => sum + each, 0);
      expect(total(shown)).toBeLessThan(total(spent));
    },
    LONG_MS,
  );
});
