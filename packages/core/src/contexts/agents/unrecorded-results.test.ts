import { afterEach, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { defineContext } from "../../kernel/context.ts";
import { command, defineContract, query } from "../../kernel/contract.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import { ScriptedModel } from "../../testing/scripted-model.ts";
import type { ScriptedTurn } from "../../testing/scripted-turn.ts";
import { defineAgent } from "./agent-definition.ts";
import { operationTool } from "./tool.ts";

const shop = defineContract("shop", {
  find: query({
    input: z.strictObject({ name: z.string() }),
    output: z.array(z.string()),
    permission: "shop:read",
    summary: "Finds contacts.",
  }),
  merge: command({
    input: z.strictObject({ from: z.string() }),
    permission: "shop:write",
    summary: "Merges two contacts.",
  }),
});
let finding: () => Promise<void> = async () => {};
const merged: string[] = [];
const shopContext = defineContext(shop, {
  handlers: {
    find: async ({ name }) => {
      await finding();
      return [`${name}-1`, `${name}-2`];
    },
    merge: ({ from }) => {
      merged.push(from);
    },
  },
});

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  finding = async () => {};
  merged.length = 0;
  await Promise.all(open.splice(0).map((app) => app.close()));
});

const usage = { inputTokens: 100, outputTokens: 10 };
const asks = (...calls: [string, Record<string, string>][]): ScriptedTurn => ({
  toolCalls: calls.map(([name, args], at) => ({ id: `c${at}`, name, arguments: args })),
  usage,
});

async function started(turns: readonly ScriptedTurn[]) {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const model = new ScriptedModel(turns, { clock });
  const app = await createArmature({
    ...{ store: inMemory({ clock }), clock, logger: recordingLogger(), contexts: [shopContext] as const },
    authorizer: () => true,
    agents: [
      defineAgent({
        ...{ id: "assistant", summary: "Keeps contacts tidy.", instructions: "Merge duplicates." },
        tools: [operationTool(shop, "find"), operationTool(shop, "merge")],
        approvalFrom: "never",
      }),
    ],
    models: { default: model },
    keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
  });
  open.push(app);
  return { app, clock, model, agents: app.as({ tenant: "acme", user: "ann" }).agents };
}
const turns = [asks(["shop_find", { name: "Bo" }]), asks(["shop_merge", { from: "Bo-2" }]), { text: "Done.", usage }];

test("an agent that is paused while it looks something up begins no step after it", async () => {
  const { app, agents, clock, model } = await started(turns);
  finding = async () => {
    await agents.pause({ agent: "assistant" });
    await clock.advance(5_000);
  };
  const { runId } = await agents.run({ agent: "assistant", input: "Merge the duplicates of Bo." });
  await app.settled();
  const { status, error } = await agents.get({ runId });
  expect({ status, code: error?.code, calls: model.calls.length, merged }).toEqual({
    ...{ status: "failed", code: "agent.limit_reached", calls: 1, merged: [] },
  });
});

test("a budget that is set while an agent looks something up holds for the next step", async () => {
  const { app, agents, clock, model } = await started(turns);
  finding = async () => {
    await agents.setBudget({ budget: "tenant", tokens: 10 });
    await clock.advance(5_000);
  };
  const { runId } = await agents.run({ agent: "assistant", input: "Merge the duplicates of Bo." });
  await app.settled();
  expect({ status: (await agents.get({ runId })).status, calls: model.calls.length, merged }).toEqual({
    ...{ status: "failed", calls: 1, merged: [] },
  });
});

test("what was looked up is written down when the model then fails for good", async () => {
  const { app, agents, clock } = await started([turns[0]!, { fails: { status: 400 } }]);
  const { runId, conversationId } = await agents.run({ agent: "assistant", input: "Merge the duplicates of Bo." });
  await app.settled();
  await clock.advance(60_000);
  await app.settled();
  const { items } = await agents.messages({ conversationId });
  expect({ status: (await agents.get({ runId })).status, last: items.at(-1)?.content }).toMatchObject({
    ...{ status: "failed", last: [{ type: "tool-result", outcome: "ok", value: ["Bo-1", "Bo-2"] }] },
  });
});

test("with a call beside it that takes long, what was looked up is written down before the next step", async () => {
  const both = asks(["shop_find", { name: "Bo" }], ["shop_find", { name: "Al" }]);
  const { app, agents, clock, model } = await started([both, { text: "Done.", usage }]);
  let found = 0;
  finding = async () => {
    found += 1;
    if (found === 2) await clock.advance(5_000);
  };
  const { runId, conversationId } = await agents.run({ agent: "assistant", input: "Who is there?" });
  await app.settled();
  const { items } = await agents.messages({ conversationId });
  expect(items.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
  expect({ ...(await agents.get({ runId })), calls: model.calls.length }).toMatchObject({
    status: "completed",
    calls: 2,
  });
});
