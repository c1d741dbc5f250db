import type { JsonObject, Positions, ProjectionBatch, RowChange, Store, StoredRow } from "@armature/core";
import fc from "fast-check";
import { expect } from "vitest";
import { fresh } from "./expectations.ts";
import { ALPHA, allPages, BETA, garbageCursors, index, newId, save } from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

const LONG_MS = 60_000;

/**
 * What projections are kept in. Each test has a projection of its own, unless it asks for index fields.
 *
 * @param elsewhere the same backend as another process has it, where the adapter can show that
 */
export function registerProjectionTests(test: RegisterTest, store: () => Store, elsewhere: () => Store): void {
  const name = () =>
    fresh("p")
      .toLowerCase()
      .replaceAll(/[^a-z0-9]/g, "_")
      .slice(-40);
  const body: JsonObject = { any: ["thing", { at: 1 }] };
  /** A projection with one generation, which is read. */
  const begin = async (projection = name(), serving: number | undefined = 1) => {
    expect(await store().projections.write(ALPHA, projection, 0, { serving, body })).toBe(true);
    return projection;
  };
  const put = (tenant: string, id: string, row: JsonObject, fields: Parameters<typeof index>[0] = {}): RowChange => ({
    ...{ tenant, id },
    write: { row, index: index(fields) },
  });
  const commit = (
    projection: string,
    before: number | undefined,
    to: number,
    rows: readonly RowChange[],
    more: Partial<ProjectionBatch> = {},
  ) =>
    store().projections.commit(ALPHA, {
      ...{ projection, generation: 1, revision: 1, positions: { [ALPHA]: to }, rows },
      ...(before === undefined ? {} : { before: { [ALPHA]: before } }),
      ...more,
    });
  const rowOf = (tenant: string, projection: string, id: string) =>
    store().row({ tenant, context: ALPHA }, projection, id);
  const positionsOf = async (projection: string, generation = 1) =>
    (await store().projections.read(ALPHA, projection))?.positions[generation];

  test("what is kept of a projection is written by whoever has seen its revision", async () => {
    const projection = name();
    const { projections } = store();
    expect(await projections.read(ALPHA, projection)).toBeUndefined();
    expect(await projections.write(ALPHA, projection, 1, { body })).toBe(false);
    expect(await projections.write(ALPHA, projection, 0, { body })).toBe(true);
    expect(await projections.write(ALPHA, projection, 0, { body: {} })).toBe(false);
    expect(await projections.read(ALPHA, projection)).toEqual({ revision: 1, body, positions: {}, serving: undefined });
    expect(await projections.write(ALPHA, projection, 1, { serving: 3, body: { other: true } })).toBe(true);
    expect(await projections.read(ALPHA, projection)).toMatchObject({ revision: 2, serving: 3, body: { other: true } });
    expect(await projections.read(BETA, projection)).toBeUndefined();
  });

  test("while no generation is read, queries get no rows, not even none", async () => {
    const scope = { tenant: fresh("t"), context: ALPHA };
    const projection = name();
    expect(await store().rows(scope, { projection, limit: 5 })).toBeUndefined();
    expect(await store().row(scope, projection, "a")).toBeUndefined();
    expect(await store().projections.write(ALPHA, projection, 0, { body })).toBe(true);
    expect(await store().rows(scope, { projection, limit: 5 })).toBeUndefined();
    await store().projections.write(ALPHA, projection, 1, { serving: 1, body });
    expect(await store().rows(scope, { projection, limit: 5 })).toMatchObject({ items: [] });
    expect((await store().row(scope, projection, "a"))?.row).toBeUndefined();
  });

  test("rows and position are written together, or neither", async () => {
    const [tenant, projection] = [fresh("t"), await begin()];
    expect(await commit(projection, undefined, 5, [put(tenant, "a", { n: 1 }), put(tenant, "b", { n: 1 })])).toBe(true);
    expect(await commit(projection, 5, 9, [put(tenant, "a", { n: 2 }), { tenant, id: "b" }])).toBe(true);
    expect((await rowOf(tenant, projection, "a"))?.row).toEqual({ n: 2 });
    expect((await rowOf(tenant, projection, "b"))?.row).toBeUndefined();
    expect(await positionsOf(projection)).toEqual({ [ALPHA]: 9 });

    const stale: readonly [number | undefined, Partial<ProjectionBatch>][] = [
      [undefined, {}], // as if nothing were there yet
      [5, {}], // where it was before
      [9, { revision: 0 }],
      [9, { revision: 2 }],
      [9, { before: { [ALPHA]: 9, [BETA]: 1 } }],
      [9, { generation: 2 }],
    ];
    for (const [before, more] of stale)
      expect(await commit(projection, before, 20, [put(tenant, "a", { n: 3 })], more)).toBe(false);
    expect((await rowOf(tenant, projection, "a"))?.row).toEqual({ n: 2 });
    expect(await positionsOf(projection)).toEqual({ [ALPHA]: 9 });
  });

  test("once the rest was changed, nobody commits who has not seen it", async () => {
    const [tenant, projection] = [fresh("t"), await begin()];
    await commit(projection, undefined, 5, [put(tenant, "a", { n: 1 })]);
    await store().projections.write(ALPHA, projection, 1, { serving: 1, body: { paused: true } });
    expect(await commit(projection, 5, 6, [put(tenant, "a", { n: 2 })])).toBe(false);
    expect(await commit(projection, 5, 6, [put(tenant, "a", { n: 2 })], { revision: 2 })).toBe(true);
  });

  test("generations are apart, and queries read the one that is served", async () => {
    const [tenant, projection] = [fresh("t"), await begin()];
    await commit(projection, undefined, 5, [put(tenant, "a", { of: 1 }), put(tenant, "b", { of: 1 })]);
    await commit(projection, undefined, 2, [put(tenant, "a", { of: 2 })], { generation: 2 });
    const refs = ["b", "a", "c"].map((id) => ({ tenant, id }));
    const load = (generation: number) => store().projections.load(ALPHA, { projection, generation, refs });
    expect(await load(1)).toEqual([{ of: 1 }, { of: 1 }, undefined]);
    expect(await load(2)).toEqual([undefined, { of: 2 }, undefined]);
    expect((await rowOf(tenant, projection, "a"))?.row).toEqual({ of: 1 });
    await store().projections.write(ALPHA, projection, 1, { serving: 2, body });
    expect((await rowOf(tenant, projection, "a"))?.row).toEqual({ of: 2 });
    expect((await rowOf(tenant, projection, "b"))?.row).toBeUndefined();
    expect((await store().projections.read(ALPHA, projection))?.positions).toEqual({
      1: { [ALPHA]: 5 },
      2: { [ALPHA]: 2 },
    });
  });

  test("the rows of a generation go some at a time, and then its positions", async () => {
    const tenants = [fresh("t"), fresh("t")];
    const projection = await begin();
    const rows = tenants.flatMap((tenant) => ["a", "b", "c"].map((id) => put(tenant, id, {})));
    await commit(projection, undefined, 5, rows);
    await commit(projection, undefined, 7, rows, { generation: 2 });
    const drop = (limit: number) => store().projections.drop(ALPHA, { projection, generation: 1, limit });
    expect([await drop(4), await positionsOf(projection)]).toEqual([4, { [ALPHA]: 5 }]);
    expect([await drop(4), await positionsOf(projection)]).toEqual([2, undefined]);
    expect(await drop(4)).toBe(0);
    expect(await positionsOf(projection, 2)).toEqual({ [ALPHA]: 7 });
    const refs = rows.map(({ tenant, id }) => ({ tenant, id }));
    expect(await store().projections.load(ALPHA, { projection, generation: 2, refs })).toEqual(rows.map(() => ({})));
  });

  test("a tenant sees its own rows, also where ids are the same", async () => {
    const [one, other, projection] = [fresh("t"), fresh("t"), await begin()];
    await commit(projection, undefined, 1, [
      put(one, "a", { of: "one" }),
      put(other, "a", { of: "other" }),
      put(other, "b", {}),
    ]);
    expect((await rowOf(one, projection, "a"))?.row).toEqual({ of: "one" });
    expect((await rowOf(one, projection, "b"))?.row).toBeUndefined();
    const page = await store().rows({ tenant: one, context: ALPHA }, { projection, limit: 10 });
    expect(page?.items).toEqual([{ id: "a", row: { of: "one" } }]);
    await commit(projection, 1, 2, [{ tenant: one, id: "a" }]);
    expect((await rowOf(other, projection, "a"))?.row).toEqual({ of: "other" });
  });

  test("rows are found by index fields, in order, a page at a time", async () => {
    const [tenant, projection] = [fresh("t"), "indexed"];
    const seen = await store().projections.read(ALPHA, projection);
    if (seen === undefined) await begin(projection);
    const revision = seen?.revision ?? 1;
    const before = await positionsOf(projection);
    const at = (before?.[ALPHA] ?? 0) + 1;
    const rows = Array.from({ length: 20 }, (_, n) =>
      put(tenant, `r${n}`, { n }, { city: n % 2 === 0 ? "Oslo" : "Bern", n: n % 7 }),
    );
    const more = { revision, ...(before === undefined ? {} : { before }) };
    expect(await commit(projection, undefined, at, rows, more)).toBe(true);
    const scope = { tenant, context: ALPHA };
    const found = (query: object) =>
      allPages<StoredRow>(3, async (page) => (await store().rows(scope, { projection, ...query, ...page }))!);
    const numbers = (items: readonly StoredRow[]) => items.map(({ row }) => row["n"] as number);
    const expected = (keep: (n: number) => boolean, compare: (a: number, b: number) => number) =>
      Array.from({ length: 20 }, (_, n) => n)
        .filter(keep)
        .sort(compare);
    const byId = (a: number, b: number) => (`r${a}` < `r${b}` ? -1 : 1);

    expect(numbers(await found({}))).toEqual(expected(() => true, byId));
    expect(numbers(await found({ where: index({ city: "Oslo" }) }))).toEqual(expected((n) => n % 2 === 0, byId));
    const range = { field: "n", gte: index({ n: 2 })["n"], lt: index({ n: 5 })["n"] };
    expect(numbers(await found({ range, orderBy: "n" }))).toEqual(
      expected(
        (n) => n % 7 >= 2 && n % 7 < 5,
        (a, b) => (a % 7) - (b % 7) || byId(a, b),
      ),
    );
    expect(numbers(await found({ orderBy: "n", direction: "desc" }))).toEqual(
      expected(
        () => true,
        (a, b) => (b % 7) - (a % 7) || byId(b, a),
      ),
    );
    for (const after of garbageCursors)
      await expect(store().rows(scope, { projection, limit: 3, after })).rejects.toMatchObject({
        code: "invalid_input",
      });
  });

  test(
    "of several runners that all go on from the stored position, each event is applied once",
    async () => {
      const [tenant, projection] = [fresh("t"), await begin()];
      const start = await store().log.head(ALPHA);
      const orders = Array.from({ length: 5 }, () => ({ type: "order", id: newId("ord") }));
      const writers = orders.map(async (ref) => {
        for (let version = 0; version < 12; version += 1) await save(store(), tenant, ALPHA, ref, version);
      });
      const total = 5 * 12;
      const refs = [{ tenant, id: "all" }];
      const counted = async (from: Store) =>
        (await from.projections.load(ALPHA, { projection, generation: 1, refs }))[0] as
          | { readonly n: number }
          | undefined;
      // Each dies now and then between reading and writing, or after writing without having heard of it.
      const runner = async (which: number, from: Store) => {
        for (let turn = which; ((await counted(from))?.n ?? 0) < total; turn += 1) {
          const before = (await from.projections.read(ALPHA, projection))?.positions[1];
          const after = before?.[ALPHA] ?? start;
          const page = await from.log.read(ALPHA, { after, limit: 1 + (turn % 7) });
          if (page.upTo === after) continue;
          if (turn % 5 === 0) continue;
          const mine = page.items.filter(({ event }) => event.tenant === tenant).length;
          // Read after the position: a row that is older than it would be a commit that came apart.
          const n = ((await counted(from))?.n ?? 0) + mine;
          await from.projections.commit(ALPHA, {
            ...{ projection, generation: 1, revision: 1, positions: { [ALPHA]: page.upTo } },
            ...(before === undefined ? {} : { before }),
            rows: [put(tenant, "all", { n })],
          });
        }
      };
      await Promise.all([...writers, runner(1, store()), runner(2, elsewhere()), runner(3, elsewhere())]);
      expect(await counted(store())).toEqual({ n: total });
      const end = (await positionsOf(projection))?.[ALPHA] ?? 0;
      const { items } = await store().log.read(ALPHA, { after: end, limit: 500 });
      expect(items.filter(({ event }) => event.tenant === tenant)).toEqual([]);
    },
    LONG_MS,
  );

  test("any sequence of batches leaves what a map would hold", async () => {
    const change = fc.record({ id: fc.constantFrom("a", "b", "ü", "😀"), n: fc.option(fc.integer()) });
    const batches = fc.array(fc.uniqueArray(change, { selector: ({ id }) => id, maxLength: 4 }), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(batches, async (all) => {
        const [tenant, projection] = [fresh("t"), await begin()];
        const model = new Map<string, JsonObject>();
        let before: Positions | undefined;
        for (const [at, changes] of all.entries()) {
          const rows = changes.map(({ id, n }) => (n === null ? { tenant, id } : put(tenant, id, { n })));
          for (const { id, n } of changes) n === null ? model.delete(id) : model.set(id, { n });
          expect(await commit(projection, undefined, at + 1, rows, before === undefined ? {} : { before })).toBe(true);
          before = { [ALPHA]: at + 1 };
        }
        const page = await store().rows({ tenant, context: ALPHA }, { projection, limit: 10 });
        expect(new Map(page?.items.map(({ id, row }) => [id, row]))).toEqual(model);
      }),
      { numRuns: 20 },
    );
  });
}
