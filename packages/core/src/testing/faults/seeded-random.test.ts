import { describe, expect, test } from "vitest";
import { fixedClock } from "../fixed-clock.ts";
import { SeededRandom, seededIds } from "./seeded-random.ts";

const draw = (random: SeededRandom, count = 1_000) => Array.from({ length: count }, () => random.next());

describe("SeededRandom", () => {
  test("repeats itself for the same seed, and only for that", () => {
    expect(draw(new SeededRandom(1))).toEqual(draw(new SeededRandom(1)));
    expect(draw(new SeededRandom(1))).not.toEqual(draw(new SeededRandom(2)));
  });

  test("is spread evenly from 0 up to 1", () => {
    const drawn = draw(new SeededRandom("even"), 10_000);
    for (let tenth = 0; tenth < 10; tenth += 1) {
      const share = drawn.filter((value) => Math.floor(value * 10) === tenth).length;
      expect(share).toBeGreaterThan(900);
      expect(share).toBeLessThan(1_100);
    }
  });

  test("what one fork draws changes nothing for another", () => {
    const random = new SeededRandom(1);
    const before = draw(random.fork("a"));
    draw(random.fork("b"));
    expect(draw(random.fork("a"))).toEqual(before);
  });

  test("numbers reach both ends, and picks reach everything", () => {
    const random = new SeededRandom(3);
    const numbers = new Set(Array.from({ length: 200 }, () => random.int(-1, 2)));
    expect([...numbers].sort((a, b) => a - b)).toEqual([-1, 0, 1, 2]);
    expect(new Set(Array.from({ length: 100 }, () => random.pick(["a", "b"])))).toEqual(new Set(["a", "b"]));
    expect(() => random.pick([])).toThrow(RangeError);
  });
});

describe("seededIds", () => {
  test("have the shape of ids, sort by age, and repeat", () => {
    const make = () => {
      const ids = seededIds(new SeededRandom(1), fixedClock());
      return Array.from({ length: 100 }, () => ids.next("con"));
    };
    const made = make();
    expect(made).toEqual(make());
    expect(made.toSorted()).toEqual(made);
    for (const id of made) expect(id).toMatch(/^con_[0-9a-z]{26}$/);
    expect(seededIds(new SeededRandom(1), fixedClock()).random(16)).toHaveLength(16);
  });
});
