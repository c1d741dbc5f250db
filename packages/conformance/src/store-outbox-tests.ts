import {
  type AggregateRef,
  type DeadLetter,
  everyPartition,
  type OutboxEntry,
  PARTITIONS,
  type Store,
  sequenceOf,
} from "@armature/core";
import { expect } from "vitest";
import { expectRefusal, fresh } from "./expectations.ts";
import {
  ALPHA,
  allPages,
  BETA,
  claimAll,
  command,
  event,
  eventIn,
  garbageCursors,
  newId,
  outboxOf,
  part,
  removeAll,
  retry,
  save,
} from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

const MIRROR = "orders.mirror";
const COUNT = "orders.count";

/** What a relay sees and does: order, progress of each consumer, parking, replay. */
export function registerOutboxTests(register: RegisterTest, store: () => Store): void {
  /** A test that finds both outboxes empty, whatever ran before. */
  const test: RegisterTest = (name, run, timeoutMs) =>
    register(
      name,
      async (context) => {
        for (const each of [ALPHA, BETA]) await drain(store(), each);
        await run(context);
      },
      timeoutMs,
    );

  const order = (id = newId("ord")): AggregateRef => ({ type: "order", id });
  const waiting = (tenant: string, context = ALPHA) => outboxOf(store(), context, tenant);
  const versions = (entries: readonly OutboxEntry[]) => entries.map((entry) => eventIn(entry).aggregateVersion);
  const handled = (tenant: string, consumer: string, messageId: string, context = ALPHA) =>
    store().commit(tenant, { parts: [part(context, { inbox: { consumer, messageId } })] });
  const letterFor = (entry: OutboxEntry, consumer: string, more: Partial<DeadLetter> = {}): DeadLetter => ({
    context: ALPHA,
    consumer,
    message: entry.message,
    reason: "Error: no",
    attempts: 8,
    time: "2026-01-02T03:04:05.678Z",
    ...more,
  });
  const claimOf = async ({ partition }: OutboxEntry) =>
    (await claimAll(store(), ALPHA)).find((claim) => claim.partition === partition)!;
  const park = async (entry: OutboxEntry, consumer: string, more: Partial<DeadLetter> = {}) =>
    store().outbox.park(ALPHA, await claimOf(entry), entry.position, letterFor(entry, consumer, more));
  const fail = async (entry: OutboxEntry, consumer: string, attempts: number, nextAt: number) =>
    store().outbox.failed(ALPHA, await claimOf(entry), { position: entry.position, consumer, attempts, nextAt });
  const publish = async (entries: readonly OutboxEntry[]) =>
    store().outbox.settle(ALPHA, await claimAll(store(), ALPHA), { published: entries, finished: [] });
  const letters = async (tenant: string, consumer?: string) =>
    (await store().deadLetters({ tenant, context: ALPHA }, { consumer, limit: 100 })).items;
  const replay = (tenant: string, consumer: string, ref: AggregateRef) => retry(store(), tenant, ALPHA, consumer, ref);
  /** An aggregate with this many events that wait, the first `gone` of them parked for the consumer and removed. */
  const parkedAndGone = async (tenant: string, ref: AggregateRef, count: number, gone: number, consumer = MIRROR) => {
    await save(store(), tenant, ALPHA, ref, 0, { version: count });
    const entries = await waiting(tenant);
    for (const entry of entries.slice(0, gone)) await park(entry, consumer);
    await removeAll(store(), ALPHA, entries.slice(0, gone));
    return entries;
  };

  test("events and sent commands of a commit wait in the outbox as they were committed", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    const events = [event(tenant, ALPHA, ref, 1), event(tenant, ALPHA, ref, 2, { data: { deep: [{ a: null }] } })];
    const sent = command(tenant, ALPHA, { onBehalfOf: { type: "user", id: "ann" }, limitedTo: ["orders:read"] });
    await save(store(), tenant, ALPHA, ref, 0, { version: 2, part: { events, messages: [sent] } });
    const entries = await waiting(tenant);
    expect(entries.filter(({ message }) => message.kind === "event").map(eventIn)).toEqual(events);
    const commands = entries.flatMap(({ message }) => (message.kind === "command" ? [message.command] : []));
    expect(commands).toEqual([sent]);
    for (const entry of entries) {
      expect(entry).toMatchObject({ published: false, done: [], failures: [] });
      expect(entry.only).toBeUndefined();
    }
  });

  test("each context has an outbox of its own", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    await store().commit(tenant, {
      parts: [
        part(ALPHA, { messages: [command(tenant, ALPHA)] }),
        part(BETA, { messages: [command(tenant, BETA), command(tenant, BETA)] }),
      ],
    });
    expect(await waiting(tenant, ALPHA)).toHaveLength(1);
    expect(await waiting(tenant, BETA)).toHaveLength(2);
    expect([await store().outbox.size(ALPHA), await store().outbox.size(BETA)]).toEqual([1, 2]);
    await save(store(), tenant, ALPHA, ref, 0, { version: 3 });
    expect([await store().outbox.size(ALPHA), await store().outbox.size(BETA)]).toEqual([4, 2]);
  });

  test("a relay sees every tenant's entries, page by page, without gaps or repeats", async () => {
    const tenants = [fresh("t"), fresh("t"), fresh("t")];
    for (const tenant of tenants) await save(store(), tenant, ALPHA, order(), 0, { version: 4 });
    for (const limit of [1, 3, 12, 50]) {
      const found: OutboxEntry[] = [];
      for (const tenant of tenants) found.push(...(await outboxOf(store(), ALPHA, tenant, limit)));
      expect(versions(found)).toEqual([1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]);
      expect(new Set(found.map(({ position }) => position)).size).toBe(12);
    }
    for (const entry of await store().outbox.read(ALPHA, { cursors: everyPartition, limit: 1 }))
      expect(eventIn(entry).aggregateVersion).toBe(1);
  });

  test("an aggregate's events are in one partition, and many aggregates are spread over many", async () => {
    const tenant = fresh("t");
    const refs = Array.from({ length: 100 }, () => order());
    for (const ref of refs) await save(store(), tenant, ALPHA, ref, 0, { version: 2 });
    await store().commit(tenant, {
      parts: [part(ALPHA, { messages: Array.from({ length: 50 }, () => command(tenant, ALPHA)) })],
    });
    const entries = await waiting(tenant);
    expect(entries).toHaveLength(250);
    for (const entry of entries) {
      expect(entry.partition).toBeGreaterThanOrEqual(0);
      expect(entry.partition).toBeLessThan(PARTITIONS);
    }
    const events = entries.filter(({ message }) => message.kind === "event");
    for (const ref of refs) {
      const own = events.filter((entry) => eventIn(entry).aggregateId === ref.id);
      expect(new Set(own.map(({ partition }) => partition)).size).toBe(1);
    }
    expect(new Set(events.map(({ partition }) => partition)).size).toBeGreaterThan(PARTITIONS / 3);
    const commands = entries.filter(({ message }) => message.kind === "command");
    expect(new Set(commands.map(({ partition }) => partition)).size).toBeGreaterThan(10);
    const [some] = entries;
    const inPartition = entries.filter(({ partition }) => partition === some!.partition);
    expect(await store().outbox.size(ALPHA, [some!.partition])).toBe(inPartition.length);
  });

  test("the events of each aggregate wait in the order of its versions, however many write at once", async () => {
    const tenant = fresh("t");
    const refs = Array.from({ length: 6 }, () => order());
    const writer = async (ref: AggregateRef) => {
      for (;;) {
        const version = (await store().load({ tenant, context: ALPHA }, [ref]))[0]?.version ?? 0;
        if (version >= 12) return;
        await save(store(), tenant, ALPHA, ref, version, { version: version + 2 }).catch((error: { code?: string }) => {
          if (error.code !== "version_conflict") throw error;
        });
      }
    };
    await Promise.all(refs.flatMap((ref) => [writer(ref), writer(ref), writer(ref)]));
    const entries = await waiting(tenant);
    expect(entries).toHaveLength(72);
    for (const ref of refs)
      expect(versions(entries.filter((entry) => eventIn(entry).aggregateId === ref.id))).toEqual([
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
      ]);
  });

  test("what the bus has acknowledged is published, and only that", async () => {
    const tenant = fresh("t");
    await save(store(), tenant, ALPHA, order(), 0, { version: 3 });
    const [first, , third] = await waiting(tenant);
    await publish([first!, third!]);
    expect((await waiting(tenant)).map(({ published }) => published)).toEqual([true, false, true]);
    await publish([first!]);
    await publish([]);
    expect((await waiting(tenant)).map(({ published }) => published)).toEqual([true, false, true]);
  });

  test("a consumer is done with an event when its handling is committed, in whichever context that is", async () => {
    const tenant = fresh("t");
    await save(store(), tenant, ALPHA, order(), 0, { version: 2 });
    const [first, second] = await waiting(tenant);
    await handled(tenant, MIRROR, eventIn(first).id);
    await handled(tenant, "ledger.book", eventIn(first).id, BETA);
    await handled(tenant, COUNT, eventIn(second).id);
    const done = (await waiting(tenant)).map((entry) => [...entry.done].sort());
    expect(done).toEqual([["ledger.book", MIRROR], [COUNT]]);
  });

  test("who is done with an event is told to readers that have consumers for its type; all get the event", async () => {
    const tenant = fresh("t");
    await save(store(), tenant, ALPHA, order(), 0, { version: 1 });
    await store().commit(tenant, { parts: [part(ALPHA, { messages: [command(tenant, ALPHA)] })] });
    const all = await waiting(tenant);
    const event = eventIn(all.find(({ message }) => message.kind === "event")!);
    await handled(tenant, MIRROR, event.id);
    for (const consumed of [[event.type], ["nothing.happened"], []]) {
      const read = await store().outbox.read(ALPHA, { cursors: everyPartition, limit: 10, consumed });
      expect(read.map(({ message }) => message)).toEqual(all.map(({ message }) => message));
      if (consumed.includes(event.type))
        expect(read.find(({ message }) => message.kind === "event")!.done).toEqual([MIRROR]);
    }
    expect(await store().outbox.size(ALPHA, undefined, 1)).toBeGreaterThan(0);
    expect(await store().outbox.size(ALPHA, [all[0]!.partition], 1)).toBeGreaterThan(0);
  });

  test("failed deliveries are kept for each consumer, the last one counts", async () => {
    const tenant = fresh("t");
    await save(store(), tenant, ALPHA, order(), 0, { version: 2 });
    const [entry] = await waiting(tenant);
    const nextAt = 1_800_000_000_000;
    await fail(entry!, MIRROR, 1, nextAt);
    await fail(entry!, COUNT, 4, nextAt + 1);
    await fail(entry!, MIRROR, 2, nextAt + 5);
    const [first, second] = await waiting(tenant);
    expect([...first!.failures].sort((a, b) => a.attempts - b.attempts)).toEqual([
      { consumer: MIRROR, attempts: 2, nextAt: nextAt + 5 },
      { consumer: COUNT, attempts: 4, nextAt: nextAt + 1 },
    ]);
    expect(second!.failures).toEqual([]);
  });

  test("a parked event is done for its consumer and waits for the others", async () => {
    const tenant = fresh("t");
    await save(store(), tenant, ALPHA, order(), 0);
    const [entry] = await waiting(tenant);
    await fail(entry!, MIRROR, 8, 5);
    await fail(entry!, COUNT, 1, 5);
    await park(entry!, MIRROR);
    const [after] = await waiting(tenant);
    expect(after).toMatchObject({ done: [MIRROR], failures: [{ consumer: COUNT, attempts: 1, nextAt: 5 }] });
  });

  test("an aggregate is parked for one consumer and tenant, and no other", async () => {
    const [tenant, ref, neighbour] = [fresh("t"), order(), fresh("t")];
    await save(store(), tenant, ALPHA, ref, 0, { version: 2 });
    await save(store(), neighbour, ALPHA, ref, 0);
    await save(store(), tenant, ALPHA, { type: "note", id: ref.id }, 0);
    const [first] = await waiting(tenant);
    expect(first!.parked).toEqual([]);
    await park(first!, MIRROR);
    const parked = async (of: string) =>
      (await waiting(of)).map((entry) => [eventIn(entry).aggregateType, eventIn(entry).aggregateVersion, entry.parked]);
    expect(await parked(tenant)).toEqual([
      ["order", 1, [MIRROR]],
      ["order", 2, [MIRROR]],
      ["note", 1, []],
    ]);
    expect(await parked(neighbour)).toEqual([["order", 1, []]]);
    await removeAll(store(), ALPHA, [first!]);
    expect((await parked(tenant))[0]).toEqual(["order", 2, [MIRROR]]);
  });

  test("a removed entry is gone and removing it again has no effect", async () => {
    const tenant = fresh("t");
    await save(store(), tenant, ALPHA, order(), 0, { version: 3 });
    const entries = await waiting(tenant);
    await removeAll(store(), ALPHA, entries.slice(0, 2));
    await removeAll(store(), ALPHA, entries.slice(0, 2));
    await removeAll(store(), ALPHA, []);
    expect(versions(await waiting(tenant))).toEqual([3]);
    expect(await store().outbox.size(ALPHA)).toBe(1);
    expect((await store().events(tenant, { contexts: [ALPHA], limit: 10 })).items).toHaveLength(3);
  });

  test("dead letters say what was parked, for whom, why and when, the oldest first", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    await save(store(), tenant, ALPHA, ref, 0, { version: 2 });
    const [first, second] = await waiting(tenant);
    await park(first!, MIRROR, { reason: 'Error: "broken" 日本語\n  at line 1' });
    const behind = { reason: `behind ${eventIn(first).id}`, attempts: 0, time: "2026-01-02T03:04:06.000Z" };
    await park(second!, MIRROR, behind);
    await park(first!, COUNT);
    expect(await letters(tenant, MIRROR)).toEqual([
      letterFor(first!, MIRROR, { reason: 'Error: "broken" 日本語\n  at line 1' }),
      letterFor(second!, MIRROR, behind),
    ]);
    expect(await letters(tenant, COUNT)).toEqual([letterFor(first!, COUNT)]);
    expect(await letters(tenant)).toHaveLength(3);
    expect(await letters(tenant, "orders.nobody")).toEqual([]);
  });

  test("parking twice keeps one dead letter", async () => {
    const tenant = fresh("t");
    await save(store(), tenant, ALPHA, order(), 0);
    const [entry] = await waiting(tenant);
    await park(entry!, MIRROR);
    await park(entry!, MIRROR, { reason: "again" });
    expect(await letters(tenant)).toEqual([letterFor(entry!, MIRROR)]);
  });

  test("dead letters come in pages and a text that is not a cursor is refused", async () => {
    const tenant = fresh("t");
    await save(store(), tenant, ALPHA, order(), 0, { version: 7 });
    const entries = await waiting(tenant);
    for (const entry of entries) await park(entry, MIRROR);
    const list = (page: { readonly limit: number; readonly after?: string }) =>
      store().deadLetters({ tenant, context: ALPHA }, page);
    for (const limit of [1, 3, 7, 20])
      expect((await allPages(limit, list)).map(({ message }) => eventIn({ message }).aggregateVersion)).toEqual([
        1, 2, 3, 4, 5, 6, 7,
      ]);
    for (const after of garbageCursors) await expectRefusal(list({ limit: 5, after }), "invalid_input");
  });

  test("a replay brings parked events back in order, before later ones, for their consumer only", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    const entries = await parkedAndGone(tenant, ref, 5, 3);
    await save(store(), tenant, ALPHA, order(), 0);
    expect(await replay(tenant, MIRROR, ref)).toBe(3);
    const back = (await waiting(tenant)).filter((entry) => eventIn(entry).aggregateId === ref.id);
    expect(back.map(eventIn)).toEqual(entries.map(eventIn));
    for (const entry of back.slice(0, 3))
      expect(entry).toMatchObject({ published: true, done: [], failures: [], only: [MIRROR] });
    for (const entry of back.slice(3)) expect(entry.only).toBeUndefined();
    expect(await letters(tenant)).toEqual([]);
    for (const entry of back) expect(entry.parked).toEqual([]);
  });

  test("until the next pass begins a replayed aggregate stays parked, and what is parked behind it comes back too", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    const entries = await parkedAndGone(tenant, ref, 3, 2);
    await replay(tenant, MIRROR, ref);
    expect(await letters(tenant)).toEqual([]);
    expect(await replay(tenant, MIRROR, ref)).toBe(0);
    const { partition, position } = entries[1]!;
    const restOfPass = await store().outbox.read(ALPHA, { cursors: [{ partition, after: position }], limit: 10 });
    expect(versions(restOfPass)).toEqual([3]);
    expect(restOfPass[0]!.parked).toEqual([MIRROR]);
    const behind = { reason: `behind ${eventIn(entries[0]).id}`, attempts: 0 };
    expect(await park(entries[2]!, MIRROR, behind)).toBe("parked");
    const back = await waiting(tenant);
    expect(versions(back)).toEqual([1, 2, 3]);
    expect(back.map(({ done, parked }) => [done, parked])).toEqual([
      [[], []],
      [[], []],
      [[], []],
    ]);
    expect(await letters(tenant)).toEqual([]);
  });

  test("nothing is parked behind what is not parked any more", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    const entries = await parkedAndGone(tenant, ref, 2, 1);
    await replay(tenant, MIRROR, ref);
    await waiting(tenant);
    expect(await park(entries[1]!, MIRROR, { reason: "behind", attempts: 0 })).toBe("nothing-ahead");
    expect(await letters(tenant)).toEqual([]);
    expect((await waiting(tenant)).map(({ done }) => done)).toEqual([[], []]);
  });

  test("a replay of an event that others still wait for lets its consumer have it again", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    await save(store(), tenant, ALPHA, ref, 0);
    const [entry] = await waiting(tenant);
    await park(entry!, MIRROR);
    await handled(tenant, COUNT, eventIn(entry).id);
    expect((await waiting(tenant))[0]!.done).toHaveLength(2);
    expect(await replay(tenant, MIRROR, ref)).toBe(1);
    const back = await waiting(tenant);
    expect(back).toHaveLength(1);
    expect(back[0]).toMatchObject({ position: entry!.position, published: false, done: [COUNT] });
    expect(back[0]!.only).toBeUndefined();
  });

  test("one event can be replayed for two consumers at once", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    await save(store(), tenant, ALPHA, ref, 0);
    const [entry] = await waiting(tenant);
    await park(entry!, MIRROR);
    await park(entry!, COUNT);
    await removeAll(store(), ALPHA, [entry!]);
    await replay(tenant, MIRROR, ref);
    await replay(tenant, COUNT, ref);
    const back = await waiting(tenant);
    expect(back).toHaveLength(1);
    expect([...back[0]!.only!].sort()).toEqual([COUNT, MIRROR]);
    await handled(tenant, COUNT, eventIn(entry).id);
    expect((await waiting(tenant))[0]!.done).toEqual([COUNT]);
  });

  test("a consumer that is replayed after another joins the entry that came back", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    await save(store(), tenant, ALPHA, ref, 0);
    const [entry] = await waiting(tenant);
    await park(entry!, MIRROR);
    await park(entry!, COUNT);
    await removeAll(store(), ALPHA, [entry!]);
    await replay(tenant, MIRROR, ref);
    expect((await waiting(tenant))[0]!.only).toEqual([MIRROR]);
    expect(await letters(tenant)).toEqual([letterFor(entry!, COUNT)]);
    await replay(tenant, COUNT, ref);
    expect([...(await waiting(tenant))[0]!.only!].sort()).toEqual([COUNT, MIRROR]);
  });

  test("a replay takes one consumer and one aggregate and leaves the others parked", async () => {
    const tenant = fresh("t");
    const [ref, other] = [order(), order()];
    for (const each of [ref, other]) await save(store(), tenant, ALPHA, each, 0);
    const entries = await waiting(tenant);
    for (const entry of entries) for (const consumer of [MIRROR, COUNT]) await park(entry, consumer);
    await removeAll(store(), ALPHA, entries);
    expect(await replay(tenant, MIRROR, ref)).toBe(1);
    expect((await waiting(tenant)).map((entry) => [eventIn(entry).aggregateId, entry.only])).toEqual([
      [ref.id, [MIRROR]],
    ]);
    expect(await letters(tenant)).toHaveLength(3);
    const parkedNow = await letters(tenant);
    expect(parkedNow.map(({ consumer, message }) => [consumer, sequenceOf(message).id])).toEqual(
      expect.arrayContaining([
        [COUNT, ref.id],
        [MIRROR, other.id],
      ]),
    );
  });

  test("what was replayed can be handled, removed and is then neither parked nor replayed again", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    await parkedAndGone(tenant, ref, 1, 1);
    await replay(tenant, MIRROR, ref);
    const [entry] = await waiting(tenant);
    expect(await handled(tenant, MIRROR, eventIn(entry).id)).toEqual({ status: "committed" });
    expect((await waiting(tenant))[0]!.done).toEqual([MIRROR]);
    await removeAll(store(), ALPHA, [entry!]);
    expect(await waiting(tenant)).toEqual([]);
    expect(await replay(tenant, MIRROR, ref)).toBe(0);
    expect(await waiting(tenant)).toEqual([]);
  });

  test("what was replayed can fail and be parked again", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    const [original] = await parkedAndGone(tenant, ref, 1, 1);
    await replay(tenant, MIRROR, ref);
    const [entry] = await waiting(tenant);
    await fail(entry!, MIRROR, 1, 7);
    expect((await waiting(tenant))[0]!.failures).toEqual([{ consumer: MIRROR, attempts: 1, nextAt: 7 }]);
    await park(entry!, MIRROR, { reason: "second time" });
    await removeAll(store(), ALPHA, [entry!]);
    expect(await letters(tenant)).toEqual([letterFor(original!, MIRROR, { reason: "second time" })]);
    expect(await replay(tenant, MIRROR, ref)).toBe(1);
    expect(await waiting(tenant)).toHaveLength(1);
  });

  test("a sent command can be parked and replayed, by itself", async () => {
    const tenant = fresh("t");
    const [one, two] = [command(tenant, ALPHA), command(tenant, ALPHA)];
    await store().commit(tenant, { parts: [part(ALPHA, { messages: [one, two] })] });
    const entries = await waiting(tenant);
    const first = entries.find(({ message }) => message.kind === "command" && message.command.id === one.id)!;
    await fail(first, one.operation, 23, 7);
    expect(await park(first, one.operation, { attempts: 24 })).toBe("parked");
    await removeAll(store(), ALPHA, [first]);
    expect(await letters(tenant)).toEqual([letterFor(first, one.operation, { attempts: 24 })]);
    expect(
      (await waiting(tenant)).map(({ message, parked }) => [message.kind === "command" && message.command, parked]),
    ).toEqual([[two, []]]);
    expect(await replay(tenant, one.operation, sequenceOf(first.message))).toBe(1);
    const back = (await waiting(tenant)).find(({ position }) => position === first.position);
    expect(back).toMatchObject({ message: first.message, partition: first.partition, done: [], failures: [] });
    expect(await letters(tenant)).toEqual([]);
  });

  test("a replay of nothing puts nothing back", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    await save(store(), tenant, ALPHA, ref, 0);
    expect(await replay(tenant, MIRROR, ref)).toBe(0);
    expect(await waiting(tenant)).toHaveLength(1);
  });
}

async function drain(store: Store, context: string): Promise<void> {
  for (;;) {
    const entries = await store.outbox.read(context, { cursors: everyPartition, limit: 100 });
    if (entries.length === 0) return;
    await removeAll(store, context, entries);
  }
}
