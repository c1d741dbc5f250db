import { afterEach, describe, expect, test } from "vitest";
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
import {
  AgentLimitReached,
  AgentNotActive,
  AgentRunRequestedOtherwise,
  NoAgentFits,
  NobodyToActFor,
} from "./contract.ts";
import { onlyAfterUntrusted, pseudonymized } from "./guardrail.ts";
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

test("a run reads with its tools, as the agent on behalf of its user, and answers", async () => {
  const { app, acme, model, events } = await started([
    asks(["shop_find", { name: "bo" }]),
    { text: "There are two.", usage },
  ]);
  const { runId, conversationId } = await acme.agents.run(run);
  await app.settled();
  expect(await acme.agents.get({ runId })).toMatchObject({
    status: "completed",
    text: "There are two.",
    usage: {
      steps: 2,
      toolCalls: 1,
      inputTokens: 200,
      outputTokens: 20,
      nanos: 400_000,
      currency: "EUR",
      stepsWithoutCost: 0,
    },
  });
  expect(seen).toEqual([
    { tenant: "acme", actor: { type: "agent", id: "sales-assistant" }, onBehalfOf: { type: "user", id: "ann" } },
  ]);
  const { items } = await acme.agents.messages({ conversationId });
  expect(items.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
  expect(items[2]!.content).toEqual([
    { type: "tool-result", callId: "c0-shop_find", name: "shop_find", outcome: "ok", value: ["bo-1", "bo-2"] },
  ]);
  expect(await events()).toEqual([
    ...[
      "conversation.started",
      "agent.run_started",
      "agent.step_taken",
      "agent.tools_run",
      "agent.step_taken",
      "agent.executed",
    ],
  ]);
  model.assertComplete();
});

describe("what needs a person", () => {
  const merging = () => [
    asks(["shop_merge", { from: "bo-2" }], ["shop_merge", { from: "bo-3" }]),
    { text: "Done.", usage } satisfies ScriptedTurn,
  ];

  test("two gated calls of one step: one is approved and runs once, the other rejected and never", async () => {
    const { app, acme, merged, events, model } = await started(merging());
    const { runId } = await acme.agents.run(run);
    await app.settled();
    const waiting = await acme.agents.get({ runId });
    expect(waiting).toMatchObject({ status: "suspended" });
    expect(await merged()).toEqual([]);
    const list = await acme.approvals.list({ decidable: true });
    const details = await Promise.all(list.items.map(({ approvalId }) => acme.approvals.get({ approvalId })));
    const of = (from: string) => details.find((each) => each.arguments["from"] === from)!;
    const yes = of("bo-2");
    await Promise.all([
      ...Array.from({ length: 20 }, () => acme.approvals.approve({ approvalId: yes.approvalId, hash: yes.hash })),
      acme.approvals.reject({ approvalId: of("bo-3").approvalId, reason: "another person" }),
    ]);
    await app.settled();
    expect(await merged()).toEqual(["bo-2"]);
    expect(await acme.agents.get({ runId })).toMatchObject({ status: "completed", text: "Done.", approvals: [] });
    expect(JSON.stringify(model.calls[1]!.prompt)).toContain("A person has rejected this call: another person");
    expect((await events()).filter((type) => type === "agent.run_suspended")).toHaveLength(1);
  });

  test("an approver's edit is what runs", async () => {
    const { app, acme, merged } = await started([asks(["shop_merge", { from: "bo-2" }]), { text: "Done.", usage }]);
    await acme.agents.run(run);
    await app.settled();
    const [asked] = (await acme.approvals.list({})).items;
    await acme.approvals.edit({ approvalId: asked!.approvalId, hash: asked!.hash, arguments: { from: "bo-7" } });
    await app.settled();
    expect(await merged()).toEqual(["bo-7"]);
  });

  test("another process goes on where one stopped, with a message in between, and asks for nothing twice", async () => {
    const clock = fixedClock("2026-01-01T00:00:00.000Z");
    const store = inMemory({ clock });
    const first = await started([asks(["shop_merge", { from: "bo-2" }]), { text: "Something else.", usage }], {
      store,
      clock,
    });
    const { runId, conversationId } = await first.acme.agents.run(run);
    await first.app.settled();
    const other = await first.acme.agents.run({ ...run, input: "And Al?", conversationId });
    await first.app.settled();
    expect(await first.acme.agents.get({ runId: other.runId })).toMatchObject({ status: "completed" });
    // The call that waits has no result, and no model is asked with it.
    expect(JSON.stringify(first.model.calls[1]!.prompt)).not.toContain("shop_merge");
    await first.app.close();
    open.splice(0);
    const second = await started([{ text: "Merged.", usage }], { store, clock });
    const [asked] = (await second.acme.approvals.list({ status: "pending" })).items;
    await second.acme.approvals.approve({ approvalId: asked!.approvalId, hash: asked!.hash });
    await second.app.settled();
    expect(await second.merged()).toEqual(["bo-2"]);
    expect(await second.acme.agents.get({ runId })).toMatchObject({ status: "completed", text: "Merged." });
    second.model.assertComplete();
  });

  test("a run that is canceled while it waits runs nothing, and leaves a conversation that can go on", async () => {
    const { app, acme, merged } = await started([asks(["shop_merge", { from: "bo-2" }]), { text: "Hello.", usage }]);
    const { runId, conversationId } = await acme.agents.run(run);
    await app.settled();
    await acme.agents.cancel({ runId, reason: "not now" });
    await app.settled();
    expect(await acme.agents.get({ runId })).toMatchObject({ status: "canceled", approvals: [] });
    const [asked] = (await acme.approvals.list({})).items;
    expect(asked).toMatchObject({ status: "expired" });
    const next = await acme.agents.run({ ...run, input: "Hi", conversationId });
    await app.settled();
    expect(await acme.agents.get({ runId: next.runId })).toMatchObject({ status: "completed", text: "Hello." });
    expect(await merged()).toEqual([]);
  });

  test("approved after the user has lost the permission, it is refused", async () => {
    const may = { write: true };
    const { app, acme, merged, model } = await started(
      [asks(["shop_merge", { from: "bo-2" }]), { text: "It was refused.", usage }],
      {
        authorizer: ({ actor }, permission) =>
          actor.type === "system" || permission !== "shop:write" || may.write || actor.id === "boss",
      },
    );
    await acme.agents.run(run);
    await app.settled();
    may.write = false;
    const [asked] = (await acme.approvals.list({})).items;
    await app
      .as({ tenant: "acme", user: "boss" })
      .approvals.approve({ approvalId: asked!.approvalId, hash: asked!.hash });
    await app.settled();
    expect(await merged()).toEqual([]);
    expect(JSON.stringify(model.calls[1]!.prompt)).toContain("forbidden");
  });
});

describe("limits and budgets", () => {
  const forever = Array.from({ length: 20 }, () => asks(["shop_find", { name: "bo" }]));

  test("a run ends at its own limit of steps", async () => {
    const { app, acme } = await started(forever, { agents: [assistant({ limits: { steps: 3 } })] });
    const { runId } = await acme.agents.run(run);
    await app.settled();
    expect(await acme.agents.get({ runId })).toMatchObject({
      status: "failed",
      error: { code: "agent.limit_reached" },
      usage: { steps: 3 },
    });
  });

  test("of many runs at once none goes beyond the budget, by a single step", async () => {
    const turns = Array.from({ length: 200 }, () => asks(["shop_find", { name: "bo" }]));
    const { app, acme, events } = await started(turns);
    await acme.agents.setBudget({ budget: "tenant", steps: 25 });
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => acme.agents.run(run)));
    await app.settled({ timeoutMs: 60_000 });
    expect(outcomes.every(({ status }) => status === "fulfilled")).toBe(true);
    expect(await acme.agents.budget({ budget: "tenant" })).toEqual({
      limits: { steps: 25 },
      spent: { tokens: 25 * 110, nanos: 25 * 200_000, steps: 25 },
      reserved: { tokens: 0, nanos: 0, steps: 0 },
    });
    expect(await events()).toContain("agent.budget_exhausted");
    await expect(acme.agents.run(run)).rejects.toThrow(AgentLimitReached);
  });

  test("a cost that cannot be known is not spent where cost is bounded", async () => {
    const { acme } = await started(forever, { prices: false });
    await acme.agents.setBudget({ budget: "agent.sales-assistant", nanos: 1_000_000 });
    await expect(acme.agents.run(run)).rejects.toThrow("the price of a model");
  });
});

