import { describe, expect, test } from "vitest";
import { z } from "zod";
import { CorruptData } from "../kernel/errors.ts";
import { defineEvent } from "../kernel/event.ts";
import { defineProjection } from "../kernel/projection.ts";
import type { RowRef } from "../kernel/projection-store.ts";
import type { StoredEvent } from "../kernel/stored-event.ts";
import { BatchRows } from "./projection-rows.ts";

const Moved = defineEvent("thing.moved", { version: 1, data: z.object({ from: z.string(), to: z.string() }) });
const row = z.object({ n: z.int().max(5) });

/** Takes one from a row, which goes with its last, and adds it to another. */
const Stock = defineProjection("stock", {
  row,
  index: ["n"],
  events: (on) => [
    on(Moved, async ({ data: { from, to } }, rows) => {
      const [left, right] = await Promise.all([rows.get(from), rows.get(to)]);
      if (left?.n === 1) rows.delete(from);
      else if (left !== undefined) rows.put(from, { n: left.n - 1 });
      rows.put(to, { n: (right?.n ?? 0) + 1 });
    }),
  ],
});

const moved = (from: string, to: string, tenant = "acme"): StoredEvent => ({
  ...{ id: "evt_1", tenant, context: "things", type: "thing.moved", version: 1, data: { from, to } },
  ...{ aggregateType: "thing", aggregateId: "t", aggregateVersion: 1, time: "2026-01-02T03:04:05.678Z" },
  ...{ actor: { type: "user", id: "ann" }, correlationId: "c", causationId: "c", traceparent: "t" },
});

function fixture(stored: Readonly<Record<string, number>>) {
  const loads: string[][] = [];
  const rows = new BatchRows(Stock, async (refs: readonly RowRef[]) => {
    loads.push(refs.map(({ tenant, id }) => `${tenant}/${id}`));
    return refs.map(({ tenant, id }) => {
      const n = stored[`${tenant}/${id}`];
      return n === undefined ? undefined : { n };
    });
  });
  const changes = () =>
    Object.fromEntries(rows.changes().map(({ tenant, id, write }) => [`${tenant}/${id}`, write?.row["n"]]));
  return { rows, loads, changes };
}

describe("the rows of a batch", () => {
  test("are read at once for all its events, and each event sees what those before it did", async () => {
    const { rows, loads, changes } = fixture({ "acme/a": 2, "acme/b": 1 });
    const events = [moved("a", "b"), moved("a", "c"), moved("c", "b"), moved("a", "b", "globex")];
    await rows.expect(events);
    for (const event of events) await rows.apply(event);
    expect(loads).toEqual([["acme/a", "acme/b", "acme/c", "globex/a", "globex/b"]]);
    expect(changes()).toEqual({ "acme/a": undefined, "acme/b": 3, "acme/c": undefined, "globex/b": 1 });
    expect(rows.changes().find(({ id, tenant }) => id === "b" && tenant === "acme")?.write?.index).toEqual({
      n: expect.stringMatching(/^3/),
    });
  });

  test("are read when they are asked for, where nobody has looked ahead", async () => {
    const { rows, loads, changes } = fixture({ "acme/a": 2 });
    await rows.apply(moved("a", "b"));
    await rows.apply(moved("a", "b"));
    expect(loads).toEqual([["acme/a", "acme/b"]]);
    expect(changes()).toEqual({ "acme/a": undefined, "acme/b": 2 });
  });

  test("keep nothing of an event that fails halfway, and nothing of what was only looked ahead for", async () => {
    const { rows, changes } = fixture({ "acme/a": 3, "acme/full": 5 });
    await rows.expect([moved("a", "full"), moved("a", "b")]);
    expect(changes()).toEqual({});
    await expect(rows.apply(moved("a", "full"))).rejects.toThrow(CorruptData);
    expect(changes()).toEqual({});
    await rows.apply(moved("a", "b"));
    expect(changes()).toEqual({ "acme/a": 2, "acme/b": 1 });
  });

  test("have ids and contents that can be stored, or the event fails", async () => {
    const { rows, changes } = fixture({ "acme/odd": 1.5 });
    for (const to of ["", "x".repeat(513), "nul\u0000", "lone\ud800", "odd"])
      await expect(rows.apply(moved("a", to)), JSON.stringify(to)).rejects.toThrow(CorruptData);
    expect(changes()).toEqual({});
  });

  test("of a store that fails are asked for again", async () => {
    let down = true;
    const rows = new BatchRows(Stock, async (refs) => {
      if (down) throw new Error("down");
      return refs.map(() => undefined);
    });
    await rows.expect([moved("a", "b"), moved("b", "c")]);
    await expect(rows.apply(moved("a", "b"))).rejects.toThrow("down");
    down = false;
    await rows.apply(moved("a", "b"));
    expect(rows.changes()).toMatchObject([{ id: "b" }]);
  });
});
