import { compareText, encodeIndexValue, type FindQuery, type IndexValue, type Store } from "@armature/core";
import fc from "fast-check";
import { expect } from "vitest";
import { expectRefusal, fresh } from "./expectations.ts";
import { ALPHA, allPages, auditRow, garbageCursors, index, part, save, written } from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

interface Row {
  readonly id: string;
  readonly status: IndexValue;
  readonly total: IndexValue;
}

type Query = Omit<FindQuery, "type" | "limit" | "after">;

/** Finding by index fields: filters, order, keyset pages. */
export function registerFindTests(test: RegisterTest, store: () => Store): void {
  const insert = (tenant: string, rows: readonly Row[]) =>
    store().commit(tenant, {
      parts: [
        part(ALPHA, {
          aggregates: rows.map(({ id, status, total }) =>
            written({ type: "order", id }, 0, { state: { status, total }, index: index({ status, total }) }),
          ),
        }),
      ],
    });
  const find = (tenant: string, query: Query & { readonly limit?: number; readonly after?: string | undefined } = {}) =>
    store().find({ tenant, context: ALPHA }, { type: "order", limit: 100, ...query });
  const found = async (tenant: string, query: Query = {}, limit = 100) =>
    (await allPages(limit, (page) => find(tenant, { ...query, ...page }))).map(({ id }) => id);

  /** Rows with these totals, named a, b, c… in the order given. */
  const withTotals = async (totals: readonly IndexValue[]) => {
    const tenant = fresh("t");
    await insert(
      tenant,
      totals.map((total, at) => ({ id: String.fromCharCode(97 + at), status: "open", total })),
    );
    return tenant;
  };
  const totals = async (tenant: string, query: Query) =>
    (await find(tenant, query)).items.map(({ state }) => state["total"]);

  test("aggregates of one type are found with their state and version, ordered by id", async () => {
    const tenant = fresh("t");
    await insert(tenant, [
      { id: "b", status: "open", total: 1 },
      { id: "a", status: "paid", total: 2 },
    ]);
    await save(store(), tenant, ALPHA, { type: "note", id: "c" }, 0);
    expect((await find(tenant)).items).toEqual([
      { type: "order", id: "a", version: 1, stateVersion: 1, state: { status: "paid", total: 2 } },
      { type: "order", id: "b", version: 1, stateVersion: 1, state: { status: "open", total: 1 } },
    ]);
    expect(await found(tenant, { direction: "desc" })).toEqual(["b", "a"]);
  });

  test("nothing to find is an empty page without a next", async () => {
    const page = await find(fresh("t"));
    expect(page.items).toEqual([]);
    expect(page.next).toBeUndefined();
  });

  test("ids are ordered by code point, not by the rules of a language", async () => {
    const tenant = fresh("t");
    const ids = ["a", "B", "_", "ä", "z", "Z", "10", "9", "a-b", "ab", "｡", "😀", "a b"];
    await insert(
      tenant,
      ids.map((id) => ({ id, status: null, total: null })),
    );
    const ordered = [...ids].sort(compareText);
    expect(ordered.slice(-2)).toEqual(["｡", "😀"]);
    expect(await found(tenant)).toEqual(ordered);
    expect(await found(tenant, { direction: "desc" }, 2)).toEqual([...ordered].reverse());
  });

  test("fields are found by exactly the value that they hold", async () => {
    const tenant = fresh("t");
    const statuses: IndexValue[] = [
      "open",
      "Open",
      "open ",
      "",
      "null",
      null,
      true,
      false,
      "true",
      0,
      "0",
      1,
      -1,
      "日本語",
      "'",
    ];
    await insert(
      tenant,
      statuses.map((status, at) => ({ id: `row-${String(at).padStart(2, "0")}`, status, total: at })),
    );
    for (const [at, status] of statuses.entries())
      expect(await found(tenant, { where: index({ status }) })).toEqual([`row-${String(at).padStart(2, "0")}`]);
    expect(await found(tenant, { where: index({ status: "closed" }) })).toEqual([]);
    expect(await found(tenant, { where: index({ status: 0, total: 9 }) })).toEqual(["row-09"]);
    expect(await found(tenant, { where: index({ status: 0, total: 8 }) })).toEqual([]);
    expect(await found(tenant, { where: {} })).toHaveLength(statuses.length);
  });

  test("a field is found by its present value, not by an earlier one", async () => {
    const [tenant, ref] = [fresh("t"), { type: "order", id: "a" }];
    await save(store(), tenant, ALPHA, ref, 0, { index: index({ status: "open", total: 1 }) });
    await save(store(), tenant, ALPHA, ref, 1, { index: index({ status: "paid", total: 1 }) });
    expect(await found(tenant, { where: index({ status: "open" }) })).toEqual([]);
    expect(await found(tenant, { where: index({ status: "paid" }) })).toEqual(["a"]);
  });

  test("values of all types stand in one order: null, false, true, numbers by size, texts by code point", async () => {
    const ordered = [
      null,
      false,
      true,
      -1e300,
      -2,
      -1.5,
      -1e-300,
      0,
      1e-300,
      9,
      10,
      1e300,
      "",
      "10",
      "9",
      "B",
      "a",
      "ä",
      "｡",
      "😀",
    ];
    const shuffled = ordered.map((_, at) => ordered[(at * 7) % ordered.length]!);
    const tenant = await withTotals(shuffled);
    expect(await totals(tenant, { orderBy: "total" })).toEqual(ordered);
    expect(await totals(tenant, { orderBy: "total", direction: "desc" })).toEqual([...ordered].reverse());
  });

  test("a range takes its lower bound in and leaves its upper bound out", async () => {
    const tenant = await withTotals([-10, -1, 0, 1, 2, 10, 100]);
    const range = (gte?: number, lt?: number): Query => ({
      orderBy: "total",
      range: {
        field: "total",
        ...(gte === undefined ? {} : { gte: encodeIndexValue(gte) }),
        ...(lt === undefined ? {} : { lt: encodeIndexValue(lt) }),
      },
    });
    expect(await totals(tenant, range(0, 10))).toEqual([0, 1, 2]);
    expect(await totals(tenant, range(-1))).toEqual([-1, 0, 1, 2, 10, 100]);
    expect(await totals(tenant, range(undefined, 0))).toEqual([-10, -1]);
    expect(await totals(tenant, range(-0.5, 0.5))).toEqual([0]);
    expect(await totals(tenant, range(5, 5))).toEqual([]);
    expect(await totals(tenant, range(10, 5))).toEqual([]);
    expect(await totals(tenant, range())).toHaveLength(7);
    expect(await totals(tenant, { ...range(1), direction: "desc" })).toEqual([100, 10, 2, 1]);
  });

  test("a range can filter by one field while another gives the order", async () => {
    const tenant = fresh("t");
    await insert(tenant, [
      { id: "a", status: "z", total: 1 },
      { id: "b", status: "y", total: 5 },
      { id: "c", status: "x", total: 9 },
    ]);
    expect(await found(tenant, { orderBy: "status", range: { field: "total", gte: encodeIndexValue(2) } }, 1)).toEqual([
      "c",
      "b",
    ]);
  });

  test("pages of any size put together are the whole listing, ties by id, in both directions", async () => {
    const tenant = fresh("t");
    const rows = Array.from({ length: 11 }, (_, at) => ({ id: `r${(at * 5) % 11}`, status: "s", total: at % 3 }));
    await insert(tenant, rows);
    const ascending = [...rows].sort((a, b) => a.total - b.total || compareText(a.id, b.id)).map(({ id }) => id);
    for (let limit = 1; limit <= 12; limit += 1) {
      expect(await found(tenant, { orderBy: "total" }, limit)).toEqual(ascending);
      expect(await found(tenant, { orderBy: "total", direction: "desc" }, limit)).toEqual([...ascending].reverse());
    }
  });

  test("the last page has no next, even when it is full", async () => {
    const tenant = await withTotals([1, 2, 3, 4]);
    const first = await find(tenant, { limit: 2 });
    expect(first.next).toBeTypeOf("string");
    const second = await find(tenant, { limit: 2, after: first.next });
    expect(second.items).toHaveLength(2);
    expect(second.next).toBeUndefined();
    expect((await find(tenant, { limit: 4 })).next).toBeUndefined();
  });

  test("rows that come while somebody turns the pages neither repeat nor hide others", async () => {
    const tenant = await withTotals([10, 20, 30, 40]);
    const first = await find(tenant, { orderBy: "total", limit: 2 });
    await insert(tenant, [
      { id: "before", status: "s", total: 5 },
      { id: "aa", status: "s", total: 20 },
      { id: "bb", status: "s", total: 20 },
      { id: "between", status: "s", total: 35 },
    ]);
    const rest = await allPages(2, (page) =>
      find(tenant, { orderBy: "total", ...page, after: page.after ?? first.next }),
    );
    // The page before ended with b (20), so what sorts before it is not seen any more and bb, which ties, is.
    expect(rest.map(({ id }) => id)).toEqual(["bb", "c", "between", "d"]);
  });

  test("a text that is not a cursor is refused as invalid input", async () => {
    const tenant = await withTotals([1, 2, 3]);
    for (const after of garbageCursors) {
      await expectRefusal(find(tenant, { after }), "invalid_input");
      await expectRefusal(find(tenant, { after, orderBy: "total", direction: "desc" }), "invalid_input");
    }
  });

  test("the cursor of another listing is refused as invalid input", async () => {
    const tenant = await withTotals([1, 2, 3]);
    const byId = (await find(tenant, { limit: 1 })).next!;
    const byTotal = (await find(tenant, { limit: 1, orderBy: "total" })).next!;
    await store().commit(tenant, {
      parts: [part(ALPHA, { audit: [auditRow(tenant, ALPHA), auditRow(tenant, ALPHA)] })],
    });
    const ofAudit = (await store().audit(tenant, { contexts: [ALPHA], limit: 1 })).next!;
    await expectRefusal(find(tenant, { after: byId, orderBy: "total" }), "invalid_input");
    await expectRefusal(find(tenant, { after: byTotal }), "invalid_input");
    await expectRefusal(find(tenant, { after: byTotal, orderBy: "status" }), "invalid_input");
    await expectRefusal(find(tenant, { after: ofAudit }), "invalid_input");
  });

  test("a text of a thousand signs can be an index value", async () => {
    const long = Array.from({ length: 1000 }, (_, at) => String.fromCharCode(33 + ((at * at * 31) % 90))).join("");
    const tenant = await withTotals([`${long}b`, `${long}a`]);
    expect(await found(tenant, { orderBy: "total" }, 1)).toEqual(["b", "a"]);
    expect(await found(tenant, { where: index({ total: `${long}a` }) })).toEqual(["b"]);
  });

  const value = fc.oneof(
    fc.constantFrom<IndexValue>(null, false, true, 0, 1, -1, "", "a", "b"),
    fc.double({ noNaN: true }),
    fc.integer(),
    fc.string({ unit: "grapheme", maxLength: 4 }),
  );
  const query = fc.record(
    {
      where: fc.record({ status: value.map(encodeIndexValue) }),
      range: fc.record(
        {
          field: fc.constantFrom("status", "total"),
          gte: value.map(encodeIndexValue),
          lt: value.map(encodeIndexValue),
        },
        { requiredKeys: ["field"] },
      ),
      orderBy: fc.constantFrom("status", "total"),
      direction: fc.constantFrom("asc" as const, "desc" as const),
    },
    { requiredKeys: [] },
  );

  test("whatever is stored and asked for, the answer is the one of a plain list", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ status: value, total: value }), { maxLength: 14 }),
        fc.array(query, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 6 }),
        async (values, queries, limit) => {
          const tenant = fresh("t");
          const rows = values.map((each, at) => ({ id: `r${(at * 7) % 15}`, ...each }));
          await insert(tenant, rows);
          for (const each of queries) expect(await found(tenant, each, limit)).toEqual(plainAnswer(rows, each));
        },
      ),
      { numRuns: 30 },
    );
  });
}

function plainAnswer(rows: readonly Row[], query: Query): string[] {
  const { where = {}, range, orderBy, direction } = query;
  const encoded = rows.map((row) => ({ id: row.id, fields: index({ status: row.status, total: row.total }) }));
  const sorted = encoded
    .filter(({ fields }) => Object.entries(where).every(([field, wanted]) => fields[field] === wanted))
    .filter(({ fields }) => range?.gte === undefined || compareText(fields[range.field]!, range.gte) >= 0)
    .filter(({ fields }) => range?.lt === undefined || compareText(fields[range.field]!, range.lt) < 0)
    .sort(
      (a, b) =>
        (orderBy === undefined ? 0 : compareText(a.fields[orderBy]!, b.fields[orderBy]!)) || compareText(a.id, b.id),
    )
    .map(({ id }) => id);
  return direction === "desc" ? sorted.reverse() : sorted;
}
