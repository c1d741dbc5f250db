import { afterEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { inMemory } from "../../in-memory/index.ts";
import { defineContext } from "../../kernel/context.ts";
import { command, defineContract, query } from "../../kernel/contract.ts";
import { InvalidInput, NotFound } from "../../kernel/errors.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import { ScriptedModel } from "../../testing/scripted-model.ts";
import type { ScriptedTurn } from "../../testing/scripted-turn.ts";
import { defineAgent } from "./agent-definition.ts";
import { AgentBeyondOffer, AgentNotActive, AgentsNotOffered, NoAgentFits, TooManyAgents } from "./contract.ts";
import type { TenantAgents } from "./own-agent.ts";
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
  wipe: command({ input: z.strictObject({}), permission: "shop:write", summary: "Forgets all contacts." }),
});
const calls: string[] = [];
const shopContext = defineContext(shop, {
  handlers: {
    find: ({ name }) => [`${name}-1`],
    merge: ({ from }, ctx) => void calls.push(`${ctx.principal.actor.id} merges ${from}`),
    wipe: (_, ctx) => void calls.push(`${ctx.principal.actor.id} wipes`),
  },
});

const offer: TenantAgents = {
  models: ["default", "fast"],
  tools: [operationTool(shop, "find"), operationTool(shop, "merge")],
  limits: { steps: 3 },
};
const hosts = defineAgent({
  id: "hosts-own",
  summary: "The host's.",
  instructions: "Help.",
  capabilities: ["crm"],
  tools: [operationTool(shop, "wipe")],
});

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  calls.length = 0;
  await Promise.all(open.splice(0).map((app) => app.close()));
});

const clock = fixedClock();
async function started(
  turns: readonly ScriptedTurn[] = [],
  {
    tenantAgents = offer,
    store = inMemory({ clock }),
  }: { tenantAgents?: TenantAgents | null; store?: ReturnType<typeof inMemory> } = {},
) {
  const model = new ScriptedModel(turns, { clock });
  const fast = new ScriptedModel(["Fast."], { clock, modelId: "fast" });
  const app = await createArmature({
    ...{ store, clock, logger: recordingLogger(), contexts: [shopContext] as const, authorizer: () => true },
    ...{ agents: [hosts], models: { default: model, fast } },
    ...(tenantAgents === null ? {} : { tenantAgents }),
  });
  open.push(app);
  const of = (tenant: string) => app.as({ tenant, user: "ann" });
  return { app, store, model, fast, acme: of("acme"), globex: of("globex") };
}

const tidy = {
  summary: "Keeps contacts tidy.",
  instructions: "Be as tidy as Ann Lee.",
  tools: ["shop_find", "shop_merge"],
  capabilities: ["crm", "tidying"],
} as const;
const words = { ...tidy, tools: [...tidy.tools], capabilities: [...tidy.capabilities] };
const merges: ScriptedTurn = { toolCalls: [{ name: "shop_merge", arguments: { from: "bo" } }] };

test("a tenant's agent is a draft, works once it is active, waits when it is paused, and is retired for good", async () => {
  const { app, acme, model } = await started(["Tidy."]);
  const { agent, version } = await acme.agents.create(words);
  expect(version).toBe(1);
  expect(await acme.agents.describe({ agent })).toMatchObject({
    ...{ agent, version: 1, status: "draft", capabilities: ["crm", "tidying"] },
    tools: [
      { name: "shop_find", approval: false },
      { name: "shop_merge", approval: true },
    ],
    definition: words,
  });
  await expect(acme.agents.run({ agent, input: "Go." })).rejects.toThrow(AgentNotActive);
  await expect(acme.agents.pause({ agent })).rejects.toThrow("draft");
  await acme.agents.activate({ agent });
  const { runId } = await acme.agents.run({ agent, input: "Go." });
  await app.settled();
  expect(await acme.agents.get({ runId })).toMatchObject({ status: "completed", agent, text: "Tidy." });
  expect(model.calls[0]!.tools).toEqual(["shop_find", "shop_merge"]);
  await acme.agents.pause({ agent });
  await expect(acme.agents.run({ agent, input: "Go." })).rejects.toThrow("paused");
  await acme.agents.retire({ agent });
  await expect(acme.agents.activate({ agent })).rejects.toThrow("retired");
  await expect(acme.agents.update({ agent, ...words })).rejects.toThrow("retired");
});