test("a model that obeys everything it reads cannot go beyond its user, its tools or its tenant", async () => {
  const { app, acme, model, merged } = await started(
    [
      asks(
        ["shop_merge", { from: "bo" }],
        ["identity_createUser", { id: "evil" }],
        ["shop_find", { name: "x", tenant: "other" }],
      ),
      { toolCalls: [{ id: "c9", name: "shop_find", arguments: "{broken" }], usage },
      { text: "I tried.", usage },
    ],
    {
      agents: [assistant({ approvalFrom: "never" })],
      authorizer: ({ actor }, permission) => actor.type === "system" || permission !== "shop:write",
    },
  );
  const { runId } = await acme.agents.run(run);
  await app.settled();
  expect(await acme.agents.get({ runId })).toMatchObject({ status: "completed", text: "I tried." });
  const results = JSON.stringify(model.calls[1]!.prompt);
  expect(results).toContain("shop:write");
  expect(results).toContain('There is no tool \\"identity_createUser\\"');
  expect(results).toContain("tenant is not a known field");
  expect(await merged()).toEqual([]);
});

test("an agent is found by what it can do; one that is paused or retired begins nothing", async () => {
  const other = assistant({ id: "classifier", capabilities: ["sorting"], taskTypes: ["classification"] });
  const { app, acme } = await started(
    [
      { text: "a", usage },
      { text: "b", usage },
    ],
    { agents: [assistant(), other] },
  );
  expect(await acme.agents.run({ taskType: "classification", input: "x" })).toMatchObject({ agent: "classifier" });
  expect(await acme.agents.run({ capability: "crm", input: "x" })).toMatchObject({ agent: "sales-assistant" });
  await app.settled();
  await acme.agents.pause({ agent: "classifier" });
  expect((await acme.agents.list({ capability: "sorting" })).map(({ status }) => status)).toEqual(["paused"]);
  await expect(acme.agents.run({ taskType: "classification", input: "x" })).rejects.toThrow(NoAgentFits);
  await expect(acme.agents.run({ agent: "classifier", input: "x" })).rejects.toThrow(AgentNotActive);
  await acme.agents.activate({ agent: "classifier" });
  await acme.agents.retire({ agent: "classifier" });
  await expect(acme.agents.activate({ agent: "classifier" })).rejects.toThrow("retired");
  await expect(app.as({ tenant: "acme", system: "cron" }).agents.run(run)).rejects.toThrow(NobodyToActFor);
});

