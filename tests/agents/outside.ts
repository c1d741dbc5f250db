import {
  AggregateRoot,
  action,
  agentTool,
  command,
  defineAgent,
  defineAggregate,
  defineContext,
  defineContract,
  defineEvent,
  type EventOf,
  operationTool,
  query,
} from "@armature/core";
import { z } from "zod";

/** How many tools a run calls, one after the other. */
export const CALLS = 20;

const Noted = defineEvent("outside.noted", { version: 1, data: z.strictObject({ number: z.int() }) });
class Notes extends AggregateRoot<{ readonly numbers: readonly number[] }, EventOf<typeof Noted>> {
  static readonly definition = defineAggregate("notes", {
    state: z.strictObject({ numbers: z.array(z.int()) }),
    events: [Noted],
  });
  note(number: number): void {
    this.raise(Noted, { number });
  }
  protected override evolve(
    state: { readonly numbers: readonly number[] } | undefined,
    { data }: EventOf<typeof Noted>,
  ) {
    return { numbers: [...(state?.numbers ?? []), data.number] };
  }
}

const number = z.strictObject({ number: z.int() });
export const outside = defineContract(
  "outside",
  {
    act: action({
      input: number,
      output: z.strictObject({ done: z.int() }),
      permission: "outside:act",
      repeatable: true,
      summary: "Has a service do something that recognises the key of a call.",
    }),
    note: command({ input: number, permission: "outside:act", summary: "Writes a number down." }),
    notes: query({
      input: z.strictObject({}),
      output: z.array(z.int()),
      permission: "outside:read",
      summary: "Shows them.",
    }),
  },
  { events: [Noted] },
);

/** @param service where the service answers */
export function outsideContext(service: string) {
  return defineContext(outside, {
    aggregates: [Notes],
    handlers: {
      act: async ({ number: done }, ctx) => {
        const { status } = await ctx.http.send({
          method: "POST",
          url: `${service}/act`,
          headers: { "idempotency-key": ctx.callId, "content-type": "application/json" },
          body: JSON.stringify({ number: done }),
          signal: ctx.signal,
        });
        if (status !== 200) throw new Error(`The service answered ${status}.`);
        return { done };
      },
      note: async ({ number: noted }, ctx) => {
        ((await ctx.tryLoad(Notes, "all")) ?? ctx.add(new Notes("all"))).note(noted);
      },
      notes: async (_, ctx) => [...((await ctx.tryLoad(Notes, "all"))?.state.numbers ?? [])],
    },
  });
}

/** Has the worker do it all. */
export const foreman = defineAgent({
  id: "foreman",
  summary: "Has things done.",
  instructions: "Have the worker do it.",
  tools: [agentTool("worker")],
  limits: { tokens: 10_000_000 },
});

export const worker = defineAgent({
  id: "worker",
  summary: "Does one thing after the other.",
  instructions: "Do all of them.",
  tools: [operationTool(outside, "act"), operationTool(outside, "note")],
  approvalFrom: "never",
  limits: { steps: 2 * CALLS, tokens: 10_000_000, toolTimeoutMs: 700 },
});
