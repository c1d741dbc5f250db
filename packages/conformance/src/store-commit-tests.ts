import { deepStrictEqual } from "node:assert/strict";
import type { AggregateRef, CommitPart, JsonObject, Store } from "@armature/core";
import fc from "fast-check";
import { expect } from "vitest";
import { expectRefusal, fresh } from "./expectations.ts";
import { ALPHA, auditRow, BETA, command, event, newId, outboxOf, part, save, written } from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

const CONFLICT = "version_conflict";
const order = (id = newId("ord")): AggregateRef => ({ type: "order", id });

/** Loading and committing: versions, lost races, all or nothing, what comes back. */
export function registerCommitTests(test: RegisterTest, store: () => Store): void {
  const loadOne = async (tenant: string, ref: AggregateRef, context = ALPHA) =>
    (await store().load({ tenant, context }, [ref]))[0];
  const versionOf = async (tenant: string, ref: AggregateRef, context = ALPHA) =>
    (await loadOne(tenant, ref, context))?.version ?? 0;

  test("an aggregate is loaded as it was committed", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    const change = written(ref, 0, { state: { status: "new", lines: [{ sku: "a", count: 2 }] }, version: 3 });
    expect(await store().commit(tenant, { parts: [part(ALPHA, { aggregates: [change] })] })).toEqual({
      status: "committed",
    });
    expect(await loadOne(tenant, ref)).toEqual({
      ...ref,
      version: 3,
      stateVersion: 1,
      state: { status: "new", lines: [{ sku: "a", count: 2 }] },
    });
  });

  test("aggregates are loaded in the order asked, with a gap where none exists", async () => {
    const tenant = fresh("t");
    const [a, b, c] = [order(), order(), order()];
    for (const ref of [c, a]) await save(store(), tenant, ALPHA, ref, 0);
    const loaded = await store().load({ tenant, context: ALPHA }, [c, b, a, c]);
    expect(loaded.map((each) => each?.id)).toEqual([c.id, undefined, a.id, c.id]);
    expect(await store().load({ tenant, context: ALPHA }, [])).toEqual([]);
  });

  test("the same id in another type or another context is another aggregate", async () => {
    const [tenant, id] = [fresh("t"), newId("any")];
    await save(store(), tenant, ALPHA, { type: "shared", id }, 0, { state: { in: "alpha" } });
    await save(store(), tenant, ALPHA, { type: "note", id }, 0, { state: { in: "note" } });
    await save(store(), tenant, BETA, { type: "shared", id }, 0, { state: { in: "beta" }, version: 2 });
    expect((await loadOne(tenant, { type: "shared", id }))?.state).toEqual({ in: "alpha" });
    expect((await loadOne(tenant, { type: "note", id }))?.state).toEqual({ in: "note" });
    expect(await loadOne(tenant, { type: "shared", id }, BETA)).toMatchObject({ version: 2, state: { in: "beta" } });
    expect(await loadOne(tenant, { type: "order", id })).toBeUndefined();
  });

  test("a later commit replaces state and version", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    await save(store(), tenant, ALPHA, ref, 0, { state: { a: 1, b: { c: 1 } } });
    await save(store(), tenant, ALPHA, ref, 1, { state: { b: {} } });
    expect(await loadOne(tenant, ref)).toMatchObject({ version: 2, state: { b: {} } });
    expect((await loadOne(tenant, ref))?.state).not.toHaveProperty("a");
  });

  test("a commit that expects another version is refused by name and changes nothing", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    await save(store(), tenant, ALPHA, ref, 0, { state: { at: 1 } });
    await save(store(), tenant, ALPHA, ref, 1, { state: { at: 2 } });
    for (const expected of [0, 1, 3]) {
      const error = await expectRefusal(save(store(), tenant, ALPHA, ref, expected, { state: { at: 99 } }), CONFLICT);
      expect(error).toMatchObject({ details: ref });
    }
    expect(await loadOne(tenant, ref)).toMatchObject({ version: 2, state: { at: 2 } });
    expect(await outboxOf(store(), ALPHA, tenant)).toHaveLength(2);
    expect((await store().events(tenant, { contexts: [ALPHA], limit: 10 })).items).toHaveLength(2);
  });

  test("a new aggregate cannot be expected at a version", async () => {
    const tenant = fresh("t");
    await expectRefusal(save(store(), tenant, ALPHA, order(), 1), CONFLICT);
  });

  test("of many commits on one version exactly one wins, version after version", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    for (let version = 0; version < 5; version += 1) {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, (_, writer) =>
          save(store(), tenant, ALPHA, ref, version, { state: { version, writer } }),
        ),
      );
      const winners = outcomes.flatMap(({ status }, writer) => (status === "fulfilled" ? [writer] : []));
      expect(winners).toHaveLength(1);
      for (const outcome of outcomes)
        if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: CONFLICT });
      expect(await loadOne(tenant, ref)).toMatchObject({
        version: version + 1,
        state: { version, writer: winners[0] },
      });
    }
    const history = await store().events(tenant, { contexts: [ALPHA], aggregate: ref, limit: 50 });
    expect(history.items.map((each) => each.aggregateVersion)).toEqual([1, 2, 3, 4, 5]);
  });

  test("commits on different aggregates never disturb each other", async () => {
    const tenant = fresh("t");
    const refs = Array.from({ length: 50 }, () => order());
    await Promise.all(refs.map((ref) => save(store(), tenant, ALPHA, ref, 0)));
    await Promise.all(refs.map((ref) => save(store(), tenant, ALPHA, ref, 1)));
    const loaded = await store().load({ tenant, context: ALPHA }, refs);
    expect(loaded.map((each) => each?.version)).toEqual(refs.map(() => 2));
  });

  test("commits that take the same aggregates in opposite orders end, each committed or refused", async () => {
    const tenant = fresh("t");
    const [a, b] = [order(), order()];
    for (let round = 0; round < 8; round += 1) {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 10 }, (_, writer) => {
          const refs = writer % 2 === 0 ? [a, b] : [b, a];
          return store().commit(tenant, {
            parts: [part(ALPHA, { aggregates: refs.map((ref) => written(ref, round)) })],
          });
        }),
      );
      expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      for (const outcome of outcomes)
        if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: CONFLICT });
    }
  });

  test("an aggregate that was only read is checked and stays as it is", async () => {
    const tenant = fresh("t");
    const [read, changed] = [order(), order()];
    await save(store(), tenant, ALPHA, read, 0, { version: 2 });
    const commit = (expected: number, from: number) =>
      store().commit(tenant, {
        parts: [part(ALPHA, { aggregates: [written(changed, from), { ...read, expectedVersion: expected }] })],
      });
    for (const stale of [0, 1, 3]) {
      const error = await expectRefusal(commit(stale, 0), CONFLICT);
      expect(error).toMatchObject({ details: read });
    }
    expect(await versionOf(tenant, changed)).toBe(0);
    expect(await commit(2, 0)).toEqual({ status: "committed" });
    expect([await versionOf(tenant, read), await versionOf(tenant, changed)]).toEqual([2, 1]);
  });

  test("an aggregate that was looked for and not found must still not be there", async () => {
    const tenant = fresh("t");
    const [absent, changed] = [order(), order()];
    const commit = (from: number) =>
      store().commit(tenant, {
        parts: [part(ALPHA, { aggregates: [{ ...absent, expectedVersion: 0 }, written(changed, from)] })],
      });
    expect(await commit(0)).toEqual({ status: "committed" });
    expect(await loadOne(tenant, absent)).toBeUndefined();
    await save(store(), tenant, ALPHA, absent, 0);
    await expectRefusal(commit(1), CONFLICT);
    expect(await versionOf(tenant, changed)).toBe(1);
  });

  const crossed = async (tenant: string, from: number, a: AggregateRef, b: AggregateRef) => {
    const changing = (target: AggregateRef, read: AggregateRef) =>
      store().commit(tenant, {
        parts: [part(ALPHA, { aggregates: [{ ...read, expectedVersion: from }, written(target, from)] })],
      });
    const outcomes = await Promise.allSettled([changing(a, b), changing(b, a)]);
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: CONFLICT });
    return outcomes.filter(({ status }) => status === "fulfilled").length;
  };

  test("two commits that each change what the other has read are not both made", async () => {
    const tenant = fresh("t");
    for (let round = 0; round < 25; round += 1) {
      const [a, b] = [order(), order()];
      for (const ref of [a, b]) await save(store(), tenant, ALPHA, ref, 0);
      expect(await crossed(tenant, 1, a, b)).toBe(1);
    }
  });

  test("two commits that each make what the other has looked for in vain are not both made", async () => {
    const tenant = fresh("t");
    for (let round = 0; round < 25; round += 1) expect(await crossed(tenant, 0, order(), order())).toBe(1);
  });

  test("one commit over several contexts writes everything of each", async () => {
    const tenant = fresh("t");
    const full = fullCommit(tenant);
    expect(await store().commit(tenant, { parts: full.parts })).toEqual({ status: "committed" });
    expect(await footprint(store(), tenant, full)).toEqual({
      versions: [1, 1],
      events: 2,
      outbox: 4,
      audit: 2,
      keys: ["result", "result"],
      handled: true,
    });
  });

  const nothing = { versions: [0, 0], events: 0, outbox: 0, audit: 0, keys: [undefined, undefined], handled: false };

  test("one stale aggregate in any context and nothing at all is written", async () => {
    for (const at of [0, 1]) {
      const tenant = fresh("t");
      const full = fullCommit(tenant);
      const stale = order();
      const ref: AggregateRef = at === 0 ? stale : { type: "ledger", id: stale.id };
      const parts = full.parts.map((each, position) =>
        position === at ? { ...each, aggregates: [...each.aggregates, { ...ref, expectedVersion: 7 }] } : each,
      );
      await expectRefusal(store().commit(tenant, { parts }), CONFLICT);
      expect(await footprint(store(), tenant, full)).toEqual(nothing);
    }
  });

  test("one idempotency key that is taken in any context and nothing at all is written", async () => {
    for (const at of [0, 1]) {
      const tenant = fresh("t");
      const full = fullCommit(tenant);
      const taken = full.parts[at]!;
      const key = { ...taken.idempotency!, outcome: { type: "result", value: "earlier" } } as const;
      await store().commit(tenant, { parts: [part(taken.context, { idempotency: key })] });
      expect(await store().commit(tenant, { parts: full.parts })).toMatchObject({
        status: "key-taken",
        record: { key: key.key, outcome: { value: "earlier" } },
      });
      const keys: (string | undefined)[] = [undefined, undefined];
      keys[at] = "result";
      expect(await footprint(store(), tenant, full)).toEqual({ ...nothing, keys });
    }
  });

  test("one message that was handled before in any context and nothing at all is written", async () => {
    for (const at of [0, 1]) {
      const tenant = fresh("t");
      const full = fullCommit(tenant, at);
      const { inbox, context } = full.parts[at]!;
      await store().commit(tenant, { parts: [part(context, { inbox })] });
      expect(await store().commit(tenant, { parts: full.parts })).toEqual({ status: "handled-before" });
      expect(await footprint(store(), tenant, full)).toEqual({ ...nothing, handled: true });
    }
  });

  test("a commit without aggregates can write an audit row alone, and one without anything does nothing", async () => {
    const tenant = fresh("t");
    const row = auditRow(tenant, ALPHA, { outcome: "refused", errorCode: "forbidden" });
    await store().commit(tenant, { parts: [part(ALPHA, { audit: [row] })] });
    expect((await store().audit(tenant, { contexts: [ALPHA], limit: 5 })).items).toEqual([row]);
    expect(await store().commit(tenant, { parts: [] })).toEqual({ status: "committed" });
    expect(await store().commit(tenant, { parts: [part(ALPHA), part(BETA)] })).toEqual({ status: "committed" });
  });

  test("what a caller does to its own objects changes nothing that is stored", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    const state = { list: [1], inner: { a: 1 } };
    const data = { list: [1] };
    const input = { list: [1] };
    await store().commit(tenant, {
      parts: [
        part(ALPHA, {
          aggregates: [written(ref, 0, { state })],
          events: [event(tenant, ALPHA, ref, 1, { data })],
          audit: [auditRow(tenant, ALPHA, { input })],
        }),
      ],
    });
    state.list.push(2);
    state.inner.a = 2;
    data.list.push(2);
    input.list.push(2);
    const read = async () => ({
      state: (await loadOne(tenant, ref))?.state,
      event: (await store().events(tenant, { contexts: [ALPHA], limit: 1 })).items[0]?.data,
      audit: (await store().audit(tenant, { contexts: [ALPHA], limit: 1 })).items[0]?.input,
      outbox: (await outboxOf(store(), ALPHA, tenant)).map(({ message }) => message)[0],
    });
    const first = await read();
    const copy = structuredClone(first);
    expect(first.state).toEqual({ list: [1], inner: { a: 1 } });
    expect([first.event, first.audit]).toEqual([{ list: [1] }, { list: [1] }]);
    for (const value of Object.values(first)) deface(value);
    expect(await read()).toEqual(copy);
  });

  for (const [what, state] of Object.entries(unusualStates()))
    test(`${what} come back unchanged`, async () => {
      const [tenant, ref] = [fresh("t"), order()];
      await store().commit(tenant, {
        parts: [
          part(ALPHA, {
            aggregates: [written(ref, 0, { state })],
            events: [event(tenant, ALPHA, ref, 1, { data: state })],
            audit: [auditRow(tenant, ALPHA, { input: state })],
          }),
        ],
      });
      const overWire = JSON.parse(JSON.stringify(state));
      deepStrictEqual((await loadOne(tenant, ref))?.state, overWire);
      deepStrictEqual((await store().events(tenant, { contexts: [ALPHA], limit: 1 })).items[0]?.data, overWire);
      deepStrictEqual((await store().audit(tenant, { contexts: [ALPHA], limit: 1 })).items[0]?.input, overWire);
    });

  test("any JSON comes back unchanged", async () => {
    const tenant = fresh("t");
    const anyState = fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue({ stringUnit: "grapheme" }));
    await fc.assert(
      fc.asyncProperty(anyState, async (value) => {
        const state = JSON.parse(JSON.stringify(value)) as JsonObject;
        const ref = order();
        await save(store(), tenant, ALPHA, ref, 0, { state });
        deepStrictEqual((await loadOne(tenant, ref))?.state, state);
      }),
      { numRuns: 50 },
    );
  });

  test("ids with spaces, quotes and letters of any script are only ids", async () => {
    const tenant = fresh("t");
    const refs = ["a b", "a'b", 'a"b', "a/b", "日本語", "🗝️", "%", "\\", "a".repeat(200)].map((id) => order(id));
    for (const ref of refs) await save(store(), tenant, ALPHA, ref, 0);
    const loaded = await store().load({ tenant, context: ALPHA }, refs);
    expect(loaded.map((each) => each?.id)).toEqual(refs.map(({ id }) => id));
  });
}

