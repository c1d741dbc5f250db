import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { AggregateRoot, defineAggregate } from "../../kernel/aggregate.ts";
import { defineContext } from "../../kernel/context.ts";
import { command, defineContract, query } from "../../kernel/contract.ts";
import { defineEvent, type EventOf } from "../../kernel/event.ts";
import type { Principal } from "../../kernel/principal.ts";
import type { StoreAdapter } from "../../kernel/store-adapter.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import { ScriptedModel } from "../../testing/scripted-model.ts";
import type { ScriptedTurn } from "../../testing/scripted-turn.ts";
import { type AgentDefinition, defineAgent } from "./agent-definition.ts";
import { operationTool } from "./tool.ts";

const Merged = defineEvent("shop.merged", { version: 1, data: z.strictObject({ from: z.string() }) });
class Merges extends AggregateRoot<{ readonly from: readonly string[] }, EventOf<typeof Merged>> {
  static readonly definition = defineAggregate("merges", {
    state: z.strictObject({ from: z.array(z.string()) }),
    events: [Merged],
  });
  merge(from: string) {
    this.raise(Merged, { from });
  }
  protected override evolve(state: { readonly from: readonly string[] } | undefined, { data }: EventOf<typeof Merged>) {
    return { from: [...(state?.from ?? []), data.from] };
  }
}
const shop = defineContract(
  "shop",
  {
    find: query({
      input: z.strictObject({ name: z.string() }),
      output: z.array(z.string()),
      permission: "shop:read",
      summary: "Finds contacts.",
    }),
    merge: command({
      input: z.strictObject({ from: z.string() }),
      output: z.strictObject({ merged: z.int() }),
      permission: "shop:write",
      summary: "Merges two contacts.",
    }),
  },
  { events: [Merged] },
);
const seen: Principal[] = [];
const shopContext = defineContext(shop, {
  aggregates: [Merges],
  handlers: {
    find: ({ name }, ctx) => {
      seen.push(ctx.principal);
      return [`${name}-1`, `${name}-2`];
    },
    merge: async ({ from }, ctx) => {
      seen.push(ctx.principal);
      const merges = (await ctx.tryLoad(Merges, "all")) ?? ctx.add(new Merges("all"));
      merges.merge(from);
      return { merged: merges.state.from.length };
    },
  },
});

const tools = [operationTool(shop, "find"), operationTool(shop, "merge")];
const assistant = (more: Partial<Parameters<typeof defineAgent>[0]> = {}) =>
  defineAgent({
    id: "sales-assistant",
    summary: "Keeps contacts tidy.",
    instructions: "Merge duplicates.",
    tools,
    capabilities: ["crm"],
    taskTypes: ["recommendation"],
    ...more,
  });

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  seen.length = 0;
  await Promise.all(open.splice(0).map((app) => app.close()));
});

async function started(
  turns: readonly ScriptedTurn[],
  more: {
    agents?: readonly AgentDefinition[];
    store?: StoreAdapter;
    clock?: ReturnType<typeof fixedClock>;
    authorizer?: (principal: Principal, permission: string) => boolean;
    prices?: boolean;
  } = {},
) {
  const clock = more.clock ?? fixedClock("2026-01-01T00:00:00.000Z");
  const store = more.store ?? inMemory({ clock });
  const model = new ScriptedModel(turns, { clock });
  const app = await createArmature({
    ...{ store, clock, logger: recordingLogger(), contexts: [shopContext] as const },
    authorizer: more.authorizer ?? (() => true),
    agents: more.agents ?? [assistant()],
    models: { default: model },
    ...(more.prices === false
      ? {}
      : { prices: { currency: "EUR", models: { scripted: { inputPerMillion: 1, outputPerMillion: 10 } } } }),
    keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
  });
  open.push(app);
  const acme = app.as({ tenant: "acme", user: "ann" });
  const events = async () =>
    (await store.events("acme", { contexts: ["agents"], limit: 200 })).items
      .map(({ type }) => type)
      .filter((type) => !type.includes("message_added"));
  const merged = async () =>
    (await store.load({ tenant: "acme", context: "shop" }, [{ type: "merges", id: "all" }]))[0]?.state["from"] ?? [];
  return { app, acme, clock, store, model, events, merged };
}

const usage = { inputTokens: 100, outputTokens: 10 };
const asks = (...calls: [string, Record<string, string>][]): ScriptedTurn => ({
  toolCalls: calls.map(([name, args], at) => ({ id: `c${at}-${name}`, name, arguments: args })),
  usage,
});
const run = { agent: "sales-assistant", input: "Merge the duplicates of Bo." } as const;

test("what model calls cost whose answers could not be used counts against the budget", async () => {
  const agent = assistant({ tools: [], output: z.strictObject({ score: z.number() }) });
  const bad = Array.from({ length: 8 }, () => ({ text: "no JSON", usage }) satisfies ScriptedTurn);
  const { app, acme, clock, model } = await started(bad, { agents: [agent] });
  await acme.agents.setBudget({ budget: "tenant", tokens: 100_000 });
  const { runId } = await acme.agents.run(run);
  for (let i = 0; i < 10 && (await acme.agents.get({ runId })).status === "running"; i += 1) {
    await app.settled();
    await clock.advance(300_000);
  }
  await app.settled();
  const { spent, reserved } = await acme.agents.budget({ budget: "tenant" });
  expect({ calls: model.calls.length > 0, reserved: reserved.tokens, spent: spent.tokens }).toEqual({
    calls: true,
    reserved: 0,
    spent: model.calls.length * 110,
  });
});

