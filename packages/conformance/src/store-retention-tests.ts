import type { CommitResult, SentCommand, Store } from "@armature/core";
import { expect } from "vitest";
import { fresh } from "./expectations.ts";
import {
  ALPHA,
  BETA,
  claimAll,
  command,
  event,
  newId,
  outboxOf,
  part,
  removeAll,
  retry,
  written,
} from "./store-fixture.ts";
import type { RelayBackend } from "./store-relay-tests.ts";
import type { RegisterTest } from "./suite.ts";

const DAY_MS = 86_400_000;
const CONSUMER = "orders.mirror";

/** What is forgotten after a time, and what is not because somebody may ask for it yet. */
export function registerRetentionTests(test: RegisterTest, store: () => Store, backend: () => RelayBackend): void {
  const handle = (tenant: string, messageId: string, context = ALPHA): Promise<CommitResult> =>
    store().commit(tenant, { parts: [part(context, { inbox: { consumer: CONSUMER, messageId } })] });
  const handled = async (tenant: string, messageId: string, context?: string) => {
    expect(await handle(tenant, messageId, context)).toEqual({ status: "committed" });
    return messageId;
  };
  /** Asked by a delivery, which is handled now if it was not known. */
  const isKnown = async (tenant: string, messageId: string, context?: string) =>
    (await handle(tenant, messageId, context)).status === "handled-before";

  const call = { inputHash: "hash", attempt: 1, claimedUntil: 0 };
  const claim = (tenant: string, key: string, claimedUntil: number) =>
    store().commit(tenant, {
      parts: [part(ALPHA, { idempotency: { ...call, key, claimedUntil, step: "claim" } })],
    });
  const settle = (tenant: string, key: string, context = ALPHA) => {
    const outcome = { type: "result", value: "done" } as const;
    return store().commit(tenant, {
      parts: [part(context, { idempotency: { ...call, key, step: "settle", outcome } })],
    });
  };
  const isRecorded = async (tenant: string, key: string, context = ALPHA) =>
    (await store().idempotency({ tenant, context }, key)) !== undefined;

  /** Forgets what can be forgotten, and says how much that was. */
  const prune = async (olderThanMs = 0, context = ALPHA) => {
    for (let sum = 0; ; ) {
      const removed = await store().prune(context, { olderThanMs, limit: 50, inbox: true });
      expect(removed).toBeLessThanOrEqual(50);
      if (removed === 0) return sum;
      sum += removed;
    }
  };

  const raise = async (tenant: string, context = ALPHA) => {
    const ref = { type: "order", id: newId("ord") };
    const raised = event(tenant, context, ref, 1);
    await store().commit(tenant, { parts: [part(context, { aggregates: [written(ref, 0)], events: [raised] })] });
    return raised;
  };
  const send = async (tenant: string, more: Partial<SentCommand> = {}, context = ALPHA) => {
    const sent = command(tenant, context, { time: new Date().toISOString() as SentCommand["time"], ...more });
    await store().commit(tenant, { parts: [part(context, { messages: [sent] })] });
    return sent;
  };
  const finish = async (tenant: string, context = ALPHA) =>
    removeAll(store(), context, await outboxOf(store(), context, tenant));
  /** The only entry of the tenant is parked and leaves the outbox. */
  const parkOnly = async (tenant: string, consumer: string, context = ALPHA) => {
    const [entry] = await outboxOf(store(), context, tenant);
    const claims = await claimAll(store(), context);
    const own = claims.find(({ partition }) => partition === entry!.partition)!;
    const letter = { context, consumer, message: entry!.message, reason: "x", attempts: 8 };
    const time = "2026-01-02T03:04:05.678Z" as const;
    expect(await store().outbox.park(context, own, entry!.position, { ...letter, time })).toBe("parked");
    await finish(tenant, context);
  };

  test("what was handled and recorded is forgotten when it is old, of every tenant, and a second look finds nothing", async () => {
    const tenants = [fresh("t"), fresh("t")];
    const messages: string[] = [];
    for (const tenant of tenants) {
      messages.push(await handled(tenant, newId("evt")));
      await settle(tenant, "orders.make key");
    }
    expect(await prune()).toBeGreaterThanOrEqual(4);
    expect(await prune()).toBe(0);
    for (const [at, tenant] of tenants.entries()) {
      expect(await isRecorded(tenant, "orders.make key")).toBe(false);
      expect(await isKnown(tenant, messages[at]!)).toBe(false);
    }
  });

  test("what is younger stays", async () => {
    const tenant = fresh("t");
    const message = await handled(tenant, newId("evt"));
    await settle(tenant, "orders.make key");
    await prune(DAY_MS);
    expect(await isKnown(tenant, message)).toBe(true);
    expect(await isRecorded(tenant, "orders.make key")).toBe(true);
  });

  test("of old and young only the old go, by the store's clock", async (context) => {
    const { pass } = backend();
    if (pass === undefined) return context.skip("the setup cannot move the time");
    const tenant = fresh("t");
    const old = await handled(tenant, newId("evt"));
    await settle(tenant, "orders.make old");
    await pass(2 * DAY_MS);
    const young = await handled(tenant, newId("evt"));
    await settle(tenant, "orders.make young");
    await pass(DAY_MS / 2);
    await prune(DAY_MS);
    expect(await isKnown(tenant, young)).toBe(true);
    expect(await isRecorded(tenant, "orders.make young")).toBe(true);
    expect(await isKnown(tenant, old)).toBe(false);
    expect(await isRecorded(tenant, "orders.make old")).toBe(false);
  });

  test("no more go at once than are asked for", async () => {
    const tenant = fresh("t");
    await prune();
    for (let at = 0; at < 4; at += 1) await handled(tenant, newId("evt"));
    for (let at = 0; at < 3; at += 1) await settle(tenant, `orders.make ${at}`);
    const removed: number[] = [];
    for (let call = 0; call < 4; call += 1)
      removed.push(await store().prune(ALPHA, { olderThanMs: 0, limit: 3, inbox: true }));
    expect(removed).toEqual([3, 3, 1, 0]);
  });

  test("what was handled stays known unless it is asked for, so that nobody is given it again", async () => {
    const tenant = fresh("t");
    const message = await handled(tenant, newId("evt"));
    await settle(tenant, "orders.make key");
    await store().prune(ALPHA, { olderThanMs: 0, limit: 1_000, inbox: false });
    expect(await isRecorded(tenant, "orders.make key")).toBe(false);
    expect(await isKnown(tenant, message)).toBe(true);
  });

  test("rows of other contexts stay", async () => {
    const tenant = fresh("t");
    const message = await handled(tenant, newId("evt"), BETA);
    await settle(tenant, "orders.make key", BETA);
    await prune(0, ALPHA);
    expect(await isKnown(tenant, message, BETA)).toBe(true);
    expect(await isRecorded(tenant, "orders.make key", BETA)).toBe(true);
    expect(await prune(0, BETA)).toBeGreaterThanOrEqual(2);
    expect(await isKnown(tenant, message, BETA)).toBe(false);
  });

  test("nothing else of a tenant is touched", async () => {
    const tenant = fresh("t");
    const raised = await raise(tenant);
    const sent = await send(tenant);
    await store().records.put({ tenant, context: ALPHA }, "key", { a: 1 }, 0);
    await store().commit(tenant, { parts: [part(ALPHA, { counters: [{ key: "k", numbers: { n: 1 } }] })] });
    await prune();
    const ref = { type: "order", id: raised.aggregateId };
    expect(await store().load({ tenant, context: ALPHA }, [ref])).toMatchObject([{ version: 1 }]);
    expect((await store().events(tenant, { contexts: [ALPHA], limit: 5 })).items).toEqual([raised]);
    expect(await outboxOf(store(), ALPHA, tenant)).toMatchObject([
      { message: { kind: "event", event: raised } },
      { message: { kind: "command", command: sent } },
    ]);
    expect(await store().records.get({ tenant, context: ALPHA }, "key")).toMatchObject({ value: { a: 1 } });
    const counted = await store().counters({ tenant, context: ALPHA }, { gte: "a", lt: "z", limit: 5 });
    expect(counted.items).toEqual([{ key: "k", numbers: { n: 1 } }]);
    await finish(tenant);
  });

  for (const from of [ALPHA, BETA]) {
    test(`who has handled a message stays known while it waits in the outbox of ${from}`, async () => {
      const tenant = fresh("t");
      const { id } = await raise(tenant, from);
      const other = await handled(fresh("t"), id);
      await handled(tenant, id);
      await prune();
      expect(await isKnown(tenant, id), "it waits, and is delivered again").toBe(true);
      await finish(tenant, from);
      expect(await prune()).toBeGreaterThanOrEqual(1);
      expect(await isKnown(tenant, other)).toBe(false);
    });

    test(`who has handled a message of ${from} stays known while it is parked for somebody, and when that is replayed`, async () => {
      const tenant = fresh("t");
      const { id, aggregateId } = await raise(tenant, from);
      await handled(tenant, id);
      await parkOnly(tenant, "orders.count", from);
      await prune();
      expect(await isKnown(tenant, id)).toBe(true);
      const sequence = { type: "order", id: aggregateId };
      expect(await retry(store(), tenant, from, "orders.count", sequence)).toBe(1);
      await prune();
      expect(await outboxOf(store(), from, tenant)).toHaveLength(1);
      await prune();
      expect(await isKnown(tenant, id), "it waits again").toBe(true);
      await finish(tenant, from);
      await prune();
      expect(await isKnown(tenant, id)).toBe(false);
    });

    test(`what a command that was sent from ${from} came to stays known while it waits or is parked`, async () => {
      const tenant = fresh("t");
      const { id } = await send(tenant, {}, from);
      const key = "notifications.deliver digest-of-the-id";
      await settle(tenant, key);
      await prune();
      expect(await isRecorded(tenant, key)).toBe(true);
      await parkOnly(tenant, "notifications.deliver", from);
      await prune();
      expect(await isRecorded(tenant, key)).toBe(true);
      expect(await retry(store(), tenant, from, "notifications.deliver", { type: "", id })).toBe(1);
      expect(await outboxOf(store(), from, tenant)).toHaveLength(1);
      await prune();
      expect(await isRecorded(tenant, key)).toBe(true);
      await finish(tenant, from);
      await prune();
      expect(await isRecorded(tenant, key)).toBe(false);
    });
  }

  test("a sent command keeps no records of other operations and tenants, and none from long before it was sent", async () => {
    const [tenant, other] = [fresh("t"), fresh("t")];
    const inAYear = new Date(Date.now() + 365 * DAY_MS).toISOString() as SentCommand["time"];
    await send(tenant, { operation: "notifications.deliver" });
    await send(tenant, { operation: "notifications.count", time: inAYear });
    for (const key of ["notifications.deliver a", "notifications.count b", "notifications.deliver.all c"])
      for (const each of [tenant, other]) await settle(each, key);
    await prune();
    expect(await isRecorded(tenant, "notifications.deliver a")).toBe(true);
    for (const key of ["notifications.count b", "notifications.deliver.all c"])
      expect(await isRecorded(tenant, key), key).toBe(false);
    expect(await isRecorded(other, "notifications.deliver a")).toBe(false);
    await finish(tenant);
  });

  test("the key of a call that is under way stays, and goes long after it was cut off", async () => {
    const tenant = fresh("t");
    const until = (ms: number) => claim(tenant, `orders.make ${ms}`, ms);
    const farAhead = 8_000_000_000_000;
    for (const ms of [-1, 0, 1, farAhead]) await until(ms);
    await prune();
    const kept: boolean[] = [];
    for (const ms of [-1, 0, 1, farAhead]) kept.push(await isRecorded(tenant, `orders.make ${ms}`));
    expect(kept).toEqual([false, false, false, true]);
  });

  test("of those that prune at once each row goes once, while others deliver and call", async () => {
    const tenant = fresh("t");
    await prune();
    for (let at = 0; at < 20; at += 1) await handled(tenant, newId("evt"));
    const { id } = await raise(tenant);
    await handled(tenant, id);
    const pruned = await Promise.all([
      ...Array.from({ length: 4 }, () => store().prune(ALPHA, { olderThanMs: 0, limit: 50, inbox: true })),
      ...Array.from({ length: 8 }, async (_, at) => {
        await settle(tenant, `orders.make ${at}`);
        expect(await isKnown(tenant, id)).toBe(true);
        return 0;
      }),
    ]);
    expect(pruned.reduce((sum, each) => sum + each, 0) + (await prune())).toBe(28);
    expect(await isKnown(tenant, id)).toBe(true);
    await finish(tenant);
  });
}
