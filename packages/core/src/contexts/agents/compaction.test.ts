import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { defineContext } from "../../kernel/context.ts";
import { command, defineContract, query } from "../../kernel/contract.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import { ScriptedModel } from "../../testing/scripted-model.ts";
import type { ScriptedCall, ScriptedTurn } from "../../testing/scripted-turn.ts";
import { defineAgent } from "./agent-definition.ts";
import { onlyAfterUntrusted, pseudonymized } from "./guardrail.ts";
import { operationTool } from "./tool.ts";

const shop = defineContract("shop", {
  find: query({
    input: z.strictObject({ name: z.string() }),
    output: z.string(),
    permission: "shop:read",
    summary: "Finds contacts.",
  }),
  merge: command({ input: z.strictObject({}), permission: "shop:write", summary: "Merges two contacts." }),
});
const shopContext = defineContext(shop, { handlers: { find: ({ name }) => name.repeat(600), merge: () => {} } });

const clock = fixedClock();
const open: { close(): Promise<void> }[] = [];
afterEach(() => Promise.all(open.splice(0).map((app) => app.close())));

const usage = { inputTokens: 100, outputTokens: 10 };
const finds: ScriptedTurn = { toolCalls: [{ name: "shop_find", arguments: { name: "bo" } }], usage };
const long = "Tell me about bo@shop.example. ".repeat(60);
const SUMMARISE = "Summarise the conversation";

async function started(
  answer: (asked: {
    readonly prompt: ScriptedCall["prompt"];
    readonly text: string;
    readonly tools: readonly string[];
    readonly summary: boolean;
  }) => ScriptedTurn,
  more: Partial<Parameters<typeof defineAgent>[0]> = {},
  store = inMemory({ clock }),
) {
  const turn: ScriptedTurn = (call) => {
    const next = answer({ ...call, summary: call.text.includes(SUMMARISE) });
    return typeof next === "function" ? next(call) : next;
  };
  const model = new ScriptedModel(
    Array.from({ length: 100 }, () => turn),
    { clock },
  );
  const agent = defineAgent({
    ...{ id: "clerk", summary: "Talks.", instructions: "Talk.", limits: { contextTokens: 2_000, outputTokens: 100 } },
    tools: [operationTool(shop, "find"), operationTool(shop, "merge")],
    ...more,
  });
  const app = await createArmature({
    ...{ store, clock, logger: recordingLogger(), authorizer: () => true, contexts: [shopContext] as const },
    ...{ agents: [agent], models: { default: model } },
  });
  open.push(app);
  const { agents, approvals } = app.as({ tenant: "acme", user: "ann" });
  const talk = async (input: string, conversationId?: `cnv_${string}`) => {
    await clock.advance(1_000);
    const begun = await agents.run({ agent: "clerk", input, conversationId });
    await app.settled();
    return { ...begun, ...(await agents.get({ runId: begun.runId })) };
  };
  const prompts = () => model.calls.filter(({ text }) => !text.includes(SUMMARISE));
  return { app, store, agents, approvals, model, talk, prompts };
}

test("older messages have a summary in their place, and stay as they are; a restart reads the same", async () => {
  const first = await started(({ summary }) => ({ text: summary ? "Bo was asked about." : "Well.", usage }));
  let { conversationId } = await first.talk(`1 ${long}`);
  for (const n of [2, 3, 4, 5]) ({ conversationId } = await first.talk(`${n} ${long}`, conversationId));
  const before = first.prompts().at(-1)!.text;
  expect(before).toContain("Bo was asked about.");
  expect(before).toContain(`5 ${long}`);
  expect(before).not.toContain(`1 ${long}`);
  const { items } = await first.agents.messages({ conversationId, limit: 50 });
  expect(items.map(({ role }) => role)).toEqual(Array.from({ length: 5 }, () => ["user", "assistant"]).flat());
  expect(JSON.stringify(items[0])).toContain(`1 ${long}`);
  const events = await first.store.events("acme", { contexts: ["agents"], limit: 200 });
  const summarised = events.items.filter(({ type }) => type === "conversation.summarized");
  expect(summarised.length).toBeGreaterThan(0);
  expect(JSON.stringify(events.items)).not.toContain("Bo was asked about.");
  await first.app.close();
  open.splice(0);
  const second = await started(({ summary }) => ({ text: summary ? "A new one." : "Well.", usage }), {}, first.store);
  await second.talk("And?", conversationId);
  const after = second.prompts().at(-1)!.text;
  expect(after).toContain(second.model.calls.length === 1 ? "Bo was asked about." : "A new one.");
  expect(after).not.toContain(`1 ${long}`);
});

