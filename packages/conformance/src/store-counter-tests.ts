import { type Commit, type Counter, compareText, type Store } from "@armature/core";
import { expect } from "vitest";
import { expectRefusal, fresh } from "./expectations.ts";
import { ALPHA, allPages, auditRow, BETA, newId, part, save, written } from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

/** Numbers that commits add to. */
export function registerCounterTests(test: RegisterTest, store: () => Store): void {
  const read = async (tenant: string, { context = ALPHA, gte = "", lt = "\u{10ffff}" } = {}) =>
    (await store().counters({ tenant, context }, { gte, lt, limit: 1_000 })).items;
  const add = (tenant: string, counters: readonly Counter[], context = ALPHA) =>
    store().commit(tenant, { parts: [part(context, { counters })] });
  const counter = (key: string, numbers: Counter["numbers"]): Counter => ({ key, numbers });

  test("a counter that nobody has added to is not there", async () => {
    expect(await read(fresh("t"))).toEqual([]);
  });

  test("what is added is summed by name, also when a later commit brings other names", async () => {
    const tenant = fresh("t");
    await add(tenant, [counter("a", { calls: 2, bytes: 1_000_000_000_000 })]);
    await add(tenant, [counter("a", { calls: 3, failures: 1 }), counter("b", { calls: -4 })]);
    await add(tenant, [counter("b", { calls: 1 })]);
    expect(await read(tenant)).toEqual([
      counter("a", { calls: 5, bytes: 1_000_000_000_000, failures: 1 }),
      counter("b", { calls: -3 }),
    ]);
  });

  test("counters commit with what else a commit writes, in every context that takes part", async () => {
    const tenant = fresh("t");
    const ref = { type: "order", id: newId("ord") };
    await store().commit(tenant, {
      parts: [
        part(ALPHA, { aggregates: [written(ref, 0)], counters: [counter("k", { n: 1 })] }),
        part(BETA, { audit: [auditRow(tenant, BETA)], counters: [counter("k", { n: 10 })] }),
      ],
    });
    expect(await store().load({ tenant, context: ALPHA }, [ref])).toMatchObject([{ version: 1 }]);
    expect(await read(tenant)).toEqual([counter("k", { n: 1 })]);
    expect(await read(tenant, { context: BETA })).toEqual([counter("k", { n: 10 })]);
  });

  test("a commit that is refused adds nothing, whatever refuses it", async () => {
    const tenant = fresh("t");
    const counters = [counter("k", { n: 1 })];
    const record = { key: "key", inputHash: "h", attempt: 1, claimedUntil: 5, step: "settle" } as const;
    const idempotency = { ...record, outcome: { type: "result", value: 1 } } as const;
    const inbox = { consumer: "orders.mirror", messageId: newId("evt") };
    await store().commit(tenant, { parts: [part(ALPHA, { idempotency, inbox })] });

    const ref = { type: "order", id: newId("ord") };
    const stale = part(BETA, { aggregates: [{ ...ref, expectedVersion: 7 }] });
    await expectRefusal(store().commit(tenant, { parts: [part(ALPHA, { counters }), stale] }), "version_conflict");
    await expectRefusal(
      store().commit(tenant, { parts: [part(ALPHA, { counters, aggregates: stale.aggregates })] }),
      "version_conflict",
    );
    const refused: readonly [string, Commit][] = [
      ["key-taken", { parts: [part(ALPHA, { idempotency, counters })] }],
      ["handled-before", { parts: [part(ALPHA, { inbox, counters })] }],
      ["key-taken", { parts: [part(BETA, { counters }), part(ALPHA, { idempotency, counters })] }],
    ];
    for (const [status, commit] of refused)
      expect(await store().commit(tenant, commit), status).toMatchObject({ status });
    expect(await read(tenant)).toEqual([]);
    expect(await read(tenant, { context: BETA })).toEqual([]);
  });

  test("however many commits add to the same counters at once, and in whatever order, the sums are exact", async () => {
    const tenant = fresh("t");
    const keys = ["x", "y", "z"];
    await Promise.all(
      Array.from({ length: 60 }, (_, at) => {
        const counters = keys.map((key, place) => counter(key, { n: 1, at: at * (place + 1) }));
        if (at % 2 === 1) counters.reverse();
        // Some of them change an aggregate of their own too, as commits do.
        if (at % 3 > 0) return add(tenant, counters);
        return save(store(), tenant, ALPHA, { type: "note", id: newId("nte") }, 0, { part: { counters } });
      }),
    );
    expect(await read(tenant)).toEqual(keys.map((key, place) => counter(key, { n: 60, at: 1_770 * (place + 1) })));
  });

  test("counters are listed between bounds in code-point order, page by page", async () => {
    const tenant = fresh("t");
    const keys = ["u/1", "u/10", "u/2", "U/1", "u", "u_1", "v", "ü", "｡", "😀", "u/😀", "u/｡", "%", "u%", "u\\b"];
    for (const key of keys) await add(tenant, [counter(key, { n: 1 }), counter("u/1", { more: 1 })]);
    const ordered = [...keys].sort(compareText);
    const scope = { tenant, context: ALPHA };
    for (const limit of [1, 4, 100])
      for (const [gte, lt] of [
        ["", "\u{10ffff}"],
        ["u/", "u0"],
        ["u/1", "u/2"],
        ["v", "u"],
        ["%", "%"],
      ] as const) {
        const listed = await allPages(limit, (page) => store().counters(scope, { gte, lt, ...page }));
        const expected = ordered.filter((key) => compareText(key, gte) >= 0 && compareText(key, lt) < 0);
        expect(listed.map(({ key }) => key)).toEqual(expected);
      }
    expect((await read(tenant, { gte: "u/1", lt: "u/10" }))[0]).toEqual(counter("u/1", { n: 1, more: 15 }));
  });

  test("a page goes on where the one before ended, whatever was added meanwhile", async () => {
    const tenant = fresh("t");
    const scope = { tenant, context: ALPHA };
    await add(tenant, [counter("b", { n: 1 }), counter("d", { n: 1 })]);
    const query = { gte: "a", lt: "z", limit: 1 };
    const first = await store().counters(scope, query);
    await add(tenant, [counter("a", { n: 1 }), counter("b", { n: 1 }), counter("c", { n: 1 })]);
    const rest = await store().counters(scope, { ...query, limit: 5, after: first.next });
    expect([...first.items, ...rest.items].map(({ key }) => key)).toEqual(["b", "c", "d"]);
  });

  test("a cursor that is none is refused", async () => {
    const scope = { tenant: fresh("t"), context: ALPHA };
    for (const after of ["", "x", "null", Buffer.from('["find","x"]').toString("base64url")])
      await expectRefusal(store().counters(scope, { gte: "a", lt: "z", limit: 1, after }), "invalid_input");
  });

  test("a key of 512 signs works, and one of another script too", async () => {
    const tenant = fresh("t");
    const keys = ["k".repeat(512), "鍵".repeat(512)];
    await add(
      tenant,
      keys.map((key) => counter(key, { "日本語 🗝️": 1 })),
    );
    expect(await read(tenant)).toEqual(keys.map((key) => counter(key, { "日本語 🗝️": 1 })));
  });
}
