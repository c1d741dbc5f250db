import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { pglite, postgres } from "@armature/adapter-postgres";
import {
  type Armature,
  command,
  createArmature,
  DeadlineExceeded,
  defineContext,
  defineContract,
  type EventBus,
  Forbidden,
  HostTransactionUnsupported,
  HostTransactionUnusable,
  type LifecycleEvents,
  NotFound,
  NotWithinTransaction,
  ShuttingDown,
  type TransactionClient,
  VersionConflict,
} from "@armature/core";
import { inMemory } from "@armature/core/in-memory";
import { ordersContext } from "@armature-examples/own-context";
import { Pool, type PoolClient } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import {
  dropAll,
  type FreshDatabase,
  freshDatabase,
  withoutServer,
} from "../packages/adapter-postgres/src/fresh-database.ts";

const bells = defineContract("bells", {
  ring: command({ input: z.strictObject({}), permission: "internal", summary: "Rings." }),
  ringSoon: command({ input: z.strictObject({}), permission: "bells:write", summary: "Has it ring in a moment." }),
});
const bellsContext = defineContext(bells, {
  handlers: {
    ring: () => undefined,
    ringSoon: (_input, ctx) => void ctx.send(bells, "ring", {}, { afterMs: 50 }),
  },
});

type App = Armature<[typeof ordersContext, typeof bellsContext]>;

const ann = { tenant: "acme", user: "ann" };
const eve = { tenant: "other", user: "eve" };
const setup = { tenant: "acme", system: "setup" };
const order = { customer: "Bo", total: { amount: 1999, currency: "USD" } };
const keyEncryptionKey = randomBytes(32).toString("base64");

