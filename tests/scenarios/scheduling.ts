import { InvalidInput, type StoreAdapter } from "@armature/core";
import { fixedClock } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { benchOn, type LabApp } from "./bench.ts";
import type { PlaceKind } from "./place.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** Commands that are sent at a time, or again and again. */
export function schedulingScenarios(kind: PlaceKind): void {
  describe(`delayed and recurring commands, ${kind.name}`, () => {
    const bench = benchOn(kind);
    /** An application that looks only when it has to: an hour of polling takes long. */
    const start = (options: Parameters<typeof bench.start>[0] = {}) =>
      bench.start({ relay: { pollMs: 1_000 * HOUR }, ...options });
    const as = (app: LabApp, tenant: string) => app.as({ tenant, user: "ann" });
    const countOf = (app: LabApp, tenant: string) =>
      as(app, tenant)
        .lab.look({ counterId: "c" })
        .then(
          ({ value }) => value,
          () => 0,
        );
    const listed = async (app: LabApp, tenant: string) =>
      (await as(app, tenant).delivery.listScheduled()).items.map(({ key, dueAt }) => [key, dueAt]);
    /** Moves the time, lets everything happen that is due then, and says where the counter stands. */
    const later = async (clock: ReturnType<typeof fixedClock>, ms: number, app: LabApp, tenant: string) => {
      await clock.advance(ms);
      await app.settled();
      return countOf(app, tenant);
    };

    test("a delayed command runs when its time has come, once, and not before", async () => {
      const [clock, tenant] = [fixedClock(), bench.tenant()];
      const app = await start({ clock });
      await as(app, tenant).desk.tell({ noteId: "n", counterId: "c", afterMs: MINUTE });
      expect(await later(clock, MINUTE - 1, app, tenant)).toBe(0);
      const { items } = await as(app, tenant).delivery.listScheduled();
      expect(items).toMatchObject([
        {
          context: "desk",
          operation: "lab.add",
          dueAt: "2026-01-01T00:01:00.000Z",
          scheduledAt: "2026-01-01T00:00:00.000Z",
          actor: { type: "user", id: "ann" },
        },
      ]);
      expect(await later(clock, 1, app, tenant)).toBe(1);
      expect(await later(clock, HOUR, app, tenant)).toBe(1);
      expect(await listed(app, tenant)).toEqual([]);
    });

    test("a time can be given too; one that has passed is now", async () => {
      const [clock, tenant] = [fixedClock(), bench.tenant()];
      const app = await start({ clock });
      const { desk } = as(app, tenant);
      await desk.remind({ counterId: "c", by: 10, at: "2026-01-01T02:00:00+01:00" });
      await desk.remind({ counterId: "c", at: "1969-12-31T00:00:00Z" });
      expect(await later(clock, 0, app, tenant)).toBe(1);
      expect(await later(clock, HOUR, app, tenant)).toBe(11);
      await expect(desk.remind({ counterId: "c", at: "tomorrow" })).rejects.toThrow(InvalidInput);
      await expect(desk.tell({ noteId: "n", counterId: "c", afterMs: -1 })).rejects.toThrow(InvalidInput);
    });

    test("a command that is repeated under its key schedules once, and one that fails schedules nothing", async () => {
      const [clock, tenant] = [fixedClock(), bench.tenant()];
      const app = await start({ clock });
      const { desk } = as(app, tenant);
      const tell = () => desk.tell({ noteId: "n", counterId: "c", afterMs: 5 }, { idempotencyKey: "k" });
      await tell();
      await tell();
      await expect(desk.repeat({ key: "never", counterId: "c", everyMs: 1_000, fail: true })).rejects.toThrow();
      expect((await listed(app, tenant)).length).toBe(1);
      expect(await later(clock, HOUR, app, tenant)).toBe(1);
    });

    test("a recurring command comes each time, and once for all the times that nobody was there", async () => {
      const [clock, tenant] = [fixedClock(), bench.tenant()];
      const first = await start({ clock });
      await as(first, tenant).desk.repeat({ key: "hourly", counterId: "c", everyMs: HOUR });
      expect(await later(clock, HOUR - 1, first, tenant)).toBe(0);
      expect(await later(clock, 1, first, tenant)).toBe(1);
      expect(await later(clock, HOUR, first, tenant)).toBe(2);
      await first.close();
      await clock.advance(100 * HOUR + 5);
      const second = await start({ clock });
      expect(await later(clock, 0, second, tenant)).toBe(3);
      // In step with the times before.
      expect(await listed(second, tenant)).toEqual([["hourly", "2026-01-05T07:00:00.000Z"]]);
      expect(await later(clock, HOUR, second, tenant)).toBe(4);
      await as(second, tenant).desk.stop({ key: "hourly" });
    });

    test.each([
      ["all", { everyMs: HOUR }, 26],
      ["all", { cron: "30 * * * *" }, 26],
      ["none", { everyMs: HOUR }, 2],
      ["none", { cron: "30 * * * *" }, 2],
      ["once", { cron: "30 * * * *" }, 3],
    ] as const)(
      "a recurring command that catches up with %s (%o) says so when nobody was there",
      async (catchUp, given, caughtUp) => {
        const [clock, tenant] = [fixedClock("2026-01-01T00:30:00Z"), bench.tenant()];
        const first = await start({ clock });
        await as(first, tenant).desk.repeat({ key: "hourly", counterId: "c", ...given, catchUp });
        expect(await later(clock, HOUR, first, tenant)).toBe(1);
        expect(await later(clock, HOUR, first, tenant)).toBe(2);
        await first.close();
        // Half an hour after the hundredth time that is missed.
        await clock.advance(100.5 * HOUR);
        const second = await start({ clock });
        expect(await later(clock, 0, second, tenant)).toBe(caughtUp);
        expect(await later(clock, HOUR / 2, second, tenant)).toBe(caughtUp + 1);
        await as(second, tenant).desk.stop({ key: "hourly" });
      },
    );

    test("a time that is seen a little late has not been missed", async () => {
      const [clock, tenant] = [fixedClock("2026-01-01T00:30:00Z"), bench.tenant()];
      const first = await start({ clock });
      await as(first, tenant).desk.repeat({ key: "hourly", counterId: "c", everyMs: HOUR, catchUp: "none" });
      await first.close();
      await clock.advance(HOUR + 60_000);
      const second = await start({ clock });
      expect(await later(clock, 0, second, tenant)).toBe(1);
      await as(second, tenant).desk.stop({ key: "hourly" });
    });

    test("a pattern follows its time zone, also when the clocks change there", async () => {
      const [clock, tenant] = [fixedClock("2026-03-27T12:00:00Z"), bench.tenant()];
      const app = await start({ clock });
      const { desk } = as(app, tenant);
      await desk.repeat({ key: "morning", counterId: "c", cron: "30 9 * * *", timeZone: "Europe/Berlin" });
      const times: unknown[] = [];
      for (let day = 1; day <= 3; day += 1) {
        times.push((await listed(app, tenant))[0]?.[1]);
        expect(await later(clock, 24 * HOUR, app, tenant)).toBe(day);
      }
      expect(times).toEqual(["2026-03-28T08:30:00.000Z", "2026-03-29T07:30:00.000Z", "2026-03-30T07:30:00.000Z"]);
      await desk.repeat({ key: "morning", counterId: "c", cron: "0 0 12 1 1 *" });
      expect(await listed(app, tenant)).toEqual([["morning", "2027-01-01T12:00:00.000Z"]]);
      await desk.stop({ key: "morning" });
    });

    test("what can be no recurrence, and a key that stands in no address, are refused", async () => {
      const app = await start({ relay: false });
      const { desk } = as(app, bench.tenant());
      for (const wrong of [
        { cron: "often" },
        { cron: "* * * *" },
        { cron: "61 * * * *" },
        { cron: "0 0 30 2 *" },
        { cron: "@daily" },
        { cron: "0 9 * * *", timeZone: "Europe/Atlantis" },
        { everyMs: 999 },
        { everyMs: 1_000.5 },
      ])
        await expect(desk.repeat({ key: "k", counterId: "c", ...wrong }), JSON.stringify(wrong)).rejects.toThrow(
          InvalidInput,
        );
      for (const key of ["", "a/b", "a b", "ü", "cmd_1", "x".repeat(201)])
        await expect(desk.repeat({ key, counterId: "c", everyMs: 1_000 }), key).rejects.toThrow(InvalidInput);
    });

    test("scheduling again under a key replaces it, and keeps its next time unless the recurrence changes", async () => {
      const [clock, tenant] = [fixedClock(), bench.tenant()];
      const app = await start({ clock });
      const { desk } = as(app, tenant);
      await desk.repeat({ key: "k", counterId: "c", everyMs: HOUR });
      await clock.advance(40 * MINUTE);
      await desk.repeat({ key: "k", counterId: "c", by: 10, everyMs: HOUR });
      expect(await listed(app, tenant)).toEqual([["k", "2026-01-01T01:00:00.000Z"]]);
      expect(await later(clock, 20 * MINUTE, app, tenant)).toBe(10);
      await desk.repeat({ key: "k", counterId: "c", by: 100, everyMs: 2 * HOUR });
      expect(await listed(app, tenant)).toEqual([["k", "2026-01-01T03:00:00.000Z"]]);
      await desk.stop({ key: "k" });
      await desk.stop({ key: "k" });
      expect(await later(clock, 9 * HOUR, app, tenant)).toBe(10);
    });

    test("a delayed command can be called off by its sender, and either by an operator", async () => {
      const [clock, tenant] = [fixedClock(), bench.tenant()];
      const app = await start({ clock });
      const { desk, delivery, audit } = as(app, tenant);
      const at = "2026-01-01T01:00:00Z";
      const { key } = await desk.remind({ counterId: "c", at });
      await desk.stop({ key });
      const operators = await desk.remind({ counterId: "c", at });
      await desk.repeat({ key: "hourly", counterId: "c", everyMs: HOUR });
      await delivery.cancelScheduled({ context: "desk", key: operators.key });
      await delivery.cancelScheduled({ context: "desk", key: "hourly" });
      expect(await later(clock, 9 * HOUR, app, tenant)).toBe(0);
      const { items } = await audit.list({ operation: "delivery.cancelScheduled" });
      expect(items.map(({ target, outcome }) => [target, outcome])).toEqual([
        ["hourly", "succeeded"],
        [operators.key, "succeeded"],
      ]);
      for (const gone of [{ key: "hourly" }, { key: "none" }, { context: "lab" }, { context: "nobody" }])
        await expect(delivery.cancelScheduled({ context: "desk", key: "hourly", ...gone })).rejects.toMatchObject({
          code: "not_found",
        });
    });

    test("a recurring command is refused, each time, to a principal who may it no longer", async () => {
      const [clock, tenant] = [fixedClock(), bench.tenant()];
      const app = await start({ clock });
      const { desk, audit, delivery } = as(app, tenant);
      await desk.repeat({ key: "hourly", counterId: "c", everyMs: HOUR });
      expect(await later(clock, HOUR, app, tenant)).toBe(1);
      bench.allow((_, permission) => permission !== "lab:write");
      await later(clock, HOUR, app, tenant);
      await later(clock, HOUR, app, tenant);
      const refused = await audit.list({ operation: "lab.add", outcome: "refused" });
      expect(refused.items.map(({ errorCode, actor }) => [errorCode, actor.id])).toEqual([
        ["forbidden", "ann"],
        ["forbidden", "ann"],
      ]);
      // Each time is a call of its own.
      expect(new Set(refused.items.map(({ traceId }) => traceId)).size).toBe(2);
      bench.allow(() => true);
      expect(await later(clock, HOUR, app, tenant)).toBe(2);
      await delivery.cancelScheduled({ context: "desk", key: "hourly" });
    });

    test("several processes on one store fire each time once", async () => {
      const tenant = bench.tenant();
      const apps = [await bench.start(), await bench.start(), await bench.start()];
      const tell = (at: number) =>
        as(apps[at % 3]!, tenant).desk.tell({ noteId: `n-${at}`, counterId: "c", afterMs: at * 10 });
      await Promise.all(Array.from({ length: 30 }, (_, at) => tell(at)));
      await expect.poll(() => countOf(apps[0]!, tenant), { timeout: 10_000 }).toBeGreaterThanOrEqual(30);
      for (const app of apps) await app.settled();
      expect(await countOf(apps[1]!, tenant)).toBe(30);
      expect(await listed(apps[2]!, tenant)).toEqual([]);
    });

    test("a process whose firing was done and had no answer fires nothing twice", async () => {
      const tenant = bench.tenant();
      let cut = 0;
      const store = losingAnswers(await bench.place.open(), () => {
        cut += 1;
        return cut <= 2;
      });
      const app = await bench.start({ store, relay: { pollMs: 20 } });
      const { desk } = as(app, tenant);
      for (const afterMs of [10, 20, 30, 40]) await desk.tell({ noteId: "n", counterId: "c", afterMs });
      await expect.poll(() => countOf(app, tenant), { timeout: 10_000 }).toBe(4);
      await app.settled();
      expect(await countOf(app, tenant)).toBe(4);
      expect(cut).toBeGreaterThanOrEqual(2);
    });

    test("a process that fires nothing leaves it to others, who look for themselves", async () => {
      const [clock, tenant] = [fixedClock(), bench.tenant()];
      const sender = await start({ clock, relay: false });
      await as(sender, tenant).desk.tell({ noteId: "n", counterId: "c", afterMs: 10 });
      await clock.advance(10);
      await sender.settled();
      expect(await listed(sender, tenant)).toHaveLength(1);
      const worker = await start({ clock });
      expect(await later(clock, 0, worker, tenant)).toBe(1);
    });
  });
}

/** The store, whose firings are done and then fail while `lost` says so. */
function losingAnswers(store: StoreAdapter, lost: () => boolean): StoreAdapter {
  const timers: StoreAdapter["timers"] = {
    due: (context, query) => store.timers.due(context, query),
    fire: async (context, firings) => {
      const fired = await store.timers.fire(context, firings);
      if (lost()) throw new Error("the connection is gone");
      return fired;
    },
  };
  return new Proxy(store, {
    get(target, key) {
      if (key === "timers") return timers;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
