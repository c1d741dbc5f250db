import type { Commit, Store, Timer } from "@armature/core";
import { expect } from "vitest";
import { fresh, rejection } from "./expectations.ts";
import { type Losable, onceBack, withoutBackend } from "./outage-tests.ts";
import { ALPHA, BETA, command, event, eventIn, outboxOf, part, written } from "./store-fixture.ts";
import type { RelayBackend } from "./store-relay-tests.ts";
import type { RegisterTest } from "./suite.ts";

export interface StoreSetup extends Losable, RelayBackend {
  readonly store: Store;
}

const order = (id: string) => ({ type: "order", id });

/** One more version of an order: its state, its event and its row in the outbox. */
function next(tenant: string, id: string, version: number, by: string): Commit {
  const data = { by };
  const aggregates = [written(order(id), version, { state: data })];
  return { parts: [part(ALPHA, { aggregates, events: [event(tenant, ALPHA, order(id), version + 1, { data })] })] };
}

/** Several processes on one store, and a store that is away for a while. */
export function registerSharedTests(test: RegisterTest, ready: () => StoreSetup): void {
  const versionOf = async (store: Store, tenant: string, id: string) =>
    (await store.load({ tenant, context: ALPHA }, [order(id)]))[0]?.version ?? 0;

  test("writers of two instances take the versions of an aggregate in turns: none lost, none twice, both see all", async (context) => {
    const { store, elsewhere } = ready();
    if (elsewhere === undefined) return context.skip("the setup has no second instance");
    const tenant = fresh("t");
    const instances = [store, elsewhere];
    const writer = async (by: Store, name: string) => {
      for (let count = 0; count < 10; ) {
        const version = await versionOf(by, tenant, "shared");
        const error = await by.commit(tenant, next(tenant, "shared", version, name)).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (error === undefined) count += 1;
        else expect(error).toMatchObject({ code: "version_conflict" });
      }
    };
    await Promise.all(Array.from({ length: 4 }, (_, at) => writer(instances[at % 2]!, `writer-${at}`)));
    const versions = Array.from({ length: 40 }, (_, at) => at + 1);
    for (const each of instances) {
      expect(await versionOf(each, tenant, "shared")).toBe(40);
      const { items } = await each.events(tenant, { contexts: [ALPHA], aggregate: order("shared"), limit: 100 });
      expect(items.map(({ aggregateVersion }) => aggregateVersion)).toEqual(versions);
      const waiting = (await outboxOf(each, ALPHA, tenant)).map(eventIn);
      expect(waiting.map(({ aggregateVersion }) => aggregateVersion)).toEqual(versions);
      for (const by of [0, 1, 2, 3])
        expect(
          items.filter(({ data }) => data["by"] === `writer-${by}`),
          `writer-${by}`,
        ).toHaveLength(10);
    }
  }, 60_000);

  test("two instances that fire timers at once fire each once, in one of them", async (context) => {
    const { store, elsewhere } = ready();
    if (elsewhere === undefined) return context.skip("the setup has no second instance");
    const tenant = fresh("t");
    const timers = Array.from({ length: 60 }, (_, dueAt): Timer => {
      const sent = command(tenant, BETA);
      return { key: sent.id, dueAt, command: sent };
    });
    const changes = timers.map((timer) => ({ step: "set", timer }) as const);
    await store.commit(tenant, { parts: [part(BETA, { timers: changes })] });
    const fireAll = async (instance: Store): Promise<number> => {
      let fired = 0;
      for (;;) {
        const due = await instance.timers.due(BETA, { now: 1_000, limit: 5 });
        if (due.timers.length === 0) return fired;
        const firings = due.timers.map((timer) => ({ timer, message: timer.command }));
        fired += await instance.timers.fire(BETA, firings);
      }
    };
    const fired = await Promise.all([store, elsewhere, store, elsewhere].map(fireAll));
    expect(fired.reduce((sum, each) => sum + each, 0)).toBeGreaterThanOrEqual(60);
    const sent = (await outboxOf(elsewhere, BETA, tenant)).flatMap(({ message }) =>
      message.kind === "command" ? [message.command.id] : [],
    );
    expect([...sent].sort()).toEqual(timers.map(({ key }) => key).sort());
  }, 60_000);

  test("while the backend is away a commit is refused soon; after that each is there as a whole or not at all", async (context) => {
    const { store } = ready();
    const tenant = fresh("t");
    await store.commit(tenant, next(tenant, "before", 0, "acknowledged"));
    // Some are on their way when it happens, as they are in a process that is at work.
    const names = Array.from({ length: 12 }, (_, at) => `during-${at}`);
    const acknowledged = new Set<string>();
    const commit = async (name: string) => {
      await store.commit(tenant, next(tenant, name, 0, name));
      acknowledged.add(name);
    };
    if (ready().loseBackend === undefined) return context.skip("the setup cannot take the backend away");
    const underWay = Promise.allSettled(names.map(commit));
    await withoutBackend(context, ready(), async () => {
      await underWay;
      const asked = performance.now();
      const error = await rejection(store.commit(tenant, next(tenant, "refused", 0, "refused")));
      expect(error).toMatchObject({ kind: expect.stringMatching(/^(?:unavailable|timeout)$/) });
      expect(performance.now() - asked).toBeLessThan(20_000);
    });
    expect(await onceBack(() => versionOf(store, tenant, "before"))).toBe(1);
    const waiting = (await outboxOf(store, ALPHA, tenant)).map(eventIn);
    for (const name of ["before", "refused", ...names]) {
      const version = await versionOf(store, tenant, name);
      if (name === "before" || acknowledged.has(name)) expect([name, version]).toEqual([name, 1]);
      const { items } = await store.events(tenant, { contexts: [ALPHA], aggregate: order(name), limit: 10 });
      expect(items.map(({ aggregateVersion }) => aggregateVersion)).toEqual(version === 0 ? [] : [1]);
      expect(waiting.filter(({ aggregateId }) => aggregateId === name)).toEqual(items);
    }
  }, 90_000);
}
