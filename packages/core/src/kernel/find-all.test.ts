import { expect, it } from "vitest";
import { z } from "zod";
import { inMemory } from "../in-memory/index.ts";
import { createArmature } from "../runtime/create-armature.ts";
import { AggregateRoot, defineAggregate } from "./aggregate.ts";
import { defineContext } from "./context.ts";
import { command, defineContract, query } from "./contract.ts";
import { defineEvent, type EventOf } from "./event.ts";

const Marked = defineEvent("seat.marked", { version: 1, data: z.object({ row: z.string(), taken: z.boolean() }) });
type State = { row: string; taken: boolean };
class Seat extends AggregateRoot<State, EventOf<typeof Marked>> {
  static readonly definition = defineAggregate("seat", {
    state: z.object({ row: z.string(), taken: z.boolean() }),
    events: [Marked],
    index: ["row"],
  });
  mark(row: string, taken: boolean) {
    this.raise(Marked, { row, taken });
  }
  protected override evolve(_state: State | undefined, event: EventOf<typeof Marked>): State {
    return event.data;
  }
}
const empty = z.strictObject({});
const seats = defineContract(
  "seats",
  {
    fill: command({ input: empty, permission: "seats:write", summary: "Makes seven seats in two rows." }),
    takeRow: command({
      input: z.strictObject({ row: z.string() }),
      permission: "seats:write",
      summary: "Takes every seat of a row.",
    }),
    taken: query({
      input: z.strictObject({ limit: z.int(), after: z.string().optional() }),
      output: z.array(z.string()),
      permission: "seats:read",
      summary: "Lists taken seats.",
    }),
  },
  { events: [Marked] },
);
const context = defineContext(seats, {
  aggregates: [Seat],
  handlers: {
    fill: (_input, ctx) => {
      for (const id of ["a1", "a2", "a3", "a4", "a5", "b1", "b2"]) ctx.add(new Seat(id)).mark(id[0]!, false);
    },
    takeRow: async ({ row }, ctx) => {
      for await (const seat of ctx.findAll(Seat, { where: { row }, limit: 2 })) seat.mark(row, true);
    },
    taken: async (page, ctx) => {
      const found: string[] = [];
      for await (const seat of ctx.findAll(Seat, page)) if (seat.state.taken) found.push(seat.id);
      return found;
    },
  },
});

it("findAll gives each aggregate that fits once, over all pages, and commits what a command changed of them", async () => {
  await using app = await createArmature({ store: inMemory(), contexts: [context], authorizer: () => true });
  const { seats: hall } = app.as({ tenant: "acme", user: "ann" });
  await hall.fill();
  await hall.takeRow({ row: "a" });
  const { items } = await app.as({ tenant: "acme", user: "ann" }).audit.events({ types: ["seat.marked"], limit: 100 });
  expect(items).toHaveLength(7 + 5);
  for (const limit of [1, 2, 5, 200]) expect(await hall.taken({ limit })).toEqual(["a1", "a2", "a3", "a4", "a5"]);
  await expect(hall.taken({ limit: 0 })).rejects.toMatchObject({ code: "invalid_input" });
});
