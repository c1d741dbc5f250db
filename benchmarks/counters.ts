import {
  AggregateRoot,
  command,
  defineAggregate,
  defineContext,
  defineContract,
  defineEvent,
  type EventOf,
  pageOf,
  paging,
  query,
} from "@armature/core";
import { z } from "zod";

export const counterId = z.string().regex(/^cnt_[0-9a-z_]{1,60}$/);
/** What the command takes, in Armature and in everything that is written by hand. */
export const countInput = z.strictObject({ counterId, by: z.int().min(1).max(1000), note: z.string().max(200) });
export const countOutput = z.strictObject({ value: z.int() });
export type CountInput = z.infer<typeof countInput>;

const state = z.object({ value: z.int(), note: z.string() });
const Counted = defineEvent("counter.counted", { version: 1, data: z.object({ by: z.int(), note: z.string() }) });
type Event = EventOf<typeof Counted>;

class Counter extends AggregateRoot<z.infer<typeof state>, Event> {
  static readonly definition = defineAggregate("counter", { state, events: [Counted], index: ["note"] });

  count(by: number, note: string) {
    this.raise(Counted, { by, note });
  }

  protected override evolve(before: z.infer<typeof state> | undefined, { data }: Event) {
    return { value: (before?.value ?? 0) + data.by, note: data.note };
  }
}

const counterView = z.object({ counterId, value: z.int() });

const counters = defineContract(
  "counters",
  {
    count: command({
      input: countInput,
      output: countOutput,
      permission: "counters:write",
      http: "POST /counters/{counterId}/count",
      summary: "Counts; a counter begins with the first time.",
    }),
    get: query({
      input: z.strictObject({ counterId }),
      output: counterView,
      permission: "counters:read",
      summary: "One counter.",
    }),
    list: query({
      input: z.strictObject({ ...paging, note: z.string().optional() }),
      output: pageOf(counterView),
      permission: "counters:read",
      summary: "Lists counters.",
    }),
  },
  { events: [Counted] },
);

/** Counters: the smallest context that loads, decides, raises an event and is found by a field. */
export const countersContext = defineContext(counters, {
  aggregates: [Counter],
  handlers: {
    count: async ({ counterId: id, by, note }, ctx) => {
      const counter = (await ctx.tryLoad(Counter, id)) ?? ctx.add(new Counter(id));
      counter.count(by, note);
      return { value: counter.state.value };
    },
    get: async ({ counterId: id }, ctx) => ({ counterId: id, value: (await ctx.load(Counter, id)).state.value }),
    list: async ({ note, ...page }, ctx) => {
      const { items, ...rest } = await ctx.find(Counter, { where: { note }, ...page });
      return { items: items.map(({ id, state: { value } }) => ({ counterId: id, value })), ...rest };
    },
  },
});

/** How often one counter counts before its caller takes the next: peers read the whole history of what they change. */
export const CHANGES = 10;
