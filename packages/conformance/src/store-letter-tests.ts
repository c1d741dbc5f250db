import type { AggregateRef, LetterChange, OutboxEntry, Store } from "@armature/core";
import { expect } from "vitest";
import { expectRefusal, fresh } from "./expectations.ts";
import {
  ALPHA,
  allPages,
  claimAll,
  event,
  eventIn,
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

/** What is decided about parked messages, as part of a commit. */
export function registerLetterTests(test: RegisterTest, store: () => Store): void {
  const order = (id = newId("ord")): AggregateRef => ({ type: "order", id });
  const waiting = (tenant: string) => outboxOf(store(), ALPHA, tenant);
  const versions = (entries: readonly OutboxEntry[]) => entries.map((entry) => eventIn(entry).aggregateVersion);
  const decide = (tenant: string, letters: readonly LetterChange[]) =>
    store().commit(tenant, { parts: [part(ALPHA, { letters })] });
  const letters = async (tenant: string, messageId?: string) =>
    (await store().deadLetters({ tenant, context: ALPHA }, { messageId, limit: 100 })).items;
  const park = async (entry: OutboxEntry) => {
    const claim = (await claimAll(store(), ALPHA)).find(({ partition }) => partition === entry.partition)!;
    const { message, position } = entry;
    const time = "2026-01-02T03:04:05.678Z";
    const letter = { context: ALPHA, consumer: MIRROR, message, reason: "Error: no", attempts: 8, time };
    expect(await store().outbox.park(ALPHA, claim, position, letter)).toBe("parked");
  };
  /** An aggregate with three events that wait, all of them parked. */
  const threeParked = async () => {
    const [tenant, ref] = [fresh("t"), order()];
    await save(store(), tenant, ALPHA, ref, 0, { version: 3 });
    const entries = await waiting(tenant);
    for (const entry of entries) await park(entry);
    return { tenant, ref, entries };
  };

  test("a dead letter can be looked up by its message", async () => {
    const { tenant, entries } = await threeParked();
    const { id } = eventIn(entries[1]);
    expect((await letters(tenant, id)).map(({ message }) => eventIn({ message }).id)).toEqual([id]);
    expect(await letters(tenant, "evt_unknown")).toEqual([]);
    expect(await letters(fresh("t"), id)).toEqual([]);
    await removeAll(store(), ALPHA, entries);
  });

  test("a message that is skipped is done for its consumer, and what is parked behind it stays", async () => {
    const { tenant, ref, entries } = await threeParked();
    const skip = { step: "skip", consumer: MIRROR, messageId: eventIn(entries[1]).id } as const;
    await expectRefusal(decide(fresh("t"), [skip]), "version_conflict");
    await decide(tenant, [skip]);
    expect((await letters(tenant)).map(({ message }) => eventIn({ message }).aggregateVersion)).toEqual([1, 3]);
    await expectRefusal(decide(tenant, [skip]), "version_conflict");
    expect((await waiting(tenant)).map(({ done }) => done)).toEqual([[MIRROR], [MIRROR], [MIRROR]]);
    await retry(store(), tenant, ALPHA, MIRROR, ref);
    await expectRefusal(decide(tenant, [{ ...skip, messageId: eventIn(entries[2]).id }]), "version_conflict");
    expect((await waiting(tenant)).map(({ done }) => done)).toEqual([[], [MIRROR], []]);
    const inbox = { consumer: MIRROR, messageId: skip.messageId };
    expect(await store().commit(tenant, { parts: [part(ALPHA, { inbox })] })).toEqual({ status: "handled-before" });
    await removeAll(store(), ALPHA, entries);
  });

  test("a decision about what is not parked takes the whole commit with it", async () => {
    const [tenant, ref] = [fresh("t"), order()];
    const changes: readonly LetterChange[] = [{ step: "retry", consumer: MIRROR, sequence: ref }];
    const events = [event(tenant, ALPHA, ref, 1)];
    const commit = store().commit(tenant, { parts: [part(ALPHA, { events, letters: changes })] });
    await expectRefusal(commit, "version_conflict");
    expect((await store().events(tenant, { contexts: [ALPHA], limit: 10 })).items).toEqual([]);
    expect(await waiting(tenant)).toEqual([]);
  });

  test("events of the log can be delivered to a consumer again, before all that waits", async () => {
    const [tenant, ref, stranger] = [fresh("t"), order(), fresh("t")];
    await save(store(), tenant, ALPHA, ref, 0, { version: 3 });
    const entries = await waiting(tenant);
    const ids = entries.map((entry) => eventIn(entry).id);
    await store().commit(tenant, { parts: [part(ALPHA, { inbox: { consumer: MIRROR, messageId: ids[0]! } })] });
    await removeAll(store(), ALPHA, entries.slice(0, 2));
    const again = (of: string, consumer: string, events: readonly string[]) =>
      decide(of, [{ step: "redeliver", consumer, events }]);
    await again(tenant, MIRROR, [ids[1]!, ids[0]!]);
    await again(tenant, COUNT, [ids[1]!]);
    await again(stranger, MIRROR, ids);
    const back = await waiting(tenant);
    expect(versions(back)).toEqual([1, 2, 3]);
    expect(back.map(({ published, done, only }) => [published, done, only?.toSorted()])).toEqual([
      [true, [MIRROR], [MIRROR]],
      [true, [], [COUNT, MIRROR]],
      [false, [], undefined],
    ]);
    for (const { partition, position } of back) {
      expect(partition).toBe(entries[0]!.partition);
      expect(Number.isSafeInteger(Number(position))).toBe(true);
    }
    await removeAll(store(), ALPHA, back);
    expect(await waiting(tenant)).toEqual([]);
  });

  test("the timeline can be read from an id on", async () => {
    const tenant = fresh("t");
    await save(store(), tenant, ALPHA, order(), 0, { version: 5 });
    const all = (await store().events(tenant, { contexts: [ALPHA], limit: 10 })).items;
    const above = all[1]!.id;
    const list = (page: { readonly limit: number; readonly after?: string }) =>
      store().events(tenant, { contexts: [ALPHA], direction: "asc", above, ...page });
    for (const limit of [1, 2, 10]) expect(await allPages(limit, list)).toEqual(all.slice(2));
    await removeAll(store(), ALPHA, await waiting(tenant));
  });
}
