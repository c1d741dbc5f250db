import { agentTool, defineAgent, operationTool } from "@armature/core";
import type { ScriptedCall, ScriptedTurn } from "@armature/core/testing";
import { describe, expect, test } from "vitest";
import { asks, byPlace, ended, suspended, usage } from "./agents.ts";
import { benchOn, gate, type LabApp } from "./bench.ts";
import { lab } from "./lab.ts";
import type { PlaceKind } from "./place.ts";

const MEBIBYTE = 1_048_576;
const limits = { tokens: 100_000_000 };
const clerk = defineAgent({
  id: "clerk",
  summary: "Counts.",
  instructions: "You are the clerk.",
  tools: [
    operationTool(lab, "add"),
    operationTool(lab, "collect", { risk: "read" }),
    operationTool(lab, "act", { risk: "read" }),
  ],
  limits,
});
const head = defineAgent({
  id: "head",
  summary: "Has clerks count.",
  instructions: "You are the head.",
  tools: [agentTool(clerk)],
  limits,
});
const add = (counterId: string, by = 1): [string, Record<string, string | number>] => ["lab_add", { counterId, by }];

/** What other products of this kind got wrong, and what became of it here: see `peers-mistakes.test.ts`. */
export function agentMistakes(kind: PlaceKind): void {
  describe(`what peers got wrong, ${kind.name}`, () => {
    const bench = benchOn(kind);
    const start = (turns: readonly ScriptedTurn[], options: Parameters<typeof bench.start>[0] = {}) =>
      bench.start({
        agents: [clerk, head],
        models: { default: byPlace(turns) },
        executions: { pollMs: 100 },
        relay: { pollMs: 50 },
        ...options,
      });
    const pending = async (app: LabApp, tenant: string) => {
      const { approvals } = app.as({ tenant, user: "ann" });
      const { items } = await approvals.list({ status: "pending" });
      return Promise.all(items.map(({ approvalId }) => approvals.get({ approvalId })));
    };
    const resultsOf = async (app: LabApp, tenant: string, conversationId: `cnv_${string}`) => {
      const { agents } = app.as({ tenant, user: "ann" });
      const { items } = await agents.messages({ conversationId, limit: 200 });
      return items.flatMap(({ content }) =>
        content.flatMap((part) => (part.type === "tool-result" ? [`${part.callId} ${part.outcome}`] : [])),
      );
    };

    test("a run of more than 2 MB waits, and goes on in another process", async () => {
      const tenant = bench.tenant();
      const big = "x".repeat(MEBIBYTE * 0.75);
      const reads: ScriptedTurn = { toolCalls: [{ name: "lab_collect", arguments: { values: [big] } }], usage };
      const turns: ScriptedTurn[] = [
        ...[reads, reads, reads, asks(add("a"))],
        ({ text }: ScriptedCall) => ({ text: `It read ${text.length > 2 * MEBIBYTE ? "all" : "a part"}.`, usage }),
      ];
      const first = await start(turns);
      const { runId } = await first.as({ tenant, user: "ann" }).agents.run({ agent: "clerk", input: "Go." });
      await suspended(first, tenant, runId);
      await first.close();
      const second = await start(turns);
      const [asked] = await pending(second, tenant);
      const { approvals, lab: counters } = second.as({ tenant, user: "ann" });
      await approvals.approve({ approvalId: asked!.approvalId, hash: asked!.hash });
      expect(await ended(second, tenant, runId)).toMatchObject({ status: "completed", text: "It read all." });
      expect(await counters.look({ counterId: "a" })).toEqual({ value: 1 });
    });

    test("approvals inside delegated runs show on the first run: one is approved, one rejected, in another process", async () => {
      const tenant = bench.tenant();
      const turns: ScriptedTurn[] = [
        ({ prompt, text }: ScriptedCall) =>
          JSON.stringify(prompt[0]).includes("the head")
            ? {
                toolCalls: ["yes", "no"].map((task) => ({ id: task, name: "ask_clerk", arguments: { task } })),
                usage,
              }
            : { toolCalls: [{ id: "c", name: "lab_add", arguments: { counterId: text.split("\n").at(-1)! } }], usage },
        ({ text }: ScriptedCall) => ({ text: text.includes("rejected") ? "It was rejected." : "Done.", usage }),
      ];
      const first = await start(turns);
      const { runId } = await first.as({ tenant, user: "ann" }).agents.run({ agent: "head", input: "Go." });
      const waiting = await suspended(first, tenant, runId, 2);
      expect((await first.as({ tenant, user: "ann" }).agents.listRuns({ agent: "head" })).items).toEqual([waiting]);
      await first.close();
      const second = await start(turns);
      const { agents, approvals, lab: counters } = second.as({ tenant, user: "ann" });
      const asked = await Promise.all(waiting.approvals.map((approvalId) => approvals.get({ approvalId })));
      const of = (counterId: string) => asked.find((each) => each.arguments["counterId"] === counterId)!;
      await Promise.all([
        approvals.reject({ approvalId: of("no").approvalId }),
        approvals.approve({ approvalId: of("yes").approvalId, hash: of("yes").hash }),
      ]);
      expect(await ended(second, tenant, runId)).toMatchObject({ status: "completed", approvals: [], delegated: [] });
      expect((await counters.list({})).items).toEqual([{ counterId: "yes", value: 1 }]);
      const delegated = await agents.listRuns({ parent: runId });
      expect(delegated.items.map(({ text }) => text).sort()).toEqual(["Done.", "It was rejected."]);
    });

    test("a message that is added between an approval and what follows does not keep the call from running", async () => {
      const tenant = bench.tenant();
      const turns: ScriptedTurn[] = [asks(add("a")), { text: "Done.", usage }];
      const first = await start(turns);
      const user = first.as({ tenant, user: "ann" });
      const { runId, conversationId } = await user.agents.run({ agent: "clerk", input: "Go." });
      await suspended(first, tenant, runId);
      await first.close();
      // Nobody works on runs until there is a verdict and another message.
      const desk = await start(turns, { executions: false, relay: false });
      const { agents, approvals } = desk.as({ tenant, user: "ann" });
      const [asked] = await pending(desk, tenant);
      await approvals.approve({ approvalId: asked!.approvalId, hash: asked!.hash });
      const added = await agents.run({ agent: "clerk", input: "And be quick.", conversationId });
      await desk.close();
      const second = await start(turns);
      expect(await ended(second, tenant, runId)).toMatchObject({ status: "completed" });
      expect(await second.as({ tenant, user: "ann" }).lab.look({ counterId: "a" })).toEqual({ value: 1 });
      await second
        .as({ tenant, user: "ann" })
        .agents.cancel({ runId: added.runId, reason: "over" })
        .catch(() => undefined);
    });

    test("what is stopped halfway has one result for each call, and the conversation goes on", async () => {
      const tenant = bench.tenant();
      const { opened, open } = gate();
      const { opened: begun, open: begins } = gate();
      const turns: ScriptedTurn[] = [
        {
          toolCalls: [
            { id: "hangs", name: "lab_act", arguments: { text: "x" } },
            { id: "waits", name: "lab_add", arguments: { counterId: "a" } },
            { id: "broken", name: "lab_add", arguments: "{" },
          ],
          usage,
        },
        ({ text }: ScriptedCall) => ({ text: text.includes("the run has ended before") ? "I see." : "?", usage }),
      ];
      const app = await start(turns, {
        lab: {
          act: async ({ text }) => {
            begins();
            await opened;
            return { text };
          },
        },
      });
      const { agents, lab: counters } = app.as({ tenant, user: "ann" });
      const { runId, conversationId } = await agents.run({ agent: "clerk", input: "Go." });
      await suspended(app, tenant, runId);
      await begun;
      await agents.cancel({ runId, reason: "enough" });
      open();
      expect(await ended(app, tenant, runId)).toMatchObject({ status: "canceled" });
      expect(await resultsOf(app, tenant, conversationId)).toEqual(["hangs error", "waits error", "broken error"]);
      const next = await agents.run({ agent: "clerk", input: "What was that?", conversationId });
      expect(await ended(app, tenant, next.runId)).toMatchObject({ status: "completed", text: "I see." });
      expect((await counters.list({})).items).toEqual([]);
    });

    test("an approval of a call that is no more does not count for the next one", async () => {
      const tenant = bench.tenant();
      const turns: ScriptedTurn[] = [
        ({ text }: ScriptedCall) => ({
          toolCalls: [{ id: "c", name: "lab_add", arguments: { counterId: "a", by: text.includes("more") ? 900 : 1 } }],
          usage,
        }),
        { text: "Done.", usage },
      ];
      const app = await start(turns);
      const { agents, approvals, lab: counters } = app.as({ tenant, user: "ann" });
      const old = await agents.run({ agent: "clerk", input: "Add." });
      await suspended(app, tenant, old.runId);
      const [stale] = await pending(app, tenant);
      await agents.cancel({ runId: old.runId, reason: "again" });
      await ended(app, tenant, old.runId);
      const next = await agents.run({ agent: "clerk", input: "Add more." });
      const [now] = (await suspended(app, tenant, next.runId)).approvals;
      await expect(approvals.approve({ approvalId: now!, hash: stale!.hash })).rejects.toThrow("other arguments");
      await expect.poll(async () => (await approvals.get({ approvalId: stale!.approvalId })).status).toBe("expired");
      await expect(approvals.approve({ approvalId: stale!.approvalId, hash: stale!.hash })).rejects.toThrow("expired");
      expect((await counters.list({})).items).toEqual([]);
      await approvals.reject({ approvalId: now! });
      expect(await ended(app, tenant, next.runId)).toMatchObject({ status: "completed" });
      expect((await counters.list({})).items).toEqual([]);
    });

    test("what waited until its budget was spent, or its permission withdrawn, is refused when it would run", async () => {
      const tenant = bench.tenant();
      const turns: ScriptedTurn[] = [
        ({ text }: ScriptedCall) =>
          text.includes("Add")
            ? { toolCalls: [{ id: "c", name: "lab_add", arguments: { counterId: "a" } }], usage }
            : { text: "Hm.", usage },
        { text: "It was refused.", usage },
      ];
      const app = await start(turns);
      const { agents, approvals, lab: counters } = app.as({ tenant, user: "ann" });
      await agents.setBudget({ budget: "tenant", steps: 4 });
      const waiting = await Promise.all(
        [0, 1].map(async () => {
          const { runId } = await agents.run({ agent: "clerk", input: "Add." });
          return suspended(app, tenant, runId);
        }),
      );
      // The permission is lost: the run goes on, and is told.
      bench.allow(
        ({ actor, onBehalfOf }, permission) =>
          permission !== "lab:write" || (actor.type === "user" && actor.id === "boss" && onBehalfOf === undefined),
      );
      const boss = app.as({ tenant, user: "boss" }).approvals;
      const approve = async (approvalId: `apr_${string}`) =>
        boss.approve({ approvalId, hash: (await approvals.get({ approvalId })).hash });
      await approve(waiting[0]!.approvals[0]!);
      expect(await ended(app, tenant, waiting[0]!.runId)).toMatchObject({ text: "It was refused." });
      bench.allow(() => true);
      const spender = await agents.run({ agent: "clerk", input: "Talk." });
      expect(await ended(app, tenant, spender.runId)).toMatchObject({ text: "Hm." });
      // The budget is spent: the call is not run, and the run ends.
      await approve(waiting[1]!.approvals[0]!);
      expect(await ended(app, tenant, waiting[1]!.runId)).toMatchObject({
        ...{ status: "failed", error: { code: "agent.limit_reached" } },
      });
      expect((await counters.list({})).items).toEqual([]);
      expect((await agents.budget({ budget: "tenant" })).spent.steps).toBe(4);
    });

    test("another tenant's run, conversation or approval is not there, and no call is without a tenant", async () => {
      const [tenant, other] = [bench.tenant(), bench.tenant()];
      const app = await start([asks(add("a"))]);
      const { runId, conversationId } = await app
        .as({ tenant, user: "ann" })
        .agents.run({ agent: "clerk", input: "x" });
      const [approvalId] = (await suspended(app, tenant, runId)).approvals;
      const { agents, approvals } = app.as({ tenant: other, user: "ann" });
      const reads = [
        () => agents.get({ runId }),
        () => agents.messages({ conversationId }),
        () => agents.run({ agent: "clerk", input: "x", conversationId }),
        () => agents.cancel({ runId, reason: "x" }),
        () => approvals.get({ approvalId: approvalId! }),
      ];
      for (const read of reads) await expect(read()).rejects.toMatchObject({ kind: "not-found" });
      expect((await agents.listRuns({})).items).toEqual([]);
      expect((await approvals.list({})).items).toEqual([]);
      expect(() => app.as({ user: "ann" } as never)).toThrow("tenant");
    });
  });
}
