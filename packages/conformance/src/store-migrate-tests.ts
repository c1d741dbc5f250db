import type { Store, StoredContext } from "@armature/core";
import { expect } from "vitest";
import { fresh } from "./expectations.ts";
import { ALPHA, allPages, contexts, index, newId, outboxOf, part, save } from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

const GROWING = "conformance_growing";

const growing = (...fields: string[]): StoredContext => ({
  name: GROWING,
  aggregates: [{ type: "thing", index: fields }],
});

/** Creating and upgrading what contexts need. */
export function registerMigrateTests(test: RegisterTest, store: () => Store): void {
  test("migrating again changes nothing that is stored", async () => {
    const tenant = fresh("t");
    const ref = { type: "order", id: newId("ord") };
    await save(store(), tenant, ALPHA, ref, 0, { index: index({ status: "open", total: 1 }) });
    await store().records.put({ tenant, context: ALPHA }, "key", { a: 1 }, 0);
    await store().migrate(contexts);
    await store().migrate(contexts);
    await store().migrate([]);
    expect((await store().load({ tenant, context: ALPHA }, [ref]))[0]).toMatchObject({ version: 1 });
    expect(await store().records.get({ tenant, context: ALPHA }, "key")).toEqual({ version: 1, value: { a: 1 } });
    expect(await outboxOf(store(), ALPHA, tenant)).toHaveLength(1);
    await save(store(), tenant, ALPHA, ref, 1);
    expect((await store().events(tenant, { contexts: [ALPHA], limit: 5 })).items).toHaveLength(2);
  });

  test("many processes may migrate at once, also while others write", async () => {
    const tenant = fresh("t");
    const fresher: StoredContext = { name: "conformance_together", aggregates: [{ type: "thing", index: ["name"] }] };
    const writes = Array.from({ length: 10 }, () =>
      save(store(), tenant, ALPHA, { type: "order", id: newId("ord") }, 0),
    );
    await Promise.all([...Array.from({ length: 5 }, () => store().migrate([...contexts, fresher])), ...writes]);
    await save(store(), tenant, fresher.name, { type: "thing", id: "a" }, 0, { index: index({ name: "x" }) });
    expect((await store().load({ tenant, context: fresher.name }, [{ type: "thing", id: "a" }]))[0]?.version).toBe(1);
    expect((await store().find({ tenant, context: ALPHA }, { type: "order", limit: 50 })).items).toHaveLength(10);
  });

  test("a field that is declared later can be searched, and what was stored before sorts first", async () => {
    const tenant = fresh("t");
    const scope = { tenant, context: GROWING };
    await store().migrate([growing()]);
    for (const id of ["old-b", "old-a"]) await save(store(), tenant, GROWING, { type: "thing", id }, 0);
    await store().migrate([growing("name")]);
    for (const [id, name] of [
      ["new-b", "1"],
      ["new-a", "2"],
    ] as const)
      await save(store(), tenant, GROWING, { type: "thing", id }, 0, { index: index({ name }) });

    const ids = async (limit: number, direction: "asc" | "desc") =>
      (
        await allPages(limit, (page) => store().find(scope, { type: "thing", orderBy: "name", direction, ...page }))
      ).map(({ id }) => id);
    for (const limit of [1, 2, 3, 10]) {
      expect(await ids(limit, "asc")).toEqual(["old-a", "old-b", "new-b", "new-a"]);
      expect(await ids(limit, "desc")).toEqual(["new-a", "new-b", "old-b", "old-a"]);
    }
    const named = await store().find(scope, { type: "thing", where: index({ name: "2" }), limit: 5 });
    expect(named.items.map(({ id }) => id)).toEqual(["new-a"]);
  });

  test("a type that is declared later can be stored", async () => {
    const tenant = fresh("t");
    const { name, aggregates } = growing("name");
    await store().migrate([{ name, aggregates: [...aggregates, { type: "later", index: ["size"] }] }]);
    await save(store(), tenant, name, { type: "later", id: "a" }, 0, { index: index({ size: 3 }) });
    const found = await store().find({ tenant, context: name }, { type: "later", where: index({ size: 3 }), limit: 5 });
    expect(found.items).toHaveLength(1);
  });

  test("it answers a ping", async () => {
    await expect(store().ping()).resolves.toBeUndefined();
    expect(await store().commit(fresh("t"), { parts: [part(ALPHA)] })).toEqual({ status: "committed" });
  });
}
