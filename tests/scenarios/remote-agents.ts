import { defineRemoteAgent } from "@armature/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { benchOn, type LabApp } from "./bench.ts";
import type { PlaceKind } from "./place.ts";
import { events, type Got, type RemoteAgentServer, startRemoteAgent } from "./remote-agent-server.ts";

const usage = { steps: 1, inputTokens: 30, outputTokens: 12 };
const isRun = ({ method }: Got) => method === "PUT";
const isCancel = ({ path }: Got) => path.endsWith("/cancel");

/** Runs of remote agents go on wherever somebody works on them; what an agent tells is taken once. */
export function remoteAgentScenarios(kind: PlaceKind): void {
  // What is asked for again after a while is asked for late where others need the processor too.
  describe(`remote agents, ${kind.name}`, { timeout: 60_000 }, () => {
    const bench = benchOn(kind);
    let remote: RemoteAgentServer;
    beforeEach(async () => {
      remote = await startRemoteAgent();
    });
    afterEach(() => remote.close());
    const start = (url = remote.url) =>
      bench.start({
        apiUrl: "https://api.example.com",
        agents: [defineRemoteAgent({ id: "researcher", summary: "Looks people up.", url, limits: { tokens: 1_000 } })],
        executions: { pollMs: 100 },
        relay: { pollMs: 50 },
      });
    const ended = async (app: LabApp, tenant: string, runId: `run_${string}`) => {
      const { agents } = app.as({ tenant, user: "ann" });
      for await (const { item } of agents.follow({ runId }, { timeoutMs: 60_000 }))
        if (item.type === "status" && item.run.endedAt !== undefined) return item.run;
      throw new Error("The run was not followed to its end.");
    };

    test("a run goes on in another process behind what was written down, and its budget is settled", async () => {
      const tenant = bench.tenant();
      remote.answer((got) => {
        const seen = Number(got.headers["last-event-id"] ?? 0);
        // The first one to ask is never told how it ends.
        if (seen === 0)
          events(
            got,
            [
              ["message", { text: "One." }],
              ["usage", usage],
            ],
            { end: false },
          );
        else
          events(
            got,
            [
              ["message", { text: "Two." }],
              ["completed", { text: "Done.", usage }],
            ],
            { first: seen + 1 },
          );
      });
      const first = await start();
      const { agents } = first.as({ tenant, user: "ann" });
      await agents.setBudget({ budget: "tenant", tokens: 5_000 });
      const { runId, conversationId } = await agents.run({ agent: "researcher", input: "Who?" });
      for await (const { item } of agents.follow({ runId }))
        if (item.type === "message" && item.message.role === "assistant") break;
      expect((await agents.budget({ budget: "tenant" })).reserved.tokens).toBe(1_000);
      await first.close();
      const second = await start();
      expect(await ended(second, tenant, runId)).toMatchObject({ status: "completed", text: "Done." });
      const again = second.as({ tenant, user: "ann" }).agents;
      const { items } = await again.messages({ conversationId });
      expect(items.map(({ content }) => (content[0] as { readonly text: string }).text)).toEqual([
        ...["Who?", "One.", "Two.", "Done."],
      ]);
      expect(await again.budget({ budget: "tenant" })).toMatchObject({
        spent: { tokens: 42, steps: 1 },
        reserved: { tokens: 0, steps: 0 },
      });
      const runs = remote.got.filter(isRun);
      expect(new Set(runs.map(({ path }) => path))).toEqual(new Set([`/agent/runs/${tenant}.${runId}`]));
      expect(new Set(runs.map(({ headers }) => headers["idempotency-key"]))).toEqual(new Set([`${tenant}.${runId}`]));
      expect(new Set(runs.map(({ headers }) => headers.authorization)).size).toBe(runs.length);
    });

    test("an agent that is down when its run is canceled hears of it when it is back", async () => {
      const tenant = bench.tenant();
      remote.answer((got) => events(got, [["message", { text: "One." }]], { end: false }));
      const app = await start();
      const { agents } = app.as({ tenant, user: "ann" });
      const { runId } = await agents.run({ agent: "researcher", input: "Who?" });
      await remote.request(isRun);
      let refusals = 0;
      remote.answer(({ response }) => {
        refusals += 1;
        response.writeHead(refusals < 3 ? 503 : 204).end();
      });
      await agents.cancel({ runId, reason: "No." });
      expect((await ended(app, tenant, runId)).status).toBe("canceled");
      const heard = await remote.request(() => remote.got.filter(isCancel).length === 3);
      expect(heard.headers["idempotency-key"]).toBe(`${tenant}.${runId}`);
      expect(remote.got.find(isCancel)).toMatchObject({ path: `/agent/runs/${tenant}.${runId}/cancel` });
    });
  });
}
