import type { AggregateRef, Store } from "@armature/core";
import { expect } from "vitest";
import { expectRefusal, fresh, rejection } from "./expectations.ts";
import {
  ALPHA,
  auditRow,
  BETA,
  claimAll,
  eventIn,
  index,
  newId,
  outboxOf,
  part,
  removeAll,
  retry,
  save,
  written,
} from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

const CONSUMER = "orders.mirror";
const KEY = "a key";

/** No method of the store shows or changes what belongs to another tenant. */
export function registerTenancyTests(test: RegisterTest, store: () => Store): void {
  /** A tenant that has one of everything, and a second one, whose id begins like the first one's, that has nothing. */
  const twoTenants = async () => {
    const owner = fresh("t");
    const stranger = `${owner}-x`;
    const ref: AggregateRef = { type: "order", id: newId("ord") };
    const messageId = newId("evt");
    await save(store(), owner, ALPHA, ref, 0, {
      version: 2,
      state: { of: "owner" },
      index: index({ status: "open", total: 1 }),
      part: {
        audit: [auditRow(owner, ALPHA), auditRow(owner, ALPHA)],
        idempotency: {
          step: "settle",
          key: KEY,
          inputHash: "hash",
          attempt: 1,
          claimedUntil: 5,
          outcome: { type: "result", value: "of owner" },
        },
        inbox: { consumer: CONSUMER, messageId },
        counters: [{ key: KEY, numbers: { count: 1 } }],
      },
    });
    await store().records.put({ tenant: owner, context: ALPHA }, KEY, { of: "owner" }, 0);
    const [first] = await outboxOf(store(), ALPHA, owner);
    const letter = {
      context: ALPHA,
      consumer: CONSUMER,
      message: first!.message,
      reason: "no",
      attempts: 1,
      time: "2026-01-02T03:04:05.678Z",
    };
    const claim = (await claimAll(store(), ALPHA)).find(({ partition }) => partition === first!.partition)!;
    await store().outbox.park(ALPHA, claim, first!.position, letter);
    return { owner, stranger, ref, messageId, first: first! };
  };
  const scopeOf = (tenant: string) => ({ tenant, context: ALPHA });

  test("another tenant's aggregates are neither loaded nor found", async () => {
    const { owner, stranger, ref } = await twoTenants();
    expect(await store().load(scopeOf(stranger), [ref, ref])).toEqual([undefined, undefined]);
    for (const query of [{}, { where: index({ status: "open" }) }, { orderBy: "total", direction: "desc" as const }])
      expect(await store().find(scopeOf(stranger), { type: "order", limit: 10, ...query })).toMatchObject({
        items: [],
      });
    expect((await store().find(scopeOf(owner), { type: "order", limit: 10 })).items).toHaveLength(1);
  });

  test("another tenant's counters are neither seen nor added to", async () => {
    const { owner, stranger } = await twoTenants();
    const read = async (tenant: string) =>
      (await store().counters(scopeOf(tenant), { gte: "", lt: "z", limit: 10 })).items;
    expect(await read(stranger)).toEqual([]);
    await store().commit(stranger, { parts: [part(ALPHA, { counters: [{ key: KEY, numbers: { count: 5 } }] })] });
    expect(await read(stranger)).toEqual([{ key: KEY, numbers: { count: 5 } }]);
    expect(await read(owner)).toEqual([{ key: KEY, numbers: { count: 1 } }]);
  });

  test("another tenant's events and audit rows are not listed", async () => {
    const { owner, stranger, ref } = await twoTenants();
    const query = { contexts: [ALPHA, BETA], limit: 10 };
    expect((await store().events(stranger, query)).items).toEqual([]);
    expect((await store().events(stranger, { ...query, aggregate: ref })).items).toEqual([]);
    expect((await store().events(stranger, { ...query, types: ["order.changed"], direction: "desc" })).items).toEqual(
      [],
    );
    expect((await store().audit(stranger, query)).items).toEqual([]);
    expect((await store().audit(stranger, { ...query, actorId: "ann" })).items).toEqual([]);
    expect((await store().events(owner, query)).items).toHaveLength(2);
    expect((await store().audit(owner, query)).items).toHaveLength(2);
  });

  test("a cursor taken from another tenant shows nothing of that tenant", async () => {
    const { owner, stranger, ref } = await twoTenants();
    await save(store(), owner, ALPHA, { type: "order", id: newId("ord") }, 0);
    const contexts = [ALPHA];
    const pages = [
      async (tenant: string, after?: string) => store().find(scopeOf(tenant), { type: "order", limit: 1, after }),
      async (tenant: string, after?: string) => store().events(tenant, { contexts, limit: 1, after }),
      async (tenant: string, after?: string) => store().events(tenant, { contexts, aggregate: ref, limit: 1, after }),
      async (tenant: string, after?: string) => store().audit(tenant, { contexts, limit: 1, after }),
    ];
    for (const page of pages) {
      const { next } = await page(owner);
      expect(next).toBeTypeOf("string");
      expect((await page(owner, next)).items).toHaveLength(1);
      const seen = await page(stranger, next).catch((error: unknown) => error);
      if (seen instanceof Error) expect(seen).toMatchObject({ code: "invalid_input" });
      else expect(seen).toMatchObject({ items: [] });
    }
  });

  test("the same ids in another tenant are other aggregates, at versions of their own", async () => {
    const { owner, stranger, ref } = await twoTenants();
    for (const expected of [1, 2])
      await expectRefusal(save(store(), stranger, ALPHA, ref, expected), "version_conflict");
    await expectRefusal(
      store().commit(stranger, { parts: [part(ALPHA, { aggregates: [{ ...ref, expectedVersion: 2 }] })] }),
      "version_conflict",
    );
    await save(store(), stranger, ALPHA, ref, 0, { state: { of: "stranger" } });
    const [mine] = await store().load(scopeOf(owner), [ref]);
    const [theirs] = await store().load(scopeOf(stranger), [ref]);
    expect(mine).toMatchObject({ version: 2, state: { of: "owner" } });
    expect(theirs).toMatchObject({ version: 1, state: { of: "stranger" } });
  });

  test("another tenant's idempotency keys and handled messages mean nothing here", async () => {
    const { owner, stranger, messageId } = await twoTenants();
    expect(await store().idempotency(scopeOf(stranger), KEY)).toBeUndefined();
    const result = await store().commit(stranger, {
      parts: [
        part(ALPHA, {
          idempotency: {
            step: "settle",
            key: KEY,
            inputHash: "other",
            attempt: 1,
            claimedUntil: 5,
            outcome: { type: "result", value: "of stranger" },
          },
          inbox: { consumer: CONSUMER, messageId },
        }),
      ],
    });
    expect(result).toEqual({ status: "committed" });
    expect((await store().idempotency(scopeOf(owner), KEY))?.outcome).toEqual({ type: "result", value: "of owner" });
  });

  test("another tenant's handling of a message does not make it done here", async () => {
    const { owner, stranger, first } = await twoTenants();
    const inbox = { consumer: "orders.count", messageId: eventIn(first).id };
    await store().commit(stranger, { parts: [part(ALPHA, { inbox })] });
    const entry = (await outboxOf(store(), ALPHA, owner)).find(({ position }) => position === first.position);
    expect(entry?.done).toEqual([CONSUMER]);
  });

  test("another tenant's records are neither read, listed, overwritten nor deleted", async () => {
    const { owner, stranger } = await twoTenants();
    const { records } = store();
    expect(await records.get(scopeOf(stranger), KEY)).toBeUndefined();
    expect(await records.list(scopeOf(stranger), { prefix: "", limit: 10 })).toEqual([]);
    expect(await records.put(scopeOf(stranger), KEY, { of: "stranger" }, 1)).toBe(false);
    await records.delete(scopeOf(stranger), KEY);
    expect(await records.put(scopeOf(stranger), KEY, { of: "stranger" }, 0)).toBe(true);
    expect(await records.get(scopeOf(owner), KEY)).toEqual({ version: 1, value: { of: "owner" } });
    await records.delete(scopeOf(owner), KEY);
    expect(await records.get(scopeOf(stranger), KEY)).toEqual({ version: 1, value: { of: "stranger" } });
  });

  test("another tenant's dead letters are neither listed nor replayed", async () => {
    const { owner, stranger, ref, first } = await twoTenants();
    await removeAll(store(), ALPHA, [first]);
    expect((await store().deadLetters(scopeOf(stranger), { limit: 10 })).items).toEqual([]);
    expect((await store().deadLetters(scopeOf(stranger), { limit: 10, consumer: CONSUMER })).items).toEqual([]);
    expect(await retry(store(), stranger, ALPHA, CONSUMER, ref)).toBe(0);
    expect(await outboxOf(store(), ALPHA, owner)).toHaveLength(1);
    expect((await outboxOf(store(), ALPHA, owner)).map(({ parked }) => parked)).toEqual([[CONSUMER]]);
    expect((await store().deadLetters(scopeOf(owner), { limit: 10 })).items).toHaveLength(1);
  });

  test("a tenant id that is no tenant id opens nothing", async () => {
    const { ref } = await twoTenants();
    for (const tenant of ["", "%", "_", "*", "' or ''='", "t' or true --", "null"]) {
      const loaded = await store()
        .load({ tenant, context: ALPHA }, [ref])
        .catch(() => [undefined]);
      expect(loaded).toEqual([undefined]);
      const found = await store()
        .find({ tenant, context: ALPHA }, { type: "order", limit: 10 })
        .catch(() => ({ items: [] }));
      expect(found.items).toEqual([]);
    }
  });

  test("a context that was never migrated is refused and not made up", async () => {
    const tenant = fresh("t");
    const scope = { tenant, context: "conformance_missing" };
    await rejection(store().load(scope, [{ type: "order", id: "x" }]));
    await rejection(
      store().commit(tenant, {
        parts: [part(scope.context, { aggregates: [written({ type: "order", id: "x" }, 0)] })],
      }),
    );
    await rejection(store().records.put(scope, "key", {}, 0));
  });
}
