import type { Store } from "@armature/core";
import { expect } from "vitest";
import { expectRefusal, fresh } from "./expectations.ts";
import { completed, entry, executing, newExecution, writeOf } from "./store-execution-fixture.ts";
import { ALPHA, BETA, index, part, save, written } from "./store-fixture.ts";
import type { RelayBackend } from "./store-relay-tests.ts";
import type { RegisterTest } from "./suite.ts";

const paid = { name: "paid", payload: { by: "card" } };

/** What a commit does with durable executions, and with everything else: all or nothing. */
export function registerExecutionCommitTests(
  register: RegisterTest,
  store: () => Store,
  backend: () => RelayBackend,
): void {
  const on = executing(register, store, backend);
  const { test, taken, commit, takeOne, scopeOf, view, journalOf, signalsOf } = on;

  test("what a commit does with executions and with aggregates happens together", async () => {
    const { tenant, name, it } = await taken();
    const next = newExecution(tenant, name, { input: "next" });
    const ref = { type: "order", id: "o" };
    const result = await save(store(), tenant, ALPHA, ref, 0, {
      part: {
        executions: [
          { step: "start", execution: next },
          { step: "signal", id: next.id, signal: paid },
          { step: "write", write: writeOf(it, { entries: [entry(0)], ...completed() }) },
        ],
      },
    });
    expect(result).toEqual({ status: "committed" });
    expect(await view(tenant, it.id)).toMatchObject({ status: "completed", length: 1 });
    expect(await view(tenant, next.id)).toMatchObject({ status: "running" });
    expect(await signalsOf(tenant, next.id)).toEqual([paid]);
    expect(await store().load(scopeOf(tenant), [ref])).toMatchObject([{ version: 1 }]);
  });

  test("when an execution was lost, nothing of the commit is written, whatever else it holds", async () => {
    const { tenant, name, mine, it } = await taken();
    await store().executions.leave(ALPHA, mine);
    const again = await takeOne(mine, name);
    const next = newExecution(tenant, name);
    const stale = { step: "write", write: writeOf(it, { entries: [entry(0)] }) } as const;
    const ahead = { step: "write", write: writeOf(again, { length: 4, entries: [entry(0)] }) } as const;
    const start = { step: "start", execution: next } as const;
    const ref = { type: "order", id: "o" };
    const aggregates = [written(ref, 0, { index: index({ status: "open", total: 1 }) })];
    const idempotency = { step: "claim", key: "key", inputHash: "h", attempt: 1, claimedUntil: 5 } as const;
    for (const change of [stale, ahead]) {
      const executions = [start, change];
      const lost = { status: "execution-lost" };
      expect(await save(store(), tenant, ALPHA, ref, 0, { part: { executions } })).toEqual(lost);
      expect(await commit(tenant, executions, { aggregates, idempotency })).toEqual(lost);
      const messageId = fresh("m");
      const inbox = { consumer: "orders.mirror", messageId };
      expect(await commit(tenant, executions, { inbox, idempotency })).toEqual(lost);
      const parts = [
        part(ALPHA, { executions, idempotency }),
        part(BETA, { counters: [{ key: "k", numbers: { n: 1 } }] }),
      ];
      expect(await store().commit(tenant, { parts })).toEqual(lost);
      expect(await commit(tenant, [], { inbox })).toEqual({ status: "committed" });
    }
    // Those that come at once answer the same, and do no harm to the others.
    const refs = Array.from({ length: 6 }, (_, at) => ({ type: "order", id: `many-${at}` }));
    const results = await Promise.all(
      refs.map((each, at) =>
        save(store(), tenant, ALPHA, each, 0, { part: at % 2 === 0 ? {} : { executions: [stale] } }),
      ),
    );
    expect(results.map(({ status }) => status)).toEqual(
      refs.map((_, at) => (at % 2 === 0 ? "committed" : "execution-lost")),
    );
    expect(await store().load(scopeOf(tenant), [ref, ...refs])).toMatchObject([
      undefined,
      ...refs.map((_, at) => (at % 2 === 0 ? { version: 1 } : undefined)),
    ]);
    expect(await store().idempotency(scopeOf(tenant), "key")).toBeUndefined();
    expect(await view(tenant, next.id)).toBeUndefined();
    expect(await view(tenant, it.id)).toMatchObject({ held: true, length: 0 });
  });

  test("a commit that is refused for another reason does nothing with executions", async () => {
    const { tenant, name, it } = await taken();
    const ref = { type: "order", id: "o" };
    await save(store(), tenant, ALPHA, ref, 0);
    const next = newExecution(tenant, name);
    const executions = [
      { step: "start", execution: next },
      { step: "signal", id: it.id, signal: paid },
      { step: "write", write: writeOf(it, { entries: [entry(0)] }) },
    ] as const;
    await expectRefusal(save(store(), tenant, ALPHA, ref, 0, { part: { executions } }), "version_conflict");
    const inbox = { consumer: "orders.mirror", messageId: fresh("m") };
    await commit(tenant, [], { inbox });
    expect(await commit(tenant, executions, { inbox })).toEqual({ status: "handled-before" });
    expect(await view(tenant, next.id)).toBeUndefined();
    expect([await signalsOf(tenant, it.id), await journalOf(tenant, it.id)]).toEqual([[], []]);
  });
}