test("started twice with an id it runs once; with another input it is refused", async () => {
  const { app, acme, model } = await started([{ text: "Once.", usage }]);
  const named = { ...run, runId: "run_mine" } as const;
  await Promise.all([acme.agents.run(named), acme.agents.run(named)]);
  await app.settled();
  await expect(acme.agents.run({ ...named, input: "Else" })).rejects.toThrow(AgentRunRequestedOtherwise);
  model.assertComplete();
});

test("runs are listed, the newest first, by agent, state and conversation", async () => {
  const { app, acme, clock } = await started([
    asks(["shop_merge", { from: "bo-2" }]),
    { text: "First.", usage },
    { text: "Second.", usage },
  ]);
  const waiting = await acme.agents.run(run);
  await app.settled();
  const done: { runId: string; conversationId: `cnv_${string}` }[] = [];
  for (const conversationId of [undefined, waiting.conversationId]) {
    await clock.advance(1_000);
    done.push(await acme.agents.run({ ...run, conversationId }));
    await app.settled();
  }
  const listed = async (query: Parameters<typeof acme.agents.listRuns>[0]) =>
    (await acme.agents.listRuns(query)).items.map(({ runId }) => runId);
  const [first, second] = done.map(({ runId }) => runId);
  expect(await listed({})).toEqual([second, first, waiting.runId]);
  expect(await listed({ status: "suspended" })).toEqual([waiting.runId]);
  expect(await listed({ agent: "sales-assistant", status: "completed" })).toEqual([second, first]);
  expect(await listed({ conversationId: waiting.conversationId })).toEqual([second, waiting.runId]);
  expect(await listed({ agent: "another" })).toEqual([]);
  expect((await acme.agents.listRuns({ status: "suspended" })).items[0]!.approvals).toHaveLength(1);
});

test("an answer has the shape that the agent declares, after one repair", async () => {
  const output = z.strictObject({ score: z.int() });
  const { app, acme, model } = await started(
    [
      { text: "about seven", usage },
      { text: '{"score": 7}', usage },
    ],
    {
      agents: [assistant({ output, tools: [] })],
    },
  );
  const { runId } = await acme.agents.run(run);
  await app.settled();
  expect(await acme.agents.get({ runId })).toMatchObject({
    status: "completed",
    output: { score: 7 },
    usage: { inputTokens: 200 },
  });
  model.assertComplete();
});

test("a run is followed from its first message to its end, and from a cursor on", async () => {
  const { app, acme } = await started([asks(["shop_find", { name: "bo" }]), { text: "Two.", usage }]);
  const { runId } = await acme.agents.run(run);
  await app.settled();
  const all = [];
  for await (const each of acme.agents.follow({ runId })) all.push(each);
  expect(all.map(({ item }) => (item.type === "message" ? item.message.role : item.type))).toEqual([
    ...["user", "assistant", "tool", "assistant", "status"],
  ]);
  const rest = [];
  for await (const each of acme.agents.follow({ runId }, { after: all[2]!.cursor })) rest.push(each.item.type);
  expect(rest).toEqual(["message", "status"]);
});

test("a model reads names in place of addresses, and what it is not offered is refused", async () => {
  const { app, acme, model, merged } = await started(
    [
      asks(["shop_find", { name: "[email-1]" }]),
      asks(["shop_merge", { from: "bo" }]),
      { text: "It is about [email-1].", usage },
    ],
    {
      agents: [
        assistant({
          approvalFrom: "never",
          guardrails: [pseudonymized(), onlyAfterUntrusted({ untrusted: ["shop_find"], allowed: ["shop_find"] })],
        }),
      ],
    },
  );
  const { runId, conversationId } = await acme.agents.run({ ...run, input: "Look for bo@shop.example." });
  await app.settled();
  expect(JSON.stringify(model.calls.map(({ prompt }) => prompt))).not.toContain("@shop");
  expect(model.calls.map(({ tools: offered }) => offered)).toEqual([
    ["shop_find", "shop_merge"],
    ["shop_find"],
    ["shop_find"],
  ]);
  expect(await merged()).toEqual([]);
  expect(await acme.agents.get({ runId })).toMatchObject({ status: "completed", text: "It is about bo@shop.example." });
  const { items } = await acme.agents.messages({ conversationId });
  expect(JSON.stringify(items[1]!.content)).toContain('"arguments":{"name":"bo@shop.example"}');
});
