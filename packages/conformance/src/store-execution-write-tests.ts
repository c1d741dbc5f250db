import type { ActivityAttempts, ExecutionEnd, ExecutionWrite, JournalEntry, JsonObject, Store } from "@armature/core";
import { expect } from "vitest";
import { expectRefusal, fresh } from "./expectations.ts";
import { completed, ended, entry, executing, failed, waiting, writeOf } from "./store-execution-fixture.ts";
import { ALPHA, allPages, garbageCursors } from "./store-fixture.ts";
import type { RelayBackend } from "./store-relay-tests.ts";
import type { RegisterTest } from "./suite.ts";

const paid = { name: "paid", payload: { by: "card" } };

/** What is written down of durable executions: journals, signals, ends. */
export function registerExecutionWriteTests(
  register: RegisterTest,
  store: () => Store,
  backend: () => RelayBackend,
): void {
  const on = executing(register, store, backend);
  const { test, worker, commit, start, signal, take, takeOne, write, scopeOf, view, journalOf, definition } = on;
  const { taken, signalsOf } = on;

  test("what is written stands in the journal in its order, whole, and whoever takes it next gets it", async () => {
    const { tenant, name, mine, it } = await taken();
    const error = { code: "a.b", kind: "unavailable", message: "No.", details: { n: [1] } } as const;
    const entries: JournalEntry[] = [
      entry(1, { outcome: { type: "value" }, name: "日本語 \\ \"'" }),
      entry(0, { kind: "compensation", outcome: { type: "error", error }, attempts: 3 }),
      { position: 2, kind: "sleep", name: "", at: 7, outcome: { type: "value", value: null } },
      { position: -1, kind: "cancel", name: "", at: 8, outcome: { type: "value", value: "\u2028 𝒳 \\u0000" } },
    ];
    expect(await write(writeOf(it, { entries: entries.slice(0, 1) }))).toEqual(["written"]);
    expect(await write(writeOf(it, { length: 1, entries: entries.slice(1), ...waiting(5) }))).toEqual(["written"]);
    expect(await journalOf(tenant, it.id)).toEqual(entries);
    expect(await view(tenant, it.id)).toMatchObject({ length: 4, held: false, dueAt: 5 });
    expect((await takeOne(mine, name)).journal).toEqual(entries);
  });

  test("writes of one batch are written each by itself, and answered in their order", async () => {
    const [tenant, name, mine] = [fresh("t"), definition(), worker()];
    for (let at = 0; at < 5; at += 1) await start(tenant, name, { id: `e${4 - at}`, startedAt: at });
    const { executions } = await take(mine, name);
    const writes: ExecutionWrite[] = executions.map((each, at) =>
      writeOf(each, { entries: [entry(0)], fence: at % 2 === 0 ? each.fence : each.fence + 1 }),
    );
    const unknown = { ...writes[0]!, id: "unknown" };
    expect(await write(...writes, unknown)).toEqual(["written", "lost", "written", "lost", "written", "lost"]);
    for (const [at, { id }] of executions.entries())
      expect(await journalOf(tenant, id)).toHaveLength(at % 2 === 0 ? 1 : 0);
    const twice = [writeOf(executions[0]!, { length: 1, entries: [entry(1)] })];
    twice.push(writeOf(executions[0]!, { length: 2, entries: [entry(2)], ...waiting() }));
    expect(await write(...twice)).toEqual(["written", "written"]);
    expect(await write()).toEqual([]);
  });

  test("a write that is repeated because its answer was lost is there once, with what has come behind it", async () => {
    const { tenant, it } = await taken();
    const first = writeOf(it, { entries: [entry(0), entry(1)] });
    for (let turn = 0; turn < 3; turn += 1) expect(await write(first)).toEqual(["written"]);
    const more = writeOf(it, { entries: [entry(0), entry(1), entry(2)], ...waiting() });
    expect(await write(more)).toEqual(["written"]);
    expect(await journalOf(tenant, it.id)).toEqual([entry(0), entry(1), entry(2)]);
    expect(await write(more)).toEqual(["lost"]);
  });

  test("a worker that is wrong about the journal's length loses the execution, which is due at once", async () => {
    for (const length of [0, 3]) {
      const { tenant, name, mine, it } = await taken();
      await write(writeOf(it, { entries: [entry(0), entry(1)] }));
      expect(await write(writeOf(it, { length, entries: [entry(9)] }))).toEqual(["lost"]);
      expect(await view(tenant, it.id)).toMatchObject({ held: false, length: 2 });
      expect(await takeOne(mine, name)).toMatchObject({ fence: it.fence + 1, journal: [entry(0), entry(1)] });
    }
  });

  test("where nothing is added to the journal its length is of no matter", async () => {
    const { tenant, name, mine, it } = await taken();
    await write(writeOf(it, { entries: [entry(0)] }));
    expect(await write(writeOf(it, { length: 0, ...waiting(5, Number.MAX_SAFE_INTEGER) }))).toEqual(["written"]);
    expect(await view(tenant, it.id)).toMatchObject({ held: false, length: 1, dueAt: 5 });
    const again = await takeOne(mine, name);
    expect(await write(writeOf(again, { length: 7, ...completed() }))).toEqual(["written"]);
    expect(await view(tenant, it.id)).toMatchObject({ status: "completed", length: 1 });
  });

  test("activities under way are kept until they are written anew, and go with the end", async () => {
    const { tenant, name, mine, it } = await taken();
    const attempts: Record<string, ActivityAttempts> = {
      "0": { name: "a", attempts: 2, nextAt: 7_000, progress: { done: ["½"] } },
      "3": { name: "b", attempts: 1, nextAt: 8, error: { code: "a.b", kind: "timeout", message: "m", details: {} } },
    };
    await write(writeOf(it, { attempts }));
    await write(writeOf(it, { entries: [entry(1)], ...waiting(3) }));
    expect(await view(tenant, it.id)).toMatchObject({ attempts, length: 1 });
    const again = await takeOne(mine, name);
    expect(again.attempts).toEqual(attempts);
    await write(writeOf(again, { attempts: { "3": attempts["3"]! } }));
    expect((await view(tenant, it.id))?.attempts).toEqual({ "3": attempts["3"] });
    await write(writeOf(again, completed()));
    expect((await view(tenant, it.id))?.attempts).toEqual({});
  });

  test("one that waits is due at its time; without a time nobody gets it, until a signal comes", async () => {
    const { tenant, name, mine, it } = await taken();
    const dueAt = on.now() + 500;
    await write(writeOf(it, waiting(dueAt)));
    expect(await take(mine, name)).toMatchObject({ executions: [], nextAt: dueAt });
    const { executions } = await take(mine, name, { now: dueAt });
    await write(writeOf(executions[0]!, waiting()));
    expect(await view(tenant, it.id)).not.toHaveProperty("dueAt");
    expect(await take(mine, name, { now: on.now() + 10 ** 12 })).toMatchObject({ executions: [], nextAt: undefined });
    await signal(tenant, it.id, paid);
    expect((await takeOne(mine, name)).signals).toEqual([paid]);
  });

  test("a signal makes one due that waits for a later time", async () => {
    const { tenant, name, mine, it } = await taken();
    await write(writeOf(it, waiting(on.now() + 10 ** 9)));
    await signal(tenant, it.id, paid);
    expect((await takeOne(mine, name)).signals).toEqual([paid]);
  });

  test("one is due at once when more signals have come than its worker has seen, and waits when it has seen all", async () => {
    const { tenant, name, mine, it } = await taken();
    await signal(tenant, it.id, paid);
    await signal(tenant, it.id, { name: "shipped", payload: null });
    await write(writeOf(it, waiting(undefined, 1)));
    const again = await takeOne(mine, name);
    expect(again.signals).toHaveLength(2);
    await write(writeOf(again, waiting(undefined, 2)));
    expect((await take(mine, name)).executions).toEqual([]);
  });

  test("signals are kept in their order, the first of a name wins, and none comes to one that is unknown or has ended", async () => {
    const { tenant, it } = await taken();
    const other = { name: "shipped", payload: ["日本語", { deep: null }] };
    await commit(tenant, [
      { step: "signal", id: it.id, signal: paid },
      { step: "signal", id: it.id, signal: other },
    ]);
    expect(await signal(tenant, it.id, { ...paid, payload: "again" })).toEqual({ status: "committed" });
    expect(await signal(tenant, "unknown", paid)).toEqual({ status: "committed" });
    expect(await signalsOf(tenant, it.id)).toEqual([paid, other]);
    expect(await signalsOf(tenant, "unknown")).toEqual([]);
    await write(writeOf(it, completed()));
    await signal(tenant, it.id, { name: "late", payload: 1 });
    expect(await signalsOf(tenant, it.id)).toEqual([paid, other]);
  });

  test("signals that come at once while the execution comes to wait: all are kept, and none is slept through", async () => {
    for (let turn = 0; turn < 5; turn += 1) {
      const { tenant, name, mine, it } = await taken();
      const names = ["a", "b", "c", "d"];
      const sent = names
        .flatMap((each) => [each, each])
        .map((each, payload) => signal(tenant, it.id, { name: each, payload }));
      await Promise.all([...sent, write(writeOf(it, waiting()))]);
      const { signals } = await takeOne(mine, name);
      expect(signals.map((each) => each.name).sort()).toEqual(names);
      expect(await signalsOf(tenant, it.id)).toEqual(signals);
    }
  });

  test("what has ended says how and when, and nothing more is written of it", async () => {
    const error = { code: "execution.canceled", kind: "conflict", message: "m", details: { reason: "r" } } as const;
    const ends: readonly ExecutionEnd[] = [
      { status: "completed", result: { ok: [true] } },
      { status: "completed" },
      { status: "failed", error, retryFrom: 0 },
      { status: "canceled", error },
    ];
    for (const end of ends) {
      const { tenant, name, mine, it } = await taken();
      await write(writeOf(it, { entries: [entry(0)], ...ended(end, 9_001) }));
      const shown = await view(tenant, it.id);
      expect(shown).toMatchObject({ status: end.status, end, endedAt: 9_001, held: false, length: 1 });
      expect(shown).not.toHaveProperty("dueAt");
      for (const length of [0, 1]) expect(await write(writeOf(it, { length, entries: [entry(1)] }))).toEqual(["lost"]);
      expect((await take(mine, name)).executions).toEqual([]);
      expect(await view(tenant, it.id)).toEqual(shown);
    }
  });

  test("one that failed goes on from before what made it fail", async () => {
    const { tenant, name, mine, it } = await taken();
    await signal(tenant, it.id, paid);
    const entries = [entry(0), entry(1), entry(2), entry(3)];
    await write(writeOf(it, { entries, ...failed(2) }));
    const at = on.now() + 50;
    await commit(tenant, [{ step: "retry", id: it.id, at }]);
    expect(await view(tenant, it.id)).toMatchObject({ status: "running", length: 2, dueAt: at });
    expect(await take(mine, name)).toMatchObject({ executions: [], nextAt: at });
    const [again] = (await take(mine, name, { now: at })).executions;
    expect(again).toMatchObject({ journal: [entry(0), entry(1)], signals: [paid], takes: 1, attempts: {} });
    expect(await write(writeOf(again!, { entries: [entry(5)], ...completed() }))).toEqual(["written"]);
    expect(await journalOf(tenant, it.id)).toEqual([entry(0), entry(1), entry(5)]);
    expect(await view(tenant, it.id)).toMatchObject({ status: "completed" });
  });

  test("a retry counts, and forgets that the execution was asked to end; other signals stay in their order", async () => {
    const { tenant, name, mine, it } = await taken();
    for (const each of ["first", "$cancel", "last"]) await signal(tenant, it.id, { name: each, payload: null });
    await write(writeOf(it, { entries: [entry(0)], ...failed(0) }));
    await commit(tenant, [{ step: "retry", id: it.id, at: 1 }]);
    await signal(tenant, it.id, { name: "new", payload: null });
    const again = await takeOne(mine, name);
    expect(again).toMatchObject({ retries: 1, journal: [] });
    expect(again.signals.map((each) => each.name)).toEqual(["first", "last", "new"]);
    // It has seen all of them: nothing wakes it.
    await write(writeOf(again, { length: 0, ...waiting(undefined, 3) }));
    expect((await take(mine, name)).executions).toEqual([]);
  });

  test("one that cannot be gone on with, or has not failed, is left alone by a retry", async () => {
    const error = { code: "execution.canceled", kind: "conflict", message: "m", details: { reason: "r" } } as const;
    for (const end of [failed(), completed(), ended({ status: "canceled", error, retryFrom: 0 }), {}]) {
      const { tenant, it } = await taken();
      await write(writeOf(it, { entries: [entry(0)], ...end }));
      const before = await view(tenant, it.id);
      expect(await commit(tenant, [{ step: "retry", id: it.id, at: 5 }])).toEqual({ status: "committed" });
      expect(await view(tenant, it.id)).toEqual(before);
      await commit(tenant, [{ step: "retry", id: "unknown", at: 5 }]);
    }
  });

  test("a journal comes page by page, once each, and unknown ones are empty", async () => {
    const { tenant, it } = await taken();
    const entries = Array.from({ length: 7 }, (_, at) => entry(at));
    await write(writeOf(it, { entries }));
    const page = (id: string) => (query: { readonly limit: number; readonly after?: string }) =>
      store().journal(scopeOf(tenant), { id, ...query });
    for (const limit of [1, 3, 7, 8]) expect(await allPages(limit, page(it.id))).toEqual(entries);
    expect(await page("unknown")({ limit: 5 })).toMatchObject({ items: [] });
    expect(await view(tenant, "unknown")).toBeUndefined();
    const { next } = await page(it.id)({ limit: 2 });
    await expectRefusal(page("unknown")({ limit: 2, after: next! }), "invalid_input");
    for (const after of garbageCursors) await expectRefusal(page(it.id)({ limit: 2, after }), "invalid_input");
  });

  test("a journal of two megabytes comes back whole", async () => {
    const { tenant, name, mine, it } = await taken();
    const value: JsonObject = { text: "long ä ".repeat(3_000), list: Array.from({ length: 500 }, (_, n) => ({ n })) };
    const entries = Array.from({ length: 80 }, (_, at) => entry(at, { outcome: { type: "value", value } }));
    expect(await write(writeOf(it, { entries: entries.slice(0, 79) }))).toEqual(["written"]);
    expect(await write(writeOf(it, { length: 79, entries: entries.slice(79), ...waiting(1) }))).toEqual(["written"]);
    expect((await takeOne(mine, name)).journal).toEqual(entries);
    expect(await allPages(13, (page) => store().journal(scopeOf(tenant), { id: it.id, ...page }))).toEqual(entries);
  }, 30_000);

  test("executions of different tenants with one id have nothing to do with each other", async () => {
    const [name, mine] = [definition(), worker()];
    const tenants = [fresh("t"), fresh("t")] as const;
    for (const tenant of tenants) await start(tenant, name, { id: "same", input: tenant });
    const { executions } = await take(mine, name);
    expect(executions.map(({ tenant, input }) => [tenant, input]).sort()).toEqual(
      tenants.map((each) => [each, each]).sort(),
    );
    const [one, other] = tenants;
    const mineOf = (tenant: string) => executions.find((each) => each.tenant === tenant)!;
    await write(writeOf(mineOf(one), { entries: [entry(0)], ...failed(0) }));
    await signal(one, "same", paid);
    await signal(other, "same", paid);
    expect([await journalOf(other, "same"), await signalsOf(one, "same")]).toEqual([[], []]);
    expect(await view(other, "same")).toMatchObject({ status: "running", held: true, length: 0 });
    await commit(other, [{ step: "retry", id: "same", at: 1 }]);
    expect(await view(one, "same")).toMatchObject({ status: "failed" });
    const strange = { step: "write", write: writeOf(mineOf(other), { entries: [entry(0)] }) } as const;
    expect(await commit(fresh("t"), [strange])).toEqual({ status: "execution-lost" });
    expect(await view(fresh("t"), "same")).toBeUndefined();
    expect(await journalOf(fresh("t"), "same")).toEqual([]);
  });

  test("those that ended long ago are forgotten with all that belongs to them, a few at a time", async () => {
    const [tenant, name, mine] = [fresh("t"), definition(), worker()];
    const ids = ["old", "older", "young", "running"];
    for (const id of ids) await start(tenant, name, { id });
    const { executions } = await take(mine, name);
    const endedAt: Record<string, number> = { old: 3_000, older: 2_000, young: 4_000 };
    for (const each of executions) {
      await signal(tenant, each.id, paid);
      await write(writeOf(each, { entries: [entry(0)], ...(each.id in endedAt ? completed(endedAt[each.id]) : {}) }));
    }
    const prune = (limit: number) => store().executions.prune(ALPHA, { now: 3_500, olderThanMs: 400, limit });
    let removed = 0;
    for (let some = await prune(1); some > 0; some = await prune(1)) {
      expect(some).toBe(1);
      removed += some;
    }
    expect(removed).toBeGreaterThanOrEqual(2);
    expect(await Promise.all(ids.map(async (id) => (await view(tenant, id))?.status))).toEqual([
      undefined,
      undefined,
      "completed",
      "running",
    ]);
    expect([await journalOf(tenant, "old"), await signalsOf(tenant, "old")]).toEqual([[], []]);
    // The id can be had again, and brings nothing of before.
    await start(tenant, name, { id: "old" });
    expect(await takeOne(mine, name)).toMatchObject({ id: "old", fence: 1, journal: [], signals: [] });
    expect(await journalOf(tenant, "young")).toHaveLength(1);
  });
}
