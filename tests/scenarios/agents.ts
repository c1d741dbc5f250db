import { type AgentRunView, defineAgent, type LanguageModel, NotFound, operationTool } from "@armature/core";
import { ScriptedModel, type ScriptedTurn } from "@armature/core/testing";
import { describe, expect, test, vi } from "vitest";
import { benchOn, gate, type LabApp } from "./bench.ts";
import { lab } from "./lab.ts";
import type { PlaceKind } from "./place.ts";

export const usage = { inputTokens: 100, outputTokens: 10 };
const counting = defineAgent({
  id: "counting",
  summary: "Counts.",
  instructions: "Count.",
  tools: [operationTool(lab, "add"), operationTool(lab, "look")],
});

/** Says what fits where the conversation stands: which process asks is of no matter. */
export function byPlace(turns: readonly ScriptedTurn[]): LanguageModel {
  const turn: ScriptedTurn = (call) => {
    const said = call.prompt.filter(({ role }: { readonly role: string }) => role === "assistant").length;
    const next = turns[said]!;
    return typeof next === "function" ? next(call) : next;
  };
  return new ScriptedModel(Array.from({ length: 1_000 }, () => turn));
}

export const asks = (...calls: [string, Record<string, string | number>][]): ScriptedTurn => ({
  toolCalls: calls.map(([name, args], at) => ({ id: `call-${at}`, name, arguments: args })),
  usage,
});

/** The run once it has ended. */
export async function ended(app: LabApp, tenant: string, runId: `run_${string}`): Promise<AgentRunView> {
  const { agents } = app.as({ tenant, user: "ann" });
  for await (const { item } of agents.follow({ runId }, { timeoutMs: 60_000 }))
    if (item.type === "status" && item.run.endedAt !== undefined) return item.run;
  throw new Error("The run was not followed to its end.");
}

/** The run once it waits for so many approvals. */
export async function suspended(
  app: LabApp,
  tenant: string,
  runId: `run_${string}`,
  approvals = 1,
): Promise<AgentRunView> {
  const { agents } = app.as({ tenant, user: "ann" });
  for await (const { item } of agents.follow({ runId }, { timeoutMs: 60_000 }))
    if (item.type === "status" && item.run.status === "suspended" && item.run.approvals.length >= approvals)
      return item.run;
  const { status, error } = await agents.get({ runId });
  throw new Error(`The run is ${status}, and has not waited for anybody: ${error?.message}`);
}

