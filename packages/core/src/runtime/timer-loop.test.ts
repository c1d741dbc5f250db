import { expect, test } from "vitest";
import { inMemory } from "../in-memory/index.ts";
import { systemIds } from "../kernel/ids.ts";
import { everyPartition } from "../kernel/outbox.ts";
import type { Timer } from "../kernel/timers.ts";
import { fixedClock } from "../testing/fixed-clock.ts";
import { recordingLogger } from "../testing/recording-logger.ts";
import { TimerLoop } from "./timer-loop.ts";

const timer = (key: string, dueAt: number, more: Partial<Timer> = {}): Timer => ({
  key,
  dueAt,
  command: {
    ...{ id: `cmd_${key}`, tenant: "acme", context: "bells", operation: "bells.ring", input: {} },
    ...{ time: "2026-01-01T00:00:00.000Z", actor: { type: "user", id: "ann" } },
    ...{ correlationId: "c", causationId: "c", traceparent: "t" },
  },
  ...more,
});

async function bench(pollMs = 1_000) {
  const [clock, store, logger, fired] = [fixedClock(0), inMemory(), recordingLogger(), [] as string[]];
  await store.migrate([{ name: "bells", aggregates: [] }]);
  const loop = new TimerLoop(
    { clock, store, logger, ids: systemIds(clock) },
    { contexts: ["bells"], pollMs, fired: (context) => fired.push(context) },
  );
  const set = async (...timers: readonly Timer[]) => {
    const changes = timers.map((each) => ({ step: "set", timer: each }) as const);
    const nothing = { aggregates: [], events: [], messages: [], audit: [] };
    await store.commit("acme", { parts: [{ context: "bells", ...nothing, timers: changes }] });
  };
  const sent = async () =>
    (await store.outbox.read("bells", { cursors: everyPartition, limit: 1_000 })).flatMap(({ message }) =>
      message.kind === "command" ? [message.command.id] : [],
    );
  loop.start();
  await clock.untilSleeping();
  return { clock, store, loop, logger, fired, set, sent };
}

test("a timer that is committed here is fired at its time, long before the next look", async () => {
  const { clock, loop, fired, set, sent } = await bench(3_600_000);
  await set(timer("a", 70), timer("b", 50));
  loop.nudge(50);
  await clock.advance(49);
  expect(await sent()).toEqual([]);
  await clock.advance(1);
  expect(await sent()).toEqual(["cmd_b"]);
  await clock.advance(20);
  expect(await sent()).toEqual(["cmd_b", "cmd_a"]);
  expect(fired).toEqual(["bells", "bells"]);
  expect(loop.progress).toBe(2);
  await loop.stop();
});

test("what others have set is found by looking", async () => {
  const { clock, loop, set, sent } = await bench(1_000);
  await set(timer("a", 70));
  await clock.advance(999);
  expect(await sent()).toEqual([]);
  await clock.advance(1);
  expect(await sent()).toEqual(["cmd_a"]);
  await loop.stop();
});

test("more than one transaction takes is fired in one look, in the order of times", async () => {
  const { loop, set, sent } = await bench();
  const due = Array.from({ length: 450 }, (_, at) => timer(`t${at}`, -at));
  await set(...due);
  expect(await loop.look()).toBe("progress");
  expect(await sent()).toEqual(due.map(({ command }) => command.id).reverse());
  expect(await loop.look()).toBe("nothing");
  await loop.stop();
});

test("a recurring timer sleeps until its next time, and a recurrence that cannot be read keeps nobody else", async () => {
  const { clock, loop, logger, set, sent } = await bench(3_600_000);
  await set(
    timer("odd", 1, { recurrence: { cron: "never", timeZone: "UTC" } }),
    timer("r", 10, { recurrence: { everyMs: 100 } }),
  );
  loop.nudge(1);
  await clock.advance(10);
  expect(await sent()).toEqual(["cmd_r@10"]);
  await clock.advance(200);
  expect(await sent()).toEqual(["cmd_r@10", "cmd_r@110", "cmd_r@210"]);
  expect(logger.entries.some(({ level, fields }) => level === "error" && fields?.["key"] === "odd")).toBe(true);
  await loop.stop();
});

test("a store that cannot be reached is asked again", async () => {
  const { clock, loop, logger, store, set, sent } = await bench(1_000);
  await set(timer("a", 5));
  const { due } = store.timers;
  store.timers.due = () => Promise.reject(new Error("away"));
  expect(await loop.look()).toBe("not-ours");
  store.timers.due = due;
  await clock.advance(1_000);
  expect(await sent()).toEqual(["cmd_a"]);
  expect(logger.entries.filter(({ level }) => level === "warn")).toHaveLength(1);
  await loop.stop();
  expect(await loop.look()).toBe("nothing");
});
