import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { systemClock, toInstant } from "./clock.ts";

const clock = systemClock();

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("the machine's clock", () => {
  test("tells the time, and lets sleep for a while", async () => {
    const slept = clock.sleep(1_000).then(() => clock.now());
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await slept).toBe(1_000);
    expect(toInstant(clock.now())).toBe("1970-01-01T00:00:01.000Z");
  });

  test("lets sleep for longer than a timer can wait", async () => {
    const month = 31 * 24 * 3_600_000;
    let awake = false;
    const slept = clock.sleep(month).then(() => {
      awake = true;
    });
    await vi.advanceTimersByTimeAsync(month - 1);
    expect(awake).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await slept;
  });

  test("wakes who asks for the past at once", async () => {
    const slept = clock.sleep(-5).then(() => clock.now());
    await vi.advanceTimersByTimeAsync(0);
    expect(await slept).toBe(0);
  });

  test("wakes a sleeper whose signal is aborted, with its reason, and leaves no timer and no listener", async () => {
    const over = new AbortController();
    const removed = vi.spyOn(over.signal, "removeEventListener");
    const sleeping = clock.sleep(1_000, over.signal);
    const woken = expect(sleeping).rejects.toThrow("enough");
    expect(vi.getTimerCount()).toBe(1);
    over.abort(new Error("enough"));
    await woken;
    expect(vi.getTimerCount()).toBe(0);
    await expect(clock.sleep(1_000, over.signal)).rejects.toThrow("enough");
    expect(vi.getTimerCount()).toBe(0);

    const other = new AbortController();
    const listening = vi.spyOn(other.signal, "removeEventListener");
    const slept = clock.sleep(10, other.signal);
    await vi.advanceTimersByTimeAsync(10);
    await slept;
    expect(listening).toHaveBeenCalledOnce();
    expect(removed).not.toHaveBeenCalled();
  });
});
