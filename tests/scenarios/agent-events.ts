import {
  AggregateRoot,
  agents,
  command,
  createArmature,
  defineAgent,
  defineAggregate,
  defineContext,
  defineContract,
  defineEvent,
  type EventOf,
} from "@armature/core";
import { ScriptedModel } from "@armature/core/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { keyEncryptionKey, type Place, type PlaceKind } from "./place.ts";

const TicketOpened = defineEvent("ticket.opened", {
  version: 1,
  data: z.strictObject({ ticketId: z.string(), delivery: z.string() }),
});
class Ticket extends AggregateRoot<{ readonly deliveries: number }, EventOf<typeof TicketOpened>> {
  static readonly definition = defineAggregate("ticket", {
    state: z.strictObject({ deliveries: z.int() }),
    events: [TicketOpened],
  });
  open(delivery: string): void {
    this.raise(TicketOpened, { ticketId: this.id, delivery });
  }
  protected override evolve(state: { readonly deliveries: number } | undefined) {
    return { deliveries: (state?.deliveries ?? 0) + 1 };
  }
}
const tickets = defineContract(
  "tickets",
  {
    open: command({
      input: z.strictObject({ ticketId: z.string(), delivery: z.string() }),
      permission: "tickets:write",
      summary: "Opens a ticket; a sender that had no answer sends it again.",
    }),
  },
  { events: [TicketOpened] },
);
const triage = defineAgent({
  id: "triage",
  summary: "Sorts tickets.",
  instructions: "Sort it.",
  taskTypes: ["sorting"],
});

/** Two consumers hear each event, and derive the run's id from what it is about. */
const ticketsContext = defineContext(tickets, {
  dependsOn: [agents],
  aggregates: [Ticket],
  handlers: {
    open: async ({ ticketId, delivery }, ctx) => {
      ((await ctx.tryLoad(Ticket, ticketId)) ?? ctx.add(new Ticket(ticketId))).open(delivery);
    },
  },
  subscriptions: (on) =>
    ["tickets.triage", "tickets.triage-again"].map((consumer) =>
      on(TicketOpened, { consumer }, ({ data }, ctx) => {
        ctx.send(agents, "run", {
          taskType: "sorting",
          input: `Sort the ticket ${data.ticketId}.`,
          runId: `run_ticket-${data.ticketId}`,
          ...(ctx.principal.onBehalfOf === undefined ? { onBehalfOf: { type: "service", id: "triage-bot" } } : {}),
        });
      }),
    ),
});

/** Runs that events begin. */
export function agentEvents(kind: PlaceKind): void {
  describe(`runs that events begin, ${kind.name}`, () => {
    let place: Place;
    const open: { close(): Promise<void> }[] = [];
    const start = async (works = true) => {
      const model = new ScriptedModel(Array.from({ length: 20 }, () => ({ text: "Sorted." })));
      const app = await createArmature({
        store: await place.open(),
        keyEncryptionKey,
        authorizer: () => true,
        contexts: [ticketsContext] as const,
        agents: [triage],
        models: { default: model },
        executions: works ? { pollMs: 50 } : false,
        relay: works ? { pollMs: 50 } : false,
      });
      open.push(app);
      return { app, model };
    };
    beforeAll(async () => {
      place = await kind.make();
      const { app } = await start(false);
      await app.migrate();
      await app.close();
      open.splice(0);
    });
    afterAll(async () => {
      for (const app of open) await app.close();
      await place?.close();
    });

    test("an event begins one run, however often it is delivered and whoever hears it", async () => {
      const [one, two] = [await start(), await start()];
      const ann = one.app.as({ tenant: "acme", user: "ann" });
      // The sender sends it twice, each through another process, and two consumers hear both.
      await ann.tickets.open({ ticketId: "t1", delivery: "first" });
      await two.app.as({ tenant: "acme", user: "ann" }).tickets.open({ ticketId: "t1", delivery: "again" });
      await ann.tickets.open({ ticketId: "t2", delivery: "first" });
      const done = async () => {
        const { items } = await ann.agents.listRuns({});
        return items.map(({ runId, status, onBehalfOf }) => `${runId} ${status} for ${onBehalfOf.id}`).sort();
      };
      await expect
        .poll(done, { timeout: 20_000 })
        .toEqual(["run_ticket-t1 completed for ann", "run_ticket-t2 completed for ann"]);
      await Promise.all([one.app.settled(), two.app.settled()]);
      expect(await done()).toHaveLength(2);
      expect(one.model.calls.length + two.model.calls.length).toBe(2);
    });

    test("one from outside begins a run for the service account that the subscription names", async () => {
      const { app } = await start();
      await app.as({ tenant: "outside", system: "webhook" }).tickets.open({ ticketId: "t1", delivery: "first" });
      const { agents: seen } = app.as({ tenant: "outside", user: "ann" });
      await expect
        .poll(async () => (await seen.listRuns({})).items.map(({ status, onBehalfOf }) => [status, onBehalfOf]), {
          timeout: 20_000,
        })
        .toEqual([["completed", { type: "service", id: "triage-bot" }]]);
      const said = { agent: "triage", input: "x", onBehalfOf: { type: "user", id: "boss" } } as const;
      await expect(seen.run(said)).rejects.toThrow("can be said only by the system");
    });
  });
}
