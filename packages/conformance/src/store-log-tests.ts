import type { AggregateRef, AuditQuery, EventQuery, Store, StoredEvent } from "@armature/core";
import { expect } from "vitest";
import { expectRefusal, fresh } from "./expectations.ts";
import { ALPHA, allPages, auditRow, BETA, event, garbageCursors, newId, part, save } from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

const BOTH = [ALPHA, BETA];

/** What has happened: an aggregate's history, the timeline, the audit rows. */
export function registerLogTests(test: RegisterTest, store: () => Store): void {
  const order = (id = newId("ord")): AggregateRef => ({ type: "order", id });
  const events = (tenant: string, query: Partial<EventQuery> = {}) =>
    store().events(tenant, { contexts: BOTH, limit: 100, ...query });
  const allEvents = (tenant: string, limit: number, query: Partial<EventQuery> = {}) =>
    allPages(limit, (page) => events(tenant, { ...query, ...page }));

  test("the history of an aggregate is in the order of its versions, page by page, in both directions", async () => {
    const [tenant, ref, other] = [fresh("t"), order(), order()];
    for (const [from, version] of [
      [0, 1],
      [1, 8],
      [8, 9],
      [9, 12],
    ] as const) {
      await save(store(), tenant, ALPHA, ref, from, { version });
      await save(store(), tenant, ALPHA, other, from, { version });
    }
    const ascending = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    for (const limit of [1, 5, 12, 20]) {
      const up = await allEvents(tenant, limit, { aggregate: ref });
      expect(up.map((each) => each.aggregateVersion)).toEqual(ascending);
      expect(new Set(up.map((each) => each.aggregateId))).toEqual(new Set([ref.id]));
      const down = await allEvents(tenant, limit, { aggregate: ref, direction: "desc" });
      expect(down.map((each) => each.aggregateVersion)).toEqual([...ascending].reverse());
    }
  });

  test("a history does not depend on the order of the events' ids", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    const ids = ["evt_c", "evt_a", "evt_b"].map((id) => fresh(id));
    await store().commit(tenant, {
      parts: [
        part(ALPHA, {
          aggregates: [{ ...ref, expectedVersion: 0, write: { version: 3, stateVersion: 1, state: {}, index: {} } }],
          events: ids.map((id, at) => event(tenant, ALPHA, ref, at + 1, { id })),
        }),
      ],
    });
    expect((await allEvents(tenant, 1, { aggregate: ref })).map(({ id }) => id)).toEqual(ids);
    expect((await allEvents(tenant, 1)).map(({ id }) => id)).toEqual([...ids].sort());
  });

  test("an event comes back with everything that was said about it", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    const full = event(tenant, ALPHA, ref, 1, {
      type: "order.placed",
      version: 3,
      data: { lines: [{ sku: "日本語", count: 0 }], none: null },
      actor: { type: "agent", id: "merge bot" },
      onBehalfOf: { type: "user", id: "ann@example.com" },
      correlationId: "cor_2",
      causationId: "evt_0",
    });
    await save(store(), tenant, ALPHA, ref, 0, { part: { events: [full] } });
    expect((await events(tenant)).items).toEqual([full]);
    expect((await events(tenant, { aggregate: ref })).items).toEqual([full]);
    expect((await events(tenant)).items[0]).not.toBe(full);
  });

  test("an event on nobody's behalf says nothing about it", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    await save(store(), tenant, ALPHA, ref, 0);
    expect((await events(tenant)).items[0]?.onBehalfOf).toBeUndefined();
  });

  /** Eight events over two contexts and types, in the order of their ids. */
  const timeline = async (tenant: string): Promise<StoredEvent[]> => {
    const made: StoredEvent[] = [];
    for (let at = 0; at < 8; at += 1) {
      const context = at % 3 === 0 ? BETA : ALPHA;
      const ref = { type: context === BETA ? "ledger" : "order", id: newId("any") };
      made.push(event(tenant, context, ref, 1, { type: at % 2 === 0 ? "order.placed" : "order.paid" }));
    }
    // Committed in another order than that of the ids, as slow and fast calls are.
    for (const each of [...made.slice(4), ...made.slice(0, 4)])
      await save(store(), tenant, each.context, { type: each.aggregateType, id: each.aggregateId }, 0, {
        part: { events: [each] },
      });
    return made;
  };

  test("the timeline of a tenant is in the order of the events' ids over all contexts asked for", async () => {
    const tenant = fresh("t");
    const made = await timeline(tenant);
    for (const limit of [1, 3, 8, 100]) {
      expect(await allEvents(tenant, limit)).toEqual(made);
      expect(await allEvents(tenant, limit, { direction: "desc" })).toEqual([...made].reverse());
      expect(await allEvents(tenant, limit, { contexts: [BETA] })).toEqual(made.filter((e) => e.context === BETA));
    }
    expect((await events(tenant, { contexts: [] })).items).toEqual([]);
  });

  test("events can be limited to types", async () => {
    const tenant = fresh("t");
    const made = await timeline(tenant);
    const paid = made.filter(({ type }) => type === "order.paid");
    for (const limit of [1, 4, 10]) {
      expect(await allEvents(tenant, limit, { types: ["order.paid"] })).toEqual(paid);
      expect(await allEvents(tenant, limit, { types: ["order.placed", "order.paid"] })).toEqual(made);
    }
    expect((await events(tenant, { types: ["order.lost"] })).items).toEqual([]);
    const { aggregateType: type, aggregateId: id } = paid[0]!;
    expect((await events(tenant, { aggregate: { type, id }, types: ["order.paid"] })).items).toEqual([paid[0]]);
    expect((await events(tenant, { aggregate: { type, id }, types: ["order.placed"] })).items).toEqual([]);
  });

  test("events that come while somebody turns the pages are seen once, at the end", async () => {
    const tenant = fresh("t");
    await save(store(), tenant, ALPHA, order(), 0, { version: 3 });
    const first = await events(tenant, { limit: 2 });
    await save(store(), tenant, BETA, { type: "ledger", id: "x" }, 0, { version: 2 });
    const rest = await allPages(2, (page) => events(tenant, { ...page, after: page.after ?? first.next }));
    const everything = (await events(tenant)).items;
    expect([...first.items, ...rest]).toEqual(everything);
    expect(everything).toHaveLength(5);
  });

  test("a text that is not a cursor is refused as invalid input by events and audit", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    await save(store(), tenant, ALPHA, ref, 0, { part: { audit: [auditRow(tenant, ALPHA)] } });
    for (const after of garbageCursors) {
      await expectRefusal(events(tenant, { after }), "invalid_input");
      await expectRefusal(events(tenant, { after, aggregate: ref }), "invalid_input");
      await expectRefusal(store().audit(tenant, { contexts: BOTH, limit: 5, after }), "invalid_input");
    }
  });

  test("the cursor of another listing is refused as invalid input by events and audit", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    const rows = [auditRow(tenant, ALPHA), auditRow(tenant, ALPHA)];
    await save(store(), tenant, ALPHA, ref, 0, { version: 2, part: { audit: rows } });
    const ofTimeline = (await events(tenant, { limit: 1 })).next!;
    const ofHistory = (await events(tenant, { limit: 1, aggregate: ref })).next!;
    const ofAudit = (await store().audit(tenant, { contexts: BOTH, limit: 1 })).next!;
    for (const after of [ofHistory, ofAudit]) await expectRefusal(events(tenant, { after }), "invalid_input");
    for (const after of [ofTimeline, ofAudit])
      await expectRefusal(events(tenant, { after, aggregate: ref }), "invalid_input");
    for (const after of [ofTimeline, ofHistory])
      await expectRefusal(store().audit(tenant, { contexts: BOTH, limit: 1, after }), "invalid_input");
  });

  const audit = async (tenant: string, limit = 100, query: Partial<AuditQuery> = {}) =>
    allPages(limit, (page) => store().audit(tenant, { contexts: BOTH, ...query, ...page }));
  const record = (tenant: string, rows: ReturnType<typeof auditRow>[]) =>
    store().commit(tenant, {
      parts: BOTH.map((context) => part(context, { audit: rows.filter((row) => row.context === context) })),
    });

  test("audit rows come back as they were written, the newest first, over all contexts asked for", async () => {
    const tenant = fresh("t");
    const rows = [
      auditRow(tenant, ALPHA),
      auditRow(tenant, BETA, {
        actor: { type: "agent", id: "bot" },
        onBehalfOf: { type: "user", id: "ann" },
        target: "con_1",
        outcome: "failed",
        errorCode: "provider.timed_out",
        input: { contact: { name: "Zoë" }, apiKey: "[secret]", list: [] },
      }),
      auditRow(tenant, ALPHA, { actor: { type: "system", id: "relay" }, outcome: "refused", errorCode: "forbidden" }),
      auditRow(tenant, BETA),
    ];
    await record(tenant, rows);
    const newestFirst = [...rows].reverse();
    for (const limit of [1, 3, 4, 50]) {
      expect(await audit(tenant, limit)).toEqual(newestFirst);
      expect(await audit(tenant, limit, { direction: "asc" })).toEqual(rows);
      expect(await audit(tenant, limit, { contexts: [BETA] })).toEqual([rows[3], rows[1]]);
    }
    expect(await audit(tenant, 5, { contexts: [] })).toEqual([]);
  });

  test("audit rows are found by actor, operation, outcome and time, and by all of them together", async () => {
    const tenant = fresh("t");
    const at = (second: string) => `2026-01-02T03:04:${second}Z`;
    const rows = ["05.000", "05.001", "05.999", "06.000", "07.000", "08.000"].map((second, n) =>
      auditRow(tenant, n % 2 === 0 ? ALPHA : BETA, {
        time: at(second),
        actor: { type: "user", id: n < 3 ? "ann" : "bob" },
        operation: n % 3 === 0 ? "orders.place" : "orders.pay",
        outcome: n === 5 ? "refused" : n === 4 ? "failed" : "succeeded",
      }),
    );
    await record(tenant, rows);
    const expectRows = async (query: Partial<AuditQuery>, ...expected: number[]) => {
      for (const limit of [1, 2, 10])
        expect(await audit(tenant, limit, query), JSON.stringify(query)).toEqual(expected.map((n) => rows[n]));
    };
    await expectRows({ actorId: "ann" }, 2, 1, 0);
    await expectRows({ actorId: "nobody" });
    await expectRows({ operation: "orders.place" }, 3, 0);
    await expectRows({ outcome: "refused" }, 5);
    await expectRows({ outcome: "succeeded" }, 3, 2, 1, 0);
    await expectRows({ since: at("05.999") }, 5, 4, 3, 2);
    await expectRows({ until: at("05.999") }, 1, 0);
    await expectRows({ since: at("05.001"), until: at("06.000") }, 2, 1);
    await expectRows({ since: at("06.000"), until: at("06.000") });
    await expectRows({ actorId: "bob", operation: "orders.pay", outcome: "failed", since: at("06.500") }, 4);
    await expectRows({ actorId: "ann", contexts: [BETA] }, 1);
  });
}
