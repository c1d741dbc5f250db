import { describe, expect, test } from "vitest";
import { fixedClock } from "./fixed-clock.ts";
import { recordingLogger } from "./recording-logger.ts";
import { sequentialIds } from "./sequential-ids.ts";

describe("fixedClock", () => {
  test("stands still until it is advanced", async () => {
    const clock = fixedClock("2026-03-01T00:00:00.000Z");
    expect(clock.now()).toBe(Date.parse("2026-03-01T00:00:00.000Z"));
    await clock.advance(1500);
    expect(clock.now()).toBe(Date.parse("2026-03-01T00:00:01.500Z"));
  });

  test("wakes sleepers in the order of their times, each at its own time", async () => {
    const clock = fixedClock(0);
    const woken: string[] = [];
    const sleeper = (name: string, ms: number) => clock.sleep(ms).then(() => woken.push(`${name} at ${clock.now()}`));
    void sleeper("late", 30);
    void sleeper("early", 10);
    void sleeper("early too", 10);
    void sleeper("not yet", 31);
    await clock.advance(30);
    expect(woken).toEqual(["early at 10", "early too at 10", "late at 30"]);
    expect(clock.sleeping).toBe(1);
  });

  test("who falls asleep again within the span wakes again within it", async () => {
    const clock = fixedClock(0);
    const ticks: number[] = [];
    void (async () => {
      for (;;) {
        await clock.sleep(100);
        ticks.push(clock.now());
      }
    })();
    await clock.advance(350);
    expect(ticks).toEqual([100, 200, 300]);
  });

  test("shows whole milliseconds, also to who slept for a part of one", async () => {
    const clock = fixedClock(0);
    const woken = clock.sleep(2.3).then(() => clock.now());
    await clock.advance(3);
    expect(await woken).toBe(3);
  });

  test("a sleeper whose signal aborts wakes with its reason and is forgotten", async () => {
    const clock = fixedClock(0);
    const gaveUp = new AbortController();
    const sleeping = clock.sleep(100, gaveUp.signal);
    gaveUp.abort(new Error("no longer needed"));
    await expect(sleeping).rejects.toThrow("no longer needed");
    expect(clock.sleeping).toBe(0);
    await expect(clock.sleep(1, gaveUp.signal)).rejects.toThrow("no longer needed");
  });

  test("a test can wait until somebody sleeps", async () => {
    const clock = fixedClock(0);
    const both = clock.untilSleeping(2).then(() => "both asleep");
    void clock.sleep(5);
    expect(await Promise.race([both, Promise.resolve("one asleep")])).toBe("one asleep");
    void clock.sleep(5);
    expect(await both).toBe("both asleep");
  });

  test("time does not move backwards", async () => {
    await expect(fixedClock().advance(-1)).rejects.toThrow("forward only");
    expect(() => fixedClock("yesterday")).toThrow('"yesterday" is no time');
  });
});

describe("sequentialIds", () => {
  test("two runs make the same ids and the same bytes, and none of them twice", () => {
    const [one, other] = [sequentialIds(), sequentialIds()];
    const draw = (ids: typeof one) => [
      ids.next("con"),
      ids.next("con"),
      ...[ids.random(40), ids.random(40)].map(String),
    ];
    const drawn = draw(one);
    expect(draw(other)).toEqual(drawn);
    expect(new Set(drawn).size).toBe(4);
    expect(drawn[0]).toBe("con_00000000000000000000000001");
    expect(one.random(40)).toHaveLength(40);
    expect(one.random(0)).toHaveLength(0);
  });
});

describe("recordingLogger", () => {
  test("keeps every entry with its level and fields", () => {
    const logger = recordingLogger();
    logger.warn("the provider is slow", { ms: 1200 });
    logger.error("the provider is gone");
    expect(logger.entries).toEqual([
      { level: "warn", message: "the provider is slow", fields: { ms: 1200 } },
      { level: "error", message: "the provider is gone", fields: {} },
    ]);
    expect(logger.text()).toContain("ms: 1200");
  });
});
