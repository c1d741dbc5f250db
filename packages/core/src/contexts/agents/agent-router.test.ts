import { afterEach, describe, expect, test } from "vitest";
import { inMemory } from "../../in-memory/index.ts";
import { createArmature } from "../../runtime/create-armature.ts";
import { fixedClock } from "../../testing/fixed-clock.ts";
import { recordingLogger } from "../../testing/recording-logger.ts";
import { ScriptedModel } from "../../testing/scripted-model.ts";
import type { ScriptedTurn } from "../../testing/scripted-turn.ts";
import { defineAgent } from "./agent-definition.ts";
import { AgentLimitReached, NoAgentFits } from "./contract.ts";

const agent = (id: string, more: Partial<Parameters<typeof defineAgent>[0]> = {}) =>
  defineAgent({ id, summary: `Is ${id}.`, instructions: `You are ${id}.`, ...more });
const agents = [
  agent("invoices", { capabilities: ["finance", "mail"], taskTypes: ["extraction"] }),
  agent("payments", { capabilities: ["finance"], taskTypes: ["classification", "scoring"] }),
  agent("talk", { taskTypes: ["chat", "recommendation"] }),
  agent("looker", { taskTypes: ["vision-grading"] }),
];
const agentRouter = agent("router", { models: ["small"], capabilities: ["finance"] });
const usage = { inputTokens: 100, outputTokens: 10 };

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((app) => app.close()));
});

async function started(routes: readonly ScriptedTurn[], more: { router?: typeof agentRouter | undefined } = {}) {
  const clock = fixedClock("2026-01-01T00:00:00.000Z");
  const small = new ScriptedModel(routes, { clock });
  const model = new ScriptedModel(
    Array.from({ length: 50 }, () => ({ prompt }: { readonly prompt: readonly { readonly content: unknown }[] }) => ({
      text: `Heard by ${String(prompt[0]!.content)}`,
      usage,
    })),
    { clock },
  );
  const router = "router" in more ? more.router : agentRouter;
  const app = await createArmature({
    ...{ store: inMemory({ clock }), clock, logger: recordingLogger(), agents, authorizer: () => true },
    ...(router === undefined ? {} : { agentRouter: router }),
    models: { default: model, small },
    keyEncryptionKey: Buffer.alloc(32, 1).toString("base64"),
  });
  open.push(app);
  const acme = app.as({ tenant: "acme", user: "ann" });
  const answered = async (asked: Omit<Parameters<typeof acme.agents.run>[0], "input">) => {
    const { runId } = await acme.agents.run({ ...asked, input: "Please." });
    await app.settled();
    return (await acme.agents.get({ runId })).text;
  };
  return { app, acme, small, model, answered };
}

describe("where rules decide no model is asked", () => {
  test.each([
    ["recommendation", "talk"],
    ["classification", "payments"],
    ["scoring", "payments"],
    ["extraction", "invoices"],
    ["vision-grading", "looker"],
    ["chat", "talk"],
  ])("a task of the type %s goes to %s", async (taskType, id) => {
    const { answered, small } = await started([]);
    expect(await answered({ taskType })).toBe(`Heard by You are ${id}.`);
    expect(small.calls).toEqual([]);
  });

  test("by an agent's id, by a capability that one has, by both, and where the others are paused", async () => {
    const { answered, acme, small } = await started([]);
    expect(await answered({ agent: "payments" })).toContain("payments");
    expect(await answered({ capability: "mail" })).toContain("invoices");
    expect(await answered({ capability: "finance", taskType: "scoring" })).toContain("payments");
    await acme.agents.pause({ agent: "invoices" });
    expect(await answered({ capability: "finance" })).toContain("payments");
    expect(small.calls).toEqual([]);
    await expect(acme.agents.run({ capability: "cooking", input: "x" })).rejects.toThrow(NoAgentFits);
  });

  test("without a router the first that fits answers, and who says nothing is refused", async () => {
    const { answered, acme } = await started([], { router: undefined });
    expect(await answered({ capability: "finance" })).toContain("invoices");
    await expect(acme.agents.run({ input: "x" })).rejects.toThrow(NoAgentFits);
  });
});