/** Runs of agents go on wherever somebody works on them, and do what they may once. */
export function agentScenarios(kind: PlaceKind): void {
  describe(`agents, ${kind.name}`, () => {
    const bench = benchOn(kind);
    const start = (turns: readonly ScriptedTurn[], more: Parameters<typeof bench.start>[0] = {}) =>
      bench.start({
        agents: [counting],
        models: { default: byPlace(turns) },
        executions: { pollMs: 100 },
        relay: { pollMs: 50 },
        ...more,
      });
    test("an approval that is given 200 times through two processes runs its call once; a rejected one never", async () => {
      const tenant = bench.tenant();
      const turns = [
        asks(["lab_add", { counterId: "yes", by: 3 }], ["lab_add", { counterId: "no", by: 5 }]),
        { text: "Done.", usage },
      ];
      const apps = [await start(turns), await start(turns)] as const;
      const [one] = apps;
      const { agents, approvals, lab: counters } = one.as({ tenant, user: "ann" });
      const { runId } = await agents.run({ agent: "counting", input: "Count." });
      const run = await suspended(one, tenant, runId);
      const asked = await Promise.all(run.approvals.map((approvalId) => approvals.get({ approvalId })));
      const of = (counterId: string) => asked.find((each) => each.arguments["counterId"] === counterId)!;
      await approvals.reject({ approvalId: of("no").approvalId, reason: "No." });
      const { approvalId, hash } = of("yes");
      await Promise.all(
        Array.from({ length: 200 }, (_, n) =>
          apps[n % 2]!.as({ tenant, user: `user-${n}` }).approvals.approve({ approvalId, hash }),
        ),
      );
      expect(await ended(one, tenant, runId)).toMatchObject({ status: "completed", text: "Done." });
      expect(await counters.look({ counterId: "yes" })).toEqual({ value: 3 });
      await expect(counters.look({ counterId: "no" })).rejects.toThrow(NotFound);
      const history = await one
        .as({ tenant, user: "ops" })
        .audit.events({ aggregateType: "counter", aggregateId: "yes", limit: 10 });
      expect(history.items).toHaveLength(1);
    });

    test("many runs in two processes keep to one budget, and each message is there once", async () => {
      const tenant = bench.tenant();
      const look = asks(["lab_look", { counterId: "a" }]);
      const turns = Array.from({ length: 30 }, () => look);
      const apps = [await start(turns), await start(turns)] as const;
      const { agents } = apps[0].as({ tenant, user: "ann" });
      await agents.setBudget({ budget: "tenant", steps: 30 });
      const begun = await Promise.all(
        Array.from({ length: 12 }, (_, n) =>
          apps[n % 2]!.as({ tenant, user: "ann" }).agents.run({ agent: "counting", input: `${n}` }),
        ),
      );
      const runs = await Promise.all(begun.map(({ runId }) => ended(apps[0], tenant, runId)));
      expect(runs.map(({ status }) => status)).toEqual(runs.map(() => "failed"));
      expect(await agents.budget({ budget: "tenant" })).toEqual({
        limits: { steps: 30 },
        spent: { tokens: 30 * 110, nanos: 0, steps: 30 },
        reserved: { tokens: 0, nanos: 0, steps: 0 },
      });
      for (const { conversationId, usage: used } of runs) {
        const { items } = await agents.messages({ conversationId, limit: 200 });
        expect(items.map(({ role }) => role)).toEqual([
          "user",
          ...Array.from({ length: used.steps }, () => ["assistant", "tool"]).flat(),
        ]);
      }
    });

    test("a long conversation goes on in two processes with its summary, and all that was said stays", async () => {
      const tenant = bench.tenant();
      const asked: string[] = [];
      const turn: ScriptedTurn = ({ text }) => {
        const isSummary = text.includes("Summarise the conversation");
        if (!isSummary) asked.push(text);
        return { text: isSummary ? "They have counted." : "Counted.", usage };
      };
      const brief = defineAgent({
        ...{ id: "brief", summary: "Counts.", instructions: "Count." },
        limits: { contextTokens: 2_000, outputTokens: 100 },
      });
      const models = { default: new ScriptedModel(Array.from({ length: 100 }, () => turn)) };
      const apps = [
        await start([], { agents: [brief], models }),
        await start([], { agents: [brief], models }),
      ] as const;
      const long = "Count from one to ten thousand. ".repeat(60);
      let conversationId: `cnv_${string}` | undefined;
      for (let n = 1; n <= 6; n += 1) {
        const { agents } = apps[n % 2]!.as({ tenant, user: "ann" });
        const begun = await agents.run({ agent: "brief", input: `${n}: ${long}`, conversationId });
        conversationId = begun.conversationId;
        expect(await ended(apps[n % 2]!, tenant, begun.runId)).toMatchObject({ status: "completed", text: "Counted." });
      }
      expect(asked.at(-1)).toContain("They have counted.");
      expect(asked.at(-1)).toContain(`6: ${long}`);
      expect(asked.at(-1)).not.toContain(`1: ${long}`);
      const { items } = await apps[1].as({ tenant, user: "ann" }).agents.messages({ conversationId: conversationId! });
      expect(items.map(({ role }) => role)).toEqual(Array.from({ length: 6 }, () => ["user", "assistant"]).flat());
      expect(JSON.stringify(items[0])).toContain(`1: ${long}`);
    });

    test("an answer is seen while it is written where its run is worked on, and as a message everywhere", async () => {
      const tenant = bench.tenant();
      const asked = gate();
      let seen = "";
      const turn: ScriptedTurn = async () => {
        await asked.opened;
        return { text: ["Roses ", "are ", "red."], usage };
      };
      // It goes on when each piece was seen.
      const scripted = byPlace([turn]);
      const waits = new TransformStream({
        transform: async (part: { readonly type: string; readonly delta: string }, controller) => {
          controller.enqueue(part);
          if (part.type === "text-delta") await vi.waitUntil(() => seen.endsWith(part.delta), { timeout: 10_000 });
        },
      });
      const model: LanguageModel = {
        ...{ specificationVersion: scripted.specificationVersion, provider: "test", modelId: "slow" },
        doGenerate: (options) => scripted.doGenerate(options),
        doStream: async (options) => {
          const opened = (await scripted.doStream(options)) as { readonly stream: ReadableStream };
          return { ...opened, stream: opened.stream.pipeThrough(waits) };
        },
      };
      const models = { default: model };
      const apps = [await start([], { models }), await start([], { models, executions: false })] as const;
      const { runId } = await apps[0]
        .as({ tenant, user: "ann" })
        .agents.run({ agent: "counting", input: "Write.", streamed: true });
      const follow = async (app: LabApp) => {
        const types: string[] = [];
        let text = "";
        for await (const { item } of app.as({ tenant, user: "bob" }).agents.follow({ runId })) {
          if (item.type === "message" && item.message.role === "user") asked.open();
          if (item.type === "delta") seen += item.text;
          types.push(item.type === "message" ? item.message.role : item.type);
          if (item.type === "delta") text += item.text;
          if (item.type === "status") text += `|${item.run.text ?? ""}`;
        }
        return { text, types: types.filter((type) => type !== "delta") };
      };
      const [near, far] = await Promise.all(apps.map(follow));
      const types = ["user", "status", "assistant", "status"];
      expect(near).toEqual({ text: "|Roses are red.|Roses are red.", types });
      expect(far).toEqual({ text: "||Roses are red.", types });
    });

    test("an agent that a tenant makes works in any process, in its version, and for no other tenant", async () => {
      const [tenant, other] = [bench.tenant(), bench.tenant()];
      const offer = { tenantAgents: { models: ["default"], tools: [operationTool(lab, "add")] } as const };
      const turns = [asks(["lab_add", { counterId: "own", by: 2 }]), { text: "Done.", usage }];
      const apps = [await start(turns, { ...offer, executions: false }), await start(turns, offer)] as const;
      const { agents, approvals } = apps[0].as({ tenant, user: "ann" });
      const made = { summary: "Counts.", instructions: "Count.", tools: ["lab_add"], capabilities: ["counting"] };
      const { agent } = await agents.create(made);
      await agents.activate({ agent });
      const { runId } = await agents.run({ capability: "counting", input: "Count." });
      const run = await suspended(apps[1], tenant, runId);
      expect(await agents.update({ agent, ...made, tools: [] })).toMatchObject({ version: 2 });
      const asked = await approvals.get({ approvalId: run.approvals[0]! });
      await approvals.approve({ approvalId: asked.approvalId, hash: asked.hash });
      expect(await ended(apps[1], tenant, runId)).toMatchObject({ agent, agentVersion: 1, status: "completed" });
      const { lab: counters } = apps[0].as({ tenant, user: "ann" });
      expect(await counters.look({ counterId: "own" })).toEqual({ value: 2 });
      const { agents: theirs } = apps[1].as({ tenant: other, user: "ann" });
      await expect(theirs.run({ agent, input: "Count." })).rejects.toThrow(NotFound);
      expect((await theirs.list()).map((each) => each.agent)).toEqual(["counting"]);
    });
  });
}
