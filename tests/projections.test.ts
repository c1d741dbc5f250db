import {
  createArmature,
  defineContext,
  defineContract,
  defineProjection,
  Forbidden,
  identity,
  type JsonObject,
  ProjectionNotReady,
  ProjectionRebuilding,
  query,
  type StoreAdapter,
  TenantSuspended,
} from "@armature/core";
import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { withoutServer } from "../packages/adapter-postgres/src/fresh-database.ts";
import { inMemoryPlace, keyEncryptionKey, type Place, pglitePlace, postgresPlace } from "./scenarios/place.ts";
import { byCustomer, SaleMade, sales, salesContext } from "./scenarios/sales.ts";

const NAME = "sales.by_customer";
const LONG_MS = 60_000;
const places = [inMemoryPlace, pglitePlace, ...((await withoutServer()) ? [] : [postgresPlace])];

describe.each(places)("projections, $name", ({ make }) => {
  const opened: Place[] = [];
  afterEach(async () => {
    for (const place of opened.splice(0)) await place.close();
  });

  const start = async (
    store: StoreAdapter,
    context = salesContext(),
    projections: Parameters<typeof createArmature>[0]["projections"] = { pollMs: 20, backoffMs: 1, maxBackoffMs: 2 },
  ) => {
    const app = await createArmature({
      store,
      keyEncryptionKey,
      contexts: [context],
      projections,
      authorizer: () => true,
      logger: { debug() {}, info() {}, warn() {}, error() {} },
    });
    await app.migrate();
    return app;
  };
  type App = Awaited<ReturnType<typeof start>>;
  const acme = (app: App) => app.as({ tenant: "acme", user: "ann" }).sales;
  const operator = (app: App) => app.as({ tenant: "host", system: "operator" }).projections;
  const status = async (app: App) =>
    (await operator(app).list({})).items.find(({ projection }) => projection === NAME)!;
  /** Until the status is such; a status comes of the store, and nobody tells of its change. */
  const until = async (app: App, fits: (view: Awaited<ReturnType<typeof status>>) => boolean) => {
    for (;;) {
      const view = await status(app);
      if (fits(view)) return view;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const place = async () => {
    const made = await make();
    opened.push(made);
    return made;
  };

  test(
    "show what events made of them, to their tenant alone, by their index fields",
    async () => {
      const app = await start(await (await place()).open());
      const sold = await acme(app).make({ customer: "bo", amount: 5 });
      await acme(app).make({ customer: "bo", amount: 7 });
      await acme(app).make({ customer: "cy", amount: 30 });
      await acme(app).make({ customer: "di", amount: 1 });
      await acme(app).refund({ saleId: sold.saleId, amount: 2 });
      await app.as({ tenant: "globex", user: "eve" }).sales.make({ customer: "bo", amount: 1_000 });
      await app.settled();

      const page = await acme(app).customers({ direction: "desc", limit: 2 });
      expect(page.items).toMatchObject([
        { customer: "cy", spent: 30, events: 1 },
        { customer: "bo", spent: 10, events: 3 },
      ]);
      const rest = await acme(app).customers({ direction: "desc", limit: 2, after: page.next });
      expect(rest).toMatchObject({ items: [{ customer: "di", spent: 1 }] });
      expect(rest.next).toBeUndefined();
      expect((await acme(app).customers({ atLeast: 10 })).items.map(({ customer }) => customer)).toEqual(["bo", "cy"]);
      expect(await app.as({ tenant: "globex", user: "eve" }).sales.customers({})).toMatchObject({
        items: [{ customer: "bo", spent: 1_000, events: 1 }],
      });
      expect((await acme(app).customer({ customer: "nobody" })).row).toBeNull();
      await app.close();
    },
    LONG_MS,
  );

  test(
    "cannot be read before they have caught up for the first time",
    async () => {
      const made = await place();
      const elsewhere = await start(await made.open(), salesContext(), false);
      await acme(elsewhere).make({ customer: "bo", amount: 5 });
      await expect(acme(elsewhere).customers({})).rejects.toThrow(ProjectionNotReady);
      await expect(acme(elsewhere).customer({ customer: "bo" })).rejects.toThrow(ProjectionNotReady);
      const app = await start(await made.open());
      await app.settled();
      expect((await acme(elsewhere).customer({ customer: "bo" })).row).toMatchObject({ spent: 5 });
      await Promise.all([app.close(), elsewhere.close()]);
    },
    LONG_MS,
  );

  test(
    "can be managed by the system alone",
    async () => {
      const app = await start(await (await place()).open());
      const ann = app.as({ tenant: "acme", user: "ann" }).projections;
      for (const call of [
        () => ann.list({}),
        () => ann.pause({ projection: NAME }),
        () => ann.resume({ projection: NAME }),
        () => ann.rebuild({ projection: NAME }),
      ])
        await expect(call()).rejects.toThrow(Forbidden);
      await expect(operator(app).pause({ projection: "sales.nothing" })).rejects.toMatchObject({ code: "not_found" });
      await app.close();
    },
    LONG_MS,
  );

  test(
    "a paused one applies nothing until it is resumed, and can be read meanwhile",
    async () => {
      const app = await start(await (await place()).open());
      await acme(app).make({ customer: "bo", amount: 5 });
      await app.settled();
      await operator(app).pause({ projection: NAME });
      await acme(app).make({ customer: "bo", amount: 5 });
      await app.settled();
      expect((await acme(app).customer({ customer: "bo" })).row).toMatchObject({ spent: 5 });
      expect(await status(app)).toMatchObject({ paused: true, generations: [{ status: "serving", lag: 1 }] });
      await operator(app).resume({ projection: NAME });
      await app.settled();
      expect((await acme(app).customer({ customer: "bo" })).row).toMatchObject({ spent: 10 });
      expect(await status(app)).toMatchObject({ paused: false, generations: [{ status: "serving", lag: 0 }] });
      await app.close();
    },
    LONG_MS,
  );

  test(
    "one that fails at an event tries again, stops there with its error, and goes on when it is resumed",
    async () => {
      let broken = true;
      const context = salesContext(
        byCustomer({
          before: ({ data }) => {
            if (data.amount === 13 && broken) throw new Error("thirteen");
          },
        }),
      );
      const app = await start(await (await place()).open(), context);
      for (const amount of [1, 2]) await acme(app).make({ customer: "bo", amount });
      await app.settled();
      for (const amount of [13, 4]) await acme(app).make({ customer: "bo", amount });
      const stopped = await until(app, ({ generations }) => generations[0]?.stopped !== undefined);
      expect(stopped.generations[0]).toMatchObject({ stopped: { reason: "Error: thirteen", attempts: 8 }, lag: 2 });
      expect((await acme(app).customer({ customer: "bo" })).row).toMatchObject({ spent: 3, events: 2 });
      broken = false;
      await operator(app).resume({ projection: NAME });
      await app.settled();
      expect((await acme(app).customer({ customer: "bo" })).row).toMatchObject({ spent: 20, events: 4 });
      expect((await status(app)).generations).toHaveLength(1);
      await app.close();
    },
    LONG_MS,
  );

  test(
    "a new version is made beside the old one, which old and new processes read until then",
    async () => {
      const made = await place();
      const old = await start(await made.open());
      for (let at = 0; at < 5; at += 1) await acme(old).make({ customer: "bo", amount: 1 });
      await old.settled();
      let let7Pass = false;
      const second = byCustomer({
        version: 2,
        before: ({ data }) => {
          if (data.amount === 7 && !let7Pass) throw new Error("not yet");
        },
      });
      await acme(old).make({ customer: "bo", amount: 7 });
      const young = await start(await made.open(), salesContext(second));
      await until(young, ({ generations }) => generations.some(({ stopped }) => stopped !== undefined));
      // The old one is still kept up to date, by the process that knows how.
      await acme(young).make({ customer: "bo", amount: 3 });
      await old.settled();
      for (const app of [old, young])
        expect((await acme(app).customer({ customer: "bo" })).row).toMatchObject({ spent: 15, events: 7 });
      expect((await status(young)).generations).toMatchObject([
        { generation: 1, version: 1, status: "serving", lag: 0 },
        { generation: 2, version: 2, status: "building", stopped: { reason: "Error: not yet" } },
      ]);
      let7Pass = true;
      await operator(young).resume({ projection: NAME });
      await until(young, ({ generations }) => generations.length === 1);
      await young.settled();
      expect((await acme(young).customer({ customer: "bo" })).row).toMatchObject({ spent: 30, events: 7 });
      // Code of the old version leaves the new rows to who knows them.
      await old.settled();
      expect((await status(old)).generations).toMatchObject([{ generation: 2, version: 2, status: "serving", lag: 0 }]);
      await Promise.all([old.close(), young.close()]);
    },
    LONG_MS,
  );

  test(
    "rows that do not fit the new version are not shown in its place",
    async () => {
      const made = await place();
      const old = await start(await made.open());
      await acme(old).make({ customer: "bo", amount: 1 });
      await old.settled();
      const stricter = defineProjection("by_customer", {
        version: 2,
        row: z.object({ spent: z.int().min(1_000), events: z.int(), last: z.string() }),
        index: ["spent"],
        events: (on) => [
          on(SaleMade, ({ id, data }, rows) => rows.put(data.customer, { spent: 1_000, events: 1, last: id })),
        ],
      });
      const young = await start(await made.open(), salesContext(stricter), false);
      await expect(acme(young).customers({})).rejects.toThrow(ProjectionNotReady);
      await Promise.all([old.close(), young.close()]);
    },
    LONG_MS,
  );

  test(
    "an event of an older version is applied in the newest, one of a version that is not known stops the projection",
    async () => {
      const made = await place();
      const app = await start(await made.open());
      const write = (id: string, version: number, data: JsonObject) =>
        made.store.commit("acme", {
          parts: [
            {
              context: "sales",
              aggregates: [
                {
                  ...{ type: "sale", id, expectedVersion: 0 },
                  write: { version: 1, stateVersion: 1, state: { customer: "bo", left: 1 }, index: {} },
                },
              ],
              events: [
                {
                  ...{ id: `evt_${id}`, tenant: "acme", context: "sales", type: "sale.made", version, data },
                  ...{ aggregateType: "sale", aggregateId: id, aggregateVersion: 1, time: "2026-01-02T03:04:05.678Z" },
                  ...{ actor: { type: "user", id: "ann" }, correlationId: "cor", causationId: "call" },
                  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                },
              ],
              messages: [],
              audit: [],
            },
          ],
        });
      await write("sale_old", 1, { by: "bo", amount: 4 });
      await app.settled();
      expect((await acme(app).customer({ customer: "bo" })).row).toMatchObject({ spent: 4, events: 1 });
      await write("sale_new", 3, { buyer: { name: "bo" }, amount: 4 });
      const { generations } = await until(app, (view) => view.generations[0]?.stopped !== undefined);
      expect(generations[0]?.stopped).toMatchObject({ eventId: "evt_sale_new", attempts: 1 });
      expect(generations[0]?.stopped?.reason).toContain("is newer than 2, the newest known here");
      await app.close();
    },
    LONG_MS,
  );

  test(
    "one of a context that depends on another follows that one's events too",
    async () => {
      const Counts = defineProjection("counts", {
        row: z.object({ n: z.int() }),
        events: (on) => [
          on(SaleMade, async (_event, rows) => rows.put("sales", { n: ((await rows.get("sales"))?.n ?? 0) + 1 })),
          on(TenantSuspended, async (_event, rows) =>
            rows.put("stops", { n: ((await rows.get("stops"))?.n ?? 0) + 1 }),
          ),
        ],
      });
      const desk = defineContract("desk", {
        counts: query({
          input: z.strictObject({}),
          output: z.record(z.string(), z.int()),
          permission: "desk:read",
          summary: "Counts.",
        }),
      });
      const context = defineContext(desk, {
        dependsOn: [sales, identity],
        projections: [Counts],
        handlers: {
          counts: async (_input, ctx) =>
            Object.fromEntries((await ctx.find(Counts)).items.map(({ id, row }) => [id, row.n])),
        },
      });
      const made = await place();
      const app = await createArmature({
        ...{ store: await made.open(), keyEncryptionKey, authorizer: () => true },
        contexts: [salesContext(), context],
      });
      await app.migrate();
      await app.as({ tenant: "acme", system: "setup" }).identity.createTenant({ name: "Acme" });
      await app.as({ tenant: "acme", user: "ann" }).sales.make({ customer: "bo", amount: 1 });
      await app.as({ tenant: "acme", system: "setup" }).identity.suspendTenant({});
      await app.as({ tenant: "acme", user: "ann" }).sales.make({ customer: "cy", amount: 1 });
      await app.settled();
      expect(await app.as({ tenant: "acme", user: "ann" }).desk.counts({})).toEqual({ sales: 2, stops: 1 });
      const view = (await app.as({ tenant: "host", system: "operator" }).projections.list({})).items;
      expect(
        Object.keys(view.find(({ projection }) => projection === "desk.counts")!.generations[0]!.positions),
      ).toEqual(expect.arrayContaining(["sales", "identity"]));
      await app.close();
    },
    LONG_MS,
  );

  test(
    "a rebuild makes a new generation beside the one that is read, and then that one is read",
    async () => {
      const made = await place();
      const app = await start(await made.open(), salesContext(byCustomer()));
      for (let at = 0; at < 30; at += 1) await acme(app).make({ customer: `c${at % 3}`, amount: 1 });
      await app.settled();
      await operator(app).pause({ projection: NAME });
      const { generation } = await operator(app).rebuild({ projection: NAME });
      expect(generation).toBe(2);
      await expect(operator(app).rebuild({ projection: NAME })).rejects.toThrow(ProjectionRebuilding);
      expect((await status(app)).generations.map((each) => each.status)).toEqual(["serving", "building"]);
      expect((await acme(app).customers({})).items).toHaveLength(3);
      await operator(app).resume({ projection: NAME });
      await app.settled();
      expect(await status(app)).toMatchObject({ generations: [{ generation: 2, status: "serving", lag: 0 }] });
      expect((await acme(app).customers({})).items.map(({ spent }) => spent)).toEqual([10, 10, 10]);
      const state = await made.store.projections.read("sales", "by_customer");
      expect(Object.keys(state?.positions ?? {})).toEqual(["2"]);
      await app.close();
    },
    LONG_MS,
  );
});