test("a run keeps the version that it began with, over a wait and into another process", async () => {
  const first = await started([merges]);
  const { agent } = await first.acme.agents.create(words);
  await first.acme.agents.activate({ agent });
  const { runId } = await first.acme.agents.run({ agent, input: "Go." });
  await first.app.settled();
  const changed = { ...words, instructions: "Find only.", tools: ["shop_find"], models: ["fast"] };
  expect(await first.acme.agents.update({ agent, ...changed })).toEqual({ agent, version: 2 });
  await first.app.close();
  open.splice(0);

  const { app, acme, model, fast } = await started(["Merged."], { store: first.store });
  const [asked] = (await acme.approvals.list({ status: "pending" })).items;
  await acme.approvals.approve({ approvalId: asked!.approvalId, hash: asked!.hash });
  await app.settled();
  expect(calls).toEqual([`${agent} merges bo`]);
  expect(await acme.agents.get({ runId })).toMatchObject({ status: "completed", agentVersion: 1, text: "Merged." });
  expect(model.calls[0]!.text).toContain("as tidy as Ann Lee");
  const next = await acme.agents.run({ agent, input: "Again." });
  await app.settled();
  expect(await acme.agents.get({ runId: next.runId })).toMatchObject({ agentVersion: 2, text: "Fast." });
  expect(fast.calls[0]!.text).toContain("Find only.");
  expect(await acme.agents.describe({ agent, version: 1 })).toMatchObject({ version: 1, definition: words });
});

describe("what the host does not offer", () => {
  const beyond: readonly [string, object, string][] = [
    ["a model", { models: ["dear"] }, "models are not offered: dear"],
    ["a tool that others of the host's agents have", { tools: ["shop_wipe"] }, "tools are not offered: shop_wipe"],
    ["a limit that is higher", { limits: { steps: 4 } }, "steps above 3"],
    ["fewer approvals", { approvalFrom: "never" }, 'none before "never"'],
  ];
  test.each(beyond)("%s, is in no agent of a tenant", async (_, more, sentence) => {
    const { acme } = await started();
    const made = acme.agents.create({ ...words, ...more });
    await expect(made).rejects.toThrow(AgentBeyondOffer);
    await expect(made).rejects.toThrow(sentence);
    expect((await acme.agents.list()).map(({ agent }) => agent)).toEqual(["hosts-own"]);
  });

  test("any more, is not there for runs that are under way either", async () => {
    const first = await started([merges, "It is gone."]);
    const { agent } = await first.acme.agents.create(words);
    const { agent: quick } = await first.acme.agents.create({ ...words, models: ["fast"] });
    for (const each of [agent, quick]) await first.acme.agents.activate({ agent: each });
    const { runId } = await first.acme.agents.run({ agent, input: "Go." });
    await first.app.settled();
    await first.app.close();
    open.splice(0);
    const narrow: TenantAgents = { models: ["default"], tools: [operationTool(shop, "find")] };
    const { app, acme, model } = await started(["It is gone."], { store: first.store, tenantAgents: narrow });
    const [asked] = (await acme.approvals.list({ status: "pending" })).items;
    await acme.approvals.approve({ approvalId: asked!.approvalId, hash: asked!.hash });
    await app.settled();
    expect(calls).toEqual([]);
    expect(model.calls[0]!.tools).toEqual(["shop_find"]);
    expect(JSON.stringify(model.calls[0]!.prompt)).toContain("agent.beyond_offer");
    expect(await acme.agents.get({ runId })).toMatchObject({ status: "completed", text: "It is gone." });
    await expect(acme.agents.run({ agent: quick, input: "Go." })).rejects.toThrow("models are not offered: fast");
  });

  test("any more, keeps nobody from the tenant's other agents, and can be made good", async () => {
    const first = await started();
    const { agent: quick } = await first.acme.agents.create({ ...words, models: ["fast"] });
    const { agent: other } = await first.acme.agents.create(words);
    for (const each of [quick, other]) await first.acme.agents.activate({ agent: each });
    await first.app.close();
    open.splice(0);
    const narrow: TenantAgents = { models: ["default"], tools: [operationTool(shop, "find")] };
    const { acme } = await started(["Tidy."], { store: first.store, tenantAgents: narrow });
    const listed = await acme.agents.list();
    expect(listed.map(({ agent }) => agent)).toEqual(expect.arrayContaining(["hosts-own", quick, other]));
    expect(await acme.agents.describe({ agent: quick })).toMatchObject({ definition: { models: ["fast"] } });
    expect(await acme.agents.run({ capability: "tidying", input: "Go." })).toMatchObject({ agent: other });
    await acme.agents.setBudget({ budget: `agent.${quick}`, steps: 9 });
    await expect(acme.agents.run({ agent: quick, input: "Go." })).rejects.toThrow(AgentBeyondOffer);
    await acme.agents.update({ agent: quick, ...words, tools: ["shop_find"] });
    expect(await acme.agents.run({ agent: quick, input: "Go." })).toMatchObject({ agent: quick });
  });

  test("is nothing at all, where tenants make no agents; and no more than so many where they do", async () => {
    const none = await started([], { tenantAgents: null });
    await expect(none.acme.agents.create(words)).rejects.toThrow(AgentsNotOffered);
    const { acme } = await started([], { tenantAgents: { ...offer, perTenant: 2 } });
    const { agent } = await acme.agents.create(words);
    await acme.agents.create(words);
    await expect(acme.agents.create(words)).rejects.toThrow(TooManyAgents);
    await acme.agents.retire({ agent });
    await expect(acme.agents.create(words)).resolves.toBeDefined();
  });
});

