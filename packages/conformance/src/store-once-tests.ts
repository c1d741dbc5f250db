import type { CommitResult, IdempotencyWrite, Outcome, Store } from "@armature/core";
import { expect } from "vitest";
import { fresh } from "./expectations.ts";
import { ALPHA, BETA, newId, part, save, written } from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

const UNTIL = 1_800_000_000_000;

/** What makes a call and a delivery count once: idempotency keys and the inbox. */
export function registerOnceTests(test: RegisterTest, store: () => Store): void {
  const write = (
    tenant: string,
    key: string,
    attempt: number,
    step: { readonly step: "claim" | "release" } | { readonly step: "settle"; readonly outcome: Outcome },
    more: { readonly context?: string; readonly claimedUntil?: number; readonly inputHash?: string } = {},
  ) => {
    const { context = ALPHA, claimedUntil = UNTIL, inputHash = "hash" } = more;
    const idempotency: IdempotencyWrite = { key, inputHash, attempt, claimedUntil, ...step };
    return store().commit(tenant, { parts: [part(context, { idempotency })] });
  };
  const claim = { step: "claim" } as const;
  const release = { step: "release" } as const;
  const settle = (value: unknown = "done") => ({ step: "settle", outcome: { type: "result", value } }) as const;
  const read = (tenant: string, key: string, context = ALPHA) => store().idempotency({ tenant, context }, key);
  const committed = { status: "committed" };

  test("a key that was never used has no record", async () => {
    expect(await read(fresh("t"), "key")).toBeUndefined();
  });

  test("a call that is recorded at once is found with its outcome", async () => {
    const tenant = fresh("t");
    expect(await write(tenant, "key", 1, settle({ id: 7 }))).toEqual(committed);
    expect(await read(tenant, "key")).toEqual({
      key: "key",
      inputHash: "hash",
      attempt: 1,
      claimedUntil: UNTIL,
      outcome: { type: "result", value: { id: 7 } },
    });
  });

  test("every kind of outcome comes back as it was recorded", async () => {
    const tenant = fresh("t");
    const outcomes: Outcome[] = [
      { type: "result" },
      ...[null, false, 0, "", [], {}, [1, { a: null }]].map((value): Outcome => ({ type: "result", value })),
      { type: "result-not-kept" },
      {
        type: "error",
        error: { code: "order.closed", kind: "precondition", message: "It is closed.", details: { id: "x" } },
      },
    ];
    for (const [index, outcome] of outcomes.entries()) {
      await write(tenant, `key-${index}`, 1, { step: "settle", outcome });
      expect((await read(tenant, `key-${index}`))?.outcome).toEqual(outcome);
    }
  });

  test("a key that has an outcome is taken: the earlier record comes back and nothing is written", async () => {
    const tenant = fresh("t");
    await write(tenant, "key", 1, settle("first"));
    const record = await read(tenant, "key");
    for (const step of [settle("second"), claim, release])
      for (const attempt of [1, 2])
        expect(await write(tenant, "key", attempt, step, { inputHash: "other" })).toEqual({
          status: "key-taken",
          record,
        });
    expect(await read(tenant, "key")).toEqual(record);
  });

  test("a claimed call has no outcome until it is settled by the same attempt", async () => {
    const tenant = fresh("t");
    expect(await write(tenant, "key", 1, claim)).toEqual(committed);
    const claimed = await read(tenant, "key");
    expect(claimed).toEqual({ key: "key", inputHash: "hash", attempt: 1, claimedUntil: UNTIL });
    expect(await write(tenant, "key", 1, claim)).toEqual({ status: "key-taken", record: claimed });
    expect(await write(tenant, "key", 1, settle())).toEqual(committed);
    expect(await read(tenant, "key")).toMatchObject({ attempt: 1, outcome: { type: "result", value: "done" } });
  });

  test("a call that was cut off is claimed again as the next attempt, and the earlier one can no longer settle", async () => {
    const tenant = fresh("t");
    await write(tenant, "key", 1, claim);
    expect(await write(tenant, "key", 2, claim, { claimedUntil: UNTIL + 5 })).toEqual(committed);
    const second = { key: "key", inputHash: "hash", attempt: 2, claimedUntil: UNTIL + 5 };
    expect(await read(tenant, "key")).toEqual(second);
    for (const late of [settle("late"), release, claim])
      expect(await write(tenant, "key", 1, late)).toEqual({ status: "key-taken", record: second });
    expect(await write(tenant, "key", 2, settle("second"))).toEqual(committed);
    expect(await read(tenant, "key")).toMatchObject({ attempt: 2, outcome: { value: "second" } });
  });

  test("an attempt cannot be left out", async () => {
    const tenant = fresh("t");
    await write(tenant, "key", 1, claim);
    for (const [attempt, step] of [
      [3, claim],
      [2, settle()],
      [2, release],
    ] as const)
      expect(await write(tenant, "key", attempt, step)).toMatchObject({ status: "key-taken", record: { attempt: 1 } });
  });

  test("a released attempt keeps its number and can be followed by the next one at once", async () => {
    const tenant = fresh("t");
    await write(tenant, "key", 1, claim);
    expect(await write(tenant, "key", 1, release, { claimedUntil: 5 })).toEqual(committed);
    expect(await read(tenant, "key")).toEqual({ key: "key", inputHash: "hash", attempt: 1, claimedUntil: 5 });
    expect(await write(tenant, "key", 2, claim)).toEqual(committed);
    expect(await write(tenant, "key", 2, settle())).toEqual(committed);
  });

  const countCommitted = (results: readonly CommitResult[]) => {
    for (const result of results) expect(["committed", "key-taken"]).toContain(result.status);
    return results.filter(({ status }) => status === "committed").length;
  };
  const many = <T>(make: (index: number) => Promise<T>) => Promise.all(Array.from({ length: 16 }, (_, n) => make(n)));

  test("of many concurrent claims, repeated claims, releases and settlements exactly one holds", async () => {
    const tenant = fresh("t");
    expect(countCommitted(await many(() => write(tenant, "key", 1, claim)))).toBe(1);
    expect(countCommitted(await many(() => write(tenant, "key", 2, claim)))).toBe(1);
    const settled = await many((index) => write(tenant, "key", 2, settle(index)));
    expect(countCommitted(settled)).toBe(1);
    const winner = settled.findIndex(({ status }) => status === "committed");
    expect((await read(tenant, "key"))?.outcome).toEqual({ type: "result", value: winner });
    expect(countCommitted(await many((index) => write(tenant, "other", 1, settle(index))))).toBe(1);
  });

  test("when the next attempt and the settlement of this one meet, only one holds", async () => {
    const tenant = fresh("t");
    for (let round = 0; round < 10; round += 1) {
      const key = `key-${round}`;
      await write(tenant, key, 1, claim);
      const [again, settled] = await Promise.all([
        write(tenant, key, 2, claim),
        write(tenant, key, 1, settle("first")),
      ]);
      expect(countCommitted([again, settled])).toBe(1);
      expect(await read(tenant, key)).toMatchObject(
        again.status === "committed" ? { attempt: 2 } : { attempt: 1, outcome: { value: "first" } },
      );
    }
  });

  test("when calls with one key meet, only one of them changes anything", async () => {
    const tenant = fresh("t");
    const results = await many((index) =>
      store().commit(tenant, {
        parts: [
          part(ALPHA, {
            aggregates: [written({ type: "order", id: `order-${index}` }, 0)],
            idempotency: { key: "key", inputHash: "hash", attempt: 1, claimedUntil: UNTIL, ...settle(index) },
          }),
        ],
      }),
    );
    expect(countCommitted(results)).toBe(1);
    const made = await store().find({ tenant, context: ALPHA }, { type: "order", limit: 20 });
    expect(made.items.map(({ id }) => id)).toEqual([`order-${results.findIndex((r) => r.status === "committed")}`]);
    const winning = await read(tenant, "key");
    for (const result of results) if (result.status === "key-taken") expect(result.record).toEqual(winning);
  });

  test("keys belong to a context and may be any text", async () => {
    const tenant = fresh("t");
    const keys = ["a b", "a'b", '"', "日本語 🗝️", "x".repeat(200), "%", "\\"];
    for (const key of keys) expect(await write(tenant, key, 1, settle(`alpha ${key}`))).toEqual(committed);
    for (const key of keys)
      expect(await write(tenant, key, 1, settle(`beta ${key}`), { context: BETA })).toEqual(committed);
    for (const key of keys) {
      expect((await read(tenant, key))?.outcome).toEqual({ type: "result", value: `alpha ${key}` });
      expect((await read(tenant, key, BETA))?.outcome).toEqual({ type: "result", value: `beta ${key}` });
    }
  });

  const handle = (tenant: string, consumer: string, messageId: string, id = newId("ord")) =>
    save(store(), tenant, ALPHA, { type: "order", id }, 0, { part: { inbox: { consumer, messageId } } });

  test("a message that a consumer has handled is not handled by it again", async () => {
    const [tenant, message] = [fresh("t"), newId("evt")];
    expect(await handle(tenant, "orders.mirror", message)).toEqual(committed);
    expect(await handle(tenant, "orders.mirror", message)).toEqual({ status: "handled-before" });
    const found = await store().find({ tenant, context: ALPHA }, { type: "order", limit: 10 });
    expect(found.items).toHaveLength(1);
  });

  test("another consumer and another message are handled by themselves", async () => {
    const [tenant, message] = [fresh("t"), newId("evt")];
    await handle(tenant, "orders.mirror", message);
    expect(await handle(tenant, "orders.count", message)).toEqual(committed);
    expect(await handle(tenant, "orders.mirror", newId("evt"))).toEqual(committed);
    expect(await handle(tenant, "orders.count", message)).toEqual({ status: "handled-before" });
  });

  test("when one message is delivered many times at once its effect happens once", async () => {
    const [tenant, message] = [fresh("t"), newId("evt")];
    const results = await many(() => handle(tenant, "orders.mirror", message));
    expect(results.filter(({ status }) => status === "committed")).toHaveLength(1);
    expect(results.filter(({ status }) => status === "handled-before")).toHaveLength(15);
    const found = await store().find({ tenant, context: ALPHA }, { type: "order", limit: 20 });
    expect(found.items).toHaveLength(1);
  });

  test("deliveries that meet on one aggregate have their effect once", async () => {
    const tenant = fresh("t");
    for (let round = 0; round < 5; round += 1) {
      const [message, id] = [newId("evt"), newId("ord")];
      const results = await Promise.allSettled([1, 2, 3, 4].map(() => handle(tenant, "orders.mirror", message, id)));
      const statuses = results.map((result) =>
        result.status === "fulfilled" ? result.value.status : (result.reason as { code?: string }).code,
      );
      expect(statuses.filter((status) => status === "committed")).toHaveLength(1);
      for (const status of statuses) expect(["committed", "handled-before", "version_conflict"]).toContain(status);
    }
  });
}