describe("where several fit", () => {
  test("the router is asked in the run, and who it names answers in the conversation from there on", async () => {
    const { app, acme, small, model } = await started([{ text: '{"agent":"payments"}', usage }]);
    await acme.agents.setBudget({ budget: "agent.router", steps: 10 });
    const begun = await acme.agents.run({ capability: "finance", input: "Was it paid?" });
    expect(begun.agent).toBe("router");
    expect(small.calls).toEqual([]);
    await app.settled();
    expect(await acme.agents.get({ runId: begun.runId })).toMatchObject({
      ...{ status: "completed", text: "Heard by You are payments.", agent: "router", usage: { steps: 1 } },
    });
    const [answering] = (await acme.agents.listRuns({ parent: begun.runId })).items;
    expect(answering).toMatchObject({ agent: "payments", conversationId: begun.conversationId });
    const asked = JSON.stringify(small.calls[0]!.prompt);
    expect(asked).toContain("- invoices: Is invoices. (finance, mail, extraction)");
    expect(asked).not.toContain("- talk:");
    expect(asked).toContain("Was it paid?");
    const { items } = await acme.agents.messages({ conversationId: begun.conversationId });
    expect(items.map(({ role }) => role)).toEqual(["user", "assistant"]);
    expect((await acme.agents.budget({ budget: "agent.router" })).spent.steps).toBe(2);
    const next = await acme.agents.run({ input: "Thanks.", conversationId: begun.conversationId });
    expect(next.agent).toBe("payments");
    await app.settled();
    expect(model.calls).toHaveLength(2);
    small.assertComplete();
    expect((await acme.agents.list({})).map(({ agent: id }) => id)).not.toContain("router");
  });

  test("all that are active may be meant by who says nothing", async () => {
    const { answered, acme, small } = await started([{ text: '{"agent":"looker"}', usage }]);
    await acme.agents.pause({ agent: "talk" });
    expect(await answered({})).toBe("Heard by You are looker.");
    expect(JSON.stringify(small.calls[0]!.prompt)).not.toContain("- talk:");
  });

  test.each([
    [
      "names none of them, twice",
      [
        { text: '{"agent":"talk"}', usage },
        { text: "payments, I think", usage },
      ],
      2,
    ],
    ["is not there", [{ fails: { status: 400 } }], 0],
  ] as [string, ScriptedTurn[], number][])("a router that %s leaves it to the first", async (_, turns, steps) => {
    const { answered, acme, app } = await started(turns);
    await acme.agents.setBudget({ budget: "tenant", tokens: 100_000 });
    expect(await answered({ capability: "finance" })).toBe("Heard by You are invoices.");
    await app.settled();
    const { spent, reserved } = await acme.agents.budget({ budget: "tenant" });
    expect([spent.tokens, reserved.tokens]).toEqual([110 * (steps + 1), 0]);
  });

  test("a paused router is not asked, and one without budget ends the run before it begins", async () => {
    const { answered, acme, small } = await started([]);
    await acme.agents.setBudget({ budget: "agent.router", steps: 0 });
    await expect(acme.agents.run({ capability: "finance", input: "x" })).rejects.toThrow(AgentLimitReached);
    await acme.agents.pause({ agent: "router" });
    expect(await answered({ capability: "finance" })).toContain("invoices");
    expect(small.calls).toEqual([]);
  });

  test("asked for again with the same id nothing is asked twice, whatever has changed in between", async () => {
    const { app, acme, small } = await started([{ text: '{"agent":"payments"}', usage }]);
    const asked = { capability: "finance", input: "x", runId: "run_mine" } as const;
    const first = await acme.agents.run(asked);
    await app.settled();
    await acme.agents.pause({ agent: "payments" });
    expect(await acme.agents.run(asked)).toEqual(first);
    await app.settled();
    small.assertComplete();
    expect((await acme.agents.listRuns({})).items).toHaveLength(2);
  });
});
