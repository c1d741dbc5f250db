import type { ExecutionTakeRequest, NewExecution, Store, TakenExecution } from "@armature/core";
import { expect, vi } from "vitest";
import { fresh } from "./expectations.ts";
import { completed, entry, executing, newExecution, TTL_MS, waiting, writeOf } from "./store-execution-fixture.ts";
import { ALPHA, BETA, part } from "./store-fixture.ts";
import type { RelayBackend } from "./store-relay-tests.ts";
import type { RegisterTest } from "./suite.ts";

/** How durable executions get to workers: begun, taken by one, limited, let go of. */
export function registerExecutionTests(register: RegisterTest, store: () => Store, backend: () => RelayBackend): void {
  const on = executing(register, store, backend);
  const { test, worker, commit, start, signal, take, takeOne, write, view, journalOf, instances, definition, pass } =
    on;
  const idsOf = (executions: readonly { readonly id: string }[]) => executions.map(({ id }) => id);

  test("an execution that a commit starts is due at once, and a worker gets it as it was begun", async () => {
    const [tenant, name] = [fresh("t"), definition()];
    const principal = {
      ...{ tenant, actor: { type: "agent", id: "bot" }, onBehalfOf: { type: "user", id: "ann" } },
      limitedTo: ["a:b"],
    } satisfies NewExecution["principal"];
    const input = { deep: [{ a: null }, "日本語 \u2028 \\u0000 \"'", "𝒳"], n: 1.5, "": {} };
    const begun = await start(tenant, name, { principal, input, startedAt: 1_234 });
    expect(await view(tenant, begun.id)).toEqual({
      ...{ id: begun.id, definition: name, version: 1, status: "running", startedAt: 1_234, dueAt: 1_234 },
      ...{ length: 0, held: false, attempts: {} },
    });
    expect(await take(worker(), name)).toEqual({
      executions: [{ ...begun, tenant, fence: 1, takes: 1, retries: 0, journal: [], attempts: {}, signals: [] }],
      signaled: [],
      nextAt: undefined,
    });
    expect(await view(tenant, begun.id)).toMatchObject({ held: true, status: "running" });
  });

  test("starting one that exists is without effect, also after it has ended", async () => {
    const [tenant, name, one] = [fresh("t"), definition(), worker()];
    const begun = await start(tenant, name);
    const again = { ...begun, input: "other", startedAt: 5 };
    expect(await commit(tenant, [{ step: "start", execution: again }])).toEqual({ status: "committed" });
    const taken = await takeOne(one, name);
    expect(taken).toMatchObject(begun);
    await commit(tenant, [{ step: "start", execution: again }]);
    expect(await write(writeOf(taken, completed()))).toEqual(["written"]);
    await commit(tenant, [{ step: "start", execution: again }]);
    expect((await take(one, name)).executions).toEqual([]);
    expect(await view(tenant, begun.id)).toMatchObject({ status: "completed", startedAt: 1_000 });
  });

  test("of many that start the same one at once, one does", async () => {
    const [tenant, name] = [fresh("t"), definition()];
    const { id } = newExecution(tenant, name);
    await Promise.all(Array.from({ length: 8 }, (_, input) => start(tenant, name, { id, input })));
    const { input } = await takeOne(worker(), name);
    expect([0, 1, 2, 3, 4, 5, 6, 7]).toContain(input);
  });

  test("the longest due comes first, no more than asked for, and nothing that is not due", async () => {
    const [tenant, name, one] = [fresh("t"), definition(), worker()];
    const at = on.now();
    for (const startedAt of [at - 10, at - 30, at + 50, at - 20, at + 40, at])
      await start(tenant, name, { startedAt, id: `${startedAt - at}` });
    const first = await take(one, name, { limit: 2 });
    expect([idsOf(first.executions), first.nextAt]).toEqual([["-30", "-20"], at + 40]);
    const rest = await take(one, name);
    expect([idsOf(rest.executions), rest.nextAt]).toEqual([["-10", "0"], at + 40]);
    expect(await take(one, name)).toEqual({ executions: [], signaled: [], nextAt: at + 40 });
    expect(await take(one, name, { limit: 0, now: at + 100 })).toMatchObject({ executions: [], nextAt: undefined });
    expect(idsOf((await take(one, name, { now: at + 45 })).executions)).toEqual(["40"]);
  });

  test("a worker gets definitions and versions that it knows, and hears of no others", async () => {
    const [tenant, one] = [fresh("t"), worker()];
    const [known, other] = [definition(), definition()];
    for (const [name, version] of [
      [known, 1],
      [known, 2],
      [known, 3],
      [other, 1],
    ] as const)
      await start(tenant, name, { version, id: `${name} ${version}`, startedAt: version });
    await start(tenant, other, { startedAt: on.now() + 5 });
    const definitions = [{ name: known, versions: [3, 1] }];
    expect(await take(one, known, { definitions: [] })).toMatchObject({ executions: [], nextAt: undefined });
    const { executions, nextAt } = await take(one, known, { definitions });
    expect([idsOf(executions), nextAt]).toEqual([[`${known} 1`, `${known} 3`], undefined]);
    const both = [
      { name: other, versions: [1, 2] },
      { name: known, versions: [2] },
    ];
    const rest = await take(one, known, { definitions: both });
    expect([idsOf(rest.executions), rest.nextAt]).toEqual([[`${other} 1`, `${known} 2`], on.now() + 5]);
  });

  test("contexts have executions of their own", async () => {
    const [tenant, name, one] = [fresh("t"), definition(), worker()];
    const execution = newExecution(tenant, name);
    await store().commit(tenant, { parts: [part(BETA, { executions: [{ step: "start", execution }] })] });
    expect((await take(one, name)).executions).toEqual([]);
    expect(await view(tenant, execution.id)).toBeUndefined();
    expect(await store().execution({ tenant, context: BETA }, execution.id)).toMatchObject({ status: "running" });
  });

  test("each is held by one worker, however many ask at once", async () => {
    const [tenant, name] = [fresh("t"), definition()];
    const executions = Array.from({ length: 60 }, (_, startedAt) => newExecution(tenant, name, { startedAt }));
    await commit(
      tenant,
      executions.map((execution) => ({ step: "start", execution })),
    );
    const got: TakenExecution[] = [];
    const play = async (of: Store) => {
      const mine = worker();
      for (let empty = 0; empty < 3; ) {
        const taken = (await take(mine, name, { limit: 7 }, of)).executions;
        expect(taken.length).toBeLessThanOrEqual(7);
        got.push(...taken);
        empty = taken.length === 0 ? empty + 1 : 0;
      }
    };
    await Promise.all([...instances(), ...instances(), ...instances()].map(play));
    expect(idsOf(got).sort()).toEqual(idsOf(executions).sort());
    expect(got.every(({ fence, takes }) => fence === 1 && takes === 1)).toBe(true);
  }, 30_000);

  test("of executions that are let go of and taken again by many, no two ever have the same fence, and nothing is lost", async () => {
    const [tenant, name] = [fresh("t"), definition()];
    const ids = idsOf(await Promise.all([1, 2, 3, 4, 5].map(() => start(tenant, name))));
    const fences = new Set<string>();
    const play = async (of: Store) => {
      const mine = worker();
      for (let turn = 0; turn < 15; turn += 1) {
        const { executions } = await take(mine, name, { limit: 3 }, of);
        const writes = executions.map((taken) => {
          // Whoever takes it sees all that was written under earlier fences.
          expect(taken.journal.map(({ position }) => position)).toEqual(taken.journal.map((_, at) => at));
          expect(taken.journal).toHaveLength(taken.fence - 1);
          fences.add(`${taken.id} ${taken.fence}`);
          return writeOf(taken, { entries: [entry(taken.journal.length)], ...waiting(turn) });
        });
        expect(await of.executions.write(ALPHA, writes)).toEqual(writes.map(() => "written"));
      }
    };
    await Promise.all([...instances(), ...instances()].map(play));
    const lengths = await Promise.all(ids.map(async (id) => (await journalOf(tenant, id)).length));
    expect(lengths.reduce((sum, each) => sum + each, 0)).toBe(fences.size);
  }, 30_000);

  const limits = [
    ["as many of a definition as it allows are held", { concurrency: 3 }, 3],
    ["as many of a definition as it allows each tenant are held", { concurrencyPerTenant: 2 }, 4],
    ["both limits of a definition hold", { concurrency: 3, concurrencyPerTenant: 2 }, 3],
  ] as const;
  for (const [promise, limit, most] of limits)
    test(`${promise}, over all workers, and all that can be`, async () => {
      const [name, one, two] = [definition(), worker(), worker()];
      const [busy, quiet] = [fresh("t"), fresh("t")];
      for (let startedAt = 0; startedAt < 6; startedAt += 1) await start(busy, name, { startedAt });
      for (let startedAt = 10; startedAt < 16; startedAt += 1) await start(quiet, name, { startedAt });
      const free = definition();
      await start(quiet, free);
      const definitions = [{ name, versions: [1], ...limit }];
      const first = (await take(one, name, { definitions, limit: 1 })).executions;
      const rest = (await take(two, name, { definitions: [...definitions, { name: free, versions: [1] }] })).executions;
      const held = [...first, ...rest].filter((each) => each.definition === name);
      expect(held).toHaveLength(most);
      expect(rest.filter((each) => each.definition === free)).toHaveLength(1);
      for (const each of [one, two]) expect((await take(each, name, { definitions })).executions).toEqual([]);
      // One that goes makes room for one: of the same tenant where that is what is limited.
      await write(writeOf(held[0]!, completed()));
      expect((await take(one, name, { definitions })).executions).toHaveLength(1);
      expect((await take(two, name, { definitions })).executions).toEqual([]);
    });

  test("no limit is passed by workers that ask at once", async () => {
    const [name, tenants] = [definition(), [fresh("t"), fresh("t"), fresh("t")]];
    for (const tenant of tenants)
      await commit(
        tenant,
        Array.from({ length: 12 }, () => ({ step: "start", execution: newExecution(tenant, name) })),
      );
    const definitions = [{ name, versions: [1], concurrency: 5, concurrencyPerTenant: 2 }];
    const held = new Map<string, TakenExecution>();
    let ended = 0;
    const play = async (of: Store) => {
      const mine = worker();
      while (ended < 36) {
        for (const each of (await take(mine, name, { definitions, limit: 2 }, of)).executions) held.set(each.id, each);
        expect(held.size).toBeLessThanOrEqual(5);
        for (const tenant of tenants)
          expect([...held.values()].filter((each) => each.tenant === tenant).length).toBeLessThanOrEqual(2);
        const [first] = held.values();
        if (first === undefined) continue;
        held.delete(first.id);
        ended += 1;
        expect(await of.executions.write(ALPHA, [writeOf(first, completed())])).toEqual(["written"]);
      }
    };
    await Promise.all([...instances(), ...instances()].map(play));
    expect(ended).toBe(36);
  }, 30_000);

  test("what a worker holds that is silent comes to be free again", async () => {
    const [tenant, name, two] = [fresh("t"), definition(), worker()];
    await start(tenant, name);
    const [taken] = (await take(worker(), name, { ttlMs: 50 })).executions;
    const again = await vi.waitFor(async () => {
      await pass(10);
      return takeOne(two, name);
    });
    expect(again.fence).toBe(taken!.fence + 1);
    expect(await write(writeOf(taken!, completed()))).toEqual(["lost"]);
  });

  test("what a worker holds that has been silent for too long is free again, and not before", async (context) => {
    if (backend().pass === undefined) return context.skip("the setup cannot move the time");
    const [tenant, name, one, two] = [fresh("t"), definition(), worker(), worker()];
    const { id } = await start(tenant, name);
    const taken = await takeOne(one, name);
    expect(await write(writeOf(taken, { entries: [entry(0)] }))).toEqual(["written"]);
    await pass(TTL_MS - 10_000);
    expect((await take(two, name)).executions).toEqual([]);
    await pass(10_001);
    const again = await takeOne(two, name);
    expect(again).toMatchObject({ id, fence: taken.fence + 1, takes: 1, journal: [entry(0)] });
    // It comes back, and has lost it.
    expect((await take(one, name)).executions).toEqual([]);
    expect(await write(writeOf(taken, { length: 1, entries: [entry(1)] }))).toEqual(["lost"]);
    expect(await write(writeOf(again, { entries: [entry(1)] }))).toEqual(["written"]);
    expect(await journalOf(tenant, id)).toEqual([entry(0), entry(1)]);
  });

  test("a worker that asks stays alive, also when it asks for none", async () => {
    const [tenant, name, one, two] = [fresh("t"), definition(), worker(), worker()];
    await start(tenant, name);
    await takeOne(one, name);
    for (let turn = 0; turn < 4; turn += 1) {
      await pass(TTL_MS / 2);
      await take(one, name, { limit: 0, definitions: [] });
      expect((await take(two, name)).executions).toEqual([]);
    }
  });

  test("a worker that leaves lets go of all that it holds, and no other does", async () => {
    const [tenant, name] = [fresh("t"), definition()];
    const [one, two, three] = [worker(), worker(), worker()];
    for (let at = 0; at < 4; at += 1) await start(tenant, name);
    const gone = (await take(one, name, { limit: 3 })).executions;
    const kept = await takeOne(two, name);
    await store().executions.leave(ALPHA, one);
    expect(await write(...gone.map((each) => writeOf(each, completed())))).toEqual(["lost", "lost", "lost"]);
    const { executions } = await take(three, name);
    expect(idsOf(executions).sort()).toEqual(idsOf(gone).sort());
    expect(executions.every(({ fence, takes }) => fence === 2 && takes === 2)).toBe(true);
    expect(await write(writeOf(kept, completed()))).toEqual(["written"]);
    await store().executions.leave(ALPHA, "nobody");
  });

  test("how often one was taken is counted until something has happened to it, or it has waited", async () => {
    const [tenant, name] = [fresh("t"), definition()];
    await start(tenant, name);
    const takes: number[] = [];
    const known = { "0": { name: "a", attempts: 1, nextAt: 1 } };
    for (const more of [
      undefined,
      { attempts: known },
      { entries: [entry(0)] },
      { length: 1, ...waiting(1) },
      undefined,
    ]) {
      const mine = worker();
      const taken = await takeOne(mine, name);
      takes.push(taken.takes);
      if (more !== undefined) await write(writeOf(taken, more));
      await store().executions.leave(ALPHA, mine);
    }
    // What is known of attempts is no progress.
    expect(takes).toEqual([1, 2, 3, 1, 1]);
  });

  test("a worker hears of signals to what it holds, whatever it asks for", async () => {
    const [tenant, name, one] = [fresh("t"), definition(), worker()];
    const { id } = await start(tenant, name);
    await takeOne(one, name);
    await signal(tenant, id, { name: "paid", payload: 1 });
    await signal(tenant, id, { name: "shipped", payload: 2 });
    const requests: readonly Partial<ExecutionTakeRequest>[] = [{}, { limit: 0 }, { definitions: [] }];
    for (const request of requests)
      expect((await take(one, name, request)).signaled).toEqual([{ tenant, id, signals: 2 }]);
    expect((await take(worker(), name)).signaled).toEqual([]);
  });
}
