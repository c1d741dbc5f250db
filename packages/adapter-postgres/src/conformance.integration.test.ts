import { randomBytes } from "node:crypto";
import {
  type CuttableLine,
  cuttableLine,
  executionEngineSuite,
  leaseSuite,
  secretStoreSuite,
  storeSuite,
} from "@armature/conformance";
import { SealedSecretStore, Secret, type StoreAdapter, systemClock, systemIds } from "@armature/core";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dropAll, type FreshDatabase, freshDatabase, withoutServer } from "./fresh-database.ts";
import { pglite } from "./pglite.ts";
import { postgres } from "./postgres.ts";

// One embedded database for the whole file: it takes seconds to start and a lot of memory.
const embedded = pglite();
afterAll(() => embedded.close());

const QUICK = { pollMs: 20, leaseMs: 500 };

storeSuite("PGlite", () => lent(embedded));
leaseSuite("PGlite", async () => {
  await embedded.migrate([]);
  return { lease: embedded.lease };
});

executionEngineSuite("embedded, on PGlite", () => ({
  open: async () => ({ options: { store: lent(embedded), executions: QUICK } }),
}));

describe("The one connection of PGlite", () => {
  const orders = { tenant: "acme", context: "after_refusals" };

  it("is there for the next call, whatever happened in the one before", async () => {
    await embedded.migrate([{ name: orders.context, aggregates: [{ type: "order", index: [] }] }]);
    const refusals = [
      () => embedded.migrate([{ name: "public", aggregates: [] }]),
      () => embedded.migrate([{ name: "fine", aggregates: [{ type: "order", index: ["not fine"] }] }]),
      () => embedded.load({ tenant: "acme", context: "missing" }, []),
      () => embedded.find(orders, { type: "order", limit: -5 }),
      () => embedded.records.put(orders, "key", { text: "\u0000" }, 0),
    ];
    for (const refusal of refusals) {
      await expect(refusal()).rejects.toThrow();
      await embedded.ping();
    }
  });

  it("is shared by calls that come at once", async () => {
    const keys = Array.from({ length: 40 }, (_, at) => `key-${at}`);
    await Promise.all(keys.map((key) => embedded.records.put(orders, key, { key }, 0)));
    const found = await Promise.all(keys.map((key) => embedded.records.get(orders, key)));
    expect(found.map((each) => each?.value)).toEqual(keys.map((key) => ({ key })));
  });
});

describe.skipIf(await withoutServer())("with a server", () => {
  let database: FreshDatabase;
  const lines: CuttableLine[] = [];
  const pools: Pool[] = [];
  beforeAll(async () => {
    database = await freshDatabase();
  });
  afterAll(async () => {
    await Promise.all(pools.map((pool) => pool.ended || pool.end()));
    await Promise.all(lines.map((line) => line.close()));
    await dropAll([database]);
  });
  const open = () => postgres({ pool: database.poolAs(), rolePrefix: database.name });

  /** The same database over a line that can be cut. */
  const cuttable = async () => {
    const { hostname: host, port } = new URL(database.url);
    const line = await cuttableLine({ host, port: Number(port || 5432) });
    lines.push(line);
    const url = new URL(database.url);
    url.host = `127.0.0.1:${line.port}`;
    const pool = new Pool({ connectionString: url.href, max: 8 });
    pool.on("error", () => {}); // an idle connection was cut
    pools.push(pool);
    return { store: postgres({ pool, rolePrefix: database.name }), loseBackend: line.cut, pool };
  };

  storeSuite("PostgreSQL", async () => ({
    ...(await cuttable()),
    elsewhere: open(),
    pass: async (ms) => {
      const times = {
        ...{ relay_claims: "expires_at", relay_members: "expires_at", execution_workers: "expires_at" },
        ...{ inbox: "handled_at", idempotency: "created_at" },
      };
      for (const schema of ["conformance_alpha", "conformance_beta"])
        for (const [table, at] of Object.entries(times))
          await database.pool.query(
            `UPDATE ${schema}.${table} SET ${at} = ${at} - $1::bigint * interval '1 millisecond'`,
            [ms],
          );
    },
  }));
  executionEngineSuite("embedded, on PostgreSQL", () => ({
    open: async () => {
      const { store, loseBackend, pool } = await cuttable();
      return {
        options: { store, executions: QUICK },
        kill: async () => void (await loseBackend()),
        close: () => pool.end(),
      };
    },
  }));
  secretStoreSuite("sealed in PostgreSQL", async () => {
    const { store, loseBackend } = await cuttable();
    await store.migrate([{ name: "secrets", aggregates: [] }]);
    const keyEncryptionKey = new Secret(randomBytes(32).toString("base64"));
    const ids = systemIds(systemClock());
    const on = (each: StoreAdapter) => new SealedSecretStore({ store: each, keyEncryptionKey, ids });
    return { secrets: on(store), elsewhere: on(open()), loseBackend };
  });
  leaseSuite("PostgreSQL, on a line that is cut", async () => {
    const { store, loseBackend } = await cuttable();
    await store.migrate([]);
    return { lease: store.lease, elsewhere: open().lease, loseBackend };
  });
  leaseSuite("PostgreSQL", async () => {
    const store = open();
    await store.migrate([]);
    return {
      lease: store.lease,
      elsewhere: open().lease,
      pass: async (ms) => {
        await database.pool.query(
          "UPDATE armature.leases SET expires_at = expires_at - $1::int * interval '1 millisecond'",
          [ms],
        );
      },
    };
  });
});

/** The same store, except that closing it is somebody else's. */
function lent(store: StoreAdapter): StoreAdapter {
  return new Proxy(store, {
    get: (target, key) => {
      if (key === "close") return async () => {};
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
