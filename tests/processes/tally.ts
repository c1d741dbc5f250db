import {
  AggregateRoot,
  type ContextDefinition,
  command,
  defineAggregate,
  defineContext,
  defineContract,
  defineEvent,
  type EventOf,
  query,
} from "@armature/core";
import { z } from "zod";

const id = z.string().min(1).max(100);

/** `key` is the caller's own: what was counted can be compared with what was acknowledged. */
export const Counted = defineEvent("tally.counted", { version: 1, data: z.object({ key: z.string() }) });

class Tally extends AggregateRoot<{ count: number }, EventOf<typeof Counted>> {
  static readonly definition = defineAggregate("tally", { state: z.object({ count: z.int() }), events: [Counted] });

  count(key: string): number {
    this.raise(Counted, { key });
    return this.version;
  }

  protected override evolve(before: { count: number } | undefined): { count: number } {
    return { count: (before?.count ?? 0) + 1 };
  }
}

const talliesContract = defineContract(
  "tallies",
  {
    count: command({
      input: z.strictObject({ tally: id, key: z.string() }),
      output: z.object({ version: z.int() }),
      permission: "tallies:write",
      summary: "Counts up by one.",
    }),
  },
  { events: [Counted] },
);
interface Tallies extends Readonly<typeof talliesContract> {}
export const tallies: Tallies = talliesContract;

const talliesContext: ContextDefinition<Tallies> = defineContext(tallies, {
  aggregates: [Tally],
  handlers: {
    count: async ({ tally, key }, ctx) => {
      const counted = (await ctx.tryLoad(Tally, tally)) ?? ctx.add(new Tally(tally));
      return { version: counted.count(key) };
    },
  },
});

/** That a consumer has taken in an event: of which aggregate, and what version of it. */
export const receipt = z.strictObject({ consumer: z.string(), tally: id, version: z.int(), eventId: z.string() });
export const Received = defineEvent("receipt.received", { version: 1, data: receipt });
type Receipt = z.infer<typeof receipt>;

class Receipts extends AggregateRoot<{ times: number }, EventOf<typeof Received>> {
  static readonly definition = defineAggregate("receipts", {
    state: z.object({ times: z.int() }),
    events: [Received],
  });

  receive(taken: Receipt): void {
    this.raise(Received, taken);
  }

  protected override evolve(before: { times: number } | undefined): { times: number } {
    return { times: (before?.times ?? 0) + 1 };
  }
}

const receiptsContract = defineContract(
  "receipts",
  {
    receive: command({
      input: receipt,
      permission: "receipts:write",
      summary: "Notes that an event has arrived.",
    }),
    times: query({
      input: z.strictObject({}),
      output: z.object({ store: z.int(), bus: z.int() }),
      permission: "receipts:read",
      summary: "Says how many events each consumer has taken in.",
    }),
  },
  { events: [Received] },
);
interface ReceiptsContract extends Readonly<typeof receiptsContract> {}
const receipts: ReceiptsContract = receiptsContract;

/**
 * Tallies, and the receipts of what was counted by two consumers: one of the store, which `begun` hears of whenever it
 * begins, and one of the bus, which calls `receive`.
 */
export function tallyContexts(begun: (tenant: string, tally: string, version: number) => unknown = () => undefined) {
  type Loading = {
    tryLoad(of: typeof Receipts, id: string): Promise<Receipts | undefined>;
    add(made: Receipts): Receipts;
  };
  const note = async (taken: Receipt, ctx: Loading) => {
    const of = `${taken.consumer}-${taken.tally}`;
    ((await ctx.tryLoad(Receipts, of)) ?? ctx.add(new Receipts(of))).receive(taken);
  };
  const receiptsContext: ContextDefinition<ReceiptsContract> = defineContext(receipts, {
    dependsOn: [tallies],
    aggregates: [Receipts],
    handlers: {
      receive: note,
      times: async (_input, ctx) => {
        const times = { store: 0, bus: 0 };
        for await (const each of ctx.findAll(Receipts))
          times[each.id.startsWith("bus-") ? "bus" : "store"] += each.state.times;
        return times;
      },
    },
    subscriptions: (on) => [
      on(Counted, { consumer: "receipts.store" }, async (event, ctx) => {
        const { tenant, aggregateId: tally, aggregateVersion: version, id: eventId } = event;
        await begun(tenant, tally, version);
        await note({ consumer: "store", tally, version, eventId }, ctx);
      }),
    ],
  });
  return [talliesContext, receiptsContext] as const;
}
