import { describe, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { type CommandContext, defineContext, type QueryContext } from "./context.ts";
import { type Contract, defineContract } from "./contract.ts";
import { defineEvent } from "./event.ts";
import { defineProjection, projectionSources } from "./projection.ts";

const Planted = defineEvent("tree.planted", { version: 1, data: z.object({ kind: z.string(), height: z.int() }) });
const Felled = defineEvent("tree.felled", { version: 1, data: z.object({ kind: z.string() }) });
const Rained = defineEvent("sky.rained", { version: 1, data: z.object({ mm: z.int() }) });
const forest = defineContract("forest", {}, { events: [Planted, Felled] });
const weather = defineContract("weather", {}, { events: [Rained] });

const row = z.object({ trees: z.int(), tallest: z.int().optional() });
const Kinds = defineProjection("kinds", {
  row,
  index: ["trees"],
  events: (on) => [
    on(Planted, async (event, rows) => {
      expectTypeOf(event.data).toEqualTypeOf<{ kind: string; height: number }>();
      const known = await rows.get(event.data.kind);
      expectTypeOf(known).toEqualTypeOf<z.infer<typeof row> | undefined>();
      // @ts-expect-error a row has its fields
      rows.put(event.data.kind, { tallest: 1 });
    }),
    on(Felled, ({ data }, rows) => rows.delete(data.kind)),
  ],
});

describe("a projection", () => {
  const minimal = { row, events: () => [] };

  test("has version 1 unless it says otherwise, and follows the events that it has handlers for", () => {
    expect(Kinds).toMatchObject({ name: "kinds", version: 1, index: ["trees"] });
    expect(projectionSources(Kinds, [forest, weather])).toEqual(new Map([["forest", ["tree.planted", "tree.felled"]]]));
  });

  test("is refused with a name, a version or an index field that no store could keep", () => {
    for (const name of ["Kinds", "kinds-1", "1kinds", "", "k".repeat(41)])
      expect(() => defineProjection(name, minimal), name).toThrow(/must be lower snake case/);
    for (const version of [0, -1, 1.5, Number.NaN])
      expect(() => defineProjection("kinds", { ...minimal, version })).toThrow(/needs a version of 1 or more/);
    const odd = { row: z.object({ "a-b": z.int() }), index: ["a-b"] as const, events: () => [] };
    expect(() => defineProjection("kinds", odd)).toThrow(/cannot be an index field/);
    // @ts-expect-error it is no field of a row
    defineProjection("kinds", { ...minimal, index: ["leaves"] });
  });

  test("is refused with rows that JSON cannot carry, or two handlers for one event", () => {
    expect(() => defineProjection("kinds", { row: z.object({ at: z.date() }), events: () => [] })).toThrow(/JSON/);
    const twice = () =>
      defineProjection("kinds", { row, events: (on) => [on(Felled, () => {}), on(Felled, () => {})] });
    expect(twice).toThrow('The projection "kinds" has two handlers for "tree.felled".');
  });

  test("follows events of its own context and of those that this depends on, and no others", () => {
    const Wet = defineProjection("wet", { row, events: (on) => [on(Rained, () => {})] });
    expect(() => defineContext(forest, { projections: [Wet], handlers: {} })).toThrow(/neither "forest" nor a context/);
    const context = defineContext(forest, { dependsOn: [weather], projections: [Wet, Kinds], handlers: {} });
    expect(context.projections).toEqual([Wet, Kinds]);
  });

  test("two of one context need two names", () => {
    expect(() => defineContext(forest, { projections: [Kinds, { ...Kinds }], handlers: {} })).toThrow(
      'The context "forest" has two projections "kinds".',
    );
  });

  test("gives queries and commands rows of its type, found by its index fields alone", () => {
    type Reads = Pick<QueryContext<Contract, never>, "find" | "tryLoad" | "findAll">;
    expectTypeOf<CommandContext<Contract, never>>().toExtend<Reads>();
    const typed = (ctx: Reads) => {
      expectTypeOf(ctx.tryLoad(Kinds, "oak")).resolves.toEqualTypeOf<z.infer<typeof row> | undefined>();
      expectTypeOf(ctx.find(Kinds, { orderBy: "trees", range: { field: "trees", gte: 2 } })).resolves.toHaveProperty(
        "items",
      );
      // @ts-expect-error not an index field
      void ctx.find(Kinds, { where: { tallest: 3 } });
      return async () => {
        for await (const each of ctx.findAll(Kinds))
          expectTypeOf(each).toEqualTypeOf<{ readonly id: string; readonly row: z.infer<typeof row> }>();
      };
    };
    expect(typed).toBeTypeOf("function");
  });
});
