import type { AggregateRef, LoggedEvent, LogPage, Store, StoredEvent } from "@armature/core";
import { expect } from "vitest";
import { fresh } from "./expectations.ts";
import { ALPHA, BETA, event, newId, part, save } from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

// Others may write at the same time, also to other databases of the server, and a reader waits for all of them.
const LONG_MS = 60_000;
const LOOK_AGAIN_MS = 10;

/** Following the log over all tenants. Each test has tenants of its own and begins where the log is now. */
export function registerFollowTests(test: RegisterTest, store: () => Store): void {
  const order = (id = newId("ord")): AggregateRef => ({ type: "order", id });

  /** Reads on until these many events of the tenants were found. */
  const follow = async (
    after: number,
    tenants: readonly string[],
    count: number,
    query: { readonly limit?: number; readonly types?: readonly string[]; readonly context?: string } = {},
  ): Promise<LoggedEvent[]> => {
    const { context = ALPHA, limit = 100, types } = query;
    const found: LoggedEvent[] = [];
    for (let from = after; found.length < count; ) {
      const page: LogPage = await store().log.read(context, { after: from, limit, types });
      expect(page.items.length).toBeLessThanOrEqual(limit);
      expect(page.upTo).toBeGreaterThanOrEqual(page.items.at(-1)?.position ?? from);
      found.push(...page.items.filter(({ event: each }) => tenants.includes(each.tenant)));
      from = page.upTo;
      if (!page.more && found.length < count) await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
    return found;
  };

  test(
    "the log gives every tenant's events in the order in which they were committed, as they were",
    async () => {
      const after = await store().log.head(ALPHA);
      const [one, other, ref] = [fresh("t"), fresh("t"), order()];
      await save(store(), one, ALPHA, ref, 0, { version: 2 });
      await save(store(), other, ALPHA, ref, 0);
      await save(store(), one, ALPHA, ref, 2);
      await save(store(), one, BETA, { type: "ledger", id: "elsewhere" }, 0);
      const found = await follow(after, [one, other], 4);
      expect(found.map((each) => [each.event.tenant, each.event.aggregateVersion])).toEqual([
        [one, 1],
        [one, 2],
        [other, 1],
        [one, 3],
      ]);
      const history = await store().events(one, { contexts: [ALPHA], aggregate: ref, limit: 10 });
      expect(found.filter((each) => each.event.tenant === one).map((each) => each.event)).toEqual(history.items);
      const positions = found.map(({ position }) => position);
      expect(positions).toEqual([...new Set(positions)].sort((a, b) => a - b));
      expect(positions.every((position) => Number.isSafeInteger(position) && position > after)).toBe(true);
    },
    LONG_MS,
  );

  test(
    "it can be read on from every position, a page of any size at a time",
    async () => {
      const [tenant, after] = [fresh("t"), await store().log.head(ALPHA)];
      for (let at = 0; at < 7; at += 1) await save(store(), tenant, ALPHA, order(), 0, { version: 3 });
      const all = await follow(after, [tenant], 21);
      for (const limit of [1, 2, 20, 21, 500])
        expect(await follow(after, [tenant], 21, { limit }), `${limit} at a time`).toEqual(all);
      for (const at of [0, 7, 19])
        expect(await follow(all[at]!.position, [tenant], 20 - at)).toEqual(all.slice(at + 1));
    },
    LONG_MS,
  );

  test(
    "only the types that were asked for are given, and the others are passed over",
    async () => {
      const [tenant, after, ref] = [fresh("t"), await store().log.head(ALPHA), order()];
      const typed = (version: number): StoredEvent =>
        event(tenant, ALPHA, ref, version, { type: version % 40 === 0 ? "order.rare" : "order.often" });
      const events = Array.from({ length: 120 }, (_, at) => typed(at + 1));
      const change = { ...ref, expectedVersion: 0, write: { version: 120, stateVersion: 1, state: {}, index: {} } };
      await store().commit(tenant, { parts: [part(ALPHA, { aggregates: [change], events })] });
      const all = await follow(after, [tenant], 120);

      const rare = await follow(after, [tenant], 3, { types: ["order.rare"], limit: 2 });
      expect(rare.map((each) => each.event.aggregateVersion)).toEqual([40, 80, 120]);
      const last = all.at(-1)!.position;
      let upTo = after;
      while (upTo < last) {
        const page = await store().log.read(ALPHA, { after: upTo, types: ["order.none"], limit: 2 });
        expect(page.items).toEqual([]);
        expect(page.upTo).toBeGreaterThan(upTo);
        upTo = page.upTo;
      }
    },
    LONG_MS,
  );

  test(
    "who has read everything is given nothing, and stays where it is",
    async () => {
      const [tenant, after] = [fresh("t"), await store().log.head(BETA)];
      await save(store(), tenant, BETA, { type: "ledger", id: newId("led") }, 0);
      await follow(after, [tenant], 1, { context: BETA });
      const head = await store().log.head(BETA);
      expect(await store().log.read(BETA, { after: head, limit: 10 })).toEqual({ items: [], upTo: head, more: false });
      const far = head + 1_000;
      expect(await store().log.read(BETA, { after: far, limit: 10 })).toEqual({ items: [], upTo: far, more: false });
    },
    LONG_MS,
  );

  test(
    "a commit that is refused leaves nothing in the log",
    async () => {
      const [tenant, after, ref] = [fresh("t"), await store().log.head(ALPHA), order()];
      await save(store(), tenant, ALPHA, ref, 0);
      await expect(save(store(), tenant, ALPHA, ref, 0)).rejects.toThrow();
      await save(store(), tenant, ALPHA, ref, 1);
      const found = await follow(after, [tenant], 2);
      expect(found.map((each) => each.event.aggregateVersion)).toEqual([1, 2]);
    },
    LONG_MS,
  );

  test("how many events are behind a position is counted up to a bound", async () => {
    const [tenant, after] = [fresh("t"), await store().log.head(BETA)];
    await save(store(), tenant, BETA, { type: "ledger", id: newId("led") }, 0, { version: 5 });
    expect(await store().log.count(BETA, { after, atMost: 100 })).toBe(5);
    expect(await store().log.count(BETA, { after, atMost: 3 })).toBe(3);
    expect(await store().log.count(BETA, { after: after + 1_000, atMost: 3 })).toBe(0);
  });

  test(
    "a reader beside many writers gets every event once, and each aggregate's in the order of versions",
    async () => {
      const [tenant, after] = [fresh("t"), await store().log.head(ALPHA)];
      const shared = Array.from({ length: 6 }, () => order());
      const writers = shared.map(async (ref) => {
        for (let version = 0; version < 25; version += 1) await save(store(), tenant, ALPHA, ref, version);
      });
      const found = await follow(after, [tenant], 6 * 25, { limit: 7 });
      await Promise.all(writers);
      for (const { id } of shared)
        expect(found.flatMap((each) => (each.event.aggregateId === id ? [each.event.aggregateVersion] : []))).toEqual(
          Array.from({ length: 25 }, (_, at) => at + 1),
        );
    },
    LONG_MS,
  );
}
