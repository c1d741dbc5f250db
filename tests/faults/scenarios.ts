import assert from "node:assert/strict";
import {
  type ContextDefinition,
  defineContext,
  defineContract,
  defineProjection,
  ProjectionRebuilding,
  query,
} from "@armature/core";
import { defineFaultScenario, type FaultScenario, type FaultStep, type Settled } from "@armature/core/testing";
import { z } from "zod";
import {
  Added,
  type Desk,
  deskContext,
  type Lab,
  type Ledger,
  lab,
  labContext,
  ledgerContext,
  noteDown,
  noteOf,
} from "../scenarios/lab.ts";

const COUNTERS = ["a", "b", "c"];
const CONSUMERS = ["first", "second"];

type LabContexts = readonly [ContextDefinition<Lab>, ContextDefinition<Ledger>, ContextDefinition<Desk>];
type LabSettled = Settled<LabContexts>;

const contexts = (): LabContexts => [labContext(), ledgerContext, deskContext()];

const add: FaultStep = {
  name: "add",
  weight: 2,
  run: async ({ random, call }) => {
    await call("lab.add", { counterId: random.pick(COUNTERS), note: String(random.int(1, 1_000)) });
  },
};

/** The events of each counter of each tenant, in the order of versions. */
function histories({ tenants, events }: LabSettled) {
  return tenants.flatMap((tenant) => {
    const added = events(tenant).filter(({ type }) => type === "counter.added");
    return [...Map.groupBy(added, ({ aggregateId }) => aggregateId)].map(([counter, history]) => ({
      tenant,
      counter,
      history,
    }));
  });
}

/** What each consumer has written down, beside what the log says it must have. */
async function notesAreTheHistory(settled: LabSettled): Promise<void> {
  for (const { tenant, counter, history } of histories(settled))
    for (const consumer of CONSUMERS) {
      const { texts } = await settled.as(tenant).desk.read({ noteId: noteOf(consumer, counter) });
      const expected = history.map(({ data }) => data["note"]);
      assert.deepEqual(texts, expected, `${consumer} has noted other things of ${counter} of ${tenant}`);
    }
}

const noted = { "each consumer has noted the history, in its order and once": notesAreTheHistory };

const subscriptions = defineFaultScenario({ name: "subscriptions", contexts, steps: [add], invariants: noted });

const sentCommands = defineFaultScenario({
  name: "sent-commands",
  contexts,
  steps: [
    {
      name: "tell",
      run: async ({ random, call }) => {
        await call("desk.tell", { noteId: "telling", counterId: random.pick(COUNTERS) });
      },
    },
    {
      name: "have done",
      run: async ({ call }) => {
        await call("desk.have", { noteId: "having", text: "something" });
      },
    },
    {
      name: "tell too much",
      run: async ({ random, call }) => {
        await call("desk.tell", { noteId: "telling", counterId: random.pick(COUNTERS), by: 600 });
      },
    },
  ],
  invariants: noted,
});

const delayedCommands = defineFaultScenario({
  name: "delayed-commands",
  contexts,
  steps: [
    {
      name: "tell later",
      run: async ({ random, call }) => {
        const input = { noteId: "telling", counterId: random.pick(COUNTERS), afterMs: random.int(0, 10_000) };
        await call("desk.tell", input);
      },
    },
  ],
  invariants: noted,
});

const busConsumers = defineFaultScenario({
  name: "bus-consumers",
  contexts,
  steps: [add],
  consumers: [
    {
      group: "billing",
      sources: ["/contexts/lab"],
      handle: async ({ subject }, call) => {
        await call("ledger.book", { entryId: subject, amount: 1 });
      },
    },
  ],
  invariants: {
    ...noted,
    "the group has booked each event once": async (settled) => {
      for (const { tenant, counter, history } of histories(settled)) {
        const { total } = await settled.as(tenant).ledger.total({ entryId: `counter/${counter}` });
        assert.equal(total, history.length, `${counter} of ${tenant}`);
      }
    },
  },
});

