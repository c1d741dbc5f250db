import {
  AggregateRoot,
  command,
  defineAggregate,
  defineContext,
  defineContract,
  defineEvent,
  type EventOf,
  query,
} from "@armature/core";
import { z } from "zod";

/** Counted up by a command. */
export const Counted = defineEvent("counters.counted", { version: 1, data: z.object({ to: z.number() }) });
/** Counted up by the event of another one. */
export const Followed = defineEvent("counters.followed", { version: 1, data: z.object({ eventId: z.string() }) });

const state = z.object({ value: z.number() });
type State = z.infer<typeof state>;

class Counter extends AggregateRoot<State, EventOf<typeof Counted>> {
  static readonly definition = defineAggregate("counter", { state, events: [Counted] });

  count(): number {
    this.raise(Counted, { to: (this.version > 0 ? this.state.value : 0) + 1 });
    return this.state.value;
  }

  protected override evolve(_state: State | undefined, event: EventOf<typeof Counted>): State {
    return { value: event.data.to };
  }
}

/** Counts how often the subscription has had its effect. */
class Follower extends AggregateRoot<State, EventOf<typeof Followed>> {
  static readonly definition = defineAggregate("follower", { state, events: [Followed] });

  follow(eventId: string): void {
    this.raise(Followed, { eventId });
  }

  protected override evolve(before: State | undefined): State {
    return { value: (before?.value ?? 0) + 1 };
  }
}

const view = z.object({ id: z.string(), value: z.number() });

const contract = defineContract(
  "counters",
  {
    count: command({
      input: z.strictObject({ counter: z.string() }),
      output: z.object({ value: z.number() }),
      permission: "counters:write",
      summary: "Counts up by one.",
    }),
    all: query({
      input: z.strictObject({}),
      output: z.object({ counters: z.array(view), followers: z.array(view) }),
      permission: "counters:read",
      summary: "Shows every counter, and how often its events had their effect.",
    }),
  },
  { events: [Counted, Followed] },
);

export interface Counters extends Readonly<typeof contract> {}
export const counters: Counters = contract;

/** Counters whose every event another aggregate follows: a duplicate or a loss shows in a number. */
export const countersContext = defineContext(counters, {
  aggregates: [Counter, Follower],
  handlers: {
    count: async ({ counter }, ctx) => ({
      value: ((await ctx.tryLoad(Counter, counter)) ?? ctx.add(new Counter(counter))).count(),
    }),
    all: async (_input, ctx) => {
      const [found, followers] = await Promise.all([
        ctx.find(Counter, { limit: 200 }),
        ctx.find(Follower, { limit: 200 }),
      ]);
      const toView = (each: Counter | Follower) => ({ id: each.id, value: each.state.value });
      return { counters: found.items.map(toView), followers: followers.items.map(toView) };
    },
  },
  subscriptions: (on) => [
    on(Counted, { consumer: "counters.follow" }, async (event, ctx) => {
      const follower = (await ctx.tryLoad(Follower, event.aggregateId)) ?? ctx.add(new Follower(event.aggregateId));
      follower.follow(event.id);
    }),
  ],
});