/** A commit over both contexts that writes one of everything; the inbox row is part of `inboxAt`. */
function fullCommit(tenant: string, inboxAt = 1) {
  const refs = [order(), { type: "ledger", id: newId("led") }];
  const keys = [fresh("key"), fresh("key")];
  const inbox = { consumer: "conformance.full", messageId: newId("evt") };
  const parts = [ALPHA, BETA].map((context, position): CommitPart => {
    const ref = refs[position]!;
    return part(context, {
      aggregates: [written(ref, 0)],
      events: [event(tenant, context, ref, 1)],
      messages: [command(tenant, context)],
      audit: [auditRow(tenant, context)],
      idempotency: {
        step: "settle",
        key: keys[position]!,
        inputHash: "hash",
        attempt: 1,
        claimedUntil: 0,
        outcome: { type: "result", value: "mine" },
      },
      ...(position === inboxAt ? { inbox } : {}),
    });
  });
  return { refs, keys, inbox, inboxContext: [ALPHA, BETA][inboxAt]!, parts };
}

/** What of such a commit can be seen. */
async function footprint(store: Store, tenant: string, full: ReturnType<typeof fullCommit>) {
  const contexts = [ALPHA, BETA];
  const versions: number[] = [];
  const keys: (string | undefined)[] = [];
  let outbox = 0;
  for (const [position, context] of contexts.entries()) {
    versions.push((await store.load({ tenant, context }, [full.refs[position]!]))[0]?.version ?? 0);
    keys.push((await store.idempotency({ tenant, context }, full.keys[position]!))?.outcome?.type);
    outbox += (await outboxOf(store, context, tenant)).length;
  }
  const events = (await store.events(tenant, { contexts, limit: 10 })).items.length;
  const audit = (await store.audit(tenant, { contexts, limit: 10 })).items.length;
  // Last, because asking marks the message.
  const probe = await store.commit(tenant, { parts: [part(full.inboxContext, { inbox: full.inbox })] });
  return { versions, events, outbox, audit, keys, handled: probe.status === "handled-before" };
}