test("no call is parted from its result, and the last round is always there", async () => {
  let step = 0;
  const { talk, prompts } = await started(({ summary }) => {
    if (summary) return { text: "Found some.", usage };
    step += 1;
    return step < 8 ? finds : { text: "Done.", usage };
  });
  expect(await talk("Find.")).toMatchObject({ status: "completed", text: "Done." });
  expect(prompts().some(({ text }) => text.includes("Found some."))).toBe(true);
  for (const { prompt } of prompts()) {
    const parts = prompt.flatMap(({ content }) => (Array.isArray(content) ? content : [])) as {
      readonly type: string;
      readonly toolCallId: string;
    }[];
    const ids = (type: string) => parts.filter((part) => part.type === type).map(({ toolCallId }) => toolCallId);
    expect(ids("tool-result")).toEqual(ids("tool-call"));
  }
  expect(prompts().at(-1)!.text).toContain("bobo");
});

test("a summary counts against the budget as a step does; one that fails leaves the messages out, and says so", async () => {
  const works = await started(({ summary }) => ({ text: summary ? "Short." : "Well.", usage }));
  await works.agents.setBudget({ budget: "tenant", steps: 100 });
  let { conversationId } = await works.talk(long);
  for (const _ of [2, 3, 4]) await works.talk(long, conversationId);
  const { spent, reserved } = await works.agents.budget({ budget: "tenant" });
  expect(works.model.calls.length).toBeGreaterThan(4);
  expect(spent).toEqual({ steps: works.model.calls.length, tokens: 110 * works.model.calls.length, nanos: 0 });
  expect(reserved).toEqual({ steps: 0, tokens: 0, nanos: 0 });

  const fails = await started(({ summary }) =>
    summary ? { fails: { status: 400, code: "context_length_exceeded" } } : { text: "Well.", usage },
  );
  ({ conversationId } = await fails.talk(long));
  for (const _ of [2, 3, 4])
    expect(await fails.talk(long, conversationId)).toMatchObject({ status: "completed", text: "Well." });
  expect(fails.prompts().at(-1)!.text).toMatch(/\d earlier messages are left out here/);
});

test("a run that waits is not summarised over: it goes on with all that it has said", async () => {
  const { talk, app, agents, approvals, prompts } = await started(({ summary, text, prompt }) => {
    if (summary) return { text: "Short.", usage };
    if (!text.includes("bo@shop") && prompt.every(({ role }) => role !== "tool"))
      return { toolCalls: [{ name: "shop_merge" }], usage };
    return { text: "Well.", usage };
  });
  const { runId, conversationId } = await talk("Merge.");
  expect(await agents.get({ runId })).toMatchObject({ status: "suspended" });
  const others = [];
  for (const n of [1, 2, 3, 4]) others.push(await talk(`${n} ${long}`, conversationId));
  const [asked] = (await approvals.list({ status: "pending" })).items;
  await approvals.approve({ approvalId: asked!.approvalId, hash: asked!.hash });
  await app.settled();
  expect((await agents.get({ runId })).status).toBe("completed");
  const roles = prompts()
    .at(-1)!
    .prompt.map(({ role }) => role);
  expect(roles.slice(0, 4)).toEqual(["system", "user", "assistant", "tool"]);
});

test("what guardrails know of the older messages they know of their summary", async () => {
  const { talk, model, agents, prompts } = await started(
    ({ summary, text }) => {
      if (summary) return { text: "It is about [email-1].", usage };
      return text.includes("Find.") && !text.includes("bobo") ? finds : { text: "Well.", usage };
    },
    {
      guardrails: [pseudonymized(), onlyAfterUntrusted({ untrusted: ["shop_find"], allowed: ["shop_find"] })],
    },
  );
  const { conversationId } = await talk("Find.");
  for (const _ of [1, 2, 3, 4]) await talk(long, conversationId);
  const last = prompts().at(-1)!;
  expect(last.text).toContain("It is about [email-1].");
  expect(last.text).not.toContain("bobo");
  expect(last.tools).toEqual(["shop_find"]);
  expect(JSON.stringify(model.calls.map(({ prompt }) => prompt))).not.toContain("bo@shop");
  expect((await agents.messages({ conversationId })).items.length).toBe(12);
});