describe.skipIf(await withoutServer())("inside a transaction of the host's", () => {
  let database: FreshDatabase;
  /** Connections as the host's own role, which has no right on anything of ours but to run our functions. */
  let shop: Pool;
  let own: Pool;
  let app: App;
  let heard: LifecycleEvents["committed"][];
  const published: string[] = [];
  const bus: EventBus = {
    publish: async (events) => void published.push(...events.map(({ type, subject }) => `${type} ${subject}`)),
    subscribe: async () => ({ close: async () => {} }),
    ping: async () => {},
    close: async () => {},
  };

  const start = (more: { readonly relay?: false; readonly authorizer?: () => boolean } = {}): Promise<App> =>
    createArmature({
      store: postgres({
        pool: own,
        migrationPool: database.pool,
        rolePrefix: database.name,
        appRole: `${database.name}_app`,
        hostRoles: [`${database.name}_shop`],
      }),
      contexts: [ordersContext, bellsContext],
      keyEncryptionKey,
      authorizer: () => true,
      bus,
      ...more,
    });

  beforeAll(async () => {
    database = await freshDatabase();
    for (const role of ["app", "shop"]) await database.pool.query(`CREATE ROLE "${database.name}_${role}" LOGIN`);
    own = database.poolAs(`${database.name}_app`);
    shop = database.poolAs(`${database.name}_shop`);
    await database.pool.query(`CREATE SCHEMA shop AUTHORIZATION "${database.name}_shop"`);
    await shop.query("CREATE TABLE shop.invoices (order_id text, by_role text DEFAULT current_user)");
    app = await start();
    await app.migrate();
    app.on("committed", (event) => heard.push(event));
  });
  beforeEach(async () => {
    heard = [];
    await shop.query("TRUNCATE shop.invoices");
  });
  afterAll(async () => {
    await app?.close();
    await dropAll([database]);
  });

  /** A client of the host's with a transaction open; ended as `end` says. */
  const transaction = async <T>(end: "COMMIT" | "ROLLBACK", run: (client: PoolClient) => Promise<T>): Promise<T> => {
    const client = await shop.connect();
    try {
      await client.query("BEGIN");
      const result = await run(client);
      await client.query(end);
      return result;
    } catch (error) {
      await client.query("ROLLBACK");
      throw error;
    } finally {
      client.release();
    }
  };
  const invoice = (client: { query: Pool["query"] }, orderId: string) =>
    client.query("INSERT INTO shop.invoices (order_id) VALUES ($1)", [orderId]);
  const orderIds = async (principal: typeof ann = ann) =>
    (await app.as(principal).orders.list({ limit: 200 })).items.map((each) => each.orderId);
  const untilHeard = (count: number) => expect.poll(() => heard.length, { timeout: 10_000 }).toBe(count);

  it("the host's row, the order, its event, audit row and idempotency record commit together", async () => {
    const { orderId } = await transaction("COMMIT", async (client) => {
      const placed = await app
        .as(ann)
        .within(client, (acme) => acme.orders.place(order, { idempotencyKey: "invoice-1" }));
      await invoice(client, placed.orderId);
      expect(await orderIds()).not.toContain(placed.orderId);
      expect(heard).toEqual([]);
      return placed;
    });
    expect((await shop.query("SELECT * FROM shop.invoices")).rows).toEqual([
      { order_id: orderId, by_role: `${database.name}_shop` },
    ]);
    expect(await orderIds()).toContain(orderId);
    expect(await app.as(ann).orders.place(order, { idempotencyKey: "invoice-1" })).toEqual({ orderId });
    const { items: events } = await app.as(ann).audit.events({ aggregateType: "order", aggregateId: orderId });
    expect(events.map(({ type }) => type)).toEqual(["order.placed"]);
    expect((await app.as(ann).audit.list({ operation: "orders.place" })).items[0]).toMatchObject({
      actor: { type: "user", id: "ann" },
      outcome: "succeeded",
    });
    await untilHeard(1);
    expect(heard).toEqual([{ tenant: "acme", contexts: ["orders"] }]);
    await app.settled();
    expect((await database.pool.query("SELECT count(*)::int AS n FROM orders.outbox")).rows).toEqual([{ n: 0 }]);
  });

  it("everything goes when the host rolls back, and the key is free again", async () => {
    const before = await orderIds();
    const rows = async () =>
      (
        await database.pool.query(
          "SELECT (SELECT count(*) FROM orders.events) AS events, (SELECT count(*) FROM orders.audit) AS audit, (SELECT count(*) FROM orders.outbox) AS outbox, (SELECT count(*) FROM orders.idempotency) AS keys",
        )
      ).rows;
    await app.settled();
    const counted = await rows();
    const { orderId } = await transaction("ROLLBACK", async (client) => {
      const placed = await app.as(ann).within(client, (acme) => acme.orders.place(order, { idempotencyKey: "again" }));
      await invoice(client, placed.orderId);
      return placed;
    });
    expect(await orderIds()).toEqual(before);
    expect(await rows()).toEqual(counted);
    expect((await shop.query("SELECT * FROM shop.invoices")).rows).toEqual([]);
    const second = await app.as(ann).orders.place(order, { idempotencyKey: "again" });
    expect(second.orderId).not.toBe(orderId);
    // Only the second one is told of.
    await untilHeard(1);
    await app.settled();
    expect(heard).toHaveLength(1);
    expect(published.filter((each) => each.includes(orderId))).toEqual([]);
    expect(published.filter((each) => each.includes(second.orderId))).toHaveLength(1);
  });

  it("what it schedules waits for the host's commit, and can be seen and called off inside", async () => {
    const { delivery, audit } = app.as(ann);
    const rings = async () => (await audit.list({ operation: "bells.ring" })).items.length;
    await transaction("ROLLBACK", (client) => app.as(ann).within(client, (acme) => acme.bells.ringSoon({})));
    await transaction("COMMIT", async (client) => {
      await app.as(ann).within(client, async (acme) => {
        await acme.bells.ringSoon({});
        await acme.bells.ringSoon({});
        const [first] = (await acme.delivery.listScheduled()).items;
        await acme.delivery.cancelScheduled({ context: "bells", key: first!.key });
        expect((await acme.delivery.listScheduled()).items).toHaveLength(1);
      });
      expect((await delivery.listScheduled()).items).toEqual([]);
    });
    const told = () => heard.find(({ contexts }) => contexts.includes("delivery"));
    await expect
      .poll(told, { timeout: 10_000 })
      .toMatchObject({ contexts: ["bells", "delivery"], dueAt: expect.any(Number) });
    await expect.poll(rings, { timeout: 10_000 }).toBe(1);
    expect((await delivery.listScheduled()).items).toEqual([]);
  });

  it("reads see what the transaction has written, and nobody else does", async () => {
    await transaction("ROLLBACK", async (client) => {
      await app.as(ann).within(client, async (acme) => {
        const { orderId } = await acme.orders.place(order);
        await acme.orders.ship({ orderId });
        const { items } = await acme.orders.list({ status: "shipped", limit: 200 });
        expect(items.map((each) => each.orderId)).toContain(orderId);
        expect(
          (await acme.audit.events({ aggregateType: "order", aggregateId: orderId })).items.map(({ type }) => type),
        ).toEqual(["order.shipped", "order.placed"]);
        expect((await acme.audit.list({ operation: "orders.ship", limit: 1 })).items[0]?.target).toBe(orderId);
        expect((await app.as(ann).audit.events({ aggregateType: "order", aggregateId: orderId })).items).toEqual([]);
      });
    });
  });

  it("leaves the host's role and settings alone", async () => {
    await transaction("COMMIT", async (client) => {
      await client.query("SET LOCAL search_path = shop");
      await app.as(ann).within(client, (acme) => acme.orders.place(order));
      const { rows } = await client.query(
        "SELECT current_user AS role, current_setting('search_path') AS path, current_setting('armature.tenant', true) AS tenant, current_setting('enable_seqscan') AS scans",
      );
      expect(rows).toEqual([{ role: `${database.name}_shop`, path: "shop", tenant: "", scans: "on" }]);
      await expect(client.query("SELECT * FROM orders.aggregates")).rejects.toMatchObject({ code: "42501" });
      await client.query("ROLLBACK");
      await client.query("BEGIN");
    });
  });

  it("a conflict is thrown at once, and the transaction is still usable", async () => {
    const { orderId } = await app.as(ann).orders.place(order);
    await transaction("COMMIT", async (client) => {
      // Somebody else is quicker, between the load and the commit. A second run would find the order shipped.
      const overtaken: TransactionClient = {
        query: async (config) => {
          if (config.text.includes("commit_within")) await app.as(ann).orders.ship({ orderId });
          return client.query(config);
        },
      };
      await expect(app.as(ann).within(overtaken, (acme) => acme.orders.ship({ orderId }))).rejects.toThrow(
        VersionConflict,
      );
      await invoice(client, orderId);
      await app.as(ann).within(client, (acme) => acme.orders.place(order));
    });
    expect((await shop.query("SELECT order_id FROM shop.invoices")).rows).toEqual([{ order_id: orderId }]);
  });

  it("so is one in a transaction that sees everything as it was at its beginning", async () => {
    const { orderId } = await app.as(ann).orders.place(order);
    await transaction("COMMIT", async (client) => {
      await client.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
      await client.query("SELECT 1");
      await app.as(ann).orders.ship({ orderId });
      await app.as(ann).within(client, async (acme) => {
        await expect(acme.orders.ship({ orderId })).rejects.toThrow(VersionConflict);
        await acme.orders.place(order);
      });
    });
  });

  it("a refused command leaves the transaction usable, and its audit row survives a rollback", async () => {
    const { orderId } = await app.as(ann).orders.place(order);
    await app.as(ann).orders.ship({ orderId });
    const before = (await app.as(ann).audit.list({ operation: "orders.ship", outcome: "refused" })).items.length;
    await transaction("ROLLBACK", (client) =>
      app.as(ann).within(client, async (acme) => {
        await expect(acme.orders.ship({ orderId })).rejects.toMatchObject({ code: "order.not_open" });
        await acme.orders.place(order);
        await invoice(client, orderId);
      }),
    );
    await expect
      .poll(async () => (await app.as(ann).audit.list({ operation: "orders.ship", outcome: "refused" })).items.length)
      .toBe(before + 1);
  });

  it("commands that run at the same time take turns, and nested ones too", async () => {
    const ids = await transaction("COMMIT", (client) =>
      app.as(ann).within(client, async (acme) => {
        const placed = await Promise.all([
          ...Array.from({ length: 10 }, () => acme.orders.place(order)),
          app.as(ann).within(client, (nested) => nested.orders.place(order)),
        ]);
        const lists = await Promise.all(Array.from({ length: 5 }, () => acme.orders.list({ limit: 200 })));
        for (const { items } of lists)
          expect(items.map((each) => each.orderId)).toEqual(expect.arrayContaining(placed.map((each) => each.orderId)));
        return placed.map((each) => each.orderId);
      }),
    );
    expect(await orderIds()).toEqual(expect.arrayContaining(ids));
  });

  it("a command that nobody waited for is part of it all the same", async () => {
    let floating: Promise<{ orderId: string }> | undefined;
    await transaction("COMMIT", (client) =>
      app.as(ann).within(client, (acme) => {
        floating = acme.orders.place(order);
      }),
    );
    expect(await orderIds()).toContain((await floating)?.orderId);
  });

  it("each tenant sees and changes only its own, in one transaction", async () => {
    const { orderId } = await app.as(ann).orders.place(order);
    await transaction("COMMIT", async (client) => {
      const mine = await app.as(ann).within(client, (acme) => acme.orders.place(order));
      await app.as(eve).within(client, async (other) => {
        for (const id of [orderId, mine.orderId])
          await expect(other.orders.ship({ orderId: id })).rejects.toThrow(NotFound);
        expect((await other.orders.list({ limit: 200 })).items).toEqual([]);
        expect((await other.audit.events({ aggregateType: "order", aggregateId: mine.orderId })).items).toEqual([]);
        const theirs = await other.orders.place(order);
        await app.as(ann).within(client, async (acme) => {
          expect((await acme.orders.list({ limit: 200 })).items.map((each) => each.orderId)).not.toContain(
            theirs.orderId,
          );
        });
      });
    });
    expect(await orderIds(eve)).toHaveLength(1);
    expect(await orderIds()).not.toContain((await orderIds(eve))[0]);
  });

  describe("refuses", () => {
    const reason = async (work: Promise<unknown>) =>
      work.then(
        () => "nothing",
        (error: unknown) => (error instanceof HostTransactionUnusable ? error.details.reason : error),
      );

    it("a client that is in no transaction, and runs nothing", async () => {
      const client = await shop.connect();
      const before = await orderIds();
      let ran = false;
      const run = () => {
        ran = true;
      };
      expect(await reason(app.as(ann).within(client, run))).toBe("not-open");
      expect(await reason(app.as(ann).within(shop, run))).toBe("not-open");
      client.release();
      expect([ran, await orderIds()]).toEqual([false, before]);
    });

    it("a transaction that has failed", async () => {
      await transaction("ROLLBACK", async (client) => {
        await expect(client.query("SELECT 1/0")).rejects.toThrow();
        expect(await reason(app.as(ann).within(client, () => undefined))).toBe("failed");
      });
      await transaction("ROLLBACK", (client) =>
        app.as(ann).within(client, async (acme) => {
          await expect(client.query("SELECT 1/0")).rejects.toThrow();
          expect(await reason(acme.orders.place(order))).toBe("failed");
          expect(await reason(acme.orders.list())).toBe("failed");
        }),
      );
    });

    it.each(["COMMIT", "ROLLBACK"])("commands after a %s in the middle, also in the next transaction", async (end) => {
      const before = await orderIds();
      await transaction("ROLLBACK", (client) =>
        app.as(ann).within(client, async (acme) => {
          await client.query(end);
          expect(await reason(acme.orders.place(order))).toBe("not-open");
          expect(await reason(acme.orders.list())).toBe("not-open");
          await client.query("BEGIN");
          expect(await reason(acme.orders.place(order))).toBe("not-open");
          expect(await reason(acme.orders.list())).toBe("not-open");
        }),
      );
      expect(await orderIds()).toEqual(before);
    });

    it("commands after the function has ended", async () => {
      await transaction("ROLLBACK", async (client) => {
        const leaked = await app.as(ann).within(client, (acme) => acme.orders);
        expect(await reason(leaked.place(order))).toBe("left");
        expect((await client.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
      });
    });

    it("actions and streams, by type and when they are called all the same", async () => {
      await transaction("ROLLBACK", (client) =>
        app.as(ann).within(client, async (acme) => {
          // @ts-expect-error an action is not offered here
          const invoke = acme.connectors.invoke as () => Promise<unknown>;
          await expect(invoke()).rejects.toThrow(NotWithinTransaction);
          // @ts-expect-error a stream is not offered here
          const watch = acme.orders.watch as (input: unknown) => AsyncIterable<unknown>;
          expect(() => watch({ orderId: "ord_1" })).toThrow(NotWithinTransaction);
          await acme.orders.list();
        }),
      );
    });

    it("stores that have no transactions of the host's", async () => {
      for (const store of [inMemory(), pglite()]) {
        const elsewhere = await createArmature({ store, keyEncryptionKey });
        const client: TransactionClient = { query: () => Promise.reject(new Error("it was used")) };
        await expect(elsewhere.as(ann).within(client, () => undefined)).rejects.toThrow(HostTransactionUnsupported);
        await elsewhere.close();
      }
    });

    it("a role that `migrate` was not told of, and says so", async () => {
      await database.pool.query(`CREATE ROLE "${database.name}_stranger" LOGIN`);
      const client = await database.poolAs(`${database.name}_stranger`).connect();
      await client.query("BEGIN");
      await expect(app.as(ann).within(client, (acme) => acme.orders.list())).rejects.toMatchObject({
        code: "store.not_migrated",
        message: expect.stringContaining("this role may not use it"),
      });
      await client.query("ROLLBACK");
      client.release();
      const told = await createArmature({
        store: postgres({
          pool: own,
          migrationPool: database.pool,
          rolePrefix: database.name,
          appRole: `${database.name}_app`,
          hostRoles: [`${database.name}_stranger`],
        }),
        contexts: [ordersContext, bellsContext],
        keyEncryptionKey,
        relay: false,
      });
      expect(await told.pendingMigration()).toContain(`orders: functions for host role ${database.name}_stranger`);
      await told.close();
      expect(await app.pendingMigration()).toEqual([]);
      // Nor may one that it was told of do what the relay does, or see a row.
      await expect(shop.query("SELECT orders.outbox_size(NULL, NULL)")).rejects.toMatchObject({ code: "42501" });
      await expect(shop.query("SELECT * FROM orders.events")).rejects.toMatchObject({ code: "42501" });
    });

    it("a context of the name", async () => {
      await expect(
        createArmature({
          store: inMemory(),
          contexts: [{ ...ordersContext, contract: { ...ordersContext.contract, name: "within" } }],
        }),
      ).rejects.toThrow('A context cannot be named "within"');
    });
  });

  it("passes on what the function throws", async () => {
    const error = new Error("the host's own");
    await expect(
      transaction("COMMIT", (client) =>
        app.as(ann).within(client, () => {
          throw error;
        }),
      ),
    ).rejects.toBe(error);
  });

  it("a call that is given up does nothing more once the function has ended", async () => {
    const { orderId } = await app.as(ann).orders.place(order);
    const blocker = await shop.connect();
    await blocker.query("BEGIN");
    await app.as(ann).within(blocker, (acme) => acme.orders.ship({ orderId }));
    await transaction("ROLLBACK", async (client) => {
      const call = Promise.withResolvers<unknown>();
      let ended = false;
      const within = app
        .as(ann)
        .within(client, (acme) => {
          const shipping = acme.orders.ship({ orderId }, { timeoutMs: 50 });
          shipping.catch(call.resolve);
          return shipping;
        })
        .finally(() => {
          ended = true;
        });
      within.catch(() => undefined);
      expect(await call.promise).toBeInstanceOf(DeadlineExceeded);
      // The other one has the order's row: until it ends, so does the statement that waits for it.
      const waiting = "SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted AND pid = $1";
      const pid = (client as PoolClient & { readonly processID: number }).processID;
      expect((await shop.query(waiting, [pid])).rows).toEqual([{ n: 1 }]);
      expect(ended).toBe(false);
      await blocker.query("COMMIT");
      await expect(within).rejects.toThrow(DeadlineExceeded);
      expect((await client.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    });
    blocker.release();
    const controller = new AbortController();
    controller.abort();
    await transaction("ROLLBACK", async (client) => {
      await expect(
        app.as(ann).within(client, (acme) => acme.orders.place(order, { signal: controller.signal })),
      ).rejects.toMatchObject({ code: "canceled" });
    });
  });

  it("takes one connection, so that a pool whose connections all have a transaction open is enough", async () => {
    await app.as(setup).identity.createTenant({ name: "Acme" });
    await app
      .as(setup)
      .identity.createUser({ userId: "ann", name: "Ann", email: "ann@acme.example", roles: ["owner"] });
    // The store's own pool is the one that is exhausted.
    const small = new Pool({ connectionString: own.options.connectionString, max: 3 });
    const all = await Promise.all(Array.from({ length: 3 }, () => small.connect()));
    const byRoles = await createArmature({
      store: postgres({ pool: small, rolePrefix: database.name }),
      contexts: [ordersContext, bellsContext],
      keyEncryptionKey,
      relay: false,
    });
    try {
      await Promise.all(
        all.map(async (client) => {
          await client.query("BEGIN");
          await byRoles.as(ann).within(client, async (acme) => {
            await acme.orders.place(order);
            await expect(acme.orders.ship({ orderId: "ord_none" })).rejects.toThrow(NotFound);
          });
          await client.query("ROLLBACK");
        }),
      );
    } finally {
      for (const client of all) client.release();
    }
    await byRoles.close();
    await small.end();
  });

  describe("permissions", () => {
    let byRoles: App;
    beforeAll(async () => {
      byRoles = await createArmature({
        store: postgres({ pool: own, rolePrefix: database.name }),
        contexts: [ordersContext, bellsContext],
        keyEncryptionKey,
        relay: false,
      });
      await app.as({ tenant: "roles", system: "setup" }).identity.createTenant({ name: "Roles" });
      await app
        .as({ tenant: "roles", system: "setup" })
        .identity.createUser({ userId: "boss", name: "Boss", email: "boss@roles.example", roles: ["owner"] });
    });
    afterAll(() => byRoles.close());

    it("are what the transaction says while it is open, and are not remembered from one that is rolled back", async () => {
      const boss = byRoles.as({ tenant: "roles", user: "boss" });
      const cy = byRoles.as({ tenant: "roles", user: "cy" });
      await transaction("ROLLBACK", async (client) => {
        await boss.within(client, (roles) =>
          roles.identity.createUser({ userId: "cy", name: "Cy", email: "cy@roles.example", roles: ["owner"] }),
        );
        await cy.within(client, (roles) => roles.orders.place(order));
        await expect(cy.orders.list()).rejects.toThrow(Forbidden);
      });
      await expect(cy.orders.list()).rejects.toThrow(Forbidden);
    });

    it("that the host commits count in this process soon after, in spite of what it remembers", async () => {
      const setupRoles = byRoles.as({ tenant: "roles", system: "setup" });
      await setupRoles.identity.createUser({
        userId: "dee",
        name: "Dee",
        email: "dee@roles.example",
        roles: ["owner"],
      });
      const dee = byRoles.as({ tenant: "roles", user: "dee" });
      await dee.orders.list();
      const told = new Promise((resolve) => byRoles.on("committed", resolve));
      await transaction("COMMIT", async (client) => {
        await setupRoles.within(client, (roles) => roles.identity.disableUser({ userId: "dee" }));
        await dee.orders.list();
      });
      await told;
      await expect(dee.orders.list()).rejects.toThrow(Forbidden);
    });
  });

  it("a process that is killed right after the host's commit loses no event, and none is published twice", async () => {
    const url = new URL(database.url);
    url.username = `${database.name}_app`;
    const victim = spawn(process.execPath, ["--conditions=@armature/source", "tests/crash/within-victim.ts"], {
      env: { ...process.env, DATABASE_URL: url.href, ROLE_PREFIX: database.name, KEY: keyEncryptionKey },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let printed = "";
    victim.stdout.setEncoding("utf8").on("data", (part: string) => {
      printed += part;
    });
    expect(await once(victim, "close")).toEqual([null, "SIGKILL"]);
    const { orderId, key } = JSON.parse(printed) as { orderId: string; key: string };

    // The relay of another process finds it.
    await app.settled();
    expect(published.filter((each) => each.includes(orderId))).toEqual([`order.placed order/${orderId}`]);
    expect(await app.as(ann).orders.place(order, { idempotencyKey: key })).toEqual({ orderId });
  });

  it("a closing application waits for the function, and takes no new one", async () => {
    const other = await start({ relay: false });
    await transaction("COMMIT", async (client) => {
      let closing: Promise<void> | undefined;
      const { orderId } = await other.as(ann).within(client, async (acme) => {
        closing = other.close();
        await expect(other.as(ann).within(client, () => undefined)).rejects.toThrow(ShuttingDown);
        return acme.orders.place(order);
      });
      await closing;
      await invoice(client, orderId);
    });
    const { rows } = await shop.query("SELECT order_id FROM shop.invoices");
    expect(await orderIds()).toContain(rows[0].order_id);
  });
});