/** Changes a value wherever it lets itself be changed. */
function deface(value: unknown): void {
  if (value === null || typeof value !== "object" || Object.isFrozen(value)) return;
  for (const inner of Object.values(value)) deface(inner);
  if (Array.isArray(value)) value.push("defaced");
  else Object.assign(value, { defaced: true });
}

function unusualStates(): Record<string, JsonObject> {
  let deep: JsonObject = { bottom: true };
  for (let depth = 0; depth < 200; depth += 1) deep = depth % 2 === 0 ? { deep } : { list: [deep] };
  return {
    "empty objects, lists, texts and keys": { "": "", a: {}, b: [], c: [[], {}], " ": null },
    "keys that mean something in JavaScript": JSON.parse(
      '{"__proto__":{"a":1},"constructor":1,"toString":"x","length":0}',
    ),
    "very large, very small and negative numbers": {
      numbers: [
        1e308,
        -1e308,
        5e-324,
        1.7976931348623157e308,
        0.1,
        1 / 3,
        9007199254740991,
        -9007199254740991,
        1e21,
        -0,
      ],
    },
    "letters of every script": {
      ключ: "Zoë 日本語 🗝️👩🏽‍💻",
      decomposed: "e\u0301",
      bom: "\ufeff",
      separators: "\u2028\u2029",
      last: "\u{10ffff}",
    },
    "control characters, quotes and backslashes": { text: "\u0001\u001f\u007f\t\r\n\b\f\"'\\/`$1 {} \\u0041 %s" },
    "texts that look like something else": { a: "null", b: "1e5", c: "true", d: "{}", e: "2026-01-02T03:04:05.678Z" },
    "deeply nested values": deep,
    "values of a megabyte": {
      text: "0123456789abcdef".repeat(32_768),
      list: Array.from({ length: 40_000 }, (_, n) => n * 7),
    },
  };
}
