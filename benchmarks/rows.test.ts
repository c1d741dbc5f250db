import { describe, expect, it } from "vitest";
import { orderOf, PublicationLog } from "./relay/publications.ts";
import { inTurns } from "./rounds.ts";
import { row, toRows } from "./rows.ts";
import type { Contender } from "./work.ts";

describe("the rows of a comparison", () => {
  it("say how good each is beside the floor and beside Armature, whether more is better or less", () => {
    const rates = toRows("w", "calls/s", [
      { subject: "floor", values: [100] },
      { subject: "armature", values: [50] },
      { subject: "peer@1.0.0", values: [25] },
    ]);
    expect(rates.map(({ ratioToFloor, ratioToOurs }) => [ratioToFloor, ratioToOurs])).toEqual([
      [1, 2],
      [0.5, 1],
      [0.25, 0.5],
    ]);
    const times = toRows("w", "µs", [
      { subject: "floor", values: [4] },
      { subject: "armature", values: [8] },
    ]);
    expect(times.map(({ ratioToFloor }) => ratioToFloor)).toEqual([1, 0.5]);
  });

  it("take the middle of the runs, and what 95 of 100 kept to", () => {
    const values = Array.from({ length: 100 }, (_, index) => index + 1);
    expect(toRows("w", "ms", [{ subject: "floor", values }])[0]).toMatchObject({ median: 51, p95: 96, runs: 100 });
    expect(toRows("w", "calls/s", [{ subject: "floor", values }])[0]).toMatchObject({ median: 51, p95: 6 });
  });

  it("have no ratio where there is nothing to compare with", () => {
    expect(toRows("w", "%", [{ subject: "armature", values: [0] }])[0]).toMatchObject({
      ratioToFloor: null,
      ratioToOurs: null,
    });
  });

  it("name Armature, the floor, or a package with its version", () => {
    const [given] = toRows("w", "ms", [{ subject: "floor", values: [1] }]);
    const allowed = ["armature", "armature (counting)", "floor", "ai@7.0.1", "@a/b@1.2.3 (part)"];
    for (const subject of allowed) expect(row.safeParse({ ...given, subject }).success, subject).toBe(true);
    for (const subject of ["", "ours", "ai", "@a/b", "floor 2"])
      expect(row.safeParse({ ...given, subject }).success, subject).toBe(false);
  });
});

describe("a race", () => {
  it("has everybody work once in each round, each time with another first, and forgets the round that warms up", async () => {
    const order: string[] = [];
    const contender = (subject: string): Contender => ({
      subject,
      measure: async () => {
        order.push(subject);
        return order.length;
      },
    });
    const contenders = ["a", "b", "c"].map(contender);
    const measured = await inTurns({ work: "w", unit: "ms", rounds: 2, contenders }, false);
    expect(order.join("")).toBe("abcbcacab");
    expect(measured.map(({ values }) => values.length)).toEqual([2, 2, 2]);
  });

  it("fails when a contender dropped work", async () => {
    const contender: Contender = {
      subject: "floor",
      measure: async () => 1,
      check: async () => {
        throw new Error("dropped");
      },
    };
    await expect(inTurns({ work: "w", unit: "ms", contenders: [contender] }, true)).rejects.toThrow("dropped");
  });
});

describe("the order of publications", () => {
  it("is looked at over all processes, and an event that comes twice is no reorder", () => {
    const [one, other] = [new PublicationLog(), new PublicationLog()];
    one.add("a", 1);
    other.add("a", 2);
    one.add("b", 2);
    other.add("b", 1);
    other.add("a", 1);
    expect(orderOf([other.take(), one.take()])).toEqual({ distinct: 4, repeats: 1, reorders: 1 });
    expect(orderOf([one.take()])).toEqual({ distinct: 0, repeats: 0, reorders: 0 });
  });
});
