import {
  everyPartition,
  type Firing,
  type JsonObject,
  type Recurrence,
  type Store,
  type Timer,
  type TimerChange,
} from "@armature/core";
import { expect } from "vitest";
import { expectRefusal, fresh } from "./expectations.ts";
import { ALPHA, allPages, BETA, command, garbageCursors, newId, outboxOf, part, written } from "./store-fixture.ts";
import type { RegisterTest } from "./suite.ts";

const DAILY: Recurrence = { cron: "0 3 * * *", timeZone: "Europe/Berlin" };

/** Delayed and recurring commands: set and removed by commits, listed, fired once. */
export function registerTimerTests(register: RegisterTest, store: () => Store): void {
  /** A test that finds no timers, whatever ran before. */
  const test: RegisterTest = (name, run, timeoutMs) =>
    register(
      name,
      async (context) => {
        for (const each of [ALPHA, BETA]) await fireAll(each);
        await run(context);
      },
      timeoutMs,
    );

  const delayed = (tenant: string, dueAt: number, context = ALPHA): Timer => {
    const sent = command(tenant, context, { input: { dueAt } });
    return { key: sent.id, dueAt, command: sent };
  };
  const recurring = (tenant: string, key: string, dueAt: number, more: Partial<Timer> = {}): Timer => ({
    key,
    dueAt,
    recurrence: DAILY,
    command: command(tenant, ALPHA),
    ...more,
  });
  const change = (tenant: string, changes: readonly TimerChange[], context = ALPHA) =>
    store().commit(tenant, { parts: [part(context, { timers: changes })] });
  const set = (tenant: string, timers: readonly Timer[], context = ALPHA) =>
    change(
      tenant,
      timers.map((timer) => ({ step: "set", timer })),
      context,
    );
  const remove = (tenant: string, key: string, required = false) => change(tenant, [{ step: "remove", key, required }]);
  const scheduled = async (tenant: string, contexts: readonly string[] = [ALPHA, BETA]) =>
    (await store().scheduled(tenant, { contexts, limit: 200 })).items;
  const due = (now: number, limit = 1_000, context = ALPHA) => store().timers.due(context, { now, limit });
  const once = (timer: Timer): Firing => ({ timer, message: timer.command });
  const sentOf = async (tenant: string, context = ALPHA) =>
    (await outboxOf(store(), context, tenant)).flatMap(({ message }) =>
      message.kind === "command" ? [message.command] : [],
    );
  async function fireAll(context: string): Promise<void> {
    for (;;) {
      const { timers } = await due(Number.MAX_SAFE_INTEGER, 500, context);
      if (timers.length === 0) return;
      await store().timers.fire(context, timers.map(once));
    }
  }

  test("a timer that a commit sets is listed, is due at its time and not before, and comes out as it went in", async () => {
    const tenant = fresh("t");
    const deep: JsonObject = { deep: [{ a: null }, "日本語"], n: 1.5 };
    const sent = command(tenant, ALPHA, { input: deep, onBehalfOf: { type: "user", id: "ann" }, limitedTo: ["a:b"] });
    const timer: Timer = { key: sent.id, dueAt: 5_000, command: sent };
    await set(tenant, [timer]);
    expect(await scheduled(tenant)).toEqual([timer]);
    expect(await due(4_999)).toEqual({ timers: [], nextAt: 5_000 });
    expect(await due(5_000)).toEqual({ timers: [timer], nextAt: undefined });
    expect(await sentOf(tenant)).toEqual([]);
  });

  test("a timer that is fired is gone, and its message waits in the outbox", async () => {
    const tenant = fresh("t");
    const timer = delayed(tenant, 5_000);
    await set(tenant, [timer]);
    expect(await store().timers.fire(ALPHA, [once(timer)])).toBe(1);
    expect(await scheduled(tenant)).toEqual([]);
    expect(await due(9_000)).toEqual({ timers: [], nextAt: undefined });
    expect(await sentOf(tenant)).toEqual([timer.command]);
  });

  test("a timer is fired once, however often it is tried", async () => {
    const tenant = fresh("t");
    const timer = delayed(tenant, 5_000);
    await set(tenant, [timer]);
    const tries = await Promise.all(
      Array.from({ length: 8 }, () => store().timers.fire(ALPHA, [once(timer), once(timer)])),
    );
    expect(tries.reduce((sum, fired) => sum + fired, 0)).toBe(1);
    expect(await store().timers.fire(ALPHA, [once(timer)])).toBe(0);
    expect(await sentOf(tenant)).toEqual([timer.command]);
  });

  test("a recurring timer that is fired is due again at its next time, and each time comes once", async () => {
    const tenant = fresh("t");
    const timer = recurring(tenant, "report", 1_000);
    await set(tenant, [timer]);
    const message = { ...timer.command, id: `${timer.command.id}@1000` };
    const firing: Firing = { timer, message, nextAt: 2_000 };
    const tries = await Promise.all(Array.from({ length: 8 }, () => store().timers.fire(ALPHA, [firing])));
    expect(tries.reduce((sum, fired) => sum + fired, 0)).toBe(1);
    expect(await scheduled(tenant)).toEqual([{ ...timer, dueAt: 2_000 }]);
    expect(await due(1_999)).toEqual({ timers: [], nextAt: 2_000 });
    expect(await sentOf(tenant)).toEqual([message]);
    expect(await store().timers.fire(ALPHA, [{ timer: { ...timer, dueAt: 2_000 }, message }])).toBe(1);
    expect(await scheduled(tenant)).toEqual([]);
  });

  test("a time that is left out sends nothing, and the next one is waited for", async () => {
    const tenant = fresh("t");
    const timer = recurring(tenant, "report", 1_000);
    await set(tenant, [timer]);
    expect(await store().timers.fire(ALPHA, [{ timer, nextAt: 2_000 }])).toBe(1);
    expect(await store().timers.fire(ALPHA, [{ timer, nextAt: 3_000 }])).toBe(0);
    expect(await scheduled(tenant)).toEqual([{ ...timer, dueAt: 2_000 }]);
    expect(await sentOf(tenant)).toEqual([]);
    await remove(tenant, timer.key);
  });

  test("due timers of all tenants come in the order of their times, and so do their messages", async () => {
    const tenants = [fresh("t"), fresh("t")];
    const times = [70, 10, 50, 30, 90, 20];
    for (const [at, time] of times.entries()) await set(tenants[at % 2]!, [delayed(tenants[at % 2]!, time)]);
    const { timers, nextAt } = await due(60);
    expect(timers.map(({ dueAt }) => dueAt)).toEqual([10, 20, 30, 50]);
    expect(nextAt).toBe(70);
    expect((await due(60, 3)).timers).toEqual(timers.slice(0, 3));
    expect(await store().timers.fire(ALPHA, timers.map(once))).toBe(4);
    const waiting = await store().outbox.read(ALPHA, { cursors: everyPartition, limit: 500 });
    const inputs = waiting.flatMap(({ message }) =>
      message.kind === "command" && tenants.includes(message.command.tenant) ? [message.command.input] : [],
    );
    expect(inputs).toEqual([10, 20, 30, 50].map((dueAt) => ({ dueAt })));
  });

  test("a firing of several is one change: some that are gone do not keep the others", async () => {
    const tenant = fresh("t");
    const [kept, gone, moved] = [delayed(tenant, 1), delayed(tenant, 2), recurring(tenant, "moved", 3)];
    await set(tenant, [kept, gone, moved]);
    await remove(tenant, gone.key);
    await store().timers.fire(ALPHA, [{ ...once(moved), nextAt: 4 }]);
    expect(await store().timers.fire(ALPHA, [once(gone), once(kept), once(moved)])).toBe(1);
    expect((await sentOf(tenant)).map(({ id }) => id)).toEqual([moved.command.id, kept.command.id]);
    expect(await scheduled(tenant)).toEqual([{ ...moved, dueAt: 4 }]);
  });

  test("many that fire at once share the work, and nothing is lost or comes twice", async () => {
    const tenants = Array.from({ length: 4 }, () => fresh("t"));
    for (const tenant of tenants)
      await set(
        tenant,
        Array.from({ length: 25 }, (_, at) =>
          at % 2 === 0 ? delayed(tenant, 100 - at) : recurring(tenant, `r${at}`, at),
        ),
      );
    const worker = async () => {
      for (;;) {
        const { timers } = await due(200, 7);
        if (timers.length === 0) return;
        await store().timers.fire(
          ALPHA,
          timers.map((timer) => ({ ...once(timer), nextAt: timer.recurrence === undefined ? undefined : 1_000 })),
        );
      }
    };
    // Others set timers meanwhile, several in one commit.
    const setter = async (tenant: string) => {
      for (let round = 0; round < 5; round += 1)
        await set(tenant, [recurring(tenant, "x", 5_000), recurring(tenant, "a", 5_000), delayed(tenant, 150)]);
    };
    await Promise.all([worker(), worker(), worker(), ...tenants.map(setter)]);
    await worker();
    for (const tenant of tenants) {
      const ids = (await sentOf(tenant)).map(({ id }) => id);
      expect(ids).toHaveLength(30);
      expect(new Set(ids).size).toBe(30);
      expect((await scheduled(tenant)).map(({ dueAt }) => dueAt)).toEqual([...Array(12).fill(1_000), 5_000, 5_000]);
    }
  });

  test("a timer that is set again is another one: what was read of the old one fires nothing", async () => {
    const tenant = fresh("t");
    const old = recurring(tenant, "report", 1_000);
    const other = recurring(tenant, "report", 9_000, { command: command(tenant, ALPHA, { input: { changed: 1 } }) });
    await set(tenant, [old]);
    await set(tenant, [other]);
    expect(await store().timers.fire(ALPHA, [{ ...once(old), nextAt: 2_000 }, once(old)])).toBe(0);
    expect(await sentOf(tenant)).toEqual([]);
    expect(await scheduled(tenant)).toEqual([{ ...other, dueAt: 1_000 }]);
  });

  test("set again with the same recurrence it keeps its time, with another one or none it has the new time", async () => {
    const tenant = fresh("t");
    const timer = recurring(tenant, "report", 1_000, { recurrence: { timeZone: "UTC", cron: "* * * * *" } });
    await set(tenant, [timer]);
    const same = { ...timer, dueAt: 9_000, recurrence: { cron: "* * * * *", timeZone: "UTC" } };
    await set(tenant, [same]);
    expect(await scheduled(tenant)).toEqual([{ ...same, dueAt: 1_000 }]);
    for (const recurrence of [{ cron: "* * * * *", timeZone: "Asia/Tokyo" }, { everyMs: 5_000 }, { everyMs: 6_000 }]) {
      const changed = { ...timer, dueAt: 7_000, recurrence };
      await set(tenant, [changed]);
      expect(await scheduled(tenant)).toEqual([changed]);
    }
    const { recurrence: _, ...single } = { ...timer, dueAt: 8_000 };
    await set(tenant, [single]);
    expect(await scheduled(tenant)).toEqual([single]);
    await set(tenant, [{ ...single, dueAt: 3_000 }]);
    expect(await scheduled(tenant)).toEqual([{ ...single, dueAt: 3_000 }]);
  });

  test("a timer can be removed; one that has to be there and is not is a conflict, and the commit writes nothing", async () => {
    const tenant = fresh("t");
    const [one, two] = [delayed(tenant, 1), recurring(tenant, "two", 2)];
    await set(tenant, [one, two]);
    await remove(tenant, one.key);
    await remove(tenant, two.key, true);
    expect(await scheduled(tenant)).toEqual([]);
    await remove(tenant, one.key);
    const ref = { type: "order", id: newId("ord") };
    const commit = store().commit(tenant, {
      parts: [
        part(ALPHA, { aggregates: [written(ref, 0)], timers: [{ step: "set", timer: one }] }),
        part(BETA, { timers: [{ step: "remove", key: two.key, required: true }] }),
      ],
    });
    const conflict = await expectRefusal(commit, "version_conflict");
    expect(conflict).toMatchObject({ details: { type: "timer", id: two.key } });
    expect(await scheduled(tenant)).toEqual([]);
    expect(await store().load({ tenant, context: ALPHA }, [ref])).toEqual([undefined]);
  });

  test("of those that remove a timer and fire it at once, exactly one gets it", async () => {
    const tenant = fresh("t");
    for (let round = 0; round < 10; round += 1) {
      const timer = delayed(tenant, round);
      await set(tenant, [timer]);
      const [fired, removed] = await Promise.all([
        store().timers.fire(ALPHA, [once(timer)]),
        remove(tenant, timer.key, true).then(
          () => 1,
          () => 0,
        ),
      ]);
      expect(fired + removed).toBe(1);
      expect((await sentOf(tenant)).filter(({ id }) => id === timer.key)).toHaveLength(fired);
    }
  });

  test("a commit that is refused sets and removes no timer, whatever refuses it", async () => {
    const tenant = fresh("t");
    const [present, wanted] = [delayed(tenant, 1), delayed(tenant, 2)];
    await set(tenant, [present]);
    const timers: readonly TimerChange[] = [
      { step: "set", timer: wanted },
      { step: "remove", key: present.key, required: true },
    ];
    const inbox = { consumer: "orders.mirror", messageId: newId("evt") };
    await store().commit(tenant, { parts: [part(ALPHA, { inbox })] });
    expect(await store().commit(tenant, { parts: [part(ALPHA, { inbox, timers })] })).toEqual({
      status: "handled-before",
    });
    const stale = part(BETA, { aggregates: [{ type: "ledger", id: newId("led"), expectedVersion: 7 }] });
    await expectRefusal(store().commit(tenant, { parts: [part(ALPHA, { timers }), stale] }), "version_conflict");
    expect(await scheduled(tenant)).toEqual([present]);
  });

  test("a tenant sees, sets and removes its own timers only, also under the same key", async () => {
    const [acme, globex] = [fresh("t"), fresh("t")];
    const mine = recurring(acme, "report", 1_000);
    await set(acme, [mine]);
    expect(await scheduled(globex)).toEqual([]);
    await remove(globex, "report");
    await expectRefusal(remove(globex, "report", true), "version_conflict");
    const theirs = recurring(globex, "report", 2_000, { recurrence: { everyMs: 1_000 } });
    await set(globex, [theirs]);
    expect(await scheduled(acme)).toEqual([mine]);
    expect(await store().timers.fire(ALPHA, [{ ...once(mine), nextAt: 3_000 }])).toBe(1);
    expect(await scheduled(globex)).toEqual([theirs]);
    expect(await sentOf(globex)).toEqual([]);
  });

  test("timers of several contexts are listed page by page in the order of their times, without gaps or repeats", async () => {
    const tenant = fresh("t");
    const keys = ["a", "A", "z", "a-b", "a.b", "0"];
    for (const context of [BETA, ALPHA])
      await set(
        tenant,
        keys.map((key, at) => recurring(tenant, key, 1_000 * (at % 2), { command: command(tenant, context) })),
        context,
      );
    const names = (timers: readonly Timer[]) =>
      timers.map(({ dueAt, key, command: c }) => `${dueAt} ${key} ${c.context}`);
    const expected = [0, 1_000].flatMap((time) =>
      [...keys.filter((_, at) => 1_000 * (at % 2) === time)]
        .sort()
        .flatMap((key) => [ALPHA, BETA].map((context) => `${time} ${key} ${context}`)),
    );
    for (const limit of [1, 2, 5, 100]) {
      const all = await allPages(limit, (page) => store().scheduled(tenant, { contexts: [BETA, ALPHA], ...page }));
      expect(names(all)).toEqual(expected);
    }
    expect(names(await scheduled(tenant, [BETA]))).toEqual(expected.filter((name) => name.endsWith(BETA)));
    expect(await scheduled(tenant, [])).toEqual([]);
    const found = await store().scheduled(tenant, { contexts: [ALPHA], key: "a-b", limit: 1 });
    expect(names(found.items)).toEqual([`1000 a-b ${ALPHA}`]);
    expect(found.next).toBeUndefined();
  });

  test("a cursor that is none is refused", async () => {
    for (const after of [...garbageCursors, Buffer.from('["scheduled","x","a","b"]').toString("base64url")])
      await expectRefusal(store().scheduled(fresh("t"), { contexts: [ALPHA], limit: 1, after }), "invalid_input");
  });
}