test("nobody in another tenant sees it, runs it, or is answered by it", async () => {
  const { acme, globex } = await started();
  const { agent } = await acme.agents.create({ ...words, capabilities: ["tidying"] });
  await acme.agents.activate({ agent });
  expect((await globex.agents.list()).map((each) => each.agent)).toEqual(["hosts-own"]);
  for (const refused of [
    globex.agents.describe({ agent }),
    globex.agents.run({ agent, input: "Go." }),
    globex.agents.update({ agent, ...words }),
    globex.agents.pause({ agent }),
    globex.agents.retire({ agent }),
    globex.agents.setBudget({ budget: `agent.${agent}`, steps: 1 }),
  ])
    await expect(refused).rejects.toThrow(NotFound);
  await expect(globex.agents.run({ capability: "tidying", input: "Go." })).rejects.toThrow(NoAgentFits);
  expect(await acme.agents.describe({ agent })).toMatchObject({ status: "active" });
});

test("it is found by what it can do, after the host's, while it is active", async () => {
  const { acme } = await started();
  const { agent } = await acme.agents.create({ ...words, taskTypes: ["sorting"] });
  await expect(acme.agents.run({ taskType: "sorting", input: "Go." })).rejects.toThrow(NoAgentFits);
  await acme.agents.activate({ agent });
  expect(await acme.agents.run({ taskType: "sorting", input: "Go." })).toMatchObject({ agent });
  expect(await acme.agents.run({ capability: "crm", input: "Go." })).toMatchObject({ agent: "hosts-own" });
  await acme.agents.pause({ agent: "hosts-own" });
  expect(await acme.agents.run({ capability: "crm", input: "Go." })).toMatchObject({ agent });
  expect((await acme.agents.list({ capability: "crm" })).map((each) => [each.agent, each.status])).toEqual([
    ["hosts-own", "paused"],
    [agent, "active"],
  ]);
});

test("what it is told stands in no event and in no audit row; the host's agents are no tenant's to change", async () => {
  const { store, acme } = await started();
  const { agent } = await acme.agents.create(words);
  await acme.agents.update({ agent, ...words });
  const { items } = await store.events("acme", { contexts: ["agents"], limit: 50 });
  expect(items.map(({ type }) => type).sort()).toEqual(
    ["agent.created", "agent.updated", "agent.version_written", "agent.version_written"].sort(),
  );
  const rows = await acme.audit.list({});
  expect(rows.items.length).toBeGreaterThan(1);
  expect(JSON.stringify([items, rows])).not.toContain("Ann Lee");
  await expect(acme.agents.update({ agent: "hosts-own" as `agt_${string}`, ...words })).rejects.toThrow(InvalidInput);
  expect((await acme.agents.describe({ agent: "hosts-own" })).definition).toBeUndefined();
});