const manyAggregates = defineFaultScenario({
  name: "many-aggregates",
  contexts,
  steps: [
    add,
    {
      name: "order",
      run: async ({ random, call }) => {
        const amounts = Array.from({ length: random.int(1, 3) }, () => random.int(1, 110));
        await call("desk.order", { noteId: `order-${random.int(1, 3)}`, amounts });
      },
    },
    {
      name: "add to all",
      run: async ({ call }) => {
        await call("lab.addToAll", { label: "all", by: 1 });
      },
    },
    {
      name: "label",
      run: async ({ random, call }) => {
        await call("lab.add", { counterId: random.pick(COUNTERS), note: "all" });
      },
    },
  ],
  invariants: {
    ...noted,
    "what was ordered was booked, all of it or nothing": async ({ tenants, as, events, acknowledged }) => {
      for (const tenant of tenants)
        for (const noteId of ["order-1", "order-2", "order-3"]) {
          const booked = events(tenant).filter(
            ({ type, aggregateId }) => type === "entry.booked" && aggregateId === noteId,
          );
          if (booked.length === 0) continue;
          const { total } = await as(tenant).ledger.total({ entryId: noteId });
          const { texts } = await as(tenant).desk.read({ noteId });
          const amounts = texts.flatMap((text) => text.replace("ordered ", "").split(", ").map(Number));
          assert.equal(
            total,
            amounts.reduce((sum, amount) => sum + amount, 0),
            `${noteId} of ${tenant}`,
          );
          const orders = acknowledged(tenant).filter(({ input }) => input["noteId"] === noteId);
          assert.ok(texts.length >= orders.length, `${noteId} of ${tenant} has fewer orders than were acknowledged`);
        }
    },
  },
});

const deadLetters = defineFaultScenario({
  name: "dead-letters",
  contexts: ({ random, faulty }) => [
    labContext(),
    ledgerContext,
    deskContext({
      first: async (event, ctx) => {
        // So often that its attempts run out, until somebody has repaired it.
        if (faulty() && random.chance(0.8)) throw new Error("The consumer is broken.");
        await noteDown("first")(event, ctx);
      },
    }),
  ],
  steps: [add],
  invariants: noted,
});

/** What was noted at each counter, made of events: in a context of its own, that only reads. */
function historyContext() {
  const Notes = defineProjection("notes", {
    row: z.object({ notes: z.array(z.string()) }),
    events: (on) => [
      on(Added, async ({ data: { counterId, note } }, rows) => {
        const { notes } = (await rows.get(counterId)) ?? { notes: [] };
        rows.put(counterId, { notes: [...notes, note] });
      }),
    ],
  });
  const history = defineContract("history", {
    of: query({
      input: z.strictObject({ counterId: z.string() }),
      output: z.object({ notes: z.array(z.string()) }),
      permission: "history:read",
      summary: "Shows what was noted.",
    }),
  });
  return defineContext(history, {
    dependsOn: [lab],
    projections: [Notes],
    handlers: { of: async ({ counterId }, ctx) => (await ctx.tryLoad(Notes, counterId)) ?? { notes: [] } },
  });
}

const projections = defineFaultScenario({
  name: "projections",
  contexts: () => [labContext(), historyContext()] as const,
  steps: [add],
  consumers: [
    {
      // Somebody has the rows made again now and then, in the middle of everything.
      group: "operator",
      sources: ["/contexts/lab"],
      handle: async ({ sequence }, call) => {
        if (sequence % 4 !== 0) return;
        await call("projections.rebuild", { projection: "history.notes" }).catch((error: unknown) => {
          if (!(error instanceof ProjectionRebuilding)) throw error;
        });
      },
    },
  ],
  invariants: {
    "the projection shows the history, in its order and once": async (settled) => {
      for (const tenant of settled.tenants) {
        const added = settled.events(tenant).filter(({ type }) => type === "counter.added");
        for (const [counterId, history] of Map.groupBy(added, ({ aggregateId }) => aggregateId)) {
          const { notes } = await settled.as(tenant).history.of({ counterId });
          const expected = history.map(({ data }) => data["note"]);
          assert.deepEqual(notes, expected, `other things were noted of ${counterId} of ${tenant}`);
        }
      }
    },
  },
});

/** What this repository runs its own contexts with. */
export const scenarios: readonly FaultScenario[] = [
  subscriptions,
  sentCommands,
  delayedCommands,
  busConsumers,
  manyAggregates,
  deadLetters,
  projections,
].map((scenario) => scenario as unknown as FaultScenario);