test("a model that does not say what it used does not work for nothing", async () => {
  const { app, acme } = await started([{ text: "Done.", usage: {} as never }]);
  await acme.agents.setBudget({ budget: "tenant", tokens: 100_000 });
  await acme.agents.run(run);
  await app.settled();
  const { spent } = await acme.agents.budget({ budget: "tenant" });
  expect(spent.tokens).toBeGreaterThan(0);
});

test("many runs at once under one budget all come to their ends", async () => {
  const count = 40;
  const { app, acme, clock } = await started(Array.from({ length: count }, () => ({ text: "Done.", usage })));
  await acme.agents.setBudget({ budget: "tenant", tokens: 100_000_000 });
  const runs: `run_${string}`[] = [];
  for (let i = 0; i < count; i += 1) runs.push((await acme.agents.run(run)).runId);
  for (let i = 0; i < 10; i += 1) {
    await app.settled();
    await clock.advance(10_000);
  }
  const states = await Promise.all(runs.map((runId) => acme.agents.get({ runId })));
  const { spent, reserved } = await acme.agents.budget({ budget: "tenant" });
  expect({
    failed: states.filter(({ status }) => status !== "completed").length,
    spent: spent.tokens,
    reserved: reserved.tokens,
  }).toEqual({ failed: 0, spent: count * 110, reserved: 0 });
}, 60_000);

test("a run whose model call was canceled is charged what it had kept, or what it used", async () => {
  const { app, acme, clock } = await started([{ text: "Late.", usage, delayMs: 60_000 } as never]);
  await acme.agents.setBudget({ budget: "tenant", tokens: 100_000 });
  const { runId } = await acme.agents.run(run);
  for (let i = 0; i < 50; i += 1) await new Promise((resolve) => setImmediate(resolve));
  await acme.agents.cancel({ runId, reason: "no" });
  for (let i = 0; i < 5; i += 1) {
    await clock.advance(20_000);
    for (let j = 0; j < 50; j += 1) await new Promise((resolve) => setImmediate(resolve));
  }
  await app.settled();
  const { status } = await acme.agents.get({ runId });
  const { reserved } = await acme.agents.budget({ budget: "tenant" });
  expect({ status, reserved: reserved.tokens }).toEqual({ status: "canceled", reserved: 0 });
});

test("a run of an agent that the host does not have any more ends, and keeps nothing", async () => {
  const first = await started([asks(["shop_merge", { from: "bo-2" }])]);
  await first.acme.agents.setBudget({ budget: "tenant", tokens: 100_000 });
  const { runId } = await first.acme.agents.run(run);
  await first.app.settled();
  await first.app.close();
  open.splice(0);
  const other = assistant({ id: "another", tools: [] });
  const second = await started([], { store: first.store, clock: first.clock, agents: [other] });
  const [asked] = (await second.acme.approvals.list({})).items;
  await second.acme.approvals.approve({ approvalId: asked!.approvalId, hash: asked!.hash });
  for (let i = 0; i < 10; i += 1) {
    await second.app.settled();
    await first.clock.advance(60_000);
  }
  expect({
    status: (await second.acme.agents.get({ runId })).status,
    reserved: (await second.acme.agents.budget({ budget: "tenant" })).reserved.tokens,
  }).toEqual({ status: "failed", reserved: 0 });
});

test("what a tool is called with, and what is said, stands in no event, no audit trail and no log", async () => {
  const { app, acme, store } = await started([
    asks(["shop_merge", { from: "bo-SECRET" }]),
    { text: "The SECRET is out.", usage },
  ]);
  await acme.agents.run({ ...run, input: "A SECRET." });
  await app.settled();
  const [asked] = (await acme.approvals.list({})).items;
  await acme.approvals.edit({ approvalId: asked!.approvalId, hash: asked!.hash, arguments: { from: "al-SECRET" } });
  await app.settled();
  const events = await store.events("acme", { contexts: ["agents", "approvals"], limit: 200 });
  const trail = await acme.audit.list({ limit: 100 });
  expect(trail.items.length).toBeGreaterThan(0);
  expect(JSON.stringify(events)).not.toContain("SECRET");
  // The shop itself does not call its input sensitive.
  const leaks = trail.items.filter(
    (item) => JSON.stringify(item).includes("SECRET") && item.operation !== "shop.merge",
  );
  expect(leaks).toEqual([]);
});

test("a run that is canceled with one of its approvals decided leaves no message that cannot be delivered", async () => {
  const { app, acme, store, clock } = await started([
    asks(["shop_merge", { from: "bo-2" }], ["shop_merge", { from: "bo-3" }]),
  ]);
  const { runId } = await acme.agents.run(run);
  await app.settled();
  const [asked] = (await acme.approvals.list({})).items;
  await acme.approvals.approve({ approvalId: asked!.approvalId, hash: asked!.hash });
  await app.settled();
  await acme.agents.cancel({ runId, reason: "no longer" });
  for (let i = 0; i < 30; i += 1) {
    await app.settled();
    await clock.advance(60_000);
  }
  void store;
  expect((await acme.agents.get({ runId })).status).toBe("canceled");
  const states = (await acme.approvals.list({})).items.map(({ status }) => status).sort();
  expect(states).toEqual(["approved", "expired"]);
  expect((await acme.delivery.listDeadLetters({})).items).toEqual([]);
});
