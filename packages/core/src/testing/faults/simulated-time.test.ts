import { describe, expect, test } from "vitest";
import { SimulatedTime } from "./simulated-time.ts";

describe("SimulatedTime", () => {
  test("moves on to the next sleeper, and wakes those of one time in the order in which they fell asleep", async () => {
    const time = new SimulatedTime(1_000);
    const woken: string[] = [];
    const sleeper = (name: string, ms: number) => time.sleep(ms).then(() => woken.push(`${name} at ${time.now}`));
    void sleeper("late", 3_600_000);
    void sleeper("early", 10);
    void sleeper("early too", 10);
    expect(await time.passUntil(() => woken.length === 3, 7_200_000)).toBe(true);
    expect(woken).toEqual(["early at 1010", "early too at 1010", "late at 3601000"]);
  });

  test("does not pass its limit, nor when nobody sleeps", async () => {
    const time = new SimulatedTime(0);
    expect(await time.passUntil(() => false, 50)).toBe(false);
    void time.sleep(100);
    expect(await time.passUntil(() => false, 50)).toBe(false);
    expect(time.now).toBe(0);
  });

  test("stands still while there is work that takes real time", async () => {
    const time = new SimulatedTime(0);
    const order: string[] = [];
    void time.sleep(1).then(() => order.push("slept"));
    void time.working(() => new Promise<void>((resolve) => setTimeout(resolve, 5))).then(() => order.push("worked"));
    await time.passUntil(() => order.length === 2, 10);
    expect(order).toEqual(["worked", "slept"]);
  });

  test("who stands still wakes late, and who is dead never", async () => {
    const time = new SimulatedTime(0);
    const woken: string[] = [];
    const paused = { pausedUntil: 500 };
    const dead = { pausedUntil: 0 };
    void time.sleep(10, paused).then(() => woken.push(`paused at ${time.now}`));
    void time.sleep(10, dead).then(() => woken.push("dead"));
    time.forget(dead);
    await time.passUntil(() => false, 1_000);
    expect(woken).toEqual(["paused at 500"]);
  });

  test("clocks may be wrong, and sleeps by them last as long as they should", async () => {
    const time = new SimulatedTime(10_000);
    let skew = -3_000;
    const clock = time.clock(undefined, () => skew);
    expect(clock.now()).toBe(7_000);
    let woken = 0;
    void clock.sleep(100).then(() => {
      woken = time.now;
    });
    skew = 60_000;
    await time.passUntil(() => woken > 0, 1_000);
    expect([woken, clock.now()]).toEqual([10_100, 70_100]);
  });

  test("a sleeper whose signal aborts wakes with its reason", async () => {
    const time = new SimulatedTime(0);
    const over = new AbortController();
    const sleeping = time.sleep(5, undefined, over.signal);
    over.abort(new Error("no longer needed"));
    await expect(sleeping).rejects.toThrow("no longer needed");
    await expect(time.sleep(5, undefined, over.signal)).rejects.toThrow("no longer needed");
    expect(await time.passUntil(() => false, 50)).toBe(false);
  });
});
