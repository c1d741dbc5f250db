import { expect, it, vi } from "vitest";
import { fixedClock } from "../testing/fixed-clock.ts";
import { Deadlines } from "./deadlines.ts";

function watched() {
  const clock = fixedClock(0);
  const deadlines = new Deadlines(clock);
  const passed: string[] = [];
  const watch = (name: string, at: number) => {
    const deadline = { at, pass: () => void passed.push(`${name} at ${clock.now()}`) };
    deadlines.watch(deadline);
    return deadline;
  };
  return { clock, deadlines, passed, watch };
}

it("deadlines pass at their times, with one timer for all of them", async () => {
  const { clock, passed, watch } = watched();
  watch("late", 300);
  watch("early", 100);
  watch("middle", 200);
  expect(clock.sleeping).toBe(1);
  await clock.advance(250);
  expect(passed).toEqual(["early at 100", "middle at 200"]);
  watch("sooner", 260);
  await clock.advance(50);
  expect(passed.slice(2)).toEqual(["sooner at 260", "late at 300"]);
  expect(clock.sleeping).toBe(0);
});

it("a deadline that was called off does not pass, and the others do", async () => {
  const { clock, deadlines, passed, watch } = watched();
  const gone = watch("gone", 100);
  watch("kept", 200);
  deadlines.callOff(gone);
  await clock.advance(200);
  expect(passed).toEqual(["kept at 200"]);
});

it("the timer ends soon after the last deadline was called off, and at once when nothing more comes", async () => {
  const { clock, deadlines, watch } = watched();
  const first = watch("first", 100);
  deadlines.callOff(first);
  deadlines.callOff(watch("second", 100));
  expect(clock.sleeping).toBe(1);
  await vi.waitFor(() => expect(clock.sleeping).toBe(0));
  deadlines.callOff(watch("third", 100));
  deadlines.rest();
  expect(clock.sleeping).toBe(0);
});
