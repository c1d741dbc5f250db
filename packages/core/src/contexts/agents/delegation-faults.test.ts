import { expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import { defineContext } from "../../kernel/context.ts";
import { type Client, command, defineContract } from "../../kernel/contract.ts";
import { defineEvent, type EventOf } from "../../kernel/event.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { embeddedEngine } from "../../runtime/executions/embedded-engine.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import { ScriptedModel } from "../../testing/scripted-model.ts";
import type { ScriptedAnswer, ScriptedCall } from "../../testing/scripted-turn.ts";
import { wrappedPort } from "../../testing/wrapped-port.ts";
import { defineAgent } from "./agent-definition.ts";
import { agentTool } from "./agent-tool.ts";
import type { AgentRunView, Agents } from "./contract.ts";
import { operationTool } from "./tool.ts";

const Booked = defineEvent("shop.booked", { version: 1, data: z.strictObject({ what: z.string() }) });
class Bookings extends AggregateRoot<{ readonly what: readonly string[] }, EventOf<typeof Booked>> {
  static readonly definition = defineAggregate("bookings", {
    state: z.strictObject({ what: z.array(z.string()) }),
    events: [Booked],
  });
  book(what: string) {
    this.raise(Booked, { what });
  }
  protected override evolve(state: { readonly what: readonly string[] } | undefined, { data }: EventOf<typeof Booked>) {
    return { what: [...(state?.what ?? []), data.what] };
  }
}
const shop = defineContract(
  "shop",
  {
    book: command({
      input: z.strictObject({ what: z.string() }),
      permission: "shop:write",
      summary: "Books something.",
    }),
  },
  { events: [Booked] },
);
const shopContext = defineContext(shop, {
  aggregates: [Bookings],
  handlers: {
    book: async ({ what }, ctx) => {
      ((await ctx.tryLoad(Bookings, "all")) ?? ctx.add(new Bookings("all"))).book(what);
    },
  },
});

const tools = [operationTool(shop, "book")];
const agent = (id: string, more: Partial<Parameters<typeof defineAgent>[0]> = {}) =>
  defineAgent({ id, summary: `Is ${id}.`, instructions: `You are ${id}.`, ...more });
const agents = [
  agent("lead", {
    capabilities: ["booking"],
    tools: [agentTool("helper"), agentTool("clerk"), agentTool("closer", { handoff: true })],
  }),
  agent("helper", { tools }),
  agent("clerk", { tools }),
  agent("closer", {}),
  agent("spare", { capabilities: ["booking"] }),
];
const agentRouter = agent("router");
const call = (name: string, args: Record<string, string>) => ({ id: `c-${name}`, name, arguments: args });
const TURNS: Readonly<Record<string, readonly ScriptedAnswer[]>> = {
  router: [{ text: '{"agent":"lead"}' }],
  lead: [
    { toolCalls: [call("ask_helper", { task: "A bell." }), call("ask_clerk", { task: "A drum." })] },
    { toolCalls: [call("handoff_to_closer", {})] },
  ],
  helper: [{ toolCalls: [call("shop_book", { what: "bell" })] }, { text: "The bell is booked." }],
  clerk: [{ toolCalls: [call("shop_book", { what: "drum" })] }, { text: "No drum." }],
};
/** By what it is asked alone: which process asks is of no matter. */
const turn = ({ prompt }: ScriptedCall): ScriptedAnswer => {
  const id = Object.keys(TURNS).find((each) => JSON.stringify(prompt[0]).includes(`You are ${each}.`));
  const said = prompt.filter(({ role }) => role === "assistant").length;
  return id === undefined ? { text: "That is all." } : TURNS[id]![said]!;
};

const WRITES = new Set(["commit", "executions.write"]);

/**
 * Stores whose process dies after so many writes: nobody there hears of the last one, nor of anything after it.
 *
 * @param wrote runs after each write, before the process hears of it
 */
function mortal(dieAfter: number, wrote: (writes: number) => Promise<void>) {
  const life = { writes: 0, over: false };
  const never = new Promise<never>(() => undefined);
  const over = (store: StoreAdapter) =>
    wrappedPort(store, (method, go) => {
      if (life.over) return never;
      if (!WRITES.has(method)) return go();
      return (async () => {
        const result = await go();
        life.writes += 1;
        await wrote(life.writes);
        if (life.over) return never;
        life.over = life.writes === dieAfter;
        return life.over ? never : result;
      })();
    });
  return { over, life };
}

const turns = async (count = 20) => {
  for (let at = 0; at < count; at += 1) await new Promise((resolve) => setImmediate(resolve));
};

type OwnAgents = Client<Agents>;

/** What a run waits for shows on the one above it. */
async function showsAll(runs: OwnAgents): Promise<void> {
  const { items } = await runs.listRuns({});
  for (const { parent, approvals } of items) {
    const above = items.find(({ runId }) => runId === parent);
    if (above !== undefined && above.endedAt === undefined)
      expect(above.approvals).toEqual(expect.arrayContaining([...approvals]));
  }
  for (const { status, approvals } of items) expect(status === "suspended").toBe(approvals.length > 0);
}

/** Whether each call of a tool has one result. */
async function answered(runs: OwnAgents, all: readonly AgentRunView[]): Promise<boolean> {
  for (const conversationId of new Set(all.map((run) => run.conversationId))) {
    const { items } = await runs.messages({ conversationId, limit: 200 });
    const parts = items.flatMap(({ runId, content }) => content.map((part) => ({ runId, part })));
    const called = parts.flatMap(({ runId, part }) => (part.type === "tool-call" ? [`${runId} ${part.id}`] : []));
    const results = parts.flatMap(({ runId, part }) =>
      part.type === "tool-result" ? [`${runId} ${part.callId}`] : [],
    );
    if (called.sort().join() !== results.sort().join()) return false;
  }
  return true;
}

const NEVER = Number.POSITIVE_INFINITY;

/** A router's choice, parallel delegations of which one call is approved and one rejected, a handoff. */
async function story({ isApart = false, dieAfter = NEVER, cancelAfter = NEVER }) {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const store = inMemory({ clock });
  const runId = "run_story" as const;
  const apart = isApart ? inMemory({ clock }) : undefined;
  const { over, life } = mortal(dieAfter, async (writes) => {
    if (writes === cancelAfter) await acme.agents.cancel({ runId, reason: "enough" }).catch(() => undefined);
  });
  const start = (kept: (store: StoreAdapter) => StoreAdapter, works: boolean) =>
    createArmature({
      ...{ store: kept(store), clock, logger: recordingLogger(), contexts: [shopContext] as const },
      ...{ agents, agentRouter },
      authorizer: () => true,
      models: { default: new ScriptedModel(Array.from({ length: 100 }, () => turn)) },
      keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
      ...(works ? {} : { relay: false as const }),
      ...(apart !== undefined
        ? { executions: { engine: embeddedEngine({ store: kept(apart) }), work: works } }
        : works
          ? {}
          : { executions: false as const }),
    });
  const itself = (each: StoreAdapter) => each;
  const looker = await start(itself, false);
  const acme = looker.as({ tenant: "acme", user: "ann" });
  await start(over, true);
  let second: Awaited<ReturnType<typeof start>> | undefined;
  const { conversationId } = await acme.agents.run({ capability: "booking", input: "Book.", runId });
  const underWay = async () => (await acme.agents.listRuns({})).items.some(({ endedAt }) => endedAt === undefined);
  for (let at = 0; at < 200 && (await underWay()); at += 1) {
    await clock.advance(1_000);
    await turns();
    await showsAll(acme.agents);
    if (life.over && second === undefined) second = await start(itself, true);
    for (const { approvalId, hash } of (await acme.approvals.list({ status: "pending" })).items) {
      const { arguments: args } = await acme.approvals.get({ approvalId });
      if (args["what"] === "bell") await acme.approvals.approve({ approvalId, hash });
      else await acme.approvals.reject({ approvalId });
    }
  }
  const [bookings] = await store.load({ tenant: "acme", context: "shop" }, [{ type: "bookings", id: "all" }]);
  const runs = (await acme.agents.listRuns({})).items;
  const { items } = await acme.agents.messages({ conversationId });
  const outcome = {
    run: await acme.agents.get({ runId }).then(({ status, text, approvals, delegated }) => ({
      ...{ status, text, approvals, delegated },
    })),
    runs: runs
      .map(({ agent: id, status, error }) => `${id} ${status}${error === undefined ? "" : `: ${error.message}`}`)
      .sort(),
    booked: bookings?.state["what"],
    messages: items.map(({ role }) => role),
    calls: await answered(acme.agents, runs),
    approvals: (await acme.approvals.list({})).items.map(({ status }) => status).sort(),
  };
  await second?.close();
  await looker.close();
  return { outcome, writes: life.writes };
}

const engines = [
  ["in the store", false],
  ["apart", true],
] as const;

test.each(engines)(
  "wherever a process dies, delegated runs are begun once and come to their end: executions %s",
  async (_, isApart) => {
    const whole = await story({ isApart });
    expect(whole.outcome).toEqual({
      run: { status: "completed", text: "That is all.", approvals: [], delegated: [] },
      runs: ["clerk completed", "closer completed", "helper completed", "lead completed", "router completed"],
      booked: ["bell"],
      messages: ["user", "assistant", "tool", "assistant", "tool", "assistant"],
      calls: true,
      approvals: ["approved", "rejected"],
    });
    expect(whole.writes).toBeGreaterThan(20);
    for (let dieAfter = 1; dieAfter <= whole.writes; dieAfter += isApart ? 3 : 1)
      expect((await story({ isApart, dieAfter })).outcome, `dead after write ${dieAfter}`).toEqual(whole.outcome);
  },
  120_000,
);

test.each(engines)(
  "whenever the first run is canceled, all that it has delegated ends: executions %s",
  async (_, isApart) => {
    const { writes } = await story({ isApart });
    const seen = new Set<string>();
    for (let cancelAfter = 1; cancelAfter <= writes; cancelAfter += isApart ? 3 : 1) {
      const { outcome } = await story({ isApart, cancelAfter });
      const { run, runs, approvals, calls } = outcome;
      expect({ run, calls }, `canceled after write ${cancelAfter}`).toMatchObject({
        run: { status: expect.stringMatching("canceled|completed"), approvals: [] },
        calls: true,
      });
      expect(runs.filter((each) => !/canceled|completed/.test(each))).toEqual([]);
      expect(approvals).not.toContain("pending");
      seen.add(run.status);
      for (const each of runs) seen.add(each);
    }
    expect([...seen]).toEqual(
      expect.arrayContaining(["canceled", "lead canceled", "helper canceled", "clerk canceled", "router canceled"]),
    );
  },
  120_000,
);
