import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import { defineContext } from "../../kernel/context.ts";
import { command, defineContract } from "../../kernel/contract.ts";
import { defineEvent, type EventOf } from "../../kernel/event.ts";
import type { Principal } from "../../kernel/principal.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import { ScriptedModel } from "../../testing/scripted-model.ts";
import type { ScriptedCall, ScriptedTurn } from "../../testing/scripted-turn.ts";
import { type AgentDefinition, defineAgent } from "./agent-definition.ts";
import { agentTool } from "./agent-tool.ts";
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
const seen: Principal[] = [];
const shopContext = defineContext(shop, {
  aggregates: [Bookings],
  handlers: {
    book: async ({ what }, ctx) => {
      seen.push(ctx.principal);
      ((await ctx.tryLoad(Bookings, "all")) ?? ctx.add(new Bookings("all"))).book(what);
    },
  },
});

const books = [operationTool(shop, "book")];
const agent = (id: string, more: Partial<Parameters<typeof defineAgent>[0]> = {}) =>
  defineAgent({ id, summary: `Is ${id}.`, instructions: `You are ${id}.`, ...more });
const usage = { inputTokens: 100, outputTokens: 10 };
const asks = (...calls: [string, Record<string, string>][]): ScriptedTurn => ({
  toolCalls: calls.map(([name, args], at) => ({ id: `c${at}-${name}`, name, arguments: args })),
  usage,
});

/** Each agent says its own next turn, in whichever order they are asked. */
function byAgent(turns: Readonly<Record<string, readonly ScriptedTurn[]>>): ScriptedTurn[] {
  const said = new Map<string, number>();
  return Array.from({ length: 200 }, () => (call: ScriptedCall) => {
    const id = Object.keys(turns).find((each) => JSON.stringify(call.prompt[0]).includes(`You are ${each}.`))!;
    const at = said.get(id) ?? 0;
    said.set(id, at + 1);
    const turn = turns[id]![at] ?? { text: `${id} has nothing more to say.` };
    return typeof turn === "function" ? turn(call) : turn;
  });
}

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  seen.length = 0;
  await Promise.all(open.splice(0).map((app) => app.close()));
});

async function started(
  turns: Readonly<Record<string, readonly ScriptedTurn[]>>,
  agents: readonly AgentDefinition[],
  more: {
    store?: StoreAdapter;
    clock?: ReturnType<typeof fixedClock>;
    authorizer?: (principal: Principal, permission: string) => boolean;
  } = {},
) {
  const clock = more.clock ?? fixedClock("2026-01-01T00:00:00.000Z");
  const store = more.store ?? inMemory({ clock });
  const model = new ScriptedModel(byAgent(turns), { clock });
  const app = await createArmature({
    ...{ store, clock, logger: recordingLogger(), contexts: [shopContext] as const, agents },
    authorizer: more.authorizer ?? (() => true),
    models: { default: model },
    keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
  });
  open.push(app);
  const acme = app.as({ tenant: "acme", user: "ann" });
  const events = async () =>
    (await store.events("acme", { contexts: ["agents"], limit: 200 })).items
      .map(({ type }) => type)
      .filter((type) => !type.includes("message_added"));
  const booked = async () =>
    (await store.load({ tenant: "acme", context: "shop" }, [{ type: "bookings", id: "all" }]))[0]?.state["what"] ?? [];
  const run = async (id: string, input = "Book a bell.") => {
    const begun = await acme.agents.run({ agent: id, input });
    await app.settled();
    return begun;
  };
  const pending = async () => {
    const { items } = await acme.approvals.list({ status: "pending" });
    return Promise.all(items.map(({ approvalId }) => acme.approvals.get({ approvalId })));
  };
  return { app, acme, clock, store, model, events, booked, run, pending };
}

const lead = agent("lead", { tools: [agentTool("helper"), agentTool("clerk")] });
const helper = agent("helper", { tools: books });
const clerk = agent("clerk", { tools: books });
const task = (text: string): Record<string, string> => ({ task: text });

test("an agent asks another one, which works in a run of its own for the same user, and gets its answer", async () => {
  const { acme, run, model, events } = await started(
    {
      lead: [asks(["ask_helper", task("Look for bells.")]), { text: "There are two bells.", usage }],
      helper: [{ text: "Two.", usage }],
    },
    [lead, helper, clerk],
  );
  const { runId, conversationId } = await run("lead");
  const got = await acme.agents.get({ runId });
  expect(got).toMatchObject({ status: "completed", text: "There are two bells.", delegated: [] });
  expect(got.usage.inputTokens).toBe(200);
  expect(got.delegatedUsage).toMatchObject({ steps: 1, inputTokens: 100, outputTokens: 10 });
  const [delegated] = (await acme.agents.listRuns({ parent: runId })).items;
  expect(delegated).toMatchObject({
    ...{ agent: "helper", parent: runId, status: "completed", text: "Two." },
    onBehalfOf: { type: "user", id: "ann" },
  });
  expect(delegated!.conversationId).not.toBe(conversationId);
  expect(JSON.stringify(model.calls[1]!.prompt)).toContain("Look for bells.");
  expect(JSON.stringify(model.calls[1]!.prompt)).not.toContain("Book a bell.");
  expect(await events()).toEqual([
    ...["conversation.started", "agent.run_started", "agent.step_taken"],
    ...["agent.run_delegated", "agent.run_started", "conversation.started", "agent.step_taken"],
    ...["agent.executed", "agent.delegation_ended"],
    ...["agent.tools_run", "agent.step_taken", "agent.executed"],
  ]);
});
